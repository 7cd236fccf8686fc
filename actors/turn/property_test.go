package turn_test

import (
	"errors"
	"fmt"
	"testing"

	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	"github.com/skerry-dev/skerry/actors/player"
	"github.com/skerry-dev/skerry/actors/turn"
	"github.com/skerry-dev/skerry/codec/skerryv1"
	"github.com/skerry-dev/skerry/codec/storev1"
	"github.com/skerry-dev/skerry/persistence"
)

// sent is a command that was answered, and its answer.
type sent struct {
	req      *skerryv1.ExecutePlayerRequest
	response *skerryv1.ExecutePlayerResponse
	refused  string
	outcomes int // how many outcomes were made before its own
}

// Goal: whatever game servers do, in whatever order, with every answer lost as often as it likes, nothing happens twice and
// nobody is answered two ways.
// Method: random openings, endings, commands, retries of any earlier command, admin gifts and restarts from a random
// snapshot, beside the simplest model of a purse.
func TestNothingHappensTwice(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		e := newEntity(t, persistence.KindPlayer)
		e.fatal = rt.Fatalf
		var (
			tokens   []string
			open     string
			ids      = map[string]int64{}
			history  []sent
			outcomes int
			coins    int64 = 100
			snapshot       = &storev1.Entity{}
		)
		run := func(req *skerryv1.ExecutePlayerRequest, delta int64) {
			response, err := e.execute(req)
			var refusal *player.Refusal
			switch {
			case err == nil:
				coins += delta
				history = append(history, sent{req: req, response: proto.CloneOf(response), outcomes: outcomes})
			case errors.As(err, &refusal):
				history = append(history, sent{req: req, refused: err.Error(), outcomes: outcomes})
			default:
				rt.Fatalf("%v: %v", req, err)
			}
			if req.GetSession() != "" {
				outcomes++
			}
		}
		rt.Repeat(map[string]func(*rapid.T){
			"open": func(rt *rapid.T) {
				server := rapid.SampledFrom([]string{"s1", "s2", "s3"}).Draw(rt, "server")
				open = e.open(&skerryv1.OpenPlayerSessionRequest{Server: server}).GetSession()
				tokens = append(tokens, open)
			},
			"end any": func(rt *rapid.T) {
				if len(tokens) == 0 {
					rt.Skip("no session yet")
				}
				token := rapid.SampledFrom(tokens).Draw(rt, "token")
				err := e.end(token)
				if newest := token == tokens[len(tokens)-1]; newest != (err == nil) {
					rt.Fatalf("ending %s, the newest is %s: %v", token, tokens[len(tokens)-1], err)
				}
				if token == open {
					open = ""
				}
			},
			"command": func(rt *rapid.T) {
				if open == "" {
					rt.Skip("nobody holds the player")
				}
				ids[open] += rapid.Int64Range(1, 3).Draw(rt, "step")
				req := by(open, ids[open], nil)
				req.Durability = rapid.SampledFrom([]skerryv1.Durability{skerryv1.Durability_DURABLE, skerryv1.Durability_MEMORY}).Draw(rt, "durability")
				amount := rapid.Int64Range(1, 200).Draw(rt, "amount")
				if rapid.Bool().Draw(rt, "spend") {
					req.Commands = spend(amount)
					run(req, -amount)
				} else {
					req.Commands = earn(amount)
					run(req, amount)
				}
			},
			"stale command": func(rt *rapid.T) {
				if len(tokens) == 0 {
					rt.Skip("no session yet")
				}
				token := rapid.SampledFrom(tokens).Draw(rt, "token")
				if token == open {
					rt.Skip("it is open")
				}
				if _, err := e.execute(by(token, 1<<30, earn(1))); !errors.Is(err, turn.ErrSessionTaken) && !errors.Is(err, turn.ErrSessionEnded) {
					rt.Fatalf("a command with %s: %v", token, err)
				}
			},
			"gift": func(rt *rapid.T) {
				if len(tokens) == 0 {
					rt.Skip("no player yet")
				}
				e.admin = true
				run(&skerryv1.ExecutePlayerRequest{Receipt: fmt.Sprintf("gift-%d", len(history)), Commands: earn(7)}, 7)
				e.admin = false
			},
			"retry any": func(rt *rapid.T) {
				if len(history) == 0 {
					rt.Skip("no command yet")
				}
				kept := rapid.SampledFrom(history).Draw(rt, "earlier")
				e.admin = kept.req.GetSession() == ""
				response, err := e.execute(kept.req)
				e.admin = false
				checkRetry(rt, kept, outcomes, response, err)
			},
			"snapshot": func(*rapid.T) { snapshot = e.state.CloneVT() },
			"restart":  func(*rapid.T) { e.restart(snapshot) },
			"": func(rt *rapid.T) {
				if len(tokens) > 0 && e.coins() != coins {
					rt.Fatalf("%d coins, the model has %d", e.coins(), coins)
				}
				if e.state.GetOutcomeCount() > turn.MaxOutcomes || len(e.state.GetSessions()) > turn.MaxOutcomes+1 {
					rt.Fatalf("%d outcomes, %d sessions", e.state.GetOutcomeCount(), len(e.state.GetSessions()))
				}
				if wanted := map[bool]int{true: 1}[open != ""]; len(e.marks) != wanted {
					rt.Fatalf("marks %v, open session %q", e.marks, open)
				}
			},
		})
	})
}

// checkRetry holds the answer to a retry against the first one. outcomes is how many were made until now.
func checkRetry(t *rapid.T, kept sent, outcomes int, response *skerryv1.ExecutePlayerResponse, err error) {
	forgotten := kept.req.GetSession() != "" && outcomes-kept.outcomes > turn.MaxOutcomes
	var remembered *turn.RememberedError
	switch {
	case forgotten:
		if !errors.Is(err, turn.ErrCommandTooOld) && !errors.Is(err, turn.ErrSessionTaken) && !errors.Is(err, turn.ErrSessionEnded) {
			t.Fatalf("a forgotten command: %v, %v", response, err)
		}
	case kept.refused != "":
		if !errors.As(err, &remembered) || remembered.Refused.GetMessage() != kept.refused {
			t.Fatalf("refused with %v, before with %s", err, kept.refused)
		}
	case err != nil || !proto.Equal(response, kept.response):
		t.Fatalf("answered %v (%v), before %v", response, err, kept.response)
	}
}
