package peers

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// postgres is a fresh cluster with a row a player, driven through 64 connections.
type postgres struct {
	players int
	docs    documents
	server  processes
	durable *pgxpool.Pool
	memory  *pgxpool.Pool // synchronous_commit off
}

// Name of the peer.
func (*postgres) Name() string { return "PostgreSQL" }

// Does says that it is asked by callers.
func (*postgres) Does(_ Op, way Way) bool { return way == ByCallers }

// PIDs are the server; its backends are its children.
func (p *postgres) PIDs() []int { return p.server.pids() }

// Start makes, starts and fills it.
func (p *postgres) Start(ctx context.Context, dir string, players int) error {
	p.players, p.docs = players, makeDocuments()
	initdb, err := lookPath("initdb", "/usr/lib/postgresql/*/bin/initdb")
	if err != nil {
		return err
	}
	program, err := lookPath("postgres", "/usr/lib/postgresql/*/bin/postgres")
	if err != nil {
		return err
	}
	if err = os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("make the directory: %w", err)
	}
	as, err := notRoot(dir)
	if err != nil {
		return err
	}
	data := filepath.Join(dir, "data")
	create := exec.CommandContext(ctx, initdb, "-A", "trust", "-U", "postgres", "-D", data)
	create.Dir, create.SysProcAttr = dir, &syscall.SysProcAttr{Credential: as}
	if out, failed := create.CombinedOutput(); failed != nil {
		return fmt.Errorf("initdb: %w: %s", failed, out)
	}
	port, err := freePort()
	if err != nil {
		return err
	}
	serve := exec.Command(program, "-D", data, "-p", port, "-k", dir, "-c", "listen_addresses=127.0.0.1", "-c", "max_connections=200", "-c", "shared_buffers=512MB") //nolint:noctx // it lives longer than the call
	serve.SysProcAttr = &syscall.SysProcAttr{Credential: as}
	if err = p.server.start(dir, serve); err != nil {
		return err
	}
	conn, err := dialUntil(ctx, "127.0.0.1:"+port, dir)
	if err != nil {
		return err
	}
	_ = conn.Close()
	const connections = "&pool_max_conns=64"
	at := "postgres://postgres@127.0.0.1:" + port + "/postgres?synchronous_commit="
	if p.durable, err = pgxpool.New(ctx, at+"on"+connections); err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	if p.memory, err = pgxpool.New(ctx, at+"off"+connections); err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	return p.fill(ctx)
}

// notRoot gives dir to whom PostgreSQL may run as, and returns who that is: it refuses to run as root.
func notRoot(dir string) (*syscall.Credential, error) {
	if os.Geteuid() != 0 {
		return nil, nil //nolint:nilnil // as whoever we are
	}
	who, err := user.Lookup("postgres")
	if err != nil {
		if who, err = user.Lookup("nobody"); err != nil {
			return nil, fmt.Errorf("%w: it does not run as root, and there is no user postgres", ErrNotInstalled)
		}
	}
	uid, err := strconv.ParseUint(who.Uid, 10, 32)
	if err != nil {
		return nil, fmt.Errorf("user %s: %w", who.Username, err)
	}
	gid, err := strconv.ParseUint(who.Gid, 10, 32)
	if err != nil {
		return nil, fmt.Errorf("user %s: %w", who.Username, err)
	}
	if err := os.Chmod(filepath.Dir(dir), 0o755); err != nil {
		return nil, err
	}
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, os.Chown(dir, int(uid), int(gid))
}

func (p *postgres) fill(ctx context.Context) error {
	if err := p.awaitServing(ctx); err != nil {
		return fmt.Errorf("it did not serve: %w", err)
	}
	if _, err := p.durable.Exec(ctx, "create table player (id int primary key, coins bigint not null, doc text not null)"); err != nil {
		return fmt.Errorf("make the table: %w", err)
	}
	_, err := p.durable.CopyFrom(ctx, pgx.Identifier{"player"}, []string{"id", "coins", "doc"},
		pgx.CopyFromSlice(p.players, func(i int) ([]any, error) { return []any{i, 100, p.docs.of(i)}, nil }))
	return err
}

// awaitServing waits at most 20 s: the server listens before it serves.
func (p *postgres) awaitServing(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, connectWithin)
	defer cancel()
	for {
		err := p.durable.Ping(ctx)
		if err == nil {
			return nil
		}
		if pause(ctx, 100*time.Millisecond); ctx.Err() != nil {
			return errors.Join(err, ctx.Err())
		}
	}
}

// Run asks.
func (p *postgres) Run(ctx context.Context, op Op, _ Way, inflight int, duration time.Duration) (Window, error) {
	change := func(ctx context.Context, pool *pgxpool.Pool, what string, args ...any) error {
		done, err := pool.Exec(ctx, what, args...)
		if err == nil && done.RowsAffected() != 1 {
			err = fmt.Errorf("%d rows changed", done.RowsAffected())
		}
		return err
	}
	return Callers(ctx, inflight, duration, alike(func(ctx context.Context) error {
		id := rand.IntN(p.players)
		switch op {
		case Durable:
			return change(ctx, p.durable, "update player set coins = coins + 1 where id = $1", id)
		case Memory:
			return change(ctx, p.memory, "update player set coins = coins + 1 where id = $1", id)
		case Load:
			var doc string
			var coins int64
			return p.durable.QueryRow(ctx, "select coins, doc from player where id = $1", id).Scan(&coins, &doc)
		case Save:
			return change(ctx, p.durable, "update player set doc = $2 where id = $1", id, p.docs.random())
		}
		return fmt.Errorf("%w: %s", ErrOptions, op)
	}))
}

// Stop ends it at once; its backends end with it.
func (p *postgres) Stop(context.Context) error {
	for _, pool := range []*pgxpool.Pool{p.durable, p.memory} {
		if pool != nil {
			pool.Close()
		}
	}
	for _, cmd := range p.server.started {
		_ = cmd.Process.Signal(syscall.SIGQUIT) // "immediate": it may have ended by itself
		_ = cmd.Wait()                          // it was told to quit
	}
	p.server.started = nil
	return nil
}
