package inbound

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/opensend/opensend/automations"
)

// theMail is the Message-ID that every sample names.
const theMail = "0199f234d3277cd89dc54fd8e5e249df@example.com"

func sample(t testing.TB, name string) []byte {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// said is a report in short.
func said(r Report) string {
	s := fmt.Sprintf("%s %s %s", r.Kind, r.Status, strings.Join(r.Recipients, ","))
	if r.NoSuchAddress {
		s += " no such address"
	}
	return s
}

func saidAll(reports []Report) (list []string) {
	for _, r := range reports {
		list = append(list, said(r))
	}
	return list
}

func TestParse(t *testing.T) {
	for _, c := range []struct {
		file string
		want []string
		text string // the first's, in part
	}{
		{"postfix.eml", []string{"bounced 5.1.1 ada@example.org no such address"}, "550 5.1.1 <ada@example.org>: Recipient address rejected: User unknown"},
		{"postfix-delayed.eml", []string{"delayed 4.4.1 ada@example.org"}, "Connection timed out"},
		{"postfix-expired.eml", []string{"bounced 4.4.1 ada@example.org"}, "Connection timed out"},
		{"exim.eml", []string{"bounced 5.0.0 ada+news@example.org no such address", "bounced 4.2.2 bob@example.org"}, "550 No such user here"},
		{"exchange.eml", []string{"bounced 5.1.10 ada@example.org no such address"}, "RecipientNotFound"},
		{"gmail.eml", []string{"bounced 5.1.1 ada@example.org no such address"}, "550-5.1.1 That account is not here."},
		{"policy.eml", []string{"bounced 5.7.1 ada+2bnews@example.org,ada+news@example.org,list@example.net"}, "unknown sender"},
		{"arf.eml", []string{"complained  ada@example.org"}, "feedback of type abuse from SomeISP/1.0"},
		{"arf-redacted.eml", []string{"complained  "}, "feedback of type abuse"},
	} {
		for name, raw := range map[string][]byte{"LF": sample(t, c.file), "CRLF": bytes.ReplaceAll(sample(t, c.file), []byte("\n"), []byte("\r\n"))} {
			reports, err := Parse(raw)
			if err != nil {
				t.Errorf("%s with %s: %v", c.file, name, err)
				continue
			}
			if diff := cmp.Diff(c.want, saidAll(reports)); diff != "" {
				t.Errorf("%s with %s: %s", c.file, name, diff)
			}
			if !strings.Contains(reports[0].Text, c.text) || strings.ContainsAny(reports[0].Text, "\r\n") {
				t.Errorf("%s with %s: the words are %q", c.file, name, reports[0].Text)
			}
			for _, r := range reports {
				if diff := cmp.Diff([]string{theMail}, r.MessageIDs); diff != "" || r.Signed {
					t.Errorf("%s with %s: signed %v, the mail %s", c.file, name, r.Signed, diff)
				}
			}
		}
	}
}

func TestParseRefuses(t *testing.T) {
	long := "Content-Type: multipart/report; boundary=b\n\n" + strings.Repeat("--b\nContent-Type: text/plain\n\nx\n", 3*maxParts)
	for name, c := range map[string]struct{ raw, code string }{
		"nothing":                     {"", NotAReport},
		"an automatic answer":         {string(sample(t, "vacation.eml")), NotAReport},
		"a report that mail quotes":   {string(sample(t, "quoted.eml")), NotAReport},
		"no message":                  {"\x00\xff\n\n\n", NotAReport},
		"a header that never ends":    {strings.Repeat("X-A: "+strings.Repeat("a", 900)+"\n", 100), NotAReport},
		"a status without its report": {"Content-Type: message/delivery-status\n\nFinal-Recipient: rfc822; a@b.de\nAction: failed\n", NotAReport},
		"parts in parts":              {nested(maxDepth+2, string(sample(t, "postfix.eml"))), NotAReport},
		"many parts before it":        {long + "--b\nContent-Type: message/delivery-status\n\nFinal-Recipient: rfc822; a@b.de\nAction: failed\n", NotAReport},
		"an empty status":             {"Content-Type: multipart/report; boundary=b\n\n--b\nContent-Type: message/delivery-status\n\n\n--b--\n", NotAReport},
		"a success":                   {string(sample(t, "success.eml")), NothingFailed},
		"not spam after all":          {string(sample(t, "arf-not-spam.eml")), NothingFailed},
	} {
		reports, err := Parse([]byte(c.raw))
		refused, ok := errors.AsType[*automations.Error](err)
		if !ok || refused.Code != c.code {
			t.Errorf("%s: %v %v", name, saidAll(reports), err)
		}
	}
	if reports, err := Parse([]byte(nested(maxDepth-1, string(sample(t, "postfix.eml"))))); err != nil || len(reports) != 1 {
		t.Errorf("within the bound: %v %v", reports, err)
	}
}

// nested puts a message into as many multiparts.
func nested(depth int, message string) string {
	header, body, _ := strings.Cut(message, "\n\n")
	_, kind, _ := strings.Cut(header, "Content-Type:")
	kind, _, _ = strings.Cut(kind, "\nMessage-Id")
	inner := "Content-Type:" + kind + "\n\n" + body
	for i := range depth {
		inner = fmt.Sprintf("Content-Type: multipart/mixed; boundary=n%d\n\n--n%d\n%s\n--n%d--\n", i, i, inner, i)
	}
	return inner
}

// A report that was cut off behind its status is one all the same.
func TestParseCutOff(t *testing.T) {
	raw := sample(t, "postfix.eml")
	at := bytes.Index(raw, []byte("Subject: Welcome"))
	id := bytes.Index(raw, []byte("Message-ID: <"+theMail))
	for end := range raw {
		reports, err := Parse(raw[:end])
		if end > id+60 && (err != nil || len(reports) != 1 || len(reports[0].MessageIDs) != 1) {
			t.Fatalf("the first %d bytes: %v %v", end, saidAll(reports), err)
		}
		if end < at-300 && err == nil && len(reports[0].MessageIDs) > 0 {
			t.Fatalf("the first %d bytes name the mail: %v", end, reports[0].MessageIDs)
		}
	}
	many := "Content-Type: multipart/report; boundary=b\n\n--b\nContent-Type: message/delivery-status\n\nReporting-MTA: dns; x\n" +
		strings.Repeat("\nFinal-Recipient: rfc822; a@b.de\nAction: failed\nStatus: 5.1.1\n", 1000)
	if reports, err := Parse([]byte(many)); err != nil || len(reports) != maxRecipients {
		t.Errorf("%d reports, %v", len(reports), err)
	}
}

// Servers fill in the fields as they please.
func TestParseOddFields(t *testing.T) {
	for fields, want := range map[string]string{
		"FINAL-RECIPIENT:RFC822;<Ada@Example.org> (Ada)\nACTION: FAILED (expired)\nStatus: 5.1.1 (bad address)":                                "bounced 5.1.1 ada@example.org no such address",
		"Final-Recipient : rfc822; ada@example.org\nAction : failed\nStatus: 5.0.0\nDiagnostic-Code: smtp;550 #5.1.1 unknown":                  "bounced 5.1.1 ada@example.org no such address",
		"Final-Recipient: ada@example.org\nAction: failed\nStatus: 5.0.0\nDiagnostic-Code: 550 5.1.1 unknown; see https://example.org":         "bounced 5.1.1 ada@example.org no such address",
		"Final-Recipient: x400; /c=de/s=ada/\nAction: failed\nStatus: 5.1.1":                                                                   "bounced 5.1.1 ",
		"Final-Recipient: utf-8; ada@B\u00fccher.example\nAction: failed\nStatus: 5.1.1":                                                       "bounced 5.1.1 ada@xn--bcher-kva.example no such address",
		"Final-Recipient: rfc822; ada@example.org\nAction: failed\nStatus: 5.0.0\nDiagnostic-Code: smtp; 550-see\n    550 5.7.1 and 5.1.1 too": "bounced 5.7.1 ada@example.org",
	} {
		reports, err := Parse([]byte("Content-Type: multipart/report; boundary=b;\n\n--b\nContent-Type: message/delivery-status\n\nReporting-MTA: dns; x\nX-Original-Message-ID: <" + theMail + ">\n\n\n" + fields + "\n--b--\n"))
		if err != nil || len(reports) != 1 || said(reports[0]) != want || !slices.Equal(reports[0].MessageIDs, []string{theMail}) {
			t.Errorf("%s\n%v %v", fields, saidAll(reports), err)
		}
	}
}

func FuzzParse(f *testing.F) {
	files, err := filepath.Glob("testdata/*.eml")
	if err != nil || len(files) < 10 {
		f.Fatal(files, err)
	}
	for _, file := range files {
		f.Add(sample(f, filepath.Base(file)))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		reports, err := Parse(raw)
		if _, ok := errors.AsType[*automations.Error](err); err != nil && !ok || err == nil && len(reports) == 0 {
			t.Errorf("%d reports, %v", len(reports), err)
		}
		if len(reports) > maxRecipients {
			t.Errorf("%d reports", len(reports))
		}
		for _, r := range reports {
			if r.Signed || r.Kind == "" || len(r.Text) > 510 || len(r.MessageIDs) > maxMessageIDs || len(r.Recipients) > 3 || strings.ContainsAny(r.Text, "\r\n\x00") {
				t.Errorf("%+v", r)
			}
			if r.NoSuchAddress && (r.Kind != automations.ReportBounced || !strings.HasPrefix(r.Status, "5.")) {
				t.Errorf("it suppresses: %+v", r)
			}
		}
	})
}
