package peers

import (
	"bufio"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"time"

	"github.com/skerry-dev/skerry/persistence"
)

// copyPieceBytes is what one wait for the rate limit pays for, and its burst.
const copyPieceBytes = 64 << 10

// Fetch asks a peer, on a connection of its own, and hands each frame of the answer to take, in order; take must not keep frame.
// It returns nil only when the answer was whole and all of it was taken. It may be called from any goroutine, also before Run, and
// is cut when ctx or Run ends.
//
// Errors: [ErrIncomplete], it was cut; a [RemoteError], the peer could not; a [RefusedError] or [VersionError], the peer would
// not; [ErrUnknownPeer]; [ErrTooLarge], of the request; [ErrEnded]; what take returned, as it is; or why there is no connection.
func (p *Peers) Fetch(ctx context.Context, from persistence.NodeID, request []byte, take func(frame []byte) error) error {
	if len(request) > MaxRequestBytes {
		return fmt.Errorf("%w: a request of %d bytes", ErrTooLarge, len(request))
	}
	l := p.member(from)
	if l == nil {
		if p.hasEnded() {
			return ErrEnded
		}
		return fmt.Errorf("%w: %d", ErrUnknownPeer, from)
	}
	s, err := p.open(ctx, l, purposeFetch)
	if err != nil {
		return fmt.Errorf("fetch from node %d: %w", from, err)
	}
	defer p.leave(s.raw)
	unwatch := context.AfterFunc(ctx, func() { _ = s.raw.Close() })
	defer unwatch()
	err = newFrameWriter(s).writeNow(kindRequest, request)
	if err == nil {
		err = takeAll(bufio.NewReaderSize(s, pieceBytes), from, take)
	}
	if err != nil && ctx.Err() != nil {
		return fmt.Errorf("fetch from node %d: %w", from, context.Cause(ctx))
	}
	return err
}

func (p *Peers) hasEnded() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.mu.ended
}

// takeAll reads an answer to its end.
func takeAll(answer io.Reader, from persistence.NodeID, take func(frame []byte) error) error {
	frames := frameReader{
		from:   answer,
		limits: limits{kindData: MaxFrameBytes, kindEnd: endBytes, kindFailed: maxFailureBytes},
	}
	for taken := uint64(0); ; taken++ {
		k, payload, err := frames.next()
		if err != nil {
			return fmt.Errorf("%w: node %d, after %d frames: %w", ErrIncomplete, from, taken, err)
		}
		switch k {
		case kindData:
			if err := take(payload); err != nil {
				return err
			}
		case kindFailed:
			return &RemoteError{Node: from, Text: strings.ToValidUTF8(string(payload), "?")}
		case kindEnd:
			if len(payload) != endBytes || binary.LittleEndian.Uint64(payload) != taken {
				return fmt.Errorf("%w: node %d, %d frames do not agree with its end", ErrIncomplete, from, taken)
			}
			return nil
		case kindPing, kindBatch, kindRequest, kindCalls: // not in the limits
		}
	}
}

// serve answers one fetch.
func (p *Peers) serve(ctx context.Context, l *link, s *stream) {
	select {
	case l.fetches <- struct{}{}:
		defer func() { <-l.fetches }()
	default:
		p.answer(s, RefusedBusy, &s.peer)
		p.refuse(ctx, s, RefusedBusy, nil, slog.Uint64("node", uint64(l.id)))
		return
	}
	if !p.answer(s, 0, &s.peer) {
		return
	}
	frames := frameReader{from: s.conn, limits: limits{kindRequest: MaxRequestBytes}} // until the deadline of the greeting
	_, request, err := frames.next()
	if err != nil || s.conn.SetDeadline(time.Time{}) != nil {
		return
	}

	ctx, cancel := context.WithCancel(ctx)
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		s.waitLost()
		cancel()
	}()
	out := p.answering(s)
	err = p.opts.Handler.Serve(ctx, l.id, request, func(frame []byte) error { return out.send(ctx, frame) })
	if err = out.finish(err); err != nil {
		p.logs.warn(ctx, logKey{what: "serve", peer: l.id}, "fetch of peer failed", slog.Uint64("node", uint64(l.id)), slog.Any("err", err))
	}
	// The peer closes when it has read the end; closing first could lose it on the way.
	timer := time.NewTimer(s.timeout)
	defer timer.Stop()
	select {
	case <-gone:
	case <-timer.C:
	}
	p.leave(s.raw)
	<-gone
	cancel()
}

// answering is the answer to one fetch. It belongs to the goroutine that serves.
type answering struct {
	p      *Peers
	w      *frameWriter
	sent   uint64 // frames
	broken error  // once one frame could not be sent, nothing can
	torn   bool   // what was written may end within a frame
}

func (p *Peers) answering(s *stream) *answering {
	return &answering{p: p, w: newFrameWriter(s)}
}

// send writes one frame, as fast as all fetches together may.
func (a *answering) send(ctx context.Context, frame []byte) error {
	switch {
	case a.broken != nil:
	case len(frame) > MaxFrameBytes:
		a.broken = fmt.Errorf("%w: a frame of %d bytes", ErrTooLarge, len(frame))
	default:
		if a.broken = a.write(ctx, frame); a.broken != nil {
			a.torn = true
		}
		a.sent++
	}
	return a.broken
}

func (a *answering) write(ctx context.Context, frame []byte) error {
	if err := a.w.begin(kindData, len(frame)); err != nil {
		return err
	}
	for len(frame) > 0 {
		piece := frame[:min(len(frame), copyPieceBytes)]
		if err := a.p.copying.WaitN(ctx, len(piece)); err != nil {
			return err
		}
		if _, err := a.w.to.Write(piece); err != nil {
			return err
		}
		a.p.opts.Events.copied(len(piece))
		frame = frame[len(piece):]
	}
	return a.w.to.Flush()
}

// finish tells the peer how it ended, err being what the handler returned. It returns why the answer is not whole.
func (a *answering) finish(err error) error {
	if err == nil {
		err = a.broken // a handler that did not look at send's error has not served
	}
	if a.torn {
		return err // what is written now could be taken for the rest of a frame
	}
	k, payload := kindEnd, binary.LittleEndian.AppendUint64(nil, a.sent)
	if err != nil {
		text := err.Error()
		k, payload = kindFailed, []byte(text[:min(len(text), maxFailureBytes)])
	}
	if lost := a.w.writeNow(k, payload); err == nil {
		err = lost
	}
	return err
}
