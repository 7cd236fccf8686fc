package turn

import "github.com/skerry-dev/skerry/codec/storev1"

// ReadAhead reads, of all these states at once, what most turns read of one: their sessions, the ends of their tables of
// remembered answers, and of a player the balances. The reads of one level depend on nothing but those of the level before,
// so the processor has them all on their way to memory at the same time, instead of one after the other in each turn. It
// changes nothing; the sum means nothing, and keeps the compiler from leaving the reads out. No state may be nil.
func ReadAhead(states []*storev1.Entity) (sum uint64) {
	for _, state := range states {
		sum += state.Seq + uint64(len(state.Outcomes)) + uint64(len(state.Holds)) + uint64(len(state.EndedTransfers))
	}
	for _, state := range states {
		sum += newestSession(state).GetNumber()
		if n := len(state.Outcomes); n > 0 {
			sum += uint64(state.Outcomes[0]) + uint64(state.Outcomes[n-1])
		}
		if state.GetPlayer().GetProfile() != nil {
			sum++
		}
	}
	for _, state := range states {
		session := newestSession(state)
		if token, server := session.GetToken(), session.GetServer(); token != "" && server != "" {
			sum += uint64(token[0]) + uint64(server[0])
		}
		p := state.GetPlayer()
		sum += uint64(p.GetProfile().GetCoins()) + uint64(p.GetStatistics().GetCoinsEarned()) //nolint:gosec // a sum that means nothing
	}
	return sum
}
