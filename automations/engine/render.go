package engine

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/opensend/opensend/automations"
	"github.com/opensend/opensend/automations/mail"
	"github.com/opensend/opensend/storage"
)

// template is content ready to be rendered: a stored template's published
// edition, or what a step holds itself.
type template struct {
	id                  automations.ID
	from                string
	replyTo             []string
	subject, html, text *mail.Template
	fallbacks           map[string]json.RawMessage
	raw                 map[string]bool // variables declared as HTML
}

// findTemplate reads and parses a template by id or alias. Its errors are
// words for the run's failure reason.
func findTemplate(tx *storage.Tx, ref string) (*template, error) {
	var stored *automations.Template
	var err error
	if id, ok := automations.ParseID(ref); ok {
		stored, err = tx.Template(id)
	} else {
		stored, err = tx.TemplateByAlias(ref)
	}
	switch {
	case errors.Is(err, storage.ErrNotFound):
		return nil, automations.Errorf(automations.KindNotFound, "template_not_found", "template %q does not exist", ref)
	case err != nil:
		return nil, err
	case stored.Published == nil:
		return nil, automations.Errorf(automations.KindConflict, "template_not_published", "template %q is not published", ref)
	}
	t, err := parseTemplate(stored.Published)
	if err == nil {
		t.id = stored.ID
	}
	return t, err
}

func parseTemplate(c *automations.TemplateContent) (*template, error) {
	t := &template{from: c.From, replyTo: c.ReplyTo, fallbacks: map[string]json.RawMessage{}, raw: map[string]bool{}}
	for _, v := range c.Variables {
		t.raw[v.Key] = v.Type == "html"
		if len(v.Fallback) > 0 {
			t.fallbacks[v.Key] = v.Fallback
		}
	}
	for _, part := range []struct {
		source string
		parsed **mail.Template
	}{{c.Subject, &t.subject}, {c.HTML, &t.html}, {c.Text, &t.text}} {
		var err error
		if *part.parsed, err = mail.Parse(part.source); err != nil {
			return nil, err
		}
	}
	return t, nil
}

// composeEmail renders the mail of the run's current step. When that cannot
// be done the run fails, with the reason in words.
func (t *turn) composeEmail() {
	step := t.row.CurrentStep
	if err := t.renderEmail(step, t.effects.Email); err != nil {
		t.email, t.effects.Email = nil, nil
		t.row.Fail(step, err.Error(), t.now)
	}
}

func (t *turn) renderEmail(step string, action *automations.SendEmailAction) error {
	tmpl, err := t.contentOf(action)
	if err != nil {
		return err
	}
	link := t.engine.unsubscribeURL(t.tx, t.row.ContactID, action.TopicID)
	content, err := tmpl.render(t.variables(tmpl, action, link))
	if err != nil {
		return err
	}
	from, err := t.engine.sender(action.From, tmpl.from)
	if err != nil {
		return err
	}
	if err := content.check(); err != nil {
		return err
	}
	at, err := t.engine.nextFree(t.tx, t.now)
	if err != nil {
		return err
	}
	replyTo := action.ReplyTo
	if len(replyTo) == 0 {
		replyTo = tmpl.replyTo
	}
	visit := t.row.Steps[step].Visit
	t.email = &automations.Email{
		ID: newID(), Status: automations.EmailQueued, Run: t.row.Ref(), StepKey: step, Visit: visit,
		ContactID: t.row.ContactID, TemplateID: tmpl.id, TopicID: action.TopicID, From: from.String(), To: []string{t.world.Contact.Email},
		ReplyTo: replyTo, Subject: content.subject,
		MessageID:     mail.MessageID(from.Domain(), t.row.ID.String(), step, strconv.Itoa(visit)),
		NextAttemptAt: at, CreatedAt: t.now, UpdatedAt: t.now,
	}
	t.content = &automations.EmailContent{HTML: content.html, Text: content.text, Headers: append(unsubscribeHeaders(link), automatic(t.row.Run, step, from)...)}
	t.row.EmailID = t.email.ID
	return nil
}

// rendered is the content of one mail.
type rendered struct{ subject, html, text string }

func (t *template) render(lookup func(string) (any, bool)) (r rendered, err error) {
	raw := func(name string) bool { return t.raw[name] }
	for _, part := range []struct {
		kind mail.Part
		text *mail.Template
		into *string
	}{{mail.Subject, t.subject, &r.subject}, {mail.HTML, t.html, &r.html}, {mail.Text, t.text, &r.text}} {
		if *part.into, err = part.text.Render(part.kind, lookup, mail.RenderOptions{Raw: raw}); err != nil {
			return r, err
		}
	}
	return r, nil
}

// check reports whether this is a mail.
func (r rendered) check() error {
	switch {
	case strings.TrimSpace(r.subject) == "":
		return errors.New("the subject of the mail is empty")
	case r.html == "" && r.text == "":
		return errors.New("the mail has neither HTML nor text")
	}
	return nil
}

// sender is the first of the addresses that is set, or the configured one.
func (e *Engine) sender(candidates ...string) (mail.Address, error) {
	text := cmp.Or(append(candidates, e.cfg.From)...)
	if text == "" {
		return mail.Address{}, errors.New("the mail has no sender: set from in the step, the template or the request, or mail.from in the configuration")
	}
	from, err := mail.ParseAddress(text)
	if err != nil {
		return from, fmt.Errorf("the sender of the mail: %w", err)
	}
	return from, nil
}

// contentOf finds what the step sends.
func (t *turn) contentOf(action *automations.SendEmailAction) (*template, error) {
	if action.Template == "" {
		return parseTemplate(&automations.TemplateContent{Subject: action.Subject, HTML: action.HTML, Text: action.Text})
	}
	tmpl, err := t.defs.template(t.tx, action.Template)
	if err != nil || action.Subject == "" {
		return tmpl, err
	}
	own := *tmpl
	own.subject, err = mail.Parse(action.Subject)
	return &own, err
}

// variables resolves the names in a template: what the step sets, and then what
// the run knows.
func (t *turn) variables(tmpl *template, action *automations.SendEmailAction, link string) func(string) (any, bool) {
	scope := automations.RunScope(t.row.Run, t.world.Trigger, t.world.Contact)
	known := lookup(t.tx, tmpl, scope, link)
	return func(name string) (any, bool) {
		if v, ok := action.Variables[name]; ok {
			if value, ok := present(v.Resolve(scope)); ok {
				return value, true
			}
		}
		return known(name)
	}
}

// lookup resolves the reserved names, what is in scope, and last the fallbacks
// that the template and the declaration of a property give. link is where the
// recipient unsubscribes, empty where there is nothing to unsubscribe from.
func lookup(tx *storage.Tx, tmpl *template, scope *automations.Scope, link string) func(string) (any, bool) {
	return func(name string) (any, bool) {
		if name == "RESEND_UNSUBSCRIBE_URL" || name == "OPENSEND_UNSUBSCRIBE_URL" {
			return nonEmpty(link)
		}
		if c := scope.Contact; c != nil {
			switch name {
			case "FIRST_NAME":
				return nonEmpty(c.FirstName)
			case "LAST_NAME":
				return nonEmpty(c.LastName)
			case "EMAIL":
				return c.Email, true
			}
		}
		if v, ok := scope.Lookup(name); ok && v != nil {
			return v, true
		}
		if value, ok := present(tmpl.fallbacks[name]); ok {
			return value, true
		}
		return present(propertyFallback(tx, name))
	}
}

// propertyFallback is what the declaration of a contact's property says for
// contacts without it.
func propertyFallback(tx *storage.Tx, path string) json.RawMessage {
	key, ok := strings.CutPrefix(strings.Replace(path, "contact.custom_properties.", "contact.properties.", 1), "contact.properties.")
	if !ok {
		return nil
	}
	declared, err := tx.ContactPropertyByKey(key)
	if err != nil {
		return nil
	}
	return declared.Fallback
}

// present decodes a value; nothing and null are absent.
func present(raw json.RawMessage) (any, bool) {
	v, err := automations.DecodeValue(raw)
	return v, err == nil && v != nil
}

func nonEmpty(s string) (any, bool) { return s, s != "" }
