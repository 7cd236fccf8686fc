package peers

import (
	"net"
	"syscall"
	"time"
)

// tcpUserTimeout is TCP_USER_TIMEOUT, which package syscall does not name: milliseconds that what was written may stay
// unacknowledged before the connection is lost.
const tcpUserTimeout = 0x12

// setUserTimeout makes a vanished machine seen after timeout in place of a quarter of an hour. It is a help, so errors are not told.
func setUserTimeout(conn *net.TCPConn, timeout time.Duration) {
	control, err := conn.SyscallConn()
	if err != nil {
		return
	}
	_ = control.Control(func(fd uintptr) {
		_ = syscall.SetsockoptInt(int(fd), syscall.IPPROTO_TCP, tcpUserTimeout, int(timeout.Milliseconds()))
	})
}
