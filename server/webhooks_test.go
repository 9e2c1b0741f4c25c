package server

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"

	"github.com/resend/resend-go/v3"
	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/opensend/opensend/automations/engine"
)

// told is what a receiver of webhooks has got.
type told struct {
	header http.Header
	body   string
}

// newReceiver is a server on this machine that answers 200, or what is set, and
// a rig whose webhooks may reach it.
func newReceiver(t *testing.T) (r *rig, url string, got chan told, code chan int) {
	t.Helper()
	got, code = make(chan told, 100), make(chan int, 100)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		body, err := io.ReadAll(req.Body)
		if err != nil {
			t.Error(err)
		}
		select {
		case c := <-code:
			w.WriteHeader(c)
		default:
		}
		io.WriteString(w, "thanks")
		got <- told{req.Header, string(body)}
	}))
	r = newRigWith(t, Config{}, func(c *engine.Config) { c.AllowPrivate = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")} })
	t.Cleanup(server.Close)
	return r, server.URL, got, code
}

// until reads a path until it has the value.
func (r *rig) until(path, field string, want any) *reply {
	r.t.Helper()
	for r.t.Context().Err() == nil {
		if a := r.do(http.MethodGet, path, "").want(200); fmt.Sprint(a.at(field)) == fmt.Sprint(want) {
			return a
		}
	}
	return nil
}

func TestWebhooks(t *testing.T) {
	r, url, got, code := newReceiver(t)
	hook := r.do(http.MethodPost, "/webhooks", `{"endpoint":"`+url+`/hook","events":["contact.created","contact.created","event.received"]}`).want(201).
		has("object", "webhook").has("status", "enabled").has("events.1", "event.received").has("events.2", nil).has("disabled_reason", nil)
	path, secret := "/webhooks/"+hook.text("id"), hook.text("signing_secret")
	if list := r.do(http.MethodGet, "/api/webhooks", "").want(200).has("data.0.endpoint", url+"/hook"); strings.Contains(string(list.raw), "whsec_") {
		t.Errorf("the list shows a secret: %s", list.raw)
	}
	r.do(http.MethodGet, path, "").want(200).has("signing_secret", secret)

	r.do(http.MethodPost, "/contacts", `{"email":"ada@example.com","first_name":"Ada","properties":{"seats":12345678901234567890}}`).want(201)
	first := <-got
	verifier, err := standardwebhooks.NewWebhook(secret)
	if err == nil {
		err = verifier.Verify([]byte(first.body), first.header)
	}
	if err != nil || !strings.Contains(first.body, `"type":"contact.created"`) || !strings.Contains(first.body, `"seats":12345678901234567890`) {
		t.Errorf("%v %s", err, first.body)
	}
	delivery := path + "/deliveries/" + first.header.Get("webhook-id")
	r.until(delivery, "status", "success").has("response_code", 200).has("response", "thanks").has("attempts", 1).has("error", nil).has("next_attempt_at", nil).
		has("payload.data.email", "ada@example.com").has("object", "webhook_event")

	code <- 500
	r.do(http.MethodPost, "/events/send", `{"event":"x","email":"ada@example.com","payload":{"n":1}}`).want(202)
	second := <-got
	delivery = path + "/deliveries/" + second.header.Get("webhook-id")
	r.until(delivery, "status", "attempting").has("response_code", 500).has("error", "answered 500").has("payload.data.payload.n", 1)
	r.do(http.MethodGet, path+"/deliveries?status=attempting", "").want(200).has("data.0.type", "event.received").has("data.1", nil)
	r.do(http.MethodGet, path+"/deliveries?status=lost", "").want(422)
	r.do(http.MethodPost, delivery+"/replay", "").want(200)
	if third := <-got; third.header.Get("webhook-id") != second.header.Get("webhook-id") {
		t.Error("a replay has another id")
	}
	r.until(delivery, "status", "success")
	r.do(http.MethodGet, delivery+"/attempts?limit=1", "").want(200).has("data.0.http_status_code", 200).has("has_more", true).has("data.0.error", nil)
	newest := r.do(http.MethodGet, delivery+"/attempts", "").want(200).text("data.0.id")
	r.do(http.MethodGet, delivery+"/attempts?after="+newest, "").want(200).has("data.0.http_status_code", 500).has("data.1", nil).has("has_more", false)
	oldest := r.do(http.MethodGet, delivery+"/attempts", "").want(200).text("data.1.id")
	r.do(http.MethodGet, delivery+"/attempts?before="+oldest, "").want(200).has("data.0.id", newest).has("data.1", nil)

	test := r.do(http.MethodPost, path+"/test", "").want(200).has("type", "webhook.test")
	if sent := <-got; sent.header.Get("webhook-id") != test.text("id") || !strings.Contains(sent.body, `"type":"webhook.test"`) {
		t.Errorf("the test is %s", sent.body)
	}
	r.do(http.MethodPatch, path, `{"status":"disabled"}`).want(200).has("status", "disabled").has("disabled_reason", nil)
	r.do(http.MethodPost, path+"/test", "").want(409).has("code", "webhook_disabled")
	r.do(http.MethodPost, delivery+"/replay", "").want(409).has("code", "webhook_disabled")
	r.do(http.MethodPost, "/contacts", `{"email":"bob@example.com"}`).want(201)
	r.do(http.MethodPatch, path, `{"status":"enabled","events":"email.sent","endpoint":"`+url+`/other"}`).want(200).has("events.0", "email.sent").has("events.1", nil).has("endpoint", url+"/other")
	rotated := r.do(http.MethodPost, path+"/rotate", "").want(200).text("signing_secret")
	if rotated == secret || !strings.HasPrefix(rotated, "whsec_") {
		t.Errorf("the new secret is %s", rotated)
	}
	if n := len(r.do(http.MethodGet, path+"/deliveries", "").want(200).at("data").([]any)); n != 3 {
		t.Errorf("%d deliveries, want 3: nothing while it was disabled", n)
	}
	r.do(http.MethodDelete, path, "").want(200).has("deleted", true)
	r.do(http.MethodGet, path+"/deliveries", "").want(404).has("code", "webhook_not_found")
	if len(got) != 0 {
		t.Errorf("%d notices too many", len(got))
	}
}

func TestWebhookErrors(t *testing.T) {
	r, url, _, _ := newReceiver(t)
	for body, words := range map[string]string{
		`{}`:                            "endpoint is required",
		`{"endpoint":"` + url + `"}`:    "events is required",
		`{"endpoint":7,"events":["x"]}`: "endpoint must be a string",
		`{"endpoint":"example.com","events":["email.sent"]}`:                          "endpoint must be an http or https URL",
		`{"endpoint":"http://10.0.0.1/","events":["email.sent"]}`:                     "10.0.0.1 is not a public address; name its network in webhooks.allow_private",
		`{"endpoint":"` + url + `","events":[]}`:                                      "events must name at least one of email.scheduled",
		`{"endpoint":"` + url + `","events":["email.opened"]}`:                        `"email.opened" is not something this server tells`,
		`{"endpoint":"` + url + `","events":["email.sent"],"status":"paused"}`:        "status must be one of enabled, disabled",
		`{"endpoint":"` + url + `","events":["email.sent"],"signing_secret":"whsec"}`: `"signing_secret" is not a field here`,
	} {
		if a := r.do(http.MethodPost, "/webhooks", body).want(422); !strings.Contains(a.text("message"), words) {
			t.Errorf("%s: %s, want %s", body, a.text("message"), words)
		}
	}
	r.do(http.MethodGet, "/webhooks", "").want(200).has("data.0", nil)
	hook := "/webhooks/" + r.do(http.MethodPost, "/webhooks", `{"endpoint":"`+url+`","events":["email.sent"]}`).want(201).text("id")
	r.do(http.MethodPatch, hook, `{}`).want(422)
	r.do(http.MethodPatch, hook, `{"endpoint":"ftp://example.com","status":"disabled"}`).want(422)
	r.do(http.MethodGet, hook, "").want(200).has("status", "enabled")
	const nobody = "2d66f2de-0d0e-4a2d-8e66-831e3522d124"
	for _, call := range []struct{ method, path, code string }{
		{http.MethodGet, "/webhooks/x", "webhook_not_found"}, {http.MethodPatch, "/webhooks/" + nobody, "webhook_not_found"}, {http.MethodDelete, "/webhooks/" + nobody, "webhook_not_found"},
		{http.MethodPost, "/webhooks/" + nobody + "/rotate", "webhook_not_found"}, {http.MethodPost, "/webhooks/" + nobody + "/test", "webhook_not_found"},
		{http.MethodGet, "/webhooks/" + nobody + "/deliveries/" + nobody, "webhook_not_found"}, {http.MethodGet, hook + "/deliveries/" + nobody, "webhook_delivery_not_found"},
		{http.MethodGet, hook + "/deliveries/x/attempts", "webhook_delivery_not_found"}, {http.MethodPost, hook + "/deliveries/" + nobody + "/replay", "webhook_delivery_not_found"},
		{http.MethodPost, "/webhooks/" + nobody + "/deliveries/" + nobody + "/replay", "webhook_delivery_not_found"},
	} {
		body := ""
		if call.method == http.MethodPatch {
			body = `{"status":"enabled"}`
		}
		r.do(call.method, call.path, body).want(404).has("code", call.code)
	}
	for range 49 {
		r.do(http.MethodPost, "/webhooks", `{"endpoint":"`+url+`","events":["email.sent"]}`).want(201)
	}
	r.do(http.MethodPost, "/webhooks", `{"endpoint":"`+url+`","events":["email.sent"]}`).want(409).has("code", "too_many_webhooks")
}

func TestResendClientWebhooks(t *testing.T) {
	r, url, got, _ := newReceiver(t)
	c := resendClient(t, r)
	hook, err := c.Webhooks.Create(&resend.CreateWebhookRequest{Endpoint: url, Events: []string{resend.EventContactCreated, resend.EventEmailScheduled}})
	check(t, "create webhook", err, hook.Object == "webhook", hook.Id != "", strings.HasPrefix(hook.SigningSecret, "whsec_"))
	read, err := c.Webhooks.Get(hook.Id)
	check(t, "get webhook", err, read.Status == "enabled", read.Endpoint == url, len(read.Events) == 2, read.SigningSecret == hook.SigningSecret, read.CreatedAt != "")
	list, err := c.Webhooks.List()
	check(t, "list webhooks", err, len(list.Data) == 1, list.Data[0].Id == hook.Id)
	contact, err := c.Contacts.Create(&resend.CreateContactRequest{Email: "ada@example.com"})
	check(t, "create contact", err, contact.Id != "")
	notice := <-got
	headers := resend.WebhookHeaders{Id: notice.header.Get("svix-id"), Timestamp: notice.header.Get("svix-timestamp"), Signature: notice.header.Get("svix-signature")}
	check(t, "verify", c.Webhooks.Verify(&resend.VerifyWebhookOptions{Payload: notice.body, Headers: headers, WebhookSecret: hook.SigningSecret}))
	if c.Webhooks.Verify(&resend.VerifyWebhookOptions{Payload: notice.body + " ", Headers: headers, WebhookSecret: hook.SigningSecret}) == nil {
		t.Error("a changed body is verified")
	}
	disabled := "disabled"
	updated, err := c.Webhooks.Update(hook.Id, &resend.UpdateWebhookRequest{Status: &disabled})
	check(t, "update webhook", err, updated.Id == hook.Id)
	gone, err := c.Webhooks.Remove(hook.Id)
	check(t, "remove webhook", err, gone.Deleted)
	_, err = c.Webhooks.Get(hook.Id)
	if err == nil {
		t.Error("a removed webhook is there")
	}
}

// The names that Resend's client for Node calls are those of the routes that
// the other tests use.
func TestWebhooksByTheirOtherNames(t *testing.T) {
	r, url, got, _ := newReceiver(t)
	hook := "/webhooks/" + r.do(http.MethodPost, "/webhooks", `{"endpoint":"`+url+`","events":["contact.created"]}`).want(201).text("id")
	r.do(http.MethodPost, hook+"/signing-secret/rotate", "").want(200).has("object", "webhook")
	r.do(http.MethodPost, "/contacts", `{"email":"ada@example.com"}`).want(201)
	event := hook + "/events/" + (<-got).header.Get("webhook-id")
	r.until(event, "status", "success")
	r.do(http.MethodGet, hook+"/events", "").want(200).has("data.0.type", "contact.created")
	r.do(http.MethodGet, event+"/attempts", "").want(200).has("data.0.http_status_code", 200)
	r.do(http.MethodPost, event+"/replay", "").want(200).has("status", "pending")
	<-got
}
