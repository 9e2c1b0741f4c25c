package web

import (
	"fmt"
	"html"
	"maps"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/opensend/opensend/automations"
	"github.com/opensend/opensend/storage"
)

func (b *browser) post(path string, form url.Values) *http.Response {
	b.t.Helper()
	return b.do(http.MethodPost, path, form.Encode())
}

// contactIs reads a contact and holds it to a test.
func contactIs(t *testing.T, db *storage.DB, email string, is func(*automations.Contact) bool) {
	t.Helper()
	err := db.View(func(tx *storage.Tx) error {
		c, err := tx.ContactByEmail(email)
		if err == nil && !is(c) {
			t.Errorf("%s is %+v", email, c)
		}
		return err
	})
	if err != nil {
		t.Fatal(email, err)
	}
}

func TestContactPages(t *testing.T) {
	db, d := newDashboard(t)
	b := signedIn(t, d)
	b.want(b.get("/dashboard/contacts"), 200, "No contacts yet")
	b.want(b.get("/dashboard/contacts/new"), 200, "New contact")
	b.want(b.post("/dashboard/contacts/new", url.Values{"email": {"no"}, "first_name": {script}}), 422, "&lt;script&gt;")
	made := b.post("/dashboard/contacts/new", url.Values{"email": {"Ada@example.com"}, "first_name": {script}, "property": {"plan", "zip", "n", script, ""}, "value": {"pro", `"01234"`, "12", script, "x"}})
	b.want(made, 303, "")
	path := made.Header.Get("Location")
	contactIs(t, db, "ada@example.com", func(c *automations.Contact) bool {
		return string(c.Properties["plan"]) == `"pro"` && string(c.Properties["zip"]) == `"01234"` && string(c.Properties["n"]) == "12" && len(c.Properties) == 4
	})
	b.want(b.post("/dashboard/contacts/new", url.Values{"email": {"ada@example.com"}}), 409, "exists")
	body := b.want(b.get(path), 200, "No event and no mail of this address yet")
	if strings.Contains(body, script) || strings.Contains(body, "Suppressed since") {
		t.Errorf("the page:\n%s", body)
	}
	b.want(b.post(path+"/edit", url.Values{"email": {"ada@example.com"}, "property": {"plan", "n", "zip"}, "value": {"", "12", "01234"}}), 303, "")
	contactIs(t, db, "ada@example.com", func(c *automations.Contact) bool {
		return c.FirstName == "" && c.Properties["plan"] == nil && string(c.Properties["n"]) == "12" && string(c.Properties["zip"]) == `"01234"` && len(c.Properties) == 2
	})
	body = b.want(b.post(path+"/edit", url.Values{"email": {"broken"}, "first_name": {"Typed"}}), 422, "is not an e-mail address")
	if !strings.Contains(body, `value="Typed"`) || !strings.Contains(body, `<details class="edit" open>`) {
		t.Error("what was typed is lost")
	}
	b.want(b.post(path+"/nonsense", nil), 404, "no such record")

	b.want(b.post(path+"/suppress", nil), 303, "")
	b.want(b.get(path), 200, "somebody entered it")
	b.want(b.post(path+"/unsuppress", nil), 303, "")
	bounce := &automations.Suppression{ID: uuid.Must(uuid.NewV7()), Email: "ada@example.com", Origin: automations.OriginBounce, CreatedAt: time.Now()}
	if err := db.Update(func(tx *storage.Tx) error { _, _, err := tx.Suppress(bounce); return err }); err != nil {
		t.Fatal(err)
	}
	b.want(b.get(path), 200, "a mail to it bounced")

	export := b.get(strings.Replace(path, "/contacts/", "/contacts/export/", 1))
	if got := export.Header.Get("Content-Disposition"); !strings.HasPrefix(got, "attachment") || export.Header.Get("Content-Type") != "application/json" {
		t.Errorf("the export: %v", export.Header)
	}
	b.want(export, 200, `"object":"contact_export"`)
	b.want(b.get("/dashboard/contacts/export/"+uuid.NewString()), 404, "no such record")
	b.send(url.Values{"event": {"x"}, "email": {"ada@example.com"}})
	b.want(b.get(path), 200, "Erase ada@example.com for good? This touches the contact, 1 event and 0 mails.")
	erased := b.post(path+"/erase", nil)
	b.want(erased, 303, "")
	if to := erased.Header.Get("Location"); to != "/dashboard/contacts" {
		t.Error(to)
	}
	b.want(b.get("/dashboard/contacts"), 200, "ada@example.com is erased")
	b.want(b.get(path), 404, "no such record")
}

func TestContactSearch(t *testing.T) {
	db, d := newDashboard(t)
	b := signedIn(t, d)
	segment := &automations.Segment{ID: uuid.Must(uuid.NewV7()), Name: "VIP" + script}
	err := db.Update(func(tx *storage.Tx) error {
		if err := tx.SaveSegment(segment); err != nil {
			return err
		}
		for i := range pageRows + 5 {
			c := &automations.Contact{ID: uuid.Must(uuid.NewV7()), Email: fmt.Sprintf("c%d@example.com", i), FirstName: "Many", Unsubscribed: i == 3}
			if i == 7 {
				c.Segments = []automations.ID{segment.ID}
			}
			if err := tx.CreateContact(c); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for query, want := range map[string]string{
		"search=C1@example.com": "c1@", "status=unsubscribed": "c3@", "segment_id=" + segment.ID.String(): "c7@", "search=c7": "c7@", "search=c1%40": "c1@", "search=nobody": "",
	} {
		body := b.want(b.get("/dashboard/contacts?"+query), 200, "")
		for _, who := range []string{"c1@", "c3@", "c7@", "c20@"} {
			if strings.Contains(body, ">"+who) != (who == want) {
				t.Errorf("%s: %s is there: %v", query, who, who != want)
			}
		}
		if strings.Contains(body, script) || want == "" && !strings.Contains(body, "Nobody is like that") {
			t.Errorf("%s:\n%s", query, body)
		}
	}
	body := b.want(b.get("/dashboard/contacts?search=many"), 200, "Older")
	_, older, _ := strings.Cut(body, `<a class="button quiet" href="`)
	b.want(b.get(html.UnescapeString(older[:strings.Index(older, `"`)])), 200, ">c0@example.com<")
	b.want(b.get("/dashboard/contacts?segment_id="+uuid.NewString()), 404, "no such record")
}

func TestSegmentsAndTopics(t *testing.T) {
	db, d := newDashboard(t)
	b := signedIn(t, d)
	b.want(b.get("/dashboard/contacts/segments"), 200, "No segments yet")
	b.want(b.get("/dashboard/contacts/topics"), 200, "No topics yet")
	b.want(b.post("/dashboard/contacts/segments", url.Values{"name": {strings.Repeat("x", 256)}}), 422, "255 characters")
	b.want(b.post("/dashboard/contacts/segments", url.Values{"name": {"VIP" + script}}), 303, "")
	b.want(b.post("/dashboard/contacts/topics", url.Values{"name": {"News"}, "default": {"odd"}, "description": {script}}), 422, "default_subscription must be one of")
	b.want(b.post("/dashboard/contacts/topics", url.Values{"name": {"News" + script}, "default": {"opt_in"}}), 303, "")
	var segment, topic string
	err := db.View(func(tx *storage.Tx) error {
		segments, _, err := tx.Segments(storage.Page{Limit: 1})
		if err != nil {
			return err
		}
		topics, _, err := tx.Topics(storage.Page{Limit: 1})
		segment, topic = segments[0].ID.String(), topics[0].ID.String()
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	made := b.post("/dashboard/contacts/new", url.Values{"email": {"ada@example.com"}})
	path := made.Header.Get("Location")
	b.want(b.get(path), 200, "gets it, by default")
	b.want(b.post(path+"/join", url.Values{"segment": {segment}}), 303, "")
	b.want(b.post(path+"/join", url.Values{"segment": {"x"}}), 404, "no segment")
	b.want(b.post(path+"/topic", url.Values{"topic": {topic}, "subscription": {"opt_out"}}), 303, "")
	contactIs(t, db, "ada@example.com", func(c *automations.Contact) bool { return len(c.Segments) == 1 && len(c.Topics) == 1 })
	body := b.want(b.get(path), 200, "does not get it</span>")
	body += b.want(b.get("/dashboard/contacts/segments"), 200, "1 contact will no longer be in it")
	body += b.want(b.get("/dashboard/contacts/topics"), 200, `data-label="Chose it">0</td>`+"\n"+`<td class="figure" data-label="Left it">1</td>`)
	if strings.Contains(body, script) {
		t.Error("a script is let through")
	}
	b.want(b.post(path+"/leave", url.Values{"segment": {segment}}), 303, "")
	contactIs(t, db, "ada@example.com", func(c *automations.Contact) bool { return len(c.Segments) == 0 })
	for of, id := range map[string]string{"segments": segment, "topics": topic} {
		own := "/dashboard/contacts/" + of + "/" + id
		b.want(b.post(own+"/rename", url.Values{"name": {""}}), 422, "name")
		b.want(b.post(own+"/rename", url.Values{"name": {"Other"}}), 303, "")
		b.want(b.get("/dashboard/contacts/"+of), 200, `value="Other"`)
		b.want(b.post(own+"/nonsense", nil), 404, "")
		b.want(b.post(own+"/delete", nil), 303, "")
		b.want(b.post(own+"/delete", nil), 404, "no "+strings.TrimSuffix(of, "s"))
	}
}

// The timeline of a contact has everything once and in order, however its pages
// fall among events and mail.
func TestTimeline(t *testing.T) {
	db, d := newDashboard(t)
	b := signedIn(t, d)
	ada, bob := &automations.Contact{ID: uuid.Must(uuid.NewV7()), Email: "ada@example.com"}, &automations.Contact{ID: uuid.Must(uuid.NewV7()), Email: "bob@example.com"}
	at := time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)
	var want []string
	err := db.Update(func(tx *storage.Tx) error {
		if err := tx.CreateContact(ada); err != nil {
			return err
		}
		if err := tx.CreateContact(bob); err != nil {
			return err
		}
		for i := range 5 * timelineRows {
			id, whose := uuid.Must(uuid.NewV7()), ada
			if i%5 == 4 {
				whose = bob
			}
			var err error
			if i < 2*timelineRows || i%7 == 0 { // the oldest are all mail
				err = tx.InsertEmail(&automations.Email{ID: id, Status: automations.EmailCaptured, ContactID: whose.ID, To: []string{whose.Email}, Subject: "s", CreatedAt: at}, &automations.EmailContent{})
			} else {
				err = tx.AddDelivery(&automations.Delivery{ID: id, Event: "x", ContactID: whose.ID, Email: whose.Email, ReceivedAt: at})
			}
			if err != nil {
				return err
			}
			if whose == ada {
				want = append([]string{id.String()}, want...)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	pages := 0
	for path := "/dashboard/contacts/" + ada.ID.String(); path != ""; pages++ {
		body := b.want(b.get(path), 200, `class="moments"`)
		_, list, _ := strings.Cut(body, `class="moments"`)
		for _, part := range strings.Split(list, `<a href="/dashboard/`)[1:] {
			_, id, _ := strings.Cut(part[:strings.Index(part, `"`)], "/")
			got = append(got, id)
		}
		path = ""
		if _, older, found := strings.Cut(list, `<a class="button quiet" href="`); found {
			path = html.UnescapeString(older[:strings.Index(older, `"`)])
		}
	}
	if strings.Join(got, " ") != strings.Join(want, " ") || pages < 3 {
		t.Errorf("%d moments on %d pages, of %d", len(got), pages, len(want))
	}
}

// What an event meant to a run that waits is on the timeline of its contact.
func TestTimelineOfWaits(t *testing.T) {
	db, d := newDashboard(t)
	b := signedIn(t, d)
	_, workflow, run, _ := fill(t, db)
	var contact automations.ID
	err := db.Update(func(tx *storage.Tx) (err error) {
		if contact, err = tx.ContactID("a@example.com"); err != nil {
			return err
		}
		for _, reason := range []automations.Reason{automations.Kept, automations.ConditionsNotMet} {
			verdicts := []automations.Verdict{{Reason: reason, WorkflowID: workflow, RunID: run}}
			if err := tx.AddDelivery(&automations.Delivery{ID: newID(), Event: "paid", ContactID: contact, Email: "a@example.com", ReceivedAt: time.Now(), Verdicts: verdicts}); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	page := b.want(b.get("/dashboard/contacts/"+contact.String()), 200, "keeps it for later")
	if !strings.Contains(page, "conditions not met") {
		t.Error("nothing says that a wait did not take the event")
	}
}

// A form that was opened a while ago changes what was typed into it and nothing
// else: not that the contact has unsubscribed since, nor what automations wrote.
func TestStaleContactForm(t *testing.T) {
	db, d := newDashboard(t)
	b := signedIn(t, d)
	path := b.post("/dashboard/contacts/new", url.Values{"email": {"ada@example.com"}, "first_name": {"Ada"}, "property": {"plan", "n"}, "value": {"free", "1"}}).Header.Get("Location")
	page := b.want(b.get(path), 200, "Who it is")
	was := html.UnescapeString(strings.Split(strings.SplitAfter(page, `name="was" value="`)[1], `"`)[0])
	if err := callAs(d, http.MethodPatch, "/contacts/ada@example.com", `{"unsubscribed":true,"last_name":"Lovelace","properties":{"plan":"pro","seats":5}}`); err != nil {
		t.Fatal(err)
	}
	form := url.Values{"email": {"ada@example.com"}, "first_name": {"Augusta"}, "last_name": {""}, "property": {"n", "plan"}, "value": {"2", "free"}, "was": {was}}
	refused := maps.Clone(form)
	refused.Set("email", "broken")
	page = b.want(b.post(path+"/edit", refused), 422, "is not an e-mail address")
	if !strings.Contains(page, html.EscapeString(was)) && !strings.Contains(html.UnescapeString(page), was) {
		t.Error("what the form showed first is forgotten")
	}
	b.want(b.post(path+"/edit", form), 303, "")
	contactIs(t, db, "ada@example.com", func(c *automations.Contact) bool {
		return c.FirstName == "Augusta" && c.LastName == "Lovelace" && c.Unsubscribed && string(c.Properties["plan"]) == `"pro"` && string(c.Properties["n"]) == "2" && string(c.Properties["seats"]) == "5"
	})
	form.Set("first_name", "Ada")
	form.Set("value", "1") // n; plan is left out, which removes it
	form["property"] = []string{"n"}
	b.want(b.post(path+"/edit", form), 303, "")
	contactIs(t, db, "ada@example.com", func(c *automations.Contact) bool { return c.Properties["plan"] == nil && len(c.Properties) == 2 })
}
