package catalog

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"gitee.com/captainjez/gocart/runtime/internal/catalog/catalogdb"
	"gitee.com/captainjez/gocart/runtime/internal/db"
	"gitee.com/captainjez/gocart/runtime/internal/money"
	"gitee.com/captainjez/gocart/runtime/internal/problem"
	"gitee.com/captainjez/gocart/runtime/openapi"
)

// Create stores a product in the transaction and gives it as it is stored.
// What is wrong with the input, a slug or a SKU that is taken come back as
// *problem.Problem. Call Invalidate after the commit.
func (k *Catalog) Create(ctx context.Context, tx pgx.Tx, in openapi.ProductInput) (openapi.Product, error) {
	q := catalogdb.New(tx)
	if err := q.LockShared(ctx); err != nil {
		return openapi.Product{}, err
	}
	d, err := wholeDraft(ctx, q, in, uuid.Must(uuid.NewV7()), "")
	if err != nil {
		return openapi.Product{}, err
	}
	d.CreatedAt = now()
	d.UpdatedAt = d.CreatedAt
	row, err := rowOf(d)
	if err == nil {
		err = q.InsertProduct(ctx, row)
	}
	if err == nil {
		err = store(ctx, q, d)
	}
	return d.Product, refused(err, d.Product)
}

// replace makes a product what the input says, if it has the version that
// ifMatch names in quotes; nil and * are any. Variants are matched by SKU.
// It returns the tags of what that changes, too.
func (k *Catalog) replace(ctx context.Context, tx pgx.Tx, idOrSlug string, ifMatch *string, in openapi.ProductInput) (openapi.Product, []string, error) {
	q := catalogdb.New(tx)
	old, err := lock(ctx, q, idOrSlug)
	if err != nil {
		return openapi.Product{}, nil, err
	}
	if ifMatch != nil && *ifMatch != "*" && *ifMatch != strconv.Quote(strconv.FormatInt(old.Version, 10)) {
		return openapi.Product{}, nil, problem.New(http.StatusPreconditionFailed, "version_mismatch", "The product has version %d by now.", old.Version)
	}
	d, err := wholeDraft(ctx, q, in, old.Id, old.Slug)
	if err != nil {
		return openapi.Product{}, nil, err
	}
	d.Version, d.CreatedAt, d.UpdatedAt = old.Version+1, old.CreatedAt, now()
	gone := keepIDs(old, &d.Product)
	if err := k.mayGo(ctx, tx, gone); err != nil {
		return openapi.Product{}, nil, err
	}
	if d.Type == openapi.ProductTypeBundle {
		used, err := q.AreComponents(ctx, variantIDs(old))
		if err != nil {
			return openapi.Product{}, nil, err
		}
		if used {
			return openapi.Product{}, nil, problem.New(http.StatusConflict, "variant_in_use", "A bundle is made of this product, which so cannot be a bundle itself.")
		}
	}
	row, err := rowOf(d)
	if err != nil {
		return openapi.Product{}, nil, err
	}
	err = q.UpdateProduct(ctx, catalogdb.UpdateProductParams{
		ID: row.ID, Version: row.Version, Slug: row.Slug, Title: row.Title, TitleKey: row.TitleKey, Type: row.Type,
		Status: row.Status, TaxCategory: row.TaxCategory, Marks: row.Marks, TitleWords: row.TitleWords,
		LabelWords: row.LabelWords, DescriptionWords: row.DescriptionWords, Document: row.Document, UpdatedAt: row.UpdatedAt,
	})
	if err == nil {
		err = q.ClearProduct(ctx, catalogdb.ClearProductParams{ProductID: old.Id, Gone: gone})
	}
	if err == nil {
		err = store(ctx, q, d)
	}
	return d.Product, productTags(d.Product, old.Slug), refused(err, d.Product)
}

// keepIDs gives the variants of p the ids that their SKUs had, and returns the
// ids whose SKU is gone.
func keepIDs(old openapi.Product, p *openapi.Product) (gone []uuid.UUID) {
	for _, was := range old.Variants {
		i := slices.IndexFunc(p.Variants, func(v openapi.Variant) bool { return v.Sku == was.Sku })
		if i < 0 {
			gone = append(gone, was.Id)
			continue
		}
		p.Variants[i].Id = was.Id
	}
	return gone
}

// mayGo refuses to let variants go that have reserved stock.
func (k *Catalog) mayGo(ctx context.Context, tx pgx.Tx, variants []uuid.UUID) error {
	if k.uses.Holds == nil || len(variants) == 0 {
		return nil
	}
	held, err := k.uses.Holds.Held(ctx, tx, variants)
	if err != nil {
		return err
	}
	if len(held) > 0 {
		return problem.New(http.StatusConflict, "variant_in_use", "Stock of the variant %s is reserved; it cannot be removed.", held[0])
	}
	return nil
}

// remove deletes a product, or archives one that was ever ordered or that has
// reserved stock. It returns the tags of what that changes.
func (k *Catalog) remove(ctx context.Context, tx pgx.Tx, idOrSlug string) ([]string, error) {
	q := catalogdb.New(tx)
	p, err := lock(ctx, q, idOrSlug)
	if err != nil {
		return nil, err
	}
	keep := false
	if k.uses.Orders != nil {
		if keep, err = k.uses.Orders.EverOrdered(ctx, tx, variantIDs(p)); err != nil {
			return nil, err
		}
	}
	if k.uses.Holds != nil && !keep {
		held, err := k.uses.Holds.Held(ctx, tx, variantIDs(p))
		if err != nil {
			return nil, err
		}
		keep = len(held) > 0
	}
	if keep {
		return productTags(p), rewrite(ctx, q, []openapi.Product{p}, func(p *openapi.Product) { p.Status = openapi.ProductStatusArchived })
	}
	return append(productTags(p), collectionList), refused(q.DeleteProduct(ctx, p.Id), p)
}

// lock reads a product that nobody else changes until the transaction ends.
func lock(ctx context.Context, q *catalogdb.Queries, idOrSlug string) (p openapi.Product, err error) {
	if err := q.LockShared(ctx); err != nil {
		return p, err
	}
	document, err := named(idOrSlug, productNotFound,
		func(id uuid.UUID) (string, error) { return q.LockProductByID(ctx, id) },
		func(slug string) (string, error) { return q.LockProductBySlug(ctx, slug) })
	if err != nil {
		return p, err
	}
	return p, json.Unmarshal([]byte(document), &p)
}

const productNotFound = "product_not_found"

// now is the time as PostgreSQL keeps it.
func now() time.Time { return time.Now().UTC().Truncate(time.Microsecond) }

func variantIDs(p openapi.Product) []uuid.UUID {
	ids := make([]uuid.UUID, len(p.Variants))
	for i, v := range p.Variants {
		ids[i] = v.Id
	}
	return ids
}

// refused says what an error of the database means to whoever wrote p.
func refused(err error, p openapi.Product) error {
	switch {
	case db.Violates(err, "products_slug_key"):
		return problem.New(http.StatusConflict, "slug_taken", "Another product has the slug %q.", p.Slug)
	case db.Violates(err, "variants_sku_key"):
		return problem.New(http.StatusConflict, "sku_taken", "Another product has a variant with one of these SKUs.")
	case db.Violates(err, "bundle_items_component_id_fkey"):
		return problem.New(http.StatusConflict, "variant_in_use", "A bundle is made of a variant that would be removed.")
	case err != nil:
		return fmt.Errorf("storing a product: %w", err)
	}
	return nil
}

// rowOf is the product's row, save for its labels.
func rowOf(d draft) (catalogdb.InsertProductParams, error) {
	document, err := json.Marshal(d.Product)
	if err != nil {
		return catalogdb.InsertProductParams{}, err
	}
	marks, labels := []string{typeLabel + string(d.Type)}, slices.Clone(d.Tags)
	for _, tag := range d.Tags {
		marks = append(marks, tagLabel+strings.ToLower(tag))
	}
	for _, a := range d.Attributes {
		marks = append(marks, attributeLabel+a.Name+":"+a.Value)
	}
	for _, v := range d.Variants {
		labels = append(labels, v.Sku)
	}
	return catalogdb.InsertProductParams{
		ID: d.Id, Version: d.Version, Slug: d.Slug, Title: d.Title, TitleKey: titleKey(d.Title),
		Type: string(d.Type), Status: string(d.Status), TaxCategory: d.TaxCategory, Marks: marks,
		TitleWords: strings.Join(words(d.Title), " "), LabelWords: strings.Join(words(strings.Join(labels, " ")), " "),
		DescriptionWords: strings.Join(words(d.Description), " "),
		Document:         string(document), CreatedAt: d.CreatedAt, UpdatedAt: d.UpdatedAt,
	}, nil
}

// store writes what belongs to a product whose row is there.
func store(ctx context.Context, q *catalogdb.Queries, d draft) error {
	if err := storeVariants(ctx, q, d); err != nil {
		return err
	}
	if len(d.Bundle) > 0 {
		if err := storeBundle(ctx, q, d); err != nil {
			return err
		}
	}
	if len(d.CategoryIds) > 0 {
		found, err := q.CategoriesByID(ctx, d.CategoryIds)
		if err == nil {
			err = all(d.CategoryIds, found, "/categoryIds/%d", "is no category's id")
		}
		if err == nil {
			err = q.InsertProductCategories(ctx, catalogdb.InsertProductCategoriesParams{ProductID: d.Id, CategoryIds: d.CategoryIds})
		}
		if err != nil {
			return err
		}
	}
	return q.Relabel(ctx, []uuid.UUID{d.Id})
}

func storeVariants(ctx context.Context, q *catalogdb.Queries, d draft) error {
	rows, prices := catalogdb.UpsertVariantsParams{ProductID: d.Id}, catalogdb.InsertPricesParams{}
	for i, v := range d.Variants {
		options, err := json.Marshal(v.Options)
		if err != nil {
			return err
		}
		rows.Ids = append(rows.Ids, v.Id)
		rows.Positions = append(rows.Positions, int32(i))
		rows.Skus = append(rows.Skus, v.Sku)
		rows.Options = append(rows.Options, string(options))
		rows.Weights = append(rows.Weights, v.WeightGrams)
		rows.TrackStock = append(rows.TrackStock, v.TrackStock)
		rows.StockPolicies = append(rows.StockPolicies, string(v.StockPolicy))
		for j, p := range d.prices[i] {
			prices.VariantIds = append(prices.VariantIds, v.Id)
			prices.Currencies = append(prices.Currencies, p.currency)
			prices.Positions = append(prices.Positions, int32(j))
			prices.Amounts = append(prices.Amounts, p.amount)
			prices.CompareAts = append(prices.CompareAts, p.compareAt)
			prices.Costs = append(prices.Costs, p.cost)
		}
	}
	if err := q.UpsertVariants(ctx, rows); err != nil {
		return err
	}
	if err := q.InsertPrices(ctx, prices); err != nil {
		return err
	}
	return q.InsertProductPrices(ctx, d.Id)
}

// rewrite changes the documents of products that are locked, as new versions.
func rewrite(ctx context.Context, q *catalogdb.Queries, products []openapi.Product, change func(*openapi.Product)) error {
	if len(products) == 0 {
		return nil
	}
	rows := catalogdb.UpdateDocumentsParams{UpdatedAt: now()}
	for i := range products {
		p := &products[i]
		change(p)
		p.Version++
		p.UpdatedAt = rows.UpdatedAt
		document, err := json.Marshal(p)
		if err != nil {
			return err
		}
		rows.Ids = append(rows.Ids, p.Id)
		rows.Versions = append(rows.Versions, p.Version)
		rows.Statuses = append(rows.Statuses, string(p.Status))
		rows.Documents = append(rows.Documents, string(document))
	}
	return q.UpdateDocuments(ctx, rows)
}

// costs are what a product's variants cost the merchant.
func (k *Catalog) costs(ctx context.Context, idOrSlug string) (openapi.CostList, error) {
	list := openapi.CostList{Costs: []openapi.Cost{}}
	id, _, err := k.document(ctx, idOrSlug, true)
	if err != nil {
		return list, err
	}
	rows, err := catalogdb.New(k.pool).ProductCosts(ctx, id)
	if err != nil {
		return list, fmt.Errorf("reading costs: %w", err)
	}
	for _, r := range rows {
		cost := money.Amount{Minor: r.Cost, Currency: r.Currency}
		list.Costs = append(list.Costs, openapi.Cost{
			VariantId: r.ID, Sku: r.Sku, Cost: openapi.Money{Amount: cost.Decimal(), Currency: r.Currency},
		})
	}
	return list, nil
}
