package volumes

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Two file systems are known. ext4 is what most people know how to repair. Growing it while it is mounted needs
// CAP_SYS_RESOURCE, which containers and some virtual machines lack; XFS grows without.
const (
	ext4 = "ext4"
	xfs  = "xfs"
)

const gibibyte = 1 << 30

// machine is what of this machine decides how volumes are made.
type machine struct {
	sysResource bool // the capability
	xfs         bool // kernel and mkfs.xfs
}

func observeMachine() (machine, error) {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return machine{}, err
	}
	able, err := hasCapability(string(status), unix.CAP_SYS_RESOURCE)
	if err != nil {
		return machine{}, err
	}
	kernel, err := os.ReadFile("/proc/filesystems")
	if err != nil {
		return machine{}, err
	}
	_, missing := exec.LookPath("mkfs.xfs")
	return machine{sysResource: able, xfs: missing == nil && strings.Contains(string(kernel), "\txfs\n")}, nil
}

// hasCapability reads a process's status as the kernel prints it.
func hasCapability(status string, capability uint) (bool, error) {
	for line := range strings.Lines(status) {
		if text, is := strings.CutPrefix(line, "CapEff:"); is {
			set, err := strconv.ParseUint(strings.TrimSpace(text), 16, 64)
			return set&(1<<capability) != 0, err
		}
	}
	return false, errors.New("/proc/self/status has no line CapEff")
}

// pick says which file system new volumes get.
func (m machine) pick() string {
	if m.sysResource || !m.xfs {
		return ext4
	}
	return xfs
}

// canGrow says why a volume with the file system cannot be made larger here, or nil.
func (m machine) canGrow(kind string) error {
	if kind == ext4 && !m.sysResource {
		return errors.New("a mounted ext4 cannot grow on this machine (CAP_SYS_RESOURCE is missing); " +
			"with xfsprogs installed, new volumes are made with XFS, which can")
	}
	return nil
}

// mkfsCommand formats a new, sparse image. It reads as zeros already, so nothing has to be zeroed or discarded.
func mkfsCommand(kind, image string, size int64) []string {
	if kind == ext4 {
		return []string{"mkfs.ext4", "-q", "-F", "-m", "0", "-E", "lazy_itable_init=1,lazy_journal_init=1,nodiscard", image}
	}
	argv := []string{"mkfs.xfs", "-q", "-f", "-K"}
	// Left alone, XFS refuses what is below 300 MiB, and spends 64 MiB on the log of what is below 1 GiB.
	if size < gibibyte {
		argv = append(argv, "--unsupported")
	}
	if size >= 300*mebibyte && size < gibibyte {
		argv = append(argv, "-l", "size=16m")
	}
	return append(argv, image)
}

func format(volume Volume, kind string, size int64) error {
	fresh := strings.TrimSuffix(volume.Path, imageSuffix) + unfinished
	if err := removeIfThere(fresh); err != nil {
		return err
	}
	if err := writeSparse(fresh, size); err != nil {
		return err
	}
	argv := mkfsCommand(kind, fresh, size)
	if out, err := exec.Command(argv[0], argv[1:]...).CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w: %s", strings.Join(argv, " "), err, strings.TrimSpace(string(out)))
	}
	if err := os.Chtimes(fresh, untouched, untouched); err != nil {
		return err
	}
	if err := flush(fresh); err != nil {
		return err
	}
	return os.Rename(fresh, volume.Path)
}

// kindOf recognises the file system of an image.
func kindOf(image string) (string, error) {
	file, err := os.Open(image)
	if err != nil {
		return "", err
	}
	defer file.Close()
	head := make([]byte, 2048)
	if _, err := file.ReadAt(head, 0); err != nil {
		return "", fmt.Errorf("%s: %w", image, err)
	}
	switch {
	case bytes.HasPrefix(head, []byte("XFSB")):
		return xfs, nil
	case binary.LittleEndian.Uint16(head[1024+0x38:]) == 0xEF53:
		return ext4, nil
	}
	return "", fmt.Errorf("%s holds neither ext4 nor XFS", image)
}

// untouched is the time of change that a formatted image is given. The first write through its device, by the first
// mount, changes it.
var untouched = time.Unix(1, 0)

// everWritten tells whether anything was written to the volume since it was made.
func everWritten(image string) (bool, error) {
	info, err := os.Stat(image)
	if err != nil {
		return false, err
	}
	return !info.ModTime().Equal(untouched), nil
}

func logMachine(m machine) {
	if err := m.canGrow(m.pick()); err != nil {
		slog.Warn("volumes cannot be made larger here", "reason", err)
	}
}

func imageSize(path string) (int64, error) {
	info, err := os.Stat(path)
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}
