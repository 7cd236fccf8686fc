// Goal: a request that is not well formed is refused by name. Method: a table.
package transfer_test

import (
	"errors"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protojson"

	"github.com/skerry-dev/skerry/actors/items"
	"github.com/skerry-dev/skerry/actors/transfer"
	"github.com/skerry-dev/skerry/codec/skerryv1"
	"github.com/skerry-dev/skerry/persistence"
)

func parse(tb testing.TB, text string) (*transfer.Plan, error) {
	tb.Helper()
	request := &skerryv1.CreateTransferRequest{}
	if err := protojson.Unmarshal([]byte(text), request); err != nil {
		tb.Fatalf("%s: %v", text, err)
	}
	return transfer.Parse("main", request)
}

const (
	annToBob  = `"from":{"player":"ann"},"to":{"player":"bob"}`
	annToBox  = `"from":{"player":"ann"},"to":{"chest":{"world":"w","x":1,"y":2,"z":3}}`
	boxToAnn  = `"from":{"chest":{"world":"w","x":1,"y":2,"z":3}},"to":{"player":"ann"}`
	fiveCoins = `"currency":{"currency":"COINS","amount":"5"}`
	oneApple  = `"item":{"itemId":7,"count":1}`
)

func TestParseRefuses(t *testing.T) {
	for _, c := range []struct {
		request, field string
		want           error
	}{
		{`{}`, "id", items.ErrBadRequest},
		{`{"id":"` + strings.Repeat("x", 65) + `"}`, "id", items.ErrTooLarge},
		{`{"id":"a\u0000"}`, "legs", items.ErrBadRequest},
		{`{"id":"a"}`, "legs", items.ErrBadRequest},
		{`{"id":"a","legs":[` + strings.Repeat(`{`+annToBob+`,`+fiveCoins+`},`, 16) + `{}]}`, "legs", items.ErrTooLarge},
		{`{"id":"a","legs":[{}]}`, "legs[0].from", items.ErrBadRequest},
		{`{"id":"a","legs":[{"from":{"player":"."}}]}`, "legs[0].from", items.ErrBadRequest},
		{`{"id":"a","legs":[{"from":{"player":"ann"}}]}`, "legs[0].to", items.ErrBadRequest},
		{`{"id":"a","legs":[{"from":{"player":"ann"},"to":{"player":"ann"},` + fiveCoins + `}]}`, "legs[0].to", items.ErrBadRequest},
		{`{"id":"a","legs":[{"from":{"chest":{"world":"w"}},"to":{"chest":{"world":"v"}},` + oneApple + `}]}`, "legs[0]", items.ErrBadRequest},
		{`{"id":"a","legs":[{` + annToBob + `}]}`, "legs[0]", items.ErrBadRequest},
		{`{"id":"a","legs":[{` + annToBob + `,` + fiveCoins + `},{` + annToBox + `,` + oneApple + `}]}`, "legs[1]", items.ErrBadRequest},
		{`{"id":"a","legs":[{` + annToBob + `,"currency":{"currency":"COINS","amount":"0"}}]}`, "legs[0].currency.amount", items.ErrBadAmount},
		{`{"id":"a","legs":[{` + annToBob + `,"currency":{"currency":"COINS","amount":"9007199254740992"}}]}`, "legs[0].currency.amount", items.ErrBadAmount},
		{`{"id":"a","legs":[{` + annToBob + `,"currency":{"amount":"1"}}]}`, "legs[0].currency.currency", items.ErrBadRequest},
		{`{"id":"a","legs":[{` + annToBox + `,` + fiveCoins + `}]}`, "legs[0].currency", items.ErrBadRequest},
		{`{"id":"a","legs":[{` + annToBob + `,"item":{}}]}`, "legs[0].item", items.ErrBadRequest},
		{`{"id":"a","legs":[{` + annToBob + `,"item":{"itemId":7}}]}`, "legs[0].item.count", items.ErrBadAmount},
		{`{"id":"a","legs":[{` + annToBob + `,"item":{"itemId":-7,"count":1}}]}`, "legs[0].item.itemId", items.ErrBadRequest},
		{`{"id":"a","legs":[{` + annToBob + `,"item":{"itemId":7,"count":-1}}]}`, "legs[0].item.count", items.ErrBadAmount},
		{`{"id":"a","legs":[{` + annToBox + `,"item":{"chestSlot":0}}]}`, "legs[0].item.chestSlot", items.ErrBadSlot},
		{`{"id":"a","legs":[{` + boxToAnn + `,"item":{"slot":{"container":"HOTBAR"}}}]}`, "legs[0].item.slot", items.ErrBadSlot},
		{
			`{"id":"a","legs":[{"from":{"player":"ann","session":"s"},"to":{"player":"bob"},` + fiveCoins + `},{"from":{"player":"ann","session":"t"},"to":{"player":"bob"},` + fiveCoins + `}]}`,
			"legs[1].from.session", items.ErrBadRequest,
		},
	} {
		plan, err := parse(t, c.request)
		refusal, ok := errors.AsType[*items.Refusal](err)
		if plan != nil && err == nil || !ok || !errors.Is(err, c.want) || refusal.Field != c.field || refusal.CommandIndex != -1 {
			t.Errorf("%s: %v, want %v of %s", c.request, err, c.want, c.field)
		}
	}
}

// Goal: who holds, which way each leg goes, and that sessions are no part of what a transfer is.
func TestParseReads(t *testing.T) {
	plan, err := parse(t, `{"id":"a","legs":[{`+boxToAnn+`,"item":{"chestSlot":4}},{"from":{"player":"ann","session":"s"},"to":{"chest":{"world":"w","x":1,"y":2,"z":3}},`+oneApple+`}]}`)
	if err != nil {
		t.Fatal(err)
	}
	if plan.Holder.Key.Kind != persistence.KindPlayer || plan.Holder.Session != "s" || plan.Other.Chest == nil || plan.Legs[0].Out || !plan.Legs[1].Out {
		t.Errorf("%+v", plan)
	}
	bare, err := parse(t, `{"id":"a","legs":[{`+boxToAnn+`,"item":{"chestSlot":4}},{`+annToBox+`,`+oneApple+`}]}`)
	if err != nil || bare.Hash != plan.Hash || transfer.Hash(plan.Request) != plan.Hash {
		t.Errorf("the same with and without sessions: %x, %x (%v)", plan.Hash, bare.Hash, err)
	}
	other, err := parse(t, `{"id":"a","legs":[{`+boxToAnn+`,"item":{"chestSlot":5}},{`+annToBox+`,`+oneApple+`}]}`)
	if err != nil || other.Hash == plan.Hash {
		t.Errorf("other legs: %x (%v)", other.Hash, err)
	}
	back, err := parse(t, `{"id":"a","legs":[{"from":{"player":"bob"},"to":{"player":"ann"},`+fiveCoins+`},{`+annToBob+`,`+fiveCoins+`}]}`)
	if err != nil || back.Holder.Key.ID != "bob" || !back.Legs[0].Out || back.Legs[1].Out {
		t.Errorf("%+v (%v)", back, err)
	}
}
