// Goal: nodes find each other, and hear who comes, goes and dies; strangers and garbage do no harm.
// Method: real sockets on loopback. Everything that takes time is waited for with a deadline.
package members

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/memberlist"
	"go.uber.org/goleak"

	"github.com/skerry-dev/skerry/persistence"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// recorder is a handler that remembers.
type recorder struct {
	mu       sync.Mutex
	changed  int
	left     []string
	messages []string
	merged   []string
	state    []byte
	members  *Members // its List is called inside, which is allowed
}

func (r *recorder) note(f func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	f()
}

func (r *recorder) Changed() {
	r.note(func() {
		r.changed++
		if r.members != nil {
			r.members.List()
		}
	})
}

func (r *recorder) Left(m Member, died bool) {
	r.note(func() { r.left = append(r.left, fmt.Sprintf("%s %d %v", m.Name, m.Life, died)) })
}

func (r *recorder) Message(from string, payload []byte) {
	r.note(func() { r.messages = append(r.messages, from+": "+string(payload)) })
}

func (r *recorder) LocalState() []byte {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.state
}

func (r *recorder) MergeState(state []byte) {
	r.note(func() { r.merged = append(r.merged, string(state)) })
}

// hasLeft, hasMessage and hasMerged report whether it heard so.
func (r *recorder) hasLeft(want string) bool    { return r.has(&r.left, want) }
func (r *recorder) hasMessage(want string) bool { return r.has(&r.messages, want) }
func (r *recorder) hasMerged(want string) bool  { return r.has(&r.merged, want) }

// calls is how often it was told something.
func (r *recorder) calls() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.changed + len(r.left) + len(r.messages) + len(r.merged)
}

func (r *recorder) has(list *[]string, want string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Contains(*list, want)
}

// within waits until something holds.
func within(t *testing.T, what string, holds func() bool) {
	t.Helper()
	deadline := time.After(patience)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !holds() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("not within %v: %s", patience, what)
		}
	}
}

const patience = 10 * time.Second

func optionsOf(name string) Options {
	return Options{
		Self:    Member{Name: name, Cluster: "c1", Nonce: uint64(name[0]), Life: 1, State: Active, Peer: "peer of " + name},
		Bind:    "127.0.0.1:0",
		Handler: &recorder{state: []byte("state of " + name)},
	}
}

func open(t *testing.T, o Options) (*Members, *recorder) {
	t.Helper()
	m, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	})
	r, ok := o.Handler.(*recorder)
	if !ok {
		t.Fatal("no recorder")
	}
	r.note(func() { r.members = m })
	return m, r
}

// meet opens nodes that have met.
func meet(t *testing.T, names ...string) ([]*Members, []*recorder) {
	t.Helper()
	var all []*Members
	var heard []*recorder
	for _, name := range names {
		m, r := open(t, optionsOf(name))
		if len(all) > 0 {
			join(t, m, all[0].Addr())
		}
		all, heard = append(all, m), append(heard, r)
	}
	for _, m := range all {
		within(t, "all know all", func() bool { return len(m.List()) == len(names) })
	}
	return all, heard
}

func join(t *testing.T, m *Members, addrs ...string) {
	t.Helper()
	if err := m.Join(t.Context(), addrs); err != nil {
		t.Fatal(err)
	}
}

func (m *Members) find(name string) Member {
	for _, one := range m.List() {
		if one.Name == name {
			return one
		}
	}
	return Member{}
}

func TestJoinThree(t *testing.T) {
	a, heardA := open(t, optionsOf("a"))
	b, heardB := open(t, optionsOf("b"))
	c, _ := open(t, optionsOf("c"))
	join(t, b, a.Addr())
	if got := b.find("a"); got.Peer != "peer of a" || got.Gossip != a.Addr() || !heardB.hasMerged("state of a") {
		t.Fatalf("b joined and knows of a %+v, and %v", got, heardB.merged)
	}
	join(t, c, "127.0.0.1:1", c.Addr(), b.Addr()) // nobody, itself, somebody
	for _, m := range []*Members{a, b, c} {
		within(t, "all know all", func() bool { return len(m.List()) == 3 })
		if got, want := fmt.Sprint(m.List()), fmt.Sprint(a.List()); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
	within(t, "a has the state of b", func() bool { return heardA.hasMerged("state of b") })
	if heardA.calls() == 0 {
		t.Error("a did not hear that somebody came")
	}
}

func TestNamesAndBothVersionsOfAddresses(t *testing.T) {
	for _, host := range []string{"localhost", "::1"} {
		if l, err := net.Listen("tcp", net.JoinHostPort(host, "0")); err != nil {
			t.Logf("not on this machine: %v", err)
			continue
		} else if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		o := optionsOf("a")
		o.Bind = net.JoinHostPort(host, "0")
		a, _ := open(t, o)
		o = optionsOf("b")
		o.Bind, o.Advertise = net.JoinHostPort(host, "0"), host
		b, _ := open(t, o)
		_, port, err := net.SplitHostPort(a.Addr())
		if err != nil {
			t.Fatal(err)
		}
		join(t, b, net.JoinHostPort(host, port))
		within(t, "a sees b", func() bool { return a.find("b").Gossip == b.Addr() })
	}
	o := optionsOf("w") // on all addresses, of which one is told
	o.Bind, o.Advertise = ":0", "127.0.0.1"
	w, _ := open(t, o)
	x, _ := open(t, optionsOf("x"))
	join(t, x, w.Addr())
}

func TestWhatIsSaidIsSeen(t *testing.T) {
	all, heard := meet(t, "a", "b", "c")
	self := all[0].find("a")
	self.State, self.Node, self.Version = Draining, 7, "v2"
	before := heard[2].calls()
	if err := all[0].Set(self); err != nil {
		t.Fatal(err)
	}
	for i := range all {
		within(t, "everybody sees it", func() bool { return all[i].find("a") == self })
	}
	within(t, "c hears of it", func() bool { return heard[2].calls() > before })
	self.Version = strings.Repeat("v", 600)
	if err := all[0].Set(self); !errors.Is(err, ErrTooLong) {
		t.Errorf("600 bytes: %v", err)
	}
	self.Name, self.Version = "x", ""
	if err := all[0].Set(self); err == nil {
		t.Error("it took another name")
	}
	if got := all[0].find("a").Version; got != "v2" {
		t.Errorf("it says %q after it was refused", got)
	}
}

func TestTheKilledIsToldAsDied(t *testing.T) {
	all, heard := meet(t, "a", "b", "c")
	start := time.Now()
	if err := all[2].Close(); err != nil {
		t.Fatal(err)
	}
	for i := range 2 {
		within(t, "it died", func() bool { return heard[i].hasLeft("c 1 true") })
		if len(all[i].List()) != 2 {
			t.Errorf("there are %v", all[i].List())
		}
	}
	t.Logf("told after %v", time.Since(start))
}

func TestWhoLeavesIsToldAsLeft(t *testing.T) {
	all, heard := meet(t, "a", "b", "c")
	if err := all[2].Leave(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := all[2].Set(all[2].find("c")); !errors.Is(err, ErrClosed) {
		t.Errorf("who left says: %v", err)
	}
	if err := all[2].Close(); err != nil {
		t.Fatal(err)
	}
	for i := range 2 {
		within(t, "it left", func() bool { return heard[i].hasLeft("c 1 false") })
	}
	again, _ := open(t, optionsOf("c")) // elsewhere, under the same name
	join(t, again, all[0].Addr())
	within(t, "it is back", func() bool { return all[1].find("c").Gossip == again.Addr() })
}

func TestTheKeyIsNeeded(t *testing.T) {
	key, other := make([]byte, 32), make([]byte, 32)
	for _, k := range [][]byte{key, other} {
		if _, err := rand.Read(k); err != nil {
			t.Fatal(err)
		}
	}
	var said bytes.Buffer
	logger := slog.New(slog.NewTextHandler(&said, &slog.HandlerOptions{Level: slog.LevelDebug}))
	with := func(name string, key []byte) Options {
		o := optionsOf(name)
		o.Key, o.Logger = key, logger
		return o
	}
	a, _ := open(t, with("a", key))
	b, _ := open(t, with("b", key))
	join(t, b, a.Addr())
	for name, k := range map[string][]byte{"other": other, "none": nil} {
		stranger, heard := open(t, with(name, k))
		err := stranger.Join(t.Context(), []string{a.Addr()})
		if !errors.Is(err, ErrKey) || !errors.Is(err, ErrNobody) {
			t.Errorf("%s: %v", name, err)
		}
		err = a.Join(t.Context(), []string{stranger.Addr()})
		if !errors.Is(err, ErrKey) {
			t.Errorf("a joins %s: %v", name, err)
		}
		if len(stranger.List()) != 1 || len(a.List()) != 2 || heard.calls() > 0 {
			t.Errorf("%s knows %v, and a %v", name, stranger.List(), a.List())
		}
		if err := stranger.Close(); err != nil {
			t.Fatal(err)
		}
	}
	for _, o := range []*Members{a, b} {
		if err := o.Close(); err != nil {
			t.Fatal(err)
		}
	}
	for _, secret := range []string{string(key), hex.EncodeToString(key), base64.StdEncoding.EncodeToString(key), strings.Trim(fmt.Sprintf("%d", key), "[]")} {
		if strings.Contains(said.String(), secret) {
			t.Error("the key was logged")
		}
	}
}

func TestClustersStayApart(t *testing.T) {
	all, _ := meet(t, "a", "b")
	o := optionsOf("x")
	o.Self.Cluster = "c2"
	x, _ := open(t, o)
	if err := x.Join(t.Context(), []string{all[0].Addr()}); !errors.Is(err, ErrOtherCluster) {
		t.Errorf("x joins a: %v", err)
	}
	if err := all[0].Join(t.Context(), []string{x.Addr()}); !errors.Is(err, ErrOtherCluster) {
		t.Errorf("a joins x: %v", err)
	}
	o = optionsOf("n") // which belongs to nobody, may come, and bring nobody
	o.Self.Cluster = ""
	n, _ := open(t, o)
	join(t, n, x.Addr())
	if err := n.Join(t.Context(), []string{all[1].Addr()}); err != nil && !errors.Is(err, ErrOtherCluster) {
		t.Fatal(err)
	}
	for _, m := range all {
		if m.find("x").Name != "" {
			t.Error("x is among the others")
		}
	}
	for _, name := range []string{"a", "b"} {
		if x.find(name).Name != "" {
			t.Errorf("%s is with x", name)
		}
	}
}

func TestANameIsTaken(t *testing.T) {
	all, heard := meet(t, "a", "b")
	o := optionsOf("b")
	o.Self.Nonce = 99
	thief, _ := open(t, o)
	if err := thief.Join(t.Context(), []string{all[0].Addr()}); !errors.Is(err, ErrNameTaken) {
		t.Errorf("the second b joins a: %v", err)
	}
	if err := thief.Join(t.Context(), []string{all[1].Addr()}); !errors.Is(err, ErrNameTaken) {
		t.Errorf("the second b joins the first: %v", err)
	}
	if got := all[0].find("b").Gossip; got != all[1].Addr() {
		t.Errorf("a has b at %s", got)
	}
	heard[0].note(func() {
		if len(heard[0].left) > 0 {
			t.Errorf("a heard that %v", heard[0].left)
		}
	})
}

// A copy of a node's directory that is started under another name is not let in, and talks to nobody, until the node is gone.
func TestANodeIsThereOnce(t *testing.T) {
	numbered := func(name string, id persistence.NodeID) *Members {
		o := optionsOf(name)
		o.Self.Node = id
		m, _ := open(t, o)
		return m
	}
	first, second, copied := numbered("a", 1), numbered("b", 2), numbered("copy", 2)
	if err := second.Join(t.Context(), []string{first.Addr()}); err != nil {
		t.Fatal(err)
	}
	within(t, "the two see each other", func() bool { return len(first.List()) == 2 })
	for _, at := range []*Members{first, second} {
		if err := copied.Join(t.Context(), []string{at.Addr()}); !errors.Is(err, ErrTwice) {
			t.Errorf("the copy joins: %v", err)
		}
	}
	if len(copied.List()) != 1 || len(first.List()) != 2 || len(second.List()) != 2 {
		t.Errorf("seen by the copy %v, by the first %v, by the second %v", copied.List(), first.List(), second.List())
	}
	if err := second.Close(); err != nil {
		t.Fatal(err)
	}
	within(t, "it takes the node's place when that is gone", func() bool { return copied.Join(t.Context(), []string{first.Addr()}) == nil })
}

func TestTheNextLifeWaitsForTheEndOfTheFormer(t *testing.T) {
	all, heard := meet(t, "a", "b", "c")
	if err := all[2].Close(); err != nil {
		t.Fatal(err)
	}
	o := optionsOf("c")
	o.Self.Life = 2
	again, _ := open(t, o) // at another port
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	if err := again.Join(ctx, []string{all[0].Addr()}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("without time: %v", err)
	}
	ctx, cancel = context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := again.Join(ctx, []string{all[0].Addr()}); err != nil {
		t.Fatal(err)
	}
	for i := range 2 {
		within(t, "it is back", func() bool { return all[i].find("c").Life == 2 })
		if !heard[i].hasLeft("c 1 true") {
			t.Error("its death was not told")
		}
	}
}

func TestARestartAtOnceIsADeath(t *testing.T) {
	all, heard := meet(t, "a", "b", "c")
	o := optionsOf("c")
	o.Bind, o.Self.Life = all[2].Addr(), 2
	if err := all[2].Close(); err != nil {
		t.Fatal(err)
	}
	again, _ := open(t, o)
	join(t, again, all[0].Addr())
	for i := range 2 {
		within(t, "the new life is seen", func() bool { return all[i].find("c").Life == 2 })
		within(t, "the old one is over", func() bool { return heard[i].hasLeft("c 1 true") })
	}
}

func TestNobodyMeetsItself(t *testing.T) {
	a, heard := open(t, optionsOf("a"))
	_, port, err := net.SplitHostPort(a.Addr())
	if err != nil {
		t.Fatal(err)
	}
	for _, addrs := range [][]string{nil, {a.Addr()}, {"localhost:" + port}, {"127.0.0.1"}, {"127.0.0.1:1"}} {
		if err := a.Join(t.Context(), addrs); !errors.Is(err, ErrNobody) {
			t.Errorf("%v: %v", addrs, err)
		}
	}
	if _, err := a.list.Join([]string{a.Addr()}); !errors.Is(known(err), errItself) {
		t.Errorf("by another address: %v", err)
	}
	if heard.calls() > 0 {
		t.Error("it heard from itself")
	}
}

func TestSend(t *testing.T) {
	all, heard := meet(t, "a", "b")
	long := strings.Repeat("x", MaxPayload)
	for _, payload := range []string{"", "hello", long} {
		if err := all[0].Send(t.Context(), "b", []byte(payload)); err != nil {
			t.Fatal(err)
		}
		within(t, "b hears it", func() bool { return heard[1].hasMessage("a: " + payload) })
	}
	if err := all[0].Send(t.Context(), "b", []byte(long+"x")); !errors.Is(err, ErrTooLong) {
		t.Error(err)
	}
	for _, to := range []string{"a", "z"} {
		if err := all[0].Send(t.Context(), to, nil); !errors.Is(err, ErrNoMember) {
			t.Errorf("to %s: %v", to, err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := all[0].Send(ctx, "b", nil); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if err := all[0].Close(); err != nil {
		t.Fatal(err)
	}
	if err := all[0].Send(t.Context(), "b", nil); !errors.Is(err, ErrClosed) {
		t.Error(err)
	}
	if err := all[0].Join(t.Context(), []string{all[1].Addr()}); !errors.Is(err, ErrClosed) {
		t.Error(err)
	}
	if err := errors.Join(all[0].Leave(t.Context()), all[0].Close()); err != nil {
		t.Error(err)
	}
}

// foreign is a node that speaks memberlist, and other things about itself.
type foreign struct{ meta []byte }

func (f *foreign) NodeMeta(int) []byte             { return f.meta }
func (f *foreign) NotifyMsg([]byte)                {}
func (f *foreign) GetBroadcasts(_, _ int) [][]byte { return nil }
func (f *foreign) LocalState(bool) []byte          { return []byte("foreign") }
func (f *foreign) MergeRemoteState([]byte, bool)   {}

func TestGarbageDoesNoHarm(t *testing.T) {
	all, heard := meet(t, "a", "b")
	for i, meta := range [][]byte{nil, {9, 9}, bytes.Repeat([]byte{255}, 512)} {
		conf := memberlist.DefaultLocalConfig()
		conf.Name, conf.BindAddr, conf.BindPort, conf.AdvertisePort = fmt.Sprint("foreign", i), "127.0.0.1", 0, 0
		conf.LogOutput = &bytes.Buffer{}
		conf.Delegate = &foreign{meta: meta}
		list, err := memberlist.Create(conf)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := list.Join([]string{all[0].Addr()}); err != nil {
			t.Logf("%d bytes: %v", len(meta), err)
		}
		for _, node := range list.Members() {
			if node.Name == "a" {
				for _, garbage := range [][]byte{{}, {1}, {1, 1, 200}, {7, 1, 0}, append([]byte{1, 1, 1, 'z'}, make([]byte, MaxPayload+1)...)} {
					_ = list.SendReliable(node, garbage)
					_ = list.SendBestEffort(node, garbage[:min(len(garbage), 100)])
				}
			}
		}
		if err := list.Shutdown(); err != nil {
			t.Fatal(err)
		}
	}
	for _, network := range []string{"tcp", "udp"} {
		for range 20 {
			c, err := net.Dial(network, all[0].Addr())
			if err != nil {
				t.Fatal(err)
			}
			noise := make([]byte, 300)
			if _, err := rand.Read(noise); err != nil {
				t.Fatal(err)
			}
			_, _ = c.Write(noise)
			_ = c.Close()
		}
	}
	if err := all[1].Send(t.Context(), "a", []byte("still there?")); err != nil {
		t.Fatal(err)
	}
	within(t, "a hears b", func() bool { return heard[0].hasMessage("b: still there?") })
	if len(all[0].List()) != 2 {
		t.Errorf("a knows %v", all[0].List())
	}
}

// Goal: what comes from others by any way is looked at first.
func TestTheDoorIsKept(t *testing.T) {
	a, heard := open(t, optionsOf("a"))
	door, talk := (*doorman)(a), (*speaker)(a)
	of := func(cluster string) []byte {
		meta, err := (&Member{Cluster: cluster, State: Active}).encode()
		if err != nil {
			t.Fatal(err)
		}
		return meta
	}
	for meta, want := range map[string]error{string(of("c1")): nil, string(of("")): nil, string(of("c2")): ErrOtherCluster, "": errMalformed} {
		if err := door.NotifyAlive(&memberlist.Node{Name: "x", Meta: []byte(meta)}); !errors.Is(err, want) {
			t.Errorf("%q: %v, want %v", meta, err, want)
		}
	}
	before := heard.calls()
	talk.MergeRemoteState(make([]byte, MaxPayload+1), true)
	for _, garbage := range []string{"", "\x01", "\x01\x01\xff", "\x07\x01\x00", "\x01\x09\x00", "\x01\x01\x01z" + strings.Repeat("x", MaxPayload+1)} {
		talk.NotifyMsg([]byte(garbage))
	}
	if heard.calls() != before {
		t.Errorf("it heard %v, %d states", heard.messages, len(heard.merged))
	}
}

// Goal: who holds connections open does not hold up the end, and nothing is told after it.
func TestCloseEndsEverything(t *testing.T) {
	all, heard := meet(t, "a", "b")
	for range 10 {
		c, err := net.Dial("tcp", all[0].Addr())
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = c.Close() }()
	}
	start := time.Now()
	if err := all[0].Close(); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(start); took > streamTimeout/2 {
		t.Errorf("it took %v", took)
	}
	before := heard[0].calls()
	speaker, watcher := (*speaker)(all[0]), (*watcher)(all[0])
	speaker.MergeRemoteState([]byte("late"), false)
	watcher.NotifyLeave(&memberlist.Node{Name: "b"})
	if heard[0].calls() != before {
		t.Error("the handler was called after the end")
	}
}

func TestOptionsSayWhatIsWrong(t *testing.T) {
	for want, change := range map[string]func(*Options){
		"name":          func(o *Options) { o.Self.Name = "" },
		"slash":         func(o *Options) { o.Self.Name = "a/b" },
		"handler":       func(o *Options) { o.Handler = nil },
		"17 bytes":      func(o *Options) { o.Key = make([]byte, 17) },
		"nowhere":       func(o *Options) { o.Bind = "nowhere" },
		"all addresses": func(o *Options) { o.Bind = "0.0.0.0:0" },
		"advertised":    func(o *Options) { o.Advertise = "no such host" },
		"state":         func(o *Options) { o.Self.State = 0 },
		"too long":      func(o *Options) { o.Self.HTTP = strings.Repeat("h", 500) },
	} {
		o := optionsOf("a")
		change(&o)
		if m, err := Open(o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", want, err)
			if err == nil {
				_ = m.Close()
			}
		}
	}
	a, _ := open(t, optionsOf("a"))
	o := optionsOf("b")
	o.Bind = a.Addr()
	if _, err := Open(o); err == nil || !strings.Contains(err.Error(), a.Addr()) {
		t.Errorf("an address in use: %v", err)
	}
}
