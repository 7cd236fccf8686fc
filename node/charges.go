package node

import (
	"encoding/json"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/skerry-dev/skerry/persistence"
	"github.com/skerry-dev/skerry/persistence/budget"
)

const (
	// maxCharges is how many of the newest charges are kept.
	maxCharges = 65536
	// maxChargesListed is how many of them one answer has at most.
	maxChargesListed = 10_000
	// chargeBytes is what one token pays for of a save.
	chargeBytes = 4 << 20
)

// Charge is a load or a save that was done for a game server within its budget, as it was seen where it is loaded or stored, apart
// from what grants tokens.
type Charge struct {
	// Seq numbers the charges of a node since its start, without gaps.
	Seq      uint64 `json:"seq"`
	AtMicros int64  `json:"atMicros"` // Unix time
	Space    string `json:"space"`
	Server   string `json:"server"`
	Class    string `json:"class"`  // get or set
	Entity   string `json:"entity"` // kind/id
	Bytes    int64  `json:"bytes"`
	Tokens   int64  `json:"tokens"` // that its bytes cost
}

// Charges is what /debug/charges answers.
type Charges struct {
	Charges []Charge `json:"charges"`
	// Next is what to ask for after these. Lost: some before them are not kept any more.
	Next uint64 `json:"next"`
	Lost bool   `json:"lost"`
}

// charges are the newest ones of a node.
type charges struct {
	mu   sync.Mutex
	ring []Charge // number seq at (seq-1) mod maxCharges
	last uint64
}

// add is [actors.Events].Charged.
func (c *charges) add(server persistence.Key, class budget.Class, key persistence.Key, bytes int64, at time.Time) {
	one := Charge{
		AtMicros: at.UnixMicro(), Space: server.Space, Server: server.ID, Class: class.String(), Entity: key.Kind.String() + "/" + key.ID,
		Bytes: bytes, Tokens: 1,
	}
	if class == budget.Set {
		one.Tokens = max((bytes+chargeBytes-1)/chargeBytes, 1)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.last++
	one.Seq = c.last
	if len(c.ring) < maxCharges {
		c.ring = append(c.ring, one)
		return
	}
	c.ring[(c.last-1)%maxCharges] = one
}

// after lists at most limit charges after a number.
func (c *charges) after(seq uint64, limit int) Charges {
	c.mu.Lock()
	defer c.mu.Unlock()
	list := Charges{Charges: []Charge{}, Next: seq}
	if seq > c.last { // of an earlier life of this node
		seq, list.Lost = 0, true
	}
	if oldest := c.last - uint64(len(c.ring)); seq < oldest {
		seq, list.Lost = oldest, true
	}
	for ; seq < c.last && len(list.Charges) < limit; seq++ {
		list.Charges = append(list.Charges, c.ring[seq%maxCharges])
	}
	list.Next = seq
	return list
}

// serveCharges answers /debug/charges?after=SEQ&limit=N.
func (n *Node) serveCharges(w http.ResponseWriter, r *http.Request) {
	after, err := number(r, "after", 0)
	limit, limitErr := number(r, "limit", maxChargesListed)
	if err != nil || limitErr != nil {
		http.Error(w, "after and limit are whole numbers", http.StatusBadRequest)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(n.charges.after(after, int(min(limit, maxChargesListed)))) //nolint:gosec // bounded; who asked may be gone
}

func number(r *http.Request, name string, absent uint64) (uint64, error) {
	text := r.URL.Query().Get(name)
	if text == "" {
		return absent, nil
	}
	return strconv.ParseUint(text, 10, 64)
}
