package automations

import (
	"encoding/json"
	"testing"

	"github.com/opensend/opensend/automations/mail"
)

func TestMention(t *testing.T) {
	m := NewMention("ada@example.com")
	for text, want := range map[string]string{
		"":                                "",
		"ada@example.com":                 "[erased]",
		"To: Ada <ADA@Example.COM>, b":    "To: Ada <[erased]>, b",
		"ada@example.com ada@example.com": "[erased] [erased]",
		"ask ada@example.com.":            "ask [erased].",
		"?to=ada%40example.com&x=1":       "?to=[erased]&x=1",
		"'ada@example.com'":               "'[erased]'",
		"bada@example.com":                "bada@example.com",
		"x.ada@example.com":               "x.ada@example.com",
		"b+ada@example.com":               "b+ada@example.com",
		"ada@example.com.au":              "ada@example.com.au",
		"ada@example.community":           "ada@example.community",
		"ada@example.com-x.org":           "ada@example.com-x.org",
		"ada@@example.com":                "ada@@example.com",
		"100% of ada":                     "100% of ada",
		"grüß ada@example.com ü@":         "grüß [erased] ü@",
	} {
		if got := m.Redact(text); got != want || m.In(text) != (got != text) || got != text && !m.Near([]byte(text)) {
			t.Errorf("%q: %q, in it: %v", text, got, m.In(text))
		}
	}
	for raw, want := range map[string]string{
		`{"to":"ada@example.com","n":1e400,"z":[true,null,"x"]}`: `{"to":"[erased]","n":1e400,"z":[true,null,"x"]}`,
		`{"text":"hello\nADA@example.com\t!"}`:                   `{"text":"hello\n[erased]\t!"}`,
		`{"text":"\u003cada\u0040example.com\u003e"}`:            `{"text":"\u003c[erased]\u003e"}`,
		`{"ada@example.com":"\"\\"}`:                             `{"[erased]":"\"\\"}`,
		`{"text":"b.ada@example.com \u00fc"}`:                    `{"text":"b.ada@example.com \u00fc"}`,
	} {
		if got := string(m.RedactJSON(json.RawMessage(raw))); got != want || got != raw && !m.Near([]byte(raw)) {
			t.Errorf("%s:\n%s", raw, got)
		}
	}
}

// An address has more than one spelling, and those who escape links or JSON
// write a + in their own ways.
func TestMentionInOtherSpellings(t *testing.T) {
	m := NewMention("ada+x@xn--grn-ioa.example")
	for raw, want := range map[string]string{
		`"Ada+X@grün.example"`:                           `"[erased]"`,
		`"https://x.example/?to=ada%2Bx%40GRÜN.example"`: `"https://x.example/?to=[erased]"`,
		`"ada%2bx@xn--grn-ioa.example"`:                  `"[erased]"`,
		`"ada\u002Bx@gr\u00fcn.example"`:                 `"[erased]"`,
		`"ada@grün.example b+ada+x@grün.example"`:        `"ada@grün.example b+ada+x@grün.example"`,
	} {
		if got := string(m.RedactJSON(json.RawMessage(raw))); got != want || got != raw && !m.Near([]byte(raw)) {
			t.Errorf("%s:\n%s", raw, got)
		}
	}
}

// However a message encodes what it says, the address in it is found.
func TestMentionInContent(t *testing.T) {
	m := NewMention("ada@example.com")
	long := "Grüße — this line is long enough to be folded somewhere in the middle of the name ada@example.com, which it says.\n"
	for name, message := range map[string]mail.Message{
		"subject":      {Subject: "About ada@example.com", Text: "x"},
		"text":         {Subject: "x", Text: long},
		"html":         {Subject: "x", HTML: "<p>" + long + "</p>", Text: "x"},
		"long subject": {Subject: "Grüße — dies ist eine lange Zeile, die irgendwo gefaltet wird ada@example.com und weitergeht", Text: "x"},
		"attachment":   {Subject: "x", Text: "x", Attachments: []mail.Attachment{{Filename: "a.csv", ContentType: "text/csv", Content: []byte("to\nada@example.com\n")}}},
		"nowhere":      {Subject: "x", HTML: "<p>ada@example.org</p>"},
	} {
		message.From, message.To, message.MessageID = "b@example.org", []string{"c@example.org"}, "1@example.org"
		raw, err := message.Bytes()
		if err != nil {
			t.Fatal(err)
		}
		if got := m.InContent(&EmailContent{Message: raw}); got != (name != "nowhere") {
			t.Errorf("%s: %v\n%s", name, got, raw)
		}
		if got := m.InContent(&EmailContent{HTML: message.HTML, Text: message.Text, Headers: []mail.Header{{Name: "X", Value: message.Subject}}, Attachments: message.Attachments}); got != (name != "nowhere") {
			t.Errorf("%s, not composed: %v", name, got)
		}
	}
}

func FuzzRedactJSON(f *testing.F) {
	f.Add(`{"to":"ada@example.com"}`)
	f.Add(`"\`)
	m := NewMention("ada@example.com")
	f.Fuzz(func(t *testing.T, raw string) {
		got := m.RedactJSON(json.RawMessage(raw))
		if json.Valid([]byte(raw)) && !json.Valid(got) {
			t.Errorf("%s is not JSON any more: %s", raw, got)
		}
	})
}
