package peers

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// bareLogBytes is what one record takes: 50 bytes, a length and a checksum.
const bareLogBytes = 62

// bareLog appends 50-byte records to a file in this process, with group commit: one fdatasync for all that wait. It is
// the least that "acknowledged means durable" can cost here.
type bareLog struct {
	file *os.File
}

// Name of the baseline.
func (*bareLog) Name() string { return "bare append log, in process" }

// Does says that it appends, pipelined.
func (*bareLog) Does(op Op, way Way) bool { return op == Durable && way == Pipelined }

// Start makes its file.
func (b *bareLog) Start(_ context.Context, dir string, _ int) (err error) {
	if err = os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("make the log's directory: %w", err)
	}
	if b.file, err = os.Create(filepath.Join(dir, "bare.log")); err != nil {
		return fmt.Errorf("make the log: %w", err)
	}
	return nil
}

// PIDs are none.
func (*bareLog) PIDs() []int { return nil }

// Run appends.
func (b *bareLog) Run(ctx context.Context, _ Op, _ Way, inflight int, duration time.Duration) (Window, error) {
	var mu sync.Mutex
	var waiting []uint64
	wake := make(chan struct{}, 1)
	ended := make(chan error, 1)
	w := newWindow(inflight)
	go func() { // ends when wake is closed
		var buf []byte
		for range wake {
			mu.Lock()
			batch := waiting
			waiting = nil
			mu.Unlock()
			if len(batch) == 0 {
				continue
			}
			buf = buf[:0]
			for range batch {
				buf = append(buf, make([]byte, bareLogBytes)...)
			}
			if _, err := b.file.Write(buf); err != nil {
				ended <- err
				return
			}
			if err := fdatasync(b.file); err != nil {
				ended <- err
				return
			}
			for _, id := range batch {
				w.done(id)
			}
		}
		ended <- nil
	}()
	r, err := w.drive(ctx, duration, func(id uint64) error {
		mu.Lock()
		waiting = append(waiting, id)
		mu.Unlock()
		select {
		case wake <- struct{}{}:
		default:
		}
		return nil
	}, func() error { return nil })
	close(wake)
	if end := <-ended; err == nil {
		err = end
	}
	return r, err
}

// Stop closes the file.
func (b *bareLog) Stop(context.Context) error {
	if b.file == nil {
		return nil
	}
	return b.file.Close()
}
