package server

import (
	"encoding/json"
	"errors"
	"math"
	"strconv"
	"strings"

	"github.com/google/uuid"

	"github.com/opensend/opensend/automations"
	"github.com/opensend/opensend/storage"
)

// wireAutomation is an automation: OpenSend's and Resend's word for a
// workflow.
type wireAutomation struct {
	Object           string           `json:"object"`
	ID               automations.ID   `json:"id"`
	Name             string           `json:"name"`
	Status           string           `json:"status"`
	TriggerEventName string           `json:"trigger_event_name"`
	Deduplication    any              `json:"deduplication"`
	Connections      []wireConnection `json:"connections"`
	Steps            []wireStep       `json:"steps"`
	Revision         int              `json:"revision"`
	CreatedAt        wireTime         `json:"created_at"`
	UpdatedAt        wireTime         `json:"updated_at"`
}

type wireConnection = automations.Connection

type wireStep = automations.Step

// wireAutomationItem is an automation in lists.
type wireAutomationItem struct {
	Object           string         `json:"object"`
	ID               automations.ID `json:"id"`
	Name             string         `json:"name"`
	Status           string         `json:"status"`
	TriggerEventName string         `json:"trigger_event_name"`
	Deduplication    any            `json:"deduplication"`
	Revision         int            `json:"revision"`
	StepCount        int            `json:"step_count"`
	LastRun          *wireRun       `json:"last_run"`
	CreatedAt        wireTime       `json:"created_at"`
	UpdatedAt        wireTime       `json:"updated_at"`
}

func renderAutomation(r *request, w *automations.Workflow, d automations.Definition) wireAutomation {
	return wireAutomation{
		Object: "automation", ID: w.ID, Name: w.Name, Status: automationStatus(r, w.Status), TriggerEventName: w.Trigger,
		Deduplication: renderDeduplication(w.Deduplication), Connections: orEmpty(d.Connections), Steps: d.Steps,
		Revision: w.Revision, CreatedAt: wireTime(w.CreatedAt), UpdatedAt: wireTime(w.UpdatedAt),
	}
}

func renderDeduplication(d *automations.Deduplication) any {
	if d == nil {
		return nil
	}
	return d
}

// readAutomation applies the fields that were sent to the head and to its
// definition. It tells whether the definition was sent.
func readAutomation(f automations.Fields, p *automations.Problems, w *automations.Workflow, d *automations.Definition) (redefined bool) {
	f.Unknown(p, "id", "name", "status", "steps", "connections", "trigger_event_name", "triggerEventName", "deduplication")
	if f.Has("name") {
		w.Name = readName(f, p)
	}
	if status := automations.WorkflowStatus(f.String(p, "status")); status != "" {
		oneOf(p, "status", status, []automations.WorkflowStatus{automations.StatusDraft, automations.StatusEnabled, automations.StatusDisabled})
		if status == automations.StatusDraft && w.Status != automations.StatusDraft && w.Status != "" {
			p.Add("", "status", "an automation that was enabled does not become a draft again; use disabled")
		}
		w.Status = status
	}
	if f.Sent("deduplication") {
		dedup, err := automations.ParseDeduplication(f.Raw("deduplication"))
		p.Include("deduplication", err)
		w.Deduplication = dedup
	}
	steps, connections := f.Array(p, "steps"), f.Array(p, "connections")
	trigger := f.String(p, "trigger_event_name", "triggerEventName")
	if steps == nil && connections == nil && trigger == "" {
		return false
	}
	if steps == nil { // they stay, and so do connections between them
		if trigger != "" {
			p.Include("", d.RenameTrigger(trigger))
		}
		steps = encode(d.Steps)
		if connections == nil {
			connections = encode(d.Connections)
		}
	}
	redefine(p, w, d, steps, connections, trigger)
	return true
}

func redefine(p *automations.Problems, w *automations.Workflow, d *automations.Definition, steps, connections json.RawMessage, trigger string) {
	parsed, err := automations.ParseDefinition(steps, connections, trigger, func() automations.ID { return uuid.Must(uuid.NewV7()) })
	if err != nil {
		p.Include("", err)
		return
	}
	flow, err := automations.Compile(parsed)
	if err != nil {
		p.Include("", err)
		return
	}
	*d = parsed
	w.Trigger, w.StepCount = flow.Trigger().Action.(*automations.TriggerAction).EventName, len(parsed.Steps)
}

// CheckAutomation judges a body of POST /automations as that does, without a
// data file. Its error holds every problem found, with paths such as
// "steps[2].config.duration".
func CheckAutomation(body []byte) error {
	f, err := automations.DecodeObject(body)
	if err != nil {
		return err
	}
	_, err = readNewAutomation(f, &automations.Workflow{})
	return err
}

// readNewAutomation reads the fields of an automation that does not exist yet
// into its head, and returns its definition.
func readNewAutomation(f automations.Fields, w *automations.Workflow) (d automations.Definition, err error) {
	var p automations.Problems
	if !f.Has("name") {
		p.Missing("", "name")
	}
	if !f.Has("steps") {
		p.Add("automation_steps_required", "steps", "an automation needs steps; the first is its trigger")
	}
	readAutomation(f, &p, w, &d)
	if w.Status == "" {
		w.Status = automations.StatusDraft
	}
	return d, p.Err()
}

func (s *Server) createAutomation(r *request) (answer, error) {
	f, err := r.fields()
	if err != nil {
		return answer{}, err
	}
	w := &automations.Workflow{ID: uuid.Must(uuid.NewV7()), CreatedAt: r.now}
	d, err := readNewAutomation(f, w)
	if err != nil {
		return answer{}, err
	}
	err = r.update(func(tx *storage.Tx) error {
		w.Revision = 0 // this may run more than once
		return saveAutomation(tx, r, w, &d)
	})
	if err != nil {
		return answer{}, err
	}
	return created(renderAutomation(r, w, d))
}

// saveAutomation stores a head and, when d is not nil, a new revision.
func saveAutomation(tx *storage.Tx, r *request, w *automations.Workflow, d *automations.Definition) error {
	w.UpdatedAt = r.now
	if d != nil {
		w.Revision++
		revision := &automations.Revision{WorkflowID: w.ID, Number: w.Revision, Definition: *d, CreatedAt: r.now}
		if err := tx.AddRevision(revision); err != nil {
			return err
		}
	}
	return tx.SaveWorkflow(w)
}

// automation reads an automation with its current definition.
func automation(tx *storage.Tx, r *request) (*automations.Workflow, automations.Definition, error) {
	id, err := r.pathID("id", "automation")
	if err != nil {
		return nil, automations.Definition{}, err
	}
	w, err := tx.Workflow(id)
	if err != nil {
		return nil, automations.Definition{}, orNotFound(err, "automation", id.String())
	}
	revision, err := tx.Revision(id, w.Revision)
	if err != nil {
		return nil, automations.Definition{}, err
	}
	return w, revision.Definition, nil
}

func (s *Server) getAutomation(r *request) (answer, error) {
	var d automations.Definition
	return respondOne(r, func(tx *storage.Tx) (w *automations.Workflow, err error) {
		w, d, err = automation(tx, r)
		return w, err
	}, func(w *automations.Workflow) wireAutomation { return renderAutomation(r, w, d) })
}

func (s *Server) listAutomations(r *request) (answer, error) {
	page, err := r.page()
	if err != nil {
		return answer{}, err
	}
	var p automations.Problems
	status, search := r.URL.Query().Get("status"), strings.ToLower(r.URL.Query().Get("search"))
	oneOf(&p, "status", automations.WorkflowStatus(status), []automations.WorkflowStatus{automations.StatusDraft, automations.StatusEnabled, automations.StatusDisabled})
	if err := p.Err(); err != nil {
		return answer{}, err
	}
	var list wireList[wireAutomationItem]
	err = s.db.View(func(tx *storage.Tx) error {
		rows, more, err := tx.Workflows(page, func(w *automations.Workflow) bool {
			return (status == "" || status == automationStatus(r, w.Status)) && strings.Contains(strings.ToLower(w.Name+" "+w.Trigger), search)
		})
		if err != nil {
			return err
		}
		list = listOf(rows, more, func(w *automations.Workflow) wireAutomationItem { return renderAutomationItem(r, w) })
		for i, w := range rows {
			run, err := tx.LastRun(w.ID)
			if errors.Is(err, storage.ErrNotFound) {
				continue
			}
			if err != nil {
				return err
			}
			last := renderRun(r, run)
			list.Data[i].LastRun = &last
		}
		return nil
	})
	if err != nil {
		return answer{}, err
	}
	return ok(list)
}

func renderAutomationItem(r *request, w *automations.Workflow) wireAutomationItem {
	return wireAutomationItem{
		Object: "automation", ID: w.ID, Name: w.Name, Status: automationStatus(r, w.Status), TriggerEventName: w.Trigger,
		Deduplication: renderDeduplication(w.Deduplication), Revision: w.Revision, StepCount: w.StepCount,
		CreatedAt: wireTime(w.CreatedAt), UpdatedAt: wireTime(w.UpdatedAt),
	}
}

// changeAutomation applies a change; when it says so, as a new revision.
func (s *Server) changeAutomation(r *request, change func(*automations.Workflow, *automations.Definition) (redefined bool, err error)) (answer, error) {
	var w *automations.Workflow
	var d automations.Definition
	err := r.update(func(tx *storage.Tx) (err error) {
		if w, d, err = automation(tx, r); err != nil {
			return err
		}
		redefined, err := change(w, &d)
		if err != nil {
			return err
		}
		if redefined {
			return saveAutomation(tx, r, w, &d)
		}
		return saveAutomation(tx, r, w, nil)
	})
	if err != nil {
		return answer{}, err
	}
	return ok(renderAutomation(r, w, d))
}

func (s *Server) updateAutomation(r *request) (answer, error) {
	f, err := r.fields()
	if err != nil {
		return answer{}, err
	}
	return s.changeAutomation(r, func(w *automations.Workflow, d *automations.Definition) (bool, error) {
		var p automations.Problems
		if !changes(f, []string{"name", "status", "steps", "connections", "trigger_event_name", "triggerEventName"}, "deduplication") {
			p.Add("", "", "nothing to change: send at least one of name, status, steps, connections and deduplication")
		}
		var steps []json.RawMessage
		if json.Unmarshal(f.Raw("steps"), &steps) == nil && len(steps) > 1 && !f.Has("connections") {
			p.Missing("", "connections")
		}
		redefined := readAutomation(f, &p, w, d)
		return redefined, p.Err()
	})
}

// stopAutomation disables an automation; runs in flight go on.
func (s *Server) stopAutomation(r *request) (answer, error) {
	return s.changeAutomation(r, func(w *automations.Workflow, _ *automations.Definition) (bool, error) {
		w.Status = automations.StatusDisabled
		return false, nil
	})
}

func (s *Server) deleteAutomation(r *request) (answer, error) {
	id, err := r.pathID("id", "automation")
	if err != nil {
		return answer{}, err
	}
	err = r.update(func(tx *storage.Tx) error {
		w, err := tx.Workflow(id)
		if err != nil {
			return orNotFound(err, "automation", id.String())
		}
		if w.Status == automations.StatusEnabled {
			return automations.Errorf(automations.KindConflict, "automation_enabled", "the automation is enabled; stop it before deleting it")
		}
		return tx.DeleteWorkflow(id)
	})
	if err != nil {
		return answer{}, err
	}
	return ok(deleted{"automation", id, true})
}

// duplicateAutomation makes a draft with the same steps.
func (s *Server) duplicateAutomation(r *request) (answer, error) {
	var twin *automations.Workflow
	var d automations.Definition
	err := r.update(func(tx *storage.Tx) error {
		w, own, err := automation(tx, r)
		if err != nil {
			return err
		}
		copied := *w
		copied.ID, copied.Status, copied.Revision, copied.CreatedAt = uuid.Must(uuid.NewV7()), automations.StatusDraft, 0, r.now
		copied.Name = copyName(w.Name)
		twin, d = &copied, own
		return saveAutomation(tx, r, twin, &d)
	})
	if err != nil {
		return answer{}, err
	}
	return created(renderAutomation(r, twin, d))
}

// wireRevision is one edition of an automation's steps.
type wireRevision struct {
	Object       string           `json:"object"`
	AutomationID automations.ID   `json:"automation_id"`
	Revision     int              `json:"revision"`
	Current      bool             `json:"current"`
	Connections  []wireConnection `json:"connections"`
	Steps        []wireStep       `json:"steps"`
	CreatedAt    wireTime         `json:"created_at"`
}

// listRevisions lists the editions of an automation, the newest first. They are
// numbered without gaps, and after is such a number.
func (s *Server) listRevisions(r *request) (answer, error) {
	limit, after, err := revisionPage(r)
	if err != nil {
		return answer{}, err
	}
	var list wireList[wireRevision]
	err = s.db.View(func(tx *storage.Tx) error {
		w, _, err := automation(tx, r)
		if err != nil {
			return err
		}
		var revisions []*automations.Revision
		next := min(after-1, w.Revision)
		for ; next > 0 && len(revisions) < limit; next-- {
			revision, err := tx.Revision(w.ID, next)
			if errors.Is(err, storage.ErrNotFound) {
				continue // too old, and no run's
			}
			if err != nil {
				return err
			}
			revisions = append(revisions, revision)
		}
		list = listOf(revisions, storage.Rest{More: next > 0}, func(rev *automations.Revision) wireRevision {
			return wireRevision{
				Object: "automation_revision", AutomationID: w.ID, Revision: rev.Number, Current: rev.Number == w.Revision,
				Connections: orEmpty(rev.Definition.Connections), Steps: rev.Definition.Steps, CreatedAt: wireTime(rev.CreatedAt),
			}
		})
		return nil
	})
	if err != nil {
		return answer{}, err
	}
	return ok(list)
}

func revisionPage(r *request) (limit, after int, err error) {
	var p automations.Problems
	limit, after = r.limit(&p), math.MaxInt
	if text := r.URL.Query().Get("after"); text != "" {
		if after, err = strconv.Atoi(text); err != nil || after < 1 {
			p.Add("", "after", "after must be the number of a revision")
		}
	}
	return limit, after, p.Err()
}
