package api_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"gitee.com/captainjez/gocart/runtime/internal/testbed"
	"gitee.com/captainjez/gocart/runtime/openapi"
)

// sent places an order by the test provider's token, and ships it.
func (s *store) sent(token string, lines ...openapi.CartLineInput) parcels {
	s.t.Helper()
	method := s.shipping()
	g := s.cartOf(method, lines...)
	p := parcels{store: s, method: method, guest: g, path: "/orders/" + want[openapi.Order](s.t, g.pay(token), http.StatusCreated).Id.String()}
	p.pack(openapi.FulfillmentInput{Shipped: new(true)})
	return p
}

func (p parcels) giveBack(in openapi.OrderRefundInput) *httptest.ResponseRecorder {
	p.t.Helper()
	return p.asAdmin("POST", p.path+"/refunds", encode(p.t, in))
}

// ends are the refunds of the order, as its buyer sees them: what was to be given
// back, what was, and what became of it.
func (p parcels) ends() (all []string) {
	p.t.Helper()
	for _, r := range want[openapi.RefundList](p.t, p.guest.do("GET", p.path+"/refunds", ""), http.StatusOK).Refunds {
		all = append(all, fmt.Sprintf("%s/%s %s", r.GivenBack.Amount, r.Amount.Amount, r.State))
	}
	return all
}

func (p parcels) wantEnds(all ...string) {
	p.t.Helper()
	if got := p.ends(); strings.Join(got, ", ") != strings.Join(all, ", ") {
		p.t.Errorf("the refunds are %q, want %q", got, all)
	}
}

// told are what the order's timeline tells its buyer of refunds and states.
func (p parcels) told(types ...string) string {
	p.t.Helper()
	var told []string
	for _, e := range want[openapi.Timeline](p.t, p.guest.do("GET", p.path+"/timeline", ""), http.StatusOK).Entries {
		for _, t := range types {
			if strings.HasPrefix(e.Type, t) {
				told = append(told, e.Type)
			}
		}
	}
	return strings.Join(told, " ")
}

func TestARefundThatTheProviderRefusesFailsAndWhatItWasForCanBeGivenBackAgain(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	p := s.sent("tok_no_refund", line(s.stocked("MUG", "18.00", 10), 2))
	r := want[openapi.Refund](t, p.giveBack(openapi.OrderRefundInput{Lines: new(p.part(1)), Shipping: new("4.90")}), http.StatusCreated)
	if r.State != openapi.RefundStateFailed || r.GivenBack.Amount != "0.00" || r.Amount.Amount != "22.90" {
		t.Errorf("refund %+v", r)
	}
	p.wantLine(0, 0, 2, 0, 0, 0)
	want[openapi.Refund](t, p.giveBack(openapi.OrderRefundInput{Amount: new("40.90")}), http.StatusCreated)
	p.wantState(openapi.OrderStateShipped)
	p.wantEnds("0.00/22.90 failed", "0.00/40.90 failed")
	if told := p.told("refund.", "order.refunded"); told != "refund.created refund.failed refund.created refund.failed" {
		t.Errorf("its buyer is told %s", told)
	}
	if n := s.number(`SELECT count(*) FROM river_job WHERE args::text LIKE '%order_refunded%'`); n != 0 {
		t.Errorf("%d mails say that money was given back", n)
	}
	s.wantAddedUp()
	if _, err := s.Statistics.CatchUp(t.Context()); err != nil {
		t.Fatal(err)
	}
	sold := admin[openapi.ProductStatistics](s, "GET", "/statistics/products?by=variant", "", http.StatusOK).Products
	if len(sold) != 1 || sold[0].Units != 2 || sold[0].RefundedUnits != 0 {
		t.Errorf("statistics say %+v", sold)
	}
	outside := want[openapi.Refund](t, p.giveBack(openapi.OrderRefundInput{Lines: new(p.part(1)), Shipping: new("4.90"), Outside: new(true), Reason: new("By bank.")}), http.StatusCreated)
	if outside.State != openapi.RefundStateSucceeded || !outside.Outside || outside.GivenBack.Amount != "22.90" {
		t.Errorf("refund %+v", outside)
	}
	p.wantLine(0, 0, 2, 0, 0, 1)
	wantProblem(t, p.giveBack(openapi.OrderRefundInput{Amount: new("18.01"), Outside: new(true)}), http.StatusConflict, "refund_exceeds_captured")
	p.wantState(openapi.OrderStateShipped)
	want[openapi.Refund](t, p.giveBack(openapi.OrderRefundInput{Lines: new(p.part(1)), Outside: new(true)}), http.StatusCreated)
	p.wantState(openapi.OrderStateRefunded)
	if o := p.order(); o.Refunded.Amount != "40.90" || o.Payments[0].State != openapi.PaymentStateRefunded {
		t.Errorf("order %+v", o)
	}
	s.wantAddedUp()
}

func TestAnOrderThatIsRefundedByARefundThatFailsIsWhatItWas(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	p := s.sent("tok_no_refund", line(s.stocked("MUG", "18.00", 10), 2))
	move := func(to string) openapi.Order {
		return admin[openapi.Order](s, "POST", p.path+"/transitions", `{"to":"`+to+`"}`, http.StatusOK)
	}
	move("delivered")
	move("completed")
	if o := move("refunded"); o.State != openapi.OrderStateCompleted || o.Refunded.Amount != "0.00" {
		t.Errorf("the order is answered as %s with %s refunded", o.State, o.Refunded.Amount)
	}
	p.wantState(openapi.OrderStateCompleted)
	p.wantEnds("0.00/40.90 failed")
	if told := p.told("refund.", "order.refunded", "order.completed"); told != "order.completed refund.created order.refunded refund.failed order.completed" {
		t.Errorf("its buyer is told %s", told)
	}
	s.wantAddedUp()
	want[openapi.Refund](t, p.giveBack(openapi.OrderRefundInput{Amount: new("40.90"), Outside: new(true)}), http.StatusCreated)
	p.wantState(openapi.OrderStateRefunded)
	s.wantAddedUp()
}

// TestARefundThatFailsAfterAllFailsInItsOrderToo has a refund fail at Stripe days
// after it was taken for done.
func TestARefundThatFailsAfterAllFailsInItsOrderToo(t *testing.T) {
	t.Parallel()
	s := newStriped(t)
	b := s.buy("pm_card")
	p := b.parcels()
	b.move("processing", "shipped")
	want[openapi.Refund](t, p.giveBack(openapi.OrderRefundInput{Lines: new(p.part(1)), Shipping: new("4.90")}), http.StatusCreated)
	p.wantState(openapi.OrderStateRefunded)
	p.wantEnds("10.00/10.00 succeeded")
	s.stripe.FailRefund("re_1")
	for range 2 {
		s.wantHeard(s.stripe.Event("refund.failed", "re_1"))
	}
	p.wantState(openapi.OrderStateShipped)
	p.wantLine(0, 0, 1, 0, 0, 0)
	p.wantEnds("0.00/10.00 failed")
	if told := p.told("refund."); told != "refund.created refund.succeeded refund.failed" {
		t.Errorf("its buyer is told %s", told)
	}
	s.wantAddedUp()
	want[openapi.Refund](t, p.giveBack(openapi.OrderRefundInput{Lines: new(p.part(1)), Shipping: new("4.90"), Outside: new(true)}), http.StatusCreated)
	p.wantState(openapi.OrderStateRefunded)
	s.reconcile()
	if got := s.disagreements(); got != "" { // what was given back by hand Stripe need not know
		t.Errorf("disagreements: %s", got)
	}
	s.wantAddedUp()
}

// TestWhileAProviderIsAwayARefundIsPendingAndItsOrderNotRefunded also has one of
// two payments refuse.
func TestWhileAProviderIsAwayARefundIsPendingAndItsOrderNotRefunded(t *testing.T) {
	t.Parallel()
	s := newStriped(t)
	b := s.buy("pm_card")
	p := b.parcels()
	b.edit(fmt.Sprintf(`{"add":[{"variantId":%q,"quantity":1,"unitPrice":"10.00"}]}`, s.mug.Id))
	want[openapi.Order](t, b.payDue(paying("stripe", "pm_card")), http.StatusCreated)
	b.move("processing", "shipped")
	back := s.away(503)
	r := want[openapi.Refund](t, p.giveBack(openapi.OrderRefundInput{Lines: new(p.part(1, 1)), Shipping: new("4.90")}), http.StatusCreated)
	if r.State != openapi.RefundStatePending || r.GivenBack.Amount != "0.00" {
		t.Errorf("refund %+v", r)
	}
	p.wantState(openapi.OrderStateShipped)
	wantProblem(t, p.giveBack(openapi.OrderRefundInput{Amount: new("0.01")}), http.StatusConflict, "refund_exceeds_captured")
	back()
	s.stripe.Do(b.intent, func(i *testbed.Intent) { i.FailsRefunds = true })
	s.askAgain()
	p.wantEnds("10.00/20.00 partial")
	p.wantState(openapi.OrderStateShipped)
	p.wantLine(0, 0, 1, 0, 0, 1) // what is left of it is an amount
	s.wantAddedUp()
	s.stripe.Do(b.intent, func(i *testbed.Intent) { i.FailsRefunds = false })
	wantProblem(t, p.giveBack(openapi.OrderRefundInput{Amount: new("10.01")}), http.StatusConflict, "refund_exceeds_captured")
	want[openapi.Refund](t, p.giveBack(openapi.OrderRefundInput{Amount: new("10.00")}), http.StatusCreated)
	p.wantState(openapi.OrderStateRefunded)
	s.wantAddedUp()
}

// TestPiecesAreSharedToTheCentAlsoWhereARefundFailed has the first of three
// pieces fail, and be given back last.
func TestPiecesAreSharedToTheCentAlsoWhereARefundFailed(t *testing.T) {
	t.Parallel()
	s := newStriped(t)
	admin[openapi.Promotion](s.store, "POST", "/promotions", `{"title":"Ten","kind":"percentage","percent":"10"}`, http.StatusCreated)
	g := s.cartOf(s.method, line(s.stocked("POT", "3.35", 10), 3))
	o := want[openapi.Order](t, g.do("POST", "/orders", encode(t, openapi.OrderInput{CartId: g.cart.Id, Payment: openapi.PaymentInput{Provider: "stripe", Token: new("pm_card")}})), http.StatusCreated)
	p := parcels{store: s.store, guest: g, path: "/orders/" + o.Id.String()}
	p.pack(openapi.FulfillmentInput{Shipped: new(true)})
	sum := ""
	give := func() {
		sum += want[openapi.Refund](t, p.giveBack(openapi.OrderRefundInput{Lines: new(p.part(1))}), http.StatusCreated).Amount.Amount + " "
	}
	give()
	give()
	s.stripe.FailRefund("re_1")
	s.wantHeard(s.stripe.Event("refund.failed", "re_1"))
	give()
	give()
	if sum != "3.01 3.01 3.01 3.02 " {
		t.Errorf("the pieces brought %s", sum)
	}
	s.wantAddedUp()
}

// TestWhatIsRefundedIsNotExchangedAsWell has a refund of a part, the move to
// refunded and an exchange come at once.
func TestWhatIsRefundedIsNotExchangedAsWell(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	mug, pen := s.stocked("MUG", "10.00", 1000), s.stocked("PEN", "4.00", 1000)
	for range rounds {
		p := s.sent("tok_success", line(mug, 3))
		r := admin[openapi.Return](s, "POST", p.path+"/returns", openapi.ReturnInput{Lines: p.back(1)}, http.StatusCreated)
		want[openapi.Return](t, p.act("returns", r.Id, "approve", `{}`), http.StatusOK)
		exchange := encode(t, openapi.ExchangeInput{Lines: []openapi.ExchangeLine{{VariantId: pen.Id, Quantity: 1}}})
		var exchanged *httptest.ResponseRecorder
		together(
			func() { p.giveBack(openapi.OrderRefundInput{Amount: new("8.00")}) },
			func() { s.asAdmin("POST", p.path+"/transitions", `{"to":"refunded"}`) },
			func() { exchanged = p.act("returns", r.Id, "exchange", exchange) },
		)
		if o := p.order(); exchanged.Code == http.StatusCreated && o.State == openapi.OrderStateRefunded {
			t.Errorf("the order is refunded, and exchanged: %s", exchanged.Body)
		}
		s.wantAddedUp()
	}
	p := s.sent("tok_success", line(mug, 3))
	r := admin[openapi.Return](s, "POST", p.path+"/returns", openapi.ReturnInput{Lines: p.back(1)}, http.StatusCreated)
	want[openapi.Return](t, p.act("returns", r.Id, "approve", `{}`), http.StatusOK)
	admin[openapi.Order](s, "POST", p.path+"/transitions", `{"to":"refunded"}`, http.StatusOK)
	wantProblem(t, p.act("returns", r.Id, "exchange", encode(t, openapi.ExchangeInput{Lines: []openapi.ExchangeLine{{VariantId: pen.Id, Quantity: 1}}})), http.StatusConflict, "nothing_to_exchange")
}

// TestTheMoveToRefundedAsksForAllThatItSays has a refund be under way at a
// provider that does not answer.
func TestTheMoveToRefundedAsksForAllThatItSays(t *testing.T) {
	t.Parallel()
	s := newStriped(t)
	b := s.buy("pm_card")
	p := b.parcels()
	b.move("processing", "shipped")
	back := s.away(503)
	want[openapi.Refund](t, p.giveBack(openapi.OrderRefundInput{Amount: new("4.00")}), http.StatusCreated)
	b.move("refunded")
	p.wantEnds("0.00/4.00 pending", "0.00/6.00 pending")
	s.wantAddedUp()
	back()
	s.askAgain()
	p.wantEnds("4.00/4.00 succeeded", "6.00/6.00 succeeded")
	p.wantState(openapi.OrderStateRefunded)
	s.wantAlike()
	// Nor is one refunded of which a provider is asked for more.
	late := s.buy("pm_card")
	back = s.away(503)
	late.move("processing", "shipped")
	wantProblem(t, s.asAdmin("POST", late.path+"/transitions", `{"to":"refunded"}`), http.StatusConflict, "payment_being_captured")
	back()
	s.askAgain()
	late.move("refunded")
	s.wantAlike()
}

func TestARefundForAReturnIsForWhatCameBackWithIt(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	p := s.sent("tok_success", line(s.stocked("MUG", "10.00", 10), 3), line(s.stocked("CUP", "1.00", 10), 1))
	r := admin[openapi.Return](s, "POST", p.path+"/returns", openapi.ReturnInput{Lines: p.back(2, 0)[:1]}, http.StatusCreated)
	refund := func(lines []openapi.FulfillmentLine) *httptest.ResponseRecorder {
		return p.giveBack(openapi.OrderRefundInput{Lines: &lines, ReturnId: &r.Id})
	}
	wantProblem(t, refund(p.part(3, 0)), http.StatusConflict, "refund_exceeds_order")
	wantProblem(t, refund(p.part(0, 1)), http.StatusConflict, "refund_exceeds_order")
	want[openapi.Return](t, p.act("returns", r.Id, "approve", `{}`), http.StatusOK)
	want[openapi.Refund](t, refund(p.part(1, 0)), http.StatusCreated)
	wantProblem(t, refund(p.part(2, 0)), http.StatusConflict, "refund_exceeds_order")
	want[openapi.Return](t, p.act("returns", r.Id, "receive", `{"refund":true}`), http.StatusOK) // of the other one
	p.wantLine(0, 0, 3, 0, 2, 2)
	wantProblem(t, refund(p.part(1, 0)), http.StatusConflict, "refund_exceeds_order")
	want[openapi.Refund](t, p.giveBack(openapi.OrderRefundInput{Amount: new("1.00"), ReturnId: &r.Id}), http.StatusCreated)
	want[openapi.Refund](t, p.giveBack(openapi.OrderRefundInput{Lines: new(p.part(1, 1))}), http.StatusCreated)
	s.wantAddedUp()
}

// TestWhatNoProviderCanBeAskedForIsNotRefundedButNoted has orders come in whose
// payments the store cannot give back.
func TestWhatNoProviderCanBeAskedForIsNotRefundedButNoted(t *testing.T) {
	t.Parallel()
	s := newStriped(t)
	record := `{"number":"%d","state":"delivered","createdAt":"2025-01-02T03:04:05Z","email":"ada@example.com","lines":[{"sku":"OLD","title":"Old","quantity":2,"unitPrice":"5.00"}],` +
		`"totals":{"currency":"EUR","total":"10.00"},"payments":[{"provider":%q,"state":"captured","amount":"10.00"}]}`
	s.counts(s.bring("orders", "jsonl", fmt.Sprintf(record+"\n"+record, 1, "paypal", 2, "stripe")), 2, 0, 0, 0)
	for number, code := range map[string]string{"1": "provider_not_loaded", "2": "payment_without_reference"} {
		path := "/orders/" + admin[openapi.OrderPage](s.store, "GET", "/orders?number="+number, "", http.StatusOK).Orders[0].Id.String()
		o := admin[openapi.Order](s.store, "GET", path, "", http.StatusOK)
		piece := openapi.OrderRefundInput{Lines: &[]openapi.FulfillmentLine{{LineId: o.Lines[0].Id, Quantity: 1}}}
		wantProblem(t, s.asAdmin("POST", path+"/refunds", encode(t, piece)), http.StatusConflict, code)
		wantProblem(t, s.asAdmin("POST", path+"/transitions", `{"to":"refunded"}`), http.StatusConflict, code)
		wantProblem(t, s.asAdmin("POST", "/payments/"+o.Payments[0].Id.String()+"/refunds", `{"amount":"1.00"}`), http.StatusConflict, code)
		if n := s.number(`SELECT count(*) FROM payment_operations WHERE state <> 'succeeded'`); n != 0 {
			t.Errorf("%d operations were asked for", n)
		}
		piece.Outside = new(true)
		for range 2 {
			admin[openapi.Refund](s.store, "POST", path+"/refunds", piece, http.StatusCreated)
		}
		if o = admin[openapi.Order](s.store, "GET", path, "", http.StatusOK); o.State != openapi.OrderStateRefunded || o.Refunded.Amount != "10.00" {
			t.Errorf("order %+v", o)
		}
	}
	if n := len(s.stripe.Refunds()); n != 0 {
		t.Errorf("Stripe was asked for %d refunds", n)
	}
	s.wantAddedUp()
}

// TestWhatIsRefusedOnTheOrderBeforeIsThatOrdersOwnAgain has the first order's
// payment not give back what is in the one that was placed in exchange.
func TestWhatIsRefusedOnTheOrderBeforeIsThatOrdersOwnAgain(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	first := s.sent("tok_no_refund", line(s.stocked("MUG", "10.00", 10), 1))
	second := first.exchanged(s.stocked("CUP", "10.00", 10), 1)
	r := second.sentBack(1)
	want[openapi.Return](t, second.act("returns", r.Id, "receive", `{"refund":true}`), http.StatusOK)
	second.wantEnds("0.00/10.00 failed")
	second.wantLine(0, 0, 1, 0, 1, 0)
	first.wantMoney("14.90", "0.00", "", "")
	second.wantMoney("0.00", "0.00", "", "")
	if text := second.timeline(); !strings.Contains(text, "10.00 EUR of that are on payments of order "+first.order().Number) {
		t.Errorf("the second order tells\n%s", text)
	}
	if w := second.guest.do("GET", second.path+"/timeline", ""); !strings.Contains(w.Body.String(), "were not given back") || strings.Contains(w.Body.String(), "are on payments of order") {
		t.Errorf("its buyer reads %s", w.Body)
	}
	s.wantAddedUp()
	wantProblem(t, second.giveBack(openapi.OrderRefundInput{Lines: new(second.part(1))}), http.StatusConflict, "refund_exceeds_captured")
	want[openapi.Refund](t, first.giveBack(openapi.OrderRefundInput{Amount: new("10.00"), Outside: new(true)}), http.StatusCreated)
	first.wantState(openapi.OrderStateShipped)
	want[openapi.Refund](t, first.giveBack(openapi.OrderRefundInput{Shipping: new("4.90"), Outside: new(true)}), http.StatusCreated)
	first.wantState(openapi.OrderStateRefunded)
	second.wantState(openapi.OrderStateShipped) // of it nothing was given back
	s.wantAddedUp()
}

func TestWhatIsGivenBackByHandOfAnOrderInExchangeIsNotedOnTheOrderBefore(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	first := s.sent("tok_no_refund", line(s.stocked("MUG", "10.00", 10), 1))
	second := first.exchanged(s.stocked("VASE", "25.00", 10), 1) // 15.00 more
	second.sentBack(1)
	r := want[openapi.Refund](t, second.giveBack(openapi.OrderRefundInput{Lines: new(second.part(1)), Outside: new(true)}), http.StatusCreated)
	if r.State != openapi.RefundStateSucceeded || r.FromOrders == nil || (*r.FromOrders)[0].Amount != "10.00" {
		t.Errorf("refund %+v", r)
	}
	first.wantMoney("14.90", "10.00", "", "")
	second.wantMoney("15.00", "15.00", "", "")
	second.wantState(openapi.OrderStateRefunded)
	if n := s.number(`SELECT count(*) FROM payment_operations WHERE kind = 'refund' AND state <> 'succeeded'`); n != 0 {
		t.Errorf("providers are asked %d times", n)
	}
	s.wantAddedUp()
}

// TestOrdersGoOnWhereWhatIsInExchangeFailsAfterAll has all of an order and of the
// one that was placed in exchange be given back, and a part fail days later.
func TestOrdersGoOnWhereWhatIsInExchangeFailsAfterAll(t *testing.T) {
	t.Parallel()
	s := newStriped(t)
	b := s.buy("pm_card")
	first := b.parcels()
	first.pack(openapi.FulfillmentInput{Shipped: new(true)})
	want[openapi.Refund](t, first.giveBack(openapi.OrderRefundInput{Shipping: new("4.90")}), http.StatusCreated)
	second := first.exchanged(s.stocked("VASE", "25.10", 10), 1) // 20.00 more
	second.sentBack(1)
	back := s.away(503)
	r := want[openapi.Refund](t, second.giveBack(openapi.OrderRefundInput{Lines: new(second.part(1))}), http.StatusCreated)
	if r.State != openapi.RefundStatePending {
		t.Errorf("refund %+v", r)
	}
	first.wantState(openapi.OrderStateShipped)
	s.wantAddedUp()
	back()
	s.askAgain()
	for _, p := range []parcels{first, second} {
		p.wantState(openapi.OrderStateRefunded)
	}
	second.wantEnds("25.10/25.10 succeeded")
	s.wantAddedUp()
	s.stripe.FailRefund("re_2")
	s.wantHeard(s.stripe.Event("refund.failed", "re_2"))
	second.wantEnds("20.00/25.10 partial")
	first.wantMoney("10.00", "4.90", "", "")
	for _, p := range []parcels{first, second} {
		p.wantState(openapi.OrderStateShipped)
	}
	s.wantAddedUp()
	want[openapi.Refund](t, first.giveBack(openapi.OrderRefundInput{Amount: new("5.10"), Outside: new(true)}), http.StatusCreated)
	first.wantState(openapi.OrderStateRefunded)
	s.wantAddedUp()
}

// TestPiecesAreSharedToTheCentAlsoWhereOneIsExchangedAndARefundFailed has the
// first of three pieces fail after the last was exchanged.
func TestPiecesAreSharedToTheCentAlsoWhereOneIsExchangedAndARefundFailed(t *testing.T) {
	t.Parallel()
	s := newStriped(t)
	admin[openapi.Promotion](s.store, "POST", "/promotions", `{"title":"Ten","kind":"percentage","percent":"10"}`, http.StatusCreated)
	g := s.cartOf(s.method, line(s.stocked("POT", "3.35", 10), 3))
	o := want[openapi.Order](t, g.do("POST", "/orders", encode(t, openapi.OrderInput{CartId: g.cart.Id, Payment: openapi.PaymentInput{Provider: "stripe", Token: new("pm_card")}})), http.StatusCreated)
	p := parcels{store: s.store, guest: g, path: "/orders/" + o.Id.String()}
	p.pack(openapi.FulfillmentInput{Shipped: new(true)})
	give := func() string {
		return want[openapi.Refund](t, p.giveBack(openapi.OrderRefundInput{Lines: new(p.part(1))}), http.StatusCreated).Amount.Amount
	}
	sum := give() + " " + give()
	r := p.sentBack(3)
	in := openapi.ExchangeInput{Lines: []openapi.ExchangeLine{{VariantId: s.stocked("VASE", "25.00", 10).Id, Quantity: 1}}}
	second := want[openapi.Order](t, p.act("returns", r.Id, "exchange", encode(t, in)), http.StatusCreated)
	sum += " " + second.Credit.Amount
	s.stripe.FailRefund("re_1")
	s.wantHeard(s.stripe.Event("refund.failed", "re_1"))
	if sum += " " + give(); sum != "3.01 3.01 3.02 3.01" {
		t.Errorf("the pieces brought %s", sum)
	}
	s.wantAddedUp()
}
