package server

import (
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/opensend/opensend/automations"
	"github.com/opensend/opensend/automations/engine"
	"github.com/opensend/opensend/storage"
)

const (
	maxEventName = 255
	maxBatch     = 500
	maxAhead     = 5 * time.Minute // how far occurred_at may lie ahead of our clock
)

// sendEvent is OpenSend's Send Custom Event: POST /events/send.
func (s *Server) sendEvent(r *request) (answer, error) {
	f, err := r.fields()
	if err != nil {
		return answer{}, err
	}
	ev, err := readEvent(f, r.now)
	if err != nil {
		return answer{}, err
	}
	return s.accept(r, "send", openSendDoor, ev, func(receipt *engine.Receipt) (int, any) {
		return http.StatusAccepted, renderReceipt(r, receipt)
	})
}

// readEvent reads an event as OpenSend's page describes it.
func readEvent(f automations.Fields, now time.Time) (*automations.Event, error) {
	var p automations.Problems
	ev := &automations.Event{Name: f.String(&p, "event"), Payload: f.Object(&p, "payload")}
	if ev.Payload == nil {
		ev.Payload = json.RawMessage("{}")
	}
	if !f.Has("event") {
		p.Missing("", "event")
	} else {
		p.Include("event", automations.CheckEventName(ev.Name, maxEventName))
	}
	if f.Has("properties") {
		p.Add("", "properties", "properties is not accepted, use payload")
	}
	f.Unknown(&p, "event", "contact_id", "contactId", "email", "payload", "occurred_at", "properties")
	readWho(f, &p, ev)
	if text := f.String(&p, "occurred_at"); text != "" {
		at, err := time.Parse(time.RFC3339, text)
		switch {
		case err != nil:
			p.Add("", "occurred_at", "occurred_at must be a time such as 2026-01-31T12:00:00Z")
		case at.After(now.Add(maxAhead)):
			p.Add("", "occurred_at", "occurred_at lies more than 5 minutes ahead; check the sender's clock")
		}
		ev.OccurredAt = at.UTC().Truncate(time.Millisecond)
	}
	return ev, p.Err()
}

// readWho reads whom an event is about: exactly one of id and address.
func readWho(f automations.Fields, p *automations.Problems, ev *automations.Event) {
	id, camel := f.String(p, "contact_id"), f.String(p, "contactId")
	if id != "" && camel != "" && !strings.EqualFold(id, camel) {
		p.Add("", "contactId", "contact_id and contactId differ; send one of them")
		return
	}
	if id == "" {
		id = camel
	}
	email := f.String(p, "email")
	switch {
	case id != "" && email != "":
		p.Add("", "email", "send either contact_id or email, not both")
	case id != "":
		var ok bool
		if ev.ContactID, ok = automations.ParseID(id); !ok {
			p.Add("", "contact_id", "contact_id must be a UUID")
		}
	case f.Has("email"):
		var err error
		if ev.Email, err = automations.NormalizeEmail(email); err != nil {
			p.Include("email", err)
		}
	case !f.Has("contact_id") && !f.Has("contactId"):
		p.Missing("", "email")
	default:
		p.Add("", "contact_id", "contact_id must be a UUID")
	}
}

// sendEvents is POST /events/send/batch: events in one durable commit, with an
// answer or an error for each, in order.
func (s *Server) sendEvents(r *request) (answer, error) {
	items, err := automations.DecodeArray(r.body)
	if err != nil {
		return answer{}, err
	}
	if len(items) == 0 || len(items) > maxBatch {
		return answer{}, automations.Errorf(automations.KindInvalid, "", "a batch has 1 to %d events; this one has %d", maxBatch, len(items))
	}
	events, refused := make([]*automations.Event, len(items)), make([]error, len(items))
	for i, raw := range items {
		f, err := automations.ObjectFields(raw)
		if err == nil {
			events[i], err = readEvent(f, r.now)
		}
		if err != nil {
			events[i], refused[i] = nil, err
			continue
		}
		events[i].Test = r.test
	}
	render := func(results []engine.BatchResult) (int, any) {
		list := wireList[any]{Object: "list", Data: make([]any, len(results))}
		for i, res := range results {
			if err := errors.Join(refused[i], res.Err); err != nil {
				list.Data[i] = openSendErrors(r, err).body
			} else {
				list.Data[i] = renderReceipt(r, res.Receipt)
			}
		}
		return http.StatusAccepted, list
	}
	return answerOnce(r, "send/batch", render, func(idem *engine.Idempotency[[]engine.BatchResult]) ([]engine.BatchResult, *storage.IdempotentAnswer, error) {
		results, replayed, err := s.engine.AcceptBatch(events, idem)
		for i, res := range results {
			if res.Receipt != nil {
				s.accepted(r, openSendDoor, res.Receipt)
			} else if errors.Join(refused[i], res.Err) != nil {
				s.meter.doors[openSendDoor].refused.Add(1)
			}
		}
		return results, replayed, err
	})
}

// sendMailDiverEvent is MailDiver's Send event: POST /v1/events.
func (s *Server) sendMailDiverEvent(r *request) (answer, error) {
	f, err := r.fields()
	if err != nil {
		return answer{}, err
	}
	ev, err := readMailDiverEvent(f)
	if err != nil {
		return answer{}, err
	}
	return s.accept(r, "v1", mailDiverDoor, ev, renderProcessed)
}

const (
	maxMailDiverName  = 100
	maxMailDiverEmail = 255
)

// readMailDiverEvent reads an event as MailDiver's page describes it, and in
// its words; fields it does not name are ignored.
func readMailDiverEvent(f automations.Fields) (*automations.Event, error) {
	var p automations.Problems
	name := strings.ToLower(strings.TrimSpace(f.String(&p, "event_name")))
	email := strings.TrimSpace(f.String(&p, "email"))
	length := utf8.RuneCountInString(name)
	switch {
	case p.Err() != nil:
	case name == "":
		p.Add("", "event_name", "event_name is required")
	case length > maxMailDiverName:
		p.Add("", "event_name", "event_name is too long: %d. Max length is %d", length, maxMailDiverName)
	default:
		p.Include("event_name", automations.CheckEventName(name, maxMailDiverName))
	}
	if email == "" {
		p.Add("", "email", "email is required")
	} else if n := utf8.RuneCountInString(email); n > maxMailDiverEmail {
		p.Add("", "email", "email is too long: %d. Max length is %d", n, maxMailDiverEmail)
	}
	address, err := automations.NormalizeEmail(email)
	if err != nil {
		p.Add("", "email", "Invalid email format")
	}
	ev := &automations.Event{
		Name: name, Email: address, Payload: f.Object(&p, "properties"),
		Intake: automations.Intake{FoldCase: true, DefaultWindow: automations.DefaultDedupWindow, MustMatch: true},
	}
	if ev.Payload == nil {
		ev.Payload = json.RawMessage("{}")
	}
	return ev, p.Err()
}

// accept hands an event to the engine, once for each Idempotency-Key.
func (s *Server) accept(r *request, name string, at door, ev *automations.Event, render func(*engine.Receipt) (int, any)) (answer, error) {
	ev.Test = r.test
	return answerOnce(r, name, render, func(idem *engine.Idempotency[*engine.Receipt]) (*engine.Receipt, *storage.IdempotentAnswer, error) {
		receipt, replayed, err := s.engine.Accept(ev, idem)
		if receipt != nil {
			s.accepted(r, at, receipt)
		}
		return receipt, replayed, err
	})
}

// accepted counts an event that was stored, and tells a log of every detail by
// which request it came.
func (s *Server) accepted(r *request, at door, receipt *engine.Receipt) {
	d := receipt.Delivery
	s.meter.doors[at].took(d)
	if s.log.Enabled(r.Context(), slog.LevelDebug) {
		s.log.Debug("event accepted", "request_id", r.id, "event", d.ID, "contact", d.ContactID, "runs_started", len(receipt.Started), "runs_resumed", len(receipt.Resumed))
	}
}
