package web

import (
	"html"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"
)

// What is sent after the session has ended does nothing, and is not lost: who
// signs in again can send it again. Passwords and files are not kept.
func TestLateForms(t *testing.T) {
	_, d := newDashboard(t)
	b := signedIn(t, d)
	resp := b.post("/dashboard/templates", url.Values{"name": {"Hello"}})
	at := resp.Header.Get("Location")
	if resp.StatusCode != http.StatusSeeOther {
		t.Fatal(resp.StatusCode)
	}
	hidden := func(page string) url.Values {
		fields := url.Values{}
		for _, m := range regexp.MustCompile(`<input type="hidden" ([^>]*)>`).FindAllStringSubmatch(page, -1) {
			fields.Add(attribute(m[1], "name"), html.UnescapeString(attribute(m[1], "value")))
		}
		return fields
	}
	b.want(b.post("/dashboard/sign-out", nil), 303, "")
	work := url.Values{"name": {"Hello"}, "html": {"<p>\"Long\" work</p>\r\n" + script}, "to": {"ada@example.com"}, "key": {"a", ""}}
	page := b.want(b.post(at, work), 401, "What you sent is kept")
	in := hidden(page)
	in.Set("name", "Ada")
	in.Set("password", "wrong")
	page = b.want(b.post("/dashboard/sign-in", in), 422, "the name or the password is wrong")
	in = hidden(page)
	in.Set("name", "Ada")
	in.Set("password", password)
	page = b.want(b.post("/dashboard/sign-in", in), 200, `action="`+at+`"`)
	if strings.Contains(page, script) {
		t.Error("the kept form runs what it holds")
	}
	again := hidden(page)
	if again.Encode() != work.Encode() {
		t.Errorf("kept was\n%v\ninstead of\n%v", again, work)
	}
	b.want(b.get(at), 200, "write something")
	b.want(b.post(at, again), 303, "")
	b.want(b.get(at), 200, "&#34;Long&#34; work")

	b.want(b.post("/dashboard/sign-out", nil), 303, "")
	if page := b.want(b.post("/dashboard/system/users/password", url.Values{"present": {password}, "password": {"another secret"}}), 401, "do it again"); strings.Contains(page, "another secret") || strings.Contains(page, password) {
		t.Error("a password is in the page")
	}
	if page := b.want(b.do(http.MethodPost, "/dashboard/contacts/import", "--x--", "Content-Type", "multipart/form-data; boundary=x"), 401, "do it again"); !strings.Contains(page, `value="/dashboard/contacts/import"`) || strings.Contains(page, `name="sent"`) {
		t.Error("a file is kept, or it does not lead back")
	}
	for _, to := range []string{"https://evil.example/x", "//evil.example/x"} {
		if page := b.want(b.post("/dashboard/sign-in", url.Values{"name": {"Ada"}, "password": {password}, "to": {to}, "sent": {"1"}, "kept.a": {"b"}}), 200, "signed in again"); strings.Contains(page, "evil") {
			t.Error("a kept form goes elsewhere")
		}
	}
}
