package player

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/skerry-dev/skerry/codec/skerryv1"
)

// Goal: every way to say no says it with its sentinel, names the field and changes nothing.
// Method: one command each, against the same player.
func TestRefusals(t *testing.T) {
	long := strings.Repeat("x", 300)
	for name, c := range map[string]struct {
		command string
		want    error
		field   string
	}{
		"earn no currency":      {`{"earn":{"amount":1}}`, ErrBadRequest, "earn.currency"},
		"earn odd currency":     {`{"earn":{"currency":9,"amount":1}}`, ErrBadRequest, "earn.currency"},
		"earn nothing":          {`{"earn":{"currency":"COINS"}}`, ErrBadAmount, "earn.amount"},
		"earn negative":         {`{"earn":{"currency":"COINS","amount":-1}}`, ErrBadAmount, "earn.amount"},
		"earn least":            {`{"earn":{"currency":"COINS","amount":"-9223372036854775808"}}`, ErrBadAmount, "earn.amount"},
		"earn greatest":         {`{"earn":{"currency":"COINS","amount":"9223372036854775807"}}`, ErrBadAmount, "earn.amount"},
		"earn over the balance": {`{"earn":{"currency":"GEMS","amount":"9007199254740991"}}`, ErrOverflow, "earn.amount"},
		"spend no currency":     {`{"spend":{"amount":1}}`, ErrBadRequest, "spend.currency"},
		"spend nothing":         {`{"spend":{"currency":"COINS"}}`, ErrBadAmount, "spend.amount"},
		"spend negative":        {`{"spend":{"currency":"COINS","amount":-5}}`, ErrBadAmount, "spend.amount"},
		"spend too much":        {`{"spend":{"currency":"COINS","amount":101}}`, ErrInsufficientFunds, "spend.amount"},
		"spend what is absent":  {`{"spend":{"currency":"MANA_CRYSTALS","amount":1}}`, ErrInsufficientFunds, "spend.amount"},
		"experience nothing":    {`{"addExperience":{}}`, ErrBadAmount, "addExperience.amount"},
		"experience negative":   {`{"addExperience":{"amount":-1}}`, ErrBadAmount, "addExperience.amount"},
		"experience too much":   {`{"addExperience":{"amount":"9223372036854775807"}}`, ErrBadAmount, "addExperience.amount"},
		"statistics none":       {`{"addStatistics":{}}`, ErrBadAmount, "addStatistics.delta"},
		"statistics zeros":      {`{"addStatistics":{"delta":{"blocksBroken":0}}}`, ErrBadAmount, "addStatistics.delta"},
		"statistics negative":   {`{"addStatistics":{"delta":{"gamesPlayed":5,"blocksPlaced":-1}}}`, ErrBadAmount, "addStatistics.delta.blocksPlaced"},
		"statistics too much":   {`{"addStatistics":{"delta":{"totalPlayTime":"9223372036854775807"}}}`, ErrBadAmount, "addStatistics.delta.totalPlayTime"},

		"give no item":            {`{"give":{"count":1}}`, ErrBadRequest, "give.itemId"},
		"give negative item":      {`{"give":{"itemId":-1,"count":1}}`, ErrBadRequest, "give.itemId"},
		"give nothing":            {`{"give":{"itemId":1}}`, ErrBadAmount, "give.count"},
		"give negative":           {`{"give":{"itemId":1,"count":-1}}`, ErrBadAmount, "give.count"},
		"give negative maxStack":  {`{"give":{"itemId":1,"count":1,"maxStack":-1}}`, ErrBadAmount, "give.maxStack"},
		"give huge maxStack":      {`{"give":{"itemId":1,"count":1,"maxStack":10001}}`, ErrBadAmount, "give.maxStack"},
		"give huge metadata":      {fmt.Sprintf(`{"give":{"itemId":1,"count":1,"metadata":{"a":"%s%s%s%s"}}}`, long, long, long, long), ErrTooLarge, "give.metadata"},
		"give deep metadata":      {`{"give":{"itemId":1,"count":1,"metadata":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":1}}}}}}}}}}}`, ErrBadRequest, "give.metadata"},
		"give more than fits":     {`{"give":{"itemId":1,"count":2049}}`, ErrInventoryFull, "give.count"},
		"take no item":            {`{"take":{"count":1}}`, ErrBadRequest, "take.itemId"},
		"take nothing":            {`{"take":{"itemId":7}}`, ErrBadAmount, "take.count"},
		"take negative":           {`{"take":{"itemId":7,"count":-3}}`, ErrBadAmount, "take.count"},
		"take what is absent":     {`{"take":{"itemId":9,"count":1}}`, ErrNoSuchItem, "take.count"},
		"take more than there is": {`{"take":{"itemId":7,"count":74}}`, ErrNoSuchItem, "take.count"},

		"move nothing named":   {`{"move":{}}`, ErrBadSlot, "move.from"},
		"move to nothing":      {`{"move":{"from":{"container":"HOTBAR"}}}`, ErrBadSlot, "move.to"},
		"move no container":    {`{"move":{"from":{"index":1},"to":{"container":"HOTBAR"}}}`, ErrBadSlot, "move.from.container"},
		"move odd container":   {`{"move":{"from":{"container":7},"to":{"container":"HOTBAR"}}}`, ErrBadSlot, "move.from.container"},
		"move from slot 99":    {`{"move":{"from":{"container":"HOTBAR","index":99},"to":{"container":"HOTBAR"}}}`, ErrBadSlot, "move.from.index"},
		"move to slot 9":       {`{"move":{"from":{"container":"HOTBAR"},"to":{"container":"HOTBAR","index":9}}}`, ErrBadSlot, "move.to.index"},
		"move to slot -1":      {`{"move":{"from":{"container":"HOTBAR"},"to":{"container":"INVENTORY","index":-1}}}`, ErrBadSlot, "move.to.index"},
		"move to slot 27":      {`{"move":{"from":{"container":"HOTBAR"},"to":{"container":"INVENTORY","index":27}}}`, ErrBadSlot, "move.to.index"},
		"move onto itself":     {`{"move":{"from":{"container":"HOTBAR"},"to":{"container":"HOTBAR"}}}`, ErrBadSlot, "move.to"},
		"move from empty":      {`{"move":{"from":{"container":"HOTBAR","index":5},"to":{"container":"HOTBAR"}}}`, ErrNoSuchItem, "move.from"},
		"move negative":        {`{"move":{"from":{"container":"HOTBAR"},"to":{"container":"HOTBAR","index":5},"count":-1}}`, ErrBadAmount, "move.count"},
		"move too many":        {`{"move":{"from":{"container":"HOTBAR"},"to":{"container":"HOTBAR","index":5},"count":11}}`, ErrBadAmount, "move.count"},
		"move onto other item": {`{"move":{"from":{"container":"HOTBAR"},"to":{"container":"HOTBAR","index":1}}}`, ErrBadSlot, "move.to"},
		"move onto other kind": {`{"move":{"from":{"container":"HOTBAR"},"to":{"container":"INVENTORY","index":26}}}`, ErrBadSlot, "move.to"},
		"move without room":    {`{"move":{"from":{"container":"HOTBAR"},"to":{"container":"INVENTORY"}}}`, ErrInventoryFull, "move.to"},
		"swap nothing named":   {`{"swap":{"b":{"container":"HOTBAR"}}}`, ErrBadSlot, "swap.a"},
		"swap with slot 99":    {`{"swap":{"a":{"container":"HOTBAR"},"b":{"container":"INVENTORY","index":99}}}`, ErrBadSlot, "swap.b.index"},
		"swap with itself":     {`{"swap":{"a":{"container":"HOTBAR"},"b":{"container":"HOTBAR"}}}`, ErrBadSlot, "swap.b"},
		"split from nothing":   {`{"split":{"to":{"container":"HOTBAR"},"count":1}}`, ErrBadSlot, "split.from"},
		"split from empty":     {`{"split":{"from":{"container":"HOTBAR","index":5},"to":{"container":"HOTBAR","index":6},"count":1}}`, ErrNoSuchItem, "split.from"},
		"split nothing":        {`{"split":{"from":{"container":"HOTBAR"},"to":{"container":"HOTBAR","index":6}}}`, ErrBadAmount, "split.count"},
		"split all":            {`{"split":{"from":{"container":"HOTBAR"},"to":{"container":"HOTBAR","index":6},"count":10}}`, ErrBadAmount, "split.count"},
		"split negative":       {`{"split":{"from":{"container":"HOTBAR"},"to":{"container":"HOTBAR","index":6},"count":-1}}`, ErrBadAmount, "split.count"},
		"split to a full slot": {`{"split":{"from":{"container":"HOTBAR"},"to":{"container":"INVENTORY"},"count":1}}`, ErrBadSlot, "split.to"},

		"set no slot":           {`{"setSlot":{"stack":{"itemId":1,"count":1}}}`, ErrBadSlot, "setSlot.slot"},
		"set slot 99":           {`{"setSlot":{"slot":{"container":"HOTBAR","index":99}}}`, ErrBadSlot, "setSlot.slot.index"},
		"set over maxStack":     {`{"setSlot":{"slot":{"container":"HOTBAR"},"stack":{"itemId":1,"count":65}}}`, ErrBadAmount, "setSlot.stack.count"},
		"set over own maxStack": {`{"setSlot":{"slot":{"container":"HOTBAR"},"stack":{"itemId":1,"count":5,"maxStack":4}}}`, ErrBadAmount, "setSlot.stack.count"},
		"set no count":          {`{"setSlot":{"slot":{"container":"HOTBAR"},"stack":{"itemId":1}}}`, ErrBadAmount, "setSlot.stack.count"},
		"set negative count":    {`{"setSlot":{"slot":{"container":"HOTBAR"},"stack":{"itemId":1,"count":-1}}}`, ErrBadAmount, "setSlot.stack.count"},
		"set count of nothing":  {`{"setSlot":{"slot":{"container":"HOTBAR"},"stack":{"count":1}}}`, ErrBadRequest, "setSlot.stack.itemId"},
		"set negative item":     {`{"setSlot":{"slot":{"container":"HOTBAR"},"stack":{"itemId":-1,"count":1}}}`, ErrBadRequest, "setSlot.stack.itemId"},
		"set huge metadata":     {fmt.Sprintf(`{"setSlot":{"slot":{"container":"HOTBAR"},"stack":{"itemId":1,"count":1,"metadata":{"a":"%s%s%s%s"}}}}`, long, long, long, long), ErrTooLarge, "setSlot.stack.metadata"},
		"set no inventory":      {`{"setInventory":{}}`, ErrBadSlot, "setInventory.hotbar"},
		"set short inventory":   {fmt.Sprintf(`{"setInventory":{"hotbar":[%s],"inventory":[%s]}}`, empties(9), empties(26)), ErrBadSlot, "setInventory.inventory"},
		"set long inventory":    {fmt.Sprintf(`{"setInventory":{"hotbar":[%s],"inventory":[%s]}}`, empties(10), empties(27)), ErrBadSlot, "setInventory.hotbar"},
		"set bad inventory":     {fmt.Sprintf(`{"setInventory":{"hotbar":[%s],"inventory":[%s,{"itemId":1,"count":65}]}}`, empties(9), empties(26)), ErrBadAmount, "setInventory.inventory[26].count"},

		"settings none":         {`{"setSettings":{}}`, ErrBadRequest, "setSettings"},
		"settings loud":         {`{"setSettings":{"musicVolume":1.01}}`, ErrBadRequest, "setSettings.musicVolume"},
		"settings negative":     {`{"setSettings":{"soundVolume":-0.01}}`, ErrBadRequest, "setSettings.soundVolume"},
		"settings NaN":          {`{"setSettings":{"soundVolume":"NaN"}}`, ErrBadRequest, "setSettings.soundVolume"},
		"settings infinite":     {`{"setSettings":{"musicVolume":"Infinity"}}`, ErrBadRequest, "setSettings.musicVolume"},
		"spawner -1":            {`{"setSpawnerSlot":{"slot":-1,"mob":"zombie"}}`, ErrBadSlot, "setSpawnerSlot.slot"},
		"spawner 10":            {`{"setSpawnerSlot":{"slot":10,"mob":"zombie"}}`, ErrBadSlot, "setSpawnerSlot.slot"},
		"spawner without a mob": {`{"setSpawnerSlot":{"slot":1}}`, ErrBadRequest, "setSpawnerSlot.mob"},
		"spawner control":       {`{"setSpawnerSlot":{"slot":1,"mob":"a\u0007"}}`, ErrBadRequest, "setSpawnerSlot.mob"},
		"spawner long":          {fmt.Sprintf(`{"setSpawnerSlot":{"slot":1,"mob":"%s"}}`, long), ErrTooLarge, "setSpawnerSlot.mob"},
		"spawner metadata":      {fmt.Sprintf(`{"setSpawnerSlot":{"slot":1,"mob":"a","metadata":{"a":["%s%s%s%s"]}}}`, long, long, long, long), ErrTooLarge, "setSpawnerSlot.metadata"},
		"clear spawner -1":      {`{"clearSpawnerSlot":{"slot":-1}}`, ErrBadSlot, "clearSpawnerSlot.slot"},
		"clear spawner 10":      {`{"clearSpawnerSlot":{"slot":10}}`, ErrBadSlot, "clearSpawnerSlot.slot"},

		"attribute no path":      {`{"setAttribute":{"value":1}}`, ErrBadRequest, "setAttribute.path"},
		"attribute no value":     {`{"setAttribute":{"path":"a"}}`, ErrBadRequest, "setAttribute.value"},
		"attribute double dot":   {`{"setAttribute":{"path":"a..b","value":1}}`, ErrBadRequest, "setAttribute.path"},
		"attribute last dot":     {`{"setAttribute":{"path":"a.","value":1}}`, ErrBadRequest, "setAttribute.path"},
		"attribute brackets":     {`{"setAttribute":{"path":"list[0]","value":1}}`, ErrBadRequest, "setAttribute.path"},
		"attribute control":      {`{"setAttribute":{"path":"a\nb","value":1}}`, ErrBadRequest, "setAttribute.path"},
		"attribute long name":    {fmt.Sprintf(`{"setAttribute":{"path":"%s","value":1}}`, long), ErrBadRequest, "setAttribute.path"},
		"attribute long path":    {fmt.Sprintf(`{"setAttribute":{"path":"%s%s","value":1}}`, long, long), ErrTooLarge, "setAttribute.path"},
		"attribute 9 names":      {`{"setAttribute":{"path":"a.b.c.d.e.f.g.h.i","value":1}}`, ErrBadRequest, "setAttribute.path"},
		"attribute deep value":   {`{"setAttribute":{"path":"a.b.c.d","value":{"e":{"f":{"g":{"h":{"i":1}}}}}}}`, ErrBadRequest, "setAttribute.value"},
		"attribute deep list":    {`{"setAttribute":{"path":"a.b.c.d.e.f.g.h","value":[1]}}`, ErrBadRequest, "setAttribute.value"},
		"attribute through text": {`{"setAttribute":{"path":"text.a","value":1}}`, ErrBadRequest, "setAttribute.path"},
		"attribute through list": {`{"setAttribute":{"path":"list.0","value":1}}`, ErrBadRequest, "setAttribute.path"},
		"remove no path":         {`{"removeAttribute":{}}`, ErrBadRequest, "removeAttribute.path"},
		"remove through text":    {`{"removeAttribute":{"path":"text.a.b"}}`, ErrBadRequest, "removeAttribute.path"},
		"increment no path":      {`{"incrementAttribute":{"by":1}}`, ErrBadRequest, "incrementAttribute.path"},
		"increment nothing":      {`{"incrementAttribute":{"path":"a"}}`, ErrBadAmount, "incrementAttribute.by"},
		"increment NaN":          {`{"incrementAttribute":{"path":"a","by":"NaN"}}`, ErrBadAmount, "incrementAttribute.by"},
		"increment infinite":     {`{"incrementAttribute":{"path":"a","by":"-Infinity"}}`, ErrBadAmount, "incrementAttribute.by"},
		"increment NaN min":      {`{"incrementAttribute":{"path":"a","by":1,"min":"NaN"}}`, ErrBadRequest, "incrementAttribute.min"},
		"increment NaN max":      {`{"incrementAttribute":{"path":"a","by":1,"max":"NaN"}}`, ErrBadRequest, "incrementAttribute.max"},
		"increment min over max": {`{"incrementAttribute":{"path":"a","by":1,"min":2,"max":1}}`, ErrBadRequest, "incrementAttribute.max"},
		"increment under min":    {`{"incrementAttribute":{"path":"quest.step","by":-2,"min":0}}`, ErrOutOfRange, "incrementAttribute.by"},
		"increment over max":     {`{"incrementAttribute":{"path":"quest.step","by":2,"max":2}}`, ErrOutOfRange, "incrementAttribute.by"},
		"increment text":         {`{"incrementAttribute":{"path":"text","by":1}}`, ErrBadRequest, "incrementAttribute.path"},
		"increment through text": {`{"incrementAttribute":{"path":"text.a","by":1}}`, ErrBadRequest, "incrementAttribute.path"},
		"increment beyond exact": {`{"incrementAttribute":{"path":"quest.step","by":9007199254740991}}`, ErrOverflow, "incrementAttribute.by"},
		"rename to nothing":      {`{"rename":{}}`, ErrBadRequest, "rename.name"},
		"rename control":         {`{"rename":{"name":"a\u0000b"}}`, ErrBadRequest, "rename.name"},
		"rename long":            {fmt.Sprintf(`{"rename":{"name":"%s"}}`, strings.Repeat("é", 65)), ErrTooLarge, "rename.name"},
		"nothing":                {`{}`, ErrBadRequest, ""},
		"only an expectation":    {`{"expect":{"path":"name","value":"Ann"}}`, ErrBadRequest, ""},
	} {
		refuses(t, name, command(t, c.command), c.want, c.field)
	}
}

// refuses checks that cmd is refused with want at field, alone and as the second of two, and changes nothing.
func refuses(t *testing.T, name string, cmd *skerryv1.PlayerCommand, want error, field string) {
	t.Helper()
	p := ann(t)
	before := proto.Clone(p)
	events, reply, err := Decide(nil, p, cmd, testTurn())
	checkRefusal(t, name, err, want, 0, field)
	if events != nil || reply != nil {
		t.Errorf("%s: refused, and yet %v, %v", name, events, reply)
	}
	fine := command(t, `{"setSettings":{"musicVolume":0.1}}`)
	all, replies, err := DecideAll(nil, p, []*skerryv1.PlayerCommand{fine, cmd, fine}, testTurn())
	checkRefusal(t, name+" (second of three)", err, want, 1, field)
	if all != nil || replies != nil || !proto.Equal(p, before) {
		t.Errorf("%s: refused, and yet %v, %v, and the document %v", name, all, replies, p)
	}
}

func checkRefusal(t *testing.T, name string, err, want error, index int, field string) {
	t.Helper()
	path := fmt.Sprintf("commands[%d]", index)
	if field != "" {
		path += "." + field
	}
	var refusal *Refusal
	if !errors.Is(err, want) || !errors.As(err, &refusal) || refusal.Field != path || refusal.CommandIndex != index || refusal.Message == "" {
		t.Errorf("%s: %v, want %v at %s", name, err, want, path)
	}
}

// empties is a list of empty slots.
func empties(count int) string {
	return strings.TrimSuffix(strings.Repeat("{},", count), ",")
}

func TestRefusesWhatJSONCannotSay(t *testing.T) {
	unknown := command(t, `{"setSettings":{"musicVolume":0.1}}`)
	unknown.ProtoReflect().SetUnknown([]byte{0xf8, 0x07, 0x01}) // field 127, varint 1
	onlyUnknown := &skerryv1.PlayerCommand{}
	onlyUnknown.ProtoReflect().SetUnknown([]byte{0xf8, 0x07, 0x01})
	for name, c := range map[string]struct {
		command *skerryv1.PlayerCommand
		want    error
		field   string
	}{
		"nil":              {nil, ErrBadRequest, ""},
		"a newer field":    {unknown, ErrBadRequest, ""},
		"a newer command":  {onlyUnknown, ErrBadRequest, ""},
		"nil earn":         {&skerryv1.PlayerCommand{Command: &skerryv1.PlayerCommand_Earn{}}, ErrBadRequest, "earn.currency"},
		"nil settings":     {&skerryv1.PlayerCommand{Command: &skerryv1.PlayerCommand_SetSettings{}}, ErrBadRequest, "setSettings"},
		"name not UTF-8":   {&skerryv1.PlayerCommand{Command: &skerryv1.PlayerCommand_Rename{Rename: &skerryv1.Rename{Name: "a\xff"}}}, ErrBadRequest, "rename.name"},
		"path not UTF-8":   {&skerryv1.PlayerCommand{Command: &skerryv1.PlayerCommand_SetAttribute{SetAttribute: &skerryv1.SetAttribute{Path: "a\xff", Value: number(1)}}}, ErrBadRequest, "setAttribute.path"},
		"value NaN":        {setTo(nan()), ErrBadRequest, "setAttribute.value"},
		"value NaN inside": {setTo(list(object("a", nan()))), ErrBadRequest, "setAttribute.value"},
		"value not set":    {setTo(list(nil)), ErrBadRequest, "setAttribute.value"},
		"text not UTF-8":   {setTo(text("\xff")), ErrBadRequest, "setAttribute.value"},
		"name inside bad":  {setTo(object("\xff", number(1))), ErrBadRequest, "setAttribute.value"},
	} {
		refuses(t, name, c.command, c.want, c.field)
	}
}
