package main

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

const patience = 200 * time.Millisecond // for an answer from this machine

// launch starts a process of its own session, with its output appended to a log. It does not use os/exec, whose
// waiting would race with the reaping of orphans.
func launch(argv, env []string, log string) (int, error) {
	if log == "" {
		log = os.DevNull
	}
	if err := os.MkdirAll(filepath.Dir(log), 0o755); err != nil {
		return 0, err
	}
	output, err := os.OpenFile(log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o640)
	if err != nil {
		return 0, err
	}
	defer output.Close()
	input, err := os.Open(os.DevNull)
	if err != nil {
		return 0, err
	}
	defer input.Close()
	pid, err := syscall.ForkExec(argv[0], argv, &syscall.ProcAttr{
		Env:   env,
		Files: []uintptr{input.Fd(), output.Fd(), output.Fd()},
		Sys:   &syscall.SysProcAttr{Setsid: true},
	})
	if err != nil {
		err = fmt.Errorf("starting %s: %w", argv[0], err)
		fmt.Fprintln(output, "keeper:", err)
	}
	return pid, err
}

func allAnswer(addresses []string) bool {
	for _, address := range addresses {
		kind, rest, _ := strings.Cut(address, ":")
		if kind == "ready" {
			if !isReady(rest) {
				return false
			}
			continue
		}
		connection, err := net.DialTimeout(kind, rest, patience)
		if err != nil {
			return false
		}
		connection.Close()
	}
	return true
}

// isReady asks a Kubernetes component for /readyz. Who answers is not verified: nothing is sent and nothing is learnt
// but the moment to start. An HTTP client would make a keeper three times as large.
func isReady(address string) bool {
	dialer := &net.Dialer{Timeout: patience}
	connection, err := tls.DialWithDialer(dialer, "tcp", address, &tls.Config{InsecureSkipVerify: true})
	if err != nil {
		return false
	}
	defer connection.Close()
	_ = connection.SetDeadline(time.Now().Add(patience)) // a failure shows in the next line
	if _, err := fmt.Fprintf(connection, "GET /readyz HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n", address); err != nil {
		return false
	}
	line, err := bufio.NewReader(connection).ReadString('\n')
	return err == nil && strings.Contains(line, " 200 ")
}

// trimLog keeps one old part and empties the log. Lines written between the copy and the cut are lost: the writer
// holds the file open, and a daemon's log is not worth a pipe that could block it.
func trimLog(path string, limit int64) {
	info, err := os.Stat(path)
	if path == "" || err != nil || !info.Mode().IsRegular() || info.Size() <= limit {
		return
	}
	source, err := os.Open(path)
	if err != nil {
		return
	}
	defer source.Close()
	target, err := os.Create(path + ".1")
	if err != nil {
		return
	}
	defer target.Close()
	if _, err := io.Copy(target, source); err != nil {
		fmt.Fprintln(os.Stderr, "keeper: keeping the old part of", path, "failed:", err)
	}
	// Even on a full disk: an unbounded log is what fills it.
	_ = os.Truncate(path, 0)
}
