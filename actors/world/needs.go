package world

import (
	"slices"

	"github.com/skerry-dev/skerry/codec/skerryv1"
)

// Needs is the chunks that have to be loaded before req is decided, each once, in the order in which they are named. It is
// at most [MaxChunks]: of a request that names more, none, since the turn refuses it without looking at any. A request that
// is no world's needs none. It knows nothing of the world, so a chunk may be needed only to be refused.
func Needs(req *skerryv1.Request) []Coord {
	switch r := req.GetRequest().(type) {
	case *skerryv1.Request_ExecuteWorld:
		if len(r.ExecuteWorld.GetCommands()) > MaxCommands {
			return nil
		}
		chunks, most := needs(r.ExecuteWorld.GetCommands())
		if most >= 0 {
			return nil
		}
		return chunks
	case *skerryv1.Request_PutChunk:
		return []Coord{{r.PutChunk.GetX(), r.PutChunk.GetZ()}}
	case *skerryv1.Request_GetChunk:
		return []Coord{{r.GetChunk.GetX(), r.GetChunk.GetZ()}}
	case *skerryv1.Request_GetChunks:
		if len(r.GetChunks.GetChunks()) > MaxChunks {
			return nil
		}
		var set coordSet
		for _, ref := range r.GetChunks.GetChunks() {
			set.add(Coord{ref.GetX(), ref.GetZ()})
		}
		return set.list
	case *skerryv1.Request_CreateTransfer:
		if at, ok := TransferChunk(r.CreateTransfer); ok {
			return []Coord{at}
		}
		return nil
	case *skerryv1.Request_GetTransfer:
		if chest := r.GetTransfer.GetParty().GetChest(); chest != nil {
			return []Coord{coordOf(chest.GetX(), chest.GetZ())}
		}
		return nil
	default:
		return nil
	}
}

// needs is the chunks of commands; over names the command with which they are too many, -1 when none is.
func needs(cmds []*skerryv1.WorldCommand) (chunks []Coord, over int) {
	var set coordSet
	for i, cmd := range cmds {
		eachChunk(cmd, set.add)
		if len(set.list) > MaxChunks {
			return nil, i
		}
	}
	return set.list, -1
}

// eachChunk calls add for the chunks of cmd, until it returns false.
func eachChunk(cmd *skerryv1.WorldCommand, add func(Coord) bool) {
	switch c := cmd.GetCommand().(type) {
	case *skerryv1.WorldCommand_SetBlocks:
		for blocks := c.SetBlocks.GetBlocks(); len(blocks) >= 4; blocks = blocks[4:] {
			if !add(coordOf(blocks[0], blocks[2])) {
				return
			}
		}
	case *skerryv1.WorldCommand_PutChunk:
		add(Coord{c.PutChunk.GetChunk().GetX(), c.PutChunk.GetChunk().GetZ()})
	case *skerryv1.WorldCommand_ClearChunk:
		add(Coord{c.ClearChunk.GetX(), c.ClearChunk.GetZ()})
	case *skerryv1.WorldCommand_PlaceChest:
		add(coordOf(c.PlaceChest.GetX(), c.PlaceChest.GetZ()))
	case *skerryv1.WorldCommand_RemoveChest:
		add(coordOf(c.RemoveChest.GetX(), c.RemoveChest.GetZ()))
	case *skerryv1.WorldCommand_ChestPut:
		add(coordOf(c.ChestPut.GetX(), c.ChestPut.GetZ()))
	case *skerryv1.WorldCommand_ChestTake:
		add(coordOf(c.ChestTake.GetX(), c.ChestTake.GetZ()))
	case *skerryv1.WorldCommand_ChestMove:
		add(coordOf(c.ChestMove.GetFrom().GetX(), c.ChestMove.GetFrom().GetZ()))
		add(coordOf(c.ChestMove.GetTo().GetX(), c.ChestMove.GetTo().GetZ()))
	case *skerryv1.WorldCommand_SetChestSlot:
		add(coordOf(c.SetChestSlot.GetSlot().GetX(), c.SetChestSlot.GetSlot().GetZ()))
	}
}

// coordSet is a small set that keeps its order. It takes one more than MaxChunks, then no more.
type coordSet struct{ list []Coord }

func (s *coordSet) add(at Coord) bool {
	if n := len(s.list); n > 0 && s.list[n-1] == at { // blocks mostly come chunk by chunk
		return true
	}
	if !slices.Contains(s.list, at) {
		s.list = append(s.list, at)
	}
	return len(s.list) <= MaxChunks
}
