package order

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"gitee.com/captainjez/gocart/runtime/internal/batch"
	"gitee.com/captainjez/gocart/runtime/internal/idempotency"
	"gitee.com/captainjez/gocart/runtime/internal/optional"
	"gitee.com/captainjez/gocart/runtime/internal/payment"
	"gitee.com/captainjez/gocart/runtime/internal/problem"
	"gitee.com/captainjez/gocart/runtime/internal/rest"
	"gitee.com/captainjez/gocart/runtime/openapi"
)

// PayOrder answers POST /orders/{id}/payments.
func (h Handlers) PayOrder(c *gin.Context, id uuid.UUID, params openapi.PayOrderParams) {
	in, request, ok := rest.ReadOnce[openapi.OrderPaymentInput](c, params.IdempotencyKey)
	if !ok {
		return
	}
	answer, err := h.Orders.pay(c.Request.Context(), id, in, whoOf(c), request)
	if err != nil {
		rest.Fail(c, err)
		return
	}
	rest.Answer(c, answer)
}

// pay has a provider set aside what is due, and stores that as a payment of the
// order, once for the request's key. The provider is asked first, for nobody
// waits for it with an order in hand; a payment that is not stored after all is
// given up, also where the process dies.
func (s *Orders) pay(ctx context.Context, id uuid.UUID, in openapi.OrderPaymentInput, who Who, request idempotency.Request) (idempotency.Answer, error) {
	if err := checkPayment(in); err != nil {
		return idempotency.Answer{}, err
	}
	if answer, found, err := idempotency.Find(ctx, s.pool, request); err != nil || found {
		return answer, err
	}
	o, err := s.payable(ctx, id, in, who)
	if err != nil {
		// What stands against it may be that it was done meanwhile.
		if answer, found, _ := idempotency.Find(ctx, s.pool, request); found {
			return answer, nil
		}
		return idempotency.Answer{}, err
	}
	paid, err := s.payments.Authorize(ctx, in.Provider, optional.Value(in.Token), id, o.amount(o.Due()))
	if err != nil {
		return idempotency.Answer{}, atRoot(err)
	}
	ctx = context.WithoutCancel(ctx) // nobody leaves before it is decided
	var asked []uuid.UUID
	stored := false
	answer, err := idempotency.Do(ctx, s.pool, request, func(tx pgx.Tx) (answer idempotency.Answer, err error) {
		if answer, asked, err = s.storePayment(ctx, tx, paid, who); err == nil {
			stored = true
		}
		return answer, err
	})
	if !stored { // else it is the order's, or its commit was not answered and it may be
		_ = s.payments.Abandon(ctx, paid) // where that fails its attempt is given up later
	}
	if err == nil {
		s.payments.Settle(ctx, asked...)
	}
	return answer, err
}

func checkPayment(in openapi.OrderPaymentInput) error {
	var f problem.Findings
	f.Text("/provider", in.Provider, 1, 40)
	f.Text("/token", optional.Value(in.Token), 0, 500)
	f.Text("/expectedAmount", optional.Value(in.ExpectedAmount), 0, 20)
	return f.Err()
}

// atRoot names what is wrong with a payment where it stands in the request.
func atRoot(err error) error {
	p, ok := errors.AsType[*problem.Problem](err)
	if !ok {
		return err
	}
	for i := range p.Errors {
		p.Errors[i].Pointer = strings.TrimPrefix(p.Errors[i].Pointer, "/payment")
	}
	return err
}

// payable is an order of which somebody may pay what is due.
func (s *Orders) payable(ctx context.Context, id uuid.UUID, in openapi.OrderPaymentInput, who Who) (*Order, error) {
	o, err := s.Get(ctx, id, who)
	if err != nil {
		return nil, err
	}
	if !s.bought(who, o) && !who.Can("orders:write") {
		return nil, problem.New(http.StatusForbidden, "forbidden", "To pay somebody's order needs the scope orders:write.")
	}
	if err := o.wantsPayment(); err != nil {
		return nil, err
	}
	// An order that waits for its payment waits for staff to say that it came; another would go out for a promise.
	if s.payments.Outside(in.Provider) && o.State != openapi.OrderStatePending && !who.Can("orders:write") {
		return nil, problem.New(http.StatusConflict, "payment_needs_staff", "The order is %s already: what is paid outside of the store is for the store to note. Pay in another way, or ask it.", o.State)
	}
	if in.ExpectedAmount == nil {
		return o, nil
	}
	var f problem.Findings
	expected := f.Amount("/expectedAmount", *in.ExpectedAmount, o.Currency)
	if len(f) == 0 && expected != o.Due() {
		return nil, dueChanged(o)
	}
	return o, f.Err()
}

func dueChanged(o *Order) error {
	return problem.New(http.StatusConflict, "due_changed", "%s are due now.", o.amount(o.Due()))
}

// wantsPayment says what stands against paying more of a complete order.
func (o *Order) wantsPayment() error {
	if o.over() {
		return problem.New(http.StatusConflict, "order_over", "The order is %s, and nothing of it is to be paid.", o.State)
	}
	for _, p := range o.Payments {
		if p.State == openapi.PaymentStateRequiresAction && !p.Undone {
			return problem.New(http.StatusConflict, "payment_open",
				"There is a payment of %s for its buyer to finish, as its nextAction says; else the store can void it.", p.Amount)
		}
	}
	if o.Due() == 0 {
		return problem.New(http.StatusConflict, "nothing_due", "Nothing of the order is due.")
	}
	return nil
}

// storePayment makes a payment the order's, as far as that still needs it, and
// returns what providers are to be asked when the transaction has committed.
func (s *Orders) storePayment(ctx context.Context, tx pgx.Tx, paid payment.Payment, who Who) (answer idempotency.Answer, asked []uuid.UUID, err error) {
	o, err := s.hold(ctx, tx, paid.OrderID)
	if err != nil {
		return answer, nil, err
	}
	if err := s.complete(ctx, tx, o); err != nil {
		return answer, nil, err
	}
	if err := o.wantsPayment(); err != nil {
		return answer, nil, err
	}
	if o.Due() < paid.Amount.Minor {
		return answer, nil, dueChanged(o)
	}
	var statements batch.Statements
	if err := s.payments.Store(ctx, &statements, []payment.Payment{paid}); err != nil {
		return answer, nil, err
	}
	if err := statements.Send(ctx, tx); err != nil {
		return answer, nil, err
	}
	if err := s.waitFor(ctx, tx, o, paid); err != nil {
		return answer, nil, err
	}
	made := payment.Change{
		Payment: paid, Type: "payment." + string(paid.State), Actor: who.Actor(), Note: fmt.Sprintf("A payment of %s by %s is %s.", paid.Amount, paid.Provider, spoken(paid.State)),
	}
	if err := s.Changed(ctx, tx, o.ID, []payment.Change{made}); err != nil {
		return answer, nil, err
	}
	if gone(o.State) {
		decided, err := s.payments.Capture(ctx, tx, o.ID, who.Actor())
		if err != nil {
			return answer, nil, err
		}
		asked = decided.Asked
	}
	if o, err = s.hold(ctx, tx, o.ID); err != nil {
		return answer, nil, err
	}
	if err := s.complete(ctx, tx, o); err != nil {
		return answer, nil, err
	}
	public := o.Public()
	if !s.bought(who, o) {
		public = withoutActions(public)
	}
	answer.Status = http.StatusCreated
	if answer.Body, err = json.Marshal(public); err != nil {
		err = fmt.Errorf("encoding an order: %w", err)
	}
	return answer, asked, err
}

// waitFor has a pending order wait for a payment that expires.
func (s *Orders) waitFor(ctx context.Context, tx pgx.Tx, o *Order, paid payment.Payment) error {
	if o.State != openapi.OrderStatePending || !paid.Expires || !paid.Waits() {
		return nil
	}
	o.UpdatedAt = s.now().Truncate(time.Microsecond)
	o.PaymentDueAt = o.UpdatedAt.Add(payment.HoldFor)
	return s.write(ctx, tx, o)
}

// gone reports whether an order in a state has left the store, and its money is
// taken.
func gone(state openapi.OrderState) bool {
	return state == openapi.OrderStateShipped || state == openapi.OrderStateDelivered || state == openapi.OrderStateCompleted
}

// spoken is a state in a sentence.
func spoken(state openapi.PaymentState) string { return strings.ReplaceAll(string(state), "_", " ") }
