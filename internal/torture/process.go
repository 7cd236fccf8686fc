package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// process is one life of a voter. Its methods are for one goroutine.
type process struct {
	cmd     *exec.Cmd
	stdin   io.Closer // the voter ends when it is closed
	logFile string
	exited  chan struct{} // closed when the process was waited for
	err     error         // of Wait; read after exited
}

// startProcess runs this program as a voter and waits until it says that it is ready, unless ctx ends before.
func startProcess(ctx context.Context, o voterOptions) (*process, error) {
	p, lines, err := launch(o)
	if err != nil {
		return nil, err
	}
	select {
	case line := <-lines:
		if line == ready {
			return p, nil
		}
		p.kill()
		return nil, fmt.Errorf("node %d said %q\n%s", o.node, line, p.tail())
	case <-p.exited:
		return nil, fmt.Errorf("node %d ended before it was ready: %w\n%s", o.node, p.err, p.tail())
	case <-ctx.Done():
		p.kill()
		return nil, fmt.Errorf("node %d was not ready: %w\n%s", o.node, ctx.Err(), p.tail())
	}
}

func launch(o voterOptions) (*process, <-chan string, error) {
	program, err := os.Executable()
	if err != nil {
		return nil, nil, err
	}
	if err := os.MkdirAll(o.dir, 0o755); err != nil {
		return nil, nil, err
	}
	p := &process{logFile: filepath.Join(o.dir, "node.log"), exited: make(chan struct{})}
	log, err := os.OpenFile(p.logFile, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, nil, err
	}
	defer log.Close() // the child has its own copy
	p.cmd = exec.Command(program, "-voter", fmt.Sprint(o.node), "-dir", o.dir, "-commands", o.commands, "-addresses", o.addresses,
		"-partitions", fmt.Sprint(o.partitions), "-small="+fmt.Sprint(o.small), "-fault", o.fault)
	p.cmd.Stderr = log
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} // no orphans when the driver is killed
	if p.stdin, err = p.cmd.StdinPipe(); err != nil {
		return nil, nil, err
	}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, nil, err
	}
	if err := p.cmd.Start(); err != nil {
		return nil, nil, fmt.Errorf("start node %d: %w", o.node, err)
	}
	lines := make(chan string, 1)
	go func() { // ends with the process; whoever waits for exited waits for it
		defer close(p.exited)
		scanner := bufio.NewScanner(out)
		for first := true; scanner.Scan(); first = false {
			if first {
				lines <- strings.TrimSpace(scanner.Text())
			}
		}
		p.err = p.cmd.Wait()
	}()
	return p, lines, nil
}

// kill sends SIGKILL and waits for the end.
func (p *process) kill() {
	_ = p.cmd.Process.Signal(syscall.SIGKILL) // it may have ended by itself
	<-p.exited
}

// freeze stops the process where it is; thaw lets it go on.
func (p *process) freeze() error { return p.cmd.Process.Signal(syscall.SIGSTOP) }

func (p *process) thaw() error { return p.cmd.Process.Signal(syscall.SIGCONT) }

// stop lets the process end by itself.
func (p *process) stop() error {
	_ = p.stdin.Close() // it may have ended by itself
	select {
	case <-p.exited:
		if p.err != nil {
			return fmt.Errorf("voter ended with %w\n%s", p.err, p.tail())
		}
		return nil
	case <-time.After(30 * time.Second):
		p.kill()
		return errors.New("voter did not stop within 30 s\n" + p.tail())
	}
}

func (p *process) pid() int { return p.cmd.Process.Pid }

func (p *process) tail() string {
	log, err := os.ReadFile(p.logFile)
	if err != nil {
		return err.Error()
	}
	return string(log[max(0, len(log)-4000):])
}
