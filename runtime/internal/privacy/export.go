package privacy

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"time"

	"github.com/google/uuid"

	"gitee.com/captainjez/gocart/runtime/internal/cart"
	"gitee.com/captainjez/gocart/runtime/internal/optional"
	"gitee.com/captainjez/gocart/runtime/internal/privacy/privacydb"
	"gitee.com/captainjez/gocart/runtime/openapi"
)

// page is how many rows are read at once, and so in memory.
const page = 100

// document writes the members of one JSON object as they are read. The first
// error ends it, and is kept.
type document struct {
	to *bufio.Writer
	// flush sends what is written, and gives the reader time for more; nil for
	// nothing.
	flush   func() error
	members int
	err     error
}

func newDocument(to io.Writer, flush func() error) *document {
	return &document{to: bufio.NewWriter(to), flush: flush}
}

func (d *document) text(s string) {
	if d.err == nil {
		_, d.err = d.to.WriteString(s)
	}
}

func (d *document) value(v any) {
	raw, err := json.Marshal(v)
	if d.err == nil {
		d.err = err
	}
	d.text(string(raw))
}

func (d *document) name(name string) {
	separator := ","
	if d.members == 0 {
		separator = "{"
	}
	d.members++
	d.text(separator + `"` + name + `":`)
}

// member writes one.
func (d *document) member(name string, v any) {
	d.name(name)
	d.value(v)
}

// list writes a member that is a list, by pages: read gives those after a
// place, and the place of its last.
func list[P, T any](d *document, name string, read func(after P) (some []T, last P, err error)) {
	d.name(name)
	d.text("[")
	var after P
	for n := 0; d.err == nil; {
		some, last, err := read(after)
		if err != nil {
			d.err = fmt.Errorf("reading %s: %w", name, err)
			break
		}
		for _, v := range some {
			if n++; n > 1 {
				d.text(",")
			}
			d.value(v)
		}
		if d.send(); len(some) < page {
			break
		}
		after = last
	}
	d.text("]")
}

// send passes on what is written.
func (d *document) send() {
	if d.err == nil {
		d.err = d.to.Flush()
	}
	if d.err == nil && d.flush != nil {
		d.err = d.flush()
	}
}

// write takes out everything about a person. What it writes is whole where its
// last member is complete.
func (s *Privacy) write(ctx context.Context, d *document, p person, account *openapi.Customer) error {
	q := privacydb.New(s.pool)
	id := optional.Value(p.customerID)
	d.member("exportedAt", s.now().Truncate(time.Second))
	if account != nil {
		d.member("customerId", account.Id)
	}
	if p.email != "" {
		d.member("email", p.email)
	}
	if account != nil {
		d.member("account", account)
	}
	list(d, "addresses", func(uuid.UUID) ([]openapi.SavedAddress, uuid.UUID, error) { return addresses(ctx, q, id) })
	list(d, "sessions", func(after uuid.UUID) ([]openapi.PersonalSession, uuid.UUID, error) {
		return sessions(ctx, q, id, after)
	})
	list(d, "carts", func(after uuid.UUID) ([]openapi.PersonalCart, uuid.UUID, error) { return carts(ctx, q, p, after) })
	list(d, "orders", func(after uuid.UUID) ([]openapi.PersonalOrder, uuid.UUID, error) { return s.ordersOf(ctx, q, p, after) })
	s.couponUses(ctx, d, q, p)
	list(d, "mails", func(after int64) ([]openapi.PersonalMail, int64, error) { return mails(ctx, q, p, after) })
	list(d, "audit", func(after int64) ([]openapi.PersonalAuditEntry, int64, error) { return entries(ctx, q, id, after) })
	d.member("complete", true)
	d.text("}\n")
	d.send()
	return d.err
}

// addresses are few enough for one page: an account keeps at most 50.
func addresses(ctx context.Context, q *privacydb.Queries, id uuid.UUID) (all []openapi.SavedAddress, _ uuid.UUID, err error) {
	rows, err := q.Addresses(ctx, id)
	for _, r := range rows {
		a := openapi.SavedAddress{Id: r.ID, Default: r.IsDefault}
		if err := json.Unmarshal(r.Address, &a.Address); err != nil {
			return nil, uuid.Nil, fmt.Errorf("address %s: %w", r.ID, err)
		}
		all = append(all, a)
	}
	return all, uuid.Nil, err
}

func sessions(ctx context.Context, q *privacydb.Queries, id, after uuid.UUID) (all []openapi.PersonalSession, last uuid.UUID, err error) {
	rows, err := q.Sessions(ctx, privacydb.SessionsParams{CustomerID: id, After: after, Most: page})
	for _, r := range rows {
		all, last = append(all, openapi.PersonalSession{CreatedAt: r.CreatedAt.UTC(), ExpiresAt: r.ExpiresAt.UTC()}), r.ID
	}
	return all, last, err
}

func carts(ctx context.Context, q *privacydb.Queries, p person, after uuid.UUID) (all []openapi.PersonalCart, last uuid.UUID, err error) {
	rows, err := q.Carts(ctx, privacydb.CartsParams{CustomerID: p.customerID, Email: p.email, Everyones: p.everyones, After: after, Most: page})
	for _, r := range rows {
		var c cart.Content
		if err := json.Unmarshal(r.Content, &c); err != nil {
			return nil, last, fmt.Errorf("content of cart %s: %w", r.ID, err)
		}
		one := openapi.PersonalCart{
			Id: r.ID, Currency: r.Currency, OrderId: r.OrderID, Email: optional.Of(c.Email), VatId: optional.Of(c.VATID), Locale: optional.Of(c.Locale),
			ShippingAddress: c.ShippingAddress, BillingAddress: c.BillingAddress, Lines: []openapi.CartLineInput{}, TouchedAt: r.TouchedAt.UTC(), ExpiresAt: r.ExpiresAt.UTC(),
		}
		if len(c.Coupons) > 0 {
			one.Coupons = &c.Coupons
		}
		for _, l := range c.Lines {
			one.Lines = append(one.Lines, openapi.CartLineInput{VariantId: l.VariantID, Quantity: l.Quantity})
		}
		all, last = append(all, one), r.ID
	}
	return all, last, err
}

func ordersAfter(ctx context.Context, q *privacydb.Queries, p person, after uuid.UUID) ([]uuid.UUID, error) {
	return q.Orders(ctx, privacydb.OrdersParams{CustomerID: p.customerID, Email: p.email, Everyones: p.everyones, After: after, Most: page})
}

func (s *Privacy) ordersOf(ctx context.Context, q *privacydb.Queries, p person, after uuid.UUID) (all []openapi.PersonalOrder, last uuid.UUID, err error) {
	ids, err := ordersAfter(ctx, q, p, after)
	for _, id := range ids {
		o, err := s.orders.AsBuyer(ctx, id)
		if err != nil {
			return nil, last, err
		}
		all, last = append(all, o), id
	}
	return all, last, err
}

// couponUses are found by the orders, a page of which may have more than one
// each, or none.
func (s *Privacy) couponUses(ctx context.Context, d *document, q *privacydb.Queries, p person) {
	d.name("couponUses")
	d.text("[")
	separator := ""
	for after := uuid.Nil; d.err == nil; {
		ids, err := ordersAfter(ctx, q, p, after)
		if err == nil && len(ids) > 0 {
			after = ids[len(ids)-1]
			var uses []privacydb.UsesRow
			uses, err = q.Uses(ctx, ids)
			for _, u := range uses {
				d.text(separator)
				d.value(openapi.PersonalCouponUse{OrderId: u.OrderID, PromotionId: u.PromotionID, Code: optional.Of(u.Code), Title: u.Title})
				separator = ","
			}
		}
		if err != nil {
			d.err = fmt.Errorf("reading coupon uses: %w", err)
		}
		if d.send(); len(ids) < page {
			break
		}
	}
	d.text("]")
}

func mails(ctx context.Context, q *privacydb.Queries, p person, after int64) (all []openapi.PersonalMail, last int64, err error) {
	rows, err := q.Mails(ctx, privacydb.MailsParams{
		CustomerID: optional.Value(p.customerID).String(), Email: p.email, OwnEmail: p.accountEmail, After: after, Most: page,
	})
	for _, r := range rows {
		one := openapi.PersonalMail{Template: r.Template, State: r.State, CreatedAt: r.CreatedAt.UTC()}
		if r.FinalizedAt != nil {
			one.DoneAt = new(r.FinalizedAt.UTC())
		}
		all, last = append(all, one), r.ID
	}
	return all, last, err
}

func entries(ctx context.Context, q *privacydb.Queries, id uuid.UUID, after int64) (all []openapi.PersonalAuditEntry, last int64, err error) {
	rows, err := q.Entries(ctx, privacydb.EntriesParams{CustomerID: id.String(), After: after, Most: page})
	for _, r := range rows {
		all, last = append(all, openapi.PersonalAuditEntry{
			At: r.At.UTC(), Action: r.Action, Change: openapi.AuditChange(r.Change), Before: object(r.Before), After: object(r.After),
		}), r.Sequence
	}
	return all, last, err
}

// object is what is stored, nil for nothing.
func object(stored []byte) *json.RawMessage {
	if stored == nil {
		return nil
	}
	return new(json.RawMessage(stored))
}
