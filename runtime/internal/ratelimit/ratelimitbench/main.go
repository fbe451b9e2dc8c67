// Command ratelimitbench measures the limiter beside its floor and its peers,
// on a redis-server that it starts, all in the same run: the floor is a bare
// EVALSHA of a script with one window, by redis-benchmark and by a bare client;
// the peers are redis_rate and envoyproxy/ratelimit, with one window each. The
// last line is one JSON object. It is a module of its own, so that the store's
// does not name the peers.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"slices"
	"syscall"
	"time"

	"gitee.com/captainjez/gocart/runtime/internal/redisserver"
)

const (
	callers = 50
	keys    = 1000
	rounds  = 3
)

func main() {
	seconds := flag.Float64("seconds", 2, "how long each figure is measured in each of three rounds, in `SECONDS`")
	addr := flag.String("get", "", "only ask for an answer at `ADDRESS`, as one of the figures needs")
	flag.Parse()
	each := time.Duration(*seconds * float64(time.Second))
	if *addr != "" {
		if err := get(*addr, each); err != nil {
			fmt.Fprintln(os.Stderr, "ratelimitbench:", err)
			os.Exit(1)
		}
		return
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, each); err != nil {
		fmt.Fprintln(os.Stderr, "ratelimitbench:", err)
		os.Exit(1)
	}
}

// subject is what is measured; measure returns how many a second.
type subject struct {
	name    string
	label   string
	measure func(ctx context.Context, each time.Duration) (float64, error)
}

func run(ctx context.Context, each time.Duration) error {
	server, err := redisserver.Start(ctx)
	if err != nil {
		return err
	}
	defer server.Kill()
	subjects, err := prepare(ctx, server)
	if err != nil {
		return err
	}
	figures := map[string][]float64{}
	for range rounds {
		for _, s := range subjects {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			figure, err := s.measure(ctx, each)
			if err != nil {
				return fmt.Errorf("%s: %w", s.label, err)
			}
			figures[s.name] = append(figures[s.name], figure)
		}
	}
	return report(subjects, figures)
}

func report(subjects []subject, figures map[string][]float64) error {
	fmt.Printf("%d callers of %d keys, medians of %d rounds, %d processors\n\n", callers, keys, rounds, runtime.NumCPU())
	fmt.Printf("%-58s %14s %12s %s\n", "", "per second", "ns each", "  spread")
	median := map[string]float64{}
	for _, s := range subjects {
		f := slices.Sorted(slices.Values(figures[s.name]))
		m := f[len(f)/2]
		median[s.name] = m
		fmt.Printf("%-58s %14.0f %12.0f   %.0f%%\n", s.label, m, 1e9/m, 100*(f[len(f)-1]-f[0])/m)
	}
	floor := max(median["redis_benchmark"], median["bare"])
	if floor == 0 {
		return errors.New("no floor was measured")
	}
	last, err := json.Marshal(map[string]any{
		"name": "ratelimit",
		"ratios": map[string]float64{
			"strict_vs_script":     median["strict"] / floor,
			"strict_vs_redis_rate": median["strict"] / median["redis_rate"],
			"strict_vs_envoy":      median["strict"] / median["envoy"],
			"leased_per_core":      median["leased"] / 10e6, // of ten million a second
			// What the middlewares take of the processor time of a GET that is
			// answered from memory, what such a GET costs more with them, for it has
			// five more headers, and the same where Redis is asked each time.
			"middleware_overhead":        median["get"] / median["middleware"],
			"middleware_overhead_whole":  median["get"]/median["get_leased"] - 1,
			"middleware_overhead_strict": median["get"]/median["get_strict"] - 1,
		},
		"per_second": median,
	})
	if err != nil {
		return err
	}
	fmt.Printf("\n%s\n", last)
	return nil
}
