package player

import (
	stdjson "encoding/json"
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"
	"pgregory.net/rapid"

	"github.com/skerry-dev/skerry/actors/items"
	"github.com/skerry-dev/skerry/codec/skerryv1"
	"github.com/skerry-dev/skerry/codec/storev1"
)

func number(n float64) *structpb.Value { return structpb.NewNumberValue(n) }
func nan() *structpb.Value             { return number(math.NaN()) }
func text(s string) *structpb.Value    { return structpb.NewStringValue(s) }

func list(values ...*structpb.Value) *structpb.Value {
	return structpb.NewListValue(&structpb.ListValue{Values: values})
}

func object(name string, value *structpb.Value) *structpb.Value {
	return structpb.NewStructValue(&structpb.Struct{Fields: map[string]*structpb.Value{name: value}})
}

// setTo sets the attribute a.b.
func setTo(value *structpb.Value) *skerryv1.PlayerCommand {
	return &skerryv1.PlayerCommand{Command: &skerryv1.PlayerCommand_SetAttribute{
		SetAttribute: &skerryv1.SetAttribute{Path: "a.b", Value: value},
	}}
}

// drawValue draws a JSON value that nests at most depth deep.
func drawValue(t *rapid.T, depth int) *structpb.Value {
	most := 5
	if depth < 1 {
		most = 3
	}
	switch rapid.IntRange(0, most).Draw(t, "kind") {
	case 0:
		return structpb.NewNullValue()
	case 1:
		return structpb.NewBoolValue(rapid.Bool().Draw(t, "bool"))
	case 2:
		return number(rapid.OneOf(rapid.Float64(), rapid.Map(rapid.Int64(), func(n int64) float64 { return float64(n) }),
			rapid.SampledFrom([]float64{0, math.Copysign(0, -1), 1e-7, 1e21, 1e20, 123456.789, 5e-324, math.MaxFloat64})).Draw(t, "number"))
	case 3:
		return text(rapid.StringN(0, 8, -1).Draw(t, "text"))
	case 4:
		return structpb.NewStructValue(drawStruct(t, depth))
	default:
		var values []*structpb.Value
		for range rapid.IntRange(0, 3).Draw(t, "items") {
			values = append(values, drawValue(t, depth-1))
		}
		return list(values...)
	}
}

func drawStruct(t *rapid.T, depth int) *structpb.Struct {
	s := &structpb.Struct{Fields: map[string]*structpb.Value{}}
	for range rapid.IntRange(0, 3).Draw(t, "fields") {
		s.Fields[rapid.StringN(0, 5, -1).Draw(t, "name")] = drawValue(t, depth-1)
	}
	return s
}

// jsonSize is the size of v as the standard library writes it, without its extra escapes.
func jsonSize(t interface{ Fatal(...any) }, v any) int {
	var out strings.Builder
	encoder := stdjson.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(v); err != nil {
		t.Fatal(err)
	}
	written := strings.NewReplacer(`\\`, `\\`, `\u2028`, "\u2028", `\u2029`, "\u2029").Replace(out.String())
	return len(written) - len("\n")
}

func TestSizeIsThatOfCompactJSON(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		v := drawValue(t, 4)
		if got, want := items.ValueSize(v), jsonSize(t, v.AsInterface()); got != want {
			t.Fatalf("size of %v = %d, want %d", v, got, want)
		}
	})
}

func TestCloneIsEqualAndApart(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		v := drawValue(t, 4)
		before := proto.Clone(v).(*structpb.Value)
		c := items.CloneValue(v)
		if !proto.Equal(c, v) || !items.EqualValue(c, v) {
			t.Fatalf("the clone of %v is %v", v, c)
		}
		scribble(c)
		if !proto.Equal(v, before) {
			t.Fatalf("changing the clone made %v of %v", v, before)
		}
	})
}

// scribble changes everything in v.
func scribble(v *structpb.Value) {
	for _, item := range v.GetListValue().GetValues() {
		scribble(item)
	}
	for name, item := range v.GetStructValue().GetFields() {
		scribble(item)
		delete(v.GetStructValue().GetFields(), name)
	}
	v.Kind = &structpb.Value_StringValue{StringValue: "scribbled"}
}

func TestEqualValueAgreesWithProto(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b := drawValue(t, 2), drawValue(t, 2)
		if got, want := items.EqualValue(a, b), proto.Equal(a, b); got != want {
			t.Fatalf("equal(%v, %v) = %v, want %v", a, b, got, want)
		}
	})
}

// Goal: the attributes never pass their limit, and what fits is never refused.
// Method: random paths and values under a small limit; the size that the check foresaw is the size that there is.
func TestAttributesKeepTheirLimit(t *testing.T) {
	rules := &Rules{AttributesBytes: 120}
	rapid.Check(t, func(t *rapid.T) {
		p := New(rules, "Ann", testTurn())
		t.Repeat(map[string]func(*rapid.T){
			"set": func(t *rapid.T) {
				path := strings.Join(rapid.SliceOfN(rapid.SampledFrom([]string{"a", "b", "é\""}), 1, 4).Draw(t, "path"), ".")
				value := drawValue(t, 2)
				set := &skerryv1.PlayerCommand{Command: &skerryv1.PlayerCommand_SetAttribute{SetAttribute: &skerryv1.SetAttribute{Path: path, Value: value}}}
				events, _, err := Decide(rules, p, set, testTurn())
				event := &storev1.PlayerEvent{Event: &storev1.PlayerEvent_AttributeSet{AttributeSet: &storev1.AttributeSet{Path: path, Value: value}}}
				after := p.CloneVT()
				evolves := Evolve(after, event) == nil
				before, size := items.StructSize(p.GetAttributes()), jsonSize(t, after.GetAttributes().AsMap())
				switch fits := size <= 120 || size <= before; {
				case err == nil && (!fits || !evolves):
					t.Fatalf("accepted %s = %v, which makes %d bytes", path, value, size)
				case errors.Is(err, ErrTooLarge) && fits:
					t.Fatalf("refused %s = %v, which makes %d bytes: %v", path, value, size, err)
				case err != nil && !errors.Is(err, ErrTooLarge) && evolves:
					t.Fatalf("refused %s = %v: %v", path, value, err)
				}
				if err == nil {
					if err := Evolve(p, events[0]); err != nil || !proto.Equal(p, after) {
						t.Fatalf("evolved to %v (%v), want %v", p, err, after)
					}
				}
			},
			"": func(t *rapid.T) {
				if size := jsonSize(t, p.GetAttributes().AsMap()); size > 120 {
					t.Fatalf("the attributes have %d bytes", size)
				}
			},
		})
	})
}

func TestAttributesOf64KiB(t *testing.T) {
	p := New(nil, "Ann", testTurn())
	run(t, nil, p, fmt.Sprintf(`{"setAttribute":{"path":"a","value":%q}}`, strings.Repeat("x", 64<<10-8)))
	if size := jsonSize(t, p.GetAttributes().AsMap()); size != 64<<10 {
		t.Fatalf("the attributes have %d bytes, want all 65536", size)
	}
	for name, refused := range map[string]string{
		"one byte more":   fmt.Sprintf(`{"setAttribute":{"path":"a","value":%q}}`, strings.Repeat("x", 64<<10-7)),
		"one number more": `{"setAttribute":{"path":"b","value":1}}`,
		"one count more":  `{"incrementAttribute":{"path":"b","by":1}}`,
	} {
		if _, _, err := Decide(nil, p, command(t, refused), testTurn()); !errors.Is(err, ErrTooLarge) {
			t.Errorf("%s: %v, want ErrTooLarge", name, err)
		}
	}
	tight := &Rules{AttributesBytes: 100} // rules made tighter later: making them smaller must still work
	run(t, tight, p, fmt.Sprintf(`{"setAttribute":{"path":"a","value":%q}}`, strings.Repeat("x", 1000)))
}

func TestExpect(t *testing.T) {
	p := ann(t)
	p.Profile.Experience = math.MaxInt64 - 1
	run(t, nil, p, `{"claimDailyReward":{}}`)
	for _, c := range []struct {
		expect string
		want   error
	}{
		{`{"path":"profile.coins","value":150}`, nil},
		{`{"path":"profile.coins","value":"150"}`, nil},
		{`{"path":"profile.coins","value":150.5}`, ErrExpectation},
		{`{"path":"profile.coins","value":151}`, ErrExpectation},
		{`{"path":"profile.coins","value":"151"}`, ErrExpectation},
		{`{"path":"profile.coins","value":"many"}`, ErrExpectation},
		{`{"path":"profile.coins","value":true}`, ErrExpectation},
		{`{"path":"profile.coins","value":null}`, ErrExpectation},
		{`{"path":"profile.coins"}`, ErrExpectation},
		{`{"path":"profile.manaCrystals","value":0}`, nil},
		{`{"path":"profile.experience","value":"9223372036854775806"}`, nil},
		{`{"path":"profile.experience","value":"9223372036854775807"}`, ErrExpectation},
		{`{"path":"profile.experience","value":9223372036854775807}`, ErrExpectation}, // 2^63 as a double: not the same number
		{`{"path":"name","value":"Ann"}`, nil},
		{`{"path":"name","value":"ann"}`, ErrExpectation},
		{`{"path":"inventory.hotbar[0].itemId","value":7}`, nil},
		{`{"path":"inventory.hotbar[0].count","value":10}`, nil},
		{`{"path":"inventory.hotbar[5].itemId","value":0}`, nil},
		{`{"path":"inventory.hotbar[5].metadata","value":null}`, nil},
		{`{"path":"inventory.hotbar[1].metadata","value":{"edge":1}}`, nil},
		{`{"path":"inventory.hotbar[1].metadata.edge","value":1}`, nil},
		{`{"path":"inventory.hotbar[1].metadata","value":{"edge":2}}`, ErrExpectation},
		{`{"path":"inventory.hotbar[99].itemId","value":null}`, nil},
		{`{"path":"inventory.hotbar[99]","value":null}`, nil},
		{`{"path":"inventory.hotbar[0]","value":null}`, ErrExpectation},
		{`{"path":"inventory.hotbar[0]","value":{"itemId":7}}`, ErrBadRequest},
		{`{"path":"inventory.hotbar","value":[]}`, ErrBadRequest},
		{`{"path":"profile","value":{"coins":"100"}}`, ErrBadRequest},
		{`{"path":"dailyRewards.lastClaimDate","value":"2026-03-01"}`, nil},
		{`{"path":"settings.musicVolume","value":0.8}`, nil},
		{`{"path":"settings.musicVolume","value":0.9}`, ErrExpectation},
		{`{"path":"settings.enableNotifications","value":true}`, nil},
		{`{"path":"settings.enableNotifications","value":false}`, ErrExpectation},
		{`{"path":"createdAt","value":"2026-03-01T12:00:00Z"}`, nil},
		{`{"path":"createdAt","value":"2026-03-01T13:00:00+01:00"}`, nil},
		{`{"path":"createdAt","value":"2026-03-01T12:00:01Z"}`, ErrExpectation},
		{`{"path":"createdAt","value":5}`, ErrExpectation},
		{`{"path":"lastSave","value":null}`, nil},
		{`{"path":"attributes.quest.step","value":1}`, nil},
		{`{"path":"attributes.quest.step","value":"1"}`, ErrExpectation},
		{`{"path":"attributes.quest","value":{"name":"dragon","step":1,"gone":null}}`, nil},
		{`{"path":"attributes.quest","value":{"name":"dragon","step":1}}`, ErrExpectation},
		{`{"path":"attributes.quest.gone","value":null}`, nil},
		{`{"path":"attributes.no.such","value":null}`, nil},
		{`{"path":"attributes.no.such","value":1}`, ErrExpectation},
		{`{"path":"attributes.list[1].a","value":2}`, nil},
		{`{"path":"attributes.list[9]","value":null}`, nil},
		{`{"path":"attributes.text.more","value":null}`, nil},
		{`{"path":"dungeonData.mobSpawnerSlots[0].mob","value":"zombie"}`, nil},
		{`{}`, ErrBadRequest},
		{`{"path":"profile.gold","value":1}`, ErrBadRequest},
		{`{"path":"profile.mana_crystals","value":0}`, ErrBadRequest},
		{`{"path":"profile..coins","value":0}`, ErrBadRequest},
		{`{"path":"profile.coins.x","value":0}`, ErrBadRequest},
		{`{"path":"profile[0]","value":0}`, ErrBadRequest},
		{`{"path":"inventory.hotbar.0","value":0}`, ErrBadRequest},
		{`{"path":"inventory.hotbar[0","value":0}`, ErrBadRequest},
		{`{"path":"inventory.hotbar[]","value":0}`, ErrBadRequest},
		{`{"path":"inventory.hotbar[-1]","value":0}`, ErrBadRequest},
		{`{"path":"inventory.hotbar[0]x","value":0}`, ErrBadRequest},
		{`{"path":"inventory.hotbar[99999999999]","value":0}`, ErrBadRequest},
		{fmt.Sprintf(`{"path":%q,"value":0}`, "attributes"+strings.Repeat(".a", 600)), ErrTooLarge},
	} {
		cmd := command(t, `{"rename":{"name":"Bob"},"expect":`+c.expect+`}`)
		_, _, err := Decide(nil, p, cmd, testTurn())
		if !errors.Is(err, c.want) || err != nil && !strings.Contains(err.Error(), "commands[0].expect") {
			t.Errorf("%s: %v, want %v", c.expect, err, c.want)
		}
	}
}

func TestWholeNumbersAreComparedExactly(t *testing.T) {
	for _, c := range []struct {
		found int64
		want  *structpb.Value
		equal bool
	}{
		{1 << 53, number(1 << 53), true},
		{1<<53 + 1, number(1 << 53), false},
		{1<<53 + 1, text("9007199254740993"), true},
		{math.MaxInt64, number(1 << 63), false},
		{math.MinInt64, number(1 << 63), false},
		{math.MinInt64, number(-(1 << 63)), true},
		{0, nan(), false},
	} {
		if got := equals(c.found, c.want); got != c.equal {
			t.Errorf("equals(%d, %v) = %v, want %v", c.found, c.want, got, c.equal)
		}
	}
}

func BenchmarkIncrementInFullAttributes(b *testing.B) {
	p := New(nil, "Ann", testTurn())
	for i := range 3000 {
		run(b, nil, p, fmt.Sprintf(`{"setAttribute":{"path":"group%d.name%d","value":%d}}`, i/30, i%30, i))
	}
	cmd := command(b, `{"incrementAttribute":{"path":"new","by":1}}`)
	b.ReportAllocs()
	for b.Loop() {
		if _, _, err := Decide(nil, p, cmd, testTurn()); err != nil {
			b.Fatal(err)
		}
	}
}
