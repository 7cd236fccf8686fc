package loadtest

import (
	"context"
	"fmt"
	"sync"

	"github.com/skerry-dev/skerry/client"
	"github.com/skerry-dev/skerry/codec/skerryv1"
)

// gameServer is a virtual game server.
type gameServer struct {
	number int
	id     string
	client *client.Client
	server *client.Server
	worlds []*gameWorld

	mu     sync.Mutex
	open   int
	crowds []crowd
}

// gameWorld is a world that a game server has open.
type gameWorld struct {
	account *account

	mu      sync.Mutex
	world   *client.World
	opening bool
}

// session is the world's open session; nil while it has none.
func (w *gameWorld) session() *client.World {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.world == nil || w.world.Err() != nil {
		return nil
	}
	return w.world
}

// virtual is a virtual player.
type virtual struct {
	id      string
	account *account

	mu      sync.Mutex
	session uint32 // of player
	player  *client.Player
	server  *gameServer
	steps   []func() // joins and leaves that wait for their turn, at most maxSteps
	running bool
}

// maxSteps bounds how many joins and leaves of one player wait for each other.
const maxSteps = 16

// current is the open session of a number, nil when it is not open (yet, or any more).
func (v *virtual) current(session uint32) (*client.Player, *gameServer) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.player == nil || v.session != session || v.player.Err() != nil {
		return nil, nil
	}
	return v.player, v.server
}

// any is whatever session is open.
func (v *virtual) any() *client.Player {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.player == nil || v.player.Err() != nil {
		return nil
	}
	return v.player
}

// set replaces the session, and keeps count of the servers' players.
func (v *virtual) set(session uint32, p *client.Player, s *gameServer, e *engine) {
	v.mu.Lock()
	before := v.server
	v.session, v.player, v.server = session, p, s
	v.mu.Unlock()
	if before != nil {
		before.count(-1, e)
	}
	if s != nil {
		s.count(+1, e)
	}
}

// count notes that the server's players changed.
func (s *gameServer) count(by int, e *engine) {
	s.mu.Lock()
	s.open += by
	s.crowds = append(s.crowds, crowd{e.sinceBegan(), s.open})
	players := s.open
	s.mu.Unlock()
	s.server.SetPlayers(int32(players)) //nolint:gosec // at most some thousands
}

// queue has a step done after the player's earlier ones. It reports false when too many wait.
func (v *virtual) queue(e *engine, step func()) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	if len(v.steps) >= maxSteps {
		return false
	}
	v.steps = append(v.steps, step)
	if v.running {
		return true
	}
	if !e.blocking(v.work) {
		v.steps = v.steps[:len(v.steps)-1]
		return false
	}
	v.running = true
	return true
}

// work does the steps until there are none.
func (v *virtual) work() {
	for {
		v.mu.Lock()
		if len(v.steps) == 0 {
			v.running = false
			v.mu.Unlock()
			return
		}
		step := v.steps[0]
		v.steps = v.steps[1:]
		v.mu.Unlock()
		step()
	}
}

// openServers registers the game servers and opens their worlds.
func (e *engine) openServers(ctx context.Context) error {
	for i := range e.s.Servers {
		s := &gameServer{number: i, id: fmt.Sprintf("%ss%d", e.prefix, i), client: e.clients[i%len(e.clients)]}
		interval := max(scale(heartbeat, e.opts.Minute), heartbeat/10)
		if e.opts.Addr != "" {
			interval = heartbeat
		}
		server, err := s.client.RegisterServer(ctx, s.id, client.ServerOptions{Budget: e.s.Budget, HeartbeatInterval: interval})
		if err != nil {
			return fmt.Errorf("register: %w", err)
		}
		s.server = server
		e.servers = append(e.servers, s)
		for n := range e.s.Worlds {
			if err := e.openWorld(ctx, s, n); err != nil {
				return err
			}
		}
	}
	return nil
}

// openWorld opens, or makes, one of a server's worlds with its chests.
func (e *engine) openWorld(ctx context.Context, s *gameServer, n int) error {
	id := fmt.Sprintf("%sw%d~%d", e.prefix, s.number, n)
	names := make([]string, blockIDs+1)
	for i := range names {
		names[i] = fmt.Sprintf("block-%d", i)
	}
	names[0] = "air"
	world, err := s.server.OpenWorld(ctx, id, client.WorldOptions{
		IfTaken: client.Take, Create: &skerryv1.Create{BlockNames: names, Height: 64, OwnerName: "Load"},
	})
	if err != nil {
		return fmt.Errorf("open a world: %w", err)
	}
	w := &gameWorld{account: e.ledger.of("world/" + id), world: world}
	for i := range e.s.Chests {
		if err = world.PlaceChest(ctx, chestAt(i)); err != nil && !isCode(err, client.ErrChestExists) {
			return fmt.Errorf("place a chest: %w", err)
		}
	}
	has, err := chestItems(ctx, s.client, id)
	if err != nil {
		return err
	}
	w.account.begin(has)
	s.worlds = append(s.worlds, w)
	return nil
}

// chestItems counts what is in a world's chests.
func chestItems(ctx context.Context, c *client.Client, world string) (amounts, error) {
	var has amounts
	for chest, err := range c.Chests(ctx, world) {
		if err != nil {
			return has, fmt.Errorf("read the chests of %s: %w", world, err)
		}
		addItems(&has, chest.GetSlots())
	}
	return has, nil
}

// reopen opens a world again whose session is over.
func (e *engine) reopen(ctx context.Context, s *gameServer, w *gameWorld) {
	w.mu.Lock()
	if w.opening || w.world.Err() == nil {
		w.mu.Unlock()
		return
	}
	w.opening = true
	id := w.world.ID()
	w.mu.Unlock()
	began := e.blocking(func() {
		asking, cancel := patience(ctx)
		defer cancel()
		again, err := s.server.OpenWorld(asking, id, client.WorldOptions{IfTaken: client.Take})
		w.mu.Lock()
		defer w.mu.Unlock()
		w.opening = false
		if err == nil {
			w.world = again
		}
	})
	if !began {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.opening = false
	}
}
