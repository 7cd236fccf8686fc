// Package items is what the rules of players and of worlds share: stacks of items, the JSON values that games attach to
// them, and the form in which rules refuse. It is pure.
//
// Start at [Limits] and [Refusal].
package items
