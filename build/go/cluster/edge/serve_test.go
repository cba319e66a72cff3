package edge

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/types"
)

// serving is the real Caddy with the real configuration, on loopback; only the API server is missing.
type serving struct {
	https, http string
	state       *state
	roots       *x509.CertPool
}

func serve(t *testing.T) *serving {
	t.Helper()
	authority, err := OpenAuthority(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	s := &serving{https: freeAddress(t), http: freeAddress(t), roots: x509.NewCertPool(),
		state: &state{authority: authority, suffixes: []string{"localhost"}}}
	s.roots.AppendCertsFromPEM([]byte(authority.RootPEM()))
	config, err := caddyConfig(Config{HTTPS: []string{s.https}, HTTP: []string{s.http}, CA: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	shared.Store(s.state)
	if err := caddy.Load(config, true); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := caddy.Stop(); err != nil {
			t.Error(err)
		}
		shared.Store(nil)
	})
	return s
}

func freeAddress(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	return listener.Addr().String()
}

func (s *serving) transport() *http.Transport {
	return &http.Transport{ForceAttemptHTTP2: true, TLSClientConfig: &tls.Config{RootCAs: s.roots},
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, network, s.https)
		}}
}

func (s *serving) do(t *testing.T, method, url string, body io.Reader) (*http.Response, string) {
	t.Helper()
	request, err := http.NewRequest(method, url, body)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("X-Forwarded-For", "192.0.2.66") // a lie
	transport := s.transport()
	defer transport.CloseIdleConnections()
	response, err := (&http.Client{Transport: transport, Timeout: 20 * time.Second}).Do(request)
	if err != nil {
		t.Fatalf("%s %s: %v", method, url, err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatalf("%s %s: %v", method, url, err)
	}
	return response, string(text)
}

// route makes app.localhost lead to the addresses, of which there may be none.
func (s *serving) route(limit string, addresses ...string) {
	app := ingress("app", 1, "app.localhost", "/ -> web:80", "/gone -> absent:80")
	app.Annotations = map[string]string{MaxBody: limit}
	seen := seenWith(app, ingress("exact", 1, "one.localhost", "exact /only -> web:80"))
	name := types.NamespacedName{Namespace: "acme", Name: "web"}
	for _, address := range addresses {
		host, port, _ := net.SplitHostPort(address)
		one := slice("web", host)
		var number int32
		fmt.Sscan(port, &number)
		one.Ports = []discoveryv1.EndpointPort{{Name: one.Ports[0].Name, Port: &number}}
		seen.Slices[name] = append(seen.Slices[name], one)
	}
	seen.Services[name] = &corev1.Service{Spec: corev1.ServiceSpec{Ports: []corev1.ServicePort{{Name: "http", Port: 80}}}}
	table, _ := Build(seen)
	s.state.table.Store(table)
}

func application(t *testing.T) string {
	t.Helper()
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Upgrade") == "echo" {
			w.Header().Set("Upgrade", "echo")
			w.Header().Set("Connection", "Upgrade")
			w.WriteHeader(http.StatusSwitchingProtocols)
			connection, buffered, err := w.(http.Hijacker).Hijack()
			if err != nil {
				return
			}
			defer connection.Close()
			_, _ = io.Copy(connection, buffered)
			return
		}
		read, err := io.Copy(io.Discard, r.Body)
		if err != nil {
			return
		}
		fmt.Fprintf(w, "%s %s %d for=%s proto=%s", r.Host, r.RequestURI, read, r.Header.Get("X-Forwarded-For"), r.Header.Get("X-Forwarded-Proto"))
	}))
	t.Cleanup(app.Close)
	return app.Listener.Addr().String()
}

func TestServe(t *testing.T) {
	s := serve(t)
	if response, _ := s.do(t, "GET", "https://app.localhost/", nil); response.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("before the routes are known: %d", response.StatusCode)
	}
	app := application(t)
	dead := freeAddress(t)
	s.route("1Mi", app, dead) // one of the two pods has just died
	for range 10 {
		response, text := s.do(t, "POST", "https://app.localhost/a%2Fb?c=d", strings.NewReader("hello"))
		if want := "app.localhost /a%2Fb?c=d 5 for=127.0.0.1 proto=https"; text != want || response.ProtoMajor != 2 {
			t.Fatalf("got %d HTTP/%d %q, want %q over HTTP/2", response.StatusCode, response.ProtoMajor, text, want)
		}
	}
	large := func(size int) io.Reader { return io.LimitReader(zeros{}, int64(size)) } // of unknown length: chunked
	for name, test := range map[string]struct {
		url    string
		body   io.Reader
		status int
	}{
		"unknown host":           {"https://other.localhost/", nil, http.StatusNotFound},
		"unknown path":           {"https://one.localhost/else", nil, http.StatusNotFound},
		"missing Service":        {"https://app.localhost/gone", nil, http.StatusServiceUnavailable},
		"body of allowed size":   {"https://app.localhost/", large(1 << 20), http.StatusOK},
		"body too large":         {"https://app.localhost/", strings.NewReader(strings.Repeat("x", 1<<20+1)), http.StatusRequestEntityTooLarge},
		"streamed and too large": {"https://app.localhost/", large(8 << 20), http.StatusRequestEntityTooLarge},
	} {
		if response, text := s.do(t, "POST", test.url, test.body); response.StatusCode != test.status {
			t.Errorf("%s: %d, want %d: %s", name, response.StatusCode, test.status, text)
		}
	}
	s.route("", app)
	if response, text := s.do(t, "POST", "https://app.localhost/", large(64<<20)); !strings.Contains(text, fmt.Sprint(64<<20)) {
		t.Errorf("without a limit: %d %s", response.StatusCode, text)
	}
	s.route("")
	if response, _ := s.do(t, "GET", "https://app.localhost/", nil); response.StatusCode != http.StatusServiceUnavailable || response.Header.Get("Retry-After") == "" {
		t.Errorf("without pods: %d", response.StatusCode)
	}
}

type zeros struct{}

func (zeros) Read(into []byte) (int, error) { clear(into); return len(into), nil }

func TestRedirect(t *testing.T) {
	s := serve(t)
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	request, err := http.NewRequest("GET", "http://"+s.http+"/a?b=c", nil)
	if err != nil {
		t.Fatal(err)
	}
	request.Host = "app.localhost"
	response, err := client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	_, port, _ := net.SplitHostPort(s.https)
	if want := "https://app.localhost:" + port + "/a?b=c"; response.StatusCode != 308 || response.Header.Get("Location") != want {
		t.Errorf("%d to %q, want %q", response.StatusCode, response.Header.Get("Location"), want)
	}
}

func TestHandshakeIsRefusedForForeignHosts(t *testing.T) {
	s := serve(t)
	s.route("", application(t))
	connection, err := tls.Dial("tcp", s.https, &tls.Config{ServerName: "bank.example", RootCAs: s.roots})
	if err == nil {
		connection.Close()
		t.Fatal("a certificate for a host of somebody else's was made")
	}
}

func TestUpgradedConnectionsOutliveChangesOfTheRoutes(t *testing.T) {
	s := serve(t)
	s.route("", application(t))
	connection, err := tls.Dial("tcp", s.https, &tls.Config{ServerName: "app.localhost", RootCAs: s.roots})
	if err != nil {
		t.Fatal(err)
	}
	defer connection.Close()
	if err := connection.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	fmt.Fprint(connection, "GET / HTTP/1.1\r\nHost: app.localhost\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
	reader := bufio.NewReader(connection)
	response, err := http.ReadResponse(reader, nil)
	if err != nil || response.StatusCode != http.StatusSwitchingProtocols {
		t.Fatalf("%v, %v", response, err)
	}
	for i := range 5 {
		s.route(fmt.Sprint(i)) // the last pod is gone from the routes, and still answers
		fmt.Fprintf(connection, "%d\n", i)
		if text, err := reader.ReadString('\n'); err != nil || text != fmt.Sprintln(i) {
			t.Fatalf("echo %d: %q, %v", i, text, err)
		}
	}
}
