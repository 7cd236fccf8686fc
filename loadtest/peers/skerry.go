package peers

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/skerry-dev/skerry/client"
	"github.com/skerry-dev/skerry/codec/skerryv1"
	"github.com/skerry-dev/skerry/internal/clustertest"
)

// node is one node or a cluster, as processes, that several systems share.
type node struct {
	program string
	nodes   int

	cluster *clustertest.Cluster // nil: not started
	err     error                // why not
	client  *client.Client
	server  *client.Server
	players []*client.Player
	docs    documents
}

// kind is what a system asks of Skerry.
type kind int

const (
	changing     kind = iota // +1 coin
	opening                  // a session of a player that is loaded, taken over: durable, answered with the document
	reading                  // the document, without a session
	setting                  // the whole document: attributes of 4 KiB, durable
	snapshotting             // a change in memory, then a snapshot of the player
)

// skerry asks a node through the Go client.
type skerry struct {
	node *node
	name string
	kind kind
	ops  []Op
}

// Name says what is asked, too.
func (s *skerry) Name() string { return s.name }

// Does says that only changes are pipelined.
func (s *skerry) Does(op Op, way Way) bool {
	return slices.Contains(s.ops, op) && (way == ByCallers || s.kind == changing)
}

// PIDs are the nodes.
func (s *skerry) PIDs() []int {
	var pids []int
	if s.node.cluster != nil {
		for _, m := range s.node.cluster.Nodes() {
			pids = append(pids, m.Pid())
		}
	}
	return pids
}

// Start starts the nodes, once for all that share them.
func (s *skerry) Start(ctx context.Context, dir string, players int) error {
	if s.node.cluster == nil {
		s.node.err = s.node.start(ctx, dir, players)
	}
	if s.node.err != nil || s.kind != opening {
		return s.node.err
	}
	_, err := s.node.openPlayers(ctx, "o", players) // other players, so that no session of the rest is taken over
	return err
}

func (n *node) start(ctx context.Context, dir string, players int) error {
	n.docs = makeDocuments()
	n.cluster = &clustertest.Cluster{Program: n.program, Dir: dir}
	for range n.nodes {
		if _, err := n.cluster.Add(ctx); err != nil {
			return fmt.Errorf("start a node: %w", err)
		}
	}
	var err error
	if n.client, err = client.Dial(ctx, n.cluster.Addrs(), client.Options{Timeout: time.Minute}); err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	if err = clustertest.Await(ctx, n.client, clustertest.Settled(n.nodes)); err != nil {
		return fmt.Errorf("the cluster did not settle: %w", err)
	}
	if n.server, err = n.client.RegisterServer(ctx, "bench", client.ServerOptions{}); err != nil {
		return fmt.Errorf("register: %w", err)
	}
	n.players, err = n.openPlayers(ctx, "p", players)
	return err
}

// openPlayers opens all players, each with attributes that make its document about 4 KiB, as the peers' are.
func (n *node) openPlayers(ctx context.Context, prefix string, players int) ([]*client.Player, error) {
	opened := make([]*client.Player, players)
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(256)
	for i := range players {
		group.Go(func() error {
			p, err := n.server.OpenPlayer(ctx, fmt.Sprint(prefix, i), client.OpenOptions{Name: "Bench"})
			if err != nil {
				return err
			}
			opened[i] = p
			return p.SetAttribute(ctx, attribute, n.docs.of(i)[:attributeBytes])
		})
	}
	return opened, group.Wait()
}

// attribute holds what makes a document 4 KiB: attributeBytes, beside what every player has.
const (
	attribute      = "filler"
	attributeBytes = documentBytes - 600
)

// player is a random one.
func (s *skerry) player() *client.Player { return s.node.players[rand.IntN(len(s.node.players))] }

// Run asks.
func (s *skerry) Run(ctx context.Context, op Op, way Way, inflight int, duration time.Duration) (Window, error) {
	durability := client.Durable
	if op == Memory {
		durability = client.Memory
	}
	if way == Pipelined {
		return s.pipelined(ctx, durability, inflight, duration)
	}
	ask := s.change(durability)
	switch s.kind {
	case changing:
	case opening:
		ask = s.open
	case reading:
		ask = func(ctx context.Context) error {
			p, err := s.node.client.Player(ctx, s.player().ID())
			if err == nil && p == nil {
				err = errors.New("no document")
			}
			return err
		}
	case setting:
		ask = func(ctx context.Context) error {
			return s.player().SetAttribute(ctx, attribute, s.node.docs.random()[:attributeBytes], client.Durable)
		}
	case snapshotting:
		ask = func(ctx context.Context) error {
			p := s.player()
			if _, err := p.Earn(ctx, client.Coins, 1, client.Memory); err != nil {
				return err
			}
			_, err := p.Save(ctx)
			return err
		}
	}
	return Callers(ctx, inflight, duration, alike(ask))
}

func (s *skerry) change(durability client.Durability) func(context.Context) error {
	return func(ctx context.Context) error {
		_, err := s.player().Earn(ctx, client.Coins, 1, durability)
		return err
	}
}

// open opens a session for a player that another call had.
func (s *skerry) open(ctx context.Context) error {
	i := rand.IntN(len(s.node.players))
	p, err := s.node.client.OpenPlayer(ctx, fmt.Sprint("o", i), client.OpenOptions{Server: "bench-opens", Name: "Bench"})
	if err == nil && p.Document() == nil {
		err = errors.New("no document")
	}
	return err
}

func (s *skerry) pipelined(ctx context.Context, durability client.Durability, inflight int, duration time.Duration) (Window, error) {
	w := newWindow(inflight)
	failed := make(chan error, 1)
	command := &skerryv1.PlayerCommand{Command: &skerryv1.PlayerCommand_Earn{Earn: &skerryv1.Earn{Currency: client.Coins, Amount: 1}}}
	r, err := w.drive(ctx, duration, func(id uint64) error {
		return s.player().DoAsync(client.DoOptions{Durability: durability}, func(_ *client.Result, err error) {
			if err != nil {
				select {
				case failed <- err:
				default:
				}
			}
			w.done(id)
		}, command)
	}, func() error { return nil })
	select {
	case err = <-failed:
	default:
	}
	return r, err
}

// Stop ends the nodes, once for all that share them.
func (s *skerry) Stop(context.Context) error {
	n := s.node
	if n.client != nil {
		_ = n.client.Close()
		n.client = nil
	}
	if n.cluster != nil {
		n.cluster.Close() // killed: what they hold is thrown away
		n.cluster, n.err = nil, errStopped
	}
	return nil
}

var errStopped = errors.New("stopped")
