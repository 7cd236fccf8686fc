package persistence

import "context"

// MaxCopyFrameBytes bounds one frame of a partition copy: most have about 1 MiB, one with a great value more.
const MaxCopyFrameBytes = MaxValueBytes + 64<<10

// Copier moves whole partitions between replicas: everything that a state machine keeps of a partition, with its applied
// index and its [Committed].Conf, as a sequence of frames. It is implemented by the [StateMachine] of the node.
//
// A replica that was filled by a copy and applied the entries after the copy's index is equal, byte for byte, to one that
// applied the whole log.
type Copier interface {
	// CopyOut sends p as it was at one moment at or after the call, and returns the applied index of that moment. It calls
	// send with one frame after the other, from the caller's goroutine, holding a few frames in memory; Apply and everything
	// else go on meanwhile. send sets the pace: it may wait as long as it likes, and while it does, what is replaced in the
	// store keeps its place on disk. A frame's bytes are send's during the call only, at most [MaxCopyFrameBytes].
	//
	// It ends with send's error, with ctx's, or with [ErrCorrupt] when the partition cannot be read whole, or a record
	// that Apply needs does not verify: then another replica has to be the source. Single entries and snapshots that do
	// not verify are sent as they are: they are found by their own checksum wherever they are loaded, and the copy counts
	// them. After an error the frames sent so far are worth nothing. Any goroutine may call it; end ctx before closing the
	// store, which waits for it.
	CopyOut(ctx context.Context, p Partition, send func(frame []byte) error) (index uint64, err error)

	// CopyIn begins to take a copy of p. What is stored of p stays as it is until Commit. The caller ends it by Commit or
	// Abort, and bounds how many are under way: each has a table being written, about 1 MiB of memory. Any goroutine
	// may call it.
	CopyIn(p Partition) (CopyWriter, error)

	// Drop removes everything that is stored of p, durably: the applied index is 0 again and there is no Conf. It is for a
	// replica that was removed, and belongs to the goroutine that calls Apply. After an error p is whole or gone, and the
	// process must stop. Dropping what is not there does nothing.
	Drop(p Partition) error
}

// CopyWriter takes one partition copy. Write and Abort belong to one goroutine at a time, Commit to the one that calls
// Apply; no two of them at once.
type CopyWriter interface {
	// Write takes the next frame, which it does not keep. Every byte is verified before it is used. An error is final: the
	// copy can only be aborted. [ErrBadCopy] says that the frame is damaged, not the next one, of another copy or of
	// another partition; [ErrNewer] that a newer build made it; any other error is of this node's disk.
	Write(frame []byte) error

	// Commit puts the copy in the place of everything that is stored of p: whole or not at all, also in a crash, and
	// durable when it returns nil: Applied(p) is (index, term) and Durable(p) at least index. No Apply may be under way.
	// It refuses with [ErrBadCopy] while the last frame has not been written, and with [ErrOldCopy] when Applied(p) is at or
	// above the copy's index; then nothing was changed, and index and term are the copy's if it is known. After any
	// other error p is the old one or the new one, whole, and the process must stop. In every case the writer is done
	// and its files are gone.
	Commit() (index, term uint64, err error)

	// Abort forgets the copy and removes its files. After Commit or Abort it does nothing. What it cannot remove, and what
	// a crash leaves behind, is removed when the store is opened again.
	Abort() error
}
