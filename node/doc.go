// Package node puts the rooms together: store, log, actors, front door, in this order, and stops them in the reverse one.
// It is the only package that knows all of them.
//
// # Guarantees
//
//   - Ready means ready: the ready line comes after every partition was claimed and every port listens.
//   - A graceful stop loses nothing: nothing new is accepted, what was accepted is answered, what is dirty is saved within
//     the shutdown time-out, and the log says what was saved.
//   - A disk that fails, or is full, ends the process with an error that says so; it does not limp on.
//   - Beyond this machine nobody gets in without an API key, unless the operator insists.
//
// Start at [Open] and [Node.Run]; the settings are in [Settings].
package node
