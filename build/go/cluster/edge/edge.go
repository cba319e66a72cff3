// Package edge serves a cluster's Ingresses over HTTPS: Caddy proxies, this package tells it where to.
package edge

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"time"

	"github.com/caddyserver/caddy/v2"
	// The parts of Caddy that its configuration names.
	_ "github.com/caddyserver/caddy/v2/modules/caddyhttp/encode"
	_ "github.com/caddyserver/caddy/v2/modules/caddyhttp/encode/gzip"
	_ "github.com/caddyserver/caddy/v2/modules/caddyhttp/encode/zstd"
	_ "github.com/caddyserver/caddy/v2/modules/filestorage"
	"k8s.io/client-go/kubernetes"

	"libre.sh/build/cluster/kube"
)

// Config is what the command line says.
type Config struct {
	HTTPS, HTTP []string // addresses to listen at
	Suffixes    []string // domains under which every host gets a certificate
	StatusIPs   []string // written to Ingresses' status
	CA          string   // folder of the local CA
}

// Edge serves the Ingresses of one cluster.
type Edge struct {
	config Config
	client kubernetes.Interface
	ready  func()
	state  *state
}

// New checks the configuration and opens the CA. It listens nowhere yet.
func New(config Config, client kubernetes.Interface, ready func()) (*Edge, error) {
	if len(config.HTTPS) == 0 {
		return nil, errors.New("--https: at least one address is needed")
	}
	for _, address := range append(append([]string{}, config.HTTPS...), config.HTTP...) {
		if _, _, err := net.SplitHostPort(address); err != nil {
			return nil, fmt.Errorf("address %q: %w; write it as 127.0.0.1:443", address, err)
		}
	}
	for _, ip := range config.StatusIPs {
		if net.ParseIP(ip) == nil {
			return nil, fmt.Errorf("--status-ip %q is not an IP address", ip)
		}
	}
	if len(config.StatusIPs) == 0 {
		config.StatusIPs = []string{statusIP(config.HTTPS)}
	}
	authority, err := OpenAuthority(config.CA)
	if err != nil {
		return nil, err
	}
	return &Edge{config: config, client: client, ready: ready,
		state: &state{authority: authority, suffixes: config.Suffixes}}, nil
}

// statusIP picks the address by which others reach the edge: one that is not loopback, if there is one.
func statusIP(addresses []string) string {
	first := "127.0.0.1"
	for i, address := range addresses {
		host, _, _ := net.SplitHostPort(address)
		ip := net.ParseIP(host)
		if ip == nil || ip.IsUnspecified() {
			continue
		}
		if !ip.IsLoopback() {
			return host
		}
		if i == 0 {
			first = host
		}
	}
	return first
}

// Run listens, and follows the cluster until the context ends.
func (e *Edge) Run(ctx context.Context) error {
	if !shared.CompareAndSwap(nil, e.state) {
		return errors.New("one process serves one edge")
	}
	config, err := caddyConfig(e.config)
	if err != nil {
		return err
	}
	if err := caddy.Load(config, true); err != nil {
		return fmt.Errorf("listen at %v and %v: %w", e.config.HTTPS, e.config.HTTP, err)
	}
	slog.Info("serving Ingresses", "https", e.config.HTTPS, "http", e.config.HTTP, "ca", e.config.CA)
	err = e.follow(ctx)
	if stopped := caddy.Stop(); stopped != nil {
		err = errors.Join(err, stopped)
	}
	return err
}

func (e *Edge) follow(ctx context.Context) error {
	if err := kube.AwaitServer(ctx, e.client); err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return err
	}
	recorder, stop := kube.Recorder(e.client, ControllerName)
	defer stop()
	f := newFollower(e, recorder)
	f.start(ctx)
	go e.publishForever(ctx)
	f.run(ctx)
	return nil
}

// publishForever keeps the class and the root certificate in the cluster, also after someone deleted them.
func (e *Edge) publishForever(ctx context.Context) {
	for {
		wait := 10 * time.Minute
		if err := e.publish(ctx); err != nil && ctx.Err() == nil {
			wait = 5 * time.Second
			slog.Error("publishing the IngressClass and the root certificate failed, tried again", "error", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
	}
}
