package replication

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// diskCategory labels the log's writes in the file system's statistics.
const diskCategory vfs.DiskWriteCategory = "skerry-log"

// A live segment is NUMBER.log, one that waits to be used again NUMBER.free; eight hexadecimal digits.
const (
	liveSuffix = ".log"
	freeSuffix = ".free"
	lockName   = "LOCK"
	// preparedName is a free segment that never was a live one, whose numbers begin with 1.
	preparedName = "00000000" + freeSuffix
	preparedTemp = "prepared.tmp"
)

// segment is a live segment file that is no longer written.
type segment struct {
	name string
	size int64
	last []uint64 // by slot: the greatest index of an entry in it, 0 for none

	records int // of one that was replayed
}

// parseName returns the number of a segment's file name.
func parseName(name, suffix string) (uint32, bool) {
	digits, ok := strings.CutSuffix(name, suffix)
	if !ok || len(digits) != 8 {
		return 0, false
	}
	number, err := strconv.ParseUint(digits, 16, 32)
	return uint32(number), err == nil //nolint:gosec // 32 bits were asked for
}

// directory is the log's directory: every change of names in it is synced before it counts.
type directory struct {
	fs   vfs.FS
	path string
	file vfs.File
}

// openDirectory makes the directory durably, with those above it: whoever made them a moment ago, for the state perhaps,
// may not have synced their names.
func openDirectory(fs vfs.FS, path string) (*directory, error) {
	if err := fs.MkdirAll(path, 0o750); err != nil {
		return nil, fmt.Errorf("make the log's directory %s: %w", path, err)
	}
	for child, above := path, fs.PathDir(path); above != child; child, above = above, fs.PathDir(above) {
		if err := syncAbove(fs, above); err != nil {
			return nil, err
		}
	}
	d, err := newDirectory(fs, path)
	if err != nil {
		return nil, err
	}
	if err := d.sync(); err != nil {
		return nil, errors.Join(err, d.file.Close())
	}
	return d, nil
}

// syncAbove syncs a directory above the log's, unless it is one that nothing could have been made in just now.
func syncAbove(fs vfs.FS, path string) error {
	d, err := newDirectory(fs, path)
	if err == nil {
		err = errors.Join(d.sync(), d.file.Close())
	}
	for _, harmless := range []error{os.ErrPermission, syscall.EROFS, syscall.EINVAL, errors.ErrUnsupported} {
		if errors.Is(err, harmless) { // not readable, read-only, or of a kind that has nothing to sync
			return nil
		}
	}
	return err
}

// newDirectory opens a directory that is there.
func newDirectory(fs vfs.FS, path string) (*directory, error) {
	file, err := fs.OpenDir(path)
	if err != nil {
		return nil, fmt.Errorf("open the directory %s: %w", path, err)
	}
	return &directory{fs: fs, path: path, file: file}, nil
}

func (d *directory) join(name string) string { return d.fs.PathJoin(d.path, name) }

// list returns the numbers of the live and of the free segments, rising.
func (d *directory) list() (live, free []uint32, err error) {
	names, err := d.fs.List(d.path)
	if err != nil {
		return nil, nil, fmt.Errorf("list %s: %w", d.path, err)
	}
	for _, name := range names {
		if number, ok := parseName(name, liveSuffix); ok {
			live = append(live, number)
		} else if number, ok := parseName(name, freeSuffix); ok {
			free = append(free, number)
		}
	}
	slices.Sort(live)
	slices.Sort(free)
	return live, free, nil
}

// release takes a live segment out of the log, durably, and returns the name under which it waits.
func (d *directory) release(name string) (string, error) {
	free := strings.TrimSuffix(name, liveSuffix) + freeSuffix
	if err := d.fs.Rename(d.join(name), d.join(free)); err != nil {
		return "", fmt.Errorf("release segment %s: %w", name, err)
	}
	return free, d.sync()
}

// create returns the file of a new live segment of size bytes, durably named and with all of its blocks and its final
// size in place, so that writing into it is cheaper to sync than appending. It uses the file named free again unless
// that is "". What the file holds is not defined.
func (d *directory) create(name, free string, size int64) (vfs.File, error) {
	if free != "" {
		if err := d.fs.Rename(d.join(free), d.join(name)); err != nil {
			return nil, fmt.Errorf("use segment %s again: %w", free, err)
		}
	}
	file, err := d.fs.OpenReadWrite(d.join(name), diskCategory)
	if err != nil {
		return nil, fmt.Errorf("open segment %s: %w", name, err)
	}
	if err := errors.Join(fill(file, size), file.Sync(), d.sync()); err != nil {
		return nil, errors.Join(fmt.Errorf("prepare segment %s: %w", name, err), file.Close())
	}
	return file, nil
}

// prepare makes a file of size bytes for create to use, durably, and returns its name. Only one is there at a time.
func (d *directory) prepare(size int64) (name string, err error) {
	if err = d.fs.Remove(d.join(preparedTemp)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return "", fmt.Errorf("prepare a segment: %w", err)
	}
	file, err := d.fs.OpenReadWrite(d.join(preparedTemp), diskCategory)
	if err != nil {
		return "", fmt.Errorf("prepare a segment: %w", err)
	}
	if err = errors.Join(fill(file, size), file.Sync(), file.Close()); err != nil {
		return "", fmt.Errorf("prepare a segment: %w", err)
	}
	if err = d.fs.Rename(d.join(preparedTemp), d.join(preparedName)); err != nil {
		return "", fmt.Errorf("prepare a segment: %w", err)
	}
	return preparedName, d.sync()
}

// fill makes file size bytes long, unless it is already, by writing all of it: a sync of space that was only reserved waits
// for the file system's own journal too (see DESIGN.md for what that was measured to cost).
func fill(file vfs.File, size int64) error {
	info, err := file.Stat()
	if err != nil {
		return err
	}
	if info.Size() >= size {
		return nil
	}
	if err = file.Preallocate(0, size); err != nil && !errors.Is(err, errors.ErrUnsupported) {
		return err
	}
	zeros := make([]byte, min(size, fillStep))
	for at := int64(0); at < size; at += int64(len(zeros)) {
		n := min(int64(len(zeros)), size-at)
		if _, err = file.WriteAt(zeros[:n], at); err != nil {
			return err
		}
		if err = file.SyncData(); err != nil { // little by little: the log's own syncs should not wait behind all of it
			return err
		}
	}
	return nil
}

// fillStep is how much of a new segment is written at a time.
const fillStep = 1 << 20

func (d *directory) sync() error {
	if err := d.file.Sync(); err != nil {
		return fmt.Errorf("sync the directory %s: %w", d.path, err)
	}
	return nil
}

// lock takes the directory for this process.
func (d *directory) lock() (io.Closer, error) {
	closer, err := d.fs.Lock(d.join(lockName))
	if err != nil {
		return nil, fmt.Errorf("lock %s: another process uses this directory; stop it, or give this one its own: %w", d.path, err)
	}
	return closer, nil
}
