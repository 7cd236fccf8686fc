package main

import (
	"bufio"
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/skerry-dev/skerry/internal/clustertest"
)

// redis is redis-server with a player a hash, driven over one pipelined connection.
type redis struct {
	appendfsync string // always or everysec
	players     int
	cmd         *exec.Cmd
	conn        net.Conn
}

func (r *redis) name() string { return "Redis " + r.appendfsync + ", pipelined" }

func (r *redis) start(ctx context.Context, dir string, players int) error {
	program, err := exec.LookPath("redis-server")
	if err != nil {
		return errNotInstalled
	}
	r.players = players
	home := filepath.Join(dir, "redis-"+r.appendfsync)
	if err := os.MkdirAll(home, 0o755); err != nil {
		return err
	}
	port, err := freePort()
	if err != nil {
		return err
	}
	r.cmd = exec.Command(program, "--port", port, "--bind", "127.0.0.1", "--dir", home, "--save", "", "--appendonly", "yes", "--appendfsync", r.appendfsync, "--daemonize", "no")
	r.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := r.cmd.Start(); err != nil {
		return err
	}
	if r.conn, err = dialUntil(ctx, "127.0.0.1:"+port); err != nil {
		return err
	}
	// The same 4 KiB document beside the counter as a player would have.
	document := strings.Repeat("x", 4096)
	out := bufio.NewWriterSize(r.conn, 1<<20)
	in := bufio.NewReaderSize(r.conn, 1<<20)
	for i := range players {
		key := "p" + strconv.Itoa(i)
		fmt.Fprintf(out, "*6\r\n$4\r\nHSET\r\n$%d\r\n%s\r\n$5\r\ncoins\r\n$3\r\n100\r\n$3\r\ndoc\r\n$%d\r\n%s\r\n", len(key), key, len(document), document)
		if i%200 == 199 || i == players-1 {
			if err := out.Flush(); err != nil {
				return err
			}
			for range i%200 + 1 {
				if _, err := in.ReadString('\n'); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

func (r *redis) run(ctx context.Context, inflight int, duration time.Duration) (result, error) {
	out := bufio.NewWriterSize(r.conn, 1<<16)
	in := bufio.NewReaderSize(r.conn, 1<<16)
	w := newWindow(inflight)
	order := make(chan uint64, inflight) // Redis answers in order
	ended := make(chan error, 1)
	go func() { // ends when order is closed
		for id := range order {
			line, err := in.ReadString('\n')
			if err == nil && line[0] != ':' {
				err = fmt.Errorf("redis said %q", line)
			}
			if err != nil {
				ended <- err
				return
			}
			w.done(id)
		}
		ended <- nil
	}()
	before := cpuOf(r.cmd.Process.Pid)
	var buf []byte
	res, err := w.drive(ctx, duration, func(id uint64) error {
		key := strconv.AppendInt(append(buf[:0], 'p'), int64(rand.IntN(r.players)), 10)
		buf = key
		fmt.Fprintf(out, "*4\r\n$7\r\nHINCRBY\r\n$%d\r\n%s\r\n$5\r\ncoins\r\n$1\r\n1\r\n", len(key), key)
		order <- id
		return nil
	}, out.Flush)
	res.cpu = cpuOf(r.cmd.Process.Pid) - before
	close(order)
	if end := <-ended; err == nil {
		err = end
	}
	return res, err
}

func (r *redis) stop(context.Context) error {
	_ = r.conn.Close()
	_ = r.cmd.Process.Kill()
	_ = r.cmd.Wait() // it was killed
	return nil
}

// postgres is a fresh cluster with a row a player, driven through 64 connections.
type postgres struct {
	players int
	bin     string
	cmd     *exec.Cmd
	pool    *pgxpool.Pool
}

func (*postgres) name() string { return "PostgreSQL, a column" }

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
	w := newWindow(inflight)
	jobs := make(chan uint64, inflight)
	finished := make(chan uint64, inflight)
	workers := min(inflight, 64)
	ended := make(chan error, workers+1)
	for range workers {
		go func() { // ends when jobs is closed
			var failed error
			for id := range jobs {
				if _, err := p.pool.Exec(ctx, "update player set coins = coins + 1 where id = $1", rand.IntN(p.players)); err != nil {
					failed = err
				}
				finished <- id
			}
			ended <- failed
		}()
	}
	collected := make(chan struct{})
	go func() { // ends when finished is closed
		defer close(collected)
		for id := range finished {
			w.done(id)
		}
	}()
	r, err := w.drive(ctx, duration, func(id uint64) error { jobs <- id; return nil }, func() error { return nil })
	close(jobs)
	for range workers {
		if end := <-ended; err == nil {
			err = end
		}
	}
	close(finished)
	<-collected
	return r, err
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
