package persistence

import (
	"errors"
	"fmt"
	"strings"

	"github.com/skerry-dev/skerry/codec"
)

// Kind is what sort of entity a key names. The numbers are stored: never change one.
type Kind uint8

// The kinds of entities.
const (
	KindPlayer Kind = Kind(codec.KindPlayer)
	KindWorld  Kind = Kind(codec.KindWorld)
	KindServer Kind = Kind(codec.KindServer)
)

// String is "player", "world" or "server".
func (k Kind) String() string {
	switch k {
	case KindPlayer:
		return "player"
	case KindWorld:
		return "world"
	case KindServer:
		return "server"
	default:
		return fmt.Sprintf("kind(%d)", uint8(k))
	}
}

// DefaultSpace is the space of a caller who names none.
const DefaultSpace = "main"

// Key names an entity for ever.
type Key struct {
	// Space matches [a-z0-9-]{1,32}.
	Space string
	Kind  Kind
	// ID matches [A-Za-z0-9_][A-Za-z0-9_.:-]{0,63}; a world's may add ~[A-Za-z0-9_-]{1,16}.
	ID string
}

// ErrBadKey says that a space or an id is not of the form that Key documents. It is wrapped in a message that says which and why.
var ErrBadKey = errors.New("bad key")

// String is "space/kind/id".
func (k Key) String() string { return k.Space + "/" + k.Kind.String() + "/" + k.ID }

// Validate returns nil, or an error that wraps [ErrBadKey] and says what is wrong.
func (k Key) Validate() error {
	if err := ValidateSpace(k.Space); err != nil {
		return err
	}
	switch k.Kind {
	case KindPlayer, KindWorld, KindServer:
	default:
		return fmt.Errorf("%w: unknown kind %d", ErrBadKey, uint8(k.Kind))
	}
	id, suffix, split := k.ID, "", false
	if k.Kind == KindWorld {
		id, suffix, split = strings.Cut(k.ID, "~")
	}
	switch {
	case id == "":
		return fmt.Errorf("%w: the id is empty", ErrBadKey)
	case len(id) > 64:
		return fmt.Errorf("%w: the id has %d bytes, at most 64 are allowed", ErrBadKey, len(id))
	case !only(id, "_.:-") || strings.IndexByte(".:-", id[0]) >= 0:
		return fmt.Errorf("%w: the id %.80q is not of the form [A-Za-z0-9_][A-Za-z0-9_.:-]{0,63}", ErrBadKey, id)
	case split && (suffix == "" || len(suffix) > 16 || !only(suffix, "_-")):
		return fmt.Errorf("%w: the world number %.80q is not of the form [A-Za-z0-9_-]{1,16}", ErrBadKey, suffix)
	}
	return nil
}

// ValidateSpace returns nil, or an error that wraps [ErrBadKey].
func ValidateSpace(space string) error {
	if space == "" || len(space) > 32 {
		return fmt.Errorf("%w: a space has 1 to 32 bytes, this one has %d", ErrBadKey, len(space))
	}
	for _, c := range []byte(space) {
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' {
			return fmt.Errorf("%w: the space %q is not of the form [a-z0-9-]{1,32}", ErrBadKey, space)
		}
	}
	return nil
}

// only reports whether s consists of letters, digits and the bytes of extra.
func only(s, extra string) bool {
	for _, c := range []byte(s) {
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && strings.IndexByte(extra, c) < 0 {
			return false
		}
	}
	return true
}

// PartitionOf returns the partition of k among count, which was fixed when the cluster was made: xxh3-64 of space, 0,
// kind, id, modulo count. The result is part of the stored format.
func PartitionOf(k Key, count int) Partition {
	return Partition(codec.PartitionOf(k.Space, uint8(k.Kind), k.ID, count))
}

// AppendBinary appends the ordered binary form of k: space, 0, kind, id, 0.
func (k Key) AppendBinary(b []byte) ([]byte, error) {
	b = append(b, k.Space...)
	b = append(b, 0, byte(k.Kind))
	b = append(b, k.ID...)
	return append(b, 0), nil
}
