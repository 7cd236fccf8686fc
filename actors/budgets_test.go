// Goal: what a game server causes stays within its budget, whoever counts. Method: hosts on a store in memory, in fake time or on a
// stepped clock; loads and saves are counted where they happen.
package actors

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/skerry-dev/skerry/codec/peerv1"
	"github.com/skerry-dev/skerry/codec/skerryv1"
	"github.com/skerry-dev/skerry/persistence"
	"github.com/skerry-dev/skerry/persistence/budget"
)

// charges are what was loaded and saved for game servers.
type charges struct {
	mu  sync.Mutex
	all []chargedAt
}

type chargedAt struct {
	server string
	class  budget.Class
	key    persistence.Key
	bytes  int64
	at     time.Duration // on the budgets' clock
}

// events notes them, by the clock now.
func (c *charges) events(now func() time.Duration) Events {
	return Events{Charged: func(server persistence.Key, class budget.Class, key persistence.Key, bytes int64, _ time.Time) {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.all = append(c.all, chargedAt{server.ID, class, key, bytes, now()})
	}}
}

// of are those of s1 and a class.
func (c *charges) of(class budget.Class) []chargedAt {
	c.mu.Lock()
	defer c.mu.Unlock()
	var found []chargedAt
	for _, one := range c.all {
		if one.server == "s1" && one.class == class {
			found = append(found, one)
		}
	}
	return found
}

// mostInMinute is the most tokens of a class that s1 used in any sliding minute.
func (c *charges) mostInMinute(class budget.Class) int64 {
	all := c.of(class)
	most := int64(0)
	for i := range all {
		sum := int64(0)
		for _, one := range all[i:] {
			if one.at < all[i].at+budget.Minute {
				sum += tokensOf(one)
			}
		}
		most = max(most, sum)
	}
	return most
}

func tokensOf(one chargedAt) int64 {
	if one.class == budget.Get || one.bytes <= 4<<20 {
		return 1
	}
	return (one.bytes + 4<<20 - 1) / (4 << 20)
}

// stepped is a clock that a test moves.
type stepped struct {
	mu  sync.Mutex
	now time.Duration
}

func (s *stepped) Now() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.now
}

// step moves the clock, and waits until everybody has seen it.
func (s *stepped) step(by time.Duration) {
	s.mu.Lock()
	s.now += by
	s.mu.Unlock()
	time.Sleep(2 * steppedPoll) // fake
	synctest.Wait()
}

func registerRequest(id, profile string, players int32) *skerryv1.Request {
	return &skerryv1.Request{Request: &skerryv1.Request_RegisterServer{
		RegisterServer: &skerryv1.RegisterServerRequest{Server: id, Budget: profile, Players: players},
	}}
}

// registerAs registers a server and returns its budgets.
func (w *watched) registerAs(id, profile string, players int32) *skerryv1.RegisterServerResponse {
	w.Helper()
	r, err := w.server(id, registerRequest(id, profile, players))
	if err != nil {
		w.Fatalf("register %s: %v", id, err)
	}
	return r.GetRegisterServer()
}

// wrong returns what of a budget is not as wanted.
func wrong(got *skerryv1.Budget, perMinute, available, used, refused, queued int64) string {
	want := &skerryv1.Budget{PerMinute: perMinute, Available: available, Used: used, Refused: refused, Queued: queued}
	if got.EqualVT(want) {
		return ""
	}
	return fmt.Sprintf("got %v, want %v", got, want)
}

func openWorldRequest(id, server string) *skerryv1.Request {
	return &skerryv1.Request{Request: &skerryv1.Request_OpenWorldSession{OpenWorldSession: &skerryv1.OpenWorldSessionRequest{
		World: id, Server: server, Create: &skerryv1.Create{},
	}}}
}

// tally is what became of openings.
type tally struct {
	opened, exhausted, waiting int
	worst                      time.Duration // the longest time after which to try again
}

func count(t *testing.T, answers []<-chan answer) tally {
	t.Helper()
	synctest.Wait()
	var is tally
	for i, one := range answers {
		select {
		case got := <-one:
			no, refused := errors.AsType[*BudgetError](got.err)
			switch {
			case got.err == nil:
				is.opened++
			case refused && errors.Is(got.err, budget.ErrExhausted):
				is.exhausted++
				is.worst = max(is.worst, no.RetryAfter)
			default:
				t.Fatalf("opening %d: %v", i, got.err)
			}
			done := make(chan answer, 1)
			done <- got
			answers[i] = done
		default:
			is.waiting++
		}
	}
	return is
}

// 400 worlds that are not in memory are opened at once by a server of 10 players with a burst of 100: 100 are loaded, 30 wait and come
// at 160 a minute, 270 are refused; and the account, and what was loaded, say the same.
func TestBudgetEdge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		clock, loads := &stepped{}, &charges{}
		w := watchServers(t, newMarkStore(t), Options{BudgetClock: clock.Now, Events: loads.events(clock.Now), MaxLoads: 64})
		w.registerAs("s1", "roblox-2023", 10)
		before := w.store.loads
		var answers []<-chan answer
		for i := range 400 {
			one := make(chan answer, 1)
			id := fmt.Sprint("w", i)
			w.Do(&Call{
				Key:     persistence.Key{Space: "main", Kind: persistence.KindWorld, ID: id},
				Request: openWorldRequest(id, "s1"), Reply: func(r *skerryv1.Response, err error) { one <- answer{r, err} },
			})
			answers = append(answers, one)
		}
		got := count(t, answers)
		if got.opened != 100 || got.waiting != 30 || got.exhausted != 270 || got.worst != 375*time.Millisecond {
			t.Fatalf("at once: %+v", got)
		}
		if no := wrong(w.get("s1").GetBudgets()["get"], 160, 0, 100, 270, 30); no != "" {
			t.Error(no)
		}
		for i := 1; i <= 30; i++ {
			clock.step(374 * time.Millisecond)
			if got = count(t, answers); got.opened != 100+i-1 {
				t.Fatalf("before %d × 375 ms: %+v", i, got)
			}
			clock.step(time.Millisecond)
			if got = count(t, answers); got.opened != 100+i {
				t.Fatalf("after %d × 375 ms: %+v", i, got)
			}
		}
		if no := wrong(w.get("s1").GetBudgets()["get"], 160, 0, 130, 270, 0); no != "" {
			t.Error(no)
		}
		if seen := len(loads.of(budget.Get)); seen != 130 || w.store.loads-before != 130 {
			t.Errorf("%d loads were charged, storage saw %d, want 130", seen, w.store.loads-before)
		}
		if most := loads.mostInMinute(budget.Get); most != 130 {
			t.Errorf("%d in a minute", most)
		}
	})
}

// What is in memory, what opens no session, and servers without a budget cost nothing.
func TestWhatIsFree(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		clock, loads := &stepped{}, &charges{}
		w := watchServers(t, newMarkStore(t), Options{BudgetClock: clock.Now, Events: loads.events(clock.Now)})
		w.registerAs("s1", "custom,get=0,set=1000,burst=1", 0)
		w.registerAs("s2", "unlimited", 0)
		for i := range 300 {
			w.open(fmt.Sprint("p", i), "s2")
		}
		w.open("mine", "s1")
		w.open("mine", "s1") // again: it is in memory
		w.open("p7", "s1")   // a take-over of what is in memory
		ask(t, w.Host, "mine", get())
		if _, err := try(w.Host, "nobody", get()); err == nil {
			t.Error("somebody is there")
		}
		if no := wrong(w.get("s1").GetBudgets()["get"], 0, 0, 1, 0, 0); no != "" {
			t.Error(no)
		}
		if no := wrong(w.get("s2").GetBudgets()["get"], 0, 0, 0, 0, 0); no != "" {
			t.Error(no)
		}
		if n := len(loads.all); n != 1 {
			t.Errorf("%d were charged: %v", n, loads.all)
		}
	})
}

// An opening that waits for tokens keeps its place before what comes for the same entity, and no other entity's.
func TestWhatComesBehindAnOpeningWithoutTokens(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		clock := &stepped{}
		w := watchServers(t, newMarkStore(t), Options{BudgetClock: clock.Now})
		w.registerAs("s1", "custom,get=60,set=1000,burst=1", 0)
		w.open("p1", "s1")
		opening := send(w.Host, "p2", openRequest("s1"))
		reading := send(w.Host, "p2", get())
		again := send(w.Host, "p2", openRequest("s1"))
		pendingStill(t, opening, "there is no token")
		pendingStill(t, reading, "the opening came first")
		ask(t, w.Host, "p1", get())
		clock.step(time.Second)
		for _, one := range []<-chan answer{opening, reading, again} {
			if _, err := answered(t, one); err != nil {
				t.Error(err)
			}
		}
		if no := wrong(w.get("s1").GetBudgets()["get"], 60, 0, 2, 0, 0); no != "" { // the third found it in memory
			t.Error(no)
		}
		waits := send(w.Host, "p3", openRequest("s1"))
		pendingStill(t, waits, "there is no token")
		w.Drain()
		if _, err := answered(t, waits); !errors.Is(err, ErrDraining) {
			t.Errorf("a draining node answers %v", err)
		}
	})
}

// Whoever waits does so no longer than any caller, also where no token ever comes; and in the clock's own minutes.
func TestTokensThatNeverCome(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := watchServers(t, newMarkStore(t), Options{Minute: 5 * time.Second, ServerTimeout: time.Hour})
		w.registerAs("s1", "custom,get=0,set=1000,burst=1", 0)
		w.registerAs("s2", "custom,get=60,set=1000,burst=1", 0)
		w.open("first", "s1")
		w.open("second", "s2")
		never, soon := send(w.Host, "p1", openRequest("s1")), send(w.Host, "p2", openRequest("s2"))
		time.Sleep(80 * time.Millisecond)
		pendingStill(t, soon, "a second of a minute of 5 s has 83 ms")
		time.Sleep(4 * time.Millisecond)
		if _, err := answered(t, soon); err != nil {
			t.Error(err)
		}
		time.Sleep(maxQueued - 2*time.Second)
		pendingStill(t, never, "no token came")
		time.Sleep(3 * time.Second)
		if _, err := answered(t, never); !errors.Is(err, budget.ErrExhausted) {
			t.Errorf("answered %v", err)
		}
	})
}

// A server's players are as many as it says, or as have sessions, and the account follows them.
func TestBudgetFollowsThePlayers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := watchServers(t, newMarkStore(t), Options{ServerTimeout: time.Hour})
		got := w.registerAs("s1", "roblox-2023", 2)
		if no := wrong(got.GetBudgets()["set"], 80, 100, 0, 0, 0); no != "" {
			t.Error(no)
		}
		tokens := map[string]string{}
		for i := range 5 {
			player := fmt.Sprint("p", i)
			tokens[player] = w.open(player, "s1")
		}
		synctest.Wait()
		if no := wrong(w.get("s1").GetBudgets()["get"], 110, 95, 5, 0, 0); no != "" {
			t.Errorf("with 5 sessions: %s", no)
		}
		beat := func(players int32) *skerryv1.HeartbeatServerResponse {
			r, err := w.server("s1", &skerryv1.Request{Request: &skerryv1.Request_HeartbeatServer{
				HeartbeatServer: &skerryv1.HeartbeatServerRequest{Server: "s1", Incarnation: got.GetIncarnation(), Players: players},
			}})
			if err != nil {
				t.Fatal(err)
			}
			return r.GetHeartbeatServer()
		}
		if rate := beat(20).GetBudgets()["get"].GetPerMinute(); rate != 260 {
			t.Errorf("with 20 reported: %d", rate)
		}
		if rate := beat(0).GetBudgets()["get"].GetPerMinute(); rate != 260 {
			t.Errorf("a fall takes a minute, but it is %d", rate)
		}
		time.Sleep(time.Minute + time.Millisecond)
		if rate := beat(0).GetBudgets()["get"].GetPerMinute(); rate != 110 {
			t.Errorf("a minute later, with 5 sessions: %d", rate)
		}
		w.registerAs("s1", "roblox-2023", 2) // once more: no new burst
		if is := w.get("s1").GetBudgets()["get"]; is.GetUsed() != 5 {
			t.Errorf("registered again, %v", is)
		}
	})
}

// After a restart the account begins empty: what it had may have been spent.
func TestNoNewBurstAfterARestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newMarkStore(t)
		w := watchServers(t, s, Options{})
		w.registerAs("s1", "roblox-2023", 0)
		w.stop()
		w = watchServers(t, s, Options{})
		if no := wrong(w.get("s1").GetBudgets()["get"], 60, 0, 0, 0, 0); no != "" {
			t.Errorf("known again: %s", no)
		}
		w.stop()
		w = watchServers(t, s, Options{})
		opening := send(w.Host, "p1", openRequest("s1"))
		pendingStill(t, opening, "there is no token")
		time.Sleep(time.Second)
		if _, err := answered(t, opening); err != nil {
			t.Error(err)
		}
		w.stop()
		w = watchServers(t, s, Options{})
		if is := w.registerAs("s1", "roblox-2023", 0).GetBudgets()["get"]; is.GetAvailable() != 0 || is.GetUsed() != 0 {
			t.Errorf("registered again: %v", is)
		}
		if no := wrong(w.registerAs("s2", "roblox-2023", 0).GetBudgets()["get"], 60, 100, 0, 0, 0); no != "" {
			t.Errorf("registered for the first time: %s", no)
		}
	})
}

// A key whose bytes of the last minute are used up is not loaded again.
func TestReadBytes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := watchServers(t, newMarkStore(t), Options{PassivateAfter: 2 * time.Second, ServerTimeout: time.Hour})
		w.registerAs("s1", "custom,get=1000,set=1000,readBytes=2048", 0)
		for range 3 {
			_, err := try(w.Host, "p1", openRequest("s1"))
			if err != nil {
				no, ok := errors.AsType[*BudgetError](err)
				if !ok || no.RetryAfter < 50*time.Second || no.RetryAfter > time.Minute {
					t.Fatalf("refused with %v", err)
				}
				time.Sleep(no.RetryAfter)
				if _, err = try(w.Host, "p1", openRequest("s1")); err != nil {
					t.Error(err)
				}
				return
			}
			time.Sleep(4 * time.Second) // it leaves memory
			if w.Active(playerKey("p1")) {
				t.Fatal("still in memory")
			}
		}
		t.Error("more was loaded than 2 KiB in a minute")
	})
}

// Tokens of a node's openings come from the account at another; when that cannot be asked, nothing is opened.
func TestLeasesOfOpenings(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNodes(t, 3)
		n.must(serverKey("main", "s1"), registerRequest("s1", "custom,get=60,set=1000,burst=50,queue=5", 0))
		var answers []<-chan answer
		for i := range 60 {
			answers = append(answers, n.do(playerKey(fmt.Sprint("p", i)), openRequest("s1")))
		}
		time.Sleep(500 * time.Millisecond)
		opened, refused, waiting := 0, 0, 0
		for _, one := range answers {
			select {
			case got := <-one:
				if opened++; got.err != nil {
					opened, refused = opened-1, refused+1
					if !errors.Is(got.err, budget.ErrExhausted) {
						t.Error(got.err)
					}
				}
			default:
				waiting++
			}
		}
		if opened != 50 || refused != 5 || waiting != 5 {
			t.Errorf("%d opened, %d refused, %d wait", opened, refused, waiting)
		}
		time.Sleep(6 * time.Second)
		if is := n.server("s1").GetBudgets()["get"]; is.GetUsed() != 55 || is.GetQueued() != 0 || is.GetRefused() != 5 {
			t.Errorf("the account says %v", is)
		}
		n.mu.Lock()
		n.cut = true
		n.mu.Unlock()
		for i := range 12 {
			key := playerKey(fmt.Sprint("q", i))
			got := <-n.do(key, openRequest("s1"))
			if here := n.ownerOf(key) == n.ownerOf(serverKey("main", "s1")); here != (got.err == nil) || !here && !errors.Is(got.err, ErrNoBudget) {
				t.Errorf("at the owner: %v; %v", here, got.err)
			}
		}
	})
}

// The account does not come back full when its owner dies.
func TestFailoverGivesNoBurst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNodes(t, 3)
		key := serverKey("main", "s1")
		n.must(key, registerRequest("s1", "roblox-2023", 0))
		n.open("p1", "s1")
		n.die(n.ownerOf(key))
		synctest.Wait()
		if no := wrong(n.server("s1").GetBudgets()["get"], 60+10, 0, 0, 0, 0); no != "" && n.server("s1").GetBudgets()["get"].GetAvailable() > 0 {
			t.Error(no)
		}
		n.must(key, registerRequest("s1", "roblox-2023", 0))
		if is := n.server("s1").GetBudgets()["get"]; is.GetAvailable() > 0 {
			t.Errorf("registered again: %v", is)
		}
	})
}

// Lease refuses what is no lease, and gives a place in the queue up when its caller is gone.
func TestLease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := watchServers(t, newMarkStore(t), Options{})
		w.registerAs("s1", "custom,get=60,set=60,burst=2", 0)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		lease := func(ctx context.Context, id string, l *peerv1.Lease) (uint32, string, error) {
			got, err := w.Lease(ctx, serverKey("main", id), l)
			return got.GetGranted(), got.GetProfile(), err
		}
		if n, profile, err := lease(ctx, "s1", &peerv1.Lease{Tokens: 5}); n != 2 || profile != "custom,burst=2" || err != nil {
			t.Errorf("granted %d of %s, %v", n, profile, err)
		}
		if n, _, err := lease(ctx, "s1", &peerv1.Lease{Tokens: 1}); n != 0 || err != nil {
			t.Errorf("granted %d, %v", n, err)
		}
		if n, profile, err := lease(ctx, "nobody", &peerv1.Lease{Tokens: 7}); n != 7 || profile != unlimited || err != nil {
			t.Errorf("granted %d of %s, %v", n, profile, err)
		}
		if n, _, err := lease(ctx, "s1", &peerv1.Lease{Tokens: 1, GiveBack: 1}); n != 1 || err != nil {
			t.Errorf("after giving back: %d, %v", n, err)
		}
		if _, _, err := lease(ctx, "s1", &peerv1.Lease{Class: 7}); !errors.Is(err, persistence.ErrBadKey) {
			t.Error(err)
		}
		ended := make(chan error)
		go func() {
			_, _, err := lease(ctx, "s1", &peerv1.Lease{Tokens: 1, Queue: true})
			ended <- err
		}()
		synctest.Wait()
		if is := w.get("s1").GetBudgets()["get"]; is.GetQueued() != 1 {
			t.Errorf("waiting: %v", is)
		}
		cancel()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		if is := w.get("s1").GetBudgets()["get"]; is.GetQueued() != 0 {
			t.Errorf("after its caller left: %v", is)
		}
		w.Lost(w.partitionOf(serverKey("main", "s1")), w.store.epoch)
		if _, _, err := lease(t.Context(), "s1", &peerv1.Lease{Tokens: 1}); !errors.Is(err, persistence.ErrNotOwner) {
			t.Error(err)
		}
	})
}

// What tests of others switch off is off.
func TestFaults(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		loads := &charges{}
		w := watchServers(t, newMarkStore(t), Options{Events: loads.events(since()), Faults: Faults{NoLimiter: true, NoDedupe: true}, ServerTimeout: time.Hour})
		w.registerAs("s1", "custom,get=60,set=60,burst=1", 0)
		tokens := w.players(100)
		for range 2 {
			ask(t, w.Host, "p001", earn(tokens["p001"], 1, 1, durable))
		}
		if n := coins(t, w.Host, "p001"); n != 102 {
			t.Errorf("a repeated command: %d coins", n)
		}
		time.Sleep(5*time.Minute + time.Second)
		synctest.Wait()
		if gets, sets := loads.mostInMinute(budget.Get), loads.mostInMinute(budget.Set); gets != 100 || sets < 30 || w.unsaved(tokens) != 0 {
			t.Errorf("%d loads and %d saves in a minute, %d not saved", gets, sets, w.unsaved(tokens))
		}
	})
}

// Openings that wait for tokens do not hold a handover up: they go on at the next owner.
func TestHandoverOfWhatWaitsForTokens(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNodes(t, 3)
		n.must(serverKey("main", "s1"), registerRequest("s1", "custom,get=6,set=1000,burst=1", 0))
		n.open("first", "s1")
		for i := range 3 { // of entities at the account's node, and elsewhere
			player := fmt.Sprint("p", i)
			for n.ownerOf(playerKey(player)) != n.all[i] {
				player += "x"
			}
			answers := n.do(playerKey(player), openRequest("s1"))
			time.Sleep(time.Second)
			pendingStill(t, answers, "there is no token")
			p := persistence.PartitionOf(playerKey(player), nodePartitions)
			began := time.Now()
			if err := n.all[i].host.Yield(t.Context(), p); err != nil {
				t.Fatal(err)
			}
			if left := n.all[i].host.servers.lines.Load(); left != 0 {
				t.Errorf("%d openings still wait at the node that hands over", left)
			}
			n.move(p, n.all[(i+1)%3])
			if took := time.Since(began); took > 100*time.Millisecond {
				t.Errorf("the handover took %s", took)
			}
			if got := <-answers; got.err != nil {
				t.Errorf("after the handover: %v", got.err)
			}
			if took := time.Since(began); took > 25*time.Second {
				t.Errorf("opened after %s", took)
			}
		}
		time.Sleep(time.Minute)
		if is := n.server("s1").GetBudgets()["get"]; is.GetUsed() != 4 || is.GetQueued() != 0 {
			t.Errorf("the account says %v", is)
		}
	})
}
