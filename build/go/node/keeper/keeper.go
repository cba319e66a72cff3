package main

import (
	"encoding/json"
	"fmt"
	"os"
	"reflect"
	"syscall"
	"time"
)

const (
	firstDelay  = time.Second
	longDelay   = 30 * time.Second
	provenAfter = time.Minute // a service that ran this long starts again without a growing delay
)

// unit is one service and what became of it.
type unit struct {
	Service
	pid      int       // 0: not running
	started  time.Time // of the running process
	restarts int
	lastExit string
	delay    time.Duration
	notUntil time.Time
	wanted   bool
	replace  bool      // the running process has an outdated configuration
	stopping time.Time // when SIGTERM was sent; zero: not stopping
	killed   bool
	helper   int  // process of BeforeStop, 0 when none runs
	helped   bool // BeforeStop has been started once for this stop
}

// Keeper owns the units. One goroutine touches it, so a process cannot be reaped before it is known.
type Keeper struct {
	path     string
	config   *Config
	units    []*unit
	stopping bool
	reported []byte
	rotated  time.Time
}

func newKeeper(path string, config *Config) *Keeper {
	keeper := &Keeper{path: path, config: config}
	for _, service := range config.Services {
		keeper.units = append(keeper.units, &unit{Service: service, wanted: true})
	}
	return keeper
}

func (k *Keeper) beginStop() {
	k.stopping = true
}

// reload takes over a changed configuration: mounts, cgroups and host name stay as they are until the next start.
func (k *Keeper) reload() {
	config, err := readConfig(k.path)
	if err != nil {
		fmt.Fprintln(os.Stderr, "keeper: keeping the old configuration:", err)
		return
	}
	k.config, k.rotated = config, time.Time{} // log sizes are looked at anew
	old := map[string]*unit{}
	for _, each := range k.units {
		old[each.Name] = each
	}
	var units []*unit
	for _, service := range config.Services {
		found := old[service.Name]
		delete(old, service.Name)
		if found == nil {
			found = &unit{Service: service, wanted: true}
		} else if !reflect.DeepEqual(found.Service, service) {
			found.replace = found.pid != 0
			found.Service, found.delay, found.notUntil = service, 0, time.Time{}
		}
		units = append(units, found)
	}
	for _, gone := range old {
		gone.wanted = false
		units = append(units, gone)
	}
	k.units = units
}

// reap collects every process that ended: services, helpers, and orphans that were handed to us as PID 1.
func (k *Keeper) reap() {
	for {
		var status syscall.WaitStatus
		pid, err := syscall.Wait4(-1, &status, syscall.WNOHANG, nil)
		if err == syscall.EINTR {
			continue
		}
		if err != nil || pid <= 0 {
			return
		}
		for _, each := range k.units {
			if each.pid == pid {
				each.ended(status, time.Now())
			}
			if each.helper == pid {
				each.helper = 0
			}
		}
	}
}

func (u *unit) ended(status syscall.WaitStatus, now time.Time) {
	u.lastExit = fmt.Sprintf("exit code %d", status.ExitStatus())
	if status.Signaled() {
		u.lastExit = "signal: " + status.Signal().String()
	}
	if u.stopping.IsZero() {
		u.restarts++
		if now.Sub(u.started) > provenAfter {
			u.delay = 0
		}
		u.delay = min(max(2*u.delay, firstDelay), longDelay)
		u.notUntil = now.Add(u.delay)
		fmt.Fprintf(os.Stderr, "keeper: %s ended (%s), starting it again in %s\n", u.Name, u.lastExit, u.delay)
	}
	u.pid, u.stopping, u.killed, u.helped, u.replace = 0, time.Time{}, false, false, false
}

// step moves every unit one step towards what is wanted. What must go goes first, last one first: the earlier ones are
// what the later ones stand on. Only when all of it is gone does anything start.
func (k *Keeper) step(now time.Time) {
	if !k.stopLast(now) && !k.stopping {
		for _, each := range k.units {
			if each.wanted && each.pid == 0 && now.After(each.notUntil) && allAnswer(each.After) {
				each.start(now)
			}
		}
	}
	for _, each := range k.units {
		if each.pid != 0 && !each.stopping.IsZero() && !each.killed && now.Sub(each.stopping) > each.grace() {
			_ = syscall.Kill(each.pid, syscall.SIGKILL) // it may just have ended; reap() tells
			each.killed = true
		}
	}
	if now.Sub(k.rotated) >= idleInterval {
		k.rotated = now
		for _, each := range k.units {
			trimLog(each.Log, k.config.LogLimit)
		}
	}
}

// stopLast stops the last running unit that must go; whether there was one.
func (k *Keeper) stopLast(now time.Time) bool {
	for i := len(k.units) - 1; i >= 0; i-- {
		unit := k.units[i]
		if (unit.pid != 0 || unit.helper != 0) && (k.stopping || unit.replace || !unit.wanted) {
			unit.terminate(now, k.stopping)
			return true
		}
	}
	return false
}

// terminate is repeated until the process has ended. When it is for good it runs BeforeStop first, once, and waits.
func (u *unit) terminate(now time.Time, forGood bool) {
	if u.pid == 0 || !u.stopping.IsZero() {
		return
	}
	if forGood && len(u.BeforeStop) > 0 && !u.helped {
		u.helped = true
		u.helper, _ = launch(u.BeforeStop, u.Env, u.Log) // a failure is in the log; stopping goes on
	}
	if u.helper != 0 {
		return
	}
	u.stopping = now
	_ = syscall.Kill(u.pid, syscall.SIGTERM) // it may just have ended; reap() tells
}

func (u *unit) grace() time.Duration {
	return time.Duration(max(u.Grace, 1)) * time.Second
}

func (u *unit) start(now time.Time) {
	pid, err := launch(u.Argv, u.Env, u.Log)
	if err != nil {
		u.lastExit = err.Error()
		u.delay = min(max(2*u.delay, firstDelay), longDelay)
		u.notUntil = now.Add(u.delay)
		return
	}
	u.pid, u.started = pid, now
}

func (k *Keeper) finished() bool {
	if !k.stopping {
		return false
	}
	for _, each := range k.units {
		if each.pid != 0 || each.helper != 0 {
			return false
		}
	}
	return true
}

// settled tells that everything that should run does, with the settings it should have.
func (k *Keeper) settled() bool {
	for _, each := range k.units {
		if each.wanted != (each.pid != 0) || each.replace || !each.stopping.IsZero() {
			return false
		}
	}
	return !k.stopping
}

func (k *Keeper) interval() time.Duration {
	for _, each := range k.units {
		if k.stopping || !each.stopping.IsZero() || each.replace || each.helper != 0 || (each.wanted && each.pid == 0) {
			return busyInterval
		}
	}
	return idleInterval
}

// report writes what runs beside the configuration, whenever it changed.
func (k *Keeper) report() {
	type line struct {
		PID      int    `json:"pid"` // inside the keeper's PID namespace
		Started  int64  `json:"started,omitempty"`
		Restarts int    `json:"restarts"`
		LastExit string `json:"lastExit,omitempty"`
	}
	services := map[string]line{}
	for _, each := range k.units {
		if each.wanted || each.pid != 0 {
			found := line{PID: each.pid, Restarts: each.restarts, LastExit: each.lastExit}
			if each.pid != 0 {
				found.Started = each.started.Unix()
			}
			services[each.Name] = found
		}
	}
	raw, err := json.Marshal(map[string]any{
		"config":   k.config.digest,
		"settled":  k.settled(),
		"stopping": k.stopping,
		"services": services,
	})
	if err != nil || string(raw) == string(k.reported) {
		return
	}
	temporary := k.path + ".state.new"
	if err := os.WriteFile(temporary, raw, 0o600); err == nil {
		err = os.Rename(temporary, k.path+".state")
		if err == nil {
			k.reported = raw
			return
		}
	}
	fmt.Fprintln(os.Stderr, "keeper: the state could not be written beside", k.path)
}
