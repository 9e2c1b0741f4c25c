package automations

import (
	"encoding/json"
	"net/mail"
	"strings"
	"testing"
	"time"
)

func TestParseDuration(t *testing.T) {
	day := 24 * time.Hour
	for text, want := range map[string]time.Duration{
		"30 minutes": 30 * time.Minute, "1.5 h": 90 * time.Minute, "1 day 12 hours": 36 * time.Hour, "PT1H": time.Hour, "P1DT12H": 36 * time.Hour,
		"P2W": 14 * day, "90m": 90 * time.Minute, "1h30m": 90 * time.Minute, " 2 Weeks ": 14 * day, "1 second": time.Second, "0.001s": time.Millisecond,
		"366 days": 366 * day, "PT0.5S": 500 * time.Millisecond, "3days": 3 * day, "10 min": 10 * time.Minute,
	} {
		if got, err := ParseDuration(text); err != nil || got != want {
			t.Errorf("%q: %s, %v; want %s", text, got, err, want)
		}
	}
	for text, code := range map[string]string{
		"": "delay_duration_invalid", "0": "delay_duration_invalid", "0 s": "delay_duration_invalid", "-1 h": "delay_duration_invalid", "1": "delay_duration_invalid",
		"1 month": "delay_duration_invalid", "P1M": "delay_duration_invalid", "P1Y": "delay_duration_invalid", "P": "delay_duration_invalid", "PT": "delay_duration_invalid", "1 h 2": "delay_duration_invalid",
		"1e9 h": "delay_duration_invalid", "0.0001 s": "delay_duration_invalid", "1 ms": "delay_duration_invalid", "9999999999 s": "delay_duration_invalid",
		"367 days": "delay_duration_too_long", "366 days 1 second": "delay_duration_too_long", "999999999 weeks": "delay_duration_too_long",
	} {
		_, err := ParseDuration(text)
		if e, ok := err.(*Error); !ok || e.Code != code {
			t.Errorf("%q: %v, want %s", text, err, code)
		}
	}
}

func FuzzParseDuration(f *testing.F) {
	for _, s := range []string{"30 minutes", "1.5 h", "P1DT12H", "90m", "999999999.999999999 weeks", "pt1h", "١ h"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		d, err := ParseDuration(s)
		if err == nil && (d <= 0 || d > MaxDelay || d%time.Millisecond != 0) || err != nil && d != 0 {
			t.Fatalf("%q: %s, %v", s, d, err)
		}
	})
}

func TestNormalizeEmail(t *testing.T) {
	for text, want := range map[string]string{
		" Ada@Example.COM\n": "ada@example.com", "a+b.c@x.y-z.org": "a+b.c@x.y-z.org", "a@münchen.de": "a@xn--mnchen-3ya.de", "!#$%&'*+-/=?^_`{|}~@a.bc": "!#$%&'*+-/=?^_`{|}~@a.bc",
		strings.Repeat("a", 64) + "@b.cd": strings.Repeat("a", 64) + "@b.cd",
	} {
		if got, err := NormalizeEmail(text); err != nil || got != want {
			t.Errorf("%q: %q, %v", text, got, err)
		}
	}
	for _, text := range []string{
		"", "a", "a@", "@b.cd", "a@b", "a@b.", "a@.cd", "a@b..cd", ".a@b.cd", "a.@b.cd", "a..a@b.cd", "a b@c.de", `"a b"@c.de`, "a@[127.0.0.1]", "a@127.0.0.1", "Ada <a@b.cd>",
		"a@b.cd, c@d.ef", "a\x00@b.cd", "a@b.cd\r\nBcc: x@y.zz", "ä@b.cd", "\u212a@b.cd", "a@-b.cd", "a@b-.cd", "a@b_c.de", "a@b.cd(x)", strings.Repeat("a", 65) + "@b.cd", "a@" + strings.Repeat("b.", 126) + "cd", "a@" + strings.Repeat("b", 64) + ".cd",
	} {
		if got, err := NormalizeEmail(text); err == nil {
			t.Errorf("%q was taken as %q", text, got)
		}
	}
}

func TestNormalizeMailbox(t *testing.T) {
	for text, want := range map[string]string{
		"Ada@Example.COM": "ada@example.com", "JÖRG@Bücher.example": "jörg@xn--bcher-kva.example", "o\u0308@a.bc": "ö@a.bc", "用户@例子.广告": "用户@xn--fsqu00a.xn--4rr70v", "i\u0307@a.bc": "i\u0307@a.bc",
	} {
		if got, err := NormalizeMailbox(text); err != nil || got != want {
			t.Errorf("%q: %q, %v", text, got, err)
		}
	}
	for _, text := range []string{"\u212a@b.cd", "\u0130@b.cd", "a\u00a0b@c.de", "a\u200bb@c.de", "\u202ea@b.cd", "😀@b.cd", "ä..b@c.de", ".ä@b.cd", "\xff@b.cd", "ä \"@b.cd", strings.Repeat("ä", 33) + "@b.cd", "ä@b", "\u037e@b.cd", "Ä <ä@b.cd>"} {
		if got, err := NormalizeMailbox(text); err == nil {
			t.Errorf("%q was taken as %q", text, got)
		}
	}
}

func FuzzNormalizeMailbox(f *testing.F) {
	for _, s := range []string{"a@b.cd", "Ö@b.cd", "o\u0308@b.cd", "\u212a@b.cd", "ǅ@b.cd", "ẞ@münchen.de", "\u0344\u0345@b.cd"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got, err := NormalizeMailbox(s)
		if err != nil {
			return
		}
		if again, err := NormalizeMailbox(got); err != nil || again != got {
			t.Fatalf("%q became %q and then %q, %v", s, got, again, err)
		}
		if a, err := mail.ParseAddress(got); err != nil || a.Address != got {
			t.Fatalf("%q is not an address to net/mail: %v", got, err)
		}
		if identity, err := NormalizeEmail(s); err == nil && identity != got {
			t.Fatalf("%q is %q and %q", s, identity, got)
		}
	})
}

func FuzzNormalizeEmail(f *testing.F) {
	for _, s := range []string{"a@b.cd", " A@B.CD ", "a@münchen.de", "\"a\"@b.cd", "a@b.cd\r\n", "\u212a@b.cd", "a@xn--a.de"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got, err := NormalizeEmail(s)
		if err != nil {
			return
		}
		if again, err := NormalizeEmail(got); err != nil || again != got {
			t.Fatalf("%q became %q and then %q, %v", s, got, again, err)
		}
		if a, err := mail.ParseAddress(got); err != nil || a.Address != got {
			t.Fatalf("%q is not an address to net/mail: %v", got, err)
		}
		if strings.ContainsAny(got, "\r\n\x00 \"<>(),;:\\[]") {
			t.Fatalf("%q", got)
		}
	})
}

func TestToken(t *testing.T) {
	var random [TokenBytes]byte
	for i := range random {
		random[i] = byte(i * 11)
	}
	token := NewToken(random)
	hash, ok := HashToken(token)
	if !ok || len(hash) != 32 || len(token) != 51 {
		t.Fatalf("%q %v", token, ok)
	}
	for i := range token { // no single typing error is taken for a key
		for _, c := range "az27-" {
			typo := token[:i] + string(c) + token[i+1:]
			if _, ok := HashToken(typo); ok != (typo == token) {
				t.Errorf("%q is taken for a token: %v", typo, ok)
			}
		}
	}
	if _, ok := HashToken(strings.ToUpper(token)); ok {
		t.Error("a token in upper case")
	}
}

func TestDeduplication(t *testing.T) {
	d, err := ParseDeduplication([]byte(`{"window":"1 hour","key":["order_id","event.x"]}`))
	if err != nil || !d.Enabled || d.WindowSeconds != 3600 || d.Key[0] != "event.order_id" || d.Window(0) != time.Hour {
		t.Errorf("%+v %v", d, err)
	}
	if d, err := ParseDeduplication([]byte(`{"enabled":false}`)); err != nil || d.Window(time.Hour) != 0 {
		t.Errorf("%+v %v", d, err)
	}
	if d, err := ParseDeduplication([]byte(`null`)); d != nil || err != nil || d.Window(time.Hour) != time.Hour {
		t.Errorf("%+v %v", d, err)
	}
	for _, bad := range []string{`7`, `{"window":"0 s"}`, `{"window_seconds":0}`, `{"window_seconds":2592001}`, `{"window":"1 h","window_seconds":60}`, `{"widow":"1 h"}`, `{"key":["a..b"]}`, `{"enabled":"yes"}`, `{"window":"0.5 s"}`} {
		if d, err := ParseDeduplication([]byte(bad)); err == nil {
			t.Errorf("%s was taken as %+v", bad, d)
		}
	}
}

// A property shown as a text and read back is what it was.
func TestPropertyText(t *testing.T) {
	for value, text := range map[string]string{
		`"pro"`: "pro", `"01234"`: "01234", `"12"`: `"12"`, `12`: "12", `1.50`: "1.50", `true`: "true", `"true"`: `"true"`, `"null"`: `"null"`, `""`: "", `" x"`: " x", `"{}"`: "{}", `"<b>&"`: "<b>&",
	} {
		if got := PropertyText(json.RawMessage(value)); got != text || string(PropertyValue(got)) != value {
			t.Errorf("%s is shown as %s and read as %s", value, got, PropertyValue(got))
		}
	}
	if got := PropertyText(json.RawMessage(`{"a":1}`)); got != `{"a":1}` {
		t.Error(got)
	}
}
