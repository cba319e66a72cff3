package volumes

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

func TestPick(t *testing.T) {
	for name, test := range map[string]struct {
		machine machine
		kind    string
		grows   bool
	}{
		"all allowed":                {machine{sysResource: true, xfs: true}, ext4, true},
		"no XFS needed":              {machine{sysResource: true}, ext4, true},
		"capability missing":         {machine{xfs: true}, xfs, true},
		"capability and XFS missing": {machine{}, ext4, false},
	} {
		t.Run(name, func(t *testing.T) {
			kind := test.machine.pick()
			if kind != test.kind {
				t.Errorf("picked %s, want %s", kind, test.kind)
			}
			if err := test.machine.canGrow(kind); (err == nil) != test.grows {
				t.Errorf("canGrow: %v, want grows=%v", err, test.grows)
			}
		})
	}
}

func TestHasCapability(t *testing.T) {
	for set, want := range map[string]bool{"000001ffffffffff": true, "000001fffeffffff": false, "0000000001000000": true} {
		got, err := hasCapability("Name:\tx\nCapPrm:\t0000000000000000\nCapEff:\t"+set+"\n", unix.CAP_SYS_RESOURCE)
		if err != nil || got != want {
			t.Errorf("%s: %v, %v; want %v", set, got, err, want)
		}
	}
	if _, err := hasCapability("Name:\tx\n", unix.CAP_SYS_RESOURCE); err == nil {
		t.Error("a status without CapEff was read as an answer")
	}
}

// Every size must be formatted with the real programs: their minima depend on the size in ways of their own.
func TestFormatEverySize(t *testing.T) {
	for _, kind := range []string{ext4, xfs} {
		if _, err := exec.LookPath("mkfs." + kind); err != nil {
			t.Logf("mkfs.%s is not installed: not tried", kind)
			continue
		}
		for _, size := range []int64{16, 17, 32, 64, 100, 256, 299, 300, 301, 512, 1000, 1023, 1024, 5000, 102400, 1 << 20} {
			volume := Volume{Path: filepath.Join(t.TempDir(), "pvc-x.img")}
			if err := format(volume, kind, size*mebibyte); err != nil {
				t.Errorf("%s of %d MiB: %v", kind, size, err)
				continue
			}
			if got, err := kindOf(volume.Path); got != kind || err != nil {
				t.Errorf("%s of %d MiB is recognised as %q, %v", kind, size, got, err)
			}
			if used, err := everWritten(volume.Path); used || err != nil {
				t.Errorf("%s of %d MiB: new, and said to be written to (%v)", kind, size, err)
			}
			var stat unix.Stat_t
			if err := unix.Stat(volume.Path, &stat); err != nil {
				t.Fatal(err)
			}
			if disk := stat.Blocks * 512; disk > 66*mebibyte && kind == ext4 || disk > size*mebibyte/10+66*mebibyte {
				t.Errorf("%s of %d MiB takes %d bytes of disk when empty", kind, size, disk)
			}
			os.Remove(volume.Path)
		}
	}
}
