// Package turn is one request against one entity, as a pure function: dedupe, session check, the kind's rules, the
// outcome table. No I/O, no clock, no randomness of its own: the shell in package actors passes all of it in.
//
// # Guarantees
//
//   - [Decide] never changes the state; [Evolve] is the only thing that does, and replaying the entries gives the same state.
//   - A command id of a session, or a receipt, takes effect once: a retry gets the remembered answer.
//   - A late retry of an opening that another one superseded does not take the session back.
//   - A refused request changes nothing but the outcome table.
//   - A session is ended only by its own token, or by the opening of the next one.
//
// Start at [Decide], then execute.go (commands and their outcomes) and session.go.
package turn

import (
	"strings"
	"time"

	"github.com/skerry-dev/skerry/actors/player"
	"github.com/skerry-dev/skerry/actors/server"
	"github.com/skerry-dev/skerry/actors/world"
	"github.com/skerry-dev/skerry/codec/skerryv1"
	"github.com/skerry-dev/skerry/codec/storev1"
	"github.com/skerry-dev/skerry/persistence"
)

// The bounds of what an entity remembers of its answers.
const (
	// MaxOutcomes is how many answers to command ids are kept.
	MaxOutcomes = 128
	// MaxReceipts is how many receipts are kept.
	MaxReceipts = 1000
	// MaxPastOpenings is how many superseded openings with an open id are kept.
	MaxPastOpenings = 16
	// MaxReceiptBytes is the greatest length of a receipt, and of an open id.
	MaxReceiptBytes = 64
	// MaxOutcomeBytes is how large a kept answer may be; of a larger one only that there was one is kept.
	MaxOutcomeBytes = 1 << 10
)

// Env is everything a turn may know beside the state and the request.
type Env struct {
	// Now is the shell's clock; the turn uses the later of it and the entity's newest time.
	Now time.Time
	// Seed is fresh random bits for the rules; Token is a fresh unguessable session token.
	Seed  uint64
	Token string
	// Admin says that the caller has scope admin.
	Admin bool
	// Silent says that it is the shell who closes a server, because nothing was heard of it.
	Silent bool
	// Reaps says that it is the shell who ends a session, because its server is gone or has another incarnation.
	Reaps bool
	// Claim, when set, makes a GetServer the shell's step of claiming a world.
	Claim *server.Claim
	// Seq is the entity's newest seq, LastSave the time of its newest accepted snapshot (zero: none), DirtySince the time
	// of the oldest event no snapshot covers (zero: clean): for the replies that show them.
	Seq        persistence.Seq
	LastSave   time.Time
	DirtySince time.Time
	// Incarnation is the opening server's, for OpenPlayerSession: the shell asked the server's entity first.
	Incarnation string
	// Rules of the entity's space, and those of its worlds; nil means the defaults.
	Rules      *player.Rules
	WorldRules *world.Rules
	// Parts are the chunks of a world, of which those that [world.Needs] and Page name are loaded.
	Parts world.Parts
	// Page is the page that [PageOf] says a request needs.
	Page Page
	// HolderPresent: the server that holds the world, as far as is known, has players.
	HolderPresent bool
	// Level is the cluster's feature level: entries are made in no newer form.
	Level uint32
	// Forgets is a fault for tests: answers are not looked up.
	Forgets bool
	// Describe turns a refusal into what the wire shows; it is remembered with the outcome.
	Describe func(error) *skerryv1.Error
	// Step is what a transfer's coordinator asks for; nil of who creates one.
	Step *storev1.TransferStep
}

// Result is what a turn decided. Exactly one of Response and Err is set. Below its top level, a Response may share memory
// with Entry: treat both as read-only.
type Result struct {
	// Entry, when set, is the entity's next entry: the shell evolves the state with it and journals it. A refusal by the
	// rules has one too.
	Entry *storev1.Entry
	// Marks go into the same Change as Entry.
	Marks []persistence.Mark
	// Durable: the reply waits until Entry was applied and accepted. Only with Entry.
	Durable bool
	// After, when not 0, is the seq of a remembered outcome: the reply waits until it was applied (a retry may arrive
	// while the first try is still on its way to the disk).
	After persistence.Seq
	// Save: a snapshot that covers Entry, or without one the newest seq, is made unless there is one, and the reply waits
	// for it.
	Save bool

	Response *skerryv1.Response
	Err      error
	// Answer is for a transfer's coordinator, beside Response. It shares no memory with Entry or the state.
	Answer *storev1.TransferAnswer

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
	// Registered, Closed: the server itself, which is Key, has a new incarnation, or none any more: the sessions of
	// earlier ones have to end. Claims: the first player of the new one claims a world.
	Registered, Closed, Claims bool
	// Of a registration: Budget is its profile's name, Players are those that it reports. First: there was none before.
	Budget  string
	Players int
	First   bool
	// Held is the seq of a hold that Key has made, of a transfer that has to go on.
	Held uint64
	// Incarnation is the one under which the session was opened, or the server's newest.
	Incarnation string
	// Event, when set, is queued for the server's long poll; the shell numbers it.
	Event *skerryv1.ServerEvent
}

// The types of a [skerryv1.ServerEvent].
const (
	// EventSessionTaken: another server, or the same one again, opened a session; this token is of no use any more.
	EventSessionTaken = "SESSION_TAKEN"
	// EventSessionEnded: the session was ended because its server was taken for dead, was closed, or has registered again. Who
	// ends a session by its token hears no event of it.
	EventSessionEnded = "SESSION_ENDED"
	// EventChanged: an admin changed the entity.
	EventChanged = "CHANGED"
	// EventSaveFailed: a snapshot failed; the journal has everything.
	EventSaveFailed = "SAVE_FAILED"
	// EventMoved: another node owns the entity now. The session goes on.
	EventMoved = "MOVED"
	// EventWorldClaimed: the world of the server's first player was opened for it; the event has the session's token.
	EventWorldClaimed = "WORLD_CLAIMED"
	// EventWorldRefused: it could not be opened; the event's detail says why.
	EventWorldRefused = "WORLD_REFUSED"
	// EventResync: events before this one were dropped.
	EventResync = "RESYNC"
)

// AliveMark is the name of the mark that a registered server carries until it is closed; its value is the incarnation.
const AliveMark = "server/alive"

// SessionMark is the name of the mark that an entity with an open session of a server carries. Its value is for
// [ParseSessionMark].
func SessionMark(server string) string { return "session/" + server }

// ParseSessionMark reads the value of a session's mark: the token, and the incarnation of the server that opened it.
func ParseSessionMark(value []byte) (token, incarnation string) {
	token, incarnation, _ = strings.Cut(string(value), " ")
	return token, incarnation
}

// sessionMark is the mark of an open session.
func sessionMark(session *storev1.Session) persistence.Mark {
	value := session.GetToken()
	if session.GetIncarnation() != "" {
		value += " " + session.GetIncarnation()
	}
	return persistence.Mark{Name: SessionMark(session.GetServer()), Value: []byte(value)}
}
