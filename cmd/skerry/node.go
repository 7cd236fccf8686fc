package main

import (
	"encoding/json"
	"fmt"
	"log/slog"

	"github.com/spf13/cobra"

	"github.com/skerry-dev/skerry/internal/nodeprocess"
	"github.com/skerry-dev/skerry/node"
)

func (a *app) nodeCommand() *cobra.Command {
	config := node.DefaultConfig()
	var file string
	cmd := &cobra.Command{
		Use:   "node",
		Short: "Run a node",
		Long: `Run a node. When it serves, it prints one line of JSON on standard output that says where; logs go to standard error.
SIGTERM or SIGINT stops it: what was accepted is answered and everything is saved. A second signal ends it at once.

Settings come from flags, SKERRY_* variables and a YAML file, in this order; ` + "`skerry config`" + ` explains them all.`,
		Example: `  skerry node
  skerry node --data /var/lib/skerry --config /etc/skerry.yaml
  skerry node --http 127.0.0.1:0 --grpc 127.0.0.1:0 --peer 127.0.0.1:0 --gossip 127.0.0.1:0 --admin 127.0.0.1:0    # free ports
  skerry node --name n2 --join 10.0.0.1:7703 --advertise 10.0.0.2 --peer 0.0.0.0:7702 --gossip 0.0.0.0:7703    # a node of a cluster`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if _, err := node.LoadConfig(&config, cmd.Flags(), a.configFile(file), a.lookup); err != nil {
				return usageError{fmt.Errorf("settings:\n%w", err)}
			}
			a.warnOfVariables()
			options := node.Options{Logger: a.logger(config), Version: version(), OnReady: a.printReady}
			return nodeprocess.Run(cmd.Context(), config, options, a.env("SKERRY_FAULT", ""))
		},
	}
	node.AddFlags(cmd.Flags(), &config)
	addConfigFlag(cmd, &file)
	return cmd
}

func addConfigFlag(cmd *cobra.Command, file *string) {
	cmd.Flags().StringVar(file, "config", "", "YAML file of settings (SKERRY_CONFIG)")
}

func (a *app) configFile(flag string) string {
	if flag != "" {
		return flag
	}
	return a.env("SKERRY_CONFIG", "")
}

// printReady prints the ready line. A reader who is gone does not stop the node.
func (a *app) printReady(ready node.Ready) {
	line, err := json.Marshal(ready)
	if err == nil {
		_, _ = fmt.Fprintf(a.out, "%s\n", line)
	}
}

func (a *app) logger(config node.Config) *slog.Logger {
	var level slog.Level
	_ = level.UnmarshalText([]byte(config.LogLevel)) // validated with the settings
	opts := &slog.HandlerOptions{Level: level}
	if config.LogFormat == "json" {
		return slog.New(slog.NewJSONHandler(a.err, opts))
	}
	return slog.New(slog.NewTextHandler(a.err, opts))
}
