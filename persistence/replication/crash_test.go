package replication

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/skerry-dev/skerry/codec"
	"github.com/skerry-dev/skerry/persistence"
)

// ledger is what the writers were told.
type ledger struct {
	mu    sync.Mutex
	acked map[string]persistence.Seq
	left  int           // acknowledgements until the cut
	cut   chan struct{} // closed then
	wrong error         // the first answer that must not be
}

// writer keeps several changes of one entity on their way, from done functions.
type writer struct {
	n     *node
	p     persistence.Partition
	id    string
	next  persistence.Seq
	size  int
	last  func(persistence.Partition, string) persistence.Seq // what is applied
	book  *ledger
	mu    sync.Mutex
	ended bool
}

const (
	writers      = 8
	writerWindow = 4
)

// more proposes the next change.
func (w *writer) more() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.ended {
		return
	}
	seq := w.next
	data, err := codec.AppendFrame(nil, codec.FormatEntry, codec.Plain, make([]byte, 1+(int(seq)*37)%w.size))
	if err != nil {
		panic(err)
	}
	err = w.n.Propose(w.p, w.n.change(w.p, w.id, seq, data), func(err error) {
		if w.done(seq, err) {
			w.more()
		}
	})
	if err != nil {
		w.ended = true
		return
	}
	w.next++
}

func (w *writer) done(seq persistence.Seq, err error) bool {
	w.book.mu.Lock()
	defer w.book.mu.Unlock()
	switch {
	case errors.Is(err, persistence.ErrOutcomeUnknown):
		return false
	case err != nil:
		w.book.wrong = fmt.Errorf("%s seq %d: %w", w.id, seq, err)
		return false
	case seq != w.book.acked[w.id]+1:
		w.book.wrong = fmt.Errorf("%s: seq %d was done after %d", w.id, seq, w.book.acked[w.id])
		return false
	case w.last(w.p, w.id) < seq:
		w.book.wrong = fmt.Errorf("%s: seq %d was done before it was applied", w.id, seq)
	}
	w.book.acked[w.id] = seq
	if w.book.left--; w.book.left == 0 {
		close(w.book.cut)
	}
	return true
}

// powerCuts runs writers over a disk that loses power at random moments, and returns the first broken promise.
func powerCuts(t *testing.T, seed uint64, rounds int, faults Faults) error {
	t.Helper()
	rng := rand.New(rand.NewPCG(seed, 0))
	fs, m := vfs.NewCrashableMem(), newModel(seed)
	acked := map[string]persistence.Seq{}
	for round := range rounds {
		opts := testOptions(fs, m)
		opts.Faults = faults
		n, err := open(t, opts)
		if err != nil {
			return fmt.Errorf("round %d: %w", round, err)
		}
		book := &ledger{acked: acked, left: 1 + rng.IntN(400), cut: make(chan struct{})}
		if err := n.load(book, m.last, 1+rng.IntN(2000)); err != nil {
			n.stop()
			return fmt.Errorf("round %d: %w", round, errors.Join(err, n.end(t)))
		}
		fs, m, acked = n.powerCut(book, rng)
		n.stop()
		if err := n.end(t); err != nil {
			return fmt.Errorf("round %d: %w", round, err)
		}
		if book.wrong != nil {
			return fmt.Errorf("round %d: %w", round, book.wrong)
		}
	}
	return nil
}

// load checks that last knows everything that was acknowledged, and starts writers that go on from there. It returns
// when the book says that it is time for the cut.
func (n *node) load(book *ledger, last func(persistence.Partition, string) persistence.Seq, size int) error {
	all := make([]*writer, writers)
	for i := range all {
		w := &writer{n: n, p: persistence.Partition(i % testPartitions), id: fmt.Sprint("p", i), size: size, last: last, book: book}
		stored := last(w.p, w.id)
		if stored < book.acked[w.id] {
			return fmt.Errorf("%s has seq %d, but %d was acknowledged", w.id, stored, book.acked[w.id])
		}
		book.acked[w.id], w.next, all[i] = stored, stored+1, w
	}
	for _, w := range all {
		for range writerWindow {
			w.more()
		}
	}
	select {
	case <-book.cut:
		return nil
	case <-n.ended:
		return errors.New("the host stopped")
	}
}

// powerCut returns disk, state and what was acknowledged as they were at one moment.
func (n *node) powerCut(book *ledger, rng *rand.Rand) (*vfs.MemFS, *model, map[string]persistence.Seq) {
	book.mu.Lock()
	acked := maps.Clone(book.acked) // first: what is acknowledged later may be there or not
	book.mu.Unlock()
	n.model.mu.Lock() // no flush and no truncation in between
	defer n.model.mu.Unlock()
	mem, _ := n.opts.FS.(*vfs.MemFS)
	disk := mem.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: rng.IntN(101), RNG: rng})
	return disk, n.model.crashedLocked(rng.Uint64()), acked
}

// Goal: no acknowledged change is lost, doubled or out of order, whenever the power goes.
// Method: clone disk and flushed state at random moments under load, go on from the clone.
func TestAcknowledgedSurvivesPowerCuts(t *testing.T) {
	for seed := range uint64(12) {
		t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) {
			if err := powerCuts(t, seed, 8, Faults{}); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// The test above can fail: with each mechanism switched off, it does.
func TestPowerCutsFindFaults(t *testing.T) {
	for name, faults := range map[string]Faults{
		"SkipSync":           {SkipSync: true},
		"AnswerBeforeAppend": {AnswerBeforeAppend: true},
		"AnswerBeforeApply":  {AnswerBeforeApply: true},
		"TruncateTooFar":     {TruncateTooFar: true},
	} {
		t.Run(name, func(t *testing.T) {
			for seed := range uint64(20) {
				if err := powerCuts(t, seed, 8, faults); err != nil {
					t.Log("found: ", err)
					return
				}
			}
			t.Fatal("nothing was found")
		})
	}
}
