package clustertest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/skerry-dev/skerry/client"
	"github.com/skerry-dev/skerry/codec/skerryv1"
)

// Cluster is nodes as processes on this machine, each with ports that it keeps over its lives. Its methods are for one
// goroutine, apart from Nodes.
type Cluster struct {
	Program string
	Dir     string
	Args    []string // for every node
	// Hosts says where a node runs, by its number from 1. Default: on this machine's loopback.
	Hosts func(number int) Host

	given []string // addresses, to any node

	mu    sync.Mutex
	nodes []*Member
}

// Host is a machine, or what passes for one: a network of its own.
type Host struct {
	Addr string       // where its nodes listen, with the usual ports
	Do   func(func()) // calls the function where a process has to be started so that it runs there
}

// Member is one node of a Cluster, whether it runs or not.
type Member struct {
	Name    string
	Program string // of this node's next life
	*Process

	dir  string
	args []string
	do   func(func())
}

// Add starts a node that joins those there are, and waits until it serves.
func (c *Cluster) Add(ctx context.Context) (*Member, error) {
	c.mu.Lock()
	number := len(c.nodes) + 1
	c.mu.Unlock()
	m := &Member{Name: fmt.Sprintf("n%d", number), Program: c.Program, dir: filepath.Join(c.Dir, fmt.Sprintf("n%d", number))}
	m.args = append([]string{"--name", m.Name}, c.Args...)
	if err := c.place(m, number); err != nil {
		return nil, err
	}
	var join []string
	for _, other := range c.Nodes() {
		join = append(join, other.Ready.Gossip)
	}
	if len(join) > 0 {
		m.args = append(m.args, "--join", strings.Join(join, ","))
	}
	if err := m.Start(ctx); err != nil {
		return nil, err
	}
	c.mu.Lock()
	c.nodes = append(c.nodes, m)
	c.mu.Unlock()
	return m, nil
}

// place says where the node listens.
func (c *Cluster) place(m *Member, number int) error {
	m.do = func(start func()) { start() }
	flags := []string{"--http", "--grpc", "--peer", "--gossip", "--admin"}
	if c.Hosts == nil {
		addrs, err := c.freeAddrs(len(flags))
		if err != nil {
			return err
		}
		for i, flag := range flags {
			m.args = append(m.args, flag, addrs[i])
		}
		return nil
	}
	host := c.Hosts(number)
	m.do = host.Do
	m.args = append(m.args, "--insecure")
	for i, flag := range flags {
		m.args = append(m.args, flag, net.JoinHostPort(host.Addr, strconv.Itoa(firstPort+i)))
	}
	return nil
}

// firstPort is the first of the usual ports.
const firstPort = 7700

// freeAddrs are n addresses that were given to no other node of the cluster: one that is dead comes back where it was.
func (c *Cluster) freeAddrs(n int) ([]string, error) {
	for range 20 {
		addrs, err := FreeAddrs(n)
		if err != nil {
			return nil, err
		}
		if !slices.ContainsFunc(addrs, func(addr string) bool { return slices.Contains(c.given, addr) }) {
			c.given = append(c.given, addrs...)
			return addrs, nil
		}
	}
	return nil, errors.New("all free addresses are those of other nodes")
}

// Start begins a life of the node and waits until it serves.
func (m *Member) Start(ctx context.Context) (err error) {
	m.do(func() { m.Process, err = Start(ctx, m.Program, m.dir, m.args...) })
	return err
}

// Begin begins a life of the node and does not wait.
func (m *Member) Begin() error {
	var p *Process
	var err error
	m.do(func() { p, _, err = launch(m.Program, m.dir, m.args...) })
	if err != nil {
		return err
	}
	p.Ready = m.Ready // it has the same ports
	m.Process = p
	return nil
}

// DataDir is the node's data directory.
func (m *Member) DataDir() string { return filepath.Join(m.dir, "data") }

// Nodes are all that were added.
func (c *Cluster) Nodes() []*Member {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]*Member(nil), c.nodes...)
}

// Addrs are the gRPC addresses of all nodes, for the client.
func (c *Cluster) Addrs() string {
	var addrs []string
	for _, m := range c.Nodes() {
		addrs = append(addrs, m.Ready.GRPC)
	}
	return strings.Join(addrs, ",")
}

// Close kills everything.
func (c *Cluster) Close() {
	for _, m := range c.Nodes() {
		_ = m.Kill()
	}
}

// Await asks for the cluster's status until it is as wanted, or ctx ends. The error then says what was missing.
func Await(ctx context.Context, c *client.Client, wanted func(*skerryv1.GetClusterResponse) error) error {
	last := errors.New("no answer")
	look := time.NewTicker(50 * time.Millisecond)
	defer look.Stop()
	for {
		asking, cancel := context.WithTimeout(ctx, 2*time.Second)
		status, err := c.Service().GetCluster(asking, &skerryv1.GetClusterRequest{})
		cancel()
		if err == nil {
			if last = wanted(status); last == nil {
				return nil
			}
		}
		select {
		case <-look.C:
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", context.Cause(ctx), last)
		}
	}
}

// Settled wants so many active nodes, three voters (or one, and with two nodes a learner) for each partition, nothing on its way,
// and owners that differ by at most one.
func Settled(nodes int) func(*skerryv1.GetClusterResponse) error {
	return func(s *skerryv1.GetClusterResponse) error {
		if err := even(s, nodes); err != nil {
			return err
		}
		for _, p := range s.GetPartitions() {
			voters, want := len(p.GetReplicas())-len(p.GetLearners()), min(3, nodes)
			switch {
			case p.GetOwner() == "":
				return fmt.Errorf("partition %d has no owner", p.GetPartition())
			case nodes != 2 && (voters != want || len(p.GetLearners()) > 0):
				return fmt.Errorf("partition %d has %d voters and the learners %v, not %d voters", p.GetPartition(), voters, p.GetLearners(), want)
			case p.GetMoving() != "":
				return fmt.Errorf("partition %d: %s", p.GetPartition(), p.GetMoving())
			}
		}
		return nil
	}
}

// even wants so many active nodes that own about the same.
func even(s *skerryv1.GetClusterResponse, nodes int) error {
	least, most, active := int32(1<<30), int32(0), 0
	for _, n := range s.GetNodes() {
		switch {
		case n.GetState() == "active":
			active++
			least, most = min(least, n.GetOwned()), max(most, n.GetOwned())
		case n.GetOwned() > 0:
			return fmt.Errorf("%s is %s and owns %d partitions", n.GetName(), n.GetState(), n.GetOwned())
		}
	}
	switch {
	case active != nodes:
		return fmt.Errorf("%d nodes are active, not %d: %v", active, nodes, s.GetNodes())
	case most-least > 1:
		return fmt.Errorf("nodes own %d to %d partitions", least, most)
	}
	return nil
}
