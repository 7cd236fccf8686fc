package client

import (
	"net"
	"net/netip"
	"slices"
	"time"

	"github.com/skerry-dev/skerry/codec"
	"github.com/skerry-dev/skerry/codec/skerryv1"
)

// lane is a partition as the client sees it: who owns it, and where its calls are on their way. All calls of a lane that are on
// their way are at one node, so that they keep their order; when they should go elsewhere, the next ones are held until those
// have their answers, at most for holdFor. While no routes are known there is one lane.
type lane struct {
	number int
	owner  string // address, "" when not known
	epoch  uint64 // of the owner
	to     *node  // the owner's, once it was asked for

	at    *node // where calls are on their way
	onWay int
	held  []*call // wait for those, in order

	moving bool      // what is on its way is elsewhere than it should be
	since  time.Time // since when
}

// holdFor is how long calls may stay on their way to a node which is not the owner any more, and others be held for them. Then
// they are sent again, to the new owner with the same ids: the old one may be frozen.
const holdFor = 300 * time.Millisecond

// maxPartitions is the most that a cluster has.
const maxPartitions = 4096

// partitionLocked is the place of an entity's lane.
func (c *Client) partitionLocked(kind uint8, id string) int {
	if len(c.mu.lanes) == 1 {
		return 0
	}
	return int(codec.PartitionOf(c.space, kind, id, len(c.mu.lanes)))
}

// laneLocked is the lane of a request.
func (c *Client) laneLocked(req *skerryv1.Request) *lane {
	if len(c.mu.lanes) == 1 {
		return c.mu.lanes[0]
	}
	return c.mu.lanes[c.partitionLocked(entityOf(req))]
}

// ownerLocked is the node that owns a lane, nil when it is not known. It begins to connect when it is first asked for.
func (c *Client) ownerLocked(l *lane) *node {
	if l.owner != "" && (l.to == nil || l.to.gone) {
		l.to = c.nodeLocked(l.owner)
	}
	return l.to
}

// targetLocked is where the calls of a lane should go: to the owner, else where they went before, else to any node; nil when
// none is connected.
func (c *Client) targetLocked(l *lane) *node {
	if owner := c.ownerLocked(l); owner != nil && owner.connected {
		return owner
	}
	if l.at != nil && l.at.connected && !l.at.retired {
		return l.at
	}
	return c.anyLocked(l.number)
}

// assignLocked gives a call to a node's queue, or has it wait. It returns the node to wake, if any.
func (c *Client) assignLocked(call *call) *node {
	l := call.lane
	to := c.targetLocked(l)
	switch {
	case to == nil:
		c.mu.waiting = c.queued(c.mu.waiting, call)
		for _, n := range c.mu.nodes {
			signal(n.wake) // one that gave up tries again
		}
		return nil
	case len(l.held) > 0 || l.onWay > 0 && l.at != to:
		c.moveLocked(l)
		l.held = c.queued(l.held, call)
		if l.onWay == 0 || l.at == to { // the owner is again who it was
			return c.releaseLocked(l)
		}
		return nil
	}
	l.at, call.at = to, to
	l.onWay++
	to.onWay++
	to.queue = c.queued(to.queue, call)
	return to
}

// queued appends a call to a queue. Calls that were given up leave a queue late, but never are more than the others may be.
func (c *Client) queued(queue []*call, call *call) []*call {
	if len(queue) >= 2*c.opts.MaxPending {
		queue = live(queue)
	}
	return append(queue, call)
}

// live returns the calls that were not given up, in place.
func live(calls []*call) []*call {
	return slices.DeleteFunc(calls, func(call *call) bool { return call.over })
}

// moveLocked begins to wait for what is on its way.
func (c *Client) moveLocked(l *lane) {
	if !l.moving {
		l.moving, l.since = true, time.Now()
		c.mu.moving++
	}
}

// movedLocked ends that.
func (c *Client) movedLocked(l *lane) {
	if l.moving {
		l.moving = false
		c.mu.moving--
	}
}

// releaseLocked lets the held calls of a lane go. It returns the node to wake, if any.
func (c *Client) releaseLocked(l *lane) (wake *node) {
	held := live(l.held)
	l.held = nil
	c.movedLocked(l)
	for _, call := range held {
		if n := c.assignLocked(call); n != nil {
			wake = n
		}
	}
	return wake
}

// leftLocked notes that a call is not on its way any more: it is answered, given up, or tried again later. The last one lets
// those go that were held.
func (c *Client) leftLocked(call *call) {
	n, l := call.at, call.lane
	if n == nil {
		return
	}
	call.at = nil
	n.onWay--
	if l.onWay--; l.onWay == 0 {
		if wake := c.releaseLocked(l); wake != nil {
			signal(wake.wake)
		}
	}
	c.leaveLocked(n)
}

// assignAllLocked assigns calls in the order of their ids.
func (c *Client) assignAllLocked(calls []*call) {
	slices.SortFunc(calls, byID)
	for _, call := range calls {
		if n := c.assignLocked(call); n != nil {
			signal(n.wake)
		}
	}
}

// takeBackLocked takes calls back from wherever they are on their way, to be assigned again. Those that were sent may have been
// applied.
func (c *Client) takeBackLocked(isOne func(*call) bool) []*call {
	var again []*call
	for _, call := range c.mu.pending {
		if call.at == nil || !isOne(call) {
			continue
		}
		call.at.onWay--
		call.lane.onWay--
		call.at = nil
		if call.sent {
			call.sent, call.doubt = false, true
		}
		again = append(again, call)
	}
	return again
}

// reassignLocked takes calls back and assigns them again, and after them those that were held.
func (c *Client) reassignLocked(isOne func(*call) bool) {
	again := c.takeBackLocked(isOne)
	lanes := make(map[*lane][]*call, len(c.mu.lanes))
	for _, call := range again { // first what was on its way
		l := call.lane
		if len(l.held) > 0 {
			lanes[l], l.held = l.held, nil
		}
		c.movedLocked(l)
	}
	c.assignAllLocked(again)
	for _, held := range lanes {
		c.assignAllLocked(live(held))
	}
}

// connected notes that a stream to n is open, and gives out what waited for any.
func (c *Client) connected(n *node) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if n.connected || n.gone {
		return
	}
	n.connected = true
	for _, l := range c.mu.lanes {
		if l.owner == n.addr && l.onWay > 0 && l.at != n {
			c.moveLocked(l)
		}
	}
	waiting := c.mu.waiting
	c.mu.waiting = nil
	c.assignAllLocked(live(waiting))
}

// lost notes that the stream to n broke: what was on its way there goes to another node at once, or waits for one. It
// reports whether another is connected.
func (c *Client) lost(n *node) (others bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	n.connected, n.queue = false, nil
	c.reassignLocked(func(call *call) bool { return call.at == n })
	return c.anyLocked(0) != nil
}

// expireLocked sends again what has been on its way elsewhere for long enough.
func (c *Client) expireLocked(now time.Time) {
	if c.mu.moving == 0 {
		return
	}
	late := make(map[*lane]bool)
	for _, l := range c.mu.lanes {
		if !l.moving || now.Sub(l.since) < holdFor {
			continue
		}
		if c.targetLocked(l) != l.at {
			late[l] = true
		} else if wake := c.releaseLocked(l); wake != nil {
			signal(wake.wake)
		}
	}
	if len(late) > 0 {
		c.reassignLocked(func(call *call) bool {
			call.shared = call.shared || late[call.lane] && call.sent
			return late[call.lane]
		})
	}
}

// learn takes in the routes that a node sent. Those that are malformed are ignored, and so is an owner who cannot be reached
// by the address, and the only node of a cluster, who may be known here by another address.
func (c *Client) learn(routes *skerryv1.Routes) {
	if !isWellFormed(routes) {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.mu.closed {
		return
	}
	nodes, owners, epochs := routes.GetNodes(), routes.GetOwners(), routes.GetEpochs()
	if len(owners) != len(c.mu.lanes) {
		c.layLocked(len(owners))
	}
	for p, l := range c.mu.lanes {
		var epoch uint64
		if len(epochs) > 0 {
			epoch = epochs[p]
		}
		if owners[p] == 0 || len(epochs) > 0 && epoch < l.epoch {
			continue // who is known is the better guess
		}
		addr := nodes[owners[p]-1]
		if len(nodes) == 1 || !isReachable(addr) {
			addr = ""
		}
		c.ownLocked(l, addr, epoch)
	}
	c.retireLocked(nodes)
	c.pairLocked(nodes)
}

// isWellFormed reports whether routes are of a cluster that there may be.
func isWellFormed(routes *skerryv1.Routes) bool {
	nodes, count, epochs := len(routes.GetNodes()), len(routes.GetOwners()), len(routes.GetEpochs())
	if count == 0 || count > maxPartitions || epochs != 0 && epochs != count || nodes > maxNodes {
		return false
	}
	return !slices.ContainsFunc(routes.GetOwners(), func(owner uint32) bool { return int(owner) > nodes })
}

// pairLocked connects to a second node, so that there is somewhere to go on at once when the first is gone.
func (c *Client) pairLocked(named []string) {
	if len(c.mu.nodes) != 1 {
		return
	}
	for _, addr := range named {
		if isReachable(addr) && addr != c.mu.nodes[0].addr {
			c.nodeLocked(addr)
			return
		}
	}
}

// ownLocked notes the owner of a lane.
func (c *Client) ownLocked(l *lane, addr string, epoch uint64) {
	l.epoch = epoch
	if l.owner == addr {
		return
	}
	l.owner, l.to = addr, nil
	if addr != "" && l.onWay > 0 && l.at.addr != addr {
		c.moveLocked(l)
		c.ownerLocked(l) // begins to connect
	}
}

// isReachable reports whether addr may be another machine's address.
func isReachable(addr string) bool {
	host, port, err := net.SplitHostPort(addr)
	if err != nil || host == "" || port == "" || port == "0" {
		return false
	}
	ip, err := netip.ParseAddr(host)
	return err != nil || !ip.IsUnspecified()
}

// layLocked makes the lanes of a cluster of so many partitions.
func (c *Client) layLocked(count int) {
	var held []*call
	for _, l := range c.mu.lanes {
		held = append(held, l.held...)
	}
	c.mu.lanes, c.mu.moving = newLanes(count), 0
	for _, call := range c.mu.pending {
		call.lane = c.laneLocked(&call.req)
		if call.at != nil {
			call.lane.at = call.at
			call.lane.onWay++
		}
	}
	c.assignAllLocked(live(held))
}

func newLanes(count int) []*lane {
	lanes := make([]*lane, count)
	for i := range lanes {
		lanes[i] = &lane{number: i}
	}
	return lanes
}
