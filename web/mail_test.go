package web

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/opensend/opensend/automations"
	"github.com/opensend/opensend/storage"
)

// storeMail stores a mail with the status, made at a time of its own.
func storeMail(t *testing.T, db *storage.DB, status automations.EmailStatus, subject string, change func(*automations.Email)) automations.ID {
	t.Helper()
	at := time.Now().UTC().Truncate(time.Millisecond)
	e := &automations.Email{
		ID: uuid.Must(uuid.NewV7()), Status: status, From: "a@example.com", To: []string{"ada@example.com"}, Subject: subject, CreatedAt: at, UpdatedAt: at,
	}
	if status == automations.EmailQueued {
		e.NextAttemptAt = at.Add(time.Hour)
	}
	if change != nil {
		change(e)
	}
	content := &automations.EmailContent{HTML: `<p>Hi</p><a href="https://example.com/there">There</a>`}
	if status != automations.EmailQueued {
		content = &automations.EmailContent{Message: []byte("From: a@example.com\r\nX-Own: kept\r\nContent-Type: text/html\r\n\r\n<p>Hi</p><a href=\"https://example.com/there\">There</a>")}
	}
	if err := db.Update(func(tx *storage.Tx) error { return tx.InsertEmail(e, content) }); err != nil {
		t.Fatal(err)
	}
	return e.ID
}

func TestMailBoxes(t *testing.T) {
	db, d := newDashboard(t)
	b := signedIn(t, d)
	b.want(b.get("/dashboard/mail"), 200, "No mail yet")
	for _, status := range automations.EmailStatuses() {
		storeMail(t, db, status, "It is "+string(status), func(e *automations.Email) { e.Test = status == automations.EmailCaptured })
	}
	for name, want := range map[string]string{"all": "sent suppressed failed queued", "outbox": "queued sending", "sent": "sent", "failed": "failed", "unconfirmed": "unconfirmed", "captured": "captured", "suppressed": "suppressed", "cancelled": "cancelled"} {
		body := b.want(b.get("/dashboard/mail?box="+name), 200, `aria-current="page">`+name)
		for _, status := range automations.EmailStatuses() {
			wanted := name == "all" || strings.Contains(" "+want+" ", " "+string(status)+" ")
			if strings.Contains(body, "It is "+string(status)+"<") != wanted {
				t.Errorf("%s: %s is there: %v", name, status, !wanted)
			}
		}
	}
	b.want(b.get("/dashboard/mail?box=captured"), 200, `chip test">test`)
	body := b.want(b.get("/dashboard/mail?q=IT+IS+FAI"), 200, "It is failed")
	if strings.Contains(body, "It is sent") {
		t.Error("the filter by subject keeps what it must not")
	}
	b.want(b.get("/dashboard/mail?to=ADA@example.com"), 200, "It is sent")
	b.want(b.get("/dashboard/mail?to=eve@example.com"), 200, "No mail is like that")
	b.want(b.get("/dashboard/mail?run_id=nonsense"), 200, "No mail is like that")
	b.want(b.get("/dashboard/mail?box=outbox&q=queued"), 200, "It is queued")
	b.want(b.get("/dashboard/mail?box=nowhere"), 200, `aria-current="page">all`)
}

// Lists go on behind the last row, with their filters.
func TestMailPages(t *testing.T) {
	db, d := newDashboard(t)
	b := signedIn(t, d)
	for range pageRows + 1 {
		storeMail(t, db, automations.EmailSent, "one of many", nil)
	}
	body := b.want(b.get("/dashboard/mail?box=sent&q=many"), 200, "Older")
	_, rest, _ := strings.Cut(body, `class="button quiet" href="`)
	link, _, _ := strings.Cut(rest, `"`)
	body = b.want(b.get(strings.ReplaceAll(link, "&amp;", "&")), 200, "one of many")
	if n := strings.Count(body, "one of many"); n != 1 || strings.Contains(body, "Older") || strings.Contains(body, "hx-get") {
		t.Errorf("%d rows on the second page, from %s", n, link)
	}
}

// A filter that matches little looks at some rows, and says that there are more.
func TestMailFiltersLookAtSome(t *testing.T) {
	db, d := newDashboard(t)
	b := signedIn(t, d)
	storeMail(t, db, automations.EmailFailed, "the only one", nil)
	err := db.Update(func(tx *storage.Tx) error {
		for range pageLook {
			e := &automations.Email{ID: uuid.Must(uuid.NewV7()), Status: automations.EmailSent, To: []string{"ada@example.com"}, CreatedAt: time.Now()}
			if err := tx.SaveEmail(&storage.EmailRow{Email: e}); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	body := b.want(b.get("/dashboard/mail?box=failed"), 200, "Nothing among the newest mails")
	_, rest, _ := strings.Cut(body, `<a href="/dashboard/mail?after=`)
	link, _, _ := strings.Cut(rest, `"`)
	b.want(b.get("/dashboard/mail?after="+strings.ReplaceAll(link, "&amp;", "&")), 200, "the only one")
}

func TestMailTabs(t *testing.T) {
	db, d := newDashboard(t)
	b := signedIn(t, d)
	id := storeMail(t, db, automations.EmailCaptured, "s", nil).String()
	for tab, words := range map[string]string{
		"html": `<iframe title="HTML of the mail"`, "text": `<iframe`, "headers": "X-Own: kept", "source": "&lt;p&gt;Hi", "links": "https://example.com/there", "nonsense": "<iframe",
	} {
		b.want(b.get("/dashboard/mail/"+id+"?tab="+tab), 200, words)
	}
	source := b.get("/dashboard/mail/" + id + "/source")
	if b.want(source, 200, "X-Own: kept"); source.Header.Get("Content-Type") != "message/rfc822" || !strings.HasPrefix(source.Header.Get("Content-Disposition"), "attachment") {
		t.Errorf("the source: %v", source.Header)
	}
	queued := storeMail(t, db, automations.EmailQueued, "s", nil).String()
	b.want(b.get("/dashboard/mail/"+queued+"/source"), 404, "no such record")
	b.want(b.get("/dashboard/mail/"+queued), 200, "Nothing was tried yet")
}

// What a person decides goes through the API, and its refusals are shown.
func TestDecidingOnMail(t *testing.T) {
	db, d := newDashboard(t)
	b := signedIn(t, d)
	post := func(id automations.ID, decision string) *http.Response {
		return b.do(http.MethodPost, "/dashboard/mail/"+id.String()+"/"+decision, "")
	}
	unconfirmed := storeMail(t, db, automations.EmailUnconfirmed, "s", nil)
	b.want(b.get("/dashboard/mail/"+unconfirmed.String()), 200, unconfirmedHelp)
	b.want(post(unconfirmed, "resend"), 409, "no mail server is configured")
	b.want(post(unconfirmed, "confirm"), 303, "")
	b.want(b.get("/dashboard/mail/"+unconfirmed.String()), 200, "The mail counts as sent")
	b.want(post(unconfirmed, "confirm"), 409, "only unconfirmed mail can be confirmed")
	queued := storeMail(t, db, automations.EmailQueued, "s", nil)
	b.want(post(queued, "cancel"), 303, "")
	b.want(b.get("/dashboard/mail/"+queued.String()), 200, "cancelled")
	b.want(post(queued, "delete"), 404, "")
	b.want(post(automations.ID{}, "cancel"), 404, "no such record")
}

// A mail that nobody got says why.
func TestWhyMailWasSuppressed(t *testing.T) {
	db, d := newDashboard(t)
	b := signedIn(t, d)
	err := db.Update(func(tx *storage.Tx) error {
		_, _, err := tx.Suppress(&automations.Suppression{ID: uuid.Must(uuid.NewV7()), Email: "gone@example.com", Origin: automations.OriginBounce, CreatedAt: time.Now().UTC()})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	bounced := storeMail(t, db, automations.EmailSuppressed, "s", func(e *automations.Email) {
		e.To, e.LastError = []string{"gone@example.com"}, automations.SkippedSuppressed
	})
	b.want(b.get("/dashboard/mail/"+bounced.String()), 200, "the address is suppressed (mail to it bounced")
	left := storeMail(t, db, automations.EmailSuppressed, "s", func(e *automations.Email) { e.LastError = automations.SkippedUnsubscribed })
	b.want(b.get("/dashboard/mail/"+left.String()), 200, strings.ReplaceAll(automations.SkippedUnsubscribed, "_", " "))
	reported := storeMail(t, db, automations.EmailSent, "s", func(e *automations.Email) {
		e.Reports = []automations.Report{{Kind: automations.ReportBounced, Address: "gone@example.com", NoSuchAddress: true, Text: script, At: time.Now()}}
	})
	if body := b.want(b.get("/dashboard/mail/"+reported.String()), 200, "the address gets no more mail"); strings.Contains(body, script) {
		t.Error("a report was let through")
	}
	partly := storeMail(t, db, automations.EmailSent, "s", func(e *automations.Email) {
		e.Settled = []automations.Settled{{Address: "gone@example.com", Status: automations.EmailSuppressed, Reason: automations.SkippedSuppressed}, {Address: "ada@example.com", Status: automations.EmailSent}}
	})
	b.want(b.get("/dashboard/mail/"+partly.String()), 200, "Not to</dt><dd>gone@example.com")
}
