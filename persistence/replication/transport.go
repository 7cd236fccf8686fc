package replication

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"sync"

	"go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"

	"github.com/skerry-dev/skerry/persistence"
)

// Transport carries batches of messages to other nodes. What is in a batch is the business of this package alone.
type Transport interface {
	// Send takes a batch to a node. It never blocks, and owns batch from then on. A batch may be lost, come late, twice or
	// out of order: that costs time, never what was promised. It is called by one goroutine at a time.
	Send(to persistence.NodeID, batch []byte)
}

// message is a Raft message of one group, from or to another node, or, when Gone is set, an owner's word to a replica, and all
// older ones of its node, that it was removed.
type message struct {
	Partition persistence.Partition
	Raft      *raftpb.Message
	Gone      uint64
}

// to is the replica that a message is for.
func (m *message) to() uint64 {
	if m.Gone != 0 {
		return m.Gone
	}
	return m.Raft.GetTo()
}

// The bounds of what travels and of what waits to be looked at.
const (
	// maxBatchBytes is about how long a batch gets; one message may make it longer.
	maxBatchBytes = 2 << 20
	// maxInboxBytes bounds the messages that were received and not looked at; what comes above it is dropped.
	maxInboxBytes = 32 << 20
)

// batchVersion begins every batch.
const batchVersion = 1

// ErrMalformedBatch says that a batch was not made by a node of this version: nothing of it was used.
var ErrMalformedBatch = errors.New("malformed batch of messages")

// appendMessage appends m to a batch, which it begins when it is empty.
func appendMessage(batch []byte, m *message) ([]byte, error) {
	if len(batch) == 0 {
		batch = append(batch, batchVersion)
	}
	batch = binary.AppendUvarint(batch, uint64(m.Partition))
	if m.Gone != 0 { // no message of Raft is empty
		return binary.AppendUvarint(append(batch, 0), m.Gone), nil
	}
	batch = binary.AppendUvarint(batch, uint64(proto.Size(m.Raft))) //nolint:gosec // not negative
	batch, err := proto.MarshalOptions{UseCachedSize: true}.MarshalAppend(batch, m.Raft)
	if err != nil {
		return nil, fmt.Errorf("encode a message of partition %d: %w", m.Partition, err)
	}
	return batch, nil
}

// decodeMessages decodes a batch; nothing of the result aliases it. It returns [ErrMalformedBatch], or
// [persistence.ErrNewer] for a version that this build does not know.
func decodeMessages(batch []byte) ([]message, error) {
	if len(batch) == 0 {
		return nil, fmt.Errorf("%w: empty", ErrMalformedBatch)
	}
	if batch[0] != batchVersion {
		return nil, fmt.Errorf("batch of messages of version %d: %w", batch[0], persistence.ErrNewer)
	}
	var messages []message
	for rest := batch[1:]; len(rest) > 0; {
		p, n := binary.Uvarint(rest)
		if n <= 0 || p > uint64(persistence.MetaPartition) {
			return nil, fmt.Errorf("%w: bad partition", ErrMalformedBatch)
		}
		rest = rest[n:]
		length, n := binary.Uvarint(rest)
		if n <= 0 || length > uint64(len(rest)-n) {
			return nil, fmt.Errorf("%w: bad length", ErrMalformedBatch)
		}
		m := message{Partition: persistence.Partition(p), Raft: &raftpb.Message{}}
		if length == 0 {
			gone, more := binary.Uvarint(rest[n:])
			if more <= 0 || gone == 0 {
				return nil, fmt.Errorf("%w: bad replica", ErrMalformedBatch)
			}
			rest = rest[n+more:]
			messages = append(messages, message{Partition: m.Partition, Gone: gone})
			continue
		}
		if err := proto.Unmarshal(rest[n:n+int(length)], m.Raft); err != nil { //nolint:gosec // at most len(rest)
			return nil, fmt.Errorf("%w: %w", ErrMalformedBatch, err)
		}
		rest = rest[n+int(length):] //nolint:gosec // at most len(rest)
		messages = append(messages, m)
	}
	return messages, nil
}

// travels reports whether voters send each other such messages. Raft's others are for one node alone, or are forwarded
// proposals, which nobody sends here.
func travels(t raftpb.MessageType) bool {
	switch t {
	case raftpb.MsgApp, raftpb.MsgSnap, raftpb.MsgAppResp, raftpb.MsgVote, raftpb.MsgVoteResp, raftpb.MsgPreVote, raftpb.MsgPreVoteResp,
		raftpb.MsgHeartbeat, raftpb.MsgHeartbeatResp, raftpb.MsgTimeoutNow:
		return true
	default:
		return false
	}
}

// wellFormed reports whether a message has a term, which Raft takes for one of its own without, and entries that follow one
// another, without which it panics.
func wellFormed(m *raftpb.Message) bool {
	index, term := m.GetIndex(), m.GetLogTerm()
	for _, e := range m.GetEntries() {
		if index++; e.GetIndex() != index || e.GetTerm() < term {
			return false
		}
		term = e.GetTerm()
	}
	return m.GetTerm() > 0 && (len(m.GetEntries()) == 0 || term <= m.GetTerm())
}

// Receive takes a batch that another node's host gave to its [Transport]. It does not block and keeps nothing of batch.
// It may be called from any goroutine. It returns [ErrMalformedBatch] or [persistence.ErrNewer], having used nothing of
// it, and [persistence.ErrQueueFull], having dropped it, when more waits than the loop can look at.
func (h *Host) Receive(from persistence.NodeID, batch []byte) error {
	messages, err := decodeMessages(batch)
	if err != nil {
		return fmt.Errorf("from node %d: %w", from, err)
	}
	messages = slices.DeleteFunc(messages, func(m message) bool {
		_, ok := h.slot(m.Partition)
		return !ok || m.Gone == 0 && (!travels(m.Raft.GetType()) || nodeOf(m.Raft.GetFrom()) != from)
	})
	if !h.inbox.add(messages, len(batch)) {
		return fmt.Errorf("from node %d: %w", from, persistence.ErrQueueFull)
	}
	h.queue.signal()
	return nil
}

// inbox holds what was received until the loop looks at it.
type inbox struct {
	mu struct {
		sync.Mutex
		messages []message
		bytes    int
	}
}

func (b *inbox) add(messages []message, bytes int) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.mu.bytes+bytes > maxInboxBytes {
		return false
	}
	b.mu.bytes += bytes
	b.mu.messages = append(b.mu.messages, messages...)
	return true
}

func (b *inbox) take() []message {
	b.mu.Lock()
	defer b.mu.Unlock()
	taken := b.mu.messages
	b.mu.messages, b.mu.bytes = nil, 0
	return taken
}

// beat names the heartbeats, or the answers to them, that one replica sends another in a term.
type beat struct {
	partition      persistence.Partition
	kind           raftpb.MessageType
	from, to, term uint64
}

// withoutStale drops the heartbeats, and the answers to them, of which a newer one waits behind them. A node that was
// stopped for a minute finds hundreds for every group; each answer lets the leader send again what the follower lacks, so
// all of them answered at once bring the same entries hundreds of times. What is dropped is worth nothing: of the rounds
// of barriers that they carry, which count upwards, the greatest is kept.
func withoutStale(messages []message) []message {
	var newest map[beat][]byte // the greatest round of the ones behind
	kept := len(messages)
	for _, message := range slices.Backward(messages) {
		if m := message.Raft; m != nil && (m.GetType() == raftpb.MsgHeartbeat || m.GetType() == raftpb.MsgHeartbeatResp) {
			b := beat{message.Partition, m.GetType(), m.GetFrom(), m.GetTo(), m.GetTerm()}
			if round, ok := newest[b]; ok && bytes.Compare(m.GetContext(), round) <= 0 {
				continue
			}
			if newest == nil {
				newest = make(map[beat][]byte)
			}
			newest[b] = m.GetContext()
		}
		kept--
		messages[kept] = message
	}
	return messages[kept:]
}

// outbox gathers the messages of one loop, a batch for each node.
type outbox struct {
	nodes   []persistence.NodeID // in the order of their first message
	batches map[persistence.NodeID][]byte
}

// send hands messages to the transport, coalesced by node.
func (h *Host) send(messages []message) error {
	if h.opts.Transport == nil || len(messages) == 0 {
		return nil
	}
	if h.outbox.batches == nil {
		h.outbox.batches = map[persistence.NodeID][]byte{}
	}
	for i := range messages {
		to := nodeOf(messages[i].to())
		batch := h.outbox.batches[to]
		if len(batch) == 0 {
			h.outbox.nodes = append(h.outbox.nodes, to)
		}
		batch, err := appendMessage(batch, &messages[i])
		if err != nil {
			return err
		}
		if len(batch) >= maxBatchBytes {
			h.opts.Transport.Send(to, batch)
			batch = nil
			h.outbox.nodes = slices.DeleteFunc(h.outbox.nodes, func(n persistence.NodeID) bool { return n == to })
		}
		h.outbox.batches[to] = batch
	}
	for _, to := range h.outbox.nodes {
		h.opts.Transport.Send(to, h.outbox.batches[to])
		h.outbox.batches[to] = nil
	}
	h.outbox.nodes = h.outbox.nodes[:0]
	return nil
}

// replicaOn returns the id of a node's first replica of a partition. The upper half counts: a node that gets a partition back
// has the next number, so that no id is used again.
func replicaOn(node persistence.NodeID) uint64 { return uint64(node) }

// nodeOf returns the node that a replica is on.
func nodeOf(replica uint64) persistence.NodeID {
	return persistence.NodeID(replica & 0xFFFFFFFF) //nolint:gosec // the lower half
}
