package server

import (
	"context"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/resend/resend-go/v3"
)

// resendClient is Resend's own client, unmodified, against the real server.
func resendClient(t *testing.T, r *rig) *resend.Client {
	t.Helper()
	server := httptest.NewServer(checked(t, r.public))
	t.Cleanup(server.Close)
	client := resend.NewCustomClient(http.DefaultClient, r.key)
	base, err := url.Parse(server.URL + "/")
	if err != nil {
		t.Fatal(err)
	}
	client.BaseURL = base
	return client
}

// check fails the test on an error, and when one of the facts is false.
func check(t *testing.T, what string, err error, facts ...bool) {
	t.Helper()
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
	for i, fact := range facts {
		if !fact {
			t.Errorf("%s: fact %d is not so", what, i+1)
		}
	}
}

func TestResendClientEventsAndAutomations(t *testing.T) {
	r := newRig(t)
	c := resendClient(t, r)

	event, err := c.Events.Create(&resend.CreateEventRequest{Name: "user.signed_up", Schema: map[string]string{"plan": resend.EventSchemaTypeString}})
	check(t, "create event", err, event.Object == "event", event.Id != "")
	r.do(http.MethodPost, "/events", `{"name":"nested","schema":{"type":"object","properties":{"a":{"type":"string"}}}}`).want(201)
	list, err := c.Events.List()
	check(t, "list events with a schema this client cannot decode", err, len(list.Data) == 2, list.Data[0].Schema == nil, list.Data[1].Schema["plan"] == "string")
	updated, err := c.Events.Update("user.signed_up", &resend.UpdateEventRequest{Schema: map[string]string{"plan": "string", "seats": "number"}})
	check(t, "update event", err, updated.Id == event.Id)

	automation, err := c.Automations.Create(&resend.CreateAutomationRequest{
		Name: "Welcome",
		Steps: []resend.AutomationStep{
			{Key: "trigger", Type: "trigger", Config: map[string]any{"event_name": "user.signed_up"}},
			{Key: "wait", Type: "wait_for_event", Config: map[string]any{"event_name": "user.activated", "timeout": "3 days"}},
			{Key: "done", Type: "contact_update", Config: map[string]any{"first_name": "Ada", "properties": map[string]any{"active": true}}},
		},
		Connections: []resend.AutomationConnection{{From: "trigger", To: "wait"}, {From: "wait", To: "done", Type: "event_received"}},
	})
	check(t, "create automation", err, automation.Object == "automation", automation.Id != "")
	got, err := c.Automations.Get(automation.Id)
	check(t, "get automation", err, got.Status == "disabled", len(got.Steps) == 3, len(got.Connections) == 2, got.Connections[0].Type == "default", got.Steps[1].Config["timeout"] == "3 days")
	_, err = c.Automations.Update(automation.Id, &resend.UpdateAutomationRequest{Status: "enabled"})
	check(t, "enable automation", err)

	sent, err := c.Events.Send(&resend.SendEventRequest{Event: "user.signed_up", Email: "ada@example.com", Payload: map[string]any{"plan": "pro"}})
	check(t, "send event", err, sent.Object == "event_delivery", sent.Event == "user.signed_up")
	_, err = c.Events.Send(&resend.SendEventRequest{Event: "user.signed_up", Email: "ada@example.com", Payload: map[string]any{"plan": 7}})
	if err == nil || !strings.Contains(err.Error(), "payload.plan") {
		t.Errorf("a payload that breaks the schema: %v", err)
	}
	runs, err := c.Automations.ListRuns(automation.Id)
	check(t, "list runs", err, len(runs.Data) == 1, runs.Data[0].Status == "running", runs.Data[0].CreatedAt != "")
	run, err := c.Automations.GetRun(automation.Id, runs.Data[0].Id)
	check(t, "get run", err, len(run.Steps) == 3, run.Steps[0].Key == "trigger", run.Steps[2].Status == "pending", run.CompletedAt == nil)
	_, err = c.Events.Send(&resend.SendEventRequest{Event: "user.activated", Email: "ada@example.com"})
	check(t, "send the awaited event", err)

	twin, err := c.Automations.Duplicate(automation.Id)
	check(t, "duplicate automation", err, twin.Id != automation.Id)
	stopped, err := c.Automations.Stop(automation.Id)
	check(t, "stop automation", err, stopped.Status == "disabled")
	removed, err := c.Automations.Remove(automation.Id)
	check(t, "remove automation", err, removed.Deleted)
	all, err := c.Automations.List()
	check(t, "list automations", err, len(all.Data) == 1, all.Data[0].Status == "disabled")
	gone, err := c.Events.Remove("nested")
	check(t, "remove event", err, gone.Deleted)
	if _, err := c.Events.Get("nested"); err == nil {
		t.Error("a removed event is still there")
	}
}

func TestResendClientContactsAndSegments(t *testing.T) {
	r := newRig(t)
	c := resendClient(t, r)
	segment, err := c.Segments.Create(&resend.CreateSegmentRequest{Name: "Pro"})
	check(t, "create segment", err, segment.Id != "", segment.Name == "Pro")
	contact, err := c.Contacts.Create(&resend.CreateContactRequest{
		Email: "Ada@Example.com", FirstName: "Ada", Properties: map[string]any{"plan": "pro"}, Segments: []resend.ContactSegmentRef{{Id: segment.Id}},
	})
	check(t, "create contact", err, contact.Object == "contact", contact.Id != "")
	got, err := c.Contacts.Get(&resend.GetContactOptions{Id: "ada@example.com"})
	check(t, "get contact", err, got.Id == contact.Id, got.FirstName == "Ada", got.LastName == "", got.Properties["plan"].(map[string]any)["value"] == "pro")
	change := &resend.UpdateContactRequest{Id: contact.Id, LastName: "Lovelace"}
	change.SetUnsubscribed(true)
	_, err = c.Contacts.Update(change)
	check(t, "update contact", err)
	members, err := c.Contacts.List(&resend.ListContactsOptions{SegmentId: segment.Id})
	check(t, "list contacts of a segment", err, len(members.Data) == 1, members.Data[0].Unsubscribed, members.Data[0].LastName == "Lovelace")
	left, err := c.Contacts.Segments.Remove(&resend.RemoveContactSegmentRequest{SegmentId: segment.Id, Email: "ada@example.com"})
	check(t, "leave segment", err, left.Deleted, left.Id == segment.Id)
	joined, err := c.Contacts.Segments.Add(&resend.AddContactSegmentRequest{SegmentId: segment.Id, ContactId: contact.Id})
	check(t, "join segment", err, joined.Id == segment.Id)
	of, err := c.Contacts.Segments.List(&resend.ListContactSegmentsRequest{ContactId: contact.Id})
	check(t, "segments of a contact", err, len(of.Data) == 1, of.Data[0].Name == "Pro")

	//lint:ignore SA1019 clients in use still call audiences
	audience, err := c.Audiences.Create(&resend.CreateAudienceRequest{Name: "Old"})
	check(t, "create audience", err, audience.Id != "")
	second, err := c.Contacts.Create(&resend.CreateContactRequest{Email: "b@example.com", AudienceId: audience.Id})
	check(t, "create contact in an audience", err, second.Id != "")
	members, err = c.Contacts.List(&resend.ListContactsOptions{AudienceId: audience.Id})
	check(t, "list contacts of an audience", err, len(members.Data) == 1, members.Data[0].Email == "b@example.com")
	removed, err := c.Contacts.Remove(&resend.RemoveContactOptions{Id: "b@example.com", AudienceId: audience.Id})
	check(t, "remove contact", err, removed.Deleted, removed.Id == second.Id || removed.Id == "")
	gone, err := c.Segments.Remove(segment.Id)
	check(t, "remove segment", err, gone.Deleted)
	of, err = c.Contacts.Segments.List(&resend.ListContactSegmentsRequest{ContactId: contact.Id})
	check(t, "segments after the segment is gone", err, len(of.Data) == 0)
}

func TestResendClientReadsMail(t *testing.T) {
	r := newRig(t)
	c := resendClient(t, r)
	r.automation("a", `[{"key":"t","type":"trigger","config":{"event_name":"go"}},{"key":"m","type":"send_email","config":{"subject":"Hi","html":"<p>Hi</p>"}}]`, "")
	_, err := c.Events.Send(&resend.SendEventRequest{Event: "go", Email: "ada@example.com"})
	check(t, "send event", err)
	var list resend.ListEmailsResponse
	for len(list.Data) == 0 { // the run goes on behind the answer
		list, err = c.Emails.List()
		check(t, "list mail", err)
	}
	check(t, "the listed mail", nil, list.Data[0].Subject == "Hi", list.Data[0].To[0] == "ada@example.com")
	got, err := c.Emails.Get(list.Data[0].Id)
	check(t, "get mail", err, got.Html == "<p>Hi</p>", got.Subject == "Hi", got.LastEvent != "")
}

func TestResendClientSendsMail(t *testing.T) {
	r := newRig(t)
	c := resendClient(t, r)
	ctx := context.Background()
	wanted := &resend.SendEmailRequest{
		From: "Ada <ada@example.com>", To: []string{"bob@example.com"}, Cc: []string{"c@example.com"}, Subject: "Hi", Html: "<p>Hi</p>", ReplyTo: "help@example.com",
		Tags: []resend.Tag{{Name: "kind", Value: "test"}}, Headers: map[string]string{"X-Ref": "1"},
		Attachments: []*resend.Attachment{{Filename: "a.txt", Content: []byte("hello")}},
	}
	sent, err := c.Emails.Send(wanted)
	check(t, "send mail", err, sent.Id != "")
	got, err := c.Emails.Get(sent.Id)
	check(t, "get mail", err, got.Html == "<p>Hi</p>", got.Cc[0] == "c@example.com", got.ReplyTo[0] == "help@example.com")
	options := &resend.SendEmailOptions{IdempotencyKey: "once"}
	first, err := c.Emails.SendWithOptions(ctx, wanted, options)
	check(t, "send once", err)
	second, err := c.Emails.SendWithOptions(ctx, wanted, options)
	check(t, "send once more", err, first.Id == second.Id)

	r.do(http.MethodPost, "/templates", `{"name":"Hello","alias":"hello","subject":"Hi {{name}}","html":"<p>{{name}} {{n}}</p>"}`).want(201)
	r.do(http.MethodPost, "/templates/hello/publish", "").want(200)
	later, err := c.Emails.Send(&resend.SendEmailRequest{To: []string{"bob@example.com"}, ScheduledAt: "in 1 day", Template: &resend.EmailTemplate{Id: "hello", Variables: map[string]any{"name": "Bob", "n": 3}}})
	check(t, "send a template later", err)
	_, err = c.Emails.Update(&resend.UpdateEmailRequest{Id: later.Id, ScheduledAt: time.Now().Add(time.Hour).Format(time.RFC3339)})
	check(t, "reschedule", err)
	cancelled, err := c.Emails.Cancel(later.Id)
	check(t, "cancel", err, cancelled.Id == later.Id, cancelled.Object == "email")
	got, err = c.Emails.Get(later.Id)
	check(t, "get the cancelled mail", err, got.LastEvent == "canceled", got.Subject == "Hi Bob", got.Html == "<p>Bob 3</p>")

	batch, err := c.Batch.Send([]*resend.SendEmailRequest{wanted, wanted})
	check(t, "send batch", err, len(batch.Data) == 2, batch.Data[1].Id != "")
	bad := &resend.SendEmailRequest{From: "ada@example.com", To: []string{"x"}, Subject: "x", Text: "x"}
	batch, err = c.Batch.SendWithOptions(ctx, []*resend.SendEmailRequest{bad, wanted}, &resend.BatchSendEmailOptions{BatchValidation: resend.BatchValidationPermissive})
	check(t, "send batch in part", err, len(batch.Data) == 1, len(batch.Errors) == 1, batch.Errors[0].Index == 0, batch.Errors[0].Message != "")
	if _, err = c.Batch.Send([]*resend.SendEmailRequest{bad, wanted}); err == nil {
		t.Error("a batch with a bad mail was taken")
	}
}

func TestResendClientTopics(t *testing.T) {
	r := newRig(t)
	c := resendClient(t, r)
	news, err := c.Topics.Create(&resend.CreateTopicRequest{Name: "News", DefaultSubscription: "opt_in", Description: "Once a month"})
	check(t, "create topic", err, news.Id != "")
	offers, err := c.Topics.Create(&resend.CreateTopicRequest{Name: "Offers", DefaultSubscription: "opt_out"})
	check(t, "create topic", err, offers.Id != "")
	got, err := c.Topics.Get(news.Id)
	check(t, "get topic", err, got.Name == "News", got.Description == "Once a month", got.DefaultSubscription == "opt_in")
	_, err = c.Topics.Update(news.Id, &resend.UpdateTopicRequest{Name: "Newsletter"})
	check(t, "update topic", err)
	r.do(http.MethodPatch, "/topics/"+offers.Id, `{"name":null,"description":"Now and then"}`).want(200).has("name", "Offers")
	r.do(http.MethodPatch, "/topics/"+offers.Id, `{"name":null,"id":"`+offers.Id+`"}`).want(422)
	contact, err := c.Contacts.Create(&resend.CreateContactRequest{Email: "ada@example.com", Topics: []resend.TopicSubscriptionUpdate{{Id: offers.Id, Subscription: "opt_in"}}})
	check(t, "create contact with topics", err)
	list, err := c.Contacts.Topics.List(contact.Id)
	check(t, "topics of a contact", err, len(list.Data) == 2, list.Data[0].Subscription == "opt_in", list.Data[1].Name == "Newsletter", list.Data[1].Subscription == "opt_in")
	_, err = c.Contacts.Topics.Update(&resend.UpdateContactTopicsRequest{Email: "ada@example.com", Topics: []resend.TopicSubscriptionUpdate{{Id: news.Id, Subscription: "opt_out"}}})
	check(t, "choose", err)
	r.do(http.MethodPatch, "/contacts/ada@example.com/topics", `[{"id":"`+offers.Id+`","subscription":"opt_out"}]`).want(200)
	r.do(http.MethodGet, "/contacts/ada@example.com/topics", "").has("data.0.subscription", "opt_out").has("data.1.subscription", "opt_out")
	for _, bad := range []string{`[]`, `{}`, `[{"id":"x","subscription":"opt_in"}]`, `[{"id":"` + news.Id + `"}]`, `[{"id":"` + news.Id + `","subscription":"maybe"}]`, `{"topic":[]}`} {
		r.do(http.MethodPatch, "/contacts/ada@example.com/topics", bad).want(422)
	}
	r.do(http.MethodPatch, "/contacts/ada@example.com/topics", `[{"id":"2d66f2de-0d0e-4a2d-8e66-831e3522d124","subscription":"opt_in"}]`).want(404)
	r.do(http.MethodPost, "/topics", `{"name":"x"}`).want(422).has("name", "missing_required_field")
	r.do(http.MethodPatch, "/topics/"+news.Id, `{"default_subscription":"opt_out"}`).want(422)
	gone, err := c.Topics.Remove(news.Id)
	check(t, "remove topic", err, gone.Deleted)
	r.do(http.MethodGet, "/contacts/ada@example.com/topics", "").has("data.1", nil)
}

func TestResendClientContactProperties(t *testing.T) {
	r := newRig(t)
	c := resendClient(t, r)
	plan, err := c.Contacts.Properties.Create(&resend.CreateContactPropertyRequest{Key: "plan", Type: "string", FallbackValue: "free"})
	check(t, "declare", err, plan.Id != "", plan.Object == "contact_property")
	seats, err := c.Contacts.Properties.Create(&resend.CreateContactPropertyRequest{Key: "seats", Type: "number"})
	check(t, "declare", err, seats.Id != "")
	got, err := c.Contacts.Properties.Get(plan.Id)
	check(t, "get declaration", err, got.Key == "plan", got.Type == "string", got.FallbackValue == "free")
	_, err = c.Contacts.Properties.Update(&resend.UpdateContactPropertyRequest{Id: seats.Id, FallbackValue: 1})
	check(t, "change fallback", err)
	list, err := c.Contacts.Properties.List()
	check(t, "list declarations", err, len(list.Data) == 2, list.Data[0].FallbackValue == 1.0)
	r.do(http.MethodPost, "/contacts", `{"email":"a@example.com","properties":{"plan":7,"seats":"x","other":[]}}`).want(422).
		has("code", "contact_property_type_mismatch").has("details.0.path", "properties.plan").has("details.1.path", "properties.seats")
	r.do(http.MethodPost, "/contacts", `{"email":"a@example.com","properties":{"plan":"pro","seats":2}}`).want(201)
	r.do(http.MethodPatch, "/contacts/a@example.com", `{"properties":{"seats":"x"}}`).want(422)
	for _, bad := range []string{`{"key":"plan","type":"number"}`, `{"key":"a b","type":"string"}`, `{"key":"x"}`, `{"key":"x","type":"date"}`, `{"key":"x","type":"number","fallback_value":"1"}`} {
		if a := r.do(http.MethodPost, "/contact-properties", bad); a.status != 422 && a.status != 409 {
			t.Errorf("%s: %d %s", bad, a.status, a.raw)
		}
	}
	r.do(http.MethodPatch, "/contact-properties/plan", `{"type":"number"}`).want(422)
	gone, err := c.Contacts.Properties.Remove(plan.Id)
	check(t, "remove declaration", err, gone.Deleted)
	r.do(http.MethodGet, "/contacts/a@example.com", "").has("properties.plan", "pro")
}

func TestResendClientSuppressions(t *testing.T) {
	r := newRig(t)
	c := resendClient(t, r)
	one, err := c.Suppressions.Add(&resend.AddSuppressionRequest{Email: "Ada+x@Example.com"})
	check(t, "suppress", err, one.Id != "", one.Object == "suppression")
	again, err := c.Suppressions.Add(&resend.AddSuppressionRequest{Email: "ada+x@example.com"})
	check(t, "suppress again", err, again.Id == one.Id)
	got, err := c.Suppressions.Get("ADA+x@example.com")
	check(t, "get suppression", err, got.Id == one.Id, got.Origin == "manual", got.SourceId == nil, got.Email == "ada+x@example.com")
	batch, err := c.Suppressions.Batch.Add(&resend.BatchAddSuppressionsRequest{Emails: []string{"b@example.com", "c@example.com", "ada+x@example.com"}})
	check(t, "suppress many", err, len(batch.Data) == 3, batch.Data[2].Id == one.Id)
	list, err := c.Suppressions.List(&resend.ListSuppressionsOptions{Origin: "manual"})
	check(t, "list suppressions", err, len(list.Data) == 3)
	list, err = c.Suppressions.List(&resend.ListSuppressionsOptions{Origin: "bounce"})
	check(t, "list bounces", err, len(list.Data) == 0)
	lifted, err := c.Suppressions.Batch.Remove(&resend.BatchRemoveSuppressionsRequest{Emails: []string{"b@example.com", "nobody@example.com"}})
	check(t, "lift many", err, len(lifted.Data) == 1, lifted.Data[0].Deleted)
	gone, err := c.Suppressions.Remove(one.Id)
	check(t, "lift", err, gone.Deleted)
	r.do(http.MethodPost, "/suppressions/batch/add", `{"emails":["d@example.com","nobody"]}`).want(422).has("details.0.path", "emails[1]")
	r.do(http.MethodGet, "/suppressions/d@example.com", "").want(404)
	r.do(http.MethodPost, "/suppressions/batch/add", `{"emails":[]}`).want(422)
	r.do(http.MethodPost, "/suppressions", `{"email":"x@example.com","origin":"whim"}`).want(422)
}

func TestResendClientTemplatesAndKeys(t *testing.T) {
	r := newRig(t)
	c := resendClient(t, r)
	made, err := c.Templates.Create(&resend.CreateTemplateRequest{
		Name: "Welcome", Alias: "welcome", Subject: "Hi {{{NAME}}}", Html: "<p>{{{NAME}}}</p>", ReplyTo: []string{"r@example.com"},
		Variables: []*resend.TemplateVariable{{Key: "NAME", Type: "string", FallbackValue: "there"}},
	})
	check(t, "create template", err, made.Object == "template")
	_, err = c.Templates.Publish("welcome")
	check(t, "publish template", err)
	got, err := c.Templates.Get("welcome")
	check(t, "get template", err, got.Status == "published", got.Variables[0].FallbackValue == "there", got.Variables[0].Id != "", got.PublishedAt != "")
	_, err = c.Templates.Update("welcome", &resend.UpdateTemplateRequest{Name: "Welcome", Html: "<p>{{{NAME}}}!</p>"})
	check(t, "update template", err)
	_, err = c.Templates.Update("welcome", &resend.UpdateTemplateRequest{Subject: "Hello {{{NAME}}}"}) // with name and html as ""
	check(t, "update a template's subject", err)
	got, err = c.Templates.Get("welcome")
	check(t, "get template", err, got.Name == "Welcome", got.Html == "<p>{{{NAME}}}!</p>", got.Subject == "Hello {{{NAME}}}")
	twin, err := c.Templates.Duplicate("welcome")
	check(t, "duplicate template", err, twin.Id != made.Id)
	list, err := c.Templates.List(nil)
	check(t, "list templates", err, len(list.Data) == 2, list.Data[1].Alias == "welcome")
	gone, err := c.Templates.Remove(twin.Id)
	check(t, "remove template", err, gone.Deleted)

	key, err := c.ApiKeys.Create(&resend.CreateApiKeyRequest{Name: "second", Permission: "sending_access"})
	check(t, "create key", err, key.Token != "", key.Id != "")
	keys, err := c.ApiKeys.List()
	check(t, "list keys", err, len(keys.Data) == 2)
	_, err = c.ApiKeys.Remove(key.Id)
	check(t, "remove key", err)
	bad := resend.NewCustomClient(http.DefaultClient, key.Token)
	bad.BaseURL = c.BaseURL
	if _, err := bad.Segments.List(); err == nil || !strings.Contains(err.Error(), "unknown, revoked or expired") {
		t.Errorf("a revoked key: %v", err)
	}
}
