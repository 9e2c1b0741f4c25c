package web

import (
	"cmp"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/opensend/opensend/automations"
	"github.com/opensend/opensend/storage"
)

// templatesPage is a page of the list of templates.
type templatesPage struct {
	listPage[*automations.Template]
	Older string
	Name  string // of a new one, as it was typed
}

func (v *visit) templates() (any, error) { return v.templatesPage("") }

func (v *visit) templatesPage(name string) (page templatesPage, err error) {
	page.Name = name
	err = v.read(func(tx *storage.Tx) (err error) {
		page.listPage, err = readList(v, tx.Templates, func(t *automations.Template) automations.ID { return t.ID })
		return err
	})
	page.Older = v.olderThan("/templates", page.listPage.Older)
	return page, err
}

// firstDraft is what a new template says until somebody writes something else.
const firstDraft = `<p>Hello {{FIRST_NAME|there}},</p>

<p>write something.</p>

<p><a href="{{OPENSEND_UNSUBSCRIBE_URL}}">Unsubscribe</a></p>
`

func (v *visit) createTemplate() (any, error) {
	name := v.PostForm.Get("name")
	var made struct {
		ID automations.ID `json:"id"`
	}
	err := v.call(http.MethodPost, "/templates", map[string]any{"name": name, "subject": name, "html": firstDraft}, &made)
	if problemOf(err) == nil {
		return redirect{home + "/templates/" + made.ID.String(), "A draft to begin with. Nothing can send it before it is published."}, err
	}
	page, readErr := v.templatesPage(name)
	if readErr != nil {
		return nil, readErr
	}
	return refused{page, err}, nil
}

// templatePage is the editor of a template.
type templatePage struct {
	*automations.Template
	Form    templateForm
	Preview preview
	UsedBy  []*automations.Workflow
	Types   []automations.VariableType
}

// templateForm is a template as it is typed, with what it is shown with.
type templateForm struct {
	Name, Alias, From, Subject, ReplyTo, HTML, Text string
	Variables                                       []variableRow
	Contact, Event, Values                          string
	To                                              string // of a test
	Seen                                            string // when the template that the form shows was saved
}

func seen(t *automations.Template) string { return t.UpdatedAt.Format(time.RFC3339Nano) }

// variableRow is the declaration of a variable as it is typed.
type variableRow struct {
	Key, Type, Fallback string
}

// blankRows are for variables that are to be declared.
const blankRows = 2

func formOf(t *automations.Template) templateForm {
	c := t.Draft
	return templateForm{
		Name: t.Name, Alias: t.Alias, From: c.From, Subject: c.Subject, ReplyTo: strings.Join(c.ReplyTo, ", "), HTML: c.HTML, Text: c.Text,
		Variables: rowsOf(c.Variables), Event: "{}", Values: "{}", Seen: seen(t),
	}
}

func rowsOf(variables []automations.TemplateVariable) []variableRow {
	rows := make([]variableRow, len(variables))
	for i, variable := range variables {
		rows[i] = variableRow{Key: variable.Key, Type: string(variable.Type), Fallback: string(variable.Fallback)}
		json.Unmarshal(variable.Fallback, &rows[i].Fallback) // a text without its quotes; a number stays
	}
	return rows
}

// typedTemplate reads the form.
func (v *visit) typedTemplate() templateForm {
	f := v.PostForm
	form := templateForm{
		Name: f.Get("name"), Alias: f.Get("alias"), From: f.Get("from"), Subject: f.Get("subject"), ReplyTo: f.Get("reply_to"),
		HTML: lines(f.Get("html")), Text: lines(f.Get("text")), Contact: strings.TrimSpace(f.Get("contact")), Event: f.Get("event"), Values: f.Get("values"), To: strings.TrimSpace(f.Get("to")), Seen: f.Get("seen"),
	}
	types, fallbacks := f["type"], f["fallback"]
	for i, key := range f["key"] {
		if key = strings.TrimSpace(key); key != "" && i < len(types) && i < len(fallbacks) {
			form.Variables = append(form.Variables, variableRow{key, types[i], fallbacks[i]})
		}
	}
	return form
}

// lines undoes what browsers make of line ends.
func lines(text string) string { return strings.ReplaceAll(text, "\r\n", "\n") }

// content is the form in the fields of the API. Variables are left out while
// they are what they were: then those that the text names count.
func (f *templateForm) content(t *automations.Template) map[string]any {
	content := map[string]any{"from": f.From, "subject": f.Subject, "reply_to": addresses(f.ReplyTo), "html": f.HTML, "text": f.Text}
	if slices.Equal(f.Variables, rowsOf(t.Draft.Variables)) {
		return content
	}
	variables := []map[string]any{}
	for _, row := range f.Variables {
		variable := map[string]any{"key": row.Key, "type": row.Type}
		var fallback any = row.Fallback
		if number := json.Number(strings.TrimSpace(row.Fallback)); row.Type == string(automations.VariableNumber) && json.Valid([]byte(number)) {
			fallback = number
		}
		if row.Fallback != "" {
			variable["fallback_value"] = fallback
		}
		variables = append(variables, variable)
	}
	content["variables"] = variables
	return content
}

func addresses(text string) []string {
	list := []string{}
	for part := range strings.SplitSeq(text, ",") {
		if part = strings.TrimSpace(part); part != "" {
			list = append(list, part)
		}
	}
	return list
}

func (v *visit) template() (any, error) { return v.templatePage(nil) }

// templatePage shows the template as it is stored, or as it is typed.
func (v *visit) templatePage(typed *templateForm) (page *templatePage, err error) {
	page = &templatePage{Types: automations.VariableTypes()}
	err = v.read(func(tx *storage.Tx) (err error) {
		if page.Template, err = tx.Template(v.pathID("id")); err != nil {
			return err
		}
		page.UsedBy, err = sendersOf(tx, page.Template)
		return err
	})
	if err != nil {
		return nil, err
	}
	if page.Form = formOf(page.Template); typed != nil {
		page.Form = *typed
	}
	page.Preview, err = v.preview(page.Template, &page.Form)
	for range blankRows {
		page.Form.Variables = append(page.Form.Variables, variableRow{})
	}
	return page, err
}

// sendersOf are the automations whose revision in force sends a template.
func sendersOf(tx *storage.Tx, t *automations.Template) (senders []*automations.Workflow, err error) {
	all, err := tx.AllWorkflows()
	if err != nil {
		return nil, err
	}
	for _, w := range all {
		r, err := tx.Revision(w.ID, w.Revision)
		if errors.Is(err, storage.ErrNotFound) {
			continue
		}
		if err != nil {
			return nil, err
		}
		flow, err := automations.Compile(r.Definition)
		if err != nil { // of an older program: it sends nothing
			continue
		}
		if slices.ContainsFunc(flow.Steps, func(s *automations.FlowStep) bool { return sends(s, t) }) {
			senders = append(senders, w)
		}
	}
	slices.SortFunc(senders, func(a, b *automations.Workflow) int { return cmp.Compare(a.Name, b.Name) })
	return senders, nil
}

func sends(s *automations.FlowStep, t *automations.Template) bool {
	action, ok := s.Action.(*automations.SendEmailAction)
	return ok && action.Template != "" && (action.Template == t.Alias || strings.EqualFold(action.Template, t.ID.String()))
}

// saveTemplate stores what is typed as the draft.
func (v *visit) saveTemplate() (any, error) {
	return v.changeTemplate("Saved. What is sent stays as it was published.", nil)
}

func (v *visit) publishTemplate() (any, error) {
	return v.changeTemplate("Published: from now on this is what is sent.", func(path string) error {
		return v.call(http.MethodPost, path+"/publish", nil, nil)
	})
}

// savedElsewhere refuses to replace what somebody else has saved; what says what
// was. Who does it again means it.
func savedElsewhere(what string) error {
	return automations.Errorf(automations.KindConflict, "", "%s saved elsewhere after you opened the page, so nothing is saved yet: press the button again to save what is here in its place, or open the page anew to see what was saved", what)
}

// changeTemplate saves what is typed, does something more, and comes back.
func (v *visit) changeTemplate(done string, then func(path string) error) (any, error) {
	form := v.typedTemplate()
	page, err := v.templatePage(&form)
	if err != nil {
		return nil, err
	}
	if form.Seen != "" && form.Seen != seen(page.Template) {
		page.Form.Seen = seen(page.Template)
		return refused{page, savedElsewhere("the template was")}, nil
	}
	changes := form.content(page.Template)
	changes["name"], changes["alias"] = form.Name, form.Alias
	path := "/templates/" + page.ID.String()
	if err = v.call(http.MethodPatch, path, changes, nil); err == nil && then != nil {
		err = then(path)
	}
	if problemOf(err) != nil {
		return refused{page, err}, nil
	}
	return redirect{home + path, done}, err
}

// previewTemplate shows what is typed, and stores nothing.
func (v *visit) previewTemplate() (any, error) {
	form := v.typedTemplate()
	return v.templatePage(&form)
}

func (v *visit) duplicateTemplate() (any, error) {
	var twin struct {
		ID automations.ID `json:"id"`
	}
	err := v.call(http.MethodPost, "/templates/"+v.pathID("id").String()+"/duplicate", nil, &twin)
	return redirect{home + "/templates/" + twin.ID.String(), "This is the copy, as a draft without an alias."}, err
}

func (v *visit) deleteTemplate() (any, error) {
	err := v.call(http.MethodDelete, "/templates/"+v.pathID("id").String(), nil, nil)
	return redirect{home + "/templates", "The template is deleted."}, err
}

// testTemplate sends what is typed, as the preview shows it, to one address.
func (v *visit) testTemplate() (any, error) {
	form := v.typedTemplate()
	page, err := v.templatePage(&form)
	if err != nil {
		return nil, err
	}
	if page.Preview.Problem != nil {
		return refused{page, automations.Errorf(automations.KindInvalid, "", "nothing was sent: %s", page.Preview.Problem.Message)}, nil
	}
	shown := page.Preview
	mail := map[string]any{
		"to": []string{form.To}, "from": form.From, "reply_to": addresses(form.ReplyTo), "subject": cmp.Or(shown.Subject, page.Name), "html": shown.HTML, "text": shown.Text,
		"tags": []map[string]string{{"name": "template_test", "value": page.ID.String()}},
	}
	var sent struct {
		ID automations.ID `json:"id"`
	}
	if err = v.call(http.MethodPost, "/emails", mail, &sent); problemOf(err) != nil {
		return refused{page, err}, nil
	}
	return redirect{home + "/mail/" + sent.ID.String(), "This is the mail that you sent for a test. The template is as it was stored."}, err
}
