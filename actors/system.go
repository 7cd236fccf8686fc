package actors

import (
	"log/slog"

	"github.com/asynkron/protoactor-go/actor"
)

// system is the door to protoactor: one actor for each activation, made anonymous, known to others only after it was made.
// See DESIGN.md for its traps.
type system struct {
	actors  *actor.ActorSystem
	props   *actor.Props
	workers *workers
}

func newSystem() *system {
	workers := newWorkers()
	stop := actor.NewOneForOneStrategy(0, 0, func(any) actor.Directive { return actor.StopDirective })
	return &system{
		workers: workers,
		actors: actor.NewActorSystem(actor.WithLoggerFactory(func(*actor.ActorSystem) *slog.Logger {
			return slog.New(slog.DiscardHandler)
		})),
		props: actor.PropsFromProducer(func() actor.Actor { return new(cell) },
			actor.WithGuardian(stop), actor.WithMailbox(func() actor.Mailbox { return &mailbox{workers: workers} })),
	}
}

// spawn makes the actor of an activation, which can be told from then on. The caller holds the lock of its shard, and has
// counted this first message.
func (s *system) spawn(a *activation) {
	s.actors.Root.Send(s.actors.Root.Spawn(s.props), a)
}

// stop ends an actor after its present message. The caller has seen that no other message is on its way.
func (s *system) stop(m *mailbox) { s.actors.Root.Stop(m.invoker.Self()) }

// cell is what protoactor sees of an activation. All activations share one actor.Props, whose producer takes no argument;
// so the first message says whose cell it is.
type cell struct{ activation *activation }

// Receive implements actor.Actor. Called by one goroutine at a time.
func (c *cell) Receive(ctx actor.Context) {
	switch m := ctx.Message().(type) {
	case *Call:
		c.activation.receiveCall(m)
	case message:
		c.activation.receive(m)
	case *partLoad:
		c.activation.receiveLoaded(m)
	case *heldBy:
		c.activation.receiveHolder(m)
	case *saveGrant:
		c.activation.receiveGrant(m)
	case saveResult:
		c.activation.receiveSaveResult(m)
	case *activation:
		c.activation = m
		m.begin()
	case *actor.Stopped: // the actor is out of the registry, nothing of it runs any more
		if c.activation != nil {
			c.activation.host.terminated(c.activation)
		}
	}
}
