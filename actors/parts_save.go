package actors

import (
	"cmp"
	"slices"
	"time"

	"github.com/skerry-dev/skerry/actors/world"
	"github.com/skerry-dev/skerry/codec"
	"github.com/skerry-dev/skerry/persistence"
)

// maxPartSaves is how many chunks of a world are saved, or loaded for it, at a time.
const maxPartSaves = 4

// partsSave is the first half of a world's save: the chunks. The main part's snapshot follows when none of those that were
// dirty is left, so that the journal may be trimmed.
type partsSave struct {
	queue    []*part // oldest first
	inFlight int
	paused   bool // the journal took no more; a retrySave is set
	err      error
	bytes    int
	large    []*part // captured, and too large for one change; the first one is on its way
}

// partSave is a chunk's snapshot on its way.
type partSave struct {
	upload
	after  persistence.Part // gone too, next; "": nothing
	stored partStored       // once it is accepted
	edited persistence.Seq  // the first event after it was captured, 0: none came
}

// upload is a snapshot of a part, and how much of it was proposed.
type upload struct {
	part   persistence.Part
	seq    persistence.Seq
	at     time.Time
	data   []byte // nil: the part is gone
	pieces int    // that were proposed, of a large one
}

// snapshot is what makes an upload visible: its data, or the number of its pieces.
func (u *upload) snapshot(epoch persistence.Epoch) *persistence.Snapshot {
	s := &persistence.Snapshot{Part: u.part, Seq: u.seq, Epoch: epoch, SavedAt: u.at}
	switch {
	case u.data == nil:
		s.Gone = true
	case u.pieces > 0:
		s.Pieces = u.pieces
	default:
		s.Data = u.data
	}
	return s
}

// saveParts saves what is dirty of a world's chunks, and reports whether that is done. When it is not, the save goes on with
// the next result.
func (a *activation) saveParts() bool {
	s := a.save
	if s.parts == nil {
		if a.unpack() != nil || !a.flush() {
			a.saveLater(proposePause)
			return false
		}
		s.parts = &partsSave{}
		for _, p := range a.parts.chunks {
			if p.firstDirty != 0 {
				s.parts.queue = append(s.parts.queue, p)
			}
		}
		slices.SortFunc(s.parts.queue, func(x, y *part) int { return cmp.Compare(x.firstDirty, y.firstDirty) })
		s.target, s.bytes, s.edited = a.seq, a.sinceSaved, false
	}
	s.parts.paused = false
	for len(s.parts.queue) > 0 && s.parts.inFlight < maxPartSaves && !s.parts.paused { // also after an error: one bad chunk does not keep the others
		p := s.parts.queue[0]
		s.parts.queue = s.parts.queue[1:]
		if p.firstDirty == 0 {
			continue
		}
		s.parts.inFlight++
		if p.chunk == nil {
			p.toSave = true
			a.requestPart(p)
			continue
		}
		a.capture(p)
	}
	if err := s.parts.err; err != nil {
		if s.parts.inFlight == 0 && len(s.parts.queue) == 0 {
			s.parts = nil
			a.saveFailed(err)
		}
		return false
	}
	return len(s.parts.queue) == 0 && s.parts.inFlight == 0
}

// goOnSaving goes on with a world's save after something came for it.
func (a *activation) goOnSaving() {
	s := a.save
	if s != nil && s.parts != nil && !s.inFlight && !s.parts.paused && a.mode <= finishing {
		a.trySave()
	}
}

// captureFailed ends the save of one chunk; the world's save fails when the others have ended.
func (a *activation) captureFailed(err error) {
	if a.save == nil || a.save.parts == nil {
		return
	}
	a.save.parts.inFlight--
	if a.save.parts.err == nil {
		a.save.parts.err = err
	}
}

// capture takes the chunk as it is now and sends it, unless storage has the same.
func (a *activation) capture(p *part) {
	s := a.save
	if s == nil || s.parts == nil {
		return
	}
	said, err := p.chunk.Save(uint64(a.seq), p.stored.base)
	if err != nil {
		a.captureFailed(err)
		return
	}
	a.weigh(p) // it may have been folded
	empty := p.chunk.IsEmpty()
	if empty && !p.stored.whole && !p.stored.delta || !empty && p.stored.hash != 0 && said.GetContentHash() == p.stored.hash {
		if p.firstDirty != 0 {
			a.parts.spans = append(a.parts.spans, span{p.firstDirty, p.newest})
		}
		a.parts.clean(p, 0)
		s.parts.inFlight--
		return
	}
	save := &partSave{stored: p.stored}
	save.seq, save.at, save.part = a.seq, time.Now().Truncate(time.Millisecond), persistence.Part(p.at.Part())
	switch {
	case empty:
		save.stored = partStored{}
		if p.stored.delta {
			save.after = persistence.Part(p.at.Delta())
		}
	case world.IsDelta(said):
		save.part = persistence.Part(p.at.Delta())
		save.stored.delta, save.stored.hash = true, said.GetContentHash()
	default:
		save.stored.whole, save.stored.hash = true, said.GetContentHash()
		save.stored.base, err = world.ColumnHash(said)
	}
	if err == nil && !empty {
		save.data, err = codec.EncodeChunk(said)
	}
	if err != nil {
		a.captureFailed(err)
		return
	}
	p.save = save
	if len(save.data) > persistence.MaxPieceBytes {
		if s.parts.large = append(s.parts.large, p); len(s.parts.large) == 1 {
			a.requestPiece()
		}
		return
	}
	a.proposePart(p)
}

// proposePart sends what makes a chunk's snapshot visible, after everything that it covers.
func (a *activation) proposePart(p *part) {
	send := &proposal{a: a, kind: withPart, part: p, began: a.save.began}
	send.change.Key, send.change.Epoch = a.key, a.epoch
	send.change.Snapshot = p.save.snapshot(a.epoch)
	if !a.flush() || !a.propose(send) {
		a.recapture(p)
	}
}

// recapture begins again with a chunk that the journal took no more of.
func (a *activation) recapture(p *part) {
	p.save = nil
	s := a.save
	s.parts.inFlight--
	s.parts.queue = slices.Insert(s.parts.queue, 0, p)
	if len(s.parts.large) > 0 && s.parts.large[0] == p {
		a.nextLarge()
	}
	if !s.parts.paused {
		s.parts.paused = true
		a.saveLater(proposePause)
	}
}

// partSaved goes on after the journal's word on a chunk's snapshot.
func (a *activation) partSaved(p *part, err error) {
	s := a.save
	switch {
	case err != nil:
		p.save = nil
		a.captureFailed(err)
	case p.save.after != "":
		p.save.part, p.save.after = p.save.after, ""
		a.proposePart(p)
		return
	default:
		p.stored = p.save.stored
		a.parts.clean(p, p.save.edited)
		s.parts.bytes += len(p.save.data)
		s.stored += int64(len(p.save.data))
		s.parts.inFlight--
		p.save = nil
	}
	if len(s.parts.large) > 0 && s.parts.large[0] == p {
		a.nextLarge()
	}
	a.goOnSaving()
}

// nextLarge goes on with the next chunk that goes in pieces.
func (a *activation) nextLarge() {
	s := a.save.parts
	if s.large = s.large[1:]; len(s.large) > 0 {
		a.requestPiece()
	}
}

// receivePartResult goes on after a chunk's snapshot, or a piece of one.
func (a *activation) receivePartResult(r saveResult) {
	p := r.p.part
	switch {
	case r.err != nil || r.p.kind != pieceOnly:
		a.partSaved(p, r.err)
	case p.save.pieces*persistence.MaxPieceBytes < len(p.save.data):
		a.requestPiece()
	default:
		a.proposePart(p)
	}
}

// uploading is what goes in pieces now, and whose it is: nil is the main part's.
func (s *saving) uploading() (*upload, *part) {
	if s.parts != nil && len(s.parts.large) > 0 {
		return &s.parts.large[0].save.upload, s.parts.large[0]
	}
	return &s.upload, nil
}

// size is the bytes of all snapshots of a save.
func (s *saving) size() int {
	size := len(s.data)
	if s.parts != nil {
		size += s.parts.bytes
	}
	return size
}

// dropPartSaves forgets what a save that failed for good was about to do.
func (a *activation) dropPartSaves() {
	if a.save == nil || a.save.parts == nil {
		return
	}
	for _, p := range a.parts.chunks {
		p.save, p.toSave = nil, false
	}
}
