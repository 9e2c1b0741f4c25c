package engine

import (
	"context"
	"encoding/json"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/opensend/opensend/automations"
	"github.com/opensend/opensend/automations/inbound"
	"github.com/opensend/opensend/automations/mail"
	"github.com/opensend/opensend/storage"
)

// newest is the newest mail to an address.
func (e *Engine) newest(t testing.TB, address string) (found *automations.Email) {
	t.Helper()
	err := e.db.View(func(tx *storage.Tx) error {
		return tx.EmailsTo(address, lookBack, func(email *automations.Email) bool { found = email; return false })
	})
	if err != nil || found == nil {
		t.Fatalf("no mail to %s: %v", address, err)
	}
	return found
}

// The Message-ID of an automation's mail leads back to it, is the same in each
// attempt, and goes with the envelope.
func TestMessageIDsLeadBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var ids []string
		e := newEngine(t, Config{Sender: envelopes(func(env mail.Envelope) (mail.Reply, error) {
			if ids = append(ids, env.ID); len(ids) < 3 {
				return mail.Reply{}, &mail.SendError{Class: mail.Temporary, Text: "not now"}
			}
			return mail.Reply{Code: 250}, nil
		})})
		workflow(t, e.db, sendNow, "", nil)
		e.start(t)
		e.mustAccept(t, event("start", "ada@example.org"))
		time.Sleep(time.Hour)
		email := e.newest(t, "ada@example.org")
		if diff := cmp.Diff([]string{email.MessageID, email.MessageID, email.MessageID}, ids); diff != "" {
			t.Error(diff)
		}
		if id, ok := mail.ParseMessageID(email.MessageID); !ok || automations.ID(id) != email.ID {
			t.Errorf("%s leads to %x", email.MessageID, id)
		}
		bounce := inbound.Report{Report: automations.Report{Kind: automations.ReportBounced, NoSuchAddress: true}, Recipients: []string{"ada@example.org"}, MessageIDs: []string{"x@y.z", email.MessageID}}
		if results, _, err := e.Report([]inbound.Report{bounce}, nil); err != nil || results[0].Outcome != ReportSuppressed || results[0].EmailID != email.ID {
			t.Errorf("%+v, %v", results, err)
		}
	})
}

type envelopes func(mail.Envelope) (mail.Reply, error)

func (f envelopes) Send(_ context.Context, e mail.Envelope) (mail.Reply, error) { return f(e) }

// Webhooks are told of every report once, whether it suppresses or not.
func TestReportsAreTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEngine(t, Config{Sender: sendFunc(func(string, []string, []byte) (mail.Reply, error) { return mail.Reply{Code: 250}, nil })})
		rc := receive(t, e, status(200))
		e.webhook(t, "/mail", automations.EmailBouncedNotice, automations.EmailDelayedNotice, automations.EmailComplainedNotice)
		workflow(t, e.db, sendNow, "", nil)
		e.start(t)
		e.mustAccept(t, event("start", "ada@example.org"))
		time.Sleep(idle)
		id := e.newest(t, "ada@example.org").MessageID
		var want []string
		for _, c := range []struct {
			report automations.Report
			told   string
		}{
			{automations.Report{Kind: automations.ReportDelayed, Status: "4.4.1", Text: "later"}, "email.delivery_delayed  "},
			{automations.Report{Kind: automations.ReportBounced, Status: "4.4.7", Text: "expired"}, "email.bounced Transient expired"},
			{automations.Report{Kind: automations.ReportBounced, Status: "5.2.2", Text: "full"}, "email.bounced Permanent full"},
			{automations.Report{Kind: automations.ReportBounced, Status: "5.1.1", Text: "nobody", NoSuchAddress: true}, "email.bounced Permanent nobody"},
			{automations.Report{Kind: automations.ReportBounced, Status: "5.1.1", Text: "nobody", NoSuchAddress: true}, ""},
			{automations.Report{Kind: automations.ReportComplained}, "email.complained  "}, // it is suppressed already
		} {
			if _, _, err := e.Report([]inbound.Report{{Report: c.report, MessageIDs: []string{id}}}, nil); err != nil {
				t.Fatal(err)
			}
			time.Sleep(idle)
			if c.told != "" {
				want = append(want, c.told)
			}
		}
		var got []string
		for _, r := range rc.all() {
			var n struct {
				Type string
				Data struct {
					To     []string
					Bounce struct{ Type, Message string }
				}
			}
			if err := json.Unmarshal(r.body, &n); err != nil || len(n.Data.To) != 1 || n.Data.To[0] != "ada@example.org" {
				t.Errorf("%s: %v", r.body, err)
			}
			got = append(got, fmt.Sprintf("%s %s %s", n.Type, n.Data.Bounce.Type, n.Data.Bounce.Message))
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
	})
}

// A provider's report without a Message-ID finds the mail by the provider's
// name for it, or takes the newest; mail that did not go there is none.
func TestLikelyMail(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := 0
		e := newEngine(t, Config{Sender: sendFunc(func(_ string, to []string, _ []byte) (mail.Reply, error) {
			n++
			if n > 3 {
				return mail.Reply{}, &mail.SendError{Class: mail.Permanent, Text: "554 no"}
			}
			return mail.Reply{Code: 250, Text: fmt.Sprintf("Ok number-%d.", n)}, nil
		})})
		workflow(t, e.db, sendNow, "", nil)
		e.start(t)
		var ids []automations.ID
		for range 4 { // the last one is turned down
			e.mustAccept(t, event("start", "ada@example.org"))
			time.Sleep(idle)
			ids = append(ids, e.newest(t, "ada@example.org").ID)
		}
		for _, c := range []struct {
			to, provider string
			signed       bool
			want         automations.ID
		}{
			{"ada@example.org", "number-1.", true, ids[0]}, {"ada@example.org", "number-2.", true, ids[1]}, {"ada@example.org", "", true, ids[2]},
			{"ada@example.org", "number-9.", true, ids[2]}, {"da@example.org", "", true, automations.ID{}}, {"ada@example.org", "number-1.", false, automations.ID{}},
		} {
			r := inbound.Report{Report: automations.Report{Kind: automations.ReportDelayed}, Recipients: []string{c.to}, ProviderID: c.provider, Signed: c.signed}
			if found, err := e.likelyMails([]inbound.Report{r}); err != nil || found[0] != c.want {
				t.Errorf("%+v: %v, %v", c, found, err)
			}
		}
	})
}
