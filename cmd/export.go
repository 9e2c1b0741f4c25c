package cmd

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/opensend/opensend/storage"
)

// exportVersion is the version of the lines that export writes.
const exportVersion = 1

func newExport(a *app) *cobra.Command {
	var history, force bool
	cmd := &cobra.Command{
		Use:   "export [FILE|-]",
		Short: "Write everything as JSON lines, to take it elsewhere",
		Long: `Write contacts, segments, topics, contact properties, event types, templates,
automations with their revisions, and suppressed addresses as JSON lines: each the
object as the API gives it. With --history also events, runs and mail with
content. Without FILE, or with -, it goes to standard output.

API keys, passwords and the secrets of webhooks are not in it. While the server
runs, what changes meanwhile may be in it or not; for a copy of one moment make a
backup. docs/moving.md describes the lines.`,
		Example: "  opensend export everything.jsonl\n  opensend export - --history | gzip > everything.jsonl.gz",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 || args[0] == "-" {
				return a.export(a.stdout, history)
			}
			return a.exportTo(args[0], history, force)
		},
	}
	cmd.Flags().BoolVar(&history, "history", false, "also events, runs and mail")
	cmd.Flags().BoolVar(&force, "force", false, "replace FILE if it exists")
	return cmd
}

// exportTo writes a file that has its name when it is whole.
func (a *app) exportTo(path string, history, force bool) error {
	cfg, err := a.config()
	if err != nil {
		return err
	}
	if err := storage.MayReplace(path, cfg.Data, force); errors.Is(err, os.ErrExist) {
		return fmt.Errorf("%s exists already; name another file, or replace it with --force", path)
	} else if err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".opensend.export-*")
	if err != nil {
		return storage.NoFile(filepath.Dir(path), err)
	}
	defer os.Remove(f.Name())
	err = a.export(f, history)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}

// exporter writes the lines.
type exporter struct {
	client *client
	out    *bufio.Writer
	tell   storage.Progress
	counts map[string]int
	topics map[string]string // the subscription of those that have not chosen, by topic
}

func (a *app) export(w io.Writer, history bool) error {
	c, err := a.connect(http.MethodGet)
	if err != nil {
		return err
	}
	defer c.close()
	tell, done := a.progress()
	x := &exporter{client: c, out: bufio.NewWriterSize(w, 1<<16), tell: tell, counts: map[string]int{}, topics: map[string]string{}}
	err = x.everything(history)
	done()
	if err = errors.Join(err, x.out.Flush()); err != nil {
		return err
	}
	total := 0
	for _, n := range x.counts {
		total += n
	}
	fmt.Fprintf(a.stderr, "exported %s: %s, %s, %s\n", plural(total, "object"), plural(x.counts["contact"], "contact"), plural(x.counts["template"], "template"), plural(x.counts["automation"], "automation"))
	return nil
}

func (x *exporter) everything(history bool) error {
	head, err := json.Marshal(map[string]any{"object": "opensend_export", "version": exportVersion, "program": version, "exported_at": time.Now().UTC().Truncate(time.Millisecond)})
	if err != nil {
		return err
	}
	if err := x.line(head); err != nil {
		return err
	}
	for _, k := range kinds() {
		if err := x.kind(k); err != nil {
			return err
		}
	}
	if !history {
		return nil
	}
	if err := x.client.each("/deliveries", nil, func(raw json.RawMessage) error { return x.object("event_delivery", "events", raw) }); err != nil {
		return err
	}
	if err := x.client.each("/automations", nil, func(raw json.RawMessage) error {
		return x.details("/automations/"+rowID(raw)+"/runs", "automation_run", "runs")
	}); err != nil {
		return err
	}
	return x.details("/emails", "email", "mail")
}

func (x *exporter) kind(k kind) error {
	return x.client.each(k.path, nil, func(raw json.RawMessage) (err error) {
		path := k.path + "/" + url.PathEscape(rowID(raw))
		if k.whole {
			if err := x.client.call(http.MethodGet, path, nil, &raw); err != nil {
				return err
			}
		}
		if raw, err = x.more(k, raw, path); err != nil {
			return err
		}
		if err := x.object(k.object, k.plural, raw); err != nil || k.object != "automation" {
			return err
		}
		return x.client.revisions(path, func(raw json.RawMessage) error { return x.object("automation_revision", k.plural, raw) })
	})
}

// more adds what the API has of the object at other paths.
func (x *exporter) more(k kind, raw json.RawMessage, path string) (json.RawMessage, error) {
	var r row
	if err := json.Unmarshal(raw, &r); err != nil {
		return nil, err
	}
	switch {
	case k.object == "topic":
		x.topics[r.text("id")] = r.text("default_subscription")
	case k.object == "template" && r.text("status") == "published" && string(r["has_unpublished_versions"]) == "true":
		var published json.RawMessage
		if err := x.client.call(http.MethodGet, path+"?version=published", nil, &published); err != nil {
			return nil, err
		}
		return withField(raw, "published", published), nil
	case k.object == "contact" && len(x.topics) > 0:
		choices := []topicChoice{}
		err := x.client.each(path+"/topics", nil, func(raw json.RawMessage) error {
			var c topicChoice
			err := json.Unmarshal(raw, &c)
			if c.Subscription != x.topics[c.ID] {
				choices = append(choices, c)
			}
			return err
		})
		if err != nil {
			return nil, err
		}
		chosen, err := json.Marshal(choices)
		if err != nil {
			return nil, err
		}
		return withField(raw, "topics", chosen), nil
	}
	return raw, nil
}

// withField is the object with one field more, at its end.
func withField(object json.RawMessage, name string, value json.RawMessage) json.RawMessage {
	out := append([]byte{}, object[:len(object)-1]...)
	return append(append(append(out, `,"`+name+`":`...), value...), '}')
}

// details writes the rows of a list, each as it is by itself.
func (x *exporter) details(path, object, doing string) error {
	return x.client.each(path, nil, func(raw json.RawMessage) error {
		var whole json.RawMessage
		if err := x.client.call(http.MethodGet, path+"/"+rowID(raw), nil, &whole); err != nil {
			return err
		}
		return x.object(object, doing, whole)
	})
}

func (x *exporter) object(object, doing string, raw json.RawMessage) error {
	x.counts[object]++
	x.tell("exporting "+doing, int64(x.counts[object]), 0)
	return x.line(raw)
}

func (x *exporter) line(raw json.RawMessage) error {
	if _, err := x.out.Write(raw); err != nil {
		return err
	}
	return x.out.WriteByte('\n')
}

func rowID(raw json.RawMessage) string {
	var r struct{ ID string }
	json.Unmarshal(raw, &r)
	return r.ID
}

// revisions reads the editions of an automation but for the present one: the
// list goes on after a number.
func (c *client) revisions(path string, do func(json.RawMessage) error) error {
	query := url.Values{"limit": {fmt.Sprint(listPage)}}
	for {
		var p page
		if err := c.call(http.MethodGet, path+"/revisions?"+query.Encode(), nil, &p); err != nil {
			return err
		}
		last := 0
		for _, raw := range p.Data {
			var r struct {
				Revision int
				Current  bool
			}
			if err := json.Unmarshal(raw, &r); err != nil {
				return err
			}
			if last = r.Revision; r.Current {
				continue
			}
			if err := do(raw); err != nil {
				return err
			}
		}
		if !p.HasMore || last == 0 {
			return nil
		}
		query.Set("after", fmt.Sprint(last))
	}
}
