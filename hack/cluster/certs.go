package main

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"net"
	"os"
	"strings"
	"time"
)

const (
	authorityLife = 10 * 365 * 24 * time.Hour
	leafLife      = 2 * 365 * 24 * time.Hour
)

// identity is a certificate that the cluster needs and who signs it.
type identity struct {
	file      string
	authority string
	name      string   // common name: the user
	groups    []string // organisations: the user's groups
	hosts     []string // of a server
}

var authorities = []string{"ca", "front-proxy-ca", "etcd-ca"}

func identities(l layout) []identity {
	ids := []identity{
		{file: "etcd", authority: "etcd-ca", name: "etcd", hosts: []string{"localhost", "127.0.0.1", l.first().IP}},
		{file: "apiserver-etcd", authority: "etcd-ca", name: "kube-apiserver"},
		{file: "apiserver", authority: "ca", name: "kube-apiserver", hosts: []string{
			"kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc." + domain,
			"localhost", "127.0.0.1", apiService, l.first().IP}},
		{file: "apiserver-kubelet", authority: "ca", name: "kube-apiserver-kubelet-client", groups: []string{"system:masters"}},
		{file: "front-proxy", authority: "front-proxy-ca", name: "front-proxy-client"},
		{file: "admin", authority: "ca", name: "kubernetes-admin", groups: []string{"system:masters"}},
		{file: "controller-manager", authority: "ca", name: "system:kube-controller-manager"},
		{file: "scheduler", authority: "ca", name: "system:kube-scheduler"},
		{file: "proxy", authority: "ca", name: "system:kube-proxy"},
		{file: "storage-provisioner", authority: "ca", name: "gocart:storage-provisioner"},
		{file: "metrics-server", authority: "ca", name: "metrics-server", hosts: []string{
			"metrics-server.kube-system.svc", "metrics-server.kube-system.svc." + domain}},
	}
	for _, n := range l.Nodes {
		ids = append(ids,
			identity{file: n.Name, authority: "ca", name: "system:node:" + n.Name, groups: []string{"system:nodes"}},
			identity{file: n.Name + "-serving", authority: "ca", name: n.Name, hosts: []string{n.Name, n.IP}})
	}
	return ids
}

// ensureCertificates makes what is missing under pki.
func ensureCertificates(l layout) error {
	if err := os.MkdirAll(l.path("pki"), 0o700); err != nil {
		return err
	}
	for _, name := range authorities {
		if err := ensureAuthority(l, name); err != nil {
			return fmt.Errorf("making the authority %s: %w", name, err)
		}
	}
	if err := ensureKey(l.pki("service-accounts.key")); err != nil {
		return err
	}
	for _, id := range identities(l) {
		if err := ensureLeaf(l, id); err != nil {
			return fmt.Errorf("making the certificate %s: %w", id.file, err)
		}
	}
	return nil
}

func ensureAuthority(l layout, name string) error {
	if exists(l.pki(name + ".crt")) {
		return nil
	}
	template := x509.Certificate{
		SerialNumber:          serial(),
		Subject:               pkix.Name{CommonName: "gocart-" + name},
		NotBefore:             time.Now().Add(-time.Hour),
		NotAfter:              time.Now().Add(authorityLife),
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
		BasicConstraintsValid: true,
		IsCA:                  true,
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	der, err := x509.CreateCertificate(rand.Reader, &template, &template, key.Public(), key)
	if err != nil {
		return err
	}
	return writePair(l, name, der, key)
}

func ensureLeaf(l layout, id identity) error {
	if exists(l.pki(id.file + ".crt")) {
		return nil
	}
	parent, parentKey, err := readAuthority(l, id.authority)
	if err != nil {
		return err
	}
	template := x509.Certificate{
		SerialNumber: serial(),
		Subject:      pkix.Name{CommonName: id.name, Organization: id.groups},
		NotBefore:    time.Now().Add(-time.Hour),
		NotAfter:     time.Now().Add(leafLife),
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	for _, host := range id.hosts {
		if ip := net.ParseIP(host); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, host)
		}
	}
	if len(id.hosts) > 0 {
		template.ExtKeyUsage = append(template.ExtKeyUsage, x509.ExtKeyUsageServerAuth)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	der, err := x509.CreateCertificate(rand.Reader, &template, parent, key.Public(), parentKey)
	if err != nil {
		return err
	}
	return writePair(l, id.file, der, key)
}

func readAuthority(l layout, name string) (*x509.Certificate, crypto.Signer, error) {
	crt, err := readPEM(l.pki(name + ".crt"))
	if err != nil {
		return nil, nil, err
	}
	certificate, err := x509.ParseCertificate(crt)
	if err != nil {
		return nil, nil, err
	}
	der, err := readPEM(l.pki(name + ".key"))
	if err != nil {
		return nil, nil, err
	}
	key, err := x509.ParseECPrivateKey(der)
	return certificate, key, err
}

func readPEM(path string) ([]byte, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(data)
	if block == nil {
		return nil, fmt.Errorf("%s holds no PEM", path)
	}
	return block.Bytes, nil
}

// writePair writes the key first: a certificate that exists means a whole pair.
func writePair(l layout, name string, der []byte, key *ecdsa.PrivateKey) error {
	if err := writeKey(l.pki(name+".key"), key); err != nil {
		return err
	}
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	return writeFile(l.pki(name+".crt"), text, 0o600)
}

func ensureKey(path string) error {
	if exists(path) {
		return nil
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	return writeKey(path, key)
}

func writeKey(path string, key *ecdsa.PrivateKey) error {
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return err
	}
	return writeFile(path, pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der}), 0o600)
}

func serial() *big.Int {
	n, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		panic(err) // no entropy: nothing here can go on
	}
	return n
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return !errors.Is(err, fs.ErrNotExist)
}

// writeKubeconfig writes a self-contained kubeconfig for an identity.
func writeKubeconfig(l layout, path, id string) error {
	var encoded []string
	for _, file := range []string{"ca.crt", id + ".crt", id + ".key"} {
		data, err := os.ReadFile(l.pki(file))
		if err != nil {
			return err
		}
		encoded = append(encoded, base64.StdEncoding.EncodeToString(bytes.TrimSpace(data)))
	}
	text := strings.NewReplacer(
		"{server}", l.server(), "{ca}", encoded[0], "{crt}", encoded[1], "{key}", encoded[2],
	).Replace(kubeconfigText)
	return writeFile(path, []byte(text), 0o600)
}

const kubeconfigText = `apiVersion: v1
kind: Config
current-context: gocart
clusters:
  - name: gocart
    cluster:
      server: {server}
      certificate-authority-data: {ca}
contexts:
  - name: gocart
    context:
      cluster: gocart
      user: gocart
users:
  - name: gocart
    user:
      client-certificate-data: {crt}
      client-key-data: {key}
`
