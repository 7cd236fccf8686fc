//go:build !linux

package peers

import (
	"net"
	"time"
)

// setUserTimeout does nothing here: keepalive and the deadlines of reads and writes find a vanished machine, later.
func setUserTimeout(*net.TCPConn, time.Duration) {}
