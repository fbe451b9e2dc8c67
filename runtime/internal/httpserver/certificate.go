package httpserver

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"os"
	"sync"
	"time"

	"gitee.com/captainjez/gocart/runtime/config"
	"gitee.com/captainjez/gocart/runtime/internal/watch"
	"gitee.com/captainjez/gocart/runtime/status"
)

// Certificate is the store's own, read again in place whenever its files
// change. A pair that cannot be used leaves the one before in service.
type Certificate struct {
	certFile, keyFile string
	log               *slog.Logger

	mu      sync.RWMutex
	current *tls.Certificate
	read    [2]string // what the files held
	err     error
}

// NewCertificate reads the files; without a usable pair it still returns, and
// waits for one.
func NewCertificate(t config.TLS, log *slog.Logger) *Certificate {
	c := &Certificate{certFile: t.CertFile, keyFile: t.KeyFile, log: log}
	c.load()
	return c
}

// load is a no-op while the files hold what they held.
func (c *Certificate) load() {
	certPEM, certErr := os.ReadFile(c.certFile)
	keyPEM, keyErr := os.ReadFile(c.keyFile)
	read := [2]string{string(certPEM), string(keyPEM)}
	err := errors.Join(certErr, keyErr)

	c.mu.Lock()
	defer c.mu.Unlock()
	if err == nil && c.current != nil && c.err == nil && read == c.read {
		return
	}
	var pair tls.Certificate
	if err == nil {
		pair, err = tls.X509KeyPair(certPEM, keyPEM)
	}
	if err != nil {
		if c.err == nil || c.err.Error() != err.Error() {
			c.log.Error("certificate cannot be used", "error", err, "servingEarlierOne", c.current != nil)
		}
		c.err = err
		return
	}
	c.current, c.read, c.err = &pair, read, nil
	c.log.Info("certificate loaded", "serial", pair.Leaf.SerialNumber.Text(16), "notAfter", pair.Leaf.NotAfter.UTC())
}

// Watch reads the files again when they change, until ctx ends.
func (c *Certificate) Watch(ctx context.Context) {
	watch.Files(ctx, c.log, c.load, c.certFile, c.keyFile)
}

// get is for tls.Config.GetCertificate.
func (c *Certificate) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	if c.current == nil {
		return nil, errors.New("no certificate is loaded")
	}
	return c.current, nil
}

// Status tells which certificate is served. A nil *Certificate has none.
func (c *Certificate) Status() *status.Certificate {
	if c == nil {
		return nil
	}
	c.mu.RLock()
	defer c.mu.RUnlock()
	s := &status.Certificate{}
	if c.current != nil {
		s.NotAfter = c.current.Leaf.NotAfter.UTC().Format(time.RFC3339)
		s.Serial = c.current.Leaf.SerialNumber.Text(16)
	}
	if c.err != nil {
		s.Error = c.err.Error()
	}
	return s
}

// Ready reports an error while there is no certificate to serve.
func (c *Certificate) Ready(context.Context) error {
	if c == nil {
		return nil
	}
	_, err := c.get(nil)
	return err
}
