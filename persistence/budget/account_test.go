package budget

import (
	"math"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func parsed(t *testing.T, text string) Profile {
	t.Helper()
	p, err := Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// What the platform is known for: a burst of 100, a queue of 30, and the rest refused; 160 a minute are one in 0.375 s.
func TestBurstThenQueueThenRefusal(t *testing.T) {
	const each = 375 * time.Millisecond
	a := NewAccount(0, parsed(t, "roblox-2023"), 10, true)
	var verdicts [3]int
	for id := range uint64(400) {
		verdict, after := a.Ask(0, Get, 1, Routine, id)
		verdicts[verdict]++
		if verdict == Refused && after != each {
			t.Fatalf("request %d: retry after %v, want %v", id, after, each)
		}
	}
	if want := [3]int{Refused: 270, Granted: 100, Queued: 30}; verdicts != want {
		t.Fatalf("refused, granted, queued %v, want %v", verdicts, want)
	}
	at := time.Duration(0)
	for k := range uint64(30) {
		at += each
		if early := a.Due(at - 1); len(early) != 0 {
			t.Fatalf("a nanosecond before %v: %v", at, early)
		}
		if next, ok := a.Next(at - 1); !ok || next != 1 {
			t.Fatalf("a nanosecond before %v the next comes in %v, %v", at, next, ok)
		}
		if got := a.Due(at); !slices.Equal(got, []uint64{100 + k}) {
			t.Fatalf("at %v: %v, want ticket %d", at, got, 100+k)
		}
	}
	if _, ok := a.Next(at); ok || at != 11_250*time.Millisecond {
		t.Errorf("at %v something waits", at)
	}
	if got, want := a.Status(at, Get), (Status{PerMinute: 160, Granted: 130, Refused: 270}); got != want {
		t.Errorf("get: %+v, want %+v", got, want)
	}
	if got, want := a.Status(at, Set), (Status{PerMinute: 160, Available: 130}); got != want {
		t.Errorf("set: %+v, want %+v", got, want)
	}
}

func TestReserveIsForLeavers(t *testing.T) {
	a := NewAccount(0, parsed(t, "roblox-2023"), 10, true) // a fifth of 160: 32 are reserved
	for _, step := range []struct {
		importance Importance
		want       int64
	}{{Routine, 68}, {Purchase, 0}, {Shutdown, 10}, {Leave, 22}, {Leave, 0}} {
		tokens := int64(1000)
		if step.importance == Shutdown {
			tokens = 10
		}
		if got := a.Take(0, Set, tokens, step.importance); got != step.want {
			t.Errorf("importance %d took %d, want %d", step.importance, got, step.want)
		}
	}
	if got := a.Take(0, Get, 1000, Routine); got != 100 {
		t.Errorf("loads took %d, want 100", got)
	}
	if got := a.Take(375*time.Millisecond, Set, 1, Routine); got != 0 {
		t.Errorf("a routine save took %d of the reserve", got)
	}
	if got := a.Take(33*375*time.Millisecond, Set, 9, Routine); got != 1 {
		t.Errorf("behind the reserve a routine save took %d, want 1", got)
	}
}

func TestLeaversOvertakeTheQueue(t *testing.T) {
	a := NewAccount(0, parsed(t, "custom,set=60,burst=0,reserve=0"), 0, true)
	for id, importance := range []Importance{Routine, Leave, Purchase, Routine, Leave, Shutdown} {
		if verdict, _ := a.Ask(0, Set, 1, importance, uint64(id)); verdict != Queued {
			t.Fatalf("request %d: %v", id, verdict)
		}
	}
	var got []uint64
	for at := time.Second; at <= 6*time.Second; at += time.Second {
		if taken := a.Take(at, Set, 1, Routine); taken != 0 {
			t.Fatalf("at %v somebody took what others wait for", at)
		}
		got = append(got, a.Due(at)...)
	}
	if want := []uint64{1, 4, 5, 2, 0, 3}; !slices.Equal(got, want) {
		t.Errorf("granted %v, want %v", got, want)
	}
}

func TestRegisteringAgainIsNoNewBurst(t *testing.T) {
	p := parsed(t, "custom,set=60,burst=100,shutdown=150,reserve=0")
	a := NewAccount(0, p, 0, true)
	total := a.Take(0, Set, 1000, Routine)
	for range 50 {
		a.Register(0, p)
		a.ShutDown(0)
		a.ShutDown(0)
		total += a.Take(0, Set, 1000, Leave)
	}
	if total != 100+150 {
		t.Errorf("%d tokens at one time, want the burst and one shutdown's", total)
	}
	a.Register(2*Minute-1, p)
	a.ShutDown(2*Minute - 1)
	if got := a.Take(2*Minute-1, Set, 1000, Leave); got != 100 {
		t.Errorf("closed again within two minutes: %d tokens, want 100", got)
	}
	a.Register(2*Minute, p)
	a.ShutDown(2 * Minute)
	if got := a.Take(2*Minute, Set, 1000, Leave); got != 150 {
		t.Errorf("closed again after two minutes: %d tokens, want 150", got)
	}
	if got := NewAccount(0, p, 0, false).Take(0, Set, 1, Leave); got != 0 {
		t.Errorf("an account from elsewhere begins with %d", got)
	}
}

func TestShutdownBurstPassesAfterAMinute(t *testing.T) {
	p := parsed(t, "custom,set=60,burst=1,accumulate=0,shutdown=150,reserve=0")
	for at, want := range map[time.Duration]int64{0: 150, Minute - 1: 150, Minute: p.Capacity(Set, 0)} {
		a := NewAccount(0, p, 0, true)
		a.ShutDown(0)
		if got := a.Take(at, Set, 1000, Leave); got != want {
			t.Errorf("after %v: %d, want %d", at, got, want)
		}
	}
}

func TestUnlimitedGrantsEverything(t *testing.T) {
	a := NewAccount(0, parsed(t, "custom,get=0,burst=0"), 5, true)
	for id := range uint64(3) {
		if verdict, _ := a.Ask(0, Get, 7, Routine, id); verdict != Queued {
			t.Fatalf("without any budget: %v", verdict)
		}
	}
	if after, ok := a.Next(0); !ok || after != Minute {
		t.Errorf("what never comes is looked for after %v, %v", after, ok)
	}
	a.Register(1, Profile{})
	if after, ok := a.Next(1); !ok || after != 0 {
		t.Errorf("unlimited: next in %v, %v", after, ok)
	}
	if got := a.Due(1); !slices.Equal(got, []uint64{0, 1, 2}) {
		t.Errorf("unlimited: due %v", got)
	}
	if verdict, _ := a.Ask(1, Set, 1000, Routine, 9); verdict != Granted || a.Take(1, Get, 50, Routine) != 50 {
		t.Errorf("unlimited: %v", verdict)
	}
	if got := a.Status(1, Get); got != (Status{Granted: 71}) {
		t.Errorf("unlimited: %+v", got)
	}
}

// More than can be saved up is granted when all is there, and what it is above comes before anything else.
func TestLargeRequestIsADebt(t *testing.T) {
	a := NewAccount(0, parsed(t, "custom,set=60,burst=100,reserve=0"), 0, true)
	if verdict, _ := a.Ask(0, Set, 160, Routine, 1); verdict != Granted {
		t.Fatal(verdict)
	}
	if got := a.Take(Minute, Set, 1, Leave); got != 0 {
		t.Errorf("within the debt: %d", got)
	}
	if got := a.Take(Minute+time.Second, Set, 9, Leave); got != 1 {
		t.Errorf("a second after the debt: %d, want 1", got)
	}
}

// Whatever comes in, no sum overflows: what is there stays within its bounds, and not more is granted than came.
func TestNothingOverflows(t *testing.T) {
	times := rapid.OneOf(rapid.Int64Range(0, int64(10*Minute)), rapid.Int64(),
		rapid.SampledFrom([]int64{0, math.MinInt64, math.MaxInt64, int64(87_600 * time.Hour)}))
	tokens := rapid.OneOf(rapid.Int64Range(0, 1<<32), rapid.SampledFrom([]int64{-1, 1, 1 << 32, math.MinInt64, math.MaxInt64}))
	players := rapid.OneOf(rapid.IntRange(0, 100_000), rapid.SampledFrom([]int{-1, 0, 100_000, math.MinInt, math.MaxInt}))
	rapid.Check(t, func(t *rapid.T) {
		p := drawProfile(t)
		a := NewAccount(time.Duration(times.Draw(t, "start")), p, players.Draw(t, "players"), rapid.Bool().Draw(t, "fresh"))
		for range rapid.IntRange(0, 100).Draw(t, "steps") {
			now, n := time.Duration(times.Draw(t, "now")), tokens.Draw(t, "tokens")
			class, importance := Class(rapid.IntRange(0, 1).Draw(t, "class")), Importance(rapid.IntRange(0, 3).Draw(t, "importance"))
			granted := a.classes[class].granted
			switch rapid.IntRange(0, 6).Draw(t, "what") {
			case 0:
				if got := a.Take(now, class, n, importance); got < 0 || got > max(n, 0) {
					t.Fatalf("took %d of %d", got, n)
				}
			case 1:
				if _, after := a.Ask(now, class, n, importance, 1); after < 0 {
					t.Fatalf("retry after %v", after)
				}
			case 2:
				a.GiveBack(now, class, n)
				a.classes[class].granted = granted // of nothing that was granted
			case 3:
				a.SetPlayers(now, players.Draw(t, "players"))
			case 4:
				a.ShutDown(now)
			case 5:
				if p = drawProfile(t); rapid.Bool().Draw(t, "unlimited") {
					p = Profile{}
				}
				a.Register(now, p)
			default:
				a.Due(now)
			}
			checkBounds(t, a, now)
		}
	})
}

func checkBounds(t *rapid.T, a *Account, now time.Duration) {
	for class := range Classes {
		count := a.Players(now)
		most := a.profile.Capacity(class, count)
		if class == Set {
			most = max(most, a.profile.ShutdownBurst)
		}
		s := a.Status(now, class)
		units := a.classes[class].units
		if count < 0 || count > maxPlayers || s.Available < 0 || s.Available > most || s.Granted < 0 || s.PerMinute < 0 {
			t.Fatalf("%v of %d players: %+v", class, count, s)
		}
		if units > most*tokenUnits || units < -maxTokens*tokenUnits || a.settled < 0 || a.settled > maxTime {
			t.Fatalf("%v: %d units at %v", class, units, a.settled)
		}
	}
	if next, ok := a.Next(now); next < 0 || (ok && next > 0 && next > 3*maxTokens*Minute) {
		t.Fatalf("next in %v", next)
	}
}

func TestAClockThatGoesBackStandsStill(t *testing.T) {
	a := NewAccount(10*Minute, parsed(t, "custom,get=60,burst=0"), 100, true)
	a.SetPlayers(Minute, 50) // falls at 11 minutes
	if got := a.Players(11*Minute - 1); got != 100 {
		t.Errorf("%d players, want 100", got)
	}
	if got := a.Players(11 * Minute); got != 50 {
		t.Errorf("a minute later %d players, want 50", got)
	}
	if got := a.Take(5*Minute, Get, 9, Routine); got != 3 {
		t.Errorf("%d tokens, want what can be saved up: 3", got)
	}
	if got := a.Take(0, Get, 9, Routine) + a.Take(10*Minute, Get, 9, Routine); got != 0 {
		t.Errorf("%d tokens for going back", got)
	}
	years := 11*Minute + 200*365*24*time.Hour // beyond what the clock counts
	if got := a.Take(years, Get, 9, Routine); got != 3 {
		t.Errorf("%d tokens after many years, want 3", got)
	}
}
