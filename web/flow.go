package web

import (
	"cmp"
	"errors"
	"fmt"
	"strings"

	"github.com/opensend/opensend/automations"
	"github.com/opensend/opensend/storage"
)

// flowView is the drawing of a flow, with words.
type flowView struct {
	*flowDrawing
	Cards   []flowCard
	Editing bool   // steps and places are buttons of a form
	Link    string // of a step, its key follows; "" for none
}

// flowCard is a step as it is drawn.
type flowCard struct {
	Key, Kind     string
	X, Y          int
	Title, Detail string
	Standing      int // runs that stand at it
	Wrong, Open   bool
	Left          bool // its panel has just been closed
	Ways          []flowLine
}

// flowLine is a way out of a step as it is drawn.
type flowLine struct {
	Path         string // of the SVG
	Label        string
	X, LabelY    int
	PlusX, PlusY int
	Place        string // the step and the way, for the form; "" when nothing can be put here
	After        string // the same for people
	Ends         bool
	EndX, EndY   int
	Open         bool
}

// stepTypeWords names the step types.
var stepTypeWords = map[automations.StepType]string{
	automations.StepTrigger: "trigger", automations.StepDelay: "delay", automations.StepWaitForEvent: "wait for an event", automations.StepCondition: "condition",
	automations.StepSendEmail: "send a mail", automations.StepContactUpdate: "change the contact", automations.StepContactDelete: "delete the contact",
	automations.StepAddToSegment: "add to a segment", automations.StepRemoveFromSegment: "remove from a segment", automations.StepEnd: "end",
}

// wayWords labels the ways out of a step.
var wayWords = map[automations.EdgeType]string{
	automations.EdgeMet: "met", automations.EdgeNotMet: "not met", automations.EdgeEventCame: "event", automations.EdgeTimeout: "timeout",
}

// flowNames are the names of what steps refer to by id.
type flowNames map[string]string

// readNames reads the names of the templates and segments of a definition.
func readNames(tx *storage.Tx, d automations.Definition) (flowNames, error) {
	names := flowNames{}
	for _, s := range d.Steps {
		text := settingsOf(s, nil).Text
		for _, ref := range []string{text["template"], text["segment_id"]} {
			name, err := nameOf(tx, ref)
			if err != nil {
				return nil, err
			}
			if name != "" {
				names[ref] = name
			}
		}
	}
	return names, nil
}

// nameOf is the name of a template or a segment; empty when there is none.
func nameOf(tx *storage.Tx, ref string) (string, error) {
	id, isID := automations.ParseID(ref)
	if ref == "" {
		return "", nil
	}
	if isID {
		if s, err := tx.Segment(id); err == nil || !errors.Is(err, storage.ErrNotFound) {
			if err != nil {
				return "", err
			}
			return s.Name, nil
		}
	}
	t, err := tx.TemplateByRef(ref)
	if errors.Is(err, storage.ErrNotFound) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	return t.Name, nil
}

// viewFlow draws a definition.
func viewFlow(d automations.Definition, names flowNames) *flowView {
	view := &flowView{flowDrawing: layOut(d)}
	for _, n := range view.Nodes {
		card := flowCard{Key: n.Step.Key, Kind: string(n.Step.Type), X: n.X, Y: n.Y}
		card.Title, card.Detail = stepWords(n.Step, names)
		for _, w := range n.Ways {
			card.Ways = append(card.Ways, newFlowLine(n, w))
		}
		view.Cards = append(view.Cards, card)
	}
	return view
}

func newFlowLine(n *drawnStep, w drawnWay) flowLine {
	const elbow, label, plus = 14, 26, 50 // below the step
	x, y := n.X+nodeWidth/2, n.Y+nodeHeight
	line := flowLine{
		Label: wayWords[w.Type], X: w.Lane, LabelY: y + label, PlusX: w.Lane, PlusY: y + plus,
		Place: n.Step.Key + " " + string(w.Type), After: n.Step.Key, Ends: w.To == "", EndX: w.Lane, EndY: w.ToY,
	}
	if n.Step.Type == automations.StepWaitForEvent && w.Type == automations.EdgeDefault {
		if line.Label = "either way"; len(n.Ways) > 1 {
			line.Label = "otherwise"
		}
	}
	if line.Label != "" {
		line.After += ", " + line.Label
	}
	line.Path = fmt.Sprintf("M%d %d", x, y) + bend(x, w.Lane, y+elbow)
	if w.To != "" && w.ToX != w.Lane {
		line.Path += bend(w.Lane, w.ToX, w.ToY-elbow)
	}
	line.Path += fmt.Sprintf("V%d", w.ToY)
	return line
}

// bend leads a line that comes down at one x over to another, with round
// corners.
func bend(from, to, y int) string {
	if from == to {
		return ""
	}
	r := min(8, max(from-to, to-from)/2)
	side := r
	if to < from {
		side = -r
	}
	return fmt.Sprintf("V%dQ%d %d %d %dH%dQ%d %d %d %d", y-r, from, y, from+side, y, to-side, to, y, to, y+r)
}

// stepWords says what a step does, whatever is missing yet.
func stepWords(s automations.Step, names flowNames) (title, detail string) {
	set := settingsOf(s, nil)
	text := func(name string) string { return cmp.Or(set.Text[name], "…") }
	named := func(ref string) string { return cmp.Or(names[ref], ref, "…") }
	switch s.Type {
	case automations.StepTrigger:
		if detail = "every time it comes"; set.Match != nil {
			detail = "if " + set.Match.Words()
		}
		return "When " + text("event_name"), detail
	case automations.StepDelay:
		return "Wait " + text("duration"), ""
	case automations.StepWaitForEvent:
		detail = "for as long as it takes"
		if timeout := set.Text["timeout"]; timeout != "" {
			detail = "for " + timeout + " at most"
		}
		if set.Match != nil {
			detail += ", if " + set.Match.Words()
		}
		return "Wait for " + text("event_name"), detail
	case automations.StepCondition:
		if set.Match == nil {
			return "If …", ""
		}
		return "If " + set.Match.Words(), ""
	case automations.StepSendEmail:
		if ref := set.Text["template"]; ref != "" {
			return "Send " + named(ref), cmp.Or(set.Text["subject"], "from its template")
		}
		return "Send “" + text("subject") + "”", "written in the step"
	case automations.StepContactUpdate:
		var fields []string
		for _, name := range contactFields {
			if set.Text[name] != "" {
				fields = append(fields, name)
			}
		}
		for _, p := range set.Pairs {
			fields = append(fields, p.Name)
		}
		return "Change the contact", strings.Join(fields, ", ")
	case automations.StepAddToSegment:
		return "Add to " + named(set.Text["segment_id"]), ""
	case automations.StepRemoveFromSegment:
		return "Remove from " + named(set.Text["segment_id"]), ""
	case automations.StepContactDelete:
		return "Delete the contact", "and end"
	}
	return "End", ""
}

// standingRuns is where the runs in flight of an automation stand.
type standingRuns struct {
	At      map[string]int // by step
	Looked  int            // how many runs were looked at
	InAll   int64          // how many are in flight
	Partial bool           // there are runs older than those that were looked at
}

// maxStanding is how many of an automation's newest runs are looked at to tell
// where they stand.
const maxStanding = 2000

func readStanding(tx *storage.Tx, workflow automations.ID) (s standingRuns, err error) {
	s.At = map[string]int{}
	for status, n := range tx.RunCounts(workflow) {
		if !status.Final() {
			s.InAll += n
		}
	}
	if s.InAll == 0 {
		return s, nil
	}
	runs, rest, err := tx.Runs(workflow, storage.Page{Limit: maxStanding}, nil)
	found := int64(0)
	for _, run := range runs {
		if !run.Status.Final() {
			s.At[run.CurrentStep]++
			found++
		}
	}
	s.Looked, s.Partial = len(runs), rest.More && found < s.InAll
	return s, err
}

// mark prints where runs stand onto the drawing, and tells how many stand at
// steps that it does not have.
func (s standingRuns) mark(view *flowView) (elsewhere int) {
	for _, n := range s.At {
		elsewhere += n
	}
	for i, card := range view.Cards {
		view.Cards[i].Standing = s.At[card.Key]
		elsewhere -= s.At[card.Key]
	}
	return elsewhere
}
