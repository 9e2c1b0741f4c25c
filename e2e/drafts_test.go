package e2e

import (
	"strings"
	"testing"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/chromedp"
)

// What is typed into the builder is shown as it will look, and is not lost: not
// by a reload, not when the session ends, not when two tabs change the same.
func TestDraftsAreKept(t *testing.T) {
	s, b := joined(t, 1440, "light")
	b.allowed = []string{"401"} // the session ends
	made := s.call(b.ctx, "POST", "/automations", map[string]any{"name": "Welcome", "steps": []any{
		map[string]any{"key": "start", "type": "trigger", "config": map[string]any{"event_name": "user.signed_up"}},
		map[string]any{"key": "mail", "type": "send_email", "config": map[string]any{"subject": "Hello", "html": "<p>Hello</p>"}},
	}})
	edit := s.base + "/dashboard/automations/" + made["id"].(string) + "/edit?step=mail"
	b.visit(edit)
	b.fill("#set-subject", "Dear {{FIRST_NAME}}")
	b.sees("Dear Ada") // the preview
	b.visit(edit)      // and what was typed was not applied
	b.sees("kept a draft that was not published")
	b.press(".banner button:not(.quiet)")
	b.holds("#set-subject", "Dear {{FIRST_NAME}}")

	b.do("losing the session", command(network.ClearBrowserCookies, cdp.Empty{}))
	b.fill("#set-from", "a@example.com")
	b.press("#review")
	b.sees("Your session has ended")
	b.holds("#set-from", "a@example.com")
	b.visit(edit)
	b.sees("Sign in")
	b.fill("[name=name]", "ada")
	b.fill("[name=password]", password)
	b.press("main button")
	b.sees("kept a draft that was not published")
	b.press(".banner button:not(.quiet)")
	b.holds("#set-from", "a@example.com")

	s.call(b.ctx, "PATCH", "/automations/"+made["id"].(string), map[string]any{"trigger_event_name": "user.joined"}) // by somebody else
	b.press("#review")
	b.press("#publish")
	b.sees("was published while you changed")
	b.press("#publish")
	b.sees("Revision 3 is published")
	b.visit(edit)
	b.sees("What to send")
	if kept := evaluate(b, "counting drafts", chromedp.Evaluate[int]("localStorage.length")); kept != 0 {
		t.Errorf("%d drafts are left", kept)
	}
}

// A form that is sent after the session has ended can be sent again.
func TestSessionEndsInTheMiddle(t *testing.T) {
	s, b := joined(t, 360, "dark")
	b.allowed = []string{"401"}
	made := s.call(b.ctx, "POST", "/templates", map[string]any{"name": "Welcome", "subject": "Hello", "html": "<p>Hello</p>"})
	b.visit(s.base + "/dashboard/templates/" + made["id"].(string))
	b.do("losing the session", command(network.ClearBrowserCookies, cdp.Empty{}))
	b.fill("[name=html]", "<p>A long letter</p>")
	b.sees("Your session has ended")
	b.press("form.workbench > .fields > .row button:not(.quiet)")
	b.sees("What you sent is kept")
	b.fill("[name=name]", "ada")
	b.fill("[name=password]", password)
	b.press("main button")
	b.sees("You are signed in again")
	b.press("main button")
	b.sees("Saved.")
	if html := s.call(b.ctx, "GET", "/templates/"+made["id"].(string), nil)["html"].(string); !strings.Contains(html, "A long letter") {
		t.Errorf("the template says %s", html)
	}
}

// What is typed and pressed while an answer is under way is not lost, and a button
// that is pressed twice does its work once where it is gone after that.
func TestSlowAnswers(t *testing.T) {
	s, b := joined(t, 1440, "light")
	made := s.call(b.ctx, "POST", "/automations", map[string]any{"name": "Welcome", "steps": []any{
		map[string]any{"key": "start", "type": "trigger", "config": map[string]any{"event_name": "user.signed_up"}},
		map[string]any{"key": "plan", "type": "condition", "config": map[string]any{"type": "rule", "field": "event.plan", "operator": "equals", "value": ""}},
	}})
	b.visit(s.base + "/dashboard/automations/" + made["id"].(string) + "/edit?step=plan")
	b.sees("Met if")

	answer := s.pause()
	b.choose("#rules\\.operator", "begins_with")
	b.fill("#rules\\.value", "pro")
	b.fill("#key", "plans") // which the answer names otherwise
	b.click(`.plus[value$="condition_met"]`)
	answer()
	b.sees("Add after plans, met")

	answer = s.pause()
	b.click(`button[value$=" delay"]`)
	b.click(`button[value$=" delay"]`)
	answer()
	b.sees("How long")
	b.answered()

	answer = s.pause()
	b.click(`button[value="apply"]:not(.unseen)`)
	b.fill("#set-duration", "5 days")
	answer()
	b.answered()
	b.holds("#set-duration", "5 days")
	b.press("#review")
	b.press("#publish")
	b.sees("Revision 2 is published")
	flow := s.call(b.ctx, "GET", "/automations/"+made["id"].(string), nil)
	steps := flow["steps"].([]any)
	config := func(at int) map[string]any { return steps[at].(map[string]any)["config"].(map[string]any) }
	if len(steps) != 3 || steps[1].(map[string]any)["key"] != "plans" || config(1)["operator"] != "begins_with" || config(1)["value"] != "pro" || config(2)["duration"] != "5 days" {
		t.Errorf("%v", steps)
	}
}
