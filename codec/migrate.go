package codec

import (
	"fmt"

	"github.com/skerry-dev/skerry/codec/skerryv1"
	"github.com/skerry-dev/skerry/codec/storev1"
)

// PlayerVersion is the schema version of player documents that this build writes. A document without one is version 1.
const PlayerVersion int32 = 1

// WorldVersion is that of world documents. There is nothing to migrate yet.
const WorldVersion int32 = 1

// migration is one named step of a document's schema. It is pure: no clock, no randomness, no memory shared with another
// document. It never changes once released: documents of its version are read for ever.
type migration struct {
	name string
	// from is the version that apply makes from+1 of.
	from  int32
	apply func(*skerryv1.Player)
}

// playerMigrations returns the steps from version 1 to PlayerVersion, in order, without a gap. What came before version 1
// is the original's JSON: [PlayerFromOriginal].
func playerMigrations() []migration { return nil }

// Migrate brings p, of any older version, to [PlayerVersion] and fills the required fields that it lacks with defaults,
// deep, with values of its own. What p has stays as it is. It returns [ErrNewer] and changes nothing when p is of a newer
// version, [ErrMalformed] when its version is negative. A nil p is left alone. The caller owns p.
func Migrate(p *skerryv1.Player, defaults Defaults) error {
	if p == nil {
		return nil
	}
	if err := run(playerMigrations(), p); err != nil {
		return err
	}
	fill(p, defaults)
	return nil
}

// MigrateEntry does to the documents in e's events what [Migrate] does to a document at rest. It belongs between
// [DecodeEntry] and the replay, so that events are applied to documents of one version only.
func MigrateEntry(e *storev1.Entry, defaults Defaults) error {
	for _, event := range e.GetPlayerEvents() {
		if err := Migrate(event.GetCreated(), defaults); err != nil {
			return err
		}
		if err := Migrate(event.GetDocumentReplaced(), defaults); err != nil {
			return err
		}
	}
	return nil
}

// run applies the steps that p needs, in order, and leaves it at the version that the last one makes.
func run(steps []migration, p *skerryv1.Player) error {
	newest := int32(len(steps)) + 1 //nolint:gosec // a handful
	if err := checkVersion("player", p.GetVersion(), newest); err != nil {
		return err
	}
	for _, step := range steps[max(p.GetVersion(), 1)-1:] {
		step.apply(p)
	}
	p.Version = newest
	return nil
}

// checkPlayerVersion returns an error unless p, which may be nil, is of a version that this build reads.
func checkPlayerVersion(p *skerryv1.Player) error {
	return checkVersion("player", p.GetVersion(), PlayerVersion)
}

// checkWorldVersion is checkPlayerVersion for a world.
func checkWorldVersion(w *skerryv1.World) error {
	return checkVersion("world", w.GetVersion(), WorldVersion)
}

func checkVersion(kind string, version, newest int32) error {
	switch {
	case version < 0:
		return fmt.Errorf("%w: a %s document of version %d", ErrMalformed, kind, version)
	case version > newest:
		return fmt.Errorf("%w: a %s document of version %d, this build knows %d", ErrNewer, kind, version, newest)
	default:
		return nil
	}
}
