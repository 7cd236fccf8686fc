package player

import (
	"errors"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	"github.com/skerry-dev/skerry/codec/skerryv1"
)

func TestExperienceGainsLevels(t *testing.T) {
	for name, c := range map[string]struct {
		rules  *Rules
		amount string
		want   string
	}{
		"one short":     {nil, "99", `{"experience":{"level":1,"experience":"99"}}`},
		"one level":     {nil, "100", `{"experience":{"level":2,"levelsGained":1}}`},
		"two levels":    {nil, "301", `{"experience":{"level":3,"experience":"1","levelsGained":2}}`},
		"flat curve":    {&Rules{LevelCurve: LevelCurve{First: 10, Step: -1}}, "35", `{"experience":{"level":4,"experience":"5","levelsGained":3}}`},
		"the last one":  {&Rules{LevelCurve: LevelCurve{GreatestLevel: 2}}, "1000", `{"experience":{"level":2,"experience":"900","levelsGained":1}}`},
		"all there are": {nil, "9007199254740991", `{"experience":{"level":1000,"experience":"9007199204790991","levelsGained":999}}`},
	} {
		p := New(c.rules, "Ann", testTurn())
		if got := json(t, run(t, c.rules, p, `{"addExperience":{"amount":`+c.amount+`}}`)); got != c.want {
			t.Errorf("%s: %s, want %s", name, got, c.want)
		}
	}
	p := New(nil, "Ann", testTurn())
	p.Profile.Experience = 1
	if _, _, err := Decide(nil, p, command(t, `{"addExperience":{"amount":9007199254740991}}`), testTurn()); !errors.Is(err, ErrOverflow) {
		t.Errorf("overflow: %v", err)
	}
}

func TestFullCountersDoNotStopTheGame(t *testing.T) {
	p := ann(t)
	p.Statistics.CoinsEarned, p.Statistics.ItemsCollected = MaxExact-1, MaxExact
	run(t, nil, p, `{"earn":{"currency":"COINS","amount":50}}`, `{"give":{"itemId":1,"count":1}}`)
	if p.GetStatistics().GetCoinsEarned() != MaxExact || p.GetStatistics().GetItemsCollected() != MaxExact {
		t.Fatalf("statistics = %v", p.GetStatistics())
	}
	if _, _, err := Decide(nil, p, command(t, `{"addStatistics":{"delta":{"coinsEarned":1}}}`), testTurn()); !errors.Is(err, ErrOverflow) {
		t.Fatalf("adding to a full statistic: %v", err)
	}
}

// claim claims the daily reward at a moment.
func claim(p *skerryv1.Player, rules *Rules, now time.Time) (*skerryv1.DailyReward, error) {
	cmd := &skerryv1.PlayerCommand{Command: &skerryv1.PlayerCommand_ClaimDailyReward{}}
	events, reply, err := Decide(rules, p, cmd, Turn{Now: now})
	if err != nil {
		return nil, err
	}
	return reply.GetDailyReward(), Evolve(p, events[0])
}

func TestDailyRewards(t *testing.T) {
	east := time.FixedZone("east", 10*60*60)
	p := New(nil, "Ann", testTurn())
	for _, c := range []struct {
		now   time.Time
		want  *skerryv1.DailyReward // nil: already claimed
		coins int64
		date  string
	}{
		{time.Date(2026, 2, 27, 23, 59, 59, 0, time.UTC), &skerryv1.DailyReward{CurrentStreak: 1, TotalDaysClaimed: 1, Coins: 50}, 150, "2026-02-27"},
		{time.Date(2026, 2, 27, 23, 59, 59, 999, time.UTC), nil, 150, "2026-02-27"},
		{time.Date(2026, 2, 28, 9, 59, 0, 0, east), nil, 150, "2026-02-27"}, // the 27th in UTC
		{time.Date(2026, 2, 28, 0, 0, 0, 0, time.UTC), &skerryv1.DailyReward{CurrentStreak: 2, TotalDaysClaimed: 2, Coins: 75}, 225, "2026-02-28"},
		{time.Date(2026, 2, 27, 12, 0, 0, 0, time.UTC), nil, 225, "2026-02-28"}, // a clock that went back
		{time.Date(2026, 3, 1, 23, 0, 0, 0, time.UTC), &skerryv1.DailyReward{CurrentStreak: 3, TotalDaysClaimed: 3, Coins: 100}, 325, "2026-03-01"},
		{time.Date(2026, 3, 3, 0, 0, 0, 0, time.UTC), &skerryv1.DailyReward{CurrentStreak: 1, TotalDaysClaimed: 4, Coins: 50}, 375, "2026-03-03"},
	} {
		got, err := claim(p, nil, c.now)
		if c.want == nil && !errors.Is(err, ErrAlreadyClaimed) || c.want != nil && (err != nil || !proto.Equal(got, c.want)) {
			t.Errorf("%s: %v, %v, want %v", c.now, got, err, c.want)
		}
		if p.GetProfile().GetCoins() != c.coins || p.GetDailyRewards().GetLastClaimDate() != c.date || p.GetStatistics().GetCoinsEarned() != c.coins-100 {
			t.Errorf("%s: coins %d, earned %d, date %s", c.now, p.GetProfile().GetCoins(), p.GetStatistics().GetCoinsEarned(), p.GetDailyRewards().GetLastClaimDate())
		}
	}
}

func TestLongStreaksKeepTheLastReward(t *testing.T) {
	rules := &Rules{DailyRewards: []int64{5, 0, 7}}
	p := New(rules, "Ann", testTurn())
	var got []int64
	for day := range 5 {
		reward, err := claim(p, rules, testTurn().Now.AddDate(0, 0, day))
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, reward.GetCoins())
	}
	if want := [5]int64{5, 0, 7, 7, 7}; [5]int64(got) != want {
		t.Fatalf("rewards = %v, want %v", got, want)
	}
}

func TestDailyRewardRefusesWhatCannotBe(t *testing.T) {
	rich := New(nil, "Ann", testTurn())
	rich.Profile.Coins = MaxExact
	torn := New(nil, "Ann", testTurn())
	torn.DailyRewards.LastClaimDate = new("yesterday")
	for name, c := range map[string]struct {
		p    *skerryv1.Player
		now  time.Time
		want error
	}{
		"too rich":    {rich, testTurn().Now, ErrOverflow},
		"no date":     {torn, testTurn().Now, ErrBadRequest},
		"no year":     {New(nil, "Ann", testTurn()), time.Date(-1, 1, 1, 0, 0, 0, 0, time.UTC), ErrBadRequest},
		"a late year": {New(nil, "Ann", testTurn()), time.Date(10_000, 1, 1, 0, 0, 0, 0, time.UTC), ErrBadRequest},
	} {
		if _, err := claim(c.p, nil, c.now); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
}

// Goal: whatever the clock does, no day is claimed twice.
func TestNoDayIsClaimedTwice(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := New(nil, "Ann", testTurn())
		claimed := map[string]bool{}
		for _, hours := range rapid.SliceOfN(rapid.IntRange(-100, 100), 1, 50).Draw(t, "hours") {
			now := testTurn().Now.Add(time.Duration(hours) * time.Hour)
			_, err := claim(p, nil, now)
			day := now.Format(time.DateOnly)
			if err == nil && claimed[day] {
				t.Fatalf("%s was claimed twice", day)
			}
			claimed[day] = claimed[day] || err == nil
		}
	})
}
