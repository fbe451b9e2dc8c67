package catalog

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/google/uuid"

	"gitee.com/captainjez/gocart/runtime/internal/catalog/catalogdb"
	"gitee.com/captainjez/gocart/runtime/internal/money"
	"gitee.com/captainjez/gocart/runtime/internal/optional"
	"gitee.com/captainjez/gocart/runtime/internal/problem"
	"gitee.com/captainjez/gocart/runtime/internal/transfer"
	"gitee.com/captainjez/gocart/runtime/openapi"
)

// Transfer is how products are brought in and taken out: as JSON Lines of
// ProductInput, as CSV with a row for each variant, and as Shopify's CSV.
func (k *Catalog) Transfer() transfer.Kind {
	return transfer.Of[openapi.ProductInput]{
		Name: "products", ReadScope: "products:read", WriteScope: "products:write",
		Key: func(p openapi.ProductInput) (string, string) { return slugFor(p), "/slug" }, Put: k.Import, From: k.from,
		Private: &transfer.Private[openapi.ProductInput]{
			Scope: costScope, Without: withoutCosts, Column: func(name string) bool { return strings.HasPrefix(name, "cost ") },
		},
		Sheets: map[string]transfer.Sheet[openapi.ProductInput]{
			"csv": {
				Group: "slug", Required: []string{"slug", "title", "type", "sku"}, Known: isColumn, Read: readSheet,
				Columns: k.columns, Rows: sheetOf,
			},
			"shopify": {Group: "Handle", Required: []string{"Handle", "Title", "Variant Price"}, Read: k.readShopify},
		},
	}
}

// costScope is what it takes to read what the merchant pays, as it does at
// GET /products/{id}/costs.
const costScope = "products:write"

func withoutCosts(p openapi.ProductInput) openapi.ProductInput {
	for _, v := range p.Variants {
		for i := range v.Prices {
			v.Prices[i].Cost = nil
		}
	}
	return p
}

// from reads products after an id, as they would be brought in.
func (k *Catalog) from(ctx context.Context, after string, most int32) ([]openapi.ProductInput, string, error) {
	last, err := transfer.Place(after)
	if err != nil {
		return nil, after, err
	}
	q := catalogdb.New(k.pool)
	rows, err := q.ProductsFrom(ctx, catalogdb.ProductsFromParams{After: last, Most: most})
	if err != nil {
		return nil, "", err
	}
	ids := make([]uuid.UUID, len(rows))
	for i, r := range rows {
		ids[i] = r.ID
	}
	costs, err := costsOf(ctx, q, ids)
	if err != nil {
		return nil, after, err
	}
	products := make([]openapi.Product, len(rows))
	var parts []uuid.UUID
	for i, r := range rows {
		if err := json.Unmarshal([]byte(r.Document), &products[i]); err != nil {
			return nil, after, fmt.Errorf("product %s: %w", r.ID, err)
		}
		for _, part := range products[i].Bundle {
			parts = append(parts, part.VariantId)
		}
	}
	skus, err := skusOf(ctx, q, parts)
	if err != nil {
		return nil, after, err
	}
	all := make([]openapi.ProductInput, len(rows))
	for i, p := range products {
		all[i] = inputOf(p, costs, skus)
	}
	if len(rows) < int(most) {
		return all, "", nil
	}
	return all, ids[len(ids)-1].String(), nil
}

// skusOf are the SKUs of variants.
func skusOf(ctx context.Context, q *catalogdb.Queries, ids []uuid.UUID) (map[uuid.UUID]string, error) {
	skus := map[uuid.UUID]string{}
	if len(ids) == 0 {
		return skus, nil
	}
	rows, err := q.SKUsOf(ctx, ids)
	if err != nil {
		return nil, fmt.Errorf("reading what bundles are made of: %w", err)
	}
	for _, r := range rows {
		skus[r.ID] = r.Sku
	}
	return skus, nil
}

// inputOf is what makes a product what it is. What a bundle is made of is named
// by skus, as far as they are there.
func inputOf(p openapi.Product, costs map[string]string, skus map[uuid.UUID]string) openapi.ProductInput {
	in := openapi.ProductInput{
		Title: p.Title, Slug: &p.Slug, Description: &p.Description, Type: p.Type, Status: &p.Status, TaxCategory: &p.TaxCategory,
		Options: &p.Options, Images: &p.Images, Attributes: &p.Attributes, Tags: &p.Tags, CategoryIds: &p.CategoryIds, Seo: &p.Seo,
	}
	for _, part := range p.Bundle {
		item := openapi.BundleItemInput{Quantity: part.Quantity}
		if sku, there := skus[part.VariantId]; there {
			item.Sku = &sku
		} else {
			item.VariantId = &part.VariantId
		}
		in.Bundle = appended(in.Bundle, item)
	}
	for _, v := range p.Variants {
		out := openapi.VariantInput{Sku: v.Sku, Options: &v.Options, WeightGrams: &v.WeightGrams, TrackStock: &v.TrackStock, StockPolicy: &v.StockPolicy}
		for _, price := range v.Prices {
			one := openapi.PriceInput{Amount: price.Amount, Currency: price.Currency, CompareAt: price.CompareAt}
			if cost, ok := costs[v.Id.String()+price.Currency]; ok {
				one.Cost = &cost
			}
			out.Prices = append(out.Prices, one)
		}
		in.Variants = append(in.Variants, out)
	}
	return in
}

// The columns of a CSV. What is of the product stands in its first row; the
// others are of variants. Several of something stand on lines of one cell.
var (
	productColumns = []string{"slug", "title", "description", "type", "status", "taxCategory", "tags", "categoryIds", "images", "attributes", "bundle", "seoTitle", "seoDescription"}
	optionColumns  = func() (all []string) {
		for i := range maxOptions {
			all = append(all, optionName(i), optionValue(i))
		}
		return all
	}()
	variantColumns = []string{"sku", "weightGrams", "trackStock", "stockPolicy"}
	// priceColumns are followed by a currency, as in "price EUR".
	priceColumns = []string{"price ", "compareAt ", "cost "}
)

func optionName(i int) string  { return fmt.Sprintf("option%dName", i+1) }
func optionValue(i int) string { return fmt.Sprintf("option%dValue", i+1) }

func isColumn(name string) bool {
	for _, all := range [][]string{productColumns, optionColumns, variantColumns} {
		if slices.Contains(all, name) {
			return true
		}
	}
	for _, prefix := range priceColumns {
		if currency, ok := strings.CutPrefix(name, prefix); ok {
			_, err := money.Exponent(currency)
			return err == nil
		}
	}
	return false
}

// columns are those of all products, in the currencies that they have now.
func (k *Catalog) columns(ctx context.Context) ([]string, error) {
	currencies, err := catalogdb.New(k.pool).Currencies(ctx)
	if err != nil {
		return nil, fmt.Errorf("reading currencies: %w", err)
	}
	all := slices.Concat(productColumns, variantColumns, optionColumns)
	for _, currency := range currencies {
		for _, prefix := range priceColumns {
			all = append(all, prefix+currency)
		}
	}
	return all, nil
}

// readSheet makes a product of its rows.
func readSheet(_ context.Context, rows []transfer.Row) (openapi.ProductInput, error) {
	var f problem.Findings
	first := rows[0]
	in := openapi.ProductInput{Title: first.Get("title"), Type: openapi.ProductType(first.Get("type"))}
	in.Slug = optional.Of(first.Get("slug"))
	in.Description = optional.Of(first.Get("description"))
	in.Status = optional.Of(openapi.ProductStatus(first.Get("status")))
	in.TaxCategory = optional.Of(first.Get("taxCategory"))
	if tags := lines(first.Get("tags")); tags != nil {
		in.Tags = &tags
	}
	for i, id := range lines(first.Get("categoryIds")) {
		parsed, err := uuid.Parse(id)
		f.Require(err == nil, fmt.Sprintf("/categoryIds/%d", i), "is no id")
		in.CategoryIds = appended(in.CategoryIds, parsed)
	}
	for _, line := range lines(first.Get("images")) {
		address, alt, _ := strings.Cut(line, " ")
		in.Images = appended(in.Images, openapi.Image{Url: address, Alt: optional.Of(alt)})
	}
	for i, line := range lines(first.Get("attributes")) {
		name, value, ok := strings.Cut(line, ": ")
		f.Require(ok, fmt.Sprintf("/attributes/%d", i), `must be a line such as "Material: cotton"`)
		in.Attributes = appended(in.Attributes, openapi.Attribute{Name: name, Value: value})
	}
	for i, line := range lines(first.Get("bundle")) {
		sku, text, _ := strings.Cut(line, ": ")
		quantity, err := strconv.ParseInt(strings.TrimSpace(text), 10, 64)
		f.Require(err == nil, fmt.Sprintf("/bundle/%d", i), `must be a line such as "MUG: 2", the SKU and how many of it`)
		in.Bundle = appended(in.Bundle, openapi.BundleItemInput{Sku: &sku, Quantity: quantity})
	}
	if title, description := first.Get("seoTitle"), first.Get("seoDescription"); title+description != "" {
		in.Seo = &openapi.Seo{Title: optional.Of(title), Description: optional.Of(description)}
	}
	for i := range maxOptions {
		if name := first.Get(optionName(i)); name != "" {
			in.Options = appended(in.Options, name)
		}
	}
	for i, row := range rows {
		in.Variants = append(in.Variants, readVariant(&f, fmt.Sprintf("/variants/%d", i), row, optional.Value(in.Options)))
	}
	return in, f.Err()
}

func readVariant(f *problem.Findings, at string, row transfer.Row, options []string) openapi.VariantInput {
	v := openapi.VariantInput{Sku: row.Get("sku"), Prices: []openapi.PriceInput{}}
	v.StockPolicy = optional.Of(openapi.StockPolicy(row.Get("stockPolicy")))
	if text := row.Get("weightGrams"); text != "" {
		grams, err := strconv.ParseInt(text, 10, 64)
		f.Require(err == nil, at+"/weightGrams", "must be a whole number of grams")
		v.WeightGrams = &grams
	}
	if text := row.Get("trackStock"); text != "" {
		track, err := strconv.ParseBool(strings.ToLower(text))
		f.Require(err == nil, at+"/trackStock", "must be true or false")
		v.TrackStock = &track
	}
	for i, name := range options {
		if v.Options == nil {
			v.Options = &map[string]string{}
		}
		if value := row.Get(optionValue(i)); value != "" {
			(*v.Options)[name] = value
		}
	}
	for _, column := range row.Columns() {
		for _, more := range priceColumns[1:] {
			currency, ok := strings.CutPrefix(column, more)
			f.Require(!ok || row.Get(column) == "" || row.Get("price "+currency) != "", at+"/prices", "has a %s and no price %s", column, currency)
		}
		currency, ok := strings.CutPrefix(column, "price ")
		if !ok || row.Get(column) == "" {
			continue
		}
		v.Prices = append(v.Prices, openapi.PriceInput{
			Currency: currency, Amount: row.Get(column), CompareAt: optional.Of(row.Get("compareAt " + currency)), Cost: optional.Of(row.Get("cost " + currency)),
		})
	}
	return v
}

func appended[T any](list *[]T, one T) *[]T {
	all := append(optional.Value(list), one)
	return &all
}

// lines are those of a cell that are not empty.
func lines(cell string) (all []string) {
	for line := range strings.Lines(cell) {
		if line = strings.TrimSpace(line); line != "" {
			all = append(all, line)
		}
	}
	return all
}

// joined is a cell with a line for each of several.
func joined(all []string) string {
	one := make([]string, len(all))
	for i, s := range all {
		one[i] = strings.NewReplacer("\r\n", " ", "\n", " ", "\r", " ").Replace(s)
	}
	return strings.Join(one, "\n")
}

// sheetOf are a product's rows.
func sheetOf(p openapi.ProductInput) []map[string]string {
	rows := make([]map[string]string, len(p.Variants))
	options := optional.Value(p.Options)
	for i, v := range p.Variants {
		row := map[string]string{
			"slug": optional.Value(p.Slug), "sku": transfer.Defused(v.Sku), "weightGrams": strconv.FormatInt(optional.Value(v.WeightGrams), 10),
			"trackStock": strconv.FormatBool(optional.Value(v.TrackStock)), "stockPolicy": string(optional.Value(v.StockPolicy)),
		}
		for j, name := range options {
			row[optionValue(j)] = transfer.Defused(optional.Value(v.Options)[name])
		}
		for _, price := range v.Prices {
			row["price "+price.Currency] = price.Amount
			row["compareAt "+price.Currency] = optional.Value(price.CompareAt)
			row["cost "+price.Currency] = optional.Value(price.Cost)
		}
		rows[i] = row
	}
	first := rows[0]
	for column, text := range map[string]string{
		"title": p.Title, "description": optional.Value(p.Description), "tags": joined(optional.Value(p.Tags)),
		"seoTitle": optional.Value(optional.Value(p.Seo).Title), "seoDescription": optional.Value(optional.Value(p.Seo).Description),
	} {
		first[column] = transfer.Defused(text)
	}
	first["type"], first["status"], first["taxCategory"] = string(p.Type), string(optional.Value(p.Status)), optional.Value(p.TaxCategory)
	for j, name := range options {
		first[optionName(j)] = transfer.Defused(name)
	}
	var categories, images, attributes, parts []string
	for _, id := range optional.Value(p.CategoryIds) {
		categories = append(categories, id.String())
	}
	for _, image := range optional.Value(p.Images) {
		images = append(images, strings.TrimSpace(image.Url+" "+optional.Value(image.Alt)))
	}
	for _, a := range optional.Value(p.Attributes) {
		attributes = append(attributes, a.Name+": "+a.Value)
	}
	for _, item := range optional.Value(p.Bundle) {
		parts = append(parts, fmt.Sprintf("%s: %d", optional.Value(item.Sku), item.Quantity))
	}
	first["categoryIds"], first["images"] = joined(categories), joined(images)
	first["attributes"], first["bundle"] = transfer.Defused(joined(attributes)), transfer.Defused(joined(parts))
	return rows
}
