package replication

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"go.etcd.io/raft/v3/raftpb"

	"github.com/skerry-dev/skerry/persistence"
)

// newTestReplay expects two partitions of which the state machine has applied so much.
func newTestReplay(applied ...uint64) *replay {
	r := &replay{slots: map[persistence.Partition]int{}}
	for i := range 2 {
		g := replayed{groupCheckpoint: groupCheckpoint{Partition: persistence.Partition(i), Replica: 1, Conf: &raftpb.ConfState{Voters: []uint64{1}}}}
		if i < len(applied) {
			g.Applied, g.AppliedTerm = applied[i], 1
		}
		r.groups = append(r.groups, g)
		r.slots[g.Partition] = i
	}
	return r
}

func testLogOptions(fs vfs.FS) logOptions {
	return logOptions{FS: fs, Dir: "log", SegmentBytes: 16 << 10, MaxBytes: 64 << 10, Random: rand.Uint32}
}

func mustOpenLog(t *testing.T, fs vfs.FS, r *replay) *segmentLog {
	t.Helper()
	l, err := openLog(testLogOptions(fs), r)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func newEntry(index, term uint64, data string) *raftpb.Entry {
	return &raftpb.Entry{Index: &index, Term: &term, Type: raftpb.EntryNormal.Enum(), Data: []byte(data)}
}

// appendTo writes and syncs one entry.
func appendTo(t *testing.T, l *segmentLog, slot int, index uint64, data string) {
	t.Helper()
	hard := hardState{Term: 1, Vote: 1, Commit: index - 1}
	batch := groupBatch{Partition: persistence.Partition(slot), slot: slot, Hard: &hard, Entries: []*raftpb.Entry{newEntry(index, 1, data)}}
	if err := errors.Join(l.append([]groupBatch{batch}), l.sync()); err != nil {
		t.Fatal(err)
	}
}

func closeLog(t *testing.T, l *segmentLog) {
	t.Helper()
	if err := l.close(); err != nil {
		t.Fatal(err)
	}
}

// said writes down the entries of a group, for comparing.
func said(r *replay, slot int) string {
	var b strings.Builder
	for _, e := range r.groups[slot].Entries {
		fmt.Fprintf(&b, "%d.%d %.20s;", e.GetIndex(), e.GetTerm(), e.GetData())
	}
	return b.String()
}

func TestLogRemembers(t *testing.T) {
	fs := vfs.NewMem()
	l := mustOpenLog(t, fs, newTestReplay())
	appendTo(t, l, 0, 1, "a")
	appendTo(t, l, 1, 1, "b")
	appendTo(t, l, 0, 2, "c")
	over := groupBatch{Partition: 0, slot: 0, Entries: []*raftpb.Entry{newEntry(2, 3, "d"), newEntry(3, 3, "")}}
	if err := errors.Join(l.append([]groupBatch{over}), l.sync()); err != nil {
		t.Fatal(err)
	}
	closeLog(t, l)

	r := newTestReplay()
	closeLog(t, mustOpenLog(t, fs, r))
	if got, want := said(r, 0)+said(r, 1), "1.1 a;2.3 d;3.3 ;"+"1.1 b;"; got != want {
		t.Errorf("entries %q, want %q", got, want)
	}
	if got, want := r.groups[0].Hard, (hardState{Term: 1, Vote: 1, Commit: 1}); got != want {
		t.Errorf("hard state %+v, want %+v", got, want)
	}
	r = newTestReplay(2, 0)
	closeLog(t, mustOpenLog(t, fs, r))
	if got, want := said(r, 0), "3.3 ;"; got != want || r.groups[0].Hard.Commit != 2 {
		t.Errorf("behind index 2: entries %q, commit %d, want %q, 2", got, r.groups[0].Hard.Commit, want)
	}
}

// filled returns a log of several segments, and the size of each.
func filled(t *testing.T) (*vfs.MemFS, []string) {
	t.Helper()
	fs := vfs.NewMem()
	l := mustOpenLog(t, fs, newTestReplay())
	for i := range uint64(20) {
		appendTo(t, l, 0, i+1, strings.Repeat("x", 2000))
	}
	closeLog(t, l)
	live, _, err := l.dir.list()
	if err != nil || len(live) != 3 {
		t.Fatalf("segments %v (%v), want 3", live, err)
	}
	names := make([]string, len(live))
	for i, number := range live {
		names[i] = fmt.Sprintf("%08x%s", number, liveSuffix)
	}
	return fs, names
}

// contents returns a segment's bytes up to the end of its last record, with where each record begins.
func contents(t *testing.T, fs vfs.FS, name string) (data []byte, records []int64) {
	t.Helper()
	f, err := fs.Open("log/" + name)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	number, _ := parseName(name, liveSuffix)
	s, err := newScanner(f, number)
	if err != nil {
		t.Fatal(err)
	}
	for {
		records = append(records, s.offset)
		payload, _, err := s.read()
		if err != nil {
			t.Fatal(err)
		}
		if payload == nil {
			break
		}
	}
	data = make([]byte, s.offset)
	if _, err := f.ReadAt(data, 0); err != nil && !errors.Is(err, io.EOF) {
		t.Fatal(err)
	}
	return data, records[:len(records)-1]
}

// overwrite puts data at offset, without touching what is behind.
func overwrite(t *testing.T, fs vfs.FS, name string, offset int64, data []byte) {
	t.Helper()
	f, err := fs.OpenReadWrite("log/"+name, vfs.WriteCategoryUnspecified)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt(data, offset); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}

// Opening again and again takes no more space, and forgets nothing.
func TestUnusedSegmentIsUsedAgain(t *testing.T) {
	fs := vfs.NewMem()
	l := mustOpenLog(t, fs, newTestReplay())
	appendTo(t, l, 0, 1, "a")
	closeLog(t, l)
	for range 5 {
		closeLog(t, mustOpenLog(t, fs, newTestReplay()))
	}
	if names, err := fs.List("log"); err != nil || len(names) != 3 { // two segments and the lock
		t.Errorf("%v, %v", names, err)
	}
	l = mustOpenLog(t, fs, newTestReplay())
	appendTo(t, l, 0, 2, "b")
	closeLog(t, l)
	r := newTestReplay()
	closeLog(t, mustOpenLog(t, fs, r))
	if got, want := said(r, 0), "1.1 a;2.1 b;"; got != want {
		t.Errorf("entries %q, want %q", got, want)
	}
}

// Goal: whatever part of the last record did not reach the disk, the log opens with everything before it.
func TestTornTailIsCut(t *testing.T) {
	for _, lost := range []int64{1, 8, 100, 1000, 2030} {
		t.Run(fmt.Sprint(lost), func(t *testing.T) {
			fs, names := filled(t)
			newest := names[2]
			data, records := contents(t, fs, newest)
			last := records[len(records)-1]
			from := max(last, int64(len(data))-lost)
			overwrite(t, fs, newest, from, make([]byte, int64(len(data))-from))

			r := newTestReplay()
			l := mustOpenLog(t, fs, r)
			if r.groups[0].Last != 19 {
				t.Fatalf("log ends at %d, want 19", r.groups[0].Last)
			}
			appendTo(t, l, 0, 20, "again")
			closeLog(t, l)
			again := newTestReplay()
			closeLog(t, mustOpenLog(t, fs, again))
			if got := string(again.groups[0].Entries[19].GetData()); again.groups[0].Last != 20 || got != "again" {
				t.Fatalf("after going on: ends at %d with %q", again.groups[0].Last, got)
			}
		})
	}
}

// Goal: damage to anything that was synced, other than the last record, refuses to open and names the place.
func TestDamageIsRefused(t *testing.T) {
	for name, damage := range map[string]func(t *testing.T, fs *vfs.MemFS, names []string) (file string, offset int64){
		"a bit of a value in the newest segment": func(t *testing.T, fs *vfs.MemFS, names []string) (string, int64) {
			t.Helper()
			data, records := contents(t, fs, names[2])
			at := records[1] + 100
			overwrite(t, fs, names[2], at, []byte{data[at] ^ 1})
			return names[2], records[1]
		},
		"a length in the newest segment": func(t *testing.T, fs *vfs.MemFS, names []string) (string, int64) {
			t.Helper()
			_, records := contents(t, fs, names[2])
			overwrite(t, fs, names[2], records[1]+12, []byte{0xff, 0xff, 0xff, 0xff})
			return names[2], records[1]
		},
		"the checkpoint of the newest segment": func(t *testing.T, fs *vfs.MemFS, names []string) (string, int64) {
			t.Helper()
			overwrite(t, fs, names[2], 40, []byte{0xff})
			return names[2], 0
		},
		"the last record of an older segment": func(t *testing.T, fs *vfs.MemFS, names []string) (string, int64) {
			t.Helper()
			_, records := contents(t, fs, names[0])
			overwrite(t, fs, names[0], records[len(records)-1]+50, []byte{0xff})
			return names[1], 0
		},
		"the checkpoint of an older segment": func(t *testing.T, fs *vfs.MemFS, names []string) (string, int64) {
			t.Helper()
			data, _ := contents(t, fs, names[1])
			overwrite(t, fs, names[1], 5, []byte{data[5] ^ 1}) // of a checksum, which is another one each time
			return names[1], 0
		},
		"a lost segment": func(t *testing.T, fs *vfs.MemFS, names []string) (string, int64) {
			t.Helper()
			if err := fs.Remove("log/" + names[1]); err != nil {
				t.Fatal(err)
			}
			return names[2], 0
		},
	} {
		t.Run(name, func(t *testing.T) {
			fs, names := filled(t)
			file, offset := damage(t, fs, names)
			_, verifyErr := Verify(fs, "log")
			_, err := openLog(testLogOptions(fs), newTestReplay())
			for _, err := range []error{err, verifyErr} {
				corrupt, ok := errors.AsType[*CorruptError](err)
				if !ok || corrupt.File != file || corrupt.Offset != offset || corrupt.Advice == "" {
					t.Errorf("got %v, want a CorruptError of %s at byte %d", err, file, offset)
				}
			}
		})
	}
}

// Goal: state and log that do not belong together are refused.
func TestStrangersAreRefused(t *testing.T) {
	fs, names := filled(t)
	if _, err := openLog(testLogOptions(fs), newTestReplay(21, 0)); !isCorrupt(err, "the log ends at 20") {
		t.Errorf("a state ahead of its log: %v", err)
	}
	three := newTestReplay()
	three.groups, three.slots[2] = append(three.groups, replayed{groupCheckpoint: groupCheckpoint{Partition: 2}}), 2
	if _, err := openLog(testLogOptions(fs), three); !isCorrupt(err, "holds 2 groups, not 3") {
		t.Errorf("another number of partitions: %v", err)
	}
	if err := fs.Remove("log/" + names[0]); err != nil {
		t.Fatal(err)
	}
	if _, err := openLog(testLogOptions(fs), newTestReplay(3, 0)); !isCorrupt(err, "its state has only 3") {
		t.Errorf("a state behind its log: %v", err)
	}
}

func isCorrupt(err error, reason string) bool {
	corrupt, ok := errors.AsType[*CorruptError](err)
	return ok && strings.Contains(corrupt.Error(), reason)
}

// Goal: a segment that is used again never shows what it held before. Method: write over it less than it held.
func TestStaleRecordsAreNotTakenForLive(t *testing.T) {
	fs := vfs.NewMem()
	l := mustOpenLog(t, fs, newTestReplay())
	index := uint64(0)
	write := func(n int) {
		for range n {
			index++
			appendTo(t, l, 0, index, strings.Repeat("x", 2000)) // records of one size: stale ones begin where live ones end
		}
	}
	write(20)
	if dropped, err := l.truncate([]uint64{index, 0}); err != nil || dropped != 2 {
		t.Fatalf("dropped %d (%v), want 2", dropped, err)
	}
	_, free, err := l.dir.list()
	if err != nil || len(free) != 2 {
		t.Fatalf("free segments %v (%v), want 2", free, err)
	}
	write(4) // less than the segment held before
	live, _, err := l.dir.list()
	if err != nil || !slices.Equal(live, []uint32{3, 4}) {
		t.Fatalf("live segments %v (%v), want 3 and 4", live, err)
	}
	closeLog(t, l)
	r := newTestReplay(20, 0)
	closeLog(t, mustOpenLog(t, fs, r))
	if r.groups[0].Last != index {
		t.Fatalf("log ends at %d, want %d", r.groups[0].Last, index)
	}
}

// Goal: what a killed process wrote and did not sync is durable once it was believed. Method: kill, open, cut the power.
func TestBelievedIsDurable(t *testing.T) {
	fs := vfs.NewCrashableMem()
	l := mustOpenLog(t, fs, newTestReplay())
	batch := groupBatch{Partition: 0, slot: 0, Entries: []*raftpb.Entry{newEntry(1, 1, "in memory only")}}
	if err := l.append([]groupBatch{batch}); err != nil {
		t.Fatal(err)
	}
	closeLog(t, l)
	l = mustOpenLog(t, fs, newTestReplay())
	cut := fs.CrashClone(vfs.CrashCloneCfg{})
	closeLog(t, l)
	r := newTestReplay()
	closeLog(t, mustOpenLog(t, cut, r))
	if r.groups[0].Last != 1 {
		t.Fatalf("log ends at %d, want 1", r.groups[0].Last)
	}
}

// Goal: a vote lost from an older segment is found, though no entry is missing: the record numbers have a gap.
func TestLostVoteIsRefused(t *testing.T) {
	fs := vfs.NewMem()
	l := mustOpenLog(t, fs, newTestReplay())
	appendTo(t, l, 0, 1, "a")
	at, name := l.offset, l.active.name
	vote := groupBatch{Partition: 0, slot: 0, Hard: &hardState{Term: 9, Vote: 2}}
	if err := errors.Join(l.append([]groupBatch{vote}), l.sync()); err != nil {
		t.Fatal(err)
	}
	appendTo(t, l, 0, 2, strings.Repeat("x", 20<<10)) // begins a segment
	closeLog(t, l)
	overwrite(t, fs, name, at+36, []byte{0xff})
	if _, err := openLog(testLogOptions(fs), newTestReplay()); !isCorrupt(err, "the segment before it ends with record 2") {
		t.Fatalf("got %v", err)
	}
}

func TestTruncateKeepsWhatIsNotDurable(t *testing.T) {
	fs := vfs.NewMem()
	l := mustOpenLog(t, fs, newTestReplay())
	appendTo(t, l, 1, 1, "waits")
	for i := range uint64(20) {
		appendTo(t, l, 0, i+1, strings.Repeat("x", 2000))
	}
	for _, step := range []struct {
		durable []uint64
		want    int
	}{{[]uint64{20, 0}, 0}, {[]uint64{6, 1}, 0}, {[]uint64{7, 1}, 1}, {[]uint64{7, 1}, 0}, {[]uint64{20, 1}, 1}, {[]uint64{20, 1}, 0}} {
		if dropped, err := l.truncate(step.durable); err != nil || dropped != step.want {
			t.Errorf("durable %v: dropped %d (%v), want %d", step.durable, dropped, err, step.want)
		}
	}
	closeLog(t, l)
}

func TestRecordLargerThanASegment(t *testing.T) {
	fs := vfs.NewMem()
	l := mustOpenLog(t, fs, newTestReplay())
	appendTo(t, l, 0, 1, "small")
	appendTo(t, l, 0, 2, strings.Repeat("L", 50<<10))
	appendTo(t, l, 0, 3, "small")
	closeLog(t, l)
	r := newTestReplay()
	closeLog(t, mustOpenLog(t, fs, r))
	if r.groups[0].Last != 3 || len(r.groups[0].Entries[1].GetData()) != 50<<10 {
		t.Fatalf("log ends at %d", r.groups[0].Last)
	}
}

func TestDirectoryIsLocked(t *testing.T) {
	fs := vfs.NewMem()
	l := mustOpenLog(t, fs, newTestReplay())
	_, err := openLog(testLogOptions(fs), newTestReplay())
	_, verifyErr := Verify(fs, "log")
	for _, err := range []error{err, verifyErr} {
		if err == nil || !strings.Contains(err.Error(), "another process uses this directory") {
			t.Errorf("a second opening: %v", err)
		}
	}
	closeLog(t, l)
	closeLog(t, mustOpenLog(t, fs, newTestReplay()))
}

func TestVerifyCounts(t *testing.T) {
	fs, _ := filled(t)
	got, err := Verify(fs, "log")
	if err != nil {
		t.Fatal(err)
	}
	if got.Segments != 3 || got.Records != 23 || got.Entries != 20 || len(got.Partitions) != 2 || got.Partitions[0] != (LogEnd{Partition: 0, Term: 1, First: 1, Last: 20}) {
		t.Fatalf("got %+v", got)
	}
	if _, err := Verify(fs, "elsewhere"); err == nil {
		t.Fatal("verified a directory that is not there")
	}
}

// Goal: a file that waits to be used again is known once.
// Method: leave a live segment with both of its names, as a crash between the two steps of a rename does, then let it be
// released and two more segments begin; and prepare a file at the moment at which another is being taken.
func TestWaitingSegmentsAreKnownOnce(t *testing.T) {
	t.Run("after a half release", func(t *testing.T) {
		fs := vfs.NewMem()
		l := mustOpenLog(t, fs, newTestReplay())
		appendTo(t, l, 0, 1, "a")
		if err := l.rotate(); err != nil {
			t.Fatal(err)
		}
		appendTo(t, l, 0, 2, "b")
		closeLog(t, l)
		for _, name := range []string{"log/00000001", "log/00000002"} { // the log takes one at once when it opens
			if err := vfs.Copy(fs, name+liveSuffix, name+freeSuffix); err != nil {
				t.Fatal(err)
			}
		}
		l = mustOpenLog(t, fs, newTestReplay())
		if dropped, err := l.truncate([]uint64{2, 0}); err != nil || dropped != 2 {
			t.Fatalf("dropped %d, %v", dropped, err)
		}
		if err := errors.Join(l.rotate(), l.rotate(), l.rotate()); err != nil {
			t.Error(err)
		}
		closeLog(t, l)
	})
	t.Run("while one is taken", func(t *testing.T) {
		fs := &renameHook{FS: vfs.NewMem()}
		l := mustOpenLog(t, fs, newTestReplay())
		if err := l.prepare(); err != nil {
			t.Fatal(err)
		}
		var prepared error
		fs.before = func() { fs.before = nil; prepared = l.prepare() }
		if err := errors.Join(l.rotate(), prepared, l.rotate()); err != nil {
			t.Error(err)
		}
		closeLog(t, l)
	})
}

// renameHook calls before ahead of the next rename.
type renameHook struct {
	vfs.FS
	before func()
}

func (f *renameHook) Rename(from, to string) error {
	if f.before != nil {
		f.before()
	}
	return f.FS.Rename(from, to)
}
