package client

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/skerry-dev/skerry/codec"
	"github.com/skerry-dev/skerry/codec/skerryv1"
)

// session is an open session of an entity: what a [Player] and a [World] have in common.
type session struct {
	client *Client
	server *Server // nil when opened without one
	kind   string  // "player" or "world"
	id     string
	token  string
	isNew  bool

	over chan struct{} // closed when the session is no longer held

	held struct {
		sync.Mutex
		err error // why over is closed
		window
	}
}

func (s *session) begin(c *Client, kind, id, token string, isNew bool) {
	s.client, s.kind, s.id, s.token, s.isNew = c, kind, id, token, isNew
	s.over, s.held.window = make(chan struct{}), newWindow()
}

// ID is the entity's id.
func (s *session) ID() string { return s.id }

// Token is the session's token, for JSON calls on the game server's behalf. It is a secret.
func (s *session) Token() string { return s.token }

// IsNew says that the entity did not exist before this session.
func (s *session) IsNew() bool { return s.isNew }

// Done is closed when the session is no longer held: it was taken over, ended, or left. Err says which. A taken session is
// noticed with the next call, and at once when a [Server] watches its events.
func (s *session) Done() <-chan struct{} { return s.over }

// Err is nil while the session is held; then [ErrSessionTaken], [ErrSessionEnded] or [ErrNoSession].
func (s *session) Err() error {
	s.held.Lock()
	defer s.held.Unlock()
	return s.held.err
}

// end notes that the session is over.
func (s *session) end(reason error) {
	s.held.Lock()
	first := s.held.err == nil
	if first {
		s.held.err = reason
		close(s.over)
	}
	s.held.Unlock()
	if first && s.server != nil {
		s.server.forget(s)
	}
}

// note ends the session when err says that it is over; it returns err.
func (s *session) note(err error) error {
	for _, reason := range []error{ErrSessionTaken, ErrSessionEnded, ErrNoSession} {
		if errors.Is(err, reason) {
			s.end(reason)
		}
	}
	return err
}

// failed is err of something that was to be done with the entity.
func (s *session) failed(what string, err error) error {
	return fmt.Errorf("%s %s %s: %w", what, s.kind, s.id, s.note(err))
}

// reserve returns the next command id, waiting while too many turns have no answer.
func (s *session) reserve(ctx context.Context) (int64, error) {
	for {
		s.held.Lock()
		id, room := s.held.reserve()
		s.held.Unlock()
		if id != 0 {
			return id, nil
		}
		select {
		case <-room:
		case <-ctx.Done():
			return 0, (&call{}).unanswered(ctx.Err())
		}
	}
}

// reserveNow is reserve that does not wait, but refuses.
func (s *session) reserveNow() (int64, error) {
	s.held.Lock()
	id, _ := s.held.reserve()
	s.held.Unlock()
	if id == 0 {
		return 0, &Error{
			Code: codec.CodeOverloaded, Message: fmt.Sprintf("%d turns of %s %s wait already", maxAhead, s.kind, s.id),
			CommandIndex: -1, Retryable: true, Outcome: NotApplied,
		}
	}
	return id, nil
}

// settle notes that a turn has its answer, or err; it returns err.
func (s *session) settle(id int64, err error) error {
	s.held.Lock()
	s.held.settle(id)
	s.held.Unlock()
	if err != nil {
		return s.note(err)
	}
	return nil
}

// startTurn sends a turn whose answer goes to done, from the goroutine that reads the connection.
func (s *session) startTurn(id int64, turn *call, done func(*skerryv1.Response, error)) error {
	turn.done = func(answer *skerryv1.Response, err error) { done(answer, s.settle(id, err)) }
	if err := s.client.start(turn); err != nil {
		return s.settle(id, err)
	}
	return nil
}

// deadline is when a turn ends that has no context.
func (s *session) deadline(opts DoOptions) time.Time {
	if opts.Timeout > 0 {
		return time.Now().Add(opts.Timeout)
	}
	return time.Now().Add(s.client.opts.Timeout)
}

// CommandStatus is what the node remembers of a turn.
type CommandStatus struct {
	// Status is APPLIED, REFUSED, NOT_SEEN (it was not applied, unless it is still on its way) or FORGOTTEN (older than
	// the 128 that are remembered).
	Status string
	// Result is the remembered answer when a player's turn was applied, World when a world's was.
	Result *Result
	World  *WorldResult
	// Refused is why it was refused.
	Refused *Error
}

func statusOf(commandID int64, status string, refused *skerryv1.Error) CommandStatus {
	out := CommandStatus{Status: status}
	if refused != nil {
		out.Refused = fromWire(refused)
		out.Refused.CommandID = commandID
	}
	return out
}
