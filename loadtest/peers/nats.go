package peers

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/skerry-dev/skerry/internal/clustertest"
)

// nats is one JetStream server or three, each of which syncs every message. It is asked over its own protocol by hand. A change
// is a message of 50 bytes to a stream; a document is the last message of its subject in another stream, as its key-value store
// keeps them.
type nats struct {
	replicas int
	players  int
	docs     documents
	servers  processes
	conns    map[string][]*natsConn // by stream, to its leader
}

const (
	natsConns     = 8
	natsChanges   = "CHANGES"
	natsDocuments = "DOCUMENTS"
)

// NATS is JetStream with one copy of each message, or three.
func NATS(replicas int) System { return &nats{replicas: replicas} }

// Name says how many copies there are.
func (n *nats) Name() string {
	return fmt.Sprintf("NATS JetStream R%d, sync always", n.replicas)
}

// Does says that everything is durable.
func (*nats) Does(op Op, way Way) bool { return op != Memory && way == ByCallers }

// PIDs are the servers.
func (n *nats) PIDs() []int { return n.servers.pids() }

// Start starts and fills it.
func (n *nats) Start(ctx context.Context, dir string, players int) error {
	n.players, n.docs, n.conns = players, makeDocuments(), map[string][]*natsConn{}
	program, err := lookPath("nats-server")
	if err != nil {
		return err
	}
	addresses, err := clustertest.FreeAddrs(2 * n.replicas)
	if err != nil {
		return err
	}
	clients := addresses[:n.replicas]
	if err := n.configure(dir, clients, addresses[n.replicas:]); err != nil {
		return err
	}
	for i := range n.replicas {
		own := filepath.Join(dir, fmt.Sprint(i))
		if out, err := exec.CommandContext(ctx, program, "-t", "-c", filepath.Join(own, "config")).CombinedOutput(); err != nil {
			return fmt.Errorf("%w with sync_interval: always, which needs 2.10: %s", ErrNotInstalled, strings.TrimSpace(strings.ReplaceAll(string(out), own+"/", "")))
		}
		if err := n.servers.launch(own, program, "-c", "config"); err != nil {
			return err
		}
	}
	for stream, config := range map[string]string{
		natsChanges:   `"subjects":["c.*"],"discard":"old"`,
		natsDocuments: `"subjects":["d.*"],"discard":"new","max_msgs_per_subject":1,"allow_direct":true`,
	} {
		if err := n.connect(ctx, clients, stream, config); err != nil {
			return fmt.Errorf("%w\n%s", err, logIn(filepath.Join(dir, "0")))
		}
	}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(256)
	for i := range players {
		group.Go(func() error { return n.publish(ctx, natsDocuments, i, "d", i, n.docs.of(i)) })
	}
	return group.Wait()
}

// configure writes the configuration of each server; one alone is no cluster.
func (n *nats) configure(dir string, clients, members []string) error {
	var routes []string
	for _, address := range members {
		routes = append(routes, "nats-route://"+address)
	}
	for i := range n.replicas {
		own := filepath.Join(dir, fmt.Sprint(i))
		config := fmt.Sprintf("server_name: n%d\nlisten: %q\njetstream { store_dir: %q, sync_interval: always }\n", i, clients[i], filepath.Join(own, "data"))
		if n.replicas > 1 {
			config += fmt.Sprintf("cluster { name: bench, listen: %q, routes: [%s] }\n", members[i], strings.Join(routes, ", "))
		}
		if err := os.MkdirAll(own, 0o755); err != nil {
			return fmt.Errorf("make a server's directory: %w", err)
		}
		if err := os.WriteFile(filepath.Join(own, "config"), []byte(config), 0o600); err != nil {
			return fmt.Errorf("write the configuration: %w", err)
		}
	}
	return nil
}

// connect makes a stream and connects to the server that leads it.
func (n *nats) connect(ctx context.Context, clients []string, stream, config string) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	var last error
	for ctx.Err() == nil {
		var leader string
		if leader, last = natsMake(ctx, clients[0], stream, fmt.Sprintf(`{"name":%q,"retention":"limits","storage":"file","num_replicas":%d,%s}`, stream, n.replicas, config)); last == nil {
			i, known := 0, n.replicas == 1 // one alone says nothing of a leader
			if !known {
				_, err := fmt.Sscanf(leader, "n%d", &i)
				known = err == nil && i < len(clients)
			}
			if known {
				return n.dial(ctx, clients[i], stream)
			}
		}
		pause(ctx, 200*time.Millisecond)
	}
	return fmt.Errorf("make the stream %s: %w", stream, errors.Join(last, ctx.Err()))
}

func (n *nats) dial(ctx context.Context, address, stream string) error {
	for range natsConns {
		conn, err := dialNATS(ctx, address)
		if err != nil {
			return err
		}
		n.conns[stream] = append(n.conns[stream], conn)
	}
	return nil
}

// natsMake makes the stream unless it is there, and returns the name of its leader.
func natsMake(ctx context.Context, address, stream, config string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second) // nobody answers while the servers find each other
	defer cancel()
	conn, err := dialNATS(ctx, address)
	if err != nil {
		return "", err
	}
	defer conn.close()
	var made struct {
		Cluster struct {
			Leader string `json:"leader"`
		} `json:"cluster"`
		Error struct {
			Description string `json:"description"`
		} `json:"error"`
	}
	answer, err := conn.request(ctx, "$JS.API.STREAM.CREATE."+stream, []byte(config))
	if err == nil {
		err = json.Unmarshal(answer, &made)
	}
	if err == nil && made.Error.Description != "" {
		err = errors.New(made.Error.Description)
	}
	return made.Cluster.Leader, err
}

// publish sends a message and waits until it is acknowledged.
func (n *nats) publish(ctx context.Context, stream string, conn int, prefix string, player int, body string) error {
	answer, err := n.conns[stream][conn%natsConns].request(ctx, natsSubject(prefix, player), []byte(body))
	if err == nil && !strings.Contains(string(answer), `"seq":`) {
		err = fmt.Errorf("not acknowledged: %s", answer)
	}
	return err
}

// load reads the last message of a player's subject.
func (n *nats) load(ctx context.Context, conn, player int) error {
	answer, err := n.conns[natsDocuments][conn%natsConns].request(ctx, "$JS.API.DIRECT.GET."+natsDocuments+"."+natsSubject("d", player), nil)
	if err == nil && len(answer) != documentBytes {
		err = fmt.Errorf("NATS gave a document of %d bytes", len(answer))
	}
	return err
}

func natsSubject(prefix string, player int) string { return fmt.Sprintf("%s.%07d", prefix, player) }

// Run asks.
func (n *nats) Run(ctx context.Context, op Op, _ Way, inflight int, duration time.Duration) (Window, error) {
	return Callers(ctx, inflight, duration, func(number int) func(context.Context) error {
		return func(ctx context.Context) error {
			player := rand.IntN(n.players)
			switch op {
			case Durable:
				return n.publish(ctx, natsChanges, number, "c", player, n.docs.random()[:changeBytes])
			case Load:
				return n.load(ctx, number, player)
			case Save:
				return n.publish(ctx, natsDocuments, number, "d", player, n.docs.random())
			case Memory:
			}
			return fmt.Errorf("%w: %s", ErrOptions, op)
		}
	})
}

// Stop ends it.
func (n *nats) Stop(context.Context) error {
	for _, conns := range n.conns {
		for _, conn := range conns {
			conn.close()
		}
	}
	return n.servers.stop()
}
