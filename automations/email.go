package automations

import (
	"encoding/json"
	"slices"
	"time"

	"github.com/opensend/opensend/automations/mail"
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
	EmailCancelled   EmailStatus = "cancelled"   // taken back before it was due
)

// EmailStatuses lists every EmailStatus.
func EmailStatuses() []EmailStatus {
	return []EmailStatus{EmailQueued, EmailSending, EmailSent, EmailFailed, EmailSuppressed, EmailUnconfirmed, EmailCaptured, EmailCancelled}
}

// Email is one mail, without its content: of a run, or asked for over the API.
type Email struct {
	ID            ID          `json:"id"`
	Status        EmailStatus `json:"status"`
	Run           RunRef      `json:"run,omitzero"` // zero for mail asked for over the API
	StepKey       string      `json:"step_key,omitempty"`
	Visit         int         `json:"visit,omitempty"` // of the step: (run, step, visit) has one mail
	ContactID     ID          `json:"contact_id,omitzero"`
	TemplateID    ID          `json:"template_id,omitzero"`
	TopicID       ID          `json:"topic_id,omitzero"`  // who has opted out of it gets nothing
	Test          bool        `json:"test,omitempty"`     // asked for with a test key, or by a test run
	Released      bool        `json:"released,omitempty"` // a person wants it sent although it is a test
	Alert         bool        `json:"alert,omitempty"`    // about this program, to its operator
	From          string      `json:"from"`
	To            []string    `json:"to"`
	CC            []string    `json:"cc,omitempty"`
	BCC           []string    `json:"bcc,omitempty"`
	ReplyTo       []string    `json:"reply_to,omitempty"`
	Subject       string      `json:"subject"`
	Tags          []Tag       `json:"tags,omitempty"`
	MessageID     string      `json:"message_id"` // without angle brackets; the same for every attempt
	Attempts      int         `json:"attempts,omitempty"`
	TriedSince    time.Time   `json:"tried_since,omitzero"`  // the first attempt since it was last asked for
	ScheduledAt   time.Time   `json:"scheduled_at,omitzero"` // when it was asked to leave, if later
	NextAttemptAt time.Time   `json:"next_attempt_at,omitzero"`
	Settled       []Settled   `json:"settled,omitempty"`    // recipients whose fate differs from the others'
	LastError     string      `json:"last_error,omitempty"` // in the mail server's own words
	LastReply     string      `json:"last_reply,omitempty"` // of the server that took it
	Reports       []Report    `json:"reports,omitempty"`    // what was told of it since, oldest first
	CreatedAt     time.Time   `json:"created_at"`
	SentAt        time.Time   `json:"sent_at,omitzero"`
	UpdatedAt     time.Time   `json:"updated_at"`
}

// Captures reports whether the mail is to be kept also when other mail is
// sent.
func (e *Email) Captures() bool { return e.Test && !e.Released }

// Settled is what became of one recipient of a mail with several.
type Settled struct {
	Address string      `json:"address"`
	Status  EmailStatus `json:"status"` // sent, failed or suppressed
	Reason  string      `json:"reason,omitempty"`
}

// Recipients are the addresses that are still to get the mail, without names
// and each once.
func (e *Email) Recipients() (open []string) {
	for _, list := range [][]string{e.To, e.CC, e.BCC} {
		for _, text := range list {
			address, err := mail.ParseAddress(text)
			settled := slices.ContainsFunc(e.Settled, func(s Settled) bool { return s.Address == address.Addr })
			if err == nil && !settled && !slices.Contains(open, address.Addr) {
				open = append(open, address.Addr)
			}
		}
	}
	return open
}

// Names reports whether the mail is for the address, given as its identity.
func (e *Email) Names(identity string) bool {
	for _, list := range [][]string{e.To, e.CC, e.BCC} {
		for _, text := range list {
			if address, err := mail.ParseAddress(text); err == nil && address.Addr == identity {
				return true
			}
		}
	}
	return false
}

// Tag is a word that the caller gave a mail, for its own use.
type Tag struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// EmailContent is the body of an Email: what was rendered until the first
// attempt composes the message, from then on the message alone, so that every
// attempt sends the same bytes.
type EmailContent struct {
	HTML        string            `json:"html,omitempty"`
	Text        string            `json:"text,omitempty"`
	Headers     []mail.Header     `json:"headers,omitempty"`
	Attachments []mail.Attachment `json:"attachments,omitempty"`
	Message     []byte            `json:"message,omitempty"` // RFC 5322
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
	Key      string          `json:"key"` // [A-Za-z0-9_]{1,50}
	Type     VariableType    `json:"type"`
	Fallback json.RawMessage `json:"fallback,omitempty"` // for when no value is sent
}

// VariableType is what values a declared variable takes.
type VariableType string

// The types of variables.
const (
	VariableString VariableType = "string" // text, or a number, true or false as text
	VariableNumber VariableType = "number" // a number, or a text that is one
	VariableHTML   VariableType = "html"   // text that is not escaped in HTML
)

// VariableTypes lists every VariableType.
func VariableTypes() []VariableType {
	return []VariableType{VariableString, VariableNumber, VariableHTML}
}
