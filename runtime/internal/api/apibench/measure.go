package main

import (
	"bytes"
	"context"
	"embed"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"gitee.com/captainjez/gocart/runtime/internal/pgserver"
	"gitee.com/captainjez/gocart/runtime/internal/rawhttp"
)

// What is measured, by the name in the table.
const (
	list         = "list of 20"
	listCached   = "list of 20, cached"
	listBare     = "list of 20, bare Gin"
	listSQL      = "list of 20, SQL"
	single       = "single product"
	singleCached = "single product, cached"
	singleBare   = "single product, bare Gin"
	singleSQL    = "single product, SQL"
	search       = "search"
	stockList    = "list of 20 with stock"
	cartAdd      = "cart add"
	checkout     = "checkout"
	checkoutSQL  = "checkout, SQL"
	hot          = "checkout of one SKU"
	hotSQL       = "checkout of one SKU, SQL"
	hotFlush     = "the same, flush of 1 ms"
	hotFlushSQL  = "the same, flush of 1 ms, SQL"
)

var order = []string{
	list, listCached, listSQL, listBare, stockList, single, singleCached, singleSQL, singleBare, search,
	cartAdd, checkout, checkoutSQL, hot, hotSQL, hotFlush, hotFlushSQL,
	smallList, smallListCached, smallSingle, smallSingleCached, smallCheckout,
}

//go:embed sql/*.sql
var scripts embed.FS

const listPath = "/api/v1/products"

func productPath(n int) string { return listPath + "/product-" + strconv.Itoa(n) }

// results are noted as they come; what failed is told in the end.
type results struct {
	of     map[string]result
	failed error
}

func (r *results) add(name string) func(result, error) {
	return func(one result, err error) {
		r.of[name] = one
		if err != nil {
			r.failed = errors.Join(r.failed, fmt.Errorf("%s: %w", name, err))
			return
		}
		fmt.Fprintf(os.Stderr, "%-34s %10.0f/s\n", name, one.rate)
	}
}

// large measures a store of 10,000 products, uncached but where it is said.
func (b *bench) large(ctx context.Context, of map[string]result) error {
	s, err := b.busy(ctx, "large", 10_000)
	if err != nil {
		return err
	}
	defer s.stop()
	r := &results{of: of}
	r.add(list)(s.both(ctx, s.read(listPath)))
	r.add(listSQL)(s.pgbench(ctx, "list.sql"))
	r.add(listBare)(s.bare(ctx, listPath))
	r.add(stockList)(s.both(ctx, s.read(listPath+"?include=stock")))
	r.add(single)(s.both(ctx, s.readAny()))
	r.add(singleSQL)(s.pgbench(ctx, "single.sql"))
	r.add(singleBare)(s.bare(ctx, productPath(77)))
	r.add(search)(s.both(ctx, func(int) work {
		return func(c *rawhttp.Conn) error {
			path := listPath + "?q=" + nouns[rand.IntN(len(nouns))] + "+" + strconv.Itoa(rand.IntN(s.products)) //nolint:gosec // a load
			return expect(c, rawhttp.Get(path), http.StatusOK)
		}
	}))
	if err := s.cached(ctx, r, listCached, singleCached); err != nil {
		return err
	}
	r.add(cartAdd)(s.both(ctx, s.addLines))
	r.add(checkout)(s.both(ctx, s.buys(s.any)))
	r.add(checkoutSQL)(s.pgbench(ctx, "checkout.sql"))
	r.add(hot)(s.both(ctx, s.buys(s.first)))
	r.add(hotSQL)(s.pgbench(ctx, "hot.sql"))
	if err := s.flush(ctx, "1000"); err != nil {
		return err
	}
	r.add(hotFlush)(s.both(ctx, s.buys(s.first)))
	r.add(hotFlushSQL)(s.pgbench(ctx, "hot.sql"))
	return errors.Join(r.failed, s.flush(ctx, "0"))
}

// cached measures a second process of the store, which keeps answers.
func (s *store) cached(ctx context.Context, r *results, list, single string) error {
	cached, err := s.serve(ctx, true)
	if err != nil {
		return err
	}
	defer cached.stop()
	if err := cached.readEach(); err != nil {
		return err
	}
	r.add(list)(cached.both(ctx, cached.read(listPath)))
	r.add(single)(cached.both(ctx, cached.readAny()))
	return nil
}

// busy is a store that keeps no answers, and has orders, so that no table is
// empty when the reads are measured.
func (b *bench) busy(ctx context.Context, name string, products int) (*server, error) {
	store, err := b.store(ctx, name, products)
	if err != nil {
		return nil, err
	}
	s, err := store.serve(ctx, false)
	if err != nil {
		return nil, err
	}
	r, err := drive(ctx, s.addr, s.callers, s.each, 0, s.buys(s.any))
	if err != nil {
		return nil, fmt.Errorf("warming up: %w", err)
	}
	fmt.Fprintf(os.Stderr, "warm: %.0f checkouts/s\n", r.rate)
	return s, s.sql(ctx, `VACUUM ANALYZE`)
}

// read asks for one path.
func (s *server) read(path string) func(int) work {
	request := rawhttp.Get(path)
	return func(int) work {
		return func(c *rawhttp.Conn) error { return expect(c, request, http.StatusOK) }
	}
}

// readAny asks for a product.
func (s *server) readAny() func(int) work {
	requests := make([][]byte, s.products)
	for n := range requests {
		requests[n] = rawhttp.Get(productPath(n))
	}
	return func(int) work {
		return func(c *rawhttp.Conn) error {
			return expect(c, requests[rand.IntN(len(requests))], http.StatusOK) //nolint:gosec // a load
		}
	}
}

// both measures at saturation, then at half of that rate, and counts what the
// server allocates for one.
func (s *server) both(ctx context.Context, make func(int) work) (result, error) {
	r, err := drive(ctx, s.addr, s.callers, s.each, 0, make)
	if err != nil {
		return r, err
	}
	half, err := drive(ctx, s.addr, s.callers, s.each, r.rate/2, make)
	if err != nil {
		return r, err
	}
	r.offered = half.p99
	r.allocations, err = s.allocations(make(0))
	return r, err
}

func (s *store) any() uuid.UUID   { return s.stock.variants[rand.IntN(len(s.stock.variants))] } //nolint:gosec // a load
func (s *store) first() uuid.UUID { return s.stock.variants[0] }

// buys is a guest's whole checkout: a cart with address and shipping, priced,
// and its order, paid.
func (s *store) buys(variant func() uuid.UUID) func(int) work {
	return func(int) work {
		return func(c *rawhttp.Conn) error {
			id, token, err := s.open(c, variant())
			if err != nil {
				return err
			}
			return expect(c, rawhttp.Post("/api/v1/orders", `{"cartId":"`+id+`","payment":{"provider":"test"}}`, token), http.StatusCreated)
		}
	}
}

func (s *store) open(c *rawhttp.Conn, variant uuid.UUID) (id, token string, err error) {
	body, err := fetch(c, rawhttp.Post("/api/v1/carts", fmt.Sprintf(`{"email":"ada@example.com","lines":[{"variantId":%q,"quantity":1}],"shippingMethodId":%q,
		"shippingAddress":{"name":"Ada","line1":"Street 1","city":"Berlin","country":"DE","postalCode":"10115"}}`, variant, s.stock.method), ""), http.StatusCreated, true)
	if err != nil {
		return "", "", err
	}
	return rawhttp.After(body, `"id":"`), rawhttp.After(body, `"token":"`), nil
}

// addLines puts things into a cart, up to 20, and opens another.
func (s *store) addLines(int) work {
	id, token, lines := "", "", 0
	return func(c *rawhttp.Conn) (err error) {
		if lines%20 == 0 {
			if id, token, err = s.open(c, s.any()); err != nil {
				return err
			}
		}
		lines++
		return expect(c, rawhttp.Post("/api/v1/carts/"+id+"/lines", fmt.Sprintf(`{"variantId":%q,"quantity":1}`, s.any()), token), http.StatusCreated)
	}
}

// bare measures a Gin handler that writes what the store answers at a path.
func (s *server) bare(ctx context.Context, path string) (result, error) {
	c, err := rawhttp.Dial(s.addr, nil)
	if err != nil {
		return result{}, err
	}
	defer func() { _ = c.Close() }()
	body, err := fetch(c, rawhttp.Get(path), http.StatusOK, true)
	if err != nil {
		return result{}, err
	}
	gin.SetMode(gin.ReleaseMode)
	engine := gin.New()
	engine.GET(path, func(c *gin.Context) { c.Data(http.StatusOK, "application/json", body) })
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return result{}, err
	}
	server := &http.Server{Handler: engine, ReadHeaderTimeout: time.Second}
	go func() { _ = server.Serve(l) }() // ends with Close
	defer func() { _ = server.Close() }()
	return drive(ctx, l.Addr().String(), s.callers, s.each, 0, s.read(path))
}

var tps = regexp.MustCompile(`tps = ([0-9.]+)`)

// pgbench runs a script of this package with as many clients as the API has
// callers.
func (s *store) pgbench(ctx context.Context, script string) (result, error) {
	bin, err := pgserver.Find()
	if err != nil {
		return result{}, err
	}
	text, err := scripts.ReadFile("sql/" + script)
	if err != nil {
		return result{}, err
	}
	file := filepath.Join(s.dir, script)
	if err := os.WriteFile(file, text, 0o600); err != nil {
		return result{}, err
	}
	out, err := exec.CommandContext(ctx, filepath.Join(bin, "pgbench"), "--no-vacuum", "--protocol=prepared",
		"--client="+strconv.Itoa(s.callers), "--jobs=2", "--time="+strconv.Itoa(int(s.each.Seconds())), "--file="+file,
		"--define=variants="+strconv.Itoa(len(s.stock.variants)), "--define=products="+strconv.Itoa(s.products), s.url).CombinedOutput()
	found := tps.FindSubmatch(out)
	if err != nil || found == nil {
		return result{}, fmt.Errorf("pgbench %s: %w: %s", script, err, out)
	}
	rate, err := strconv.ParseFloat(string(found[1]), 64)
	return result{rate: rate}, err
}

// flush makes every flush take so many microseconds longer.
func (s *store) flush(ctx context.Context, microseconds string) error {
	return errors.Join(
		s.sql(ctx, `ALTER SYSTEM SET commit_delay = `+microseconds),
		s.sql(ctx, `ALTER SYSTEM SET commit_siblings = 0`),
		s.sql(ctx, `SELECT pg_reload_conf()`),
	)
}

func (s *store) sql(ctx context.Context, statement string) error {
	conn, err := pgx.Connect(ctx, s.url)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(ctx) }()
	_, err = conn.Exec(ctx, statement)
	return err
}

// allocations counts what the server allocates for one piece of work, by its
// own metrics.
func (s *server) allocations(do work) (float64, error) {
	const times = 300
	c, err := rawhttp.Dial(s.addr, nil)
	if err != nil {
		return 0, err
	}
	defer func() { _ = c.Close() }()
	before, err := s.mallocs()
	if err != nil {
		return 0, err
	}
	for range times {
		if err := do(c); err != nil {
			return 0, err
		}
	}
	now, err := s.mallocs()
	return (now - before) / times, err
}

var mallocs = regexp.MustCompile(`(?m)^go_memstats_mallocs_total (\S+)$`)

func (s *server) mallocs() (float64, error) {
	u := url.URL{Scheme: "http", Host: s.internal, Path: "/metrics"}
	response, err := http.Get(u.String())
	if err != nil {
		return 0, err
	}
	defer func() { _ = response.Body.Close() }()
	var body bytes.Buffer
	if _, err := body.ReadFrom(response.Body); err != nil {
		return 0, err
	}
	found := mallocs.FindSubmatch(body.Bytes())
	if found == nil {
		return 0, errors.New("no go_memstats_mallocs_total among the metrics")
	}
	return strconv.ParseFloat(string(found[1]), 64)
}
