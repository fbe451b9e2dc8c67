package customer

import (
	"context"
	"encoding/json"
	"fmt"
	"reflect"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"gitee.com/captainjez/gocart/runtime/internal/customer/customerdb"
	"gitee.com/captainjez/gocart/runtime/internal/optional"
	"gitee.com/captainjez/gocart/runtime/internal/problem"
	"gitee.com/captainjez/gocart/runtime/internal/transfer"
	"gitee.com/captainjez/gocart/runtime/openapi"
)

// Record is a customer as one comes in and goes out. What is nil is left as it
// is; of a new one it is as if they had registered. There is never a password:
// who is brought in sets one by the mail for those who forgot theirs.
type Record struct {
	// ID and CreatedAt are a new customer's; an old one keeps theirs.
	ID            *uuid.UUID    `json:"id,omitempty"`
	Email         string        `json:"email"`
	EmailVerified *bool         `json:"emailVerified,omitempty"`
	Name          *string       `json:"name,omitempty"`
	Role          *openapi.Role `json:"role,omitempty"`
	Locked        *bool         `json:"locked,omitempty"`
	CreatedAt     *time.Time    `json:"createdAt,omitempty"`
	// Addresses take the place of those that there are.
	Addresses *[]openapi.SavedAddressInput `json:"addresses,omitempty"`
}

// ahead is how far other clocks may be before the store's.
const ahead = 10 * time.Minute

// check wants a record that can be a customer, and makes its address one to
// compare.
func (r *Record) check(now time.Time) error {
	var f problem.Findings
	r.Email = CheckEmail(&f, r.Email)
	if r.Name != nil {
		checkName(&f, "/name", *r.Name)
	}
	f.Require(r.Role == nil || r.Role.Valid(), "/role", "must be customer, manager or admin")
	f.Require(r.CreatedAt == nil || r.CreatedAt.Year() >= 1990, "/createdAt", "is before there were shops like this one")
	f.Require(r.CreatedAt == nil || !r.CreatedAt.After(now.Add(ahead)), "/createdAt", "is in the future")
	if r.Addresses == nil {
		return f.Err()
	}
	f.Require(len(*r.Addresses) <= mostAddresses, "/addresses", "has %d at most", mostAddresses)
	defaults := 0
	for i, a := range *r.Addresses {
		CheckAddress(&f, fmt.Sprintf("/addresses/%d/address", i), a.Address)
		if optional.Value(a.Default) {
			defaults++
		}
	}
	f.Require(defaults <= 1, "/addresses", "has more than one default")
	return f.Err()
}

// known is a customer who is there.
type known struct {
	customerdb.KnownCustomersRow
	addresses []openapi.SavedAddressInput
}

// with is the customer as a record would have them.
func (k known) with(r Record) known {
	k.EmailVerified = or(r.EmailVerified, k.EmailVerified)
	k.Name, k.Locked, k.addresses = or(r.Name, k.Name), or(r.Locked, k.Locked), plain(or(r.Addresses, k.addresses))
	return k
}

func or[T any](p *T, instead T) T {
	if p == nil {
		return instead
	}
	return *p
}

// plain has no default that is said not to be one.
func plain(all []openapi.SavedAddressInput) []openapi.SavedAddressInput {
	made := make([]openapi.SavedAddressInput, len(all))
	for i, a := range all {
		made[i] = openapi.SavedAddressInput{Address: a.Address, Default: optional.Of(optional.Value(a.Default))}
	}
	return made
}

// importCustomers brings customers in, by their addresses. Nobody becomes one of
// the staff by it, and those are not changed.
func (s *Service) importCustomers(ctx context.Context, tx pgx.Tx, all []Record) ([]transfer.Result, func(context.Context), error) {
	results := make([]transfer.Result, len(all))
	q := customerdb.New(tx)
	there, taken, err := s.known(ctx, q, all)
	if err != nil {
		return nil, nil, err
	}
	var w written
	for i, r := range all {
		if results[i].Err = r.check(s.now()); results[i].Err != nil {
			continue
		}
		was, exists := there[r.Email]
		role := openapi.RoleCustomer
		if exists {
			role = openapi.Role(was.Role)
		}
		var f problem.Findings
		f.Require(or(r.Role, role) == role, "/role", "is given and taken by an administrator, and not by an import")
		f.Require(exists || r.ID == nil || !taken[*r.ID], "/id", "is another customer's")
		now := was.with(r)
		changed := exists && !reflect.DeepEqual(was, now)
		f.Require(!changed || role == openapi.RoleCustomer, "/email", "is that of an account of the staff, which no import changes")
		if results[i].Err = f.Err(); results[i].Err != nil {
			continue
		}
		switch {
		case !exists:
			results[i].Outcome = transfer.Created
			now.Email, now.CreatedAt = r.Email, or(r.CreatedAt, s.now())
			if now.ID = or(r.ID, transfer.IDAt(now.CreatedAt)); r.ID != nil {
				taken[now.ID] = true
			}
			err = w.insert(now)
		case changed:
			results[i].Outcome = transfer.Updated
			err = w.update(was, now)
		default:
			results[i].Outcome = transfer.Unchanged
		}
		if err != nil {
			return nil, nil, err
		}
	}
	return results, nil, w.store(ctx, q)
}

// known are the customers that records name, by their addresses, and which of
// the records' ids are taken.
func (s *Service) known(ctx context.Context, q *customerdb.Queries, all []Record) (map[string]known, map[uuid.UUID]bool, error) {
	var p customerdb.KnownCustomersParams
	for _, r := range all {
		var f problem.Findings
		p.Emails = append(p.Emails, CheckEmail(&f, r.Email))
		if r.ID != nil {
			p.Ids = append(p.Ids, *r.ID)
		}
	}
	rows, err := q.KnownCustomers(ctx, p)
	if err != nil {
		return nil, nil, fmt.Errorf("reading customers: %w", err)
	}
	there, taken := map[string]known{}, map[uuid.UUID]bool{}
	var ids []uuid.UUID
	for _, r := range rows {
		there[r.Email], taken[r.ID] = known{KnownCustomersRow: r}, true
		ids = append(ids, r.ID)
	}
	saved, err := addressesOf(ctx, q, ids)
	if err != nil {
		return nil, nil, err
	}
	for email, k := range there {
		k.addresses = plain(saved[k.ID])
		there[email] = k
	}
	return there, taken, nil
}

// addressesOf are customers' in the order in which they were kept.
func addressesOf(ctx context.Context, q *customerdb.Queries, ids []uuid.UUID) (map[uuid.UUID][]openapi.SavedAddressInput, error) {
	rows, err := q.AddressesOf(ctx, ids)
	if err != nil {
		return nil, fmt.Errorf("reading addresses: %w", err)
	}
	all := map[uuid.UUID][]openapi.SavedAddressInput{}
	for _, r := range rows {
		a := openapi.SavedAddressInput{Default: optional.Of(r.IsDefault)}
		if err := json.Unmarshal(r.Address, &a.Address); err != nil {
			return nil, fmt.Errorf("an address of customer %s: %w", r.CustomerID, err)
		}
		all[r.CustomerID] = append(all[r.CustomerID], a)
	}
	return all, nil
}

// written is what an import writes.
type written struct {
	inserted  customerdb.InsertCustomersParams
	updated   customerdb.UpdateCustomersParams
	addresses customerdb.InsertAddressesParams
	// anew are customers whose addresses are replaced, locked those who are shut out.
	anew, locked []uuid.UUID
}

func (w *written) insert(k known) error {
	i := &w.inserted
	i.Ids, i.Emails, i.EmailVerified = append(i.Ids, k.ID), append(i.Emails, k.Email), append(i.EmailVerified, k.EmailVerified)
	i.Names, i.Locked, i.CreatedAt = append(i.Names, k.Name), append(i.Locked, k.Locked), append(i.CreatedAt, k.CreatedAt)
	return w.keep(k)
}

func (w *written) update(was, now known) error {
	u := &w.updated
	u.Ids, u.EmailVerified = append(u.Ids, now.ID), append(u.EmailVerified, now.EmailVerified)
	u.Names, u.Locked = append(u.Names, now.Name), append(u.Locked, now.Locked)
	if now.Locked {
		w.locked = append(w.locked, now.ID)
	}
	if reflect.DeepEqual(was.addresses, now.addresses) {
		return nil
	}
	w.anew = append(w.anew, now.ID)
	return w.keep(now)
}

func (w *written) keep(k known) error {
	for _, a := range k.addresses {
		raw, err := json.Marshal(a.Address)
		if err != nil {
			return err
		}
		to := &w.addresses
		to.Ids, to.CustomerIds = append(to.Ids, uuid.Must(uuid.NewV7())), append(to.CustomerIds, k.ID)
		to.Addresses, to.Defaults = append(to.Addresses, string(raw)), append(to.Defaults, optional.Value(a.Default))
	}
	return nil
}

func (w *written) store(ctx context.Context, q *customerdb.Queries) error {
	for _, do := range []func() error{
		func() error { return q.InsertCustomers(ctx, w.inserted) },
		func() error { return q.UpdateCustomers(ctx, w.updated) },
		func() error { return q.EndSessionsOf(ctx, w.locked) },
		func() error { return q.DeleteAddressesOf(ctx, w.anew) },
		func() error { return q.InsertAddresses(ctx, w.addresses) },
	} {
		if err := do(); err != nil {
			return fmt.Errorf("storing customers: %w", err)
		}
	}
	return nil
}

// Accounts are those of the ids that there are, and the ids of the accounts
// whose addresses, in lower case, are confirmed.
func (s *Service) Accounts(ctx context.Context, tx pgx.Tx, ids []uuid.UUID, emails []string) (there map[uuid.UUID]bool, confirmed map[string]uuid.UUID, err error) {
	rows, err := customerdb.New(tx).Accounts(ctx, customerdb.AccountsParams{Ids: ids, Emails: emails})
	if err != nil {
		return nil, nil, fmt.Errorf("reading customers: %w", err)
	}
	there, confirmed = map[uuid.UUID]bool{}, map[string]uuid.UUID{}
	for _, r := range rows {
		if there[r.ID] = true; r.EmailVerified {
			confirmed[r.Email] = r.ID
		}
	}
	return there, confirmed, nil
}
