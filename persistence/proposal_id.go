package persistence

import "fmt"

// ProposalID reads the ID of an encoded proposal without decoding the rest. Errors are those of [DecodeProposal].
func ProposalID(data []byte) (uint64, error) {
	d := decoder{left: data}
	if err := d.checkVersion(); err != nil {
		return 0, err
	}
	id := d.uvarint()
	if d.bad {
		return 0, fmt.Errorf("%w: no id", ErrMalformedProposal)
	}
	return id, nil
}
