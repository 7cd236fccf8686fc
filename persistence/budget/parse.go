package budget

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// ErrProfile says that a text is no profile. The message says which part is wrong, and what there is.
var ErrProfile = errors.New("unknown budget")

// MaxProfileBytes bounds a profile's text.
const MaxProfileBytes = 200

// maxNumber bounds each number of a profile, so that nothing overflows with 100,000 players.
const maxNumber = 100_000

// named is a profile without settings of one's own.
func named(name string) (Profile, bool) {
	roblox := Profile{
		Name: name, Limited: true, Burst: 100, Accumulate: 3, ShutdownBurst: 150, Queue: 30, Reserve: 20,
		ReadBytes: 25_000_000, WriteBytes: 4_000_000,
	}
	switch name {
	case "", "unlimited":
		return Profile{Name: "unlimited"}, true
	case "roblox-2023":
		roblox.Rates = [Classes]Rate{{60, 10}, {60, 10}}
	case "roblox-2026":
		roblox.Rates = [Classes]Rate{{60, 40}, {60, 40}}
	case "custom":
		roblox.ReadBytes, roblox.WriteBytes, roblox.Accumulate = 0, 0, 0
		roblox.Rates = [Classes]Rate{{60, 0}, {60, 0}}
	default:
		return Profile{}, false
	}
	return roblox, true
}

// Parse reads a profile: unlimited (also ""), roblox-2023, roblox-2026 or custom, the limited ones with settings of one's own behind:
//
//	roblox-2023,burst=50
//	custom,get=60+10,set=30+5,burst=20,accumulate=1,shutdown=150,queue=30,reserve=20,readBytes=0,writeBytes=0
//
// get and set are tokens a minute, and how many more for each player. custom alone is 60 a minute of each, a burst of 100 and no
// more saved up. The Name of what it returns is the text's normal form: the same order, only what differs. Errors wrap [ErrProfile].
func Parse(text string) (Profile, error) {
	if len(text) > MaxProfileBytes {
		return Profile{}, fmt.Errorf("%w: %d bytes are more than %d", ErrProfile, len(text), MaxProfileBytes)
	}
	parts := strings.Split(text, ",")
	p, ok := named(parts[0])
	if !ok {
		return Profile{}, fmt.Errorf("%w: %.40q is none of unlimited, roblox-2023, roblox-2026, custom", ErrProfile, parts[0])
	}
	if len(parts) > 1 && !p.Limited {
		return Profile{}, fmt.Errorf("%w: unlimited has no settings", ErrProfile)
	}
	seen := map[string]bool{}
	for _, part := range parts[1:] {
		name, value, _ := strings.Cut(part, "=")
		if seen[name] {
			return Profile{}, fmt.Errorf("%w: %.20q twice", ErrProfile, name)
		}
		seen[name] = true
		if err := p.set(name, value); err != nil {
			return Profile{}, err
		}
	}
	p.Name = p.normal()
	return p, nil
}

// normal is the shortest text that gives the profile, whose Name is still that of a named one.
func (p *Profile) normal() string {
	without, _ := named(p.Name)
	text := p.Name
	add := func(name string, value, usual any) {
		if value != usual {
			text += fmt.Sprintf(",%s=%v", name, value)
		}
	}
	add("get", p.Rates[Get], without.Rates[Get])
	add("set", p.Rates[Set], without.Rates[Set])
	add("burst", p.Burst, without.Burst)
	add("accumulate", p.Accumulate, without.Accumulate)
	add("shutdown", p.ShutdownBurst, without.ShutdownBurst)
	add("queue", p.Queue, without.Queue)
	add("reserve", p.Reserve, without.Reserve)
	add("readBytes", p.ReadBytes, without.ReadBytes)
	add("writeBytes", p.WriteBytes, without.WriteBytes)
	return text
}

func (p *Profile) set(name, value string) error {
	var number *int64
	queue := int64(p.Queue)
	most := int64(maxNumber)
	switch name {
	case "get":
		return parseRate(&p.Rates[Get], name, value)
	case "set":
		return parseRate(&p.Rates[Set], name, value)
	case "burst":
		number = &p.Burst
	case "accumulate":
		number, most = &p.Accumulate, 60
	case "shutdown":
		number = &p.ShutdownBurst
	case "queue":
		number, most = &queue, 1000
	case "reserve":
		number, most = &p.Reserve, 100
	case "readBytes":
		number, most = &p.ReadBytes, 1<<40
	case "writeBytes":
		number, most = &p.WriteBytes, 1<<40
	default:
		return fmt.Errorf("%w: %.20q is none of get, set, burst, accumulate, shutdown, queue, reserve, readBytes, writeBytes", ErrProfile, name)
	}
	if err := parseNumber(number, name, value, most); err != nil {
		return err
	}
	p.Queue = int(queue)
	return nil
}

// parseRate reads BASE or BASE+PERPLAYER.
func parseRate(r *Rate, name, value string) error {
	base, perPlayer, has := strings.Cut(value, "+")
	*r = Rate{}
	if err := parseNumber(&r.Base, name, base, maxNumber); err != nil || !has {
		return err
	}
	return parseNumber(&r.PerPlayer, name, perPlayer, 1000)
}

func parseNumber(number *int64, name, value string, most int64) error {
	n, err := strconv.ParseUint(value, 10, 63)
	if err != nil || int64(n) > most { //nolint:gosec // 63 bits
		return fmt.Errorf("%w: %s: %.20q is not a whole number within 0..%d", ErrProfile, name, value, most)
	}
	*number = int64(n) //nolint:gosec // 63 bits
	return nil
}
