package payment

import (
	"context"
	"net/http"
	"slices"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"gitee.com/captainjez/gocart/runtime/internal/problem"
	"gitee.com/captainjez/gocart/runtime/openapi"
)

// An order's total changes when it is edited, and its payments do not by
// themselves. What they bring of it is their amounts, less the surplus: what
// was not taken of them, or was given back, because the order came to less.
// What was given back for another reason, such as a return, leaves the order
// paid, and so does a part of what was set aside that staff chose not to take. Of
// what comes in outside of the store in parts, those bring what they are.

// tooMuchTaken is why a surplus is given back.
const tooMuchTaken = "The order comes to less."

// Brings is what of its order's total the payment has brought, or may bring
// without its buyer doing more.
func (p Payment) Brings() int64 {
	switch p.State {
	case openapi.PaymentStatePending, openapi.PaymentStateAuthorized, openapi.PaymentStateCaptured, openapi.PaymentStateRefunded:
		if !p.Undone {
			return p.Amount.Minor - p.Surplus
		}
	case openapi.PaymentStateRequiresAction, openapi.PaymentStateVoided, openapi.PaymentStateFailed:
	}
	return 0
}

// Secured is what the payment brings, where that is certain.
func (p Payment) Secured() int64 {
	if p.State == openapi.PaymentStateAuthorized || p.State == openapi.PaymentStateCaptured {
		return p.Brings()
	}
	return 0
}

func brought(all []Payment) (minor int64) {
	for _, p := range all {
		minor += p.Brings()
	}
	return minor
}

// Due is what an order still needs, whose total and payments these are.
func Due(all []Payment, total int64) int64 { return max(0, total-brought(all)) }

// taken is what of a total is taken, or being taken.
func taken(all []Payment) (minor int64) {
	for _, p := range all {
		if p.State != openapi.PaymentStateAuthorized && !p.Waits() || p.Capturing > 0 {
			minor += p.Brings()
		}
	}
	return minor
}

// Sure says what stands against letting go of the goods of an order that the
// transaction holds, whose total and payments these are: what it comes to must
// be taken or set aside, with nobody giving that up, or be expected from outside
// of the store. It is a *problem.Problem with status 409.
func (s *Payments) Sure(ctx context.Context, tx pgx.Tx, all []Payment, total int64) error {
	left := total
	var against error
	for _, p := range all {
		voiding, err := s.voiding(ctx, tx, p)
		switch {
		case err != nil:
			return err
		case p.Brings() == 0:
		case voiding:
			against = problem.New(http.StatusConflict, "payment_being_voided", "The payment of %s is being voided.", p.Amount)
		case p.Waits() && !s.byHand(p):
			against = problem.New(http.StatusConflict, "payment_not_authorized", "The payment of %s through %s is on its way; wait until it has come in.", p.Amount, p.Provider)
		default:
			left -= p.Brings()
		}
	}
	if left <= 0 {
		return nil
	}
	return against
}

// Outside reports whether what a provider takes comes in outside of the store,
// so that anybody may promise it.
func (s *Payments) Outside(provider string) bool {
	_, ok := s.providers[provider].(manual)
	return ok
}

// byHand reports whether a payment is to come in outside of the store, so that
// it is on somebody's word that it does.
func (s *Payments) byHand(p Payment) bool {
	return s.Outside(p.Provider) && p.State == openapi.PaymentStatePending
}

// partly reports whether a part of what is to come in outside of the store did,
// and more of it may.
func (s *Payments) partly(p Payment) bool {
	return s.Outside(p.Provider) && p.State == openapi.PaymentStateCaptured && p.Captured < p.Amount.Minor && !p.Undone
}

// Balance fits the payments of an order that the transaction holds to another
// total, and returns what of it is given back. What comes in outside of the
// store is expected to that amount; of what is set aside or on its way less
// will be taken; and what was taken beyond the total is given back. While a
// buyer is about to pay another amount it is a *problem.Problem with status 409.
func (s *Payments) Balance(ctx context.Context, tx pgx.Tx, orderID uuid.UUID, total int64, actor string) (d Decision, givenBack int64, err error) {
	all, err := s.hold(ctx, tx, orderID)
	if err != nil {
		return d, 0, err
	}
	for _, p := range all {
		if p.State == openapi.PaymentStateRequiresAction && !p.Undone {
			return d, 0, problem.New(http.StatusConflict, "payment_open",
				"The buyer is about to pay %s through %s; wait until it has come in, or void it with POST /payments/%s/void.", p.Amount, p.Provider, p.ID)
		}
	}
	surplus := brought(all) - total
	for _, p := range slices.Backward(all) {
		if surplus == 0 || !s.byHand(p) || p.Undone {
			continue
		}
		change := max(-surplus, -p.Amount.Minor)
		surplus += change
		if p.Amount.Minor += change; p.Amount.Minor == 0 {
			p.State = openapi.PaymentStateVoided
		}
		if err := s.write(ctx, tx, p); err != nil {
			return d, 0, err
		}
		d.Changes = append(d.Changes, Change{Payment: p, Type: "payment." + string(p.State), Actor: actor})
	}
	givenBack, err = s.giveBack(ctx, tx, all, surplus, &d, actor)
	return d, givenBack, err
}

// giveBackSurplus gives back what was taken beyond what an order comes to.
func (s *Payments) giveBackSurplus(ctx context.Context, tx pgx.Tx, orderID uuid.UUID, d *Decision) error {
	total, err := s.orders.Total(ctx, tx, orderID)
	if err != nil {
		return err
	}
	all, err := s.hold(ctx, tx, orderID)
	if err != nil {
		return err
	}
	_, err = s.giveBack(ctx, tx, all, brought(all)-total, d, "store")
	return err
}

// giveBack refunds a surplus, of the last payments first, as far as it is not
// in what can be taken to a lower amount.
func (s *Payments) giveBack(ctx context.Context, tx pgx.Tx, all []Payment, surplus int64, d *Decision, actor string) (givenBack int64, err error) {
	for _, p := range all {
		if (p.State == openapi.PaymentStateAuthorized || p.Waits()) && p.Capturing == 0 && !s.byHand(p) {
			surplus -= p.Brings()
		}
	}
	if surplus <= 0 {
		return 0, nil
	}
	free, err := s.free(ctx, tx, all)
	if err != nil {
		return 0, err
	}
	for _, p := range slices.Backward(all) {
		part := min(surplus, free, p.refundable(), p.Brings())
		if part <= 0 {
			continue
		}
		surplus -= part
		free -= part
		givenBack += part
		o := Operation{Kind: openapi.PaymentOperationKindRefund, Amount: p.amount(part), Surplus: part, Actor: actor, Reason: tooMuchTaken}
		if err := s.ask(ctx, tx, &p, d, o); err != nil {
			return 0, err
		}
		if err := s.write(ctx, tx, p); err != nil {
			return 0, err
		}
	}
	return givenBack, nil
}

// free is what the payments of an order hold that is in no order that was
// placed in exchange.
func (s *Payments) free(ctx context.Context, tx pgx.Tx, all []Payment) (minor int64, err error) {
	if len(all) == 0 {
		return 0, nil
	}
	for _, p := range all {
		minor += p.Capturing + p.refundable()
	}
	exchanged, err := s.orders.Exchanged(ctx, tx, all[0].OrderID)
	return minor - exchanged, err
}

// measure says how much of an operation that somebody asks for the order needs:
// no more is captured than it comes to, and of a refund first counts what it
// does not need.
func (s *Payments) measure(ctx context.Context, tx pgx.Tx, p *Payment, o *Operation, all bool) error {
	if o.Kind == openapi.PaymentOperationKindVoid {
		return nil
	}
	total, err := s.orders.Total(ctx, tx, p.OrderID)
	if err != nil {
		return err
	}
	payments, err := s.Of(ctx, tx, p.OrderID)
	if err != nil {
		return err
	}
	if o.Kind == openapi.PaymentOperationKindRefund {
		o.Surplus = max(0, min(o.Amount.Minor, p.Brings(), brought(payments)-total))
		return nil
	}
	needed := max(0, min(p.Amount.Minor-p.Captured, total-taken(payments)))
	if all && needed > 0 {
		o.Amount.Minor = needed
	}
	if o.Amount.Minor > needed {
		return problem.New(http.StatusConflict, "capture_exceeds_total", "The order needs %s of the payment, and no more can be captured.", p.amount(needed))
	}
	if s.Outside(p.Provider) {
		p.come(o.Amount.Minor)
		return nil
	}
	p.Surplus = p.Amount.Minor - needed
	return nil
}

// come has so much of a payment come in outside of the store: it brings what
// did, and the rest is due until it comes.
func (p *Payment) come(minor int64) {
	if p.Captured == 0 {
		p.Surplus = p.Amount.Minor
	}
	p.Surplus = max(0, p.Surplus-minor)
}
