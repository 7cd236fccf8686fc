package persistence

import "fmt"

// ProposalID reads the ID of an encoded proposal without decoding the rest. Errors are those of [DecodeProposal].
func ProposalID(data []byte) (uint64, error) {
	d := decoder{left: data}
	if version := d.byte(); version > proposalVersion {
		return 0, fmt.Errorf("decode proposal of version %d: %w", version, ErrNewer)
	} else if version != proposalVersion {
		return 0, fmt.Errorf("%w: version %d", ErrMalformedProposal, version)
	}
	id := d.uvarint()
	if d.bad {
		return 0, fmt.Errorf("%w: no id", ErrMalformedProposal)
	}
	return id, nil
}
