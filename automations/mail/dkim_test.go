package mail

import (
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/emersion/go-msgauth/dkim"
)

func newDKIM(t testing.TB, domain, selector, kind string) DKIMKey {
	t.Helper()
	text, _, err := NewDKIMKey(kind)
	if err != nil {
		t.Fatal(err)
	}
	key, err := ParseDKIMKey(text)
	if err != nil {
		t.Fatal(err)
	}
	return DKIMKey{Domain: domain, Selector: selector, Key: key}
}

// signedSample is a message with everything that a signature covers, signed by
// two keys, and the DNS that has their records.
func signedSample(t testing.TB) (signed []byte, records map[string]string) {
	t.Helper()
	m := sample()
	m.From, m.HTML = "Zoë <ada@mail.example.com>", "<p>Größe "+strings.Repeat("lang ", 100)+"</p>\n.\n"
	m.Headers = []Header{{"List-Unsubscribe", "<https://example.com/u>"}, {"List-Unsubscribe-Post", "List-Unsubscribe=One-Click"}, {"Auto-Submitted", "auto-generated"}}
	m.Attachments = []Attachment{{Filename: "größe.bin", Content: bytes.Repeat([]byte{0, 255, '\n', '.'}, 500)}}
	raw, err := m.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	keys := []DKIMKey{newDKIM(t, "example.com", "r1", "rsa"), newDKIM(t, "example.com", "e1", "ed25519"), newDKIM(t, "other.example", "x", "ed25519"), newDKIM(t, "le.com", "x", "ed25519")}
	if signed, err = SignDKIM(raw, "ada@Mail.Example.com", keys); err != nil {
		t.Fatal(err)
	}
	records = map[string]string{}
	for _, k := range keys[:2] {
		name, text, err := k.Record()
		if err != nil {
			t.Fatal(err)
		}
		records[name] = text
	}
	return signed, records
}

func verify(t testing.TB, message []byte, records map[string]string) (good, bad int) {
	t.Helper()
	results, err := dkim.VerifyWithOptions(bytes.NewReader(message), &dkim.VerifyOptions{LookupTXT: func(name string) ([]string, error) {
		if text, ok := records[strings.TrimSuffix(name, ".")]; ok {
			return []string{text}, nil
		}
		return nil, fmt.Errorf("no record %s", name)
	}})
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range results {
		if r.Err == nil && r.Domain == "example.com" {
			good++
		} else {
			bad++
		}
	}
	return good, bad
}

func TestDKIM(t *testing.T) {
	signed, records := signedSample(t)
	if good, bad := verify(t, signed, records); good != 2 || bad != 0 {
		t.Fatalf("%d good signatures and %d bad ones", good, bad)
	}
	checkLines(t, signed)
	// Whatever a reader sees is covered: changed or added, it breaks both.
	for name, spoil := range map[string]func(string) string{
		"body":        func(s string) string { return s[:len(s)-20] + "x" + s[len(s)-19:] },
		"subject":     func(s string) string { return strings.Replace(s, "Subject: ", "Subject: x", 1) },
		"unsubscribe": func(s string) string { return strings.Replace(s, "https://example.com/u", "https://evil.example/u", 1) },
		"one click":   func(s string) string { return strings.Replace(s, "List-Unsubscribe=One-Click", "x", 1) },
		"from twice":  func(s string) string { return "From: Eve <eve@example.com>\r\n" + s },
		"to twice":    func(s string) string { return "To: eve@example.com\r\n" + s },
		"cc":          func(s string) string { return "Cc: eve@example.com\r\n" + s },
		"reply twice": func(s string) string { return "Reply-To: eve@example.com\r\n" + s },
		"type twice":  func(s string) string { return "Content-Type: text/html\r\n" + s },
		"stop twice":  func(s string) string { return "List-Unsubscribe: <https://evil.example/u>\r\n" + s },
	} {
		if good, bad := verify(t, []byte(spoil(string(signed))), records); good != 0 || bad != 2 {
			t.Errorf("%s: %d good signatures and %d bad ones", name, good, bad)
		}
	}
	unsigned, err := SignDKIM([]byte("From: a@example.org\r\n\r\nx\r\n"), "a@example.org", []DKIMKey{newDKIM(t, "example.com", "s", "ed25519")})
	if err != nil || strings.Contains(string(unsigned), "DKIM-Signature") {
		t.Errorf("a sender of another domain: %s %v", unsigned, err)
	}
}

func TestParseDKIMKey(t *testing.T) {
	weak, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ParseDKIMKey(pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(weak)})); err != nil {
		t.Errorf("PKCS #1: %v", err)
	}
	for _, text := range []string{"", "nonsense", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"} {
		if _, err := ParseDKIMKey([]byte(text)); err == nil {
			t.Errorf("%q is taken for a key", text)
		}
	}
	if _, _, err := NewDKIMKey("dsa"); err == nil {
		t.Error("dsa")
	}
}

// TestDKIMSample writes a signed message and its DNS records to the folder
// DKIM_SAMPLE, for e2e/dkim.test.mjs to verify with another implementation.
func TestDKIMSample(t *testing.T) {
	dir := os.Getenv("DKIM_SAMPLE")
	if dir == "" {
		t.Skip("SKIPPED: DKIM_SAMPLE is not set; .ci/run sets it")
	}
	signed, records := signedSample(t)
	var lines strings.Builder
	for name, text := range records {
		fmt.Fprintf(&lines, "%s\t%s\n", name, text)
	}
	for name, text := range map[string]string{"message.eml": string(signed), "records.txt": lines.String()} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}
