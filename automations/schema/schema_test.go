package schema

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/opensend/opensend/automations"
)

func compiled(t testing.TB, raw string) *Schema {
	t.Helper()
	s, err := Compile(json.RawMessage(raw))
	if err != nil {
		t.Fatalf("%.200s: %v", raw, err)
	}
	return s
}

// paths are the places of the problems, in their order.
func paths(err error) string {
	e, ok := err.(*automations.Error)
	if !ok {
		return ""
	}
	var all []string
	for _, d := range e.Details {
		all = append(all, d.Path)
	}
	return strings.Join(all, " ")
}

func TestValidate(t *testing.T) {
	for _, c := range []struct{ schema, payload, want string }{
		{`{}`, `{"a":1}`, ""},
		{`{"type":"object","properties":{"plan":{"type":"string","enum":["free","pro"]}},"required":["plan"]}`, `{"plan":"pro","more":1}`, ""},
		{`{"type":"object","properties":{"plan":{"type":"string","enum":["free","pro"]}},"required":["plan"]}`, `{}`, "payload.plan"},
		{`{"properties":{"meta":{"type":"object","properties":{"source":{"type":"string"}},"required":["source","id"]}}}`, `{"meta":{"source":7}}`, "payload.meta.id payload.meta.source"},
		{`{"additionalProperties":false,"properties":{"a":{}}}`, `{"a":1,"c":1,"b":1}`, "payload.b payload.c"},
		{`{"properties":{"l":{"type":"array","items":{"type":"integer"},"minItems":1}}}`, `{"l":[1,2.5,"x"]}`, "payload.l.1 payload.l.2"},
		{`{"properties":{"l":{"prefixItems":[{"type":"string"}]}}}`, `{"l":[1]}`, "payload.l.0"},
		{`{"$schema":"http://json-schema.org/draft-07/schema#","properties":{"l":{"items":[{"type":"string"}]}}}`, `{"l":[1]}`, "payload.l.0"},
		{`{"$schema":"https://json-schema.org/draft/2020-12/schema","properties":{"e":{"format":"email"},"d":{"format":"date-time"},"u":{"format":"uuid"}}}`, `{"e":"no","d":"2026-01-01T00:00:00Z","u":"x"}`, "payload.e payload.u"},
		{`{"properties":{"n":{"type":"number","minimum":0,"multipleOf":0.01}}}`, `{"n":99.99}`, ""},
		{`{"properties":{"n":{"type":"integer","maximum":9007199254740992}}}`, `{"n":9007199254740993}`, "payload.n"},
		{`{"properties":{"s":{"pattern":"^[a-z]+$"}}}`, `{"s":"A"}`, "payload.s"},
		{`{"$defs":{"p":{"type":"string"}},"properties":{"a":{"$ref":"#/$defs/p"},"b":{"$ref":"#/$defs/p"}}}`, `{"a":"x","b":1}`, "payload.b"},
		{`{"$defs":{"p":{"$anchor":"here","type":"string"}},"properties":{"a":{"$ref":"#here"}}}`, `{"a":1}`, "payload.a"},
		{`{"properties":{"child":{"$ref":"#"},"n":{"type":"number"}}}`, `{"child":{"child":{"n":"x"}}}`, "payload.child.child.n"},
		{`{"plan":"string","n":"number","yes":"boolean","on":"date"}`, `{"plan":"pro","n":1.5,"yes":false,"on":"2026-01-31","more":[]}`, ""},
		{`{"plan":"string","n":"number","yes":"boolean","on":"date"}`, `{"plan":1,"n":"1","yes":"true","on":"31.1."}`, "payload.n payload.on payload.plan payload.yes"},
		{`{"plan":"string","on":"date"}`, `{"on":"2026-01-31T10:00:00+01:00","plan":null}`, ""},
	} {
		err := compiled(t, c.schema).Validate("e", json.RawMessage(c.payload))
		if got := paths(err); got != c.want || (err == nil) != (c.want == "") {
			t.Errorf("%s with %s: %q (%v), want %q", c.schema, c.payload, got, err, c.want)
		}
		if e, ok := err.(*automations.Error); ok && (e.Code != "event_payload_invalid" || e.Kind != automations.KindInvalid) {
			t.Errorf("%+v", e)
		}
	}
	if IsFlat(json.RawMessage(`{"type":"string"}`)) != true || IsFlat(json.RawMessage(`{"type":"object"}`)) || IsFlat(json.RawMessage(`{}`)) {
		t.Error("what is flat")
	}
}

func TestMisspeltFlatMaps(t *testing.T) {
	for schema, want := range map[string]string{
		`{"plan":"string","seats":"integer"}`: "schema.seats", `{"plan":"String"}`: "schema.plan", `{"a":""}`: "schema.a", `{"a":null}`: "schema.a",
		`{}`: "", `{"plan":"string"}`: "", `{"plan":{}}`: "", `{"type":"object","plan":"x"}`: "", `{"title":"Order"}`: "", `{"$ref":"#"}`: "",
	} {
		if got := paths(CheckFlat(json.RawMessage(schema))); got != want {
			t.Errorf("%s: %q, want %q", schema, got, want)
		}
	}
}

func TestDetailsAreInOrderAndBounded(t *testing.T) {
	var properties, payload []string
	for i := range 200 {
		properties = append(properties, fmt.Sprintf(`"p%03d":{"type":"string"}`, i))
		payload = append(payload, fmt.Sprintf(`"p%03d":%d`, i, i))
	}
	s := compiled(t, `{"properties":{`+strings.Join(properties, ",")+`}}`)
	first := paths(s.Validate("e", json.RawMessage("{"+strings.Join(payload, ",")+"}")))
	if n := len(strings.Fields(first)); n != maxProblems || !strings.HasPrefix(first, "payload.p000 payload.p001") {
		t.Errorf("%d: %.80s", n, first)
	}
	for range 20 {
		if again := paths(s.Validate("e", json.RawMessage("{"+strings.Join(payload, ",")+"}"))); again != first {
			t.Fatal("the order differs from call to call")
		}
	}
	long := strings.Repeat("x", 10_000)
	err := compiled(t, `{"properties":{"a":{"const":"b"}},"additionalProperties":false}`).Validate(long, json.RawMessage(`{"a":"`+long+`","`+long+`":1}`))
	if raw, _ := json.Marshal(err); len(raw) > 1000 {
		t.Errorf("%d bytes of foreign text", len(raw))
	}
}

// doubling is a chain of references each of which is followed twice.
func doubling(n int) string {
	defs := []string{`"d0":{"type":"string"}`}
	for i := range n {
		defs = append(defs, fmt.Sprintf(`"d%d":{"allOf":[{"$ref":"#/$defs/d%d"},{"$ref":"#/$defs/d%d"}]}`, i+1, i, i))
	}
	return fmt.Sprintf(`{"$defs":{%s},"$ref":"#/$defs/d%d"}`, strings.Join(defs, ","), n)
}

func nested(open, close string, n int) string {
	return strings.Repeat(open, n) + "{}" + strings.Repeat(close, n)
}

// hostile are schemas that would cost too much, reach out, or crash.
func hostile() map[string]string {
	return map[string]string{
		"doubling references":       doubling(30),
		"itself through two":        `{"properties":{"a":{"allOf":[{"$ref":"#"},{"$ref":"#"}]}}}`,
		"itself through allOf":      `{"allOf":[{"$ref":"#"},{"$ref":"#"}]}`,
		"a tree":                    `{"properties":{"left":{"$ref":"#"},"right":{"$ref":"#"}}}`,
		"file":                      `{"$ref":"file:///etc/passwd"}`,
		"network":                   `{"$ref":"http://127.0.0.1:1/x"}`,
		"relative":                  `{"$ref":"other.json"}`,
		"through its own id":        `{"$id":"http://127.0.0.1:1/a","properties":{"x":{"$id":"b","$ref":"c"}}}`,
		"meta schema":               `{"$schema":"http://127.0.0.1:1/schema"}`,
		"draft 4":                   `{"$schema":"http://json-schema.org/draft-04/schema#"}`,
		"huge number":               `{"maximum":1e999999999}`,
		"long number":               `{"maximum":` + strings.Repeat("9", 100) + `}`,
		"large":                     `{"title":"` + strings.Repeat("x", 100_000) + `"}`,
		"deep":                      nested(`{"not":`, `}`, 33),
		"many":                      `{"anyOf":[` + strings.TrimSuffix(strings.Repeat(`{},`, 1001), ",") + `]}`,
		"bad pattern":               `{"pattern":"("}`,
		"backreference":             `{"pattern":"(a)\\1"}`,
		"wrong type":                `{"type":"sting"}`,
		"wrong place":               `{"properties":[]}`,
		"not an object":             `true`,
		"reference to nowhere":      `{"$ref":"#/$defs/none"}`,
		"duplicate keys":            `{"type":"object","type":"string"}`,
		"not JSON":                  `{`,
		"reference into an escape":  `{"$ref":"#/%zz"}`,
		"the same anchor twice":     `{"$defs":{"a":{"$anchor":"x"},"b":{"$anchor":"x"}}}`,
		"pattern with huge repeats": `{"pattern":"(a{1000}){1000}"}`,
	}
}

func TestHostileSchemasAreRefused(t *testing.T) {
	for name, raw := range hostile() {
		s, err := Compile(json.RawMessage(raw))
		if e, ok := err.(*automations.Error); !ok || e.Code != "event_schema_invalid" || len(e.Details) == 0 || !strings.HasPrefix(e.Details[0].Path, "schema") || len(e.Msg) > 400 {
			t.Errorf("%s: %v %v", name, s, err)
		}
	}
}

// What is accepted and still odd is answered, whatever comes.
func TestOddSchemasAreBounded(t *testing.T) {
	items := strings.TrimSuffix(strings.Repeat(`{"a":1},`, 10_000), ",")
	for name, c := range map[string]struct{ schema, payload string }{
		"circle in place":         {`{"$ref":"#"}`, `{}`},
		"dynamic reference":       {`{"$dynamicAnchor":"x","properties":{"a":{"$dynamicRef":"#x"}}}`, `{"a":{"a":1}}`},
		"unique objects":          {`{"properties":{"l":{"uniqueItems":true}}}`, `{"l":[` + items + `]}`},
		"huge enum":               {`{"additionalProperties":{"items":{"enum":[` + strings.TrimSuffix(strings.Repeat(`"x",`, 9000), ",") + `]}}}`, `{"l":[` + items + `]}`},
		"long text, long pattern": {`{"properties":{"s":{"pattern":"(x+x+)+y{0,900}z"}}}`, `{"s":"` + strings.Repeat("x", 200_000) + `"}`},
		"huge number":             {`{"properties":{"n":{"multipleOf":0.01}}}`, `{"n":1e999999999}`},
		"long number":             {`{"properties":{"n":{"type":"integer"}}}`, `{"n":` + strings.Repeat("9", 100_000) + `}`},
	} {
		s, err := Compile(json.RawMessage(c.schema))
		if err != nil {
			t.Logf("%s: %v", name, err)
			continue
		}
		if err := s.Validate("e", json.RawMessage(c.payload)); err == nil && name != "dynamic reference" {
			t.Errorf("%s: accepted", name)
		}
	}
}

func FuzzSchema(f *testing.F) {
	for _, raw := range hostile() {
		f.Add(raw, `{"a":1}`)
	}
	f.Add(`{"properties":{"a":{"type":"string","format":"date"}}}`, `{"a":"2026-01-01"}`)
	f.Add(`{"a":"date"}`, `{"a":1e5}`)
	f.Fuzz(func(t *testing.T, raw, payload string) {
		s, err := Compile(json.RawMessage(raw))
		if err != nil {
			if e, ok := err.(*automations.Error); !ok || e.Code != "event_schema_invalid" {
				t.Fatalf("%v", err)
			}
			return
		}
		if automations.CheckJSON([]byte(payload)) != nil {
			return
		}
		if first, second := s.Validate("e", json.RawMessage(payload)), s.Validate("e", json.RawMessage(payload)); paths(first) != paths(second) {
			t.Fatalf("%v and %v", first, second)
		}
	})
}

func BenchmarkValidate(b *testing.B) {
	s := compiled(b, `{"type":"object","properties":{"plan":{"type":"string","enum":["free","pro"]},"seats":{"type":"integer","minimum":1},"meta":{"type":"object","properties":{"source":{"type":"string"}}}},"required":["plan"]}`)
	payload := json.RawMessage(`{"plan":"pro","seats":3,"meta":{"source":"landing_page"}}`)
	b.ReportAllocs()
	for b.Loop() {
		if err := s.Validate("e", payload); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkHostile shows what the worst schemas cost.
func BenchmarkHostile(b *testing.B) {
	for name, raw := range hostile() {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				Compile(json.RawMessage(raw))
			}
		})
	}
}
