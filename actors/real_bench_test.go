package actors

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/structpb"

	"github.com/skerry-dev/skerry/codec/skerryv1"
	"github.com/skerry-dev/skerry/persistence"
	"github.com/skerry-dev/skerry/persistence/pebblestore"
)

// BenchmarkColdActivationFromStore is N4: random ones of 40,000 players of 4 KiB in the real store, whose tables the
// operating system has cached: each is loaded, decoded, activated and asked; they all leave again every 20,000.
// bare-load is the store's part of it alone, by one goroutine.
func BenchmarkColdActivationFromStore(b *testing.B) {
	const players = 40_000
	h, disk, _ := startOn(b, pebblestore.DiskFS(), b.TempDir(), 32, Options{MaxCalls: 1 << 16})
	filler := strings.Repeat("x", 3500)
	opened := each(b, h, players, func(int) *skerryv1.Request { return openRequest("s1") })
	each(b, h, players, func(i int) *skerryv1.Request {
		return &skerryv1.Request{Request: &skerryv1.Request_ExecutePlayer{ExecutePlayer: &skerryv1.ExecutePlayerRequest{
			Session: opened[i].GetOpenPlayerSession().GetSession(), CommandId: 1, Commands: []*skerryv1.PlayerCommand{{
				Command: &skerryv1.PlayerCommand_SetAttribute{SetAttribute: &skerryv1.SetAttribute{Path: "filler", Value: structpb.NewStringValue(filler)}},
			}},
		}}}
	})
	leave := func() {
		for h.Stats().Activations > 0 { // bounded by the benchmark's own time-out
			h.evict(0)
			<-time.After(time.Millisecond)
		}
	}
	leave()
	if err := disk.Flush(); err != nil {
		b.Fatal(err)
	}
	b.Run("bare-load", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			key := playerKey(fmt.Sprint("p", rand.IntN(players)))
			if _, err := disk.Load(b.Context(), persistence.PartitionOf(key, 32), key); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("activation", func(b *testing.B) {
		slots := make(chan struct{}, 256)
		reply := func(_ *skerryv1.Response, err error) {
			if err != nil {
				b.Error(err)
			}
			<-slots
		}
		order := rand.Perm(players)
		session := &skerryv1.Request{Request: &skerryv1.Request_GetPlayerSession{GetPlayerSession: &skerryv1.GetPlayerSessionRequest{}}}
		b.ReportAllocs()
		n := 0
		for b.Loop() {
			slots <- struct{}{}
			h.Do(&Call{Key: playerKey(fmt.Sprint("p", order[n%players])), Request: session, Reply: reply})
			if n++; n%20_000 == 0 {
				b.StopTimer()
				leave()
				b.StartTimer()
			}
		}
		for range cap(slots) {
			slots <- struct{}{}
		}
		b.StopTimer()
		leave()
	})
}
