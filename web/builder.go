package web

import (
	"net/url"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/opensend/opensend/automations"
	"github.com/opensend/opensend/storage"
)

// builderPage is an automation while it is changed. What is not published is in
// the page alone: each press of a button sends the draft along and gets it back
// changed.
type builderPage struct {
	*automations.Workflow
	Base       int      // the revision that the draft was made of
	Text       string   // the draft
	Was        string   // the draft as the page had it, to see whether the text was changed by hand
	Past       []string // earlier drafts, the last one at the end
	Flow       *flowView
	Panel      *panel
	Open       string // the step whose panel is shown, or will be again
	Adding     *adding
	Review     *review
	Problems   []stepProblem // without which it cannot be published
	Warnings   []stepProblem // what runs would fail for
	Refusal    string        // why the last press did nothing
	Suggest    suggestions
	Standing   standingRuns
	Elsewhere  int
	Unsaved    bool
	Operators  []option
	Insertable []insertable
}

// adding is a place in the flow at which something is to be added.
type adding struct {
	From, Way string
	After     string
	Targets   []string // steps that a way that ends can lead on to
	CanEnd    bool     // the way can end here instead
}

// review is what publishing would do.
type review struct {
	Changes []change
	Next    int // the revision that it makes; the present one when steps stay as they are
}

// insertable is a type of step that can be added.
type insertable struct {
	Type, Name, Hint string
}

var insertables = []insertable{
	{"send_email", "Send a mail", "from a template, or written here"},
	{"delay", "Wait for a time", "minutes, hours, days or weeks"},
	{"wait_for_event", "Wait for an event", "and go one way if it comes, another if not"},
	{"condition", "Ask a question", "and go one way or the other"},
	{"contact_update", "Change the contact", "names, address, properties, unsubscribed"},
	{"add_to_segment", "Add to a segment", ""},
	{"remove_from_segment", "Remove from a segment", ""},
	{"contact_delete", "Delete the contact", "with all that is stored of it, and end"},
	{"end", "End", "nothing more happens on this way"},
}

// newConfigs is what new steps begin with.
var newConfigs = map[automations.StepType]string{
	automations.StepDelay:     `{"duration":"1 day"}`,
	automations.StepCondition: `{"type":"and","rules":[{"type":"rule","field":"","operator":"equals","value":""}]}`,
	automations.StepSendEmail: `{"subject":"","html":""}`, automations.StepWaitForEvent: `{"event_name":"","timeout":"3 days"}`,
}

// The past of a draft that a page carries.
const (
	maxPast      = 20
	maxPastBytes = 300 << 10
)

// edit shows an automation, or an earlier revision of it, to be changed.
func (v *visit) editAutomation() (any, error) {
	b := &builder{visit: v}
	if err := b.load(); err != nil {
		return nil, err
	}
	b.draft = b.now
	if n, err := strconv.Atoi(v.FormValue("revision")); err == nil {
		if b.draft, err = b.revision(n); err != nil {
			return nil, err
		}
	}
	b.Was = b.draft.text()
	b.open = v.FormValue("step")
	return b.page()
}

// changeDraft does one thing to the draft that the page sent.
func (v *visit) changeDraft() (any, error) {
	b := &builder{visit: v}
	if err := b.load(); err != nil {
		return nil, err
	}
	form := v.PostForm
	if v.MultipartForm != nil {
		form = v.MultipartForm.Value
	}
	b.Base, _ = strconv.Atoi(form.Get("base"))
	b.Was, b.open = plainLines(form.Get("was")), form.Get("open")
	for _, past := range form["past"] {
		b.Past = append(b.Past, plainLines(past))
	}
	b.typed = form
	verb, rest, _ := strings.Cut(form.Get("do"), " ")
	text := plainLines(form.Get("draft"))
	var err error
	if b.draft, err = readDraft(text); err != nil && verb != "undo" {
		return b.unreadable(text, err)
	}
	if err == nil && b.panelCounts(text) {
		b.takePanel(form)
	}
	if verb == "undo" {
		if text, err = b.before(text, err); err != nil {
			return b.unreadable(text, err)
		}
		b.Was = b.draft.text()
		return b.page()
	}
	if done, err := b.do(verb, rest, form); done != nil || err != nil {
		return done, err
	}
	if text := b.draft.text(); text != b.Was {
		b.remember(b.Was)
	}
	b.Was = b.draft.text()
	return b.page()
}

// panelCounts reports whether the fields of the open step are newer than its
// place in the text: they are unless the text was changed by hand, there.
func (b *builder) panelCounts(text string) bool {
	if text == b.Was {
		return true
	}
	was, err := readDraft(b.Was)
	then, now := was.Index(b.open), b.draft.Index(b.open)
	if err != nil || then < 0 || now < 0 || stepText(was.Steps[then]) != stepText(b.draft.Steps[now]) {
		return false
	}
	return was.Steps[then].Type != automations.StepTrigger || reflect.DeepEqual(was.Deduplication, b.draft.Deduplication)
}

// before takes back what was typed since the last press or, when that is
// nothing, the last press.
func (b *builder) before(typed string, unreadable error) (text string, err error) {
	if text = b.Was; unreadable == nil && b.draft.text() == b.Was && len(b.Past) > 0 {
		text = b.Past[len(b.Past)-1]
		b.Past = b.Past[:len(b.Past)-1]
	}
	b.Refusal = ""
	b.draft, err = readDraft(text)
	return text, err
}

func plainLines(text string) string { return strings.ReplaceAll(text, "\r\n", "\n") }

// builder is one request that shows or changes a draft.
type builder struct {
	*visit
	builderPage
	now   draft // what is published
	draft draft
	open  string     // the step whose panel is shown
	fresh bool       // it has just been opened
	left  string     // the step whose panel has just been closed
	typed url.Values // what the page sent; nil when it is only shown
}

func (b *builder) load() error {
	return b.read(func(tx *storage.Tx) (err error) {
		if b.Workflow, err = tx.Workflow(b.pathID("id")); err != nil {
			return err
		}
		b.Base = b.Revision
		revision, err := tx.Revision(b.ID, b.Revision)
		if err != nil {
			return err
		}
		b.now = draft{revision.Definition.Connected(), b.Deduplication}
		return nil
	})
}

// revision is a draft of an earlier revision's steps.
func (b *builder) revision(n int) (d draft, err error) {
	err = b.read(func(tx *storage.Tx) error {
		revision, err := tx.Revision(b.ID, n)
		if err == nil {
			d = draft{revision.Definition.Connected(), b.Deduplication}
		}
		return err
	})
	return d, err
}

func (b *builder) remember(text string) {
	b.Past = append(b.Past, text)
	total := 0
	for i, past := range slices.Backward(b.Past) {
		if total += len(past); total > maxPastBytes || len(b.Past)-i > maxPast {
			b.Past = b.Past[i+1:]
			return
		}
	}
}

// takePanel changes the open step as its panel says.
func (b *builder) takePanel(form url.Values) {
	at := b.draft.Index(b.open)
	if at < 0 || form.Get("panel") != b.open {
		return
	}
	step := b.draft.Steps[at]
	set := formSettings(step.Type, form)
	if !set.equal(settingsOf(step, b.draft.Deduplication)) {
		d, err := b.draft.Configure(b.open, configOf(step, set))
		b.took(d, err)
		if step.Type == automations.StepTrigger {
			if dedup, err := set.dedup(); err != nil {
				b.took(d, err)
			} else {
				b.draft.Deduplication = dedup
			}
		}
	}
	if key := strings.TrimSpace(form.Get("key")); key != "" && key != b.open {
		if d, err := b.draft.Rename(b.open, key); b.took(d, err) {
			b.open = key
		}
	}
}

// took takes an edit of the draft, unless it was refused.
func (b *builder) took(d automations.Definition, err error) bool {
	if err != nil {
		b.Refusal = problemOf(err).Message // edits fail for no other reason
		return false
	}
	b.draft.Definition = d
	return true
}

// do is the one thing that was asked for. It returns what leads away from the
// page, if something does.
func (b *builder) do(verb, rest string, form url.Values) (any, error) {
	what := append(strings.Fields(rest), "", "", "")
	if what[0] == form.Get("open") { // its panel may just have given it another key
		what[0] = b.open
	}
	way := automations.EdgeType(what[1])
	switch verb {
	case "open":
		b.open, b.fresh = what[0], true
	case "close":
		b.left, b.open = b.open, ""
	case "at":
		b.open, b.Adding = "", b.newAdding(what[0], way)
	case "insert":
		b.insert(what[0], way, automations.StepType(what[2]))
	case "connect":
		b.took(b.draft.Connect(what[0], way, form.Get("to")))
	case "cut":
		b.took(b.draft.Disconnect(what[0], way))
	case "remove":
		if b.took(b.draft.Remove(what[0])) {
			b.open = ""
		}
	case "split":
		b.took(b.draft.Split(what[0]))
	case "merge":
		b.took(b.draft.Merge(what[0]))
	case "rule", "group", "drop":
		b.changeRules(verb, rest)
	case "review":
		b.open, b.Review = "", b.newReview()
	case "publish":
		return b.publish(form.Get("enable") != "")
	}
	return nil, nil
}

func (b *builder) insert(from string, way automations.EdgeType, t automations.StepType) {
	config := newConfigs[t]
	if config == "" {
		config = "{}"
	}
	step := automations.Step{ID: newID(), Key: b.draft.NewKey(t), Type: t, Config: []byte(config)}
	if b.took(b.draft.Insert(from, way, step)) {
		b.open, b.fresh = step.Key, true
	}
}

func (b *builder) changeRules(verb, path string) {
	at := b.draft.Index(b.open)
	if at < 0 {
		return
	}
	step := b.draft.Steps[at]
	set := settingsOf(step, b.draft.Deduplication)
	if set.Match == nil {
		set.Match = newRule()
	} else {
		set.Match = set.Match.edit(verb, path)
	}
	b.took(b.draft.Configure(b.open, configOf(step, set)))
}

func (b *builder) newAdding(from string, way automations.EdgeType) *adding {
	at := b.draft.Index(from)
	if at < 0 {
		return nil
	}
	a := &adding{From: from, Way: string(way), After: from}
	if words := wayWords[way]; words != "" {
		a.After += ", " + words
	}
	for _, w := range b.draft.Ways(b.draft.Steps[at]) {
		if w.Type != way {
			continue
		}
		_, err := b.draft.Disconnect(from, way)
		a.CanEnd = w.To != "" && err == nil
		for _, s := range b.draft.Steps {
			if _, err := b.draft.Connect(from, way, s.Key); w.To == "" && err == nil {
				a.Targets = append(a.Targets, s.Key)
			}
		}
	}
	return a
}

// unreadable shows a text that is no draft, as it was typed.
func (b *builder) unreadable(text string, err error) (any, error) {
	p := problemOf(err)
	if p == nil {
		return nil, err
	}
	b.Open = b.open
	b.Text, b.Unsaved, b.Refusal = text, true, "The text is not a draft yet: "+p.Message
	if len(p.Details) > 0 {
		b.Refusal, b.Problems = "The text is not a draft yet.", b.draft.problemsOf(err)
	}
	return &b.builderPage, nil
}

// page makes the page of the draft as it is now.
func (b *builder) page() (any, error) {
	b.Text, b.Unsaved = b.draft.text(), b.draft.text() != b.now.text()
	b.Operators, b.Insertable = operatorWords, insertables
	_, err := automations.Compile(b.draft.Definition)
	for _, problem := range b.draft.problemsOf(err) {
		if !slices.Contains(b.Problems, problem) {
			b.Problems = append(b.Problems, problem)
		}
	}
	var mail *mailPreview
	err = b.read(func(tx *storage.Tx) error {
		names, err := readNames(tx, b.draft.Definition)
		if err != nil {
			return err
		}
		b.Flow = viewFlow(b.draft.Definition, names)
		b.Flow.Editing = true
		if b.Standing, err = readStanding(tx, b.ID); err != nil {
			return err
		}
		missing, err := b.missing(tx)
		if err != nil {
			return err
		}
		b.Warnings = missing
		at := b.draft.Index(b.open)
		if at < 0 {
			return nil
		}
		step := b.draft.Steps[at]
		if b.Suggest, err = suggest(tx, b.draft.Definition, step); err == nil && step.Type == automations.StepSendEmail {
			mail, err = b.previewMail(tx, step)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	b.Elsewhere = b.Standing.mark(b.Flow)
	for i, card := range b.Flow.Cards {
		b.Flow.Cards[i].Open, b.Flow.Cards[i].Left = card.Key == b.open, card.Key == b.left
		b.Flow.Cards[i].Wrong = slices.ContainsFunc(slices.Concat(b.Problems, b.Warnings), func(p stepProblem) bool { return p.Step == card.Key })
		for j, way := range card.Ways {
			b.Flow.Cards[i].Ways[j].Open = b.Adding != nil && way.Place == b.Adding.From+" "+b.Adding.Way
		}
	}
	if b.Panel = newPanel(b.draft, b.open, b.Suggest, slices.Concat(b.Problems, b.Warnings)); b.Panel != nil {
		b.Panel.Fresh, b.Panel.Mail, b.Open = b.fresh, mail, b.open
	}
	return &b.builderPage, nil
}
