package order

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"gitee.com/captainjez/gocart/runtime/internal/customer"
	"gitee.com/captainjez/gocart/runtime/internal/db"
	"gitee.com/captainjez/gocart/runtime/internal/events"
	"gitee.com/captainjez/gocart/runtime/internal/identity"
	"gitee.com/captainjez/gocart/runtime/internal/inventory"
	"gitee.com/captainjez/gocart/runtime/internal/mail"
	"gitee.com/captainjez/gocart/runtime/internal/optional"
	"gitee.com/captainjez/gocart/runtime/internal/order/orderdb"
	"gitee.com/captainjez/gocart/runtime/internal/pricing"
	"gitee.com/captainjez/gocart/runtime/internal/problem"
	"gitee.com/captainjez/gocart/runtime/internal/rest"
	"gitee.com/captainjez/gocart/runtime/openapi"
)

// editable are the states in which staff may change what is in an order.
var editable = []openapi.OrderState{openapi.OrderStatePending, openapi.OrderStateConfirmed, openapi.OrderStateProcessing, openapi.OrderStateOnHold}

// maxQuantity bounds a line.
const maxQuantity = pricing.MaxQuantity

// edit is what staff want of an order.
type edit struct {
	openapi.OrderEditInput
	actor  string
	prices Prices
}

// edited is what became of it.
type edited struct {
	order                  *Order
	totalBefore, givenBack int64
	// asked is what providers are to be asked when the transaction has committed.
	asked []uuid.UUID
}

func (e edited) public() openapi.OrderEdit {
	return openapi.OrderEdit{Order: withoutActions(e.order.Public()), TotalBefore: e.order.money(e.totalBefore), GivenBack: e.order.money(e.givenBack)}
}

// EditOrder answers POST /orders/{id}/edits.
func (h Handlers) EditOrder(c *gin.Context, id uuid.UUID, params openapi.EditOrderParams) {
	e := edit{actor: identity.Of(c).Actor()}
	if optional.Value(params.Preview) {
		in, ok := rest.Read[openapi.OrderEditInput](c)
		if !ok {
			return
		}
		tried, err := h.Orders.preview(c.Request.Context(), id, in, e)
		rest.JSON(c, http.StatusOK, tried, err)
		return
	}
	var asked []uuid.UUID
	rest.Create(c, h.Orders.pool, rest.Creation[openapi.OrderEditInput, openapi.OrderEdit]{
		Key: params.IdempotencyKey,
		Prepare: func(ctx context.Context, in openapi.OrderEditInput) (err error) {
			e, err = h.Orders.prepareEdit(ctx, id, in, e)
			return err
		},
		Effect: func(ctx context.Context, tx pgx.Tx, _ openapi.OrderEditInput) (openapi.OrderEdit, error) {
			made, err := h.Orders.edit(ctx, tx, id, e)
			if err != nil {
				return openapi.OrderEdit{}, err
			}
			asked = made.asked
			return made.public(), nil
		},
		// Whoever asks again with the key is told how the order stands by then.
		Present: func(ctx context.Context, made openapi.OrderEdit) (any, error) {
			h.Orders.payments.Settle(ctx, asked...)
			o, err := h.Orders.Find(ctx, id)
			if err != nil {
				return nil, err
			}
			made.Order = withoutActions(o.Public())
			return made, nil
		},
	})
}

// errPreview undoes an edit that was only tried.
var errPreview = errors.New("only a preview")

// preview does an edit, and undoes it.
func (s *Orders) preview(ctx context.Context, id uuid.UUID, in openapi.OrderEditInput, e edit) (tried openapi.OrderEdit, err error) {
	if e, err = s.prepareEdit(ctx, id, in, e); err != nil {
		return tried, err
	}
	err = db.WithTx(ctx, s.pool, func(tx pgx.Tx) error {
		made, err := s.edit(ctx, tx, id, e)
		if err != nil {
			return err
		}
		tried = made.public()
		return errPreview
	})
	if errors.Is(err, errPreview) {
		err = nil
	}
	return tried, err
}

// prepareEdit wants what is wrong whatever the order is by then, and reads what
// an edit needs beside it.
func (s *Orders) prepareEdit(ctx context.Context, id uuid.UUID, in openapi.OrderEditInput, e edit) (edit, error) {
	e.OrderEditInput = in
	if err := checkEdit(in); err != nil {
		return e, err
	}
	o, err := s.Find(ctx, id)
	if err != nil {
		return e, err
	}
	var ids []uuid.UUID
	for _, l := range o.Lines {
		ids = append(ids, l.VariantID)
	}
	for _, a := range optional.Value(in.Add) {
		ids = append(ids, a.VariantId)
	}
	e.prices, err = s.Prices(ctx, o.Currency, ids)
	return e, err
}

func checkEdit(in openapi.OrderEditInput) error {
	var f problem.Findings
	add, set := optional.Value(in.Add), optional.Value(in.SetQuantities)
	f.Require(len(add) <= pricing.MaxLines, "/add", "must have %d at most", pricing.MaxLines)
	f.Require(len(set) <= pricing.MaxLines, "/setQuantities", "must have %d at most", pricing.MaxLines)
	f.Require(len(add)+len(set) > 0 || in.ShippingAddress != nil || in.BillingAddress != nil, "/add", "is needed, or setQuantities, or an address")
	if in.ShippingAddress != nil {
		customer.CheckAddress(&f, "/shippingAddress", *in.ShippingAddress)
	}
	if in.BillingAddress != nil {
		customer.CheckAddress(&f, "/billingAddress", *in.BillingAddress)
	}
	f.Text("/reason", optional.Value(in.Reason), 0, 500)
	f.Text("/expectedTotal", optional.Value(in.ExpectedTotal), 0, 20)
	if len(f) > 0 {
		return f.Err()
	}
	for i, a := range add {
		at := fmt.Sprintf("/add/%d", i)
		f.Range(at+"/quantity", a.Quantity, 1, maxQuantity)
		f.Text(at+"/unitPrice", optional.Value(a.UnitPrice), 0, 20)
	}
	seen := map[uuid.UUID]bool{}
	for i, l := range set {
		at := fmt.Sprintf("/setQuantities/%d", i)
		f.Range(at+"/quantity", l.Quantity, 0, maxQuantity)
		f.Require(!seen[l.LineId], at+"/lineId", "is there twice")
		seen[l.LineId] = true
	}
	return f.Err()
}

// edit changes what is in an order, in one transaction with all that this
// implies for stock, totals and money.
func (s *Orders) edit(ctx context.Context, tx pgx.Tx, id uuid.UUID, e edit) (edited, error) {
	o, err := s.hold(ctx, tx, id)
	if err != nil {
		return edited{}, err
	}
	if !slices.Contains(editable, o.State) {
		return edited{}, problem.New(http.StatusConflict, "order_not_editable", "The order is %s, and what is in it can not be changed any more.", o.State)
	}
	if err := s.complete(ctx, tx, o); err != nil {
		return edited{}, err
	}
	w := &editing{edit: e, order: o}
	if o.inExchange() && w.lines() {
		return edited{}, problem.New(http.StatusConflict, "order_not_editable", "The order was placed in exchange for what comes back; cancel it, and exchange that for something else.")
	}
	if err := w.read(ctx, tx); err != nil {
		return edited{}, err
	}
	before := o.Total
	if err := w.apply(); err != nil {
		return edited{}, err
	}
	if err := s.restock(ctx, tx, w); err != nil {
		return edited{}, err
	}
	o.UpdatedAt = s.now().Truncate(time.Microsecond)
	if err := w.store(ctx, orderdb.New(tx)); err != nil {
		return edited{}, err
	}
	made := edited{order: o, totalBefore: before}
	happened := []events.Event{{
		Type: "order.edited", Topic: events.Orders, Subject: o.ID, Customer: o.CustomerID, Actor: e.actor, Public: true, At: o.UpdatedAt, Data: w.told(before),
	}}
	if o.Total != before {
		decided, givenBack, err := s.payments.Balance(ctx, tx, o.ID, o.Total, e.actor)
		if err != nil {
			return edited{}, err
		}
		made.asked, made.givenBack = decided.Asked, givenBack
		happened = append(happened, o.told(decided.Changes, o.UpdatedAt)...)
	}
	if err := s.events.Append(ctx, tx, happened...); err != nil {
		return edited{}, err
	}
	if len(w.words) > 0 {
		if err := s.mailer.Enqueue(ctx, tx, o.message(mail.OrderEdited)); err != nil {
			return edited{}, err
		}
	}
	if err := s.paidFor(ctx, tx, o, o.UpdatedAt); err != nil {
		return edited{}, err
	}
	if o.State == openapi.OrderStateProcessing { // what is left of it may have been shipped
		asked, err := s.shippedByEdit(ctx, tx, o, e.actor)
		if err != nil {
			return edited{}, err
		}
		made.asked = append(made.asked, asked...)
	}
	o.Payments, err = s.payments.Of(ctx, tx, o.ID)
	return made, err
}

// shippedByEdit takes an order on of which nothing is left to ship, with what
// was set aside for it since its last package left, and returns what providers
// are to be asked for that.
func (s *Orders) shippedByEdit(ctx context.Context, tx pgx.Tx, o *Order, actor string) ([]uuid.UUID, error) {
	d := &dispatch{s: s, tx: tx, order: o, actor: actor}
	if err := d.progress(ctx); err != nil || o.State == openapi.OrderStateProcessing {
		return d.asked, err
	}
	if err := d.capture(ctx); err != nil {
		return nil, err
	}
	return d.asked, s.events.Append(ctx, tx, d.happened...)
}

// editing is an order while it is edited.
type editing struct {
	edit
	order *Order
	// least is how much of a line there has to be.
	least    map[uuid.UUID]int64
	position int32
	packed   map[[2]uuid.UUID]int64

	changed, added []Line
	removed        []uuid.UUID
	demands        []inventory.Demand
	words          []string
}

// lines reports whether the lines are to be changed, and not addresses alone.
func (w *editing) lines() bool {
	return len(optional.Value(w.Add))+len(optional.Value(w.SetQuantities)) > 0
}

// read looks for what binds the order's lines.
func (w *editing) read(ctx context.Context, tx pgx.Tx) error {
	rows, err := orderdb.New(tx).BoundLines(ctx, w.order.ID)
	if err != nil {
		return fmt.Errorf("reading what binds order lines: %w", err)
	}
	w.least = make(map[uuid.UUID]int64, len(rows))
	rates := make(map[uuid.UUID][]pricing.Rate, len(rows))
	for _, r := range rows {
		w.least[r.ID] = r.Least
		w.position = max(w.position, r.Position+1)
		if r.Rates == nil {
			continue
		}
		kept := []pricing.Rate{}
		if err := json.Unmarshal(r.Rates, &kept); err != nil {
			return fmt.Errorf("tax rates of order line %s: %w", r.ID, err)
		}
		rates[r.ID] = kept
	}
	for i := range w.order.Lines {
		l := &w.order.Lines[i]
		if l.Rates = rates[l.ID]; l.Rates == nil {
			l.Rates = w.prices.ratesOf(w.order, *l)
		}
	}
	all, err := fulfillmentsOf(ctx, tx, w.order.ID)
	if err != nil {
		return err
	}
	w.packed = map[[2]uuid.UUID]int64{}
	for _, p := range packedNow(all) {
		w.packed[[2]uuid.UUID{p.VariantID, p.LocationID}] += p.Quantity
	}
	return nil
}

// address gives the order its addresses. It goes on to where its taxes and its
// shipping are the same.
func (w *editing) address() error {
	o := w.order
	country, region := o.place()
	sent := o.Details.ShippingAddress != nil || w.ShippingAddress != nil
	change := func(to **openapi.Address, want *openapi.Address, what string) {
		if want != nil && !reflect.DeepEqual(*to, want) {
			*to = want
			w.words = append(w.words, what+" address changed")
		}
	}
	change(&o.Details.ShippingAddress, w.ShippingAddress, "delivery")
	change(&o.Details.BillingAddress, w.BillingAddress, "billing")
	toCountry, toRegion := o.place()
	if (toCountry != country || toRegion != region) && !w.prices.rules.Alike(country, region, toCountry, toRegion, sent) {
		return problem.New(http.StatusConflict, "address_elsewhere",
			"The order was taxed, and its shipping chosen, for %s; for %s that is another: cancel the order, and place it anew.", area(country, region), area(toCountry, toRegion))
	}
	return nil
}

// area names a country, or a region of it.
func area(country, region string) string {
	return cmp.Or(strings.Trim(country+"-"+region, "-"), "no country")
}

// apply gives the order its addresses, lines and totals, and notes what is changed.
func (w *editing) apply() error {
	if err := w.address(); err != nil || !w.lines() {
		return cmp.Or(err, w.expected())
	}
	o := w.order
	wanted := map[uuid.UUID]int64{}
	for _, l := range optional.Value(w.SetQuantities) {
		wanted[l.LineId] = l.Quantity
	}
	var lines []Line
	for _, l := range o.Lines {
		quantity, ok := wanted[l.ID]
		delete(wanted, l.ID)
		if !ok || quantity == l.Quantity {
			lines = append(lines, l)
			continue
		}
		if least := w.least[l.ID]; quantity < least {
			return problem.New(http.StatusConflict, "quantity_too_low",
				"%d of %s are packed already, or were given their money back: there can not be less of the line.", least, l.SKU)
		}
		if _, known := w.prices.found[l.VariantID]; !known && quantity > l.Quantity {
			return problem.New(http.StatusConflict, "not_for_sale", "%s is no more.", l.SKU)
		}
		w.demands = w.prices.demand(w.demands, l, quantity-l.Quantity)
		if quantity == 0 {
			w.removed = append(w.removed, l.ID)
			w.words = append(w.words, l.SKU+" taken out")
			continue
		}
		w.words = append(w.words, fmt.Sprintf("%d × %s in place of %d", quantity, l.SKU, l.Quantity))
		if err := w.prices.resize(o, &l, quantity); err != nil {
			return err
		}
		w.changed = append(w.changed, l)
		lines = append(lines, l)
	}
	for id := range maps.Keys(wanted) {
		return problem.New(http.StatusNotFound, "order_line_not_found", "The order has no line with the id %s.", id)
	}
	if err := w.add(); err != nil {
		return err
	}
	lines = append(lines, w.added...)
	switch {
	case len(lines) == 0:
		return problem.New(http.StatusConflict, "order_empty", "Nothing would be left of the order; cancel it with POST /orders/%s/cancel.", o.ID)
	case len(lines) > pricing.MaxLines:
		return problem.New(http.StatusConflict, "too_many_lines", "An order has %d lines at most.", pricing.MaxLines)
	}
	if err := o.setLines(lines); err != nil {
		return err
	}
	return w.expected()
}

// add makes the lines that are new.
func (w *editing) add() error {
	var f problem.Findings
	for i, a := range optional.Value(w.Add) {
		in := Wanted{VariantID: a.VariantId, Quantity: a.Quantity}
		if a.UnitPrice != nil {
			in.UnitPrice = new(f.Amount(fmt.Sprintf("/add/%d/unitPrice", i), *a.UnitPrice, w.order.Currency))
		}
		if len(f) > 0 {
			continue
		}
		l, err := w.prices.line(w.order, in)
		if err != nil {
			return err
		}
		w.demands = w.prices.demand(w.demands, l, l.Quantity)
		w.words = append(w.words, fmt.Sprintf("%d × %s added", l.Quantity, l.SKU))
		w.added = append(w.added, l)
	}
	return f.Err()
}

// expected wants the total that was expected.
func (w *editing) expected() error {
	if w.ExpectedTotal == nil {
		return nil
	}
	var f problem.Findings
	expected := f.Amount("/expectedTotal", *w.ExpectedTotal, w.order.Currency)
	if len(f) == 0 && expected != w.order.Total {
		return problem.New(http.StatusConflict, "total_changed", "The total would be %s, not %s.", w.order.amount(w.order.Total), w.order.amount(expected))
	}
	return f.Err()
}

// restock reserves and gives back the difference.
func (s *Orders) restock(ctx context.Context, tx pgx.Tx, w *editing) error {
	if len(w.demands) == 0 {
		return nil
	}
	locked, err := s.stock.Lock(ctx, tx, w.demands, w.order.ID)
	if err != nil {
		return err
	}
	kept := func(variant, location uuid.UUID) int64 { return w.packed[[2]uuid.UUID{variant, location}] }
	if err := locked.Change(inventory.Owner{ID: w.order.ID, Order: true}, w.demands, kept); err != nil {
		return err
	}
	return locked.Store(ctx, tx)
}

// store writes the order's lines and totals.
func (w *editing) store(ctx context.Context, q *orderdb.Queries) error {
	o := w.order
	changed := orderdb.ChangeLinesParams{OrderID: o.ID}
	for _, l := range w.changed {
		changed.Ids = append(changed.Ids, l.ID)
		changed.Quantities = append(changed.Quantities, l.Quantity)
		changed.Subtotals = append(changed.Subtotals, l.Subtotal)
		changed.Discounts = append(changed.Discounts, l.Discount)
		changed.Taxes = append(changed.Taxes, l.Tax)
		changed.Totals = append(changed.Totals, l.Total)
	}
	var added orderdb.InsertLinesParams
	if err := (&Order{ID: o.ID, Lines: w.added}).addTo(&orderdb.InsertOrdersParams{}, &added); err != nil {
		return err
	}
	for i := range added.Positions {
		added.Positions[i] += w.position
	}
	details, err := json.Marshal(o.Details)
	if err != nil {
		return fmt.Errorf("encoding an order: %w", err)
	}
	items := int64(0)
	for _, l := range o.Lines {
		items += l.Quantity
	}
	if err := q.ChangeLines(ctx, changed); err != nil {
		return fmt.Errorf("changing order lines: %w", err)
	}
	if err := q.RemoveLines(ctx, orderdb.RemoveLinesParams{OrderID: o.ID, Ids: w.removed}); err != nil {
		return fmt.Errorf("removing order lines: %w", err)
	}
	if err := q.InsertLines(ctx, added); err != nil {
		return fmt.Errorf("storing order lines: %w", err)
	}
	err = q.SetTotals(ctx, orderdb.SetTotalsParams{
		ID: o.ID, Subtotal: o.Subtotal, Discount: o.Discount, Shipping: o.Shipping, Tax: o.Tax, Total: o.Total, ItemCount: items, Details: details, At: o.UpdatedAt,
	})
	if err != nil {
		return fmt.Errorf("storing an order's totals: %w", err)
	}
	return nil
}

// lineChange is what an event tells of an edit.
type lineChange struct {
	Number      string        `json:"number"`
	Text        string        `json:"text"`
	Reason      string        `json:"reason,omitempty"`
	Total       openapi.Money `json:"total"`
	TotalBefore openapi.Money `json:"totalBefore"`
}

// told is what the edit's event tells.
func (w *editing) told(before int64) lineChange {
	text := "Nothing changed."
	if len(w.words) > 0 {
		text = strings.Join(w.words, "; ") + "."
	}
	return lineChange{Number: strconv.FormatInt(w.order.Number, 10), Text: text, Reason: optional.Value(w.Reason), Total: w.order.money(w.order.Total), TotalBefore: w.order.money(before)}
}
