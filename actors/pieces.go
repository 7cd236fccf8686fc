package actors

import "github.com/skerry-dev/skerry/persistence"

// maxPieces is how many pieces of snapshots may be on their way in a partition at a time, so that large saves do not hold
// up the commands of others.
const maxPieces = 2

// requestPiece proposes the next piece, now or when it is this activation's turn.
func (a *activation) requestPiece() {
	s := &a.host.partitions[a.partition].pieces
	s.Lock()
	granted := s.used < maxPieces
	if granted {
		s.used++
	} else {
		s.waiting = append(s.waiting, a)
	}
	s.Unlock()
	if granted {
		a.proposePiece()
	}
}

// returnPiece gives a free place to the next activation that waits for one.
func (h *Host) returnPiece(p persistence.Partition) {
	s := &h.partitions[p].pieces
	for {
		s.Lock()
		if len(s.waiting) == 0 {
			s.used--
			s.Unlock()
			return
		}
		next := s.waiting[0]
		s.waiting[0] = nil
		s.waiting = s.waiting[1:]
		s.Unlock()
		if h.tell(next, pieceGranted) {
			return
		}
	}
}

// proposePiece uses a place that was granted.
func (a *activation) proposePiece() {
	s := a.save
	if s == nil || a.mode > finishing {
		a.host.returnPiece(a.partition)
		return
	}
	u, of := s.uploading()
	if !a.flush() { // before the first piece: everything that the snapshot covers
		a.pieceRefused(of)
		return
	}
	from := u.pieces * persistence.MaxPieceBytes
	if from >= len(u.data) { // it was begun anew since this place was asked for
		a.host.returnPiece(a.partition)
		return
	}
	p := &proposal{a: a, kind: pieceOnly, part: of, began: s.began}
	p.change.Key, p.change.Epoch = a.key, a.epoch
	p.change.Piece = &persistence.Piece{
		Part: u.part, Seq: u.seq, Index: u.pieces, Data: u.data[from:min(from+persistence.MaxPieceBytes, len(u.data))],
	}
	u.pieces++
	if !a.propose(p) {
		a.pieceRefused(of)
	}
}

// pieceRefused sees to another try after the journal took no more; of is the chunk, nil: the main part.
func (a *activation) pieceRefused(of *part) {
	a.host.returnPiece(a.partition)
	if of != nil {
		a.recapture(of)
		return
	}
	a.save.inFlight = false
	a.saveLater(proposePause)
}
