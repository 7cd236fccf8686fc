package placement

import (
	"slices"

	"github.com/skerry-dev/skerry/persistence"
)

// balanceReplicas moves replicas from the usable node that has most to the one that has fewest, until they differ by at most
// one. Where the one has two more than the other there is a partition that it has and the other has not.
func (p *planner) balanceReplicas() {
	if len(p.usable) < 2 {
		return
	}
	count := map[persistence.NodeID]int{}
	for i := range p.parts {
		for _, id := range p.parts[i].voters {
			count[id]++
		}
	}
	for {
		most, fewest := p.usable[0], p.usable[0]
		for _, id := range p.usable {
			if count[id] > count[most] {
				most = id
			}
			if count[id] < count[fewest] {
				fewest = id
			}
		}
		if count[most]-count[fewest] <= 1 {
			return
		}
		c := p.cheapestMove(most, fewest)
		if c == nil {
			return
		}
		c.voters[slices.Index(c.voters, most)] = fewest
		c.owners = p.among(c.voters, Usable, Usable)
		count[most]--
		count[fewest]++
	}
}

// cheapestMove returns the partition whose replica is best moved: one that would be new either way, then one that its owner
// keeps, then the one that prefers the receiving node most. It is nil when there is none.
func (p *planner) cheapestMove(from, to persistence.NodeID) *part {
	var best *part
	var bestCost int
	for i := range p.parts {
		c := &p.parts[i]
		if c.few || !slices.Contains(c.voters, from) || slices.Contains(c.voters, to) {
			continue
		}
		cost := 0
		if c.now.has(from) {
			cost += 2
		}
		if !c.now.has(to) {
			cost += 2
		}
		if c.now.Owner == from {
			cost++
		}
		if best == nil || cost < bestCost || cost == bestCost && score(to, c.partition) > score(to, best.partition) {
			best, bestCost = c, cost
		}
	}
	return best
}

// chooseOwners keeps owners where they are as far as they may, and gives each other partition to who owns fewest.
func (p *planner) chooseOwners() {
	count := map[persistence.NodeID]int{}
	for i := range p.parts {
		if c := &p.parts[i]; slices.Contains(c.owners, c.now.Owner) {
			c.owner = c.now.Owner
			count[c.owner]++
		}
	}
	for i := range p.parts {
		c := &p.parts[i]
		if c.owner != 0 || len(c.owners) == 0 {
			continue
		}
		for _, id := range p.ranked(p.firstOwners(c), c.partition) {
			if c.owner == 0 || count[id] < count[c.owner] {
				c.owner = id
			}
		}
		count[c.owner]++
	}
}

// firstOwners are who may own a partition at once: its voters until now, if any of them may.
func (p *planner) firstOwners(c *part) []persistence.NodeID {
	var voters []persistence.NodeID
	for _, id := range c.owners {
		if slices.Contains(c.now.Voters, id) {
			voters = append(voters, id)
		}
	}
	if len(voters) > 0 {
		return voters
	}
	return c.owners
}

// gifts is what a node best gives to another one, by giving and by receiving node.
type gifts map[persistence.NodeID]map[persistence.NodeID]*part

// offer notes c as what a node gives to another one, if better says so of c and what was noted before.
func (g gifts) offer(from, to persistence.NodeID, c *part, better func(c, than *part) bool) {
	if g[from] == nil {
		g[from] = map[persistence.NodeID]*part{}
	}
	if than := g[from][to]; than == nil || better(c, than) {
		g[from][to] = c
	}
}

// balanceOwners moves owners until no chain of moves makes them fairer. A chain is one move nearly always: it is longer where
// the node that owns most shares no partition with the one that owns fewest.
func (p *planner) balanceOwners() {
	for {
		owned, gives := map[persistence.NodeID]int{}, gifts{}
		for i := range p.parts {
			c := &p.parts[i]
			if len(c.owners) == 0 {
				continue
			}
			owned[c.owner]++
			for _, to := range c.owners {
				if to != c.owner {
					gives.offer(c.owner, to, c, func(c, than *part) bool { return betterGiven(c, than, to) })
				}
			}
		}
		chain := p.shortestChain(owned, gives)
		if chain == nil {
			return
		}
		for i, from := range chain[:len(chain)-1] {
			gives[from][chain[i+1]].owner = chain[i+1]
		}
	}
}

// betterGiven reports whether a node should rather become the owner of c than of another one: fewer hand-overs, then a voter
// already, then what it prefers.
func betterGiven(c, than *part, to persistence.NodeID) bool {
	cost := func(c *part) int {
		sum := 0
		if c.now.Owner == c.owner {
			sum += 2
		}
		if c.now.Owner != to {
			sum += 2
		}
		if !slices.Contains(c.now.Voters, to) {
			sum++
		}
		return sum
	}
	if byCost := cost(c) - cost(than); byCost != 0 {
		return byCost < 0
	}
	return score(to, c.partition) > score(to, than.partition)
}

// shortestChain returns a shortest chain of nodes, each of which has something to give to the next, whose first owns at least
// two more than its last. It begins where most is owned; it is nil when there is none.
func (p *planner) shortestChain(owned map[persistence.NodeID]int, gives gifts) []persistence.NodeID {
	byOwned := slices.Clone(p.usable)
	slices.SortStableFunc(byOwned, func(a, b persistence.NodeID) int { return owned[a] - owned[b] })
	for _, first := range slices.Backward(byOwned) {
		before := map[persistence.NodeID]persistence.NodeID{first: 0}
		for queue := []persistence.NodeID{first}; len(queue) > 0; queue = queue[1:] {
			for _, to := range byOwned {
				if _, seen := before[to]; seen || gives[queue[0]][to] == nil {
					continue
				}
				before[to] = queue[0]
				if owned[to] <= owned[first]-2 {
					return chainTo(to, before)
				}
				queue = append(queue, to)
			}
		}
	}
	return nil
}

// chainTo follows a chain from its end.
func chainTo(last persistence.NodeID, before map[persistence.NodeID]persistence.NodeID) []persistence.NodeID {
	var chain []persistence.NodeID
	for id := last; id != 0; id = before[id] {
		chain = append(chain, id)
	}
	slices.Reverse(chain)
	return chain
}
