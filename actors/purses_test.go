// Goal: what is saved for a game server stays within its budget, the important first, and nothing is lost without. Method: hosts on
// a store in memory, in fake time; snapshots are counted where they are accepted.
package actors

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/skerry-dev/skerry/codec/skerryv1"
	"github.com/skerry-dev/skerry/persistence/budget"
)

// since is a clock of the budgets for a test that goes by fake time.
func since() func() time.Duration {
	began := time.Now()
	return func() time.Duration { return time.Since(began) }
}

// players opens so many sessions of s1 and returns their tokens, by player.
func (w *watched) players(count int) map[string]string {
	w.Helper()
	tokens := map[string]string{}
	for i := range count {
		player := fmt.Sprintf("p%03d", i)
		tokens[player] = w.open(player, "s1")
	}
	return tokens
}

// unsaved are how many players have events without a snapshot.
func (w *watched) unsaved(tokens map[string]string) int {
	n := 0
	for player := range tokens {
		if last, saved := w.store.head(playerKey(player)); last != saved {
			n++
		}
	}
	return n
}

func endSession(player, token string) *skerryv1.Request {
	return endRequest(playerKey(player), token)
}

// 150 players of a server are dirty at once, all the time. Their saves stay within the budget in every sliding minute, and no change waits
// longer for its snapshot than is promised.
func TestSavesStayWithinTheBudget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		saves := &charges{}
		w := watchServers(t, newMarkStore(t), Options{Events: saves.events(since()), ServerTimeout: time.Hour})
		profile, err := budget.Parse("custom,get=10000,set=30,burst=10")
		if err != nil {
			t.Fatal(err)
		}
		w.registerAs("s1", profile.Name, 0)
		for len(w.players(150)) != 150 {
			t.Fatal("not all opened")
		}
		tokens := w.players(150) // again: now they are warm, and have these tokens
		promised := budget.DirtyAge(&profile, 150, 150, 5*time.Minute)
		worst := time.Duration(0)
		for command := range int64(20) {
			for player, token := range tokens {
				ask(t, w.Host, player, earn(token, command+1, 1, memory))
			}
			time.Sleep(time.Minute)
			worst = max(worst, w.Stats().DirtyOldest)
		}
		if most, may := saves.mostInMinute(budget.Set), profile.MostInMinute(budget.Set, 150); most > may || most < 30 {
			t.Errorf("%d saves in a minute, at most %d are allowed", most, may)
		}
		if worst > promised || worst < 3*time.Minute {
			t.Errorf("a change had no snapshot for %s, promised are %s", worst, promised)
		}
		n := len(saves.of(budget.Set))
		if is := w.get("s1").GetBudgets()["set"].GetUsed(); int(is) != n {
			t.Errorf("the account says %d, storage saw %d", is, n)
		}
		time.Sleep(promised + time.Minute)
		if left := w.unsaved(tokens); left != 0 {
			t.Errorf("%d were not saved", left)
		}
	})
}

// Who leaves is saved before all others, and need not wait for it; whose server closes comes next, then purchases.
func TestLeaversAreSavedFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		saves := &charges{}
		w := watchServers(t, newMarkStore(t), Options{Events: saves.events(since()), ServerTimeout: time.Hour, AutosaveInterval: time.Minute})
		w.registerAs("s1", "custom,get=10000,set=6,burst=1,shutdown=0,reserve=0", 0)
		tokens := w.players(20)
		receipt := earn(tokens["p007"], 1, 5, durable)
		receipt.GetExecutePlayer().Receipt = "paid"
		ask(t, w.Host, "p007", receipt)
		time.Sleep(90 * time.Second) // all wait; some were saved
		saved := len(saves.of(budget.Set))
		if left := w.unsaved(tokens); left == 0 || saved == 0 || left+saved != 20 {
			t.Fatalf("%d are saved, %d are not", saved, left)
		}
		if first := saves.of(budget.Set)[0].key.ID; first != "p000" && first != "p007" {
			t.Errorf("%s was saved first", first)
		}
		leaver := ""
		for i := 19; leaver == ""; i-- { // the youngest change
			if last, done := w.store.head(playerKey(fmt.Sprintf("p%03d", i))); last != done {
				leaver = fmt.Sprintf("p%03d", i)
			}
		}
		if _, err := answered(t, send(w.Host, leaver, endSession(leaver, tokens[leaver]))); err != nil {
			t.Errorf("leaving: %v", err)
		}
		if last, done := w.store.head(playerKey(leaver)); last == done || last != 2 {
			t.Errorf("the end of %s is at %d in the journal, saved %d", leaver, last, done)
		}
		time.Sleep(11 * time.Second)
		if all := saves.of(budget.Set); len(all) <= saved || all[saved].key.ID != leaver {
			t.Errorf("saved next: %v, want %s", all[saved:], leaver)
		}
		for _, one := range saves.of(budget.Set)[:3] { // others were wanted before it was
			if one.key.ID == "p007" {
				return
			}
		}
		t.Errorf("the purchase was not saved early: %v", saves.of(budget.Set))
	})
}

// With a token there, the reply of who leaves waits for the snapshot, as without a budget.
func TestLeavingWithATokenWaitsForTheSave(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := watchServers(t, newMarkStore(t), Options{})
		w.registerAs("s1", "roblox-2023", 0)
		token := w.open("p1", "s1")
		ask(t, w.Host, "p1", endSession("p1", token))
		if last, saved := w.store.head(playerKey("p1")); last != 2 || saved != 2 {
			t.Errorf("saved at %d of %d", saved, last)
		}
	})
}

// A save that is asked for waits in the queue, and is refused when that is full.
func TestAskedSavesQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		saves := &charges{}
		w := watchServers(t, newMarkStore(t), Options{Events: saves.events(since()), ServerTimeout: time.Hour})
		w.registerAs("s1", "custom,get=10000,set=60,burst=5,reserve=0,queue=3", 0)
		tokens := w.players(12)
		var answers []<-chan answer
		for i := range 12 {
			player := fmt.Sprintf("p%03d", i)
			answers = append(answers, send(w.Host, player, saveRequest(tokens[player])))
			answers = append(answers, send(w.Host, player, saveRequest(tokens[player]))) // the same snapshot does for both
		}
		got := count(t, answers)
		if got.opened != 10 || got.waiting != 6 || got.exhausted != 8 || got.worst != time.Second {
			t.Errorf("at once: %+v", got)
		}
		time.Sleep(3 * time.Second)
		if got = count(t, answers); got.opened != 16 {
			t.Errorf("3 s later: %+v", got)
		}
		if is := w.get("s1").GetBudgets()["set"]; is.GetUsed() != 8 || is.GetRefused() != 8 || len(saves.of(budget.Set)) != 8 {
			t.Errorf("the account says %v, storage saw %d", is, len(saves.of(budget.Set)))
		}
		if left := w.unsaved(tokens); left != 4 {
			t.Errorf("%d are dirty", left)
		}
		time.Sleep(5*time.Minute + time.Second)
		if left := w.unsaved(tokens); left != 0 {
			t.Errorf("%d were never saved", left)
		}
	})
}

// A node that stops saves what tokens there are for. The rest is in the journal, and nothing is lost.
func TestShutdownWithoutTokens(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newMarkStore(t)
		w := watchServers(t, s, Options{ServerTimeout: time.Hour})
		w.registerAs("s1", "custom,get=10000,set=60,burst=10,shutdown=0", 0)
		tokens := w.players(30)
		for player, token := range tokens {
			ask(t, w.Host, player, earn(token, 1, 7, memory))
		}
		report, err := w.Shutdown(t.Context())
		if err != nil || report.Saved != 11 || // the server as well
			report.Journaled != 20 || report.Failed != 0 {
			t.Errorf("%+v, %v", report, err)
		}
		w.stop()
		w = watchServers(t, s, Options{})
		for player := range tokens {
			if n := coins(t, w.Host, player); n != 107 {
				t.Errorf("%s has %d coins", player, n)
			}
		}
	})
}

// What is too long to be replayed is saved whatever the budget says, and costs nothing.
func TestLongJournalIsSavedWithoutTokens(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		saves := &charges{}
		w := watchServers(t, newMarkStore(t), Options{Events: saves.events(since()), ServerTimeout: time.Hour})
		w.registerAs("s1", "custom,get=10000,set=0,burst=0", 0)
		token := w.open("p1", "s1")
		for i := range int64(maxJournalEntries + 10) {
			ask(t, w.Host, "p1", earn(token, i+1, 1, durable))
		}
		synctest.Wait()
		if _, saved := w.store.head(playerKey("p1")); saved < maxJournalEntries {
			t.Errorf("saved at %d", saved)
		}
		if n := len(saves.of(budget.Set)); n != 0 {
			t.Errorf("%d saves were charged", n)
		}
	})
}

// A key whose bytes of the last minute are used up is saved later, and holds nobody up.
func TestWriteBytes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		saves := &charges{}
		w := watchServers(t, newMarkStore(t), Options{Events: saves.events(since()), ServerTimeout: time.Hour, AutosaveInterval: 10 * time.Second})
		w.registerAs("s1", "custom,get=10000,set=1000,burst=100,writeBytes=2048", 0)
		p1, p2 := w.open("p1", "s1"), w.open("p2", "s1")
		for i := range int64(30) {
			ask(t, w.Host, "p1", earn(p1, i+1, 1, durable))
			if i == 20 {
				ask(t, w.Host, "p2", earn(p2, 1, 1, durable))
			}
			time.Sleep(5 * time.Second)
		}
		bytes := map[time.Duration]int64{}
		for _, one := range saves.of(budget.Set) {
			if one.key.ID == "p1" {
				bytes[one.at] += (one.bytes + 1023) / 1024 * 1024
			}
		}
		for from := range bytes {
			sum := int64(0)
			for at, n := range bytes {
				if at >= from && at < from+time.Minute {
					sum += n
				}
			}
			if sum > 2048 {
				t.Errorf("%d bytes within a minute from %s", sum, from)
			}
		}
		if n := len(bytes); n < 4 || n > 8 {
			t.Errorf("%d saves of p1 in 150 s", n)
		}
		if last, saved := w.store.head(playerKey("p2")); last != saved {
			t.Errorf("p2 is saved at %d of %d", saved, last)
		}
	})
}

// A world costs a token for each started 4 MiB that were stored; what was granted beyond is given back.
func TestWorldsCostByTheirSize(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		saves := &charges{}
		w := watchServers(t, newMarkStore(t), Options{Events: saves.events(since()), ServerTimeout: time.Hour})
		w.registerAs("s1", "custom,get=10000,set=60,burst=20,reserve=0", 0)
		token, err := w.openWorld("w1", "s1", skerryv1.IfTaken_IF_TAKEN_UNSPECIFIED)
		if err != nil {
			t.Fatal(err)
		}
		for i := range int32(80) { // at most 80 × 160 KiB: four tokens, of which one is needed
			edits := &skerryv1.ExecuteWorldRequest{
				World: "w1", Session: token, CommandId: int64(i + 1), Durability: durable,
				Commands: []*skerryv1.WorldCommand{{Command: &skerryv1.WorldCommand_SetBlocks{SetBlocks: &skerryv1.SetBlocks{Blocks: []int32{i * 16, 3, 5, 1}}}}},
			}
			if _, err = w.world("w1", &skerryv1.Request{Request: &skerryv1.Request_ExecuteWorld{ExecuteWorld: edits}}); err != nil {
				t.Fatal(err)
			}
		}
		if _, err = w.world("w1", &skerryv1.Request{Request: &skerryv1.Request_SaveWorld{SaveWorld: &skerryv1.SaveWorldRequest{World: "w1", Session: token}}}); err != nil {
			t.Fatal(err)
		}
		all := saves.of(budget.Set)
		if len(all) != 1 || all[0].bytes < 1000 || all[0].bytes > 1<<20 || all[0].key != worldOf("w1") {
			t.Errorf("charged %v", all)
		}
		if is := w.get("s1").GetBudgets()["set"]; is.GetUsed() != 1 || is.GetAvailable() != 19 {
			t.Errorf("the account says %v", is)
		}
	})
}

// Many nodes save for one server, within its one account; when that cannot be asked, the journal has everything.
func TestSavesOfManyNodes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		saves := &charges{}
		n := newNodesWith(t, 3, Options{Events: saves.events(since()), ServerTimeout: time.Hour, AutosaveInterval: time.Minute, PassivateAfter: time.Hour})
		profile, err := budget.Parse("custom,get=10000,set=60,burst=10")
		if err != nil {
			t.Fatal(err)
		}
		n.must(serverKey("main", "s1"), registerRequest("s1", profile.Name, 0))
		tokens := map[string]string{}
		for i := range 90 {
			player := fmt.Sprint("p", i)
			tokens[player] = n.open(player, "s1")
		}
		unsaved := func() (left int) {
			for player := range tokens {
				if last, saved := n.store.head(playerKey(player)); last != saved {
					left++
				}
			}
			return left
		}
		time.Sleep(budget.DirtyAge(&profile, 90, 90, time.Minute))
		if left := unsaved(); left != 0 {
			t.Errorf("%d are not saved in the promised time", left)
		}
		if most, may := saves.mostInMinute(budget.Set), profile.MostInMinute(budget.Set, 90); most > may {
			t.Errorf("%d saves in a minute, at most %d are allowed", most, may)
		}
		if is := n.server("s1").GetBudgets()["set"]; is.GetUsed() != 90 || len(saves.of(budget.Set)) != 90 {
			t.Errorf("the account says %v, storage saw %d", is, len(saves.of(budget.Set)))
		}

		n.mu.Lock()
		n.cut = true
		n.mu.Unlock()
		for player, token := range tokens {
			if err := n.earn(player, token, 1); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(5 * time.Minute)
		away := 0
		for player := range tokens {
			last, saved := n.store.head(playerKey(player))
			here := n.ownerOf(playerKey(player)) == n.ownerOf(serverKey("main", "s1"))
			if here != (last == saved) || last != 2 {
				t.Errorf("%s, at the account's node: %v, is saved at %d of %d", player, here, saved, last)
			}
			if !here {
				away++
			}
		}
		if away == 0 {
			t.Error("no player was away")
		}
		n.mu.Lock()
		n.cut = false
		n.mu.Unlock()
		time.Sleep(time.Duration(away+5) * time.Second)
		if left := unsaved(); left != 0 {
			t.Errorf("%d were not saved when the account was there again", left)
		}
	})
}

// After a restart nobody here knows the profile of a server, until somebody asks: what it saves is charged all the same.
func TestSavesOfAServerThatIsNotKnownYet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, saves := newMarkStore(t), &charges{}
		w := watchServers(t, s, Options{ServerTimeout: time.Hour})
		w.registerAs("s1", "roblox-2023", 0)
		w.registerAs("s2", "unlimited", 0)
		p1, p2 := w.open("p1", "s1"), w.open("p2", "s2")
		w.stop()
		w = watchServers(t, s, Options{Events: saves.events(since()), ServerTimeout: time.Hour, AutosaveInterval: time.Minute})
		ask(t, w.Host, "p1", earn(p1, 1, 1, durable))
		ask(t, w.Host, "p2", earn(p2, 1, 1, durable))
		time.Sleep(time.Minute + 20*time.Second) // the account may begin only then, empty, and fills what is kept for leavers first
		for _, player := range []string{"p1", "p2"} {
			if last, saved := s.head(playerKey(player)); last != 2 || saved != 2 {
				t.Errorf("%s is saved at %d of %d", player, saved, last)
			}
		}
		if n := len(saves.of(budget.Set)); n != 1 || len(saves.all) != 1 {
			t.Errorf("charged: %v", saves.all)
		}
	})
}
