package cmd

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/opensend/opensend/automations/mail"
)

// serveDNS answers questions for TXT records, and returns a resolver that asks
// it. Names that are not there do not exist.
func serveDNS(t *testing.T, records map[string][]string) *net.Resolver {
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	go func() {
		buf := make([]byte, 4096)
		for {
			n, from, err := conn.ReadFrom(buf)
			if err != nil {
				return
			}
			var m dnsmessage.Message
			if m.Unpack(buf[:n]) != nil || len(m.Questions) != 1 {
				continue
			}
			q := m.Questions[0]
			found, ok := records[strings.TrimSuffix(q.Name.String(), ".")]
			reply := dnsmessage.Message{Header: dnsmessage.Header{ID: m.ID, Response: true}, Questions: m.Questions}
			if !ok {
				reply.RCode = dnsmessage.RCodeNameError
			}
			for _, text := range found {
				var parts []string
				for ; len(text) > 255; text = text[255:] {
					parts = append(parts, text[:255])
				}
				reply.Answers = append(reply.Answers, dnsmessage.Resource{
					Header: dnsmessage.ResourceHeader{Name: q.Name, Type: dnsmessage.TypeTXT, Class: dnsmessage.ClassINET},
					Body:   &dnsmessage.TXTResource{TXT: append(parts, text)},
				})
			}
			if packed, err := reply.Pack(); err == nil {
				conn.WriteTo(packed, from)
			}
		}
	}()
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "udp", conn.LocalAddr().String())
	}}
}

// The doctor compares the DNS with what is configured.
func TestDoctorDNS(t *testing.T) {
	text, key, err := mail.NewDKIMKey("rsa")
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "dkim.pem")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	_, record, err := mail.DKIMKey{Domain: "example.com", Selector: "s", Key: key}.Record()
	if err != nil {
		t.Fatal(err)
	}
	const selector = "s._domainkey.example.com"
	for name, c := range map[string]struct {
		records map[string][]string
		want    []string
	}{
		"all there": {
			map[string][]string{"mail.example.com": {"v=spf1 include:x -all", "other"}, "_dmarc.example.com": {"v=DMARC1; p=none"}, "example.com": {"v=spf1 -all"}, selector: {record}},
			[]string{"ok SPF: mail.example.com has v=spf1 include:x -all", "ok DMARC: _dmarc.example.com has", "ok DKIM: " + selector + " has the key"},
		},
		"nothing there": {nil, []string{"warn SPF: mail.example.com has no record", "warn DMARC: _dmarc.mail.example.com has no record", "fail DKIM: " + selector + " has no record"}},
		"wrong": {
			map[string][]string{"mail.example.com": {"v=spf1 +all"}, "example.com": {"v=spf1 a", "v=spf1 b"}, "_dmarc.mail.example.com": {"v=DMARC1; p=none", "v=DMARC1; p=reject"}, selector: {"v=DKIM1; k=rsa; p=AAAA"}},
			[]string{"warn SPF: mail.example.com lets everybody send", "fail SPF: example.com has 2 records", "fail DMARC: _dmarc.mail.example.com has 2 records", "fail DKIM: " + selector + " has another key"},
		},
	} {
		d := &doctor{resolver: serveDNS(t, c.records)}
		d.cfg.Mail.From = "Example <hello@mail.example.com>"
		d.cfg.Mail.DKIM = []DKIMConfig{{Domain: "example.com", Selector: "s", KeyFile: file}}
		d.dns()
		said := ""
		for _, f := range d.found {
			said += string(f.Verdict) + " " + f.Check + ": " + f.Text + "\n"
		}
		for _, want := range c.want {
			if !strings.Contains(said, want) {
				t.Errorf("%s: no %q in\n%s", name, want, said)
			}
		}
	}
}

// The doctor warns of a file near its bound where the server does.
func TestDoctorBound(t *testing.T) {
	for _, c := range []struct {
		limit, used int64
		want        rating
	}{
		{32 << 20, 28 << 20, fine}, {32 << 20, 28<<20 + 1, warning}, {32 << 20, 33 << 20, warning},
		{1 << 40, 1<<40 - 64<<20, fine}, {1 << 40, 1<<40 - 64<<20 + 1, warning},
	} {
		d := &doctor{}
		if d.room(c.limit, c.used); len(d.found) != 1 || d.found[0].Verdict != c.want {
			t.Errorf("%d of %d: %+v", c.used, c.limit, d.found)
		}
	}
}
