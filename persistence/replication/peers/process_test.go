//go:build unix

package peers

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/skerry-dev/skerry/persistence"
)

// Goal: a killed process is seen at once, a frozen one after IdleTimeout, and it costs the others nothing but a queue.
// Method: this test binary as a second process, with real signals.

const childVariable = "SKERRY_PEERS_TEST_CHILD" // holds the address of the parent's listener

// TestChildProcess is the second process: node 2, until it is killed or its input ends.
func TestChildProcess(t *testing.T) {
	parent := os.Getenv(childVariable)
	if parent == "" {
		t.Skip("only as the child of another test")
	}
	n := start(t, 2, nil)
	n.SetAddresses(map[persistence.NodeID]string{1: parent})
	_, _ = fmt.Fprintln(os.Stdout, "address", n.address)
	_, _ = bufio.NewReader(os.Stdin).ReadString('\n')
}

// startChild runs node 2 as a process that knows parent.
func startChild(t *testing.T, parent *testNode) (process *os.Process, address string) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	cmd := exec.CommandContext(ctx, os.Args[0], "-test.run=^TestChildProcess$") //nolint:gosec // this binary
	cmd.Env = append(os.Environ(), childVariable+"="+parent.address)
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cancel() // kills it
		_ = stdin.Close()
		_ = cmd.Wait()
	})
	for lines := bufio.NewScanner(stdout); lines.Scan(); {
		if _, address, ok := strings.Cut(lines.Text(), "address "); ok {
			return cmd.Process, address
		}
	}
	t.Fatal("the child did not say where it is")
	return nil, ""
}

func TestKilledProcessIsSeenAtOnce(t *testing.T) {
	a := start(t, 1, nil)
	a.SetAddresses(map[persistence.NodeID]string{2: ""})
	child, address := startChild(t, a)
	a.SetAddresses(map[persistence.NodeID]string{2: address})
	a.waitUp(t, 2)
	a.waitSending(t)
	began := time.Now()
	if err := child.Kill(); err != nil {
		t.Fatal(err)
	}
	a.waitDown(t, 2)
	took := time.Since(began)
	t.Logf("seen after %v", took)
	if took > time.Second {
		t.Errorf("seen only after %v", took)
	}
}

func TestFrozenProcess(t *testing.T) {
	const idle = time.Second
	a := start(t, 1, func(o *Options) {
		o.PingInterval, o.IdleTimeout, o.HelloTimeout = idle/10, idle, idle/2
		o.MaxQueueBytes, o.MaxBatchBytes = 1<<20, 1<<20
	})
	a.SetAddresses(map[persistence.NodeID]string{2: ""})
	child, address := startChild(t, a)
	a.SetAddresses(map[persistence.NodeID]string{2: address})
	a.waitUp(t, 2)
	a.waitSending(t)
	if err := child.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	var worst time.Duration
	for i := range uint64(20_000) { // 200 MB
		at := time.Now()
		a.Send(2, numbered(i, 10_000))
		worst = max(worst, time.Since(at))
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	grown := int64(after.HeapAlloc) - int64(before.HeapAlloc)
	t.Logf("200 MB sent in %v, slowest Send %v, heap grew by %d KiB", time.Since(began), worst, grown>>10)
	if grown > 8<<20 {
		t.Errorf("the heap grew by %d bytes", grown)
	}
	a.waitDown(t, 2)
	t.Logf("seen after %v", time.Since(began))
	eventually(t, "it is given up", func() bool { return !a.Status()[0].Sending })

	if err := child.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	began = time.Now()
	a.waitUp(t, 2)
	a.waitSending(t)
	t.Logf("connected again %v after waking", time.Since(began))
}

// TestVanishedMachineIsAsked: the kernel is told how long it may wait for a peer that answers nothing.
func TestVanishedMachineIsAsked(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("TCP_USER_TIMEOUT is Linux's")
	}
	a := start(t, 1, nil)
	conn := connect(t, a)
	tcp, _ := conn.(*net.TCPConn)
	tune(conn, 5*time.Second)
	control, err := tcp.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	got := 0
	err = control.Control(func(fd uintptr) {
		got, _ = syscall.GetsockoptInt(int(fd), syscall.IPPROTO_TCP, 0x12)
	})
	if err != nil || got != 5000 {
		t.Errorf("user time-out of %d ms, %v", got, err)
	}
}
