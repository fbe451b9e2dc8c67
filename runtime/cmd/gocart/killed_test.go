package main

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"sigs.k8s.io/yaml"

	"gitee.com/captainjez/gocart/runtime/config"
	"gitee.com/captainjez/gocart/runtime/internal/pgserver"
	"gitee.com/captainjez/gocart/runtime/internal/testbed"
	"gitee.com/captainjez/gocart/runtime/openapi"
)

// asProgram makes this test's binary be gocart.
const asProgram = "GOCART_TEST_AS_PROGRAM"

// child is gocart in a process of its own, which can be killed.
type child struct {
	t *testing.T
	// role is api where it is empty.
	role, file string
	mu         sync.Mutex
	cmd        *exec.Cmd
}

func (c *child) start() {
	c.t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.cmd = exec.Command(os.Args[0], cmp.Or(c.role, "api"), "--config", c.file)
	c.cmd.Env = append(os.Environ(), asProgram+"=1")
	c.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := c.cmd.Start(); err != nil {
		c.t.Fatal(err)
	}
}

func (c *child) signal(s syscall.Signal) {
	if err := c.cmd.Process.Signal(s); err != nil {
		c.t.Error(err)
	}
}

func (c *child) wait() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.cmd.Wait()
}

func (c *child) kill() {
	c.mu.Lock()
	defer c.mu.Unlock()
	_ = c.cmd.Process.Kill()
	_ = c.cmd.Wait()
}

// durable is a PostgreSQL of the test's own that flushes, as others in tests do
// not.
func durable(t *testing.T) *pgserver.Server {
	t.Helper()
	dir, err := os.MkdirTemp("", "gocart-pg-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	server, err := pgserver.Start(t.Context(), pgserver.Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Kill)
	return server
}

// freeAddress is a port that was free a moment ago.
func freeAddress(t *testing.T) string {
	t.Helper()
	// On a host of its own, where no connection of another test takes the port
	// before the process that is to listen on it.
	host := net.IPv4(127, byte(1+rand.IntN(250)), byte(rand.IntN(250)), byte(1+rand.IntN(250)))
	l, err := net.Listen("tcp", net.JoinHostPort(host.String(), "0"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	return l.Addr().String()
}

// TestNoAcknowledgedOrderIsLostWhenTheAPIAndPostgreSQLAreKilled places 2,000
// orders while the process that stores them, and then its database, are ended
// by kill -9. Buyers try again with their Idempotency-Key, as browsers do.
func TestNoAcknowledgedOrderIsLostWhenTheAPIAndPostgreSQLAreKilled(t *testing.T) {
	t.Parallel()
	const orders, buyers = 2000, 16
	server := durable(t)
	c := storeConfig(t, server.URL("postgres"))
	migrated(t, c)
	c.Server.Public.Address, c.Server.Internal.Address = freeAddress(t), freeAddress(t)
	file, err := yaml.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	api := &child{t: t, file: testbed.File(t, string(file))}
	api.start()
	defer api.kill()
	store := &buyer{t: t, url: "http://" + c.Server.Public.Address}
	variant := store.shelf(orders)

	var placed atomic.Int64
	var mu sync.Mutex
	acknowledged := map[string]bool{}
	third, twoThirds := make(chan struct{}), make(chan struct{})
	var wg sync.WaitGroup
	for b := range buyers {
		wg.Go(func() {
			for i := range orders / buyers {
				id := store.buy(variant, fmt.Sprintf("%d-%d", b, i))
				mu.Lock()
				acknowledged[id] = true
				mu.Unlock()
				switch placed.Add(1) {
				case orders / 3:
					close(third)
				case 2 * orders / 3:
					close(twoThirds)
				}
			}
		})
	}
	<-third
	api.kill()
	api.start()
	<-twoThirds
	server.Kill()
	if err := server.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	wg.Wait()

	pool, err := pgxpool.New(t.Context(), server.URL("postgres"))
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	rows, err := pool.Query(t.Context(), `SELECT id::text FROM orders`)
	if err != nil {
		t.Fatal(err)
	}
	stored := map[string]bool{}
	for rows.Next() {
		var id string
		if err := rows.Scan(&id); err != nil {
			t.Fatal(err)
		}
		stored[id] = true
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	for id := range acknowledged {
		if !stored[id] {
			t.Errorf("order %s was acknowledged and is not there", id)
		}
	}
	if len(acknowledged) != orders || len(stored) != orders {
		t.Errorf("%d orders were acknowledged and %d stored, want %d of each", len(acknowledged), len(stored), orders)
	}
	testbed.AddedUp(t, pool)
}

// TestNoMailIsLostOrSentTwiceWhenWorkersAndPostgreSQLAreKilled sends 1,000
// mails, of whose addresses 2% are refused, while the processes that send them,
// and once the database, are ended by kill -9. What the server was handed as
// its worker died may have been delivered or not: that is dead, with the
// reason, and was taken once at most.
func TestNoMailIsLostOrSentTwiceWhenWorkersAndPostgreSQLAreKilled(t *testing.T) {
	t.Parallel()
	const mails, workers, kills = 1000, 2, 8
	server := durable(t)
	smtp := testbed.SMTP(t, testbed.SMTPRules{Delay: 150 * time.Millisecond, Refuse: func(to string) string {
		if strings.HasPrefix(to, "nobody") {
			return "550 no such user"
		}
		return ""
	}})
	c := storeConfig(t, server.URL("postgres"))
	c.Mail = &config.Mail{
		URLFile: testbed.File(t, "smtp://"+smtp.Addr), CAFile: testbed.File(t, smtp.CA), From: "Shop <shop@shop.example>",
		Timeout: config.Duration(8 * time.Second),
	}
	c.Worker.Workers, c.Worker.Concurrency = 1, 4
	migrated(t, c)
	pool, err := pgxpool.New(t.Context(), server.URL("postgres"))
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	_, err = pool.Exec(t.Context(), `INSERT INTO river_job (kind, queue, max_attempts, args)
		SELECT 'email', 'high', 20, jsonb_build_object('template', 'test_message', 'to', CASE WHEN n % 50 = 0 THEN 'nobody' ELSE 'ada' END || n || '@example.com')
		FROM generate_series(1, $1::int) n`, mails)
	if err != nil {
		t.Fatal(err)
	}
	var all [workers]*child
	for i := range all {
		c.Server.Public.Address, c.Server.Internal.Address = freeAddress(t), freeAddress(t)
		file, err := yaml.Marshal(c)
		if err != nil {
			t.Fatal(err)
		}
		all[i] = &child{t: t, role: "worker", file: testbed.File(t, string(file))}
		all[i].start()
		defer all[i].kill()
	}
	for k := range kills {
		testbed.Eventually(t, "more mails are sent", func() bool { return len(smtp.Mails()) >= (k+1)*mails/(kills+2) })
		victim := all[rand.IntN(workers)]
		victim.kill()
		victim.start()
		if k == kills/2 {
			server.Kill()
			if err := server.Restart(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
	}
	testbed.Within(t, 90*time.Second, "every mail is sent or dead", func() bool {
		var left int
		err := pool.QueryRow(t.Context(), `SELECT count(*) FROM river_job WHERE kind = 'email' AND finalized_at IS NULL`).Scan(&left)
		return err == nil && left == 0
	})

	taken := map[string]int{} // by address
	for mail, n := range smtp.Taken() {
		to, _, _ := strings.Cut(mail, " ")
		taken[to] += n
	}
	rows, err := pool.Query(t.Context(), `SELECT args->>'to', state::text, coalesce(errors[cardinality(errors)]->>'error', '') FROM river_job WHERE kind = 'email'`)
	if err != nil {
		t.Fatal(err)
	}
	var sent, refused, unknown, delivered int
	var to, state, reason string
	_, err = pgx.ForEachRow(rows, []any{&to, &state, &reason}, func() error {
		switch n := taken[to]; {
		case state == "completed" && n == 1:
			sent++
		case state == "cancelled" && n == 0 && strings.Contains(reason, "550 no such user"):
			refused++
		case state == "cancelled" && n <= 1 && strings.Contains(reason, "it may have been delivered"):
			unknown++
			delivered += n
		default:
			t.Errorf("a mail to %s is %s, was taken %d times, and the reason is %q", to, state, n, reason)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if refused != mails/50 || sent+refused+unknown != mails || len(taken) != sent+delivered {
		t.Errorf("%d are sent, %d refused, %d unknown, of %d; the server took %d", sent, refused, unknown, mails, len(taken))
	}
	t.Logf("%d mails: %d sent once, %d refused, %d in the dead letters as unknown, of which %d were delivered", mails, sent, refused, unknown, delivered)
}

// TestNoRequestIsCutWhenAReplicaIsStopped ends one of two replicas by SIGTERM
// under load. Buyers choose a replica that is ready, as a Service does, and try
// nothing again.
func TestNoRequestIsCutWhenAReplicaIsStopped(t *testing.T) {
	t.Parallel()
	const orders, buyers = 600, 12
	uri := testbed.Database(t)
	var replicas [2]*child
	var urls, internals [2]string
	for i := range replicas {
		c := storeConfig(t, uri)
		c.Server.Public.Address, c.Server.Internal.Address = freeAddress(t), freeAddress(t)
		file, err := yaml.Marshal(c)
		if err != nil {
			t.Fatal(err)
		}
		replicas[i] = &child{t: t, file: testbed.File(t, string(file))}
		replicas[i].start()
		defer replicas[i].kill()
		urls[i], internals[i] = "http://"+c.Server.Public.Address, "http://"+c.Server.Internal.Address
	}
	ready := func(i int) bool {
		response, err := http.Get(internals[i] + "/readyz")
		if err != nil {
			return false
		}
		_ = response.Body.Close()
		return response.StatusCode == http.StatusOK
	}
	for i := range replicas {
		testbed.Eventually(t, "the replica is ready", func() bool { return ready(i) })
	}
	shop := &buyer{t: t, url: urls[1]}
	variant := shop.shelf(orders)
	var first atomic.Bool // whether the first replica gets traffic
	first.Store(true)
	var placed atomic.Int64
	half := make(chan struct{})
	var wg sync.WaitGroup
	for b := range buyers {
		wg.Go(func() {
			for i := range orders / buyers {
				me := *shop
				if me.once = true; first.Load() {
					me.url = urls[0]
				}
				me.buy(variant, fmt.Sprintf("%d-%d", b, i))
				if placed.Add(1) == orders/2 {
					close(half)
				}
			}
		})
	}
	<-half
	replicas[0].signal(syscall.SIGTERM)
	testbed.Eventually(t, "the replica is no longer ready", func() bool { return !ready(0) })
	first.Store(false)
	if err := replicas[0].wait(); err != nil {
		t.Errorf("the stopped replica ends with %v", err)
	}
	wg.Wait()
	pool, err := pgxpool.New(t.Context(), uri)
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	var n int
	if err := pool.QueryRow(t.Context(), `SELECT count(*) FROM orders`).Scan(&n); err != nil || n != orders {
		t.Errorf("%d orders, %v, want %d", n, err, orders)
	}
	testbed.AddedUp(t, pool)
}

// buyer talks to a store that comes and goes.
type buyer struct {
	t      *testing.T
	url    string
	method openapi.ShippingMethod
	// once has nothing tried again.
	once bool
}

// send repeats a request until it is answered for good, and decodes the answer.
func send[T any](b *buyer, path string, body any, headers ...string) (v T) {
	encoded, err := json.Marshal(body)
	if err != nil {
		b.t.Error(err)
		return v
	}
	deadline := time.Now().Add(time.Minute)
	for {
		var last string
		request, err := http.NewRequestWithContext(b.t.Context(), http.MethodPost, b.url+path, bytes.NewReader(encoded))
		if err != nil {
			b.t.Error(err)
			return v
		}
		request.Header.Set("Content-Type", "application/json")
		for i := 0; i < len(headers); i += 2 {
			request.Header.Set(headers[i], headers[i+1])
		}
		response, err := http.DefaultClient.Do(request)
		if err == nil {
			err = json.NewDecoder(response.Body).Decode(&v)
			_ = response.Body.Close()
			if err == nil && response.StatusCode == http.StatusCreated {
				return v
			}
			last = response.Status
			if err == nil && response.StatusCode < http.StatusInternalServerError {
				b.t.Errorf("POST %s is answered %s", path, last)
				return v
			}
		} else {
			last = err.Error()
		}
		if b.once || time.Now().After(deadline) {
			b.t.Errorf("POST %s has no answer, the last: %s", path, last)
			return v
		}
		<-time.After(20 * time.Millisecond)
	}
}

// shelf puts a product on sale and returns its variant.
func (b *buyer) shelf(quantity int64) openapi.Variant {
	admin := []string{"Authorization", "Bearer " + adminKey, "Idempotency-Key", "shelf"}
	status := openapi.ProductStatusActive
	mug := send[openapi.Product](b, "/products", openapi.ProductInput{
		Title: "Mug", Type: openapi.ProductTypeSimple, Status: &status,
		Variants: []openapi.VariantInput{{Sku: "MUG", Prices: []openapi.PriceInput{{Amount: "5.00", Currency: "EUR"}}}},
	}, admin...)
	location := send[openapi.Location](b, "/locations", openapi.LocationInput{Name: "Shelf"}, admin...)
	send[openapi.LevelList](b, "/inventory/adjustments", openapi.AdjustmentInput{
		Reason: openapi.AdjustmentInputReasonCount, Changes: []openapi.StockChange{{Sku: "MUG", LocationId: location.Id, Quantity: quantity}},
	}, admin...)
	zone := send[openapi.Zone](b, "/zones", openapi.ZoneInput{Name: "World", Areas: []string{"*"}}, admin...)
	b.method = send[openapi.ShippingMethod](b, "/shipping-methods", openapi.ShippingMethodInput{
		Name: "Parcel", ZoneId: zone.Id, Prices: []openapi.ShippingPrice{{Price: openapi.Money{Amount: "1.00", Currency: "EUR"}}},
	}, admin...)
	return mug.Variants[0]
}

// buy places one order, and returns its id once it is acknowledged.
func (b *buyer) buy(v openapi.Variant, key string) string {
	email := "ada@example.com"
	cart := send[openapi.CreatedCart](b, "/carts", openapi.CartInput{Email: &email, Lines: &[]openapi.CartLineInput{{VariantId: v.Id, Quantity: 1}},
		ShippingAddress:  &openapi.Address{Name: "Ada", Line1: "Street 1", City: "Berlin", Country: "DE"},
		ShippingMethodId: &b.method.Id,
	}, "Idempotency-Key", key)
	if cart.Token == nil {
		return ""
	}
	return send[openapi.Order](b, "/orders", openapi.OrderInput{CartId: cart.Cart.Id, Payment: openapi.PaymentInput{Provider: "manual"}},
		"Idempotency-Key", key, "X-Cart-Token", *cart.Token).Id.String()
}

func migrated(t *testing.T, c config.Config) {
	t.Helper()
	root := rootCommand()
	file, err := yaml.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	root.SetArgs([]string{"migrate", "--config", testbed.File(t, string(file))})
	if err := root.ExecuteContext(t.Context()); err != nil {
		t.Fatal(err)
	}
}
