package cluster

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/skerry-dev/skerry/cluster/members"
	"github.com/skerry-dev/skerry/cluster/placement"
	"github.com/skerry-dev/skerry/codec/storev1"
	"github.com/skerry-dev/skerry/persistence"
)

// Goal: a cluster that was recovered is that of the newest generation alone: its records, and whom it counts.

// paper is records, of which so many can be written.
type paper struct {
	written map[string][]byte
	order   []string
	room    int
}

var errPaper = errors.New("no more room")

func (p *paper) Records(_ context.Context, prefix string, limit int) (list []persistence.Record, err error) {
	for _, name := range slices.Sorted(maps.Keys(p.written)) {
		if strings.HasPrefix(name, prefix) && len(list) < limit {
			list = append(list, persistence.Record{Name: name, Value: p.written[name]})
		}
	}
	return list, nil
}

func (p *paper) Put(_ context.Context, name string, value []byte) error {
	if p.room == 0 {
		return errPaper
	}
	p.room--
	p.written[name] = value
	p.order = append(p.order, name)
	return nil
}

// crowd is who is seen.
type crowd []members.Member

func (c crowd) List() []members.Member                   { return slices.Clone(c) }
func (crowd) Set(members.Member) error                   { return nil }
func (crowd) Send(context.Context, string, []byte) error { return nil }
func (p *paper) node(id uint32) *storev1.Node {
	return decoded(p, recordName(nodeRecords, id), &storev1.Node{})
}

func (p *paper) cluster() *storev1.Identity { return decoded(p, clusterRecord, &storev1.Identity{}) }

func decoded[M proto.Message](p *paper, name string, m M) M {
	_ = proto.Unmarshal(p.written[name], m)
	return m
}

// generationOf is the part of a cluster that knows generations: node 3 of generation g, with the records of nodes.
func generationOf(g uint32, seen crowd, nodes ...*storev1.Node) (*Cluster, *paper, *known) {
	p := &paper{written: map[string][]byte{}, room: 100}
	k := &known{nodes: map[persistence.NodeID]*storev1.Node{}}
	for _, n := range nodes {
		k.nodes[persistence.NodeID(n.GetId())] = n
		p.written[recordName(nodeRecords, n.GetId())], _ = proto.Marshal(n)
	}
	self := members.Member{Name: "c", Node: 3, Cluster: "abc", Nonce: 33, Generation: g}
	c := &Cluster{log: slog.New(slog.DiscardHandler), opts: Options{Self: self, Generation: g, Partitions: 4, Records: p, Gossip: seen}}
	return c, p, k
}

func threeNodes() []*storev1.Node {
	return []*storev1.Node{{Id: 1, Name: "a"}, {Id: 2, Name: "b", Removing: true}, {Id: 3, Name: "c", Draining: true}, {Id: 4, Name: "d", Removed: true}}
}

func TestRecoveredRecords(t *testing.T) {
	c, p, k := generationOf(1, nil, threeNodes()...)
	if err := c.recovered(t.Context(), k); err != nil {
		t.Fatal(err)
	}
	if !p.node(1).GetRemoved() || !p.node(2).GetRemoved() || p.node(2).GetRemoving() {
		t.Errorf("those that were given up are in the records: %v, %v", p.node(1), p.node(2))
	}
	if self := p.node(3); self.GetRemoved() || self.GetDraining() || self.GetName() != "c" {
		t.Errorf("the one that is left: %v", self)
	}
	if got := p.cluster(); got.GetGeneration() != 1 || got.GetCluster() != "abc" || got.GetPartitions() != 4 {
		t.Errorf("the record of the cluster: %v", got)
	}
	if g, err := c.readGeneration(t.Context()); g != 1 || err != nil {
		t.Errorf("read back as %d, %v", g, err)
	}

	c, p, k = generationOf(1, nil, &storev1.Node{Id: 1, Name: "a"}) // it does not know that it was admitted
	if err := c.recovered(t.Context(), k); err != nil || p.node(3).GetName() != "c" || p.node(3).GetNonce() != 33 {
		t.Errorf("%v, %v", p.node(3), err)
	}
}

// TestRecoveredRecordsAfterACrash: the record of the cluster is written last, so what a crash left is made good.
func TestRecoveredRecordsAfterACrash(t *testing.T) {
	for room := range 4 {
		c, p, k := generationOf(1, nil, threeNodes()...)
		p.room = room
		if err := c.recovered(t.Context(), k); !errors.Is(err, errPaper) {
			t.Fatalf("after %d records: %v", room, err)
		}
		if g, err := c.readGeneration(t.Context()); g != 0 || err != nil {
			t.Errorf("after %d records the cluster is of generation %d, %v", room, g, err)
		}
		p.room = 100
		for id := range k.nodes {
			k.nodes[id] = p.node(uint32(id))
		}
		if err := c.recovered(t.Context(), k); err != nil || !p.node(1).GetRemoved() || !p.node(2).GetRemoved() || p.cluster().GetGeneration() != 1 {
			t.Errorf("again, after %d records: %v", room, err)
		}
	}
}

func TestRecordsStayWithinAGeneration(t *testing.T) {
	for _, g := range []uint32{0, 2} {
		c, p, k := generationOf(g, nil, threeNodes()...)
		k.generation = g
		if err := c.recovered(t.Context(), k); err != nil || len(p.order) > 0 {
			t.Errorf("generation %d: wrote %v, %v", g, p.order, err)
		}
	}
}

func TestFenced(t *testing.T) {
	self := members.Member{Name: "a", Node: 1, Cluster: "abc", Generation: 1}
	for _, c := range []struct {
		what   string
		other  members.Member
		fenced bool
	}{
		{"a newer generation", members.Member{Name: "c", Node: 3, Cluster: "abc", Generation: 2}, true},
		{"the same", members.Member{Name: "c", Node: 3, Cluster: "abc", Generation: 1}, false},
		{"an older one", members.Member{Name: "c", Node: 3, Cluster: "abc"}, false},
		{"of another cluster", members.Member{Name: "c", Node: 3, Cluster: "xyz", Generation: 2}, false},
		{"of none yet", members.Member{Name: "c"}, false},
	} {
		if err := Fenced(self, []members.Member{self, c.other}); errors.Is(err, ErrFenced) != c.fenced {
			t.Errorf("%s: %v", c.what, err)
		}
	}
}

// TestOlderGenerationsDoNotCount: who was given up and comes back is neither planned with nor given anything.
func TestOlderGenerationsDoNotCount(t *testing.T) {
	seen := crowd{
		{Name: "a", Node: 1, Cluster: "abc", State: members.Active},
		{Name: "c", Node: 3, Cluster: "abc", Generation: 1, State: members.Active},
		{Name: "new"},
	}
	c, _, k := generationOf(1, seen, &storev1.Node{Id: 1, Name: "a"}, &storev1.Node{Id: 3, Name: "c"})
	c.opts.AbsentAfter = time.Minute
	nodes, _ := c.healths(k)
	if want := []placement.Node{{ID: 1, Health: placement.Absent}, {ID: 3, Health: placement.Usable}}; !slices.Equal(nodes, want) {
		t.Errorf("planned with %v, not %v", nodes, want)
	}
	if active := c.active(k, c.members()); active(1) || !active(3) {
		t.Error("a node of an older generation is given something")
	}
	if len(c.members()) != 2 {
		t.Errorf("%v: a new node is not heard", c.members())
	}
}

// TestANodeUnderAnOldNameIsAnother: a node whose disk was wiped comes back within a moment under its name: that is planned for.
func TestANodeUnderAnOldNameIsAnother(t *testing.T) {
	look := func(id uint32) string {
		c, _, k := generationOf(0, crowd{{Name: "b", Node: persistence.NodeID(id), Cluster: "abc", State: members.Active}}, &storev1.Node{Id: id, Name: "b"})
		_, line := c.healths(k)
		return line
	}
	if look(2) == look(4) {
		t.Errorf("both are %q", look(2))
	}
}
