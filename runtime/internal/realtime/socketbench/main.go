// Command socketbench measures the store's sockets beside bare servers of other
// libraries, all in the same run: the memory of an idle, subscribed connection,
// plain and under TLS 1.3, and how long an event takes to 1,000 clients at 10
// events a second, which is 10,000 messages a second. The store's own events are
// timed from before their transaction commits, through PostgreSQL and Redis,
// which it starts; the others' from the call that publishes them. Each server is
// a process of its own. The last line is one JSON object. It is a module of its
// own, so that the store's does not name the peers.
package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/binary"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/gobwas/ws"
)

func main() {
	serve := flag.String("serve", "", "be the server of that `NAME`")
	secure := flag.Bool("tls", false, "serve TLS")
	connections := flag.Int("connections", 10_000, "idle `CONNECTIONS`")
	clients := flag.Int("clients", 1_000, "`CLIENTS` that hear each event")
	rate := flag.Int("rate", 10, "`EVENTS` a second")
	seconds := flag.Int("seconds", 10, "how long events are published, in `SECONDS`")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	err := error(nil)
	if *serve != "" {
		err = be(ctx, *serve, *secure)
	} else {
		err = run(ctx, *connections, *clients, *rate, *seconds)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "socketbench:", err)
		os.Exit(1)
	}
}

// figures of one server.
type figures struct {
	plain, tls float64 // KiB a connection
	latencies  []time.Duration
	received   int
	took       time.Duration
	cpu        time.Duration
}

func run(ctx context.Context, connections, clients, rate, seconds int) error {
	all := map[string]*figures{}
	for _, name := range names {
		f := &figures{}
		all[name] = f
		for _, secure := range []bool{false, true} {
			kib, err := idle(ctx, name, secure, connections)
			if err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
			if secure {
				f.tls = kib
			} else {
				f.plain = kib
			}
		}
		if err := f.fanOut(ctx, name, clients, rate, rate*seconds); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		slices.Sort(f.latencies)
		fmt.Printf("%-12s  %6.1f KiB plain  %6.1f KiB TLS   p50 %7s  p95 %7s  p99 %7s   %6.0f messages/s  %.2f processors\n", name, f.plain, f.tls,
			f.p(50), f.p(95), f.p(99), float64(f.received)/f.took.Seconds(), f.cpu.Seconds()/f.took.Seconds())
	}
	ours, peer := all["gocart"], all["centrifuge"]
	line, err := json.Marshal(map[string]any{
		"name": "sockets", "machine": fmt.Sprintf("%d processors, %s/%s, %s", runtime.NumCPU(), runtime.GOOS, runtime.GOARCH, runtime.Version()),
		"rss_per_conn_plain": round(ours.plain), "rss_per_conn_tls": round(ours.tls), "p95_ms": ms(ours.p(95)), "p50_ms": ms(ours.p(50)), "p99_ms": ms(ours.p(99)),
		"messages_per_s": round(float64(ours.received) / ours.took.Seconds()),
		"vs_centrifuge": map[string]float64{
			"rss_plain": round(peer.plain / ours.plain), "rss_tls": round(peer.tls / ours.tls), "p95": round(float64(peer.p(95)) / float64(ours.p(95))),
		},
	})
	fmt.Printf("\n%d idle connections; %d clients hear %d events a second for %d s; %d processors\n\n%s\n", connections, clients, rate, seconds, runtime.NumCPU(), line)
	return err
}

func (f *figures) p(n int) time.Duration {
	if len(f.latencies) == 0 {
		return 0
	}
	return f.latencies[(len(f.latencies)-1)*n/100].Round(10 * time.Microsecond)
}

func ms(d time.Duration) float64 { return round(float64(d.Microseconds()) / 1000) }

func round(v float64) float64 { return float64(int(v*100+.5)) / 100 }

// server is a process that serves.
type server struct {
	cmd   *exec.Cmd
	in    io.WriteCloser
	out   *bufio.Scanner
	addr  string
	which protocol
}

func begin(ctx context.Context, name string, secure bool) (*server, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	s := &server{cmd: exec.CommandContext(ctx, self, "-serve", name, "-tls="+strconv.FormatBool(secure)), which: protocols[name]}
	s.cmd.Stderr = os.Stderr
	if s.in, err = s.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := s.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	s.out = bufio.NewScanner(out)
	if err := s.cmd.Start(); err != nil {
		return nil, err
	}
	s.addr, err = s.line()
	return s, err
}

func (s *server) line() (string, error) {
	if !s.out.Scan() {
		return "", errors.Join(errors.New("the server ended"), s.out.Err())
	}
	return s.out.Text(), nil
}

func (s *server) ask(what string) (string, error) {
	if _, err := fmt.Fprintln(s.in, what); err != nil {
		return "", err
	}
	return s.line()
}

func (s *server) end() {
	_ = s.in.Close()
	_ = s.cmd.Wait()
}

// rss is what the process has in memory after it has cleaned up, in bytes.
func (s *server) rss() (int64, error) {
	if _, err := s.ask("clean"); err != nil {
		return 0, err
	}
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.cmd.Process.Pid))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(raw)) {
		if kib, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			n, err := strconv.ParseInt(strings.Fields(kib)[0], 10, 64)
			return n << 10, err
		}
	}
	return 0, errors.New("no VmRSS")
}

// idle measures the memory of a connection that is subscribed and silent.
func idle(ctx context.Context, name string, secure bool, n int) (float64, error) {
	s, err := begin(ctx, name, secure)
	if err != nil {
		return 0, err
	}
	defer s.end()
	// What the process takes for its first connections is not theirs.
	conns := make([]*conn, 0, n)
	defer func() {
		for _, c := range conns {
			_ = c.Close()
		}
	}()
	open := func(from, to int) error {
		var mu sync.Mutex
		var opening sync.WaitGroup
		errs := make(chan error, 16)
		for w := range 16 {
			opening.Go(func() {
				for i := from + w; i < to; i += 16 {
					c, err := s.dial(i, secure)
					if err != nil {
						errs <- err
						return
					}
					mu.Lock()
					conns = append(conns, c)
					mu.Unlock()
				}
			})
		}
		opening.Wait()
		select {
		case err := <-errs:
			return err
		default:
			return nil
		}
	}
	const warm = 200
	if err := open(0, warm); err != nil {
		return 0, err
	}
	before, err := s.rss()
	if err != nil {
		return 0, err
	}
	if err := open(warm, warm+n); err != nil {
		return 0, err
	}
	after, err := s.rss()
	return float64(after-before) / float64(n) / 1024, err
}

// fanOut has events published to clients and times them.
func (f *figures) fanOut(ctx context.Context, name string, clients, rate, events int) error {
	s, err := begin(ctx, name, false)
	if err != nil {
		return err
	}
	defer s.end()
	var mu sync.Mutex
	var reading sync.WaitGroup
	conns := make([]*conn, clients)
	for i := range conns {
		if conns[i], err = s.dial(i, false); err != nil {
			return err
		}
	}
	for _, c := range conns {
		reading.Go(func() {
			var mine []time.Duration
			for {
				text, err := c.text()
				if err != nil {
					break
				}
				if at, ok := stamp(text); ok {
					mine = append(mine, time.Since(at))
				}
			}
			mu.Lock()
			defer mu.Unlock()
			f.latencies = append(f.latencies, mine...)
		})
	}
	began, before := time.Now(), cpu(s.cmd.Process.Pid)
	if _, err := s.ask(fmt.Sprintf("publish %d %d", events, rate)); err != nil {
		return err
	}
	f.took, f.cpu = time.Since(began), cpu(s.cmd.Process.Pid)-before
	time.Sleep(time.Second) // the last ones are on their way
	for _, c := range conns {
		_ = c.Close()
	}
	reading.Wait()
	if f.received = len(f.latencies); f.received != clients*events {
		fmt.Printf("%s: %d of %d messages came\n", name, f.received, clients*events)
	}
	return nil
}

// cpu is what a process has used.
func cpu(pid int) time.Duration {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0
	}
	fields := strings.Fields(string(raw[strings.LastIndexByte(string(raw), ')')+1:]))
	user, _ := strconv.Atoi(fields[11])
	system, _ := strconv.Atoi(fields[12])
	return time.Duration(user+system) * 10 * time.Millisecond
}

// stamp finds when an event was published.
func stamp(text []byte) (time.Time, bool) {
	_, rest, ok := strings.Cut(string(text), `"stamp":`)
	if !ok {
		return time.Time{}, false
	}
	rest = strings.TrimLeft(rest, " ")
	end := strings.IndexAny(rest, ",}")
	n, err := strconv.ParseInt(rest[:max(end, 0)], 10, 64)
	return time.Unix(0, n), err == nil
}

// conn is a client of little memory.
type conn struct {
	net.Conn
	in *bufio.Reader
}

// dial connects as the i-th client, from an address of its own, and subscribes.
func (s *server) dial(i int, secure bool) (*conn, error) {
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 1, byte(i/250), byte(1+i%250))}, Timeout: 30 * time.Second}
	raw, err := dialer.Dial("tcp", s.addr)
	if err != nil {
		return nil, err
	}
	if secure {
		raw = tls.Client(raw, &tls.Config{InsecureSkipVerify: true}) //nolint:gosec // of this benchmark's own server
	}
	c := &conn{raw, bufio.NewReaderSize(raw, 1024)}
	if _, err := fmt.Fprintf(c, "GET /ws HTTP/1.1\r\nHost: shop.example\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"+
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nX-Client: %d\r\n\r\n", i); err != nil {
		return nil, err
	}
	for {
		line, err := c.in.ReadString('\n')
		if err != nil {
			return nil, fmt.Errorf("handshake: %w", err)
		}
		if strings.HasPrefix(line, "HTTP/1.1 ") && !strings.HasPrefix(line, "HTTP/1.1 101") {
			return nil, fmt.Errorf("handshake: %s", line)
		}
		if line == "\r\n" {
			break
		}
	}
	if s.which.greets {
		if _, err := c.text(); err != nil {
			return nil, fmt.Errorf("subscribing: %w", err)
		}
	}
	for _, text := range s.which.say {
		if _, err := c.Write(ws.MustCompileFrame(ws.MaskFrame(ws.NewTextFrame([]byte(text))))); err != nil {
			return nil, err
		}
		if _, err := c.text(); err != nil {
			return nil, fmt.Errorf("subscribing: %w", err)
		}
	}
	return c, nil
}

// text reads the next text.
func (c *conn) text() ([]byte, error) {
	for {
		var head [2]byte
		if _, err := io.ReadFull(c.in, head[:]); err != nil {
			return nil, err
		}
		n := int(head[1] & 0x7f)
		if n == 126 {
			var long [2]byte
			if _, err := io.ReadFull(c.in, long[:]); err != nil {
				return nil, err
			}
			n = int(binary.BigEndian.Uint16(long[:]))
		}
		payload := make([]byte, n)
		if _, err := io.ReadFull(c.in, payload); err != nil {
			return nil, err
		}
		switch ws.OpCode(head[0] & 0x0f) {
		case ws.OpText:
			return payload, nil
		case ws.OpClose:
			return nil, fmt.Errorf("closed: %q", payload)
		case ws.OpPing:
			if _, err := c.Write(ws.MustCompileFrame(ws.MaskFrame(ws.NewPongFrame(payload)))); err != nil {
				return nil, err
			}
		}
	}
}
