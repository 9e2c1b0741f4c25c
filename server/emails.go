package server

import (
	"errors"
	"net/http"
	"strings"

	"github.com/opensend/opensend/automations"
	"github.com/opensend/opensend/automations/engine"
	"github.com/opensend/opensend/automations/mail"
	"github.com/opensend/opensend/storage"
)

// wireEmail is a mail in lists.
type wireEmail struct {
	Object       string                  `json:"object"`
	ID           automations.ID          `json:"id"`
	Status       automations.EmailStatus `json:"status"`
	LastEvent    string                  `json:"last_event"` // the status, or the gravest report, in Resend's words
	From         string                  `json:"from"`
	To           []string                `json:"to"` // empty once its contact was erased
	CC           []string                `json:"cc"`
	BCC          []string                `json:"bcc"`
	ReplyTo      []string                `json:"reply_to"`
	Subject      string                  `json:"subject"`
	Tags         []automations.Tag       `json:"tags"`
	TopicID      *automations.ID         `json:"topic_id"`
	Recipients   []automations.Settled   `json:"recipients"` // those whose fate differs from the mail's
	Reports      []wireReport            `json:"reports"`    // what was told of it after it had left
	MessageID    string                  `json:"message_id"`
	Test         bool                    `json:"test"`
	AutomationID *automations.ID         `json:"automation_id"`
	RunID        *automations.ID         `json:"run_id"`
	StepKey      *string                 `json:"step_key"`
	ContactID    *automations.ID         `json:"contact_id"`
	Attempts     int                     `json:"attempts"`
	LastError    *string                 `json:"last_error"`
	ScheduledAt  wireTime                `json:"scheduled_at"` // when a queued mail is tried next
	SentAt       wireTime                `json:"sent_at"`
	CreatedAt    wireTime                `json:"created_at"`
}

func renderEmail(e *automations.Email) wireEmail {
	w := wireEmail{
		Object: "email", ID: e.ID, Status: e.Status, LastEvent: lastEvent(e), From: e.From, To: orEmpty(e.To), CC: orEmpty(e.CC), BCC: orEmpty(e.BCC),
		ReplyTo: orEmpty(e.ReplyTo), Subject: e.Subject, Tags: orEmpty(e.Tags), TopicID: idOrNull(e.TopicID), Recipients: orEmpty(e.Settled), Reports: renderReports(e.Reports), MessageID: e.MessageID, Test: e.Test, AutomationID: idOrNull(e.Run.WorkflowID), RunID: idOrNull(e.Run.RunID),
		StepKey: orNull(e.StepKey), ContactID: idOrNull(e.ContactID), Attempts: e.Attempts, LastError: orNull(e.LastError),
		SentAt: wireTime(e.SentAt), CreatedAt: wireTime(e.CreatedAt),
	}
	if e.Status == automations.EmailQueued {
		w.ScheduledAt = wireTime(e.NextAttemptAt)
	}
	return w
}

// orEmpty is an empty list instead of none.
func orEmpty[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}

// lastEvent puts what is known of a mail into one of the words that Resend's
// clients know.
func lastEvent(e *automations.Email) string {
	if last := e.LastReport(); last != nil {
		return map[automations.ReportKind]string{
			automations.ReportDelayed: "delivery_delayed", automations.ReportBounced: "bounced", automations.ReportComplained: "complained",
		}[last.Kind]
	}
	switch e.Status {
	case automations.EmailSending, automations.EmailUnconfirmed:
		return "queued"
	case automations.EmailCaptured:
		return "sent"
	case automations.EmailCancelled:
		return "canceled"
	}
	return string(e.Status)
}

// wireEmailDetail is a mail by itself.
type wireEmailDetail struct {
	wireEmail
	HTML    *string     `json:"html"`
	Text    *string     `json:"text"`
	Headers []string    `json:"headers"` // as they left; empty before the first attempt
	Links   []mail.Link `json:"links"`
}

// listEmails lists mail, filtered by status, to, q, run_id and automation_id.
func (s *Server) listEmails(r *request) (answer, error) {
	keep, err := emailFilter(r)
	if err != nil {
		return answer{}, err
	}
	return respondList(r, func(tx *storage.Tx, page storage.Page) ([]*automations.Email, storage.Rest, error) {
		return tx.Emails(page, keep)
	}, renderEmail)
}

func emailFilter(r *request) (func(*automations.Email) bool, error) {
	var p automations.Problems
	query := r.URL.Query()
	status := automations.EmailStatus(query.Get("status"))
	oneOf(&p, "status", status, automations.EmailStatuses())
	to, subject := strings.ToLower(strings.TrimSpace(query.Get("to"))), strings.ToLower(query.Get("q"))
	run, workflow := r.queryID(&p, "run_id"), r.queryID(&p, "automation_id")
	return func(e *automations.Email) bool {
		return (status == "" || e.Status == status) &&
			(run == automations.ID{} || e.Run.RunID == run) &&
			(workflow == automations.ID{} || e.Run.WorkflowID == workflow) &&
			(subject == "" || strings.Contains(strings.ToLower(e.Subject), subject)) &&
			(to == "" || e.Names(to))
	}, p.Err()
}

func (s *Server) getEmail(r *request) (answer, error) {
	id, err := r.pathID("id", "email")
	if err != nil {
		return answer{}, err
	}
	return respondOne(r, func(tx *storage.Tx) (wireEmailDetail, error) {
		row, err := tx.Email(id)
		if err != nil {
			return wireEmailDetail{}, orNotFound(err, "email", id.String())
		}
		detail, _, err := emailDetail(tx, row.Email)
		return detail, err
	}, func(d wireEmailDetail) wireEmailDetail { return d })
}

// emailDetail reads a mail's content; the content is empty once it was erased.
func emailDetail(tx *storage.Tx, e *automations.Email) (wireEmailDetail, *automations.EmailContent, error) {
	detail := wireEmailDetail{wireEmail: renderEmail(e), Headers: []string{}, Links: []mail.Link{}}
	content, err := tx.EmailContent(e.ID)
	if errors.Is(err, storage.ErrNotFound) {
		return detail, &automations.EmailContent{}, nil
	}
	if err != nil {
		return detail, &automations.EmailContent{}, err
	}
	view, err := mail.ViewOf(content.HTML, content.Text, content.Message)
	detail.HTML, detail.Text, detail.Links = orNull(view.HTML), orNull(view.Text), orEmpty(view.Links())
	if view.Header != nil {
		detail.Headers = view.Header
	}
	return detail, content, err
}

// getEmailSource answers with the message as it is stored, byte for byte.
func (s *Server) getEmailSource(r *request) (answer, error) {
	id, err := r.pathID("id", "email")
	if err != nil {
		return answer{}, err
	}
	var message []byte
	err = s.db.View(func(tx *storage.Tx) error {
		if _, err := tx.Email(id); err != nil {
			return orNotFound(err, "email", id.String())
		}
		content, err := tx.EmailContent(id)
		if err != nil && !errors.Is(err, storage.ErrNotFound) {
			return err
		}
		if err != nil || content.Message == nil {
			return automations.Errorf(automations.KindNotFound, "email_source_not_found", "the mail has no source: it is composed when it first leaves, and erased with its contact")
		}
		message = content.Message
		return nil
	})
	return answer{status: http.StatusOK, raw: message, header: map[string]string{"Content-Type": "message/rfc822"}}, err
}

// resendEmail sends an unconfirmed or failed mail again.
func (s *Server) resendEmail(r *request) (answer, error) { return decideEmail(r, s.engine.ResendEmail) }

// releaseEmail sends a captured mail.
func (s *Server) releaseEmail(r *request) (answer, error) {
	return decideEmail(r, s.engine.ReleaseEmail)
}

// confirmEmail settles an unconfirmed mail as sent.
func (s *Server) confirmEmail(r *request) (answer, error) {
	return decideEmail(r, s.engine.ConfirmEmail)
}

func decideEmail(r *request, do func(automations.ID, ...engine.Note) (*automations.Email, error)) (answer, error) {
	id, err := r.pathID("id", "email")
	if err != nil {
		return answer{}, err
	}
	changed, err := do(id, r.note)
	return changedEmail(id, changed, err)
}

// updateEmail moves a mail that is still to leave to another time.
func (s *Server) updateEmail(r *request) (answer, error) {
	id, err := r.pathID("id", "email")
	if err != nil {
		return answer{}, err
	}
	f, err := r.fields()
	if err != nil {
		return answer{}, err
	}
	var p automations.Problems
	f.Unknown(&p, "id", "scheduled_at", "scheduledAt")
	at := readSchedule(f, &p, r.now)
	if at.IsZero() && p.Err() == nil { // also "", which elsewhere means at once
		p.Missing("", "scheduled_at")
	}
	if err := p.Err(); err != nil {
		return answer{}, err
	}
	changed, err := s.engine.RescheduleEmail(id, at, r.note)
	return changedEmail(id, changed, err)
}

// cancelEmail takes back a mail that is still to leave.
func (s *Server) cancelEmail(r *request) (answer, error) {
	return decideEmail(r, s.engine.CancelEmail)
}

func changedEmail(id automations.ID, e *automations.Email, err error) (answer, error) {
	if err != nil {
		return answer{}, orNotFound(err, "email", id.String())
	}
	return ok(renderEmail(e))
}
