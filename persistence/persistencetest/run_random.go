package persistencetest

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/skerry-dev/skerry/persistence"
)

// Goal: what an engine answers and stores depends on the log alone. Method: a random log, as one batch and in random
// batches with flushes between, gives equal results and equal digests.
func testSameLogSameBytes(t *testing.T, open func(t *testing.T) Engine) {
	t.Helper()
	for seed := range uint64(5) {
		log := RandomLog(t, seed, 300)
		want := open(t)
		wantResults, err := want.Apply(log)
		if err != nil {
			t.Fatal(err)
		}
		got := open(t)
		gotResults := applyInBatches(t, got, log, rand.New(rand.NewPCG(seed, 1)))
		refused := 0
		for i := range log {
			if !slices.EqualFunc(gotResults[i], wantResults[i], func(a, b error) bool { return errors.Is(Class(a), Class(b)) }) {
				t.Fatalf("seed %d: log entry %d: %v, in one batch %v", seed, i, gotResults[i], wantResults[i])
			}
			if gotResults[i] != nil {
				refused++
			}
		}
		if refused == 0 {
			t.Errorf("seed %d: the log has no refusal, it shows little", seed)
		}
		for _, p := range []persistence.Partition{0, 1} {
			if digest(t, got, p) != digest(t, want, p) {
				t.Errorf("seed %d: partition %d differs with the batches", seed, p)
			}
		}
	}
}

// applyInBatches applies log cut at random, with flushes between.
func applyInBatches(tb testing.TB, engine Engine, log []persistence.Committed, rng *rand.Rand) [][]error {
	tb.Helper()
	var all [][]error
	for len(log) > 0 {
		n := min(1+rng.IntN(20), len(log))
		results, err := engine.Apply(log[:n])
		if err != nil {
			tb.Fatal(err)
		}
		all, log = append(all, results...), log[n:]
		if rng.IntN(5) > 0 {
			continue
		}
		if err = engine.Flush(); err != nil {
			tb.Fatal(err)
		}
	}
	return all
}

// RandomLog returns a log of two partitions with claims, configurations, good and bad changes, snapshots, pieces, marks and erasures.
// The same seed gives the same log.
func RandomLog(tb testing.TB, seed uint64, size int) []persistence.Committed {
	tb.Helper()
	rng := rand.New(rand.NewPCG(seed, 0))
	models := map[persistence.Partition]*Model{0: NewModel(), 1: NewModel()}
	index := map[persistence.Partition]uint64{}
	var log []persistence.Committed
	for range size {
		p := persistence.Partition(rng.IntN(2)) //nolint:gosec // 0 or 1
		m := models[p]
		index[p]++
		term := max(m.Epoch.Term, 1)
		proposal := &persistence.Proposal{Claim: index[p] == 1}
		if rng.IntN(30) == 0 {
			proposal.Claim = true
			term++
		}
		if rng.IntN(30) == 0 && !proposal.Claim {
			log = append(log, persistence.Committed{Partition: p, Index: index[p], Term: term, Conf: fmt.Appendf(nil, "since %d", index[p])})
			continue
		}
		if proposal.Claim {
			m.Claim(persistence.Epoch{Term: term})
		}
		for range rng.IntN(6) {
			c := randomChange(tb, rng.IntN, m)
			_ = m.Change(c) // the next one is made from what is there then
			proposal.Changes = append(proposal.Changes, c)
		}
		data, err := persistence.AppendProposal(nil, proposal)
		if err != nil {
			tb.Fatal(err)
		}
		log = append(log, persistence.Committed{Partition: p, Index: index[p], Term: term, Data: data})
	}
	return log
}

// randomChange draws a change that is often good and sometimes stale, too early, of an old epoch or incomplete.
func randomChange(tb testing.TB, intn func(int) int, m *Model) *persistence.Change {
	tb.Helper()
	space := []string{"main", "main", "main", "staging"}[intn(4)]
	kind := []persistence.Kind{persistence.KindPlayer, persistence.KindWorld}[intn(2)]
	c := &persistence.Change{Epoch: m.Epoch, Key: persistence.Key{Space: space, Kind: kind, ID: fmt.Sprintf("p%d", intn(4))}}
	if intn(20) == 0 {
		c.Epoch.Term--
	}
	if intn(60) == 0 {
		c.Key, c.EraseSpace = persistence.Key{}, space
		return c
	}
	last, newest := persistence.Seq(0), persistence.Seq(0)
	if e, ok := m.Entities[c.Key]; ok {
		last, newest = e.Last, e.newest()
	}
	small := func(n int) persistence.Seq { return persistence.Seq(intn(n)) } //nolint:gosec // not negative
	if n := small(4); n > 0 {
		first := last + 1
		if intn(8) == 0 {
			first = max(1, last+small(4))
		}
		c.Entries = Entries(tb, first, first+n-1)
		last = max(last, first+n-1)
	}
	if intn(3) == 0 {
		name := fmt.Sprintf("mark/%d", intn(2))
		c.Marks = append(c.Marks, persistence.Mark{Name: name, Value: [][]byte{nil, {}, []byte("value")}[intn(3)]})
	}
	seq := max(1, newest+small(4), last-min(last, small(5)))
	switch intn(4) {
	case 0:
		c.Snapshot = State(tb, seq)
		if kind == persistence.KindWorld {
			c.TrimTo = seq - min(seq, small(6))
		}
	case 1:
		half := Frame(tb, fmt.Sprintf("state at %d", seq))
		index := intn(2)
		c.Piece = &persistence.Piece{Seq: seq, Index: index, Data: [][]byte{half[:10], half[10:]}[index]}
	case 2:
		if e, ok := m.Entities[c.Key]; ok && e.stagedSeq > 0 {
			c.Snapshot = &persistence.Snapshot{Seq: e.stagedSeq, SavedAt: SavedAt, Pieces: 2}
		}
	}
	return c
}

// Goal: whatever changes come, an engine accepts, refuses and finds what the model does.
func testLikeTheModel(t *testing.T, open func(t *testing.T) Engine) {
	t.Helper()
	pair := &pair{t: t, engine: open(t)}
	rapid.Check(t, func(rt *rapid.T) {
		pair.model = NewModel()
		pair.claim(rt)
		for _, space := range []string{"main", "staging"} { // what the check before left
			pair.commit(rt, &persistence.Proposal{Changes: []*persistence.Change{{Epoch: pair.model.Epoch, EraseSpace: space}}})
		}
		rt.Repeat(map[string]func(*rapid.T){
			"change": pair.change, "change too": pair.change, "change again": pair.change, "claim": pair.claim, "compare": pair.compare,
		})
		pair.compare(rt)
	})
}

// pair is an engine and the model of its partition 0.
type pair struct {
	t           *testing.T
	engine      Engine
	model       *Model
	index, term uint64
}

func (p *pair) commit(rt *rapid.T, proposal *persistence.Proposal) []error {
	p.index++
	data, err := persistence.AppendProposal(nil, proposal)
	if err != nil {
		rt.Fatal(err)
	}
	results, err := p.engine.Apply([]persistence.Committed{{Partition: 0, Index: p.index, Term: p.term, Data: data}})
	if err != nil {
		rt.Fatal(err)
	}
	return results[0]
}

func (p *pair) claim(rt *rapid.T) {
	p.term++
	p.model.Claim(persistence.Epoch{Term: p.term})
	p.commit(rt, &persistence.Proposal{Claim: true})
}

func (p *pair) change(rt *rapid.T) {
	intn := func(n int) int { return rapid.IntRange(0, n-1).Draw(rt, "n") }
	proposal := &persistence.Proposal{}
	var want []error
	for range 1 + intn(3) {
		c := randomChange(p.t, intn, p.model)
		proposal.Changes = append(proposal.Changes, c)
		want = append(want, p.model.Change(c))
	}
	got := p.commit(rt, proposal)
	if got == nil {
		got = make([]error, len(want))
	}
	if !slices.EqualFunc(got, want, func(a, b error) bool { return errors.Is(Class(a), b) }) {
		rt.Fatalf("changes %v, want %v", got, want)
	}
}

// compare holds everything that can be read of the engine's partition 0 against the model.
func (p *pair) compare(rt *rapid.T) {
	for _, space := range []string{"main", "staging"} {
		p.compareKind(rt, space, persistence.KindPlayer)
		p.compareKind(rt, space, persistence.KindWorld)
		for _, name := range []string{"mark/0", "mark/1"} {
			p.compareMarks(rt, space, name)
		}
	}
}

func (p *pair) compareKind(rt *rapid.T, space string, kind persistence.Kind) {
	var ids []string
	for i := range 4 {
		k := persistence.Key{Space: space, Kind: kind, ID: fmt.Sprintf("p%d", i)}
		if p.compareEntity(rt, k) {
			ids = append(ids, k.ID)
		}
	}
	got, err := p.engine.Entities(p.t.Context(), 0, space, kind, "", 100)
	if err != nil || !slices.Equal(got, ids) {
		rt.Fatalf("%ss of %s: %v (%v), want %v", kind, space, got, err, ids)
	}
}

func (p *pair) compareEntity(rt *rapid.T, k persistence.Key) (found bool) {
	want := p.model.Loaded(k)
	got, err := p.engine.Load(p.t.Context(), 0, k)
	if want == nil {
		if !errors.Is(err, persistence.ErrAbsent) {
			rt.Fatalf("%s: found %+v (%v), want ErrAbsent", k, got, err)
		}
		return false
	}
	if err != nil {
		rt.Fatalf("%s: %v, want %+v", k, err, want)
	}
	got.Head.TailBytes = 0
	if !reflect.DeepEqual(got, want) {
		rt.Fatalf("%s: found %+v, want %+v", k, got, want)
	}
	return true
}

func (p *pair) compareMarks(rt *rapid.T, space, name string) {
	marks, err := p.engine.Marks(p.t.Context(), 0, space, name, persistence.Key{}, 100)
	found := map[persistence.Key]string{}
	for _, m := range marks {
		found[m.Key] = string(m.Value)
	}
	if want := p.model.Marks[space+"/"+name]; err != nil || !maps.Equal(found, want) {
		rt.Fatalf("marks %s of %s: %v (%v), want %v", name, space, found, err, want)
	}
}
