// Goal: what the README tells a reader to type works, and shows what it says.
// Method: its tour runs in one shell on a real node, which the tour itself kills and starts again; its program runs too.
package skerry_test

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/skerry-dev/skerry/internal/clustertest"
	"github.com/skerry-dev/skerry/skerrytest"
)

// blocks returns what stands in the README's fenced blocks of a kind.
func blocks(t *testing.T, kind string) []string {
	t.Helper()
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, block := range regexp.MustCompile("(?s)```"+kind+"\n(.*?)```").FindAllStringSubmatch(string(readme), -1) {
		found = append(found, block[1])
	}
	return found
}

// shows is what each block of the tour must print, in this order.
var shows = [][]string{
	{`{"ready":true,`},
	{`"incarnation":"`, `"session":"`, `"isNew":true`, `"coins":"100"`},
	{`"durable":true`, `{"ready":true,`, `"coins":"150"`, `"server":"s1"`},
	{"the same answer", `"coins":"150"`},
	{`"session":"`, `"isNew":false`, `"coins":"150"`, `"code":"SESSION_TAKEN"`, "\n409\n"},
	{`"isNew":true`, `"name":"Ann's World"`, `"blocksSet":{"changed":2}`, `"state":"EDITED"`, `"edits":[5,64,-3,1,5,65,-3,1]`},
	{`"code":"NOT_FOUND"`, "\n404\n"},
}

func TestREADME(t *testing.T) {
	tour := blocks(t, "sh tour")
	if len(tour) != len(shows) {
		t.Fatalf("the tour has %d blocks, what they must show is known of %d", len(tour), len(shows))
	}
	const mark = "\n=== end of block\n"
	// The shell takes its nodes with it, however it ends.
	script := "trap 'kill -9 $(jobs -p) 2> /dev/null || true' EXIT\n" + strings.Join(tour, "\nprintf '"+strings.ReplaceAll(mark, "\n", `\n`)+"'\n")
	stdout, stderr := runTour(t, script)
	printed := strings.Split(stdout, mark)
	for i, block := range printed {
		rest := strings.ReplaceAll(block, `": `, `":`)
		for _, want := range shows[i] {
			_, after, found := strings.Cut(rest, want)
			if !found {
				t.Fatalf("block %d of the tour does not show %s where it must; it prints\n%s\nand on standard error\n%s", i+1, want, block, stderr)
			}
			rest = after
		}
	}
	checkNewPlayer(t, printed[1])
	if !strings.Contains(stderr, "entities saved") {
		t.Errorf("the node did not say that it saved; standard error:\n%s", stderr)
	}
}

// runTour runs the script in bash, in this directory, with a node's settings that keep it apart from others.
func runTour(t *testing.T, script string) (stdout, stderr string) {
	t.Helper()
	for _, program := range []string{"bash", "curl"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skip("the tour needs ", program)
		}
	}
	addr := freeAddr(t) // the same before and after the kill
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "bash", "-euxo", "pipefail")
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) } // the shell cleans up
	cmd.WaitDelay = 10 * time.Second
	cmd.Stdin = strings.NewReader(script)
	cmd.Env = append(os.Environ(), "SKERRY=http://"+addr, "SKERRY_HTTP="+addr, "SKERRY_DATA="+filepath.Join(t.TempDir(), "data"))
	for _, port := range []string{"GRPC", "PEER", "GOSSIP", "ADMIN"} {
		cmd.Env = append(cmd.Env, "SKERRY_"+port+"=127.0.0.1:0")
	}
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		t.Fatalf("README tour: %v\n%s\nstandard error:\n%s", err, out.String(), errs.String())
	}
	return out.String(), errs.String()
}

// checkNewPlayer looks at the document that the tour's first session is answered with.
func checkNewPlayer(t *testing.T, printed string) {
	t.Helper()
	type slot struct {
		ItemID int `json:"itemId"`
		Count  int `json:"count"`
	}
	var opened struct {
		IsNew  bool `json:"isNew"`
		Player struct {
			Profile struct {
				Level int    `json:"level"`
				Coins string `json:"coins"`
			} `json:"profile"`
			Inventory struct {
				Hotbar    []slot `json:"hotbar"`
				Inventory []slot `json:"inventory"`
			} `json:"inventory"`
		} `json:"player"`
	}
	for line := range strings.Lines(printed) {
		if strings.Contains(line, "isNew") {
			if err := json.Unmarshal([]byte(line), &opened); err != nil {
				t.Fatalf("%v in %s", err, line)
			}
		}
	}
	p := opened.Player
	if !opened.IsNew || p.Profile.Coins != "100" || p.Profile.Level != 1 || len(p.Inventory.Hotbar) != 9 || len(p.Inventory.Inventory) != 27 {
		t.Errorf("player 1001 begins as %+v, want new, 100 coins, level 1, 9 and 27 slots", opened)
	}
	for i, s := range append(p.Inventory.Hotbar, p.Inventory.Inventory...) {
		if s != (slot{}) {
			t.Errorf("slot %d of a new player holds %+v, want nothing", i, s)
		}
	}
}

// TestREADMEProgram runs the README's Go program against a node.
func TestREADMEProgram(t *testing.T) {
	programs := blocks(t, "go")
	if len(programs) != 1 {
		t.Fatalf("the README has %d Go programs, want 1", len(programs))
	}
	node := skerrytest.Start(t)
	const grpc = "127.0.0.1:7701" // the default, which a reader's node has
	if !strings.Contains(programs[0], grpc) {
		t.Fatalf("the program does not dial %s", grpc)
	}
	main := filepath.Join(t.TempDir(), "main.go")
	if err := os.WriteFile(main, []byte(strings.Replace(programs[0], grpc, node.GRPC(), 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(t.Context(), "go", "run", main).CombinedOutput()
	if want := "Ann has 150\n"; err != nil || string(out) != want {
		t.Fatalf("the program printed %q (%v), want %q", out, err, want)
	}
}

// freeAddr is an address of this machine that was free a moment ago.
func freeAddr(t *testing.T) string {
	t.Helper()
	addr, err := clustertest.FreeAddr()
	if err != nil {
		t.Fatal(err)
	}
	return addr
}
