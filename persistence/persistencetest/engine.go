// Package persistencetest holds any storage engine to the promises of package persistence: [Run] is the suite, [Driver]
// plays the log for tests that need one, [Model] is the simplest storage that keeps the promises.
package persistencetest

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/skerry-dev/skerry/codec"
	"github.com/skerry-dev/skerry/persistence"
)

// Engine is what is held to the promises.
type Engine interface {
	persistence.StateMachine
	persistence.Storage
	// Digest is a hash of everything that is stored of p and replicated.
	Digest(ctx context.Context, p persistence.Partition) (uint64, error)
}

// SavedAt is the time of every snapshot that this package makes.
var SavedAt = time.UnixMilli(1_700_000_000_000).UTC() //nolint:gochecknoglobals // a constant in all but name

// Player is the key of a player of the default space.
func Player(id string) persistence.Key {
	return persistence.Key{Space: persistence.DefaultSpace, Kind: persistence.KindPlayer, ID: id}
}

// Frame is text as a framed value.
func Frame(tb testing.TB, text string) []byte {
	tb.Helper()
	framed, err := codec.AppendFrame(nil, codec.FormatEntry, codec.Plain, []byte(text))
	if err != nil {
		tb.Fatal(err)
	}
	return framed
}

// Entries are framed entries numbered from first to last.
func Entries(tb testing.TB, first, last persistence.Seq) []persistence.Entry {
	tb.Helper()
	var entries []persistence.Entry
	for seq := first; seq <= last; seq++ {
		entries = append(entries, persistence.Entry{Seq: seq, Data: Frame(tb, fmt.Sprintf("entry %d", seq))})
	}
	return entries
}

// State is a snapshot of the main part at seq.
func State(tb testing.TB, seq persistence.Seq) *persistence.Snapshot {
	tb.Helper()
	return &persistence.Snapshot{Seq: seq, SavedAt: SavedAt, Data: Frame(tb, fmt.Sprintf("state at %d", seq))}
}

// Driver plays the log of one partition to a state machine. It belongs to one goroutine.
type Driver struct {
	tb     testing.TB
	engine persistence.StateMachine

	Partition persistence.Partition
	Index     uint64
	Epoch     persistence.Epoch
	// Log is all that was applied.
	Log []persistence.Committed
}

// NewDriver returns a driver of partition p that has claimed it at term 1.
func NewDriver(tb testing.TB, engine persistence.StateMachine, p persistence.Partition) *Driver {
	tb.Helper()
	d := &Driver{tb: tb, engine: engine, Partition: p}
	d.Claim(persistence.Epoch{Term: 1})
	return d
}

// Claim applies a claim under epoch.
func (d *Driver) Claim(epoch persistence.Epoch) {
	d.tb.Helper()
	d.Epoch = epoch
	d.commit(&persistence.Proposal{Generation: epoch.Generation, Claim: true})
}

// Change applies one change under the driver's epoch, and returns its refusal.
func (d *Driver) Change(c persistence.Change) error {
	d.tb.Helper()
	c.Epoch = d.Epoch
	return d.Changes(&c)[0]
}

// Changes applies changes as they are in one log entry, and returns their refusals.
func (d *Driver) Changes(changes ...*persistence.Change) []error {
	d.tb.Helper()
	refusals := d.commit(&persistence.Proposal{Generation: d.Epoch.Generation, Changes: changes})
	if refusals == nil {
		return make([]error, len(changes))
	}
	return refusals
}

// Conf applies an entry that says who the replicas are.
func (d *Driver) Conf(conf []byte) {
	d.tb.Helper()
	d.apply(persistence.Committed{Conf: conf})
}

// Must applies one change that must be accepted.
func (d *Driver) Must(c persistence.Change) {
	d.tb.Helper()
	if err := d.Change(c); err != nil {
		d.tb.Fatalf("change of %s refused: %v", c.Key, err)
	}
}

func (d *Driver) commit(p *persistence.Proposal) []error {
	d.tb.Helper()
	data, err := persistence.AppendProposal(nil, p)
	if err != nil {
		d.tb.Fatal(err)
	}
	return d.apply(persistence.Committed{Data: data})
}

// apply applies entry as the next one.
func (d *Driver) apply(entry persistence.Committed) []error {
	d.tb.Helper()
	d.Index++
	entry.Partition, entry.Index, entry.Term = d.Partition, d.Index, d.Epoch.Term
	d.Log = append(d.Log, entry)
	results, err := d.engine.Apply([]persistence.Committed{entry})
	if err != nil {
		d.tb.Fatal(err)
	}
	return results[0]
}

// refusals are the classes that a change can be refused with.
func refusals() []error {
	return []error{
		persistence.ErrFenced, persistence.ErrDuplicate, persistence.ErrGap, persistence.ErrOldSnapshot,
		persistence.ErrIncomplete, persistence.ErrBadChange, persistence.ErrQueueFull,
	}
}

// Class is the sentinel that err wraps: refusals are compared by it, never by their text.
func Class(err error) error {
	for _, class := range refusals() {
		if errors.Is(err, class) {
			return class
		}
	}
	return err
}
