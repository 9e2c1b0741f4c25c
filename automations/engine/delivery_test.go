package engine

import (
	"fmt"
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

// An address that the mail server says does not exist gets no more mail, from
// nobody. A refusal of the sender suppresses nobody.
func TestBouncesSuppress(t *testing.T) {
	for _, bounced := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			sends := 0
			e := newEngine(t, Config{Sender: sendFunc(func(string, []string, []byte) (mail.Reply, error) {
				sends++
				return mail.Reply{}, &mail.SendError{Class: mail.Permanent, Code: 550, Text: "550 no", Bounced: bounced}
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
