package main

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"

	"github.com/spf13/cobra"

	"github.com/skerry-dev/skerry/node"
	"github.com/skerry-dev/skerry/persistence"
	"github.com/skerry-dev/skerry/persistence/pebblestore"
)

// recovery is what `skerry cluster recover --json` prints.
type recovery struct {
	Cluster    string               `json:"cluster"`
	Node       string               `json:"node"`
	Done       bool                 `json:"done"`
	Generation uint32               `json:"generation"` // after the recovery
	GivenUp    []string             `json:"givenUp"`
	Here       int                  `json:"here"`
	Doubtful   uint64               `json:"doubtful"`
	Partitions []recoveredPartition `json:"partitions"`
}

type recoveredPartition struct {
	Partition string   `json:"partition"` // a number, or "meta"
	Here      bool     `json:"here"`
	Last      uint64   `json:"last"`
	Doubtful  uint64   `json:"doubtful"`
	AlsoOn    []string `json:"alsoOn"`
}

func (a *app) clusterRecover() *cobra.Command {
	var data string
	var force bool
	cmd := &cobra.Command{
		Use: "recover --data DIR", Short: "Go on with one node alone, because the majority is lost for ever",
		Long: `Make the node of a data directory the only one of its cluster, because the majority of the others is lost for ever. No node may
run on the directory. Without --force it changes nothing: it says what is here, and what may be lost.

What the others acknowledged and this directory does not have is lost. What it has and is not known to be acknowledged (DOUBTFUL) counts
as acknowledged. The others are given up: if one of them comes back it is fenced, and ends. Never do this while a majority can still be
brought back: then start that. Afterwards start the node as always; new nodes, with empty data directories, can join it.

Of several nodes that are left take the one with the greatest LAST. After an error or a crash do it again.`,
		Example: `  skerry cluster recover --data /var/lib/skerry
  skerry cluster recover --data /var/lib/skerry --force`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if data == "" {
				return usageError{errors.New("--data is missing: the data directory of the node that is left")}
			}
			found, err := node.Recover(cmd.Context(), pebblestore.DiskFS(), data, force, slog.New(slog.DiscardHandler))
			if len(found.Partitions) > 0 {
				err = errors.Join(err, a.showRecovery(&found))
			}
			if err != nil {
				return fmt.Errorf("recover: %w", err)
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&data, "data", "", "data directory of the node that is left")
	cmd.Flags().BoolVar(&force, "force", false, "do it: what only the other nodes had is lost, and they can never come back")
	return cmd
}

func (a *app) showRecovery(found *node.Recovery) error {
	r := recovery{
		Cluster: found.Cluster, Node: found.NameOf(found.Node), Done: found.Done, Generation: found.Generation, GivenUp: found.Lost(),
	}
	rows := [][]any{{"PARTITION", "HERE", "LAST", "DOUBTFUL", "ALSO ON"}}
	for _, p := range found.Partitions {
		one := recoveredPartition{Partition: fmt.Sprint(p.Partition), Here: p.Here, Last: p.Last, Doubtful: p.Doubtful, AlsoOn: []string{}}
		if p.Partition == persistence.MetaPartition {
			one.Partition = "meta"
		}
		here := "no"
		if p.Here {
			here = "yes"
			r.Here++
		}
		for _, id := range p.Others {
			one.AlsoOn = append(one.AlsoOn, found.NameOf(id))
		}
		r.Doubtful += p.Doubtful
		r.Partitions = append(r.Partitions, one)
		rows = append(rows, []any{one.Partition, here, one.Last, one.Doubtful, dash(strings.Join(one.AlsoOn, ","))})
	}
	if !a.json {
		if err := a.table(rows); err != nil {
			return err
		}
	}
	others := strings.Join(r.GivenUp, ", ")
	text := "\n%d of %d partitions are here; %d entries are not known to be acknowledged, and would count as such.\n" +
		"What %s acknowledged after LAST would be lost, and they would be given up for ever, as of a generation before %d.\n" +
		"Nothing was changed: --force does it.\n"
	if r.Done {
		text = "\n%d of %d partitions go on here alone; %d entries that were not known to be acknowledged count as such.\n" +
			"%s: given up. If they come back they are fenced: the cluster is of generation %d.\n" +
			"Start the node now, then let new nodes join it.\n"
	}
	return a.print(r, text, r.Here, len(r.Partitions), r.Doubtful, dash(others), r.Generation)
}
