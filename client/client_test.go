// Goal: a call ends with the node's answer, or with the truth about what is not known.
// Method: a node that answers, refuses, falls silent or goes away as each test says, on a real connection.
package client_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/skerry-dev/skerry/client"
	"github.com/skerry-dev/skerry/codec"
	"github.com/skerry-dev/skerry/codec/skerryv1"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestTypedMethods(t *testing.T) {
	f := startFake(t, echo)
	c := dial(t, f, client.Options{Key: "sk_1_2", Space: "staging"})
	p := openPlayer(t, c, "1001")
	if !p.IsNew() || p.Token() != "token-1001" || p.Document().GetName() != "Ann" {
		t.Fatalf("opened %v %q %v", p.IsNew(), p.Token(), p.Document())
	}
	if balance, err := p.Earn(t.Context(), client.Coins, 50); err != nil || balance != 50 {
		t.Fatalf("earned %d, %v", balance, err)
	}
	if doc, err := p.Refresh(t.Context()); err != nil || doc.GetName() != "refreshed" || p.Document().GetName() != "refreshed" {
		t.Fatalf("refreshed %v, %v", doc, err)
	}
	f.mu.Lock()
	key, space := f.header.Get("authorization"), f.header.Get("skerry-space")
	f.mu.Unlock()
	if !slices.Equal(key, []string{"Bearer sk_1_2"}) || !slices.Equal(space, []string{"staging"}) {
		t.Errorf("the node saw key %v and space %v", key, space)
	}
}

// What waits is sent in one message, whoever asked.
func TestRequestsTravelTogether(t *testing.T) {
	f := startFake(t, echo)
	c := dial(t, f, client.Options{})
	var players []*client.Player
	for i := range 3 {
		players = append(players, openPlayer(t, c, fmt.Sprint(i)))
	}
	f.server.Stop() // from here on everything waits
	const each = 90
	var answers sync.WaitGroup
	for i := range each * len(players) {
		answers.Add(1)
		err := players[i%len(players)].DoAsync(client.DoOptions{}, func(_ *client.Result, err error) {
			defer answers.Done()
			if err != nil {
				t.Error(err)
			}
		}, earn(int64(i)))
		if err != nil {
			t.Fatal(err)
		}
	}
	f.mu.Lock()
	f.messages = nil
	f.mu.Unlock()
	f.listen(t, f.addr)
	answers.Wait()
	if got := f.seen(); got[0] < each*len(players)-5 { // a few may have been sent into the dying connection
		t.Errorf("%d requests that waited came in messages of %v", each*len(players), got)
	}
}

func TestRefusalIsTyped(t *testing.T) {
	f := startFake(t, func(req *skerryv1.Request) *skerryv1.Response {
		if req.GetExecutePlayer() == nil {
			return echo(req)
		}
		index := int32(1)
		return &skerryv1.Response{Error: &skerryv1.Error{
			Code: "INSUFFICIENT_FUNDS", Message: "no", Field: "commands[1].spend.amount", CommandIndex: &index, Outcome: client.NotApplied,
		}}
	})
	p := openPlayer(t, dial(t, f, client.Options{}), "1001")
	_, err := p.Do(t.Context(), client.DoOptions{}, earn(1), earn(2))
	var e *client.Error
	if !errors.As(err, &e) {
		t.Fatalf("%v", err)
	}
	if e.Code != codec.CodeInsufficientFunds || e.Field != "commands[1].spend.amount" || e.CommandIndex != 1 || e.CommandID != 1 ||
		e.Outcome != client.NotApplied || e.Retryable || !errors.Is(err, client.ErrInsufficientFunds) || errors.Is(err, client.ErrBadSlot) {
		t.Errorf("%+v", e)
	}
}

// A refusal that may pass is tried again with the same command id, not before the node wants.
func TestRetryKeepsCommandID(t *testing.T) {
	var tries []*skerryv1.ExecutePlayerRequest
	var times []time.Time
	f := startFake(t, func(req *skerryv1.Request) *skerryv1.Response {
		if req.GetExecutePlayer() == nil {
			return echo(req)
		}
		tries, times = append(tries, req.GetExecutePlayer()), append(times, time.Now())
		if len(tries) < 3 {
			return &skerryv1.Response{Error: &skerryv1.Error{Code: "OVERLOADED", Retryable: true, Outcome: client.NotApplied, RetryAfterMs: 30}}
		}
		return echo(req)
	})
	p := openPlayer(t, dial(t, f, client.Options{}), "1001")
	if balance, err := p.Earn(t.Context(), client.Coins, 5); err != nil || balance != 5 {
		t.Fatalf("%d, %v", balance, err)
	}
	if len(tries) != 3 {
		t.Fatalf("%d tries", len(tries))
	}
	for i, try := range tries {
		if try.GetCommandId() != 1 || try.GetCommands()[0].GetEarn().GetAmount() != 5 {
			t.Errorf("try %d: %v", i, try)
		}
		if i > 0 && times[i].Sub(times[i-1]) < 30*time.Millisecond {
			t.Errorf("try %d came %v after the one before, asked were 30 ms", i, times[i].Sub(times[i-1]))
		}
	}
}

// What was on its way when the connection broke is sent again with the same ids, in the same order.
func TestReconnectSendsAgain(t *testing.T) {
	var mu sync.Mutex
	var ids []int64
	silent := true
	arrived := make(chan struct{}, 100)
	f := startFake(t, func(req *skerryv1.Request) *skerryv1.Response {
		if req.GetExecutePlayer() == nil {
			return echo(req)
		}
		mu.Lock()
		defer mu.Unlock()
		if silent {
			arrived <- struct{}{}
			return nil
		}
		ids = append(ids, req.GetExecutePlayer().GetCommandId())
		return echo(req)
	})
	p := openPlayer(t, dial(t, f, client.Options{}), "1001")
	var answers sync.WaitGroup
	for i := range 10 {
		answers.Add(1)
		err := p.DoAsync(client.DoOptions{}, func(r *client.Result, err error) {
			defer answers.Done()
			if err != nil || r.CommandID != int64(i+1) || r.Seq != int64(i+1) {
				t.Errorf("command %d: %v, %v", i+1, r, err)
			}
		}, earn(int64(i)))
		if err != nil {
			t.Fatal(err)
		}
	}
	for range 10 {
		<-arrived
	}
	mu.Lock()
	silent = false
	mu.Unlock()
	f.cutStreams()
	answers.Wait()
	if want := []int64{1, 2, 3, 4, 5, 6, 7, 8, 9, 10}; !slices.Equal(ids, want) {
		t.Errorf("sent again: %v", ids)
	}
}

func TestDeadlineSaysWhatIsKnown(t *testing.T) {
	silent := func(req *skerryv1.Request) *skerryv1.Response {
		if req.GetExecutePlayer() == nil {
			return echo(req)
		}
		return nil
	}
	f := startFake(t, silent)
	p := openPlayer(t, dial(t, f, client.Options{}), "1001")
	ctx, cancel := context.WithTimeout(t.Context(), 1500*time.Millisecond) // long enough to be sent, on a busy machine too
	defer cancel()
	for name, call := range map[string]func() error{
		"its context": func() error { _, err := p.Do(ctx, client.DoOptions{}, earn(1)); return err },
		"its time-out": func() error {
			done := make(chan error, 1)
			err := p.DoAsync(client.DoOptions{Timeout: 500 * time.Millisecond}, func(_ *client.Result, err error) { done <- err }, earn(1))
			return errors.Join(err, <-done)
		},
	} {
		err := call()
		var e *client.Error
		if !errors.As(err, &e) || e.Outcome != client.Unknown || !errors.Is(err, client.ErrOutcomeUnknown) ||
			!errors.Is(err, context.DeadlineExceeded) || e.CommandID == 0 {
			t.Errorf("%s ended a call that was sent: %+v", name, err)
		}
	}

	f.server.Stop()
	_, _ = p.Do(ctx, client.DoOptions{}, earn(1)) // over already
	short, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err := p.Do(ctx, client.DoOptions{}, earn(1))
	var e *client.Error
	if !errors.As(err, &e) || e.Outcome != client.NotApplied || !errors.Is(err, client.ErrUnavailable) {
		t.Errorf("a call that was never sent: %+v", err)
	}
	<-short.Done()
}

// A retry that is refused says nothing about an earlier try whose answer was lost.
func TestDoubtStays(t *testing.T) {
	tries := 0
	f := startFake(t, func(req *skerryv1.Request) *skerryv1.Response {
		if req.GetExecutePlayer() == nil {
			return echo(req)
		}
		if tries++; tries == 1 {
			return no("OUTCOME_UNKNOWN", true, client.Unknown)
		}
		return no("OVERLOADED", true, client.NotApplied)
	})
	p := openPlayer(t, dial(t, f, client.Options{}), "1001")
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	_, err := p.Do(ctx, client.DoOptions{}, earn(1))
	var e *client.Error
	if !errors.As(err, &e) || e.Outcome != client.Unknown || tries < 2 {
		t.Errorf("after %d tries: %+v", tries, err)
	}
}

func TestFullQueueRefuses(t *testing.T) {
	release := make(chan struct{})
	f := startFake(t, func(req *skerryv1.Request) *skerryv1.Response {
		if req.GetExecutePlayer() != nil {
			<-release
		}
		return echo(req)
	})
	c := dial(t, f, client.Options{MaxPending: 2})
	p := openPlayer(t, c, "1001")
	var answers sync.WaitGroup
	answers.Add(2)
	count := func(_ *client.Result, err error) {
		defer answers.Done()
		if err != nil {
			t.Error(err)
		}
	}
	for range 2 {
		if err := p.DoAsync(client.DoOptions{}, count, earn(1)); err != nil {
			t.Fatal(err)
		}
	}
	_, err := p.Do(t.Context(), client.DoOptions{}, earn(1))
	var e *client.Error
	if !errors.As(err, &e) || !errors.Is(err, client.ErrOverloaded) || !e.Retryable || e.Outcome != client.NotApplied {
		t.Errorf("the third of two: %+v", err)
	}
	close(release)
	answers.Wait()
	if _, err := p.Do(t.Context(), client.DoOptions{}, earn(1)); err != nil {
		t.Errorf("afterwards: %v", err)
	}
}

// Ids never run further ahead of an unanswered one than the node remembers.
func TestTurnsOfAPlayerAreBounded(t *testing.T) {
	var held atomic.Int64
	held.Store(1)
	arrived := make(chan struct{}, 1)
	f := startFake(t, func(req *skerryv1.Request) *skerryv1.Response {
		if id := req.GetExecutePlayer().GetCommandId(); id != 0 && id == held.Load() {
			select {
			case arrived <- struct{}{}:
			default:
			}
			return no("UNAVAILABLE", true, client.NotApplied) // until the test lets go
		}
		return echo(req)
	})
	p := openPlayer(t, dial(t, f, client.Options{}), "1001")
	var answers sync.WaitGroup
	send := func() error {
		answers.Add(1)
		err := p.DoAsync(client.DoOptions{}, func(_ *client.Result, err error) {
			defer answers.Done()
			if err != nil {
				t.Error(err)
			}
		}, earn(1))
		if err != nil {
			answers.Done()
		}
		return err
	}
	accepted := 0
	for send() == nil {
		accepted++
	}
	if accepted < 50 || accepted > 127 {
		t.Fatalf("%d turns ahead of an unanswered one", accepted)
	}
	waited := make(chan error, 1)
	go func() { _, err := p.Do(context.Background(), client.DoOptions{}, earn(2)); waited <- err }()
	<-arrived
	select {
	case err := <-waited:
		t.Fatalf("did not wait: %v", err)
	default:
	}
	held.Store(0)
	if err := <-waited; err != nil {
		t.Fatal(err)
	}
	answers.Wait()
}

func TestCloseAnswersEverybody(t *testing.T) {
	arrived := make(chan struct{}, 1)
	f := startFake(t, func(req *skerryv1.Request) *skerryv1.Response {
		if req.GetExecutePlayer() == nil {
			return echo(req)
		}
		arrived <- struct{}{}
		return nil
	})
	c := dial(t, f, client.Options{})
	p := openPlayer(t, c, "1001")
	ended := make(chan error, 1)
	go func() { _, err := p.Earn(context.Background(), client.Coins, 1); ended <- err }()
	<-arrived
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; !errors.Is(err, client.ErrClosed) || !errors.Is(err, client.ErrOutcomeUnknown) {
		t.Errorf("on its way: %v", err)
	}
	if _, err := p.Earn(t.Context(), client.Coins, 1); !errors.Is(err, client.ErrClosed) || errors.Is(err, client.ErrOutcomeUnknown) {
		t.Errorf("afterwards: %v", err)
	}
}

func TestHopelessIsNotRetried(t *testing.T) {
	f := startFake(t, echo)
	f.setRefuse(status.Error(codes.Unauthenticated, "unknown key"))
	c := dial(t, f, client.Options{})
	_, err := c.OpenPlayer(t.Context(), "1001", client.OpenOptions{})
	if !errors.Is(err, client.ErrUnauthenticated) {
		t.Fatalf("%v", err)
	}
	f.setRefuse(nil)
	if p, err := c.OpenPlayer(t.Context(), "1001", client.OpenOptions{}); err != nil {
		t.Errorf("with a good key again: %v, %v", p, err)
	}
}

func TestDialSaysWhatIsInTheWay(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	_, err := client.Dial(ctx, "127.0.0.1:1", client.Options{})
	if err == nil || !strings.Contains(err.Error(), "127.0.0.1:1") || !strings.Contains(err.Error(), "refused") {
		t.Errorf("%v", err)
	}
}

func TestOneTooLargeHurtsNobody(t *testing.T) {
	p := openPlayer(t, dial(t, startFake(t, echo), client.Options{}), "1001")
	if err := p.Rename(t.Context(), strings.Repeat("x", 2<<20)); !errors.Is(err, client.ErrTooLarge) {
		t.Errorf("%v", err)
	}
	if _, err := p.Earn(t.Context(), client.Coins, 1); err != nil {
		t.Errorf("the next: %v", err)
	}
}

// Every code has a sentinel that errors.Is finds.
func TestEveryCodeHasASentinel(t *testing.T) {
	sentinels := []error{
		client.ErrInsufficientFunds, client.ErrInventoryFull, client.ErrNoSuchItem, client.ErrAlreadyClaimed, client.ErrBadSlot,
		client.ErrBadAmount, client.ErrLimitExceeded, client.ErrExpectationFailed, client.ErrBadRequest, client.ErrTooLarge,
		client.ErrUnauthenticated, client.ErrPermissionDenied, client.ErrNotFound, client.ErrAlreadyExists, client.ErrNoSession,
		client.ErrSessionTaken, client.ErrSessionEnded, client.ErrSessionHeld, client.ErrUnknownServer, client.ErrStaleIncarnation,
		client.ErrIDReused, client.ErrCommandTooOld, client.ErrBudgetExhausted, client.ErrOverloaded, client.ErrNotOwner,
		client.ErrUnavailable, client.ErrOutcomeUnknown, client.ErrCorrupt, client.ErrNewerVersion, client.ErrUnimplemented,
		client.ErrInternal, client.ErrForbiddenRole, client.ErrAlreadyOwned, client.ErrNoSuchChest, client.ErrChestExists,
		client.ErrChestNotEmpty, client.ErrBadBlock, client.ErrOutOfRange, client.ErrChunkHeld, client.ErrNotPossible,
	}
	for _, doc := range codec.Codes() {
		found := 0
		for _, sentinel := range sentinels {
			if errors.Is(&client.Error{Code: doc.Code}, sentinel) {
				found++
			}
		}
		if found != 1 {
			t.Errorf("%s: %d sentinels, want 1", doc.Code, found)
		}
	}
}
