package main

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"gitee.com/captainjez/gocart/runtime/config"
	"gitee.com/captainjez/gocart/runtime/internal/db"
	"gitee.com/captainjez/gocart/runtime/internal/pgserver"
	"gitee.com/captainjez/gocart/runtime/internal/redisserver"
)

// bench is what all is measured with.
type bench struct {
	dir, program string
	postgres     *pgserver.Server
	redis        *redisserver.Server
	each         time.Duration
	callers      int
}

// store is one that is loaded.
type store struct {
	*bench
	url      string
	products int
	config   config.Config
	stock    shelf
}

// store makes a database of that name with so many products.
func (b *bench) store(ctx context.Context, name string, products int) (*store, error) {
	if err := b.postgres.CreateDatabase(ctx, name, ""); err != nil {
		return nil, err
	}
	s := &store{bench: b, url: b.postgres.URL(name), products: products}
	c := config.Default()
	c.Store = config.Store{Name: name, Namespace: "bench", URL: "http://bench.example", Mode: config.ModeDevelopment, Locale: c.Store.Locale}
	c.Payments.Test = true
	c.Log.Level = "error"
	c.Database.MaxConnections = 20
	for path, content := range map[*string]string{
		&c.Database.URIFile: s.url, &c.Auth.AdminKeyFile: adminKey, &c.Auth.TokenKeyFile: strings.Repeat("k", 40),
		&c.EdgeFile: "limits: {address: [], apiKey: []}", // one address asks for everything
	} {
		*path = filepath.Join(b.dir, fmt.Sprintf("secret-%d", rand.Uint64())) //nolint:gosec // a file's name
		if err := os.WriteFile(*path, []byte(content), 0o600); err != nil {
			return nil, err
		}
	}
	s.config = c
	if _, err := db.Migrate(ctx, c.Database, 10*time.Second, slog.New(slog.DiscardHandler)); err != nil {
		return nil, err
	}
	var err error
	s.stock, err = load(ctx, s.url, c, products)
	return s, err
}

// server is gocart in a process of its own.
type server struct {
	*store
	addr, internal string
	process        *exec.Cmd
}

// serve starts one, with a Redis in which, and before which, answers are kept
// or without.
func (s *store) serve(ctx context.Context, cached bool) (*server, error) {
	c := s.config
	if cached {
		file, err := s.redis.URLFile()
		if err != nil {
			return nil, err
		}
		c.Redis = &config.Redis{URLFile: file}
	}
	for _, addr := range []*string{&c.Server.Public.Address, &c.Server.Internal.Address} {
		var err error
		if *addr, err = freeAddress(); err != nil {
			return nil, err
		}
	}
	text, err := c.Marshal()
	if err != nil {
		return nil, err
	}
	file := filepath.Join(s.dir, fmt.Sprintf("%s-%t.yaml", c.Store.Name, cached))
	if err := os.WriteFile(file, text, 0o600); err != nil {
		return nil, err
	}
	process := exec.Command(s.program, "api", "--config", file)
	process.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := process.Start(); err != nil {
		return nil, err
	}
	return &server{store: s, addr: c.Server.Public.Address, internal: c.Server.Internal.Address, process: process}, await(ctx, c.Server.Public.Address)
}

func (s *server) stop() {
	_ = s.process.Process.Kill()
	_ = s.process.Wait()
}
