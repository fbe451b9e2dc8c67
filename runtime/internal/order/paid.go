package order

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"gitee.com/captainjez/gocart/runtime/internal/events"
	"gitee.com/captainjez/gocart/runtime/internal/order/orderdb"
	"gitee.com/captainjez/gocart/runtime/internal/payment"
	"gitee.com/captainjez/gocart/runtime/openapi"
)

// Lock has a transaction hold an order, and before it those that were placed in
// exchange for a part of it, whose refunds its payments may be asked for.
func (s *Orders) Lock(ctx context.Context, tx pgx.Tx, id uuid.UUID) error {
	before, err := orderdb.New(tx).PlacedFor(ctx, id)
	if err != nil {
		return fmt.Errorf("looking for what was placed in exchange: %w", err)
	}
	for _, id := range append(before, id) {
		if _, err := s.hold(ctx, tx, id); err != nil {
			return err
		}
	}
	return nil
}

// Total is what an order comes to, in minor units of its currency.
func (s *Orders) Total(ctx context.Context, tx pgx.Tx, id uuid.UUID) (int64, error) {
	total, err := orderdb.New(tx).TotalOf(ctx, id)
	if err != nil {
		return 0, fmt.Errorf("reading an order's total: %w", err)
	}
	return total, nil
}

// Gone reports whether all of an order has gone out.
func (s *Orders) Gone(ctx context.Context, tx pgx.Tx, id uuid.UUID) (bool, error) {
	o, err := s.hold(ctx, tx, id)
	if err != nil {
		return false, err
	}
	return gone(o.State), nil
}

// Changed does what changes of its payments mean for an order that the
// transaction holds, and tells of them. An order that waits for its payments
// is confirmed when what came in is what it comes to, also on hold; while one is
// on its way it does not expire, and when none is after all it does. Refunds are
// what became of their operations.
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
	if err := s.refundsChanged(ctx, tx, all, now); err != nil {
		return err
	}
	return s.paidFor(ctx, tx, o, now)
}

// paidFor confirms an order that waits for its payments and has them.
func (s *Orders) paidFor(ctx context.Context, tx pgx.Tx, o *Order, now time.Time) error {
	held := o.State == openapi.OrderStateOnHold && o.HeldFrom == openapi.OrderStatePending
	if o.State != openapi.OrderStatePending && !held {
		return nil
	}
	payments, err := s.payments.Of(ctx, tx, o.ID)
	if err != nil {
		return err
	}
	paid, coming, buyer, secured := true, false, false, int64(0)
	for _, p := range payments {
		paid = paid && !p.Waits()
		buyer = buyer || p.State == openapi.PaymentStateRequiresAction
		coming = coming || p.State == openapi.PaymentStatePending
		secured += p.Secured()
	}
	paid = paid && secured >= o.Total
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
	case !coming && o.PaymentDueAt.IsZero() && (buyer || secured == 0): // there is nothing to wait for without end
		o.PaymentDueAt, o.UpdatedAt = now.Add(payment.HoldFor), now
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
				Data: change{Text: c.Note, Reason: c.Reason},
			})
		}
	}
	return happened
}
