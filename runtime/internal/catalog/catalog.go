// Package catalog is what the store offers: products and their variants. It
// owns the tables products and variants, the rules of what a product may be,
// and their part of the HTTP API.
package catalog

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"gitee.com/captainjez/gocart/runtime/internal/cache"
	"gitee.com/captainjez/gocart/runtime/internal/catalog/catalogdb"
	"gitee.com/captainjez/gocart/runtime/internal/db"
	"gitee.com/captainjez/gocart/runtime/internal/idempotency"
	"gitee.com/captainjez/gocart/runtime/internal/money"
	"gitee.com/captainjez/gocart/runtime/internal/problem"
	"gitee.com/captainjez/gocart/runtime/openapi"
)

// Catalog reads and writes products.
type Catalog struct {
	pool    *pgxpool.Pool
	answers *cache.Cache
}

// New makes a catalogue in the database. Answers may be nil.
func New(pool *pgxpool.Pool, answers *cache.Cache) *Catalog {
	return &Catalog{pool: pool, answers: answers}
}

// Empty reports whether there is no product at all.
func (k *Catalog) Empty(ctx context.Context) (bool, error) {
	n, err := catalogdb.New(k.pool).CountProducts(ctx)
	return n == 0, err
}

// Create stores a product once for a key (see idempotency), and gives the
// product as it is stored. What is wrong with the input, a slug or a SKU that
// is taken come back as *problem.Problem.
func (k *Catalog) Create(ctx context.Context, in openapi.ProductInput, r idempotency.Request) (idempotency.Answer, error) {
	product, err := newProduct(in)
	if err != nil {
		return idempotency.Answer{}, err
	}
	answer, err := idempotency.Do(ctx, k.pool, r, func(tx pgx.Tx) (idempotency.Answer, error) {
		if err := insert(ctx, catalogdb.New(tx), &product); err != nil {
			return idempotency.Answer{}, err
		}
		body, err := json.Marshal(product)
		return idempotency.Answer{Status: http.StatusCreated, Body: body}, err
	})
	if err != nil {
		return idempotency.Answer{}, taken(err, product)
	}
	if !answer.Replayed {
		k.answers.Invalidate(ctx)
	}
	return answer, nil
}

func taken(err error, p openapi.Product) error {
	switch {
	case db.Violates(err, "products_slug_key"):
		return problem.New(http.StatusConflict, "slug_taken", "Another product has the slug %q.", p.Slug)
	case db.Violates(err, "variants_sku_key"):
		return problem.New(http.StatusConflict, "sku_taken", "Another product has a variant with one of these SKUs.")
	}
	return err
}

func insert(ctx context.Context, q *catalogdb.Queries, p *openapi.Product) error {
	stored, err := q.InsertProduct(ctx, catalogdb.InsertProductParams{
		ID: p.Id, Slug: p.Slug, Title: p.Title, Description: p.Description,
		Type: string(p.Type), Status: string(p.Status), OptionNames: p.Options,
	})
	if err != nil {
		return fmt.Errorf("storing a product: %w", err)
	}
	p.CreatedAt, p.UpdatedAt = stored.CreatedAt.UTC(), stored.UpdatedAt.UTC()
	rows := catalogdb.InsertVariantsParams{ProductID: p.Id}
	for i, v := range p.Variants {
		options, err := json.Marshal(v.Options)
		if err != nil {
			return err
		}
		price, err := money.Parse(v.Price.Amount, v.Price.Currency)
		if err != nil {
			return err
		}
		rows.Ids = append(rows.Ids, v.Id)
		rows.Positions = append(rows.Positions, int32(i))
		rows.Skus = append(rows.Skus, v.Sku)
		rows.Options = append(rows.Options, string(options))
		rows.Prices = append(rows.Prices, price.Minor)
		rows.Currencies = append(rows.Currencies, price.Currency)
	}
	if err := q.InsertVariants(ctx, rows); err != nil {
		return fmt.Errorf("storing variants: %w", err)
	}
	return nil
}

// get reads one product by its id or slug among those in the statuses.
func (k *Catalog) get(ctx context.Context, idOrSlug string, statuses []string) (openapi.Product, error) {
	q := catalogdb.New(k.pool)
	var rows []row
	if id, err := uuid.Parse(idOrSlug); err == nil && len(idOrSlug) == 36 {
		found, err := q.ProductByID(ctx, catalogdb.ProductByIDParams{ID: id, Statuses: statuses})
		if err != nil {
			return openapi.Product{}, fmt.Errorf("reading a product: %w", err)
		}
		rows = asRows(found, func(r catalogdb.ProductByIDRow) row { return row(r) })
	} else if slugPattern.MatchString(idOrSlug) {
		found, err := q.ProductBySlug(ctx, catalogdb.ProductBySlugParams{Slug: idOrSlug, Statuses: statuses})
		if err != nil {
			return openapi.Product{}, fmt.Errorf("reading a product: %w", err)
		}
		rows = asRows(found, func(r catalogdb.ProductBySlugRow) row { return row(r) })
	}
	products, _, err := fold(rows)
	if err != nil {
		return openapi.Product{}, err
	}
	if len(products) == 0 {
		return openapi.Product{}, problem.New(http.StatusNotFound, "product_not_found", "No product has the id or slug %.100q.", idOrSlug)
	}
	return products[0], nil
}

// list reads a page: one statement, whatever its length.
func (k *Catalog) list(ctx context.Context, l listing) (openapi.ProductPage, error) {
	q := catalogdb.New(k.pool)
	var rows []row
	size := int32(l.limit + 1) // one more tells whether there is a next page
	switch query := tsquery(l.q); {
	case l.q == "":
		found, err := q.ListProducts(ctx, catalogdb.ListProductsParams{Statuses: l.statuses, Before: l.after.ID, PageSize: size})
		if err != nil {
			return openapi.ProductPage{}, fmt.Errorf("listing products: %w", err)
		}
		rows = asRows(found, func(r catalogdb.ListProductsRow) row { return row(r) })
	case query != "":
		found, err := q.SearchProducts(ctx, catalogdb.SearchProductsParams{
			Query: query, Statuses: l.statuses, RankBefore: l.after.Rank, Before: l.after.ID, PageSize: size,
		})
		if err != nil {
			return openapi.ProductPage{}, fmt.Errorf("searching products: %w", err)
		}
		rows = asRows(found, func(r catalogdb.SearchProductsRow) row { return row(r) })
	}
	products, ranks, err := fold(rows)
	if err != nil {
		return openapi.ProductPage{}, err
	}
	page := openapi.ProductPage{Products: products}
	if len(products) > l.limit {
		page.Products = products[:l.limit]
		last := l.limit - 1
		next := l.cursorAt(products[last].Id, ranks[last])
		page.NextCursor = &next
	}
	return page, nil
}

// A row is one variant with its product; every query that reads products has
// the same columns.
type row catalogdb.SearchProductsRow

func asRows[T any](in []T, as func(T) row) []row {
	out := make([]row, len(in))
	for i, r := range in {
		out[i] = as(r)
	}
	return out
}

// fold makes products, with their ranks, of rows in which a product's variants
// stand together.
func fold(rows []row) ([]openapi.Product, []float64, error) {
	products, ranks := []openapi.Product{}, []float64{}
	for _, r := range rows {
		if len(products) == 0 || products[len(products)-1].Id != r.ID {
			products = append(products, openapi.Product{
				Id: r.ID, Slug: r.Slug, Title: r.Title, Description: r.Description,
				Type: openapi.ProductType(r.Type), Status: openapi.ProductStatus(r.Status),
				Options: r.OptionNames, CreatedAt: r.CreatedAt.UTC(), UpdatedAt: r.UpdatedAt.UTC(),
			})
			ranks = append(ranks, r.Rank)
		}
		options := map[string]string{}
		if err := json.Unmarshal(r.Options, &options); err != nil {
			return nil, nil, fmt.Errorf("options of variant %s: %w", r.VariantID, err)
		}
		price := money.Amount{Minor: r.Price, Currency: r.Currency}
		p := &products[len(products)-1]
		p.Variants = append(p.Variants, openapi.Variant{
			Id: r.VariantID, Sku: r.Sku, Options: options,
			Price: openapi.Money{Amount: price.Decimal(), Currency: price.Currency},
		})
	}
	return products, ranks, nil
}
