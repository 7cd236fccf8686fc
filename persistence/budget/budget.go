// Package budget keeps what is done for a game server within its requests per minute.
//
// A load or a save that a game server causes costs tokens of one of two classes. Tokens come continuously; an [Account] says
// who gets them, in which order, and who is refused. [Jobs] is what a node still has to save for a server, the most
// important and oldest first. A [Window] counts the bytes of one key in a sliding minute.
//
// Nothing here has a clock: now is a time on the caller's monotonic clock on which a minute is 60 s, however fast it runs.
// Nothing here is safe for many goroutines.
//
// Source of the numbers: Roblox's creator documentation on data stores ("Error codes and limits", August 2026), and for burst and
// accumulation its community's measurements of the older system, which is why they are settings.
package budget

import (
	"errors"
	"time"
)

// Minute is what rates count in.
const Minute = time.Minute

// LeaseTime is how long a granted token may be kept: one that was not used by then is lost.
const LeaseTime = time.Second

// ErrExhausted: the budget is used up, and the queue is full or the caller does not wait. Nothing was done.
var ErrExhausted = errors.New("the game server's budget is used up")

// Class is a kind of request.
type Class uint8

// The classes. Get is a load of what is not in memory; Set is a save.
const (
	Get Class = iota
	Set
	// Classes is how many there are.
	Classes
)

// String is the class's name in the API: "get" or "set".
func (c Class) String() string {
	if c == Get {
		return "get"
	}
	return "set"
}

// Importance orders saves: the greater goes first.
type Importance uint8

// The importances.
const (
	// Routine is an autosave, or a load.
	Routine Importance = iota
	// Purchase is the save of what was paid for since the last one.
	Purchase
	// Shutdown is the save of somebody whose game server closes.
	Shutdown
	// Leave is the save of a player who leaves.
	Leave
)

// Rate is a number of tokens a minute that grows with the players.
type Rate struct{ Base, PerPlayer int64 }

// PerMinute is the rate with so many players.
func (r Rate) PerMinute(players int) int64 { return r.Base + r.PerPlayer*int64(players) }

// Profile is what a game server may cause. The zero value is "unlimited".
type Profile struct {
	// Name is what was parsed: it gives the same profile again.
	Name string
	// Limited says that the rest counts.
	Limited bool
	// Rates by class.
	Rates [Classes]Rate
	// Burst is how many tokens of each class a server has when it registers.
	Burst int64
	// Accumulate is how many minutes' worth of tokens can be saved up; never less than Burst.
	Accumulate int64
	// ShutdownBurst is what a server that closes has at least, once.
	ShutdownBurst int64
	// Queue is how many requests of a class may wait; more are refused.
	Queue int
	// Reserve is the part of a minute's set tokens, in percent, that routine saves leave to the others.
	Reserve int64
	// ReadBytes and WriteBytes bound what is loaded and saved of one key in any sliding minute, each request rounded up to
	// 1 KiB; 0: no bound.
	ReadBytes, WriteBytes int64
}

// maxCapacity keeps the arithmetic of accounts within its bounds.
const maxCapacity = 10_000_000

// Capacity is the most tokens of a class that can be saved up; never more than ten million.
func (p *Profile) Capacity(class Class, players int) int64 {
	return min(max(p.Burst, p.Accumulate*p.Rates[class].PerMinute(players)), maxCapacity)
}

// MostInMinute is the most tokens of a class that are granted in any sliding minute in which there were at most so many
// players.
func (p *Profile) MostInMinute(class Class, players int) int64 {
	most := p.Capacity(class, players)
	if class == Set {
		most = max(most, p.ShutdownBurst)
	}
	return p.Rates[class].PerMinute(players) + most
}
