package network

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"

	"golang.org/x/sys/unix"
)

// Network is hosts and the switch between them. Its methods are for any goroutine.
type Network struct {
	hosts   []*host // the first is this process
	running sync.WaitGroup

	dropped atomic.Int64
	carried atomic.Int64
	mu      struct {
		sync.Mutex
		rng  *rand.Rand
		loss [][]float64 // share of the packets that are dropped, by from and to
	}
}

// host is a network namespace: a device that the switch reads and writes, and a thread that lives in it.
type host struct {
	device *os.File
	work   chan func() // nil for this process
}

// Enclose runs this program again, with the same arguments and one more, in a network namespace of its own, as [Open] needs
// it, and waits for its end. It returns ErrNotPossible when that is not allowed, and an *exec.ExitError when the program failed.
func Enclose(more ...string) error {
	var ended *exec.ExitError
	err := enclose(&syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL}, more)
	if err == nil || errors.As(err, &ended) {
		return err
	}
	err = enclose(&syscall.SysProcAttr{ // who is not root may be it in a namespace of users
		Cloneflags:  syscall.CLONE_NEWNET | syscall.CLONE_NEWUSER,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}},
		Pdeathsig:   syscall.SIGKILL,
	}, more)
	if err == nil || errors.As(err, &ended) {
		return err
	}
	return fmt.Errorf("%w: make a namespace: %w", ErrNotPossible, err)
}

func enclose(how *syscall.SysProcAttr, more []string) error {
	runtime.LockOSThread() // the kernel ends the child when the thread that made it ends
	defer runtime.UnlockOSThread()
	cmd := exec.Command("/proc/self/exe", append(os.Args[1:], more...)...) //nolint:gosec // this program
	cmd.Stdin, cmd.Stdout, cmd.Stderr, cmd.SysProcAttr = os.Stdin, os.Stdout, os.Stderr, how
	return cmd.Run()
}

// Open makes a network of this process and so many hosts beside it. The process was started by [Enclose]. seed draws which
// packets are lost.
func Open(hosts int, seed uint64) (*Network, error) {
	n := &Network{}
	n.mu.rng = rand.New(rand.NewPCG(seed, 1)) //nolint:gosec // repeatable
	n.mu.loss = make([][]float64, hosts+1)
	here, err := openDevice(Here)
	if err != nil {
		return nil, err
	}
	n.hosts = append(n.hosts, &host{device: here})
	for i := range n.mu.loss {
		n.mu.loss[i] = make([]float64, hosts+1)
		if i == Here {
			continue
		}
		h := &host{work: make(chan func())}
		made := make(chan error)
		n.running.Go(func() { h.live(i, made) })
		if err := <-made; err != nil {
			return nil, errors.Join(err, n.Close())
		}
		n.hosts = append(n.hosts, h)
	}
	for _, h := range n.hosts {
		n.running.Go(func() { n.carry(h.device) })
	}
	return n, nil
}

// live makes the namespace, and does in it what it is given until there is no more. Its thread ends with it.
func (h *host) live(number int, made chan<- error) {
	runtime.LockOSThread()
	err := unix.Unshare(unix.CLONE_NEWNET)
	if err != nil {
		err = fmt.Errorf("%w: make a network namespace: %w", ErrNotPossible, err)
	} else {
		h.device, err = openDevice(number)
	}
	made <- err
	if err != nil {
		return
	}
	for do := range h.work {
		do()
	}
}

// openDevice makes the namespace's device, with its address, and brings it and loopback up.
func openDevice(number int) (*os.File, error) {
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("%w: /dev/net/tun: %w", ErrNotPossible, err)
	}
	if err := configure(fd, number); err != nil {
		return nil, errors.Join(err, unix.Close(fd))
	}
	return os.NewFile(uintptr(fd), fmt.Sprint("host ", number)), nil //nolint:gosec // not negative; only now can it be polled
}

func configure(fd, number int) error {
	request, err := unix.NewIfreq("switch")
	if err != nil {
		return err
	}
	request.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI)
	if err = unix.IoctlIfreq(fd, unix.TUNSETIFF, request); err != nil {
		return fmt.Errorf("%w: make a device: %w", ErrNotPossible, err)
	}
	socket, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("configure the device: %w", err)
	}
	defer unix.Close(socket) //nolint:errcheck // nothing is lost
	address := addrOf(number).As4()
	for _, set := range []struct {
		name    string
		request uint
		fill    func(*unix.Ifreq) error
	}{
		{"switch", unix.SIOCSIFADDR, func(r *unix.Ifreq) error { return r.SetInet4Addr(address[:]) }},
		{"switch", unix.SIOCSIFNETMASK, func(r *unix.Ifreq) error { return r.SetInet4Addr([]byte{255, 255, 255, 0}) }},
		{"switch", unix.SIOCSIFFLAGS, func(r *unix.Ifreq) error { r.SetUint16(unix.IFF_UP | unix.IFF_RUNNING); return nil }},
		{"lo", unix.SIOCSIFFLAGS, func(r *unix.Ifreq) error { r.SetUint16(unix.IFF_UP | unix.IFF_RUNNING); return nil }},
	} {
		request, err := unix.NewIfreq(set.name)
		if err == nil {
			err = set.fill(request)
		}
		if err == nil {
			err = unix.IoctlIfreq(socket, set.request, request)
		}
		if err != nil {
			return fmt.Errorf("configure %s: %w", set.name, err)
		}
	}
	return nil
}

// carry takes what a host sends to where it goes, until the device is closed.
func (n *Network) carry(device *os.File) {
	packet := make([]byte, 1<<16)
	for {
		length, err := device.Read(packet)
		if err != nil {
			return
		}
		from, to, ok := hostsOf(packet[:length], len(n.hosts))
		if !ok || n.drops(from, to) {
			continue
		}
		n.carried.Add(1)
		_, _ = n.hosts[to].device.Write(packet[:length]) // a full or closed one loses packets, as networks do
	}
}

func (n *Network) drops(from, to int) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	share := n.mu.loss[from][to]
	if share <= 0 || share < 1 && n.mu.rng.Float64() >= share {
		return false
	}
	n.dropped.Add(1)
	return true
}

// Addr is the address of a host.
func (n *Network) Addr(host int) string { return addrOf(host).String() }

// Do calls do in a host's network: processes that it starts live there, sockets that it opens belong there. Goroutines that it
// starts do not. It waits for do's end.
func (n *Network) Do(host int, do func()) {
	if host == Here {
		do()
		return
	}
	done := make(chan struct{})
	n.hosts[host].work <- func() { defer close(done); do() }
	<-done
}

// Lose drops a share of the packets that go from a host to another: 1 cuts the link in this direction, 0 heals it.
func (n *Network) Lose(from, to int, share float64) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.mu.loss[from][to] = share
}

// Heal loses nothing any more.
func (n *Network) Heal() {
	n.mu.Lock()
	defer n.mu.Unlock()
	for from := range n.mu.loss {
		clear(n.mu.loss[from])
	}
}

// Packets returns how many were carried and dropped so far.
func (n *Network) Packets() (carried, dropped int64) { return n.carried.Load(), n.dropped.Load() }

// Close ends the network. The kernel ends processes that were started in it.
func (n *Network) Close() error {
	var errs []error
	for _, h := range n.hosts {
		if h.work != nil {
			close(h.work)
		}
		errs = append(errs, h.device.Close())
	}
	n.running.Wait()
	return errors.Join(errs...)
}
