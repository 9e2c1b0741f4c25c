package cmd

import (
	"fmt"
	"io"
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

func currentVersion() versionInfo {
	info := versionInfo{Version: version, Schema: storage.SchemaVersion}
	if build, ok := debug.ReadBuildInfo(); ok {
		info.Go = build.GoVersion
		for _, s := range build.Settings {
			if s.Key == "vcs.revision" {
				info.Commit = s.Value
			}
		}
	}
	return info
}

func (v versionInfo) line() string {
	return fmt.Sprintf("opensend %s (data file layout %d, %s)\n", v.Version, v.Schema, v.Go)
}

func newVersion(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "version",
		Short:   "Print the version",
		Example: "  opensend version --json",
		Args:    cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			if a.json {
				return a.printJSON(currentVersion())
			}
			_, err := io.WriteString(a.stdout, currentVersion().line())
			return err
		},
	}
	a.jsonFlag(cmd)
	return cmd
}
