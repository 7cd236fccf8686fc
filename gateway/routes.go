package gateway

import (
	"context"
	"time"

	"google.golang.org/grpc/metadata"

	"github.com/skerry-dev/skerry/codec"
	"github.com/skerry-dev/skerry/codec/skerryv1"
	"github.com/skerry-dev/skerry/persistence"
)

// metaRoutes is the metadata with which a stream asks for routes; any value but "" will do.
const metaRoutes = "skerry-routes"

// routesPause is the shortest time between two routes on a stream: while a node is drained, dozens of partitions move.
const routesPause = 20 * time.Millisecond

// Routes say who owns what, as far as this node knows. Safe for many goroutines.
type Routes interface {
	// Routes returns the newest routes, which nobody changes any more.
	Routes() *skerryv1.Routes
	// Changed returns a channel that is closed once Routes returns something newer than it did when Changed was called.
	Changed() <-chan struct{}
}

// routesFeed is what one stream is told of the routes. It belongs to the stream's writer. The zero value tells nothing.
type routesFeed struct {
	routes  Routes
	caller  *caller // held against the keys again before each message
	changed <-chan struct{}
	pause   *time.Timer // runs after each message; while it does, changes wait
	paused  bool
}

// newRoutesFeed tells who asked for routes in the metadata of ctx.
func (s *service) newRoutesFeed(ctx context.Context, c *caller) routesFeed {
	if s.opts.Routes == nil {
		return routesFeed{}
	}
	md, _ := metadata.FromIncomingContext(ctx)
	if values := md.Get(metaRoutes); len(values) == 0 || values[0] == "" {
		return routesFeed{}
	}
	return routesFeed{routes: s.opts.Routes, caller: c}
}

// due is when the next message may be worth sending: the routes changed, or changes that waited may go. Nil is never.
func (f *routesFeed) due() (changed <-chan struct{}, rested <-chan time.Time) {
	switch {
	case f.routes == nil:
		return nil, nil
	case f.paused:
		return nil, f.pause.C
	default:
		return f.changed, nil
	}
}

// sendRoutes sends the newest routes, and begins the pause. A caller whose key was revoked gets none: the stream ends.
func (st *stream) sendRoutes(f *routesFeed) (err error) {
	if f.routes == nil {
		return nil
	}
	if f.caller, err = st.service.again(st.conn.Context(), f.caller); err != nil {
		return asStatus(err)
	}
	f.changed = f.routes.Changed() // before Routes: what changes between the two is sent again, not missed
	if err := st.conn.Send(&skerryv1.BatchResponse{Routes: f.routes.Routes()}); err != nil {
		return err
	}
	if f.pause == nil {
		f.pause = time.NewTimer(routesPause)
	} else {
		f.pause.Reset(routesPause)
	}
	f.paused = true
	return nil
}

// stop releases the timer.
func (f *routesFeed) stop() {
	if f.pause != nil {
		f.pause.Stop()
	}
}

// addOwner returns wire with the gRPC address of the owner of key, when wire says that it is elsewhere and the routes know
// where.
func (s *service) addOwner(wire *skerryv1.Error, key persistence.Key) *skerryv1.Error {
	if codec.Code(wire.GetCode()) != codec.CodeNotOwner || wire.GetOwner() != "" || s.opts.Routes == nil || key.ID == "" {
		return wire
	}
	routes := s.opts.Routes.Routes()
	count := len(routes.GetOwners())
	if count == 0 {
		return wire
	}
	at := routes.GetOwners()[persistence.PartitionOf(key, count)]
	if at == 0 || int(at) > len(routes.GetNodes()) {
		return wire
	}
	known := wire.CloneVT() // others may hold wire
	known.Owner = routes.GetNodes()[at-1]
	return known
}
