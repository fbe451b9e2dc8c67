package api_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"gitee.com/captainjez/gocart/runtime/internal/testbed"
	"gitee.com/captainjez/gocart/runtime/openapi"
)

func TestAGuestBuysFromCatalogueToOrder(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	method := s.shipping()
	mug := s.stocked("MUG", "11.90", 10)
	g := s.cartOf(method, line(mug, 2))
	if got := g.cart.Totals; got.Subtotal != "23.80" || got.Shipping != "4.90" || got.Total != "28.70" || got.Tax != "4.58" || !got.PricesIncludeTax {
		t.Fatalf("totals %+v", got)
	}
	w := g.order()
	o := want[openapi.Order](t, w, http.StatusCreated)
	if o.Number != "1001" || o.State != openapi.OrderStateConfirmed || o.Email != "ada@example.com" || o.Totals.Total != "28.70" ||
		*o.ShippingMethod != "Parcel" || o.Lines[0].Sku != "MUG" || o.Lines[0].Total != "23.80" || o.Payments[0].State != openapi.PaymentStateAuthorized {
		t.Fatalf("order %s", w.Body)
	}
	if read := g.do("GET", w.Header().Get("Location"), ""); read.Body.String() != w.Body.String() {
		t.Errorf("the order is read as %s, and was placed as %s", read.Body, w.Body)
	}
	if l := s.level("MUG"); l.OnHand != 10 || l.Reserved != 2 || l.Available != 8 {
		t.Errorf("level %+v", l)
	}
	if c := want[openapi.Cart](t, g.do("GET", "/carts/"+g.cart.Id.String(), ""), http.StatusOK); c.OrderId == nil || *c.OrderId != o.Id {
		t.Errorf("cart %+v", c)
	}
	wantProblem(t, g.order(), http.StatusConflict, "cart_ordered")
	wantProblem(t, g.do("POST", "/carts/"+g.cart.Id.String()+"/lines", encode(t, line(mug, 1))), http.StatusConflict, "cart_ordered")
	s.wantAddedUp()
}

func TestAnOrderGoesThroughItsStates(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	method := s.shipping()
	mug := s.stocked("MUG", "10.00", 10)
	g := s.cartOf(method, line(mug, 3))
	o := want[openapi.Order](t, g.order(), http.StatusCreated)
	path := "/orders/" + o.Id.String()
	for _, to := range []string{"processing", "shipped", "delivered", "completed"} {
		o = admin[openapi.Order](s, "POST", path+"/transitions", `{"to":"`+to+`"}`, http.StatusOK)
	}
	if o.State != openapi.OrderStateCompleted || o.Payments[0].State != openapi.PaymentStateCaptured {
		t.Fatalf("order %+v", o)
	}
	if l := s.level("MUG"); l.OnHand != 7 || l.Reserved != 0 {
		t.Errorf("level %+v", l)
	}
	wantProblem(t, s.asAdmin("POST", path+"/transitions", `{"to":"cancelled"}`), http.StatusConflict, "transition_not_allowed")
	if o = admin[openapi.Order](s, "POST", path+"/transitions", `{"to":"refunded","reason":"broken"}`, http.StatusOK); o.Payments[0].State != openapi.PaymentStateRefunded {
		t.Errorf("payment %+v", o.Payments)
	}
	wantProblem(t, s.asAdmin("POST", path+"/notes", `{"text":" \n "}`), http.StatusBadRequest, "invalid_request")
	admin[openapi.TimelineEntry](s, "POST", path+"/notes", `{"text":"Called."}`, http.StatusCreated)
	admin[openapi.TimelineEntry](s, "POST", path+"/notes", `{"text":"Sorry!","visibleToCustomer":true}`, http.StatusCreated)
	var seen []string
	for _, e := range want[openapi.Timeline](t, g.do("GET", path+"/timeline", ""), http.StatusOK).Entries {
		text := ""
		if e.Text != nil {
			text = " " + *e.Text
		}
		seen = append(seen, e.Type+" by "+*e.Actor+text)
	}
	wantSeen := "order.placed by guest, order.processing by store, fulfillment.created by store, fulfillment.shipped by store, order.shipped by store, " +
		"fulfillment.delivered by store, order.delivered by store, order.completed by store, refund.created by store, " +
		"order.refunded by store, refund.succeeded by store, order.note by store Sorry!"
	if got := strings.Join(seen, ", "); got != wantSeen {
		t.Errorf("the guest sees %s", got)
	}
	if staff := admin[openapi.Timeline](s, "GET", path+"/timeline", "", http.StatusOK); len(staff.Entries) != 13 || *staff.Entries[1].Actor != "key first" || *staff.Entries[9].Reason != "broken" {
		t.Errorf("staff see %+v", staff.Entries)
	}
	s.wantAddedUp()
}

func TestACancelledOrderGivesEverythingBack(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	method := s.shipping()
	mug := s.stocked("MUG", "10.00", 5)
	admin[openapi.Promotion](s, "POST", "/promotions", `{"title":"One","code":"ONCE","kind":"percentage","percent":"10","usageLimit":1}`, http.StatusCreated)
	buy := func() guest {
		g := s.cartOf(method, line(mug, 5))
		g.cart = want[openapi.Cart](t, g.do("POST", "/carts/"+g.cart.Id.String()+"/coupons", `{"code":"once"}`), http.StatusOK)
		return g
	}
	g := buy()
	o := want[openapi.Order](t, g.order(), http.StatusCreated)
	if o.Totals.Discount != "5.00" || *o.Totals.Discounts[0].Code != "ONCE" {
		t.Fatalf("totals %+v", o.Totals)
	}
	path := "/orders/" + o.Id.String()
	if o = want[openapi.Order](t, g.do("POST", path+"/cancel", `{"reason":"too late"}`), http.StatusOK); o.State != openapi.OrderStateCancelled || o.Payments[0].State != openapi.PaymentStateVoided {
		t.Fatalf("order %+v", o)
	}
	want[openapi.Order](t, g.do("POST", path+"/cancel", `{}`), http.StatusOK) // as it is
	if l := s.level("MUG"); l.Reserved != 0 || l.Available != 5 {
		t.Errorf("level %+v", l)
	}
	want[openapi.Order](t, buy().order(), http.StatusCreated) // stock and coupon are free again
	s.wantAddedUp()
}

func TestABuyerWhoCannotCancelIsToldWhatToDo(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	method, mug := s.shipping(), s.stocked("MUG", "10.00", 9)
	for state, c := range map[string]struct {
		by     []string
		advice string
	}{
		"on hold":    {[]string{"on_hold"}, "please ask the store to cancel it"},
		"in hand":    {[]string{"processing"}, "please ask the store to cancel it"},
		"on its way": {[]string{"processing", "shipped"}, "/returns"},
		"there":      {[]string{"processing", "shipped", "delivered"}, "/returns"},
		"refunded":   {[]string{"processing", "shipped", "refunded"}, "is refunded, and stays so"},
	} {
		g := s.cartOf(method, line(mug, 1))
		path := "/orders/" + want[openapi.Order](t, g.order(), http.StatusCreated).Id.String()
		for _, to := range c.by {
			admin[openapi.Order](s, "POST", path+"/transitions", `{"to":"`+to+`"}`, http.StatusOK)
		}
		if p := wantProblem(t, g.do("POST", path+"/cancel", `{}`), http.StatusConflict, "transition_not_allowed"); !strings.Contains(*p.Detail, c.advice) {
			t.Errorf("of an order that is %s its buyer is told %q", state, *p.Detail)
		}
		wantProblem(t, s.do("POST", path+"/cancel", `{}`, "Authorization", s.key("orders:read")), http.StatusForbidden, "forbidden")
	}
}

func TestOnlyStaffCancelWhatIsBeingPrepared(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	method := s.shipping()
	g := s.cartOf(method, line(s.stocked("MUG", "10.00", 5), 1))
	path := "/orders/" + want[openapi.Order](t, g.order(), http.StatusCreated).Id.String()
	admin[openapi.Order](s, "POST", path+"/transitions", `{"to":"processing"}`, http.StatusOK)
	wantProblem(t, g.do("POST", path+"/cancel", `{}`), http.StatusConflict, "transition_not_allowed")
	admin[openapi.Order](s, "POST", path+"/cancel", `{}`, http.StatusOK)
	s.wantAddedUp()
}

func TestAnOrderOnHoldGoesBackToWhereItWas(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	g := s.cartOf(s.shipping(), line(s.stocked("MUG", "10.00", 5), 1))
	o := want[openapi.Order](t, g.pay("tok_requires_action"), http.StatusCreated)
	path := "/orders/" + o.Id.String() + "/transitions"
	admin[openapi.Order](s, "POST", path, `{"to":"on_hold"}`, http.StatusOK)
	wantProblem(t, s.asAdmin("POST", path, `{"to":"processing"}`), http.StatusConflict, "transition_not_allowed")
	s.clock.forward(time.Hour)
	if n, err := s.Orders.ExpireUnpaid(t.Context()); n != 0 || err != nil {
		t.Fatalf("%d orders on hold were cancelled, %v", n, err)
	}
	back := admin[openapi.Order](s, "POST", path, `{"to":"pending"}`, http.StatusOK)
	if left := back.PaymentDueAt.Sub(s.clock.now()); left < 29*time.Minute || left > 30*time.Minute {
		t.Errorf("back from hold, the payment is due in %v", left)
	}
	// It is the provider's word that counts, as in production.
	wantProblem(t, s.asAdmin("POST", path, `{"to":"confirmed"}`), http.StatusConflict, "payment_open")
	wantProblem(t, s.asAdmin("POST", "/payments/"+o.Payments[0].Id.String()+"/capture", `{}`), http.StatusConflict, "payment_not_authorized")
	s.comesIn(o.Payments[0].Id)
	if o = admin[openapi.Order](s, "GET", "/orders/"+o.Id.String(), "", http.StatusOK); o.State != openapi.OrderStateConfirmed || o.Payments[0].State != openapi.PaymentStateAuthorized {
		t.Errorf("order %+v", o)
	}
}

func TestAnOrderThatIsNotPaidInTimeIsCancelled(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	method := s.shipping()
	mug := s.stocked("MUG", "10.00", 5)
	late := want[openapi.Order](t, s.cartOf(method, line(mug, 1)).pay("tok_requires_action"), http.StatusCreated)
	if late.State != openapi.OrderStatePending || late.PaymentDueAt == nil {
		t.Fatalf("order %+v", late)
	}
	paid := want[openapi.Order](t, s.cartOf(method, line(mug, 1)).pay("tok_requires_action"), http.StatusCreated)
	s.comesIn(paid.Payments[0].Id)
	onItsWay := want[openapi.Order](t, s.cartOf(method, line(mug, 1)).pay("tok_pending"), http.StatusCreated)
	if onItsWay.State != openapi.OrderStatePending || onItsWay.PaymentDueAt != nil {
		t.Fatalf("order %+v", onItsWay)
	}
	g := s.cartOf(method, line(mug, 1))
	manual := want[openapi.Order](t, g.do("POST", "/orders", encode(t, openapi.OrderInput{CartId: g.cart.Id, Payment: openapi.PaymentInput{Provider: "manual"}})), http.StatusCreated)
	s.clock.forward(29 * time.Minute)
	if n, err := s.Orders.ExpireUnpaid(t.Context()); n != 0 || err != nil {
		t.Fatalf("%d cancelled too early, %v", n, err)
	}
	s.clock.forward(2 * time.Minute)
	for _, cancelled := range []int{1, 0} { // twice is as once
		if n, err := s.Orders.ExpireUnpaid(t.Context()); n != cancelled || err != nil {
			t.Fatalf("%d cancelled, want %d, %v", n, cancelled, err)
		}
	}
	for id, state := range map[string]openapi.OrderState{
		late.Id.String(): openapi.OrderStateCancelled, paid.Id.String(): openapi.OrderStateConfirmed, manual.Id.String(): openapi.OrderStatePending,
		onItsWay.Id.String(): openapi.OrderStatePending,
	} {
		if o := admin[openapi.Order](s, "GET", "/orders/"+id, "", http.StatusOK); o.State != state {
			t.Errorf("order is %s, want %s", o.State, state)
		}
	}
	if l := s.level("MUG"); l.Reserved != 3 {
		t.Errorf("level %+v", l)
	}
	s.wantAddedUp()
}

func TestWhatStandsAgainstAnOrderIsSaidAndNothingIsStored(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	method := s.shipping()
	mug, rare := s.stocked("MUG", "10.00", 50), s.stocked("RARE", "10.00", 1)
	place := func(g guest, in openapi.OrderInput) *httptest.ResponseRecorder {
		in.CartId = g.cart.Id
		if in.Payment.Provider == "" {
			in.Payment.Provider = "test"
		}
		return g.do("POST", "/orders", encode(t, in))
	}
	ready := func() guest { return s.cartOf(method, line(mug, 1)) }
	bare := func(in openapi.CartInput) guest {
		c := want[openapi.CreatedCart](t, s.do("POST", "/carts", encode(t, in)), http.StatusCreated)
		return guest{s, c.Cart, *c.Token}
	}
	lines := &[]openapi.CartLineInput{line(mug, 1)}
	wantProblem(t, place(bare(openapi.CartInput{}), openapi.OrderInput{}), http.StatusConflict, "cart_empty")
	p := wantProblem(t, place(bare(openapi.CartInput{Lines: lines}), openapi.OrderInput{}), http.StatusConflict, "cart_incomplete")
	if len(*p.Errors) != 3 || (*p.Errors)[0].Pointer != "/email" {
		t.Errorf("%+v", p.Errors)
	}
	wantProblem(t, place(s.cartOf(method, line(rare, 2)), openapi.OrderInput{}), http.StatusConflict, "out_of_stock")
	wantProblem(t, place(ready(), openapi.OrderInput{Payment: openapi.PaymentInput{Provider: "test", Token: new("tok_declined")}}), http.StatusPaymentRequired, "payment_declined")
	wantProblem(t, place(ready(), openapi.OrderInput{Payment: openapi.PaymentInput{Provider: "gold"}}), http.StatusBadRequest, "invalid_request")
	wantProblem(t, place(ready(), openapi.OrderInput{Payment: openapi.PaymentInput{Provider: "test", Token: new("x")}}), http.StatusBadRequest, "invalid_request")
	wantProblem(t, place(ready(), openapi.OrderInput{ExpectedTotal: new("1.00")}), http.StatusConflict, "total_changed")
	wantProblem(t, place(ready(), openapi.OrderInput{ExpectedTotal: new("1.001")}), http.StatusBadRequest, "invalid_request")
	wantProblem(t, place(ready(), openapi.OrderInput{Note: new(strings.Repeat("x", 1001))}), http.StatusBadRequest, "invalid_request")
	stranger := ready()
	stranger.token = ready().token
	wantProblem(t, place(stranger, openapi.OrderInput{}), http.StatusNotFound, "cart_not_found")
	wantProblem(t, ready().do("POST", "/orders", `{"cartId":"x","payment":{"provider":"test"}}`), http.StatusBadRequest, "invalid_request")
	gone := ready()
	admin[any](s, "PUT", "/products/mug", priced("MUG", "MUG", "archived", "10.00"), http.StatusOK)
	wantProblem(t, place(gone, openapi.OrderInput{}), http.StatusConflict, "not_for_sale")
	var n int
	if s.scan(`SELECT count(*) FROM orders`, &n); n != 0 {
		t.Errorf("%d orders were stored", n)
	}
	want[openapi.Order](t, place(s.cartOf(method, line(rare, 1)), openapi.OrderInput{ExpectedTotal: new("14.90")}), http.StatusCreated)
	s.wantAddedUp()
}

func TestAnOrderIsPlacedOnceForItsKey(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	method := s.shipping()
	mug := s.stocked("MUG", "10.00", 50)
	g := s.cartOf(method, line(mug, 1))
	answers := make([]*httptest.ResponseRecorder, 12)
	var wg sync.WaitGroup
	for i := range answers {
		wg.Go(func() { answers[i] = g.order("Idempotency-Key", "one") })
	}
	wg.Wait()
	replayed := 0
	for _, w := range answers {
		if w.Code != http.StatusCreated || w.Body.String() != answers[0].Body.String() || w.Header().Get("Location") == "" {
			t.Fatalf("%d %s", w.Code, w.Body)
		}
		if w.Header().Get("Idempotency-Replayed") == "true" {
			replayed++
		}
	}
	if replayed != len(answers)-1 {
		t.Errorf("%d answers were replayed", replayed)
	}
	wantProblem(t, g.pay("tok_pending", "Idempotency-Key", "one"), http.StatusConflict, "idempotency_key_reused")
	refused := s.cartOf(method, line(mug, 50))
	wantProblem(t, refused.order("Idempotency-Key", "two"), http.StatusConflict, "out_of_stock")
	s.count("MUG", 100)
	want[openapi.Order](t, refused.order("Idempotency-Key", "two"), http.StatusCreated)
	s.wantAddedUp()
}

func TestOneCartIsOrderedOnceHoweverManyTry(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	g := s.cartOf(s.shipping(), line(s.stocked("MUG", "10.00", 50), 1))
	codes := concurrently(20, func(int) int { return g.order().Code })
	if codes[http.StatusCreated] != 1 || codes[http.StatusConflict] != 19 {
		t.Fatalf("answers %v", codes)
	}
	s.wantAddedUp()
}

// concurrently counts the answers of n at once.
func concurrently(n int, do func(i int) int) map[int]int {
	var mu sync.Mutex
	var wg sync.WaitGroup
	counts := map[int]int{}
	for i := range n {
		wg.Go(func() {
			code := do(i)
			mu.Lock()
			defer mu.Unlock()
			counts[code]++
		})
	}
	wg.Wait()
	return counts
}

func TestAThousandBuyersOfAHundredUnitsGetExactlyAHundred(t *testing.T) {
	t.Parallel()
	const buyers, units = 1000, 100
	uri := testbed.Database(t)
	replicas := []*store{storeOver(t, uri), storeOver(t, uri), storeOver(t, uri)}
	s := replicas[0]
	method := s.shipping()
	hot, other := s.stocked("HOT", "10.00", units), s.stocked("OTHER", "5.00", 10*buyers)
	carts := make([]guest, buyers)
	for i := range carts {
		carts[i] = s.cartOf(method, line(hot, 1), line(other, 2))
		carts[i].store = replicas[i%len(replicas)]
	}
	limit := make(chan struct{}, 60)
	codes := concurrently(buyers, func(i int) int {
		limit <- struct{}{}
		defer func() { <-limit }()
		return carts[i].order().Code
	})
	if codes[http.StatusCreated] != units || codes[http.StatusConflict] != buyers-units {
		t.Fatalf("answers %v", codes)
	}
	if l := s.level("HOT"); l.Available != 0 || l.Reserved != units {
		t.Errorf("level of what is sold out %+v", l)
	}
	if l := s.level("OTHER"); l.Reserved != 2*units {
		t.Errorf("level of what went with it %+v", l)
	}
	s.wantAddedUp()
}

func TestALimitedCouponIsUsedExactlyAsOftenAsItMayBe(t *testing.T) {
	t.Parallel()
	const buyers, uses = 60, 7
	s := newStore(t)
	method := s.shipping()
	mug := s.stocked("MUG", "10.00", 10*buyers)
	admin[openapi.Promotion](s, "POST", "/promotions", `{"title":"Few","code":"FEW","kind":"fixed_amount","amount":{"amount":"1.00","currency":"EUR"},"usageLimit":7}`, http.StatusCreated)
	carts := make([]guest, buyers)
	for i := range carts {
		carts[i] = s.cartOf(method, line(mug, 1))
		want[openapi.Cart](t, carts[i].do("POST", "/carts/"+carts[i].cart.Id.String()+"/coupons", `{"code":"FEW"}`), http.StatusOK)
	}
	concurrently(buyers, func(i int) int { return carts[i].order().Code })
	var n int
	if s.scan(`SELECT count(*) FROM orders WHERE discount > 0`, &n); n != uses {
		t.Errorf("%d orders used the coupon, want %d", n, uses)
	}
	s.wantAddedUp()
}

func TestACustomerUsesACouponAsOftenAsOneMay(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	method := s.shipping()
	mug := s.stocked("MUG", "10.00", 10)
	admin[openapi.Promotion](s, "POST", "/promotions", `{"title":"Once each","code":"EACH","kind":"percentage","percent":"50","usageLimitPerCustomer":1}`, http.StatusCreated)
	buy := func(email string) *httptest.ResponseRecorder {
		g := s.cartOf(method, line(mug, 1))
		want[openapi.Cart](t, g.do("PATCH", "/carts/"+g.cart.Id.String(), `{"email":"`+email+`"}`), http.StatusOK)
		want[openapi.Cart](t, g.do("POST", "/carts/"+g.cart.Id.String()+"/coupons", `{"code":"EACH"}`), http.StatusOK)
		return g.order()
	}
	want[openapi.Order](t, buy("bob@example.com"), http.StatusCreated)
	wantProblem(t, buy("BOB@example.com"), http.StatusConflict, "coupon_limit_per_customer")
	want[openapi.Order](t, buy("eve@example.com"), http.StatusCreated)
}

func TestAHeldCartIsNotSoldToOthersUntilItExpires(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	method := s.shipping()
	mug := s.stocked("MUG", "10.00", 2)
	first, second := s.cartOf(method, line(mug, 2)), s.cartOf(method, line(mug, 1))
	hold := func(g guest) *httptest.ResponseRecorder {
		return g.do("POST", "/carts/"+g.cart.Id.String()+"/reservation", "")
	}
	if c := want[openapi.Cart](t, hold(first), http.StatusOK); c.ReservedUntil == nil || c.Lines[0].Problem != nil {
		t.Fatalf("cart %+v", c)
	}
	want[openapi.Cart](t, hold(first), http.StatusOK) // again is no more
	wantProblem(t, hold(second), http.StatusConflict, "out_of_stock")
	wantProblem(t, second.order(), http.StatusConflict, "out_of_stock")
	s.clock.forward(31 * time.Minute)
	for _, expired := range []int{1, 0} {
		if n, err := s.Stock.ExpireHolds(t.Context()); n != expired || err != nil {
			t.Fatalf("%d holds ended, want %d, %v", n, expired, err)
		}
	}
	want[openapi.Cart](t, hold(second), http.StatusOK)
	want[openapi.Order](t, second.order(), http.StatusCreated)
	wantProblem(t, first.order(), http.StatusConflict, "out_of_stock")
	want[openapi.Cart](t, first.do("PUT", "/carts/"+first.cart.Id.String()+"/lines/"+mug.Id.String(), `{"quantity":1}`), http.StatusOK)
	want[openapi.Order](t, first.order(), http.StatusCreated)
	s.wantAddedUp()
}

func TestStockComesFromTheFirstLocationThatHasItAllElseFromSeveral(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	method := s.shipping()
	mug := s.stocked("MUG", "10.00", 3)
	far := admin[openapi.Location](s, "POST", "/locations", `{"name":"Far","priority":9}`, http.StatusCreated)
	admin[openapi.LevelList](s, "POST", "/inventory/adjustments", fmt.Sprintf(`{"reason":"count","changes":[{"sku":"MUG","locationId":%q,"quantity":5}]}`, far.Id), http.StatusCreated)
	reserved := func() string {
		var list []string
		for _, l := range admin[openapi.InventoryPage](s, "GET", "/inventory?sku=MUG", "", http.StatusOK).Levels {
			name := "main"
			if l.LocationId == far.Id {
				name = "far"
			}
			list = append(list, fmt.Sprint(name, " ", l.Reserved))
		}
		if len(list) == 2 && strings.HasPrefix(list[0], "far") {
			list[0], list[1] = list[1], list[0]
		}
		return strings.Join(list, ", ")
	}
	for _, step := range []struct {
		quantity int64
		want     string
	}{{2, "main 2, far 0"}, {2, "main 2, far 2"}, {4, "main 3, far 5"}} {
		want[openapi.Order](t, s.cartOf(method, line(mug, step.quantity)).order(), http.StatusCreated)
		if got := reserved(); got != step.want {
			t.Errorf("after %d more: %s, want %s", step.quantity, got, step.want)
		}
	}
	wantProblem(t, s.cartOf(method, line(mug, 1)).order(), http.StatusConflict, "out_of_stock")
	s.wantAddedUp()
}

func TestWhatMaySellBelowZeroDoesAndABundleTakesItsParts(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	method := s.shipping()
	made := admin[openapi.Product](s, "POST", "/products", `{"title":"Made to order","type":"simple","status":"active",
		"variants":[{"sku":"MADE","prices":[{"amount":"5.00","currency":"EUR"}],"stockPolicy":"continue"}]}`, http.StatusCreated).Variants[0]
	want[openapi.Order](t, s.cartOf(method, line(made, 3)).order(), http.StatusCreated)
	if l := s.level("MADE"); l.Available != -3 {
		t.Errorf("level %+v", l)
	}
	cup := s.stocked("CUP", "4.00", 5)
	set := admin[openapi.Product](s, "POST", "/products", fmt.Sprintf(`{"title":"Two cups","type":"bundle","status":"active","bundle":[{"variantId":%q,"quantity":2}],
		"variants":[{"sku":"SET","prices":[{"amount":"7.00","currency":"EUR"}]}]}`, cup.Id), http.StatusCreated).Variants[0]
	want[openapi.Order](t, s.cartOf(method, line(set, 2), line(cup, 1)).order(), http.StatusCreated)
	if l := s.level("CUP"); l.Reserved != 5 {
		t.Errorf("level %+v", l)
	}
	wantProblem(t, s.cartOf(method, line(set, 1)).order(), http.StatusConflict, "out_of_stock")
	file := admin[openapi.Product](s, "POST", "/products", `{"title":"Song","type":"digital","status":"active",
		"variants":[{"sku":"SONG","prices":[{"amount":"0.99","currency":"EUR"}]}]}`, http.StatusCreated).Variants[0]
	c := want[openapi.CreatedCart](t, s.do("POST", "/carts", encode(t, openapi.CartInput{Email: new("a@example.com"), Lines: &[]openapi.CartLineInput{line(file, 1)}})), http.StatusCreated)
	if o := want[openapi.Order](t, guest{s, c.Cart, *c.Token}.order(), http.StatusCreated); o.Totals.Shipping != "0.00" || o.ShippingMethod != nil {
		t.Errorf("what is digital is shipped: %+v", o.Totals)
	}
	s.wantAddedUp()
}

func TestStockIsAdjustedOnlyAsFarAsThereIs(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	mug := s.stocked("MUG", "10.00", 5)
	want[openapi.Order](t, s.cartOf(s.shipping(), line(mug, 3)).order(), http.StatusCreated)
	location := admin[openapi.LocationList](s, "GET", "/locations", "", http.StatusOK).Locations[0].Id
	adjust := func(reason string, quantity int64) *httptest.ResponseRecorder {
		return s.asAdmin("POST", "/inventory/adjustments", fmt.Sprintf(`{"reason":%q,"changes":[{"sku":"MUG","locationId":%q,"quantity":%d}]}`, reason, location, quantity))
	}
	for _, step := range []struct {
		reason           string
		quantity         int64
		refused          bool
		onHand, incoming int64
	}{
		{"announce", 4, false, 5, 4}, {"announce", -5, true, 5, 4}, {"delivery", 3, false, 8, 1}, {"loss", 5, false, 3, 1}, {"loss", 1, true, 3, 1},
		{"correction", 2, false, 5, 1}, {"correction", -3, true, 5, 1}, {"count", 2, true, 5, 1}, {"count", 9, false, 9, 1}, {"delivery", 3, false, 12, 0},
	} {
		w := adjust(step.reason, step.quantity)
		if step.refused {
			wantProblem(t, w, http.StatusConflict, "stock_too_low")
		} else {
			want[openapi.LevelList](t, w, http.StatusCreated)
		}
		if l := s.level("MUG"); l.OnHand != step.onHand || l.Incoming != step.incoming || l.Reserved != 3 {
			t.Errorf("after %s of %d: %+v", step.reason, step.quantity, l)
		}
	}
	wantProblem(t, s.asAdmin("POST", "/inventory/adjustments", `{"reason":"theft","changes":[]}`), http.StatusBadRequest, "invalid_request")
	wantProblem(t, s.asAdmin("POST", "/inventory/adjustments", fmt.Sprintf(`{"reason":"loss","changes":[{"sku":"NO","locationId":%q,"quantity":1}]}`, location)), http.StatusBadRequest, "invalid_request")
	wantProblem(t, s.asAdmin("POST", "/inventory/adjustments", `{"reason":"loss","changes":[{"sku":"MUG","locationId":"00000000-0000-0000-0000-000000000001","quantity":1}]}`), http.StatusBadRequest, "location_not_found")
	wantProblem(t, s.asAdmin("DELETE", "/locations/"+location.String(), ""), http.StatusConflict, "location_in_use")
	s.wantAddedUp()
}
