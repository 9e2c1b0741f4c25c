package server

import (
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// post sends an event at OpenSend's door and lets everything that follows at
// once happen.
func (r *rig) post(event, email, payload string) *reply {
	r.t.Helper()
	a := r.do(http.MethodPost, "/events/send", fmt.Sprintf(`{"event":%q,"email":%q,"payload":%s}`, event, email, payload)).want(202)
	synctest.Wait()
	return a
}

// run reads a run in its present state.
func (r *rig) run(automation string, receipt *reply) *reply {
	r.t.Helper()
	return r.do(http.MethodGet, "/automations/"+automation+"/runs/"+receipt.text("automation_runs.0.id"), "").want(200)
}

const inlineMail = `{"subject":"Hello {{event.plan}}","html":"<p>Hi {{{contact.first_name|there}}}</p>"}`

func TestRunThroughEveryStepType(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		segment := r.do(http.MethodPost, "/segments", `{"name":"Pro"}`).want(201).text("id")
		id := r.automation("all", `[
			{"key":"t","type":"trigger","config":{"event_name":"signed_up"}},
			{"key":"d","type":"delay","config":{"duration":"1 day 12 hours"}},
			{"key":"c","type":"condition","config":{"predicate":{"left":"event.plan","operator":"eq","right":"pro"}}},
			{"key":"u","type":"contact_update","config":{"fields":{"first_name":{"var":"event.name"}},"properties":{"plan":{"var":"event.plan"},"seats":3}}},
			{"key":"s","type":"add_to_segment","config":{"segment_id":"`+segment+`"}},
			{"key":"m","type":"send_email","config":`+inlineMail+`},
			{"key":"w","type":"wait_for_event","config":{"event_name":"paid","timeout_seconds":60,"filter_rule":{"type":"rule","field":"event.plan","operator":"equals","value":{"var":"trigger.plan"}}}},
			{"key":"x","type":"remove_from_segment","config":{"segmentId":"`+segment+`"}},
			{"key":"e","type":"end","config":{}},
			{"key":"del","type":"contact_delete","config":{}}]`,
			`[{"from":"t","to":"d"},{"from":"d","to":"c"},{"from":"c","to":"u","type":"condition_met"},{"from":"c","to":"del","type":"condition_not_met"},
			{"from":"u","to":"s"},{"from":"s","to":"m"},{"from":"m","to":"w"},{"from":"w","to":"x","type":"event_received"},{"from":"w","to":"e","type":"timeout"}]`)

		pro := r.post("signed_up", "ada@example.com", `{"plan":"pro","name":"Ada"}`)
		free := r.post("signed_up", "bob@example.com", `{"plan":"free"}`)
		r.run(id, pro).has("status", "waiting").has("current_step_key", "d").has("next_step_at", "2000-01-02T12:00:00.000Z").has("step_states.d.scheduledFor", "2000-01-02T12:00:00.000Z")
		time.Sleep(36*time.Hour - time.Millisecond)
		synctest.Wait()
		r.run(id, pro).has("status", "waiting")
		time.Sleep(time.Millisecond)
		synctest.Wait()
		r.run(id, pro).has("current_step_key", "w").has("step_states.m.status", "completed").has("step_states.m.output.status", "captured").has("step_states.c.output.result", true)
		r.do(http.MethodGet, "/contacts/ada@example.com", "").has("first_name", "Ada").has("properties.plan", "pro").has("properties.seats", 3).has("segments.0", segment)
		r.run(id, free).has("status", "completed").has("step_states.del.status", "completed").has("step_states.u.status", "skipped")
		r.do(http.MethodGet, "/contacts/bob@example.com", "").want(404)

		no := r.post("paid", "ada@example.com", `{"plan":"free"}`).has("resumed_runs.0", nil) // the filter says no
		r.do(http.MethodGet, "/deliveries/"+no.text("delivery.id"), "").has("verdicts.0.verdict", "conditions_not_met").has("verdicts.0.step_key", "w").
			has("verdicts.0.run_id", pro.text("automation_runs.0.id")).has("verdicts.0.compared.0.actual", "free")
		r.post("paid", "eve@example.com", `{"plan":"pro"}`).has("resumed_runs.0", nil) // somebody else
		r.post("paid", "ada@example.com", `{"plan":"pro"}`).has("resumed_runs.0.id", pro.text("automation_runs.0.id"))
		r.run(id, pro).has("status", "completed").has("current_step_key", nil).has("step_states.x.status", "completed").has("step_states.e.status", "skipped")
		r.do(http.MethodGet, "/contacts/ada@example.com", "").has("segments.0", nil)
		r.do(http.MethodGet, "/automations/"+id+"/runs/metrics", "").has("total", 2).has("by_status.completed", 2).has("by_status.waiting", 0)
		r.do(http.MethodGet, "/automations", "").has("data.0.step_count", 10).has("data.0.last_run.status", "completed")
	})
}

// What a step writes into a contact is held to the rules that the API has.
func TestContactUpdateKeepsTheRules(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.do(http.MethodPost, "/contacts", `{"email":"ada@example.com","properties":{"seats":"many"}}`).want(201)
		r.do(http.MethodPost, "/contact-properties", `{"key":"seats","type":"number"}`).want(201)
		r.do(http.MethodPatch, "/contacts/ada@example.com", `{"last_name":"L"}`).want(200) // its seats are older than the declaration
		id := r.automation("update", `[{"key":"t","type":"trigger","config":{"event_name":"x"}},
			{"key":"u","type":"contact_update","config":{"fields":{"first_name":{"var":"event.name"}},"properties":{"seats":{"var":"event.seats"},"note":{"var":"event.note"}}}}]`, "")
		for payload, reason := range map[string]string{
			`{"name":"a\r\nBcc: x","seats":1}`:                          "first_name has control characters",
			`{"name":"` + strings.Repeat("n", 256) + `"}`:               "first_name may have 255 characters",
			`{"name":"Ada","seats":"2"}`:                                "properties.seats must be a number",
			`{"name":"Ada","note":"` + strings.Repeat("n", 5000) + `"}`: "a value of at most 4096",
		} {
			a := r.run(id, r.post("x", "ada@example.com", payload)).has("status", "failed").has("failed_step_key", "u")
			if !strings.HasPrefix(a.text("failure_reason"), "contact_update: ") || !strings.Contains(a.text("failure_reason"), reason) {
				t.Errorf("%.60s: %s", payload, a.text("failure_reason"))
			}
		}
		r.do(http.MethodGet, "/contacts/ada@example.com", "").has("first_name", nil).has("properties.seats", "many")
		r.run(id, r.post("x", "ada@example.com", `{"name":" Ada ","seats":2}`)).has("status", "completed")
		r.do(http.MethodGet, "/contacts/ada@example.com", "").has("first_name", "Ada").has("properties.seats", 2).has("properties.note", nil)
	})
}

const waiting = `[{"key":"t","type":"trigger","config":{"event_name":"start"}},
	{"key":"d","type":"delay","config":{"duration":"10 minutes"}},
	{"key":"w","type":"wait_for_event","config":{"event_name":"go","timeout":"1 hour"}},
	{"key":"yes","type":"end","config":{}},{"key":"no","type":"end","config":{}}]`

const bothWays = `[{"from":"t","to":"d"},{"from":"d","to":"w"},{"from":"w","to":"yes","type":"event_received"},{"from":"w","to":"no","type":"timeout"}]`

func TestWaitLookBackAndTimeout(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		id := r.automation("wait", waiting, bothWays)
		r.post("go", "a@example.com", `{}`) // before the run: does not count
		early, late, never := r.post("start", "a@example.com", `{}`), r.post("start", "b@example.com", `{}`), r.post("start", "c@example.com", `{}`)
		kept := r.post("go", "a@example.com", `{"n":1}`).has("resumed_runs.0", nil) // before the wait is reached
		r.do(http.MethodGet, "/deliveries/"+kept.text("delivery.id"), "").has("verdicts.0.verdict", "kept").has("verdicts.0.step_key", "w")
		r.do(http.MethodPost, "/v1/events", `{"event_name":"go","email":"a@example.com"}`).want(200).has("status", "processed")
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		r.run(id, early).has("status", "completed").has("step_states.yes.status", "completed").has("step_states.w.output.event.n", 1)
		r.run(id, late).has("status", "waiting").has("next_step_at", "2000-01-01T01:10:00.000Z")
		r.do(http.MethodPost, "/v1/events", `{"event_name":"GO","email":"b@example.com"}`).want(200).has("status", "processed") // this door has no case
		time.Sleep(time.Hour)
		synctest.Wait()
		r.run(id, late).has("step_states.yes.status", "completed").has("step_states.no.status", "skipped")
		r.run(id, never).has("status", "completed").has("step_states.no.status", "completed").has("step_states.w.output.timed_out", true)
		r.post("go", "c@example.com", `{}`).has("resumed_runs.0", nil) // too late
	})
}

func TestWaitWithoutTimeoutEdge(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		id := r.automation("wait", waiting, `[{"from":"t","to":"d"},{"from":"d","to":"w"},{"from":"w","to":"yes","type":"event_received"},{"from":"w","to":"no","type":"default"}]`)
		run := r.post("start", "a@example.com", `{}`)
		time.Sleep(2 * time.Hour)
		synctest.Wait()
		r.run(id, run).has("step_states.no.status", "completed") // the default edge
		only := r.automation("only", strings.ReplaceAll(waiting, `,{"key":"no","type":"end","config":{}}`, ""), `[{"from":"t","to":"d"},{"from":"d","to":"w"},{"from":"w","to":"yes","type":"event_received"}]`)
		run = r.post("start", "b@example.com", `{}`)
		time.Sleep(2 * time.Hour)
		synctest.Wait()
		for i := range 2 { // of the two automations, the newer one
			path := fmt.Sprintf("automation_runs.%d", i)
			if run.at(path+".automation_id") == only {
				r.do(http.MethodGet, "/automations/"+only+"/runs/"+run.text(path+".id"), "").want(200).
					has("status", "completed").has("step_states.w.status", "skipped").has("step_states.w.error", "timeout").has("step_states.yes.status", "skipped")
			}
		}
	})
}

func TestRevisionsArePinned(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		steps := func(end string) string {
			return `[{"key":"t","type":"trigger","config":{"event_name":"start"}},{"key":"d","type":"delay","config":{"duration":"PT1H"}},{"key":"` + end + `","type":"end","config":{}}]`
		}
		edges := func(end string) string { return `[{"from":"t","to":"d"},{"from":"d","to":"` + end + `"}]` }
		id := r.automation("a", steps("old"), edges("old"))
		before := r.post("start", "a@example.com", `{}`)
		r.do(http.MethodPatch, "/automations/"+id, `{"steps":`+steps("new")+`}`).want(422).has("details.0.path", "connections")
		r.do(http.MethodPatch, "/automations/"+id, `{"steps":`+steps("new")+`,"connections":`+edges("new")+`}`).want(200).has("revision", 2).has("steps.2.key", "new")
		r.do(http.MethodPatch, "/automations/"+id, `{"name":"b"}`).want(200).has("revision", 2)
		after := r.post("start", "a@example.com", `{}`)
		r.do(http.MethodPost, "/automations/"+id+"/stop", "").want(200).has("status", "disabled")
		r.do(http.MethodPost, "/automations/"+id+"/stop", "").want(200) // again: no matter
		r.post("start", "a@example.com", `{}`).has("automation_runs.0", nil)
		time.Sleep(time.Hour)
		synctest.Wait()
		r.run(id, before).has("revision", 1).has("step_states.old.status", "completed")
		r.run(id, after).has("revision", 2).has("step_states.new.status", "completed")
		r.do(http.MethodGet, "/automations/"+id+"/revisions", "").want(200).has("data.0.revision", 2).has("data.0.current", true).has("data.1.steps.2.key", "old").has("has_more", false)
		r.do(http.MethodGet, "/automations/"+id+"/revisions?limit=1", "").want(200).has("data.0.revision", 2).has("data.1", nil).has("has_more", true)
		r.do(http.MethodGet, "/automations/"+id+"/revisions?limit=1&after=2", "").want(200).has("data.0.revision", 1).has("data.0.current", false).has("has_more", false)
		r.do(http.MethodGet, "/automations/"+id+"/revisions?after=1", "").want(200).has("data.0", nil)
		r.do(http.MethodGet, "/automations/"+id+"/revisions?after=x", "").want(422)
		r.do(http.MethodPost, "/api/automations/"+id+"/duplicate", "").want(201).has("status", "draft").has("revision", 1).has("name", "b (copy)").has("steps.2.key", "new")
	})
}

func TestCancelRetryAndDelete(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		id := r.automation("a", `[{"key":"t","type":"trigger","config":{"event_name":"start"}},{"key":"d","type":"delay","config":{"duration":"1 h"}},
			{"key":"m","type":"send_email","config":{"template":{"id":"hello","variables":{"n":{"var":"event.n"}}}}}]`, "")
		run := r.post("start", "a@example.com", `{"n":5}`)
		path := "/automations/" + id + "/runs/" + run.text("automation_runs.0.id")
		r.do(http.MethodPost, path+"/cancel", `{"reason":"no longer needed"}`).want(200).has("status", "cancelled").has("failure_reason", "no longer needed").has("next_step_at", nil)
		r.do(http.MethodPost, path+"/cancel", "").want(409).has("code", "run_not_cancellable")
		r.do(http.MethodPost, path+"/retry", "").want(409).has("code", "run_not_retryable")

		run = r.post("start", "b@example.com", `{"n":5}`)
		path = "/automations/" + id + "/runs/" + run.text("automation_runs.0.id")
		time.Sleep(time.Hour)
		synctest.Wait()
		r.do(http.MethodGet, path, "").has("status", "failed").has("failed_step_key", "m").has("failure_reason", `template "hello" does not exist`).has("steps.2.error.message", `template "hello" does not exist`)
		r.do(http.MethodPost, "/templates", `{"name":"Hello","alias":"hello","subject":"No {{n}}","text":"{{n}}"}`).want(201).has("variables.0.key", "n")
		r.do(http.MethodPost, path+"/retry", "").want(200)
		synctest.Wait()
		r.do(http.MethodGet, path, "").has("failure_reason", `template "hello" is not published`)
		r.do(http.MethodPost, "/templates/hello/publish", "").want(200).has("status", "published")
		r.do(http.MethodPost, path+"/retry", "").want(200)
		synctest.Wait()
		r.do(http.MethodGet, path, "").has("status", "completed").has("failed_step_key", nil).has("step_states.m.error", nil)

		run = r.post("start", "c@example.com", `{"n":5}`)
		path = "/automations/" + id + "/runs/" + run.text("automation_runs.0.id")
		r.do(http.MethodDelete, "/contacts/C@Example.com", "").want(200).has("deleted", true).has("contact", run.text("delivery.contact_id"))
		r.do(http.MethodGet, path, "").has("status", "cancelled").has("failure_reason", "contact_deleted")
		r.do(http.MethodGet, "/deliveries/"+run.text("delivery.id"), "").has("email", nil).has("payload.n", nil)
		r.do(http.MethodDelete, "/automations/"+id, "").want(409).has("code", "automation_enabled")
		left := r.post("start", "d@example.com", `{"n":5}`)
		r.do(http.MethodPatch, "/automations/"+id, `{"status":"disabled"}`).want(200)
		r.do(http.MethodDelete, "/automations/"+id, "").want(200).has("deleted", true)
		r.do(http.MethodGet, "/automations/"+id+"/runs/"+left.text("automation_runs.0.id"), "").want(404)
		time.Sleep(2 * time.Hour)
		synctest.Wait() // the run that was left is cancelled instead of sending mail
		r.do(http.MethodGet, "/deliveries?verdict=started", "").want(200).has("data.0.id", left.text("delivery.id"))
	})
}

// A wait and a delay that are skipped end as when their time is over, once.
func TestSkipWait(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		id := r.automation("a", `[{"key":"t","type":"trigger","config":{"event_name":"start"}},{"key":"w","type":"wait_for_event","config":{"event_name":"paid","timeout":"3 days"}},
			{"key":"paid","type":"end"},{"key":"d","type":"delay","config":{"duration":"1 h"}},{"key":"late","type":"end"}]`,
			`[{"from":"t","to":"w"},{"from":"w","to":"paid","type":"event_received"},{"from":"w","to":"d","type":"timeout"},{"from":"d","to":"late"}]`)
		run := r.post("start", "a@example.com", `{}`)
		path := "/automations/" + id + "/runs/" + run.text("automation_runs.0.id")
		synctest.Wait()
		r.do(http.MethodPost, path+"/skip-wait", "").want(200)
		synctest.Wait()
		r.do(http.MethodGet, path, "").has("status", "waiting").has("step_states.w.status", "completed").has("step_states.w.output.timed_out", true).has("current_step_key", "d")
		r.post("paid", "a@example.com", `{}`).has("resumed_runs.0", nil)
		r.do(http.MethodPost, path+"/skip-wait", "").want(200)
		synctest.Wait()
		r.do(http.MethodGet, path, "").has("status", "completed").has("step_states.late.status", "completed").has("step_states.paid.status", "skipped")
		r.do(http.MethodPost, path+"/skip-wait", "").want(409).has("code", "run_not_waiting")
		r.do(http.MethodPost, "/automations/"+id+"/runs/"+id+"/skip-wait", "").want(404)
	})
}

func TestVerdicts(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		trigger := func(name, conditions string) string {
			return `[{"key":"t","type":"trigger","config":{"event_name":"` + name + `"` + conditions + `}}]`
		}
		id := r.automation("a", trigger("user.signed_up", `,"conditions":{"type":"rule","field":"plan","operator":"equals","value":"pro"}`), "")
		r.do(http.MethodPost, "/automations", `{"name":"draft","steps":`+trigger("user.left", "")+`}`).want(201).has("status", "draft")
		verdicts := func(event, payload string) *reply {
			a := r.post(event, "a@example.com", payload)
			return r.do(http.MethodGet, "/deliveries/"+a.text("delivery.id"), "").want(200)
		}
		verdicts("user.signed_up", `{"plan":"pro"}`).has("verdicts.0.verdict", "started").has("verdicts.0.automation_id", id)
		verdicts("user.signed_up", `{"plan":"free"}`).has("verdicts.0.verdict", "conditions_not_met").has("verdicts.0.compared.0.field", "event.plan").
			has("verdicts.0.compared.0.expected", "pro").has("verdicts.0.compared.0.actual", "free").has("verdicts.0.compared.0.held", false)
		verdicts("user.left", `{}`).has("verdicts.0.verdict", "disabled")
		verdicts("User.signed_up", `{}`).has("verdicts.0.verdict", "near_miss").has("verdicts.0.trigger_event_name", "user.signed_up")
		verdicts("user_signed_up", `{}`).has("verdicts.0.verdict", "near_miss")
		verdicts("something.else", `{}`).has("verdicts.0.verdict", "unmatched").has("verdicts.0.automation_id", nil)
		list := r.do(http.MethodGet, "/deliveries?verdict=near_miss&limit=1", "").want(200).has("has_more", true).has("data.0.event", "user_signed_up")
		r.do(http.MethodGet, "/deliveries?verdict=near_miss&limit=1&after="+list.text("data.0.id"), "").has("has_more", true).has("data.0.event", "User.signed_up")
		r.do(http.MethodGet, "/deliveries?verdict=nonsense", "").want(422)
	})
}

func TestDeliveriesOfATime(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		var ids [4]string
		for i := range ids { // at 00:00, 01:00, 02:00 and 03:00
			ids[i] = r.post("x", "a@example.com", `{}`).text("delivery.id")
			time.Sleep(time.Hour)
		}
		for query, want := range map[string]string{
			"":                              "3210",
			"from=2000-01-01T01:00:00Z":     "321",
			"from=2000-01-01T01:00:00.001Z": "32",
			"to=2000-01-01T02:00:00Z":       "10",
			"from=2000-01-01T01:00:00Z&to=2000-01-01T03:00:00Z": "21",
			"from=2000-01-01T01:00:00Z&after=" + ids[2]:         "1",
			"from=2000-01-01T02:00:00Z&before=" + ids[0]:        "32",
			"from=2000-01-01T01:00:00Z&before=" + ids[2]:        "3",
			"from=9999-12-31T23:59:59Z":                         "",
			"from=0000-01-01T00:00:00Z":                         "3210",
		} {
			list, got := r.do(http.MethodGet, "/deliveries?"+query, "").want(200).has("has_more", false), ""
			for _, row := range list.at("data").([]any) {
				got += strconv.Itoa(slices.Index(ids[:], row.(map[string]any)["id"].(string)))
			}
			if got != want {
				t.Errorf("%s: %q, want %q", query, got, want)
			}
		}
		r.do(http.MethodGet, "/deliveries?from=yesterday", "").want(422)
		far := r.post("y", "Ada@Münster.example", `{}`)
		r.do(http.MethodGet, "/deliveries?email=ADA@M%C3%BCnster.example", "").want(200).has("data.0.id", far.text("delivery.id")).has("data.1", nil)
	})
}

func TestUnsubscribedContactIsSkipped(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		id := r.automation("a", `[{"key":"t","type":"trigger","config":{"event_name":"start"}},{"key":"m","type":"send_email","config":`+inlineMail+`},{"key":"e","type":"end","config":{}}]`, "")
		r.do(http.MethodPost, "/contacts", `{"email":"a@example.com","unsubscribed":true}`).want(201)
		run := r.post("start", "a@example.com", `{"plan":"pro"}`)
		r.run(id, run).has("status", "completed").has("step_states.m.status", "skipped").has("step_states.m.error", "contact is unsubscribed").has("step_states.e.status", "completed")
		missing := r.post("start", "b@example.com", `{}`)
		a := r.run(id, missing).has("status", "failed").has("failed_step_key", "m")
		if !strings.Contains(a.text("failure_reason"), `"event.plan"`) {
			t.Errorf("the reason does not name the variable: %s", a.text("failure_reason"))
		}
	})
}

func TestSuppressedAddressIsSkipped(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		id := r.automation("a", `[{"key":"t","type":"trigger","config":{"event_name":"start"}},{"key":"m","type":"send_email","config":`+inlineMail+`},{"key":"e","type":"end","config":{}}]`, "")
		r.do(http.MethodPost, "/suppressions", `{"email":"A@example.com","origin":"bounce"}`).want(201)
		run := r.post("start", "a@example.com", `{"plan":"pro"}`)
		r.run(id, run).has("status", "completed").has("step_states.m.status", "skipped").has("step_states.m.error", "address is suppressed").has("step_states.e.status", "completed")
		// The suppression outlives the contact; its address does not.
		r.do(http.MethodDelete, "/contacts/a@example.com", "").want(200)
		r.do(http.MethodGet, "/suppressions", "").has("data.0.email", nil).has("data.0.origin", "bounce")
		run = r.post("start", "a@example.com", `{"plan":"pro"}`)
		r.run(id, run).has("step_states.m.status", "skipped")
	})
}

func TestPropertyFallbackInMail(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		id := r.automation("a", `[{"key":"t","type":"trigger","config":{"event_name":"start"}},{"key":"m","type":"send_email","config":{"subject":"{{contact.properties.plan}}","text":"{{contact.custom_properties.plan}}"}}]`, "")
		run := r.post("start", "a@example.com", `{}`)
		r.run(id, run).has("status", "failed")
		r.do(http.MethodPost, "/contact-properties", `{"key":"plan","type":"string","fallback_value":"free"}`).want(201)
		run = r.post("start", "a@example.com", `{}`)
		r.run(id, run).has("status", "completed")
		email := r.do(http.MethodGet, "/emails/"+r.run(id, run).text("step_states.m.output.email_id"), "").want(200)
		email.has("subject", "free").has("text", "free").has("html", nil).has("status", "captured").has("last_event", "sent").has("to.0", "a@example.com").has("run_id", run.text("automation_runs.0.id"))
		if headers := fmt.Sprint(email.at("headers")); !strings.Contains(headers, "Subject: free") {
			t.Errorf("headers %s", headers)
		}
		r.do(http.MethodGet, "/emails?status=captured", "").has("data.0.id", email.text("id")).has("data.0.html", nil)
		r.do(http.MethodGet, "/emails?status=failed", "").has("data.0", nil)
		r.do(http.MethodGet, "/emails?status=lost", "").want(422)
		r.do(http.MethodDelete, "/contacts/a@example.com", "").want(200)
		r.do(http.MethodGet, "/emails/"+email.text("id"), "").want(200).has("to.0", nil).has("text", nil).has("subject", "")
	})
}

func TestUnsubscribeLinkAndTopic(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		topic := r.do(http.MethodPost, "/topics", `{"name":"News","default_subscription":"opt_in"}`).want(201).text("id")
		id := r.automation("a", `[{"key":"t","type":"trigger","config":{"event_name":"start"}},
			{"key":"m:1","type":"send_email","config":{"subject":"x","html":"<a href=\"{{{RESEND_UNSUBSCRIBE_URL}}}\">u</a>","text":"{{OPENSEND_UNSUBSCRIBE_URL}}","topicId":"`+topic+`"}},{"key":"e","type":"end","config":{}}]`, "")
		run := r.post("start", "a@example.com", `{}`)
		email := r.do(http.MethodGet, "/emails/"+r.run(id, run).has("status", "completed").text("step_states.m:1.output.email_id"), "").has("topic_id", topic)
		link := email.text("text")
		if !strings.HasPrefix(link, "https://opensend.example/unsubscribe/") || !strings.Contains(email.text("html"), link) {
			t.Errorf("the link: %s", email.raw)
		}
		headers := fmt.Sprint(email.at("headers"))
		for _, want := range []string{"List-Unsubscribe: <" + link + ">", "List-Unsubscribe-Post: List-Unsubscribe=One-Click", "Auto-Submitted: auto-generated", "Feedback-Id: m-1:" + id + ":automation:"} {
			if !strings.Contains(headers, want) {
				t.Errorf("%s is not in %s", want, headers)
			}
		}
		token := strings.TrimPrefix(link, "https://opensend.example/unsubscribe/")
		if _, err := r.engine.Unsubscribe(token); err != nil {
			t.Fatal(err)
		}
		r.do(http.MethodGet, "/contacts/a@example.com/topics", "").has("data.0.subscription", "opt_out")
		run = r.post("start", "a@example.com", `{}`)
		r.run(id, run).has("status", "completed").has("step_states.m:1.status", "skipped").has("step_states.m:1.error", "contact does not want mail of this topic").has("step_states.e.status", "completed")

		// Mail over the API has the link when it belongs to a topic and is for one contact.
		r.do(http.MethodPost, "/contacts", `{"email":"b@example.com"}`).want(201)
		for body, want := range map[string]bool{
			`{"to":"b@example.com","subject":"x","text":"x","topic_id":"` + topic + `"}`:                              true,
			`{"to":"b@example.com","subject":"x","text":"x"}`:                                                         false,
			`{"to":["b@example.com","c@example.com"],"subject":"x","text":"x","topic_id":"` + topic + `"}`:            false,
			`{"to":"b@example.com","subject":"x","text":"x","headers":{"list-unsubscribe":"<mailto:u@example.com>"}}`: false,
		} {
			sent := r.do(http.MethodPost, "/emails", body).want(200).text("id")
			synctest.Wait()
			if headers := fmt.Sprint(r.do(http.MethodGet, "/emails/"+sent, "").at("headers")); strings.Contains(headers, "List-Unsubscribe: <https") != want {
				t.Errorf("%s: %s", body, headers)
			}
		}
	})
}
