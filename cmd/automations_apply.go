package cmd

import (
	"bufio"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/rogpeppe/go-internal/diff"
	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/opensend/opensend/automations"
)

// stored is an automation as the API gives it, as far as files have it.
type stored struct {
	flow
	Steps []struct {
		ID string `json:"id"`
		flowStep
	} `json:"steps"`
}

// asFile is the automation without what the server adds: the ids and the
// empty places.
func (s stored) asFile() flow {
	f := s.flow
	f.ID = ""
	f.Steps = nil
	for _, step := range s.Steps {
		f.Steps = append(f.Steps, step.flowStep)
	}
	return f.plain()
}

// plain leaves out what says nothing, so that two ways to write the same are
// the same.
func (f flow) plain() flow {
	if dedup, err := automations.ParseDeduplication(f.Deduplication); err == nil {
		f.Deduplication = nil
		if dedup != nil {
			f.Deduplication, _ = json.Marshal(dedup)
		}
	}
	f.Steps, f.Connections = slices.Clone(f.Steps), slices.Clone(f.Connections)
	for i := range f.Steps {
		if s := &f.Steps[i]; string(s.Config) == "{}" || string(s.Config) == "null" {
			s.Config = nil
		}
	}
	for i := range f.Connections {
		f.Connections[i].Type = cmp.Or(f.Connections[i].Type, "default")
	}
	return f
}

// automations reads all automations, or those with the given ids.
func (c *client) automations(ids ...string) (list []stored, err error) {
	if len(ids) == 0 {
		err = c.each("/automations", nil, func(raw json.RawMessage) error {
			var item struct{ ID string }
			err := json.Unmarshal(raw, &item)
			ids = append(ids, item.ID)
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	for _, id := range ids {
		var s stored
		if err := c.call(http.MethodGet, "/automations/"+url.PathEscape(id), nil, &s); err != nil {
			return nil, err
		}
		list = append(list, s)
	}
	return list, nil
}

func newAutomationsExport(a *app) *cobra.Command {
	var force bool
	cmd := &cobra.Command{
		Use:   "export DIR [ID ...]",
		Short: "Write automations into files, one each",
		Long: `Write all automations, or those with the given ids, into a folder, each into a
YAML file of its name. Keys are in the order in which they were given to the API.
The file has an id only where two automations have the same name.

A file that is there and says something else is replaced with --force only.`,
		Example: "  opensend automations export flows\n  opensend automations export flows 0199f234-d327-7cd8-9dc5-4fd8e5e249df --force",
		Args:    cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.connect(http.MethodGet)
			if err != nil {
				return err
			}
			defer c.close()
			list, err := c.automations(args[1:]...)
			if err != nil {
				return orList(cmd, err)
			}
			return a.exportFlows(args[0], list, force)
		},
	}
	cmd.Flags().BoolVar(&force, "force", false, "replace files that say something else")
	a.jsonFlag(cmd)
	return cmd
}

// exported is one file that export has written, or found as it would write it.
type exported struct {
	File    string `json:"file"`
	ID      string `json:"id"`
	Name    string `json:"name"`
	Written bool   `json:"written"`
}

func (a *app) exportFlows(dir string, list []stored, force bool) error {
	texts := map[string][]byte{}
	out := []exported{}
	for _, s := range slices.Backward(list) { // the oldest first: its name stays when others come
		f := s.asFile()
		if slices.ContainsFunc(list, func(o stored) bool { return o.ID != s.ID && o.Name == s.Name }) {
			f.ID = s.ID
		}
		text, err := f.yaml()
		if err != nil {
			return err
		}
		path := filepath.Join(dir, f.fileName()+".yaml")
		for n := 2; texts[path] != nil; n++ {
			path = filepath.Join(dir, fmt.Sprintf("%s-%d.yaml", f.fileName(), n))
		}
		texts[path] = text
		have, err := os.ReadFile(path)
		switch {
		case err != nil && !errors.Is(err, fs.ErrNotExist):
			return err
		case err == nil && string(have) != string(text) && !force:
			return fmt.Errorf("%s is there and says something else; nothing is written; replace it with --force", path)
		}
		out = append(out, exported{path, s.ID, s.Name, string(have) != string(text)})
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	written := 0
	for _, x := range out {
		if !x.Written {
			continue
		}
		if err := os.WriteFile(x.File, texts[x.File], 0o644); err != nil {
			return err
		}
		written++
	}
	if a.json {
		return a.printJSON(out)
	}
	for _, x := range out {
		fmt.Fprintln(a.stdout, x.File)
	}
	fmt.Fprintf(a.stderr, "%s, %d of them new or different\n", plural(len(out), "automation"), written)
	return nil
}

// change is what apply would do for one file.
type change struct {
	File   string `json:"file"`
	Name   string `json:"name"`
	ID     string `json:"id,omitempty"` // once there is one
	Action string `json:"action"`       // create, update or none
	Diff   string `json:"diff,omitempty"`

	flow flow
	was  *stored
}

func newAutomationsApply(a *app) *cobra.Command {
	var dryRun, yes bool
	cmd := &cobra.Command{
		Use:   "apply DIR|FILE ...",
		Short: "Make automations as files say, after showing what would change",
		Long: `Create the automations in YAML files, or in the .yaml and .yml files of a folder,
or change those that have the same name, or the id that a file gives. What would
change is shown first, and asked about unless --yes is given. Nothing is changed
when a file has a problem. Automations that no file names stay as they are.

A change of steps or connections is a new revision: runs go on with theirs.`,
		Example: "  opensend automations apply flows --dry-run\n  opensend automations apply flows --yes\n  opensend automations apply flows/welcome.yaml",
		Args:    cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			files, problems, err := readFlows(args)
			if err != nil {
				return err
			}
			if len(problems) > 0 {
				for _, p := range problems {
					fmt.Fprintln(a.stderr, p)
				}
				return fmt.Errorf("nothing is changed: %s", plural(len(problems), "problem"))
			}
			c, err := a.connect(http.MethodPost)
			if err != nil {
				return err
			}
			defer c.close()
			return a.apply(cmd, c, files, dryRun, yes)
		},
	}
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "show what would change, and change nothing")
	cmd.Flags().BoolVar(&yes, "yes", false, "do not ask")
	a.jsonFlag(cmd)
	return cmd
}

func (a *app) apply(cmd *cobra.Command, c *client, files []*flowFile, dryRun, yes bool) error {
	have, err := c.automations()
	if err != nil {
		return err
	}
	changes := []*change{}
	for _, file := range files {
		ch, err := file.compare(have)
		if err != nil {
			return err
		}
		changes = append(changes, ch)
	}
	if !a.json {
		a.printChanges(changes)
	}
	if todo := slices.ContainsFunc(changes, func(ch *change) bool { return ch.Action != "none" }); todo && !dryRun {
		if err := a.confirm(cmd, "Apply these changes?", yes); err != nil {
			return err
		}
		for _, ch := range changes {
			if err := ch.make(c); err != nil {
				return fmt.Errorf("%s: %w", ch.File, err)
			}
			if !a.json && ch.Action != "none" {
				fmt.Fprintf(a.stdout, "%sd %s %q\n", ch.Action, ch.ID, ch.Name)
			}
		}
	}
	if a.json {
		return a.printJSON(changes)
	}
	return nil
}

// confirm asks, unless the answer was given. It needs somebody to ask.
func (a *app) confirm(cmd *cobra.Command, question string, yes bool) error {
	if yes {
		return nil
	}
	if f, ok := a.stdin.(*os.File); !ok || !term.IsTerminal(int(f.Fd())) {
		return usage(cmd, "nothing is changed: there is nobody to ask; give --yes, or --dry-run to look only")
	}
	fmt.Fprintf(a.stderr, "%s [y/N] ", question)
	answer, _ := bufio.NewReader(a.stdin).ReadString('\n')
	if answer = strings.ToLower(strings.TrimSpace(answer)); answer != "y" && answer != "yes" {
		return errors.New("nothing is changed")
	}
	return nil
}

// compare finds the automation that the file is about and what differs.
func (f *flowFile) compare(have []stored) (*change, error) {
	ch := &change{File: f.path, Name: f.flow.Name, Action: "create", flow: f.flow}
	var named []*stored
	for i, s := range have {
		if f.flow.ID == "" && s.Name == f.flow.Name || f.flow.ID != "" && strings.EqualFold(s.ID, f.flow.ID) {
			named = append(named, &have[i])
		}
	}
	switch {
	case len(named) > 1:
		return nil, fmt.Errorf("%s: %d automations have the name %q; give the file the id of the one that it is", f.path, len(named), f.flow.Name)
	case len(named) == 0 && f.flow.ID != "":
		return nil, fmt.Errorf("%s: there is no automation with the id %s; leave the id out to create one", f.path, f.flow.ID)
	}
	was, want := flow{}, f.flow.plain()
	want.ID = ""
	var before []byte
	if len(named) == 1 {
		ch.was, ch.ID, ch.Action = named[0], named[0].ID, "update"
		was = ch.was.asFile()
		want.Status = cmp.Or(want.Status, was.Status)
	}
	left, err := json.Marshal(was)
	if err != nil {
		return nil, err
	}
	right, err := json.Marshal(want)
	if err != nil {
		return nil, err
	}
	if ch.was != nil && sameJSON(left, right) {
		ch.Action = "none"
		return ch, nil
	}
	if ch.was != nil {
		if before, err = was.yaml(); err != nil {
			return nil, err
		}
	}
	after, err := want.yaml()
	ch.Diff = string(diff.Diff("now", before, f.path, after))
	return ch, err
}

func (a *app) printChanges(changes []*change) {
	counts := map[string]int{}
	for _, ch := range changes {
		counts[ch.Action]++
		if ch.Diff != "" {
			_, shown, _ := strings.Cut(ch.Diff, "\n") // the line "diff now FILE"
			fmt.Fprintf(a.stdout, "%s %q\n%s\n", ch.Action, ch.Name, strings.Map(visible, shown))
		}
	}
	fmt.Fprintf(a.stdout, "%d to create, %d to update, %d as they are\n", counts["create"], counts["update"], counts["none"])
}

// make makes the change. A step that stays keeps its id.
func (ch *change) make(c *client) error {
	if ch.Action == "none" {
		return nil
	}
	type step struct {
		ID string `json:"id,omitempty"`
		flowStep
	}
	body := struct {
		flow
		ID            string          `json:"id,omitempty"`
		Deduplication json.RawMessage `json:"deduplication"`
		Steps         []step          `json:"steps"`
		Connections   []flowEdge      `json:"connections"`
	}{flow: ch.flow, Deduplication: ch.flow.Deduplication, Connections: append([]flowEdge{}, ch.flow.Connections...)}
	for _, s := range ch.flow.Steps {
		own := step{flowStep: s}
		if ch.was != nil {
			for _, old := range ch.was.Steps {
				if old.Key == s.Key {
					own.ID = old.ID
				}
			}
		}
		body.Steps = append(body.Steps, own)
	}
	var out struct{ ID string }
	method, path := http.MethodPost, "/automations"
	if ch.was != nil {
		method, path = http.MethodPatch, "/automations/"+ch.ID
	}
	err := c.call(method, path, body, &out)
	if err == nil {
		ch.ID = out.ID
	}
	return err
}
