package web

import (
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"strings"

	"github.com/opensend/opensend/automations"
	"github.com/opensend/opensend/storage"
)

// suggestions are what the fields of the builder offer.
type suggestions struct {
	Events    []string // names of event types, triggers and recent events
	Fields    []string // paths that conditions and values can name
	Templates []option // by id
	Segments  []option
	Topics    []option
	Template  automations.ID                   // the one that the step sends; zero when there is none
	Newest    map[string]*automations.Delivery // the newest recent event of each name, unless it was erased
}

const (
	maxSuggested  = 200 // of each kind
	recentEvents  = 200 // that are looked through for names and fields
	maxFieldDepth = 4
)

// suggest reads what may be meant in a step. Fields are those of the events of
// the name that the step is about, and of the trigger's.
func suggest(tx *storage.Tx, d automations.Definition, step automations.Step) (s suggestions, err error) {
	trigger := settingsOf(d.Steps[0], nil).Text["event_name"]
	event := trigger
	if step.Type == automations.StepWaitForEvent {
		event = settingsOf(step, nil).Text["event_name"]
	}
	s.Newest = map[string]*automations.Delivery{}
	events, ofEvent, ofTrigger := map[string]bool{}, map[string]bool{}, map[string]bool{}
	types, _, err := tx.EventTypes(storage.Page{Limit: maxSuggested})
	if err != nil {
		return s, err
	}
	for _, t := range types {
		events[t.Name] = true
		if t.Name == event {
			addSchemaPaths(ofEvent, "event", t.Schema)
		}
		if t.Name == trigger {
			addSchemaPaths(ofTrigger, "trigger", t.Schema)
		}
	}
	recent, _, err := tx.Deliveries(storage.Page{Limit: recentEvents}, nil)
	if err != nil {
		return s, err
	}
	for _, delivery := range recent {
		events[delivery.Event] = true
		if s.Newest[delivery.Event] == nil && len(delivery.Payload) > 0 {
			s.Newest[delivery.Event] = delivery
		}
		if delivery.Event == event {
			addPayloadPaths(ofEvent, "event", delivery.Payload)
		}
		if delivery.Event == trigger {
			addPayloadPaths(ofTrigger, "trigger", delivery.Payload)
		}
	}
	if event != trigger {
		maps.Copy(ofEvent, ofTrigger)
	}
	for _, other := range d.Steps {
		switch set := settingsOf(other, nil); other.Type {
		case automations.StepTrigger:
			events[set.Text["event_name"]] = true
		case automations.StepWaitForEvent:
			events[set.Text["event_name"]] = true
			ofEvent["wait."+other.Key] = true
		}
	}
	delete(events, "")
	s.Events = firstSorted(events)
	if s.Fields, err = contactPaths(tx); err != nil {
		return s, err
	}
	s.Fields = append(firstSorted(ofEvent), s.Fields...)
	if s.Template, err = templateID(tx, settingsOf(step, nil).Text["template"]); err != nil {
		return s, err
	}
	return s, s.readChoices(tx, step.Type)
}

// templateID finds a template by id or alias; zero when there is none.
func templateID(tx *storage.Tx, ref string) (id automations.ID, err error) {
	t, err := tx.TemplateByRef(ref)
	if errors.Is(err, storage.ErrNotFound) {
		return id, nil
	}
	if err != nil {
		return id, err
	}
	return t.ID, nil
}

func firstSorted(set map[string]bool) []string {
	all := slices.Sorted(maps.Keys(set))
	return all[:min(len(all), maxSuggested)]
}

func contactPaths(tx *storage.Tx) ([]string, error) {
	paths := []string{"contact.email", "contact.first_name", "contact.last_name", "contact.unsubscribed"}
	properties, _, err := tx.ContactProperties(storage.Page{Limit: maxSuggested})
	for _, p := range properties {
		paths = append(paths, "contact.properties."+p.Key)
	}
	return paths, err
}

func (s *suggestions) readChoices(tx *storage.Tx, t automations.StepType) error {
	page := storage.Page{Limit: maxSuggested}
	switch t {
	case automations.StepAddToSegment, automations.StepRemoveFromSegment:
		segments, _, err := tx.Segments(page)
		for _, g := range segments {
			s.Segments = append(s.Segments, option{g.ID.String(), g.Name})
		}
		return err
	case automations.StepSendEmail:
		templates, _, err := tx.Templates(page)
		if err != nil {
			return err
		}
		for _, t := range templates {
			name := t.Name
			if t.Published == nil {
				name += " (not published)"
			}
			s.Templates = append(s.Templates, option{t.ID.String(), name})
		}
		topics, _, err := tx.Topics(page)
		for _, t := range topics {
			s.Topics = append(s.Topics, option{t.ID.String(), t.Name})
		}
		return err
	}
	return nil
}

// addPayloadPaths notes the paths to the values of a payload.
func addPayloadPaths(paths map[string]bool, root string, payload json.RawMessage) {
	var v map[string]any
	if json.Unmarshal(payload, &v) == nil {
		addPaths(paths, root, v, func(v any) map[string]any { m, _ := v.(map[string]any); return m }, maxFieldDepth)
	}
}

// addSchemaPaths notes the paths that a schema knows, as JSON Schema or as
// Resend's flat map.
func addSchemaPaths(paths map[string]bool, root string, schema json.RawMessage) {
	var v map[string]any
	if json.Unmarshal(schema, &v) != nil {
		return
	}
	properties, nested := v["properties"].(map[string]any)
	if !nested {
		for name, kind := range v {
			if _, flat := kind.(string); flat && !strings.HasPrefix(name, "$") {
				paths[root+"."+name] = true
			}
		}
		return
	}
	addPaths(paths, root, properties, func(v any) map[string]any {
		m, _ := v.(map[string]any)
		own, _ := m["properties"].(map[string]any)
		return own
	}, maxFieldDepth)
}

func addPaths(paths map[string]bool, root string, v map[string]any, below func(any) map[string]any, depth int) {
	for name, child := range v {
		if len(paths) >= maxSuggested || len(name) > 60 {
			continue
		}
		if own := below(child); len(own) > 0 && depth > 1 {
			addPaths(paths, root+"."+name, own, below, depth-1)
			continue
		}
		paths[root+"."+name] = true
	}
}
