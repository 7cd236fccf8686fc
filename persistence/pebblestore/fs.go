package pebblestore

import (
	"math/rand/v2"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// FS is a file system that the store and the log run on. Rooms above carry it without importing Pebble.
type FS = vfs.FS

// DiskFS is the machine's file system.
func DiskFS() FS { return vfs.Default }

// MemFS is a new, empty file system in memory; it keeps what is written for as long as it is referenced.
func MemFS() FS { return vfs.NewMem() }

// CrashableFS is a MemFS for tests of what survives: crash returns a copy as a power cut at this moment would leave it, with
// about half of what was not synced; the seed says which half.
func CrashableFS() (fs FS, crash func(seed uint64) FS) {
	mem := vfs.NewCrashableMem()
	return mem, func(seed uint64) FS {
		return mem.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 50, RNG: rand.New(rand.NewPCG(seed, 0))}) //nolint:gosec // a test's
	}
}
