package schema

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
)

func TestInfer(t *testing.T) {
	for _, c := range []struct{ payloads, want string }{
		{``, `{"type":"object"}`},
		{`{}`, `{"type":"object"}`},
		{`{"plan":"pro","n":1} {"plan":"free"}`, `{"properties":{"n":{"type":"number"},"plan":{"type":"string"}},"required":["plan"],"type":"object"}`},
		{`{"a":1} {"a":"x"} {"a":null}`, `{"properties":{"a":{"type":["null","number","string"]}},"required":["a"],"type":"object"}`},
		{`{"a":{"b":true,"c":1}} {"a":{"b":false}}`, `{"properties":{"a":{"properties":{"b":{"type":"boolean"},"c":{"type":"number"}},"required":["b"],"type":"object"}},"required":["a"],"type":"object"}`},
		{`{"a":[]} {}`, `{"properties":{"a":{"type":"array"}},"type":"object"}`},
		{`{"a":[{"x":1},{"y":2}]}`, `{"properties":{"a":{"items":{"properties":{"x":{"type":"number"},"y":{"type":"number"}},"type":"object"},"type":"array"}},"required":["a"],"type":"object"}`},
		{`{"$ref":"x","enum":"y","required":"z"}`, `{"properties":{"$ref":{"type":"string"},"enum":{"type":"string"},"required":{"type":"string"}},"required":["$ref","enum","required"],"type":"object"}`},
	} {
		payloads := split(t, c.payloads)
		inferred := Infer(payloads)
		var compact strings.Builder
		var value any
		if err := json.Unmarshal(inferred, &value); err != nil {
			t.Fatal(err)
		}
		json.NewEncoder(&compact).Encode(value)
		if got := strings.TrimSpace(compact.String()); got != c.want {
			t.Errorf("%s: %s instead of %s", c.payloads, got, c.want)
		}
		accepts(t, inferred, payloads)
	}
}

func split(t *testing.T, text string) (payloads []json.RawMessage) {
	t.Helper()
	for dec := json.NewDecoder(strings.NewReader(text)); dec.More(); {
		var raw json.RawMessage
		if err := dec.Decode(&raw); err != nil {
			t.Fatal(err)
		}
		payloads = append(payloads, raw)
	}
	return payloads
}

// accepts holds that what was inferred can be stored, and takes what it was
// inferred from.
func accepts(t *testing.T, inferred json.RawMessage, payloads []json.RawMessage) {
	t.Helper()
	s, err := Compile(inferred)
	if err != nil {
		t.Fatalf("%s: %v", inferred, err)
	}
	for _, payload := range payloads {
		if err := s.Validate("x", payload); err != nil {
			t.Errorf("%s refuses %.200s: %v", inferred, payload, err)
		}
	}
}

// Payloads whose keys are data, or that go deep, still end in a schema that can
// be stored.
func TestInferIsBounded(t *testing.T) {
	wide := `{"by_id":{`
	for i := range 5000 {
		wide += fmt.Sprintf(`"k%d":1,`, i)
	}
	wide += `"last":1}}`
	deep := strings.Repeat(`{"a":[`, 20) + strings.Repeat(`]}`, 20)
	payloads := []json.RawMessage{json.RawMessage(wide), json.RawMessage(deep)}
	inferred := Infer(payloads)
	if strings.Contains(string(inferred), "k1") {
		t.Errorf("keys that are data became members: %.300s", inferred)
	}
	accepts(t, inferred, payloads)
}
