package payment

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"

	"github.com/gin-gonic/gin"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"gitee.com/captainjez/gocart/runtime/internal/identity"
	"gitee.com/captainjez/gocart/runtime/internal/optional"
	"gitee.com/captainjez/gocart/runtime/internal/payment/paymentdb"
	"gitee.com/captainjez/gocart/runtime/internal/problem"
	"gitee.com/captainjez/gocart/runtime/internal/rest"
	"gitee.com/captainjez/gocart/runtime/openapi"
)

// Handlers is the payments' part of openapi.ServerInterface.
type Handlers struct{ Payments *Payments }

// Get reads a payment; one that is not there is a *problem.Problem.
func (s *Payments) Get(ctx context.Context, id uuid.UUID) (Payment, error) {
	row, err := paymentdb.New(s.pool).PaymentByID(ctx, id)
	if errors.Is(err, pgx.ErrNoRows) {
		return Payment{}, problem.New(http.StatusNotFound, "payment_not_found", "No payment has the id %s.", id)
	}
	if err != nil {
		return Payment{}, fmt.Errorf("reading a payment: %w", err)
	}
	return paymentOf(row)
}

// GetPayment answers GET /payments/{id}.
func (h Handlers) GetPayment(c *gin.Context, id uuid.UUID) {
	details, err := h.details(c.Request.Context(), id)
	rest.JSON(c, http.StatusOK, details, err)
}

func (h Handlers) details(ctx context.Context, id uuid.UUID) (openapi.PaymentDetails, error) {
	p, err := h.Payments.Get(ctx, id)
	if err != nil {
		return openapi.PaymentDetails{}, err
	}
	rows, err := paymentdb.New(h.Payments.pool).OperationsOf(ctx, paymentdb.OperationsOfParams{PaymentID: id, Most: 100})
	if err != nil {
		return openapi.PaymentDetails{}, fmt.Errorf("reading operations: %w", err)
	}
	slices.Reverse(rows)
	p.NextAction = nil // it is the buyer's
	details := openapi.PaymentDetails{Payment: p.Public(), OrderId: p.OrderID, Reference: p.Reference, Operations: make([]openapi.PaymentOperation, len(rows))}
	for i, r := range rows {
		details.Operations[i] = operationOf(r, p.Amount.Currency).Public()
	}
	return details, nil
}

// CapturePayment answers POST /payments/{id}/capture.
func (h Handlers) CapturePayment(c *gin.Context, id uuid.UUID, params openapi.CapturePaymentParams) {
	create(c, h.Payments, id, params.IdempotencyKey, openapi.PaymentOperationKindCapture, func(in openapi.CaptureInput) (*string, *string) {
		return in.Amount, in.Reason
	})
}

// RefundPayment answers POST /payments/{id}/refunds.
func (h Handlers) RefundPayment(c *gin.Context, id uuid.UUID, params openapi.RefundPaymentParams) {
	create(c, h.Payments, id, params.IdempotencyKey, openapi.PaymentOperationKindRefund, func(in openapi.RefundInput) (*string, *string) {
		return &in.Amount, in.Reason
	})
}

// VoidPayment answers POST /payments/{id}/void.
func (h Handlers) VoidPayment(c *gin.Context, id uuid.UUID, params openapi.VoidPaymentParams) {
	create(c, h.Payments, id, params.IdempotencyKey, openapi.PaymentOperationKindVoid, func(in openapi.VoidInput) (*string, *string) {
		return nil, in.Reason
	})
}

// create decides an operation, asks the provider for it, and answers what came
// of that.
func create[In any](c *gin.Context, s *Payments, id uuid.UUID, key *string, kind openapi.PaymentOperationKind, read func(In) (amount, reason *string)) {
	who := identity.Of(c)
	var p Payment
	rest.Create(c, s.pool, rest.Creation[In, openapi.PaymentOperation]{
		Key: key,
		Prepare: func(ctx context.Context, in In) (err error) {
			var f problem.Findings
			amount, reason := read(in)
			f.Text("/reason", optional.Value(reason), 0, 500)
			f.Text("/amount", optional.Value(amount), 0, 20)
			if err := f.Err(); err != nil {
				return err
			}
			p, err = s.Get(ctx, id)
			return err
		},
		Effect: func(ctx context.Context, tx pgx.Tx, in In) (openapi.PaymentOperation, error) {
			amount, reason := read(in)
			return s.decide(ctx, tx, p, wish{kind: kind, amount: amount, reason: optional.Value(reason), actor: who.Actor()})
		},
		// Whoever asks again with the key is told how it stands by then.
		Present: func(ctx context.Context, made openapi.PaymentOperation) (any, error) {
			s.Settle(ctx, made.Id)
			row, err := paymentdb.New(s.pool).OperationByID(ctx, made.Id)
			if err != nil {
				return nil, fmt.Errorf("reading an operation: %w", err)
			}
			return operationOf(row, made.Amount.Currency).Public(), nil
		},
	})
}

// decide is request for a payment that the transaction does not hold yet.
func (s *Payments) decide(ctx context.Context, tx pgx.Tx, p Payment, w wish) (openapi.PaymentOperation, error) {
	var made openapi.PaymentOperation
	if err := s.orders.Lock(ctx, tx, p.OrderID); err != nil {
		return made, err
	}
	p, err := s.one(ctx, tx, p.ID)
	if err != nil {
		return made, err
	}
	var d Decision
	if err := s.request(ctx, tx, &p, &d, w); err != nil {
		return made, err
	}
	if err := s.write(ctx, tx, p); err != nil {
		return made, err
	}
	if err := s.orders.Changed(ctx, tx, p.OrderID, d.Changes); err != nil {
		return made, err
	}
	row, err := paymentdb.New(tx).OperationByID(ctx, d.Asked[0])
	if err != nil {
		return made, fmt.Errorf("reading an operation: %w", err)
	}
	return operationOf(row, p.Amount.Currency).Public(), nil
}

// ListPaymentDiscrepancies answers GET /payment-discrepancies.
func (h Handlers) ListPaymentDiscrepancies(c *gin.Context, params openapi.ListPaymentDiscrepanciesParams) {
	page, err := h.discrepancies(c.Request.Context(), params)
	rest.JSON(c, http.StatusOK, page, err)
}

func (h Handlers) discrepancies(ctx context.Context, params openapi.ListPaymentDiscrepanciesParams) (openapi.PaymentDiscrepancyPage, error) {
	page := openapi.PaymentDiscrepancyPage{Discrepancies: []openapi.PaymentDiscrepancy{}}
	list := "payment discrepancies"
	if params.Resolved != nil {
		list += fmt.Sprint(*params.Resolved)
	}
	query := paymentdb.ListDiscrepanciesParams{Resolved: params.Resolved}
	var err error
	if query.Before, query.PageSize, err = rest.Paging(params.Limit, params.Cursor, list); err != nil {
		return page, err
	}
	rows, err := paymentdb.New(h.Payments.pool).ListDiscrepancies(ctx, query)
	if err != nil {
		return page, fmt.Errorf("listing discrepancies: %w", err)
	}
	rows, page.NextCursor = rest.Page(rows, query.PageSize, list, func(r paymentdb.PaymentDiscrepancy) uuid.UUID { return r.ID })
	for _, r := range rows {
		d := openapi.PaymentDiscrepancy{
			Id: r.ID, Kind: openapi.PaymentDiscrepancyKind(r.Kind), Provider: r.Provider, Reference: r.Reference, PaymentId: r.PaymentID, OrderId: r.OrderID,
			Detail: r.Detail, FoundAt: r.FoundAt.UTC(), SeenAt: r.SeenAt.UTC(),
		}
		if r.ResolvedAt != nil {
			d.ResolvedAt = new(r.ResolvedAt.UTC())
		}
		page.Discrepancies = append(page.Discrepancies, d)
	}
	return page, nil
}

// maxEvent bounds an event, in bytes.
const maxEvent = 256 << 10

// ReceivePaymentEvent answers POST /webhooks/payments/{provider}.
func (h Handlers) ReceivePaymentEvent(c *gin.Context, provider string) {
	raw, err := io.ReadAll(http.MaxBytesReader(c.Writer, c.Request.Body, maxEvent))
	if err == nil {
		err = h.Payments.Receive(c.Request.Context(), provider, raw, c.Request.Header)
	}
	rest.NoContent(c, err)
}
