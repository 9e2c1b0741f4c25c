// Package schema validates the payloads of events against the schema of their
// event type: JSON Schema 2020-12, or draft 7 where $schema says so, or a flat
// map such as {"plan": "string"}.
//
// A schema comes from outside and is not trusted. It is limited in size, depth
// and in how much work it can cause; it refers to nothing but itself; and no
// schema or payload makes the process panic or stall. Schemas are compiled
// once; a *Schema is safe for concurrent use.
package schema

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/opensend/opensend/automations"
)

// Limits of schemas.
const (
	maxBytes   = 64 << 10
	maxDepth   = 32
	maxObjects = 1000   // subschemas, counted as JSON objects
	maxCost    = 20_000 // subschemas applied when every branch is taken once
	maxWork    = 4 << 20
)

const (
	draft7    = "http://json-schema.org/draft-07/schema"
	draft2020 = "https://json-schema.org/draft/2020-12/schema"
	// location names the document within the compiler; nothing is loaded from
	// there.
	location = "urn:schema"
)

// Schema is a compiled schema.
type Schema struct {
	compiled *jsonschema.Schema
	flat     map[string]string // the other form; nil when compiled is set
	cost     int
}

// Compile reads a schema. The error is an *automations.Error with the code
// event_schema_invalid and the paths of the problems.
func Compile(raw json.RawMessage) (*Schema, error) {
	if len(raw) > maxBytes {
		return nil, invalid("schema", "the schema is larger than %d bytes", maxBytes)
	}
	if err := automations.CheckJSON(raw); err != nil {
		return nil, invalid("schema", "%s", err)
	}
	if flat := flatMap(raw); flat != nil {
		return &Schema{flat: flat}, nil
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(raw))
	if err != nil {
		return nil, invalid("schema", "the schema is not valid JSON")
	}
	if _, ok := doc.(map[string]any); !ok {
		return nil, invalid("schema", `the schema must be an object: a JSON Schema, or a flat map such as {"plan": "string"}`)
	}
	if err := (&guard{}).check(doc, "schema", 1); err != nil {
		return nil, err
	}
	return compile(doc.(map[string]any))
}

func compile(doc map[string]any) (s *Schema, err error) {
	defer func() {
		if recover() != nil {
			s, err = nil, invalid("schema", "the schema cannot be understood")
		}
	}()
	c := jsonschema.NewCompiler()
	c.DefaultDraft(jsonschema.Draft2020)
	c.AssertFormat()
	c.UseLoader(nothing{})
	c.UseRegexpEngine(boundedRegexp)
	if err := c.AddResource(location, doc); err != nil {
		return nil, compileError(err)
	}
	compiled, err := c.Compile(location)
	if err != nil {
		return nil, compileError(err)
	}
	cost, err := weigh(compiled)
	if err != nil {
		return nil, err
	}
	return &Schema{compiled: compiled, cost: cost}, nil
}

// nothing is a loader that loads nothing: no file and no network.
type nothing struct{}

func (nothing) Load(string) (any, error) {
	return nil, errors.New("only references within the schema are followed")
}

// Validate checks the payload of an event. The error is an *automations.Error
// with the code event_payload_invalid and a detail for each problem.
func (s *Schema) Validate(event string, payload json.RawMessage) (err error) {
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(payload))
	if err != nil {
		return mismatch(event, []automations.Detail{{Path: "payload", Message: "the payload is not valid JSON"}})
	}
	nodes := &guard{}
	if path := nodes.hugeNumber(doc, "payload"); path != "" {
		return mismatch(event, []automations.Detail{{Path: path, Message: "the number has too many digits"}})
	}
	if s.flat != nil {
		return mismatch(event, s.checkFlat(doc))
	}
	if nodes.seen*s.cost > maxWork {
		return mismatch(event, []automations.Detail{{Path: "payload", Message: "the payload is too large to be checked against this schema"}})
	}
	defer func() {
		if recover() != nil {
			err = mismatch(event, []automations.Detail{{Path: "payload", Message: "the payload cannot be checked against the schema"}})
		}
	}()
	if failure, ok := errors.AsType[*jsonschema.ValidationError](s.compiled.Validate(doc)); ok {
		return mismatch(event, problems(failure))
	}
	return nil
}

func invalid(path, format string, args ...any) error {
	msg := fmt.Sprintf(format, args...)
	return &automations.Error{
		Kind: automations.KindInvalid, Code: "event_schema_invalid", Field: path, Msg: path + ": " + msg,
		Details: []automations.Detail{{Path: path, Message: msg}},
	}
}

// mismatch is nil when there is no problem.
func mismatch(event string, details []automations.Detail) error {
	if len(details) == 0 {
		return nil
	}
	return &automations.Error{
		Kind: automations.KindInvalid, Code: "event_payload_invalid", Field: details[0].Path,
		Msg:     fmt.Sprintf("the payload does not match the schema of %s: %s %s", clip(event), details[0].Path, details[0].Message),
		Details: details,
	}
}

// maxShown bounds what a message shows of foreign text.
const maxShown = 80

func clip(s string) string {
	if len(s) <= maxShown {
		return s
	}
	return strings.ToValidUTF8(s[:maxShown], "") + "…"
}
