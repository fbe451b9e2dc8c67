package privacy

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"gitee.com/captainjez/gocart/runtime/internal/customer"
	"gitee.com/captainjez/gocart/runtime/internal/events"
	"gitee.com/captainjez/gocart/runtime/internal/optional"
	"gitee.com/captainjez/gocart/runtime/internal/privacy/privacydb"
	"gitee.com/captainjez/gocart/runtime/internal/problem"
	"gitee.com/captainjez/gocart/runtime/openapi"
)

// patience is how long an erasure may take, which goes on when its caller has
// gone: a person with thousands of orders takes seconds.
const patience = time.Minute

// belongings are what a person has, by its ids.
type belongings struct {
	carts, orders, payments []uuid.UUID
	// references are what payment providers call the payments.
	references []string
}

// erase forgets a person in the caller's transaction: all of it, or nothing
// where it is refused.
func (s *Privacy) erase(ctx context.Context, tx pgx.Tx, a asked, actor string) (openapi.Erasure, error) {
	if _, err := tx.Exec(ctx, "SET LOCAL statement_timeout = "+strconv.FormatInt(patience.Milliseconds(), 10)); err != nil {
		return openapi.Erasure{}, err
	}
	q := privacydb.New(tx)
	p, err := lockAccount(ctx, q, a)
	if err != nil {
		return openapi.Erasure{}, err
	}
	has, err := belongingsOf(ctx, q, p)
	if err != nil {
		return openapi.Erasure{}, err
	}
	done := openapi.Erasure{
		Id: uuid.Must(uuid.NewV7()), CustomerId: p.customerID, Orders: int64(len(has.orders)), Actor: actor, At: s.now().Truncate(time.Microsecond),
	}
	// First, for the audit log is redacted by no transaction without it.
	err = q.InsertErasure(ctx, privacydb.InsertErasureParams{ID: done.Id, CustomerID: p.customerID, Orders: done.Orders, Actor: actor, At: done.At})
	if err != nil {
		return done, fmt.Errorf("recording an erasure: %w", err)
	}
	for _, step := range []func() error{
		func() error { return s.releaseStock(ctx, tx, has.carts) },
		func() error { return has.anonymize(ctx, q) },
		func() error { return p.forget(ctx, q, has) },
		func() error { return s.events.Append(ctx, tx, erased(done, has.orders)...) },
	} {
		if err := step(); err != nil {
			return done, fmt.Errorf("erasing a person: %w", err)
		}
	}
	return done, nil
}

// holdAccount has a transaction hold an account, and reports whether it is there.
func holdAccount(ctx context.Context, tx pgx.Tx, id uuid.UUID) (bool, error) {
	_, err := privacydb.New(tx).LockAccount(ctx, privacydb.LockAccountParams{ID: id})
	if errors.Is(err, pgx.ErrNoRows) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("holding a customer: %w", err)
	}
	return true, nil
}

// lockAccount finds whom was asked for, and holds the account. One that was
// erased before is an account without anything.
func lockAccount(ctx context.Context, q *privacydb.Queries, a asked) (person, error) {
	row, err := q.LockAccount(ctx, privacydb.LockAccountParams{ID: a.customerID, Email: a.email})
	switch {
	case errors.Is(err, pgx.ErrNoRows) && a.email != "":
		return personOf(a, uuid.Nil, "", false), nil
	case errors.Is(err, pgx.ErrNoRows):
		before, err := q.WasErased(ctx, &a.customerID)
		if err != nil {
			return person{}, fmt.Errorf("looking for an erasure: %w", err)
		}
		if !before {
			return person{}, notFound(a.customerID)
		}
		return personOf(a, a.customerID, "", false), nil
	case err != nil:
		return person{}, fmt.Errorf("reading a customer: %w", err)
	case openapi.Role(row.Role) != openapi.RoleCustomer:
		return person{}, problem.New(http.StatusConflict, "staff_account", "The account is one of the store's staff; an administrator makes it a customer's first.")
	}
	return personOf(a, row.ID, row.Email, row.EmailVerified), nil
}

// mostNamed is how many open orders a refusal names.
const mostNamed = 20

// belongingsOf finds and locks what a person has, in the order in which
// everybody locks: carts before orders. An order that is under way is a
// *problem.Problem.
func belongingsOf(ctx context.Context, q *privacydb.Queries, p person) (has belongings, err error) {
	if has.carts, err = q.LockCarts(ctx, privacydb.LockCartsParams{CustomerID: p.customerID, Email: p.email, Everyones: p.everyones}); err != nil {
		return has, fmt.Errorf("locking carts: %w", err)
	}
	rows, err := q.LockOrders(ctx, privacydb.LockOrdersParams{CustomerID: p.customerID, Email: p.email, Everyones: p.everyones})
	if err != nil {
		return has, fmt.Errorf("locking orders: %w", err)
	}
	var open []string
	for _, r := range rows {
		if r.Open {
			open = append(open, strconv.FormatInt(r.Number, 10))
		}
		has.orders, has.carts = append(has.orders, r.ID), append(has.carts, r.CartID)
	}
	if n := len(open); n > 0 {
		named := strings.Join(open[:min(n, mostNamed)], ", ")
		if n > mostNamed {
			named += " and others"
		}
		return has, problem.New(http.StatusConflict, "orders_open", "Orders of the person are under way: %s. They can be erased when these have arrived, are cancelled or refunded.", named)
	}
	payments, err := q.PaymentsOf(ctx, has.orders)
	if err != nil {
		return has, fmt.Errorf("reading payments: %w", err)
	}
	for _, r := range payments {
		has.payments, has.references = append(has.payments, r.ID), append(has.references, r.Reference)
	}
	return has, nil
}

// releaseStock gives back what carts hold.
func (s *Privacy) releaseStock(ctx context.Context, tx pgx.Tx, carts []uuid.UUID) error {
	locked, err := s.stock.Lock(ctx, tx, nil, carts...)
	if err != nil {
		return err
	}
	for _, id := range carts {
		locked.Release(id)
	}
	return locked.Store(ctx, tx)
}

// anonymize has orders, and what is told of them, be nobody's.
func (b belongings) anonymize(ctx context.Context, q *privacydb.Queries) error {
	subjects := slices.Concat(b.orders, b.payments)
	return errors.Join(
		q.EraseOrders(ctx, b.orders),
		q.EraseTracking(ctx, b.orders),
		q.EraseReturns(ctx, b.orders),
		q.EraseRefunds(ctx, b.orders),
		q.LockStatistics(ctx),
		q.EraseBuyers(ctx, b.orders),
		q.EraseUses(ctx, b.orders),
		q.ErasePayments(ctx, b.payments),
		q.EraseOperations(ctx, b.payments),
		q.ErasePaymentEvents(ctx, b.references),
		q.LockWebhooks(ctx),
		q.EraseDeliveries(ctx, subjects),
		q.EraseAnswers(ctx, subjects),
		q.EraseEvents(ctx, subjects),
		q.EraseAudit(ctx, texts(b.orders)),
	)
}

// forget removes the account and what is kept of the person beside orders.
func (p person) forget(ctx context.Context, q *privacydb.Queries, has belongings) error {
	var id uuid.UUID
	answers := privacydb.DeleteAnswersParams{Names: slices.Concat(texts(has.orders, has.carts, has.payments), inJSON(p.email, p.accountEmail))}
	if p.customerID != nil {
		id = *p.customerID
		answers.Names = append(answers.Names, id.String())
		answers.OwnScope = new("customer " + id.String() + " ")
	}
	mails := privacydb.DeleteMailsParams{
		CustomerID: id.String(), OrderIds: texts(has.orders), CartIds: texts(has.carts), Email: p.email, OwnEmail: p.accountEmail,
	}
	gone, err := q.DeleteMails(ctx, mails)
	if err != nil {
		return err
	}
	var keys [][]byte
	if p.accountEmail != "" {
		keys = append(keys, customer.GuessesKey(p.accountEmail))
	}
	return errors.Join(
		q.DeleteHandovers(ctx, gone),
		q.EraseMails(ctx, privacydb.EraseMailsParams(mails)),
		q.DeleteCarts(ctx, has.carts),
		q.DeleteTickets(ctx, &id),
		q.DeleteAnswers(ctx, answers),
		q.EraseRefusals(ctx, known(p.email, p.accountEmail)),
		q.DeleteAttempts(ctx, keys),
		q.DeleteAccount(ctx, id),
	)
}

// mostTold is how many orders an event names.
const mostTold = 500

// facts are what an event of an erasure tells.
type facts struct {
	CustomerID *uuid.UUID  `json:"customerId,omitempty"`
	Orders     []uuid.UUID `json:"orders"`
}

// erased are the events of an erasure: one, and more for a person with more
// orders than one names.
func erased(done openapi.Erasure, orders []uuid.UUID) (all []events.Event) {
	for {
		n := min(len(orders), mostTold)
		all = append(all, events.Event{
			Type: "customer.erased", Topic: events.Customers, Subject: done.Id, Actor: done.Actor, At: done.At,
			Data: facts{CustomerID: done.CustomerId, Orders: append([]uuid.UUID{}, orders[:n]...)},
		})
		if orders = orders[n:]; len(orders) == 0 {
			return all
		}
	}
}

// texts are ids as text.
func texts(lists ...[]uuid.UUID) []string {
	all := []string{}
	for _, list := range lists {
		for _, id := range list {
			all = append(all, id.String())
		}
	}
	return all
}

// inJSON are addresses, without those that are empty, as they stand between
// quotes.
func inJSON(addresses ...string) []string {
	all := []string{}
	for _, a := range known(addresses...) {
		raw, err := json.Marshal(a)
		if err != nil { // strings always marshal
			panic(err)
		}
		all = append(all, strings.Trim(string(raw), `"`))
	}
	return all
}

// known are the addresses that are not empty.
func known(addresses ...string) []string {
	all := []string{}
	for _, a := range addresses {
		if a != "" {
			all = append(all, a)
		}
	}
	return all
}

// list reads erasures before an id, newest first.
func (s *Privacy) list(ctx context.Context, before uuid.UUID, size int32) ([]openapi.Erasure, error) {
	rows, err := privacydb.New(s.pool).ListErasures(ctx, privacydb.ListErasuresParams{Before: before, PageSize: size})
	if err != nil {
		return nil, fmt.Errorf("listing erasures: %w", err)
	}
	all := make([]openapi.Erasure, len(rows))
	for i, r := range rows {
		all[i] = openapi.Erasure{Id: r.ID, CustomerId: optional.Of(optional.Value(r.CustomerID)), Orders: r.Orders, Actor: r.Actor, At: r.CreatedAt.UTC()}
	}
	return all, nil
}
