package simulation

import (
	"encoding/binary"
	"fmt"
	"slices"
	"time"

	"github.com/zeebo/xxh3"

	"github.com/skerry-dev/skerry/actors/turn"
	"github.com/skerry-dev/skerry/codec/storev1"
	"github.com/skerry-dev/skerry/persistence"
)

// entityRecord is what the checkers saw of one entity: everything that its activations did and said, and which of it
// turned out to be its history.
type entityRecord struct {
	app       *entities
	key       persistence.Key
	partition persistence.Partition
	lives     []*entityLife
	chain     map[persistence.Seq]*happening // the entity's history, as far as a later activation has confirmed it
	acked     persistence.Seq                // the greatest that was said to be durable
}

// entityLife is one activation.
type entityLife struct {
	of          *entityRecord
	name        string
	base        persistence.Seq // what it found
	baseDigest  uint64
	ackedAtLoad persistence.Seq
	events      []*happening // those after base
	said        bool         // it has answered something
	ended       bool
}

// happening is an event in an activation's memory.
type happening struct {
	life    *entityLife
	seq     persistence.Seq
	digest  uint64 // of the state after it
	at      time.Duration
	op      *clientOp // whose it is; nil: of a transfer
	applied bool      // it did what the operation asked for
	claim   claimed
}

// claimed is what was said of an event.
type claimed uint8

const (
	unsaid claimed = iota
	saidInMemory
	saidDurable
)

func (r *entityRecord) loaded(a *liveEntity) *entityLife {
	l := &entityLife{
		of: r, name: fmt.Sprintf("%v's activation at %d under %v", a.h.n, a.seq, a.epoch),
		base: a.seq, baseDigest: digestOf(a.state), ackedAtLoad: r.acked,
	}
	r.lives = append(r.lives, l)
	return l
}

// happened notes the newest event of an activation.
func (l *entityLife) happened(a *liveEntity, op *clientOp, result *turn.Result, now time.Duration) {
	l.events = append(l.events, &happening{
		life: l, seq: a.seq, digest: digestOf(a.state), at: now, op: op, applied: result.Err == nil,
	})
}

// answered notes that a reply leaves.
func (l *entityLife) answered(reply *entityReply) {
	r := l.of
	if !l.said {
		l.said = true
		if l.base < l.ackedAtLoad {
			r.app.w.Fail("acknowledged is durable", r.partition, "%s answers for %s, of which %d were acknowledged before it was loaded", l.name, r.key.ID, l.ackedAtLoad)
			return
		}
		if err := r.confirm(l.base, l.baseDigest); err != nil {
			r.app.w.Fail("history", r.partition, "%s answers for %s: %v", l.name, r.key.ID, err)
			return
		}
	}
	if reply.claims {
		e := l.events[reply.seq-l.base-1]
		e.claim = saidInMemory
		if reply.durable {
			e.claim = saidDurable
		}
	}
	if reply.durable {
		r.acked = max(r.acked, reply.seq)
	}
}

// confirm says that the state after seq, whose digest was found in storage, is the entity's history.
func (r *entityRecord) confirm(seq persistence.Seq, digest uint64) error {
	if seq == 0 {
		return nil
	}
	if known := r.chain[seq]; known != nil {
		if known.digest != digest {
			return fmt.Errorf("what happened at %d is not what %s found before", seq, known.life.name)
		}
		return nil
	}
	for _, l := range slices.Backward(r.lives) {
		if seq <= l.base || int(seq-l.base) > len(l.events) || l.events[seq-l.base-1].digest != digest { //nolint:gosec // a count
			continue
		}
		if err := r.confirm(l.base, l.baseDigest); err != nil {
			return err
		}
		for _, e := range l.events[:seq-l.base] {
			if known := r.chain[e.seq]; known != nil && known != e && known.digest != e.digest {
				return fmt.Errorf("both %s and %s made %d", known.life.name, l.name, e.seq)
			}
			r.chain[e.seq] = e
		}
		return nil
	}
	return fmt.Errorf("nobody made what is there up to %d", seq)
}

// accepted holds a change that was answered with success against the reference: its entries are the entity's.
func (r *entityRecord) accepted(change *persistence.Change) {
	reference := r.app.w.book.reference[r.partition]
	if reference == nil {
		return
	}
	e := reference.Entities[change.Key]
	for _, entry := range change.Entries {
		switch {
		case e == nil || entry.Seq > e.Last:
			r.app.w.Fail("accepted is applied", r.partition, "entry %d of %s was accepted, and nobody has applied it", entry.Seq, r.key.ID)
		case entry.Seq > e.Trimmed && e.Entries[entry.Seq] != string(entry.Data):
			r.app.w.Fail("accepted is applied", r.partition, "entry %d of %s was accepted, and another one is there", entry.Seq, r.key.ID)
		}
	}
}

// judge looks at everything that was ever said, when the history is known to its end.
func (r *entityRecord) judge() {
	for _, l := range r.lives {
		var first, last *happening // said and lost
		for _, e := range l.events {
			if kept := r.chain[e.seq]; kept != nil && kept.digest == e.digest {
				continue
			}
			switch e.claim {
			case saidDurable:
				r.app.w.Fail("acknowledged is durable", r.partition, "%s said that %d of %s was durable (%v), and it is not there", l.name, e.seq, r.key.ID, e.op)
				return
			case saidInMemory:
				if first == nil {
					first = e
				}
				last = e
				r.app.counts.MemoryLost++
			case unsaid:
			}
		}
		if first != nil && last.at-first.at > 2*journalInterval {
			r.app.w.Fail("loss window", r.partition, "%s lost what it said of %s from %d to %d, %v of it", l.name, r.key.ID, first.seq, last.seq, last.at-first.at)
			return
		}
	}
}

// digestOf tells states of an entity apart.
func digestOf(state *storev1.Entity) uint64 {
	h := xxh3.New()
	number := func(n uint64) {
		_, _ = h.Write(binary.LittleEndian.AppendUint64(nil, n)) // a hash never fails
	}
	_, _ = h.Write(state.GetOutcomes())
	number(state.GetSeq())
	number(uint64(state.GetNewestTimeMs()))                              //nolint:gosec // a hash
	number(uint64(state.GetPlayer().GetProfile().GetCoins()))            //nolint:gosec // a hash
	number(uint64(len(state.GetHolds())<<32 | len(state.GetReceived()))) //nolint:gosec // a hash
	for _, s := range state.GetSessions() {
		_, _ = h.WriteString(s.GetToken())
	}
	return h.Sum64()
}
