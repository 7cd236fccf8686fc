// Package routing brings a call to the owner of its entity: here, or one hop away.
//
// # Guarantees
//
//   - Once: every call, ask and answer is answered exactly once, by its owner, or with an error that says what is known of it.
//   - One hop: what came from another node is served here or refused with who owns it; it is never passed on.
//   - Nothing twice: a call is tried again only when the answer says that nothing was applied. What may have been applied is
//     [persistence.ErrOutcomeUnknown], for the client to ask again with the same id.
//   - In order: the calls of one goroutine for one entity arrive in order while the owner stays, also after they waited for one.
//   - Bounded: in time by [Options.Patience], in number by [Options.MaxWaiting], [Options.MaxServing] and [Options.MaxAsks].
//
// What the [Table] says is a hint: whoever is asked wrongly says so, and the epoch protects what is written.
//
// Start at [Table] and [Router]; line.go is where calls wait, wire.go what nodes say, serve.go the other side of it.
package routing
