// Goal: whatever happens to nodes and partitions, living servers keep their sessions, and dead ones keep none.
// Method: a seed draws openings, handovers, losses, deaths of nodes and of servers, and lost notes, in fake time.
package actors

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/skerry-dev/skerry/codec/skerryv1"
	"github.com/skerry-dev/skerry/persistence"
)

// fire is a run of one seed.
type fire struct {
	*nodes
	rng     *rand.Rand
	alive   map[string]bool   // servers
	names   map[string]string // incarnations
	holders map[string]string // of each player: who opened last
	unknown map[string]bool   // players of whom that is not known for sure
}

func (f *fire) step() {
	f.Helper()
	opened := f.open()                                     // they are under way while something happens
	p := persistence.Partition(f.rng.IntN(nodePartitions)) //nolint:gosec // a few
	to := f.all[f.rng.IntN(len(f.all))]
	switch f.rng.IntN(12) {
	case 0, 1:
		if to != f.owner(p) {
			f.move(p, to)
		}
	case 2:
		f.leave(p, false)
		time.Sleep(time.Duration(f.rng.IntN(4000)) * time.Millisecond)
		f.claim(p, to)
	case 3:
		f.mu.Lock()
		f.deaf = !f.deaf
		deaf := f.deaf
		f.mu.Unlock()
		if !deaf {
			f.hear()
		}
	case 4:
		if len(f.all) > 2 && f.rng.IntN(3) == 0 {
			f.die(to)
		}
	case 5:
		if server := fmt.Sprint("s", f.rng.IntN(4)); f.alive[server] && server != "s0" && f.rng.IntN(3) == 0 {
			f.alive[server] = false
		}
	}
	opened()
	f.beats()
	time.Sleep(time.Duration(f.rng.IntN(1500)) * time.Millisecond)
}

// open opens sessions of players, one for each, and returns what waits for the answers.
func (f *fire) open() func() {
	answers := map[string]<-chan answer{}
	for range 4 {
		player, server := fmt.Sprint("p", f.rng.IntN(20)), fmt.Sprint("s", f.rng.IntN(4))
		if f.alive[server] && answers[player] == nil {
			f.holders[player], answers[player] = server, f.do(playerKey(player), openRequest(server))
		}
	}
	return func() {
		for player, opened := range answers {
			f.unknown[player] = (<-opened).err != nil
		}
	}
}

// beats is what the living servers say.
func (f *fire) beats() {
	f.Helper()
	for i := range 4 {
		server := fmt.Sprint("s", i)
		if !f.alive[server] {
			continue
		}
		got := <-f.do(serverKey("main", server), &skerryv1.Request{Request: &skerryv1.Request_HeartbeatServer{
			HeartbeatServer: &skerryv1.HeartbeatServerRequest{Server: server, Incarnation: f.names[server]},
		}})
		if got.err != nil && !errors.Is(got.err, persistence.ErrOutcomeUnknown) {
			f.Errorf("heartbeat of %s: %v", server, got.err)
		}
	}
}

func (f *fire) check() {
	f.Helper()
	lists := map[string][]string{}
	for i := range 4 {
		server := fmt.Sprint("s", i)
		got := f.server(server)
		lists[server] = names(got)
		if got.GetAlive() != f.alive[server] {
			f.Errorf("%s: alive is %v, want %v", server, got.GetAlive(), f.alive[server])
		}
	}
	for player, server := range f.holders {
		held := f.holder(player)
		want := server
		if !f.alive[server] {
			want = ""
		}
		if held != want && !f.unknown[player] {
			f.Errorf("%s, opened by %s, is held by %q", player, server, held)
		}
		for id, list := range lists {
			if slices.Contains(list, "player/"+player) != (id == held) {
				f.Errorf("%s is held by %q, and %s has %v", player, held, id, list)
			}
		}
	}
}

func TestServersUnderFire(t *testing.T) {
	for seed := range uint64(12) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := &fire{
					nodes: newNodes(t, 4), rng: rand.New(rand.NewPCG(seed, 0)), //nolint:gosec // a test
					alive: map[string]bool{}, names: map[string]string{}, holders: map[string]string{}, unknown: map[string]bool{},
				}
				servers := []string{"s0", "s1", "s2", "s3"}
				for _, server := range servers {
					f.alive[server] = true
					f.names[server] = f.must(serverKey("main", server), &skerryv1.Request{Request: &skerryv1.Request_RegisterServer{
						RegisterServer: &skerryv1.RegisterServerRequest{Server: server},
					}}).GetRegisterServer().GetIncarnation()
				}
				for range 120 {
					f.step()
				}
				f.hear()
				for range 70 {
					f.beats()
					time.Sleep(time.Second)
				}
				f.check()
			})
		})
	}
}
