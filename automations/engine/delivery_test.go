package engine

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/opensend/opensend/automations"
	"github.com/opensend/opensend/automations/mail"
	"github.com/opensend/opensend/storage"
)

// Mail keeps its pace: in all, and to each domain. Nothing is lost by a restart.
func TestPace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var at []time.Time
		domains := map[string][]time.Time{}
		config := Config{PerMinute: 60, PerMinuteToDomain: 6, Sender: sendFunc(func(_ string, to []string, _ []byte) (mail.Reply, error) {
			at = append(at, time.Now())
			domains[to[0][2:]] = append(domains[to[0][2:]], time.Now())
			return mail.Reply{Code: 250}, nil
		})}
		e := newEngine(t, config)
		workflow(t, e.db, sendNow, "", nil)
		stop := e.start(t)
		for i := range 60 {
			e.mustAccept(t, event("start", fmt.Sprintf("%c@%d.example.com", 'a'+i%26, i%3)))
		}
		time.Sleep(time.Minute)
		stop()
		begun := len(at)
		config.DB = e.db
		newEngine(t, config).start(t)
		time.Sleep(time.Hour)
		synctest.Wait()
		if len(at) != 60 || begun < 15 || begun > 21 {
			t.Fatalf("%d mails, %d of them in the first minute", len(at), begun)
		}
		for i := range at[1:] {
			if gap := at[i+1].Sub(at[i]); gap < 900*time.Millisecond {
				t.Errorf("mails %d and %d are %s apart", i, i+1, gap)
			}
		}
		for domain, at := range domains {
			for i := range at[1:] {
				if gap := at[i+1].Sub(at[i]); len(at) != 20 || gap < 8*time.Second || gap > 13*time.Second {
					t.Errorf("%d mails to %s, %d and %d are %s apart", len(at), domain, i, i+1, gap)
				}
			}
		}
	})
}

// A mail that had to wait for its turn for longer than mail is tried has all
// its attempts before it.
func TestWaitingIsNotTrying(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sends := 0
		e := newEngine(t, Config{EmailsPerDay: 1, RetryFor: time.Hour, Sender: sendFunc(func(string, []string, []byte) (mail.Reply, error) {
			if sends++; sends == 2 {
				return mail.Reply{}, &mail.SendError{Class: mail.Temporary, Text: "451 later"}
			}
			return mail.Reply{Code: 250}, nil
		})})
		workflow(t, e.db, sendNow, "", nil)
		e.start(t)
		e.mustAccept(t, event("start", "a@example.com"))
		second := e.mustAccept(t, event("start", "b@example.com")).Started[0]
		time.Sleep(25 * time.Hour)
		synctest.Wait()
		if run := runOf(t, e.db, second); run.Status != automations.RunCompleted || sends != 3 {
			t.Errorf("the run is %s after %d attempts: %s", run.Status, sends, run.FailureReason)
		}
	})
}

// refuse is what a server says that turns down the only recipient.
func refuse(to string, err *mail.SendError) (mail.Reply, error) {
	return mail.Reply{Refused: []mail.Refused{{Address: to, Err: err}}}, err
}

// An address that the mail server says does not exist gets no more mail, from
// nobody. A refusal of the sender suppresses nobody.
func TestBouncesSuppress(t *testing.T) {
	for _, bounced := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			sends := 0
			e := newEngine(t, Config{Sender: sendFunc(func(_ string, to []string, _ []byte) (mail.Reply, error) {
				sends++
				return refuse(to[0], &mail.SendError{Class: mail.Permanent, Code: 550, Text: "550 no", Bounced: bounced})
			})})
			workflow(t, e.db, sendNow, "", nil)
			e.start(t)
			first := e.mustAccept(t, event("start", "a@example.com")).Started[0]
			time.Sleep(idle)
			second := e.mustAccept(t, event("start", "a@example.com")).Started[0]
			time.Sleep(idle)
			if run := runOf(t, e.db, first); run.Status != automations.RunFailed {
				t.Errorf("bounced %v: the first run is %s", bounced, run.Status)
			}
			run := runOf(t, e.db, second)
			skipped := run.Steps["m"].Status == automations.StepSkipped && run.Status == automations.RunCompleted
			if skipped != bounced || !bounced && sends != 2 || bounced && sends != 1 {
				t.Errorf("bounced %v: the second run is %s, %d attempts", bounced, run.Status, sends)
			}
			email, _ := emailOf(t, e.db, func(m *automations.Email) bool { return m.Run == first.Ref() })
			err := e.db.View(func(tx *storage.Tx) error {
				if s, err := tx.SuppressionOf("a@example.com"); bounced && (err != nil || s.Origin != automations.OriginBounce || s.SourceID != email.ID) {
					t.Errorf("suppression %+v %v", s, err)
				}
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
		})
	}
}

// When no recipient of several is accepted, each of them is told apart: who does
// not exist is suppressed with the server's words, and the others are tried
// again alone.
func TestAllRefusedForReasons(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		nobody := &mail.SendError{Class: mail.Permanent, Code: 550, Text: "550 nobody", Bounced: true}
		disliked := &mail.SendError{Class: mail.Permanent, Code: 554, Text: "554 policy"}
		full := &mail.SendError{Class: mail.Temporary, Code: 452, Text: "452 full"}
		said := map[string]*mail.SendError{"gone@example.com": nobody, "never@example.com": disliked, "full@example.com": full, "lost@example.com": nobody}
		var tried []string
		e := newEngine(t, Config{Sender: sendFunc(func(_ string, to []string, _ []byte) (mail.Reply, error) {
			tried = append(tried, strings.Join(to, " "))
			if slices.Equal(to, []string{"full@example.com"}) {
				return mail.Reply{Code: 250}, nil
			}
			var reply mail.Reply
			worst := said[to[0]]
			for _, address := range to {
				reply.Refused = append(reply.Refused, mail.Refused{Address: address, Err: said[address]})
				if said[address] == full {
					worst = full
				}
			}
			return reply, worst
		})})
		e.start(t)
		for _, tt := range []struct {
			to         []string
			status     automations.EmailStatus
			tried      []string
			settled    string
			suppressed string
		}{
			{[]string{"gone@example.com", "never@example.com", "full@example.com"}, automations.EmailSent, []string{"gone@example.com never@example.com full@example.com", "full@example.com"},
				"gone@example.com failed 550 nobody, never@example.com failed 554 policy, full@example.com sent ", "gone@example.com"},
			{[]string{"lost@example.com", "never@example.com"}, automations.EmailFailed, []string{"lost@example.com never@example.com"},
				"lost@example.com failed 550 nobody, never@example.com failed 554 policy", "lost@example.com"},
		} {
			tried = nil
			results, _, err := e.SendEmails([]*EmailRequest{{To: tt.to, Subject: "x", Text: "x"}}, true, nil)
			if err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Minute)
			email, _ := emailOf(t, e.db, func(m *automations.Email) bool { return m.ID == results[0].Email.ID })
			var settled []string
			for _, s := range email.Settled {
				settled = append(settled, fmt.Sprintf("%s %s %s", s.Address, s.Status, s.Reason))
			}
			if got := strings.Join(settled, ", "); email.Status != tt.status || got != tt.settled || !slices.Equal(tried, tt.tried) {
				t.Errorf("%v: %s, %q, tried %q", tt.to, email.Status, got, tried)
			}
			err = e.db.View(func(tx *storage.Tx) error {
				for _, address := range tt.to {
					if tx.Suppressed(address) != (address == tt.suppressed) {
						t.Errorf("%s suppressed: %v", address, tx.Suppressed(address))
					}
				}
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
		}
	})
}

// A mail that is given another time while it waits for a worker leaves at that
// time.
func TestRescheduledWhileDue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var at []time.Time
		e := newEngine(t, Config{Workers: 1, Sender: sendFunc(func(string, []string, []byte) (mail.Reply, error) {
			at = append(at, time.Now())
			time.Sleep(time.Minute) // a slow server
			return mail.Reply{Code: 250}, nil
		})})
		request := func(to string) *EmailRequest {
			return &EmailRequest{To: []string{to}, Subject: "Hi", Text: "x"}
		}
		results, _, err := e.SendEmails([]*EmailRequest{request("a@example.com"), request("b@example.com")}, true, nil)
		if err != nil {
			t.Fatal(err)
		}
		e.start(t)
		time.Sleep(time.Second)
		synctest.Wait()
		tomorrow := now().Add(24 * time.Hour)
		if _, err := e.RescheduleEmail(results[1].Email.ID, tomorrow); err != nil {
			t.Fatal(err)
		}
		time.Sleep(48 * time.Hour)
		if len(at) != 2 || at[1].Before(tomorrow) {
			t.Errorf("the mails left at %v; the second was to leave at %s", at, tomorrow)
		}
	})
}

// What became of a mail is written down when the file takes it, however long it
// does not: the mail is not left in hand until the next start.
func TestResultOutlastsAFullQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sends := 0
		e := newEngine(t, Config{Sender: sendFunc(func(string, []string, []byte) (mail.Reply, error) {
			sends++
			time.Sleep(time.Minute)
			return mail.Reply{Code: 250, Text: "ok"}, nil
		})})
		workflow(t, e.db, sendNow, "", nil)
		e.start(t)
		run := e.mustAccept(t, event("start", "a@example.com")).Started[0]
		time.Sleep(idle)
		release := make(chan struct{})
		go e.db.Update(func(*storage.Tx) error { <-release; return nil })
		synctest.Wait()
		for queued := true; queued; {
			refused := make(chan struct{})
			go func() {
				if e.db.Update(func(*storage.Tx) error { return nil }) != nil {
					close(refused)
				}
			}()
			synctest.Wait()
			select {
			case <-refused:
				queued = false
			default:
			}
		}
		time.Sleep(10 * time.Minute)
		close(release)
		time.Sleep(2 * idle)
		if m, r := mailOf(t, e, run), runOf(t, e.db, run); sends != 1 || m.Status != automations.EmailSent || r.Status != automations.RunCompleted {
			t.Errorf("%d attempts, the mail is %s, its run %s", sends, m.Status, r.Status)
		}
	})
}
