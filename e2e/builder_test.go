package e2e

import (
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
)

// An automation is built, published and enabled with the mouse; an event starts
// it, the run is watched, its mail is read, a key is made, and the way out.
func TestBuildAndWatch(t *testing.T) {
	s, b := joined(t, 1440, "light")
	b.visit(s.base + "/dashboard/automations/new")
	b.fill("[name=name]", "Welcome")
	b.fill("[name=event]", "user.signed_up")
	b.press("form.narrow button")
	b.sees("When user.signed_up")
	b.press(".plus")
	b.sees("Add after")
	b.press(`button[value$=" condition"]`)
	b.sees("Met if")
	b.fill(`[name$=".field"]`, "event.plan")
	b.choose(`[name$=".operator"]`, "equals")
	b.fill(`[name$=".value"]`, "pro")
	b.press(`.plus[value$="condition_met"]`)
	b.press(`button[value$=" send_email"]`)
	b.sees("What to send")
	b.fill("#set-subject", "Welcome to it")
	b.fill("#set-html", "<p>You are on the {{event.plan}} plan.</p>")
	b.fill("#set-from", "hello@example.com")
	b.press("#review")
	b.sees("Publish revision 2")
	b.press("[name=enable]")
	b.press("#publish")
	b.sees("enabled")

	b.visit(s.base + "/dashboard/events/send")
	b.fill("[name=event]", "user.signed_up")
	b.fill("[name=email]", "ada@example.com")
	b.fill("[name=payload]", `{"plan": "pro"}`)
	b.press("main form button:not(.quiet)")
	b.sees("started")
	b.visit(s.base + "/dashboard/runs")
	b.sees("completed")
	b.press(`main a[href^="/dashboard/runs/"]`)
	b.sees("Read the mail")
	b.press(`main a[href^="/dashboard/mail/"]`)
	b.sees("Welcome to it")
	b.sees("captured")

	b.visit(s.base + "/dashboard/keys")
	b.fill("input[placeholder=app]", "shop")
	b.press("form:has(input[placeholder=app]) button")
	b.sees("os_")
	b.press(".who button")
	b.sees("Sign in")
}

// The same flow by keyboard alone.
func TestBuildByKeyboard(t *testing.T) {
	s, b := joined(t, 1440, "light")
	b.visit(s.base + "/dashboard/automations/new")
	b.tabTo("[name=name]")
	b.keys("Reminder\tinvoice.due\r")
	b.sees("When invoice.due")
	b.tabTo(".plus")
	b.keys("\r")
	b.sees("Add after")
	b.tabTo(`button[value$=" delay"]`)
	b.keys("\r")
	b.sees("How long")
	b.tabTo("#set-duration")
	for range "1 day" { // what it began with
		b.keys("\b")
	}
	b.keys("2 days")
	b.tabTo("#review")
	b.keys("\r")
	b.sees("Publish revision 2")
	b.tabTo("[name=enable]")
	b.keys(" ")
	b.tabTo("#publish")
	b.keys("\r")
	b.sees("enabled")
	flows := s.call(b.ctx, "GET", "/automations", nil)["data"].([]any)
	flow := s.call(b.ctx, "GET", "/automations/"+flows[0].(map[string]any)["id"].(string), nil)
	if steps := flow["steps"].([]any); flow["status"] != "enabled" || len(steps) != 2 || steps[1].(map[string]any)["config"].(map[string]any)["duration"] != "2 days" {
		t.Errorf("%v", flow)
	}
}

// tabTo presses the tab key until what a selector names has the focus.
func (b *browser) tabTo(selector string) {
	b.t.Helper()
	is := chromedp.Evaluate[bool]("document.activeElement.matches(" + quoted(selector) + ")")
	for range 200 {
		if evaluate(b, "looking at the focus", is) {
			return
		}
		b.keys("\t")
	}
	b.t.Fatalf("%s cannot be reached by the tab key", selector)
}

func (b *browser) keys(text string) {
	b.t.Helper()
	for _, key := range strings.Split(text, "") {
		b.do("typing", chromedp.KeyEvent(key))
	}
}

// choose takes an option of a select.
func (b *browser) choose(selector, value string) {
	b.t.Helper()
	evaluate(b, "choosing "+value, chromedp.Evaluate[bool](
		"(() => { const s = document.querySelector("+quoted(selector)+"); s.value = "+quoted(value)+"; s.dispatchEvent(new Event('change', {bubbles: true})); return true })()"))
}
