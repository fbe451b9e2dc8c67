package api_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"gitee.com/captainjez/gocart/runtime/internal/testbed"
	"gitee.com/captainjez/gocart/runtime/openapi"
)

// away has Stripe answer no request that moves money, and tells when it is back.
func (s *striped) away(status int) (back func()) {
	s.stripe.Judge(func(r *http.Request, _ int) testbed.Fate {
		if r.Method == http.MethodPost {
			return testbed.Fate{Status: status}
		}
		return testbed.Fate{}
	})
	return func() { s.stripe.Judge(nil) }
}

func (s *striped) operations(kind string) int {
	s.t.Helper()
	return s.number(`SELECT count(*) FROM payment_operations WHERE kind = '` + kind + `'`)
}

func TestAnOrderWhosePaymentIsVoidedOrBeingVoidedIsNotShipped(t *testing.T) {
	t.Parallel()
	s := newStriped(t)
	voided, voiding := s.buy("pm_card"), s.buy("pm_card")
	admin[openapi.PaymentOperation](s.store, "POST", "/payments/"+voided.id+"/void", `{}`, http.StatusCreated)
	voided.move("processing")
	wantProblem(t, s.asAdmin("POST", voided.path+"/transitions", `{"to":"shipped"}`), http.StatusConflict, "payment_due")

	back := s.away(503)
	admin[openapi.PaymentOperation](s.store, "POST", "/payments/"+voiding.id+"/void", `{}`, http.StatusCreated)
	voiding.move("processing")
	wantProblem(t, s.asAdmin("POST", voiding.path+"/transitions", `{"to":"shipped"}`), http.StatusConflict, "payment_being_voided")
	back()
	s.askAgain()
	voiding.wantPayment("voided", "0.00", "0.00")
	wantProblem(t, s.asAdmin("POST", voiding.path+"/transitions", `{"to":"shipped"}`), http.StatusConflict, "payment_due")
	if n := s.operations("capture"); n != 0 {
		t.Errorf("%d captures were asked for", n)
	}
	want[openapi.Order](t, voiding.payDue(paying("stripe", "pm_card")), http.StatusCreated)
	voiding.move("shipped")
	voiding.wantMoney("10.00", "10.00", "0.00", "0.00")
	s.wantAlike()
}

func TestAnOrderWhosePaymentIsOnItsWayIsNotShipped(t *testing.T) {
	t.Parallel()
	s := newStriped(t)
	b := s.buy("pm_card")
	admin[openapi.PaymentOperation](s.store, "POST", "/payments/"+b.id+"/void", `{}`, http.StatusCreated)
	o := want[openapi.Order](t, b.payDue(paying("stripe", "pm_3ds")), http.StatusCreated)
	b.id = o.Payments[1].Id.String()
	b.intent = b.details().Reference
	s.stripe.Do(b.intent, func(i *testbed.Intent) { i.Status = "processing" })
	s.wantHeard(s.stripe.Event("payment_intent.processing", b.intent))
	b.move("processing")
	wantProblem(t, s.asAdmin("POST", b.path+"/transitions", `{"to":"shipped"}`), http.StatusConflict, "payment_not_authorized")
	s.stripe.Do(b.intent, func(i *testbed.Intent) { i.Status = "requires_capture" })
	s.wantHeard(s.stripe.Event("payment_intent.amount_capturable_updated", b.intent))
	b.move("shipped")
	b.wantPayment("captured", "10.00", "0.00")
	s.wantAlike()
}

// TestWhatComesInForAnOrderThatHasGoneOutIsTaken has the authorisation of an
// order lapse, and its buyer pay anew after it was shipped.
func TestWhatComesInForAnOrderThatHasGoneOutIsTaken(t *testing.T) {
	t.Parallel()
	s := newStriped(t)
	b := s.buy("pm_card")
	s.stripe.Do(b.intent, func(i *testbed.Intent) { i.Status = "canceled" })
	b.move("processing", "shipped")
	b.wantMoney("10.00", "0.00", "0.00", "10.00")
	o := want[openapi.Order](t, b.payDue(paying("stripe", "pm_3ds")), http.StatusCreated)
	b.id = o.Payments[1].Id.String()
	b.intent = b.details().Reference
	s.stripe.Do(b.intent, func(i *testbed.Intent) { i.Status = "requires_capture" })
	s.wantHeard(s.stripe.Event("payment_intent.amount_capturable_updated", b.intent))
	b.wantPayment("captured", "10.00", "0.00")
	s.wantAlike()
}

// TestRefundsThatFailOfAnOrderThatIsNoMoreAreNotMadeAgain has every refund fail
// that was made: to try once more is for people.
func TestRefundsThatFailOfAnOrderThatIsNoMoreAreNotMadeAgain(t *testing.T) {
	t.Parallel()
	s := newStriped(t)
	b := s.buy("pm_card")
	b.move("processing", "shipped", "refunded")
	s.stripe.FailRefund("re_1")
	for range 3 {
		s.wantHeard(s.stripe.Event("refund.failed", "re_1"))
	}
	if n := len(s.stripe.Refunds()); n != 1 {
		t.Errorf("%d refunds were made", n)
	}
	b.wantPayment("captured", "10.00", "0.00")
	s.clock.forward(20 * time.Minute)
	s.reconcile()
	if got := s.disagreements(); got != "operation_failed" {
		t.Errorf("disagreements: %s", got)
	}
	if o := b.order(); o.State != openapi.OrderStateShipped { // as it was
		t.Errorf("the order is %s", o.State)
	}
	admin[openapi.PaymentOperation](s.store, "POST", "/payments/"+b.id+"/refunds", `{"amount":"10.00"}`, http.StatusCreated)
	s.wantAlike()
}

// TestAnOrderWhosePaymentIsNotOnItsWayAfterAllExpires has a payment that was on
// its way need its buyer again, and one be given up: then stock is held no
// longer than for an order that was just placed, and for as long it can be paid
// anew.
func TestAnOrderWhosePaymentIsNotOnItsWayAfterAllExpires(t *testing.T) {
	t.Parallel()
	for name, status := range map[string]string{"it needs its buyer again": "requires_action", "it is given up": "canceled"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newStriped(t)
			idle, anew := s.buy("pm_3ds"), s.buy("pm_3ds")
			for _, b := range []bought{idle, anew} {
				s.stripe.Do(b.intent, func(i *testbed.Intent) { i.Status = "processing" })
				s.wantHeard(s.stripe.Event("payment_intent.processing", b.intent))
			}
			s.clock.forward(48 * time.Hour)
			if n, err := s.Orders.ExpireUnpaid(t.Context()); n != 0 || err != nil {
				t.Errorf("while the money is on its way %d orders expired, %v", n, err)
			}
			for _, b := range []bought{idle, anew} {
				s.stripe.Do(b.intent, func(i *testbed.Intent) { i.Status = status })
				s.wantHeard(s.stripe.Event("payment_intent.payment_failed", b.intent))
			}
			if due := idle.order().PaymentDueAt; due == nil || due.Sub(s.clock.now()).Round(time.Minute) != 30*time.Minute {
				t.Fatalf("it is due at %v", due)
			}
			s.clock.forward(29 * time.Minute)
			if status == "canceled" {
				want[openapi.Order](t, anew.payDue(paying("stripe", "pm_card")), http.StatusCreated)
			} else {
				s.stripe.Do(anew.intent, func(i *testbed.Intent) { i.Status = "requires_capture" })
				s.wantHeard(s.stripe.Event("payment_intent.amount_capturable_updated", anew.intent))
			}
			s.clock.forward(2 * time.Minute)
			if n, err := s.Orders.ExpireUnpaid(t.Context()); n != 1 || err != nil {
				t.Errorf("%d orders expired, %v", n, err)
			}
			if o := idle.order(); o.State != openapi.OrderStateCancelled {
				t.Errorf("without a payment the order is %s", o.State)
			}
			if o := anew.order(); o.State != openapi.OrderStateConfirmed {
				t.Errorf("paid anew the order is %s", o.State)
			}
			if l := s.level("MUG"); l.Reserved != 1 {
				t.Errorf("level %+v", l)
			}
			s.wantAlike()
		})
	}
}

func TestAnOrderWhosePaymentStaffGiveUpExpires(t *testing.T) {
	t.Parallel()
	s := newStriped(t)
	g := s.cartOf(s.method, line(s.mug, 1))
	o := want[openapi.Order](t, g.pay("tok_pending"), http.StatusCreated)
	admin[openapi.PaymentOperation](s.store, "POST", "/payments/"+o.Payments[0].Id.String()+"/void", `{}`, http.StatusCreated)
	s.clock.forward(31 * time.Minute)
	if n, err := s.Orders.ExpireUnpaid(t.Context()); n != 1 || err != nil {
		t.Errorf("%d orders expired, %v", n, err)
	}
}

// TestWhatIsMissedLongAfterAPaymentWasMadeIsTakenOver has things happen at
// Stripe, of which no event comes, to payments that are older than the window.
func TestWhatIsMissedLongAfterAPaymentWasMadeIsTakenOver(t *testing.T) {
	t.Parallel()
	s := newStriped(t)
	back, failed, lapsed, again := s.buy("pm_card"), s.buy("pm_card"), s.buy("pm_card"), s.buy("pm_card")
	back.move("processing", "shipped")
	failed.move("processing", "shipped")
	admin[openapi.PaymentOperation](s.store, "POST", "/payments/"+failed.id+"/refunds", `{"amount":"10.00"}`, http.StatusCreated)
	again.move("processing", "shipped")
	s.clock.forward(5 * 24 * time.Hour)
	s.reconcile()
	s.stripe.Refund(back.intent, 1000)
	s.stripe.FailRefund("re_1")
	s.stripe.Do(lapsed.intent, func(i *testbed.Intent) { i.Status = "canceled" })
	admin[openapi.PaymentOperation](s.store, "POST", "/payments/"+again.id+"/refunds", `{"amount":"4.00"}`, http.StatusCreated)
	s.stripe.Do(again.intent, func(i *testbed.Intent) { i.Refunded = 500 }) // of which nothing else tells
	s.clock.forward(time.Hour)
	s.reconcile()
	back.wantPayment("refunded", "10.00", "10.00")
	failed.wantPayment("captured", "10.00", "0.00")
	lapsed.wantPayment("voided", "0.00", "0.00")
	again.wantPayment("captured", "10.00", "5.00")
	if got := s.disagreements(); got != "operation_failed" { // the refund
		t.Errorf("disagreements: %s", got)
	}
	s.wantAlike()
}

// TestWhatIsWrongIsResolvedOnlyWhereItWasLookedAt has more be wrong than is
// looked at in one go.
func TestWhatIsWrongIsResolvedOnlyWhereItWasLookedAt(t *testing.T) {
	t.Parallel()
	s := newStriped(t)
	s.exec(`INSERT INTO payment_events (id, provider, event, type, reference, raw, state, received_at, updated_at)
		SELECT gen_random_uuid(), 'stripe', 'evt_' || n, 'charge.refunded', 'pi_' || n, '{}', 'unknown', now() - interval '1 day', now() FROM generate_series(1, 1100) n`)
	for range 2 {
		s.reconcile()
		if n := s.number(`SELECT count(*) FROM payment_discrepancies WHERE resolved_at IS NULL`); n != 1100 {
			t.Errorf("of 1100 events of nothing %d are noted", n)
		}
		s.clock.forward(time.Minute)
	}
	s.exec(`DELETE FROM payment_events WHERE event = 'evt_1'`)
	s.reconcile()
	if n := s.number(`SELECT count(*) FROM payment_discrepancies WHERE resolved_at IS NULL`); n != 1099 {
		t.Errorf("of 1099 events of nothing %d are noted", n)
	}
}

// TestARefundThatIsConcludedMeanwhileIsNoDisagreement has the store give back
// between Stripe's list and the payment that is compared with it.
func TestARefundThatIsConcludedMeanwhileIsNoDisagreement(t *testing.T) {
	t.Parallel()
	s := newStriped(t)
	b := s.buy("pm_card")
	b.move("processing", "shipped")
	s.clock.forward(time.Hour)
	s.statements.meanwhile("PaymentByID", func() {
		admin[openapi.PaymentOperation](s.store, "POST", "/payments/"+b.id+"/refunds", `{"amount":"4.00"}`, http.StatusCreated)
	})
	s.reconcile()
	if got := s.disagreements(); got != "" {
		t.Errorf("disagreements: %s", got)
	}
	b.wantPayment("captured", "10.00", "4.00")
}

// TestAStaleAnswerOfStripesTakesNothingBack has two events come at once: the
// first asks Stripe how the payment stands, and hears it late, when the second
// has told that the refund failed.
func TestAStaleAnswerOfStripesTakesNothingBack(t *testing.T) {
	t.Parallel()
	s := newStriped(t)
	b := s.buy("pm_card")
	b.move("processing", "shipped")
	admin[openapi.PaymentOperation](s.store, "POST", "/payments/"+b.id+"/refunds", `{"amount":"5.00"}`, http.StatusCreated)
	first := s.stripe.Event("charge.refunded", b.intent)
	asked, failed := make(chan struct{}), make(chan struct{})
	s.stripe.Judge(func(_ *http.Request, n int) testbed.Fate {
		if n > 1 {
			return testbed.Fate{}
		}
		close(asked)
		return testbed.Fate{Late: failed}
	})
	heard := make(chan struct{})
	go func() {
		defer close(heard)
		s.wantHeard(first)
	}()
	<-asked
	testbed.Eventually(t, "Stripe has its answer ready", func() bool { return s.stripe.Answered() == 1 })
	s.stripe.FailRefund("re_1")
	s.wantHeard(s.stripe.Event("refund.failed", "re_1"))
	b.wantPayment("captured", "10.00", "0.00")
	close(failed)
	<-heard
	b.wantPayment("captured", "10.00", "0.00")
	if n := s.number(`SELECT count(*) FROM payment_events WHERE state = 'applied'`); n != 2 {
		t.Errorf("%d events were applied", n)
	}
	s.wantAlike()
}

// TestAttemptsThatCannotBeGivenUpHoldUpNoOthers has more of them be on their way
// at Stripe, which cancels none such, than are looked at in one go.
func TestAttemptsThatCannotBeGivenUpHoldUpNoOthers(t *testing.T) {
	t.Parallel()
	s := newStriped(t)
	attempt := func(status string) string {
		id := uuid.NewString()
		s.exec(`INSERT INTO payment_attempts (id, order_id, provider, amount, currency, created_at) VALUES ('` + id + `', gen_random_uuid(), 'stripe', 500, 'EUR', '` +
			s.clock.now().Format(time.RFC3339Nano) + `')`)
		return s.stripe.Add(testbed.Intent{Status: status, Amount: 500, Currency: "eur", Metadata: map[string]string{"gocart_store": "ns/shop", "gocart_payment": id}})
	}
	for range 100 {
		attempt("requires_capture")
	}
	s.clock.forward(time.Second)
	refused := attempt("processing")
	s.clock.forward(12 * time.Minute)
	lists := 0
	s.stripe.Judge(func(r *http.Request, _ int) testbed.Fate {
		if r.Method == http.MethodPost {
			return testbed.Fate{Status: 503}
		}
		if r.Form.Get("starting_after") == "" {
			lists++
		}
		return testbed.Fate{}
	})
	if n, err := s.Payments.ExpireAttempts(t.Context()); n != 0 || err == nil || lists != 1 {
		t.Errorf("%d attempts were given up with %d lists, %v", n, lists, err)
	}
	s.stripe.Judge(nil)
	if n, _ := s.Payments.ExpireAttempts(t.Context()); n != 100 {
		t.Errorf("%d attempts were given up, want the one that was not tried and 99", n)
	}
	if got := s.disagreements(); got != "payment_without_order" {
		t.Errorf("disagreements: %s", got)
	}
	s.reconcile()
	if got := s.disagreements(); got != "payment_without_order" {
		t.Errorf("looked at again, disagreements: %s", got)
	}
	s.stripe.Do(refused, func(i *testbed.Intent) { i.Status = "requires_capture" })
	s.reconcile()
	s.clock.forward(time.Minute)
	s.reconcile()
	if i := s.stripe.Do(refused, nil); i.Status != "canceled" || s.disagreements() != "" {
		t.Errorf("it is %+v, with disagreements: %s", i, s.disagreements())
	}
}

// TestAnErrorThatStripeRepeatsForItsKeyHoldsNothingUp has Stripe fail once, which
// it then answers for a day to whoever asks under the same key.
func TestAnErrorThatStripeRepeatsForItsKeyHoldsNothingUp(t *testing.T) {
	t.Parallel()
	s := newStriped(t)
	b, void := s.buy("pm_card"), s.buy("pm_card")
	back := s.away(500)
	b.move("processing", "shipped")
	void.move("cancelled")
	back()
	s.askAgain()
	b.wantPayment("captured", "10.00", "0.00")
	void.wantPayment("voided", "0.00", "0.00")
	back = s.away(500)
	admin[openapi.PaymentOperation](s.store, "POST", "/payments/"+b.id+"/refunds", `{"amount":"6.00"}`, http.StatusCreated)
	back()
	s.askAgain() // under the same key, for two would be two refunds
	if n := len(s.stripe.Refunds()); n != 0 {
		t.Errorf("%d refunds were made", n)
	}
	s.stripe.ForgetKeys()
	s.askAgain()
	b.wantPayment("captured", "10.00", "6.00")
	s.wantAlike()
}

func TestAPaymentsNewestOperationsAreListed(t *testing.T) {
	t.Parallel()
	s := newStriped(t)
	b := s.buy("pm_card")
	s.exec(`INSERT INTO payment_operations (id, payment_id, kind, amount, state, actor, reason, created_at, updated_at)
		SELECT ('00000000-0000-7000-8000-' || lpad(n::text, 12, '0'))::uuid, '` + b.id + `', 'refund', 1, 'failed', 'staff', '', now(), now() FROM generate_series(1, 120) n`)
	b.move("processing", "shipped")
	all := b.details().Operations
	if len(all) != 100 || all[99].Kind != openapi.PaymentOperationKindCapture || all[0].Id.String() != "00000000-0000-7000-8000-000000000022" {
		t.Errorf("%d operations are listed, from %s to %s", len(all), all[0].Id, all[len(all)-1].Id)
	}
}

func TestOfAnEventNothingIsKeptOfItsBuyer(t *testing.T) {
	t.Parallel()
	s := newStriped(t)
	b := s.buy("pm_card")
	s.stripe.Do(b.intent, func(i *testbed.Intent) { i.Status, i.Received = "succeeded", i.Amount })
	s.wantHeard([]byte(`{"id":"evt_charge","object":"event","type":"charge.succeeded","request":{"id":"BUYER"},"data":{"object":{"id":"ch_1","object":"charge","status":"succeeded",
		"payment_intent":{"id":"` + b.intent + `","object":"payment_intent","receipt_email":"BUYER@example.com"},"amount":1000,"currency":"eur","reason":{"of":"BUYER"},
		"billing_details":{"name":"BUYER","address":{"line1":"BUYER"}},"payment_method_details":{"card":{"last4":"BUYER","fingerprint":"BUYER"}}}}}`))
	var kept string
	s.scan(`SELECT convert_from(raw, 'UTF8') FROM payment_events`, &kept)
	if strings.Contains(kept, "BUYER") || !strings.Contains(kept, b.intent) {
		t.Errorf("kept is %s", kept)
	}
	b.wantPayment("captured", "10.00", "0.00") // by what is kept of it
}

// TestAChargebackIsReportedUntilItIsOver has what is told of one come often, and
// in any order.
func TestAChargebackIsReportedUntilItIsOver(t *testing.T) {
	t.Parallel()
	s := newStriped(t)
	tell := func(b bought, n int, dispute, status string) {
		s.wantHeard(fmt.Appendf(nil, `{"id":"evt_%s_%d","object":"event","type":"charge.dispute.updated","data":{"object":{"id":%q,"object":"dispute",
			"payment_intent":%q,"status":%q,"amount":1000,"currency":"eur","reason":"fraudulent"}}}`, dispute, n, dispute, b.intent, status))
	}
	b, late := s.buy("pm_card"), s.buy("pm_card")
	b.move("processing", "shipped")
	late.move("processing", "shipped")
	s.stripe.MoveDispute(s.stripe.Dispute(b.intent, 1000), "under_review") // dp_1
	for n, status := range []string{"needs_response", "needs_response", "under_review"} {
		tell(b, n, "dp_1", status)
	}
	s.clock.forward(time.Hour)
	s.reconcile() // which finds the same
	if got := s.disagreements(); got != "charge_disputed" {
		t.Errorf("disagreements: %s", got)
	}
	page := admin[openapi.PaymentDiscrepancyPage](s.store, "GET", "/payment-discrepancies", "", http.StatusOK)
	if d := page.Discrepancies[0]; d.Reference != "dp_1" || d.PaymentId.String() != b.id ||
		d.Detail != "The buyer's bank disputes 10.00 EUR of the payment (fraudulent); at the provider the dispute is under_review." {
		t.Errorf("discrepancy %+v", d)
	}
	tell(b, 3, "dp_1", "lost")
	tell(late, 0, "dp_2", "won")
	tell(late, 1, "dp_2", "needs_response") // which was before
	if got := s.disagreements(); got != "" {
		t.Errorf("over there are disagreements: %s", got)
	}
	_, text := b.timeline()
	if strings.Count(text, "The buyer's bank disputes 10.00 EUR") != 1 || strings.Count(text, "The dispute over 10.00 EUR is over; at the provider it is lost.") != 1 {
		t.Errorf("the timeline says\n%s", text)
	}
	if seen := want[openapi.Timeline](t, b.do("GET", b.path+"/timeline", ""), http.StatusOK); strings.Contains(encode(t, seen), "dispute") {
		t.Errorf("the buyer sees %s", encode(t, seen))
	}
	b.wantPayment("captured", "10.00", "0.00")
	s.wantAlike()
}

func TestAChargebackWhoseEventsNeverCameIsFound(t *testing.T) {
	t.Parallel()
	s := newStriped(t)
	told, missed, over := s.buy("pm_card"), s.buy("pm_card"), s.buy("pm_card")
	disputes := map[string]string{}
	for what, b := range map[string]bought{"told": told, "missed": missed, "over": over} {
		b.move("processing", "shipped")
		disputes[what] = s.stripe.Dispute(b.intent, 1000)
	}
	past := s.clock.now().Add(-10 * 24 * time.Hour) // so that the payments themselves are not looked at
	for what, metadata := range map[string]map[string]string{"lost to the store": {"gocart_store": "ns/shop", "gocart_payment": uuid.NewString()}, "another's": {"gocart_store": "ns/other"}, "no store's": nil} {
		disputes[what] = s.stripe.Dispute(s.stripe.Add(testbed.Intent{Status: "succeeded", Amount: 500, Received: 500, Currency: "eur", Created: past, Metadata: metadata}), 500)
	}
	s.wantHeard(s.stripe.Event("charge.dispute.created", disputes["told"]))
	s.stripe.MoveDispute(disputes["over"], "won")
	// open are the disputes that are reported and not over.
	open := func() (all []string) {
		t.Helper()
		for _, d := range admin[openapi.PaymentDiscrepancyPage](s.store, "GET", "/payment-discrepancies?resolved=false", "", http.StatusOK).Discrepancies {
			for what, id := range disputes {
				if d.Kind == openapi.PaymentDiscrepancyKindChargeDisputed && d.Reference == id {
					all = append(all, what)
				}
			}
		}
		slices.Sort(all)
		return all
	}
	s.reconcile() // both sides are still at it
	if got := open(); !slices.Equal(got, []string{"told"}) {
		t.Errorf("at once %q are reported", got)
	}
	s.clock.forward(20 * time.Minute)
	for range 2 {
		s.reconcile()
		if got := open(); !slices.Equal(got, []string{"lost to the store", "missed", "told"}) {
			t.Errorf("%q are reported", got)
		}
	}
	s.wantHeard(s.stripe.Event("charge.dispute.created", disputes["missed"])) // late
	s.wantHeard(s.stripe.Event("charge.dispute.closed", disputes["over"]))
	for i, b := range []bought{over, told, missed} {
		_, text := b.timeline()
		ended := strings.Contains(text, "The dispute over 10.00 EUR is over; at the provider it is won.")
		if strings.Count(text, "The buyer's bank disputes 10.00 EUR of the payment (fraudulent)") != 1 || ended != (i == 0) {
			t.Errorf("a timeline says\n%s", text)
		}
		b.wantPayment("captured", "10.00", "0.00")
	}
	if text := encode(t, admin[openapi.PaymentDiscrepancyPage](s.store, "GET", "/payment-discrepancies", "", http.StatusOK)); !strings.Contains(text,
		", of which the store has no payment (fraudulent); at the provider the dispute is needs_response.") {
		t.Errorf("discrepancies %s", text)
	}
	// Long after they came up, what became of them is found as well.
	s.clock.forward(80 * 24 * time.Hour)
	s.stripe.MoveDispute(disputes["told"], "lost")
	s.stripe.MoveDispute(disputes["lost to the store"], "lost")
	s.stripe.MoveDispute(disputes["missed"], "under_review")
	s.reconcile()
	if got := open(); !slices.Equal(got, []string{"missed"}) {
		t.Errorf("months later %q are reported", got)
	}
	if _, text := told.timeline(); strings.Count(text, "The dispute over 10.00 EUR is over; at the provider it is lost.") != 1 {
		t.Errorf("the timeline says\n%s", text)
	}
	// What was over and is forgotten is not told of again.
	s.clock.forward(20 * 24 * time.Hour)
	if _, err := s.Payments.ForgetEvents(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.reconcile()
	if n := s.number(`SELECT count(*) FROM payment_discrepancies WHERE reference = '` + disputes["over"] + `'`); n != 0 {
		t.Errorf("what was over is reported %d times again", n)
	}
	if _, text := over.timeline(); strings.Count(text, "is over") != 1 {
		t.Errorf("the timeline says\n%s", text)
	}
	if got := open(); !slices.Equal(got, []string{"missed"}) {
		t.Errorf("in the end %q are reported", got)
	}
}
