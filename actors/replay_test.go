package actors

import (
	"errors"
	"testing"

	"github.com/skerry-dev/skerry/actors/player"
	"github.com/skerry-dev/skerry/actors/turn"
	"github.com/skerry-dev/skerry/codec"
	"github.com/skerry-dev/skerry/codec/skerryv1"
	"github.com/skerry-dev/skerry/codec/storev1"
	"github.com/skerry-dev/skerry/persistence"
)

// Goal: a document inside an event is brought to the present version before the event is applied, and one of a newer
// version is refused. Method: replay one entry that creates a player.
func TestReplayMigratesDocumentsInEvents(t *testing.T) {
	replay := func(document *skerryv1.Player) (*storev1.Entity, error) {
		data, err := codec.EncodeEntry(&storev1.Entry{TimeMs: 1, PlayerEvents: []*storev1.PlayerEvent{
			{Event: &storev1.PlayerEvent_Created{Created: document}},
		}})
		if err != nil {
			t.Fatal(err)
		}
		entity := &storev1.Entity{}
		h := &Host{evolve: turn.Evolve}
		_, _, err = h.replay(entity, &persistence.Loaded{
			Head: persistence.Head{Last: 1}, Entries: []persistence.Entry{{Seq: 1, Data: data}},
		}, &player.Rules{}, nil)
		return entity, err
	}

	old, err := replay(&skerryv1.Player{Name: "Ann"}) // before there were versions, and with nothing in it
	if err != nil {
		t.Fatal(err)
	}
	if p := old.GetPlayer(); p.GetVersion() != codec.PlayerVersion || len(p.GetInventory().GetHotbar()) != 9 {
		t.Fatalf("version %d with %d hotbar slots", p.GetVersion(), len(p.GetInventory().GetHotbar()))
	}
	if _, err := replay(&skerryv1.Player{Version: codec.PlayerVersion + 1}); !errors.Is(err, codec.ErrNewer) {
		t.Fatalf("a document of a newer version: %v", err)
	}
}
