package api_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/uuid"
	"pgregory.net/rapid"

	"gitee.com/captainjez/gocart/runtime/internal/optional"
	"gitee.com/captainjez/gocart/runtime/internal/testbed"
	"gitee.com/captainjez/gocart/runtime/openapi"
)

// parcels is a store with an order that is to be sent.
type parcels struct {
	*store
	method openapi.ShippingMethod
	guest  guest
	path   string
}

// ordered places an order of some lines, paid by the test provider.
func (s *store) ordered(method openapi.ShippingMethod, lines ...openapi.CartLineInput) parcels {
	s.t.Helper()
	g := s.cartOf(method, lines...)
	o := want[openapi.Order](s.t, g.order(), http.StatusCreated)
	return parcels{store: s, method: method, guest: g, path: "/orders/" + o.Id.String()}
}

func (p parcels) order() openapi.Order {
	p.t.Helper()
	return admin[openapi.Order](p.store, "GET", p.path, "", http.StatusOK)
}

// part names so much of the order's lines, in their order; zero leaves one out.
func (p parcels) part(quantities ...int64) []openapi.FulfillmentLine {
	p.t.Helper()
	var lines []openapi.FulfillmentLine
	for i, l := range p.order().Lines {
		if quantities[i] > 0 {
			lines = append(lines, openapi.FulfillmentLine{LineId: l.Id, Quantity: quantities[i]})
		}
	}
	return lines
}

// pack makes a fulfilment of a part of the order.
func (p parcels) pack(in openapi.FulfillmentInput) openapi.Fulfillment {
	p.t.Helper()
	return admin[openapi.Fulfillment](p.store, "POST", p.path+"/fulfillments", in, http.StatusCreated)
}

// do does something to a fulfilment or a return.
func (p parcels) act(kind string, id uuid.UUID, what, body string) *httptest.ResponseRecorder {
	return p.asAdmin("POST", "/"+kind+"/"+id.String()+"/"+what, body)
}

// wantLine fails the test unless so much of a line is to be packed, shipped,
// delivered, returned and refunded.
func (p parcels) wantLine(i int, counts ...int64) {
	p.t.Helper()
	l := p.order().Lines[i]
	if got := []int64{l.FulfillableQuantity, l.ShippedQuantity, l.DeliveredQuantity, l.ReturnedQuantity, l.RefundedQuantity}; !slices.Equal(got, counts) {
		p.t.Errorf("of %s are left, shipped, delivered, returned, refunded %v, want %v", l.Sku, got, counts)
	}
}

func (p parcels) wantState(state openapi.OrderState) {
	p.t.Helper()
	if o := p.order(); o.State != state {
		p.t.Errorf("the order is %s, want %s", o.State, state)
	}
}

// wantLevel fails the test unless so much of a SKU is there and reserved.
func (s *store) wantLevel(sku string, onHand, reserved int64) {
	s.t.Helper()
	if l := s.level(sku); l.OnHand != onHand || l.Reserved != reserved {
		s.t.Errorf("of %s there are %d with %d reserved, want %d with %d", sku, l.OnHand, l.Reserved, onHand, reserved)
	}
}

// location makes a further place with so many of a SKU.
func (s *store) location(name, sku string, quantity int64) uuid.UUID {
	s.t.Helper()
	at := admin[openapi.Location](s, "POST", "/locations", openapi.LocationInput{Name: name, Priority: new(10)}, http.StatusCreated)
	admin[openapi.LevelList](s, "POST", "/inventory/adjustments", openapi.AdjustmentInput{
		Reason: openapi.AdjustmentInputReasonCount, Changes: []openapi.StockChange{{Sku: sku, LocationId: at.Id, Quantity: quantity}},
	}, http.StatusCreated)
	return at.Id
}

func TestAnOrderGoesOutInPackagesThatDriveItsState(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	p := s.ordered(s.shipping(), line(s.stocked("MUG", "10.00", 5), 3), line(s.stocked("CUP", "5.00", 5), 2))
	first := p.pack(openapi.FulfillmentInput{Lines: new(p.part(2, 0))})
	if first.State != openapi.FulfillmentStatePending || len(first.Lines) != 1 || first.Tracking == nil {
		t.Errorf("packed %+v", first)
	}
	p.wantState(openapi.OrderStateProcessing)
	p.wantLine(0, 1, 0, 0, 0, 0)
	s.wantLevel("MUG", 5, 3)
	dhl := `{"tracking":[{"carrier":"DHL","number":"0034","url":"https://dhl.example/0034"},{"number":"0035"}]}`
	first = want[openapi.Fulfillment](t, p.act("fulfillments", first.Id, "ship", dhl), http.StatusOK)
	if first.State != openapi.FulfillmentStateShipped || len(first.Tracking) != 2 || first.ShippedAt == nil {
		t.Errorf("shipped %+v", first)
	}
	p.wantState(openapi.OrderStateProcessing)
	p.wantLine(0, 1, 2, 0, 0, 0)
	s.wantLevel("MUG", 3, 1)
	s.wantLevel("CUP", 5, 2)
	if paid := p.order().Payments[0]; paid.State != openapi.PaymentStateCaptured {
		t.Errorf("after the first package the payment is %s", paid.State)
	}
	second := p.pack(openapi.FulfillmentInput{Shipped: new(true), Tracking: new([]openapi.Tracking{{Number: "0036"}})})
	if second.State != openapi.FulfillmentStateShipped || len(second.Lines) != 2 {
		t.Errorf("the rest is %+v", second)
	}
	p.wantState(openapi.OrderStateShipped)
	s.wantLevel("MUG", 2, 0)
	s.wantLevel("CUP", 3, 0)
	want[openapi.Fulfillment](t, p.act("fulfillments", first.Id, "deliver", ""), http.StatusOK)
	p.wantState(openapi.OrderStateShipped)
	want[openapi.Fulfillment](t, p.act("fulfillments", second.Id, "deliver", ""), http.StatusOK)
	p.wantState(openapi.OrderStateDelivered)
	p.wantLine(0, 0, 3, 3, 0, 0)
	seen := want[openapi.FulfillmentList](t, p.guest.do("GET", p.path+"/fulfillments", ""), http.StatusOK)
	if len(seen.Fulfillments) != 2 || *seen.Fulfillments[0].Tracking[0].Carrier != "DHL" {
		t.Errorf("the buyer sees %+v", seen)
	}
	wantProblem(t, p.asAdmin("POST", p.path+"/fulfillments", `{}`), http.StatusConflict, "order_not_fulfillable")
	wantProblem(t, p.act("fulfillments", first.Id, "cancel", `{}`), http.StatusConflict, "fulfillment_state")
	s.wantAddedUp()
}

func TestAPackageThatIsCancelledPutsItsStockBackAndCanBePackedAnew(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	p := s.ordered(s.shipping(), line(s.stocked("MUG", "10.00", 5), 3))
	f := p.pack(openapi.FulfillmentInput{Shipped: new(true)})
	p.wantState(openapi.OrderStateShipped)
	s.wantLevel("MUG", 2, 0)
	for range 2 { // again, it is cancelled still
		want[openapi.Fulfillment](t, p.act("fulfillments", f.Id, "cancel", `{"reason":"lost its label"}`), http.StatusOK)
		p.wantState(openapi.OrderStateProcessing)
		p.wantLine(0, 3, 0, 0, 0, 0)
		s.wantLevel("MUG", 5, 3)
	}
	wantProblem(t, p.act("fulfillments", f.Id, "ship", `{}`), http.StatusConflict, "fulfillment_state")
	p.pack(openapi.FulfillmentInput{})
	wantProblem(t, p.asAdmin("POST", p.path+"/fulfillments", `{}`), http.StatusConflict, "nothing_to_fulfill")
	if o := admin[openapi.Order](s, "POST", p.path+"/cancel", `{}`, http.StatusOK); o.State != openapi.OrderStateCancelled || o.Lines[0].FulfillableQuantity != 3 {
		t.Errorf("cancelled %+v", o)
	}
	s.wantLevel("MUG", 5, 0)
	s.wantAddedUp()
}

func TestAnOrderOfWhichAPartWasShippedIsNotCancelled(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	p := s.ordered(s.shipping(), line(s.stocked("MUG", "10.00", 5), 3))
	f := p.pack(openapi.FulfillmentInput{Lines: new(p.part(1)), Shipped: new(true)})
	wantProblem(t, s.asAdmin("POST", p.path+"/cancel", `{}`), http.StatusConflict, "order_partly_shipped")
	admin[openapi.Order](s, "POST", p.path+"/transitions", `{"to":"on_hold"}`, http.StatusOK)
	wantProblem(t, s.asAdmin("POST", p.path+"/fulfillments", `{}`), http.StatusConflict, "order_not_fulfillable")
	want[openapi.Fulfillment](t, p.act("fulfillments", f.Id, "deliver", ""), http.StatusOK)
	wantProblem(t, s.asAdmin("POST", p.path+"/transitions", `{"to":"cancelled"}`), http.StatusConflict, "order_partly_shipped")
	s.wantAddedUp()
}

func TestWhatIsPackedComesFromOneLocation(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	mug, cup := s.stocked("MUG", "10.00", 3), s.stocked("CUP", "5.00", 0)
	cellar := s.location("Cellar", "CUP", 4)
	main := admin[openapi.LocationList](s, "GET", "/locations", "", http.StatusOK).Locations[0].Id
	p := s.ordered(s.shipping(), line(mug, 2), line(cup, 3))
	refusal := wantProblem(t, s.asAdmin("POST", p.path+"/fulfillments", `{}`), http.StatusConflict, "several_locations")
	if !strings.Contains(*refusal.Detail, main.String()) || !strings.Contains(*refusal.Detail, cellar.String()) {
		t.Errorf("%s does not name %s and %s", *refusal.Detail, main, cellar)
	}
	if f := p.pack(openapi.FulfillmentInput{Lines: new(p.part(0, 2))}); *f.LocationId != cellar {
		t.Errorf("cups are packed at %s, and are at %s", *f.LocationId, cellar)
	}
	// There are mugs at the first location alone, so none of them is gathered elsewhere.
	wantProblem(t, s.asAdmin("POST", p.path+"/fulfillments", encode(t, openapi.FulfillmentInput{LocationId: &cellar, Lines: new(p.part(1, 0))})), http.StatusConflict, "out_of_stock")
	admin[openapi.LevelList](s, "POST", "/inventory/adjustments", openapi.AdjustmentInput{
		Reason: openapi.AdjustmentInputReasonDelivery, Changes: []openapi.StockChange{{Sku: "MUG", LocationId: cellar, Quantity: 1}},
	}, http.StatusCreated)
	f := p.pack(openapi.FulfillmentInput{LocationId: &cellar, Lines: new(p.part(1, 1)), Shipped: new(true)})
	if *f.LocationId != cellar {
		t.Errorf("packed at %s", *f.LocationId)
	}
	levels := admin[openapi.InventoryPage](s, "GET", "/inventory?locationId="+cellar.String(), "", http.StatusOK).Levels
	for _, l := range levels {
		if want := map[string][2]int64{"MUG": {0, 0}, "CUP": {3, 2}}[l.Sku]; l.OnHand != want[0] || l.Reserved != want[1] {
			t.Errorf("the cellar has %+v, want %v", l, want)
		}
	}
	wantProblem(t, s.asAdmin("POST", p.path+"/fulfillments", fmt.Sprintf(`{"locationId":%q}`, uuid.Must(uuid.NewV7()))), http.StatusBadRequest, "location_not_found")
	if o := admin[openapi.Order](s, "POST", p.path+"/transitions", `{"to":"shipped"}`, http.StatusOK); o.Lines[0].ShippedQuantity != 2 {
		t.Errorf("shipped %+v", o.Lines)
	}
	s.wantLevel("MUG", 2, 0)
	s.wantLevel("CUP", 1, 0)
	s.wantAddedUp()
}

func TestABundleGoesOutAndComesBackAsWhatItIsMadeOf(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	cup := s.stocked("CUP", "5.00", 10)
	pair := admin[openapi.Product](s, "POST", "/products", fmt.Sprintf(`{"title":"Pair","status":"active","type":"bundle","bundle":[{"variantId":%q,"quantity":2}],
		"variants":[{"sku":"PAIR","prices":[{"amount":"9.00","currency":"EUR"}]}]}`, cup.Id), http.StatusCreated).Variants[0]
	p := s.ordered(s.shipping(), line(pair, 2), line(cup, 1))
	p.pack(openapi.FulfillmentInput{Lines: new(p.part(1, 1)), Shipped: new(true)})
	s.wantLevel("CUP", 7, 2)
	p.pack(openapi.FulfillmentInput{Shipped: new(true)})
	s.wantLevel("CUP", 5, 0)
	r := admin[openapi.Return](s, "POST", p.path+"/returns", openapi.ReturnInput{Lines: p.back(2, 0)}, http.StatusCreated)
	want[openapi.Return](t, p.act("returns", r.Id, "approve", `{}`), http.StatusOK)
	want[openapi.Return](t, p.act("returns", r.Id, "receive", fmt.Sprintf(`{"lines":[{"lineId":%q,"restock":1,"writeOff":1}]}`, r.Lines[0].LineId)), http.StatusOK)
	s.wantLevel("CUP", 7, 0)
	p.wantLine(0, 0, 2, 0, 2, 0)
	s.wantAddedUp()
}

func TestOfAnOrderNoMoreIsPackedThanWasBoughtHoweverManyPackAtOnce(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	p := s.ordered(s.shipping(), line(s.stocked("MUG", "10.00", 20), 10))
	body := encode(t, openapi.FulfillmentInput{Lines: new(p.part(3)), Shipped: new(true)})
	answers := make([]*httptest.ResponseRecorder, 8)
	var all []func()
	for i := range answers {
		all = append(all, func() { answers[i] = s.asAdmin("POST", p.path+"/fulfillments", body) })
	}
	together(all...)
	made := 0
	for _, w := range answers {
		if w.Code == http.StatusCreated {
			made++
			continue
		}
		wantProblem(t, w, http.StatusConflict, "fulfillment_exceeds_order")
	}
	if made != 3 {
		t.Errorf("%d packages of 3 were made of 10", made)
	}
	p.wantLine(0, 1, 9, 0, 0, 0)
	s.wantLevel("MUG", 11, 1)
	s.wantAddedUp()
}

// back names so much of the order's lines that comes back.
func (p parcels) back(quantities ...int64) (lines []openapi.ReturnLineInput) {
	p.t.Helper()
	for _, l := range p.part(quantities...) {
		lines = append(lines, openapi.ReturnLineInput{LineId: l.LineId, Quantity: l.Quantity, Reason: new(openapi.ReturnReasonDamaged)})
	}
	return lines
}

func TestAReturnIsRequestedApprovedReceivedAndRefunded(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	p := s.ordered(s.shipping(), line(s.stocked("MUG", "10.00", 10), 4))
	ask := encode(t, openapi.ReturnInput{Lines: p.back(3), Note: new("All broken.")})
	wantProblem(t, p.guest.do("POST", p.path+"/returns", ask), http.StatusConflict, "return_exceeds_shipped")
	p.pack(openapi.FulfillmentInput{Shipped: new(true)})
	r := want[openapi.Return](t, p.guest.do("POST", p.path+"/returns", ask), http.StatusCreated)
	wantProblem(t, p.guest.do("POST", p.path+"/returns", encode(t, openapi.ReturnInput{Lines: p.back(2)})), http.StatusConflict, "return_exceeds_shipped")
	wantProblem(t, p.act("returns", r.Id, "receive", `{}`), http.StatusConflict, "return_state")
	if open := admin[openapi.ReturnPage](s, "GET", "/returns?state=requested", "", http.StatusOK); len(open.Returns) != 1 || *open.Returns[0].Note != "All broken." {
		t.Errorf("staff see %+v", open)
	}
	want[openapi.Return](t, p.act("returns", r.Id, "approve", `{"text":"To the shop, please."}`), http.StatusOK)
	wantProblem(t, p.act("returns", r.Id, "reject", `{}`), http.StatusConflict, "return_state")
	body := fmt.Sprintf(`{"lines":[{"lineId":%q,"restock":1,"writeOff":1}],"refund":true}`, r.Lines[0].LineId)
	wantProblem(t, p.act("returns", r.Id, "receive", strings.Replace(body, `"writeOff":1`, `"writeOff":3`, 1)), http.StatusConflict, "return_exceeds_shipped")
	r = want[openapi.Return](t, p.act("returns", r.Id, "receive", body), http.StatusOK)
	if r.State != openapi.ReturnStateReceived || r.Lines[0].Restocked != 1 || r.Lines[0].WrittenOff != 1 || *r.Answer != "To the shop, please." {
		t.Errorf("received %+v", r)
	}
	want[openapi.Return](t, p.act("returns", r.Id, "receive", body), http.StatusOK) // as it is
	p.wantLine(0, 0, 4, 0, 2, 2)
	s.wantLevel("MUG", 7, 0)
	refunds := want[openapi.RefundList](t, p.guest.do("GET", p.path+"/refunds", ""), http.StatusOK).Refunds
	if len(refunds) != 1 || refunds[0].Amount.Amount != "20.00" || *refunds[0].ReturnId != r.Id || refunds[0].Lines[0].Quantity != 2 {
		t.Errorf("refunds %+v", refunds)
	}
	if paid := p.order().Payments[0]; paid.Refunded.Amount != "20.00" {
		t.Errorf("the payment gave back %s", paid.Refunded.Amount)
	}
	// What did not come can be asked for anew, and given up by its buyer.
	again := want[openapi.Return](t, p.guest.do("POST", p.path+"/returns", encode(t, openapi.ReturnInput{Lines: p.back(2)})), http.StatusCreated)
	want[openapi.Return](t, p.guest.do("POST", "/returns/"+again.Id.String()+"/cancel", `{}`), http.StatusOK)
	s.wantAddedUp()
}

func TestWhoeverBoughtReadsTheirPackagesAndReturns(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	mug := s.stocked("MUG", "10.00", 10)
	p := s.ordered(s.shipping(), line(mug, 1))
	guest, other := []string{"X-Cart-Token", p.guest.token}, s.ordered(p.method, line(mug, 1)).guest
	customer, stranger := s.person("ada", openapi.RoleCustomer), s.person("eve", openapi.RoleCustomer)
	as := []string{"Authorization", customer.bearer}
	cart := want[openapi.CreatedCart](t, s.do("POST", "/carts", encode(t, openapi.CartInput{
		Lines: &[]openapi.CartLineInput{line(mug, 1)}, ShippingAddress: &berlin, ShippingMethodId: &p.method.Id,
	}), as...), http.StatusCreated).Cart
	own := want[openapi.Order](t, s.do("POST", "/orders", encode(t, openapi.OrderInput{CartId: cart.Id, Payment: openapi.PaymentInput{Provider: "test"}}), as...), http.StatusCreated)
	for buyer, of := range map[string]struct {
		path    string
		headers []string
	}{
		"a guest": {p.path, guest}, "a customer": {"/orders/" + own.Id.String(), as},
	} {
		p := parcels{store: s, path: of.path}
		packed := s.asAdmin("POST", of.path+"/fulfillments", `{"shipped":true}`)
		f := want[openapi.Fulfillment](t, packed, http.StatusCreated)
		asked := s.do("POST", of.path+"/returns", encode(t, openapi.ReturnInput{Lines: p.back(1)}), of.headers...)
		r := want[openapi.Return](t, asked, http.StatusCreated)
		if got := want[openapi.Return](t, s.do("GET", asked.Header().Get("Location"), "", of.headers...), http.StatusOK); got.Id != r.Id || got.OrderId != r.OrderId {
			t.Errorf("%s asked for %+v and reads %+v", buyer, r, got)
		}
		listed := want[openapi.FulfillmentList](t, s.do("GET", of.path+"/fulfillments", "", of.headers...), http.StatusOK).Fulfillments[0]
		read := want[openapi.Fulfillment](t, s.do("GET", packed.Header().Get("Location"), "", of.headers...), http.StatusOK)
		if read.Id != f.Id || listed.Id != f.Id || read.LocationId != nil || listed.LocationId != nil || f.LocationId == nil {
			t.Errorf("%s sees %+v and %+v of %+v", buyer, listed, read, f)
		}
		for who, headers := range map[string][]string{"another guest": {"X-Cart-Token", other.token}, "another customer": {"Authorization", stranger.bearer}} {
			for path, code := range map[string]string{"/returns/" + r.Id.String(): "return_not_found", "/fulfillments/" + f.Id.String(): "fulfillment_not_found"} {
				there := wantProblem(t, s.do("GET", path, "", headers...), http.StatusNotFound, code)
				id, none := path[len(path)-36:], uuid.NewString()
				nowhere := wantProblem(t, s.do("GET", strings.Replace(path, id, none, 1), "", headers...), http.StatusNotFound, code)
				if *nowhere.Detail != strings.Replace(*there.Detail, id, none, 1) {
					t.Errorf("%s is told apart by %s: %+v and %+v", path, who, there, nowhere)
				}
			}
		}
		wantProblem(t, s.do("GET", "/returns/"+r.Id.String(), ""), http.StatusUnauthorized, "unauthorized")
	}
}

func TestALineSaysForHowManyAReturnCanBeAsked(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	p := s.ordered(s.shipping(), line(s.stocked("MUG", "10.00", 10), 5))
	wantReturnable := func(n int64) {
		t.Helper()
		if l := want[openapi.Order](t, p.guest.do("GET", p.path, ""), http.StatusOK).Lines[0]; l.ReturnableQuantity != n {
			t.Errorf("%d can be sent back, want %d", l.ReturnableQuantity, n)
		}
		wantProblem(t, p.guest.do("POST", p.path+"/returns", encode(t, openapi.ReturnInput{Lines: p.back(n + 1)})), http.StatusConflict, "return_exceeds_shipped")
	}
	ask := func(n int64) openapi.Return {
		return want[openapi.Return](t, p.guest.do("POST", p.path+"/returns", encode(t, openapi.ReturnInput{Lines: p.back(n)})), http.StatusCreated)
	}
	wantReturnable(0)
	p.pack(openapi.FulfillmentInput{Lines: new(p.part(4)), Shipped: new(true)})
	wantReturnable(4)
	rejected, r := ask(1), ask(2)
	wantReturnable(1)
	want[openapi.Return](t, p.act("returns", rejected.Id, "reject", `{}`), http.StatusOK)
	wantReturnable(2)
	want[openapi.Return](t, p.act("returns", r.Id, "approve", `{}`), http.StatusOK)
	want[openapi.Return](t, p.act("returns", r.Id, "receive", fmt.Sprintf(`{"lines":[{"lineId":%q,"restock":1}]}`, r.Lines[0].LineId)), http.StatusOK)
	wantReturnable(3)
	ask(3)
	wantReturnable(0)
}

func TestAnExchangeIsAReturnAndAnOrderThatItPaysFor(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	method, mug, cup, vase := s.shipping(), s.stocked("MUG", "10.00", 10), s.stocked("CUP", "6.00", 10), s.stocked("VASE", "25.00", 10)
	for name, c := range map[string]struct {
		lines                        []openapi.ExchangeLine
		state                        openapi.OrderState
		discount, total, due, refund string
	}{
		"for as much": {lines: []openapi.ExchangeLine{{VariantId: mug.Id, Quantity: 2}}, state: openapi.OrderStateConfirmed, discount: "20.00", total: "0.00", due: "0.00"},
		"for less":    {lines: []openapi.ExchangeLine{{VariantId: cup.Id, Quantity: 1}}, state: openapi.OrderStateConfirmed, discount: "6.00", total: "0.00", due: "0.00", refund: "14.00"},
		"for more": {lines: []openapi.ExchangeLine{{VariantId: vase.Id, Quantity: 1}, {VariantId: cup.Id, Quantity: 1}}, state: openapi.OrderStatePending,
			discount: "20.00", total: "11.00", due: "11.00"},
	} {
		p := s.ordered(method, line(mug, 3))
		p.pack(openapi.FulfillmentInput{Shipped: new(true)})
		r := admin[openapi.Return](s, "POST", p.path+"/returns", openapi.ReturnInput{Lines: p.back(2)}, http.StatusCreated)
		body := encode(t, openapi.ExchangeInput{Lines: c.lines})
		wantProblem(t, p.act("returns", r.Id, "exchange", body), http.StatusConflict, "return_state")
		want[openapi.Return](t, p.act("returns", r.Id, "approve", `{}`), http.StatusOK)
		o := want[openapi.Order](t, p.act("returns", r.Id, "exchange", body), http.StatusCreated)
		if o.State != c.state || o.Totals.Discount != c.discount || o.Totals.Total != c.total || o.Due.Amount != c.due || o.Email != "ada@example.com" {
			t.Errorf("%s: the new order is %s with %+v, of which %s are due", name, o.State, o.Totals, o.Due.Amount)
		}
		refunds := admin[openapi.RefundList](s, "GET", p.path+"/refunds", "", http.StatusOK).Refunds
		if (len(refunds) == 1) != (c.refund != "") || c.refund != "" && refunds[0].Amount.Amount != c.refund {
			t.Errorf("%s: given back are %+v", name, refunds)
		}
		wantProblem(t, p.act("returns", r.Id, "exchange", body), http.StatusConflict, "return_state")
		r = want[openapi.Return](t, p.act("returns", r.Id, "receive", `{"refund":true}`), http.StatusOK) // its money is in the new order
		if *r.ExchangeOrderId != o.Id || r.Lines[0].Exchanged != 2 {
			t.Errorf("%s: %+v", name, r)
		}
		p.wantLine(0, 0, 3, 0, 2, 2)
		if c.due != "0.00" {
			paid := admin[openapi.Order](s, "POST", "/orders/"+o.Id.String()+"/payments", `{"provider":"test"}`, http.StatusCreated)
			if paid.State != openapi.OrderStateConfirmed || paid.Due.Amount != "0.00" {
				t.Errorf("%s: paid, the order is %s and %s are due", name, paid.State, paid.Due.Amount)
			}
		}
		admin[openapi.Order](s, "POST", "/orders/"+o.Id.String()+"/transitions", `{"to":"processing"}`, http.StatusOK)
		admin[openapi.Order](s, "POST", "/orders/"+o.Id.String()+"/transitions", `{"to":"shipped"}`, http.StatusOK)
	}
	s.wantLevel("MUG", 10-3*3+3*2-2, 0)
	s.wantAddedUp()
}

// exchange has a guest send back one of the order's first line, and staff place
// an order in exchange, which the guest finds by the return.
func (p parcels) exchange(by func(method, path, body string, headers ...string) *httptest.ResponseRecorder, lines ...openapi.ExchangeLine) parcels {
	p.t.Helper()
	p.pack(openapi.FulfillmentInput{Shipped: new(true)})
	asked := by("POST", p.path+"/returns", encode(p.t, openapi.ReturnInput{Lines: []openapi.ReturnLineInput{{LineId: p.order().Lines[0].Id, Quantity: 1}}}))
	r := want[openapi.Return](p.t, asked, http.StatusCreated)
	want[openapi.Return](p.t, p.act("returns", r.Id, "approve", `{}`), http.StatusOK)
	want[openapi.Order](p.t, p.act("returns", r.Id, "exchange", encode(p.t, openapi.ExchangeInput{Lines: lines})), http.StatusCreated)
	found := want[openapi.Return](p.t, by("GET", asked.Header().Get("Location"), ""), http.StatusOK).ExchangeOrderId
	p.path = "/orders/" + found.String()
	return p
}

func TestAGuestSeesWhatWasPlacedInExchangeAndPaysTheDifference(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	mug, vase := s.stocked("MUG", "10.00", 10), s.stocked("VASE", "25.00", 10)
	first := s.ordered(s.shipping(), line(mug, 1))
	g, other := first.guest, s.ordered(first.method, line(mug, 1)).guest
	second := first.exchange(g.do, openapi.ExchangeLine{VariantId: vase.Id, Quantity: 1})
	if o := want[openapi.Order](t, g.do("GET", second.path, ""), http.StatusOK); o.State != openapi.OrderStatePending || o.Due.Amount != "15.00" {
		t.Errorf("the guest sees an order that is %s, of which %s are due", o.State, o.Due.Amount)
	}
	pay := `{"provider":"test","token":"tok_success","expectedAmount":"15.00"}`
	for _, r := range [][3]string{
		{"GET", second.path, ""}, {"GET", second.path + "/timeline", ""}, {"GET", second.path + "/fulfillments", ""}, {"GET", second.path + "/returns", ""},
		{"GET", second.path + "/refunds", ""}, {"POST", second.path + "/payments", pay}, {"POST", second.path + "/cancel", `{}`},
	} {
		wantProblem(t, other.do(r[0], r[1], r[2]), http.StatusNotFound, "order_not_found")
	}
	paid := want[openapi.Order](t, g.do("POST", second.path+"/payments", pay), http.StatusCreated)
	if paid.State != openapi.OrderStateConfirmed || paid.Due.Amount != "0.00" {
		t.Errorf("paid, the order is %s and %s are due", paid.State, paid.Due.Amount)
	}
	wantProblem(t, g.do("POST", second.path+"/payments", pay), http.StatusConflict, "nothing_due")

	// What was placed in exchange for that is the guest's, too.
	third := second.exchange(g.do, openapi.ExchangeLine{VariantId: mug.Id, Quantity: 1})
	want[openapi.Order](t, g.do("GET", third.path, ""), http.StatusOK)
	wantProblem(t, other.do("GET", third.path, ""), http.StatusNotFound, "order_not_found")

	// The cart itself stays with its first order.
	wantProblem(t, g.order(), http.StatusConflict, "cart_ordered")
	if c := want[openapi.Cart](t, g.do("GET", "/carts/"+g.cart.Id.String(), ""), http.StatusOK); first.path != "/orders/"+c.OrderId.String() {
		t.Errorf("the cart was ordered as %s, not %s", c.OrderId, first.path)
	}
	data := want[openapi.PersonalData](t, s.asAdmin("GET", "/personal-data?email=ada@example.com", ""), http.StatusOK)
	if len(data.Orders) != 4 { // and the other's
		t.Errorf("%d orders are taken out", len(data.Orders))
	}
	s.wantAddedUp()
}

func TestWhatACustomerGetsInExchangeNoTokenOpens(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	mug := s.stocked("MUG", "10.00", 10)
	g := s.cartOf(s.shipping(), line(mug, 1))
	in := fmt.Sprintf(`{"email":"ada@example.com","password":"correct horse battery","cart":{"id":%q,"token":%q}}`, g.cart.Id, g.token)
	s.person("ada", openapi.RoleCustomer)
	bearer := "Bearer " + want[openapi.Tokens](t, g.do("POST", "/auth/login", in), http.StatusOK).AccessToken
	by := func(method, path, body string, headers ...string) *httptest.ResponseRecorder {
		return s.do(method, path, body, append(headers, "Authorization", bearer)...)
	}
	o := want[openapi.Order](t, by("POST", "/orders", encode(t, openapi.OrderInput{CartId: g.cart.Id, Payment: openapi.PaymentInput{Provider: "test"}})), http.StatusCreated)
	second := parcels{store: s, path: "/orders/" + o.Id.String()}.exchange(by, openapi.ExchangeLine{VariantId: mug.Id, Quantity: 1})
	want[openapi.Order](t, by("GET", second.path, ""), http.StatusOK)
	wantProblem(t, g.do("GET", second.path, ""), http.StatusNotFound, "order_not_found")
	var token *uuid.UUID
	if s.scan(`SELECT guest_cart_id FROM orders WHERE id = '`+strings.TrimPrefix(second.path, "/orders/")+`'`, &token); token != nil {
		t.Errorf("the token of cart %s opens it", token)
	}
}

// TestWhatWasPlacedInExchangeBeforeIsItsGuestsToo does what the migration did.
func TestWhatWasPlacedInExchangeBeforeIsItsGuestsToo(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	mug := s.stocked("MUG", "10.00", 10)
	first := s.ordered(s.shipping(), line(mug, 1))
	second := first.exchange(first.guest.do, openapi.ExchangeLine{VariantId: mug.Id, Quantity: 2})
	want[openapi.Order](t, first.guest.do("POST", second.path+"/payments", `{"provider":"test"}`), http.StatusCreated)
	third := second.exchange(first.guest.do, openapi.ExchangeLine{VariantId: mug.Id, Quantity: 1})
	migration, err := os.ReadFile("../db/migrations/00027_exchanges_of_guests.sql")
	if err != nil {
		t.Fatal(err)
	}
	_, filling, _ := strings.Cut(string(migration), "ADD COLUMN guest_cart_id uuid;")
	filling, _, _ = strings.Cut(filling, "-- +goose Down")
	if _, err := s.Pool.Exec(t.Context(), `UPDATE orders SET guest_cart_id = NULL`); err != nil {
		t.Fatal(err)
	}
	wantProblem(t, first.guest.do("GET", third.path, ""), http.StatusNotFound, "order_not_found")
	if _, err := s.Pool.Exec(t.Context(), filling); err != nil {
		t.Fatal(err)
	}
	for _, p := range []parcels{first, second, third} {
		want[openapi.Order](t, p.guest.do("GET", p.path, ""), http.StatusOK)
	}
	var filled int
	if s.scan(`SELECT count(*) FROM orders WHERE guest_cart_id IS NOT NULL`, &filled); filled != 2 {
		t.Errorf("%d orders are known by another's cart", filled)
	}
}

func TestMoneyThatIsInAnExchangeIsNotGivenBackTwice(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	mug := s.stocked("MUG", "10.00", 20)
	p := s.ordered(s.shipping(), line(mug, 3))
	p.pack(openapi.FulfillmentInput{Shipped: new(true)})
	r := admin[openapi.Return](s, "POST", p.path+"/returns", openapi.ReturnInput{Lines: p.back(2)}, http.StatusCreated)
	want[openapi.Return](t, p.act("returns", r.Id, "approve", `{}`), http.StatusOK)
	body := encode(t, openapi.ExchangeInput{Lines: []openapi.ExchangeLine{{VariantId: mug.Id, Quantity: 2}}})
	o := want[openapi.Order](t, p.act("returns", r.Id, "exchange", body), http.StatusCreated)
	wantProblem(t, p.act("returns", r.Id, "cancel", `{}`), http.StatusConflict, "return_state")
	wantProblem(t, s.asAdmin("POST", p.path+"/refunds", `{"amount":"14.91"}`), http.StatusConflict, "refund_exceeds_captured")
	wantProblem(t, s.asAdmin("POST", p.path+"/transitions", `{"to":"refunded"}`), http.StatusConflict, "order_exchanged")
	wantProblem(t, s.asAdmin("POST", "/orders/"+o.Id.String()+"/edits", fmt.Sprintf(`{"add":[{"variantId":%q,"quantity":1}]}`, mug.Id)), http.StatusConflict, "order_not_editable")
	admin[openapi.Order](s, "POST", "/orders/"+o.Id.String()+"/cancel", `{}`, http.StatusOK)
	p.wantLine(0, 0, 3, 0, 0, 0)
	want[openapi.Return](t, p.act("returns", r.Id, "receive", `{"refund":true}`), http.StatusOK)
	p.wantLine(0, 0, 3, 0, 2, 2)
	want[openapi.Refund](t, s.asAdmin("POST", p.path+"/refunds", `{"amount":"14.90"}`), http.StatusCreated)
	p.wantState(openapi.OrderStateRefunded)
	s.wantAddedUp()
}

func TestAnOrderOfWhichMoneyIsToComeIsNotRefundedByARefund(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	mug := s.stocked("MUG", "10.00", 20)
	p := s.ordered(s.shipping(), line(mug, 1))
	wantProblem(t, s.asAdmin("POST", p.path+"/refunds", encode(t, openapi.OrderRefundInput{Lines: new(p.part(1))})), http.StatusConflict, "refund_exceeds_order")
	admin[openapi.OrderEdit](s, "POST", p.path+"/edits", fmt.Sprintf(`{"add":[{"variantId":%q,"quantity":1}]}`, mug.Id), http.StatusCreated)
	admin[openapi.Order](s, "POST", p.path+"/payments", `{"provider":"manual"}`, http.StatusCreated)
	p.pack(openapi.FulfillmentInput{Shipped: new(true)})
	want[openapi.Refund](t, s.asAdmin("POST", p.path+"/refunds", `{"amount":"14.90"}`), http.StatusCreated)
	p.wantState(openapi.OrderStateShipped)
	s.wantAddedUp()
}

func TestWhatIsBeingReturnedIsNotUnpacked(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	p := s.ordered(s.shipping(), line(s.stocked("MUG", "10.00", 10), 4))
	f := p.pack(openapi.FulfillmentInput{Shipped: new(true)})
	r := admin[openapi.Return](s, "POST", p.path+"/returns", openapi.ReturnInput{Lines: p.back(1)}, http.StatusCreated)
	wantProblem(t, p.act("fulfillments", f.Id, "cancel", `{}`), http.StatusConflict, "return_open")
	want[openapi.Return](t, p.act("returns", r.Id, "reject", `{}`), http.StatusOK)
	want[openapi.Fulfillment](t, p.act("fulfillments", f.Id, "cancel", `{}`), http.StatusOK)
	s.wantLevel("MUG", 10, 4)
	s.wantAddedUp()
}

func TestMoneyIsGivenBackForLinesForShippingAndBesideThatAndNeverTooMuch(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	// 10.05 less 10% do not divide by three.
	admin[openapi.Promotion](s, "POST", "/promotions", `{"title":"Ten","kind":"percentage","percent":"10"}`, http.StatusCreated)
	p := s.ordered(s.shipping(), line(s.stocked("MUG", "3.35", 10), 3))
	p.pack(openapi.FulfillmentInput{Shipped: new(true)})
	total := p.order().Totals.Total
	refund := func(in openapi.OrderRefundInput) *httptest.ResponseRecorder {
		return s.asAdmin("POST", p.path+"/refunds", encode(t, in))
	}
	sum := ""
	for range 3 {
		r := want[openapi.Refund](t, refund(openapi.OrderRefundInput{Lines: new(p.part(1))}), http.StatusCreated)
		sum += r.Amount.Amount + " "
	}
	if sum != "3.01 3.01 3.02 " {
		t.Errorf("each piece brought %s", sum)
	}
	wantProblem(t, refund(openapi.OrderRefundInput{Lines: new(p.part(1))}), http.StatusConflict, "refund_exceeds_order")
	wantProblem(t, refund(openapi.OrderRefundInput{Shipping: new("4.91")}), http.StatusConflict, "refund_exceeds_order")
	wantProblem(t, refund(openapi.OrderRefundInput{Amount: new("4.91")}), http.StatusConflict, "refund_exceeds_captured")
	want[openapi.Refund](t, refund(openapi.OrderRefundInput{Shipping: new("4.00")}), http.StatusCreated)
	p.wantState(openapi.OrderStateShipped)
	want[openapi.Refund](t, refund(openapi.OrderRefundInput{Amount: new("0.90"), Reason: new("for the wait")}), http.StatusCreated)
	p.wantState(openapi.OrderStateRefunded)
	if paid := p.order().Payments[0]; paid.Refunded.Amount != total || paid.State != openapi.PaymentStateRefunded {
		t.Errorf("of %s were given back %+v", total, paid)
	}
	wantProblem(t, refund(openapi.OrderRefundInput{}), http.StatusBadRequest, "invalid_request")
	wantProblem(t, refund(openapi.OrderRefundInput{Amount: new("0.00")}), http.StatusBadRequest, "invalid_request")
	s.wantAddedUp()
}

func TestTheBuyerHasAMailForEachPackageAndForEachRefund(t *testing.T) {
	t.Parallel()
	m := newMailing(t)
	p := m.ordered(m.shipping(), line(m.stocked("MUG", "10.00", 10), 3))
	p.pack(openapi.FulfillmentInput{Lines: new(p.part(1)), Shipped: new(true), Tracking: new([]openapi.Tracking{{Carrier: new("DHL"), Number: "0034", Url: new("https://dhl.example/0034")}})})
	number := p.order().Number
	m.mailed("A part of your order "+number+" is on its way", "1 x MUG", "10.00 EUR", "DHL 0034", "https://dhl.example/0034", "The rest follows.")
	p.pack(openapi.FulfillmentInput{Shipped: new(true)})
	m.mailed("Your order "+number+" is on its way", "2 x MUG", "20.00 EUR")
	r := admin[openapi.Return](m.store, "POST", p.path+"/returns", openapi.ReturnInput{Lines: p.back(1)}, http.StatusCreated)
	want[openapi.Return](t, p.act("returns", r.Id, "approve", `{"text":"Street 1, Berlin"}`), http.StatusOK)
	m.mailed("You can send back a part of order "+number, "Street 1, Berlin", "1 x MUG")
	want[openapi.Return](t, p.act("returns", r.Id, "receive", `{"refund":true}`), http.StatusOK)
	m.mailed("Your money back for order "+number, "10.00 EUR")
	r = admin[openapi.Return](m.store, "POST", p.path+"/returns", openapi.ReturnInput{Lines: p.back(1)}, http.StatusCreated)
	want[openapi.Return](t, p.act("returns", r.Id, "reject", `{"text":"It is worn."}`), http.StatusOK)
	m.mailed("About what you wish to send back of order "+number, "It is worn.")
}

// TestWhateverIsPackedSentReturnedAndRefundedAddsUp does it in any order, many at
// once, and looks for what cannot be.
func TestWhateverIsPackedSentReturnedAndRefundedAddsUp(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	method, mug, cup := s.shipping(), s.stocked("MUG", "3.33", 100_000), s.stocked("CUP", "0.07", 100_000)
	rapid.Check(t, func(rt *rapid.T) {
		g := s.cartOf(method, line(mug, rapid.Int64Range(1, 7).Draw(rt, "mugs")), line(cup, rapid.Int64Range(1, 7).Draw(rt, "cups")))
		token := rapid.SampledFrom([]string{"tok_success", "tok_no_refund"}).Draw(rt, "token")
		first := "/orders/" + want[openapi.Order](t, g.pay(token), http.StatusCreated).Id.String()
		orders := []parcels{{store: s, method: method, guest: g, path: first}}
		quantities := func() []int64 {
			return []int64{rapid.Int64Range(0, 4).Draw(rt, "mugs"), rapid.Int64Range(1, 4).Draw(rt, "cups")}
		}
		step := func() func() *httptest.ResponseRecorder {
			p, n := rapid.SampledFrom(orders).Draw(rt, "order"), quantities()
			switch rapid.IntRange(0, 12).Draw(rt, "act") {
			case 0, 1:
				body := encode(t, openapi.FulfillmentInput{Lines: new(p.part(n...)), Shipped: new(rapid.Bool().Draw(rt, "shipped"))})
				return func() *httptest.ResponseRecorder { return s.asAdmin("POST", p.path+"/fulfillments", body) }
			case 2:
				body := encode(t, openapi.ReturnInput{Lines: p.back(n...)})
				return func() *httptest.ResponseRecorder { return s.asAdmin("POST", p.path+"/returns", body) }
			case 3:
				body := encode(t, openapi.OrderRefundInput{Lines: new(p.part(n...)), Outside: new(rapid.Bool().Draw(rt, "outside"))})
				return func() *httptest.ResponseRecorder { return s.asAdmin("POST", p.path+"/refunds", body) }
			case 10:
				return func() *httptest.ResponseRecorder {
					return s.asAdmin("POST", p.path+"/transitions", `{"to":"refunded"}`)
				}
			case 4:
				all := admin[openapi.FulfillmentList](s, "GET", p.path+"/fulfillments", "", http.StatusOK).Fulfillments
				what := rapid.SampledFrom([]string{"ship", "deliver", "cancel"}).Draw(rt, "what")
				if len(all) > 0 {
					id := rapid.SampledFrom(all).Draw(rt, "fulfilment").Id
					return func() *httptest.ResponseRecorder { return p.act("fulfillments", id, what, `{}`) }
				}
			case 5:
				all := admin[openapi.ReturnPage](s, "GET", p.path+"/returns", "", http.StatusOK).Returns
				what := rapid.SampledFrom([]string{"approve", "receive", "reject", "cancel"}).Draw(rt, "what")
				body := fmt.Sprintf(`{"refund":%t}`, rapid.Bool().Draw(rt, "refund"))
				if what != "receive" {
					body = `{}`
				}
				if len(all) > 0 {
					id := rapid.SampledFrom(all).Draw(rt, "return").Id
					return func() *httptest.ResponseRecorder { return p.act("returns", id, what, body) }
				}
			case 6, 7: // of as much as there is, for that is what leads on
				exchange := encode(t, openapi.ExchangeInput{Lines: []openapi.ExchangeLine{{VariantId: mug.Id, Quantity: n[0] + 1}, {VariantId: cup.Id, Quantity: n[1]}}})
				shipped, back := encode(t, openapi.FulfillmentInput{Shipped: new(true)}), p.back(0, 1)
				due := paying("test", rapid.SampledFrom([]string{"tok_success", "tok_no_refund"}).Draw(rt, "due"))
				return func() *httptest.ResponseRecorder {
					s.asAdmin("POST", p.path+"/payments", due)
					s.asAdmin("POST", p.path+"/fulfillments", shipped)
					w := s.asAdmin("POST", p.path+"/returns", encode(t, openapi.ReturnInput{Lines: append(back, openapi.ReturnLineInput{LineId: p.order().Lines[0].Id, Quantity: 1})}))
					if w.Code != http.StatusCreated {
						return w
					}
					id := want[openapi.Return](t, w, http.StatusCreated).Id
					p.act("returns", id, "approve", `{}`)
					return p.act("returns", id, "exchange", exchange)
				}
			case 8:
				return func() *httptest.ResponseRecorder { return s.asAdmin("POST", p.path+"/cancel", `{}`) }
			case 9:
				id := rapid.SampledFrom(p.order().Payments).Draw(rt, "payment").Id
				return func() *httptest.ResponseRecorder {
					return s.asAdmin("POST", "/payments/"+id.String()+"/refunds", `{"amount":"0.50"}`)
				}
			case 11:
				body := encode(t, openapi.OrderRefundInput{Shipping: new(rapid.SampledFrom([]string{"1.00", "4.90"}).Draw(rt, "shipping"))})
				return func() *httptest.ResponseRecorder { return s.asAdmin("POST", p.path+"/refunds", body) }
			}
			body := encode(t, openapi.OrderRefundInput{Amount: new("0.50"), Outside: new(rapid.Bool().Draw(rt, "outside"))})
			return func() *httptest.ResponseRecorder { return s.asAdmin("POST", p.path+"/refunds", body) }
		}
		for range rapid.IntRange(1, 8).Draw(rt, "rounds") {
			for _, p := range orders {
				for _, r := range admin[openapi.ReturnPage](s, "GET", p.path+"/returns", "", http.StatusOK).Returns {
					next := parcels{store: s, path: "/orders/" + optional.Value(r.ExchangeOrderId).String()}
					if r.ExchangeOrderId != nil && !slices.ContainsFunc(orders, func(o parcels) bool { return o.path == next.path }) {
						orders = append(orders, next)
					}
				}
			}
			acts := []func() *httptest.ResponseRecorder{step(), step(), step()}
			answers := make([]*httptest.ResponseRecorder, len(acts))
			var all []func()
			for i, act := range acts {
				all = append(all, func() { answers[i] = act() })
			}
			together(all...)
			for _, w := range answers {
				if w.Code >= 300 && w.Code != http.StatusConflict {
					rt.Fatalf("answered %d %s", w.Code, w.Body)
				}
			}
		}
	})
	if n := s.number(`SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()`); n != 0 {
		t.Errorf("%d transactions held orders in another order than others did", n)
	}
	testbed.AddedUp(t, s.Pool)
}
