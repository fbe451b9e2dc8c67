package catalog

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"gitee.com/captainjez/gocart/runtime/internal/catalog/catalogdb"
	"gitee.com/captainjez/gocart/runtime/internal/rest"
	"gitee.com/captainjez/gocart/runtime/openapi"
)

const (
	// usualLimit is the size of the page that ListNewest reads.
	usualLimit = 20
	// maxRounds bounds how often a list of what is in stock reads on for more
	// candidates; each round reads twice as many.
	maxRounds = 5
	// maxFacets is how many values all facets have together.
	maxFacets = 500
)

// row is a product as it was written, with what its list is sorted by.
type row = catalogdb.FilterNewestRow

// filtering is a pool whose statements are planned for the values that they
// have, so that a filter that is not asked for costs nothing.
type filtering struct{ *pgxpool.Pool }

// Query has the statement parsed, planned and run in one round trip.
func (f filtering) Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error) {
	return f.Pool.Query(ctx, sql, append([]any{pgx.QueryExecModeCacheDescribe}, args...)...)
}

// document reads one product among the active ones, or among all.
func (k *Catalog) document(ctx context.Context, idOrSlug string, all bool) (uuid.UUID, string, error) {
	found, err := named(idOrSlug, productNotFound,
		func(id uuid.UUID) (stored, error) { return one(ctx, k.byID, id) },
		func(slug string) (stored, error) { return one(ctx, k.bySlug, slug) })
	if err == nil && !all && found.status != string(openapi.ProductStatusActive) {
		err = notFound(productNotFound, idOrSlug)
	}
	return found.id, found.document, err
}

// MaySee returns an error where somebody may not see a product, who may see the
// active ones, or all.
func (k *Catalog) MaySee(ctx context.Context, id uuid.UUID, all bool) error {
	_, _, err := k.document(ctx, id.String(), all)
	return err
}

// get is the JSON of one product.
func (k *Catalog) get(ctx context.Context, idOrSlug string, all, stock bool) ([]byte, error) {
	id, document, err := k.document(ctx, idOrSlug, all)
	if err != nil || !stock {
		return []byte(document), err
	}
	states, err := k.stockOf(ctx, []uuid.UUID{id})
	if err != nil {
		return nil, err
	}
	return appendProduct(nil, document, states[id])
}

// list is the JSON of a page: a statement, and a constant number more for what
// is included. A page of what is in stock may be shorter than asked for and
// still have a next one, where few of the candidates have stock.
func (k *Catalog) list(ctx context.Context, l listing) ([]byte, error) {
	var body []byte
	var more *place
	var err error
	if l.plain() && l.limit == usualLimit && !l.stock && !l.inStock {
		body, more, err = k.newest(ctx, l)
	} else {
		body, more, err = k.filtered(ctx, l)
	}
	if err != nil {
		return nil, err
	}
	if more != nil {
		body = append(append(append(body, `,"nextCursor":"`...), rest.Cursor(l.name(), more)...), '"')
	}
	if l.tax && k.uses.Tax != nil {
		note, err := k.uses.Tax.Note(ctx, l.country)
		if err != nil {
			return nil, err
		}
		if body, err = appendField(body, "tax", note); err != nil {
			return nil, err
		}
	}
	if l.facets {
		facets, err := k.facets(ctx, l)
		if err != nil {
			return nil, err
		}
		if body, err = appendField(body, "facets", facets); err != nil {
			return nil, err
		}
	}
	return append(body, '}'), nil
}

const (
	beforeProducts = `{"products":[`
	afterProducts  = `]`
)

// newest is the usual page up to the end of its products.
func (k *Catalog) newest(ctx context.Context, l listing) ([]byte, *place, error) {
	of := catalogdb.ListNewestParams{Status: l.statuses[0], Before: l.after.ID}
	pages, err := k.pages.Read(ctx, of)
	if err != nil {
		return nil, nil, fmt.Errorf("listing products: %w", err)
	}
	found := pages[of]
	body := make([]byte, 0, len(found.Documents)+256)
	body = append(append(append(body, beforeProducts...), found.Documents...), afterProducts...)
	if !found.More {
		return body, nil, nil
	}
	return body, &place{ID: found.Last}, nil
}

// filtered is the same for every other list.
func (k *Catalog) filtered(ctx context.Context, l listing) ([]byte, *place, error) {
	rows, more, states, err := k.page(ctx, l)
	if err != nil {
		return nil, nil, err
	}
	size := 256
	for _, r := range rows {
		size += len(r.Document) + 1
	}
	body := append(make([]byte, 0, size), beforeProducts...)
	for i, r := range rows {
		if i > 0 {
			body = append(body, ',')
		}
		if !l.stock {
			body = append(body, r.Document...)
		} else if body, err = appendProduct(body, r.Document, states[r.ID]); err != nil {
			return nil, nil, err
		}
	}
	return append(body, afterProducts...), more, nil
}

func appendField(body []byte, name string, v any) ([]byte, error) {
	raw, err := json.Marshal(v)
	return append(append(append(append(body, `,"`...), name...), `":`...), raw...), err
}

// appendProduct writes a document with its stock into it.
func appendProduct(body []byte, document string, stock map[uuid.UUID]openapi.StockState) ([]byte, error) {
	body, err := appendField(append(body, document[:len(document)-1]...), "stock", stock)
	return append(body, '}'), err
}

// page reads products, the place of the next page's beginning, nil for none,
// and, where stock matters, the stock of what it read.
func (k *Catalog) page(ctx context.Context, l listing) (page []row, more *place, states stocks, err error) {
	size := l.limit + 1 // one more tells whether there is a next page
	if !l.inStock {
		rows, err := k.read(ctx, l, size)
		if err != nil {
			return nil, nil, nil, err
		}
		if len(rows) == size {
			rows = rows[:l.limit]
			more = &place{Key: rows[l.limit-1].Key, ID: rows[l.limit-1].ID}
		}
		if l.stock {
			states, err = k.stockOf(ctx, idsOf(rows))
		}
		return rows, more, states, err
	}
	states = stocks{}
	for range maxRounds {
		rows, err := k.read(ctx, l, size)
		if err != nil {
			return nil, nil, nil, err
		}
		found, err := k.stockOf(ctx, idsOf(rows))
		if err != nil {
			return nil, nil, nil, err
		}
		for _, r := range rows {
			if found.buyable(r.ID) {
				if len(page) == l.limit {
					return page, &place{Key: page[l.limit-1].Key, ID: page[l.limit-1].ID}, states, nil
				}
				page, states[r.ID] = append(page, r), found[r.ID]
			}
			l.after = place{Key: r.Key, ID: r.ID}
		}
		if len(rows) < size {
			return page, nil, states, nil
		}
		size *= 2
	}
	return page, &l.after, states, nil
}

func idsOf(rows []row) []uuid.UUID {
	ids := make([]uuid.UUID, len(rows))
	for i, r := range rows {
		ids[i] = r.ID
	}
	return ids
}

// read is one statement.
func (k *Catalog) read(ctx context.Context, l listing, size int) ([]row, error) {
	if l.search && l.query == "" { // no word in it
		return nil, nil
	}
	n, q := int32(size), catalogdb.New(filtering{k.pool})
	var rows []row
	var err error
	switch {
	case l.sort == openapi.ProductSortOldest:
		rows, err = asRows[catalogdb.FilterOldestRow](q.FilterOldest(ctx, catalogdb.FilterOldestParams{
			Statuses: l.statuses, Labels: l.labels, Query: l.query, Currency: l.currency, Least: l.least, Most: l.most, After: l.after.ID, PageSize: n,
		}))
	case l.sort == openapi.ProductSortTitle:
		rows, err = asRows[catalogdb.FilterByTitleRow](q.FilterByTitle(ctx, catalogdb.FilterByTitleParams{
			Statuses: l.statuses, Labels: l.labels, Query: l.query, Currency: l.currency, Least: l.least, Most: l.most,
			AfterTitle: l.after.Key, After: l.after.ID, PageSize: n,
		}))
	case l.sort == openapi.ProductSortMinusTitle:
		rows, err = asRows[catalogdb.FilterByTitleDownRow](q.FilterByTitleDown(ctx, catalogdb.FilterByTitleDownParams{
			Statuses: l.statuses, Labels: l.labels, Query: l.query, Currency: l.currency, Least: l.least, Most: l.most,
			AfterTitle: l.after.Key, After: l.after.ID, PageSize: n,
		}))
	case l.sort == openapi.ProductSortPrice:
		rows, err = asRows[catalogdb.FilterByPriceRow](q.FilterByPrice(ctx, catalogdb.FilterByPriceParams{
			Statuses: l.statuses, Labels: l.labels, Query: l.query, Currency: l.currency, Least: l.least, Most: l.most,
			AfterPrice: l.price(), After: l.after.ID, PageSize: n,
		}))
	case l.sort == openapi.ProductSortMinusPrice:
		rows, err = asRows[catalogdb.FilterByPriceDownRow](q.FilterByPriceDown(ctx, catalogdb.FilterByPriceDownParams{
			Statuses: l.statuses, Labels: l.labels, Query: l.query, Currency: l.currency, Least: l.least, Most: l.most,
			AfterPrice: l.price(), After: l.after.ID, PageSize: n,
		}))
	case l.sort == byRank:
		rows, err = asRows[catalogdb.FilterByRankRow](q.FilterByRank(ctx, catalogdb.FilterByRankParams{
			Statuses: l.statuses, Labels: l.labels, Query: l.query, Currency: l.currency, Least: l.least, Most: l.most,
			AfterRank: l.rank(), After: l.after.ID, PageSize: n,
		}))
	default:
		rows, err = q.FilterNewest(ctx, catalogdb.FilterNewestParams{
			Statuses: l.statuses, Labels: l.labels, Query: l.query, Currency: l.currency, Least: l.least, Most: l.most, After: l.after.ID, PageSize: n,
		})
	}
	if err != nil {
		return nil, fmt.Errorf("listing products: %w", err)
	}
	return rows, nil
}

// anyRow is what every other list reads.
type anyRow interface {
	catalogdb.FilterOldestRow | catalogdb.FilterByTitleRow | catalogdb.FilterByTitleDownRow |
		catalogdb.FilterByPriceRow | catalogdb.FilterByPriceDownRow | catalogdb.FilterByRankRow
}

func asRows[R anyRow](in []R, err error) ([]row, error) {
	out := make([]row, len(in))
	for i, r := range in {
		out[i] = row(r)
	}
	return out, err
}

// facets count the products of all pages by their labels, the commonest
// first. A category's count has the whole subtree.
func (k *Catalog) facets(ctx context.Context, l listing) ([]openapi.Facet, error) {
	facets := []openapi.Facet{}
	if l.search && l.query == "" {
		return facets, nil
	}
	rows, err := catalogdb.New(filtering{k.pool}).Facets(ctx, catalogdb.FacetsParams{
		Statuses: l.statuses, Labels: l.labels, Query: l.query, Currency: l.currency, Least: l.least, Most: l.most, MostFacets: maxFacets,
	})
	if err != nil {
		return nil, fmt.Errorf("counting facets: %w", err)
	}
	at := map[string]int{}
	for _, r := range rows {
		name, value, ok := facetOf(r.Label)
		if !ok {
			continue
		}
		i, known := at[name]
		if !known {
			i, facets = len(facets), append(facets, openapi.Facet{Name: name})
			at[name] = i
		}
		facets[i].Values = append(facets[i].Values, openapi.FacetValue{Value: value, Count: r.Products})
	}
	return facets, nil
}

// stocks are the states of each product's variants.
type stocks map[uuid.UUID]map[uuid.UUID]openapi.StockState

func (s stocks) buyable(product uuid.UUID) bool {
	for _, state := range s[product] {
		if state.Buyable {
			return true
		}
	}
	return false
}

// stockOf reads what there is of products: one statement here and one of
// Stock. Of a bundle there is what the scarcest component allows.
func (k *Catalog) stockOf(ctx context.Context, products []uuid.UUID) (stocks, error) {
	if len(products) == 0 {
		return stocks{}, nil
	}
	rows, err := catalogdb.New(k.pool).StockOfProducts(ctx, products)
	if err != nil {
		return nil, fmt.Errorf("reading variants: %w", err)
	}
	queries, asked := make([]StockQuery, 0, len(rows)), map[uuid.UUID]bool{}
	for _, r := range rows {
		if !asked[r.StockID] {
			queries = append(queries, StockQuery{VariantID: r.StockID, Track: r.TrackStock, Continue: r.Oversell})
			asked[r.StockID] = true
		}
	}
	states, err := k.states(ctx, queries)
	if err != nil {
		return nil, err
	}
	out := make(stocks, len(products))
	for _, r := range rows {
		if out[r.ProductID] == nil {
			out[r.ProductID] = map[uuid.UUID]openapi.StockState{}
		}
		now := openapi.StockState{Buyable: states[r.StockID].Buyable}
		if n := states[r.StockID].Available; n != nil {
			now.Available = new(*n / r.Quantity)
			now.Buyable = now.Buyable && *now.Available > 0
		}
		if before, ok := out[r.ProductID][r.ID]; ok {
			now = scarcer(before, now)
		}
		out[r.ProductID][r.ID] = now
	}
	return out, nil
}

func scarcer(a, b openapi.StockState) openapi.StockState {
	least := a.Available
	if least == nil || b.Available != nil && *b.Available < *least {
		least = b.Available
	}
	return openapi.StockState{Buyable: a.Buyable && b.Buyable, Available: least}
}

func (k *Catalog) states(ctx context.Context, queries []StockQuery) (map[uuid.UUID]StockState, error) {
	if k.uses.Stock != nil && len(queries) > 0 {
		return k.uses.Stock.States(ctx, queries)
	}
	states := make(map[uuid.UUID]StockState, len(queries))
	for _, q := range queries {
		states[q.VariantID] = StockState{Buyable: !q.Track || q.Continue}
	}
	return states, nil
}
