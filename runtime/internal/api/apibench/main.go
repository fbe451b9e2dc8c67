// Command apibench measures the API over HTTP on a real PostgreSQL with 10,000
// products of 4 variants, beside two floors in the same run: a bare Gin
// handler that writes the same bytes, and the same SQL through pgbench. A
// second process of the same store keeps answers, with a real Redis. Client,
// server and database share the machine. Last it measures a store of 300
// products, for which others' figures are known. With -cache it measures the
// cache instead: a hit beside the bare handler, and a mix of reads and writes
// with and without it; with -import how 100,000 products come in and go out, and
// with -statistics how statistics of 1,000,000 orders are counted and read. The
// last line is one JSON object.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"

	"gitee.com/captainjez/gocart/runtime/internal/pgserver"
	"gitee.com/captainjez/gocart/runtime/internal/redisserver"
)

const (
	variants = 4
	callers  = 16
	adminKey = "sk_live_BENCHMARKBENCHMARK"
)

func main() {
	seconds := flag.Int("seconds", 3, "how long each figure is measured, in `SECONDS`")
	cache := flag.Bool("cache", false, "measure the cache")
	imports := flag.Bool("import", false, "measure imports and exports")
	statistics := flag.Bool("statistics", false, "measure statistics")
	bare := flag.Bool("bare", false, "be the bare handler of what standard input holds, for another apibench")
	flag.Parse()
	if *bare {
		fmt.Fprintln(os.Stderr, "apibench:", serveBare())
		os.Exit(1)
	}
	measure := (*bench).api
	if *cache {
		measure = (*bench).cache
	}
	if *imports {
		measure = (*bench).imports
	}
	if *statistics {
		measure = (*bench).statistics
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, time.Duration(*seconds)*time.Second, measure); err != nil {
		fmt.Fprintln(os.Stderr, "apibench:", err)
		os.Exit(1) //nolint:gocritic // the signals end with the process
	}
}

func run(ctx context.Context, each time.Duration, measure func(*bench, context.Context) error) error {
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
	redis, err := redisserver.Start(ctx)
	if err != nil {
		return err
	}
	defer redis.Kill()
	b := &bench{dir: dir, program: filepath.Join(dir, "gocart"), postgres: postgres, redis: redis, each: each, callers: callers}
	build := exec.CommandContext(ctx, "go", "build", "-o", b.program, "./runtime/cmd/gocart")
	build.Stderr = os.Stderr
	if err := build.Run(); err != nil {
		return fmt.Errorf("building gocart: %w", err)
	}
	return measure(b, ctx)
}

// api measures catalogue, cart and checkout.
func (b *bench) api(ctx context.Context) error {
	results := map[string]result{}
	if err := b.large(ctx, results); err != nil {
		return err
	}
	if err := b.small(ctx, results); err != nil {
		return err
	}
	return report(results)
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
	peers := map[string]float64{}
	for name, p := range published {
		peers[name] = round(results[p.beside].rate / p.perSecond)
	}
	line, err := json.Marshal(map[string]any{
		"name": "api", "machine": fmt.Sprintf("%d processors, %s/%s, %s", runtime.NumCPU(), runtime.GOOS, runtime.GOARCH, runtime.Version()),
		"perSecond": per,
		// Against figures of another day on a machine of this kind.
		"published": peers,
		"ratios": map[string]float64{
			"single_vs_sql": ratio(single, singleSQL), "single_vs_bare": ratio(single, singleBare),
			"cached_single_vs_sql": ratio(singleCached, singleSQL), "cached_single_vs_bare": ratio(singleCached, singleBare),
			"cached_list_vs_bare": ratio(listCached, listBare),
			"list_vs_sql":         ratio(list, listSQL), "list_vs_bare": ratio(list, listBare),
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
