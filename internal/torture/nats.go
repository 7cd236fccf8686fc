package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"
)

// nats is three JetStream servers with one stream of three replicas, each of which syncs every message. It is asked over its own
// protocol by hand: a message for each change, and an acknowledgement for each.
type nats struct {
	subjects  int
	processes []*exec.Cmd
	conns     []*natsConn // to the leader of the stream
}

const (
	natsConns  = 8
	natsStream = "BENCH"
)

func (*nats) name() string { return "NATS JetStream, 3 replicas" }

func (n *nats) start(ctx context.Context, dir string) error {
	program, err := exec.LookPath("nats-server")
	if err != nil {
		return errNotInstalled
	}
	addresses, err := freeAddresses(2 * nodes)
	if err != nil {
		return err
	}
	clients, members := addresses[:nodes], addresses[nodes:]
	if err := natsConfigs(dir, clients, members); err != nil {
		return err
	}
	for i := range nodes {
		own := filepath.Join(dir, fmt.Sprint(i))
		if out, err := exec.CommandContext(ctx, program, "-t", "-c", filepath.Join(own, "config")).CombinedOutput(); err != nil {
			return errors.Join(fmt.Errorf("%w with sync_interval: always: %s", errNotInstalled, strings.TrimSpace(string(out))), n.stop())
		}
		process, err := launchPeer(own, program, "-c", "config")
		if err != nil {
			return errors.Join(err, n.stop())
		}
		n.processes = append(n.processes, process)
	}
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	leader, err := natsLeader(ctx, clients)
	if err != nil {
		return errors.Join(err, n.stop())
	}
	for range natsConns {
		conn, err := dialNATS(ctx, leader)
		if err != nil {
			return errors.Join(err, n.stop())
		}
		n.conns = append(n.conns, conn)
	}
	return nil
}

func natsConfigs(dir string, clients, members []string) error {
	var routes []string
	for _, address := range members {
		routes = append(routes, "nats-route://"+address)
	}
	for i := range nodes {
		own := filepath.Join(dir, fmt.Sprint(i))
		config := fmt.Sprintf("server_name: n%d\nlisten: %q\njetstream { store_dir: %q, sync_interval: always }\ncluster { name: bench, listen: %q, routes: [%s] }\n",
			i, clients[i], filepath.Join(own, "data"), members[i], strings.Join(routes, ", "))
		if err := os.MkdirAll(own, 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(own, "config"), []byte(config), 0o600); err != nil {
			return err
		}
	}
	return nil
}

// natsLeader makes the stream and returns the address of the server that leads it.
func natsLeader(ctx context.Context, clients []string) (string, error) {
	var last error
	for ctx.Err() == nil {
		var leader string
		if leader, last = natsMake(ctx, clients[0]); last == nil {
			var i int
			if _, err := fmt.Sscanf(leader, "n%d", &i); err == nil && i < len(clients) {
				return clients[i], nil
			}
		}
		pause(ctx, 200*time.Millisecond)
	}
	return "", fmt.Errorf("make the stream: %w", errors.Join(last, ctx.Err()))
}

// natsMake makes the stream unless it is there, and returns the name of its leader.
func natsMake(ctx context.Context, address string) (string, error) {
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
	config := fmt.Sprintf(`{"name":%q,"subjects":["bench.>"],"retention":"limits","storage":"file","num_replicas":%d,"discard":"old"}`, natsStream, nodes)
	answer, err := conn.request(ctx, "$JS.API.STREAM.CREATE."+natsStream, []byte(config))
	if err == nil {
		err = json.Unmarshal(answer, &made)
	}
	if err == nil && made.Error.Description != "" {
		err = errors.New(made.Error.Description)
	}
	return made.Cluster.Leader, err
}

func (n *nats) caller(number, callers int) func(context.Context) error {
	conn := n.conns[number%len(n.conns)]
	mine := (n.subjects - number + callers - 1) / callers
	return func(ctx context.Context) error {
		answer, err := conn.request(ctx, fmt.Sprintf("bench.e%07d", number+callers*rand.IntN(mine)), encodeEntry(uint64(number), 1, rand.Uint32())) //nolint:gosec // not negative
		if err != nil {
			return err
		}
		if !strings.Contains(string(answer), `"seq":`) {
			return fmt.Errorf("not acknowledged: %s", answer)
		}
		return nil
	}
}

func (n *nats) pids() []int { return pidsOf(n.processes) }

func (n *nats) stop() error {
	for _, conn := range n.conns {
		conn.close()
	}
	return endPeers(n.processes)
}

// natsConn is one connection; its callers' requests are pipelined.
type natsConn struct {
	conn  net.Conn
	out   *writer
	inbox string // of this connection alone
	end   sync.WaitGroup
	mu    struct {
		sync.Mutex
		waiting map[uint64]chan []byte // nil when the connection broke
		next    uint64
	}
}

func dialNATS(ctx context.Context, address string) (*natsConn, error) {
	conn, err := (&net.Dialer{Timeout: time.Second}).DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	c := &natsConn{conn: conn, out: newWriter(conn), inbox: fmt.Sprintf("_INBOX.%x.", rand.Uint64())}
	c.mu.waiting = map[uint64]chan []byte{}
	c.out.raw(func(b []byte) []byte {
		return fmt.Appendf(b, "CONNECT {\"verbose\":false,\"pedantic\":false}\r\nSUB %s* 1\r\n", c.inbox)
	})
	c.end.Go(c.out.run)
	c.end.Go(c.receive)
	return c, nil
}

func (c *natsConn) close() {
	c.out.close()
	c.end.Wait()
}

func (c *natsConn) request(ctx context.Context, subject string, body []byte) ([]byte, error) {
	answered := make(chan []byte, 1)
	c.mu.Lock()
	if c.mu.waiting == nil {
		c.mu.Unlock()
		return nil, errBroken
	}
	c.mu.next++
	id := c.mu.next
	c.mu.waiting[id] = answered
	c.mu.Unlock()
	c.out.raw(func(b []byte) []byte {
		b = fmt.Appendf(b, "PUB %s %s%d %d\r\n", subject, c.inbox, id, len(body))
		return append(append(b, body...), '\r', '\n')
	})
	select {
	case answer, ok := <-answered:
		if !ok {
			return nil, errBroken
		}
		return answer, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// receive hands on answers until the connection breaks.
func (c *natsConn) receive() {
	defer func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		for _, answered := range c.mu.waiting {
			close(answered)
		}
		c.mu.waiting = nil
	}()
	r := bufio.NewReaderSize(c.conn, 1<<16)
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return
		}
		fields := strings.Fields(line)
		switch {
		case len(fields) == 0:
		case fields[0] == "PING":
			c.out.raw(func(b []byte) []byte { return append(b, "PONG\r\n"...) })
		case fields[0] == "MSG":
			if c.message(r, fields) != nil {
				return
			}
		}
	}
}

// message takes a message's body and gives it to who waits for it.
func (c *natsConn) message(r io.Reader, fields []string) error {
	length, err := strconv.Atoi(fields[len(fields)-1])
	if err != nil || length > maxFrameBytes {
		return errBadFrame
	}
	body := make([]byte, length+2) // and the end of the line
	if _, err := io.ReadFull(r, body); err != nil {
		return err
	}
	id, err := strconv.ParseUint(strings.TrimPrefix(fields[1], c.inbox), 10, 64)
	if err != nil {
		return nil //nolint:nilerr // not an answer
	}
	c.mu.Lock()
	answered := c.mu.waiting[id]
	delete(c.mu.waiting, id)
	c.mu.Unlock()
	if answered != nil {
		answered <- body[:length]
	}
	return nil
}
