package catalog

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"gitee.com/captainjez/gocart/runtime/internal/catalog/catalogdb"
	"gitee.com/captainjez/gocart/runtime/internal/money"
	"gitee.com/captainjez/gocart/runtime/internal/optional"
	"gitee.com/captainjez/gocart/runtime/internal/problem"
	"gitee.com/captainjez/gocart/runtime/internal/transfer"
	"gitee.com/captainjez/gocart/runtime/openapi"
)

// PriceRecord is a price of a variant as it comes in and goes out.
type PriceRecord struct {
	SKU       string  `json:"sku"`
	Currency  string  `json:"currency"`
	Amount    string  `json:"amount"`
	CompareAt *string `json:"compareAt,omitempty"`
	Cost      *string `json:"cost,omitempty"`
}

// TransferPrices is how prices of variants that are there come in and go out.
func (k *Catalog) TransferPrices() transfer.Kind {
	columns := []string{"sku", "currency", "amount", "compareAt", "cost"}
	return transfer.Of[PriceRecord]{
		Name: "prices", ReadScope: "products:read", WriteScope: "products:write", Put: k.importPrices, From: k.pricesFrom,
		Key: func(p PriceRecord) (string, string) { return p.SKU + " " + p.Currency, "/sku" },
		Private: &transfer.Private[PriceRecord]{
			Scope: costScope, Without: func(p PriceRecord) PriceRecord { p.Cost = nil; return p }, Column: func(name string) bool { return name == "cost" },
		},
		Sheets: map[string]transfer.Sheet[PriceRecord]{"csv": {
			Required: []string{"sku", "currency", "amount"}, Known: func(c string) bool { return slices.Contains(columns, c) },
			Read: func(_ context.Context, rows []transfer.Row) (PriceRecord, error) {
				r := rows[0]
				return PriceRecord{
					SKU: r.Get("sku"), Currency: r.Get("currency"), Amount: r.Get("amount"),
					CompareAt: optional.Of(r.Get("compareAt")), Cost: optional.Of(r.Get("cost")),
				}, nil
			},
			Columns: func(context.Context) ([]string, error) { return columns, nil },
			Rows: func(p PriceRecord) []map[string]string {
				return []map[string]string{{
					"sku": p.SKU, "currency": p.Currency, "amount": p.Amount, "compareAt": optional.Value(p.CompareAt), "cost": optional.Value(p.Cost),
				}}
			},
		}},
	}
}

// importPrices sets prices, those of one product together: a product has all or
// none of them.
func (k *Catalog) importPrices(ctx context.Context, tx pgx.Tx, all []PriceRecord) ([]transfer.Result, func(context.Context), error) {
	results := make([]transfer.Result, len(all))
	q := catalogdb.New(tx)
	if err := q.LockShared(ctx); err != nil {
		return nil, nil, err
	}
	skus := make([]string, len(all))
	for i, p := range all {
		skus[i] = p.SKU
	}
	owners, err := q.OwnersOfSKUs(ctx, skus)
	if err != nil {
		return nil, nil, fmt.Errorf("reading variants: %w", err)
	}
	ownerOf := map[string]uuid.UUID{}
	for _, r := range owners {
		ownerOf[r.Sku] = r.ProductID
	}
	of := map[uuid.UUID][]int{}
	for i, p := range all {
		// It stays so where the product goes at the same moment.
		results[i].Err = problem.Invalid(problem.Field{Pointer: "/sku", Detail: fmt.Sprintf("no variant has the SKU %.64q", p.SKU)})
		if owner, known := ownerOf[p.SKU]; known {
			of[owner] = append(of[owner], i)
		}
	}
	ids := make([]uuid.UUID, 0, len(of))
	for id := range of {
		ids = append(ids, id)
	}
	documents, err := q.LockProductsByID(ctx, ids)
	if err != nil {
		return nil, nil, fmt.Errorf("reading products: %w", err)
	}
	costs, err := costsOf(ctx, q, ids)
	if err != nil {
		return nil, nil, err
	}
	var tags []string
	for _, document := range documents {
		var old openapi.Product
		if err := json.Unmarshal([]byte(document), &old); err != nil {
			return nil, nil, fmt.Errorf("a product: %w", err)
		}
		in := inputOf(old, costs, nil)
		set := slices.DeleteFunc(of[old.Id], func(i int) bool { return !set(&in, all[i]) })
		if anyWrong(all, set, results) {
			continue
		}
		var r transfer.Result
		d, err := newDraft(in, old.Id, old.Slug)
		if r.Err = toldOfPrices(err, in.Variants); err == nil {
			if r, err = k.putOver(ctx, tx, in, d, old, costs); err != nil {
				return nil, nil, err
			}
		}
		if r.Err == nil && r.Outcome != transfer.Unchanged {
			tags = append(tags, productTags(old)...)
		}
		for _, i := range set {
			results[i] = r
		}
	}
	slices.Sort(tags)
	tags = slices.Compact(tags)
	return results, func(ctx context.Context) { k.answers.Invalidate(ctx, tags...) }, k.record(ctx, tx, tags)
}

// anyWrong says of the prices of one product which is wrong in itself, and of the
// others that they are refused with it.
func anyWrong(all []PriceRecord, which []int, results []transfer.Result) bool {
	wrong := -1
	for _, i := range which {
		if results[i].Err = all[i].check(); results[i].Err != nil && wrong < 0 {
			wrong = i
		}
	}
	if wrong < 0 {
		return false
	}
	for _, i := range which {
		if results[i].Err == nil {
			results[i].Err = problem.Invalid(problem.Field{Pointer: "/sku", Detail: fmt.Sprintf(
				"is of a product of which the price of %.64q in %.3q is refused, and those of a product are set together", all[wrong].SKU, all[wrong].Currency)})
		}
	}
	return true
}

// check wants a price that can be one.
func (p PriceRecord) check() error {
	var v findings
	v.prices("", []openapi.PriceInput{{Amount: p.Amount, Currency: p.Currency, CompareAt: p.CompareAt, Cost: p.Cost}})
	for i := range v.Findings {
		v.Findings[i].Pointer = strings.TrimPrefix(v.Findings[i].Pointer, "/0")
	}
	return v.Err()
}

var ofPrices = regexp.MustCompile(`^/variants/(\d+)/prices`)

// toldOfPrices is what is wrong with a product's prices, in words for who has
// their file and no product.
func toldOfPrices(err error, variants []openapi.VariantInput) error {
	p, ok := errors.AsType[*problem.Problem](err)
	if !ok {
		return err
	}
	told := make([]problem.Field, len(p.Errors))
	for i, f := range p.Errors {
		if m := ofPrices.FindStringSubmatch(f.Pointer); m != nil {
			if n, err := strconv.Atoi(m[1]); err == nil && n < len(variants) {
				f = problem.Field{Pointer: "/currency", Detail: fmt.Sprintf("of the variant %q: %s", variants[n].Sku, f.Detail)}
			}
		}
		told[i] = f
	}
	return problem.Invalid(told...)
}

// set has an input say a price, and reports whether it has the variant.
func set(in *openapi.ProductInput, p PriceRecord) bool {
	i := slices.IndexFunc(in.Variants, func(v openapi.VariantInput) bool { return v.Sku == p.SKU })
	if i < 0 { // it went at the same moment
		return false
	}
	price := openapi.PriceInput{Amount: p.Amount, Currency: p.Currency, CompareAt: p.CompareAt, Cost: p.Cost}
	prices := &in.Variants[i].Prices
	if j := slices.IndexFunc(*prices, func(o openapi.PriceInput) bool { return o.Currency == p.Currency }); j >= 0 {
		(*prices)[j] = price
		return true
	}
	*prices = append(*prices, price)
	return true
}

// costsOf are what variants of products cost the merchant, by the variant's id
// and the currency.
func costsOf(ctx context.Context, q *catalogdb.Queries, productIDs []uuid.UUID) (map[string]string, error) {
	rows, err := q.PricesOfProducts(ctx, productIDs)
	if err != nil {
		return nil, fmt.Errorf("reading costs: %w", err)
	}
	costs := map[string]string{}
	for _, r := range rows {
		costs[r.ID.String()+r.Currency] = money.Amount{Minor: *r.Cost, Currency: r.Currency}.Decimal()
	}
	return costs, nil
}

// pricesFrom reads the prices of products, all of a product together.
func (k *Catalog) pricesFrom(ctx context.Context, after string, most int32) (all []PriceRecord, last string, err error) {
	products, last, err := k.from(ctx, after, most)
	for _, p := range products {
		for _, v := range p.Variants {
			for _, price := range v.Prices {
				all = append(all, PriceRecord{SKU: v.Sku, Currency: price.Currency, Amount: price.Amount, CompareAt: price.CompareAt, Cost: price.Cost})
			}
		}
	}
	return all, last, err
}
