package simulation

import (
	"slices"
	"strings"
	"time"
)

// rot kills a node and flips a bit of its log or of its store, at most once in a run: the others are still a majority. The
// newest records of the log are left alone, since a torn write looks the same and is cut: the log cannot know better.
func (w *World) rot(n *Node) {
	if len(w.book.rotten) > 0 || !n.up || w.healed {
		return
	}
	n.die(true)
	defer n.restartIn(w.Between(10*time.Millisecond, time.Second))
	suffix, folder := ".log", "data/log"
	if w.Config.Store && w.Chance(500) {
		suffix, folder = ".sst", "data/state"
	}
	name, data := w.anyFile(n, folder, suffix)
	if len(data) == 0 {
		return
	}
	at, bit := w.Rand.IntN(len(data)), w.Rand.IntN(8)
	data[at] ^= 1 << bit
	if err := writeAll(n.disk, name, data); err != nil {
		w.Fail("world", everyPartition, "write %s of %v: %v", name, n, err)
	}
	w.book.rotten[n.id] = true
	w.Counts.Rots++
	w.TellAll("bit %d of byte %d of %v's %s flips", bit, at, n, name)
}

// anyFile draws one of a node's files and reads it.
func (w *World) anyFile(n *Node, folder, suffix string) (name string, data []byte) {
	names, err := n.disk.List(folder)
	if err != nil {
		return "", nil // it was killed before it made the folder
	}
	slices.Sort(names)
	names = slices.DeleteFunc(names, func(name string) bool { return !strings.HasSuffix(name, suffix) })
	if suffix == ".log" {
		names = names[:max(0, len(names)-2)] // a synced record behind which nothing stands looks like a torn one
	}
	if len(names) == 0 {
		return "", nil
	}
	name = n.disk.PathJoin(folder, names[w.Rand.IntN(len(names))])
	if data, err = readAll(n.disk, name); err != nil {
		w.Fail("world", everyPartition, "read %s of %v: %v", name, n, err)
	}
	return name, data
}
