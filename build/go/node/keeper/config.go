package main

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// Config is what the keeper is told; its writer is libresh.local.
type Config struct {
	Hostname string            `json:"hostname"` // of the UTS namespace; empty: leave it
	Cgroups  []string          `json:"cgroups"`  // cgroup folders the keeper and its services live in
	Mounts   []Mount           `json:"mounts"`
	Sysctls  map[string]string `json:"sysctls"` // dotted names
	LogLimit int64             `json:"logLimit"`
	Services []Service         `json:"services"`

	digest string
}

// Mount is one mount made before anything starts. The kinds are bind, tmpfs and shared (a change of propagation).
type Mount struct {
	Kind   string `json:"kind"`
	Source string `json:"source"`
	Target string `json:"target"`
}

// Service is one process to keep running.
type Service struct {
	Name       string   `json:"name"`
	Argv       []string `json:"argv"`
	Env        []string `json:"env"`
	Log        string   `json:"log"`
	After      []string `json:"after"`      // "tcp:HOST:PORT", "unix:PATH" or "ready:HOST:PORT" (/readyz says 200) that must answer first
	BeforeStop []string `json:"beforeStop"` // a command that runs to its end before the service is stopped for good
	Grace      int      `json:"grace"`      // seconds between SIGTERM and SIGKILL
	Stamp      string   `json:"stamp"`      // changes with the files the service reads, so that a reload restarts it
}

func readConfig(path string) (*Config, error) {
	raw, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	config := &Config{LogLimit: 16 << 20}
	if err := json.Unmarshal(raw, config); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	for _, service := range config.Services {
		if service.Name == "" || len(service.Argv) == 0 {
			return nil, fmt.Errorf("%s: a service needs a name and an argv", path)
		}
	}
	sum := sha256.Sum256(raw)
	config.digest = hex.EncodeToString(sum[:])
	return config, nil
}

// prepare makes the namespace ready. It runs once per keeper, so a fresh namespace is assumed.
func prepare(config *Config) error {
	for _, folder := range config.Cgroups {
		// "0" is "whoever writes": the keeper does not know its own number outside its PID namespace.
		if err := os.WriteFile(filepath.Join(folder, "cgroup.procs"), []byte("0"), 0o644); err != nil {
			return fmt.Errorf("joining cgroup %s: %w", folder, err)
		}
	}
	if config.Hostname != "" {
		if err := syscall.Sethostname([]byte(config.Hostname)); err != nil {
			return fmt.Errorf("setting the host name: %w", err)
		}
	}
	for _, mount := range config.Mounts {
		if err := mount.make(); err != nil {
			return err
		}
	}
	for name, value := range config.Sysctls {
		path := "/proc/sys/" + strings.ReplaceAll(name, ".", "/")
		if err := os.WriteFile(path, []byte(value), 0o644); err != nil {
			return fmt.Errorf("setting %s to %s: %w", name, value, err)
		}
	}
	return nil
}

func (m Mount) make() error {
	var err error
	switch m.Kind {
	case "shared":
		err = syscall.Mount("", m.Target, "", syscall.MS_SHARED|syscall.MS_REC, "")
	case "bind", "tmpfs":
		if err = os.MkdirAll(m.Target, 0o755); err != nil {
			break
		}
		if m.Kind == "bind" {
			err = syscall.Mount(m.Source, m.Target, "", syscall.MS_BIND|syscall.MS_REC, "")
		} else {
			err = syscall.Mount("tmpfs", m.Target, "tmpfs", syscall.MS_NOSUID|syscall.MS_NODEV, "mode=755")
		}
	default:
		return fmt.Errorf("mount kind %q is not known", m.Kind)
	}
	if err != nil {
		return fmt.Errorf("mount %s %s on %s: %w", m.Kind, m.Source, m.Target, err)
	}
	return nil
}
