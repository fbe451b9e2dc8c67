package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"
)

// api asks the API server as its administrator.
type api struct {
	server string
	client *http.Client
}

func newAPI(l layout) (api, error) {
	certificate, err := tls.LoadX509KeyPair(l.pki("admin.crt"), l.pki("admin.key"))
	if err != nil {
		return api{}, err
	}
	authority, err := os.ReadFile(l.pki("ca.crt"))
	if err != nil {
		return api{}, err
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(authority)
	return api{server: l.server(), client: &http.Client{
		Timeout: 5 * time.Second,
		Transport: &http.Transport{
			Proxy:           nil, // the server is on this machine
			TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS13, RootCAs: pool, Certificates: []tls.Certificate{certificate}},
		},
	}}, nil
}

// get reads a path; into may be nil.
func (a api) get(ctx context.Context, path string, into any) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, a.server+path, nil)
	if err != nil {
		return err
	}
	response, err := a.client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return err
	}
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("GET %s: %s: %s", path, response.Status, strings.TrimSpace(string(body)))
	}
	if into == nil {
		return nil
	}
	return json.Unmarshal(body, into)
}

func (a api) ready(ctx context.Context) error { return a.get(ctx, "/readyz", nil) }

type condition struct {
	Type    string `json:"type"`
	Status  string `json:"status"`
	Message string `json:"message"`
}

type conditioned struct {
	Metadata struct {
		Name       string `json:"name"`
		Generation int64  `json:"generation"`
	} `json:"metadata"`
	Status struct {
		Conditions         []condition `json:"conditions"`
		ObservedGeneration int64       `json:"observedGeneration"`
		UpdatedReplicas    int         `json:"updatedReplicas"`
		ReadyReplicas      int         `json:"readyReplicas"`
		Replicas           int         `json:"replicas"`
	} `json:"status"`
}

func (c conditioned) require(kind, name string) error {
	for _, have := range c.Status.Conditions {
		if have.Type == name {
			if have.Status == "True" {
				return nil
			}
			return fmt.Errorf("%s %s is not %s: %s", kind, c.Metadata.Name, name, have.Message)
		}
	}
	return fmt.Errorf("%s %s does not say yet whether it is %s", kind, c.Metadata.Name, name)
}

// nodeReady says why a node cannot be used, or nil. A node whose kubelet died
// stays Ready for a while, so the kubelet is asked as well.
func (a api) nodeReady(ctx context.Context, name string) error {
	var n conditioned
	if err := a.get(ctx, "/api/v1/nodes/"+name, &n); err != nil {
		return err
	}
	if err := n.require("node", "Ready"); err != nil {
		return err
	}
	return a.get(ctx, "/api/v1/nodes/"+name+"/proxy/healthz", nil)
}

func (a api) deploymentReady(ctx context.Context, namespace, name string) error {
	var d conditioned
	if err := a.get(ctx, "/apis/apps/v1/namespaces/"+namespace+"/deployments/"+name, &d); err != nil {
		return err
	}
	s := d.Status
	if s.ObservedGeneration < d.Metadata.Generation || s.UpdatedReplicas != s.Replicas || s.ReadyReplicas < s.Replicas || s.Replicas == 0 {
		return fmt.Errorf("deployment %s has %d of %d pods ready", name, s.ReadyReplicas, s.Replicas)
	}
	return nil
}

func (a api) serviceAPIReady(ctx context.Context, name string) error {
	var s conditioned
	if err := a.get(ctx, "/apis/apiregistration.k8s.io/v1/apiservices/"+name, &s); err != nil {
		return err
	}
	return s.require("APIService", "Available")
}
