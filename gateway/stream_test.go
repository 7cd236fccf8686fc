package gateway

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/skerry-dev/skerry/actors"
	"github.com/skerry-dev/skerry/codec/skerryv1"
)

func send(tb testing.TB, stream grpc.BidiStreamingClient[skerryv1.BatchRequest, skerryv1.BatchResponse], requests ...*skerryv1.Request) {
	tb.Helper()
	if err := stream.Send(&skerryv1.BatchRequest{Requests: requests}); err != nil {
		tb.Fatal(err)
	}
}

// Goal: requests reach an entity in the order in which they were sent, over many messages, whatever the answers do.
func TestStreamKeepsOrder(t *testing.T) {
	r := start(t, nil)
	stream := r.stream(t)
	const count = 3000
	var want []string
	for id := uint64(1); id <= count; {
		var requests []*skerryv1.Request
		for range 1 + id%70 {
			player := fmt.Sprintf("p%d", id%7)
			requests = append(requests, getPlayer(id, player))
			want = append(want, fmt.Sprintf("%s %d", player, id))
			id++
		}
		send(t, stream, requests...)
	}
	if err := stream.CloseSend(); err != nil {
		t.Fatal(err)
	}
	responses, _ := recvAll(t, stream, len(want)+1) // to the end of the stream
	if got := r.entities.askedSoFar(); !slices.Equal(got, want) {
		t.Errorf("%d requests reached the entities in another order than the %d sent", len(got), len(want))
	}
	seen := map[uint64]int{}
	for _, response := range responses {
		seen[response.GetId()]++
	}
	if len(responses) != len(want) || len(seen) != len(want) {
		t.Errorf("%d responses to %d ids, want one to each of %d", len(responses), len(seen), len(want))
	}
}

// Goal: answers that come together leave together.
func TestStreamPacksResponses(t *testing.T) {
	r := start(t, nil)
	r.entities.holdAnswers()
	stream := r.stream(t)
	const count = 1000
	requests := make([]*skerryv1.Request, count)
	for i := range requests {
		requests[i] = getPlayer(uint64(i), "1")
	}
	send(t, stream, requests...)
	r.entities.waitAsked(t, count)
	r.entities.release()
	responses, messages := recvAll(t, stream, count)
	if len(responses) != count || messages > count/4 {
		t.Errorf("%d responses in %d messages, want %d in far fewer", len(responses), messages, count)
	}
}

// Goal: a message of responses is bounded in bytes, and nothing is lost where it is cut.
func TestStreamCutsLargeMessages(t *testing.T) {
	r := start(t, nil)
	session := r.openSession(t, "big")
	stream := r.stream(t)
	for i := range 16 { // attributes of 60 KB in all
		set := earn("big", session, int64(i+1), 1)
		set.GetExecutePlayer().Commands = []*skerryv1.PlayerCommand{setAttribute(fmt.Sprintf("a%d", i), strings.Repeat("x", 3700))}
		send(t, stream, set)
	}
	if _, n := recvAll(t, stream, 16); n == 0 {
		t.Fatal("no messages")
	}
	r.entities.holdAnswers()
	const count = 100
	for i := range count {
		send(t, stream, getPlayer(uint64(i), "big"))
	}
	r.entities.waitAsked(t, 1+16+count)
	r.entities.release()
	received := 0
	for received < count {
		message, err := stream.Recv()
		if err != nil {
			t.Fatal(err)
		}
		if size := message.SizeVT(); size > maxResponsesBytes+(64<<10) {
			t.Errorf("a message of %d bytes", size)
		}
		received += len(message.GetResponses())
	}
}

// Goal: at MaxInFlight unanswered requests the stream is not read, and goes on when there is room.
func TestStreamStopsReadingWhenFull(t *testing.T) {
	r := start(t, func(o *Options) { o.MaxInFlight = 8 })
	r.entities.holdAnswers()
	stream := r.stream(t)
	requests := make([]*skerryv1.Request, 20)
	for i := range requests {
		requests[i] = getPlayer(uint64(i), "1")
	}
	send(t, stream, requests...)
	r.entities.waitAsked(t, 8)
	if got := r.service.unsent(); got != 8 {
		t.Errorf("%v unanswered, want 8", got)
	}
	time.Sleep(50 * time.Millisecond) // a ninth would have come by now
	if got := len(r.entities.askedSoFar()); got != 8 {
		t.Errorf("%d requests reached the entities, want 8", got)
	}
	r.entities.release()
	if responses, _ := recvAll(t, stream, 20); len(responses) != 20 {
		t.Errorf("%d responses, want 20", len(responses))
	}
}

// Goal: a client that does not read its answers stops its own stream, not the node.
func TestStreamBoundsUnreadResponses(t *testing.T) {
	r := start(t, func(o *Options) { o.MaxInFlight = 64 })
	session := r.openSession(t, "1")
	set := earn("1", session, 1, 1)
	set.GetExecutePlayer().Commands = []*skerryv1.PlayerCommand{setAttribute("a", strings.Repeat("x", 60_000))}
	stream := r.stream(t)
	send(t, stream, set)
	recvAll(t, stream, 1)

	const count = 400
	requests := make([]*skerryv1.Request, count) // 24 MB of answers: over every window
	for i := range requests {
		requests[i] = getPlayer(uint64(i), "1")
	}
	send(t, stream, requests...)
	stalled := 0
	waitFor(t, "a stalled stream", func() bool {
		before := len(r.entities.askedSoFar())
		time.Sleep(100 * time.Millisecond)
		stalled = len(r.entities.askedSoFar())
		return stalled == before
	})
	if stalled >= count {
		t.Fatalf("all %d requests were run, though nobody read an answer", count)
	}
	if got := r.service.unsent(); got > 64 {
		t.Errorf("%v answers wait, want at most 64", got)
	}
	if responses, _ := recvAll(t, stream, count); len(responses) != count {
		t.Errorf("%d responses, want %d", len(responses), count)
	}
}

// Goal: a request that is not answered in its time is answered OUTCOME_UNKNOWN, once, and the late answer is dropped.
func TestStreamDeadline(t *testing.T) {
	r := start(t, nil)
	r.entities.holdAnswers()
	stream := r.stream(t)
	short, long := getPlayer(1, "1"), getPlayer(2, "1")
	short.TimeoutMs = 60
	began := time.Now()
	send(t, stream, short, long)
	responses, _ := recvAll(t, stream, 1)
	if took := time.Since(began); took < 60*time.Millisecond || took > 5*time.Second {
		t.Errorf("answered after %s, want 60 ms and a little", took)
	}
	if e := responses[0].GetError(); responses[0].GetId() != 1 || e.GetCode() != "OUTCOME_UNKNOWN" || !e.GetRetryable() || e.GetOutcome() != unknown {
		t.Errorf("answered %v", responses[0])
	}
	r.entities.release()
	send(t, stream, getPlayer(3, "1"))
	responses, _ = recvAll(t, stream, 2)
	if responses[0].GetId() != 2 || responses[1].GetId() != 3 {
		t.Errorf("then %v", responses)
	}
}

// Goal: when the client disappears, what it had in flight is dropped, and replies that come later do no harm.
func TestStreamClientDisappears(t *testing.T) {
	r := start(t, nil)
	r.entities.holdAnswers()
	conn := dial(t, r.grpcAddr)
	sender, err := skerryv1.NewSkerryClient(conn).Stream(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	send(t, sender, getPlayer(1, "1"), getPlayer(2, "2"))
	r.entities.waitAsked(t, 2)
	var ended *stream
	r.service.mu.Lock()
	for st := range r.service.mu.streams {
		ended = st
	}
	r.service.mu.Unlock()
	if err := conn.Close(); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "the stream's end", func() bool {
		ended.mu.Lock()
		defer ended.mu.Unlock()
		return ended.mu.ended
	})
	if n := r.entities.release(); n != 2 {
		t.Errorf("%d answers were held, want 2", n)
	}
	ended.mu.Lock()
	defer ended.mu.Unlock()
	if len(ended.mu.outbox) > 0 || ended.mu.first != nil {
		t.Errorf("the ended stream keeps %d answers", len(ended.mu.outbox))
	}
}

// Goal: a full queue below is a typed refusal of that request alone.
func TestStreamRefusesOne(t *testing.T) {
	r := start(t, nil)
	r.entities.fail = actors.ErrMailboxFull
	stream := r.stream(t)
	send(t, stream, getPlayer(1, "1"), getPlayer(2, "no spaces please"), &skerryv1.Request{Id: 3})
	responses, _ := recvAll(t, stream, 3)
	got := map[uint64]string{}
	for _, response := range responses {
		got[response.GetId()] = response.GetError().GetCode() + " " + response.GetError().GetField()
	}
	if got[1] != "OVERLOADED " || got[2] != "BAD_REQUEST player" || got[3] != "BAD_REQUEST request" {
		t.Errorf("refused with %v", got)
	}
}

// Goal: many streams at once, each answered for itself, while some of their clients vanish (run with -race).
func TestStreamsTogether(t *testing.T) {
	r := start(t, func(o *Options) { o.MaxInFlight = 32 })
	var clients sync.WaitGroup
	for i := range 8 {
		clients.Go(func() {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			stream, err := r.client.Stream(ctx)
			if err != nil {
				t.Error(err)
				return
			}
			var sending sync.WaitGroup
			defer sending.Wait()
			sending.Go(func() {
				for id := uint64(0); id < 500; id += 5 {
					var requests []*skerryv1.Request
					for j := range uint64(5) {
						requests = append(requests, getPlayer(id+j, fmt.Sprintf("p%d", i)))
					}
					if stream.Send(&skerryv1.BatchRequest{Requests: requests}) != nil {
						return
					}
				}
				_ = stream.CloseSend()
			})
			for received := 0; ; {
				message, err := stream.Recv()
				if errors.Is(err, io.EOF) && received == 500 {
					return
				}
				if err != nil {
					t.Errorf("stream %d after %d responses: %v", i, received, err)
					return
				}
				if received += len(message.GetResponses()); i%2 == 1 && received > 100 {
					return // vanishes
				}
			}
		})
	}
	clients.Wait()
}

// Goal: a long poll holds nobody else up, and ends when the node drains.
func TestLongPoll(t *testing.T) {
	r := start(t, nil)
	stream := r.stream(t)
	poll := &skerryv1.Request{Id: 1, Request: &skerryv1.Request_GetServerEvents{GetServerEvents: &skerryv1.GetServerEventsRequest{Server: "s1", Wait: "60s"}}}
	send(t, stream, poll, getPlayer(2, "1"))
	if responses, _ := recvAll(t, stream, 1); responses[0].GetId() != 2 {
		t.Fatalf("answered %v first", responses)
	}
	unary := make(chan error, 1)
	go func() {
		_, err := r.client.GetServerEvents(context.Background(), poll.GetGetServerEvents())
		unary <- err
	}()
	r.entities.waitAsked(t, 3)
	stopped := make(chan error, 1)
	go func() { stopped <- r.stop() }()
	responses, _ := recvAll(t, stream, 1)
	if responses[0].GetId() != 1 || responses[0].GetError().GetCode() != "UNAVAILABLE" {
		t.Errorf("the poll on the stream was answered %v", responses)
	}
	if err := <-unary; wireError(err).GetCode() != "UNAVAILABLE" {
		t.Errorf("the unary poll was answered %v", err)
	}
	if err := <-stopped; err != nil {
		t.Error(err)
	}
}

// Goal: a draining server answers what it accepted, takes nothing new, and then ends its streams.
func TestDrainAnswersWhatWasAccepted(t *testing.T) {
	r := start(t, nil)
	r.entities.holdAnswers()
	stream := r.stream(t)
	send(t, stream, getPlayer(1, "1"))
	r.entities.waitAsked(t, 1)
	stopped := make(chan error, 1)
	go func() { stopped <- r.stop() }()
	waitFor(t, "the drain", r.service.isDraining)
	r.entities.release()
	if responses, _ := recvAll(t, stream, 1); responses[0].GetId() != 1 || responses[0].GetError().GetCode() != "NOT_FOUND" {
		t.Errorf("answered %v", responses)
	}
	if _, err := stream.Recv(); status.Code(err) != codes.Unavailable || wireError(err).GetCode() != "UNAVAILABLE" {
		t.Errorf("then the stream ended with %v", err)
	}
	if err := <-stopped; err != nil {
		t.Error(err)
	}
	if got := r.entities.askedSoFar(); len(got) != 1 {
		t.Errorf("the entities were asked %v", got)
	}
}

// Goal: an entity that never answers does not keep the server from stopping.
func TestDrainHasAnEnd(t *testing.T) {
	r := start(t, func(o *Options) { o.DrainTimeout = 50 * time.Millisecond })
	r.entities.holdAnswers()
	stream := r.stream(t)
	send(t, stream, getPlayer(1, "1"))
	r.entities.waitAsked(t, 1)
	if err := r.stop(); err != nil {
		t.Error(err)
	}
	if _, err := stream.Recv(); err == nil {
		t.Error("answered, though nobody did")
	}
}

func setAttribute(path, value string) *skerryv1.PlayerCommand {
	return &skerryv1.PlayerCommand{Command: &skerryv1.PlayerCommand_SetAttribute{SetAttribute: &skerryv1.SetAttribute{Path: path, Value: structpb.NewStringValue(value)}}}
}
