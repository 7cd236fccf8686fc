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
	"fmt"
	"math"
	"strconv"
	"time"
)

// Minute is what rates count in.
const Minute = time.Minute

// LeaseTime is how long a granted token may be kept: one that was not used by then is lost.
const LeaseTime = time.Second

// ErrExhausted says that the budget is used up, and the queue is full or the caller does not wait. Nothing was done.
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

// String is the rate as [Parse] reads it: "60+10", or "60" with nothing for a player.
func (r Rate) String() string {
	if r.PerPlayer == 0 {
		return strconv.FormatInt(r.Base, 10)
	}
	return fmt.Sprintf("%d+%d", r.Base, r.PerPlayer)
}

// PerMinute is the rate with so many players; more than a million count as a million.
func (r Rate) PerMinute(players int) int64 {
	return r.Base + r.PerPlayer*int64(min(max(players, 0), maxPlayers))
}

// Profile is what a game server may cause. The zero value is "unlimited".
type Profile struct {
	// Name is the profile's text in its normal form: [Parse] gives the same profile again.
	Name string
	// Limited says that the rest counts.
	Limited bool
	// Rates by class.
	Rates [Classes]Rate
	// Burst is how many tokens of each class a server has when it registers.
	Burst int64
	// Accumulate is how many minutes' worth of tokens can be saved up; never less than Burst.
	Accumulate int64
	// ShutdownBurst is how many set tokens a server that closes has at least, once.
	ShutdownBurst int64
	// Queue is how many requests of a class may wait; more are refused.
	Queue int
	// Reserve is the part of a minute's set tokens, in percent, that routine saves leave to the others.
	Reserve int64
	// ReadBytes and WriteBytes bound what is loaded and saved of one key in any sliding minute, each request rounded up to
	// 1 KiB; 0: no bound.
	ReadBytes, WriteBytes int64
}

// Capacity is the most tokens of a class that can be saved up: never less than one and what comes in two [LeaseTime], so that who
// looks once in a lease's time loses nothing, and never more than ten million.
func (p *Profile) Capacity(class Class, players int) int64 {
	rate := p.Rates[class].PerMinute(players)
	return min(max(1+rate*int64(2*LeaseTime)/tokenUnits, p.Burst, p.Accumulate*rate), maxTokens)
}

// MostInMinute is the most tokens of a class that are granted in any sliding minute in which [Account.Players] was at most so
// many: the greatest number that was reported in that minute and the two before it. A request for more tokens than the least
// [Profile.Capacity] of that minute adds what it is above. The shutdown burst is in it, whether the server closes or not. Where the tokens are used, a
// [LeaseTime] later at the most, the minute is that much longer.
func (p *Profile) MostInMinute(class Class, players int) int64 {
	if !p.Limited {
		return math.MaxInt64
	}
	most := p.Rates[class].PerMinute(players) + p.Capacity(class, players)
	if class == Set {
		most += p.ShutdownBurst
	}
	return most
}

// reserved is how many set tokens routine saves leave to the others: never more than half of what can be saved up beyond one.
func (p *Profile) reserved(players int) int64 {
	return min(p.Reserve*p.Rates[Set].PerMinute(players)/100, (p.Capacity(Set, players)-1)/2)
}
