// Package privacy takes out what the store has about a person, and erases it.
// It owns the table erasures, and, as no other package, reads and changes the
// tables of all: what is personal in them is what it is about. Places says of
// every column that could hold something personal what becomes of it, and a
// test fails for a column that it does not name.
//
// What was sold stays in the books, and is nobody's: an order keeps its lines,
// its amounts, and of its addresses the country, the region and the beginning
// of the postal code.
package privacy

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"gitee.com/captainjez/gocart/runtime/internal/customer"
	"gitee.com/captainjez/gocart/runtime/internal/events"
	"gitee.com/captainjez/gocart/runtime/internal/identity"
	"gitee.com/captainjez/gocart/runtime/internal/inventory"
	"gitee.com/captainjez/gocart/runtime/internal/order"
	"gitee.com/captainjez/gocart/runtime/internal/privacy/privacydb"
	"gitee.com/captainjez/gocart/runtime/internal/problem"
	"gitee.com/captainjez/gocart/runtime/openapi"
)

// Dependencies are what it takes beside the database.
type Dependencies struct {
	Customers *customer.Service
	Orders    *order.Orders
	Stock     *inventory.Stock
	Events    *events.Log
	Keys      *identity.Keys
}

// Privacy knows where everybody's data are.
type Privacy struct {
	pool      *pgxpool.Pool
	customers *customer.Service
	orders    *order.Orders
	stock     *inventory.Stock
	events    *events.Log
	keys      *identity.Keys
	log       *slog.Logger
	now       func() time.Time
}

// New makes it for a database.
func New(pool *pgxpool.Pool, d Dependencies, log *slog.Logger, now func() time.Time) *Privacy {
	return &Privacy{pool: pool, customers: d.Customers, orders: d.Orders, stock: d.Stock, events: d.Events, keys: d.Keys, log: log, now: now}
}

// asked is whom somebody asks for: an account by its id, or an address in lower
// case.
type asked struct {
	customerID uuid.UUID
	email      string
}

// askedBy wants either of the two; pointers are where they are in the input.
func askedBy(idPointer, emailPointer string, id *uuid.UUID, email *string) (a asked, err error) {
	var f problem.Findings
	if email != nil {
		f.Text(emailPointer, *email, 1, 254)
		var address problem.Findings
		a.email = customer.CheckEmail(&address, *email)
		f.Require(len(address) == 0, emailPointer, "must be an e-mail address such as ada@example.com")
	}
	if id != nil {
		a.customerID = *id
	}
	f.Require(id != nil || email != nil, emailPointer, "is missing, and so is customerId")
	f.Require(id == nil || email == nil, idPointer, "is one too many beside an e-mail address")
	return a, f.Err()
}

// person is an account, an address, or both.
type person struct {
	// customerID is nil for somebody without an account.
	customerID *uuid.UUID
	// email, in lower case, finds what was bought with an address; empty while it
	// is not certain that the account's is its owner's.
	email string
	// everyones is whether that is also what others bought with it who were signed
	// in: where it was the address that was asked for.
	everyones bool
	// accountEmail is the account's address.
	accountEmail string
}

func personOf(a asked, id uuid.UUID, email string, verified bool) person {
	p := person{email: a.email, everyones: a.email != "", accountEmail: email}
	if id != uuid.Nil {
		p.customerID = &id
		if verified {
			p.email = email
		}
	}
	return p
}

func notFound(id uuid.UUID) error {
	return problem.New(http.StatusNotFound, "customer_not_found", "No customer has the id %s.", id)
}

// find reads the account of whom was asked for, nil for who has none. An id that
// is nobody's is a *problem.Problem.
func (s *Privacy) find(ctx context.Context, a asked) (person, *openapi.Customer, error) {
	row, err := privacydb.New(s.pool).Account(ctx, privacydb.AccountParams{ID: a.customerID, Email: a.email})
	switch {
	case errors.Is(err, pgx.ErrNoRows) && a.email != "":
		return personOf(a, uuid.Nil, "", false), nil, nil
	case errors.Is(err, pgx.ErrNoRows):
		return person{}, nil, notFound(a.customerID)
	case err != nil:
		return person{}, nil, fmt.Errorf("reading a customer: %w", err)
	}
	return personOf(a, row.ID, row.Email, row.EmailVerified), &openapi.Customer{
		Id: row.ID, Email: row.Email, EmailVerified: row.EmailVerified, Name: row.Name, Role: openapi.Role(row.Role), Locked: row.Locked, CreatedAt: row.CreatedAt.UTC(),
	}, nil
}

// lookBack is for how long after an erasure, and after what a provider told, it
// is looked for what came late. It is longer than any request and any pause of
// the upkeep.
const lookBack = 7 * 24 * time.Hour

// Sweep erases what came in about erased persons by requests that were on their
// way, and from payment providers; it returns how much.
func (s *Privacy) Sweep(ctx context.Context) (int64, error) {
	q, since := privacydb.New(s.pool), s.now().Add(-lookBack)
	carts, err := q.DeleteLateCarts(ctx, since)
	if err != nil {
		return 0, fmt.Errorf("forgetting carts of who was erased: %w", err)
	}
	told, err := q.EraseLatePaymentEvents(ctx, since)
	if err != nil {
		return carts, fmt.Errorf("forgetting what providers told of who was erased: %w", err)
	}
	return carts + told, nil
}
