package replication

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/skerry-dev/skerry/codec"
	"github.com/skerry-dev/skerry/persistence"
	"github.com/skerry-dev/skerry/persistence/pebblestore"
)

// hub connects hosts that run in this process.
type hub struct {
	mu    sync.Mutex
	hosts map[persistence.NodeID]*Host
}

// plug is one node's end of it.
type plug struct {
	hub *hub
	id  persistence.NodeID
}

func (h *hub) at(id persistence.NodeID) *Host {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.hosts[id]
}

func (p plug) Send(to persistence.NodeID, batch []byte) {
	if host := p.hub.at(to); host != nil {
		_ = host.Receive(p.id, batch) // a message may be lost
	}
}

func (p plug) Fetch(ctx context.Context, from persistence.NodeID, request []byte, take func(frame []byte) error) error {
	host := p.hub.at(from)
	if host == nil {
		return errors.New("not there")
	}
	return host.Serve(ctx, request, take)
}

// rotten is a store whose disk damages one value as it is written.
type rotten struct {
	*pebblestore.Store
	find []byte
}

func (r rotten) Apply(batch []persistence.Committed) ([][]error, error) {
	batch = slices.Clone(batch)
	for i := range batch {
		if at := bytes.Index(batch[i].Data, r.find); at >= 0 {
			batch[i].Data = bytes.Clone(batch[i].Data)
			batch[i].Data[at] ^= 1
		}
	}
	return r.Store.Apply(batch)
}

// rack is three running hosts on real stores.
type rack struct {
	t      *testing.T
	hub    *hub
	stores map[persistence.NodeID]*pebblestore.Store
	owners map[persistence.NodeID]*owners
}

// newRack runs them until the test ends. Node 3's disk damages what holds find.
func newRack(t *testing.T, find string) *rack {
	t.Helper()
	r := &rack{t: t, hub: &hub{hosts: map[persistence.NodeID]*Host{}}, stores: map[persistence.NodeID]*pebblestore.Store{}, owners: map[persistence.NodeID]*owners{}}
	for id := persistence.NodeID(1); id <= 3; id++ {
		fs := vfs.NewMem()
		store, err := pebblestore.Open(pebblestore.Options{FS: fs, Dir: "data/state", Partitions: testPartitions})
		if err != nil {
			t.Fatal(err)
		}
		r.stores[id], r.owners[id] = store, newOwners(-1)
		opts := testOptions(fs, nil)
		opts.StateMachine, opts.Ownership = store, r.owners[id]
		if id == 3 {
			opts.StateMachine = rotten{store, []byte(find)}
		}
		opts.Node, opts.Voters, opts.Transport, opts.Fetcher = id, []persistence.NodeID{1, 2, 3}, plug{r.hub, id}, plug{r.hub, id}
		host, err := Open(opts)
		if err != nil {
			t.Fatal(errors.Join(err, store.Close()))
		}
		r.hub.mu.Lock()
		r.hub.hosts[id] = host
		r.hub.mu.Unlock()
		ended := make(chan error, 1)
		ctx, stop := context.WithCancel(context.Background())
		go func() { ended <- host.Run(ctx) }()
		t.Cleanup(func() {
			stop()
			if err := errors.Join(<-ended, store.Close()); err != nil {
				t.Error(err)
			}
		})
	}
	return r
}

// await polls until ok, with a deadline.
func (r *rack) await(what string, ok func() bool) {
	r.t.Helper()
	deadline := time.After(20 * time.Second)
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-deadline:
			r.t.Fatal("in vain: ", what)
		}
	}
}

// append makes p's owner append one entry, whoever that is when it works.
func (r *rack) append(p persistence.Partition, key persistence.Key, data []byte) {
	r.t.Helper()
	r.await("an append", func() bool {
		for id, o := range r.owners {
			done := make(chan error, 1)
			change := &persistence.Change{Key: key, Epoch: o.epoch(p), Entries: []persistence.Entry{{Seq: 1, Data: data}}}
			if r.hub.at(id).Propose(p, change, func(err error) { done <- err }) == nil {
				if err := <-done; err == nil || errors.Is(err, persistence.ErrDuplicate) {
					return true
				}
			}
		}
		return false
	})
}

// Goal: a value that does not verify on one replica is mended with another's, while the hosts run.
// Method: three running hosts on real stores, of which one damages an entry as it applies it.
func TestMend(t *testing.T) {
	r := newRack(t, "precious")
	key := persistence.Key{Space: "main", Kind: persistence.KindPlayer, ID: "p"}
	p := persistence.Partition(1)
	framed, err := codec.AppendFrame(nil, codec.FormatEntry, codec.Plain, []byte("precious"))
	if err != nil {
		t.Fatal(err)
	}
	r.append(p, key, framed)
	load := func(id persistence.NodeID) error {
		loaded, err := r.stores[id].Load(t.Context(), p, key)
		if err == nil && !bytes.Equal(loaded.Entries[0].Data, framed) {
			t.Fatalf("node %d loads %q", id, loaded.Entries[0].Data)
		}
		return err
	}
	for id := range r.stores {
		r.await("the entry everywhere", func() bool { return !errors.Is(load(id), persistence.ErrAbsent) })
	}
	if err := load(3); !errors.Is(err, persistence.ErrCorrupt) {
		t.Fatalf("the damaged entry: %v", err)
	}
	if n, err := r.hub.at(3).Mend(t.Context(), p, key, ""); n != 1 || err != nil {
		t.Fatalf("mended %d: %v", n, err)
	}
	if err := load(3); err != nil {
		t.Errorf("after it was mended: %v", err)
	}
	if n, err := r.hub.at(3).Mend(t.Context(), p, key, ""); n != 0 || err != nil {
		t.Errorf("mended %d again: %v", n, err)
	}
}

// Bad requests of peers are refused by name, and change nothing.
func TestServeRefuses(t *testing.T) {
	r := newRack(t, "none")
	send := func([]byte) error { t.Error("something was sent"); return nil }
	for name, request := range map[string][]byte{
		"empty": {}, "short": {1, 1, 0}, "newer": {2, 1, 0, 0}, "unknown": {1, 9, 0, 0}, "no partition": {1, 1, 9, 9},
		"copy and more": {1, 1, 0, 0, 0}, "mend without a name": {1, 2, 0, 0}, "mend of what is not JSON": {1, 2, 0, 0, '{'},
		"mend of a bad key": append([]byte{1, 2, 0, 0}, `{"Key":{"Space":"","ID":""},"Names":[{"Seq":1}]}`...),
	} {
		if err := r.hub.at(1).Serve(t.Context(), request, send); err == nil {
			t.Errorf("%s: served", name)
		}
	}
}
