package api_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/prometheus/client_golang/prometheus"
	"pgregory.net/rapid"

	"gitee.com/captainjez/gocart/runtime/config"
	"gitee.com/captainjez/gocart/runtime/internal/api"
	"gitee.com/captainjez/gocart/runtime/internal/db"
	"gitee.com/captainjez/gocart/runtime/internal/jobs"
	"gitee.com/captainjez/gocart/runtime/internal/limits"
	"gitee.com/captainjez/gocart/runtime/internal/money"
	"gitee.com/captainjez/gocart/runtime/internal/payment"
	"gitee.com/captainjez/gocart/runtime/internal/testbed"
	"gitee.com/captainjez/gocart/runtime/openapi"
)

// striped is a store that takes payments by a Stripe of the test's own. An
// order of one mug comes to 10.00.
type striped struct {
	*store
	stripe *testbed.StripeServer
	uri    string
	method openapi.ShippingMethod
	mug    openapi.Variant
}

func newStriped(t testing.TB) *striped {
	t.Helper()
	s := &striped{uri: testbed.Database(t)}
	s.stripe = testbed.Stripe(t, func() time.Time { return s.clock.now() })
	s.store = s.replica(t)
	s.method, s.mug = s.shipping(), s.stocked("MUG", "5.10", 100)
	return s
}

// replica is a further replica of the store.
func (s *striped) replica(t testing.TB) *store {
	t.Helper()
	return storeWith(t, s.uri, 8, func(c *config.Config) {
		c.Payments.Stripe = &config.Stripe{
			APIKeyFile: testbed.File(t, testbed.StripeKey), WebhookSecretFiles: []string{testbed.File(t, testbed.StripeSecret)}, PublishableKey: "pk_test_1", APIBase: s.stripe.URL,
		}
	})
}

// pay has somebody order a mug by Stripe.
func (s *striped) pay(token string, headers ...string) (guest, *httptest.ResponseRecorder) {
	s.t.Helper()
	g := s.cartOf(s.method, line(s.mug, 1))
	in := openapi.OrderInput{CartId: g.cart.Id, Payment: openapi.PaymentInput{Provider: "stripe"}}
	if token != "" {
		in.Payment.Token = &token
	}
	return g, g.do("POST", "/orders", encode(s.t, in), headers...)
}

// bought is an order that was placed.
type bought struct {
	guest
	stripe *striped
	id     string
	path   string
	// intent is Stripe's name of its payment.
	intent string
}

// parcels are the order as one that is to be sent.
func (b bought) parcels() parcels { return parcels{store: b.store, guest: b.guest, path: b.path} }

func (s *striped) buy(token string) bought {
	s.t.Helper()
	g, w := s.pay(token)
	o := want[openapi.Order](s.t, w, http.StatusCreated)
	b := bought{guest: g, stripe: s, id: o.Payments[0].Id.String(), path: "/orders/" + o.Id.String()}
	b.intent = b.details().Reference
	return b
}

func (b bought) order() openapi.Order {
	b.t.Helper()
	return admin[openapi.Order](b.store, "GET", b.path, "", http.StatusOK)
}

func (b bought) details() openapi.PaymentDetails {
	b.t.Helper()
	return admin[openapi.PaymentDetails](b.store, "GET", "/payments/"+b.id, "", http.StatusOK)
}

// move takes the order through states.
func (b bought) move(states ...string) openapi.Order {
	b.t.Helper()
	var o openapi.Order
	for _, to := range states {
		o = admin[openapi.Order](b.store, "POST", b.path+"/transitions", `{"to":"`+to+`"}`, http.StatusOK)
	}
	return o
}

// timeline is what is told of the order and its payment, as staff see it.
func (b bought) timeline() (types []string, text string) {
	b.t.Helper()
	for _, e := range admin[openapi.Timeline](b.store, "GET", b.path+"/timeline", "", http.StatusOK).Entries {
		types = append(types, e.Type)
		if e.Text != nil {
			text += *e.Text
		}
		if e.Reason != nil {
			text += " " + *e.Reason
		}
		if e.Text != nil || e.Reason != nil {
			text += "\n"
		}
	}
	return types, text
}

// told are the events of the payment, in their order.
func (b bought) told() (types []string) {
	b.t.Helper()
	all, err := b.Events.Of(b.t.Context(), uuid.MustParse(b.id), true)
	if err != nil {
		b.t.Fatal(err)
	}
	for _, e := range all {
		types = append(types, strings.TrimPrefix(e.Type, "payment."))
	}
	return types
}

// wantPayment fails the test unless the payment stands so here.
func (b bought) wantPayment(state openapi.PaymentState, captured, refunded string) {
	b.t.Helper()
	p := b.details().Payment
	if p.State != state || p.Captured.Amount != captured || p.Refunded.Amount != refunded {
		b.t.Errorf("the payment is %s with %s captured and %s refunded, want %s with %s and %s", p.State, p.Captured.Amount, p.Refunded.Amount, state, captured, refunded)
	}
}

// hear sends an event of Stripe's.
func (s *striped) hear(raw []byte) *httptest.ResponseRecorder {
	return s.do("POST", "/webhooks/payments/stripe", string(raw), "Stripe-Signature", testbed.SignStripe(raw, testbed.StripeSecret, time.Now()))
}

func (s *striped) wantHeard(raw []byte) {
	s.t.Helper()
	if w := s.hear(raw); w.Code != http.StatusNoContent {
		s.t.Fatalf("an event is answered %d %s", w.Code, w.Body)
	}
}

// count is a number that a query answers.
func (s *store) number(query string) (n int) {
	s.t.Helper()
	s.scan(query, &n)
	return n
}

// askAgain has the jobs of operations done that are not concluded.
func (s *striped) askAgain() {
	s.t.Helper()
	rows, err := s.Pool.Query(s.t.Context(), `SELECT id FROM payment_operations WHERE state = 'requested' ORDER BY id`)
	if err != nil {
		s.t.Fatal(err)
	}
	var ids []uuid.UUID
	for rows.Next() {
		var id uuid.UUID
		if err := rows.Scan(&id); err != nil {
			s.t.Fatal(err)
		}
		ids = append(ids, id)
	}
	s.Payments.Settle(s.t.Context(), ids...)
}

// wantAlike fails the test unless Stripe has of every payment what the store
// has, and nothing is left to do.
func (s *striped) wantAlike() {
	s.t.Helper()
	for _, i := range s.stripe.Intents() {
		var captured, refunded int64
		var state string
		err := s.Pool.QueryRow(s.t.Context(), `SELECT state, captured, refunded FROM payments WHERE reference = $1`, i.ID).Scan(&state, &captured, &refunded)
		if err != nil {
			if i.Status != "canceled" && i.Status != "requires_payment_method" {
				s.t.Errorf("%s is %s and has no order: %v", i.ID, i.Status, err)
			}
			continue
		}
		states := map[string][]string{
			"requires_capture": {"authorized"}, "succeeded": {"captured", "refunded"}, "canceled": {"voided"}, "requires_action": {"requires_action"},
			"requires_payment_method": {"requires_action"}, "processing": {"pending"},
		}
		if captured != i.Received || refunded != i.Refunded || !slices.Contains(states[i.Status], state) {
			s.t.Errorf("%s is %s with %d and %d at Stripe, and %s with %d and %d here", i.ID, i.Status, i.Received, i.Refunded, state, captured, refunded)
		}
	}
	if n := s.number(`SELECT count(*) FROM payment_operations WHERE state = 'requested'`); n != 0 {
		s.t.Errorf("%d operations are not concluded", n)
	}
	if n := s.number(`SELECT count(*) FROM payments WHERE capturing <> 0 OR refunding <> 0`); n != 0 {
		s.t.Errorf("%d payments count what is concluded", n)
	}
	s.wantAddedUp()
}

func TestAPaymentByStripeGoesWithItsOrder(t *testing.T) {
	t.Parallel()
	s := newStriped(t)
	b := s.buy("pm_card")
	if o := b.order(); o.State != openapi.OrderStateConfirmed || o.Payments[0].State != openapi.PaymentStateAuthorized || o.Payments[0].NextAction != nil {
		t.Fatalf("order %+v", o)
	}
	if i := s.stripe.Do(b.intent, nil); i.Amount != 1000 || i.Currency != "eur" || i.Metadata["gocart_order"] != strings.TrimPrefix(b.path, "/orders/") {
		t.Fatalf("intent %+v", i)
	}
	if o := b.move("processing", "shipped"); o.Payments[0].State != openapi.PaymentStateCaptured || o.Payments[0].Captured.Amount != "10.00" {
		t.Errorf("shipped it is %+v", o.Payments)
	}
	if o := b.move("refunded"); o.Payments[0].State != openapi.PaymentStateRefunded || o.Payments[0].Refunded.Amount != "10.00" {
		t.Errorf("refunded it is %+v", o.Payments)
	}
	cancelled := s.buy("pm_card")
	if o := cancelled.move("cancelled"); o.Payments[0].State != openapi.PaymentStateVoided {
		t.Errorf("cancelled it is %+v", o.Payments)
	}
	if got := strings.Join(b.told(), " "); got != "authorized captured refunded" {
		t.Errorf("of the payment is told %s", got)
	}
	s.wantAlike()
}

func TestAPaymentIsCapturedInPartAndRefundedInParts(t *testing.T) {
	t.Parallel()
	s := newStriped(t)
	b := s.buy("pm_card")
	path := "/payments/" + b.id
	wantProblem(t, s.asAdmin("POST", path+"/capture", `{"amount":"10.01"}`), http.StatusConflict, "capture_exceeds_authorized")
	wantProblem(t, s.asAdmin("POST", path+"/capture", `{"amount":"0.00"}`), http.StatusBadRequest, "invalid_request")
	wantProblem(t, s.asAdmin("POST", path+"/refunds", `{"amount":"0.01"}`), http.StatusConflict, "refund_exceeds_captured")
	if op := admin[openapi.PaymentOperation](s.store, "POST", path+"/capture", `{"amount":"7.00","reason":"One was broken."}`, http.StatusCreated); op.State != openapi.PaymentOperationStateSucceeded || op.Amount.Amount != "7.00" {
		t.Fatalf("operation %+v", op)
	}
	b.wantPayment("captured", "7.00", "0.00")
	wantProblem(t, s.asAdmin("POST", path+"/capture", `{}`), http.StatusConflict, "payment_not_authorized")
	wantProblem(t, s.asAdmin("POST", path+"/void", `{}`), http.StatusConflict, "payment_not_open")
	b.move("processing", "shipped") // and takes nothing more
	b.wantPayment("captured", "7.00", "0.00")
	first := s.asAdmin("POST", path+"/refunds", `{"amount":"3.00","reason":"Late."}`, "Idempotency-Key", "k")
	again := s.asAdmin("POST", path+"/refunds", `{"amount":"3.00","reason":"Late."}`, "Idempotency-Key", "k")
	if op := want[openapi.PaymentOperation](t, first, http.StatusCreated); op.State != openapi.PaymentOperationStateSucceeded || *op.Reason != "Late." {
		t.Errorf("refund %+v", op)
	}
	if again.Code != http.StatusCreated || again.Body.String() != first.Body.String() || again.Header().Get("Idempotency-Replayed") != "true" {
		t.Errorf("again it is answered %d %s", again.Code, again.Body)
	}
	b.wantPayment("captured", "7.00", "3.00")
	wantProblem(t, s.asAdmin("POST", path+"/refunds", `{"amount":"4.01"}`), http.StatusConflict, "refund_exceeds_captured")
	admin[openapi.PaymentOperation](s.store, "POST", path+"/refunds", `{"amount":"4.00"}`, http.StatusCreated)
	b.wantPayment("refunded", "7.00", "7.00")
	if _, text := b.timeline(); !strings.Contains(text, "3.00 EUR were given back. Late.") || !strings.Contains(text, "The capture of 7.00 EUR was asked for. One was broken.") {
		t.Errorf("the timeline says\n%s", text)
	}
	seen := want[openapi.Timeline](t, b.do("GET", b.path+"/timeline", ""), http.StatusOK)
	if text := encode(t, seen); strings.Contains(text, "asked for") || strings.Contains(text, "Late.") || !strings.Contains(text, "3.00 EUR were given back") {
		t.Errorf("the buyer sees %s", text)
	}
	other := s.buy("pm_3ds")
	if op := admin[openapi.PaymentOperation](s.store, "POST", "/payments/"+other.id+"/void", `{}`, http.StatusCreated); op.State != openapi.PaymentOperationStateSucceeded {
		t.Errorf("void %+v", op)
	}
	other.wantPayment("voided", "0.00", "0.00")
	s.wantAlike()
}

// TestRefundsAreNeverMoreThanWasCaptured has many ask at once, on two replicas,
// for refunds of parts, by the payment and by the order.
func TestRefundsAreNeverMoreThanWasCaptured(t *testing.T) {
	t.Parallel()
	s := newStriped(t)
	b := s.buy("pm_card")
	b.move("processing", "shipped")
	stores := []*store{s.store, s.replica(t)}
	var done sync.WaitGroup
	var mu sync.Mutex
	refunded := 0
	for n := range 24 {
		done.Go(func() {
			w := stores[n%2].asAdmin("POST", "/payments/"+b.id+"/refunds", `{"amount":"1.50"}`)
			mu.Lock()
			defer mu.Unlock()
			switch w.Code {
			case http.StatusCreated:
				refunded++
			case http.StatusConflict:
			default:
				t.Errorf("a refund is answered %d %s", w.Code, w.Body)
			}
		})
	}
	done.Wait()
	if refunded != 6 {
		t.Errorf("%d refunds of 1.50 were made of 10.00", refunded)
	}
	b.wantPayment("captured", "10.00", "9.00")
	if n := len(s.stripe.Refunds()); n != 6 {
		t.Errorf("Stripe made %d refunds", n)
	}
	for key, n := range s.stripe.Keys() {
		if n != 1 {
			t.Errorf("Stripe did %s %d times", key, n)
		}
	}
	b.move("refunded") // the rest
	b.wantPayment("refunded", "10.00", "10.00")
	s.wantAlike()
}

// TestTheDatabaseItselfRefusesMoreThanWasCaptured is what holds if all else
// were wrong.
func TestTheDatabaseItselfRefusesMoreThanWasCaptured(t *testing.T) {
	t.Parallel()
	s := newStriped(t)
	s.buy("pm_card").move("processing", "shipped")
	for _, wrong := range []string{"refunded = 1001", "refunding = 1001", "refunded = 600, refunding = 401", "captured = 1001", "capturing = 1", "refunding = -1"} {
		if _, err := s.Pool.Exec(t.Context(), "UPDATE payments SET "+wrong); err == nil || !strings.Contains(err.Error(), "payments_add_up") {
			t.Errorf("%s is answered %v", wrong, err)
		}
	}
}

func TestAnOrderWaitsForTheBuyerAndIsConfirmedByStripesWord(t *testing.T) {
	t.Parallel()
	s := newStriped(t)
	g, w := s.pay("pm_redirect", "Idempotency-Key", "k")
	o := want[openapi.Order](t, w, http.StatusCreated)
	action := o.Payments[0].NextAction
	if o.State != openapi.OrderStatePending || o.Payments[0].State != openapi.PaymentStateRequiresAction || o.PaymentDueAt == nil || action == nil ||
		!strings.Contains(*action.ClientSecret, "BUYERSECRET") || *action.PublishableKey != "pk_test_1" || !strings.HasPrefix(*action.RedirectUrl, "https://bank.example/") {
		t.Fatalf("order %s", w.Body)
	}
	if read := g.do("GET", "/orders/"+o.Id.String(), ""); read.Body.String() != w.Body.String() {
		t.Errorf("read again it is %s", read.Body)
	}
	for _, path := range []string{"/orders/" + o.Id.String(), "/payments/" + o.Payments[0].Id.String(), "/orders/" + o.Id.String() + "/timeline"} {
		if read := s.asAdmin("GET", path, ""); read.Code != http.StatusOK || strings.Contains(read.Body.String(), "SECRET") {
			t.Errorf("staff, whose it is not, read %s as %d %s", path, read.Code, read.Body)
		}
	}
	b := bought{guest: g, stripe: s, id: o.Payments[0].Id.String(), path: "/orders/" + o.Id.String()}
	b.intent = b.details().Reference
	if l := s.level("MUG"); l.Reserved != 1 {
		t.Errorf("level %+v", l)
	}
	wantProblem(t, s.asAdmin("POST", b.path+"/transitions", `{"to":"confirmed"}`), http.StatusConflict, "payment_open")

	s.stripe.Do(b.intent, func(i *testbed.Intent) { i.Status = "requires_capture" })
	event := s.stripe.Event("payment_intent.amount_capturable_updated", b.intent)
	forged := s.do("POST", "/webhooks/payments/stripe", string(event), "Stripe-Signature", testbed.SignStripe(event, "whsec_FORGED", time.Now()))
	wantProblem(t, forged, http.StatusBadRequest, "signature_invalid")
	late := s.do("POST", "/webhooks/payments/stripe", string(event), "Stripe-Signature", testbed.SignStripe(event, testbed.StripeSecret, time.Now().Add(-10*time.Minute)))
	wantProblem(t, late, http.StatusBadRequest, "signature_invalid")
	if o := b.order(); o.State != openapi.OrderStatePending || s.number(`SELECT count(*) FROM payment_events`) != 0 {
		t.Fatalf("by a forged event the order is %s", o.State)
	}
	for range 3 { // of which two are as none
		s.wantHeard(event)
	}
	if o = b.order(); o.State != openapi.OrderStateConfirmed || o.Payments[0].State != openapi.PaymentStateAuthorized || o.Payments[0].NextAction != nil || o.PaymentDueAt != nil {
		t.Errorf("confirmed it is %+v", o)
	}
	if types, _ := b.timeline(); strings.Join(types, " ") != "order.placed order.confirmed" {
		t.Errorf("the timeline has %v", types)
	}
	if got := strings.Join(b.told(), " "); got != "requires_action authorized" {
		t.Errorf("of the payment is told %s", got)
	}
	if n := s.number(`SELECT count(*) FROM payment_events WHERE state = 'applied'`); n != 1 {
		t.Errorf("%d events were applied", n)
	}
	if strings.Contains(s.log.String(), "SECRET") {
		t.Errorf("a secret is logged: %s", s.log)
	}
	s.wantAlike()
}

func TestAnOrderOnHoldRemembersThatItWasPaid(t *testing.T) {
	t.Parallel()
	s := newStriped(t)
	b := s.buy("pm_3ds")
	b.move("on_hold")
	s.stripe.Do(b.intent, func(i *testbed.Intent) { i.Status = "requires_capture" })
	s.wantHeard(s.stripe.Event("payment_intent.amount_capturable_updated", b.intent))
	if o := b.order(); o.State != openapi.OrderStateOnHold {
		t.Errorf("on hold and paid it is %s", o.State)
	}
	if o := b.move("confirmed"); o.State != openapi.OrderStateConfirmed {
		t.Errorf("back from hold it is %s", o.State)
	}
	s.wantAlike()
}

func TestAnOrderWhoseBuyerDoesNothingExpiresAndOneWhoseMoneyIsOnItsWayDoesNot(t *testing.T) {
	t.Parallel()
	s := newStriped(t)
	idle, coming := s.buy(""), s.buy("pm_3ds")
	s.stripe.Do(coming.intent, func(i *testbed.Intent) { i.Status = "processing" })
	s.wantHeard(s.stripe.Event("payment_intent.processing", coming.intent))
	s.clock.forward(time.Hour)
	if n, err := s.Orders.ExpireUnpaid(t.Context()); n != 1 || err != nil {
		t.Errorf("%d orders expired, %v", n, err)
	}
	idle.wantPayment("voided", "0.00", "0.00")
	coming.wantPayment("pending", "0.00", "0.00")
	if o := coming.order(); o.State != openapi.OrderStatePending || o.PaymentDueAt != nil {
		t.Errorf("order %+v", o)
	}
	s.wantAlike()
}

// TestAPaymentThatComesAfterItsOrderIsCancelledIsRefunded has the buyer pay
// before Stripe hears that the order is no more, and after.
func TestAPaymentThatComesAfterItsOrderIsCancelledIsRefunded(t *testing.T) {
	t.Parallel()
	succeed := func(i *testbed.Intent) { i.Status, i.Received = "succeeded", i.Amount }
	for name, c := range map[string]struct{ before, after func(*testbed.Intent) }{
		"paid at the same moment":                {before: succeed},
		"on its way, and paid later":             {before: func(i *testbed.Intent) { i.Status = "processing" }, after: succeed},
		"on its way, and set aside later":        {before: func(i *testbed.Intent) { i.Status = "processing" }, after: func(i *testbed.Intent) { i.Status = "requires_capture" }},
		"paid and given back by somebody's hand": {before: func(i *testbed.Intent) { succeed(i); i.Refunded = 400 }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newStriped(t)
			b := s.buy("pm_3ds")
			s.stripe.Do(b.intent, c.before)
			if o := b.move("cancelled"); o.State != openapi.OrderStateCancelled {
				t.Fatalf("order %+v", o)
			}
			if c.after != nil {
				s.stripe.Do(b.intent, c.after)
				event := s.stripe.Event("payment_intent.succeeded", b.intent)
				s.wantHeard(event)
				s.wantHeard(event)
			}
			i := s.stripe.Do(b.intent, nil)
			if i.Received != i.Refunded || i.Received == 0 && i.Status != "canceled" {
				t.Errorf("at Stripe it is %+v", i)
			}
			if i.Received > 0 {
				b.wantPayment("refunded", "10.00", "10.00")
				if _, text := b.timeline(); !strings.Contains(text, "The payment of 10.00 EUR came in although the order is no more, and is given back.") {
					t.Errorf("the timeline says\n%s", text)
				}
			} else {
				b.wantPayment("voided", "0.00", "0.00")
			}
			if o := b.order(); o.State != openapi.OrderStateCancelled {
				t.Errorf("the order is %s", o.State)
			}
			s.wantAlike()
		})
	}
}

func TestWhereStripeIsAwayOrRefusesNothingIsPlaced(t *testing.T) {
	t.Parallel()
	s := newStriped(t)
	g, w := s.pay("pm_declined")
	wantProblem(t, w, http.StatusPaymentRequired, "payment_declined")
	s.stripe.Judge(func(*http.Request, int) testbed.Fate { return testbed.Fate{Status: 500} })
	w = g.do("POST", "/orders", encode(t, openapi.OrderInput{CartId: g.cart.Id, Payment: openapi.PaymentInput{Provider: "stripe", Token: new("pm_card")}}))
	wantProblem(t, w, http.StatusServiceUnavailable, "payment_provider_unavailable")
	if w.Header().Get("Retry-After") == "" {
		t.Error("it is not said when to come back")
	}
	if n := s.number(`SELECT count(*) FROM orders`); n != 0 {
		t.Errorf("%d orders were placed", n)
	}
	if l := s.level("MUG"); l.Reserved != 0 {
		t.Errorf("level %+v", l)
	}
	s.stripe.Judge(nil)
	w = g.do("POST", "/orders", encode(t, openapi.OrderInput{CartId: g.cart.Id, Payment: openapi.PaymentInput{Provider: "stripe", Token: new("pm_card")}}))
	want[openapi.Order](t, w, http.StatusCreated) // the cart is as it was
	s.wantAddedUp()
}

// TestMoneyThatWasSetAsideForNoOrderIsGivenUp has the store lose what Stripe
// answered: by a connection that breaks, and by a process that is killed.
func TestMoneyThatWasSetAsideForNoOrderIsGivenUp(t *testing.T) {
	t.Parallel()
	s := newStriped(t)
	s.stripe.Judge(func(*http.Request, int) testbed.Fate { return testbed.Fate{DropAfter: true} })
	_, w := s.pay("pm_card")
	wantProblem(t, w, http.StatusServiceUnavailable, "payment_provider_unavailable")
	s.stripe.Judge(nil)
	killed, err := s.Payments.Authorize(t.Context(), "stripe", "pm_card", uuid.New(), money.Amount{Minor: 1000, Currency: "EUR"})
	if err != nil {
		t.Fatal(err)
	}
	kept := s.buy("pm_card")
	never := s.number(`SELECT count(*) FROM payment_attempts`)
	if never != 2 {
		t.Fatalf("%d attempts are kept", never)
	}
	if n, err := s.Payments.ExpireAttempts(t.Context()); n != 0 || err != nil {
		t.Errorf("%d attempts were given up too early, %v", n, err)
	}
	s.clock.forward(11 * time.Minute)
	s.stripe.Judge(func(*http.Request, int) testbed.Fate { return testbed.Fate{Status: 500} })
	if n, err := s.Payments.ExpireAttempts(t.Context()); n != 0 || err == nil {
		t.Errorf("while Stripe is away %d attempts were given up, %v", n, err)
	}
	s.stripe.Judge(nil)
	for _, wanted := range []int{2, 0} {
		if n, err := s.Payments.ExpireAttempts(t.Context()); n != wanted || err != nil {
			t.Errorf("%d attempts were given up, want %d, %v", n, wanted, err)
		}
	}
	for _, i := range s.stripe.Intents() {
		if given := i.Status == "canceled"; given == (i.ID == kept.intent) {
			t.Errorf("%s is %s", i.ID, i.Status)
		}
	}
	// A process that slept so long finds that its payment is no more.
	b := struct{ payment.Payment }{killed}
	if err := s.Payments.Abandon(t.Context(), b.Payment); err != nil {
		t.Error(err)
	}
	s.wantAlike()
}

// TestAnOrderIsNotPlacedWithAPaymentThatWasGivenUp has an order sleep between
// its payment and its transaction.
func TestAnOrderIsNotPlacedWithAPaymentThatWasGivenUp(t *testing.T) {
	t.Parallel()
	s := newStriped(t)
	g := s.cartOf(s.method, line(s.mug, 1))
	s.statements.meanwhile("LockCarts", func() {
		s.clock.forward(11 * time.Minute)
		if n, err := s.Payments.ExpireAttempts(context.WithoutCancel(t.Context())); n != 1 || err != nil {
			t.Errorf("%d attempts were given up, %v", n, err)
		}
	})
	w := g.do("POST", "/orders", encode(t, openapi.OrderInput{CartId: g.cart.Id, Payment: openapi.PaymentInput{Provider: "stripe", Token: new("pm_card")}}))
	if w.Code < 500 || s.number(`SELECT count(*) FROM orders`) != 0 {
		t.Errorf("it is answered %d %s", w.Code, w.Body)
	}
	s.wantAlike()
}

// TestWhatStripeDoesNotAnswerIsAskedAgainAndDoneOnce has answers be lost, and
// the keys be forgotten before the provider is asked again.
func TestWhatStripeDoesNotAnswerIsAskedAgainAndDoneOnce(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		fate   testbed.Fate
		forget bool
	}{
		"away": {fate: testbed.Fate{Status: 503}}, "the answer is lost": {fate: testbed.Fate{DropAfter: true}},
		"the answer is lost, and the key forgotten": {fate: testbed.Fate{DropAfter: true}, forget: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newStriped(t)
			b, void := s.buy("pm_card"), s.buy("pm_card")
			lose := func(f testbed.Fate) {
				s.stripe.Judge(func(r *http.Request, _ int) testbed.Fate {
					if r.Method == http.MethodPost {
						return f
					}
					return testbed.Fate{}
				})
			}
			mend := func() {
				s.stripe.Judge(nil)
				if c.forget {
					s.stripe.ForgetKeys()
				}
				s.askAgain()
				s.askAgain()
			}
			lose(c.fate)
			if o := b.move("processing", "shipped"); o.State != openapi.OrderStateShipped || o.Payments[0].State != openapi.PaymentStateAuthorized {
				t.Errorf("shipped while Stripe is away it is %+v", o)
			}
			if o := void.move("cancelled"); o.State != openapi.OrderStateCancelled || o.Payments[0].State != openapi.PaymentStateAuthorized {
				t.Errorf("cancelled while Stripe is away it is %+v", o)
			}
			wantProblem(t, s.asAdmin("POST", "/payments/"+b.id+"/capture", `{}`), http.StatusConflict, "payment_being_captured")
			wantProblem(t, s.asAdmin("POST", "/payments/"+void.id+"/capture", `{}`), http.StatusConflict, "payment_being_voided")
			wantProblem(t, s.asAdmin("POST", "/payments/"+void.id+"/void", `{}`), http.StatusConflict, "payment_being_voided")
			mend()
			b.wantPayment("captured", "10.00", "0.00")
			void.wantPayment("voided", "0.00", "0.00")
			lose(c.fate)
			op := admin[openapi.PaymentOperation](s.store, "POST", "/payments/"+b.id+"/refunds", `{"amount":"6.00"}`, http.StatusCreated)
			if op.State != openapi.PaymentOperationStateRequested {
				t.Errorf("operation %+v", op)
			}
			wantProblem(t, s.asAdmin("POST", "/payments/"+b.id+"/refunds", `{"amount":"4.01"}`), http.StatusConflict, "refund_exceeds_captured")
			mend()
			b.wantPayment("captured", "10.00", "6.00")
			if n := len(s.stripe.Refunds()); n != 1 {
				t.Errorf("%d refunds were made", n)
			}
			for _, told := range []string{"captured", "refunded"} {
				if n := len(slices.DeleteFunc(b.told(), func(s string) bool { return s != told })); n != 1 {
					t.Errorf("%s is told %d times", told, n)
				}
			}
			s.wantAlike()
		})
	}
}

// TestAJobAsksWhereTheStoreDied leaves everything to the workers.
func TestAJobAsksWhereTheStoreDied(t *testing.T) {
	t.Parallel()
	s := newStriped(t)
	s.clock.forward(-time.Minute) // so that what is for later is for now
	b, waits := s.buy("pm_card"), s.buy("pm_3ds")
	s.stripe.Judge(func(*http.Request, int) testbed.Fate { return testbed.Fate{Status: 503} })
	b.move("processing", "shipped")
	s.stripe.Do(waits.intent, func(i *testbed.Intent) { i.Status = "requires_capture" })
	s.wantHeard(s.stripe.Event("payment_intent.amount_capturable_updated", waits.intent))
	if o := waits.order(); o.State != openapi.OrderStatePending {
		t.Errorf("while Stripe is away the order is %s", o.State)
	}
	s.stripe.Judge(nil)
	c := s.config
	c.Server.DrainTimeout = config.Duration(time.Second)
	worker := jobs.NewWorker(c, jobs.Options{Pool: s.Pool, Kinds: s.Kinds, Queue: s.Queue, Log: s.log.Logger(), Metrics: prometheus.NewRegistry(), Now: time.Now})
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() {
		if err := worker.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	defer running.Wait()
	defer cancel()
	testbed.Eventually(t, "the payments are as at Stripe", func() bool {
		return b.details().Payment.State == openapi.PaymentStateCaptured && waits.order().State == openapi.OrderStateConfirmed
	})
	s.wantAlike()
}

// TestWhatStripeRefusesCountsNoMoreAndIsReported has a capture and a refund be
// refused.
func TestWhatStripeRefusesCountsNoMoreAndIsReported(t *testing.T) {
	t.Parallel()
	s := newStriped(t)
	b, gone := s.buy("pm_card"), s.buy("pm_card")
	b.move("processing", "shipped")
	s.stripe.Do(b.intent, func(i *testbed.Intent) { i.FailsRefunds = true })
	op := admin[openapi.PaymentOperation](s.store, "POST", "/payments/"+b.id+"/refunds", `{"amount":"6.00"}`, http.StatusCreated)
	if op.State != openapi.PaymentOperationStateFailed || op.Failure == nil || !strings.Contains(*op.Failure, "charge_disputed") {
		t.Errorf("operation %+v", op)
	}
	b.wantPayment("captured", "10.00", "0.00")
	s.stripe.Do(gone.intent, func(i *testbed.Intent) { i.Status = "canceled" }) // after a week
	if o := gone.move("processing", "shipped"); o.Payments[0].State != openapi.PaymentStateVoided {
		t.Errorf("of an authorisation that has lapsed the payment is %+v", o.Payments[0])
	}
	if _, text := gone.timeline(); !strings.Contains(text, "The capture of 10.00 EUR was refused by the payment provider: payment_intent_unexpected_state") {
		t.Errorf("the timeline says\n%s", text)
	}
	if got := s.disagreements(); got != "operation_failed operation_failed" {
		t.Errorf("disagreements: %s", got)
	}
	s.stripe.Do(b.intent, func(i *testbed.Intent) { i.FailsRefunds = false })
	admin[openapi.PaymentOperation](s.store, "POST", "/payments/"+b.id+"/refunds", `{"amount":"6.00"}`, http.StatusCreated)
	s.clock.forward(time.Hour)
	s.reconcile()
	if got := s.disagreements(); got != "order_unpaid" { // the refund is made, the capture cannot be
		t.Errorf("disagreements: %s", got)
	}
	s.wantAlike()
}

// disagreements are the kinds of those that are open.
func (s *striped) disagreements() string {
	s.t.Helper()
	var kinds []string
	for _, d := range admin[openapi.PaymentDiscrepancyPage](s.store, "GET", "/payment-discrepancies?resolved=false", "", http.StatusOK).Discrepancies {
		kinds = append(kinds, string(d.Kind))
	}
	slices.Sort(kinds)
	return strings.Join(kinds, " ")
}

func (s *striped) reconcile() {
	s.t.Helper()
	if _, err := s.Payments.Reconcile(s.t.Context()); err != nil {
		s.t.Fatal(err)
	}
}

func TestReconciliationMendsWhatIsSafeAndReportsTheRest(t *testing.T) {
	t.Parallel()
	s := newStriped(t)
	missed, outside, back, gone := s.buy("pm_3ds"), s.buy("pm_card"), s.buy("pm_card"), s.buy("pm_card")
	outside.move("processing", "shipped")
	back.move("processing", "shipped", "refunded")
	s.stripe.Do(missed.intent, func(i *testbed.Intent) { i.Status = "requires_capture" }) // and no event came
	s.stripe.Do(outside.intent, func(i *testbed.Intent) { i.Refunded = 250 })             // by somebody's hand at Stripe
	s.stripe.Do(back.intent, func(i *testbed.Intent) { i.Refunded = 100 })                // which the store did not see fail
	s.stripe.Do(gone.intent, func(i *testbed.Intent) { i.Vanished = true })
	ours := map[string]string{"gocart_store": "ns/shop", "gocart_payment": uuid.NewString()}
	orphan := s.stripe.Add(testbed.Intent{Status: "requires_capture", Amount: 500, Currency: "eur", Metadata: ours})
	others := s.stripe.Add(testbed.Intent{Status: "requires_capture", Amount: 500, Currency: "eur", Metadata: map[string]string{"gocart_store": "ns/other", "gocart_payment": uuid.NewString()}})
	foreign := s.stripe.Add(testbed.Intent{Status: "requires_capture", Amount: 500, Currency: "eur"})
	taken := s.stripe.Add(testbed.Intent{Status: "succeeded", Amount: 500, Received: 500, Currency: "eur", Metadata: map[string]string{"gocart_store": "ns/shop", "gocart_payment": uuid.NewString()}})

	s.reconcile() // both sides are still at it
	if o := missed.order(); o.State != openapi.OrderStatePending {
		t.Errorf("at once the order is %s", o.State)
	}
	s.clock.forward(20 * time.Minute)
	for range 2 { // the second sees what the first did
		s.reconcile()
		if o := missed.order(); o.State != openapi.OrderStateConfirmed {
			t.Errorf("the order whose event was missed is %s", o.State)
		}
		outside.wantPayment("captured", "10.00", "2.50")
		back.wantPayment("refunded", "10.00", "10.00")
		for id, status := range map[string]string{orphan: "canceled", others: "requires_capture", foreign: "requires_capture", taken: "succeeded"} {
			if i := s.stripe.Do(id, nil); i.Status != status {
				t.Errorf("%s is %s, want %s", id, i.Status, status)
			}
		}
		if got := s.disagreements(); got != "amounts_differ missing_at_provider payment_without_order" {
			t.Errorf("disagreements: %s", got)
		}
	}
	page := admin[openapi.PaymentDiscrepancyPage](s.store, "GET", "/payment-discrepancies?limit=2", "", http.StatusOK)
	if len(page.Discrepancies) != 2 || page.NextCursor == nil {
		t.Errorf("page %+v", page)
	}
	if text := encode(t, admin[openapi.PaymentDiscrepancyPage](s.store, "GET", "/payment-discrepancies", "", http.StatusOK)); !strings.Contains(text,
		"Here the payment of 10.00 EUR is refunded with 10.00 EUR captured and 10.00 EUR refunded; at the provider it is captured with 10.00 EUR and 1.00 EUR.") {
		t.Errorf("discrepancies %s", text)
	}
	s.clock.forward(30 * 24 * time.Hour) // beyond the window, where what is disputed is still looked at
	s.reconcile()
	if got := s.disagreements(); got != "amounts_differ missing_at_provider payment_without_order" {
		t.Errorf("a month later the disagreements are: %s", got)
	}
	s.stripe.Do(back.intent, func(i *testbed.Intent) { i.Refunded = 1000 })
	s.stripe.Do(gone.intent, func(i *testbed.Intent) { i.Vanished = false })
	s.stripe.Do(taken, func(i *testbed.Intent) { i.Refunded = 500 })
	s.clock.forward(24 * time.Hour)
	s.reconcile()
	if got := s.disagreements(); got != "" {
		t.Errorf("mended there are disagreements: %s", got)
	}
}

func TestAnOperationThatIsStuckIsReportedAndAskedForAgain(t *testing.T) {
	t.Parallel()
	s := newStriped(t)
	b := s.buy("pm_card")
	s.stripe.Judge(func(r *http.Request, _ int) testbed.Fate {
		if r.Method == http.MethodPost {
			return testbed.Fate{Status: 503}
		}
		return testbed.Fate{}
	})
	b.move("processing", "shipped")
	s.clock.forward(2 * time.Hour)
	before := s.number(`SELECT count(*) FROM river_job WHERE kind = 'payment_operation'`)
	s.reconcile()
	if got := s.disagreements(); got != "operation_stuck" {
		t.Errorf("disagreements: %s", got)
	}
	if after := s.number(`SELECT count(*) FROM river_job WHERE kind = 'payment_operation'`); after != before+1 {
		t.Errorf("there are %d jobs after %d", after, before)
	}
	s.stripe.Judge(nil)
	s.askAgain()
	s.clock.forward(time.Minute)
	s.reconcile()
	if got := s.disagreements(); got != "" {
		t.Errorf("disagreements: %s", got)
	}
	s.wantAlike()
}

func TestARefundThatFailsAfterAllIsTakenBackOnce(t *testing.T) {
	t.Parallel()
	s := newStriped(t)
	b := s.buy("pm_card")
	b.move("processing", "shipped")
	admin[openapi.PaymentOperation](s.store, "POST", "/payments/"+b.id+"/refunds", `{"amount":"10.00"}`, http.StatusCreated)
	b.wantPayment("refunded", "10.00", "10.00")
	s.stripe.FailRefund("re_1")
	event := s.stripe.Event("refund.failed", "re_1")
	s.wantHeard(event)
	s.wantHeard(event)
	s.wantHeard(s.stripe.Event("charge.refund.updated", "re_1")) // another that says the same
	b.wantPayment("captured", "10.00", "0.00")
	if d := b.details(); d.Operations[1].State != openapi.PaymentOperationStateFailed || !strings.Contains(*d.Operations[1].Failure, "expired_or_canceled_card") {
		t.Errorf("operations %+v", d.Operations)
	}
	admin[openapi.PaymentOperation](s.store, "POST", "/payments/"+b.id+"/refunds", `{"amount":"10.00"}`, http.StatusCreated)
	b.wantPayment("refunded", "10.00", "10.00")
	s.wantAlike()
}

func TestAnEventOfNoPaymentIsKeptAndReportedAndOneOfAnotherStoreIsNot(t *testing.T) {
	t.Parallel()
	s := newStriped(t)
	ours := s.stripe.Add(testbed.Intent{Status: "succeeded", Amount: 500, Received: 500, Currency: "eur", Metadata: map[string]string{"gocart_store": "ns/shop", "gocart_payment": uuid.NewString()}})
	others := s.stripe.Add(testbed.Intent{Status: "succeeded", Amount: 500, Received: 500, Currency: "eur", Metadata: map[string]string{"gocart_store": "ns/other"}})
	s.wantHeard(s.stripe.Event("payment_intent.succeeded", ours))
	s.wantHeard(s.stripe.Event("payment_intent.succeeded", others))
	s.wantHeard(s.stripe.Event("payment_intent.succeeded", "pi_unheard_of"))
	s.wantHeard([]byte(`{"id":"evt_customer","object":"event","type":"customer.created","data":{"object":{"id":"cus_1","object":"customer"}}}`))
	states := func() string {
		var all string
		s.scan(`SELECT string_agg(state, ' ' ORDER BY received_at, id) FROM payment_events`, &all)
		return all
	}
	if got := states(); got != "received ignored ignored ignored" {
		t.Errorf("the events are %s", got)
	}
	s.clock.forward(2 * time.Hour)
	s.reconcile()
	if got := s.disagreements(); got != "event_unknown payment_without_order" {
		t.Errorf("disagreements: %s", got)
	}
	s.clock.forward(100 * 24 * time.Hour)
	if n, err := s.Payments.ForgetEvents(t.Context()); n != 4 || err != nil {
		t.Errorf("%d events were forgotten, %v", n, err)
	}
}

// TestInWhateverOrderEventsComeTheyAreAppliedOnce has a payment go its way at
// Stripe, and what is told of it come in any order, often, and at the same time
// as what the store does.
func TestInWhateverOrderEventsComeTheyAreAppliedOnce(t *testing.T) {
	t.Parallel()
	s := newStriped(t)
	rapid.Check(t, func(rt *rapid.T) {
		b := s.buy("pm_3ds")
		var events [][]byte
		happen := func(kind string, change func(*testbed.Intent)) {
			s.stripe.Do(b.intent, change)
			events = append(events, s.stripe.Event(kind, b.intent))
		}
		happen("payment_intent.processing", func(i *testbed.Intent) { i.Status = "processing" })
		happen("payment_intent.amount_capturable_updated", func(i *testbed.Intent) { i.Status = "requires_capture" })
		captured := rapid.Int64Range(1, 1000).Draw(rt, "captured")
		happen("payment_intent.succeeded", func(i *testbed.Intent) { i.Status, i.Received = "succeeded", captured })
		refunded := rapid.Int64Range(0, captured).Draw(rt, "refunded")
		happen("charge.refunded", func(i *testbed.Intent) { i.Refunded = refunded })
		cancel := rapid.Bool().Draw(rt, "cancelled meanwhile")
		deliveries := rapid.Permutation(slices.Repeat(events, 2)).Draw(rt, "deliveries")
		var done sync.WaitGroup
		for _, raw := range deliveries {
			done.Go(func() {
				if w := s.hear(raw); w.Code != http.StatusNoContent {
					t.Errorf("an event is answered %d %s", w.Code, w.Body)
				}
			})
		}
		if cancel {
			done.Go(func() { s.asAdmin("POST", b.path+"/cancel", `{}`) })
		}
		done.Wait()
		p, o := b.details().Payment, b.order()
		i := s.stripe.Do(b.intent, nil)
		if cancel && (o.State != openapi.OrderStateCancelled || i.Received != i.Refunded) {
			rt.Fatalf("the cancelled order is %s, and its intent %+v", o.State, i)
		}
		state := openapi.OrderStateConfirmed
		if refunded == captured { // before the store heard of any of it
			state = openapi.OrderStatePending
		}
		if !cancel && (o.State != state || i.Refunded != refunded) {
			rt.Fatalf("the order is %s, and its intent %+v", o.State, i)
		}
		amount := func(minor int64) string { return money.Amount{Minor: minor, Currency: "EUR"}.Decimal() }
		if p.Captured.Amount != amount(i.Received) || p.Refunded.Amount != amount(i.Refunded) {
			rt.Fatalf("payment %+v for %+v", p, i)
		}
		for _, kind := range []string{"captured", "authorized"} {
			if n := len(slices.DeleteFunc(b.told(), func(s string) bool { return s != kind })); n > 1 {
				rt.Fatalf("%s is told %d times: %v", kind, n, b.told())
			}
		}
		s.wantAlike()
		if t.Failed() {
			rt.Fatal("they are not alike")
		}
	})
}

func TestTheTestProviderDoesAsOthersDo(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	method, mug := s.shipping(), s.stocked("MUG", "5.10", 10)
	tell := func(body string) *httptest.ResponseRecorder {
		return s.do("POST", "/webhooks/payments/test", body, payment.TestSignature, payment.SignTest([]byte(body)))
	}
	g := s.cartOf(method, line(mug, 1))
	o := want[openapi.Order](t, g.pay("tok_requires_action"), http.StatusCreated)
	if o.State != openapi.OrderStatePending || o.Payments[0].NextAction == nil || o.PaymentDueAt == nil {
		t.Fatalf("order %+v", o)
	}
	id := o.Payments[0].Id.String()
	body := fmt.Sprintf(`{"id":"e1","reference":"test_%s","state":"authorized"}`, id)
	wantProblem(t, s.do("POST", "/webhooks/payments/test", body), http.StatusBadRequest, "signature_invalid")
	wantProblem(t, tell(`{"id":"e1"}`), http.StatusBadRequest, "invalid_request")
	wantProblem(t, s.do("POST", "/webhooks/payments/manual", body), http.StatusNotFound, "provider_not_found")
	wantProblem(t, tell(`{"id":"`+strings.Repeat("a", 300<<10)+`"}`), http.StatusRequestEntityTooLarge, "body_too_large")
	if w := tell(body); w.Code != http.StatusNoContent {
		t.Fatalf("it is answered %d %s", w.Code, w.Body)
	}
	o = admin[openapi.Order](s, "GET", "/orders/"+o.Id.String(), "", http.StatusOK)
	if o.State != openapi.OrderStateConfirmed || o.Payments[0].State != openapi.PaymentStateAuthorized {
		t.Errorf("order %+v", o)
	}
	capture := admin[openapi.PaymentOperation](s, "POST", "/payments/"+id+"/capture", `{"amount":"8.00"}`, http.StatusCreated)
	refund := admin[openapi.PaymentOperation](s, "POST", "/payments/"+id+"/refunds", `{"amount":"8.00"}`, http.StatusCreated)
	if capture.State != openapi.PaymentOperationStateSucceeded || refund.State != openapi.PaymentOperationStateSucceeded {
		t.Errorf("operations %+v %+v", capture, refund)
	}
	stubborn := want[openapi.Order](t, s.cartOf(method, line(mug, 1)).pay("tok_no_refund"), http.StatusCreated)
	path := "/payments/" + stubborn.Payments[0].Id.String()
	admin[openapi.PaymentOperation](s, "POST", path+"/capture", `{}`, http.StatusCreated)
	if op := admin[openapi.PaymentOperation](s, "POST", path+"/refunds", `{"amount":"1.00"}`, http.StatusCreated); op.State != openapi.PaymentOperationStateFailed {
		t.Errorf("operation %+v", op)
	}
}

// TestSecretsOfStripeAreNowhere looks through all that is stored and said.
func TestSecretsOfStripeAreNowhere(t *testing.T) {
	t.Parallel()
	s := newStriped(t)
	b := s.buy("pm_3ds")
	s.stripe.Do(b.intent, func(i *testbed.Intent) { i.Status = "requires_capture" })
	s.wantHeard(s.stripe.Event("payment_intent.amount_capturable_updated", b.intent))
	s.buy("pm_3ds").move("cancelled") // by staff, while the buyer has the secret
	s.stripe.Judge(func(*http.Request, int) testbed.Fate { return testbed.Fate{Status: 401} })
	b.move("processing", "shipped")
	s.pay("pm_card")
	for _, table := range []string{"payments", "payment_operations", "payment_attempts", "payment_discrepancies", "payment_events", "events", "river_job", "audit"} {
		var text string
		s.scan(`SELECT coalesce(string_agg(t::text, E'\n'), '') FROM `+table+` t`, &text)
		if strings.Contains(text, "SECRET") { // the buyer's own is gone when it is of no use
			t.Errorf("%s holds a secret: %s", table, text)
		}
	}
	if said := s.log.String(); strings.Contains(said, "SECRET") {
		t.Errorf("a secret is logged: %s", said)
	}
	raw, err := json.Marshal(s.config)
	if err != nil || strings.Contains(string(raw), "SECRET") {
		t.Errorf("the configuration has a secret, %v", err)
	}
}

// TestARefundOfAnOrderGoesOverItsPayments has many ask at once for refunds of an
// order that was paid in two parts.
func TestARefundOfAnOrderGoesOverItsPayments(t *testing.T) {
	t.Parallel()
	s := newStriped(t)
	b := s.buy("pm_card")
	id := uuid.MustParse(strings.TrimPrefix(b.path, "/orders/"))
	b.edit(fmt.Sprintf(`{"add":[{"variantId":%q,"quantity":1,"unitPrice":"10.00"}]}`, s.mug.Id))
	other := b
	other.id = want[openapi.Order](t, b.payDue(paying("stripe", "pm_card")), http.StatusCreated).Payments[1].Id.String()
	b.move("processing", "shipped")
	refund := func(minor int64) error {
		var decided payment.Decision
		err := db.WithTx(t.Context(), s.Pool, func(tx pgx.Tx) (err error) {
			if err := s.Orders.Lock(t.Context(), tx, id); err != nil {
				return err
			}
			if decided, err = s.Payments.Refund(t.Context(), tx, id, payment.Repayment{Amount: money.Amount{Minor: minor, Currency: "EUR"}, Reason: "Returned.", Actor: "staff"}); err != nil {
				return err
			}
			return s.Orders.Changed(t.Context(), tx, id, decided.Changes)
		})
		s.Payments.Settle(t.Context(), decided.Asked...)
		return err
	}
	if err := refund(2001); err == nil || !strings.Contains(err.Error(), "20.00 EUR can be given back at most") {
		t.Errorf("more than both brought is answered %v", err)
	}
	var done sync.WaitGroup
	var made atomic.Int64
	for range 8 {
		done.Go(func() {
			if refund(600) == nil {
				made.Add(1)
			}
		})
	}
	done.Wait()
	if made.Load() != 3 {
		t.Errorf("%d refunds of 6.00 were made of 20.00", made.Load())
	}
	b.wantPayment("refunded", "10.00", "10.00")
	other.wantPayment("captured", "10.00", "8.00")
}

func TestWhatProvidersTellCountsAsAKeysRequests(t *testing.T) {
	t.Parallel()
	engine := gin.New()
	var got limits.Caller
	for _, path := range []string{"/api/v1/webhooks/payments/:provider", "/webhooks/payments/:provider", "/orders"} {
		engine.POST(path, func(c *gin.Context) { got = api.Caller(c) })
	}
	for path, want := range map[string]bool{"/api/v1/webhooks/payments/stripe": true, "/webhooks/payments/stripe": true, "/orders": false} {
		engine.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("POST", path, http.NoBody))
		if (got.APIKey != "") != want {
			t.Errorf("%s counts for %+v", path, got)
		}
	}
}

// TestWhatComesInOutsideOfTheStoreMayComeInParts has a transfer come in two, and
// what is due be what did not come.
func TestWhatComesInOutsideOfTheStoreMayComeInParts(t *testing.T) {
	t.Parallel()
	s := newStriped(t)
	placed := func() (bought, func(body string) *httptest.ResponseRecorder) {
		g := s.cartOf(s.method, line(s.mug, 2))
		o := want[openapi.Order](t, g.do("POST", "/orders", encode(t, openapi.OrderInput{CartId: g.cart.Id, Payment: openapi.PaymentInput{Provider: "manual"}})), http.StatusCreated)
		b := bought{guest: g, stripe: s, id: o.Payments[0].Id.String(), path: "/orders/" + o.Id.String()}
		return b, func(body string) *httptest.ResponseRecorder {
			return s.asAdmin("POST", "/payments/"+b.id+"/capture", body)
		}
	}
	b, come := placed()
	want[openapi.PaymentOperation](t, come(`{"amount":"10.00"}`), http.StatusCreated)
	b.wantMoney("15.10", "10.00", "0.00", "5.10")
	wantProblem(t, come(`{"amount":"5.11"}`), http.StatusConflict, "capture_exceeds_total")
	want[openapi.PaymentOperation](t, come(`{"amount":"2.00"}`), http.StatusCreated)
	if o := b.order(); o.State != openapi.OrderStatePending || o.PaymentDueAt != nil {
		t.Errorf("paid in part the order is %s, due at %v", o.State, o.PaymentDueAt)
	}
	want[openapi.PaymentOperation](t, come(`{}`), http.StatusCreated)
	b.wantMoney("15.10", "15.10", "0.00", "0.00")
	if o := b.order(); o.State != openapi.OrderStateConfirmed {
		t.Errorf("paid the order is %s", o.State)
	}
	wantProblem(t, come(`{}`), http.StatusConflict, "payment_not_authorized")

	// The rest may be noted with the order, be paid in another way, or not be needed.
	b, come = placed()
	want[openapi.PaymentOperation](t, come(`{"amount":"10.00"}`), http.StatusCreated)
	b.move("confirmed")
	b.wantMoney("15.10", "15.10", "0.00", "0.00")
	b, come = placed()
	want[openapi.PaymentOperation](t, come(`{"amount":"10.00"}`), http.StatusCreated)
	want[openapi.Order](t, b.payDue(paying("stripe", "pm_card")), http.StatusCreated)
	b.wantMoney("15.10", "10.00", "0.00", "0.00")
	b.move("processing", "shipped")
	b.wantMoney("15.10", "15.10", "0.00", "0.00")
	wantProblem(t, come(`{"amount":"1.00"}`), http.StatusConflict, "capture_exceeds_total")
	b, come = placed()
	want[openapi.PaymentOperation](t, come(`{"amount":"12.00"}`), http.StatusCreated)
	if e := b.edit(setting(b.order().Lines[0], 1)); e.GivenBack.Amount != "2.00" {
		t.Errorf("edited it is %+v", e)
	}
	b.wantMoney("10.00", "12.00", "2.00", "0.00")
	s.wantAddedUp()
}
