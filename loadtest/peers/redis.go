package peers

import (
	"bufio"
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"slices"
	"strconv"
	"time"

	"github.com/redis/rueidis"
	"golang.org/x/sync/errgroup"
)

// redis is redis-server with a player a hash: through a client library that pipelines by itself what its callers ask, or
// over one bare connection.
type redis struct {
	appendfsync string // always or everysec
	ops         []Op
	players     int
	docs        documents
	server      processes
	conn        net.Conn
	client      rueidis.Client // for callers
}

// Name says how it syncs, too.
func (r *redis) Name() string { return "Redis " + r.appendfsync }

// Does says that only changes are pipelined.
func (r *redis) Does(op Op, way Way) bool {
	return slices.Contains(r.ops, op) && (way == ByCallers || op == Durable || op == Memory)
}

// PIDs are the server.
func (r *redis) PIDs() []int { return r.server.pids() }

// Start starts and fills it.
func (r *redis) Start(ctx context.Context, dir string, players int) error {
	program, err := lookPath("redis-server")
	if err != nil {
		return err
	}
	r.players, r.docs = players, makeDocuments()
	port, err := freePort()
	if err != nil {
		return err
	}
	if err = r.server.launch(dir, program, "--port", port, "--bind", "127.0.0.1", "--dir", dir, "--save", "",
		"--appendonly", "yes", "--appendfsync", r.appendfsync, "--daemonize", "no"); err != nil {
		return err
	}
	if r.conn, err = dialUntil(ctx, "127.0.0.1:"+port, dir); err != nil {
		return err
	}
	if r.client, err = rueidis.NewClient(rueidis.ClientOption{
		InitAddress: []string{"127.0.0.1:" + port}, DisableCache: true, AlwaysPipelining: true,
	}); err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(256)
	for i := range players {
		group.Go(func() error {
			return r.client.Do(ctx, r.client.B().Hset().Key(playerKey(i)).FieldValue().FieldValue("coins", "100").FieldValue("doc", r.docs.of(i)).Build()).Error()
		})
	}
	return group.Wait()
}

func playerKey(i int) string { return "p" + strconv.Itoa(i) }

func (r *redis) key() string { return playerKey(rand.IntN(r.players)) }

// Run asks.
func (r *redis) Run(ctx context.Context, op Op, way Way, inflight int, duration time.Duration) (Window, error) {
	if way == Pipelined {
		return r.pipelined(ctx, inflight, duration)
	}
	b := r.client.B()
	return Callers(ctx, inflight, duration, alike(func(ctx context.Context) error {
		switch op {
		case Durable, Memory:
			return r.client.Do(ctx, b.Hincrby().Key(r.key()).Field("coins").Increment(1).Build()).Error()
		case Load:
			fields, err := r.client.Do(ctx, b.Hgetall().Key(r.key()).Build()).AsStrMap()
			if err == nil && len(fields["doc"]) != documentBytes {
				err = fmt.Errorf("redis gave a document of %d bytes", len(fields["doc"]))
			}
			return err
		case Save:
			return r.client.Do(ctx, b.Hset().Key(r.key()).FieldValue().FieldValue("doc", r.docs.random()).Build()).Error()
		}
		return fmt.Errorf("%w: %s", ErrOptions, op)
	}))
}

func (r *redis) pipelined(ctx context.Context, inflight int, duration time.Duration) (Window, error) {
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
		if _, err := fmt.Fprintf(out, "*4\r\n$7\r\nHINCRBY\r\n$%d\r\n%s\r\n$5\r\ncoins\r\n$1\r\n1\r\n", len(key), key); err != nil {
			return err
		}
		order <- id
		return nil
	}, out.Flush)
	close(order)
	if end := <-ended; err == nil {
		err = end
	}
	return res, err
}

// Stop ends it.
func (r *redis) Stop(context.Context) error {
	if r.client != nil {
		r.client.Close()
	}
	if r.conn != nil {
		_ = r.conn.Close()
	}
	return r.server.stop()
}
