package peers

import (
	"context"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/skerry-dev/skerry/internal/clustertest"
)

// etcd is one member or three. It is asked over gRPC, as its own client does, with messages encoded by hand; the leader is asked,
// over several connections, which is the best case: asked elsewhere, a put takes one hop more. A change is a put of 50 bytes.
type etcd struct {
	members int
	players int
	docs    documents
	servers processes
	conns   []*grpc.ClientConn // to the leader
}

const (
	etcdConns = 8
	// changeBytes is a change of a player where a change is a value.
	changeBytes = 50
)

// Etcd is etcd with one member, or three.
func Etcd(members int) System { return &etcd{members: members} }

// Name says how many members there are.
func (e *etcd) Name() string {
	if e.members == 1 {
		return "etcd, one member"
	}
	return fmt.Sprintf("etcd, %d members", e.members)
}

// Does says that everything is durable.
func (*etcd) Does(op Op, way Way) bool { return op != Memory && way == ByCallers }

// PIDs are the members.
func (e *etcd) PIDs() []int { return e.servers.pids() }

// Start starts and fills it.
func (e *etcd) Start(ctx context.Context, dir string, players int) error {
	e.players, e.docs = players, makeDocuments()
	program, err := lookPath("etcd")
	if err != nil {
		return err
	}
	addresses, err := clustertest.FreeAddrs(2 * e.members)
	if err != nil {
		return err
	}
	clients, members := addresses[:e.members], addresses[e.members:]
	var initial []string
	for i, address := range members {
		initial = append(initial, fmt.Sprintf("n%d=http://%s", i, address))
	}
	for i := range e.members {
		client, peer := "http://"+clients[i], "http://"+members[i]
		if err = e.servers.launch(filepath.Join(dir, fmt.Sprint(i)), program,
			"--name", fmt.Sprintf("n%d", i), "--data-dir", "data", "--listen-client-urls", client, "--advertise-client-urls", client,
			"--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer, "--initial-cluster", strings.Join(initial, ","),
			"--initial-cluster-state", "new", "--quota-backend-bytes", "8000000000", "--logger", "zap", "--log-level", "error"); err != nil {
			return err
		}
	}
	leading, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	leader, err := etcdLeader(leading, clients)
	if err != nil {
		return fmt.Errorf("%w\n%s", err, logIn(filepath.Join(dir, "0")))
	}
	for range etcdConns {
		conn, err := dialRaw(leader)
		if err != nil {
			return err
		}
		e.conns = append(e.conns, conn)
	}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(256)
	for i := range players {
		group.Go(func() error { return e.put(ctx, i, "d", i, e.docs.of(i)) })
	}
	return group.Wait()
}

// etcdLeader returns the address of the member that says that it leads.
func etcdLeader(ctx context.Context, addresses []string) (string, error) {
	for {
		for _, address := range addresses {
			conn, err := dialRaw(address)
			if err != nil {
				return "", err
			}
			asking, cancel := context.WithTimeout(ctx, time.Second)
			var status []byte
			err = conn.Invoke(asking, "/etcdserverpb.Maintenance/Status", []byte{}, &status)
			cancel()
			_ = conn.Close()
			const header, member, leader = 1, 2, 4 // fields of StatusResponse and ResponseHeader
			if own := varintField(bytesField(status, header), member); err == nil && own != 0 && own == varintField(status, leader) {
				return address, nil
			}
		}
		if pause(ctx, 100*time.Millisecond); ctx.Err() != nil {
			return "", fmt.Errorf("etcd has no leader: %w", ctx.Err())
		}
	}
}

// put writes the value of a player.
func (e *etcd) put(ctx context.Context, conn int, prefix string, player int, value string) error {
	var put, answer []byte
	put = protowire.AppendString(protowire.AppendTag(put, 1, protowire.BytesType), etcdKey(prefix, player))
	put = protowire.AppendString(protowire.AppendTag(put, 2, protowire.BytesType), value)
	return e.conns[conn%len(e.conns)].Invoke(ctx, "/etcdserverpb.KV/Put", put, &answer)
}

// load reads a player's document.
func (e *etcd) load(ctx context.Context, conn, player int) error {
	var get, answer []byte
	get = protowire.AppendString(protowire.AppendTag(get, 1, protowire.BytesType), etcdKey("d", player))
	if err := e.conns[conn%len(e.conns)].Invoke(ctx, "/etcdserverpb.KV/Range", get, &answer); err != nil {
		return err
	}
	const kvs, value = 2, 5 // fields of RangeResponse and KeyValue
	if got := len(bytesField(bytesField(answer, kvs), value)); got != documentBytes {
		return fmt.Errorf("etcd gave a document of %d bytes", got)
	}
	return nil
}

func etcdKey(prefix string, player int) string { return fmt.Sprintf("%s%07d", prefix, player) }

// Run asks.
func (e *etcd) Run(ctx context.Context, op Op, _ Way, inflight int, duration time.Duration) (Window, error) {
	return Callers(ctx, inflight, duration, func(number int) func(context.Context) error {
		return func(ctx context.Context) error {
			player := rand.IntN(e.players)
			switch op {
			case Durable:
				return e.put(ctx, number, "c", player, e.docs.random()[:changeBytes])
			case Load:
				return e.load(ctx, number, player)
			case Save:
				return e.put(ctx, number, "d", player, e.docs.random())
			case Memory:
			}
			return fmt.Errorf("%w: %s", ErrOptions, op)
		}
	})
}

// Stop ends it.
func (e *etcd) Stop(context.Context) error {
	for _, conn := range e.conns {
		_ = conn.Close()
	}
	return e.servers.stop()
}

// rawCodec sends and receives messages that are encoded already.
type rawCodec struct{}

func (rawCodec) Name() string { return "proto" }

func (rawCodec) Marshal(v any) ([]byte, error) {
	if b, ok := v.([]byte); ok {
		return b, nil
	}
	return nil, fmt.Errorf("a message is %T", v)
}

func (rawCodec) Unmarshal(data []byte, v any) error {
	b, ok := v.(*[]byte)
	if !ok {
		return fmt.Errorf("a message is %T", v)
	}
	*b = append((*b)[:0], data...)
	return nil
}

func dialRaw(address string) (*grpc.ClientConn, error) {
	return grpc.NewClient("passthrough:///"+address, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.ForceCodec(rawCodec{})))
}

// varintField returns a field of an encoded message, 0 when it is not there.
func varintField(b []byte, want protowire.Number) (v uint64) {
	eachField(b, func(number protowire.Number, kind protowire.Type, value []byte) {
		if number == want && kind == protowire.VarintType {
			v, _ = protowire.ConsumeVarint(value)
		}
	})
	return v
}

func bytesField(b []byte, want protowire.Number) (v []byte) {
	eachField(b, func(number protowire.Number, kind protowire.Type, value []byte) {
		if number == want && kind == protowire.BytesType {
			v, _ = protowire.ConsumeBytes(value)
		}
	})
	return v
}

func eachField(b []byte, f func(protowire.Number, protowire.Type, []byte)) {
	for len(b) > 0 {
		number, kind, n := protowire.ConsumeTag(b)
		if n < 0 {
			return
		}
		b = b[n:]
		if n = protowire.ConsumeFieldValue(number, kind, b); n < 0 {
			return
		}
		f(number, kind, b[:n])
		b = b[n:]
	}
}
