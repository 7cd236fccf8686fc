package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"time"
)

// bareLog appends 50-byte records to a file in this process, with group commit: one fdatasync for all that wait. It is
// the least that "acknowledged means durable" can cost here.
type bareLog struct {
	file *os.File
}

func (*bareLog) name() string { return "bare append log, in process" }

func (*bareLog) way() way { return byWindow }

func (b *bareLog) start(_ context.Context, dir string, _ int) (err error) {
	b.file, err = os.Create(filepath.Join(dir, "bare.log"))
	return err
}

func (b *bareLog) run(ctx context.Context, inflight int, duration time.Duration) (result, error) {
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
				buf = append(buf, make([]byte, 62)...) // 50 bytes, a length and a checksum
			}
			if _, err := b.file.Write(buf); err != nil {
				ended <- err
				return
			}
			if err := syscall.Fdatasync(int(b.file.Fd())); err != nil {
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

func (b *bareLog) stop(context.Context) error { return b.file.Close() }

// calibrate prints what one durable 4 KiB write costs on this disk.
func calibrate(dir string) error {
	file, err := os.Create(filepath.Join(dir, "calibration"))
	if err != nil {
		return err
	}
	defer file.Close()
	const total = 4 << 20
	if _, err := file.Write(make([]byte, total)); err != nil {
		return err
	}
	if err := file.Sync(); err != nil {
		return err
	}
	block := make([]byte, 4096)
	measure := func(base int64) (time.Duration, error) {
		var took []time.Duration
		for i := range int64(200) {
			from := time.Now()
			if _, err := file.WriteAt(block, base+i*4096); err != nil {
				return 0, err
			}
			if err := syscall.Fdatasync(int(file.Fd())); err != nil {
				return 0, err
			}
			took = append(took, time.Since(from))
		}
		slices.Sort(took)
		return took[len(took)/2], nil
	}
	over, err := measure(0)
	if err != nil {
		return err
	}
	grow, err := measure(total)
	if err != nil {
		return err
	}
	fmt.Printf("fdatasync of 4 KiB, median of 200: %v overwriting, %v appending\n", over.Round(time.Microsecond), grow.Round(time.Microsecond))
	return nil
}

// cpuOf returns the user and system time that process pid has used so far; 0 when it cannot be read.
func cpuOf(pid int) time.Duration {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0
	}
	var utime, stime int64
	rest := stat[slices.Index(stat, ')')+2:]
	var skip string
	fields := []any{&skip, &skip, &skip, &skip, &skip, &skip, &skip, &skip, &skip, &skip, &skip, &utime, &stime}
	if _, err := fmt.Sscan(string(rest), fields...); err != nil {
		return 0
	}
	return time.Duration(utime+stime) * (time.Second / 100) // USER_HZ is 100 on Linux
}
