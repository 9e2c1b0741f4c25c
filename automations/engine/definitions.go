package engine

import (
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
	mark      int64
	byTrigger map[string][]*automations.Workflow // by the trigger's name in lower case
	triggers  []*automations.Workflow            // enabled, for near misses
	exists    map[automations.ID]bool

	mu        sync.Mutex
	flows     map[flowKey]*automations.Flow
	schemas   map[typeName]*schema.Schema                // nil: accepts any object
	templates map[string]*template                       // by id and by alias; published editions
	inline    map[*automations.SendEmailAction]*template // of steps; the flows hold the actions
}

type flowKey struct {
	workflow automations.ID
	revision int
}

// definitionsOf returns the definitions that the transaction sees.
func (e *Engine) definitionsOf(tx *storage.Tx) *definitions {
	mark := tx.Marks().Definitions
	if d := e.definitions.Load(); d != nil && d.mark == mark {
		return d
	}
	d := &definitions{
		mark:      mark,
		byTrigger: map[string][]*automations.Workflow{},
		exists:    map[automations.ID]bool{},
		flows:     map[flowKey]*automations.Flow{},
		schemas:   map[typeName]*schema.Schema{},
		templates: map[string]*template{},
		inline:    map[*automations.SendEmailAction]*template{},
	}
	tx.EachWorkflow(func(id automations.ID, w *automations.Workflow, damaged error) {
		d.exists[id] = true // its runs have their revisions, and go on
		if damaged != nil {
			e.log.Error("an automation cannot be read; it starts no runs", "automation", id, "error", damaged)
			return
		}
		name := strings.ToLower(w.Trigger)
		d.byTrigger[name] = append(d.byTrigger[name], w)
		if w.Status == automations.StatusEnabled {
			d.triggers = append(d.triggers, w)
		}
	})
	e.definitions.Store(d)
	return d
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

// typeName is what an event's type is found by. When case is folded the type may
// also be spelled as one of the event's triggers is.
type typeName struct {
	event    string
	foldCase bool
}

// knownSchema is the schema for a name that was met before; ok is false for
// others, and after definitions have changed. It reads nothing of the file.
func (e *Engine) knownSchema(name typeName) (s *schema.Schema, ok bool) {
	d := e.definitions.Load()
	if d == nil || d.mark != e.db.Marks().Definitions {
		return nil, false
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	s, ok = d.schemas[name]
	return s, ok
}

// schema compiles the schema of an event's type; nil when it has none.
func (d *definitions) schema(tx *storage.Tx, name typeName) (s *schema.Schema, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if s, ok := d.schemas[name]; ok {
		return s, nil
	}
	names := []string{name.event}
	if name.foldCase {
		for _, w := range d.listeners(name.event, true) {
			names = append(names, w.Trigger)
		}
	}
	for _, n := range names {
		if s, err = compileSchema(tx, n); err != nil {
			return nil, err
		}
		if s != nil {
			break
		}
	}
	if len(d.schemas) >= maxCachedSchemas {
		clear(d.schemas)
	}
	d.schemas[name] = s
	return s, nil
}

// compileSchema compiles the schema of the type with exactly that name; nil when
// it has none.
func compileSchema(tx *storage.Tx, event string) (*schema.Schema, error) {
	t, err := tx.EventTypeByName(event)
	if errors.Is(err, storage.ErrNotFound) || err == nil && t.Schema == nil {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return schema.Compile(t.Schema)
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
