package codec_test

import (
	"errors"
	"math"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/skerry-dev/skerry/codec"
	"github.com/skerry-dev/skerry/codec/skerryv1"
)

// nested is a JSON array in an array in an array, depth deep.
func nested(depth int) *structpb.Value {
	v := structpb.NewNumberValue(1)
	for range depth {
		v = structpb.NewListValue(&structpb.ListValue{Values: []*structpb.Value{v}})
	}
	return v
}

func execute(command *skerryv1.PlayerCommand) *skerryv1.ExecutePlayerRequest {
	return &skerryv1.ExecutePlayerRequest{Player: "1001", CommandId: 1, Commands: []*skerryv1.PlayerCommand{{}, command}}
}

func setAttribute(v *structpb.Value) *skerryv1.ExecutePlayerRequest {
	return execute(&skerryv1.PlayerCommand{Command: &skerryv1.PlayerCommand_SetAttribute{
		SetAttribute: &skerryv1.SetAttribute{Path: "quest", Value: v},
	}})
}

func TestCheckTextNamesTheField(t *testing.T) {
	const bad = "ab\xff"
	rename := &skerryv1.PlayerCommand{Command: &skerryv1.PlayerCommand_Rename{Rename: &skerryv1.Rename{Name: bad}}}
	inStruct := &structpb.Struct{Fields: map[string]*structpb.Value{"k": structpb.NewStringValue(bad)}}
	badKey := &structpb.Struct{Fields: map[string]*structpb.Value{bad: structpb.NewBoolValue(true)}}
	for _, c := range []struct {
		m     proto.Message
		field string // "" when nothing is wrong
	}{
		{execute(&skerryv1.PlayerCommand{}), ""},
		{typicalPlayer(), ""},
		{setAttribute(nested(10)), ""},
		{&skerryv1.GetPlayerRequest{Player: bad}, "player"},
		{execute(rename), "commands[1].rename.name"},
		{&skerryv1.Player{Attributes: inStruct}, "attributes.k"},
		{&skerryv1.Player{Attributes: badKey}, "attributes"},
		{setAttribute(structpb.NewNumberValue(math.NaN())), "commands[1].setAttribute.value"},
		{setAttribute(structpb.NewNumberValue(math.Inf(-1))), "commands[1].setAttribute.value"},
		{setAttribute(&structpb.Value{}), "commands[1].setAttribute.value"},
		{&skerryv1.RegisterServerResponse{Budgets: map[string]*skerryv1.Budget{bad: {}}}, "budgets"},
		{&skerryv1.ListPlayersResponse{Players: []string{"a", bad}}, "players[1]"},
	} {
		err := codec.CheckText(c.m)
		var field *codec.FieldError
		switch {
		case c.field == "" && err != nil:
			t.Errorf("%v: %v, want nothing wrong", c.m, err)
		case c.field != "" && (!errors.As(err, &field) || field.Field != c.field || !errors.Is(err, codec.ErrBadField)):
			t.Errorf("%v: %v, want %s named", c.m, err, c.field)
		}
	}
}

func TestCheckTextBoundsDepth(t *testing.T) {
	if err := codec.CheckText(setAttribute(nested(codec.MaxDepth - 5))); err != nil {
		t.Errorf("just below: %v", err)
	}
	for _, depth := range []int{codec.MaxDepth + 1, 100_000} {
		err := codec.CheckText(setAttribute(nested(depth)))
		if !errors.Is(err, codec.ErrBadField) || !strings.Contains(err.Error(), "deeper") || len(err.Error()) > 300 {
			t.Errorf("depth %d: %.400v, want a short refusal", depth, err)
		}
	}
	object := structpb.NewNumberValue(1)
	for range codec.MaxDepth + 1 {
		object = structpb.NewStructValue(&structpb.Struct{Fields: map[string]*structpb.Value{"k": object}})
	}
	if err := codec.CheckText(setAttribute(object)); !errors.Is(err, codec.ErrBadField) {
		t.Errorf("deep objects: %v", err)
	}
}

func BenchmarkCheckText(b *testing.B) {
	m := execute(&skerryv1.PlayerCommand{Command: &skerryv1.PlayerCommand_Earn{Earn: &skerryv1.Earn{Amount: 50}}})
	b.ReportAllocs()
	for b.Loop() {
		if err := codec.CheckText(m); err != nil {
			b.Fatal(err)
		}
	}
}
