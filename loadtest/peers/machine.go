package peers

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
	"time"
)

// calibrations is how often the disk is asked.
const calibrations = 200

// calibrate measures what one durable 4 KiB write costs on this disk.
func calibrate(dir string) (f Fdatasync, err error) {
	file, err := os.Create(filepath.Join(dir, "calibration"))
	if err != nil {
		return f, err
	}
	defer file.Close() //nolint:errcheck // nothing of it is kept
	const block = 4096
	if _, err = file.Write(make([]byte, calibrations*block)); err != nil {
		return f, err
	}
	if err = file.Sync(); err != nil {
		return f, err
	}
	if f.Overwriting, err = timeWrites(file, 0, block); err != nil {
		return f, err
	}
	f.Appending, err = timeWrites(file, calibrations*block, block)
	return f, err
}

// timeWrites returns the median of writing blocks one after the other, each durably, in milliseconds.
func timeWrites(file *os.File, base, block int64) (float64, error) {
	took := make([]time.Duration, calibrations)
	for i := range took {
		from := time.Now()
		if _, err := file.WriteAt(make([]byte, block), base+int64(i)*block); err != nil {
			return 0, err
		}
		if err := fdatasync(file); err != nil {
			return 0, err
		}
		took[i] = time.Since(from)
	}
	slices.Sort(took)
	return float64(took[len(took)/2].Microseconds()) / 1000, nil
}

func fdatasync(file *os.File) error { return syscall.Fdatasync(int(file.Fd())) } //nolint:gosec // a file descriptor

// loadAverage is that of the last minute, -1 when it cannot be read.
func loadAverage() float64 {
	text, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return -1
	}
	var load float64
	if _, err := fmt.Sscan(string(text), &load); err != nil {
		return -1
	}
	return load
}

// The fields of /proc/PID/stat, behind the name.
const (
	statParent = 1
	statUser   = 11
	statSystem = 12
)

// cpuOf returns the user and system time that processes, and those that they started, have used so far; what cannot be read
// counts nothing. It is exact to 10 ms.
func cpuOf(pids []int) time.Duration {
	self := len(pids) == 1 && pids[0] == os.Getpid()
	if self {
		var used syscall.Rusage // of this process alone: the servers are its children
		if err := syscall.Getrusage(syscall.RUSAGE_SELF, &used); err != nil {
			return 0
		}
		return time.Duration(used.Utime.Nano() + used.Stime.Nano())
	}
	if len(pids) == 0 {
		return 0
	}
	stats := statsOfAll()
	var ticks int64
	for pid, stat := range stats {
		if descends(stats, pid, pids) {
			ticks += field(stat, statUser) + field(stat, statSystem)
		}
	}
	return time.Duration(ticks) * (time.Second / 100) // USER_HZ is 100 on Linux
}

// statsOfAll are the lines of /proc by process.
func statsOfAll() map[int]string {
	stats := map[int]string{}
	files, _ := filepath.Glob("/proc/[0-9]*/stat") // the pattern is well-formed
	for _, file := range files {
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(file)))
		if err != nil {
			continue
		}
		if stat, err := os.ReadFile(file); err == nil { // else it has ended
			stats[pid] = string(stat)
		}
	}
	return stats
}

// descends says whether a process is one of these, or was started by one, or by one of those.
func descends(stats map[int]string, pid int, from []int) bool {
	for range 10 { // deeper than any server here
		if slices.Contains(from, pid) {
			return true
		}
		stat, ok := stats[pid]
		if !ok {
			return false
		}
		pid = int(field(stat, statParent))
	}
	return false
}
