package node

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/skerry-dev/skerry/client"
	"github.com/skerry-dev/skerry/codec/skerryv1"
	"github.com/skerry-dev/skerry/persistence"
	"github.com/skerry-dev/skerry/persistence/pebblestore"
)

// heard is what a game server was told, by the kind of event.
type heard struct {
	mu     sync.Mutex
	byType map[string][]string
}

func (h *heard) note(e *client.Event) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.byType == nil {
		h.byType = map[string][]string{}
	}
	h.byType[e.GetType()] = append(h.byType[e.GetType()], e.GetEntity())
}

func (h *heard) of(kind string) []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Compact(slices.Sorted(slices.Values(h.byType[kind])))
}

func (h *heard) count(kind string) int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.byType[kind])
}

// eventually waits until is reports true.
func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !is(); {
		if time.Now().After(deadline) {
			t.Fatalf("not in time: %s", what)
		}
		<-time.After(5 * time.Millisecond)
	}
}

// Goal: a game server hears of its players wherever they and its own entity are: taken over, moved; and when it dies, all of its
// sessions end, on every node.
func TestSessionsOverTwoNodes(t *testing.T) {
	config := testConfig()
	config.ServerTimeout = 2 * time.Second
	host, err := run(t, config, pebblestore.MemFS())
	if err != nil {
		t.Fatal(err)
	}
	config.Name, config.Join = "second", host.ready.Gossip
	second, err := run(t, config, pebblestore.MemFS())
	if err != nil {
		t.Fatal(err)
	}
	owned := func(by *running) (n int) {
		for p := range persistence.Partition(4) {
			if place, ok := host.table.Owner(p); ok && place.Node == by.id() {
				n++
			}
		}
		return n
	}
	eventually(t, "both nodes own two partitions", func() bool { return owned(host) == 2 && owned(second) == 2 })

	at := func(node *running) string { // a server whose entity is there
		for i := 2; ; i++ {
			id := fmt.Sprint("s", i)
			p := persistence.PartitionOf(persistence.Key{Space: "main", Kind: persistence.KindServer, ID: id}, 4)
			if place, _ := host.table.Owner(p); place.Node == node.id() {
				return id
			}
		}
	}
	const players = 16
	register := func(id string, events *heard) *client.Server {
		server, err := host.dial(t, client.Options{}).RegisterServer(t.Context(), id, client.ServerOptions{
			HeartbeatInterval: 300 * time.Millisecond, OnEvent: events.note,
		})
		if err != nil {
			t.Fatal(err)
		}
		return server
	}
	openAll := func(server *client.Server) {
		for i := range players {
			if _, err := server.OpenPlayer(t.Context(), fmt.Sprint("p", i), client.OpenOptions{Name: "Ann"}); err != nil {
				t.Fatal(err)
			}
		}
	}
	var first, later heard
	one := register(at(second), &first)
	t.Cleanup(one.Abandon)
	openAll(one)
	two := register(at(host), &later)
	openAll(two)
	eventually(t, "every player's first server hears that it was taken", func() bool { return len(first.of(client.EventSessionTaken)) == players })

	service := second.dial(t, client.Options{}).Service()
	sessions := func(server string) int {
		s, err := service.GetServer(t.Context(), &skerryv1.GetServerRequest{Server: server})
		if err != nil {
			t.Fatal(err)
		}
		return len(s.GetSessions())
	}
	if n := sessions(two.ID()); n != players {
		t.Errorf("the second server has %d sessions", n)
	}

	// The second server's own entity stays where it is, at the first node; players come to that node, and go away again.
	var moving []string
	for i := range players {
		key := persistence.Key{Space: "main", Kind: persistence.KindPlayer, ID: fmt.Sprint("p", i)}
		if place, _ := host.table.Owner(persistence.PartitionOf(key, 4)); place.Node == second.id() {
			moving = append(moving, key.ID)
		}
	}
	slices.Sort(moving)
	operator := &admin{node: host.Node}
	for i, undo := range []bool{false, true} {
		if err := operator.Drain(t.Context(), "second", undo); err != nil {
			t.Fatal(err)
		}
		eventually(t, "those who moved are told of", func() bool {
			return slices.Equal(later.of(client.EventMoved), moving) && later.count(client.EventMoved) == (i+1)*len(moving)
		})
	}

	two.Abandon() // it dies
	eventually(t, "the dead server's sessions end", func() bool { return sessions(two.ID()) == 0 })
	for i := range players {
		s, err := service.GetPlayerSession(t.Context(), &skerryv1.GetPlayerSessionRequest{Player: fmt.Sprint("p", i)})
		if err != nil || s.GetServer() != "" {
			t.Errorf("p%d: %v, %v", i, s, err)
		}
	}
}
