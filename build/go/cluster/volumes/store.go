package volumes

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"golang.org/x/sys/unix"
)

// Links is where the devices' stable names are. It lies in /dev because that is empty after a reboot: a link there
// can never lead to a device that was given to something else meanwhile, as a link on a disk could.
const Links = "/dev/libresh"

const (
	imageSuffix  = ".img"     // a formatted volume
	unfinished   = ".img.new" // one whose formatting was not finished; worth nothing
	folderSuffix = ".folder"  // a volume on a machine without loop devices
)

// Names become paths; anything else is refused before it touches a file.
var safeName = regexp.MustCompile(`^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$`)

// Store is the volumes of one cluster on disk: <state>/nodes/<node>/volumes/<pv>.img.
// The files are the only record of what exists; devices and links are derived from them at any time.
type Store struct{ State string }

// Volume is one volume on disk.
type Volume struct {
	Node, Name string
	Path       string
	Folder     bool // sizes are not enforced
}

// Link is the stable name of the volume's device, which a PersistentVolume carries.
func (v Volume) Link() string { return filepath.Join(Links, v.Name) }

func checkName(what, name string) error {
	if !safeName.MatchString(name) || strings.Contains(name, "..") || len(name) > 253 {
		return fmt.Errorf("%s %q is not a name that Kubernetes gives", what, name)
	}
	return nil
}

// place says where a volume of the node lies, and makes the folder. The node's own folder must exist: its absence
// means that the starter and we disagree about names, and a volume put elsewhere would be lost with the next `up`.
func (s Store) place(node, name string, folder bool) (Volume, error) {
	if err := errors.Join(checkName("node", node), checkName("volume", name)); err != nil {
		return Volume{}, err
	}
	home := filepath.Join(s.State, "nodes", node)
	if _, err := os.Stat(home); err != nil {
		return Volume{}, fmt.Errorf("node %s has no folder here: %w", node, err)
	}
	if err := os.MkdirAll(filepath.Join(home, "volumes"), 0o711); err != nil {
		return Volume{}, err
	}
	suffix := imageSuffix
	if folder {
		suffix = folderSuffix
	}
	return Volume{Node: node, Name: name, Folder: folder, Path: filepath.Join(home, "volumes", name+suffix)}, nil
}

// all lists the volumes of one node, or of every node when none is named.
func (s Store) all(node string) ([]Volume, error) {
	if node == "" {
		node = "*"
	} else if err := checkName("node", node); err != nil {
		return nil, err
	}
	paths, err := filepath.Glob(filepath.Join(globQuote(s.State), "nodes", node, "volumes", "*"))
	if err != nil {
		return nil, err
	}
	var found []Volume
	for _, path := range paths {
		if volume, is := volumeAt(path); is {
			found = append(found, volume)
		}
	}
	return found, nil
}

func volumeAt(path string) (Volume, bool) {
	node := filepath.Base(filepath.Dir(filepath.Dir(path)))
	base := filepath.Base(path)
	for _, suffix := range []string{imageSuffix, folderSuffix} {
		if name, is := strings.CutSuffix(base, suffix); is && checkName("volume", name) == nil {
			return Volume{Node: node, Name: name, Path: path, Folder: suffix == folderSuffix}, true
		}
	}
	return Volume{}, false
}

func globQuote(path string) string {
	return regexp.MustCompile(`[\\*?\[]`).ReplaceAllString(path, `\$0`)
}

// find returns every place where the named volume lies: one, or none after it was deleted.
func (s Store) find(name string) ([]Volume, error) {
	volumes, err := s.all("")
	if err != nil {
		return nil, err
	}
	var found []Volume
	for _, volume := range volumes {
		if volume.Name == name {
			found = append(found, volume)
		}
	}
	return found, nil
}

// locked runs what changes files or devices alone on this state folder, across processes: the same image attached
// twice by two processes would be two file systems' idea of one disk.
func (s Store) locked(act func() error) error {
	lock, err := os.OpenFile(filepath.Join(s.State, "volumes.lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	defer lock.Close()
	for {
		err = unix.Flock(int(lock.Fd()), unix.LOCK_EX)
		if !errors.Is(err, unix.EINTR) {
			break
		}
	}
	if err != nil {
		return fmt.Errorf("lock %s: %w", lock.Name(), err)
	}
	return act()
}

// Print writes one JSON object for every volume.
func (s Store) Print(out io.Writer) error {
	volumes, err := s.all("")
	if err != nil {
		return err
	}
	encoder := json.NewEncoder(out)
	for _, volume := range volumes {
		line := map[string]any{"node": volume.Node, "name": volume.Name, "path": volume.Path, "sizeEnforced": !volume.Folder}
		if !volume.Folder {
			var stat unix.Stat_t
			if err := unix.Stat(volume.Path, &stat); err != nil {
				return fmt.Errorf("%s: %w", volume.Path, err)
			}
			line["bytes"], line["bytesOnDisk"] = stat.Size, stat.Blocks*512
			device, err := deviceOf(volume.Path)
			if err != nil {
				return err
			}
			line["device"] = device
		}
		if err := encoder.Encode(line); err != nil {
			return err
		}
	}
	return nil
}

// promised says by how much the volumes may still grow, and how much room there is.
func (s Store) promised() (bytes, free int64, err error) {
	var disk unix.Statfs_t
	if err := unix.Statfs(s.State, &disk); err != nil {
		return 0, 0, fmt.Errorf("%s: %w", s.State, err)
	}
	volumes, err := s.all("")
	for _, volume := range volumes {
		var stat unix.Stat_t
		if unix.Stat(volume.Path, &stat) == nil && !volume.Folder { // one deleted meanwhile promises nothing
			bytes += max(0, stat.Size-stat.Blocks*512)
		}
	}
	return bytes, int64(disk.Bavail) * disk.Bsize, err
}

func removeIfThere(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
