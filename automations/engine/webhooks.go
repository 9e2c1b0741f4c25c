package engine

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	mathrand "math/rand/v2"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/opensend/opensend/automations"
	"github.com/opensend/opensend/storage"
)

const (
	// webhookWorkers deliver to one webhook at once: a slow one holds up nobody
	// else.
	webhookWorkers = 8
	// maxWebhooks bounds how often one change is written down.
	maxWebhooks = 50
	// keptResponse is how much of an answer goes into the log.
	keptResponse   = 512
	maxEndpoint    = 2048
	dropDeliveries = 500 // deleted in one transaction
)

// notices hands pending webhook deliveries to workers.
type notices struct {
	engine *Engine
	wg     sync.WaitGroup

	mu     sync.Mutex
	inHand map[automations.ID]map[automations.ID]bool // deliveries, by webhook
}

// webhookLoop delivers notices as they fall due. When ctx ends it begins no
// more and waits for those under way, each of which takes 15 seconds at most.
func (e *Engine) webhookLoop(ctx context.Context) error {
	n := &notices{engine: e, inHand: map[automations.ID]map[automations.ID]bool{}}
	defer n.wg.Wait()
	for {
		next, err := n.begin(context.WithoutCancel(ctx))
		if err != nil {
			if err := e.survive(ctx, "reading webhook deliveries", err); err != nil {
				return err
			}
			continue
		}
		if sleep(ctx, e.db.WebhookKick(), next) {
			return nil
		}
		if e.db.Failed() != nil {
			return e.db.Failed()
		}
	}
}

// begin gives what is due to workers, as far as each webhook has some left,
// and tells when the next delivery is due to a webhook that does.
func (n *notices) begin(ctx context.Context) (next time.Time, err error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	err = n.engine.db.View(func(tx *storage.Tx) error {
		for _, webhook := range tx.WebhooksWithPending() {
			if n.inHand[webhook] == nil {
				n.inHand[webhook] = map[automations.ID]bool{}
			}
			mine := n.inHand[webhook]
			due, later := tx.DueWebhookDeliveries(webhook, now(), webhookWorkers)
			for _, id := range due {
				if !mine[id] && len(mine) < webhookWorkers {
					mine[id] = true
					n.wg.Go(func() { n.work(ctx, webhook, id) })
				}
			}
			if len(mine) < webhookWorkers && !later.IsZero() && (next.IsZero() || later.Before(next)) {
				next = later
			}
		}
		return nil
	})
	return next, err
}

func (n *notices) work(ctx context.Context, webhook, id automations.ID) {
	e := n.engine
	defer func() {
		n.mu.Lock()
		if delete(n.inHand[webhook], id); len(n.inHand[webhook]) == 0 {
			delete(n.inHand, webhook)
		}
		n.mu.Unlock()
		kick(e.db.WebhookKick())
	}()
	if err := e.deliverNotice(ctx, webhook, id); err != nil {
		e.log.Error("delivering to a webhook", "webhook", webhook, "delivery", id, "error", err)
		sleep(ctx, nil, time.Now().Add(time.Second)) // the delivery is still pending and comes round again
	}
}

// deliverNotice makes one attempt. Nothing is written before it: a crash in
// between makes the attempt again, with the same id.
func (e *Engine) deliverNotice(ctx context.Context, webhook, id automations.ID) error {
	var w *automations.Webhook
	var row *storage.WebhookDeliveryRow
	err := e.db.View(func(tx *storage.Tx) (err error) {
		if w, err = tx.Webhook(webhook); err == nil {
			row, err = tx.WebhookDelivery(webhook, id)
		}
		return err
	})
	switch {
	case errors.Is(err, storage.ErrNotFound):
		return e.db.Update(func(tx *storage.Tx) error { return tx.DropWebhookDelivery(webhook, id) })
	case err != nil:
		return err
	case row.Status != automations.NoticePending:
		return nil
	case w.Status == automations.WebhookDisabled:
		return e.changeNotice(webhook, id, func(_ *storage.Tx, d *automations.WebhookDelivery) error {
			d.Fail("the webhook is disabled")
			return nil
		})
	}
	attempt, spread := e.attempt(ctx, w, row.WebhookDelivery), mathrand.Float64()
	return e.changeNotice(webhook, id, func(tx *storage.Tx, d *automations.WebhookDelivery) error {
		w, err := tx.Webhook(webhook)
		if err != nil {
			return err
		}
		if !d.Tried(w, attempt, spread, now()) {
			return nil
		}
		if w.Status == automations.WebhookDisabled {
			e.log.Warn("a webhook is disabled", "webhook", webhook, "reason", w.DisabledReason)
		}
		return tx.SaveWebhook(w)
	})
}

// changeNotice changes a pending delivery, if it is there still.
func (e *Engine) changeNotice(webhook, id automations.ID, change func(*storage.Tx, *automations.WebhookDelivery) error) error {
	err := e.db.Update(func(tx *storage.Tx) error {
		row, err := tx.WebhookDelivery(webhook, id)
		if err != nil || row.Status != automations.NoticePending {
			return err
		}
		if err := change(tx, row.WebhookDelivery); err != nil {
			return err
		}
		return tx.SaveWebhookDelivery(row)
	})
	if errors.Is(err, storage.ErrNotFound) { // deleted meanwhile
		return nil
	}
	return err
}

// attempt posts a notice and says what came of it.
func (e *Engine) attempt(ctx context.Context, w *automations.Webhook, d *automations.WebhookDelivery) automations.WebhookAttempt {
	a := automations.WebhookAttempt{ID: newID(), SentAt: now()}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, w.Endpoint, bytes.NewReader(d.Body))
	if err != nil {
		a.Error = "the endpoint is not a URL"
		return a
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("User-Agent", "opensend")
	sign(r.Header, d.ID, a.SentAt, d.Body, w.Secrets(a.SentAt))
	var body []byte
	a.Code, body, err = e.outbound.do(r)
	a.Response = strings.ToValidUTF8(string(body[:min(len(body), keptResponse)]), "�")
	switch {
	case a.Code == 0: // with a status the receiver has decided, whatever became of the body
		a.Error = err.Error()
	case a.Code >= 300 && a.Code < 400:
		a.Error = fmt.Sprintf("answered %d; redirects are not followed", a.Code)
	case a.Code < 200 || a.Code >= 300:
		a.Error = fmt.Sprintf("answered %d", a.Code)
	}
	return a
}

// sign sets the headers by which a receiver knows that a notice is ours, as
// Standard Webhooks has them, and under the names of svix, which Resend's
// receivers read.
func sign(h http.Header, id automations.ID, at time.Time, body []byte, secrets [][]byte) {
	stamp := strconv.FormatInt(at.Unix(), 10)
	var signatures []string
	for _, secret := range secrets {
		mac := hmac.New(sha256.New, secret)
		fmt.Fprintf(mac, "%s.%s.%s", id, stamp, body)
		signatures = append(signatures, "v1,"+base64.StdEncoding.EncodeToString(mac.Sum(nil)))
	}
	for _, prefix := range []string{"webhook-", "svix-"} {
		h.Set(prefix+"id", id.String())
		h.Set(prefix+"timestamp", stamp)
		h.Set(prefix+"signature", strings.Join(signatures, " "))
	}
}

// CheckEndpoint says what is wrong with the URL of a webhook, without asking
// the network.
func (e *Engine) CheckEndpoint(text string) error {
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Hostname() == "" || u.User != nil || u.Fragment != "" || len(text) > maxEndpoint {
		return automations.Errorf(automations.KindInvalid, "", "endpoint must be an http or https URL of at most %d bytes, without user and fragment, such as https://example.com/webhooks", maxEndpoint)
	}
	return e.outbound.checkHost(u.Hostname())
}

// CreateWebhook stores a new webhook with a new secret. An *automations.Error
// of KindConflict says that there are enough.
func (e *Engine) CreateWebhook(w *automations.Webhook, notes ...Note) error {
	w.Secret = newSecret()
	return e.update(notes, func(tx *storage.Tx) error {
		all, _, err := tx.Webhooks(storage.Page{Limit: maxWebhooks})
		if err != nil {
			return err
		}
		if len(all) == maxWebhooks {
			return automations.Errorf(automations.KindConflict, "too_many_webhooks", "there are %d webhooks, as many as there may be; delete one first", maxWebhooks)
		}
		return tx.SaveWebhook(w)
	})
}

func newSecret() []byte {
	secret := make([]byte, 32)
	rand.Read(secret)
	return secret
}

// RotateWebhook gives a webhook a new secret; for a day both sign.
func (e *Engine) RotateWebhook(id automations.ID, notes ...Note) (w *automations.Webhook, err error) {
	secret := newSecret()
	err = e.update(notes, func(tx *storage.Tx) error {
		if w, err = tx.Webhook(id); err != nil {
			return err
		}
		w.Rotate(secret, now())
		return tx.SaveWebhook(w)
	})
	return w, err
}

// DeleteWebhook deletes a webhook and its deliveries. Many deliveries take
// longer than this waits: the rest goes with what is old.
func (e *Engine) DeleteWebhook(id automations.ID, notes ...Note) error {
	if err := e.update(notes, func(tx *storage.Tx) error { return tx.DeleteWebhook(id) }); err != nil {
		return err
	}
	more := true
	for started := time.Now(); more && time.Since(started) < eraseWait; {
		err := e.db.Update(func(tx *storage.Tx) (err error) {
			more, err = tx.DropWebhookDeliveries(id, dropDeliveries)
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// TestWebhook queues a notice that says nothing but that it is one.
func (e *Engine) TestWebhook(id automations.ID, notes ...Note) (d *automations.WebhookDelivery, err error) {
	body, err := json.Marshal(automations.NewNotice(automations.WebhookTestNotice, now(), map[string]any{"webhook_id": id}))
	if err != nil {
		return nil, err
	}
	err = e.update(notes, func(tx *storage.Tx) error {
		if err := mustBeEnabled(tx, id); err != nil {
			return err
		}
		d, err = tx.QueueNotice(id, automations.WebhookTestNotice, body, now())
		return err
	})
	return d, err
}

// ReplayNotice delivers once more, with the same id, what was delivered or
// given up; what is pending is tried at once.
func (e *Engine) ReplayNotice(webhook, id automations.ID, notes ...Note) (d *automations.WebhookDelivery, err error) {
	err = e.update(notes, func(tx *storage.Tx) error {
		if err := mustBeEnabled(tx, webhook); err != nil {
			return err
		}
		row, err := tx.WebhookDelivery(webhook, id)
		if err != nil {
			return err
		}
		d = row.WebhookDelivery
		d.Queue(now())
		return tx.SaveWebhookDelivery(row)
	})
	return d, err
}

// mustBeEnabled refuses to send to a disabled webhook.
func mustBeEnabled(tx *storage.Tx, id automations.ID) error {
	w, err := tx.Webhook(id)
	if err == nil && w.Status == automations.WebhookDisabled {
		return automations.Errorf(automations.KindConflict, "webhook_disabled", "the webhook is disabled; enable it first")
	}
	return err
}
