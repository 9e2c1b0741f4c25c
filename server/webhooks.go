package server

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/google/uuid"

	"github.com/opensend/opensend/automations"
	"github.com/opensend/opensend/storage"
)

// wireWebhook is a webhook. Lists leave out its secret.
type wireWebhook struct {
	Object         string                    `json:"object"`
	ID             automations.ID            `json:"id"`
	Endpoint       string                    `json:"endpoint"`
	Events         []automations.NoticeType  `json:"events"`
	Status         automations.WebhookStatus `json:"status"`
	DisabledReason *string                   `json:"disabled_reason"`
	FailingSince   wireTime                  `json:"failing_since"`
	SigningSecret  string                    `json:"signing_secret,omitempty"`
	CreatedAt      wireTime                  `json:"created_at"`
	UpdatedAt      wireTime                  `json:"updated_at"`
}

func renderWebhookListed(w *automations.Webhook) wireWebhook {
	return wireWebhook{
		Object: "webhook", ID: w.ID, Endpoint: w.Endpoint, Events: w.Events, Status: w.Status, DisabledReason: orNull(w.DisabledReason),
		FailingSince: wireTime(w.FailingSince), CreatedAt: wireTime(w.CreatedAt), UpdatedAt: wireTime(w.UpdatedAt),
	}
}

func renderWebhook(w *automations.Webhook) wireWebhook {
	wire := renderWebhookListed(w)
	wire.SigningSecret = "whsec_" + base64.StdEncoding.EncodeToString(w.Secret)
	return wire
}

// readWebhook reads the fields that were sent into w.
func (s *Server) readWebhook(f automations.Fields, p *automations.Problems, w *automations.Webhook) {
	if f.Has("endpoint") {
		w.Endpoint = f.String(p, "endpoint")
		p.Include("endpoint", s.engine.CheckEndpoint(w.Endpoint))
	}
	if f.Has("events") {
		w.Events = readNoticeTypes(f, p)
	}
	switch readWord(f, p, automations.WebhookStatuses(), "status") {
	case automations.WebhookEnabled:
		w.Enable()
	case automations.WebhookDisabled:
		w.Status = automations.WebhookDisabled
	}
}

func readNoticeTypes(f automations.Fields, p *automations.Problems) (kinds []automations.NoticeType) {
	known := automations.NoticeTypes()
	for i, text := range f.Strings(p, "events") {
		kind := automations.NoticeType(text)
		switch {
		case !slices.Contains(known, kind):
			p.Add("", fmt.Sprintf("events[%d]", i), "%.60q is not something this server tells; it tells %s", text, joinWords(known))
		case !slices.Contains(kinds, kind):
			kinds = append(kinds, kind)
		}
	}
	if len(kinds) == 0 && p.Err() == nil {
		p.Add("", "events", "events must name at least one of %s", joinWords(known))
	}
	return kinds
}

func joinWords(kinds []automations.NoticeType) string {
	words := make([]string, len(kinds))
	for i, kind := range kinds {
		words[i] = string(kind)
	}
	return strings.Join(words, ", ")
}

func (s *Server) createWebhook(r *request) (answer, error) {
	f, err := r.fields()
	if err != nil {
		return answer{}, err
	}
	var p automations.Problems
	f.Unknown(&p, "endpoint", "events", "status")
	for _, name := range []string{"endpoint", "events"} {
		if !f.Has(name) {
			p.Missing("", name)
		}
	}
	w := &automations.Webhook{ID: uuid.Must(uuid.NewV7()), Status: automations.WebhookEnabled, CreatedAt: r.now, UpdatedAt: r.now}
	s.readWebhook(f, &p, w)
	if err := p.Err(); err != nil {
		return answer{}, err
	}
	if err := s.engine.CreateWebhook(w, r.note); err != nil {
		return answer{}, err
	}
	return created(renderWebhook(w))
}

func (s *Server) listWebhooks(r *request) (answer, error) {
	return respondList(r, (*storage.Tx).Webhooks, renderWebhookListed)
}

func (s *Server) getWebhook(r *request) (answer, error) {
	id, err := r.pathID("id", "webhook")
	if err != nil {
		return answer{}, err
	}
	return respondOne(r, func(tx *storage.Tx) (*automations.Webhook, error) { return webhookByID(tx, id) }, renderWebhook)
}

func webhookByID(tx *storage.Tx, id automations.ID) (*automations.Webhook, error) {
	w, err := tx.Webhook(id)
	return w, orNotFound(err, "webhook", id.String())
}

func (s *Server) updateWebhook(r *request) (answer, error) {
	id, err := r.pathID("id", "webhook")
	if err != nil {
		return answer{}, err
	}
	f, err := r.fields()
	if err != nil {
		return answer{}, err
	}
	var w *automations.Webhook
	err = r.update(func(tx *storage.Tx) (err error) {
		if w, err = webhookByID(tx, id); err != nil {
			return err
		}
		var p automations.Problems
		f.Unknown(&p, "id", "endpoint", "events", "status")
		if f.Raw("endpoint", "events", "status") == nil {
			p.Add("", "", "nothing to change: send at least one of endpoint, events and status")
		}
		s.readWebhook(f, &p, w)
		if err := p.Err(); err != nil {
			return err
		}
		w.UpdatedAt = r.now
		return tx.SaveWebhook(w)
	})
	if err != nil {
		return answer{}, err
	}
	return ok(renderWebhook(w))
}

func (s *Server) deleteWebhook(r *request) (answer, error) {
	id, err := r.pathID("id", "webhook")
	if err == nil {
		err = orNotFound(s.engine.DeleteWebhook(id, r.note), "webhook", id.String())
	}
	if err != nil {
		return answer{}, err
	}
	return ok(deleted{"webhook", id, true})
}

func (s *Server) rotateWebhook(r *request) (answer, error) {
	id, err := r.pathID("id", "webhook")
	if err != nil {
		return answer{}, err
	}
	w, err := s.engine.RotateWebhook(id, r.note)
	if err != nil {
		return answer{}, orNotFound(err, "webhook", id.String())
	}
	return ok(renderWebhook(w))
}

func (s *Server) testWebhook(r *request) (answer, error) {
	id, err := r.pathID("id", "webhook")
	if err != nil {
		return answer{}, err
	}
	d, err := s.engine.TestWebhook(id, r.note)
	if err != nil {
		return answer{}, orNotFound(err, "webhook", id.String())
	}
	return ok(renderWebhookDelivery(d))
}

// wireWebhookDelivery is a delivery to a webhook, by Resend's name for it, with
// what its last attempt brought. Lists leave out its payload.
type wireWebhookDelivery struct {
	Object        string                 `json:"object"`
	ID            automations.ID         `json:"id"`
	WebhookID     automations.ID         `json:"webhook_id"`
	Type          automations.NoticeType `json:"type"`
	Status        string                 `json:"status"`
	Attempts      int                    `json:"attempts"` // since it was made or last replayed
	ResponseCode  *int                   `json:"response_code"`
	Response      *string                `json:"response"`
	Error         *string                `json:"error"`
	LastAttemptAt wireTime               `json:"last_attempt_at"`
	NextAttemptAt wireTime               `json:"next_attempt_at"`
	CreatedAt     wireTime               `json:"created_at"`
	Payload       json.RawMessage        `json:"payload,omitempty"`
}

// attempting is the status of a delivery that has failed and is tried again.
const attempting = "attempting"

// webhookDeliveryStatuses are the statuses clients see.
func webhookDeliveryStatuses() []string {
	return []string{string(automations.NoticePending), attempting, string(automations.NoticeDelivered), string(automations.NoticeFailed)}
}

func webhookDeliveryStatus(d *automations.WebhookDelivery) string {
	if d.Status == automations.NoticePending && d.Tries > 0 {
		return attempting
	}
	return string(d.Status)
}

func renderWebhookDeliveryListed(d *automations.WebhookDelivery) wireWebhookDelivery {
	wire := wireWebhookDelivery{
		Object: "webhook_event", ID: d.ID, WebhookID: d.WebhookID, Type: d.Type, Status: webhookDeliveryStatus(d), Attempts: d.Tries,
		Error: orNull(d.Reason), NextAttemptAt: wireTime(d.NextAttemptAt), CreatedAt: wireTime(d.CreatedAt),
	}
	if n := len(d.Attempts); n > 0 {
		last := d.Attempts[n-1]
		wire.LastAttemptAt, wire.Response = wireTime(last.SentAt), orNull(last.Response)
		if last.Code != 0 {
			wire.ResponseCode = &last.Code
		}
		if wire.Error == nil {
			wire.Error = orNull(last.Error)
		}
	}
	return wire
}

func renderWebhookDelivery(d *automations.WebhookDelivery) wireWebhookDelivery {
	wire := renderWebhookDeliveryListed(d)
	wire.Payload = d.Body
	return wire
}

func (s *Server) listWebhookDeliveries(r *request) (answer, error) {
	id, err := r.pathID("id", "webhook")
	if err != nil {
		return answer{}, err
	}
	var p automations.Problems
	status := r.URL.Query().Get("status")
	oneOf(&p, "status", status, webhookDeliveryStatuses())
	if err := p.Err(); err != nil {
		return answer{}, err
	}
	return respondList(r, func(tx *storage.Tx, page storage.Page) ([]*automations.WebhookDelivery, storage.Rest, error) {
		if _, err := webhookByID(tx, id); err != nil {
			return nil, storage.Rest{}, err
		}
		return tx.WebhookDeliveries(id, page, func(d *automations.WebhookDelivery) bool {
			return status == "" || webhookDeliveryStatus(d) == status
		})
	}, renderWebhookDeliveryListed)
}

// pathDelivery reads which delivery of which webhook the path names.
func (r *request) pathDelivery() (webhook, id automations.ID, err error) {
	if webhook, err = r.pathID("id", "webhook"); err == nil {
		id, err = r.pathID("delivery", "webhook_delivery")
	}
	return webhook, id, err
}

func (r *request) webhookDelivery(tx *storage.Tx) (*automations.WebhookDelivery, error) {
	webhook, id, err := r.pathDelivery()
	if err != nil {
		return nil, err
	}
	if _, err := webhookByID(tx, webhook); err != nil {
		return nil, err
	}
	row, err := tx.WebhookDelivery(webhook, id)
	if err != nil {
		return nil, orNotFound(err, "webhook_delivery", id.String())
	}
	return row.WebhookDelivery, nil
}

func (s *Server) getWebhookDelivery(r *request) (answer, error) {
	return respondOne(r, r.webhookDelivery, renderWebhookDelivery)
}

func (s *Server) replayWebhookDelivery(r *request) (answer, error) {
	webhook, id, err := r.pathDelivery()
	if err != nil {
		return answer{}, err
	}
	d, err := s.engine.ReplayNotice(webhook, id, r.note)
	if err != nil {
		return answer{}, orNotFound(err, "webhook_delivery", id.String())
	}
	return ok(renderWebhookDelivery(d))
}

// wireWebhookAttempt is one request to a webhook.
type wireWebhookAttempt struct {
	ID       automations.ID `json:"id"`
	Code     int            `json:"http_status_code"` // 0 when there was no answer
	Response string         `json:"response"`
	Error    *string        `json:"error"`
	SentAt   wireTime       `json:"sent_at"`
}

// listWebhookAttempts answers with the kept attempts of a delivery, newest
// first.
func (s *Server) listWebhookAttempts(r *request) (answer, error) {
	return respondList(r, func(tx *storage.Tx, page storage.Page) ([]automations.WebhookAttempt, storage.Rest, error) {
		d, err := r.webhookDelivery(tx)
		if err != nil {
			return nil, storage.Rest{}, err
		}
		attempts := slices.Clone(d.Attempts)
		slices.Reverse(attempts)
		rows, more := pageOf(attempts, page, func(a automations.WebhookAttempt) automations.ID { return a.ID })
		return rows, storage.Rest{More: more}, nil
	}, func(a automations.WebhookAttempt) wireWebhookAttempt {
		return wireWebhookAttempt{a.ID, a.Code, a.Response, orNull(a.Error), wireTime(a.SentAt)}
	})
}

// pageOf is a page of rows that are in memory, newest first.
func pageOf[T any](rows []T, page storage.Page, id func(T) automations.ID) (part []T, more bool) {
	older := func(a, b automations.ID) bool { return slices.Compare(a[:], b[:]) < 0 }
	rows = slices.DeleteFunc(rows, func(row T) bool {
		return page.After != automations.ID{} && !older(id(row), page.After) || page.Before != automations.ID{} && !older(page.Before, id(row))
	})
	if len(rows) <= page.Limit {
		return rows, false
	}
	if page.Before != (automations.ID{}) {
		return rows[len(rows)-page.Limit:], true
	}
	return rows[:page.Limit], true
}
