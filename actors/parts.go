package actors

import (
	"fmt"
	"slices"
	"time"

	"github.com/skerry-dev/skerry/actors/turn"
	"github.com/skerry-dev/skerry/actors/world"
	"github.com/skerry-dev/skerry/codec/storev1"
	"github.com/skerry-dev/skerry/persistence"
)

// parts are the chunks of a world that are in memory. They belong to the world's actor, like the activation.
type parts struct {
	chunks map[world.Coord]*part
	dirty  int    // how many of them have events that no snapshot covers
	bytes  int64  // of those that are loaded
	main   int    // bytes of the main part, encoded, about
	turns  uint64 // that were begun: the clock of part.used

	waiting []*Call    // in order; the first one waits for chunks or a page. Bounded by MailboxSize
	page    *pageState // of the first one, or nil
	holder  *heldBy    // for the first one, or nil
	alarm   bool       // a retryParts is set

	kept    [2]persistence.Seq // seqs of the main snapshots that storage keeps, newest first
	trimmed persistence.Seq    // entries up to it are dropped

	mainChanges uint64 // of the main part, by more than answers to commands
	mainSaved   uint64 // how many of them the newest main snapshot has
	sinceMain   int64  // bytes of the entries that saves without a main snapshot have covered since
	spans       []span
}

// part is one chunk, in memory or on its way.
type part struct {
	at      world.Coord
	chunk   *world.Chunk // nil while it is not loaded
	pending []partEvent  // that the journal had at activation, until the chunk is loaded
	bytes   int64        // of chunk
	used    uint64       // the turn that looked at it last

	firstDirty persistence.Seq // the oldest event that no snapshot of it covers, 0: it is clean
	newest     persistence.Seq // the newest event, once there was one

	stored  partStored // what storage has of it, once loaded
	loading bool
	retryAt instant // of the next try to load it, 0: none
	tries   int     // to load it, that failed
	failed  error   // the last one did, for good
	save    *partSave
	toSave  bool // it is being loaded to be saved
}

// partStored is what is known of a part's snapshots.
type partStored struct {
	whole, delta bool   // there is one, perhaps
	hash         uint64 // of the newest one's content, 0: write it whatever it is
	base         uint64 // of the whole one's column, 0: it has none
}

// partEvent is an event of a chunk and its entry's seq.
type partEvent struct {
	seq   persistence.Seq
	event *storev1.WorldEvent
}

// span is a range of entries of which some chunk's snapshot needs all or none: what they did together changed nothing, so it
// was not stored, and they must not be cut in the middle.
type span struct{ from, to persistence.Seq }

func newParts() *parts { return &parts{chunks: map[world.Coord]*part{}} }

// Chunk implements [world.Parts].
func (w *parts) Chunk(at world.Coord) *world.Chunk {
	if p := w.chunks[at]; p != nil {
		return p.chunk
	}
	return nil
}

// get returns the place of a chunk.
func (w *parts) get(at world.Coord) *part {
	p := w.chunks[at]
	if p == nil {
		p = &part{at: at}
		w.chunks[at] = p
	}
	return p
}

// mark notes an event of a chunk that no snapshot covers.
func (w *parts) mark(p *part, seq persistence.Seq) {
	if p.firstDirty == 0 {
		p.firstDirty = seq
		w.dirty++
	}
	if p.save != nil && p.save.edited == 0 {
		p.save.edited = seq
	}
	p.newest = seq
}

// clean notes that all events of a chunk before seq from are covered; from 0: all.
func (w *parts) clean(p *part, from persistence.Seq) {
	if p.firstDirty != 0 && from == 0 {
		w.dirty--
	}
	p.firstDirty = from
}

// replayed notes an event that the journal had at activation.
func (w *parts) replayed(seq persistence.Seq, entry *storev1.Entry) {
	for _, event := range entry.GetWorldEvents() {
		if at, ofChunk := world.ChunkOf(event); ofChunk {
			p := w.get(at)
			p.pending = append(p.pending, partEvent{seq, event})
			w.mark(p, seq)
		}
	}
}

// covered is the greatest seq, at most the main snapshot's, up to which the parts' snapshots cover their events.
func (w *parts) covered(main persistence.Seq) persistence.Seq {
	for _, p := range w.chunks {
		if p.firstDirty != 0 {
			main = min(main, p.firstDirty-1)
		}
	}
	return w.uncut(main)
}

// trimTo is up to where the main snapshot at seq may trim the journal: no further than storage will, whose own bound does
// not know of spans.
func (w *parts) trimTo(seq, covered persistence.Seq) persistence.Seq {
	older := w.kept[0]
	if seq == older { // it takes the newest one's place
		older = w.kept[1]
	}
	return w.uncut(min(covered, older))
}

// uncut lowers to until no span has entries on both sides of it.
func (w *parts) uncut(to persistence.Seq) persistence.Seq {
	for again := true; again; {
		again = false
		for _, s := range w.spans {
			if s.from <= to && to < s.to {
				to, again = s.from-1, true
			}
		}
	}
	return to
}

// savedMain notes an accepted main snapshot.
func (w *parts) savedMain(seq, trimmed persistence.Seq) {
	if seq != w.kept[0] {
		w.kept[1] = w.kept[0]
	}
	w.kept[0], w.sinceMain = seq, 0
	w.trimmed = max(w.trimmed, trimmed)
	w.spans = slices.DeleteFunc(w.spans, func(s span) bool { return s.to <= w.trimmed })
}

// lineUp puts a call behind those that wait, or makes it wait for what it needs; it reports false when the call can run now.
func (a *activation) lineUp(c *Call) bool {
	w := a.parts
	if w == nil {
		return false
	}
	if len(w.waiting) == 0 {
		w.turns++
		if ready, err := a.ready(c); ready && err == nil {
			return false
		}
	}
	a.current = nil
	w.waiting = append(w.waiting, c)
	if len(w.waiting) == 1 {
		a.advance() // it may have failed
	}
	return true
}

// advance runs the calls that wait, up to the first one whose chunks are not there.
func (a *activation) advance() {
	w := a.parts
	for a.mode <= yielding && len(w.waiting) > 0 {
		c := w.waiting[0]
		ready, err := a.ready(c)
		if !ready && err == nil {
			return
		}
		w.waiting[0] = nil
		w.waiting = w.waiting[1:]
		a.current = c
		if err != nil {
			a.refuse(fmt.Errorf("%w: %w", ErrLoad, err))
		} else {
			a.runTurn(c)
		}
		w.page, w.holder = nil, nil
		w.turns++
	}
}

// ready reports whether what a call needs is there, and asks for what is not. An error says that it cannot be had.
func (a *activation) ready(c *Call) (bool, error) {
	if !a.hasWorld() {
		return true, nil // the turn says so
	}
	if !a.holderKnown(c) {
		return false, nil
	}
	needs := world.Needs(c.Request)
	if query, paged := turn.PageOf(c.Request); paged {
		if ready, err := a.pageReady(query); !ready || err != nil {
			return false, err
		}
		if query.Load {
			needs = a.parts.page.result.Chunks
		}
	}
	all := true
	for _, at := range needs {
		p := a.parts.get(at)
		p.used = a.parts.turns
		if p.failed != nil {
			err := p.failed
			p.failed = nil // the next call tries again
			return false, err
		}
		if p.chunk == nil {
			all = false
			a.requestPart(p)
		}
	}
	return all, nil
}

// hasWorld reports whether the state is whole, and is not that of a world which is absent.
func (a *activation) hasWorld() bool {
	return a.unpack() == nil && a.entity.GetWorld() != nil
}

// handOver gives the calls that wait to the next activation: nothing was done for them.
func (a *activation) handOver(calls ...*Call) {
	if a.parts != nil && len(a.parts.waiting) > 0 { // they came first
		calls = append(a.parts.waiting, calls...)
		a.parts.waiting, a.parts.page, a.parts.holder = nil, nil, nil
	}
	if len(calls) == 0 {
		return
	}
	if a.handedOver == nil {
		a.handedOver = new([]*Call)
	}
	*a.handedOver = append(*a.handedOver, calls...)
}

// evolveParts applies a turn's entry to the chunks that it names, which are loaded.
func (a *activation) evolveParts(entry *storev1.Entry) error {
	for _, event := range entry.GetWorldEvents() {
		at, ofChunk := world.ChunkOf(event)
		if !ofChunk {
			continue
		}
		c := a.parts.Chunk(at)
		if c == nil {
			return fmt.Errorf("%w: an event of chunk %v, which is not loaded", errReplay, at)
		}
		if err := world.EvolveChunk(c, event); err != nil {
			return err
		}
	}
	return nil
}

const (
	// maxMainEntries and maxMainBytes are how much journal may follow a world's main snapshot while only chunks change: the
	// main part holds the answers to the last commands and would be most of a small save.
	maxMainEntries = 1000
	maxMainBytes   = 64 << 10
)

// mainMayWait reports whether a save is done with its chunks: the journal has what else there is to the main part, and it
// is short.
func (a *activation) mainMayWait() bool {
	w := a.parts
	if a.mode != running || w.mainChanges != w.mainSaved || w.kept[0] == 0 || a.seq-w.kept[0] > maxMainEntries || w.sinceMain+a.sinceSaved > maxMainBytes {
		return false
	}
	return a.gate.Applied(a.save.target) // else a reply would claim what the journal does not have yet
}

// markMain notes whether the newest entry changed the main part by more than the answers that it remembers.
func (w *parts) markMain(entry *storev1.Entry) {
	ofChunks := &storev1.Entry{TimeMs: entry.GetTimeMs(), Outcome: entry.GetOutcome()}
	for _, event := range entry.GetWorldEvents() {
		if _, ofChunk := world.ChunkOf(event); ofChunk {
			ofChunks.WorldEvents = append(ofChunks.WorldEvents, event)
		}
	}
	if entry.SizeVT() != ofChunks.SizeVT() {
		w.mainChanges++
	}
}

// markParts notes which chunks the newest entry changed.
func (a *activation) markParts(entry *storev1.Entry) {
	if a.parts == nil {
		return
	}
	a.parts.markMain(entry)
	for _, event := range entry.GetWorldEvents() {
		if at, ofChunk := world.ChunkOf(event); ofChunk {
			p := a.parts.get(at)
			a.parts.mark(p, a.seq)
			a.weigh(p)
		}
	}
}

// weigh notes how much memory a part takes.
func (a *activation) weigh(p *part) {
	bytes := int64(0)
	if p.chunk != nil {
		bytes = int64(p.chunk.Bytes())
	}
	a.parts.bytes += bytes - p.bytes
	p.bytes = bytes
	a.resize(a.parts.main)
}

// limitParts keeps the chunks of the world within their bound.
func (a *activation) limitParts() {
	limit := a.host.opts.WorldMemoryBytes
	if a.mode > finishing || a.parts.bytes <= limit {
		return
	}
	a.evictParts(limit - limit/4)
	if a.parts.bytes > limit && a.parts.dirty > 0 {
		why := byInterval
		if a.parts.bytes > 2*limit {
			why = byNeed // without tokens they would fill the node's memory
		}
		a.beginSave(why) // then they can be evicted
	}
}

// evictParts forgets clean chunks, the least recently used first, until the others take at most target bytes.
func (a *activation) evictParts(target int64) {
	w := a.parts
	if w.page != nil { // what was saved since the page was read must be seen here
		return
	}
	var clean []*part
	for _, p := range w.chunks {
		if p.firstDirty == 0 && p.save == nil && !p.loading && p.retryAt == 0 && (len(w.waiting) == 0 || p.used < w.turns) {
			clean = append(clean, p)
		}
	}
	slices.SortFunc(clean, func(x, y *part) int { return int(x.used) - int(y.used) }) //nolint:gosec // far below 2^63
	for _, p := range clean {
		if w.bytes <= target {
			break
		}
		w.bytes -= p.bytes
		delete(w.chunks, p.at)
	}
	a.resize(w.main)
}

// partAlarm sees to it that loads are tried again at the instant at, or before.
func (a *activation) partAlarm(at instant) {
	if !a.parts.alarm {
		a.parts.alarm = true
		a.host.alarms.set(at, a, retryParts)
	}
}

// retryLoads asks again for the chunks whose pause is over.
func (a *activation) retryLoads() {
	w := a.parts
	w.alarm = false
	now := a.host.now()
	next := time.Duration(0)
	for _, p := range w.chunks {
		switch {
		case p.retryAt == 0:
		case p.retryAt <= now:
			p.retryAt = 0
			a.requestPart(p)
		case next == 0 || p.retryAt < next:
			next = p.retryAt
		}
	}
	if page := w.page; page != nil && page.retryAt != 0 {
		if page.retryAt <= now {
			page.retryAt = 0
			a.requestPage(page)
		} else if next == 0 || page.retryAt < next {
			next = page.retryAt
		}
	}
	if next != 0 {
		a.partAlarm(next)
	}
}

// worldEnv is what only a world's turn may know.
func (a *activation) worldEnv(env *turn.Env) {
	h := a.host
	env.Parts, env.WorldRules = a.parts, h.opts.WorldRules(a.key.Space)
	if a.parts.page != nil {
		env.Page = a.parts.page.result
	}
	env.HolderPresent = a.holderPresent()
}
