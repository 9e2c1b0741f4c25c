package cmd

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"reflect"
	"slices"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/opensend/opensend/automations"
)

// checkYAML looks at the file before viper does, which would take unknown keys,
// read 30 as 30 ns and cut 25.9 to 25. Errors give the line.
func checkYAML(text []byte) error {
	dec := yaml.NewDecoder(bytes.NewReader(text))
	var doc yaml.Node
	switch err := dec.Decode(&doc); {
	case errors.Is(err, io.EOF):
		return nil
	case err != nil:
		return fmt.Errorf("this is not valid YAML: %w", err)
	}
	if dec.Decode(new(yaml.Node)) != io.EOF {
		return errors.New("there is more than one YAML document; keep one")
	}
	if len(doc.Content) == 0 || doc.Content[0].Tag == "!!null" {
		return nil
	}
	return checkMapping(doc.Content[0], reflect.TypeFor[Config](), "")
}

func checkMapping(node *yaml.Node, section reflect.Type, prefix string) error {
	if node.Kind != yaml.MappingNode {
		return fmt.Errorf("line %d: %s must have keys below it", node.Line, orFile(prefix))
	}
	known := map[string]reflect.Type{}
	var names []string
	for field := range section.Fields() {
		name := field.Tag.Get("mapstructure")
		known[name] = field.Type
		names = append(names, name)
	}
	var seen []string
	for i := 0; i < len(node.Content); i += 2 {
		key, value := node.Content[i], node.Content[i+1]
		kind, ok := known[key.Value]
		switch {
		case !ok:
			return unknownKey(key, prefix, names)
		case slices.Contains(seen, key.Value):
			return fmt.Errorf("line %d: %s stands twice; keep one", key.Line, prefix+key.Value)
		}
		seen = append(seen, key.Value)
		if err := checkValue(value, kind, prefix+key.Value); err != nil {
			return err
		}
	}
	return nil
}

func orFile(prefix string) string {
	if prefix == "" {
		return "the file"
	}
	return prefix[:len(prefix)-1]
}

func unknownKey(key *yaml.Node, prefix string, names []string) error {
	hint := ""
	if near := automations.Nearest(key.Value, names); near != "" {
		hint = "; did you mean " + prefix + near + "?"
	}
	return fmt.Errorf("line %d: %s is not a key%s", key.Line, prefix+key.Value, hint)
}

func checkList(node *yaml.Node, item reflect.Type, key string) error {
	if node.Kind != yaml.SequenceNode {
		return fmt.Errorf("line %d: %s must be a list", node.Line, key)
	}
	for i, value := range node.Content {
		if err := checkValue(value, item, fmt.Sprintf("%s[%d]", key, i)); err != nil {
			return err
		}
	}
	return nil
}

func checkValue(node *yaml.Node, kind reflect.Type, key string) error {
	if node.Tag == "!!null" { // such as a section whose keys are all comments
		return nil
	}
	if kind.Kind() == reflect.Struct {
		return checkMapping(node, kind, key+".")
	}
	if kind.Kind() == reflect.Slice {
		return checkList(node, kind.Elem(), key)
	}
	if node.Kind != yaml.ScalarNode {
		return fmt.Errorf("line %d: %s must be a single value", node.Line, key)
	}
	switch u := ofText(kind); {
	case u != nil:
		if err := u.UnmarshalText([]byte(node.Value)); err != nil {
			return fmt.Errorf("line %d: %s %w", node.Line, key, err)
		}
	case kind == reflect.TypeFor[time.Duration]():
		if _, err := automations.ParseDuration(node.Value); err != nil {
			return fmt.Errorf(`line %d: %s must be a duration with its unit, such as 30s, 48h or 7d; it is %q`, node.Line, key, node.Value)
		}
	case kind.Kind() == reflect.Int || kind.Kind() == reflect.Int64:
		if node.Tag != "!!int" {
			return fmt.Errorf("line %d: %s must be a whole number; it is %q", node.Line, key, node.Value)
		}
	case kind.Kind() == reflect.Bool && node.Tag != "!!bool":
		return fmt.Errorf("line %d: %s must be true or false; it is %q", node.Line, key, node.Value)
	case kind.Kind() == reflect.String && node.Tag != "!!str":
		return fmt.Errorf("line %d: %s must be text; put %q into quotes", node.Line, key, node.Value)
	}
	return nil
}
