package order

import (
	"context"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"gitee.com/captainjez/gocart/runtime/internal/events"
	"gitee.com/captainjez/gocart/runtime/internal/payment"
	"gitee.com/captainjez/gocart/runtime/openapi"
)

// Lock has a transaction hold an order.
func (s *Orders) Lock(ctx context.Context, tx pgx.Tx, id uuid.UUID) error {
	_, err := s.hold(ctx, tx, id)
	return err
}

// Changed does what changes of its payments mean for an order that the
// transaction holds, and tells of them. An order that waits for its payments
// is confirmed by the last of them that comes in, also on hold; while one is on
// its way it does not expire.
func (s *Orders) Changed(ctx context.Context, tx pgx.Tx, id uuid.UUID, all []payment.Change) error {
	if len(all) == 0 {
		return nil
	}
	o, err := s.hold(ctx, tx, id)
	if err != nil {
		return err
	}
	now := s.now().Truncate(time.Microsecond)
	if err := s.events.Append(ctx, tx, o.told(all, now)...); err != nil {
		return err
	}
	held := o.State == openapi.OrderStateOnHold && o.HeldFrom == openapi.OrderStatePending
	if o.State != openapi.OrderStatePending && !held {
		return nil
	}
	payments, err := s.payments.Of(ctx, tx, id)
	if err != nil {
		return err
	}
	paid, coming := true, false
	for _, p := range payments {
		paid = paid && (p.State == openapi.PaymentStateAuthorized || p.State == openapi.PaymentStateCaptured)
		coming = coming || p.State == openapi.PaymentStatePending
	}
	switch {
	case paid && held:
		o.HeldFrom, o.PaymentDueAt, o.UpdatedAt = openapi.OrderStateConfirmed, time.Time{}, now
		return s.write(ctx, tx, o)
	case paid:
		_, err = s.take(ctx, tx, o, openapi.OrderStateConfirmed, "store", "")
		return err
	case coming && !o.PaymentDueAt.IsZero():
		o.PaymentDueAt, o.UpdatedAt = time.Time{}, now
		return s.write(ctx, tx, o)
	}
	return nil
}

// told are the events of changes of the order's payments.
func (o *Order) told(all []payment.Change, at time.Time) (happened []events.Event) {
	for _, c := range all {
		if c.Type != "" {
			happened = append(happened, o.changeEvent(c, at))
		}
		if c.Note != "" {
			happened = append(happened, events.Event{
				Type: "order.payment", Topic: events.Orders, Subject: o.ID, Customer: o.CustomerID, Actor: c.Actor, Public: !c.Private, At: at,
				Data: change{Text: c.Note},
			})
		}
	}
	return happened
}
