package server

import (
	"bytes"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/opensend/opensend/automations/engine"
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
		`{}`:                                                                                "missing_required_field",
		`{"to":"a@example.com","subject":"x"}`:                                              "missing_required_field",
		`{"to":"a@example.com","text":"x"}`:                                                 "missing_required_field",
		`{"to":[],"subject":"x","text":"x"}`:                                                "missing_required_field",
		`{"to":"a@b","subject":"x","text":"x"}`:                                             "email_invalid",
		`{"to":"a@b.de, c@d.de","subject":"x","text":"x"}`:                                  "email_invalid",
		`{"to":"a@b.de","subject":"x\r\nBcc: c@d.de","text":"x"}`:                           "validation_error",
		`{"to":"a@b.de","from":"x","subject":"x","text":"x"}`:                               "email_invalid",
		`{"to":["a@b.de",1],"subject":"x","text":"x"}`:                                      "validation_error",
		mail(`"Subject":"x"`):                                                               "validation_error",
		mail(`"headers":{"Bcc":"x@y.de"}`):                                                  "validation_error",
		mail(`"headers":{"X-A":"x\r\nBcc: x@y.de"}`):                                        "validation_error",
		mail(`"headers":{"X-A":1}`):                                                         "validation_error",
		mail(`"tags":[{"name":"a b","value":"c"}]`):                                         "validation_error",
		mail(`"attachments":[{"filename":"x"}]`):                                            "missing_required_field",
		mail(`"attachments":[{"filename":"x","content":"%%%"}]`):                            "validation_error",
		mail(`"attachments":[{"filename":"x","content":[256]}]`):                            "validation_error",
		mail(`"attachments":[{"filename":"x","path":"file:///etc/passwd"}]`):                "validation_error",
		mail(`"attachments":[{"filename":"x","content":"","content_id":"a>b"}]`):            "validation_error",
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

// Addresses of mail may be in any letters; those of contacts may not, except
// for their domain.
func TestAddressesInAnyLetters(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		id := r.do(http.MethodPost, "/emails", `{"from":"Zoë <Zoë@Bücher.example>","to":"JO\u0308RG@例え.jp","reply_to":"用户@例子.example","subject":"Größe","text":"x"}`).want(200).text("id")
		synctest.Wait()
		r.do(http.MethodGet, "/emails/"+id, "").has("to.0", "jörg@xn--r8jz45g.jp").has("from", `=?utf-8?q?Zo=C3=AB?= <Zoë@xn--bcher-kva.example>`).has("reply_to.0", "用户@xn--fsqu00a.example").has("status", "captured")
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
