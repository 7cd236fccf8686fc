package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/skerry-dev/skerry/internal/clustertest"
)

// postgres is a fresh cluster with a row a player, driven through 64 connections.
type postgres struct {
	players int
	bin     string
	cmd     *exec.Cmd
	pool    *pgxpool.Pool
}

func (*postgres) name() string { return "PostgreSQL, a column" }

func (*postgres) way() way { return byCallers }

func (p *postgres) start(ctx context.Context, dir string, players int) error {
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/postgres") // where Debian puts it; the pattern is well-formed
	if len(found) == 0 {
		return errNotInstalled
	}
	p.players, p.bin = players, filepath.Dir(found[len(found)-1])
	home := filepath.Join(dir, "postgres")
	if err := os.MkdirAll(home, 0o700); err != nil {
		return err
	}
	as := []string{}
	if os.Geteuid() == 0 { // PostgreSQL refuses to run as root
		as = []string{"runuser", "-u", "postgres", "--"}
		if out, err := exec.CommandContext(ctx, "chown", "postgres", home).CombinedOutput(); err != nil {
			return fmt.Errorf("chown: %w: %s", err, out)
		}
		if err := os.Chmod(dir, 0o755); err != nil {
			return err
		}
	}
	run := func(args ...string) *exec.Cmd {
		all := append(append([]string{}, as...), args...)
		cmd := exec.Command(all[0], all[1:]...)
		cmd.Dir = home
		return cmd
	}
	if out, err := run(filepath.Join(p.bin, "initdb"), "-A", "trust", "-U", "postgres", "-D", filepath.Join(home, "data")).CombinedOutput(); err != nil {
		return fmt.Errorf("initdb: %w: %s", err, out)
	}
	port, err := freePort()
	if err != nil {
		return err
	}
	p.cmd = run(filepath.Join(p.bin, "postgres"), "-D", filepath.Join(home, "data"), "-p", port, "-k", home, "-c", "listen_addresses=127.0.0.1", "-c", "max_connections=100", "-c", "shared_buffers=512MB")
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := p.cmd.Start(); err != nil {
		return err
	}
	conn, err := dialUntil(ctx, "127.0.0.1:"+port)
	if err != nil {
		return err
	}
	_ = conn.Close()
	config, err := pgxpool.ParseConfig("postgres://postgres@127.0.0.1:" + port + "/postgres?pool_max_conns=64")
	if err != nil {
		return err
	}
	if p.pool, err = pgxpool.NewWithConfig(ctx, config); err != nil {
		return err
	}
	if err := p.awaitServing(ctx); err != nil {
		return err
	}
	_, err = p.pool.Exec(ctx, "create table player (id int primary key, coins bigint not null, doc text not null)")
	if err == nil {
		_, err = p.pool.Exec(ctx, "insert into player select i, 100, repeat('x', 4096) from generate_series(0, $1 - 1) i", players)
	}
	return err
}

// awaitServing waits at most 20 s: the server listens before it serves.
func (p *postgres) awaitServing(ctx context.Context) error {
	deadline := time.Now().Add(20 * time.Second)
	for {
		err := p.pool.Ping(ctx)
		if err == nil || time.Now().After(deadline) || ctx.Err() != nil {
			return err
		}
		select {
		case <-time.After(100 * time.Millisecond):
		case <-ctx.Done():
		}
	}
}

func (p *postgres) run(ctx context.Context, inflight int, duration time.Duration) (result, error) {
	return callers(ctx, inflight, duration, alike(func(ctx context.Context) error {
		_, err := p.pool.Exec(ctx, "update player set coins = coins + 1 where id = $1", rand.IntN(p.players))
		return err
	}))
}

func (p *postgres) stop(context.Context) error {
	p.pool.Close()
	_ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGQUIT) // the group that we made: runuser and the server
	_ = p.cmd.Wait()                                      // it was told to quit
	return nil
}

func freePort() (string, error) {
	addr, err := clustertest.FreeAddr()
	if err != nil {
		return "", err
	}
	_, port, err := net.SplitHostPort(addr)
	return port, err
}

// dialUntil connects within 20 s.
func dialUntil(ctx context.Context, addr string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	for {
		conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", addr)
		if err == nil {
			return conn, nil
		}
		select {
		case <-time.After(50 * time.Millisecond):
		case <-ctx.Done():
			return nil, fmt.Errorf("connect to %s: %w", addr, err)
		}
	}
}
