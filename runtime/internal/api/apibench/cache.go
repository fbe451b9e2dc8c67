package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/gin-gonic/gin"

	"gitee.com/captainjez/gocart/runtime/config"
	"gitee.com/captainjez/gocart/runtime/internal/rawhttp"
)

const (
	// cacheTTL is that of config/samples/store-production.yaml.
	cacheTTL = 2 * time.Minute
	// rounds are how often a hit and the bare handler are measured in turn.
	rounds = 5
	// mixRate is how many requests a second the mix has, mixSeconds for how long.
	mixRate, mixSeconds = 4000, 20
	// writeShare of the mix are writes; both are spread over the products by Zipf's
	// law with this exponent.
	writeShare, exponent = 0.01, 1.1
)

// cache measures what a hit costs beside the bare handler, and what the cache
// spares the database.
func (b *bench) cache(ctx context.Context) error {
	store, err := b.store(ctx, "cache", 10_000)
	if err != nil {
		return err
	}
	store.config.Cache.TTL = config.Duration(cacheTTL)
	uncached, err := store.serve(ctx, false)
	if err != nil {
		return err
	}
	defer uncached.stop()
	cached, err := store.serve(ctx, true)
	if err != nil {
		return err
	}
	defer cached.stop()
	ratio, err := cached.hits(ctx)
	if err != nil {
		return err
	}
	without, err := uncached.mix(ctx)
	if err != nil {
		return err
	}
	if err := cached.readEach(); err != nil {
		return err
	}
	with, err := cached.mix(ctx)
	if err != nil {
		return err
	}
	fmt.Printf("\n%d requests/s, %.0f%% of them writes, by Zipf's law over %d products, for %d s:\n", mixRate, 100*writeShare, store.products, mixSeconds)
	fmt.Printf("%-10s %10s %9s %9s %9s\n", "", "statements", "p50", "p95", "p99")
	for _, m := range []struct {
		name string
		mixed
	}{{"uncached", without}, {"cached", with}} {
		fmt.Printf("%-10s %10.0f %9s %9s %9s\n", m.name, m.statements, ms(m.p50), ms(m.p95), ms(m.p99))
	}
	line, err := json.Marshal(map[string]any{
		"name": "cache", "machine": fmt.Sprintf("%d processors, %s/%s, %s", runtime.NumCPU(), runtime.GOOS, runtime.GOARCH, runtime.Version()),
		"hit_vs_bare": round(ratio), "hit_rate": round(with.hitRate), "query_reduction": round(1 - with.statements/without.statements),
	})
	if err != nil {
		return err
	}
	fmt.Printf("\n%s\n", line)
	return nil
}

// readEach asks for each product once, as in a shop that has been open for a
// while.
func (s *server) readEach() error {
	c, err := rawhttp.Dial(s.addr, nil)
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }()
	for n := range s.products {
		if err := expect(c, rawhttp.Get(productPath(n)), http.StatusOK); err != nil {
			return err
		}
	}
	return nil
}

// hits is how many hits there are to one answer of the bare handler, which
// writes the same bytes in a process of its own: the median of rounds.
func (s *server) hits(ctx context.Context) (float64, error) {
	path := productPath(77)
	plain := http.Client{Transport: &http.Transport{DisableCompression: true}} // as the callers ask
	resp, err := plain.Get("http://" + s.addr + path)                          //nolint:noctx // of a benchmark
	if err != nil {
		return 0, err
	}
	defer func() { _ = resp.Body.Close() }()
	same := bare{Header: resp.Header}
	if same.Body, err = io.ReadAll(resp.Body); err != nil || resp.StatusCode != http.StatusOK {
		return 0, fmt.Errorf("%s answers %s: %w", path, resp.Status, err)
	}
	addr, stop, err := startBare(ctx, same)
	if err != nil {
		return 0, err
	}
	defer stop()
	var ratios []float64
	fmt.Printf("%-10s %12s %9s %12s %9s\n", "round", "hits/s", "p99", "bare/s", "p99")
	for n := range rounds {
		hit, err := drive(ctx, s.addr, s.callers, s.each, 0, s.read(path))
		if err != nil {
			return 0, err
		}
		bare, err := drive(ctx, addr, s.callers, s.each, 0, s.read(path))
		if err != nil {
			return 0, err
		}
		fmt.Printf("%-10d %12.0f %9s %12.0f %9s\n", n+1, hit.rate, ms(hit.p99), bare.rate, ms(bare.p99))
		ratios = append(ratios, hit.rate/bare.rate)
	}
	slices.Sort(ratios)
	return ratios[rounds/2], nil
}

// bare is the answer of the bare handler.
type bare struct {
	Header http.Header
	Body   []byte
}

// startBare runs this program again as the bare handler of an answer.
func startBare(ctx context.Context, same bare) (addr string, stop func(), err error) {
	self, err := os.Executable()
	if err != nil {
		return "", nil, err
	}
	input, err := json.Marshal(same)
	if err != nil {
		return "", nil, err
	}
	cmd := exec.CommandContext(ctx, self, "-bare")
	cmd.Stdin, cmd.Stderr = bytes.NewReader(input), os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return "", nil, err
	}
	if err := cmd.Start(); err != nil {
		return "", nil, err
	}
	addr, err = bufio.NewReader(out).ReadString('\n')
	return strings.TrimSpace(addr), func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }, err
}

// serveBare answers whatever is asked with what standard input holds, and says
// where. Each answer has the same header fields and body.
func serveBare() error {
	var same bare
	if err := json.NewDecoder(os.Stdin).Decode(&same); err != nil {
		return err
	}
	gin.SetMode(gin.ReleaseMode)
	engine := gin.New()
	engine.GET(listPath+"/:name", func(c *gin.Context) {
		maps.Copy(c.Writer.Header(), same.Header)
		c.Status(http.StatusOK)
		_, _ = c.Writer.Write(same.Body)
	})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Println(l.Addr())
	server := &http.Server{Handler: engine, ReadHeaderTimeout: time.Second}
	return server.Serve(l)
}

// mixed is what a mix of reads and writes cost.
type mixed struct {
	result
	// statements are those that the store sent to the database, a transaction
	// for one; hitRate is the share of reads that were answered from memory.
	statements, hitRate float64
}

// mix asks for products and writes them.
func (s *server) mix(ctx context.Context) (m mixed, err error) {
	names := []string{"gocart_db_acquires_total ", `gocart_cache_lookups_total{layer="memory"`, `layer="memory",result="hit"`, `layer="memory",result="renew"`}
	before, err := s.metrics(names...)
	if err != nil {
		return m, err
	}
	m.result, err = drive(ctx, s.addr, s.callers, mixSeconds*time.Second, mixRate, func(caller int) work {
		random := rand.New(rand.NewPCG(uint64(caller), 1)) //nolint:gosec // a load
		popular := rand.NewZipf(random, exponent, 1, uint64(s.products-1))
		return func(c *rawhttp.Conn) error {
			n := int(popular.Uint64())
			if random.Float64() >= writeShare {
				return expect(c, rawhttp.Get(productPath(n)), http.StatusOK)
			}
			body, err := json.Marshal(product(n))
			if err != nil {
				return err
			}
			return expect(c, rawhttp.Put(productPath(n), string(body), adminKey), http.StatusOK)
		}
	})
	if err != nil {
		return m, err
	}
	after, err := s.metrics(names...)
	if err != nil {
		return m, err
	}
	for i := range after {
		after[i] -= before[i]
	}
	m.statements = after[0]
	if after[1] > 0 {
		m.hitRate = (after[2] + after[3]) / after[1]
	}
	return m, nil
}

// metrics are the sums of the lines that have each text in them.
func (s *server) metrics(texts ...string) ([]float64, error) {
	response, err := http.Get("http://" + s.internal + "/metrics")
	if err != nil {
		return nil, err
	}
	defer func() { _ = response.Body.Close() }()
	sums, lines := make([]float64, len(texts)), bufio.NewScanner(response.Body)
	for lines.Scan() {
		line := lines.Text()
		for i, text := range texts {
			if strings.HasPrefix(line, "#") || !strings.Contains(line, text) {
				continue
			}
			value, err := strconv.ParseFloat(line[strings.LastIndexByte(line, ' ')+1:], 64)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", line, err)
			}
			sums[i] += value
		}
	}
	return sums, lines.Err()
}
