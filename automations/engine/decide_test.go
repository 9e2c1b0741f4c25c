package engine

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/opensend/opensend/automations"
	"github.com/opensend/opensend/automations/mail"
	"github.com/opensend/opensend/storage"
)

// answers is a mail server that gives one answer after the other, then takes
// everything.
type answers struct {
	errs     []error
	messages []string
	to       [][]string
}

func (a *answers) send(_ string, to []string, message []byte) (mail.Reply, error) {
	a.messages, a.to = append(a.messages, string(message)), append(a.to, to)
	if n := len(a.messages); n <= len(a.errs) && a.errs[n-1] != nil {
		return mail.Reply{}, a.errs[n-1]
	}
	return mail.Reply{Code: 250, Text: "ok"}, nil
}

var (
	gone    = &mail.SendError{Class: mail.Unknown, Text: "gone"}
	refused = &mail.SendError{Class: mail.Permanent, Code: 554, Text: "554 no"}
)

// mailThenWait sends a mail and waits for an event after it.
const mailThenWait = `[{"key":"t","type":"trigger","config":{"event_name":"start"}},
	{"key":"m","type":"send_email","config":{"subject":"Hi","html":"<p>{{event.plan}}</p>"}},
	{"key":"w","type":"wait_for_event","config":{"event_name":"paid","timeout":"9 days"}}]`

func mailOf(t *testing.T, e *Engine, run *automations.Run) *automations.Email {
	t.Helper()
	email, _ := emailOf(t, e.db, func(m *automations.Email) bool { return m.Run.RunID == run.ID })
	return email
}

// wantCode fails the test unless err is the conflict of the code.
func wantCode(t *testing.T, err error, code string) {
	t.Helper()
	if refused, ok := errors.AsType[*automations.Error](err); !ok || refused.Code != code || refused.Kind != automations.KindConflict {
		t.Errorf("%v, want %s", err, code)
	}
}

// A person sends an unconfirmed or failed mail again: the same bytes. Its run
// waits for it again, goes on, and still hears the events that it waits for.
func TestResendEmail(t *testing.T) {
	for _, first := range []*mail.SendError{gone, refused} {
		synctest.Test(t, func(t *testing.T) {
			server := &answers{errs: []error{first, first}}
			e := newEngine(t, Config{Sender: sendFunc(server.send)})
			workflow(t, e.db, mailThenWait, "", nil)
			e.start(t)
			run := e.mustAccept(t, event("start", "a@example.com")).Started[0]
			time.Sleep(idle)
			synctest.Wait()
			stopped := runOf(t, e.db, run)
			for range 2 {
				email, err := e.ResendEmail(mailOf(t, e, run).ID)
				if err != nil || email.Status != automations.EmailQueued {
					t.Fatalf("%+v %v", email, err)
				}
				if again := runOf(t, e.db, run); again.Status != automations.RunRunning || again.EmailID != email.ID || again.FailedStep != "" {
					t.Errorf("while its mail is sent again the run is %+v", again)
				}
				time.Sleep(idle)
				synctest.Wait()
				if again := runOf(t, e.db, run); len(server.messages) == 2 && again.Status != stopped.Status {
					t.Errorf("the second attempt left the run %s, the first %s", again.Status, stopped.Status)
				}
			}
			if len(server.messages) != 3 || server.messages[0] != server.messages[1] || server.messages[1] != server.messages[2] {
				t.Errorf("%d messages, or other bytes", len(server.messages))
			}
			if run := runOf(t, e.db, run); run.Status != automations.RunWaiting || run.Steps["m"].Status != automations.StepCompleted || run.Steps["m"].Visit != 1 {
				t.Errorf("the run is %s, its mail %+v", run.Status, run.Steps["m"])
			}
			e.mustAccept(t, event("paid", "a@example.com"))
			time.Sleep(idle)
			synctest.Wait()
			if run := runOf(t, e.db, run); run.Status != automations.RunCompleted || run.Steps["w"].Status != automations.StepCompleted {
				t.Errorf("after the event the run is %s", run.Status)
			}
			_, err := e.ResendEmail(mailOf(t, e, run).ID)
			wantCode(t, err, "email_not_resendable")
		})
	}
}

// A mail in hand while its run is cancelled, or its automation deleted, is not
// tried again. What was captured before that may be released after it.
func TestMailOfACancelledRunIsNotTriedAgain(t *testing.T) {
	for name, end := range map[string]func(*Engine, *automations.Run) error{
		"run cancelled: no more": func(e *Engine, run *automations.Run) error {
			_, err := e.CancelRun(run.Ref(), "no more")
			return err
		},
		"run cancelled: automation_deleted": func(e *Engine, run *automations.Run) error {
			return e.db.Update(func(tx *storage.Tx) error { return tx.DeleteWorkflow(run.WorkflowID) })
		},
	} {
		synctest.Test(t, func(t *testing.T) {
			captures := newEngine(t, Config{})
			workflow(t, captures.db, mailThenWait, "", nil)
			stop := captures.start(t)
			captured := captures.mustAccept(t, event("start", "a@example.com")).Started[0]
			time.Sleep(idle)
			stop()
			sends, later := 0, &mail.SendError{Class: mail.Temporary, Text: "451 later"}
			e := newEngine(t, Config{DB: captures.db, Sender: sendFunc(func(string, []string, []byte) (mail.Reply, error) {
				sends++
				time.Sleep(time.Minute)
				return mail.Reply{}, later
			})})
			e.start(t)
			run := e.mustAccept(t, event("start", "b@example.com")).Started[0]
			time.Sleep(idle)
			if m := mailOf(t, e, run); m.Status != automations.EmailSending {
				t.Fatalf("the mail in hand is %s", m.Status)
			}
			if err := errors.Join(end(e, run), end(e, captured)); err != nil && !errors.Is(err, storage.ErrNotFound) {
				t.Fatal(err)
			}
			time.Sleep(time.Hour)
			if m, r := mailOf(t, e, run), runOf(t, e.db, run); sends != 1 || m.Status != automations.EmailSuppressed || m.LastError != name || r.Status != automations.RunCancelled {
				t.Errorf("%d attempts, the mail is %s (%s), the run %s", sends, m.Status, m.LastError, r.Status)
			}
			if _, err := e.ReleaseEmail(mailOf(t, e, captured).ID); err != nil {
				t.Error(err)
			}
			time.Sleep(time.Hour)
			if m := mailOf(t, e, captured); m.Status != automations.EmailQueued || m.Attempts < 2 {
				t.Errorf("the released mail is %s after %d attempts", m.Status, m.Attempts)
			}
			whole(t, e.db)
		})
	}
}

// A mail whose run has gone on without it is not sent again.
func TestResendEmailOfARunThatWentOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := &answers{errs: []error{refused, gone, refused}}
		e := newEngine(t, Config{Sender: sendFunc(server.send)})
		w := workflow(t, e.db, sendNow, "", nil)
		e.start(t)
		retried := e.mustAccept(t, event("start", "a@example.com")).Started[0]
		time.Sleep(idle)
		synctest.Wait()
		old := mailOf(t, e, retried)
		cancelled := e.mustAccept(t, event("start", "b@example.com")).Started[0]
		time.Sleep(idle)
		synctest.Wait()
		if _, err := e.CancelRun(cancelled.Ref(), "no"); err != nil {
			t.Fatal(err)
		}
		for range 2 { // fails once more, then completes
			if _, err := e.RetryRun(retried.Ref()); err != nil {
				t.Fatal(err)
			}
			time.Sleep(idle)
			synctest.Wait()
			_, err := e.ResendEmail(old.ID)
			wantCode(t, err, "email_run_gone_on")
		}
		_, err := e.ResendEmail(mailOf(t, e, cancelled).ID)
		wantCode(t, err, "email_run_gone_on")
		if err := e.db.Update(func(tx *storage.Tx) error { return tx.DeleteWorkflow(w.ID) }); err != nil {
			t.Fatal(err)
		}
		_, err = e.ResendEmail(mailOf(t, e, cancelled).ID)
		wantCode(t, err, "email_automation_deleted")
		time.Sleep(idle)
		synctest.Wait()
		if len(server.messages) != 4 {
			t.Errorf("%d messages", len(server.messages))
		}
	})
}

// Of a failed mail all are tried again but those who have it, and who must not
// be written to is found out anew.
func TestResendEmailToSeveral(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := &answers{errs: []error{refused}}
		e := newEngine(t, Config{Sender: sendFunc(server.send)})
		e.start(t)
		suppress(t, e, "b@example.com")
		results, _, err := e.SendEmails([]*EmailRequest{{To: []string{"a@example.com", "b@example.com"}, Subject: "x", Text: "x"}}, true, nil)
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(idle)
		synctest.Wait()
		id := results[0].Email.ID
		if _, err := e.ResendEmail(id); err != nil {
			t.Fatal(err)
		}
		time.Sleep(idle)
		synctest.Wait()
		email, _ := emailOf(t, e.db, func(m *automations.Email) bool { return m.ID == id })
		if email.Status != automations.EmailSent || len(server.to) != 2 || !slices.Equal(server.to[1], []string{"a@example.com"}) {
			t.Errorf("%s after sending to %v", email.Status, server.to)
		}
	})
}

// Of an unconfirmed mail to several it is known who has not got it: who confirms
// it does not speak for these, and who sends it again sends it to them as well.
func TestUnconfirmedToSeveral(t *testing.T) {
	for _, confirm := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			var tried [][]string
			e := newEngine(t, Config{Sender: sendFunc(func(_ string, to []string, _ []byte) (mail.Reply, error) {
				if tried = append(tried, to); len(tried) > 1 {
					return mail.Reply{Code: 250}, nil
				}
				later := &mail.SendError{Class: mail.Temporary, Code: 450, Text: "450 later"}
				return mail.Reply{Refused: []mail.Refused{{Address: "b@example.com", Err: later}}}, gone
			})})
			e.start(t)
			results, _, err := e.SendEmails([]*EmailRequest{{To: []string{"a@example.com", "b@example.com"}, Subject: "x", Text: "x"}}, true, nil)
			if err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Hour)
			decide, want := e.ResendEmail, "[]"
			if confirm {
				decide, want = e.ConfirmEmail, "[{b@example.com failed 450 later} {a@example.com sent }]"
			}
			if _, err := decide(results[0].Email.ID); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Hour)
			email, _ := emailOf(t, e.db, func(m *automations.Email) bool { return m.ID == results[0].Email.ID })
			if email.Status != automations.EmailSent || fmt.Sprint(email.Settled) != want || !confirm && len(tried[len(tried)-1]) != 2 {
				t.Errorf("confirmed %v: %s %v, tried %v", confirm, email.Status, email.Settled, tried)
			}
		})
	}
}

// Who was left out when a mail was captured gets it when it is released, if he
// may be written to by then.
func TestReleaseEmailToSeveral(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEngine(t, Config{})
		stop := e.start(t)
		suppress(t, e, "b@example.com")
		results, _, err := e.SendEmails([]*EmailRequest{{To: []string{"a@example.com", "b@example.com"}, Subject: "x", Text: "x"}}, true, nil)
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(idle)
		synctest.Wait()
		stop()
		err = e.db.Update(func(tx *storage.Tx) error {
			s, err := tx.SuppressionOf("b@example.com")
			if err != nil {
				return err
			}
			return tx.Unsuppress(s.ID)
		})
		if err != nil {
			t.Fatal(err)
		}
		server := &answers{}
		e = newEngine(t, Config{DB: e.db, Sender: sendFunc(server.send)})
		e.start(t)
		if _, err := e.ReleaseEmail(results[0].Email.ID); err != nil {
			t.Fatal(err)
		}
		time.Sleep(idle)
		synctest.Wait()
		if len(server.to) != 1 || !slices.Equal(server.to[0], []string{"a@example.com", "b@example.com"}) {
			t.Errorf("released to %v", server.to)
		}
	})
}

func suppress(t *testing.T, e *Engine, address string) {
	t.Helper()
	err := e.db.Update(func(tx *storage.Tx) error {
		_, _, err := tx.Suppress(&automations.Suppression{ID: newID(), Email: address, Origin: automations.OriginManual, CreatedAt: now()})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// A mail that is known to have arrived is settled without being sent.
func TestConfirmEmail(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := &answers{errs: []error{gone}}
		e := newEngine(t, Config{Sender: sendFunc(server.send)})
		workflow(t, e.db, sendNow, "", nil)
		e.start(t)
		run := e.mustAccept(t, event("start", "a@example.com")).Started[0]
		time.Sleep(time.Hour)
		synctest.Wait()
		email, err := e.ConfirmEmail(mailOf(t, e, run).ID)
		if err != nil || email.Status != automations.EmailSent || time.Since(email.SentAt) < 59*time.Minute {
			t.Fatalf("%+v %v", email, err)
		}
		time.Sleep(idle)
		synctest.Wait()
		if run := runOf(t, e.db, run); run.Status != automations.RunCompleted || len(server.messages) != 1 {
			t.Errorf("the run is %s after %d messages", run.Status, len(server.messages))
		}
		_, err = e.ConfirmEmail(email.ID)
		wantCode(t, err, "email_not_unconfirmed")
	})
}

// What was captured can be sent once there is a mail server, as it was captured
// and to nobody who must not be written to. Its run does not hear of it.
func TestReleaseEmail(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEngine(t, Config{})
		workflow(t, e.db, sendNow, "", nil)
		stop := e.start(t)
		var runs []*automations.Run
		for _, address := range []string{"a@example.com", "barred@example.com", "refused@example.com", "erased@example.com"} {
			runs = append(runs, e.mustAccept(t, event("start", address)).Started[0])
		}
		time.Sleep(idle)
		synctest.Wait()
		ids := make([]automations.ID, len(runs))
		for i, run := range runs {
			ids[i] = mailOf(t, e, run).ID
		}
		_, captured := emailOf(t, e.db, func(m *automations.Email) bool { return m.ID == ids[0] })
		_, err := e.ReleaseEmail(ids[0])
		wantCode(t, err, "smtp_not_configured")
		stop()

		server := &answers{errs: []error{nil, refused}}
		e = newEngine(t, Config{DB: e.db, Sender: sendFunc(server.send)})
		e.start(t)
		suppress(t, e, "barred@example.com")
		if err := e.db.Update(func(tx *storage.Tx) error { return tx.DeleteContact(runs[3].ContactID) }); err != nil {
			t.Fatal(err)
		}
		kick(e.eraseKick)
		time.Sleep(idle)
		synctest.Wait()
		for _, id := range ids[:3] {
			if email, err := e.ReleaseEmail(id); err != nil || email.Status != automations.EmailQueued || !email.SentAt.IsZero() {
				t.Fatalf("%+v %v", email, err)
			}
			time.Sleep(idle)
			synctest.Wait()
		}
		_, err = e.ReleaseEmail(ids[3])
		wantCode(t, err, "email_erased")
		_, err = e.ReleaseEmail(ids[0])
		wantCode(t, err, "email_not_captured")
		if len(server.messages) != 2 || server.messages[0] != string(captured.Message) {
			t.Errorf("%d messages, or other bytes", len(server.messages))
		}
		for i, want := range []automations.EmailStatus{automations.EmailSent, automations.EmailSuppressed, automations.EmailFailed} {
			email, run := mailOf(t, e, runs[i]), runOf(t, e.db, runs[i])
			if email.Status != want || run.Status != automations.RunCompleted {
				t.Errorf("mail %d is %s, its run %s", i, email.Status, run.Status)
			}
		}
	})
}

// Who is told what happens is told which of it are tests.
func TestNoticesOfTests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEngine(t, Config{Sender: sendFunc((&answers{}).send)})
		rc := receive(t, e, status(200))
		e.webhook(t, "/all", automations.EventReceivedNotice, automations.RunStartedNotice, automations.RunCompletedNotice, automations.EmailCapturedNotice, automations.EmailSentNotice)
		workflow(t, e.db, sendNow, "", nil)
		e.start(t)
		e.mustAccept(t, testEvent("start", "a@example.com"))
		e.mustAccept(t, event("start", "a@example.com"))
		time.Sleep(idle)
		synctest.Wait()
		told := map[any][]string{}
		for _, r := range rc.all() {
			told[r.data()["test"]] = append(told[r.data()["test"]], string(r.kind()))
		}
		for test, mail := range map[any]automations.NoticeType{true: automations.EmailCapturedNotice, nil: automations.EmailSentNotice} {
			want := []string{string(mail), "event.received", "run.completed", "run.started"}
			if slices.Sort(told[test]); !slices.Equal(told[test], want) {
				t.Errorf("test %v: told %v, want %v", test, told[test], want)
			}
		}
	})
}

func testEvent(name, email string) *automations.Event {
	ev := event(name, email)
	ev.Test = true
	return ev
}

// What comes with a test key is captured beside mail that is sent, also after a
// restart. Tests and life know nothing of each other: neither ends the other's
// waits, closes the other's deduplication window or uses up its quota.
func TestTestMode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := &answers{}
		config := Config{Sender: sendFunc(server.send), EmailsPerDay: 2}
		e := newEngine(t, config)
		config.DB = e.db
		workflow(t, e.db, `[{"key":"t","type":"trigger","config":{"event_name":"start"}},{"key":"m","type":"send_email","config":{"subject":"Hi","html":"x"}},
			{"key":"w","type":"wait_for_event","config":{"event_name":"paid","timeout":"9 days"}},{"key":"n","type":"send_email","config":{"subject":"Ho","html":"x"}}]`,
			`[{"from":"t","to":"m"},{"from":"m","to":"w"},{"from":"w","to":"n","type":"event_received"}]`, &automations.Deduplication{Enabled: true, WindowSeconds: 3600})
		stop := e.start(t)
		test, live := e.mustAccept(t, testEvent("start", "a@example.com")), e.mustAccept(t, event("start", "a@example.com"))
		if len(test.Started) != 1 || len(live.Started) != 1 || !test.Delivery.Test || live.Delivery.Test {
			t.Fatalf("%d and %d runs started", len(test.Started), len(live.Started))
		}
		for _, ev := range []*automations.Event{testEvent("start", "a@example.com"), event("start", "a@example.com")} {
			if r := e.mustAccept(t, ev); len(r.Started) != 0 {
				t.Errorf("test %v is not deduplicated", ev.Test)
			}
		}
		time.Sleep(idle)
		synctest.Wait()
		stop()
		e = newEngine(t, config)
		e.start(t)
		paid := e.mustAccept(t, testEvent("paid", "a@example.com"))
		if len(paid.Resumed) != 1 || paid.Resumed[0].ID != test.Started[0].ID {
			t.Errorf("a test event resumed %+v", paid.Resumed)
		}
		time.Sleep(idle)
		synctest.Wait()
		if len(server.messages) != 1 {
			t.Errorf("%d mails left before the live event", len(server.messages))
		}
		paid = e.mustAccept(t, event("paid", "a@example.com"))
		if len(paid.Resumed) != 1 || paid.Resumed[0].ID != live.Started[0].ID {
			t.Errorf("a live event resumed %+v", paid.Resumed)
		}
		time.Sleep(idle)
		synctest.Wait()
		if len(server.messages) != 2 {
			t.Errorf("%d mails left", len(server.messages))
		}
		for _, r := range []*Receipt{test, live} {
			run, email := runOf(t, e.db, r.Started[0]), mailOf(t, e, r.Started[0])
			want := map[bool]automations.EmailStatus{true: automations.EmailCaptured, false: automations.EmailSent}[r == test]
			if run.Test != (r == test) || email.Test != (r == test) || email.Status != want || run.Status != automations.RunCompleted {
				t.Errorf("run %s, test %v; mail %s, test %v", run.Status, run.Test, email.Status, email.Test)
			}
		}
		// A test that is released leaves, and counts: the day is full.
		_, err := e.ReleaseEmail(mailOf(t, e, test.Started[0]).ID)
		if full, ok := errors.AsType[*automations.Error](err); !ok || full.Kind != automations.KindRateLimited {
			t.Errorf("released over the quota: %v", err)
		}
		time.Sleep(24 * time.Hour)
		synctest.Wait()
		if _, err := e.ReleaseEmail(mailOf(t, e, test.Started[0]).ID); err != nil {
			t.Error(err)
		}
		time.Sleep(idle)
		synctest.Wait()
		if email := mailOf(t, e, test.Started[0]); email.Status != automations.EmailSent || !email.Test || len(server.messages) != 3 {
			t.Errorf("the released test is %s after %d mails", email.Status, len(server.messages))
		}
	})
}
