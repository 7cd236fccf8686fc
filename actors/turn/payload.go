package turn

import (
	"encoding/binary"
	"slices"
	"strconv"

	"github.com/zeebo/xxh3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/skerry-dev/skerry/codec/skerryv1"
)

// payloadHash is xxh3-64 over what a command id or a receipt stands for: the commands and the receipt, each with its
// length before it. It is stored: equal requests must always have equal hashes.
func payloadHash[C command](cmds []C, mayHoldMap func(C) bool, receipt string) (uint64, error) {
	buf := make([]byte, 0, 64) // enough for most
	for i, cmd := range cmds {
		var err error
		if buf, err = appendCommand(buf, cmd, mayHoldMap(cmd)); err != nil {
			return 0, &RequestError{ErrBadRequest, "commands[" + strconv.Itoa(i) + "]", err.Error()}
		}
	}
	buf = binary.AppendUvarint(buf, uint64(len(receipt)))
	return xxh3.Hash(append(buf, receipt...)), nil
}

// command is a generated message.
type command interface {
	proto.Message
	packable
}

func appendCommand(buf []byte, cmd command, mayHoldMap bool) ([]byte, error) {
	if !cmd.ProtoReflect().IsValid() { // nil
		return append(buf, 0), nil
	}
	if mayHoldMap {
		data, err := proto.MarshalOptions{Deterministic: true}.Marshal(cmd)
		if err != nil {
			return nil, err
		}
		return append(binary.AppendUvarint(buf, uint64(len(data))), data...), nil
	}
	size := cmd.SizeVT()
	buf = binary.AppendUvarint(buf, uint64(size)) //nolint:gosec // a length
	buf = slices.Grow(buf, size)
	buf = buf[:len(buf)+size]
	if _, err := cmd.MarshalToSizedBufferVT(buf[len(buf)-size:]); err != nil {
		return nil, err
	}
	return buf, nil
}

// mayHoldMap is false for the commands that have no JSON value in them: the generated encoder writes those alike each
// time, and faster. Maps it writes in any order.
func mayHoldMap(cmd *skerryv1.PlayerCommand) bool {
	switch cmd.GetExpect().GetValue().GetKind().(type) {
	case *structpb.Value_StructValue, *structpb.Value_ListValue:
		return true
	}
	switch cmd.GetCommand().(type) {
	case *skerryv1.PlayerCommand_Earn, *skerryv1.PlayerCommand_Spend, *skerryv1.PlayerCommand_AddExperience,
		*skerryv1.PlayerCommand_AddStatistics, *skerryv1.PlayerCommand_Take, *skerryv1.PlayerCommand_Move,
		*skerryv1.PlayerCommand_Swap, *skerryv1.PlayerCommand_Split, *skerryv1.PlayerCommand_ClaimDailyReward,
		*skerryv1.PlayerCommand_SetSettings, *skerryv1.PlayerCommand_ClearSpawnerSlot,
		*skerryv1.PlayerCommand_RemoveAttribute, *skerryv1.PlayerCommand_IncrementAttribute, *skerryv1.PlayerCommand_Rename:
		return false
	default:
		return true
	}
}
