package e2e

import (
	"context"
	"net/url"
)

// hostile is a text that does harm where it is not text any more.
const hostile = `"'><script>window.harmed=1</script><img src=x onerror="window.harmed=1">{{.}}`

// seed fills a server with one of everything, hostile in every text that takes
// it, and returns the paths of the pages that show it.
func seed(ctx context.Context, s *server) (paths []string) {
	s.t.Helper()
	post := func(path string, in any) map[string]any { s.t.Helper(); return s.call(ctx, "POST", path, in) }
	id := func(thing map[string]any) string { return thing["id"].(string) }
	kind := post("/events", map[string]any{"name": "shop.ordered", "schema": map[string]any{"type": "object", "properties": map[string]any{"plan": map[string]any{"type": "string", "description": hostile}}}})
	post("/topics", map[string]any{"name": hostile[:40], "description": hostile, "default_subscription": "opt_in"})
	segment := post("/segments", map[string]any{"name": hostile[:40]})
	post("/contact-properties", map[string]any{"key": "plan", "type": "string", "fallback_value": hostile})
	contact := post("/contacts", map[string]any{
		"email": "ada@example.com", "first_name": hostile, "last_name": hostile, "properties": map[string]any{"plan": hostile}, "segments": []any{map[string]any{"id": id(segment)}},
	})
	template := post("/templates", map[string]any{"name": hostile, "alias": "welcome", "subject": "Hi {{name}}", "html": "<p>Hello {{name}}</p>", "variables": []any{map[string]any{"key": "name", "type": "string", "fallback_value": hostile}}})
	post("/templates/"+id(template)+"/publish", map[string]any{})
	automation := post("/automations", map[string]any{
		"name": hostile, "status": "enabled",
		"steps": []any{
			map[string]any{"key": "start", "type": "trigger", "config": map[string]any{"event_name": "shop.ordered"}},
			map[string]any{"key": "big", "type": "condition", "config": map[string]any{"type": "and", "rules": []any{map[string]any{"type": "rule", "field": "event.plan", "operator": "not_equals", "value": hostile}, map[string]any{"type": "rule", "field": "contact.email", "operator": "exists"}}}},
			map[string]any{"key": "thanks", "type": "send_email", "config": map[string]any{"from": "Shop <shop@example.com>", "template": map[string]any{"id": "welcome"}}},
			map[string]any{"key": "paid", "type": "wait_for_event", "config": map[string]any{"event_name": "invoice.paid", "timeout": "3 days"}},
			map[string]any{"key": "remind", "type": "send_email", "config": map[string]any{"from": "Shop <shop@example.com>", "subject": "Your invoice", "html": "<p>It is open.</p>"}},
		},
		"connections": []any{
			map[string]any{"from": "start", "to": "big"}, map[string]any{"from": "big", "to": "thanks", "type": "condition_met"},
			map[string]any{"from": "thanks", "to": "paid"}, map[string]any{"from": "paid", "to": "remind", "type": "timeout"},
		},
	})
	sent := post("/events/send", map[string]any{"event": "shop.ordered", "email": "ada@example.com", "payload": map[string]any{"plan": "pro", "note": hostile}})
	post("/events/send", map[string]any{"event": hostile, "email": "bob@example.com"})
	run := sent["automation_runs"].([]any)[0].(map[string]any)
	webhook := post("/webhooks", map[string]any{"endpoint": "https://hooks.example.com/" + url.PathEscape(hostile), "events": []string{"email.sent"}})
	post("/api-keys", map[string]any{"name": hostile[:50]})
	post("/suppressions", map[string]any{"email": "gone@example.com"})
	mail := s.call(ctx, "GET", "/emails?limit=1", nil)["data"].([]any)[0].(map[string]any)
	delivery := sent["delivery"].(map[string]any)
	of := "/automations/" + id(automation)
	return []string{
		"", "/events", "/events/" + id(delivery), "/events/unmatched", "/events/send", "/events/types", "/events/types/new", "/events/types/" + id(kind) + "?infer=1",
		"/automations", "/automations/new", of, of + "/edit", of + "/runs", of + "/revisions", of + "/settings", "/runs", "/runs/" + id(automation) + "/" + id(run),
		"/contacts", "/contacts/new", "/contacts/segments", "/contacts/topics", "/contacts/import", "/contacts/" + id(contact) + "?edit=1",
		"/templates", "/templates/" + id(template), "/mail", "/mail/" + id(mail),
		"/keys", "/webhooks", "/webhooks/" + id(webhook),
		"/system", "/system/backups", "/system/storage", "/system/doctor", "/system/configuration", "/system/changes", "/system/users",
	}
}
