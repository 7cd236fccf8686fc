package main

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"github.com/skerry-dev/skerry/client"
	"github.com/skerry-dev/skerry/codec/skerryv1"
)

// atOnce is how many calls are on their way.
const atOnce = 256

// member is one player, and what it was answered. Its counts belong to whoever plays it: soil, one loader, or verify.
type member struct {
	player          *client.Player
	durable, memory int64
}

// crowd is all players.
type crowd struct{ members []*member }

// each calls f for every member, many at a time.
func (c *crowd) each(ctx context.Context, f func(context.Context, *member) error) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(atOnce)
	for _, m := range c.members {
		group.Go(func() error { return f(ctx, m) })
	}
	return group.Wait()
}

func open(ctx context.Context, c *client.Client, players int) (*crowd, error) {
	server, err := c.RegisterServer(ctx, "shutdown", client.ServerOptions{})
	if err != nil {
		return nil, err
	}
	all := &crowd{members: make([]*member, players)}
	for i := range all.members {
		all.members[i] = &member{}
	}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(atOnce)
	for i, m := range all.members {
		group.Go(func() error {
			p, err := server.OpenPlayer(ctx, fmt.Sprintf("p%d", i), client.OpenOptions{Name: "Shutdown"})
			m.player = p
			return err
		})
	}
	return all, group.Wait()
}

func increment(path string) *skerryv1.PlayerCommand {
	return &skerryv1.PlayerCommand{Command: &skerryv1.PlayerCommand_IncrementAttribute{
		IncrementAttribute: &skerryv1.IncrementAttribute{Path: path, By: 1},
	}}
}

// soil gives every player a MEMORY command.
func (c *crowd) soil(ctx context.Context) error {
	return c.each(ctx, func(ctx context.Context, m *member) error {
		if _, err := m.player.Do(ctx, client.DoOptions{Durability: client.Memory}, increment("m")); err != nil {
			return fmt.Errorf("MEMORY command: %w", err)
		}
		m.memory++
		return nil
	})
}

// load is DURABLE commands to the first players, without a pause, until end.
type load struct {
	stop    chan struct{}
	running sync.WaitGroup
	count   atomic.Int64

	mu struct {
		sync.Mutex
		err error
	}
}

// load begins. Calls that the node's end interrupts are retried by the client, with the same command id, until the next
// node answers: after end every command was answered.
func (c *crowd) load(ctx context.Context) *load {
	l := &load{stop: make(chan struct{})}
	for _, m := range c.members[:min(64, len(c.members))] {
		l.running.Go(func() {
			for {
				select {
				case <-l.stop:
					return
				default:
				}
				if _, err := m.player.Do(ctx, client.DoOptions{}, increment("d")); err != nil {
					l.mu.Lock()
					l.mu.err = fmt.Errorf("DURABLE command: %w", err)
					l.mu.Unlock()
					return
				}
				m.durable++
				l.count.Add(1)
			}
		})
	}
	return l
}

// end lets the last commands be answered, and returns what went wrong.
func (l *load) end() error {
	close(l.stop)
	l.running.Wait()
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.mu.err
}

func (l *load) answered() int64 { return l.count.Load() }

// verify reads everybody back. A DURABLE command that is lost or doubled is an error; it returns how many MEMORY commands
// were lost, and forgets them.
func (c *crowd) verify(ctx context.Context, from *client.Client) (lost int64, err error) {
	var gone atomic.Int64
	err = c.each(ctx, func(ctx context.Context, m *member) error {
		p, err := from.Player(ctx, m.player.ID())
		if err != nil {
			return fmt.Errorf("read back: %w", err)
		}
		count := func(name string) int64 { return int64(p.GetAttributes().GetFields()[name].GetNumberValue()) }
		if got := count("d"); got != m.durable {
			return fmt.Errorf("player %s: %d DURABLE commands are stored, %d were answered", m.player.ID(), got, m.durable)
		}
		if got := count("m"); got > m.memory {
			return fmt.Errorf("player %s: %d MEMORY commands are stored, %d were sent", m.player.ID(), got, m.memory)
		} else if got < m.memory {
			gone.Add(m.memory - got)
			m.memory = got
		}
		return nil
	})
	return gone.Load(), err
}
