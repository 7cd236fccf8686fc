//go:build !linux

package network

// Network is hosts and the switch between them; there are none here.
type Network struct{}

// Enclose returns ErrNotPossible.
func Enclose(...string) error { return ErrNotPossible }

// Open returns ErrNotPossible.
func Open(int, uint64) (*Network, error) { return nil, ErrNotPossible }

// Addr is the address of a host.
func (*Network) Addr(host int) string { return addrOf(host).String() }

// Do calls do.
func (*Network) Do(_ int, do func()) { do() }

// Lose does nothing.
func (*Network) Lose(int, int, float64) {}

// Heal does nothing.
func (*Network) Heal() {}

// Packets returns how many were carried and dropped so far.
func (*Network) Packets() (carried, dropped int64) { return 0, 0 }

// Close does nothing.
func (*Network) Close() error { return nil }
