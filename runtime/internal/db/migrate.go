package db

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"path"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/riverqueue/river/rivermigrate"

	"gitee.com/captainjez/gocart/runtime/config"
)

//go:embed migrations/*.sql
var migrations embed.FS

// migrateLock is the key of the advisory lock that one migration at a time
// holds ("gocart" in ASCII).
const migrateLock = 0x676f63617274

// retryInterval is how often a database that cannot be reached is tried.
const retryInterval = 500 * time.Millisecond

// LatestSchema is the number of the newest migration in this binary.
func LatestSchema() int64 {
	names, err := fs.Glob(migrations, "migrations/*.sql")
	if err != nil || len(names) == 0 {
		panic("db: no embedded migrations")
	}
	digits, _, _ := strings.Cut(path.Base(names[len(names)-1]), "_") // Glob sorts
	n, err := strconv.ParseInt(digits, 10, 64)
	if err != nil {
		panic(err)
	}
	return n
}

// Migrate brings the database to LatestSchema, and the job queue's tables to
// what this binary needs. It waits up to wait for the database to take
// connections, but not for a mistake (a wrong password, a missing database) to
// mend itself. Two at once are safe: the second finds nothing to do. It needs
// a session of its own, so no transaction-level pooler in between.
func Migrate(ctx context.Context, c config.Database, wait time.Duration, log *slog.Logger) (Health, error) {
	pc, err := poolConfig(c, "gocart migrate")
	if err != nil {
		return Health{}, err
	}
	pc.MaxConns = 3
	pool, err := pgxpool.NewWithConfig(ctx, pc)
	if err != nil {
		return Health{}, err
	}
	defer pool.Close()
	if err := await(ctx, pool, wait, log); err != nil {
		return Health{}, err
	}
	lock, err := pool.Acquire(ctx)
	if err != nil {
		return Health{}, err
	}
	defer lock.Release()
	if _, err := lock.Exec(ctx, "SELECT pg_advisory_lock($1)", int64(migrateLock)); err != nil {
		return Health{}, fmt.Errorf("waiting for another migration: %w", err)
	}
	// Ending the session frees the lock, whatever state it is in.
	defer func() { _ = lock.Conn().Close(context.WithoutCancel(ctx)) }()

	// The store's own migrations come last: their number says that all is done.
	migrateErr := migrateQueue(ctx, pool, log)
	if migrateErr == nil {
		migrateErr = migrateStore(ctx, pool, log)
	}
	h, err := (&Pools{Probe: pool}).Check(ctx)
	if migrateErr != nil {
		return h, migrateErr
	}
	return h, err
}

// await returns when the database takes connections.
func await(ctx context.Context, pool *pgxpool.Pool, wait time.Duration, log *slog.Logger) error {
	deadline := time.NewTimer(wait)
	defer deadline.Stop()
	for said := false; ; said = true {
		err := pool.Ping(ctx)
		if err == nil {
			return nil
		}
		why := Explain(err)
		if why.Reason != ReasonUnreachable {
			return err
		}
		if !said {
			log.Info("waiting for the database", "reason", why.Message, "wait", wait.String())
		}
		select {
		case <-time.After(retryInterval):
		case <-deadline.C:
			return err
		case <-ctx.Done():
			return errors.Join(ctx.Err(), err)
		}
	}
}

func migrateQueue(ctx context.Context, pool *pgxpool.Pool, log *slog.Logger) error {
	m, err := rivermigrate.New(riverpgxv5.New(pool), &rivermigrate.Config{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		return err
	}
	result, err := m.Migrate(ctx, rivermigrate.DirectionUp, nil)
	if err != nil {
		return fmt.Errorf("migrating the job queue: %w", err)
	}
	for _, v := range result.Versions {
		log.Info("migrated the job queue", "version", v.Version, "duration", v.Duration.String())
	}
	return nil
}

func migrateStore(ctx context.Context, pool *pgxpool.Pool, log *slog.Logger) error {
	files, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return err
	}
	sqlDB := stdlib.OpenDBFromPool(pool)
	defer func() { _ = sqlDB.Close() }()
	provider, err := goose.NewProvider(goose.DialectPostgres, sqlDB, files, goose.WithDisableGlobalRegistry(true))
	if err != nil {
		return err
	}
	results, err := provider.Up(ctx)
	for _, r := range results {
		log.Info("migrated the store", "version", r.Source.Version, "duration", r.Duration.String())
	}
	if err != nil {
		return fmt.Errorf("migrating the store: %w", err)
	}
	return nil
}
