package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/skerry-dev/skerry/client"
)

const (
	readersEach  = 6 // at each node's door
	writersEach  = 8 // at each node's door, every other one with MEMORY
	doorPlayers  = 8 // of each writer
	doorPatience = 700 * time.Millisecond
	doorPause    = 2 * time.Millisecond // between two requests of one asker
)

// doors are clients that speak to one node each, whatever happens to it: they follow no hint and ask nobody else. Writers have
// players of their own. Readers ask for theirs and the load's, and know what these had at least when they asked. It needs
// both: an owner that is cut off shows nothing of a player while a write of it waits there, and the load's are asked of it.
type doors struct {
	cluster *cluster
	http    *http.Client
	stop    context.CancelFunc
	running sync.WaitGroup
	doors   [3]*door
	server  *client.Server
	writers []*writer
	all     []target // the load's players and the writers', those who write with DURABLE
}

// door is one node's.
type door struct {
	url           string
	reads, writes atomic.Int64 // that were asked
	read, written atomic.Int64 // that were answered

	mu struct {
		sync.Mutex
		accepted []span // writes
		stale    []error
		aim      []target // whom its readers ask for; anybody when empty
	}
}

// span is a write that was accepted.
type span struct {
	sent, answered time.Time
	durability     string
}

// writer is one client that writes at one door.
type writer struct {
	door       *door
	durability string
	players    []*written
	next       int
}

// written is a player of a writer, and what is known of its coins. It belongs to the writer.
type written struct {
	id    string
	at    *door
	base  int64
	acked atomic.Int64 // for readers beside
	doubt int64
}

// target is a player whose coins, once acknowledged, are never fewer.
type target interface {
	name() string
	least() int64
}

func (w *written) name() string { return w.id }
func (w *written) least() int64 { return w.base + w.acked.Load() }
func (a *account) name() string { return a.player.ID() }
func (a *account) least() int64 { return a.base + a.acked.Load() }

// asked is what was asked at a door, and answered.
type asked struct{ reads, read, writes, written int64 }

func (a asked) less(b asked) asked {
	return asked{a.reads - b.reads, a.read - b.read, a.writes - b.writes, a.written - b.written}
}

func (a asked) String() string {
	return fmt.Sprintf("%d of %d reads answered, %d of %d writes accepted", a.read, a.reads, a.written, a.writes)
}

// openDoors opens the writers' players.
func openDoors(ctx context.Context, c *cluster) (*doors, error) {
	d := &doors{cluster: c, http: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: readersEach + writersEach}}}
	var err error
	if d.server, err = c.client.RegisterServer(ctx, "doors", client.ServerOptions{}); err != nil {
		return nil, fmt.Errorf("register the doors' server: %w", err)
	}
	for _, a := range c.load.players {
		d.all = append(d.all, a)
	}
	for i, node := range c.Nodes() {
		d.doors[i] = &door{url: "http://" + node.Ready.HTTP + "/v1/players/"}
		for w := range writersEach {
			writer := &writer{door: d.doors[i], durability: []string{"DURABLE", "MEMORY"}[w%2]}
			for p := range doorPlayers {
				id := fmt.Sprintf("door%d-%d-%d", i, w, p)
				player, err := d.server.OpenPlayer(ctx, id, client.OpenOptions{})
				if err != nil {
					return nil, fmt.Errorf("open the doors' players: %w", err)
				}
				one := &written{id: id, at: d.doors[i], base: player.Document().GetProfile().GetCoins()}
				writer.players = append(writer.players, one)
				if writer.durability == "DURABLE" {
					d.all = append(d.all, one)
				}
			}
			d.writers = append(d.writers, writer)
		}
	}
	return d, nil
}

// begin lets everybody ask until end.
func (d *doors) begin(ctx context.Context) {
	ctx, d.stop = context.WithCancel(ctx)
	repeat := func(ask func(context.Context, *rand.Rand)) {
		rng := rand.New(rand.NewPCG(d.cluster.rng.Uint64(), 2)) //nolint:gosec // repeatable
		d.running.Go(func() {
			for pause(ctx, doorPause) == nil {
				asking, cancel := context.WithTimeout(ctx, doorPatience)
				ask(asking, rng)
				cancel()
			}
		})
	}
	for _, door := range d.doors {
		for i := range readersEach {
			repeat(func(ctx context.Context, rng *rand.Rand) { d.read(ctx, door, rng, i == 0) })
		}
	}
	for _, w := range d.writers {
		repeat(func(ctx context.Context, _ *rand.Rand) { d.write(ctx, w) })
	}
}

func (d *doors) end() {
	d.stop()
	d.running.Wait()
	d.http.CloseIdleConnections()
}

// aim has the readers at a node's door ask for what it owns of the players that are written at other doors, but for one who asks
// for anybody, as readers at other doors do.
func (d *doors) aim(node int, owns func(id string) bool) {
	var owned []target
	for _, t := range d.all {
		if w, ok := t.(*written); ok && w.at != d.doors[node] && owns(w.id) {
			owned = append(owned, w)
		}
	}
	for i, door := range d.doors {
		door.mu.Lock()
		door.mu.aim = nil
		if i == node {
			door.mu.aim = owned
		}
		door.mu.Unlock()
	}
}

// read asks a node for a player's coins.
func (d *doors) read(ctx context.Context, at *door, rng *rand.Rand, anybody bool) {
	at.mu.Lock()
	aim := at.mu.aim
	at.mu.Unlock()
	if len(aim) == 0 || anybody {
		aim = d.all
	}
	of := aim[rng.IntN(len(aim))]
	least, began := of.least(), time.Now()
	at.reads.Add(1)
	var answer struct {
		Player struct {
			Profile struct {
				Coins string `json:"coins"`
			} `json:"profile"`
		} `json:"player"`
	}
	if d.ask(ctx, http.MethodGet, at.url+of.name(), nil, &answer) != nil {
		return
	}
	at.read.Add(1)
	coins, err := strconv.ParseInt(answer.Player.Profile.Coins, 10, 64)
	if err == nil && coins < least {
		err = fmt.Errorf("asked %s for %s: %d coins, after %d were acknowledged", at.url, of.name(), coins, least)
	}
	if err != nil {
		at.mu.Lock()
		at.mu.stale = append(at.mu.stale, fmt.Errorf("at %v: %w", began.Format(time.StampMilli), err))
		at.mu.Unlock()
	}
}

// write has a node write a coin.
func (d *doors) write(ctx context.Context, w *writer) {
	w.next++
	p := w.players[w.next%len(w.players)]
	sent := time.Now()
	w.door.writes.Add(1)
	err := d.ask(ctx, http.MethodPost, w.door.url+p.id+"/commands", map[string]any{
		"receipt": fmt.Sprint(p.id, "-", w.next), "durability": w.durability,
		"commands": []any{map[string]any{"earn": map[string]any{"currency": "COINS", "amount": 1}}},
	}, nil)
	if errors.Is(err, errNotApplied) {
		return
	}
	if err != nil {
		p.doubt++
		return
	}
	p.acked.Add(1)
	w.door.written.Add(1)
	w.door.mu.Lock()
	w.door.mu.accepted = append(w.door.mu.accepted, span{sent, time.Now(), w.durability})
	w.door.mu.Unlock()
}

// errNotApplied is a refusal of which the node says that nothing was done.
var errNotApplied = errors.New("not applied")

// ask sends one request, once.
func (d *doors) ask(ctx context.Context, method, url string, body, answer any) error {
	var text bytes.Buffer
	if body != nil {
		if err := json.NewEncoder(&text).Encode(body); err != nil {
			return err
		}
	}
	request, err := http.NewRequestWithContext(ctx, method, url, &text)
	if err != nil {
		return err
	}
	response, err := d.http.Do(request)
	if err != nil {
		return fmt.Errorf("ask: %w", err)
	}
	defer response.Body.Close()
	data, err := io.ReadAll(response.Body)
	if err != nil {
		return fmt.Errorf("ask: %w", err)
	}
	if response.StatusCode != http.StatusOK {
		var refusal struct{ Outcome string }
		if json.Unmarshal(data, &refusal) == nil && refusal.Outcome == "NOT_APPLIED" {
			return fmt.Errorf("%w: %s", errNotApplied, data)
		}
		return fmt.Errorf("answered %d: %s", response.StatusCode, data)
	}
	if answer == nil {
		return nil
	}
	return json.Unmarshal(data, answer)
}

// counts are of a node's door, so far.
func (d *doors) counts(node int) asked {
	door := d.doors[node]
	return asked{door.reads.Load(), door.read.Load(), door.writes.Load(), door.written.Load()}
}

// judge returns an error when a node accepted a write that was sent and answered between the two moments.
func (d *doors) judge(node int, from, until time.Time) error {
	door := d.doors[node]
	door.mu.Lock()
	defer door.mu.Unlock()
	for _, s := range door.mu.accepted {
		if !s.sent.Before(from) && s.answered.Before(until) {
			return fmt.Errorf("a %s write was accepted without a majority, %v after the election time-out", s.durability, s.sent.Sub(from))
		}
	}
	door.mu.accepted = nil
	return nil
}

// stale returns an error when some reader saw less than it had to.
func (d *doors) stale() error {
	var errs []error
	for _, door := range d.doors {
		door.mu.Lock()
		if len(door.mu.stale) > 0 {
			errs = append(errs, fmt.Errorf("%d stale reads, the first: %w", len(door.mu.stale), door.mu.stale[0]))
		}
		door.mu.Unlock()
	}
	return errors.Join(errs...)
}

// verify reads the writers' players. Nothing may be in flight.
func (d *doors) verify(ctx context.Context) error {
	errs := []error{d.stale()}
	total := asked{}
	for i := range d.doors {
		n := d.counts(i)
		total = asked{total.reads + n.reads, total.read + n.read, total.writes + n.writes, total.written + n.written}
	}
	fmt.Println("at the nodes' own doors:", total)
	for _, w := range d.writers {
		for _, p := range w.players {
			coins, err := d.cluster.load.coins(ctx, p.id)
			if err != nil {
				return err
			}
			if got, acked := coins-p.base, p.acked.Load(); w.durability == "DURABLE" && got < acked || got > acked+p.doubt {
				errs = append(errs, fmt.Errorf("%s (%s): %d acknowledged, %d in doubt, %d there", p.id, w.durability, acked, p.doubt, got))
			}
		}
	}
	return errors.Join(errs...)
}
