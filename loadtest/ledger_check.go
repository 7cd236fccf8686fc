package loadtest

import (
	"cmp"
	"fmt"
	"slices"
)

// stored is what an entity has at the end, as read back.
type stored struct {
	has   amounts
	block func(place) uint16 // nil: it has none
}

// check holds what is stored against what is known. It returns what does not fit, nil for nothing, and how many MEMORY turns
// a crash has taken.
func (a *account) check(got stored) (wrong []string, taken int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, t := range a.pending { // nothing died since
		a.settleLocked(t.seq, a.life, t.effect)
	}
	a.pending = nil
	first := ""
	a.prefixes(func(kept []int) (found bool) {
		problem := a.fits(&got, kept)
		if problem != "" {
			first = cmp.Or(first, problem)
			return false
		}
		for i, list := range a.atRisk {
			taken += len(list.turns) - kept[i]
		}
		first = ""
		return true
	})
	if first != "" {
		wrong = append(wrong, a.name+": "+first)
	}
	return wrong, taken
}

// maxTried bounds how many combinations of prefixes are tried.
const maxTried = 100_000

// prefixes calls try with how many turns of each list at risk were kept: all first, then fewer, every combination until try
// has found one.
func (a *account) prefixes(try func(kept []int) (found bool)) {
	kept := make([]int, len(a.atRisk))
	for i, list := range a.atRisk {
		kept[i] = len(list.turns)
	}
	for range maxTried {
		if try(kept) {
			return
		}
		i := 0
		for i < len(kept) && kept[i] == 0 {
			kept[i] = len(a.atRisk[i].turns)
			i++
		}
		if i == len(kept) {
			return
		}
		kept[i]--
	}
}

// fits says what does not fit when of each list at risk so many turns were kept; "" when all does.
func (a *account) fits(got *stored, kept []int) string {
	want := a.sure
	overlay := map[place]uint16{}
	for i, list := range a.atRisk {
		for _, t := range list.turns[:kept[i]] {
			for _, c := range t.effect.changes {
				want[c.of] += c.by
			}
			a.overlay(overlay, list.life, t.effect.blocks)
		}
	}
	for q := qCoins; q < quantities; q++ {
		have := got.has[q] - a.base[q]
		low, high := want[q]+a.low[q], want[q]+a.high[q]
		switch {
		case have < low:
			return fmt.Sprintf("%d of the acknowledged %s lost (stored %d, at first %d, acknowledged %+d, in doubt %+d to %+d)",
				low-have, q, got.has[q], a.base[q], want[q], a.low[q], a.high[q])
		case have > high:
			return fmt.Sprintf("%d %s too many (stored %d, at first %d, acknowledged %+d, in doubt %+d to %+d)",
				have-high, q, got.has[q], a.base[q], want[q], a.low[q], a.high[q])
		}
	}
	if got.block == nil {
		return ""
	}
	return a.blocksFit(got, overlay)
}

// overlay puts the blocks of a turn at risk over the settled ones, unless those were set in a later life.
func (a *account) overlay(over map[place]uint16, life int, blocks []int32) {
	for i := 0; i+3 < len(blocks); i += 4 {
		at := place{blocks[i], blocks[i+1], blocks[i+2]}
		if have, ok := a.cells[at]; !ok || have.life <= life {
			over[at] = uint16(blocks[i+3]) //nolint:gosec // block ids are 16 bits
		}
	}
}

func (a *account) blocksFit(got *stored, over map[place]uint16) string {
	for at, id := range over {
		if got.block(at) != id && !slices.Contains(a.cells[at].perhaps, got.block(at)) {
			return fmt.Sprintf("block %d,%d,%d is %d, set was %d", at.x, at.y, at.z, got.block(at), id)
		}
	}
	for at, c := range a.cells {
		if _, replaced := over[at]; replaced || c.seq == 0 {
			continue
		}
		if have := got.block(at); have != c.id && !slices.Contains(c.perhaps, have) {
			return fmt.Sprintf("block %d,%d,%d is %d, set was %d", at.x, at.y, at.z, have, c.id)
		}
	}
	return ""
}

// conservation adds up the items of all entities: what is in all together must be what was there at first, and what was acknowledged
// to have come or gone since. A transfer changes nothing of it, also one of which nobody knows what became.
type conservation struct{ had, has, sure, low, high amounts }

func (s *conservation) add(a *account, got *stored) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for q := qItem; q < quantities; q++ {
		s.had[q] += a.base[q]
		s.has[q] += got.has[q]
		s.sure[q] += a.sure[q]
		s.low[q] += a.low[q] - a.movedLow[q]
		s.high[q] += a.high[q] - a.movedHigh[q]
	}
}

func (s *conservation) wrong() (wrong []string) {
	for q := qItem; q < quantities; q++ {
		have := s.has[q] - s.had[q]
		if have < s.sure[q]+s.low[q] || have > s.sure[q]+s.high[q] {
			wrong = append(wrong, fmt.Sprintf("%s: %d are there, %d at first, %+d since (in doubt %+d to %+d): %+d of nothing",
				q, s.has[q], s.had[q], s.sure[q], s.low[q], s.high[q], have-s.sure[q]))
		}
	}
	return wrong
}
