package mail

import (
	"bytes"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-message"
)

func sample() Message {
	return Message{
		From: "Ada Lovelace <ada@example.com>", To: []string{"bob@example.com"}, ReplyTo: []string{"r@example.com", `"Ünal, Ö" <u@example.com>`},
		Subject: "Hello", HTML: "<p>Hi <b>Bob</b></p>", MessageID: MessageID("example.com", [16]byte{1: 7, 15: 0xff}), Date: time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC),
	}
}

func TestSameMessageSameBytes(t *testing.T) {
	a, b := sample(), sample()
	first, err := a.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	second, err := b.Bytes()
	if err != nil || !bytes.Equal(first, second) {
		t.Errorf("%v\n%s\n%s", err, first, second)
	}
	if id, ok := ParseMessageID(a.MessageID); !ok || id != [16]byte{1: 7, 15: 0xff} {
		t.Error(id, ok)
	}
	for _, text := range []string{"", "@", "x@y.z", a.MessageID[1:], "zz" + a.MessageID[2:], "00" + a.MessageID} {
		if id, ok := ParseMessageID(text); ok {
			t.Errorf("%q holds the id %x", text, id)
		}
	}
}

func crlf(s string) string {
	return strings.NewReplacer("\r\n", "\r\n", "\r", "\r\n", "\n", "\r\n").Replace(s)
}

// checkLines makes sure that no mail server can see a line that is none.
func checkLines(t *testing.T, raw []byte) {
	t.Helper()
	for _, line := range bytes.SplitAfter(raw, []byte("\r\n")) {
		if body := bytes.TrimSuffix(line, []byte("\r\n")); bytes.ContainsAny(body, "\r\n\x00") || len(body) > 998 {
			t.Fatalf("line %q of %d bytes", body[:min(len(body), 80)], len(body))
		}
	}
}

func TestFeedbackID(t *testing.T) {
	words := strings.Split(FeedbackID("Mail.Example.com", "m:1", "flow", "automation"), ":")
	if len(words) != 4 || words[0] != "m-1" || len(words[3]) != 15 || FeedbackID("mail.example.com") != words[3] || FeedbackID("example.com") == words[3] {
		t.Error(words)
	}
}

func TestHeadersCannotBeBroken(t *testing.T) {
	for name, spoil := range map[string]func(*Message){
		"subject": func(m *Message) { m.Subject = "a\r\nBcc: x@y.zz" }, "from": func(m *Message) { m.From = "a@b.cd\nX: y" }, "to": func(m *Message) { m.To = []string{"a@b.cd\r\n"} },
		"reply": func(m *Message) { m.ReplyTo = []string{"a@b.cd\x00"} }, "id": func(m *Message) { m.MessageID = "x\r\ny@z" }, "two": func(m *Message) { m.To = []string{"a@b.cd, c@d.ef"} }, "none": func(m *Message) { m.From = "" },
		"literal": func(m *Message) { m.From = "a@[127.0.0.1]" }, "quoted": func(m *Message) { m.To = []string{`"a b"@c.de`} }, "two at": func(m *Message) { m.To = []string{`"a@b"@c.de`} }, "no-break space": func(m *Message) { m.To = []string{"a\u00a0b@c.de"} }, "domain": func(m *Message) { m.To = []string{"a@b\u2024.de\u200b"} },
		"name": func(m *Message) { m.From = "\"a\r\nBcc: b@c.de\" <a@b.cd>" }, "hidden": func(m *Message) { m.From = "=?utf-8?q?a=0D=0Ab?= =?utf-8?b?DQo=?= <a@b.cd>, x@y.zz" },
	} {
		m := sample()
		spoil(&m)
		if raw, err := m.Bytes(); err == nil {
			t.Errorf("%s: %s", name, raw)
		}
	}
}

func TestAttachmentsAndHeaders(t *testing.T) {
	m := sample()
	m.HTML = `<img src="cid:logo">`
	m.CC = []string{"Zoë <zoe@example.com>", "c@example.com"}
	m.Headers = []Header{{"X-Ref", "42"}, {"X-Long", strings.Repeat("größe ", 60)}}
	all := bytes.Repeat([]byte{0, '\r', '.', '\n', 255}, 100)
	m.Attachments = []Attachment{
		{Filename: "logo.png", ContentID: "logo", Content: all},
		{Filename: "a/größe \"x\"\r\n.csv", ContentType: "text/csv; charset=utf-8", Content: nil},
		{Filename: "nested", ContentType: "message/rfc822", Content: []byte("x")},
	}
	raw, err := m.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	again, _ := m.Bytes()
	checkLines(t, raw)
	if !bytes.Equal(raw, again) {
		t.Error("the same message made other bytes")
	}
	entity, err := message.Read(bytes.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	if got, _ := entity.Header.Text("X-Long"); got != strings.Repeat("größe ", 60) && got != strings.TrimSpace(strings.Repeat("größe ", 60)) {
		t.Errorf("X-Long: %q", got)
	}
	if cc := entity.Header.Get("Cc"); !strings.Contains(cc, "zoe@example.com") || entity.Header.Get("Bcc") != "" || entity.Header.Get("X-Ref") != "42" {
		t.Errorf("Cc: %s", cc)
	}
	var shape []string
	err = entity.Walk(func(path []int, part *message.Entity, err error) error {
		if err != nil {
			return err
		}
		kind, _, _ := part.Header.ContentType()
		disposition, params, _ := part.Header.ContentDisposition()
		shape = append(shape, fmt.Sprint(path, " ", kind, " ", disposition, " ", params["filename"], " ", part.Header.Get("Content-Id")))
		if strings.HasSuffix(params["filename"], ".png") {
			if body, err := io.ReadAll(part.Body); err != nil || !bytes.Equal(body, all) {
				t.Errorf("the file came back as %q, %v", body, err)
			}
		}
		return nil
	})
	want := []string{
		"[] multipart/mixed   ", "[0] multipart/related   ", "[0 0] multipart/alternative   ", "[0 0 0] text/plain   ", "[0 0 1] text/html   ",
		"[0 1] image/png inline logo.png <logo>", "[1] text/csv attachment a/größe \"x\"\r\n.csv ", "[2] application/octet-stream attachment nested ",
	}
	if err != nil || !slices.Equal(shape, want) {
		t.Errorf("%v\n%s", err, strings.Join(shape, "\n"))
	}
	for _, want := range []string{"Content-Type: text/csv; charset=utf-8\r\n", `; type="multipart/alternative"`, "filename*=utf-8''a%2Fgr%C3%B6"} { // as the RFCs have it; not all readers mind
		if !bytes.Contains(raw, []byte(want)) {
			t.Errorf("%s is not in\n%s", want, raw)
		}
	}
	m.Text = "The text."
	m.Attachments = append(m.Attachments, Attachment{Filename: "a.ics", ContentType: "text/calendar; method=REQUEST; x*=utf-8''%0D%0ABcc%3A%20x", Content: []byte("BEGIN:VCALENDAR")},
		Attachment{Filename: "notes.txt", Content: []byte("notes")}, Attachment{Filename: "page.html", ContentID: "page", Content: []byte("<b>page</b>")})
	if raw, err = m.Bytes(); err != nil {
		t.Fatal(err)
	}
	checkLines(t, raw)
	if !bytes.Contains(raw, []byte("Content-Type: text/calendar; method=REQUEST; x*=utf-8''%0D%0ABcc%3A%20x\r\n")) { // without its method it is no invitation
		t.Errorf("%s", raw)
	}
	if view, err := ParseView(raw); err != nil || view.HTML != m.HTML || view.Text != m.Text {
		t.Errorf("%q %v", view, err)
	}
}

func TestHeaderCheck(t *testing.T) {
	for _, h := range []Header{
		{"", "x"}, {"X Y", "x"}, {"X:", "x"}, {"Ä", "x"}, {"subject", "x"}, {"BCC", "x"}, {"content-type", "x"}, {"Dkim-signature", "x"},
		{"X-A", "a\r\nBcc: b@c.de"}, {"X-A", "a\nb"}, {"X-A", "a\x00"}, {"X-A", strings.Repeat("x", 3000)}, {"X-A", "a " + strings.Repeat("x", 901)}, {strings.Repeat("x", 77), "x"},
	} {
		if h.Check() == nil {
			t.Errorf("%q is accepted", h)
		}
	}
	if err := (Header{"List-Unsubscribe", "<https://example.com/u>"}).Check(); err != nil {
		t.Error(err)
	}
}

// BenchmarkMessageBytes composes a message of 4.7 KB of HTML, and signs it.
func BenchmarkMessageBytes(b *testing.B) {
	m := sample()
	m.HTML = strings.Repeat("<p>Some words of a mail, and more of them.</p>\n", 100)
	for _, kind := range []string{"unsigned", "ed25519", "rsa"} {
		b.Run(kind, func(b *testing.B) {
			var keys []DKIMKey
			if kind != "unsigned" {
				_, key, err := NewDKIMKey(kind)
				if err != nil {
					b.Fatal(err)
				}
				keys = []DKIMKey{{Domain: "example.com", Selector: "s", Key: key}}
			}
			b.ReportAllocs()
			for b.Loop() {
				raw, err := m.Bytes()
				if err == nil {
					_, err = SignDKIM(raw, "ada@example.com", keys)
				}
				if err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
