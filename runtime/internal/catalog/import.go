package catalog

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"gitee.com/captainjez/gocart/runtime/internal/batch"
	"gitee.com/captainjez/gocart/runtime/internal/catalog/catalogdb"
	"gitee.com/captainjez/gocart/runtime/internal/db"
	"gitee.com/captainjez/gocart/runtime/internal/money"
	"gitee.com/captainjez/gocart/runtime/internal/problem"
	"gitee.com/captainjez/gocart/runtime/internal/transfer"
	"gitee.com/captainjez/gocart/runtime/openapi"
)

// Import stores products, each as a new one or over the one that has its slug,
// and says of each, in their order, what became of it. What can not be stored
// leaves the others as they are. Call the returned function after the commit.
func (k *Catalog) Import(ctx context.Context, tx pgx.Tx, all []openapi.ProductInput) ([]transfer.Result, func(context.Context), error) {
	results := make([]transfer.Result, len(all))
	q := catalogdb.New(tx)
	if err := q.LockShared(ctx); err != nil {
		return nil, nil, err
	}
	drafts := make([]draft, len(all))
	slugs, skus := map[string]int{}, map[string]int{}
	var categories []uuid.UUID
	for i, in := range all {
		d, err := newDraft(in, uuid.Must(uuid.NewV7()), "")
		if err == nil {
			err = once(d, i, slugs, skus)
		}
		drafts[i], results[i].Err = d, err
		categories = append(categories, d.CategoryIds...)
	}
	known, err := k.knownOf(ctx, q, slugs, skus, categories)
	if err != nil {
		return nil, nil, err
	}
	var fresh, bundles []int
	var tags []string
	for i, d := range drafts {
		if results[i].Err != nil {
			continue
		}
		old, there := known.products[d.Slug]
		if results[i].Err = known.refuse(d, old.Id); results[i].Err != nil {
			continue
		}
		switch {
		case len(d.Bundle) > 0: // what it is made of may be among the others
			bundles = append(bundles, i)
		case !there:
			fresh = append(fresh, i)
		default:
			if results[i], err = k.putOver(ctx, tx, all[i], d, old, known.costs); err != nil {
				return nil, nil, err
			}
		}
	}
	if err := k.insert(ctx, tx, drafts, fresh); err == nil {
		for _, i := range fresh {
			results[i].Outcome = transfer.Created
		}
	} else if !db.Violated(err) {
		return nil, nil, err
	} else { // somebody else took a name at the same time: find out whose
		for _, i := range fresh {
			if results[i], err = k.putOne(ctx, tx, all[i], uuid.Nil); err != nil {
				return nil, nil, err
			}
		}
	}
	if err := k.putBundles(ctx, tx, all, drafts, bundles, known, results); err != nil {
		return nil, nil, err
	}
	for i, r := range results {
		if r.Err == nil && r.Outcome != transfer.Unchanged {
			tags = append(tags, productTags(drafts[i].Product)...)
		}
	}
	slices.Sort(tags)
	tags = slices.Compact(tags)
	return results, func(ctx context.Context) { k.answers.Invalidate(ctx, tags...) }, k.record(ctx, tx, tags)
}

// slugFor is by which slug a product comes in, "" where it gets one that no other
// has.
func slugFor(in openapi.ProductInput) string {
	if in.Slug != nil {
		return *in.Slug
	}
	slug := slugOf("product", strings.TrimSpace(in.Title), uuid.Nil)
	if slug == slugOf("product", "", uuid.Nil) {
		return ""
	}
	return slug
}

// once refuses a draft that has a SKU of another of the same import. Slugs are
// told apart before.
func once(d draft, i int, slugs, skus map[string]int) error {
	for j, v := range d.Variants {
		if _, there := skus[v.Sku]; there {
			return problem.Invalid(problem.Field{Pointer: fmt.Sprintf("/variants/%d/sku", j), Detail: "a product shortly before has the same"})
		}
	}
	slugs[d.Slug] = i
	for _, v := range d.Variants {
		skus[v.Sku] = i
	}
	return nil
}

// known is what the store has of what an import is about.
type known struct {
	products   map[string]openapi.Product // by slug, locked
	costs      map[string]string          // see costsOf
	owners     map[string]uuid.UUID       // the products of SKUs
	categories map[uuid.UUID]bool
}

func (k *Catalog) knownOf(ctx context.Context, q *catalogdb.Queries, slugs, skus map[string]int, categories []uuid.UUID) (known, error) {
	have := known{products: map[string]openapi.Product{}, owners: map[string]uuid.UUID{}, categories: map[uuid.UUID]bool{}}
	documents, err := q.LockProductsBySlug(ctx, slices.Collect(maps.Keys(slugs)))
	if err != nil {
		return have, fmt.Errorf("reading products: %w", err)
	}
	ids := make([]uuid.UUID, 0, len(documents))
	for _, r := range documents {
		var p openapi.Product
		if err := json.Unmarshal([]byte(r.Document), &p); err != nil {
			return have, fmt.Errorf("product %s: %w", r.Slug, err)
		}
		have.products[r.Slug], ids = p, append(ids, p.Id)
	}
	if have.costs, err = costsOf(ctx, q, ids); err != nil {
		return have, err
	}
	owners, err := q.OwnersOfSKUs(ctx, slices.Collect(maps.Keys(skus)))
	if err != nil {
		return have, fmt.Errorf("reading variants: %w", err)
	}
	for _, r := range owners {
		have.owners[r.Sku] = r.ProductID
	}
	if len(categories) > 0 {
		found, err := q.CategoriesByID(ctx, categories)
		if err != nil {
			return have, fmt.Errorf("reading categories: %w", err)
		}
		for _, id := range found {
			have.categories[id] = true
		}
	}
	return have, nil
}

// refuse says what of a draft can not be, id being that of the product it is to
// replace.
func (have known) refuse(d draft, id uuid.UUID) error {
	for _, v := range d.Variants {
		if owner, taken := have.owners[v.Sku]; taken && owner != id {
			return problem.New(409, "sku_taken", "Another product has a variant with the SKU %q.", v.Sku)
		}
	}
	for i, c := range d.CategoryIds {
		if !have.categories[c] {
			return problem.Invalid(problem.Field{Pointer: fmt.Sprintf("/categoryIds/%d", i), Detail: "is no category's id"})
		}
	}
	return nil
}

// putBundles stores the bundles among products, the others of which are stored.
func (k *Catalog) putBundles(ctx context.Context, tx pgx.Tx, all []openapi.ProductInput, drafts []draft, which []int, known known, results []transfer.Result) error {
	var skus []string
	for _, i := range which {
		skus = append(skus, naming(all[i])...)
	}
	ids, err := partsOf(ctx, catalogdb.New(tx), skus)
	if err != nil {
		return err
	}
	for _, i := range which {
		d := &drafts[i]
		if results[i].Err = d.name(all[i], ids); results[i].Err != nil {
			continue
		}
		if results[i], err = k.putOver(ctx, tx, all[i], *d, known.products[d.Slug], known.costs); err != nil {
			return err
		}
	}
	return nil
}

// putOver is putOne, and nothing where the product is what the draft says.
func (k *Catalog) putOver(ctx context.Context, tx pgx.Tx, in openapi.ProductInput, d draft, old openapi.Product, costs map[string]string) (transfer.Result, error) {
	if old.Id != uuid.Nil && d.is(old, costs) {
		return transfer.Result{Outcome: transfer.Unchanged}, nil
	}
	return k.putOne(ctx, tx, in, old.Id)
}

// putOne stores one product, in the place of the one with an id or, for
// uuid.Nil, as a new one, or leaves everything as it was. The error is one that
// is not about the product.
func (k *Catalog) putOne(ctx context.Context, tx pgx.Tx, in openapi.ProductInput, id uuid.UUID) (r transfer.Result, err error) {
	r.Err = pgx.BeginFunc(ctx, tx, func(tx pgx.Tx) error {
		if id == uuid.Nil {
			r.Outcome = transfer.Created
			_, err := k.Create(ctx, tx, in)
			return err
		}
		r.Outcome = transfer.Updated
		_, _, err := k.replace(ctx, tx, id.String(), nil, in)
		return err
	})
	if _, about := errors.AsType[*problem.Problem](r.Err); r.Err != nil && !about {
		return r, r.Err
	}
	return r, nil
}

// is reports whether a product is what a draft says, whose variants cost the
// merchant what costsOf says.
func (d *draft) is(old openapi.Product, costs map[string]string) bool {
	p := d.Product
	p.Variants = slices.Clone(p.Variants)
	keepIDs(old, &p)
	p.Id, p.Version, p.CreatedAt, p.UpdatedAt = old.Id, old.Version, old.CreatedAt, old.UpdatedAt
	a, errA := json.Marshal(p)
	b, errB := json.Marshal(old)
	if errA != nil || errB != nil || !bytes.Equal(a, b) {
		return false
	}
	for i, v := range p.Variants {
		for _, price := range d.prices[i] {
			said := ""
			if price.cost >= 0 {
				said = money.Amount{Minor: price.cost, Currency: price.currency}.Decimal()
			}
			if costs[v.Id.String()+price.currency] != said {
				return false
			}
		}
	}
	return true
}

// insert stores new products together, all or, with an error, none.
func (k *Catalog) insert(ctx context.Context, tx pgx.Tx, drafts []draft, which []int) error {
	if len(which) == 0 {
		return nil
	}
	var statements batch.Statements
	var ids []uuid.UUID
	variants, prices, categories := catalogdb.InsertVariantsParams{}, catalogdb.InsertPricesParams{}, catalogdb.InsertCategoriesOfProductsParams{}
	at := now()
	for _, i := range which {
		d := &drafts[i]
		d.CreatedAt, d.UpdatedAt = at, at
		row, err := rowOf(*d)
		if err != nil {
			return err
		}
		statements.Add(func(db batch.DB) error { return catalogdb.New(db).InsertProduct(ctx, row) })
		ids = append(ids, d.Id)
		if err := d.addTo(&variants, &prices); err != nil {
			return err
		}
		for _, c := range d.CategoryIds {
			categories.ProductIds, categories.CategoryIds = append(categories.ProductIds, d.Id), append(categories.CategoryIds, c)
		}
	}
	statements.Add(func(db batch.DB) error { return catalogdb.New(db).InsertVariants(ctx, variants) })
	statements.Add(func(db batch.DB) error { return catalogdb.New(db).InsertPrices(ctx, prices) })
	statements.Add(func(db batch.DB) error { return catalogdb.New(db).InsertPricesOfProducts(ctx, ids) })
	statements.Add(func(db batch.DB) error { return catalogdb.New(db).InsertCategoriesOfProducts(ctx, categories) })
	statements.Add(func(db batch.DB) error { return catalogdb.New(db).Relabel(ctx, ids) })
	return pgx.BeginFunc(ctx, tx, func(tx pgx.Tx) error { return statements.Send(ctx, tx) })
}

func (d *draft) addTo(variants *catalogdb.InsertVariantsParams, prices *catalogdb.InsertPricesParams) error {
	for i, v := range d.Variants {
		options, err := json.Marshal(v.Options)
		if err != nil {
			return err
		}
		variants.Ids = append(variants.Ids, v.Id)
		variants.ProductIds = append(variants.ProductIds, d.Id)
		variants.Positions = append(variants.Positions, int32(i))
		variants.Skus = append(variants.Skus, v.Sku)
		variants.Options = append(variants.Options, string(options))
		variants.Weights = append(variants.Weights, v.WeightGrams)
		variants.TrackStock = append(variants.TrackStock, v.TrackStock)
		variants.StockPolicies = append(variants.StockPolicies, string(v.StockPolicy))
		for j, p := range d.prices[i] {
			prices.VariantIds = append(prices.VariantIds, v.Id)
			prices.Currencies = append(prices.Currencies, p.currency)
			prices.Positions = append(prices.Positions, int32(j))
			prices.Amounts = append(prices.Amounts, p.amount)
			prices.CompareAts = append(prices.CompareAts, p.compareAt)
			prices.Costs = append(prices.Costs, p.cost)
		}
	}
	return nil
}
