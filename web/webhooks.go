package web

import (
	"encoding/base64"
	"net/http"
	"slices"

	"github.com/opensend/opensend/automations"
	"github.com/opensend/opensend/storage"
)

// webhooksPage is the webhooks, and what a new one is to be.
type webhooksPage struct {
	listPage[*automations.Webhook]
	Older string
	Form  webhookForm
}

// webhookForm is a webhook as it is typed.
type webhookForm struct {
	Endpoint string
	Events   []noticeChoice
}

// noticeChoice is something that a webhook may be told.
type noticeChoice struct {
	Type   automations.NoticeType
	Chosen bool
}

func choices(chosen []automations.NoticeType) (all []noticeChoice) {
	for _, kind := range automations.NoticeTypes() {
		all = append(all, noticeChoice{kind, slices.Contains(chosen, kind)})
	}
	return all
}

// typedWebhook reads the form, and what it is in the fields of the API.
func (v *visit) typedWebhook() (form webhookForm, in map[string]any) {
	var chosen []automations.NoticeType
	for _, text := range v.PostForm["event"] {
		chosen = append(chosen, automations.NoticeType(text))
	}
	endpoint := v.PostForm.Get("endpoint")
	return webhookForm{endpoint, choices(chosen)}, map[string]any{"endpoint": endpoint, "events": append([]automations.NoticeType{}, chosen...)}
}

func (v *visit) webhooks() (any, error) { return v.webhooksPage(webhookForm{Events: choices(nil)}) }

func (v *visit) webhooksPage(form webhookForm) (page webhooksPage, err error) {
	page.Form = form
	err = v.read(func(tx *storage.Tx) (err error) {
		page.listPage, err = readList(v, tx.Webhooks, func(w *automations.Webhook) automations.ID { return w.ID })
		return err
	})
	page.Older = v.olderThan("/webhooks", page.listPage.Older)
	return page, err
}

func (v *visit) createWebhook() (any, error) {
	form, in := v.typedWebhook()
	var made struct {
		ID automations.ID `json:"id"`
	}
	err := v.call(http.MethodPost, "/webhooks", in, &made)
	if problemOf(err) == nil {
		return redirect{home + "/webhooks/" + made.ID.String(), "The webhook is ready. Put its signing secret into the receiver, and send it a test."}, err
	}
	page, readErr := v.webhooksPage(form)
	if readErr != nil {
		return nil, readErr
	}
	return refused{page, err}, nil
}

// webhookPage is one webhook with what it was told.
type webhookPage struct {
	*automations.Webhook
	Secret     string
	Form       webhookForm
	Status     string // of the deliveries that are shown; empty for all
	Deliveries listPage[*automations.WebhookDelivery]
	Older      string
}

func (v *visit) webhook() (any, error) { return v.webhookPage(nil) }

func (v *visit) webhookPage(typed *webhookForm) (page *webhookPage, err error) {
	page = &webhookPage{Status: v.URL.Query().Get("status")}
	err = v.read(func(tx *storage.Tx) (err error) {
		if page.Webhook, err = tx.Webhook(v.pathID("id")); err != nil {
			return err
		}
		page.Deliveries, err = readList(v, func(p storage.Page) ([]*automations.WebhookDelivery, storage.Rest, error) {
			return tx.WebhookDeliveries(page.ID, p, deliveryFilter(page.Status))
		}, func(d *automations.WebhookDelivery) automations.ID { return d.ID })
		return err
	})
	if err != nil {
		return nil, err
	}
	page.Secret = "whsec_" + base64.StdEncoding.EncodeToString(page.Webhook.Secret)
	page.Older = v.olderThan("/webhooks/"+page.ID.String(), page.Deliveries.Older)
	if page.Form = (webhookForm{page.Endpoint, choices(page.Events)}); typed != nil {
		page.Form = *typed
	}
	return page, nil
}

func deliveryFilter(status string) func(*automations.WebhookDelivery) bool {
	if status == "" {
		return nil
	}
	return func(d *automations.WebhookDelivery) bool { return string(d.Status) == status }
}

func (v *visit) changeWebhook() (any, error) {
	form, in := v.typedWebhook()
	return v.settleWebhook(http.MethodPatch, "", in, &form, "The webhook is changed.")
}

// doWithWebhook does what a button of the page says.
func (v *visit) doWithWebhook() (any, error) {
	switch v.PathValue("do") {
	case "enable":
		return v.settleWebhook(http.MethodPatch, "", map[string]any{"status": automations.WebhookEnabled}, nil, "The webhook is told again.")
	case "disable":
		return v.settleWebhook(http.MethodPatch, "", map[string]any{"status": automations.WebhookDisabled}, nil, "The webhook is told nothing until it is enabled.")
	case "rotate":
		return v.settleWebhook(http.MethodPost, "/rotate", nil, nil, "There is a new secret. The one before signs along for a day.")
	case "test":
		return v.settleWebhook(http.MethodPost, "/test", nil, nil, "A test is on its way; it stands on top of the list.")
	case "delete":
		err := v.call(http.MethodDelete, "/webhooks/"+v.pathID("id").String(), nil, nil)
		return redirect{home + "/webhooks", "The webhook is deleted, and what it was to be told with it."}, err
	}
	return nil, storage.ErrNotFound
}

func (v *visit) settleWebhook(method, path string, in any, typed *webhookForm, done string) (any, error) {
	id := v.pathID("id").String()
	err := v.call(method, "/webhooks/"+id+path, in, nil)
	if problemOf(err) == nil {
		return redirect{home + "/webhooks/" + id, done}, err
	}
	page, readErr := v.webhookPage(typed)
	if readErr != nil {
		return nil, readErr
	}
	return refused{page, err}, nil
}

// webhookDeliveryPage is one notice and the attempts to deliver it.
type webhookDeliveryPage struct {
	*automations.WebhookDelivery
	Webhook *automations.Webhook
	Newest  []automations.WebhookAttempt // newest first
}

func (v *visit) webhookDelivery() (any, error) {
	page, err := v.readWebhookDelivery()
	return page, err
}

func (v *visit) readWebhookDelivery() (page webhookDeliveryPage, err error) {
	err = v.read(func(tx *storage.Tx) (err error) {
		if page.Webhook, err = tx.Webhook(v.pathID("id")); err != nil {
			return err
		}
		row, err := tx.WebhookDelivery(page.Webhook.ID, v.pathID("delivery"))
		if err != nil {
			return err
		}
		page.WebhookDelivery = row.WebhookDelivery
		page.Newest = slices.Clone(row.Attempts)
		slices.Reverse(page.Newest)
		return nil
	})
	return page, err
}

func (v *visit) replayWebhookDelivery() (any, error) {
	path := "/webhooks/" + v.pathID("id").String() + "/deliveries/" + v.pathID("delivery").String()
	err := v.call(http.MethodPost, path+"/replay", nil, nil)
	if problemOf(err) == nil {
		return redirect{home + path, "It is sent again, with the same id."}, err
	}
	page, readErr := v.readWebhookDelivery()
	if readErr != nil {
		return nil, readErr
	}
	return refused{page, err}, nil
}
