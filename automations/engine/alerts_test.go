package engine

import (
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/opensend/opensend/automations"
	"github.com/opensend/opensend/automations/inbound"
	"github.com/opensend/opensend/automations/mail"
	"github.com/opensend/opensend/storage"
	"github.com/opensend/opensend/storage/storagetest"
)

var alertSecret = []byte("a secret of thirty-two bytes ....")

func alertPlan() AlertPlan {
	return AlertPlan{Email: "ops@example.com", Webhook: "http://93.184.216.34", Secret: alertSecret}
}

// told is what the receiver was told, as KIND+ and KIND-.
func told(t *testing.T, rc *receiver) (kinds []string) {
	t.Helper()
	verifier, err := standardwebhooks.NewWebhookRaw(alertSecret)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range rc.all() {
		if err := verifier.VerifyIgnoringTimestamp(r.body, r.header); err != nil {
			t.Errorf("%v: %s", err, r.body)
		}
		sign := map[automations.NoticeType]string{automations.AlertBeganNotice: "+", automations.AlertEndedNotice: "-"}[r.kind()]
		kinds = append(kinds, r.data()["kind"].(string)+sign)
	}
	return kinds
}

// mailed is the subjects of what was mailed about alerts.
func mailed(t *testing.T, db *storage.DB) (subjects []string) {
	t.Helper()
	err := db.View(func(tx *storage.Tx) error {
		mails, _, err := tx.Emails(storage.Page{Limit: 100}, func(e *automations.Email) bool { return e.Alert })
		for _, m := range slices.Backward(mails) {
			subjects = append(subjects, m.Subject+" "+string(m.Status))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return subjects
}

func wantList(t *testing.T, what string, got []string, want ...string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s: %q, want %q", what, got, want)
	}
}

// openAlerts is the kinds that last.
func openAlerts(e *Engine) (kinds []string) {
	for _, a := range e.Alerts() {
		kinds = append(kinds, a.Kind)
	}
	return kinds
}

// What bounces of an alert is noted with it, and keeps no other mail from the
// operator, who is told of it by no webhook.
func TestAlertBounces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bounced := &mail.SendError{Class: mail.Permanent, Code: 550, Text: "550 no such user", Bounced: true}
		e := newEngine(t, Config{Alerts: AlertPlan{Email: "ops@example.com"}, Sender: sendFunc(func(_ string, to []string, message []byte) (mail.Reply, error) {
			if strings.Contains(string(message), "[opensend] disk_low") {
				return mail.Reply{Refused: []mail.Refused{{Address: to[0], Err: bounced}}}, bounced
			}
			return mail.Reply{Code: 250}, nil
		})})
		rc := receive(t, e, status(200))
		e.webhook(t, "/mail", automations.EmailBouncedNotice, automations.EmailComplainedNotice, automations.EmailFailedNotice)
		e.start(t)
		for _, kind := range []string{AlertDiskLow, AlertRunsOverdue} {
			a := &storage.Alert{Kind: kind, Since: now(), Text: "x"}
			if err := e.db.Update(func(tx *storage.Tx) error { return e.mailAlert(tx, a, storage.Telling{}) }); err != nil {
				t.Fatal(err)
			}
			kick(e.outboxKick)
			time.Sleep(idle)
		}
		wantList(t, "mail", mailed(t, e.db), "[opensend] disk_low failed", "[opensend] runs_overdue sent")
		id := e.newest(t, "ops@example.com").MessageID
		for _, r := range []automations.Report{{Kind: automations.ReportBounced, NoSuchAddress: true}, {Kind: automations.ReportComplained}} {
			results, _, err := e.Report([]inbound.Report{{Report: r, Recipients: []string{"ops@example.com"}, MessageIDs: []string{id}}}, nil)
			if err != nil || results[0].Outcome != ReportRecorded {
				t.Errorf("%+v %v", results, err)
			}
		}
		if n := len(e.newest(t, "ops@example.com").Reports); n != 2 {
			t.Errorf("%d reports are kept", n)
		}
		workflow(t, e.db, sendNow, "", nil)
		run := e.mustAccept(t, event("start", "ops@example.com")).Started[0]
		time.Sleep(idle)
		if r := runOf(t, e.db, run); r.Steps["m"].Status != automations.StepCompleted || len(rc.all()) != 0 {
			t.Errorf("other mail to the operator: %+v, %d notices", r.Steps["m"], len(rc.all()))
		}
	})
}

// A mail server that takes nothing for a quarter of an hour is told once, also
// over a restart and not by mail; that it takes mail again is told once, by mail
// too. Mail about it counts in no chart.
func TestAlertMailFailing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var down atomic.Bool
		down.Store(true)
		sender := sendFunc(func(string, []string, []byte) (mail.Reply, error) {
			if down.Load() {
				return mail.Reply{}, &mail.SendError{Class: mail.Temporary, Text: "connecting: refused"}
			}
			return mail.Reply{Code: 250}, nil
		})
		cfg := Config{DB: storagetest.Open(t), Sender: sender, Alerts: alertPlan()}
		e := newEngine(t, cfg)
		rc := receive(t, e, func(http.ResponseWriter, received) {})
		workflow(t, e.db, sendNow, "", nil)
		stop := e.start(t)
		e.mustAccept(t, event("start", "ada@example.com"))
		time.Sleep(15 * time.Minute)
		wantList(t, "after 15 minutes", told(t, rc))
		time.Sleep(2 * time.Minute)
		wantList(t, "after 17 minutes", told(t, rc), "mail_failing+")
		wantList(t, "open", openAlerts(e), AlertMailFailing)
		stop()
		e = newEngine(t, cfg)
		rc.reach(e)
		e.start(t)
		time.Sleep(3 * time.Hour)
		wantList(t, "after a restart", told(t, rc), "mail_failing+")
		wantList(t, "open after a restart", openAlerts(e), AlertMailFailing)
		wantList(t, "mail while no mail leaves", mailed(t, e.db))
		down.Store(false)
		time.Sleep(2 * time.Hour)
		wantList(t, "when it is over", told(t, rc), "mail_failing+", "mail_failing-")
		wantList(t, "mail when it is over", mailed(t, e.db), "[opensend] passed: mail_failing sent")
		wantList(t, "open when it is over", openAlerts(e))
		if n := e.db.Meter().Tally(automations.TallyMailSent); n != 1 {
			t.Errorf("%d mails are counted as sent, want that of the run alone", n)
		}
		if at := e.handovers.Temporary.Load(); at == 0 || e.handovers.Taken.Load() != 2 {
			t.Errorf("%d temporary, %d taken", at, e.handovers.Taken.Load())
		}
	})
}

// That one recipient is put off, as when a mailbox is full, is nothing to tell of:
// mail to others may leave. It is when others are put off too, or there is no
// connection, for a quarter of an hour.
func TestAlertMailPutOff(t *testing.T) {
	full := func(addresses ...string) (mail.Reply, error) {
		err := &mail.SendError{Class: mail.Temporary, Code: 452, Text: "RCPT TO: 452 mailbox full"}
		var reply mail.Reply
		for _, a := range addresses {
			reply.Refused = append(reply.Refused, mail.Refused{Address: a, Err: err})
		}
		return reply, err
	}
	for name, test := range map[string]struct {
		others []string                            // that get mail after three hours
		then   func(to string) (mail.Reply, error) // what becomes of all mail from then on
		after  []string                            // the alerts after half an hour more
	}{
		"the same": {[]string{"ada@example.com"}, func(to string) (mail.Reply, error) { return full(to) }, nil},
		"another":  {[]string{"bob@example.com"}, func(to string) (mail.Reply, error) { return full(to) }, []string{AlertMailFailing}},
		"the server": {[]string{"ada@example.com"}, func(string) (mail.Reply, error) {
			return mail.Reply{}, &mail.SendError{Class: mail.Temporary, Code: 421, Text: "greeting: 421 busy"}
		}, []string{AlertMailFailing}},
		"other mail leaves": {[]string{"bob@example.com", "ada@example.com"}, func(to string) (mail.Reply, error) {
			if to == "bob@example.com" {
				return mail.Reply{Code: 250}, nil
			}
			return full(to)
		}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var later atomic.Bool
				e := newEngine(t, Config{Sender: sendFunc(func(_ string, to []string, _ []byte) (mail.Reply, error) {
					if later.Load() {
						return test.then(to[0])
					}
					return full(to...)
				})})
				workflow(t, e.db, sendNow, "", nil)
				e.start(t)
				e.mustAccept(t, event("start", "ada@example.com"))
				time.Sleep(3 * time.Hour)
				wantList(t, "one recipient is put off", openAlerts(e))
				later.Store(true)
				for _, other := range test.others {
					e.mustAccept(t, event("start", other))
				}
				time.Sleep(10 * time.Minute)
				wantList(t, "ten minutes later", openAlerts(e))
				time.Sleep(20 * time.Minute)
				wantList(t, "half an hour later", openAlerts(e), test.after...)
			})
		})
	}
}

// What comes and goes makes one message, and a receiver that is down gets its
// messages later, in order and with the same id.
func TestAlertWithoutStorms(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEngine(t, Config{Alerts: alertPlan()})
		var up atomic.Bool
		rc := receive(t, e, func(w http.ResponseWriter, _ received) {
			if !up.Load() {
				w.WriteHeader(http.StatusBadGateway)
			}
		})
		w := workflow(t, e.db, sendNow, "", nil)
		for range 10 { // late for three minutes, well for two
			r := automations.NewRun(newID(), w, mustFlow(t, e, w), &automations.Delivery{ID: newID()}, now().Add(-time.Hour))
			if err := e.db.Update(func(tx *storage.Tx) error { return tx.InsertRun(r) }); err != nil {
				t.Fatal(err)
			}
			if e.alerts.Load() == nil {
				ctx := t.Context()
				go e.alertLoop(ctx)
			}
			time.Sleep(3 * time.Minute)
			if _, err := e.CancelRun(r.Ref(), "x"); err != nil {
				t.Fatal(err)
			}
			time.Sleep(2 * time.Minute)
		}
		wantList(t, "open while it comes and goes", openAlerts(e), AlertRunsOverdue)
		time.Sleep(20 * time.Minute)
		wantList(t, "open when it is well", openAlerts(e))
		if len(rc.all()) < 3 {
			t.Errorf("tried %d times", len(rc.all()))
		}
		first := rc.all()[0].header.Get("webhook-id")
		rc.mu.Lock()
		rc.got = nil
		rc.mu.Unlock()
		up.Store(true)
		time.Sleep(2 * time.Hour)
		wantList(t, "when the receiver is up", told(t, rc), "runs_overdue+", "runs_overdue-")
		if got := rc.all()[0].header.Get("webhook-id"); got != first {
			t.Errorf("the id was %s and is %s", first, got)
		}
		wantList(t, "mail", mailed(t, e.db), "[opensend] runs_overdue queued", "[opensend] passed: runs_overdue queued")
		err := e.db.View(func(tx *storage.Tx) error {
			left, err := tx.Alerts()
			if len(left) != 0 {
				t.Errorf("left over: %+v", left)
			}
			return err
		})
		if err != nil {
			t.Error(err)
		}
	})
}

func mustFlow(t *testing.T, e *Engine, w *automations.Workflow) (flow *automations.Flow) {
	t.Helper()
	err := e.db.View(func(tx *storage.Tx) (err error) {
		flow, err = e.definitionsOf(tx).flow(tx, w.ID, w.Revision)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return flow
}

// A backup that fails is told, and mailed where mail is captured.
func TestAlertBackupMissed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		blocked := filepath.Join(t.TempDir(), "file")
		if err := os.WriteFile(blocked, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		e := newEngine(t, Config{Alerts: AlertPlan{Email: "ops@example.com"}, Backup: BackupPlan{Dir: filepath.Join(blocked, "x"), Every: 24 * time.Hour, Keep: 3}})
		e.start(t)
		time.Sleep(3 * time.Hour)
		wantList(t, "mail", mailed(t, e.db), "[opensend] backup_missed captured")
		if err := os.Remove(blocked); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Hour)
		wantList(t, "mail when it is over", mailed(t, e.db), "[opensend] backup_missed captured", "[opensend] passed: backup_missed captured")
	})
}

// A file that is nearly full is told while it still takes what is about itself.
func TestAlertDiskLow(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.db")
	db, err := storage.OpenWith(path, storage.Options{MaxSize: storage.MinSize})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	e := newEngine(t, Config{DB: db, Alerts: AlertPlan{Email: "ops@example.com"}})
	w, err := e.newWatch()
	if err != nil {
		t.Fatal(err)
	}
	e.look(t.Context(), w)
	wantList(t, "with room", openAlerts(e))
	big := strings.Repeat("x", 1<<15)
	for range 2000 {
		ev := event("start", "ada@example.com")
		ev.Payload = []byte(`{"x":"` + big + `"}`)
		if _, _, err = e.Accept(ev, nil); err != nil {
			break
		}
	}
	if !automations.IsKind(err, automations.KindUnavailable) {
		t.Fatalf("the file is not full: %v", err)
	}
	e.look(t.Context(), w)
	wantList(t, "without room", openAlerts(e), AlertDiskLow)
	wantList(t, "mail", mailed(t, db), "[opensend] disk_low queued")
}

// That the file failed is posted once, and mailed after the next start, however
// often it fails before it has been well for a while.
func TestAlertFileFailed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := Config{DB: storagetest.Open(t), Alerts: alertPlan()}
		var rc *receiver
		for range 3 {
			e := newEngine(t, cfg)
			if rc == nil {
				rc = receive(t, e, func(http.ResponseWriter, received) {})
			}
			rc.reach(e)
			w, err := e.newWatch()
			if err != nil {
				t.Fatal(err)
			}
			e.fileFailed(t.Context(), w, os.ErrInvalid)
		}
		wantList(t, "posted", told(t, rc), "file_failed+")
		e := newEngine(t, cfg)
		rc.reach(e)
		e.start(t)
		time.Sleep(time.Second)
		wantList(t, "open", openAlerts(e), AlertFileFailed)
		wantList(t, "mail", mailed(t, e.db), "[opensend] file_failed captured")
		time.Sleep(10 * time.Minute)
		wantList(t, "posted when it is well", told(t, rc), "file_failed+", "file_failed-")
		wantList(t, "open when it is well", openAlerts(e))
		if _, err := os.Stat(e.lastWordsPath()); err == nil {
			t.Error("the note beside the file is left")
		}
	})
}

func TestAlertWebhookMustBeReachable(t *testing.T) {
	_, err := New(Config{DB: storagetest.Open(t), Alerts: AlertPlan{Webhook: "http://127.0.0.1/x"}})
	if err == nil || !strings.Contains(err.Error(), "alerts.webhook: 127.0.0.1 is not a public address; name its network in webhooks.allow_private") {
		t.Error(err)
	}
}
