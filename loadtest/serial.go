package loadtest

import (
	"context"
	"fmt"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/skerry-dev/skerry/client"
	"github.com/skerry-dev/skerry/codec/skerryv1"
)

// closes reports whether the scenario's servers close.
func (e *engine) closes() bool {
	return slices.ContainsFunc(e.s.Events, func(event Event) bool { return event.Do == DoClose })
}

// serialOpens is how many players are opened at a time.
const serialOpens = 32

// serialClose measures the original's way to shut down, beside the cluster's: as many servers as the scenario has, each with as many
// players and worlds, all of them changed, and each server saves and lets go one after the other, as the original's
// script did; all servers at the same time. They are others than those that played, so nothing of them is in the ledger.
func (e *engine) serialClose(ctx context.Context) (time.Duration, error) {
	servers := make([]func(context.Context) error, e.s.Servers)
	var opening errgroup.Group
	for i := range servers {
		opening.Go(func() (err error) {
			servers[i], err = e.serialServer(ctx, i)
			return err
		})
	}
	if err := opening.Wait(); err != nil {
		return 0, fmt.Errorf("open players for the serial way: %w", err)
	}
	began := time.Now()
	var closing errgroup.Group
	for _, end := range servers {
		closing.Go(func() error { return end(ctx) })
	}
	if err := closing.Wait(); err != nil {
		return 0, fmt.Errorf("close in the serial way: %w", err)
	}
	return time.Since(began), nil
}

// serialServer opens a server with its players and worlds, changes each, and returns what ends it.
func (e *engine) serialServer(ctx context.Context, number int) (end func(context.Context) error, err error) {
	id := fmt.Sprintf("%sserial-%d", e.prefix, number)
	server, err := e.clients[number%len(e.clients)].RegisterServer(ctx, id, client.ServerOptions{Players: int32(e.s.Players), Budget: e.s.Budget}) //nolint:gosec // bounded
	if err != nil {
		return nil, err
	}
	players, worlds := make([]*client.Player, e.s.Players), make([]*client.World, e.s.Worlds)
	opening, opened := errgroup.WithContext(ctx)
	opening.SetLimit(serialOpens)
	for i := range players {
		opening.Go(func() (err error) {
			if players[i], err = server.OpenPlayer(opened, fmt.Sprintf("%s-p%d", id, i), client.OpenOptions{Name: "Serial"}); err == nil {
				_, err = players[i].Earn(opened, client.Coins, 1, client.Memory)
			}
			return err
		})
	}
	for i := range worlds {
		opening.Go(func() (err error) {
			owner := fmt.Sprintf("%s-p%d", id, i)
			create := &skerryv1.Create{Height: 64, OwnerName: "Serial"}
			if worlds[i], err = server.OpenWorld(opened, owner, client.WorldOptions{Create: create}); err == nil {
				err = worlds[i].Rename(opened, "Serial")
			}
			return err
		})
	}
	if err = opening.Wait(); err != nil {
		return nil, err
	}
	return func(ctx context.Context) error { return endSerially(ctx, server, players, worlds) }, nil
}

// endSerially saves each, lets it go, and then the next.
func endSerially(ctx context.Context, server *client.Server, players []*client.Player, worlds []*client.World) error {
	for _, p := range players {
		if _, err := p.Save(ctx); err != nil {
			return err
		}
		if err := p.Leave(ctx); err != nil {
			return err
		}
	}
	for _, w := range worlds {
		if _, err := w.Save(ctx); err != nil {
			return err
		}
		if err := w.Leave(ctx); err != nil {
			return err
		}
	}
	return server.Close(ctx)
}
