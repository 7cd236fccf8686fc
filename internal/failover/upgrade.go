package main

import (
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/skerry-dev/skerry/codec/skerryv1"
	"github.com/skerry-dev/skerry/internal/clustertest"
)

// buildFrom builds the nodes' program of another revision, in a worktree of its own that is removed again.
func buildFrom(ctx context.Context, dir, revision string) (program string, err error) {
	tree := filepath.Join(dir, "tree")
	if out, err := exec.CommandContext(ctx, "git", "worktree", "add", "--detach", tree, revision).CombinedOutput(); err != nil {
		return "", fmt.Errorf("check out %s (this needs git, and a clone with that revision): %w\n%s", revision, err, out)
	}
	defer func() {
		if out, failed := exec.CommandContext(context.WithoutCancel(ctx), "git", "worktree", "remove", "--force", tree).CombinedOutput(); failed != nil && err == nil {
			err = fmt.Errorf("remove the worktree: %w\n%s", failed, out)
		}
	}()
	program = filepath.Join(dir, "skerry-before")
	build := exec.CommandContext(ctx, "go", "build", "-buildvcs=true", "-o", program, "./cmd/skerry")
	build.Dir = tree
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build %s: %w\n%s", revision, err, out)
	}
	return program, nil
}

// upgrade replaces every node's program under load, one after another: first by the present build, then by the other one again, which
// may be done as long as nothing newer was written, and so on.
func (c *cluster) upgrade(ctx context.Context) error {
	before, err := buildFrom(ctx, c.Dir, c.from)
	if err != nil {
		return err
	}
	now := c.Program
	c.Program = before
	if err := c.start(ctx, 3); err != nil {
		return err
	}
	if err := c.showVersions(ctx); err != nil {
		return err
	}
	c.load.memory = true
	c.load.begin(ctx, c.inFlight)
	var all []time.Duration
	for round := range c.rounds {
		program := now
		if round%2 == 1 {
			program = before
		}
		for _, node := range c.Nodes() {
			c.load.mark()
			began := time.Now()
			if err := c.replace(ctx, node, program); err != nil {
				return err
			}
			waits := c.load.waited(c.load.all())
			all = append(all, waits...)
			fmt.Printf("round %d: %s runs %s after %v; %s\n", round+1, node.Name, filepath.Base(program), time.Since(began).Round(time.Millisecond), line("calls meanwhile", waits))
		}
		if err := c.showVersions(ctx); err != nil {
			return err
		}
	}
	slices.Sort(all)
	fmt.Println(line("calls while nodes are replaced", all))
	return c.finish(ctx)
}

// replace stops a node gracefully and starts another program in its place.
func (c *cluster) replace(ctx context.Context, node *clustertest.Member, program string) error {
	stopping, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	if err := node.Stop(stopping); err != nil {
		return err
	}
	node.Program = program
	if err := node.Start(ctx); err != nil {
		return err
	}
	return c.settled(ctx, 3)
}

// showVersions prints what the nodes say that they are.
func (c *cluster) showVersions(ctx context.Context) error {
	status, err := c.client.Service().GetCluster(ctx, &skerryv1.GetClusterRequest{})
	if err != nil {
		return fmt.Errorf("ask for the nodes' versions: %w", err)
	}
	var versions []string
	for _, n := range status.GetNodes() {
		versions = append(versions, n.GetName()+" "+n.GetVersion())
	}
	fmt.Printf("feature level %d: %s\n", status.GetFeatureLevel(), strings.Join(versions, ", "))
	return nil
}
