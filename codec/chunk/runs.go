package chunk

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/bits"
	"slices"

	"github.com/skerry-dev/skerry/codec"
)

// wideSymbols: a section with more ids than this has symbols of two bytes.
const wideSymbols = 256

// writeStreams returns the streams of codec Runs, good until the next call, and whether the column is one id throughout.
// Raw is ids as little-endian bytes.
func (c *coder) writeStreams(ids []uint16, raw []byte) (stream []byte, uniform bool) {
	c.sizes, c.palettes, c.counts = c.sizes[:0], c.palettes[:0], c.counts[:0]
	c.symbols, c.lengths = c.symbols[:0], c.lengths[:0]
	uniform = true
	for from := 0; from < len(ids); from += sectionBlocks {
		section := ids[from : from+sectionBlocks]
		ends := c.findRuns(raw[2*from:])
		c.writePalette(section, ends)
		if len(ends) > 1 {
			c.writeRuns(section, ends)
		}
		uniform = uniform && len(ends) == 1 && section[0] == ids[0]
	}
	c.stream = c.stream[:0]
	for _, s := range [...][]byte{c.sizes, c.palettes, c.counts, c.symbols, c.lengths} {
		c.stream = append(c.stream, s...)
	}
	return c.stream, uniform
}

// findRuns returns where the runs of the section at the beginning of raw end.
func (c *coder) findRuns(raw []byte) []uint16 {
	// The last block is compared with itself: its run ends in any case.
	copy(c.section[:], raw[:2*sectionBlocks])
	copy(c.section[2*sectionBlocks:], raw[2*sectionBlocks-2:2*sectionBlocks])
	ends, n := &c.ends, 0
	for i := 0; i < sectionBlocks; i += 64 {
		m := c.section[2*i : 2*i+130]
		if bytes.Equal(m[:128], m[2:]) {
			continue
		}
		for breaks := breaksIn(m); breaks != 0; breaks &= breaks - 1 {
			ends[n&(sectionBlocks-1)] = uint16(i + 1 + bits.TrailingZeros64(breaks)) //nolint:gosec // at most sectionBlocks
			n++
		}
	}
	ends[n] = sectionBlocks
	return ends[:n+1]
}

// breaksIn returns a bit for each of 64 ids that differs from the next one.
func breaksIn(m []byte) uint64 {
	const low, high, gather = 0x7fff_7fff_7fff_7fff, 0x8000_8000_8000_8000, 1<<48 | 1<<33 | 1<<18 | 1<<3
	var breaks uint64
	for k := 0; k < 64; k += 4 {
		d := binary.LittleEndian.Uint64(m[2*k:]) ^ binary.LittleEndian.Uint64(m[2*k+2:]) // a lane is 0 where an id is the next
		d = (d&low + low | d) & high                                                     // the lane's top bit says that it is not
		breaks |= (d >> 15 * gather >> 48 & 0xf) << k                                    // the four bits side by side
	}
	return breaks
}

// writePalette writes the section's ids, rising, and leaves in c.symbol each one's index.
func (c *coder) writePalette(section, ends []uint16) {
	c.palette = c.palette[:0]
	from := uint16(0)
	for _, end := range ends {
		id := section[from]
		if word, bit := &c.seen[id/64], uint64(1)<<(id%64); *word&bit == 0 {
			*word |= bit
			c.palette = append(c.palette, id)
		}
		from = end
	}
	slices.Sort(c.palette)
	c.sizes = binary.AppendUvarint(c.sizes, uint64(len(c.palette)))
	next := uint16(0) // the smallest id that may follow
	for i, id := range c.palette {
		c.seen[id/64] = 0
		c.symbol[id] = uint16(i) //nolint:gosec // below sectionBlocks
		c.palettes = binary.AppendUvarint(c.palettes, uint64(id-next))
		next = id + 1
	}
}

// writeRuns writes a section of more than one run.
func (c *coder) writeRuns(section, ends []uint16) {
	c.counts = binary.AppendUvarint(c.counts, uint64(len(ends)))
	symbols, lengths, wide := c.symbols, c.lengths, len(c.palette) > wideSymbols
	from := uint16(0)
	for _, end := range ends {
		symbol := c.symbol[section[from]]
		symbols = append(symbols, byte(symbol))
		if wide {
			symbols = append(symbols, byte(symbol>>8))
		}
		if length := end - from - 1; length < 0x80 {
			lengths = append(lengths, byte(length))
		} else {
			lengths = append(lengths, byte(length)|0x80, byte(length>>7))
		}
		from = end
	}
	c.symbols, c.lengths = symbols, lengths
}

// readRuns decodes the body of codec Runs into dst, exactly.
func (c *coder) readRuns(dst []uint16, body []byte) error {
	stream, err := c.decompress(body, 4*len(dst))
	if err != nil {
		return err
	}
	sections := len(dst) / sectionBlocks
	var plan [maxSections]section
	rest, err := readPlan(plan[:sections], stream)
	if err != nil {
		return err
	}
	if rest, err = c.readPalettes(plan[:sections], rest); err != nil {
		return err
	}
	if rest, err = readCounts(plan[:sections], rest); err != nil {
		return err
	}
	symbolBytes := 0
	for _, s := range plan[:sections] {
		symbolBytes += s.symbolBytes()
	}
	if symbolBytes > len(rest) {
		return fmt.Errorf("%w: symbols of %d bytes in %d", codec.ErrMalformed, symbolBytes, len(rest))
	}
	symbols, lengths := rest[:symbolBytes], rest[symbolBytes:]
	palette := c.palette
	for i, s := range plan[:sections] {
		n := s.symbolBytes()
		r := reader{palette: palette[:s.ids], symbols: symbols[:n], lengths: lengths}
		if !r.read(dst, i*sectionBlocks, s) {
			return fmt.Errorf("%w: the runs of section %d", codec.ErrMalformed, i)
		}
		palette, symbols, lengths = palette[s.ids:], symbols[n:], r.lengths
	}
	if len(lengths) > 0 {
		return fmt.Errorf("%w: %d bytes behind the last run", codec.ErrMalformed, len(lengths))
	}
	return nil
}

// section is what the streams say of one: how many ids, and in how many runs.
type section struct{ ids, runs int }

func (s section) symbolBytes() int {
	switch {
	case s.ids == 1:
		return 0
	case s.ids > wideSymbols:
		return 2 * s.runs
	default:
		return s.runs
	}
}

func readPlan(plan []section, stream []byte) ([]byte, error) {
	for i := range plan {
		ids, n := binary.Uvarint(stream)
		if n <= 0 || ids < 1 || ids > sectionBlocks {
			return nil, fmt.Errorf("%w: the palette of section %d has a bad size", codec.ErrMalformed, i)
		}
		plan[i], stream = section{ids: int(ids), runs: 1}, stream[n:] //nolint:gosec // checked above
	}
	return stream, nil
}

// readPalettes leaves all palettes in c.palette.
func (c *coder) readPalettes(plan []section, stream []byte) ([]byte, error) {
	c.palette = c.palette[:0]
	for i, s := range plan {
		next := uint64(0)
		for range s.ids {
			gap, n := binary.Uvarint(stream)
			if n <= 0 || gap > 0xffff || next+gap > 0xffff {
				return nil, fmt.Errorf("%w: the palette of section %d", codec.ErrMalformed, i)
			}
			c.palette = append(c.palette, uint16(next+gap)) //nolint:gosec // checked above
			next, stream = next+gap+1, stream[n:]
		}
	}
	return stream, nil
}

func readCounts(plan []section, stream []byte) ([]byte, error) {
	for i, s := range plan {
		if s.ids == 1 {
			continue
		}
		runs, n := binary.Uvarint(stream)
		if n <= 0 || runs < uint64(s.ids) || runs > sectionBlocks { //nolint:gosec // never negative
			return nil, fmt.Errorf("%w: section %d has %d ids in %d runs", codec.ErrMalformed, i, s.ids, runs)
		}
		plan[i].runs, stream = int(runs), stream[n:] //nolint:gosec // checked above
	}
	return stream, nil
}

// reader reads the runs of one section.
type reader struct {
	palette []uint16
	symbols []byte
	lengths []byte // of this section and all after it
}

// read fills section s of dst, which begins at from, and reports whether its runs fill it exactly.
func (r *reader) read(dst []uint16, from int, s section) bool {
	memory, end := memoryOf(dst), from+sectionBlocks
	if s.ids == 1 {
		fill(dst, memory, from, end, r.palette[0])
		return true
	}
	wide, lengths := s.ids > wideSymbols, r.lengths
	for i := range s.runs {
		var symbol int
		if wide {
			symbol = int(binary.LittleEndian.Uint16(r.symbols[2*i:]))
		} else {
			symbol = int(r.symbols[i])
		}
		if symbol >= len(r.palette) || len(lengths) == 0 {
			return false
		}
		length := int(lengths[0]) + 1
		lengths = lengths[1:]
		if length > 0x80 {
			if len(lengths) == 0 || lengths[0] == 0 || lengths[0] > sectionBlocks>>7-1 {
				return false
			}
			length += (int(lengths[0]) - 1) << 7
			lengths = lengths[1:]
		}
		if length > end-from {
			return false
		}
		fill(dst, memory, from, from+length, r.palette[symbol])
		from += length
	}
	r.lengths = lengths
	return from == end
}
