package pebblestore_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/zeebo/xxh3"

	"github.com/skerry-dev/skerry/persistence"
	"github.com/skerry-dev/skerry/persistence/pebblestore"
	"github.com/skerry-dev/skerry/persistence/persistencetest"
)

// openForCopies opens a store whose copies have many frames and tables.
func openForCopies(tb testing.TB, fs vfs.FS) *pebblestore.Store {
	tb.Helper()
	s := openSmall(tb, fs, 64<<10)
	s.SetCopySizes(1<<10, 4<<10)
	return s
}

// copyOut returns the frames of a copy of p, and its index.
func copyOut(tb testing.TB, s *pebblestore.Store, p persistence.Partition) (frames [][]byte, index uint64) {
	tb.Helper()
	index, err := s.CopyOut(tb.Context(), p, func(frame []byte) error {
		frames = append(frames, bytes.Clone(frame))
		return nil
	})
	if err != nil {
		tb.Fatal(err)
	}
	return frames, index
}

// copyIn writes frames to s and commits them; an error of either ends it.
func copyIn(tb testing.TB, s *pebblestore.Store, p persistence.Partition, frames [][]byte) (index, term uint64, err error) {
	tb.Helper()
	w, err := s.CopyIn(p)
	if err != nil {
		tb.Fatal(err)
	}
	for _, frame := range frames {
		if err = w.Write(frame); err == nil {
			continue
		}
		if _, _, again := w.Commit(); again == nil {
			tb.Errorf("committed after %v", err)
		}
		return 0, 0, errors.Join(err, w.Abort())
	}
	return w.Commit()
}

// ofPartition are the entries of log that are p's, from index first to last.
func ofPartition(log []persistence.Committed, p persistence.Partition, first, last uint64) []persistence.Committed {
	var of []persistence.Committed
	for _, c := range log {
		if c.Partition == p && c.Index >= first && c.Index <= last {
			of = append(of, c)
		}
	}
	return of
}

// all is the greatest index.
const all = ^uint64(0)

func wantNoCopies(tb testing.TB, fs vfs.FS) {
	tb.Helper()
	if left, err := fs.List("data/copies"); len(left) > 0 || err != nil && !errors.Is(err, os.ErrNotExist) {
		tb.Errorf("copies left behind: %v (%v)", left, err)
	}
}

func wantVerified(tb testing.TB, s *pebblestore.Store) {
	tb.Helper()
	_, err := s.Verify(tb.Context(), func(p pebblestore.Problem) {
		if !errors.Is(p.Err, pebblestore.ErrMisplaced) { // random logs use partitions as they like
			tb.Errorf("%s: %v", p.Key, p.Err)
		}
	})
	if err != nil {
		tb.Error(err)
	}
}

// Goal: a copy equals the original to the byte, also after more is applied to both; it takes the place of what was there, in
// memory and on disk, is durable, and leaves the other partition alone. Method: copy a random prefix over a shorter one.
func TestCopyEqualsTheOriginal(t *testing.T) {
	for seed := range uint64(8) {
		t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) {
			rng := rand.New(rand.NewPCG(seed, 3))
			log := persistencetest.RandomLog(t, seed, 400)
			p := persistence.Partition(seed % 2)
			fs := vfs.NewCrashableMem()
			from, to := openForCopies(t, vfs.NewMem()), openForCopies(t, fs)
			at, old := 100+rng.Uint64N(50), rng.Uint64N(100)
			apply(t, from, ofPartition(log, p, 1, at))
			apply(t, to, ofPartition(log, p, 1, old))
			apply(t, to, ofPartition(log, 1-p, 1, 50))
			if seed%3 == 0 {
				if err := to.Flush(); err != nil {
					t.Fatal(err)
				}
			}
			other := digest(t, to, 1-p)

			frames, index := copyOut(t, from, p)
			if index != at || len(frames) < 4 {
				t.Fatalf("a copy of %d in %d frames, want one of %d in several", index, len(frames), at)
			}
			gotIndex, gotTerm, err := copyIn(t, to, p, frames)
			if err != nil || gotIndex != at {
				t.Fatalf("committed at %d: %v", gotIndex, err)
			}
			wantNoCopies(t, fs)
			if index, term, err := to.Applied(p); index != gotIndex || term != gotTerm || err != nil {
				t.Errorf("applied %d at %d (%v), want %d at %d", index, term, err, gotIndex, gotTerm)
			}
			if durable(t, to, p) != at {
				t.Errorf("%d durable, want %d", durable(t, to, p), at)
			}
			if digest(t, to, p) != digest(t, from, p) || digest(t, to, 1-p) != other {
				t.Error("the copy is not the original, or the other partition changed")
			}
			again := open(t, fs.CrashClone(vfs.CrashCloneCfg{}))
			if digest(t, again, p) != digest(t, from, p) {
				t.Error("after a power cut the copy is not the original")
			}
			for _, s := range []*pebblestore.Store{from, to, again} {
				apply(t, s, ofPartition(log, p, 1, all)) // what is applied already is skipped
			}
			for _, s := range []*pebblestore.Store{to, again} {
				conf, err := s.Conf(p)
				want, _ := from.Conf(p)
				if digest(t, s, p) != digest(t, from, p) || err != nil || !bytes.Equal(conf, want) {
					t.Error("after more entries the copy is not the original")
				}
			}
			wantVerified(t, to)
		})
	}
}

// Goal: a copy is of one moment, though Apply goes on. Method: apply the rest between its frames.
func TestCopyWhileApplying(t *testing.T) {
	log := persistencetest.RandomLog(t, 1, 600)
	s, prefix := openForCopies(t, vfs.NewMem()), openForCopies(t, vfs.NewMem())
	apply(t, s, ofPartition(log, 0, 1, 100))
	rest := ofPartition(log, 0, 101, all)
	var frames [][]byte
	index, err := s.CopyOut(t.Context(), 0, func(frame []byte) error {
		frames = append(frames, bytes.Clone(frame))
		n := min(40, len(rest))
		apply(t, s, rest[:n])
		rest = rest[n:]
		return s.Flush()
	})
	if err != nil || index != 100 || len(rest) > 0 {
		t.Fatalf("a copy of %d (%v), %d entries are not applied", index, err, len(rest))
	}
	apply(t, prefix, ofPartition(log, 0, 1, 100))
	to := openForCopies(t, vfs.NewMem())
	if _, _, err = copyIn(t, to, 0, frames); err != nil {
		t.Fatal(err)
	}
	if digest(t, to, 0) != digest(t, prefix, 0) {
		t.Error("the copy is not of the moment at which it began")
	}
}

// Goal: other partitions are applied to, flushed and copied while a copy comes in. Method: all of it at once, under -race.
func TestCopiesAtOnce(t *testing.T) {
	log := persistencetest.RandomLog(t, 4, 600)
	from, to := openForCopies(t, vfs.NewMem()), openForCopies(t, vfs.NewMem())
	apply(t, from, log)
	var frames [2][][]byte
	for p := range persistence.Partition(2) {
		frames[p], _ = copyOut(t, from, p)
	}
	writers := [2]persistence.CopyWriter{}
	var writing sync.WaitGroup
	for p := range persistence.Partition(2) {
		w, err := to.CopyIn(p)
		if err != nil {
			t.Fatal(err)
		}
		writers[p] = w
		writing.Go(func() {
			for _, frame := range frames[p] {
				if err := w.Write(frame); err != nil {
					t.Error(err)
				}
			}
		})
		writing.Go(func() {
			if _, err := from.CopyOut(t.Context(), p, func([]byte) error { return nil }); err != nil {
				t.Error(err)
			}
		})
	}
	for i := range 10 {
		apply(t, to, ofPartition(log, 0, uint64(i)*10+1, uint64(i)*10+10)) //nolint:gosec // small
		if err := to.Flush(); err != nil {
			t.Fatal(err)
		}
	}
	writing.Wait()
	for p, w := range writers {
		if _, _, err := w.Commit(); err != nil {
			t.Fatal(p, err)
		}
	}
	compareStores(t, "after both copies", to, from)
}

// Goal: what is not a whole copy of this partition is refused, by name, and changes nothing; a good copy is taken after it.
func TestBadCopiesAreRefused(t *testing.T) {
	log := persistencetest.RandomLog(t, 2, 400)
	from := openForCopies(t, vfs.NewMem())
	apply(t, from, ofPartition(log, 0, 1, 100))
	frames, _ := copyOut(t, from, 0)
	apply(t, from, log)
	later, _ := copyOut(t, from, 0)
	other, _ := copyOut(t, from, 1)
	empty, _ := copyOut(t, open(t, vfs.NewMem()), 0)
	with := func(i int, frame []byte) [][]byte {
		changed := slices.Clone(frames)
		changed[i] = frame
		return changed
	}
	last := len(frames) - 1
	type bad struct {
		name   string
		frames [][]byte
		want   error
	}
	cases := []bad{
		{"nothing", nil, persistence.ErrBadCopy},
		{"the last frame is missing", frames[:last], persistence.ErrBadCopy},
		{"the first frame is missing", frames[1:], persistence.ErrBadCopy},
		{"a frame is missing", slices.Delete(slices.Clone(frames), 2, 3), persistence.ErrBadCopy},
		{"a frame twice", slices.Insert(slices.Clone(frames), 2, frames[2]), persistence.ErrBadCopy},
		{"the last frame twice", append(slices.Clone(frames), frames[last]), persistence.ErrBadCopy},
		{"two frames swapped", append([][]byte{frames[0], frames[2], frames[1]}, frames[3:]...), persistence.ErrBadCopy},
		{"a frame of another copy", with(2, later[2]), persistence.ErrBadCopy},
		{"the last frame of another copy", with(last, pebblestore.ForgeFrame(uint64(last), 3, pebblestore.FrameBody(later[len(later)-1]))), persistence.ErrBadCopy},
		{"the right frame with a wrong number", with(last, pebblestore.ForgeFrame(uint64(last)+1, 3, pebblestore.FrameBody(frames[last]))), persistence.ErrBadCopy},
		{"a wrong sum of all", with(last, pebblestore.ForgeFrame(uint64(last), 3, flip(bytes.Clone(pebblestore.FrameBody(frames[last]))))), persistence.ErrBadCopy},
		{"another applied index", append([][]byte{later[0]}, frames[1:]...), persistence.ErrBadCopy},
		{"an empty frame", with(1, nil), persistence.ErrBadCopy},
		{"another partition", other, persistence.ErrBadCopy},
		{"an empty store", empty, persistence.ErrOldCopy},
		{"a huge frame", with(1, make([]byte, persistence.MaxCopyFrameBytes+1)), persistence.ErrBadCopy},
	}
	for i, frame := range frames {
		cases = append(cases, bad{fmt.Sprintf("frame %d cut", i), with(i, frame[:len(frame)-1]), persistence.ErrBadCopy})
		for _, at := range []int{0, 8, 12, 13, 14, len(frame) / 2, len(frame) - 1} {
			flipped := bytes.Clone(frame)
			flipped[at] ^= 1 << (i % 8)
			cases = append(cases, bad{fmt.Sprintf("frame %d flipped at %d", i, at), with(i, flipped), persistence.ErrBadCopy})
		}
	}
	fs := vfs.NewMem()
	to := openForCopies(t, fs)
	apply(t, to, ofPartition(log, 0, 1, 30))
	before := digest(t, to, 0)
	for _, c := range cases {
		if _, _, err := copyIn(t, to, 0, c.frames); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", c.name, err, c.want)
		}
		if digest(t, to, 0) != before {
			t.Fatalf("%s: the partition changed", c.name)
		}
		wantNoCopies(t, fs)
	}
	newer := bytes.Clone(frames[0])
	newer[12]++ // the version
	if _, _, err := copyIn(t, to, 0, with(0, reseal(newer))); !errors.Is(err, persistence.ErrNewer) {
		t.Errorf("frames of a newer version: %v, want ErrNewer", err)
	}
	if _, _, err := copyIn(t, to, 0, frames); err != nil {
		t.Errorf("a good copy afterwards: %v", err)
	}
	apply(t, to, ofPartition(log, 0, 1, all))
	if digest(t, to, 0) != digest(t, from, 0) {
		t.Error("the good copy is not the original")
	}
}

// reseal makes a frame's checksum right.
func reseal(frame []byte) []byte {
	binary.LittleEndian.PutUint64(frame, xxh3.Hash(frame[8:]))
	return frame
}

// Goal: a copy of another store's shape, or not newer than what is applied, is refused and changes nothing.
func TestOldOrStrangeCopyIsRefused(t *testing.T) {
	log := persistencetest.RandomLog(t, 3, 200)
	from, to := openForCopies(t, vfs.NewMem()), openForCopies(t, vfs.NewMem())
	apply(t, from, ofPartition(log, 0, 1, 50))
	apply(t, to, ofPartition(log, 0, 1, 50))
	frames, _ := copyOut(t, from, 0)
	if index, _, err := copyIn(t, to, 0, frames); !errors.Is(err, persistence.ErrOldCopy) || index != 50 {
		t.Errorf("a copy of the same index: %d, %v, want 50, ErrOldCopy", index, err)
	}
	w, err := to.CopyIn(0)
	if err != nil {
		t.Fatal(err)
	}
	for _, frame := range frames {
		if err = w.Write(frame); err != nil {
			t.Fatal(err)
		}
	}
	apply(t, to, ofPartition(log, 0, 51, 60)) // while it came
	want := digest(t, to, 0)
	if _, _, err = w.Commit(); !errors.Is(err, persistence.ErrOldCopy) {
		t.Errorf("an older copy: %v, want ErrOldCopy", err)
	}
	if err = w.Abort(); err != nil {
		t.Error(err)
	}
	if _, _, err = w.Commit(); err == nil {
		t.Error("committed twice")
	}
	if digest(t, to, 0) != want {
		t.Error("an old copy changed something")
	}
	if _, err = pebblestore.ReadCopy(0, 4, frames, func(_, _ []byte) error { return nil }); !errors.Is(err, persistence.ErrBadCopy) {
		t.Errorf("of a store of two partitions to one of four: %v, want ErrBadCopy", err)
	}
	if _, err = to.CopyIn(2); err == nil {
		t.Error("a copy of a partition that is not there was begun")
	}
	if _, err = to.CopyOut(t.Context(), 2, func([]byte) error { return nil }); err == nil {
		t.Error("a partition that is not there was copied")
	}
}

// Goal: CopyOut ends with the error of send, and with the context's.
func TestCopyOutEnds(t *testing.T) {
	s := openForCopies(t, vfs.NewMem())
	apply(t, s, persistencetest.RandomLog(t, 3, 200))
	enough := errors.New("enough")
	sent := 0
	if _, err := s.CopyOut(t.Context(), 0, func([]byte) error {
		if sent++; sent == 3 {
			return enough
		}
		return nil
	}); !errors.Is(err, enough) || sent != 3 {
		t.Errorf("%v after %d frames, want the error of the third", err, sent)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	if _, err := s.CopyOut(ctx, 0, func([]byte) error { cancel(); return nil }); !errors.Is(err, context.Canceled) {
		t.Errorf("%v, want Canceled", err)
	}
}

// Goal: nothing is left of a copy that was aborted, nor of one under way when the power was cut.
func TestUnfinishedCopyLeavesNothing(t *testing.T) {
	log := persistencetest.RandomLog(t, 3, 200)
	from := openForCopies(t, vfs.NewMem())
	apply(t, from, log)
	frames, _ := copyOut(t, from, 0)
	fs := vfs.NewCrashableMem()
	to := openForCopies(t, fs)
	w, err := to.CopyIn(0)
	if err != nil {
		t.Fatal(err)
	}
	for _, frame := range frames[:len(frames)-1] {
		if err = w.Write(frame); err != nil {
			t.Fatal(err)
		}
	}
	if left, listErr := fs.List("data/copies"); listErr != nil || len(left) != 1 {
		t.Fatalf("%v (%v): this test looks in the wrong place", left, listErr)
	}
	crashed := fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 100, RNG: rand.New(rand.NewPCG(1, 1))})
	open(t, crashed)
	wantNoCopies(t, crashed)
	if err = w.Abort(); err != nil {
		t.Fatal(err)
	}
	wantNoCopies(t, fs)
	if err = w.Write(frames[len(frames)-1]); err == nil {
		t.Error("written to after Abort")
	}
}

// Goal: a dropped partition is as if it had never been, also after a power cut, and the other one is whole; its log can
// be applied again from the start, and a copy be taken.
func TestDrop(t *testing.T) {
	log := persistencetest.RandomLog(t, 5, 300)
	fs := vfs.NewCrashableMem()
	s, fresh := openForCopies(t, fs), openForCopies(t, vfs.NewMem())
	apply(t, s, log)
	frames, index := copyOut(t, s, 0)
	want, other := digest(t, s, 0), digest(t, s, 1)
	for range 2 {
		if err := s.Drop(0); err != nil {
			t.Fatal(err)
		}
	}
	crashed := open(t, fs.CrashClone(vfs.CrashCloneCfg{}))
	for _, s := range []*pebblestore.Store{s, crashed} {
		applied, term, err := s.Applied(0)
		conf, confErr := s.Conf(0)
		if applied != 0 || term != 0 || conf != nil || durable(t, s, 0) != 0 || errors.Join(err, confErr) != nil {
			t.Errorf("applied %d at %d, %d durable, conf %q (%v, %v); want nothing", applied, term, durable(t, s, 0), conf, err, confErr)
		}
		if digest(t, s, 0) != digest(t, fresh, 0) || digest(t, s, 1) != other {
			t.Error("something is left, or the other partition changed")
		}
		apply(t, s, ofPartition(log, 0, 1, all))
		if digest(t, s, 0) != want {
			t.Error("the log applied again gives something else")
		}
		if err := s.Drop(0); err != nil {
			t.Fatal(err)
		}
		if got, _, err := copyIn(t, s, 0, frames); err != nil || got != index || digest(t, s, 0) != want {
			t.Errorf("a copy of %d (%v) is not the original", got, err)
		}
	}
	if err := s.Drop(7); err == nil {
		t.Error("dropped a partition that is not there")
	}
}

// Goal: whoever reads a partition at one moment goes on seeing it when a copy takes its place, or nothing does: else a load
// would call absent what was taken away under it.
func TestReadersKeepTheirView(t *testing.T) {
	for _, flushed := range []bool{false, true} {
		s := openForCopies(t, vfs.NewMem())
		k := persistencetest.Player("1001")
		d := persistencetest.NewDriver(t, s, 0)
		d.Must(persistence.Change{Key: k, Entries: persistencetest.Entries(t, 1, 3), Snapshot: persistencetest.State(t, 3)})
		if flushed {
			if err := s.Flush(); err != nil {
				t.Fatal(err)
			}
		}
		reader, end := s.ReadAt(0)
		if err := s.Drop(0); err != nil {
			t.Fatal(err)
		}
		for _, key := range [][]byte{pebblestore.HeadKey(0, k), pebblestore.EntryKey(0, k, 2), pebblestore.SnapshotKey(0, k, "", 3)} {
			value, closer, err := reader.Get(key)
			if err != nil || len(value) == 0 {
				t.Errorf("%q: %v after the partition was dropped", key, err)
				continue
			}
			if err = closer.Close(); err != nil {
				t.Error(err)
			}
		}
		if err := end(); err != nil {
			t.Error(err)
		}
		if _, err := s.Load(t.Context(), 0, k); !errors.Is(err, persistence.ErrAbsent) {
			t.Errorf("%v, want ErrAbsent", err)
		}
	}
}

// Goal: a copy with damaged values says how many, and they are found at the other end as they would have been here; what
// Apply needs is not copied damaged.
func TestDamageIsCopiedOpenly(t *testing.T) {
	k, large, last := persistencetest.Player("1001"), persistencetest.Player("1002"), persistencetest.Player("1003")
	p := persistence.Partition(0)
	make1 := func(t *testing.T) *pebblestore.Store {
		t.Helper()
		s := openForCopies(t, vfs.NewMem())
		d := persistencetest.NewDriver(t, s, p)
		d.Must(persistence.Change{Key: k, Entries: persistencetest.Entries(t, 1, 4), Snapshot: persistencetest.State(t, 4)})
		d.Must(persistence.Change{Key: k, Entries: persistencetest.Entries(t, 5, 7), Snapshot: persistencetest.State(t, 7)})
		d.Must(persistence.Change{Key: k, Entries: persistencetest.Entries(t, 8, 9)})
		value := persistencetest.Frame(t, strings.Repeat("large ", 1000))
		d.Must(persistence.Change{Key: large, Entries: persistencetest.Entries(t, 1, 7), Piece: &persistence.Piece{Seq: 4, Index: 0, Data: value[:3000]}})
		d.Must(persistence.Change{Key: large, Piece: &persistence.Piece{Seq: 4, Index: 1, Data: value[3000:]}, Snapshot: &persistence.Snapshot{Seq: 4, SavedAt: persistencetest.SavedAt, Pieces: 2}})
		d.Must(persistence.Change{Key: last, Entries: persistencetest.Entries(t, 1, 1), Snapshot: persistencetest.State(t, 1)})
		d.Must(persistence.Change{Key: large, Piece: &persistence.Piece{Seq: 7, Index: 0, Data: value[:3000]}}) // staged: no whole value yet
		return s
	}
	for _, c := range []struct {
		name    string
		key     []byte
		change  func([]byte) []byte
		damaged uint64
		want    error
	}{
		{"nothing", pebblestore.EntryKey(p, k, 8), func(b []byte) []byte { return b }, 0, nil},
		{"an entry", pebblestore.EntryKey(p, k, 8), flip, 1, nil},
		{"a snapshot", pebblestore.SnapshotKey(p, k, "", 7), cut, 1, nil},
		{"the last value of all", pebblestore.SnapshotKey(p, last, "", 1), flip, 1, nil},
		{"a piece", pebblestore.SnapshotKey(p, large, "", 4), flip, 1, nil},
		{"a piece is missing", pebblestore.SnapshotKey(p, large, "", 4), remove, 1, nil},
		{"a head", pebblestore.HeadKey(p, k), flip, 0, persistence.ErrCorrupt},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := make1(t)
			harm(t, s, c.key, c.change)
			var frames [][]byte
			_, err := s.CopyOut(t.Context(), p, func(frame []byte) error {
				frames = append(frames, bytes.Clone(frame))
				return nil
			})
			if !errors.Is(err, c.want) || err != nil && !strings.Contains(err.Error(), k.ID) {
				t.Fatalf("%v, want %v that names the key", err, c.want)
			}
			if err != nil {
				return
			}
			damaged, err := pebblestore.ReadCopy(p, 2, frames, func(_, _ []byte) error { return nil })
			if err != nil || damaged != c.damaged {
				t.Errorf("%d damaged (%v), want %d", damaged, err, c.damaged)
			}
			to := openForCopies(t, vfs.NewMem())
			if _, _, err = copyIn(t, to, p, frames); err != nil {
				t.Fatal(err)
			}
			for _, k := range []persistence.Key{k, large} {
				here, hereErr := s.Load(t.Context(), p, k)
				there, thereErr := to.Load(t.Context(), p, k)
				if fmt.Sprintf("%+v", here) != fmt.Sprintf("%+v", there) || !errors.Is(thereErr, persistencetest.Class(hereErr)) && hereErr != nil && !errors.Is(thereErr, persistence.ErrCorrupt) {
					t.Errorf("%s: here %+v %v, there %+v %v", k, here, hereErr, there, thereErr)
				}
			}
		})
	}
}
