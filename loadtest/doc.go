// Package loadtest plays games against a cluster and checks what the cluster did.
//
// # Guarantees
//
//   - Open loop: every action has a moment when it should begin, drawn before anything was answered. Latency counts from that
//     moment, also when this program was late; how late it was is in the report, with a bound on it.
//   - Repeatable: the same scenario and seed give the same players doing the same things at the same moments.
//   - It does not trust: what was acknowledged is kept in a ledger and read back through the front door at the end; what was saved
//     and loaded for each game server is counted where it is stored, not by the limiter.
//   - Bounded: what would be more than the bound of calls in flight is counted as failed, not left out.
//   - It leaves nothing: nodes that it started end with it, also after an error, and what they kept is removed.
//
// Start at [Scenario], [Run] and [Options]. DESIGN.md says how it is made.
package loadtest
