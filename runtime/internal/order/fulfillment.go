package order

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"gitee.com/captainjez/gocart/runtime/internal/db"
	"gitee.com/captainjez/gocart/runtime/internal/events"
	"gitee.com/captainjez/gocart/runtime/internal/inventory"
	"gitee.com/captainjez/gocart/runtime/internal/mail"
	"gitee.com/captainjez/gocart/runtime/internal/optional"
	"gitee.com/captainjez/gocart/runtime/internal/order/orderdb"
	"gitee.com/captainjez/gocart/runtime/internal/payment"
	"gitee.com/captainjez/gocart/runtime/internal/problem"
	"gitee.com/captainjez/gocart/runtime/openapi"
)

const (
	// mostParts bounds an order's fulfilments and returns that are not cancelled
	// or rejected, and its refunds, mostEver all that ever were.
	mostParts = 100
	mostEver  = 1000
)

// Fulfillment is a part of an order that goes out together, from one location.
type Fulfillment struct {
	ID, OrderID, LocationID uuid.UUID
	State                   openapi.FulfillmentState
	Lines                   []Packed
	Tracking                []openapi.Tracking
	// Stock is what of the stock is in it, and from where.
	Stock []inventory.Part
	// ShippedAt and DeliveredAt are zero until then.
	ShippedAt, DeliveredAt time.Time
	CreatedAt, UpdatedAt   time.Time
}

// Packed is so much of a line of the order.
type Packed struct {
	LineID   uuid.UUID
	Quantity int64
}

// Public is the fulfilment as callers see it.
func (f *Fulfillment) Public() openapi.Fulfillment {
	public := openapi.Fulfillment{
		Id: f.ID, OrderId: f.OrderID, LocationId: &f.LocationID, State: f.State, Tracking: f.Tracking, Lines: make([]openapi.FulfillmentLine, len(f.Lines)),
		ShippedAt: optional.Of(f.ShippedAt), DeliveredAt: optional.Of(f.DeliveredAt), CreatedAt: f.CreatedAt, UpdatedAt: f.UpdatedAt,
	}
	for i, l := range f.Lines {
		public.Lines[i] = openapi.FulfillmentLine{LineId: l.LineID, Quantity: l.Quantity}
	}
	if public.Tracking == nil {
		public.Tracking = []openapi.Tracking{}
	}
	return public
}

// dispatch is an order that a transaction holds whose goods it moves: decided
// upon in memory, and stored at once.
type dispatch struct {
	s     *Orders
	tx    pgx.Tx
	order *Order
	// sources are the orders that it has credit from.
	sources []*source
	all     []*Fulfillment
	actor   string
	stock   *inventory.Locked
	// happened and mails are told of when the order is stored, asked is what
	// payment providers are to be asked after that.
	happened []events.Event
	mails    []mail.Message
	asked    []uuid.UUID
	// answered is what became of refunds at once.
	answered []payment.Change
	// settled says that it is known how much of the lines was given back.
	settled bool
}

// goods has a transaction hold an order with all that moves when its goods do.
func (s *Orders) goods(ctx context.Context, tx pgx.Tx, o *Order, actor string) (*dispatch, error) {
	d := &dispatch{s: s, tx: tx, order: o, actor: actor}
	var err error
	if o.Lines == nil {
		err = s.complete(ctx, tx, o)
	} else {
		err = s.readCredit(ctx, tx, o)
	}
	if err != nil {
		return nil, err
	}
	if d.sources, err = s.sources(ctx, tx, o); err != nil {
		return nil, err
	}
	d.all, err = fulfillmentsOf(ctx, tx, o.ID)
	return d, err
}

// change does something to an order's goods in one transaction, stores what
// came of it, and then asks the payment providers.
func (s *Orders) change(ctx context.Context, id uuid.UUID, actor string, do func(context.Context, *dispatch) error) error {
	var asked []uuid.UUID
	err := db.WithTx(ctx, s.pool, func(tx pgx.Tx) (err error) {
		asked, err = s.changeIn(ctx, tx, id, actor, do)
		return err
	})
	if err == nil {
		s.payments.Settle(ctx, asked...)
	}
	return err
}

// changeIn is change in the caller's transaction; it returns what to settle when
// that has committed.
func (s *Orders) changeIn(ctx context.Context, tx pgx.Tx, id uuid.UUID, actor string, do func(context.Context, *dispatch) error) ([]uuid.UUID, error) {
	o, err := s.hold(ctx, tx, id)
	if err != nil {
		return nil, err
	}
	d, err := s.goods(ctx, tx, o, actor)
	if err != nil {
		return nil, err
	}
	if err := do(ctx, d); err != nil {
		return nil, err
	}
	if err := d.store(ctx); err != nil {
		return nil, err
	}
	if err := d.progress(ctx); err != nil {
		return nil, err
	}
	return d.asked, s.refundsChanged(ctx, tx, d.answered, s.now().Truncate(time.Microsecond))
}

// store writes the counts of the lines and the stock, and tells what happened.
func (d *dispatch) store(ctx context.Context) error {
	if err := d.s.count(ctx, d.tx, d.order); err != nil {
		return err
	}
	if d.stock != nil {
		if err := d.stock.Store(ctx, d.tx); err != nil {
			return err
		}
		d.stock = nil
	}
	if err := d.s.events.Append(ctx, d.tx, d.happened...); err != nil {
		return err
	}
	for _, m := range d.mails {
		if err := d.s.mailer.Enqueue(ctx, d.tx, m); err != nil {
			return err
		}
	}
	d.happened, d.mails = nil, nil
	return nil
}

// count stores how much of the order's lines is where.
func (s *Orders) count(ctx context.Context, tx pgx.Tx, o *Order) error {
	rows := orderdb.CountLinesParams{OrderID: o.ID}
	for _, l := range o.Lines {
		rows.Ids = append(rows.Ids, l.ID)
		rows.Packed = append(rows.Packed, l.Packed)
		rows.Shipped = append(rows.Shipped, l.Shipped)
		rows.Delivered = append(rows.Delivered, l.Delivered)
		rows.ComingBack = append(rows.ComingBack, l.ComingBack)
		rows.Returned = append(rows.Returned, l.Returned)
		rows.Refunded = append(rows.Refunded, l.Refunded)
	}
	if err := orderdb.New(tx).CountLines(ctx, rows); err != nil {
		return fmt.Errorf("counting order lines: %w", err)
	}
	return nil
}

// progress takes the order to the state that its goods are in.
func (d *dispatch) progress(ctx context.Context) error {
	o := d.order
	shipped, delivered := true, true
	for _, l := range o.Lines {
		shipped = shipped && l.Shipped == l.Quantity
		delivered = delivered && l.Delivered == l.Quantity
	}
	to := o.State
	switch {
	case o.State == openapi.OrderStateShipped && !shipped:
		to = openapi.OrderStateProcessing
	case o.State == openapi.OrderStateProcessing && shipped:
		to = openapi.OrderStateShipped
	}
	if err := d.enter(ctx, to); err != nil {
		return err
	}
	if o.State == openapi.OrderStateShipped && delivered {
		return d.enter(ctx, openapi.OrderStateDelivered)
	}
	return nil
}

// enter is Orders.enter for an order whose goods are there already.
func (d *dispatch) enter(ctx context.Context, to openapi.OrderState) error {
	if d.order.State == to {
		return nil
	}
	return d.s.enter(ctx, d.tx, d.order, to, d.actor, "", nil)
}

// lock has the transaction hold the stock that the order holds, and that of
// parts.
func (d *dispatch) lock(ctx context.Context, parts []inventory.Part) (err error) {
	if d.stock == nil {
		d.stock, err = d.s.stock.LockAt(ctx, d.tx, parts, d.order.ID)
	}
	return err
}

// line is the order's line with an id, nil for none.
func (o *Order) line(id uuid.UUID) *Line {
	if i := slices.IndexFunc(o.Lines, func(l Line) bool { return l.ID == id }); i >= 0 {
		return &o.Lines[i]
	}
	return nil
}

// parcel is what an event of a fulfilment tells.
type parcel struct {
	change
	FulfillmentID uuid.UUID                 `json:"fulfillmentId"`
	LocationID    uuid.UUID                 `json:"locationId"`
	Lines         []openapi.FulfillmentLine `json:"lines"`
	Tracking      []openapi.Tracking        `json:"tracking"`
}

// tell completes an event of a fulfilment, with the reason for it.
func (d *dispatch) tell(f *Fulfillment, e events.Event, reason string) {
	public := f.Public()
	e.Topic, e.Subject, e.Customer, e.Actor, e.Public, e.At = events.Orders, d.order.ID, d.order.CustomerID, d.actor, true, f.UpdatedAt
	e.Data = parcel{
		change: d.order.change(change{Reason: reason}), FulfillmentID: f.ID, LocationID: f.LocationID, Lines: public.Lines, Tracking: public.Tracking,
	}
	d.happened = append(d.happened, e)
}

// Packing is what is to be packed.
type Packing struct {
	// LocationID is uuid.Nil for wherever the order holds all of it.
	LocationID uuid.UUID
	// Anywhere takes it from wherever it is held.
	Anywhere bool
	// Lines are nil for all that is in no package.
	Lines    []openapi.FulfillmentLine
	Tracking []openapi.Tracking
}

// pack makes a fulfilment of a part of the order.
func (d *dispatch) pack(ctx context.Context, in Packing) (*Fulfillment, error) {
	o := d.order
	if err := d.mayPack(); err != nil {
		return nil, err
	}
	lines, err := d.contents(in.Lines)
	if err != nil {
		return nil, err
	}
	free, err := d.free(ctx)
	if err != nil {
		return nil, err
	}
	need := d.need(lines, free)
	if in.LocationID == uuid.Nil {
		in.LocationID, err = d.place(ctx, need, free, in.Anywhere)
	} else {
		err = d.s.stock.CheckLocation(ctx, d.tx, in.LocationID)
	}
	if err != nil {
		return nil, err
	}
	stock, err := d.gather(need, free, in.LocationID, in.Anywhere)
	if err != nil {
		return nil, err
	}
	if o.State == openapi.OrderStateConfirmed {
		if err := d.enter(ctx, openapi.OrderStateProcessing); err != nil {
			return nil, err
		}
	}
	now := d.s.now().Truncate(time.Microsecond)
	f := &Fulfillment{
		ID: uuid.Must(uuid.NewV7()), OrderID: o.ID, LocationID: in.LocationID, State: openapi.FulfillmentStatePending, Lines: lines, Tracking: in.Tracking, Stock: stock,
		CreatedAt: now, UpdatedAt: now,
	}
	for _, l := range lines {
		o.line(l.LineID).Packed += l.Quantity
	}
	d.all = append(d.all, f)
	d.tell(f, events.Event{Type: "fulfillment.created"}, "")
	return f, d.insert(ctx, f)
}

func (d *dispatch) mayPack() error {
	o := d.order
	if o.State != openapi.OrderStateConfirmed && o.State != openapi.OrderStateProcessing {
		return problem.New(http.StatusConflict, "order_not_fulfillable", "The order is %s; what is confirmed or processing can be packed.", o.State)
	}
	return room("fulfilments", d.all, func(f *Fulfillment) bool { return f.State != openapi.FulfillmentStateCancelled })
}

// room is a *problem.Problem unless an order can have one more of its parts, of
// which those that came to nothing do not count.
func room[T any](what string, all []T, counts func(T) bool) error {
	n := 0
	for _, part := range all {
		if counts(part) {
			n++
		}
	}
	if n < mostParts && len(all) < mostEver {
		return nil
	}
	return problem.New(http.StatusConflict, "too_many_parts", "The order has %d %s, and can have no more.", n, what)
}

// contents are the lines of a fulfilment to be.
func (d *dispatch) contents(wanted []openapi.FulfillmentLine) ([]Packed, error) {
	o := d.order
	if wanted == nil {
		for _, l := range o.Lines {
			if l.Packed < l.Quantity {
				wanted = append(wanted, openapi.FulfillmentLine{LineId: l.ID, Quantity: l.Quantity - l.Packed})
			}
		}
		if len(wanted) == 0 {
			return nil, problem.New(http.StatusConflict, "nothing_to_fulfill", "All of the order is in packages already.")
		}
	}
	var found, much problem.Findings
	lines := make([]Packed, len(wanted))
	for i, w := range wanted {
		at := fmt.Sprintf("/lines/%d", i)
		l := pick(o, &found, at, w.LineId, wanted[:i], func(e openapi.FulfillmentLine) uuid.UUID { return e.LineId })
		if l == nil {
			continue
		}
		found.Range(at+"/quantity", w.Quantity, 1, mostQuantity)
		much.Require(l.Packed+w.Quantity <= l.Quantity, at+"/quantity", "only %d of %s are in no package yet", l.Quantity-l.Packed, l.SKU)
		lines[i] = Packed{LineID: l.ID, Quantity: w.Quantity}
	}
	return lines, conflict(found, much, problem.New(http.StatusConflict, "fulfillment_exceeds_order", "More is to be packed than is left of the order."))
}

// mostQuantity is how much of a line is spoken of at once.
const mostQuantity = 1_000_000

// pick is the line that an entry of a list names, nil for none; each may be
// named once.
func pick[E any](o *Order, f *problem.Findings, pointer string, id uuid.UUID, before []E, of func(E) uuid.UUID) *Line {
	l := o.line(id)
	f.Require(l != nil, pointer+"/lineId", "is no line of the order")
	f.Require(!slices.ContainsFunc(before, func(e E) bool { return of(e) == id }), pointer+"/lineId", "is named twice")
	return l
}

// conflict is what is wrong with the input, else what stands against it.
func conflict(wrong, against problem.Findings, refusal *problem.Problem) error {
	if err := wrong.Err(); err != nil || len(against) == 0 {
		return err
	}
	refusal.Errors = against
	return refusal
}

// free is what the order holds and no package claims.
func (d *dispatch) free(ctx context.Context) ([]inventory.Part, error) {
	if err := d.lock(ctx, nil); err != nil {
		return nil, err
	}
	held := d.stock.Held(d.order.ID)
	for _, p := range packedNow(d.all) {
		claim(held, p)
	}
	return held, nil
}

// packedNow is what of the stock is in fulfilments that have not left.
func packedNow(all []*Fulfillment) (parts []inventory.Part) {
	for _, f := range all {
		if f.State == openapi.FulfillmentStatePending {
			parts = append(parts, f.Stock...)
		}
	}
	return parts
}

// claim lessens what is in p's place by p's quantity, or to nothing.
func claim(all []inventory.Part, p inventory.Part) {
	for i := range all {
		if all[i].VariantID == p.VariantID && all[i].LocationID == p.LocationID {
			all[i].Quantity -= min(all[i].Quantity, p.Quantity)
		}
	}
}

// need is how much of each variant lines take from the stock, as far as the order
// holds it: of what is not counted it holds nothing.
func (d *dispatch) need(lines []Packed, free []inventory.Part) map[uuid.UUID]int64 {
	need, held := map[uuid.UUID]int64{}, map[uuid.UUID]int64{}
	for _, p := range free {
		held[p.VariantID] += p.Quantity
	}
	for _, packed := range lines {
		for _, p := range d.order.line(packed.LineID).takes() {
			need[p.VariantID] = min(need[p.VariantID]+packed.Quantity*p.Quantity, held[p.VariantID])
		}
	}
	if d.order.old() && d.order.packedAll(lines) {
		need = held
	}
	maps.DeleteFunc(need, func(_ uuid.UUID, n int64) bool { return n == 0 })
	return need
}

// old reports whether it is not known of all lines what they take from the
// stock, as of an order that was placed before that was kept.
func (o *Order) old() bool {
	return slices.ContainsFunc(o.Lines, func(l Line) bool { return l.Stock == nil })
}

// packedAll reports whether nothing is left of the order beside some lines.
func (o *Order) packedAll(lines []Packed) bool {
	left := int64(0)
	for _, l := range o.Lines {
		left += l.Quantity - l.Packed
	}
	for _, l := range lines {
		left -= l.Quantity
	}
	return left == 0
}

// place is the first location where the order holds all that is needed, or,
// where it is taken from anywhere, some of it.
func (d *dispatch) place(ctx context.Context, need map[uuid.UUID]int64, free []inventory.Part, anywhere bool) (uuid.UUID, error) {
	if len(need) == 0 {
		return d.anyLocation(ctx)
	}
	short := map[uuid.UUID]int{} // by location, how many variants are not all there
	var inOrder []uuid.UUID
	for _, p := range free {
		if need[p.VariantID] == 0 || p.Quantity == 0 {
			continue
		}
		if _, seen := short[p.LocationID]; !seen {
			short[p.LocationID] = len(need)
			inOrder = append(inOrder, p.LocationID)
		}
		if p.Quantity >= need[p.VariantID] {
			short[p.LocationID]--
		}
	}
	for _, at := range inOrder {
		if short[at] == 0 {
			return at, nil
		}
	}
	if anywhere {
		return inOrder[0], nil
	}
	names := make([]string, len(inOrder))
	for i, id := range inOrder {
		names[i] = id.String()
	}
	return uuid.Nil, problem.New(http.StatusConflict, "several_locations",
		"No one location holds all of this for the order: pack what each of %s has by itself, or name the locationId to bring it together in.", problem.Words(names, "and"))
}

// anyLocation is where to pack, or put, what is in no particular place.
func (d *dispatch) anyLocation(ctx context.Context) (uuid.UUID, error) {
	at, err := d.s.stock.FirstLocation(ctx, d.tx)
	if errors.Is(err, pgx.ErrNoRows) {
		return at, problem.New(http.StatusConflict, "no_location", "No location is active; name the locationId.")
	}
	return at, err
}

// gather has the order hold what is needed at a location, and says what is
// taken; from anywhere, it is taken from where it is held.
func (d *dispatch) gather(need map[uuid.UUID]int64, free []inventory.Part, location uuid.UUID, anywhere bool) (taken []inventory.Part, err error) {
	for _, here := range []bool{true, false} {
		for _, p := range free {
			n := min(need[p.VariantID], p.Quantity)
			if n == 0 || here != (p.LocationID == location) {
				continue
			}
			p.Quantity = n
			if !here && !anywhere {
				if !d.stock.Rehold(d.order.ID, p, location) {
					return nil, problem.New(http.StatusConflict, "out_of_stock",
						"The order holds %d of variant %s elsewhere, and there are too few at this location.", n, p.VariantID)
				}
				p.LocationID = location
			}
			need[p.VariantID] -= n
			taken = append(taken, p)
		}
	}
	return taken, nil
}

// insert stores a new fulfilment.
func (d *dispatch) insert(ctx context.Context, f *Fulfillment) error {
	tracking, err := stored(f.Tracking)
	if err != nil {
		return err
	}
	stock, err := stored(f.Stock)
	if err != nil {
		return err
	}
	q := orderdb.New(d.tx)
	row := orderdb.InsertFulfillmentParams{ID: f.ID, OrderID: f.OrderID, LocationID: f.LocationID, Tracking: tracking, Stock: stock, At: f.CreatedAt}
	if err := q.InsertFulfillment(ctx, row); err != nil {
		return fmt.Errorf("storing a fulfilment: %w", err)
	}
	rows := orderdb.InsertFulfillmentLinesParams{FulfillmentID: f.ID}
	for _, l := range f.Lines {
		rows.LineIds = append(rows.LineIds, l.LineID)
		rows.Quantities = append(rows.Quantities, l.Quantity)
	}
	if err := q.InsertFulfillmentLines(ctx, rows); err != nil {
		return fmt.Errorf("storing a fulfilment's lines: %w", err)
	}
	return nil
}

// stored is a list as it is kept in a column.
func stored[T any](list []T) ([]byte, error) {
	if list == nil {
		list = []T{}
	}
	raw, err := json.Marshal(list)
	if err != nil {
		return nil, fmt.Errorf("encoding a list: %w", err)
	}
	return raw, nil
}

// save stores how a fulfilment stands, and tells of it.
func (d *dispatch) save(ctx context.Context, f *Fulfillment, e events.Event, reason string) error {
	tracking, err := stored(f.Tracking)
	if err != nil {
		return err
	}
	f.UpdatedAt = d.s.now().Truncate(time.Microsecond)
	err = orderdb.New(d.tx).UpdateFulfillment(ctx, orderdb.UpdateFulfillmentParams{
		ID: f.ID, State: string(f.State), Tracking: tracking, ShippedAt: optional.Of(f.ShippedAt), DeliveredAt: optional.Of(f.DeliveredAt), At: f.UpdatedAt,
	})
	if err != nil {
		return fmt.Errorf("storing a fulfilment: %w", err)
	}
	d.tell(f, e, reason)
	return nil
}

// ship hands a fulfilment to its carrier; one that is on its way takes other
// tracking, unless that is nil.
func (d *dispatch) ship(ctx context.Context, f *Fulfillment, tracking []openapi.Tracking) error {
	other := tracking != nil && !slices.EqualFunc(f.Tracking, tracking, sameTracking)
	if other {
		f.Tracking = tracking
	}
	switch {
	case f.State == openapi.FulfillmentStateShipped && other:
		return d.save(ctx, f, events.Event{Type: "fulfillment.tracking_changed"}, "")
	case f.State == openapi.FulfillmentStateShipped:
		return nil
	case f.State != openapi.FulfillmentStatePending:
		return fulfillmentIs(f)
	case d.order.State != openapi.OrderStateProcessing:
		return problem.New(http.StatusConflict, "order_not_fulfillable", "The order is %s; only what is processing can be shipped.", d.order.State)
	case d.order.Due() > 0:
		return problem.New(http.StatusConflict, "payment_due", "%s of the order are to be paid first, with POST /orders/%s/payments.", d.order.amount(d.order.Due()), d.order.ID)
	}
	if err := d.s.payments.Sure(ctx, d.tx, d.order.Payments, d.order.Total); err != nil {
		return err
	}
	if err := d.capture(ctx); err != nil {
		return err
	}
	if err := d.lock(ctx, nil); err != nil {
		return err
	}
	for _, p := range f.Stock {
		d.stock.ShipPart(d.order.ID, p)
	}
	for _, l := range f.Lines {
		d.order.line(l.LineID).Shipped += l.Quantity
	}
	f.State, f.ShippedAt = openapi.FulfillmentStateShipped, d.s.now().Truncate(time.Microsecond)
	if err := d.save(ctx, f, events.Event{Type: "fulfillment.shipped"}, ""); err != nil {
		return err
	}
	m := d.order.message(mail.OrderShipped)
	m.FulfillmentID = f.ID
	d.mails = append(d.mails, m)
	return nil
}

func sameTracking(a, b openapi.Tracking) bool {
	return a.Number == b.Number && optional.Value(a.Carrier) == optional.Value(b.Carrier) && optional.Value(a.Url) == optional.Value(b.Url)
}

// capture takes what is set aside for the order.
func (d *dispatch) capture(ctx context.Context) error {
	decided, err := d.s.payments.Capture(ctx, d.tx, d.order.ID, d.actor)
	if err != nil {
		return err
	}
	d.happened = append(d.happened, d.order.told(decided.Changes, d.s.now().Truncate(time.Microsecond))...)
	d.asked = append(d.asked, decided.Asked...)
	return nil
}

func fulfillmentIs(f *Fulfillment) error {
	return problem.New(http.StatusConflict, "fulfillment_state", "The fulfilment is %s, and this can not be done to it.", f.State)
}

// deliver notes that a fulfilment has arrived.
func (d *dispatch) deliver(ctx context.Context, f *Fulfillment) error {
	switch f.State {
	case openapi.FulfillmentStateDelivered:
		return nil
	case openapi.FulfillmentStateShipped:
	case openapi.FulfillmentStatePending, openapi.FulfillmentStateCancelled:
		return fulfillmentIs(f)
	}
	for _, l := range f.Lines {
		d.order.line(l.LineID).Delivered += l.Quantity
	}
	f.State, f.DeliveredAt = openapi.FulfillmentStateDelivered, d.s.now().Truncate(time.Microsecond)
	return d.save(ctx, f, events.Event{Type: "fulfillment.delivered"}, "")
}

// unpack cancels a fulfilment that has not arrived.
func (d *dispatch) unpack(ctx context.Context, f *Fulfillment, reason string) error {
	switch f.State {
	case openapi.FulfillmentStateCancelled:
		return nil
	case openapi.FulfillmentStateDelivered:
		return fulfillmentIs(f)
	case openapi.FulfillmentStatePending:
	case openapi.FulfillmentStateShipped:
		if s := d.order.State; s != openapi.OrderStateShipped && s != openapi.OrderStateProcessing {
			return problem.New(http.StatusConflict, "order_not_fulfillable", "The order is %s, so what was shipped of it stays shipped; it can be returned.", s)
		}
		if err := d.putBack(ctx, f); err != nil {
			return err
		}
	}
	for _, l := range f.Lines {
		d.order.line(l.LineID).Packed -= l.Quantity
	}
	f.State = openapi.FulfillmentStateCancelled
	return d.save(ctx, f, events.Event{Type: "fulfillment.cancelled"}, reason)
}

// putBack takes back what was shipped with a fulfilment.
func (d *dispatch) putBack(ctx context.Context, f *Fulfillment) error {
	for _, l := range f.Lines {
		line := d.order.line(l.LineID)
		if line.Shipped-l.Quantity < line.ComingBack {
			return problem.New(http.StatusConflict, "return_open", "Of %s, %d are being returned; they can not also be unpacked.", line.SKU, line.ComingBack)
		}
		line.Shipped -= l.Quantity
	}
	if err := d.lock(ctx, f.Stock); err != nil {
		return err
	}
	for _, p := range f.Stock {
		d.stock.Unship(d.order.ID, p)
	}
	return nil
}

// shipAll ships whatever of the order has not been; what is in no package
// goes in one, from wherever it is held.
func (d *dispatch) shipAll(ctx context.Context) error {
	for _, f := range d.all {
		if f.State == openapi.FulfillmentStatePending {
			if err := d.ship(ctx, f, nil); err != nil {
				return err
			}
		}
	}
	if !slices.ContainsFunc(d.order.Lines, func(l Line) bool { return l.Packed < l.Quantity }) {
		return d.capture(ctx) // what was set aside since its last package left
	}
	f, err := d.pack(ctx, Packing{Anywhere: true})
	if err != nil {
		return err
	}
	return d.ship(ctx, f, nil)
}

// deliverAll notes that whatever was shipped has arrived.
func (d *dispatch) deliverAll(ctx context.Context) error {
	for _, f := range d.all {
		if f.State == openapi.FulfillmentStateShipped {
			if err := d.deliver(ctx, f); err != nil {
				return err
			}
		}
	}
	for i := range d.order.Lines { // of before there were fulfilments, too
		d.order.Lines[i].Delivered = d.order.Lines[i].Shipped
	}
	return nil
}

// unpackAll cancels whatever is packed of an order that is to be cancelled.
func (d *dispatch) unpackAll(ctx context.Context, reason string) error {
	for _, l := range d.order.Lines {
		if l.Shipped > 0 {
			return problem.New(http.StatusConflict, "order_partly_shipped",
				"A part of the order was shipped. Cancel the fulfilments that were, or edit the rest out of the order and have it returned.")
		}
	}
	for _, f := range d.all {
		if f.State == openapi.FulfillmentStatePending {
			if err := d.unpack(ctx, f, reason); err != nil {
				return err
			}
		}
	}
	return nil
}

func fulfillmentOf(r orderdb.Fulfillment) (*Fulfillment, error) {
	f := &Fulfillment{
		ID: r.ID, OrderID: r.OrderID, LocationID: r.LocationID, State: openapi.FulfillmentState(r.State),
		CreatedAt: r.CreatedAt.UTC(), UpdatedAt: r.UpdatedAt.UTC(), ShippedAt: optional.Value(r.ShippedAt).UTC(), DeliveredAt: optional.Value(r.DeliveredAt).UTC(),
	}
	if err := json.Unmarshal(r.Tracking, &f.Tracking); err != nil {
		return nil, fmt.Errorf("tracking of fulfilment %s: %w", r.ID, err)
	}
	if err := json.Unmarshal(r.Stock, &f.Stock); err != nil {
		return nil, fmt.Errorf("stock of fulfilment %s: %w", r.ID, err)
	}
	return f, nil
}

// fulfillmentsOf lists an order's, the oldest first.
func fulfillmentsOf(ctx context.Context, tx orderdb.DBTX, orderID uuid.UUID) ([]*Fulfillment, error) {
	rows, err := orderdb.New(tx).FulfillmentsOf(ctx, orderID)
	if err != nil {
		return nil, fmt.Errorf("reading fulfilments: %w", err)
	}
	return withContents(ctx, tx, rows)
}

// withContents reads what is in fulfilments.
func withContents(ctx context.Context, tx orderdb.DBTX, rows []orderdb.Fulfillment) ([]*Fulfillment, error) {
	all, ids, byID := make([]*Fulfillment, len(rows)), make([]uuid.UUID, len(rows)), make(map[uuid.UUID]*Fulfillment, len(rows))
	for i, r := range rows {
		f, err := fulfillmentOf(r)
		if err != nil {
			return nil, err
		}
		all[i], ids[i], byID[r.ID] = f, r.ID, f
	}
	if len(ids) == 0 {
		return all, nil
	}
	lines, err := orderdb.New(tx).FulfillmentLines(ctx, ids)
	if err != nil {
		return nil, fmt.Errorf("reading what is in fulfilments: %w", err)
	}
	for _, r := range lines {
		f := byID[r.FulfillmentID]
		f.Lines = append(f.Lines, Packed{LineID: r.LineID, Quantity: r.Quantity})
	}
	return all, nil
}

// Fulfillment reads one; one that is not there is a *problem.Problem.
func (s *Orders) Fulfillment(ctx context.Context, id uuid.UUID) (*Fulfillment, error) {
	r, err := orderdb.New(s.pool).FulfillmentByID(ctx, id)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, fulfillmentNotFound(id)
	}
	if err != nil {
		return nil, fmt.Errorf("reading a fulfilment: %w", err)
	}
	all, err := withContents(ctx, s.pool, []orderdb.Fulfillment{r})
	if err != nil {
		return nil, err
	}
	return all[0], nil
}

func fulfillmentNotFound(id uuid.UUID) error {
	return problem.New(http.StatusNotFound, "fulfillment_not_found", "No fulfilment of yours has the id %s.", id)
}

// changeFulfillment is change for one of an order's fulfilments.
func (s *Orders) changeFulfillment(ctx context.Context, id uuid.UUID, actor string, do func(context.Context, *dispatch, *Fulfillment) error) (*Fulfillment, error) {
	found, err := s.Fulfillment(ctx, id)
	if err != nil {
		return nil, err
	}
	var changed *Fulfillment
	err = s.change(ctx, found.OrderID, actor, func(ctx context.Context, d *dispatch) error {
		changed = d.all[slices.IndexFunc(d.all, func(f *Fulfillment) bool { return f.ID == id })]
		return do(ctx, d, changed)
	})
	return changed, err
}
