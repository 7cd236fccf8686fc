package actors

import (
	"sync"
	"sync/atomic"

	"github.com/asynkron/protoactor-go/actor"
)

// mailbox is where the messages of one actor wait: protoactor's actor.Mailbox. Protoactor's own keeps some ten small objects
// for each actor, all of them cold when the next command comes, and is reached through two more (see DESIGN.md). This
// one is a single object with room for the usual one message, and the host tells it directly.
type mailbox struct {
	workers *workers
	invoker invoker // immutable once the actor was spawned

	activation atomic.Pointer[activation] // nil before its first message

	mu        sync.Mutex
	taken     uint32 // of more
	scheduled bool   // the workers have it, or one of them runs it
	suspended bool   // only the system's messages run
	first     any    // the oldest message, nil: there is none
	more      []any  // after it; bounded by the activation's queued
	system    []any  // protoactor's own, which go first
}

var _ actor.Mailbox = (*mailbox)(nil)

// invoker is the actor's side of protoactor.
type invoker interface {
	actor.MessageInvoker
	Self() *actor.PID
}

// keptRoom is how many messages an empty mailbox keeps room for.
const keptRoom = 4

// PostUserMessage implements actor.Mailbox. The first message is the activation, which tells the mailbox itself from then on.
func (m *mailbox) PostUserMessage(message any) {
	if a, ok := message.(*activation); ok {
		m.activation.Store(a)
		a.mailbox = m
	}
	m.post(message)
}

// post never blocks. The caller has counted the message in the activation's queued: the mailbox itself has no bound.
func (m *mailbox) post(message any) {
	m.mu.Lock()
	if m.first == nil {
		m.first = message
	} else {
		if len(m.more) == cap(m.more) && int(m.taken) > len(m.more)/2 { // make room instead of growing
			n := copy(m.more, m.more[m.taken:])
			clear(m.more[n:])
			m.more, m.taken = m.more[:n], 0
		}
		m.more = append(m.more, message)
	}
	m.scheduleAndUnlock(!m.suspended)
}

// PostSystemMessage implements actor.Mailbox.
func (m *mailbox) PostSystemMessage(message any) {
	m.mu.Lock()
	m.system = append(m.system, message)
	m.scheduleAndUnlock(true)
}

func (m *mailbox) scheduleAndUnlock(wanted bool) {
	schedules := wanted && !m.scheduled
	m.scheduled = m.scheduled || wanted
	m.mu.Unlock()
	if schedules {
		m.workers.schedule(m)
	}
}

// RegisterHandlers implements actor.Mailbox. The dispatcher is not used: the workers are.
func (m *mailbox) RegisterHandlers(of actor.MessageInvoker, _ actor.Dispatcher) {
	m.invoker = of.(invoker) //nolint:forcetypeassert // it is an actor's context
}

// Start implements actor.Mailbox.
func (m *mailbox) Start() {}

// UserMessageCount implements actor.Mailbox.
func (m *mailbox) UserMessageCount() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.first == nil {
		return 0
	}
	return 1 + len(m.more) - int(m.taken)
}

// throughput is how many messages of one mailbox run before others get a chance.
const throughput = 300

// run is called by one worker at a time.
func (m *mailbox) run() {
	for range throughput {
		message, ofSystem := m.next()
		if message == nil {
			return
		}
		m.invoke(message, ofSystem)
	}
	m.workers.schedule(m)
}

// next takes the next message. When it returns nil, the mailbox is scheduled no more.
func (m *mailbox) next() (message any, ofSystem bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.system) > 0 {
		message = m.system[0]
		if m.system = m.system[1:]; len(m.system) == 0 {
			m.system = nil
		}
		return message, true
	}
	if m.suspended || m.first == nil {
		m.scheduled = false
		return nil, false
	}
	message, m.first = m.first, nil
	if len(m.more) == 0 {
		return message, false
	}
	m.first, m.more[m.taken] = m.more[m.taken], nil
	if m.taken++; int(m.taken) < len(m.more) {
		return message, false
	}
	if m.more, m.taken = m.more[:0], 0; cap(m.more) > keptRoom {
		m.more = nil
	}
	return message, false
}

// invoke gives a message to the actor. A panic that gets here is the supervisor's.
func (m *mailbox) invoke(message any, ofSystem bool) {
	defer func() {
		if r := recover(); r != nil {
			m.invoker.EscalateFailure(r, message)
		}
	}()
	if !ofSystem {
		m.invoker.InvokeUserMessage(message)
		return
	}
	switch message.(type) {
	case *actor.SuspendMailbox:
		m.suspend(true)
	case *actor.ResumeMailbox:
		m.suspend(false)
	default:
		m.invoker.InvokeSystemMessage(message)
	}
}

func (m *mailbox) suspend(suspended bool) {
	m.mu.Lock()
	m.suspended = suspended
	m.mu.Unlock()
}
