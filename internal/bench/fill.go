package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/google/uuid"

	"github.com/opensend/opensend/automations"
	"github.com/opensend/opensend/storage"
)

// fillBatch is how many rows are filled in with one transaction.
const fillBatch = 2000

// filler puts contacts with an event and a waiting run each into a data file
// that no server has open.
type filler struct {
	workflow *automations.Workflow
	flow     *automations.Flow
	now      time.Time
}

// fill adds n contacts, from number first on, whose runs of the automation fall
// due when due says.
func (s *server) fill(automation string, first, n int, due func(i int) time.Time) (err error) {
	db, err := storage.Open(s.data())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	f := &filler{now: time.Now().UTC().Truncate(time.Millisecond)}
	if err := db.View(func(tx *storage.Tx) error { return f.load(tx, automation) }); err != nil {
		return err
	}
	for i := first; i < first+n; i += fillBatch {
		err := db.Update(func(tx *storage.Tx) error {
			for j := i; j < min(i+fillBatch, first+n); j++ {
				if err := f.add(tx, j, due(j)); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func (f *filler) load(tx *storage.Tx, automation string) error {
	id, ok := automations.ParseID(automation)
	if !ok {
		return fmt.Errorf("%q is no id", automation)
	}
	w, err := tx.Workflow(id)
	if err != nil {
		return err
	}
	revision, err := tx.Revision(w.ID, w.Revision)
	if err != nil {
		return err
	}
	f.workflow = w
	f.flow, err = automations.Compile(revision.Definition)
	return err
}

func (f *filler) add(tx *storage.Tx, i int, due time.Time) error {
	c := &automations.Contact{ID: uuid.Must(uuid.NewV7()), Email: "c" + strconv.Itoa(i) + "@example.com", CreatedAt: f.now, UpdatedAt: f.now}
	d := &automations.Delivery{
		ID: uuid.Must(uuid.NewV7()), Event: f.workflow.Trigger, ContactID: c.ID, Email: c.Email,
		Payload: json.RawMessage(`{"plan":"pro","n":` + strconv.Itoa(i) + `}`), ReceivedAt: f.now,
	}
	run := automations.NewRun(uuid.Must(uuid.NewV7()), f.workflow, f.flow, d, f.now)
	automations.Advance(f.flow, run, &automations.World{Now: f.now, Trigger: d, Contact: c})
	run.WakeAt, run.Steps[run.CurrentStep].ScheduledFor = due, due
	d.Verdicts = []automations.Verdict{{Reason: automations.Started, WorkflowID: run.WorkflowID, RunID: run.ID}}
	return errors.Join(tx.CreateContact(c), tx.AddDelivery(d), tx.InsertRun(run))
}

// filled is a stopped server whose file has n contacts with waiting runs.
func (b *bench) filled(n int) (s *server, automation string, err error) {
	if s, err = b.newServer(); err != nil {
		return nil, "", err
	}
	if err := s.start(); err != nil {
		return nil, "", err
	}
	automation, err = s.automation("bench", "30 days")
	if err := errors.Join(err, s.stop()); err != nil {
		return nil, "", err
	}
	s.contacts = int64(n)
	later := time.Now().Add(30 * 24 * time.Hour)
	return s, automation, s.fill(automation, 0, n, func(i int) time.Time { return later.Add(time.Duration(i) * time.Millisecond) })
}
