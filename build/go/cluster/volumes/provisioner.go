// Package volumes provisions PersistentVolumes whose size is true: each is a file with a file system of exactly the
// size asked for, attached to a loop device that the kubelet mounts as it would a cloud's disk.
package volumes

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/record"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/sig-storage-lib-external-provisioner/v13/controller"

	"libre.sh/build/cluster/kube"
)

const (
	// ProvisionerName is what a StorageClass names to have its volumes made here.
	ProvisionerName = "libre.sh/local-volumes"
	className       = "local"
	enforced        = "libre.sh/size-enforced"
)

// Controller provisions, grows and deletes the volumes of one cluster.
type Controller struct {
	Store   Store
	Client  kubernetes.Interface
	Folders bool // plain folders even where loop devices work
	Ready   func()
	machine machine
}

// Run works until the context ends.
func (c Controller) Run(ctx context.Context) error {
	if err := c.prepare(); err != nil {
		return err
	}
	if err := kube.AwaitServer(ctx, c.Client); err != nil {
		return ignoreCancelled(ctx, err)
	}
	if err := c.createClass(ctx); err != nil {
		return ignoreCancelled(ctx, fmt.Errorf("create StorageClass %s: %w", className, err))
	}
	recorder, stop := kube.Recorder(c.Client, ProvisionerName)
	defer stop()
	factory := informers.NewSharedInformerFactoryWithOptions(c.Client, 0, informers.WithTransform(kube.Slim))
	claims := factory.Core().V1().PersistentVolumeClaims()
	volumes := factory.Core().V1().PersistentVolumes()
	grower := newGrower(c.Store, c.machine, c.Client, recorder, claims, volumes)
	provisioner := controller.NewProvisionController(ctx, c.Client, ProvisionerName, &provisioner{c, recorder},
		controller.LeaderElection(false), controller.MetricsPort(0), controller.AddFinalizer(true),
		controller.FailedProvisionThreshold(0), controller.FailedDeleteThreshold(0), // never give up
		controller.ClaimsInformer(claims.Informer()), controller.VolumesInformer(volumes.Informer()),
		controller.ClassesInformer(factory.Storage().V1().StorageClasses().Informer()),
		controller.RateLimiter(workqueue.NewTypedItemExponentialFailureRateLimiter[string](250*time.Millisecond, 30*time.Second)))
	factory.Start(ctx.Done())
	factory.WaitForCacheSync(ctx.Done())
	go grower.run(ctx)
	go c.sweepForever(ctx)
	c.Ready()
	slog.Info("provisioning volumes", "provisioner", ProvisionerName, "sizeEnforced", !c.Folders)
	provisioner.Run(ctx)
	return nil
}

// prepare finds out what this machine can do, and makes the devices of the volumes that exist.
func (c *Controller) prepare() (err error) {
	if !c.Folders {
		if err := c.Store.loopsWork(); err != nil {
			c.Folders = true
			slog.Warn("VOLUME SIZES ARE NOT ENFORCED: loop devices cannot be used here, volumes are plain folders", "error", err)
		}
	}
	if c.machine, err = observeMachine(); err != nil {
		return err
	}
	logMachine(c.machine)
	if err := c.Store.AttachAll(""); err != nil {
		slog.Error("some volumes could not be attached", "error", err)
	}
	return nil
}

func ignoreCancelled(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil
	}
	return err
}

func (c Controller) createClass(ctx context.Context) error {
	reclaim, binding, expand := corev1.PersistentVolumeReclaimDelete, storagev1.VolumeBindingWaitForFirstConsumer, true
	class := &storagev1.StorageClass{
		ObjectMeta: metav1.ObjectMeta{Name: className,
			Annotations: map[string]string{"storageclass.kubernetes.io/is-default-class": "true"}},
		Provisioner: ProvisionerName, ReclaimPolicy: &reclaim, VolumeBindingMode: &binding, AllowVolumeExpansion: &expand,
	}
	if !c.Folders {
		class.MountOptions = []string{"discard"} // what is deleted in a volume is given back to the host's disk
	}
	_, err := c.Client.StorageV1().StorageClasses().Create(ctx, class, metav1.CreateOptions{})
	return kube.IgnoreExists(err)
}

type provisioner struct {
	Controller
	recorder record.EventRecorder
}

// Provision implements controller.Provisioner.
func (p *provisioner) Provision(ctx context.Context, o controller.ProvisionOptions) (*corev1.PersistentVolume, controller.ProvisioningState, error) {
	if err := checkClaim(o.PVC, o.SelectedNodeName); err != nil {
		return nil, controller.ProvisioningFinished, err
	}
	node, err := p.Client.CoreV1().Nodes().Get(ctx, o.SelectedNodeName, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil, controller.ProvisioningReschedule, fmt.Errorf("node %s is gone", o.SelectedNodeName)
	}
	if err != nil {
		return nil, controller.ProvisioningNoChange, err
	}
	volume, err := p.Store.place(node.Name, o.PVName, p.Folders)
	if err != nil {
		return nil, controller.ProvisioningFinished, err
	}
	asked := o.PVC.Spec.Resources.Requests[corev1.ResourceStorage]
	size, err := p.Store.create(volume, p.machine.pick(), asked.Value())
	if err != nil {
		return nil, controller.ProvisioningInBackground, fmt.Errorf("volume %s on node %s: %w", volume.Name, node.Name, err)
	}
	kind := "" // of a folder: the host's
	if !volume.Folder {
		if kind, err = kindOf(volume.Path); err != nil {
			return nil, controller.ProvisioningFinished, err
		}
	}
	if volume.Folder {
		p.recorder.Event(o.PVC, corev1.EventTypeWarning, "SizeNotEnforced",
			"loop devices are not used on this machine: the volume is a folder and can grow past what was asked for")
	}
	p.warnIfOvercommitted(o.PVC)
	slog.Info("volume made", "volume", volume.Name, "node", node.Name, "bytes", size,
		"claim", o.PVC.Namespace+"/"+o.PVC.Name, "fileSystem", kind, "sizeEnforced", !volume.Folder)
	return persistentVolume(o, node, volume, kind, capacity(asked, size)), controller.ProvisioningFinished, nil
}

// warnIfOvercommitted says when volumes were promised more than the disk can hold: they are sparse, and a full disk
// fails writes inside them.
func (p *provisioner) warnIfOvercommitted(claim *corev1.PersistentVolumeClaim) {
	promised, free, err := p.Store.promised()
	if err != nil {
		slog.Error("free space not compared with what was promised", "error", err)
	} else if promised > free {
		p.recorder.Eventf(claim, corev1.EventTypeWarning, "DiskOvercommitted",
			"this machine's volumes may grow by another %d MiB and its disk has %d MiB free: writes fail when it is full",
			promised/mebibyte, free/mebibyte)
	}
}

// capacity keeps the spelling of the claim where it is exact.
func capacity(asked resource.Quantity, size int64) resource.Quantity {
	if asked.Value() == size {
		return asked
	}
	return *resource.NewQuantity(size, resource.BinarySI)
}

func checkClaim(claim *corev1.PersistentVolumeClaim, node string) error {
	if node == "" {
		return errors.New("no node was selected: use a StorageClass with volumeBindingMode WaitForFirstConsumer")
	}
	if claim.Spec.DataSource != nil || claim.Spec.DataSourceRef != nil {
		return errors.New("spec.dataSource: local volumes cannot be made from snapshots or other volumes; leave it out and copy the data")
	}
	if claim.Spec.Selector != nil {
		return errors.New("spec.selector: a volume made for this claim has no labels to select; leave it out")
	}
	for _, mode := range claim.Spec.AccessModes {
		if mode != corev1.ReadWriteOnce && mode != corev1.ReadWriteOncePod {
			return fmt.Errorf("spec.accessModes: %s: a local volume is on one node; ask for ReadWriteOnce", mode)
		}
	}
	return nil
}

func persistentVolume(o controller.ProvisionOptions, node *corev1.Node, volume Volume, kind string, size resource.Quantity) *corev1.PersistentVolume {
	source := &corev1.LocalVolumeSource{Path: volume.Path}
	if !volume.Folder {
		source = &corev1.LocalVolumeSource{Path: volume.Link(), FSType: &kind}
	}
	hostname := node.Labels[corev1.LabelHostname]
	if hostname == "" {
		hostname = node.Name
	}
	mode := corev1.PersistentVolumeFilesystem
	options := o.StorageClass.MountOptions
	if volume.Folder {
		options = nil
	}
	return &corev1.PersistentVolume{
		ObjectMeta: metav1.ObjectMeta{Name: volume.Name, Annotations: map[string]string{
			enforced: fmt.Sprint(!volume.Folder)}},
		Spec: corev1.PersistentVolumeSpec{
			PersistentVolumeReclaimPolicy: *o.StorageClass.ReclaimPolicy,
			AccessModes:                   o.PVC.Spec.AccessModes,
			VolumeMode:                    &mode,
			MountOptions:                  options,
			Capacity:                      corev1.ResourceList{corev1.ResourceStorage: size},
			PersistentVolumeSource:        corev1.PersistentVolumeSource{Local: source},
			NodeAffinity: &corev1.VolumeNodeAffinity{Required: &corev1.NodeSelector{
				NodeSelectorTerms: []corev1.NodeSelectorTerm{{MatchExpressions: []corev1.NodeSelectorRequirement{
					{Key: corev1.LabelHostname, Operator: corev1.NodeSelectorOpIn, Values: []string{hostname}}}}}}},
		},
	}
}

// Delete implements controller.Provisioner.
func (p *provisioner) Delete(ctx context.Context, pv *corev1.PersistentVolume) error {
	found, err := p.Store.find(pv.Name)
	if err != nil {
		return err
	}
	for _, volume := range found {
		if err := p.Store.removeSoon(ctx, volume); err != nil {
			return err
		}
		slog.Info("volume deleted", "volume", volume.Name, "node", volume.Node)
	}
	return nil
}
