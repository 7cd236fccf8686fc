package node

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/skerry-dev/skerry/cluster/members"
	"github.com/skerry-dev/skerry/codec"
	"github.com/skerry-dev/skerry/codec/storev1"
	"github.com/skerry-dev/skerry/persistence/pebblestore"
)

// Goal: a data directory is one node's of one cluster for ever, and never taken for another's.
func TestIdentity(t *testing.T) {
	fs := pebblestore.MemFS()
	if id, err := readIdentity(fs, "/data"); id != nil || err != nil {
		t.Fatalf("a new directory: %v, %v", id, err)
	}
	first, err := run(t, testConfig(), fs)
	if err != nil {
		t.Fatal(err)
	}
	if err = first.stop(); err != nil {
		t.Fatal(err)
	}
	id, err := readIdentity(fs, "/data")
	if err != nil || id.GetNode() != 1 || len(id.GetCluster()) != 16 || id.GetNonce() == 0 || id.GetPartitions() != 4 {
		t.Fatalf("the first node: %v, %v", id, err)
	}
	config := testConfig()
	config.Partitions = 8 // fixed for ever
	again, err := run(t, config, fs)
	if err != nil || again.store.Partitions() != 4 || again.identity.GetCluster() != id.GetCluster() {
		t.Fatalf("started again: %v", err)
	}
}

// A file that does not verify is an error, whatever was changed in it: never a new identity.
func TestDamagedIdentityIsRefused(t *testing.T) {
	fs := pebblestore.MemFS()
	id := &storev1.Identity{Cluster: "0123456789abcdef", Node: 3, Nonce: 7, Partitions: 4}
	if err := writeIdentity(fs, "/data", id); err != nil {
		t.Fatal(err)
	}
	whole, err := readAll(fs, "/data/identity")
	if err != nil {
		t.Fatal(err)
	}
	for at := range whole {
		damaged := append([]byte(nil), whole...)
		damaged[at] ^= 0x10
		if err := writeDurably(fs, "/data", "/data/identity", damaged); err != nil {
			t.Fatal(err)
		}
		if _, err := Open(t.Context(), testConfig(), Options{FS: fs}); !errors.Is(err, codec.ErrMalformed) && !errors.Is(err, codec.ErrNewer) {
			t.Fatalf("byte %d was changed: %v", at, err)
		}
	}
	for length := range whole {
		if err := writeDurably(fs, "/data", "/data/identity", slices.Clone(whole[:length])); err != nil {
			t.Fatal(err)
		}
		if _, err := readIdentity(fs, "/data"); err == nil {
			t.Fatalf("%d bytes of it were taken", length)
		}
	}
	if err := writeDurably(fs, "/data", "/data/identity", slices.Clone(whole)); err != nil {
		t.Fatal(err)
	}
	if read, err := readIdentity(fs, "/data"); err != nil || !proto.Equal(read, id) {
		t.Errorf("%v, %v", read, err)
	}
}

// A directory that was made to join does not become a cluster of its own when the flag is forgotten, and asks with the same
// nonce again.
func TestUnansweredApplicationIsKept(t *testing.T) {
	fs := pebblestore.MemFS()
	config := testConfig()
	config.Join, config.JoinTimeout = "127.0.0.1:1", time.Second
	_, err := Open(t.Context(), config, Options{FS: fs})
	if !errors.Is(err, members.ErrNobody) || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("nobody is there: %v", err)
	}
	asked, err := readIdentity(fs, "/data")
	if err != nil || asked.GetNode() != 0 || asked.GetNonce() == 0 {
		t.Fatalf("%v, %v", asked, err)
	}
	config.Join = ""
	if _, err = Open(t.Context(), config, Options{FS: fs}); err == nil || !strings.Contains(err.Error(), "--join is missing") {
		t.Errorf("without --join: %v", err)
	}
	host, err := run(t, testConfig(), pebblestore.MemFS())
	if err != nil {
		t.Fatal(err)
	}
	config.Join, config.JoinTimeout, config.Name, config.Partitions = host.ready.Gossip, time.Minute, "second", 16
	joined, err := run(t, config, fs)
	if err != nil {
		t.Fatal(err)
	}
	if id := joined.identity; id.GetNonce() != asked.GetNonce() || id.GetNode() != 2 || id.GetCluster() != host.identity.GetCluster() || joined.store.Partitions() != 4 {
		t.Errorf("joined as %v, after it asked as %v", id, asked)
	}
}

// Two processes cannot be one node: the name of a living one is taken.
func TestNameIsTaken(t *testing.T) {
	host, err := run(t, testConfig(), pebblestore.MemFS())
	if err != nil {
		t.Fatal(err)
	}
	config := testConfig()
	config.Join = host.ready.Gossip
	if _, err := Open(t.Context(), config, Options{FS: pebblestore.MemFS()}); !errors.Is(err, members.ErrNameTaken) {
		t.Errorf("%v", err)
	}
}
