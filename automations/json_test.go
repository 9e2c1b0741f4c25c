package automations

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
)

func TestCheckJSON(t *testing.T) {
	for _, good := range []string{
		`{}`, ` [1, -0.5e+3, "a\u00e9\"", true, false, null] `, `"x"`, `0`, `{"a":{"a":1},"b":[{"a":1},{"a":2}]}`,
		`{"a":1e999999999}`, `"\ud800"`, strings.Repeat("[", 64) + strings.Repeat("]", 64),
		`{` + manyKeys(40) + `}`,
	} {
		if err := CheckJSON([]byte(good)); err != nil {
			t.Errorf("%.60s: %v", good, err)
		}
	}
	for _, bad := range []string{
		``, ` `, `{`, `{"a"}`, `{"a":}`, `{"a":1,}`, `[1,]`, `[1 2]`, `01`, `1.`, `.5`, `-`, `1e`, `+1`, `tru`, `nul`, `"a`, `"\x"`, `"\u12"`, "\"\n\"",
		`{} {}`, `{}x`, `{'a':1}`, `{"a":1,"a":2}`, `{"a":1,"\u0061":2}`, `[{"b":{"c":1,"c":1}}]`, "\"\xff\"", "\xef\xbb\xbf{}", `{` + manyKeys(40) + `,"k7":1}`,
	} {
		if err := CheckJSON([]byte(bad)); !IsKind(err, KindMalformed) {
			t.Errorf("%.60s: %v", bad, err)
		}
	}
	for _, deep := range []string{strings.Repeat("[", 65) + strings.Repeat("]", 65), strings.Repeat(`{"a":`, 100_000)} {
		if err := CheckJSON([]byte(deep)); !IsKind(err, KindInvalid) {
			t.Errorf("deep: %v", err)
		}
	}
}

func manyKeys(n int) string {
	var keys []string
	for i := range n {
		keys = append(keys, fmt.Sprintf(`"k%d":%d`, i, i))
	}
	return strings.Join(keys, ",")
}

func FuzzCheckJSON(f *testing.F) {
	for _, s := range []string{`{"a":[1,2.5e3,"\u00e9",null]}`, `{"a":1,"a":2}`, `[[[]]]`, `"\ud800\udc00"`, `-0`, `{"":""}`, "\"\u2028\"", `[1,]`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		err := CheckJSON(data)
		if err == nil {
			if !json.Valid(data) {
				t.Fatalf("accepted what is not JSON: %q", data)
			}
			if compact := CompactJSON(data); CheckJSON(compact) != nil || len(compact) > len(data) {
				t.Fatalf("compacted to %q", compact)
			}
			return
		}
		if json.Valid(data) && IsKind(err, KindMalformed) && !strings.Contains(err.Error(), "stands twice") && !strings.Contains(err.Error(), "UTF-8") {
			t.Fatalf("refused valid JSON %q: %v", data, err)
		}
	})
}

func TestFields(t *testing.T) {
	f, err := DecodeObject([]byte(`{"s":"x","n":9007199254740993,"b":true,"o":{ "a" : 1 },"l":["a","b"],"z":null,"NAME":"y","pay_load":1}`))
	if err != nil {
		t.Fatal(err)
	}
	var p Problems
	if f.String(&p, "s") != "x" || *f.Int(&p, "n") != 9007199254740993 || !*f.Bool(&p, "b") || string(f.Object(&p, "o")) != `{"a":1}` ||
		len(f.Strings(&p, "l")) != 2 || len(f.Strings(&p, "s")) != 1 || f.Has("z") || !f.Sent("z") || f.String(&p, "name", "missing") != "" {
		t.Error("a field was read wrongly")
	}
	if p.Err() != nil {
		t.Errorf("problems with good fields: %v", p.Err())
	}
	f.String(&p, "n")
	f.Int(&p, "s")
	f.Bool(&p, "o")
	f.Object(&p, "l")
	f.Unknown(&p, "s", "n", "b", "o", "l", "z", "name", "payload")
	e := p.Err().(*Error)
	if len(e.Details) != 6 || !strings.Contains(e.Details[4].Message, "did you mean name?") || !strings.Contains(e.Details[5].Message, "did you mean payload?") {
		t.Errorf("%+v", e.Details)
	}
}

func TestNearest(t *testing.T) {
	for word, want := range map[string]string{"paylod": "payload", "Email": "email", "emial": "email", "xyz": "", "": ""} {
		if got := Nearest(word, []string{"payload", "email", "contact_id"}); got != want {
			t.Errorf("Nearest(%q) = %q, want %q", word, got, want)
		}
	}
	for _, c := range []struct {
		a, b string
		near bool
	}{{"a", "a", true}, {"abc", "abd", true}, {"abc", "ab", true}, {"abc", "xabc", true}, {"abc", "acb", false}, {"abc", "abcde", false}, {"", "a", true}, {"", "ab", false}, {"payé", "paye", true}, {"é", "€", true}, {"é", "", true}, {"payé", "pay", true}} {
		if EditDistanceAtMostOne(c.a, c.b) != c.near || EditDistanceAtMostOne(c.b, c.a) != c.near {
			t.Errorf("%q and %q", c.a, c.b)
		}
	}
}

func BenchmarkCheckJSON(b *testing.B) {
	body := []byte(`{"event":"user.signed_up","email":"ada@example.com","payload":{"plan":"pro","user":{"profile":{"tier":"pro","is_verified":true,"credits":100}},"source":"landing_page","code":"X2025","terms":true}}`)
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	for b.Loop() {
		if err := CheckJSON(body); err != nil {
			b.Fatal(err)
		}
	}
}
