package replication

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// scanBytes is how much of a segment is read at a time.
const scanBytes = 1 << 20

// scanner reads the records of one segment in order.
type scanner struct {
	file   vfs.File
	number uint32
	size   int64

	id     segmentID // of the first record; 0 before
	next   uint64    // the number of the next record; 0 before the first
	offset int64     // where the next record begins

	reader *bufio.Reader
	record []byte
}

// newScanner reads file, which is the segment with this number.
func newScanner(file vfs.File, number uint32) (*scanner, error) {
	info, err := file.Stat()
	if err != nil {
		return nil, fmt.Errorf("size of the segment: %w", err)
	}
	section := io.NewSectionReader(file, 0, info.Size())
	return &scanner{file: file, number: number, size: info.Size(), reader: bufio.NewReaderSize(section, scanBytes)}, nil
}

// read returns the payload and number of the next record, valid until the next call. It returns a nil payload at the
// first bytes that are not this segment's next record; then offset is where they are. An error means that the disk
// could not be read, never that bytes are bad.
func (s *scanner) read() (payload []byte, number uint64, err error) {
	head, err := s.reader.Peek(headerBytes)
	if err != nil {
		if errors.Is(err, io.EOF) {
			return nil, 0, nil
		}
		return nil, 0, fmt.Errorf("read the segment at byte %d: %w", s.offset, err)
	}
	h, ok := parseHeader(head)
	if !ok || !s.belongs(h) || int64(h.length) > s.size-s.offset-headerBytes {
		return nil, 0, nil
	}
	s.record = append(s.record[:0], make([]byte, headerBytes+int(h.length))...)
	if _, err := io.ReadFull(s.reader, s.record); err != nil {
		return nil, 0, fmt.Errorf("read the segment at byte %d: %w", s.offset, err)
	}
	if !h.verifies(s.record) {
		return nil, 0, nil
	}
	s.id, s.next = h.id, h.number+1
	s.offset += int64(len(s.record))
	return s.record[headerBytes:], h.number, nil
}

// belongs reports whether h can be this segment's next record. This is what tells the live records of a segment that is
// used again from the stale ones behind them.
func (s *scanner) belongs(h header) bool {
	if s.id == 0 {
		return h.id.number() == s.number
	}
	return h.id == s.id && h.number == s.next
}

// laterRecord looks behind offset, where read found no record, for a whole record of this segment that was written
// after the last good one. There can be none unless synced bytes were damaged: a record is written only after the one
// before it was synced. It returns where that record is, or -1.
func (s *scanner) laterRecord() (int64, error) {
	buf := make([]byte, scanBytes)
	const overlap = headerBytes - 1
	for from := s.offset; from < s.size; {
		n, err := s.file.ReadAt(buf[:min(int64(len(buf)), s.size-from)], from)
		if err != nil && !errors.Is(err, io.EOF) {
			return -1, fmt.Errorf("read the segment at byte %d: %w", from, err)
		}
		for at := 0; ; at++ {
			found := bytes.Index(buf[at:n], []byte(recordMagic))
			if found < 0 {
				break
			}
			at += found
			if at < 8 { // the sum stands before the magic
				continue
			}
			start := from + int64(at) - 8
			if ok, err := s.isLater(start); err != nil || ok {
				return start, err
			}
		}
		if n <= overlap {
			break
		}
		from += int64(n - overlap)
	}
	return -1, nil
}

// isLater reports whether a whole record of this segment, newer than the last good one, begins at start.
func (s *scanner) isLater(start int64) (bool, error) {
	head := make([]byte, headerBytes)
	if err := s.readAt(head, start); err != nil {
		return false, err
	}
	h, ok := parseHeader(head)
	ours := h.id == s.id || s.id == 0 && h.id.number() == s.number
	if !ok || !ours || h.number < s.next || int64(h.length) > s.size-start-headerBytes {
		return false, nil
	}
	record := make([]byte, headerBytes+int(h.length))
	if err := s.readAt(record, start); err != nil {
		return false, err
	}
	return h.verifies(record), nil
}

// readAt fills b from start, with zeros behind the end of the file.
func (s *scanner) readAt(b []byte, start int64) error {
	n, err := s.file.ReadAt(b, start)
	if err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("read the segment at byte %d: %w", start, err)
	}
	clear(b[n:])
	return nil
}
