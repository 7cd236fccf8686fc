package actors

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"

	"github.com/skerry-dev/skerry/actors/turn"
	"github.com/skerry-dev/skerry/actors/world"
	"github.com/skerry-dev/skerry/codec"
	"github.com/skerry-dev/skerry/codec/storev1"
	"github.com/skerry-dev/skerry/persistence"
)

// maxPartLoads bounds the loads of chunks that wait for a loader; more come later.
const maxPartLoads = 4096

// partLoad is a look at storage for a world: a chunk, or a page of names. A loader fills in the result; then it is a message.
type partLoad struct {
	a      *activation
	at     world.Coord
	height int
	tries  int        // that failed before
	page   *pageState // nil: it is for the chunk

	err   error
	final bool
	chunk *world.Chunk
	seq   persistence.Seq // that the snapshots cover
	found partStored
	// repaired: a newer snapshot was damaged; events are all that the journal has after seq.
	repaired bool
	events   []partEvent
	names    []persistence.Part
}

// pageState is the page of chunks for the first of the calls that wait.
type pageState struct {
	query   turn.PageQuery
	asked   bool
	retryAt instant
	tries   int
	done    bool
	failed  error
	result  turn.Page
}

// requestPart has a chunk loaded, unless that is under way.
func (a *activation) requestPart(p *part) {
	if p.loading || p.retryAt != 0 {
		return
	}
	p.loading = true
	if !a.requestLoad(&partLoad{a: a, at: p.at, height: int(a.entity.GetWorld().GetHeight()), tries: p.tries}) {
		p.loading, p.retryAt = false, a.host.now()+proposePause
		a.partAlarm(p.retryAt)
	}
}

// requestPage reads the names of a page.
func (a *activation) requestPage(page *pageState) {
	page.asked = true
	if !a.requestLoad(&partLoad{a: a, page: page, tries: page.tries}) {
		page.retryAt = a.host.now() + proposePause
		a.partAlarm(page.retryAt)
	}
}

func (a *activation) requestLoad(l *partLoad) bool {
	select {
	case a.host.partLoads <- l:
		return true
	default:
		return false
	}
}

// pageReady reports whether the page for the first call is there.
func (a *activation) pageReady(query turn.PageQuery) (bool, error) {
	w := a.parts
	if w.page == nil {
		w.page = &pageState{query: query}
	}
	if !w.page.asked {
		a.requestPage(w.page)
	}
	return w.page.done, w.page.failed
}

// loadPart does what l says, in a loader, and gives it back.
func (h *Host) loadPart(ctx context.Context, l *partLoad) {
	if l.err = h.readParts(ctx, l); l.err != nil {
		l.tries++
		l.final = l.tries >= h.opts.Tries || !transient(l.err)
		if ctx.Err() == nil {
			h.log.LogAttrs(ctx, slog.LevelError, "load of a part failed", slog.String("entity", l.a.key.String()), slog.String("part", l.at.String()),
				slog.Int("try", l.tries), slog.Bool("final", l.final), slog.Any("err", l.err))
			if h.opts.Events.LoadFailed != nil {
				h.opts.Events.LoadFailed(l.a.key, l.err, l.final)
			}
			h.failed(ctx)
		}
	}
	h.tell(l.a, l)
}

func (h *Host) readParts(ctx context.Context, l *partLoad) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("%w: panic: %v", errReplay, r)
		}
	}()
	if l.page != nil {
		l.names, err = h.opts.Storage.Parts(ctx, l.a.partition, l.a.key, "c/", l.page.query.After, l.page.query.Limit+1)
		return err
	}
	return h.readChunk(ctx, l)
}

// readChunk fills l from storage. Only proven absence leaves an absent chunk behind.
func (h *Host) readChunk(ctx context.Context, l *partLoad) error {
	whole, wholeSeq, stepped, err := h.readPart(ctx, l, l.at.Part())
	if err != nil {
		return err
	}
	delta, deltaSeq, more, err := h.readPart(ctx, l, l.at.Delta())
	if err != nil {
		return err
	}
	l.found = partStored{whole: whole != nil, delta: delta != nil}
	if deltaSeq <= wholeSeq {
		delta = nil // of an earlier chunk: it may have been cleared since
	}
	if l.chunk, _, err = world.Load(l.height, whole, delta); err != nil {
		return fmt.Errorf("%s: %w", l.at, err)
	}
	l.seq = max(wholeSeq, deltaSeq)
	l.found.hash = whole.GetContentHash()
	if delta != nil {
		l.found.hash = delta.GetContentHash()
	}
	if l.found.base, err = world.ColumnHash(whole); err != nil {
		return fmt.Errorf("%s: %w", l.at, err)
	}
	if stepped+more == 0 {
		return nil
	}
	h.log.LogAttrs(ctx, slog.LevelError, "damaged values in quarantine, an older snapshot is used", slog.String("entity", l.a.key.String()),
		slog.String("part", l.at.String()), slog.Int("values", stepped+more))
	return h.repair(ctx, l)
}

// readPart reads one of a chunk's parts; nil when there is none, with the seq at which it went, if it did.
func (h *Host) readPart(ctx context.Context, l *partLoad, name string) (*storev1.ChunkPart, persistence.Seq, int, error) {
	snapshot, stepped, err := h.opts.Storage.LoadPart(ctx, l.a.partition, l.a.key, persistence.Part(name))
	if errors.Is(err, persistence.ErrAbsent) {
		return nil, snapshot.Seq, 0, nil
	}
	if err != nil {
		return nil, 0, 0, err
	}
	part, err := codec.DecodeChunk(snapshot.Data)
	if err != nil {
		return nil, 0, 0, fmt.Errorf("%s at %d: %w", name, snapshot.Seq, err)
	}
	if persistence.Seq(part.GetSeq()) != snapshot.Seq {
		return nil, 0, 0, fmt.Errorf("%w: the snapshot of %s at %d holds %d", errReplay, name, snapshot.Seq, part.GetSeq())
	}
	return part, snapshot.Seq, stepped, nil
}

// repair finds what the journal has of the chunk after an older snapshot. What was trimmed nobody has.
func (h *Host) repair(ctx context.Context, l *partLoad) error {
	found, err := h.opts.Storage.Load(ctx, l.a.partition, l.a.key)
	if err != nil {
		return err
	}
	if found.Head.Trimmed > l.seq {
		return fmt.Errorf("%w: %s at %d is damaged since, and the journal begins at %d", persistence.ErrCorrupt, l.at, l.seq, found.Head.Trimmed+1)
	}
	for _, line := range found.Entries {
		entry, err := codec.DecodeEntry(line.Data)
		if err != nil {
			return fmt.Errorf("entry %d: %w", line.Seq, err)
		}
		for _, event := range entry.GetWorldEvents() {
			if at, ofChunk := world.ChunkOf(event); ofChunk && at == l.at {
				l.events = append(l.events, partEvent{line.Seq, event})
			}
		}
	}
	l.repaired = true
	l.found.hash, l.found.base = 0, 0 // write it again
	return nil
}

// receiveLoaded takes what a loader found.
func (a *activation) receiveLoaded(l *partLoad) {
	a.queued.Add(-1)
	defer a.afterMessage()
	if a.mode > yielding {
		return
	}
	if l.page != nil {
		a.pageLoaded(l)
	} else {
		a.partLoaded(l)
	}
	a.advance()
	if a.mode == yielding {
		a.refuseHeldUp()
	}
	a.goOnSaving()
}

func (a *activation) partLoaded(l *partLoad) {
	p := a.parts.get(l.at)
	p.loading = false
	err, final := l.err, l.final
	if err == nil {
		if err = a.adopt(p, l); err == nil {
			if p.toSave {
				p.toSave = false
				a.capture(p)
			}
			return
		}
		final = true
	}
	if p.tries = l.tries; !final {
		p.retryAt = a.host.now() + a.host.backoff(p.tries)
		a.partAlarm(p.retryAt)
		return
	}
	p.tries = 0
	if p.toSave {
		p.toSave = false
		a.captureFailed(fmt.Errorf("%w: %w", ErrLoad, err))
	}
	p.failed = err // for the call that waits, if one does
	if len(a.parts.waiting) == 0 {
		p.failed = nil
	}
}

// adopt puts a chunk from storage into its place, after the events that its snapshot does not cover.
func (a *activation) adopt(p *part, l *partLoad) error {
	events := p.pending
	if l.repaired {
		events = l.events
	}
	first := persistence.Seq(0)
	for _, e := range events {
		if e.seq <= l.seq {
			continue
		}
		if err := world.EvolveChunk(l.chunk, e.event); err != nil {
			return fmt.Errorf("%w: entry %d of %s: %w", errReplay, e.seq, p.at, err)
		}
		if p.newest = max(p.newest, e.seq); first == 0 {
			first = e.seq
		}
	}
	if l.repaired && first == 0 {
		first = max(l.seq, 1) // the damaged snapshot is to be replaced
	}
	p.chunk, p.pending, p.stored, p.tries = l.chunk, nil, l.found, 0
	a.parts.clean(p, 0)
	if first != 0 {
		newest := max(p.newest, first)
		wasDirty := a.dirty()
		a.parts.mark(p, first)
		p.newest = newest
		if !wasDirty {
			a.dirtySince = a.host.now()
			a.host.autosave.push(a, a.dirtySince)
		}
	}
	a.weigh(p)
	return nil
}

// pageLoaded joins the stored names with what only memory knows.
func (a *activation) pageLoaded(l *partLoad) {
	page := l.page
	if page != a.parts.page {
		return // of a call that was answered
	}
	if l.err != nil {
		if page.tries = l.tries; l.final {
			page.failed = l.err
			return
		}
		page.retryAt = a.host.now() + a.host.backoff(page.tries)
		a.partAlarm(page.retryAt)
		return
	}
	limit := page.query.Limit
	upTo := "" // names from here on are not known yet
	if len(l.names) > limit {
		upTo = string(l.names[limit])
	}
	var names []string
	for _, name := range l.names {
		at, delta, ok := world.ParsePart(string(name))
		if ok && !delta && (a.parts.chunks[at] == nil || a.parts.chunks[at].isThere(true)) {
			names = append(names, string(name))
		}
	}
	for at, p := range a.parts.chunks {
		if name := at.Part(); name > page.query.After && p.isThere(false) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	names = slices.Compact(names)
	if upTo != "" {
		names = slices.DeleteFunc(names, func(name string) bool { return name >= upTo })
	}
	if len(names) == 0 && upTo != "" { // all of them are gone
		page.query.After = string(l.names[limit-1])
		a.requestPage(page)
		return
	}
	page.result.More = upTo != "" || len(names) > limit
	for _, name := range names[:min(limit, len(names))] {
		at, _, _ := world.ParsePart(name)
		page.result.Chunks = append(page.result.Chunks, at)
	}
	page.done = true
}

// isThere reports whether anything of the chunk is to be stored; otherwise says what storage says, for one that is not
// loaded and has no newer event.
func (p *part) isThere(otherwise bool) bool {
	switch {
	case p.chunk != nil:
		return !p.chunk.IsEmpty()
	case len(p.pending) > 0:
		return p.pending[len(p.pending)-1].event.GetChunkCleared() == nil
	default:
		return otherwise
	}
}

// loaded notes what the activation's load found. The entries up to covered are in the chunks' snapshots; which of them a
// snapshot was not written for is not known any more.
func (w *parts) loaded(found *persistence.Loaded, covered persistence.Seq) {
	w.trimmed = found.Head.Trimmed
	for i, s := range found.Head.Snapshots {
		w.kept[i] = s.Seq
	}
	if covered > w.trimmed {
		w.spans = append(w.spans, span{w.trimmed + 1, covered})
	}
}
