package world

import (
	"errors"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/skerry-dev/skerry/actors/items"
	"github.com/skerry-dev/skerry/codec/skerryv1"
	"github.com/skerry-dev/skerry/codec/storev1"
)

// FuzzDecide: no bytes that decode as a command can crash the rules or make an invalid world.
func FuzzDecide(f *testing.F) {
	for _, seed := range []string{
		`{"setBlocks":{"blocks":[0,0,0,1,-17,7,33,2]},"as":"7"}`, `{"clearChunk":{"x":2,"z":2}}`, `{"placeChest":{"x":5,"y":5,"z":5}}`,
		`{"putChunk":{"chunk":{"palette":["air","2"],"runs":[0,4000,1,96],"heightMap":[1]}}}`, `{"putChunk":{"chunk":{"edits":[0,0,0,1]}}}`,
		`{"chestPut":{"x":0,"y":0,"z":0,"slot":2,"itemId":1,"count":3,"metadata":{"a":[1]}}}`, `{"chestTake":{"x":-1,"y":0,"z":-16,"itemId":3,"count":70}}`,
		`{"chestMove":{"from":{"x":-1,"y":0,"z":-16},"to":{"x":0,"y":0,"z":0},"count":3}}`, `{"setRole":{"player":"5","role":"BUILDER"}}`,
		`{"claim":{"player":"5"}}`, `{"giveAway":{"player":"5","name":"x"}}`, `{"rename":{"name":"x"}}`, `{"describe":{"description":"x"}}`,
	} {
		data, err := command(f, seed).MarshalVT()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		cmd := &skerryv1.WorldCommand{}
		if cmd.UnmarshalVT(data) != nil {
			return
		}
		l := island(t)
		for _, at := range Needs(execute([]*skerryv1.WorldCommand{cmd})) {
			l.chunk(at)
		}
		before := l.fingerprint()
		events, _, err := l.decide(cmd)
		if l.fingerprint() != before {
			t.Fatal("deciding changed the world")
		}
		if err != nil {
			if _, ok := errors.AsType[*items.Refusal](err); !ok || events != nil {
				t.Fatalf("%v, %v", events, err)
			}
			return
		}
		for _, event := range events {
			data, err := proto.Marshal(event) // checks UTF-8, which MarshalVT does not
			if err != nil {
				t.Fatal(err)
			}
			read := &storev1.WorldEvent{}
			if err := proto.Unmarshal(data, read); err != nil {
				t.Fatal(err)
			}
			l.evolve([]*storev1.WorldEvent{read})
		}
		if err := Check(nil, l.world); err != nil {
			t.Fatal(err)
		}
		for at, c := range l.chunks {
			if err := CheckChunk(nil, l.world, c); err != nil {
				t.Fatalf("%v: %v", at, err)
			}
		}
	})
}

// FuzzEvolveChunk: no event makes what is no chunk, and one that is refused changes nothing.
func FuzzEvolveChunk(f *testing.F) {
	l := island(f)
	for _, event := range l.events {
		data, err := event.MarshalVT()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		event := &storev1.WorldEvent{}
		if event.UnmarshalVT(data) != nil {
			return
		}
		for _, from := range l.chunks {
			c := from.Clone()
			err := EvolveChunk(c, event)
			switch problem := c.problem(); {
			case err != nil && (!errors.Is(err, ErrUnknownEvent) || fingerprint(c) != fingerprint(from)):
				t.Fatalf("%v changed the chunk", err)
			case problem != "":
				t.Fatalf("%v made %s", event, problem)
			}
		}
	})
}
