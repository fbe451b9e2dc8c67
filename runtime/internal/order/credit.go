package order

import (
	"context"
	"fmt"
	"net/http"
	"strings"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"gitee.com/captainjez/gocart/runtime/internal/order/orderdb"
	"gitee.com/captainjez/gocart/runtime/internal/payment"
	"gitee.com/captainjez/gocart/runtime/internal/problem"
)

// An order that was placed in exchange has credit: the part of another order's
// money that it was paid with. That money stays on the payments of the other
// order, or of the one that has its own credit from, and can not be given back
// for that one; where it is given back, it is credit no more. So of every order
//
//	captured - refunded + credit - exchanged >= 0
//
// and that is what can be given back for it.

// source is an order whose money is in one that was placed in exchange for a
// part of it.
type source struct {
	*Order
	returnID uuid.UUID
	// credit is how much of its money that is.
	credit int64
}

// worth is what was paid for n more of a line, in whichever way, less what was
// settled of it: all pieces together are what was paid for the line, also where
// a refund of one of them has failed.
func (l *Line) worth(n int64) int64 {
	if n == 0 {
		return 0
	}
	return max(0, Share(l.Total+l.Credit, l.Quantity, 0, l.Refunded+n)-l.settled)
}

// settle counts n more of a line as given their money back, or as exchanged.
func (l *Line) settle(n, minor int64) {
	l.Refunded += n
	l.settled += minor
}

// readSettled reads how much was given back of the order's lines, or exchanged.
func (d *dispatch) readSettled(ctx context.Context) error {
	if d.settled {
		return nil
	}
	rows, err := orderdb.New(d.tx).SettledOf(ctx, d.order.ID)
	if err != nil {
		return fmt.Errorf("reading what lines were given back: %w", err)
	}
	for _, r := range rows {
		if l := d.order.line(r.LineID); l != nil {
			l.settled = r.Amount
		}
	}
	d.settled = true
	return nil
}

// held is what the order's own payments brought, or are about to bring, and was
// not given back.
func (o *Order) held() (minor int64) {
	for _, p := range o.Payments {
		minor += p.Captured + p.Capturing - p.Refunded - p.Refunding
	}
	return minor
}

// left is what can be given back for the order.
func (o *Order) left() int64 { return o.held() + o.Credit - o.Exchanged }

// readCredit reads what of the order's money is another's, and what is in another.
func (s *Orders) readCredit(ctx context.Context, tx orderdb.DBTX, o *Order) error {
	r, err := orderdb.New(tx).CreditOf(ctx, o.ID)
	if err != nil {
		return fmt.Errorf("reading what was exchanged: %w", err)
	}
	o.Credit, o.Exchanged = r.Credit, r.Exchanged
	return nil
}

// Exchanged is what of the money of an order's own payments is in others that
// were placed in exchange, in minor units of its currency.
func (s *Orders) Exchanged(ctx context.Context, tx pgx.Tx, id uuid.UUID) (int64, error) {
	o := &Order{ID: id}
	err := s.readCredit(ctx, tx, o)
	return max(0, o.Exchanged-o.Credit), err
}

// sources has a transaction that holds an order hold those that it has credit
// from: first the one whose goods it was placed in exchange for, then the one
// that has its own credit from, and so on. An order is always held before the
// one that it was placed in exchange for, and both before any stock.
func (s *Orders) sources(ctx context.Context, tx pgx.Tx, o *Order) (all []*source, err error) {
	for o.inExchange() {
		rows, err := orderdb.New(tx).ExchangedBy(ctx, &o.ID)
		if err != nil {
			return nil, fmt.Errorf("looking for what an order was placed for: %w", err)
		}
		if len(rows) == 0 { // it is cancelled
			return all, nil
		}
		was, err := s.hold(ctx, tx, rows[0].OrderID)
		if err != nil {
			return nil, err
		}
		if err := s.complete(ctx, tx, was); err != nil {
			return nil, err
		}
		all = append(all, &source{Order: was, returnID: rows[0].ID, credit: rows[0].Credit})
		o = was
	}
	return all, nil
}

// spendCredit gives back so much of the order's credit, on the payments of the
// orders that it is from. It is credit no more, also where that fails: then it is
// those orders' own again.
func (d *dispatch) spendCredit(ctx context.Context, r *Refund, minor int64) error {
	reason := strings.TrimSpace(fmt.Sprintf("They are for order %d, which was placed in exchange. %s", d.order.Number, r.Reason))
	left, short := minor, int64(0)
	for _, s := range d.sources {
		if s.credit < left {
			short, left = short+left-s.credit, s.credit
		}
		if left == 0 {
			break
		}
		err := orderdb.New(d.tx).LowerCredit(ctx, orderdb.LowerCreditParams{ID: s.returnID, Amount: left, At: r.CreatedAt})
		if err != nil {
			return fmt.Errorf("noting what credit was given back: %w", err)
		}
		own := min(left, s.held())
		if err := d.repay(ctx, s.Order, r, own, reason); err != nil {
			return err
		}
		if own > 0 {
			r.Sources = append(r.Sources, RefundSource{OrderID: s.ID, Number: s.Number, Amount: own})
		}
		s.Exchanged -= left
		left -= own
	}
	if short += left; short > 0 {
		return problem.New(http.StatusConflict, "refund_exceeds_captured",
			"%s can be given back at most: the rest was paid with an order whose payments were given back past the store.", d.order.amount(r.Amount-short))
	}
	return nil
}

// repay gives back so much of a refund on the payments of an order, its own or
// one that it has credit from.
func (d *dispatch) repay(ctx context.Context, o *Order, r *Refund, minor int64, reason string) error {
	if minor == 0 {
		return nil
	}
	decided, err := d.s.payments.Refund(ctx, d.tx, o.ID, payment.Repayment{
		RefundID: r.ID, OrderID: r.OrderID, Amount: o.amount(minor), Reason: reason, Actor: d.actor, Outside: r.Outside,
	})
	if err != nil {
		return err
	}
	d.asked = append(d.asked, decided.Asked...)
	d.happened = append(d.happened, o.told(decided.Changes, r.CreatedAt)...)
	d.answered = append(d.answered, decided.Changes...)
	return nil
}
