package replication

import (
	"bytes"
	"errors"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"go.etcd.io/raft/v3/raftpb"
)

func samplePayloads(tb testing.TB) [][]byte {
	tb.Helper()
	checkpoint, err := appendCheckpoint(nil, []groupCheckpoint{
		{Partition: 0, Hard: hardState{Term: 3, Vote: 1, Commit: 300}, Conf: &raftpb.ConfState{Voters: []uint64{1}}, Truncated: 7, Last: 9, LastTerm: 2},
		{Partition: 1, Replica: 1<<32 | 3, Copying: true, Conf: &raftpb.ConfState{}},
		{Partition: 2, Gone: 1<<32 | 3, Conf: &raftpb.ConfState{}},
		{Partition: 0xFFFF, Conf: &raftpb.ConfState{}},
	})
	if err != nil {
		tb.Fatal(err)
	}
	batch := appendBatch(nil, []groupBatch{
		{Partition: 1, Hard: &hardState{Term: 1}, Entries: []*raftpb.Entry{newEntry(5, 1, "five"), newEntry(6, 1, "")}},
		{Partition: 2, Entries: []*raftpb.Entry{newEntry(1, 1, "one")}},
		{Partition: 3, Hard: &hardState{Term: 1 << 60, Vote: 2, Commit: 1 << 50}},
		{Partition: 4, Replica: new(uint64), Gone: 3},
	})
	return [][]byte{checkpoint, batch}
}

// Goal: no payload can crash the decoder, and what decodes survives another round.
func FuzzDecodePayload(f *testing.F) {
	for _, payload := range samplePayloads(f) {
		f.Add(payload)
		f.Add(payload[:len(payload)-1])
	}
	f.Add([]byte{batchPayload, 0xff, 0xff, 0xff, 0xff, 0x0f})
	f.Fuzz(func(t *testing.T, payload []byte) {
		checkpoint, batch, err := decodePayload(payload)
		if err != nil {
			if !errors.Is(err, errMalformed) {
				t.Fatalf("refused with %v, want errMalformed", err)
			}
			return
		}
		again := appendBatch(nil, batch)
		if checkpoint != nil {
			if again, err = appendCheckpoint(nil, checkpoint); err != nil {
				t.Fatal(err)
			}
		}
		c, b, err := decodePayload(again)
		if err != nil || len(c) != len(checkpoint) || len(b) != len(batch) {
			t.Fatalf("encoded again as %x: %v", again, err)
		}
	})
}

// Goal: no segment file can crash the recovery, nor make it take memory for lengths that are not there.
func FuzzReadSegment(f *testing.F) {
	var file []byte
	for i, payload := range samplePayloads(f) {
		record := append(beginRecord(nil), payload...)
		sealRecord(record, newSegmentID(1, 77), uint64(i)+1)
		file = append(file, record...)
	}
	f.Add(file)
	f.Add(file[:len(file)-3])
	f.Add(bytes.Repeat([]byte(recordMagic), 40))
	f.Fuzz(func(t *testing.T, data []byte) {
		fs := vfs.NewMem()
		if err := fs.MkdirAll("log", 0o755); err != nil {
			t.Fatal(err)
		}
		w, err := fs.Create("log/00000001.log", vfs.WriteCategoryUnspecified)
		if err != nil {
			t.Fatal(err)
		}
		if _, err = w.Write(bytes.Clone(data)); err != nil {
			t.Fatal(err)
		}
		if err = w.Close(); err != nil {
			t.Fatal(err)
		}
		summary, err := Verify(fs, "log")
		if summary.Bytes > int64(len(data)) || err == nil && summary.Records == 0 && summary.Bytes > 0 {
			t.Fatalf("%d bytes gave %+v, %v", len(data), summary, err)
		}
	})
}

func TestPayloadsSurviveEncoding(t *testing.T) {
	for _, payload := range samplePayloads(t) {
		checkpoint, batch, err := decodePayload(payload)
		if err != nil {
			t.Fatal(err)
		}
		again := appendBatch(nil, batch)
		if checkpoint != nil {
			if again, err = appendCheckpoint(nil, checkpoint); err != nil {
				t.Fatal(err)
			}
		}
		if !bytes.Equal(again, payload) {
			t.Errorf("encoded again as %x, want %x", again, payload)
		}
		for cut := range payload {
			if _, _, err := decodePayload(payload[:cut]); !errors.Is(err, errMalformed) {
				t.Errorf("cut to %d bytes: %v, want errMalformed", cut, err)
			}
		}
	}
}
