package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/skerry-dev/skerry/codec/skerryv1"
	"github.com/skerry-dev/skerry/internal/clustertest"
)

// endTimeout is how long a node may take until it ends by itself.
const endTimeout = 40 * time.Second

// disasters does to disks what happens to them, one after the other: one is wiped, an fsync fails, one is full, and at last two
// of three are lost for ever.
func (c *cluster) disasters(ctx context.Context) error {
	c.Args = append(c.Args, "--log-segment", "1MiB", "--log-max", "8MiB")
	small, err := mountSmall(filepath.Join(c.Dir, "n2", "data"))
	if err != nil {
		say("a full disk: NOT POSSIBLE HERE, not shown: %v\n", err)
	} else {
		defer func() { _ = syscall.Unmount(small, syscall.MNT_DETACH) }()
	}
	if err = c.start(ctx, 3); err != nil {
		return err
	}
	c.load.begin(ctx, c.inFlight)
	for _, d := range []struct {
		what string
		do   func(context.Context) error
	}{
		{"a wiped disk", c.wiped},
		{"an fsync error", c.failedSync},
		{"a full disk", func(ctx context.Context) error { return c.fullDisk(ctx, small) }},
	} {
		began := time.Now()
		if err = d.do(ctx); err != nil {
			return fmt.Errorf("%s: %w", d.what, err)
		}
		if err = c.settled(ctx, 3); err != nil {
			return fmt.Errorf("%s: %w", d.what, err)
		}
		say("%s: %v\n", d.what, time.Since(began).Round(time.Millisecond))
	}
	if err = c.finish(ctx); err != nil {
		return err
	}
	if err = c.quorumLost(ctx); err != nil {
		return fmt.Errorf("quorum lost for ever: %w", err)
	}
	return nil
}

// wiped kills a node and removes all that it had. Under its name it comes back as another one.
func (c *cluster) wiped(ctx context.Context) error {
	node := c.Nodes()[2]
	before, err := c.idOf(ctx, node.Name)
	if err != nil {
		return err
	}
	if err = errors.Join(node.Kill(), os.RemoveAll(node.DataDir())); err != nil {
		return err
	}
	if err = node.Start(ctx); err != nil {
		return err
	}
	if err = c.settled(ctx, 3); err != nil {
		return err
	}
	after, err := c.idOf(ctx, node.Name)
	if err == nil && after <= before {
		err = fmt.Errorf("it has id %d, as node %d that had the data", after, before)
	}
	return err
}

// idOf returns the id of the only node with that name.
func (c *cluster) idOf(ctx context.Context, name string) (id uint32, err error) {
	status, err := c.client.Service().GetCluster(ctx, &skerryv1.GetClusterRequest{})
	if err != nil {
		return 0, fmt.Errorf("ask for the nodes: %w", err)
	}
	for _, n := range status.GetNodes() {
		if n.GetName() == name && id != 0 {
			return 0, fmt.Errorf("two nodes are called %s: %v", name, status.GetNodes())
		}
		if n.GetName() == name {
			id = n.GetId()
		}
	}
	if id == 0 {
		return 0, fmt.Errorf("no node is called %s: %v", name, status.GetNodes())
	}
	return id, nil
}

// failedSync restarts a node so that an fsync of its log fails after a while: it must end, and come back when the disk is well.
func (c *cluster) failedSync(ctx context.Context) error {
	dir := filepath.Join(c.Dir, "faults")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	faulty, err := clustertest.Build(ctx, dir, "faults")
	if err != nil {
		return err
	}
	wrapper := filepath.Join(dir, "failing-sync")
	script := fmt.Sprintf("#!/bin/sh\nSKERRY_FAULT=fail-sync exec %q \"$@\"\n", faulty)
	if err = os.WriteFile(wrapper, []byte(script), 0o755); err != nil {
		return err
	}
	node := c.Nodes()[2]
	healthy := node.Program
	node.Program = wrapper
	stopping, cancel := context.WithTimeout(ctx, endTimeout)
	err = node.Stop(stopping)
	cancel()
	if err == nil {
		err = node.Begin()
	}
	if err == nil {
		err = endsWith(ctx, node, 0, "log stopped, the process must end", "input/output error")
	}
	node.Program = healthy
	if err == nil {
		err = node.Start(ctx)
	}
	return err
}

// mountSmall mounts a small file system on dir.
func mountSmall(dir string) (string, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	if err := syscall.Mount("skerry", dir, "tmpfs", 0, "size=256m"); err != nil {
		return "", fmt.Errorf("mount a small file system (root may): %w", err)
	}
	return dir, nil
}

// fullDisk fills a node's disk: it must end, and come back when there is room.
func (c *cluster) fullDisk(ctx context.Context, dir string) error {
	if dir == "" {
		return nil
	}
	node := c.Nodes()[1]
	filler := filepath.Join(dir, "filler")
	if err := fill(filler); err != nil {
		return err
	}
	if err := endsWith(ctx, node, 0, "no space left on device"); err != nil {
		return err
	}
	if err := os.Remove(filler); err != nil {
		return err
	}
	return node.Start(ctx)
}

// fill writes a file until there is no room for more.
func fill(path string) (err error) {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	for block := make([]byte, 1<<16); ; {
		n, err := f.Write(block)
		switch {
		case errors.Is(err, syscall.ENOSPC) && len(block) == 1:
			return nil
		case errors.Is(err, syscall.ENOSPC):
			block = block[:max(1, (len(block)-n)/2)]
		case err != nil:
			return err
		}
	}
}

// endsWith waits until a node has ended with a failure, and its log says so in these words, after what it had said before.
func endsWith(ctx context.Context, node *clustertest.Member, said int, words ...string) error {
	timer := time.NewTimer(endTimeout)
	defer timer.Stop()
	select {
	case <-node.Exited():
	case <-timer.C:
		return fmt.Errorf("%s did not end within %v", node.Name, endTimeout)
	case <-ctx.Done():
		return ctx.Err()
	}
	log := node.Log()[said:]
	if node.ExitErr() == nil {
		return fmt.Errorf("%s ended as if all were well:\n%s", node.Name, log[max(0, len(log)-2000):])
	}
	for _, word := range words {
		if !strings.Contains(log, word) {
			return fmt.Errorf("%s ended without saying %q:\n%s", node.Name, word, log[max(0, len(log)-2000):])
		}
	}
	at := strings.LastIndex(log, words[0])
	line, _, _ := strings.Cut(log[strings.LastIndexByte(log[:at], '\n')+1:], "\n")
	say("  %s ended (%v): %s\n", node.Name, node.ExitErr(), line)
	return nil
}

// quorumLost gives two of three nodes up: the third goes on with everything, others join it, and the two are fenced.
func (c *cluster) quorumLost(ctx context.Context) error {
	began := time.Now()
	dead, left := c.Nodes()[:2], c.Nodes()[2]
	for _, node := range dead {
		if err := node.Kill(); err != nil {
			return err
		}
	}
	if err := c.refusesRunning(ctx, left); err != nil {
		return err
	}
	if err := left.Kill(); err != nil {
		return err
	}
	if err := c.recover(ctx, left); err != nil {
		return err
	}
	if err := left.Start(ctx); err != nil {
		return err
	}
	if err := c.settled(ctx, 1); err != nil {
		return err
	}
	if err := c.nothingLost(ctx, "alone"); err != nil {
		return err
	}
	say("quorum lost for ever: %s serves alone after %v\n", left.Name, time.Since(began).Round(time.Millisecond))
	c.load.begin(ctx, c.inFlight)
	for range 2 {
		if _, err := c.Add(ctx); err != nil {
			return err
		}
	}
	if err := c.settled(ctx, 3); err != nil {
		return err
	}
	say("two new nodes joined it: %v\n", time.Since(began).Round(time.Millisecond))
	for range 2 { // a service manager starts them again at once
		if err := c.fenced(ctx, dead); err != nil {
			return err
		}
	}
	if err := c.settled(ctx, 3); err != nil {
		return err
	}
	return c.finish(ctx)
}

// nothingLost reads everything back.
func (c *cluster) nothingLost(ctx context.Context, when string) error {
	v, err := c.load.verify(ctx)
	if err == nil && (v.lost > 0 || v.doubled > 0 || v.acked == 0) {
		err = fmt.Errorf("%s: of %d acknowledged %d lost, %d doubled", when, v.acked, v.lost, v.doubled)
	}
	return err
}

// say prints what was seen.
func say(format string, args ...any) { _, _ = fmt.Fprintf(os.Stdout, format, args...) }

// command runs skerry and returns what it printed.
func (c *cluster) command(ctx context.Context, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, c.Program, args...)
	var said bytes.Buffer
	cmd.Stderr = &said
	out, err := cmd.Output()
	if err != nil {
		err = fmt.Errorf("skerry %s: %w: %s", strings.Join(args, " "), err, said.String())
	}
	return string(out), err
}

// refusesRunning wants a recovery of a node that runs to be refused.
func (c *cluster) refusesRunning(ctx context.Context, node *clustertest.Member) error {
	_, err := c.command(ctx, "cluster", "recover", "--data", node.DataDir(), "--force")
	if err == nil || !strings.Contains(err.Error(), "the data directory is in use") {
		return fmt.Errorf("a recovery while the node runs says %w", err)
	}
	return nil
}

// recover makes a node go on alone; before, it looks, which changes nothing.
func (c *cluster) recover(ctx context.Context, node *clustertest.Member) error {
	before, err := digest(node.DataDir())
	if err != nil {
		return err
	}
	said := struct {
		Done       bool     `json:"done"`
		Here       int      `json:"here"`
		Doubtful   int      `json:"doubtful"`
		Generation int      `json:"generation"`
		GivenUp    []string `json:"givenUp"`
	}{}
	for _, force := range []bool{false, true} {
		args := []string{"cluster", "recover", "--json", "--data", node.DataDir()}
		if force {
			args = append(args, "--force")
		}
		out, err := c.command(ctx, args...)
		if err != nil {
			return err
		}
		if err := json.Unmarshal([]byte(out), &said); err != nil {
			return fmt.Errorf("%q: %w", out, err)
		}
		if said.Done != force || len(said.GivenUp) != 2 || said.Here != 33 || said.Generation != 1 {
			return fmt.Errorf("the recovery (force: %v) says %s", force, out)
		}
		if !force {
			after, err := digest(node.DataDir())
			if err != nil {
				return err
			}
			if after != before {
				return errors.New("a look changed the directory")
			}
		}
	}
	say("  recovered %d partitions without %v, %d doubtful entries\n", said.Here, said.GivenUp, said.Doubtful)
	return nil
}

// fenced brings the dead back with what they had: they must end and say why, and nothing of them may change.
func (c *cluster) fenced(ctx context.Context, dead []*clustertest.Member) error {
	var before []string
	var said []int
	for _, node := range dead {
		said = append(said, len(node.Log()))
		sum, err := digest(node.DataDir())
		if err != nil {
			return err
		}
		before = append(before, sum)
	}
	for _, node := range dead { // at once: they are a majority of what was
		if err := node.Begin(); err != nil {
			return err
		}
	}
	for i, node := range dead {
		if err := endsWith(ctx, node, said[i], "this node is fenced"); err != nil {
			return err
		}
		after, err := digest(node.DataDir())
		if err != nil {
			return err
		}
		if after != before[i] {
			return fmt.Errorf("the data directory of %s, which is fenced, was changed", node.Name)
		}
	}
	return nil
}

// digest is of all that a data directory holds, by name and content.
func digest(dir string) (string, error) {
	sum := sha256.New()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || d.Name() == "LOCK" {
			return err
		}
		data, err := os.ReadFile(path)
		_, _ = fmt.Fprintf(sum, "%s %d ", path, len(data))
		sum.Write(data)
		return err
	})
	return fmt.Sprintf("%x", sum.Sum(nil)), err
}
