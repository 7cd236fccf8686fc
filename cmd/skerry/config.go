package main

import (
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"
	yaml "go.yaml.in/yaml/v3"

	"github.com/skerry-dev/skerry/node"
)

// setting is one line of `skerry config --json`.
type setting struct {
	Name    string `json:"name"`
	Value   string `json:"value"`
	Default string `json:"default"`
	// Source is "default", "flag", the environment variable, or FILE:LINE.
	Source string `json:"source"`
	Env    string `json:"env"`
	Help   string `json:"help"`
}

func (a *app) configCommand() *cobra.Command {
	config := node.DefaultConfig()
	var file string
	cmd := &cobra.Command{
		Use:   "config",
		Short: "Print the effective settings of a node, each explained",
		Long: `Print the settings that ` + "`skerry node`" + ` would run with, given the same flags, environment and file. The output is a YAML file
that says the same.`,
		Example: `  skerry config > skerry.yaml
  SKERRY_AUTOSAVE_INTERVAL=1m skerry config --config skerry.yaml --json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			sources, err := node.LoadConfig(&config, cmd.Flags(), a.configFile(file), a.lookup)
			if err != nil {
				return usageError{fmt.Errorf("settings:\n%w", err)}
			}
			a.warnOfVariables()
			return a.printSettings(&config, sources)
		},
	}
	node.AddFlags(cmd.Flags(), &config)
	addConfigFlag(cmd, &file)
	return cmd
}

func (a *app) printSettings(config *node.Config, sources node.Sources) error {
	defaults := node.DefaultConfig()
	standard := node.Settings(&defaults)
	var all []setting
	var text strings.Builder
	for i, s := range node.Settings(config) {
		one := setting{
			Name: s.Name, Value: s.Value.String(), Default: standard[i].Value.String(), Source: sources[s.Name], Env: s.Env(), Help: s.Help,
		}
		if one.Source == "" {
			one.Source = "default"
		}
		all = append(all, one)
		fmt.Fprintf(&text, "# %s. Default: %s.\n", one.Help, orNone(one.Default))
		if one.Source != "default" {
			fmt.Fprintf(&text, "# (from %s)\n", one.Source)
		}
		fmt.Fprintf(&text, "%s: %s\n\n", one.Name, quoted(one.Value))
	}
	fmt.Fprintf(&text, "# Rules of each space, by name, \"*\" for the others; docs/operating.md lists them. Default: none.\n")
	if len(config.Rules) == 0 {
		fmt.Fprintf(&text, "# rules:\n#   main:\n#     hotbarSlots: 9\n")
	} else {
		rules, err := yaml.Marshal(map[string]any{"rules": config.Rules})
		if err != nil {
			return fmt.Errorf("print the rules: %w", err)
		}
		text.Write(rules)
	}
	return a.print(all, "%s", text.String())
}

// warnOfVariables names what looks like a setting in the environment and is none.
func (a *app) warnOfVariables() {
	known := []string{"SKERRY_ADDR", "SKERRY_CONFIG", "SKERRY_FAULT", "SKERRY_KEY", "SKERRY_SPACE"}
	for _, name := range node.UnknownVariables(os.Environ(), known...) {
		_, _ = fmt.Fprintf(a.err, "skerry: the environment has %s, which is no setting; `skerry config` lists them\n", name)
	}
}

func orNone(value string) string {
	if value == "" {
		return "none"
	}
	return value
}

// quoted writes a value so that YAML reads it back as it is.
func quoted(value string) string {
	if value == "" || strings.ContainsAny(value, ":#{}[]*&!|>'\"%@` ") {
		return fmt.Sprintf("%q", value)
	}
	return value
}
