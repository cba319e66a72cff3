package volumes

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

const (
	mebibyte = 1 << 20
	smallest = 16 * mebibyte // below that ext4 has no room for a journal
)

// sizeFor rounds what is asked for up to what is made.
func sizeFor(asked int64) int64 {
	return max(smallest, (asked+mebibyte-1)/mebibyte*mebibyte)
}

// create makes the volume, formatted, and attaches it. It may be called again after any interruption: the name
// without ".new" is given only to a finished image.
func (s Store) create(volume Volume, kind string, asked int64) (size int64, err error) {
	err = s.locked(func() error {
		if volume.Folder {
			size = sizeFor(asked)
			return os.MkdirAll(volume.Path, 0o755)
		}
		if size, err = imageSize(volume.Path); errors.Is(err, fs.ErrNotExist) {
			size = sizeFor(asked)
			err = errors.Join(format(volume, kind, size), flush(filepath.Dir(volume.Path)))
		}
		if err != nil {
			return err
		}
		if size < asked {
			return fmt.Errorf("%s already exists with %d bytes, fewer than the %d asked for", volume.Path, size, asked)
		}
		return s.attachOne(volume)
	})
	return size, err
}

func flush(path string) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	return file.Sync()
}

func (s Store) attachOne(volume Volume) error {
	device, err := attach(volume.Path)
	if err != nil {
		return err
	}
	return link(volume, device)
}

// AttachAll gives every volume its device and its link again, after a reboot or a `down`.
func (s Store) AttachAll(node string) error {
	volumes, err := s.all(node)
	if err != nil {
		return err
	}
	var failed error
	for _, volume := range volumes {
		if !volume.Folder {
			failed = errors.Join(failed, s.locked(func() error { return s.attachOne(volume) }))
		}
	}
	return failed
}

// DetachAll frees the devices, and waits a little for mounts to go: a dead node's are undone by the kernel in its
// own time.
func (s Store) DetachAll(ctx context.Context, node string) error {
	volumes, err := s.all(node)
	if err != nil {
		return err
	}
	deadline := time.Now().Add(10 * time.Second)
	for {
		var failed error
		for _, volume := range volumes {
			if !volume.Folder {
				failed = errors.Join(failed, s.locked(func() error { return s.detachOne(volume) }))
			}
		}
		if failed == nil || !errors.Is(failed, errMounted) || time.Now().After(deadline) || ctx.Err() != nil {
			return failed
		}
		time.Sleep(200 * time.Millisecond)
	}
}

// detachOne removes the link first: a link must never lead to a device that is another's by now.
func (s Store) detachOne(volume Volume) error {
	device, err := deviceOf(volume.Path)
	if err != nil {
		return err
	}
	if device != "" {
		if busy, err := mounted(device); err != nil || busy {
			return errors.Join(err, fmt.Errorf("volume %s of node %s, %s: %w", volume.Name, volume.Node, device, errMounted))
		}
	}
	if err := s.unlink(volume, device); err != nil {
		return err
	}
	return detach(volume.Path)
}

// unlink removes the volume's link, unless it leads to a device that is not this volume's.
func (s Store) unlink(volume Volume, device string) error {
	target, err := os.Readlink(volume.Link())
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if foreign := checkNotTaken(volume, target); foreign != nil || (device != "" && target != device) {
		slog.Warn("link leads to another device, left alone", "link", volume.Link(), "device", target)
		return nil
	}
	return removeIfThere(volume.Link())
}

func mounted(device string) (bool, error) {
	handle, err := os.OpenFile(device, os.O_RDONLY|unix.O_EXCL|unix.O_CLOEXEC, 0)
	if errors.Is(err, unix.EBUSY) {
		return true, nil
	}
	if err != nil {
		return false, err
	}
	return false, handle.Close()
}

// remove deletes the volume with all its data.
func (s Store) remove(volume Volume) error {
	return s.locked(func() error {
		if volume.Folder {
			return removeFolder(volume.Path)
		}
		if err := s.detachOne(volume); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return removeIfThere(volume.Path)
	})
}

// removeSoon waits a little for the kubelet, which unmounts the device only after the last pod's object is gone.
func (s Store) removeSoon(ctx context.Context, volume Volume) error {
	deadline := time.Now().Add(5 * time.Second)
	for {
		err := s.remove(volume)
		if !errors.Is(err, errMounted) || time.Now().After(deadline) || ctx.Err() != nil {
			return err
		}
		time.Sleep(100 * time.Millisecond)
	}
}

// removeFolder moves the folder away first, so that a half-deleted one is never taken for a volume.
func removeFolder(path string) error {
	gone := strings.TrimSuffix(path, folderSuffix) + ".deleted"
	if err := os.Rename(path, gone); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return os.RemoveAll(gone)
}

// resize makes the image at least as large as asked and returns its size. The file system in it is grown by the
// kubelet, which alone knows whether and where it is mounted.
func (s Store) resize(volume Volume, asked int64) (size int64, err error) {
	err = s.locked(func() error {
		if volume.Folder {
			size = sizeFor(asked)
			return nil
		}
		if size, err = imageSize(volume.Path); err != nil {
			return err
		}
		if size < asked {
			size = sizeFor(asked)
			if err := os.Truncate(volume.Path, size); err != nil {
				return err
			}
		}
		if err := s.attachOne(volume); err != nil {
			return err
		}
		device, err := deviceOf(volume.Path)
		if err != nil {
			return err
		}
		return grow(device)
	})
	return size, err
}
