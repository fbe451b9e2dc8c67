package httpserver

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"time"

	"golang.org/x/sync/errgroup"

	"gitee.com/captainjez/gocart/runtime/config"
	"gitee.com/captainjez/gocart/runtime/internal/secure"
	"gitee.com/captainjez/gocart/runtime/internal/websocket"
)

const (
	maxHeader     = 32 << 10
	headerTimeout = 5 * time.Second
	readTimeout   = 30 * time.Second
	writeTimeout  = 30 * time.Second
	idleTimeout   = 90 * time.Second
	// maxStreams bounds one HTTP/2 connection's requests at once.
	maxStreams = 250
)

// Server is a set of listeners that start and stop together.
type Server struct {
	log *slog.Logger
	// lameDuck is how long new connections are still taken after readiness
	// failed, until the cluster has heard of it; drain bounds it and the wait
	// for requests in flight.
	lameDuck, drain time.Duration
	internal        *Internal
	drainOthers     func(within time.Duration)
	servers         []*http.Server
	listeners       []net.Listener
}

// Public is what the public listeners serve, and by what settings.
type Public struct {
	Engine      http.Handler
	Settings    func() *secure.Settings
	Certificate *Certificate
	// Drain sends those elsewhere whose connections the servers do not know,
	// within a time; nil where there are none.
	Drain func(within time.Duration)
}

// Listen opens the listeners that the configuration names: the internal one,
// and the public ones where there is something to serve. On error none is left
// open.
func Listen(c config.Config, public *Public, internal *Internal, log *slog.Logger) (*Server, error) {
	drain := time.Duration(c.Server.DrainTimeout)
	s := &Server{log: log, drain: drain, lameDuck: drain / 4, internal: internal}
	err := s.add("internal", c.Server.Internal.Address, &http.Server{Handler: internal.Handler(), ReadHeaderTimeout: headerTimeout}, nil)
	if err == nil && public != nil {
		s.drainOthers = public.Drain
		err = s.addPublic(c, *public)
	}
	if err != nil {
		for _, l := range s.listeners {
			_ = l.Close()
		}
		return nil, err
	}
	return s, nil
}

func (s *Server) addPublic(c config.Config, p Public) error {
	t := c.Server.Public.TLS
	if t == nil {
		return s.add("http", c.Server.Public.Address, public(p.Engine), nil)
	}
	canonical, err := url.Parse(c.Store.URL)
	if err != nil || canonical.Host == "" {
		return fmt.Errorf("store.url: %q is not a URL with a host", c.Store.URL)
	}
	tlsConfig := &tls.Config{
		MinVersion:     tls.VersionTLS13,
		GetCertificate: p.Certificate.get,
		NextProtos:     []string{"h2", "http/1.1"},
	}
	if t.MinVersion == "1.2" {
		tlsConfig.MinVersion = tls.VersionTLS12
	}
	return errors.Join(
		s.add("https", t.Address, public(p.Engine), tlsConfig),
		s.add("redirect", c.Server.Public.Address, public(secure.RedirectToHTTPS(canonical, c.Store.Domains, p.Settings, p.Engine)), nil),
	)
}

func public(h http.Handler) *http.Server {
	return &http.Server{
		Handler: endedInDoubt(h), MaxHeaderBytes: maxHeader,
		ReadHeaderTimeout: headerTimeout, ReadTimeout: readTimeout, WriteTimeout: writeTimeout, IdleTimeout: idleTimeout,
		HTTP2: &http.HTTP2Config{MaxConcurrentStreams: maxStreams},
	}
}

// endedInDoubt closes the connection after a request of which somebody on the
// way may see the end elsewhere, so that what follows is nobody's next one: one
// in chunks, beside which net/http drops a Content-Length without a word, and
// any of HTTP/1.0, which knows no chunks (RFC 9112, 6.1).
func endedInDoubt(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !r.ProtoAtLeast(1, 1) || len(r.TransferEncoding) > 0 {
			w.Header().Set("Connection", "close")
		}
		h.ServeHTTP(w, r)
	})
}

func (s *Server) add(name, address string, server *http.Server, tlsConfig *tls.Config) error {
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return fmt.Errorf("%s port: %w", name, err)
	}
	if name != "internal" {
		listener = websocket.Listen(listener)
	}
	s.log.Info("listening", "port", name, "address", listener.Addr().String())
	if tlsConfig != nil {
		listener = tls.NewListener(listener, tlsConfig)
		server.TLSConfig = tlsConfig
	}
	// The library's own words are about callers that break off: for debugging.
	server.ErrorLog = slog.NewLogLogger(s.log.With("port", name).Handler(), slog.LevelDebug)
	s.servers, s.listeners = append(s.servers, server), append(s.listeners, listener)
	return nil
}

// Addrs are the listeners' addresses: internal, then HTTPS where there is TLS,
// then plain HTTP.
func (s *Server) Addrs() []net.Addr {
	var addrs []net.Addr
	for _, l := range s.listeners {
		addrs = append(addrs, l.Addr())
	}
	return addrs
}

// Run serves until ctx ends, then drains: readiness fails at once, new
// connections are taken a little longer, requests in flight are finished; the
// internal port goes last. It returns an error only when a listener breaks.
func (s *Server) Run(ctx context.Context) error {
	group, groupCtx := errgroup.WithContext(ctx)
	for i, server := range s.servers {
		group.Go(func() error {
			if err := server.Serve(s.listeners[i]); !errors.Is(err, http.ErrServerClosed) {
				return err
			}
			return nil
		})
	}
	group.Go(func() error {
		<-groupCtx.Done()
		s.stop(ctx)
		return nil
	})
	return group.Wait()
}

func (s *Server) stop(ctx context.Context) {
	s.internal.Stop()
	public := s.servers[1:]
	s.log.Info("stopping", "drainTimeout", s.drain.String())
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.drain)
	defer cancel()
	if len(public) > 0 {
		for _, server := range public {
			server.SetKeepAlivesEnabled(false) // callers move on after their next answer
		}
		if s.drainOthers != nil {
			go s.drainOthers(s.lameDuck)
		}
		select {
		case <-time.After(s.lameDuck):
		case <-ctx.Done():
		}
	}
	var group errgroup.Group
	for _, server := range public {
		group.Go(func() error { return server.Shutdown(ctx) })
	}
	if err := group.Wait(); err != nil {
		s.log.Warn("requests were cut", "error", err)
	}
	for _, server := range s.servers {
		_ = server.Close()
	}
}
