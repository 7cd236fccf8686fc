package turn

import (
	"errors"

	"github.com/skerry-dev/skerry/actors/items"
	"github.com/skerry-dev/skerry/actors/player"
	"github.com/skerry-dev/skerry/actors/transfer"
	"github.com/skerry-dev/skerry/actors/world"
	"github.com/skerry-dev/skerry/codec/skerryv1"
	"github.com/skerry-dev/skerry/codec/storev1"
	"github.com/skerry-dev/skerry/persistence"
)

// The steps of a transfer, each a turn of one party; package transfer draws them. Each may be repeated: what happened is
// looked for first, and answered once it is durable (After).

// transferRequest runs the step that the coordinator asks for; none is asked for by who creates the transfer.
func (a *asked) transferRequest(req *skerryv1.CreateTransferRequest) Result {
	step := a.env.Step
	if step.GetKind() == storev1.TransferStepKind_LIST {
		return a.listHolds()
	}
	plan, err := transfer.Parse(a.key.Space, req)
	if err != nil {
		return refuse(err)
	}
	switch step.GetKind() {
	case storev1.TransferStepKind_TRANSFER_STEP_KIND_UNSPECIFIED:
		if a.key == plan.Holder.Key {
			return a.hold(plan)
		}
	case storev1.TransferStepKind_CHECK:
		switch a.key {
		case plan.Other.Key:
			return a.checkOther(plan)
		case plan.Holder.Key:
			if result, known := a.sameTransfer(plan); known {
				return result
			}
			return refuse(ErrNotFound)
		}
	case storev1.TransferStepKind_RECEIVE:
		if a.key == plan.Other.Key {
			return a.receive(plan, step.GetHold())
		}
	case storev1.TransferStepKind_END:
		if a.key == plan.Holder.Key {
			return a.endHold(step.GetHold(), step.GetReceived())
		}
	case storev1.TransferStepKind_CLOSE:
		if a.key == plan.Other.Key {
			return a.closeReceived(plan, step.GetHold())
		}
	case storev1.TransferStepKind_DROP:
		if a.key == plan.Holder.Key {
			return a.dropHold(step.GetHold())
		}
	default:
	}
	return refuse(badRequest("legs", "do not give %s that part", a.key))
}

// checkParty refuses who may not move what belongs to the entity, which exists.
func (a *asked) checkParty(p transfer.Party) error {
	if err := a.checkHolder(p.Session); err != nil {
		if errors.Is(err, ErrNoSession) && p.Session == "" {
			return missingSession("; without one of each party a transfer needs scope admin")
		}
		return err
	}
	return nil
}

// checkOther is for before the first step: it saves holding what would only come back.
func (a *asked) checkOther(plan *transfer.Plan) Result {
	if err := a.checkParty(plan.Other); err != nil {
		return refuse(err)
	}
	return Result{Response: transferResponse(&skerryv1.Transfer{Id: plan.ID}), Answer: &storev1.TransferAnswer{}}
}

// hold is the first step. What is known of the id is answered before anything else is looked at.
func (a *asked) hold(plan *transfer.Plan) Result {
	if result, known := a.sameTransfer(plan); known {
		return result
	}
	if err := a.checkParty(plan.Holder); err != nil {
		return refuse(err)
	}
	legs, events, err := player.Hold(a.env.Rules, a.state.GetPlayer(), a.state.GetHolds(), plan)
	if err != nil {
		return refuse(err)
	}
	hold := &storev1.Hold{
		Transfer: plan.ID, SinceMs: a.ms, Request: plan.Request, Legs: legs, Seq: uint64(a.next()),
		Status: skerryv1.TransferStatus_TRANSFER_OPEN,
	}
	if !transfer.BookOf(a.state).RoomToHold(hold) {
		return refuse(ErrTooManyTransfers)
	}
	return Result{
		Entry:   a.transferEntry(events, &storev1.TransferEvent{Event: &storev1.TransferEvent_Held{Held: hold}}),
		Marks:   []persistence.Mark{{Name: transfer.OpenMark, Value: []byte("1")}},
		Durable: true, Response: transferResponse(holdShown(hold)),
		Answer:  &storev1.TransferAnswer{Holds: []*storev1.Hold{hold.CloneVT()}},
		Effects: []Effect{{Key: a.key, Held: hold.GetSeq()}},
	}
}

// sameTransfer answers a transfer that this player, as a holder, remembers; false when it does not.
func (a *asked) sameTransfer(plan *transfer.Plan) (Result, bool) {
	known, hash, hold := a.known(plan.ID)
	switch {
	case known == nil:
		return Result{}, false
	case hash != plan.Hash:
		return refuse(&RequestError{ErrIDReused, "id", "had other legs before; another transfer needs a new id"}), true
	}
	result := Result{After: a.env.Seq, Response: transferResponse(known), Answer: &storev1.TransferAnswer{}}
	if hold != nil {
		result.Answer.Holds = []*storev1.Hold{hold.CloneVT()}
	}
	return result, true
}

// known is what this player, as a holder, remembers of a transfer, with its request's hash; nil when it does not.
func (a *asked) known(id string) (*skerryv1.Transfer, uint64, *storev1.Hold) {
	book := transfer.BookOf(a.state)
	if hold := book.HoldOf(id); hold != nil {
		return holdShown(hold), transfer.Hash(hold.GetRequest()), hold
	}
	if ended := book.EndedOf(id); ended != nil {
		return &skerryv1.Transfer{
			Id: ended.GetTransfer(), Status: ended.GetStatus(), Error: ended.GetError().CloneVT(), CreatedAt: timestamp(ended.GetSinceMs()),
		}, ended.GetRequestHash(), nil
	}
	return nil, 0, nil
}

// receive is the second step: the other party's all or none. Its answer is durable before it is given, a refusal too, so
// that a repeat cannot be answered otherwise.
func (a *asked) receive(plan *transfer.Plan, hold *storev1.Hold) Result {
	book, parts, chunk := a.otherBook(plan)
	if book.Received == nil {
		return refuse(ErrNotFound)
	}
	known, forgotten := book.Answered(plan.Holder.Key.ID, hold)
	switch {
	case known != nil:
		return a.received(plan, known, Result{After: a.env.Seq})
	case forgotten:
		return a.received(plan, &storev1.Received{Refused: a.describe(errLateTransfer())}, Result{After: a.env.Seq})
	}
	received := &storev1.Received{
		Transfer: plan.ID, AtMs: a.ms, From: plan.Holder.Key.ID, HoldSeq: hold.GetSeq(), SinceMs: hold.GetSinceMs(),
	}
	entry := &storev1.Entry{TimeMs: a.ms}
	var err error
	if plan.Other.Chest != nil {
		received.Legs, entry.WorldEvents, err = world.Receive(a.env.WorldRules, a.state.GetWorld(), parts, plan, hold.GetLegs())
	} else {
		received.Legs, entry.PlayerEvents, err = a.receivePlayer(plan, hold)
	}
	if _, refused := errors.AsType[*items.Refusal](err); err != nil && !refused && !errors.Is(err, ErrTooLarge) && !errors.Is(err, ErrNotFound) {
		return refuse(err)
	}
	if err != nil {
		entry.PlayerEvents, entry.WorldEvents, received.Legs = nil, nil, nil
		received.Refused = a.describe(err)
	}
	if !book.RoomToReceive(received) {
		return refuse(ErrTooManyTransfers) // not an answer: it is asked again
	}
	event := &storev1.TransferEvent{Event: &storev1.TransferEvent_Received{Received: received}}
	a.addTransfer(entry, chunk, event)
	result := Result{Entry: entry, Durable: true}
	if err == nil {
		result.Effects = a.changed() // whoever holds the party has not asked for it
	}
	return a.received(plan, received, result)
}

func (a *asked) receivePlayer(plan *transfer.Plan, hold *storev1.Hold) ([]*storev1.HeldLeg, []*storev1.PlayerEvent, error) {
	p := a.state.GetPlayer()
	if p == nil {
		return nil, nil, ErrNotFound
	}
	back, events, err := player.Receive(a.env.Rules, p, a.state.GetHolds(), plan, hold.GetLegs())
	if err != nil {
		return nil, nil, err
	}
	entry := &storev1.Entry{PlayerEvents: events}
	if p.SizeVT()+entry.SizeVT()+growthBytes > MaxDocumentBytes {
		if after := documentAfter(a.state, entry); after > MaxDocumentBytes {
			return nil, nil, &RequestError{ErrTooLarge, "legs", "would make the player too large"}
		}
	}
	return back, events, nil
}

// errLateTransfer refuses a hold that is older than what is remembered here. Had it been received, the holder would have
// closed it long ago.
func errLateTransfer() error {
	return &RequestError{ErrCommandTooOld, "id", "is of a transfer that began before those that the other party remembers; nothing was moved"}
}

// received completes the answer of the second step.
func (a *asked) received(plan *transfer.Plan, received *storev1.Received, result Result) Result {
	result.Response = transferResponse(&skerryv1.Transfer{Id: plan.ID})
	result.Answer = &storev1.TransferAnswer{Received: received.CloneVT()}
	return result
}

// endHold is the third step: the holder's outcome.
func (a *asked) endHold(named *storev1.Hold, received *storev1.Received) Result {
	book := transfer.BookOf(a.state)
	hold := book.HoldWith(named.GetSeq())
	if hold == nil || hold.GetStatus() != skerryv1.TransferStatus_TRANSFER_OPEN {
		return a.answered(named, hold)
	}
	others := make([]*storev1.Hold, 0, len(a.state.GetHolds()))
	for _, other := range a.state.GetHolds() {
		if other != hold {
			others = append(others, other)
		}
	}
	ended := &storev1.HoldEnded{Seq: hold.GetSeq(), Status: skerryv1.TransferStatus_TRANSFER_DONE}
	var events []*storev1.PlayerEvent
	var err error
	if received.GetRefused() != nil {
		ended.Status, ended.Error = skerryv1.TransferStatus_TRANSFER_RETURNED, received.GetRefused()
		events, err = player.Return(a.env.Rules, a.state.GetPlayer(), others, hold)
	} else {
		events, err = player.Close(a.env.Rules, a.state.GetPlayer(), others, hold, received.GetLegs())
	}
	if err != nil {
		return refuse(err)
	}
	shown := holdShown(hold)
	shown.Status, shown.Error = ended.GetStatus(), ended.GetError().CloneVT()
	return Result{
		Entry:   a.transferEntry(events, &storev1.TransferEvent{Event: &storev1.TransferEvent_Ended{Ended: ended}}),
		Durable: true, Response: transferResponse(shown), Answer: &storev1.TransferAnswer{},
	}
}

// answered is a step's answer when there is nothing left to do for it.
func (a *asked) answered(named, hold *storev1.Hold) Result {
	known, _, _ := a.known(named.GetTransfer())
	if hold != nil {
		known = holdShown(hold)
	}
	if known == nil {
		known = &skerryv1.Transfer{Id: named.GetTransfer()}
	}
	return Result{After: a.env.Seq, Response: transferResponse(known), Answer: &storev1.TransferAnswer{}}
}

// closeReceived is the fourth step: the other party may forget.
func (a *asked) closeReceived(plan *transfer.Plan, hold *storev1.Hold) Result {
	book, _, chunk := a.otherBook(plan)
	result := Result{After: a.env.Seq, Response: transferResponse(&skerryv1.Transfer{Id: plan.ID}), Answer: &storev1.TransferAnswer{}}
	if book.Received == nil {
		return result
	}
	known, _ := book.Answered(plan.Holder.Key.ID, hold)
	if known == nil || known.GetClosed() {
		return result
	}
	result.Entry, result.Durable = &storev1.Entry{TimeMs: a.ms}, true
	a.addTransfer(result.Entry, chunk, &storev1.TransferEvent{Event: &storev1.TransferEvent_Closed{
		Closed: &storev1.ReceivedClosed{From: plan.Holder.Key.ID, HoldSeq: hold.GetSeq()},
	}})
	return result
}

// dropHold is the last step: what became of the transfer is remembered for a while.
func (a *asked) dropHold(named *storev1.Hold) Result {
	hold := transfer.BookOf(a.state).HoldWith(named.GetSeq())
	switch {
	case hold == nil:
		return a.answered(named, nil)
	case hold.GetStatus() == skerryv1.TransferStatus_TRANSFER_OPEN:
		return refuse(badRequest("id", "is of a transfer that has not ended"))
	}
	result := Result{
		Entry: a.transferEntry(nil, &storev1.TransferEvent{Event: &storev1.TransferEvent_Dropped{
			Dropped: &storev1.HoldDropped{Seq: hold.GetSeq()},
		}}),
		Durable: true, Response: transferResponse(holdShown(hold)), Answer: &storev1.TransferAnswer{},
	}
	if len(a.state.GetHolds()) == 1 {
		result.Marks = []persistence.Mark{{Name: transfer.OpenMark}}
	}
	return result
}

// listHolds shows the coordinator what a player holds, and what has ended and is not dropped.
func (a *asked) listHolds() Result {
	answer := &storev1.TransferAnswer{}
	for _, hold := range a.state.GetHolds() {
		answer.Holds = append(answer.Holds, hold.CloneVT())
	}
	return Result{After: a.env.Seq, Response: transferResponse(&skerryv1.Transfer{}), Answer: answer}
}

// getTransfer says what a party knows of a transfer, once that is durable.
func (a *asked) getTransfer(req *skerryv1.GetTransferRequest) Result {
	switch {
	case req.GetId() == "" || len(req.GetId()) > transfer.MaxIDBytes:
		return refuse(badRequest("id", "has %d bytes, not 1 to %d", len(req.GetId()), transfer.MaxIDBytes))
	case a.state.GetDocument() == nil:
		return refuse(ErrNotFound)
	}
	book := transfer.BookOf(a.state)
	if chest := req.GetParty().GetChest(); a.key.Kind == persistence.KindWorld {
		if chest == nil {
			return refuse(badRequest("party.chest", "is missing"))
		}
		book = transfer.Book{Received: &a.env.Parts.Chunk(world.ChunkAt(chest.GetX(), chest.GetZ())).Received}
	}
	known, _, _ := a.known(req.GetId())
	if received := book.ReceivedOf(req.GetId()); known == nil && received != nil {
		known = receivedShown(received)
	}
	if known == nil {
		return refuse(ErrNotFound)
	}
	return Result{After: a.env.Seq, Response: &skerryv1.Response{Response: &skerryv1.Response_GetTransfer{
		GetTransfer: &skerryv1.GetTransferResponse{Transfer: known},
	}}}
}

// otherBook is what the other party remembers: the player's, or that of the chest's chunk, which is loaded; of a world that
// does not exist it is empty.
func (a *asked) otherBook(plan *transfer.Plan) (transfer.Book, world.Parts, world.Coord) {
	if plan.Other.Chest == nil {
		return transfer.BookOf(a.state), nil, world.Coord{}
	}
	if a.state.GetWorld() == nil {
		return transfer.Book{}, nil, world.Coord{}
	}
	at := world.ChunkAt(plan.Other.Chest.GetX(), plan.Other.Chest.GetZ())
	return transfer.Book{Received: &a.env.Parts.Chunk(at).Received}, a.env.Parts, at
}

// addTransfer adds a step of the other party to its entry.
func (a *asked) addTransfer(entry *storev1.Entry, chunk world.Coord, event *storev1.TransferEvent) {
	if a.key.Kind != persistence.KindWorld {
		entry.TransferEvents = append(entry.TransferEvents, event)
		return
	}
	entry.WorldEvents = append(entry.WorldEvents, &storev1.WorldEvent{
		X: chunk.X, Z: chunk.Z, Event: &storev1.WorldEvent_Transfer{Transfer: event},
	})
}

func (a *asked) transferEntry(events []*storev1.PlayerEvent, event *storev1.TransferEvent) *storev1.Entry {
	return &storev1.Entry{TimeMs: a.ms, PlayerEvents: events, TransferEvents: []*storev1.TransferEvent{event}}
}

func holdShown(hold *storev1.Hold) *skerryv1.Transfer {
	return &skerryv1.Transfer{
		Id: hold.GetTransfer(), Status: hold.GetStatus(), Legs: hold.GetRequest().CloneVT().GetLegs(), Error: hold.GetError().CloneVT(),
		CreatedAt: timestamp(hold.GetSinceMs()),
	}
}

// receivedShown is what the other party knows: it cannot say that it is over before the holder has closed it.
func receivedShown(received *storev1.Received) *skerryv1.Transfer {
	shown := &skerryv1.Transfer{Id: received.GetTransfer(), Status: skerryv1.TransferStatus_TRANSFER_OPEN, CreatedAt: timestamp(received.GetSinceMs())}
	switch {
	case !received.GetClosed():
	case received.GetRefused() != nil:
		shown.Status, shown.Error = skerryv1.TransferStatus_TRANSFER_RETURNED, received.GetRefused().CloneVT()
	default:
		shown.Status = skerryv1.TransferStatus_TRANSFER_DONE
	}
	return shown
}

func transferResponse(shown *skerryv1.Transfer) *skerryv1.Response {
	return &skerryv1.Response{Response: &skerryv1.Response_CreateTransfer{CreateTransfer: &skerryv1.CreateTransferResponse{Transfer: shown}}}
}
