// Package db is the store's PostgreSQL: its pool of connections, its
// transactions, its migrations, and what an error of it means. Queries belong
// to the packages of commerce that ask them.
package db

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	pgxuuid "github.com/vgarvardt/pgx-google-uuid/v5"

	"gitee.com/captainjez/gocart/runtime/config"
)

const (
	connectTimeout = 2 * time.Second
	// statementTimeout is the server's own bound on a request's statement; the
	// request's deadline is shorter still.
	statementTimeout = "10000" // ms
	// idleInTransaction ends a session whose process was frozen in mid-flight.
	idleInTransaction = "15000" // ms
)

// Pools are a process's connections to one database.
type Pools struct {
	// Main serves requests and jobs.
	Main *pgxpool.Pool
	// Probe is one connection for health checks, so that a busy process is not
	// taken for a broken one.
	Probe *pgxpool.Pool

	waits waits
}

// Open prepares connections, MaxConnections in all; it does not connect, and
// connections come back by themselves when the database does. Passwords are
// read from the file for each new connection, so a changed one needs no restart.
func Open(c config.Database, applicationName string) (*Pools, error) {
	main, err := poolConfig(c, applicationName)
	if err != nil {
		return nil, err
	}
	main.ConnConfig.RuntimeParams["statement_timeout"] = statementTimeout
	main.ConnConfig.RuntimeParams["idle_in_transaction_session_timeout"] = idleInTransaction
	probe := main.Copy()
	main.MaxConns = max(1, c.MaxConnections-1)
	probe.MaxConns = 1
	ctx := context.Background() // NewWithConfig connects in the background
	mainPool, err := pgxpool.NewWithConfig(ctx, main)
	if err != nil {
		return nil, err
	}
	probePool, err := pgxpool.NewWithConfig(ctx, probe)
	if err != nil {
		mainPool.Close()
		return nil, err
	}
	return &Pools{Main: mainPool, Probe: probePool}, nil
}

// Close ends every connection after its present use.
func (p *Pools) Close() {
	p.Probe.Close()
	p.Main.Close()
}

func poolConfig(c config.Database, applicationName string) (*pgxpool.Config, error) {
	uri, err := readURI(c.URIFile)
	if err != nil {
		return nil, err
	}
	pc, err := pgxpool.ParseConfig(uri)
	if err != nil {
		return nil, errURI(c.URIFile)
	}
	pc.ConnConfig.ConnectTimeout = connectTimeout
	pc.ConnConfig.RuntimeParams["application_name"] = applicationName
	pc.MaxConnLifetime = 30 * time.Minute
	pc.MaxConnLifetimeJitter = 3 * time.Minute
	pc.MaxConnIdleTime = 5 * time.Minute
	pc.HealthCheckPeriod = 5 * time.Second
	if c.CAFile != "" {
		if err := verifyFull(pc.ConnConfig, c.CAFile); err != nil {
			return nil, err
		}
	}
	// Otherwise pgx writes a uuid.UUID as text, fails to send that, and parses it.
	pc.AfterConnect = func(_ context.Context, conn *pgx.Conn) error {
		pgxuuid.Register(conn.TypeMap())
		return nil
	}
	pc.PrepareConn = Prepare
	pc.BeforeConnect = func(_ context.Context, cc *pgx.ConnConfig) error {
		uri, err := readURI(c.URIFile)
		if err != nil {
			return err
		}
		now, err := pgx.ParseConfig(uri)
		if err != nil {
			return errURI(c.URIFile)
		}
		cc.User, cc.Password = now.User, now.Password
		return nil
	}
	return pc, nil
}

func readURI(path string) (string, error) {
	raw, err := os.ReadFile(path)
	if err != nil {
		return "", &ConfigurationError{fmt.Errorf("database.uriFile: %w", err)}
	}
	return strings.TrimSpace(string(raw)), nil
}

// errURI takes the place of the parser's error, which quotes the password.
func errURI(path string) error {
	return &ConfigurationError{fmt.Errorf("database.uriFile: %s holds no PostgreSQL URI of the form "+
		"postgres://user:password@host:5432/database (percent-encode what is special in the password)", path)}
}

// ConfigurationError says that a file which the configuration names is wrong.
type ConfigurationError struct{ err error }

func (e *ConfigurationError) Error() string { return e.err.Error() }
func (e *ConfigurationError) Unwrap() error { return e.err }

// verifyFull makes every attempt use TLS whose certificate chains to the CA
// and names the host, whatever sslmode the URI has.
func verifyFull(cc *pgx.ConnConfig, caFile string) error {
	pem, err := os.ReadFile(caFile)
	if err != nil {
		return &ConfigurationError{fmt.Errorf("database.caFile: %w", err)}
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(pem) {
		return &ConfigurationError{fmt.Errorf("database.caFile: %s holds no PEM certificate", caFile)}
	}
	tlsFor := func(host string) *tls.Config {
		return &tls.Config{RootCAs: roots, ServerName: host, MinVersion: tls.VersionTLS12}
	}
	cc.TLSConfig = tlsFor(cc.Host)
	seen := map[string]bool{fmt.Sprint(cc.Host, " ", cc.Port): true}
	var fallbacks []*pgconn.FallbackConfig
	for _, f := range cc.Fallbacks {
		if key := fmt.Sprint(f.Host, " ", f.Port); !seen[key] {
			seen[key] = true
			f.TLSConfig = tlsFor(f.Host)
			fallbacks = append(fallbacks, f)
		}
	}
	cc.Fallbacks = fallbacks
	return nil
}

// maxTries bounds how often a transaction is run that others stand in the way of.
const maxTries = 3

// WithTx runs f in one transaction, which commits when f returns nil and
// leaves nothing behind when it does not. Where the server ends it so that
// others can go on (a deadlock), f is run again in a new one.
func WithTx(ctx context.Context, pool *pgxpool.Pool, f func(tx pgx.Tx) error) error {
	for try := 1; ; try++ {
		err := pgx.BeginFunc(ctx, pool, f)
		if try == maxTries || !yielded(err) {
			return err
		}
	}
}

// yielded knows the SQLSTATEs of transactions that were ended for others' sake.
func yielded(err error) bool {
	pg, ok := errors.AsType[*pgconn.PgError](err)
	return ok && (pg.Code == "40P01" || pg.Code == "40001")
}

// Health is what a probe saw.
type Health struct {
	// ServerVersion is the server's, such as "15.18".
	ServerVersion string
	// SchemaVersion is the schema's number, 0 before the first migration.
	SchemaVersion int64
	// MaxConnections is how many the server takes of those who are no superusers.
	MaxConnections int32
}

// Check asks the database how it is, on the probe's connection.
func (p *Pools) Check(ctx context.Context) (Health, error) {
	var h Health
	var version string
	var migrated bool
	err := p.Probe.QueryRow(ctx, `SELECT current_setting('server_version'), to_regclass('goose_db_version') IS NOT NULL,
		current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int - coalesce(current_setting('reserved_connections', true), '0')::int`).
		Scan(&version, &migrated, &h.MaxConnections)
	if err != nil {
		return h, err
	}
	h.ServerVersion, _, _ = strings.Cut(version, " ")
	if migrated {
		err = p.Probe.QueryRow(ctx, `SELECT coalesce(max(version_id), 0) FROM goose_db_version WHERE is_applied`).
			Scan(&h.SchemaVersion)
	}
	return h, err
}

// Ready reports an error unless the database answers and its schema is at
// least the one that this binary was built with.
func (p *Pools) Ready(ctx context.Context) error {
	h, err := p.Check(ctx)
	if err != nil {
		return errors.New("database: " + Explain(err).Message)
	}
	if h.SchemaVersion < LatestSchema() {
		return fmt.Errorf("database: schema %d is older than this version needs (%d); run gocart migrate", h.SchemaVersion, LatestSchema())
	}
	return nil
}
