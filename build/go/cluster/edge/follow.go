package edge

import (
	"context"
	"log/slog"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/record"

	"libre.sh/build/cluster/kube"
)

// signal wakes one waiter; signals that come before it woke are one.
type signal chan struct{}

func (s signal) send() {
	select {
	case s <- struct{}{}:
	default:
	}
}

// follower keeps the table as the cluster is.
type follower struct {
	edge     *Edge
	recorder record.EventRecorder
	all      informers.SharedInformerFactory
	tls      informers.SharedInformerFactory // the Secrets of one type, so that others do not fill our memory
	changed  signal                          // the table must be built again
	statuses signal                          // Ingresses' status must be looked at again
	told     map[types.UID][]Problem
}

func newFollower(e *Edge, recorder record.EventRecorder) *follower {
	slim := informers.WithTransform(kube.Slim)
	return &follower{edge: e, recorder: recorder, changed: make(signal, 1), statuses: make(signal, 1), told: map[types.UID][]Problem{},
		all: informers.NewSharedInformerFactoryWithOptions(e.client, 0, slim),
		tls: informers.NewSharedInformerFactoryWithOptions(e.client, 0, slim,
			informers.WithTweakListOptions(func(o *metav1.ListOptions) {
				o.FieldSelector = fields.OneTermEqualSelector("type", string(corev1.SecretTypeTLS)).String()
			}))}
}

func (f *follower) informers() []cache.SharedIndexInformer {
	return []cache.SharedIndexInformer{
		f.all.Networking().V1().Ingresses().Informer(), f.all.Networking().V1().IngressClasses().Informer(),
		f.all.Core().V1().Services().Informer(), f.all.Discovery().V1().EndpointSlices().Informer(),
		f.tls.Core().V1().Secrets().Informer(),
	}
}

func (f *follower) start(ctx context.Context) {
	wake := func(any) { f.changed.send() }
	for _, informer := range f.informers() {
		if _, err := informer.AddEventHandler(cache.ResourceEventHandlerFuncs{AddFunc: wake, DeleteFunc: wake,
			UpdateFunc: func(_, now any) { wake(now) }}); err != nil {
			panic(err) // only an informer that was stopped before it began refuses a handler
		}
	}
	f.all.Start(ctx.Done())
	f.tls.Start(ctx.Done())
	f.all.WaitForCacheSync(ctx.Done())
	f.tls.WaitForCacheSync(ctx.Done())
}

// run rebuilds the table after changes; changes that come together are taken together.
func (f *follower) run(ctx context.Context) {
	if ctx.Err() == nil {
		f.rebuild()
		f.edge.ready()
	}
	go f.showForever(ctx)
	for {
		select {
		case <-ctx.Done():
			return
		case <-f.changed:
		}
		time.Sleep(10 * time.Millisecond)
		f.rebuild()
	}
}

func (f *follower) rebuild() {
	seen := f.seen()
	seen.Ingresses, _ = f.ingresses()
	table, problems := Build(seen)
	f.edge.state.table.Store(table)
	f.tell(problems)
	f.statuses.send()
}

// showForever writes statuses beside the rebuilds, which must not wait for the API server.
func (f *follower) showForever(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-f.statuses:
		}
		mine, others := f.ingresses()
		for _, ingress := range mine {
			f.show(ctx, ingress, true)
		}
		for _, ingress := range others {
			f.show(ctx, ingress, false)
		}
	}
}

func (f *follower) ingresses() (mine, others []*networkingv1.Ingress) {
	classes := map[string]*networkingv1.IngressClass{}
	for _, class := range listed[*networkingv1.IngressClass](f.all.Networking().V1().IngressClasses().Informer()) {
		classes[class.Name] = class
	}
	for _, ingress := range listed[*networkingv1.Ingress](f.all.Networking().V1().Ingresses().Informer()) {
		if ours(ingress, classes) {
			mine = append(mine, ingress)
		} else {
			others = append(others, ingress)
		}
	}
	return mine, others
}

func (f *follower) seen() Seen {
	seen := Seen{Services: map[types.NamespacedName]*corev1.Service{},
		Slices:  map[types.NamespacedName][]*discoveryv1.EndpointSlice{},
		Secrets: map[types.NamespacedName]*corev1.Secret{}}
	for _, service := range listed[*corev1.Service](f.all.Core().V1().Services().Informer()) {
		seen.Services[types.NamespacedName{Namespace: service.Namespace, Name: service.Name}] = service
	}
	for _, slice := range listed[*discoveryv1.EndpointSlice](f.all.Discovery().V1().EndpointSlices().Informer()) {
		name := types.NamespacedName{Namespace: slice.Namespace, Name: slice.Labels[discoveryv1.LabelServiceName]}
		seen.Slices[name] = append(seen.Slices[name], slice)
	}
	for _, secret := range listed[*corev1.Secret](f.tls.Core().V1().Secrets().Informer()) {
		seen.Secrets[types.NamespacedName{Namespace: secret.Namespace, Name: secret.Name}] = secret
	}
	return seen
}

func listed[T any](informer cache.SharedIndexInformer) []T {
	var found []T
	for _, object := range informer.GetStore().List() {
		if typed, is := object.(T); is {
			found = append(found, typed)
		}
	}
	return found
}

// tell writes events for problems that were not there at the last rebuild.
func (f *follower) tell(problems []Problem) {
	now := map[types.UID][]Problem{}
	for _, problem := range problems {
		now[problem.Ingress.UID] = append(now[problem.Ingress.UID], problem)
	}
	for uid, found := range now {
		for _, problem := range found {
			if !contains(f.told[uid], problem) {
				f.recorder.Event(problem.Ingress, corev1.EventTypeWarning, problem.Reason, problem.Message)
				slog.Warn("Ingress not served in full", "ingress", problem.Ingress.Namespace+"/"+problem.Ingress.Name,
					"reason", problem.Reason, "problem", problem.Message)
			}
		}
	}
	f.told = now
}

func contains(told []Problem, problem Problem) bool {
	for _, other := range told {
		if other.Reason == problem.Reason && other.Message == problem.Message {
			return true
		}
	}
	return false
}

// show writes the edge's addresses to the Ingress's status.
func (f *follower) show(ctx context.Context, ingress *networkingv1.Ingress, mine bool) {
	addresses, change := wantedStatus(ingress, mine, f.edge.config.StatusIPs)
	if !change {
		return
	}
	if err := f.edge.writeStatus(ctx, ingress, addresses); err != nil && ctx.Err() == nil {
		slog.Error("status of an Ingress not written, tried again", "ingress", ingress.Namespace+"/"+ingress.Name, "error", err)
		time.AfterFunc(5*time.Second, f.statuses.send)
	}
}
