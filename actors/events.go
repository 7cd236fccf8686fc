package actors

import (
	"context"
	"fmt"
	"slices"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/skerry-dev/skerry/actors/turn"
	"github.com/skerry-dev/skerry/codec/skerryv1"
	"github.com/skerry-dev/skerry/persistence"
)

const (
	// maxEvents is how many events a server's log keeps in memory.
	maxEvents = 1000
	// maxPolls is how many long polls may wait for one server's events; one more takes the place of the oldest, whose caller
	// may be gone.
	maxPolls = 64
	// maxPollWait is the longest wait of one.
	maxPollWait = time.Minute
)

// eventLog is what a game server has to hear, in memory only. Ids begin with the clock, so that they rise across restarts
// as well: Unix milliseconds, 64 places in each, and the tag of the ownership under which they were given. So an id that
// another node gave is known as such, whatever the clocks say. They stay below 2^53 for a long time.
type eventLog struct {
	tag     int64                   // less than 1 << tagBits
	events  []*skerryv1.ServerEvent // by rising id, at most maxEvents; read-only once they are in
	last    int64                   // id given
	floor   int64                   // events up to it were dropped, or were of an earlier life
	reached time.Time               // when floor was given
	full    bool                    // some were dropped
}

const (
	tagBits   = 6
	placeBits = 6
)

func newEventLog(now time.Time, epoch persistence.Epoch) eventLog {
	l := eventLog{tag: int64(epoch.Term % (1 << tagBits)), reached: now} //nolint:gosec // 0 to 63
	l.last = l.next(now)
	l.floor = l.last
	return l
}

// next is the id of an event now.
func (l *eventLog) next(now time.Time) int64 {
	return max(l.last+1<<tagBits, now.UnixMilli()<<(placeBits+tagBits)|l.tag)
}

// add numbers an event and keeps it, dropping the oldest when there are too many.
func (l *eventLog) add(event *skerryv1.ServerEvent, now time.Time) {
	l.last = l.next(now)
	event.Id = l.last
	l.events = append(l.events, event)
	if len(l.events) > maxEvents {
		l.floor, l.full, l.reached = l.events[0].GetId(), true, l.events[0].GetAt().AsTime()
		l.events[0] = nil
		l.events = l.events[1:]
	}
}

// lose notes that events are missing here.
func (l *eventLog) lose(now time.Time) {
	l.last = l.next(now)
	l.events, l.floor, l.full, l.reached = nil, l.last, true, now
}

// since returns copies of the events after id, which begin with RESYNC when there were others: a caller who saw none yet
// (0) missed nothing of an earlier life. An id that was not given here, or not yet (the clock was set back), is of an earlier
// life, too.
func (l *eventLog) since(id int64) []*skerryv1.ServerEvent {
	var found []*skerryv1.ServerEvent
	if id > l.last || id != 0 && id&(1<<tagBits-1) != l.tag {
		id = 1
	}
	if id < l.floor && (id > 0 || l.full) {
		found = append(found, &skerryv1.ServerEvent{Id: l.floor, Type: turn.EventResync, At: timestamppb.New(l.reached)})
	}
	for _, event := range l.events {
		if event.GetId() > id {
			found = append(found, event.CloneVT())
		}
	}
	return found
}

// poll is a GetServerEvents that waits.
type poll struct {
	call     *Call
	after    int64
	deadline instant
}

// delivery is an answer to be given outside the lock.
type delivery struct {
	call   *Call
	events []*skerryv1.ServerEvent
	err    error
}

func (d *delivery) give() {
	if d.err != nil {
		d.call.Reply(nil, d.err)
		return
	}
	d.call.Reply(&skerryv1.Response{Response: &skerryv1.Response_GetServerEvents{
		GetServerEvents: &skerryv1.GetServerEventsResponse{Events: d.events},
	}}, nil)
}

// give answers what was collected under the lock.
func give(deliveries []delivery) {
	for i := range deliveries {
		deliveries[i].give()
	}
}

// tellLocked adds an event to a server's log and answers those who wait for one.
func (s *servers) tellLocked(server *serverState, event *skerryv1.ServerEvent, ready []delivery) []delivery {
	server.log.add(event, time.Now())
	return s.wakeLocked(server, nil, ready)
}

// wakeLocked answers all polls of a server, with err when it is set, and wakes its watchers.
func (s *servers) wakeLocked(server *serverState, err error, ready []delivery) []delivery {
	for _, p := range server.polls {
		ready = append(ready, delivery{call: p.call, events: server.log.since(p.after), err: err})
	}
	server.polls = nil
	close(server.changed)
	server.changed = make(chan struct{})
	return ready
}

// getEvents answers a GetServerEvents, later when it may wait and there is nothing yet. The server must be known to storage.
func (s *servers) getEvents(call *Call) {
	request := call.Request.GetGetServerEvents()
	wait, err := pollWait(request)
	if err != nil {
		call.Reply(nil, err)
		return
	}
	s.withServer(call, func(err error) {
		if err != nil {
			call.Reply(nil, err)
			return
		}
		s.poll(call, request.GetAfter(), wait)
	})
}

func pollWait(request *skerryv1.GetServerEventsRequest) (time.Duration, error) {
	if request.GetAfter() < 0 {
		return 0, &turn.RequestError{Err: turn.ErrBadRequest, Field: "after", Message: fmt.Sprintf("is %d, it must not be negative", request.GetAfter())}
	}
	if request.GetWait() == "" {
		return 0, nil
	}
	wait, err := time.ParseDuration(request.GetWait())
	if err != nil || wait < 0 || wait > maxPollWait {
		return 0, &turn.RequestError{
			Err: turn.ErrBadRequest, Field: "wait",
			Message: fmt.Sprintf("%.40q is not a duration such as 25s, at most %s", request.GetWait(), maxPollWait),
		}
	}
	return wait, nil
}

func (s *servers) poll(call *Call, after int64, wait time.Duration) {
	answer := delivery{call: call}
	var oldest *Call // that gives its place up: nobody may wait for it any more
	s.mu.Lock()
	server := s.mu.known[nameOf(call.Key)]
	if server == nil || s.handsOver(call.Key) { // the partition was lost meanwhile
		answer.err = persistence.ErrNotOwner
	} else {
		server.used = s.host.now()
		answer.events = server.log.since(after)
	}
	waits := answer.err == nil && len(answer.events) == 0 && wait > 0 && !s.mu.closed && !s.host.draining.Load()
	if waits {
		if len(server.polls) >= maxPolls {
			oldest = server.polls[0].call
			server.polls = slices.Delete(server.polls, 0, 1)
		}
		server.polls = append(server.polls, poll{call, after, s.host.now() + wait})
	}
	s.mu.Unlock()
	if oldest != nil {
		oldest.Reply(nil, ErrMailboxFull)
	}
	if !waits {
		answer.give()
	}
}

// expirePollsLocked answers the polls that have waited long enough.
func (s *servers) expirePollsLocked(server *serverState, now instant, ready []delivery) []delivery {
	waiting := server.polls[:0]
	for _, p := range server.polls {
		if p.deadline > now {
			waiting = append(waiting, p)
			continue
		}
		ready = append(ready, delivery{call: p.call, events: server.log.since(p.after)})
	}
	clear(server.polls[len(waiting):])
	server.polls = waiting
	return ready
}

// Watch calls push with the events of the server entity key that come after the given id, old ones first. It returns when
// ctx ended, with its cause; when push failed, with its error; with [turn.ErrNotFound] when there is no such server, with
// [persistence.ErrNotOwner] when another node watches over it, or with [ErrDraining]. push is called by one goroutine, this one.
func (h *Host) Watch(ctx context.Context, key persistence.Key, after int64, push func(*skerryv1.ServerEvent) error) error {
	s := h.servers
	found := make(chan error, 1)
	s.withServer(&Call{Key: key}, func(err error) { found <- err })
	select {
	case err := <-found:
		if err != nil {
			return err
		}
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	defer s.watch(key)()
	for {
		events, changed, err := s.next(key, after)
		if err != nil {
			return err
		}
		for _, event := range events {
			if err := push(event); err != nil {
				return err
			}
			after = event.GetId()
		}
		if len(events) > 0 {
			continue
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// watch keeps a server's events while somebody watches; the result ends that.
func (s *servers) watch(key persistence.Key) func() {
	s.mu.Lock()
	defer s.mu.Unlock()
	server := s.mu.known[nameOf(key)]
	if server == nil {
		return func() {}
	}
	server.watchers++
	return func() {
		s.mu.Lock()
		server.watchers--
		s.mu.Unlock()
	}
}

// next returns the events after id, and what is closed when there are more.
func (s *servers) next(key persistence.Key, id int64) ([]*skerryv1.ServerEvent, <-chan struct{}, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	server := s.mu.known[nameOf(key)]
	switch {
	case s.mu.closed || s.mu.draining:
		return nil, nil, ErrDraining
	case server == nil, s.handsOver(key):
		return nil, nil, persistence.ErrNotOwner
	}
	server.used = s.host.now()
	return server.log.since(id), server.changed, nil
}
