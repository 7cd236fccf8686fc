package persistence

// Proposal is what one Raft entry carries: a claim, or many entities' changes under one epoch's generation.
type Proposal struct {
	// ID matches a committed entry to the callers that wait on the proposing node; 0 when nobody does.
	ID uint64
	// Generation is the store generation of the proposer. With the entry's Raft term it makes the Epoch of Claim.
	Generation uint32
	// Claim is set in the first entry that a new leader proposes.
	Claim bool
	// Changes are applied in order, each accepted or refused on its own.
	Changes []*Change
}
