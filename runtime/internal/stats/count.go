package stats

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"gitee.com/captainjez/gocart/runtime/internal/money"
	"gitee.com/captainjez/gocart/runtime/internal/optional"
	"gitee.com/captainjez/gocart/runtime/internal/order"
	"gitee.com/captainjez/gocart/runtime/internal/stats/statsdb"
)

// guests is the namespace of the ids that guests have here.
var guests = uuid.MustParse("6d0d5d3c-3c0c-4b5e-9d0f-6c1a2f6f6e21")

// buyer is who buys, as statistics know them: a customer by their id, a guest
// by a digest of their address.
func buyer(b order.Buyer) uuid.UUID {
	if b.CustomerID != uuid.Nil {
		return b.CustomerID
	}
	return uuid.NewSHA1(guests, []byte(b.Email))
}

// The kinds of labels.
const (
	taxes     = "tax"
	discounts = "discount"
	// perLine is how many sums a line has.
	perLine = 6
	// perLabel is how many texts a label has.
	perLabel = 3
)

// contribution is what is counted of an order, save for the order before it.
func contribution(f order.Facts) (statsdb.StatisticsOrder, error) {
	c := statsdb.StatisticsOrder{
		OrderID: f.ID, At: f.CreatedAt, Currency: f.Currency, Buyer: buyer(f.Buyer), Cancelled: f.Cancelled,
		ProductIds: []uuid.UUID{}, VariantIds: []uuid.UUID{}, LineSums: []int64{}, Labels: []string{}, LabelAmounts: []int64{},
	}
	if f.Cancelled {
		return c, nil
	}
	c.Items, c.Subtotal, c.Discount, c.Shipping, c.Tax, c.Total, c.Refunded = f.Items, f.Subtotal, f.Discount, f.Shipping, f.Tax, f.Total, refunded(f)
	c.Exchanged = f.Exchanged
	for _, l := range f.Lines {
		c.ProductIds, c.VariantIds = append(c.ProductIds, l.ProductID), append(c.VariantIds, l.VariantID)
		c.LineSums = append(c.LineSums, l.Quantity, l.Refunded, l.Subtotal, l.Discount, l.Tax, l.Total)
	}
	amounts := map[label]int64{}
	add := func(l label, decimal string) error {
		a, err := money.Parse(decimal, f.Currency)
		if err != nil {
			return fmt.Errorf("%s of order %s: %w", l.kind, f.ID, err)
		}
		amounts[l] += a.Minor
		return nil
	}
	for _, t := range f.Taxes {
		if err := add(label{taxes, t.Name, t.Rate}, t.Amount); err != nil {
			return c, err
		}
	}
	for _, d := range f.Discounts {
		if err := add(label{discounts, optional.Value(d.Code), d.Title}, d.Amount); err != nil {
			return c, err
		}
	}
	for _, l := range sorted(amounts, label.compare) {
		c.Labels, c.LabelAmounts = append(c.Labels, l.kind, l.name, l.detail), append(c.LabelAmounts, amounts[l])
	}
	return c, nil
}

// refunded is what was given back of an order as it is now. What was taken
// above its total, as before it was edited down, and given back, is no part of
// it. So it is never more than the total.
func refunded(f order.Facts) int64 {
	return max(0, f.Refunded-max(0, f.Captured-f.Total))
}

// count brings what is counted of orders up to date. Whoever holds the progress
// counts; ids may be of anything.
func (s *Statistics) count(ctx context.Context, tx pgx.Tx, ids []uuid.UUID) error {
	if len(ids) == 0 {
		return nil
	}
	q := statsdb.New(tx)
	if _, err := q.LockProgress(ctx); err != nil {
		return fmt.Errorf("waiting to count orders: %w", err)
	}
	facts, err := s.uses.Orders.Facts(ctx, tx, ids)
	if err != nil {
		return err
	}
	stored, err := q.CountedOrders(ctx, ids)
	if err != nil {
		return fmt.Errorf("reading what was counted: %w", err)
	}
	c := counting{before: make(map[uuid.UUID]statsdb.StatisticsOrder, len(stored)), sums: newSums()}
	for _, o := range stored {
		o.At = o.At.UTC()
		c.before[o.OrderID] = o
	}
	for _, f := range facts {
		o, err := contribution(f)
		if err != nil {
			return err
		}
		if f.CustomerID == uuid.Nil && f.Email == "" { // a person who was erased stays who they were, or is one of their own
			o.Buyer = uuid.NewSHA1(guests, f.ID[:])
			if before, counted := c.before[f.ID]; counted {
				o.Buyer = before.Buyer
			}
		}
		c.take(o)
	}
	if len(c.now) == 0 {
		return nil
	}
	if err := c.link(ctx, q); err != nil {
		return err
	}
	for i := range c.now {
		if before, counted := c.before[c.now[i].OrderID]; counted {
			c.sums.add(before, -1)
		}
		c.sums.add(c.now[i], 1)
	}
	return c.store(ctx, q)
}

// counting is one batch of orders.
type counting struct {
	// before is what was counted of orders, now what is to be, of those of which
	// that is something else.
	before map[uuid.UUID]statsdb.StatisticsOrder
	now    []statsdb.StatisticsOrder
	// moved are other orders whose order before is another now.
	moved []moved
	sums  sums
}

type moved struct {
	neighbour statsdb.NeighboursRow
	previous  *time.Time
}

// take keeps an order that is not what was counted.
func (c *counting) take(o statsdb.StatisticsOrder) {
	if before, counted := c.before[o.OrderID]; counted {
		o.PreviousAt = before.PreviousAt // until they are linked
		if reflect.DeepEqual(o, before) {
			return
		}
	}
	c.now = append(c.now, o)
}

// link finds the order before of each order that changed, and of those that
// came next to one.
func (c *counting) link(ctx context.Context, q *statsdb.Queries) error {
	var at statsdb.NeighboursParams
	ask := func(o statsdb.StatisticsOrder, buyer uuid.UUID) {
		at.Buyers, at.Ats, at.Ids = append(at.Buyers, buyer), append(at.Ats, o.At), append(at.Ids, o.OrderID)
	}
	for _, o := range c.now {
		at.Batch = append(at.Batch, o.OrderID)
		ask(o, o.Buyer)
		if before, counted := c.before[o.OrderID]; counted && before.Buyer != o.Buyer {
			ask(o, before.Buyer)
		}
	}
	neighbours, err := q.Neighbours(ctx, at)
	if err != nil {
		return fmt.Errorf("finding the buyers' other orders: %w", err)
	}
	c.chain(neighbours)
	return nil
}

// link is one of a buyer's orders in a chain: a neighbour, one of the batch, or
// the place of one of the batch that is not, or no more, the buyer's.
type link struct {
	at        time.Time
	id        uuid.UUID
	neighbour *statsdb.NeighboursRow
	order     *statsdb.StatisticsOrder
}

// chain gives each order of the batch the one before it, and each neighbour
// that follows a place of the batch. What is before a neighbour that follows
// another is not known here, and has not changed.
func (c *counting) chain(neighbours []statsdb.NeighboursRow) {
	chains := map[uuid.UUID][]link{}
	for i := range c.now {
		o := &c.now[i]
		l := link{at: o.At, id: o.OrderID}
		if before, counted := c.before[o.OrderID]; counted && before.Buyer != o.Buyer {
			chains[before.Buyer] = append(chains[before.Buyer], l)
		}
		if o.PreviousAt = nil; !o.Cancelled {
			l.order = o
		}
		chains[o.Buyer] = append(chains[o.Buyer], l)
	}
	for i := range neighbours {
		n := &neighbours[i]
		chains[n.Buyer] = append(chains[n.Buyer], link{at: n.At.UTC(), id: n.OrderID, neighbour: n})
	}
	for _, chain := range chains {
		slices.SortFunc(chain, link.compare)
		var previous *time.Time
		follows := false
		for _, l := range chain {
			switch {
			case l.neighbour == nil && l.order == nil:
				follows = true
				continue
			case l.neighbour == nil:
				follows, l.order.PreviousAt = true, previous
			case follows:
				follows = false
				if !same(l.neighbour.PreviousAt, previous) {
					c.moved = append(c.moved, moved{*l.neighbour, previous})
				}
			}
			previous = &l.at
		}
	}
}

func (l link) compare(other link) int {
	return cmp.Or(l.at.Compare(other.at), slices.Compare(l.id[:], other.id[:]))
}

func same(a, b *time.Time) bool {
	return a == b || a != nil && b != nil && a.Equal(*b)
}

// store writes the orders, and adds to the sums.
func (c *counting) store(ctx context.Context, q *statsdb.Queries) error {
	rows := make([]statsdb.StoreOrdersParams, len(c.now))
	for i, o := range c.now {
		rows[i] = statsdb.StoreOrdersParams(o)
	}
	var failed []error
	q.StoreOrders(ctx, rows).Exec(func(_ int, err error) { failed = append(failed, err) })
	if err := errors.Join(failed...); err != nil {
		return fmt.Errorf("storing what is counted: %w", err)
	}
	if len(c.moved) > 0 {
		var set statsdb.SetPreviousParams
		for _, m := range c.moved {
			set.Ids, set.PreviousAt = append(set.Ids, m.neighbour.OrderID), append(set.PreviousAt, optional.Value(m.previous))
			c.sums.follow(m.neighbour.Currency, m.neighbour.At, m.neighbour.PreviousAt, -1)
			c.sums.follow(m.neighbour.Currency, m.neighbour.At, m.previous, 1)
		}
		if err := q.SetPrevious(ctx, set); err != nil {
			return fmt.Errorf("storing which order is before another: %w", err)
		}
	}
	return c.sums.store(ctx, q)
}
