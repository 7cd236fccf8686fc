package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/skerry-dev/skerry/internal/clustertest"
	"github.com/skerry-dev/skerry/persistence"
)

// nodes is how many voters there are; here they are numbered from 0, their ids from 1.
const nodes = 3

// silence is how long a voter may leave everybody without an answer before the driver asks the others first.
const silence = 250 * time.Millisecond

// cluster is three voters as processes, the connections to them, and who was last seen to own what.
type cluster struct {
	options   [nodes]voterOptions
	processes [nodes]*process // of the goroutine that breaks them; nil while killed
	links     [nodes]*link
	route     []atomic.Int32 // by partition
	linking   sync.WaitGroup
	unlink    context.CancelFunc
}

// startCluster starts new voters in dir, and waits until every partition has an owner.
func startCluster(ctx context.Context, dir string, partitions int, small bool, fault string) (*cluster, error) {
	commands, err := clustertest.FreeAddrs(2 * nodes)
	if err != nil {
		return nil, err
	}
	commands, peerAddresses := commands[:nodes], commands[nodes:]
	c := &cluster{route: make([]atomic.Int32, partitions)}
	linking, unlink := context.WithCancel(context.WithoutCancel(ctx)) // also for the reading back when ctx ended
	c.unlink = unlink
	for i := range nodes {
		c.options[i] = voterOptions{
			node: uint(i + 1), dir: filepath.Join(dir, fmt.Sprint("node", i+1)), commands: commands[i], //nolint:gosec // 1 to 3
			addresses: strings.Join(peerAddresses, ","), partitions: partitions, small: small, fault: fault,
		}
		c.links[i] = newLink(commands[i])
		c.linking.Go(func() { c.links[i].run(linking) })
		if err := c.start(ctx, i); err != nil {
			c.end()
			return nil, err
		}
	}
	if err := c.settled(ctx, time.Minute); err != nil {
		c.end()
		return nil, err
	}
	return c, nil
}

func (c *cluster) start(ctx context.Context, node int) (err error) {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	c.processes[node], err = startProcess(ctx, c.options[node])
	return err
}

func (c *cluster) kill(node int) {
	if p := c.processes[node]; p != nil {
		p.kill()
		c.processes[node] = nil
	}
}

// alive is an error when a voter that nobody killed has ended.
func (c *cluster) alive() error {
	for i, p := range c.processes {
		if p == nil {
			continue
		}
		select {
		case <-p.exited:
			return fmt.Errorf("node %d ended by itself: %w\n%s", i+1, p.err, p.tail())
		default:
		}
	}
	return nil
}

// whole reports whether all voters run.
func (c *cluster) whole() bool {
	return !slices.Contains(c.processes[:], nil) && c.alive() == nil
}

// stop ends the voters gracefully, all at once.
func (c *cluster) stop() error {
	var errs [nodes]error
	var stopping sync.WaitGroup
	for i, p := range c.processes {
		if p != nil {
			stopping.Go(func() { errs[i] = p.stop() })
			c.processes[i] = nil
		}
	}
	stopping.Wait()
	c.end()
	return errors.Join(errs[:]...)
}

// end kills what is left.
func (c *cluster) end() {
	for i := range nodes {
		c.kill(i)
	}
	c.unlink()
	c.linking.Wait()
}

// pick returns the voter to ask about p: the owner as far as known, or the next one when that one cannot be asked.
func (c *cluster) pick(p persistence.Partition) int {
	for range nodes {
		node := int(c.route[p].Load())
		if c.links[node].usable(silence) {
			return node
		}
		c.missed(p, node)
	}
	return int(c.route[p].Load())
}

// missed notes that node does not own p: the next one is asked.
func (c *cluster) missed(p persistence.Partition, node int) {
	c.route[p].CompareAndSwap(int32(node), int32((node+1)%nodes)) //nolint:gosec // 0 to 2
}

// found notes that node owns p.
func (c *cluster) found(p persistence.Partition, node int) { c.route[p].Store(int32(node)) } //nolint:gosec // 0 to 2

// maxLag is how many entries a replica that keeps up may be behind the owner, in one look at all three.
const maxLag = 1000

// settled waits until every voter answers, every partition has one owner, and all replicas keep up with it.
func (c *cluster) settled(ctx context.Context, within time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	var last error
	for ctx.Err() == nil {
		if err := c.alive(); err != nil {
			return err
		}
		if last = c.look(ctx); last == nil {
			return nil
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-ctx.Done():
		}
	}
	return fmt.Errorf("not settled within %v: %w", within, last)
}

// look says what is not settled.
func (c *cluster) look(ctx context.Context) error {
	var status [nodes][]partitionStatus
	for i, l := range c.links {
		r, err := l.call(ctx, request{op: opStatus}, time.Second, nil)
		if err != nil {
			return fmt.Errorf("node %d: %w", i+1, err)
		}
		if status[i], err = decodeStatus(r.body); err != nil {
			return fmt.Errorf("node %d: %w", i+1, err)
		}
	}
	for p := range c.route {
		owner := -1
		for i := range nodes {
			if s := status[i][p]; s.owner && (owner < 0 || s.term > status[owner][p].term) {
				owner = i
			}
		}
		if owner < 0 {
			return fmt.Errorf("partition %d has no owner", p)
		}
		for i := range nodes {
			if behind := int64(status[owner][p].last) - int64(status[i][p].applied); behind > maxLag { //nolint:gosec // small
				return fmt.Errorf("node %d is %d entries behind in partition %d", i+1, behind, p)
			}
		}
		c.found(persistence.Partition(p), owner) //nolint:gosec // at most 4096
	}
	return nil
}

// spread asks for a change of owner wherever the owner is not the one that want draws, as a planned handover under load.
func (c *cluster) spread(ctx context.Context, want func() int) {
	var asking sync.WaitGroup
	for p := range c.route {
		owner, target := int(c.route[p].Load()), want()
		if owner == target {
			continue
		}
		asking.Go(func() {
			q := request{op: opMove, entity: uint64(p), seq: persistence.Seq(target + 1)} //nolint:gosec // not negative
			if r, err := c.links[owner].call(ctx, q, time.Second, nil); err == nil && r.code == codeOK {
				c.found(persistence.Partition(p), target) //nolint:gosec // at most 4096
			}
		})
	}
	asking.Wait()
}
