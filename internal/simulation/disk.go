package simulation

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
)

// errDisk is what a disk says that fails its syncs.
var errDisk = errors.New("simulated failure of the disk")

// sectorBytes is the smallest unit of which a power cut keeps all or nothing.
const sectorBytes = 512

// powerCut returns what a disk may hold after a power cut: everything synced, and of what was not, each sector and each
// new name kept with a chance of percent. [vfs.MemFS.CrashClone] draws in the order of a map; this draws in the order
// of names, so that a seed replays.
func powerCut(disk *vfs.MemFS, percent int, rng *rand.Rand) (*vfs.MemFS, error) {
	synced := disk.CrashClone(vfs.CrashCloneCfg{})
	if percent == 0 {
		return synced, nil
	}
	all := disk.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 100, RNG: rand.New(rand.NewPCG(0, 0))}) //nolint:gosec // 100 draws nothing
	m := mixer{from: all, to: synced, percent: percent, rng: rng}
	if err := m.directory("/"); err != nil {
		return nil, fmt.Errorf("cut the power: %w", err)
	}
	return synced, nil
}

// mixer carries a part of what from has and to lacks over to to.
type mixer struct {
	from, to *vfs.MemFS
	percent  int
	rng      *rand.Rand
}

func (m *mixer) keep() bool { return m.rng.IntN(100) < m.percent }

func (m *mixer) directory(path string) error {
	names, err := m.from.List(path)
	if err != nil {
		return err
	}
	slices.Sort(names)
	for _, name := range names {
		full := m.from.PathJoin(path, name)
		info, statErr := m.from.Stat(full)
		if statErr != nil {
			return statErr
		}
		_, missing := m.to.Stat(full)
		switch {
		case missing != nil && !m.keep():
			continue
		case info.IsDir():
			if err = m.to.MkdirAll(full, 0o755); err == nil {
				err = m.directory(full)
			}
		default:
			err = m.file(full, missing != nil)
		}
		if err != nil {
			return err
		}
	}
	dir, err := m.to.OpenDir(path)
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

// file carries the sectors that differ, some of them.
func (m *mixer) file(path string, create bool) error {
	source, err := readAll(m.from, path)
	if err != nil {
		return err
	}
	var have []byte
	if !create {
		if have, err = readAll(m.to, path); err != nil {
			return err
		}
	}
	mixed := slices.Clone(have)
	for at := 0; at < len(source); at += sectorBytes {
		sector := source[at:min(at+sectorBytes, len(source))]
		end := at + len(sector)
		if end <= len(have) && string(have[at:end]) == string(sector) || !m.keep() {
			continue
		}
		if end > len(mixed) {
			mixed = append(mixed, make([]byte, end-len(mixed))...)
		}
		copy(mixed[at:], sector)
	}
	if !create && string(mixed) == string(have) {
		return nil
	}
	return writeAll(m.to, path, mixed)
}

func readAll(fs vfs.FS, path string) ([]byte, error) {
	file, err := fs.Open(path)
	if err != nil {
		return nil, err
	}
	data, err := io.ReadAll(file)
	return data, errors.Join(err, file.Close())
}

// writeAll makes data the file's, synced.
func writeAll(fs vfs.FS, path string, data []byte) error {
	file, err := fs.Create(path, vfs.WriteCategoryUnspecified)
	if err != nil {
		return err
	}
	_, err = file.Write(data)
	return errors.Join(err, file.Sync(), file.Close())
}

// faulty is the node's disk as its process sees it: syncs fail while failing says so.
func faulty(disk vfs.FS, failing *atomic.Bool) vfs.FS {
	return errorfs.Wrap(disk, errorfs.InjectorFunc(func(op errorfs.Op) error {
		if failing.Load() && (op.Kind == errorfs.OpFileSync || op.Kind == errorfs.OpFileSyncData) {
			return errDisk
		}
		return nil
	}))
}
