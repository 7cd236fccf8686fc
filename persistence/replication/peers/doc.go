// Package peers is the connection between the nodes of a cluster. It moves opaque bytes and knows no Raft: batches of
// messages, of which some may be lost, fetches, which are whole or an error, and frames of calls, which arrive or are told as lost.
//
// # Guarantees
//
//   - Order: the batches from one peer are received in the order sent, each at most once; some may be missing.
//   - Whole: a fetch returns nil only when the peer said that it is at its end, and every frame was taken.
//   - Told: a frame of calls arrives, in order and once, or [Handler.CallsLost] is called after it was taken.
//   - Separate: a fetch has a connection of its own, and so have the calls, so a large one does not delay the batches.
//   - Known: nothing is received from or sent to a node that is not in the addresses, of another cluster, or, with TLS, without a
//     certificate of its name ([TLS]).
//   - Bounded: [Peers.Send] never waits; a peer that is frozen, slow or gone costs one queue of [Options.MaxQueueBytes] and is
//     noticed by a deadline. [Peers.Run] returns when all it started has ended.
//
// Start at [New] and [Handler]; hello.go holds what two nodes say first, DESIGN.md draws the bytes and says why not gRPC.
package peers
