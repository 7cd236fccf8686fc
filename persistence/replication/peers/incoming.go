package peers

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"net"
	"sync"
	"time"
)

// acceptPause is the time before accepting again after the listener failed, as for want of file descriptors.
const acceptPause = 100 * time.Millisecond

// accept takes connections until the listener is closed.
func (p *Peers) accept(ctx context.Context, running *sync.WaitGroup) error {
	for {
		conn, err := p.opts.Listener.Accept()
		if err != nil {
			if ctx.Err() != nil {
				return nil //nolint:nilerr // closed by end
			}
			if errors.Is(err, net.ErrClosed) {
				return err
			}
			p.logs.warn(ctx, logKey{what: "accept"}, "connection could not be accepted", slog.Any("err", err))
			pause(ctx, acceptPause)
			continue
		}
		select {
		case p.pending <- struct{}{}:
			running.Go(func() { p.handle(ctx, conn) })
		default:
			p.opts.Events.refused(RefusedBusy)
			_ = conn.Close() // it said nothing yet
			p.logs.warn(ctx, logKey{what: "pending"}, "connection refused: too many wait to say who they are",
				slog.String("address", conn.RemoteAddr().String()))
		}
	}
}

// pause waits, or returns when ctx ends.
func pause(ctx context.Context, length time.Duration) {
	timer := time.NewTimer(length)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}

// handle talks with one connection until it is closed. It holds a token of pending.
func (p *Peers) handle(ctx context.Context, raw net.Conn) {
	defer p.leave(raw)
	s := &stream{raw: raw, timeout: p.opts.IdleTimeout}
	theirs, l, ok := p.greet(ctx, s)
	<-p.pending
	if !ok {
		return
	}
	s.peer = theirs
	switch purpose(theirs.word) {
	case purposeBatches:
		p.receive(ctx, l, s)
	case purposeFetch:
		s.timeout = p.opts.FetchTimeout
		p.serve(ctx, l, s)
	case purposeCalls:
		p.receiveCalls(ctx, l, s)
	}
}

// greet hears who is there. A node that is welcome is not told yet, all others are refused. Until HelloTimeout is over.
func (p *Peers) greet(ctx context.Context, s *stream) (hello, *link, bool) {
	ctx, cancel := context.WithTimeout(ctx, p.opts.HelloTimeout)
	defer cancel()
	deadline, _ := ctx.Deadline()
	if p.enter(s.raw, nil) != nil || s.raw.SetDeadline(deadline) != nil {
		return hello{}, nil, false
	}
	tune(s.raw, s.timeout)
	if err := p.secured(ctx, s); err != nil {
		p.refuse(ctx, s, refusalOf(err), err)
		return hello{}, nil, false
	}
	theirs, err := readHello(s.conn, magicHello, p.opts.lowest, p.opts.highest)
	mine := p.hello(0, theirs.from)
	switch {
	case errors.Is(err, errOtherVersion):
		err = &VersionError{theirs.from, p.opts.lowest, p.opts.highest, theirs.lowest, theirs.highest}
		p.answer(s, RefusedVersion, &theirs)
		p.refuse(ctx, s, RefusedVersion, err)
		return theirs, nil, false
	case err != nil:
		p.refuse(ctx, s, RefusedMalformed, err)
		return theirs, nil, false
	}
	l := p.member(theirs.from)
	refusal := judge(&theirs, &mine, l != nil)
	if refusal == 0 && !p.bears(s, theirs.from) {
		refusal = RefusedCertificate
	}
	if refusal == 0 && p.enter(s.raw, l) != nil { // removed meanwhile
		refusal = RefusedNotMember
	}
	if refusal != 0 {
		p.answer(s, refusal, &theirs)
		p.refuse(ctx, s, refusal, nil, slog.Uint64("node", uint64(theirs.from)), slog.Uint64("meant", uint64(theirs.to)),
			slog.String("cluster", theirs.cluster))
		return theirs, nil, false
	}
	return theirs, l, true
}

// refusalOf says whether TLS failed for a certificate, ours or theirs, or because it was not spoken.
func refusalOf(err error) Refusal {
	var verification *tls.CertificateVerificationError
	var told *net.OpError
	if errors.As(err, &verification) || errors.As(err, &told) && told.Op == "remote error" { // an alert of the other side
		return RefusedCertificate
	}
	return RefusedMalformed
}

// answer tells the other side what was decided.
func (p *Peers) answer(s *stream, refusal Refusal, theirs *hello) bool {
	mine := p.hello(uint8(refusal), theirs.from)
	_, err := s.conn.Write(mine.encode(magicAnswer))
	return err == nil
}

// refuse counts and logs a refusal.
func (p *Peers) refuse(ctx context.Context, s *stream, refusal Refusal, err error, attrs ...slog.Attr) {
	if ctx.Err() != nil && errors.Is(err, net.ErrClosed) {
		return // this node ends
	}
	p.opts.Events.refused(refusal)
	attrs = append(attrs, slog.String("reason", refusal.String()), slog.String("address", s.raw.RemoteAddr().String()))
	if err != nil {
		attrs = append(attrs, slog.Any("err", err))
	}
	p.logs.warn(ctx, logKey{what: "refused", refusal: refusal}, "connection refused", attrs...)
}

// receive is the stream from a peer, until it breaks.
func (p *Peers) receive(ctx context.Context, l *link, s *stream) {
	if !p.takeOver(ctx, &l.incoming, s.raw) {
		return
	}
	defer l.incoming.leave()
	if !p.answer(s, 0, &s.peer) || s.conn.SetDeadline(time.Time{}) != nil {
		return
	}
	p.set(func() { l.hears, l.features = true, s.peer.features })
	p.opts.Logger.LogAttrs(ctx, slog.LevelInfo, "stream from peer opened", slog.Uint64("node", uint64(l.id)),
		slog.String("address", s.raw.RemoteAddr().String()))
	notify(l.redial) // it is there: no need to wait before dialling it
	p.opts.Handler.Up(l.id)

	err := p.hear(l, s)

	p.set(func() { l.hears = false })
	p.opts.Handler.Down(l.id)
	if ctx.Err() == nil {
		p.logs.warn(ctx, logKey{what: "lost", peer: l.id}, "stream from peer lost", slog.Uint64("node", uint64(l.id)), slog.Any("err", err))
	}
}

// takeOver makes conn the one stream of its kind from the peer. The older one, which the peer has given up, is closed, and has
// ended when takeOver returns true; then the caller leaves the place at its end.
func (p *Peers) takeOver(ctx context.Context, at *place, conn net.Conn) bool {
	var older net.Conn
	p.set(func() { older, at.newest = at.newest, conn })
	if older != nil {
		_ = older.Close() // it may be closed already
	}
	timer := time.NewTimer(p.opts.HelloTimeout)
	defer timer.Stop()
	select {
	case at.taken <- struct{}{}:
		return true
	case <-timer.C:
	case <-ctx.Done():
	}
	return false
}

// hear hands batches to the handler until the stream breaks.
func (p *Peers) hear(l *link, s *stream) error {
	frames := frameReader{
		from:   bufio.NewReaderSize(s, pieceBytes),
		limits: limits{kindPing: 0, kindBatch: p.opts.MaxBatchBytes},
	}
	for {
		k, batch, err := frames.next()
		if errors.Is(err, io.EOF) {
			return errors.New("closed by the peer")
		}
		if err != nil {
			return err
		}
		if k == kindBatch {
			p.opts.Events.received(l.id, 1, len(batch))
			p.opts.Handler.Receive(l.id, batch)
		}
	}
}
