package cmd

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"io"
	"log/slog"
	"math/big"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// writeCertificate writes a new certificate with its key into a folder.
func writeCertificate(t *testing.T, dir string, serial int64) CertificateConfig {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(serial), DNSNames: []string{"mail.example.com"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	files := CertificateConfig{CertFile: filepath.Join(dir, "cert.pem"), KeyFile: filepath.Join(dir, "key.pem")}
	for path, block := range map[string]*pem.Block{files.CertFile: {Type: "CERTIFICATE", Bytes: cert}, files.KeyFile: {Type: "PRIVATE KEY", Bytes: secret}} {
		if err := os.WriteFile(path, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return files
}

// A certificate that is renewed in place is used without a restart; while it is
// half written the one before goes on.
func TestCertificateFiles(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		cfg := Config{TLS: tlsFiles, Certificate: writeCertificate(t, dir, 1)}
		e, err := cfg.encryption(slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		serial := func() int64 {
			time.Sleep(lookAgain)
			c, err := e.config.GetCertificate(&tls.ClientHelloInfo{})
			if err != nil {
				t.Fatal(err)
			}
			return c.Leaf.SerialNumber.Int64()
		}
		if n := serial(); n != 1 {
			t.Errorf("certificate %d at first", n)
		}
		key, err := os.ReadFile(cfg.Certificate.KeyFile)
		if err != nil {
			t.Fatal(err)
		}
		writeCertificate(t, dir, 2)
		fresh, err := os.ReadFile(cfg.Certificate.KeyFile)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(cfg.Certificate.KeyFile, append(key, '\n'), 0o600); err != nil {
			t.Fatal(err)
		}
		if n := serial(); n != 1 {
			t.Errorf("certificate %d while the key is the old one", n)
		}
		if err := os.Remove(cfg.Certificate.KeyFile); err != nil {
			t.Fatal(err)
		}
		if n := serial(); n != 1 {
			t.Errorf("certificate %d while there is no key", n)
		}
		if err := os.WriteFile(cfg.Certificate.KeyFile, fresh, 0o600); err != nil {
			t.Fatal(err)
		}
		if n := serial(); n != 2 {
			t.Errorf("certificate %d after the renewal", n)
		}
	})
}

func TestCertificateErrors(t *testing.T) {
	dir := t.TempDir()
	files := writeCertificate(t, dir, 1)
	for words, c := range map[string]CertificateConfig{
		"certificate.key_file " + dir + "/none cannot be read": {CertFile: files.CertFile, KeyFile: dir + "/none"},
		"are no pair in PEM": {CertFile: files.KeyFile, KeyFile: files.CertFile},
	} {
		cfg := Config{TLS: tlsFiles, Certificate: c}
		if _, err := cfg.encryption(slog.New(slog.DiscardHandler)); err == nil || !strings.Contains(err.Error(), words) {
			t.Errorf("%v, want %s", err, words)
		}
	}
}

// The real binary speaks TLS and HTTP/2 with the operator's certificate.
func TestServeTLS(t *testing.T) {
	dir := t.TempDir()
	files := writeCertificate(t, dir, 7)
	s := &liveServer{t: t, dir: dir, base: "https://" + reserved(t), client: &http.Client{Transport: &http.Transport{ForceAttemptHTTP2: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}}
	config := "tls: files\ncertificate:\n  cert_file: " + files.CertFile + "\n  key_file: " + files.KeyFile + "\n"
	if err := os.WriteFile(filepath.Join(dir, "config.yaml"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	s.start()
	defer func() {
		s.client.CloseIdleConnections()
		s.server.Process.Signal(os.Interrupt)
		s.server.Wait()
	}()
	resp, err := s.client.Get(s.base + "/readyz")
	if err != nil {
		t.Fatal(err)
	}
	io.Copy(io.Discard, resp.Body)
	resp.Body.Close()
	if resp.ProtoMajor != 2 || resp.TLS.PeerCertificates[0].SerialNumber.Int64() != 7 {
		t.Errorf("%s %v", resp.Proto, resp.TLS.PeerCertificates[0].SerialNumber)
	}
}
