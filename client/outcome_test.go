package client_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/skerry-dev/skerry/client"
	"github.com/skerry-dev/skerry/codec/skerryv1"
)

// Goal: after a try without an answer, only what the rules say is certain. Method: lose the first answer, and let every
// kind of refusal meet the second try.
func TestRefusalAfterALostAnswer(t *testing.T) {
	for code, want := range map[string]client.Outcome{
		"SESSION_TAKEN": client.Unknown, "SESSION_ENDED": client.Unknown, "PERMISSION_DENIED": client.Unknown, "CORRUPT": client.Unknown,
		"COMMAND_TOO_OLD": client.Unknown, "BAD_REQUEST": client.Unknown, "SOME_NEW_CODE": client.Unknown,
		"INSUFFICIENT_FUNDS": client.NotApplied, "LIMIT_EXCEEDED": client.NotApplied,
	} {
		tries := 0
		f := startFake(t, func(req *skerryv1.Request) *skerryv1.Response {
			if req.GetExecutePlayer() == nil {
				return echo(req)
			}
			if tries++; tries == 1 {
				return no("OUTCOME_UNKNOWN", true, client.Unknown)
			}
			return no(code, false, client.NotApplied)
		})
		p := openPlayer(t, dial(t, f, client.Options{}), "1001")
		_, err := p.Do(t.Context(), client.DoOptions{}, earn(1))
		var e *client.Error
		if !errors.As(err, &e) || string(e.Code) != code || e.Outcome != want || tries != 2 {
			t.Errorf("%s after a lost answer: %v after %d tries, outcome %v, want %v", code, err, tries, e.Outcome, want)
		}
	}
}

// Goal: a key that is revoked while a command has no answer leaves it in doubt. Method: take the command, do not answer,
// end the stream, and let no other begin.
func TestRevokedKeyLeavesDoubt(t *testing.T) {
	taken := make(chan struct{})
	f := startFake(t, func(req *skerryv1.Request) *skerryv1.Response {
		if req.GetExecutePlayer() == nil {
			return echo(req)
		}
		close(taken)
		return nil
	})
	p := openPlayer(t, dial(t, f, client.Options{}), "1001")
	result := make(chan error, 1)
	go func() {
		_, err := p.Do(context.WithoutCancel(t.Context()), client.DoOptions{}, earn(1))
		result <- err
	}()
	<-taken
	f.setRefuse(status.Error(codes.Unauthenticated, "unknown key"))
	f.cutStreams()
	err := <-result
	var e *client.Error
	if !errors.As(err, &e) || !errors.Is(err, client.ErrUnauthenticated) || e.Outcome != client.Unknown {
		t.Errorf("%+v, want UNAUTHENTICATED with an unknown outcome", err)
	}
}

// Goal: listing returns in time also when the node does not answer. Method: list without a deadline from one that is silent.
func TestPlayersInTime(t *testing.T) {
	f := startFake(t, echo)
	c := dial(t, f, client.Options{Timeout: time.Second})
	done := make(chan error, 1)
	go func() {
		for _, err := range c.Players(context.WithoutCancel(t.Context()), "") {
			done <- err
		}
	}()
	select {
	case err := <-done:
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%v", err)
		}
	case <-time.After(20 * time.Second): // many times the time-out
		t.Fatal("Players has not returned")
	}
}
