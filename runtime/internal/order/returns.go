package order

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"gitee.com/captainjez/gocart/runtime/internal/events"
	"gitee.com/captainjez/gocart/runtime/internal/inventory"
	"gitee.com/captainjez/gocart/runtime/internal/mail"
	"gitee.com/captainjez/gocart/runtime/internal/optional"
	"gitee.com/captainjez/gocart/runtime/internal/order/orderdb"
	"gitee.com/captainjez/gocart/runtime/internal/problem"
	"gitee.com/captainjez/gocart/runtime/openapi"
)

// Return is a part of an order that its buyer sends back.
type Return struct {
	ID, OrderID uuid.UUID
	State       openapi.ReturnState
	Lines       []ReturnLine
	// Note is its buyer's, Answer the store's.
	Note, Answer string
	// ExchangeID is the order that was placed in exchange, uuid.Nil for none.
	ExchangeID uuid.UUID
	// Credit is how much of the money for what comes back is in that order.
	Credit               int64
	CreatedAt, UpdatedAt time.Time
}

// ReturnLine is so much of a line. Restocked and WrittenOff are what became of
// it when it was received; the rest did not come.
type ReturnLine struct {
	LineID                          uuid.UUID
	Quantity, Restocked, WrittenOff int64
	// Exchanged is how much of it other goods were sent for.
	Exchanged int64
	Reason    openapi.ReturnReason
}

// Public is the return as callers see it.
func (r *Return) Public() openapi.Return {
	public := openapi.Return{
		Id: r.ID, OrderId: r.OrderID, State: r.State, Note: optional.Of(r.Note), Answer: optional.Of(r.Answer),
		ExchangeOrderId: optional.Of(r.ExchangeID), CreatedAt: r.CreatedAt, UpdatedAt: r.UpdatedAt, Lines: make([]openapi.ReturnLine, len(r.Lines)),
	}
	for i, l := range r.Lines {
		public.Lines[i] = openapi.ReturnLine{LineId: l.LineID, Quantity: l.Quantity, Reason: l.Reason, Restocked: l.Restocked, WrittenOff: l.WrittenOff, Exchanged: l.Exchanged}
	}
	return public
}

// sentBack is what an event of a return tells.
type sentBack struct {
	change
	ReturnID uuid.UUID            `json:"returnId"`
	State    openapi.ReturnState  `json:"state"`
	Lines    []openapi.ReturnLine `json:"lines"`
}

// tellReturn notes what became of a return, with words for the timeline, which
// are the reason of one that is cancelled.
func (d *dispatch) tellReturn(r *Return, text string) {
	o, words := d.order, change{Text: text}
	if r.State == openapi.ReturnStateCancelled {
		words = change{Reason: text}
	}
	d.happened = append(d.happened, events.Event{
		Type: "return." + string(r.State), Topic: events.Orders, Subject: o.ID, Customer: o.CustomerID, Actor: d.actor, Public: true, At: r.UpdatedAt,
		Data: sentBack{change: o.change(words), ReturnID: r.ID, State: r.State, Lines: r.Public().Lines},
	})
}

// request makes a return of a part of what was shipped.
func (d *dispatch) request(ctx context.Context, in openapi.ReturnInput) (*Return, error) {
	o := d.order
	before, err := returnsOf(ctx, d.tx, o.ID)
	if err != nil {
		return nil, err
	}
	asked := func(r *Return) bool {
		return r.State != openapi.ReturnStateCancelled && r.State != openapi.ReturnStateRejected
	}
	if err := room("returns", before, asked); err != nil {
		return nil, err
	}
	now := d.s.now().Truncate(time.Microsecond)
	r := &Return{ID: uuid.Must(uuid.NewV7()), OrderID: o.ID, State: openapi.ReturnStateRequested, Note: optional.Value(in.Note), CreatedAt: now, UpdatedAt: now}
	rows := orderdb.InsertReturnLinesParams{ReturnID: r.ID}
	var wrong, against problem.Findings
	for i, w := range in.Lines {
		at := fmt.Sprintf("/lines/%d", i)
		l := pick(o, &wrong, at, w.LineId, in.Lines[:i], func(e openapi.ReturnLineInput) uuid.UUID { return e.LineId })
		if l == nil {
			continue
		}
		wrong.Range(at+"/quantity", w.Quantity, 1, mostQuantity)
		against.Require(l.ComingBack+w.Quantity <= l.Shipped, at+"/quantity", "only %d of %s were shipped and are not being returned", l.Shipped-l.ComingBack, l.SKU)
		reason := openapi.ReturnReasonOther
		if w.Reason != nil {
			reason = *w.Reason
		}
		l.ComingBack += w.Quantity
		r.Lines = append(r.Lines, ReturnLine{LineID: l.ID, Quantity: w.Quantity, Reason: reason})
		rows.LineIds = append(rows.LineIds, l.ID)
		rows.Quantities = append(rows.Quantities, w.Quantity)
		rows.Reasons = append(rows.Reasons, string(reason))
	}
	if err := conflict(wrong, against, problem.New(http.StatusConflict, "return_exceeds_shipped", "More is to be returned than was shipped.")); err != nil {
		return nil, err
	}
	q := orderdb.New(d.tx)
	if err := q.InsertReturn(ctx, orderdb.InsertReturnParams{ID: r.ID, OrderID: o.ID, Note: r.Note, At: now}); err != nil {
		return nil, fmt.Errorf("storing a return: %w", err)
	}
	if err := q.InsertReturnLines(ctx, rows); err != nil {
		return nil, fmt.Errorf("storing a return's lines: %w", err)
	}
	d.tellReturn(r, r.Note)
	return r, nil
}

// answers are the states that a return can come to from others.
var answers = map[openapi.ReturnState][]openapi.ReturnState{
	openapi.ReturnStateApproved:  {openapi.ReturnStateRequested},
	openapi.ReturnStateRejected:  {openapi.ReturnStateRequested},
	openapi.ReturnStateCancelled: {openapi.ReturnStateRequested, openapi.ReturnStateApproved},
	openapi.ReturnStateReceived:  {openapi.ReturnStateApproved},
}

// returnMails are what the buyer is told of a return.
var returnMails = map[openapi.ReturnState]mail.Template{
	openapi.ReturnStateApproved: mail.ReturnApproved,
	openapi.ReturnStateRejected: mail.ReturnRejected,
}

// answer takes a return to a state, with words for its buyer, and gives up what
// does not come back then. One that was answered just so stays as it is.
func (d *dispatch) answer(ctx context.Context, r *Return, to openapi.ReturnState, text string) error {
	if r.State == to && (to == openapi.ReturnStateCancelled || text == r.Answer) {
		return nil
	}
	if to == openapi.ReturnStateCancelled && r.ExchangeID != uuid.Nil {
		return problem.New(http.StatusConflict, "return_state", "Other goods were sent for the return; cancel their order first, if they have not left.")
	}
	if !slices.Contains(answers[to], r.State) {
		return problem.New(http.StatusConflict, "return_state", "The return is %s, and can not be %s.", r.State, to)
	}
	r.State, r.UpdatedAt = to, d.s.now().Truncate(time.Microsecond)
	if text != "" && to != openapi.ReturnStateCancelled { // that may be the buyer's word
		r.Answer = text
	}
	if to != openapi.ReturnStateApproved {
		for _, l := range r.Lines {
			line := d.order.line(l.LineID)
			line.ComingBack -= l.Quantity - l.Restocked - l.WrittenOff
			line.Returned += l.Restocked + l.WrittenOff
		}
	}
	if err := d.saveReturn(ctx, r); err != nil {
		return err
	}
	if template, ok := returnMails[to]; ok {
		m := d.order.message(template)
		m.ReturnID = r.ID
		d.mails = append(d.mails, m)
	}
	d.tellReturn(r, text)
	return nil
}

func (d *dispatch) saveReturn(ctx context.Context, r *Return) error {
	err := orderdb.New(d.tx).UpdateReturn(ctx, orderdb.UpdateReturnParams{
		ID: r.ID, State: string(r.State), Answer: r.Answer, ExchangeID: optional.Of(r.ExchangeID), Credit: r.Credit, At: r.UpdatedAt,
	})
	if err != nil {
		return fmt.Errorf("storing a return: %w", err)
	}
	return nil
}

// receive notes what came back, and puts what can be sold again into the stock.
// What was received just so stays as it is.
func (d *dispatch) receive(ctx context.Context, r *Return, in openapi.ReceiveInput) error {
	if r.State == openapi.ReturnStateReceived {
		return d.receivedSo(ctx, r, in)
	}
	if err := r.arrived(in.Lines); err != nil {
		return err
	}
	if err := d.answer(ctx, r, openapi.ReturnStateReceived, ""); err != nil {
		return err
	}
	rows := orderdb.ReceiveLinesParams{ReturnID: r.ID}
	for _, l := range r.Lines {
		rows.LineIds = append(rows.LineIds, l.LineID)
		rows.Restocked = append(rows.Restocked, l.Restocked)
		rows.WrittenOff = append(rows.WrittenOff, l.WrittenOff)
	}
	if err := orderdb.New(d.tx).ReceiveLines(ctx, rows); err != nil {
		return fmt.Errorf("noting what came back: %w", err)
	}
	if err := d.restock(ctx, r, optional.Value(in.LocationId)); err != nil {
		return err
	}
	if !optional.Value(in.Refund) {
		return nil
	}
	back, err := d.owed(ctx, r)
	if err != nil || len(back.Lines) == 0 { // it was given back, or exchanged, before, or cost nothing
		return err
	}
	_, err = d.refund(ctx, back)
	return err
}

// owed is for what of a return that came its money can be given back; a piece
// that was given its money back may be any, and is taken for one that comes back.
func (d *dispatch) owed(ctx context.Context, r *Return) (Repayment, error) {
	back, worth := Repayment{ReturnID: r.ID}, int64(0)
	before, err := refundsOf(ctx, d.tx, d.order)
	if err != nil {
		return back, err
	}
	if err := d.readSettled(ctx); err != nil {
		return back, err
	}
	for _, l := range r.Lines {
		line := d.order.line(l.LineID)
		if line == nil { // nothing of it came, and it was edited out of the order since
			continue
		}
		if n := min(r.toRefund(l.LineID, before), line.ComingBack-line.Refunded); n > 0 {
			back.Lines = append(back.Lines, openapi.FulfillmentLine{LineId: l.LineID, Quantity: n})
			worth += line.worth(n)
		}
	}
	if worth == 0 {
		back.Lines = nil
	}
	return back, nil
}

// receivedSo is nil where a return was received as in says; that something else
// came, or is to be given back, is a *problem.Problem.
func (d *dispatch) receivedSo(ctx context.Context, r *Return, in openapi.ReceiveInput) error {
	said := *r
	said.Lines = slices.Clone(r.Lines)
	for i := range said.Lines {
		said.Lines[i].Restocked, said.Lines[i].WrittenOff = 0, 0
	}
	if err := said.arrived(in.Lines); err != nil {
		return err
	}
	if !slices.Equal(said.Lines, r.Lines) {
		return problem.New(http.StatusConflict, "return_state", "The return is received already, and something else was noted to have come.")
	}
	if !optional.Value(in.Refund) {
		return nil
	}
	owed, err := d.owed(ctx, r)
	if err != nil || len(owed.Lines) == 0 {
		return err
	}
	given, err := refundsOf(ctx, d.tx, d.order)
	if err == nil && !slices.ContainsFunc(given, func(g *Refund) bool { return g.ReturnID == r.ID && g.State != openapi.RefundStateFailed }) {
		err = problem.New(http.StatusConflict, "return_state", "The return is received already, without a refund: give it with POST /orders/%s/refunds.", d.order.ID)
	}
	return err
}

// toRefund is how much of a line comes back, or came, with the return and was
// neither exchanged nor given its money back by one of an order's refunds.
func (r *Return) toRefund(lineID uuid.UUID, refunds []*Refund) (n int64) {
	for _, l := range r.Lines {
		switch {
		case l.LineID != lineID:
		case r.State == openapi.ReturnStateReceived:
			n = l.Restocked + l.WrittenOff - l.Exchanged
		case r.State == openapi.ReturnStateRequested || r.State == openapi.ReturnStateApproved:
			n = l.Quantity - l.Exchanged
		}
	}
	for _, b := range refunds {
		if b.ReturnID != r.ID || b.State == openapi.RefundStateFailed {
			continue
		}
		for _, l := range b.Lines {
			if l.LineID == lineID {
				n -= l.Quantity
			}
		}
	}
	return max(0, n)
}

// arrived notes how much of a return came, and whether it can be sold again.
func (r *Return) arrived(lines *[]openapi.ReceiveLine) error {
	if lines == nil {
		for i := range r.Lines {
			r.Lines[i].Restocked = r.Lines[i].Quantity
		}
		return nil
	}
	var wrong, against problem.Findings
	came := int64(0)
	for i, w := range *lines {
		at := fmt.Sprintf("/lines/%d", i)
		restock, writeOff := optional.Value(w.Restock), optional.Value(w.WriteOff)
		wrong.Range(at+"/restock", restock, 0, mostQuantity)
		wrong.Range(at+"/writeOff", writeOff, 0, mostQuantity)
		j := slices.IndexFunc(r.Lines, func(l ReturnLine) bool { return l.LineID == w.LineId })
		wrong.Require(j >= 0, at+"/lineId", "is no line of the return")
		wrong.Require(!slices.ContainsFunc((*lines)[:i], func(e openapi.ReceiveLine) bool { return e.LineId == w.LineId }), at+"/lineId", "is named twice")
		if j < 0 {
			continue
		}
		l := &r.Lines[j]
		against.Require(restock+writeOff <= l.Quantity, at, "only %d are being returned", l.Quantity)
		l.Restocked, l.WrittenOff = restock, writeOff
		came += restock + writeOff
	}
	wrong.Require(len(wrong) > 0 || came > 0, "/lines", "has nothing that came; cancel the return instead")
	return conflict(wrong, against, problem.New(http.StatusConflict, "return_exceeds_shipped", "More came back than is being returned."))
}

// restock puts what came back and can be sold again into the stock, as far as
// the stock counts it.
func (d *dispatch) restock(ctx context.Context, r *Return, location uuid.UUID) error {
	if !slices.ContainsFunc(r.Lines, func(l ReturnLine) bool { return l.Restocked > 0 }) {
		return nil
	}
	var err error
	if location == uuid.Nil {
		location, err = d.anyLocation(ctx)
	} else {
		err = d.s.stock.CheckLocation(ctx, d.tx, location)
	}
	if err != nil {
		return err
	}
	parts, err := d.comingIn(ctx, r, location)
	if err != nil {
		return err
	}
	if err := d.lock(ctx, parts); err != nil {
		return err
	}
	for _, p := range parts {
		d.stock.Restock(d.order.ID, p)
	}
	return nil
}

// comingIn are the parts of the stock that are restocked. Of a line from before
// it was known what it takes, that is the variant itself, where its stock is
// counted now.
func (d *dispatch) comingIn(ctx context.Context, r *Return, location uuid.UUID) (parts []inventory.Part, err error) {
	var unknown []uuid.UUID
	for _, l := range d.order.Lines {
		if l.Stock == nil {
			unknown = append(unknown, l.VariantID)
		}
	}
	tracked := map[uuid.UUID]bool{}
	if len(unknown) > 0 {
		if tracked, err = d.s.stock.Tracked(ctx, d.tx, unknown); err != nil {
			return nil, err
		}
	}
	for _, l := range r.Lines {
		line := d.order.line(l.LineID)
		for _, p := range line.takes() {
			if l.Restocked > 0 && (line.Stock != nil || tracked[p.VariantID]) {
				parts = append(parts, inventory.Part{VariantID: p.VariantID, LocationID: location, Quantity: p.Quantity * l.Restocked})
			}
		}
	}
	return parts, nil
}

func returnOf(r orderdb.Return) *Return {
	return &Return{
		ID: r.ID, OrderID: r.OrderID, State: openapi.ReturnState(r.State), Note: r.Note, Answer: r.Answer, ExchangeID: optional.Value(r.ExchangeID), Credit: r.Credit,
		CreatedAt: r.CreatedAt.UTC(), UpdatedAt: r.UpdatedAt.UTC(),
	}
}

// returnsOf lists an order's, the oldest first.
func returnsOf(ctx context.Context, tx orderdb.DBTX, orderID uuid.UUID) ([]*Return, error) {
	rows, err := orderdb.New(tx).ReturnsOf(ctx, orderID)
	if err != nil {
		return nil, fmt.Errorf("reading returns: %w", err)
	}
	return withLines(ctx, tx, rows)
}

// withLines reads the lines of returns.
func withLines(ctx context.Context, tx orderdb.DBTX, rows []orderdb.Return) ([]*Return, error) {
	all, ids, byID := make([]*Return, len(rows)), make([]uuid.UUID, len(rows)), make(map[uuid.UUID]*Return, len(rows))
	for i, r := range rows {
		all[i], ids[i] = returnOf(r), r.ID
		byID[r.ID] = all[i]
	}
	if len(ids) == 0 {
		return all, nil
	}
	lines, err := orderdb.New(tx).ReturnLines(ctx, ids)
	if err != nil {
		return nil, fmt.Errorf("reading the lines of returns: %w", err)
	}
	for _, l := range lines {
		r := byID[l.ReturnID]
		r.Lines = append(r.Lines, ReturnLine{
			LineID: l.LineID, Quantity: l.Quantity, Restocked: l.Restocked, WrittenOff: l.WrittenOff, Exchanged: l.Exchanged, Reason: openapi.ReturnReason(l.Reason),
		})
	}
	return all, nil
}

// Return reads one; one that is not there is a *problem.Problem.
func (s *Orders) Return(ctx context.Context, id uuid.UUID) (*Return, error) {
	row, err := orderdb.New(s.pool).ReturnByID(ctx, id)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, returnNotFound(id)
	}
	if err != nil {
		return nil, fmt.Errorf("reading a return: %w", err)
	}
	all, err := withLines(ctx, s.pool, []orderdb.Return{row})
	if err != nil {
		return nil, err
	}
	return all[0], nil
}

func returnNotFound(id uuid.UUID) error {
	return problem.New(http.StatusNotFound, "return_not_found", "No return of yours has the id %s.", id)
}

// changeReturn is change for one of an order's returns.
func (s *Orders) changeReturn(ctx context.Context, id uuid.UUID, actor string, do func(context.Context, *dispatch, *Return) error) (*Return, error) {
	found, err := s.Return(ctx, id)
	if err != nil {
		return nil, err
	}
	var changed *Return
	err = s.change(ctx, found.OrderID, actor, func(ctx context.Context, d *dispatch) error {
		all, err := returnsOf(ctx, d.tx, found.OrderID)
		if err != nil {
			return err
		}
		changed = all[slices.IndexFunc(all, func(r *Return) bool { return r.ID == id })]
		return do(ctx, d, changed)
	})
	return changed, err
}
