package loadtest

import (
	"cmp"
	"fmt"
	"slices"
	"sync"
	"time"
)

// quantity is something that can be counted in an entity.
type quantity uint8

// The quantities; from qItem on, the items of the game.
const (
	qNone quantity = iota
	qCoins
	qPlayTime
	qEnemies
	qItem
	quantities = qItem + gameItems
)

// gameItems is how many kinds of items there are, with the ids from 1.
const gameItems = 6

func itemQuantity(id int32) quantity { return qItem + quantity(id-1) } //nolint:gosec // ids are 1 to gameItems

func (q quantity) String() string {
	switch q {
	case qNone:
		return "nothing"
	case qCoins:
		return "coins"
	case qPlayTime:
		return "play time"
	case qEnemies:
		return "enemies"
	default:
		return fmt.Sprintf("item %d", q-qItem+1)
	}
}

// amounts are how much there is of each quantity.
type amounts [quantities]int64

// change is one quantity's.
type change struct {
	of quantity
	by int64
}

// effect is what a turn does to an entity when it is applied.
type effect struct {
	changes [2]change
	blocks  []int32 // x, y, z, id, …: never changed once it is here
}

// account is what is known of one entity: what it had, what was acknowledged since, what may have happened, and what a crash may have
// taken. Its methods may be called from any goroutine.
type account struct {
	name string

	mu    sync.Mutex
	known bool // base is
	base  amounts
	sure  amounts // acknowledged, and not to be lost any more
	// low and high are the sums of what may have been applied, the losses and the gains.
	low, high amounts
	// moved are the parts of low and high that are transfers: whatever became of them, both sides together are as before.
	movedLow, movedHigh amounts
	cells               map[place]cell
	// pending are acknowledged MEMORY turns that are not known to be journaled, in the order of their answers.
	pending []memoryTurn
	// atRisk are those that a crash may have taken: of each list a suffix.
	atRisk []risk
	life   int // how many crashes there were
	// stray: a process has just died, and what is answered now may be from it or from its heir.
	stray bool
}

// memoryTurn is one that was answered from memory.
type memoryTurn struct {
	seq    int64
	at     time.Time // of the answer
	effect effect
}

// risk is what one crash may have taken, in the order of the turns.
type risk struct {
	life  int
	turns []memoryTurn
}

// place of a block.
type place struct{ x, y, z int32 }

// cell is what is known of a block.
type cell struct {
	id   uint16
	life int
	seq  int64
	// perhaps are ids that may have been set at any time.
	perhaps []uint16
}

// begin notes what the entity had when it was first seen here. Later calls do nothing.
func (a *account) begin(has amounts) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.known {
		a.base, a.known = has, true
	}
}

// durable notes an acknowledged DURABLE turn with its seq: it is safe, and so is everything before it.
func (a *account) durable(seq int64, e effect) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.pending = slices.DeleteFunc(a.pending, func(t memoryTurn) bool {
		if t.seq < seq {
			a.settleLocked(t.seq, a.life, t.effect)
		}
		return t.seq < seq
	})
	a.settleLocked(seq, a.life, e)
}

// memory notes an acknowledged MEMORY turn. What is older than window is settled: a crash may not take it any more.
func (a *account) memory(seq int64, now time.Time, window time.Duration, e effect) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.stray {
		a.perhapsLocked(e)
		return
	}
	a.settleOldLocked(now, window)
	a.pending = append(a.pending, memoryTurn{seq, now, e})
}

// settleOldLocked looks only at the front: turns are there in the order of their answers, but for those of the same instant.
func (a *account) settleOldLocked(now time.Time, window time.Duration) {
	for len(a.pending) > 0 && now.Sub(a.pending[0].at) > window {
		a.settleLocked(a.pending[0].seq, a.life, a.pending[0].effect)
		a.pending = a.pending[1:]
	}
}

// settleLocked counts a turn that nothing may take any more.
func (a *account) settleLocked(seq int64, life int, e effect) {
	for _, c := range e.changes {
		a.sure[c.of] += c.by
	}
	for i := 0; i+3 < len(e.blocks); i += 4 {
		at := place{e.blocks[i], e.blocks[i+1], e.blocks[i+2]}
		have := a.cells[at]
		if life > have.life || life == have.life && seq >= have.seq {
			have.id, have.life, have.seq = uint16(e.blocks[i+3]), life, seq //nolint:gosec // block ids are 16 bits
			a.setLocked(at, have)
		}
	}
}

func (a *account) setLocked(at place, c cell) {
	if a.cells == nil {
		a.cells = map[place]cell{}
	}
	a.cells[at] = c
}

// perhaps notes a turn of which nobody knows whether it was applied.
func (a *account) perhaps(e effect) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.perhapsLocked(e)
}

func (a *account) perhapsLocked(e effect) {
	for _, c := range e.changes {
		a.low[c.of] += min(c.by, 0)
		a.high[c.of] += max(c.by, 0)
	}
	for i := 0; i+3 < len(e.blocks); i += 4 {
		at := place{e.blocks[i], e.blocks[i+1], e.blocks[i+2]}
		have := a.cells[at]
		have.perhaps = append(have.perhaps, uint16(e.blocks[i+3])) //nolint:gosec // block ids are 16 bits
		a.setLocked(at, have)
	}
}

// perhapsMoved is perhaps of one side of a transfer.
func (a *account) perhapsMoved(e effect) {
	a.perhaps(e)
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, c := range e.changes {
		a.movedLow[c.of] += min(c.by, 0)
		a.movedHigh[c.of] += max(c.by, 0)
	}
}

// crashed notes that a process is about to be killed: of what was answered from memory within the window before, a suffix may be
// lost. It must be called before the kill, since an heir may answer at once. Until calm is called, MEMORY answers may be of
// either.
func (a *account) crashed(at time.Time, window time.Duration) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.settleOldLocked(at, window)
	if len(a.pending) > 0 {
		slices.SortFunc(a.pending, func(x, y memoryTurn) int { return cmp.Compare(x.seq, y.seq) })
		a.atRisk = append(a.atRisk, risk{a.life, a.pending})
		a.pending = nil
	}
	a.life++
	a.stray = true
}

// calm notes that no answer of the dead process can come any more.
func (a *account) calm() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.stray = false
}

// ledger is the accounts of all entities of a run. Its methods may be called from any goroutine.
type ledger struct {
	mu       sync.Mutex
	accounts map[string]*account
	order    []*account // as they were made
}

func newLedger() *ledger { return &ledger{accounts: map[string]*account{}} }

// of is the account of a name such as "player/p1"; a new one the first time.
func (l *ledger) of(name string) *account {
	l.mu.Lock()
	defer l.mu.Unlock()
	a := l.accounts[name]
	if a == nil {
		a = &account{name: name}
		l.accounts[name] = a
		l.order = append(l.order, a)
	}
	return a
}

// all are the accounts, in the order in which they were made.
func (l *ledger) all() []*account {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.order)
}

// calm ends what crashed began, for all accounts.
func (l *ledger) calm() {
	for _, a := range l.all() {
		a.calm()
	}
}

// crashed tells all accounts that a process is about to be killed.
func (l *ledger) crashed(at time.Time, window time.Duration) {
	for _, a := range l.all() {
		a.crashed(at, window)
	}
}
