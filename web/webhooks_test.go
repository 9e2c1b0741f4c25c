package web

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/opensend/opensend/automations"
	"github.com/opensend/opensend/storage"
)

func TestWebhooks(t *testing.T) {
	db, d := newDashboard(t)
	b := signedIn(t, d)
	post := func(path string, form url.Values) *http.Response { return b.do(http.MethodPost, path, form.Encode()) }
	b.want(b.get("/dashboard/webhooks"), 200, "No webhooks yet")
	b.want(post("/dashboard/webhooks", url.Values{"endpoint": {"https://hooks.example.com/hook"}}), 422, "events must name at least one")
	body := b.want(post("/dashboard/webhooks", url.Values{"endpoint": {"nowhere"}, "event": {"email.sent"}}), 422, `value="nowhere"`)
	if !strings.Contains(body, `value="email.sent" checked`) {
		t.Error("what was chosen is lost")
	}
	resp := post("/dashboard/webhooks", url.Values{"endpoint": {"https://hooks.example.com/hook?" + url.QueryEscape(script)}, "event": {"email.sent", "run.failed"}})
	b.want(resp, 303, "")
	path := resp.Header.Get("Location")
	if body = b.want(b.get(path), 200, "whsec_"); strings.Contains(body, script) {
		t.Error("the endpoint was let through")
	}
	b.want(b.get(path), 200, "It was told nothing yet")
	b.want(post(path+"/rotate", nil), 303, "")
	b.want(b.get(path), 200, "signs along until")
	b.want(post(path+"/test", nil), 303, "")
	b.want(post(path+"/disable", nil), 303, "")
	b.want(post(path+"/test", nil), 409, "enable it first")
	b.want(b.get(path), 200, "webhook.test")
	b.want(b.get(path+"?status=failed"), 200, "No delivery is like that")
	b.want(post(path+"/enable", nil), 303, "")
	b.want(post(path, url.Values{"endpoint": {"https://hooks.example.com/other"}}), 422, "events must name at least one")
	b.want(post(path, url.Values{"endpoint": {"https://hooks.example.com/other"}, "event": {"run.failed"}}), 303, "")
	b.want(b.get("/dashboard/webhooks"), 200, "hooks.example.com/other")
	b.want(post(path+"/nothing", nil), 404, "")

	var w *automations.Webhook
	var sent *automations.WebhookDelivery
	err := db.Update(func(tx *storage.Tx) error {
		all, _, err := tx.Webhooks(storage.Page{Limit: 1})
		if err != nil {
			return err
		}
		w = all[0]
		w.Status, w.DisabledReason = automations.WebhookDisabled, "it is gone"
		if err := tx.SaveWebhook(w); err != nil {
			return err
		}
		deliveries, _, err := tx.WebhookDeliveries(w.ID, storage.Page{Limit: 1}, nil)
		if err != nil {
			return err
		}
		row, err := tx.WebhookDelivery(w.ID, deliveries[0].ID)
		if err != nil {
			return err
		}
		sent = row.WebhookDelivery
		sent.Attempts = []automations.WebhookAttempt{{SentAt: time.Now(), Code: 500, Response: script, Error: "the endpoint answered 500"}}
		sent.Fail("")
		return tx.SaveWebhookDelivery(row)
	})
	if err != nil {
		t.Fatal(err)
	}
	b.want(b.get(path), 200, "Disabled by the server: it is gone")
	b.want(b.get(path+"?status=failed"), 200, "500 the endpoint answered 500")
	delivery := path + "/deliveries/" + sent.ID.String()
	if body = b.want(b.get(delivery), 200, "the endpoint answered 500"); strings.Contains(body, script) {
		t.Error("an answer was let through")
	}
	b.want(post(delivery+"/replay", nil), 409, "enable it first")
	b.want(post(path+"/enable", nil), 303, "")
	b.want(post(delivery+"/replay", nil), 303, "")
	b.want(b.get(delivery), 200, "It is sent again")
	b.want(post(path+"/delete", nil), 303, "")
	b.want(b.get(path), 404, "")
	b.want(b.get(delivery), 404, "")
	b.want(post(delivery+"/replay", nil), 404, "")
}
