package turn_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/skerry-dev/skerry/actors/player"
	"github.com/skerry-dev/skerry/actors/turn"
	"github.com/skerry-dev/skerry/codec"
	"github.com/skerry-dev/skerry/codec/skerryv1"
	"github.com/skerry-dev/skerry/codec/storev1"
	"github.com/skerry-dev/skerry/persistence"
)

var day = time.Date(2026, 8, 1, 12, 0, 0, 0, time.UTC)

// entity is the smallest shell that a turn can run in: no disk, no queue, no clock.
type entity struct {
	testing.TB
	key    persistence.Key
	state  *storev1.Entity
	now    time.Time
	admin  bool
	reaps  bool
	tokens int
	log    [][]byte // the entries, encoded as the journal gets them
	marks  map[string]string
	last   turn.Result
	fatal  func(format string, args ...any)
}

func newEntity(tb testing.TB, kind persistence.Kind) *entity {
	tb.Helper()
	return &entity{
		TB: tb, key: persistence.Key{Space: "main", Kind: kind, ID: "e1"}, state: &storev1.Entity{}, now: day,
		marks: map[string]string{}, fatal: tb.Fatalf,
	}
}

func (e *entity) env() turn.Env {
	e.tokens++
	return turn.Env{
		Now: e.now, Seed: uint64(e.tokens), Token: fmt.Sprintf("token-%d", e.tokens), Admin: e.admin, Reaps: e.reaps, //nolint:gosec // small
		Seq: persistence.Seq(e.state.GetSeq()), Incarnation: "i1", Rules: &player.Rules{},
		Describe: func(err error) *skerryv1.Error { return &skerryv1.Error{Code: "REFUSED", Message: err.Error()} },
	}
}

// do runs a request through Decide and Evolve and checks what must hold of every turn.
func (e *entity) do(req *skerryv1.Request) (*skerryv1.Response, error) {
	e.Helper()
	before, asked := e.state.CloneVT(), proto.CloneOf(req)
	result := turn.Decide(e.state, e.key, req, e.env())
	e.last = result
	switch {
	case !proto.Equal(before, e.state):
		e.fatal("Decide of %v changed the state", req)
	case !proto.Equal(asked, req):
		e.fatal("Decide of %v changed the request", asked)
	case (result.Response == nil) == (result.Err == nil):
		e.fatal("Decide of %v answered both or neither of %v and %v", req, result.Response, result.Err)
	case result.Durable && result.Entry == nil:
		e.fatal("Decide of %v is durable without an entry", req)
	case len(result.Marks) > 0 && result.Entry == nil:
		e.fatal("Decide of %v marks without an entry", req)
	}
	if result.Entry != nil {
		data, err := codec.EncodeEntry(result.Entry)
		if err != nil {
			e.fatal("encode entry: %v", err)
		}
		e.log = append(e.log, data)
		if err := turn.Evolve(e.state, persistence.Seq(len(e.log)), result.Entry); err != nil {
			e.fatal("evolve: %v", err)
		}
		for _, mark := range result.Marks {
			e.marks[mark.Name] = string(mark.Value)
			if mark.Value == nil {
				delete(e.marks, mark.Name)
			}
		}
	}
	return result.Response, result.Err
}

// restart replaces the state by what a snapshot at a seq and the entries after it give.
func (e *entity) restart(snapshot *storev1.Entity) {
	e.Helper()
	replayed := snapshot.CloneVT()
	for i := int(replayed.GetSeq()); i < len(e.log); i++ { //nolint:gosec // small
		entry, err := codec.DecodeEntry(e.log[i])
		if err != nil {
			e.fatal("decode entry %d: %v", i+1, err)
		}
		if err := turn.Evolve(replayed, persistence.Seq(i+1), entry); err != nil { //nolint:gosec // small
			e.fatal("replay entry %d: %v", i+1, err)
		}
	}
	if !proto.Equal(replayed, e.state) {
		e.fatal("replayed %v\nlive     %v", replayed, e.state)
	}
	e.state = replayed
}

func (e *entity) open(req *skerryv1.OpenPlayerSessionRequest) *skerryv1.OpenPlayerSessionResponse {
	e.Helper()
	response, err := e.do(&skerryv1.Request{Request: &skerryv1.Request_OpenPlayerSession{OpenPlayerSession: req}})
	if err != nil {
		e.fatal("open: %v", err)
	}
	return response.GetOpenPlayerSession()
}

func (e *entity) end(token string) error {
	e.Helper()
	_, err := e.do(&skerryv1.Request{Request: &skerryv1.Request_EndPlayerSession{EndPlayerSession: &skerryv1.EndPlayerSessionRequest{Session: token}}})
	return err
}

func (e *entity) execute(req *skerryv1.ExecutePlayerRequest) (*skerryv1.ExecutePlayerResponse, error) {
	e.Helper()
	response, err := e.do(&skerryv1.Request{Request: &skerryv1.Request_ExecutePlayer{ExecutePlayer: req}})
	return response.GetExecutePlayer(), err
}

func (e *entity) command(token string, id int64) *skerryv1.GetPlayerCommandResponse {
	e.Helper()
	response, err := e.do(&skerryv1.Request{Request: &skerryv1.Request_GetPlayerCommand{
		GetPlayerCommand: &skerryv1.GetPlayerCommandRequest{Session: token, CommandId: id},
	}})
	if err != nil {
		e.fatal("get command: %v", err)
	}
	return response.GetGetPlayerCommand()
}

func (e *entity) coins() int64 { return e.state.GetPlayer().GetProfile().GetCoins() }

func earn(amount int64) []*skerryv1.PlayerCommand {
	return []*skerryv1.PlayerCommand{{Command: &skerryv1.PlayerCommand_Earn{Earn: &skerryv1.Earn{Currency: skerryv1.Currency_COINS, Amount: amount}}}}
}

func spend(amount int64) []*skerryv1.PlayerCommand {
	return []*skerryv1.PlayerCommand{{Command: &skerryv1.PlayerCommand_Spend{Spend: &skerryv1.Spend{Currency: skerryv1.Currency_COINS, Amount: amount}}}}
}

func by(token string, id int64, cmds []*skerryv1.PlayerCommand) *skerryv1.ExecutePlayerRequest {
	return &skerryv1.ExecutePlayerRequest{Session: token, CommandId: id, Commands: cmds}
}

// events of the last turn's effects, "TYPE to server about token".
func (e *entity) events() []string {
	var all []string
	for _, effect := range e.last.Effects {
		if effect.Event != nil {
			all = append(all, fmt.Sprintf("%s to %s about %s", effect.Event.GetType(), effect.Server, effect.Event.GetSession()))
		}
	}
	slices.Sort(all)
	return all
}
