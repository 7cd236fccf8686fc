// Package turn is one request against one entity, as a pure function: dedupe, session check, the kind's rules, the
// outcome table. No I/O, no clock, no randomness of its own: the shell in package actors passes all of it in.
//
// # Guarantees
//
//   - [Decide] never changes the state; [Evolve] is the only thing that does, and replaying the entries gives the same state.
//   - A command id of a session, or a receipt, takes effect once: a retry gets the remembered answer.
//   - A refused request changes nothing but the outcome table.
package turn

import (
	"time"

	"github.com/skerry-dev/skerry/actors/player"
	"github.com/skerry-dev/skerry/codec/skerryv1"
	"github.com/skerry-dev/skerry/codec/storev1"
	"github.com/skerry-dev/skerry/persistence"
)

// Env is everything a turn may know beside the state and the request.
type Env struct {
	// Now is the shell's clock; the turn uses the later of it and the entity's newest time.
	Now time.Time
	// Seed is fresh random bits for the rules; Token is a fresh unguessable session token or incarnation.
	Seed  uint64
	Token string
	// Admin says that the caller has scope admin.
	Admin bool
	// Seq is the entity's newest seq, LastSave the time of its newest accepted snapshot (zero: none), DirtySince the time
	// of the oldest event no snapshot covers (zero: clean): for the replies that show them.
	Seq        persistence.Seq
	LastSave   time.Time
	DirtySince time.Time
	// Incarnation is the opening server's, for OpenPlayerSession: the shell asked the server's entity first.
	Incarnation string
	// Rules of the entity's space.
	Rules *player.Rules
	// Describe turns a refusal into what the wire shows; it is remembered with the outcome.
	Describe func(error) *skerryv1.Error
}

// Result is what a turn decided. Exactly one of Response and Err is set.
type Result struct {
	// Entry, when set, is the entity's next entry: the shell evolves the state with it and journals it.
	Entry *storev1.Entry
	// Marks go into the same Change as Entry.
	Marks []persistence.Mark
	// Durable: the reply waits until Entry was applied and accepted. Only with Entry.
	Durable bool
	// After, when not 0, is the seq of a remembered outcome: the reply waits until it was applied (a retry may arrive
	// while the first try is still on its way to the disk).
	After persistence.Seq
	// Save: a snapshot that covers Entry is made, and the reply waits for it.
	Save bool

	Response *skerryv1.Response
	Err      error

	// Effects are done by the shell when Entry was applied (at once without Entry).
	Effects []Effect
}

// Effect is something that a turn causes outside its entity. It is a hint: losing one loses no data.
type Effect struct {
	// Server is the id of the server entity that hears of it, in the same space.
	Server string
	// Opened, Ended: the server gained or lost the session Token of the entity Key.
	Opened, Ended bool
	Key           persistence.Key
	Token         string
	// Event, when set, is queued for the server's long poll; the shell numbers it.
	Event *skerryv1.ServerEvent
}

// SessionMark is the name of the mark that an entity with an open session of a server carries; its value is the token.
func SessionMark(server string) string { return "session/" + server }
