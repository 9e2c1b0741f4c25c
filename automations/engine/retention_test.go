package engine

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/opensend/opensend/automations"
	"github.com/opensend/opensend/automations/mail"
	"github.com/opensend/opensend/storage"
)

const days = 24 * time.Hour

// kept reads whether a record is still there.
func kept(t *testing.T, db *storage.DB, read func(*storage.Tx) error) bool {
	t.Helper()
	err := db.View(read)
	if err != nil && !errors.Is(err, storage.ErrNotFound) {
		t.Fatal(err)
	}
	return err == nil
}

func keptDelivery(t *testing.T, db *storage.DB, id automations.ID) bool {
	return kept(t, db, func(tx *storage.Tx) error { _, err := tx.Delivery(id); return err })
}

func keptRun(t *testing.T, db *storage.DB, r *automations.Run) bool {
	return kept(t, db, func(tx *storage.Tx) error { _, err := tx.Run(r.Ref()); return err })
}

// check holds the file to its invariants once nothing moves.
func check(t *testing.T, db *storage.DB) {
	t.Helper()
	synctest.Wait()
	if err := db.View(func(tx *storage.Tx) error { return tx.Check() }); err != nil {
		t.Error(err)
	}
}

// Records go when their time is over, to the day, and not before; counts
// follow.
func TestRetention(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEngine(t, Config{Retention: storage.Retention{Events: 10 * days, Runs: 20 * days, Mail: 5 * days, FailedMail: 15 * days}})
		w := workflow(t, e.db, sendNow, "", nil)
		e.start(t)
		r := e.mustAccept(t, event("start", "a@example.com"))
		results, _, err := e.SendEmails([]*EmailRequest{{To: []string{"b@example.com"}, Subject: "x", Text: "x", ScheduledAt: now().Add(30 * days)}}, true, nil)
		if err != nil || results[0].Err != nil {
			t.Fatal(err, results)
		}
		scheduled := results[0].Email.ID
		failed, _, err := e.SendEmails([]*EmailRequest{{To: []string{"c@example.com"}, Subject: "x", Text: "x", ScheduledAt: now().Add(time.Hour)}}, true, nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := e.CancelEmail(failed[0].Email.ID); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		sent, _ := emailOf(t, e.db, func(m *automations.Email) bool { return m.Status == automations.EmailCaptured })
		keptMail := func(id automations.ID) bool {
			mail := kept(t, e.db, func(tx *storage.Tx) error { _, err := tx.Email(id); return err })
			if content := kept(t, e.db, func(tx *storage.Tx) error { _, err := tx.EmailContent(id); return err }); content != mail {
				t.Errorf("mail is kept: %v, its content: %v", mail, content)
			}
			return mail
		}
		time.Sleep(12 * time.Hour)
		for day := 0; day < 33; day++ {
			for what, record := range map[string]struct {
				kept bool
				last int
			}{
				"event":          {keptDelivery(t, e.db, r.Delivery.ID), 9},
				"run":            {keptRun(t, e.db, r.Started[0]), 19},
				"captured mail":  {keptMail(sent.ID), 4},
				"cancelled mail": {keptMail(failed[0].Email.ID), 14},
				"scheduled mail": {keptMail(scheduled), 34},
				"the automation": {kept(t, e.db, func(tx *storage.Tx) error { _, err := tx.Revision(w.ID, 1); return err }), 99},
			} {
				if record.kept != (day <= record.last) {
					t.Errorf("after %d days and a half: %s is kept: %v", day, what, record.kept)
				}
			}
			time.Sleep(days)
		}
		e.db.View(func(tx *storage.Tx) error {
			if counts := tx.RunCounts(w.ID); counts[automations.RunCompleted] != 0 {
				t.Errorf("%v runs are counted", counts)
			}
			return nil
		})
		check(t, e.db)
	})
}

// Nothing goes that something still needs, however old it is.
func TestRetentionKeepsWhatIsNeeded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEngine(t, Config{
			Retention: storage.Retention{Events: days, Runs: days, Mail: days, FailedMail: days, Revisions: days},
			Sender: sendFunc(func(_ string, to []string, _ []byte) (mail.Reply, error) {
				if to[0] == "unsure@example.com" {
					return mail.Reply{}, &mail.SendError{Class: mail.Unknown, Text: "gone"}
				}
				return mail.Reply{Code: 250}, nil
			}),
		})
		// The run sleeps 100 days, then takes an event that came on the first.
		sleeper := workflow(t, e.db, `[{"key":"t","type":"trigger","config":{"event_name":"sleep"}},
			{"key":"d","type":"delay","config":{"duration":"100 days"}},
			{"key":"w","type":"wait_for_event","config":{"event_name":"early","timeout":"1 day"}},
			{"key":"m","type":"send_email","config":{"subject":"{{trigger.plan}}","html":"<p>x</p>"}}]`, "", nil)
		mailer := workflow(t, e.db, sendNow, "", nil)
		e.start(t)
		asleep := e.mustAccept(t, event("sleep", "a@example.com"))
		early := e.mustAccept(t, event("early", "a@example.com"))
		unsure := e.mustAccept(t, event("start", "unsure@example.com"))
		unmatched := e.mustAccept(t, event("nothing", "a@example.com"))
		publish(t, e.db, sleeper, 2)
		publish(t, e.db, sleeper, 3)
		publish(t, e.db, mailer, 2)
		time.Sleep(99 * days)
		synctest.Wait()
		if keptDelivery(t, e.db, unmatched.Delivery.ID) {
			t.Error("an event that nothing needs was kept")
		}
		for what, r := range map[string]*Receipt{"the trigger of a sleeping run": asleep, "an early event": early, "the trigger of a run with unconfirmed mail": unsure} {
			if !keptDelivery(t, e.db, r.Delivery.ID) {
				t.Errorf("%s is gone", what)
			}
		}
		for number, want := range map[int]bool{1: true, 2: false, 3: true} {
			if got := kept(t, e.db, func(tx *storage.Tx) error { _, err := tx.Revision(sleeper.ID, number); return err }); got != want {
				t.Errorf("revision %d is kept: %v", number, got)
			}
		}
		if email, _ := emailOf(t, e.db, func(m *automations.Email) bool { return m.Status == automations.EmailUnconfirmed }); email == nil {
			t.Error("the mail that a run waits for is gone")
		}
		check(t, e.db)
		time.Sleep(days + time.Hour)
		synctest.Wait()
		run := runOf(t, e.db, asleep.Started[0])
		if run.Status != automations.RunCompleted || run.Steps["w"].Exit != automations.EdgeEventCame {
			t.Errorf("the sleeper is %s: %s %+v", run.Status, run.FailureReason, run.Steps["w"])
		}
		if _, err := e.CancelRun(unsure.Started[0].Ref(), "enough"); err != nil {
			t.Error(err)
		}
		time.Sleep(3 * days)
		synctest.Wait()
		for _, r := range []*Receipt{asleep, early, unsure} {
			if keptDelivery(t, e.db, r.Delivery.ID) || len(r.Started) > 0 && keptRun(t, e.db, r.Started[0]) {
				t.Errorf("%s is kept for nothing", r.Delivery.Event)
			}
		}
		e.db.View(func(tx *storage.Tx) error {
			if emails, _, err := tx.Emails(storage.Page{Limit: 1}, nil); err != nil || len(emails) > 0 {
				t.Errorf("%d mails are left: %v", len(emails), err)
			}
			for _, old := range []struct {
				of     *automations.Workflow
				number int
			}{{sleeper, 1}, {mailer, 1}} {
				if _, err := tx.Revision(old.of.ID, old.number); !errors.Is(err, storage.ErrNotFound) {
					t.Errorf("revision %d is kept for nothing: %v", old.number, err)
				}
			}
			return nil
		})
		check(t, e.db)
	})
}

// publish gives a workflow a further revision, equal to its first.
func publish(t *testing.T, db *storage.DB, w *automations.Workflow, number int) {
	t.Helper()
	err := db.Update(func(tx *storage.Tx) error {
		first, err := tx.Revision(w.ID, 1)
		if err != nil {
			return err
		}
		w.Revision = number
		next := &automations.Revision{WorkflowID: w.ID, Number: number, Definition: first.Definition, CreatedAt: now()}
		return errors.Join(tx.AddRevision(next), tx.SaveWorkflow(w))
	})
	if err != nil {
		t.Fatal(err)
	}
}

// A clock that is wrong by a year deletes nothing if it is set right within the
// hour. One that stays is believed.
func TestRetentionMistrustsTheClock(t *testing.T) {
	for name, right := range map[string]bool{"set right": true, "left": false} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				e := newEngine(t, Config{Retention: storage.Retention{Events: 10 * days}})
				clock := e.setClock()
				r := e.mustAccept(t, event("start", "a@example.com"))
				e.start(t)
				time.Sleep(days + 40*time.Minute) // a pass comes in 20 minutes
				clock.set(365 * days)
				time.Sleep(50 * time.Minute)
				if right {
					clock.set(-365 * days)
				}
				time.Sleep(days + 2*time.Hour)
				synctest.Wait()
				if kept := keptDelivery(t, e.db, r.Delivery.ID); kept != right {
					t.Errorf("the event is kept: %v", kept)
				}
			})
		})
	}
}

// A pass says when the oldest record that it left falls due.
func TestSweepKnowsWhatIsNext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEngine(t, Config{Retention: storage.Retention{Events: 90 * days}})
		e.mustAccept(t, event("start", "a@example.com"))
		pass, err := e.sweep(context.Background())
		if err != nil || pass.Deleted != 0 || time.Until(pass.Next).Round(days) != 90*days {
			t.Errorf("%+v %v", pass, err)
		}
	})
}

var eventsPerDay = flag.Int("events-per-day", 24, "how busy the 400 days of TestFileStaysFlat are")

// 400 days of a busy server: the file grows until the first records are too
// old, and then no more. The control keeps everything and grows on.
func TestFileStaysFlat(t *testing.T) {
	keep := storage.Retention{Events: 90 * days, Runs: 90 * days, Mail: 30 * days, FailedMail: 90 * days, Revisions: 365 * days}
	flat := fourHundredDays(t, keep)
	if flat[400] > flat[110]+flat[110]/5 {
		t.Errorf("the file grew from %d bytes on day 110 to %d on day 400", flat[110], flat[400])
	}
	if *eventsPerDay > 1000 {
		return
	}
	if grown := fourHundredDays(t, storage.Retention{}); grown[400] < 2*grown[110] {
		t.Errorf("the control does not grow: %d bytes on day 110, %d on day 400", grown[110], grown[400])
	}
}

// fourHundredDays runs a server for 400 days and tells the size of its file
// at the end of some of them.
func fourHundredDays(t *testing.T, keep storage.Retention) map[int]int64 {
	used := map[int]int64{}
	synctest.Test(t, func(t *testing.T) {
		e := newEngine(t, Config{Retention: keep})
		workflow(t, e.db, `[{"key":"t","type":"trigger","config":{"event_name":"start"}},
			{"key":"d","type":"delay","config":{"duration":"3 days"}},
			{"key":"m","type":"send_email","config":{"subject":"Hi","html":"<p>{{event.plan}}</p>"}}]`, "", nil)
		stop := e.start(t)
		const contacts = 500
		n := 0
		for day := 1; day <= 400; day++ {
			for left := *eventsPerDay; left > 0; left -= 500 {
				events := make([]*automations.Event, min(left, 500))
				for i := range events {
					name := "start"
					if n%8 > 0 { // one in eight starts a run
						name = "seen"
					}
					n++
					events[i] = event(name, fmt.Sprintf("c%d@example.com", n%contacts))
				}
				if _, _, err := e.AcceptBatch(events, nil); err != nil {
					t.Fatal(err)
				}
			}
			time.Sleep(days)
			if day%50 == 0 || day == 110 {
				usage, err := e.db.Usage()
				if err != nil {
					t.Fatal(err)
				}
				used[day] = usage.File
				t.Logf("day %d: %d events, the file has %d KiB, %d of them in use", day, n, usage.File>>10, usage.Used()>>10)
			}
		}
		stop()
		check(t, e.db)
	})
	return used
}

// Who is left in a deleted segment, as by a crash, is taken out of it at the next
// start; deleting one while the engine runs leaves nobody in it.
func TestDeleteSegment(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEngine(t, Config{})
		left, deleted := newID(), newID()
		err := e.db.Update(func(tx *storage.Tx) error {
			errs := []error{tx.SaveSegment(&automations.Segment{ID: left}), tx.SaveSegment(&automations.Segment{ID: deleted})}
			for i := range 2*dropMembers + 1 {
				errs = append(errs, tx.CreateContact(&automations.Contact{ID: newID(), Email: fmt.Sprintf("c%d@example.com", i), Segments: []automations.ID{left, deleted}}))
			}
			return errors.Join(errs...)
		})
		if err != nil {
			t.Fatal(err)
		}
		size := func(segment automations.ID, want int) {
			t.Helper()
			e.db.View(func(tx *storage.Tx) error {
				if n := tx.SegmentSize(segment, 1000); n != want {
					t.Errorf("%d members are left, want %d", n, want)
				}
				if err := tx.Check(); err != nil {
					t.Error(err)
				}
				return nil
			})
		}
		if err := e.db.Update(func(tx *storage.Tx) error { return tx.DeleteSegment(left) }); err != nil {
			t.Fatal(err)
		}
		size(left, 2*dropMembers+1)
		e.start(t)
		synctest.Wait()
		size(left, 0)
		size(deleted, 2*dropMembers+1)
		if err := e.DeleteSegment(deleted); err != nil {
			t.Fatal(err)
		}
		size(deleted, 0)
		if err := e.DeleteSegment(deleted); !errors.Is(err, storage.ErrNotFound) {
			t.Errorf("deleting it again: %v", err)
		}
	})
}
