package web

import (
	"net/http"
	"net/url"
	"strings"
)

// signInLate asks who sent a form after the session had ended to sign in. The form
// is kept in the pages that lead back in and nowhere else: nothing of it happens
// before it is sent again. Files and passwords are not kept.
func (v *visit) signInLate() {
	page, err := v.signInPage(signInPage{To: v.URL.RequestURI()})
	if err != nil {
		v.fail("sign-in", err)
		return
	}
	again := "Your session has ended: nothing has happened yet. Sign in and do it again."
	if !strings.HasPrefix(v.Header.Get("Content-Type"), "multipart/") {
		v.Body = http.MaxBytesReader(v.w, v.Body, maxForm)
		if err := v.ParseForm(); err != nil || v.PostForm.Has("password") {
			page.To = home
		} else {
			page.Sent, page.Kept = true, v.PostForm
			again = "Your session has ended: nothing has happened yet. What you sent is kept; sign in, and send it again."
		}
	}
	v.show(http.StatusUnauthorized, "sign-in", page, &problem{Message: again})
}

// keptPrefix begins the names of a kept form's fields.
const keptPrefix = "kept."

func (v *visit) keptForm() url.Values {
	kept := url.Values{}
	for name, values := range v.PostForm {
		if name, ok := strings.CutPrefix(name, keptPrefix); ok {
			kept[name] = values
		}
	}
	return kept
}
