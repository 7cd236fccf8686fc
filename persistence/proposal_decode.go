package persistence

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"time"
)

// ErrMalformedProposal says that bytes are not an encoded proposal. In a committed log entry it means that the store is broken.
var ErrMalformedProposal = errors.New("malformed proposal")

// DecodeProposal decodes what [AppendProposal] made. The slices of the result alias data; its strings do not. It
// returns [ErrMalformedProposal], or [ErrNewer] for a version that this build does not know. No more memory is taken
// than a small multiple of len(data). Changes are as they were proposed: Apply validates each.
func DecodeProposal(data []byte) (*Proposal, error) {
	d := decoder{left: data}
	if err := d.checkVersion(); err != nil {
		return nil, err
	}
	p := &Proposal{ID: d.uvarint(), Generation: d.uint32()}
	flags := d.byte()
	if flags > claimFlag {
		return nil, fmt.Errorf("%w: flags %#x", ErrMalformedProposal, flags)
	}
	p.Claim = flags == claimFlag
	count := d.count(2) // a change has two bytes at least
	if count > 0 {
		p.Changes = make([]*Change, count)
	}
	before := &Change{Epoch: Epoch{Generation: p.Generation}}
	var slab []Change
	for i := range p.Changes {
		if len(slab) == 0 {
			slab = make([]Change, min(count-i, 64))
		}
		c := &slab[0]
		slab = slab[1:]
		d.change(c, before)
		if d.bad {
			return nil, fmt.Errorf("%w: change %d of %d", ErrMalformedProposal, i, count)
		}
		p.Changes[i], before = c, c
	}
	if d.bad || len(d.left) > 0 {
		return nil, fmt.Errorf("%w: %d of %d bytes left over or missing", ErrMalformedProposal, len(d.left), len(data))
	}
	return p, nil
}

// decoder reads from left. After the first bad field, bad is set and everything reads as zero.
type decoder struct {
	left    []byte
	bad     bool
	version byte
}

// checkVersion reads the first byte.
func (d *decoder) checkVersion() error {
	switch d.version = d.byte(); {
	case d.version > proposalVersion:
		return fmt.Errorf("decode proposal of version %d: %w", d.version, ErrNewer)
	case d.version < plainVersion:
		return fmt.Errorf("%w: version %d", ErrMalformedProposal, d.version)
	default:
		return nil
	}
}

func (d *decoder) change(c, before *Change) {
	c.Epoch, c.Key.Space, c.Key.Kind = before.Epoch, before.Key.Space, before.Key.Kind
	flags := d.byte()
	if flags&hasEpoch != 0 {
		c.Epoch = Epoch{Generation: d.uint32(), Term: d.uvarint()}
	}
	if flags&hasSpace != 0 {
		c.Key.Space, c.Key.Kind = string(d.bytes()), Kind(d.byte())
	}
	c.Key.ID = string(d.bytes())
	if flags&hasEntries != 0 {
		c.Entries = d.entries()
	}
	if flags&hasMarks != 0 {
		c.Marks = d.marks()
	}
	if flags&hasPiece != 0 {
		c.Piece = &Piece{Part: Part(d.bytes()), Seq: Seq(d.uvarint()), Index: d.int(), Data: d.bytes()}
	}
	if flags&hasSnapshot != 0 {
		c.Snapshot = &Snapshot{Part: Part(d.bytes()), Seq: Seq(d.uvarint()), SavedAt: d.time(), Pieces: d.int(), Data: d.bytes()}
		if len(c.Snapshot.Data) == 0 {
			c.Snapshot.Data = nil
		}
		if d.version > plainVersion {
			c.Snapshot.Gone = c.Snapshot.Data == nil && c.Snapshot.Pieces == 0
			c.TrimTo = Seq(d.uvarint())
		}
	}
	if flags&hasRecord != 0 {
		c.Record = &Record{Name: string(d.bytes()), Value: d.optional()}
	}
	if flags&hasErase != 0 {
		c.EraseSpace = string(d.bytes())
	}
}

func (d *decoder) entries() []Entry {
	entries := make([]Entry, d.count(1))
	first := d.uvarint()
	if len(entries) == 0 || first > math.MaxUint64-uint64(len(entries)) {
		d.fail()
		return nil
	}
	for i := range entries {
		entries[i] = Entry{Seq: Seq(first) + Seq(i), Data: d.bytes()} //nolint:gosec // i is not negative
	}
	return entries
}

func (d *decoder) marks() []Mark {
	marks := make([]Mark, d.count(2))
	if len(marks) == 0 {
		d.fail()
	}
	for i := range marks {
		marks[i] = Mark{Name: string(d.bytes()), Value: d.optional()}
	}
	return marks
}

func (d *decoder) fail() { d.left, d.bad = nil, true }

func (d *decoder) byte() byte {
	if len(d.left) == 0 {
		d.fail()
		return 0
	}
	b := d.left[0]
	d.left = d.left[1:]
	return b
}

func (d *decoder) uvarint() uint64 {
	v, n := binary.Uvarint(d.left)
	if n <= 0 {
		d.fail()
		return 0
	}
	d.left = d.left[n:]
	return v
}

func (d *decoder) uint32() uint32 {
	v := d.uvarint()
	if v > math.MaxUint32 {
		d.fail()
		return 0
	}
	return uint32(v)
}

// int reads a small number that is not negative.
func (d *decoder) int() int {
	v := d.uvarint()
	if v > math.MaxInt32 {
		d.fail()
		return 0
	}
	return int(v)
}

func (d *decoder) time() time.Time {
	v, n := binary.Varint(d.left)
	if n <= 0 {
		d.fail()
		return time.Time{}
	}
	d.left = d.left[n:]
	return time.UnixMilli(v).UTC()
}

// count reads a number of things of which each takes at least size bytes of what is left.
func (d *decoder) count(size int) int {
	v := d.uvarint()
	if v > uint64(len(d.left)/size) { //nolint:gosec // a length is not negative
		d.fail()
		return 0
	}
	return int(v) //nolint:gosec // bounded above
}

func (d *decoder) bytes() []byte {
	n := d.count(1)
	b := d.left[:n:n]
	d.left = d.left[n:]
	return b
}

func (d *decoder) optional() []byte {
	n := d.uvarint()
	if n == 0 {
		return nil
	}
	if n-1 > uint64(len(d.left)) {
		d.fail()
		return nil
	}
	b := d.left[: n-1 : n-1]
	d.left = d.left[n-1:]
	return b
}
