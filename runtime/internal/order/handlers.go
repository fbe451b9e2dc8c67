package order

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"gitee.com/captainjez/gocart/runtime/internal/events"
	"gitee.com/captainjez/gocart/runtime/internal/identity"
	"gitee.com/captainjez/gocart/runtime/internal/money"
	"gitee.com/captainjez/gocart/runtime/internal/optional"
	"gitee.com/captainjez/gocart/runtime/internal/order/orderdb"
	"gitee.com/captainjez/gocart/runtime/internal/problem"
	"gitee.com/captainjez/gocart/runtime/internal/rest"
	"gitee.com/captainjez/gocart/runtime/openapi"
)

// Handlers is the orders' part of openapi.ServerInterface, save for placing
// one, which is package checkout's.
type Handlers struct{ Orders *Orders }

func whoOf(c *gin.Context) Who {
	return Who{Principal: identity.Of(c), CartToken: c.GetHeader("X-Cart-Token")}
}

// ListOrders answers GET /orders.
func (h Handlers) ListOrders(c *gin.Context, params openapi.ListOrdersParams) {
	page, err := h.list(c.Request.Context(), identity.Of(c), params)
	rest.JSON(c, http.StatusOK, page, err)
}

func (h Handlers) list(ctx context.Context, who *identity.Principal, params openapi.ListOrdersParams) (openapi.OrderPage, error) {
	page := openapi.OrderPage{Orders: []openapi.OrderSummary{}}
	if !who.Can("orders:read") {
		if params.CustomerId != nil && *params.CustomerId != who.CustomerID || params.Email != nil {
			return page, problem.New(http.StatusForbidden, "forbidden", "customerId and email need the scope orders:read.")
		}
		params.CustomerId = &who.CustomerID
	}
	query := orderdb.ListOrdersParams{CustomerID: params.CustomerId, Email: params.Email}
	if params.State != nil {
		if !params.State.Valid() {
			return page, problem.Invalid(problem.Field{Pointer: "state", Detail: "is not a state of an order"})
		}
		query.State = optional.Of(string(*params.State))
	}
	if params.Number != nil {
		n, err := strconv.ParseInt(strings.TrimPrefix(*params.Number, "#"), 10, 64)
		if err != nil {
			return page, problem.Invalid(problem.Field{Pointer: "number", Detail: "must be an order's number, such as 1001"})
		}
		query.Number = &n
	}
	if params.Email != nil {
		var f problem.Findings
		f.Text("email", *params.Email, 0, 254)
		if err := f.Err(); err != nil {
			return page, err
		}
	}
	list := fmt.Sprint("orders", str(query.CustomerID), str(query.State), str(query.Email), str(query.Number))
	var err error
	if query.Before, query.PageSize, err = rest.Paging(params.Limit, params.Cursor, list); err != nil {
		return page, err
	}
	rows, err := orderdb.New(h.Orders.pool).ListOrders(ctx, query)
	if err != nil {
		return page, fmt.Errorf("listing orders: %w", err)
	}
	rows, page.NextCursor = rest.Page(rows, query.PageSize, list, func(r orderdb.ListOrdersRow) uuid.UUID { return r.ID })
	for _, r := range rows {
		page.Orders = append(page.Orders, openapi.OrderSummary{
			Id: r.ID, Number: strconv.FormatInt(r.Number, 10), State: openapi.OrderState(r.State), CustomerId: r.CustomerID, Email: r.Email,
			Total:     openapi.Money{Amount: money.Amount{Minor: r.Total, Currency: r.Currency}.Decimal(), Currency: r.Currency},
			ItemCount: r.ItemCount, CreatedAt: r.CreatedAt.UTC(),
		})
	}
	return page, nil
}

func str[T any](p *T) string {
	if p == nil {
		return "|"
	}
	return fmt.Sprintf("|%v", *p)
}

// GetOrder answers GET /orders/{id}.
func (h Handlers) GetOrder(c *gin.Context, id uuid.UUID) {
	o, err := h.Orders.Get(c.Request.Context(), id, whoOf(c))
	h.answer(c, o, err)
}

// answer tells of an order, and what its buyer has left to do to nobody else.
func (h Handlers) answer(c *gin.Context, o *Order, err error) {
	if err != nil {
		rest.Fail(c, err)
		return
	}
	public := o.Public()
	if !h.Orders.bought(whoOf(c), o) {
		public = withoutActions(public)
	}
	rest.JSON(c, http.StatusOK, public, nil)
}

// withoutActions leaves out what the buyer has left to do, which is nobody
// else's to know.
func withoutActions(o openapi.Order) openapi.Order {
	for i := range o.Payments {
		o.Payments[i].NextAction = nil
	}
	return o
}

// CancelOrder answers POST /orders/{id}/cancel.
func (h Handlers) CancelOrder(c *gin.Context, id uuid.UUID) {
	reason, ok := readReason(c)
	if !ok {
		return
	}
	who := whoOf(c)
	o, err := h.Orders.move(c.Request.Context(), id, openapi.OrderStateCancelled, who.Actor(), reason, func(o *Order) error {
		switch {
		case !h.Orders.may(who, o):
			return notFound(id)
		case who.Can("orders:write"):
			return nil
		case !h.Orders.bought(who, o):
			return problem.New(http.StatusForbidden, "forbidden", "To cancel somebody's order needs the scope orders:write.")
		}
		return o.buyerCancels()
	})
	h.answer(c, o, err)
}

// buyerCancels is nil where an order's buyer may cancel it, and where nobody
// can, which is said to whoever tries.
func (o *Order) buyerCancels() error {
	switch {
	case o.over() || slices.Contains(customerCancels, o.State):
		return nil
	case gone(o.State):
		return problem.New(http.StatusConflict, "transition_not_allowed", "The order is %s; what is not to be kept of it is sent back, with POST /orders/%s/returns.", o.State, o.ID)
	}
	return problem.New(http.StatusConflict, "transition_not_allowed", "The order is %s; please ask the store to cancel it.", o.State)
}

// readReason reads why something is cancelled; what is wrong with it is
// answered, and then ok is false.
func readReason(c *gin.Context) (reason string, ok bool) {
	in, ok := rest.Read[openapi.CancelInput](c)
	if !ok {
		return "", false
	}
	reason, err := reasonOf(in.Reason)
	if err != nil {
		rest.Fail(c, err)
	}
	return reason, err == nil
}

func reasonOf(reason *string) (string, error) {
	if reason == nil {
		return "", nil
	}
	var f problem.Findings
	f.Text("/reason", *reason, 0, 500)
	return *reason, f.Err()
}

// MoveOrder answers POST /orders/{id}/transitions.
func (h Handlers) MoveOrder(c *gin.Context, id uuid.UUID) {
	in, ok := rest.Read[openapi.TransitionInput](c)
	if !ok {
		return
	}
	reason, err := reasonOf(in.Reason)
	if err == nil && !in.To.Valid() {
		err = problem.Invalid(problem.Field{Pointer: "/to", Detail: "is not a state of an order"})
	}
	if err != nil {
		rest.Fail(c, err)
		return
	}
	o, err := h.Orders.move(c.Request.Context(), id, in.To, identity.Of(c).Actor(), reason, func(*Order) error { return nil })
	h.answer(c, o, err)
}

// AddOrderNote answers POST /orders/{id}/notes.
func (h Handlers) AddOrderNote(c *gin.Context, id uuid.UUID, params openapi.AddOrderNoteParams) {
	who := identity.Of(c)
	var order *Order
	rest.Create(c, h.Orders.pool, rest.Creation[openapi.NoteInput, openapi.TimelineEntry]{
		Key: params.IdempotencyKey,
		Prepare: func(ctx context.Context, in openapi.NoteInput) error {
			var f problem.Findings
			f.Text("/text", in.Text, 1, 2000)
			f.Require(in.Text == "" || strings.TrimSpace(in.Text) != "", "/text", "must not be blank")
			if err := f.Err(); err != nil {
				return err
			}
			var err error
			order, err = h.Orders.Get(ctx, id, Who{Principal: who})
			return err
		},
		Effect: func(ctx context.Context, tx pgx.Tx, in openapi.NoteInput) (openapi.TimelineEntry, error) {
			note := []events.Event{{
				Type: "order.note", Topic: events.Orders, Subject: id, Customer: order.CustomerID, Actor: who.Actor(), Public: in.VisibleToCustomer != nil && *in.VisibleToCustomer,
				Data: change{Text: in.Text}, At: h.Orders.now().Truncate(time.Microsecond),
			}}
			if err := h.Orders.events.Append(ctx, tx, note...); err != nil {
				return openapi.TimelineEntry{}, err
			}
			return openapi.TimelineEntry{Id: note[0].ID, Type: note[0].Type, At: note[0].At, Actor: &note[0].Actor, Text: &in.Text}, nil
		},
	})
}

// ListOrderTimeline answers GET /orders/{id}/timeline.
func (h Handlers) ListOrderTimeline(c *gin.Context, id uuid.UUID) {
	timeline, err := h.timeline(c.Request.Context(), id, whoOf(c))
	rest.JSON(c, http.StatusOK, timeline, err)
}

func (h Handlers) timeline(ctx context.Context, id uuid.UUID, who Who) (openapi.Timeline, error) {
	timeline := openapi.Timeline{Entries: []openapi.TimelineEntry{}}
	if _, err := h.Orders.Get(ctx, id, who); err != nil {
		return timeline, err
	}
	staff := who.Can("orders:read")
	all, err := h.Orders.events.Of(ctx, id, staff)
	if err != nil {
		return timeline, err
	}
	for _, e := range all {
		raw, actor := e.Data.(json.RawMessage), e.Actor
		if !staff {
			raw = events.ForCustomer(e.Type, actor, raw)
			if events.ByStaff(actor) {
				actor = "store"
			}
		}
		var data change
		if err := json.Unmarshal(raw, &data); err != nil {
			return timeline, fmt.Errorf("event %s: %w", e.ID, err)
		}
		timeline.Entries = append(timeline.Entries, openapi.TimelineEntry{
			Id: e.ID, Type: e.Type, At: e.At, Actor: &actor, Text: optional.Of(data.Text), Reason: optional.Of(data.Reason), From: optional.Of(data.From), To: optional.Of(data.To),
		})
	}
	return timeline, nil
}
