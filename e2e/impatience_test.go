package e2e

import (
	"testing"

	"github.com/chromedp/cdproto/network"
)

// Buttons of the builder that are pressed while an answer is under way do what they
// said when they were pressed, or nothing.
func TestImpatienceInTheBuilder(t *testing.T) {
	s := serve(t)
	b := open(t, s)
	b.allowed = []string{"ERR_INTERNET_DISCONNECTED", "htmx:"}
	b.as(1440, "light")
	b.join(s)
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

// offline takes the network away, or gives it back.
func (b *browser) offline(is bool) {
	b.t.Helper()
	conditions := []*network.Conditions{{Offline: is, DownloadThroughput: -1, UploadThroughput: -1}}
	b.do("the network", command(network.EmulateNetworkConditionsByRule, network.EmulateNetworkConditionsByRuleParams{MatchedNetworkConditions: conditions}))
}
