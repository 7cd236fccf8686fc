package members

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// errFormerLife says that the others have not found yet that this node's last process died.
var errFormerLife = errors.New("a former life of this node is not known to be dead")

// errItself says that this node asked itself.
var errItself = errors.New("that is this node itself")

// Join meets the nodes at addrs, HOST:PORT each, until one of them and this node told each other all they know; who it knows is met
// by and by. This node's own address may be among them, and is passed over. It waits for those that take this node's last process
// for alive. It returns the context's error, [ErrClosed], or, when nobody was met, what each of addrs failed with: [ErrNameTaken],
// [ErrOtherCluster], [ErrKey], or the network's, and [ErrNobody] in any case. It may be called again, also after it succeeded, and
// has to be: members that were cut off from each other for long find each other only by one that joins the other.
func (m *Members) Join(ctx context.Context, addrs []string) error {
	for {
		err := m.joinOnce(ctx, addrs)
		if !errors.Is(err, errFormerLife) {
			return err
		}
		select {
		case <-ctx.Done():
			return errors.Join(err, ctx.Err())
		case <-time.After(defaultProbeInterval):
		}
	}
}

// joinOnce goes once through addrs.
func (m *Members) joinOnce(ctx context.Context, addrs []string) error {
	failed := []error{ErrNobody}
	for _, addr := range addrs {
		if m.done() {
			return ErrClosed
		}
		targets, err := resolve(ctx, addr)
		if err != nil {
			failed = append(failed, fmt.Errorf("join %s: %w", addr, err))
		}
		for _, target := range targets {
			err := m.meet(ctx, target)
			switch {
			case err == nil:
				return nil
			case ctx.Err() != nil:
				return errors.Join(append(failed, ctx.Err())...)
			case !errors.Is(err, errItself):
				failed = append(failed, fmt.Errorf("join %s: %w", addr, err))
			}
		}
	}
	return errors.Join(failed...)
}

// meet exchanges everything with whoever is at target.
func (m *Members) meet(ctx context.Context, target netip.AddrPort) error {
	if target.String() == m.Addr() {
		return errItself
	}
	return m.await(ctx, func() error {
		_, err := m.list.Join([]string{target.String()})
		return known(err)
	})
}

// known returns the error that memberlist passes on as words only.
func known(err error) error {
	if err == nil {
		return nil
	}
	said := err.Error()
	switch {
	case strings.Contains(said, errFormerLife.Error()):
		return fmt.Errorf("%w: %w", ErrNameTaken, errFormerLife)
	case strings.Contains(said, "encrypt"), strings.Contains(said, "decrypt"):
		return fmt.Errorf("%w: %w", ErrKey, err)
	}
	for _, sentinel := range []error{ErrNameTaken, ErrOtherCluster, ErrTwice, errItself} {
		if strings.Contains(said, sentinel.Error()) {
			return fmt.Errorf("%w (%w)", sentinel, err)
		}
	}
	return err
}

// resolve returns the addresses of HOST:PORT.
func resolve(ctx context.Context, addr string) ([]netip.AddrPort, error) {
	host, portName, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, err
	}
	port, err := net.DefaultResolver.LookupPort(ctx, "tcp", portName)
	if err != nil {
		return nil, err
	}
	hosts, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return nil, err
	}
	targets := make([]netip.AddrPort, len(hosts))
	for i, h := range hosts {
		targets[i] = netip.AddrPortFrom(h.Unmap(), uint16(port)) //nolint:gosec // LookupPort's are below 65536
	}
	slices.SortFunc(targets, netip.AddrPort.Compare)
	return targets, nil
}
