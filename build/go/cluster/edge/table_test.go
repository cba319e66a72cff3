package edge

import (
	"crypto/tls"
	"encoding/pem"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"crypto/x509"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

var epoch = metav1.NewTime(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC))

// path is written as "exact /a -> web:80" or "/a -> web:http".
func path(text string) networkingv1.HTTPIngressPath {
	where, to, _ := strings.Cut(text, " -> ")
	kind := networkingv1.PathTypePrefix
	if exact, is := strings.CutPrefix(where, "exact "); is {
		kind, where = networkingv1.PathTypeExact, exact
	}
	service, port, _ := strings.Cut(to, ":")
	backend := networkingv1.IngressServiceBackend{Name: service}
	if _, err := fmt.Sscan(port, &backend.Port.Number); err != nil {
		backend.Port = networkingv1.ServiceBackendPort{Name: port}
	}
	return networkingv1.HTTPIngressPath{Path: where, PathType: &kind, Backend: networkingv1.IngressBackend{Service: &backend}}
}

func ingress(name string, age int, host string, paths ...string) *networkingv1.Ingress {
	rule := networkingv1.HTTPIngressRuleValue{}
	for _, text := range paths {
		rule.Paths = append(rule.Paths, path(text))
	}
	return &networkingv1.Ingress{
		ObjectMeta: metav1.ObjectMeta{Namespace: "acme", Name: name, UID: types.UID(name), CreationTimestamp: metav1.NewTime(epoch.Add(-time.Duration(age) * time.Hour))},
		Spec: networkingv1.IngressSpec{Rules: []networkingv1.IngressRule{{Host: host,
			IngressRuleValue: networkingv1.IngressRuleValue{HTTP: &rule}}}},
	}
}

func service(name string) *corev1.Service {
	return &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "acme", Name: name},
		Spec: corev1.ServiceSpec{Ports: []corev1.ServicePort{{Name: "http", Port: 80}, {Name: "admin", Port: 9000}}}}
}

// slice has one endpoint per address; "-" before it: not ready; "~": terminating and still serving.
func slice(service string, addresses ...string) *discoveryv1.EndpointSlice {
	yes, no := true, false
	port, name, protocol := int32(8080), "http", corev1.ProtocolTCP
	found := &discoveryv1.EndpointSlice{AddressType: discoveryv1.AddressTypeIPv4,
		ObjectMeta: metav1.ObjectMeta{Namespace: "acme", Labels: map[string]string{discoveryv1.LabelServiceName: service}},
		Ports:      []discoveryv1.EndpointPort{{Name: &name, Port: &port, Protocol: &protocol}}}
	for _, address := range addresses {
		conditions := discoveryv1.EndpointConditions{Ready: &yes, Serving: &yes, Terminating: &no}
		switch address[0] {
		case '-':
			conditions = discoveryv1.EndpointConditions{Ready: &no, Serving: &no, Terminating: &no}
		case '~':
			conditions = discoveryv1.EndpointConditions{Ready: &no, Serving: &yes, Terminating: &yes}
		}
		found.Endpoints = append(found.Endpoints, discoveryv1.Endpoint{
			Addresses: []string{strings.TrimLeft(address, "-~")}, Conditions: conditions})
	}
	return found
}

func seenWith(ingresses ...*networkingv1.Ingress) Seen {
	seen := Seen{Ingresses: ingresses, Services: map[types.NamespacedName]*corev1.Service{},
		Slices: map[types.NamespacedName][]*discoveryv1.EndpointSlice{}, Secrets: map[types.NamespacedName]*corev1.Secret{}}
	for _, name := range []string{"web", "api", "other"} {
		seen.Services[types.NamespacedName{Namespace: "acme", Name: name}] = service(name)
	}
	return seen
}

func reasons(problems []Problem) []string {
	var found []string
	for _, problem := range problems {
		found = append(found, problem.Ingress.Name+" "+problem.Reason)
	}
	return found
}

func TestMatch(t *testing.T) {
	table, problems := Build(seenWith(
		ingress("a", 2, "cloud.localhost", "/ -> web:80", "/api -> api:80", "exact /api -> other:80", "/api/v2/ -> other:http"),
		ingress("b", 1, "*.wild.localhost", "/ -> web:80"),
		ingress("c", 1, "one.wild.localhost", "/only -> api:80"),
		ingress("d", 1, "Upper.localhost", "exact /x -> web:80"),
	))
	if problems != nil {
		t.Fatalf("problems: %v", problems)
	}
	for request, want := range map[string]string{
		"cloud.localhost/":             "web",
		"cloud.localhost/api":          "other", // exact before prefix
		"cloud.localhost/api/":         "api",
		"cloud.localhost/api/x":        "api",
		"cloud.localhost/apix":         "web", // a prefix ends at a slash
		"cloud.localhost/api/v2":       "other",
		"cloud.localhost/api/v2/x":     "other",
		"cloud.localhost/api/v2x":      "api",
		"two.wild.localhost/":          "web",
		"a.two.wild.localhost/":        "", // a wildcard is one label
		"wild.localhost/":              "",
		"one.wild.localhost/only/x":    "api",
		"one.wild.localhost/elsewhere": "", // the exact host decides alone
		"upper.localhost/x":            "web",
		"upper.localhost/x/":           "",
		"unknown.localhost/":           "",
	} {
		host, rest, _ := strings.Cut(request, "/")
		route, found := table.Match(host, "/"+rest)
		if got := route.Backend.Service.Name; got != want || found != (want != "") {
			t.Errorf("%s: got %q (found %v), want %q", request, got, found, want)
		}
	}
}

func TestAnyHostIsLast(t *testing.T) {
	table, _ := Build(seenWith(ingress("any", 9, "", "/ -> other:80"), ingress("a", 1, "a.localhost", "/ -> web:80")))
	for host, want := range map[string]string{"a.localhost": "web", "b.localhost": "other"} {
		if route, _ := table.Match(host, "/"); route.Backend.Service.Name != want {
			t.Errorf("%s: got %q, want %q", host, route.Backend.Service.Name, want)
		}
	}
	if !table.Serves("b.localhost") {
		t.Error("a rule for any host does not serve b.localhost")
	}
}

func TestDefaultBackend(t *testing.T) {
	only := ingress("only", 1, "x")
	only.Spec.Rules = nil
	to := path("/ -> web:80")
	only.Spec.DefaultBackend = &to.Backend
	table, problems := Build(seenWith(only))
	if route, found := table.Match("whatever", "/x"); !found || route.Backend.Service.Name != "web" || problems != nil {
		t.Errorf("got %v %v %v", route, found, problems)
	}
}

func TestTheOlderIngressKeepsHostAndPath(t *testing.T) {
	older := ingress("older", 5, "a.localhost", "/ -> web:80")
	newer := ingress("newer", 1, "a.localhost", "/ -> api:80", "/more -> api:80")
	for _, order := range [][]*networkingv1.Ingress{{older, newer}, {newer, older}} {
		table, problems := Build(seenWith(order...))
		if route, _ := table.Match("a.localhost", "/x"); route.Backend.Service.Name != "web" {
			t.Errorf("/x goes to %q", route.Backend.Service.Name)
		}
		if route, _ := table.Match("a.localhost", "/more"); route.Backend.Service.Name != "api" {
			t.Errorf("/more goes to %q", route.Backend.Service.Name)
		}
		if got := reasons(problems); !reflect.DeepEqual(got, []string{"newer HostPathTaken"}) {
			t.Errorf("problems: %v", got)
		}
	}
}

func TestEndpoints(t *testing.T) {
	for name, test := range map[string]struct {
		slices []*discoveryv1.EndpointSlice
		want   []string
	}{
		"none":                          {nil, nil},
		"ready only":                    {[]*discoveryv1.EndpointSlice{slice("web", "10.0.0.2", "-10.0.0.3", "~10.0.0.4")}, []string{"10.0.0.2:8080"}},
		"all leaving":                   {[]*discoveryv1.EndpointSlice{slice("web", "-10.0.0.3", "~10.0.0.4")}, []string{"10.0.0.4:8080"}},
		"none ready":                    {[]*discoveryv1.EndpointSlice{slice("web", "-10.0.0.3")}, nil},
		"of several slices, each once":  {[]*discoveryv1.EndpointSlice{slice("web", "10.0.0.9", "10.0.0.2"), slice("web", "10.0.0.2")}, []string{"10.0.0.2:8080", "10.0.0.9:8080"}},
		"one leaving, another is ready": {[]*discoveryv1.EndpointSlice{slice("web", "~10.0.0.4"), slice("web", "10.0.0.5")}, []string{"10.0.0.5:8080"}},
	} {
		t.Run(name, func(t *testing.T) {
			seen := seenWith(ingress("a", 1, "a.localhost", "/ -> web:80", "/named -> web:http", "/admin -> web:9000"))
			seen.Slices[types.NamespacedName{Namespace: "acme", Name: "web"}] = test.slices
			table, _ := Build(seen)
			for path, want := range map[string][]string{"/": test.want, "/named": test.want, "/admin": nil} {
				route, _ := table.Match("a.localhost", path)
				if got := table.Endpoints(route.Backend); !reflect.DeepEqual(got, want) {
					t.Errorf("%s: got %v, want %v", path, got, want)
				}
			}
		})
	}
}

func TestExternalName(t *testing.T) {
	seen := seenWith(ingress("a", 1, "a.localhost", "/ -> far:8443"))
	seen.Services[types.NamespacedName{Namespace: "acme", Name: "far"}] = &corev1.Service{
		Spec: corev1.ServiceSpec{Type: corev1.ServiceTypeExternalName, ExternalName: "far.example"}}
	table, problems := Build(seen)
	route, _ := table.Match("a.localhost", "/")
	if got := table.Endpoints(route.Backend); !reflect.DeepEqual(got, []string{"far.example:8443"}) || problems != nil {
		t.Errorf("got %v, %v", got, problems)
	}
}

func TestProblems(t *testing.T) {
	resource := ingress("resource", 1, "r.localhost", "/ -> web:80")
	resource.Spec.Rules[0].HTTP.Paths[0].Backend = networkingv1.IngressBackend{Resource: &corev1.TypedLocalObjectReference{Kind: "Bucket", Name: "b"}}
	limited := ingress("limited", 1, "l.localhost", "/ -> web:80")
	limited.Annotations = map[string]string{MaxBody: "a lot"}
	_, problems := Build(seenWith(
		ingress("absent", 1, "a.localhost", "/ -> nothing:80"),
		ingress("port", 1, "b.localhost", "/ -> web:81"),
		limited, resource,
	))
	want := []string{"absent ServiceNotFound", "limited InvalidAnnotation", "port PortNotFound", "resource BackendNotSupported"}
	if got := reasons(problems); !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestMaxBody(t *testing.T) {
	limited := ingress("limited", 1, "l.localhost", "/ -> web:80")
	limited.Annotations = map[string]string{MaxBody: "10Mi"}
	table, _ := Build(seenWith(limited, ingress("free", 1, "f.localhost", "/ -> web:80")))
	for host, want := range map[string]int64{"l.localhost": 10 << 20, "f.localhost": 0} {
		if route, _ := table.Match(host, "/"); route.MaxBody != want {
			t.Errorf("%s: got %d, want %d", host, route.MaxBody, want)
		}
	}
}

func secretFor(t *testing.T, host string) *corev1.Secret {
	t.Helper()
	authority, err := OpenAuthority(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := authority.Leaf(host)
	if err != nil {
		t.Fatal(err)
	}
	key, err := x509.MarshalPKCS8PrivateKey(leaf.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	return &corev1.Secret{Data: map[string][]byte{
		corev1.TLSCertKey:       pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: leaf.Certificate[0]}),
		corev1.TLSPrivateKeyKey: pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key}),
	}}
}

func TestCertificates(t *testing.T) {
	own := ingress("own", 2, "own.localhost", "/ -> web:80")
	own.Spec.TLS = []networkingv1.IngressTLS{{SecretName: "own"}} // no hosts: those of the rules
	wild := ingress("wild", 2, "x.wild.localhost", "/ -> web:80")
	wild.Spec.TLS = []networkingv1.IngressTLS{{SecretName: "wild", Hosts: []string{"*.wild.localhost"}}}
	wrong := ingress("wrong", 2, "wrong.localhost", "/ -> web:80")
	wrong.Spec.TLS = []networkingv1.IngressTLS{{SecretName: "own", Hosts: []string{"wrong.localhost"}}}
	broken := ingress("broken", 2, "broken.localhost", "/ -> web:80")
	broken.Spec.TLS = []networkingv1.IngressTLS{{SecretName: "broken", Hosts: []string{"broken.localhost"}}}
	absent := ingress("absent", 2, "absent.localhost", "/ -> web:80")
	absent.Spec.TLS = []networkingv1.IngressTLS{{SecretName: "absent", Hosts: []string{"absent.localhost"}}}
	seen := seenWith(own, wild, wrong, broken, absent)
	seen.Secrets[types.NamespacedName{Namespace: "acme", Name: "own"}] = secretFor(t, "own.localhost")
	seen.Secrets[types.NamespacedName{Namespace: "acme", Name: "wild"}] = secretFor(t, "*.wild.localhost")
	seen.Secrets[types.NamespacedName{Namespace: "acme", Name: "broken"}] = &corev1.Secret{}
	seen.Secrets[types.NamespacedName{Namespace: "elsewhere", Name: "absent"}] = secretFor(t, "absent.localhost")
	table, problems := Build(seen)
	for host, want := range map[string]bool{"own.localhost": true, "x.wild.localhost": true, "y.wild.localhost": true,
		"wrong.localhost": false, "broken.localhost": false, "absent.localhost": false} {
		if got := table.Certificate(host) != nil; got != want {
			t.Errorf("%s: brought a certificate: %v, want %v", host, got, want)
		}
	}
	if got := reasons(problems); !reflect.DeepEqual(got, []string{"broken InvalidCertificate", "wrong InvalidCertificate"}) {
		t.Errorf("problems: %v", got)
	}
}

func TestOurs(t *testing.T) {
	class := func(name, controller, isDefault string) *networkingv1.IngressClass {
		return &networkingv1.IngressClass{ObjectMeta: metav1.ObjectMeta{Name: name,
			Annotations: map[string]string{networkingv1.AnnotationIsDefaultIngressClass: isDefault}},
			Spec: networkingv1.IngressClassSpec{Controller: controller}}
	}
	ourClass, foreign := class("local", ControllerName, "true"), class("nginx", "k8s.io/ingress-nginx", "false")
	notDefault := class("local", ControllerName, "false")
	named := func(name string) *networkingv1.Ingress {
		return &networkingv1.Ingress{Spec: networkingv1.IngressSpec{IngressClassName: &name}}
	}
	annotated := &networkingv1.Ingress{ObjectMeta: metav1.ObjectMeta{Annotations: map[string]string{"kubernetes.io/ingress.class": "nginx"}}}
	for name, test := range map[string]struct {
		ingress *networkingv1.Ingress
		local   *networkingv1.IngressClass
		want    bool
	}{
		"named":                        {named("local"), notDefault, true},
		"another":                      {named("nginx"), ourClass, false},
		"one that does not exist":      {named("gone"), ourClass, false},
		"none, and ours is default":    {&networkingv1.Ingress{}, ourClass, true},
		"none, and ours is no default": {&networkingv1.Ingress{}, notDefault, false},
		"another by annotation":        {annotated, ourClass, false},
	} {
		classes := map[string]*networkingv1.IngressClass{"local": test.local, "nginx": foreign}
		if got := ours(test.ingress, classes); got != test.want {
			t.Errorf("%s: %v, want %v", name, got, test.want)
		}
	}
}

func TestWantedStatus(t *testing.T) {
	with := func(ips ...string) *networkingv1.Ingress {
		found := &networkingv1.Ingress{}
		for _, ip := range ips {
			found.Status.LoadBalancer.Ingress = append(found.Status.LoadBalancer.Ingress, networkingv1.IngressLoadBalancerIngress{IP: ip})
		}
		return found
	}
	for name, test := range map[string]struct {
		ingress *networkingv1.Ingress
		mine    bool
		count   int
		change  bool
	}{
		"new":                    {with(), true, 1, true},
		"settled":                {with("10.0.0.1"), true, 1, false},
		"moved":                  {with("10.0.0.2"), true, 1, true},
		"no longer ours":         {with("10.0.0.1"), false, 0, true},
		"another's, never ours":  {with("192.0.2.7"), false, 0, false},
		"another's, not yet set": {with(), false, 0, false},
	} {
		addresses, change := wantedStatus(test.ingress, test.mine, []string{"10.0.0.1"})
		if change != test.change || len(addresses) != test.count {
			t.Errorf("%s: %v, change %v", name, addresses, change)
		}
	}
}

func TestAuthorityIsKept(t *testing.T) {
	folder := t.TempDir()
	first, err := OpenAuthority(folder)
	if err != nil {
		t.Fatal(err)
	}
	second, err := OpenAuthority(folder)
	if err != nil {
		t.Fatal(err)
	}
	if first.RootPEM() != second.RootPEM() {
		t.Fatal("a second start made another root")
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM([]byte(first.RootPEM()))
	for _, name := range []string{"app.localhost", "10.99.0.254"} {
		leaf, err := second.Leaf(name)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := leaf.Leaf.Verify(x509.VerifyOptions{Roots: roots, DNSName: name}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if again, _ := second.Leaf(name); again != leaf {
			t.Errorf("%s: a second certificate was made", name)
		}
	}
}

func TestCertificateOnlyForHostsOfOurs(t *testing.T) {
	authority, err := OpenAuthority(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	s := &state{authority: authority, suffixes: []string{"localhost"}}
	table, _ := Build(seenWith(ingress("a", 1, "cloud.example", "/ -> web:80")))
	s.table.Store(table)
	for name, want := range map[string]bool{"localhost": true, "x.y.localhost": true, "CLOUD.example": true,
		"other.example": false, "xlocalhost": false, "../etc": false, "*.localhost": false} {
		certificate, err := s.certificate(&tls.ClientHelloInfo{ServerName: name})
		if err != nil || (certificate != nil) != want {
			t.Errorf("%s: certificate %v (%v), want %v", name, certificate != nil, err, want)
		}
	}
}
