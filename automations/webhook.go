package automations

import (
	"encoding/json"
	"slices"
	"time"
)

// WebhookStatus says whether a webhook is told anything.
type WebhookStatus string

// The statuses of a Webhook.
const (
	WebhookEnabled  WebhookStatus = "enabled"
	WebhookDisabled WebhookStatus = "disabled"
)

// WebhookStatuses lists every WebhookStatus.
func WebhookStatuses() []WebhookStatus { return []WebhookStatus{WebhookEnabled, WebhookDisabled} }

const (
	// OldSecretLife is how long a secret that was replaced signs along.
	OldSecretLife = 24 * time.Hour
	// FailingLife is how long nothing but failures is put up with before a
	// webhook is disabled.
	FailingLife = 5 * 24 * time.Hour
	// RetryNoticesFor is how long one notice is tried.
	RetryNoticesFor = 3 * 24 * time.Hour
)

// Webhook is an address of somebody else's that is told what happens here.
type Webhook struct {
	ID             ID            `json:"id"`
	Endpoint       string        `json:"endpoint"` // an http or https URL
	Events         []NoticeType  `json:"events"`
	Status         WebhookStatus `json:"status"`
	DisabledReason string        `json:"disabled_reason,omitempty"` // set when the program disabled it
	Secret         []byte        `json:"secret"`
	OldSecret      []byte        `json:"old_secret,omitempty"`
	OldSecretUntil time.Time     `json:"old_secret_until,omitzero"`
	FailingSince   time.Time     `json:"failing_since,omitzero"` // the first failure since the last success
	CreatedAt      time.Time     `json:"created_at"`
	UpdatedAt      time.Time     `json:"updated_at"`
}

// Wants reports whether the webhook is to be told of a type.
func (w *Webhook) Wants(kind NoticeType) bool {
	return w.Status == WebhookEnabled && slices.Contains(w.Events, kind)
}

// Secrets are those that sign at now, the present one first.
func (w *Webhook) Secrets(now time.Time) [][]byte {
	if now.Before(w.OldSecretUntil) {
		return [][]byte{w.Secret, w.OldSecret}
	}
	return [][]byte{w.Secret}
}

// Rotate gives the webhook a new secret; the old one signs along for
// OldSecretLife.
func (w *Webhook) Rotate(secret []byte, now time.Time) {
	w.OldSecret, w.OldSecretUntil, w.Secret, w.UpdatedAt = w.Secret, now.Add(OldSecretLife), secret, now
}

// Enable has the webhook told again, with its past forgiven.
func (w *Webhook) Enable() {
	w.Status, w.DisabledReason, w.FailingSince = WebhookEnabled, "", time.Time{}
}

// disable stops the webhook and says why.
func (w *Webhook) disable(reason string, now time.Time) {
	w.Status, w.DisabledReason, w.UpdatedAt = WebhookDisabled, reason, now
}

// NoticeStatus is where a notice to one webhook stands.
type NoticeStatus string

// The statuses of a WebhookDelivery.
const (
	NoticePending   NoticeStatus = "pending"
	NoticeDelivered NoticeStatus = "success"
	NoticeFailed    NoticeStatus = "failed" // given up; it can be replayed
)

// WebhookDelivery is one notice on its way to one webhook, and the log of it
// afterwards. Its ID stays the same over retries and replays.
type WebhookDelivery struct {
	ID            ID               `json:"id"`
	WebhookID     ID               `json:"webhook_id"`
	Type          NoticeType       `json:"type"`
	Status        NoticeStatus     `json:"status"`
	Body          json.RawMessage  `json:"body"`  // as it is sent
	Tries         int              `json:"tries"` // since QueuedAt
	Attempts      []WebhookAttempt `json:"attempts,omitempty"`
	Reason        string           `json:"reason,omitempty"` // why it was given up without an attempt
	QueuedAt      time.Time        `json:"queued_at"`        // when it was made, or last replayed
	NextAttemptAt time.Time        `json:"next_attempt_at,omitzero"`
	CreatedAt     time.Time        `json:"created_at"`
}

// WebhookAttempt is one request to a webhook and what came of it.
type WebhookAttempt struct {
	ID       ID        `json:"id"`
	SentAt   time.Time `json:"sent_at"`
	Code     int       `json:"code,omitempty"`     // of the answer; zero when there was none
	Response string    `json:"response,omitempty"` // its first bytes
	Error    string    `json:"error,omitempty"`    // why it counts as failed
}

const (
	// maxAttemptsKept bounds the log of one delivery.
	maxAttemptsKept = 20
	firstNoticeWait = 5 * time.Second
	lastNoticeWait  = 12 * time.Hour
)

// Queue makes the delivery due at once, with its whole time before it.
func (d *WebhookDelivery) Queue(now time.Time) {
	d.Status, d.Tries, d.Reason, d.QueuedAt, d.NextAttemptAt = NoticePending, 0, "", now, now
}

// Fail ends the delivery.
func (d *WebhookDelivery) Fail(reason string) {
	d.Status, d.Reason, d.NextAttemptAt = NoticeFailed, reason, time.Time{}
}

// Tried records an attempt in the delivery and what it says about the webhook,
// and reports whether the webhook has changed. spread, of 0 to 1, is by how
// much of a quarter the next wait is longer: waits begin with 5 seconds and
// grow fourfold up to 12 hours.
func (d *WebhookDelivery) Tried(w *Webhook, a WebhookAttempt, spread float64, now time.Time) (changed bool) {
	d.Tries++
	d.Attempts = append(d.Attempts, a)
	d.Attempts = d.Attempts[max(len(d.Attempts)-maxAttemptsKept, 0):]
	if a.Error == "" {
		d.Status, d.NextAttemptAt = NoticeDelivered, time.Time{}
		changed = !w.FailingSince.IsZero()
		w.FailingSince = time.Time{}
		return changed
	}
	wait := min(firstNoticeWait<<min(2*(d.Tries-1), 20), lastNoticeWait)
	d.NextAttemptAt = now.Add(wait + time.Duration(spread*float64(wait/4))).Truncate(time.Millisecond)
	if d.NextAttemptAt.Sub(d.QueuedAt) > RetryNoticesFor {
		d.Fail("")
	}
	switch {
	case a.Code == 410:
		d.Fail("")
		w.disable("the endpoint answered 410 Gone", now)
	case w.FailingSince.IsZero():
		w.FailingSince = now
	case now.Sub(w.FailingSince) >= FailingLife:
		w.disable("every delivery has failed for 5 days", now)
	default:
		return false
	}
	return true
}
