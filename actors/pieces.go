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
	if !a.flush() { // before the first piece: everything that the snapshot covers
		a.host.returnPiece(a.partition)
		s.inFlight = false
		a.saveLater(proposePause)
		return
	}
	from := s.pieces * persistence.MaxPieceBytes
	p := &proposal{a: a, kind: pieceOnly, began: s.began}
	p.change.Key, p.change.Epoch = a.key, a.epoch
	p.change.Piece = &persistence.Piece{
		Seq: s.seq, Index: s.pieces, Data: s.data[from:min(from+persistence.MaxPieceBytes, len(s.data))],
	}
	s.pieces++
	if !a.propose(p) {
		a.host.returnPiece(a.partition)
		s.inFlight = false
		a.saveLater(proposePause)
	}
}
