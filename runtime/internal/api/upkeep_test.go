package api_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/oapi-codegen/runtime/types"

	"gitee.com/captainjez/gocart/runtime/internal/events"
	"gitee.com/captainjez/gocart/runtime/internal/mail"
	"gitee.com/captainjez/gocart/runtime/internal/money"
	"gitee.com/captainjez/gocart/runtime/internal/testbed"
	"gitee.com/captainjez/gocart/runtime/openapi"
)

// queued are the receivers of the mails of a kind that wait to be sent.
func (s *store) queued(kind mail.Kind) (to []string) {
	s.t.Helper()
	var all string
	s.scan(`SELECT coalesce(string_agg(args->'message'->>'to', ' ' ORDER BY args->'message'->>'to'), '') FROM river_job
		WHERE kind = 'email' AND args->'message'->>'kind' = '`+string(kind)+`'`, &all)
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
	all, err := events.Of(t.Context(), s.Pool, mug.Id, true)
	if err != nil || len(all) != 2 || all[0].Type != "stock.low" || string(all[0].Data.(json.RawMessage)) != `{"sku": "MUG", "title": "MUG", "available": 4, "threshold": 5}` {
		t.Errorf("%v %v", all, err)
	}
	if public, err := events.Of(t.Context(), s.Pool, mug.Id, false); len(public) != 0 || err != nil {
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
	s.scan(`SELECT count(*), sum(jsonb_array_length(args->'message'->'variantIds')) FROM river_job WHERE kind = 'email'`, &mails, &listed)
	s.scan(`SELECT count(DISTINCT subject_id) FROM events WHERE type = 'stock.low'`, &happened)
	if mails != 2*7 || listed != 2*601 || happened != 601 {
		t.Errorf("%d mails list %d, %d events", mails, listed, happened)
	}
}

// sales are the statistics that the administrator reads.
func (s *store) sales(query string) openapi.Sales {
	s.t.Helper()
	return admin[openapi.Sales](s, "GET", "/statistics/sales"+query, "", http.StatusOK)
}

// rollUp adds up by two at once and then once more.
func (s *store) rollUp() {
	s.t.Helper()
	once := func() {
		if n, err := s.Statistics.RollUp(s.t.Context()); n == 0 || err != nil {
			s.t.Errorf("%d days were added up: %v", n, err)
		}
	}
	var both sync.WaitGroup
	both.Go(once)
	both.Go(once)
	both.Wait()
	once()
}

func TestADaysOrdersAreAddedUpAsTheyAreNow(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	s.clock.stopAt(time.Date(2031, 3, 1, 23, 0, 0, 0, time.UTC))
	method := s.shipping()
	mug := s.stocked("MUG", "10.00", 100)
	if got := s.sales(""); len(got.Days) != 0 || got.ComputedAt != nil {
		t.Errorf("before the first run: %+v", got)
	}
	place := func() openapi.Order {
		return want[openapi.Order](t, s.cartOf(method, line(mug, 2)).order(), http.StatusCreated)
	}
	kept, dropped, late := place(), place(), openapi.Order{}
	s.rollUp()
	s.clock.stopAt(time.Date(2031, 3, 2, 1, 0, 0, 0, time.UTC))
	late = place()
	s.rollUp()
	day := func(date string, orders, cancelled, refunded int64) openapi.SalesDay {
		of := func(minor int64) string { return money.Amount{Minor: minor, Currency: "EUR"}.Decimal() }
		day, _ := time.Parse(time.DateOnly, date)
		return openapi.SalesDay{
			Day: types.Date{Time: day}, Currency: "EUR", Orders: orders, Items: 2 * orders, Subtotal: of(2000 * orders), Discount: "0.00",
			Shipping: of(490 * orders), Tax: of(397 * orders), Total: of(2490 * orders), Cancelled: cancelled, Refunded: refunded, RefundedTotal: of(2490 * refunded),
		}
	}
	check := func(query string, days ...openapi.SalesDay) {
		t.Helper()
		got := s.sales(query)
		if diff := cmp.Diff(days, got.Days); diff != "" || !got.ComputedAt.Equal(s.clock.now()) {
			t.Errorf("%s until %s: %s", query, got.ComputedAt, diff)
		}
	}
	check("", day("2031-03-01", 2, 0, 0), day("2031-03-02", 1, 0, 0))

	// What becomes of an order counts for the day on which it was placed, however much later.
	s.clock.stopAt(time.Date(2031, 3, 9, 12, 0, 0, 0, time.UTC))
	admin[openapi.Order](s, "POST", "/orders/"+dropped.Id.String()+"/cancel", `{}`, http.StatusOK)
	for _, to := range []string{"processing", "shipped", "refunded"} {
		admin[openapi.Order](s, "POST", "/orders/"+kept.Id.String()+"/transitions", `{"to":"`+to+`"}`, http.StatusOK)
	}
	s.rollUp()
	check("", day("2031-03-01", 1, 1, 1), day("2031-03-02", 1, 0, 0))
	check("?from=2031-03-02", day("2031-03-02", 1, 0, 0))
	check("?to=2031-03-01", day("2031-03-01", 1, 1, 1))
	admin[openapi.Order](s, "POST", "/orders/"+late.Id.String()+"/cancel", `{}`, http.StatusOK)
	s.rollUp()
	check("?from=2031-03-02&to=2031-03-02", day("2031-03-02", 0, 1, 0))

	// An order that is stored after a run, with a time before it, is not missed.
	s.clock.stopAt(time.Date(2031, 3, 9, 11, 59, 0, 0, time.UTC))
	place()
	s.clock.stopAt(time.Date(2031, 3, 9, 12, 10, 0, 0, time.UTC))
	s.rollUp()
	check("?from=2031-03-09", day("2031-03-09", 1, 0, 0))

	for query, pointer := range map[string]string{"?from=2031-03-10": "to", "?from=2031-03-02&to=2031-03-01": "to", "?from=2030-03-08": "from", "?to=9999-12-31&from=0001-01-01": "from"} {
		p := wantProblem(t, s.asAdmin("GET", "/statistics/sales"+query, ""), http.StatusBadRequest, "invalid_request")
		if (*p.Errors)[0].Pointer != pointer {
			t.Errorf("%s: %+v", query, *p.Errors)
		}
	}
}
