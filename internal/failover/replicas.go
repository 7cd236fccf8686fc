package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/skerry-dev/skerry/node"
	"github.com/skerry-dev/skerry/persistence"
)

// replicasEqual waits until every byte of every partition is the same on all nodes that have it. Nothing may be written
// meanwhile.
func (c *cluster) replicasEqual(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	for {
		replicas, err := c.compareReplicas(ctx)
		if err == nil {
			fmt.Printf("%d replicas compared: equal in every byte\n", replicas)
			return nil
		}
		if stop := pause(ctx, 500*time.Millisecond); stop != nil {
			return errors.Join(err, stop)
		}
	}
}

// compareReplicas returns an error when two replicas of a partition differ.
func (c *cluster) compareReplicas(ctx context.Context) (replicas int, err error) {
	type seen struct {
		node string
		node.ReplicaDigest
	}
	first := map[persistence.Partition]seen{}
	for _, m := range c.Nodes() {
		list, err := digests(ctx, m.Ready.Admin)
		if err != nil {
			return 0, fmt.Errorf("digests of %s: %w", m.Name, err)
		}
		replicas += len(list)
		for _, d := range list {
			other, known := first[d.Partition]
			if !known {
				first[d.Partition] = seen{m.Name, d}
			} else if other.Digest != d.Digest {
				return 0, fmt.Errorf("partition %d differs: %s at entry %d, %s at entry %d", d.Partition, other.node, other.Applied, m.Name, d.Applied)
			}
		}
	}
	if replicas < 3*len(first) || len(first) == 0 {
		return 0, fmt.Errorf("%d replicas of %d partitions", replicas, len(first))
	}
	return replicas, nil
}

func digests(ctx context.Context, admin string) (list []node.ReplicaDigest, err error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+admin+"/debug/replicas", nil)
	if err != nil {
		return nil, err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return nil, errors.New(response.Status)
	}
	return list, json.NewDecoder(response.Body).Decode(&list)
}
