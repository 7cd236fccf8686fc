package replication

import (
	"errors"
	"fmt"
	"slices"

	"go.etcd.io/raft/v3/raftpb"

	"github.com/skerry-dev/skerry/persistence"
)

// replayed is one group as the log tells it, from the oldest segment to the newest.
type replayed struct {
	groupCheckpoint
	// Applied and AppliedTerm are the state machine's.
	Applied, AppliedTerm uint64
	// Entries are those after Applied, gapless. Older are some before them, gapless too.
	Entries []*raftpb.Entry
	Older   []*raftpb.Entry
	// base is the newest entry that was written before the oldest segment, baseTerm its term.
	base, baseTerm uint64
	olderBytes     int // of Older; more after entries were replaced, which does no harm
	// retired are the ids that replicas of this partition had. They are the state machine's, when changed says that it has any.
	retired []uint64
	changed bool
}

// replay rebuilds the groups from the records.
type replay struct {
	groups []replayed // by slot
	slots  map[persistence.Partition]int
	// open makes a group for every partition that is met, instead of refusing those that are not known.
	open bool

	// drop removes the state of a partition of which this node had a replica and has none any more; a crash came between.
	drop func(persistence.Partition) error

	began bool   // a checkpoint was read
	next  uint64 // the number that the next record must have; 0 before the first

	segments []segment
	summary  Summary
}

// readAll reads the log's live segments. It returns the number of one that was begun but holds nothing yet, 0 for none.
// The newest is synced first: what a killed process wrote may be in memory only, and is about to be believed.
func (r *replay) readAll(dir *directory, live []uint32) (begun uint32, err error) {
	for i, number := range live {
		name := fmt.Sprintf("%08x%s", number, liveSuffix)
		empty, err := r.readSegment(dir, name, number, len(live)-1-i)
		if err != nil {
			return 0, err
		}
		if empty {
			begun = number
		}
	}
	return begun, nil
}

// readSegment reads one segment, which has newer ones behind it. It reports whether the segment holds no record at all,
// as the newest may after a crash at the moment of its making.
func (r *replay) readSegment(dir *directory, name string, number uint32, newer int) (empty bool, err error) {
	file, err := dir.fs.OpenReadWrite(dir.join(name), diskCategory)
	if err != nil {
		return false, fmt.Errorf("open segment %s: %w", name, err)
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	if newer == 0 {
		if syncErr := file.Sync(); syncErr != nil {
			return false, failed("sync segment "+name, syncErr)
		}
	}
	s, err := newScanner(file, number)
	if err != nil {
		return false, fmt.Errorf("%s: %w", name, err)
	}
	seg := segment{name: name, size: s.size, last: make([]uint64, len(r.groups))}
	if err := r.readRecords(s, &seg); err != nil {
		return false, err
	}
	if newer <= 1 { // the last, or the one before a last that holds nothing yet: a torn record may stand here, and no more
		later, err := s.laterRecord()
		if err != nil {
			return false, fmt.Errorf("%s: %w", name, err)
		}
		if later >= 0 {
			return false, &CorruptError{File: name, Offset: s.offset, Reason: fmt.Sprintf("a synced record does not verify, and a newer one follows at byte %d", later), Advice: adviceRestore}
		}
	}
	if s.offset == 0 {
		if newer > 0 {
			return false, &CorruptError{File: name, Offset: 0, Reason: "its first record does not verify, and newer segments follow", Advice: adviceRestore}
		}
		return true, nil
	}
	r.segments = append(r.segments, seg)
	r.summary.Segments++
	r.summary.Bytes += s.offset
	return false, nil
}

// readRecords replays the records of a segment up to the first bytes that are not one.
func (r *replay) readRecords(s *scanner, seg *segment) error {
	for {
		offset := s.offset
		payload, number, err := s.read()
		if err != nil {
			return fmt.Errorf("%s: %w", seg.name, err)
		}
		if payload == nil {
			return nil
		}
		if r.next != 0 && number != r.next {
			return &CorruptError{File: seg.name, Offset: offset, Reason: fmt.Sprintf("begins with record %d, but the segment before it ends with record %d", number, r.next-1), Advice: adviceRestore}
		}
		if err := r.record(payload, offset == 0, seg); err != nil {
			return r.corrupt(seg.name, offset, err)
		}
		r.next = number + 1
		r.summary.Records++
		seg.records++
	}
}

// unused forgets the newest segment when only its checkpoint is in it, as after a start that failed, and returns its name,
// "" for none. The one before says the same; without one before it would be needed.
func (r *replay) unused() string {
	n := len(r.segments) - 1
	if n < 1 || r.segments[n].records > 1 {
		return ""
	}
	name := r.segments[n].name
	r.segments = r.segments[:n]
	r.next-- // its checkpoint's number is the next one's
	return name
}

// corrupt names the place of err, unless it says already what it is.
func (r *replay) corrupt(name string, offset int64, err error) error {
	if errors.Is(err, persistence.ErrNewer) {
		return fmt.Errorf("log %s at byte %d: %w", name, offset, err)
	}
	if known, ok := errors.AsType[*CorruptError](err); ok {
		known.File, known.Offset = name, offset
		return known
	}
	return &CorruptError{File: name, Offset: offset, Reason: err.Error(), Advice: adviceRestore}
}

func (r *replay) record(payload []byte, first bool, seg *segment) error {
	checkpoint, batch, err := decodePayload(payload)
	if err != nil {
		return err
	}
	if first != (checkpoint != nil) {
		return errors.New("a checkpoint must be the first record of a segment, and only that")
	}
	if checkpoint != nil {
		return r.checkpoint(checkpoint, seg)
	}
	for i := range batch {
		if err := r.group(&batch[i], seg); err != nil {
			return err
		}
	}
	return nil
}

// checkpoint takes the groups' state from the first segment's checkpoint, and compares it with the others'.
func (r *replay) checkpoint(groups []groupCheckpoint, seg *segment) error {
	if r.open && !r.began {
		for i := range groups {
			r.slots[groups[i].Partition] = i
		}
		r.groups = make([]replayed, len(groups))
		seg.last = make([]uint64, len(groups))
	}
	if len(groups) != len(r.groups) {
		return &CorruptError{Reason: fmt.Sprintf("holds %d groups, not %d", len(groups), len(r.groups)), Advice: adviceCount}
	}
	for i := range groups {
		slot, ok := r.slots[groups[i].Partition]
		if !ok {
			return &CorruptError{Reason: fmt.Sprintf("holds partition %d, which the store does not have", groups[i].Partition), Advice: adviceCount}
		}
		g := &r.groups[slot]
		if at := (entryID{groups[i].Last, groups[i].LastTerm}); r.began && g.Copying && at != (entryID{g.Last, g.LastTerm}) {
			r.restored(slot, at, seg) // a start found it swapped, and began this segment
		}
		if r.began && (groups[i].Last != g.Last || groups[i].LastTerm != g.LastTerm) {
			return fmt.Errorf("partition %d ends at index %d of term %d by the records before, at %d of term %d by this checkpoint",
				g.Partition, g.Last, g.LastTerm, groups[i].Last, groups[i].LastTerm)
		}
		if !r.began {
			g.base, g.baseTerm = groups[i].Last, groups[i].LastTerm
		}
		g.groupCheckpoint = groups[i]
	}
	r.began = true
	return nil
}

// group replays what one record says of one group.
func (r *replay) group(b *groupBatch, seg *segment) error {
	slot, ok := r.slots[b.Partition]
	if !ok {
		return fmt.Errorf("partition %d is not in the checkpoint", b.Partition)
	}
	g := &r.groups[slot]
	if b.Replica != nil {
		*g = replayed{
			groupCheckpoint: groupCheckpoint{Partition: g.Partition, Replica: *b.Replica, Gone: b.Gone, Conf: &raftpb.ConfState{}},
			Applied:         g.Applied, AppliedTerm: g.AppliedTerm,
		}
		r.forget(slot, 0, seg)
	}
	g.Copying = g.Copying || b.Copying
	if b.Restored != nil {
		r.restored(slot, *b.Restored, seg)
	}
	if b.Hard != nil {
		g.Hard = *b.Hard
	}
	if len(b.Entries) == 0 {
		return nil
	}
	first := b.Entries[0].GetIndex()
	if first > g.Last+1 {
		return fmt.Errorf("partition %d goes on at index %d, but the records before end at %d", b.Partition, first, g.Last)
	}
	if first <= g.Last { // a newer leader wrote over entries that were never committed
		replaced := func(e *raftpb.Entry) bool { return e.GetIndex() >= first }
		g.Entries, g.Older = slices.DeleteFunc(g.Entries, replaced), slices.DeleteFunc(g.Older, replaced)
	}
	for _, e := range b.Entries {
		if r.open {
			break
		}
		e.Data = slices.Clone(e.GetData())
		if e.GetIndex() > g.Applied {
			g.Entries = append(g.Entries, e)
		} else {
			g.older(e)
		}
	}
	newest := b.Entries[len(b.Entries)-1]
	g.Last, g.LastTerm = newest.GetIndex(), newest.GetTerm()
	seg.last[slot] = max(seg.last[slot], g.Last)
	r.summary.Entries += len(b.Entries)
	return nil
}

// restored lets a group's log go on from an entry that came with a copy.
func (r *replay) restored(slot int, at entryID, seg *segment) {
	g := &r.groups[slot]
	g.Last, g.LastTerm, g.base, g.baseTerm, g.Copying = at.Index, at.Term, at.Index, at.Term, false
	g.Entries, g.Older, g.olderBytes = nil, nil, 0
	r.forget(slot, at.Index, seg)
}

// forget is [segmentLog.forget] for what was read.
func (r *replay) forget(slot int, index uint64, seg *segment) {
	seg.last[slot] = min(seg.last[slot], index)
	for i := range r.segments {
		r.segments[i].last[slot] = min(r.segments[i].last[slot], index)
	}
}

// swapped reports whether the state was swapped for a copy before a crash, and the log does not say so yet: it is ahead of
// the log, or the log has another entry in its place.
func (g *replayed) swapped() bool {
	if !g.Copying {
		return false
	}
	if g.Applied > g.Last {
		return true
	}
	for _, e := range slices.Concat(g.Older, g.Entries) {
		if e.GetIndex() == g.Applied {
			return e.GetTerm() != g.AppliedTerm
		}
	}
	return false
}

// older adds an applied entry, and forgets the oldest of more than a group keeps.
func (g *replayed) older(e *raftpb.Entry) {
	g.Older = append(g.Older, e)
	g.olderBytes += len(e.GetData())
	drop := 0
	for len(g.Older)-drop > keptEntries || g.olderBytes > keptBytes {
		g.olderBytes -= len(g.Older[drop].GetData())
		drop++
	}
	g.Older = g.Older[drop:]
}

// mismatch says why the log of g cannot go on from its state, "" when it can.
func (g *replayed) mismatch() string {
	switch {
	case g.Replica == 0 && g.Applied > 0:
		return fmt.Sprintf("the state of partition %d has applied index %d, but the log says that it is not here", g.Partition, g.Applied)
	case g.Applied > g.Last:
		return fmt.Sprintf("the state of partition %d has applied index %d, but the log ends at %d", g.Partition, g.Applied, g.Last)
	case g.base > g.Applied, g.Truncated > g.Applied:
		return fmt.Sprintf("the log of partition %d begins after index %d, but its state has only %d", g.Partition, max(g.base, g.Truncated), g.Applied)
	default:
		return ""
	}
}

// check compares the log with the state machine, and makes the hard states fit for Raft.
func (r *replay) check(path string) error {
	for i := range r.groups {
		g := &r.groups[i]
		if g.swapped() {
			r.restored(i, entryID{g.Applied, g.AppliedTerm}, &segment{last: make([]uint64, len(r.groups))})
		}
		if g.Replica == 0 && g.Applied > 0 && r.began && r.drop != nil {
			if err := r.drop(g.Partition); err != nil {
				return err
			}
			g.Applied, g.AppliedTerm = 0, 0
		}
		if reason := g.mismatch(); reason != "" {
			return &CorruptError{File: path, Offset: -1, Reason: reason, Advice: adviceBehind}
		}
		// The commit index is written lazily, so after a crash less may be known as committed than was applied.
		g.Hard.Commit = max(g.Hard.Commit, g.Applied)
		if g.Hard.Commit > g.Last {
			return &CorruptError{File: path, Offset: -1, Reason: fmt.Sprintf("partition %d has committed index %d, but the log ends at %d", g.Partition, g.Hard.Commit, g.Last), Advice: adviceRestore}
		}
	}
	return nil
}
