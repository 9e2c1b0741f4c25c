package automations

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
)

const matchPayload = `{"n":5,"f":5.0,"big":9007199254740993,"huge":1e999999999,"s":"pro","num":"7","empty":"","z":null,"t":true,"l":["a",1,{"x":1}],"el":[],"o":{"a":{"b":[10,20]}},"eo":{},
	"when":"2026-01-02T00:00:00Z","a.b":"dotted"}`

func evalRule(t *testing.T, field, operator, value string) bool {
	t.Helper()
	raw := fmt.Sprintf(`{"type":"rule","field":%q,"operator":%q`, field, operator)
	if value != "" {
		raw += `,"value":` + value
	}
	m, err := ParseMatch(json.RawMessage(raw + "}"))
	if err != nil {
		t.Fatalf("%s: %v", raw, err)
	}
	scope := &Scope{Event: json.RawMessage(matchPayload), Trigger: json.RawMessage(`{"n":6}`), Contact: &Contact{Email: "a@b.cd", FirstName: "Ada", Properties: map[string]json.RawMessage{"plan": json.RawMessage(`"pro"`)}}}
	held, compared := m.Eval(scope.Lookup)
	if len(compared) != 1 || compared[0].Held != held {
		t.Errorf("%s: compared %+v", raw, compared)
	}
	return held
}

// Every operator against every type, with the values it must and must not hold
// for.
func TestOperators(t *testing.T) {
	for _, c := range []struct {
		field, operator, value string
		want                   bool
	}{
		{"n", "equals", "5", true}, {"n", "equals", "5.0", true}, {"n", "equals", "0.5e1", true}, {"f", "equals", "5", true}, {"n", "equals", `"5"`, false}, {"big", "equals", "9007199254740993", true},
		{"big", "equals", "9007199254740992", false}, {"huge", "equals", "1e999999999", true}, {"s", "equals", `"pro"`, true}, {"s", "equals", `"Pro"`, false}, {"t", "equals", "true", true},
		{"t", "equals", `"true"`, false}, {"z", "equals", "null", true}, {"l", "equals", `["a",1.0,{"x":1}]`, true}, {"l", "equals", `[1,"a"]`, false}, {"o", "equals", `{"a":{"b":[10,20]}}`, true},
		{"missing", "equals", "null", false}, {"n", "equals", `{"var":"trigger.n"}`, false}, {"trigger.n", "equals", "6", true}, {"contact.email", "equals", `"a@b.cd"`, true},
		{"contact.properties.plan", "equals", `{"var":"event.s"}`, true}, {"contact.custom_properties.plan", "equals", `"pro"`, true}, {"event.o.a.b.1", "equals", "20", true}, {"o.a.b.2", "equals", "20", false},
		{"a.b", "equals", `"dotted"`, true}, {"l", "equals", "7", false},
		{"n", "not_equals", "5", false}, {"n", "not_equals", "6", true}, {"missing", "not_equals", "5", true}, {"l", "not_equals", `[]`, true},
		{"n", "greater_than", "4.999", true}, {"n", "greater_than", "5", false}, {"num", "greater_than", "6", true}, {"n", "greater_than", `"4"`, true}, {"s", "greater_than", "1", false}, {"huge", "greater_than", "1e308", true},
		{"when", "greater_than", `"2026-01-01T23:59:59+00:00"`, true}, {"when", "less_than", `"2026-01-02T01:00:00+02:00"`, false}, {"missing", "greater_than", "0", false}, {"z", "greater_than", "-1", false}, {"s", "greater_than", `"abc"`, false},
		{"n", "greater_than_or_equal", "5", true}, {"n", "greater_than_or_equal", "5.01", false}, {"n", "less_than", "5.1", true}, {"n", "less_than", "-5", false}, {"n", "less_than_or_equal", "5", true}, {"missing", "less_than_or_equal", "5", false},
		{"s", "contains", `"r"`, true}, {"s", "contains", `"R"`, false}, {"l", "contains", `"a"`, true}, {"l", "contains", "1.0", true}, {"l", "contains", `{"x":1}`, true}, {"l", "contains", `"1"`, false}, {"n", "contains", "5", false}, {"missing", "contains", `""`, false},
		{"s", "not_contains", `"x"`, true}, {"s", "not_contains", `"p"`, false}, {"missing", "not_contains", `"x"`, true}, {"n", "not_contains", "5", true},
		{"s", "begins_with", `"pr"`, true}, {"s", "begins_with", `"ro"`, false}, {"n", "begins_with", `"5"`, false}, {"s", "ends_with", `"ro"`, true}, {"missing", "ends_with", `""`, false},
		{"s", "exists", "", true}, {"z", "exists", "", false}, {"missing", "exists", "", false}, {"empty", "exists", "", true}, {"z", "not_exists", "", true}, {"missing", "not_exists", "", true}, {"s", "not_exists", "", false},
		{"empty", "is_empty", "", true}, {"el", "is_empty", "", true}, {"eo", "is_empty", "", true}, {"z", "is_empty", "", true}, {"missing", "is_empty", "", true}, {"n", "is_empty", "", false}, {"t", "is_empty", "", false}, {"s", "is_empty", "", false},
		{"s", "in", `["free","pro"]`, true}, {"n", "in", `[5.0]`, true}, {"s", "in", `[]`, false}, {"missing", "in", `[null]`, false}, {"s", "not_in", `["free"]`, true}, {"s", "not_in", `["pro"]`, false}, {"missing", "not_in", `["pro"]`, true},
		{"contact.last_name", "exists", "", false}, {"contact.first_name", "exists", "", true}, {"steps.x.output", "exists", "", false}, {"wait.x.y", "exists", "", false},
	} {
		if got := evalRule(t, c.field, c.operator, c.value); got != c.want {
			t.Errorf("%s %s %s: %v", c.field, c.operator, c.value, got)
		}
	}
}

func TestOperatorSpellings(t *testing.T) {
	for canonical, others := range map[string][]string{
		"equals": {"eq", "EQUALS"}, "not_equals": {"neq"}, "greater_than": {"gt"}, "greater_than_or_equal": {"gte"}, "less_than": {"lt"}, "less_than_or_equal": {"lte"}, "begins_with": {"starts_with"},
	} {
		for _, spelling := range append(others, canonical) {
			if a, b := evalRule(t, "n", canonical, "4"), evalRule(t, "n", spelling, "4"); a != b {
				t.Errorf("%s and %s differ", canonical, spelling)
			}
		}
	}
}

func TestMatchTrees(t *testing.T) {
	yes, no := `{"type":"rule","field":"n","operator":"eq","value":5}`, `{"type":"rule","field":"n","operator":"eq","value":6}`
	for raw, want := range map[string]bool{
		`{"type":"and","rules":[` + yes + `,` + no + `]}`:                                        false,
		`{"type":"OR","rules":[` + no + `,` + yes + `]}`:                                         true,
		`{"type":"or","rules":[` + no + `,{"type":"and","rules":[` + yes + `,` + yes + `]}]}`:    true,
		`{"predicate":{"left":"event.n","operator":"gte","right":5}}`:                            true,
		`{"predicate":{"left":{"var":"n"},"operator":"equals","right":{"var":"event.f"}}}`:       true,
		`{"predicate":{"left":"n","operator":"exists"}}`:                                         true,
		`{"field":"n","operator":"exists"}`:                                                      true,
		strings.Repeat(`{"type":"and","rules":[`, 10) + yes + strings.Repeat(`]}`, 10):           true,
		`{"type":"and","rules":[` + strings.TrimSuffix(strings.Repeat(yes+",", 200), ",") + `]}`: true,
	} {
		m, err := ParseMatch(json.RawMessage(raw))
		if err != nil {
			t.Errorf("%.80s: %v", raw, err)
			continue
		}
		if got, compared := m.Eval((&Scope{Event: json.RawMessage(matchPayload)}).Lookup); got != want || len(compared) > maxCompared {
			t.Errorf("%.80s: %v, %d compared", raw, got, len(compared))
		}
	}
	for raw, code := range map[string]string{
		`7`: "condition_rule_invalid", `{}`: "condition_rule_invalid", `{"type":"and","rules":[]}`: "condition_rule_invalid", `{"type":"xor","rules":[` + yes + `]}`: "condition_rule_invalid",
		`{"type":"rule","field":"","operator":"eq","value":1}`: "condition_field_invalid", `{"type":"rule","field":"a..b","operator":"eq","value":1}`: "condition_field_invalid",
		`{"type":"rule","field":"n","operator":"like","value":1}`: "condition_operator_invalid", `{"type":"rule","field":"n","operator":"eq"}`: "condition_value_invalid",
		`{"type":"rule","field":"n","operator":"in","value":"x"}`:                                 "condition_value_invalid",
		`{"type":"rule","field":"n","operator":"eq","value":"` + strings.Repeat("x", 9000) + `"}`: "condition_value_invalid",
		strings.Repeat(`{"type":"and","rules":[`, 11) + yes + strings.Repeat(`]}`, 11):            "condition_too_deep",
		`{"type":"and","rules":[` + strings.TrimSuffix(strings.Repeat(yes+",", 201), ",") + `]}`:  "condition_too_many_rules",
	} {
		_, err := ParseMatch(json.RawMessage(raw))
		if e, ok := err.(*Error); !ok || e.Code != code {
			t.Errorf("%.80s: %v, want %s", raw, err, code)
		}
	}
}

func FuzzMatch(f *testing.F) {
	f.Add(`{"type":"rule","field":"n","operator":"gt","value":1e999999999}`, matchPayload)
	f.Add(`{"predicate":{"left":"a.0.b","operator":"contains","right":{"var":"event.x"}}}`, `{"a":[{"b":[1]}],"x":1}`)
	f.Add(`{"type":"or","rules":[{"type":"rule","field":"s","operator":"in","value":[1,"2",null]}]}`, `{"s":-0.0e-5}`)
	f.Fuzz(func(t *testing.T, condition, payload string) {
		if CheckJSON([]byte(condition)) != nil || CheckJSON([]byte(payload)) != nil {
			return
		}
		m, err := ParseMatch(json.RawMessage(condition))
		if err != nil {
			return
		}
		first, _ := m.Eval((&Scope{Event: json.RawMessage(payload)}).Lookup)
		if second, _ := m.Eval((&Scope{Event: json.RawMessage(payload)}).Lookup); first != second {
			t.Fatal("the same condition on the same event differs")
		}
	})
}

func BenchmarkEval(b *testing.B) {
	m, err := ParseMatch(json.RawMessage(`{"type":"and","rules":[{"type":"rule","field":"s","operator":"eq","value":"pro"},{"type":"rule","field":"o.a.b.1","operator":"gte","value":20}]}`))
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if held, _ := m.Eval((&Scope{Event: json.RawMessage(matchPayload)}).Lookup); !held {
			b.Fatal("it does not hold")
		}
	}
}

func TestDecimalString(t *testing.T) {
	for want, same := range map[string][]string{
		"0":                           {"0", "-0", "0.0", "0e5"},
		"1":                           {"1", "1.0", "10e-1", "1E0"},
		"-20":                         {"-20", "-2e1", "-20.00"},
		"15e-1":                       {"1.5", "1.50", "15e-1"},
		"1e21":                        {"1e21", "1000000000000000000000", "10e20"},
		"1e-7":                        {"0.0000001", "1e-7"},
		"9" + strings.Repeat("0", 20): {"9e20", "9" + strings.Repeat("0", 20)},
		"9007199254740993":            {"9007199254740993", "9007199254740993.0"},
	} {
		for _, number := range same {
			if got := parseDecimal(number).String(); got != want {
				t.Errorf("%s is written %s, want %s", number, got, want)
			}
		}
	}
}
