package codec

import "github.com/zeebo/xxh3"

// The kinds of entities, as they are stored and as they take part in [PartitionOf]: never change one.
const (
	KindPlayer uint8 = 1
	KindWorld  uint8 = 2
	KindServer uint8 = 3
)

// PartitionOf returns the partition of an entity among count, which is 1 to 4096 and was fixed when the cluster was made:
// xxh3-64 of space, 0, kind, id, modulo count. The result is part of the stored format; clients use it to find an owner.
func PartitionOf(space string, kind uint8, id string, count int) uint16 {
	var buf [128]byte
	b := append(buf[:0], space...)
	b = append(b, 0, kind)
	b = append(b, id...)
	return uint16(xxh3.Hash(b) % uint64(count)) //nolint:gosec // count is at most 4096
}
