package api_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"pgregory.net/rapid"

	"gitee.com/captainjez/gocart/runtime/openapi"
)

// shop is what a store should be, computed beside it.
type shop struct {
	*store
	method openapi.ShippingMethod
	name   string
	goods  []string
	byID   map[uuid.UUID]string
	ids    map[string]uuid.UUID
	place  uuid.UUID
	onHand map[string]int64
	carts  []*modelCart
	orders []*modelOrder
	buyer  *modelBuyer
	// left is how often the coupon may still be used.
	left int
}

type modelCart struct {
	path, token string
	id          uuid.UUID
	lines       map[string]int64
	coupon      bool
	holds       map[string]int64
	until       time.Time
	// customers is set for the buyer's, closed where it is ordered or gone.
	customers, closed bool
}

type modelOrder struct {
	path            string
	cart            *modelCart
	state, heldFrom openapi.OrderState
	demand          map[string]int64
	due             time.Time
	coupon          bool
	// unpaid says that its provider is to tell when it is paid.
	unpaid bool
}

// modelBuyer is a customer, who signs in anew when the token has lapsed.
type modelBuyer struct {
	email, bearer string
	until         time.Time
}

// The kinds of goods: two of which there is so much and no more, one that is
// sold on, and one that is two of the first.
const (
	cup, pot, poster, pair = "CUP", "POT", "POSTER", "PAIR"
	couponUses             = 2
)

var shops atomic.Int64

func newShop(s *store, method openapi.ShippingMethod) *shop {
	m := &shop{
		store: s, method: method, name: fmt.Sprint("S", shops.Add(1)), goods: []string{cup, pot, poster, pair}, byID: map[uuid.UUID]string{}, ids: map[string]uuid.UUID{},
		onHand: map[string]int64{cup: 12, pot: 3, poster: 0}, left: couponUses,
	}
	add := func(kind, body string) {
		v := admin[openapi.Product](s, "POST", "/products", body, http.StatusCreated).Variants[0]
		m.byID[v.Id], m.ids[kind] = kind, v.Id
	}
	for _, kind := range []string{cup, pot} {
		add(kind, priced(m.sku(kind), m.sku(kind), "active", "10.00"))
		s.count(m.sku(kind), m.onHand[kind])
	}
	add(poster, fmt.Sprintf(`{"title":%q,"type":"simple","status":"active","variants":[{"sku":%q,"prices":[{"amount":"5.00","currency":"EUR"}],"stockPolicy":"continue"}]}`, m.sku(poster), m.sku(poster)))
	add(pair, fmt.Sprintf(`{"title":%q,"type":"bundle","status":"active","bundle":[{"variantId":%q,"quantity":2}],"variants":[{"sku":%q,"prices":[{"amount":"18.00","currency":"EUR"}]}]}`, m.sku(pair), m.ids[cup], m.sku(pair)))
	admin[openapi.Promotion](s, "POST", "/promotions", fmt.Sprintf(`{"title":"Few","code":%q,"kind":"fixed_amount","amount":{"amount":"1.00","currency":"EUR"},"usageLimit":%d}`, m.name, couponUses), http.StatusCreated)
	m.place = admin[openapi.LocationList](s, "GET", "/locations", "", http.StatusOK).Locations[0].Id
	return m
}

func (m *shop) sku(kind string) string { return m.name + "-" + kind }

// demand is what lines need of the stock.
func demand(lines map[string]int64) map[string]int64 {
	need := maps.Clone(lines)
	if n := need[pair]; n > 0 {
		need[cup] += 2 * n
	}
	delete(need, pair)
	return need
}

// reserved is what of a kind belongs to carts and orders.
func (m *shop) reserved(kind string) (n int64) {
	for _, c := range m.carts {
		n += c.holds[kind]
	}
	for _, o := range m.orders {
		if o.open() {
			n += o.demand[kind]
		}
	}
	return n
}

// open reports whether an order holds stock.
func (o *modelOrder) open() bool {
	return slices.Contains([]openapi.OrderState{openapi.OrderStatePending, openapi.OrderStateConfirmed, openapi.OrderStateProcessing, openapi.OrderStateOnHold}, o.state)
}

// enough reports whether there is what is needed, beyond what somebody holds.
func (m *shop) enough(need, held map[string]int64) bool {
	for kind, n := range need {
		if kind != poster && m.onHand[kind]-m.reserved(kind)+held[kind] < n {
			return false
		}
	}
	return true
}

// ways are those of docs/concepts/orders.md.
var ways = map[openapi.OrderState][]openapi.OrderState{
	"pending": {"confirmed", "on_hold", "cancelled"}, "confirmed": {"processing", "on_hold", "cancelled"}, "processing": {"shipped", "on_hold", "cancelled"},
	"on_hold": {"pending", "confirmed", "processing", "cancelled"}, "shipped": {"delivered", "refunded"}, "delivered": {"completed", "refunded"}, "completed": {"refunded"},
}

func (o *modelOrder) may(to openapi.OrderState) bool {
	return slices.Contains(ways[o.state], to) && !(o.unpaid && o.state == "pending" && to == "confirmed") && (o.state != "on_hold" || to == "cancelled" || to == o.heldFrom)
}

// as sends a request as whoever the cart belongs to.
func (m *shop) as(c *modelCart, method, path, body string) *httptest.ResponseRecorder {
	if !c.customers {
		return m.do(method, path, body, "X-Cart-Token", c.token)
	}
	m.logIn(nil)
	return m.do(method, path, body, "Authorization", m.buyer.bearer)
}

// logIn signs the buyer in, if need be or with a cart.
func (m *shop) logIn(c *modelCart) *httptest.ResponseRecorder {
	if m.buyer == nil {
		m.buyer = &modelBuyer{email: m.name + "@example.com"}
		m.do("POST", "/auth/register", fmt.Sprintf(`{"email":%q,"password":"correct horse battery"}`, m.buyer.email))
	}
	if c == nil && m.clock.now().Before(m.buyer.until) {
		return nil
	}
	in := openapi.LoginInput{Email: m.buyer.email, Password: "correct horse battery"}
	if c != nil {
		in.Cart = &openapi.CartKey{Id: c.id, Token: c.token}
	}
	w := m.do("POST", "/auth/login", encode(m.t, in))
	var tokens openapi.Tokens
	if w.Code == http.StatusOK && json.Unmarshal(w.Body.Bytes(), &tokens) == nil {
		m.buyer.bearer, m.buyer.until = "Bearer "+tokens.AccessToken, m.clock.now().Add(10*time.Minute)
	}
	return w
}

// expect fails the property unless the answer has the status.
func expect[T any](t *rapid.T, w *httptest.ResponseRecorder, status int) (v T) {
	if w.Code != status {
		t.Fatalf("got %d %s, want %d", w.Code, w.Body, status)
	}
	if w.Body.Len() > 0 {
		if err := json.Unmarshal(w.Body.Bytes(), &v); err != nil {
			t.Fatal(err)
		}
	}
	return v
}

func (m *shop) drawCart(t *rapid.T) *modelCart {
	if len(m.carts) == 0 {
		t.Skip("no cart")
	}
	return rapid.SampledFrom(m.carts).Draw(t, "cart")
}

func (m *shop) drawOrder(t *rapid.T) *modelOrder {
	if len(m.orders) == 0 {
		t.Skip("no order")
	}
	return rapid.SampledFrom(m.orders).Draw(t, "order")
}

// actions are what people do in a shop, with what should come of it.
func (m *shop) actions() map[string]func(*rapid.T) {
	return map[string]func(*rapid.T){
		"open a cart":       m.openCart,
		"add a line":        m.addLine,
		"set a line":        m.setLine,
		"type a coupon":     m.typeCoupon,
		"hold":              m.hold,
		"place an order":    m.placeOrder,
		"place once more":   m.placeOrder, // likelier
		"cancel":            m.cancel,
		"move an order":     m.move,
		"move on":           m.moveOn,
		"adjust":            m.adjust,
		"let time pass":     m.letTimePass,
		"give back holds":   m.giveBackHolds,
		"cancel the unpaid": m.cancelUnpaid,
		"throw a cart away": m.throwAway,
		"log in":            m.bringAlong,
		"":                  m.check,
	}
}

func (m *shop) openCart(t *rapid.T) {
	kind, n := rapid.SampledFrom(m.goods).Draw(t, "kind"), rapid.Int64Range(1, 4).Draw(t, "quantity")
	g := m.cartOf(m.method, openapi.CartLineInput{VariantId: m.ids[kind], Quantity: n})
	m.carts = append(m.carts, &modelCart{path: "/carts/" + g.cart.Id.String(), id: g.cart.Id, token: g.token, lines: map[string]int64{kind: n}})
}

func (m *shop) addLine(t *rapid.T) {
	c, kind, n := m.drawCart(t), rapid.SampledFrom(m.goods).Draw(t, "kind"), rapid.Int64Range(-1, 500).Draw(t, "quantity")
	w := m.as(c, "POST", c.path+"/lines", encode(m.t, openapi.CartLineInput{VariantId: m.ids[kind], Quantity: n}))
	switch {
	case c.closed && w.Code == http.StatusNotFound: // thrown away
	case c.closed:
		expect[any](t, w, http.StatusConflict)
	case n < 1 || c.lines[kind]+n > 1000:
		expect[any](t, w, http.StatusBadRequest)
	default:
		expect[any](t, w, http.StatusCreated)
		c.lines[kind] += n
	}
}

func (m *shop) setLine(t *rapid.T) {
	c, kind, n := m.drawCart(t), rapid.SampledFrom(m.goods).Draw(t, "kind"), rapid.Int64Range(0, 4).Draw(t, "quantity")
	w := m.as(c, "PUT", c.path+"/lines/"+m.ids[kind].String(), fmt.Sprintf(`{"quantity":%d}`, n))
	switch {
	case c.closed && w.Code == http.StatusNotFound:
	case c.closed:
		expect[any](t, w, http.StatusConflict)
	case c.lines[kind] == 0:
		expect[any](t, w, http.StatusNotFound)
	default:
		expect[any](t, w, http.StatusOK)
		if c.lines[kind] = n; n == 0 {
			delete(c.lines, kind)
		}
	}
}

func (m *shop) typeCoupon(t *rapid.T) {
	c := m.drawCart(t)
	if w := m.as(c, "POST", c.path+"/coupons", fmt.Sprintf(`{"code":%q}`, m.name)); !c.closed {
		expect[any](t, w, http.StatusOK)
		c.coupon = true
	}
}

func (m *shop) hold(t *rapid.T) {
	c := m.drawCart(t)
	w := m.as(c, "POST", c.path+"/reservation", "")
	if c.closed {
		return
	}
	need := demand(c.lines)
	if !m.enough(need, c.holds) {
		expect[any](t, w, http.StatusConflict)
		return
	}
	c.until = *expect[openapi.Cart](t, w, http.StatusOK).ReservedUntil
	c.holds = need
}

func (m *shop) placeOrder(t *rapid.T) {
	c := m.drawCart(t)
	pay := openapi.PaymentInput{Provider: "test", Token: new(rapid.SampledFrom([]string{"", "tok_success", "tok_pending", "tok_requires_action", "tok_declined"}).Draw(t, "token"))}
	if rapid.IntRange(0, 5).Draw(t, "manual") == 0 {
		pay = openapi.PaymentInput{Provider: "manual"}
	}
	held := map[string]int64{}
	if c.until.After(m.clock.now()) {
		held = c.holds
	}
	need := demand(c.lines)
	w := m.as(c, "POST", "/orders", encode(m.t, openapi.OrderInput{CartId: c.id, Payment: pay}))
	switch {
	case c.closed && w.Code == http.StatusNotFound:
		return
	case c.closed, len(c.lines) == 0, !m.enough(need, held):
		expect[any](t, w, http.StatusConflict)
		return
	case pay.Token != nil && *pay.Token == "tok_declined":
		expect[any](t, w, http.StatusPaymentRequired)
		return
	case c.coupon && m.left == 0 && w.Code == http.StatusConflict:
		if p := expect[openapi.Problem](t, w, http.StatusConflict); p.Code != "coupon_used_up" {
			t.Fatalf("got %s", w.Body)
		}
		return
	}
	placed := expect[openapi.Order](t, w, http.StatusCreated)
	o := &modelOrder{path: "/orders/" + placed.Id.String(), cart: c, state: "confirmed", demand: need, coupon: placed.Totals.Discount != "0.00"}
	expires := pay.Token != nil && *pay.Token == "tok_requires_action"
	o.unpaid = expires || pay.Token != nil && *pay.Token == "tok_pending"
	if pay.Provider == "manual" || o.unpaid {
		o.state = "pending"
	}
	if placed.PaymentDueAt != nil {
		o.due = *placed.PaymentDueAt
	}
	if placed.State != o.state || o.due.IsZero() == expires {
		t.Fatalf("order %s", w.Body)
	}
	if o.coupon {
		m.left--
	}
	if o.coupon && !c.coupon || m.left < 0 {
		t.Fatalf("a coupon that is used up was used: %s", w.Body)
	}
	c.closed, c.holds = true, nil
	m.orders = append(m.orders, o)
}

// goes takes the model's order to a state.
func (m *shop) goes(o *modelOrder, to openapi.OrderState) {
	from := o.state
	o.state, o.heldFrom, o.due = to, "", time.Time{}
	switch to {
	case "on_hold":
		o.heldFrom = from
	case "shipped":
		for kind, n := range o.demand {
			m.onHand[kind] -= n
		}
	case "cancelled":
		if o.coupon {
			m.left++
		}
	default:
	}
}

func (m *shop) cancel(t *rapid.T) {
	o := m.drawOrder(t)
	w := m.as(o.cart, "POST", o.path+"/cancel", `{}`)
	if o.state == "cancelled" {
		expect[any](t, w, http.StatusOK)
		return
	}
	if o.state != "pending" && o.state != "confirmed" {
		expect[any](t, w, http.StatusConflict)
		return
	}
	expect[any](t, w, http.StatusOK)
	m.goes(o, "cancelled")
}

func (m *shop) move(t *rapid.T) {
	o := m.drawOrder(t)
	m.moveTo(t, o, rapid.SampledFrom([]openapi.OrderState{"pending", "confirmed", "processing", "shipped", "delivered", "completed", "on_hold", "cancelled", "refunded"}).Draw(t, "to"))
}

func (m *shop) moveOn(t *rapid.T) {
	o := m.drawOrder(t)
	if len(ways[o.state]) == 0 {
		t.Skip("it stays so")
	}
	m.moveTo(t, o, rapid.SampledFrom(ways[o.state]).Draw(t, "to"))
}

func (m *shop) moveTo(t *rapid.T, o *modelOrder, to openapi.OrderState) {
	w := m.asAdmin("POST", o.path+"/transitions", fmt.Sprintf(`{"to":%q}`, to))
	if o.state != to && !o.may(to) {
		expect[any](t, w, http.StatusConflict)
		return
	}
	if got := expect[openapi.Order](t, w, http.StatusOK); got.State != to {
		t.Fatalf("order %s", w.Body)
	}
	if o.state != to {
		m.goes(o, to)
	}
}

func (m *shop) adjust(t *rapid.T) {
	kind := rapid.SampledFrom([]string{cup, pot, poster}).Draw(t, "kind")
	reason := rapid.SampledFrom([]openapi.AdjustmentInputReason{"count", "delivery", "loss", "correction"}).Draw(t, "reason")
	n := rapid.Int64Range(0, 10).Draw(t, "quantity")
	change := map[openapi.AdjustmentInputReason]int64{"count": n - m.onHand[kind], "delivery": n, "loss": -n, "correction": n}[reason]
	w := m.asAdmin("POST", "/inventory/adjustments", encode(m.t, openapi.AdjustmentInput{
		Reason: reason, Changes: []openapi.StockChange{{Sku: m.sku(kind), LocationId: m.place, Quantity: n}},
	}))
	if change < 0 && kind != poster && m.onHand[kind]+change < m.reserved(kind) {
		expect[any](t, w, http.StatusConflict)
		return
	}
	expect[any](t, w, http.StatusCreated)
	m.onHand[kind] += change
}

func (m *shop) letTimePass(t *rapid.T) {
	m.clock.forward(time.Duration(rapid.IntRange(1, 40).Draw(t, "minutes")) * time.Minute)
}

func (m *shop) giveBackHolds(t *rapid.T) {
	if _, err := m.Stock.ExpireHolds(m.t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, c := range m.carts {
		if c.until.Before(m.clock.now()) {
			c.holds = nil
		}
	}
}

func (m *shop) cancelUnpaid(t *rapid.T) {
	if _, err := m.Orders.ExpireUnpaid(m.t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, o := range m.orders {
		if !o.due.IsZero() && o.due.Before(m.clock.now()) {
			m.goes(o, "cancelled")
		}
	}
}

func (m *shop) throwAway(t *rapid.T) {
	c := m.drawCart(t)
	w := m.as(c, "DELETE", c.path, "")
	if c.closed {
		if w.Code != http.StatusNotFound {
			expect[any](t, w, http.StatusConflict)
		}
		return
	}
	expect[any](t, w, http.StatusNoContent)
	c.closed, c.holds = true, nil
}

func (m *shop) bringAlong(t *rapid.T) {
	c := m.drawCart(t)
	if c.closed || c.customers {
		t.Skip("not a guest's open cart")
	}
	tokens := expect[openapi.Tokens](t, m.logIn(c), http.StatusOK)
	own := slices.IndexFunc(m.carts, func(other *modelCart) bool { return other.customers && !other.closed })
	if own < 0 {
		c.customers = true
		return
	}
	into := m.carts[own]
	if *tokens.CartId != into.id {
		t.Fatalf("the cart went into %s", tokens.CartId)
	}
	for kind, n := range c.lines {
		into.lines[kind] = min(1000, into.lines[kind]+n)
	}
	into.coupon = into.coupon || c.coupon
	c.closed, c.holds = true, nil
}

// check compares the store with the model.
func (m *shop) check(t *rapid.T) {
	rows, err := m.Pool.Query(m.t.Context(), `SELECT variant_id, sum(on_hand)::bigint, sum(reserved)::bigint FROM inventory_levels GROUP BY 1`)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		var id uuid.UUID
		var onHand, reserved int64
		if err := rows.Scan(&id, &onHand, &reserved); err != nil {
			t.Fatal(err)
		}
		kind, ours := m.byID[id]
		if !ours {
			continue
		}
		if onHand != m.onHand[kind] || reserved != m.reserved(kind) {
			t.Fatalf("of %s there are %d with %d reserved, want %d with %d", kind, onHand, reserved, m.onHand[kind], m.reserved(kind))
		}
		if kind != poster && onHand < reserved {
			t.Fatalf("of %s there are %d and %d are reserved", kind, onHand, reserved)
		}
	}
}

// TestWhateverPeopleDoTheStoreIsWhatItShouldBe has people do things in any
// order and compares what comes of them with a model.
func TestWhateverPeopleDoTheStoreIsWhatItShouldBe(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	method := s.shipping()
	rapid.Check(t, func(rt *rapid.T) {
		m := newShop(s, method)
		rt.Repeat(m.actions())
		for _, o := range m.orders {
			if got := expect[openapi.Order](rt, s.asAdmin("GET", o.path, ""), http.StatusOK); got.State != o.state {
				rt.Fatalf("the order is %s, want %s", got.State, o.state)
			}
		}
		for _, c := range m.carts {
			if c.closed {
				continue
			}
			lines := map[string]int64{}
			for _, l := range expect[openapi.Cart](rt, m.as(c, "GET", c.path, ""), http.StatusOK).Lines {
				lines[m.byID[l.VariantId]] = l.Quantity
			}
			if !maps.Equal(lines, c.lines) {
				rt.Fatalf("the cart has %v, want %v", lines, c.lines)
			}
		}
		s.wantAddedUp()
		if t.Failed() {
			rt.Fatal("it does not add up")
		}
	})
}
