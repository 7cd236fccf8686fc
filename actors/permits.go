package actors

import (
	"github.com/skerry-dev/skerry/codec"
	"github.com/skerry-dev/skerry/persistence"
	"github.com/skerry-dev/skerry/persistence/budget"
)

// saveCause says why a save is to begin, and with that what it does when its game server has no token for it now.
type saveCause uint8

const (
	byInterval saveCause = iota // it waits, as long as that takes
	byRequest                   // somebody waits for it: it queues, or is refused
	byEnd                       // the activation is about to end: it does without
	byNeed                      // the journal grows too long, or what is stored is damaged: it costs nothing
)

// beginSave begins a snapshot of what is dirty, unless one is on its way, or sees to one later.
func (a *activation) beginSave(why saveCause) {
	if a.save != nil || !a.dirty() || a.mode > finishing {
		return
	}
	p, ok := a.permitted(why)
	if !ok {
		return
	}
	a.startSave(p)
	a.trySave()
}

// startSave notes the save that [activation.trySave] makes.
func (a *activation) startSave(p permit) {
	a.host.autosave.remove(a)
	a.host.budgets.forget(a)
	a.importance = budget.Routine
	a.save = &saving{began: a.host.now(), permit: p}
}

// permitted reports whether a save may begin now, with what it costs. When it may not, it comes later, if its cause waits.
func (a *activation) permitted(why saveCause) (permit, bool) {
	server, charged := a.payer()
	if !charged || why == byNeed {
		return permit{}, true
	}
	if a.host.opts.Naive {
		why = byRequest
	}
	w := a.cost()
	switch why {
	case byRequest:
		return a.askForSave(server, w)
	case byEnd:
		if a.mode == finishing && a.reason == byShutdown {
			w.importance = max(w.importance, budget.Shutdown)
		}
		return a.host.budgets.permit(a, server, w, false)
	default:
		a.host.autosave.remove(a) // the purse has it
		return a.host.budgets.permit(a, server, w, true)
	}
}

// askForSave has a save wait in the queue of its server's account, where nothing of this entity waits.
func (a *activation) askForSave(server persistence.Key, w want) (permit, bool) {
	if a.asking {
		return permit{}, false
	}
	p, waits, err := a.host.budgets.ask(a, server, w)
	a.asking = waits
	if err != nil {
		a.refuseAsked(err)
	}
	return p, err == nil && !waits
}

// payer is the game server for which the entity is saved: that of its newest session, open or not.
func (a *activation) payer() (persistence.Key, bool) {
	entity := a.entity
	if a.key.Kind == persistence.KindServer {
		return persistence.Key{}, false
	}
	if entity == nil { // it stays packed: its save needs no more
		unpacked, err := codec.DecodeEntity(a.packed)
		if err != nil {
			return persistence.Key{}, false
		}
		entity = unpacked
	}
	sessions := entity.GetSessions()
	if len(sessions) == 0 {
		return persistence.Key{}, false
	}
	last := sessions[len(sessions)-1]
	return serverKey(a.key.Space, last.GetServer()), last.GetIncarnation() != ""
}

// cost is what a save of the entity as it is now may cost at most.
func (a *activation) cost() want {
	w := want{importance: a.importance, since: a.dirtySince, tokens: 1, bytes: a.size.Load()}
	if a.parts == nil {
		return w
	}
	w.bytes = int64(a.parts.main)
	if a.parts.dirty > 0 && a.unpack() == nil {
		column := int64(a.entity.GetWorld().GetHeight()) * 16 * 16 * 2
		for _, p := range a.parts.chunks {
			if p.firstDirty != 0 {
				w.bytes += max(p.bytes, column) + column/4
			}
		}
	}
	w.tokens = max((w.bytes+tokenBytes-1)/tokenBytes, 1)
	return w
}

// receiveGrant begins the save that waited for tokens, if it is still wanted.
func (a *activation) receiveGrant(g *saveGrant) {
	a.queued.Add(-1)
	defer a.afterMessage()
	if g.asked {
		a.asking = false
	}
	switch {
	case g.err != nil:
		a.refuseAsked(g.err)
	case a.save != nil || !a.dirty() || a.mode > finishing:
		a.host.budgets.unused(g.permit)
	case g.tokens > 0 && g.tokens < a.cost().tokens: // it grew
		a.host.budgets.unused(g.permit)
		a.beginSave(byInterval)
	default:
		a.startSave(g.permit)
		a.trySave()
	}
}

// refuseAsked answers those who asked for a save that its game server's budget does not allow. Autosave comes to it later.
func (a *activation) refuseAsked(err error) {
	if a.host.opts.Naive {
		a.tellHolder(err)
		a.skipSave = a.mode == finishing
		a.host.autosave.push(a, a.dirtySince)
	}
	waiting := a.saveWaiters[:0]
	for _, w := range a.saveWaiters {
		if !asksForSave(w.call) {
			waiting = append(waiting, w)
			continue
		}
		a.host.answer(a, w.call, nil, err)
	}
	clear(a.saveWaiters[len(waiting):])
	a.saveWaiters = waiting
}

// asksForSave reports whether a call wants a snapshot and nothing else.
func asksForSave(c *Call) bool {
	return c.Request.GetSavePlayer() != nil || c.Request.GetSaveWorld() != nil
}

// leaves reports whether the reply to the end of a session waits for the snapshot: one begins then, with the next try. Without a token
// it does not: it is answered when its end is in the journal, and the snapshot comes first of all later. entry says that the end is new.
func (a *activation) leaves(c *Call, entry bool) bool {
	importance := budget.Leave
	if c.reaps {
		importance = budget.Shutdown
	}
	if entry {
		a.importance = max(a.importance, importance)
	}
	server, charged := a.payer()
	if a.mode > finishing || a.save != nil && !charged {
		return true
	}
	if a.save != nil {
		return a.host.budgets.isFree(server) // else its own comes after this one
	}
	w := a.cost()
	w.importance = max(w.importance, importance)
	p := permit{}
	if charged {
		ok := false
		if a.host.opts.Naive {
			if p, ok = a.askForSave(server, w); ok {
				a.startSave(p)
			}
			return ok
		}
		if p, ok = a.host.budgets.permit(a, server, w, true); !ok {
			a.host.autosave.remove(a)
			return false
		}
	}
	a.startSave(p)
	return true
}

// pay tells of what a save stored that was charged, and gives back what it did not need.
func (a *activation) pay(s *saving) {
	if s.tokens == 0 {
		return
	}
	b := a.host.budgets
	used := min(s.tokens, (s.stored+tokenBytes-1)/tokenBytes)
	if s.stored > 0 {
		b.wrote(a.key, s.stored)
		a.host.charged(s.server, budget.Set, a.key, s.stored)
	}
	if unused := s.tokens - used; unused > 0 {
		b.returnTokens(s.server, budget.Set, unused)
	}
	s.permit = permit{}
}

// isFree reports whether saves for a server are known to cost nothing.
func (b *budgets) isFree(key persistence.Key) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	profile, _ := b.profileLocked(key)
	return profile != nil && !profile.Limited
}

// wrote counts bytes that were stored of a key.
func (b *budgets) wrote(key persistence.Key, bytes int64) {
	b.mu.Lock()
	b.mu.windows.add(key, budget.Set, b.host.budgetNow(), bytes)
	b.mu.Unlock()
}
