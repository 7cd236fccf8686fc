package gateway

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/skerry-dev/skerry/actors"
	"github.com/skerry-dev/skerry/actors/turn"
	"github.com/skerry-dev/skerry/actors/world"
	"github.com/skerry-dev/skerry/codec/grpccodec"
	"github.com/skerry-dev/skerry/codec/skerryv1"
	"github.com/skerry-dev/skerry/codec/storev1"
	"github.com/skerry-dev/skerry/persistence"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.Cleanup(func(int) { http.DefaultTransport.(*http.Transport).CloseIdleConnections() }))
}

// entities are players and servers with the real rules and no storage: a turn is answered at once, unless the test holds
// the answers back.
type entities struct {
	mu     sync.Mutex
	states map[persistence.Key]*storev1.Entity
	seqs   map[persistence.Key]persistence.Seq
	chunks map[persistence.Key]chunks
	asked  []string // what was done, in order
	fail   error    // answer everything with it
	tokens int
	hold   bool
	held   []func() // answers held back
	events chan *skerryv1.ServerEvent
}

func newEntities() *entities {
	return &entities{
		states: map[persistence.Key]*storev1.Entity{}, seqs: map[persistence.Key]persistence.Seq{}, chunks: map[persistence.Key]chunks{},
		events: make(chan *skerryv1.ServerEvent, 16), // as many as a test sends
	}
}

// noon is when everything happens.
var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func (e *entities) Do(call *actors.Call) {
	e.mu.Lock()
	response, err := e.turnLocked(call)
	if e.hold || call.Request.GetGetServerEvents().GetWait() != "" {
		e.held = append(e.held, func() { call.Reply(response, err) })
		e.mu.Unlock()
		return
	}
	e.mu.Unlock()
	call.Reply(response, err)
}

func (e *entities) turnLocked(call *actors.Call) (*skerryv1.Response, error) {
	e.asked = append(e.asked, fmt.Sprintf("%s %d", call.Key.ID, call.Request.GetId()))
	if e.fail != nil {
		return nil, e.fail
	}
	if r := call.Request.GetGetServerEvents(); r != nil {
		return &skerryv1.Response{Response: &skerryv1.Response_GetServerEvents{GetServerEvents: &skerryv1.GetServerEventsResponse{
			Events: []*skerryv1.ServerEvent{{Id: r.GetAfter() + 1, Type: "SESSION_TAKEN", Kind: "player", Entity: "1001", Session: "token-1"}},
		}}}, nil
	}
	state := e.states[call.Key]
	if state == nil {
		state = &storev1.Entity{}
	}
	e.tokens++
	if e.chunks[call.Key].loaded == nil {
		e.chunks[call.Key] = chunks{state, map[world.Coord]*world.Chunk{}}
	}
	parts := e.chunks[call.Key]
	result := turn.Decide(state, call.Key, call.Request, turn.Env{
		Now: noon, Seed: 1, Token: fmt.Sprintf("token-%d", e.tokens), Admin: call.Admin, Seq: e.seqs[call.Key],
		Incarnation: "incarnation", Describe: Describe, Parts: parts, Page: parts.page(call.Request),
	})
	if result.Entry != nil {
		e.seqs[call.Key]++
		if err := turn.Evolve(state, e.seqs[call.Key], result.Entry); err != nil {
			return nil, err
		}
		for _, event := range result.Entry.GetWorldEvents() {
			if at, ofChunk := world.ChunkOf(event); ofChunk {
				if err := world.EvolveChunk(parts.Chunk(at), event); err != nil {
					return nil, err
				}
			}
		}
		e.states[call.Key] = state
	}
	return result.Response, result.Err
}

// chunks are those of a world, all of them loaded.
type chunks struct {
	world  *storev1.Entity
	loaded map[world.Coord]*world.Chunk
}

func (c chunks) Chunk(at world.Coord) *world.Chunk {
	if c.loaded[at] == nil {
		c.loaded[at] = world.NewChunk(c.world.GetWorld())
	}
	return c.loaded[at]
}

// page is what a request looks at that lists chunks.
func (c chunks) page(request *skerryv1.Request) (page turn.Page) {
	query, ok := turn.PageOf(request)
	if !ok {
		return page
	}
	for at, chunk := range c.loaded {
		if at.Part() > query.After && (chunk.State != skerryv1.ChunkState_ABSENT || len(chunk.Chests) > 0) {
			page.Chunks = append(page.Chunks, at)
		}
	}
	slices.SortFunc(page.Chunks, func(a, b world.Coord) int { return strings.Compare(a.Part(), b.Part()) })
	if len(page.Chunks) > query.Limit {
		page.Chunks, page.More = page.Chunks[:query.Limit], true
	}
	return page
}

// release lets every held answer go, and holds no more.
func (e *entities) release() int {
	e.mu.Lock()
	held := e.held
	e.held, e.hold = nil, false
	e.mu.Unlock()
	for _, reply := range held {
		reply()
	}
	return len(held)
}

// holdAnswers holds back all further answers until release.
func (e *entities) holdAnswers() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.hold = true
}

func (e *entities) askedSoFar() []string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Clone(e.asked)
}

// waitAsked waits until n requests reached the entities.
func (e *entities) waitAsked(tb testing.TB, n int) {
	tb.Helper()
	waitFor(tb, fmt.Sprintf("%d requests", n), func() bool { return len(e.askedSoFar()) >= n })
}

// waitFor looks again and again until it is so: for what the other side of a socket does.
func waitFor(tb testing.TB, what string, isSo func() bool) {
	tb.Helper()
	deadline := time.Now().Add(10 * time.Second)
	for !isSo() {
		if time.Now().After(deadline) {
			tb.Fatalf("waited in vain for %s", what)
		}
		time.Sleep(time.Millisecond)
	}
}

func (e *entities) Watch(ctx context.Context, key persistence.Key, after int64, push func(*skerryv1.ServerEvent) error) error {
	if key.ID == "unknown" {
		return turn.ErrNotFound
	}
	if err := push(&skerryv1.ServerEvent{Id: after + 1, Type: "RESYNC"}); err != nil {
		return err
	}
	for {
		select {
		case event := <-e.events:
			if err := push(event); err != nil {
				return err
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// adminFake keeps records in memory and tells of three players.
type adminFake struct {
	mu      sync.Mutex
	records map[string][]byte
	reads   int
	fail    error
	onPut   func()   // called by PutRecord before it writes
	ordered []string // what an operator asked for
}

func (a *adminFake) ListPlayers(_ context.Context, space, after string, limit int) ([]string, error) {
	var out []string
	for _, id := range []string{"1001", "1002", "1003"} {
		if space == persistence.DefaultSpace && id > after && len(out) < limit {
			out = append(out, id)
		}
	}
	return out, nil
}

func (a *adminFake) ListWorlds(_ context.Context, space, owner, after string, limit int) ([]string, error) {
	var out []string
	for _, id := range []string{"1001", "1001~2", "1002"} {
		mine := owner == "" || id == owner || strings.HasPrefix(id, owner+"~")
		if space == persistence.DefaultSpace && mine && id > after && len(out) < limit {
			out = append(out, id)
		}
	}
	return out, nil
}

func (a *adminFake) Spaces(context.Context) ([]*skerryv1.Space, error) {
	return []*skerryv1.Space{{Name: "main", Players: 3}, {Name: "staging"}}, nil
}

func (a *adminFake) CopySpace(_ context.Context, from, _ string, progress func(*skerryv1.SpaceProgress) error) error {
	if from == "empty" {
		return turn.ErrNotFound
	}
	return progress(&skerryv1.SpaceProgress{Done: 3, Total: 3})
}

func (a *adminFake) EraseSpace(ctx context.Context, space string, progress func(*skerryv1.SpaceProgress) error) error {
	if space == "endless" {
		<-ctx.Done()
		return ctx.Err()
	}
	return progress(&skerryv1.SpaceProgress{Done: 1, Total: 2})
}

func (a *adminFake) PutRecord(_ context.Context, name string, value []byte) error {
	if a.onPut != nil {
		a.onPut()
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if value == nil {
		delete(a.records, name)
	} else {
		a.records[name] = slices.Clone(value)
	}
	return nil
}

func (a *adminFake) Records(_ context.Context, prefix string, limit int) ([]persistence.Record, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.reads++
	if a.fail != nil {
		return nil, a.fail
	}
	var out []persistence.Record
	for name, value := range a.records {
		if strings.HasPrefix(name, prefix) && len(out) < limit {
			out = append(out, persistence.Record{Name: name, Value: value})
		}
	}
	slices.SortFunc(out, func(x, y persistence.Record) int { return strings.Compare(x.Name, y.Name) })
	return out, nil
}

func (a *adminFake) Cluster(context.Context) (*skerryv1.GetClusterResponse, error) {
	return &skerryv1.GetClusterResponse{Nodes: []*skerryv1.ClusterNode{{Name: "a", State: "active", Owned: 32}}}, nil
}

// Partitions is a number of its own, so that a test sees where it is from.
func (a *adminFake) Partitions() int { return 8 }

// order notes what an operator asked for, of node a or b of two.
func (a *adminFake) order(node, format string, args ...any) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	switch node {
	case "a", "b":
		a.ordered = append(a.ordered, fmt.Sprintf(format, args...))
		return nil
	case "last":
		return fmt.Errorf("%w: it is the last one", ErrNotPossible)
	default:
		return fmt.Errorf("node %s: %w", node, persistence.ErrAbsent)
	}
}

func (a *adminFake) Drain(_ context.Context, node string, undo bool) error {
	if undo {
		return a.order(node, "undrain %s", node)
	}
	return a.order(node, "drain %s", node)
}

func (a *adminFake) Remove(_ context.Context, node string, force bool) error {
	return a.order(node, "remove %s %v", node, force)
}

func (a *adminFake) HandOver(_ context.Context, p persistence.Partition, to string) error {
	return a.order(to, "hand over %d to %s", p, to)
}

// Owners says that each partition moved from a to b at noon.
func (a *adminFake) Owners(context.Context, persistence.Partition) ([]*skerryv1.OwnershipChange, error) {
	return []*skerryv1.OwnershipChange{
		{Node: "a", Epoch: "1.2", Since: timestamppb.New(noon.Add(-time.Hour)), Why: "started"},
		{Node: "b", Epoch: "1.3", Since: timestamppb.New(noon), Why: "handed_over"},
	}, nil
}

// running is a server on loopback, and what talks to it.
type running struct {
	*Server

	entities *entities
	admin    *adminFake
	grpcAddr string
	url      string
	adminURL string
	client   skerryv1.SkerryClient
	stop     func() error // drains, and returns what Serve did; the test's end calls it too
}

func start(tb testing.TB, change func(*Options)) *running {
	tb.Helper()
	r := &running{entities: newEntities(), admin: &adminFake{records: map[string][]byte{}}}
	opts := Options{Entities: r.entities, Admin: r.admin, AllowAnonymous: true, DrainTimeout: 5 * time.Second}
	if change != nil {
		change(&opts)
	}
	var err error
	if r.Server, err = New(opts); err != nil {
		tb.Fatal(err)
	}
	at := Listeners{GRPC: listen(tb), HTTP: listen(tb), Admin: listen(tb)}
	r.grpcAddr = at.GRPC.Addr().String()
	r.url, r.adminURL = "http://"+at.HTTP.Addr().String(), "http://"+at.Admin.Addr().String()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- r.Serve(ctx, at) }()
	r.stop = sync.OnceValue(func() error {
		cancel()
		return <-done
	})
	tb.Cleanup(func() {
		r.entities.release()
		if err := r.stop(); err != nil {
			tb.Errorf("serve: %v", err)
		}
	})
	r.client = skerryv1.NewSkerryClient(dial(tb, r.grpcAddr))
	return r
}

func listen(tb testing.TB) net.Listener {
	tb.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	return l
}

func dial(tb testing.TB, addr string, more ...grpc.DialOption) *grpc.ClientConn {
	tb.Helper()
	options := append([]grpc.DialOption{
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.ForceCodecV2(grpccodec.New()), grpc.MaxCallRecvMsgSize(32<<20), grpc.MaxCallSendMsgSize(32<<20)),
	}, more...)
	conn, err := grpc.NewClient(addr, options...)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = conn.Close() })
	return conn
}

// stream opens a stream that ends with the test.
func (r *running) stream(tb testing.TB, md ...string) grpc.BidiStreamingClient[skerryv1.BatchRequest, skerryv1.BatchResponse] {
	tb.Helper()
	ctx, cancel := context.WithTimeout(metadata.AppendToOutgoingContext(context.Background(), md...), 30*time.Second)
	tb.Cleanup(cancel)
	stream, err := r.client.Stream(ctx)
	if err != nil {
		tb.Fatal(err)
	}
	return stream
}

// earn is a request to earn coins in a session.
func earn(player, session string, commandID, amount int64) *skerryv1.Request {
	return &skerryv1.Request{Request: &skerryv1.Request_ExecutePlayer{ExecutePlayer: &skerryv1.ExecutePlayerRequest{
		Player: player, Session: session, CommandId: commandID,
		Commands: []*skerryv1.PlayerCommand{{Command: &skerryv1.PlayerCommand_Earn{Earn: &skerryv1.Earn{Currency: skerryv1.Currency_COINS, Amount: amount}}}},
	}}}
}

func getPlayer(id uint64, player string) *skerryv1.Request {
	return &skerryv1.Request{Id: id, Request: &skerryv1.Request_GetPlayer{GetPlayer: &skerryv1.GetPlayerRequest{Player: player}}}
}

func open(id uint64, player string) *skerryv1.Request {
	return &skerryv1.Request{Id: id, Request: &skerryv1.Request_OpenPlayerSession{OpenPlayerSession: &skerryv1.OpenPlayerSessionRequest{Player: player, Server: "s1"}}}
}

// openSession opens a session and returns its token.
func (r *running) openSession(tb testing.TB, player string) string {
	tb.Helper()
	opened, err := r.client.OpenPlayerSession(tb.Context(), open(0, player).GetOpenPlayerSession())
	if err != nil {
		tb.Fatal(err)
	}
	return opened.GetSession()
}

// wireError returns the typed error in what a call returned.
func wireError(err error) *skerryv1.Error {
	for _, detail := range status.Convert(err).Details() {
		if wire, ok := detail.(*skerryv1.Error); ok {
			return wire
		}
	}
	return nil
}

// do sends an HTTP request and returns status and body.
func (r *running) do(tb testing.TB, method, path, body string, header ...string) (int, string) {
	tb.Helper()
	request, err := http.NewRequestWithContext(tb.Context(), method, r.url+path, strings.NewReader(body))
	if err != nil {
		tb.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		if header[i] == "Host" {
			request.Host = header[i+1]
		}
		request.Header.Set(header[i], header[i+1])
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		tb.Fatal(err)
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(response.Body)
	if err != nil {
		tb.Fatal(err)
	}
	return response.StatusCode, string(answer)
}

// recvAll receives responses until there are n, or the stream ends; it returns them and how many messages they came in.
func recvAll(tb testing.TB, stream grpc.BidiStreamingClient[skerryv1.BatchRequest, skerryv1.BatchResponse], n int) (responses []*skerryv1.Response, messages int) {
	tb.Helper()
	for len(responses) < n {
		message, err := stream.Recv()
		if err != nil {
			if errors.Is(err, io.EOF) {
				return responses, messages
			}
			tb.Fatalf("after %d of %d responses: %v", len(responses), n, err)
		}
		responses = append(responses, message.GetResponses()...)
		messages++
	}
	return responses, messages
}
