package storage_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"os"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"

	"github.com/opensend/opensend/automations"
	"github.com/opensend/opensend/automations/engine"
	"github.com/opensend/opensend/automations/mail"
	"github.com/opensend/opensend/storage"
	"github.com/opensend/opensend/storage/storagetest"
)

const (
	erased  = "needle.person@privacy.example"
	written = "Needle.Person@Privacy.EXAMPLE" // as somebody else writes it
	noHook  = "https://127.0.0.1"             // no public address: nothing is asked to reach it
)

// After an erasure and a compaction no byte of the file says the address, in
// any case and any encoding that the file uses. Before, every encoding is
// found: the search can find them.
func TestErasedAddressLeavesTheFile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path := busyFile(t)
		for name, found := range findings(compacted(t, path)) {
			if !found {
				t.Errorf("before the erasure the file does not have the address in %s: this test looks for nothing", name)
			}
		}
		db := storagetest.Reopen(t, path)
		e, err := engine.New(engine.Config{DB: db})
		if err != nil {
			t.Fatal(err)
		}
		if finished, err := e.EraseAddress(erased); !finished || err != nil {
			t.Fatal(finished, err)
		}
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
		for name, found := range findings(compacted(t, path)) {
			if found {
				t.Errorf("after the erasure the file has the address in %s", name)
			}
		}
		db = storagetest.Reopen(t, path)
		err = db.View(func(tx *storage.Tx) error {
			if !tx.Suppressed(erased) {
				t.Error("the address may be written to again")
			}
			bob, err := tx.ContactByEmail("bob@example.org")
			if err != nil || string(bob.Properties["knows"]) != `"[erased]"` {
				t.Errorf("the other contact is %+v: %v", bob, err)
			}
			for _, email := range []string{"bob@example.org", "other." + erased} {
				deliveries, _, err := tx.DeliveriesOf(storage.Person{Email: email}, nil, 1000)
				if err != nil || len(deliveries) == 0 || !strings.Contains(string(deliveries[0].Payload), "kept") {
					t.Errorf("of %s there is left %v: %v", email, deliveries, err)
				}
			}
			return tx.Check()
		})
		if err != nil {
			t.Error(err)
		}
	})
}

// Records that name an address which ends in the erased one, as jo.ann@… ends
// in ann@…, are nobody's business: mail still leaves, nobody is told of a
// change, a repeated request gets its answer.
func TestErasureSparesLongerAddresses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		db := storagetest.Open(t)
		e, err := engine.New(engine.Config{DB: db, From: "x@example.net"})
		if err != nil {
			t.Fatal(err)
		}
		const longer = "jo." + erased
		answer := func([]engine.EmailResult) (int, []byte) { return 200, []byte(answered(longer)) }
		again := &engine.Idempotency[[]engine.EmailResult]{Door: "x", Key: "k", BodyHash: make([]byte, 32), Render: answer}
		request := []*engine.EmailRequest{{To: []string{longer}, Subject: "For " + longer, Text: "x", ScheduledAt: time.Now().Add(20 * 24 * time.Hour)}}
		results, _, err := e.SendEmails(request, true, again)
		if err != nil || results[0].Err != nil {
			t.Fatal(err, results)
		}
		id := results[0].Email.ID
		err = db.Update(func(tx *storage.Tx) error {
			webhook := &automations.Webhook{ID: uuid.Must(uuid.NewV7()), Endpoint: noHook, Status: automations.WebhookEnabled, Events: automations.NoticeTypes()}
			contact := &automations.Contact{ID: uuid.Must(uuid.NewV7()), Email: longer}
			return errors.Join(tx.SaveWebhook(webhook), tx.CreateContact(contact))
		})
		if err != nil {
			t.Fatal(err)
		}
		told := func(tx *storage.Tx) int {
			deliveries, _, err := tx.WebhookDeliveriesOf(storage.Person{Email: longer}, nil, 1000)
			if err != nil || len(deliveries) == 0 {
				t.Errorf("webhooks are told %d things: %v", len(deliveries), err)
			}
			return len(deliveries)
		}
		var before, after int
		var was, is *storage.EmailRow
		look := func(row **storage.EmailRow, n *int) func(tx *storage.Tx) error {
			return func(tx *storage.Tx) (err error) {
				*n = told(tx)
				*row, err = tx.Email(id)
				return err
			}
		}
		if err := db.View(look(&was, &before)); err != nil {
			t.Fatal(err)
		}
		if finished, err := e.EraseAddress(erased); !finished || err != nil {
			t.Fatal(finished, err)
		}
		if err := db.View(look(&is, &after)); err != nil {
			t.Fatal(err)
		}
		if after != before || !reflect.DeepEqual(was.Email, is.Email) || is.Status != automations.EmailQueued {
			t.Errorf("webhooks were told %d and then %d things; the mail was\n%+v and is\n%+v", before, after, was.Email, is.Email)
		}
		err = db.View(func(tx *storage.Tx) error {
			_, contentErr := tx.EmailContent(id)
			_, answerErr := tx.IdempotentAnswer("x", "k", time.Now())
			return errors.Join(contentErr, answerErr)
		})
		if err != nil {
			t.Errorf("the content and the answer: %v", err)
		}
	})
}

// Who comes back while the erasure of what was before is still under way is a
// new person: mail leaves, runs go on, answers are kept, webhooks are told.
func TestErasureSparesWhoCameBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		db := storagetest.Open(t)
		e, err := engine.New(engine.Config{DB: db, From: "x@example.net"})
		if err != nil {
			t.Fatal(err)
		}
		addWorkflow(t, db, `[{"key":"t","type":"trigger","config":{"event_name":"go"}},
			{"key":"m","type":"send_email","config":{"subject":"For {{contact.email}}","text":"{{contact.email}}"}}]`)
		accept := func(key string) *engine.Receipt {
			answer := func(r *engine.Receipt) (int, []byte) { return 202, []byte(answered(r.Delivery.Email)) }
			idem := &engine.Idempotency[*engine.Receipt]{Door: "x", Key: key, BodyHash: make([]byte, 32), Render: answer}
			r, _, err := e.Accept(&automations.Event{Name: "go", Email: erased, Payload: json.RawMessage(`{"is":"kept"}`)}, idem)
			if err != nil {
				t.Fatal(err)
			}
			return r
		}
		send := func() automations.ID {
			results, _, err := e.SendEmails([]*engine.EmailRequest{{To: []string{erased}, Subject: "Hello", Text: written}}, true, nil)
			if err != nil || results[0].Err != nil {
				t.Fatal(err, results)
			}
			return results[0].Email.ID
		}
		old, oldMail := accept("old"), send()
		webhook := &automations.Webhook{ID: uuid.Must(uuid.NewV7()), Endpoint: noHook, Status: automations.WebhookEnabled, Events: automations.NoticeTypes()}
		err = db.Update(func(tx *storage.Tx) error {
			return errors.Join(tx.DeleteContact(old.Delivery.ContactID), tx.SaveWebhook(webhook))
		})
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		back, backMail := accept("back"), send()
		time.Sleep(time.Second)
		for more := true; more; {
			err := db.Update(func(tx *storage.Tx) (err error) {
				more, err = tx.EraseSome(time.Now(), 1)
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		err = db.View(func(tx *storage.Tx) error {
			for id, there := range map[automations.ID]bool{old.Delivery.ID: false, back.Delivery.ID: true} {
				if d, err := tx.Delivery(id); err != nil || (d.Email == erased) != there || strings.Contains(string(d.Payload), "kept") != there {
					t.Errorf("the event is %+v: %v", d, err)
				}
			}
			for id, there := range map[automations.ID]bool{oldMail: false, backMail: true} {
				if m, err := tx.Email(id); err != nil || (m.Status == automations.EmailQueued) != there || len(m.To) > 0 != there {
					t.Errorf("the mail is %+v: %v", m.Email, err)
				}
			}
			for key, there := range map[string]bool{"old": false, "back": true} {
				if _, err := tx.IdempotentAnswer("x", key, time.Now()); (err == nil) != there {
					t.Errorf("the answer %s: %v", key, err)
				}
			}
			told, _, err := tx.WebhookDeliveries(webhook.ID, storage.Page{Limit: 100}, func(d *automations.WebhookDelivery) bool {
				return d.Type == automations.ContactCreatedNotice && strings.Contains(string(d.Body), erased)
			})
			if err != nil || len(told) != 1 {
				t.Errorf("webhooks are told of %d new contacts: %v", len(told), err)
			}
			return tx.Check()
		})
		if err != nil {
			t.Error(err)
		}
		ctx, stop := context.WithCancel(context.Background())
		done := make(chan error, 1)
		go func() { done <- e.Run(ctx) }()
		time.Sleep(time.Minute)
		err = db.View(func(tx *storage.Tx) error {
			mails, _, err := tx.RecentEmailsOf(storage.Person{Email: erased, ContactID: back.Delivery.ContactID}, storage.Page{Limit: 10})
			if err != nil || len(mails) != 2 || mails[0].Status != automations.EmailCaptured || mails[1].Status != automations.EmailCaptured {
				t.Errorf("%d mails: %v", len(mails), err)
			}
			return err
		})
		stop()
		if err := errors.Join(err, <-done); err != nil {
			t.Error(err)
		}
	})
}

// busyFile is a file with everything that can hold the address.
func busyFile(t *testing.T) (path string) {
	db := storagetest.Open(t)
	e, err := engine.New(engine.Config{DB: db, From: "x@example.net"})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- e.Run(ctx) }()
	addWorkflow(t, db, `[{"key":"t","type":"trigger","config":{"event_name":"go","conditions":{"type":"rule","field":"event.by","operator":"exists"}}},
		{"key":"m","type":"send_email","config":{"subject":"From {{event.by}}","html":"<p>Grüße von {{event.by}} — {{event.by}}</p>"}},
		{"key":"w","type":"wait_for_event","config":{"event_name":"more","timeout":"90 days"}},
		{"key":"w2","type":"wait_for_event","config":{"event_name":"later","timeout":"90 days"}}]`)
	accept := func(name, email, by string) {
		payload, _ := json.Marshal(map[string]string{"by": by, "note": "kept"})
		ev := &automations.Event{Name: name, Email: email, Payload: payload}
		answer := func(r *engine.Receipt) (int, []byte) { return 202, []byte(answered(r.Delivery.Email)) }
		hash := sha256.Sum256(payload)
		if _, _, err := e.Accept(ev, &engine.Idempotency[*engine.Receipt]{Door: "x", Key: name + email, BodyHash: hash[:], Render: answer}); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
	}
	for _, email := range []string{erased, "bob@example.org", "other." + erased} {
		accept("go", email, written)
		accept("later", email, written) // comes early and is kept
		accept("more", email, "see https://example.org/?who="+strings.Replace(written, "@", "%40", 1))
	}
	var requests []*engine.EmailRequest
	for _, to := range []string{"Needle <" + written + ">", "bob@example.org"} {
		for _, at := range []time.Time{{}, time.Now().Add(20 * 24 * time.Hour)} { // gone, and still to leave
			requests = append(requests, &engine.EmailRequest{
				To: []string{to}, Subject: "Neutral", Text: "plain " + written, HTML: "<p>" + strings.Repeat("ü ", 40) + written + "</p>",
				Headers: []mail.Header{{Name: "X-Who", Value: erased}}, ScheduledAt: at,
				Attachments: []mail.Attachment{{Filename: "a.csv", ContentType: "text/csv", Content: []byte("who\n" + written + "\n")}},
			})
		}
	}
	results, _, err := e.SendEmails(requests, true, nil)
	if err != nil || results[0].Err != nil {
		t.Fatal(err, results)
	}
	synctest.Wait()
	stop()
	err = errors.Join(<-done, db.Update(func(tx *storage.Tx) error {
		webhook := &automations.Webhook{ID: uuid.Must(uuid.NewV7()), Endpoint: noHook, Status: automations.WebhookEnabled, Events: automations.NoticeTypes()}
		if err := tx.SaveWebhook(webhook); err != nil {
			return err
		}
		needle, err := tx.ContactByEmail(erased)
		if err != nil {
			return err
		}
		if err := tx.UpdateContact(needle); err != nil {
			return err
		}
		if told, _, err := tx.WebhookDeliveriesOf(storage.Person{Email: erased}, nil, 1000); err != nil || len(told) == 0 {
			t.Errorf("webhooks are told nothing: %v", err)
		}
		bob, err := tx.ContactByEmail("bob@example.org")
		if err != nil {
			return err
		}
		for i, address := range []string{erased, "bob@example.org"} {
			row, err := tx.Email(results[2*i].Email.ID)
			if err != nil {
				return err
			}
			row.Note(automations.Report{Kind: automations.ReportBounced, Address: address, Text: "<" + written + "> is unknown", Source: "dsn"})
			if err := tx.SaveEmail(row); err != nil {
				return err
			}
		}
		bob.SetProperty("knows", json.RawMessage(`"`+written+`"`))
		_, _, err = tx.Suppress(&automations.Suppression{ID: uuid.Must(uuid.NewV7()), Email: erased, Origin: automations.OriginManual})
		return errors.Join(err, tx.UpdateContact(bob))
	}), db.Close())
	if err != nil {
		t.Fatal(err)
	}
	return db.Path()
}

// answered is the answer to a request that is kept for when it is repeated.
func answered(email string) string { return `{"to":"` + email + `"}` }

func addWorkflow(t *testing.T, db *storage.DB, steps string) {
	newID := func() automations.ID { return uuid.Must(uuid.NewV7()) }
	d, err := automations.ParseDefinition(json.RawMessage(steps), nil, "", newID)
	if err != nil {
		t.Fatal(err)
	}
	flow, err := automations.Compile(d)
	if err != nil {
		t.Fatal(err)
	}
	w := &automations.Workflow{
		ID: newID(), Name: "test", Status: automations.StatusEnabled, Revision: 1, CreatedAt: time.Now(), UpdatedAt: time.Now(),
		Trigger: flow.Trigger().Action.(*automations.TriggerAction).EventName, StepCount: len(d.Steps),
	}
	err = db.Update(func(tx *storage.Tx) error {
		return errors.Join(tx.AddRevision(&automations.Revision{WorkflowID: w.ID, Number: 1, Definition: d, CreatedAt: time.Now()}), tx.SaveWorkflow(w))
	})
	if err != nil {
		t.Fatal(err)
	}
}

// compacted is the file without its free pages.
func compacted(t *testing.T, path string) []byte {
	t.Helper()
	if _, _, err := storage.Compact(path, nil); err != nil {
		t.Fatal(err)
	}
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// findings tells in which encodings the file has the address.
func findings(raw []byte) map[string]bool {
	raw = bytes.ReplaceAll(raw, []byte(base64.StdEncoding.EncodeToString([]byte(answered("other."+erased)))), nil)
	lower := bytes.ReplaceAll(bytes.ToLower(raw), []byte("other."+erased), nil)
	in64 := func(text string) bool {
		for _, fragment := range alignments(text) {
			if bytes.Contains(raw, []byte(fragment)) {
				return true
			}
		}
		return false
	}
	twice := false
	for _, fragment := range alignments(written) {
		twice = twice || in64(fragment)
	}
	return map[string]bool{
		"plain text, any case":  bytes.Contains(lower, []byte(erased)),
		"links":                 bytes.Contains(lower, []byte(strings.Replace(erased, "@", "%40", 1))),
		"base64":                in64(written),
		"base64, in lower case": in64(erased),
		"base64, twice":         twice,
	}
}

// alignments are the three ways that base64 can show a text within another,
// without the characters that depend on what is around it.
func alignments(text string) (fragments []string) {
	for shift := range 3 {
		encoded := base64.StdEncoding.EncodeToString([]byte(strings.Repeat("x", shift) + text))
		from := (shift*8 + 5) / 6
		to := (shift + len(text)) * 8 / 6
		fragments = append(fragments, encoded[from:to])
	}
	return fragments
}
