package server

import (
	"encoding/json"
	"errors"
	"regexp"

	"github.com/google/uuid"

	"github.com/opensend/opensend/automations"
	"github.com/opensend/opensend/storage"
)

var aliasPattern = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_.-]{0,99}$`)

// wireTemplate is a template: its draft, as it is edited.
type wireTemplate struct {
	Object      string         `json:"object"`
	ID          automations.ID `json:"id"`
	Name        string         `json:"name"`
	Alias       *string        `json:"alias"`
	Status      string         `json:"status"` // draft or published
	From        *string        `json:"from"`
	Subject     *string        `json:"subject"`
	ReplyTo     []string       `json:"reply_to"`
	HTML        string         `json:"html"`
	Text        *string        `json:"text"`
	Variables   []wireVariable `json:"variables"`
	Unpublished bool           `json:"has_unpublished_versions"`
	PublishedAt wireTime       `json:"published_at"`
	CreatedAt   wireTime       `json:"created_at"`
	UpdatedAt   wireTime       `json:"updated_at"`
}

type wireVariable struct {
	ID            automations.ID           `json:"id"` // of template and key; always the same
	Key           string                   `json:"key"`
	Type          automations.VariableType `json:"type"`
	FallbackValue json.RawMessage          `json:"fallback_value"`
	CreatedAt     wireTime                 `json:"created_at"`
	UpdatedAt     wireTime                 `json:"updated_at"`
}

func renderTemplate(t *automations.Template) wireTemplate {
	w := wireTemplate{
		Object: "template", ID: t.ID, Name: t.Name, Alias: orNull(t.Alias), Status: "draft",
		From: orNull(t.Draft.From), Subject: orNull(t.Draft.Subject), ReplyTo: t.Draft.ReplyTo, HTML: t.Draft.HTML, Text: orNull(t.Draft.Text),
		Variables: make([]wireVariable, len(t.Draft.Variables)), Unpublished: t.Edited,
		PublishedAt: wireTime(t.PublishedAt), CreatedAt: wireTime(t.CreatedAt), UpdatedAt: wireTime(t.UpdatedAt),
	}
	if t.Published != nil {
		w.Status = "published"
	}
	if w.ReplyTo == nil {
		w.ReplyTo = []string{}
	}
	for i, v := range t.Draft.Variables {
		w.Variables[i] = wireVariable{uuid.NewSHA1(t.ID, []byte(v.Key)), v.Key, v.Type, objectOr(v.Fallback, "null"), wireTime(t.CreatedAt), wireTime(t.UpdatedAt)}
	}
	return w
}

// contentFields are the fields that change what a template sends.
var contentFields = []string{"from", "subject", "reply_to", "replyTo", "html", "text", "variables"}

func (s *Server) createTemplate(r *request) (answer, error) {
	f, err := r.fields()
	if err != nil {
		return answer{}, err
	}
	var p automations.Problems
	f.Unknown(&p, append([]string{"name", "alias"}, contentFields...)...)
	t := &automations.Template{ID: uuid.Must(uuid.NewV7()), Name: readName(f, &p), Edited: true, CreatedAt: r.now, UpdatedAt: r.now}
	t.Alias = readAlias(f, &p)
	automations.ReadTemplateContent(f, &p, &t.Draft)
	if t.Draft.HTML == "" && t.Draft.Text == "" {
		p.Missing("", "html")
	}
	if err := p.Err(); err != nil {
		return answer{}, err
	}
	if err := r.update(func(tx *storage.Tx) error { return tx.SaveTemplate(t) }); err != nil {
		return answer{}, aliasTaken(err, t)
	}
	return created(renderTemplate(t))
}

func readAlias(f automations.Fields, p *automations.Problems) string {
	alias := f.String(p, "alias")
	if _, isID := automations.ParseID(alias); alias != "" && (isID || !aliasPattern.MatchString(alias)) {
		p.Add("", "alias", "an alias has 1 to 100 letters, digits, dots, dashes and underscores, and is not a UUID")
	}
	return alias
}

func aliasTaken(err error, t *automations.Template) error {
	if errors.Is(err, storage.ErrTaken) {
		return automations.Errorf(automations.KindConflict, "template_alias_taken", "another template has the alias %s; choose another", t.Alias)
	}
	return err
}

func (s *Server) listTemplates(r *request) (answer, error) {
	return respondList(r, (*storage.Tx).Templates, renderTemplate)
}

// templateByRef finds a template by id or alias.
func templateByRef(tx *storage.Tx, ref string) (*automations.Template, error) {
	t, err := tx.TemplateByRef(ref)
	return t, orNotFound(err, "template", ref)
}

// getTemplate answers with the draft, or with what is sent now.
func (s *Server) getTemplate(r *request) (answer, error) {
	var p automations.Problems
	version := r.URL.Query().Get("version")
	oneOf(&p, "version", version, []string{versionDraft, versionPublished})
	if err := p.Err(); err != nil {
		return answer{}, err
	}
	return respondOne(r, func(tx *storage.Tx) (*automations.Template, error) {
		t, err := templateByRef(tx, r.PathValue("id"))
		if err != nil || version != versionPublished {
			return t, err
		}
		if t.Published == nil {
			return nil, automations.Errorf(automations.KindConflict, "template_not_published", "the template is not published; publish it, or get its draft")
		}
		t.Draft = *t.Published
		return t, nil
	}, renderTemplate)
}

// changeTemplate applies a change to a stored template.
func (s *Server) changeTemplate(r *request, change func(*automations.Template) error) (answer, error) {
	var t *automations.Template
	err := r.update(func(tx *storage.Tx) (err error) {
		if t, err = templateByRef(tx, r.PathValue("id")); err != nil {
			return err
		}
		if err := change(t); err != nil {
			return err
		}
		t.UpdatedAt = r.now
		return tx.SaveTemplate(t)
	})
	if err != nil {
		return answer{}, aliasTaken(err, t)
	}
	return ok(renderTemplate(t))
}

func (s *Server) updateTemplate(r *request) (answer, error) {
	f, err := r.fields()
	if err != nil {
		return answer{}, err
	}
	for _, name := range []string{"name", "html"} {
		if string(f[name]) == `""` { // so Resend's client for Go sends what is to stay
			delete(f, name)
		}
	}
	return s.changeTemplate(r, func(t *automations.Template) error {
		var p automations.Problems
		known := append([]string{"name", "alias"}, contentFields...)
		f.Unknown(&p, append(known, "id")...)
		if !changes(f, known) {
			p.Add("", "", "nothing to change: send at least one of name, alias, from, subject, reply_to, html, text and variables")
		}
		if f.Has("name") {
			t.Name = readName(f, &p)
		}
		if f.Has("alias") {
			t.Alias = readAlias(f, &p)
		}
		if changes(f, contentFields) {
			automations.ReadTemplateContent(f, &p, &t.Draft)
			t.Edited = true
		}
		return p.Err()
	})
}

func (s *Server) publishTemplate(r *request) (answer, error) {
	return s.changeTemplate(r, func(t *automations.Template) error {
		if t.Draft.HTML == "" && t.Draft.Text == "" {
			return automations.Errorf(automations.KindInvalid, "template_empty", "the template has no html and no text to publish")
		}
		if err := t.Draft.Check(); err != nil {
			return err
		}
		published := t.Draft
		t.Published, t.PublishedAt, t.Edited = &published, r.now, false
		return nil
	})
}

// duplicateTemplate makes a draft with the same content and without an alias.
func (s *Server) duplicateTemplate(r *request) (answer, error) {
	var twin *automations.Template
	err := r.update(func(tx *storage.Tx) error {
		t, err := templateByRef(tx, r.PathValue("id"))
		if err != nil {
			return err
		}
		twin = &automations.Template{ID: uuid.Must(uuid.NewV7()), Name: copyName(t.Name), Draft: t.Draft, Edited: true, CreatedAt: r.now, UpdatedAt: r.now}
		return tx.SaveTemplate(twin)
	})
	if err != nil {
		return answer{}, err
	}
	return created(renderTemplate(twin))
}

func (s *Server) deleteTemplate(r *request) (answer, error) {
	var id automations.ID
	err := r.update(func(tx *storage.Tx) error {
		t, err := templateByRef(tx, r.PathValue("id"))
		if err != nil {
			return err
		}
		id = t.ID
		return tx.DeleteTemplate(id)
	})
	if err != nil {
		return answer{}, err
	}
	return ok(deleted{"template", id, true})
}
