package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/encoding/protowire"
)

// etcd is three members. It is asked over gRPC, as its own client does, with messages encoded by hand; the leader is asked,
// over several connections, which is the best case: asked elsewhere, a put takes one hop more.
type etcd struct {
	keys      int
	processes []*exec.Cmd
	conns     []*grpc.ClientConn // to the leader
}

const etcdConns = 8

func (*etcd) name() string { return "etcd, 3 members" }

func (e *etcd) start(ctx context.Context, dir string) error {
	program, err := exec.LookPath("etcd")
	if err != nil {
		return errNotInstalled
	}
	addresses, err := freeAddresses(2 * nodes)
	if err != nil {
		return err
	}
	clients, members := addresses[:nodes], addresses[nodes:]
	var initial []string
	for i, address := range members {
		initial = append(initial, fmt.Sprintf("n%d=http://%s", i, address))
	}
	for i := range nodes {
		client, peer := "http://"+clients[i], "http://"+members[i]
		process, err := launchPeer(filepath.Join(dir, fmt.Sprint(i)), program,
			"--name", fmt.Sprintf("n%d", i), "--data-dir", "data", "--listen-client-urls", client, "--advertise-client-urls", client,
			"--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer, "--initial-cluster", strings.Join(initial, ","),
			"--initial-cluster-state", "new", "--logger", "zap", "--log-level", "error")
		if err != nil {
			return errors.Join(err, e.stop())
		}
		e.processes = append(e.processes, process)
	}
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	leader, err := etcdLeader(ctx, clients)
	if err != nil {
		return errors.Join(err, e.stop())
	}
	for range etcdConns {
		conn, err := dialRaw(leader)
		if err != nil {
			return errors.Join(err, e.stop())
		}
		e.conns = append(e.conns, conn)
	}
	return nil
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

func (e *etcd) caller(number, callers int) func(context.Context) error {
	conn := e.conns[number%len(e.conns)]
	mine := (e.keys - number + callers - 1) / callers
	return func(ctx context.Context) error {
		var put []byte
		put = protowire.AppendBytes(protowire.AppendTag(put, 1, protowire.BytesType), fmt.Appendf(nil, "e%07d", number+callers*rand.IntN(mine)))
		put = protowire.AppendBytes(protowire.AppendTag(put, 2, protowire.BytesType), encodeEntry(uint64(number), 1, rand.Uint32())) //nolint:gosec // not negative
		var answer []byte
		return conn.Invoke(ctx, "/etcdserverpb.KV/Put", put, &answer)
	}
}

func (e *etcd) pids() []int { return pidsOf(e.processes) }

func (e *etcd) stop() error {
	for _, conn := range e.conns {
		_ = conn.Close()
	}
	return endPeers(e.processes)
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

// launchPeer runs a program in dir, which is made; it ends with this program at the latest.
func launchPeer(dir, program string, args ...string) (*exec.Cmd, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		return nil, err
	}
	defer log.Close() // the child has its own copy
	cmd := exec.Command(program, args...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = dir, log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", program, err)
	}
	return cmd, nil
}

func pidsOf(processes []*exec.Cmd) []int {
	var pids []int
	for _, p := range processes {
		pids = append(pids, p.Process.Pid)
	}
	return pids
}

// endPeers kills and waits: what they hold is thrown away.
func endPeers(processes []*exec.Cmd) error {
	for _, p := range processes {
		_ = p.Process.Kill() // it may have ended by itself
		_ = p.Wait()         // killed
	}
	return nil
}
