package node

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"

	"github.com/skerry-dev/skerry/persistence"
	"github.com/skerry-dev/skerry/persistence/replication"
)

// ReplicaDigest is one replica as /debug/replicas shows it: replicas of a partition that applied the same entries have the
// same digest of every byte.
type ReplicaDigest struct {
	Partition persistence.Partition `json:"partition"`
	Applied   uint64                `json:"applied"`
	Digest    string                `json:"digest"` // also covers Applied
}

// serveDigests reads all that this node has, and answers with a digest of each of its replicas. Nodes can be compared when
// nothing is written.
func (n *Node) serveDigests(w http.ResponseWriter, r *http.Request) {
	list := []ReplicaDigest{}
	for _, s := range n.journal.Status() {
		if !slices.ContainsFunc(s.Replicas, func(r replication.Replica) bool { return r.Node == n.id() }) {
			continue
		}
		digest, err := n.store.Digest(r.Context(), s.Partition)
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		list = append(list, ReplicaDigest{Partition: s.Partition, Applied: s.Applied, Digest: fmt.Sprintf("%016x", digest)})
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(list) // who asked may be gone
}
