package engine

import (
	"context"
	"crypto"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"os"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/opensend/opensend/automations"
	"github.com/opensend/opensend/automations/mail"
	"github.com/opensend/opensend/storage"
)

// A month of waiting: 10,000 runs with delays of a second to 30 days on the
// real store. Each moves on once, at its time, in order.
func TestVirtualMonth(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEngine(t, Config{})
		const workflows, contacts = 100, 100
		var delays [workflows]time.Duration
		for i := range delays {
			share := float64(i) / (workflows - 1)
			delays[i] = (time.Second + time.Duration(share*share*float64(30*24*time.Hour-time.Second))).Truncate(time.Millisecond)
			workflow(t, e.db, fmt.Sprintf(`[{"key":"t","type":"trigger","config":{"event_name":"start"}},
				{"key":"d","type":"delay","config":{"duration":"%.3f s"}}]`, delays[i].Seconds()), "", nil)
		}
		e.start(t)
		var runs []*automations.Run
		for i := range contacts {
			runs = append(runs, e.mustAccept(t, event("start", fmt.Sprintf("c%d@example.com", i))).Started...)
		}
		if len(runs) != workflows*contacts {
			t.Fatalf("%d runs started", len(runs))
		}
		time.Sleep(31 * 24 * time.Hour)
		synctest.Wait()
		for i, started := range runs {
			run := runOf(t, e.db, started)
			due := run.Steps["d"].ScheduledFor
			if run.Status != automations.RunCompleted || run.Transitions != 2 {
				t.Fatalf("run %d is %s after %d steps", i, run.Status, run.Transitions)
			}
			if want := started.CreatedAt.Add(delays[i%workflows]); !due.Equal(want) || run.CompletedAt.Before(due) || run.CompletedAt.After(due.Add(time.Millisecond)) {
				t.Fatalf("run %d was due at %s, want %s, and completed at %s", i, due, want, run.CompletedAt)
			}
		}
	})
}

// 64 clients send the same event for the same address: one starts a run, 63
// are told of that one, a thousand times over.
func TestDedupStorm(t *testing.T) {
	e := newEngine(t, Config{})
	workflow(t, e.db, sendNow, "", &automations.Deduplication{Enabled: true, WindowSeconds: 300})
	const clients, rounds = 64, 1000
	for round := range rounds {
		var wg sync.WaitGroup
		var started atomic.Int32
		var originals sync.Map
		for range clients {
			wg.Go(func() {
				r, _, err := e.Accept(event("start", fmt.Sprintf("c%d@example.com", round)), nil)
				if err != nil {
					t.Error(err)
					return
				}
				started.Add(int32(len(r.Started)))
				if v := r.Delivery.Verdicts[0]; v.Reason == automations.Deduplicated {
					originals.Store(v.OriginalID, true)
				} else {
					originals.Store(r.Delivery.ID, true)
				}
			})
		}
		wg.Wait()
		distinct := 0
		originals.Range(func(any, any) bool { distinct++; return true })
		if started.Load() != 1 || distinct != 1 {
			t.Fatalf("round %d: %d runs started, %d originals named", round, started.Load(), distinct)
		}
	}
}

// The awaited event and the timeout fall on the same instant, a thousand
// times, sent by 64 goroutines: exactly one branch is taken, and whoever was
// told that it resumed the run is right.
func TestEventAgainstTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEngine(t, Config{})
		workflow(t, e.db, `[{"key":"t","type":"trigger","config":{"event_name":"start"}},
			{"key":"w","type":"wait_for_event","config":{"event_name":"go","timeout":"1 hour"}},
			{"key":"yes","type":"end"},{"key":"no","type":"end"}]`,
			`[{"from":"t","to":"w"},{"from":"w","to":"yes","type":"event_received"},{"from":"w","to":"no","type":"timeout"}]`, nil)
		e.start(t)
		const n, senders = 1000, 64
		runs := make([]*automations.Run, n)
		for i := range runs {
			runs[i] = e.mustAccept(t, event("start", fmt.Sprintf("c%d@example.com", i))).Started[0]
		}
		synctest.Wait()
		var resumed [n]atomic.Int32
		var wg sync.WaitGroup
		for s := range senders {
			wg.Go(func() {
				time.Sleep(time.Hour)
				for i := s; i < n; i += senders {
					r, _, err := e.Accept(event("go", fmt.Sprintf("c%d@example.com", i)), nil)
					if err != nil {
						t.Error(err)
						return
					}
					resumed[i].Add(int32(len(r.Resumed)))
				}
			})
		}
		wg.Wait()
		synctest.Wait()
		events := 0
		for i, started := range runs {
			run := runOf(t, e.db, started)
			yes, no := run.Steps["yes"] != nil, run.Steps["no"] != nil
			if run.Status != automations.RunCompleted || yes == no || yes != (resumed[i].Load() == 1) {
				t.Fatalf("run %d is %s: yes %v, no %v, resumed %d", i, run.Status, yes, no, resumed[i].Load())
			}
			if yes {
				events++
			}
		}
		t.Logf("%d of %d by the event, the rest by the timeout", events, n)
	})
}

func TestMailIsRetriedUntilGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var at []time.Time
		var bytes []string
		e := newEngine(t, Config{RetryFor: 48 * time.Hour, Sender: sendFunc(func(_ string, _ []string, message []byte) (mail.Reply, error) {
			at, bytes = append(at, time.Now()), append(bytes, string(message))
			return mail.Reply{}, &mail.SendError{Class: mail.Temporary, Code: 451, Text: "451 later"}
		})})
		workflow(t, e.db, sendNow, "", nil)
		e.start(t)
		started := e.mustAccept(t, event("start", "a@example.com")).Started[0]
		time.Sleep(time.Hour)
		synctest.Wait()
		if run := runOf(t, e.db, started); run.Status != automations.RunRunning {
			t.Fatalf("run is %s while its mail is tried", run.Status)
		}
		time.Sleep(72 * time.Hour)
		synctest.Wait()
		run := runOf(t, e.db, started)
		if run.Status != automations.RunFailed || !strings.Contains(run.FailureReason, "given up after") || !strings.Contains(run.FailureReason, "451 later") {
			t.Fatalf("run is %s: %s", run.Status, run.FailureReason)
		}
		if len(at) < 40 || at[len(at)-1].Sub(at[0]) > 48*time.Hour {
			t.Fatalf("%d attempts in %s", len(at), at[len(at)-1].Sub(at[0]))
		}
		for i := 1; i < len(at); i++ {
			wait := at[i].Sub(at[i-1])
			if least := min(firstRetry<<(i-1), lastRetry); i < 10 && wait < least || wait > lastRetry*5/4+idle {
				t.Errorf("attempt %d came after %s", i+1, wait)
			}
			if bytes[i] != bytes[0] {
				t.Fatal("attempts differ in their bytes")
			}
		}
	})
}

func TestMailResults(t *testing.T) {
	for _, c := range []struct {
		name   string
		resend bool
		errs   []error // of the attempts; a nil one succeeds
		status automations.RunStatus
		email  automations.EmailStatus
		sends  int
	}{
		{"taken", false, nil, automations.RunCompleted, automations.EmailSent, 1},
		{"refused", false, []error{&mail.SendError{Class: mail.Permanent, Text: "550 no such user"}}, automations.RunFailed, automations.EmailFailed, 1},
		{"later taken", false, []error{&mail.SendError{Class: mail.Temporary, Text: "451"}, errors.New("odd")}, automations.RunCompleted, automations.EmailSent, 3},
		{"unknown, held", false, []error{&mail.SendError{Class: mail.Unknown, Text: "gone"}}, automations.RunRunning, automations.EmailUnconfirmed, 1},
		{"unknown, sent again", true, []error{&mail.SendError{Class: mail.Unknown, Text: "gone"}}, automations.RunCompleted, automations.EmailSent, 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var sent []string
				e := newEngine(t, Config{ResendUnconfirmed: c.resend, Sender: sendFunc(func(_ string, _ []string, message []byte) (mail.Reply, error) {
					sent = append(sent, string(message))
					if len(sent) <= len(c.errs) {
						return mail.Reply{}, c.errs[len(sent)-1]
					}
					return mail.Reply{Code: 250, Text: "queued as 1"}, nil
				})})
				workflow(t, e.db, sendNow, "", nil)
				e.start(t)
				started := e.mustAccept(t, event("start", "a@example.com")).Started[0]
				time.Sleep(time.Hour)
				synctest.Wait()
				run := runOf(t, e.db, started)
				email, _ := emailOf(t, e.db, nil)
				if run.Status != c.status || email.Status != c.email || len(sent) != c.sends {
					t.Fatalf("run %s, mail %s (%s), %d attempts", run.Status, email.Status, email.LastError, len(sent))
				}
				if c.email != automations.EmailUnconfirmed {
					return
				}
				if _, err := e.RetryRun(started.Ref()); err != nil {
					t.Fatal(err)
				}
				time.Sleep(idle)
				synctest.Wait()
				if run := runOf(t, e.db, started); run.Status != automations.RunCompleted || len(sent) != 2 || sent[0] != sent[1] {
					t.Fatalf("after the retry: run %s, %d attempts", run.Status, len(sent))
				}
			})
		})
	}
}

// A process that ends with mail in hand: what it marked tells the next one
// whether the mail server can have taken the mail.
func TestMailInHandAtACrash(t *testing.T) {
	for _, c := range []struct {
		name   string
		marked mail.Stage
		lost   bool // the marks, with the machine
		email  automations.EmailStatus
		run    automations.RunStatus
		sends  int // of the next process
	}{
		{"before the final dot", 0, false, automations.EmailSent, automations.RunCompleted, 1},
		{"after the final dot", mail.FinalDot, false, automations.EmailUnconfirmed, automations.RunRunning, 0},
		{"after it was taken", mail.Taken, false, automations.EmailSent, automations.RunCompleted, 0},
		{"after it was put off", mail.PutOff, false, automations.EmailQueued, automations.RunRunning, 0},
		{"after it was turned down", mail.TurnedDown, false, automations.EmailFailed, automations.RunFailed, 0},
		{"with the machine", 0, true, automations.EmailUnconfirmed, automations.RunRunning, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				hang := make(chan struct{})
				e := newEngine(t, Config{Sender: senderFunc(func(_ context.Context, envelope mail.Envelope) (mail.Reply, error) {
					if c.marked != 0 {
						envelope.Mark(c.marked)
					}
					<-hang
					return mail.Reply{}, &mail.SendError{Class: mail.Temporary, Text: "stopped"}
				})})
				workflow(t, e.db, sendNow, "", nil)
				stop := e.start(t)
				started := e.mustAccept(t, event("start", "a@example.com")).Started[0]
				synctest.Wait()
				email, _ := emailOf(t, e.db, nil)
				if email.Status != automations.EmailSending || email.Attempts != 1 {
					t.Fatalf("mail in hand is %s", email.Status)
				}
				if c.lost {
					if err := os.WriteFile(e.db.Path()+".sending", []byte(strings.Repeat("a", 36)), 0o600); err != nil {
						t.Fatal(err)
					}
				}
				sends := 0
				next := newEngine(t, Config{DB: e.db, Sender: sendFunc(func(_ string, _ []string, _ []byte) (mail.Reply, error) {
					sends++
					return mail.Reply{Code: 250}, nil
				})})
				next.start(t)
				synctest.Wait()
				email, _ = emailOf(t, e.db, nil)
				if run := runOf(t, e.db, started); email.Status != c.email || run.Status != c.run || sends != c.sends {
					t.Errorf("mail is %s, run is %s, %d sends", email.Status, run.Status, sends)
				}
				close(hang)
				stop()
			})
		})
	}
}

// What becomes true while a mail is queued counts.
func TestMailIsCheckedAgainBeforeItLeaves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sends := 0
		e := newEngine(t, Config{Sender: sendFunc(func(_ string, _ []string, _ []byte) (mail.Reply, error) {
			sends++
			return mail.Reply{}, &mail.SendError{Class: mail.Temporary, Text: "451"}
		})})
		workflow(t, e.db, sendNow, "", nil)
		e.start(t)
		r := e.mustAccept(t, event("start", "a@example.com"))
		synctest.Wait()
		err := e.db.Update(func(tx *storage.Tx) error {
			c, err := tx.Contact(r.Delivery.ContactID)
			if err != nil {
				return err
			}
			c.Unsubscribed = true
			return tx.UpdateContact(c)
		})
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour)
		synctest.Wait()
		run := runOf(t, e.db, r.Started[0])
		if sends != 1 || run.Status != automations.RunCompleted || run.Steps["m"].Status != automations.StepSkipped || run.Steps["m"].Error != automations.SkippedUnsubscribed {
			t.Errorf("%d sends, run %s, step %+v", sends, run.Status, run.Steps["m"])
		}
	})
}

// signing is a key that does something else first.
type signing struct {
	crypto.Signer
	first func()
}

func (s signing) Sign(random io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	s.first()
	return s.Signer.Sign(random, digest, opts)
}

// Who unsubscribes while his mail is being composed does not get it.
func TestUnsubscribedWhileComposing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, key, err := ed25519.GenerateKey(nil)
		if err != nil {
			t.Fatal(err)
		}
		sends := 0
		var e *Engine
		unsubscribe := func() {
			err := e.db.Update(func(tx *storage.Tx) error {
				c, err := tx.ContactByEmail("a@example.com")
				if err != nil {
					return err
				}
				c.Unsubscribed = true
				return tx.UpdateContact(c)
			})
			if err != nil {
				t.Error(err)
			}
		}
		e = newEngine(t, Config{DKIM: []mail.DKIMKey{{Domain: "example.com", Selector: "s", Key: signing{key, unsubscribe}}}, Sender: sendFunc(func(string, []string, []byte) (mail.Reply, error) {
			sends++
			return mail.Reply{Code: 250}, nil
		})})
		workflow(t, e.db, sendNow, "", nil)
		e.start(t)
		r := e.mustAccept(t, event("start", "a@example.com"))
		time.Sleep(idle)
		synctest.Wait()
		if run := runOf(t, e.db, r.Started[0]); sends != 0 || run.Status != automations.RunCompleted || run.Steps["m"].Error != automations.SkippedUnsubscribed {
			t.Errorf("%d sends, run %s, step %+v", sends, run.Status, run.Steps["m"])
		}
	})
}

// A step that panics fails its own run after five attempts, and no other.
func TestPoisonedRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEngine(t, Config{})
		steps := `[{"key":"t","type":"trigger","config":{"event_name":"start"}},{"key":"c","type":"condition","config":{"type":"rule","field":"a","operator":"exists"}}]`
		bad, good := workflow(t, e.db, steps, "", nil), workflow(t, e.db, steps, "", nil)
		r := e.mustAccept(t, event("start", "a@example.com"))
		flow, err := e.definitions.Load().flow(nil, bad.ID, 1) // compiled by now
		if err != nil {
			t.Fatal(err)
		}
		flow.Step("c").Action = &automations.ConditionAction{}
		e.start(t)
		time.Sleep(time.Hour)
		synctest.Wait()
		for _, started := range r.Started {
			run := runOf(t, e.db, started)
			switch {
			case run.WorkflowID == good.ID && run.Status != automations.RunCompleted:
				t.Errorf("the other run is %s", run.Status)
			case run.WorkflowID == bad.ID && (run.Status != automations.RunFailed || !strings.Contains(run.FailureReason, `step "c" crashed`) || run.Panics != maxPanics):
				t.Errorf("the poisoned run is %s at %s after %d panics", run.Status, run.FailedStep, run.Panics)
			}
		}
	})
}

// An engine with nothing to do does nothing, however long.
func TestIdleEngineSleeps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEngine(t, Config{})
		e.start(t)
		synctest.Wait()
		before := e.lastTurn.Load()
		time.Sleep(365 * 24 * time.Hour)
		synctest.Wait()
		if e.lastTurn.Load() != before {
			t.Error("the wake loop looked although nothing was due and nobody kicked it")
		}
	})
}

func TestDeleteContactErases(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEngine(t, Config{})
		workflow(t, e.db, strings.Replace(sendNow, `{"key":"m"`, `{"key":"w","type":"wait_for_event","config":{"event_name":"go"}},{"key":"m"`, 1), "", nil)
		workflow(t, e.db, sendNow, "", nil)
		e.start(t)
		r := e.mustAccept(t, event("start", "a@example.com"))
		other := e.mustAccept(t, event("start", "b@example.com"))
		synctest.Wait()
		if err := e.DeleteContact(r.Delivery.ContactID); err != nil {
			t.Fatal(err)
		}
		err := e.db.View(func(tx *storage.Tx) error {
			d, err := tx.Delivery(r.Delivery.ID)
			if err != nil || d.Email != "" || string(d.Payload) != "{}" {
				t.Errorf("delivery %+v, %v", d, err)
			}
			if len(tx.Waiting(r.Delivery.ContactID, "go")) != 0 || len(tx.Waiting(other.Delivery.ContactID, "go")) != 1 {
				t.Error("the waits are not those of the other contact alone")
			}
			emails, _, err := tx.Emails(storage.Page{Limit: 10}, nil)
			for _, email := range emails {
				_, contentErr := tx.EmailContent(email.ID)
				if gone := email.ContactID == r.Delivery.ContactID; gone != (len(email.To) == 0) || gone != errors.Is(contentErr, storage.ErrNotFound) {
					t.Errorf("mail %+v", email)
				}
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		statuses := map[automations.RunStatus]int{}
		for _, run := range append(r.Started, other.Started...) {
			statuses[runOf(t, e.db, run).Status]++
		}
		if statuses[automations.RunCancelled] != 1 || statuses[automations.RunWaiting] != 1 || statuses[automations.RunCompleted] != 2 {
			t.Errorf("runs: %v", statuses)
		}
	})
}

// A run whose mail goes in somebody else's erasure, because it names them, goes
// on without it at once, though nothing else is due.
func TestErasureMovesRunsOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEngine(t, Config{Sender: sendFunc(func(string, []string, []byte) (mail.Reply, error) {
			return mail.Reply{}, &mail.SendError{Class: mail.Temporary, Text: "later"}
		})})
		workflow(t, e.db, sendNow, "", nil)
		e.start(t)
		run := e.mustAccept(t, &automations.Event{Name: "start", Email: "bob@example.com", Payload: []byte(`{"plan":"of ada@example.com"}`)}).Started[0]
		time.Sleep(idle)
		if finished, err := e.EraseAddress("ada@example.com"); !finished || err != nil {
			t.Fatal(finished, err)
		}
		time.Sleep(idle)
		if run := runOf(t, e.db, run); run.Status != automations.RunCompleted || run.Steps["m"].Status != automations.StepSkipped {
			t.Errorf("the run is %s: %+v", run.Status, run.Steps["m"])
		}
	})
}

func TestRunEndsWithoutWork(t *testing.T) {
	e := newEngine(t, Config{})
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := e.Run(ctx); err != nil {
		t.Error(err)
	}
}

// A mail to several whose server takes it for some is sent again to those alone
// that it may take later.
func TestMailToSeveral(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var sent [][]string
		e := newEngine(t, Config{RetryFor: time.Hour, Sender: sendFunc(func(_ string, to []string, _ []byte) (mail.Reply, error) {
			sent = append(sent, to)
			reply := mail.Reply{Code: 250, Text: "ok"}
			for _, address := range to {
				switch {
				case strings.HasPrefix(address, "gone"):
					reply.Refused = append(reply.Refused, mail.Refused{Address: address, Err: &mail.SendError{Class: mail.Permanent, Code: 550, Text: "no such user"}})
				case strings.HasPrefix(address, "full"), strings.HasPrefix(address, "slow") && len(sent) < 3:
					reply.Refused = append(reply.Refused, mail.Refused{Address: address, Err: &mail.SendError{Class: mail.Temporary, Code: 452, Text: "full"}})
				}
			}
			if len(reply.Refused) == len(to) {
				return mail.Reply{}, reply.Refused[0].Err
			}
			return reply, nil
		})})
		e.start(t)
		queue := func(to ...string) automations.ID {
			results, _, err := e.SendEmails([]*EmailRequest{{To: to, Subject: "x", Text: "x"}}, true, nil)
			if err != nil || results[0].Err != nil {
				t.Fatal(err, results)
			}
			return results[0].Email.ID
		}
		id := queue("a@example.com", "gone@example.com", "slow@example.com", "a@example.com")
		time.Sleep(30 * time.Minute)
		synctest.Wait()
		want := [][]string{{"a@example.com", "gone@example.com", "slow@example.com"}, {"slow@example.com"}, {"slow@example.com"}}
		if !reflect.DeepEqual(sent, want) {
			t.Errorf("sent to %v", sent)
		}
		email, _ := emailOf(t, e.db, func(m *automations.Email) bool { return m.ID == id })
		if email.Status != automations.EmailSent || fmt.Sprint(email.Settled) != "[{a@example.com sent } {gone@example.com failed no such user} {slow@example.com sent }]" {
			t.Errorf("%s %v", email.Status, email.Settled)
		}
		// Who must not get it any more does not take it from those who have.
		id = queue("c@example.com", "full@example.com")
		time.Sleep(time.Second)
		suppress(t, e, "full@example.com")
		time.Sleep(time.Hour)
		synctest.Wait()
		email, _ = emailOf(t, e.db, func(m *automations.Email) bool { return m.ID == id })
		if email.Status != automations.EmailSent || fmt.Sprint(email.Settled) != "[{c@example.com sent } {full@example.com suppressed address is suppressed}]" {
			t.Errorf("%s %v", email.Status, email.Settled)
		}
		for name, c := range map[string]struct {
			to     []string
			status automations.EmailStatus
		}{
			"some never":   {[]string{"b@example.com", "full2@example.com"}, automations.EmailSent},
			"none":         {[]string{"gone@example.com", "gone2@example.com"}, automations.EmailFailed},
			"none in time": {[]string{"full2@example.com"}, automations.EmailFailed},
		} {
			id := queue(c.to...)
			time.Sleep(2 * time.Hour)
			synctest.Wait()
			email, _ := emailOf(t, e.db, func(m *automations.Email) bool { return m.ID == id })
			if email.Status != c.status || len(email.Recipients()) > 0 && len(c.to) > 1 && c.status == automations.EmailSent {
				t.Errorf("%s: %s %v, open %v", name, email.Status, email.Settled, email.Recipients())
			}
		}
	})
}

// A waiting run that cannot be read, and one whose workflow is gone, do not
// keep an event from being stored, nor from other runs.
func TestEventPassesBrokenWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEngine(t, Config{})
		const waits = `[{"key":"t","type":"trigger","config":{"event_name":"start"}},{"key":"w","type":"wait_for_event","config":{"event_name":"go"}}]`
		damaged, deleted, sound := workflow(t, e.db, waits, "", nil), workflow(t, e.db, waits, "", nil), workflow(t, e.db, waits, "", nil)
		e.start(t)
		runs := map[automations.ID]*automations.Run{}
		for _, run := range e.mustAccept(t, event("start", "a@example.com")).Started {
			runs[run.WorkflowID] = run
		}
		synctest.Wait()
		err := e.db.Update(func(tx *storage.Tx) error {
			row, err := tx.Run(runs[damaged.ID].Ref())
			if err != nil {
				return err
			}
			row.TriggerEventID = newID() // which is not there
			return errors.Join(tx.SaveRun(row), tx.DeleteWorkflow(deleted.ID))
		})
		if err != nil {
			t.Fatal(err)
		}
		r := e.mustAccept(t, event("go", "a@example.com"))
		if len(r.Resumed) != 1 || r.Resumed[0].WorkflowID != sound.ID || len(r.Delivery.Verdicts) != 1 {
			t.Errorf("resumed %v with %+v", r.Resumed, r.Delivery.Verdicts)
		}
		synctest.Wait()
		for id, want := range map[automations.ID]automations.RunStatus{damaged.ID: automations.RunWaiting, deleted.ID: automations.RunCancelled, sound.ID: automations.RunCompleted} {
			if run := runOf(t, e.db, runs[id]); run.Status != want {
				t.Errorf("run is %s (%s), want %s", run.Status, run.FailureReason, want)
			}
		}
		mustMatch := event("go", "a@example.com")
		mustMatch.Intake.MustMatch = true
		if e.mustAccept(t, mustMatch).Listened() {
			t.Error("a run of a deleted workflow listens")
		}
	})
}

// An event that came early counts for one wait, and each of several for its
// own, also when the waits follow one another at once.
func TestEarlyEventCountsOnce(t *testing.T) {
	const steps = `[{"key":"t","type":"trigger","config":{"event_name":"start"}},{"key":"d","type":"delay","config":{"duration":"1 hour"}},
		{"key":"one","type":"wait_for_event","config":{"event_name":"go"}},{"key":"two","type":"wait_for_event","config":{"event_name":"go"}},
		{"key":"other","type":"wait_for_event","config":{"event_name":"on"}},{"key":"three","type":"wait_for_event","config":{"event_name":"go"}}]`
	for early, want := range map[string]string{"": "one", "go": "two", "go go": "other", "on go go": "three", "go on go go": ""} {
		synctest.Test(t, func(t *testing.T) {
			e := newEngine(t, Config{})
			workflow(t, e.db, steps, "", nil)
			e.start(t)
			r := e.mustAccept(t, event("start", "a@example.com"))
			for name := range strings.FieldsSeq(early) {
				e.mustAccept(t, event(name, "a@example.com"))
			}
			time.Sleep(2 * time.Hour)
			synctest.Wait()
			run := runOf(t, e.db, r.Started[0])
			if run.CurrentStep != want {
				t.Errorf("after %q the run is at %q, not at %q", early, run.CurrentStep, want)
			}
			err := e.db.View(func(tx *storage.Tx) error {
				if left := tx.Arrivals(run.Ref()); len(left) != 0 {
					t.Errorf("after %q %d events are kept although each ended its wait", early, len(left))
				}
				return tx.Check()
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
}
