package volumes

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	coreinformers "k8s.io/client-go/informers/core/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/record"
	"k8s.io/client-go/util/workqueue"
)

// grower does for our volumes what an external resizer does for a cloud's: it makes the disk larger and says so in
// the PersistentVolume; the kubelet then grows the file system, mounted or at the next mount, and the claim's status.
type grower struct {
	store    Store
	machine  machine
	client   kubernetes.Interface
	recorder record.EventRecorder
	claims   coreinformers.PersistentVolumeClaimInformer
	volumes  coreinformers.PersistentVolumeInformer
	queue    workqueue.TypedRateLimitingInterface[cache.ObjectName]
	asked    map[cache.ObjectName]time.Time // when the kubelet was told last
}

func newGrower(store Store, m machine, client kubernetes.Interface, recorder record.EventRecorder,
	claims coreinformers.PersistentVolumeClaimInformer, volumes coreinformers.PersistentVolumeInformer) *grower {
	g := &grower{store: store, machine: m, client: client, recorder: recorder, claims: claims, volumes: volumes,
		asked: map[cache.ObjectName]time.Time{},
		queue: workqueue.NewTypedRateLimitingQueue(
			workqueue.NewTypedItemExponentialFailureRateLimiter[cache.ObjectName](time.Second, time.Minute))}
	add := func(object any) {
		if claim, is := object.(*corev1.PersistentVolumeClaim); is {
			g.queue.Add(cache.MetaObjectToName(claim))
		}
	}
	// A failure to register is a programming error in client-go's terms: the informer would have been stopped.
	if _, err := claims.Informer().AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc: add, UpdateFunc: func(_, object any) { add(object) }}); err != nil {
		panic(err)
	}
	return g
}

func (g *grower) run(ctx context.Context) {
	defer context.AfterFunc(ctx, g.queue.ShutDown)()
	for {
		name, over := g.queue.Get()
		if over {
			return
		}
		if err := g.sync(ctx, name); err != nil && ctx.Err() == nil {
			slog.Error("volume could not be grown, tried again", "claim", name.String(), "error", err)
			g.queue.AddRateLimited(name)
		} else {
			g.queue.Forget(name)
		}
		g.queue.Done(name)
	}
}

// step is what a claim's volume needs next.
type step int

const (
	nothing step = iota
	growDisk
	askKubelet // the disk has its size and the kubelet has not been told
	askAgain   // the kubelet has given up
)

// patience is how long a kubelet that has given up is left alone before it is asked again.
const patience = time.Minute

// decide compares what is asked for, what the disk has, and what the claim's status says of the file system.
func decide(claim *corev1.PersistentVolumeClaim, pv *corev1.PersistentVolume) step {
	asked := claim.Spec.Resources.Requests[corev1.ResourceStorage]
	disk := pv.Spec.Capacity[corev1.ResourceStorage]
	seen, known := claim.Status.Capacity[corev1.ResourceStorage]
	switch {
	case claim.Status.Phase != corev1.ClaimBound || pv.DeletionTimestamp != nil || !known:
		return nothing
	case asked.Cmp(disk) > 0:
		return growDisk
	case seen.Cmp(disk) >= 0:
		return nothing
	}
	switch claim.Status.AllocatedResourceStatuses[corev1.ResourceStorage] {
	case "":
		return askKubelet
	case corev1.PersistentVolumeClaimNodeResizeInfeasible:
		return askAgain
	}
	return nothing
}

func (g *grower) sync(ctx context.Context, name cache.ObjectName) error {
	claim, err := g.claims.Lister().PersistentVolumeClaims(name.Namespace).Get(name.Name)
	if apierrors.IsNotFound(err) || (err == nil && claim.Spec.VolumeName == "") {
		delete(g.asked, name)
		return nil
	}
	if err != nil {
		return err
	}
	pv, err := g.volumes.Lister().Get(claim.Spec.VolumeName)
	if apierrors.IsNotFound(err) {
		return nil // seen soon: the claim's status changes once more when it is bound
	}
	if err != nil || pv.Annotations["pv.kubernetes.io/provisioned-by"] != ProvisionerName {
		return err
	}
	switch decide(claim, pv) {
	case growDisk:
		return g.grow(ctx, claim, pv)
	case askAgain:
		if wait := patience - time.Since(g.asked[name]); wait > 0 {
			g.queue.AddAfter(name, wait)
			return nil
		}
		fallthrough
	case askKubelet:
		return g.tellKubelet(ctx, claim, pv.Spec.Capacity[corev1.ResourceStorage])
	}
	delete(g.asked, name)
	return nil
}

func (g *grower) grow(ctx context.Context, claim *corev1.PersistentVolumeClaim, pv *corev1.PersistentVolume) error {
	found, err := g.store.find(pv.Name)
	if err != nil {
		return err
	}
	if len(found) != 1 {
		return fmt.Errorf("volume %s lies in %d places, expected one", pv.Name, len(found))
	}
	if !found[0].Folder {
		kind, err := kindOf(found[0].Path)
		if err != nil {
			return err
		}
		if err := g.machine.canGrow(kind); err != nil {
			g.recorder.Event(claim, corev1.EventTypeWarning, "VolumeResizeFailed", err.Error())
			return nil // trying again changes nothing
		}
	}
	asked := claim.Spec.Resources.Requests[corev1.ResourceStorage]
	size, err := g.store.resize(found[0], asked.Value())
	if err != nil {
		g.recorder.Event(claim, corev1.EventTypeWarning, "VolumeResizeFailed", err.Error())
		return err
	}
	now := capacity(asked, size)
	patch, err := json.Marshal(map[string]any{"spec": map[string]any{"capacity": map[string]any{"storage": now}}})
	if err != nil {
		return err
	}
	// The kubelet acts on a volume larger than its claim's status once the claim says so, hence this order.
	if _, err := g.client.CoreV1().PersistentVolumes().Patch(ctx, pv.Name, types.MergePatchType, patch, metav1.PatchOptions{}); err != nil {
		return err
	}
	slog.Info("volume grown", "volume", pv.Name, "bytes", size)
	return g.tellKubelet(ctx, claim, now)
}

func (g *grower) tellKubelet(ctx context.Context, claim *corev1.PersistentVolumeClaim, size resource.Quantity) error {
	g.asked[cache.MetaObjectToName(claim)] = time.Now()
	patch, err := json.Marshal(map[string]any{"status": map[string]any{
		"allocatedResources":        map[string]any{"storage": size},
		"allocatedResourceStatuses": map[string]any{"storage": corev1.PersistentVolumeClaimNodeResizePending},
		"conditions": []corev1.PersistentVolumeClaimCondition{{
			Type: corev1.PersistentVolumeClaimFileSystemResizePending, Status: corev1.ConditionTrue,
			LastTransitionTime: metav1.Now(),
			Message:            "the file system grows as soon as a pod uses the volume",
		}}}})
	if err != nil {
		return err
	}
	_, err = g.client.CoreV1().PersistentVolumeClaims(claim.Namespace).Patch(ctx, claim.Name,
		types.StrategicMergePatchType, patch, metav1.PatchOptions{}, "status")
	return err
}
