package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/skerry-dev/skerry/loadtest"
)

func (a *app) scenariosCommand() *cobra.Command {
	var yaml bool
	cmd := &cobra.Command{
		Use:   "scenarios [NAME]",
		Short: "List the scenarios, or print one as YAML to begin one of your own",
		Example: `  skerry-load scenarios
  skerry-load scenarios steady --yaml > my-game.yaml`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			all := loadtest.Builtin()
			if len(args) == 1 {
				s, err := loadtest.Find(args[0])
				if err != nil {
					return err
				}
				all = []*loadtest.Scenario{s}
			}
			switch {
			case yaml && len(args) == 0:
				return usageError{fmt.Errorf("--yaml: of which scenario?")}
			case yaml:
				text, err := all[0].YAML()
				if err != nil {
					return err
				}
				_, err = a.out.Write(text)
				return err
			case a.json:
				return a.print(all, "")
			}
			for _, s := range all {
				if err := a.print(s, "%s\n", describe(s)); err != nil {
					return err
				}
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&yaml, "yaml", false, "print the scenario as a file with all settings")
	return cmd
}

// lineWidth is where descriptions are broken.
const lineWidth = 100

func describe(s *loadtest.Scenario) string {
	var out strings.Builder
	fmt.Fprintf(&out, "%s\n", s.Name)
	line := "   "
	for word := range strings.FieldsSeq(s.Description) {
		if len(line)+1+len(word) > lineWidth {
			fmt.Fprintln(&out, line)
			line = "   "
		}
		line += " " + word
	}
	fmt.Fprintln(&out, line)
	fmt.Fprintf(&out, "    %v minutes, %d servers of %d players, %v actions a minute each, %s, nodes: %d\n",
		s.Minutes, s.Servers, s.Players, s.Actions, s.Budget, s.Nodes)
	if bounds := s.Bounds.Words(); bounds != "" {
		fmt.Fprintf(&out, "    bounds: %s\n", bounds)
	}
	return out.String()
}
