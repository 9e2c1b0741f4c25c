package web

import (
	"cmp"
	"crypto/sha256"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"html/template"
	"net/http"
	"net/url"
	"strings"

	"github.com/opensend/opensend/automations"
	"github.com/opensend/opensend/storage"
)

//go:embed starters/*.json
var starterFiles embed.FS

// starter is a ready-made automation.
type starter struct {
	ID            string `json:"-"`
	Name          string `json:"name"`
	About         string `json:"about"`
	Trigger       string `json:"trigger"`
	Deduplication json.RawMessage
	Steps         json.RawMessage
	Connections   json.RawMessage
	Flow          *flowView `json:"-"`
}

// readStarters reads the ready-made automations in the order that they are
// offered.
func readStarters() (list []starter, err error) {
	for _, id := range []string{"welcome", "trial", "recovery", "reengagement"} {
		text, err := starterFiles.ReadFile("starters/" + id + ".json")
		if err != nil {
			return nil, err
		}
		s := starter{ID: id}
		if err := json.Unmarshal(text, &s); err != nil {
			return nil, fmt.Errorf("starter %s: %w", id, err)
		}
		d, err := automations.ParseDefinition(s.Steps, s.Connections, "", newID)
		if err != nil {
			return nil, fmt.Errorf("starter %s: %w", id, err)
		}
		s.Flow = viewFlow(d, nil)
		list = append(list, s)
	}
	return list, nil
}

// automationsPage lists automations.
type automationsPage struct {
	listPage[automationRow]
	Status string
	Search string
	Any    bool // there is one at all
}

type automationRow struct {
	*automations.Workflow
	InFlight, Failed int64
	Heartbeat        template.HTML
}

func (v *visit) automations() (any, error) {
	page := automationsPage{Status: v.FormValue("status"), Search: strings.TrimSpace(v.FormValue("search"))}
	day := newDay(v.now)
	err := v.read(func(tx *storage.Tx) error {
		day.read(tx)
		words := strings.ToLower(page.Search)
		list, err := readList(v, func(p storage.Page) ([]*automations.Workflow, storage.Rest, error) {
			return tx.Workflows(p, func(w *automations.Workflow) bool {
				page.Any = true
				return (page.Status == "" || page.Status == string(w.Status)) && strings.Contains(strings.ToLower(w.Name+" "+w.Trigger), words)
			})
		}, func(w *automations.Workflow) automations.ID { return w.ID })
		page.Older = list.Older
		for _, w := range list.Rows {
			counts := tx.RunCounts(w.ID)
			page.Rows = append(page.Rows, automationRow{w, unfinished(counts), counts[automations.RunFailed], day.heartbeat(w)})
		}
		return err
	})
	return page, err
}

// unfinished is how many runs are in flight.
func unfinished(counts map[automations.RunStatus]int64) (n int64) {
	for status, count := range counts {
		if !status.Final() {
			n += count
		}
	}
	return n
}

// newAutomationPage is what an automation can begin with.
type newAutomationPage struct {
	Starters    []starter
	Name, Event string
	Events      []string
}

func (v *visit) newAutomation() (any, error) {
	page := newAutomationPage{Name: v.FormValue("name"), Event: v.FormValue("event")}
	var err error
	if page.Starters, err = readStarters(); err != nil {
		return nil, err
	}
	err = v.read(func(tx *storage.Tx) error {
		empty := automations.Definition{Steps: []automations.Step{{Type: automations.StepTrigger}}}
		suggested, err := suggest(tx, empty, empty.Steps[0])
		page.Events = suggested.Events
		return err
	})
	return page, err
}

// createAutomation makes a draft of a ready-made automation, or of nothing but
// a trigger.
func (v *visit) createAutomation() (any, error) {
	body := map[string]any{"name": v.PostFormValue("name")}
	starters, err := readStarters()
	if err != nil {
		return nil, err
	}
	chosen := v.PostFormValue("starter")
	for _, s := range starters {
		if s.ID == chosen {
			body = map[string]any{"name": s.Name, "steps": s.Steps, "connections": s.Connections, "deduplication": s.Deduplication}
		}
	}
	if body["steps"] == nil {
		config := map[string]string{"event_name": strings.TrimSpace(v.PostFormValue("event"))}
		body["steps"] = []draftStep{{"trigger", automations.StepTrigger, encodeJSON(config)}}
	}
	var made struct {
		ID automations.ID `json:"id"`
	}
	err = v.call(http.MethodPost, "/automations", body, &made)
	if problemOf(err) != nil {
		page, failed := v.newAutomation()
		if failed != nil {
			return nil, failed
		}
		return refused{page, err}, nil
	}
	return redirect{to: home + "/automations/" + made.ID.String() + "/edit"}, err
}

// automationPage is one automation as it is published.
type automationPage struct {
	*automations.Workflow
	Flow      *flowView
	Standing  standingRuns
	Elsewhere int
	Counts    map[automations.RunStatus]int64
	Heartbeat template.HTML
}

// automationHead reads what every page of an automation shows.
func (v *visit) automationHead(tx *storage.Tx) (*automationPage, error) {
	w, err := tx.Workflow(v.pathID("id"))
	if err != nil {
		return nil, err
	}
	return &automationPage{Workflow: w, Counts: tx.RunCounts(w.ID)}, nil
}

// InFlight is how many runs are not over.
func (p *automationPage) InFlight() int64 { return unfinished(p.Counts) }

func (v *visit) automation() (any, error) {
	var page *automationPage
	day := newDay(v.now)
	err := v.read(func(tx *storage.Tx) (err error) {
		if page, err = v.automationHead(tx); err != nil {
			return err
		}
		revision, err := tx.Revision(page.ID, page.Revision)
		if err != nil {
			return err
		}
		names, err := readNames(tx, revision.Definition)
		if err != nil {
			return err
		}
		page.Flow = viewFlow(revision.Definition, names)
		page.Flow.Link = home + "/automations/" + page.ID.String() + "/edit?step="
		if page.Standing, err = readStanding(tx, page.ID); err != nil {
			return err
		}
		page.Elsewhere = page.Standing.mark(page.Flow)
		day.read(tx)
		return nil
	})
	if err != nil {
		return nil, err
	}
	page.Heartbeat = day.heartbeat(page.Workflow)
	return page, nil
}

// settingsPage is what of an automation is not its steps.
type settingsPage struct {
	*automationPage
	Typed string // the name, as the form has it
	Dedup []field
	Seen  string // a mark of the settings that the form was opened with
}

// settingsSeen is a mark of the settings. Enabling an automation, or publishing
// its steps, leaves it alone.
func settingsSeen(w *automations.Workflow) string { return markOf(w.Name, w.Deduplication) }

// markOf tells values from others, in a form.
func markOf(values ...any) string { return fmt.Sprintf("%x", sha256.Sum256(encodeJSON(values))) }

func (v *visit) automationSettings() (any, error) { return v.settingsPage(nil) }

// settingsPage shows the settings as they are stored, or as they are typed.
func (v *visit) settingsPage(typed url.Values) (page settingsPage, err error) {
	err = v.read(func(tx *storage.Tx) (err error) {
		page.automationPage, err = v.automationHead(tx)
		return err
	})
	if err != nil {
		return page, err
	}
	set := stepSettings{Text: map[string]string{}}
	set.setDedup(page.Deduplication)
	page.Typed, page.Seen = page.Name, settingsSeen(page.Workflow)
	if typed != nil {
		page.Typed, page.Seen, set = typed.Get("name"), typed.Get("seen"), formSettings(automations.StepTrigger, typed)
	}
	page.Dedup = set.dedupFields(true)
	return page, nil
}

func (v *visit) saveAutomationSettings() (any, error) {
	page, err := v.settingsPage(v.PostForm)
	if err != nil {
		return nil, err
	}
	if now := settingsSeen(page.Workflow); page.Seen != "" && page.Seen != now {
		page.Seen = now
		return refused{page, savedElsewhere("the settings were")}, nil
	}
	dedup, err := formSettings(automations.StepTrigger, v.PostForm).dedup()
	if err == nil {
		err = v.call(http.MethodPatch, v.automationPath(), map[string]any{"name": v.PostFormValue("name"), "deduplication": dedup}, nil)
	}
	if problemOf(err) != nil {
		return refused{page, err}, nil
	}
	return redirect{home + v.automationPath() + "/settings", "The settings are saved."}, err
}

// automationPath is the automation in the API, and below the dashboard.
func (v *visit) automationPath() string { return "/automations/" + esc(v.PathValue("id")) }

// changeAutomation does something to an automation that its page has a button
// for, and leads back to it.
func (v *visit) changeAutomation(method, path string, body any, notice string) (any, error) {
	if err := v.call(method, v.automationPath()+path, body, nil); err != nil {
		return nil, err
	}
	return redirect{home + v.automationPath(), notice}, nil
}

func (v *visit) enableAutomation() (any, error) {
	return v.changeAutomation(http.MethodPatch, "", map[string]any{"status": automations.StatusEnabled}, "The automation is enabled: events of its trigger start runs from now on.")
}

func (v *visit) disableAutomation() (any, error) {
	return v.changeAutomation(http.MethodPost, "/stop", nil, "The automation is disabled: events start no runs. Runs in flight go on.")
}

func (v *visit) duplicateAutomation() (any, error) {
	var made struct {
		ID   automations.ID `json:"id"`
		Name string         `json:"name"`
	}
	if err := v.call(http.MethodPost, v.automationPath()+"/duplicate", nil, &made); err != nil {
		return nil, err
	}
	return redirect{home + "/automations/" + made.ID.String(), fmt.Sprintf("This is %q, a draft with the same steps.", made.Name)}, nil
}

func (v *visit) deleteAutomation() (any, error) {
	name := "The automation"
	err := v.read(func(tx *storage.Tx) error {
		w, err := tx.Workflow(v.pathID("id"))
		if err == nil {
			name = cmp.Or(w.Name, name)
		}
		return err
	})
	if err == nil {
		err = v.call(http.MethodDelete, v.automationPath(), nil, nil)
	}
	if err != nil {
		return nil, err
	}
	return redirect{home + "/automations", name + " is deleted. Its runs in flight are cancelled when their time comes."}, nil
}

// revisionsPage is the editions of an automation, one of them compared with
// another.
type revisionsPage struct {
	*automationPage
	Revisions []revisionRow
	Older     int // the number that the next page begins below; zero at the end
	From, To  int
	Changes   []change
}

type revisionRow struct {
	Number  int
	Steps   int
	At      *automations.Revision
	Current bool
}

// revisionRows is how many revisions a page lists.
const revisionRows = 20

func (v *visit) revisions() (any, error) {
	page := revisionsPage{}
	err := v.read(func(tx *storage.Tx) (err error) {
		if page.automationPage, err = v.automationHead(tx); err != nil {
			return err
		}
		next := min(formNumber(v, "before", page.Revision+1)-1, page.Revision)
		for ; next > 0 && len(page.Revisions) < revisionRows; next-- {
			revision, err := tx.Revision(page.ID, next)
			if errors.Is(err, storage.ErrNotFound) {
				continue // too old, and no run's
			}
			if err != nil {
				return err
			}
			page.Revisions = append(page.Revisions, revisionRow{next, len(revision.Definition.Steps), revision, next == page.Revision})
		}
		if next > 0 {
			page.Older = next + 1
		}
		page.To = formNumber(v, "to", page.Revision)
		page.From = formNumber(v, "from", page.To-1)
		if page.From < 1 {
			return nil
		}
		was, err := tx.Revision(page.ID, page.From)
		if err != nil {
			return err
		}
		now, err := tx.Revision(page.ID, page.To)
		if err != nil {
			return err
		}
		page.Changes = draft{Definition: was.Definition}.changesTo(draft{Definition: now.Definition})
		return nil
	})
	return page, err
}
