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
)

// What is measured, by the name in the table.
const (
	list        = "list of 20"
	listBare    = "list of 20, bare Gin"
	listSQL     = "list of 20, SQL"
	single      = "single product"
	singleBare  = "single product, bare Gin"
	singleSQL   = "single product, SQL"
	search      = "search"
	stockList   = "list of 20 with stock"
	cartAdd     = "cart add"
	checkout    = "checkout"
	checkoutSQL = "checkout, SQL"
	hot         = "checkout of one SKU"
	hotSQL      = "checkout of one SKU, SQL"
	hotFlush    = "the same, flush of 1 ms"
	hotFlushSQL = "the same, flush of 1 ms, SQL"
)

var order = []string{
	list, listSQL, listBare, stockList, single, singleSQL, singleBare, search, cartAdd, checkout, checkoutSQL, hot, hotSQL, hotFlush, hotFlushSQL,
}

//go:embed sql/*.sql
var scripts embed.FS

func (b *bench) measure(ctx context.Context) (map[string]result, error) {
	results := map[string]result{}
	var failed error
	add := func(name string, r result, err error) {
		results[name] = r
		if err != nil {
			failed = errors.Join(failed, fmt.Errorf("%s: %w", name, err))
			return
		}
		fmt.Fprintf(os.Stderr, "%-34s %10.0f/s\n", name, r.rate)
	}
	read := func(name, path string, paths func() string) {
		r, err := b.both(ctx, func(int) work {
			return func(c *conn) error { _, err := expect(c, get(paths()), http.StatusOK); return err }
		})
		if err == nil {
			r.allocations, err = b.allocations(path)
		}
		add(name, r, err)
	}
	const listPath = "/api/v1/products"
	fixed := func(path string) func() string { return func() string { return path } }
	anyProduct := func() string { return "/api/v1/products/product-" + strconv.Itoa(rand.IntN(products)) } //nolint:gosec // a load

	// Orders come first, so that no table is empty when the reads are measured.
	r, err := drive(ctx, b.addr, b.callers, b.each, 0, func(int) work { return b.buy(b.any) })
	if err != nil {
		return nil, fmt.Errorf("warming up: %w", err)
	}
	fmt.Fprintf(os.Stderr, "warm: %.0f checkouts/s\n", r.rate)
	if err := b.sql(ctx, `VACUUM ANALYZE`); err != nil {
		return nil, err
	}
	read(list, listPath, fixed(listPath))
	add2(add, listSQL)(b.pgbench(ctx, "list.sql"))
	add2(add, listBare)(b.bare(ctx, listPath))
	read(stockList, listPath+"?include=stock", fixed(listPath+"?include=stock"))
	read(single, "/api/v1/products/product-77", anyProduct)
	add2(add, singleSQL)(b.pgbench(ctx, "single.sql"))
	add2(add, singleBare)(b.bare(ctx, "/api/v1/products/product-77"))
	read(search, listPath+"?q=mug+123", func() string {
		return listPath + "?q=" + nouns[rand.IntN(len(nouns))] + "+" + strconv.Itoa(rand.IntN(products)) //nolint:gosec // a load
	})
	add2(add, cartAdd)(b.both(ctx, b.addLines))
	add2(add, checkout)(b.both(ctx, func(int) work { return b.buy(b.any) }))
	add2(add, checkoutSQL)(b.pgbench(ctx, "checkout.sql"))
	add2(add, hot)(b.both(ctx, func(int) work { return b.buy(b.first) }))
	add2(add, hotSQL)(b.pgbench(ctx, "hot.sql"))
	if err := b.flush(ctx, "1000"); err != nil {
		return nil, err
	}
	add2(add, hotFlush)(b.both(ctx, func(int) work { return b.buy(b.first) }))
	add2(add, hotFlushSQL)(b.pgbench(ctx, "hot.sql"))
	return results, failed
}

func add2(add func(string, result, error), name string) func(result, error) {
	return func(r result, err error) { add(name, r, err) }
}

// both measures at saturation, and then at half of that rate.
func (b *bench) both(ctx context.Context, make func(int) work) (result, error) {
	r, err := drive(ctx, b.addr, b.callers, b.each, 0, make)
	if err != nil {
		return r, err
	}
	half, err := drive(ctx, b.addr, b.callers, b.each, r.rate/2, make)
	r.offered = half.p99
	return r, err
}

func (b *bench) any() uuid.UUID   { return b.stock.variants[rand.IntN(len(b.stock.variants))] } //nolint:gosec // a load
func (b *bench) first() uuid.UUID { return b.stock.variants[0] }

// buy is a guest's whole checkout: a cart with address and shipping, priced,
// and its order, paid.
func (b *bench) buy(variant func() uuid.UUID) work {
	return func(c *conn) error {
		id, token, err := b.open(c, variant())
		if err != nil {
			return err
		}
		_, err = expect(c, post("/api/v1/orders", `{"cartId":"`+id+`","payment":{"provider":"test"}}`, token), http.StatusCreated)
		return err
	}
}

var (
	idOf    = []byte(`"id":"`)
	tokenOf = []byte(`"token":"`)
)

func (b *bench) open(c *conn, variant uuid.UUID) (id, token string, err error) {
	body, err := expect(c, post("/api/v1/carts", fmt.Sprintf(`{"email":"ada@example.com","lines":[{"variantId":%q,"quantity":1}],"shippingMethodId":%q,
		"shippingAddress":{"name":"Ada","line1":"Street 1","city":"Berlin","country":"DE","postalCode":"10115"}}`, variant, b.stock.method), ""), http.StatusCreated)
	if err != nil {
		return "", "", err
	}
	return after(body, idOf), after(body, tokenOf), nil
}

// after is the string that stands behind a key.
func after(body, key []byte) string {
	_, rest, _ := bytes.Cut(body, key)
	value, _, _ := bytes.Cut(rest, []byte(`"`))
	return string(value)
}

// addLines puts things into a cart, up to 20, and opens another.
func (b *bench) addLines(int) work {
	id, token, lines := "", "", 0
	return func(c *conn) (err error) {
		if lines%20 == 0 {
			if id, token, err = b.open(c, b.any()); err != nil {
				return err
			}
		}
		lines++
		_, err = expect(c, post("/api/v1/carts/"+id+"/lines", fmt.Sprintf(`{"variantId":%q,"quantity":1}`, b.any()), token), http.StatusCreated)
		return err
	}
}

// bare measures a Gin handler that writes what the store answers at a path.
func (b *bench) bare(ctx context.Context, path string) (result, error) {
	c, err := dial(b.addr)
	if err != nil {
		return result{}, err
	}
	defer func() { _ = c.net.Close() }()
	body, err := expect(c, get(path), http.StatusOK)
	if err != nil {
		return result{}, err
	}
	body = bytes.Clone(body)
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
	return drive(ctx, l.Addr().String(), b.callers, b.each, 0, func(int) work {
		return func(c *conn) error { _, err := expect(c, get(path), http.StatusOK); return err }
	})
}

var tps = regexp.MustCompile(`tps = ([0-9.]+)`)

// pgbench runs a script of this package with as many clients as the API has
// callers.
func (b *bench) pgbench(ctx context.Context, script string) (result, error) {
	bin, err := pgserver.Find()
	if err != nil {
		return result{}, err
	}
	text, err := scripts.ReadFile("sql/" + script)
	if err != nil {
		return result{}, err
	}
	file := filepath.Join(b.dir, script)
	if err := os.WriteFile(file, text, 0o600); err != nil {
		return result{}, err
	}
	out, err := exec.CommandContext(ctx, filepath.Join(bin, "pgbench"), "--no-vacuum", "--protocol=prepared",
		"--client="+strconv.Itoa(b.callers), "--jobs=2", "--time="+strconv.Itoa(int(b.each.Seconds())), "--file="+file,
		"--define=variants="+strconv.Itoa(len(b.stock.variants)), "--define=products="+strconv.Itoa(products), b.url).CombinedOutput()
	found := tps.FindSubmatch(out)
	if err != nil || found == nil {
		return result{}, fmt.Errorf("pgbench %s: %w: %s", script, err, out)
	}
	rate, err := strconv.ParseFloat(string(found[1]), 64)
	return result{rate: rate}, err
}

// flush makes every flush take so many microseconds longer.
func (b *bench) flush(ctx context.Context, microseconds string) error {
	return errors.Join(
		b.sql(ctx, `ALTER SYSTEM SET commit_delay = `+microseconds),
		b.sql(ctx, `ALTER SYSTEM SET commit_siblings = 0`),
		b.sql(ctx, `SELECT pg_reload_conf()`),
	)
}

func (b *bench) sql(ctx context.Context, statement string) error {
	conn, err := pgx.Connect(ctx, b.url)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(ctx) }()
	_, err = conn.Exec(ctx, statement)
	return err
}

// allocations counts what the server allocates for one request, by its own
// metrics.
func (b *bench) allocations(path string) (float64, error) {
	const requests = 500
	c, err := dial(b.addr)
	if err != nil {
		return 0, err
	}
	defer func() { _ = c.net.Close() }()
	before, err := b.mallocs()
	if err != nil {
		return 0, err
	}
	for range requests {
		if _, err := expect(c, get(path), http.StatusOK); err != nil {
			return 0, err
		}
	}
	now, err := b.mallocs()
	return (now - before) / requests, err
}

var mallocs = regexp.MustCompile(`(?m)^go_memstats_mallocs_total (\S+)$`)

func (b *bench) mallocs() (float64, error) {
	u := url.URL{Scheme: "http", Host: b.internal, Path: "/metrics"}
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
