package budget

import (
	"errors"
	"math"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestNamedProfiles(t *testing.T) {
	roblox := func(name string, perPlayer int64) Profile {
		return Profile{
			Name: name, Limited: true, Rates: [Classes]Rate{{60, perPlayer}, {60, perPlayer}}, Burst: 100, Accumulate: 3,
			ShutdownBurst: 150, Queue: 30, Reserve: 20, ReadBytes: 25_000_000, WriteBytes: 4_000_000,
		}
	}
	custom := Profile{
		Name: "custom", Limited: true, Rates: [Classes]Rate{{60, 0}, {60, 0}}, Burst: 100, ShutdownBurst: 150, Queue: 30, Reserve: 20,
	}
	every := Profile{
		Name:    "custom,get=61+10,set=30+5,burst=20,accumulate=1,shutdown=7,queue=3,reserve=21,readBytes=1024,writeBytes=2048",
		Limited: true, Rates: [Classes]Rate{{61, 10}, {30, 5}}, Burst: 20, Accumulate: 1, ShutdownBurst: 7, Queue: 3, Reserve: 21,
		ReadBytes: 1024, WriteBytes: 2048,
	}
	less := roblox("roblox-2023,get=60,burst=50", 10)
	less.Rates[Get], less.Burst = Rate{Base: 60}, 50
	for text, want := range map[string]Profile{
		"":                                    {Name: "unlimited"},
		"unlimited":                           {Name: "unlimited"},
		"roblox-2023":                         roblox("roblox-2023", 10),
		"roblox-2026":                         roblox("roblox-2026", 40),
		"custom":                              custom,
		every.Name:                            every,
		"roblox-2023,burst=050,get=60+0":      less,
		"roblox-2026,burst=100,set=060+40":    roblox("roblox-2026", 40),
		"custom,queue=30,reserve=20,set=60+0": custom,
	} {
		if got, err := Parse(text); err != nil || got != want {
			t.Errorf("%q: %+v, %v\nwant %+v", text, got, err, want)
		}
	}
}

// What is refused, and the word that the message has of it.
func TestRefusedProfiles(t *testing.T) {
	for text, part := range map[string]string{
		"roblox-1999":                    `"roblox-1999" is none of unlimited, roblox-2023, roblox-2026, custom`,
		"Roblox-2023":                    `"Roblox-2023" is none of`,
		" unlimited":                     `" unlimited" is none of`,
		"get=60":                         `"get=60" is none of`,
		"unlimited,":                     "unlimited has no settings",
		",burst=1":                       "unlimited has no settings",
		"custom,":                        `"" is none of get, set, burst, accumulate, shutdown, queue, reserve, readBytes, writeBytes`,
		"custom,Burst=1":                 `"Burst" is none of`,
		"custom,burst=1,set=1,burst=1":   `"burst" twice`,
		"custom,get":                     `get: "" is not a whole number within 0..100000`,
		"custom,get=":                    `get: "" is not`,
		"custom,get=1+":                  `get: "" is not a whole number within 0..1000`,
		"custom,get=+1":                  `get: "" is not`,
		"custom,get=1+2+3":               `get: "2+3" is not`,
		"custom,set=100001":              `set: "100001" is not a whole number within 0..100000`,
		"custom,set=1+1001":              `set: "1001" is not a whole number within 0..1000`,
		"custom,burst=100001":            "burst: ",
		"custom,burst=-1":                `burst: "-1" is not`,
		"custom,burst= 1":                `burst: " 1" is not`,
		"custom,burst=1e3":               `burst: "1e3" is not`,
		"custom,burst=1=2":               `burst: "1=2" is not`,
		"custom,burst=1_0":               `burst: "1_0" is not`,
		"custom,accumulate=61":           `accumulate: "61" is not a whole number within 0..60`,
		"custom,shutdown=100001":         "shutdown: ",
		"custom,queue=1001":              `queue: "1001" is not a whole number within 0..1000`,
		"custom,reserve=101":             `reserve: "101" is not a whole number within 0..100`,
		"custom,readBytes=1099511627777": "readBytes: ",
		"custom,writeBytes=99999999999999999999999": `writeBytes: "99999999999999999999" is not`,
		strings.Repeat("x", MaxProfileBytes+1):      "201 bytes are more than 200",
	} {
		if got, err := Parse(text); !errors.Is(err, ErrProfile) || !strings.Contains(err.Error(), part) || got != (Profile{}) {
			t.Errorf("%q: %+v, %v\nwant %s", text, got, err, part)
		}
	}
}

// Any profile has a name that gives it again.
func TestNameGivesTheProfileAgain(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := drawProfile(t)
		if got, err := Parse(p.Name); err != nil || got != p {
			t.Fatalf("%q: %+v, %v\nwant %+v", p.Name, got, err, p)
		}
	})
}

// drawProfile draws settings up to their bounds.
func drawProfile(t *rapid.T) Profile {
	p, _ := named(rapid.SampledFrom([]string{"roblox-2023", "roblox-2026", "custom"}).Draw(t, "profile"))
	set := func(to *int64, most int64, name string) {
		if rapid.Bool().Draw(t, "set "+name) {
			*to = rapid.OneOf(rapid.Int64Range(0, min(most, 9)), rapid.Int64Range(0, most), rapid.Just(most)).Draw(t, name)
		}
	}
	queue := int64(p.Queue)
	for class := range Classes {
		set(&p.Rates[class].Base, maxNumber, "base")
		set(&p.Rates[class].PerPlayer, 1000, "per player")
	}
	set(&p.Burst, maxNumber, "burst")
	set(&p.Accumulate, 60, "accumulate")
	set(&p.ShutdownBurst, maxNumber, "shutdown")
	set(&queue, 1000, "queue")
	set(&p.Reserve, 100, "reserve")
	set(&p.ReadBytes, 1<<40, "read bytes")
	set(&p.WriteBytes, 1<<40, "write bytes")
	p.Queue = int(queue)
	p.Name = p.normal()
	return p
}

func TestMostInMinute(t *testing.T) {
	p, err := Parse("roblox-2023")
	if err != nil {
		t.Fatal(err)
	}
	if got := p.MostInMinute(Get, 10); got != 160+3*160 {
		t.Errorf("get of 10 players: %d", got)
	}
	if got := p.MostInMinute(Set, 10); got != 160+3*160+150 {
		t.Errorf("set of 10 players: %d", got)
	}
	if got := (&Profile{}).MostInMinute(Set, 10); got != math.MaxInt64 {
		t.Errorf("unlimited: %d", got)
	}
}

// FuzzParse looks for a text that makes a profile beyond its bounds, or one that its name does not give again.
func FuzzParse(f *testing.F) {
	for _, text := range []string{
		"", "roblox-2026", "custom,get=60+10,set=30+5,burst=20,accumulate=1,shutdown=150,queue=30,reserve=20,readBytes=0,writeBytes=0",
		"custom,get=+", "custom,,", "roblox-2023,burst=00000000000000000000000000000000000000000000000000000001", "unlimited,queue=1",
	} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		p, err := Parse(text)
		if err != nil {
			if !errors.Is(err, ErrProfile) || p != (Profile{}) || len(err.Error()) > 300 {
				t.Fatalf("%q: %+v, %v", text, p, err)
			}
			return
		}
		if len(p.Name) > max(len(text), len("unlimited")) {
			t.Fatalf("%q has the longer name %q", text, p.Name)
		}
		if again, err := Parse(p.Name); err != nil || again != p {
			t.Fatalf("%q: %+v, and its name %+v, %v", text, p, again, err)
		}
		for class := range Classes {
			capacity, rate := p.Capacity(class, maxPlayers), p.Rates[class].PerMinute(maxPlayers)
			if capacity < 1 || capacity > maxTokens || rate < 0 || rate > 1_000*maxPlayers+maxNumber {
				t.Fatalf("%q: capacity %d, rate %d", text, capacity, rate)
			}
		}
		if p.Queue < 0 || p.Queue > 1000 {
			t.Fatalf("%q: queue %d", text, p.Queue)
		}
	})
}
