package cmd

import (
	"cmp"
	"errors"
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"go.yaml.in/yaml/v3"
)

var update = flag.Bool("update", false, "write docs/cli.md, docs/configuration.md and docs/api.md anew")

// The reference pages say what the program says of itself. After a change:
// go test ./cmd -run Reference -update
func TestReference(t *testing.T) {
	for path, text := range map[string]string{"../docs/cli.md": commandReference(), "../docs/configuration.md": configurationReference(t), "../docs/api.md": apiReference(t)} {
		if *update {
			if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if stored, err := os.ReadFile(path); err != nil || string(stored) != text {
			t.Errorf("%s is not what the program says: go test ./cmd -run Reference -update (%v)", path, err)
		}
	}
}

// commandReference is every command with its help.
func commandReference() string {
	var out strings.Builder
	out.WriteString("# Commands\n\nMade from the program's own help. Every command takes `--config FILE`; what prints data takes `--json`.\n" +
		"Exit codes: 0 done, 1 failed, 2 the command is wrong, 4 another process holds the data file, 70 the data file failed.\n")
	root := newRoot(&app{stdout: &out, stderr: &out, getenv: func(string) string { return "" }})
	var walk func(*cobra.Command)
	walk = func(cmd *cobra.Command) {
		if cmd.Hidden || cmd.Name() == "help" {
			return
		}
		if cmd.Runnable() && (!cmd.HasSubCommands() || cmd.Flags().Lookup("json") != nil) {
			describeCommand(&out, cmd)
		}
		for _, sub := range cmd.Commands() {
			walk(sub)
		}
	}
	walk(root)
	return out.String()
}

func describeCommand(out *strings.Builder, cmd *cobra.Command) {
	fmt.Fprintf(out, "\n## %s\n\n", cmd.CommandPath())
	about := cmd.Short + "."
	if cmd.Long != "" {
		about = cmd.Long
	}
	fmt.Fprintf(out, "%s\n\n```\n%s\n", strings.TrimSpace(about), cmd.UseLine())
	if flags := strings.TrimRight(cmd.LocalNonPersistentFlags().FlagUsages(), "\n"); flags != "" {
		fmt.Fprintf(out, "\n%s\n", flags)
	}
	out.WriteString("```\n")
	if cmd.Example != "" {
		fmt.Fprintf(out, "\nFor example:\n\n```\n%s\n```\n", unindented(cmd.Example))
	}
}

func unindented(text string) string {
	lines := strings.Split(text, "\n")
	for i := range lines {
		lines[i] = strings.TrimPrefix(lines[i], "  ")
	}
	return strings.Join(lines, "\n")
}

// configurationReference is every key of config.example.yaml, which another
// test holds to the program's own.
func configurationReference(t *testing.T) string {
	text, err := os.ReadFile("../config.example.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var doc yaml.Node
	if err := yaml.Unmarshal(text, &doc); err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	out.WriteString("# Configuration\n\nMade from [config.example.yaml](../config.example.yaml), which has every key with its default. The file is `./config.yaml`, or what\n" +
		"`--config` names; `OPENSEND_BASE_URL` is stronger than `base_url`. `opensend config` prints what is in force, and where it comes from.\n\n" +
		"| key | default | meaning |\n|---|---|---|\n")
	describeKeys(&out, "", doc.Content[0], "")
	return out.String()
}

// describeKeys writes a row for each key below a node. What is said above a
// group's first key belongs to the group.
func describeKeys(out *strings.Builder, prefix string, node *yaml.Node, above string) {
	for i := 0; i < len(node.Content); i += 2 {
		key, value := node.Content[i], node.Content[i+1]
		comment := about(key.HeadComment)
		if i == 0 && above != "" && comment == "" {
			comment = above
		}
		if value.Kind == yaml.MappingNode && len(value.Content) > 0 {
			describeKeys(out, prefix+key.Value+".", value, comment)
			continue
		}
		if comment == "" {
			comment = "as above"
		}
		shown := value.Value
		if value.Kind == yaml.SequenceNode || value.Kind == yaml.MappingNode {
			shown = "[]"
		}
		if shown != "" {
			shown = "`" + shown + "`"
		}
		fmt.Fprintf(out, "| `%s%s` | %s | %s |\n", prefix, key.Value, shown, comment)
	}
}

// about is the last paragraph of a comment as one line.
func about(comment string) string {
	paragraphs := strings.Split(comment, "\n\n")
	lines := strings.Split(paragraphs[len(paragraphs)-1], "\n")
	for i := range lines {
		lines[i] = strings.TrimSpace(strings.TrimPrefix(lines[i], "#"))
	}
	return strings.ReplaceAll(strings.Join(lines, " "), "|", `\|`)
}

// apiReference is every route of the API's document.
func apiReference(t *testing.T) string {
	text, err := os.ReadFile("../server/openapi.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var doc struct {
		Info struct{ Description string }
		Tags []struct{ Name, Description string }
	}
	var paths struct{ Paths yaml.Node }
	if err := errors.Join(yaml.Unmarshal(text, &doc), yaml.Unmarshal(text, &paths)); err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	fmt.Fprintf(&out, "# API\n\nMade from [openapi.yaml](../server/openapi.yaml), which has every field, limit and error. A server shows it at `/docs` and gives it at\n`/openapi.json`.\n\n%s", doc.Info.Description)
	for _, tag := range doc.Tags {
		fmt.Fprintf(&out, "\n## %s\n\n%s\n\n| | | keys |\n|---|---|---|\n", tag.Name, tag.Description)
		describeRoutes(t, &out, &paths.Paths, tag.Name)
	}
	return out.String()
}

// describeRoutes writes a row for each route of a tag, in the document's order.
func describeRoutes(t *testing.T, out *strings.Builder, paths *yaml.Node, tag string) {
	for i := 0; i < len(paths.Content); i += 2 {
		methods := paths.Content[i+1]
		for m := 0; m < len(methods.Content); m += 2 {
			var op struct {
				Tags       []string
				Summary    string
				Permission string `yaml:"x-permission"`
				Security   *[]any `yaml:"security"`
			}
			if method := methods.Content[m].Value; method == "parameters" || methods.Content[m+1].Kind != yaml.MappingNode {
				continue
			} else if err := methods.Content[m+1].Decode(&op); err != nil {
				t.Fatal(err)
			} else if slices.Contains(op.Tags, tag) {
				keys := cmp.Or(op.Permission, "full_access")
				if op.Security != nil && len(*op.Security) == 0 {
					keys = "none"
				}
				fmt.Fprintf(out, "| `%s %s` | %s | %s |\n", strings.ToUpper(method), paths.Content[i].Value, strings.ReplaceAll(op.Summary, "|", "\\|"), keys)
			}
		}
	}
}
