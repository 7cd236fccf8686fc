package cluster

import (
	"bytes"
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/protobuf/proto"

	"github.com/skerry-dev/skerry/cluster/members"
	"github.com/skerry-dev/skerry/cluster/routing"
	"github.com/skerry-dev/skerry/codec/peerv1"
	"github.com/skerry-dev/skerry/codec/storev1"
	"github.com/skerry-dev/skerry/persistence"
	"github.com/skerry-dev/skerry/persistence/replication"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const testPartitions = 4

// fake is everything around the Cluster of one node, node 1: the members, the log with the meta partition's records, and the
// entities. A change of replicas holds at once, and a handover is taken over at once, unless the test says otherwise.
type fake struct {
	t    *testing.T
	ears *Ears

	mu       sync.Mutex
	cluster  *Cluster
	members  map[string]members.Member // without node 1
	said     []members.Member          // by node 1
	sent     []sent
	records  map[string][]byte
	applied  uint64
	puts     []string // names, in order
	putErr   error    // of Put
	failed   int      // Puts
	looks    int      // at the status
	status   []replication.PartitionStatus
	asked    []string // of the log and the entities, in order
	suspects []persistence.NodeID
	yieldErr error
	handErr  error
	ignores  bool // nobody takes over
	replicas map[persistence.NodeID]int
	apart    map[persistence.NodeID]bool // not connected
	talks    map[persistence.NodeID]string
}

type sent struct {
	to string
	m  *peerv1.Gossip
}

// inBubble runs a test with node 1, which owns everything, in fake time. Without work nothing runs but what the test calls.
func inBubble(t *testing.T, work bool, test func(*fake)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		f := &fake{
			t: t, ears: NewEars(), members: map[string]members.Member{}, records: map[string][]byte{}, applied: 1,
			replicas: map[persistence.NodeID]int{}, apart: map[persistence.NodeID]bool{},
		}
		for p := range testPartitions + 1 {
			of := persistence.Partition(p) //nolint:gosec // few
			if p == testPartitions {
				of = persistence.MetaPartition
			}
			f.status = append(f.status, replication.PartitionStatus{
				Partition: of, Owner: true, Epoch: persistence.Epoch{Term: 1}, Last: 100,
				Replicas: []replication.Replica{{Node: 1, Role: replication.Voter, Active: true, Match: 100}},
			})
		}
		c, err := New(Options{
			Self:       members.Member{Name: "n1", Node: 1, Cluster: "c", Nonce: 11, Life: 1, State: members.Active},
			Partitions: testPartitions, Ears: f.ears, Gossip: f, Log: f, Entities: f, Records: f, Table: routing.NewTable(testPartitions),
			Connect:   func(to map[persistence.NodeID]string) { f.locked(func() { f.talks = maps.Clone(to) }) },
			Connected: func(id persistence.NodeID) bool { f.mu.Lock(); defer f.mu.Unlock(); return !f.apart[id] },
			Announce:  func(persistence.NodeID, persistence.Partition, persistence.Epoch) {},
			Replicas: func(_ context.Context, id persistence.NodeID) (int, error) {
				f.mu.Lock()
				defer f.mu.Unlock()
				if !slices.ContainsFunc(slices.Collect(maps.Values(f.members)), func(m members.Member) bool { return m.Node == id }) {
					return 0, errTest
				}
				return f.replicas[id], nil
			},
		})
		if err != nil {
			t.Fatal(err)
		}
		f.cluster = c
		for _, s := range f.status {
			c.Claimed(s.Partition, s.Epoch)
		}
		if !work {
			test(f)
			return
		}
		stop := f.run()
		defer func() { // also after a Fatal
			if err := stop(); err != nil {
				t.Error(err)
			}
		}()
		synctest.Wait()
		test(f)
	})
}

// run has the cluster work until the result is called.
func (f *fake) run() (stop func() error) {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- f.cluster.Run(ctx) }()
	return func() error { cancel(); return <-ended }
}

func (f *fake) locked(do func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	do()
}

// comes makes a node a member, as it says of itself.
func (f *fake) comes(m members.Member) {
	f.locked(func() { f.members[m.Name] = m })
	f.ears.Changed()
}

// goes ends a member.
func (f *fake) goes(name string) {
	var m members.Member
	f.locked(func() { m = f.members[name]; delete(f.members, name) })
	f.ears.Left(m, true)
}

// node is a member of the cluster.
func node(id persistence.NodeID, state members.State) members.Member {
	name := "n" + string(rune('0'+id))
	return members.Member{Name: name, Node: id, Cluster: "c", Nonce: uint64(id) * 11, Life: uint64(id), State: state, Peer: "peer of " + name}
}

// knows enters nodes that were admitted.
func (f *fake) knows(ids ...uint32) {
	for _, id := range ids {
		f.enter(&storev1.Node{Id: id, Name: "n" + string(rune('0'+id)), Nonce: uint64(id) * 11})
	}
}

func (f *fake) enter(n *storev1.Node) {
	value, err := proto.Marshal(n)
	if err != nil {
		f.t.Fatal(err)
	}
	f.locked(func() { f.records[recordName(nodeRecords, n.GetId())] = value; f.applied++ })
}

// place writes who is to have a partition.
func (f *fake) place(p persistence.Partition, owner uint32, voters ...uint32) {
	value, err := proto.Marshal(&storev1.Placement{Voters: voters, Owner: owner})
	if err != nil {
		f.t.Fatal(err)
	}
	f.locked(func() { f.records[recordName(placeRecords, uint32(p))] = value; f.applied++ })
}

func (f *fake) has(name string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	_, ok := f.records[name]
	return ok
}

// nodeRecord is what the records say of a node.
func (f *fake) nodeRecord(id uint32) *storev1.Node {
	n := &storev1.Node{}
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := proto.Unmarshal(f.records[recordName(nodeRecords, id)], n); err != nil {
		f.t.Error(err)
	}
	return n
}

// placed are all placements that name a node.
func (f *fake) placed(id uint32) (count int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for name, value := range f.records {
		p := &storev1.Placement{}
		if strings.HasPrefix(name, placeRecords) && proto.Unmarshal(value, p) == nil && slices.Contains(slices.Concat(p.GetVoters(), p.GetLearners()), id) {
			count++
		}
	}
	return count
}

// putsOf are the records with a prefix that were written.
func (f *fake) putsOf(prefix string) (n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, name := range f.puts {
		if strings.HasPrefix(name, prefix) {
			n++
		}
	}
	return n
}

// did takes what the log and the entities were asked for.
func (f *fake) did() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	asked := f.asked
	f.asked = nil
	return asked
}

// asks sends an application as a node does, and returns the answer; nil for none.
func (f *fake) asks(name string, nonce uint64) *peerv1.Admit {
	payload, err := proto.Marshal(&peerv1.Gossip{Apply: &peerv1.Apply{Name: name, Nonce: nonce}})
	if err != nil {
		f.t.Fatal(err)
	}
	f.locked(func() { f.sent = nil })
	f.ears.Message(name, payload)
	synctest.Wait()
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, s := range f.sent {
		if s.to == name && s.m.GetAdmit() != nil {
			return s.m.GetAdmit()
		}
	}
	return nil
}

// List implements [Gossip].
func (f *fake) List() []members.Member {
	f.mu.Lock()
	defer f.mu.Unlock()
	list := []members.Member{node(1, members.Active)}
	for _, name := range slices.Sorted(maps.Keys(f.members)) {
		list = append(list, f.members[name])
	}
	return list
}

// Set implements [Gossip].
func (f *fake) Set(self members.Member) error {
	f.locked(func() { f.said = append(f.said, self) })
	return nil
}

// Send implements [Gossip].
func (f *fake) Send(_ context.Context, to string, payload []byte) error {
	m := &peerv1.Gossip{}
	if err := proto.Unmarshal(payload, m); err != nil {
		return err
	}
	f.locked(func() { f.sent = append(f.sent, sent{to, m}) })
	return nil
}

// Records implements [Records].
func (f *fake) Records(_ context.Context, prefix string, limit int) ([]persistence.Record, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	var list []persistence.Record
	for _, name := range slices.Sorted(maps.Keys(f.records)) {
		if strings.HasPrefix(name, prefix) && len(list) < limit {
			list = append(list, persistence.Record{Name: name, Value: bytes.Clone(f.records[name])})
		}
	}
	return list, nil
}

// Put implements [Records].
func (f *fake) Put(_ context.Context, name string, value []byte) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.putErr != nil {
		if f.failed++; f.failed > 10_000 {
			panic("it spins: in fake time that would never end")
		}
		return f.putErr
	}
	f.puts = append(f.puts, name)
	f.applied++
	if value == nil {
		delete(f.records, name)
	} else {
		f.records[name] = value
	}
	return nil
}

// Status implements [Log].
func (f *fake) Status() []replication.PartitionStatus {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.looks++
	status := slices.Clone(f.status)
	for i := range status {
		status[i].Replicas = slices.Clone(status[i].Replicas)
	}
	status[len(status)-1].Applied = f.applied
	return status
}

func (f *fake) at(p persistence.Partition) *replication.PartitionStatus {
	return &f.status[min(int(p), testPartitions)]
}

// replicasOf says how a partition's replicas are.
func (f *fake) setReplicas(p persistence.Partition, replicas ...replication.Replica) {
	f.locked(func() { f.at(p).Replicas = replicas })
}

func voter(id persistence.NodeID) replication.Replica {
	return replication.Replica{Node: id, Role: replication.Voter, Active: true, Match: 100}
}

// HandOver implements [Log].
func (f *fake) HandOver(p persistence.Partition, to persistence.NodeID) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.asked = append(f.asked, "hand over")
	if f.handErr != nil || f.ignores {
		return f.handErr
	}
	s := f.at(p)
	epoch := s.Epoch
	s.Owner = false
	go func() {
		f.cluster.Lost(p, epoch)
		f.cluster.learn([]*peerv1.Place{{Partition: uint32(p), Node: uint32(to), Term: epoch.Term + 1, SinceMs: time.Now().UnixMilli(), Why: "handed over by n1"}})
	}()
	return nil
}

// ChangeReplicas implements [Log].
func (f *fake) ChangeReplicas(p persistence.Partition, changes []replication.ReplicaChange, decided func(error)) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	s := f.at(p)
	for _, change := range changes {
		f.asked = append(f.asked, "change")
		s.Replicas = slices.DeleteFunc(slices.Clone(s.Replicas), func(r replication.Replica) bool { return r.Node == change.Node })
		if change.Role != replication.NoReplica {
			s.Replicas = append(s.Replicas, replication.Replica{Node: change.Node, Role: change.Role, Active: true, Match: 100})
		}
	}
	go decided(nil)
	return nil
}

// Suspect implements [Log].
func (f *fake) Suspect(id persistence.NodeID) {
	f.locked(func() { f.suspects = append(f.suspects, id) })
}

// Prepare implements [Entities].
func (f *fake) Prepare(context.Context, persistence.Partition) {}

// Yield implements [Entities].
func (f *fake) Yield(context.Context, persistence.Partition) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.asked = append(f.asked, "yield")
	return f.yieldErr
}

// Resume implements [Entities].
func (f *fake) Resume(persistence.Partition) {
	f.locked(func() { f.asked = append(f.asked, "resume") })
}

var errTest = errors.New("as the test wants")
