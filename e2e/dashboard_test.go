package e2e

import (
	"fmt"
	"testing"

	"github.com/chromedp/chromedp"
)

const password = "correct horse battery"

// join sets the first user's password with the link that the server printed.
func (b *browser) join(s *server) {
	b.t.Helper()
	b.visit(s.invitation)
	b.fill("[name=name]", "Ada")
	b.fill("[name=password]", password)
	b.fill("[name=again]", password)
	b.press("main button")
	b.sees("This is all there is to set up")
}

// joined is a server and a window of a width, light or dark, in which its first
// user is signed in.
func joined(t *testing.T, width int64, scheme string) (*server, *browser) {
	t.Helper()
	s := serve(t)
	b := open(t, s)
	b.as(width, scheme)
	b.join(s)
	return s, b
}

// The first run, from the printed link to the way out.
func TestFirstRun(t *testing.T) {
	s := serve(t)
	b := open(t, s)
	b.as(1440, "light")
	b.visit(s.base + "/")
	b.sees("Nobody has set a password yet")
	b.join(s)
	b.sees("Nothing has come in yet")
	s.call(b.ctx, "POST", "/events/send", map[string]any{"event": "user.signed_up", "email": "ada@example.com", "payload": map[string]any{"plan": "pro"}})
	b.sees("user.signed_up") // by itself
	b.press(".who button")
	b.sees("Sign in")
	b.visit(s.base + "/dashboard/events")
	b.sees("Sign in")
	b.fill("[name=name]", "ada")
	b.fill("[name=password]", password)
	b.press("main button")
	b.sees("user.signed_up") // where it was to go
}

// Every page fits, has no barriers, and runs nothing that is stored, on a phone,
// a tablet and a wide screen, in light and dark.
func TestEveryPageAtEverySize(t *testing.T) {
	s := serve(t)
	b := open(t, s)
	b.join(s)
	for _, path := range seed(b.ctx, s) {
		for _, width := range []int64{360, 768, 1440} {
			for _, scheme := range []string{"light", "dark"} {
				what := fmt.Sprintf("%s at %d px, %s", path, width, scheme)
				b.as(width, scheme)
				b.visit(s.base + "/dashboard" + path)
				b.fits(what)
				if width != 768 {
					b.accessible(what)
				}
				b.shoot(what)
				if evaluate(b, "looking for harm", chromedp.Evaluate[bool]("'harmed' in window")) {
					t.Fatalf("%s runs what is stored", what)
				}
			}
		}
	}
}
