package e2e

import (
	"testing"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/input"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/chromedp"
)

// Buttons of the builder that are pressed while an answer is under way do what they
// said when they were pressed, or nothing.
func TestImpatienceInTheBuilder(t *testing.T) {
	s, b := joined(t, 1440, "light")
	b.allowed = []string{"ERR_INTERNET_DISCONNECTED", "htmx:"}
	rule := func(value string) any {
		return map[string]any{"type": "rule", "field": "event.plan", "operator": "equals", "value": value}
	}
	id := s.call(b.ctx, "POST", "/automations", map[string]any{"name": "Welcome", "steps": []any{
		map[string]any{"key": "start", "type": "trigger", "config": map[string]any{"event_name": "user.signed_up"}},
		map[string]any{"key": "plan", "type": "condition", "config": map[string]any{"type": "or", "rules": []any{rule("a"), rule(""), rule(""), rule("d")}}},
	}})["id"].(string)
	edit := s.base + "/dashboard/automations/" + id + "/edit?step=plan"
	b.visit(edit)

	answer := s.pause()
	b.click(`button[value="drop rules.0"]`)
	b.click(`button[value="drop rules.0"]`)
	b.fill("#rules\\.1\\.value", "b") // which becomes the first
	answer()
	b.until("!document.getElementById('rules.3.value')")
	b.answered()
	b.holds("#rules\\.1\\.value", "")
	b.holds("#rules\\.2\\.value", "d")

	b.fill("#rules\\.2\\.value", "c")
	b.visit(edit)
	b.sees("kept a draft")
	b.offline(true)
	b.click(".banner button:not(.quiet)")
	b.sees("The server cannot be reached")
	b.offline(false)
	b.press("#step-start") // which does not take up the draft
	b.sees("When it starts")
	b.visit(edit)
	b.sees("kept a draft")
	answer = s.pause()
	b.click(".banner button:not(.quiet)")
	b.click(".banner button:not(.quiet)")
	b.click("#step-start")
	answer()
	b.holds("#rules\\.2\\.value", "c")

	s.call(b.ctx, "PATCH", "/automations/"+id, map[string]any{"trigger_event_name": "user.joined"}) // by somebody else
	b.press("#review")
	b.sees("Publish revision")
	answer = s.pause()
	b.click("#publish")
	b.click("#publish")
	answer()
	b.sees("was published while you changed")
	b.answered()
	if made := s.call(b.ctx, "GET", "/automations/"+id, nil); made["revision"] != 2.0 {
		t.Errorf("revision %v: published without having been looked at", made["revision"])
	}
	b.press("#publish")
	b.sees("Revision 3 is published")
}

// A form whose answer takes long is sent once, and takes no words that would be
// lost with its page. Chromium lets nobody ask a page that is about to be left: it
// has to press for itself, and to note what it held.
func TestImpatienceWithForms(t *testing.T) {
	s, b := joined(t, 360, "light")
	b.visit(s.base + "/dashboard/keys")
	b.fill("input[placeholder=app]", "shop")
	evaluate(b, "preparing", chromedp.Evaluate[bool](`(() => {
		const real = setTimeout, later = []
		setTimeout = (does, after) => later.push({ does, after })
		sessionStorage.sent = ''
		addEventListener('submit', (event) => {
			if (event.defaultPrevented) return
			sessionStorage.sent += 'x'
			real(() => {
				for (const timer of later.splice(0)) if (timer.after <= 10000) timer.does() // ten seconds pass
				if (sessionStorage.sent === 'x') event.submitter.click()
			}, 0)
		})
		return true
	})()`))
	answer := s.pause()
	b.click("form:has(input[placeholder=app]) button")
	answer()
	b.sees("os_")
	if sent := evaluate(b, "reading", chromedp.Evaluate[string]("sessionStorage.sent")); sent != "x" {
		t.Errorf("it was sent %d times", len(sent))
	}

	made := s.call(b.ctx, "POST", "/templates", map[string]any{"name": "Welcome", "subject": "Hello", "html": "<p>Hello</p>"})
	b.visit(s.base + "/dashboard/templates/" + made["id"].(string))
	b.fill("[name=subject]", "Dear ")
	b.sees("Dear") // the preview
	evaluate(b, "preparing", chromedp.Evaluate[bool](`(addEventListener('pagehide', () => { sessionStorage.held = document.querySelector('[name=subject]').value }), true)`))
	answer = s.pause()
	b.keys("\rAda")
	answer()
	b.sees("Saved.")
	if held := evaluate(b, "reading", chromedp.Evaluate[string]("sessionStorage.held")); held != "Dear " {
		t.Errorf("%q was typed where it is lost", held)
	}
}

// What looks again by itself waits while somebody presses or selects in it, and
// takes away nothing that was typed when the session has ended.
func TestLivePartsWait(t *testing.T) {
	s, b := joined(t, 1440, "light")
	b.allowed = []string{"401"}
	send := func(name string) {
		t.Helper()
		s.call(b.ctx, "POST", "/events/send", map[string]any{"event": name, "email": "ada@example.com"})
	}
	send("shop.first")
	b.visit(s.base + "/dashboard/events")
	b.sees("shop.first")
	const row = "#events a[href^='/dashboard/events/']"
	evaluate(b, "watching", chromedp.Evaluate[bool](`(() => {
		window.looks = 0
		document.addEventListener('htmx:afterOnLoad', () => looks++)
		return true
	})()`))
	at := evaluate(b, "measuring", chromedp.Evaluate[[]float64](`(({x, y}) => [x + 5, y + 5])(document.querySelector("`+row+`").getBoundingClientRect())`))
	mouse := func(does input.DispatchMouseEventType) {
		t.Helper()
		b.do("the mouse", command(input.DispatchMouseEvent, input.DispatchMouseEventParams{Type: does, X: at[0], Y: at[1], Button: input.MouseButtonLeft, ClickCount: 1}))
	}

	evaluate(b, "selecting", chromedp.Evaluate[bool](`(getSelection().selectAllChildren(document.querySelector("`+row+`")), true)`))
	send("shop.second")
	b.until("looks > 0")
	b.until("getSelection().toString() !== '' && !document.body.innerText.includes('shop.second')")
	evaluate(b, "selecting no more", chromedp.Evaluate[bool]("(getSelection().removeAllRanges(), true)"))
	b.sees("shop.second")

	evaluate(b, "counting anew", chromedp.Evaluate[bool]("(looks = 0, true)"))
	mouse(input.DispatchMouseEventTypeMousePressed)
	send("shop.third")
	b.until("looks > 0")
	mouse(input.DispatchMouseEventTypeMouseReleased)
	b.until("location.pathname.startsWith('/dashboard/events/')")

	b.visit(s.base + "/dashboard/events")
	b.fill("main [name=email]", "ada@")
	b.do("losing the session", command(network.ClearBrowserCookies, cdp.Empty{}))
	send("shop.fourth")
	b.sees("Your session has ended")
	b.holds("main [name=email]", "ada@")
}

// offline takes the network away, or gives it back.
func (b *browser) offline(is bool) {
	b.t.Helper()
	conditions := []*network.Conditions{{Offline: is, DownloadThroughput: -1, UploadThroughput: -1}}
	b.do("the network", command(network.EmulateNetworkConditionsByRule, network.EmulateNetworkConditionsByRuleParams{MatchedNetworkConditions: conditions}))
}
