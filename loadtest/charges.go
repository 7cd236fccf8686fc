package loadtest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/skerry-dev/skerry/persistence/budget"
)

// charge is a load or a save that was made for a game server, as a node tells of it where it was made.
type charge struct {
	Seq    int64  `json:"seq"`
	At     int64  `json:"atMicros"`
	Space  string `json:"space"`
	Server string `json:"server"`
	Class  string `json:"class"`
	Entity string `json:"entity"`
	Bytes  int64  `json:"bytes"`
	Tokens int64  `json:"tokens"`
}

// charges gathers what the nodes tell. Its methods are for one goroutine, apart from of.
type charges struct {
	target *target
	space  string
	from   time.Time
	cursor []cursor

	mu struct {
		sync.Mutex
		bySeries map[series][]used
		// missing says why the count is not whole, "" when it is.
		missing string
	}
}

type series struct {
	server string
	class  budget.Class
}

// cursor is how far one node was read.
type cursor struct {
	life  int
	after int64
}

// newCharges counts what is charged from a moment on.
func newCharges(t *target, space string, from time.Time) *charges {
	c := &charges{target: t, space: space, from: from}
	c.mu.bySeries = map[series][]used{}
	return c
}

// errNoCharges: the node does not count what was charged; it is older than this tool.
var errNoCharges = errors.New("the node does not tell what was charged")

// gather reads what is new since the last time. began is when the run did.
func (c *charges) gather(ctx context.Context, began time.Time) {
	addrs, lives := c.target.admins()
	for len(c.cursor) < len(addrs) {
		c.cursor = append(c.cursor, cursor{})
	}
	if len(addrs) == 0 {
		c.miss("no admin addresses are known: name them with --admin")
	}
	for i, addr := range addrs {
		if c.cursor[i].life != lives[i] {
			c.cursor[i] = cursor{life: lives[i]}
		}
		for more := true; more; {
			var err error
			if more, err = c.read(ctx, addr, &c.cursor[i].after, began); err != nil {
				if errors.Is(err, errNoCharges) {
					c.miss(err.Error())
				}
				break // a node that was killed: what it charged since the last look is not seen
			}
		}
	}
}

func (c *charges) miss(why string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.mu.missing = why
}

// chargesAtOnce is how many are asked for.
const chargesAtOnce = 10_000

// read takes one page from a node.
func (c *charges) read(ctx context.Context, addr string, after *int64, began time.Time) (more bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	url := fmt.Sprintf("http://%s/debug/charges?after=%d&limit=%d", addr, *after, chargesAtOnce)
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return false, fmt.Errorf("ask %s for charges: %w", addr, err)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return false, fmt.Errorf("ask %s for charges: %w", addr, err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return false, fmt.Errorf("%w (%s)", errNoCharges, response.Status)
	}
	var page struct {
		Charges []charge `json:"charges"`
		Next    int64    `json:"next"`
		Lost    bool     `json:"lost"`
	}
	if err := json.NewDecoder(response.Body).Decode(&page); err != nil {
		return false, fmt.Errorf("read charges of %s: %w", addr, err)
	}
	if page.Next < *after { // it has started again since
		*after = 0
		return true, nil
	}
	if page.Lost && *after > 0 {
		c.miss("a node forgot charges before they were read")
	}
	c.add(page.Charges, began)
	*after = page.Next
	return len(page.Charges) == chargesAtOnce, nil
}

func (c *charges) add(page []charge, began time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i := range page {
		one := &page[i]
		class := budget.Get
		if one.Class == budget.Set.String() {
			class = budget.Set
		}
		if at := time.UnixMicro(one.At); one.Space == c.space && !at.Before(c.from) {
			of := series{one.Server, class}
			c.mu.bySeries[of] = append(c.mu.bySeries[of], used{at.Sub(began), one.Tokens})
		}
	}
}

// of returns what one server was charged, and why that is not whole.
func (c *charges) of(server string, class budget.Class) (all []used, missing string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.mu.bySeries[series{server, class}], c.mu.missing
}
