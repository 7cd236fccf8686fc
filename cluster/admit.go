package cluster

import (
	"context"
	"fmt"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/skerry-dev/skerry/cluster/members"
	"github.com/skerry-dev/skerry/codec/peerv1"
)

// applyEvery is how often a node that wants to be admitted asks again.
const applyEvery = 300 * time.Millisecond

// maxPartitions is how many partitions a cluster has at most.
const maxPartitions = 4096

// Ears hear what members say, from before this node is admitted. They are the [members.Handler] of a node for its whole life:
// first they wait for the answer to an application, then they pass everything on to the [Cluster]. Their methods may be
// called from any goroutine and do not block.
type Ears struct {
	admits chan *peerv1.Admit // 16: what was not taken in time is told again

	mu struct {
		sync.Mutex
		follow *Cluster
		early  []*peerv1.Place // heard before there was a cluster to hear it; at most maxHeard
	}
}

// NewEars returns ears that hear for nobody yet.
func NewEars() *Ears { return &Ears{admits: make(chan *peerv1.Admit, 16)} }

// Apply asks the members for an id until one is given, ctx ends ([ErrNoAnswer]) or the answer is no ([ErrRefused]). nonce
// is drawn once for the data directory, feature is what this build reads: the same directory gets the same id, however often it asks. gossip must have joined.
func (e *Ears) Apply(ctx context.Context, gossip Gossip, name string, nonce uint64, feature uint32) (*peerv1.Admit, error) {
	application, err := proto.Marshal(&peerv1.Gossip{Apply: &peerv1.Apply{Name: name, Nonce: nonce, Feature: feature}})
	if err != nil {
		return nil, fmt.Errorf("encode an application: %w", err)
	}
	again := time.NewTicker(applyEvery)
	defer again.Stop()
	for {
		for _, m := range gossip.List() {
			if m.Node != 0 {
				_ = gossip.Send(ctx, m.Name, application) // who cannot be reached is asked again
			}
		}
		select {
		case a := <-e.admits:
			switch {
			case a.GetNonce() != nonce:
			case a.GetRefused() != "":
				return nil, fmt.Errorf("%w: %s", ErrRefused, a.GetRefused())
			case a.GetNode() == 0 || a.GetCluster() == "" || a.GetPartitions() == 0 || a.GetPartitions() > maxPartitions: // no node of ours says that
			default:
				return a, nil
			}
		case <-again.C:
		case <-ctx.Done():
			return nil, fmt.Errorf("%w: the cluster needs a majority of its nodes to admit one: %w", ErrNoAnswer, context.Cause(ctx))
		}
	}
}

// hear passes an answer to an application on, if anybody waits for one.
func (e *Ears) hear(a *peerv1.Admit) {
	select {
	case e.admits <- a:
	default:
	}
}

// Message implements [members.Handler]. What does not decode is nobody's of this version, and ignored.
func (e *Ears) Message(from string, payload []byte) {
	m := &peerv1.Gossip{}
	if proto.Unmarshal(payload, m) != nil {
		return
	}
	if a := m.GetAdmit(); a != nil {
		e.hear(a)
	}
	if c := e.listener(m); c != nil {
		c.message(from, m)
	}
}

// listener returns whom to tell. While there is nobody it keeps who owns what, which is said once when this node joins.
func (e *Ears) listener(m *peerv1.Gossip) *Cluster {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.mu.follow == nil {
		e.mu.early = append(e.mu.early, m.GetPlaces()...)
		e.mu.early = e.mu.early[max(0, len(e.mu.early)-maxHeard):]
	}
	return e.mu.follow
}

// heard has c hear everything from now on, and what was heard before.
func (e *Ears) heard(c *Cluster) {
	e.mu.Lock()
	early := e.mu.early
	e.mu.follow, e.mu.early = c, nil
	e.mu.Unlock()
	if c != nil {
		c.learn(early)
	}
}

func (e *Ears) get() *Cluster {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.mu.follow
}

// Changed implements [members.Handler].
func (e *Ears) Changed() {
	if c := e.get(); c != nil {
		c.poke()
	}
}

// Left implements [members.Handler].
func (e *Ears) Left(m members.Member, died bool) {
	if c := e.get(); c != nil {
		c.left(m, died)
	}
}

// LocalState implements [members.Handler].
func (e *Ears) LocalState() []byte {
	if c := e.get(); c != nil {
		return c.opts.Table.Encode()
	}
	return nil
}

// MergeState implements [members.Handler].
func (e *Ears) MergeState(state []byte) {
	m := &peerv1.Gossip{}
	if proto.Unmarshal(state, m) != nil {
		return
	}
	if c := e.listener(m); c != nil {
		c.learn(m.GetPlaces())
	}
}
