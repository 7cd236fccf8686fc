package peers

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"time"

	"github.com/skerry-dev/skerry/persistence"
)

// SendCalls puts a frame of calls and answers in line for the peer, on a connection apart from the batches, which is made at the first
// frame and kept. It never waits, and owns frame from here on. The frames of one connection arrive in order and once; when it is lost
// or cannot be made, the Handler's CallsLost follows, and what was in line then is not sent.
//
// Errors, after which the frame will not arrive: [ErrUnknownPeer]; [ErrQueueFull], try again later; [ErrTooLarge], longer than
// [Options.MaxBatchBytes]; [ErrEnded].
func (p *Peers) SendCalls(to persistence.NodeID, frame []byte) error {
	if len(frame) > p.opts.MaxBatchBytes {
		return fmt.Errorf("%w: a frame of calls of %d bytes", ErrTooLarge, len(frame))
	}
	p.mu.Lock()
	defer p.mu.Unlock() // a node that is removed gets no frame that nobody would answer for
	if p.mu.ended {
		return ErrEnded
	}
	l := p.mu.links[to]
	if l == nil || !l.member {
		return fmt.Errorf("%w: %d", ErrUnknownPeer, to)
	}
	if !l.calls.offer(frame) {
		return fmt.Errorf("%w: node %d", ErrQueueFull, to)
	}
	return nil
}

// sendCalls keeps a connection of calls to one peer from the first frame on, until ctx ends.
func (p *Peers) sendCalls(ctx context.Context, l *link) {
	select {
	case l.sendsCalls <- struct{}{}: // the one before, of a node that was removed and added again, has ended
	case <-ctx.Done():
		p.loseCalls(l, false)
		return
	}
	defer func() { <-l.sendsCalls }()
	for pause := p.opts.MinBackoff; ; {
		if !l.calls.await(ctx) {
			p.loseCalls(l, false)
			return
		}
		began := time.Now()
		s, err := p.open(ctx, l, purposeCalls)
		if err == nil {
			err = p.streamCalls(ctx, l, s)
		} else {
			p.hangUp(l)
		}
		p.loseCalls(l, true)
		if ctx.Err() != nil {
			return
		}
		p.logs.warn(ctx, logKey{what: "calls", peer: l.id}, "no connection of calls to peer", slog.Uint64("node", uint64(l.id)),
			slog.Any("err", err))
		if s != nil && time.Since(began) > p.opts.MaxBackoff {
			pause = p.opts.MinBackoff
		}
		timer := time.NewTimer(pause/2 + rand.N(pause/2+1)) //nolint:gosec // jitter
		select {
		case <-ctx.Done():
		case <-l.redialCalls:
		case <-timer.C:
		}
		timer.Stop()
		pause = min(2*pause, p.opts.MaxBackoff)
	}
}

// await returns true when something waits, false when ctx has ended.
func (q *queue) await(ctx context.Context) bool {
	for ctx.Err() == nil {
		if waiting, _ := q.size(); waiting > 0 {
			return true
		}
		select {
		case <-ctx.Done():
		case <-q.wake:
		}
	}
	return false
}

// loseCalls drops what waits, and tells the handler if there was something, or if a connection was lost. What is put in line from
// now on is not meant.
func (p *Peers) loseCalls(l *link, connection bool) {
	if frames, _ := l.calls.drop(); frames > 0 || connection {
		p.opts.Handler.CallsLost(l.id)
	}
}

// hangUp closes the connection on which the peer's calls come: it cannot be answered, and learns it so.
func (p *Peers) hangUp(l *link) {
	p.mu.Lock()
	conn := l.incomingCalls.newest
	p.mu.Unlock()
	if conn != nil {
		_ = conn.Close() // it may be closed already
	}
}

// streamCalls sends the calls for a peer over s until it breaks or ctx ends, and leaves it. It returns an error always.
func (p *Peers) streamCalls(ctx context.Context, l *link, s *stream) error {
	moved := false
	p.set(func() {
		if moved = l.address != s.address; !moved {
			l.caller = s.raw
		}
	})
	if moved {
		p.leave(s.raw)
		return fmt.Errorf("node %d moved away from %s", l.id, s.address)
	}
	lost := make(chan struct{})
	go func() {
		defer close(lost)
		s.waitSilent()
	}()
	p.opts.Logger.LogAttrs(ctx, slog.LevelInfo, "connection of calls to peer opened", slog.Uint64("node", uint64(l.id)),
		slog.String("address", s.raw.RemoteAddr().String()))

	err := p.pumpCalls(ctx, l, s, lost)

	p.leave(s.raw)
	<-lost
	p.set(func() { l.caller = nil })
	return err
}

// waitSilent returns when the other side, which only pings, is gone or silent for the stream's time-out.
func (s *stream) waitSilent() {
	frames := frameReader{from: s, limits: limits{kindPing: 0}}
	for {
		if _, _, err := frames.next(); err != nil {
			return
		}
	}
}

// pumpCalls writes rounds of frames, each with one flush, until something ends it.
func (p *Peers) pumpCalls(ctx context.Context, l *link, s *stream, lost <-chan struct{}) error {
	w := newFrameWriter(s)
	ping := time.NewTicker(p.opts.PingInterval)
	defer ping.Stop()
	var round [][]byte
	for {
		if round = l.calls.take(round[:0], roundBytes); len(round) > 0 {
			for _, frame := range round {
				if err := w.write(kindCalls, frame); err != nil {
					return fmt.Errorf("write to node %d: %w", l.id, err)
				}
			}
			if err := w.to.Flush(); err != nil {
				return fmt.Errorf("write to node %d: %w", l.id, err)
			}
			clear(round)
			continue // more may wait, for which there will be no token
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-lost:
			return fmt.Errorf("node %d closed the connection of calls, or is silent", l.id)
		case <-ping.C:
			if err := w.writeNow(kindPing, nil); err != nil {
				return fmt.Errorf("write to node %d: %w", l.id, err)
			}
		case <-l.calls.wake:
		}
	}
}

// receiveCalls is the connection on which a peer's calls come, until it breaks.
func (p *Peers) receiveCalls(ctx context.Context, l *link, s *stream) {
	if !p.takeOver(ctx, &l.incomingCalls, s.raw) {
		return
	}
	defer l.incomingCalls.leave()
	if !p.answer(s, 0, &s.peer) || s.conn.SetDeadline(time.Time{}) != nil {
		return
	}
	notify(l.redialCalls) // it is there: no need to wait before dialling it
	heard, silent := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(silent)
		p.pingBack(s, heard)
	}()

	err := p.hearCalls(l, s)

	_ = s.raw.Close() // it may be closed already
	close(heard)
	<-silent
	p.opts.Handler.CallsLost(l.id)
	if ctx.Err() == nil {
		p.logs.warn(ctx, logKey{what: "calls lost", peer: l.id}, "connection of calls from peer lost",
			slog.Uint64("node", uint64(l.id)), slog.Any("err", err))
	}
}

// hearCalls hands frames to the handler until the connection breaks.
func (p *Peers) hearCalls(l *link, s *stream) error {
	frames := frameReader{
		from:   bufio.NewReaderSize(s, pieceBytes),
		limits: limits{kindPing: 0, kindCalls: p.opts.MaxBatchBytes},
	}
	for {
		k, frame, err := frames.next()
		if errors.Is(err, io.EOF) {
			return errors.New("closed by the peer")
		}
		if err != nil {
			return err
		}
		if k == kindCalls {
			frames.buffer = nil // the handler's
			p.opts.Handler.Calls(l.id, frame)
		}
	}
}

// pingBack says that this side lives, so that the peer does not wait for the answers of a node that froze. It returns when heard is
// closed, or the connection.
func (p *Peers) pingBack(s *stream, heard <-chan struct{}) {
	w := newFrameWriter(s)
	ping := time.NewTicker(p.opts.PingInterval)
	defer ping.Stop()
	for {
		select {
		case <-heard:
			return
		case <-ping.C:
			if w.writeNow(kindPing, nil) != nil {
				_ = s.raw.Close() // so that the reader ends too
				return
			}
		}
	}
}
