package server

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"math/big"
	"testing"
	"time"
)

// amazon signs notices as SNS does, with a certificate of its own.
type amazon struct {
	t    *testing.T
	key  *rsa.PrivateKey
	cert []byte
}

func newAmazon(t *testing.T) *amazon {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Unix(0, 0), NotAfter: time.Now().AddDate(10, 0, 0)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return &amazon{t, key, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})}
}

func (a *amazon) fetch(context.Context, string) ([]byte, error) { return a.cert, nil }

func (a *amazon) notice(message string, at time.Time) string {
	topic, timestamp := providers.SESTopics[0], at.UTC().Format(time.RFC3339)
	sum := sha256.Sum256([]byte("Message\n" + message + "\nMessageId\nm1\nTimestamp\n" + timestamp + "\nTopicArn\n" + topic + "\nType\nNotification\n"))
	signature, err := rsa.SignPKCS1v15(rand.Reader, a.key, crypto.SHA256, sum[:])
	if err != nil {
		a.t.Fatal(err)
	}
	return string(encode(map[string]string{
		"Type": "Notification", "MessageId": "m1", "TopicArn": topic, "Message": message, "Timestamp": timestamp, "SignatureVersion": "2",
		"Signature": base64.StdEncoding.EncodeToString(signature), "SigningCertURL": "https://sns.eu-west-1.amazonaws.com/a.pem",
	}))
}
