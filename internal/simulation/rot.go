package simulation

import (
	"bytes"
	"slices"
	"strings"
	"time"
)

// rot kills a node and flips a bit of what its log had synced, at most once in a run: the others are still a majority. The
// newest record is left alone, since a torn write looks the same and is cut: the log cannot know better.
func (w *World) rot(n *Node) {
	if len(w.book.rotten) > 0 || !n.up || w.healed {
		return
	}
	n.die(true)
	defer n.restartIn(w.Between(10*time.Millisecond, time.Second))
	names, err := n.disk.List("data/log")
	if err != nil {
		return
	}
	slices.Sort(names)
	names = slices.DeleteFunc(names, func(name string) bool { return !strings.HasSuffix(name, ".log") })
	if len(names) == 0 {
		return
	}
	name := "data/log/" + names[w.Rand.IntN(len(names))]
	data, err := readAll(n.disk, name)
	if err != nil {
		w.Fail("world", everyPartition, "read the log of %v: %v", n, err)
		return
	}
	newest := bytes.LastIndex(data, []byte("SKL1")) - 8 // where the newest record begins, or bytes that look like it
	if newest <= 0 {
		return
	}
	at, bit := w.Rand.IntN(newest), w.Rand.IntN(8)
	data[at] ^= 1 << bit
	if err := writeAll(n.disk, name, data); err != nil {
		w.Fail("world", everyPartition, "write the log of %v: %v", n, err)
	}
	w.book.rotten[n.id] = true
	w.Counts.Rots++
	w.TellAll("bit %d of byte %d of %v's %s flips", bit, at, n, name)
}
