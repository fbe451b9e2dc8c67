package order

import (
	"context"
	"fmt"
	"net/http"

	"github.com/gin-gonic/gin"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"gitee.com/captainjez/gocart/runtime/internal/events"
	"gitee.com/captainjez/gocart/runtime/internal/identity"
	"gitee.com/captainjez/gocart/runtime/internal/optional"
	"gitee.com/captainjez/gocart/runtime/internal/order/orderdb"
	"gitee.com/captainjez/gocart/runtime/internal/problem"
	"gitee.com/captainjez/gocart/runtime/internal/rest"
	"gitee.com/captainjez/gocart/runtime/openapi"
)

// ListOrderReturns answers GET /orders/{id}/returns.
func (h Handlers) ListOrderReturns(c *gin.Context, id uuid.UUID) {
	page, err := h.returnsOf(c.Request.Context(), id, whoOf(c))
	rest.JSON(c, http.StatusOK, page, err)
}

func (h Handlers) returnsOf(ctx context.Context, id uuid.UUID, who Who) (openapi.ReturnPage, error) {
	page := openapi.ReturnPage{Returns: []openapi.Return{}}
	if err := h.Orders.seen(ctx, id, who); err != nil {
		return page, err
	}
	all, err := returnsOf(ctx, h.Orders.pool, id)
	for _, r := range all {
		page.Returns = append(page.Returns, r.Public())
	}
	return page, err
}

// ListReturns answers GET /returns.
func (h Handlers) ListReturns(c *gin.Context, params openapi.ListReturnsParams) {
	page, err := h.returns(c.Request.Context(), params)
	rest.JSON(c, http.StatusOK, page, err)
}

func (h Handlers) returns(ctx context.Context, params openapi.ListReturnsParams) (openapi.ReturnPage, error) {
	page := openapi.ReturnPage{Returns: []openapi.Return{}}
	var query orderdb.ListReturnsParams
	if params.State != nil {
		if !params.State.Valid() {
			return page, problem.Invalid(problem.Field{Pointer: "state", Detail: "is not a state of a return"})
		}
		query.State = optional.Of(string(*params.State))
	}
	list := fmt.Sprint("returns", str(query.State))
	var err error
	if query.Before, query.PageSize, err = rest.Paging(params.Limit, params.Cursor, list); err != nil {
		return page, err
	}
	rows, err := orderdb.New(h.Orders.pool).ListReturns(ctx, query)
	if err != nil {
		return page, fmt.Errorf("listing returns: %w", err)
	}
	rows, page.NextCursor = rest.Page(rows, query.PageSize, list, func(r orderdb.Return) uuid.UUID { return r.ID })
	all, err := withLines(ctx, h.Orders.pool, rows)
	for _, r := range all {
		page.Returns = append(page.Returns, r.Public())
	}
	return page, err
}

// GetReturn answers GET /returns/{id}.
func (h Handlers) GetReturn(c *gin.Context, id uuid.UUID) {
	r, err := h.Orders.Return(c.Request.Context(), id)
	if err == nil {
		err = ofPart(h.Orders.seen(c.Request.Context(), r.OrderID, whoOf(c)), returnNotFound(id))
	}
	answerReturn(c, r, err)
}

func answerReturn(c *gin.Context, r *Return, err error) {
	if err != nil {
		rest.Fail(c, err)
		return
	}
	rest.JSON(c, http.StatusOK, r.Public(), nil)
}

// RequestReturn answers POST /orders/{id}/returns.
func (h Handlers) RequestReturn(c *gin.Context, id uuid.UUID, params openapi.RequestReturnParams) {
	who := whoOf(c)
	rest.Create(c, h.Orders.pool, rest.Creation[openapi.ReturnInput, openapi.Return]{
		Key: params.IdempotencyKey,
		Prepare: func(ctx context.Context, in openapi.ReturnInput) error {
			var f problem.Findings
			f.Require(len(in.Lines) >= 1 && len(in.Lines) <= mostPicked, "/lines", "must be 1 to %d lines", mostPicked)
			f.Text("/note", optional.Value(in.Note), 0, 1000)
			for i, l := range in.Lines {
				f.Require(l.Reason == nil || l.Reason.Valid(), fmt.Sprintf("/lines/%d/reason", i), "is not a reason to return something")
			}
			if err := f.Err(); err != nil {
				return err
			}
			return h.mayReturn(ctx, id, who)
		},
		Effect: func(ctx context.Context, tx pgx.Tx, in openapi.ReturnInput) (made openapi.Return, err error) {
			_, err = h.Orders.changeIn(ctx, tx, id, who.Actor(), func(ctx context.Context, d *dispatch) error {
				r, err := d.request(ctx, in)
				if err == nil {
					made = r.Public()
				}
				return err
			})
			return made, err
		},
		Location: func(r openapi.Return) string { return "/returns/" + r.Id.String() },
	})
}

// mayReturn is nil for an order's buyer, and for staff who may change it.
func (h Handlers) mayReturn(ctx context.Context, orderID uuid.UUID, who Who) error {
	o, err := h.Orders.byID(ctx, orderID)
	switch {
	case err != nil:
		return err
	case !h.Orders.may(who, o):
		return notFound(orderID)
	case !h.Orders.bought(who, o) && !who.Can("orders:write"):
		return problem.New(http.StatusForbidden, "forbidden", "To return somebody's order needs the scope orders:write.")
	}
	return nil
}

// ApproveReturn answers POST /returns/{id}/approve.
func (h Handlers) ApproveReturn(c *gin.Context, id uuid.UUID) {
	h.answerReturn(c, id, openapi.ReturnStateApproved)
}

// RejectReturn answers POST /returns/{id}/reject.
func (h Handlers) RejectReturn(c *gin.Context, id uuid.UUID) {
	h.answerReturn(c, id, openapi.ReturnStateRejected)
}

func (h Handlers) answerReturn(c *gin.Context, id uuid.UUID, to openapi.ReturnState) {
	in, ok := rest.Read[openapi.ReturnAnswer](c)
	if !ok {
		return
	}
	var f problem.Findings
	text := optional.Value(in.Text)
	if f.Text("/text", text, 0, 1000); f.Err() != nil {
		rest.Fail(c, f.Err())
		return
	}
	r, err := h.Orders.changeReturn(c.Request.Context(), id, identity.Of(c).Actor(), func(ctx context.Context, d *dispatch, r *Return) error {
		return d.answer(ctx, r, to, text)
	})
	answerReturn(c, r, err)
}

// CancelReturn answers POST /returns/{id}/cancel.
func (h Handlers) CancelReturn(c *gin.Context, id uuid.UUID) {
	reason, ok := readReason(c)
	if !ok {
		return
	}
	who := whoOf(c)
	found, err := h.Orders.Return(c.Request.Context(), id)
	if err == nil {
		err = ofPart(h.mayReturn(c.Request.Context(), found.OrderID, who), returnNotFound(id))
	}
	if err != nil {
		rest.Fail(c, err)
		return
	}
	r, err := h.Orders.changeReturn(c.Request.Context(), id, who.Actor(), func(ctx context.Context, d *dispatch, r *Return) error {
		return d.answer(ctx, r, openapi.ReturnStateCancelled, reason)
	})
	answerReturn(c, r, err)
}

// ReceiveReturn answers POST /returns/{id}/receive.
func (h Handlers) ReceiveReturn(c *gin.Context, id uuid.UUID) {
	in, ok := rest.Read[openapi.ReceiveInput](c)
	if !ok {
		return
	}
	var f problem.Findings
	if f.Require(in.Lines == nil || len(*in.Lines) >= 1 && len(*in.Lines) <= mostPicked, "/lines", "must be 1 to %d lines; leave it out for all of the return", mostPicked); f.Err() != nil {
		rest.Fail(c, f.Err())
		return
	}
	r, err := h.Orders.changeReturn(c.Request.Context(), id, identity.Of(c).Actor(), func(ctx context.Context, d *dispatch, r *Return) error {
		return d.receive(ctx, r, in)
	})
	answerReturn(c, r, err)
}

// ListRefunds answers GET /orders/{id}/refunds.
func (h Handlers) ListRefunds(c *gin.Context, id uuid.UUID) {
	list, err := h.refunds(c.Request.Context(), id, whoOf(c))
	rest.JSON(c, http.StatusOK, list, err)
}

func (h Handlers) refunds(ctx context.Context, id uuid.UUID, who Who) (openapi.RefundList, error) {
	list := openapi.RefundList{Refunds: []openapi.Refund{}}
	o, err := h.Orders.byID(ctx, id)
	if err == nil && !h.Orders.may(who, o) {
		err = notFound(id)
	}
	if err != nil {
		return list, err
	}
	all, err := refundsOf(ctx, h.Orders.pool, o)
	for _, r := range all {
		list.Refunds = append(list.Refunds, r.seenBy(who))
	}
	return list, err
}

// seenBy is the refund as somebody sees it: why staff gave it is for staff.
func (r *Refund) seenBy(who Who) openapi.Refund {
	public := r.Public()
	if !who.Can("orders:read") && events.ByStaff(r.Actor) {
		public.Reason = nil
	}
	return public
}

// RefundOrder answers POST /orders/{id}/refunds.
func (h Handlers) RefundOrder(c *gin.Context, id uuid.UUID, params openapi.RefundOrderParams) {
	actor := identity.Of(c).Actor()
	rest.Create(c, h.Orders.pool, rest.Creation[openapi.OrderRefundInput, openapi.Refund]{
		Key: params.IdempotencyKey,
		Prepare: func(_ context.Context, in openapi.OrderRefundInput) error {
			var f problem.Findings
			f.Require(in.Lines != nil || in.Shipping != nil || in.Amount != nil, "", "says neither lines nor shipping nor amount")
			f.Require(in.Lines == nil || len(*in.Lines) >= 1 && len(*in.Lines) <= mostPicked, "/lines", "must be 1 to %d lines", mostPicked)
			f.Text("/shipping", optional.Value(in.Shipping), 0, 20)
			f.Text("/amount", optional.Value(in.Amount), 0, 20)
			f.Text("/reason", optional.Value(in.Reason), 0, 500)
			return f.Err()
		},
		Effect: func(ctx context.Context, tx pgx.Tx, in openapi.OrderRefundInput) (made openapi.Refund, err error) {
			_, err = h.Orders.changeIn(ctx, tx, id, actor, func(ctx context.Context, d *dispatch) error {
				wish, err := repayment(in, d.order.Currency)
				if err != nil {
					return err
				}
				r, err := d.refund(ctx, wish)
				if err == nil {
					made = r.Public()
				}
				return err
			})
			return made, err
		},
		// Whoever asks again with the key is told how it stands by then.
		Present: func(ctx context.Context, made openapi.Refund) (any, error) {
			h.Orders.payments.SettleRefund(ctx, made.Id)
			r, err := h.Orders.Refund(ctx, made.OrderId, made.Id)
			if err != nil {
				return nil, err
			}
			return r.Public(), nil
		},
	})
}

// repayment is what is asked for, in an order's currency.
func repayment(in openapi.OrderRefundInput, currency string) (Repayment, error) {
	r := Repayment{Lines: optional.Value(in.Lines), ReturnID: optional.Value(in.ReturnId), Reason: optional.Value(in.Reason), Outside: optional.Value(in.Outside)}
	var f problem.Findings
	for _, part := range []struct {
		pointer string
		decimal *string
		minor   *int64
	}{{"/shipping", in.Shipping, &r.Shipping}, {"/amount", in.Amount, &r.Other}} {
		if part.decimal != nil {
			*part.minor = f.Amount(part.pointer, *part.decimal, currency)
			f.Require(len(f) > 0 || *part.minor > 0, part.pointer, "must be above zero")
		}
	}
	return r, f.Err()
}
