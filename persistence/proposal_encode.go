package persistence

import (
	"encoding/binary"
	"fmt"
)

// proposalVersion is the greatest first byte of an encoded proposal; a greater one is answered with ErrNewer. In version 2,
// a snapshot is followed by what is trimmed with it, and one without data and pieces is gone. Only a proposal that needs
// it is of version 2: an older build must not take it for anything else.
const (
	proposalVersion      = 2
	plainVersion    byte = 1
)

// claimFlag is the only flag of a proposal.
const claimFlag = 1

// The flags of a change say which of its fields follow, in this order. Space and kind, and the epoch, are those of the
// change before unless flagged; before the first change they are "" and 0, and (the proposal's generation, 0).
const (
	hasEpoch = 1 << iota
	hasSpace
	hasEntries
	hasMarks
	hasPiece
	hasSnapshot
	hasRecord
	hasErase
)

// AppendProposal appends the encoded form of p to dst: one byte of version, then uvarints and counted bytes. The same
// proposal always gives the same bytes. It returns an error that wraps [ErrBadChange] when a change cannot be carried
// (its Validate says why); dst is then returned as it was. It keeps nothing of p.
func AppendProposal(dst []byte, p *Proposal) ([]byte, error) {
	version := versionOf(p)
	b := append(dst, version)
	b = binary.AppendUvarint(b, p.ID)
	b = binary.AppendUvarint(b, uint64(p.Generation))
	if p.Claim {
		b = append(b, claimFlag)
	} else {
		b = append(b, 0)
	}
	b = binary.AppendUvarint(b, uint64(len(p.Changes)))
	before := &Change{Epoch: Epoch{Generation: p.Generation}}
	for i, c := range p.Changes {
		if err := c.Validate(); err != nil {
			return dst, fmt.Errorf("encode change %d of a proposal: %w", i, err)
		}
		b = appendChange(b, c, before, version)
		before = c
	}
	return b, nil
}

// versionOf is the least version that can say p.
func versionOf(p *Proposal) byte {
	for _, c := range p.Changes {
		if c.TrimTo != 0 || c.Snapshot != nil && c.Snapshot.Gone {
			return proposalVersion
		}
	}
	return plainVersion
}

// appendChange appends c, which is valid; before is the change before it.
func appendChange(b []byte, c, before *Change, version byte) []byte {
	flags := changeFlags(c, before)
	b = append(b, flags)
	if flags&hasEpoch != 0 {
		b = binary.AppendUvarint(b, uint64(c.Epoch.Generation))
		b = binary.AppendUvarint(b, c.Epoch.Term)
	}
	if flags&hasSpace != 0 {
		b = appendString(b, c.Key.Space)
		b = append(b, byte(c.Key.Kind))
	}
	b = appendString(b, c.Key.ID)
	if flags&hasEntries != 0 {
		b = binary.AppendUvarint(b, uint64(len(c.Entries)))
		b = binary.AppendUvarint(b, uint64(c.Entries[0].Seq))
		for i := range c.Entries {
			b = appendBytes(b, c.Entries[i].Data)
		}
	}
	if flags&hasMarks != 0 {
		b = binary.AppendUvarint(b, uint64(len(c.Marks)))
		for _, m := range c.Marks {
			b = appendString(b, m.Name)
			b = appendOptional(b, m.Value)
		}
	}
	if p := c.Piece; p != nil {
		b = appendString(b, string(p.Part))
		b = binary.AppendUvarint(b, uint64(p.Seq))
		b = binary.AppendUvarint(b, uint64(p.Index)) //nolint:gosec // valid: 0 to MaxPieces
		b = appendBytes(b, p.Data)
	}
	if s := c.Snapshot; s != nil {
		b = appendString(b, string(s.Part))
		b = binary.AppendUvarint(b, uint64(s.Seq))
		b = binary.AppendVarint(b, s.SavedAt.UnixMilli())
		b = binary.AppendUvarint(b, uint64(s.Pieces)) //nolint:gosec // valid: 0 to MaxPieces
		b = appendBytes(b, s.Data)
		if version > plainVersion {
			b = binary.AppendUvarint(b, uint64(c.TrimTo))
		}
	}
	if flags&hasRecord != 0 {
		b = appendString(b, c.Record.Name)
		b = appendOptional(b, c.Record.Value)
	}
	if flags&hasErase != 0 {
		b = appendString(b, c.EraseSpace)
	}
	return b
}

func changeFlags(c, before *Change) byte {
	var flags byte
	set := func(flag byte, on bool) {
		if on {
			flags |= flag
		}
	}
	set(hasEpoch, c.Epoch != before.Epoch)
	set(hasSpace, c.Key.Space != before.Key.Space || c.Key.Kind != before.Key.Kind)
	set(hasEntries, len(c.Entries) > 0)
	set(hasMarks, len(c.Marks) > 0)
	set(hasPiece, c.Piece != nil)
	set(hasSnapshot, c.Snapshot != nil)
	set(hasRecord, c.Record != nil)
	set(hasErase, c.EraseSpace != "")
	return flags
}

func appendString(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

func appendBytes(b, data []byte) []byte {
	return append(binary.AppendUvarint(b, uint64(len(data))), data...)
}

// appendOptional appends data so that nil and empty stay apart: length + 1, or 0 for nil.
func appendOptional(b, data []byte) []byte {
	if data == nil {
		return append(b, 0)
	}
	return append(binary.AppendUvarint(b, uint64(len(data))+1), data...)
}
