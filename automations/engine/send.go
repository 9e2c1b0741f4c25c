package engine

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/opensend/opensend/automations"
	"github.com/opensend/opensend/automations/mail"
	"github.com/opensend/opensend/storage"
)

// EmailRequest is a mail that somebody asks for over the API. Its content is
// either a template's or its own; its own is not searched for variables.
type EmailRequest struct {
	From        string   // the template's or the configured sender when empty
	To          []string // addresses with or without display names, as CC and BCC
	CC, BCC     []string
	ReplyTo     []string
	Subject     string // over the template's when there is one
	HTML, Text  string
	Template    string // id or alias; empty for none
	Variables   map[string]json.RawMessage
	Headers     []mail.Header
	Attachments []mail.Attachment
	Tags        []automations.Tag
	TopicID     automations.ID // zero for none
	Test        bool           // keep it, also when other mail is sent
	ScheduledAt time.Time      // zero for at once
}

// EmailResult is what became of one request: a queued mail, or an error.
type EmailResult struct {
	Email *automations.Email
	Err   error
}

// SendEmails queues mails in one transaction. With allOrNone a request that is
// refused keeps all from being queued. A nil request is left out: its result
// is the caller's affair. An error of the whole is returned as such, as that
// there is no quota left.
func (e *Engine) SendEmails(requests []*EmailRequest, allOrNone bool, idem *Idempotency[[]EmailResult]) ([]EmailResult, *storage.IdempotentAnswer, error) {
	results, replayed, err := once(e, idem, func(tx *storage.Tx) ([]EmailResult, error) {
		results := make([]EmailResult, len(requests))
		contents := make([]*automations.EmailContent, len(requests))
		refused := false
		for i, request := range requests {
			if request == nil {
				continue
			}
			email, content, err := e.compose(tx, request)
			if _, ok := errors.AsType[*automations.Error](err); err != nil && !ok {
				return nil, err
			}
			results[i], contents[i] = EmailResult{email, err}, content
			refused = refused || err != nil
		}
		if refused && allOrNone {
			return results, nil
		}
		for i, result := range results {
			if result.Email == nil {
				continue
			}
			if err := e.quotaFor(tx, result.Email, result.Email.NextAttemptAt); err != nil {
				return nil, err
			}
			if err := tx.InsertEmail(result.Email, contents[i]); err != nil {
				return nil, err
			}
		}
		return results, nil
	})
	if err == nil {
		kick(e.outboxKick)
	}
	return results, replayed, err
}

// compose makes a mail of a request. An *automations.Error says what is wrong
// with the request.
func (e *Engine) compose(tx *storage.Tx, r *EmailRequest) (*automations.Email, *automations.EmailContent, error) {
	var p automations.Problems
	tmpl, content, err := e.contentOf(tx, r)
	if err != nil {
		if _, ok := errors.AsType[*automations.Error](err); !ok {
			return nil, nil, err
		}
		p.Include("template", err)
	}
	from, err := e.sender(r.From, tmpl.from)
	if err != nil {
		p.Add("", "from", "%s", err)
	}
	if r.TopicID != (automations.ID{}) {
		switch _, err := tx.Topic(r.TopicID); {
		case errors.Is(err, storage.ErrNotFound):
			p.Add("", "topic_id", "no topic has the id %s", r.TopicID)
		case err != nil:
			return nil, nil, err
		}
	}
	if p.Err() == nil {
		if err := content.check(); err != nil {
			p.Add("", "subject", "%s", err)
		}
	}
	if err := p.Err(); err != nil {
		return nil, nil, err
	}
	replyTo := r.ReplyTo
	if len(replyTo) == 0 {
		replyTo = tmpl.replyTo
	}
	id, at := newID(), now()
	email := &automations.Email{
		ID: id, Status: automations.EmailQueued, TemplateID: tmpl.id, TopicID: r.TopicID, Test: r.Test, From: from.String(), To: r.To, CC: r.CC, BCC: r.BCC,
		ReplyTo: replyTo, Subject: content.subject, Tags: r.Tags, MessageID: mail.MessageID(from.Domain(), id),
		ScheduledAt: r.ScheduledAt, NextAttemptAt: later(at, r.ScheduledAt), CreatedAt: at, UpdatedAt: at,
	}
	headers := r.Headers
	if only, err := onlyContact(tx, r); err != nil {
		return nil, nil, err
	} else if only != nil && r.TopicID != (automations.ID{}) && !hasHeader(headers, "List-Unsubscribe") {
		headers = append(unsubscribeHeaders(e.unsubscribeURL(tx, only.ID, r.TopicID)), headers...)
	}
	return email, &automations.EmailContent{HTML: content.html, Text: content.text, Headers: headers, Attachments: r.Attachments}, nil
}

// contentOf finds or renders what a request sends. The template is empty, not
// nil, when there is none.
func (e *Engine) contentOf(tx *storage.Tx, r *EmailRequest) (*template, rendered, error) {
	if r.Template == "" {
		return &template{}, rendered{r.Subject, r.HTML, r.Text}, nil
	}
	tmpl, err := e.definitionsOf(tx).template(tx, r.Template)
	if err != nil {
		return &template{}, rendered{}, err
	}
	scope := &automations.Scope{}
	if scope.Contact, err = onlyContact(tx, r); err != nil {
		return tmpl, rendered{}, err
	}
	link := ""
	if scope.Contact != nil {
		link = e.unsubscribeURL(tx, scope.Contact.ID, r.TopicID)
	}
	v := &values{tx: tx, tmpl: tmpl, scope: scope, link: link, own: func(name string) json.RawMessage { return r.Variables[name] }}
	content, err := tmpl.render(v.of)
	if err != nil {
		return tmpl, content, unrendered(err)
	}
	if r.Subject != "" {
		content.subject = r.Subject
	}
	return tmpl, content, nil
}

// unrendered is the error of a rendering as the caller may read it.
func unrendered(err error) error {
	if _, ok := errors.AsType[*mail.MissingError](err); ok {
		return automations.Errorf(automations.KindInvalid, "template_variable_missing", "%s", err)
	}
	if _, ok := errors.AsType[*mail.TooLargeError](err); ok {
		return automations.Errorf(automations.KindInvalid, "template_too_large", "%s", err)
	}
	return err
}

// onlyContact is the contact that a mail is for, when it is for nobody else;
// nil otherwise.
func onlyContact(tx *storage.Tx, r *EmailRequest) (*automations.Contact, error) {
	if len(r.To) != 1 || len(r.CC)+len(r.BCC) > 0 {
		return nil, nil
	}
	address, err := mail.ParseAddress(r.To[0])
	if err != nil {
		return nil, nil
	}
	c, err := tx.ContactByEmail(address.Addr)
	if errors.Is(err, storage.ErrNotFound) {
		return nil, nil
	}
	return c, err
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

func hasHeader(headers []mail.Header, name string) bool {
	return slices.ContainsFunc(headers, func(h mail.Header) bool { return strings.EqualFold(h.Name, name) })
}

// CancelEmail takes back a mail that has not begun to leave. An
// *automations.Error of KindConflict says that it is too late.
func (e *Engine) CancelEmail(id automations.ID, notes ...Note) (*automations.Email, error) {
	return e.changeQueued(id, notes, func(tx *storage.Tx, email *automations.Email) error {
		email.Status = automations.EmailCancelled
		return giveQuotaBack(tx, email)
	})
}

// RescheduleEmail moves a mail that has not begun to leave to another time. An
// *automations.Error of KindConflict says that it is too late.
func (e *Engine) RescheduleEmail(id automations.ID, at time.Time, notes ...Note) (*automations.Email, error) {
	return e.changeQueued(id, notes, func(tx *storage.Tx, email *automations.Email) error {
		if err := giveQuotaBack(tx, email); err != nil {
			return err
		}
		email.ScheduledAt, email.NextAttemptAt = at, later(now(), at)
		return e.quotaFor(tx, email, email.NextAttemptAt)
	})
}

func (e *Engine) changeQueued(id automations.ID, notes []Note, change func(*storage.Tx, *automations.Email) error) (*automations.Email, error) {
	var row *storage.EmailRow
	err := e.update(notes, func(tx *storage.Tx) (err error) {
		if row, err = tx.Email(id); err != nil {
			return err
		}
		switch {
		case row.Run != automations.RunRef{}:
			return automations.Errorf(automations.KindConflict, "email_of_run", "the mail belongs to a run; cancel the run %s instead", row.Run.RunID)
		case row.Status != automations.EmailQueued || row.Attempts > 0:
			return automations.Errorf(automations.KindConflict, "email_not_scheduled", "the mail is %s; only mail that has not begun to leave can be changed", row.Status)
		}
		if err := change(tx, row.Email); err != nil {
			return err
		}
		row.UpdatedAt = now()
		return tx.SaveEmail(row)
	})
	if err != nil {
		return nil, err
	}
	kick(e.outboxKick)
	return row.Email, nil
}
