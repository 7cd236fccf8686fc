package peers

import (
	"errors"
	"fmt"

	"github.com/skerry-dev/skerry/persistence"
)

// ErrUnknownPeer means that the node is not in the addresses given to [Peers.SetAddresses].
var ErrUnknownPeer = errors.New("node is not a peer")

// ErrEnded means that [Peers.Run] has ended, or is about to.
var ErrEnded = errors.New("connections to peers have ended")

// ErrIncomplete means that a fetch was cut before the peer said that it was at its end. What was taken is a beginning, no more.
// Fetching again may succeed.
var ErrIncomplete = errors.New("fetch was cut before its end")

// ErrTooLarge means that a frame or a request is longer than [MaxFrameBytes], [MaxRequestBytes], or for calls
// [Options.MaxBatchBytes].
var ErrTooLarge = errors.New("too large for one frame")

// ErrQueueFull means that too many frames of calls wait for the peer. This one was not sent and will not be.
var ErrQueueFull = errors.New("too many calls wait for the peer")

// ErrMalformed means that what came from the other side is not what a node of this protocol sends.
var ErrMalformed = errors.New("malformed bytes from a peer")

// RemoteError says that the peer's [Handler.Serve] failed. Fetching again may succeed.
type RemoteError struct {
	Node persistence.NodeID
	// Text is what the error said there, cut after 1 KiB.
	Text string
}

// Error names the node and repeats its words.
func (e *RemoteError) Error() string {
	return fmt.Sprintf("node %d could not serve: %s", e.Node, e.Text)
}

// VersionError says that two nodes have no version of the protocol in common.
type VersionError struct {
	// Node is the other side.
	Node persistence.NodeID
	// Lowest and Highest are what this node speaks, TheirLowest and TheirHighest what the other does.
	Lowest, Highest, TheirLowest, TheirHighest uint16
}

// Error says which side is older.
func (e *VersionError) Error() string {
	older := "this node is older: upgrade it"
	if e.TheirHighest < e.Lowest {
		older = "that node is older: upgrade it"
	}
	return fmt.Sprintf("node %d speaks versions %d to %d of the protocol between nodes, this node %d to %d; %s",
		e.Node, e.TheirLowest, e.TheirHighest, e.Lowest, e.Highest, older)
}

// Refusal is why a node does not talk with another.
type Refusal uint8

// The refusals. Their numbers are on the wire, 0 is a welcome.
const (
	RefusedVersion     Refusal = 1 // no version of the protocol in common; reported as a [VersionError]
	RefusedCluster     Refusal = 2 // the two belong to different clusters
	RefusedAddress     Refusal = 3 // the node at this address is not the one that was meant
	RefusedNotMember   Refusal = 4 // the node asked does not know the one that asks, yet or any more
	RefusedCertificate Refusal = 5 // the certificate does not name the node
	RefusedBusy        Refusal = 6 // as many fetches run as may
	RefusedSameNode    Refusal = 7 // both say that they are the same node
	RefusedMalformed   Refusal = 8 // what came is not a node's greeting
)

// String is a word for logs and metrics.
func (r Refusal) String() string {
	switch r {
	case 0:
		return "welcome"
	case RefusedVersion:
		return "version"
	case RefusedCluster:
		return "cluster"
	case RefusedAddress:
		return "address"
	case RefusedNotMember:
		return "not_member"
	case RefusedCertificate:
		return "certificate"
	case RefusedBusy:
		return "busy"
	case RefusedSameNode:
		return "same_node"
	case RefusedMalformed:
		return "malformed"
	}
	return "unknown"
}

// RefusedError says that the peer does not talk with this node, and what to do. Trying again helps only when something changed,
// except for RefusedBusy and RefusedNotMember, which pass.
type RefusedError struct {
	Node    persistence.NodeID
	Refusal Refusal
	Reason  string
}

// Error names the node, the reason and what to do.
func (e *RefusedError) Error() string { return fmt.Sprintf("refused by node %d: %s", e.Node, e.Reason) }
