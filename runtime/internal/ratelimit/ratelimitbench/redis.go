package main

import (
	"context"
	"fmt"
	"os/exec"
	"strconv"
	"strings"
	"time"
)

// benchmark has redis-benchmark run a command on a server about as long as each.
func benchmark(ctx context.Context, addr string, each time.Duration, command ...string) (float64, error) {
	_, port, _ := strings.Cut(addr, ":")
	requests := 50_000 * max(1, int(each.Seconds()))
	args := append([]string{"-p", port, "-c", strconv.Itoa(callers), "-P", "1", "-r", strconv.Itoa(keys), "-n", strconv.Itoa(requests), "--csv"}, command...)
	out, err := exec.CommandContext(ctx, "redis-benchmark", args...).Output()
	if err != nil {
		return 0, fmt.Errorf("redis-benchmark: %w", err)
	}
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	fields := strings.Split(lines[len(lines)-1], `","`) // the command, in quotes, then requests a second
	if len(fields) < 2 {
		return 0, fmt.Errorf("redis-benchmark said %q", lines[len(lines)-1])
	}
	return strconv.ParseFloat(fields[1], 64)
}
