package turn_test

import (
	"errors"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/skerry-dev/skerry/actors/player"
	"github.com/skerry-dev/skerry/actors/server"
	"github.com/skerry-dev/skerry/actors/turn"
	"github.com/skerry-dev/skerry/codec/skerryv1"
	"github.com/skerry-dev/skerry/codec/storev1"
	"github.com/skerry-dev/skerry/persistence"
)

func TestEvolveRefusesWhatItDoesNotKnow(t *testing.T) {
	session := &storev1.Session{Token: "t", Number: 1}
	existing := &storev1.Entity{Seq: 7, Document: &storev1.Entity_Player{Player: &skerryv1.Player{}}, Sessions: []*storev1.Session{session}}
	balance := &storev1.PlayerEvent{Event: &storev1.PlayerEvent_BalanceChanged{BalanceChanged: &storev1.BalanceChanged{Currency: skerryv1.Currency_COINS}}}
	for name, c := range map[string]struct {
		state *storev1.Entity
		seq   persistence.Seq
		entry *storev1.Entry
		want  error
	}{
		"no entry":                {existing, 8, nil, turn.ErrUnknownEvent},
		"the same seq":            {existing, 7, &storev1.Entry{}, persistence.ErrGap},
		"a gap":                   {existing, 9, &storev1.Entry{}, persistence.ErrGap},
		"an unknown player event": {existing, 8, &storev1.Entry{PlayerEvents: []*storev1.PlayerEvent{{}}}, player.ErrUnknownEvent},
		"an event of no player":   {&storev1.Entity{Seq: 7}, 8, &storev1.Entry{PlayerEvents: []*storev1.PlayerEvent{balance}}, turn.ErrUnknownEvent},
		"an unknown change":       {&storev1.Entity{Seq: 7}, 8, &storev1.Entry{ServerChanges: []*storev1.ServerChange{{}}}, turn.ErrUnknownEvent},
		"an unknown server change": {
			&storev1.Entity{Seq: 7, Document: &storev1.Entity_Server{Server: &storev1.Server{}}}, 8,
			&storev1.Entry{ServerChanges: []*storev1.ServerChange{{}}}, server.ErrUnknownEvent,
		},
		"the end of no session":       {existing, 8, &storev1.Entry{EndedSession: 2}, turn.ErrUnknownEvent},
		"two open sessions":           {existing, 8, &storev1.Entry{Opened: &storev1.Session{Number: 2}}, turn.ErrUnknownEvent},
		"an outcome of no session":    {existing, 8, &storev1.Entry{Outcome: &storev1.Outcome{SessionNumber: 2, CommandId: 1}}, turn.ErrUnknownEvent},
		"an outcome of no command":    {existing, 8, &storev1.Entry{Outcome: &storev1.Outcome{SessionNumber: 1}}, turn.ErrUnknownEvent},
		"a receipt without outcome":   {existing, 8, &storev1.Entry{Receipt: "r"}, turn.ErrUnknownEvent},
		"an older session once again": {existing, 8, &storev1.Entry{EndedSession: 1, Opened: &storev1.Session{Number: 1}}, turn.ErrUnknownEvent},
	} {
		if err := turn.Evolve(proto.CloneOf(c.state), c.seq, c.entry); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
}

func TestEvolveKeepsNothingOfTheEntry(t *testing.T) {
	e := newEntity(t, persistence.KindPlayer)
	s := e.open(&skerryv1.OpenPlayerSessionRequest{Server: "s1"}).GetSession()
	opening := e.last.Entry
	if _, err := e.execute(by(s, 1, earn(50))); err != nil {
		t.Fatal(err)
	}
	want, earned := e.state.CloneVT(), e.last.Entry
	opening.Opened.Token = "other"
	opening.PlayerEvents[0].GetCreated().GetProfile().Coins = 9
	earned.Outcome.CommandId = 9
	earned.Outcome.Replies[0].GetBalance().Balance = 9
	earned.PlayerEvents[0].GetBalanceChanged().Balance = 9
	if !proto.Equal(want, e.state) {
		t.Errorf("the state follows its entries: %v, want %v", e.state, want)
	}
}

func FuzzEvolve(f *testing.F) {
	e := newEntity(f, persistence.KindPlayer)
	s := e.open(&skerryv1.OpenPlayerSessionRequest{Server: "s1"}).GetSession()
	if _, err := e.execute(by(s, 1, earn(50))); err != nil {
		f.Fatal(err)
	}
	state, err := e.state.MarshalVT()
	if err != nil {
		f.Fatal(err)
	}
	entry, err := e.last.Entry.MarshalVT()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(state, entry, []byte{0x52, 0})
	f.Add([]byte{}, []byte{}, []byte{})
	f.Add([]byte{0x22, 3, 0xff, 1, 2, 0x38, 200}, []byte{0x12, 4, 8, 1, 16, 1}, []byte{})
	f.Fuzz(func(t *testing.T, state, entry, request []byte) {
		entity, next, req := &storev1.Entity{}, &storev1.Entry{}, &skerryv1.Request{}
		if entity.UnmarshalVT(state) != nil || next.UnmarshalVT(entry) != nil || req.UnmarshalVT(request) != nil {
			t.Skip()
		}
		for _, kind := range []persistence.Kind{persistence.KindPlayer, persistence.KindServer} {
			shell := newEntity(t, kind)
			before := entity.CloneVT()
			for range 3 { // a damaged table may be met in any of them
				env := shell.env()
				env.Seq, env.Admin = persistence.Seq(entity.GetSeq()), true
				result := turn.Decide(entity, shell.key, req, env)
				if (result.Response == nil) == (result.Err == nil) {
					t.Fatalf("answered both or neither: %+v", result)
				}
				if !proto.Equal(before, entity) {
					t.Fatal("Decide changed the state")
				}
			}
		}
		for range 3 {
			if turn.Evolve(entity, persistence.Seq(entity.GetSeq()+1), next) != nil {
				return
			}
		}
	})
}
