// Command scale fills a real node with players, restarts it, and prints how long it takes to start, how long a cold
// player takes to activate, and what an idle activation costs in memory.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
	"github.com/schollz/progressbar/v3"
	"golang.org/x/sync/errgroup"
	"google.golang.org/protobuf/proto"

	"github.com/skerry-dev/skerry/client"
	"github.com/skerry-dev/skerry/internal/clustertest"
)

type options struct {
	players, idle, cold int
	documentBytes       int
}

func main() {
	var o options
	flag.IntVar(&o.players, "players", 1_000_000, "players to create")
	flag.IntVar(&o.idle, "idle", 100_000, "players to hold idle in memory for the heap figure")
	flag.IntVar(&o.cold, "cold", 20_000, "cold players to activate, 4 at a time, for the latency figure")
	flag.IntVar(&o.documentBytes, "document", 1024, "size of a document, about")
	flag.Parse()
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt)
	defer cancel()
	if err := run(ctx, o); err != nil {
		fmt.Fprintln(os.Stderr, "scale:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, o options) error {
	dir, err := os.MkdirTemp("", "skerry-scale")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	program, err := clustertest.Build(ctx, dir, "")
	if err != nil {
		return err
	}
	home := filepath.Join(dir, "node")
	node, err := clustertest.Start(ctx, program, home, "--passivate-after", "5s")
	if err != nil {
		return err
	}
	defer func() { _ = node.Kill() }()
	if err := create(ctx, node, o); err != nil {
		return err
	}
	from := time.Now()
	if err := stop(ctx, node); err != nil {
		return err
	}
	fmt.Printf("stop (SIGTERM, everything saved): %v\n", time.Since(from).Round(time.Millisecond))

	from = time.Now()
	if node, err = clustertest.Start(ctx, program, home, "--passivate-after", "1h"); err != nil {
		return err
	}
	fmt.Printf("start-up to the ready line: %v\n", time.Since(from).Round(time.Millisecond))
	if err := activate(ctx, node, o); err != nil {
		return err
	}
	from = time.Now()
	if err := node.Kill(); err != nil {
		return err
	}
	if node, err = clustertest.Start(ctx, program, home); err != nil {
		return err
	}
	fmt.Printf("start-up after kill -9: %v\n", time.Since(from).Round(time.Millisecond))
	return stop(ctx, node)
}

func stop(ctx context.Context, node *clustertest.Process) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	return node.Stop(ctx)
}

func id(i int) string { return fmt.Sprintf("p%07d", i) }

// create opens every player, fills its document, and leaves with a save.
func create(ctx context.Context, node *clustertest.Process, o options) error {
	c, err := client.Dial(ctx, node.Ready.GRPC, client.Options{Timeout: time.Minute})
	if err != nil {
		return err
	}
	defer c.Close()
	server, err := c.RegisterServer(ctx, "scale", client.ServerOptions{})
	if err != nil {
		return err
	}
	filler := strings.Repeat("x", max(1, o.documentBytes-300))
	bar := progressbar.Default(int64(o.players), "creating players")
	from := time.Now()
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(1024)
	for i := range o.players {
		group.Go(func() error {
			p, err := server.OpenPlayer(ctx, id(i), client.OpenOptions{Name: "Scale"})
			if err != nil {
				return err
			}
			if err := p.SetAttribute(ctx, "filler", filler); err != nil {
				return err
			}
			_ = bar.Add(1)
			return p.Leave(ctx)
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	took := time.Since(from)
	fmt.Printf("\n%d players created, filled and saved in %v: %.0f a second\n", o.players, took.Round(time.Second), float64(o.players)/took.Seconds())
	return nil
}

// activate reads cold players, 4 at a time, and then holds idle ones and looks at the heap.
func activate(ctx context.Context, node *clustertest.Process, o options) error {
	c, err := client.Dial(ctx, node.Ready.GRPC, client.Options{Timeout: time.Minute})
	if err != nil {
		return err
	}
	defer c.Close()
	order := rand.Perm(o.players)
	cold, idle := order[:min(o.cold, o.players)], order[:min(o.idle, o.players)]
	latency := make([]*hdrhistogram.Histogram, 4)
	group, gctx := errgroup.WithContext(ctx)
	for worker := range 4 {
		latency[worker] = hdrhistogram.New(1, 60_000_000, 3)
		group.Go(func() error {
			for i := worker; i < len(cold); i += 4 {
				from := time.Now()
				if _, err := c.Player(gctx, id(cold[i])); err != nil {
					return err
				}
				_ = latency[worker].RecordValue(max(1, time.Since(from).Microseconds())) // a minute is the most it records
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	for _, h := range latency[1:] {
		latency[0].Merge(h)
	}
	us := func(q float64) time.Duration { return time.Duration(latency[0].ValueAtQuantile(q)) * time.Microsecond }
	fmt.Printf("activation of %d cold players through the client, 4 at a time: p50 %v, p99 %v, max %v\n", len(cold), us(50), us(99), us(100))
	return heap(ctx, c, node, idle, len(cold))
}

// heap compares the live heap before and after more players were activated; both times they have been idle long enough
// to be held encoded.
func heap(ctx context.Context, c *client.Client, node *clustertest.Process, idle []int, already int) error {
	if err := rest(ctx); err != nil {
		return err
	}
	before, err := liveHeap(ctx, node)
	if err != nil {
		return err
	}
	var sizes int64
	sampled := 0
	group, gctx := errgroup.WithContext(ctx)
	group.SetLimit(64)
	for n, i := range idle[already:] {
		if n == 0 {
			p, err := c.Player(ctx, id(i))
			if err != nil {
				return err
			}
			sizes, sampled = int64(proto.Size(p)), 1
		}
		group.Go(func() error {
			_, err := c.Player(gctx, id(i))
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	if err := rest(ctx); err != nil {
		return err
	}
	after, err := liveHeap(ctx, node)
	if err != nil {
		return err
	}
	count := int64(len(idle) - already)
	each, document := (after-before)/count, sizes/int64(sampled)
	fmt.Printf("live heap after GC: %d MiB with %d idle activations, %d B each: a document of %d B and %d B more\n",
		after>>20, len(idle), each, document, each-document)
	return nil
}

// rest waits until idle activations are held encoded (30 s after their last use by default).
func rest(ctx context.Context) error {
	select {
	case <-time.After(45 * time.Second):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// liveHeap collects garbage in the node and returns the bytes in use.
func liveHeap(ctx context.Context, node *clustertest.Process) (int64, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+node.Ready.Admin+"/debug/pprof/heap?gc=1&debug=1", nil)
	if err != nil {
		return 0, err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return 0, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return 0, err
	}
	_, rest, found := strings.Cut(string(body), "# HeapAlloc = ")
	if !found {
		return 0, fmt.Errorf("no HeapAlloc in the heap profile of %s", node.Ready.Admin)
	}
	var bytes int64
	_, err = fmt.Sscan(rest, &bytes)
	return bytes, err
}
