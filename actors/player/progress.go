package player

import (
	"time"

	"github.com/skerry-dev/skerry/actors/transfer"
	"github.com/skerry-dev/skerry/codec/skerryv1"
	"github.com/skerry-dev/skerry/codec/storev1"
)

// addExperience adds to the experience of the present level, and uses up what each level gained costs.
func addExperience(rules *Rules, p *skerryv1.Player, cmd *skerryv1.AddExperience) (*storev1.PlayerEvent, *skerryv1.PlayerReply, error) {
	amount := cmd.GetAmount()
	before, experience := max(1, p.GetProfile().GetLevel()), p.GetProfile().GetExperience()
	switch {
	case amount <= 0 || amount > rules.greatestAmount():
		return nil, nil, refuse(ErrBadAmount, "addExperience.amount", "is %d, not within 1..%d", amount, rules.greatestAmount())
	case experience > MaxExact-amount:
		return nil, nil, refuse(ErrOverflow, "addExperience.amount", "%d more than %d is over %d", amount, experience, int64(MaxExact))
	}
	experience += amount
	level := before
	for level < rules.greatestLevel() && experience >= rules.LevelCurve.cost(level) {
		experience -= rules.LevelCurve.cost(level)
		level++
	}
	changed := &storev1.ExperienceChanged{Level: level, Experience: experience}
	gained := &skerryv1.ExperienceGained{Level: level, Experience: experience, LevelsGained: level - before}
	return &storev1.PlayerEvent{Event: &storev1.PlayerEvent_ExperienceChanged{ExperienceChanged: changed}},
		&skerryv1.PlayerReply{Reply: &skerryv1.PlayerReply_Experience{Experience: gained}}, nil
}

func addStatistics(rules *Rules, p *skerryv1.Player, cmd *skerryv1.AddStatistics) (*storev1.PlayerEvent, *skerryv1.PlayerReply, error) {
	delta, next := cmd.GetDelta(), p.GetStatistics().CloneVT()
	if next == nil {
		next = &skerryv1.Statistics{}
	}
	some := false
	for _, add := range []struct {
		field string
		delta int64
		to    *int64
	}{
		{"gamesPlayed", delta.GetGamesPlayed(), &next.GamesPlayed},
		{"enemiesDefeated", delta.GetEnemiesDefeated(), &next.EnemiesDefeated},
		{"coinsEarned", delta.GetCoinsEarned(), &next.CoinsEarned},
		{"itemsCollected", delta.GetItemsCollected(), &next.ItemsCollected},
		{"totalPlayTime", delta.GetTotalPlayTime(), &next.TotalPlayTime},
		{"blocksPlaced", delta.GetBlocksPlaced(), &next.BlocksPlaced},
		{"blocksBroken", delta.GetBlocksBroken(), &next.BlocksBroken},
	} {
		switch {
		case add.delta < 0 || add.delta > rules.greatestAmount():
			return nil, nil, refuse(ErrBadAmount, "addStatistics.delta."+add.field, "is %d, not within 0..%d", add.delta, rules.greatestAmount())
		case *add.to > MaxExact-add.delta:
			return nil, nil, refuse(ErrOverflow, "addStatistics.delta."+add.field, "%d more than %d is over %d", add.delta, *add.to, int64(MaxExact))
		}
		*add.to += add.delta
		some = some || add.delta > 0
	}
	if !some {
		return nil, nil, refuse(ErrBadAmount, "addStatistics.delta", "adds nothing")
	}
	return &storev1.PlayerEvent{Event: &storev1.PlayerEvent_StatisticsChanged{StatisticsChanged: &storev1.StatisticsChanged{Statistics: next}}},
		&skerryv1.PlayerReply{Reply: &skerryv1.PlayerReply_Statistics{Statistics: next}}, nil
}

// claimDailyReward goes by UTC days: the day after the last claim carries the streak on, a later one begins it anew. The
// event's coins are the balance afterwards, the reply's are the reward.
func claimDailyReward(rules *Rules, p *skerryv1.Player, turn Turn) (*storev1.PlayerEvent, *skerryv1.PlayerReply, error) {
	now := turn.Now.UTC()
	if now.Year() < 1 || now.Year() > 9999 {
		return nil, nil, refuse(ErrBadRequest, "claimDailyReward", "the year %d is not one to claim in", now.Year())
	}
	today := time.Date(now.Year(), now.Month(), now.Day(), 0, 0, 0, 0, time.UTC)
	before := p.GetDailyRewards()
	streak := int32(1)
	if before != nil && before.LastClaimDate != nil {
		last, err := time.Parse(time.DateOnly, before.GetLastClaimDate())
		switch {
		case err != nil:
			return nil, nil, refuse(ErrBadRequest, "claimDailyReward", "the date %.20q of the last claim is no date", before.GetLastClaimDate())
		case !last.Before(today):
			return nil, nil, refuse(ErrAlreadyClaimed, "claimDailyReward", "the reward of %s was claimed", last.Format(time.DateOnly))
		case last.AddDate(0, 0, 1).Equal(today):
			streak = min(max(0, before.GetCurrentStreak()), maxCount-1) + 1
		}
	}
	reward, balance := rules.dailyReward(streak), p.GetProfile().GetCoins()
	if greatest := rules.greatestBalance() - transfer.ReservedBalance(rules.holds, skerryv1.Currency_COINS); balance > greatest-reward {
		return nil, nil, refuse(ErrOverflow, "claimDailyReward", "%d more than the balance of %d is over %d", reward, balance, greatest)
	}
	next := before.CloneVT()
	if next == nil {
		next = &skerryv1.DailyRewards{}
	}
	next.CurrentStreak = streak
	next.LastClaimDate = new(today.Format(time.DateOnly))
	next.TotalDaysClaimed = min(max(0, next.GetTotalDaysClaimed()), maxCount-1) + 1
	claimed := &storev1.DailyRewardClaimed{
		DailyRewards: next, Coins: balance + reward, CoinsEarned: countable(p.GetStatistics().GetCoinsEarned(), reward),
	}
	reply := &skerryv1.DailyReward{CurrentStreak: next.GetCurrentStreak(), TotalDaysClaimed: next.GetTotalDaysClaimed(), Coins: reward}
	return &storev1.PlayerEvent{Event: &storev1.PlayerEvent_DailyRewardClaimed{DailyRewardClaimed: claimed}},
		&skerryv1.PlayerReply{Reply: &skerryv1.PlayerReply_DailyReward{DailyReward: reply}}, nil
}
