package replication

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/skerry-dev/skerry/persistence"
)

// The bounds of mending one part.
const (
	maxMended     = 256                                  // values in one request
	maxMendBytes  = 2*persistence.MaxRepairBytes + 1<<20 // of an answer: base64 makes four bytes of three
	mendFrame     = 1 << 20
	maxMendedName = 64 << 10 // of a request
)

// ErrNotMended says that no other replica could give what is damaged here. What is stored was not changed.
var ErrNotMended = errors.New("no replica has the damaged values whole")

// mendRequest asks a replica for values.
type mendRequest struct {
	Key   persistence.Key
	Names []persistence.ValueName
}

// Mend repairs what does not verify of one part of an entity with what other replicas of p have, and returns how many
// values were repaired, durably; 0 and nil when nothing is damaged. The damaged bytes stay in quarantine. It asks one
// replica after the other, blocks until they have answered, and may be called from any goroutine while Run runs. Errors:
// [ErrNotMended], [persistence.ErrCorrupt] when single values cannot help, [persistence.ErrClosed], and ctx's.
func (h *Host) Mend(ctx context.Context, p persistence.Partition, key persistence.Key, part persistence.Part) (int, error) {
	slot, ok := h.slot(p)
	store, can := h.opts.StateMachine.(persistence.Repairer)
	if !ok || !can || h.opts.Fetcher == nil {
		return 0, fmt.Errorf("mend %s: %w", key, ErrNotMended)
	}
	repaired, last := 0, ErrNotMended
	for _, other := range h.Status()[slot].Replicas {
		if other.Node == h.opts.Node {
			continue
		}
		damaged, err := store.Damaged(ctx, p, key, part, maxMended)
		if err != nil {
			return repaired, fmt.Errorf("mend %s: %w", key, err)
		}
		if len(damaged) == 0 {
			return repaired, nil
		}
		n, err := h.mendFrom(ctx, slot, other.Node, store, mendRequest{key, damaged})
		repaired += n
		switch {
		case ctx.Err() != nil, errors.Is(err, persistence.ErrClosed):
			return repaired, fmt.Errorf("mend %s: %w", key, err)
		case err != nil:
			last = fmt.Errorf("%w: node %d: %w", ErrNotMended, other.Node, err)
		}
	}
	damaged, err := store.Damaged(ctx, p, key, part, 1)
	if err != nil || len(damaged) > 0 {
		return repaired, fmt.Errorf("mend %s: %w", key, errors.Join(err, last))
	}
	return repaired, nil
}

// mendFrom asks one node, and repairs what it can with the answer.
func (h *Host) mendFrom(ctx context.Context, slot int, node persistence.NodeID, store persistence.Repairer, ask mendRequest) (int, error) {
	p := h.partitions[slot]
	body, err := json.Marshal(ask)
	if err != nil {
		return 0, err
	}
	request := binary.BigEndian.AppendUint16([]byte{requestVersion, requestMend}, uint16(p))
	var answer bytes.Buffer
	err = h.opts.Fetcher.Fetch(ctx, node, append(request, body...), func(frame []byte) error {
		if answer.Len()+len(frame) > maxMendBytes {
			return fmt.Errorf("%w: an answer of over %d bytes", ErrMalformedBatch, maxMendBytes)
		}
		answer.Write(frame) // of a buffer: it cannot fail
		return nil
	})
	if err != nil {
		return 0, err
	}
	var values persistence.RawValues
	if err := json.Unmarshal(answer.Bytes(), &values); err != nil {
		return 0, fmt.Errorf("%w: %w", ErrMalformedBatch, err)
	}
	type result struct {
		repaired int
		err      error
	}
	done := make(chan result, 1)
	run := func() { // with the applier, to which all changes of the state belong
		n, err := store.Repair(ctx, p, ask.Key, values)
		done <- result{n, err}
	}
	if err := h.hints.add(hint{slot: slot, run: run}); err != nil {
		return 0, err
	}
	h.queue.signal()
	select {
	case r := <-done:
		return r.repaired, r.err
	case <-h.ended:
		return 0, persistence.ErrClosed
	}
}

// serveMend answers another node's Mend.
func (h *Host) serveMend(ctx context.Context, p persistence.Partition, body []byte, send func(frame []byte) error) error {
	store, ok := h.opts.StateMachine.(persistence.Repairer)
	var ask mendRequest
	if !ok || len(body) > maxMendedName || json.Unmarshal(body, &ask) != nil || len(ask.Names) > maxMended {
		return fmt.Errorf("%w: values of partition %d", ErrBadRequest, p)
	}
	values, err := store.Raw(ctx, p, ask.Key, ask.Names)
	if err != nil {
		return fmt.Errorf("values of partition %d: %w", p, err)
	}
	answer, err := json.Marshal(values)
	if err != nil {
		return err
	}
	for len(answer) > 0 {
		n := min(len(answer), mendFrame)
		if err := send(answer[:n]); err != nil {
			return err
		}
		answer = answer[n:]
	}
	return nil
}
