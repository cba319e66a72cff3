// Package health answers whether the process is alive and its parts are ready.
package health

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sort"
	"strings"
	"sync"
	"time"
)

// Checks collects what each part says of itself. The zero value has no parts and is ready.
type Checks struct {
	mu    sync.Mutex
	ready map[string]bool
}

// Part registers a part, not yet ready, and returns how it says that it is.
func (c *Checks) Part(name string) func() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ready == nil {
		c.ready = map[string]bool{}
	}
	c.ready[name] = false
	return func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.ready[name] = true
	}
}

func (c *Checks) missing() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	var names []string
	for name, ready := range c.ready {
		if !ready {
			names = append(names, name)
		}
	}
	sort.Strings(names)
	return names
}

// ServeHTTP answers /healthz and /readyz.
func (c *Checks) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch r.URL.Path {
	case "/healthz":
		fmt.Fprintln(w, "ok")
	case "/readyz":
		if names := c.missing(); len(names) > 0 {
			http.Error(w, "not ready: "+strings.Join(names, ", "), http.StatusServiceUnavailable)
			return
		}
		fmt.Fprintln(w, "ok")
	default:
		http.NotFound(w, r)
	}
}

// Serve answers at the address until the context ends.
func (c *Checks) Serve(ctx context.Context, address string) error {
	server := &http.Server{Addr: address, Handler: c, ReadHeaderTimeout: 5 * time.Second}
	stop := context.AfterFunc(ctx, func() { _ = server.Close() })
	defer stop()
	if err := server.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}
