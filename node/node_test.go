// Goal: the assembled node keeps what its rooms promise: it opens, serves, stops and fails in order.
// Method: whole nodes on file systems in memory, some of which fail.
package node

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"go.uber.org/goleak"

	"github.com/skerry-dev/skerry/actors/turn"
	"github.com/skerry-dev/skerry/client"
	"github.com/skerry-dev/skerry/codec"
	"github.com/skerry-dev/skerry/codec/skerryv1"
	"github.com/skerry-dev/skerry/codec/storev1"
	"github.com/skerry-dev/skerry/persistence"
	"github.com/skerry-dev/skerry/persistence/pebblestore"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// running is a node whose Run is under way.
type running struct {
	*Node
	ready Ready
	log   *lockedBuffer
	ended chan struct{} // closed when Run returned
	stop  func() error  // gracefully; the error of Run
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func testConfig() Config {
	c := DefaultConfig()
	c.Name, c.Data = "test", "/data"
	c.HTTP, c.GRPC, c.Admin, c.Peer, c.Gossip = "127.0.0.1:0", "127.0.0.1:0", "127.0.0.1:0", "127.0.0.1:0", "127.0.0.1:0"
	c.Partitions = 4
	c.StoreCache, c.StoreMemTable, c.LogSegment, c.LogMax = 8<<20, 4<<20, 1<<20, 4<<20
	return c
}

// run starts a node and returns when it is ready, or with why it is not.
func run(t *testing.T, config Config, fs pebblestore.FS) (*running, error) {
	t.Helper()
	r := &running{log: &lockedBuffer{}}
	ready := make(chan Ready, 1)
	n, err := Open(context.Background(), config, Options{
		FS: fs, Logger: slog.New(slog.NewTextHandler(r.log, nil)), OnReady: func(r Ready) { ready <- r },
	})
	if err != nil {
		return nil, err
	}
	r.Node = n
	ctx, cancel := context.WithCancel(context.Background())
	r.ended = make(chan struct{})
	var result error // of Run; read after ended
	go func() {
		defer close(r.ended)
		result = n.Run(ctx)
	}()
	r.stop = func() error { cancel(); <-r.ended; return result }
	t.Cleanup(func() { _ = r.stop() })
	select {
	case r.ready = <-ready:
		return r, nil
	case <-r.ended:
		return r, result
	}
}

func (r *running) dial(t *testing.T, opts client.Options) *client.Client {
	t.Helper()
	c, err := client.Dial(t.Context(), r.ready.GRPC, opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// makePlayers opens sessions for players 0 to n-1 of a space.
func makePlayers(t *testing.T, c *client.Client, n int) (players []*client.Player, ids []string) {
	t.Helper()
	for i := range n {
		id := fmt.Sprint(i)
		p, err := c.OpenPlayer(t.Context(), id, client.OpenOptions{Server: "s1", Name: "P" + id})
		if err != nil {
			t.Fatal(err)
		}
		players, ids = append(players, p), append(ids, id)
	}
	slices.Sort(ids)
	return players, ids
}

func TestPlayersAreListedInOrder(t *testing.T) {
	r, err := run(t, testConfig(), pebblestore.MemFS())
	if err != nil {
		t.Fatal(err)
	}
	_, ids := makePlayers(t, r.dial(t, client.Options{}), 150)
	a := &admin{node: r.Node}
	for _, limit := range []int{1, 7, 150, 1000} {
		var got []string
		for after := ""; ; {
			page, err := a.ListPlayers(t.Context(), "main", after, limit)
			if err != nil || len(page) > limit {
				t.Fatalf("a page of %d: %d, %v", limit, len(page), err)
			}
			if len(page) == 0 {
				break
			}
			got, after = append(got, page...), page[len(page)-1]
		}
		if !slices.Equal(got, ids) {
			t.Errorf("in pages of %d: %v", limit, got)
		}
	}
}

func TestSpacesAreCopiedAndErased(t *testing.T) {
	r, err := run(t, testConfig(), pebblestore.MemFS())
	if err != nil {
		t.Fatal(err)
	}
	players, ids := makePlayers(t, r.dial(t, client.Options{}), 100)
	for _, p := range players {
		if _, err = p.Earn(t.Context(), client.Coins, 5); err != nil {
			t.Fatal(err)
		}
	}
	a := &admin{node: r.Node}
	var last *skerryv1.SpaceProgress
	keep := func(p *skerryv1.SpaceProgress) error { last = p; return nil }
	if err = a.CopySpace(t.Context(), "main", "staging", keep); err != nil || last.GetDone() != 100 || last.GetTotal() != 100 {
		t.Fatalf("copied %v, %v", last, err)
	}
	staging := r.dial(t, client.Options{Space: "staging"})
	for _, id := range ids {
		var p *skerryv1.Player
		if p, err = staging.Player(t.Context(), id); err != nil || p.GetProfile().GetCoins() != 105 || p.GetName() != "P"+id {
			t.Fatalf("copy of %s: %v, %v", id, p, err)
		}
	}
	if err = a.CopySpace(t.Context(), "main", "staging", keep); !errors.Is(err, turn.ErrAlreadyExists) {
		t.Errorf("copied over what is there: %v", err)
	}
	if err = a.CopySpace(t.Context(), "nothing", "other", keep); !errors.Is(err, turn.ErrNotFound) {
		t.Errorf("copied nothing: %v", err)
	}
	live, err := staging.OpenPlayer(t.Context(), "1", client.OpenOptions{Server: "s1"})
	if err != nil || live.IsNew() {
		t.Fatalf("play in the copy: %v", err)
	}

	if err = a.EraseSpace(t.Context(), "staging", keep); err != nil || last.GetDone() != 4 || last.GetTotal() != 4 {
		t.Fatalf("erased %v, %v", last, err)
	}
	if _, err = staging.Player(t.Context(), "1"); !errors.Is(err, client.ErrNotFound) {
		t.Errorf("who was live is still there: %v", err)
	}
	spaces, err := a.Spaces(t.Context())
	if err != nil || len(spaces) != 1 || spaces[0].GetName() != "main" || spaces[0].GetPlayers() != 100 {
		t.Errorf("spaces: %v, %v", spaces, err)
	}
	if p, err := r.dial(t, client.Options{}).Player(t.Context(), "1"); err != nil || p.GetProfile().GetCoins() != 105 {
		t.Errorf("the other space: %v, %v", p, err)
	}
}

// Goal: documents of older versions are brought to this one before what came after them is replayed.
// Method: write a document without a profile, and an event that sets a part of it; copy.
func TestCopyMigratesDocuments(t *testing.T) {
	r, err := run(t, testConfig(), pebblestore.MemFS())
	if err != nil {
		t.Fatal(err)
	}
	a := &admin{node: r.Node}
	key := persistence.Key{Space: "main", Kind: persistence.KindPlayer, ID: "old"}
	p := persistence.PartitionOf(key, r.store.Partitions())
	for i, event := range []*storev1.PlayerEvent{
		{Event: &storev1.PlayerEvent_Created{Created: &skerryv1.Player{Name: "Old"}}},
		{Event: &storev1.PlayerEvent_BalanceChanged{BalanceChanged: &storev1.BalanceChanged{Currency: skerryv1.Currency_COINS, Balance: 150}}},
	} {
		var data []byte
		data, err = codec.EncodeEntry(&storev1.Entry{TimeMs: 1, PlayerEvents: []*storev1.PlayerEvent{event}})
		if err != nil {
			t.Fatal(err)
		}
		if err = a.node.proposeAt(t.Context(), p, &persistence.Change{Key: key, Entries: []persistence.Entry{{Seq: persistence.Seq(i) + 1, Data: data}}}); err != nil {
			t.Fatal(err)
		}
	}
	if err = a.CopySpace(t.Context(), "main", "staging", func(*skerryv1.SpaceProgress) error { return nil }); err != nil {
		t.Fatal(err)
	}
	got, err := r.dial(t, client.Options{Space: "staging"}).Player(t.Context(), "old")
	if err != nil || got.GetProfile().GetCoins() != 150 || got.GetProfile().GetGems() != 10 || got.GetProfile().GetLevel() != 1 {
		t.Errorf("%v, %v", got, err)
	}
}

// Beyond this machine nobody gets in without a key, unless the operator insists.
func TestDoorIsClosed(t *testing.T) {
	fs := pebblestore.MemFS()
	public := testConfig()
	public.GRPC = "0.0.0.0:0"
	if _, err := run(t, public, fs); !errors.Is(err, ErrOpenDoor) || !strings.Contains(err.Error(), "--insecure") {
		t.Fatalf("without a key: %v", err)
	}
	insists := public
	insists.Insecure = true
	r, err := run(t, insists, fs)
	if err != nil {
		t.Fatalf("insisting: %v", err)
	}
	if err = r.stop(); err != nil {
		t.Fatal(err)
	}
	if r, err = run(t, testConfig(), fs); err != nil {
		t.Fatal(err)
	}
	made, err := r.dial(t, client.Options{}).Service().CreateKey(t.Context(), &skerryv1.CreateKeyRequest{
		Name: "operator", Space: "*", Scopes: []string{"admin", "operate"},
	})
	if err != nil {
		t.Fatal(err)
	}
	if err = r.stop(); err != nil {
		t.Fatal(err)
	}
	if r, err = run(t, public, fs); err != nil {
		t.Fatalf("with a key: %v", err)
	}
	r.ready.GRPC = strings.Replace(r.ready.GRPC, "[::]", "127.0.0.1", 1)
	if _, err := r.dial(t, client.Options{}).OpenPlayer(t.Context(), "1", client.OpenOptions{Server: "s1"}); !errors.Is(err, client.ErrUnauthenticated) {
		t.Errorf("without the key: %v", err)
	}
	if _, err := r.dial(t, client.Options{Key: made.GetKey()}).OpenPlayer(t.Context(), "1", client.OpenOptions{Server: "s1"}); err != nil {
		t.Errorf("with the key: %v", err)
	}
}

// A start that fails leaves nothing behind in the log: not when a port is taken, nor when the door would be open.
func TestFailedStartsLeaveNoSegments(t *testing.T) {
	fs := pebblestore.MemFS()
	busy := httptest.NewServer(http.NotFoundHandler())
	defer busy.Close()
	taken, public := testConfig(), testConfig()
	taken.Admin = busy.Listener.Addr().String()
	public.HTTP = "0.0.0.0:0"
	fail := func() {
		t.Helper()
		for range 3 {
			if _, err := Open(t.Context(), taken, Options{FS: fs}); !errors.Is(err, syscall.EADDRINUSE) {
				t.Fatalf("with a port that is taken: %v", err)
			}
			if _, err := Open(t.Context(), public, Options{FS: fs}); !errors.Is(err, ErrOpenDoor) {
				t.Fatalf("beyond this machine: %v", err)
			}
		}
	}
	fail()
	if names, err := fs.List("/data"); err == nil {
		t.Errorf("failed starts made %v", names)
	}
	r, err := run(t, testConfig(), fs)
	if err != nil {
		t.Fatal(err)
	}
	if err = r.stop(); err != nil {
		t.Fatal(err)
	}
	before, err := fs.List("/data/log")
	if err != nil {
		t.Fatal(err)
	}
	fail()
	after, err := fs.List("/data/log")
	if err != nil || len(after) > len(before)+1 { // one: keys were looked for, and the log was opened for that
		t.Errorf("six failed starts made %v of %v (%v)", after, before, err)
	}
	if _, err = run(t, testConfig(), fs); err != nil {
		t.Error(err)
	}
}

// The log of a node that is alone has no line for each partition; no error is not shown.
func TestLogIsShort(t *testing.T) {
	r, err := run(t, testConfig(), pebblestore.MemFS())
	if err != nil {
		t.Fatal(err)
	}
	if err = r.stop(); err != nil {
		t.Fatal(err)
	}
	log := r.log.String()
	for _, want := range []string{`msg="node made the cluster" node=test name=test id=1`, "msg=ready node=test", "msg=stopped node=test"} {
		if strings.Count(log, want) != 1 {
			t.Errorf("not once: %s", want)
		}
	}
	for _, unwanted := range []string{"err=", "partition="} {
		if strings.Contains(log, unwanted) {
			t.Errorf("says %s", unwanted)
		}
	}
	if t.Failed() {
		t.Log(log)
	}
}

// A second node on the same directory is refused, and says so.
func TestDirectoryIsLocked(t *testing.T) {
	config := testConfig()
	config.Data = t.TempDir()
	if _, err := run(t, config, nil); err != nil {
		t.Fatal(err)
	}
	_, err := run(t, config, nil)
	if !errors.Is(err, pebblestore.ErrLocked) || !strings.Contains(err.Error(), config.Data) {
		t.Errorf("%v", err)
	}
}

// An fsync that fails, or a full disk, ends the node with the reason; nothing is acknowledged any more.
func TestFailingDiskEndsTheNode(t *testing.T) {
	for name, failure := range map[string]error{"full": syscall.ENOSPC, "broken": syscall.EIO} {
		t.Run(name, func(t *testing.T) {
			var broken atomic.Bool
			fs := errorfs.Wrap(vfs.NewMem(), errorfs.InjectorFunc(func(op errorfs.Op) error {
				if broken.Load() && op.Kind.ReadOrWrite() == errorfs.OpIsWrite {
					return failure
				}
				return nil
			}))
			r, err := run(t, testConfig(), fs)
			if err != nil {
				t.Fatal(err)
			}
			players, _ := makePlayers(t, r.dial(t, client.Options{}), 1)
			broken.Store(true)
			ctx, cancel := context.WithCancel(t.Context())
			acknowledged := make(chan error, 1)
			go func() { acknowledged <- earnOne(ctx, players[0]) }()
			select {
			case <-r.ended:
			case <-time.After(10 * time.Second):
				t.Error("goes on with a failed disk")
			}
			err = r.stop()
			if err == nil || !errors.Is(err, failure) {
				t.Errorf("ended with %v", err)
			}
			if errors.Is(failure, syscall.ENOSPC) && !strings.Contains(err.Error(), "disk is full") {
				t.Errorf("does not say what to do: %v", err)
			}
			cancel()
			if err := <-acknowledged; err == nil {
				t.Error("a command was acknowledged after the disk failed")
			}
		})
	}
}

func earnOne(ctx context.Context, p *client.Player) error {
	_, err := p.Earn(ctx, client.Coins, 1)
	return err
}

func TestHealthMeansCommitted(t *testing.T) {
	r, err := run(t, testConfig(), pebblestore.MemFS())
	if err != nil {
		t.Fatal(err)
	}
	get := func(path string) (int, string) {
		transport := &http.Transport{DisableKeepAlives: true}
		res, err := (&http.Client{Transport: transport}).Get("http://" + r.ready.Admin + path)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		body, err := io.ReadAll(res.Body)
		if err != nil {
			t.Fatal(err)
		}
		return res.StatusCode, string(body)
	}
	if code, body := get("/healthz"); code != 200 {
		t.Errorf("%d %s", code, body)
	}
	r.health.mu.Lock()
	committed := r.health.mu.committed
	r.health.mu.Unlock()
	if committed.IsZero() {
		t.Error("healthy without a canary")
	}
	code, body := get("/metrics")
	for _, want := range []string{
		"skerry_replication_fsync_duration_seconds_count", "skerry_actors_active", "skerry_pebblestore_table_bytes",
		"skerry_replication_owned_partitions 5", `skerry_cluster_members{state="active"} 1`, "skerry_cluster_claims_total 5", "skerry_routing_waiting_calls 0", "skerry_gateway_requests_total",
	} {
		if code != 200 || !strings.Contains(body, want) {
			t.Errorf("metrics (%d) have no %s", code, want)
		}
	}
}

func TestStopSaysWhatWasSaved(t *testing.T) {
	r, err := run(t, testConfig(), pebblestore.MemFS())
	if err != nil {
		t.Fatal(err)
	}
	makePlayers(t, r.dial(t, client.Options{}), 20)
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	line := ""
	for l := range strings.Lines(r.log.String()) {
		if strings.Contains(l, "entities saved") {
			line = l
		}
	}
	if !strings.Contains(line, "saved=20") && !strings.Contains(line, "saved=21") || !strings.Contains(line, "failed=0") { // 21: the server
		t.Errorf("the log says %q", line)
	}
}

// The store keeps the number of partitions that it was made with.
func TestPartitionsStay(t *testing.T) {
	fs := pebblestore.MemFS()
	r, err := run(t, testConfig(), fs)
	if err != nil {
		t.Fatal(err)
	}
	makePlayers(t, r.dial(t, client.Options{}), 10)
	if err = r.stop(); err != nil {
		t.Fatal(err)
	}
	other := testConfig()
	other.Partitions = 7
	if r, err = run(t, other, fs); err != nil {
		t.Fatal(err)
	}
	if r.store.Partitions() != 4 {
		t.Errorf("%d partitions", r.store.Partitions())
	}
	if _, err := r.dial(t, client.Options{}).Player(t.Context(), "3"); err != nil {
		t.Error(err)
	}
}

func TestVerifyFindsDamage(t *testing.T) {
	fs := vfs.NewMem()
	r, err := run(t, testConfig(), fs)
	if err != nil {
		t.Fatal(err)
	}
	makePlayers(t, r.dial(t, client.Options{}), 10)
	if err = r.stop(); err != nil {
		t.Fatal(err)
	}
	var problems []error
	look := func() Verified {
		problems = nil
		v, failed := Verify(t.Context(), fs, "/data", func(problem error) { problems = append(problems, problem) })
		if failed != nil {
			t.Fatal(failed)
		}
		return v
	}
	if v := look(); v.Problems != 0 || v.Store.Entities < 10 || v.Log.Records == 0 {
		t.Fatalf("whole: %+v, %v", v, problems)
	}
	names, err := fs.List("/data/store")
	if err != nil {
		t.Fatal(err)
	}
	damaged := 0
	for _, name := range names {
		if strings.HasSuffix(name, ".sst") {
			flip(t, fs, "/data/store/"+name)
			damaged++
		}
	}
	if v := look(); damaged == 0 || v.Problems == 0 || len(problems) != v.Problems {
		t.Errorf("%d damaged tables: %+v", damaged, v)
	}

	inStore := len(problems)
	if names, err = fs.List("/data/log"); err != nil {
		t.Fatal(err)
	}
	names = slices.DeleteFunc(names, func(name string) bool { return !strings.HasSuffix(name, ".log") })
	slices.Sort(names)
	for _, name := range names {
		if info, stat := fs.Stat("/data/log/" + name); stat == nil && info.Size() > 1000 {
			flip(t, fs, "/data/log/"+name)
			break // the first segment: what follows shows that it was synced
		}
	}
	if v := look(); v.Problems != inStore+1 || !strings.Contains(problems[inStore].Error(), names[0]) {
		t.Errorf("a damaged segment of %v: %+v, %v", names, v, problems)
	}
}

// Goal: a log that does not belong to its store is found before the node refuses to start. Method: lose the log's segments.
func TestVerifyComparesLogAndStore(t *testing.T) {
	fs := vfs.NewMem()
	r, err := run(t, testConfig(), fs)
	if err != nil {
		t.Fatal(err)
	}
	makePlayers(t, r.dial(t, client.Options{}), 10)
	if err = r.stop(); err != nil {
		t.Fatal(err)
	}
	names, err := fs.List("/data/log")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		if strings.HasSuffix(name, ".log") {
			if err = fs.Remove("/data/log/" + name); err != nil {
				t.Fatal(err)
			}
		}
	}
	var problems []error
	v, err := Verify(t.Context(), fs, "/data", func(problem error) { problems = append(problems, problem) })
	if err != nil || v.Problems == 0 || !strings.Contains(errors.Join(problems...).Error(), "but the log ends at 0") {
		t.Errorf("%+v, %v, %v", v, err, problems)
	}
	if _, err := run(t, testConfig(), fs); err == nil {
		t.Error("a node starts without the log of its state")
	}
}

// flip changes one byte near the beginning of a file.
func flip(t *testing.T, fs vfs.FS, name string) {
	t.Helper()
	f, err := fs.OpenReadWrite(name, vfs.WriteCategoryUnspecified)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	b := make([]byte, 1)
	if _, err := f.ReadAt(b, 20); err != nil {
		t.Fatal(err)
	}
	b[0] ^= 0x40
	if _, err := f.WriteAt(b, 20); err != nil {
		t.Fatal(err)
	}
}
