package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/skerry-dev/skerry/client"
	"github.com/skerry-dev/skerry/codec/skerryv1"
	"github.com/skerry-dev/skerry/internal/clustertest"
)

// node is a real node process that several systems share, each with its own durability.
type node struct {
	process *clustertest.Process
	client  *client.Client
	server  *client.Server
	players []*client.Player
	users   int
}

// skerry measures one command, earning a coin, through the Go client.
type skerry struct {
	how        way
	durability client.Durability
	node       *node
	options    options
}

func (s *skerry) name() string { return "skerry " + s.durability.String() }

func (s *skerry) way() way { return s.how }

func (s *skerry) start(ctx context.Context, dir string, players int) error {
	s.node.users++
	if s.node.process != nil {
		return nil
	}
	program, err := clustertest.Build(ctx, dir, "")
	if err != nil {
		return err
	}
	if s.node.process, err = clustertest.Start(ctx, program, filepath.Join(dir, "node")); err != nil {
		return err
	}
	if s.node.client, err = client.Dial(ctx, s.node.process.Ready.GRPC, client.Options{Timeout: time.Minute}); err != nil {
		return err
	}
	if s.node.server, err = s.node.client.RegisterServer(ctx, "bench", client.ServerOptions{}); err != nil {
		return err
	}
	return s.openPlayers(ctx, players)
}

// openPlayers opens all players, each with attributes that make its document about 4 KiB, as the peers' are.
func (s *skerry) openPlayers(ctx context.Context, players int) error {
	filler := strings.Repeat("x", 3500)
	s.node.players = make([]*client.Player, players)
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(256)
	for i := range players {
		group.Go(func() error {
			p, err := s.node.server.OpenPlayer(ctx, fmt.Sprintf("p%d", i), client.OpenOptions{Name: "Bench"})
			if err != nil {
				return err
			}
			s.node.players[i] = p
			return p.SetAttribute(ctx, "filler", filler)
		})
	}
	return group.Wait()
}

func (s *skerry) run(ctx context.Context, inflight int, duration time.Duration) (r result, err error) {
	pid := s.node.process.Pid()
	before := cpuOf(pid)
	if s.how == byCallers {
		r, err = callers(ctx, inflight, duration, alike(func(ctx context.Context) error {
			_, err := s.player().Earn(ctx, client.Coins, 1, s.durability)
			return err
		}))
	} else {
		r, err = s.runWindow(ctx, inflight, duration)
	}
	r.cpu = cpuOf(pid) - before
	return r, err
}

func (s *skerry) player() *client.Player { return s.node.players[rand.IntN(len(s.node.players))] }

func (s *skerry) runWindow(ctx context.Context, inflight int, duration time.Duration) (result, error) {
	w := newWindow(inflight)
	failed := make(chan error, 1)
	command := &skerryv1.PlayerCommand{Command: &skerryv1.PlayerCommand_Earn{Earn: &skerryv1.Earn{Currency: client.Coins, Amount: 1}}}
	r, err := w.drive(ctx, duration, func(id uint64) error {
		return s.player().DoAsync(client.DoOptions{Durability: s.durability}, func(_ *client.Result, err error) {
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

func (s *skerry) stop(ctx context.Context) error {
	if s.node.users--; s.node.users > 0 || s.node.process == nil {
		return nil
	}
	if s.node.client != nil {
		_ = s.node.client.Close()
	}
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	return s.node.process.Stop(ctx)
}

func allSystems(o options) []system {
	shared := &node{}
	var systems []system
	for _, how := range []way{byCallers, byWindow} {
		systems = append(systems,
			&skerry{how: how, durability: client.Durable, node: shared, options: o}, &skerry{how: how, durability: client.Memory, node: shared, options: o},
			&echo{how: how}, &redis{how: how, appendfsync: "always"}, &redis{how: how, appendfsync: "everysec"})
	}
	return append(systems, &postgres{}, &bareLog{})
}
