package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// redisServer is a Redis of this run's own.
type redisServer struct {
	addr, port, dir string
	cmd             *exec.Cmd
}

func startRedis(ctx context.Context) (*redisServer, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	s := &redisServer{addr: l.Addr().String(), port: strconv.Itoa(l.Addr().(*net.TCPAddr).Port)}
	_ = l.Close()
	if s.dir, err = os.MkdirTemp("", "gocart-ratelimitbench-"); err != nil {
		return nil, err
	}
	s.cmd = exec.Command("redis-server", "--port", s.port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", s.dir)
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := s.cmd.Start(); err != nil {
		return nil, fmt.Errorf("%w: install Debian's packages redis-server and redis-tools", err)
	}
	for {
		conn, err := net.Dial("tcp", s.addr)
		if err == nil {
			return s, conn.Close()
		}
		select {
		case <-ctx.Done():
			s.stop()
			return nil, ctx.Err()
		case <-time.After(10 * time.Millisecond):
		}
	}
}

func (s *redisServer) stop() {
	_ = s.cmd.Process.Kill()
	_ = s.cmd.Wait()
	_ = os.RemoveAll(s.dir)
}

// urlFile holds the server's URL, as a store's configuration names it.
func (s *redisServer) urlFile() (string, error) {
	path := filepath.Join(s.dir, "url")
	return path, os.WriteFile(path, []byte("redis://"+s.addr), 0o600)
}

// benchmark has redis-benchmark run a command about as long as each.
func (s *redisServer) benchmark(ctx context.Context, each time.Duration, command ...string) (float64, error) {
	requests := 50_000 * max(1, int(each.Seconds()))
	args := append([]string{"-p", s.port, "-c", strconv.Itoa(callers), "-P", "1", "-r", strconv.Itoa(keys), "-n", strconv.Itoa(requests), "--csv"}, command...)
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
