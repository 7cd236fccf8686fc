package main

import (
	"github.com/spf13/cobra"

	"github.com/skerry-dev/skerry/loadtest/report"
)

func (a *app) compareCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "compare A.json B.json",
		Short: "Show two reports side by side",
		Long:  "Show two reports side by side: A is the run before, ratios are B / A. It says when the two were not made alike.",
		Example: `  skerry-load compare before/report.json after/report.json
  skerry-load compare before/report.json after/report.json --json`,
		Args: func(cmd *cobra.Command, args []string) error {
			if err := cobra.ExactArgs(2)(cmd, args); err != nil {
				return usageError{err}
			}
			return nil
		},
		RunE: func(_ *cobra.Command, args []string) error {
			return report.CompareFiles(a.out, args[0], args[1], a.json)
		},
	}
}
