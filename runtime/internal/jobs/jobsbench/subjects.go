package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"github.com/hibiken/asynq"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"

	"gitee.com/captainjez/gocart/runtime/config"
	"gitee.com/captainjez/gocart/runtime/internal/db"
	"gitee.com/captainjez/gocart/runtime/internal/jobs"
	"gitee.com/captainjez/gocart/runtime/internal/pgserver"
)

// nothing is a job that does nothing.
type nothing struct {
	// Added is when, in nanoseconds since 1970; 0 for what was filled in.
	Added int64 `json:"added,omitempty"`
}

func (nothing) Kind() string { return "nothing" }

func (nothing) InsertOpts() river.InsertOpts { return river.InsertOpts{Queue: urgent, MaxAttempts: 5} }

// servers are what the subjects run on.
type servers struct {
	dir      string
	postgres *pgserver.Server
	redis    *exec.Cmd
	addr     string
	pool     *pgxpool.Pool
}

func startServers(ctx context.Context) (_ *servers, err error) {
	s := &servers{}
	defer func() {
		if err != nil {
			s.stop()
		}
	}()
	if s.dir, err = os.MkdirTemp("", "gocart-jobsbench-"); err != nil {
		return nil, err
	}
	if err := os.Chmod(s.dir, 0o755); err != nil { //nolint:gosec // PostgreSQL's user passes through
		return nil, err
	}
	if s.postgres, err = pgserver.Start(ctx, pgserver.Options{
		Dir: filepath.Join(s.dir, "postgres"), Settings: []string{"shared_buffers=512MB", "max_wal_size=4GB"},
	}); err != nil {
		return nil, err
	}
	uri := filepath.Join(s.dir, "uri")
	if err := os.WriteFile(uri, []byte(s.postgres.URL("postgres")), 0o600); err != nil {
		return nil, err
	}
	database := config.Database{URIFile: uri, MaxConnections: inserters + 8}
	if _, err := db.Migrate(ctx, database, time.Minute, slog.New(slog.DiscardHandler)); err != nil {
		return nil, err
	}
	settings, err := pgxpool.ParseConfig(s.postgres.URL("postgres"))
	if err != nil {
		return nil, err
	}
	settings.MaxConns = database.MaxConnections
	if s.pool, err = pgxpool.NewWithConfig(ctx, settings); err != nil {
		return nil, err
	}
	return s, s.startRedis(ctx)
}

// startRedis starts one that keeps what it acknowledged, to a second.
func (s *servers) startRedis(ctx context.Context) error {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	s.addr = l.Addr().String()
	_ = l.Close()
	_, port, _ := net.SplitHostPort(s.addr)
	s.redis = exec.Command("redis-server", "--port", port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "yes", "--dir", s.dir)
	s.redis.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := s.redis.Start(); err != nil {
		return fmt.Errorf("%w: install Debian's package redis-server", err)
	}
	for {
		conn, err := net.Dial("tcp", s.addr)
		if err == nil {
			return conn.Close()
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(10 * time.Millisecond):
		}
	}
}

func (s *servers) stop() {
	if s.pool != nil {
		s.pool.Close()
	}
	if s.redis != nil && s.redis.Process != nil {
		_ = s.redis.Process.Kill()
		_ = s.redis.Wait()
	}
	if s.postgres != nil {
		s.postgres.Stop()
	}
	_ = os.RemoveAll(s.dir)
}

func (s *servers) subjects(context.Context) ([]subject, error) {
	bare, err := newBare(s.pool)
	if err != nil {
		return nil, err
	}
	queue, err := jobs.NewQueue(slog.New(slog.DiscardHandler), time.Now)
	if err != nil {
		return nil, err
	}
	at := asynq.RedisClientOpt{Addr: s.addr}
	return []subject{
		bare,
		&ours{table: bare.table, queue: queue},
		&peer{redis: at, client: asynq.NewClient(at), server: redis.NewClient(&redis.Options{Addr: s.addr})},
	}, nil
}

// table is where River's jobs are.
type table struct{ pool *pgxpool.Pool }

func (t table) fill(ctx context.Context, queue string, n int) error {
	_, err := t.pool.Exec(ctx, `INSERT INTO river_job (kind, queue, args, max_attempts) SELECT 'nothing', $1, '{}', 5 FROM generate_series(1, $2)`, queue, n)
	if err == nil {
		_, err = t.pool.Exec(ctx, `VACUUM ANALYZE river_job`)
	}
	return err
}

func (t table) clear(ctx context.Context) error {
	_, err := t.pool.Exec(ctx, `TRUNCATE river_job`)
	return err
}

// bare is River as one would use it for speed: a fetch every millisecond.
type bare struct {
	table
	inserts *river.Client[pgx.Tx]
}

func newBare(pool *pgxpool.Pool) (*bare, error) {
	client, err := river.NewClient(riverpgxv5.New(pool), &river.Config{FetchCooldown: river.FetchCooldownMin, Logger: slog.New(slog.DiscardHandler)})
	return &bare{table: table{pool}, inserts: client}, err
}

func (b *bare) name() string { return "river" }

func (b *bare) add(ctx context.Context, queue string) error {
	return db.WithTx(ctx, b.pool, func(tx pgx.Tx) error {
		_, err := b.inserts.InsertTx(ctx, tx, nothing{Added: time.Now().UnixNano()}, &river.InsertOpts{Queue: queue})
		return err
	})
}

func (b *bare) work(ctx context.Context, t *tally, queues ...string) (func(), error) {
	workers := river.NewWorkers()
	river.AddWorker(workers, river.WorkFunc(func(_ context.Context, job *river.Job[nothing]) error {
		t.job(job.Queue, job.Args.Added)
		return nil
	}))
	c := &river.Config{Queues: map[string]river.QueueConfig{}, Workers: workers, FetchCooldown: river.FetchCooldownMin, Logger: slog.New(slog.DiscardHandler)}
	for _, q := range queues {
		c.Queues[q] = river.QueueConfig{MaxWorkers: slots}
	}
	client, err := river.NewClient(riverpgxv5.New(b.pool), c)
	if err != nil {
		return nil, err
	}
	if err := client.Start(ctx); err != nil {
		return nil, err
	}
	return func() { _ = client.StopAndCancel(context.WithoutCancel(ctx)) }, nil
}

// ours is the store's.
type ours struct {
	table
	queue *jobs.Queue
}

func (o *ours) name() string { return "gocart" }

func (o *ours) add(ctx context.Context, queue string) error {
	if queue != urgent {
		return errors.New("a job of the kind is urgent")
	}
	return db.WithTx(ctx, o.pool, func(tx pgx.Tx) error { return o.queue.Enqueue(ctx, tx, nothing{Added: time.Now().UnixNano()}) })
}

func (o *ours) work(ctx context.Context, t *tally, queues ...string) (func(), error) {
	c := config.Default()
	c.Worker = config.Worker{Workers: slots / 5, Concurrency: 5, Queues: queues}
	kinds := jobs.Kinds{jobs.Of(jobs.Kind{About: "Does nothing."}, func(_ context.Context, job *river.Job[nothing]) error {
		t.job(job.Queue, job.Args.Added)
		return nil
	})}
	w := jobs.NewWorker(c, jobs.Options{
		Pool: o.pool, Kinds: kinds, Queue: o.queue, Log: slog.New(slog.DiscardHandler), Metrics: prometheus.NewRegistry(), Now: time.Now,
	})
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- w.Run(ctx) }()
	return func() { cancel(); <-ended }, nil
}

// peer is asynq.
type peer struct {
	redis  asynq.RedisClientOpt
	client *asynq.Client
	server *redis.Client
}

func (p *peer) name() string { return "asynq" }

// fill is by many callers: asynq has no insert of many.
func (p *peer) fill(ctx context.Context, queue string, n int) error {
	const callers = 64
	errs := make(chan error, callers)
	for i := range callers {
		go func() {
			var err error
			for range n/callers + min(1, max(0, n%callers-i)) {
				if _, err = p.client.EnqueueContext(ctx, asynq.NewTask("nothing", []byte("{}")), asynq.Queue(queue)); err != nil {
					break
				}
			}
			errs <- err
		}()
	}
	var failed error
	for range callers {
		failed = errors.Join(failed, <-errs)
	}
	return failed
}

func (p *peer) add(ctx context.Context, queue string) error {
	payload, err := json.Marshal(nothing{Added: time.Now().UnixNano()})
	if err != nil {
		return err
	}
	_, err = p.client.EnqueueContext(ctx, asynq.NewTask("nothing", payload), asynq.Queue(queue))
	return err
}

func (p *peer) work(ctx context.Context, t *tally, queues ...string) (func(), error) {
	c := asynq.Config{Concurrency: slots * len(queues), Queues: map[string]int{}, StrictPriority: true, TaskCheckInterval: 5 * time.Millisecond, LogLevel: asynq.FatalLevel}
	for i, q := range queues {
		c.Queues[q] = len(queues) - i
	}
	server := asynq.NewServer(p.redis, c)
	err := server.Start(asynq.HandlerFunc(func(ctx context.Context, task *asynq.Task) error {
		var n nothing
		if err := json.Unmarshal(task.Payload(), &n); err != nil {
			return err
		}
		queue, _ := asynq.GetQueueName(ctx)
		t.job(queue, n.Added)
		return nil
	}))
	return server.Shutdown, err
}

func (p *peer) clear(ctx context.Context) error { return p.server.FlushAll(ctx).Err() }
