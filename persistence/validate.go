package persistence

import (
	"errors"
	"fmt"
)

// The bounds of a [Change]. They are checked alike on every replica, so they are part of the stored format: raise one
// only together with a format version.
const (
	// MaxEntries is the greatest number of entries in one Change.
	MaxEntries = 1 << 16
	// MaxMarks is the greatest number of marks in one Change.
	MaxMarks = 256
	// MaxMarkNameBytes is the greatest length of a mark's name.
	MaxMarkNameBytes = 128
	// MaxMarkBytes is the greatest length of a mark's value.
	MaxMarkBytes = 256
	// MaxPartBytes is the greatest length of a part's name.
	MaxPartBytes = 64
	// MaxPieces is the greatest number of pieces of one snapshot.
	MaxPieces = 64
	// MaxRecordNameBytes is the greatest length of a record's name.
	MaxRecordNameBytes = 128
	// MaxRecordBytes is the greatest length of a record's value.
	MaxRecordBytes = 64 << 10
)

// ErrBadChange says that a Change breaks a rule of its form. It is wrapped in a message that says which; nothing was changed.
var ErrBadChange = errors.New("bad change")

// Validate returns nil when the form of c is right, else an error that wraps [ErrBadChange] (and [ErrBadKey] when it is
// the key). Propose only what it accepts. It does not look into values, so that replicas of different versions always
// agree; whether a value's frame verifies is its writer's business, and is checked by every load.
func (c *Change) Validate() error {
	switch {
	case c.EraseSpace != "":
		return c.validateErase()
	case c.Record != nil:
		return c.validateRecord()
	case c.IsCanary():
		return nil
	}
	if err := c.Key.Validate(); err != nil {
		return fmt.Errorf("%w: %w", ErrBadChange, err)
	}
	if err := c.validateEntries(); err != nil {
		return err
	}
	if err := c.validateMarks(); err != nil {
		return err
	}
	if c.Piece != nil {
		if err := c.Piece.validate(); err != nil {
			return err
		}
	}
	if c.TrimTo != 0 && (c.Key.Kind != KindWorld || c.Snapshot == nil || c.Snapshot.Part != "" || c.TrimTo > c.Snapshot.Seq) {
		return fmt.Errorf("%w: only a snapshot of a world's main part trims, and nothing after itself", ErrBadChange)
	}
	if c.Snapshot != nil {
		return c.Snapshot.validate()
	}
	return nil
}

// IsCanary reports whether c carries an epoch and nothing else.
func (c *Change) IsCanary() bool {
	return c.Key == (Key{}) && c.bodyless() && c.Record == nil && c.EraseSpace == ""
}

// bodyless reports whether c has nothing that belongs to an entity.
func (c *Change) bodyless() bool {
	return len(c.Entries) == 0 && len(c.Marks) == 0 && c.Piece == nil && c.Snapshot == nil && c.TrimTo == 0
}

func (c *Change) validateErase() error {
	if c.Key != (Key{}) || !c.bodyless() || c.Record != nil {
		return fmt.Errorf("%w: EraseSpace stands alone", ErrBadChange)
	}
	if err := ValidateSpace(c.EraseSpace); err != nil {
		return fmt.Errorf("%w: %w", ErrBadChange, err)
	}
	return nil
}

func (c *Change) validateRecord() error {
	switch {
	case c.Key != (Key{}) || !c.bodyless():
		return fmt.Errorf("%w: a record stands alone", ErrBadChange)
	case !printable(c.Record.Name, MaxRecordNameBytes):
		return fmt.Errorf("%w: a record's name has 1 to %d printable ASCII bytes, not %.80q", ErrBadChange, MaxRecordNameBytes, c.Record.Name)
	case len(c.Record.Value) > MaxRecordBytes:
		return fmt.Errorf("%w: a record has at most %d bytes, not %d", ErrBadChange, MaxRecordBytes, len(c.Record.Value))
	}
	return nil
}

func (c *Change) validateEntries() error {
	if len(c.Entries) > MaxEntries {
		return fmt.Errorf("%w: at most %d entries, not %d", ErrBadChange, MaxEntries, len(c.Entries))
	}
	for i := range c.Entries {
		e := &c.Entries[i]
		switch {
		case e.Seq == 0:
			return fmt.Errorf("%w: entries[%d] has no seq", ErrBadChange, i)
		case e.Seq != c.Entries[0].Seq+Seq(i): //nolint:gosec // i is at most MaxEntries
			return fmt.Errorf("%w: entries[%d] has seq %d after %d", ErrBadChange, i, e.Seq, c.Entries[i-1].Seq)
		case len(e.Data) == 0 || len(e.Data) > MaxValueBytes:
			return fmt.Errorf("%w: entries[%d] has 1 to %d bytes, not %d", ErrBadChange, i, MaxValueBytes, len(e.Data))
		}
	}
	return nil
}

func (c *Change) validateMarks() error {
	if len(c.Marks) > MaxMarks {
		return fmt.Errorf("%w: at most %d marks, not %d", ErrBadChange, MaxMarks, len(c.Marks))
	}
	for i, m := range c.Marks {
		switch {
		case !printable(m.Name, MaxMarkNameBytes):
			return fmt.Errorf("%w: marks[%d]'s name has 1 to %d printable ASCII bytes, not %.80q", ErrBadChange, i, MaxMarkNameBytes, m.Name)
		case len(m.Value) > MaxMarkBytes:
			return fmt.Errorf("%w: marks[%d] has at most %d bytes, not %d", ErrBadChange, i, MaxMarkBytes, len(m.Value))
		}
	}
	return nil
}

func (p *Piece) validate() error {
	switch {
	case p.Part != "" && !printable(string(p.Part), MaxPartBytes):
		return fmt.Errorf("%w: a part's name has at most %d printable ASCII bytes, not %.80q", ErrBadChange, MaxPartBytes, p.Part)
	case p.Seq == 0:
		return fmt.Errorf("%w: a piece has no seq", ErrBadChange)
	case p.Index < 0 || p.Index >= MaxPieces:
		return fmt.Errorf("%w: a piece's index is 0 to %d, not %d", ErrBadChange, MaxPieces-1, p.Index)
	case len(p.Data) == 0 || len(p.Data) > MaxPieceBytes:
		return fmt.Errorf("%w: a piece has 1 to %d bytes, not %d", ErrBadChange, MaxPieceBytes, len(p.Data))
	}
	return nil
}

func (s *Snapshot) validate() error {
	switch {
	case s.Part != "" && !printable(string(s.Part), MaxPartBytes):
		return fmt.Errorf("%w: a part's name has at most %d printable ASCII bytes, not %.80q", ErrBadChange, MaxPartBytes, s.Part)
	case s.Seq == 0:
		return fmt.Errorf("%w: a snapshot has no seq", ErrBadChange)
	case s.Pieces < 0 || s.Pieces > MaxPieces:
		return fmt.Errorf("%w: a snapshot has at most %d pieces, not %d", ErrBadChange, MaxPieces, s.Pieces)
	case s.Gone && (s.Part == "" || s.Pieces != 0 || len(s.Data) != 0):
		return fmt.Errorf("%w: only a part without data is gone, and not the main one", ErrBadChange)
	case s.Gone:
		return nil
	case (s.Pieces == 0) == (len(s.Data) == 0):
		return fmt.Errorf("%w: a snapshot has either data or pieces", ErrBadChange)
	case len(s.Data) > MaxValueBytes:
		return fmt.Errorf("%w: a snapshot has at most %d bytes, not %d", ErrBadChange, MaxValueBytes, len(s.Data))
	}
	return nil
}

// printable reports whether s has 1 to limit bytes, all of them printable ASCII without space.
func printable(s string, limit int) bool {
	if s == "" || len(s) > limit {
		return false
	}
	for _, c := range []byte(s) {
		if c <= ' ' || c > '~' {
			return false
		}
	}
	return true
}
