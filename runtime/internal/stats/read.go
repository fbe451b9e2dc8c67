package stats

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"gitee.com/captainjez/gocart/runtime/internal/order"
	"gitee.com/captainjez/gocart/runtime/internal/stats/statsdb"
)

// view is the statistics at one moment.
type view struct {
	tx pgx.Tx
	q  *statsdb.Queries
	// computed is up to when what happened to orders is counted; zero while
	// older orders are still being counted.
	computed time.Time
}

// at has f look at the statistics as they are at one moment.
func (s *Statistics) at(ctx context.Context, f func(view) error) error {
	now := s.now()
	options := pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}
	err := pgx.BeginTxFunc(ctx, s.pool, options, func(tx pgx.Tx) error {
		v := view{tx: tx, q: statsdb.New(tx)}
		to, err := v.q.Progress(ctx)
		if err != nil {
			return err
		}
		if v.computed, err = s.reader.Since(ctx, tx); err != nil {
			return err
		}
		switch {
		case to != nil:
			v.computed = time.Time{}
		case v.computed.IsZero():
			v.computed = now
		}
		return f(v)
	})
	if err != nil {
		return fmt.Errorf("reading statistics: %w", err)
	}
	return nil
}

// series is what a period comes to by currency and part.
type series map[string][]figures

// sales adds up the parts of a period, of all currencies or one.
func (v view) sales(ctx context.Context, parts []period, currency string) (series, error) {
	ask := salesPieces(parts)
	ask.Currency = currency
	rows, err := v.q.SalesIn(ctx, ask)
	if err != nil {
		return nil, err
	}
	all := series{}
	for _, r := range rows {
		if all[r.Currency] == nil {
			all[r.Currency] = make([]figures, len(parts))
		}
		all[r.Currency][r.Bucket] = figures{
			orders: r.Orders, items: r.Items, subtotal: r.Subtotal, discount: r.Discount, shipping: r.Shipping, tax: r.Tax,
			total: r.Total, refunded: r.Refunded, cancelled: r.Cancelled, firsts: r.Firsts,
		}
	}
	return all, nil
}

func (f figures) plus(o figures) figures {
	return figures{
		orders: f.orders + o.orders, items: f.items + o.items, subtotal: f.subtotal + o.subtotal, discount: f.discount + o.discount,
		shipping: f.shipping + o.shipping, tax: f.tax + o.tax, total: f.total + o.total, refunded: f.refunded + o.refunded,
		cancelled: f.cancelled + o.cancelled, firsts: f.firsts + o.firsts,
	}
}

// total is what parts come to.
func total(parts []figures) (sum figures) {
	for _, f := range parts {
		sum = sum.plus(f)
	}
	return sum
}

// average is the total by order in minor units, rounded half up.
func (f figures) average() int64 { return (2*f.total + f.orders) / (2 * f.orders) }

func split(all []piece) (levels []int16, firsts, befores []time.Time) {
	for _, p := range all {
		levels, firsts, befores = append(levels, int16(p.level)), append(firsts, p.from), append(befores, p.until)
	}
	return levels, firsts, befores
}

// ranking is a list of the first of all.
type ranking struct {
	currency string
	most     int32
}

// sold is a product or a variant, and what it was called.
type sold struct {
	statsdb.TopProductsRow
	name order.Name
}

func (s *Statistics) products(ctx context.Context, v view, p period, r ranking, byVariant, byUnits bool) ([]sold, error) {
	ask := statsdb.TopProductsParams{Currency: r.currency, Most: r.most, ByVariant: byVariant, ByUnits: byUnits}
	ask.Levels, ask.Firsts, ask.Befores = split(p.pieces(days, months))
	rows, err := v.q.TopProducts(ctx, ask)
	if err != nil {
		return nil, err
	}
	ids := make([]uuid.UUID, len(rows))
	for i, r := range rows {
		ids[i] = r.ID
	}
	variant := func(id uuid.UUID) uuid.UUID { return id }
	if !byVariant {
		found, err := v.q.AnyVariants(ctx, ids)
		if err != nil {
			return nil, err
		}
		of := make(map[uuid.UUID]uuid.UUID, len(found))
		for i, r := range found {
			of[r.ProductID], ids[i] = r.VariantID, r.VariantID
		}
		variant = func(id uuid.UUID) uuid.UUID { return of[id] }
	}
	names, err := s.uses.Orders.Names(ctx, v.tx, ids)
	if err != nil {
		return nil, err
	}
	all := make([]sold, len(rows))
	for i, r := range rows {
		all[i] = sold{r, names[variant(r.ID)]}
	}
	return all, nil
}

func (v view) labels(ctx context.Context, kind string, p period, r ranking) ([]statsdb.TopLabelsRow, error) {
	ask := statsdb.TopLabelsParams{Kind: kind, Currency: r.currency, Most: r.most}
	ask.Levels, ask.Firsts, ask.Befores = split(p.pieces(days, months))
	return v.q.TopLabels(ctx, ask)
}

// buyers are how many bought for the first time and again.
func (v view) buyers(ctx context.Context, p period) (fresh, returning int64, err error) {
	all, err := v.sales(ctx, []period{p}, "")
	if err != nil {
		return 0, 0, err
	}
	for _, parts := range all {
		fresh += total(parts).firsts
	}
	first, last := days.begin(p.from), days.begin(p.before)
	returning, err = v.q.ReturningBuyers(ctx, statsdb.ReturningBuyersParams{
		First: p.from, Before: p.before, FirstDay: first, LastDay: last, FirstDayBegins: first, FirstDayEnds: days.next(first), LastDayBegins: last,
	})
	return fresh, returning, err
}

// spender is a buyer, and who that is.
type spender struct {
	statsdb.TopBuyersRow
	order.Buyer
	firstAt time.Time
}

func (s *Statistics) spenders(ctx context.Context, v view, p period, r ranking) ([]spender, error) {
	rows, err := v.q.TopBuyers(ctx, statsdb.TopBuyersParams{First: p.from, Before: p.before, Currency: r.currency, Most: r.most})
	if err != nil {
		return nil, err
	}
	ids := make([]uuid.UUID, len(rows))
	for i, r := range rows {
		ids[i] = r.Buyer
	}
	ends, err := v.q.BuyersOrders(ctx, ids)
	if err != nil {
		return nil, err
	}
	last := make([]uuid.UUID, len(ends))
	for i, e := range ends {
		last[i] = e.OrderID
	}
	who, err := s.uses.Orders.Buyers(ctx, v.tx, last)
	if err != nil {
		return nil, err
	}
	all := make([]spender, len(rows))
	for i, r := range rows {
		end := ends[slices.IndexFunc(ends, func(e statsdb.BuyersOrdersRow) bool { return e.Buyer == r.Buyer })]
		all[i] = spender{r, who[end.OrderID], end.FirstAt.UTC()}
	}
	return all, nil
}
