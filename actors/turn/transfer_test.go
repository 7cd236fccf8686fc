// Goal: whatever the parties do, and however often and late each step of a transfer comes, nothing is lost and nothing is
// there twice. Method: the parties alone, as pure functions; the steps are asked for at random, and again at random.
package turn_test

import (
	"errors"
	"fmt"
	"maps"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/structpb"
	"pgregory.net/rapid"

	"github.com/skerry-dev/skerry/actors/items"
	"github.com/skerry-dev/skerry/actors/player"
	"github.com/skerry-dev/skerry/actors/transfer"
	"github.com/skerry-dev/skerry/actors/turn"
	"github.com/skerry-dev/skerry/actors/world"
	"github.com/skerry-dev/skerry/codec"
	"github.com/skerry-dev/skerry/codec/skerryv1"
	"github.com/skerry-dev/skerry/codec/storev1"
	"github.com/skerry-dev/skerry/persistence"
)

// market is some players, and a chest in a world.
type market struct {
	rapid.TB
	now     time.Time
	rules   *player.Rules
	chests  *world.Rules
	states  map[persistence.Key]*storev1.Entity
	marks   map[persistence.Key]bool
	chunk   *world.Chunk
	sent    []sentStep // all steps that were ever asked for
	moves   []*move
	ids     int
	total   map[string]int64 // what there is
	refused int
}

// sentStep is a step on its way to a party.
type sentStep struct {
	to      persistence.Key
	request *skerryv1.CreateTransferRequest
	step    *storev1.TransferStep
}

// move is a transfer that was held.
type move struct {
	request  *skerryv1.CreateTransferRequest
	plan     *transfer.Plan
	hold     *storev1.Hold
	received *storev1.Received
	ended    skerryv1.TransferStatus
	closed   bool
}

func marketKey(kind persistence.Kind, id string) persistence.Key {
	return persistence.Key{Space: "main", Kind: kind, ID: id}
}

func newMarket(t rapid.TB) *market {
	m := &market{
		TB: t, now: day, states: map[persistence.Key]*storev1.Entity{}, marks: map[persistence.Key]bool{}, total: map[string]int64{},
		rules:  &player.Rules{HotbarSlots: 2, InventorySlots: 3, MaxStack: 4, GreatestBalance: 300},
		chests: &world.Rules{ChestSlots: 4, Stacks: items.Limits{MaxStack: 4}},
	}
	for _, id := range []string{"ann", "bob", "cid"} {
		m.must(marketKey(persistence.KindPlayer, id), &skerryv1.Request{Request: &skerryv1.Request_OpenPlayerSession{
			OpenPlayerSession: &skerryv1.OpenPlayerSessionRequest{Player: id, Server: "s1"},
		}})
		m.total["COINS"] += 100
		m.total["GEMS"] += 10
	}
	w := marketKey(persistence.KindWorld, "w")
	m.must(w, &skerryv1.Request{Request: &skerryv1.Request_OpenWorldSession{
		OpenWorldSession: &skerryv1.OpenWorldSessionRequest{World: "w", Server: "s1", Create: &skerryv1.Create{}},
	}})
	m.chunk = world.NewChunk(m.states[w].GetWorld())
	m.must(w, &skerryv1.Request{Request: &skerryv1.Request_ExecuteWorld{ExecuteWorld: &skerryv1.ExecuteWorldRequest{
		World: "w", Receipt: "r", Commands: []*skerryv1.WorldCommand{{Command: &skerryv1.WorldCommand_PlaceChest{
			PlaceChest: &skerryv1.PlaceChest{X: 1, Y: 2, Z: 3},
		}}},
	}}})
	return m
}

// Chunk implements world.Parts.
func (m *market) Chunk(world.Coord) *world.Chunk { return m.chunk }

// do is one turn of a party; its entry goes through the bytes of the journal.
func (m *market) do(key persistence.Key, req *skerryv1.Request, step *storev1.TransferStep) turn.Result {
	m.Helper()
	state := m.states[key]
	if state == nil {
		state = &storev1.Entity{}
		m.states[key] = state
	}
	before := state.CloneVT()
	result := turn.Decide(state, key, req, turn.Env{
		Now: m.now, Token: "token", Admin: true, Seq: persistence.Seq(state.GetSeq()), Rules: m.rules, WorldRules: m.chests, Parts: m, Step: step,
		Describe: func(err error) *skerryv1.Error { return &skerryv1.Error{Code: "REFUSED", Message: err.Error()} },
	})
	if !before.EqualVT(state) {
		m.Fatalf("deciding changed %s", key)
	}
	if result.Entry == nil {
		return result
	}
	data, err := codec.EncodeEntry(result.Entry)
	if err != nil {
		m.Fatal(err)
	}
	entry, err := codec.DecodeEntry(data)
	if err != nil {
		m.Fatal(err)
	}
	if err := turn.Evolve(state, persistence.Seq(state.GetSeq()+1), entry); err != nil {
		m.Fatal(err)
	}
	for _, event := range entry.GetWorldEvents() {
		if _, ofChunk := world.ChunkOf(event); ofChunk {
			if err := world.EvolveChunk(m.chunk, event); err != nil {
				m.Fatal(err)
			}
		}
	}
	for _, mark := range result.Marks {
		if mark.Name == transfer.OpenMark {
			m.marks[key] = mark.Value != nil
		}
	}
	return result
}

func (m *market) must(key persistence.Key, req *skerryv1.Request) {
	m.Helper()
	if result := m.do(key, req, nil); result.Err != nil {
		m.Fatalf("%v of %s: %v", req, key, result.Err)
	}
}

// ask delivers a step, which stays to be delivered again.
func (m *market) ask(to persistence.Key, request *skerryv1.CreateTransferRequest, step *storev1.TransferStep) turn.Result {
	m.Helper()
	m.sent = append(m.sent, sentStep{to, request.CloneVT(), step.CloneVT()})
	return m.do(to, &skerryv1.Request{Request: &skerryv1.Request_CreateTransfer{CreateTransfer: request}}, step)
}

// begin asks for a transfer, and reports whether it is held.
func (m *market) begin(request *skerryv1.CreateTransferRequest) *move {
	m.Helper()
	plan, err := transfer.Parse("main", request)
	if err != nil {
		m.Fatal(err)
	}
	result := m.ask(plan.Holder.Key, request, &storev1.TransferStep{})
	if result.Err != nil {
		if result.Entry != nil {
			m.Fatalf("a refused first step has an entry: %v", result.Entry)
		}
		m.refused++
		return nil
	}
	made := &move{request: plan.Request, plan: plan, hold: result.Answer.GetHolds()[0]}
	m.moves = append(m.moves, made)
	return made
}

// goOn does the next step of a transfer; false when there is none.
func (m *market) goOn(of *move) bool {
	m.Helper()
	holder, other := of.plan.Holder.Key, of.plan.Other.Key
	switch {
	case of.received == nil:
		result := m.ask(other, of.request, &storev1.TransferStep{Kind: storev1.TransferStepKind_RECEIVE, Hold: of.hold})
		if result.Err != nil {
			m.Fatalf("receive: %v", result.Err)
		}
		of.received = result.Answer.GetReceived()
	case of.ended == 0:
		result := m.ask(holder, of.request, &storev1.TransferStep{Kind: storev1.TransferStepKind_END, Hold: of.hold, Received: of.received})
		if result.Err != nil {
			m.Fatalf("end: %v", result.Err)
		}
		of.ended = result.Response.GetCreateTransfer().GetTransfer().GetStatus()
		if returned := of.received.GetRefused() != nil; (of.ended == skerryv1.TransferStatus_TRANSFER_RETURNED) != returned {
			m.Fatalf("ended as %v, the other party said %v", of.ended, of.received)
		}
	case !of.closed:
		if result := m.ask(other, of.request, &storev1.TransferStep{Kind: storev1.TransferStepKind_CLOSE, Hold: of.hold}); result.Err != nil {
			m.Fatalf("close: %v", result.Err)
		}
		of.closed = true
	default:
		if result := m.ask(holder, of.request, &storev1.TransferStep{Kind: storev1.TransferStepKind_DROP, Hold: of.hold}); result.Err != nil {
			m.Fatalf("drop: %v", result.Err)
		}
		return false
	}
	return true
}

// repeat delivers a step again. Nothing may come of it; what it is answered does not matter, but for the second one's.
func (m *market) repeat(s sentStep) {
	m.Helper()
	result := m.do(s.to, &skerryv1.Request{Request: &skerryv1.Request_CreateTransfer{CreateTransfer: s.request}}, s.step)
	switch {
	case result.Err != nil:
		return
	case s.step.GetKind() == storev1.TransferStepKind_TRANSFER_STEP_KIND_UNSPECIFIED:
		m.adopt(s.request, result.Answer.GetHolds())
		return
	case s.step.GetKind() != storev1.TransferStepKind_RECEIVE:
		return
	}
	for _, of := range m.moves {
		if of.hold.GetSeq() == s.step.GetHold().GetSeq() && of.plan.Holder.Key == holderOf(m, s.request) && of.ended == 0 && of.received != nil {
			got := result.Answer.GetReceived()
			if (got.GetRefused() == nil) != (of.received.GetRefused() == nil) {
				m.Fatalf("the second step was answered %v, then %v", of.received, got)
			}
		}
	}
}

// adopt notes what a first step has held that was refused before, or was forgotten.
func (m *market) adopt(request *skerryv1.CreateTransferRequest, holds []*storev1.Hold) {
	for _, hold := range holds {
		known := false
		for _, of := range m.moves {
			known = known || of.hold.GetSeq() == hold.GetSeq() && of.plan.Holder.Key == holderOf(m, request)
		}
		if plan, err := transfer.Parse("main", request); !known && err == nil {
			m.moves = append(m.moves, &move{request: plan.Request, plan: plan, hold: hold})
		}
	}
}

func holderOf(m *market, request *skerryv1.CreateTransferRequest) persistence.Key {
	key, ok := transfer.HolderOf("main", request)
	if !ok {
		m.Fatalf("%v is not well formed", request)
	}
	return key
}

// kind names what a stack is of.
func kind(stack *skerryv1.ItemStack) string {
	return fmt.Sprintf("%d/%d/%v", stack.GetItemId(), stack.GetMaxStack(), stack.GetMetadata().GetFields()["k"].GetStringValue())
}

// count counts everything, wherever it is: what is held counts unless the other party has it already; then what that gives back
// counts, until it has arrived.
func (m *market) count() map[string]int64 {
	sum := map[string]int64{}
	stacks := func(all []*skerryv1.ItemStack) {
		for _, stack := range all {
			if !items.IsEmpty(stack) {
				sum[kind(stack)] += int64(stack.GetCount())
			}
		}
	}
	legs := func(all []*storev1.HeldLeg) {
		for _, leg := range all {
			switch {
			case leg.GetIncoming():
			case leg.GetStack() != nil:
				sum[kind(leg.GetStack())] += int64(leg.GetStack().GetCount())
			default:
				sum[leg.GetCurrency().String()] += leg.GetAmount()
			}
		}
	}
	for _, chest := range m.chunk.Chests {
		stacks(chest.GetSlots())
	}
	for key, state := range m.states {
		p := state.GetPlayer()
		if p == nil {
			continue
		}
		stacks(p.GetInventory().GetHotbar())
		stacks(p.GetInventory().GetInventory())
		sum["COINS"] += p.GetProfile().GetCoins()
		sum["GEMS"] += p.GetProfile().GetGems()
		for _, hold := range state.GetHolds() {
			if hold.GetStatus() != skerryv1.TransferStatus_TRANSFER_OPEN {
				continue
			}
			if received := m.answered(key, hold); received != nil && received.GetRefused() == nil {
				legs(received.GetLegs())
			} else {
				legs(hold.GetLegs())
			}
		}
	}
	return sum
}

func (m *market) answered(holder persistence.Key, hold *storev1.Hold) *storev1.Received {
	plan, err := transfer.Parse("main", hold.GetRequest())
	if err != nil {
		m.Fatal(err)
	}
	book := transfer.Book{Received: &m.chunk.Received}
	if plan.Other.Chest == nil {
		book = transfer.BookOf(m.states[plan.Other.Key])
	}
	received, _ := book.Answered(holder.ID, hold)
	return received
}

func (m *market) check() {
	m.Helper()
	for key, n := range m.total {
		if n == 0 {
			delete(m.total, key)
		}
	}
	if got := m.count(); !maps.Equal(got, m.total) {
		m.Fatalf("there is\n%v, want\n%v", got, m.total)
	}
	for key, state := range m.states {
		if p := state.GetPlayer(); p != nil {
			if err := player.Check(m.rules, p); err != nil {
				m.Fatalf("%s: %v", key, err)
			}
			for _, currency := range []skerryv1.Currency{skerryv1.Currency_COINS, skerryv1.Currency_GEMS} {
				has := map[skerryv1.Currency]int64{skerryv1.Currency_COINS: p.GetProfile().GetCoins(), skerryv1.Currency_GEMS: p.GetProfile().GetGems()}[currency]
				if held := transfer.ReservedBalance(state.GetHolds(), currency); has+held > 300 {
					m.Fatalf("%s has %d %v, and %d may come", key, has, currency, held)
				}
			}
			if m.marks[key] != (len(state.GetHolds()) > 0) {
				m.Fatalf("%s: marked is %v, holds %v", key, m.marks[key], state.GetHolds())
			}
		}
	}
}

// drawTransfer draws one that is well formed.
func (m *market) drawTransfer(t *rapid.T) *skerryv1.CreateTransferRequest {
	m.ids++
	parties := []*skerryv1.TransferParty{}
	for _, id := range []string{"ann", "bob", "cid"} {
		parties = append(parties, &skerryv1.TransferParty{Party: &skerryv1.TransferParty_Player{Player: id}})
	}
	parties = rapid.Permutation(parties).Draw(t, "players")
	withChest := rapid.IntRange(0, 2).Draw(t, "chest") == 0
	if withChest {
		parties[1] = &skerryv1.TransferParty{Party: &skerryv1.TransferParty_Chest{Chest: &skerryv1.ChestRef{World: "w", X: 1, Y: 2, Z: 3}}}
	}
	request := &skerryv1.CreateTransferRequest{Id: fmt.Sprint("t", m.ids)}
	for range rapid.IntRange(1, 3).Draw(t, "legs") {
		leg := &skerryv1.TransferLeg{From: parties[0], To: parties[1]}
		if rapid.Bool().Draw(t, "other way") {
			leg.From, leg.To = leg.To, leg.From
		}
		if !withChest && rapid.IntRange(0, 2).Draw(t, "currency") == 0 {
			leg.What = &skerryv1.TransferLeg_Currency{Currency: &skerryv1.TransferCurrency{
				Currency: skerryv1.Currency(rapid.Int32Range(1, 2).Draw(t, "which")), Amount: rapid.Int64Range(1, 120).Draw(t, "amount"),
			}}
		} else {
			leg.What = &skerryv1.TransferLeg_Item{Item: drawItem(t, leg.GetFrom().GetChest() != nil)}
		}
		request.Legs = append(request.Legs, leg)
	}
	return request
}

func drawItem(t *rapid.T, chest bool) *skerryv1.TransferItem {
	if rapid.Bool().Draw(t, "wherever") {
		return &skerryv1.TransferItem{ItemId: rapid.Int32Range(1, 3).Draw(t, "item"), Count: rapid.Int32Range(1, 6).Draw(t, "count")}
	}
	index := rapid.Int32Range(0, 4).Draw(t, "slot")
	if chest {
		return &skerryv1.TransferItem{ChestSlot: &index}
	}
	return &skerryv1.TransferItem{
		Slot:  &skerryv1.SlotRef{Container: skerryv1.Container(rapid.Int32Range(1, 2).Draw(t, "container")), Index: index},
		Count: rapid.Int32Range(0, 2).Draw(t, "count"),
	}
}

// command lets a player do something, also what transfers stand in the way of.
func (m *market) command(t *rapid.T) {
	id := rapid.SampledFrom([]string{"ann", "bob", "cid"}).Draw(t, "player")
	key := marketKey(persistence.KindPlayer, id)
	item, count := rapid.Int32Range(1, 3).Draw(t, "item"), rapid.Int32Range(1, 6).Draw(t, "count")
	ref := func(name string) *skerryv1.SlotRef {
		return &skerryv1.SlotRef{Container: skerryv1.Container(rapid.Int32Range(1, 2).Draw(t, name)), Index: rapid.Int32Range(0, 2).Draw(t, "index")}
	}
	before := m.count()
	cmd := &skerryv1.PlayerCommand{}
	switch rapid.IntRange(0, 6).Draw(t, "command") {
	case 0, 1:
		give := &skerryv1.Give{ItemId: item, Count: count}
		if rapid.Bool().Draw(t, "metadata") {
			give.Metadata = &structpb.Struct{Fields: map[string]*structpb.Value{"k": structpb.NewStringValue("v")}}
		}
		cmd.Command = &skerryv1.PlayerCommand_Give{Give: give}
	case 2:
		cmd.Command = &skerryv1.PlayerCommand_Take{Take: &skerryv1.Take{ItemId: item, Count: count}}
	case 3:
		cmd.Command = &skerryv1.PlayerCommand_Move{Move: &skerryv1.Move{From: ref("from"), To: ref("to")}}
	case 4:
		cmd.Command = &skerryv1.PlayerCommand_Swap{Swap: &skerryv1.Swap{A: ref("a"), B: ref("b")}}
	case 5:
		cmd.Command = &skerryv1.PlayerCommand_Earn{Earn: &skerryv1.Earn{Currency: skerryv1.Currency_COINS, Amount: int64(count) * 20}}
	case 6:
		cmd.Command = &skerryv1.PlayerCommand_SetSlot{SetSlot: &skerryv1.SetSlot{Slot: ref("slot"), Stack: &skerryv1.ItemStack{ItemId: item, Count: 1}}}
	}
	m.ids++
	m.do(key, &skerryv1.Request{Request: &skerryv1.Request_ExecutePlayer{ExecutePlayer: &skerryv1.ExecutePlayerRequest{
		Player: id, Receipt: fmt.Sprint("r", m.ids), Commands: []*skerryv1.PlayerCommand{cmd},
	}}}, nil)
	after := m.count()
	for key := range maps.All(after) { // what the command itself made or took; what is held cannot be touched by it
		m.total[key] += after[key] - before[key]
	}
	for key := range before {
		if _, still := after[key]; !still {
			m.total[key] -= before[key]
		}
	}
}

func TestTransfersLoseAndMakeNothing(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		m := newMarket(rt)
		rt.Repeat(map[string]func(*rapid.T){
			"command": m.command,
			"begin":   func(rt *rapid.T) { m.begin(m.drawTransfer(rt)) },
			"go on": func(rt *rapid.T) {
				if len(m.moves) == 0 {
					rt.Skip("nothing is held")
				}
				m.goOn(rapid.SampledFrom(m.moves).Draw(rt, "transfer"))
			},
			"again": func(rt *rapid.T) {
				if len(m.sent) == 0 {
					rt.Skip("nothing was sent")
				}
				m.repeat(rapid.SampledFrom(m.sent).Draw(rt, "step"))
			},
			"time passes": func(*rapid.T) { m.now = m.now.Add(time.Millisecond) },
			"":            func(*rapid.T) { m.check() },
		})
		for _, of := range m.moves { // each ends
			for m.goOn(of) {
			}
		}
		m.check()
		for key, state := range m.states {
			if len(state.GetHolds()) > 0 || m.marks[key] {
				rt.Fatalf("%s still holds %v", key, state.GetHolds())
			}
		}
	})
}

// coinsTo is a transfer of one coin.
func coinsTo(id, from, to string) *skerryv1.CreateTransferRequest {
	return &skerryv1.CreateTransferRequest{Id: id, Legs: []*skerryv1.TransferLeg{{
		From: &skerryv1.TransferParty{Party: &skerryv1.TransferParty_Player{Player: from}},
		To:   &skerryv1.TransferParty{Party: &skerryv1.TransferParty_Player{Player: to}},
		What: &skerryv1.TransferLeg_Currency{Currency: &skerryv1.TransferCurrency{Currency: skerryv1.Currency_COINS, Amount: 1}},
	}}}
}

// Goal: a step that comes so late that nobody remembers its transfer does nothing, and what is remembered is bounded.
func TestLateStepsDoNothing(t *testing.T) {
	m := newMarket(t)
	for i := range 3 * transfer.MaxEnded {
		from, to := "ann", "bob"
		if i%2 == 1 {
			from, to = to, from
		}
		for of := m.begin(coinsTo(fmt.Sprint("t", i), from, to)); m.goOn(of); {
		}
		m.now = m.now.Add(time.Millisecond)
	}
	m.check()
	for _, s := range m.sent {
		if s.step.GetKind() != storev1.TransferStepKind_TRANSFER_STEP_KIND_UNSPECIFIED { // that is who creates a transfer, who has its answer
			m.repeat(s)
			m.check()
		}
	}
	for key, state := range m.states {
		if len(state.GetEndedTransfers()) > transfer.MaxEnded || len(state.GetReceived()) > transfer.MaxEnded+1 || len(state.GetHolds()) > 0 {
			t.Errorf("%s remembers %d ended, %d received, %d held", key, len(state.GetEndedTransfers()), len(state.GetReceived()), len(state.GetHolds()))
		}
	}
}

// Goal: an id is one transfer. Asked for again it answers what became of it, with other legs it is refused.
func TestTransferIsKnownByItsID(t *testing.T) {
	m := newMarket(t)
	of := m.begin(coinsTo("t1", "ann", "bob"))
	ann := marketKey(persistence.KindPlayer, "ann")
	ask := func(request *skerryv1.CreateTransferRequest) turn.Result {
		return m.ask(ann, request, &storev1.TransferStep{})
	}
	get := func(id string) (skerryv1.TransferStatus, error) {
		result := m.do(marketKey(persistence.KindPlayer, id), &skerryv1.Request{Request: &skerryv1.Request_GetTransfer{
			GetTransfer: &skerryv1.GetTransferRequest{Id: "t1", Party: &skerryv1.TransferParty{Party: &skerryv1.TransferParty_Player{Player: id}}},
		}}, nil)
		return result.Response.GetGetTransfer().GetTransfer().GetStatus(), result.Err
	}
	for again := true; again; again = m.goOn(of) {
		status := ask(coinsTo("t1", "ann", "bob")).Response.GetCreateTransfer().GetTransfer().GetStatus()
		want := skerryv1.TransferStatus_TRANSFER_OPEN
		if of.ended != 0 {
			want = of.ended
		}
		if got, err := get("ann"); status != want || got != want || err != nil {
			t.Errorf("create says %v, get %v (%v), want %v", status, got, err, want)
		}
		other := coinsTo("t1", "ann", "bob")
		other.Legs[0].GetCurrency().Amount = 2
		if err := ask(other).Err; !errors.Is(err, turn.ErrIDReused) {
			t.Errorf("other legs: %v, want ErrIDReused", err)
		}
	}
	for id, want := range map[string]error{"ann": nil, "bob": nil, "cid": turn.ErrNotFound} {
		if status, err := get(id); !errors.Is(err, want) || err == nil && status != skerryv1.TransferStatus_TRANSFER_DONE {
			t.Errorf("%s says %v (%v), want %v", id, status, err, want)
		}
	}
	if status := ask(coinsTo("t1", "ann", "bob")).Response.GetCreateTransfer().GetTransfer().GetStatus(); status != skerryv1.TransferStatus_TRANSFER_DONE {
		t.Errorf("after all it is %v", status)
	}
	m.check()
}
