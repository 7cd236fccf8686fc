package members

import (
	"log"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/hashicorp/memberlist"
)

// transport is memberlist's own, which forgets the connections that it accepted and dialed: this one bounds them in time, and
// closes them when it is shut down.
type transport struct {
	*memberlist.NetTransport
	accepted chan net.Conn
	stop     chan struct{} // closed when nothing is passed on any more
	down     chan struct{} // closed when nothing comes any more
	stopping sync.Once
	handing  sync.WaitGroup

	mu struct {
		sync.Mutex
		open   map[*conn]bool
		closed bool
	}
	ended sync.WaitGroup // of connections
}

// conn is one of them.
type conn struct {
	net.Conn
	of   *transport
	once sync.Once
}

// listen listens for TCP and UDP on one port.
func listen(host netip.Addr, port int, logger *log.Logger) (*transport, error) {
	const tries = 10 // a port that is free for TCP may be taken for UDP
	var inner *memberlist.NetTransport
	var err error
	for range tries {
		inner, err = memberlist.NewNetTransport(&memberlist.NetTransportConfig{BindAddrs: []string{host.String()}, BindPort: port, Logger: logger})
		if err == nil || port != 0 {
			break
		}
	}
	if err != nil {
		return nil, err
	}
	t := &transport{NetTransport: inner, accepted: make(chan net.Conn), stop: make(chan struct{}), down: make(chan struct{})}
	t.mu.open = map[*conn]bool{}
	t.handing.Go(t.hand)
	return t, nil
}

// hand passes accepted connections on.
func (t *transport) hand() {
	for {
		select {
		case c := <-t.NetTransport.StreamCh():
			kept := t.keep(c)
			select {
			case t.accepted <- kept:
			case <-t.stop:
				_ = kept.Close()
			}
		case <-t.down:
			return
		}
	}
}

// keep makes a connection end when the transport does. Its deadline is the latest; memberlist sets earlier ones.
func (t *transport) keep(c net.Conn) net.Conn {
	kept := &conn{Conn: c, of: t}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.mu.closed {
		_ = c.Close()
		return c
	}
	t.mu.open[kept] = true
	t.ended.Add(1)
	_ = c.SetDeadline(time.Now().Add(streamTimeout))
	return kept
}

// Close implements [net.Conn].
func (c *conn) Close() error {
	c.once.Do(func() {
		c.of.mu.Lock()
		delete(c.of.mu.open, c)
		c.of.mu.Unlock()
		c.of.ended.Done()
	})
	return c.Conn.Close()
}

// StreamCh implements [memberlist.Transport].
func (t *transport) StreamCh() <-chan net.Conn { return t.accepted }

// DialAddressTimeout implements [memberlist.NodeAwareTransport].
func (t *transport) DialAddressTimeout(a memberlist.Address, timeout time.Duration) (net.Conn, error) {
	c, err := t.NetTransport.DialAddressTimeout(a, timeout)
	if err != nil {
		return nil, err
	}
	return t.keep(c), nil
}

// DialTimeout implements [memberlist.Transport].
func (t *transport) DialTimeout(addr string, timeout time.Duration) (net.Conn, error) {
	return t.DialAddressTimeout(memberlist.Address{Addr: addr}, timeout)
}

// Shutdown implements [memberlist.Transport]. It returns when nothing is listened to and no connection is used any more.
func (t *transport) Shutdown() error {
	var err error
	t.stopping.Do(func() { err = t.shutdown() })
	return err
}

func (t *transport) shutdown() error {
	close(t.stop)
	t.handing.Go(t.forget)
	err := t.NetTransport.Shutdown()
	close(t.down)
	t.handing.Wait()
	t.mu.Lock()
	t.mu.closed = true
	for c := range t.mu.open {
		_ = c.Conn.Close()
	}
	t.mu.Unlock()
	t.ended.Wait()
	return err
}

// forget takes packets that nobody may want any more, so that who brings them can end.
func (t *transport) forget() {
	for {
		select {
		case <-t.PacketCh():
		case <-t.down:
			return
		}
	}
}
