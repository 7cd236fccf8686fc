package actors

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/skerry-dev/skerry/actors/transfer"
	"github.com/skerry-dev/skerry/codec/skerryv1"
	"github.com/skerry-dev/skerry/codec/storev1"
	"github.com/skerry-dev/skerry/persistence"
)

// run does what takes time, until ctx ends.
func (t *transfers) run(ctx context.Context) {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		t.look(ctx)
		timer.Reset(t.begin()) //nolint:contextcheck // what it begins ends by itself, after ctx too
		select {
		case <-t.wake:
		case <-timer.C:
		case <-ctx.Done():
			t.mu.Lock()
			t.mu.closed = true
			t.mu.Unlock()
			t.abandonAll(func(*transferring) bool { return true })
			return
		}
	}
}

// begin begins what is due, and returns how long nothing else is.
func (t *transfers) begin() time.Duration {
	now := t.host.now()
	next := now + time.Hour
	var again []*transferring
	var holders []persistence.Key
	t.mu.Lock()
	later := t.mu.later[:0]
	for _, r := range t.mu.later {
		switch {
		case r.gone:
		case r.due <= now:
			again = append(again, r)
		default:
			next = min(next, r.due)
			later = append(later, r)
		}
	}
	clear(t.mu.later[len(later):])
	t.mu.later = later
	found := t.mu.found[:0]
	for _, f := range t.mu.found {
		if _, orphan := t.mu.orphans[transferName{f.key, f.seq}]; f.seq != 0 && !orphan {
			continue
		}
		switch {
		case f.due > now:
			next = min(next, f.due)
			found = append(found, f)
		case t.mu.resuming >= maxResuming:
			found = append(found, f)
		default:
			delete(t.mu.orphans, transferName{f.key, f.seq})
			t.mu.resuming++
			holders = append(holders, f.key)
		}
	}
	t.mu.found = found
	for _, c := range t.mu.claims {
		next = min(next, c.due)
	}
	t.mu.Unlock()
	for _, r := range again {
		t.again(r)
	}
	for _, key := range holders {
		t.resume(key)
	}
	return max(next-now, time.Millisecond)
}

// resume goes on with all that a player holds.
func (t *transfers) resume(key persistence.Key) {
	t.ask(key, &skerryv1.CreateTransferRequest{}, &storev1.TransferStep{Kind: storev1.TransferStepKind_LIST}, false,
		func(_ *skerryv1.Transfer, answer *storev1.TransferAnswer, err error) {
			for _, hold := range answer.GetHolds() {
				plan, wrong := transfer.Parse(key.Space, hold.GetRequest())
				if wrong != nil { // it was one when it was held
					t.host.log.LogAttrs(noContext, slog.LevelError, "open transfer cannot be read", slog.String("entity", key.String()),
						slog.String("transfer", hold.GetTransfer()), slog.Any("err", wrong))
					continue
				}
				t.start(plan, hold, nil)
			}
			t.mu.Lock()
			t.mu.resuming--
			t.mu.Unlock()
			if err != nil && t.owns(key) && !errors.Is(err, ErrDraining) {
				t.foundLater(key)
			}
			t.poke()
		})
}

// foundLater has a player asked for open transfers, after a pause.
func (t *transfers) foundLater(key persistence.Key) {
	t.mu.Lock()
	t.mu.found = append(t.mu.found, foundHolder{key: key, due: t.host.now() + lookPause})
	t.mu.Unlock()
	t.poke()
}

// look finds the players with open transfers in partitions that were claimed.
func (t *transfers) look(ctx context.Context) {
	now := t.host.now()
	t.mu.Lock()
	claims := t.mu.claims
	t.mu.claims = nil
	t.mu.Unlock()
	for _, c := range claims {
		if epoch := t.host.partitions[c.partition].epoch.Load(); epoch == nil || *epoch != c.epoch {
			continue
		}
		if c.due <= now {
			keys, err := t.holders(ctx, c.partition)
			if err == nil {
				t.mu.Lock()
				for _, key := range keys {
					t.mu.found = append(t.mu.found, foundHolder{key: key})
				}
				t.mu.Unlock()
				if len(keys) > 0 {
					t.host.log.LogAttrs(ctx, slog.LevelInfo, "open transfers found", slog.Int("partition", int(c.partition)), slog.Int("players", len(keys)))
				}
				continue
			}
			if ctx.Err() != nil {
				return
			}
			t.host.log.LogAttrs(ctx, slog.LevelError, "open transfers of a partition not found", slog.Int("partition", int(c.partition)), slog.Any("err", err))
			c.due = now + lookPause
		}
		t.mu.Lock()
		t.mu.claims = append(t.mu.claims, c)
		t.mu.Unlock()
	}
}

func (t *transfers) holders(ctx context.Context, p persistence.Partition) ([]persistence.Key, error) {
	spaces, err := t.host.opts.Storage.Spaces(ctx, p)
	if err != nil {
		return nil, err
	}
	var keys []persistence.Key
	for _, space := range spaces {
		err := t.host.servers.eachMark(ctx, p, space, transfer.OpenMark, func(m persistence.MarkOf) { keys = append(keys, m.Key) })
		if err != nil {
			return nil, err
		}
	}
	return keys, nil
}

// poke tells the loop that there is work.
func (t *transfers) poke() {
	select {
	case t.wake <- struct{}{}:
	default:
	}
}
