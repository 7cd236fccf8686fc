package peers

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"time"

	"github.com/skerry-dev/skerry/persistence"
)

// roundBytes is about how much is taken out of a queue at once; what was taken is lost if the connection breaks.
const roundBytes = 1 << 20

// send keeps a stream to one peer until ctx ends.
func (p *Peers) send(ctx context.Context, l *link) {
	select {
	case l.sends <- struct{}{}: // the one before, of a node that was removed and added again, has ended
	case <-ctx.Done():
		return
	}
	defer func() { <-l.sends }()
	for pause := p.opts.MinBackoff; ; {
		began := time.Now()
		s, err := p.open(ctx, l, purposeBatches)
		if err == nil {
			err = p.stream(ctx, l, s)
		}
		if ctx.Err() != nil {
			return
		}
		if s == nil { // nobody there: what waits would only grow old
			batches, bytes := l.queue.drop()
			p.drop(l, DropAbsent, batches, bytes)
		}
		p.logs.warn(ctx, logKey{peer: l.id}, "no stream to peer", slog.Uint64("node", uint64(l.id)), slog.Any("err", err))
		if s != nil && time.Since(began) > p.opts.MaxBackoff {
			pause = p.opts.MinBackoff
		}
		timer := time.NewTimer(pause/2 + rand.N(pause/2+1)) //nolint:gosec // jitter
		select {
		case <-ctx.Done():
		case <-l.redial:
		case <-timer.C:
		}
		timer.Stop()
		pause = min(2*pause, p.opts.MaxBackoff)
	}
}

// open dials a peer and greets it, until ctx or HelloTimeout ends. The stream lives until leave, and no longer than the peer is a
// member.
func (p *Peers) open(ctx context.Context, l *link, why purpose) (*stream, error) {
	ctx, cancel := context.WithTimeout(ctx, p.opts.HelloTimeout)
	defer cancel()
	var address string
	p.set(func() { address = l.address })
	raw, err := p.opts.dial(ctx, address)
	if err != nil {
		return nil, fmt.Errorf("dial node %d at %s: %w", l.id, address, err)
	}
	s := &stream{raw: raw, timeout: p.opts.IdleTimeout, address: address}
	if why == purposeFetch {
		s.timeout = p.opts.FetchTimeout
	}
	tune(raw, s.timeout)
	if err = p.enter(raw, l); err != nil {
		_ = raw.Close()
		return nil, err
	}
	mine := p.hello(uint8(why), l.id)
	if why == purposeCalls {
		mine.lowest = max(mine.lowest, callsVersion)
	}
	unwatch := context.AfterFunc(ctx, func() { _ = raw.Close() })
	deadline, _ := ctx.Deadline()
	if err = raw.SetDeadline(deadline); err == nil {
		err = p.dialled(ctx, s, &mine, address)
	}
	if !unwatch() && err == nil {
		err = context.Cause(ctx)
	}
	if err != nil {
		p.leave(raw)
		return nil, err
	}
	p.set(func() { l.features = s.peer.features })
	return s, nil
}

// hello is what this node says of itself to the node it means.
func (p *Peers) hello(word uint8, to persistence.NodeID) hello {
	return hello{
		lowest: p.opts.lowest, highest: p.opts.highest, word: word, features: p.opts.Features,
		from: p.opts.Node, to: to, cluster: p.opts.Cluster,
	}
}

// stream sends what waits for a peer over s until it breaks or ctx ends, and leaves it.
func (p *Peers) stream(ctx context.Context, l *link, s *stream) error {
	moved := false
	p.set(func() {
		if moved = l.address != s.address; !moved {
			l.sender = s.raw
		}
	})
	if moved {
		p.leave(s.raw)
		return fmt.Errorf("node %d moved away from %s", l.id, s.address)
	}
	lost := make(chan struct{})
	go func() {
		defer close(lost)
		s.waitLost()
	}()
	p.opts.Logger.LogAttrs(ctx, slog.LevelInfo, "stream to peer opened", slog.Uint64("node", uint64(l.id)),
		slog.String("address", s.raw.RemoteAddr().String()), slog.Uint64("features", uint64(s.peer.features)))

	err := p.pump(ctx, l, s, lost)

	p.leave(s.raw)
	<-lost
	p.set(func() { l.sender = nil })
	return err
}

// pump writes rounds until something ends it. It returns an error always.
func (p *Peers) pump(ctx context.Context, l *link, s *stream, lost <-chan struct{}) error {
	w := newFrameWriter(s)
	ping := time.NewTicker(p.opts.PingInterval)
	defer ping.Stop()
	var round [][]byte
	for {
		if round = l.queue.take(round[:0], roundBytes); len(round) > 0 {
			if err := p.write(l, w, round); err != nil {
				return err
			}
			clear(round) // they are sent: let go of them
			continue     // more may wait, for which there will be no token
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-lost:
			return fmt.Errorf("node %d closed the stream", l.id)
		case <-ping.C:
			if err := w.writeNow(kindPing, nil); err != nil {
				return fmt.Errorf("write to node %d: %w", l.id, err)
			}
		case <-l.queue.wake:
		}
	}
}

// write sends one round in as few writes as there are full buffers in it.
func (p *Peers) write(l *link, w *frameWriter, round [][]byte) error {
	bytes := 0
	var err error
	for _, batch := range round {
		bytes += len(batch)
		if err == nil {
			err = w.write(kindBatch, batch)
		}
	}
	if err == nil {
		err = w.to.Flush()
	}
	if err != nil {
		p.drop(l, DropBroken, len(round), bytes)
		return fmt.Errorf("write to node %d: %w", l.id, err)
	}
	p.opts.Events.sent(l.id, len(round), bytes)
	return nil
}

// tune asks the kernel to find a vanished machine by itself. It is a help, so errors are not told.
func tune(conn net.Conn, timeout time.Duration) {
	tcp, ok := conn.(*net.TCPConn)
	if !ok {
		return
	}
	_ = tcp.SetKeepAliveConfig(net.KeepAliveConfig{Enable: true, Idle: timeout, Interval: max(timeout/5, time.Second), Count: 3})
	setUserTimeout(tcp, timeout)
}
