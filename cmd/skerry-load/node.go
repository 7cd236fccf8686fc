package main

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"runtime/debug"

	"github.com/spf13/cobra"

	"github.com/skerry-dev/skerry/internal/nodeprocess"
	"github.com/skerry-dev/skerry/node"
)

// nodeCommand is `skerry node` as far as --embedded needs it, so that nothing else has to be built.
func (a *app) nodeCommand() *cobra.Command {
	config := node.DefaultConfig()
	var fault string
	cmd := &cobra.Command{
		Use: "node", Hidden: true, Args: cobra.NoArgs,
		Short: "Run a node, as `skerry node` does; for run --embedded",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := config.Validate(); err != nil {
				return usageError{fmt.Errorf("settings:\n%w", err)}
			}
			var level slog.Level
			_ = level.UnmarshalText([]byte(config.LogLevel)) // validated with the settings
			options := node.Options{
				Logger:  slog.New(slog.NewTextHandler(a.err, &slog.HandlerOptions{Level: level})),
				Version: version(), OnReady: a.printReady,
			}
			return nodeprocess.Run(cmd.Context(), config, options, fault)
		},
	}
	node.AddFlags(cmd.Flags(), &config)
	cmd.Flags().StringVar(&fault, "fault", "", "what to break, in a build with the tag \"faults\"")
	return cmd
}

// printReady prints the ready line. A reader who is gone does not stop the node.
func (a *app) printReady(ready node.Ready) {
	if line, err := json.Marshal(ready); err == nil {
		_, _ = fmt.Fprintf(a.out, "%s\n", line)
	}
}

func (a *app) versionCommand() *cobra.Command {
	return &cobra.Command{
		Use: "version", Short: "Print the version", Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			return a.print(map[string]string{"version": version()}, "skerry-load %s\n", version())
		},
	}
}

// version is the module's, or the commit that was built.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	if info.Main.Version != "" && info.Main.Version != "(devel)" {
		return info.Main.Version
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" && len(s.Value) >= 12 {
			return "commit " + s.Value[:12]
		}
	}
	return "development"
}
