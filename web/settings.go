package web

import (
	"encoding/json"
	"net/url"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/opensend/opensend/automations"
)

// option is a choice in a form.
type option struct{ Value, Name string }

// pair is a named value in a form.
type pair struct{ Name, Value string }

// stepSettings is a step's config as a form shows it.
type stepSettings struct {
	Text  map[string]string // by the name of the field; absent is ""
	Pairs []pair            // variables of a mail, properties of a contact
	Match *ruleNode         // the conditions; nil when there are none
}

// contactFields are the fields of a contact that a step can change.
var contactFields = []string{"email", "first_name", "last_name", "unsubscribed"}

// stepFields are the fields of each type's config that a form shows as text.
var stepFields = map[automations.StepType][]string{
	automations.StepTrigger: {"event_name"}, automations.StepDelay: {"duration"}, automations.StepWaitForEvent: {"event_name", "timeout"},
	automations.StepSendEmail:     {"template", "subject", "from", "reply_to", "topic_id", "html", "text"},
	automations.StepContactUpdate: contactFields, automations.StepAddToSegment: {"segment_id"}, automations.StepRemoveFromSegment: {"segment_id"},
}

// matchField is where a type's config has its conditions: "." is the whole.
var matchField = map[automations.StepType]string{
	automations.StepTrigger: "conditions", automations.StepWaitForEvent: "filter_rule", automations.StepCondition: ".",
}

// pairsField is where a type's config has its named values.
var pairsField = map[automations.StepType]string{automations.StepSendEmail: "variables", automations.StepContactUpdate: "properties"}

// otherSpellings are the names under which the API takes the same fields.
var otherSpellings = map[string][]string{
	"event_name": {"eventName"}, "filter_rule": {"filterRule"}, "timeout": {"timeout_seconds", "timeoutSeconds"},
	"template": {"template_id", "templateId"}, "reply_to": {"replyTo"}, "topic_id": {"topicId"}, "segment_id": {"segmentId"},
	"first_name": {"firstName"}, "last_name": {"lastName"},
}

// settingsOf reads a step's config, and the deduplication with the trigger's.
func settingsOf(s automations.Step, dedup *automations.Deduplication) stepSettings {
	set := stepSettings{Text: map[string]string{}}
	f, err := automations.ObjectFields(s.Config)
	if err != nil {
		return set
	}
	fields, pairs := f, f.Raw(pairsField[s.Type])
	switch {
	case s.Type == automations.StepContactUpdate && f.Has("fields"):
		fields, _ = automations.ObjectFields(f.Raw("fields"))
	case s.Type == automations.StepSendEmail:
		if t, err := automations.ObjectFields(f.Raw("template")); err == nil {
			fields = automations.Fields{"template": t["id"]}
			for name, raw := range f {
				if name != "template" {
					fields[name] = raw
				}
			}
			if own := t.Raw("variables"); own != nil {
				pairs = own
			}
		}
	}
	for _, name := range stepFields[s.Type] {
		for _, spelling := range append([]string{name}, otherSpellings[name]...) {
			raw, sent := fields[spelling]
			if text := formText(name, fieldText(s.Type, spelling, raw)); sent && text != "" {
				set.Text[name] = text
			}
		}
	}
	values, _ := automations.ObjectFields(pairs)
	for name, raw := range values {
		set.Pairs = append(set.Pairs, pair{name, valueText(raw)})
	}
	slices.SortFunc(set.Pairs, func(a, b pair) int { return strings.Compare(a.Name, b.Name) })
	switch in := matchField[s.Type]; in {
	case "":
	case ".":
		set.Match = readRules(s.Config, "rules")
	default:
		set.Match = readRules(f.Raw(append([]string{in}, otherSpellings[in]...)...), "rules")
	}
	if s.Type == automations.StepTrigger {
		set.setDedup(dedup)
	}
	return set
}

// fieldText shows a field: values of contact fields as values, lists with
// commas.
func fieldText(t automations.StepType, name string, raw json.RawMessage) string {
	if t == automations.StepContactUpdate {
		if string(raw) == `""` {
			return `""` // nothing at all leaves the field
		}
		return valueText(raw)
	}
	var text string
	var list []string
	switch {
	case json.Unmarshal(raw, &text) == nil:
		return text
	case strings.HasPrefix(name, "timeout"):
		return string(raw) + " seconds"
	case json.Unmarshal(raw, &list) == nil:
		return strings.Join(list, ", ")
	}
	return string(raw)
}

func (set *stepSettings) setDedup(d *automations.Deduplication) {
	switch {
	case d == nil:
		return
	case !d.Enabled:
		set.Text["dedup"] = "off"
		return
	}
	set.Text["dedup"] = "on"
	set.Text["dedup_window"] = secondsWords(d.WindowSeconds)
	if len(d.Key) > 0 {
		set.Text["dedup_key"] = strings.Join(d.Key, ", ")
	}
}

// secondsWords is a span in the largest unit that it is a whole number of.
func secondsWords(n int64) string {
	for _, unit := range []struct {
		seconds int64
		name    string
	}{{86400, "day"}, {3600, "hour"}, {60, "minute"}, {1, "second"}} {
		if n%unit.seconds == 0 {
			text := strconv.FormatInt(n/unit.seconds, 10) + " " + unit.name
			if n != unit.seconds {
				text += "s"
			}
			return text
		}
	}
	return ""
}

// formSettings reads the settings of a step of the type from a form.
func formSettings(t automations.StepType, form url.Values) stepSettings {
	set := stepSettings{Text: map[string]string{}}
	names := stepFields[t]
	if t == automations.StepTrigger {
		names = append(slices.Clone(names), "dedup", "dedup_window", "dedup_key")
	}
	for _, name := range names {
		if text := formText(name, form.Get("set."+name)); text != "" {
			set.Text[name] = text
		}
	}
	if set.Text["dedup"] != "on" {
		delete(set.Text, "dedup_window")
		delete(set.Text, "dedup_key")
	}
	values := form["pair.value"]
	for i, name := range form["pair.name"] {
		if name = strings.TrimSpace(name); name != "" && i < len(values) {
			set.Pairs = append(set.Pairs, pair{name, strings.TrimSpace(values[i])})
		}
	}
	slices.SortFunc(set.Pairs, func(a, b pair) int { return strings.Compare(a.Name, b.Name) })
	set.Match = formRules(form, "rules")
	return set
}

// formText is a field as a form sends it.
func formText(name, text string) string {
	if name == "html" || name == "text" {
		return strings.ReplaceAll(text, "\r\n", "\n")
	}
	return strings.TrimSpace(text)
}

func (set stepSettings) equal(other stepSettings) bool { return reflect.DeepEqual(set, other) }

// dedup is the deduplication that the trigger's settings ask for.
func (set stepSettings) dedup() (*automations.Deduplication, error) {
	switch set.Text["dedup"] {
	case "":
		return nil, nil
	case "off":
		return automations.ParseDeduplication(json.RawMessage(`{"enabled":false}`))
	}
	fields := map[string]any{}
	if window := set.Text["dedup_window"]; window != "" {
		fields["window"] = window
	}
	if key := set.Text["dedup_key"]; key != "" {
		fields["key"] = commaList(key)
	}
	return automations.ParseDeduplication(encodeJSON(fields))
}

func commaList(text string) (list []string) {
	for part := range strings.SplitSeq(text, ",") {
		if part = strings.TrimSpace(part); part != "" {
			list = append(list, part)
		}
	}
	return list
}

// configOf is a step's config with other settings. Fields that the form does
// not know stay.
func configOf(s automations.Step, set stepSettings) json.RawMessage {
	if matchField[s.Type] == "." {
		if set.Match == nil {
			return json.RawMessage("{}")
		}
		return encodeJSON(set.Match.wire())
	}
	f, err := automations.ObjectFields(s.Config)
	if err != nil {
		f = automations.Fields{}
	}
	put := func(name string, value any) {
		for _, spelling := range otherSpellings[name] {
			delete(f, spelling)
		}
		if delete(f, name); value != nil {
			f[name] = encodeJSON(value)
		}
	}
	delete(f, "fields") // its fields stand beside each other from now on
	for _, name := range stepFields[s.Type] {
		switch text := set.Text[name]; {
		case text == "":
			put(name, nil)
		case s.Type == automations.StepContactUpdate:
			put(name, readValue(text))
		case name == "reply_to":
			put(name, commaList(text))
		default:
			put(name, text)
		}
	}
	if in := matchField[s.Type]; in != "" {
		if put(in, nil); set.Match != nil {
			put(in, set.Match.wire())
		}
	}
	values := map[string]json.RawMessage{}
	for _, p := range set.Pairs {
		values[p.Name] = readValue(p.Value)
	}
	switch in := pairsField[s.Type]; {
	case in == "":
	case s.Type == automations.StepSendEmail && set.Text["template"] != "":
		delete(f, in)
		template := map[string]any{"id": set.Text["template"]}
		if len(values) > 0 {
			template["variables"] = values
		}
		put("template", template)
	default:
		if put(in, nil); len(values) > 0 {
			put(in, values)
		}
	}
	return encodeJSON(f)
}
