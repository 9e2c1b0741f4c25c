package automations

import (
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/opensend/opensend/automations/mail"
)

// parseAction decodes the config of a step into its typed action. The error
// has paths within the config.
func parseAction(s Step) (any, error) {
	f, err := ObjectFields(s.Config)
	if err != nil {
		return nil, err
	}
	var p Problems
	var action any
	switch s.Type {
	case StepTrigger:
		action = parseTrigger(&p, f)
	case StepDelay:
		action = parseDelay(&p, f)
	case StepWaitForEvent:
		action = parseWait(&p, f)
	case StepCondition:
		match, err := ParseMatch(s.Config)
		p.Include("", err)
		action = &ConditionAction{Match: match}
	case StepSendEmail:
		action = parseSendEmail(&p, f)
	case StepContactUpdate:
		action = parseContactUpdate(&p, f)
	case StepAddToSegment, StepRemoveFromSegment:
		action = parseSegment(&p, f, s.Type)
	case StepContactDelete:
		f.Unknown(&p)
		action = ContactDeleteAction{}
	case StepEnd:
		f.Unknown(&p)
		action = EndAction{}
	}
	return action, p.Err()
}

// maxTriggerName is the longest event name; see OpenSend's Send Custom Event.
const maxTriggerName = 255

func parseEventName(p *Problems, f Fields) string {
	name := f.String(p, "event_name", "eventName")
	p.Include("event_name", CheckEventName(name, maxTriggerName))
	return name
}

func parseTrigger(p *Problems, f Fields) *TriggerAction {
	f.Unknown(p, "event_name", "eventName", "conditions")
	return &TriggerAction{EventName: parseEventName(p, f), Conditions: parseFilter(p, f, "conditions")}
}

func parseFilter(p *Problems, f Fields, names ...string) *Match {
	raw := f.Raw(names...)
	if raw == nil {
		return nil
	}
	match, err := ParseMatch(raw)
	p.Include(names[0], err)
	return match
}

func parseDelay(p *Problems, f Fields) *DelayAction {
	f.Unknown(p, "duration")
	d, err := ParseDuration(f.String(p, "duration"))
	p.Include("duration", err)
	return &DelayAction{Duration: d}
}

func parseWait(p *Problems, f Fields) *WaitAction {
	const code = "wait_for_event_timeout_invalid"
	f.Unknown(p, "event_name", "eventName", "timeout", "timeout_seconds", "timeoutSeconds", "filter_rule", "filterRule")
	w := &WaitAction{EventName: parseEventName(p, f), Filter: parseFilter(p, f, "filter_rule", "filterRule")}
	if words := f.String(p, "timeout"); words != "" {
		var err error
		if w.Timeout, err = ParseDuration(words); err != nil {
			p.Add(code, "timeout", "%s", err)
		}
	}
	if n := f.Int(p, "timeout_seconds", "timeoutSeconds"); n != nil {
		seconds := time.Duration(*n) * time.Second
		switch {
		case *n < 1 || *n > int64(MaxDelay/time.Second):
			p.Add(code, "timeout_seconds", "timeout_seconds must be 1 second to 366 days")
		case w.Timeout != 0 && w.Timeout != seconds:
			p.Add(code, "timeout_seconds", "timeout and timeout_seconds differ; send one of them")
		}
		w.Timeout = seconds
	}
	return w
}

func parseSendEmail(p *Problems, f Fields) *SendEmailAction {
	f.Unknown(p, "template", "template_id", "templateId", "variables", "from", "subject", "reply_to", "replyTo", "html", "text", "topic_id", "topicId")
	s := &SendEmailAction{
		Template: f.String(p, "template_id", "templateId"), From: f.String(p, "from"), Subject: f.String(p, "subject"),
		ReplyTo: f.Strings(p, "reply_to", "replyTo"), HTML: f.String(p, "html"), Text: f.String(p, "text"),
	}
	variables := f.Raw("variables")
	if raw := f.Raw("template"); isKind(raw, '"') {
		s.Template = f.String(p, "template")
	} else if raw != nil {
		var own Problems
		t, err := ObjectFields(raw)
		own.Include("", err)
		t.Unknown(&own, "id", "variables")
		s.Template = t.String(&own, "id")
		p.Include("template", own.Err())
		if own := t.Raw("variables"); own != nil {
			variables = own
		}
	}
	s.Variables = parseValues(p, variables, "template.variables")
	s.ReplyTo = slices.DeleteFunc(s.ReplyTo, func(a string) bool { return a == "" })
	if text := f.String(p, "topic_id", "topicId"); text != "" {
		var ok bool
		if s.TopicID, ok = ParseID(text); !ok {
			p.Add("send_email_topic_invalid", "topic_id", "topic_id must be the id of a topic")
		}
	}
	checkEmailAction(p, s)
	return s
}

func checkEmailAction(p *Problems, s *SendEmailAction) {
	inline := s.HTML != "" || s.Text != ""
	switch {
	case s.Template == "" && !inline:
		p.Add("send_email_template_id_required", "template", "name the template to send, as {\"id\": …}, or give subject and html or text")
	case s.Template != "" && inline:
		p.Add("send_email_content_invalid", "template", "give either a template or html and text, not both")
	case inline && s.Subject == "":
		p.Add("send_email_content_invalid", "subject", "a mail without a template needs a subject")
	}
	CheckText(p, "subject", s.Subject, MaxSubject)
	checkParts(p, "send_email_content_invalid", s.Subject, s.HTML, s.Text, func(string, mail.Placeholder) {})
	if s.From != "" {
		CheckMailbox(p, "from", s.From)
	}
	for i, address := range s.ReplyTo {
		CheckMailbox(p, fmt.Sprintf("reply_to[%d]", i), address)
	}
}

// CheckMailbox notes when the text is not an address with or without a display
// name, such as "Ada <ada@example.com>".
func CheckMailbox(p *Problems, path, text string) {
	a, err := mail.ParseAddress(text)
	if err == nil {
		_, err = NormalizeMailbox(a.Addr)
	}
	if err != nil {
		p.Add("", path, `%s must be an address such as "Ada <ada@example.com>"`, path)
	}
}

// parseValues reads an object of literals and references.
func parseValues(p *Problems, raw json.RawMessage, path string) map[string]Value {
	if raw == nil {
		return nil
	}
	f, err := ObjectFields(raw)
	if err != nil {
		p.Add("", path, "%s must be an object", path)
		return nil
	}
	values := make(map[string]Value, len(f))
	for name, v := range f {
		values[name] = ParseValue(CompactJSON(v))
	}
	return values
}

func parseContactUpdate(p *Problems, f Fields) *ContactUpdateAction {
	const code = "contact_update_invalid"
	fields, at, known := f, "", []string{"email", "first_name", "firstName", "last_name", "lastName", "unsubscribed"}
	if f.Has("fields") {
		at = "fields"
		f.Unknown(p, "fields", "properties")
		var err error
		if fields, err = ObjectFields(f.Raw("fields")); err != nil {
			p.Add(code, "fields", "fields must be an object")
		}
	} else {
		known = append(known, "properties")
	}
	var own Problems
	fields.Unknown(&own, known...)
	u := &ContactUpdateAction{Properties: parseValues(p, f.Raw("properties"), "properties")}
	for _, field := range []struct {
		into  **Value
		names []string
	}{
		{&u.Email, []string{"email"}},
		{&u.FirstName, []string{"first_name", "firstName"}},
		{&u.LastName, []string{"last_name", "lastName"}},
		{&u.Unsubscribed, []string{"unsubscribed"}},
	} {
		for _, name := range field.names {
			if fields.Sent(name) && (fields.Has(name) || name != "email" && name != "unsubscribed") {
				v := ParseValue(CompactJSON(fields[name]))
				*field.into = &v
			}
		}
	}
	checkContactUpdate(&own, u)
	p.Include(at, own.Err())
	if u.Email == nil && u.FirstName == nil && u.LastName == nil && u.Unsubscribed == nil && len(u.Properties) == 0 {
		p.Add("contact_update_empty", "fields", "name at least one field or property to change")
	}
	return u
}

func checkContactUpdate(p *Problems, u *ContactUpdateAction) {
	const code = "contact_update_invalid"
	if v := u.Email; v != nil && v.Var == "" {
		if _, err := NormalizeEmail(asText(v.Literal)); err != nil {
			p.Add(code, "email", "%s", err)
		}
	}
	if v := u.Unsubscribed; v != nil && v.Var == "" && string(v.Literal) != "true" && string(v.Literal) != "false" {
		p.Add(code, "unsubscribed", "unsubscribed must be true or false")
	}
	for _, name := range []struct {
		path string
		v    *Value
	}{{"first_name", u.FirstName}, {"last_name", u.LastName}} {
		if name.v != nil && name.v.Var == "" && !isKind(name.v.Literal, '"') && string(name.v.Literal) != "null" {
			p.Add(code, name.path, "%s must be a string", name.path)
		}
	}
}

func parseSegment(p *Problems, f Fields, kind StepType) *SegmentAction {
	f.Unknown(p, "segment_id", "segmentId")
	id, ok := ParseID(f.String(p, "segment_id", "segmentId"))
	if !ok {
		p.Add(string(kind)+"_segment_id_invalid", "segment_id", "segment_id must be the id of a segment")
	}
	return &SegmentAction{SegmentID: id, Remove: kind == StepRemoveFromSegment}
}
