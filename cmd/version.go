package cmd

import (
	"fmt"
	"runtime/debug"

	"github.com/spf13/cobra"

	"github.com/opensend/opensend/storage"
)

// version is set by the release build.
var version = "dev"

type versionInfo struct {
	Version string `json:"version"`
	Commit  string `json:"commit,omitempty"`
	Go      string `json:"go"`
	Schema  int    `json:"schema"` // layout of the data file
}

func newVersion(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "version",
		Short:   "Print the version",
		Example: "  opensend version --json",
		Args:    cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			info := versionInfo{Version: version, Schema: storage.SchemaVersion}
			if build, ok := debug.ReadBuildInfo(); ok {
				info.Go = build.GoVersion
				for _, s := range build.Settings {
					if s.Key == "vcs.revision" {
						info.Commit = s.Value
					}
				}
			}
			if a.json {
				return a.printJSON(info)
			}
			_, err := fmt.Fprintf(a.stdout, "opensend %s (data file layout %d, %s)\n", info.Version, info.Schema, info.Go)
			return err
		},
	}
	a.jsonFlag(cmd)
	return cmd
}
