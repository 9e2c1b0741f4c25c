package server

import (
	"encoding/json"

	"github.com/opensend/opensend/automations"
	"github.com/opensend/opensend/automations/engine"
	"github.com/opensend/opensend/storage"
)

// wirePreview is how a template looks with given values.
type wirePreview struct {
	Object    string                  `json:"object"`
	ID        automations.ID          `json:"id"` // of the template
	Version   string                  `json:"version"`
	From      *string                 `json:"from"`
	ReplyTo   []string                `json:"reply_to"`
	Subject   string                  `json:"subject"`
	HTML      string                  `json:"html"`
	Text      string                  `json:"text"`
	Variables []wirePreviewedVariable `json:"variables"`
}

type wirePreviewedVariable struct {
	Name    string                    `json:"name"`
	Type    *automations.VariableType `json:"type"` // null for reserved names and paths
	Status  engine.VariableStatus     `json:"status"`
	Value   any                       `json:"value"`
	Message string                    `json:"message,omitempty"` // why the mail would not be sent
}

// The editions of a template that can be previewed.
const (
	versionDraft     = "draft"
	versionPublished = "published"
)

// previewRequest is what a template is to be shown with.
type previewRequest struct {
	version   string
	contact   string               // id or address; empty for none
	sample    *automations.Contact // made up; nil for none
	event     json.RawMessage
	trigger   json.RawMessage
	steps     json.RawMessage
	wait      json.RawMessage
	variables map[string]json.RawMessage
	content   automations.Fields // to be shown instead of what is stored; nil for none
}

func readPreviewRequest(f automations.Fields) (*previewRequest, error) {
	var p automations.Problems
	f.Unknown(&p, "version", "contact", "event", "trigger", "steps", "wait", "variables", "content")
	w := &previewRequest{
		version: readWord(f, &p, []string{versionDraft, versionPublished}, "version"),
		event:   f.Object(&p, "event"), trigger: f.Object(&p, "trigger"), steps: f.Object(&p, "steps"), wait: f.Object(&p, "wait"),
	}
	// A run's event is the one that started it until a wait ends.
	if w.event == nil {
		w.event = w.trigger
	} else if w.trigger == nil {
		w.trigger = w.event
	}
	if raw := f.Object(&p, "variables"); raw != nil {
		var err error
		w.variables, err = automations.ObjectFields(raw)
		p.Include("variables", err)
	}
	if raw := f.Object(&p, "content"); raw != nil {
		var err error
		w.content, err = automations.ObjectFields(raw)
		p.Include("content", err)
	}
	if own, err := automations.ObjectFields(f.Raw("contact")); err == nil {
		var q automations.Problems
		own.Unknown(&q, "email", "first_name", "firstName", "last_name", "lastName", "unsubscribed", "properties")
		w.sample = &automations.Contact{}
		readContact(own, &q, w.sample)
		p.Include("contact", q.Err())
	} else if f.Has("contact") && json.Unmarshal(f["contact"], &w.contact) != nil {
		p.Add("", "contact", "contact must be the id or the address of a contact, or an object with sample data")
	}
	return w, p.Err()
}

// previewTemplate renders a template for somebody to look at: POST
// /templates/{id}/preview. That a variable is missing is part of the answer.
func (s *Server) previewTemplate(r *request) (answer, error) {
	f := automations.Fields{}
	if len(r.body) > 0 {
		var err error
		if f, err = r.fields(); err != nil {
			return answer{}, err
		}
	}
	wanted, err := readPreviewRequest(f)
	if err != nil {
		return answer{}, err
	}
	return respondOne(r, func(tx *storage.Tx) (wirePreview, error) {
		t, err := templateByRef(tx, r.PathValue("id"))
		if err != nil {
			return wirePreview{}, err
		}
		return s.preview(tx, t, wanted)
	}, func(w wirePreview) wirePreview { return w })
}

func (s *Server) preview(tx *storage.Tx, t *automations.Template, wanted *previewRequest) (w wirePreview, err error) {
	version, content := versionDraft, &t.Draft
	if wanted.version == versionPublished {
		if version, content = versionPublished, t.Published; content == nil {
			return w, automations.Errorf(automations.KindConflict, "template_not_published", "the template is not published; publish it, or preview its draft")
		}
	}
	if wanted.content != nil {
		if content, err = edited(content, wanted.content); err != nil {
			return w, err
		}
	}
	contact := wanted.sample
	if wanted.contact != "" {
		if contact, err = contactByRef(tx, wanted.contact); err != nil {
			return w, err
		}
	}
	scope := automations.SampleScope(wanted.event, wanted.trigger, wanted.steps, wanted.wait, contact)
	p, err := s.engine.Preview(tx, content, scope, wanted.variables)
	if err != nil {
		return w, err
	}
	w = wirePreview{
		Object: "template_preview", ID: t.ID, Version: version, From: orNull(content.From), ReplyTo: content.ReplyTo,
		Subject: p.Subject, HTML: p.HTML, Text: p.Text, Variables: make([]wirePreviewedVariable, len(p.Variables)),
	}
	if w.ReplyTo == nil {
		w.ReplyTo = []string{}
	}
	for i, v := range p.Variables {
		w.Variables[i] = wirePreviewedVariable{v.Name, declaredType(content, v.Name), v.Status, v.Value, v.Reason}
	}
	return w, nil
}

// edited is content with the fields that were sent in their place.
func edited(c *automations.TemplateContent, f automations.Fields) (*automations.TemplateContent, error) {
	var p, q automations.Problems
	f.Unknown(&q, contentFields...)
	changed := *c
	automations.ReadTemplateContent(f, &q, &changed)
	p.Include("content", q.Err())
	return &changed, p.Err()
}

func declaredType(c *automations.TemplateContent, name string) *automations.VariableType {
	for _, v := range c.Variables {
		if v.Key == name {
			return &v.Type
		}
	}
	return nil
}
