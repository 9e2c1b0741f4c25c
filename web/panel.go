package web

import (
	"slices"

	"github.com/opensend/opensend/automations"
)

// panel is a step's settings beside the drawing.
type panel struct {
	Key, Kind, Title string
	Fresh            bool // it has just been opened
	Fields           []field
	More             []field // those that come after the look of the mail
	Pairs            []pair
	PairsTitle       string // "" when the type has no named values
	Match            *ruleNode
	MatchTitle       string       // "" when the type has no conditions
	Mail             *mailPreview // of a step that sends one
	Template         string       // address of the template that is sent
	Split, Merge     bool         // a wait whose ways can become two, or one
	Removes          int          // steps that go with it
	Problems         []stepProblem
}

// field is one field of a form.
type field struct {
	Name, Label, Value, Hint string
	Kind                     string // "text", "area" or "select"
	Rows                     int    // of an area
	List                     string // id of a datalist
	Options                  []option
	Again                    bool // what it says changes the form
}

var panelTitles = map[automations.StepType]string{
	automations.StepTrigger: "When it starts", automations.StepDelay: "How long to wait", automations.StepWaitForEvent: "What to wait for",
	automations.StepCondition: "Which way to go", automations.StepSendEmail: "What to send", automations.StepContactUpdate: "What to change",
	automations.StepContactDelete: "Delete the contact", automations.StepAddToSegment: "Add to a segment",
	automations.StepRemoveFromSegment: "Remove from a segment", automations.StepEnd: "End here",
}

var matchTitles = map[automations.StepType]string{
	automations.StepTrigger: "Only if", automations.StepWaitForEvent: "Only an event of which", automations.StepCondition: "Met if",
}

var pairsTitles = map[automations.StepType]string{automations.StepSendEmail: "Variables", automations.StepContactUpdate: "Properties"}

// newPanel makes the panel of a step; nil when there is no such step.
func newPanel(d draft, key string, s suggestions, problems []stepProblem) *panel {
	at := d.Index(key)
	if at < 0 {
		return nil
	}
	step := d.Steps[at]
	set := settingsOf(step, d.Deduplication)
	p := &panel{
		Key: key, Kind: string(step.Type), Title: panelTitles[step.Type], Match: set.Match, MatchTitle: matchTitles[step.Type],
		Pairs: append(set.Pairs, pair{}), PairsTitle: pairsTitles[step.Type],
	}
	p.Fields = panelFields(step.Type, set, s)
	if i := slices.IndexFunc(p.Fields, func(f field) bool { return f.Name == "from" }); i >= 0 {
		p.Fields, p.More = p.Fields[:i], p.Fields[i:]
	}
	if s.Template != (automations.ID{}) {
		p.Template = home + "/templates/" + s.Template.String()
	}
	_, cannotSplit := d.Split(key)
	_, cannotMerge := d.Merge(key)
	p.Split, p.Merge = cannotSplit == nil, cannotMerge == nil
	if without, err := d.Remove(key); err == nil {
		p.Removes = len(d.Steps) - len(without.Steps)
	}
	for _, problem := range problems {
		if problem.Step == key {
			p.Problems = append(p.Problems, problem)
		}
	}
	return p
}

const durationHint = `In words, such as "30 minutes", "1 day 12 hours" or "2 weeks"; 366 days at most.`

func (set stepSettings) text(name, label, hint, list string) field {
	return field{Name: name, Label: label, Value: set.Text[name], Hint: hint, Kind: "text", List: list}
}

func (set stepSettings) choice(name, label, hint string, options []option, again bool) field {
	value := set.Text[name]
	if !slices.ContainsFunc(options, func(o option) bool { return o.Value == value }) {
		options = append([]option{{value, value}}, options...)
	}
	return field{Name: name, Label: label, Value: value, Hint: hint, Kind: "select", Options: options, Again: again}
}

func panelFields(t automations.StepType, set stepSettings, s suggestions) []field {
	text, choice := set.text, set.choice
	switch t {
	case automations.StepTrigger:
		return append([]field{text("event_name", "Event", "The name that your application sends.", "event-names")}, set.dedupFields(set.Text["dedup"] == "on")...)
	case automations.StepDelay:
		return []field{text("duration", "Duration", durationHint, "durations")}
	case automations.StepWaitForEvent:
		return []field{
			text("event_name", "Event", "Of the same contact. One that came while the run was on its way here counts too.", "event-names"),
			text("timeout", "Give up after", durationHint+" Empty waits for as long as it takes.", "durations"),
		}
	case automations.StepSendEmail:
		for i, o := range s.Templates { // one that is named by its alias is the same
			if o.Value == s.Template.String() {
				s.Templates[i].Value = set.Text["template"]
			}
		}
		fields := []field{choice("template", "Template", "", append([]option{{"", "None: written here"}}, s.Templates...), true)}
		fields = append(fields, text("subject", "Subject", "", ""))
		if set.Text["template"] == "" {
			fields = append(fields,
				field{Name: "html", Label: "HTML", Value: set.Text["html"], Kind: "area", Rows: 9, Hint: "Values are written {{event.plan}} or {{{FIRST_NAME|there}}}; what follows the bar is said when there is none."},
				field{Name: "text", Label: "Text", Value: set.Text["text"], Kind: "area", Rows: 3, Hint: "Made from the HTML when empty."})
		} else {
			fields[len(fields)-1].Hint = "Empty takes the template's."
		}
		return append(fields, text("from", "From", `Such as "Team <hello@example.com>". Empty takes the template's, or mail.from of the configuration.`, ""),
			text("reply_to", "Reply to", "", ""),
			choice("topic_id", "Topic", "Contacts that do not want it get nothing.", append([]option{{"", "None"}}, s.Topics...), false))
	case automations.StepContactUpdate:
		const hint = `Empty leaves it; null clears it; {"var": "event.name"} takes it from there.`
		return []field{text("email", "Address", hint, ""), text("first_name", "First name", "", ""), text("last_name", "Last name", "", ""),
			text("unsubscribed", "Unsubscribed", "true or false", "")}
	case automations.StepAddToSegment, automations.StepRemoveFromSegment:
		return []field{choice("segment_id", "Segment", "", append([]option{{"", "Choose one"}}, s.Segments...), false)}
	}
	return nil
}

// dedupFields are the fields of a deduplication: all, or those that say
// something as it is.
func (set stepSettings) dedupFields(all bool) []field {
	fields := []field{set.choice("dedup", "Repeats", "What happens to an event that repeats another of the same contact. Nothing said: POST /v1/events drops repeats for 5 minutes, POST /events/send does not.", []option{
		{"", "Nothing said"}, {"on", "Dropped for a while"}, {"off", "Never dropped"},
	}, true)}
	if all {
		fields = append(fields, set.text("dedup_window", "For how long", "While repeats are dropped: 1 second to 30 days; 5 minutes when empty.", "durations"),
			set.text("dedup_key", "Different when these differ", `Fields with commas between, such as "event.order_id". When empty, events of the same name repeat each other.`, "field-paths"))
	}
	return fields
}
