// Command apibench measures the API over HTTP on a real PostgreSQL with 10,000
// products of 4 variants, beside two floors in the same run: a bare Gin
// handler that writes the same bytes, and the same SQL through pgbench. Client,
// server and database share the machine. The last line is one JSON object.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"

	"gitee.com/captainjez/gocart/runtime/config"
	"gitee.com/captainjez/gocart/runtime/internal/db"
	"gitee.com/captainjez/gocart/runtime/internal/pgserver"
)

const (
	products = 10_000
	variants = 4
	callers  = 16
	adminKey = "sk_live_BENCHMARKBENCHMARK"
)

func main() {
	seconds := flag.Int("seconds", 5, "how long each figure is measured, in `SECONDS`")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, time.Duration(*seconds)*time.Second); err != nil {
		fmt.Fprintln(os.Stderr, "apibench:", err)
		os.Exit(1) //nolint:gocritic // the signals end with the process
	}
}

func run(ctx context.Context, each time.Duration) error {
	dir, err := os.MkdirTemp("", "gocart-bench-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	if err := os.Chmod(dir, 0o755); err != nil { //nolint:gosec // PostgreSQL's user passes through
		return err
	}
	postgres, err := pgserver.Start(ctx, pgserver.Options{Dir: filepath.Join(dir, "postgres"), Settings: []string{"shared_buffers=512MB", "max_connections=60"}})
	if err != nil {
		return err
	}
	defer postgres.Kill()
	b := &bench{dir: dir, url: postgres.URL("postgres"), each: each, callers: callers}
	if err := b.start(ctx); err != nil {
		return err
	}
	defer b.stop()
	results, err := b.measure(ctx)
	if err != nil {
		return err
	}
	return report(results)
}

// bench is a loaded store under measurement.
type bench struct {
	dir, url string
	each     time.Duration
	callers  int
	addr     string
	internal string
	server   *exec.Cmd
	stock    shelf
}

// start migrates, starts gocart in a process of its own, and loads the store.
func (b *bench) start(ctx context.Context) error {
	program := filepath.Join(b.dir, "gocart")
	build := exec.CommandContext(ctx, "go", "build", "-o", program, "./runtime/cmd/gocart")
	build.Stderr = os.Stderr
	if err := build.Run(); err != nil {
		return fmt.Errorf("building gocart: %w", err)
	}
	c, err := b.config()
	if err != nil {
		return err
	}
	if _, err := db.Migrate(ctx, c.Database, 10*time.Second, slog.New(slog.DiscardHandler)); err != nil {
		return err
	}
	if b.stock, err = load(ctx, b.url, c); err != nil {
		return err
	}
	file, err := c.Marshal()
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(b.dir, "config.yaml"), file, 0o600); err != nil {
		return err
	}
	b.server = exec.Command(program, "api", "--config", filepath.Join(b.dir, "config.yaml"))
	b.server.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := b.server.Start(); err != nil {
		return err
	}
	b.addr, b.internal = c.Server.Public.Address, c.Server.Internal.Address
	return await(ctx, b.addr)
}

func (b *bench) stop() {
	_ = b.server.Process.Kill()
	_ = b.server.Wait()
}

func (b *bench) config() (config.Config, error) {
	c := config.Default()
	c.Store = config.Store{Name: "bench", Namespace: "bench", URL: "http://bench.example", Mode: config.ModeDevelopment}
	c.Payments.Test = true
	c.Log.Level = "error"
	c.Database.MaxConnections = 20
	for path, content := range map[*string]string{
		&c.Database.URIFile: b.url, &c.Auth.AdminKeyFile: adminKey, &c.Auth.TokenKeyFile: strings.Repeat("k", 40),
		&c.EdgeFile: "limits: {address: [], apiKey: []}", // one address asks for everything
	} {
		*path = filepath.Join(b.dir, fmt.Sprintf("secret-%d", rand.Uint64())) //nolint:gosec // a file's name
		if err := os.WriteFile(*path, []byte(content), 0o600); err != nil {
			return c, err
		}
	}
	var err error
	if c.Server.Public.Address, err = freeAddress(); err != nil {
		return c, err
	}
	c.Server.Internal.Address, err = freeAddress()
	return c, err
}

// result is one line of the table.
type result struct {
	rate float64
	// p50, p95 and p99 at saturation; zero for a floor of pgbench.
	p50, p95, p99 time.Duration
	// offered is the p99 at half of the rate.
	offered time.Duration
	// allocations of one request in the server; zero where not counted.
	allocations float64
}

func report(results map[string]result) error {
	fmt.Printf("\n%-34s %10s %9s %9s %9s %14s %12s\n", "", "per second", "p50", "p95", "p99", "p99 at half", "allocations")
	for _, name := range order {
		r, ok := results[name]
		if !ok {
			continue
		}
		fmt.Printf("%-34s %10.0f %9s %9s %9s %14s %12s\n", name, r.rate, ms(r.p50), ms(r.p95), ms(r.p99), ms(r.offered), count(r.allocations))
	}
	per := map[string]float64{}
	for name, r := range results {
		per[strings.ReplaceAll(name, " ", "_")] = round(r.rate)
	}
	ratio := func(a, b string) float64 { return round(results[a].rate / results[b].rate) }
	line, err := json.Marshal(map[string]any{
		"name": "api", "machine": fmt.Sprintf("%d processors, %s/%s, %s", runtime.NumCPU(), runtime.GOOS, runtime.GOARCH, runtime.Version()),
		"perSecond": per,
		"ratios": map[string]float64{
			"single_vs_sql": ratio(single, singleSQL), "single_vs_bare": ratio(single, singleBare),
			"list_vs_sql": ratio(list, listSQL), "list_vs_bare": ratio(list, listBare),
			"checkout_vs_sql": ratio(checkout, checkoutSQL), "hot_vs_sql": ratio(hot, hotSQL), "hot_flush_vs_sql": ratio(hotFlush, hotFlushSQL),
		},
	})
	if err != nil {
		return err
	}
	fmt.Printf("\n%s\n", line)
	return nil
}

func ms(d time.Duration) string {
	if d == 0 {
		return "-"
	}
	return fmt.Sprintf("%.2f ms", float64(d.Microseconds())/1000)
}

func count(n float64) string {
	if n == 0 {
		return "-"
	}
	return fmt.Sprintf("%.0f", n)
}

func round(f float64) float64 { return float64(int64(f*100+0.5)) / 100 }
