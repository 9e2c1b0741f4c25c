package automations

import (
	"encoding/json"
	"time"
)

// EmailStatus is where a mail stands.
type EmailStatus string

// The statuses of an Email. Queued and Sending mail is still to be settled,
// Unconfirmed waits for a person, the others are final.
const (
	EmailQueued      EmailStatus = "queued"
	EmailSending     EmailStatus = "sending"
	EmailSent        EmailStatus = "sent"
	EmailFailed      EmailStatus = "failed"
	EmailSuppressed  EmailStatus = "suppressed"  // the contact must not be written to
	EmailUnconfirmed EmailStatus = "unconfirmed" // the server may have taken it: it did not say
	EmailCaptured    EmailStatus = "captured"    // kept in the file; nothing left the machine
)

// EmailStatuses lists every EmailStatus.
func EmailStatuses() []EmailStatus {
	return []EmailStatus{EmailQueued, EmailSending, EmailSent, EmailFailed, EmailSuppressed, EmailUnconfirmed, EmailCaptured}
}

// Email is one mail of a run, without its content.
type Email struct {
	ID            ID          `json:"id"`
	Status        EmailStatus `json:"status"`
	Run           RunRef      `json:"run"`
	StepKey       string      `json:"step_key"`
	Visit         int         `json:"visit"` // of the step: (run, step, visit) has one mail
	ContactID     ID          `json:"contact_id"`
	TemplateID    ID          `json:"template_id,omitzero"`
	From          string      `json:"from"`
	To            string      `json:"to"`
	ReplyTo       []string    `json:"reply_to,omitempty"`
	Subject       string      `json:"subject"`
	MessageID     string      `json:"message_id"` // without angle brackets; the same for every attempt
	Attempts      int         `json:"attempts,omitempty"`
	NextAttemptAt time.Time   `json:"next_attempt_at,omitzero"`
	LastError     string      `json:"last_error,omitempty"` // in the mail server's own words
	LastReply     string      `json:"last_reply,omitempty"` // of the server that took it
	CreatedAt     time.Time   `json:"created_at"`
	SentAt        time.Time   `json:"sent_at,omitzero"`
	UpdatedAt     time.Time   `json:"updated_at"`
}

// EmailContent is the body of an Email: what was rendered until the first
// attempt composes the message, from then on the message alone, so that every
// attempt sends the same bytes.
type EmailContent struct {
	HTML    string `json:"html,omitempty"`
	Text    string `json:"text,omitempty"`
	Message []byte `json:"message,omitempty"` // RFC 5322
}

// Template is stored content for mail. Draft is what an author edits, and
// Published, if any, what runs send.
type Template struct {
	ID          ID               `json:"id"`
	Name        string           `json:"name"`
	Alias       string           `json:"alias,omitempty"` // unique
	Draft       TemplateContent  `json:"draft"`
	Published   *TemplateContent `json:"published,omitempty"`
	PublishedAt time.Time        `json:"published_at,omitzero"`
	Edited      bool             `json:"edited,omitempty"` // Draft has changed since it was published
	CreatedAt   time.Time        `json:"created_at"`
	UpdatedAt   time.Time        `json:"updated_at"`
}

// TemplateContent is one edition of a template.
type TemplateContent struct {
	From      string             `json:"from,omitempty"`
	Subject   string             `json:"subject,omitempty"`
	ReplyTo   []string           `json:"reply_to,omitempty"`
	HTML      string             `json:"html,omitempty"`
	Text      string             `json:"text,omitempty"`
	Variables []TemplateVariable `json:"variables,omitempty"`
	Declared  bool               `json:"declared,omitempty"` // Variables were given, not found in the text
}

// TemplateVariable is one placeholder of a template.
type TemplateVariable struct {
	Key      string          `json:"key"`  // [A-Za-z0-9_]{1,50}
	Type     string          `json:"type"` // string, number, or html for values that are not escaped
	Fallback json.RawMessage `json:"fallback,omitempty"`
}
