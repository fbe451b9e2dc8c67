package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"time"
)

// listener is what the ACME server shows its clients, with the CA that they
// trust for it. All PEM.
type listener struct {
	CA          string
	Certificate string
	Key         string
}

const (
	listenerLife    = 365 * 24 * time.Hour
	listenerRenewal = 30 * 24 * time.Hour
)

func readListener(ctx context.Context, c cluster) (listener, error) {
	var l listener
	for key, value := range map[string]*string{"ca.crt": &l.CA, "tls.crt": &l.Certificate, "tls.key": &l.Key} {
		var err error
		if *value, err = c.data(ctx, "secret", "acme", "pebble-tls", key); err != nil {
			return listener{}, err
		}
	}
	return l, nil
}

func (l listener) expired(now time.Time) bool {
	block, _ := pem.Decode([]byte(l.Certificate))
	if block == nil {
		return true
	}
	certificate, err := x509.ParseCertificate(block.Bytes)
	return err != nil || now.Add(listenerRenewal).After(certificate.NotAfter)
}

// newListener makes a CA, signs one certificate with it and forgets its key.
func newListener(now time.Time) (listener, error) {
	caKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return listener{}, err
	}
	ca := &x509.Certificate{
		SerialNumber:          big.NewInt(1),
		Subject:               pkix.Name{CommonName: "GoCart add-ons CA"},
		NotBefore:             now.Add(-time.Hour),
		NotAfter:              now.Add(listenerLife),
		IsCA:                  true,
		BasicConstraintsValid: true,
		MaxPathLenZero:        true,
		KeyUsage:              x509.KeyUsageCertSign,
	}
	caDER, err := x509.CreateCertificate(rand.Reader, ca, ca, caKey.Public(), caKey)
	if err != nil {
		return listener{}, err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return listener{}, err
	}
	leaf := &x509.Certificate{
		SerialNumber: big.NewInt(2),
		Subject:      pkix.Name{CommonName: "pebble"},
		NotBefore:    ca.NotBefore,
		NotAfter:     ca.NotAfter,
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		DNSNames:     []string{"pebble", "pebble.acme", "pebble.acme.svc", "pebble.acme.svc.cluster.local", "localhost"},
	}
	leafDER, err := x509.CreateCertificate(rand.Reader, leaf, ca, key.Public(), caKey)
	if err != nil {
		return listener{}, err
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return listener{}, err
	}
	return listener{
		CA:          encode("CERTIFICATE", caDER),
		Certificate: encode("CERTIFICATE", leafDER),
		Key:         encode("PRIVATE KEY", keyDER),
	}, nil
}

func encode(kind string, der []byte) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
}
