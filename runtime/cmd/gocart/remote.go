package main

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
	"time"

	"github.com/spf13/cobra"
)

// remote is a store that is reached as anybody reaches it.
type remote struct{ url, keyFile, caFile, resolve string }

// flags are those by which a store is named; example is a URL.
func (r *remote) flags(cmd *cobra.Command, what, example string) {
	f := cmd.Flags()
	f.StringVar(&r.url, "url", "", fmt.Sprintf("`URL` of the store%s, such as %s", what, example))
	f.StringVar(&r.keyFile, "key-file", "", "`FILE` with an API key or an access token")
	f.StringVar(&r.caFile, "ca-file", "", "`FILE` with the certificates (PEM) to trust in place of the system's")
	f.StringVar(&r.resolve, "resolve", "", "connect to another address: `HOST:PORT:ADDRESS`, as curl's")
	if err := cmd.MarkFlagRequired("url"); err != nil {
		panic(err)
	}
}

// client is how the store is reached, and with which header fields.
func (r *remote) client() (*http.Client, http.Header, error) {
	header := http.Header{}
	if r.keyFile != "" {
		key, err := os.ReadFile(r.keyFile)
		if err != nil {
			return nil, nil, err
		}
		header.Set("Authorization", "Bearer "+strings.TrimSpace(string(key)))
	}
	transport := &http.Transport{TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12}}
	if r.caFile != "" {
		pem, err := os.ReadFile(r.caFile)
		if err != nil {
			return nil, nil, err
		}
		transport.TLSClientConfig.RootCAs = x509.NewCertPool()
		if !transport.TLSClientConfig.RootCAs.AppendCertsFromPEM(pem) {
			return nil, nil, fmt.Errorf("%s has no certificate", r.caFile)
		}
	}
	if r.resolve != "" {
		parts := strings.SplitN(r.resolve, ":", 3)
		if len(parts) != 3 {
			return nil, nil, fmt.Errorf("--resolve %s is not HOST:PORT:ADDRESS", r.resolve)
		}
		transport.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
			if address == net.JoinHostPort(parts[0], parts[1]) {
				address = net.JoinHostPort(strings.Trim(parts[2], "[]"), parts[1])
			}
			return (&net.Dialer{}).DialContext(ctx, network, address)
		}
	}
	return &http.Client{Transport: transport}, header, nil
}

// answered is what a store refuses a request with.
type answered struct {
	status       int
	code, detail string
}

func (a *answered) Error() string {
	return fmt.Sprintf("the store answers %d %s: %s", a.status, http.StatusText(a.status), a.detail)
}

// askTimeout is for how long an answer is waited for.
const askTimeout = time.Minute

// ask sends a request below /api/v1, and returns the answer's body and where its
// Link leads, below /api/v1. What the store refuses is an *answered.
func (r *remote) ask(ctx context.Context, method, path string, body []byte, headers ...string) (text []byte, next string, err error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	client, header, err := r.client()
	if err != nil {
		return nil, "", err
	}
	defer client.CloseIdleConnections()
	q, err := http.NewRequestWithContext(ctx, method, strings.TrimRight(r.url, "/")+"/api/v1"+path, bytes.NewReader(body))
	if err != nil {
		return nil, "", err
	}
	q.Header = header
	for i := 0; i < len(headers); i += 2 {
		q.Header.Set(headers[i], headers[i+1])
	}
	resp, err := client.Do(q)
	if err != nil {
		return nil, "", err
	}
	defer func() { _ = resp.Body.Close() }()
	if text, err = io.ReadAll(resp.Body); err != nil {
		return nil, "", err
	}
	if resp.StatusCode < http.StatusBadRequest {
		next, _, _ = strings.Cut(strings.TrimPrefix(resp.Header.Get("Link"), "</api/v1"), ">")
		return text, next, nil
	}
	var p struct {
		Code, Detail string
		Errors       []struct{ Pointer, Detail string }
	}
	_ = json.Unmarshal(text, &p) // what is no problem says nothing more
	for _, e := range p.Errors {
		p.Detail += fmt.Sprintf(" %s %s;", e.Pointer, e.Detail)
	}
	return nil, "", &answered{resp.StatusCode, p.Code, strings.TrimRight(p.Detail, ";")}
}
