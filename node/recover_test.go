// Goal: one node that is left goes on with everything that it has, whenever the recovery is cut off; those that were given up change
// nothing any more.
// Method: a voter and a learner on disks in memory; power cuts in the middle of the recovery of the learner's.
package node

import (
	"errors"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/skerry-dev/skerry/client"
	"github.com/skerry-dev/skerry/cluster"
	"github.com/skerry-dev/skerry/codec/storev1"
	"github.com/skerry-dev/skerry/persistence"
	"github.com/skerry-dev/skerry/persistence/pebblestore"
	"github.com/skerry-dev/skerry/persistence/replication"
)

// pair runs two nodes until the second has copied everything, and returns their disks: that of the first one as it stopped, of the
// second as a power cut left it.
func pair(t *testing.T) (first pebblestore.FS, second *vfs.MemFS) {
	t.Helper()
	first = pebblestore.MemFS()
	host, err := run(t, testConfig(), first)
	if err != nil {
		t.Fatal(err)
	}
	makePlayers(t, host.dial(t, client.Options{}), 20)
	config := testConfig()
	config.Name, config.Join = "second", host.ready.Gossip
	running := vfs.NewCrashableMem()
	learner, err := run(t, config, running)
	if err != nil {
		t.Fatal(err)
	}
	has := func(s replication.PartitionStatus) bool {
		return slices.ContainsFunc(s.Replicas, func(r replication.Replica) bool { return r.Node == 2 && (!s.Owner || r.Match >= s.Last) })
	}
	look := time.NewTicker(20 * time.Millisecond)
	defer look.Stop()
	for deadline := time.Now().Add(20 * time.Second); ; <-look.C {
		status := host.journal.Status()
		if !slices.ContainsFunc(status, func(s replication.PartitionStatus) bool { return !has(s) }) {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("the second node has not copied everything: %+v", status)
		}
	}
	if _, err := Recover(t.Context(), running, "/data", true, slog.New(slog.DiscardHandler)); !errors.Is(err, pebblestore.ErrLocked) {
		t.Errorf("a recovery while the node runs: %v", err)
	}
	second = powerCut(running)
	if err := errors.Join(learner.stop(), host.stop()); err != nil {
		t.Log(err) // each is without the other, which does not matter here
	}
	return first, second
}

// powerCut returns a disk as a power cut leaves it now.
func powerCut(fs *vfs.MemFS) *vfs.MemFS {
	return fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 50, RNG: rand.New(rand.NewPCG(1, 0))})
}

func TestRecover(t *testing.T) {
	first, left := pair(t)
	t.Run("cut off", func(t *testing.T) { testRecoverIsRepeated(t, left) })
	looked, err := Recover(t.Context(), left, "/data", false, slog.New(slog.DiscardHandler))
	if err != nil || looked.Done || looked.Generation != 1 || looked.Node != 2 || !slices.Equal(looked.Lost(), []string{"test"}) || len(looked.Partitions) != 5 {
		t.Fatalf("%+v, %v", looked, err)
	}
	var id *storev1.Identity
	if id, err = readIdentity(left, "/data"); err != nil || id.GetGeneration() != 0 || id.GetRecovering() {
		t.Fatalf("a look changed the identity: %v, %v", id, err)
	}
	done, err := Recover(t.Context(), left, "/data", true, slog.New(slog.DiscardHandler))
	if err != nil || !done.Done {
		t.Fatalf("%+v, %v", done, err)
	}
	if _, err = Recover(t.Context(), left, "/data", true, slog.New(slog.DiscardHandler)); !errors.Is(err, ErrNothingToRecover) {
		t.Errorf("a second time: %v", err)
	}
	config := testConfig()
	config.Name = "second"
	alone, err := run(t, config, left)
	if err != nil {
		t.Fatal(err)
	}
	all, err := (&admin{node: alone.Node}).ListPlayers(t.Context(), "main", "", 1000)
	if err != nil || len(all) != 20 {
		t.Errorf("%d players, %v", len(all), err)
	}

	config = testConfig() // the one that was given up comes back
	config.Join = alone.ready.Gossip
	if _, err = Open(t.Context(), config, Options{FS: first}); !errors.Is(err, cluster.ErrFenced) {
		t.Errorf("the one that was given up: %v", err)
	}
	config.Name = "third"
	if third, err := run(t, config, pebblestore.MemFS()); err != nil || third.identity.GetGeneration() != 1 || third.id() != 3 {
		t.Errorf("a new one: %v", err)
	}
}

// testRecoverIsRepeated cuts the power in the middle of a recovery, sooner and later: nothing was done, or all of it, or no node
// runs on it; and doing it again makes it whole.
func testRecoverIsRepeated(t *testing.T, left *vfs.MemFS) {
	t.Helper()
	quiet := slog.New(slog.DiscardHandler)
	halves := 0
	for n := int64(1); ; n += 1 + n/2 {
		disk, cut := powerCut(left), (*vfs.MemFS)(nil)
		var writes atomic.Int64
		cutting := errorfs.Wrap(disk, errorfs.InjectorFunc(func(op errorfs.Op) error {
			if op.Kind.ReadOrWrite() == errorfs.OpIsWrite && writes.Add(1) == n {
				cut = powerCut(disk)
			}
			return nil
		}))
		if _, err := Recover(t.Context(), cutting, "/data", true, quiet); err != nil {
			t.Fatal(err)
		}
		if cut == nil { // it has fewer writes
			break
		}
		id, err := readIdentity(cut, "/data")
		if err != nil {
			t.Fatalf("cut at write %d: %v", n, err)
		}
		looked, err := survey(t.Context(), cut, "/data", id)
		if err != nil {
			t.Fatalf("cut at write %d: %v", n, err)
		}
		touched := slices.ContainsFunc(looked.Partitions, func(p replication.Alone) bool { return len(p.Others) == 0 })
		config := testConfig()
		config.Name, config.Join = "second", "127.0.0.1:1"
		switch {
		case id.GetRecovering():
			halves++
			if _, err = Open(t.Context(), config, Options{FS: cut}); !errors.Is(err, ErrRecovering) {
				t.Errorf("cut at write %d: a node runs on it: %v", n, err)
			}
		case touched != (id.GetGeneration() == 1):
			t.Errorf("cut at write %d: changed: %v, of %v", n, touched, id)
		}
		if _, err = Recover(t.Context(), cut, "/data", true, quiet); err != nil && !errors.Is(err, ErrNothingToRecover) {
			t.Errorf("again after a cut at write %d: %v", n, err)
		}
		id, err = readIdentity(cut, "/data")
		if err == nil {
			looked, err = survey(t.Context(), cut, "/data", id)
		}
		if err != nil || id.GetGeneration() != 1 || id.GetRecovering() || len(looked.Lost()) != 0 {
			t.Errorf("again after a cut at write %d: %v, %v, %v", n, id, looked.Lost(), err)
		}
	}
	if halves < 3 {
		t.Errorf("it was cut in half %d times only", halves)
	}
}

func TestRecoverRefuses(t *testing.T) {
	quiet := slog.New(slog.DiscardHandler)
	fs := pebblestore.MemFS()
	if _, err := Recover(t.Context(), fs, "/data", true, quiet); !errors.Is(err, ErrNoData) {
		t.Errorf("an empty directory: %v", err)
	}
	one, err := run(t, testConfig(), fs)
	if err != nil {
		t.Fatal(err)
	}
	if err = one.stop(); err != nil {
		t.Fatal(err)
	}
	if _, err = Recover(t.Context(), fs, "/data", true, quiet); !errors.Is(err, ErrNothingToRecover) {
		t.Errorf("a cluster of one: %v", err)
	}
	fs = pebblestore.MemFS()
	id := &storev1.Identity{Cluster: "0123456789abcdef", Node: 2, Nonce: 7, Partitions: 4}
	store, err := pebblestore.Open(pebblestore.Options{FS: fs, Dir: "/data/store", Partitions: 4})
	if err != nil {
		t.Fatal(err)
	}
	log := logOf(fs, "/data", id, store, quiet)
	log.Ownership, log.Transport = nobody{}, nobody{}
	host, err := replication.Open(log)
	if err == nil {
		err = errors.Join(host.Close(), store.Close(), writeIdentity(fs, "/data", id))
	}
	if err != nil {
		t.Fatal(err)
	}
	var r Recovery
	if r, err = Recover(t.Context(), fs, "/data", true, quiet); !errors.Is(err, ErrNotHere) || len(r.Partitions) != 5 {
		t.Errorf("a node without a copy: %v", err)
	}
	if id, err = readIdentity(fs, "/data"); err != nil || id.GetRecovering() || id.GetGeneration() != 0 {
		t.Errorf("a refusal changed the identity: %v, %v", id, err)
	}
}

// nobody hears nothing.
type nobody struct{}

func (nobody) Claimed(persistence.Partition, persistence.Epoch) {}
func (nobody) Lost(persistence.Partition, persistence.Epoch)    {}
func (nobody) Send(persistence.NodeID, []byte)                  {}
