// Goal: a plan is fair, settled, moves little, and keeps the promises about who may vote.
// Method: rapid draws clusters and what becomes of their nodes; every plan is held against the promises.
package placement

import (
	"fmt"
	"reflect"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/skerry-dev/skerry/persistence"
)

type ids = []persistence.NodeID

func TestPlanKeepsItsPromises(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		now := make([]Target, rapid.IntRange(1, 40).Draw(t, "partitions"))
		health := map[persistence.NodeID]Health{}
		for id := range persistence.NodeID(rapid.IntRange(1, 4).Draw(t, "nodes")) {
			health[id+1] = Usable
		}
		if rapid.Bool().Draw(t, "one node has all") {
			for i := range now {
				now[i] = Target{Voters: ids{1}, Owner: 1}
			}
		}
		for range rapid.IntRange(1, 12).Draw(t, "plans") {
			nodes := nodesOf(health)
			before := fmt.Sprint(now)
			got := Plan(nodes, now)
			if fmt.Sprint(now) != before {
				t.Fatal("the plan changed what was planned before")
			}
			if complaint := inspect(health, now, got); complaint != "" {
				t.Fatalf("%s\nnodes %v\nnow %v\ngot %v", complaint, nodes, now, got)
			}
			slices.Reverse(nodes)
			if again := Plan(nodes, now); !reflect.DeepEqual(got, again) {
				t.Fatalf("the order of nodes matters: %v, %v", got, again)
			}
			if again := Plan(nodes, got); !reflect.DeepEqual(got, again) {
				t.Fatalf("not settled\nnodes %v\n now %v\nonce %v\ntwice %v", nodes, now, got, again)
			}
			now = got
			changeOne(t, health)
		}
	})
}

// changeOne lets something happen to a node: another state that it can come to, or a new node.
func changeOne(t *rapid.T, health map[persistence.NodeID]Health) {
	id := persistence.NodeID(rapid.IntRange(1, min(len(health)+1, 9)).Draw(t, "node")) //nolint:gosec // small
	if health[id] != Removed {
		health[id] = rapid.SampledFrom([]Health{Usable, Usable, Leaving, Absent, Lost, Removed}).Draw(t, "health")
	}
}

func nodesOf(health map[persistence.NodeID]Health) []Node {
	var nodes []Node
	for id, h := range health {
		nodes = append(nodes, Node{id, h})
	}
	return nodes
}

// inspect holds a plan against the promises.
func inspect(health map[persistence.NodeID]Health, now, got []Target) string {
	replicas, owners := map[persistence.NodeID]int{}, map[persistence.NodeID]int{}
	simple, usable := true, 0
	for id, h := range health {
		simple = simple && (h == Usable || h == Removed)
		if h == Usable {
			usable++
			replicas[id], owners[id] = 0, 0
		}
	}
	for i := range got {
		if complaint := inspectOne(health, usable, &now[i], &got[i]); complaint != "" {
			return fmt.Sprintf("partition %d: %s", i, complaint)
		}
		for _, id := range slices.Concat(got[i].Voters, got[i].Learners) {
			if health[id] == Usable {
				replicas[id]++
			}
		}
		if health[got[i].Owner] == Usable {
			owners[got[i].Owner]++
		}
	}
	if spread(replicas) > 1 {
		return fmt.Sprintf("replicas are unfair: %v", replicas)
	}
	if simple && spread(owners) > 1 {
		return fmt.Sprintf("owners are unfair: %v", owners)
	}
	if moved, due := countMoves(health, usable, now, got); moved > due {
		return fmt.Sprintf("%d new replicas, %d were due", moved, due)
	}
	return ""
}

func inspectOne(health map[persistence.NodeID]Health, usable int, now, got *Target) string {
	all := slices.Concat(got.Voters, got.Learners)
	slices.Sort(all)
	kept := 0
	for _, id := range slices.Concat(now.Voters, now.Learners) {
		if h := health[id]; h > Usable && h < Removed {
			kept++
		}
	}
	switch {
	case usable+kept == 0:
		if !reflect.DeepEqual(now, got) {
			return "nobody is left, and it changed"
		}
		return ""
	case len(got.Voters) != 1 && len(got.Voters) != 3:
		return fmt.Sprintf("%d voters", len(got.Voters))
	case usable >= 3 && (len(got.Voters) != 3 || len(got.Learners) > 0):
		return "not three voters alone"
	case usable == 2 && len(all) < 2:
		return "there are two nodes and not two replicas"
	case !slices.Contains(got.Voters, got.Owner):
		return "the owner is no voter"
	case len(slices.Compact(slices.Clone(all))) != len(all) || !slices.IsSorted(got.Voters) || !slices.IsSorted(got.Learners):
		return "somebody is there twice, or not in order"
	}
	for _, id := range all {
		switch h := health[id]; {
		case h == Removed:
			return fmt.Sprintf("node %d was removed", id)
		case h != Usable && !now.has(id):
			return fmt.Sprintf("node %d is %v and got a replica", id, h)
		case h == Lost && usable >= 3:
			return fmt.Sprintf("node %d is lost and was not replaced", id)
		case h == Lost && usable > 0 && slices.Contains(got.Voters, id) && !slices.Contains(now.Voters, id):
			return fmt.Sprintf("node %d is lost and got a vote", id)
		case health[got.Owner] != Usable && h == Usable && slices.Contains(got.Voters, id):
			return fmt.Sprintf("node %d could own it", id)
		}
	}
	for _, id := range now.Voters {
		if h := health[id]; (h == Leaving || h == Absent) && !got.has(id) {
			return fmt.Sprintf("node %d is %v and lost its replica", id, h)
		}
	}
	return ""
}

// countMoves returns how many replicas are new, and how many may be: one for each that makes it fair, two for each that is
// missing, because who has fewest may have that partition already.
func countMoves(health map[persistence.NodeID]Health, usable int, now, got []Target) (moved, due int) {
	kept, all := map[persistence.NodeID]int{}, 0
	for i := range got {
		stayed := 0
		for _, id := range slices.Concat(got[i].Voters, got[i].Learners) {
			if !now[i].has(id) {
				moved++
			}
			if health[id] == Usable {
				all++
			} else {
				stayed++
			}
		}
		for _, id := range slices.Concat(now[i].Voters, now[i].Learners) {
			if health[id] == Usable {
				kept[id]++
				stayed++
			}
		}
		due += 2 * max(0, len(got[i].Voters)+len(got[i].Learners)-stayed)
	}
	for _, n := range kept {
		due += max(0, n-all/usable)
	}
	return moved, due
}

func spread(counts map[persistence.NodeID]int) int {
	least, most := 1<<30, 0
	for _, n := range counts {
		least, most = min(least, n), max(most, n)
	}
	return max(0, most-least)
}

// Goal: whatever is said to have been planned before, there is a plan, and it is settled.
func TestPlanTakesAnything(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		someIDs := rapid.SliceOfN(rapid.Uint32Range(0, 6), 0, 5)
		draw := func(label string) ids {
			var list ids
			for _, id := range someIDs.Draw(t, label) {
				list = append(list, persistence.NodeID(id))
			}
			return list
		}
		now := make([]Target, rapid.IntRange(0, 6).Draw(t, "partitions"))
		for i := range now {
			now[i] = Target{Voters: draw("voters"), Learners: draw("learners"), Owner: persistence.NodeID(rapid.Uint32Range(0, 6).Draw(t, "owner"))}
		}
		var nodes []Node
		for _, id := range draw("nodes") {
			nodes = append(nodes, Node{id, Health(rapid.IntRange(0, 6).Draw(t, "health"))}) //nolint:gosec // small
		}
		once := Plan(nodes, now)
		if twice := Plan(nodes, once); !reflect.DeepEqual(once, twice) {
			t.Fatalf("nodes %v\n now %v\nonce %v\ntwice %v", nodes, now, once, twice)
		}
		for i := range now {
			meta := PlanMeta(nodes, now[i])
			if again := PlanMeta(nodes, meta); !reflect.DeepEqual(meta, again) {
				t.Fatalf("meta: nodes %v\n now %v\nonce %v\ntwice %v", nodes, now[i], meta, again)
			}
		}
	})
}

// Goal: nodes that join one by one get what is theirs, and nothing else moves.
func TestGrowMovesOnlyToTheNewNode(t *testing.T) {
	const partitions = 32
	nodes := []Node{{1, Usable}}
	now := make([]Target, partitions)
	for i := range now {
		now[i] = Target{Voters: ids{1}, Owner: 1}
	}
	for id := persistence.NodeID(2); id <= 8; id++ {
		nodes = append(nodes, Node{id, Usable})
		got := Plan(nodes, now)
		replicas, owners := 0, 0
		for i := range got {
			for _, have := range slices.Concat(got[i].Voters, got[i].Learners) {
				if now[i].has(have) {
					continue
				}
				if replicas++; have != id {
					t.Errorf("node %d joins, and node %d gets partition %d", id, have, i)
				}
			}
			if got[i].Owner != now[i].Owner {
				owners++
			}
		}
		t.Logf("%d nodes: %d new replicas, %d owners change", id, replicas, owners)
		if id > 3 && replicas > (3*partitions+int(id)-1)/int(id) || owners > 2*partitions/int(id) {
			t.Errorf("%d nodes: %d new replicas, %d owners change", id, replicas, owners)
		}
		now = got
	}
}

func TestPlanByExample(t *testing.T) {
	for name, c := range map[string]struct {
		nodes     []Node
		now, want Target
	}{
		"one node": {
			nodes: []Node{{1, Usable}},
			want:  Target{Voters: ids{1}, Owner: 1},
		},
		"a second joins": {
			nodes: []Node{{1, Usable}, {2, Usable}}, now: Target{Voters: ids{1}, Owner: 1},
			want: Target{Voters: ids{1}, Learners: ids{2}, Owner: 1},
		},
		"a third joins": {
			nodes: []Node{{1, Usable}, {2, Usable}, {3, Usable}}, now: Target{Voters: ids{1}, Learners: ids{2}, Owner: 1},
			want: Target{Voters: ids{1, 2, 3}, Owner: 1},
		},
		"an owner is absent": {
			nodes: []Node{{1, Absent}, {2, Removed}, {3, Usable}, {4, Usable}}, now: Target{Voters: ids{1, 3, 4}, Owner: 1},
			want: Target{Voters: ids{1, 3, 4}, Owner: 3},
		},
		"one of three is lost": {
			nodes: []Node{{1, Usable}, {2, Usable}, {3, Lost}}, now: Target{Voters: ids{1, 2, 3}, Owner: 1},
			want: Target{Voters: ids{1, 2, 3}, Owner: 1},
		},
		"one of three is lost, another joins": {
			nodes: []Node{{1, Usable}, {2, Usable}, {3, Lost}, {4, Usable}}, now: Target{Voters: ids{1, 2, 3}, Owner: 1},
			want: Target{Voters: ids{1, 2, 4}, Owner: 1},
		},
		"one of three is removed": {
			nodes: []Node{{1, Usable}, {2, Usable}, {3, Removed}}, now: Target{Voters: ids{1, 2, 3}, Owner: 2},
			want: Target{Voters: ids{2}, Learners: ids{1}, Owner: 2},
		},
		"the sole voter leaves": {
			nodes: []Node{{1, Leaving}, {2, Usable}}, now: Target{Voters: ids{1}, Learners: ids{2}, Owner: 1},
			want: Target{Voters: ids{2}, Learners: ids{1}, Owner: 2},
		},
		"the sole voter is absent": {
			nodes: []Node{{1, Absent}, {2, Usable}}, now: Target{Voters: ids{1}, Learners: ids{2}, Owner: 1},
			want: Target{Voters: ids{1}, Learners: ids{2}, Owner: 1},
		},
		"the sole voter is lost": {
			nodes: []Node{{1, Lost}, {2, Usable}, {3, Absent}}, now: Target{Voters: ids{1}, Learners: ids{2, 3}, Owner: 1},
			want: Target{Voters: ids{1}, Learners: ids{2, 3}, Owner: 1},
		},
		"the only node leaves": {
			nodes: []Node{{1, Leaving}}, now: Target{Voters: ids{1}, Owner: 1},
			want: Target{Voters: ids{1}, Owner: 1},
		},
		"nobody is left": {
			nodes: []Node{{1, Removed}}, now: Target{Voters: ids{1}, Owner: 1},
			want: Target{Voters: ids{1}, Owner: 1},
		},
	} {
		if got := Plan(c.nodes, []Target{c.now}); !reflect.DeepEqual(got, []Target{c.want}) {
			t.Errorf("%s: %+v, want %+v", name, got, c.want)
		}
	}
}

func TestEveryNodeReadsTheMetaPartition(t *testing.T) {
	nodes := []Node{{1, Usable}, {2, Leaving}, {3, Usable}, {4, Usable}, {5, Absent}, {6, Usable}, {7, Lost}, {8, Removed}}
	got := PlanMeta(nodes, Target{Voters: ids{2, 4, 7}, Learners: ids{1, 3, 5, 8}, Owner: 2})
	all := slices.Concat(got.Voters, got.Learners)
	slices.Sort(all)
	if !reflect.DeepEqual(all, ids{1, 2, 3, 4, 5, 6}) || len(got.Voters) != 3 || !slices.Contains(got.Voters, 2) || !slices.Contains(got.Voters, 4) {
		t.Errorf("got %+v", got)
	}
	if got.Owner == 2 || !slices.Contains(got.Voters, got.Owner) {
		t.Errorf("node %d owns it, node 2 is leaving", got.Owner)
	}
	if again := PlanMeta(nodes, got); !reflect.DeepEqual(again, got) {
		t.Errorf("got %+v, then %+v", got, again)
	}
}

// Goal: a partition does not prefer neighbours, as it did with a hash that was not well mixed.
func TestScoresAreWellMixed(t *testing.T) {
	const partitions, nodes = 4096, 3
	count := map[persistence.NodeID]int{}
	p := newPlanner([]Node{{101, Usable}, {102, Usable}, {103, Usable}})
	for i := range persistence.Partition(partitions) {
		count[p.ranked(p.usable, i)[0]]++
	}
	if spread(count) > partitions/nodes/8 {
		t.Errorf("first of all for %v", count)
	}
}
