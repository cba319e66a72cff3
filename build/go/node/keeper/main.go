// Command keeper is the first process of a node, and the parent of a control plane: it prepares the namespace it was
// started in, keeps a list of services running, reaps orphans, and stops everything in order.
//
//	keeper CONFIG.json
//
// SIGTERM stops the services, last one first, and ends. SIGHUP reads the configuration again: services that changed
// are restarted, the others are left alone. Killing it kills everything in its PID namespace: that is a power failure,
// and meant to be.
package main

import (
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"
)

const (
	busyInterval = 100 * time.Millisecond // while something starts or stops
	idleInterval = 10 * time.Second       // log sizes are looked at this often
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: keeper CONFIG.json")
		os.Exit(2)
	}
	if err := run(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, "keeper:", err)
		os.Exit(1)
	}
}

func run(path string) error {
	signals := make(chan os.Signal, 64)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP, syscall.SIGCHLD)
	// A hung-up terminal or a closed pipe must not take a whole node down.
	signal.Ignore(syscall.SIGPIPE)

	lock, err := lockFile(path + ".lock")
	if err != nil {
		return err
	}
	defer lock.Close()
	config, err := readConfig(path)
	if err != nil {
		return err
	}
	if err := prepare(config); err != nil {
		return err
	}

	keeper := newKeeper(path, config)
	timer := time.NewTimer(0)
	for {
		select {
		case sig := <-signals:
			switch sig {
			case syscall.SIGTERM, syscall.SIGINT:
				keeper.beginStop()
			case syscall.SIGHUP:
				keeper.reload()
			}
		case <-timer.C:
		}
		keeper.reap()
		keeper.step(time.Now())
		if keeper.finished() {
			keeper.report()
			return nil
		}
		keeper.report()
		timer.Reset(keeper.interval())
	}
}

// lockFile refuses a second keeper of the same configuration; the kernel frees the lock when the first one dies.
func lockFile(path string) (*os.File, error) {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return nil, fmt.Errorf("%s is held: another keeper runs this configuration", path)
	}
	return file, nil
}
