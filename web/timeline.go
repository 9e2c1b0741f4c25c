package web

import (
	"bytes"
	"errors"
	"slices"
	"time"

	"github.com/opensend/opensend/automations"
	"github.com/opensend/opensend/storage"
)

// timelineRows is how many events and how many mails a page of a timeline reads
// at most.
const timelineRows = 30

// moment is one entry of a contact's timeline: an event with the runs that it
// started or led on, or that keep it, or a mail.
type moment struct {
	At    time.Time
	Event *automations.Delivery
	Runs  []causedRun
	Email *automations.Email
	id    automations.ID
}

// personRows are the events and mails of a person, newest first.
type personRows struct {
	deliveries          []*automations.Delivery
	emails              []*automations.Email
	eventRest, mailRest storage.Rest
}

func readPerson(tx *storage.Tx, person storage.Person, page storage.Page) (r personRows, err error) {
	if r.deliveries, r.eventRest, err = tx.RecentDeliveriesOf(person, page); err != nil {
		return r, err
	}
	r.emails, r.mailRest, err = tx.RecentEmailsOf(person, page)
	return r, err
}

// timeline puts the first rows into one order, newest first, and says where to go
// on. Ids are in order of time, whatever they name, so one cursor serves both
// lists; the page ends where the first of them was cut.
func (r personRows) timeline(tx *storage.Tx) (moments []moment, older automations.ID, err error) {
	if r.eventRest.More = r.eventRest.More || len(r.deliveries) > timelineRows; len(r.deliveries) > timelineRows {
		r.deliveries, r.eventRest.Cut = r.deliveries[:timelineRows], automations.ID{}
	}
	if r.mailRest.More = r.mailRest.More || len(r.emails) > timelineRows; len(r.emails) > timelineRows {
		r.emails, r.mailRest.Cut = r.emails[:timelineRows], automations.ID{}
	}
	for _, d := range r.deliveries {
		moments = append(moments, moment{At: d.ReceivedAt, Event: d, id: d.ID})
	}
	for _, e := range r.emails {
		moments = append(moments, moment{At: e.CreatedAt, Email: e, id: e.ID})
	}
	later := func(a, b automations.ID) int { return bytes.Compare(b[:], a[:]) }
	slices.SortFunc(moments, func(a, b moment) int { return later(a.id, b.id) })
	older = furthest(r.eventRest, len(r.deliveries), func(i int) automations.ID { return r.deliveries[i].ID })
	if end := furthest(r.mailRest, len(r.emails), func(i int) automations.ID { return r.emails[i].ID }); later(end, older) < 0 {
		older = end
	}
	moments = slices.DeleteFunc(moments, func(m moment) bool { return later(m.id, older) > 0 })
	for i := range moments {
		if err := moments[i].readRuns(tx); err != nil {
			return nil, older, err
		}
	}
	return moments, older, nil
}

// furthest is the last row that a list has looked at; zero when that is its end.
func furthest(rest storage.Rest, rows int, id func(int) automations.ID) (last automations.ID) {
	switch {
	case rest.Cut != automations.ID{}:
		return rest.Cut
	case rest.More && rows > 0:
		return id(rows - 1)
	}
	return last
}

func (m *moment) readRuns(tx *storage.Tx) error {
	if m.Event == nil {
		return nil
	}
	for _, verdict := range m.Event.Verdicts {
		if !slices.Contains([]automations.Reason{automations.Started, automations.Resumed, automations.Kept}, verdict.Reason) {
			continue
		}
		row, err := tx.Run(automations.RunRef{WorkflowID: verdict.WorkflowID, RunID: verdict.RunID})
		if errors.Is(err, storage.ErrNotFound) { // its time to be kept is over
			continue
		}
		if err != nil {
			return err
		}
		m.Runs = append(m.Runs, causedRun{row.Run, workflowName(tx, verdict.WorkflowID), verdict.Reason})
	}
	return nil
}

// touched is how much an erasure touches, as far as was looked.
type touched struct {
	Events, Emails, InFlight int
	Bounded                  bool // there may be more
}

// maxTouched is how many events and mails are counted.
const maxTouched = 1000

// touched counts the rows, and the runs in flight that the events started.
func (r personRows) touched(tx *storage.Tx) *touched {
	t := &touched{Events: len(r.deliveries), Emails: len(r.emails), Bounded: r.eventRest.More || r.mailRest.More}
	for _, d := range r.deliveries {
		for _, verdict := range d.Verdicts {
			if verdict.Reason != automations.Started {
				continue
			}
			if row, err := tx.Run(automations.RunRef{WorkflowID: verdict.WorkflowID, RunID: verdict.RunID}); err == nil && !row.Status.Final() {
				t.InFlight++
			}
		}
	}
	return t
}

// Words are the question before an erasure.
func (t touched) Words() string {
	words := plural(t.Events, "event") + " and " + plural(t.Emails, "mail")
	if t.Bounded {
		words = "more than " + words
	}
	if t.InFlight > 0 {
		words += ", and cancels " + plural(t.InFlight, "run") + " in flight"
	}
	return words
}
