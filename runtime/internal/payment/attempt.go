package payment

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"

	"gitee.com/captainjez/gocart/runtime/internal/batch"
	"gitee.com/captainjez/gocart/runtime/internal/money"
	"gitee.com/captainjez/gocart/runtime/internal/payment/paymentdb"
	"gitee.com/captainjez/gocart/runtime/openapi"
)

// An attempt is written before a provider elsewhere is asked for money, and
// taken away by the transaction that stores the order. One that stays had no
// order in the end, whatever happened to the process: after abandonedAfter,
// which no order takes to be placed, it is given up, and whatever the provider
// has of it is voided. Given up comes first: a process that slept for so long
// finds its attempt gone, and does not place the order.

// abandonedAfter is when an attempt is given up.
const abandonedAfter = 10 * time.Minute

// errGivenUp says that the payment of an order was given up before the order
// was stored.
var errGivenUp = errors.New("the payment was given up before its order was stored")

func (s *Payments) attempt(ctx context.Context, p *Payment) error {
	err := paymentdb.New(s.pool).InsertAttempt(ctx, paymentdb.InsertAttemptParams{
		ID: p.ID, OrderID: p.OrderID, Provider: p.Provider, Amount: p.Amount.Minor, Currency: p.Amount.Currency, At: s.now(),
	})
	if err != nil {
		return fmt.Errorf("noting an attempt to pay: %w", err)
	}
	p.attempted = true
	return nil
}

// takeAttempts takes attempts away when the statements are sent; those that
// were given up meanwhile are an error.
func takeAttempts(ctx context.Context, statements *batch.Statements, ids []uuid.UUID) {
	if len(ids) == 0 {
		return
	}
	statements.Add(func(db batch.DB) error {
		n, err := paymentdb.New(db).TakeAttempts(ctx, ids)
		if err != nil {
			return fmt.Errorf("taking attempts to pay: %w", err)
		}
		if n != int64(len(ids)) {
			return errGivenUp
		}
		return nil
	})
}

// Abandon gives up a payment whose order was not placed after all. Where the
// provider cannot be told, ExpireAttempts tells it later.
func (s *Payments) Abandon(ctx context.Context, p Payment) error {
	if p.Amount.Minor == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
	defer cancel()
	if p.attempted {
		if err := paymentdb.New(s.pool).GiveUpAttempt(ctx, p.ID); err != nil {
			return fmt.Errorf("giving an attempt to pay up: %w", err)
		}
	}
	if err := s.release(ctx, s.providers[p.Provider], p); err != nil {
		return err
	}
	if !p.attempted {
		return nil
	}
	return paymentdb.New(s.pool).ForgetAttempt(ctx, p.ID)
}

// release has a provider give a payment up that has no order.
func (s *Payments) release(ctx context.Context, by Provider, p Payment) error {
	o := Operation{PaymentID: p.ID, Kind: openapi.PaymentOperationKindVoid, Amount: p.Amount}
	var err error
	if p.Captured > 0 {
		// The payment's own id would be the key of its making. It may have been asked before.
		o.ID, o.Attempts = uuid.NewSHA1(p.ID, []byte("abandon")), 1
		o.Kind, o.Amount = openapi.PaymentOperationKindRefund, p.amount(p.Captured-p.Refunded)
		_, err = by.Refund(ctx, p, o)
	} else {
		o.ID = uuid.Must(uuid.NewV7()) // under a key that was refused it would be refused for a day
		_, err = by.Void(ctx, p, o)
	}
	s.asked(ctx, p.Provider, string(o.Kind), err)
	if _, refused := errors.AsType[*Refusal](err); refused {
		if facts, unknown := s.afterRefusal(ctx, by, p); unknown == nil && o.isDone(p, facts) {
			return nil
		}
	}
	return err
}

// ExpireAttempts gives up payments of orders that were never stored, and
// returns how many. What does not work is tried again after all others; what the
// provider refuses is a discrepancy. Two at once do no harm.
func (s *Payments) ExpireAttempts(ctx context.Context) (int, error) {
	const most = 100
	rows, err := paymentdb.New(s.pool).GiveUpAttempts(ctx, paymentdb.GiveUpAttemptsParams{
		Before: s.now().Add(-abandonedAfter), At: new(s.now()), Most: most,
	})
	if err != nil {
		return 0, fmt.Errorf("finding payments without an order: %w", err)
	}
	byProvider := map[string][]paymentdb.PaymentAttempt{}
	for _, r := range rows {
		byProvider[r.Provider] = append(byProvider[r.Provider], r)
	}
	done := 0
	var failed error
	for provider, rows := range byProvider {
		n, err := s.expire(ctx, provider, rows)
		done += n
		failed = errors.Join(failed, err)
	}
	return done, failed
}

// expire gives attempts at one provider up.
func (s *Payments) expire(ctx context.Context, provider string, rows []paymentdb.PaymentAttempt) (done int, failed error) {
	by, err := s.elsewhere(provider)
	if err != nil {
		return 0, err
	}
	made, err := s.madeOf(ctx, by, rows)
	if err != nil {
		return 0, fmt.Errorf("looking for payments without an order: %w", err)
	}
	for _, r := range rows {
		p := Payment{ID: r.ID, OrderID: r.OrderID, Provider: r.Provider, Amount: money.Amount{Minor: r.Amount, Currency: r.Currency}}
		if facts, ok := made[r.ID]; ok {
			err = s.giveUp(ctx, by, p, facts)
			if refused, definite := errors.AsType[*Refusal](err); definite {
				err = s.dispute(ctx, s.pool, notGivenUp(p, facts, refused))
			}
		}
		if err == nil {
			err = paymentdb.New(s.pool).ForgetAttempt(ctx, r.ID)
		}
		if err != nil {
			failed = errors.Join(failed, fmt.Errorf("giving payment %s up, which has no order: %w", r.ID, err))
			continue
		}
		done++
	}
	return done, failed
}

// Around an attempt its payment is made at the provider, by that one's clock.
const (
	madeBefore = 5 * time.Minute
	madeAfter  = time.Hour
)

// madeOf are the payments that a provider has for attempts, by their ids. It
// lists what was made around each, what is near together at once.
func (s *Payments) madeOf(ctx context.Context, by Elsewhere, rows []paymentdb.PaymentAttempt) (map[uuid.UUID]Facts, error) {
	wanted := map[uuid.UUID]bool{}
	for _, r := range rows {
		wanted[r.ID] = true
	}
	rows = slices.SortedFunc(slices.Values(rows), func(a, b paymentdb.PaymentAttempt) int { return a.CreatedAt.Compare(b.CreatedAt) })
	made := map[uuid.UUID]Facts{}
	for len(rows) > 0 {
		from, before := rows[0].CreatedAt.Add(-madeBefore), rows[0].CreatedAt.Add(madeAfter)
		for len(rows) > 0 && rows[0].CreatedAt.Add(-madeBefore).Before(before) {
			before = rows[0].CreatedAt.Add(madeAfter)
			rows = rows[1:]
		}
		err := by.List(ctx, from, before, func(f Facts) error {
			if wanted[f.PaymentID] && f.Store == s.store {
				made[f.PaymentID] = f
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	return made, nil
}

// giveUp has a provider give up what it has of a payment that has no order.
func (s *Payments) giveUp(ctx context.Context, by Provider, p Payment, facts Facts) error {
	p.Reference, p.Captured, p.Refunded = facts.Reference, facts.Captured, facts.Refunded
	if facts.State == openapi.PaymentStateVoided || p.Captured > 0 && p.Captured == p.Refunded {
		return nil
	}
	if err := s.release(ctx, by, p); err != nil {
		return err
	}
	s.log.WarnContext(ctx, "a payment without an order was given up", "payment", p.ID, "provider", p.Provider, "reference", p.Reference)
	return nil
}
