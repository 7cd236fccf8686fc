// Package network is a network of this machine's own whose links a program can cut: hosts that are network namespaces, and a
// switch in this process that carries every packet between them, or drops it. Between real processes, and with the kernel's
// own TCP, so what is cut looks as it does between machines: silence, in one direction or both, or some packets missing.
//
// It needs Linux, /dev/net/tun, and to be root or allowed to make user namespaces; nothing is installed, and nothing of the
// machine's own network changes. Where that is not allowed everything returns [ErrNotPossible].
package network

import (
	"errors"
	"net/netip"
)

// ErrNotPossible says that this machine, or this user on it, may not have networks of its own.
var ErrNotPossible = errors.New("networks of one's own are not possible here")

// Here is the number of this process among the hosts. The others count from 1.
const Here = 0

// addrOf is the address of a host.
func addrOf(host int) netip.Addr {
	return netip.AddrFrom4([4]byte{10, 77, 0, byte(host + 1)})
}

// hostsOf returns where an IPv4 packet comes from and goes to, of so many hosts.
func hostsOf(packet []byte, hosts int) (from, to int, ok bool) {
	const headerBytes, prefixBytes = 20, 3
	if len(packet) < headerBytes || packet[0]>>4 != 4 {
		return 0, 0, false // IPv6 announces itself
	}
	source, destination := packet[12:16], packet[16:20]
	prefix := addrOf(Here).As4()
	if string(source[:prefixBytes]) != string(prefix[:prefixBytes]) || string(destination[:prefixBytes]) != string(prefix[:prefixBytes]) {
		return 0, 0, false
	}
	from, to = int(source[prefixBytes])-1, int(destination[prefixBytes])-1
	return from, to, from >= 0 && to >= 0 && from < hosts && to < hosts
}
