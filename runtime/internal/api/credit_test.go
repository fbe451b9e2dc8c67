package api_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"testing"

	"gitee.com/captainjez/gocart/runtime/internal/optional"
	"gitee.com/captainjez/gocart/runtime/openapi"
)

func (p parcels) id() string { return strings.TrimPrefix(p.path, "/orders/") }

// sentBack ships what is left of an order, and has so much of its lines come
// back with a return that is approved.
func (p parcels) sentBack(quantities ...int64) openapi.Return {
	p.t.Helper()
	if p.order().State != openapi.OrderStateShipped {
		p.pack(openapi.FulfillmentInput{Shipped: new(true)})
	}
	r := admin[openapi.Return](p.store, "POST", p.path+"/returns", openapi.ReturnInput{Lines: p.back(quantities...)}, http.StatusCreated)
	return want[openapi.Return](p.t, p.act("returns", r.Id, "approve", `{}`), http.StatusOK)
}

// exchanged places an order in exchange for so much of another, and pays for
// it what is due.
func (p parcels) exchanged(variant openapi.Variant, quantities ...int64) parcels {
	p.t.Helper()
	r := p.sentBack(quantities...)
	in := openapi.ExchangeInput{Lines: []openapi.ExchangeLine{{VariantId: variant.Id, Quantity: 1}}}
	o := want[openapi.Order](p.t, p.act("returns", r.Id, "exchange", encode(p.t, in)), http.StatusCreated)
	p.path = "/orders/" + o.Id.String()
	if o.Due.Amount != "0.00" {
		admin[openapi.Order](p.store, "POST", p.path+"/payments", `{"provider":"test"}`, http.StatusCreated)
	}
	return p
}

// wantMoney fails the test unless the order tells these amounts.
func (p parcels) wantMoney(paid, refunded, credit, exchanged string) {
	p.t.Helper()
	o := p.order()
	got := []string{o.Paid.Amount, o.Refunded.Amount, "", ""}
	for i, m := range []*openapi.Money{o.Credit, o.Exchanged} {
		if m != nil {
			got[2+i] = m.Amount
		}
	}
	if wanted := []string{paid, refunded, credit, exchanged}; !slices.Equal(got, wanted) {
		p.t.Errorf("of order %s are paid, refunded, credit, exchanged %q, want %q", o.Number, got, wanted)
	}
}

// wantRefunds fails the test unless the order was given back these amounts,
// each with what of it is on other orders' payments.
func (p parcels) wantRefunds(wanted ...string) {
	p.t.Helper()
	var got []string
	for _, r := range admin[openapi.RefundList](p.store, "GET", p.path+"/refunds", "", http.StatusOK).Refunds {
		text := r.Amount.Amount
		if r.FromOrders != nil {
			for _, f := range *r.FromOrders {
				text += fmt.Sprintf(" %s of %s", f.Amount, f.OrderId)
			}
		}
		got = append(got, text)
	}
	if !slices.Equal(got, wanted) {
		p.t.Errorf("given back are %q, want %q", got, wanted)
	}
}

func (p parcels) refund(body string) *httptest.ResponseRecorder {
	return p.asAdmin("POST", p.path+"/refunds", body)
}

// timeline is what an order's timeline says to staff.
func (p parcels) timeline() string {
	p.t.Helper()
	var all []string
	for _, e := range admin[openapi.Timeline](p.store, "GET", p.path+"/timeline", "", http.StatusOK).Entries {
		all = append(all, strings.TrimSpace(optional.Value(e.Text)+" "+optional.Value(e.Reason)))
	}
	return strings.Join(all, "\n")
}

func TestWhatWasPlacedInExchangeComesBackForTheMoneyOfTheFirstOrder(t *testing.T) {
	t.Parallel()
	m := newMailing(t)
	s := m.store
	mug, cup := s.stocked("MUG", "10.00", 10), s.stocked("CUP", "10.00", 10)
	first := s.ordered(s.shipping(), line(mug, 1))
	second := first.exchanged(cup, 1)
	first.wantMoney("14.90", "0.00", "", "10.00")
	second.wantMoney("0.00", "0.00", "10.00", "")
	if l := second.order().Lines[0]; l.Total != "0.00" || l.Credit == nil || *l.Credit != "10.00" {
		t.Errorf("the line in exchange comes to %s with a credit of %v", l.Total, l.Credit)
	}
	r := second.sentBack(1)
	wantProblem(t, first.refund(`{"amount":"4.91"}`), http.StatusConflict, "refund_exceeds_captured")
	wantProblem(t, second.refund(`{"amount":"10.01"}`), http.StatusConflict, "refund_exceeds_captured")
	want[openapi.Return](t, second.act("returns", r.Id, "receive", `{"refund":true}`), http.StatusOK)
	m.mailed("Your money back for order "+second.order().Number, "10.00 EUR")
	first.wantMoney("14.90", "10.00", "", "")
	second.wantMoney("0.00", "0.00", "", "")
	first.wantRefunds()
	second.wantRefunds("10.00 10.00 of " + first.id())
	second.wantLine(0, 0, 1, 0, 1, 1)
	first.wantLine(0, 0, 1, 0, 0, 1)
	second.wantState(openapi.OrderStateRefunded)
	first.wantState(openapi.OrderStateShipped) // its shipping was not given back
	if text := second.timeline(); !strings.Contains(text, "10.00 EUR of it were paid with order "+first.order().Number) {
		t.Errorf("the second order tells\n%s", text)
	}
	if text := first.timeline(); !strings.Contains(text, "10.00 EUR were given back. They are for order "+second.order().Number) {
		t.Errorf("the first order tells\n%s", text)
	}
	wantProblem(t, second.refund(`{"amount":"0.01"}`), http.StatusConflict, "refund_exceeds_captured")
	wantProblem(t, first.refund(`{"amount":"4.91"}`), http.StatusConflict, "refund_exceeds_captured")
	want[openapi.Refund](t, first.refund(`{"shipping":"4.90"}`), http.StatusCreated)
	first.wantState(openapi.OrderStateRefunded)
	s.wantAddedUp()
}

func TestOfADearerOrderInExchangeItsOwnMoneyIsGivenBackFirst(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	mug, vase := s.stocked("MUG", "10.00", 10), s.stocked("VASE", "25.00", 10)
	first := s.ordered(s.shipping(), line(mug, 1))
	second := first.exchanged(vase, 1)
	r := second.sentBack(1)
	second.wantMoney("15.00", "0.00", "10.00", "")
	want[openapi.Refund](t, second.refund(`{"amount":"5.00","reason":"A scratch."}`), http.StatusCreated)
	second.wantMoney("15.00", "5.00", "10.00", "")
	wantProblem(t, second.act("returns", r.Id, "receive", `{"refund":true}`), http.StatusConflict, "refund_exceeds_captured")
	want[openapi.Return](t, second.act("returns", r.Id, "receive", `{}`), http.StatusOK)
	want[openapi.Refund](t, second.refund(`{"amount":"12.00"}`), http.StatusCreated)
	second.wantMoney("15.00", "15.00", "8.00", "")
	first.wantMoney("14.90", "2.00", "", "8.00")
	second.wantRefunds("5.00", "12.00 2.00 of "+first.id())
	admin[openapi.Order](s, "POST", second.path+"/transitions", `{"to":"refunded"}`, http.StatusOK) // the rest of it
	second.wantRefunds("5.00", "12.00 2.00 of "+first.id(), "8.00 8.00 of "+first.id())
	first.wantMoney("14.90", "10.00", "", "")
	second.wantMoney("15.00", "15.00", "", "")
	s.wantAddedUp()
}

func TestOfACheaperOrderInExchangeNoMoreIsGivenBackThanItCost(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	mug, cup := s.stocked("MUG", "10.00", 10), s.stocked("CUP", "6.00", 10)
	first := s.ordered(s.shipping(), line(mug, 1))
	second := first.exchanged(cup, 1)
	first.wantMoney("14.90", "4.00", "", "6.00")
	r := second.sentBack(1)
	want[openapi.Return](t, second.act("returns", r.Id, "receive", `{"refund":true}`), http.StatusOK)
	first.wantMoney("14.90", "10.00", "", "")
	second.wantRefunds("6.00 6.00 of " + first.id())
	s.wantAddedUp()
}

func TestAnOrderInExchangeGoesToAnotherAddressForTheSameMoney(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	mug, cup := s.stocked("MUG", "10.00", 10), s.stocked("CUP", "6.00", 10)
	first := s.ordered(s.shipping(), line(mug, 1))
	second := first.exchanged(cup, 1)
	before := admin[openapi.Order](s, "GET", second.path, "", http.StatusOK)
	to := *before.ShippingAddress
	to.Line1 = "At work"
	made := admin[openapi.OrderEdit](s, "POST", second.path+"/edits", openapi.OrderEditInput{ShippingAddress: &to, ExpectedTotal: &before.Totals.Total}, http.StatusCreated)
	if o := made.Order; o.ShippingAddress.Line1 != "At work" || encode(t, o.Totals) != encode(t, before.Totals) || encode(t, o.Lines) != encode(t, before.Lines) || *o.Credit != *before.Credit {
		t.Errorf("%s was %s", encode(t, o), encode(t, before))
	}
	wantProblem(t, s.asAdmin("POST", second.path+"/edits", adding(cup, 1)), http.StatusConflict, "order_not_editable")
	s.wantAddedUp()
}

func TestCreditPassesThroughAChainOfExchangesAndBackToWhereItIsFrom(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	mug, vase, jar := s.stocked("MUG", "10.00", 10), s.stocked("VASE", "25.00", 10), s.stocked("JAR", "40.00", 10)
	first := s.ordered(s.shipping(), line(mug, 1))
	second := first.exchanged(vase, 1) // 15.00 more
	third := second.exchanged(jar, 1)  // another 15.00
	first.wantMoney("14.90", "0.00", "", "10.00")
	second.wantMoney("15.00", "0.00", "10.00", "25.00")
	r := third.sentBack(1)
	third.wantMoney("15.00", "0.00", "25.00", "")
	for _, p := range []parcels{first, second} {
		wantProblem(t, p.refund(`{"amount":"4.91"}`), http.StatusConflict, "refund_exceeds_captured")
		wantProblem(t, s.asAdmin("POST", p.path+"/transitions", `{"to":"refunded"}`), http.StatusConflict, "order_exchanged")
	}
	want[openapi.Refund](t, third.refund(`{"amount":"17.00"}`), http.StatusCreated)
	second.wantMoney("15.00", "2.00", "10.00", "23.00")
	want[openapi.Return](t, third.act("returns", r.Id, "receive", `{}`), http.StatusOK)
	want[openapi.Refund](t, third.refund(`{"amount":"23.00"}`), http.StatusCreated)
	third.wantRefunds("17.00 2.00 of "+second.id(), "23.00 13.00 of "+second.id()+" 10.00 of "+first.id())
	first.wantMoney("14.90", "10.00", "", "")
	second.wantMoney("15.00", "15.00", "", "")
	third.wantMoney("15.00", "15.00", "", "")
	second.wantState(openapi.OrderStateRefunded)
	third.wantState(openapi.OrderStateRefunded)
	first.wantState(openapi.OrderStateShipped)
	s.wantAddedUp()
}

// TestAnOrderInExchangeIsExchangedForWhatItsLinesCost has credit alone pay for
// three orders.
func TestAnOrderInExchangeIsExchangedForWhatItsLinesCost(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	mug, cup := s.stocked("MUG", "10.00", 10), s.stocked("CUP", "6.00", 10)
	first := s.ordered(s.shipping(), line(mug, 1))
	second := first.exchanged(mug, 1)
	third := second.exchanged(cup, 1) // 4.00 less
	second.wantRefunds("4.00 4.00 of " + first.id())
	first.wantMoney("14.90", "4.00", "", "6.00")
	second.wantMoney("0.00", "0.00", "6.00", "6.00")
	third.wantMoney("0.00", "0.00", "6.00", "")
	r := third.sentBack(1)
	want[openapi.Return](t, third.act("returns", r.Id, "receive", `{"refund":true}`), http.StatusOK)
	third.wantRefunds("6.00 6.00 of " + first.id())
	first.wantMoney("14.90", "10.00", "", "")
	s.wantAddedUp()
}

func TestOfAnOrderInExchangeThatIsCancelledTheRestIsTheFirstOrdersAgain(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	mug, cup := s.stocked("MUG", "10.00", 10), s.stocked("CUP", "6.00", 10)
	first := s.ordered(s.shipping(), line(mug, 1))
	second := first.exchanged(mug, 1)
	want[openapi.Refund](t, second.refund(`{"amount":"3.00"}`), http.StatusCreated)
	admin[openapi.Order](s, "POST", second.path+"/cancel", `{}`, http.StatusOK)
	first.wantMoney("14.90", "3.00", "", "")
	second.wantMoney("0.00", "0.00", "", "")
	first.wantLine(0, 0, 1, 0, 0, 0)
	wantProblem(t, first.refund(`{"amount":"11.91"}`), http.StatusConflict, "refund_exceeds_captured")
	wantProblem(t, second.refund(`{"amount":"0.01"}`), http.StatusConflict, "refund_exceeds_captured")
	want[openapi.Refund](t, first.refund(`{"shipping":"4.90"}`), http.StatusCreated)
	// What is left of its worth is exchanged, and no more.
	r := admin[openapi.ReturnPage](s, "GET", first.path+"/returns", "", http.StatusOK).Returns[0]
	in := openapi.ExchangeInput{Lines: []openapi.ExchangeLine{{VariantId: cup.Id, Quantity: 2}}}
	o := want[openapi.Order](t, first.act("returns", r.Id, "exchange", encode(t, in)), http.StatusCreated)
	if o.Totals.Total != "5.00" || o.Credit == nil || o.Credit.Amount != "7.00" {
		t.Errorf("for 7.00 that are left, 12.00 come to %s with a credit of %v", o.Totals.Total, o.Credit)
	}

	first = s.ordered(first.method, line(mug, 1))
	second = first.exchanged(mug, 1)
	third := second.exchanged(mug, 1)
	want[openapi.Refund](t, third.refund(`{"amount":"3.00"}`), http.StatusCreated)
	admin[openapi.Order](s, "POST", third.path+"/cancel", `{}`, http.StatusOK)
	first.wantMoney("14.90", "3.00", "", "7.00")
	second.wantMoney("0.00", "0.00", "7.00", "")
	want[openapi.Refund](t, second.refund(`{"amount":"7.00"}`), http.StatusCreated)
	first.wantMoney("14.90", "10.00", "", "")
	s.wantAddedUp()
}

func TestAPaymentDoesNotGiveBackWhatIsInAnOrderInExchange(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	mug, vase := s.stocked("MUG", "10.00", 10), s.stocked("VASE", "25.00", 10)
	first := s.ordered(s.shipping(), line(mug, 1))
	second := first.exchanged(vase, 1)
	third := second.exchanged(mug, 1) // 15.00 less
	pay := func(p parcels, amount string) *httptest.ResponseRecorder {
		all := p.order().Payments
		id := all[slices.IndexFunc(all, func(m openapi.Payment) bool { return m.Provider == "test" })].Id
		return s.asAdmin("POST", "/payments/"+id.String()+"/refunds", fmt.Sprintf(`{"amount":%q}`, amount))
	}
	refused := pay(first, "4.91")
	wantProblem(t, refused, http.StatusConflict, "order_exchanged")
	if !strings.Contains(refused.Body.String(), "4.90 EUR can be given back here") || !strings.Contains(refused.Body.String(), first.path+"/returns") {
		t.Errorf("the refusal says %s", refused.Body)
	}
	want[openapi.PaymentOperation](t, pay(first, "4.90"), http.StatusCreated)
	wantProblem(t, pay(first, "0.01"), http.StatusConflict, "order_exchanged")
	second.wantMoney("15.00", "15.00", "10.00", "10.00")
	wantProblem(t, pay(second, "0.01"), http.StatusConflict, "refund_exceeds_captured")
	r := third.sentBack(1)
	want[openapi.Return](t, third.act("returns", r.Id, "receive", `{"refund":true}`), http.StatusOK)
	third.wantRefunds("10.00 10.00 of " + first.id())
	for _, p := range []parcels{first, second, third} {
		p.wantState(openapi.OrderStateRefunded)
	}
	s.wantAddedUp()
}

// TestAnEditDoesNotGiveBackWhatIsInAnOrderInExchange gives back an amount first,
// so that what is taken out of the order is not there any more.
func TestAnEditDoesNotGiveBackWhatIsInAnOrderInExchange(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	mug, cup := s.stocked("MUG", "10.00", 10), s.stocked("CUP", "10.00", 10)
	first := s.ordered(s.shipping(), line(mug, 1), line(cup, 1))
	first.pack(openapi.FulfillmentInput{Lines: new(first.part(1, 0)), Shipped: new(true)})
	r := admin[openapi.Return](s, "POST", first.path+"/returns", openapi.ReturnInput{Lines: first.back(1, 0)}, http.StatusCreated)
	want[openapi.Return](t, first.act("returns", r.Id, "approve", `{}`), http.StatusOK)
	in := openapi.ExchangeInput{Lines: []openapi.ExchangeLine{{VariantId: mug.Id, Quantity: 1}}}
	want[openapi.Order](t, first.act("returns", r.Id, "exchange", encode(t, in)), http.StatusCreated)
	want[openapi.Refund](t, first.refund(`{"amount":"8.00"}`), http.StatusCreated)
	edited := admin[openapi.OrderEdit](s, "POST", first.path+"/edits", fmt.Sprintf(`{"setQuantities":[{"lineId":%q,"quantity":0}]}`, first.order().Lines[1].Id), http.StatusCreated)
	if edited.GivenBack.Amount != "6.90" {
		t.Errorf("the edit gave back %s", edited.GivenBack.Amount)
	}
	first.wantMoney("24.90", "14.90", "", "10.00")
	s.wantAddedUp()
}

func TestWhatCostNothingIsReceivedAndNothingGivenBack(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	first := s.ordered(s.shipping(), line(s.stocked("GIFT", "0.00", 10), 2))
	r := first.sentBack(1)
	r = want[openapi.Return](t, first.act("returns", r.Id, "receive", `{"refund":true}`), http.StatusOK)
	if r.State != openapi.ReturnStateReceived || r.Lines[0].Restocked != 1 {
		t.Errorf("received %+v", r)
	}
	first.wantRefunds()
	first.wantState(openapi.OrderStateShipped)
	s.wantLevel("GIFT", 9, 0)
	s.wantAddedUp()
}

// TestOfOrdersInExchangeNoMoreIsGivenBackThanWasPaidHoweverManyRefundAtOnce has
// all the ways to give back of three orders in a row meet.
func TestOfOrdersInExchangeNoMoreIsGivenBackThanWasPaidHoweverManyRefundAtOnce(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	mug, vase := s.stocked("MUG", "10.00", 100), s.stocked("VASE", "25.00", 100)
	method := s.shipping()
	for range 4 {
		first := s.ordered(method, line(mug, 2))
		second := first.exchanged(vase, 1)
		third := second.exchanged(vase, 1)
		r := third.sentBack(1)
		var all []func()
		var answers []*httptest.ResponseRecorder
		add := func(do func() *httptest.ResponseRecorder) {
			i := len(answers)
			answers = append(answers, nil)
			all = append(all, func() { answers[i] = do() })
		}
		for _, p := range []parcels{first, second, third} {
			for range 4 {
				add(func() *httptest.ResponseRecorder { return p.refund(`{"amount":"4.00"}`) })
			}
			for _, m := range p.order().Payments {
				add(func() *httptest.ResponseRecorder {
					return s.asAdmin("POST", "/payments/"+m.Id.String()+"/refunds", `{"amount":"4.00","reason":"By hand."}`)
				})
			}
		}
		add(func() *httptest.ResponseRecorder { return third.act("returns", r.Id, "receive", `{"refund":true}`) })
		add(func() *httptest.ResponseRecorder {
			return s.asAdmin("POST", third.path+"/transitions", `{"to":"refunded"}`)
		})
		together(all...)
		for _, w := range answers {
			if w.Code >= 300 && w.Code != http.StatusConflict {
				t.Errorf("answered %d %s", w.Code, w.Body)
			}
		}
	}
	lost := s.number(`SELECT (SELECT sum(amount) FROM refunds) + (SELECT count(*) * 400 FROM payment_operations WHERE kind = 'refund' AND reason = 'By hand.')
		- (SELECT sum(refunded + refunding) FROM payments)`)
	if lost != 0 {
		t.Errorf("what refunds come to is %d more than payments gave back", lost)
	}
	s.wantAddedUp()
}

func TestCreditOfPricesWithoutTaxIsWithIt(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	method, mug, vase := s.shipping(), s.stocked("MUG", "10.00", 10), s.stocked("VASE", "25.00", 10)
	admin[openapi.Settings](s, "PUT", "/settings", `{"currency":"EUR","pricesIncludeTax":false}`, http.StatusOK)
	first := s.ordered(method, line(mug, 1))
	second := first.exchanged(vase, 1)
	r := second.sentBack(1)
	second.wantMoney("17.85", "0.00", "11.90", "")
	want[openapi.Return](t, second.act("returns", r.Id, "receive", `{"refund":true}`), http.StatusOK)
	second.wantRefunds("29.75 11.90 of " + first.id())
	s.wantAddedUp()
}

// TestWhatWasPaidWithCreditBeforeIsKnownOfEachLine does what the migration did.
func TestWhatWasPaidWithCreditBeforeIsKnownOfEachLine(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	mug, cup := s.stocked("MUG", "3.33", 10), s.stocked("CUP", "0.07", 10)
	first := s.ordered(s.shipping(), line(mug, 2))
	r := first.sentBack(1)
	in := openapi.ExchangeInput{Lines: []openapi.ExchangeLine{{VariantId: mug.Id, Quantity: 1}, {VariantId: cup.Id, Quantity: 5}}}
	o := want[openapi.Order](t, first.act("returns", r.Id, "exchange", encode(t, in)), http.StatusCreated)
	second := parcels{store: s, path: "/orders/" + o.Id.String()}
	credits := func() (all []string) {
		for _, l := range second.order().Lines {
			all = append(all, *l.Credit)
		}
		return all
	}
	before := credits()
	migration, err := os.ReadFile("../db/migrations/00028_credit.sql")
	if err != nil {
		t.Fatal(err)
	}
	_, filling, _ := strings.Cut(string(migration), "in proportion to which it was paid.")
	filling, _, _ = strings.Cut(filling, "-- What of a refund")
	if _, err := s.Pool.Exec(t.Context(), `UPDATE order_lines SET credit = 0`); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Pool.Exec(t.Context(), filling); err != nil {
		t.Fatal(err)
	}
	if after := credits(); !slices.Equal(before, after) || len(after) != 2 {
		t.Errorf("credit of lines is filled as %v, was %v", after, before)
	}
	s.wantAddedUp()
}

func TestWhatStaysWithItsBuyerPaysForNothingElse(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	mug, cup := s.stocked("MUG", "10.00", 90), s.stocked("CUP", "10.00", 90)
	swap := encode(t, openapi.ExchangeInput{Lines: []openapi.ExchangeLine{{VariantId: cup.Id, Quantity: 1}}})
	for name, giveBack := range map[string]func(p parcels, r openapi.Return){
		"as it is received": func(p parcels, r openapi.Return) {
			want[openapi.Return](t, p.act("returns", r.Id, "receive", `{"refund":true}`), http.StatusOK)
		},
		"for the return": func(p parcels, r openapi.Return) {
			want[openapi.Refund](t, p.refund(encode(t, openapi.OrderRefundInput{Lines: new(p.part(2)), ReturnId: &r.Id})), http.StatusCreated)
		},
		"for its lines": func(p parcels, _ openapi.Return) {
			want[openapi.Refund](t, p.refund(encode(t, openapi.OrderRefundInput{Lines: new(p.part(2))})), http.StatusCreated)
		},
	} {
		p := s.ordered(s.shipping(), line(mug, 3))
		r := p.sentBack(2)
		giveBack(p, r)
		t.Log("the money was given back " + name)
		wantProblem(t, p.act("returns", r.Id, "exchange", swap), http.StatusConflict, "nothing_to_exchange")
		if l := p.order().Lines[0]; l.RefundedQuantity != 2 {
			t.Errorf("for %d the money was given back", l.RefundedQuantity)
		}
	}
	s.wantAddedUp()
}
