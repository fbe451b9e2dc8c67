package api_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"gitee.com/captainjez/gocart/runtime/internal/testbed"
	"gitee.com/captainjez/gocart/runtime/openapi"
)

// together does all at the same moment and waits for their ends.
func together(all ...func()) {
	var ready, done sync.WaitGroup
	begin := make(chan struct{})
	for _, do := range all {
		ready.Add(1)
		done.Go(func() {
			ready.Done()
			<-begin
			do()
		})
	}
	ready.Wait()
	close(begin)
	done.Wait()
}

// oneWins fails the test unless one of two answers is a success and the other
// a conflict.
func oneWins(t *testing.T, a, b *httptest.ResponseRecorder) {
	t.Helper()
	if ok := a.Code < 300; ok == (b.Code < 300) || max(a.Code, b.Code) != http.StatusConflict {
		t.Errorf("got %d %s and %d %s", a.Code, a.Body, b.Code, b.Body)
	}
}

// rounds is how often two are let loose on each other.
const rounds = 8

func TestAHundredAdditionsAtOnceAddUp(t *testing.T) {
	t.Parallel()
	uri := testbed.Database(t)
	replicas := []*store{storeOver(t, uri), storeOver(t, uri)}
	s := replicas[0]
	mug := s.stocked("MUG", "10.00", 100)
	g := s.open(openapi.CartInput{})
	codes := concurrently(100, func(i int) int {
		mine := g
		mine.store = replicas[i%2]
		if i%4 == 0 {
			return mine.do("POST", g.path()+"/lines", encode(t, line(mug, 1)), "Idempotency-Key", fmt.Sprint(i)).Code
		}
		return mine.add(line(mug, 1)).Code
	})
	if c := g.read(); codes[http.StatusCreated] != 100 || shown(c) != "100 MUG" {
		t.Errorf("answers %v, the cart has %s", codes, shown(c))
	}
}

func TestWhatIsPutIntoACartIsInItsOrderOrRefused(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	method := s.shipping()
	mug := s.stocked("MUG", "10.00", 1000)
	for range rounds {
		g := s.cartOf(method, line(mug, 1))
		var placed *httptest.ResponseRecorder
		added := make([]*httptest.ResponseRecorder, 6)
		all := []func(){func() { placed = g.order() }}
		for i := range added {
			all = append(all, func() { added[i] = g.add(line(mug, 1)) })
		}
		together(all...)
		for placed.Code == http.StatusConflict && strings.Contains(placed.Body.String(), "cart_changed") {
			placed = g.order()
		}
		o := want[openapi.Order](t, placed, http.StatusCreated)
		n := int64(1)
		for _, w := range added {
			if w.Code == http.StatusCreated {
				n++
			} else {
				wantProblem(t, w, http.StatusConflict, "cart_ordered")
			}
		}
		if o.Lines[0].Quantity != n {
			t.Errorf("%d were put into the cart, and %d ordered", n, o.Lines[0].Quantity)
		}
	}
	s.wantAddedUp()
}

func TestTwoWhoLogInAtOnceBringBothCarts(t *testing.T) {
	t.Parallel()
	uri := testbed.Database(t)
	s, other := storeOver(t, uri), storeOver(t, uri)
	mug, cup := s.stocked("MUG", "10.00", 100), s.stocked("CUP", "5.00", 100)
	logIn := func(name string, at *store, g guest) func() {
		return func() {
			if w := at.logIn(name, g.key()); w.Code != http.StatusOK {
				t.Errorf("%d %s", w.Code, w.Body)
			}
		}
	}
	for i := range 3 {
		name := fmt.Sprint("ada", i)
		p := s.person(name, openapi.RoleCustomer)
		first := s.open(openapi.CartInput{Lines: &[]openapi.CartLineInput{line(mug, 1)}})
		second := s.open(openapi.CartInput{Lines: &[]openapi.CartLineInput{line(mug, 2), line(cup, 3)}})
		together(logIn(name, s, first), logIn(name, other, second))
		if c := want[openapi.Cart](t, s.do("GET", "/me/cart", "", "Authorization", p.bearer), http.StatusOK); shown(c) != "3 CUP, 3 MUG" {
			t.Errorf("the cart has %s", shown(c))
		}
	}
	// One opens a cart between the other's look and step.
	p := s.person("eve", openapi.RoleCustomer)
	g := s.open(openapi.CartInput{Lines: &[]openapi.CartLineInput{line(mug, 1)}})
	s.statements.meanwhile("StoreCart", func() {
		want[openapi.CreatedCart](t, other.do("POST", "/carts", `{}`, "Authorization", p.bearer), http.StatusCreated)
	})
	wantProblem(t, s.logIn("eve", g.key()), http.StatusConflict, "cart_changed")
	logIn("eve", s, g)()
	if c := want[openapi.Cart](t, s.do("GET", "/me/cart", "", "Authorization", p.bearer), http.StatusOK); shown(c) != "1 MUG" {
		t.Errorf("the cart has %s", shown(c))
	}
}

func TestACustomerWhoOpensTwoCartsAtOnceHasOne(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	ada := s.person("ada", openapi.RoleCustomer)
	codes := concurrently(6, func(i int) int {
		if i%2 == 0 {
			return s.do("POST", "/carts", `{}`, "Authorization", ada.bearer, "Idempotency-Key", fmt.Sprint(i)).Code
		}
		return s.do("POST", "/carts", `{}`, "Authorization", ada.bearer).Code
	})
	if codes[http.StatusCreated] != 1 || codes[http.StatusConflict] != 5 {
		t.Errorf("answers %v", codes)
	}
}

func TestAnOrderIsCancelledOrShippedButNeverBoth(t *testing.T) {
	t.Parallel()
	uri := testbed.Database(t)
	s, other := storeOver(t, uri), storeOver(t, uri)
	method := s.shipping()
	mug := s.stocked("MUG", "10.00", 100)
	shipped := int64(0)
	for range rounds {
		path := "/orders/" + want[openapi.Order](t, s.cartOf(method, line(mug, 1)).order(), http.StatusCreated).Id.String()
		admin[openapi.Order](s, "POST", path+"/transitions", `{"to":"processing"}`, http.StatusOK)
		var cancel, ship *httptest.ResponseRecorder
		together(
			func() { cancel = s.asAdmin("POST", path+"/cancel", `{}`) },
			func() { ship = other.asAdmin("POST", path+"/transitions", `{"to":"shipped"}`) },
		)
		oneWins(t, cancel, ship)
		if ship.Code == http.StatusOK {
			shipped++
		}
	}
	if l := s.level("MUG"); l.OnHand != 100-shipped || l.Reserved != 0 {
		t.Errorf("%d were shipped, and the level is %+v", shipped, l)
	}
	s.wantAddedUp()
}

func TestWhatIsLeftIsSoldHeldOrWrittenOffOnce(t *testing.T) {
	t.Parallel()
	uri := testbed.Database(t)
	s, other := storeOver(t, uri), storeOver(t, uri)
	method := s.shipping()
	location := admin[openapi.LocationList](s, "GET", "/locations", "", http.StatusOK).Locations[0].Id
	for i := range rounds {
		sku := fmt.Sprint("MUG", i)
		mug := s.stocked(sku, "10.00", 2)
		buyer, holder := s.cartOf(method, line(mug, 2)), other.cartOf(method, line(mug, 1))
		var a, b *httptest.ResponseRecorder
		order, hold := func() { a = buyer.order() }, func() { b = holder.do("POST", holder.path()+"/reservation", "") }
		loss := func() {
			b = other.asAdmin("POST", "/inventory/adjustments", fmt.Sprintf(`{"reason":"loss","changes":[{"sku":%q,"locationId":%q,"quantity":1}]}`, sku, location))
		}
		if i%2 == 0 {
			together(order, hold)
		} else {
			together(order, loss)
		}
		oneWins(t, a, b)
		if l := s.level(sku); l.Available < 0 {
			t.Errorf("level %+v", l)
		}
	}
	s.wantAddedUp()
}

func TestHoldsEndOnceAndOnlyThoseThatAreOver(t *testing.T) {
	t.Parallel()
	uri := testbed.Database(t)
	s, other := storeOver(t, uri), storeOver(t, uri)
	mug := s.stocked("MUG", "10.00", 20)
	hold := func(g guest) openapi.Cart {
		t.Helper()
		return want[openapi.Cart](t, g.do("POST", g.path()+"/reservation", ""), http.StatusOK)
	}
	carts := make([]guest, 10)
	for i := range carts {
		carts[i] = s.open(openapi.CartInput{Lines: &[]openapi.CartLineInput{line(mug, 2)}})
		hold(carts[i])
	}
	s.clock.forward(31 * time.Minute)
	other.clock.forward(31 * time.Minute)
	expire := func(s *store) func() {
		return func() {
			if _, err := s.Stock.ExpireHolds(context.WithoutCancel(t.Context())); err != nil {
				t.Error(err)
			}
		}
	}
	// One holds anew what is just found to be over.
	s.statements.meanwhile("LockReservations", func() {
		carts[0].store = other
		hold(carts[0])
	})
	expire(s)()
	if l := s.level("MUG"); l.Reserved != 2 || s.statements.pending() {
		t.Errorf("what was held anew is gone: %+v", l)
	}
	for _, g := range carts[1:] {
		hold(g)
	}
	s.clock.forward(31 * time.Minute)
	other.clock.forward(31 * time.Minute)
	together(expire(s), expire(other), expire(s))
	if l := s.level("MUG"); l.Reserved != 0 {
		t.Errorf("level %+v", l)
	}
	s.wantAddedUp()
}

func TestALateOrderIsPaidOrCancelledButNeverBoth(t *testing.T) {
	t.Parallel()
	uri := testbed.Database(t)
	s, other := storeOver(t, uri), storeOver(t, uri)
	method := s.shipping()
	mug := s.stocked("MUG", "10.00", 100)
	confirmed := int64(0)
	for range rounds {
		placed := want[openapi.Order](t, s.cartOf(method, line(mug, 1)).pay("tok_requires_action"), http.StatusCreated)
		s.clock.forward(31 * time.Minute)
		cancelled := make([]int, 2)
		expire := func(i int) {
			n, err := s.Orders.ExpireUnpaid(context.WithoutCancel(t.Context()))
			if cancelled[i] = n; err != nil {
				t.Error(err)
			}
		}
		together(func() { expire(0) }, func() { expire(1) }, func() { other.comesIn(placed.Payments[0].Id) })
		o := admin[openapi.Order](s, "GET", "/orders/"+placed.Id.String(), "", http.StatusOK)
		wantState, wantPaid := openapi.OrderStateCancelled, openapi.PaymentStateVoided
		if o.State != openapi.OrderStateCancelled {
			confirmed++
			wantState, wantPaid = openapi.OrderStateConfirmed, openapi.PaymentStateAuthorized
		}
		if n := cancelled[0] + cancelled[1]; o.State != wantState || o.Payments[0].State != wantPaid || (n == 1) != (o.State == openapi.OrderStateCancelled) || n > 1 {
			t.Errorf("%d cancelled, the order is %s and its payment %s", n, o.State, o.Payments[0].State)
		}
	}
	if l := s.level("MUG"); l.Reserved != confirmed {
		t.Errorf("%d were confirmed, and the level is %+v", confirmed, l)
	}
	s.wantAddedUp()
}

var secretPart = regexp.MustCompile(`,?"secret":"whsec_[^"]*",?`)

// withoutSecret is an answer save for a webhook's secret, which is shown once.
func withoutSecret(w *httptest.ResponseRecorder) string {
	return strings.ReplaceAll(secretPart.ReplaceAllString(w.Body.String(), ""), ",}", "}")
}

// TestEveryCreatingRequestHasOneEffectForItsKey sends twice at once, through
// two replicas, whatever takes an Idempotency-Key.
func TestEveryCreatingRequestHasOneEffectForItsKey(t *testing.T) {
	t.Parallel()
	s := newWholeStore(t)
	other := *s
	other.store = storeOver(t, s.Pool.Config().ConnString())
	s.values["email"] = "twice@example.com"
	bodies := map[string]string{
		"createProduct": product("Twice", "TWICE", "active"), "createPromotion": `{"title":"Twice","kind":"free_shipping"}`,
		"editOrder": fmt.Sprintf(`{"add":[{"variantId":%q,"quantity":1}]}`, s.values["variantId"]), "payOrder": `{"provider":"test"}`, // what the edit has left due
		"createCart": `{}`, "placeOrder": fmt.Sprintf(`{"cartId":%q,"payment":{"provider":"test"}}`, s.values["cartId"]), "adjustInventory": fmt.Sprintf(`{"reason":"delivery","changes":[{"sku":"MUG","locationId":%q,"quantity":1}]}`, s.values["locationId"]),
		"createErasure": `{"email":"nobody@example.com"}`,
	}
	creating := 0
	for _, o := range operations(t) {
		if !slices.ContainsFunc(o.parameters, func(p parameter) bool { return p.Name == "Idempotency-Key" }) {
			continue
		}
		creating++
		body, ok := bodies[o.id]
		if !ok && o.body != nil {
			body = encode(t, s.values.of("", *o.body))
		}
		path := at(o.path, s.things)
		if o.id == "voidPayment" { // the other one is captured by now
			var open string
			s.scan(`SELECT id::text FROM payments WHERE state = 'authorized' LIMIT 1`, &open)
			path = "/payments/" + open + "/void"
		}
		if shipped := s.things["{shipped}"]; o.id == "requestReturn" || o.id == "refundOrder" {
			path = strings.Replace(path, s.things["/orders/{id}"], shipped, 1)
			body = fmt.Sprintf(`{"lines":[{"lineId":%q,"quantity":1}]}`, s.things["{shippedLine}"])
		}
		if o.id == "exchangeReturn" {
			admin[openapi.Return](s.store, "POST", "/returns/"+s.things["/returns/{id}"]+"/approve", `{}`, http.StatusOK)
		}
		answers := make([]*httptest.ResponseRecorder, 4)
		send := func(s *wholeStore, i int) func() {
			if o.id == "createCart" { // the administrator has one
				return func() { answers[i] = s.do(o.method, path, body, "Idempotency-Key", "twice") }
			}
			return func() { answers[i] = s.send(o, path, body, "Idempotency-Key", "twice") }
		}
		together(send(s, 0), send(&other, 1), send(s, 2))
		stored := s.content()
		send(&other, 3)()
		effects := 0
		for _, w := range answers {
			replayed := w.Header().Get("Idempotency-Replayed") == "true"
			if replayed && strings.Contains(w.Body.String(), "whsec_") {
				t.Errorf("%s shows a secret again", o.id)
			}
			if w.Code >= 300 || withoutSecret(w) != withoutSecret(answers[0]) || w.Header().Get("Location") != answers[0].Header().Get("Location") {
				t.Errorf("%s: %d %s, and first %d %s", o.id, w.Code, w.Body, answers[0].Code, answers[0].Body)
			}
			if !replayed {
				effects++
			}
		}
		if effects != 1 {
			t.Errorf("%s had %d effects", o.id, effects)
		}
		for table, now := range s.content() {
			if stored[table] != now {
				t.Errorf("%s, once more, changed %s", o.id, table)
			}
		}
		if o.body == nil {
			continue
		}
		w := s.send(o, path, strings.Replace(body, "{", "{ ", 1), "Idempotency-Key", "twice")
		if o.id == "createCart" {
			w = s.do(o.method, path, strings.Replace(body, "{", "{ ", 1), "Idempotency-Key", "twice")
		}
		wantProblem(t, w, http.StatusConflict, "idempotency_key_reused")
	}
	if creating < 15 {
		t.Errorf("only %d operations create", creating)
	}
	s.wantAddedUp()
}
