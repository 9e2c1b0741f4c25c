package web

import (
	"encoding/json"
	"net/http"

	"github.com/opensend/opensend/automations"
)

// preview is what a template looks like, in the words of the API.
type preview struct {
	Subject   string            `json:"subject"`
	HTML      string            `json:"html"`
	Text      string            `json:"text"`
	Variables []previewVariable `json:"variables"`

	Frame   string   `json:"-"` // asks for the HTML
	Problem *problem `json:"-"` // why there is none
	Unset   int      `json:"-"` // variables that keep the mail from being sent
}

type previewVariable struct {
	Name    string          `json:"name"`
	Type    string          `json:"type"`
	Status  string          `json:"status"`
	Value   json.RawMessage `json:"value"`
	Message string          `json:"message"`
}

// Shown is the value as text.
func (p previewVariable) Shown() string {
	var text string
	if json.Unmarshal(p.Value, &text) == nil {
		return text
	}
	return string(p.Value)
}

// preview renders what is typed. What is wrong with it is part of the answer.
func (v *visit) preview(t *automations.Template, form *templateForm) (p preview, err error) {
	in, err := form.sample()
	if err == nil {
		in["content"] = form.content(t)
		err = v.call(http.MethodPost, "/templates/"+t.ID.String()+"/preview", in, &p)
	}
	if p.Problem = problemOf(err); p.Problem != nil {
		return p, nil
	}
	p.finish(v)
	return p, err
}

// finish counts what is wrong, and keeps the HTML for the frame.
func (p *preview) finish(v *visit) {
	for _, variable := range p.Variables {
		if variable.Status == "missing" || variable.Status == "invalid" {
			p.Unset++
		}
	}
	if p.HTML != "" {
		p.Frame = v.d.frames.keep(p.HTML)
	}
}

// sample is what the template is shown with: a contact of the file, or one that
// is made up.
func (f *templateForm) sample() (map[string]any, error) {
	in := map[string]any{"contact": map[string]any{"email": "ada@example.com", "first_name": "Ada", "last_name": "Lovelace"}}
	if f.Contact != "" {
		in["contact"] = f.Contact
	}
	for _, part := range []struct{ name, label, text string }{{"event", "the payload of the event", f.Event}, {"variables", "the values", f.Values}} {
		if part.text == "" {
			continue
		}
		if err := automations.CheckJSON([]byte(part.text)); err != nil {
			return nil, automations.Errorf(automations.KindInvalid, "", "%s must be a JSON object, such as {\"plan\": \"pro\"}", part.label)
		}
		in[part.name] = json.RawMessage(part.text)
	}
	return in, nil
}
