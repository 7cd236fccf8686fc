package loadtest

import (
	"os"
	"slices"
	"syscall"
	"time"
)

// calibrations is how often the disk is asked.
const calibrations = 50

// fdatasync is the median time of writing 4 KiB durably in a directory, in milliseconds; 0 when that cannot be said.
func fdatasync(dir string) float64 {
	file, err := os.CreateTemp(dir, "fdatasync-")
	if err != nil {
		return 0
	}
	defer os.Remove(file.Name()) //nolint:errcheck // a temporary file
	defer file.Close()           //nolint:errcheck // nothing of it is kept
	page := make([]byte, 4096)
	took := make([]time.Duration, calibrations)
	for i := range took {
		began := time.Now()
		if _, err := file.Write(page); err != nil {
			return 0
		}
		if err := syscall.Fdatasync(int(file.Fd())); err != nil { //nolint:gosec // a file descriptor
			return 0
		}
		took[i] = time.Since(began)
	}
	slices.Sort(took)
	return float64(took[calibrations/2].Microseconds()) / 1000
}
