package turn_test

import (
	"errors"
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

func TestRetryIsAnsweredAlikeAndAppliedOnce(t *testing.T) {
	e := newEntity(t, persistence.KindPlayer)
	s := e.open(&skerryv1.OpenPlayerSessionRequest{Server: "s1"}).GetSession()
	first, err := e.execute(by(s, 1, earn(50)))
	if err != nil || e.coins() != 150 || !first.GetDurable() || first.GetSeq() != 2 || !e.last.Durable {
		t.Fatalf("earned: %v, %v, %d coins, %+v", first, err, e.coins(), e.last)
	}
	again, err := e.execute(by(s, 1, earn(50)))
	if err != nil || !proto.Equal(again, first) || e.last.Entry != nil || e.coins() != 150 {
		t.Errorf("the retry was answered %v (%v), the first try %v; %d coins", again, err, first, e.coins())
	}
	if e.last.After != 2 {
		t.Errorf("the retry waits for seq %d, the first try is at 2", e.last.After)
	}
	e.restart(&storev1.Entity{})
	if again, err = e.execute(by(s, 1, earn(50))); err != nil || !proto.Equal(again, first) {
		t.Errorf("after a restart: %v (%v), the first try %v", again, err, first)
	}
	if _, err = e.execute(by(s, 1, earn(51))); !errors.Is(err, turn.ErrIDReused) || e.last.Entry != nil {
		t.Errorf("other commands under the same id: %v, want ErrIDReused", err)
	}
	e.open(&skerryv1.OpenPlayerSessionRequest{Server: "s2"})
	if again, err = e.execute(by(s, 1, earn(50))); err != nil || !proto.Equal(again, first) {
		t.Errorf("after a take-over: %v (%v), the first try %v", again, err, first)
	}
	if _, err = e.execute(by(s, 2, earn(50))); !errors.Is(err, turn.ErrSessionTaken) {
		t.Errorf("a new command after a take-over: %v, want ErrSessionTaken", err)
	}
}

func TestMemoryCommandsDoNotWait(t *testing.T) {
	e := newEntity(t, persistence.KindPlayer)
	s := e.open(&skerryv1.OpenPlayerSessionRequest{Server: "s1"}).GetSession()
	req := by(s, 1, earn(50))
	req.Durability = skerryv1.Durability_MEMORY
	response, err := e.execute(req)
	if err != nil || response.GetDurable() || e.last.Durable {
		t.Fatalf("%v, %v, %+v", response, err, e.last)
	}
	if again, err := e.execute(req); err != nil || !proto.Equal(again, response) || e.last.After != 0 {
		t.Errorf("retry %v (%v) after seq %d", again, err, e.last.After)
	}
	req.Durability = skerryv1.Durability_DURABLE // this caller wants to be sure
	if again, err := e.execute(req); err != nil || !again.GetDurable() || e.last.After != 2 {
		t.Errorf("durable retry %v (%v) after seq %d", again, err, e.last.After)
	}
}

func TestRefusalIsRemembered(t *testing.T) {
	e := newEntity(t, persistence.KindPlayer)
	s := e.open(&skerryv1.OpenPlayerSessionRequest{Server: "s1"}).GetSession()
	_, first := e.execute(by(s, 1, spend(1000)))
	if !errors.Is(first, player.ErrInsufficientFunds) || e.last.Entry == nil || len(e.last.Entry.GetPlayerEvents()) > 0 {
		t.Fatalf("%v, %v", first, e.last.Entry)
	}
	if _, err := e.execute(by(s, 2, earn(5000))); err != nil {
		t.Fatal(err)
	}
	_, err := e.execute(by(s, 1, spend(1000))) // now there are enough; the answer stays
	remembered, ok := errors.AsType[*turn.RememberedError](err)
	if !ok || remembered.Refused.GetMessage() != first.Error() || e.coins() != 5100 || e.last.After != 2 {
		t.Errorf("%v, want the first refusal; %d coins", err, e.coins())
	}
	if got := e.command(s, 1); got.GetStatus() != "REFUSED" || got.GetError().GetMessage() != first.Error() {
		t.Errorf("the outcome is told as %v", got)
	}
}

func TestAtomicTurn(t *testing.T) {
	e := newEntity(t, persistence.KindPlayer)
	s := e.open(&skerryv1.OpenPlayerSessionRequest{Server: "s1"}).GetSession()
	_, err := e.execute(by(s, 1, append(earn(50), spend(1000)...)))
	refusal, ok := errors.AsType[*player.Refusal](err)
	if !ok || refusal.Field != "commands[1].spend.amount" || e.coins() != 100 {
		t.Fatalf("%v, %d coins", err, e.coins())
	}
	response, err := e.execute(by(s, 2, append(earn(50), spend(150)...)))
	if err != nil || len(response.GetReplies()) != 2 || e.coins() != 0 {
		t.Fatalf("%v, %v, %d coins", response, err, e.coins())
	}
}

func TestWindowOfOutcomes(t *testing.T) {
	e := newEntity(t, persistence.KindPlayer)
	s := e.open(&skerryv1.OpenPlayerSessionRequest{Server: "s1"}).GetSession()
	const all = turn.MaxOutcomes + 72
	for id := range int64(all) {
		if _, err := e.execute(by(s, id+1, earn(1))); err != nil {
			t.Fatal(err)
		}
	}
	for id, want := range map[int64]string{1: "FORGOTTEN", 72: "FORGOTTEN", 73: "APPLIED", all: "APPLIED", all + 1: "NOT_SEEN"} {
		if got := e.command(s, id); got.GetStatus() != want {
			t.Errorf("command %d: %s, want %s", id, got.GetStatus(), want)
		}
	}
	if _, err := e.execute(by(s, 72, earn(1))); !errors.Is(err, turn.ErrCommandTooOld) || e.last.Entry != nil {
		t.Errorf("a forgotten id: %v, want ErrCommandTooOld", err)
	}
	if response, err := e.execute(by(s, 73, earn(1))); err != nil || e.last.Entry != nil || response.GetSeq() != 74 {
		t.Errorf("the oldest remembered id: %v, %v", response, err)
	}
	if e.state.GetOutcomeCount() != turn.MaxOutcomes || len(e.state.GetOutcomes()) > 35*turn.MaxOutcomes {
		t.Errorf("%d outcomes in %d bytes, want %d in at most 35 bytes each", e.state.GetOutcomeCount(), len(e.state.GetOutcomes()), turn.MaxOutcomes)
	}
	e.restart(&storev1.Entity{})
}

// A gap in the ids stays usable until its neighbours are forgotten.
func TestIDsMayLeaveGaps(t *testing.T) {
	e := newEntity(t, persistence.KindPlayer)
	s := e.open(&skerryv1.OpenPlayerSessionRequest{Server: "s1"}).GetSession()
	for _, id := range []int64{10, 1 << 40, 11, 5} {
		if _, err := e.execute(by(s, id, earn(1))); err != nil || e.last.Entry == nil {
			t.Errorf("id %d: %v", id, err)
		}
	}
	if _, err := e.execute(by(s, 11, earn(1))); err != nil || e.last.Entry != nil || e.coins() != 104 {
		t.Errorf("a retry: %v, %d coins", err, e.coins())
	}
}

func TestReceiptsHoldAcrossSessions(t *testing.T) {
	e := newEntity(t, persistence.KindPlayer)
	buy := func(token string, id, amount int64, receipt string) (*skerryv1.ExecutePlayerResponse, error) {
		req := by(token, id, earn(amount))
		req.Receipt = receipt
		return e.execute(req)
	}
	s1 := e.open(&skerryv1.OpenPlayerSessionRequest{Server: "s1"}).GetSession()
	first, err := buy(s1, 1, 50, "purchase-1")
	if err != nil {
		t.Fatal(err)
	}
	s2 := e.open(&skerryv1.OpenPlayerSessionRequest{Server: "s2"}).GetSession()
	again, err := buy(s2, 1, 50, "purchase-1")
	if err != nil || !proto.Equal(again, first) || e.coins() != 150 || e.last.After != 2 {
		t.Errorf("from another session: %v (%v), first %v; %d coins", again, err, first, e.coins())
	}
	if _, err = buy(s2, 2, 51, "purchase-1"); !errors.Is(err, turn.ErrIDReused) {
		t.Errorf("other commands: %v, want ErrIDReused", err)
	}
	for i := range int64(turn.MaxReceipts) {
		if _, err = buy(s2, 3+i, 1, "r"+strings.Repeat("x", int(i%60))+string(rune('0'+i/60))); err != nil {
			t.Fatal(err)
		}
	}
	if e.state.GetReceiptCount() != turn.MaxReceipts {
		t.Errorf("%d receipts, want %d", e.state.GetReceiptCount(), turn.MaxReceipts)
	}
	if _, err = buy(s2, 5000, 50, "purchase-1"); err != nil || e.last.Entry == nil {
		t.Errorf("a forgotten receipt: %v", err)
	}
	e.restart(&storev1.Entity{})
}

// A purchase that the rules refuse may be tried again as a new command: the player has paid.
func TestRefusedPurchaseMayBeTriedAgain(t *testing.T) {
	e := newEntity(t, persistence.KindPlayer)
	s := e.open(&skerryv1.OpenPlayerSessionRequest{Server: "s1"}).GetSession()
	req := by(s, 1, spend(120))
	req.Receipt = "purchase-1"
	if _, err := e.execute(req); !errors.Is(err, player.ErrInsufficientFunds) {
		t.Fatal(err)
	}
	if _, err := e.execute(by(s, 2, earn(50))); err != nil {
		t.Fatal(err)
	}
	req.CommandId = 3
	if _, err := e.execute(req); err != nil || e.coins() != 30 {
		t.Errorf("%v, %d coins", err, e.coins())
	}
	e.open(&skerryv1.OpenPlayerSessionRequest{Server: "s2"})
	if _, err := e.execute(req); err != nil || e.coins() != 30 {
		t.Errorf("retry: %v, %d coins", err, e.coins())
	}
}

func TestAdminWithoutSession(t *testing.T) {
	e := newEntity(t, persistence.KindPlayer)
	s := e.open(&skerryv1.OpenPlayerSessionRequest{Server: "s1"}).GetSession()
	req := &skerryv1.ExecutePlayerRequest{Commands: earn(50), Receipt: "gift-1"}
	if _, err := e.execute(req); !errors.Is(err, turn.ErrNoSession) {
		t.Fatalf("without scope admin: %v, want ErrNoSession", err)
	} else if !strings.Contains(err.Error(), "send the header Skerry-Session (field session)") {
		t.Errorf("does not say what to send: %v", err)
	}
	e.admin = true
	first, err := e.execute(req)
	if err != nil || e.coins() != 150 {
		t.Fatal(first, err)
	}
	if got := e.events(); len(got) != 1 || got[0] != "CHANGED to s1 about "+s {
		t.Errorf("the holder hears %v", got)
	}
	again, err := e.execute(req)
	if err != nil || !proto.Equal(again, first) || e.coins() != 150 || len(e.events()) > 0 {
		t.Errorf("retry: %v (%v), first %v; %v", again, err, first, e.events())
	}
	refused := &skerryv1.ExecutePlayerRequest{Commands: spend(1e6), Receipt: "fine-1"}
	if _, err = e.execute(refused); !errors.Is(err, player.ErrInsufficientFunds) || len(e.events()) > 0 {
		t.Errorf("%v, %v", err, e.events())
	}
	if _, err = e.execute(refused); err == nil || e.last.Entry != nil {
		t.Errorf("a refusal without a session was not remembered by its receipt: %v", err)
	}
	e.restart(&storev1.Entity{})
}

func TestMalformedRequestsAreNotJournaled(t *testing.T) {
	e := newEntity(t, persistence.KindPlayer)
	s := e.open(&skerryv1.OpenPlayerSessionRequest{Server: "s1"}).GetSession()
	many := make([]*skerryv1.PlayerCommand, player.MaxCommands+1)
	for i := range many {
		many[i] = earn(1)[0]
	}
	for name, c := range map[string]struct {
		req   *skerryv1.ExecutePlayerRequest
		admin bool
		field string
		want  error
	}{
		"no commands":     {by(s, 1, nil), false, "commands", turn.ErrBadRequest},
		"101 commands":    {by(s, 1, many), false, "commands", turn.ErrTooLarge},
		"no command id":   {by(s, 0, earn(1)), false, "commandId", turn.ErrBadRequest},
		"id below 1":      {by(s, -1, earn(1)), false, "commandId", turn.ErrBadRequest},
		"long receipt":    {&skerryv1.ExecutePlayerRequest{Session: s, CommandId: 1, Commands: earn(1), Receipt: strings.Repeat("r", 65)}, false, "receipt", turn.ErrTooLarge},
		"durability 9":    {&skerryv1.ExecutePlayerRequest{Session: s, CommandId: 1, Commands: earn(1), Durability: 9}, false, "durability", turn.ErrBadRequest},
		"no session":      {by("", 1, earn(1)), false, "", turn.ErrNoSession},
		"no receipt":      {by("", 1, earn(1)), true, "receipt", turn.ErrBadRequest},
		"unknown session": {by("nonsense", 1, earn(1)), false, "", turn.ErrSessionTaken},
		"not UTF-8":       {by(s, 1, []*skerryv1.PlayerCommand{{Command: &skerryv1.PlayerCommand_Give{Give: &skerryv1.Give{ItemId: 1, Count: 1, Metadata: &structpb.Struct{Fields: map[string]*structpb.Value{"\xff": structpb.NewNullValue()}}}}}}), false, "commands[0]", turn.ErrBadRequest},
	} {
		e.admin = c.admin
		before := proto.CloneOf(e.state)
		_, err := e.execute(c.req)
		if !errors.Is(err, c.want) || e.last.Entry != nil || !proto.Equal(before, e.state) {
			t.Errorf("%s: %v, entry %v, want %v and none", name, err, e.last.Entry, c.want)
		}
		if wrong, ok := errors.AsType[*turn.RequestError](err); c.field != "" && (!ok || wrong.Field != c.field) {
			t.Errorf("%s: %v, want it to name %s", name, err, c.field)
		}
	}
}

// Equal commands have equal hashes, in whatever order a map is walked.
func TestPayloadWithMaps(t *testing.T) {
	e := newEntity(t, persistence.KindPlayer)
	s := e.open(&skerryv1.OpenPlayerSessionRequest{Server: "s1"}).GetSession()
	set := func() *skerryv1.ExecutePlayerRequest {
		value, err := structpb.NewValue(map[string]any{"a": 1, "b": []any{"x", map[string]any{"c": 1, "d": 2, "e": 3}}, "f": nil, "g": true})
		if err != nil {
			t.Fatal(err)
		}
		return by(s, 1, []*skerryv1.PlayerCommand{{
			Command: &skerryv1.PlayerCommand_SetAttribute{SetAttribute: &skerryv1.SetAttribute{Path: "quest", Value: value}},
		}})
	}
	if _, err := e.execute(set()); err != nil {
		t.Fatal(err)
	}
	for range 50 {
		if _, err := e.execute(set()); err != nil || e.last.Entry != nil {
			t.Fatalf("a retry with maps: %v", err)
		}
	}
	expecting := func() *skerryv1.ExecutePlayerRequest {
		value, _ := structpb.NewValue(map[string]any{"a": 1, "b": []any{"x", map[string]any{"c": 1, "d": 2, "e": 3}}, "f": nil, "g": true})
		cmds := earn(1)
		cmds[0].Expect = &skerryv1.Expect{Path: "attributes.quest", Value: value}
		return by(s, 2, cmds)
	}
	for i := range 50 {
		if _, err := e.execute(expecting()); err != nil || (e.last.Entry == nil) != (i > 0) {
			t.Fatalf("a retry with an expectation: %v", err)
		}
	}
}

func TestLargeReplyIsDropped(t *testing.T) {
	e := newEntity(t, persistence.KindPlayer)
	s := e.open(&skerryv1.OpenPlayerSessionRequest{Server: "s1"}).GetSession()
	req := by(s, 1, []*skerryv1.PlayerCommand{{Command: &skerryv1.PlayerCommand_SetAttribute{
		SetAttribute: &skerryv1.SetAttribute{Path: "text", Value: structpb.NewStringValue(strings.Repeat("x", 2000))},
	}}, {Command: &skerryv1.PlayerCommand_IncrementAttribute{IncrementAttribute: &skerryv1.IncrementAttribute{Path: "n", By: 1}}}})
	for range 60 {
		req.Commands = append(req.Commands, req.Commands[1])
	}
	first, err := e.execute(req)
	if err != nil || len(first.GetReplies()) != 62 {
		t.Fatal(len(first.GetReplies()), err)
	}
	again, err := e.execute(req)
	if err != nil || e.last.Entry != nil || again.GetSeq() != first.GetSeq() || len(again.GetReplies()) != 0 {
		t.Errorf("%v, %v", again, err)
	}
	if got := e.command(s, 1); got.GetStatus() != "APPLIED" {
		t.Error(got)
	}
	if len(e.state.GetOutcomes()) > turn.MaxOutcomeBytes {
		t.Errorf("the outcome has %d bytes", len(e.state.GetOutcomes()))
	}
}

// Time never goes back, so that a failover to a slow clock cannot claim a day twice.
func TestTimeDoesNotGoBack(t *testing.T) {
	e := newEntity(t, persistence.KindPlayer)
	s := e.open(&skerryv1.OpenPlayerSessionRequest{Server: "s1"}).GetSession()
	claim := []*skerryv1.PlayerCommand{{Command: &skerryv1.PlayerCommand_ClaimDailyReward{ClaimDailyReward: &skerryv1.ClaimDailyReward{}}}}
	if _, err := e.execute(by(s, 1, claim)); err != nil {
		t.Fatal(err)
	}
	e.now = e.now.Add(-36 * time.Hour)
	if _, err := e.execute(by(s, 2, claim)); !errors.Is(err, player.ErrAlreadyClaimed) {
		t.Errorf("claimed with a slow clock: %v", err)
	}
	if e.state.GetNewestTimeMs() != day.UnixMilli() || e.last.Entry.GetTimeMs() != day.UnixMilli() {
		t.Errorf("newest time %d, entry %d, want %d", e.state.GetNewestTimeMs(), e.last.Entry.GetTimeMs(), day.UnixMilli())
	}
}
