package replication

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/cryptotest"

	"github.com/cockroachdb/datadriven"
	"go.etcd.io/raft/v3/raftpb"

	"github.com/skerry-dev/skerry/persistence"
)

// bottle drives one core by hand: what a host does, one step at a time, with everything it said kept.
type bottle struct {
	t       *testing.T
	id      uint64
	voters  []uint64
	core    *core
	out     output
	pending bool // collected, not synced

	disk    replayed        // what is synced
	entries []*raftpb.Entry // of disk, from index 1
	applied []commit        // in order
	queue   []commit        // committed, not applied
	outcome map[uint64]int  // answers by proposal id of this life
	acked   map[string]bool // data of proposals that were applied here and answered
	epochs  []persistence.Epoch
	claimed uint64   // term of the newest claim that was applied
	order   []uint64 // answered proposals of this life, in order
	owner   bool
	send    func(message)
}

func newBottle(t *testing.T, id uint64, voters []uint64, send func(message)) *bottle {
	t.Helper()
	b := &bottle{t: t, id: id, voters: voters, outcome: map[uint64]int{}, acked: map[string]bool{}, send: send}
	b.disk.Conf, b.disk.Replica = &raftpb.ConfState{Voters: voters}, id
	b.start(0)
	return b
}

// start begins a life of the core, with what the disk and a state machine that has applied so much hold.
func (b *bottle) start(applied uint64) {
	b.t.Helper()
	r := b.disk
	r.Applied = applied
	if applied > 0 {
		r.AppliedTerm = b.entries[applied-1].GetTerm()
	}
	r.Hard.Commit = max(r.Hard.Commit, applied)
	r.Entries = slices.Clone(b.entries[applied:])
	c, err := newCore(coreOptions{Node: persistence.NodeID(b.id), Generation: 7, ElectionTicks: 10, HeartbeatTicks: 1, Logger: raftLogger{discard()}}, []replayed{r})
	if err != nil {
		b.t.Fatal(err)
	}
	b.core, b.pending, b.queue, b.owner = c, false, nil, false
	b.applied = b.applied[:applied]
	b.outcome, b.order, b.claimed = map[uint64]int{}, nil, 0
	if err := c.campaign(); err != nil {
		b.t.Fatal(err)
	}
}

// receive gives the core a message that asks for no copy.
func (b *bottle) receive(m *raftpb.Message) {
	b.t.Helper()
	var out output
	if err := b.core.receive(0, &message{Raft: m}, &out); err != nil || len(out.wanted)+len(out.owners) > 0 {
		b.t.Fatalf("%v: %v, %+v", m, err, out)
	}
}

// collect takes what the core says, and sends what may go before the sync.
func (b *bottle) collect() {
	if b.pending {
		return
	}
	b.out.reset()
	if err := b.core.collect(&b.out); err != nil {
		b.t.Fatal(err)
	}
	b.pending = true
	for _, m := range b.out.before {
		b.send(m)
	}
}

// sync makes it durable and goes on.
func (b *bottle) sync() {
	if !b.pending {
		return
	}
	b.pending = false
	for _, w := range b.out.writes {
		if w.Hard != nil {
			b.disk.Hard = *w.Hard
		}
		if len(w.Entries) > 0 {
			b.entries = append(b.entries[:w.Entries[0].GetIndex()-1:w.Entries[0].GetIndex()-1], w.Entries...)
			b.disk.Last = uint64(len(b.entries))
		}
	}
	b.core.synced()
	for _, m := range b.out.after {
		b.send(m)
	}
	b.queue = append(b.queue, b.out.commits...)
	b.notice()
}

// notice takes notes of answers and of ownership.
func (b *bottle) notice() {
	for _, p := range b.out.lost {
		b.outcome[p.id]++
	}
	for _, o := range b.out.owners {
		if b.owner == o.claimed {
			b.t.Fatalf("node %d: ownership changed to %v twice", b.id, o.claimed)
		}
		b.owner = o.claimed
		if o.claimed && b.claimed != o.epoch.Term {
			b.t.Fatalf("node %d: %v is claimed before its claim was applied", b.id, o.epoch)
		}
		if o.claimed {
			b.epochs = append(b.epochs, o.epoch)
		}
	}
}

// apply applies up to n entries.
func (b *bottle) apply(n int) {
	n = min(n, len(b.queue))
	if n == 0 {
		return
	}
	for _, c := range b.queue[:n] {
		if c.Index != uint64(len(b.applied))+1 {
			b.t.Fatalf("node %d applies index %d after %d", b.id, c.Index, len(b.applied))
		}
		b.applied = append(b.applied, c)
		if p, err := persistence.DecodeProposal(c.Data); err == nil && p.Claim {
			b.claimed = c.Term
		}
		if c.proposal != nil {
			b.outcome[c.proposal.id]++
			b.order = append(b.order, c.proposal.id)
			if string(c.proposal.data) != string(c.Data) {
				b.t.Fatalf("node %d took somebody else's entry %d for its own", b.id, c.Index)
			}
			b.acked[string(c.Data)] = true
		}
	}
	b.queue = b.queue[n:]
	var out output
	b.core.applied(0, uint64(len(b.applied)), &out)
	b.out.owners, b.out.lost = out.owners, out.lost
	if b.pending { // the owners of what is collected come with its sync
		b.t.Fatal("apply between collect and sync is the host's mistake")
	}
	b.notice()
	b.out.owners, b.out.lost = nil, nil
}

// propose proposes a change of its own data, if this node owns the partition. It returns the proposal's id, or 0.
func (b *bottle) propose(data string) uint64 {
	p := &proposal{id: b.core.newProposalID()}
	change := &persistence.Change{
		Key: persistence.Key{Space: "main", Kind: persistence.KindPlayer, ID: "p"}, Epoch: b.core.epoch(b.core.groups[0]),
		Entries: []persistence.Entry{{Seq: 1, Data: []byte(data)}},
	}
	var err error
	if p.data, err = persistence.AppendProposal(nil, &persistence.Proposal{ID: p.id, Generation: 7, Changes: []*persistence.Change{change}}); err != nil {
		b.t.Fatal(err)
	}
	if err := b.core.propose(0, p); err != nil {
		if !errors.Is(err, persistence.ErrNotOwner) || b.owner && len(b.voters) == 1 {
			b.t.Fatal(err)
		}
		return 0
	}
	if !b.owner {
		b.t.Fatalf("node %d proposes before its claim was applied", b.id)
	}
	return p.id
}

// Goal: in whatever order a sole voter's inputs come, the claim is first, and every proposal is answered once, in order.
func TestSoleVoterInAnyOrder(t *testing.T) {
	for seed := range uint64(200) {
		rng := rand.New(rand.NewPCG(seed, 0))
		b := newBottle(t, 1, []uint64{1}, func(m message) { t.Fatalf("seed %d: a sole voter sends %v", seed, m.Raft) })
		var proposed []uint64
		for step := range 300 {
			switch rng.IntN(12) {
			case 0, 1, 2:
				if id := b.propose(fmt.Sprint(step)); id != 0 {
					proposed = append(proposed, id)
				}
			case 3, 4, 5:
				b.collect()
			case 6, 7, 8:
				b.sync()
			case 9, 10:
				if !b.pending {
					b.apply(rng.IntN(4))
				}
			case 11:
				if err := b.core.tick(&output{}); err != nil {
					t.Fatal(err)
				}
				if rng.IntN(5) == 0 { // a crash: what is not synced is lost, and some of what was applied
					b.start(uint64(rng.IntN(len(b.applied) + 1)))
					proposed = nil
				}
			}
		}
		for b.sync(); b.core.busy() || len(b.queue) > 0; b.apply(10) {
			b.collect()
			b.sync()
		}
		if !slices.Equal(b.order, proposed) || len(b.outcome) != len(proposed) {
			t.Fatalf("seed %d: proposed %v, answered %v", seed, proposed, b.order)
		}
		if len(b.core.groups[0].tail.entries) != 0 {
			t.Fatalf("seed %d: %d applied entries stay in memory", seed, len(b.core.groups[0].tail.entries))
		}
	}
}

// trio is three voters and the messages between them.
type trio struct {
	t     *testing.T
	rng   *rand.Rand
	nodes []*bottle
	wire  []message
	owned map[uint64]uint64 // term to its only owner
	acked map[string]bool
}

func newTrio(t *testing.T, seed uint64) *trio {
	t.Helper()
	w := &trio{t: t, rng: rand.New(rand.NewPCG(seed, 0)), owned: map[uint64]uint64{}, acked: map[string]bool{}}
	voters := []uint64{1, 2, 3}
	for _, id := range voters {
		w.nodes = append(w.nodes, newBottle(t, id, voters, func(m message) { w.wire = append(w.wire, m) }))
	}
	return w
}

// step does one thing at random. A calm world loses nothing.
func (w *trio) step(i int, calm bool) {
	b := w.nodes[w.rng.IntN(len(w.nodes))]
	switch action := w.rng.IntN(100); {
	case action < 10:
		if err := b.core.tick(&output{}); err != nil {
			w.t.Fatal(err)
		}
	case action < 25:
		b.propose(fmt.Sprint("step ", i, " of ", b.id))
	case action < 40:
		b.collect()
	case action < 55:
		b.sync()
	case action < 65:
		if !b.pending {
			b.apply(1 + w.rng.IntN(5))
		}
	case action < 97:
		w.deliver(calm)
	case action < 98 && !calm:
		w.crash(b)
	}
	w.check()
}

// deliver takes any message off the wire; it may be lost or stay to come again.
func (w *trio) deliver(calm bool) {
	if len(w.wire) == 0 {
		return
	}
	i := w.rng.IntN(len(w.wire))
	m := w.wire[i]
	luck := w.rng.IntN(100)
	if calm || luck >= 5 {
		w.wire = slices.Delete(w.wire, i, i+1)
	}
	if calm || luck >= 10 || luck < 5 {
		w.nodes[m.Raft.GetTo()-1].receive(m.Raft)
	}
}

// crash loses what is not synced, and the state that not every node has applied.
func (w *trio) crash(b *bottle) {
	for data := range b.acked {
		w.acked[data] = true
	}
	flushed := len(b.applied)
	for _, other := range w.nodes {
		flushed = min(flushed, len(other.applied))
	}
	b.start(uint64(flushed))
}

// check is what must hold at every moment.
func (w *trio) check() {
	for _, b := range w.nodes {
		for id, n := range b.outcome {
			if n > 1 {
				w.t.Fatalf("node %d answered proposal %d %d times", b.id, id, n)
			}
		}
		for _, e := range b.epochs {
			if other, ok := w.owned[e.Term]; ok && other != b.id {
				w.t.Fatalf("nodes %d and %d both claimed %v", other, b.id, e)
			}
			w.owned[e.Term] = b.id
		}
		b.epochs = nil
	}
}

// agree fails unless all have applied the same; in the end, with everything acknowledged in it.
func (w *trio) agree(final bool) {
	longest := slices.MaxFunc(w.nodes, func(a, b *bottle) int { return len(a.applied) - len(b.applied) })
	there := map[string]int{}
	for _, c := range longest.applied {
		there[string(c.Data)]++
	}
	for _, b := range w.nodes {
		for i, c := range b.applied {
			if want := longest.applied[i]; c.Term != want.Term || string(c.Data) != string(want.Data) {
				w.t.Fatalf("nodes %d and %d applied different entries %d", b.id, longest.id, i+1)
			}
		}
		for data := range b.acked {
			w.acked[data] = true
		}
	}
	for data := range w.acked {
		if there[data] != 1 && final { // before, it may wait in logs to be applied again after a crash
			w.t.Fatalf("an acknowledged proposal is there %d times", there[data])
		}
	}
}

// Goal: one owner a term, one order for all, nothing acknowledged is lost, whatever the wire and power cuts do.
// Method: three cores, every input at random by seed; then calm, in which they must come to one owner.
func TestThreeVotersInAnyOrder(t *testing.T) {
	acked := 0
	for seed := range uint64(10) {
		cryptotest.SetGlobalRandom(t, seed)
		w := newTrio(t, seed)
		for i := range 4000 {
			w.step(i, false)
		}
		w.agree(false)
		for i := range 8000 {
			w.step(i, true)
		}
		w.agree(true)
		owners := 0
		for _, b := range w.nodes {
			if b.owner {
				owners++
			}
		}
		if owners != 1 {
			t.Fatalf("seed %d: %d owners in the end", seed, owners)
		}
		acked += len(w.acked)
	}
	if acked < 500 {
		t.Fatalf("only %d proposals were acknowledged: the test does not test", acked)
	}
}

// TestDialogue runs testdata/core: inputs of the core, and all that it said.
func TestDialogue(t *testing.T) {
	datadriven.Walk(t, "testdata/core", func(t *testing.T, path string) {
		t.Helper()
		cryptotest.SetGlobalRandom(t, 1)
		var b *bottle
		var sent []string
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			t.Helper()
			var said strings.Builder
			sent = nil
			switch d.Cmd {
			case "start":
				var voters []uint64
				d.ScanArgs(t, "voters", &voters)
				b = newBottle(t, 1, voters, func(m message) { sent = append(sent, describe(m)) })
			case "restart":
				var applied uint64
				d.ScanArgs(t, "applied", &applied)
				b.start(applied)
			case "tick":
				var n int
				d.ScanArgs(t, "n", &n)
				for range n {
					if err := b.core.tick(&output{}); err != nil {
						return err.Error()
					}
				}
			case "propose":
				if id := b.propose("x"); id == 0 {
					return "not the owner"
				}
			case "collect":
				b.collect()
				describeWrites(&said, b.out.writes)
			case "synced":
				b.sync()
				describeOutput(&said, &b.out)
			case "apply":
				before := len(b.epochs)
				b.apply(len(b.queue))
				for _, e := range b.epochs[before:] {
					fmt.Fprintf(&said, "claimed %v\n", e)
				}
			case "receive":
				b.receive(parseMessage(t, d))
			default:
				t.Fatalf("unknown command %q", d.Cmd)
			}
			for _, s := range sent {
				fmt.Fprintf(&said, "send %s\n", s)
			}
			if said.Len() == 0 {
				return "ok"
			}
			return said.String()
		})
	})
}

func describe(m message) string {
	return fmt.Sprintf("%v to %d at term %d, %d entries", m.Raft.GetType(), m.Raft.GetTo(), m.Raft.GetTerm(), len(m.Raft.GetEntries()))
}

func describeWrites(said *strings.Builder, writes []groupBatch) {
	for _, w := range writes {
		if w.Hard != nil {
			fmt.Fprintf(said, "write term %d vote %d commit %d\n", w.Hard.Term, w.Hard.Vote, w.Hard.Commit)
		}
		for _, e := range w.Entries {
			fmt.Fprintf(said, "write %d.%d %s\n", e.GetIndex(), e.GetTerm(), describeData(e.GetData()))
		}
	}
}

func describeOutput(said *strings.Builder, out *output) {
	for _, c := range out.commits {
		fmt.Fprintf(said, "committed %d.%d %s\n", c.Index, c.Term, describeData(c.Data))
	}
	for _, p := range out.lost {
		fmt.Fprintf(said, "outcome unknown: proposal %d\n", p.id)
	}
	for _, o := range out.owners {
		fmt.Fprintf(said, "claimed=%v %v\n", o.claimed, o.epoch)
	}
}

func describeData(data []byte) string {
	p, err := persistence.DecodeProposal(data)
	switch {
	case len(data) == 0:
		return "empty"
	case err != nil:
		return err.Error()
	case p.Claim:
		return fmt.Sprintf("claim %d", p.ID)
	default:
		return fmt.Sprintf("proposal %d with %d change", p.ID, len(p.Changes))
	}
}

func parseMessage(t *testing.T, d *datadriven.TestData) *raftpb.Message {
	t.Helper()
	var kind string
	var from, term, index uint64
	d.ScanArgs(t, "type", &kind)
	d.ScanArgs(t, "from", &from)
	d.ScanArgs(t, "term", &term)
	d.MaybeScanArgs(t, "index", &index)
	value, ok := raftpb.MessageType_value[kind]
	if !ok {
		t.Fatalf("unknown message %q", kind)
	}
	to := uint64(1)
	return &raftpb.Message{Type: raftpb.MessageType(value).Enum(), From: &from, To: &to, Term: &term, Index: &index}
}
