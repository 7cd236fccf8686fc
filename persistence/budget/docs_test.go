package budget

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"
)

// TestDocs: the tables of docs/budgets.md and docs/api.md say what the code does.
func TestDocs(t *testing.T) {
	contains(t, "budgets.md", append(profileRows(t), ageRows(t)...))
	contains(t, "api.md", settingRows(t))
}

func contains(t *testing.T, name string, rows []string) {
	t.Helper()
	text, err := os.ReadFile("../../docs/" + name)
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range rows {
		if !strings.Contains(string(text), row) {
			t.Errorf("docs/%s has no %s", name, row)
		}
	}
}

func profileRows(t *testing.T) (rows []string) {
	t.Helper()
	for _, name := range []string{"roblox-2023", "roblox-2026", "custom"} {
		p := parsed(t, name)
		rows = append(rows, fmt.Sprintf("\n| `%s` | %s | %s | %d | %d | %d | %d | %d | %d | %d |\n", name, p.Rates[Get], p.Rates[Set],
			p.Burst, p.Accumulate, p.ShutdownBurst, p.Queue, p.Reserve, p.ReadBytes, p.WriteBytes))
	}
	return rows
}

func settingRows(t *testing.T) (rows []string) {
	t.Helper()
	x, y, z := parsed(t, "roblox-2023"), parsed(t, "roblox-2026"), parsed(t, "custom")
	for _, s := range []struct {
		name string
		of   func(p *Profile) any
		most string
	}{
		{"get", func(p *Profile) any { return p.Rates[Get] }, "100000 + 0..1000"},
		{"set", func(p *Profile) any { return p.Rates[Set] }, "100000 + 0..1000"},
		{"burst", func(p *Profile) any { return p.Burst }, "100000"},
		{"accumulate", func(p *Profile) any { return p.Accumulate }, "60"},
		{"shutdown", func(p *Profile) any { return p.ShutdownBurst }, "100000"},
		{"queue", func(p *Profile) any { return p.Queue }, "1000"},
		{"reserve", func(p *Profile) any { return p.Reserve }, "100"},
		{"readBytes", func(p *Profile) any { return p.ReadBytes }, "2^40"},
		{"writeBytes", func(p *Profile) any { return p.WriteBytes }, "2^40"},
	} {
		rows = append(rows, fmt.Sprintf("\n| `%s` | %v | %v | %v | 0..%s | ", s.name, s.of(&x), s.of(&y), s.of(&z), s.most))
	}
	return rows
}

func ageRows(t *testing.T) (rows []string) {
	t.Helper()
	for _, players := range []int{10, 50, 200, 700} {
		for _, interval := range []time.Duration{Minute, 5 * Minute} {
			row := fmt.Sprintf("| %d | %d min |", players, interval/Minute)
			for _, name := range []string{"roblox-2023", "roblox-2026", "custom"} {
				p := parsed(t, name)
				row += fmt.Sprintf(" %d s |", (DirtyAge(&p, players, int64(players)+1, interval)+time.Second-1)/time.Second)
			}
			rows = append(rows, "\n"+row+"\n")
		}
	}
	return rows
}
