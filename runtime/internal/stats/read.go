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
		// To compile these statements takes longer than to answer them.
		if _, err := tx.Exec(ctx, "SET LOCAL jit = off"); err != nil {
			return err
		}
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
			total: r.Total, refunded: r.Refunded, cancelled: r.Cancelled, firsts: r.Firsts, exchanged: r.Exchanged,
		}
	}
	return all, nil
}

func (f figures) plus(o figures) figures {
	return figures{
		orders: f.orders + o.orders, items: f.items + o.items, subtotal: f.subtotal + o.subtotal, discount: f.discount + o.discount,
		shipping: f.shipping + o.shipping, tax: f.tax + o.tax, total: f.total + o.total, refunded: f.refunded + o.refunded,
		cancelled: f.cancelled + o.cancelled, firsts: f.firsts + o.firsts, exchanged: f.exchanged + o.exchanged,
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

func split(all []piece) (levels []int16, firsts, befores []time.Time, signs []int64) {
	for _, p := range all {
		levels, firsts, befores, signs = append(levels, int16(p.level)), append(firsts, p.from), append(befores, p.until), append(signs, p.sign)
	}
	return levels, firsts, befores, signs
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
	ask.Levels, ask.Firsts, ask.Befores, ask.Signs = split(p.pieces(days))
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
	ask.Levels, ask.Firsts, ask.Befores, ask.Signs = split(p.pieces(days))
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

// long is from when on a period is one in which those who spent most are
// looked for among those who did so in its years.
const long = 150 * day

// top are those who spent most.
func (v view) top(ctx context.Context, p period, r ranking) ([]statsdb.TopBuyersRow, error) {
	if p.before.Sub(p.from) >= long {
		if rows, err := v.topOfYears(ctx, p, r); err != nil || rows != nil {
			return rows, err
		}
	}
	return v.q.TopBuyers(ctx, statsdb.TopBuyersParams{First: p.from, Before: p.before, Currency: r.currency, Most: r.most})
}

// topOfYears finds them without looking at everybody. Nobody spent more in the
// period than in all of its years. So whoever is not among the first of any of
// these spent no more than the last of those did, together; when that is less
// than what as many as are asked for spent, these are it. It returns nil where
// that takes too many.
func (v view) topOfYears(ctx context.Context, p period, r ranking) ([]statsdb.TopBuyersRow, error) {
	const deepest = 20_000
	for depth := int32(10) * r.most; depth <= deepest; depth *= 4 {
		var buyers []uuid.UUID
		others := int64(0) // what one who is not among them spent at most
		for year := p.from.UTC().Year(); year <= p.before.Add(-time.Nanosecond).UTC().Year(); year++ {
			rows, err := v.q.BuyersOfYear(ctx, statsdb.BuyersOfYearParams{Year: int16(year), Currency: r.currency, Most: depth})
			if err != nil {
				return nil, err
			}
			for _, row := range rows {
				buyers = append(buyers, row.Buyer)
			}
			if len(rows) == int(depth) {
				others += rows[depth-1].Net
			}
		}
		slices.SortFunc(buyers, func(a, b uuid.UUID) int { return slices.Compare(a[:], b[:]) })
		spent, err := v.q.Spent(ctx, statsdb.SpentParams{Buyers: slices.Compact(buyers), First: p.from, Before: p.before, Currency: r.currency, Most: r.most})
		if err != nil {
			return nil, err
		}
		if n := len(spent); others == 0 || n == int(r.most) && spent[n-1].Total-spent[n-1].Refunded > others {
			top := make([]statsdb.TopBuyersRow, n)
			for i, row := range spent {
				top[i] = statsdb.TopBuyersRow(row)
			}
			return top, nil
		}
	}
	return nil, nil
}

func (s *Statistics) spenders(ctx context.Context, v view, p period, r ranking) ([]spender, error) {
	rows, err := v.top(ctx, p, r)
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
