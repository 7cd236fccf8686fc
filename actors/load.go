package actors

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/skerry-dev/skerry/actors/player"
	"github.com/skerry-dev/skerry/actors/world"
	"github.com/skerry-dev/skerry/codec"
	"github.com/skerry-dev/skerry/codec/storev1"
	"github.com/skerry-dev/skerry/persistence"
)

// runLoads loads entities until ctx ends.
func (h *Host) runLoads(ctx context.Context) {
	for {
		select {
		case a := <-h.loads:
			h.load(ctx, a)
		case l := <-h.partLoads:
			h.loadPart(ctx, l)
		case <-ctx.Done():
			return
		}
	}
}

// load activates one entity, or sees to another try, or answers with why not.
func (h *Host) load(ctx context.Context, a *activation) {
	began := h.now()
	err := h.read(ctx, a)
	h.loaded(a, a.size.Load())
	if err == nil {
		isNew := a.seq == 0 // after publish, a belongs to its actor
		h.publish(a)
		if h.opts.Events.Activated != nil {
			h.opts.Events.Activated(a.key, h.now()-began, isNew)
		}
		return
	}
	if ctx.Err() != nil {
		h.giveUp(a, fmt.Errorf("%w: %w", ErrLoad, err))
		return
	}
	a.loadTries++
	final := int(a.loadTries) >= h.opts.Tries || !transient(err)
	h.log.LogAttrs(ctx, slog.LevelError, "load failed", slog.String("entity", a.key.String()),
		slog.Int("try", int(a.loadTries)), slog.Bool("final", final), slog.Any("err", err))
	if h.opts.Events.LoadFailed != nil {
		h.opts.Events.LoadFailed(a.key, err, final)
	}
	h.failed(ctx)
	if final {
		h.giveUp(a, fmt.Errorf("%w: %w", ErrLoad, err))
		return
	}
	h.alarms.set(h.now()+h.backoff(int(a.loadTries)), a, reload)
	h.pause(a)
}

// reload queues another try of a load.
func (h *Host) reload(a *activation) {
	select {
	case h.loads <- a:
	default:
		h.alarms.set(h.now()+h.opts.RetryBase, a, reload)
	}
}

// transient reports whether a load may succeed when it is tried again.
func transient(err error) bool {
	for _, lasting := range []error{persistence.ErrCorrupt, persistence.ErrNotOwner, persistence.ErrClosed, codec.ErrNewer, codec.ErrMalformed, errReplay, world.ErrOtherBase} {
		if errors.Is(err, lasting) {
			return false
		}
	}
	return true
}

// errReplay: what storage gave is not the whole entity.
var errReplay = errors.New("journal cannot be replayed")

// read fills a from storage. Only proven absence leaves a fresh entity behind.
func (h *Host) read(ctx context.Context, a *activation) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("%w: panic: %v", errReplay, r)
		}
	}()
	found, err := h.opts.Storage.Load(ctx, a.partition, a.key)
	if a.key.Kind == persistence.KindWorld {
		a.parts = newParts()
	}
	if errors.Is(err, persistence.ErrAbsent) {
		a.entity = &storev1.Entity{}
		return nil
	}
	if err != nil {
		return err
	}
	if found.Quarantined > 0 {
		h.log.LogAttrs(ctx, slog.LevelError, "damaged values in quarantine, entity is whole", slog.String("entity", a.key.String()),
			slog.Int("values", found.Quarantined))
		a.damaged = true
	}
	entity := &storev1.Entity{}
	if found.Snapshot.Seq != 0 {
		if entity, err = codec.DecodeEntity(found.Snapshot.Data); err != nil {
			return fmt.Errorf("snapshot %d: %w", found.Snapshot.Seq, err)
		}
		if persistence.Seq(entity.GetSeq()) != found.Snapshot.Seq {
			return fmt.Errorf("%w: the snapshot of seq %d holds %d", errReplay, found.Snapshot.Seq, entity.GetSeq())
		}
	}
	rules := h.opts.Rules(a.key.Space)
	if err = migrate(entity, rules); err != nil {
		return err
	}
	seq, bytes, err := h.replay(entity, found, rules, a.parts)
	if err != nil {
		return err
	}
	if a.parts != nil {
		if seq > found.Snapshot.Seq {
			a.parts.mainChanges = 1 // perhaps
		}
	}
	a.entity, a.seq, a.saved, a.sinceSaved = entity, seq, found.Snapshot.Seq, bytes
	if a.saved != 0 {
		a.savedAt = found.Snapshot.SavedAt.UnixMilli()
	}
	a.dirtySince = h.now()
	a.size.Store(int64(len(found.Snapshot.Data)) + bytes)
	if a.parts != nil {
		a.parts.main = int(a.size.Load())
		a.parts.loaded(found, persistence.Seq(entity.GetPartsSeq()))
	}
	return nil
}

// replay evolves the snapshot's state by the entries after it, up to the head; documents in old events are migrated first.
// What happened to a world's chunks is kept for them: that may be in entries which the snapshot covers. It returns the last
// seq, and the size of the entries after the snapshot.
func (h *Host) replay(entity *storev1.Entity, found *persistence.Loaded, rules *player.Rules, parts *parts) (persistence.Seq, int64, error) {
	seq, bytes := found.Snapshot.Seq, int64(0)
	covered := seq
	if parts != nil {
		seq, covered = found.Head.Trimmed, persistence.Seq(entity.GetPartsSeq())
	}
	for _, line := range found.Entries {
		if line.Seq != seq+1 {
			return 0, 0, fmt.Errorf("%w: entry %d after %d", errReplay, line.Seq, seq)
		}
		if seq = line.Seq; seq <= min(covered, found.Snapshot.Seq) {
			continue
		}
		entry, err := codec.DecodeEntry(line.Data)
		if err != nil {
			return 0, 0, fmt.Errorf("entry %d: %w", line.Seq, err)
		}
		if err := codec.MigrateEntry(entry, rules.Defaults()); err != nil {
			return 0, 0, fmt.Errorf("entry %d: %w", line.Seq, err)
		}
		if parts != nil && seq > covered {
			parts.replayed(seq, entry)
		}
		if seq <= found.Snapshot.Seq {
			continue
		}
		if err := h.evolve(entity, line.Seq, entry); err != nil {
			return 0, 0, fmt.Errorf("%w: entry %d: %w", errReplay, line.Seq, err)
		}
		bytes += int64(len(line.Data))
	}
	if seq != found.Head.Last || seq == 0 {
		return 0, 0, fmt.Errorf("%w: it ends at %d, the head says %d", errReplay, seq, found.Head.Last)
	}
	return seq, bytes, nil
}

// migrate brings an old document to the present version and fills what it lacks.
func migrate(entity *storev1.Entity, rules *player.Rules) error {
	return codec.Migrate(entity.GetPlayer(), rules.Defaults())
}
