package gateway

import (
	"fmt"

	"github.com/skerry-dev/skerry/codec/skerryv1"
	"github.com/skerry-dev/skerry/persistence"
)

// maxChunks is how many chunks one request names, as the rules have it.
const maxChunks = 64

// maxCursorBytes bounds where a page of chunks or chests begins; the world knows what it means.
const maxCursorBytes = 64

// routeWorld is route for the requests to a world's entity.
func (c *caller) routeWorld(r *skerryv1.Request) (target, error) {
	t := target{call: callNone, key: persistence.Key{Space: c.space, Kind: persistence.KindWorld}}
	var err error
	switch m := r.GetRequest().(type) {
	case *skerryv1.Request_ExecuteWorld:
		t.call, t.key.ID = callExecuteWorld, m.ExecuteWorld.GetWorld()
		err = c.checkExecuteWorld(m.ExecuteWorld)
	case *skerryv1.Request_OpenWorldSession:
		t.call, t.key.ID = callOpenWorldSession, m.OpenWorldSession.GetWorld()
		err = c.checkOpenWorld(m.OpenWorldSession)
	case *skerryv1.Request_GetWorldSession:
		t.call, t.key.ID = callGetWorldSession, m.GetWorldSession.GetWorld()
	case *skerryv1.Request_EndWorldSession:
		t.call, t.key.ID = callEndWorldSession, m.EndWorldSession.GetWorld()
		err = c.checkSession(&m.EndWorldSession.Session)
	case *skerryv1.Request_GetWorld:
		t.call, t.key.ID = callGetWorld, m.GetWorld.GetWorld()
	case *skerryv1.Request_GetWorldCommand:
		t.call, t.key.ID = callGetWorldCommand, m.GetWorldCommand.GetWorld()
		err = c.checkSession(&m.GetWorldCommand.Session)
	case *skerryv1.Request_SaveWorld:
		t.call, t.key.ID = callSaveWorld, m.SaveWorld.GetWorld()
		err = c.checkSession(&m.SaveWorld.Session)
	default:
		return c.routeChunks(r)
	}
	return t, err
}

// routeChunks is route for the requests to a world's chunks and chests.
func (c *caller) routeChunks(r *skerryv1.Request) (target, error) {
	t := target{call: callNone, key: persistence.Key{Space: c.space, Kind: persistence.KindWorld}}
	var err error
	switch m := r.GetRequest().(type) {
	case *skerryv1.Request_GetChunk:
		t.call, t.key.ID = callGetChunk, m.GetChunk.GetWorld()
		err = checkChunkForm(m.GetChunk.GetForm())
	case *skerryv1.Request_PutChunk:
		t.call, t.key.ID = callPutChunk, m.PutChunk.GetWorld()
		err = c.checkPutChunk(m.PutChunk)
	case *skerryv1.Request_GetChunks:
		t.call, t.key.ID = callGetChunks, m.GetChunks.GetWorld()
		err = checkChunks(m.GetChunks)
	case *skerryv1.Request_ListChunks:
		t.call, t.key.ID = callListChunks, m.ListChunks.GetWorld()
		err = checkPage(m.ListChunks.GetAfter(), m.ListChunks.GetLimit())
	case *skerryv1.Request_ListChests:
		t.call, t.key.ID = callListChests, m.ListChests.GetWorld()
		err = checkPage(m.ListChests.GetAfter(), m.ListChests.GetLimit())
	default:
		return c.routeTransfer(r)
	}
	return t, err
}

// checkExecuteWorld checks what the rules do not: bounds of the whole, and text.
func (c *caller) checkExecuteWorld(m *skerryv1.ExecuteWorldRequest) error {
	if err := c.checkTurn(&m.Session, m.GetReceipt(), len(m.GetCommands())); err != nil {
		return err
	}
	if size := m.SizeVT(); size > MaxBodyBytes {
		return tooLarge(size, MaxBodyBytes)
	}
	for _, cmd := range m.GetCommands() {
		if !isPlainWorld(cmd) {
			return checkForm(m, MaxBodyBytes)
		}
	}
	return nil
}

// isPlainWorld reports whether a command has nothing but numbers in it, and a name that is a token at most, so that its
// text needs no check.
func isPlainWorld(cmd *skerryv1.WorldCommand) bool {
	if !isToken(cmd.GetAs()) {
		return false
	}
	switch m := cmd.GetCommand().(type) {
	case *skerryv1.WorldCommand_SetBlocks, *skerryv1.WorldCommand_ClearChunk, *skerryv1.WorldCommand_PlaceChest,
		*skerryv1.WorldCommand_RemoveChest, *skerryv1.WorldCommand_ChestTake, *skerryv1.WorldCommand_ChestMove:
		return true
	case *skerryv1.WorldCommand_ChestPut:
		return m.ChestPut.GetMetadata() == nil
	default:
		return false
	}
}

func (c *caller) checkOpenWorld(m *skerryv1.OpenWorldSessionRequest) error {
	if err := c.checkOpener(m.GetServer(), m.GetOpenId()); err != nil {
		return err
	}
	if err := checkToken("incarnation", m.GetIncarnation()); err != nil {
		return err
	}
	return checkForm(m, MaxWorldOpenBytes)
}

// checkPutChunk also says for the chunk itself where it is.
func (c *caller) checkPutChunk(m *skerryv1.PutChunkRequest) error {
	if err := c.checkSession(&m.Session); err != nil {
		return err
	}
	switch chunk := m.GetChunk(); {
	case chunk == nil:
		return refuse(errBadRequest, "chunk", "is missing")
	case chunk.GetX() != 0 && chunk.GetX() != m.GetX():
		return refuse(errBadRequest, "chunk.x", fmt.Sprintf("is %d, the request is for %d", chunk.GetX(), m.GetX()))
	case chunk.GetZ() != 0 && chunk.GetZ() != m.GetZ():
		return refuse(errBadRequest, "chunk.z", fmt.Sprintf("is %d, the request is for %d", chunk.GetZ(), m.GetZ()))
	}
	return checkForm(m, MaxBodyBytes)
}

func checkChunks(m *skerryv1.GetChunksRequest) error {
	switch count := len(m.GetChunks()); {
	case count == 0:
		return refuse(errBadRequest, "chunks", fmt.Sprintf("are none: 1 to %d are allowed", maxChunks))
	case count > maxChunks:
		return refuse(errTooLarge, "chunks", fmt.Sprintf("are %d, at most %d are allowed", count, maxChunks))
	}
	return checkChunkForm(m.GetForm())
}

// checkChunkForm refuses a form of chunks that there is not.
func checkChunkForm(form skerryv1.ChunkForm) error {
	switch form {
	case skerryv1.ChunkForm_CHUNK_FORM_UNSPECIFIED, skerryv1.ChunkForm_RUNS, skerryv1.ChunkForm_ENCODED:
		return nil
	default:
		return refuse(errBadRequest, "form", fmt.Sprintf("is %d, which is neither RUNS nor ENCODED", form))
	}
}

// checkPage checks where a page of chunks or chests begins, and its size.
func checkPage(after string, limit int32) error {
	if len(after) > maxCursorBytes || !isToken(after) {
		return refuse(errBadRequest, "after", "is not the next of an earlier page")
	}
	return checkLimit(limit)
}
