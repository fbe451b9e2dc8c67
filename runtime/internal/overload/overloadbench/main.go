// Command overloadbench asks a store for ten times what it can do, once with
// protection and once without, and tells how much of its best it still does.
// It starts PostgreSQL and gocart, finds by a closed loop how many shoppers a
// second they serve at best, and then sends ten times as many by the clock,
// whether or not answers come. Client, server and database share the machine.
// The last line is one JSON object.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
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
	warmFor     = 2 * time.Second
	peakFor     = 8 * time.Second
	overloadFor = 15 * time.Second
	// callers at a time find a store's best.
	callers = 16
	// busyShare of its best is a busy day, times as many an overload.
	busyShare = .7
	times     = 10
	// recoverWithin bounds the wait for the attack level to be 0 again.
	recoverWithin = time.Minute
)

func main() {
	runtime.GOMAXPROCS(1) // it needs less than one, and several would wake each other for nothing
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "overloadbench:", err)
		os.Exit(1) //nolint:gocritic // the signals end with the process
	}
}

func run(ctx context.Context) error {
	dir, err := os.MkdirTemp("", "gocart-overload-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	if err := os.Chmod(dir, 0o755); err != nil { //nolint:gosec // PostgreSQL's user passes through
		return err
	}
	postgres, err := pgserver.Start(ctx, pgserver.Options{Dir: filepath.Join(dir, "postgres"), Settings: []string{"shared_buffers=256MB", "max_connections=60"}})
	if err != nil {
		return err
	}
	defer postgres.Kill()
	b := &bench{dir: dir, url: postgres.URL("postgres")}
	if err := b.prepare(ctx); err != nil {
		return err
	}
	best, err := b.best(ctx)
	if err != nil {
		return err
	}
	protected, err := b.protected(ctx, best.goodput)
	if err != nil {
		return fmt.Errorf("with protection: %w", err)
	}
	bare, err := b.unprotected(ctx, best.goodput)
	if err != nil {
		return fmt.Errorf("without protection: %w", err)
	}
	return report(best, bare, protected)
}

// bench is a filled store.
type bench struct {
	dir, url, program string
	config            config.Config
	shelf             shelf
}

// prepare builds gocart and fills a store.
func (b *bench) prepare(ctx context.Context) error {
	b.program = filepath.Join(b.dir, "gocart")
	build := exec.CommandContext(ctx, "go", "build", "-o", b.program, "./runtime/cmd/gocart")
	build.Stderr = os.Stderr
	if err := build.Run(); err != nil {
		return fmt.Errorf("building gocart: %w", err)
	}
	c := config.Default()
	c.Store = config.Store{Name: "bench", Namespace: "bench", URL: "http://bench.example", Mode: config.ModeDevelopment, Locale: c.Store.Locale}
	c.Payments.Test = true
	c.Log.Level = "error"
	c.Database.MaxConnections = 20
	for i, secret := range []struct {
		file    *string
		content string
	}{{&c.Database.URIFile, b.url}, {&c.Auth.AdminKeyFile, "sk_live_BENCHMARKBENCHMARK"}, {&c.Auth.TokenKeyFile, strings.Repeat("k", 40)}} {
		*secret.file = filepath.Join(b.dir, fmt.Sprintf("secret-%d", i))
		if err := os.WriteFile(*secret.file, []byte(secret.content), 0o600); err != nil {
			return err
		}
	}
	if _, err := db.Migrate(ctx, c.Database, 10*time.Second, slog.New(slog.DiscardHandler)); err != nil {
		return err
	}
	var err error
	b.config = c
	b.shelf, err = fill(ctx, b.url, c)
	return err
}

// best is what a store does at most, without protection.
func (b *bench) best(ctx context.Context) (result, error) {
	server, err := b.start(ctx, config.ProtectionOff)
	if err != nil {
		return result{}, err
	}
	defer server.stop()
	if _, err := b.closedLoop(ctx, server.addr, callers, warmFor); err != nil {
		return result{}, err
	}
	r, err := b.closedLoop(ctx, server.addr, callers, peakFor)
	say("at best", r)
	return r, err
}

// unprotected is what is left of it under overload.
func (b *bench) unprotected(ctx context.Context, peak float64) (result, error) {
	server, err := b.start(ctx, config.ProtectionOff)
	if err != nil {
		return result{}, err
	}
	defer server.stop()
	if _, err := b.closedLoop(ctx, server.addr, callers, warmFor); err != nil {
		return result{}, err
	}
	r, err := b.openLoop(ctx, server.addr, times*peak, overloadFor)
	say("overload, unprotected", r)
	return r, err
}

// guarded is what a store does that is protected.
type guarded struct {
	// busy is with as many as it can serve well, near its best.
	busy, overload result
	shed           map[string]float64
	level          float64
	recovery       time.Duration
}

// protected has a store serve most of its peak, and then many times that.
func (b *bench) protected(ctx context.Context, peak float64) (p guarded, err error) {
	server, err := b.start(ctx, config.ProtectionAuto)
	if err != nil {
		return p, err
	}
	defer server.stop()
	if _, err := b.closedLoop(ctx, server.addr, 1, warmFor); err != nil {
		return p, err
	}
	if _, err := b.openLoop(ctx, server.addr, busyShare/2*peak, 2*warmFor); err != nil {
		return p, err
	}
	if p.busy, err = b.openLoop(ctx, server.addr, busyShare*peak, peakFor); err != nil {
		return p, err
	}
	say("busy, protected", p.busy)
	if p.overload, err = b.openLoop(ctx, server.addr, times*peak, overloadFor); err != nil {
		return p, err
	}
	say("overload, protected", p.overload)
	ended := time.Now()
	m, err := server.metrics(ctx)
	if err != nil {
		return p, err
	}
	p.level, p.shed = m["gocart_attack_level"], map[string]float64{}
	for name, value := range m {
		if class, ok := strings.CutPrefix(name, `gocart_overload_shed_total{class="`); ok {
			p.shed[strings.TrimSuffix(class, `"}`)] = value
		}
	}
	p.recovery, err = server.recovered(ctx, ended)
	return p, err
}

func say(what string, r result) {
	fmt.Fprintf(os.Stderr, "%s: %.0f shoppers/s of %.0f, p99 %s\n", what, r.goodput, r.offered, r.p99.Round(time.Millisecond))
}

// server is gocart in a process of its own.
type server struct {
	addr, internal string
	process        *exec.Cmd
}

func (b *bench) start(ctx context.Context, mode string) (*server, error) {
	c := b.config
	var s server
	for _, addr := range []*string{&s.addr, &s.internal} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		*addr = l.Addr().String()
		if err := l.Close(); err != nil {
			return nil, err
		}
	}
	c.Server.Public.Address, c.Server.Internal.Address = s.addr, s.internal
	c.EdgeFile = filepath.Join(b.dir, mode+"-edge.yaml")
	if err := os.WriteFile(c.EdgeFile, []byte("limits: {address: [], apiKey: [], protection: {mode: \""+mode+"\"}}\n"), 0o600); err != nil {
		return nil, err
	}
	raw, err := c.Marshal()
	if err != nil {
		return nil, err
	}
	file := filepath.Join(b.dir, mode+".yaml")
	if err := os.WriteFile(file, raw, 0o600); err != nil {
		return nil, err
	}
	s.process = exec.Command(b.program, "api", "--config", file)
	s.process.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := s.process.Start(); err != nil {
		return nil, err
	}
	return &s, until(ctx, 30*time.Second, "gocart does not listen", func() bool {
		conn, err := net.Dial("tcp", s.addr)
		return err == nil && conn.Close() == nil
	})
}

func (s *server) stop() {
	_ = s.process.Process.Kill()
	_ = s.process.Wait()
}

// metrics are the process's own, by name and labels.
func (s *server) metrics(ctx context.Context) (map[string]float64, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+s.internal+"/metrics", nil)
	if err != nil {
		return nil, err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, err
	}
	defer func() { _ = response.Body.Close() }()
	return parse(response.Body)
}

// recovered waits until the attack level is 0, and returns how long after a
// moment it is.
func (s *server) recovered(ctx context.Context, since time.Time) (time.Duration, error) {
	var failed error
	err := until(ctx, recoverWithin, "the attack level does not go down", func() bool {
		m, err := s.metrics(ctx)
		failed = err
		return err != nil || m["gocart_attack_level"] == 0
	})
	return time.Since(since), errors.Join(err, failed)
}

// until asks ten times a second.
func until(ctx context.Context, within time.Duration, otherwise string, done func() bool) error {
	ctx, cancel := context.WithTimeoutCause(ctx, within, errors.New(otherwise))
	defer cancel()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for !done() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return nil
}

func report(best, bare result, p guarded) error {
	fmt.Printf("\n%-26s %12s %12s %12s %12s\n", "", "at best", "unprotected", "protected", "busy")
	row := func(name, format string, value func(result) any) {
		fmt.Printf("%-26s", name)
		for _, r := range []result{best, bare, p.overload, p.busy} {
			fmt.Printf(" %12s", fmt.Sprintf(format, value(r)))
		}
		fmt.Println()
	}
	row("offered, shoppers/s", "%.0f", func(r result) any { return r.offered })
	row("served well, shoppers/s", "%.0f", func(r result) any { return r.goodput })
	row("  that read", "%.0f", func(r result) any { return r.reads })
	row("  that bought", "%.1f", func(r result) any { return r.bought })
	row("buyers served well", "%.0f %%", func(r result) any { return 100 * r.boughtShare })
	row("turned away, /s", "%.1f", func(r result) any { return r.refused })
	row("failed or late, /s", "%.1f", func(r result) any { return r.failed })
	row("p50 of those let in", "%s", func(r result) any { return r.p50.Round(100 * time.Microsecond) })
	row("p99 of those let in", "%s", func(r result) any { return r.p99.Round(100 * time.Microsecond) })
	row("p99 of those turned away", "%s", func(r result) any { return r.refusedP99.Round(100 * time.Microsecond) })
	row("taken by those who ask", "%.0f %%", func(r result) any { return 100 * r.client })
	fmt.Printf("\nshed by class: %v; attack level %.0f at the end, 0 again after %s\n", p.shed, p.level, p.recovery.Round(time.Second))
	line, err := json.Marshal(map[string]any{
		"name": "overload", "machine": fmt.Sprintf("%d processors, %s/%s, %s", runtime.NumCPU(), runtime.GOOS, runtime.GOARCH, runtime.Version()),
		"ratios": map[string]float64{
			"goodput_vs_peak":             round(p.overload.goodput / best.goodput),
			"goodput_vs_peak_unprotected": round(bare.goodput / best.goodput),
			"buyers_served":               round(p.overload.boughtShare), "buyers_served_unprotected": round(bare.boughtShare),
		},
		"peak_per_second": round(best.goodput), "p99_admitted_ms": ms(p.overload.p99), "p99_admitted_unprotected_ms": ms(bare.p99),
		"shed": p.shed, "attack_level": p.level, "recovery_seconds": round(p.recovery.Seconds()),
		"client_share": round(p.overload.client), "shed_while_busy": round(p.busy.refused / p.busy.offered),
	})
	if err != nil {
		return err
	}
	fmt.Printf("\n%s\n", line)
	return nil
}

func ms(d time.Duration) float64 { return round(float64(d.Microseconds()) / 1000) }

func round(f float64) float64 { return float64(int64(f*100+0.5)) / 100 }
