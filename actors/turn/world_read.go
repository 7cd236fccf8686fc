package turn

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/skerry-dev/skerry/actors/world"
	"github.com/skerry-dev/skerry/codec/skerryv1"
)

// The bounds of what one request reads of a world.
const (
	// maxChunksBytes is the most that the chunks of one response take, but for the first.
	maxChunksBytes = 1 << 20
	maxPage        = 1000
	defaultPage    = 100
)

// Page is some of a world's chunks, in the order of their parts' names.
type Page struct {
	Chunks []world.Coord
	// More: there are others after the last one.
	More bool
}

// PageQuery says which page of a world's chunks a request needs.
type PageQuery struct {
	// After is less than the name of each chunk's part; "" less than all.
	After string
	// Limit is how many chunks, at least 1.
	Limit int
	// Load: they have to be loaded before the turn.
	Load bool
}

// PageOf says which page req needs before it is decided, if any. A request that is not well formed needs none: the turn refuses it.
func PageOf(req *skerryv1.Request) (PageQuery, bool) {
	switch r := req.GetRequest().(type) {
	case *skerryv1.Request_ListChunks:
		limit, err := pageLimit(r.ListChunks.GetLimit())
		if err != nil || checkAfterChunk(r.ListChunks.GetAfter()) != nil {
			return PageQuery{}, false
		}
		return PageQuery{After: r.ListChunks.GetAfter(), Limit: limit}, true
	case *skerryv1.Request_ListChests:
		name, skip, err := parseAfterChest(r.ListChests.GetAfter())
		if _, wrong := pageLimit(r.ListChests.GetLimit()); err != nil || wrong != nil {
			return PageQuery{}, false
		}
		if skip > 0 { // that chunk again
			name = name[:len(name)-1] + string(rune(name[len(name)-1]-1)) + "~"
		}
		return PageQuery{After: name, Limit: world.MaxChunks, Load: true}, true
	default:
		return PageQuery{}, false
	}
}

func pageLimit(limit int32) (int, error) {
	switch {
	case limit < 0 || limit > maxPage:
		return 0, badRequest("limit", "is %d, not within 0..%d", limit, maxPage)
	case limit == 0:
		return defaultPage, nil
	default:
		return int(limit), nil
	}
}

func checkAfterChunk(after string) error {
	if _, delta, ok := world.ParsePart(after); after != "" && (!ok || delta) {
		return badRequest("after", "is %.40q, which no page gave as next", after)
	}
	return nil
}

// parseAfterChest reads the place in a list of chests: the name of a chunk's part, all of it, or a slash and how many of its
// chests were shown.
func parseAfterChest(after string) (name string, skip int, err error) {
	name = after
	if strings.Count(after, "/") == 3 {
		at := strings.LastIndexByte(after, '/')
		name = after[:at]
		if skip, err = strconv.Atoi(after[at+1:]); err != nil || skip < 1 || skip > world.MaxChests {
			return "", 0, badRequest("after", "is %.40q, which no page gave as next", after)
		}
	}
	return name, skip, checkAfterChunk(name)
}

func (a *asked) checkForm(form skerryv1.ChunkForm) error {
	switch form {
	case skerryv1.ChunkForm_CHUNK_FORM_UNSPECIFIED, skerryv1.ChunkForm_RUNS, skerryv1.ChunkForm_ENCODED:
	default:
		return badRequest("form", "is %d, which is neither RUNS nor ENCODED", form)
	}
	if a.state.GetWorld() == nil {
		return ErrNotFound
	}
	return nil
}

func (a *asked) getChunk(req *skerryv1.GetChunkRequest) Result {
	if err := a.checkForm(req.GetForm()); err != nil {
		return refuse(err)
	}
	at := world.Coord{X: req.GetX(), Z: req.GetZ()}
	data, err := world.Show(a.state.GetWorld(), at, a.env.Parts.Chunk(at), req.GetForm())
	if err != nil {
		return refuse(err)
	}
	return Result{Response: &skerryv1.Response{Response: &skerryv1.Response_GetChunk{GetChunk: &skerryv1.GetChunkResponse{
		Chunk: data, Seq: int64(a.env.Seq), //nolint:gosec // far below 2^63
	}}}}
}

func (a *asked) getChunks(req *skerryv1.GetChunksRequest) Result {
	switch n := len(req.GetChunks()); {
	case n == 0:
		return refuse(badRequest("chunks", "are missing"))
	case n > world.MaxChunks:
		return refuse(&RequestError{ErrTooLarge, "chunks", fmt.Sprintf("are %d, at most %d are allowed", n, world.MaxChunks)})
	}
	if err := a.checkForm(req.GetForm()); err != nil {
		return refuse(err)
	}
	response := &skerryv1.GetChunksResponse{Seq: int64(a.env.Seq)} //nolint:gosec // far below 2^63
	size := 0
	for _, ref := range req.GetChunks() {
		at := world.Coord{X: ref.GetX(), Z: ref.GetZ()}
		var data *skerryv1.ChunkData
		if size < maxChunksBytes {
			var err error
			if data, err = world.Show(a.state.GetWorld(), at, a.env.Parts.Chunk(at), req.GetForm()); err != nil {
				return refuse(err)
			}
			size += data.SizeVT() + 8 // and its tag and length
		}
		if data == nil || size > maxChunksBytes && len(response.Chunks) > 0 {
			response.LeftOut = append(response.LeftOut, &skerryv1.ChunkRef{X: at.X, Z: at.Z})
			continue
		}
		response.Chunks = append(response.Chunks, data)
	}
	return Result{Response: &skerryv1.Response{Response: &skerryv1.Response_GetChunks{GetChunks: response}}}
}

func (a *asked) listChunks(req *skerryv1.ListChunksRequest) Result {
	if _, err := pageLimit(req.GetLimit()); err != nil {
		return refuse(err)
	}
	if err := checkAfterChunk(req.GetAfter()); err != nil {
		return refuse(err)
	}
	if a.state.GetWorld() == nil {
		return refuse(ErrNotFound)
	}
	response := &skerryv1.ListChunksResponse{}
	for _, at := range a.env.Page.Chunks {
		response.Chunks = append(response.Chunks, &skerryv1.ChunkRef{X: at.X, Z: at.Z})
	}
	if n := len(a.env.Page.Chunks); a.env.Page.More && n > 0 {
		response.Next = a.env.Page.Chunks[n-1].Part()
	}
	return Result{Response: &skerryv1.Response{Response: &skerryv1.Response_ListChunks{ListChunks: response}}}
}

// listChests looks at one page of chunks: it may find fewer chests than the limit, or none, and yet have a next page.
func (a *asked) listChests(req *skerryv1.ListChestsRequest) Result {
	limit, err := pageLimit(req.GetLimit())
	if err != nil {
		return refuse(err)
	}
	name, skip, err := parseAfterChest(req.GetAfter())
	if err != nil {
		return refuse(err)
	}
	if a.state.GetWorld() == nil {
		return refuse(ErrNotFound)
	}
	response := &skerryv1.ListChestsResponse{}
	for i, at := range a.env.Page.Chunks {
		chests := world.ShowChests(a.state.GetWorld(), at, a.env.Parts.Chunk(at))
		shown := 0
		if at.Part() == name {
			shown = min(skip, len(chests))
		}
		n := min(len(chests)-shown, limit-len(response.Chests))
		response.Chests = append(response.Chests, chests[shown:shown+n]...)
		if shown += n; shown < len(chests) {
			if response.Next = fmt.Sprintf("%s/%d", at.Part(), shown); shown == 0 {
				response.Next = a.env.Page.Chunks[i-1].Part() // the limit is reached, so there is one before
			}
			break
		}
		if i == len(a.env.Page.Chunks)-1 && a.env.Page.More {
			response.Next = at.Part()
		}
	}
	return Result{Response: &skerryv1.Response{Response: &skerryv1.Response_ListChests{ListChests: response}}}
}
