package loadtest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// event does one of the scenario's events. What takes long goes on beside the play.
func (e *engine) event(ctx context.Context, m *moment) {
	of := &e.s.Events[m.event]
	switch of.Do {
	case DoJoin:
		e.mark(fmt.Sprintf("%d more players a server", of.Players))
	case DoLeave:
		e.mark(fmt.Sprintf("%v %% of the players leave", of.Percent))
	case DoNoise:
		noisy := m.at < minutes(of.At+of.For)
		e.rec.makeNoise(noisy)
		if noisy {
			e.mark(fmt.Sprintf("the first server's players do %v times as much", of.Times))
		} else {
			e.mark("quiet again")
		}
	case DoClose:
		e.mark("all servers close")
		e.closeServers(ctx)
	case DoKill:
		e.beside(func() error { return e.kill(ctx, m.event) })
	case DoRestart:
		e.beside(func() error { return e.restart(ctx) })
	}
}

// beside runs something that takes long, and keeps its error for the end.
func (e *engine) beside(f func() error) {
	began := e.blocking(func() {
		if err := f(); err != nil {
			e.mu.Lock()
			e.mu.errs = append(e.mu.errs, err)
			e.mu.Unlock()
		}
	})
	if !began {
		e.mu.Lock()
		e.mu.errs = append(e.mu.errs, errors.New("an event could not begin: too much was on its way"))
		e.mu.Unlock()
	}
}

// strayAnswers is how long answers of a process that is dead may yet come out of the machine's buffers.
const strayAnswers = 100 * time.Millisecond

// kill ends a node, and starts it again after the event's time.
func (e *engine) kill(ctx context.Context, event int) error {
	which := event % e.opts.Embedded
	e.rec.watch()
	e.mark(fmt.Sprintf("node %d is killed", which+1))
	at := time.Now()
	e.ledger.crashed(at, e.window)
	if err := e.target.kill(which); err != nil {
		return fmt.Errorf("kill node %d: %w", which+1, err)
	}
	if !pause(ctx, strayAnswers) {
		return context.Cause(ctx)
	}
	e.ledger.calm()
	if !pause(ctx, time.Until(at.Add(scale(minutes(e.s.Events[event].Back), e.opts.Minute)))) {
		return context.Cause(ctx)
	}
	if err := e.target.revive(ctx, which); err != nil {
		return err
	}
	e.mark(fmt.Sprintf("node %d is back", which+1))
	return nil
}

// restart stops and starts every node, one after another.
func (e *engine) restart(ctx context.Context) error {
	for i := range e.opts.Embedded {
		e.mark(fmt.Sprintf("node %d restarts", i+1))
		if err := e.target.restart(ctx, i); err != nil {
			return err
		}
		if err := e.target.settled(ctx, e.clients[0]); err != nil {
			return err
		}
	}
	e.mark("all nodes have restarted")
	return nil
}

// closeServers closes all servers at once, and notes how long that took.
func (e *engine) closeServers(ctx context.Context) {
	began := time.Now()
	var all sync.WaitGroup
	for _, s := range e.servers {
		all.Add(1)
		if !e.blocking(func() {
			defer all.Done()
			e.closeServer(ctx, s, began)
		}) {
			all.Done()
		}
	}
	e.beside(func() error {
		all.Wait()
		took := time.Since(began)
		e.mu.Lock()
		e.mu.closeTook = took
		e.mu.Unlock()
		e.mark("all servers are closed")
		return nil
	})
}

// closeServer closes one server. One that was not answered in time is asked again.
func (e *engine) closeServer(ctx context.Context, s *gameServer, began time.Time) {
	came := verdict{act: actClose, server: s.number, durable: true}
	for range closeTries {
		asking, cancel := patience(ctx)
		err := s.server.Close(asking)
		cancel()
		came.failed = ""
		if err == nil {
			break
		}
		_, came.failed, _ = judge(err)
	}
	came.latency = time.Since(began)
	e.rec.add(&came)
}

// closeTries is how often a server is asked to close.
const closeTries = 4

func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(max(d, 0))
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
