package order

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"unicode"

	"github.com/gin-gonic/gin"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"gitee.com/captainjez/gocart/runtime/internal/identity"
	"gitee.com/captainjez/gocart/runtime/internal/optional"
	"gitee.com/captainjez/gocart/runtime/internal/problem"
	"gitee.com/captainjez/gocart/runtime/internal/rest"
	"gitee.com/captainjez/gocart/runtime/openapi"
)

// ListFulfillments answers GET /orders/{id}/fulfillments.
func (h Handlers) ListFulfillments(c *gin.Context, id uuid.UUID) {
	list, err := h.fulfillments(c.Request.Context(), id, whoOf(c))
	rest.JSON(c, http.StatusOK, list, err)
}

func (h Handlers) fulfillments(ctx context.Context, id uuid.UUID, who Who) (openapi.FulfillmentList, error) {
	list := openapi.FulfillmentList{Fulfillments: []openapi.Fulfillment{}}
	if err := h.Orders.seen(ctx, id, who); err != nil {
		return list, err
	}
	all, err := fulfillmentsOf(ctx, h.Orders.pool, id)
	for _, f := range all {
		list.Fulfillments = append(list.Fulfillments, f.seenBy(who))
	}
	return list, err
}

// seenBy is the fulfilment as somebody sees it: where it is packed is for staff.
func (f *Fulfillment) seenBy(who Who) openapi.Fulfillment {
	public := f.Public()
	if !who.Can("orders:read") {
		public.LocationId = nil
	}
	return public
}

// CreateFulfillment answers POST /orders/{id}/fulfillments.
func (h Handlers) CreateFulfillment(c *gin.Context, id uuid.UUID, params openapi.CreateFulfillmentParams) {
	actor := identity.Of(c).Actor()
	var asked []uuid.UUID
	rest.Create(c, h.Orders.pool, rest.Creation[openapi.FulfillmentInput, openapi.Fulfillment]{
		Key: params.IdempotencyKey,
		Prepare: func(_ context.Context, in openapi.FulfillmentInput) error {
			var f problem.Findings
			f.Require(in.Lines == nil || len(*in.Lines) >= 1 && len(*in.Lines) <= mostPicked, "/lines", "must be 1 to %d lines; leave it out for all that is left", mostPicked)
			checkTracking(&f, in.Tracking)
			return f.Err()
		},
		Effect: func(ctx context.Context, tx pgx.Tx, in openapi.FulfillmentInput) (made openapi.Fulfillment, err error) {
			asked, err = h.Orders.changeIn(ctx, tx, id, actor, func(ctx context.Context, d *dispatch) error {
				f, err := d.pack(ctx, Packing{
					LocationID: optional.Value(in.LocationId), Lines: optional.Value(in.Lines), Tracking: optional.Value(in.Tracking),
				})
				if err == nil && optional.Value(in.Shipped) {
					err = d.ship(ctx, f, nil)
				}
				if err == nil {
					made = f.Public()
				}
				return err
			})
			return made, err
		},
		Location: func(f openapi.Fulfillment) string { return "/fulfillments/" + f.Id.String() },
		After:    func(ctx context.Context, _ openapi.Fulfillment) { h.Orders.payments.Settle(ctx, asked...) },
	})
}

const (
	// mostPicked bounds the lines of a fulfilment, a return or a refund.
	mostPicked   = 200
	mostTracking = 20
)

func checkTracking(f *problem.Findings, tracking *[]openapi.Tracking) {
	all := optional.Value(tracking)
	f.Require(len(all) <= mostTracking, "/tracking", "has %d at most", mostTracking)
	for i, t := range all {
		at := fmt.Sprintf("/tracking/%d", i)
		f.Words(at+"/carrier", optional.Value(t.Carrier), 0, 100)
		f.Words(at+"/number", t.Number, 1, 100)
		link := optional.Value(t.Url)
		f.Text(at+"/url", link, 0, 500)
		f.Require(link == "" || isLink(link), at+"/url", "must be a URL such as https://carrier.example/track?id=1, with https or http")
	}
}

// isLink reports whether a page can link to raw.
func isLink(raw string) bool {
	u, err := url.Parse(raw)
	return err == nil && (u.Scheme == "https" || u.Scheme == "http") && u.Hostname() != "" && u.Opaque == "" && !strings.ContainsFunc(raw, unicode.IsSpace)
}

// GetFulfillment answers GET /fulfillments/{id}.
func (h Handlers) GetFulfillment(c *gin.Context, id uuid.UUID) {
	who := whoOf(c)
	f, err := h.Orders.Fulfillment(c.Request.Context(), id)
	if err == nil {
		err = ofPart(h.Orders.seen(c.Request.Context(), f.OrderID, who), fulfillmentNotFound(id))
	}
	if err != nil {
		rest.Fail(c, err)
		return
	}
	rest.JSON(c, http.StatusOK, f.seenBy(who), nil)
}

// ofPart says of an order that is not there for somebody that the part of it is
// not that they asked for.
func ofPart(err, notThere error) error {
	if p, ok := errors.AsType[*problem.Problem](err); ok && p.Status == http.StatusNotFound {
		return notThere
	}
	return err
}

func answerFulfillment(c *gin.Context, f *Fulfillment, err error) {
	if err != nil {
		rest.Fail(c, err)
		return
	}
	rest.JSON(c, http.StatusOK, f.Public(), nil)
}

// ShipFulfillment answers POST /fulfillments/{id}/ship.
func (h Handlers) ShipFulfillment(c *gin.Context, id uuid.UUID) {
	in, ok := rest.Read[openapi.ShipInput](c)
	if !ok {
		return
	}
	var found problem.Findings
	if checkTracking(&found, in.Tracking); found.Err() != nil {
		rest.Fail(c, found.Err())
		return
	}
	f, err := h.Orders.changeFulfillment(c.Request.Context(), id, identity.Of(c).Actor(), func(ctx context.Context, d *dispatch, f *Fulfillment) error {
		return d.ship(ctx, f, optional.Value(in.Tracking))
	})
	answerFulfillment(c, f, err)
}

// DeliverFulfillment answers POST /fulfillments/{id}/deliver.
func (h Handlers) DeliverFulfillment(c *gin.Context, id uuid.UUID) {
	f, err := h.Orders.changeFulfillment(c.Request.Context(), id, identity.Of(c).Actor(), func(ctx context.Context, d *dispatch, f *Fulfillment) error {
		return d.deliver(ctx, f)
	})
	answerFulfillment(c, f, err)
}

// CancelFulfillment answers POST /fulfillments/{id}/cancel.
func (h Handlers) CancelFulfillment(c *gin.Context, id uuid.UUID) {
	reason, ok := readReason(c)
	if !ok {
		return
	}
	f, err := h.Orders.changeFulfillment(c.Request.Context(), id, identity.Of(c).Actor(), func(ctx context.Context, d *dispatch, f *Fulfillment) error {
		return d.unpack(ctx, f, reason)
	})
	answerFulfillment(c, f, err)
}
