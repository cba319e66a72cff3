package edge

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	_ "embed"
	"errors"
	"fmt"
	"html"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"
	"github.com/caddyserver/caddy/v2/modules/caddytls"
	"github.com/caddyserver/certmagic"
	"k8s.io/apimachinery/pkg/util/validation"
)

// Caddy's configuration never changes while the process lives: the modules below ask the table for every request and
// every handshake. So no change to an Ingress or a pod reloads Caddy, and none cuts a websocket or an upload.

// state is what the modules share. Caddy makes modules by name from JSON, which leaves only a package variable.
type state struct {
	table     atomic.Pointer[Table] // nil until the API server was read once
	authority *Authority
	suffixes  []string
}

var shared atomic.Pointer[state]

func init() {
	caddy.RegisterModule(router{})
	caddy.RegisterModule(upstreams{})
	caddy.RegisterModule(failure{})
	caddy.RegisterModule(certificates{})
	caddy.RegisterModule(denial{})
	caddy.RegisterModule(noIssuer{})
}

const backendVar = "local_edge.backend"

// router finds who answers a request, and answers itself where nobody does.
type router struct{}

// CaddyModule implements caddy.Module.
func (router) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.handlers.local_edge", New: func() caddy.Module { return new(router) }}
}

// ServeHTTP implements caddyhttp.MiddlewareHandler.
func (router) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	table := shared.Load().table.Load()
	if table == nil {
		return writePage(w, r, http.StatusServiceUnavailable, "The cluster is starting", "This page answers as soon as the edge has read the cluster's routes.")
	}
	host := hostOf(r)
	route, found := table.Match(host, r.URL.Path)
	if !found {
		if table.Serves(host) {
			return writePage(w, r, http.StatusNotFound, "Nothing is served at this path", "An Ingress serves "+host+", but not this path.")
		}
		return writePage(w, r, http.StatusNotFound, "Nothing is served here", "No Ingress of this cluster names the host "+host+".")
	}
	if len(table.Endpoints(route.Backend)) == 0 {
		return writePage(w, r, http.StatusServiceUnavailable, "Not available right now",
			"The Service "+route.Backend.Service.String()+" has nothing ready to answer. It may be starting or updating.")
	}
	if route.MaxBody > 0 {
		if r.ContentLength > route.MaxBody {
			return caddyhttp.Error(http.StatusRequestEntityTooLarge, fmt.Errorf("body of %d bytes, %d allowed", r.ContentLength, route.MaxBody))
		}
		r.Body = http.MaxBytesReader(w, r.Body, route.MaxBody)
	}
	caddyhttp.SetVar(r.Context(), backendVar, route.Backend)
	return next.ServeHTTP(w, r)
}

func hostOf(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.Host)
	if err != nil {
		host = strings.Trim(r.Host, "[]")
	}
	return strings.TrimSuffix(strings.ToLower(host), ".")
}

// upstreams tells Caddy's reverse proxy where a request may go. It is asked again at every retry.
type upstreams struct{}

// CaddyModule implements caddy.Module.
func (upstreams) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.reverse_proxy.upstreams.local_edge", New: func() caddy.Module { return new(upstreams) }}
}

// GetUpstreams implements reverseproxy.UpstreamSource.
func (upstreams) GetUpstreams(r *http.Request) ([]*reverseproxy.Upstream, error) {
	backend, is := caddyhttp.GetVar(r.Context(), backendVar).(Backend)
	if !is {
		return nil, errors.New("the request was not routed")
	}
	addresses := shared.Load().table.Load().Endpoints(backend)
	found := make([]*reverseproxy.Upstream, len(addresses))
	for i, address := range addresses {
		found[i] = &reverseproxy.Upstream{Dial: address}
	}
	return found, nil
}

// failure writes the page for a request that could not be proxied.
type failure struct{}

// CaddyModule implements caddy.Module.
func (failure) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.handlers.local_edge_failure", New: func() caddy.Module { return new(failure) }}
}

// ServeHTTP implements caddyhttp.MiddlewareHandler.
func (failure) ServeHTTP(w http.ResponseWriter, r *http.Request, _ caddyhttp.Handler) error {
	status := http.StatusInternalServerError
	cause, _ := r.Context().Value(caddyhttp.ErrorCtxKey).(error)
	var known caddyhttp.HandlerError
	if errors.As(cause, &known) && known.StatusCode != 0 {
		status = known.StatusCode
	}
	if tooLarge := (*http.MaxBytesError)(nil); errors.As(cause, &tooLarge) {
		status = http.StatusRequestEntityTooLarge
	}
	text := "The application did not answer. It may be starting or updating."
	if status == http.StatusRequestEntityTooLarge {
		text = "The upload is larger than this application allows."
	}
	return writePage(w, r, status, http.StatusText(status), text)
}

//go:embed page.html
var pageText string

func writePage(w http.ResponseWriter, r *http.Request, status int, title, text string) error {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	if status == http.StatusServiceUnavailable {
		w.Header().Set("Retry-After", "5")
	}
	w.WriteHeader(status)
	if r.Method == http.MethodHead {
		return nil
	}
	// No template engine for three words: it looks methods up by name, which makes the linker keep every method.
	_, err := strings.NewReplacer("{status}", strconv.Itoa(status), "{title}", html.EscapeString(title),
		"{text}", html.EscapeString(text)).WriteString(w, pageText)
	return err
}

// certificates answers handshakes: with what an Ingress brings, or else from the local CA for hosts that are ours.
type certificates struct{}

// CaddyModule implements caddy.Module.
func (certificates) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "tls.get_certificate.local_edge", New: func() caddy.Module { return new(certificates) }}
}

// GetCertificate implements certmagic.Manager.
func (certificates) GetCertificate(_ context.Context, hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	return shared.Load().certificate(hello)
}

func (s *state) certificate(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	name := strings.TrimSuffix(strings.ToLower(hello.ServerName), ".")
	if name == "" { // asked for by address
		host, _, err := net.SplitHostPort(hello.Conn.LocalAddr().String())
		if err != nil {
			return nil, err
		}
		return s.authority.Leaf(host)
	}
	table := s.table.Load()
	if table != nil {
		if brought := table.Certificate(name); brought != nil {
			return brought, nil
		}
	}
	if len(validation.IsDNS1123Subdomain(name)) > 0 || !(s.underSuffix(name) || (table != nil && table.Serves(name))) {
		slog.Debug("no certificate", "host", name)
		return nil, nil
	}
	return s.authority.Leaf(name)
}

func (s *state) underSuffix(host string) bool {
	for _, suffix := range s.suffixes {
		if host == suffix || strings.HasSuffix(host, "."+suffix) {
			return true
		}
	}
	return false
}

// denial keeps Caddy from asking any issuer for what the module above does not give.
type denial struct{}

// CaddyModule implements caddy.Module.
func (denial) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "tls.permission.local_edge", New: func() caddy.Module { return new(denial) }}
}

// CertificateAllowed implements caddytls.OnDemandPermission.
func (denial) CertificateAllowed(_ context.Context, name string) error {
	return fmt.Errorf("%w: no Ingress names the host %s", caddytls.ErrPermissionDenied, name)
}

// noIssuer stands where Caddy would put public certificate authorities.
type noIssuer struct{}

// CaddyModule implements caddy.Module.
func (noIssuer) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "tls.issuance.local_edge", New: func() caddy.Module { return new(noIssuer) }}
}

// Issue implements certmagic.Issuer.
func (noIssuer) Issue(context.Context, *x509.CertificateRequest) (*certmagic.IssuedCertificate, error) {
	return nil, errors.New("certificates come from the local CA")
}

// IssuerKey implements certmagic.Issuer.
func (noIssuer) IssuerKey() string { return "local_edge" }

var (
	_ caddyhttp.MiddlewareHandler = router{}
	_ caddyhttp.MiddlewareHandler = failure{}
	_ reverseproxy.UpstreamSource = upstreams{}
	_ certmagic.Manager           = certificates{}
	_ caddytls.OnDemandPermission = denial{}
	_ certmagic.Issuer            = noIssuer{}
)
