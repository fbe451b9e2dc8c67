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
	"gitee.com/captainjez/gocart/runtime/internal/jobs"
	"gitee.com/captainjez/gocart/runtime/internal/money"
	"gitee.com/captainjez/gocart/runtime/internal/optional"
	"gitee.com/captainjez/gocart/runtime/internal/payment/paymentdb"
	"gitee.com/captainjez/gocart/runtime/internal/problem"
	"gitee.com/captainjez/gocart/runtime/openapi"
)

// Operation is what a provider is asked to do with a payment.
type Operation struct {
	// ID is the provider's idempotency key for it.
	ID, PaymentID uuid.UUID
	Kind          openapi.PaymentOperationKind
	State         openapi.PaymentOperationState
	Amount        money.Amount
	// Surplus is how much of a refund the order did not need.
	Surplus int64
	// RefundID is the order's refund that it is for, uuid.Nil for none.
	RefundID uuid.UUID
	// Actor is who asked for it, as identity.Principal.Actor says it, or "store".
	Actor, Reason string
	// Reference is the provider's own name for it, Failure why it refused.
	Reference, Failure string
	// Attempts is how often the provider was asked before.
	Attempts             int
	CreatedAt, UpdatedAt time.Time
}

// Public is the operation as callers see it.
func (o Operation) Public() openapi.PaymentOperation {
	return openapi.PaymentOperation{
		Id: o.ID, PaymentId: o.PaymentID, Kind: o.Kind, State: o.State, Amount: openapi.Money{Amount: o.Amount.Decimal(), Currency: o.Amount.Currency},
		Reason: optional.Of(o.Reason), Failure: optional.Of(o.Failure), CreatedAt: o.CreatedAt, UpdatedAt: o.UpdatedAt,
	}
}

func operationOf(r paymentdb.PaymentOperation, currency string) Operation {
	return Operation{
		ID: r.ID, PaymentID: r.PaymentID, Kind: openapi.PaymentOperationKind(r.Kind), State: openapi.PaymentOperationState(r.State),
		Amount: money.Amount{Minor: r.Amount, Currency: currency}, Surplus: r.Surplus, RefundID: optional.Value(r.RefundID), Actor: r.Actor, Reason: r.Reason,
		Reference: r.Reference, Failure: r.Failure, Attempts: int(r.Attempts), CreatedAt: r.CreatedAt.UTC(), UpdatedAt: r.UpdatedAt.UTC(),
	}
}

// Asking is the job that takes an operation to its provider.
type Asking struct {
	Operation uuid.UUID `json:"operation"`
}

// Kind is the job's name in the queue.
func (Asking) Kind() string { return "payment_operation" }

// InsertOpts have it tried for about half a day.
func (Asking) InsertOpts() river.InsertOpts {
	return river.InsertOpts{Queue: config.QueueHigh, MaxAttempts: 25}
}

// headStart is how much later than its transaction an operation's job begins:
// until then whoever asked is at it.
const headStart = 10 * time.Second

// ask writes an operation of a payment that the transaction holds, and counts
// its amount. The caller stores the payment.
func (s *Payments) ask(ctx context.Context, tx pgx.Tx, p *Payment, d *Decision, o Operation) error {
	switch o.Kind {
	case openapi.PaymentOperationKindCapture:
		p.Capturing += o.Amount.Minor
	case openapi.PaymentOperationKindRefund:
		p.Refunding += o.Amount.Minor
		p.Surplus += o.Surplus
	case openapi.PaymentOperationKindVoid:
	}
	o.ID, o.State = uuid.Must(uuid.NewV7()), openapi.PaymentOperationStateRequested
	if err := s.insert(ctx, tx, *p, o); err != nil {
		return err
	}
	d.Asked = append(d.Asked, o.ID)
	return s.queue.EnqueueAt(ctx, tx, s.now().Add(headStart), Asking{Operation: o.ID})
}

// note writes a refund of a payment that the transaction holds which was made by
// hand, so that nobody is asked for it. The caller stores the payment.
func (s *Payments) note(ctx context.Context, tx pgx.Tx, p *Payment, d *Decision, o Operation) error {
	o.ID, o.State = uuid.Must(uuid.NewV7()), openapi.PaymentOperationStateSucceeded
	if err := s.insert(ctx, tx, *p, o); err != nil {
		return err
	}
	p.Refunded += o.Amount.Minor
	p.RefundedOutside += o.Amount.Minor
	p.settle()
	d.Changes = append(d.Changes, Change{
		Payment: *p, Type: "payment.refunded", Actor: o.Actor, RefundID: o.RefundID,
		Note: fmt.Sprintf("%s were given back outside of the payment provider.", o.Amount), Reason: o.Reason,
	})
	return nil
}

func (s *Payments) insert(ctx context.Context, tx pgx.Tx, p Payment, o Operation) error {
	err := paymentdb.New(tx).InsertOperation(ctx, paymentdb.InsertOperationParams{
		ID: o.ID, PaymentID: p.ID, RefundID: optional.Of(o.RefundID), Kind: string(o.Kind), Amount: o.Amount.Minor, Surplus: o.Surplus, State: string(o.State),
		Actor: o.Actor, Reason: o.Reason, At: s.now(),
	})
	if err != nil {
		return fmt.Errorf("noting what a provider is asked: %w", err)
	}
	return nil
}

// pursue asks for what an undone payment still needs: nothing while something
// is being asked, and nothing again of the kind of what was just refused, which
// is none where that is empty; after a refund with an amount the rest that no
// refund was asked for. The caller stores the payment.
func (s *Payments) pursue(ctx context.Context, tx pgx.Tx, p *Payment, d *Decision, actor string, refused Operation) error {
	if !p.Undone || p.Capturing > 0 || p.Refunding > 0 {
		return nil
	}
	o := Operation{Actor: actor}
	switch p.State {
	case openapi.PaymentStatePending, openapi.PaymentStateRequiresAction, openapi.PaymentStateAuthorized:
		o.Kind, o.Amount = openapi.PaymentOperationKindVoid, p.Amount
	case openapi.PaymentStateCaptured:
		o.Kind, o.Amount = openapi.PaymentOperationKindRefund, p.amount(p.refundable())
	case openapi.PaymentStateVoided, openapi.PaymentStateFailed, openapi.PaymentStateRefunded:
		return nil
	}
	if o.Kind == refused.Kind {
		if o.Kind != openapi.PaymentOperationKindRefund || refused.Amount.Minor == 0 {
			return nil
		}
		never, err := paymentdb.New(tx).RefusedRefunds(ctx, p.ID)
		if err != nil {
			return fmt.Errorf("looking for what a provider refused: %w", err)
		}
		if o.Amount.Minor -= never; o.Amount.Minor <= 0 {
			return nil
		}
	}
	return s.askOnce(ctx, tx, p, d, o)
}

// askOnce is ask, unless the provider is being asked for that already.
func (s *Payments) askOnce(ctx context.Context, tx pgx.Tx, p *Payment, d *Decision, o Operation) error {
	asking, err := paymentdb.New(tx).AskingFor(ctx, paymentdb.AskingForParams{PaymentID: p.ID, Kind: string(o.Kind)})
	if err != nil {
		return fmt.Errorf("looking for what a provider is asked: %w", err)
	}
	if asking {
		return nil
	}
	return s.ask(ctx, tx, p, d, o)
}

// voiding reports whether the provider is being asked to void a payment.
func (s *Payments) voiding(ctx context.Context, q paymentdb.DBTX, p Payment) (bool, error) {
	asking, err := paymentdb.New(q).AskingFor(ctx, paymentdb.AskingForParams{PaymentID: p.ID, Kind: string(openapi.PaymentOperationKindVoid)})
	if err != nil {
		return false, fmt.Errorf("looking for what a provider is asked: %w", err)
	}
	return asking, nil
}

func (s *Payments) void(ctx context.Context, tx pgx.Tx, p *Payment, d *Decision, actor string) error {
	return s.askOnce(ctx, tx, p, d, Operation{Kind: openapi.PaymentOperationKindVoid, Amount: p.Amount, Actor: actor})
}

// Settle asks providers for operations whose transaction has committed. What
// does not work is left to their jobs.
func (s *Payments) Settle(ctx context.Context, ids ...uuid.UUID) {
	if len(ids) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), atOnce)
	defer cancel()
	for _, id := range ids {
		if err := s.carryOut(ctx, id); err != nil {
			s.log.WarnContext(ctx, "a payment provider will be asked again", "operation", id, "error", err)
		}
	}
}

// SettleRefund is Settle for the operations of an order's refund.
func (s *Payments) SettleRefund(ctx context.Context, id uuid.UUID) {
	ids, err := paymentdb.New(s.pool).OpenOf(ctx, id)
	if err != nil {
		s.log.WarnContext(ctx, "a refund is left to its job", "refund", id, "error", err)
	}
	s.Settle(ctx, ids...)
}

// carryOut asks the provider for an operation, unless that is concluded.
func (s *Payments) carryOut(ctx context.Context, id uuid.UUID) error {
	q := paymentdb.New(s.pool)
	attempts, err := q.CountAttempt(ctx, paymentdb.CountAttemptParams{ID: id, At: s.now()})
	if errors.Is(err, pgx.ErrNoRows) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("counting an attempt: %w", err)
	}
	row, err := q.OperationByID(ctx, id)
	if err != nil {
		return fmt.Errorf("reading an operation: %w", err)
	}
	p, err := s.read(ctx, row.PaymentID)
	if err != nil {
		return err
	}
	o := operationOf(row, p.Amount.Currency)
	o.Attempts = int(attempts) - 1
	by, err := s.by(p)
	if err != nil {
		return err
	}
	facts, err := s.do(ctx, by, p, o)
	refused, definite := errors.AsType[*Refusal](err)
	switch {
	case definite:
		return s.refused(ctx, by, p.ID, o, refused)
	case err != nil:
		return fmt.Errorf("%s of payment %s: %w", o.Kind, p.ID, err)
	}
	return s.conclude(ctx, p, o, facts, nil)
}

// refused concludes an operation that the provider does not do, or had done
// already, by how the payment stands there now.
func (s *Payments) refused(ctx context.Context, by Provider, id uuid.UUID, o Operation, refused *Refusal) error {
	for range patientTries {
		p, err := s.read(ctx, id)
		if err != nil {
			return err
		}
		facts, err := s.afterRefusal(ctx, by, p)
		if err != nil {
			return err
		}
		if o.isDone(p, facts) { // asked before, and the answer lost
			return s.conclude(ctx, p, o, facts, nil)
		}
		if err := s.conclude(ctx, p, o, facts, refused); !errors.Is(err, errMoved) {
			return err
		}
	}
	return errMoved
}

// read is a payment as it stands here.
func (s *Payments) read(ctx context.Context, id uuid.UUID) (Payment, error) {
	row, err := paymentdb.New(s.pool).PaymentByID(ctx, id)
	if err != nil {
		return Payment{}, fmt.Errorf("reading a payment: %w", err)
	}
	return paymentOf(row)
}

func (s *Payments) do(ctx context.Context, by Provider, p Payment, o Operation) (facts Facts, err error) {
	switch o.Kind {
	case openapi.PaymentOperationKindCapture:
		facts, err = by.Capture(ctx, p, o)
	case openapi.PaymentOperationKindVoid:
		facts, err = by.Void(ctx, p, o)
	case openapi.PaymentOperationKindRefund:
		facts, err = by.Refund(ctx, p, o)
	}
	s.asked(ctx, p.Provider, string(o.Kind), err)
	return facts, err
}

// afterRefusal looks how a payment stands of which a provider refused something.
func (s *Payments) afterRefusal(ctx context.Context, by Provider, p Payment) (Facts, error) {
	elsewhere, ok := by.(Elsewhere)
	if !ok || p.Reference == "" {
		return Facts{}, nil
	}
	facts, err := elsewhere.Fetch(ctx, p.Reference)
	if errors.Is(err, ErrNoPayment) {
		return Facts{}, nil
	}
	return facts, err
}

// isDone reports whether facts are what an operation was asked for.
func (o Operation) isDone(p Payment, f Facts) bool {
	switch o.Kind {
	case openapi.PaymentOperationKindCapture:
		return f.Captured >= p.Captured+o.Amount.Minor
	case openapi.PaymentOperationKindVoid:
		return f.State == openapi.PaymentStateVoided
	case openapi.PaymentOperationKindRefund: // the provider looks for itself
	}
	return false
}

// held runs do in a transaction that holds an order and one of its payments,
// stores the payment, has the order told, and settles what follows.
func (s *Payments) held(ctx context.Context, id, orderID uuid.UUID, do func(tx pgx.Tx, p *Payment, d *Decision) error) error {
	var d Decision
	err := db.WithTx(ctx, s.pool, func(tx pgx.Tx) error {
		d = Decision{}
		if err := s.orders.Lock(ctx, tx, orderID); err != nil {
			return err
		}
		p, err := s.one(ctx, tx, id)
		if err != nil {
			return err
		}
		before := p
		if err := do(tx, &p, &d); err != nil {
			return err
		}
		if p != before {
			if err := s.write(ctx, tx, p); err != nil {
				return err
			}
		}
		if p.Captured > before.Captured {
			if err := s.giveBackSurplus(ctx, tx, orderID, &d); err != nil {
				return err
			}
		}
		if p.State == openapi.PaymentStateAuthorized && before.State != p.State {
			if err := s.takeIfGone(ctx, tx, orderID, &d); err != nil {
				return err
			}
		}
		return s.orders.Changed(ctx, tx, orderID, d.Changes)
	})
	if err != nil {
		return err
	}
	for _, c := range d.Changes {
		s.metrics.changed(c)
	}
	s.Settle(ctx, d.Asked...)
	return nil
}

// takeIfGone captures what is set aside for an order that has gone out.
func (s *Payments) takeIfGone(ctx context.Context, tx pgx.Tx, orderID uuid.UUID, d *Decision) error {
	gone, err := s.orders.Gone(ctx, tx, orderID)
	if err != nil || !gone {
		return err
	}
	more, err := s.Capture(ctx, tx, orderID, "store")
	d.Changes, d.Asked = append(d.Changes, more.Changes...), append(d.Asked, more.Asked...)
	return err
}

// conclude stores what became of an operation, once. How the payment stands at
// the provider is learned where it is as it was before that was asked: else it
// may be older than what is known here.
func (s *Payments) conclude(ctx context.Context, p Payment, o Operation, facts Facts, refused *Refusal) error {
	before := p
	return s.held(ctx, p.ID, p.OrderID, func(tx pgx.Tx, p *Payment, d *Decision) error {
		q := paymentdb.New(tx)
		row, err := q.OperationByID(ctx, o.ID)
		if err != nil {
			return fmt.Errorf("reading an operation: %w", err)
		}
		if row.State != string(openapi.PaymentOperationStateRequested) {
			return nil
		}
		o.Reason, o.Actor = row.Reason, row.Actor // who is erased meanwhile is not told of
		moved := !p.standsAs(before)
		if moved && refused != nil { // by what, the provider has to be asked again
			return errMoved
		}
		end := paymentdb.ConcludeOperationParams{ID: o.ID, State: string(openapi.PaymentOperationStateSucceeded), Reference: facts.Operation, At: s.now()}
		if refused == nil {
			d.Changes = append(d.Changes, p.succeed(o))
		} else {
			end.State, end.Failure = string(openapi.PaymentOperationStateFailed), refused.Error()
			d.Changes = append(d.Changes, p.fail(o, end.Failure))
			if err := s.dispute(ctx, tx, failedOperation(*p, o, end.Failure)); err != nil {
				return err
			}
		}
		if err := q.ConcludeOperation(ctx, end); err != nil {
			return fmt.Errorf("storing an operation: %w", err)
		}
		if !moved {
			d.Changes = append(d.Changes, p.learn(facts, "store")...)
		}
		if refused == nil && o.Kind != openapi.PaymentOperationKindRefund { // what was refused of refunds before is for people
			o = Operation{}
		}
		return s.pursue(ctx, tx, p, d, "store", o)
	})
}

// succeed is what a payment is after the provider did what it was asked.
func (p *Payment) succeed(o Operation) Change {
	c := Change{Actor: o.Actor, RefundID: o.RefundID}
	switch o.Kind {
	case openapi.PaymentOperationKindCapture:
		p.Capturing -= o.Amount.Minor
		p.Captured += o.Amount.Minor
		c.Type = "payment.captured"
	case openapi.PaymentOperationKindRefund:
		p.Refunding -= o.Amount.Minor
		p.Refunded += o.Amount.Minor
		c.Type = "payment.refunded"
		if !p.Undone { // else the order itself says so
			c.Note = fmt.Sprintf("%s were given back.", o.Amount)
			c.Reason = o.Reason
			if o.Reason == tooMuchTaken { // the store's words
				c.Note, c.Reason = c.Note+" "+tooMuchTaken, ""
			}
		}
	case openapi.PaymentOperationKindVoid:
		c.Type = "payment.voided"
		if p.Captured == 0 {
			p.State = openapi.PaymentStateVoided
		}
	}
	p.settle()
	c.Payment = *p
	return c
}

// fail is what a payment is after the provider refused what it was asked.
func (p *Payment) fail(o Operation, why string) Change {
	switch o.Kind {
	case openapi.PaymentOperationKindCapture:
		p.Capturing -= o.Amount.Minor
		p.Surplus = 0 // nothing is taken yet, and all of it may be needed later
	case openapi.PaymentOperationKindRefund:
		p.Refunding -= o.Amount.Minor
		p.Surplus -= o.Surplus
	case openapi.PaymentOperationKindVoid:
	}
	return Change{
		Payment: *p, Type: "payment.operation_failed", Actor: o.Actor, Private: true, RefundID: o.RefundID,
		Note: fmt.Sprintf("The %s of %s was refused by the payment provider: %s", o.Kind, o.Amount, why),
	}
}

// settle makes the state that of the amounts where there are any.
func (p *Payment) settle() {
	switch {
	case p.Captured > 0 && p.Refunded == p.Captured:
		p.State = openapi.PaymentStateRefunded
	case p.Captured > 0:
		p.State = openapi.PaymentStateCaptured
	}
	if p.State != openapi.PaymentStateRequiresAction {
		p.NextAction = nil
	}
}

// rank is how far a payment is; it never goes back.
func rank(s openapi.PaymentState) int {
	switch s {
	case openapi.PaymentStatePending, openapi.PaymentStateRequiresAction:
		return 1
	case openapi.PaymentStateAuthorized:
		return 2
	case openapi.PaymentStateVoided, openapi.PaymentStateFailed:
		return 3
	case openapi.PaymentStateCaptured, openapi.PaymentStateRefunded:
		return 4
	}
	return 0
}

// learn takes over how the payment stands at its provider, as far as that is
// further than what is known here. What is being asked may be in the
// provider's amounts already, or not yet: what is certain is what is above
// both, and the rest is known when the operation is concluded.
func (p *Payment) learn(f Facts, actor string) (changes []Change) {
	if f.Reference == "" {
		return nil
	}
	before := *p
	if ours := rank(p.State); ours < 4 && f.State != p.State {
		switch theirs := rank(f.State); {
		case theirs == 4 && ours < 2: // what was taken was set aside before
			p.State = openapi.PaymentStateAuthorized
		case theirs > ours && theirs < 4, theirs == ours && ours == 1:
			p.State = f.State
		}
	}
	if f.State == openapi.PaymentStateRequiresAction && p.State == f.State && f.NextAction != nil && !same(p.NextAction, f.NextAction) {
		p.NextAction = f.NextAction
	}
	p.Captured += max(0, min(f.Captured, p.Amount.Minor)-p.Captured-p.Capturing)
	p.Refunded += max(0, min(f.Refunded+p.RefundedOutside, p.Captured)-p.Refunded-p.Refunding)
	p.Surplus = min(p.Surplus, p.Amount.Minor-p.Captured+p.Refunded+p.Refunding) // what was taken all the same is none that was not
	p.settle()
	late := ""
	if p.Undone && p.Captured > before.Captured {
		late = fmt.Sprintf("The payment of %s came in although the order is no more, and is given back.", p.amount(p.Captured-before.Captured))
	}
	if p.State != before.State || p.Captured > before.Captured {
		state := p.State
		if p.State == openapi.PaymentStateRefunded && p.Captured > before.Captured {
			state = openapi.PaymentStateCaptured // and the next says that it was given back
		}
		if state != openapi.PaymentStateRefunded {
			changes = append(changes, Change{Payment: *p, Type: "payment." + string(state), Actor: actor, Note: late})
		}
	}
	if back := p.Refunded - before.Refunded; back > 0 {
		changes = append(changes, Change{Payment: *p, Type: "payment.refunded", Actor: actor, Note: fmt.Sprintf("%s were given back at the payment provider.", p.amount(back))})
	}
	return changes
}

func same(a, b *openapi.PaymentAction) bool {
	return a != nil && b != nil && a.Type == b.Type && optional.Value(a.ClientSecret) == optional.Value(b.ClientSecret) &&
		optional.Value(a.RedirectUrl) == optional.Value(b.RedirectUrl)
}

// also is what to do with a payment before what its provider says is learned;
// it says what the provider has just refused, empty for nothing.
type also func(tx pgx.Tx, p *Payment, d *Decision) (openapi.PaymentOperationKind, error)

// learnAbout is learn for a payment that nobody holds, and returns how that
// stands then.
func (s *Payments) learnAbout(ctx context.Context, p Payment, facts Facts, first also) (after Payment, err error) {
	err = s.held(ctx, p.ID, p.OrderID, func(tx pgx.Tx, p *Payment, d *Decision) (err error) {
		refused := openapi.PaymentOperationKind("")
		if first != nil {
			if refused, err = first(tx, p, d); err != nil {
				return err
			}
		}
		d.Changes = append(d.Changes, p.learn(facts, "provider")...)
		if len(d.Changes) > 0 {
			err = s.pursue(ctx, tx, p, d, "store", Operation{Kind: refused})
		}
		after = *p
		return err
	})
	return after, err
}

// patientTries is how often a provider is asked anew how a payment stands that
// changes meanwhile.
const patientTries = 10

// errMoved says that a payment changed while its provider was asked about it.
var errMoved = errors.New("the payment changed while its provider was asked how it stands")

// learnNow is learnAbout with the facts of now: what was fetched before a change
// of the payment may be of before that too, and is fetched again.
func (s *Payments) learnNow(ctx context.Context, id uuid.UUID, first also) (after Payment, facts Facts, err error) {
	for range patientTries {
		before, err := s.read(ctx, id)
		if err != nil {
			return after, facts, err
		}
		by, err := s.elsewhere(before.Provider)
		if err != nil {
			return after, facts, err
		}
		if facts, err = by.Fetch(ctx, before.Reference); err != nil {
			return after, facts, err
		}
		after, err = s.learnAbout(ctx, before, facts, func(tx pgx.Tx, p *Payment, d *Decision) (openapi.PaymentOperationKind, error) {
			switch {
			case !p.standsAs(before):
				return "", errMoved
			case first == nil:
				return "", nil
			}
			return first(tx, p, d)
		})
		if !errors.Is(err, errMoved) {
			return after, facts, err
		}
	}
	return after, facts, errMoved
}

// standsAs reports whether nothing has become of the payment since it was as
// before.
func (p Payment) standsAs(before Payment) bool {
	p.NextAction, before.NextAction = nil, nil
	return p == before
}

// wish is an operation that somebody asks for.
type wish struct {
	kind openapi.PaymentOperationKind
	// amount is nil for all of it.
	amount        *string
	reason, actor string
}

// request decides an operation in a transaction that holds the order.
func (s *Payments) request(ctx context.Context, tx pgx.Tx, p *Payment, d *Decision, w wish) error {
	o := Operation{Kind: w.kind, Amount: p.Amount, Reason: w.reason, Actor: w.actor}
	if w.amount != nil {
		var f problem.Findings
		o.Amount.Minor = f.Amount("/amount", *w.amount, p.Amount.Currency)
		f.Require(len(f) > 0 || o.Amount.Minor > 0, "/amount", "must be above zero")
		if err := f.Err(); err != nil {
			return err
		}
	}
	if err := s.admit(ctx, tx, *p, o); err != nil {
		return err
	}
	if err := s.measure(ctx, tx, p, &o, w.amount == nil); err != nil {
		return err
	}
	d.Changes = append(d.Changes, Change{
		Payment: *p, Actor: w.actor, Private: true, Note: fmt.Sprintf("The %s of %s was asked for.", o.Kind, o.Amount), Reason: o.Reason,
	})
	return s.ask(ctx, tx, p, d, o)
}

// admit says what stands against an operation.
func (s *Payments) admit(ctx context.Context, tx pgx.Tx, p Payment, o Operation) error {
	if o.Kind == openapi.PaymentOperationKindRefund {
		if o.Amount.Minor > p.refundable() {
			return tooMuch(p.amount(p.refundable()))
		}
		if err := s.askable(p, p.OrderID); err != nil {
			return err
		}
		return s.notExchanged(ctx, tx, p, o.Amount.Minor)
	}
	voiding, err := s.voiding(ctx, tx, p)
	if err != nil {
		return err
	}
	switch {
	case voiding:
		return problem.New(http.StatusConflict, "payment_being_voided", "The payment is being voided.")
	case p.Capturing > 0:
		return problem.New(http.StatusConflict, "payment_being_captured", "%s of the payment are being captured.", p.amount(p.Capturing))
	case o.Kind == openapi.PaymentOperationKindCapture && p.State != openapi.PaymentStateAuthorized && !s.byHand(p) && !s.partly(p):
		return problem.New(http.StatusConflict, "payment_not_authorized", "The payment is %s: only what is set aside can be captured, once, or what comes in outside of the store, until all of it has.", p.State)
	case o.Kind == openapi.PaymentOperationKindCapture && o.Amount.Minor > p.Amount.Minor:
		return problem.New(http.StatusConflict, "capture_exceeds_authorized", "%s are set aside, and can be captured at most.", p.Amount)
	case o.Kind == openapi.PaymentOperationKindVoid && !p.Waits() && p.State != openapi.PaymentStateAuthorized:
		return problem.New(http.StatusConflict, "payment_not_open", "The payment is %s, and can not be voided; what was captured can be refunded.", p.State)
	}
	return nil
}

// notExchanged wants a refund to leave what is in orders that were placed in
// exchange.
func (s *Payments) notExchanged(ctx context.Context, tx pgx.Tx, p Payment, minor int64) error {
	all, err := s.Of(ctx, tx, p.OrderID)
	if err != nil {
		return err
	}
	free, err := s.free(ctx, tx, all)
	if err != nil || minor <= free {
		return err
	}
	return problem.New(http.StatusConflict, "order_exchanged",
		"%s can be given back here: the rest is in an order that was placed in exchange, and is given back with POST /orders/{id}/refunds of that one, which GET /orders/%s/returns names.",
		p.amount(max(0, free)), p.OrderID)
}

// Kinds are the jobs that payments need.
func (s *Payments) Kinds(sweeper *jobs.Sweeper) []jobs.Kind {
	return []jobs.Kind{
		jobs.Of(jobs.Kind{About: "Asks a payment provider to capture, void or refund, until it answers.", Timeout: time.Minute},
			func(ctx context.Context, job *river.Job[Asking]) error { return s.carryOut(ctx, job.Args.Operation) }),
		jobs.Of(jobs.Kind{About: "Applies what a payment provider told of a payment.", Timeout: time.Minute},
			func(ctx context.Context, job *river.Job[Hearing]) error { return s.apply(ctx, job.Args.Event) }),
		jobs.Sweeping[Reconciliation](sweeper, jobs.Kind{
			About: "Compares payments with their providers, mends what is safe to mend, and reports the rest.", Every: reconcileEvery, Timeout: 30 * time.Minute,
		}, jobs.Sweep{Name: "payment discrepancies", Do: s.Reconcile}),
	}
}
