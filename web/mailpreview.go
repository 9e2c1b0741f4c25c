package web

import (
	"cmp"
	"encoding/json"
	"errors"
	"strings"

	"github.com/opensend/opensend/automations"
	"github.com/opensend/opensend/automations/engine"
	"github.com/opensend/opensend/storage"
)

// mailPreview is what the mail of a step looks like, and for whom.
type mailPreview struct {
	preview
	Contact string // address or id; empty for one that is made up
	Event   string // the payload of the event that the run began with
}

// previewMail renders the mail of the open step as it is typed. Until something
// else is typed it is shown with the newest event that would have started a run,
// and its contact.
func (b *builder) previewMail(tx *storage.Tx, step automations.Step) (*mailPreview, error) {
	m := &mailPreview{Event: "{}"}
	if b.typed.Has("sample.event") {
		m.Contact, m.Event = strings.TrimSpace(b.typed.Get("sample.contact")), plainLines(b.typed.Get("sample.event"))
	} else if latest := b.Suggest.Newest[settingsOf(b.draft.Steps[0], nil).Text["event_name"]]; latest != nil {
		m.Event = prettyJSON(latest.Payload)
		switch c, err := tx.Contact(latest.ContactID); {
		case err == nil:
			m.Contact = c.Email
		case !errors.Is(err, storage.ErrNotFound): // it was deleted meanwhile
			return nil, err
		}
	}
	err := m.render(b.visit, tx, settingsOf(step, nil), b.newestWaits())
	if m.Problem = problemOf(err); m.Problem != nil {
		return m, nil
	}
	return m, err
}

// newestWaits are the payloads of the newest events that the draft's steps would
// have waited for, by the keys of the steps.
func (b *builder) newestWaits() json.RawMessage {
	waits := map[string]json.RawMessage{}
	for _, step := range b.draft.Steps {
		if d := b.Suggest.Newest[settingsOf(step, nil).Text["event_name"]]; d != nil && step.Type == automations.StepWaitForEvent {
			waits[step.Key] = d.Payload
		}
	}
	return encodeJSON(waits)
}

func (m *mailPreview) render(v *visit, tx *storage.Tx, set stepSettings, waits json.RawMessage) error {
	content, err := mailContent(tx, set)
	if err != nil {
		return err
	}
	contact := &automations.Contact{Email: "ada@example.com", FirstName: "Ada", LastName: "Lovelace"}
	if m.Contact != "" {
		if contact, err = tx.ContactByRef(m.Contact); errors.Is(err, storage.ErrNotFound) {
			return automations.Errorf(automations.KindNotFound, "", "there is no contact %q", m.Contact)
		}
		if err != nil {
			return err
		}
	}
	event := json.RawMessage(cmp.Or(strings.TrimSpace(m.Event), "{}"))
	if _, err := automations.DecodeObject(event); err != nil {
		return automations.Errorf(automations.KindInvalid, "", `the payload of the event must be a JSON object, such as {"plan": "pro"}`)
	}
	scope := automations.SampleScope(event, event, nil, waits, contact)
	own := map[string]json.RawMessage{}
	for _, p := range set.Pairs {
		value := automations.ParseValue(readValue(p.Value))
		own[p.Name] = value.Resolve(scope)
	}
	rendered, err := v.d.cfg.Engine.Preview(tx, content, scope, own)
	if err != nil {
		return err
	}
	m.Subject, m.HTML, m.Text = rendered.Subject, rendered.HTML, rendered.Text
	for _, found := range rendered.Variables {
		shown := previewVariable{Name: found.Name, Status: string(found.Status), Value: encodeJSON(found.Value), Message: found.Reason}
		if root, _, _ := strings.Cut(found.Name, "."); found.Status == engine.VariableMissing && (root == "wait" || root == "steps") {
			shown.Status, shown.Message = "later", "what that step finds, when a run has done it"
		}
		m.Variables = append(m.Variables, shown)
	}
	m.finish(v)
	return nil
}

// mailContent is what a step sends: its template as runs take it, or its draft
// before there is one to take, or what is written in the step.
func mailContent(tx *storage.Tx, set stepSettings) (*automations.TemplateContent, error) {
	content := automations.TemplateContent{}
	parts := map[string]any{"subject": set.Text["subject"]}
	if ref := set.Text["template"]; ref != "" {
		t, err := tx.TemplateByRef(ref)
		if errors.Is(err, storage.ErrNotFound) {
			return nil, automations.Errorf(automations.KindNotFound, "", "there is no such template")
		}
		if err != nil {
			return nil, err
		}
		if content = t.Draft; t.Published != nil {
			content = *t.Published
		}
		if set.Text["subject"] == "" {
			return &content, nil
		}
	} else {
		parts["html"], parts["text"] = set.Text["html"], set.Text["text"]
	}
	fields, err := automations.ObjectFields(encodeJSON(parts))
	if err != nil {
		return nil, err
	}
	var p automations.Problems
	automations.ReadTemplateContent(fields, &p, &content)
	return &content, p.Err()
}
