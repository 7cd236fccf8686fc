// Goal: a transfer ends whatever dies and however its messages are treated, and nothing is lost or there twice.
// Method: hosts one after the other on one store in memory, in fake time, with a network between the parties that delays,
// repeats and drops what the coordinator asks; everything is counted from the journals alone.
package actors

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/skerry-dev/skerry/actors/items"
	"github.com/skerry-dev/skerry/actors/transfer"
	"github.com/skerry-dev/skerry/actors/turn"
	"github.com/skerry-dev/skerry/actors/world"
	"github.com/skerry-dev/skerry/codec"
	"github.com/skerry-dev/skerry/codec/skerryv1"
	"github.com/skerry-dev/skerry/codec/storev1"
	"github.com/skerry-dev/skerry/persistence"
)

// fair is a store, the host that owns it now, and the network between its parties.
type fair struct {
	testing.TB
	store *markStore
	kill  *killer
	net   *network
	host  *Host
	stop  func()
}

// killer is the journal of the hosts. It can lose the answer to a change of a transfer, and everything after it.
type killer struct {
	*markStore
	mu      sync.Mutex
	after   int  // changes of transfers until it happens; 0: never
	applied bool // the last of them is applied
	dead    chan struct{}
}

func (k *killer) Propose(p persistence.Partition, c *persistence.Change, done func(error)) error {
	if k.lost(c) {
		k.poke()
		done(persistence.ErrOutcomeUnknown)
		return nil
	}
	return k.markStore.Propose(p, c, done)
}

// lost reports whether nobody may hear of a change, which then may be applied.
func (k *killer) lost(c *persistence.Change) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.dead == nil {
		return false
	}
	select {
	case <-k.dead:
		return true
	default:
	}
	if !ofTransfer(k.t, c) {
		return false
	}
	if k.after--; k.after > 0 {
		return false
	}
	close(k.dead)
	if k.applied {
		k.store.mu.Lock()
		defer k.store.mu.Unlock()
		if err := k.apply(c); err != nil {
			k.t.Errorf("apply: %v", err)
		}
	}
	return true
}

// ofTransfer reports whether a change has a step of a transfer.
func ofTransfer(tb testing.TB, c *persistence.Change) bool {
	tb.Helper()
	for _, line := range c.Entries {
		entry, err := codec.DecodeEntry(line.Data)
		if err != nil {
			tb.Fatal(err)
		}
		if len(entry.GetTransferEvents()) > 0 {
			return true
		}
		for _, event := range entry.GetWorldEvents() {
			if event.GetTransfer() != nil {
				return true
			}
		}
	}
	return false
}

// network carries the steps of transfers. It outlives hosts: what is late reaches the next one.
type network struct {
	mu     sync.Mutex
	rng    *rand.Rand // nil: it does as it is told
	to     *Host
	late   sync.WaitGroup
	counts [5]int
}

func (n *network) Do(call *Call) {
	n.mu.Lock()
	fate, pause := 0, time.Duration(0)
	if n.rng != nil && call.step != nil {
		fate, pause = max(0, n.rng.IntN(10)-5), time.Duration(n.rng.IntN(3000))*time.Millisecond
		if n.rng.IntN(8) == 0 {
			pause *= 10
		}
	}
	n.counts[fate]++
	to := n.to
	n.mu.Unlock()
	again := func(reply func(*Call, *skerryv1.Response, error)) *Call {
		same := &Call{Key: call.Key, Request: call.Request, Admin: call.Admin, step: call.step}
		same.Reply = func(r *skerryv1.Response, err error) { reply(same, r, err) }
		return same
	}
	switch fate {
	case 1: // the request is lost
		call.Reply(nil, persistence.ErrOutcomeUnknown)
	case 2: // the answer is lost
		to.Do(again(func(*Call, *skerryv1.Response, error) { call.Reply(nil, persistence.ErrOutcomeUnknown) }))
	case 3: // it comes again, much later
		n.later(again(func(*Call, *skerryv1.Response, error) {}), pause)
		to.Do(call)
	case 4: // it is late
		n.later(again(func(same *Call, r *skerryv1.Response, err error) {
			call.answer = same.answer
			call.Reply(r, err)
		}), pause)
	default:
		to.Do(call)
	}
}

// later delivers a call after a pause to whichever host is there then.
func (n *network) later(call *Call, pause time.Duration) {
	n.late.Go(func() {
		time.Sleep(pause)
		n.mu.Lock()
		to := n.to
		n.mu.Unlock()
		to.Do(call)
	})
}

func newFair(tb testing.TB) *fair {
	tb.Helper()
	f := &fair{TB: tb, store: newMarkStore(tb), net: &network{}}
	f.kill = &killer{markStore: f.store}
	f.start()
	return f
}

func (f *fair) start() {
	f.Helper()
	h, err := New(Options{
		Journal: f.kill, Storage: f.store, Partitions: f.store.partitions, Router: f.net, PassivateAfter: 700 * time.Millisecond, ServerTimeout: time.Hour,
		Describe: func(err error) *skerryv1.Error { return &skerryv1.Error{Code: "REFUSED", Message: err.Error()} },
	})
	if err != nil {
		f.Fatal(err)
	}
	f.net.mu.Lock()
	f.net.to = h
	f.net.mu.Unlock()
	f.host, f.stop = h, start(f.TB, f.store.store, h)
}

// restart kills the host and starts the next one.
func (f *fair) restart() {
	f.Helper()
	f.stop()
	f.kill.mu.Lock()
	f.kill.dead = nil
	f.kill.mu.Unlock()
	f.store.set(func() { f.store.epoch.Term++ })
	f.start()
}

func (f *fair) do(key persistence.Key, request *skerryv1.Request) <-chan answer {
	answers := make(chan answer, 2)
	f.host.Do(&Call{Key: key, Request: request, Admin: true, Reply: func(r *skerryv1.Response, err error) { answers <- answer{r, err} }})
	return answers
}

func (f *fair) must(key persistence.Key, request *skerryv1.Request) *skerryv1.Response {
	f.Helper()
	got := <-f.do(key, request)
	if got.err != nil {
		f.Fatalf("%s: %v: %v", key, request, got.err)
	}
	return got.response
}

func (f *fair) player(id string, cmds ...*skerryv1.PlayerCommand) {
	f.Helper()
	key := playerKey(id)
	f.must(key, openRequest("s1"))
	if len(cmds) == 0 {
		return
	}
	f.must(key, &skerryv1.Request{Request: &skerryv1.Request_ExecutePlayer{ExecutePlayer: &skerryv1.ExecutePlayerRequest{Player: id, Receipt: "r", Commands: cmds}}})
}

func gift(item, count int32) *skerryv1.PlayerCommand {
	return &skerryv1.PlayerCommand{Command: &skerryv1.PlayerCommand_Give{Give: &skerryv1.Give{ItemId: item, Count: count}}}
}

// chests makes a world with n chests, each in a chunk of its own, with 40 of item 7.
func (f *fair) chests(n int) {
	f.Helper()
	var cmds []*skerryv1.WorldCommand
	for i := range int32(n) { //nolint:gosec // a few
		cmds = append(cmds,
			&skerryv1.WorldCommand{Command: &skerryv1.WorldCommand_PlaceChest{PlaceChest: &skerryv1.PlaceChest{X: 16 * i, Y: 1}}},
			&skerryv1.WorldCommand{Command: &skerryv1.WorldCommand_ChestPut{ChestPut: &skerryv1.ChestPut{X: 16 * i, Y: 1, ItemId: 7, Count: 40}}})
	}
	f.must(worldKey(), openWorld())
	f.must(worldKey(), &skerryv1.Request{Request: &skerryv1.Request_ExecuteWorld{ExecuteWorld: &skerryv1.ExecuteWorldRequest{World: worldKey().ID, Receipt: "r", Commands: cmds}}})
}

func playerParty(id string) *skerryv1.TransferParty {
	return &skerryv1.TransferParty{Party: &skerryv1.TransferParty_Player{Player: id}}
}

func chestParty(i int32) *skerryv1.TransferParty {
	return &skerryv1.TransferParty{Party: &skerryv1.TransferParty_Chest{Chest: &skerryv1.ChestRef{World: worldKey().ID, X: 16 * i, Y: 1}}}
}

func moveCoins(from, to *skerryv1.TransferParty, amount int64) *skerryv1.TransferLeg {
	return &skerryv1.TransferLeg{From: from, To: to, What: &skerryv1.TransferLeg_Currency{
		Currency: &skerryv1.TransferCurrency{Currency: skerryv1.Currency_COINS, Amount: amount},
	}}
}

func moveItem(from, to *skerryv1.TransferParty, item, count int32) *skerryv1.TransferLeg {
	return &skerryv1.TransferLeg{From: from, To: to, What: &skerryv1.TransferLeg_Item{Item: &skerryv1.TransferItem{ItemId: item, Count: count}}}
}

func (f *fair) create(id string, legs ...*skerryv1.TransferLeg) <-chan answer {
	f.Helper()
	request := &skerryv1.CreateTransferRequest{Id: id, Legs: legs}
	holder, ok := transfer.HolderOf("main", request)
	if !ok {
		f.Fatalf("%v is not well formed", request)
	}
	return f.do(holder, &skerryv1.Request{Request: &skerryv1.Request_CreateTransfer{CreateTransfer: request}})
}

func (f *fair) status(id, player string) skerryv1.TransferStatus {
	f.Helper()
	got := <-f.do(playerKey(player), &skerryv1.Request{Request: &skerryv1.Request_GetTransfer{GetTransfer: &skerryv1.GetTransferRequest{Id: id, Party: playerParty(player)}}})
	if got.err != nil && !errors.Is(got.err, turn.ErrNotFound) {
		f.Errorf("status of %s: %v", id, got.err)
	}
	return got.response.GetGetTransfer().GetTransfer().GetStatus()
}

// replayed is what the journals say, and nothing else: of each player, and of each chunk.
func (f *fair) replayed() (map[persistence.Key]*storev1.Entity, map[world.Coord]*world.Chunk) {
	f.Helper()
	f.store.mu.Lock()
	defer f.store.mu.Unlock()
	entities, chunks := map[persistence.Key]*storev1.Entity{}, map[world.Coord]*world.Chunk{}
	for key, e := range f.store.entities {
		state := &storev1.Entity{}
		for _, line := range e.entries {
			entry, err := codec.DecodeEntry(line.Data)
			if err == nil {
				err = turn.Evolve(state, line.Seq, entry)
			}
			if err != nil {
				f.Fatalf("%s at %d: %v", key, line.Seq, err)
			}
			for _, event := range entry.GetWorldEvents() {
				at, ofChunk := world.ChunkOf(event)
				if !ofChunk {
					continue
				}
				if chunks[at] == nil {
					chunks[at] = world.NewChunk(state.GetWorld())
				}
				if err := world.EvolveChunk(chunks[at], event); err != nil {
					f.Fatal(err)
				}
			}
		}
		entities[key] = state
	}
	return entities, chunks
}

// count counts items and coins wherever they are; what is held counts once, wherever its transfer has come to.
func (f *fair) count() map[string]int64 {
	f.Helper()
	entities, chunks := f.replayed()
	sum := map[string]int64{}
	stack := func(s *skerryv1.ItemStack) {
		if !items.IsEmpty(s) {
			sum[fmt.Sprint("item ", s.GetItemId())] += int64(s.GetCount())
		}
	}
	for _, c := range chunks {
		for _, chest := range c.Chests {
			for _, s := range chest.GetSlots() {
				stack(s)
			}
		}
	}
	for key, state := range entities {
		for _, list := range [][]*skerryv1.ItemStack{state.GetPlayer().GetInventory().GetHotbar(), state.GetPlayer().GetInventory().GetInventory()} {
			for _, s := range list {
				stack(s)
			}
		}
		sum["coins"] += state.GetPlayer().GetProfile().GetCoins()
		for _, hold := range state.GetHolds() {
			if hold.GetStatus() != skerryv1.TransferStatus_TRANSFER_OPEN {
				continue
			}
			plan, err := transfer.Parse(key.Space, hold.GetRequest())
			if err != nil {
				f.Fatal(err)
			}
			book := transfer.BookOf(entities[plan.Other.Key])
			if chest := plan.Other.Chest; chest != nil {
				book = transfer.Book{Received: &chunks[world.ChunkAt(chest.GetX(), chest.GetZ())].Received}
			}
			legs := hold.GetLegs()
			if received, _ := book.Answered(key.ID, hold); received != nil && received.GetRefused() == nil {
				legs = received.GetLegs()
			}
			for _, leg := range legs {
				if !leg.GetIncoming() {
					stack(leg.GetStack())
					if leg.GetCurrency() == skerryv1.Currency_COINS {
						sum["coins"] += leg.GetAmount()
					}
				}
			}
		}
	}
	return sum
}

// open is how many records of transfers are there that are not over.
func (f *fair) open() (n int) {
	f.Helper()
	entities, chunks := f.replayed()
	pending := func(received []*storev1.Received) {
		for _, r := range received {
			if r.GetTransfer() != "" && !r.GetClosed() {
				n++
			}
		}
	}
	for _, state := range entities {
		n += len(state.GetHolds())
		pending(state.GetReceived())
	}
	for _, c := range chunks {
		pending(c.Received)
	}
	f.store.mu.Lock()
	defer f.store.mu.Unlock()
	for _, e := range f.store.entities {
		if _, marked := e.marks[transfer.OpenMark]; marked {
			n++
		}
	}
	return n
}

// settle waits until every transfer is over.
func (f *fair) settle() {
	f.Helper()
	for range 600 {
		if f.open() == 0 {
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
	f.Fatalf("%d transfers are still open after a minute", f.open())
}

func TestTransfer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFair(t)
		f.player("ann", gift(5, 70))
		f.player("bob", gift(6, 3))
		f.chests(1)
		before := f.count()
		for i, legs := range [][]*skerryv1.TransferLeg{
			{moveItem(playerParty("ann"), playerParty("bob"), 5, 66), moveCoins(playerParty("bob"), playerParty("ann"), 40), moveItem(playerParty("bob"), playerParty("ann"), 6, 3)},
			{moveItem(chestParty(0), playerParty("bob"), 7, 30), moveItem(playerParty("bob"), chestParty(0), 5, 60)},
			{moveCoins(playerParty("bob"), playerParty("ann"), 61)}, // it has 60
		} {
			got := <-f.create(fmt.Sprint("t", i), legs...)
			if status := got.response.GetCreateTransfer().GetTransfer().GetStatus(); i < 2 && (got.err != nil || status != skerryv1.TransferStatus_TRANSFER_DONE) || i == 2 && got.err == nil {
				t.Errorf("transfer %d: %v (%v)", i, got.response, got.err)
			}
		}
		f.settle()
		bob := f.must(playerKey("bob"), get()).GetGetPlayer().GetPlayer()
		if bob.GetProfile().GetCoins() != 60 || !maps.Equal(f.count(), before) {
			t.Errorf("bob has %v; in all %v, before %v", bob, f.count(), before)
		}
		f.stop()
	})
}

// A refusal of the other party brings back what was held, and is remembered.
func TestTransferReturned(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFair(t)
		f.player("ann", gift(5, 10))
		f.player("bob", gift(6, 36*64)) // full
		before := f.count()
		for range 2 { // a repeat is answered alike
			got := <-f.create("t", moveItem(playerParty("ann"), playerParty("bob"), 5, 10))
			made := got.response.GetCreateTransfer().GetTransfer()
			if got.err != nil || made.GetStatus() != skerryv1.TransferStatus_TRANSFER_RETURNED || made.GetError().GetCode() != "REFUSED" {
				t.Errorf("%v (%v)", made, got.err)
			}
			f.settle()
		}
		if !maps.Equal(f.count(), before) || f.status("t", "ann") != skerryv1.TransferStatus_TRANSFER_RETURNED {
			t.Errorf("%v, before %v", f.count(), before)
		}
		f.stop()
	})
}

// Goal: sessions are asked for at the start, of both parties, and a repeat needs none.
func TestTransferSessions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFair(t)
		f.player("ann")
		f.player("bob")
		sessions := map[string]string{}
		for _, id := range []string{"ann", "bob"} {
			sessions[id] = f.must(playerKey(id), openRequest("s1")).GetOpenPlayerSession().GetSession()
		}
		try := func(id, ann, bob string) error {
			from, to := playerParty("ann"), playerParty("bob")
			from.Session, to.Session = ann, bob
			answers := make(chan answer, 1)
			f.host.Do(&Call{
				Key: playerKey("ann"), Reply: func(r *skerryv1.Response, err error) { answers <- answer{r, err} },
				Request: &skerryv1.Request{Request: &skerryv1.Request_CreateTransfer{CreateTransfer: &skerryv1.CreateTransferRequest{
					Id: id, Legs: []*skerryv1.TransferLeg{moveCoins(from, to, 1)},
				}}},
			})
			return (<-answers).err
		}
		for _, c := range []struct {
			ann, bob string
			want     error
		}{
			{"", "", turn.ErrNoSession},
			{sessions["ann"], "", turn.ErrNoSession},
			{"", sessions["bob"], turn.ErrNoSession},
			{"x", sessions["bob"], turn.ErrSessionTaken},
			{sessions["ann"], "x", turn.ErrSessionTaken},
			{sessions["ann"], sessions["bob"], nil},
		} {
			if err := try("t", c.ann, c.bob); !errors.Is(err, c.want) {
				t.Errorf("with %q and %q: %v, want %v", c.ann, c.bob, err, c.want)
			}
		}
		if err := try("t", "", ""); err != nil {
			t.Errorf("a repeat without sessions: %v", err)
		}
		got := <-f.create("u", moveCoins(playerParty("ann"), playerParty("nobody"), 1))
		if !errors.Is(got.err, turn.ErrNotFound) {
			t.Errorf("to nobody: %v", got.err)
		}
		f.settle()
		f.stop()
	})
}

// Goal: a node that dies between any two steps, before or after the step is on disk, leaves journals that finish the transfer.
func TestTransferSurvivesDeathBetweenSteps(t *testing.T) {
	for name, legs := range map[string][]*skerryv1.TransferLeg{
		"done":     {moveItem(playerParty("ann"), playerParty("bob"), 5, 10), moveCoins(playerParty("bob"), playerParty("ann"), 7)},
		"refused":  {moveItem(playerParty("ann"), playerParty("bob"), 5, 10), moveItem(playerParty("bob"), playerParty("ann"), 99, 1)},
		"to chest": {moveItem(playerParty("ann"), chestParty(0), 5, 10), moveItem(chestParty(0), playerParty("ann"), 7, 4)},
	} {
		for step := 1; step <= 5; step++ {
			for _, applied := range []bool{false, true} {
				t.Run(fmt.Sprintf("%s/step %d/applied %v", name, step, applied), func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) {
						f := newFair(t)
						f.player("ann", gift(5, 10))
						f.player("bob")
						f.chests(1)
						before := f.count()
						f.kill.mu.Lock()
						f.kill.after, f.kill.applied, f.kill.dead = step, applied, make(chan struct{})
						dead := f.kill.dead
						f.kill.mu.Unlock()
						answers := f.create("t", legs...)
						select {
						case <-dead:
						case <-time.After(time.Minute):
							t.Fatal("the step never came")
						}
						f.restart()
						if got := <-answers; step <= 3 && !errors.Is(got.err, persistence.ErrOutcomeUnknown) {
							t.Errorf("who created it was told %v (%v)", got.response, got.err)
						}
						if got := f.count(); !maps.Equal(got, before) {
							t.Errorf("after the death there is %v, before %v", got, before)
						}
						f.settle()
						want := skerryv1.TransferStatus_TRANSFER_DONE
						switch {
						case step == 1 && !applied:
							want = skerryv1.TransferStatus_TRANSFER_STATUS_UNSPECIFIED
						case name == "refused":
							want = skerryv1.TransferStatus_TRANSFER_RETURNED
						}
						if got := f.status("t", "ann"); got != want || !maps.Equal(f.count(), before) {
							t.Errorf("it is %v, want %v; there is %v, before %v", got, want, f.count(), before)
						}
						f.stop()
					})
				})
			}
		}
	}
}

// Goal: the same with a network that delays, repeats and drops every message, and hosts that die at any time.
func TestTransfersUnderFire(t *testing.T) {
	seeds := 12
	if testing.Short() {
		seeds = 3
	}
	for seed := range uint64(seeds) { //nolint:gosec // a few
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { underFire(t, seed) })
		})
	}
}

func underFire(t *testing.T, seed uint64) {
	t.Helper()
	rng := rand.New(rand.NewPCG(seed, 0)) //nolint:gosec // a test's
	f := newFair(t)
	var parties []*skerryv1.TransferParty
	for i := range int32(6) {
		id := fmt.Sprint("p", i)
		f.player(id, gift(5, 60+i), gift(6, 20), gift(8, 1+64*int32(rng.IntN(30)))) //nolint:gosec // small
		parties = append(parties, playerParty(id))
	}
	f.chests(2)
	parties = append(parties, chestParty(0), chestParty(1))
	before := f.count()
	f.net.mu.Lock()
	f.net.rng = rand.New(rand.NewPCG(seed, 1)) //nolint:gosec // a test's
	f.net.mu.Unlock()

	var answers []<-chan answer
	for i := range 60 {
		perm := rng.Perm(6)
		a, b := parties[perm[0]], parties[perm[1]]
		chest := rng.IntN(3) == 0
		if chest {
			b = parties[6+rng.IntN(2)]
		}
		var legs []*skerryv1.TransferLeg
		for range 1 + rng.IntN(3) {
			from, to := a, b
			if rng.IntN(2) == 0 {
				from, to = b, a
			}
			if !chest && rng.IntN(2) == 0 {
				legs = append(legs, moveCoins(from, to, 1+rng.Int64N(60)))
			} else {
				legs = append(legs, moveItem(from, to, int32(5+rng.IntN(4)), int32(1+rng.IntN(40)))) //nolint:gosec // small
			}
		}
		id := fmt.Sprint("t", i)
		answers = append(answers, f.create(id, legs...))
		if rng.IntN(4) == 0 {
			answers = append(answers, f.create(id, legs...))
		}
		time.Sleep(time.Duration(rng.IntN(400)) * time.Millisecond)
		if rng.IntN(8) == 0 {
			f.restart()
			if got := f.count(); !maps.Equal(got, before) {
				t.Fatalf("after transfer %d there is %v, before %v", i, got, before)
			}
		}
	}
	f.net.mu.Lock()
	f.net.rng = nil
	counts := f.net.counts
	f.net.mu.Unlock()
	f.settle()
	f.net.late.Wait() // what comes now, comes when all is over
	f.settle()
	synctest.Wait()
	if got := f.count(); !maps.Equal(got, before) {
		t.Errorf("there is %v, before %v", got, before)
	}
	ended := map[string]int{}
	for _, answers := range answers {
		select {
		case got := <-answers:
			ended[fmt.Sprint(got.response.GetCreateTransfer().GetTransfer().GetStatus(), errors.Is(got.err, persistence.ErrOutcomeUnknown))]++
		default:
			t.Error("somebody waits for ever")
		}
	}
	t.Logf("answers %v, fates %v", ended, counts)
	f.stop()
}
