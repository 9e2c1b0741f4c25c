package cmd

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"reflect"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	"go.yaml.in/yaml/v3"
)

// origins is where the values of a configuration come from, by key: FILE:LINE,
// the environment variable, or the key that it follows from. What is not in it
// is the default.
type origins map[string]string

// configRow is one key of the effective configuration.
type configRow struct {
	Key    string `json:"key"`
	Value  string `json:"value"` // as it would stand in the file; (hidden) for secrets
	Origin string `json:"origin"`
}

// configRows lists every key of the configuration, in the order of Config.
// Secrets, which have the tag secret, are hidden.
func configRows(cfg Config, from origins) []configRow {
	return from.rows(reflect.ValueOf(cfg), "")
}

func (from origins) rows(section reflect.Value, prefix string) (rows []configRow) {
	for field, value := range section.Fields() {
		key := prefix + field.Tag.Get("mapstructure")
		switch {
		case value.Kind() == reflect.Struct:
			rows = append(rows, from.rows(value, key+".")...)
		case value.Kind() == reflect.Slice && value.Type().Elem().Kind() == reflect.Struct && value.Len() > 0:
			for i := range value.Len() {
				rows = append(rows, from.rows(value.Index(i), fmt.Sprintf("%s[%d].", key, i))...)
			}
		default:
			row := configRow{Key: key, Value: configText(value), Origin: cmp.Or(from[key], "default")}
			if field.Tag.Get("secret") != "" && row.Value != "" {
				row.Value = "(hidden)"
				if file := key + "_file"; from[key] == "" && from[file] != "" {
					row.Origin = file
				}
			}
			rows = append(rows, row)
		}
	}
	return rows
}

// configText is a value as one writes it into the file.
func configText(value reflect.Value) string {
	switch v := value.Interface().(type) {
	case time.Duration:
		return durationText(v)
	case []string:
		return strings.Join(v, ", ")
	default:
		if value.Kind() == reflect.Slice {
			return ""
		}
		return fmt.Sprint(v)
	}
}

// durationText is the duration without units that are zero.
func durationText(d time.Duration) string {
	text := d.String()
	for _, zero := range []string{"m0s", "h0m"} {
		if strings.HasSuffix(text, zero) {
			text = text[:len(text)-2]
		}
	}
	return text
}

// read notes the lines of the file, which checkYAML has found good.
func (from origins) read(path string, text []byte) {
	var doc yaml.Node
	if yaml.NewDecoder(bytes.NewReader(text)).Decode(&doc) == nil && len(doc.Content) > 0 {
		from.note(doc.Content[0], path, "")
	}
}

func (from origins) note(node *yaml.Node, path, key string) {
	switch {
	case node.Kind == yaml.MappingNode:
		for i := 0; i < len(node.Content); i += 2 {
			from.note(node.Content[i+1], path, strings.TrimPrefix(key+"."+node.Content[i].Value, "."))
		}
	case node.Kind == yaml.SequenceNode:
		for i, item := range node.Content {
			from.note(item, path, fmt.Sprintf("%s[%d]", key, i))
		}
	}
	if node.Tag != "!!null" { // which leaves the default
		from[key] = fmt.Sprintf("%s:%d", path, node.Line)
	}
}

// configCheck is what config check prints.
type configCheck struct {
	File string `json:"file"`
	Keys int    `json:"keys"` // that the file sets
}

func newConfig(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "config",
		Short: "Show the configuration in force, and where each value comes from",
		Long: `Show every key of the configuration with the value in force and where it comes
from: the line of the file, the environment, another key, or the default. Secrets
are hidden. config.example.yaml explains the keys.`,
		Example: "  opensend config\n  opensend config --config /etc/opensend/config.yaml --json\n  opensend config check config.yaml",
		Args:    cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			cfg, from, err := a.configFrom()
			if err != nil {
				return err
			}
			rows := configRows(cfg, from)
			if a.json {
				return a.printJSON(rows)
			}
			w := tabwriter.NewWriter(a.stdout, 0, 0, 2, ' ', 0)
			fmt.Fprintln(w, "KEY\tVALUE\tFROM")
			for _, r := range rows {
				if r.Value == "" {
					r.Value = "-"
				}
				fmt.Fprintf(w, "%s\t%s\t%s\n", r.Key, oneLine(r.Value), r.Origin)
			}
			return w.Flush()
		},
	}
	a.jsonFlag(cmd)
	cmd.AddCommand(newConfigCheck(a))
	return cmd
}

func newConfigCheck(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "check FILE",
		Short: "Check a configuration file, and the keys that it names",
		Long: `Check a configuration file as serve does before it starts, with the files that it
names, and change nothing. Each problem is a line; it exits with 1 when there is
one.`,
		Example: "  opensend config check /etc/opensend/config.yaml",
		Args:    cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			cfg, from, err := loadConfig(args[0], a.getenv)
			if err == nil {
				_, err = cfg.engine()
			}
			if err == nil {
				_, err = cfg.encryption(slog.New(slog.DiscardHandler))
			}
			if err != nil {
				return errors.New(strings.ReplaceAll(from.place(args[0], err), "\n", "\nopensend: "))
			}
			checked := configCheck{File: args[0]}
			for _, row := range configRows(cfg, from) {
				if strings.HasPrefix(row.Origin, args[0]+":") {
					checked.Keys++
				}
			}
			if a.json {
				return a.printJSON(checked)
			}
			_, err = fmt.Fprintf(a.stdout, "%s is good: it sets %s\n", checked.File, plural(checked.Keys, "key"))
			return err
		},
	}
	a.jsonFlag(cmd)
	return cmd
}

// place gives each problem a line of its own, with the place of the key that it
// begins with: the file's line, or the environment.
func (from origins) place(path string, err error) string {
	lines := strings.Split(err.Error(), "\n")
	for i, line := range lines {
		at := path
		key, _, _ := strings.Cut(line, " ")
		if place := from[strings.TrimSuffix(key, ":")]; place != "" {
			at = place
		}
		if !strings.Contains(line, path) {
			lines[i] = at + ": " + line
		}
	}
	return strings.Join(lines, "\n")
}
