package peers

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/skerry-dev/skerry/internal/clustertest"
)

// connectWithin bounds how long a server may take until it listens.
const connectWithin = 20 * time.Second

// processes are the servers of one system.
type processes struct{ started []*exec.Cmd }

// launch runs a program in dir, which is made; what it says is in dir/log. It ends with this process at the latest.
func (p *processes) launch(dir, program string, args ...string) error {
	return p.start(dir, exec.Command(program, args...)) //nolint:noctx // it lives longer than the call
}

// start is launch for a command that needs more than arguments.
func (p *processes) start(dir string, cmd *exec.Cmd) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("make a server's directory: %w", err)
	}
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		return fmt.Errorf("make a server's log: %w", err)
	}
	defer log.Close() //nolint:errcheck // the child has its own copy
	cmd.Dir, cmd.Stderr = dir, log
	if cmd.Stdout == nil {
		cmd.Stdout = log
	}
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start %s: %w", cmd.Path, err)
	}
	p.started = append(p.started, cmd)
	return nil
}

// launchPrinting is launch for a program that prints its address; it returns that.
func (p *processes) launchPrinting(dir, program string, args ...string) (string, error) {
	cmd := exec.Command(program, args...) //nolint:noctx // it lives longer than the call
	read, write, err := os.Pipe()
	if err != nil {
		return "", fmt.Errorf("make a pipe: %w", err)
	}
	defer read.Close() //nolint:errcheck // only read
	cmd.Stdout = write
	err = p.start(dir, cmd)
	_ = write.Close() // the child has its own copy
	if err != nil {
		return "", err
	}
	if err := read.SetReadDeadline(time.Now().Add(connectWithin)); err != nil {
		return "", fmt.Errorf("wait for an address: %w", err)
	}
	var addr string
	if _, err := fmt.Fscanln(read, &addr); err != nil {
		return "", fmt.Errorf("%s printed no address: %w\n%s", program, err, logIn(dir))
	}
	return addr, nil
}

func (p *processes) pids() []int {
	var pids []int
	for _, cmd := range p.started {
		pids = append(pids, cmd.Process.Pid)
	}
	return pids
}

// stop kills and waits: what the servers hold is thrown away.
func (p *processes) stop() error {
	for _, cmd := range p.started {
		_ = cmd.Process.Kill() // it may have ended by itself
		_ = cmd.Wait()         // killed
	}
	p.started = nil
	return nil
}

// logIn is the end of a server's log, for an error.
func logIn(dir string) string {
	const most = 2000
	log, _ := os.ReadFile(filepath.Join(dir, "log")) // best effort: nothing is nothing
	return string(log[max(0, len(log)-most):])
}

// lookPath finds a program, also where Debian hides those of a server.
func lookPath(name string, elsewhere ...string) (string, error) {
	for _, pattern := range elsewhere {
		if found, _ := filepath.Glob(pattern); len(found) > 0 { // the patterns are well-formed
			return found[len(found)-1], nil
		}
	}
	program, err := exec.LookPath(name)
	if err != nil {
		return "", fmt.Errorf("%w: no %s in the path", ErrNotInstalled, name)
	}
	return program, nil
}

func freePort() (string, error) {
	addr, err := clustertest.FreeAddr()
	if err != nil {
		return "", err
	}
	_, port, err := net.SplitHostPort(addr)
	return port, err
}

// dialUntil connects within 20 s, while a server in dir comes up.
func dialUntil(ctx context.Context, addr, dir string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, connectWithin)
	defer cancel()
	for {
		conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", addr)
		if err == nil {
			return conn, nil
		}
		if pause(ctx, 50*time.Millisecond); ctx.Err() != nil {
			return nil, fmt.Errorf("connect to %s: %w\n%s", addr, errors.Join(err, ctx.Err()), logIn(dir))
		}
	}
}

// field returns one of the numbers behind the name in /proc/PID/stat, which count from the state, 0.
func field(stat string, number int) (v int64) {
	_, rest, _ := strings.Cut(stat, ") ")
	if fields := strings.Fields(rest); number < len(fields) {
		_, _ = fmt.Sscan(fields[number], &v) // else 0
	}
	return v
}
