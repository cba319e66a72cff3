package volumes

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes/fake"
)

func newStore(t *testing.T, nodes ...string) Store {
	t.Helper()
	store := Store{State: t.TempDir()}
	for _, node := range nodes {
		if err := os.MkdirAll(filepath.Join(store.State, "nodes", node), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return store
}

func TestPlace(t *testing.T) {
	store := newStore(t, "node-1")
	for name, test := range map[string]struct {
		node, volume string
		ok           bool
	}{
		"as usual":          {"node-1", "pvc-1234", true},
		"unknown node":      {"node-2", "pvc-1234", false},
		"node is a path":    {"../node-1", "pvc-1234", false},
		"volume is a path":  {"node-1", "../../etc/passwd", false},
		"volume is dots":    {"node-1", "a..b", false},
		"empty":             {"node-1", "", false},
		"upper case":        {"node-1", "PVC", false},
		"ends with a slash": {"node-1", "pvc/", false},
	} {
		t.Run(name, func(t *testing.T) {
			volume, err := store.place(test.node, test.volume, false)
			if (err == nil) != test.ok {
				t.Fatalf("got %v, %v", volume, err)
			}
			if test.ok && volume.Path != filepath.Join(store.State, "nodes/node-1/volumes/pvc-1234.img") {
				t.Errorf("path is %s", volume.Path)
			}
		})
	}
}

func TestAllListsOnlyFinishedVolumes(t *testing.T) {
	store := newStore(t, "node-1", "node-2")
	for _, path := range []string{"node-1/volumes/pvc-a.img", "node-2/volumes/pvc-b.img", "node-2/volumes/pvc-c.img.new",
		"node-2/volumes/Not-Ours.img", "node-2/volumes/note.txt"} {
		path = filepath.Join(store.State, "nodes", path)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.MkdirAll(filepath.Join(store.State, "nodes/node-1/volumes/pvc-d.folder"), 0o755); err != nil {
		t.Fatal(err)
	}
	for node, want := range map[string]string{"": "pvc-a/node-1 pvc-d/node-1(folder) pvc-b/node-2 ", "node-2": "pvc-b/node-2 ", "node-3": ""} {
		volumes, err := store.all(node)
		if err != nil {
			t.Fatal(err)
		}
		got := ""
		for _, volume := range volumes {
			got += volume.Name + "/" + volume.Node
			if volume.Folder {
				got += "(folder)"
			}
			got += " "
		}
		if got != want {
			t.Errorf("node %q: got %q, want %q", node, got, want)
		}
	}
}

func TestSizeFor(t *testing.T) {
	for asked, want := range map[int64]int64{1: 16 * mebibyte, 16 * mebibyte: 16 * mebibyte, 100 * mebibyte: 100 * mebibyte,
		5_000_000_000: 4769 * mebibyte, 16*mebibyte + 1: 17 * mebibyte} {
		if got := sizeFor(asked); got != want || got < asked {
			t.Errorf("%d: got %d, want %d", asked, got, want)
		}
	}
}

func needLoops(t *testing.T, store Store) {
	t.Helper()
	if err := store.loopsWork(); err != nil {
		t.Skipf("loop devices cannot be used here: %v", err)
	}
}

func testName(t *testing.T) string {
	t.Helper()
	return fmt.Sprintf("pvc-test-%d-%d", os.Getpid(), time.Now().UnixNano())
}

func TestLifeOfAVolume(t *testing.T) {
	store := newStore(t, "node-1")
	needLoops(t, store)
	volume, err := store.place("node-1", testName(t), false)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.remove(volume) })
	for range 2 { // the second time is a repetition after a kill
		if size, err := store.create(volume, ext4, 20*mebibyte); err != nil || size != 20*mebibyte {
			t.Fatalf("create: %d, %v", size, err)
		}
	}
	device := linked(t, volume)
	if size, err := store.resize(volume, 40*mebibyte); err != nil || size != 40*mebibyte {
		t.Fatalf("resize: %d, %v", size, err)
	}
	if size, err := store.resize(volume, 30*mebibyte); err != nil || size != 40*mebibyte {
		t.Fatalf("a volume was made smaller: %d, %v", size, err)
	}
	sectors, err := os.ReadFile(filepath.Join("/sys/block", filepath.Base(device), "size"))
	if err != nil || string(sectors) != fmt.Sprintln(40*mebibyte/512) {
		t.Errorf("the device has %q sectors (%v)", sectors, err)
	}
	if err := store.DetachAll(context.Background(), ""); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Lstat(volume.Link()); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the link outlived the device: %v", err)
	}
	if err := store.AttachAll("node-1"); err != nil {
		t.Fatal(err)
	}
	linked(t, volume)
	for range 2 {
		if err := store.remove(volume); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := os.Stat(volume.Path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the image outlived the volume: %v", err)
	}
}

func linked(t *testing.T, volume Volume) string {
	t.Helper()
	device, err := os.Readlink(volume.Link())
	if err != nil {
		t.Fatal(err)
	}
	if real, err := deviceOf(volume.Path); err != nil || real != device {
		t.Fatalf("the link leads to %s, the image's device is %q (%v)", device, real, err)
	}
	return device
}

// Two processes, as two goroutines that share nothing but the state folder.
func TestAttachingAtTheSameTimeMakesOneDevice(t *testing.T) {
	store := newStore(t, "node-1")
	needLoops(t, store)
	volume, err := store.place("node-1", testName(t), false)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.remove(volume) })
	if err := format(volume, ext4, 16*mebibyte); err != nil {
		t.Fatal(err)
	}
	var both sync.WaitGroup
	for range 8 {
		both.Go(func() {
			if err := (Store{State: store.State}).AttachAll(""); err != nil {
				t.Error(err)
			}
		})
	}
	both.Wait()
	linked(t, volume)
	if err := detach(volume.Path); err != nil {
		t.Fatal(err)
	}
	if second, err := deviceOf(volume.Path); err != nil || second != "" {
		t.Errorf("a second device was made: %q, %v", second, err)
	}
}

func TestSweepKeepsWhatMayHoldData(t *testing.T) {
	store := newStore(t, "node-1")
	needLoops(t, store)
	client := fake.NewClientset(
		&corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{Namespace: "a", Name: "pending", UID: types.UID("of-claim")}},
		&corev1.PersistentVolume{ObjectMeta: metav1.ObjectMeta{Name: "pvc-of-volume"}},
	)
	paths := map[string]string{}
	for _, name := range []string{"pvc-of-claim", "pvc-of-volume", "pvc-unused", "pvc-used"} {
		volume, err := store.place("node-1", name, false)
		if err != nil {
			t.Fatal(err)
		}
		if err := format(volume, ext4, 16*mebibyte); err != nil {
			t.Fatal(err)
		}
		paths[name] = volume.Path
	}
	half := paths["pvc-unused"] + ".new"
	if err := errors.Join(os.WriteFile(half, nil, 0o600), writeThroughDevice(paths["pvc-used"])); err != nil {
		t.Fatal(err)
	}
	if err := (Controller{Store: store, Client: client}).sweep(context.Background()); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]bool{paths["pvc-of-claim"]: true, paths["pvc-of-volume"]: true,
		paths["pvc-used"]: true, paths["pvc-unused"]: false, half: false} {
		if _, err := os.Stat(path); (err == nil) != want {
			t.Errorf("%s: kept %v, want %v", path, err == nil, want)
		}
	}
}

// writeThroughDevice writes as a mount would.
func writeThroughDevice(image string) error {
	device, err := attach(image)
	if err != nil {
		return err
	}
	handle, err := os.OpenFile(device, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = handle.WriteAt(make([]byte, 4096), 8*mebibyte)
	return errors.Join(err, handle.Sync(), handle.Close(), detach(image))
}
