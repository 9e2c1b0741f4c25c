package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"maps"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
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

// receiver is an HTTP server that the engine's webhooks reach over pipes, so
// that it lives in virtual time.
type receiver struct {
	mu   sync.Mutex
	got  []received
	from chan net.Conn
}

// received is one request: its time, headers and body.
type received struct {
	at     time.Time
	header http.Header
	body   []byte
	path   string
}

func (r received) kind() automations.NoticeType {
	var n automations.Notice
	if err := json.Unmarshal(r.body, &n); err != nil {
		return automations.NoticeType(err.Error())
	}
	return n.Type
}

func (r received) data() map[string]any {
	var n struct{ Data map[string]any }
	json.Unmarshal(r.body, &n)
	return n.Data
}

// receive makes the engine reach a server that answers as the test says.
func receive(t testing.TB, e *Engine, answer func(w http.ResponseWriter, r received)) *receiver {
	rc := &receiver{from: make(chan net.Conn)}
	server := &http.Server{
		ErrorLog: log.New(io.Discard, "", 0),
		Handler: http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
			body, err := io.ReadAll(req.Body)
			if err != nil {
				return
			}
			r := received{now(), req.Header, body, req.URL.Path}
			rc.mu.Lock()
			rc.got = append(rc.got, r)
			rc.mu.Unlock()
			answer(w, r)
		}),
	}
	go server.Serve(rc)
	t.Cleanup(func() { server.Close() })
	rc.reach(e)
	return rc
}

// reach makes the engine's connections end at the receiver.
func (rc *receiver) reach(e *Engine) {
	e.outbound.dial = func(ctx context.Context, _, _ string) (net.Conn, error) {
		ours, theirs := net.Pipe()
		select {
		case rc.from <- theirs:
			return ours, nil
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

func (rc *receiver) Accept() (net.Conn, error) {
	conn, ok := <-rc.from
	if !ok {
		return nil, net.ErrClosed
	}
	return conn, nil
}

func (rc *receiver) Close() error { close(rc.from); return nil }

func (rc *receiver) Addr() net.Addr { return &net.TCPAddr{} }

func (rc *receiver) all() []received {
	rc.mu.Lock()
	defer rc.mu.Unlock()
	return slices.Clone(rc.got)
}

func (rc *receiver) kinds() (kinds []automations.NoticeType) {
	for _, r := range rc.all() {
		kinds = append(kinds, r.kind())
	}
	return kinds
}

func status(code int) func(http.ResponseWriter, received) {
	return func(w http.ResponseWriter, _ received) { w.WriteHeader(code) }
}

// webhook stores an enabled webhook at a public address.
func (e *Engine) webhook(t testing.TB, path string, kinds ...automations.NoticeType) *automations.Webhook {
	t.Helper()
	w := &automations.Webhook{ID: newID(), Endpoint: "http://93.184.216.34" + path, Events: kinds, Status: automations.WebhookEnabled, CreatedAt: now(), UpdatedAt: now()}
	if err := errors.Join(e.CheckEndpoint(w.Endpoint), e.CreateWebhook(w)); err != nil {
		t.Fatal(err)
	}
	return w
}

func webhookOf(t testing.TB, db *storage.DB, id automations.ID) (w *automations.Webhook) {
	t.Helper()
	if err := db.View(func(tx *storage.Tx) (err error) { w, err = tx.Webhook(id); return err }); err != nil {
		t.Fatal(err)
	}
	return w
}

// deliveriesTo reads the newest deliveries to a webhook and checks the file.
func deliveriesTo(t testing.TB, db *storage.DB, webhook automations.ID) (list []*automations.WebhookDelivery) {
	t.Helper()
	err := db.View(func(tx *storage.Tx) (err error) {
		list, _, err = tx.WebhookDeliveries(webhook, storage.Page{Limit: 100}, nil)
		return errors.Join(err, tx.Check())
	})
	if err != nil {
		t.Fatal(err)
	}
	return list
}

func (e *Engine) newContact(t testing.TB, email string) *automations.Contact {
	t.Helper()
	c := &automations.Contact{ID: newID(), Email: email, FirstName: "Ada", CreatedAt: now(), UpdatedAt: now()}
	if err := e.db.Update(func(tx *storage.Tx) error { return tx.CreateContact(c) }); err != nil {
		t.Fatal(err)
	}
	return c
}

func verify(t testing.TB, secret []byte, r received) error {
	t.Helper()
	verifier, err := standardwebhooks.NewWebhookRaw(secret)
	if err != nil {
		t.Fatal(err)
	}
	return verifier.Verify(r.body, r.header)
}

// A notice is tried for three days, ever less often, with the same id and a
// signature of its own each time; then it has failed, and can be replayed.
func TestWebhookRetries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEngine(t, Config{})
		code, w := http.StatusInternalServerError, e.webhook(t, "/hook", automations.ContactCreatedNotice)
		rc := receive(t, e, func(rw http.ResponseWriter, r received) {
			if err := verify(t, w.Secret, r); err != nil {
				t.Error(err)
			}
			rw.WriteHeader(code)
			io.WriteString(rw, strings.Repeat("é", 600))
		})
		e.start(t)
		started := now()
		e.newContact(t, "ada@example.com")
		time.Sleep(4 * 24 * time.Hour)
		synctest.Wait()
		tries := rc.all()
		if len(tries) < 12 || len(tries) > 13 || tries[0].at != started {
			t.Fatalf("%d attempts, the first at %s", len(tries), tries[0].at.Sub(started))
		}
		want := 5 * time.Second
		for i, r := range tries {
			for _, name := range []string{"id", "timestamp", "signature"} {
				if r.header.Get("svix-"+name) != r.header.Get("webhook-"+name) {
					t.Errorf("attempt %d: svix-%s differs", i, name)
				}
			}
			if r.header.Get("webhook-id") != tries[0].header.Get("webhook-id") || string(r.body) != string(tries[0].body) {
				t.Errorf("attempt %d is another notice", i)
			}
			if i == 0 {
				continue
			}
			if gap := r.at.Sub(tries[i-1].at); gap < want || gap > want+want/4+time.Second {
				t.Errorf("attempt %d came after %s, want %s and up to a quarter more", i, gap, want)
			}
			want = min(want*4, 12*time.Hour)
		}
		d := deliveriesTo(t, e.db, w.ID)[0]
		last := d.Attempts[len(d.Attempts)-1]
		if d.Status != automations.NoticeFailed || len(d.Attempts) != len(tries) || last.Code != 500 || last.Error != "answered 500" || len(last.Response) != keptResponse {
			t.Errorf("%+v", d)
		}
		code = http.StatusOK
		if _, err := e.ReplayNotice(w.ID, d.ID); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		d = deliveriesTo(t, e.db, w.ID)[0]
		if again := rc.all(); d.Status != automations.NoticeDelivered || d.Tries != 1 || len(again) != len(tries)+1 || again[len(tries)].header.Get("webhook-id") != d.ID.String() {
			t.Errorf("replayed: %+v", d)
		}
		if w := webhookOf(t, e.db, w.ID); !w.FailingSince.IsZero() {
			t.Errorf("failing since %s after a success", w.FailingSince)
		}
	})
}

// What was pending when the program ended is delivered by the next one.
func TestWebhookRestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEngine(t, Config{})
		receive(t, e, status(503))
		w := e.webhook(t, "/hook", automations.ContactCreatedNotice)
		stop := e.start(t)
		e.newContact(t, "a@example.com")
		time.Sleep(time.Second)
		stop()
		e.newContact(t, "b@example.com") // told while no loop runs
		path := e.db.Path()
		if err := e.db.Close(); err != nil {
			t.Fatal(err)
		}
		next := newEngine(t, Config{DB: storagetest.Reopen(t, path)})
		rc := receive(t, next, status(204))
		next.start(t)
		time.Sleep(time.Minute)
		if got := rc.all(); len(got) != 2 {
			t.Errorf("%d notices after the restart", len(got))
		}
		for _, d := range deliveriesTo(t, next.db, w.ID) {
			if d.Status != automations.NoticeDelivered {
				t.Errorf("%+v", d)
			}
		}
	})
}

// An endpoint that is gone, or does nothing but fail for days, is disabled; it
// says why, is told nothing more, and what was pending has failed.
func TestWebhookIsDisabled(t *testing.T) {
	for code, want := range map[int]struct {
		after  time.Duration
		reason string
	}{410: {time.Second, "the endpoint answered 410 Gone"}, 302: {6 * 24 * time.Hour, "every delivery has failed for 5 days"}} {
		synctest.Test(t, func(t *testing.T) {
			e := newEngine(t, Config{})
			rc := receive(t, e, status(code))
			w := e.webhook(t, "/hook", automations.ContactCreatedNotice)
			e.start(t)
			e.newContact(t, "a@example.com")
			time.Sleep(want.after / 2)
			if code != 410 && webhookOf(t, e.db, w.ID).Status != automations.WebhookEnabled {
				t.Error("disabled too early")
			}
			e.newContact(t, "b@example.com")
			time.Sleep(want.after/2 + time.Hour)
			if w := webhookOf(t, e.db, w.ID); w.Status != automations.WebhookDisabled || w.DisabledReason != want.reason {
				t.Errorf("%d: %+v", code, w)
			}
			before := len(rc.all())
			e.newContact(t, "c@example.com")
			time.Sleep(24 * time.Hour)
			if after := len(rc.all()); after != before {
				t.Errorf("%d: told %d times more", code, after-before)
			}
			for _, d := range deliveriesTo(t, e.db, w.ID) {
				if d.Status != automations.NoticeFailed {
					t.Errorf("%d: %+v", code, d)
				}
			}
			if _, err := e.TestWebhook(w.ID); !automations.IsKind(err, automations.KindConflict) {
				t.Errorf("a test of a disabled webhook: %v", err)
			}
		})
	}
}

// A webhook that hangs holds up nobody else, and gets no more than its share of
// requests at once.
func TestSlowWebhookAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEngine(t, Config{})
		hang := make(chan struct{})
		rc := receive(t, e, func(w http.ResponseWriter, r received) {
			if r.path == "/slow" {
				<-hang
			}
		})
		slow := e.webhook(t, "/slow", automations.ContactCreatedNotice)
		fast := e.webhook(t, "/fast", automations.ContactCreatedNotice)
		e.start(t)
		for i := range 3 * webhookWorkers {
			e.newContact(t, fmt.Sprintf("c%d@example.com", i))
		}
		time.Sleep(time.Second)
		count := map[string]int{}
		for _, r := range rc.all() {
			count[r.path]++
		}
		if count["/fast"] != 3*webhookWorkers || count["/slow"] != webhookWorkers {
			t.Errorf("after a second: %v", count)
		}
		time.Sleep(outboundTimeout)
		close(hang)
		time.Sleep(time.Hour)
		for _, id := range []automations.ID{slow.ID, fast.ID} {
			for _, d := range deliveriesTo(t, e.db, id) {
				if d.Status != automations.NoticeDelivered {
					t.Errorf("%+v", d)
				}
			}
		}
		first := deliveriesTo(t, e.db, slow.ID)[3*webhookWorkers-1].Attempts[0]
		if first.Error != "no answer within 15 seconds" || first.Code != 0 {
			t.Errorf("%+v", first)
		}
	})
}

// An answer counts by its status, whatever becomes of its body: the receiver
// has taken the notice.
func TestWebhookAnswerIsCutShort(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEngine(t, Config{})
		rc := receive(t, e, func(w http.ResponseWriter, _ received) {
			w.Header().Set("Content-Length", "100")
			io.WriteString(w, "taken")
		})
		w := e.webhook(t, "/hook", automations.ContactCreatedNotice)
		e.start(t)
		e.newContact(t, "a@example.com")
		time.Sleep(time.Hour)
		if d := deliveriesTo(t, e.db, w.ID)[0]; d.Status != automations.NoticeDelivered || d.Attempts[0].Response != "taken" || len(rc.all()) != 1 {
			t.Errorf("%+v", d)
		}
	})
}

// After a rotation both secrets sign, and after a day the new one alone.
func TestWebhookRotation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEngine(t, Config{})
		rc := receive(t, e, status(200))
		old := e.webhook(t, "/hook", automations.ContactCreatedNotice)
		e.start(t)
		w, err := e.RotateWebhook(old.ID)
		if err != nil || string(w.Secret) == string(old.Secret) {
			t.Fatal(w, err)
		}
		for _, both := range []bool{true, false} {
			e.newContact(t, fmt.Sprintf("%v@example.com", both))
			synctest.Wait()
			got := rc.all()
			last := got[len(got)-1]
			if err := verify(t, w.Secret, last); err != nil {
				t.Error(err)
			}
			if err := verify(t, old.Secret, last); (err == nil) != both {
				t.Errorf("the old secret, both %v: %v", both, err)
			}
			time.Sleep(automations.OldSecretLife)
		}
	})
}

// Every type is told of by what it reports, once, and to those alone who want
// it.
func TestEveryNotice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		results := map[string]error{
			"sent@example.com":        nil,
			"failed@example.com":      &mail.SendError{Class: mail.Permanent, Text: "554 no"},
			"bounced@example.com":     &mail.SendError{Class: mail.Permanent, Text: "550 nobody", Bounced: true},
			"unconfirmed@example.com": &mail.SendError{Class: mail.Unknown, Text: "gone"},
		}
		e := newEngine(t, Config{Sender: sendFunc(func(_ string, to []string, _ []byte) (mail.Reply, error) {
			if failure, ok := results[to[0]].(*mail.SendError); ok && failure.Class == mail.Permanent {
				return refuse(to[0], failure)
			}
			return mail.Reply{Code: 250}, results[to[0]]
		})})
		rc := receive(t, e, status(200))
		e.webhook(t, "/all", automations.NoticeTypes()...)
		e.webhook(t, "/runs", automations.RunStartedNotice)
		workflow(t, e.db, sendNow, "", nil)
		e.start(t)
		for _, to := range slices.Sorted(maps.Keys(results)) {
			e.mustAccept(t, event("start", to))
			time.Sleep(idle)
		}
		told := map[string][]received{}
		for _, r := range rc.all() {
			told[r.path] = append(told[r.path], r)
		}
		if runs := told["/runs"]; len(runs) != 4 || runs[0].kind() != automations.RunStartedNotice {
			t.Errorf("the webhook for runs got %d notices", len(runs))
		}
		count := map[automations.NoticeType]int{}
		for _, r := range told["/all"] {
			count[r.kind()]++
		}
		want := map[automations.NoticeType]int{
			automations.EventReceivedNotice: 4, automations.ContactCreatedNotice: 4, automations.RunStartedNotice: 4, automations.RunCompletedNotice: 1, automations.RunFailedNotice: 2,
			automations.EmailSentNotice: 1, automations.EmailFailedNotice: 2, automations.EmailBouncedNotice: 1, automations.EmailUnconfirmedNotice: 1,
		}
		if !maps.Equal(count, want) {
			t.Errorf("told %v\nwant %v", count, want)
		}
		e.restOfTheNotices(t, rc, want)
	})
}

func (e *Engine) restOfTheNotices(t *testing.T, rc *receiver, told map[automations.NoticeType]int) {
	e.cfg.Sender = nil // between the mails: from now on mail is captured
	run := e.mustAccept(t, event("start", "captured@example.com")).Started[0]
	time.Sleep(idle)
	address := "later@example.com"
	later := &EmailRequest{From: "a@example.com", To: []string{address}, Subject: "x", Text: "x", ScheduledAt: now().Add(time.Hour)}
	if _, _, err := e.SendEmails([]*EmailRequest{later}, true, nil); err != nil {
		t.Fatal(err)
	}
	err := e.db.Update(func(tx *storage.Tx) error {
		_, _, err := tx.Suppress(&automations.Suppression{ID: newID(), Email: address, Origin: automations.OriginComplaint, CreatedAt: now()})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	delayed := inbound.Report{Report: automations.Report{Kind: automations.ReportDelayed}, Recipients: []string{"sent@example.com"}, Signed: true}
	if _, _, err := e.Report([]inbound.Report{delayed}, nil); err != nil {
		t.Fatal(err)
	}
	time.Sleep(2 * time.Hour) // the scheduled mail meets a suppressed address
	c := e.newContact(t, "gone@example.com")
	waiting := workflow(t, e.db, `[{"key":"t","type":"trigger","config":{"event_name":"wait"}},{"key":"d","type":"delay","config":{"duration":"30 days"}}]`, "", nil)
	e.mustAccept(t, event("wait", "gone@example.com"))
	c.Unsubscribed = true
	if err := e.db.Update(func(tx *storage.Tx) error { return tx.UpdateContact(c) }); err != nil {
		t.Fatal(err)
	}
	if err := e.DeleteContact(c.ID); err != nil {
		t.Fatal(err)
	}
	time.Sleep(idle)
	for _, kind := range rc.kinds() {
		told[kind]++
	}
	for _, kind := range automations.NoticeTypes() {
		if told[kind] == 0 {
			t.Errorf("nobody was told of %s", kind)
		}
	}
	for _, r := range rc.all() {
		switch r.kind() {
		case automations.RunCancelledNotice:
			if r.data()["automation_id"] != waiting.ID.String() {
				t.Errorf("%s", r.body)
			}
		case automations.EmailBouncedNotice:
			if bounce, _ := r.data()["bounce"].(map[string]any); bounce["type"] != "Permanent" || fmt.Sprint(r.data()["to"]) != "[bounced@example.com]" {
				t.Errorf("%s", r.body)
			}
		case automations.EmailCapturedNotice:
			if r.data()["run_id"] != run.ID.String() || r.data()["subject"] != "Hi" {
				t.Errorf("%s", r.body)
			}
		}
	}
}

// A transaction that fails tells nobody, one that shares its commit with it
// does, and a webhook that was not kept is not told.
func TestNoticesAreOfTheTransaction(t *testing.T) {
	e := newEngine(t, Config{})
	w := e.webhook(t, "/hook", automations.ContactCreatedNotice)
	boom := errors.New("boom")
	var wg sync.WaitGroup
	for i := range 200 {
		wg.Go(func() {
			err := e.db.Update(func(tx *storage.Tx) error {
				c := &automations.Contact{ID: newID(), Email: fmt.Sprintf("c%d@example.com", i), CreatedAt: now(), UpdatedAt: now()}
				if i%4 == 1 { // a second webhook, never committed
					if err := tx.SaveWebhook(&automations.Webhook{ID: newID(), Events: w.Events, Status: automations.WebhookEnabled}); err != nil {
						return err
					}
				}
				if err := tx.CreateContact(c); err != nil || i%2 == 0 {
					return err
				}
				return boom
			})
			if (err == nil) != (i%2 == 0) {
				t.Errorf("update %d: %v", i, err)
			}
		})
	}
	wg.Wait()
	err := e.db.View(func(tx *storage.Tx) error {
		list, rest, err := tx.WebhookDeliveries(w.ID, storage.Page{Limit: 1000}, nil)
		if len(list) != 100 || rest.More || len(tx.WebhooksWithPending()) != 1 {
			t.Errorf("%d notices to %d webhooks for 100 contacts", len(list), len(tx.WebhooksWithPending()))
		}
		return errors.Join(err, tx.Check())
	})
	if err != nil {
		t.Error(err)
	}
}

// Deleting a contact takes its data out of notices, sent or not, and out of
// what was answered; the notices themselves still go out.
func TestDeleteContactErasesNotices(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEngine(t, Config{})
		var code atomic.Int32
		code.Store(500)
		rc := receive(t, e, func(w http.ResponseWriter, r received) {
			w.WriteHeader(int(code.Load()))
			w.Write(r.body) // an echo
		})
		w := e.webhook(t, "/hook", automations.ContactCreatedNotice, automations.EventReceivedNotice, automations.ContactDeletedNotice)
		e.start(t)
		e.mustAccept(t, &automations.Event{Name: "x", Email: "ada@example.com", Payload: json.RawMessage(`{"name":"Lovelace"}`)})
		e.mustAccept(t, &automations.Event{Name: "x", Email: "bob@example.com", Payload: json.RawMessage(`{"name":"Babbage"}`)})
		time.Sleep(time.Second)
		var id automations.ID
		if err := e.db.View(func(tx *storage.Tx) (err error) { id, err = tx.ContactID("ada@example.com"); return err }); err != nil {
			t.Fatal(err)
		}
		if err := e.DeleteContact(id); err != nil {
			t.Fatal(err)
		}
		before := len(rc.all())
		code.Store(200)
		time.Sleep(time.Hour)
		for _, r := range rc.all()[before:] {
			if text := string(r.body); strings.Contains(text, "ada@") || strings.Contains(text, "Lovelace") {
				t.Errorf("sent after the deletion: %s", text)
			}
		}
		bob, erased := 0, 0
		for _, d := range deliveriesTo(t, e.db, w.ID) {
			text, err := json.Marshal(d)
			if err != nil {
				t.Fatal(err)
			}
			if d.Status != automations.NoticeDelivered || strings.Contains(string(text), "ada@") || strings.Contains(string(text), "Lovelace") {
				t.Errorf("%s", text)
			}
			if strings.Contains(string(d.Body), "bob@") {
				bob++
			}
			if strings.Contains(string(d.Body), `"erased":true`) && strings.Contains(string(d.Body), id.String()) {
				erased++
			}
		}
		if bob != 2 || erased != 2 {
			t.Errorf("%d notices of another contact and %d erased ones are left, want 2 and 2", bob, erased)
		}
	})
}

// Settled deliveries that are old go, as do all of a webhook that is gone; what
// is pending stays, however old.
func TestWebhookDeliveriesAreDropped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEngine(t, Config{Retention: storage.Retention{Webhooks: 2 * days}})
		receive(t, e, func(w http.ResponseWriter, r received) {
			if r.path == "/down" {
				w.WriteHeader(500)
			}
		})
		up := e.webhook(t, "/up", automations.ContactCreatedNotice)
		down := e.webhook(t, "/down", automations.ContactCreatedNotice)
		crashed := e.webhook(t, "/down", automations.ContactCreatedNotice)
		e.start(t)
		for i := range 10 {
			e.newContact(t, fmt.Sprintf("c%d@example.com", i))
		}
		time.Sleep(36 * time.Hour)
		e.newContact(t, "new@example.com")
		left := func(after time.Duration, wantUp, wantDown, wantCrashed int) {
			t.Helper()
			time.Sleep(after)
			for id, want := range map[automations.ID]int{up.ID: wantUp, down.ID: wantDown, crashed.ID: wantCrashed} {
				if got := len(deliveriesTo(t, e.db, id)); got != want {
					t.Errorf("%d deliveries are left, want %d", got, want)
				}
			}
		}
		left(11*time.Hour, 11, 11, 11)
		left(5*time.Hour, 1, 11, 11)
		if err := e.db.Update(func(tx *storage.Tx) error { return tx.DeleteWebhook(crashed.ID) }); err != nil {
			t.Fatal(err) // as a crash in the middle of DeleteWebhook leaves it
		}
		if err := e.DeleteWebhook(down.ID); err != nil {
			t.Fatal(err)
		}
		left(0, 1, 0, 11)
		left(24*time.Hour, 1, 0, 0)
	})
}
