//go:build e2e

// Package e2e meets GoCart as its users do: on a real cluster, through kubectl's
// API and HTTPS. It needs the operator installed (make install), KUBECONFIG,
// and ACME_CA, the PEM certificates that issued certificates chain to. Each
// test has a namespace of its own, held to Pod Security's restricted profile.
package e2e

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	certmanagerv1 "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1alpha1 "gitee.com/captainjez/gocart/api/v1alpha1"
)

const (
	// patience is for a store to become what it should on a small machine.
	patience = 5 * time.Minute
	tick     = 250 * time.Millisecond
)

var (
	cluster client.WithWatch
	acmeCAs = x509.NewCertPool()
)

func TestMain(m *testing.M) {
	if err := connect(); err != nil {
		fmt.Fprintln(os.Stderr, "e2e:", err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

func connect() error {
	if !acmeCAs.AppendCertsFromPEM([]byte(os.Getenv("ACME_CA"))) {
		return fmt.Errorf("ACME_CA holds no certificate: run make e2e")
	}
	config, err := ctrl.GetConfig()
	if err != nil {
		return err
	}
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{clientgoscheme.AddToScheme, v1alpha1.AddToScheme, certmanagerv1.AddToScheme} {
		if err := add(scheme); err != nil {
			return err
		}
	}
	config.QPS, config.Burst = 50, 100
	cluster, err = client.NewWithWatch(config, client.Options{Scheme: scheme})
	return err
}

// namespace makes one for the test and removes it afterwards.
func namespace(t *testing.T) string {
	t.Helper()
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{
		GenerateName: "e2e-",
		Labels:       map[string]string{"pod-security.kubernetes.io/enforce": "restricted"},
	}}
	create(t, ns)
	t.Cleanup(func() {
		if t.Failed() {
			explain(t, ns.Name)
		}
		_ = cluster.Delete(context.Background(), ns)
	})
	return ns.Name
}

// explain logs what a person would look at first.
func explain(t *testing.T, ns string) {
	var stores v1alpha1.StoreList
	_ = cluster.List(context.Background(), &stores, client.InNamespace(ns))
	for _, s := range stores.Items {
		for _, c := range s.Status.Conditions {
			t.Logf("Store %s: %s=%s %s: %s", s.Name, c.Type, c.Status, c.Reason, c.Message)
		}
	}
	var schedules v1alpha1.JobScheduleList
	_ = cluster.List(context.Background(), &schedules, client.InNamespace(ns))
	for _, s := range schedules.Items {
		for _, c := range s.Status.Conditions {
			t.Logf("JobSchedule %s: %s=%s %s: %s", s.Name, c.Type, c.Status, c.Reason, c.Message)
		}
	}
	var pods corev1.PodList
	_ = cluster.List(context.Background(), &pods, client.InNamespace(ns))
	for _, p := range pods.Items {
		t.Logf("Pod %s: %s", p.Name, p.Status.Phase)
	}
}

// domain is a host name below the zone that the cluster's name server holds.
func domain(ns, name string) string { return name + "-" + ns + ".shop.test" }

// newStore is the least a store needs; change says what is different.
func newStore(ns, name string, change ...func(*v1alpha1.Store)) *v1alpha1.Store {
	s := &v1alpha1.Store{
		ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: name},
		Spec: v1alpha1.StoreSpec{
			Domains: []string{domain(ns, name)},
			TLS:     v1alpha1.TLSSpec{IssuerRef: &v1alpha1.IssuerReference{Kind: "ClusterIssuer", Name: "pebble-http01"}},
		},
	}
	// Small requests, for many stores at a time share a small machine.
	small := corev1.ResourceRequirements{
		Requests: corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("20m"), corev1.ResourceMemory: resource.MustParse("64Mi")},
		Limits:   corev1.ResourceList{corev1.ResourceMemory: resource.MustParse("512Mi")},
	}
	s.Spec.API.Resources, s.Spec.Worker.Resources = &small, &small
	for _, c := range change {
		c(s)
	}
	return s
}

// byDNS has the domain proven by a TXT record, for which cert-manager waits a minute.
func byDNS(s *v1alpha1.Store) { s.Spec.TLS.IssuerRef.Name = "pebble-dns01" }

func plainHTTP(s *v1alpha1.Store) {
	s.Spec.TLS = v1alpha1.TLSSpec{Disabled: ptr(true)}
}

func ptr[T any](v T) *T { return &v }

func create(t *testing.T, o client.Object) {
	t.Helper()
	if err := cluster.Create(t.Context(), o); err != nil {
		t.Fatalf("creating %T %s: %v", o, o.GetName(), err)
	}
}

// read reads an object anew.
func read[T client.Object](t *testing.T, ns, name string, o T) T {
	t.Helper()
	if err := cluster.Get(t.Context(), types.NamespacedName{Namespace: ns, Name: name}, o); err != nil {
		t.Fatalf("reading %T %s: %v", o, name, err)
	}
	return o
}

// patchStore changes a Store as kubectl edit would.
func patchStore(t *testing.T, ns, name string, change func(*v1alpha1.Store)) {
	t.Helper()
	s := read(t, ns, name, &v1alpha1.Store{})
	before := s.DeepCopy()
	change(s)
	if err := cluster.Patch(t.Context(), s, client.MergeFrom(before)); err != nil {
		t.Fatalf("changing Store %s: %v", name, err)
	}
}

// eventually waits until check returns nil, and fails with its last error.
func eventually(t *testing.T, within time.Duration, what string, check func() error) {
	t.Helper()
	deadline := time.NewTimer(within)
	defer deadline.Stop()
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	for {
		err := check()
		if err == nil {
			return
		}
		select {
		case <-deadline.C:
			t.Fatalf("%s: not within %s: %v", what, within, err)
		case <-t.Context().Done():
			t.Fatalf("%s: %v", what, err)
		case <-ticker.C:
		}
	}
}

// ready waits until the Store is Ready for the generation it has now.
func ready(t *testing.T, ns, name string) *v1alpha1.Store {
	t.Helper()
	return condition(t, ns, name, v1alpha1.ReadyCondition, func(c metav1.Condition) bool { return c.Status == metav1.ConditionTrue })
}

func condition(t *testing.T, ns, name, kind string, want func(metav1.Condition) bool) *v1alpha1.Store {
	t.Helper()
	s := &v1alpha1.Store{}
	eventually(t, patience, "condition "+kind+" of Store "+name, func() error {
		s = read(t, ns, name, &v1alpha1.Store{})
		c := meta.FindStatusCondition(s.Status.Conditions, kind)
		switch {
		case c == nil:
			return fmt.Errorf("there is none")
		case c.ObservedGeneration != s.Generation:
			return fmt.Errorf("it speaks of generation %d, not %d", c.ObservedGeneration, s.Generation)
		case !want(*c):
			return fmt.Errorf("%s %s: %s", c.Status, c.Reason, c.Message)
		}
		return nil
	})
	return s
}

// shopper talks to a store through its Service, as its domain.
type shopper struct {
	t        *testing.T
	ns, name string
	client   *http.Client
	base     string
}

// shop returns a client that trusts the ACME CA alone and reaches the store's
// Service by its cluster address whatever the name server says.
func shop(t *testing.T, ns, name string) *shopper {
	t.Helper()
	s := read(t, ns, name, &v1alpha1.Store{})
	port := "443"
	scheme := "https"
	if s.Spec.TLS.Disabled != nil && *s.Spec.TLS.Disabled {
		port, scheme = "80", "http"
	}
	transport := &http.Transport{
		DialContext:       dialService(t, ns, name, port),
		TLSClientConfig:   &tls.Config{RootCAs: acmeCAs, MinVersion: tls.VersionTLS12},
		ForceAttemptHTTP2: true,
		// A pod that is gone says no farewell.
		HTTP2: &http.HTTP2Config{SendPingTimeout: 2 * time.Second, PingTimeout: 2 * time.Second},
	}
	t.Cleanup(transport.CloseIdleConnections)
	return &shopper{t: t, ns: ns, name: name, base: scheme + "://" + s.Spec.Domains[0], client: &http.Client{
		Transport:     transport,
		Timeout:       10 * time.Second,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

func dialService(t *testing.T, ns, name, port string) func(context.Context, string, string) (net.Conn, error) {
	service := read(t, ns, name+"-api", &corev1.Service{})
	address := net.JoinHostPort(service.Spec.ClusterIP, port)
	return func(ctx context.Context, network, _ string) (net.Conn, error) {
		return (&net.Dialer{Timeout: 5 * time.Second}).DialContext(ctx, network, address)
	}
}

func (s *shopper) do(method, path string, header http.Header, body []byte) (*http.Response, []byte, error) {
	req, err := http.NewRequestWithContext(s.t.Context(), method, s.base+path, bytes.NewReader(body))
	if err != nil {
		return nil, nil, err
	}
	for k, v := range header {
		req.Header[k] = v
	}
	resp, err := s.client.Do(req)
	if err != nil {
		return nil, nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	raw, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	return resp, raw, err
}

func (s *shopper) get(path string) (*http.Response, []byte, error) {
	return s.do(http.MethodGet, path, nil, nil)
}

// adminKey is the first API key, which the operator generated.
func (s *shopper) adminKey() string {
	return string(read(s.t, s.ns, s.name+"-credentials", &corev1.Secret{}).Data["adminKey"])
}

// addProduct creates one, repeatable under its slug, and returns the answer's code.
func (s *shopper) addProduct(key, slug string) (int, error) {
	body, err := json.Marshal(map[string]any{
		"title": "Product " + slug, "slug": slug, "type": "simple", "status": "active",
		"variants": []any{map[string]any{"sku": strings.ToUpper(slug), "prices": []any{map[string]string{"amount": "9.90", "currency": "EUR"}}}},
	})
	if err != nil {
		return 0, err
	}
	resp, _, err := s.do(http.MethodPost, "/api/v1/products", http.Header{
		"Authorization":   {"Bearer " + key},
		"Content-Type":    {"application/json"},
		"Idempotency-Key": {slug},
	}, body)
	if err != nil {
		return 0, err
	}
	return resp.StatusCode, nil
}

func (s *shopper) has(slug string) error {
	resp, _, err := s.get("/api/v1/products/" + slug)
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("GET %s answered %s", slug, resp.Status)
	}
	return nil
}

// answers waits until the store's health endpoint answers 200.
func (s *shopper) answers() {
	s.t.Helper()
	eventually(s.t, time.Minute, "the store answers", func() error {
		resp, _, err := s.get("/api/health")
		if err != nil {
			return err
		}
		if resp.StatusCode != http.StatusOK {
			return fmt.Errorf("it answered %s", resp.Status)
		}
		return nil
	})
}
