// Package persistence says what the cluster needs from storage: a journal of entries for each entity, snapshots that
// shorten it, and the epochs that fence old owners. It has the words and the promises; pebblestore and replication keep them.
//
// # Guarantees
//
//   - Durable: when a [Change] is done without an error, it was fsynced on a majority of the partition's voters, applied
//     and accepted; it survives a kill -9 and a power cut.
//   - Fenced: a Change of an older [Epoch] than the partition's claim is refused with [ErrFenced] and changes nothing.
//   - Gapless: the entries of one entity are numbered 1, 2, 3, …; a repeated seq is refused with [ErrDuplicate], a
//     skipped one with [ErrGap]. A duplicate is never taken for success.
//   - Forward only: a snapshot older than the newest kept one is refused with [ErrOldSnapshot].
//   - Honest absence: a load ends in found, proven absent ([ErrAbsent]) or failed (any other error).
//
// Start at [Change], [Journal] and [Storage].
package persistence

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/skerry-dev/skerry/codec"
)

// Partition is a fixed slice of all keys, the unit of ownership and replication.
type Partition uint16

// MetaPartition is the log of the cluster itself: keys, spaces, later the placement. It holds no entities.
const MetaPartition Partition = 0xFFFF

// NodeID is a node of the cluster, for ever: an id is never used again, and a node whose disk was wiped comes back under
// another one. 0 is none.
type NodeID uint32

// Seq numbers the entries of one entity: 1, 2, 3, … without gaps. 0 means none.
type Seq uint64

// Epoch is one ownership of a partition. A greater epoch fences every smaller one.
type Epoch struct {
	// Generation is raised by an operator who recovers a partition without its quorum; 0 at first.
	Generation uint32
	// Term is the Raft term of the owner's leadership.
	Term uint64
}

// Compare orders epochs: -1, 0 or +1.
func (e Epoch) Compare(other Epoch) int {
	return cmp.Or(cmp.Compare(e.Generation, other.Generation), cmp.Compare(e.Term, other.Term))
}

// String is "generation.term".
func (e Epoch) String() string { return fmt.Sprintf("%d.%d", e.Generation, e.Term) }

// The ways in which storage refuses. Compare with errors.Is.
var (
	// ErrAbsent: the entity (or record) is proven absent. The only error that allows making a new one.
	ErrAbsent = errors.New("absent")
	// ErrCorrupt: stored bytes did not verify; they were quarantined and never overwritten. Do not retry.
	ErrCorrupt = errors.New("stored bytes are corrupt")
	// ErrNewer is [codec.ErrNewer], the same value: storage says it of whole values that this build cannot read. Nothing
	// was changed.
	ErrNewer = codec.ErrNewer
	// ErrFenced: a newer epoch owns the partition. The change was not applied.
	ErrFenced = errors.New("fenced by a newer epoch")
	// ErrDuplicate: an entry with this seq exists. The change was not applied; whether the stored one is the same is unknown.
	ErrDuplicate = errors.New("seq exists already")
	// ErrGap: an entry's seq is not the next one. The change was not applied.
	ErrGap = errors.New("seq is not the next one")
	// ErrOldSnapshot: a newer snapshot is stored. The change was not applied.
	ErrOldSnapshot = errors.New("snapshot is older than the stored one")
	// ErrIncomplete: a snapshot's pieces are not all there. The change was not applied.
	ErrIncomplete = errors.New("pieces of the snapshot are missing")
	// ErrNotOwner: this node does not own the partition. Nothing was proposed; ask the owner.
	ErrNotOwner = errors.New("partition is not owned here")
	// ErrQueueFull: the bound on waiting changes is reached. Nothing was proposed; try again.
	ErrQueueFull = errors.New("journal queue is full")
	// ErrOutcomeUnknown: leadership was lost, or the node stopped, while the change was on its way: it may yet be applied.
	ErrOutcomeUnknown = errors.New("outcome unknown")
	// ErrClosed: the journal was closed. Nothing was proposed.
	ErrClosed = errors.New("closed")
	// ErrBadCopy: a frame of a partition copy is not whole, not the next one, or not of this partition. Nothing was
	// changed; the copy is to be begun anew.
	ErrBadCopy = errors.New("partition copy does not verify")
	// ErrOldCopy: a partition copy is not newer than what is applied here. Nothing was changed.
	ErrOldCopy = errors.New("partition copy is not newer than what is applied")
)

// Entry is one line of an entity's journal.
type Entry struct {
	Seq Seq
	// Data is a framed value (codec.AppendFrame); storage verifies the frame and never looks inside.
	Data []byte
}

// Part names a piece of an entity that is stored and loaded on its own. "" is the main part; a player has no other.
type Part string

// Snapshot is a part's state at a seq.
type Snapshot struct {
	Part Part
	// Seq is the last entry that the state includes.
	Seq Seq
	// Epoch is whose save it was; set by storage from the Change.
	Epoch Epoch
	// SavedAt is the owner's clock when the state was taken, whole milliseconds.
	SavedAt time.Time
	// Data is a framed value. Empty when the snapshot was staged in pieces.
	Data []byte
	// Pieces is how many pieces hold the framed value; 0 means that Data does.
	Pieces int
	// Gone, with neither Data nor Pieces, says that the part does not exist any more at Seq: what was stored of it is
	// deleted. Storage remembers only that, so that an older snapshot is still refused. The main part is never gone.
	Gone bool
}

// MaxPieceBytes is the most that one Change should carry of a snapshot; a larger one goes in pieces (a 2 MB proposal was
// measured to block its group for 26-42 ms).
const MaxPieceBytes = 256 << 10

// MaxValueBytes is the greatest framed value that storage keeps: an entry's, or a snapshot's with its pieces together.
const MaxValueBytes = 4 << 20

// Piece is a part of a snapshot too large for one Change, staged under a temporary key until the Snapshot that counts it.
type Piece struct {
	Part  Part
	Seq   Seq
	Index int // 0, 1, 2, …
	Data  []byte
}

// Mark is an index line of an entity in its partition: it says "this entity has to do with Name", such as
// "session/s1" or, later, "transfer/…". Marks are found by [Storage.Marks] without loading entities.
type Mark struct {
	// Name is 1 to 128 bytes, printable ASCII.
	Name string
	// Value is at most 256 bytes; nil removes the mark.
	Value []byte
}

// Record is a named value of the meta partition, such as an API key. A nil Value removes it.
type Record struct {
	Name  string
	Value []byte
}

// Change is one step of one entity, applied whole or not at all, in this order: entries, marks, piece, snapshot (which
// trims). A Change with only an Epoch is a canary: it is accepted while the epoch is the newest. The caller must not
// modify a Change, nor the bytes it points to, before it is done.
type Change struct {
	Key   Key
	Epoch Epoch
	// Entries follow the entity's last entry without a gap.
	Entries []Entry
	Marks   []Mark
	Piece   *Piece
	// Snapshot's Seq is at most the last entry's, counting Entries.
	Snapshot *Snapshot
	// TrimTo is for a world's main Snapshot: entries up to it may be dropped, since every part's snapshot covers its events
	// among them. Storage drops none that the older of its two main snapshots needs. Of other kinds the older main
	// snapshot alone decides.
	TrimTo Seq
	// Record is for the meta partition only.
	Record *Record
	// EraseSpace removes all of a space in this partition. It stands alone.
	EraseSpace string
}

// Head is what storage knows of an entity without loading it.
type Head struct {
	// Last is the newest entry's seq. A load must reach it, else it has failed.
	Last Seq
	// Trimmed is the greatest seq whose entry was dropped.
	Trimmed Seq
	// Snapshots are the kept ones of the main part, newest first, at most two, without Data.
	Snapshots []Snapshot
	// TailBytes is the stored size of the entries after Trimmed: exact while snapshots are taken at the last entry, else
	// about.
	TailBytes int64
}

// Loaded is an entity as found: state at Snapshot, then Entries in order up to Head.Last.
type Loaded struct {
	Head Head
	// Snapshot is the newest one that verifies, with Data whole; its Seq is 0 when there is none yet.
	Snapshot Snapshot
	// Entries are those after Snapshot.Seq, gapless. Of a world they are all that are kept, those after Head.Trimmed: its
	// other parts may need some that its main part does not.
	Entries []Entry
	// Quarantined counts the values that did not verify and were stepped around (an older snapshot plus the journal).
	Quarantined int
}

// Journal accepts changes for the partitions that this node owns. Safe for many goroutines; one writer per entity.
type Journal interface {
	// Propose hands a change to the log of partition p. A nil return means that done will be called exactly once, from
	// another goroutine or before Propose returns, and must not block: with nil (durable, applied, accepted), with a
	// refusal ([ErrFenced], [ErrDuplicate], [ErrGap], [ErrOldSnapshot], [ErrIncomplete]: nothing changed), or with
	// [ErrOutcomeUnknown]. There is no time-out while this node leads. A non-nil return ([ErrNotOwner], [ErrQueueFull],
	// [ErrClosed]) means that nothing was proposed and done is not called. Changes that one goroutine proposes to a
	// partition under one epoch are applied in that order.
	Propose(p Partition, c *Change, done func(error)) error

	// Barrier calls done(nil) after this node was seen to be the owner of p under epoch at some moment after the call;
	// with one voter that is at once. Other errors are as for Propose.
	Barrier(p Partition, epoch Epoch, done func(error)) error
}

// Storage reads what was applied on this node. Safe for many goroutines.
type Storage interface {
	// Load returns the main part of an entity. [ErrAbsent] means proven absent; [ErrCorrupt] that neither snapshot, or
	// no gapless journal, verifies: the bytes are in quarantine and stay where they were; any other error: the load failed.
	Load(ctx context.Context, p Partition, key Key) (*Loaded, error)
	// LoadPart returns the newest snapshot of a part that verifies, with Data whole, and how many newer ones did not
	// (they are in quarantine, and the entries since may be trimmed: the caller has to look). [ErrAbsent] means that none
	// was ever stored, or that the part is gone: then the snapshot says so, with its Seq. Other errors are as for Load; a
	// part that was there is never taken for absent.
	LoadPart(ctx context.Context, p Partition, key Key, part Part) (snapshot Snapshot, quarantined int, err error)
	// Parts lists the names of an entity's parts, other than the main one, that are stored and not gone, and begin with
	// prefix: rising, greater than after, at most limit.
	Parts(ctx context.Context, p Partition, key Key, prefix, after string, limit int) ([]Part, error)
	// Entities lists the IDs of a kind that are in p, rising, greater than after, at most limit.
	Entities(ctx context.Context, p Partition, space string, kind Kind, after string, limit int) ([]string, error)
	// Marks lists the marks of p in space with this name, by entity, greater than after, at most limit.
	Marks(ctx context.Context, p Partition, space, name string, after Key, limit int) ([]MarkOf, error)
	// Spaces lists the names of the spaces that have something in p.
	Spaces(ctx context.Context, p Partition) ([]string, error)
	// Record returns a record of the meta partition, or ErrAbsent.
	Record(ctx context.Context, name string) ([]byte, error)
	// Records lists the records whose names begin with prefix, rising, at most limit.
	Records(ctx context.Context, prefix string, limit int) ([]Record, error)
}

// MarkOf is a mark and the entity that has it.
type MarkOf struct {
	Key   Key
	Value []byte
}

// Committed is one log entry that a majority has fsynced, ready to be applied.
type Committed struct {
	Partition Partition
	Index     uint64 // Raft log index; applied in order, each once
	Term      uint64
	// Data is an encoded [Proposal]; empty for Raft's own entries, which only move the applied index.
	Data []byte
	// Conf is set for an entry that changes who the partition's replicas are: what they are from here on, in bytes that
	// only the log understands, 1 to [MaxConfBytes]. It is stored in the same batch as the applied index, in place of
	// the one before. Data is empty then.
	Conf []byte
}

// MaxConfBytes bounds [Committed].Conf.
const MaxConfBytes = 64 << 10

// StateMachine is what the log drives. Apply is called by one goroutine at a time; the others may be called while it runs.
type StateMachine interface {
	// Apply applies entries in order, unsynced, each with its partition's applied index in the same batch; an index at
	// or below the applied one is skipped. It is deterministic: every replica accepts and refuses alike. results[i][j] is
	// the refusal of batch[i]'s j-th change, nil when accepted; results[i] is nil when all were. An error means that the
	// store is broken: the process must stop.
	Apply(batch []Committed) (results [][]error, err error)
	// Applied is the newest applied index of p, flushed or not, with its term; 0, 0 when nothing was.
	Applied(p Partition) (index, term uint64, err error)
	// Durable is like Applied, counting only what survives a crash. The log may drop entries up to it, and no further.
	Durable(p Partition) (index uint64, err error)
	// Conf is the newest applied [Committed].Conf of p, flushed or not: it is of an entry at or below Applied. nil when
	// there never was one. The bytes are the caller's.
	Conf(p Partition) ([]byte, error)
	// Flush makes everything applied so far durable.
	Flush() error
}

// Ownership hears from the log who owns what. Calls come from one goroutine, in order, and must not block.
type Ownership interface {
	// Claimed: this node owns p under epoch; everything acknowledged by earlier owners is applied here.
	Claimed(p Partition, epoch Epoch)
	// Lost: this node no longer owns p under epoch.
	Lost(p Partition, epoch Epoch)
}
