// Package members tells who is there: the door to memberlist.
//
// # Guarantees
//
//   - What is said here is a hint. Somebody may be told as dead who lives, and as alive who is gone; nothing that is stored depends on it.
//   - Joined: when [Members.Join] returns nil, this node and another one told each other everything they know.
//   - Apart: clusters with different ids never become one, and who has another key hears nothing.
//
// Begin with [Open]. What others say of themselves is a [Member]; what happens is told to a [Handler].
package members

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/memberlist"
)

// The ways in which a node does not come together with others. Compare with errors.Is.
var (
	// ErrNameTaken: another process has this node's name and is alive, or was a moment ago.
	ErrNameTaken = errors.New("the node's name is taken")
	// ErrOtherCluster: who answered is of a cluster with another id.
	ErrOtherCluster = errors.New("it belongs to another cluster")
	// ErrTwice: two processes with different names say that they are the same node. The one that comes later is not let in.
	ErrTwice = errors.New("the node is there twice")
	// ErrKey: who answered encrypts with another key, or one of the two does not encrypt.
	ErrKey = errors.New("the gossip keys are not the same")
	// ErrNobody: nobody else answered at the addresses.
	ErrNobody = errors.New("no other node answered")
	// ErrNoMember: there is no such member, or it is this node.
	ErrNoMember = errors.New("no such member")
	// ErrTooLong: what was to be said is longer than others would take.
	ErrTooLong = errors.New("too long to be said")
	// ErrClosed: this node has left, or was closed.
	ErrClosed = errors.New("not among the members any more")
)

// Handler hears what happens. No method may block. Of [Members] they may call nothing but List, because others wait meanwhile.
// None is called for what this node says of itself, nor after Close has returned.
type Handler interface {
	// Changed says that somebody came, or says something else of itself.
	Changed()
	// Left says that a member left, or died: was not reached, or came back as another process.
	Left(m Member, died bool)
	// Message brings what a member sent with Send, in no order. The payload is the handler's.
	Message(from string, payload []byte)
	// LocalState is what two members exchange when one joins, and now and then later; more than 1 MiB is not sent.
	LocalState() []byte
	// MergeState brings the other's LocalState. It is the handler's.
	MergeState(state []byte)
}

// MaxPayload is how long a payload, or a state, may be, in bytes.
const MaxPayload = 1 << 20

// Options say how a node meets others. Self, Bind and Handler are needed.
type Options struct {
	// Self is what this node says of itself at first. Gossip is filled in.
	Self Member
	// Bind is HOST:PORT, for TCP and UDP. Port 0 picks one.
	Bind string
	// Advertise is the host that others use; "" is Bind's, which must then be one that they can reach.
	Advertise string
	// Key encrypts all that is said, with 16, 24 or 32 bytes, the same on all nodes. nil: everybody who reaches the port can read
	// and speak.
	Key     []byte
	Handler Handler
	// Logger hears of failures; nil is nobody.
	Logger *slog.Logger
	// ProbeInterval is how often a node looks after another one, ProbeTimeout how long it waits for the answer before it asks
	// others to look. Shorter finds the dead sooner, and takes more for dead that are slow. Default: 200 ms, 100 ms.
	ProbeInterval, ProbeTimeout time.Duration
	// Suspicion is for how many probe intervals a node that does not answer may still speak up, longer when nobody else
	// confirms. Default: 3.
	Suspicion int
}

const (
	defaultProbeInterval = 200 * time.Millisecond
	defaultProbeTimeout  = 100 * time.Millisecond
	defaultSuspicion     = 3
	gossipInterval       = 200 * time.Millisecond
	exchangeInterval     = 10 * time.Second
	// streamTimeout bounds one conversation over TCP.
	streamTimeout = 5 * time.Second
	// spreadTimeout bounds how long Set and Leave wait until others were told.
	spreadTimeout = 2 * time.Second
	maxName       = 64
)

// Members is this node among others. Its methods may be called from any goroutine.
type Members struct {
	opts      Options
	log       *slog.Logger
	transport *transport
	list      *memberlist.Memberlist
	setting   sync.Mutex     // held by Set
	sending   sync.WaitGroup // what callers may have stopped waiting for
	gate      gate
	closing   sync.Mutex // held by Leave and Close while memberlist does it

	mu struct { // held for moments, and never while memberlist is called
		sync.Mutex
		self    Member
		meta    []byte // self's
		others  map[string]other
		leaving map[string]uint64 // lives of members that said they leave
		left    bool
		closed  bool
	}
}

// other is a member and how it is reached.
type other struct {
	Member
	at memberlist.Node
}

// Open listens, alone. Errors say which option is wrong, or what the system refused.
func Open(o Options) (*Members, error) {
	host, port, advertise, err := o.validate()
	if err != nil {
		return nil, err
	}
	m := &Members{opts: o, log: o.Logger}
	if m.log == nil {
		m.log = slog.New(slog.DiscardHandler)
	}
	m.mu.others, m.mu.leaving = map[string]other{}, map[string]uint64{}
	libraryLog := newLibraryLog(m.log)
	if m.transport, err = listen(host, port, libraryLog); err != nil {
		return nil, fmt.Errorf("listen for gossip on %s: %w", o.Bind, err)
	}
	port = m.transport.GetAutoBindPort()
	o.Self.Gossip = net.JoinHostPort(advertise.String(), strconv.Itoa(port))
	if err = m.say(o.Self); err != nil {
		return nil, errors.Join(err, m.transport.Shutdown())
	}
	conf := memberlist.DefaultLANConfig()
	conf.Name, conf.Transport, conf.Logger = o.Self.Name, m.transport, libraryLog
	conf.BindAddr, conf.BindPort = host.String(), port
	conf.AdvertiseAddr, conf.AdvertisePort = advertise.String(), port
	conf.ProbeInterval = orDefault(o.ProbeInterval, defaultProbeInterval)
	conf.ProbeTimeout = orDefault(o.ProbeTimeout, defaultProbeTimeout)
	conf.SuspicionMult, conf.SuspicionMaxTimeoutMult = orDefault(o.Suspicion, defaultSuspicion), 2
	conf.GossipInterval, conf.PushPullInterval = gossipInterval, exchangeInterval
	conf.TCPTimeout = streamTimeout
	conf.DeadNodeReclaimTime = time.Millisecond // a node that died may come back at another address at once
	conf.EnableCompression = false
	conf.SecretKey = o.Key
	conf.Delegate, conf.Events = (*speaker)(m), (*watcher)(m)
	conf.Alive, conf.Merge, conf.Conflict = (*doorman)(m), (*doorman)(m), (*doorman)(m)
	if m.list, err = memberlist.Create(conf); err != nil {
		return nil, errors.Join(fmt.Errorf("open the gossip: %w", err), m.transport.Shutdown())
	}
	return m, nil
}

// orDefault is value, or what it is by default.
func orDefault[T comparable](value, byDefault T) T {
	var zero T
	if value == zero {
		return byDefault
	}
	return value
}

// validate returns where to listen, and the address that others use.
func (o *Options) validate() (host netip.Addr, port int, advertise netip.Addr, err error) {
	var wrong []error
	if o.Self.Name == "" || len(o.Self.Name) > maxName || strings.ContainsAny(o.Self.Name, "/\x00") {
		wrong = append(wrong, fmt.Errorf("name %q: it needs 1 to %d bytes, none of them a slash", o.Self.Name, maxName))
	}
	if o.Handler == nil {
		wrong = append(wrong, errors.New("no handler"))
	}
	if n := len(o.Key); n != 0 && n != 16 && n != 24 && n != 32 {
		wrong = append(wrong, fmt.Errorf("the gossip key has %d bytes: it needs 16, 24 or 32", n))
	}
	hostName, portName, err := net.SplitHostPort(o.Bind)
	if err != nil {
		return host, 0, advertise, errors.Join(append(wrong, fmt.Errorf("gossip address %q: %w", o.Bind, err))...)
	}
	if port, err = net.LookupPort("udp", portName); err != nil {
		wrong = append(wrong, fmt.Errorf("gossip address %q: %w", o.Bind, err))
	}
	if host, err = resolveOne(orDefault(hostName, "0.0.0.0")); err != nil {
		wrong = append(wrong, fmt.Errorf("gossip address %q: %w", o.Bind, err))
	}
	if advertise, err = resolveOne(orDefault(o.Advertise, host.String())); o.Advertise != "" && err != nil {
		wrong = append(wrong, fmt.Errorf("advertised host %q: %w", o.Advertise, err))
	}
	if host.IsValid() && advertise.IsValid() && advertise.IsUnspecified() {
		wrong = append(wrong, fmt.Errorf("gossip address %q is all addresses of this machine: the one that others use has to be advertised", o.Bind))
	}
	return host, port, advertise, errors.Join(wrong...)
}

// resolveOne returns a host's first address, one of the fourth version if it has any.
func resolveOne(host string) (netip.Addr, error) {
	ctx, cancel := context.WithTimeout(context.Background(), streamTimeout)
	defer cancel()
	found, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return netip.Addr{}, err
	}
	for i, addr := range found {
		found[i] = addr.Unmap()
	}
	return slices.MinFunc(found, netip.Addr.Compare), nil
}

// say makes self what this node says, if it can be said.
func (m *Members) say(self Member) error {
	meta, err := self.encode()
	if err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.mu.self, m.mu.meta = self, meta
	return nil
}

// Addr is HOST:PORT at which others join.
func (m *Members) Addr() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.mu.self.Gossip
}

// List returns who is alive, this node included, by name. It never waits.
func (m *Members) List() []Member {
	m.mu.Lock()
	defer m.mu.Unlock()
	list := []Member{m.mu.self}
	for _, o := range m.mu.others {
		list = append(list, o.Member)
	}
	slices.SortFunc(list, func(a, b Member) int { return strings.Compare(a.Name, b.Name) })
	return list
}

// Set says something new of this node, and waits, at most two seconds, until others were told; longer is an error, but it is said
// all the same. The name stays. It returns [ErrTooLong], with nothing said, or [ErrClosed].
func (m *Members) Set(self Member) error {
	m.setting.Lock()
	defer m.setting.Unlock()
	now := m.self()
	if self.Name != now.Name {
		return fmt.Errorf("node %s cannot become %s", now.Name, self.Name)
	}
	if m.done() {
		return ErrClosed
	}
	self.Gossip = now.Gossip
	if err := m.say(self); err != nil {
		return err
	}
	if err := m.list.UpdateNode(spreadTimeout); err != nil {
		return fmt.Errorf("tell others of this node: %w", err)
	}
	return nil
}

func (m *Members) self() Member {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.mu.self
}

// done reports whether this node left, or was closed.
func (m *Members) done() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.mu.left || m.mu.closed
}

// Send brings a payload to a member, which hears it once, or not at all when there is an error. It returns [ErrNoMember], [ErrTooLong],
// [ErrClosed], the context's error, or the network's. It does not wait for the member's handler.
func (m *Members) Send(ctx context.Context, to string, payload []byte) error {
	if len(payload) > MaxPayload {
		return fmt.Errorf("%w: %d bytes to %s", ErrTooLong, len(payload), to)
	}
	return m.send(ctx, to, envelope{kind: kindPayload, from: m.opts.Self.Name, payload: payload})
}

func (m *Members) send(ctx context.Context, to string, e envelope) error {
	m.mu.Lock()
	o, ok := m.mu.others[to]
	m.mu.Unlock()
	if !ok {
		return fmt.Errorf("%w: %s", ErrNoMember, to)
	}
	sealed := e.encode()
	return m.await(ctx, func() error {
		if err := m.list.SendReliable(&o.at, sealed); err != nil {
			return fmt.Errorf("send to %s at %s: %w", to, o.at.Address(), err)
		}
		return nil
	})
}

// await runs what cannot be stopped and ends in bounded time, and returns when it, or the context, ends.
func (m *Members) await(ctx context.Context, run func() error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	m.mu.Lock()
	if m.mu.closed {
		m.mu.Unlock()
		return ErrClosed
	}
	m.sending.Add(1) // Close waits for it
	m.mu.Unlock()
	ended := make(chan error, 1)
	go func() {
		defer m.sending.Done()
		ended <- run()
	}()
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Leave tells the others that this node goes: they hear that it left, and not that it died. Then nothing is left to do but Close.
// An error says that somebody may not have heard.
func (m *Members) Leave(ctx context.Context) error {
	m.mu.Lock()
	if m.mu.closed || m.mu.left {
		m.mu.Unlock()
		return nil
	}
	m.mu.left = true
	names, life := slices.Sorted(maps.Keys(m.mu.others)), m.mu.self.Life
	m.mu.Unlock()
	heard := make(chan error, len(names))
	for _, name := range names {
		go func() { heard <- m.send(ctx, name, envelope{kind: kindLeaving, from: m.opts.Self.Name, life: life}) }()
	}
	var failed []error
	for range names {
		failed = append(failed, <-heard)
	}
	failed = append(failed, m.await(ctx, m.leave))
	if err := errors.Join(failed...); err != nil {
		return fmt.Errorf("leave the other members: %w", err)
	}
	return nil
}

// leave has memberlist leave, unless it is closed: then it would panic.
func (m *Members) leave() error {
	m.closing.Lock()
	defer m.closing.Unlock()
	m.mu.Lock()
	closed := m.mu.closed
	m.mu.Unlock()
	if closed {
		return ErrClosed
	}
	return m.list.Leave(spreadTimeout)
}

// Close stops listening and talking. Without Leave others find after a while that this node died. The handler hears nothing
// more when it returns. It may be called more than once.
func (m *Members) Close() error {
	m.mu.Lock()
	again := m.mu.closed
	m.mu.closed = true
	m.mu.Unlock()
	if again {
		return nil
	}
	m.gate.close()
	m.closing.Lock()
	err := m.list.Shutdown()
	m.closing.Unlock()
	m.sending.Wait()
	if err != nil {
		return fmt.Errorf("close the gossip: %w", err)
	}
	return nil
}
