package placement

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/skerry-dev/skerry/persistence"
	"github.com/skerry-dev/skerry/persistence/replication"
)

// Step is one step towards a target. The zero Step says that nothing is to do now. Changes are made together; HandTo is another
// node to which the partition is handed over, 0 for none. A step has one or the other.
type Step struct {
	Changes []replication.ReplicaChange
	HandTo  persistence.NodeID
}

// nearEntries is how far behind a replica may be that is to vote or to own: about what the busiest partition writes in a second,
// because that is how old the place may be at which the replica was last seen.
const nearEntries = 5000

// Next returns the step that self makes as the owner of a partition from status towards target, and says it, or what it waits
// for, in words: "" when nothing is left to do. It is called again when the step is seen in a status, or was refused, or after a
// while; nothing is lost when a step is made twice or not at all. usable says who is alive and not leaving.
//
// A node votes only when it has nearly everything that was written, and all that are to vote begin to in one change, together
// with what takes the vote from others. What is not wanted is taken last. A step that would leave a majority of voters that do not
// answer is never made; one that leaves two voters only where a partition moves from its sole voter to another one.
func Next(target Target, self persistence.NodeID, status replication.PartitionStatus, usable func(persistence.NodeID) bool) (step Step, why string) {
	s := &situation{Target: target, self: self, status: &status, usable: usable}
	if !status.Owner || len(target.Voters) == 0 || s.role(self) != replication.Voter {
		return Step{}, ""
	}
	for _, r := range status.Replicas {
		if r.Role == replication.NoReplica {
			return Step{}, "waits until the change before is done"
		}
	}
	for _, decide := range []func() (Step, string){s.handOver, s.add, s.vote, s.remove} {
		step, said := decide()
		if len(step.Changes) > 0 || step.HandTo != 0 {
			return step, said
		}
		why = cmp.Or(why, said)
	}
	return Step{}, why
}

// situation is what one step is decided from.
type situation struct {
	Target
	self   persistence.NodeID
	status *replication.PartitionStatus
	usable func(persistence.NodeID) bool
}

// replica returns the replica on a node; its role is NoReplica when there is none.
func (s *situation) replica(id persistence.NodeID) replication.Replica {
	for _, r := range s.status.Replicas {
		if r.Node == id {
			return r
		}
	}
	return replication.Replica{}
}

func (s *situation) role(id persistence.NodeID) replication.Role { return s.replica(id).Role }

// with returns the nodes of the replicas of a role.
func (s *situation) with(role replication.Role) []persistence.NodeID {
	var ids []persistence.NodeID
	for _, r := range s.status.Replicas {
		if r.Role == role && !slices.Contains(ids, r.Node) {
			ids = append(ids, r.Node)
		}
	}
	slices.Sort(ids)
	return ids
}

// answers reports whether a voter counts for a majority now.
func (s *situation) answers(id persistence.NodeID) bool { return id == s.self || s.replica(id).Active }

// ready reports whether a replica may vote, or own: it is there, and has nearly all.
func (s *situation) ready(id persistence.NodeID) bool {
	r := s.replica(id)
	return id == s.self || r.Active && r.Match > 0 && r.Match+nearEntries >= s.status.Last && s.usable(id)
}

// wanted are the nodes that are to have a replica.
func (s *situation) wanted() []persistence.NodeID { return slices.Concat(s.Voters, s.Learners) }

// handOver gives the partition to who should own it. Who is leaving, or is to vote no more, gives it to anybody who can.
func (s *situation) handOver() (Step, string) {
	votes := slices.Contains(s.Voters, s.self)
	if votes && (s.Owner == s.self || s.Owner == 0) {
		return Step{}, ""
	}
	leaving := !s.usable(s.self)
	if votes && !leaving && s.copying() {
		return Step{}, "" // a new owner would begin the copies anew
	}
	candidates := []persistence.NodeID{s.Owner}
	if !votes || leaving {
		candidates = append(candidates, s.Voters...)
	}
	if leaving {
		candidates = append(candidates, s.with(replication.Voter)...)
	}
	for _, id := range candidates {
		if id != s.self && s.role(id) == replication.Voter && s.ready(id) {
			return Step{HandTo: id}, fmt.Sprintf("hands over to %d", id)
		}
	}
	if s.role(s.Owner) == replication.Voter {
		return Step{}, fmt.Sprintf("waits to hand over to %d", s.Owner)
	}
	return Step{}, ""
}

// copying reports whether a learner that is there and wanted has not nearly all yet.
func (s *situation) copying() bool {
	return slices.ContainsFunc(s.with(replication.Learner), func(id persistence.NodeID) bool {
		return slices.Contains(s.wanted(), id) && s.usable(id) && !s.ready(id)
	})
}

// add makes learners of all that are wanted and have no replica.
func (s *situation) add() (Step, string) {
	var add, away []persistence.NodeID
	for _, id := range s.wanted() {
		switch {
		case s.role(id) != replication.NoReplica:
		case s.usable(id):
			add = append(add, id)
		default:
			away = append(away, id)
		}
	}
	if len(add) > 0 {
		return Step{Changes: changes(nil, add, replication.Learner)}, "adds " + learners(add)
	}
	if len(away) > 0 {
		return Step{}, "waits for " + list(away) + " to come back"
	}
	return Step{}, ""
}

// vote makes those voters that are to be, in one change with those that are to vote no more.
func (s *situation) vote() (Step, string) {
	voters := s.with(replication.Voter)
	var promote, ready, slow, drop []persistence.NodeID
	for _, id := range s.Voters {
		switch {
		case s.role(id) == replication.Voter:
			continue
		case s.ready(id):
			ready = append(ready, id)
		case s.usable(id):
			slow = append(slow, id)
		}
		promote = append(promote, id)
	}
	for _, id := range voters {
		if id != s.self && !slices.Contains(s.Voters, id) {
			drop = append(drop, id)
		}
	}
	silentFirst := func(a, b persistence.NodeID) int { return rank(s.answers(a)) - rank(s.answers(b)) }
	slices.SortStableFunc(drop, silentFirst)
	stays := slices.Contains(s.Voters, s.self)
	switch {
	case !stays && len(promote) == 0:
		return Step{}, "" // who owns it next takes the votes
	case len(slow) > 0:
		return Step{}, "waits for " + list(slow) + " to catch up"
	case len(ready) < len(promote): // of those that are not there, nobody knows when they come: one for one, as far as it goes
		swaps := min(len(ready), len(drop))
		if len(voters) < fullVoters || swaps == 0 {
			return Step{}, "waits for " + list(promote) + " to come back"
		}
		ready, drop = ready[:swaps], drop[:swaps]
	case !stays: // this node votes on until it has handed over: no fewer voters meanwhile
		drop = drop[:min(len(drop), max(0, len(voters)+len(ready)-fullVoters))]
	}
	return s.change(voters, ready, drop)
}

// rank puts those that do not answer first.
func rank(answers bool) int {
	if answers {
		return 1
	}
	return 0
}

// change is the change of voters, unless those that would be left were no majority that answers.
func (s *situation) change(voters, promote, drop []persistence.NodeID) (Step, string) {
	if len(promote)+len(drop) == 0 {
		return Step{}, ""
	}
	left, answering := len(promote), len(promote)
	for _, id := range voters {
		if !slices.Contains(drop, id) {
			left++
			answering += rank(s.answers(id))
		}
	}
	if answering*2 <= left {
		return Step{}, "waits until more voters answer"
	}
	var demote, remove []persistence.NodeID
	for _, id := range drop {
		if slices.Contains(s.Learners, id) {
			demote = append(demote, id)
		} else {
			remove = append(remove, id)
		}
	}
	step := Step{Changes: changes(nil, promote, replication.Voter)}
	step.Changes = changes(step.Changes, demote, replication.Learner)
	step.Changes = changes(step.Changes, remove, replication.NoReplica)
	var said []string
	for _, part := range []struct {
		verb string
		ids  []persistence.NodeID
	}{{"promotes", promote}, {"demotes", demote}, {"removes", remove}} {
		if len(part.ids) > 0 {
			said = append(said, part.verb+" "+list(part.ids))
		}
	}
	return step, strings.Join(said, ", ")
}

// remove takes the learners that are not wanted, when two of those that are have nearly all.
func (s *situation) remove() (Step, string) {
	var gone []persistence.NodeID
	for _, id := range s.with(replication.Learner) {
		if !slices.Contains(s.wanted(), id) {
			gone = append(gone, id)
		}
	}
	switch {
	case len(gone) == 0:
		return Step{}, ""
	case s.safe() < min(2, len(s.wanted())):
		return Step{}, "waits for others before " + list(gone) + " may go"
	}
	return Step{Changes: changes(nil, gone, replication.NoReplica)}, "removes " + list(gone)
}

// safe is how many replicas that are wanted have nearly all.
func (s *situation) safe() int {
	count := 0
	for _, id := range s.wanted() {
		if s.role(id) != replication.NoReplica && s.ready(id) {
			count++
		}
	}
	return count
}

// changes appends that nodes have a role.
func changes(to []replication.ReplicaChange, ids []persistence.NodeID, role replication.Role) []replication.ReplicaChange {
	for _, id := range ids {
		to = append(to, replication.ReplicaChange{Node: id, Role: role})
	}
	return to
}

// list is "2" or "2, 3".
func list(ids []persistence.NodeID) string {
	words := make([]string, len(ids))
	for i, id := range ids {
		words[i] = fmt.Sprint(id)
	}
	return strings.Join(words, ", ")
}

// learners is "learner 2" or "learners 2, 3".
func learners(ids []persistence.NodeID) string {
	if len(ids) == 1 {
		return "learner " + list(ids)
	}
	return "learners " + list(ids)
}
