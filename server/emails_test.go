package server

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"

	"github.com/opensend/opensend/automations"
	"github.com/opensend/opensend/automations/engine"
	"github.com/opensend/opensend/automations/mail"
	"github.com/opensend/opensend/storage"
)

const plainMail = `{"from":"Ada <ada@example.com>","to":"bob@example.com","subject":"Hi","text":"Hello {{name}}"}`

func TestSendEmail(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		a := r.do(http.MethodPost, "/emails", `{"from":"Ada <Ada@Example.com>","to":["Bob <Bob@Example.com>","c@example.com"],"cc":"d@example.com","bcc":["e@example.com"],
			"reply_to":"help@example.com","subject":"Größe {{x}}","html":"<p>Hello {{name}} & <b>you</b></p>","headers":{"X-Ref":"42"},"tags":[{"name":"kind","value":"welcome"}],
			"attachments":[{"filename":"a.txt","content":"aGVsbG8="},{"filename":"b.bin","content":[0,255]}]}`).want(200).has("object", "email")
		synctest.Wait()
		got := r.do(http.MethodGet, "/emails/"+a.text("id"), "").want(200).has("status", "captured").has("from", `"Ada" <Ada@Example.com>`).has("to.0", `"Bob" <bob@example.com>`).
			has("cc.0", "d@example.com").has("bcc.0", "e@example.com").has("reply_to.0", "help@example.com").has("subject", "Größe {{x}}").has("html", "<p>Hello {{name}} & <b>you</b></p>").
			has("tags.0.name", "kind").has("run_id", nil).has("scheduled_at", nil)
		headers := fmt.Sprint(got.at("headers"))
		for _, want := range []string{"X-Ref: 42", "Cc: d@example.com", "Reply-To: help@example.com", "multipart/mixed"} {
			if !strings.Contains(headers, want) {
				t.Errorf("%s is not in %s", want, headers)
			}
		}
		if strings.Contains(headers, "e@example.com") {
			t.Errorf("the hidden recipient shows in %s", headers)
		}
		// Deleting a contact erases the mail that was for it, whoever asked for it.
		r.do(http.MethodPost, "/contacts", `{"email":"e@example.com"}`).want(201)
		r.do(http.MethodDelete, "/contacts/e@example.com", "").want(200)
		synctest.Wait()
		r.do(http.MethodGet, "/emails/"+a.text("id"), "").has("html", nil).has("to.0", nil).has("subject", "").has("tags.0", nil)
	})
}

func TestSendEmailRefuses(t *testing.T) {
	r := newRig(t)
	mail := func(change string) string { return strings.TrimSuffix(plainMail, "}") + "," + change + "}" }
	for body, code := range map[string]string{
		`{}`:                                                                     "missing_required_field",
		`{"to":"a@example.com","subject":"x"}`:                                   "missing_required_field",
		`{"to":"a@example.com","text":"x"}`:                                      "missing_required_field",
		`{"to":[],"subject":"x","text":"x"}`:                                     "missing_required_field",
		`{"to":"a@b","subject":"x","text":"x"}`:                                  "email_invalid",
		`{"to":"a@b.de, c@d.de","subject":"x","text":"x"}`:                       "email_invalid",
		`{"to":"a@b.de","subject":"x\r\nBcc: c@d.de","text":"x"}`:                "validation_error",
		`{"to":"a@b.de","from":"x","subject":"x","text":"x"}`:                    "email_invalid",
		`{"to":["a@b.de",1],"subject":"x","text":"x"}`:                           "validation_error",
		mail(`"Subject":"x"`):                                                    "validation_error",
		mail(`"headers":{"Bcc":"x@y.de"}`):                                       "validation_error",
		mail(`"headers":{"X-A":"x\r\nBcc: x@y.de"}`):                             "validation_error",
		mail(`"headers":{"X-A":1}`):                                              "validation_error",
		mail(`"tags":[{"name":"a b","value":"c"}]`):                              "validation_error",
		mail(`"attachments":[{"filename":"x"}]`):                                 "missing_required_field",
		mail(`"attachments":[{"filename":"x","content":"%%%"}]`):                 "validation_error",
		mail(`"attachments":[{"filename":"x","content":[256]}]`):                 "validation_error",
		mail(`"attachments":[{"filename":"x","path":"file:///etc/passwd"}]`):     "validation_error",
		mail(`"attachments":[{"filename":"x","content":"","content_id":"a>b"}]`): "validation_error",
		mail(`"attachments":[{"filename":"x","content":"","content_type":"` + strings.Repeat("a", 256) + `/b"}]`): "validation_error",
		mail(`"scheduled_at":"tomorrow"`):                                                   "validation_error",
		mail(`"scheduled_at":"in 31 days"`):                                                 "validation_error",
		mail(`"topic_id":"nonsense"`):                                                       "validation_error",
		mail(`"topic_id":"0190d1a2-0000-7000-8000-000000000000"`):                           "validation_error",
		mail(`"template":{"id":"none"}`):                                                    "validation_error",
		`{"to":"a@b.de","template":{}}`:                                                     "missing_required_field",
		`{"to":["` + strings.Repeat(`a@b.de","`, 50) + `a@b.de"],"subject":"x","text":"x"}`: "validation_error",
	} {
		r.do(http.MethodPost, "/emails", body).want(422).has("code", code)
	}
	r.do(http.MethodGet, "/emails", "").want(200).has("data.0", nil)
}

func TestEmailFromTemplate(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.do(http.MethodPost, "/templates", `{"name":"Hello","alias":"hello","from":"T <t@example.com>","reply_to":"r@example.com","subject":"Hi {{name}}","html":"<p>{{name}} {{{contact.last_name|?}}} {{plan}}</p>",
			"variables":[{"key":"name","type":"string"},{"key":"plan","type":"string","fallback_value":"free"}]}`).want(201)
		send := func(more string) *reply {
			return r.do(http.MethodPost, "/emails", `{"to":"ada@example.com","template":{"id":"hello","variables":{`+more+`}}}`)
		}
		send(`"name":"A"`).want(409).has("code", "template_not_published")
		r.do(http.MethodPost, "/templates/hello/publish", "").want(200)
		send(``).want(422).has("code", "template_variable_missing").has("details.0.path", "template")
		r.do(http.MethodPost, "/contacts", `{"email":"ada@example.com","last_name":"Lovelace"}`).want(201)
		a := send(`"name":"<Ada>"`).want(200)
		synctest.Wait()
		r.do(http.MethodGet, "/emails/"+a.text("id"), "").has("subject", "Hi <Ada>").has("html", "<p>&lt;Ada&gt; Lovelace free</p>").has("from", `"T" <t@example.com>`).has("reply_to.0", "r@example.com")
	})
}

func TestScheduledEmail(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		mail := func(at string) string {
			return r.do(http.MethodPost, "/emails", strings.TrimSuffix(plainMail, "}")+`,"scheduled_at":"`+at+`"}`).want(200).text("id")
		}
		kept, moved, dropped, past := mail("in 2 hours"), mail(time.Now().Add(time.Hour).Format(time.RFC3339)), mail("in 1 day"), mail("1999-01-01T00:00:00Z")
		for _, none := range []string{`{}`, `{"scheduled_at":null}`, `{"scheduled_at":""}`, `{"id":"x","scheduled_at":" "}`} { // it must not leave at once
			r.do(http.MethodPatch, "/emails/"+moved, none).want(422).has("name", "missing_required_field")
		}
		r.do(http.MethodPatch, "/emails/"+moved, `{"scheduled_at":"in 3 hours"}`).want(200).has("id", moved)
		r.do(http.MethodPost, "/emails/"+dropped+"/cancel", "").want(200).has("object", "email").has("status", "cancelled").has("last_event", "canceled")
		status := func(id, want string) { t.Helper(); r.do(http.MethodGet, "/emails/"+id, "").has("status", want) }
		synctest.Wait()
		status(past, "captured")
		time.Sleep(2*time.Hour - time.Second)
		synctest.Wait()
		status(kept, "queued")
		time.Sleep(time.Second)
		synctest.Wait()
		status(kept, "captured")
		status(moved, "queued")
		time.Sleep(time.Hour)
		synctest.Wait()
		status(moved, "captured")
		time.Sleep(48 * time.Hour)
		synctest.Wait()
		status(dropped, "cancelled")
		r.do(http.MethodPost, "/emails/"+kept+"/cancel", "").want(409).has("code", "email_not_scheduled")
		r.do(http.MethodPatch, "/emails/"+kept, `{"scheduled_at":"in 3 hours"}`).want(409)
		r.do(http.MethodPatch, "/emails/"+kept, `{}`).want(422)
		r.do(http.MethodPost, "/emails/0190d1a2-0000-7000-8000-000000000000/cancel", "").want(404)
	})
}

func TestEmailBatch(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		bad := `{"to":"x","subject":"x","text":"x"}`
		gone := `{"to":"x@example.com","template":{"id":"gone"}}`
		r.do(http.MethodPost, "/emails/batch", "["+plainMail+","+bad+"]").want(422).has("details.0.path", "[1].to[0]")
		r.do(http.MethodPost, "/emails/batch", "["+plainMail+","+gone+"]").want(404).has("details.0.path", "[1].template")
		r.do(http.MethodPost, "/emails/batch", "[]").want(422)
		r.do(http.MethodPost, "/emails/batch", plainMail).want(422)
		r.do(http.MethodGet, "/emails", "").has("data.0", nil)
		r.do(http.MethodPost, "/emails/batch", "["+plainMail+","+plainMail+"]").want(200).text("data.1.id")
		a := r.do(http.MethodPost, "/emails/batch", "["+bad+","+plainMail+","+gone+"]", "x-batch-validation", "permissive").want(200).has("errors.0.index", 0).has("errors.1.index", 2)
		a.text("data.0.id")
		r.do(http.MethodGet, "/emails?limit=2", "").has("has_more", true)
	})
}

func TestEmailIdempotency(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		first := r.do(http.MethodPost, "/emails", plainMail, "Idempotency-Key", "k").want(200)
		again := r.do(http.MethodPost, "/emails", plainMail, "Idempotency-Key", "k").want(200)
		if !bytes.Equal(first.raw, again.raw) || again.header.Get("Idempotent-Replayed") != "true" {
			t.Errorf("%s, then %s", first.raw, again.raw)
		}
		r.do(http.MethodPost, "/emails", plainMail+" ", "Idempotency-Key", "k").want(409).has("name", "invalid_idempotent_request")
		r.do(http.MethodPost, "/emails/batch", "["+plainMail+"]", "Idempotency-Key", "k").want(200)
		r.do(http.MethodPost, "/emails", `{"to":"a@b.de","template":{"id":"late"}}`, "Idempotency-Key", "free").want(404).has("code", "template_not_found")
		r.do(http.MethodPost, "/emails", plainMail, "Idempotency-Key", "free").want(200)
		r.do(http.MethodGet, "/emails?limit=3", "").has("has_more", false)
	})
}

func TestSuppressedRecipients(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		topic := r.do(http.MethodPost, "/topics", `{"name":"News","default_subscription":"opt_in"}`).want(201).text("id")
		r.do(http.MethodPost, "/suppressions", `{"email":"b@example.com"}`).want(201)
		r.do(http.MethodPost, "/contacts", `{"email":"c@example.com","unsubscribed":true}`).want(201)
		r.do(http.MethodPost, "/contacts", `{"email":"d@example.com"}`).want(201)
		r.do(http.MethodPatch, "/contacts/d@example.com/topics", `[{"id":"`+topic+`","subscription":"opt_out"}]`).want(200)
		send := func(to, more string) *reply {
			id := r.do(http.MethodPost, "/emails", `{"to":[`+to+`],"subject":"x","text":"x"`+more+`}`).want(200).text("id")
			synctest.Wait()
			return r.do(http.MethodGet, "/emails/"+id, "")
		}
		send(`"b@example.com"`, "").has("status", "suppressed").has("last_error", "address is suppressed")
		send(`"a@example.com","B@example.com"`, "").has("status", "captured").has("recipients.0.address", "b@example.com").has("recipients.0.status", "suppressed")
		send(`"c@example.com"`, "").has("status", "captured") // transactional
		ofTopic := `,"topic_id":"` + topic + `"`
		send(`"c@example.com"`, ofTopic).has("status", "suppressed").has("last_error", "contact is unsubscribed")
		send(`"d@example.com"`, ofTopic).has("status", "suppressed").has("last_error", "contact does not want mail of this topic")
		send(`"e@example.com"`, ofTopic).has("status", "captured")
		r.do(http.MethodDelete, "/topics/"+topic, "").want(200)
	})
}

func TestQuotas(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRigWith(t, Config{}, func(c *engine.Config) { c.EmailsPerDay, c.EmailsPerMonth = 3, 4 })
		id := r.automation("a", `[{"key":"t","type":"trigger","config":{"event_name":"start"}},{"key":"m","type":"send_email","config":`+inlineMail+`}]`, "")
		for range 2 {
			r.do(http.MethodPost, "/emails", plainMail).want(200)
		}
		r.do(http.MethodPost, "/emails/batch", "["+plainMail+","+plainMail+"]").want(429).has("name", "daily_quota_exceeded") // neither of both
		runs := []*reply{r.post("start", "a@example.com", `{"plan":"x"}`), r.post("start", "b@example.com", `{"plan":"x"}`), r.post("start", "c@example.com", `{"plan":"x"}`)}
		synctest.Wait()
		a := r.do(http.MethodPost, "/emails", plainMail).want(429).has("name", "daily_quota_exceeded").has("code", "daily_quota_exceeded")
		if wait := a.header.Get("Retry-After"); wait != "86400" {
			t.Errorf("Retry-After %s at midnight", wait)
		}
		r.run(id, runs[0]).has("status", "completed")
		r.run(id, runs[1]).has("status", "running")
		time.Sleep(24*time.Hour + time.Minute) // the second mail is the fourth of the month
		synctest.Wait()
		r.run(id, runs[1]).has("status", "completed")
		r.do(http.MethodPost, "/emails", plainMail).want(429).has("name", "monthly_quota_exceeded")
		r.run(id, runs[2]).has("status", "running")
		time.Sleep(30*24*time.Hour + time.Minute) // 2000-02-01
		synctest.Wait()
		r.run(id, runs[2]).has("status", "completed")
		r.do(http.MethodPost, "/emails", plainMail).want(200)
	})
}

// A mail that is moved or taken back leaves the quota of its day to others.
func TestQuotasOfChangedMail(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRigWith(t, Config{}, func(c *engine.Config) { c.EmailsPerDay = 1 })
		tomorrow := strings.TrimSuffix(plainMail, "}") + `,"scheduled_at":"in 24 hours"}`
		id := r.do(http.MethodPost, "/emails", tomorrow).want(200).text("id")
		r.do(http.MethodPost, "/emails", tomorrow).want(429)
		r.do(http.MethodPatch, "/emails/"+id, `{"scheduled_at":"in 25 hours"}`).want(200) // the same day
		r.do(http.MethodPatch, "/emails/"+id, `{"scheduled_at":"in 49 hours"}`).want(200)
		next := r.do(http.MethodPost, "/emails", tomorrow).want(200).text("id")
		r.do(http.MethodPatch, "/emails/"+id, `{"scheduled_at":"in 24 hours"}`).want(429) // and nothing of it stays
		r.do(http.MethodPost, "/emails/"+next+"/cancel", "").want(200)
		r.do(http.MethodPatch, "/emails/"+id, `{"scheduled_at":"in 24 hours"}`).want(200)
		r.do(http.MethodPost, "/emails", tomorrow).want(429)
		r.do(http.MethodPatch, "/emails/"+id, `{"scheduled_at":"1999-01-01T00:00:00Z"}`).want(200) // it leaves at once, today
		r.do(http.MethodPost, "/emails", plainMail).want(429)
	})
}

// Addresses of mail may be in any letters; those of contacts may not, except
// for their domain.
func TestAddressesInAnyLetters(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		id := r.do(http.MethodPost, "/emails", `{"from":"Zoë <Zoë@Bücher.example>","to":"JO\u0308RG@例え.jp","reply_to":"用户@例子.example","subject":"Größe","text":"x"}`).want(200).text("id")
		synctest.Wait()
		r.do(http.MethodGet, "/emails/"+id, "").has("to.0", "jörg@xn--r8jz45g.jp").has("from", `"Zoë" <Zoë@xn--bcher-kva.example>`).has("reply_to.0", "用户@xn--fsqu00a.example").has("status", "captured")
		r.do(http.MethodPost, "/suppressions", `{"email":"Jörg@例え.jp"}`).want(201)
		id = r.do(http.MethodPost, "/emails", `{"from":"a@example.com","to":"jörg@xn--r8jz45g.jp","subject":"x","text":"x"}`).want(200).text("id")
		synctest.Wait()
		r.do(http.MethodGet, "/emails/"+id, "").has("status", "suppressed")
		r.do(http.MethodGet, "/suppressions/j%C3%B6rg@xn--r8jz45g.jp", "").want(200)

		r.do(http.MethodPost, "/contacts", `{"email":"jörg@example.com"}`).want(422).has("code", "email_invalid")
		r.do(http.MethodPost, "/events/send", `{"event":"x","email":"jörg@example.com"}`).want(422)
		r.do(http.MethodPost, "/contacts", `{"email":"jorg@Bücher.example"}`).want(201)
		r.do(http.MethodGet, "/contacts/jorg@b%C3%BCcher.example", "").want(200).has("email", "jorg@xn--bcher-kva.example")
		for _, to := range []string{"a b@c.de", "a\u00a0b@c.de", "😀@c.de", "a@[127.0.0.1]", "a@c.de\r\nBcc: x@y.zz", "a@b.cd, c@d.ef", "\u212a@c.de"} {
			r.do(http.MethodPost, "/emails", `{"from":"a@example.com","to":`+string(encode(to))+`,"subject":"x","text":"x"}`).want(422)
		}
		r.do(http.MethodPost, "/emails", `{"from":"a@example.com","to":"b@example.com","subject":"`+strings.Repeat("x", 999)+`","text":"x"}`).want(422).has("details.0.path", "subject")
		r.do(http.MethodPost, "/emails", `{"from":"a@example.com","to":"b@example.com","subject":"x","text":"x","attachments":[{"filename":"`+strings.Repeat("x", 256)+`","content":"aGk="}]}`).want(422).has("details.0.path", "attachments[0].filename")
	})
}

// Captured mail can be found by what it is, and read in every way.
func TestInbox(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		id := r.automation("a", `[{"key":"t","type":"trigger","config":{"event_name":"start"}},{"key":"m","type":"send_email","config":{"subject":"Wärme für {{event.plan}}",
			"html":"<p><a href=\"https://example.com/?a=1&amp;b=2\">Read <b>more</b>\n now</a> <a href='mailto:help@example.com'><img src=x alt=Help></a> <a href='javascript:x()'>no</a> <a name=x>no</a></p>"}}]`, "")
		run := r.post("start", "ada@example.com", `{"plan":"Pro"}`).text("automation_runs.0.id")
		other := r.do(http.MethodPost, "/emails", `{"to":["b@example.com","c@example.com"],"subject":"x","text":"See https://example.com/a_(b), (http://example.com/c). Or ftp://example.com"}`).want(200).text("id")
		later := r.do(http.MethodPost, "/emails", strings.TrimSuffix(plainMail, "}")+`,"scheduled_at":"in 2 hours"}`).want(200).text("id")
		synctest.Wait()
		var mail string
		for query, want := range map[string]int{
			"": 3, "status=captured": 2, "status=queued": 1, "to=ADA@example.com": 1, "to=c@example.com": 1, "to=d@example.com": 0, "q=wÄRME": 1, "q=Kälte": 0,
			"run_id=" + run: 1, "run_id=" + other: 0, "automation_id=" + id: 1, "automation_id=" + id + "&status=queued": 0, "to=ada@example.com&q=pro": 1,
		} {
			a := r.do(http.MethodGet, "/emails?"+query, "").want(200)
			if n := len(a.at("data").([]any)); n != want {
				t.Errorf("%s finds %d mails", query, n)
			}
			if query == "run_id="+run {
				mail = a.text("data.0.id")
			}
		}
		for _, query := range []string{"status=lost", "run_id=x", "automation_id=x", "limit=0"} {
			r.do(http.MethodGet, "/emails?"+query, "").want(422)
		}
		r.do(http.MethodGet, "/emails/"+mail, "").want(200).has("links.0.url", "https://example.com/?a=1&b=2").has("links.0.text", "Read more now").
			has("links.1.url", "mailto:help@example.com").has("links.1.text", "Help").has("links.2", nil)
		r.do(http.MethodGet, "/emails/"+other, "").has("links.0.url", "https://example.com/a_(b)").has("links.1.url", "http://example.com/c").has("links.2", nil)
		source := r.do(http.MethodGet, "/emails/"+mail+"/source", "").want(200)
		if kind := source.header.Get("Content-Type"); kind != "message/rfc822" || !bytes.Contains(source.raw, []byte("\r\nTo: ada@example.com\r\n")) {
			t.Errorf("%s: %s", kind, source.raw)
		}
		r.do(http.MethodGet, "/emails/"+later+"/source", "").want(404).has("code", "email_source_not_found")
		r.do(http.MethodGet, "/emails/"+run+"/source", "").want(404).has("code", "email_not_found")
		r.do(http.MethodDelete, "/contacts/ada@example.com", "").want(200)
		synctest.Wait()
		r.do(http.MethodGet, "/emails/"+mail+"/source", "").want(404).has("code", "email_source_not_found")
		r.do(http.MethodGet, "/emails/"+mail, "").want(200).has("links.0", nil)
	})
}

// A page of mail that matches little is cut short and goes on where it says.
func TestInboxScanIsBounded(t *testing.T) {
	r := newRig(t)
	err := r.db.Update(func(tx *storage.Tx) error {
		for i := range 20_100 {
			m := &automations.Email{ID: uuid.Must(uuid.NewV7()), Status: automations.EmailSent, To: []string{"b@example.com"}, Subject: "x", CreatedAt: time.Now()}
			if i == 0 {
				m.Subject = "needle"
			}
			if err := tx.InsertEmail(m, &automations.EmailContent{}); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	cut := r.do(http.MethodGet, "/emails?q=needle", "").want(200).has("data.0", nil).has("has_more", true).text("next_cursor")
	r.do(http.MethodGet, "/emails?q=needle&after="+cut, "").want(200).has("data.0.subject", "needle").has("has_more", false)
}

// takesOrNot is a mail server that leaves the first mail in doubt.
type takesOrNot struct{ messages []string }

func (s *takesOrNot) Send(_ context.Context, e mail.Envelope) (mail.Reply, error) {
	if s.messages = append(s.messages, string(e.Message)); len(s.messages) < 3 {
		return mail.Reply{}, &mail.SendError{Class: mail.Unknown, Text: "gone"}
	}
	return mail.Reply{Code: 250}, nil
}

// What a person decides about a mail, and what a test key may not.
func TestDecideOnEmails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sender := &takesOrNot{}
		r := newRigWith(t, Config{}, func(c *engine.Config) { c.Sender = sender })
		test := r.testKey("full_access")
		send := func(key string) string {
			id := r.send(r.public, key, http.MethodPost, "/emails", plainMail).want(200).text("id")
			synctest.Wait()
			return id
		}
		decide := func(id, what string) *reply { return r.do(http.MethodPost, "/emails/"+id+"/"+what, "") }
		first, second, captured := send(r.key), send(r.key), send(test)
		r.do(http.MethodGet, "/emails/"+captured, "").has("status", "captured").has("test", true)
		r.do(http.MethodGet, "/emails/"+first, "").has("status", "unconfirmed").has("test", false)
		for _, what := range []string{"resend", "confirm", "release"} {
			r.send(r.public, test, http.MethodPost, "/emails/"+first+"/"+what, "").want(403).has("name", "restricted_api_key").has("code", "test_api_key")
			decide(r.key, what).want(404)
			decide("0190d1a2-0000-7000-8000-000000000000", what).want(404).has("code", "email_not_found")
		}
		decide(first, "release").want(409).has("code", "email_not_captured")
		decide(captured, "confirm").want(409).has("code", "email_not_unconfirmed")
		decide(captured, "resend").want(409).has("code", "email_not_resendable")
		decide(first, "resend").want(200).has("status", "queued")
		decide(second, "confirm").want(200).has("status", "sent")
		decide(captured, "release").want(200).has("status", "queued")
		synctest.Wait()
		for _, id := range []string{first, second, captured} {
			r.do(http.MethodGet, "/emails/"+id, "").has("status", "sent")
		}
		if len(sender.messages) != 4 || !slices.Contains(sender.messages[2:], sender.messages[0]) { // workers leave in any order
			t.Errorf("%d messages, or other bytes", len(sender.messages))
		}
	})
	inBubble(t, func(t *testing.T, r *rig) {
		id := r.do(http.MethodPost, "/emails", plainMail).want(200).text("id")
		synctest.Wait()
		r.do(http.MethodPost, "/emails/"+id+"/release", "").want(409).has("code", "smtp_not_configured")
	})
}

// A test key shows wherever it was used, and shares no Idempotency-Key with
// other keys.
func TestTestKeys(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.automation("a", `[{"key":"t","type":"trigger","config":{"event_name":"start"}}]`, "")
		made := r.do(http.MethodPost, "/api-keys", `{"name":"try","test":true}`).want(201).has("test", true)
		r.do(http.MethodGet, "/api-keys", "").has("data.0.name", "try").has("data.0.test", true).has("data.1.test", false)
		r.do(http.MethodPost, "/api-keys", `{"name":"try","test":"yes"}`).want(422)
		r.do(http.MethodPatch, "/api-keys/"+made.text("id"), `{"name":"x","test":false}`).want(422)
		send := func(path, body string) *reply {
			return r.send(r.public, made.text("token"), http.MethodPost, path, body, "Idempotency-Key", "k")
		}
		body := `{"event":"start","email":"a@example.com"}`
		r.do(http.MethodPost, "/events/send", body, "Idempotency-Key", "k").want(202).has("delivery.test", nil).has("automation_runs.0.test", false)
		id := send("/events/send", body).want(202).has("delivery.test", true).has("automation_runs.0.test", true).text("delivery.id")
		r.send(r.trust, "", http.MethodPost, "/events/send", body, TestHeader, "true").want(202).has("delivery.test", true)
		r.do(http.MethodPost, "/events/send", body, TestHeader, "true").want(202).has("delivery.test", nil) // not for those who are not trusted
		send("/events/send/batch", "["+body+"]").want(202).has("data.0.delivery.test", true)
		send("/v1/events", `{"event_name":"start","email":"b@example.com"}`).want(200).has("status", "processed")
		r.do(http.MethodGet, "/deliveries/"+id, "").has("test", true)
		r.do(http.MethodGet, "/deliveries?email=b@example.com", "").has("data.0.test", true)
		batch := send("/emails/batch", "["+plainMail+"]").want(200)
		synctest.Wait()
		r.do(http.MethodGet, "/emails/"+batch.text("data.0.id"), "").has("test", true)
	})
}
