package server

import (
	"bytes"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"fmt"
	"html/template"
	"maps"
	"slices"
	"strings"
)

//go:embed docs.html
var docsHTML string

//go:embed docs.css
var docsCSS string

// docSchema is a JSON Schema, as far as the description of the API uses it.
type docSchema struct {
	Ref         string `yaml:"$ref"`
	Type        any
	Format      string
	Description string
	Enum        []string
	Const       any
	Items       *docSchema
	AnyOf       []*docSchema `yaml:"anyOf"`
	Properties  orderedSchemas
	Required    []string
	Minimum     *int
	Maximum     *int
	MaxLength   *int `yaml:"maxLength"`
	MaxItems    *int `yaml:"maxItems"`
	Default     any
}

// docField is one line of a table of fields.
type docField struct {
	Name        string
	Type        template.HTML
	Required    bool
	Description string
}

// docGroup is the operations of one tag.
type docGroup struct {
	docTag
	ID         string
	Operations []docEntry
}

// docEntry is one operation on the page.
type docEntry struct {
	*docOperation
	Method, Path string
	Open         bool // no key is needed
	Parameters   []docField
	Body         *docBody
	Answers      []docAnswer
}

type docBody struct {
	Type   template.HTML
	Fields []docField // of a body described in place
}

type docAnswer struct {
	Status      string
	Description string
	Type        template.HTML
}

type docNamed struct {
	Name        string
	Description string
	Type        template.HTML // of one that is not an object
	Fields      []docField
}

// renderDocs makes the page that shows the description of the API to people,
// and the policy that lets a browser show it with its own style and nothing
// else.
func renderDocs(doc *openAPI) (page []byte, policy string, err error) {
	t, err := template.New("docs").Parse(docsHTML)
	if err != nil {
		return nil, "", err
	}
	var b bytes.Buffer
	err = t.Execute(&b, struct {
		Info    docInfo
		Style   template.CSS
		Groups  []docGroup
		Schemas []docNamed
	}{doc.Info, template.CSS(docsCSS), doc.groups(), doc.schemas()})
	hash := sha256.Sum256([]byte(docsCSS))
	return b.Bytes(), "default-src 'none'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(hash[:]) + "'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'", err
}

// groups puts the operations under their tags, in the order of the routes.
func (doc *openAPI) groups() (groups []docGroup) {
	for _, tag := range doc.Tags {
		group := docGroup{docTag: tag, ID: "about-" + strings.ReplaceAll(strings.ToLower(tag.Name), " ", "-")}
		for _, rt := range routes() {
			if op := doc.Paths[rt.path].operation(rt.method); op != nil && slices.Contains(op.Tags, tag.Name) {
				group.Operations = append(group.Operations, doc.entry(rt, op))
			}
		}
		groups = append(groups, group)
	}
	return groups
}

func (doc *openAPI) entry(rt route, op *docOperation) docEntry {
	e := docEntry{docOperation: op, Method: rt.method, Path: rt.path, Open: op.Security != nil && len(*op.Security) == 0}
	for _, p := range op.Parameters {
		if name, ok := strings.CutPrefix(p.Ref, "#/components/parameters/"); ok {
			p = doc.Components.Parameters[name]
		}
		e.Parameters = append(e.Parameters, docField{p.Name, typeText(p.Schema), p.Required, p.Description})
	}
	if op.RequestBody != nil {
		for media, content := range op.RequestBody.Content {
			e.Body = &docBody{Type: typeText(content.Schema), Fields: fieldsOf(content.Schema)}
			if media != "application/json" {
				e.Body.Type = template.HTML(template.HTMLEscapeString(media))
			}
		}
	}
	for _, status := range slices.Sorted(maps.Keys(op.Responses)) {
		if status == "default" {
			continue // an error, the same everywhere
		}
		a := docAnswer{Status: status, Description: op.Responses[status].Description}
		for _, content := range op.Responses[status].Content {
			a.Type = typeText(content.Schema)
		}
		e.Answers = append(e.Answers, a)
	}
	return e
}

func (doc *openAPI) schemas() (named []docNamed) {
	for _, name := range slices.Sorted(maps.Keys(doc.Components.Schemas)) {
		s := doc.Components.Schemas[name]
		n := docNamed{Name: name, Description: s.Description, Fields: fieldsOf(s)}
		if n.Fields == nil {
			n.Type = typeText(s)
		}
		named = append(named, n)
	}
	return named
}

func fieldsOf(s *docSchema) (fields []docField) {
	for _, p := range s.Properties {
		fields = append(fields, docField{p.name, typeText(p.schema), slices.Contains(s.Required, p.name), p.schema.Description})
	}
	return fields
}

// typeText puts a schema into a few words, with links to the named ones.
func typeText(s *docSchema) template.HTML {
	if s == nil {
		return ""
	}
	if name, ok := strings.CutPrefix(s.Ref, "#/components/schemas/"); ok {
		return template.HTML(fmt.Sprintf(`<a href="#%[1]s">%[1]s</a>`, template.HTMLEscapeString(name)))
	}
	var words []string
	switch {
	case s.AnyOf != nil:
		for _, option := range s.AnyOf {
			words = append(words, string(typeText(option)))
		}
	case s.Enum != nil:
		for _, word := range s.Enum {
			words = append(words, "<code>"+template.HTMLEscapeString(word)+"</code>")
		}
	case s.Const != nil:
		words = []string{"<code>" + template.HTMLEscapeString(fmt.Sprint(s.Const)) + "</code>"}
	case s.Type == nil:
		words = []string{"any value"}
	}
	types, ok := s.Type.([]any)
	if !ok && s.Type != nil {
		types = []any{s.Type}
	}
	for _, kind := range types {
		word := template.HTMLEscapeString(fmt.Sprint(kind))
		if word == "array" && s.Items != nil {
			word = "list of " + string(typeText(s.Items))
		}
		words = append(words, word)
	}
	text := strings.Join(words, " or ")
	switch {
	case s.Format != "":
		text += ", " + template.HTMLEscapeString(s.Format)
	case s.MaxLength != nil:
		text += fmt.Sprintf(", at most %d characters", *s.MaxLength)
	case s.MaxItems != nil:
		text += fmt.Sprintf(", at most %d", *s.MaxItems)
	case s.Minimum != nil && s.Maximum != nil:
		text += fmt.Sprintf(", %d to %d", *s.Minimum, *s.Maximum)
	}
	if s.Default != nil {
		text += ", default " + template.HTMLEscapeString(fmt.Sprint(s.Default))
	}
	return template.HTML(text)
}
