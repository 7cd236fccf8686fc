package simulation

import (
	"context"
	"encoding/binary"
	"errors"
	"slices"
	"time"

	"github.com/skerry-dev/skerry/codec"
	"github.com/skerry-dev/skerry/persistence"
)

// writers are those of one process.
type writers struct {
	j       *journal
	n       *Node
	live    map[persistence.Key]*writer
	flying  map[persistence.Key]int // changes that are not answered, of this writer or of one before it
	zombies []*writer               // lost their partition and have not noticed
}

func newWriters(j *journal, n *Node) *writers {
	return &writers{j: j, n: n, live: map[persistence.Key]*writer{}, flying: map[persistence.Key]int{}}
}

// writer is the activation of an entity: its state in memory, ahead of what is applied, and a gate for what waits for that.
type writer struct {
	all     *writers
	entity  *entity
	epoch   persistence.Epoch
	ops     []uint64 // the state: the ids of all operations, in order
	hashes  []uint64 // hashes[i] is of the first i
	applied persistence.Seq
	batch   []*request // evolved and not proposed
	reading []*read    // wait for the barrier, or for what they saw to be applied
	stopped bool
}

// read is a read on its way.
type read struct {
	r      *request
	seq    persistence.Seq
	hash   uint64
	passed bool // the barrier
}

// claimed lets zombies try what must not succeed.
func (ws *writers) claimed(p persistence.Partition, e persistence.Epoch) {
	zombies := ws.zombies
	ws.zombies = nil
	for _, z := range zombies {
		if z.entity.partition != p {
			ws.zombies = append(ws.zombies, z)
			continue
		}
		for range 3 {
			ws.n.After(ws.j.w.Between(0, time.Second), func() { z.haunt(e) })
		}
	}
}

// haunt proposes the next entry of an entity under an epoch that is over, as if its writer had not noticed.
func (w *writer) haunt(e persistence.Epoch) {
	next := persistence.Seq(1)
	if found, err := w.all.n.Storage().Load(context.Background(), w.entity.partition, w.entity.key); err == nil {
		next = found.Head.Last + 1
	}
	w.misbehave("a writer of "+w.epoch.String()+" under "+e.String(), next, persistence.ErrFenced)
}

// lost stops the writers of p.
func (ws *writers) lost(p persistence.Partition) {
	for i := range ws.j.entities { // in this order, not the map's
		w := ws.live[ws.j.entities[i].key]
		if w != nil && w.entity.partition == p {
			w.stop()
			if ws.j.w.Chance(500) {
				ws.zombies = append(ws.zombies, w)
			}
		}
	}
}

// handle does what a client asks, if this node owns the entity.
func (ws *writers) handle(e *entity, r *request) {
	epoch, ok := ws.n.Owns(e.partition)
	if !ok {
		r.answer(refused, 0, 0)
		return
	}
	w := ws.live[e.key]
	if w == nil && ws.flying[e.key] > 0 { // what the last writer proposed may yet be applied, under the same epoch
		r.answer(refused, 0, 0)
		return
	}
	if w == nil {
		if w = ws.load(e, epoch); w == nil {
			r.answer(refused, 0, 0)
			return
		}
		ws.live[e.key] = w
	}
	if r.op.write {
		w.write(r)
	} else {
		w.read(r)
	}
}

// load makes a writer of what is stored, or nil when it cannot be read.
func (ws *writers) load(e *entity, epoch persistence.Epoch) *writer {
	w := &writer{all: ws, entity: e, epoch: epoch, hashes: []uint64{0}}
	found, err := ws.n.Storage().Load(context.Background(), e.partition, e.key)
	if errors.Is(err, persistence.ErrAbsent) {
		return w
	}
	if ws.j.w.book.rotten[ws.n.id] && errors.Is(err, persistence.ErrCorrupt) { // it says so: another replica is whole
		ws.j.w.Counts.RefusedLoad++
		ws.j.w.Tell(e.partition, "%v refuses to load %s: %v", ws.n, e.key, err)
		_ = ws.n.HandOver(e.partition, ws.n.id%persistence.NodeID(len(ws.j.w.nodes))+1) //nolint:gosec // few; only a hint
		return nil
	}
	if err != nil {
		ws.j.w.Fail("load", e.partition, "%v cannot load %s: %v", ws.n, e.key, err)
		return nil
	}
	// An owner that was deposed and does not know may be behind: then its epoch is the older one.
	if acked := ws.j.acked[e.key]; found.Snapshot.Seq < acked.Seq && acked.Epoch.Compare(epoch) <= 0 && !ws.j.w.book.rotten[ws.n.id] {
		ws.j.w.Fail("snapshots forward", e.partition, "%v found the snapshot at %d of %s, but one at %d was acknowledged", ws.n, found.Snapshot.Seq, e.key, acked.Seq)
	}
	ops, err := stateOf(found)
	if err != nil {
		ws.j.w.Fail("load", e.partition, "%v loaded %s: %v", ws.n, e.key, err)
		return nil
	}
	for _, op := range ops {
		w.evolve(op)
	}
	w.applied = found.Head.Last
	ws.j.w.Tell(e.partition, "%v activates %s at seq %d", ws.n, e.key.ID, w.applied)
	return w
}

func (w *writer) seq() persistence.Seq { return persistence.Seq(len(w.ops)) }

func (w *writer) evolve(op uint64) {
	w.ops = append(w.ops, op)
	w.hashes = append(w.hashes, mix(w.hashes[len(w.hashes)-1], op))
}

func (w *writer) write(r *request) {
	w.evolve(r.op.id)
	w.batch = append(w.batch, r)
	world := w.all.j.w
	if world.Chance(300) { // as a MEMORY command: it goes with the next, or after a while
		w.all.n.After(world.Between(0, 300*time.Millisecond), w.flush)
		return
	}
	w.flush()
	switch {
	case world.Chance(20):
		w.misbehave("a repeated seq", w.seq(), persistence.ErrDuplicate)
	case world.Chance(20):
		w.misbehave("a skipped seq", w.seq()+2, persistence.ErrGap)
	case world.Chance(world.Config.SaveChance):
		w.save()
	}
}

// flush proposes what was evolved and not proposed.
func (w *writer) flush() {
	if w.stopped || len(w.batch) == 0 {
		return
	}
	batch := w.batch
	w.batch = nil
	last := w.seq()
	first := last - persistence.Seq(len(batch)) + 1
	change := &persistence.Change{Key: w.entity.key, Epoch: w.epoch}
	for i, r := range batch {
		change.Entries = append(change.Entries, persistence.Entry{Seq: first + persistence.Seq(i), Data: w.all.j.entry(r.op.id)}) //nolint:gosec // few
	}
	w.all.flying[w.entity.key]++
	err := w.all.n.Propose(w.entity.partition, change, func(err error) {
		w.all.flying[w.entity.key]--
		w.done(batch, first, err)
	})
	if err != nil { // nothing was proposed, but the memory is ahead
		w.all.flying[w.entity.key]--
		for _, r := range batch {
			r.answer(refused, 0, 0)
		}
		w.stop()
	}
}

// done hears what became of a batch. A writer that keeps to its contract is never refused.
func (w *writer) done(batch []*request, first persistence.Seq, err error) {
	world, last := w.all.j.w, first+persistence.Seq(len(batch))-1
	switch {
	case err == nil:
		world.Tell(w.entity.partition, "%v: %s has seq %d to %d under %v", w.all.n, w.entity.key.ID, first, last, w.epoch)
		for i, r := range batch {
			r.answer(succeeded, first+persistence.Seq(i), 0) //nolint:gosec // few
		}
		w.applied = max(w.applied, last)
		w.release()
	case errors.Is(err, persistence.ErrOutcomeUnknown):
		for _, r := range batch {
			r.answer(unknown, 0, 0)
		}
		w.stop()
	default:
		world.Fail("contract", w.entity.partition, "%v: %s seq %d to %d under %v, by its owner: %v", w.all.n, w.entity.key.ID, first, last, w.epoch, err)
		for _, r := range batch {
			r.answer(refused, 0, 0)
		}
		w.stop()
	}
}

// read answers with what is in memory, when the node was seen to own it after the read came, and all of it is applied.
func (w *writer) read(r *request) {
	rd := &read{r: r, seq: w.seq(), hash: w.hashes[len(w.hashes)-1]}
	w.reading = append(w.reading, rd)
	err := w.all.n.Barrier(w.entity.partition, w.epoch, func(err error) {
		if err != nil {
			w.stop()
			return
		}
		rd.passed = true
		w.release()
	})
	if err != nil {
		w.stop()
	}
}

// release answers the reads that need wait no more.
func (w *writer) release() {
	if w.stopped {
		return
	}
	w.reading = slices.DeleteFunc(w.reading, func(rd *read) bool {
		if !rd.passed || rd.seq > w.applied {
			return false
		}
		rd.r.answer(succeeded, rd.seq, rd.hash)
		return true
	})
}

// stop ends the writer: what was not proposed did not happen, and reads are asked again. It may be called more than once.
func (w *writer) stop() {
	if w.stopped {
		return
	}
	w.stopped = true
	if w.all.live[w.entity.key] == w {
		delete(w.all.live, w.entity.key)
	}
	for _, r := range w.batch {
		r.answer(refused, 0, 0)
	}
	for _, rd := range w.reading {
		rd.r.answer(refused, 0, 0)
	}
	w.batch, w.reading = nil, nil
}

// save takes a snapshot and proposes it after a while, as if encoding took long: one save may overtake another.
func (w *writer) save() {
	w.flush()
	j, seq := w.all.j, w.seq()
	change := &persistence.Change{Key: w.entity.key, Epoch: w.epoch, Snapshot: &persistence.Snapshot{
		Seq: seq, SavedAt: w.all.n.Clock().Truncate(time.Millisecond).UTC(), Data: encode(codec.FormatEntity, w.ops),
	}}
	long := j.w.Between(0, j.w.Config.SlowSave)
	if j.w.Chance(150) {
		long *= 8 // several others overtake it
	}
	w.all.n.After(long, func() {
		if w.stopped {
			return
		}
		err := w.all.n.Propose(w.entity.partition, change, func(err error) {
			switch {
			case err == nil:
				j.w.Counts.Snapshots++
				if seq > j.acked[w.entity.key].Seq {
					j.acked[w.entity.key] = persistence.Snapshot{Seq: seq, Epoch: w.epoch}
				}
				j.w.Tell(w.entity.partition, "%v: %s has a snapshot at %d", w.all.n, w.entity.key.ID, seq)
			case errors.Is(err, persistence.ErrOldSnapshot): // it was overtaken
			case !errors.Is(err, persistence.ErrOutcomeUnknown):
				j.w.Fail("contract", w.entity.partition, "%v: snapshot of %s at %d under %v, by its owner: %v", w.all.n, w.entity.key.ID, seq, w.epoch, err)
			}
		})
		if err != nil {
			w.stop()
		}
	})
}

// misbehave proposes what must be refused, and sees to it that it is.
func (w *writer) misbehave(what string, seq persistence.Seq, want error) {
	j, p := w.all.j, w.entity.partition
	o := &op{id: uint64(len(j.history) + 1), entity: w.entity.index, write: true, answered: true, call: j.w.now}
	j.history = append(j.history, o)
	j.rogue[o.id] = what
	change := &persistence.Change{Key: w.entity.key, Epoch: w.epoch, Entries: []persistence.Entry{{Seq: seq, Data: j.entry(o.id)}}}
	err := w.all.n.Propose(p, change, func(err error) {
		o.end = j.w.now
		switch {
		case err == nil:
			o.outcome, o.seq, o.acknowledged = succeeded, seq, true
		case errors.Is(err, want):
			o.outcome = refused
		}
		if !errors.Is(err, want) && !errors.Is(err, persistence.ErrOutcomeUnknown) {
			j.w.Fail("contract", p, "%v: %s of %s, %d, ended with %v", w.all.n, what, w.entity.key.ID, seq, err)
		}
	})
	if err != nil {
		o.outcome = refused
		return
	}
	j.w.Counts.Rogue++
}

// mix adds op to the hash of what was before it.
func mix(hash, op uint64) uint64 {
	h := (hash ^ op) * 0x9E3779B97F4A7C15
	return h ^ h>>29
}

// entry frames an operation, and some padding.
func (j *journal) entry(id uint64) []byte {
	return encode(codec.FormatEntry, append([]uint64{id}, make([]uint64, j.w.Config.Padding)...))
}

// encode frames ids.
func encode(format codec.Format, ids []uint64) []byte {
	var payload []byte
	for _, id := range ids {
		payload = binary.LittleEndian.AppendUint64(payload, id)
	}
	framed, err := codec.AppendFrame(nil, format, codec.Plain, payload)
	if err != nil {
		panic(err) // it is far below every bound
	}
	return framed
}

// decode is encode's opposite.
func decode(framed []byte) ([]uint64, error) {
	frame, err := codec.OpenFrame(framed)
	if err != nil {
		return nil, err
	}
	payload, err := frame.Payload(nil)
	if err != nil {
		return nil, err
	}
	var ids []uint64
	for ; len(payload) >= 8; payload = payload[8:] {
		ids = append(ids, binary.LittleEndian.Uint64(payload))
	}
	return ids, nil
}
