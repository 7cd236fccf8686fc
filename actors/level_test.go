package actors

import (
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/skerry-dev/skerry/actors/player"
	"github.com/skerry-dev/skerry/codec"
	"github.com/skerry-dev/skerry/codec/skerryv1"
	"github.com/skerry-dev/skerry/codec/storev1"
	"github.com/skerry-dev/skerry/persistence"
	"github.com/skerry-dev/skerry/persistence/pebblestore"
)

// Goal: an event of a newer level is not written while the cluster's level is lower, and nothing of the turn happens.
// Method: an event of today is taken for one of level 2.
func TestNewerEventsWaitForTheLevel(t *testing.T) {
	for name, form := range map[string]protoreflect.FullName{
		"an event":           "skerry.store.v1.PlayerEvent.balance_changed",
		"a field of entries": "skerry.store.v1.Entry.player_events",
	} {
		t.Run(name, func(t *testing.T) {
			var level atomic.Uint32
			level.Store(2)
			h, _, stop := startOn(t, pebblestore.MemFS(), "", 4, Options{FeatureLevel: level.Load, Forms: codec.Forms{form: 2}})
			defer stop()
			session := ask(t, h, "p1", openRequest("s1")).GetOpenPlayerSession().GetSession()
			level.Store(1)
			if _, err := try(h, "p1", earn(session, 1, 5, skerryv1.Durability_DURABLE)); !errors.Is(err, ErrTooNew) {
				t.Fatalf("at level 1: %v", err)
			}
			if got := coins(t, h, "p1"); got != 100 {
				t.Errorf("%d coins after a refusal", got)
			}
			level.Store(2)
			ask(t, h, "p1", earn(session, 1, 5, skerryv1.Durability_DURABLE)) // the refusal was not remembered
			if got := coins(t, h, "p1"); got != 105 {
				t.Errorf("%d coins at level 2", got)
			}
		})
	}
}

// Goal: a field of a document that a newer build added survives a rewrite by this one: replay, change, snapshot, reload.
// Method: a player is journaled as a newer build would, with fields of numbers that this build does not know.
func TestFieldsOfNewerBuildsSurvive(t *testing.T) {
	dir := t.TempDir()
	extra := func(text string) []byte {
		return protowire.AppendString(protowire.AppendTag(nil, 9000, protowire.BytesType), text)
	}
	document := codec.NewPlayer("Ann", time.Unix(1, 0), (*player.Rules)(nil).Defaults())
	document.ProtoReflect().SetUnknown(extra("of the document"))
	document.Profile.ProtoReflect().SetUnknown(extra("of the profile"))
	check := func(when string, h *Host, coins int64) {
		t.Helper()
		got := ask(t, h, "p1", get()).GetGetPlayer().GetPlayer()
		if string(got.ProtoReflect().GetUnknown()) != string(extra("of the document")) ||
			string(got.GetProfile().ProtoReflect().GetUnknown()) != string(extra("of the profile")) {
			t.Errorf("%s: the fields are gone: %q, %q", when, got.ProtoReflect().GetUnknown(), got.GetProfile().ProtoReflect().GetUnknown())
		}
		if got.GetProfile().GetCoins() != coins {
			t.Errorf("%s: %d coins, want %d", when, got.GetProfile().GetCoins(), coins)
		}
	}
	h, stop := startReal(t, dir)
	entry, err := codec.EncodeEntry(&storev1.Entry{PlayerEvents: []*storev1.PlayerEvent{{Event: &storev1.PlayerEvent_Created{Created: document}}}})
	if err != nil {
		t.Fatal(err)
	}
	key := playerKey("p1")
	p := persistence.PartitionOf(key, len(h.partitions))
	done := make(chan error, 1)
	change := &persistence.Change{Key: key, Epoch: *h.partitions[p].epoch.Load(), Entries: []persistence.Entry{{Seq: 1, Data: entry}}}
	if err = h.opts.Journal.Propose(p, change, func(err error) { done <- err }); err != nil {
		t.Fatal(err)
	}
	if err = <-done; err != nil {
		t.Fatal(err)
	}
	before := document.GetProfile().GetCoins()
	check("as replayed", h, before)
	session := ask(t, h, "p1", openRequest("s1")).GetOpenPlayerSession().GetSession()
	ask(t, h, "p1", earn(session, 1, 5, skerryv1.Durability_DURABLE))
	ask(t, h, "p1", saveRequest(session))
	check("as changed", h, before+5)
	stop()

	h, stop = startReal(t, dir)
	defer stop()
	check("as reloaded", h, before+5)
	found, err := h.opts.Storage.Load(t.Context(), p, key)
	if err != nil || found.Snapshot.Seq == 0 {
		t.Fatalf("no snapshot was loaded: %v", err)
	}
	stored, err := codec.DecodeEntity(found.Snapshot.Data)
	if err != nil || len(stored.GetPlayer().ProtoReflect().GetUnknown()) == 0 {
		t.Errorf("the snapshot does not have the field: %v", err)
	}
}
