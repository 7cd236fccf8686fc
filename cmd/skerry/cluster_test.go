// Goal: an operator sees the cluster, and what he asks for is asked for, waited for, and told as it was.
// Method: the command in process against a node that makes up its cluster.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/skerry-dev/skerry/codec/grpccodec"
	"github.com/skerry-dev/skerry/codec/skerryv1"
	"github.com/skerry-dev/skerry/skerrytest"
)

// operated is a node of three: a, b and c. Node b has four partitions, and gives one away each time it is looked at after a
// drain or a removal, unless it is stuck.
type operated struct {
	skerryv1.UnimplementedSkerryServer

	mu      sync.Mutex
	asked   []string
	left    int
	leaving bool
	stuck   bool
	looks   int
	fail    int  // so many looks fail
	slow    bool // every other look shows the same
}

func startOperated(t *testing.T, o *operated) string {
	t.Helper()
	o.left = 4
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer(grpc.ForceServerCodecV2(grpccodec.New()))
	skerryv1.RegisterSkerryServer(server, o)
	var serving sync.WaitGroup
	serving.Go(func() { _ = server.Serve(listener) })
	t.Cleanup(func() { server.Stop(); serving.Wait() })
	return listener.Addr().String()
}

func (o *operated) order(leaving bool, format string, args ...any) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.asked = append(o.asked, fmt.Sprintf(format, args...))
	o.leaving = leaving
	return nil
}

func (o *operated) DrainNode(_ context.Context, in *skerryv1.DrainNodeRequest) (*skerryv1.DrainNodeResponse, error) {
	if in.GetUndo() {
		return &skerryv1.DrainNodeResponse{}, o.order(true, "undrain %s", in.GetNode())
	}
	return &skerryv1.DrainNodeResponse{}, o.order(true, "drain %s", in.GetNode())
}

func (o *operated) RemoveNode(_ context.Context, in *skerryv1.RemoveNodeRequest) (*skerryv1.RemoveNodeResponse, error) {
	return &skerryv1.RemoveNodeResponse{}, o.order(true, "remove %s %v", in.GetNode(), in.GetForce())
}

func (o *operated) HandOverPartition(_ context.Context, in *skerryv1.HandOverPartitionRequest) (*skerryv1.HandOverPartitionResponse, error) {
	return &skerryv1.HandOverPartitionResponse{}, o.order(false, "hand over %d to %s", in.GetPartition(), in.GetTo())
}

func (o *operated) GetOwnership(_ context.Context, in *skerryv1.GetOwnershipRequest) (*skerryv1.GetOwnershipResponse, error) {
	out := &skerryv1.GetOwnershipResponse{Partition: 25}
	if in.GetPartition() != 9 {
		since := timestamppb.New(time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC))
		out.Owners = []*skerryv1.OwnershipChange{{Node: "b", Epoch: "1.3", Since: since, Why: "handed_over"}}
	}
	return out, o.order(false, "%v at %v", in.GetOf(), in.GetAt().AsTime().Unix())
}

func (o *operated) GetCluster(context.Context, *skerryv1.GetClusterRequest) (*skerryv1.GetClusterResponse, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.looks++
	if o.fail > 0 {
		o.fail--
		return nil, status.Error(codes.Unavailable, "not now")
	}
	if o.leaving && !o.stuck && o.left > 0 && (!o.slow || o.looks%2 == 0) {
		o.left--
	}
	out := &skerryv1.GetClusterResponse{Nodes: []*skerryv1.ClusterNode{
		{Name: "a", Id: 1, State: "active", Grpc: "10.0.0.1:7701", Peer: "10.0.0.1:7702", Gossip: "10.0.0.1:7703"},
		{Name: "b", Id: 2, State: "draining", Owned: int32(o.left)}, //nolint:gosec // at most 4
	}}
	for p := range 4 {
		partition := &skerryv1.ClusterPartition{Partition: int32(p), Owner: "a", Epoch: "1.3", Replicas: []string{"a", "c"}, Learners: []string{"d"}} //nolint:gosec // at most 4
		if p < o.left {
			partition.Owner, partition.Replicas, partition.Moving = "b", []string{"a", "b", "c"}, "handing over to a"
		}
		out.Partitions = append(out.Partitions, partition)
	}
	return out, nil
}

func TestClusterCommands(t *testing.T) {
	for _, c := range []struct {
		args     string
		node     *operated
		code     int
		asked    string
		out, err string
	}{
		{args: "status", out: "a      1    active     10.0.0.1:7701          10.0.0.1:7702   10.0.0.1:7703   0"},
		{args: "status --partitions", out: "0           b       1.3     a,b,c      d          handing over to a"},
		{args: "status --json", out: `"moving": "handing over to a"`},
		{args: "status --every 0s", code: exitUsage, err: "--every"},
		{args: "drain b", asked: "drain b", out: "node b owns nothing\n"},
		{args: "drain b --undo", node: &operated{stuck: true}, asked: "undrain b", out: "node b may own again\n"},
		{args: "drain b --json", asked: "drain b", out: `"owned": 0`},
		{args: "drain b", node: &operated{fail: 2}, asked: "drain b", out: "node b owns nothing\n"},
		{args: "drain b --wait 0", node: &operated{stuck: true}, asked: "drain b", out: "node b is draining\n"},
		{args: "drain b --wait 1ms", node: &operated{stuck: true}, asked: "drain b", code: exitFailure, err: "owns 4 partitions after 1ms"},
		{args: "drain", code: exitUsage, err: "accepts 1 arg"},
		{args: "remove b", asked: "remove b false", out: "node b has nothing any more\n"},
		{args: "remove b --force --json", asked: "remove b true", out: `"state": "removed"`},
		{args: "remove b --wait 1ms", node: &operated{stuck: true}, asked: "remove b false", code: exitFailure, err: "4 partitions have a copy there"},
		{args: "handover 17 c", asked: "hand over 17 to c", out: "partition 17 is owned by c\n"},
		{args: "handover 17 c --json", asked: "hand over 17 to c", out: `"owner": "c"`},
		{args: "handover x c", code: exitUsage, err: `"x" is no number`},
		{args: "owners --player 42", asked: "&{42} at 0", out: "25          b       1.3     2026-03-01T12:00:00Z   handed_over"},
		{args: "owners --world 42~2 --at 2026-03-01T12:14:00Z --json", asked: "&{42~2} at 1772367240", out: `"why": "handed_over"`},
		{args: "owners --server s1", asked: "&{s1} at 0", out: "handed_over"},
		{args: "owners --partition 9", asked: "&{9} at 0", out: "partition 25: no owner is remembered\n"},
		{args: "owners", code: exitUsage, err: "one of --player"},
		{args: "owners --player 1 --world 1", code: exitUsage, err: "one of --player"},
		{args: "owners --player 1 --at noon", code: exitUsage, err: "--at"},
	} {
		if c.node == nil {
			c.node = &operated{}
		}
		code, out, stderr := skerry(t, startOperated(t, c.node), "", append([]string{"cluster"}, strings.Fields(c.args)...)...)
		if code != c.code || !strings.Contains(out, c.out) || !strings.Contains(stderr, c.err) || strings.Join(c.node.asked, ";") != c.asked {
			t.Errorf("skerry cluster %s: exit %d (want %d), asked %q (want %q)\nout: %s\nerr: %s", c.args, code, c.code, c.node.asked, c.asked, out, stderr)
		}
	}
}

// A cluster of one node says what it cannot do.
func TestClusterOfOneNodeRefuses(t *testing.T) {
	n := skerrytest.Start(t)
	_, status, _ := skerry(t, n.GRPC(), "", "cluster", "status", "--json")
	var cluster struct{ Nodes []struct{ Name string } }
	if err := json.Unmarshal([]byte(status), &cluster); err != nil || len(cluster.Nodes) != 1 {
		t.Fatalf("%v in %s", err, status)
	}
	name := cluster.Nodes[0].Name
	for _, c := range []struct {
		args     []string
		code     int
		out, err string
	}{
		{args: []string{"drain", name}, code: exitFailure, err: "this cluster has one node"},
		{args: []string{"remove", name, "--force"}, code: exitFailure, err: "this cluster has one node"},
		{args: []string{"drain", "other"}, code: exitFailure, err: "NOT_FOUND"},
		{args: []string{"handover", "1", "other"}, code: exitFailure, err: "NOT_FOUND"},
		{args: []string{"handover", "1", name}, out: "partition 1 is owned by " + name},
		{args: []string{"owners", "--player", "42"}, out: "started"},
	} {
		code, out, stderr := skerry(t, n.GRPC(), "", append([]string{"cluster"}, c.args...)...)
		if code != c.code || !strings.Contains(out, c.out) || !strings.Contains(stderr, c.err) {
			t.Errorf("%v: exit %d\nout: %s\nerr: %s", c.args, code, out, stderr)
		}
	}
}

// watcher ends the watching when it has seen enough.
type watcher struct {
	bytes.Buffer

	enough int // documents
	stop   context.CancelFunc
}

func (w *watcher) Write(p []byte) (int, error) {
	n, err := w.Buffer.Write(p)
	if strings.Count(w.String(), `"partitions"`) >= w.enough {
		w.stop()
	}
	return n, err
}

// Watching shows what changes, once each, over a node that does not answer for a while, and ends well when interrupted.
func TestStatusWatches(t *testing.T) {
	node := &operated{leaving: true, slow: true, fail: 3}
	addr := startOperated(t, node)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	out := &watcher{enough: 4, stop: cancel}
	var stderr bytes.Buffer
	args := []string{"cluster", "status", "--watch", "--every", "1ms", "--json", "--addr", addr}
	if code := run(ctx, args, streams{in: strings.NewReader(""), out: out, err: &stderr}, noEnv); code != exitOK {
		t.Errorf("exit %d: %s", code, stderr.String())
	}
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		t.Errorf("saw only %s", out)
	}
	var owned []int
	for decoder := json.NewDecoder(out); decoder.More(); {
		var shown struct{ Nodes []struct{ Owned int } }
		if err := decoder.Decode(&shown); err != nil {
			t.Fatal(err)
		}
		owned = append(owned, shown.Nodes[1].Owned)
	}
	if want := []int{3, 2, 1, 0}; !slices.Equal(owned, want) || strings.Count(stderr.String(), "not now") != 3 {
		t.Errorf("shown were states in which b owns %v, want %v\n%s", owned, want, stderr.String())
	}
}
