// Goal: what waits for tokens is answered once, and soon, whatever happens meanwhile; and no token is lost or found. Method: hosts on a
// store in memory, mostly in fake time, in the moments in between.
package actors

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/skerry-dev/skerry/codec/peerv1"
	"github.com/skerry-dev/skerry/codec/skerryv1"
	"github.com/skerry-dev/skerry/persistence"
	"github.com/skerry-dev/skerry/persistence/budget"
)

// An opening that gets its token at once, and is refused in the same moment because its partition leaves, is answered once, and its
// line goes on once.
func TestOpeningThatIsGrantedAndRefusedAtOnce(t *testing.T) {
	w := watchServers(t, newMarkStore(t), Options{})
	w.registerAs("s1", "custom,get=60,set=60,burst=1000", 0)
	s, key := w.servers, playerKey("p1")
	ended := make(chan struct{})
	var leaving sync.WaitGroup
	leaving.Go(func() {
		for {
			select {
			case <-ended:
				return
			default:
				w.budgets.left(w.partitionOf(key))
			}
		}
	})
	defer leaving.Wait()
	defer close(ended)
	refusedThen, passed := 0, 0
	for range 300_000 {
		if refusedThen > 10 && passed > 10 {
			break
		}
		replies := make(chan error, 2)
		call := &Call{Key: key, Request: openRequest("s1"), Reply: func(_ *skerryv1.Response, err error) { replies <- err }}
		if !s.beginLine(key) {
			t.Fatal("the line of the last one did not end")
		}
		switch s.pay(call, serverKey("main", "s1"), "custom,get=60,set=60,burst=1000", true) {
		case openingPasses:
			passed++
			w.unspent(call)
			s.advance(key)
		case openingRefused:
			s.advance(key)
		case openingWaits:
			refusedThen++
			if err := <-replies; !errors.Is(err, persistence.ErrNotOwner) {
				t.Fatal(err)
			}
			for s.lines.Load() > 0 { // it goes on after the reply
				runtime.Gosched()
			}
		}
		if len(replies) > 0 {
			t.Fatal("answered twice")
		}
	}
	if n := s.lines.Load(); n != 0 {
		t.Errorf("%d lines are left", n)
	}
	if is := w.get("s1").GetBudgets()["get"]; is.GetUsed() != 0 {
		t.Errorf("%d passed, %d were refused, and tokens are lost: %v", passed, refusedThen, is)
	}
	if refusedThen == 0 || passed == 0 {
		t.Errorf("%d passed, %d were refused", passed, refusedThen)
	}
}

// owned returns a player of a node, whose name begins with prefix.
func (n *nodes) owned(m *member, prefix string) string {
	for n.ownerOf(playerKey(prefix)) != m {
		prefix += "x"
	}
	return prefix
}

// apart are the node that keeps the account of s1, and another one.
func (n *nodes) apart() (keeper, other *member) {
	keeper = n.ownerOf(serverKey("main", "s1"))
	for _, m := range n.all {
		if m != keeper {
			other = m
		}
	}
	return keeper, other
}

// A node that stops does not wait for tokens of another node's account: neither for an opening nor for a save that was asked for.
func TestShutdownDoesNotWaitForTokensOfOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNodes(t, 2)
		n.must(serverKey("main", "s1"), registerRequest("s1", "custom,get=6,set=0,burst=1", 0))
		_, other := n.apart()
		player := n.owned(other, "p1")
		token := n.open(player, "s1")
		if n.server("s1").GetBudgets()["set"].GetAvailable() != 1 {
			t.Fatal("no token to be taken away")
		}
		first := n.do(playerKey(player), saveRequest(token))
		if got := <-first; got.err != nil {
			t.Fatal(got.err)
		}
		if err := n.earn(player, token, 1); err != nil {
			t.Fatal(err)
		}
		call := func(player string, request *skerryv1.Request) <-chan answer {
			answers := make(chan answer, 2)
			other.host.Do(&Call{Key: playerKey(player), Request: request, Reply: func(r *skerryv1.Response, err error) { answers <- answer{r, err} }})
			return answers
		}
		saving, opening := call(player, saveRequest(token)), call(n.owned(other, "cold"), openRequest("s1"))
		time.Sleep(time.Second)
		pendingStill(t, saving, "there is no token")
		pendingStill(t, opening, "there is no token")
		began := time.Now()
		if report, err := other.host.Shutdown(t.Context()); err != nil || report.Failed != 0 {
			t.Errorf("%+v, %v", report, err)
		}
		if took := time.Since(began); took > time.Second {
			t.Errorf("it took %s", took)
		}
		for _, one := range []<-chan answer{saving, opening} {
			if _, err := answered(t, one); !errors.Is(err, ErrDraining) {
				t.Errorf("answered %v", err)
			}
		}
		if is := n.server("s1").GetBudgets(); is["get"].GetQueued() != 0 || is["set"].GetQueued() != 0 {
			t.Errorf("places are still taken: %v", is)
		}
	})
}

// What a handover refuses gives its place in the queue up, for whoever asks at the next owner.
func TestHandoverFreesPlacesInTheQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNodes(t, 2)
		n.must(serverKey("main", "s1"), registerRequest("s1", "custom,get=6,set=1000,burst=1,queue=1", 0))
		keeper, other := n.apart()
		n.open(n.owned(keeper, "first"), "s1")
		player := n.owned(keeper, "cold")
		opening := n.do(playerKey(player), openRequest("s1"))
		time.Sleep(time.Second)
		pendingStill(t, opening, "there is no token")
		n.move(persistence.PartitionOf(playerKey(player), nodePartitions), other)
		if got := <-opening; got.err != nil {
			t.Errorf("at the next owner: %v", got.err)
		}
		if is := n.server("s1").GetBudgets()["get"]; is.GetUsed() != 2 || is.GetQueued() != 0 {
			t.Errorf("the account says %v", is)
		}
	})
}

// Tokens that come for saves which are no more wanted go back at once.
func TestTokensOfNobodyGoBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNodes(t, 2)
		key := serverKey("main", "s1")
		n.must(key, registerRequest("s1", "custom,get=6,set=0,burst=50", 0))
		keeper, other := n.apart()
		granted, err := keeper.host.Lease(t.Context(), key, &peerv1.Lease{Space: "main", Server: "s1", Class: uint32(budget.Set), Tokens: 30, Importance: uint32(budget.Leave)})
		if err != nil || granted.GetGranted() != 30 {
			t.Fatal(granted, err)
		}
		b := other.host.budgets
		b.mu.Lock()
		p := b.purseLocked(key)
		p.asking = true
		b.mu.Unlock()
		b.fetched(p, granted, nil) // the jobs ended meanwhile
		time.Sleep(100 * time.Millisecond)
		if is := n.server("s1").GetBudgets()["set"]; is.GetUsed() != 0 || is.GetAvailable() != 50 {
			t.Errorf("the account says %v", is)
		}
	})
}

// A server that had no budget and registers again with one has one at every node, also where no session of it is opened.
func TestABudgetThatComesLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		saves := &charges{}
		n := newNodesWith(t, 3, Options{Events: saves.events(since()), ServerTimeout: time.Hour, AutosaveInterval: time.Minute, PassivateAfter: time.Hour})
		key := serverKey("main", "s1")
		n.must(key, registerRequest("s1", "", 0))
		_, other := n.apart()
		n.open(n.owned(other, "p1"), "s1") // now this node knows
		time.Sleep(2 * time.Minute)
		n.must(key, registerRequest("s1", "custom,get=1000,set=60,burst=50", 0))
		time.Sleep(2 * time.Minute)
		from := n.all[0]
		for _, m := range n.all {
			if m != other && m != n.ownerOf(key) {
				from = m
			}
		}
		player := n.owned(from, "p2")
		token := n.open(player, "s1")
		n.move(persistence.PartitionOf(playerKey(player), nodePartitions), other)
		before := len(saves.of(budget.Set))
		if err := n.earn(player, token, 1); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Minute)
		if last, saved := n.store.head(playerKey(player)); last != saved {
			t.Fatalf("saved at %d of %d", saved, last)
		}
		if got := len(saves.of(budget.Set)) - before; got != 1 {
			t.Errorf("%d saves were charged", got)
		}
	})
}

// A server without a budget is saved as before when nobody can be asked whether it still has none.
func TestNoBudgetAndNobodyToAsk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNodesWith(t, 2, Options{ServerTimeout: time.Hour, AutosaveInterval: time.Minute, PassivateAfter: time.Hour})
		n.must(serverKey("main", "s1"), registerRequest("s1", "", 0))
		_, other := n.apart()
		player := n.owned(other, "p1")
		token := n.open(player, "s1")
		time.Sleep(2 * time.Minute)
		n.mu.Lock()
		n.cut = true
		n.mu.Unlock()
		for command := range int64(3) {
			if err := n.earn(player, token, command+1); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Minute + 2*time.Second)
			if last, saved := n.store.head(playerKey(player)); last != saved {
				t.Errorf("saved at %d of %d", saved, last)
			}
		}
	})
}

// An account that is gone while its server is known is made again: empty, but not never.
func TestAccountThatIsGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := watchServers(t, newMarkStore(t), Options{})
		w.registerAs("s1", "custom,get=60,set=60,burst=10", 0)
		w.budgets.drop([]serverName{{"main", "s1"}}, persistence.ErrNotOwner) // late, after it was registered again
		opening := send(w.Host, "p1", openRequest("s1"))
		time.Sleep(2 * time.Second)
		if _, err := answered(t, opening); err != nil {
			t.Error(err)
		}
	})
}

// Nobody begins to wait at a node that stops: nobody would answer.
func TestNoQueueAtANodeThatStops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := watchServers(t, newMarkStore(t), Options{})
		w.registerAs("s1", "custom,get=0,set=60,burst=0", 0)
		w.Drain()
		r := &lease{server: serverKey("main", "s1"), class: budget.Get, tokens: 1, queue: true, done: func(leased, error) {}}
		if _, later, err := w.budgets.lease(r); later || !errors.Is(err, ErrDraining) {
			t.Errorf("later: %v, %v", later, err)
		}
	})
}

// A world whose changes fill its memory is saved without a token: they would fill the node's.
func TestWorldThatFillsItsMemoryWithoutTokens(t *testing.T) {
	saves := &charges{}
	w := watchServers(t, newMarkStore(t), Options{WorldMemoryBytes: 50_000, Events: saves.events(since()), ServerTimeout: time.Hour})
	w.registerAs("s1", "custom,get=1000,set=0,burst=0", 0)
	token, err := w.openWorld("w1", "s1", skerryv1.IfTaken_IF_TAKEN_UNSPECIFIED)
	if err != nil {
		t.Fatal(err)
	}
	blocks := make([]int32, 0, 4*256)
	most := int64(0)
	for i := range int32(400) {
		blocks = blocks[:0]
		for j := range int32(256) {
			blocks = append(blocks, i*16+j%16, j/16, 3, 1+j%7)
		}
		edits := &skerryv1.ExecuteWorldRequest{
			World: "w1", Session: token, CommandId: int64(i + 1), Durability: durable,
			Commands: []*skerryv1.WorldCommand{{Command: &skerryv1.WorldCommand_SetBlocks{SetBlocks: &skerryv1.SetBlocks{Blocks: blocks}}}},
		}
		if _, err = w.world("w1", &skerryv1.Request{Request: &skerryv1.Request_ExecuteWorld{ExecuteWorld: edits}}); err != nil {
			t.Fatal(err)
		}
		most = max(most, w.Stats().HeldBytes)
	}
	if most > 150_000 {
		t.Errorf("%d bytes were held", most)
	}
	if n := len(saves.of(budget.Set)); n != 0 {
		t.Errorf("%d were charged", n)
	}
}

// Who is gone before the profile is even known does not wait in the queue.
func TestLeaseOfACallerWhoIsGoneBeforeTheProfileIsKnown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newMarkStore(t)
		w := watchServers(t, s, Options{})
		w.registerAs("s1", "custom,get=0,set=60,burst=0", 0)
		w.stop()
		release := make(chan struct{})
		s.set(func() {
			s.loadFault = func(persistence.Key) error { <-release; return nil }
		})
		w = watchServers(t, s, Options{})
		ctx, cancel := context.WithCancel(t.Context())
		began := time.Now()
		ended := make(chan error)
		go func() {
			_, err := w.Lease(ctx, serverKey("main", "s1"), &peerv1.Lease{Tokens: 1, Queue: true})
			ended <- err
		}()
		synctest.Wait()
		cancel()
		synctest.Wait()
		close(release)
		if err := <-ended; !errors.Is(err, context.Canceled) || time.Since(began) > time.Second {
			t.Errorf("%v, after %s", err, time.Since(began))
		}
		if is := w.get("s1").GetBudgets()["get"]; is.GetQueued() != 0 {
			t.Errorf("it waits: %v", is)
		}
	})
}

// A purchase makes the save that waits more important.
func TestPurchaseOfOneWhoseSaveWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		saves := &charges{}
		w := watchServers(t, newMarkStore(t), Options{Events: saves.events(since()), ServerTimeout: time.Hour, AutosaveInterval: time.Minute})
		w.registerAs("s1", "custom,get=10000,set=6,burst=1,shutdown=0,reserve=0", 0)
		tokens := w.players(20)
		time.Sleep(61 * time.Second) // all wait; some were saved
		saved := len(saves.of(budget.Set))
		buyer := ""
		for i := 19; buyer == ""; i-- {
			if last, done := w.store.head(playerKey(fmt.Sprintf("p%03d", i))); last != done {
				buyer = fmt.Sprintf("p%03d", i)
			}
		}
		receipt := earn(tokens[buyer], 1, 5, durable)
		receipt.GetExecutePlayer().Receipt = "paid"
		ask(t, w.Host, buyer, receipt)
		time.Sleep(11 * time.Second)
		if all := saves.of(budget.Set); len(all) <= saved || all[saved].key.ID != buyer {
			t.Errorf("saved next: %v, want %s", all[saved:], buyer)
		}
	})
}
