package codec

import (
	"fmt"

	"github.com/skerry-dev/skerry/codec/skerryv1"
)

// PlayerVersion is the schema version of player documents that this build writes. A document without one is version 1.
const PlayerVersion int32 = 1

func checkPlayerVersion(p *skerryv1.Player) error {
	if v := p.GetVersion(); v > PlayerVersion {
		return fmt.Errorf("%w: a player document of version %d, this build knows %d", ErrNewer, v, PlayerVersion)
	}
	return nil
}

// Migrate brings p, of any older version, to [PlayerVersion] and fills the required fields that it lacks with defaults,
// deep, with values of its own. What p has stays as it is. It returns [ErrNewer] and changes nothing when p is of a newer
// version. A nil p is left alone. The caller owns p.
func Migrate(p *skerryv1.Player, defaults Defaults) error {
	if p == nil {
		return nil
	}
	if err := checkPlayerVersion(p); err != nil {
		return err
	}
	p.Version = PlayerVersion
	fill(p, defaults)
	return nil
}
