package api_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/google/uuid"

	words "gitee.com/captainjez/gocart/runtime/internal/mail"
	"gitee.com/captainjez/gocart/runtime/internal/testbed"
	"gitee.com/captainjez/gocart/runtime/openapi"
)

// shippedByThree is an order that went out, and was paid by three payments.
func (s *striped) shippedByThree() parcels {
	b := s.buy("pm_card")
	p := b.parcels()
	for range 2 {
		b.edit(fmt.Sprintf(`{"add":[{"variantId":%q,"quantity":1,"unitPrice":"10.00"}]}`, s.mug.Id))
		want[openapi.Order](s.t, b.payDue(paying("stripe", "pm_card")), http.StatusCreated)
	}
	b.move("processing", "shipped")
	return p
}

func TestAPartialRefundOfWhichMoreFailsReopensItsOrder(t *testing.T) {
	t.Parallel()
	s := newStriped(t)
	p := s.shippedByThree()
	first := s.stripe.Intents()[0].ID
	s.stripe.Do(first, func(i *testbed.Intent) { i.FailsRefunds = true })
	want[openapi.Refund](t, p.giveBack(openapi.OrderRefundInput{Amount: new("30.00")}), http.StatusCreated)
	p.wantEnds("20.00/30.00 partial")
	s.stripe.Do(first, func(i *testbed.Intent) { i.FailsRefunds = false })
	want[openapi.Refund](t, p.giveBack(openapi.OrderRefundInput{Amount: new("10.00")}), http.StatusCreated)
	p.wantState(openapi.OrderStateRefunded)
	before := p.told("refund.failed")
	s.stripe.FailRefund("re_1")
	s.wantHeard(s.stripe.Event("refund.failed", "re_1"))
	p.wantEnds("10.00/30.00 partial", "10.00/10.00 succeeded")
	p.wantState(openapi.OrderStateShipped)
	if after := p.told("refund.failed"); after == before {
		t.Errorf("nobody is told that 10.00 more failed: %s", after)
	}
	s.wantAddedUp()
}

func TestARefundThatTheVersionBeforeConcludesIsNotPendingForEver(t *testing.T) {
	t.Parallel()
	s := newStriped(t)
	b := s.buy("pm_card")
	p := b.parcels()
	b.move("processing", "shipped")
	back := s.away(503)
	want[openapi.Refund](t, p.giveBack(openapi.OrderRefundInput{Amount: new("10.00")}), http.StatusCreated)
	back()
	s.stripe.Refund(b.intent, 1000)
	// What the version before writes when its worker carries the operation out.
	for _, q := range []string{
		`UPDATE payment_operations SET state = 'succeeded', reference = 're_1' WHERE kind = 'refund'`,
		`UPDATE payments SET refunded = 1000, refunding = 0, state = 'refunded' WHERE id = '` + b.id + `'`,
	} {
		if _, err := s.Pool.Exec(t.Context(), q); err != nil {
			t.Fatal(err)
		}
	}
	s.askAgain()
	s.clock.forward(25 * 60 * 60 * 1e9)
	s.reconcile()
	s.reconcile()
	p.wantEnds("10.00/10.00 succeeded")
	p.wantState(openapi.OrderStateRefunded)
}

func TestAnOrderAllOfWhichIsGivenBackIsRefundedWhateverWasAnsweredLast(t *testing.T) {
	t.Parallel()
	s := newStriped(t)
	b := s.buy("pm_card")
	p := b.parcels()
	b.move("processing", "shipped")
	back := s.away(503)
	admin[openapi.PaymentOperation](s.store, "POST", "/payments/"+b.id+"/refunds", `{"amount":"4.00"}`, http.StatusCreated)
	want[openapi.Refund](t, p.giveBack(openapi.OrderRefundInput{Amount: new("6.00")}), http.StatusCreated)
	back()
	var own, theirs string
	s.scan(`SELECT id::text FROM payment_operations WHERE state = 'requested' AND refund_id IS NOT NULL`, &own)
	s.scan(`SELECT id::text FROM payment_operations WHERE state = 'requested' AND refund_id IS NULL`, &theirs)
	for _, id := range []string{own, theirs} {
		s.Payments.Settle(t.Context(), uuid.MustParse(id))
	}
	p.wantState(openapi.OrderStateRefunded)
}

func TestAnOrderIsRefundedAlsoByARefundOfItsPayment(t *testing.T) {
	t.Parallel()
	s := newStriped(t)
	b := s.buy("pm_card")
	p := b.parcels()
	b.move("processing", "shipped")
	want[openapi.Refund](t, p.giveBack(openapi.OrderRefundInput{Amount: new("6.00")}), http.StatusCreated)
	admin[openapi.PaymentOperation](s.store, "POST", "/payments/"+b.id+"/refunds", `{"amount":"4.00"}`, http.StatusCreated)
	p.wantState(openapi.OrderStateRefunded)
}

func TestTheOrderBeforeGoesOnAlsoWhereTheOneInExchangeWasCancelled(t *testing.T) {
	t.Parallel()
	s := newStriped(t)
	b := s.buy("pm_card")
	first := b.parcels()
	first.pack(openapi.FulfillmentInput{Shipped: new(true)})
	second := first.exchanged(s.stocked("VASE", "5.10", 10), 1)
	back := s.away(503)
	want[openapi.Refund](t, second.giveBack(openapi.OrderRefundInput{Amount: new("5.10")}), http.StatusCreated)
	admin[openapi.Order](s.store, "POST", second.path+"/transitions", `{"to":"cancelled"}`, http.StatusOK)
	admin[openapi.Order](s.store, "POST", first.path+"/transitions", `{"to":"refunded"}`, http.StatusOK)
	back()
	var own string
	s.scan(`SELECT id::text FROM payment_operations WHERE state = 'requested' ORDER BY id DESC LIMIT 1`, &own)
	s.Payments.Settle(t.Context(), uuid.MustParse(own)) // of the first order's shipping
	s.stripe.Do(b.intent, func(i *testbed.Intent) { i.FailsRefunds = true })
	s.askAgain() // the second's fails
	first.wantState(openapi.OrderStateShipped)
	s.wantAddedUp()
}

func TestTheOrderBeforeIsRefundedAlsoWhereTheOneInExchangeWasCancelled(t *testing.T) {
	t.Parallel()
	s := newStriped(t)
	b := s.buy("pm_card")
	first := b.parcels()
	first.pack(openapi.FulfillmentInput{Shipped: new(true)})
	want[openapi.Refund](t, first.giveBack(openapi.OrderRefundInput{Shipping: new("4.90")}), http.StatusCreated)
	second := first.exchanged(s.stocked("VASE", "5.10", 10), 1)
	back := s.away(503)
	want[openapi.Refund](t, second.giveBack(openapi.OrderRefundInput{Amount: new("5.10")}), http.StatusCreated)
	admin[openapi.Order](s.store, "POST", second.path+"/transitions", `{"to":"cancelled"}`, http.StatusOK)
	back()
	s.askAgain()
	second.wantEnds("5.10/5.10 succeeded")
	first.wantState(openapi.OrderStateRefunded)
	s.wantAddedUp()
}

func TestAReasonIsErasedAlsoWhereTheProviderIsBeingAsked(t *testing.T) {
	t.Parallel()
	s := newStriped(t)
	b := s.buy("pm_card")
	p := b.parcels()
	o := b.move("processing", "shipped", "delivered")
	s.stripe.Judge(func(r *http.Request, _ int) testbed.Fate {
		if r.Method == http.MethodPost && strings.Contains(r.URL.Path, "refunds") {
			admin[openapi.Erasure](s.store, "POST", "/erasures", fmt.Sprintf(`{"email":%q}`, o.Email), http.StatusCreated)
		}
		return testbed.Fate{}
	})
	want[openapi.Refund](t, p.giveBack(openapi.OrderRefundInput{Amount: new("4.00"), Reason: new(marker + " called")}), http.StatusCreated)
	s.stripe.Judge(nil)
	if left := s.found(marker); len(left) > 0 {
		t.Errorf("the marker is still in %v", left)
	}
}

func TestABuyerIsMailedWhatOfAPartialRefundWasGivenBack(t *testing.T) {
	t.Parallel()
	s := newStriped(t)
	p := s.shippedByThree()
	s.stripe.Do(s.stripe.Intents()[0].ID, func(i *testbed.Intent) { i.FailsRefunds = true })
	want[openapi.Refund](t, p.giveBack(openapi.OrderRefundInput{Amount: new("30.00")}), http.StatusCreated)
	p.wantEnds("20.00/30.00 partial")
	if n := s.number(`SELECT count(*) FROM river_job WHERE args::text LIKE '%order_refunded%'`); n != 1 {
		t.Errorf("20.00 were given back, and %d mails say so", n)
	}
}

func TestACancelledOrdersRefundThatFailedIsNotedByHand(t *testing.T) {
	t.Parallel()
	s := newStriped(t)
	b := s.buy("pm_card")
	p := b.parcels()
	admin[openapi.PaymentOperation](s.store, "POST", "/payments/"+b.id+"/capture", `{}`, http.StatusCreated)
	want[openapi.Refund](t, p.giveBack(openapi.OrderRefundInput{Amount: new("4.00")}), http.StatusCreated)
	b.move("cancelled")
	b.wantPayment("refunded", "10.00", "10.00")
	s.stripe.FailRefund("re_1")
	s.wantHeard(s.stripe.Event("refund.failed", "re_1"))
	s.stripe.FailRefund("re_2")
	s.wantHeard(s.stripe.Event("refund.failed", "re_2"))
	p.wantEnds("0.00/4.00 failed")
	b.wantPayment("captured", "10.00", "0.00")
	want[openapi.Refund](t, p.giveBack(openapi.OrderRefundInput{Amount: new("10.00"), Outside: new(true)}), http.StatusCreated)
	p.wantState(openapi.OrderStateCancelled)
	s.wantAddedUp()
}

func TestOfACancelledOrderTheRestIsAskedForAlsoWhereARefundBeforeFails(t *testing.T) {
	t.Parallel()
	s := newStriped(t)
	b := s.buy("pm_card")
	p := b.parcels()
	admin[openapi.PaymentOperation](s.store, "POST", "/payments/"+b.id+"/capture", `{}`, http.StatusCreated)
	back := s.away(503)
	want[openapi.Refund](t, p.giveBack(openapi.OrderRefundInput{Amount: new("4.00")}), http.StatusCreated)
	b.move("cancelled")
	back()
	asks := 0
	s.stripe.Judge(func(r *http.Request, _ int) testbed.Fate { // it refuses the first, and not the second
		if r.Method != http.MethodPost || !strings.HasSuffix(r.URL.Path, "/refunds") {
			return testbed.Fate{}
		}
		if asks++; asks == 1 {
			return testbed.Fate{Status: http.StatusBadRequest}
		}
		return testbed.Fate{}
	})
	s.askAgain()
	s.askAgain()
	p.wantEnds("0.00/4.00 failed")
	b.wantPayment("captured", "10.00", "6.00")
	var asked string // not the first again, for that is for people
	if s.scan(`SELECT string_agg(amount::text, ' ' ORDER BY id) FROM payment_operations WHERE kind = 'refund'`, &asked); asked != "400 600" {
		t.Errorf("%s were asked for", asked)
	}
}

func TestAPaymentsOwnRefundThatFailsReopensTheOrder(t *testing.T) {
	t.Parallel()
	s := newStriped(t)
	b := s.buy("pm_card")
	p := b.parcels()
	b.move("processing", "shipped")
	admin[openapi.PaymentOperation](s.store, "POST", "/payments/"+b.id+"/refunds", `{"amount":"4.00"}`, http.StatusCreated)
	want[openapi.Refund](t, p.giveBack(openapi.OrderRefundInput{Amount: new("6.00")}), http.StatusCreated)
	p.wantState(openapi.OrderStateRefunded)
	s.stripe.FailRefund("re_1")
	s.wantHeard(s.stripe.Event("refund.failed", "re_1"))
	b.wantPayment("captured", "10.00", "6.00")
	p.wantState(openapi.OrderStateShipped)
	s.wantAddedUp()
}

func TestWhatWasDeliveredWhileRefundedIsDeliveredAfterwards(t *testing.T) {
	t.Parallel()
	s := newStriped(t)
	b := s.buy("pm_card")
	p := b.parcels()
	f := p.pack(openapi.FulfillmentInput{Shipped: new(true)})
	b.move("refunded")
	want[openapi.Fulfillment](t, p.act("fulfillments", f.Id, "deliver", `{}`), http.StatusOK)
	s.stripe.FailRefund("re_1")
	s.wantHeard(s.stripe.Event("refund.failed", "re_1"))
	p.wantState(openapi.OrderStateDelivered)
	s.wantAddedUp()
}

func TestTheOrderBeforeIsRefundedAlsoWhereTheOtherPartFailed(t *testing.T) {
	t.Parallel()
	s := newStriped(t)
	b := s.buy("pm_card")
	first := b.parcels()
	first.pack(openapi.FulfillmentInput{Shipped: new(true)})
	want[openapi.Refund](t, first.giveBack(openapi.OrderRefundInput{Shipping: new("4.90")}), http.StatusCreated)
	r := first.sentBack(1)
	in := openapi.ExchangeInput{Lines: []openapi.ExchangeLine{{VariantId: s.stocked("VASE", "25.10", 10).Id, Quantity: 1}}}
	o := want[openapi.Order](t, first.act("returns", r.Id, "exchange", encode(t, in)), http.StatusCreated)
	second := first
	second.path = "/orders/" + o.Id.String()
	admin[openapi.Order](s.store, "POST", second.path+"/payments", `{"provider":"test","token":"tok_no_refund"}`, http.StatusCreated)
	second.sentBack(1)
	want[openapi.Refund](t, second.giveBack(openapi.OrderRefundInput{Amount: new("25.10")}), http.StatusCreated)
	second.wantEnds("5.10/25.10 partial")
	first.wantMoney("10.00", "10.00", "", "")
	first.wantState(openapi.OrderStateRefunded)
	s.wantAddedUp()
}

func TestASurplusAnsweredLastRefundsItsOrder(t *testing.T) {
	t.Parallel()
	s := newStriped(t)
	b := s.buy("pm_card")
	p := b.parcels()
	b.edit(fmt.Sprintf(`{"add":[{"variantId":%q,"quantity":1,"unitPrice":"10.00"}]}`, s.mug.Id))
	want[openapi.Order](t, b.payDue(paying("stripe", "pm_card")), http.StatusCreated)
	for _, pay := range b.order().Payments {
		admin[openapi.PaymentOperation](s.store, "POST", "/payments/"+pay.Id.String()+"/capture", `{}`, http.StatusCreated)
	}
	back := s.away(503)
	b.edit(fmt.Sprintf(`{"setQuantities":[{"lineId":%q,"quantity":0}]}`, b.order().Lines[1].Id))
	b.move("processing", "shipped")
	want[openapi.Refund](t, p.giveBack(openapi.OrderRefundInput{Amount: new("10.00")}), http.StatusCreated)
	back()
	var own string
	s.scan(`SELECT id::text FROM payment_operations WHERE state = 'requested' AND refund_id IS NOT NULL`, &own)
	s.Payments.Settle(t.Context(), uuid.MustParse(own))
	s.askAgain()
	p.wantEnds("10.00/10.00 succeeded")
	p.wantState(openapi.OrderStateRefunded)
	s.wantAddedUp()
}

func TestAMailIsNotSentOfARefundThatFailedMeanwhile(t *testing.T) {
	t.Parallel()
	m := newMailing(t)
	p := m.sent("tok_no_refund", line(m.stocked("MUG", "10.00", 10), 1))
	r := want[openapi.Refund](t, p.giveBack(openapi.OrderRefundInput{Amount: new("10.00")}), http.StatusCreated)
	if r.State != openapi.RefundStateFailed {
		t.Fatalf("refund %+v", r)
	}
	o := p.order()
	m.enqueue(words.Message{Template: words.OrderRefunded, To: o.Email, OrderID: o.Id, RefundID: r.Id})
	m.enqueue(words.Message{Template: words.OrderCancelled, To: o.Email, OrderID: o.Id})
	m.mailed("Your order " + o.Number + " was cancelled")
	for _, raw := range m.server.Mails() {
		if strings.Contains(raw, "Your money back") {
			t.Errorf("its buyer is told of money that was refused:\n%s", raw)
		}
	}
}
