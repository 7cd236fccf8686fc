// Package clustertest runs real skerry nodes as child processes, so that a kill is a kill. It serves the crash loop, the
// benchmarks and the end-to-end tests. Everything it starts it ends, by pid.
package clustertest

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"
)

// Build compiles cmd/skerry into dir and returns the program's path. tags are build tags, "" for none.
func Build(ctx context.Context, dir, tags string) (string, error) {
	program := filepath.Join(dir, "skerry")
	cmd := exec.CommandContext(ctx, "go", "build", "-tags", tags, "-o", program, "github.com/skerry-dev/skerry/cmd/skerry")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build cmd/skerry: %w\n%s", err, out)
	}
	return program, nil
}

// FreeAddr returns a loopback address that was free a moment ago, for a node that must come back where it was.
func FreeAddr() (string, error) {
	addrs, err := FreeAddrs(1)
	if err != nil {
		return "", err
	}
	return addrs[0], nil
}

// FreeAddrs returns n of them, all different: each is held until all are found. They were free for TCP and for UDP.
func FreeAddrs(n int) ([]string, error) {
	var held []io.Closer
	defer func() {
		for _, one := range held {
			_ = one.Close() // nothing was sent
		}
	}()
	addrs := make([]string, 0, n)
	for tries := 0; len(addrs) < n; tries++ {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, fmt.Errorf("find a free port: %w", err)
		}
		held = append(held, listener)
		packets, err := net.ListenPacket("udp", listener.Addr().String())
		switch {
		case err == nil:
			held, addrs = append(held, packets), append(addrs, listener.Addr().String())
		case tries >= n+20:
			return nil, fmt.Errorf("find a port that is free for TCP and UDP: %w", err)
		}
	}
	return addrs, nil
}

// Ready is the line that a node prints when it serves.
type Ready struct {
	Ready  bool   `json:"ready"`
	Name   string `json:"name"`
	HTTP   string `json:"http"`
	GRPC   string `json:"grpc"`
	Admin  string `json:"admin"`
	Peer   string `json:"peer"`
	Gossip string `json:"gossip"`
	Data   string `json:"data"`
}

// Process is one running node. Its methods are for one goroutine.
type Process struct {
	Ready Ready
	// LogFile is where its standard error went; a restart in the same directory appends.
	LogFile string

	cmd    *exec.Cmd
	exited chan struct{} // closed when the process was waited for
	err    error         // of Wait; read after exited
}

// Start runs program as a node on dir with free ports (or those in args, which come last and win) and waits for its
// ready line until ctx ends. On failure the process is killed and the error holds the end of its log.
func Start(ctx context.Context, program, dir string, args ...string) (*Process, error) {
	p, lines, err := launch(program, dir, args...)
	if err != nil {
		return nil, err
	}
	select {
	case line := <-lines:
		if err := json.Unmarshal([]byte(line), &p.Ready); err != nil || !p.Ready.Ready {
			return nil, errors.Join(fmt.Errorf("node in %s printed %q instead of a ready line: %w\n%s", dir, line, err, p.tail()), p.Kill())
		}
		return p, nil
	case <-p.exited:
		return nil, fmt.Errorf("node in %s ended before it was ready: %w\n%s", dir, p.err, p.tail())
	case <-ctx.Done():
		return nil, errors.Join(fmt.Errorf("node in %s was not ready: %w\n%s", dir, ctx.Err(), p.tail()), p.Kill())
	}
}

// StartAndKill runs a node and kills it after the delay, ready or not: for crashes during recovery.
func StartAndKill(program, dir string, delay time.Duration, args ...string) error {
	p, _, err := launch(program, dir, args...)
	if err != nil {
		return err
	}
	timer := time.NewTimer(delay)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-p.exited:
		return fmt.Errorf("node in %s ended by itself: %w\n%s", dir, p.err, p.tail())
	}
	return p.Kill()
}

func launch(program, dir string, args ...string) (*Process, <-chan string, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, nil, err
	}
	p := &Process{LogFile: filepath.Join(dir, "node.log"), exited: make(chan struct{})}
	log, err := os.OpenFile(p.LogFile, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, nil, err
	}
	defer log.Close() // the child has its own copy
	all := append([]string{
		"node", "--data", filepath.Join(dir, "data"),
		"--http", "127.0.0.1:0", "--grpc", "127.0.0.1:0", "--peer", "127.0.0.1:0", "--gossip", "127.0.0.1:0", "--admin", "127.0.0.1:0",
	}, args...)
	p.cmd = exec.Command(program, all...)
	p.cmd.Stderr = log
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} // no orphans when the test is killed
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, nil, err
	}
	if err := p.cmd.Start(); err != nil {
		return nil, nil, fmt.Errorf("start %s: %w", program, err)
	}
	lines := make(chan string, 1)
	go func() { // ends with the process's standard output; whoever waits for exited waits for it
		defer close(p.exited)
		scanner := bufio.NewScanner(out)
		for first := true; scanner.Scan(); first = false {
			if first {
				lines <- scanner.Text()
			}
		}
		p.err = p.cmd.Wait()
	}()
	return p, lines, nil
}

// Kill sends SIGKILL and waits for the end.
func (p *Process) Kill() error {
	_ = p.cmd.Process.Signal(syscall.SIGKILL) // it may have ended by itself
	<-p.exited
	return nil
}

// Signal sends a signal without waiting.
func (p *Process) Signal(signal os.Signal) error { return p.cmd.Process.Signal(signal) }

// Exited is closed when the process has ended.
func (p *Process) Exited() <-chan struct{} { return p.exited }

// ExitErr is how the process ended, nil for an exit code of 0. It may be asked once Exited is closed.
func (p *Process) ExitErr() error { return p.err }

// Pid is the process's id.
func (p *Process) Pid() int { return p.cmd.Process.Pid }

// Stop sends SIGTERM and waits until ctx ends, then kills. A non-zero exit is an error.
func (p *Process) Stop(ctx context.Context) error {
	_ = p.cmd.Process.Signal(syscall.SIGTERM) // it may have ended by itself
	select {
	case <-p.exited:
	case <-ctx.Done():
		return errors.Join(fmt.Errorf("node did not stop: %w", ctx.Err()), p.Kill())
	}
	if p.err != nil {
		return fmt.Errorf("node stopped with %w\n%s", p.err, p.tail())
	}
	return nil
}

// Log returns all that the node has logged so far.
func (p *Process) Log() string {
	data, err := os.ReadFile(p.LogFile)
	if err != nil {
		return err.Error()
	}
	return string(data)
}

func (p *Process) tail() string {
	log := p.Log()
	return log[max(0, len(log)-4000):]
}
