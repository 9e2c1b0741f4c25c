package engine

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"

	"github.com/opensend/opensend/automations"
	"github.com/opensend/opensend/automations/mail"
	"github.com/opensend/opensend/automations/schema"
	"github.com/opensend/opensend/storage"
)

// definitions is what the engine keeps in memory of workflows, event types and
// templates, compiled as it is needed. It belongs to one mark of the file and
// is thrown away as a whole when something changes.
type definitions struct {
	mark      [16]byte
	byTrigger map[string][]*automations.Workflow // by the trigger's name in lower case
	triggers  []*automations.Workflow            // enabled, for near misses
	exists    map[automations.ID]bool

	mu        sync.Mutex
	flows     map[flowKey]*automations.Flow
	schemas   map[string]*schema.Schema                  // by event name; nil: accepts any object
	templates map[string]*template                       // by id and by alias; published editions
	inline    map[*automations.SendEmailAction]*template // of steps; the flows hold the actions
}

type flowKey struct {
	workflow automations.ID
	revision int
}

// definitionsOf returns the definitions that the transaction sees.
func (e *Engine) definitionsOf(tx *storage.Tx) (*definitions, error) {
	mark, err := tx.Definitions()
	if err != nil {
		return nil, err
	}
	if d := e.definitions.Load(); d != nil && d.mark == mark {
		return d, nil
	}
	d := &definitions{
		mark:      mark,
		byTrigger: map[string][]*automations.Workflow{},
		exists:    map[automations.ID]bool{},
		flows:     map[flowKey]*automations.Flow{},
		schemas:   map[string]*schema.Schema{},
		templates: map[string]*template{},
		inline:    map[*automations.SendEmailAction]*template{},
	}
	all, err := tx.AllWorkflows()
	if err != nil {
		return nil, err
	}
	for _, w := range all {
		d.exists[w.ID] = true
		name := strings.ToLower(w.Trigger)
		d.byTrigger[name] = append(d.byTrigger[name], w)
		if w.Status == automations.StatusEnabled {
			d.triggers = append(d.triggers, w)
		}
	}
	e.definitions.Store(d)
	return d, nil
}

// listeners are the workflows with the trigger, enabled or not.
func (d *definitions) listeners(event string, foldCase bool) []*automations.Workflow {
	found := d.byTrigger[strings.ToLower(event)]
	if foldCase {
		return found
	}
	exact := found[:0:0]
	for _, w := range found {
		if w.Trigger == event {
			exact = append(exact, w)
		}
	}
	return exact
}

// maxNearMisses bounds how many triggers are named for one unmatched event.
const maxNearMisses = 5

// nearMisses are the enabled workflows whose trigger differs from the event's
// name by case or one edit.
func (d *definitions) nearMisses(event string) (near []*automations.Workflow) {
	lower := strings.ToLower(event)
	for _, w := range d.triggers {
		if len(near) == maxNearMisses {
			break
		}
		if automations.EditDistanceAtMostOne(strings.ToLower(w.Trigger), lower) {
			near = append(near, w)
		}
	}
	return near
}

// flow compiles one revision of a workflow.
func (d *definitions) flow(tx *storage.Tx, workflow automations.ID, revision int) (*automations.Flow, error) {
	key := flowKey{workflow, revision}
	d.mu.Lock()
	defer d.mu.Unlock()
	if f := d.flows[key]; f != nil {
		return f, nil
	}
	r, err := tx.Revision(workflow, revision)
	if err != nil {
		return nil, fmt.Errorf("revision %d of automation %s: %w", revision, workflow, err)
	}
	f, err := automations.Compile(r.Definition)
	if err != nil {
		return nil, fmt.Errorf("revision %d of automation %s: %w", revision, workflow, err)
	}
	d.flows[key] = f
	return f, nil
}

// maxCachedSchemas bounds the names remembered, most of which have no schema.
const maxCachedSchemas = 10_000

// schema compiles the schema of an event's type; nil when it has none.
func (d *definitions) schema(tx *storage.Tx, event string) (*schema.Schema, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if s, ok := d.schemas[event]; ok {
		return s, nil
	}
	var raw json.RawMessage
	switch t, err := tx.EventTypeByName(event); {
	case err == nil:
		raw = t.Schema
	case !errors.Is(err, storage.ErrNotFound):
		return nil, err
	}
	var s *schema.Schema
	if raw != nil {
		var err error
		if s, err = schema.Compile(raw); err != nil {
			return nil, err
		}
	}
	if len(d.schemas) >= maxCachedSchemas {
		clear(d.schemas)
	}
	d.schemas[event] = s
	return s, nil
}

// template finds the published edition of a template by id or alias.
func (d *definitions) template(tx *storage.Tx, ref string) (*template, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if t := d.templates[ref]; t != nil {
		return t, nil
	}
	t, err := findTemplate(tx, ref)
	if err != nil {
		return nil, err
	}
	d.templates[ref] = t
	return t, nil
}

// content is what a step sends: its own, or a template's, with the step's
// subject if it has one.
func (d *definitions) content(tx *storage.Tx, action *automations.SendEmailAction) (*template, error) {
	if action.Template != "" {
		t, err := d.template(tx, action.Template)
		if err != nil || action.Subject == "" {
			return t, err
		}
		own := *t
		own.subject, err = mail.Parse(mail.Subject, action.Subject)
		return &own, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if t := d.inline[action]; t != nil {
		return t, nil
	}
	t, err := parseTemplate(&automations.TemplateContent{Subject: action.Subject, HTML: action.HTML, Text: action.Text})
	if err == nil {
		d.inline[action] = t
	}
	return t, err
}
