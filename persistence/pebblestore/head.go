package pebblestore

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/zeebo/xxh3"

	"github.com/skerry-dev/skerry/persistence"
)

// headVersion is the greatest first byte of a stored head. In version 1, entries never followed a head's last; only in
// version 3, a part may be gone, and only a head that says so is of it.
const (
	headVersion      = 3
	plainHeadVersion = 2
)

// headLag bounds how many entries may follow the last of a stored head, so that most commands write one key, not two. A
// head with nothing after its newest snapshot never lags: reading a clean entity needs no look at its journal.
const headLag = 16

// head is what is stored of an entity (or of a part that is not the main one: then only its snapshots are used).
type head struct {
	last    persistence.Seq
	trimmed persistence.Seq
	// tailBytes is the size of the entries after trimmed. It is exact as long as snapshots are taken at the last entry, and
	// else an estimate that every replica makes alike.
	tailBytes int64
	count     int // of snapshots
	snapshots [2]kept
}

// otherBase is the index of the first piece where a snapshot is stored again while its other copy lies at 0. It is more
// than MaxPieces, and not a bit of a number of pieces: a stored head has both in one number.
const otherBase = 128

// goneBit says in the same number that there is no value: the part was gone at this seq.
const goneBit = 256

// kept is a snapshot without its data; the newest is first.
type kept struct {
	seq     persistence.Seq
	epoch   persistence.Epoch
	savedMs int64
	pieces  int
	// base is the index of the first piece: 0, or otherBase.
	base int
	// gone: the part did not exist any more at seq; nothing is stored for it.
	gone bool
	// afterBytes is the size of the entries after seq, as tailBytes will be when the journal is trimmed to seq.
	afterBytes int64
}

// newest is the seq of the newest snapshot, 0 when there is none.
func (h *head) newest() persistence.Seq { return h.snapshots[0].seq }

// append counts entries with these bytes.
func (h *head) append(entries int, size int64) {
	h.last += persistence.Seq(entries) //nolint:gosec // a length is not negative
	h.tailBytes += size
	for i := range h.count {
		h.snapshots[i].afterBytes += size
	}
}

// tailIsOpen reports whether entries may follow h when it was stored: the entity's tail was not empty then.
func (h *head) tailIsOpen() bool { return h.last > h.newest() }

// sameButTail reports whether to is h after some more entries.
func (h *head) sameButTail(to *head) bool {
	same := *to
	same.last, same.tailBytes = h.last, h.tailBytes
	for i := range same.count {
		same.snapshots[i].afterBytes = h.snapshots[i].afterBytes
	}
	return same == *h
}

// follow counts the entries after h.last that are in the journal with this prefix. It does not look at their values. A
// gap among them is ErrCorrupt.
func (h *head) follow(r pebble.Reader, journal []byte) error {
	if !h.tailIsOpen() {
		return nil
	}
	lower := binary.BigEndian.AppendUint64(bytes.Clone(journal), uint64(h.last)+1)
	it, err := r.NewIter(&pebble.IterOptions{LowerBound: lower, UpperBound: after(journal)})
	if err != nil {
		return fmt.Errorf("journal: %w", readError(err))
	}
	var gap error
	for ok := it.First(); ok; ok = it.Next() {
		if seq := persistence.Seq(binary.BigEndian.Uint64(it.Key()[len(journal):])); seq != h.last+1 {
			gap = fmt.Errorf("%w: entry %d is missing, %d is there", persistence.ErrCorrupt, h.last+1, seq)
			break
		}
		value, err := it.ValueAndErr()
		if err != nil {
			gap = readError(err)
			break
		}
		h.append(1, int64(len(value)))
	}
	if err := errors.Join(gap, readIterError(it)); err != nil {
		return fmt.Errorf("journal: %w", err)
	}
	return nil
}

// push makes k the newest snapshot and returns the one that is dropped for it, if any: the other copy of k's state when
// that is the newest already.
func (h *head) push(k kept) (dropped kept, drops bool) {
	if h.count > 0 && k.seq == h.newest() {
		dropped, k.afterBytes = h.snapshots[0], h.snapshots[0].afterBytes
		h.snapshots[0] = k
		return dropped, true
	}
	if left := h.last - h.trimmed; left > 0 && h.last > k.seq {
		k.afterBytes = h.tailBytes * int64(h.last-k.seq) / int64(left) //nolint:gosec // numbers of entries
	}
	dropped, drops = h.snapshots[1], h.count == 2
	h.snapshots[1], h.snapshots[0] = h.snapshots[0], k
	h.count = min(h.count+1, 2)
	return dropped, drops
}

// values is how many keys hold the snapshot.
func (k *kept) values() int {
	if k.gone {
		return 0
	}
	return max(k.pieces, 1)
}

// appendHeadValue appends h as it is stored: version, uvarints, and four bytes of checksum.
func appendHeadValue(b []byte, h *head) []byte {
	start := len(b)
	version := byte(plainHeadVersion)
	if h.snapshots[0].gone || h.snapshots[1].gone {
		version = headVersion
	}
	b = append(b, version)
	b = binary.AppendUvarint(b, uint64(h.last))
	b = binary.AppendUvarint(b, uint64(h.trimmed))
	b = binary.AppendUvarint(b, uint64(h.tailBytes)) //nolint:gosec // not negative
	b = append(b, byte(h.count))
	for _, k := range h.snapshots[:h.count] {
		b = binary.AppendUvarint(b, uint64(k.seq))
		b = binary.AppendUvarint(b, uint64(k.epoch.Generation))
		b = binary.AppendUvarint(b, k.epoch.Term)
		b = binary.AppendVarint(b, k.savedMs)
		pieces := k.pieces + k.base
		if k.gone {
			pieces |= goneBit
		}
		b = binary.AppendUvarint(b, uint64(pieces))       //nolint:gosec // at most MaxPieces, otherBase and goneBit
		b = binary.AppendUvarint(b, uint64(k.afterBytes)) //nolint:gosec // not negative
	}
	return binary.LittleEndian.AppendUint32(b, uint32(xxh3.Hash(b[start:]))) //nolint:gosec // the low half
}

// decodeHead decodes what appendHeadValue made. It returns ErrCorrupt, or ErrNewer.
func decodeHead(b []byte) (head, error) {
	if len(b) < 5 {
		return head{}, fmt.Errorf("%w: a head of %d bytes", persistence.ErrCorrupt, len(b))
	}
	body, sum := b[:len(b)-4], binary.LittleEndian.Uint32(b[len(b)-4:])
	if uint32(xxh3.Hash(body)) != sum { //nolint:gosec // the low half
		return head{}, fmt.Errorf("%w: the checksum of a head does not match", persistence.ErrCorrupt)
	}
	if body[0] > headVersion {
		return head{}, fmt.Errorf("%w: a head of version %d", persistence.ErrNewer, body[0])
	}
	r := fields{left: body[1:]}
	h := head{last: persistence.Seq(r.uvarint()), trimmed: persistence.Seq(r.uvarint()), tailBytes: int64(r.uvarint())} //nolint:gosec // was an int64
	h.count = int(r.uvarint())                                                                                          //nolint:gosec // checked below
	if h.count < 0 || h.count > len(h.snapshots) {
		return head{}, fmt.Errorf("%w: a head with %d snapshots", persistence.ErrCorrupt, h.count)
	}
	for i := range h.count {
		h.snapshots[i] = kept{
			seq:        persistence.Seq(r.uvarint()),
			epoch:      persistence.Epoch{Generation: uint32(r.uvarint()), Term: r.uvarint()}, //nolint:gosec // was a uint32
			savedMs:    r.varint(),
			pieces:     int(r.uvarint()),   //nolint:gosec // was at most MaxPieces, otherBase and goneBit
			afterBytes: int64(r.uvarint()), //nolint:gosec // was an int64
		}
		k := &h.snapshots[i]
		k.base, k.gone = k.pieces&otherBase, k.pieces&goneBit != 0
		k.pieces &^= otherBase | goneBit
	}
	if r.bad || len(r.left) > 0 {
		return head{}, fmt.Errorf("%w: a head of %d bytes does not decode", persistence.ErrCorrupt, len(b))
	}
	return h, nil
}

// export is h in the words of package persistence.
func (h *head) export() persistence.Head {
	out := persistence.Head{Last: h.last, Trimmed: h.trimmed, TailBytes: h.tailBytes}
	if h.count > 0 {
		out.Snapshots = make([]persistence.Snapshot, h.count)
	}
	for i := range out.Snapshots {
		out.Snapshots[i] = h.snapshots[i].export("")
	}
	return out
}

func (k *kept) export(part persistence.Part) persistence.Snapshot {
	saved := time.UnixMilli(k.savedMs).UTC()
	return persistence.Snapshot{Part: part, Seq: k.seq, Epoch: k.epoch, SavedAt: saved, Pieces: k.pieces, Gone: k.gone}
}

// fields reads numbers; after the first that is missing, bad is set and all read as zero.
type fields struct {
	left []byte
	bad  bool
}

func (f *fields) uvarint() uint64 {
	v, n := binary.Uvarint(f.left)
	return v * f.step(n)
}

func (f *fields) varint() int64 {
	v, n := binary.Varint(f.left)
	return v * int64(f.step(n)) //nolint:gosec // 0 or 1
}

// step goes n bytes on and returns 1, or returns 0 when n says that there was no number.
func (f *fields) step(n int) uint64 {
	if n <= 0 || f.bad {
		f.left, f.bad = nil, true
		return 0
	}
	f.left = f.left[n:]
	return 1
}
