// Goal: the command is a node that survives kill -9, and a tool whose output and exit codes can be relied on.
// Method: this test program plays the command in child processes (a kill is a kill), and in process against a node in memory.
package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/skerry-dev/skerry/client"
	"github.com/skerry-dev/skerry/node"
	"github.com/skerry-dev/skerry/skerrytest"
)

// asCommand makes this program be the command.
const asCommand = "SKERRY_TEST_AS_COMMAND"

func TestMain(m *testing.M) {
	if os.Getenv(asCommand) != "" {
		main()
		return
	}
	os.Exit(m.Run())
}

// process is a child that plays the command.
type process struct {
	cmd    *exec.Cmd
	out    *bufio.Scanner
	stderr bytes.Buffer // read after Wait
	ready  node.Ready
}

// startNode runs a node in a child process and waits for its ready line.
func startNode(t *testing.T, data string, args ...string) *process {
	t.Helper()
	p := &process{}
	p.cmd = exec.Command(os.Args[0], append([]string{
		"node", "--data", data, "--http", "127.0.0.1:0", "--grpc", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--peer", "127.0.0.1:0", "--gossip", "127.0.0.1:0", "--name", "n1",
	}, args...)...)
	p.cmd.Env = append(os.Environ(), asCommand+"=1")
	p.cmd.Stderr = &p.stderr
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.cmd.Process.Kill(); _ = p.cmd.Wait() })
	p.out = bufio.NewScanner(out)
	if !p.out.Scan() {
		_ = p.cmd.Wait()
		t.Fatalf("no ready line: %s", p.stderr.String())
	}
	decoder := json.NewDecoder(strings.NewReader(p.out.Text()))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&p.ready); err != nil {
		t.Fatalf("ready line %q: %v", p.out.Text(), err)
	}
	return p
}

// wait returns the exit code; nothing but the ready line may have been printed.
func (p *process) wait(t *testing.T) int {
	t.Helper()
	for p.out.Scan() {
		t.Errorf("also printed: %s", p.out.Text())
	}
	var exit *exec.ExitError
	if err := p.cmd.Wait(); err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return p.cmd.ProcessState.ExitCode()
}

func dial(t *testing.T, addr string) *client.Client {
	t.Helper()
	c, err := client.Dial(t.Context(), addr, client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func TestNodeSurvivesKill(t *testing.T) {
	data := filepath.Join(t.TempDir(), "data")
	p := startNode(t, data)
	if p.ready.Name != "n1" || !p.ready.Ready || p.ready.Data != data || p.ready.Peer == "" || p.ready.Gossip == "" {
		t.Errorf("ready: %+v", p.ready)
	}
	ann, err := dial(t, p.ready.GRPC).OpenPlayer(t.Context(), "1001", client.OpenOptions{Server: "s1"})
	if err != nil {
		t.Fatal(err)
	}
	balance, err := ann.Earn(t.Context(), client.Coins, 50)
	if err != nil || balance != 150 {
		t.Fatalf("%d, %v", balance, err)
	}
	if err = p.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	p.wait(t)

	p = startNode(t, data, "--grpc", p.ready.GRPC) // where the client looks for it
	status, err := ann.Outcome(t.Context(), 1)
	if err != nil || status.Status != "APPLIED" {
		t.Errorf("what was acknowledged before the kill: %+v, %v", status, err)
	}
	if balance, err = ann.Earn(t.Context(), client.Coins, 1); err != nil || balance != 151 {
		t.Errorf("after the kill: %d, %v", balance, err)
	}

	second := exec.Command(os.Args[0], "node", "--data", data, "--http", "127.0.0.1:0", "--grpc", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--peer", "127.0.0.1:0", "--gossip", "127.0.0.1:0")
	second.Env = append(os.Environ(), asCommand+"=1")
	said, err := second.CombinedOutput()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != exitFailure || !strings.Contains(string(said), "in use") {
		t.Errorf("a second node on the directory: %v, %s", err, said)
	}

	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if code := p.wait(t); code != exitOK || !strings.Contains(p.stderr.String(), "entities saved") {
		t.Errorf("after SIGTERM: exit %d, log:\n%s", code, p.stderr.String())
	}
	var out, stderr bytes.Buffer
	if code := run(t.Context(), []string{"verify", data}, streams{out: &out, err: &stderr}, noEnv); code != exitOK || !strings.Contains(out.String(), "problems: 0") {
		t.Errorf("verify: exit %d, %s%s", code, out.String(), stderr.String())
	}
}

func noEnv(string) (string, bool) { return "", false }

// skerry runs the command in process.
func skerry(t *testing.T, addr, stdin string, args ...string) (code int, out, stderr string) {
	t.Helper()
	var o, e bytes.Buffer
	code = run(context.Background(), args, streams{in: strings.NewReader(stdin), out: &o, err: &e}, func(name string) (string, bool) {
		return addr, name == "SKERRY_ADDR"
	})
	return code, o.String(), e.String()
}

func TestVerbs(t *testing.T) {
	n := skerrytest.Start(t)
	ann, err := n.Client(t).OpenPlayer(t.Context(), "1001", client.OpenOptions{Server: "s1", Name: "Ann"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ann.Earn(t.Context(), client.Coins, 50); err != nil {
		t.Fatal(err)
	}
	exported := filepath.Join(t.TempDir(), "ann.json")
	original := `{"version":1,"profile":{"coins":7},"inventory":{"hotbar":{"2":{"itemId":3,"count":4,"maxStack":64}}}}`
	for _, c := range []struct {
		args  string
		stdin string
		code  int
		out   string // must be in the output
		err   string // must be in the errors
	}{
		{args: "player get 1001", out: "coins           150"},
		{args: "player get 1001 --json", out: `"coins": "150"`},
		{args: "player get nobody", code: exitFailure, err: "there is no such player in space main: nobody"},
		{args: "player get 1001 --addr 127.0.0.1", code: exitUsage, err: "is not HOST:PORT"},
		{args: "player get 1001 --timeout 100ms --addr " + strings.TrimPrefix(n.HTTP(), "http://"), code: exitFailure, err: "is this its HTTP port"},
		{args: "player get", code: exitUsage, err: "--help"},
		{args: "player fetch 1001", code: exitUsage, err: "unknown command"},
		{args: "player get 1001 --colour", code: exitUsage, err: "unknown flag"},
		{args: "plyer", code: exitUsage, err: "unknown command"},
		{args: "player list", out: "1001\n"},
		{args: "player list --json", out: `["1001"]`},
		{args: "player list --space other --json", out: "[]"},
		{args: "player save 1001", out: "saved at seq"},
		{args: "player export 1001 " + exported},
		{args: "player export 1001 " + exported, code: exitFailure, err: "exists"},
		{args: "player export 1001 --original", out: `"coins": 150`},
		{args: "player import 1002 " + exported, out: "player 1002 was made"},
		{args: "player import 1002 " + exported, code: exitFailure, err: "--overwrite"},
		{args: "player import 1002 " + exported + " --overwrite", out: "player 1002 was replaced"},
		{args: "player import 1003 - --original", stdin: original, out: "was made"},
		{args: "player export 1003", out: `"itemId": 3`},
		{args: "player import 1004 - --original", stdin: `{"profile":{"coins":-7}}`, code: exitFailure, err: "coins"},
		{args: "player import 1004 -", stdin: `{"nonsense":1}`, code: exitFailure, err: "--original"},
		{args: "space list", out: "main"},
		{args: "space list --json", out: `"players": "3"`},
		{args: "space copy main staging", out: "3 players copied"},
		{args: "space copy main staging", code: exitFailure, err: "skerry space erase staging"},
		{args: "player get 1003 --space staging", out: "coins           7"},
		{args: "space erase staging", code: exitUsage, err: "--yes"},
		{args: "space erase staging --yes", out: "is erased"},
		{args: "player get 1003 --space staging", code: exitFailure, err: "NOT_FOUND"},
		{args: "cluster status", out: "active"},
		{args: "version", out: "skerry "},
		{args: "config --autosave-interval 1m", out: "autosave-interval: 1m"},
		{args: "config --json", out: `"name": "journal-interval"`},
		{args: "config --partitions 0", code: exitUsage, err: "partitions: 0"},
		{args: "node --config /does/not/exist", code: exitUsage, err: "/does/not/exist"},
		{args: "verify /does/not/exist", code: exitFailure, err: "/does/not/exist"},
		{args: "cluster recover", code: exitUsage, err: "--data is missing"},
		{args: "cluster recover --force --data " + t.TempDir(), code: exitFailure, err: "no data directory of a node"},
		{args: "verify " + t.TempDir(), code: exitFailure, err: "no data directory of a node"},
	} {
		code, out, stderr := skerry(t, n.GRPC(), c.stdin, strings.Fields(c.args)...)
		if code != c.code || !strings.Contains(out, c.out) || !strings.Contains(stderr, c.err) {
			t.Errorf("skerry %s: exit %d (want %d)\nout: %s\nerr: %s", c.args, code, c.code, out, stderr)
		}
	}
}

func TestKeys(t *testing.T) {
	n := skerrytest.Start(t)
	code, key, stderr := skerry(t, n.GRPC(), "", "key", "create", "--name", "operator", "--scopes", "admin,operate", "--all-spaces")
	key = strings.TrimSpace(key)
	if code != exitOK || !strings.HasPrefix(key, "sk_") {
		t.Fatalf("exit %d: %s%s", code, key, stderr)
	}
	if code, _, stderr = skerry(t, n.GRPC(), "", "player", "list"); code != exitFailure || !strings.Contains(stderr, "SKERRY_KEY") {
		t.Errorf("without the key: exit %d: %s", code, stderr)
	}
	code, out, _ := skerry(t, n.GRPC(), "", "key", "list", "--key", key)
	if code != exitOK || !strings.Contains(out, "operator") || strings.Contains(out, key) {
		t.Errorf("list: exit %d: %s", code, out)
	}
	if code, _, stderr = skerry(t, n.GRPC(), "", "key", "revoke", strings.Split(key, "_")[1], "--key", key); code != exitFailure {
		t.Errorf("revoked the key that lets operators in: exit %d: %s", code, stderr)
	}
	_, game, _ := skerry(t, n.GRPC(), "", "key", "create", "--name", "game", "--key", key)
	id := strings.Split(game, "_")[1]
	if code, _, stderr = skerry(t, n.GRPC(), "", "key", "revoke", id, "--key", key); code != exitOK {
		t.Errorf("revoke: exit %d: %s", code, stderr)
	}
	if _, out, _ = skerry(t, n.GRPC(), "", "key", "list", "--key", key); strings.Contains(out, "game") {
		t.Errorf("still listed: %s", out)
	}
}

func TestUnreachableSaysWhatToDo(t *testing.T) {
	code, _, stderr := skerry(t, "127.0.0.1:1", "", "player", "list", "--timeout", "100ms")
	if code != exitFailure || !strings.Contains(stderr, "skerry node") || !strings.Contains(stderr, "127.0.0.1:1") {
		t.Errorf("exit %d: %s", code, stderr)
	}
}

// What `skerry config` prints is a file that says the same.
func TestConfigReadsItself(t *testing.T) {
	rules := filepath.Join(t.TempDir(), "rules.yaml")
	text := "rules:\n  main:\n    hotbarSlots: 12\n    maxStackByItem: {7: 5}\n    newPlayer: {coins: 0}\n  \"*\":\n    dailyRewards: [1, 2]\n"
	if err := os.WriteFile(rules, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	_, first, _ := skerry(t, "", "", "config", "--config", rules, "--autosave-interval", "90s", "--store-cache", "1GiB", "--name", "a:b")
	if !strings.Contains(first, "hotbarSlots: 12") || !strings.Contains(first, "coins: 0") {
		t.Errorf("the rules are not printed: %s", first)
	}
	file := filepath.Join(t.TempDir(), "skerry.yaml")
	if err := os.WriteFile(file, []byte(first), 0o600); err != nil {
		t.Fatal(err)
	}
	code, again, stderr := skerry(t, "", "", "config", "--config", file)
	plain := func(text string) (lines []string) {
		for line := range strings.Lines(text) {
			if !strings.HasPrefix(line, "#") {
				lines = append(lines, line)
			}
		}
		return lines
	}
	if code != exitOK || strings.Join(plain(first), "") != strings.Join(plain(again), "") {
		t.Errorf("exit %d %s\n%s\n---\n%s", code, stderr, first, again)
	}
}

// What a node that refuses to be open to everybody tells its operator to type works, on a node that has no key yet; and
// who types less is told the same.
func TestAdvisedFirstKeyWorks(t *testing.T) {
	config := node.DefaultConfig()
	config.Name, config.Data, config.HTTP = "n1", filepath.Join(t.TempDir(), "data"), "0.0.0.0:0"
	_, err := node.Open(t.Context(), config, node.Options{})
	if !errors.Is(err, node.ErrOpenDoor) {
		t.Fatal(err)
	}
	_, advice, _ := strings.Cut(err.Error(), "`skerry ")
	advice, _, _ = strings.Cut(advice, "`")
	n := skerrytest.Start(t)
	code, _, stderr := skerry(t, n.GRPC(), "", "key", "create", "--name", "operator", "--scopes", "admin,operate")
	if code != exitFailure || !strings.Contains(stderr, "`skerry "+advice+"`") {
		t.Errorf("for one space: exit %d, %s; want the advice %q", code, stderr, advice)
	}
	code, key, stderr := skerry(t, n.GRPC(), "", strings.Fields(advice)...)
	if code != exitOK {
		t.Fatalf("skerry %s: exit %d, %s", advice, code, stderr)
	}
	code, out, stderr := skerry(t, n.GRPC(), "", "key", "create", "--name", "game", "--key", strings.TrimSpace(key))
	if code != exitOK || !strings.HasPrefix(out, "sk_") {
		t.Errorf("with the key: exit %d, %s%s", code, out, stderr)
	}
}

// Every command explains itself with an example.
func TestEveryCommandHasAnExample(t *testing.T) {
	root := (&app{lookup: noEnv}).root()
	for _, top := range root.Commands() {
		for _, cmd := range append(top.Commands(), top) {
			if cmd.Runnable() && !cmd.HasSubCommands() && cmd.Name() != "help" && (cmd.Example == "" || cmd.Short == "") {
				t.Errorf("%s has no example or no summary", cmd.CommandPath())
			}
		}
	}
}
