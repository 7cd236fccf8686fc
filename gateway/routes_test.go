package gateway

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/skerry-dev/skerry/codec/skerryv1"
	"github.com/skerry-dev/skerry/persistence"
)

// routesFake are routes that the test changes.
type routesFake struct {
	mu      sync.Mutex
	routes  *skerryv1.Routes
	changed chan struct{}
}

func newRoutesFake(nodes ...string) *routesFake {
	return &routesFake{routes: &skerryv1.Routes{Nodes: nodes, Owners: make([]uint32, 8)}, changed: make(chan struct{})}
}

func (f *routesFake) Routes() *skerryv1.Routes {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.routes
}

func (f *routesFake) Changed() <-chan struct{} {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.changed
}

// own makes the node of this place the owner of every partition.
func (f *routesFake) own(place uint32) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.routes = f.routes.CloneVT()
	for p := range f.routes.GetOwners() {
		f.routes.Owners[p] = place
	}
	close(f.changed)
	f.changed = make(chan struct{})
}

type clientStream = grpc.BidiStreamingClient[skerryv1.BatchRequest, skerryv1.BatchResponse]

// recvRoutes receives a message that has routes in it, and returns the owner of its first partition.
func recvRoutes(tb testing.TB, stream clientStream) uint32 {
	tb.Helper()
	message, err := stream.Recv()
	if err != nil {
		tb.Fatal(err)
	}
	if message.GetRoutes() == nil || len(message.GetResponses()) > 0 {
		tb.Fatalf("received %v, want routes", message)
	}
	return message.GetRoutes().GetOwners()[0]
}

// Goal: who asks for routes gets them first, and again when they change; nobody else does.
func TestStreamSendsRoutesToWhoAsks(t *testing.T) {
	routes := newRoutesFake("a:1", "b:2")
	r := start(t, func(o *Options) { o.Routes = routes })
	asking, silent, empty := r.stream(t, "skerry-routes", "1"), r.stream(t), r.stream(t, "skerry-routes", "")
	if got := recvRoutes(t, asking); got != 0 {
		t.Errorf("owner %d, want none", got)
	}
	routes.own(2)
	if got := recvRoutes(t, asking); got != 2 {
		t.Errorf("owner %d after a change, want 2", got)
	}
	for _, stream := range []clientStream{asking, silent, empty} {
		send(t, stream, getPlayer(7, "1"))
		message, err := stream.Recv()
		if err != nil {
			t.Fatal(err)
		}
		if message.GetRoutes() != nil || len(message.GetResponses()) != 1 || message.GetResponses()[0].GetId() != 7 {
			t.Errorf("received %v, want the answer alone", message)
		}
	}
}

// Goal: a node without routes serves a stream that asks for them.
func TestStreamWithoutRoutes(t *testing.T) {
	r := start(t, nil)
	stream := r.stream(t, "skerry-routes", "1")
	send(t, stream, getPlayer(7, "1"))
	if responses, _ := recvAll(t, stream, 1); len(responses) != 1 {
		t.Errorf("%d responses", len(responses))
	}
}

// Goal: many changes are few messages, and the last of them has the newest.
func TestStreamCoalescesRoutes(t *testing.T) {
	routes := newRoutesFake("a:1", "b:2")
	r := start(t, func(o *Options) { o.Routes = routes })
	stream := r.stream(t, "skerry-routes", "1")
	recvRoutes(t, stream)
	began := time.Now()
	const last = 1 << 20
	var changer sync.WaitGroup
	changer.Go(func() {
		for i := uint32(1); time.Since(began) < 5*routesPause; i++ {
			routes.own(i)
		}
		routes.own(last)
	})
	messages := 0
	for got := uint32(0); got != last; messages++ {
		got = recvRoutes(t, stream)
	}
	changer.Wait()
	if most := 2 + int(time.Since(began)/routesPause); messages > most {
		t.Errorf("%d messages in %s, want at most %d", messages, time.Since(began), most)
	}
}

// Goal: routes are for callers that were let in: neither a stranger nor a key that was revoked since gets any.
func TestRoutesNeedAKey(t *testing.T) {
	routes := newRoutesFake("a:1", "b:2")
	r := start(t, func(o *Options) { o.Routes, o.KeysMaxAge = routes, time.Millisecond })
	first, err := r.client.CreateKey(t.Context(), &skerryv1.CreateKeyRequest{Space: "*", Scopes: []string{"admin", "operate"}})
	if err != nil {
		t.Fatal(err)
	}
	operator := metadata.AppendToOutgoingContext(t.Context(), "authorization", "Bearer "+first.GetKey())
	game, err := r.client.CreateKey(operator, &skerryv1.CreateKeyRequest{Space: "main", Scopes: []string{"play"}})
	if err != nil {
		t.Fatal(err)
	}

	stranger := r.stream(t, "skerry-routes", "1")
	if message, err := stranger.Recv(); err == nil || status.Code(err) != codes.Unauthenticated {
		t.Errorf("a stranger received %v, %v", message, err)
	}
	admitted := r.stream(t, "skerry-routes", "1", "authorization", "Bearer "+game.GetKey())
	recvRoutes(t, admitted)
	if _, err := r.client.RevokeKey(operator, &skerryv1.RevokeKeyRequest{Id: game.GetId()}); err != nil {
		t.Fatal(err)
	}
	routes.own(2)
	if message, err := admitted.Recv(); err == nil || status.Code(err) != codes.Unauthenticated {
		t.Errorf("a revoked key received %v, %v", message, err)
	}
}

// Goal: NOT_OWNER says who is, when it is known.
func TestNotOwnerNamesTheOwner(t *testing.T) {
	routes := newRoutesFake("a:1", "b:2")
	r := start(t, func(o *Options) { o.Routes = routes })
	r.entities.fail = fmt.Errorf("wrapped: %w", persistence.ErrNotOwner)
	key := persistence.Key{Space: "main", Kind: persistence.KindPlayer, ID: "1001"}
	for _, c := range []struct {
		place uint32
		want  string
	}{{0, ""}, {1, "a:1"}, {2, "b:2"}, {3, ""}} {
		owners := make([]uint32, 8)
		owners[persistence.PartitionOf(key, len(owners))] = c.place
		routes.mu.Lock()
		routes.routes = &skerryv1.Routes{Nodes: []string{"a:1", "b:2"}, Owners: owners}
		routes.mu.Unlock()

		stream := r.stream(t)
		send(t, stream, getPlayer(1, "1001"))
		responses, _ := recvAll(t, stream, 1)
		_, err := r.client.GetPlayer(t.Context(), &skerryv1.GetPlayerRequest{Player: "1001"})
		got := []string{responses[0].GetError().GetOwner(), wireError(err).GetOwner()}
		if !slices.Equal(got, []string{c.want, c.want}) {
			t.Errorf("place %d: owner %q, want %q twice", c.place, got, c.want)
		}
	}
}
