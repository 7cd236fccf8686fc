package peers

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/binary"
	"errors"
	"io"
	"math/big"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/skerry-dev/skerry/persistence"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience is how long a test waits for what must happen; it is never used up when all is well.
const patience = 10 * time.Second

// recorder is a handler that remembers, and serves what it is told to.
type recorder struct {
	serve func(ctx context.Context, from persistence.NodeID, request []byte, send func([]byte) error) error
	keep  bool // batches whole, else only their first eight bytes

	seen struct {
		sync.Mutex
		batches map[persistence.NodeID][][]byte
		open    map[persistence.NodeID]bool
		wrong   []string
		downs   int
		calls   map[persistence.NodeID][][]byte // kept whole: they are the handler's
		losses  map[persistence.NodeID]int
		changed chan struct{} // closed at each change
	}
}

func newRecorder() *recorder {
	r := &recorder{}
	r.seen.batches = map[persistence.NodeID][][]byte{}
	r.seen.open = map[persistence.NodeID]bool{}
	r.seen.calls, r.seen.losses = map[persistence.NodeID][][]byte{}, map[persistence.NodeID]int{}
	r.seen.changed = make(chan struct{})
	return r
}

func (r *recorder) change(f func()) {
	r.seen.Lock()
	defer r.seen.Unlock()
	f()
	close(r.seen.changed)
	r.seen.changed = make(chan struct{})
}

func (r *recorder) Receive(from persistence.NodeID, batch []byte) {
	if !r.keep {
		batch = batch[:min(len(batch), 8)]
	}
	batch = slices.Clone(batch)
	r.change(func() {
		if !r.seen.open[from] {
			r.seen.wrong = append(r.seen.wrong, "a batch outside of Up and Down")
		}
		r.seen.batches[from] = append(r.seen.batches[from], batch)
	})
}

func (r *recorder) Serve(ctx context.Context, from persistence.NodeID, request []byte, send func([]byte) error) error {
	if r.serve == nil {
		return errors.New("nothing here")
	}
	return r.serve(ctx, from, request, send)
}

func (r *recorder) Up(peer persistence.NodeID)   { r.turn(peer, true) }
func (r *recorder) Down(peer persistence.NodeID) { r.turn(peer, false) }

func (r *recorder) Calls(from persistence.NodeID, frame []byte) {
	r.change(func() { r.seen.calls[from] = append(r.seen.calls[from], frame) })
}

func (r *recorder) CallsLost(peer persistence.NodeID) {
	r.change(func() { r.seen.losses[peer]++ })
}

// lossCount returns how often the calls of a peer were lost.
func (r *recorder) lossCount(peer persistence.NodeID) int {
	r.seen.Lock()
	defer r.seen.Unlock()
	return r.seen.losses[peer]
}

// callNumbers returns what numbered frames of calls came from node 1.
func (r *recorder) callNumbers() []uint64 {
	r.seen.Lock()
	defer r.seen.Unlock()
	var numbers []uint64
	for _, frame := range r.seen.calls[1] {
		numbers = append(numbers, binary.LittleEndian.Uint64(frame))
	}
	return numbers
}

func (r *recorder) turn(peer persistence.NodeID, up bool) {
	r.change(func() {
		if r.seen.open[peer] == up {
			r.seen.wrong = append(r.seen.wrong, "Up and Down do not alternate")
		}
		if r.seen.open[peer] = up; !up {
			r.seen.downs++
		}
	})
}

// wait returns when the claim holds.
func (r *recorder) wait(tb testing.TB, what string, claim func() bool) {
	tb.Helper()
	timer := time.NewTimer(patience)
	defer timer.Stop()
	for {
		r.seen.Lock()
		ok, changed := claim(), r.seen.changed
		r.seen.Unlock()
		if ok {
			return
		}
		select {
		case <-changed:
		case <-timer.C:
			tb.Fatalf("waited in vain: %s", what)
		}
	}
}

func (r *recorder) waitUp(tb testing.TB, peer persistence.NodeID) {
	tb.Helper()
	r.wait(tb, "the stream is open", func() bool { return r.seen.open[peer] })
}

func (r *recorder) waitDown(tb testing.TB, peer persistence.NodeID) {
	tb.Helper()
	r.wait(tb, "the stream is lost", func() bool { return !r.seen.open[peer] })
}

// numbers returns what numbered batches came from the peer.
func (r *recorder) numbers(from persistence.NodeID) []uint64 {
	r.seen.Lock()
	defer r.seen.Unlock()
	var numbers []uint64
	for _, batch := range r.seen.batches[from] {
		numbers = append(numbers, binary.LittleEndian.Uint64(batch))
	}
	return numbers
}

// check fails the test if the promises to a handler were broken.
func (r *recorder) check(tb testing.TB) {
	tb.Helper()
	r.seen.Lock()
	defer r.seen.Unlock()
	for _, wrong := range r.seen.wrong {
		tb.Error(wrong)
	}
}

// numbered returns a batch that begins with a number.
func numbered(number uint64, length int) []byte {
	batch := make([]byte, max(length, 8))
	binary.LittleEndian.PutUint64(batch, number)
	return batch
}

// testNode is one node of a test.
type testNode struct {
	*Peers
	*recorder
	id      persistence.NodeID
	address string
	stop    func() // ends Run, and returns when it has
}

// start runs a node on loopback; change may be nil.
func start(tb testing.TB, id persistence.NodeID, change func(*Options)) *testNode {
	tb.Helper()
	opts := Options{Node: id, Cluster: "test", Insecure: true, Handler: newRecorder(), MaxBackoff: 100 * time.Millisecond}
	if change != nil {
		change(&opts)
	}
	if opts.Listener == nil {
		listener, err := new(net.ListenConfig).Listen(tb.Context(), "tcp", "127.0.0.1:0")
		if err != nil {
			tb.Fatal(err)
		}
		opts.Listener = listener
	}
	p, err := New(opts)
	if err != nil {
		tb.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- p.Run(ctx) }()
	n := &testNode{Peers: p, id: id, address: opts.Listener.Addr().String()}
	n.recorder, _ = opts.Handler.(*recorder)
	n.stop = sync.OnceFunc(func() {
		cancel()
		timer := time.NewTimer(patience)
		defer timer.Stop()
		select {
		case err := <-ended:
			if err != nil {
				tb.Errorf("node %d: Run: %v", id, err)
			}
		case <-timer.C:
			tb.Errorf("node %d: Run did not end", id)
		}
		if n.recorder != nil {
			n.check(tb)
		}
	})
	tb.Cleanup(n.stop)
	return n
}

// introduce tells every node where all are.
func introduce(nodes ...*testNode) {
	addresses := map[persistence.NodeID]string{}
	for _, n := range nodes {
		addresses[n.id] = n.address
	}
	for _, n := range nodes {
		n.SetAddresses(addresses)
	}
}

// pair runs two nodes that know each other and are connected both ways.
func pair(tb testing.TB, change func(*Options)) (a, b *testNode) {
	tb.Helper()
	a, b = start(tb, 1, change), start(tb, 2, change)
	introduce(a, b)
	a.waitUp(tb, 2)
	b.waitUp(tb, 1)
	return a, b
}

// authority issues certificates.
type authority struct {
	t    testing.TB
	key  *ecdsa.PrivateKey
	cert *x509.Certificate
	pool *x509.CertPool
}

func newAuthority(tb testing.TB) *authority {
	tb.Helper()
	a := &authority{t: tb, key: newKey(tb), pool: x509.NewCertPool()}
	a.cert = a.sign(&x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "authority"}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign,
	}, a.key)
	a.pool.AddCert(a.cert)
	return a
}

func newKey(tb testing.TB) *ecdsa.PrivateKey {
	tb.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		tb.Fatal(err)
	}
	return key
}

func (a *authority) sign(template *x509.Certificate, key *ecdsa.PrivateKey) *x509.Certificate {
	a.t.Helper()
	template.NotBefore, template.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	parent := a.cert
	if parent == nil {
		parent = template
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), a.key)
	if err != nil {
		a.t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		a.t.Fatal(err)
	}
	return cert
}

// issue returns the TLS of a node whose certificate bears the names.
func (a *authority) issue(names ...string) *TLS {
	a.t.Helper()
	key := newKey(a.t)
	cert := a.sign(&x509.Certificate{
		SerialNumber: big.NewInt(2), DNSNames: names, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
	}, key)
	shown := &tls.Certificate{Certificate: [][]byte{cert.Raw}, PrivateKey: key}
	return &TLS{
		Certificate: func() (*tls.Certificate, error) { return shown, nil },
		Roots:       func() (*x509.CertPool, error) { return a.pool, nil },
	}
}

// secure makes options with TLS, whose certificate speaks for any node.
func secure(tb testing.TB) func(*Options) {
	tb.Helper()
	tls := newAuthority(tb).issue("*.skerry")
	return func(o *Options) { o.Insecure, o.TLS = false, tls }
}

// writeFrame writes one frame, as a peer would.
func writeFrame(w io.Writer, k kind, payload []byte) error {
	return newFrameWriter(w).writeNow(k, payload)
}
