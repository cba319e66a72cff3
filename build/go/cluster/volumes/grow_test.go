package volumes

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
)

func TestDecide(t *testing.T) {
	for name, test := range map[string]struct {
		asked, disk, seen string
		status            corev1.ClaimResourceStatus
		phase             corev1.PersistentVolumeClaimPhase
		want              step
	}{
		"as made":                            {"5G", "4769Mi", "4769Mi", "", corev1.ClaimBound, nothing},
		"asked for more":                     {"6G", "5G", "5G", "", corev1.ClaimBound, growDisk},
		"asked for more, still growing":      {"7G", "6G", "5G", corev1.PersistentVolumeClaimNodeResizeInProgress, corev1.ClaimBound, growDisk},
		"killed before the kubelet was told": {"6G", "6G", "5G", "", corev1.ClaimBound, askKubelet},
		"the kubelet knows":                  {"6G", "6G", "5G", corev1.PersistentVolumeClaimNodeResizePending, corev1.ClaimBound, nothing},
		"the kubelet gave up":                {"6G", "6G", "5G", corev1.PersistentVolumeClaimNodeResizeInfeasible, corev1.ClaimBound, askAgain},
		"not bound":                          {"6G", "5G", "", "", corev1.ClaimPending, nothing},
		"asked for less":                     {"4G", "5G", "5G", "", corev1.ClaimBound, nothing},
	} {
		t.Run(name, func(t *testing.T) {
			claim := &corev1.PersistentVolumeClaim{}
			claim.Spec.Resources.Requests = corev1.ResourceList{corev1.ResourceStorage: resource.MustParse(test.asked)}
			claim.Status.Phase = test.phase
			if test.seen != "" {
				claim.Status.Capacity = corev1.ResourceList{corev1.ResourceStorage: resource.MustParse(test.seen)}
			}
			if test.status != "" {
				claim.Status.AllocatedResourceStatuses = map[corev1.ResourceName]corev1.ClaimResourceStatus{corev1.ResourceStorage: test.status}
			}
			pv := &corev1.PersistentVolume{}
			pv.Spec.Capacity = corev1.ResourceList{corev1.ResourceStorage: resource.MustParse(test.disk)}
			if got := decide(claim, pv); got != test.want {
				t.Errorf("got %v, want %v", got, test.want)
			}
		})
	}
}
