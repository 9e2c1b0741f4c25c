package mail

import (
	"bytes"
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"

	"github.com/emersion/go-msgauth/dkim"
)

// DKIMKey signs the mail of one domain. Its public half is in the DNS, at
// SELECTOR._domainkey.DOMAIN.
type DKIMKey struct {
	Domain   string // of the sender, or above it
	Selector string
	Key      crypto.Signer // *rsa.PrivateKey or ed25519.PrivateKey
}

// signedHeaders are the fields a signature covers, in its order. Those that
// make up what a reader sees, and where his answers and his wish to get no more
// go, are named once more than they occur, so that nobody can add another (RFC
// 6376, section 5.4); both List-Unsubscribe fields must be covered (RFC 8058,
// section 4).
var signedHeaders = []string{
	"From", "From", "To", "To", "Cc", "Cc", "Subject", "Subject", "Date", "Date", "Message-ID", "Reply-To", "Reply-To", "In-Reply-To", "References",
	"MIME-Version", "MIME-Version", "Content-Type", "Content-Type", "Content-Transfer-Encoding", "Content-Transfer-Encoding",
	"List-Unsubscribe", "List-Unsubscribe", "List-Unsubscribe-Post", "List-Unsubscribe-Post", "Auto-Submitted", "Feedback-ID",
}

// SignDKIM puts a signature in front of the message for each key whose domain
// the sender's is in. Without such a key the message is returned as it is.
func SignDKIM(message []byte, from string, keys []DKIMKey) ([]byte, error) {
	var signatures bytes.Buffer
	for _, k := range keys {
		if !covers(k.Domain, from) {
			continue
		}
		signer, err := dkim.NewSigner(&dkim.SignOptions{
			Domain: k.Domain, Selector: k.Selector, Signer: k.Key, HeaderKeys: signedHeaders,
			HeaderCanonicalization: dkim.CanonicalizationRelaxed, BodyCanonicalization: dkim.CanonicalizationRelaxed,
		})
		if err != nil {
			return nil, err
		}
		_, writeErr := signer.Write(message)
		if err := errors.Join(writeErr, signer.Close()); err != nil {
			return nil, fmt.Errorf("signing for %s: %w", k.Domain, err)
		}
		signatures.WriteString(signer.Signature())
	}
	return append(signatures.Bytes(), message...), nil
}

// covers reports whether the address, or bare domain, lies in the domain.
func covers(domain, address string) bool {
	of := strings.ToLower(address[strings.LastIndexByte(address, '@')+1:])
	domain = strings.ToLower(domain)
	return of == domain || strings.HasSuffix(of, "."+domain)
}

// minRSA is the shortest RSA key that verifiers accept (RFC 8301).
const minRSA = 1024

// ParseDKIMKey reads a private key in PEM: RSA of at least 1024 bits, or
// Ed25519.
func ParseDKIMKey(text []byte) (crypto.Signer, error) {
	block, _ := pem.Decode(text)
	if block == nil {
		return nil, errors.New("it is not a private key in PEM; make one with: opensend dkim generate")
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		key, err = x509.ParsePKCS1PrivateKey(block.Bytes)
	}
	if err != nil {
		return nil, errors.New("it is not an RSA or Ed25519 private key; make one with: opensend dkim generate")
	}
	switch key := key.(type) {
	case *rsa.PrivateKey:
		if key.N.BitLen() < minRSA {
			return nil, fmt.Errorf("the RSA key has %d bits; at least %d are needed, 2048 are usual", key.N.BitLen(), minRSA)
		}
		return key, nil
	case ed25519.PrivateKey:
		return key, nil
	}
	return nil, errors.New("it is a key of another kind; DKIM knows RSA and Ed25519")
}

// NewDKIMKey makes a private key, rsa (2048 bits) or ed25519, in PEM.
func NewDKIMKey(kind string) ([]byte, crypto.Signer, error) {
	var key crypto.Signer
	var err error
	switch kind {
	case "rsa":
		key, err = rsa.GenerateKey(rand.Reader, 2048)
	case "ed25519":
		_, key, err = ed25519.GenerateKey(rand.Reader)
	default:
		return nil, nil, fmt.Errorf("%q is not a kind of DKIM key; use rsa or ed25519", kind)
	}
	if err != nil {
		return nil, nil, err
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), key, err
}

// Record is the name and the text of the DNS record, of type TXT, that lets
// others verify the key's signatures (RFC 6376, section 3.6.1; RFC 8463).
func (k DKIMKey) Record() (name, text string, err error) {
	name = k.Selector + "._domainkey." + k.Domain
	if public, ok := k.Key.Public().(ed25519.PublicKey); ok {
		return name, "v=DKIM1; k=ed25519; p=" + base64.StdEncoding.EncodeToString(public), nil
	}
	der, err := x509.MarshalPKIXPublicKey(k.Key.Public())
	return name, "v=DKIM1; k=rsa; p=" + base64.StdEncoding.EncodeToString(der), err
}
