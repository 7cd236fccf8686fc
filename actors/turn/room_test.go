package turn_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"google.golang.org/protobuf/types/known/structpb"

	"github.com/skerry-dev/skerry/actors/player"
	"github.com/skerry-dev/skerry/actors/turn"
	"github.com/skerry-dev/skerry/codec/skerryv1"
	"github.com/skerry-dev/skerry/codec/storev1"
)

// heavy is a document of about n KiB.
func heavy(n int) *skerryv1.Player {
	p := &skerryv1.Player{Inventory: &skerryv1.Inventory{}}
	for range n {
		metadata, _ := structpb.NewStruct(map[string]any{"m": strings.Repeat("x", 1000)})
		p.Inventory.Inventory = append(p.Inventory.Inventory, &skerryv1.ItemStack{ItemId: 1, Count: 1, Metadata: metadata})
	}
	return p
}

func replaced(kib int) *storev1.PlayerEvent {
	return &storev1.PlayerEvent{Event: &storev1.PlayerEvent_DocumentReplaced{DocumentReplaced: heavy(kib)}}
}

// A document that grows step by step is refused at the bound, whichever way it comes there, and may always shrink.
func TestDocumentsAreBounded(t *testing.T) {
	var room turn.Room
	state := &storev1.Entity{Document: &storev1.Entity_Player{Player: heavy(100)}}
	apply := func(entry *storev1.Entry) error {
		err := room.Check(state, entry)
		if err == nil {
			state.Document = &storev1.Entity_Player{Player: entry.GetPlayerEvents()[0].GetDocumentReplaced()}
		}
		return err
	}
	var err error
	at := 100
	for ; err == nil && at < 5000; at += 100 {
		err = apply(&storev1.Entry{Outcome: &storev1.Outcome{}, PlayerEvents: []*storev1.PlayerEvent{replaced(at)}})
	}
	wrong, ok := errors.AsType[*turn.RequestError](err)
	if size := state.GetPlayer().SizeVT(); !ok || !errors.Is(err, turn.ErrTooLarge) || wrong.Field != "commands" ||
		size > turn.MaxDocumentBytes || size < turn.MaxDocumentBytes-200<<10 {
		t.Errorf("refused with %v at %d bytes", err, size)
	}
	state.Document = &storev1.Entity_Player{Player: heavy(3000)} // of an older version
	if err := apply(&storev1.Entry{PlayerEvents: []*storev1.PlayerEvent{replaced(3001)}}); !errors.Is(err, turn.ErrTooLarge) {
		t.Errorf("larger still: %v", err)
	}
	if err := apply(&storev1.Entry{Opened: &storev1.Session{}, PlayerEvents: []*storev1.PlayerEvent{replaced(3001)}}); err != nil {
		t.Errorf("an opening: %v", err)
	}
	if err := apply(&storev1.Entry{PlayerEvents: []*storev1.PlayerEvent{replaced(2900)}}); err != nil {
		t.Errorf("smaller, and still too large: %v", err)
	}
	if err := room.Check(&storev1.Entity{}, &storev1.Entry{Opened: &storev1.Session{}, PlayerEvents: []*storev1.PlayerEvent{
		{Event: &storev1.PlayerEvent_Created{Created: heavy(3000)}},
	}}); !errors.Is(err, turn.ErrTooLarge) {
		t.Errorf("a new player: %v", err)
	}
}

// Many small events are as much as a large one.
func TestSmallEventsAreCounted(t *testing.T) {
	var room turn.Room
	document := heavy(2400)
	state := &storev1.Entity{Document: &storev1.Entity_Player{Player: document}}
	var err error
	for i := 0; err == nil && i < 10_000; i++ {
		event := &storev1.PlayerEvent{Event: &storev1.PlayerEvent_AttributeSet{AttributeSet: &storev1.AttributeSet{
			Path: fmt.Sprintf("a%d.b.c.d", i), Value: structpb.NewStringValue(strings.Repeat("x", 30)),
		}}}
		if err = room.Check(state, &storev1.Entry{Outcome: &storev1.Outcome{}, PlayerEvents: []*storev1.PlayerEvent{event}}); err == nil {
			if failed := player.Evolve(document, event); failed != nil {
				t.Fatal(failed)
			}
		}
	}
	if size := document.SizeVT(); !errors.Is(err, turn.ErrTooLarge) || size > turn.MaxDocumentBytes || size < turn.MaxDocumentBytes-1000 {
		t.Errorf("refused with %v at %d bytes", err, size)
	}
}
