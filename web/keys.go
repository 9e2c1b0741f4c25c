package web

import (
	"net/http"
	"time"

	"github.com/opensend/opensend/automations"
	"github.com/opensend/opensend/storage"
)

// keysPage is the API keys, and the one that has just been made.
type keysPage struct {
	listPage[*automations.APIKey]
	Older string
	Made  *madeKey
	Form  keyForm
	Now   time.Time
}

// madeKey is a key with its token, which is not to be had again.
type madeKey struct {
	Name       string                 `json:"name"`
	Permission automations.Permission `json:"permission"`
	Test       bool                   `json:"test"`
	Token      string                 `json:"token"`
}

// keyForm is what a new key is to be.
type keyForm struct {
	Name, Permission, Expires string
	Test                      bool
}

func (v *visit) keys() (any, error) {
	return v.keysPage(keyForm{Permission: string(automations.EventsAccess)})
}

func (v *visit) keysPage(form keyForm) (page keysPage, err error) {
	page.Form, page.Now = form, v.now
	err = v.read(func(tx *storage.Tx) (err error) {
		page.listPage, err = readList(v, tx.APIKeys, func(k *automations.APIKey) automations.ID { return k.ID })
		return err
	})
	page.Older = v.olderThan("/keys", page.listPage.Older)
	return page, err
}

// createKey shows the token on the page that answers: it is kept nowhere to be
// shown after a redirect.
func (v *visit) createKey() (any, error) {
	form := keyForm{v.PostForm.Get("name"), v.PostForm.Get("permission"), v.PostForm.Get("expires"), v.PostForm.Get("test") != ""}
	in := map[string]any{"name": form.Name, "permission": form.Permission, "test": form.Test}
	if form.Expires != "" {
		in["expires_at"] = endOfDay(form.Expires)
	}
	var made madeKey
	refusal := v.call(http.MethodPost, "/api-keys", in, &made)
	if refusal == nil {
		form = keyForm{Permission: form.Permission}
	}
	page, err := v.keysPage(form)
	switch {
	case err != nil:
		return nil, err
	case problemOf(refusal) != nil:
		return refused{page, refusal}, nil
	case refusal != nil:
		return nil, refusal
	}
	page.Made = &made
	return page, nil
}

// endOfDay is the last second of a day in UTC; what is no day is left for the
// API to refuse.
func endOfDay(text string) string {
	day, err := time.Parse(time.DateOnly, text)
	if err != nil {
		return text
	}
	return day.Add(24*time.Hour - time.Second).Format(time.RFC3339)
}

func (v *visit) renameKey() (any, error) {
	return v.changeKey(http.MethodPatch, map[string]any{"name": v.PostForm.Get("name")}, "The key has its new name.")
}

func (v *visit) revokeKey() (any, error) {
	return v.changeKey(http.MethodDelete, nil, "The key is revoked: requests with it are refused from now on.")
}

func (v *visit) changeKey(method string, in any, done string) (any, error) {
	err := v.call(method, "/api-keys/"+v.pathID("id").String(), in, nil)
	if problemOf(err) == nil {
		return redirect{home + "/keys", done}, err
	}
	page, readErr := v.keysPage(keyForm{Permission: string(automations.EventsAccess)})
	if readErr != nil {
		return nil, readErr
	}
	return refused{page, err}, nil
}
