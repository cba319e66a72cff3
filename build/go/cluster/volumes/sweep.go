package volumes

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// sweepForever clears away what a kill between two steps left: at the start, and now and then.
func (c Controller) sweepForever(ctx context.Context) {
	for {
		if err := c.sweep(ctx); err != nil && ctx.Err() == nil {
			slog.Error("sweep of leftover volumes failed, tried again in 10 minutes", "error", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(10 * time.Minute):
		}
	}
}

// sweep removes volumes that no object speaks of and that never held data. One that was written to even once is kept
// for ever: its PersistentVolume may have been deleted with the wish to keep the data, or the API server's own
// storage may have been lost, and then these files are all that is left.
func (c Controller) sweep(ctx context.Context) error {
	// What lies on disk is listed before what the API server knows: a volume made in between is then not in the list.
	onDisk, err := c.Store.all("")
	if err != nil {
		return err
	}
	known, err := c.known(ctx)
	if err != nil {
		return err
	}
	var failed error
	for _, volume := range onDisk {
		if known[volume.Name] {
			continue
		}
		empty, err := unused(volume)
		switch {
		case errors.Is(err, fs.ErrNotExist):
		case err != nil:
			failed = errors.Join(failed, err)
		case !empty:
			slog.Warn("no PersistentVolume names this volume; it may hold data and is kept", "path", volume.Path)
		default:
			slog.Info("removing a volume that was never used", "path", volume.Path)
			failed = errors.Join(failed, c.Store.remove(volume))
		}
	}
	return errors.Join(failed, c.Store.removeHalfDone())
}

// known are the names of volumes that exist, and of those that existing claims will have.
func (c Controller) known(ctx context.Context) (map[string]bool, error) {
	names := map[string]bool{}
	claims, err := c.Client.CoreV1().PersistentVolumeClaims("").List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, err
	}
	for _, claim := range claims.Items {
		names["pvc-"+string(claim.UID)] = true
	}
	// After the claims: a claim that is gone by now may have left a volume, never the other way round.
	volumes, err := c.Client.CoreV1().PersistentVolumes().List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, err
	}
	for _, volume := range volumes.Items {
		names[volume.Name] = true
	}
	return names, nil
}

func unused(volume Volume) (bool, error) {
	if !volume.Folder {
		used, err := everWritten(volume.Path)
		return !used, err
	}
	entries, err := os.ReadDir(volume.Path)
	return len(entries) == 0, err
}

// removeHalfDone removes images whose formatting was cut short and folders whose deletion was. Both are made and
// renamed under the lock, so that whatever is seen under the lock is nobody's work in progress.
func (s Store) removeHalfDone() error {
	return s.locked(func() error {
		paths, err := filepath.Glob(filepath.Join(globQuote(s.State), "nodes", "*", "volumes", "*"))
		if err != nil {
			return err
		}
		var failed error
		for _, path := range paths {
			if strings.HasSuffix(path, unfinished) || strings.HasSuffix(path, ".deleted") {
				failed = errors.Join(failed, os.RemoveAll(path))
			}
		}
		return failed
	})
}
