// Package replication is the log of a node and the Raft host that drives it: one Raft group for each partition and one
// for the meta partition, all in one segmented log with one fsync per loop. It implements [persistence.Journal], drives a
// [persistence.StateMachine] and tells a [persistence.Ownership] what this node owns.
//
// # Guarantees
//
//   - A change is done with nil only after its record was fsynced and the state machine applied and accepted it.
//
//   - Nothing is proposed in a partition before this node's claim of it was applied.
//
//   - The log drops a segment only when every entry in it is durable in the state machine.
//
//   - A torn record at the end of the log is cut; anything else that does not verify refuses to open ([CorruptError]).
//
//   - A failed write or fsync ends the host for good ([ErrLogFailed]); fsync is never tried again.
//
//   - With several voters: what was done is on a majority, a [Host.Barrier] says yes only to an owner that a majority
//     confirmed after it was asked, and no replica id is used again.
//
// Start at [Open] and [Host]; DESIGN.md draws the bytes and the order of things. A [Transport] and a [Fetcher] carry what
// goes between nodes; a [Stepper] is a host whose order a test decides.
package replication
