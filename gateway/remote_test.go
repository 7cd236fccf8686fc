package gateway

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/skerry-dev/skerry/actors"
	"github.com/skerry-dev/skerry/actors/player"
	"github.com/skerry-dev/skerry/actors/turn"
	"github.com/skerry-dev/skerry/codec"
	"github.com/skerry-dev/skerry/codec/peerv1"
	"github.com/skerry-dev/skerry/codec/skerryv1"
)

// Goal: a caller is told the same whatever node it asked, and the node that was asked sees which error it is.
// Method: every sentinel of the table, bare and wrapped, through bytes as between nodes.
func TestErrorsAreTheSameThroughAnotherNode(t *testing.T) {
	doors := []error{
		errBadRequest, errTooLarge, errUnauthenticated, errForbidden, errNotFound, errTooMany, errNoSuchCall, errTimeout, ErrNotPossible, // never behind it
		context.DeadlineExceeded, context.Canceled, // the owner's own, not the asker's
	}
	isDoors := func(err error) bool {
		for _, door := range doors {
			if errors.Is(err, door) {
				return true
			}
		}
		return false
	}
	for _, s := range sentinels {
		for _, err := range []error{
			s.err,
			fmt.Errorf("player x: %w", s.err),
			&player.Refusal{Err: s.err, Field: "commands[1].amount", CommandIndex: 1, Message: "too much"},
			&turn.RequestError{Err: s.err, Field: "session", Message: "is missing"},
		} {
			got := throughNode(t, err)
			if !isDoors(s.err) && !errors.Is(got, s.err) {
				t.Errorf("%v is not known behind another node", s.err)
			}
			if !proto.Equal(Describe(got), Describe(err)) {
				t.Errorf("%v\n described as %v\n       want %v", err, Describe(got), Describe(err))
			}
		}
	}
	remembered := &turn.RememberedError{Refused: &skerryv1.Error{Code: "BAD_SLOT", Message: "as before", Outcome: notApplied}}
	field := &codec.FieldError{Field: "a.b", Reason: "is odd"}
	for _, err := range []error{remembered, field, errors.New("password is hunter2")} {
		if got := throughNode(t, fmt.Errorf("player x: %w", throughNode(t, err))); !proto.Equal(Describe(got), Describe(err)) {
			t.Errorf("%v\n described as %v\n       want %v", err, Describe(got), Describe(err))
		}
	}
}

// throughNode returns err as the node that asked sees it.
func throughNode(t *testing.T, err error) error {
	t.Helper()
	call := &actors.Call{}
	b, failed := actors.AnswerOf(call, nil, err, Describe).MarshalVT()
	if failed != nil {
		t.Fatal(failed)
	}
	answer := &peerv1.Answer{}
	if failed = answer.UnmarshalVT(b); failed != nil {
		t.Fatal(failed)
	}
	_, err = actors.ReadAnswer(call, answer)
	return err
}
