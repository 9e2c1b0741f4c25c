package cmd

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"github.com/spf13/cobra"
	"go.yaml.in/yaml/v3"

	"github.com/opensend/opensend/automations"
	"github.com/opensend/opensend/server"
)

// flowFile is a file with one automation.
type flowFile struct {
	path string
	root *yaml.Node
	flow flow
}

// flow is what a file says of an automation, as the API takes it. Its name, or
// its id where it has one, says which automation it is.
type flow struct {
	ID            string          `json:"id,omitempty"`
	Name          string          `json:"name"`
	Status        string          `json:"status,omitempty"`
	Deduplication json.RawMessage `json:"deduplication,omitempty"`
	Steps         []flowStep      `json:"steps"`
	Connections   []flowEdge      `json:"connections,omitempty"`
}

type flowStep struct {
	Key    string          `json:"key"`
	Type   string          `json:"type"`
	Config json.RawMessage `json:"config,omitempty"`
}

type flowEdge struct {
	From string `json:"from"`
	To   string `json:"to"`
	Type string `json:"type,omitempty"`
}

// problem is what is wrong at a place of a file.
type problem struct {
	File    string `json:"file"`
	Line    int    `json:"line,omitempty"`
	Path    string `json:"path,omitempty"` // such as steps[2].config.duration
	Message string `json:"message"`
}

func (p problem) String() string {
	at := p.File
	if p.Line > 0 {
		at += ":" + strconv.Itoa(p.Line)
	}
	if p.Path != "" && !strings.HasPrefix(p.Message, p.Path) {
		at += ": " + p.Path
	}
	return at + ": " + p.Message
}

// readFlows reads the files, and those in the folders, that are named. What is
// wrong with them comes back as problems; an error is of the call itself.
func readFlows(args []string) (files []*flowFile, problems []problem, err error) {
	var paths []string
	for _, arg := range args {
		found, err := flowPaths(arg)
		if err != nil {
			return nil, nil, err
		}
		paths = append(paths, found...)
	}
	seen := map[string]string{}
	for _, path := range paths {
		file, wrong, err := readFlow(path)
		if err != nil {
			return nil, nil, err
		}
		problems = append(problems, wrong...)
		if file == nil {
			continue
		}
		if who := file.flow.ID + "\x00" + file.flow.Name; seen[who] != "" {
			problems = append(problems, problem{File: path, Message: fmt.Sprintf("%s has an automation of this name too; rename one, or give each its id", seen[who])})
		} else {
			seen[who] = path
		}
		files = append(files, file)
	}
	return files, problems, nil
}

func flowPaths(arg string) ([]string, error) {
	info, err := os.Stat(arg)
	if errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("there is no file or folder %s", arg)
	}
	if err != nil || !info.IsDir() {
		return []string{arg}, err
	}
	entries, err := os.ReadDir(arg)
	if err != nil {
		return nil, err
	}
	var paths []string
	for _, e := range entries {
		if ext := filepath.Ext(e.Name()); !e.IsDir() && (ext == ".yaml" || ext == ".yml") {
			paths = append(paths, filepath.Join(arg, e.Name()))
		}
	}
	if len(paths) == 0 {
		return nil, fmt.Errorf("there is no .yaml file in %s", arg)
	}
	return paths, nil
}

func readFlow(path string) (*flowFile, []problem, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, nil, err
	}
	root, err := parseYAML(text)
	if err != nil {
		p := problem{File: path, Message: err.Error()}
		if at := regexp.MustCompile(`yaml: line (\d+): `).FindStringSubmatchIndex(p.Message); at != nil {
			p.Line, _ = strconv.Atoi(p.Message[at[2]:at[3]])
			p.Message = p.Message[:at[0]] + p.Message[at[1]:]
		}
		return nil, []problem{p}, nil
	}
	if root == nil || root.Kind != yaml.MappingNode {
		return nil, []problem{{File: path, Message: "an automation has keys: name, status, steps and connections"}}, nil
	}
	file := &flowFile{path: path, root: root}
	body, err := file.body()
	if e, ok := errors.AsType[*lineError](err); ok {
		return nil, []problem{{File: path, Line: e.line, Message: e.msg}}, nil
	}
	if err := server.CheckAutomation(body); err != nil {
		return nil, file.problems(err), nil
	}
	return file, nil, json.Unmarshal(body, &file.flow)
}

// body is the file as JSON; an error is a *lineError.
func (f *flowFile) body() ([]byte, error) {
	if err := onlyKeys(f.root, "an automation", "id", "name", "status", "deduplication", "steps", "connections"); err != nil {
		return nil, err
	}
	for i := 0; i < len(f.root.Content); i += 2 {
		if f.root.Content[i].Value != "steps" {
			continue
		}
		for _, step := range f.root.Content[i+1].Content {
			if err := onlyKeys(step, "a step", "key", "type", "config"); err != nil {
				return nil, err
			}
		}
	}
	var out bytes.Buffer
	err := yamlToJSON(&out, f.root)
	return out.Bytes(), err
}

// onlyKeys refuses other keys than these in a mapping.
func onlyKeys(node *yaml.Node, what string, known ...string) error {
	for i := 0; node.Kind == yaml.MappingNode && i < len(node.Content); i += 2 {
		if key := node.Content[i]; !slices.Contains(known, key.Value) {
			hint := ""
			if near := automations.Nearest(key.Value, known); near != "" {
				hint = "; did you mean " + near + "?"
			}
			return badNode(key, "%.60s is not a key of %s%s", key.Value, what, hint)
		}
	}
	return nil
}

// problems gives each detail of an error of the API its line.
func (f *flowFile) problems(err error) (list []problem) {
	e, ok := errors.AsType[*automations.Error](err)
	if !ok || len(e.Details) == 0 {
		return []problem{{File: f.path, Message: err.Error()}}
	}
	for _, d := range e.Details {
		list = append(list, problem{f.path, nodeAt(f.root, d.Path).Line, d.Path, d.Message})
	}
	return list
}

// nodeAt follows a path such as steps[2].config.duration as far as it goes.
func nodeAt(node *yaml.Node, path string) *yaml.Node {
	for path != "" {
		if node.Kind == yaml.AliasNode {
			node = node.Alias
		}
		var next *yaml.Node
		if rest, ok := strings.CutPrefix(path, "["); ok {
			number, rest, _ := strings.Cut(rest, "]")
			if n, err := strconv.Atoi(number); err == nil && node.Kind == yaml.SequenceNode && n < len(node.Content) {
				next, path = node.Content[n], strings.TrimPrefix(rest, ".")
			}
		} else if node.Kind == yaml.MappingNode {
			end := strings.IndexAny(path, ".[")
			if end < 0 {
				end = len(path)
			}
			for i := 0; i < len(node.Content); i += 2 {
				if node.Content[i].Value == path[:end] {
					next = node.Content[i+1]
				}
			}
			path = strings.TrimPrefix(path[end:], ".")
		}
		if next == nil {
			return node
		}
		node = next
	}
	return node
}

// yaml is the automation as a file.
func (f flow) yaml() ([]byte, error) {
	raw, err := json.Marshal(f)
	if err != nil {
		return nil, err
	}
	node, err := jsonToYAML(raw)
	if err != nil {
		return nil, err
	}
	for i := 0; i < len(node.Content); i += 2 {
		if node.Content[i].Value == "connections" {
			for _, edge := range node.Content[i+1].Content {
				edge.Style = yaml.FlowStyle
			}
		}
	}
	return yamlText(node)
}

// fileName is the name that a file for the automation gets.
func (f flow) fileName() string {
	slug := strings.Map(func(r rune) rune {
		if unicode.IsLetter(r) || unicode.IsDigit(r) {
			return unicode.ToLower(r)
		}
		return '-'
	}, f.Name)
	for strings.Contains(slug, "--") {
		slug = strings.ReplaceAll(slug, "--", "-")
	}
	slug = strings.Trim(slug, "-")
	if runes := []rune(slug); len(runes) > 60 {
		slug = strings.TrimRight(string(runes[:60]), "-")
	}
	if slug == "" {
		slug = "automation"
	}
	return slug
}

func newAutomationsValidate(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "validate DIR|FILE ...",
		Short: "Check automations in files, without a server or a data file",
		Long: `Check automations in YAML files, or in the .yaml and .yml files of a folder, as the
API would, without a server or a data file. Each problem is a line with its place;
it exits with 1 when there is one. See "opensend automations export" for the files.`,
		Example: "  opensend automations validate flows\n  opensend automations validate flows/welcome.yaml --json",
		Args:    cobra.MinimumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			files, problems, err := readFlows(args)
			if err != nil {
				return err
			}
			if a.json {
				if problems == nil {
					problems = []problem{}
				}
				err = a.printJSON(problems)
			} else {
				for _, p := range problems {
					fmt.Fprintln(a.stdout, p)
				}
			}
			if len(problems) > 0 {
				return fmt.Errorf("%s", plural(len(problems), "problem"))
			}
			if !a.json {
				_, err = fmt.Fprintf(a.stdout, "%s, no problems\n", plural(len(files), "automation"))
			}
			return err
		},
	}
	a.jsonFlag(cmd)
	return cmd
}

// plural is a number of things.
func plural(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
}
