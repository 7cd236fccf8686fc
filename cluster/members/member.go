package members

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/hashicorp/memberlist"

	"github.com/skerry-dev/skerry/persistence"
)

// State is what a node says that it does.
type State uint8

// The states.
const (
	// Joining: it is not admitted yet, or does not know yet who has what.
	Joining State = iota + 1
	// Active: it can have replicas, and own.
	Active
	// Draining: it wants others to own what it owns.
	Draining
)

// String is the state in a word.
func (s State) String() string {
	switch s {
	case Joining:
		return "joining"
	case Active:
		return "active"
	case Draining:
		return "draining"
	default:
		return "unknown"
	}
}

// Member is what a node says of itself.
type Member struct {
	// Name is unique among those alive.
	Name string
	// Node is the node's id; 0 while it is not admitted.
	Node persistence.NodeID
	// Cluster is the id of its cluster; "" while it belongs to none.
	Cluster string
	// Nonce is of its data directory, Life of this process.
	Nonce, Life uint64
	State       State
	// Peer, GRPC and HTTP are where it is reached.
	Peer, GRPC, HTTP string
	// Generation is raised when a cluster is recovered without the majority of its nodes: those of an older one were given up.
	Generation uint32
	// Feature is its feature level, Version its build in words.
	Feature uint32
	Version string
	// Gossip is where it is reached by members. It is not said but seen.
	Gossip string
}

// errMalformed says that bytes are not what they should be.
var errMalformed = errors.New("malformed")

// wireVersion begins whatever members say to each other. What is appended to it later is passed over by who does not know it; what
// changes otherwise needs another version, and is not understood.
const wireVersion = 1

// encode is what is gossiped of a member, without its name. Errors wrap [ErrTooLong] or errMalformed.
func (m *Member) encode() ([]byte, error) {
	if m.State < Joining || m.State > Draining {
		return nil, fmt.Errorf("%w: state %d", errMalformed, m.State)
	}
	b := []byte{wireVersion, byte(m.State)}
	b = binary.LittleEndian.AppendUint64(b, m.Nonce)
	b = binary.LittleEndian.AppendUint64(b, m.Life)
	b = binary.AppendUvarint(b, uint64(m.Node))
	b = binary.AppendUvarint(b, uint64(m.Feature))
	b = binary.AppendUvarint(b, uint64(m.Generation))
	for _, s := range []string{m.Cluster, m.Peer, m.GRPC, m.HTTP, m.Version} {
		b = appendString(b, s)
	}
	if len(b) > memberlist.MetaMaxSize {
		return nil, fmt.Errorf("%w: node %s says %d bytes of itself, %d are allowed", ErrTooLong, m.Name, len(b), memberlist.MetaMaxSize)
	}
	return b, nil
}

// decodeMember decodes what encode made, here or in another build. Errors wrap errMalformed.
func decodeMember(b []byte) (Member, error) {
	r := reader{left: b}
	if version := r.byte(); !r.bad && version != wireVersion {
		return Member{}, fmt.Errorf("%w: a member of version %d", errMalformed, version)
	}
	m := Member{State: State(r.byte())}
	m.Nonce, m.Life = r.uint64(), r.uint64()
	m.Node, m.Feature, m.Generation = persistence.NodeID(r.uint32()), r.uint32(), r.uint32()
	for _, s := range []*string{&m.Cluster, &m.Peer, &m.GRPC, &m.HTTP, &m.Version} {
		*s = string(r.bytes())
	}
	if r.bad || m.State < Joining || m.State > Draining {
		return Member{}, fmt.Errorf("%w: a member of %d bytes", errMalformed, len(b))
	}
	return m, nil
}

// The kinds of envelopes.
const (
	kindPayload = iota + 1
	kindLeaving
)

// envelope is what members send each other directly.
type envelope struct {
	kind    byte
	from    string
	life    uint64 // of who leaves
	payload []byte
}

func (e *envelope) encode() []byte {
	b := appendString([]byte{wireVersion, e.kind}, e.from)
	if e.kind == kindLeaving {
		return binary.LittleEndian.AppendUint64(b, e.life)
	}
	return append(b, e.payload...)
}

// decodeEnvelope decodes what encode made; the payload is b's. Errors wrap errMalformed.
func decodeEnvelope(b []byte) (envelope, error) {
	r := reader{left: b}
	version, e := r.byte(), envelope{kind: r.byte(), from: string(r.bytes())}
	switch e.kind {
	case kindPayload:
		e.payload = r.left
	case kindLeaving:
		e.life = r.uint64()
	default:
		r.bad = true
	}
	if r.bad || version != wireVersion || len(e.payload) > MaxPayload {
		return envelope{}, fmt.Errorf("%w: a message of %d bytes", errMalformed, len(b))
	}
	return e, nil
}

func appendString(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

// reader takes values from bytes. When they end too early it is bad, and everything is zero.
type reader struct {
	left []byte
	bad  bool
}

func (r *reader) take(n uint64) []byte {
	if r.bad || n > uint64(len(r.left)) {
		r.bad, r.left = true, nil
		return nil
	}
	taken := r.left[:n]
	r.left = r.left[n:]
	return taken
}

func (r *reader) byte() byte {
	if b := r.take(1); b != nil {
		return b[0]
	}
	return 0
}

func (r *reader) uint64() uint64 {
	if b := r.take(8); b != nil {
		return binary.LittleEndian.Uint64(b)
	}
	return 0
}

func (r *reader) uvarint() uint64 {
	value, n := binary.Uvarint(r.left)
	if n <= 0 {
		r.bad, r.left = true, nil
		return 0
	}
	r.left = r.left[n:]
	return value
}

func (r *reader) uint32() uint32 {
	value := r.uvarint()
	r.bad = r.bad || value > 1<<32-1
	return uint32(value) //nolint:gosec // else it is bad
}

func (r *reader) bytes() []byte { return r.take(r.uvarint()) }
