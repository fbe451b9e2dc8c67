package api_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"pgregory.net/rapid"

	"gitee.com/captainjez/gocart/runtime/internal/money"
	"gitee.com/captainjez/gocart/runtime/internal/optional"
	"gitee.com/captainjez/gocart/runtime/internal/order"
	"gitee.com/captainjez/gocart/runtime/internal/testbed"
	"gitee.com/captainjez/gocart/runtime/openapi"
)

// adding and setting are the bodies of edits.
func adding(v openapi.Variant, quantity int64) string {
	return fmt.Sprintf(`{"add":[{"variantId":%q,"quantity":%d}]}`, v.Id, quantity)
}

func setting(l openapi.OrderLine, quantity int64) string {
	return fmt.Sprintf(`{"setQuantities":[{"lineId":%q,"quantity":%d}]}`, l.Id, quantity)
}

func (b bought) edit(body string) openapi.OrderEdit {
	b.t.Helper()
	return admin[openapi.OrderEdit](b.store, "POST", b.path+"/edits", body, http.StatusCreated)
}

// paying is the body of a payment.
func paying(provider, token string) string {
	return fmt.Sprintf(`{"provider":%q,"token":%q}`, provider, token)
}

func (b bought) payDue(body string, headers ...string) *httptest.ResponseRecorder {
	return b.do("POST", b.path+"/payments", body, headers...)
}

// wantMoney fails the test unless the order stands so.
func (b bought) wantMoney(total, paid, refunded, due string) {
	b.t.Helper()
	o := b.order()
	if got := o.Totals.Total + " " + o.Paid.Amount + " " + o.Refunded.Amount + " " + o.Due.Amount; got != total+" "+paid+" "+refunded+" "+due {
		b.t.Errorf("total, paid, refunded and due are %s, want %s %s %s %s", got, total, paid, refunded, due)
	}
}

// wantSum fails unless an order's lines and parts come to its totals.
func wantSum(t interface {
	Helper()
	Fatalf(string, ...any)
}, o openapi.Order) {
	t.Helper()
	minor := func(decimal string) int64 {
		a, err := money.Parse(decimal, o.Totals.Currency)
		if err != nil {
			t.Fatalf("%v", err)
		}
		return a.Minor
	}
	var subtotal, discount, tax, discounts, taxes int64
	for _, l := range o.Lines {
		subtotal += minor(l.Subtotal)
		discount += minor(l.Discount)
		tax += minor(l.Tax)
		want := minor(l.Subtotal) - minor(l.Discount)
		if !o.Totals.PricesIncludeTax {
			want += minor(l.Tax)
		}
		if minor(l.Total) != want || minor(l.Subtotal) != l.Quantity*minor(l.UnitPrice) {
			t.Fatalf("line %+v", l)
		}
	}
	for _, d := range o.Totals.Discounts {
		discounts += minor(d.Amount)
	}
	for _, a := range o.Totals.Taxes {
		taxes += minor(a.Amount)
	}
	total := minor(o.Totals.Subtotal) - minor(o.Totals.Discount) + minor(o.Totals.Shipping)
	if !o.Totals.PricesIncludeTax {
		total += minor(o.Totals.Tax)
	}
	if subtotal != minor(o.Totals.Subtotal) || discount > minor(o.Totals.Discount) || tax > minor(o.Totals.Tax) || discounts != minor(o.Totals.Discount) ||
		taxes != minor(o.Totals.Tax) || total != minor(o.Totals.Total) {
		t.Fatalf("%+v of %+v", o.Totals, o.Lines)
	}
}

func TestAnEditIsPaidWhereTheOrderComesToMore(t *testing.T) {
	t.Parallel()
	s := newStriped(t)
	b := s.buy("pm_card")
	tried := admin[openapi.OrderEdit](s.store, "POST", b.path+"/edits?preview=true", adding(s.mug, 2), http.StatusOK)
	if tried.Order.Totals.Total != "20.20" || tried.Order.Due.Amount != "10.20" || tried.TotalBefore.Amount != "10.00" || len(tried.Order.Lines) != 2 {
		t.Errorf("a preview says %+v", tried)
	}
	b.wantMoney("10.00", "0.00", "0.00", "0.00")
	if l := s.level("MUG"); l.Reserved != 1 {
		t.Errorf("a preview reserved %+v", l)
	}
	wantProblem(t, b.payDue(paying("stripe", "pm_card")), http.StatusConflict, "nothing_due")

	made := b.edit(fmt.Sprintf(`{"add":[{"variantId":%q,"quantity":2}],"reason":"She called.","expectedTotal":"20.20"}`, s.mug.Id))
	wantSum(t, made.Order)
	if made.Order.Due.Amount != "10.20" || made.GivenBack.Amount != "0.00" || made.Order.Totals.Tax != "3.22" {
		t.Errorf("edited it is %+v", made)
	}
	b.wantMoney("20.20", "0.00", "0.00", "10.20")
	if l := s.level("MUG"); l.Reserved != 3 {
		t.Errorf("level %+v", l)
	}
	if types, text := b.timeline(); !slices.Contains(types, "order.edited") || !strings.Contains(text, "2 × MUG added. She called.") {
		t.Errorf("the timeline says %v\n%s", types, text)
	}
	if n := s.number(`SELECT count(*) FROM river_job WHERE args->>'template' = 'order_edited'`); n != 1 {
		t.Errorf("%d mails are sent", n)
	}
	wantProblem(t, b.payDue(paying("stripe", "pm_declined")), http.StatusPaymentRequired, "payment_declined")
	wantProblem(t, b.payDue(`{"provider":"stripe","token":"pm_card","expectedAmount":"10.00"}`), http.StatusConflict, "due_changed")
	wantProblem(t, b.payDue(paying("nobody", "")), http.StatusBadRequest, "invalid_request")
	b.move("processing")
	wantProblem(t, s.asAdmin("POST", b.path+"/transitions", `{"to":"shipped"}`), http.StatusConflict, "payment_due")
	first := b.payDue(`{"provider":"stripe","token":"pm_card","expectedAmount":"10.20"}`, "Idempotency-Key", "k")
	o := want[openapi.Order](t, first, http.StatusCreated)
	if len(o.Payments) != 2 || o.Payments[1].Amount.Amount != "10.20" || o.Due.Amount != "0.00" || o.State != openapi.OrderStateProcessing {
		t.Errorf("paid it is %+v", o)
	}
	again := b.payDue(`{"provider":"stripe","token":"pm_card","expectedAmount":"10.20"}`, "Idempotency-Key", "k")
	if again.Body.String() != first.Body.String() || again.Header().Get("Idempotency-Replayed") != "true" {
		t.Errorf("again it is answered %d %s", again.Code, again.Body)
	}
	b.move("shipped")
	b.wantMoney("20.20", "20.20", "0.00", "0.00")
	wantProblem(t, s.asAdmin("POST", b.path+"/edits", adding(s.mug, 1)), http.StatusConflict, "order_not_editable")
	if n := s.number(`SELECT count(*) FROM payment_attempts`); n != 0 {
		t.Errorf("%d attempts are left", n)
	}
	s.wantAlike()
}

func TestAnEditGivesBackWhereTheOrderComesToLess(t *testing.T) {
	t.Parallel()
	s := newStriped(t)
	order := func() bought {
		g := s.cartOf(s.method, line(s.mug, 3)) // 20.20
		o := want[openapi.Order](t, g.do("POST", "/orders", encode(t, openapi.OrderInput{CartId: g.cart.Id, Payment: openapi.PaymentInput{Provider: "stripe", Token: new("pm_card")}})), http.StatusCreated)
		b := bought{guest: g, stripe: s, id: o.Payments[0].Id.String(), path: "/orders/" + o.Id.String()}
		b.intent = b.details().Reference
		return b
	}
	// What is only set aside is taken to the lower amount.
	aside := order()
	less := aside.edit(setting(aside.order().Lines[0], 1))
	if less.GivenBack.Amount != "0.00" || less.Order.Totals.Total != "10.00" {
		t.Errorf("edited it is %+v", less)
	}
	wantProblem(t, s.asAdmin("POST", "/payments/"+aside.id+"/capture", `{"amount":"10.01"}`), http.StatusConflict, "capture_exceeds_total")
	aside.edit(setting(aside.order().Lines[0], 2)) // for which there is enough set aside
	aside.wantMoney("15.10", "0.00", "0.00", "0.00")
	aside.move("processing", "shipped")
	aside.wantPayment("captured", "15.10", "0.00")
	aside.wantMoney("15.10", "15.10", "0.00", "0.00")

	// What was taken is given back, and due again where the order comes to more.
	taken := order()
	admin[openapi.PaymentOperation](s.store, "POST", "/payments/"+taken.id+"/capture", `{}`, http.StatusCreated)
	back := taken.edit(setting(taken.order().Lines[0], 1))
	if back.GivenBack.Amount != "10.20" || back.Order.Refunded.Amount != "10.20" {
		t.Errorf("edited it is %+v", back)
	}
	taken.wantMoney("10.00", "20.20", "10.20", "0.00")
	taken.edit(setting(taken.order().Lines[0], 2))
	taken.wantMoney("15.10", "20.20", "10.20", "5.10")
	want[openapi.Order](t, taken.payDue(paying("stripe", "pm_card")), http.StatusCreated)
	taken.wantMoney("15.10", "20.20", "10.20", "0.00")
	taken.move("processing", "shipped")
	taken.wantMoney("15.10", "25.30", "10.20", "0.00")
	if _, text := taken.timeline(); !strings.Contains(text, "10.20 EUR were given back. The order comes to less.") {
		t.Errorf("the timeline says\n%s", text)
	}

	// A goodwill refund leaves an order paid, and is not given back twice.
	kind := order()
	admin[openapi.PaymentOperation](s.store, "POST", "/payments/"+kind.id+"/capture", `{}`, http.StatusCreated)
	admin[openapi.PaymentOperation](s.store, "POST", "/payments/"+kind.id+"/refunds", `{"amount":"18.00"}`, http.StatusCreated)
	kind.wantMoney("20.20", "20.20", "18.00", "0.00")
	if e := kind.edit(setting(kind.order().Lines[0], 1)); e.GivenBack.Amount != "2.20" {
		t.Errorf("%s were given back of 2.20 that were left", e.GivenBack.Amount)
	}
	if l := s.level("MUG"); l.OnHand != 96 || l.Reserved != 1 {
		t.Errorf("level %+v", l)
	}
	// Somebody took all of it at Stripe, before the store did.
	raced := order()
	raced.edit(setting(raced.order().Lines[0], 1))
	s.stripe.Do(raced.intent, func(i *testbed.Intent) { i.Status, i.Received = "succeeded", i.Amount })
	raced.move("processing", "shipped")
	raced.wantMoney("10.00", "20.20", "10.20", "0.00")
	s.wantAlike()
}

func TestWhatStandsAgainstAnEditIsSaidAndNothingChanges(t *testing.T) {
	t.Parallel()
	s := newStriped(t)
	cup := s.stocked("CUP", "3.00", 2)
	draft := admin[openapi.Product](s.store, "POST", "/products", priced("Draft", "DRAFT", "draft", "1.00"), http.StatusCreated).Variants[0]
	b := s.buy("pm_card")
	l := b.order().Lines[0]
	b.edit(setting(l, 3))
	b.move("processing")
	admin[openapi.Fulfillment](s.store, "POST", b.path+"/fulfillments", fmt.Sprintf(`{"lines":[{"lineId":%q,"quantity":2}]}`, l.Id), http.StatusCreated)
	before := b.order()
	for body, want := range map[string]struct {
		status int
		code   string
	}{
		`{}`:                            {400, "invalid_request"},
		`{"reason":"only"}`:             {400, "invalid_request"},
		setting(l, 1):                   {409, "quantity_too_low"},
		setting(l, 0):                   {409, "quantity_too_low"},
		setting(l, 1001):                {400, "invalid_request"},
		setting(openapi.OrderLine{}, 1): {404, "order_line_not_found"},
		adding(openapi.Variant{}, 1):    {404, "variant_not_found"},
		adding(draft, 1):                {404, "variant_not_found"},
		adding(cup, 3):                  {409, "out_of_stock"},
		adding(cup, 0):                  {400, "invalid_request"},
		`{"add":[` + strings.Repeat(fmt.Sprintf(`{"variantId":%q,"quantity":1},`, s.mug.Id), 99) + fmt.Sprintf(`{"variantId":%q,"quantity":1}]}`, s.mug.Id): {409, "too_many_lines"},
		strings.Replace(adding(cup, 1), `}]`, `,"unitPrice":"1.001"}]`, 1):                                                                                  {400, "invalid_request"},
		strings.Replace(adding(cup, 1), `}]`, `,"unitPrice":"-1.00"}]`, 1):                                                                                  {400, "invalid_request"},
		strings.Replace(adding(cup, 1), `}]`, `,"unitPrice":"99999999999999.00"}]`, 1):                                                                      {400, "invalid_request"},
		strings.Replace(adding(cup, 1), `}]}`, `}],"expectedTotal":"1.00"}`, 1):                                                                             {409, "total_changed"},
		fmt.Sprintf(`{"setQuantities":[{"lineId":%q,"quantity":4},{"lineId":%q,"quantity":5}]}`, l.Id, l.Id):                                                {400, "invalid_request"},
	} {
		for _, preview := range []string{"", "?preview=true"} {
			wantProblem(t, s.asAdmin("POST", b.path+"/edits"+preview, body), want.status, want.code)
		}
	}
	wantProblem(t, s.asAdmin("POST", "/orders/"+uuid.NewString()+"/edits", adding(cup, 1)), http.StatusNotFound, "order_not_found")
	if after := b.order(); encode(t, after) != encode(t, before) {
		t.Errorf("the order is %+v, and was %+v", after, before)
	}
	fresh := s.buy("pm_card")
	wantProblem(t, s.asAdmin("POST", fresh.path+"/edits", setting(fresh.order().Lines[0], 0)), http.StatusConflict, "order_empty")
	waits := s.buy("pm_3ds")
	wantProblem(t, s.asAdmin("POST", waits.path+"/edits", adding(cup, 1)), http.StatusConflict, "payment_open")
	waits.edit(setting(waits.order().Lines[0], 1)) // of which the total is the same
	fresh.move("cancelled")
	wantProblem(t, s.asAdmin("POST", fresh.path+"/edits", adding(cup, 1)), http.StatusConflict, "order_not_editable")
	wantProblem(t, fresh.payDue(paying("stripe", "pm_card")), http.StatusConflict, "order_over")
	s.wantAddedUp()
}

func TestAnAddressIsPutRightWhereTaxesAndShippingStay(t *testing.T) {
	t.Parallel()
	s := newStriped(t)
	b := s.buy("pm_card")
	before := b.order()
	was := *before.ShippingAddress
	at := func(name, country, region string) string {
		a := openapi.Address{Name: "Ada", Line1: name, City: "Berlin", Country: country, PostalCode: new("10115")}
		if region != "" {
			a.Region = &region
		}
		return encode(t, a)
	}
	right := func(address string) string { return `{"shippingAddress":` + address + `}` }
	made := b.edit(right(at("Right street 2", was.Country, "BE"))) // no zone is of that region
	if a := made.Order.ShippingAddress; a.Line1 != "Right street 2" || *a.Region != "BE" || encode(t, made.Order.Totals) != encode(t, before.Totals) || made.GivenBack.Amount != "0.00" {
		t.Errorf("%s", encode(t, made))
	}
	b.wantTold("order.edited", "delivery address changed.")
	b.edit(`{"billingAddress":` + at("Office", "FR", "") + `}`) // the order is sent where it was
	if o := b.order(); o.BillingAddress.Line1 != "Office" || encode(t, o.Lines) != encode(t, before.Lines) {
		t.Errorf("%s", encode(t, o))
	}
	b.wantTold("order.edited", "billing address changed.")
	b.edit(right(encode(t, made.Order.ShippingAddress)))
	b.wantTold("order.edited", "Nothing changed.")
	// A region with taxes of its own is elsewhere.
	zone := admin[openapi.Zone](s.store, "POST", "/zones", `{"name":"Bavaria","areas":["DE-BY"]}`, http.StatusCreated)
	admin[openapi.TaxRate](s.store, "POST", "/tax-rates", fmt.Sprintf(`{"name":"VAT","zoneId":%q,"percent":"5"}`, zone.Id), http.StatusCreated)
	after := b.order()
	for body, want := range map[string]string{
		right(at("Rue 1", "FR", "")): "address_elsewhere", right(at("Strasse 1", "DE", "BY")): "address_elsewhere",
		right(at("", "DE", "")): "invalid_request", right(at("Nowhere", "XX", "")): "invalid_request",
		`{"billingAddress":` + at("Office", "", "") + `}`: "invalid_request",
	} {
		status := http.StatusConflict
		if want == "invalid_request" {
			status = http.StatusBadRequest
		}
		wantProblem(t, s.asAdmin("POST", b.path+"/edits", body), status, want)
	}
	if o := b.order(); encode(t, o) != encode(t, after) {
		t.Errorf("a refusal changed %s to %s", encode(t, after), encode(t, o))
	}
	for _, to := range []string{"processing", "shipped"} {
		b.move(to)
	}
	wantProblem(t, s.asAdmin("POST", b.path+"/edits", right(at("Late", was.Country, ""))), http.StatusConflict, "order_not_editable")
	s.wantAddedUp()
}

// wantTold fails the test unless the newest entry of a type says so.
func (b bought) wantTold(kind, text string) {
	b.t.Helper()
	said := ""
	for _, e := range admin[openapi.Timeline](b.store, "GET", b.path+"/timeline", "", http.StatusOK).Entries {
		if e.Type == kind {
			said = optional.Value(e.Text)
		}
	}
	if said != text {
		b.t.Errorf("it says %q, want %q", said, text)
	}
}

func TestAnEditMayChangeSeveralThingsAtAPriceOfItsOwn(t *testing.T) {
	t.Parallel()
	s := newStriped(t)
	cup := s.stocked("CUP", "3.00", 2)
	b := s.buy("pm_card")
	l := b.order().Lines[0]
	e := b.edit(fmt.Sprintf(`{"add":[{"variantId":%q,"quantity":2,"unitPrice":"2.50"},{"variantId":%q,"quantity":1,"unitPrice":"0.00"}],"setQuantities":[{"lineId":%q,"quantity":0}]}`, cup.Id, s.mug.Id, l.Id))
	wantSum(t, e.Order)
	if e.Order.Totals.Total != "9.90" || len(e.Order.Lines) != 2 || e.Order.Lines[0].Sku != "CUP" || e.Order.Lines[0].Total != "5.00" || e.Order.Lines[1].Total != "0.00" {
		t.Errorf("edited it is %+v", e.Order)
	}
	if l := s.level("CUP"); l.Available != 0 {
		t.Errorf("cups %+v", l)
	}
	if l := s.level("MUG"); l.Reserved != 1 {
		t.Errorf("mugs %+v", l)
	}
	for _, l := range b.order().Lines { // the order is read as it was answered
		if !slices.ContainsFunc(e.Order.Lines, func(o openapi.OrderLine) bool { return o.Id == l.Id }) {
			t.Errorf("line %+v", l)
		}
	}
	b.move("cancelled")
	if l := s.level("CUP"); l.Available != 2 {
		t.Errorf("cups %+v", l)
	}
	s.wantAlike()
}

func TestAPaymentThatFailedIsMadeAgain(t *testing.T) {
	t.Parallel()
	s := newStriped(t)
	b := s.buy("pm_3ds")
	wantProblem(t, b.payDue(paying("stripe", "pm_card")), http.StatusConflict, "payment_open")
	s.stripe.Do(b.intent, func(i *testbed.Intent) { i.Status = "canceled" })
	s.wantHeard(s.stripe.Event("payment_intent.canceled", b.intent))
	b.wantMoney("10.00", "0.00", "0.00", "10.00")

	wantProblem(t, s.do("POST", b.path+"/payments", paying("stripe", "pm_card")), http.StatusUnauthorized, "unauthorized")
	other := s.person("other", openapi.RoleCustomer)
	wantProblem(t, s.do("POST", b.path+"/payments", paying("stripe", "pm_card"), "Authorization", other.bearer), http.StatusNotFound, "order_not_found")
	wantProblem(t, s.do("POST", b.path+"/payments", paying("stripe", "pm_card"), "Authorization", s.key("orders:read")), http.StatusForbidden, "forbidden")

	s.clock.forward(20 * time.Minute)
	o := want[openapi.Order](t, b.payDue(paying("stripe", "pm_redirect")), http.StatusCreated)
	if o.State != openapi.OrderStatePending || len(o.Payments) != 2 || o.Payments[1].NextAction == nil || o.Due.Amount != "10.00" {
		t.Fatalf("order %+v", o)
	}
	s.clock.forward(20 * time.Minute) // and it waits for half an hour anew
	if n, err := s.Orders.ExpireUnpaid(t.Context()); n != 0 || err != nil {
		t.Errorf("%d orders expired, %v", n, err)
	}
	intent := s.stripe.Intents()[1].ID
	s.stripe.Do(intent, func(i *testbed.Intent) { i.Status = "requires_capture" })
	s.wantHeard(s.stripe.Event("payment_intent.amount_capturable_updated", intent))
	if o = b.order(); o.State != openapi.OrderStateConfirmed || o.Due.Amount != "0.00" || o.PaymentDueAt != nil {
		t.Errorf("order %+v", o)
	}
	s.clock.forward(time.Hour)
	s.reconcile()
	if got := s.disagreements(); got != "" { // the one that failed is no matter any more
		t.Errorf("disagreements: %s", got)
	}
	s.wantAlike()
}

func TestAMemberOfStaffPaysForSomebodyWithoutSeeingTheirSecret(t *testing.T) {
	t.Parallel()
	s := newStriped(t)
	b := s.buy("pm_card")
	b.edit(adding(s.mug, 1))
	w := s.asAdmin("POST", b.path+"/payments", paying("stripe", "pm_3ds"))
	if o := want[openapi.Order](t, w, http.StatusCreated); o.Payments[1].State != openapi.PaymentStateRequiresAction || strings.Contains(w.Body.String(), "SECRET") {
		t.Errorf("staff are told %s", w.Body)
	}
	if o := want[openapi.Order](t, b.do("GET", b.path, ""), http.StatusOK); o.Payments[1].NextAction == nil {
		t.Error("the buyer is not told")
	}
	if text := encode(t, admin[openapi.AuditPage](s.store, "GET", "/audit?limit=100", "", http.StatusOK)); strings.Contains(text, "SECRET") || !strings.Contains(text, "payOrder") {
		t.Errorf("the audit log says %s", text)
	}
}

func TestMoneyOutsideOfTheStoreFollowsTheTotalAndIsNotedWhenItComes(t *testing.T) {
	t.Parallel()
	s := newStriped(t)
	g := s.cartOf(s.method, line(s.mug, 2))
	o := want[openapi.Order](t, g.do("POST", "/orders", encode(t, openapi.OrderInput{CartId: g.cart.Id, Payment: openapi.PaymentInput{Provider: "manual"}})), http.StatusCreated)
	b := bought{guest: g, stripe: s, id: o.Payments[0].Id.String(), path: "/orders/" + o.Id.String()}
	l := o.Lines[0]
	for quantity, total := range map[int64]string{1: "10.00", 3: "20.20"} {
		b.edit(setting(l, quantity))
		b.wantMoney(total, "0.00", "0.00", "0.00")
		if p := b.details().Payment; p.Amount.Amount != total {
			t.Errorf("%s are expected of %s", p.Amount.Amount, total)
		}
	}
	b.edit(setting(l, 2))
	if o := b.move("confirmed"); o.Paid.Amount != "15.10" {
		t.Errorf("confirmed it is %+v", o)
	}
	b.edit(setting(l, 3))
	wantProblem(t, b.payDue(`{"provider":"manual"}`), http.StatusConflict, "payment_needs_staff")
	o = admin[openapi.Order](s.store, "POST", b.path+"/payments", `{"provider":"manual"}`, http.StatusCreated)
	b.wantMoney("20.20", "15.10", "0.00", "0.00") // for it is expected
	capture := "/payments/" + o.Payments[1].Id.String() + "/capture"
	if op := admin[openapi.PaymentOperation](s.store, "POST", capture, `{}`, http.StatusCreated); op.State != openapi.PaymentOperationStateSucceeded {
		t.Errorf("operation %+v", op)
	}
	b.wantMoney("20.20", "20.20", "0.00", "0.00")
	wantProblem(t, s.asAdmin("POST", capture, `{}`), http.StatusConflict, "payment_not_authorized")
	if e := b.edit(setting(l, 1)); e.GivenBack.Amount != "10.20" {
		t.Errorf("edited it is %+v", e)
	}
	b.wantMoney("10.00", "20.20", "10.20", "0.00")

	// Noted for an order that waits for it, it confirms that.
	g = s.cartOf(s.method, line(s.mug, 2))
	o = want[openapi.Order](t, g.do("POST", "/orders", encode(t, openapi.OrderInput{CartId: g.cart.Id, Payment: openapi.PaymentInput{Provider: "manual"}})), http.StatusCreated)
	admin[openapi.PaymentOperation](s.store, "POST", "/payments/"+o.Payments[0].Id.String()+"/capture", `{}`, http.StatusCreated)
	if o = admin[openapi.Order](s.store, "GET", "/orders/"+o.Id.String(), "", http.StatusOK); o.State != openapi.OrderStateConfirmed || o.Paid.Amount != "15.10" {
		t.Errorf("order %+v", o)
	}
	s.wantAddedUp()
}

// TestMoneyOnItsWayIsTakenToWhatTheOrderComesToByThen has an order be edited
// while its payment is on its way.
func TestMoneyOnItsWayIsTakenToWhatTheOrderComesToByThen(t *testing.T) {
	t.Parallel()
	s := newStriped(t)
	b := s.buy("pm_3ds")
	s.stripe.Do(b.intent, func(i *testbed.Intent) { i.Status = "processing" })
	s.wantHeard(s.stripe.Event("payment_intent.processing", b.intent))
	b.edit(fmt.Sprintf(`{"add":[{"variantId":%q,"quantity":1,"unitPrice":"1.00"}],"setQuantities":[{"lineId":%q,"quantity":0}]}`, s.mug.Id, b.order().Lines[0].Id))
	b.wantMoney("5.90", "0.00", "0.00", "0.00")
	s.stripe.Do(b.intent, func(i *testbed.Intent) { i.Status, i.Received = "succeeded", 1000 })
	s.wantHeard(s.stripe.Event("payment_intent.succeeded", b.intent))
	b.wantMoney("5.90", "10.00", "4.10", "0.00")
	if o := b.order(); o.State != openapi.OrderStateConfirmed {
		t.Errorf("the order is %s", o.State)
	}
	s.wantAlike()
}

func TestAnOrderIsConfirmedByAnEditAfterWhichNothingIsDue(t *testing.T) {
	t.Parallel()
	s := newStriped(t)
	b := s.buy("pm_3ds")
	s.stripe.Do(b.intent, func(i *testbed.Intent) { i.Status = "processing" })
	s.wantHeard(s.stripe.Event("payment_intent.processing", b.intent))
	e := b.edit(adding(s.mug, 1))
	s.stripe.Do(b.intent, func(i *testbed.Intent) { i.Status = "requires_capture" })
	s.wantHeard(s.stripe.Event("payment_intent.amount_capturable_updated", b.intent))
	if o := b.order(); o.State != openapi.OrderStatePending || o.Due.Amount != "5.10" {
		t.Errorf("paid in part the order is %s with %s due", o.State, o.Due.Amount)
	}
	if e := b.edit(setting(e.Order.Lines[1], 0)); e.Order.State != openapi.OrderStateConfirmed || e.Order.Due.Amount != "0.00" {
		t.Errorf("edited it is %+v", e.Order)
	}
	s.wantAlike()
}

// TestManyWhoPayAtOncePayOnce has several pay what is due, on two replicas.
func TestManyWhoPayAtOncePayOnce(t *testing.T) {
	t.Parallel()
	s := newStriped(t)
	b := s.buy("pm_card")
	b.edit(adding(s.mug, 1))
	stores := []*store{s.store, s.replica(t)}
	codes := concurrently(8, func(i int) int {
		mine := b
		mine.store = stores[i%2]
		headers := []string{}
		if i < 4 { // the same request
			headers = []string{"Idempotency-Key", "k"}
		}
		w := mine.guest.do("POST", b.path+"/payments", paying("stripe", "pm_card"), headers...)
		return w.Code
	})
	if codes[http.StatusCreated] < 1 || codes[http.StatusCreated]+codes[http.StatusConflict] != 8 {
		t.Errorf("answers %v", codes)
	}
	live := 0
	for _, i := range s.stripe.Intents() {
		if i.Status == "requires_capture" {
			live++
		}
	}
	if n := len(b.order().Payments); n != 2 || live != 2 {
		t.Errorf("the order has %d payments, and Stripe %d", n, live)
	}
	s.wantAlike()
}

func TestAPaymentWhoseOrderChangedMeanwhileIsGivenUp(t *testing.T) {
	t.Parallel()
	s := newStriped(t)
	elsewhere := s.replica(t)
	for quantity, code := range map[int64]string{1: "due_changed", 0: "nothing_due"} {
		b := s.buy("pm_card")
		l := b.edit(adding(s.mug, 3)).Order.Lines[1]
		s.statements.meanwhile("LockOrder", func() {
			want[openapi.OrderEdit](t, elsewhere.asAdmin("POST", b.path+"/edits", setting(l, quantity)), http.StatusCreated)
		})
		wantProblem(t, b.payDue(paying("stripe", "pm_card")), http.StatusConflict, code)
		if all := s.stripe.Intents(); all[len(all)-1].Status != "canceled" {
			t.Errorf("the intent is %+v", all[len(all)-1])
		}
	}
	// What is due by then is more: the payment is a part of it.
	b := s.buy("pm_card")
	l := b.edit(adding(s.mug, 1)).Order.Lines[1]
	s.statements.meanwhile("LockOrder", func() {
		want[openapi.OrderEdit](t, elsewhere.asAdmin("POST", b.path+"/edits", setting(l, 2)), http.StatusCreated)
	})
	if o := want[openapi.Order](t, b.payDue(paying("stripe", "pm_card")), http.StatusCreated); o.Due.Amount != "5.10" {
		t.Errorf("%s are due", o.Due.Amount)
	}
	// A process that slept too long finds that its payment is no more.
	other := s.buy("pm_card")
	other.edit(adding(s.mug, 1))
	s.statements.meanwhile("InsertPayments", func() {
		s.exec(`UPDATE payment_attempts SET given_up = true`)
	})
	if w := other.payDue(paying("stripe", "pm_card")); w.Code < 500 || len(other.order().Payments) != 1 {
		t.Errorf("it is answered %d %s", w.Code, w.Body)
	}
	if all := s.stripe.Intents(); all[len(all)-1].Status != "canceled" {
		t.Errorf("the intent is %+v", all[len(all)-1])
	}
	s.wantAlike()
}

// TestWhatAnEditGivesBackIsGivenBackOnceWhateverDies has Stripe be away, answer
// nothing, and refuse.
func TestWhatAnEditGivesBackIsGivenBackOnceWhateverDies(t *testing.T) {
	t.Parallel()
	s := newStriped(t)
	captured := func() (bought, openapi.OrderLine) {
		b := s.buy("pm_card")
		l := b.edit(adding(s.mug, 1)).Order.Lines[1]
		want[openapi.Order](t, b.payDue(paying("stripe", "pm_card")), http.StatusCreated)
		for _, p := range b.order().Payments {
			admin[openapi.PaymentOperation](s.store, "POST", "/payments/"+p.Id.String()+"/capture", `{}`, http.StatusCreated)
		}
		b.wantMoney("15.10", "15.10", "0.00", "0.00")
		return b, l
	}
	for _, fate := range []testbed.Fate{{Status: 503}, {DropAfter: true}} {
		b, l := captured()
		s.stripe.Judge(func(r *http.Request, _ int) testbed.Fate {
			if r.Method == http.MethodPost {
				return fate
			}
			return testbed.Fate{}
		})
		first := s.asAdmin("POST", b.path+"/edits", setting(l, 0), "Idempotency-Key", b.path)
		again := s.asAdmin("POST", b.path+"/edits", setting(l, 0), "Idempotency-Key", b.path)
		if e := want[openapi.OrderEdit](t, first, http.StatusCreated); e.GivenBack.Amount != "5.10" || e.Order.Refunded.Amount != "0.00" || first.Body.String() != again.Body.String() {
			t.Errorf("it is answered %s, and again %s", first.Body, again.Body)
		}
		s.stripe.Judge(nil)
		s.askAgain()
		s.askAgain()
		b.wantMoney("10.00", "15.10", "5.10", "0.00")
	}
	if n := len(s.stripe.Refunds()); n != 2 {
		t.Errorf("%d refunds were made", n)
	}
	// What is refused is for people, and what they give back then counts for it.
	b, l := captured()
	second := b.order().Payments[1].Id.String()
	s.stripe.Do(s.stripe.Intents()[len(s.stripe.Intents())-1].ID, func(i *testbed.Intent) { i.FailsRefunds = true })
	b.edit(setting(l, 0))
	b.wantMoney("10.00", "15.10", "0.00", "0.00")
	s.stripe.Do(s.stripe.Intents()[len(s.stripe.Intents())-1].ID, func(i *testbed.Intent) { i.FailsRefunds = false })
	admin[openapi.PaymentOperation](s.store, "POST", "/payments/"+second+"/refunds", `{"amount":"5.10"}`, http.StatusCreated)
	b.wantMoney("10.00", "15.10", "5.10", "0.00")
	b.edit(adding(s.mug, 1))
	b.wantMoney("15.10", "15.10", "5.10", "5.10")
	s.wantAlike()
}

// TestAnEditAddsUpWhateverTheDiscountsAndTaxes edits orders at random, bought
// with promotions, with tax in the price and beside it, and of the version
// before.
func TestAnEditAddsUpWhateverTheDiscountsAndTaxes(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	method := s.shipping()
	zone := admin[openapi.ZoneList](s, "GET", "/zones", "", http.StatusOK).Zones[0]
	admin[openapi.TaxRate](s, "POST", "/tax-rates", openapi.TaxRateInput{Name: "City", ZoneId: zone.Id, Percent: "0.875"}, http.StatusCreated)
	admin[openapi.Promotion](s, "POST", "/promotions", `{"title":"Third","code":"THIRD","kind":"percentage","percent":"33.33","combinable":true}`, http.StatusCreated)
	admin[openapi.Promotion](s, "POST", "/promotions", `{"title":"Free","code":"FREE","kind":"free_shipping","combinable":true}`, http.StatusCreated)
	var kinds []openapi.Variant
	for i, price := range []string{"0.07", "3.33", "19.99"} {
		kinds = append(kinds, s.stocked(fmt.Sprint("KIND", i), price, 100_000))
	}
	inclusive := false
	rapid.Check(t, func(rt *rapid.T) {
		if inclusive != rapid.Bool().Draw(rt, "with tax in the price") {
			inclusive = !inclusive
			settings := admin[openapi.Settings](s, "GET", "/settings", "", http.StatusOK)
			settings.PricesIncludeTax = inclusive
			admin[openapi.Settings](s, "PUT", "/settings", settings, http.StatusOK)
		}
		var lines []openapi.CartLineInput
		for _, v := range kinds {
			lines = append(lines, line(v, rapid.Int64Range(1, 7).Draw(rt, "quantity")))
		}
		g := s.cartOf(method, lines...)
		for _, code := range []string{"THIRD", "FREE"} {
			if rapid.Bool().Draw(rt, code) {
				g.do("POST", g.path()+"/coupons", fmt.Sprintf(`{"code":%q}`, code))
			}
		}
		o := expect[openapi.Order](rt, g.order(), http.StatusCreated)
		shipping := o.Totals.Shipping
		if rapid.Bool().Draw(rt, "of the version before") {
			s.exec(`UPDATE order_lines SET rates = NULL WHERE order_id = '` + o.Id.String() + `'`)
		}
		for range rapid.IntRange(1, 4).Draw(rt, "edits") {
			var in openapi.OrderEditInput
			for _, l := range o.Lines {
				if rapid.Bool().Draw(rt, "change") {
					in.SetQuantities = new(append(*orNone(in.SetQuantities), openapi.OrderLineQuantity{LineId: l.Id, Quantity: rapid.Int64Range(0, 9).Draw(rt, "quantity")}))
				}
			}
			if in.SetQuantities == nil || rapid.Bool().Draw(rt, "add") {
				v := rapid.SampledFrom(kinds).Draw(rt, "kind")
				in.Add = &[]openapi.OrderLineInput{{VariantId: v.Id, Quantity: rapid.Int64Range(1, 9).Draw(rt, "quantity")}}
			}
			preview := s.asAdmin("POST", "/orders/"+o.Id.String()+"/edits?preview=true", encode(t, in))
			w := s.asAdmin("POST", "/orders/"+o.Id.String()+"/edits", encode(t, in))
			if w.Code == http.StatusConflict && strings.Contains(w.Body.String(), "order_empty") {
				continue
			}
			e := expect[openapi.OrderEdit](rt, w, http.StatusCreated)
			tried := expect[openapi.OrderEdit](rt, preview, http.StatusOK)
			if encode(t, tried.Order.Totals) != encode(t, e.Order.Totals) || tried.Order.Due != e.Order.Due {
				rt.Fatalf("a preview says %+v of %+v", tried, e)
			}
			for _, l := range e.Order.Lines { // what is not touched is as it was
				for _, was := range o.Lines {
					if l.Id == was.Id && l.Quantity == was.Quantity && encode(t, l) != encode(t, was) {
						rt.Fatalf("line %+v was %+v", l, was)
					}
				}
			}
			o = e.Order
			wantSum(rt, o)
			if o.Totals.Shipping != shipping {
				rt.Fatalf("shipping is %s and was %s", o.Totals.Shipping, shipping)
			}
		}
	})
	s.wantAddedUp()
}

func orNone[T any](p *[]T) *[]T {
	if p == nil {
		return &[]T{}
	}
	return p
}

// TestWhateverHappensAtOnceToAnOrderItsMoneyAndStockAreRight has people edit,
// pay, refund, capture, ship and cancel an order at once, over two replicas and
// with a provider whose answers get lost.
func TestWhateverHappensAtOnceToAnOrderItsMoneyAndStockAreRight(t *testing.T) {
	t.Parallel()
	s := newStriped(t)
	other := s.replica(t)
	few := s.stocked("FEW", "7.00", 12)
	rapid.Check(t, func(rt *rapid.T) {
		b := s.buy(rapid.SampledFrom([]string{"pm_card", "pm_card", "pm_3ds"}).Draw(rt, "token"))
		first := b.order().Lines[0]
		var all []func()
		add := func(method, path, body string, headers ...string) {
			on := rapid.SampledFrom([]*store{s.store, other}).Draw(rt, "replica")
			all = append(all, func() {
				if w := on.do(method, path, body, headers...); w.Code >= 500 && w.Code != http.StatusServiceUnavailable {
					t.Errorf("%s %s %s is answered %d %s", method, path, body, w.Code, w.Body)
				}
			})
		}
		staff := []string{"Authorization", "Bearer " + adminKey}
		for range rapid.IntRange(2, 7).Draw(rt, "acts") {
			switch rapid.SampledFrom([]string{"add", "add", "set", "set", "pay", "pay", "capture", "refund", "cancel", "move"}).Draw(rt, "act") {
			case "add":
				v := rapid.SampledFrom([]openapi.Variant{s.mug, few}).Draw(rt, "variant")
				add("POST", b.path+"/edits", adding(v, rapid.Int64Range(1, 5).Draw(rt, "quantity")), staff...)
			case "set":
				add("POST", b.path+"/edits", setting(first, rapid.Int64Range(0, 4).Draw(rt, "quantity")), staff...)
			case "pay":
				provider := rapid.SampledFrom([]string{"stripe", "stripe", "manual"}).Draw(rt, "provider")
				body := `{"provider":"manual"}`
				if provider == "stripe" {
					body = paying("stripe", "pm_card")
				}
				as := rapid.SampledFrom([][]string{{"X-Cart-Token", b.token}, staff}).Draw(rt, "payer")
				add("POST", b.path+"/payments", body, append(slices.Clone(as), "Idempotency-Key", rapid.SampledFrom([]string{"a", "b"}).Draw(rt, "key")+b.id+provider)...)
			case "capture":
				add("POST", "/payments/"+b.id+"/capture", `{}`, staff...)
			case "refund":
				add("POST", "/payments/"+b.id+"/refunds", `{"amount":"1.00"}`, staff...)
			case "cancel":
				add("POST", b.path+"/cancel", `{}`, staff...)
			case "move":
				add("POST", b.path+"/transitions", `{"to":"processing"}`, staff...)
			}
		}
		if rapid.Bool().Draw(rt, "answers get lost") {
			s.stripe.Judge(func(r *http.Request, n int) testbed.Fate {
				return testbed.Fate{DropAfter: n%3 == 1 && r.Method == http.MethodPost}
			})
		}
		together(all...)
		s.stripe.Judge(nil)
		s.askAgain()
		s.askAgain() // what followed
		s.clock.forward(11 * time.Minute)
		if _, err := s.Payments.ExpireAttempts(context.WithoutCancel(t.Context())); err != nil {
			rt.Fatal(err)
		}
		o := b.order()
		wantSum(rt, o)
		s.wantOneDebt(rt, o)
		if l := s.level("FEW"); l.Available < 0 {
			rt.Fatalf("level %+v", l)
		}
		s.wantReserved(rt, o)
		if o.State != openapi.OrderStateCancelled {
			w := s.asAdmin("POST", b.path+"/cancel", `{}`) // so that the next finds stock
			expect[openapi.Order](rt, w, http.StatusOK)
		}
		s.wantAlike()
		if t.Failed() {
			rt.Fatal("it is not right")
		}
	})
}

// wantOneDebt fails unless an order's live payments bring no more than it comes
// to, beyond what is only set aside, and what is due is the rest.
func (s *striped) wantOneDebt(t *rapid.T, o openapi.Order) {
	minor := func(m openapi.Money) int64 {
		a, err := money.Parse(m.Amount, m.Currency)
		if err != nil {
			t.Fatal(err)
		}
		return a.Minor
	}
	total, err := money.Parse(o.Totals.Total, o.Totals.Currency)
	if err != nil {
		t.Fatal(err)
	}
	if o.State == openapi.OrderStateCancelled {
		if o.Due.Amount != "0.00" || minor(o.Paid) != minor(o.Refunded) {
			t.Fatalf("cancelled it has %s due, %s paid and %s refunded", o.Due.Amount, o.Paid.Amount, o.Refunded.Amount)
		}
		return
	}
	var rows []struct {
		State                               string
		Amount, Captured, Refunded, Surplus int64
	}
	var raw string
	s.scan(`SELECT coalesce(json_agg(p), '[]')::text FROM payments p WHERE order_id = '`+o.Id.String()+`'`, &raw)
	if err := json.Unmarshal([]byte(raw), &rows); err != nil {
		t.Fatal(err)
	}
	var taken, aside, net int64
	for _, p := range rows {
		switch p.State {
		case "captured", "refunded":
			taken += p.Amount - p.Surplus
			net += p.Captured - p.Refunded
		case "authorized", "pending":
			aside += p.Amount
		}
	}
	if net > total.Minor || minor(o.Due) != max(0, total.Minor-taken-aside) {
		t.Fatalf("of %s are due %s, with %d taken, %d of it kept, and %d set aside: %s", o.Totals.Total, o.Due.Amount, taken, net, aside, raw)
	}
}

// wantReserved fails unless an order holds what it has lines of.
func (s *striped) wantReserved(t *rapid.T, o openapi.Order) {
	wanted := map[uuid.UUID]int64{}
	if o.State != openapi.OrderStateCancelled {
		for _, l := range o.Lines {
			wanted[l.VariantId] += l.Quantity
		}
	}
	var raw string
	s.scan(`SELECT coalesce(json_object_agg(variant_id, q), '{}')::text FROM (SELECT variant_id, sum(quantity) q FROM stock_reservations WHERE owner_id = '`+o.Id.String()+`' GROUP BY 1) r`, &raw)
	held := map[uuid.UUID]int64{}
	if err := json.Unmarshal([]byte(raw), &held); err != nil {
		t.Fatal(err)
	}
	if fmt.Sprint(held) != fmt.Sprint(wanted) {
		t.Fatalf("the order holds %v of %v", held, wanted)
	}
}

func TestManyWhoEditAtOnceNeverSellMoreThanThereIs(t *testing.T) {
	t.Parallel()
	s := newStriped(t)
	few := s.stocked("FEW", "1.00", 10)
	stores := []*store{s.store, s.replica(t)}
	orders := []bought{s.buy("pm_card"), s.buy("pm_card"), s.buy("pm_card")}
	codes := concurrently(24, func(i int) int {
		return stores[i%2].asAdmin("POST", orders[i%3].path+"/edits", adding(few, 1)).Code
	})
	if codes[http.StatusCreated] != 10 || codes[http.StatusConflict] != 14 {
		t.Errorf("answers %v", codes)
	}
	if l := s.level("FEW"); l.Available != 0 || l.Reserved != 10 {
		t.Errorf("level %+v", l)
	}
	s.wantAddedUp()
}

// TestAnEditOfABundleMovesItsParts also over several places, and leaves what is
// packed at one.
func TestAnEditOfABundleMovesItsPartsAndLeavesWhatIsPacked(t *testing.T) {
	t.Parallel()
	s := newStriped(t)
	cup := s.stocked("CUP", "1.00", 2)
	place := admin[openapi.Location](s.store, "POST", "/locations", `{"name":"Cellar","priority":5}`, http.StatusCreated)
	admin[openapi.LevelList](s.store, "POST", "/inventory/adjustments", fmt.Sprintf(`{"reason":"delivery","changes":[{"sku":"CUP","locationId":%q,"quantity":10}]}`, place.Id), http.StatusCreated)
	set := admin[openapi.Product](s.store, "POST", "/products", fmt.Sprintf(`{"title":"Set","type":"bundle","status":"active","variants":[{"sku":"SET","prices":[{"amount":"5.00","currency":"EUR"}]}],"bundle":[{"variantId":%q,"quantity":2}]}`, cup.Id), http.StatusCreated).Variants[0]
	b := s.buy("pm_card")
	l := b.edit(adding(set, 1)).Order.Lines[1] // two cups at the first place
	b.edit(setting(l, 3))                      // and four in the cellar
	at := func() (first, cellar int) {
		s.scan(`SELECT coalesce(sum(quantity) FILTER (WHERE location_id <> '`+place.Id.String()+`'), 0), coalesce(sum(quantity) FILTER (WHERE location_id = '`+place.Id.String()+`'), 0)
			FROM stock_reservations r WHERE variant_id = '`+cup.Id.String()+`'`, &first, &cellar)
		return first, cellar
	}
	if first, cellar := at(); first != 2 || cellar != 4 {
		t.Errorf("held are %d and %d", first, cellar)
	}
	// One set is in a package in the cellar.
	b.move("processing")
	admin[openapi.Fulfillment](s.store, "POST", b.path+"/fulfillments", fmt.Sprintf(`{"locationId":%q,"lines":[{"lineId":%q,"quantity":1}]}`, place.Id, l.Id), http.StatusCreated)
	b.edit(setting(l, 1))
	if first, cellar := at(); first != 0 || cellar != 2 {
		t.Errorf("held are %d and %d", first, cellar)
	}
	wantProblem(t, s.asAdmin("POST", b.path+"/edits", setting(l, 0)), http.StatusConflict, "quantity_too_low")
	if l := s.level("CUP"); l.Reserved != 2 {
		t.Errorf("cups %+v", l)
	}
	s.wantAddedUp()
}

// TestAnOrderOfWhichTheRestIsEditedOutIsShipped also pays nothing for what is
// edited out, although all of it was captured with the first package.
func TestAnOrderOfWhichTheRestIsEditedOutIsShipped(t *testing.T) {
	t.Parallel()
	s := newStriped(t)
	b := s.buy("pm_card")
	l := b.edit(adding(s.mug, 2)).Order.Lines[1]
	want[openapi.Order](t, b.payDue(paying("stripe", "pm_card")), http.StatusCreated)
	b.move("processing")
	admin[openapi.Fulfillment](s.store, "POST", b.path+"/fulfillments", fmt.Sprintf(`{"shipped":true,"lines":[{"lineId":%q,"quantity":1},{"lineId":%q,"quantity":1}]}`, b.order().Lines[0].Id, l.Id), http.StatusCreated)
	b.wantMoney("20.20", "20.20", "0.00", "0.00")
	if o := b.order(); o.State != openapi.OrderStateProcessing {
		t.Errorf("shipped in part it is %s", o.State)
	}
	e := b.edit(setting(l, 1))
	if e.Order.State != openapi.OrderStateShipped || e.GivenBack.Amount != "5.10" {
		t.Errorf("edited it is %+v", e)
	}
	b.wantMoney("15.10", "20.20", "5.10", "0.00")
	if l := s.level("MUG"); l.OnHand != 98 || l.Reserved != 0 {
		t.Errorf("level %+v", l)
	}
	s.wantAlike()
}

func TestStaffQuoteAnOrderWithoutACart(t *testing.T) {
	t.Parallel()
	s := newStriped(t)
	cup := s.stocked("CUP", "1.00", 2)
	o := &order.Order{Currency: "EUR", Details: order.Details{ShippingAddress: &berlin}}
	demands, err := s.Orders.Quote(t.Context(), o, []order.Wanted{{VariantID: s.mug.Id, Quantity: 2}, {VariantID: cup.Id, Quantity: 1, UnitPrice: new(int64(0))}})
	if err != nil || len(demands) != 2 || demands[0].Quantity != 2 || demands[0].SKU != "MUG" {
		t.Fatalf("%v, %+v", err, demands)
	}
	wantSum(t, o.Public())
	if o.Total != 1020 || o.Tax != 163 || len(o.Lines) != 2 || o.Lines[1].UnitPrice != 0 || !o.Details.PricesIncludeTax {
		t.Errorf("order %+v", o)
	}
	if _, err := s.Orders.Quote(t.Context(), &order.Order{Currency: "EUR"}, []order.Wanted{{VariantID: cup.Id, Quantity: 1}}); err == nil || !strings.Contains(err.Error(), "no shipping address") {
		t.Errorf("without an address it is %v", err)
	}
}
