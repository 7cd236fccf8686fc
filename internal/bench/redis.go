package main

import (
	"bufio"
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/redis/rueidis"
)

// redis is redis-server with a player a hash: through a client library that pipelines by itself what its callers ask, or
// over one bare connection.
type redis struct {
	how         way
	appendfsync string // always or everysec
	players     int
	cmd         *exec.Cmd
	conn        net.Conn
	client      rueidis.Client // for callers
}

func (r *redis) name() string { return "Redis " + r.appendfsync }

func (r *redis) way() way { return r.how }

func (r *redis) start(ctx context.Context, dir string, players int) error {
	program, err := exec.LookPath("redis-server")
	if err != nil {
		return errNotInstalled
	}
	r.players = players
	home, err := os.MkdirTemp(dir, "redis")
	if err != nil {
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
	if r.client, err = rueidis.NewClient(rueidis.ClientOption{
		InitAddress: []string{"127.0.0.1:" + port}, DisableCache: true, AlwaysPipelining: true,
	}); err != nil {
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

func (r *redis) run(ctx context.Context, inflight int, duration time.Duration) (res result, err error) {
	before := cpuOf(r.cmd.Process.Pid)
	if r.how == byCallers {
		res, err = callers(ctx, inflight, duration, alike(func(ctx context.Context) error {
			key := "p" + strconv.Itoa(rand.IntN(r.players))
			return r.client.Do(ctx, r.client.B().Hincrby().Key(key).Field("coins").Increment(1).Build()).Error()
		}))
	} else {
		res, err = r.runWindow(ctx, inflight, duration)
	}
	res.cpu = cpuOf(r.cmd.Process.Pid) - before
	return res, err
}

func (r *redis) runWindow(ctx context.Context, inflight int, duration time.Duration) (result, error) {
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
	var buf []byte
	res, err := w.drive(ctx, duration, func(id uint64) error {
		key := strconv.AppendInt(append(buf[:0], 'p'), int64(rand.IntN(r.players)), 10)
		buf = key
		fmt.Fprintf(out, "*4\r\n$7\r\nHINCRBY\r\n$%d\r\n%s\r\n$5\r\ncoins\r\n$1\r\n1\r\n", len(key), key)
		order <- id
		return nil
	}, out.Flush)
	close(order)
	if end := <-ended; err == nil {
		err = end
	}
	return res, err
}

func (r *redis) stop(context.Context) error {
	r.client.Close()
	_ = r.conn.Close()
	_ = r.cmd.Process.Kill()
	_ = r.cmd.Wait() // it was killed
	return nil
}
