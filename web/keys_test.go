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

func TestKeys(t *testing.T) {
	db, d := newDashboard(t)
	b := signedIn(t, d)
	b.want(b.get("/dashboard/keys"), 200, "No keys yet")
	create := func(form url.Values) *http.Response {
		return b.do(http.MethodPost, "/dashboard/keys", form.Encode())
	}
	for _, permission := range automations.Permissions() {
		b.want(b.get("/dashboard/keys"), 200, `name="permission" value="`+string(permission)+`"`)
	}
	b.want(create(url.Values{"name": {""}, "permission": {"events_access"}}), 422, "name")
	b.want(create(url.Values{"name": {"x"}, "permission": {"all"}}), 422, "permission")
	b.want(create(url.Values{"name": {"x"}, "permission": {"events_access"}, "expires": {"2001-01-01"}}), 422, "expires_at must be a time to come")
	b.want(create(url.Values{"name": {"x"}, "permission": {"events_access"}, "expires": {"soon"}}), 422, "expires_at must be a time to come")
	day := time.Now().UTC().AddDate(0, 0, 3).Format(time.DateOnly)
	body := b.want(create(url.Values{"name": {"app" + script}, "permission": {"full_access"}, "expires": {day}, "test": {"1"}}), 200, "Copy it now")
	_, rest, _ := strings.Cut(body, "<pre data-copy>os_")
	token := "os_" + rest[:strings.Index(rest, "<")]
	hash, ok := automations.HashToken(token)
	if !ok || strings.Contains(body, script) {
		t.Fatalf("%q is no token, or the name was let through", token)
	}
	var key *automations.APIKey
	err := db.View(func(tx *storage.Tx) (err error) {
		key, err = tx.APIKeyByHash(hash)
		return err
	})
	if err != nil || !key.Test || key.Permission != automations.FullAccess || key.ExpiresAt.Format(time.DateTime) != day+" 23:59:59" {
		t.Fatalf("%+v %v", key, err)
	}
	if again := b.want(b.get("/dashboard/keys"), 200, "Revoke"); strings.Contains(again, token) || strings.Contains(rawFile(t, db), token) {
		t.Error("the token is shown again, or stored")
	}
	path := "/dashboard/keys/" + key.ID.String()
	b.want(b.do(http.MethodPost, path+"/rename", "name="), 422, "name")
	b.want(b.do(http.MethodPost, path+"/rename", "name=other"), 303, "")
	b.want(b.get("/dashboard/keys"), 200, "<strong>other</strong>")
	b.want(b.do(http.MethodPost, path+"/revoke", ""), 303, "")
	b.want(b.do(http.MethodPost, path+"/revoke", ""), 404, "no api key")
	b.want(b.get("/dashboard/keys"), 200, "No keys yet")
}

func TestUsers(t *testing.T) {
	db, d := newDashboard(t)
	b := signedIn(t, d)
	post := func(path, form string) *http.Response {
		return b.do(http.MethodPost, "/dashboard/system/users"+path, form)
	}
	b.want(b.get("/dashboard/system/users"), 200, `chip">you`)
	b.want(post("", "name="), 422, "name is required")
	b.want(post("", "name=aDA"), 409, "there is a user")
	body := b.want(post("", "name=Grace"+url.QueryEscape(script)), 200, "is invited")
	if strings.Contains(body, script) {
		t.Error("the name was let through")
	}
	b.want(post("", "name=Grace"), 200, "Grace is invited")
	body = b.want(post("/reset", "name=Grace"), 200, "can set a new password")
	_, rest, _ := strings.Cut(body, "<pre data-copy>"+base)
	link := strings.ReplaceAll(rest[:strings.Index(rest, "<")], "&#43;", "+")
	grace := &browser{t, d, map[string]string{}}
	_, secret, _ := strings.Cut(link, "invitation=")
	grace.want(grace.do(http.MethodPost, "/dashboard/join", "invitation="+secret+"&password="+password+"&again="+password), 303, "")
	grace.want(grace.get("/dashboard"), 200, "Grace")

	b.want(post("/remove", "name=Ada"), 422, "you cannot remove yourself")
	b.want(post("/remove", "name=Nobody"), 404, "no user")
	b.want(post("/remove", "name=Grace"), 303, "")
	grace.want(grace.get("/dashboard"), 303, "")
	if strings.Contains(rawFile(t, db), secret) {
		t.Error("the file gives away an invitation")
	}
}

// A new password ends every session but the one in which it was set.
func TestOwnPassword(t *testing.T) {
	_, d := newDashboard(t)
	b := signedIn(t, d)
	elsewhere := &browser{t, d, map[string]string{}}
	elsewhere.want(elsewhere.do(http.MethodPost, "/dashboard/sign-in", "name=Ada&password="+password), 303, "")
	b.want(b.get("/dashboard/system/users"), 200, "signed in with 2 browsers")
	change := func(old, new, again string) *http.Response {
		return b.do(http.MethodPost, "/dashboard/system/users/password", url.Values{"old": {old}, "password": {new}, "again": {again}}.Encode())
	}
	b.want(change("wrong", "another password", "another password"), 422, "the present password is another")
	b.want(change(password, "short", "short"), 422, "at least 10 characters")
	b.want(change(password, "another password", "a third password"), 422, "differ")
	b.want(change(password, "another password", "another password"), 303, "")
	b.want(b.get("/dashboard/system/users"), 200, "The password is changed")
	elsewhere.want(elsewhere.get("/dashboard"), 303, "")
	elsewhere.want(elsewhere.do(http.MethodPost, "/dashboard/sign-in", "name=Ada&password="+password), 422, "wrong")
	elsewhere.want(elsewhere.do(http.MethodPost, "/dashboard/sign-in", "name=Ada&password=another+password"), 303, "")
	for range freeGuesses {
		change("wrong", "another password", "another password")
	}
	b.want(change("another password", "the fourth password", "the fourth password"), 422, "too many wrong passwords")
}
