package web

import (
	"cmp"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"

	"github.com/opensend/opensend/automations"
	"github.com/opensend/opensend/storage"
)

// sendPage is the form that sends an event.
type sendPage struct {
	Event, Email, Payload string
	Test                  bool
	Once                  string
	Names                 []string
}

// newOnce makes the Idempotency-Key of a form: pressed twice, it does once.
func newOnce() string { return "dashboard-" + rand.Text() }

func (v *visit) sendForm() (any, error) {
	return v.sendPage(sendPage{Event: v.FormValue("event"), Email: v.FormValue("email"), Payload: "{}", Test: true})
}

func (v *visit) sendPage(page sendPage) (sendPage, error) {
	page.Once = newOnce()
	err := v.read(func(tx *storage.Tx) (err error) {
		page.Names, err = eventNames(tx)
		return err
	})
	return page, err
}

// sendTyped sends what the form holds. The page of the event is the receipt.
func (v *visit) sendTyped() (any, error) {
	form := sendPage{Event: v.PostForm.Get("event"), Email: v.PostForm.Get("email"), Payload: v.PostForm.Get("payload"), Test: v.PostForm.Get("test") != ""}
	again := func() (sendPage, error) { return v.sendPage(form) }
	payload := json.RawMessage(cmp.Or(strings.TrimSpace(form.Payload), "{}"))
	if err := automations.CheckJSON(payload); err != nil {
		return orAgain(automations.Errorf(automations.KindInvalid, "", "the payload is not JSON: %s", err), redirect{}, again)
	}
	done, err := v.sendEvent(sentEvent{Event: form.Event, Email: form.Email, Payload: payload}, form.Test)
	return orAgain(err, done, again)
}

// sendAgain sends a stored event once more, as a test when it was one.
func (v *visit) sendAgain() (any, error) {
	page, err := v.eventPage()
	if err != nil {
		return nil, err
	}
	sent, err := sentAgain(page.Delivery)
	if err != nil {
		return refused{page, err}, nil
	}
	done, err := v.sendEvent(sent, page.Test)
	return orAgain(err, done, v.eventPage)
}

// sendEvent sends an event through the API, and leads to its page.
func (v *visit) sendEvent(sent sentEvent, test bool) (redirect, error) {
	var receipt struct {
		Delivery struct {
			ID automations.ID `json:"id"`
		} `json:"delivery"`
		Started      []struct{} `json:"automation_runs"`
		Resumed      []struct{} `json:"resumed_runs"`
		Deduplicated []struct{} `json:"deduplicated"`
	}
	body, err := automations.EncodeJSON(sent)
	if err != nil {
		return redirect{}, err
	}
	headers := []string{"Idempotency-Key", cmp.Or(v.PostForm.Get("once"), newOnce())}
	if test {
		headers = append(headers, testHeader, "true")
	}
	if err := v.send(http.MethodPost, "/events/send", "application/json", body, &receipt, headers...); err != nil {
		return redirect{}, err
	}
	did := fmt.Sprintf("The event is stored: %s started, %s resumed.", plural(len(receipt.Started), "run"), plural(len(receipt.Resumed), "run"))
	if len(receipt.Deduplicated) > 0 {
		did = fmt.Sprintf("The event is stored; %s dropped it as a repetition.", plural(len(receipt.Deduplicated), "automation"))
	}
	return redirect{home + "/events/" + receipt.Delivery.ID.String(), did}, nil
}

// plural is a number of things.
func plural[N int | int64](n N, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return number(n) + " " + what + "s"
}
