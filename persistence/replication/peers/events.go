package peers

import "github.com/skerry-dev/skerry/persistence"

func (e *Events) sent(peer persistence.NodeID, batches, bytes int) {
	if e.Sent != nil {
		e.Sent(peer, batches, bytes)
	}
}

func (e *Events) received(peer persistence.NodeID, batches, bytes int) {
	if e.Received != nil {
		e.Received(peer, batches, bytes)
	}
}

func (e *Events) dropped(peer persistence.NodeID, why Drop, batches, bytes int) {
	if e.Dropped != nil {
		e.Dropped(peer, why, batches, bytes)
	}
}

func (e *Events) refused(why Refusal) {
	if e.Refused != nil {
		e.Refused(why)
	}
}

func (e *Events) copied(bytes int) {
	if e.Copied != nil {
		e.Copied(bytes)
	}
}
