package webhook

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"strconv"
	"strings"
	"time"

	"gitee.com/captainjez/gocart/runtime/internal/webhook/webhookdb"
	"gitee.com/captainjez/gocart/runtime/version"
)

const (
	// patience is how long an endpoint may take, from looking up its name to the
	// end of its answer.
	patience = 10 * time.Second
	// keptAnswer is how much of an answer is kept, readAnswer is read so that the
	// connection can be used again.
	keptAnswer = 4 << 10
	readAnswer = 64 << 10
)

// attempt is what was sent and what came back.
type attempt struct {
	at            time.Time
	headers       http.Header
	remoteAddress string
	took          time.Duration
	status        int
	answer        string
	// err says why it is no success, nil for one.
	err error
}

// sender sends deliveries, by connections that it makes to allowed addresses
// only, whatever the environment says of proxies.
type sender struct {
	guard     *guard
	client    *http.Client
	transport *http.Transport
}

// newSender resolves names by r, nil for the machine's own resolver.
func newSender(g *guard, r *net.Resolver) *sender {
	dialer := &net.Dialer{Timeout: 5 * time.Second, Control: g.control, Resolver: r}
	transport := &http.Transport{
		DialContext: dialer.DialContext, ForceAttemptHTTP2: true, TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12},
		TLSHandshakeTimeout: 5 * time.Second, MaxIdleConnsPerHost: 2 * claimed, MaxIdleConns: 256, IdleConnTimeout: 30 * time.Second,
		MaxResponseHeaderBytes: 32 << 10, DisableCompression: true,
	}
	return &sender{guard: g, transport: transport, client: &http.Client{
		Transport:     transport,
		Timeout:       patience,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

func (s *sender) close() { s.transport.CloseIdleConnections() }

// send makes one attempt.
func (s *sender) send(ctx context.Context, d webhookdb.ClaimRow, now func() time.Time) attempt {
	a := attempt{at: now()}
	start := time.Now()
	a.err = s.exchange(ctx, d, &a)
	a.took = time.Since(start)
	return a
}

func (s *sender) exchange(ctx context.Context, d webhookdb.ClaimRow, a *attempt) error {
	signature, err := sign(d.Secrets, d.MessageID.String(), a.at, []byte(d.Body))
	if err != nil {
		return err
	}
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotConn: func(c httptrace.GotConnInfo) { a.remoteAddress = c.Conn.RemoteAddr().String() }})
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, d.Url, bytes.NewReader([]byte(d.Body)))
	if err != nil {
		return fmt.Errorf("the URL is none: %w", err)
	}
	if err := s.guard.checkScheme(r.URL); err != nil {
		return err
	}
	r.Header = http.Header{
		"Content-Type": {"application/json"}, "User-Agent": {"GoCart-Webhooks/" + version.Version},
		headerID: {d.MessageID.String()}, headerTimestamp: {strconv.FormatInt(a.at.Unix(), 10)}, headerSignature: {signature},
	}
	a.headers = r.Header
	response, err := s.client.Do(r)
	if err != nil {
		return reason(err)
	}
	defer func() { _ = response.Body.Close() }()
	a.status = response.StatusCode
	kept, err := io.ReadAll(io.LimitReader(response.Body, keptAnswer))
	a.answer = storable(string(kept))
	if err == nil {
		_, err = io.CopyN(io.Discard, response.Body, readAnswer)
	}
	switch {
	case a.status < 200 || a.status > 299:
		return fmt.Errorf("it answered %d, which is no success", a.status)
	case err != nil && !errors.Is(err, io.EOF):
		return reason(err)
	}
	return nil
}

// storable is text as PostgreSQL takes it.
func storable(s string) string {
	return strings.ReplaceAll(strings.ToValidUTF8(s, "\uFFFD"), "\x00", "\uFFFD")
}

// reason says for people why nothing came back.
func reason(err error) error {
	if t, ok := errors.AsType[net.Error](err); ok && t.Timeout() {
		return fmt.Errorf("no whole answer came within %s: %w", patience, err)
	}
	return err
}
