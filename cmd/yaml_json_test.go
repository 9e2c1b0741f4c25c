package cmd

import (
	"bytes"
	"strings"
	"testing"

	"github.com/opensend/opensend/automations"
)

func jsonOf(text string) (string, error) {
	node, err := parseYAML([]byte(text))
	if err != nil {
		return "", err
	}
	var out bytes.Buffer
	err = yamlToJSON(&out, node)
	return out.String(), err
}

func TestYAMLToJSON(t *testing.T) {
	for text, want := range map[string]string{
		"b: 1\na: 2":                             `{"b":1,"a":2}`,
		"n: 12345678901234567890.50":             `{"n":12345678901234567890.50}`,
		"n: 0x10":                                `{"n":16}`,
		"t: 2026-01-31\nu: TRUE\nv: ~\nw: 'yes'": `{"t":"2026-01-31","u":true,"v":null,"w":"yes"}`,
		"h: |\n  <p>\n  a & b\n":                 `{"h":"<p>\na & b\n"}`,
		"a: &x {k: [1]}\nb: *x":                  `{"a":{"k":[1]},"b":{"k":[1]}}`,
		"1: x":                                   `{"1":"x"}`,
		"{\"json\": [true, null, \"x\"]}":        `{"json":[true,null,"x"]}`,
	} {
		if got, err := jsonOf(text); got != want || err != nil {
			t.Errorf("%q: %s %v, want %s", text, got, err, want)
		}
	}
	for text, want := range map[string]string{
		"a: 1\na: 2":                "a stands twice",
		"a: .inf":                   "no number that JSON knows",
		"a: &x {b: 1}\nc: {<<: *x}": "merged keys",
		"? [a]\n: b":                "a key must be a text",
		"a: !!binary aGk=":          "values of the kind !!binary",
		"a: 1\n---\nb: 2":           "more than one YAML document",
		"a: \"":                     "not valid YAML",
		"a: &a [x, x, x, x, x, x, x, x, x, x, x]" + bomb(8): "larger than",
	} {
		if got, err := jsonOf(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %.60s %v, want %s", text, got, err, want)
		}
	}
}

// Readers of YAML 1.1 take some words for true and false.
func TestOldWordsAreQuoted(t *testing.T) {
	node, err := jsonToYAML([]byte(`{"off":["yes","No","yet"],"n":"on"}`))
	if err != nil {
		t.Fatal(err)
	}
	text, err := yamlText(node)
	if want := "\"off\":\n  - \"yes\"\n  - \"No\"\n  - yet\n\"n\": \"on\"\n"; string(text) != want || err != nil {
		t.Errorf("%s %v", text, err)
	}
}

// bomb is lines of aliases, each ten times the one before.
func bomb(lines int) (text string) {
	before := "a"
	for i := range lines {
		name := "l" + string(rune('a'+i))
		text += "\n" + name + ": &" + name + " [" + strings.Repeat("*"+before+", ", 10) + "x]"
		before = name
	}
	return text
}

// Whatever JSON is written as YAML is read back as it was.
func FuzzYAMLRoundTrip(f *testing.F) {
	for _, seed := range []string{
		`{"b":1,"a":[true,null,"x",{"c":1.50}]}`, `{"html":"<p>\n  a\n</p>\n","text":" a\n b "}`, `{"":"","~":"null","yes":"0x10","<<":"=","a: b":"# c"}`,
		`{"s":"a\r\nb","t":"\ta","u":"\n","v":"a\n","w":"\n\n a","x":"\u0085 \u2028 \ufeff","y":"- a","z":"a\t\n"}`, `{"n":1e5,"m":-0,"o":123456789012345678901234567890}`,
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if automations.CheckJSON([]byte(text)) != nil {
			t.Skip()
		}
		var kept bytes.Buffer
		want := automations.CompactJSON([]byte(text))
		node, err := jsonToYAML(want)
		if err != nil {
			t.Fatal(err)
		}
		file, err := yamlText(node)
		if err != nil {
			t.Fatal(err)
		}
		read, err := parseYAML(file)
		if err != nil {
			t.Fatalf("%s\n%v", file, err)
		}
		if err := yamlToJSON(&kept, read); err != nil {
			t.Fatalf("%s\n%v", file, err)
		}
		if !sameJSON(kept.Bytes(), want) {
			t.Errorf("%s became %s by way of\n%s", want, kept.Bytes(), file)
		}
	})
}
