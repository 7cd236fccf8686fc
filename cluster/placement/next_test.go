// Goal: the steps come to the target, and take no majority away on their way, whatever happens to nodes meanwhile.
// Method: examples of each step; then a model of a few partitions' replicas, in which nodes join, leave, die and come back
// while the steps are made.
package placement

import (
	"fmt"
	"maps"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/skerry-dev/skerry/persistence"
	"github.com/skerry-dev/skerry/persistence/replication"
)

const (
	voter   = replication.Voter
	learner = replication.Learner
	none    = replication.NoReplica
)

// seen is a replica in an example: one that has everything, unless it is slow or silent.
type seen struct {
	node         persistence.NodeID
	role         replication.Role
	slow, silent bool
}

func statusOf(replicas ...seen) replication.PartitionStatus {
	s := replication.PartitionStatus{Owner: true, Applied: 1 << 20, Last: 1 << 20}
	for _, r := range replicas {
		match := s.Last
		if r.slow {
			match = 1
		}
		s.Replicas = append(s.Replicas, replication.Replica{ID: uint64(r.node), Node: r.node, Role: r.role, Match: match, Active: !r.silent})
	}
	return s
}

func TestNextByExample(t *testing.T) {
	v := func(id persistence.NodeID) seen { return seen{node: id, role: voter} }
	l := func(id persistence.NodeID) seen { return seen{node: id, role: learner} }
	slow := func(r seen) seen { r.slow = true; return r }
	silent := func(r seen) seen { r.silent = true; return r }
	three := Target{Voters: ids{1, 2, 3}, Owner: 1}
	for name, c := range map[string]struct {
		target   Target
		replicas []seen
		unusable ids
		want     string // the step, then the words; without a step the words alone
	}{
		"done":                        {target: three, replicas: []seen{v(1), v(2), v(3)}},
		"learners first":              {target: three, replicas: []seen{v(1)}, want: "[{2 learner} {3 learner}] 0: adds learners 2, 3"},
		"one learner is slow":         {target: three, replicas: []seen{v(1), l(2), slow(l(3))}, want: "waits for 3 to catch up"},
		"one learner has nothing":     {target: three, replicas: []seen{v(1), l(2), silent(slow(l(3)))}, want: "waits for 3 to catch up"},
		"one to three at once":        {target: three, replicas: []seen{v(1), l(2), l(3)}, want: "[{2 voter} {3 voter}] 0: promotes 2, 3"},
		"one is away":                 {target: three, replicas: []seen{v(1), l(2), silent(l(3))}, unusable: ids{3}, want: "waits for 2, 3 to come back"},
		"a change is on its way":      {target: three, replicas: []seen{v(1), l(2), {node: 3}}, want: "waits until the change before is done"},
		"a swap in one":               {target: three, replicas: []seen{v(1), v(2), silent(v(4)), l(3)}, unusable: ids{4}, want: "[{3 voter} {4 none}] 0: promotes 3, removes 4"},
		"no majority would be left":   {target: three, replicas: []seen{v(1), silent(v(2)), silent(v(3)), v(4), v(5)}, want: "waits until more voters answer"},
		"the dead one first":          {target: Target{Voters: ids{1, 5, 6}, Owner: 1}, replicas: []seen{v(1), v(2), silent(v(3)), l(5), silent(l(6))}, unusable: ids{3, 6}, want: "[{5 voter} {3 none}] 0: promotes 5, removes 3"},
		"three to one and a learner":  {target: Target{Voters: ids{1}, Learners: ids{2}, Owner: 1}, replicas: []seen{v(1), v(2), v(3)}, want: "[{2 learner} {3 none}] 0: demotes 2, removes 3"},
		"to the owner that is wanted": {target: Target{Voters: ids{1, 2, 3}, Owner: 2}, replicas: []seen{v(1), v(2), v(3)}, want: "[] 2: hands over to 2"},
		"it is behind":                {target: Target{Voters: ids{1, 2, 3}, Owner: 2}, replicas: []seen{v(1), slow(v(2)), v(3)}, want: "waits to hand over to 2"},
		"not while copying":           {target: Target{Voters: ids{1, 2, 3}, Owner: 2}, replicas: []seen{v(1), v(2), v(4), slow(l(3))}, want: "waits for 3 to catch up"},
		"leaving, while copying":      {target: Target{Voters: ids{1, 2, 3}, Owner: 2}, replicas: []seen{v(1), v(2), v(4), slow(l(3))}, unusable: ids{1}, want: "[] 2: hands over to 2"},
		"leaving, to anybody":         {target: Target{Voters: ids{1, 2, 3}, Owner: 3}, replicas: []seen{v(1), slow(v(2)), v(4), slow(l(3))}, unusable: ids{1}, want: "[] 4: hands over to 4"},
		"it goes itself":              {target: Target{Voters: ids{2, 3, 4}, Owner: 4}, replicas: []seen{v(1), v(2), v(3), l(4)}, want: "[] 2: hands over to 2"},
		"alone, it makes another one": {target: Target{Voters: ids{2}, Learners: ids{1}, Owner: 2}, replicas: []seen{v(1), l(2)}, want: "[{2 voter}] 0: promotes 2"},
		"what is not wanted":          {target: three, replicas: []seen{v(1), v(2), v(3), l(4)}, want: "[{4 none}] 0: removes 4"},
		"not before others have it":   {target: Target{Voters: ids{1}, Learners: ids{2}, Owner: 1}, replicas: []seen{v(1), slow(l(2)), l(3)}, want: "waits for others before 3 may go"},
	} {
		usable := func(id persistence.NodeID) bool { return !slices.Contains(c.unusable, id) }
		step, why := Next(c.target, 1, statusOf(c.replicas...), usable)
		got := why
		if len(step.Changes) > 0 || step.HandTo != 0 {
			got = fmt.Sprintf("%v %d: %s", step.Changes, step.HandTo, why)
		}
		if got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
	if step, why := Next(three, 1, replication.PartitionStatus{Replicas: statusOf(v(1)).Replicas}, nil); why != "" || len(step.Changes) > 0 {
		t.Errorf("who owns nothing makes step %v: %s", step, why)
	}
}

// world is the model: what nodes there are, and what each partition's group has come to.
type world struct {
	health map[persistence.NodeID]Health
	dead   map[persistence.NodeID]bool // of those that are not there, whoever knows it
	target []Target
	groups []*group
}

// group is one partition's replicas. has tells which have everything.
type group struct {
	roles map[persistence.NodeID]replication.Role
	has   map[persistence.NodeID]bool
	owner persistence.NodeID
}

func (w *world) usable(id persistence.NodeID) bool { return w.health[id] == Usable && !w.dead[id] }

// majority reports whether most voters are there.
func (w *world) majority(g *group) bool {
	voters, there := 0, 0
	for id, role := range g.roles {
		if role == voter {
			if voters++; !w.dead[id] {
				there++
			}
		}
	}
	return there*2 > voters
}

func (w *world) status(g *group) replication.PartitionStatus {
	var list []seen
	for _, id := range slices.Sorted(maps.Keys(g.roles)) {
		list = append(list, seen{id, g.roles[id], !g.has[id], w.dead[id]})
	}
	return statusOf(list...)
}

// elect makes somebody the owner as Raft would: a voter that is there, if most are.
func (w *world) elect(t *rapid.T, g *group) {
	if g.roles[g.owner] == voter && !w.dead[g.owner] {
		return
	}
	g.owner = 0
	if !w.majority(g) {
		return
	}
	var candidates ids
	for _, id := range slices.Sorted(maps.Keys(g.roles)) {
		if g.roles[id] == voter && !w.dead[id] {
			candidates = append(candidates, id)
		}
	}
	g.owner = rapid.SampledFrom(candidates).Draw(t, "elected")
}

// step makes the next step of a partition, and reports whether there was one.
func (w *world) step(t *rapid.T, i int) bool {
	g := w.groups[i]
	w.elect(t, g)
	if g.owner == 0 || !w.majority(g) {
		return false
	}
	step, why := Next(w.target[i], g.owner, w.status(g), w.usable)
	before := fmt.Sprint(g.roles)
	voters := len(g.with(voter))
	switch {
	case step.HandTo != 0:
		if len(step.Changes) > 0 || step.HandTo == g.owner || g.roles[step.HandTo] != voter || !w.usable(step.HandTo) {
			t.Fatalf("%s %v: %+v", why, before, step)
		}
		g.owner = step.HandTo
	case len(step.Changes) > 0:
		for _, c := range step.Changes {
			if c.Node == g.owner || c.Role == voter && (g.roles[c.Node] != learner || !g.has[c.Node]) {
				t.Fatalf("%s %v of %d: cannot change %+v", why, before, g.owner, c)
			}
			g.roles[c.Node] = c.Role
			if c.Role == none {
				delete(g.roles, c.Node)
				delete(g.has, c.Node)
			}
		}
	default:
		return false
	}
	if why == "" {
		t.Fatalf("step %+v without a word", step)
	}
	if !w.majority(g) {
		t.Fatalf("%s: of %s %v are left, without %v", why, before, g.roles, w.dead)
	}
	if now := len(g.with(voter)); now == 2 && voters > 2 || now == 2 && voters == 1 && slices.Contains(w.target[i].Voters, g.owner) {
		t.Fatalf("%s: two voters, %v after %s", why, g.roles, before)
	}
	return true
}

func (g *group) with(role replication.Role) ids {
	var list ids
	for _, id := range slices.Sorted(maps.Keys(g.roles)) {
		if g.roles[id] == role {
			list = append(list, id)
		}
	}
	return list
}

// happen lets something happen to a node.
func (w *world) happen(t *rapid.T) {
	id := persistence.NodeID(rapid.IntRange(1, min(len(w.health)+1, 7)).Draw(t, "node")) //nolint:gosec // small
	switch what := rapid.SampledFrom([]string{"comes", "comes", "comes", "dies", "is absent", "is lost", "leaves", "is removed"}).Draw(t, "what"); {
	case w.health[id] == Removed:
	case w.health[id] == 0, what == "comes":
		w.health[id], w.dead[id] = Usable, false
	case what == "dies":
		w.dead[id] = true
	case what == "is absent":
		w.health[id], w.dead[id] = Absent, true
	case what == "is lost":
		w.health[id], w.dead[id] = Lost, true
	case what == "leaves":
		w.health[id] = Leaving
	case what == "is removed":
		w.health[id] = Removed
	}
}

func TestStepsComeToTheTarget(t *testing.T) {
	reached := 0
	rapid.Check(t, func(t *rapid.T) {
		w := &world{health: map[persistence.NodeID]Health{1: Usable}, dead: map[persistence.NodeID]bool{}}
		for range 6 {
			w.target = append(w.target, Target{Voters: ids{1}, Owner: 1})
			w.groups = append(w.groups, &group{roles: map[persistence.NodeID]replication.Role{1: voter}, has: map[persistence.NodeID]bool{1: true}, owner: 1})
		}
		for range rapid.IntRange(1, 15).Draw(t, "events") {
			w.happen(t)
			w.target = Plan(nodesOf(w.health), w.target)
			steps := rapid.IntRange(0, 40).Draw(t, "steps")
			for n := range steps {
				w.step(t, n%len(w.groups))
				if n%3 == 0 {
					w.catchUp(w.groups[rapid.IntRange(0, len(w.groups)-1).Draw(t, "group")])
				}
			}
		}
		for i, g := range w.groups {
			for steps := 0; ; steps++ {
				w.catchUp(g)
				if !w.step(t, i) {
					break
				}
				if steps == 12 {
					t.Fatalf("partition %d: no end of steps: %v of %d, target %+v", i, g.roles, g.owner, w.target[i])
				}
			}
			if w.reachable(i) {
				reached++
				w.mustBeThere(t, i)
			}
		}
	})
	if reached == 0 {
		t.Error("no partition could come to its target")
	}
}

// catchUp gives everything to those that are there, if there is an owner to give it.
func (w *world) catchUp(g *group) {
	for id := range g.roles {
		g.has[id] = g.has[id] || w.majority(g) && !w.dead[id]
	}
}

// reachable reports whether nothing hinders a partition from coming to its target.
func (w *world) reachable(i int) bool {
	for _, id := range slices.Concat(w.target[i].Voters, w.target[i].Learners) {
		if !w.usable(id) {
			return false
		}
	}
	return w.majority(w.groups[i])
}

func (w *world) mustBeThere(t *rapid.T, i int) {
	g, target := w.groups[i], w.target[i]
	if !slices.Equal(g.with(voter), target.Voters) || !slices.Equal(g.with(learner), target.Learners) || g.owner != target.Owner {
		_, why := Next(target, g.owner, w.status(g), w.usable)
		t.Fatalf("partition %d: %v of %d, target %+v: %q", i, g.roles, g.owner, target, why)
	}
	if _, why := Next(target, g.owner, w.status(g), w.usable); why != "" {
		t.Fatalf("partition %d is where it should be, and %s", i, why)
	}
}
