package actors

import (
	"errors"
	"log/slog"
	"time"

	"github.com/skerry-dev/skerry/persistence"
)

const (
	// flushEntries and flushBytes are what one Change carries at most, and what makes a MEMORY tail go before its time.
	flushEntries = 256
	flushBytes   = 128 << 10
	// maxTailEntries and maxTailBytes are how long a tail that the journal does not take may grow by MEMORY commands.
	// Durable ones are bounded by the mailbox.
	maxTailEntries = 4096
	maxTailBytes   = 1 << 20
	// maxJournalEntries and maxJournalBytes after the newest snapshot force the next one.
	maxJournalEntries = 10_000
	maxJournalBytes   = 4 << 20
	// proposePause is how long a full queue of the journal is left alone.
	proposePause = 20 * time.Millisecond
)

// tailEntry is an entry that was not proposed yet, with the marks of its turn.
type tailEntry struct {
	entry persistence.Entry
	marks []persistence.Mark
}

// append adds the newest entry to the tail.
func (a *activation) append(entry persistence.Entry, marks []persistence.Mark, now instant) {
	if a.seq == 0 {
		a.host.log.LogAttrs(noContext, slog.LevelInfo, "entity created", slog.String("entity", a.key.String()))
	}
	if len(a.tail) == 0 {
		a.tailSince = now
	}
	if a.save != nil && !a.save.edited {
		a.save.edited, a.save.editedAt = true, now
	}
	if !a.dirty() {
		a.dirtySince = now
		a.host.autosave.push(a, now)
	}
	a.seq = entry.Seq
	a.sinceSaved += int64(len(entry.Data))
	a.tailSize += len(entry.Data)
	a.tail = append(a.tail, tailEntry{entry, marks})
	if a.saved == 0 {
		size := int(a.size.Load())
		if a.parts != nil {
			size = a.parts.main
		}
		a.resize(size + len(entry.Data)) // until a snapshot says it better
	}
}

// proposed is the seq of the newest entry that was handed to the journal.
func (a *activation) proposed() persistence.Seq {
	return a.seq - persistence.Seq(len(a.tail))
}

// stalled reports whether MEMORY commands must be refused: the loss window would grow.
func (a *activation) stalled(now instant) bool {
	oldest, flying := a.gate.Oldest()
	if !flying && len(a.tail) > 0 && !a.host.opts.Naive {
		oldest, flying = a.tailSince, true
	}
	return flying && now-oldest > 2*a.host.opts.JournalInterval || len(a.tail) >= maxTailEntries || a.tailSize >= maxTailBytes
}

// flushLater sees to it that the tail goes to the journal within the journal interval.
func (a *activation) flushLater(now instant) {
	switch {
	case len(a.tail) >= flushEntries || a.tailSize >= flushBytes:
		a.flush()
	case !a.flushAlarm && !a.host.opts.Naive:
		a.flushAlarm = true
		a.host.alarms.set(now+a.host.opts.JournalInterval, a, flushTail)
	}
}

// flush hands the tail to the journal. It reports whether that took all of it; if not, another try is under way.
func (a *activation) flush() bool {
	for len(a.tail) > 0 {
		p := &proposal{a: a}
		n := a.load(p)
		if !a.propose(p) {
			return false
		}
		a.drop(n)
	}
	return true
}

// drop forgets the first n entries of the tail: the journal has them.
func (a *activation) drop(n int) {
	for i := range a.tail[:n] {
		a.tailSize -= len(a.tail[i].entry.Data)
	}
	rest := copy(a.tail, a.tail[n:])
	clear(a.tail[rest:])
	a.tail = a.tail[:rest]
}

// proposal is a Change on its way.
type proposal struct {
	a      *activation
	change persistence.Change
	one    [1]persistence.Entry // the room for the usual case
	last   persistence.Seq      // of the entries, 0: there are none
	kind   proposalKind
	part   *part // whose snapshot it is, nil: the main part's
	began  instant
}

type proposalKind uint8

const (
	entriesOnly proposalKind = iota
	withSnapshot
	withPart // the snapshot of a chunk
	pieceOnly
)

// load fills p with as much of the tail as one Change carries and returns how many entries that is.
func (a *activation) load(p *proposal) int {
	p.change.Key, p.change.Epoch = a.key, a.epoch
	if len(a.tail) == 0 {
		return 0
	}
	n, size := 0, 0
	for n < len(a.tail) && n < flushEntries && (n == 0 || size < flushBytes) {
		size += len(a.tail[n].entry.Data)
		n++
	}
	p.change.Entries = p.one[:0]
	if n > 1 {
		p.change.Entries = make([]persistence.Entry, 0, n)
	}
	for i := range a.tail[:n] {
		p.change.Entries = append(p.change.Entries, a.tail[i].entry)
		p.change.Marks = append(p.change.Marks, a.tail[i].marks...)
	}
	p.last = a.tail[n-1].entry.Seq
	return n
}

// propose hands p to the journal. When that takes nothing now, it sees to another try, or to the end, and returns false.
func (a *activation) propose(p *proposal) bool {
	if p.last != 0 {
		a.gate.Departed(p.last, a.tailSince)
	}
	if p.kind != entriesOnly {
		a.host.partitions[a.partition].handover.saving()
	}
	err := a.host.opts.Journal.Propose(a.partition, &p.change, p.done)
	if err == nil {
		return true
	}
	if p.last != 0 {
		a.gate.Returned()
	}
	if p.kind != entriesOnly {
		a.host.partitions[a.partition].handover.saved()
	}
	switch {
	case !errors.Is(err, persistence.ErrQueueFull):
		a.wrong(err)
	case !a.proposes:
		a.proposes = true
		a.host.alarms.set(a.host.now()+proposePause, a, retryPropose)
	}
	return false
}

// done is the journal's word on p, from its own goroutine.
func (p *proposal) done(err error) {
	a := p.a
	switch {
	case err == nil && p.last != 0:
		a.gate.Landed(a, p.last)
	case err != nil && (p.last != 0 || isFinal(err)):
		a.reportWrong(err)
		a.wrong(err)
		if p.last != 0 {
			a.gate.Crashed(a, p.last)
		}
	}
	switch p.kind {
	case withSnapshot, withPart, pieceOnly:
		if p.kind == pieceOnly {
			a.host.returnPiece(a.partition)
		}
		a.host.partitions[a.partition].handover.saved()
		a.host.tell(a, saveResult{err: err, p: p})
	case entriesOnly:
	}
}

// isFinal reports whether err says that the activation itself is wrong, not only the change.
func isFinal(err error) bool {
	return errors.Is(err, persistence.ErrFenced) || errors.Is(err, persistence.ErrOutcomeUnknown) ||
		errors.Is(err, persistence.ErrOldSnapshot) || errors.Is(err, persistence.ErrDuplicate) || errors.Is(err, persistence.ErrGap)
}

func (a *activation) reportWrong(err error) {
	if errors.Is(err, persistence.ErrOutcomeUnknown) {
		return // leadership was lost: said once for the partition
	}
	a.host.log.LogAttrs(noContext, slog.LevelWarn, "activation refused by storage", slog.String("entity", a.key.String()),
		slog.String("epoch", a.epoch.String()), slog.Any("err", err))
}
