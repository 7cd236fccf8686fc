// Package transfer is what the parties of a transfer share: what a request asks for, what each of them remembers of it, and
// how stacks leave and enter slots. It is pure.
//
// # The protocol
//
// A transfer has a holder, a player, and another party, a player or a chest. Each step is a turn of one of the two, and safe
// to repeat however often and however late:
//
//	holder  held      what leaves the holder is taken out, room for what comes is reserved, its slots stand still
//	other   received  takes and gives, all legs or none; the answer is remembered, a refusal too
//	holder  ended     what comes is put in (DONE), or what was taken is put back (RETURNED)
//	other   closed    only late repeats can ask for it now
//	holder  dropped   what became of it is remembered for a while
//
// The holder of a transfer with a chest is the player; of one between two players it is the first leg's source. A chest never
// holds, so no chunk is ever held up by a player who is elsewhere.
//
// Start at [Parse] and [Book].
package transfer

import (
	"fmt"

	"github.com/zeebo/xxh3"

	"github.com/skerry-dev/skerry/actors/items"
	"github.com/skerry-dev/skerry/codec/skerryv1"
	"github.com/skerry-dev/skerry/persistence"
)

const (
	// OpenMark is the name of the mark that a player with an open hold carries.
	OpenMark = "transfer/open"
	// MaxIDBytes is the greatest length of a transfer's id.
	MaxIDBytes = 64
	// MaxLegs is the most legs of one transfer.
	MaxLegs = 16
	// maxAmount is the most of a currency that a leg moves: 2^53-1.
	maxAmount = 1<<53 - 1
)

// Plan is a request that is well formed.
type Plan struct {
	ID string
	// Holder is the player who holds, Other the party that receives. They are different.
	Holder, Other Party
	Legs          []Leg
	// Request is the one asked for without its sessions, and Hash is that of its bytes: equal requests have equal ones.
	Request *skerryv1.CreateTransferRequest
	Hash    uint64
}

// Party is a player, or a chest of a world.
type Party struct {
	Key persistence.Key
	// Chest is nil for a player.
	Chest *skerryv1.ChestRef
	// Session is the token that the request has for the party; "" when it has none.
	Session string
	// Field is the JSON path of the party in the request.
	Field string
}

// Leg is one of a plan's. Exactly one of Item and Currency is set.
type Leg struct {
	// Out says that it leaves the holder; else it comes to it.
	Out      bool
	Item     *skerryv1.TransferItem
	Currency *skerryv1.TransferCurrency
	// Field is the JSON path of what moves.
	Field string
}

// Parse reads a request of a space. Its refusals wrap [items.ErrBadRequest], [items.ErrBadAmount], [items.ErrBadSlot] or
// [items.ErrTooLarge] and name the field. The plan shares memory with the request, but for its own Request.
func Parse(space string, req *skerryv1.CreateTransferRequest) (*Plan, error) {
	switch n := len(req.GetLegs()); {
	case req.GetId() == "":
		return nil, Refuse(items.ErrBadRequest, "id", "is missing")
	case len(req.GetId()) > MaxIDBytes:
		return nil, Refuse(items.ErrTooLarge, "id", "has %d bytes, at most %d are allowed", len(req.GetId()), MaxIDBytes)
	case n == 0:
		return nil, Refuse(items.ErrBadRequest, "legs", "are missing")
	case n > MaxLegs:
		return nil, Refuse(items.ErrTooLarge, "legs", "are %d, at most %d are allowed", n, MaxLegs)
	}
	if err := items.CheckText(req.GetId(), MaxIDBytes, "id"); err != nil {
		return nil, BlameNoCommand(err)
	}
	plan := &Plan{ID: req.GetId()}
	first := req.GetLegs()[0]
	var err error
	if plan.Holder, err = party(space, first.GetFrom(), "legs[0].from"); err != nil {
		return nil, err
	}
	if plan.Other, err = party(space, first.GetTo(), "legs[0].to"); err != nil {
		return nil, err
	}
	if plan.Holder.Chest != nil {
		plan.Holder, plan.Other = plan.Other, plan.Holder
	}
	switch {
	case plan.Holder.Chest != nil:
		return nil, Refuse(items.ErrBadRequest, "legs[0]", "is between two chests: one party is a player")
	case plan.Holder.same(plan.Other):
		return nil, Refuse(items.ErrBadRequest, "legs[0].to", "is the same party as from")
	}
	for i := range req.GetLegs() {
		if err := plan.add(space, req.GetLegs()[i], fmt.Sprintf("legs[%d]", i)); err != nil {
			return nil, err
		}
	}
	return plan, plan.strip(req)
}

// strip makes the request without sessions, and its hash.
func (p *Plan) strip(req *skerryv1.CreateTransferRequest) error {
	p.Request = req.CloneVT()
	for _, leg := range p.Request.GetLegs() {
		leg.From.Session, leg.To.Session = "", ""
	}
	data, err := p.Request.MarshalVT()
	if err != nil {
		return fmt.Errorf("hash transfer: %w", err)
	}
	p.Hash = xxh3.Hash(data)
	return nil
}

// Hash is the [Plan]'s of a request that has no sessions.
func Hash(stripped *skerryv1.CreateTransferRequest) uint64 {
	data, err := stripped.MarshalVT()
	if err != nil { // vtprotobuf's encoder fails for no message
		return 0
	}
	return xxh3.Hash(data)
}

func (p *Plan) add(space string, leg *skerryv1.TransferLeg, field string) error {
	if leg == nil || len(leg.ProtoReflect().GetUnknown()) > 0 {
		return Refuse(items.ErrBadRequest, field, "is missing, or has fields that this version does not know")
	}
	from, err := party(space, leg.GetFrom(), field+".from")
	if err != nil {
		return err
	}
	to, err := party(space, leg.GetTo(), field+".to")
	if err != nil {
		return err
	}
	out := p.Holder.same(from)
	if !out {
		from, to = to, from
	}
	if !p.Holder.same(from) || !p.Other.same(to) {
		return Refuse(items.ErrBadRequest, field, "is not between the parties of legs[0]")
	}
	if err = p.Holder.join(from); err != nil {
		return err
	}
	if err = p.Other.join(to); err != nil {
		return err
	}
	added := Leg{Out: out, Item: leg.GetItem(), Currency: leg.GetCurrency()}
	switch {
	case added.Item != nil:
		added.Field = field + ".item"
		err = p.checkItem(added)
	case added.Currency != nil:
		added.Field = field + ".currency"
		err = p.checkCurrency(added)
	default:
		err = Refuse(items.ErrBadRequest, field, "moves nothing: give item or currency")
	}
	p.Legs = append(p.Legs, added)
	return err
}

func (p *Plan) checkItem(leg Leg) error {
	item, source := leg.Item, p.Holder
	if !leg.Out {
		source = p.Other
	}
	switch {
	case len(item.ProtoReflect().GetUnknown()) > 0:
		return Refuse(items.ErrBadRequest, leg.Field, "has fields that this version does not know")
	case item.GetSlot() != nil && source.Chest != nil:
		return Refuse(items.ErrBadSlot, leg.Field+".slot", "is a player's: a chest's is chestSlot")
	case item.ChestSlot != nil && source.Chest == nil:
		return Refuse(items.ErrBadSlot, leg.Field+".chestSlot", "is a chest's: a player's is slot")
	case item.GetItemId() < 0:
		return Refuse(items.ErrBadRequest, leg.Field+".itemId", "is %d, negative", item.GetItemId())
	case item.GetCount() < 0:
		return Refuse(items.ErrBadAmount, leg.Field+".count", "is %d, negative", item.GetCount())
	case item.GetSlot() == nil && item.ChestSlot == nil && item.GetItemId() == 0:
		return Refuse(items.ErrBadRequest, leg.Field, "names neither a slot nor an item")
	case item.GetSlot() == nil && item.ChestSlot == nil && item.GetCount() == 0:
		return Refuse(items.ErrBadAmount, leg.Field+".count", "is 0, which means all of a slot: none is named")
	}
	return nil
}

func (p *Plan) checkCurrency(leg Leg) error {
	switch c := leg.Currency; {
	case len(c.ProtoReflect().GetUnknown()) > 0:
		return Refuse(items.ErrBadRequest, leg.Field, "has fields that this version does not know")
	case p.Other.Chest != nil:
		return Refuse(items.ErrBadRequest, leg.Field, "is of a chest, which has no currency")
	case c.GetCurrency() < skerryv1.Currency_COINS || c.GetCurrency() > skerryv1.Currency_MANA_CRYSTALS:
		return Refuse(items.ErrBadRequest, leg.Field+".currency", "is none of COINS, GEMS, MANA_CRYSTALS")
	case c.GetAmount() < 1 || c.GetAmount() > maxAmount:
		return Refuse(items.ErrBadAmount, leg.Field+".amount", "is %d, not within 1..%d", c.GetAmount(), int64(maxAmount))
	}
	return nil
}

// party reads one end of a leg.
func party(space string, p *skerryv1.TransferParty, field string) (Party, error) {
	read := Party{Key: persistence.Key{Space: space}, Session: p.GetSession(), Field: field}
	switch of := p.GetParty().(type) {
	case *skerryv1.TransferParty_Player:
		read.Key.Kind, read.Key.ID = persistence.KindPlayer, of.Player
	case *skerryv1.TransferParty_Chest:
		read.Key.Kind, read.Key.ID, read.Chest = persistence.KindWorld, of.Chest.GetWorld(), of.Chest
	default:
		return Party{}, Refuse(items.ErrBadRequest, field, "names neither a player nor a chest")
	}
	if err := read.Key.Validate(); err != nil {
		return Party{}, Refuse(items.ErrBadRequest, field, "%s", err)
	}
	return read, nil
}

// same reports whether two parties are one, whatever their sessions.
func (p Party) same(q Party) bool {
	if p.Key != q.Key || (p.Chest == nil) != (q.Chest == nil) {
		return false
	}
	return p.Chest.GetX() == q.Chest.GetX() && p.Chest.GetY() == q.Chest.GetY() && p.Chest.GetZ() == q.Chest.GetZ()
}

// join takes over what another leg says of the same party.
func (p *Party) join(q Party) error {
	switch {
	case q.Session == "":
	case p.Session == "":
		p.Session, p.Field = q.Session, q.Field
	case p.Session != q.Session:
		return Refuse(items.ErrBadRequest, q.Field+".session", "is another than that of the same party before")
	}
	return nil
}

// Refuse makes a refusal that blames no command.
func Refuse(sentinel error, field, format string, args ...any) error {
	return BlameNoCommand(items.Refuse(sentinel, field, format, args...))
}

// BlameNoCommand makes a refusal one that is of no command.
func BlameNoCommand(err error) error {
	if refusal, ok := err.(*items.Refusal); ok { //nolint:errorlint // made by items.Refuse, never wrapped
		refusal.CommandIndex = -1
	}
	return err
}

// HolderOf is the player who holds in the transfer that req asks for; false when req is not well formed.
func HolderOf(space string, req *skerryv1.CreateTransferRequest) (persistence.Key, bool) {
	plan, err := Parse(space, req)
	if err != nil {
		return persistence.Key{}, false
	}
	return plan.Holder.Key, true
}
