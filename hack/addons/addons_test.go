package main

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"strings"
	"testing"
	"time"
)

func TestEveryManifestRenders(t *testing.T) {
	listener, err := newListener(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	v := values{
		BindIP: "10.96.0.53", IngressIP: "10.96.0.80", TSIG: "a2V5", Directory: directory, Listener: listener,
		Images: map[string]string{}, Hash: map[string]string{"bind9": "h1", "pebble": "h2"},
	}
	for _, name := range imageNames {
		v.Images[name] = "docker.io/library/" + name + ":sha-0"
	}
	files, err := manifests.ReadDir("manifests")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		text, err := render(file.Name(), &v)
		if err != nil {
			t.Errorf("%s: %v", file.Name(), err)
		}
		if strings.Contains(text, "{{") || strings.Contains(text, "<no value>") {
			t.Errorf("%s is not filled in:\n%s", file.Name(), text)
		}
	}
	delete(v.Images, "pebble")
	if _, err := render("pebble.yaml", &v); err == nil {
		t.Error("a manifest without its image rendered")
	}
}

func TestTheListenersCertificateIsOfItsCA(t *testing.T) {
	now := time.Now()
	l, err := newListener(now)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tls.X509KeyPair([]byte(l.Certificate), []byte(l.Key)); err != nil {
		t.Error(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM([]byte(l.CA))
	block, _ := pem.Decode([]byte(l.Certificate))
	leaf, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := leaf.Verify(x509.VerifyOptions{Roots: roots, DNSName: "pebble.acme.svc", CurrentTime: now}); err != nil {
		t.Error(err)
	}
	if l.expired(now) || !l.expired(now.Add(listenerLife-listenerRenewal+time.Hour)) || !(listener{}).expired(now) {
		t.Error("the certificate is not renewed when it should be")
	}
}

func TestOnlyWhatIsRolledOutOrReadyCounts(t *testing.T) {
	ready, err := readyObjects([]byte(`{"items":[
		{"metadata":{"namespace":"dns","name":"bind9","generation":2},"status":{"observedGeneration":2,"replicas":1,"updatedReplicas":1,"availableReplicas":1}},
		{"metadata":{"namespace":"acme","name":"rolling","generation":2},"status":{"observedGeneration":2,"replicas":2,"updatedReplicas":1,"availableReplicas":1}},
		{"metadata":{"namespace":"acme","name":"old","generation":3},"status":{"observedGeneration":2,"replicas":1,"updatedReplicas":1,"availableReplicas":1}},
		{"metadata":{"name":"pebble-dns01","generation":1},"status":{"conditions":[{"type":"Ready","status":"True"}]}},
		{"metadata":{"name":"pebble-http01","generation":1},"status":{"conditions":[{"type":"Ready","status":"False"}]}}]}`))
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]bool{"dns/bind9": true, "acme/rolling": false, "acme/old": false, "/pebble-dns01": true, "/pebble-http01": false, "dns/none": false} {
		if ready[name] != want {
			t.Errorf("%s: ready is %t", name, ready[name])
		}
	}
}
