package turn

import (
	"encoding/binary"
	"fmt"
	"slices"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/skerry-dev/skerry/codec"
	"github.com/skerry-dev/skerry/codec/storev1"
)

// An entity's remembered answers stay packed: each table is one slice of records, oldest first, each an encoded Outcome or
// Receipt with its length before it. As messages, the 128 outcomes of one live player would be some 640 small objects.

var errTable = fmt.Errorf("%w: a table of remembered answers", codec.ErrMalformed)

// first splits the oldest record off a table. Both results are part of it.
func first(table []byte) (record, rest []byte, err error) {
	size, n := binary.Uvarint(table)
	if n <= 0 || size > uint64(len(table)-n) {
		return nil, nil, errTable
	}
	end := n + int(size) //nolint:gosec // at most len(table)
	return table[n:end:end], table[end:], nil
}

// packable is a generated message.
type packable interface {
	SizeVT() int
	MarshalToSizedBufferVT(data []byte) (int, error)
}

// appendRecord adds m with its seq to a table. m does not have its seq, which both kinds of record keep in field 4 or 3.
func appendRecord(table []byte, m packable, seqField protowire.Number, seq uint64) ([]byte, error) {
	size := m.SizeVT()
	total := size + protowire.SizeTag(seqField) + protowire.SizeVarint(seq)
	table = binary.AppendUvarint(table, uint64(total)) //nolint:gosec // a length
	table = slices.Grow(table, total)
	body := table[len(table) : len(table)+size]
	if _, err := m.MarshalToSizedBufferVT(body); err != nil {
		return nil, fmt.Errorf("pack an answer: %w", err)
	}
	table = protowire.AppendTag(table[:len(table)+size], seqField, protowire.VarintType)
	return protowire.AppendVarint(table, seq), nil
}

// outcomeID reads which command of which session a record is about, and nothing more.
func outcomeID(record []byte) (session uint64, command int64, err error) {
	for len(record) > 0 && (session == 0 || command == 0) {
		number, kind, n := protowire.ConsumeTag(record)
		if n < 0 {
			return 0, 0, errTable
		}
		record = record[n:]
		if kind != protowire.VarintType || number > 2 {
			if n = protowire.ConsumeFieldValue(number, kind, record); n < 0 {
				return 0, 0, errTable
			}
			record = record[n:]
			continue
		}
		value, n := protowire.ConsumeVarint(record)
		if n < 0 {
			return 0, 0, errTable
		}
		record = record[n:]
		if number == 1 {
			session = value
		} else {
			command = int64(value) //nolint:gosec // as protobuf writes an int64
		}
	}
	return session, command, nil
}

// findOutcome returns the answer to a command id of a session; nil when none is kept.
func findOutcome(state *storev1.Entity, session uint64, command int64) (*storev1.Outcome, error) {
	for table := state.GetOutcomes(); len(table) > 0; {
		record, rest, err := first(table)
		if err != nil {
			return nil, err
		}
		table = rest
		of, id, err := outcomeID(record)
		if err != nil {
			return nil, err
		}
		if of == session && id == command {
			outcome := &storev1.Outcome{}
			if outcome.UnmarshalVT(record) != nil {
				return nil, errTable
			}
			return outcome, nil
		}
	}
	return nil, nil
}

// findReceipt returns the answer to a receipt; nil when none is kept.
func findReceipt(state *storev1.Entity, receipt string) (*storev1.Receipt, error) {
	for table := state.GetReceipts(); len(table) > 0; {
		record, rest, err := first(table)
		if err != nil {
			return nil, err
		}
		table = rest
		if !mayBeReceipt(record, receipt) {
			continue
		}
		kept := &storev1.Receipt{}
		if kept.UnmarshalVT(record) != nil {
			return nil, errTable
		}
		if kept.GetReceipt() == receipt {
			return kept, nil
		}
	}
	return nil, nil
}

// mayBeReceipt is false only for a record that begins with another receipt.
func mayBeReceipt(record []byte, receipt string) bool {
	number, kind, n := protowire.ConsumeTag(record)
	if n < 0 || number != 1 || kind != protowire.BytesType {
		return true
	}
	value, n := protowire.ConsumeBytes(record[n:])
	return n < 0 || string(value) == receipt
}
