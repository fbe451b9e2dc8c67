package api_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"

	"github.com/google/uuid"

	"gitee.com/captainjez/gocart/runtime/internal/payment"
	"gitee.com/captainjez/gocart/runtime/internal/problem"
	"gitee.com/captainjez/gocart/runtime/internal/testbed"
	"gitee.com/captainjez/gocart/runtime/openapi"
)

// ledger is a provider that remembers what becomes of its payments.
type ledger struct {
	mu    sync.Mutex
	state map[uuid.UUID]string
}

func (l *ledger) set(id uuid.UUID, state string, from ...string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, f := range from {
		if l.state[id] == f {
			l.state[id] = state
			return nil
		}
	}
	return fmt.Errorf("payment %s is %q, and so cannot become %s", id, l.state[id], state)
}

func (l *ledger) Authorize(_ context.Context, r payment.Request) (payment.Facts, error) {
	if r.Token == "declined" {
		return payment.Facts{}, problem.New(http.StatusPaymentRequired, "payment_declined", "No.")
	}
	return payment.Facts{State: openapi.PaymentStateAuthorized, Reference: "ledger"}, l.set(r.ID, "authorized", "")
}
func (l *ledger) Capture(_ context.Context, p payment.Payment, _ payment.Operation) (payment.Facts, error) {
	return payment.Facts{}, l.set(p.ID, "captured", "authorized")
}
func (l *ledger) Void(_ context.Context, p payment.Payment, _ payment.Operation) (payment.Facts, error) {
	return payment.Facts{}, l.set(p.ID, "voided", "authorized")
}
func (l *ledger) Refund(_ context.Context, p payment.Payment, _ payment.Operation) (payment.Facts, error) {
	return payment.Facts{}, l.set(p.ID, "refunded", "captured")
}

// paid is a store whose payments a ledger takes.
type paid struct {
	*store
	ledger *ledger
}

func newPaid(t testing.TB) paid {
	p := paid{newStore(t), &ledger{state: map[uuid.UUID]string{}}}
	p.Payments.Use("ledger", p.ledger)
	return p
}

func (p paid) buy(g guest, token string, headers ...string) *httptest.ResponseRecorder {
	return g.do("POST", "/orders", encode(p.t, openapi.OrderInput{CartId: g.cart.Id, Payment: openapi.PaymentInput{Provider: "ledger", Token: &token}}), headers...)
}

// wantGivenUp fails the test unless so many payments were given up and every
// other one is an order's, in the state that the store has of it.
func (p paid) wantGivenUp(n int) {
	p.t.Helper()
	rows, err := p.Pool.Query(p.t.Context(), `SELECT id, state FROM payments`)
	if err != nil {
		p.t.Fatal(err)
	}
	stored := map[uuid.UUID]string{}
	for rows.Next() {
		var id uuid.UUID
		var state string
		if err := rows.Scan(&id, &state); err != nil {
			p.t.Fatal(err)
		}
		stored[id] = state
	}
	p.ledger.mu.Lock()
	defer p.ledger.mu.Unlock()
	given := 0
	for id, state := range p.ledger.state {
		switch known, ours := stored[id]; {
		case !ours && state == "voided":
			given++
		case known != state:
			p.t.Errorf("a payment is %s at its provider, and %q in the store", state, known)
		}
	}
	if given != n {
		p.t.Errorf("%d payments were given up, want %d", given, n)
	}
}

func TestAPaymentIsGivenUpWhereNothingWasStoredAndNowhereElse(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name    string
		prepare func(paid, guest)
		token   string
		status  int
		givenUp int
	}{
		{name: "an order that is stored keeps its payment", status: http.StatusCreated},
		{name: "a payment that was declined is none", token: "declined", status: http.StatusPaymentRequired},
		{name: "stock that is gone just now", status: http.StatusConflict, givenUp: 1, prepare: func(p paid, _ guest) {
			p.statements.meanwhile("LockCarts", func() { p.count("MUG", 0) })
		}},
		{name: "a cart that changes once is tried again", status: http.StatusCreated, givenUp: 1, prepare: func(p paid, g guest) {
			p.statements.meanwhile("LockCarts", func() { want[any](p.t, g.do("PATCH", g.path(), `{"vatId":"X"}`), http.StatusOK) })
		}},
		{name: "a cart that is thrown away", status: http.StatusNotFound, givenUp: 1, prepare: func(p paid, g guest) {
			p.statements.meanwhile("LockCarts", func() { g.do("DELETE", g.path(), "") })
		}},
		{name: "a statement that fails", status: http.StatusInternalServerError, givenUp: 1, prepare: func(p paid, _ guest) {
			p.exec(`ALTER TABLE events ADD CHECK (type <> 'order.placed')`)
		}},
		{name: "a database that goes before the commit", status: http.StatusServiceUnavailable, givenUp: 1, prepare: func(p paid, _ guest) {
			p.statements.meanwhile("InsertOrders", p.disconnect)
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			p := newPaid(t)
			g := p.cartOf(p.shipping(), line(p.stocked("MUG", "10.00", 5), 1))
			if c.prepare != nil {
				c.prepare(p, g)
			}
			if w := p.buy(g, c.token); w.Code != c.status {
				t.Errorf("got %d %s, want %d", w.Code, w.Body, c.status)
			}
			if p.statements.pending() {
				t.Error("nothing happened meanwhile")
			}
			p.wantGivenUp(c.givenUp)
			p.wantAddedUp()
		})
	}
}

func (s *store) exec(query string) {
	s.t.Helper()
	if _, err := s.Pool.Exec(s.t.Context(), query); err != nil {
		s.t.Fatal(err)
	}
}

// disconnect ends every other connection to the store's database.
func (s *store) disconnect() {
	s.t.Helper()
	s.exec(`SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()`)
}

func TestAnOrderOfNothingAsksNoProvider(t *testing.T) {
	t.Parallel()
	p := newPaid(t)
	gift := admin[openapi.Product](p.store, "POST", "/products", `{"title":"Gift","type":"digital","status":"active",
		"variants":[{"sku":"GIFT","prices":[{"amount":"0.00","currency":"EUR"}]}]}`, http.StatusCreated).Variants[0]
	free := func() openapi.Order {
		t.Helper()
		g := p.open(openapi.CartInput{Lines: &[]openapi.CartLineInput{line(gift, 1)}, Email: new("ada@example.com")})
		o := want[openapi.Order](t, p.buy(g, "declined"), http.StatusCreated)
		if o.State != openapi.OrderStateConfirmed || o.Totals.Total != "0.00" || o.Payments[0].State != openapi.PaymentStateCaptured {
			t.Errorf("order %+v", o)
		}
		return o
	}
	path := "/orders/" + free().Id.String()
	if o := admin[openapi.Order](p.store, "POST", path+"/cancel", `{}`, http.StatusOK); o.Payments[0].State != openapi.PaymentStateVoided {
		t.Errorf("payment %+v", o.Payments)
	}
	path = "/orders/" + free().Id.String() + "/transitions"
	for _, to := range []string{"processing", "shipped", "refunded"} {
		admin[openapi.Order](p.store, "POST", path, `{"to":"`+to+`"}`, http.StatusOK)
	}
	if len(p.ledger.state) != 0 {
		t.Errorf("the provider was asked for %v", p.ledger.state)
	}
	p.wantAddedUp()
}

func TestAnOrderOfWhichNobodyKnowsKeepsItsPayment(t *testing.T) {
	t.Parallel()
	p := newPaid(t)
	g := p.cartOf(p.shipping(), line(p.stocked("MUG", "10.00", 5), 1))
	p.clock.stop()
	if _, err := p.Rules.Current(t.Context()); err != nil { // so that the next commit is the order's
		t.Fatal(err)
	}
	p.statements.meanwhile("commit", p.disconnect)
	wantProblem(t, p.buy(g, "", "Idempotency-Key", "k"), http.StatusServiceUnavailable, "database_unavailable")
	for id, state := range p.ledger.state {
		if state != "authorized" {
			t.Errorf("payment %s is %s", id, state)
		}
	}
	want[openapi.Order](t, p.buy(g, "", "Idempotency-Key", "k"), http.StatusCreated)
	if len(p.ledger.state) != 2 {
		t.Errorf("payments %v", p.ledger.state)
	}
	p.wantAddedUp()
}

func TestOfManyAtOnceEveryPaymentIsAnOrdersOrGivenUp(t *testing.T) {
	t.Parallel()
	const buyers, units = 40, 10
	uri := testbed.Database(t)
	p := paid{storeOver(t, uri), &ledger{state: map[uuid.UUID]string{}}}
	other := storeOver(t, uri)
	p.Payments.Use("ledger", p.ledger)
	other.Payments.Use("ledger", p.ledger)
	method := p.shipping()
	mug := p.stocked("MUG", "10.00", units)
	carts := make([]guest, buyers)
	for i := range carts {
		carts[i] = p.cartOf(method, line(mug, 1))
	}
	codes := concurrently(3*buyers, func(i int) int {
		g := carts[i%buyers]
		if i%2 == 0 {
			g.store = other
		}
		return p.buy(g, "", "Idempotency-Key", "k").Code
	})
	sold := 0
	if p.scan(`SELECT count(*) FROM orders`, &sold); sold != units {
		t.Errorf("%d are sold, with answers %v", sold, codes)
	}
	p.wantGivenUp(len(p.ledger.state) - units)
	rows, err := p.Pool.Query(t.Context(), `SELECT id FROM orders`)
	if err != nil {
		t.Fatal(err)
	}
	var ids []string
	for rows.Next() {
		var id uuid.UUID
		if err := rows.Scan(&id); err != nil {
			t.Fatal(err)
		}
		ids = append(ids, id.String())
	}
	for i, id := range ids {
		if i%2 == 0 {
			admin[openapi.Order](p.store, "POST", "/orders/"+id+"/cancel", `{}`, http.StatusOK)
			continue
		}
		for _, to := range []string{"processing", "shipped", "refunded"} {
			admin[openapi.Order](p.store, "POST", "/orders/"+id+"/transitions", `{"to":"`+to+`"}`, http.StatusOK)
		}
	}
	p.wantGivenUp(len(p.ledger.state) - units)
	p.wantAddedUp()
}
