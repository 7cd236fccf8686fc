package loadtest

import (
	"math"
	"math/rand/v2"
	"time"
)

// model says who does what when. It is pure: it knows nothing of answers, and the same scenario and seed give the same moments in the
// same order. Its times are the scenario's.
//
// Players join each server as a Poisson process, at the rate at which they are replaced. How long they stay is a Weibull
// distribution of shape 0.5, as measured on public game servers: F. Chang and W. Feng, "Modeling Player Session Times of On-line
// Games", NetGames 2003; C. Chambers et al., "Measurement-based Characterization of a Collection of On-line Games", IMC 2005. It
// decreases more slowly than an exponential one: most leave soon, some stay for hours. Between a player's actions are
// exponential times, so that each server's actions are a Poisson process too.
type model struct {
	s      *Scenario
	random *rand.Rand
	now    time.Duration
	due    queue
	order  uint64 // of events of the same moment
	names  mixer

	present  [][]*visit // by server, in any order
	absent   []uint32   // players who have left
	players  uint32     // how many there ever were
	sessions uint32
	noise    float64 // of the first server
	closed   bool
}

// visit is one player's stay on one server.
type visit struct {
	player, session uint32
	server, place   int // place in present
	ends            time.Duration
	plan            uint32   // the newest; older ones are void
	own             rand.PCG // what this player does, whatever others do
}

// momentKind is what happens at a moment.
type momentKind uint8

const (
	momentJoin momentKind = iota
	// momentHop is a join of one who was elsewhere until now.
	momentHop
	momentLeave
	momentAct
	momentEvent
)

// moment is something that should happen at a time.
type moment struct {
	at     time.Duration
	kind   momentKind
	act    action
	server int
	// player's session; both count from 0. other is another player of the server, for trades; it may be the same one.
	player, session, other uint32
	// draw is chance for the details of an action.
	draw uint64
	// event is the index of one of the scenario's.
	event int
}

// entry is what is due: a visit's next action, the next join of a server, or an event.
type entry struct {
	at     time.Duration
	order  uint64
	kind   momentKind
	visit  *visit
	plan   uint32
	server int
	event  int
	more   int // of an event that is spread: how many are left
}

// maxStay bounds a session: a day.
const maxStay = 24 * time.Hour

func newModel(s *Scenario, seed uint64) *model {
	m := &model{s: s, random: rand.New(rand.NewPCG(seed, 1)), names: newMixer(&s.Mix), present: make([][]*visit, s.Servers), noise: 1}
	if s.Full {
		for server := range s.Servers {
			for range s.Players {
				m.push(entry{kind: momentJoin, server: server, more: -1})
			}
		}
	}
	for server := range s.Servers {
		m.push(entry{at: m.untilJoin(), kind: momentJoin, server: server})
	}
	for i := range s.Events {
		m.push(entry{at: minutes(s.Events[i].At), kind: momentEvent, event: i, more: -1})
	}
	return m
}

func (m *model) push(e entry) {
	m.order++
	e.order = m.order
	m.due.push(e)
}

// untilJoin draws the time to a server's next join: as many come as leave for good.
func (m *model) untilJoin() time.Duration {
	going := 1 - m.s.Hop/100
	if going <= 0 {
		return maxStay
	}
	mean := 2 * m.s.Session / float64(m.s.Players) / going // minutes; a session lasts twice its scale in the mean
	return exponential(m.random, mean)
}

// exponential draws a time; mean is in minutes.
func exponential(random *rand.Rand, mean float64) time.Duration {
	return min(minutes(random.ExpFloat64()*mean), maxStay)
}

// stay draws how long one stays who joins now.
func (m *model) stay() time.Duration {
	e := m.random.ExpFloat64() // Weibull of shape 1/2: the square of an exponential
	return min(minutes(m.s.Session*e*e), maxStay)
}

// rest draws how long one stays yet who is found on a server that has been open for long: longer stays are found more often.
func (m *model) rest() time.Duration {
	g := m.random.ExpFloat64() + m.random.ExpFloat64() + m.random.ExpFloat64() // Weibull weighted by length: the square of a Gamma(3)
	return min(minutes(m.s.Session*g*g*m.random.Float64()), maxStay)
}

// next returns the next moment; it reports false when the scenario is over.
func (m *model) next() (moment, bool) {
	for len(m.due) > 0 {
		e := m.due.pop()
		if e.at > minutes(m.s.Minutes) {
			return moment{}, false
		}
		m.now = e.at
		if got, ok := m.step(&e); ok {
			return got, true
		}
	}
	return moment{}, false
}

// step is one entry; it reports false when nothing comes of it.
func (m *model) step(e *entry) (moment, bool) {
	switch {
	case e.kind == momentEvent:
		return m.event(e)
	case m.closed:
		return moment{}, false
	case e.kind == momentJoin:
		return m.arrive(e)
	case e.plan != e.visit.plan:
		return moment{}, false
	case e.at >= e.visit.ends:
		return m.leave(e.visit)
	default:
		return m.act(e.visit)
	}
}

// arrive is a player who joins, found there at the beginning (more < 0) or by chance.
func (m *model) arrive(e *entry) (moment, bool) {
	if e.more < 0 {
		return m.join(e.server, m.rest()), true
	}
	m.push(entry{at: m.now + m.untilJoin(), kind: momentJoin, server: e.server})
	return m.join(e.server, m.stay()), true
}

// join lets a player come to a server.
func (m *model) join(server int, stay time.Duration) moment {
	player := m.players
	if len(m.absent) > 0 && m.random.Float64()*100 >= m.s.Newcomers {
		i := m.random.IntN(len(m.absent))
		player = m.absent[i]
		m.absent[i] = m.absent[len(m.absent)-1]
		m.absent = m.absent[:len(m.absent)-1]
	} else {
		m.players++
	}
	return m.visit(momentJoin, player, server, stay)
}

func (m *model) visit(kind momentKind, player uint32, server int, stay time.Duration) moment {
	v := &visit{
		player: player, session: m.sessions, server: server, place: len(m.present[server]), ends: m.now + stay,
		own: *rand.NewPCG(m.random.Uint64(), m.random.Uint64()),
	}
	m.sessions++
	m.present[server] = append(m.present[server], v)
	m.think(v)
	return moment{at: m.now, kind: kind, act: actOpen, server: server, player: player, session: v.session}
}

// think plans a visit's next action, or its end.
func (m *model) think(v *visit) {
	at := v.ends
	if rate := m.rate(v.server); rate > 0 {
		at = min(at, m.now+exponential(rand.New(&v.own), 1/rate))
	}
	v.plan++
	m.push(entry{at: at, kind: momentAct, visit: v, plan: v.plan})
}

// rate is how many actions a player of the server does in a minute.
func (m *model) rate(server int) float64 {
	if server == 0 {
		return m.s.Actions * m.noise
	}
	return m.s.Actions
}

func (m *model) act(v *visit) (moment, bool) {
	draw := v.own.Uint64()
	others := m.present[v.server]
	other := others[int((draw>>40)%uint64(len(others)))]
	m.think(v)
	return moment{
		at: m.now, kind: momentAct, act: m.names.pick(v.own.Uint64()), server: v.server,
		player: v.player, session: v.session, other: other.player, draw: draw,
	}, true
}

// leave ends a visit: the player goes, or is on another server at the same moment.
func (m *model) leave(v *visit) (moment, bool) {
	m.remove(v)
	if m.random.Float64()*100 < m.s.Hop {
		to := (v.server + 1 + m.random.IntN(m.s.Servers-1)) % m.s.Servers
		return m.visit(momentHop, v.player, to, m.stay()), true
	}
	m.absent = append(m.absent, v.player)
	return moment{at: m.now, kind: momentLeave, act: actLeave, server: v.server, player: v.player, session: v.session}, true
}

func (m *model) remove(v *visit) {
	v.plan++
	there := m.present[v.server]
	last := there[len(there)-1]
	there[v.place], last.place = last, v.place
	m.present[v.server] = there[:len(there)-1]
}

// event is something of the scenario's list: done at once, or spread over a time, one player after another.
func (m *model) event(e *entry) (moment, bool) {
	of := &m.s.Events[e.event]
	here := moment{at: m.now, kind: momentEvent, event: e.event}
	if e.more < 0 { // the beginning
		e.more = m.begin(of, e.event)
		m.spread(e, of)
		return here, true
	}
	switch {
	case of.Do == DoNoise:
		m.makeNoise(1)
		return here, true
	case e.more == 0 || m.closed:
		return moment{}, false
	}
	e.more--
	m.spread(e, of)
	if of.Do == DoJoin {
		return m.join(e.more%m.s.Servers, m.stay()), true
	}
	return m.leaveAny()
}

// begin starts an event, and returns how many players it is about.
func (m *model) begin(of *Event, index int) int {
	switch of.Do {
	case DoJoin:
		return of.Players * m.s.Servers
	case DoLeave:
		there := 0
		for _, p := range m.present {
			there += len(p)
		}
		return int(math.Round(float64(there) * of.Percent / 100))
	case DoNoise:
		m.push(entry{at: m.now + minutes(of.For), kind: momentEvent, event: index, more: 1})
		m.makeNoise(of.Times)
	case DoClose:
		m.closed = true
	case DoKill, DoRestart:
	}
	return 0
}

// makeNoise changes how much the first server's players do. What they had planned was at the old rate, so they plan again.
func (m *model) makeNoise(times float64) {
	m.noise = times
	for _, v := range m.present[0] {
		m.think(v)
	}
}

// spread plans the next of the players that an event is about.
func (m *model) spread(e *entry, of *Event) {
	if e.more <= 0 || of.Do == DoNoise {
		return
	}
	left := minutes(of.At+of.Within) - m.now
	m.push(entry{at: m.now + left/time.Duration(e.more), kind: momentEvent, event: e.event, more: e.more})
}

// leaveAny lets somebody leave, from the fullest server.
func (m *model) leaveAny() (moment, bool) {
	fullest := 0
	for server, there := range m.present {
		if len(there) > len(m.present[fullest]) {
			fullest = server
		}
	}
	there := m.present[fullest]
	if len(there) == 0 {
		return moment{}, false
	}
	v := there[m.random.IntN(len(there))]
	m.remove(v)
	m.absent = append(m.absent, v.player)
	return moment{at: m.now, kind: momentLeave, act: actLeave, server: v.server, player: v.player, session: v.session}, true
}

// mixer picks actions by their weights.
type mixer struct{ upTo [mixed]uint64 }

func newMixer(m *Mix) mixer {
	var x mixer
	sum := uint64(0)
	for i, w := range m.weights() {
		sum += uint64(max(w, 0)) //nolint:gosec // not negative
		x.upTo[i] = sum
	}
	return x
}

func (x *mixer) pick(draw uint64) action {
	sum := x.upTo[mixed-1]
	if sum == 0 {
		return actMove
	}
	at := draw % sum
	for i, upTo := range x.upTo {
		if at < upTo {
			return action(i) //nolint:gosec // below mixed
		}
	}
	return actMove
}

// queue is a heap of what is due, the earliest first. (container/heap would allocate twice for each action.)
type queue []entry

func (q queue) before(a, b int) bool {
	if q[a].at != q[b].at {
		return q[a].at < q[b].at
	}
	return q[a].order < q[b].order
}

func (q *queue) push(e entry) {
	h := append(*q, e)
	for i := len(h) - 1; i > 0 && h.before(i, (i-1)/2); i = (i - 1) / 2 {
		h[i], h[(i-1)/2] = h[(i-1)/2], h[i]
	}
	*q = h
}

func (q *queue) pop() entry {
	h := *q
	first, last := h[0], len(h)-1
	h[0], h[last] = h[last], entry{}
	h = h[:last]
	for i := 0; ; {
		least := i
		for _, child := range [2]int{2*i + 1, 2*i + 2} {
			if child < last && h.before(child, least) {
				least = child
			}
		}
		if least == i {
			*q = h
			return first
		}
		h[i], h[least] = h[least], h[i]
		i = least
	}
}
