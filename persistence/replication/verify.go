package replication

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/skerry-dev/skerry/persistence"
)

// Summary counts what a log holds.
type Summary struct {
	Segments, Records, Entries int
	// Bytes is the length of the records with their headers.
	Bytes int64
	// Partitions says what each group ends with, by partition.
	Partitions []LogEnd
}

// LogEnd is the end of one group in the log.
type LogEnd struct {
	Partition persistence.Partition
	Term      uint64
	First     uint64 // the oldest index that the log still holds; Last+1 when none
	Last      uint64
	// Absent says that this node has no replica, and Copying that the state may be a copy from which the log does not go
	// on yet: the next start sees to it.
	Absent, Copying bool
}

// Check compares what the log holds with the applied index of a state machine beside it, as Open would. It returns
// [persistence.ErrCorrupt] when the log cannot go on from there.
func (s Summary) Check(p persistence.Partition, applied uint64) error {
	end := LogEnd{Partition: p, First: 1}
	for _, known := range s.Partitions {
		if known.Partition == p {
			end = known
		}
	}
	if end.Absent || end.Copying && applied > end.Last { // what is left of a replica that was removed, or a copy
		return nil
	}
	here := groupCheckpoint{Partition: p, Replica: 1, Truncated: end.First - 1, Last: end.Last}
	g := &replayed{groupCheckpoint: here, Applied: applied}
	if reason := g.mismatch(); reason != "" {
		return fmt.Errorf("%w: %s; %s", persistence.ErrCorrupt, reason, adviceBehind)
	}
	return nil
}

// Verify reads the log in dir whole, as Open would, and changes nothing. It returns what it counted up to the first
// problem, and a [CorruptError] when there is one. It returns an error when another process has the directory open.
// A torn record at the end is not a problem: the next Open cuts it.
func Verify(fs vfs.FS, dir string) (_ Summary, err error) {
	if _, err = fs.Stat(dir); err != nil {
		return Summary{}, fmt.Errorf("verify the log in %s: %w", dir, err)
	}
	d, err := openDirectory(fs, dir)
	if err != nil {
		return Summary{}, err
	}
	defer func() { err = errors.Join(err, d.file.Close()) }()
	lock, err := d.lock()
	if err != nil {
		return Summary{}, err
	}
	defer func() { err = errors.Join(err, lock.Close()) }()
	live, _, err := d.list()
	if err != nil {
		return Summary{}, err
	}
	r := &replay{open: true, slots: make(map[persistence.Partition]int)}
	_, err = r.readAll(d, live)
	for _, p := range slices.Sorted(maps.Keys(r.slots)) {
		g := &r.groups[r.slots[p]]
		r.summary.Partitions = append(r.summary.Partitions, LogEnd{
			Partition: p, Term: g.Hard.Term, First: max(g.base, g.Truncated) + 1, Last: g.Last,
			Absent: g.Replica == 0, Copying: g.Copying,
		})
	}
	return r.summary, err
}
