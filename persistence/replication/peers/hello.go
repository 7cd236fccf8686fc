package peers

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/skerry-dev/skerry/persistence"
)

// The versions of the protocol that this build speaks.
const (
	lowestVersion  = 1
	highestVersion = 2
	// callsVersion is the first that has connections of calls; whoever dials one says that it speaks no lower.
	callsVersion = 2
)

// purpose is what a connection is for.
type purpose uint8

// The purposes. Their numbers are on the wire.
const (
	purposeBatches purpose = 1
	purposeFetch   purpose = 2
	purposeCalls   purpose = 3 // since callsVersion
)

// hello is what the dialling side says first, and in the same form what the other side answers. The first ten bytes are the same in
// every version, so that any two builds can at least say which of them is older; bytes behind the cluster's id are left to later ones.
//
//	 0  4  "SKPH", in the answer "SKPR"
//	 4  2  length of what follows, at most 1024
//	 6  2  lowest version of the protocol
//	 8  2  highest version
//	10  1  purpose; in the answer a Refusal, 0 is a welcome
//	11  4  features
//	15  4  the node that speaks
//	19  4  the node that it means
//	23  1  length of the cluster's id
//	24     the cluster's id
type hello struct {
	lowest, highest uint16
	word            uint8
	features        uint32
	from, to        persistence.NodeID
	cluster         string
}

const (
	magicHello  = "SKPH"
	magicAnswer = "SKPR"

	tlsHandshake = 0x16 // how TLS begins

	helloPrefixBytes = 6
	versionsBytes    = 4
	helloFixedBytes  = 18 // from the versions to the length of the cluster's id
	maxHelloBytes    = 1 << 10
)

// encode returns the bytes of h; its cluster's id has at most 255 bytes.
func (h *hello) encode(magic string) []byte {
	b := make([]byte, 0, helloPrefixBytes+helloFixedBytes+len(h.cluster))
	b = append(b, magic...)
	b = binary.LittleEndian.AppendUint16(b, uint16(helloFixedBytes+len(h.cluster))) //nolint:gosec // Options.Validate bounds it
	b = binary.LittleEndian.AppendUint16(b, h.lowest)
	b = binary.LittleEndian.AppendUint16(b, h.highest)
	b = append(b, h.word)
	b = binary.LittleEndian.AppendUint32(b, h.features)
	b = binary.LittleEndian.AppendUint32(b, uint32(h.from))
	b = binary.LittleEndian.AppendUint32(b, uint32(h.to))
	b = append(b, uint8(len(h.cluster))) //nolint:gosec // Options.Validate bounds it
	return append(b, h.cluster...)
}

// errOtherVersion means that only the versions of a hello could be understood, and that they have none of ours.
var errOtherVersion = errors.New("no version of the protocol in common")

// readHello reads one hello, and nothing behind it. ErrMalformed: these are not the bytes of a node. With errOtherVersion only the
// versions in h are known.
func readHello(r io.Reader, magic string, lowest, highest uint16) (h hello, err error) {
	var prefix [helloPrefixBytes]byte
	if _, err = io.ReadFull(r, prefix[:]); err != nil {
		return h, fmt.Errorf("read greeting: %w", err)
	}
	if prefix[0] == tlsHandshake {
		return h, fmt.Errorf("%w: the other side speaks TLS, this one does not", ErrMalformed)
	}
	if string(prefix[:4]) != magic {
		return h, fmt.Errorf("%w: no node's greeting, it begins with %q", ErrMalformed, prefix[:4])
	}
	length := int(binary.LittleEndian.Uint16(prefix[4:]))
	if length < versionsBytes || length > maxHelloBytes {
		return h, fmt.Errorf("%w: a greeting of %d bytes", ErrMalformed, length)
	}
	payload := make([]byte, length)
	if _, err = io.ReadFull(r, payload); err != nil {
		return h, fmt.Errorf("read greeting: %w", err)
	}
	h.lowest, h.highest = binary.LittleEndian.Uint16(payload), binary.LittleEndian.Uint16(payload[2:])
	if h.lowest > h.highest {
		return h, fmt.Errorf("%w: versions %d to %d", ErrMalformed, h.lowest, h.highest)
	}
	if h.highest < lowest || h.lowest > highest {
		return h, errOtherVersion
	}
	if length < helloFixedBytes || length < helloFixedBytes+int(payload[17]) {
		return h, fmt.Errorf("%w: a greeting of %d bytes", ErrMalformed, length)
	}
	h.word = payload[4]
	h.features = binary.LittleEndian.Uint32(payload[5:])
	h.from = persistence.NodeID(binary.LittleEndian.Uint32(payload[9:]))
	h.to = persistence.NodeID(binary.LittleEndian.Uint32(payload[13:]))
	h.cluster = string(payload[helloFixedBytes : helloFixedBytes+int(payload[17])])
	return h, nil
}

// judge says whether a node may talk: 0 is yes.
func judge(theirs, mine *hello, isMember bool) Refusal {
	switch {
	case theirs.cluster != mine.cluster:
		return RefusedCluster
	case theirs.from == mine.from:
		return RefusedSameNode
	case theirs.to != mine.from:
		return RefusedAddress
	case !isMember:
		return RefusedNotMember
	}
	switch purpose(theirs.word) {
	case purposeBatches, purposeFetch:
		return 0
	case purposeCalls:
		if theirs.highest >= callsVersion {
			return 0
		}
	}
	return RefusedMalformed
}

// check turns the answer of the node at address, which was meant to be peer, into an error if it is not a welcome.
func (o *Options) check(answer *hello, peer persistence.NodeID, address string) error {
	refusal := Refusal(answer.word)
	if refusal == 0 && answer.from != peer { // it did not look whom we meant
		refusal = RefusedAddress
	}
	if refusal == 0 && answer.cluster != o.Cluster {
		refusal = RefusedCluster
	}
	var reason string
	switch refusal {
	case 0:
		return nil
	case RefusedCluster:
		reason = fmt.Sprintf("the node at %s belongs to the cluster %q, this one to %q; one of the two was given the other's address or data",
			address, answer.cluster, o.Cluster)
	case RefusedAddress:
		reason = fmt.Sprintf("at %s is node %d, not node %d; what membership says of the address is old or wrong", address, answer.from, peer)
	case RefusedNotMember:
		reason = fmt.Sprintf("it does not know node %d; that passes when it hears of it, unless this node was removed", o.Node)
	case RefusedCertificate:
		reason = "the certificate of this node does not name it"
		if o.TLS != nil {
			reason = fmt.Sprintf("the certificate of this node does not bear the name %s", o.TLS.name(o.Node))
		}
	case RefusedBusy:
		reason = "it serves as many fetches of this node as it may; that passes"
	case RefusedSameNode:
		reason = fmt.Sprintf("it is node %d too; no two nodes may share an id or a data directory", o.Node)
	case RefusedVersion, RefusedMalformed:
		reason = "it did not understand the greeting"
	default:
		reason = fmt.Sprintf("for the reason %d, which only newer versions know", refusal)
	}
	return &RefusedError{Node: peer, Refusal: refusal, Reason: reason}
}
