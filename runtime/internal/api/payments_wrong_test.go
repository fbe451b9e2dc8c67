package api_test

import (
	"net/http"
	"testing"
	"time"

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
	if got := s.disagreements(); got != "operation_failed order_kept_money" {
		t.Errorf("disagreements: %s", got)
	}
	admin[openapi.PaymentOperation](s.store, "POST", "/payments/"+b.id+"/refunds", `{"amount":"10.00"}`, http.StatusCreated)
	s.wantAlike()
}
