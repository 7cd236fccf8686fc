package loadtest

import (
	"fmt"
	"slices"
)

// stored is what an entity has at the end, as read back.
type stored struct {
	has   amounts
	block func(place) uint16 // nil: it has none
}

// check holds what is stored against what is known. It returns what does not fit, nil for nothing, and how many MEMORY turns
// crashes have taken at least.
func (a *account) check(got stored) (wrong []string, taken int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, t := range a.pending { // nothing died since
		a.settleLocked(t.seq, a.life, t.effect)
	}
	a.pending = nil
	kept := make([][]int, len(a.atRisk))
	c := crashes{account: a, writes: make([]map[place][]write, len(a.atRisk))}
	for i := range a.atRisk {
		c.writes[i] = a.atRisk[i].writes()
	}
	problem := ""
	if got.block != nil {
		problem = c.settledFit(&got)
	}
	for i := 0; i < len(a.atRisk) && problem == ""; i++ {
		var why string
		if kept[i], why = c.keptOf(i, &got); len(kept[i]) == 0 {
			problem = why
		}
	}
	if problem != "" {
		return []string{a.name + ": " + problem}, 0
	}
	taken = -1
	for sum, gone := range a.sums(kept) {
		why := a.fits(&got, &sum)
		switch {
		case why == "" && (taken < 0 || gone < taken):
			taken = gone
		case why != "" && (problem == "" || gone == 0):
			problem = why
		}
	}
	if taken < 0 {
		return []string{a.name + ": " + problem}, 0
	}
	return nil, taken
}

// crashes are an account's lists at risk, with their blocks by place.
type crashes struct {
	*account
	writes []map[place][]write
}

// settledFit holds the blocks that no crash has anything to do with against what is stored.
func (a *crashes) settledFit(got *stored) string {
	risky := map[place]bool{}
	for i := range a.atRisk {
		for at := range a.writes[i] {
			risky[at] = risky[at] || a.cells[at].life <= a.atRisk[i].life
		}
	}
	for at, c := range a.cells {
		if c.seq == 0 || risky[at] {
			continue
		}
		if have := got.block(at); have != c.id && !slices.Contains(c.perhaps, have) {
			return fmt.Sprintf("block %d,%d,%d is %d, set was %d", at.x, at.y, at.z, have, c.id)
		}
	}
	return ""
}

// write is a turn's of a list, by its place there, and the block that it set last.
type write struct {
	turn int
	id   uint16
}

// writes are those of a list, by place, in order.
func (r *risk) writes() map[place][]write {
	all := map[place][]write{}
	for turn := range r.turns {
		blocks := r.turns[turn].effect.blocks
		for i := 0; i+3 < len(blocks); i += 4 {
			at := place{blocks[i], blocks[i+1], blocks[i+2]}
			all[at] = append(all[at], write{turn, uint16(blocks[i+3])}) //nolint:gosec // block ids are 16 bits
		}
	}
	return all
}

// keptOf returns how many turns of a list can have been kept, so that its blocks are as stored: all of them first, then fewer. When
// none can, problem is a block that shows it.
func (a *crashes) keptOf(which int, got *stored) (kept []int, problem string) {
	list := &a.atRisk[which]
	bad := make([]bool, len(list.turns)+1)
	if got.block != nil {
		for at, writes := range a.writes[which] {
			if !a.decides(which, at) || slices.Contains(a.cells[at].perhaps, got.block(at)) {
				continue
			}
			for k := range bad {
				if want, known := a.after(which, at, writes, k); known && got.block(at) != want {
					bad[k] = true
					problem = fmt.Sprintf("block %d,%d,%d is %d, set was %d, and no end of what a crash may have taken explains it",
						at.x, at.y, at.z, got.block(at), want)
				}
			}
		}
	}
	for k := len(list.turns); k >= 0; k-- {
		if !bad[k] {
			kept = append(kept, k)
		}
	}
	return kept, problem
}

// decides reports whether a list has the last word about a block: nothing later set it.
func (a *crashes) decides(which int, at place) bool {
	if have, ok := a.cells[at]; ok && have.seq != 0 && have.life > a.atRisk[which].life {
		return false
	}
	for i := which + 1; i < len(a.atRisk); i++ {
		if len(a.writes[i][at]) > 0 {
			return false
		}
	}
	return true
}

// after is a block when so many turns of a list were kept; it is not known when an earlier crash may have taken what was there before.
func (a *crashes) after(which int, at place, writes []write, kept int) (id uint16, known bool) {
	for _, w := range slices.Backward(writes) {
		if w.turn < kept {
			return w.id, true
		}
	}
	for i := range which {
		if len(a.writes[i][at]) > 0 {
			return 0, false
		}
	}
	return a.cells[at].id, true
}

// maxSums bounds how many different sums are kept apart.
const maxSums = 100_000

// sums are all that the kept turns can add up to, each with how many turns are gone at least.
func (a *account) sums(kept [][]int) map[amounts]int {
	all := map[amounts]int{{}: 0}
	for i := range a.atRisk {
		turns, prefix := a.atRisk[i].turns, a.atRisk[i].prefixes()
		next := map[amounts]int{}
		for sum, gone := range all {
			for _, k := range kept[i] {
				with := sum
				for q := range with {
					with[q] += prefix[k][q]
				}
				if had, ok := next[with]; !ok && len(next) < maxSums || ok && gone+len(turns)-k < had {
					next[with] = gone + len(turns) - k
				}
			}
		}
		all = next
	}
	return all
}

// prefixes are what the first so many turns add up to, from none to all.
func (r *risk) prefixes() []amounts {
	prefix := make([]amounts, len(r.turns)+1)
	for k := range r.turns {
		prefix[k+1] = prefix[k]
		for _, c := range r.turns[k].effect.changes {
			prefix[k+1][c.of] += c.by
		}
	}
	return prefix
}

// fits says what does not fit when the turns at risk that were kept add up to so much; "" when all does.
func (a *account) fits(got *stored, kept *amounts) string {
	for q := qCoins; q < quantities; q++ {
		want := a.sure[q] + kept[q]
		have := got.has[q] - a.base[q]
		low, high := want+a.low[q], want+a.high[q]
		switch {
		case have < low:
			return fmt.Sprintf("%d of the acknowledged %s lost (stored %d, at first %d, acknowledged %+d, in doubt %+d to %+d)",
				low-have, q, got.has[q], a.base[q], want, a.low[q], a.high[q])
		case have > high:
			return fmt.Sprintf("%d %s too many (stored %d, at first %d, acknowledged %+d, in doubt %+d to %+d)",
				have-high, q, got.has[q], a.base[q], want, a.low[q], a.high[q])
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
