package actors

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/skerry-dev/skerry/actors/items"
	"github.com/skerry-dev/skerry/actors/server"
	"github.com/skerry-dev/skerry/actors/turn"
	"github.com/skerry-dev/skerry/codec/peerv1"
	"github.com/skerry-dev/skerry/codec/skerryv1"
	"github.com/skerry-dev/skerry/codec/storev1"
	"github.com/skerry-dev/skerry/persistence"
)

// Goal: a call means the same at another node, and so does its answer.
// Method: through bytes and back. That every error keeps its wire form is tested in the gateway, which knows them all.

func remoteCall(t *testing.T, call *Call) *Call {
	t.Helper()
	m, err := AppendCall(call)
	if err != nil {
		t.Fatal(err)
	}
	b, err := m.MarshalVT()
	if err != nil {
		t.Fatal(err)
	}
	again := &peerv1.Call{}
	if err = again.UnmarshalVT(b); err != nil {
		t.Fatal(err)
	}
	got, err := ParseCall(again)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func remoteAnswer(t *testing.T, call *Call, a *peerv1.Answer) (*skerryv1.Response, error) {
	t.Helper()
	b, err := a.MarshalVT()
	if err != nil {
		t.Fatal(err)
	}
	again := &peerv1.Answer{}
	if err := again.UnmarshalVT(b); err != nil {
		t.Fatal(err)
	}
	return ReadAnswer(call, again)
}

func TestCallCrosses(t *testing.T) {
	get := &skerryv1.Request{Request: &skerryv1.Request_GetPlayer{GetPlayer: &skerryv1.GetPlayerRequest{Player: "ann"}}}
	transfers := &skerryv1.Request{Request: &skerryv1.Request_CreateTransfer{CreateTransfer: &skerryv1.CreateTransferRequest{}}}
	step := &storev1.TransferStep{Kind: storev1.TransferStepKind_RECEIVE, Hold: &storev1.Hold{Seq: 7}}
	for name, call := range map[string]*Call{
		"plain":    {Key: persistence.Key{Space: "main", Kind: persistence.KindPlayer, ID: "ann"}, Request: get},
		"as admin": {Key: persistence.Key{Space: "x", Kind: persistence.KindWorld, ID: "ann~1"}, Request: get, Admin: true},
		"reaps":    {Key: persistence.Key{Space: "main", Kind: persistence.KindServer, ID: "s"}, Request: get, reaps: true},
		"a step":   {Key: persistence.Key{Space: "main", Kind: persistence.KindPlayer, ID: "ann"}, Request: transfers, step: step},
	} {
		t.Run(name, func(t *testing.T) {
			got := remoteCall(t, call)
			if got.Key != call.Key || got.Admin != call.Admin || got.reaps != call.reaps || got.Reply != nil || got.incarnation != "" ||
				!proto.Equal(got.Request, call.Request) || (got.step == nil) != (call.step == nil) || got.step != nil && !proto.Equal(got.step, call.step) {
				t.Errorf("%+v came as %+v", call, got)
			}
		})
	}
	for name, call := range map[string]*Call{"a claim": {claim: &server.Claim{}}, "a silent close": {silent: true}} {
		if _, err := AppendCall(call); !errors.Is(err, persistence.ErrNotOwner) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestMalformedCalls(t *testing.T) {
	get := &skerryv1.Request{Request: &skerryv1.Request_GetPlayer{}}
	for name, c := range map[string]struct {
		call *peerv1.Call
		want error
	}{
		"nothing":             {&peerv1.Call{}, persistence.ErrBadKey},
		"a kind beyond all":   {&peerv1.Call{Space: "main", Kind: 257, Entity: "a", Request: get}, persistence.ErrBadKey},
		"an unknown kind":     {&peerv1.Call{Space: "main", Kind: 77, Entity: "a", Request: get}, persistence.ErrBadKey},
		"no entity":           {&peerv1.Call{Space: "main", Kind: 1, Request: get}, persistence.ErrBadKey},
		"no request":          {&peerv1.Call{Space: "main", Kind: 1, Entity: "a"}, turn.ErrBadRequest},
		"an empty request":    {&peerv1.Call{Space: "main", Kind: 1, Entity: "a", Request: &skerryv1.Request{}}, turn.ErrBadRequest},
		"a step of something": {&peerv1.Call{Space: "main", Kind: 1, Entity: "a", Request: get, Step: &storev1.TransferStep{}}, turn.ErrBadRequest},
	} {
		if _, err := ParseCall(c.call); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
}

func TestAnswerCrosses(t *testing.T) {
	response := &skerryv1.Response{Response: &skerryv1.Response_GetPlayer{GetPlayer: &skerryv1.GetPlayerResponse{Seq: 7}}}
	there, here := &Call{}, &Call{}
	got, err := remoteAnswer(t, here, AnswerOf(there, response, nil, nil))
	if err != nil || !proto.Equal(got, response) || here.answer != nil {
		t.Errorf("answered %v, %v", got, err)
	}
	there.step, there.answer = &storev1.TransferStep{}, &storev1.TransferAnswer{Holds: []*storev1.Hold{{Seq: 9}}}
	here.step = there.step
	got, err = remoteAnswer(t, here, AnswerOf(there, response, nil, nil))
	if err != nil || !proto.Equal(got, response) || !proto.Equal(here.answer, there.answer) {
		t.Errorf("a step answered %v with %v, %v", got, here.answer, err)
	}
	for name, a := range map[string]*peerv1.Answer{"nothing": {}, "no step": {Response: response}, "nothing at all": nil} {
		if _, err := ReadAnswer(here, a); !errors.Is(err, persistence.ErrOutcomeUnknown) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func describeAs(code string) func(error) *skerryv1.Error {
	return func(err error) *skerryv1.Error { return &skerryv1.Error{Code: code, Message: err.Error()} }
}

func TestErrorsCross(t *testing.T) {
	words := map[string]bool{wordRefusal: true, wordRemembered: true}
	for _, reason := range reasons {
		if words[reason.word] || reason.word == "" || strings.ContainsAny(reason.word, " \n") {
			t.Errorf("the word %q cannot be used", reason.word)
		}
		words[reason.word] = true
		call := &Call{}
		for range 2 { // also as another node's, passed on
			err := fmt.Errorf("player x: %w: %w", ErrLoad, reason.err)
			_, err = remoteAnswer(t, call, AnswerOf(call, nil, err, describeAs("CODE")))
			if !errors.Is(err, reason.err) || !errors.Is(err, ErrLoad) {
				t.Errorf("%s became %v", reason.word, err)
			}
			for _, other := range reasons {
				if errors.Is(err, other.err) && !errors.Is(reason.err, other.err) && other.err != ErrLoad { //nolint:errorlint // the very same
					t.Errorf("%s became %s too", reason.word, other.word)
				}
			}
		}
	}
}

func TestTypedErrorsCross(t *testing.T) {
	call := &Call{}
	index := int32(2)
	wire := &skerryv1.Error{Code: "BAD_SLOT", Message: "is full", Field: "commands[2].slot", CommandIndex: &index}
	describe := func(error) *skerryv1.Error { return wire }
	refusal := &items.Refusal{Err: items.ErrBadSlot, Field: wire.Field, CommandIndex: 2, Message: wire.Message}
	_, err := remoteAnswer(t, call, AnswerOf(call, nil, fmt.Errorf("asked: %w", refusal), describe))
	if got, ok := errors.AsType[*items.Refusal](err); !ok || *got != *refusal || !refusesClaim(err) {
		t.Errorf("a refusal became %v", err)
	}
	_, err = remoteAnswer(t, call, AnswerOf(call, nil, &turn.RememberedError{Refused: wire}, describe))
	if got, ok := errors.AsType[*turn.RememberedError](err); !ok || !proto.Equal(got.Refused, wire) {
		t.Errorf("a remembered error became %v", err)
	}
	if _, ok := errors.AsType[*items.Refusal](err); ok {
		t.Error("a remembered error became a refusal")
	}
	_, err = remoteAnswer(t, call, AnswerOf(call, nil, errors.New("secret"), describeAs("INTERNAL")))
	if remote, ok := errors.AsType[*RemoteError](err); !ok || len(remote.Unwrap()) != 0 || remote.Wire.GetCode() != "INTERNAL" {
		t.Errorf("an unknown error became %v", err)
	}
	_, err = ReadAnswer(call, &peerv1.Answer{Error: &skerryv1.Error{Code: "OUTCOME_UNKNOWN"}, Reason: "of_tomorrow refusal"})
	if !errors.Is(err, persistence.ErrOutcomeUnknown) {
		t.Errorf("a newer build's error became %v", err)
	}
}

// TestOwns follows claims, losses and handovers.
func TestOwns(t *testing.T) {
	h, err := New(Options{Journal: newStore(t), Storage: newStore(t), Partitions: 2, Describe: describeAs("CODE")})
	if err != nil {
		t.Fatal(err)
	}
	check := func(what string, want bool) {
		t.Helper()
		if h.Owns(0) != want || h.Owns(1) || h.Owns(2) || h.Owns(persistence.MetaPartition) {
			t.Errorf("%s: owns 0: %v, 1: %v", what, h.Owns(0), h.Owns(1))
		}
	}
	check("new", false)
	h.Claimed(0, persistence.Epoch{Term: 1})
	check("claimed", true)
	if err := h.Yield(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
	check("yielded", false)
	h.Resume(0)
	check("resumed", true)
	h.Lost(0, persistence.Epoch{Term: 1})
	check("lost", false)
}
