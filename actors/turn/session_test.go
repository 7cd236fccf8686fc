package turn_test

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/skerry-dev/skerry/actors/player"
	"github.com/skerry-dev/skerry/actors/turn"
	"github.com/skerry-dev/skerry/codec/skerryv1"
	"github.com/skerry-dev/skerry/codec/storev1"
	"github.com/skerry-dev/skerry/persistence"
)

func TestOpeningMakesThePlayerOnce(t *testing.T) {
	e := newEntity(t, persistence.KindPlayer)
	first := e.open(&skerryv1.OpenPlayerSessionRequest{Server: "s1", Name: "Ann"})
	p := first.GetPlayer()
	if !first.GetIsNew() || p.GetName() != "Ann" || p.GetProfile().GetCoins() != 100 || len(p.GetInventory().GetHotbar()) != 9 ||
		p.GetStatistics().GetGamesPlayed() != 1 || first.GetSeq() != 1 || !e.last.Durable {
		t.Errorf("first: %v, %+v", first, e.last)
	}
	e.now = day.Add(time.Hour)
	second := e.open(&skerryv1.OpenPlayerSessionRequest{Server: "s1", Name: "Ann-Marie"})
	p = second.GetPlayer()
	if second.GetIsNew() || p.GetName() != "Ann-Marie" || p.GetStatistics().GetGamesPlayed() != 2 || !p.GetLastLogin().AsTime().Equal(e.now) {
		t.Errorf("second: %v", second)
	}
	if third := e.open(&skerryv1.OpenPlayerSessionRequest{Server: "s1"}); third.GetPlayer().GetName() != "Ann-Marie" {
		t.Errorf("an opening without a name: %v", third)
	}
	if want := p.CloneVT(); !proto.Equal(want.GetProfile(), e.state.GetPlayer().GetProfile()) {
		t.Errorf("shown %v, kept %v", want, e.state.GetPlayer())
	}
	e.restart(&storev1.Entity{})
}

func TestTakeOverIsAtOnce(t *testing.T) {
	e := newEntity(t, persistence.KindPlayer)
	s1 := e.open(&skerryv1.OpenPlayerSessionRequest{Server: "s1"}).GetSession()
	if got := maps.Clone(e.marks); len(got) != 1 || got[turn.SessionMark("s1")] != s1+" i1" {
		t.Errorf("marks %v", got)
	}
	s2 := e.open(&skerryv1.OpenPlayerSessionRequest{Server: "s2"}).GetSession()
	if token, incarnation := turn.ParseSessionMark([]byte(e.marks[turn.SessionMark("s2")])); token != s2 || incarnation != "i1" {
		t.Errorf("parsed %s, %s", token, incarnation)
	}
	if s1 == s2 || len(e.marks) != 1 || e.marks[turn.SessionMark("s2")] != s2+" i1" {
		t.Errorf("sessions %s and %s, marks %v", s1, s2, e.marks)
	}
	if got := e.events(); !slices.Equal(got, []string{"SESSION_TAKEN to s1 about " + s1}) {
		t.Errorf("events %v", got)
	}
	if opened, ended := e.last.Effects[0], e.last.Effects[1]; !opened.Opened || opened.Server != "s2" || opened.Incarnation != "i1" ||
		!ended.Ended || ended.Server != "s1" || ended.Token != s1 {
		t.Errorf("effects %+v", e.last.Effects)
	}
	if err := e.end(s1); !errors.Is(err, turn.ErrSessionTaken) || e.last.Entry != nil {
		t.Errorf("the older token ended %v", err)
	}
	if _, err := e.do(&skerryv1.Request{Request: &skerryv1.Request_SavePlayer{SavePlayer: &skerryv1.SavePlayerRequest{Session: s1}}}); !errors.Is(err, turn.ErrSessionTaken) {
		t.Errorf("the older token saved: %v", err)
	}
	if _, err := e.execute(by(s2, 1, earn(1))); err != nil {
		t.Error(err)
	}
	s3 := e.open(&skerryv1.OpenPlayerSessionRequest{Server: "s2"}).GetSession() // the same server again
	if len(e.marks) != 1 || e.marks[turn.SessionMark("s2")] != s3+" i1" {
		t.Errorf("marks %v, want that of %s", e.marks, s3)
	}
}

func TestRefuseWhenTaken(t *testing.T) {
	e := newEntity(t, persistence.KindPlayer)
	refuse := &skerryv1.Request{Request: &skerryv1.Request_OpenPlayerSession{
		OpenPlayerSession: &skerryv1.OpenPlayerSessionRequest{Server: "s2", IfTaken: skerryv1.IfTaken_REFUSE},
	}}
	s1 := e.open(&skerryv1.OpenPlayerSessionRequest{Server: "s1"}).GetSession()
	if _, err := e.do(refuse); !errors.Is(err, turn.ErrSessionHeld) || e.last.Entry != nil {
		t.Fatalf("%v, want ErrSessionHeld", err)
	}
	if err := e.end(s1); err != nil {
		t.Fatal(err)
	}
	if _, err := e.do(refuse); err != nil {
		t.Errorf("of a free player: %v", err)
	}
}

func TestOpeningIsRetriedByItsID(t *testing.T) {
	e := newEntity(t, persistence.KindPlayer)
	req := &skerryv1.OpenPlayerSessionRequest{Server: "s1", Name: "Ann", OpenId: "o1"}
	first := e.open(req)
	again := e.open(req)
	if !proto.Equal(first, again) || e.last.Entry != nil || e.last.After != 1 {
		t.Errorf("the retry was answered %v, the first try %v; %+v", again, first, e.last)
	}
	if other := e.open(&skerryv1.OpenPlayerSessionRequest{Server: "s2", OpenId: "o1"}); other.GetSession() == first.GetSession() {
		t.Error("another server got the session with a guessed open id")
	}
	late := func(want error) {
		t.Helper()
		_, err := e.do(&skerryv1.Request{Request: &skerryv1.Request_OpenPlayerSession{OpenPlayerSession: req}})
		if !errors.Is(err, want) || e.last.Entry != nil {
			t.Errorf("a late retry: %v, want %v", err, want)
		}
	}
	late(turn.ErrSessionTaken)
	for i := range turn.MaxPastOpenings - 1 { // of the many that follow, the last are remembered
		e.open(&skerryv1.OpenPlayerSessionRequest{Server: "s3", OpenId: fmt.Sprint("o", i+2)})
	}
	late(turn.ErrSessionTaken)
	req = &skerryv1.OpenPlayerSessionRequest{Server: "s1", OpenId: "last"}
	if err := e.end(e.open(req).GetSession()); err != nil {
		t.Fatal(err)
	}
	late(turn.ErrSessionEnded)
	if kept := len(e.state.GetPastOpenings()); kept != turn.MaxPastOpenings {
		t.Errorf("%d past openings are kept", kept)
	}
	e.restart(&storev1.Entity{})
}

func TestEndingSavesAndLetsGo(t *testing.T) {
	e := newEntity(t, persistence.KindPlayer)
	s := e.open(&skerryv1.OpenPlayerSessionRequest{Server: "s1"}).GetSession()
	if _, err := e.execute(by(s, 1, earn(50))); err != nil {
		t.Fatal(err)
	}
	if err := e.end(s); err != nil || !e.last.Save || !e.last.Durable || len(e.marks) != 0 || len(e.events()) != 0 {
		t.Fatalf("%v, %+v, marks %v", err, e.last, e.marks)
	}
	if err := e.end(s); err != nil || !e.last.Save || e.last.Entry != nil || e.last.After != 3 {
		t.Errorf("ended twice: %v, %+v", err, e.last)
	}
	if _, err := e.execute(by(s, 2, earn(1))); !errors.Is(err, turn.ErrSessionEnded) {
		t.Errorf("a command after the end: %v, want ErrSessionEnded", err)
	}
	if again, err := e.execute(by(s, 1, earn(50))); err != nil || again.GetSeq() != 2 || e.coins() != 150 {
		t.Errorf("a retry after the end: %v, %v", again, err)
	}
	e.open(&skerryv1.OpenPlayerSessionRequest{Server: "s2"})
	if err := e.end(s); !errors.Is(err, turn.ErrSessionTaken) || len(e.marks) != 1 {
		t.Errorf("a late end met a newer session: %v, marks %v", err, e.marks)
	}
	if err := e.end(""); !errors.Is(err, turn.ErrNoSession) {
		t.Errorf("without a token: %v", err)
	}
	e.restart(&storev1.Entity{})
}

func TestSomebodyElseEnds(t *testing.T) {
	e := newEntity(t, persistence.KindPlayer)
	s := e.open(&skerryv1.OpenPlayerSessionRequest{Server: "s1"}).GetSession()
	e.reaps = true
	if err := e.end(s); err != nil || !slices.Equal(e.events(), []string{"SESSION_ENDED to s1 about " + s}) {
		t.Errorf("%v, %v", err, e.events())
	}
	s = e.open(&skerryv1.OpenPlayerSessionRequest{Server: "s1"}).GetSession()
	e.admin, e.reaps = true, false // without keys, every caller has scope admin
	if err := e.end(s); err != nil || len(e.events()) != 0 {
		t.Errorf("its own end: %v, %v", err, e.events())
	}
}

// However often a player is taken over, it keeps no more sessions than outcomes refer to.
func TestSessionsAreForgotten(t *testing.T) {
	e := newEntity(t, persistence.KindPlayer)
	first := e.open(&skerryv1.OpenPlayerSessionRequest{Server: "s1"}).GetSession()
	if _, err := e.execute(by(first, 1, earn(1))); err != nil {
		t.Fatal(err)
	}
	for range 300 {
		e.open(&skerryv1.OpenPlayerSessionRequest{Server: "s1"})
	}
	if n := len(e.state.GetSessions()); n != 2 {
		t.Errorf("%d sessions after many idle ones, want the one with an outcome and the newest", n)
	}
	for range 300 {
		s := e.open(&skerryv1.OpenPlayerSessionRequest{Server: "s1"}).GetSession()
		if _, err := e.execute(by(s, 1, earn(1))); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(e.state.GetSessions()); n != turn.MaxOutcomes {
		t.Errorf("%d sessions, want one for each of the %d outcomes", n, turn.MaxOutcomes)
	}
	if _, err := e.execute(by(first, 1, earn(1))); !errors.Is(err, turn.ErrSessionTaken) {
		t.Errorf("a command of a forgotten session: %v", err)
	}
	if got := e.command(first, 1); got.GetStatus() != "FORGOTTEN" {
		t.Errorf("its outcome is told as %v", got)
	}
	e.restart(&storev1.Entity{})
}

func TestReadsAreCopies(t *testing.T) {
	e := newEntity(t, persistence.KindPlayer)
	e.open(&skerryv1.OpenPlayerSessionRequest{Server: "s1", Name: "Ann"})
	saved, env := day.Add(-time.Minute), e.env()
	env.LastSave, env.DirtySince, env.Now = saved, day, day.Add(90*time.Second)
	read := turn.Decide(e.state, e.key, &skerryv1.Request{Request: &skerryv1.Request_GetPlayer{}}, env).Response.GetGetPlayer()
	if !read.GetPlayer().GetLastSave().AsTime().Equal(saved) || e.state.GetPlayer().GetLastSave() != nil {
		t.Errorf("read %v, kept %v", read.GetPlayer().GetLastSave(), e.state.GetPlayer().GetLastSave())
	}
	read.GetPlayer().GetProfile().Coins = 1e9
	read.GetPlayer().GetInventory().GetHotbar()[0].Count = 64
	if e.coins() != 100 || e.state.GetPlayer().GetInventory().GetHotbar()[0].GetCount() != 0 {
		t.Error("a reader changed the state")
	}
	session := turn.Decide(e.state, e.key, &skerryv1.Request{Request: &skerryv1.Request_GetPlayerSession{}}, env).Response.GetGetPlayerSession()
	want := &skerryv1.GetPlayerSessionResponse{
		Server: "s1", Seq: 1, DirtySeconds: 90, LastSave: read.GetPlayer().GetLastSave(), OpenedAt: e.state.GetPlayer().GetLastLogin(),
	}
	if !proto.Equal(session, want) {
		t.Errorf("session %v, want %v", session, want)
	}
}

func TestAbsentPlayerStaysAbsent(t *testing.T) {
	for _, req := range []*skerryv1.Request{
		{Request: &skerryv1.Request_GetPlayer{GetPlayer: &skerryv1.GetPlayerRequest{}}},
		{Request: &skerryv1.Request_GetPlayerSession{GetPlayerSession: &skerryv1.GetPlayerSessionRequest{}}},
		{Request: &skerryv1.Request_GetPlayerCommand{GetPlayerCommand: &skerryv1.GetPlayerCommandRequest{Session: "x", CommandId: 1}}},
		{Request: &skerryv1.Request_SavePlayer{SavePlayer: &skerryv1.SavePlayerRequest{Session: "x"}}},
		{Request: &skerryv1.Request_EndPlayerSession{EndPlayerSession: &skerryv1.EndPlayerSessionRequest{Session: "x"}}},
		{Request: &skerryv1.Request_ExecutePlayer{ExecutePlayer: by("x", 1, earn(1))}},
	} {
		e := newEntity(t, persistence.KindPlayer)
		if _, err := e.do(req); !errors.Is(err, turn.ErrNotFound) || e.last.Entry != nil {
			t.Errorf("%v: %v, want ErrNotFound", req, err)
		}
	}
}

func TestOpeningRefusesBadRequests(t *testing.T) {
	for field, req := range map[string]*skerryv1.OpenPlayerSessionRequest{
		"server":  {Server: "-bad"},
		"openId":  {Server: "s1", OpenId: string(make([]byte, 65))},
		"ifTaken": {Server: "s1", IfTaken: 9},
		"name":    {Server: "s1", Name: "a\x00b"},
	} {
		e := newEntity(t, persistence.KindPlayer)
		_, err := e.do(&skerryv1.Request{Request: &skerryv1.Request_OpenPlayerSession{OpenPlayerSession: req}})
		var named string
		if wrong, ok := errors.AsType[*turn.RequestError](err); ok {
			named = wrong.Field
		} else if refusal, ok := errors.AsType[*player.Refusal](err); ok {
			named = refusal.Field
		}
		if named != field || e.last.Entry != nil {
			t.Errorf("%s: %v names %q", field, err, named)
		}
	}
}

func TestImport(t *testing.T) {
	e := newEntity(t, persistence.KindPlayer)
	document := player.New(nil, "Bob", player.Turn{Now: day})
	document.Profile.Coins = 777
	document.LastSave = document.GetCreatedAt()
	request := func(overwrite bool) *skerryv1.Request {
		return &skerryv1.Request{Request: &skerryv1.Request_ImportPlayer{ImportPlayer: &skerryv1.ImportPlayerRequest{
			Document: &skerryv1.ImportPlayerRequest_DocumentV1{DocumentV1: document}, Overwrite: overwrite,
		}}}
	}
	if _, err := e.do(request(false)); !errors.Is(err, turn.ErrForbidden) {
		t.Fatalf("without scope admin: %v", err)
	}
	e.admin = true
	response, err := e.do(request(false))
	if err != nil || !response.GetImportPlayer().GetIsNew() || e.coins() != 777 || e.state.GetPlayer().GetLastSave() != nil {
		t.Fatalf("%v, %v, %v", response, err, e.state)
	}
	if _, err = e.do(request(false)); !errors.Is(err, turn.ErrAlreadyExists) {
		t.Errorf("again: %v, want ErrAlreadyExists", err)
	}
	opened := e.open(&skerryv1.OpenPlayerSessionRequest{Server: "s1"})
	if opened.GetIsNew() || opened.GetPlayer().GetProfile().GetCoins() != 777 {
		t.Errorf("opened %v", opened)
	}
	document.Profile.Coins = 5
	if response, err = e.do(request(true)); err != nil || response.GetImportPlayer().GetIsNew() || e.coins() != 5 {
		t.Errorf("%v, %v", response, err)
	}
	if got := e.events(); !slices.Equal(got, []string{"CHANGED to s1 about " + opened.GetSession()}) {
		t.Errorf("the holder hears %v", got)
	}
	document.Profile.Coins = -1
	_, err = e.do(request(true))
	if refusal, ok := errors.AsType[*player.Refusal](err); !ok || refusal.Field != "documentV1.profile.coins" || e.coins() != 5 {
		t.Errorf("a bad document: %v", err)
	}
	e.restart(&storev1.Entity{})
}

// initial is for the absent only: it never replaces what is there.
func TestInitialIsForNewPlayers(t *testing.T) {
	e := newEntity(t, persistence.KindPlayer)
	initial := func(coins float64) *structpb.Struct {
		document, err := structpb.NewStruct(map[string]any{
			"profile":   map[string]any{"coins": coins, "level": 4},
			"inventory": map[string]any{"hotbar": map[string]any{"1": map[string]any{"itemId": 7, "count": 3, "maxStack": 64}}},
		})
		if err != nil {
			t.Fatal(err)
		}
		return document
	}
	_, err := e.do(&skerryv1.Request{Request: &skerryv1.Request_OpenPlayerSession{
		OpenPlayerSession: &skerryv1.OpenPlayerSessionRequest{Server: "s1", Initial: initial(-5)},
	}})
	if err == nil || e.last.Entry != nil || !strings.Contains(err.Error(), "initial.profile.coins") {
		t.Errorf("a bad document: %v", err)
	}
	first := e.open(&skerryv1.OpenPlayerSessionRequest{Server: "s1", Name: "Ann", Initial: initial(777)})
	p := first.GetPlayer()
	if !first.GetIsNew() || p.GetProfile().GetCoins() != 777 || p.GetProfile().GetLevel() != 4 || p.GetName() != "Ann" ||
		p.GetInventory().GetHotbar()[0].GetItemId() != 7 || len(p.GetInventory().GetInventory()) != 27 || p.GetStatistics().GetGamesPlayed() != 1 {
		t.Errorf("first: %v", first)
	}
	if second := e.open(&skerryv1.OpenPlayerSessionRequest{Server: "s1", Initial: initial(5)}); second.GetIsNew() || e.coins() != 777 {
		t.Errorf("second: %v", second)
	}
	e.restart(&storev1.Entity{})
}
