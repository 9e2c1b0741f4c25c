package cmd

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/opensend/opensend/automations"
)

// Automations are YAML for people and JSON for the API. What follows turns one
// into the other: keys stay in their order, numbers as they are written.

// maxYAML is how large a value may become as JSON: aliases could make it grow
// without end.
const maxYAML = 1 << 20

// parseYAML reads a file with one YAML document; nil when it is empty.
func parseYAML(text []byte) (*yaml.Node, error) {
	dec := yaml.NewDecoder(bytes.NewReader(text))
	var doc yaml.Node
	switch err := dec.Decode(&doc); {
	case errors.Is(err, io.EOF):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("this is not valid YAML: %w", err)
	}
	if dec.Decode(new(yaml.Node)) != io.EOF {
		return nil, errors.New("there is more than one YAML document; keep one")
	}
	return doc.Content[0], nil
}

// lineError is a problem of a file at a line.
type lineError struct {
	line int
	msg  string
}

func (e *lineError) Error() string { return e.msg }

func badNode(node *yaml.Node, format string, args ...any) error {
	return &lineError{node.Line, fmt.Sprintf(format, args...)}
}

// yamlToJSON appends the node as JSON to out. An error is a *lineError.
func yamlToJSON(out *bytes.Buffer, node *yaml.Node) error {
	if out.Len() > maxYAML {
		return badNode(node, "this is larger than %d bytes", maxYAML)
	}
	switch node.Kind {
	case yaml.AliasNode:
		return yamlToJSON(out, node.Alias)
	case yaml.SequenceNode:
		return between(out, "[]", len(node.Content), func(i int) error { return yamlToJSON(out, node.Content[i]) })
	case yaml.MappingNode:
		seen := map[string]bool{}
		return between(out, "{}", len(node.Content)/2, func(i int) error {
			key := node.Content[2*i]
			switch {
			case key.Tag == "!!merge":
				return badNode(key, "merged keys are not taken; write them out")
			case key.Kind != yaml.ScalarNode:
				return badNode(key, "a key must be a text")
			case seen[key.Value]:
				return badNode(key, "%.60s stands twice; keep one", key.Value)
			}
			seen[key.Value] = true
			out.Write(automations.QuoteText(key.Value))
			out.WriteByte(':')
			return yamlToJSON(out, node.Content[2*i+1])
		})
	}
	return scalarToJSON(out, node)
}

// between writes n parts with commas, in brackets.
func between(out *bytes.Buffer, brackets string, n int, part func(i int) error) error {
	out.WriteByte(brackets[0])
	for i := range n {
		if i > 0 {
			out.WriteByte(',')
		}
		if err := part(i); err != nil {
			return err
		}
	}
	out.WriteByte(brackets[1])
	return nil
}

func scalarToJSON(out *bytes.Buffer, node *yaml.Node) error {
	switch node.ShortTag() {
	case "!!null":
		out.WriteString("null")
	case "!!bool":
		out.WriteString(strings.ToLower(node.Value))
	case "!!int", "!!float":
		if json.Valid([]byte(node.Value)) {
			out.WriteString(node.Value)
			return nil
		}
		var value any
		if err := node.Decode(&value); err != nil {
			return badNode(node, "%.40q is not a number", node.Value)
		}
		raw, err := json.Marshal(value)
		if err != nil {
			return badNode(node, "%.40s is no number that JSON knows", node.Value)
		}
		out.Write(raw)
	case "!!str", "!!timestamp":
		out.Write(automations.QuoteText(node.Value))
	default:
		return badNode(node, "values of the kind %s are not taken", node.Tag)
	}
	return nil
}

// sameJSON reports whether two values differ in nothing but the order of keys.
func sameJSON(a, b []byte) bool {
	read := func(raw []byte) (v any) {
		dec := json.NewDecoder(bytes.NewReader(raw))
		dec.UseNumber()
		if dec.Decode(&v) != nil {
			return nil
		}
		return v
	}
	return reflect.DeepEqual(read(a), read(b))
}

// jsonToYAML is a JSON value as a node.
func jsonToYAML(raw []byte) (*yaml.Node, error) {
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	return nodeOf(dec)
}

func nodeOf(dec *json.Decoder) (*yaml.Node, error) {
	token, err := dec.Token()
	if err != nil {
		return nil, err
	}
	switch t := token.(type) {
	case json.Delim:
		node := &yaml.Node{Kind: yaml.SequenceNode}
		if t == '{' {
			node.Kind = yaml.MappingNode
		}
		for dec.More() { // of an object both its keys and its values
			part, err := nodeOf(dec)
			if err != nil {
				return nil, err
			}
			node.Content = append(node.Content, part)
		}
		_, err := dec.Token()
		return node, err
	case string:
		return textNode(t), nil
	case json.Number:
		node := &yaml.Node{Kind: yaml.ScalarNode, Value: t.String()}
		if node.ShortTag() == "!!str" { // YAML has no number of this size
			node.Tag = "!!float"
		}
		return node, nil
	}
	node := &yaml.Node{}
	return node, node.Encode(token) // true, false or null
}

// textNode is a text of its own kind, quoted where it would be read as another,
// also by readers of YAML 1.1, to whom yes and off are true and false. What a
// block could not carry as it is is quoted too.
func textNode(text string) *yaml.Node {
	node := &yaml.Node{}
	node.SetString(text)
	if slices.Contains([]string{"y", "n", "yes", "no", "on", "off"}, strings.ToLower(text)) || strings.ContainsAny(text, "\r\t") || strings.HasPrefix(text, "\n") || strings.HasPrefix(text, " ") && strings.Contains(text, "\n") {
		node.Style = yaml.DoubleQuotedStyle
	}
	return node
}

// yamlText is a node as a file.
func yamlText(node *yaml.Node) ([]byte, error) {
	var buf bytes.Buffer
	enc := yaml.NewEncoder(&buf)
	enc.SetIndent(2)
	err := errors.Join(enc.Encode(node), enc.Close())
	return buf.Bytes(), err
}
