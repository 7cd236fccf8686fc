package simulation

import (
	"errors"
	"fmt"
	"time"

	"github.com/skerry-dev/skerry/actors/player"
	"github.com/skerry-dev/skerry/actors/turn"
	"github.com/skerry-dev/skerry/codec/skerryv1"
	"github.com/skerry-dev/skerry/persistence"
)

// virtualPlayer is somebody whom game servers play with.
type virtualPlayer struct {
	app     *entities
	key     persistence.Key
	durable int  // how many of a thousand commands are
	strict  bool // DURABLE commands only: its coins are linearizable, and nothing of it is ever lost
	ops     []*clientOp
}

// gameServer is a virtual game server: it opens sessions, sends commands with rising ids, and sends them again when it does
// not know what became of them.
type gameServer struct {
	app      *entities
	name     string
	openings int
	sessions map[*virtualPlayer]*clientSession // nil, or being opened, or open as far as it knows
	flying   int
}

// clientSession is a session as its server knows it.
type clientSession struct {
	number int // of the opening, among all of the run: what the model tells them apart by
	token  string
	seq    int64 // of the opening
	nextID int64
	flying int
	over   bool
}

// opKind is what an operation asks for.
type opKind uint8

const (
	opOpen opKind = iota
	opEarn
	opRead
	opSave
)

// opOutcome is what became of an operation.
type opOutcome uint8

const (
	opPending opOutcome = iota
	opApplied
	opRefused // by the rules
	opTaken   // the session was another's
	opAbsent  // there was no such player
)

// clientOp is one operation of a game server, through all of its tries.
type clientOp struct {
	server  *gameServer
	player  *virtualPlayer
	session *clientSession
	kind    opKind
	request *skerryv1.Request
	id      int64 // of the command
	amount  int64
	durable bool
	delayed bool // the opening was not answered by its first try: what it shows is of later

	tries       int
	began, done int64 // moments
	abandoned   bool
	outcome     opOutcome
	seq, coins  int64
	message     string
}

// String says what it is, for stories.
func (o *clientOp) String() string {
	if o == nil {
		return "a step of a transfer"
	}
	switch o.kind {
	case opOpen:
		return fmt.Sprintf("%s opens session %d of %s", o.server.name, o.session.number, o.player.key.ID)
	case opEarn:
		return fmt.Sprintf("%s's command %d of session %d of %s, %+d coins, durable %v", o.server.name, o.id, o.session.number, o.player.key.ID, o.amount, o.durable)
	case opRead:
		return fmt.Sprintf("%s reads %s", o.server.name, o.player.key.ID)
	default:
		return fmt.Sprintf("%s saves %s", o.server.name, o.player.key.ID)
	}
}

// The bounds of a game server.
const (
	maxServerFlying  = 4
	maxSessionFlying = 3
)

// act begins an operation, and sees to the next.
func (s *gameServer) act() {
	e := s.app
	if e.w.healed || e.Idle() {
		return
	}
	pause := e.w.Between(0, 30*time.Millisecond)
	if e.w.Chance(30) {
		pause = e.w.Between(0, 3*time.Second) // long enough for players to be passivated, and saved
	}
	e.w.After(pause, s.act)
	if s.flying >= maxServerFlying {
		return
	}
	p := e.players[e.w.Rand.IntN(len(e.players))]
	session := s.sessions[p]
	switch {
	case e.w.Chance(200):
		s.begin(&clientOp{kind: opRead, player: p, request: &skerryv1.Request{Request: &skerryv1.Request_GetPlayer{GetPlayer: &skerryv1.GetPlayerRequest{}}}})
	case session == nil || session.over || session.token != "" && e.w.Chance(15):
		if session == nil || session.over && e.w.Chance(150) || session.token != "" { // else it leaves the player to others for a while
			s.openSession(p)
		}
	case session.token == "" || session.flying >= maxSessionFlying:
	case e.w.Chance(30):
		s.begin(&clientOp{kind: opSave, player: p, session: session, request: &skerryv1.Request{Request: &skerryv1.Request_SavePlayer{
			SavePlayer: &skerryv1.SavePlayerRequest{Session: session.token},
		}}})
	default:
		s.command(p, session)
	}
}

func (s *gameServer) openSession(p *virtualPlayer) {
	s.openings++
	s.app.counts.Opens++
	session := &clientSession{number: s.app.counts.Opens}
	s.sessions[p] = session
	s.begin(&clientOp{kind: opOpen, player: p, session: session, durable: true, request: &skerryv1.Request{
		Request: &skerryv1.Request_OpenPlayerSession{OpenPlayerSession: &skerryv1.OpenPlayerSessionRequest{
			Server: s.name, Name: "Ann", OpenId: fmt.Sprintf("%s-%d", s.name, s.openings),
		}},
	}})
}

// command earns or spends coins; what is spent is often more than there is.
func (s *gameServer) command(p *virtualPlayer, session *clientSession) {
	w := s.app.w
	session.nextID++
	o := &clientOp{kind: opEarn, player: p, session: session, id: session.nextID, durable: w.Chance(p.durable), amount: 1 + w.Rand.Int64N(60)}
	execute := &skerryv1.ExecutePlayerRequest{Session: session.token, CommandId: o.id, Durability: skerryv1.Durability_DURABLE}
	if !o.durable {
		execute.Durability = skerryv1.Durability_MEMORY
	}
	command := &skerryv1.PlayerCommand{Command: &skerryv1.PlayerCommand_Earn{Earn: &skerryv1.Earn{Currency: skerryv1.Currency_COINS, Amount: o.amount}}}
	if w.Chance(450) {
		o.amount *= -2
		command.Command = &skerryv1.PlayerCommand_Spend{Spend: &skerryv1.Spend{Currency: skerryv1.Currency_COINS, Amount: -o.amount}}
	}
	execute.Commands = append(execute.Commands, command)
	o.request = &skerryv1.Request{Request: &skerryv1.Request_ExecutePlayer{ExecutePlayer: execute}}
	s.begin(o)
}

func (s *gameServer) begin(o *clientOp) {
	e := s.app
	o.server = s
	e.begun++
	e.open++
	e.w.Counts.Ops++
	s.flying++
	if o.session != nil {
		o.session.flying++
	}
	switch {
	case o.kind == opRead:
		e.counts.Reads++
	case o.kind == opEarn && o.durable:
		e.counts.Durable++
	case o.kind == opEarn:
		e.counts.Memory++
	}
	o.player.ops = append(o.player.ops, o)
	o.began = e.tick()
	o.try()
}

// tick is the next moment: what clients see is in an order.
func (e *entities) tick() int64 {
	e.moment++
	return e.moment
}

// send carries a request to the node that seems to own the player, or to another one.
func (e *entities) send(key persistence.Key, request *skerryv1.Request, op *clientOp, then func(entityAnswer)) {
	n := e.guess(e.partitionOf(key))
	e.w.Ask(n.id, func(n *Node) {
		h := e.hosts[n]
		if h == nil {
			return
		}
		h.do(&entityCall{key: key, request: request, op: op, reply: func(a entityAnswer) { n.Answer(func() { then(a) }) }})
	})
}

// guess is a node that may own p: the newest owner, one that only believes that it is, or any.
func (e *entities) guess(p persistence.Partition) *Node {
	n := e.w.Owner(p)
	if e.w.healed && n != nil {
		return n
	}
	switch luck := e.w.Rand.IntN(100); {
	case luck < 8:
		n = nil
	case luck < 50:
		var owners []*Node
		for _, other := range e.w.nodes {
			if _, owns := other.Owns(p); owns {
				owners = append(owners, other)
			}
		}
		if len(owners) > 0 {
			n = owners[e.w.Rand.IntN(len(owners))]
		}
	}
	if n == nil {
		n = e.w.nodes[e.w.Rand.IntN(len(e.w.nodes))]
	}
	return n
}

// try sends the operation once more; when nothing is heard of it for a while, it is tried again.
func (o *clientOp) try() {
	e := o.server.app
	o.tries++
	if o.tries > 1 {
		e.counts.Retries++
	}
	mine, heard := o.tries, false
	e.send(o.player.key, o.request, o, func(a entityAnswer) {
		if heard {
			return
		}
		heard = true
		o.hear(a, mine)
	})
	e.w.After(e.w.Between(200*time.Millisecond, 2*time.Second), func() {
		if !heard {
			o.again(true)
		}
	})
}

// again sees to the next try, unless the operation is over or its server gives up. When it is not known whether an earlier
// try took effect, the server may ask first.
func (o *clientOp) again(unknown bool) {
	e := o.server.app
	if o.outcome != opPending || o.abandoned {
		return
	}
	if unknown && o.kind == opEarn && !e.w.healed && e.w.Chance(30) {
		o.abandoned = true
		e.counts.Abandoned++
		o.end()
		return
	}
	e.w.After(e.w.Between(5*time.Millisecond, 150*time.Millisecond), func() {
		if o.outcome != opPending || o.abandoned {
			return
		}
		if unknown && o.kind == opEarn && e.w.Chance(300) {
			o.ask()
			return
		}
		o.try()
	})
}

// ask asks what became of a command.
func (o *clientOp) ask() {
	e := o.server.app
	e.counts.Asked++
	request := &skerryv1.Request{Request: &skerryv1.Request_GetPlayerCommand{
		GetPlayerCommand: &skerryv1.GetPlayerCommandRequest{Session: o.session.token, CommandId: o.id},
	}}
	heard := false
	e.send(o.player.key, request, nil, func(a entityAnswer) {
		if heard || o.outcome != opPending || o.abandoned {
			return
		}
		heard = true
		said := a.response.GetGetPlayerCommand()
		switch said.GetStatus() {
		case "APPLIED":
			o.applied(said.GetReply())
		case "REFUSED":
			o.refused(said.GetError().GetMessage())
		case "FORGOTTEN":
			o.abandoned = true
			e.counts.Abandoned++
			o.end()
		default: // NOT_SEEN, or a failure
			o.try()
		}
	})
	e.w.After(2*time.Second, func() {
		if !heard {
			heard = true
			o.again(true)
		}
	})
}

// hear takes the answer to a try.
func (o *clientOp) hear(a entityAnswer, try int) {
	if o.outcome != opPending || o.abandoned {
		return
	}
	var remembered *turn.RememberedError
	switch err := a.err; {
	case err == nil && o.kind == opEarn:
		o.applied(a.response.GetExecutePlayer())
	case err == nil:
		o.delayed = o.tries > 1
		o.shown(a.response)
	case errors.Is(err, persistence.ErrOutcomeUnknown):
		o.again(true)
	case errors.Is(err, persistence.ErrNotOwner), errors.Is(err, persistence.ErrQueueFull), errors.Is(err, errEntityBusy),
		errors.Is(err, errEntityStalled), errors.Is(err, errEntityLoad):
		o.again(try > 1)
	case errors.As(err, &remembered):
		o.refused(remembered.Refused.GetMessage())
	case errors.Is(err, player.ErrInsufficientFunds):
		o.refused(err.Error())
	case errors.Is(err, turn.ErrSessionTaken), errors.Is(err, turn.ErrSessionEnded):
		o.session.over = true
		o.server.app.counts.Taken++
		o.conclude(opTaken)
	case errors.Is(err, turn.ErrNotFound):
		o.conclude(opAbsent)
	default:
		o.server.app.w.Fail("answers", o.server.app.partitionOf(o.player.key), "%v was answered with %v", o, err)
	}
}

// shown takes the answer to what is no command.
func (o *clientOp) shown(r *skerryv1.Response) {
	switch o.kind {
	case opOpen:
		opened := r.GetOpenPlayerSession()
		o.session.token, o.session.seq = opened.GetSession(), opened.GetSeq()
		o.seq, o.coins = opened.GetSeq(), coinsOf(opened.GetPlayer())
	case opRead:
		o.seq, o.coins = r.GetGetPlayer().GetSeq(), coinsOf(r.GetGetPlayer().GetPlayer())
	default:
	}
	o.conclude(opApplied)
}

func (o *clientOp) applied(r *skerryv1.ExecutePlayerResponse) {
	o.seq = r.GetSeq()
	for _, reply := range r.GetReplies() {
		o.coins = reply.GetBalance().GetBalance()
	}
	o.conclude(opApplied)
}

func (o *clientOp) refused(message string) {
	o.message = message
	o.server.app.counts.Refused++
	o.conclude(opRefused)
}

func (o *clientOp) conclude(outcome opOutcome) {
	e := o.server.app
	o.outcome = outcome
	o.done = e.tick()
	e.w.Counts.Acked++
	o.end()
	if o.kind == opEarn && o.durable && outcome != opTaken && e.w.Chance(150) {
		e.w.After(e.w.Between(0, 3*time.Second), o.repeat)
	}
}

func (o *clientOp) end() {
	o.server.app.open--
	o.server.flying--
	if o.session != nil {
		o.session.flying--
	}
}

// repeat sends a command again that was answered long ago: it must be answered as it was, and change nothing.
func (o *clientOp) repeat() {
	e := o.server.app
	e.counts.Repeats++
	e.send(o.player.key, o.request, o, func(a entityAnswer) {
		var message string
		var remembered *turn.RememberedError
		switch {
		case a.err == nil:
		case errors.As(a.err, &remembered):
			message = remembered.Refused.GetMessage()
		case errors.Is(a.err, player.ErrInsufficientFunds):
			message = a.err.Error()
		case errors.Is(a.err, turn.ErrSessionTaken), errors.Is(a.err, turn.ErrCommandTooOld):
			if o.player.commands() < turn.MaxOutcomes {
				e.w.Fail("same answer", e.partitionOf(o.player.key), "%v was done, and is forgotten: %v", o, a.err)
			}
			return
		default:
			return // it was not done now; nothing is known from that
		}
		again := a.response.GetExecutePlayer()
		coins := int64(0)
		for _, reply := range again.GetReplies() {
			coins = reply.GetBalance().GetBalance()
		}
		if message != o.message || again.GetSeq() != o.seq || coins != o.coins {
			e.w.Fail("same answer", e.partitionOf(o.player.key), "%v was answered with seq %d, %d coins, %q, and then with seq %d, %d coins, %q (%v)",
				o, o.seq, o.coins, o.message, again.GetSeq(), coins, message, a.err)
		}
	})
}

// commands is how many commands were begun.
func (p *virtualPlayer) commands() int {
	n := 0
	for _, o := range p.ops {
		if o.kind == opEarn {
			n++
		}
	}
	return n
}
