package edge

import (
	"cmp"
	"crypto/tls"
	"fmt"
	"math"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/types"
)

// MaxBody is the annotation that limits a request's body; without it, and without nginx's, there is no limit.
const MaxBody = "edge.libre.sh/max-body-size"

// NginxMaxBody says the same in most Ingresses there are: bytes, or with k, m or g as nginx counts them; 0 is no limit.
const NginxMaxBody = "nginx.ingress.kubernetes.io/proxy-body-size"

// Seen is what the API server says, as far as the edge serves it.
type Seen struct {
	Ingresses []*networkingv1.Ingress // of the edge's own class only
	Services  map[types.NamespacedName]*corev1.Service
	Slices    map[types.NamespacedName][]*discoveryv1.EndpointSlice // by Service
	Secrets   map[types.NamespacedName]*corev1.Secret               // of type kubernetes.io/tls
}

// Problem is what of an Ingress is not served, and why.
type Problem struct {
	Ingress *networkingv1.Ingress
	Reason  string
	Message string
}

// Backend is a Service's port, as an Ingress names it.
type Backend struct {
	Service types.NamespacedName
	Port    string // a name or a number
}

// Route says who answers below a path.
type Route struct {
	Path    string
	Exact   bool
	Backend Backend
	MaxBody int64 // 0: no limit
	owner   types.NamespacedName
}

// Table is everything that serving a request needs. It is built as a whole and never changed.
type Table struct {
	hosts        map[string][]Route // "" for any host, "*.x" for one label below x; best match first
	endpoints    map[Backend][]string
	certificates map[string]*tls.Certificate // by host; "*.x" as above
}

// Build turns what was seen into a table. Of two Ingresses that claim the same host and path the older one has it.
func Build(seen Seen) (*Table, []Problem) {
	b := builder{seen: seen, table: &Table{hosts: map[string][]Route{}, endpoints: map[Backend][]string{},
		certificates: map[string]*tls.Certificate{}}}
	ingresses := slices.Clone(seen.Ingresses)
	slices.SortFunc(ingresses, olderFirst)
	for _, ingress := range ingresses {
		b.addRoutes(ingress)
		b.addCertificates(ingress)
	}
	for _, routes := range b.table.hosts {
		slices.SortStableFunc(routes, bestFirst)
	}
	return b.table, b.problems
}

func olderFirst(a, b *networkingv1.Ingress) int {
	return cmp.Or(a.CreationTimestamp.Compare(b.CreationTimestamp.Time),
		strings.Compare(a.Namespace, b.Namespace), strings.Compare(a.Name, b.Name))
}

// bestFirst puts longer paths before shorter, and an exact path before a prefix of the same length.
func bestFirst(a, b Route) int {
	length := func(route Route) int { return len(strings.TrimRight(route.Path, "/")) }
	if difference := length(b) - length(a); difference != 0 {
		return difference
	}
	if a.Exact != b.Exact {
		if a.Exact {
			return -1
		}
		return 1
	}
	return strings.Compare(a.Path, b.Path)
}

type builder struct {
	seen     Seen
	table    *Table
	problems []Problem
}

func (b *builder) problem(ingress *networkingv1.Ingress, reason, format string, args ...any) {
	b.problems = append(b.problems, Problem{ingress, reason, fmt.Sprintf(format, args...)})
}

func (b *builder) addRoutes(ingress *networkingv1.Ingress) {
	limit, err := maxBody(ingress)
	if err != nil {
		b.problem(ingress, "InvalidAnnotation", "%v; no limit is applied", err)
	}
	for _, rule := range ingress.Spec.Rules {
		if rule.HTTP == nil {
			if ingress.Spec.DefaultBackend != nil {
				b.addRoute(ingress, rule.Host, networkingv1.HTTPIngressPath{Path: "/", Backend: *ingress.Spec.DefaultBackend}, limit)
			}
			continue
		}
		for _, path := range rule.HTTP.Paths {
			b.addRoute(ingress, rule.Host, path, limit)
		}
	}
	if ingress.Spec.DefaultBackend != nil && len(ingress.Spec.Rules) == 0 {
		b.addRoute(ingress, "", networkingv1.HTTPIngressPath{Path: "/", Backend: *ingress.Spec.DefaultBackend}, limit)
	}
}

func maxBody(ingress *networkingv1.Ingress) (int64, error) {
	text := ingress.Annotations[MaxBody]
	if text == "" {
		return nginxSize(ingress.Annotations[NginxMaxBody])
	}
	quantity, err := resource.ParseQuantity(text)
	if err != nil {
		return 0, fmt.Errorf("%s: %w", MaxBody, err)
	}
	if quantity.Sign() < 0 {
		return 0, fmt.Errorf("%s: %s is negative", MaxBody, text)
	}
	return quantity.Value(), nil
}

func nginxSize(text string) (int64, error) {
	if text == "" {
		return 0, nil
	}
	digits := strings.TrimRight(strings.ToLower(text), "kmg")
	size, err := strconv.ParseInt(digits, 10, 64)
	if err != nil || size < 0 || len(text)-len(digits) > 1 {
		return 0, fmt.Errorf("%s: %q is not a size", NginxMaxBody, text)
	}
	shift := map[string]int{"": 0, "k": 10, "m": 20, "g": 30}[strings.ToLower(text[len(digits):])]
	if size > math.MaxInt64>>shift {
		return 0, fmt.Errorf("%s: %q is too large", NginxMaxBody, text)
	}
	return size << shift, nil
}

func (b *builder) addRoute(ingress *networkingv1.Ingress, host string, path networkingv1.HTTPIngressPath, limit int64) {
	if path.Backend.Service == nil {
		b.problem(ingress, "BackendNotSupported", "host %q path %q: only Services can be backends here", host, path.Path)
		return
	}
	owner := types.NamespacedName{Namespace: ingress.Namespace, Name: ingress.Name}
	port := path.Backend.Service.Port.Name
	if port == "" {
		port = strconv.Itoa(int(path.Backend.Service.Port.Number))
	}
	route := Route{Path: path.Path, MaxBody: limit, owner: owner,
		Exact: path.PathType != nil && *path.PathType == networkingv1.PathTypeExact,
		Backend: Backend{Port: port,
			Service: types.NamespacedName{Namespace: ingress.Namespace, Name: path.Backend.Service.Name}}}
	if !route.Exact {
		route.Path = strings.TrimRight(route.Path, "/") + "/" // "/a" and "/a/" are the same prefix
	}
	host = strings.ToLower(host)
	for _, other := range b.table.hosts[host] {
		if other.Path == route.Path && other.Exact == route.Exact {
			if other.owner != owner {
				b.problem(ingress, "HostPathTaken", "host %q path %q belongs to the older Ingress %s; not served from this one",
					host, path.Path, other.owner)
			}
			return
		}
	}
	b.table.hosts[host] = append(b.table.hosts[host], route)
	b.addEndpoints(ingress, route.Backend)
}

func (b *builder) addEndpoints(ingress *networkingv1.Ingress, backend Backend) {
	if _, done := b.table.endpoints[backend]; done {
		return
	}
	service := b.seen.Services[backend.Service]
	if service == nil {
		b.problem(ingress, "ServiceNotFound", "Service %s does not exist", backend.Service.Name)
		return
	}
	if service.Spec.Type == corev1.ServiceTypeExternalName {
		if _, err := strconv.Atoi(backend.Port); err == nil {
			b.table.endpoints[backend] = []string{net.JoinHostPort(service.Spec.ExternalName, backend.Port)}
		} else {
			b.problem(ingress, "PortNotFound", "Service %s is an external name: give its port as a number", backend.Service.Name)
		}
		return
	}
	for _, port := range service.Spec.Ports {
		if port.Name == backend.Port || strconv.Itoa(int(port.Port)) == backend.Port {
			b.table.endpoints[backend] = addresses(b.seen.Slices[backend.Service], port.Name)
			return
		}
	}
	b.problem(ingress, "PortNotFound", "Service %s has no port %s", backend.Service.Name, backend.Port)
}

// addresses lists where a Service's port is served: by what is ready, or, where nothing is, by what is on its way
// out and still answers, as kube-proxy does.
func addresses(endpointSlices []*discoveryv1.EndpointSlice, portName string) []string {
	ready, leaving := map[string]bool{}, map[string]bool{}
	for _, slice := range endpointSlices {
		if slice.AddressType == discoveryv1.AddressTypeFQDN {
			continue
		}
		for _, port := range slice.Ports {
			if port.Port == nil || orZero(port.Name) != portName || (port.Protocol != nil && *port.Protocol != corev1.ProtocolTCP) {
				continue
			}
			for _, endpoint := range slice.Endpoints {
				into := leaving
				if endpoint.Conditions.Ready == nil || *endpoint.Conditions.Ready {
					into = ready
				} else if !orZero(endpoint.Conditions.Serving) || !orZero(endpoint.Conditions.Terminating) {
					continue
				}
				if len(endpoint.Addresses) > 0 {
					into[net.JoinHostPort(endpoint.Addresses[0], strconv.Itoa(int(*port.Port)))] = true
				}
			}
		}
	}
	if len(ready) == 0 {
		ready = leaving
	}
	var found []string
	for address := range ready {
		found = append(found, address)
	}
	slices.Sort(found)
	return found
}

func orZero[T any](pointer *T) T {
	if pointer == nil {
		var zero T
		return zero
	}
	return *pointer
}

// addCertificates takes the certificates that an Ingress brings. A host whose Secret is absent or wrong is served
// with a certificate of the local CA.
func (b *builder) addCertificates(ingress *networkingv1.Ingress) {
	for _, entry := range ingress.Spec.TLS {
		if entry.SecretName == "" {
			continue
		}
		secret := b.seen.Secrets[types.NamespacedName{Namespace: ingress.Namespace, Name: entry.SecretName}]
		if secret == nil {
			continue // the usual case on a local cluster
		}
		certificate, err := tls.X509KeyPair(secret.Data[corev1.TLSCertKey], secret.Data[corev1.TLSPrivateKeyKey])
		if err != nil {
			b.problem(ingress, "InvalidCertificate", "Secret %s: %v; the local CA's certificate is served", entry.SecretName, err)
			continue
		}
		hosts := entry.Hosts
		if len(hosts) == 0 {
			for _, rule := range ingress.Spec.Rules {
				hosts = append(hosts, rule.Host)
			}
		}
		for _, host := range hosts {
			b.addCertificate(ingress, entry.SecretName, strings.ToLower(host), &certificate)
		}
	}
}

func (b *builder) addCertificate(ingress *networkingv1.Ingress, secret, host string, certificate *tls.Certificate) {
	name := strings.Replace(host, "*.", "any.", 1)
	if host == "" || b.table.certificates[host] != nil {
		return
	}
	if err := certificate.Leaf.VerifyHostname(name); err != nil {
		b.problem(ingress, "InvalidCertificate", "Secret %s: %v; the local CA's certificate is served", secret, err)
		return
	}
	if time.Now().After(certificate.Leaf.NotAfter) {
		b.problem(ingress, "CertificateExpired", "Secret %s expired on %s and is served all the same", secret,
			certificate.Leaf.NotAfter.Format(time.DateOnly))
	}
	b.table.certificates[host] = certificate
}

// lookup finds what is stored for the host itself, or else for its parent's wildcard.
func lookup[T any](stored map[string]T, host string) (T, bool) {
	if found, ok := stored[host]; ok {
		return found, true
	}
	if _, parent, ok := strings.Cut(host, "."); ok {
		if found, ok := stored["*."+parent]; ok {
			return found, true
		}
	}
	var none T
	return none, false
}

// Match finds the route for a request. The most specific host that is known decides alone: a path that it lacks is
// not looked for under a wildcard.
func (t *Table) Match(host, path string) (Route, bool) {
	routes, known := lookup(t.hosts, host)
	if !known {
		routes = t.hosts[""]
	}
	for _, route := range routes {
		if route.matches(path) {
			return route, true
		}
	}
	return Route{}, false
}

func (r Route) matches(path string) bool {
	if r.Exact {
		return path == r.Path
	}
	return strings.HasPrefix(path, r.Path) || path+"/" == r.Path
}

// Serves tells whether any Ingress answers for the host.
func (t *Table) Serves(host string) bool {
	_, known := lookup(t.hosts, host)
	return known || len(t.hosts[""]) > 0
}

// Endpoints lists the addresses of a backend, none when nothing serves it.
func (t *Table) Endpoints(backend Backend) []string { return t.endpoints[backend] }

// Certificate returns the certificate that an Ingress brought for the host, or nil.
func (t *Table) Certificate(host string) *tls.Certificate {
	certificate, _ := lookup(t.certificates, host)
	return certificate
}
