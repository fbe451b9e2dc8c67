package payment

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river"

	"gitee.com/captainjez/gocart/runtime/config"
	"gitee.com/captainjez/gocart/runtime/internal/db"
	"gitee.com/captainjez/gocart/runtime/internal/payment/paymentdb"
	"gitee.com/captainjez/gocart/runtime/internal/problem"
	"gitee.com/captainjez/gocart/runtime/openapi"
)

// States of an event.
const (
	received = "received"
	applied  = "applied"
	unknown  = "unknown"
	ignored  = "ignored"
)

// orderComes is how long an event waits for the order of its payment: a
// provider may tell of a payment before the order that it is for is stored.
const orderComes = 15 * time.Minute

// Hearing is the job that applies an event.
type Hearing struct {
	Event uuid.UUID `json:"event"`
}

// Kind is the job's name in the queue.
func (Hearing) Kind() string { return "payment_event" }

// InsertOpts have it tried for about half a day.
func (Hearing) InsertOpts() river.InsertOpts {
	return river.InsertOpts{Queue: config.QueueHigh, MaxAttempts: 25}
}

func errSignature(why string) error {
	if why != "" {
		why = ": " + why
	}
	return problem.New(http.StatusBadRequest, "signature_invalid", "The event is not signed as the provider signs what it sends now%s.", why)
}

func errEvent(why string) error {
	return problem.New(http.StatusBadRequest, "event_invalid", "The event is none: %s.", why)
}

// Receive stores what a provider tells, once for the event's id, and applies
// it: at once, or by a job where that does not work. It returns when the event
// is stored. What is not the provider's is a *problem.Problem.
func (s *Payments) Receive(ctx context.Context, provider string, raw []byte, header http.Header) error {
	hook, ok := s.providers[provider].(Hook)
	if !ok {
		return problem.New(http.StatusNotFound, "provider_not_found", "No payment provider %.40q tells this store of events.", provider)
	}
	if err := hook.Verify(raw, header); err != nil {
		s.metrics.heard(provider, "refused")
		return err
	}
	e, err := hook.Read(raw)
	if err != nil {
		s.metrics.heard(provider, "refused")
		return err
	}
	kept, err := hook.Keep(raw)
	if err != nil {
		return err
	}
	row := paymentdb.InsertEventParams{
		ID: uuid.Must(uuid.NewV7()), Provider: provider, Event: e.ID, Type: e.Type, Reference: e.Reference, Raw: kept, State: received, At: s.now(),
	}
	if e.Reference == "" {
		row.State = ignored
	}
	var stored paymentdb.InsertEventRow
	err = db.WithTx(ctx, s.pool, func(tx pgx.Tx) (err error) {
		if stored, err = paymentdb.New(tx).InsertEvent(ctx, row); err != nil {
			return fmt.Errorf("storing an event: %w", err)
		}
		if !stored.Inserted || row.State != received {
			return nil
		}
		return s.queue.EnqueueAt(ctx, tx, s.now().Add(headStart), Hearing{Event: row.ID})
	})
	if err != nil {
		return err
	}
	if !stored.Inserted {
		s.metrics.heard(provider, "repeated")
		return nil
	}
	s.metrics.heard(provider, "stored")
	if row.State == received {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), atOnce)
		defer cancel()
		if err := s.apply(ctx, row.ID); err != nil {
			s.log.InfoContext(ctx, "an event of a payment provider is applied later", "event", e.ID, "type", e.Type, "reason", err)
		}
	}
	return nil
}

// errNotYet says that an event is about what is not stored yet.
var errNotYet = errors.New("it is about a payment that is not there, or not yet")

// apply learns what an event tells, once, and says whether it is to be tried
// again.
func (s *Payments) apply(ctx context.Context, id uuid.UUID) error {
	q := paymentdb.New(s.pool)
	row, err := q.EventByID(ctx, id)
	if errors.Is(err, pgx.ErrNoRows) { // forgotten
		return nil
	}
	if err != nil {
		return fmt.Errorf("reading an event: %w", err)
	}
	if row.State == applied || row.State == ignored {
		return nil
	}
	hook, ok := s.providers[row.Provider].(Hook)
	if !ok {
		return fmt.Errorf("the provider %q is not loaded", row.Provider)
	}
	e, err := hook.Read(row.Raw)
	if err != nil {
		return fmt.Errorf("event %s: %w", row.Event, err)
	}
	found, err := q.PaymentByReference(ctx, paymentdb.PaymentByReferenceParams{Provider: row.Provider, Reference: e.Reference})
	if errors.Is(err, pgx.ErrNoRows) {
		return s.ofNobody(ctx, row, e)
	}
	if err != nil {
		return fmt.Errorf("looking for an event's payment: %w", err)
	}
	also := func(tx pgx.Tx, p *Payment, d *Decision) (refused openapi.PaymentOperationKind, err error) {
		if e.FailedRefund != "" {
			refused = openapi.PaymentOperationKindRefund
			if err := s.unrefund(ctx, tx, p, d, e); err != nil {
				return refused, err
			}
		}
		if e.Dispute.ID != "" {
			refused = openapi.PaymentOperationKindRefund // what the bank takes back is not given back as well
			if err := s.chargedBack(ctx, tx, *p, d, e.Dispute); err != nil {
				return refused, err
			}
		}
		return refused, paymentdb.New(tx).SetEventState(ctx, paymentdb.SetEventStateParams{ID: id, State: applied, At: s.now()})
	}
	if e.Facts != nil {
		var p Payment
		if p, err = paymentOf(found); err != nil {
			return err
		}
		_, err = s.learnAbout(ctx, p, *e.Facts, also)
	} else {
		_, _, err = s.learnNow(ctx, found.ID, also)
	}
	// Of nobody, or of a refund that was not made here.
	if errors.Is(err, ErrNoPayment) || errors.Is(err, errNotYet) && s.now().Sub(row.ReceivedAt) > orderComes {
		return s.endEvent(ctx, q, row, ignored)
	}
	if err == nil {
		s.metrics.heard(row.Provider, applied)
	}
	return err
}

// elsewhere is the provider of that name, which can tell how payments stand.
func (s *Payments) elsewhere(provider string) (Elsewhere, error) {
	by, ok := s.providers[provider].(Elsewhere)
	if !ok {
		return nil, fmt.Errorf("nobody can tell of payments by %q", provider)
	}
	return by, nil
}

// isOurs reports whether what an event is about is a payment of this store's.
func (s *Payments) isOurs(ctx context.Context, provider string, e Event) (bool, error) {
	if e.Facts != nil {
		return true, nil
	}
	by, err := s.elsewhere(provider)
	if err != nil {
		return false, err
	}
	facts, err := by.Fetch(ctx, e.Reference)
	if errors.Is(err, ErrNoPayment) {
		return false, nil
	}
	return facts.Store == s.store, err
}

func (s *Payments) endEvent(ctx context.Context, q *paymentdb.Queries, row paymentdb.PaymentEvent, state string) error {
	if err := q.SetEventState(ctx, paymentdb.SetEventStateParams{ID: row.ID, State: state, At: s.now()}); err != nil {
		return fmt.Errorf("storing an event's state: %w", err)
	}
	s.metrics.heard(row.Provider, state)
	return nil
}

// ofNobody is for an event of a payment that is not there: it may be none of
// this store's. Else its order may come, and where it does not the event is kept
// and reported.
func (s *Payments) ofNobody(ctx context.Context, row paymentdb.PaymentEvent, e Event) error {
	ours, err := s.isOurs(ctx, row.Provider, e)
	if err != nil {
		return fmt.Errorf("event %s: %w", row.Event, err)
	}
	if !ours {
		return s.endEvent(ctx, paymentdb.New(s.pool), row, ignored)
	}
	if s.now().Sub(row.ReceivedAt) < orderComes {
		return errNotYet
	}
	if err := s.endEvent(ctx, paymentdb.New(s.pool), row, unknown); err != nil {
		return err
	}
	return s.dispute(ctx, s.pool, unknownEvent(row.Provider, row.Event, row.Type, row.Reference))
}

// unrefund takes back that a refund was made, which failed after all.
func (s *Payments) unrefund(ctx context.Context, tx pgx.Tx, p *Payment, d *Decision, e Event) error {
	q := paymentdb.New(tx)
	row, err := q.OperationByReference(ctx, e.FailedRefund)
	if errors.Is(err, pgx.ErrNoRows) {
		return errNotYet
	}
	if err != nil {
		return fmt.Errorf("looking for a refund: %w", err)
	}
	if row.PaymentID != p.ID || row.State != string(openapi.PaymentOperationStateSucceeded) {
		return nil
	}
	o := operationOf(row, p.Amount.Currency)
	p.Refunded -= o.Amount.Minor
	p.Surplus -= o.Surplus
	if p.State == openapi.PaymentStateRefunded {
		p.State = openapi.PaymentStateCaptured
	}
	d.Changes = append(d.Changes, Change{
		Payment: *p, Type: "payment.operation_failed", Actor: "provider", Private: true, RefundID: o.RefundID,
		Note: fmt.Sprintf("The refund of %s failed after all: %s", o.Amount, e.Failure),
	})
	if err := s.dispute(ctx, tx, failedOperation(*p, o, e.Failure)); err != nil {
		return err
	}
	return q.ConcludeOperation(ctx, paymentdb.ConcludeOperationParams{
		ID: o.ID, State: string(openapi.PaymentOperationStateFailed), Reference: o.Reference, Failure: e.Failure, At: s.now(),
	})
}

// chargedBack notes a chargeback, which is for people to answer at the provider,
// until it is over. What was told of it before may be told after. A payment that
// the store does not have has no ID.
func (s *Payments) chargedBack(ctx context.Context, tx pgx.Tx, p Payment, d *Decision, of Dispute) error {
	q, kind := paymentdb.New(tx), openapi.PaymentDiscrepancyKindChargeDisputed
	resolved, err := q.DiscrepancyByReference(ctx, paymentdb.DiscrepancyByReferenceParams{Kind: string(kind), Provider: p.Provider, Reference: of.ID})
	known := !errors.Is(err, pgx.ErrNoRows)
	if err != nil && known {
		return fmt.Errorf("looking for a dispute: %w", err)
	}
	if resolved {
		return nil
	}
	tell := func(note string) {
		d.Changes = append(d.Changes, Change{Payment: p, Actor: "provider", Private: true, Note: note})
	}
	which := "the payment"
	if p.ID == uuid.Nil {
		which = p.Reference + ", of which the store has no payment"
	}
	detail := fmt.Sprintf("The buyer's bank disputes %s of %s (%s); at the provider the dispute is %s.", of.Amount, which, of.Reason, of.Status)
	if !known {
		tell(detail)
	}
	err = s.dispute(ctx, tx, discrepancy{kind: kind, provider: p.Provider, reference: of.ID, payment: p.ID, order: p.OrderID, detail: detail})
	if err != nil || !of.Over {
		return err
	}
	tell(fmt.Sprintf("The dispute over %s is over; at the provider it is %s.", of.Amount, of.Status))
	now := s.now()
	err = q.ResolveByReference(ctx, paymentdb.ResolveByReferenceParams{At: &now, Kind: string(kind), Provider: p.Provider, Reference: of.ID})
	if err != nil {
		return fmt.Errorf("resolving a dispute: %w", err)
	}
	return nil
}

// keepEvents is for how long what providers told is kept.
const keepEvents = 90 * 24 * time.Hour

// ForgetEvents removes older events, and discrepancies that have been resolved
// for as long, and returns how many events.
func (s *Payments) ForgetEvents(ctx context.Context) (int64, error) {
	const most = 1000
	if err := paymentdb.New(s.pool).ForgetDiscrepancies(ctx, s.now().Add(-keepEvents)); err != nil {
		return 0, fmt.Errorf("forgetting discrepancies that are resolved: %w", err)
	}
	for total := int64(0); ; {
		n, err := paymentdb.New(s.pool).ForgetEvents(ctx, paymentdb.ForgetEventsParams{Before: s.now().Add(-keepEvents), Most: most})
		if total += n; err != nil {
			return total, fmt.Errorf("forgetting events of payment providers: %w", err)
		}
		if n < most {
			return total, nil
		}
	}
}
