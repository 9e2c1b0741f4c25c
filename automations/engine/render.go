package engine

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/opensend/opensend/automations"
	"github.com/opensend/opensend/automations/mail"
	"github.com/opensend/opensend/storage"
)

// template is content ready to be rendered: one edition of a stored template,
// or what a step holds itself.
type template struct {
	id                  automations.ID
	from                string
	replyTo             []string
	subject, html, text *mail.Template
	variables           map[string]*automations.TemplateVariable
	declared            bool // by the author, who wants the types kept
}

// findTemplate reads and parses a template by id or alias. Its errors are
// words for the run's failure reason.
func findTemplate(tx *storage.Tx, ref string) (*template, error) {
	stored, err := tx.TemplateByRef(ref)
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

// parseTemplate never fails for content that was checked when it was saved.
func parseTemplate(c *automations.TemplateContent) (*template, error) {
	t := &template{from: c.From, replyTo: c.ReplyTo, declared: c.Declared, variables: make(map[string]*automations.TemplateVariable, len(c.Variables))}
	for i := range c.Variables {
		t.variables[c.Variables[i].Key] = &c.Variables[i]
	}
	var errs [3]error
	t.subject, errs[0] = mail.Parse(mail.Subject, c.Subject)
	t.html, errs[1] = mail.Parse(mail.HTML, c.HTML)
	t.text, errs[2] = mail.Parse(mail.Text, c.Text)
	return t, errors.Join(errs[:]...)
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
	tmpl, err := t.defs.content(t.tx, action)
	if err != nil {
		return err
	}
	link := t.engine.unsubscribeURL(t.tx, t.row.ContactID, action.TopicID)
	scope := automations.RunScope(t.row.Run, t.world.Trigger, t.world.Contact)
	v := &values{tx: t.tx, tmpl: tmpl, scope: scope, link: link, own: func(name string) json.RawMessage {
		if value, ok := action.Variables[name]; ok {
			return value.Resolve(scope)
		}
		return nil
	}}
	content, err := tmpl.render(v.of)
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
	at := t.now
	if !t.row.Test {
		if at, err = t.engine.nextFree(t.tx, t.now); err != nil {
			return err
		}
	}
	replyTo := action.ReplyTo
	if len(replyTo) == 0 {
		replyTo = tmpl.replyTo
	}
	id, visit := newID(), t.row.Steps[step].Visit
	t.email = &automations.Email{
		ID: id, Status: automations.EmailQueued, Run: t.row.Ref(), StepKey: step, Visit: visit,
		ContactID: t.row.ContactID, Test: t.row.Test, TemplateID: tmpl.id, TopicID: action.TopicID, From: from.String(), To: []string{t.world.Contact.Email},
		ReplyTo: replyTo, Subject: content.subject,
		MessageID:     mail.MessageID(from.Domain(), id),
		NextAttemptAt: at, CreatedAt: t.now, UpdatedAt: t.now,
	}
	t.content = &automations.EmailContent{HTML: content.html, Text: content.text, Headers: append(unsubscribeHeaders(link), automatic(t.row.Run, step, from)...)}
	t.row.EmailID = t.email.ID
	return nil
}

// rendered is the content of one mail.
type rendered struct{ subject, html, text string }

func (t *template) render(find func(mail.Placeholder) (any, error)) (r rendered, err error) {
	for _, part := range []struct {
		text *mail.Template
		into *string
	}{{t.subject, &r.subject}, {t.html, &r.html}, {t.text, &r.text}} {
		if *part.into, err = part.text.Render(find); err != nil {
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
	case utf8.RuneCountInString(r.subject) > automations.MaxSubject:
		return fmt.Errorf("the subject of the mail has more than %d characters", automations.MaxSubject)
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
