package codec_test

import (
	"bytes"
	"encoding/json"
	"testing"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/skerry-dev/skerry/codec"
	"github.com/skerry-dev/skerry/codec/skerryv1"
)

// Goal: the JSON that game servers see. Method: a new player as text: zeros present, 64-bit numbers in strings, names in
// camelCase, an absent claim date absent.
func TestPlayerAsJSON(t *testing.T) {
	p := codec.NewPlayer("Ann", day, codec.Defaults{Level: 1, Coins: 100, HotbarSlots: 1, SoundVolume: 1})
	const want = `{"version":1,"name":"Ann",` +
		`"profile":{"level":1,"experience":"0","coins":"100","gems":"0","manaCrystals":"0"},` +
		`"statistics":{"gamesPlayed":"0","enemiesDefeated":"0","coinsEarned":"0","itemsCollected":"0","totalPlayTime":"0",` +
		`"blocksPlaced":"0","blocksBroken":"0"},` +
		`"inventory":{"hotbar":[{"itemId":0,"count":0,"maxStack":0}],"inventory":[]},` +
		`"dailyRewards":{"currentStreak":0,"totalDaysClaimed":0},"dungeonData":{"mobSpawnerSlots":[]},` +
		`"settings":{"musicVolume":0,"soundVolume":1,"enableNotifications":false},` +
		`"createdAt":"2026-08-01T12:30:00Z","lastLogin":"2026-08-01T12:30:00Z"}`
	text, err := protojson.MarshalOptions{EmitDefaultValues: true}.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	var compact bytes.Buffer // protojson varies its spaces
	if err := json.Compact(&compact, text); err != nil || compact.String() != want {
		t.Fatalf("got  %s\nwant %s\n(%v)", compact.String(), want, err)
	}
	got := &skerryv1.Player{}
	if err := protojson.Unmarshal(text, got); err != nil || !proto.Equal(got, p) {
		t.Fatalf("came back as %v (%v)", got, err)
	}
	numbers := `{"profile": {"coins": 9007199254740991, "gems": "12", "level": 3}}`
	if err := protojson.Unmarshal([]byte(numbers), got); err != nil || got.GetProfile().GetCoins() != 1<<53-1 || got.GetProfile().GetGems() != 12 {
		t.Fatalf("numbers and strings: %v (%v)", got, err)
	}
}
