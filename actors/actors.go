// Package actors keeps entities alive in memory: it activates them from storage, runs their turns one at a time, hands
// their entries to the journal, lets replies go when they are as durable as they claim, saves what is dirty, and
// passivates what is idle.
//
// # Guarantees
//
//   - One turn at a time per entity, in order of arrival.
//   - A DURABLE reply leaves after its entry was applied and accepted; durable and read replies leave in seq order.
//   - A MEMORY reply's event reaches the journal within the journal interval, or with the entity's next durable command.
//   - A failed load is an error for the caller; only proven absence makes a new entity.
//   - Every Call is answered exactly once.
//
// Start at [Host], then activation.go.
package actors

import (
	"errors"

	"github.com/skerry-dev/skerry/actors/server"
	"github.com/skerry-dev/skerry/codec/skerryv1"
	"github.com/skerry-dev/skerry/codec/storev1"
	"github.com/skerry-dev/skerry/persistence"
)

// Call is one request to one entity.
type Call struct {
	// Key is the entity; the request names the same one.
	Key persistence.Key
	// Request is one of those that address a single entity. It is not modified, and kept until Reply.
	Request *skerryv1.Request
	// Admin says that the caller's key has scope admin.
	Admin bool
	// silent says that a CloseServer is the host's own: nothing was heard of the server.
	silent bool
	// reaps says that a call is the host's own: the end of a session, of which the holder hears, or a GetServer for the
	// incarnation alone.
	reaps bool
	// Reply is called exactly once, from any goroutine, and must not block. Exactly one of its arguments is set.
	// The response's id is left 0. The response is the callee's own: nothing else refers to it.
	Reply func(*skerryv1.Response, error)

	// incarnation is the opening server's, for the opening of a session: set by what asked the server's entity.
	incarnation string
	// charge is the token that the opening of an entity which is not in memory costs, nil for others.
	charge *charge
	// claim makes a GetServer the host's own step of claiming a world.
	claim *server.Claim
	// step is what a transfer's coordinator asks for, nil for others; answer is what the turn said to it, set before Reply.
	step   *storev1.TransferStep
	answer *storev1.TransferAnswer
}

// The ways in which the host refuses a call, beside the turn's refusals and persistence's errors.
var (
	// ErrMailboxFull: too many calls wait for this entity. Nothing was applied; try again later.
	ErrMailboxFull = errors.New("too many requests wait for this entity")
	// ErrOverloaded: too many calls wait on this node, or too many loads. Nothing was applied; try again later.
	ErrOverloaded = errors.New("too many requests wait on this node")
	// ErrStalled: the entity's events could not be appended for two journal intervals. Nothing was applied; try again later.
	ErrStalled = errors.New("the journal is stalled")
	// ErrTooNew: what was asked for would be written in a form that not every node reads yet. Nothing was applied; try again when the
	// cluster's feature level is higher.
	ErrTooNew = errors.New("not every node of the cluster reads this yet")
	// ErrNoBudget: who keeps the game server's budget could not be asked. Nothing was applied; try again later.
	ErrNoBudget = errors.New("the game server's budget cannot be asked now")
	// ErrDraining: the host accepts nothing new. Nothing was applied; try another node, or again later.
	ErrDraining = errors.New("node is shutting down")
	// ErrLoad wraps the reason for which an entity could not be loaded. Nothing was applied.
	ErrLoad = errors.New("load failed")
	// ErrSave: the snapshot that was asked for could not be stored. What the request did is in the journal; ask again.
	ErrSave = errors.New("save failed")
	// ErrPanicked: the turn met a mistake of this program. Nothing was applied, and the log has the details.
	ErrPanicked = errors.New("turn panicked")
)
