// Package customer is the people of the store: their accounts, how they sign
// in, their sessions, their addresses, and what staff may change of them. It
// owns the tables customers, sessions, one_time_tokens, attempts and
// addresses.
//
// Nothing here tells a stranger whether an address has an account.
package customer

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"gitee.com/captainjez/gocart/runtime/internal/customer/customerdb"
	"gitee.com/captainjez/gocart/runtime/internal/db"
	"gitee.com/captainjez/gocart/runtime/internal/identity"
	outbox "gitee.com/captainjez/gocart/runtime/internal/mail"
	"gitee.com/captainjez/gocart/runtime/internal/problem"
	"gitee.com/captainjez/gocart/runtime/openapi"
)

// Mailer takes a mail that is sent when tx commits, and not when it does not.
type Mailer interface {
	Enqueue(ctx context.Context, tx pgx.Tx, m outbox.Message) error
}

// Carts takes over what a guest put into a cart.
type Carts interface {
	// Merge moves what is in the cart that token opens into the customer's own
	// and returns the customer's. A cart that it does not open is a
	// *problem.Problem with status 404.
	Merge(ctx context.Context, tx pgx.Tx, cartID uuid.UUID, token string, customerID uuid.UUID) (uuid.UUID, error)
}

// Service knows the store's customers.
type Service struct {
	pool      *pgxpool.Pool
	keys      *identity.Keys
	passwords *identity.Passwords
	mailer    Mailer
	carts     Carts
	now       func() time.Time
	log       *slog.Logger
}

// New makes the one Service of a process. Carts may be nil; then a cart that
// is brought along at log-in stays as it is.
func New(pool *pgxpool.Pool, keys *identity.Keys, mailer Mailer, carts Carts, now func() time.Time, log *slog.Logger) *Service {
	return &Service{pool: pool, keys: keys, passwords: identity.NewPasswords(), mailer: mailer, carts: carts, now: now, log: log}
}

// Purge forgets sessions, tokens and counts that are over, and returns how
// many there were.
func Purge(ctx context.Context, pool *pgxpool.Pool) (int64, error) {
	q := customerdb.New(pool)
	sessions, err := q.PurgeSessions(ctx)
	if err != nil {
		return 0, fmt.Errorf("forgetting sessions: %w", err)
	}
	tokens, err := q.PurgeTokens(ctx)
	if err != nil {
		return 0, fmt.Errorf("forgetting tokens: %w", err)
	}
	attempts, err := q.PurgeAttempts(ctx, longestWindow)
	if err != nil {
		return 0, fmt.Errorf("forgetting attempts: %w", err)
	}
	return sessions + tokens + attempts, nil
}

// CheckEmail notes at /email what is wrong with an address, and returns it as it is
// stored and compared: trimmed and in lower case.
func CheckEmail(f *problem.Findings, address string) string {
	address = strings.ToLower(strings.TrimSpace(address))
	f.Require(outbox.IsAddress(address), "/email", "must be an e-mail address such as ada@example.com")
	return address
}

func checkPassword(f *problem.Findings, pointer, password string) { f.Text(pointer, password, 10, 200) }

func checkName(f *problem.Findings, pointer, name string) {
	f.Line(pointer, name, 0, 200)
	f.Require(!strings.Contains(name, "\t"), pointer, "must not hold tabs")
}

// read gives a customer for staff or for themselves.
func (s *Service) read(ctx context.Context, id uuid.UUID) (openapi.Customer, error) {
	row, err := customerdb.New(s.pool).CustomerByID(ctx, id)
	if err != nil {
		return openapi.Customer{}, notFound(err, id)
	}
	return customer(row), nil
}

func notFound(err error, id uuid.UUID) error {
	if errors.Is(err, pgx.ErrNoRows) {
		return problem.New(http.StatusNotFound, "customer_not_found", "No customer has the id %s.", id)
	}
	return fmt.Errorf("reading a customer: %w", err)
}

func customer(r customerdb.CustomerByIDRow) openapi.Customer {
	return openapi.Customer{
		Id: r.ID, Email: r.Email, EmailVerified: r.EmailVerified, Name: r.Name,
		Role: openapi.Role(r.Role), Locked: r.Locked, CreatedAt: r.CreatedAt.UTC(),
	}
}

// list reads customers before an id, newest first; email, when set, is the
// only one's.
func (s *Service) list(ctx context.Context, before uuid.UUID, size int32, email *string) ([]openapi.Customer, error) {
	if email != nil {
		var f problem.Findings
		f.Text("email", *email, 0, 254)
		if err := f.Err(); err != nil {
			return nil, err
		}
		stored := strings.ToLower(strings.TrimSpace(*email))
		email = &stored
	}
	rows, err := customerdb.New(s.pool).ListCustomers(ctx, customerdb.ListCustomersParams{Before: before, Email: email, PageSize: size})
	if err != nil {
		return nil, fmt.Errorf("listing customers: %w", err)
	}
	customers := make([]openapi.Customer, len(rows))
	for i, r := range rows {
		customers[i] = customer(customerdb.CustomerByIDRow(r))
	}
	return customers, nil
}

// rename changes what a customer may change of their own account.
func (s *Service) rename(ctx context.Context, id uuid.UUID, in openapi.MeInput) (openapi.Customer, error) {
	var f problem.Findings
	if in.Name != nil {
		checkName(&f, "/name", *in.Name)
	}
	if err := f.Err(); err != nil {
		return openapi.Customer{}, err
	}
	row, err := customerdb.New(s.pool).RenameCustomer(ctx, customerdb.RenameCustomerParams{ID: id, Name: in.Name})
	if err != nil {
		return openapi.Customer{}, notFound(err, id)
	}
	return customer(customerdb.CustomerByIDRow(row)), nil
}

// update changes a customer's role or locks the account, which ends its
// sessions. Nobody changes their own. Roles, and the accounts of staff, are
// for those who may do everything: a key that has customers:admin alone cannot
// make itself an administrator.
func (s *Service) update(ctx context.Context, by *identity.Principal, id uuid.UUID, in openapi.CustomerUpdate) (openapi.Customer, error) {
	if in.Role != nil && !in.Role.Valid() {
		return openapi.Customer{}, problem.Invalid(problem.Field{Pointer: "/role", Detail: "must be customer, manager or admin"})
	}
	if by.CustomerID == id && (in.Role != nil || in.Locked != nil) {
		return openapi.Customer{}, problem.New(http.StatusConflict, "own_account", "Somebody else must change the role of your account, or lock it.")
	}
	var after openapi.Customer
	err := db.WithTx(ctx, s.pool, func(tx pgx.Tx) error {
		q := customerdb.New(tx)
		row, err := q.CustomerForUpdate(ctx, id)
		if err != nil {
			return notFound(err, id)
		}
		after = customer(customerdb.CustomerByIDRow(row))
		if (in.Role != nil || after.Role != openapi.RoleCustomer) && !by.Can(identity.Everything) {
			return problem.New(http.StatusForbidden, "forbidden", "Roles, and the accounts of staff, are for administrators.")
		}
		if in.Role != nil {
			after.Role = *in.Role
		}
		if in.Locked != nil {
			after.Locked = *in.Locked
		}
		if err := q.UpdateCustomer(ctx, customerdb.UpdateCustomerParams{ID: id, Role: string(after.Role), Locked: after.Locked}); err != nil {
			return fmt.Errorf("changing a customer: %w", err)
		}
		if !after.Locked {
			return nil
		}
		if err := q.EndSessions(ctx, id); err != nil {
			return fmt.Errorf("ending sessions: %w", err)
		}
		return nil
	})
	return after, err
}

// Name is what a customer is called, empty for one who did not say.
func (s *Service) Name(ctx context.Context, id uuid.UUID) (string, error) {
	c, err := s.read(ctx, id)
	return c.Name, err
}

// Email is a customer's address.
func (s *Service) Email(ctx context.Context, id uuid.UUID) (string, error) {
	c, err := s.read(ctx, id)
	return c.Email, err
}

// Emails are the addresses of customers, save of those whose accounts are
// locked or gone.
func (s *Service) Emails(ctx context.Context, tx pgx.Tx, ids []uuid.UUID) (map[uuid.UUID]string, error) {
	rows, err := customerdb.New(tx).Emails(ctx, ids)
	if err != nil {
		return nil, fmt.Errorf("reading addresses of customers: %w", err)
	}
	found := make(map[uuid.UUID]string, len(rows))
	for _, r := range rows {
		found[r.ID] = r.Email
	}
	return found, nil
}

// MayRemind counts a reminder of a cart, and reports whether it is the first
// that the address gets within a day.
func (s *Service) MayRemind(ctx context.Context, tx pgx.Tx, email string) (bool, error) {
	wait, err := reminders.try(ctx, customerdb.New(tx), email, s.now())
	return wait == 0, err
}
