// Package testbed gives tests a real PostgreSQL and a real Redis: one of each
// for a package's run, from the machine's own binaries, and in it a database
// or a key prefix for each test. A program that is missing is a failure that
// names its package, not a skip.
//
//	func TestMain(m *testing.M) { testbed.Main(m) }
package testbed

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"gitee.com/captainjez/gocart/runtime/config"
	"gitee.com/captainjez/gocart/runtime/internal/db"
	"gitee.com/captainjez/gocart/runtime/internal/pgserver"
)

// DatabaseURLVariable names an own server to use, as a superuser's URI.
const DatabaseURLVariable = "GOCART_TEST_DATABASE_URL"

// FastSettings trade a test server's safety for speed.
var FastSettings = []string{"fsync=off", "synchronous_commit=off", "full_page_writes=off", "max_connections=200", "shared_buffers=32MB"}

var (
	cleanups  []func()
	databases atomic.Int64
	template  = fmt.Sprintf("gocart_test_%d", os.Getpid())
)

// Main runs a package's tests and stops the servers that they started.
func Main(m *testing.M) {
	code := m.Run()
	for _, clean := range cleanups {
		clean()
	}
	os.Exit(code)
}

// server starts PostgreSQL and makes a migrated template, once.
var server = sync.OnceValues(func() (urlFor func(database string) string, err error) {
	ctx := context.Background()
	if own := os.Getenv(DatabaseURLVariable); own != "" {
		u, err := url.Parse(own)
		if err != nil {
			return nil, fmt.Errorf("%s is not a URL", DatabaseURLVariable)
		}
		urlFor = func(database string) string {
			named := *u
			named.Path = "/" + database
			return named.String()
		}
	} else {
		dir, err := os.MkdirTemp("", "gocart-pg-")
		if err != nil {
			return nil, err
		}
		cleanups = append(cleanups, func() { _ = os.RemoveAll(dir) })
		pg, err := pgserver.Start(ctx, pgserver.Options{Dir: dir, Settings: FastSettings})
		if err != nil {
			return nil, err
		}
		cleanups = append([]func(){pg.Kill}, cleanups...)
		urlFor = pg.URL
	}
	if err := pgserver.CreateDatabase(ctx, urlFor("postgres"), template, ""); err != nil {
		return nil, err
	}
	uriFile := filepath.Join(os.TempDir(), template)
	if err := os.WriteFile(uriFile, []byte(urlFor(template)), 0o600); err != nil {
		return nil, err
	}
	defer func() { _ = os.Remove(uriFile) }()
	_, err = db.Migrate(ctx, config.Database{URIFile: uriFile}, 0, slog.New(slog.DiscardHandler))
	return urlFor, err
})

// EmptyDatabase is a fresh database without a schema, by its URI.
func EmptyDatabase(t testing.TB) string { return database(t, "") }

// Database is a fresh migrated database for a test, by its URI.
func Database(t testing.TB) string { return database(t, template) }

func database(t testing.TB, template string) string {
	t.Helper()
	urlFor, err := server()
	if err != nil {
		t.Fatal(err)
	}
	name := fmt.Sprintf("t_%d_%d", os.Getpid(), databases.Add(1))
	if err := pgserver.CreateDatabase(t.Context(), urlFor("postgres"), name, template); err != nil {
		t.Fatal(err)
	}
	return urlFor(name)
}

// Pools are connections to a fresh migrated database.
func Pools(t testing.TB) *db.Pools {
	t.Helper()
	pools, err := db.Open(DatabaseConfig(t, Database(t)), "test")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pools.Close)
	return pools
}

// DatabaseConfig is a configuration of the database that uri names.
func DatabaseConfig(t testing.TB, uri string) config.Database {
	t.Helper()
	return config.Database{URIFile: File(t, uri), MaxConnections: 8}
}

// File writes a file of the test's own and returns its path.
func File(t testing.TB, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// RedisServer is a Redis of a test's own, which it may kill.
type RedisServer struct {
	// Addr is host:port; it stays the same after Start.
	Addr string
	args []string
	cmd  *exec.Cmd
}

// Redis starts a server for the test, with further settings of redis.conf as
// arguments, such as "--requirepass", "secret".
func Redis(t testing.TB, args ...string) *RedisServer {
	t.Helper()
	port := freePort(t)
	s := &RedisServer{Addr: "127.0.0.1:" + port, args: append([]string{"--port", port, "--bind", "127.0.0.1",
		"--save", "", "--appendonly", "no", "--dir", t.TempDir()}, args...)}
	s.Start(t)
	t.Cleanup(s.Kill)
	return s
}

// Start starts a server that was killed, empty, and waits until it answers.
func (s *RedisServer) Start(t testing.TB) {
	t.Helper()
	s.cmd = exec.Command("redis-server", s.args...)
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := s.cmd.Start(); err != nil {
		t.Fatalf("%v: install Debian's package redis-server (apt-get install redis-server)", err)
	}
	Eventually(t, "redis-server takes connections", func() bool {
		conn, err := net.Dial("tcp", s.Addr)
		if err == nil {
			_ = conn.Close()
		}
		return err == nil
	})
}

// Kill ends the server at once.
func (s *RedisServer) Kill() {
	if s.cmd != nil {
		_ = s.cmd.Process.Kill()
		_ = s.cmd.Wait()
		s.cmd = nil
	}
}

// BlackHole is the address of a server that accepts and never answers.
func BlackHole(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() { _, _ = io.Copy(io.Discard, conn) }()
		}
	}()
	return l.Addr().String()
}

// Eventually looks until ok, and fails the test when that takes 30 s.
func Eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	Within(t, 30*time.Second, what, ok)
}

// Within looks until ok, and fails the test when that takes longer than most.
func Within(t testing.TB, most time.Duration, what string, ok func() bool) {
	t.Helper()
	deadline, tick := time.After(most), time.NewTicker(10*time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-deadline:
			t.Fatalf("waited %s: %s", most, what)
		case <-tick.C:
		}
	}
}

// Log collects what is logged, so that a test can look for what must not be.
type Log struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

// Write is for a slog handler.
func (l *Log) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(b)
}

// String is everything so far.
func (l *Log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

// Logger writes everything into l.
func (l *Log) Logger() *slog.Logger {
	return slog.New(slog.NewJSONHandler(l, &slog.HandlerOptions{Level: slog.LevelDebug}))
}
