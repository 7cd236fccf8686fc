package actors

import (
	"time"

	"github.com/skerry-dev/skerry/codec/skerryv1"
	"github.com/skerry-dev/skerry/persistence"
	"github.com/skerry-dev/skerry/persistence/budget"
)

// charge is a token that an opening was granted. It pays for the load that follows, and is given back when none does.
type charge struct {
	server persistence.Key
	limit  int64 // of the bytes that are read of a key in a minute
	spent  bool  // guarded by the entity's shard
}

// cold reports whether an opening would load its entity, here and now.
func (h *Host) cold(key persistence.Key) bool {
	p := h.partitionOf(key)
	if h.draining.Load() {
		return false
	}
	s := h.shardOf(p, key.ID)
	if epoch := h.partitions[p].epoch.Load(); epoch == nil || h.partitions[p].yields(*epoch) {
		return false // it is refused
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	a := s.activations[key]
	return a == nil || a.state == stopping || a.state == gone
}

// pay has the opening of an entity that is not in memory wait for a token of its server's budget. The opening knows its incarnation, and
// has passed everything else. atHead says that it comes from the head of its entity's line, which it keeps.
func (s *servers) pay(call *Call, key persistence.Key, profile string, atHead bool) opened {
	if profile == unlimited || !s.host.cold(call.Key) {
		return openingPasses
	}
	b := s.host.budgets
	limit := parse(profile).ReadBytes
	if wait := b.readWait(call.Key, limit); wait > 0 {
		b.refused[budget.Get].Add(1)
		call.Reply(nil, &BudgetError{Server: key, Class: budget.Get, RetryAfter: b.real(wait)})
		return openingRefused
	}
	if !atHead && !s.beginLine(call.Key) { // another opening came first, just now
		if s.lineUp(call) {
			return openingWaits
		}
		return s.open(call, openingOf(call.Request), false)
	}
	paid := func(err error) bool {
		if err != nil {
			call.Reply(nil, err)
			return false
		}
		call.charge = &charge{server: key, limit: limit}
		b.charging.Add(1)
		return true
	}
	pass := func(err error) {
		if paid(err) {
			s.host.route(call)
		}
		s.advance(call.Key)
	}
	request := &lease{server: key, class: budget.Get, tokens: 1, queue: true}
	request.done = func(answer leased, err error) {
		switch {
		case b.endOpening(request):
			pass(unreachable(err))
		case err == nil && answer.profile != unlimited: // it was refused meanwhile
			b.returnTokens(key, budget.Get, answer.tokens)
		}
	}
	b.beginOpening(request, call.Key, pass)
	answer, later, err := b.get(request)
	switch {
	case later:
		return openingWaits
	case !atHead:
		request.done(answer, err)
		return openingWaits
	case !b.endOpening(request): // it was refused meanwhile, and its line went on
		request.done(answer, err)
		return openingWaits
	case paid(unreachable(err)):
		return openingPasses
	default:
		return openingRefused
	}
}

// opening is one that waits for its token.
type opening struct {
	entity persistence.Key
	pass   func(error) // called once
}

// beginOpening notes an opening that may wait: refuse tells it that its entity is another node's.
func (b *budgets) beginOpening(r *lease, entity persistence.Key, refuse func(error)) {
	b.mu.Lock()
	b.mu.openings[r] = opening{entity, refuse}
	b.mu.Unlock()
}

// endOpening reports whether an opening still waited.
func (b *budgets) endOpening(r *lease) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	_, waited := b.mu.openings[r]
	delete(b.mu.openings, r)
	return waited
}

// left refuses the openings of a partition's entities that wait for tokens: this node does not own them any more.
func (b *budgets) left(p persistence.Partition) {
	var refused []opening
	b.mu.Lock()
	for r, waits := range b.mu.openings {
		if b.host.partitionOf(waits.entity) == p {
			refused = append(refused, waits)
			delete(b.mu.openings, r)
			b.cancelLocked(r) // one in another node's queue gives its token back when it comes
		}
	}
	b.mu.Unlock()
	b.poke()
	for _, waits := range refused {
		waits.pass(persistence.ErrNotOwner)
	}
}

// beginLine has what comes for an entity from now on wait; false: something waits already.
func (s *servers) beginLine(key persistence.Key) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.mu.lines[key] != nil {
		return false
	}
	s.mu.lines[key] = &line{}
	s.lines.Add(1)
	return true
}

// spendLocked notes that a call's token pays for the load of a, which has just been made for it. Called under the lock of the shard.
func (h *Host) spendLocked(call *Call, a *activation) {
	call.charge.spent = true
	h.budgets.mu.Lock()
	h.budgets.mu.charges[a] = call.charge
	h.budgets.mu.Unlock()
}

// unspent gives the token of a call back that paid for no load.
func (h *Host) unspent(call *Call) {
	s := h.shardOf(h.partitionOf(call.Key), call.Key.ID)
	s.mu.Lock()
	spent := call.charge.spent
	call.charge.spent = true
	s.mu.Unlock()
	if !spent {
		h.budgets.charging.Add(-1)
		h.budgets.returnTokens(call.charge.server, budget.Get, 1)
	}
}

// loaded notes that storage was read for a, and tells of it if somebody paid.
func (h *Host) loaded(a *activation, bytes int64) {
	b := h.budgets
	if b.charging.Load() == 0 {
		return
	}
	a.shard.mu.Lock()   // who made a may be about to say who pays
	a.shard.mu.Unlock() //nolint:staticcheck // see above
	b.mu.Lock()
	paid := b.mu.charges[a]
	delete(b.mu.charges, a)
	if paid != nil && paid.limit > 0 {
		b.mu.windows.add(a.key, budget.Get, b.host.budgetNow(), bytes)
	}
	b.mu.Unlock()
	if paid == nil {
		return
	}
	b.charging.Add(-1)
	h.charged(paid.server, budget.Get, a.key, bytes)
}

// charged tells of a load or a save that was paid for and has happened.
func (h *Host) charged(server persistence.Key, class budget.Class, key persistence.Key, bytes int64) {
	if h.opts.Events.Charged != nil {
		h.opts.Events.Charged(server, class, key, bytes, time.Now())
	}
}

// withBudgets adds what the account of a server says to an answer of its entity.
func (s *servers) withBudgets(call *Call) {
	seen := *call
	seen.Reply = func(r *skerryv1.Response, err error) {
		if err == nil {
			s.host.budgets.show(call.Key, r.GetRegisterServer().GetBudgets())
		}
		call.Reply(r, err)
	}
	s.host.route(&seen)
}

// maxWindows bounds the keys whose bytes are counted; of more, those that were quiet for a minute are forgotten, then any.
const maxWindows = 65536

// windows count the bytes that are loaded and saved of each key in the last minute.
type windows struct {
	of map[persistence.Key]*keyWindows
}

type keyWindows [budget.Classes]budget.Window

func (w *windows) add(key persistence.Key, class budget.Class, now time.Duration, bytes int64) {
	of := w.of[key]
	if of == nil {
		w.makeRoom(now)
		of = &keyWindows{}
		w.of[key] = of
	}
	of[class].Add(now, bytes)
}

func (w *windows) makeRoom(now time.Duration) {
	if len(w.of) < maxWindows {
		return
	}
	for key, of := range w.of {
		if of[budget.Get].Empty(now) && of[budget.Set].Empty(now) {
			delete(w.of, key)
		}
	}
	for key := range w.of {
		if len(w.of) < maxWindows*7/8 { // not again at the next one
			return
		}
		delete(w.of, key)
	}
}

// wait is how long it takes until so many bytes of a key stay within the limit.
func (w *windows) wait(key persistence.Key, class budget.Class, now time.Duration, limit, bytes int64) time.Duration {
	of := w.of[key]
	if of == nil || limit == 0 {
		return 0
	}
	return of[class].Wait(now, limit, bytes)
}

// readWait is how long it takes until a key may be loaded again; what it is going to cost is not known before.
func (b *budgets) readWait(key persistence.Key, limit int64) time.Duration {
	if limit == 0 {
		return 0
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.mu.windows.wait(key, budget.Get, b.host.budgetNow(), limit, 1)
}
