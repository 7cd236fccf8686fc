package main

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/skerry-dev/skerry/persistence"
)

// The driver and a voter speak in frames: four bytes of length, little-endian, then a request or a response. Requests are
// pipelined and answered in any order.

// op is what the driver asks a voter to do.
type op uint8

const (
	opAppend op = 1 // one entry, perhaps with a snapshot, durable
	opRead   op = 2 // what is stored, behind a barrier
	opLocal  op = 3 // what is stored on this node, owner or not
	opStatus op = 4 // what the node knows of its partitions
	opMove   op = 5 // hand partition entity over to node seq
)

// code is how a voter answers.
type code uint8

const (
	codeOK       code = 1
	codeNotOwner code = 2 // nothing was proposed or read
	codeBusy     code = 3 // nothing was proposed or read
	codeUnknown  code = 4 // it may yet be applied
	codeRefused  code = 5 // not applied: a duplicate, a gap, fenced
	codeFailed   code = 6 // something that must not happen; the body says what
)

// request is one of the driver's.
type request struct {
	id     uint64
	op     op
	entity uint64
	seq    persistence.Seq
	// entry and snapshot are opAppend's; snapshot may be empty.
	entry    []byte
	snapshot []byte
}

// response is one of a voter's.
type response struct {
	id   uint64
	code code
	body []byte
}

// found is the body of a read.
type found struct {
	last     persistence.Seq // 0 when the entity is absent
	snapSeq  persistence.Seq
	snapshot []byte
	entries  [][]byte // after snapSeq, in order
}

// partitionStatus is a line of the body of opStatus.
type partitionStatus struct {
	owner               bool
	term, applied, last uint64
}

const (
	maxFrameBytes = 1 << 20
	entryBytes    = 50
)

var errBadFrame = errors.New("bad frame")

// readFrame returns the next frame, in memory of its own.
func readFrame(r *bufio.Reader) ([]byte, error) {
	var head [4]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return nil, err
	}
	n := binary.LittleEndian.Uint32(head[:])
	if n > maxFrameBytes {
		return nil, fmt.Errorf("%w: %d bytes", errBadFrame, n)
	}
	body := make([]byte, n)
	_, err := io.ReadFull(r, body)
	return body, err
}

// appendFramed appends what encode appends, with its length before it.
func appendFramed(b []byte, encode func([]byte) []byte) []byte {
	start := len(b)
	b = encode(append(b, 0, 0, 0, 0))
	binary.LittleEndian.PutUint32(b[start:], uint32(len(b)-start-4)) //nolint:gosec // far below 4 GiB
	return b
}

func appendBytes(b, v []byte) []byte { return append(binary.AppendUvarint(b, uint64(len(v))), v...) }

func (q *request) encode(b []byte) []byte {
	b = append(binary.AppendUvarint(b, q.id), byte(q.op))
	b = binary.AppendUvarint(b, q.entity)
	b = binary.AppendUvarint(b, uint64(q.seq))
	if q.op == opAppend {
		b = appendBytes(appendBytes(b, q.entry), q.snapshot)
	}
	return b
}

func decodeRequest(b []byte) (request, error) {
	d := decoder{rest: b}
	q := request{id: d.uvarint(), op: op(d.uint8()), entity: d.uvarint(), seq: persistence.Seq(d.uvarint())}
	if q.op == opAppend {
		q.entry, q.snapshot = d.bytes(), d.bytes()
	}
	return q, d.err()
}

func (r *response) encode(b []byte) []byte {
	b = append(binary.AppendUvarint(b, r.id), byte(r.code))
	return append(b, r.body...)
}

func decodeResponse(b []byte) (response, error) {
	d := decoder{rest: b}
	r := response{id: d.uvarint(), code: code(d.uint8())}
	r.body = d.rest
	return r, d.err()
}

func (f *found) encode(b []byte) []byte {
	b = binary.AppendUvarint(b, uint64(f.last))
	b = binary.AppendUvarint(b, uint64(f.snapSeq))
	b = appendBytes(b, f.snapshot)
	b = binary.AppendUvarint(b, uint64(len(f.entries)))
	for _, e := range f.entries {
		b = appendBytes(b, e)
	}
	return b
}

func decodeFound(b []byte) (found, error) {
	d := decoder{rest: b}
	f := found{last: persistence.Seq(d.uvarint()), snapSeq: persistence.Seq(d.uvarint()), snapshot: d.bytes()}
	for n := d.uvarint(); n > 0 && !d.bad; n-- {
		f.entries = append(f.entries, d.bytes())
	}
	return f, d.err()
}

func encodeStatus(status []partitionStatus) []byte {
	b := binary.AppendUvarint(nil, uint64(len(status)))
	for _, s := range status {
		owner := byte(0)
		if s.owner {
			owner = 1
		}
		b = append(b, owner)
		b = binary.AppendUvarint(b, s.term)
		b = binary.AppendUvarint(b, s.applied)
		b = binary.AppendUvarint(b, s.last)
	}
	return b
}

func decodeStatus(b []byte) ([]partitionStatus, error) {
	d := decoder{rest: b}
	var status []partitionStatus
	for n := d.uvarint(); n > 0 && !d.bad; n-- {
		status = append(status, partitionStatus{owner: d.uint8() == 1, term: d.uvarint(), applied: d.uvarint(), last: d.uvarint()})
	}
	return status, d.err()
}

// decoder takes values from rest until it is bad.
type decoder struct {
	rest []byte
	bad  bool
}

func (d *decoder) err() error {
	if d.bad {
		return errBadFrame
	}
	return nil
}

func (d *decoder) uvarint() uint64 {
	v, n := binary.Uvarint(d.rest)
	if n <= 0 {
		d.bad, d.rest = true, nil
		return 0
	}
	d.rest = d.rest[n:]
	return v
}

func (d *decoder) uint8() uint8 {
	if len(d.rest) == 0 {
		d.bad = true
		return 0
	}
	v := d.rest[0]
	d.rest = d.rest[1:]
	return v
}

func (d *decoder) bytes() []byte {
	n := d.uvarint()
	if n > uint64(len(d.rest)) {
		d.bad, d.rest = true, nil
		return nil
	}
	v := d.rest[:n:n]
	d.rest = d.rest[n:]
	return v
}

// keyOf names an entity.
func keyOf(entity uint64) persistence.Key {
	return persistence.Key{Space: persistence.DefaultSpace, Kind: persistence.KindPlayer, ID: fmt.Sprintf("e%07d", entity)}
}

func partitionOf(entity uint64, partitions int) persistence.Partition {
	return persistence.PartitionOf(keyOf(entity), partitions)
}
