package codec

import "github.com/skerry-dev/skerry/codec/skerryv1"

// Step is a made-up migration to version From+1.
type Step struct {
	From  int32
	Apply func(*skerryv1.Player)
}

// RunSteps migrates p as a build with these steps would.
func RunSteps(steps []Step, p *skerryv1.Player) error {
	var table []migration
	for _, s := range steps {
		table = append(table, migration{from: s.From, apply: s.Apply})
	}
	return run(table, p)
}

// PlayerSteps returns the versions that the real migrations begin at, and their names.
func PlayerSteps() (from []int32, names []string) {
	for _, m := range playerMigrations() {
		from, names = append(from, m.from), append(names, m.name)
	}
	return from, names
}
