package pebblestore

import "github.com/cockroachdb/pebble/v2/vfs"

// FS is a file system that the store and the log run on. Rooms above carry it without importing Pebble.
type FS = vfs.FS

// DiskFS is the machine's file system.
func DiskFS() FS { return vfs.Default }

// MemFS is a new, empty file system in memory; it keeps what is written for as long as it is referenced.
func MemFS() FS { return vfs.NewMem() }
