package edge

import (
	"context"
	"encoding/json"
	"slices"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"libre.sh/build/cluster/kube"
)

const (
	// ControllerName is what an IngressClass names to be served here.
	ControllerName = "libre.sh/local-edge"
	className      = "local"
	caNamespace    = "kube-public"
	caName         = "local-ca"
	caKey          = "ca.crt"
)

// publish writes what the cluster must know of the edge. The class is a person's to change once it exists.
func (e *Edge) publish(ctx context.Context) error {
	class := &networkingv1.IngressClass{
		ObjectMeta: metav1.ObjectMeta{Name: className,
			Annotations: map[string]string{networkingv1.AnnotationIsDefaultIngressClass: "true"}},
		Spec: networkingv1.IngressClassSpec{Controller: ControllerName},
	}
	_, err := e.client.NetworkingV1().IngressClasses().Create(ctx, class, metav1.CreateOptions{})
	if err := kube.IgnoreExists(err); err != nil {
		return err
	}
	return e.publishRoot(ctx)
}

func (e *Edge) publishRoot(ctx context.Context) error {
	maps := e.client.CoreV1().ConfigMaps(caNamespace)
	now, err := maps.Get(ctx, caName, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		space := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: caNamespace}}
		_, err := e.client.CoreV1().Namespaces().Create(ctx, space, metav1.CreateOptions{})
		if err := kube.IgnoreExists(err); err != nil {
			return err
		}
		_, err = maps.Create(ctx, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: caName},
			Data: map[string]string{caKey: e.state.authority.RootPEM()}}, metav1.CreateOptions{})
		return err
	}
	if err != nil || now.Data[caKey] == e.state.authority.RootPEM() {
		return err
	}
	patch, err := json.Marshal(object{"data": object{caKey: e.state.authority.RootPEM()}})
	if err != nil {
		return err
	}
	_, err = maps.Patch(ctx, caName, types.MergePatchType, patch, metav1.PatchOptions{})
	return err
}

// ours tells whether the edge serves the Ingress: by its class, or, where it names none, because ours is the default.
func ours(ingress *networkingv1.Ingress, classes map[string]*networkingv1.IngressClass) bool {
	name := orZero(ingress.Spec.IngressClassName)
	if name == "" {
		name = ingress.Annotations["kubernetes.io/ingress.class"]
	}
	if name != "" {
		class := classes[name]
		return class != nil && class.Spec.Controller == ControllerName
	}
	for _, class := range classes {
		if class.Spec.Controller == ControllerName && class.Annotations[networkingv1.AnnotationIsDefaultIngressClass] == "true" {
			return true
		}
	}
	return false
}

// wantedStatus returns the addresses that the Ingress's status should show, and whether that is a change. An
// Ingress that is not ours (any more) is cleared of our addresses only.
func wantedStatus(ingress *networkingv1.Ingress, mine bool, ips []string) ([]networkingv1.IngressLoadBalancerIngress, bool) {
	var wanted []networkingv1.IngressLoadBalancerIngress
	for _, ip := range ips {
		wanted = append(wanted, networkingv1.IngressLoadBalancerIngress{IP: ip})
	}
	same := slices.EqualFunc(ingress.Status.LoadBalancer.Ingress, wanted, func(a, b networkingv1.IngressLoadBalancerIngress) bool {
		return a.IP == b.IP && a.Hostname == b.Hostname
	})
	if mine {
		return wanted, !same
	}
	return []networkingv1.IngressLoadBalancerIngress{}, same && len(wanted) > 0
}

func (e *Edge) writeStatus(ctx context.Context, ingress *networkingv1.Ingress, addresses []networkingv1.IngressLoadBalancerIngress) error {
	patch, err := json.Marshal(object{"status": object{"loadBalancer": object{"ingress": addresses}}})
	if err != nil {
		return err
	}
	_, err = e.client.NetworkingV1().Ingresses(ingress.Namespace).Patch(ctx, ingress.Name, types.MergePatchType, patch,
		metav1.PatchOptions{}, "status")
	if apierrors.IsNotFound(err) {
		return nil
	}
	return err
}
