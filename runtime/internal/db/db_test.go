package db_test

import (
	"context"
	"crypto/sha256"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"gitee.com/captainjez/gocart/runtime/config"
	"gitee.com/captainjez/gocart/runtime/internal/db"
	"gitee.com/captainjez/gocart/runtime/internal/pgserver"
	"gitee.com/captainjez/gocart/runtime/internal/testbed"
)

func TestMain(m *testing.M) { testbed.Main(m) }

var quiet = slog.New(slog.DiscardHandler)

func TestMigrationsThatRunAtOnceAllSucceed(t *testing.T) {
	t.Parallel()
	c := testbed.DatabaseConfig(t, testbed.EmptyDatabase(t))
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			h, err := db.Migrate(context.Background(), c, time.Second, quiet)
			if err != nil || h.SchemaVersion != db.LatestSchema() || h.ServerVersion == "" {
				t.Errorf("got %+v, %v", h, err)
			}
		})
	}
	wg.Wait()
}

// TestAMigrationStaysAsItWasWritten: a database that has one never gets it again.
func TestAMigrationStaysAsItWasWritten(t *testing.T) {
	t.Parallel()
	sums, err := os.ReadFile("migrations/SHA256SUMS")
	if err != nil {
		t.Fatal(err)
	}
	written := map[string]string{}
	for line := range strings.Lines(string(sums)) {
		if sum, name, ok := strings.Cut(strings.TrimSpace(line), "  "); ok {
			written[name] = sum
		}
	}
	names, err := filepath.Glob("migrations/*.sql")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		base, sum := filepath.Base(name), fmt.Sprintf("%x", sha256.Sum256(text))
		switch written[base] {
		case sum:
		case "":
			t.Errorf("%s is new; when it is done, add to migrations/SHA256SUMS:\n%s  %s", base, sum, base)
		default:
			t.Errorf("%s was changed, and databases that have it stay as they are; write another migration instead", base)
		}
		delete(written, base)
	}
	for name := range written {
		t.Errorf("%s is gone, and databases have it", name)
	}
}

func TestADatabaseIsReadyOnceItsSchemaIs(t *testing.T) {
	t.Parallel()
	c := testbed.DatabaseConfig(t, testbed.EmptyDatabase(t))
	pools, err := db.Open(c, "test")
	if err != nil {
		t.Fatal(err)
	}
	defer pools.Close()
	if err := pools.Ready(t.Context()); err == nil || !strings.Contains(err.Error(), "gocart migrate") {
		t.Fatalf("before: %v", err)
	}
	if _, err := db.Migrate(t.Context(), c, time.Second, quiet); err != nil {
		t.Fatal(err)
	}
	if err := pools.Ready(t.Context()); err != nil {
		t.Fatalf("after: %v", err)
	}
}

func TestABusyPoolIsStillReady(t *testing.T) {
	t.Parallel()
	pools := testbed.Pools(t)
	for range pools.Main.Config().MaxConns {
		conn, err := pools.Main.Acquire(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Release()
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	if err := pools.Ready(ctx); err != nil {
		t.Fatal(err)
	}
}

func TestATransactionThatFailsLeavesNothing(t *testing.T) {
	t.Parallel()
	pools := testbed.Pools(t)
	err := db.WithTx(t.Context(), pools.Main, func(tx pgx.Tx) error {
		_, err := tx.Exec(t.Context(), `INSERT INTO idempotency_keys (scope, key, request_hash) VALUES ('s', 'k', '')`)
		if err != nil {
			return err
		}
		_, err = tx.Exec(t.Context(), `SELECT 1/0`)
		return err
	})
	var n int
	if scanErr := pools.Main.QueryRow(t.Context(), `SELECT count(*) FROM idempotency_keys`).Scan(&n); err == nil || scanErr != nil || n != 0 {
		t.Fatalf("got %v, %v, %d rows", err, scanErr, n)
	}
}

// TestMistakesHaveAReason makes each mistake with a real server.
func TestMistakesHaveAReason(t *testing.T) {
	t.Parallel()
	const password = "PASSWORDSECRET"
	dir, err := os.MkdirTemp("", "gocart-pg-") // short, and open to PostgreSQL's user
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	server, err := pgserver.Start(t.Context(), pgserver.Options{Dir: dir, Settings: testbed.FastSettings})
	if err != nil {
		t.Fatal(err)
	}
	defer server.Kill()
	prepare(t, server.URL("postgres"), password)
	if err := os.WriteFile(dir+"/data/pg_hba.conf", []byte("local all shop scram-sha-256\nlocal all gocart trust\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	server.Stop()
	if err := server.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = closed.Close()
	as := func(user, password, database string) string {
		return "postgres://" + user + ":" + password + "@/" + database + "?host=" + dir
	}
	tests := []struct{ name, uri, reason string }{
		{"a wrong password", as("shop", password+"2", "shop"), db.ReasonAuthentication},
		{"a user that does not exist", as("nobody", password, "shop"), db.ReasonAuthentication},
		{"a database that does not exist", as("shop", password, "nowhere"), db.ReasonMissing},
		{"a user who may not create tables", as("shop", password, "shop"), db.ReasonPermission},
		{"nobody at the port", "postgres://shop:" + password + "@" + closed.Addr().String() + "/shop", db.ReasonUnreachable},
		{"a server that never answers", "postgres://shop:" + password + "@" + testbed.BlackHole(t) + "/shop?sslmode=disable", db.ReasonUnreachable},
		{"no URI at all", "postgres://shop:" + password + "%zz@host/shop", db.ReasonConfiguration},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var log testbed.Log
			c := config.Database{URIFile: testbed.File(t, tt.uri)}
			_, err := db.Migrate(t.Context(), c, 0, log.Logger())
			if err == nil {
				t.Fatal("no error")
			}
			got := db.Explain(err)
			if got.Reason != tt.reason || got.Message == "" {
				t.Errorf("got %+v, want %s (%v)", got, tt.reason, err)
			}
			if all := got.Message + err.Error() + log.String(); strings.Contains(all, "SECRET") {
				t.Errorf("tells the password: %s", all)
			}
		})
	}
	t.Run("a missing file of the CA", func(t *testing.T) {
		_, err := db.Open(config.Database{URIFile: testbed.File(t, "postgres://h/d"), CAFile: "/nowhere.pem", MaxConnections: 2}, "test")
		if err == nil || db.Explain(err).Reason != db.ReasonConfiguration {
			t.Fatal(err)
		}
	})
}

func prepare(t *testing.T, url, password string) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(context.Background()) }()
	for _, statement := range []string{
		`CREATE ROLE shop LOGIN PASSWORD '` + password + `'`, `CREATE DATABASE shop`,
	} {
		if _, err := conn.Exec(t.Context(), statement); err != nil {
			t.Fatal(err)
		}
	}
}

func TestATransactionThatADeadlockEndedIsRunAgain(t *testing.T) {
	t.Parallel()
	pool := testbed.Pools(t).Main
	if _, err := pool.Exec(t.Context(), `CREATE TABLE pair (n int PRIMARY KEY, v int NOT NULL); INSERT INTO pair VALUES (1, 0), (2, 0)`); err != nil {
		t.Fatal(err)
	}
	var met sync.WaitGroup // both hold their first row before either asks for the second
	met.Add(2)
	var runs atomic.Int64
	add := func(first, second int) error {
		meet := sync.OnceFunc(func() { met.Done(); met.Wait() })
		return db.WithTx(t.Context(), pool, func(tx pgx.Tx) error {
			runs.Add(1)
			for _, n := range []int{first, second} {
				if _, err := tx.Exec(t.Context(), `UPDATE pair SET v = v + 1 WHERE n = $1`, n); err != nil {
					return err
				}
				meet()
			}
			return nil
		})
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := add(1, 2); err != nil {
			t.Error(err)
		}
	})
	wg.Go(func() {
		if err := add(2, 1); err != nil {
			t.Error(err)
		}
	})
	wg.Wait()
	var sum int
	if err := pool.QueryRow(t.Context(), `SELECT sum(v) FROM pair`).Scan(&sum); err != nil || sum != 4 || runs.Load() < 3 {
		t.Errorf("sum %d after %d runs, %v; want 4 after 3 or more", sum, runs.Load(), err)
	}
}

func TestAProcessTellsHowItGetsOnWithItsConnections(t *testing.T) {
	t.Parallel()
	pools, err := db.Open(config.Database{URIFile: testbed.File(t, testbed.Database(t)), MaxConnections: 2}, "test")
	if err != nil {
		t.Fatal(err)
	}
	defer pools.Close()
	h, err := pools.Check(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if c := pools.Connections(h); c.Server < 20 || c.Pool != 2 || c.Waited != 0 {
		t.Errorf("before anything was asked: %+v", c)
	}
	testbed.Eventually(t, "a wait is told of", func() bool {
		held, err := pools.Main.Acquire(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		time.AfterFunc(50*time.Millisecond, held.Release)
		if _, err := pools.Main.Exec(t.Context(), "SELECT"); err != nil {
			t.Fatal(err)
		}
		c := pools.Connections(h)
		return c.Waited >= .25 && c.WaitMilliseconds > 10
	})
}
