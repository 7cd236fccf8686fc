package world

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/zeebo/xxh3"
	"google.golang.org/protobuf/proto"

	"github.com/skerry-dev/skerry/codec"
	"github.com/skerry-dev/skerry/codec/chunk"
	"github.com/skerry-dev/skerry/codec/skerryv1"
	"github.com/skerry-dev/skerry/codec/storev1"
)

// deltaPercent is how large a delta may be, of the column that it stands for, to be worth reading two parts for.
const deltaPercent = 40

// ErrOtherBase says that a delta, newer than the whole part, is against another column: one of the two is missing or damaged.
var ErrOtherBase = errors.New("delta is of another column")

// Save is what to store of c at seq: a delta against the column with the content hash saved, which is that of the newest
// whole part (0: there is none), where that is small enough; else the whole chunk, whose edits are folded into its column
// first. Which one it is, [IsDelta] says. A part whose content_hash is that of the newest one stored need not be written.
// The result may share memory with c: encode it before c is evolved again. The error is that of a column that does not decode.
func (c *Chunk) Save(seq, saved uint64) (*storev1.ChunkPart, error) {
	part := &storev1.ChunkPart{Seq: seq, State: c.State, Chests: c.Chests, HeightMap: c.HeightMap, Holds: c.Holds, Received: c.Received}
	blocks := uint64(0)
	switch c.State {
	case skerryv1.ChunkState_EDITED:
		part.Edits = chunk.AppendEdits(nil, c.Overlay)
		blocks = xxh3.Hash(part.GetEdits())
	case skerryv1.ChunkState_FULL:
		var err error
		if blocks, err = c.saveFull(part, saved); err != nil {
			return nil, err
		}
	default: // nothing but chests
	}
	hash, err := contentHash(part, blocks)
	if err != nil {
		return nil, err
	}
	part.ContentHash = hash
	return part, nil
}

// saveFull puts the blocks of a FULL chunk into part, as edits of the saved column or as a column, and returns their hash.
func (c *Chunk) saveFull(part *storev1.ChunkPart, saved uint64) (uint64, error) {
	info, err := chunk.Inspect(c.Base)
	if err != nil {
		return 0, fmt.Errorf("inspect column: %w", err)
	}
	hash := info.Hash
	if len(c.Overlay) > 0 {
		ids, err := c.Blocks()
		if err != nil {
			return 0, err
		}
		hash = chunk.Hash(ids)
	}
	if saved == info.Hash && saved != 0 {
		if edits := chunk.AppendEdits(nil, c.Overlay); 100*len(edits) < deltaPercent*len(c.Base) {
			part.Edits, part.BaseHash = edits, saved
			return hash, nil
		}
	}
	if err := c.Fold(); err != nil {
		return 0, err
	}
	part.Column = c.Base
	return hash, nil
}

// IsDelta reports whether part belongs in [Coord.Delta], not in [Coord.Part].
func IsDelta(part *storev1.ChunkPart) bool { return part.GetBaseHash() != 0 }

// ColumnHash is what the next [Chunk.Save] takes as saved once the whole part is stored; 0 when it has no column.
func ColumnHash(part *storev1.ChunkPart) (uint64, error) {
	if len(part.GetColumn()) == 0 {
		return 0, nil
	}
	info, err := chunk.Inspect(part.GetColumn())
	return info.Hash, err
}

// contentHash is of what a part says, whatever its form; blocks is the hash of its blocks.
func contentHash(part *storev1.ChunkPart, blocks uint64) (uint64, error) {
	said := &storev1.ChunkPart{
		State: part.GetState(), Chests: part.GetChests(), HeightMap: part.GetHeightMap(), Holds: part.GetHolds(), Received: part.GetReceived(),
	}
	data, err := proto.MarshalOptions{Deterministic: true}.Marshal(said)
	if err != nil {
		return 0, fmt.Errorf("hash chunk: %w", err)
	}
	return xxh3.Hash(binary.LittleEndian.AppendUint64(data, blocks)), nil
}

// Load makes the chunk of a column height blocks high that whole and delta say, either of which may be nil. seq is what it
// is at. A delta that is not newer than the whole part is of an earlier one and is not looked at. The parts are the caller's
// no more. It returns [ErrOtherBase], or an error that wraps [codec.ErrMalformed] or [codec.ErrNewer]; then the load has failed.
func Load(height int, whole, delta *storev1.ChunkPart) (c *Chunk, seq uint64, err error) {
	newest := whole
	if delta.GetSeq() > whole.GetSeq() {
		newest = delta
	}
	c = &Chunk{Height: height, State: skerryv1.ChunkState_ABSENT}
	if newest == nil {
		return c, 0, nil
	}
	if newest.GetState() != skerryv1.ChunkState_CHUNK_STATE_UNSPECIFIED {
		c.State = newest.GetState()
	}
	c.Chests, c.HeightMap, c.Holds, c.Received = newest.GetChests(), newest.GetHeightMap(), newest.GetHolds(), newest.GetReceived()
	if len(newest.GetEdits()) > 0 {
		if c.Overlay, err = chunk.ReadEdits(nil, newest.GetEdits(), height); err != nil {
			return nil, 0, fmt.Errorf("edits of a chunk: %w", err)
		}
	}
	if c.State == skerryv1.ChunkState_FULL {
		c.Base = whole.GetColumn()
		info, err := chunk.Inspect(c.Base)
		switch {
		case newest == delta && (err != nil || info.Hash != delta.GetBaseHash()):
			return nil, 0, fmt.Errorf("%w: %016x, the whole part has %016x", ErrOtherBase, delta.GetBaseHash(), info.Hash)
		case err != nil:
			return nil, 0, fmt.Errorf("column of a chunk: %w", err)
		}
	}
	if problem := c.problem(); problem != "" {
		return nil, 0, fmt.Errorf("%w: %s", codec.ErrMalformed, problem)
	}
	return c, newest.GetSeq(), nil
}
