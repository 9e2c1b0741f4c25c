package automations

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
	"time"
)

// NoticeType names something that webhooks are told about: in Resend's words
// where theirs exist.
type NoticeType string

// The types of notices.
const (
	EmailScheduledNotice      NoticeType = "email.scheduled" // asked to leave later
	EmailSentNotice           NoticeType = "email.sent"      // the mail server took it
	EmailFailedNotice         NoticeType = "email.failed"
	EmailSuppressedNotice     NoticeType = "email.suppressed"
	EmailBouncedNotice        NoticeType = "email.bounced"          // a server has turned it down for an address, at once or later
	EmailDelayedNotice        NoticeType = "email.delivery_delayed" // a server further on has not taken it so far
	EmailComplainedNotice     NoticeType = "email.complained"
	EmailUnconfirmedNotice    NoticeType = "email.unconfirmed"
	EmailCapturedNotice       NoticeType = "email.captured"
	RunStartedNotice          NoticeType = "run.started"
	RunCompletedNotice        NoticeType = "run.completed"
	RunFailedNotice           NoticeType = "run.failed"
	RunCancelledNotice        NoticeType = "run.cancelled"
	ContactCreatedNotice      NoticeType = "contact.created"
	ContactUpdatedNotice      NoticeType = "contact.updated"
	ContactUnsubscribedNotice NoticeType = "contact.unsubscribed" // from all mail; in addition to contact.updated
	ContactDeletedNotice      NoticeType = "contact.deleted"
	EventReceivedNotice       NoticeType = "event.received"

	// WebhookTestNotice is sent when somebody asks for it and to nobody else.
	WebhookTestNotice NoticeType = "webhook.test"

	// These go to the webhook of the configuration and to no other.
	AlertBeganNotice NoticeType = "alert.began"
	AlertEndedNotice NoticeType = "alert.ended"
)

// NoticeTypes lists every NoticeType that a webhook can ask for.
func NoticeTypes() []NoticeType {
	return []NoticeType{
		EmailScheduledNotice, EmailSentNotice, EmailFailedNotice, EmailSuppressedNotice, EmailBouncedNotice, EmailDelayedNotice, EmailComplainedNotice,
		EmailUnconfirmedNotice, EmailCapturedNotice, RunStartedNotice, RunCompletedNotice, RunFailedNotice, RunCancelledNotice,
		ContactCreatedNotice, ContactUpdatedNotice, ContactUnsubscribedNotice, ContactDeletedNotice, EventReceivedNotice,
	}
}

// EmailNoticeType is what a mail's reaching a status is called; empty when
// nobody is told of it.
func EmailNoticeType(s EmailStatus) NoticeType {
	switch s {
	case EmailSent:
		return EmailSentNotice
	case EmailFailed:
		return EmailFailedNotice
	case EmailSuppressed:
		return EmailSuppressedNotice
	case EmailUnconfirmed:
		return EmailUnconfirmedNotice
	case EmailCaptured:
		return EmailCapturedNotice
	}
	return ""
}

// ReportNoticeType is what a report on a mail is called.
func ReportNoticeType(k ReportKind) NoticeType {
	switch k {
	case ReportDelayed:
		return EmailDelayedNotice
	case ReportComplained:
		return EmailComplainedNotice
	}
	return EmailBouncedNotice
}

// RunNoticeType is what a run's reaching a status is called; empty when nobody
// is told of it.
func RunNoticeType(s RunStatus) NoticeType {
	switch s {
	case RunCompleted, RunSkipped:
		return RunCompletedNotice
	case RunFailed:
		return RunFailedNotice
	case RunCancelled:
		return RunCancelledNotice
	}
	return ""
}

// Notice is the body of a webhook request: as Standard Webhooks has it, and
// with the time once more under the name that Resend's receivers read.
type Notice struct {
	Type      NoticeType `json:"type"`
	Timestamp string     `json:"timestamp"`
	CreatedAt string     `json:"created_at"`
	Data      any        `json:"data"`
}

// NewNotice makes a notice of what one of the functions below returns.
func NewNotice(kind NoticeType, at time.Time, data any) Notice {
	return Notice{kind, noticeTime(at), noticeTime(at), data}
}

func noticeTime(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z") }

// noticeTimeOr is null for the zero time.
func noticeTimeOr(t time.Time) any {
	if t.IsZero() {
		return nil
	}
	return noticeTime(t)
}

// EmailNotice is what is told of a mail.
func EmailNotice(kind NoticeType, e *Email) map[string]any {
	tags := map[string]string{}
	for _, tag := range e.Tags {
		tags[tag.Name] = tag.Value
	}
	data := map[string]any{
		"email_id": e.ID, "created_at": noticeTime(e.CreatedAt), "message_id": e.MessageID, "from": e.From, "to": orEmpty(e.To), "cc": orEmpty(e.CC), "bcc": orEmpty(e.BCC),
		"subject": e.Subject, "tags": tags, "status": e.Status,
	}
	for name, id := range map[string]ID{
		"template_id": e.TemplateID, "topic_id": e.TopicID, "contact_id": e.ContactID, "automation_id": e.Run.WorkflowID, "run_id": e.Run.RunID,
	} {
		if id != (ID{}) {
			data[name] = id
		}
	}
	if e.StepKey != "" {
		data["step_key"] = e.StepKey
	}
	markTest(data, e.Test)
	switch kind {
	case EmailScheduledNotice:
		data["scheduled_at"] = noticeTime(e.ScheduledAt)
	case EmailFailedNotice, EmailUnconfirmedNotice:
		data["failed"] = map[string]string{"reason": e.LastError}
	case EmailSuppressedNotice:
		data["suppressed"] = map[string]string{"type": "Suppressed", "message": e.LastError}
	}
	return data
}

// AddressNotice is what is told of one address that a mail bounced from, is
// delayed to, or was complained of by. The mail is nil when none is known.
func AddressNotice(kind NoticeType, address string, e *Email) map[string]any {
	data := map[string]any{}
	if e != nil {
		data = EmailNotice(kind, e)
	}
	data["to"] = []string{address}
	delete(data, "cc")
	delete(data, "bcc")
	if kind == EmailBouncedNotice {
		data["bounce"] = bounceOf(address, e)
	}
	return data
}

// bounceOf is the last bounce reported from an address, or else what the mail
// server said at once.
func bounceOf(address string, e *Email) map[string]string {
	bounce := map[string]string{"type": "Permanent", "subType": "General", "message": ""}
	if e == nil {
		return bounce
	}
	bounce["message"] = e.LastError
	for _, r := range e.Reports {
		if r.Kind != ReportBounced || r.Address != address {
			continue
		}
		bounce["message"], bounce["type"] = r.Text, "Permanent"
		if !r.NoSuchAddress && !strings.HasPrefix(r.Status, "5") {
			bounce["type"] = "Transient"
		}
	}
	return bounce
}

// RunNotice is what is told of a run.
func RunNotice(r *Run) map[string]any {
	data := map[string]any{
		"id": r.ID, "automation_id": r.WorkflowID, "revision": r.Revision, "status": r.Status, "contact_id": r.ContactID, "trigger_event_id": r.TriggerEventID,
		"created_at": noticeTime(r.CreatedAt), "completed_at": noticeTimeOr(r.CompletedAt),
	}
	if r.FailedStep != "" {
		data["failed_step_key"] = r.FailedStep
	}
	if r.FailureReason != "" {
		data["failure_reason"] = r.FailureReason
	}
	markTest(data, r.Test)
	return data
}

// ContactNotice is what is told of a contact.
func ContactNotice(c *Contact) map[string]any {
	return map[string]any{
		"id": c.ID, "email": c.Email, "first_name": orNil(c.FirstName), "last_name": orNil(c.LastName), "unsubscribed": c.Unsubscribed,
		"properties": propertiesOf(c), "segment_ids": orEmpty(c.Segments), "topics": topicsOf(c), "created_at": noticeTime(c.CreatedAt), "updated_at": noticeTime(c.UpdatedAt),
	}
}

// ContactDeletedData is what is told of a deleted contact: nothing that is
// erased with it.
func ContactDeletedData(id ID) map[string]any { return map[string]any{"id": id, "deleted": true} }

// EventNotice is what is told of a stored event.
func EventNotice(d *Delivery) map[string]any {
	data := map[string]any{"id": d.ID, "event": d.Event, "email": d.Email, "payload": d.Payload, "received_at": noticeTime(d.ReceivedAt), "occurred_at": noticeTimeOr(d.OccurredAt)}
	if d.ContactID != (ID{}) {
		data["contact_id"] = d.ContactID
	}
	markTest(data, d.Test)
	return data
}

// markTest marks what came of a test key.
func markTest(data map[string]any, test bool) {
	if test {
		data["test"] = true
	}
}

func orEmpty[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}

func propertiesOf(c *Contact) any {
	if c.Properties == nil {
		return struct{}{}
	}
	return c.Properties
}

// topicChoice is what a contact has chosen of a topic.
type topicChoice struct {
	ID           ID           `json:"id"`
	Subscription Subscription `json:"subscription"`
}

func topicsOf(c *Contact) []topicChoice {
	list := []topicChoice{}
	for id, choice := range c.Topics {
		list = append(list, topicChoice{id, choice})
	}
	slices.SortFunc(list, func(a, b topicChoice) int { return bytes.Compare(a.ID[:], b.ID[:]) })
	return list
}

// impersonal are the members of a notice's data that say nothing about a
// person.
var impersonal = []string{
	"id", "email_id", "automation_id", "run_id", "contact_id", "template_id", "topic_id", "trigger_event_id", "revision", "event", "step_key",
	"status", "deleted", "created_at", "received_at", "completed_at",
}

// EraseNotice removes from the body of a notice everything that may be
// personal, and then says so: "erased" is true.
func EraseNotice(body json.RawMessage) (json.RawMessage, error) {
	var n struct {
		Type      NoticeType                 `json:"type"`
		Timestamp string                     `json:"timestamp"`
		CreatedAt string                     `json:"created_at"`
		Data      map[string]json.RawMessage `json:"data"`
	}
	if err := json.Unmarshal(body, &n); err != nil {
		return nil, err
	}
	erased := false
	for name := range n.Data {
		if !slices.Contains(impersonal, name) {
			delete(n.Data, name)
			erased = true
		}
	}
	if !erased {
		return body, nil
	}
	n.Data["erased"] = json.RawMessage("true")
	return json.Marshal(n)
}
