package api_test

import (
	"context"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"
	"github.com/prometheus/client_golang/prometheus"

	"gitee.com/captainjez/gocart/runtime/internal/db"
	"gitee.com/captainjez/gocart/runtime/internal/events"
	"gitee.com/captainjez/gocart/runtime/internal/jobs"
	"gitee.com/captainjez/gocart/runtime/internal/mail"
	"gitee.com/captainjez/gocart/runtime/internal/testbed"
	"gitee.com/captainjez/gocart/runtime/openapi"
)

// queued are the receivers of the mails that wait to be sent.
func (s *store) queued(template mail.Template) (to []string) {
	s.t.Helper()
	var all string
	s.scan(`SELECT coalesce(string_agg(args->>'to', ' ' ORDER BY args->>'to'), '') FROM river_job
		WHERE kind = 'email' AND args->>'template' = '`+string(template)+`'`, &all)
	return strings.Fields(all)
}

// upkeep does a job by two at once and then once more, and wants so many of it
// in all, and nothing the last time.
func (s *store) upkeep(do func(context.Context) (int64, error), want int64) {
	s.t.Helper()
	counts := make([]int64, 3)
	once := func(i int) {
		n, err := do(s.t.Context())
		if err != nil {
			s.t.Error(err)
		}
		counts[i] = n
	}
	var both sync.WaitGroup
	both.Go(func() { once(0) })
	both.Go(func() { once(1) })
	both.Wait()
	once(2)
	if counts[0]+counts[1] != want || counts[2] != 0 {
		s.t.Errorf("%d were seen to, want %d", counts, want)
	}
}

func (s *store) guestsCart(email string, lines ...openapi.CartLineInput) guest {
	s.t.Helper()
	in := openapi.CartInput{Lines: &lines}
	if email != "" {
		in.Email = &email
	}
	created := want[openapi.CreatedCart](s.t, s.do("POST", "/carts", encode(s.t, in)), http.StatusCreated)
	return guest{s, created.Cart, *created.Token}
}

func TestABuyerIsRemindedOnceOfACartThatWasLeft(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	mug := s.stocked("MUG", "10.00", 100)
	ada := s.guestsCart("ada@example.com", line(mug, 1))
	s.guestsCart("", line(mug, 1))    // nobody can be told of it
	s.guestsCart("empty@example.com") // there is nothing to tell
	method := s.shipping()
	ordered := s.cartOf(method, line(mug, 1))
	want[openapi.Order](t, ordered.order(), http.StatusCreated)
	bob, eve := s.person("bob", openapi.RoleCustomer), s.person("eve", openapi.RoleCustomer)
	for _, p := range []person{bob, eve} {
		in := openapi.CartInput{Lines: &[]openapi.CartLineInput{line(mug, 1)}}
		want[openapi.CreatedCart](t, s.do("POST", "/carts", encode(t, in), "Authorization", p.bearer), http.StatusCreated)
	}
	admin[openapi.Customer](s, "PATCH", "/customers/"+eve.id.String(), `{"locked":true}`, http.StatusOK)

	s.clock.forward(4*time.Hour - time.Minute)
	s.upkeep(s.Reminders.Send, 0)
	late := s.guestsCart("late@example.com", line(mug, 1))
	s.clock.forward(2 * time.Minute)
	s.upkeep(s.Reminders.Send, 2)
	if to := s.queued(mail.CartReminder); !slices.Equal(to, []string{"ada@example.com", "bob@example.com"}) {
		t.Errorf("mails to %v", to)
	}

	// Neither a change of a cart nor a further cart on the same day makes another mail.
	want[openapi.Cart](t, ada.do("PUT", "/carts/"+ada.cart.Id.String()+"/lines/"+mug.Id.String(), `{"quantity":2}`), http.StatusOK)
	s.guestsCart("ada@example.com", line(mug, 3))
	want[openapi.Cart](t, late.do("PUT", "/carts/"+late.cart.Id.String()+"/lines/"+mug.Id.String(), `{"quantity":2}`), http.StatusOK)
	s.clock.forward(4*time.Hour - time.Minute)
	s.upkeep(s.Reminders.Send, 0) // the late one was touched since
	s.clock.forward(2 * time.Minute)
	s.upkeep(s.Reminders.Send, 1)
	s.clock.forward(20 * time.Hour)
	s.guestsCart("ada@example.com", line(mug, 4))
	s.clock.forward(5 * time.Hour)
	s.upkeep(s.Reminders.Send, 1)
	if to := s.queued(mail.CartReminder); !slices.Equal(to, []string{"ada@example.com", "ada@example.com", "bob@example.com", "late@example.com"}) {
		t.Errorf("mails to %v", to)
	}
}

func TestManyCartsAreRemindedOfByTwoAtOnceAndNoneADayTooLate(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	mug := s.stocked("MUG", "10.00", 100)
	s.guestsCart("old@example.com", line(mug, 1))
	s.clock.forward(24 * time.Hour)
	fill := func() {
		if _, err := s.Pool.Exec(t.Context(), `INSERT INTO carts (id, currency, content, touched_at, expires_at)
			SELECT gen_random_uuid(), currency, jsonb_set(content, '{email}', to_jsonb(n || '@example.com')), $1, date_trunc('day', $1::timestamptz + '31 days', 'UTC')
			FROM carts, generate_series(1, 250) n WHERE content->>'email' = 'old@example.com'`, s.clock.now()); err != nil {
			t.Fatal(err)
		}
	}
	fill()
	s.clock.forward(5 * time.Hour)
	s.upkeep(s.Reminders.Send, 250)
	if n := len(s.queued(mail.CartReminder)); n != 250 {
		t.Errorf("%d mails", n)
	}
}

func TestTouchingACartWritesNoIndex(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	mug := s.stocked("MUG", "10.00", 100)
	g := s.guestsCart("ada@example.com", line(mug, 1))
	for range 5 {
		want[openapi.Cart](t, g.do("PUT", "/carts/"+g.cart.Id.String()+"/lines/"+mug.Id.String(), `{"quantity":2}`), http.StatusOK)
	}
	s.Pool.Reset() // a session that ends tells the server what it did
	var updates, hot int
	waitFor := func() bool {
		s.scan(`SELECT n_tup_upd, n_tup_hot_upd FROM pg_stat_user_tables WHERE relname = 'carts'`, &updates, &hot)
		return updates >= 5
	}
	testbed.Eventually(t, "the server counts what was changed", waitFor)
	if hot != updates {
		t.Errorf("%d of %d changes of a cart wrote an index", updates-hot, updates)
	}
}

func TestTheStaffAreToldOnceOfWhatRunsLowUntilThereIsMoreOfIt(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	mug := s.stocked("MUG", "10.00", 6)
	s.stocked("CUP", "10.00", 5)
	for sku, more := range map[string]string{"FREE": `"trackStock":false`, "DRAFT": `"stockPolicy":"deny"`} {
		status := map[string]string{"FREE": "active", "DRAFT": "draft"}[sku]
		admin[openapi.Product](s, "POST", "/products", fmt.Sprintf(`{"title":%q,"type":"simple","status":%q,"variants":[{"sku":%q,%s,
			"prices":[{"amount":"1.00","currency":"EUR"}]}]}`, sku, status, sku, more), http.StatusCreated)
	}
	s.count("DRAFT", 1)
	s.upkeep(s.Alerts.Send, 1) // the cup
	method := s.shipping()
	want[openapi.Order](t, s.cartOf(method, line(mug, 2)).order(), http.StatusCreated)
	s.upkeep(s.Alerts.Send, 1) // the mug, of which 4 are available now
	s.count("MUG", 3)
	s.upkeep(s.Alerts.Send, 0)
	s.count("MUG", 20)
	s.upkeep(s.Alerts.Send, 0)
	s.count("MUG", 4)
	s.upkeep(s.Alerts.Send, 1) // again
	if to := s.queued(mail.LowStock); !slices.Equal(to, []string{"boss@shop.example", "boss@shop.example", "boss@shop.example", "ops@shop.example", "ops@shop.example", "ops@shop.example"}) {
		t.Errorf("mails to %v", to)
	}
	of := func(everything bool) (low []events.Event, err error) {
		all, err := s.Events.Of(t.Context(), mug.Id, everything)
		return slices.DeleteFunc(all, func(e events.Event) bool { return e.Type != "stock.low" }), err
	}
	all, err := of(true)
	if err != nil || len(all) != 2 || all[0].Type != "stock.low" || string(all[0].Data.(json.RawMessage)) != `{"sku": "MUG", "title": "MUG", "available": 4, "threshold": 5}` {
		t.Errorf("%v %v", all, err)
	}
	if public, err := of(false); len(public) != 0 || err != nil {
		t.Errorf("a customer sees %v %v", public, err)
	}
}

func TestTheThresholdOfTheSettingsSaysWhatIsLow(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	s.stocked("MUG", "10.00", 7)
	s.stocked("GONE", "10.00", 0)
	set := func(threshold string) {
		admin[openapi.Settings](s, "PUT", "/settings", `{"currency":"EUR","pricesIncludeTax":true`+threshold+`}`, http.StatusOK)
	}
	set(`,"lowStockThreshold":0`)
	s.upkeep(s.Alerts.Send, 0)
	set(``)
	s.upkeep(s.Alerts.Send, 1)
	set(`,"lowStockThreshold":7`)
	s.upkeep(s.Alerts.Send, 1)
}

func TestAMailListsAHundredVariantsAtMost(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	s.stocked("MUG", "10.00", 1)
	if _, err := s.Pool.Exec(t.Context(), `WITH more AS (
			INSERT INTO variants SELECT gen_random_uuid(), product_id, n, 'MUG ' || n, options, weight_grams, track_stock, stock_policy FROM variants, generate_series(1, 600) n RETURNING id
		) INSERT INTO inventory_levels SELECT more.id, locations.id, 1 FROM more, locations`); err != nil {
		t.Fatal(err)
	}
	s.upkeep(s.Alerts.Send, 601)
	var mails, listed, happened int
	s.scan(`SELECT count(*), sum(jsonb_array_length(args->'variantIds')) FROM river_job WHERE kind = 'email' AND args->>'template' = 'low_stock'`, &mails, &listed)
	s.scan(`SELECT count(DISTINCT subject_id) FROM events WHERE type = 'stock.low'`, &happened)
	if mails != 2*7 || listed != 2*601 || happened != 601 {
		t.Errorf("%d mails list %d, %d events", mails, listed, happened)
	}
}

// write has reports written by a worker, all at once, and returns the folder's
// files.
func (s *store) write(payloads ...string) map[string]string {
	s.t.Helper()
	ctx, stop := context.WithCancel(context.WithoutCancel(s.t.Context()))
	kinds := jobs.Kinds{s.Reports.Kind()}
	ledger := jobs.NewLedger(s.Pool, kinds, s.Queue, s.clock.now)
	worker := jobs.NewWorker(s.config, jobs.Options{Pool: s.Pool, Kinds: kinds, Queue: s.Queue, Log: s.log.Logger(), Metrics: prometheus.NewRegistry(), Now: time.Now})
	var running sync.WaitGroup
	running.Go(func() {
		if err := worker.Run(ctx); err != nil {
			s.t.Error(err)
		}
	})
	defer running.Wait()
	defer stop()
	err := db.WithTx(ctx, s.Pool, func(tx pgx.Tx) error {
		for _, payload := range payloads {
			if _, err := ledger.Enqueue(ctx, tx, jobs.Request{Kind: "report", Payload: json.RawMessage(payload)}); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		s.t.Fatal(err)
	}
	testbed.Eventually(s.t, "the reports are written", func() bool {
		var left int
		s.scan(`SELECT count(*) FROM river_job WHERE kind = 'report' AND state <> 'completed'`, &left)
		return left == 0
	})
	files := map[string]string{}
	entries, err := os.ReadDir(s.config.Reports.Dir)
	if err != nil {
		s.t.Fatal(err)
	}
	for _, e := range entries {
		raw, err := os.ReadFile(filepath.Join(s.config.Reports.Dir, e.Name()))
		if err != nil {
			s.t.Fatal(err)
		}
		files[e.Name()] = string(raw)
	}
	return files
}

func TestReportsAreWrittenAsCSVOnceHoweverOftenTheyAreAskedFor(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	s.clock.stopAt(time.Date(2031, 3, 9, 22, 0, 0, 0, time.UTC))
	mug := admin[openapi.Product](s, "POST", "/products", priced(`=HYPERLINK("x"), Mug`, "MUG", "active", "10.00"), http.StatusCreated).Variants[0]
	s.count("MUG", 7)
	in := s.cartOf(s.shipping(), line(mug, 2))
	want[openapi.Cart](t, in.do("PATCH", "/carts/"+in.cart.Id.String(), `{"email":"=ada@example.com"}`), http.StatusOK)
	o := want[openapi.Order](t, in.order(), http.StatusCreated)
	s.clock.stopAt(time.Date(2031, 3, 10, 1, 0, 0, 0, time.UTC))
	want[openapi.Order](t, s.cartOf(openapi.ShippingMethod{Id: *in.cart.ShippingMethodId}, line(mug, 1)).order(), http.StatusCreated)
	expected := map[string]string{
		"sales_2031-03-09_2031-03-09.csv": "day,currency,orders,items,subtotal,discount,shipping,tax,total,cancelled,refunded,refunded_total,exchanged\r\n" +
			"2031-03-09,EUR,1,2,20.00,0.00,4.90,3.97,24.90,0,0,0.00,0.00\r\n",
		"orders_2031-03-01_2031-03-09.csv": "number,id,placed_at,changed_at,state,email,customer_id,country,currency,items,subtotal,discount,shipping,tax,total\r\n" +
			o.Number + "," + o.Id.String() + ",2031-03-09T22:00:00Z,2031-03-09T22:00:00Z,confirmed,'=ada@example.com,,DE,EUR,2,20.00,0.00,4.90,3.97,24.90\r\n",
		"inventory_2031-03-10.csv": "sku,title,location,on_hand,reserved,available,incoming\r\n" +
			`MUG,"'=HYPERLINK(""x""), Mug",Main,7,3,4,0` + "\r\n",
	}
	for range 2 {
		got := s.write(`{"report":"sales"}`, `{"report":"sales"}`, `{"report":"orders","from":"2031-03-01"}`, `{"report":"orders","from":"2031-03-01"}`, `{"report":"inventory"}`)
		if diff := cmp.Diff(expected, got); diff != "" {
			t.Error(diff)
		}
	}
}

func TestAReportOfManyOrdersHasEachOnce(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	if _, err := s.Pool.Exec(t.Context(), `INSERT INTO orders (id, number, state, cart_id, email, currency, subtotal, discount, shipping, tax, total, item_count, details, created_at, updated_at)
		SELECT gen_random_uuid(), n, 'confirmed', gen_random_uuid(), 'ada@example.com', 'JPY', n, 0, 0, 0, n, 1, '{}', at, at
		FROM generate_series(1, 3500) n, LATERAL (SELECT timestamptz '2031-03-08T23:59:59.999999Z' + (n / 1200) * interval '1 microsecond' AS at) a`); err != nil {
		t.Fatal(err)
	}
	got := s.write(`{"report":"orders","from":"2031-03-09","to":"2031-03-09"}`)["orders_2031-03-09_2031-03-09.csv"]
	rows, err := csv.NewReader(strings.NewReader(got)).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	numbers := map[string]bool{}
	for _, row := range rows[1:] {
		numbers[row[0]] = true
		if row[14] != row[0] || row[8] != "JPY" {
			t.Fatalf("%v", row)
		}
	}
	if len(rows) != 1+2301 || len(numbers) != 2301 || !numbers["1200"] || !numbers["3500"] || numbers["1199"] {
		t.Errorf("%d rows of %d orders", len(rows)-1, len(numbers))
	}
}
