package volumes

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

const (
	control   = "/dev/loop-control"
	loopMajor = 7
)

// deviceOf returns the loop device that is backed by the file, or "" when none is. Files are compared by inode,
// not by name: the kernel's own record of the name is cut short and does not follow renames.
func deviceOf(file string) (string, error) {
	var want unix.Stat_t
	if err := unix.Stat(file, &want); err != nil {
		return "", fmt.Errorf("%s: %w", file, err)
	}
	attached, err := filepath.Glob("/sys/block/loop*/loop")
	if err != nil {
		return "", err
	}
	for _, entry := range attached {
		device := "/dev/" + filepath.Base(filepath.Dir(entry))
		info, err := statusOf(device)
		if errors.Is(err, unix.ENXIO) || errors.Is(err, fs.ErrNotExist) {
			continue // detached since the listing
		}
		if err != nil {
			return "", fmt.Errorf("%s: %w", device, err)
		}
		if info.Device == want.Dev && info.Inode == want.Ino {
			return device, nil
		}
	}
	return "", nil
}

func statusOf(device string) (*unix.LoopInfo64, error) {
	handle, err := os.OpenFile(device, os.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	defer handle.Close()
	return unix.IoctlLoopGetStatus64(int(handle.Fd()))
}

// attach makes a loop device for the file, or finds the one it has.
func attach(file string) (string, error) {
	device, err := deviceOf(file)
	if err != nil || device != "" {
		return device, err
	}
	backing, err := os.OpenFile(file, os.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return "", err
	}
	defer backing.Close()
	// Somebody else on this machine may take the number between our asking and our using it.
	for range 64 {
		device, err = freeDevice()
		if err != nil {
			return "", err
		}
		err = configure(device, backing)
		if err == nil {
			return device, nil
		}
		if !errors.Is(err, unix.EBUSY) {
			break
		}
	}
	return "", fmt.Errorf("attach %s to %s: %w", file, device, err)
}

func freeDevice() (string, error) {
	handle, err := os.OpenFile(control, os.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return "", fmt.Errorf("no loop devices on this machine: %w", err)
	}
	defer handle.Close()
	number, err := unix.IoctlRetInt(int(handle.Fd()), unix.LOOP_CTL_GET_FREE)
	if err != nil {
		return "", fmt.Errorf("%s: no free loop device: %w", control, err)
	}
	device := "/dev/loop" + strconv.Itoa(number)
	if _, err := os.Stat(device); errors.Is(err, fs.ErrNotExist) {
		// A /dev that the kernel does not fill by itself.
		made := unix.Mknod(device, unix.S_IFBLK|0o600, int(unix.Mkdev(loopMajor, uint32(number))))
		if made != nil && !errors.Is(made, fs.ErrExist) {
			return "", fmt.Errorf("make %s: %w", device, made)
		}
	}
	return device, nil
}

// configure binds the file to the device in one call, so that no half-configured device is ever left behind. Direct
// I/O spares a second copy of everything in the page cache; file systems that cannot do it get buffered I/O.
func configure(device string, backing *os.File) error {
	handle, err := os.OpenFile(device, os.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer handle.Close()
	config := unix.LoopConfig{Fd: uint32(backing.Fd())}
	copy(config.Info.File_name[:len(config.Info.File_name)-1], backing.Name())
	config.Info.Flags = unix.LO_FLAGS_DIRECT_IO
	err = unix.IoctlLoopConfigure(int(handle.Fd()), &config)
	if errors.Is(err, unix.EINVAL) {
		config.Info.Flags = 0
		err = unix.IoctlLoopConfigure(int(handle.Fd()), &config)
	}
	return err
}

// grow tells the device that its file has become larger.
func grow(device string) error {
	handle, err := os.OpenFile(device, os.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer handle.Close()
	if err := unix.IoctlSetInt(int(handle.Fd()), unix.LOOP_SET_CAPACITY, 0); err != nil {
		return fmt.Errorf("grow %s: %w", device, err)
	}
	return nil
}

var errMounted = errors.New("still mounted")

// detach frees the file's device. A mounted device is left alone: freeing it would only be put off by the kernel
// until it is unmounted, and we would have promised something that has not happened.
func detach(file string) error {
	device, err := deviceOf(file)
	if err != nil || device == "" {
		return err
	}
	handle, err := os.OpenFile(device, os.O_RDONLY|unix.O_EXCL|unix.O_CLOEXEC, 0)
	if errors.Is(err, unix.EBUSY) {
		return fmt.Errorf("%s (%s): %w", device, file, errMounted)
	}
	if err != nil {
		return err
	}
	err = unix.IoctlSetInt(int(handle.Fd()), unix.LOOP_CLR_FD, 0)
	handle.Close()
	if err != nil && !errors.Is(err, unix.ENXIO) {
		return fmt.Errorf("free %s: %w", device, err)
	}
	// Whoever else has it open for a moment (a probe of the system's) puts the end off until he closes it.
	for range 50 {
		if device, err = deviceOf(file); err != nil || device == "" {
			return err
		}
		time.Sleep(20 * time.Millisecond)
	}
	return fmt.Errorf("%s (%s) is kept open by another program", device, file)
}

// link points the volume's stable name at its device, in one step.
func link(volume Volume, device string) error {
	if err := os.MkdirAll(Links, 0o755); err != nil {
		return err
	}
	if now, err := os.Readlink(volume.Link()); err == nil && now == device {
		return nil
	} else if err == nil {
		if err := checkNotTaken(volume, now); err != nil {
			return err
		}
	}
	temporary := filepath.Join(Links, "."+volume.Name+".new")
	if err := removeIfThere(temporary); err != nil {
		return err
	}
	if err := os.Symlink(device, temporary); err != nil {
		return err
	}
	return os.Rename(temporary, volume.Link())
}

// checkNotTaken refuses to take over the name of another cluster's volume, which a copied state folder could cause.
func checkNotTaken(volume Volume, device string) error {
	name, err := os.ReadFile(filepath.Join("/sys/block", filepath.Base(device), "loop/backing_file"))
	other := strings.TrimSpace(string(name))
	if err == nil && filepath.Base(other) == filepath.Base(volume.Path) && other != volume.Path {
		return fmt.Errorf("%s is in use for %s: detach that cluster's volumes first", volume.Link(), other)
	}
	return nil
}

// loopsWork tries the whole of it once with a file of its own: a machine may have the control device and still
// forbid its use.
func (s Store) loopsWork() error {
	return s.locked(func() (err error) {
		file := filepath.Join(s.State, ".loop-probe.img")
		if err := writeSparse(file, 1<<20); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, removeIfThere(file)) }()
		if _, err := attach(file); err != nil {
			return err
		}
		return detach(file)
	})
}

func writeSparse(path string, size int64) error {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR|os.O_TRUNC|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return err
	}
	if err := file.Truncate(size); err != nil {
		file.Close()
		return err
	}
	return file.Close()
}
