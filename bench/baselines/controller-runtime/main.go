// The same small reconcile with controller-runtime, as a careful author would write it: a generation predicate, children in
// a label-selected cache without managedFields, server-side apply, nothing written that is already so, no client-side limit.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"sync"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/tools/clientcmd"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/log/zap"
	"sigs.k8s.io/controller-runtime/pkg/metrics/server"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
)

var group = schema.GroupVersion{Group: "bench.libre.sh", Version: "v1"}

type EnvVar struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

type WidgetSpec struct {
	Size     int               `json:"size"`
	Settings map[string]string `json:"settings,omitempty"`
	Env      []EnvVar          `json:"env,omitempty"`
}

type WidgetStatus struct {
	ObservedGeneration int64              `json:"observedGeneration,omitempty"`
	Conditions         []metav1.Condition `json:"conditions,omitempty"`
}

type Widget struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`
	Spec              WidgetSpec   `json:"spec,omitempty"`
	Status            WidgetStatus `json:"status,omitempty"`
}

type WidgetList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []Widget `json:"items"`
}

func (w *Widget) DeepCopyObject() runtime.Object { return w.copy() }

func (w *Widget) copy() *Widget {
	out := *w
	w.ObjectMeta.DeepCopyInto(&out.ObjectMeta)
	out.Spec.Settings = make(map[string]string, len(w.Spec.Settings))
	for key, value := range w.Spec.Settings {
		out.Spec.Settings[key] = value
	}
	out.Spec.Env = append([]EnvVar(nil), w.Spec.Env...)
	out.Status.Conditions = append([]metav1.Condition(nil), w.Status.Conditions...)
	return &out
}

func (l *WidgetList) DeepCopyObject() runtime.Object {
	out := *l
	out.Items = make([]Widget, len(l.Items))
	for i := range l.Items {
		out.Items[i] = *l.Items[i].copy()
	}
	return &out
}

type reconciler struct {
	client.Client
	// The generation last reported of each widget. The event of the ConfigMap often comes before that of one's own status;
	// without this a third more statuses would be written.
	reported sync.Map
}

const manager = client.FieldOwner("widgets")

func (r *reconciler) Reconcile(ctx context.Context, request ctrl.Request) (ctrl.Result, error) {
	var widget Widget
	if err := r.Get(ctx, request.NamespacedName, &widget); err != nil {
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	want := map[string]string{"size": fmt.Sprint(widget.Spec.Size), "first": widget.Spec.Settings["setting00"]}
	var child corev1.ConfigMap
	err := r.Get(ctx, types.NamespacedName{Namespace: widget.Namespace, Name: widget.Name + "-config"}, &child)
	if err != nil && !apierrors.IsNotFound(err) {
		return ctrl.Result{}, err
	}
	if apierrors.IsNotFound(err) || child.Data["size"] != want["size"] || child.Data["first"] != want["first"] {
		yes := true
		apply := map[string]any{
			"apiVersion": "v1", "kind": "ConfigMap",
			"metadata": map[string]any{
				"name": widget.Name + "-config", "namespace": widget.Namespace, "labels": map[string]string{"managed": "widgets"},
				"ownerReferences": []metav1.OwnerReference{{APIVersion: group.String(), Kind: "Widget", Name: widget.Name, UID: widget.UID, Controller: &yes}},
			},
			"data": want,
		}
		body, err := json.Marshal(apply)
		if err != nil {
			return ctrl.Result{}, err
		}
		target := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: widget.Namespace, Name: widget.Name + "-config"}}
		if err := r.Patch(ctx, target, client.RawPatch(types.ApplyPatchType, body), manager, client.ForceOwnership); err != nil {
			return ctrl.Result{}, err
		}
	}
	if widget.Status.ObservedGeneration == widget.Generation && len(widget.Status.Conditions) == 1 {
		return ctrl.Result{}, nil
	}
	if generation, _ := r.reported.Load(widget.UID); generation == widget.Generation {
		return ctrl.Result{}, nil
	}
	changed := metav1.Now()
	if len(widget.Status.Conditions) == 1 {
		changed = widget.Status.Conditions[0].LastTransitionTime
	}
	status := map[string]any{
		"apiVersion": group.String(), "kind": "Widget",
		"metadata": map[string]any{"name": widget.Name, "namespace": widget.Namespace},
		"status": WidgetStatus{ObservedGeneration: widget.Generation, Conditions: []metav1.Condition{{
			Type: "Ready", Status: metav1.ConditionTrue, Reason: "Settled", Message: "The ConfigMap is there",
			ObservedGeneration: widget.Generation, LastTransitionTime: changed,
		}}},
	}
	body, err := json.Marshal(status)
	if err != nil {
		return ctrl.Result{}, err
	}
	uid, generation := widget.UID, widget.Generation
	if err := r.Status().Patch(ctx, &widget, client.RawPatch(types.ApplyPatchType, body), manager, client.ForceOwnership); err != nil {
		return ctrl.Result{}, err
	}
	r.reported.Store(uid, generation)
	return ctrl.Result{}, nil
}

func main() {
	ctrl.SetLogger(zap.New(zap.Level(zapLevel(1))))
	config, err := clientcmd.BuildConfigFromFlags("", os.Getenv("KUBECONFIG"))
	check(err)
	config.QPS = -1
	scheme := runtime.NewScheme()
	check(clientgoscheme.AddToScheme(scheme))
	scheme.AddKnownTypes(group, &Widget{}, &WidgetList{})
	metav1.AddToGroupVersion(scheme, group)
	selector := labels.SelectorFromSet(labels.Set{"managed": "widgets"})
	mgr, err := ctrl.NewManager(config, ctrl.Options{
		Scheme:  scheme,
		Metrics: server.Options{BindAddress: "0"},
		Cache: cache.Options{
			DefaultTransform: cache.TransformStripManagedFields(),
			ByObject:         map[client.Object]cache.ByObject{&corev1.ConfigMap{}: {Label: selector}},
		},
	})
	check(err)
	check(ctrl.NewControllerManagedBy(mgr).
		For(&Widget{}, builder.WithPredicates(predicate.GenerationChangedPredicate{})).
		Owns(&corev1.ConfigMap{}).
		WithOptions(controller.Options{MaxConcurrentReconciles: 16}).
		Complete(&reconciler{Client: mgr.GetClient()}))
	check(mgr.Start(ctrl.SetupSignalHandler()))
}

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
