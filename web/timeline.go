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
// started or led on, or a mail.
type moment struct {
	At    time.Time
	Event *automations.Delivery
	Runs  []causedRun
	Email *automations.Email
	id    automations.ID
}

// readTimeline reads what happened to a person, newest first, from a cursor on.
// Ids are in order of time, whatever they name, so one cursor serves both lists;
// the page ends where the first of them was cut.
func readTimeline(tx *storage.Tx, person storage.Person, after automations.ID) (moments []moment, older automations.ID, err error) {
	page := storage.Page{Limit: timelineRows, After: after}
	deliveries, eventRest, err := tx.RecentDeliveriesOf(person, page)
	if err != nil {
		return nil, older, err
	}
	emails, mailRest, err := tx.RecentEmailsOf(person, page)
	if err != nil {
		return nil, older, err
	}
	for _, d := range deliveries {
		moments = append(moments, moment{At: d.ReceivedAt, Event: d, id: d.ID})
	}
	for _, e := range emails {
		moments = append(moments, moment{At: e.CreatedAt, Email: e, id: e.ID})
	}
	later := func(a, b automations.ID) int { return bytes.Compare(b[:], a[:]) }
	slices.SortFunc(moments, func(a, b moment) int { return later(a.id, b.id) })
	older = furthest(eventRest, len(deliveries), func(i int) automations.ID { return deliveries[i].ID })
	if end := furthest(mailRest, len(emails), func(i int) automations.ID { return emails[i].ID }); later(end, older) < 0 {
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
		if verdict.Reason != automations.Started && verdict.Reason != automations.Resumed {
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

// countTouched counts what is held about a person, among the newest rows.
func countTouched(tx *storage.Tx, person storage.Person) (t touched, err error) {
	deliveries, more, err := tx.RecentDeliveriesOf(person, storage.Page{Limit: maxTouched})
	if err != nil {
		return t, err
	}
	emails, further, err := tx.RecentEmailsOf(person, storage.Page{Limit: maxTouched})
	if err != nil {
		return t, err
	}
	for _, d := range deliveries {
		for _, verdict := range d.Verdicts {
			if verdict.Reason != automations.Started {
				continue
			}
			if row, err := tx.Run(automations.RunRef{WorkflowID: verdict.WorkflowID, RunID: verdict.RunID}); err == nil && !row.Status.Final() {
				t.InFlight++
			}
		}
	}
	t.Events, t.Emails, t.Bounded = len(deliveries), len(emails), more.More || further.More
	return t, nil
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
