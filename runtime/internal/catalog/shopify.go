package catalog

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/mozillazg/go-unidecode"

	"gitee.com/captainjez/gocart/runtime/internal/money"
	"gitee.com/captainjez/gocart/runtime/internal/optional"
	"gitee.com/captainjez/gocart/runtime/internal/problem"
	"gitee.com/captainjez/gocart/runtime/internal/transfer"
	"gitee.com/captainjez/gocart/runtime/openapi"
)

// readShopify makes a product of the rows that have its handle: the first says
// what it is, those with a price are its variants, and any may have an image.
// Prices are in the store's currency, as the file does not say which.
func (k *Catalog) readShopify(ctx context.Context, rows []transfer.Row) (openapi.ProductInput, error) {
	var f problem.Findings
	currency, err := k.currency(ctx)
	if err != nil {
		return openapi.ProductInput{}, err
	}
	first := rows[0]
	slug := shopifySlug(first.Get("Handle"))
	f.Require(slug != "", "Handle", "%.100q has no letter and no digit of which a slug could be made", first.Get("Handle"))
	f.Require(!strings.EqualFold(first.Get("Gift Card"), "true"), "Gift Card",
		"is true: a store has no gift cards, and sold as a product it would be worth nothing")
	in := openapi.ProductInput{Title: first.Get("Title"), Slug: &slug, Type: openapi.ProductTypeSimple, Status: new(openapi.ProductStatusActive)}
	if s := openapi.ProductStatus(strings.ToLower(first.Get("Status"))); s.Valid() {
		in.Status = &s
	}
	if strings.EqualFold(first.Get("Published"), "false") && *in.Status == openapi.ProductStatusActive {
		in.Status = new(openapi.ProductStatusDraft)
	}
	in.Description = optional.Of(first.Get("Body (HTML)"))
	for tag := range strings.SplitSeq(first.Get("Tags"), ",") {
		if tag = strings.TrimSpace(tag); tag != "" && !slices.ContainsFunc(optional.Value(in.Tags), func(t string) bool { return strings.EqualFold(t, tag) }) {
			in.Tags = appended(in.Tags, tag)
		}
	}
	for _, column := range []string{"Vendor", "Type"} {
		if value := strings.TrimSpace(first.Get(column)); value != "" {
			in.Attributes = appended(in.Attributes, openapi.Attribute{Name: column, Value: value})
		}
	}
	if title, description := first.Get("SEO Title"), first.Get("SEO Description"); title+description != "" {
		in.Seo = &openapi.Seo{Title: optional.Of(title), Description: optional.Of(description)}
	}
	for i := range 3 {
		if name := first.Get(fmt.Sprintf("Option%d Name", i+1)); name != "" && !hasNoOptions(first) {
			in.Options = appended(in.Options, name)
		}
	}
	if in.Options != nil {
		in.Type = openapi.ProductTypeVariable
	} else if strings.EqualFold(first.Get("Variant Requires Shipping"), "false") {
		in.Type = openapi.ProductTypeDigital
	}
	for _, row := range rows {
		if src := row.Get("Image Src"); src != "" && len(optional.Value(in.Images)) < maxImages {
			in.Images = appended(in.Images, openapi.Image{Url: src, Alt: optional.Of(row.Get("Image Alt Text"))})
		}
	}
	for _, row := range rows { // a variant has no picture of its own
		src := row.Get("Variant Image")
		if all := optional.Value(in.Images); src != "" && len(all) < maxImages && !slices.ContainsFunc(all, func(i openapi.Image) bool { return i.Url == src }) {
			in.Images = appended(in.Images, openapi.Image{Url: src})
		}
	}
	for i, row := range shopifyVariants(rows) {
		at := fmt.Sprintf("/variants/%d", i)
		f.Require(row.Get("Variant Price") != "", "Variant Price", "is empty for variant %d of the product", i+1)
		if sku := shopifySKU(row, i); slug != "" {
			f.Require(skuPattern.MatchString(sku), "Variant SKU",
				"%.100q is none: it must be 1 to 64 of A-Z, a-z, 0-9 and . _ / -, the first a letter or digit, and so without blanks", sku)
		}
		v := openapi.VariantInput{Sku: shopifySKU(row, i), Prices: []openapi.PriceInput{{
			Currency: currency, Amount: row.Get("Variant Price"), Cost: optional.Of(row.Get("Cost per item")),
		}}}
		if before := row.Get("Variant Compare At Price"); before != "" && !isNotAbove(before, row.Get("Variant Price"), currency) {
			v.Prices[0].CompareAt = &before
		}
		if in.Type != openapi.ProductTypeDigital {
			v.TrackStock = new(row.Get("Variant Inventory Tracker") != "")
		}
		if strings.EqualFold(row.Get("Variant Inventory Policy"), "continue") {
			v.StockPolicy = new(openapi.StockPolicyContinue)
		}
		if text := row.Get("Variant Grams"); text != "" {
			grams, err := strconv.ParseFloat(text, 64)
			f.Require(err == nil && grams >= 0 && grams <= maxWeight, at+"/weightGrams", "must be a number of grams")
			v.WeightGrams = new(int64(grams + 0.5))
		}
		for j, name := range optional.Value(in.Options) {
			if v.Options == nil {
				v.Options = &map[string]string{}
			}
			(*v.Options)[name] = row.Get(fmt.Sprintf("Option%d Value", j+1))
		}
		in.Variants = append(in.Variants, v)
	}
	return in, f.Err()
}

// hasNoOptions reports whether a product's only option is the one that Shopify
// gives those that have none.
func hasNoOptions(first transfer.Row) bool {
	return first.Get("Option1 Name") == "Title" && first.Get("Option1 Value") == "Default Title"
}

// shopifyVariants are the rows that describe variants; the others have images alone.
func shopifyVariants(rows []transfer.Row) (variants []transfer.Row) {
	for i, r := range rows {
		if i == 0 || r.Get("Variant Price")+r.Get("Variant SKU")+r.Get("Option1 Value") != "" {
			variants = append(variants, r)
		}
	}
	return variants
}

// shopifySlug is a handle as a slug, with letters of any script written as those
// from a to z. Handles that are told apart only by what a slug does not have get
// the same; of those a file has, the first alone comes in.
func shopifySlug(handle string) string {
	slug := strings.Join(strings.FieldsFunc(strings.ToLower(unidecode.Unidecode(handle)), isNotOfSlug), "-")
	return strings.TrimRight(slug[:min(len(slug), maxSlug)], "-")
}

// shopifySKU is a variant's, or made of the product's handle where it has none.
func shopifySKU(r transfer.Row, i int) string {
	if sku := strings.TrimSpace(r.Get("Variant SKU")); sku != "" {
		return sku
	}
	end := fmt.Sprintf("-%d", i+1)
	slug := shopifySlug(r.Get("Handle"))
	return slug[:min(len(slug), 64-len(end))] + end
}

// isNotAbove reports whether an amount is not above another. What is none is
// not said to be: it is refused with the product.
func isNotAbove(a, b, currency string) bool {
	x, errX := money.Parse(a, currency)
	y, errY := money.Parse(b, currency)
	return errX == nil && errY == nil && x.Minor <= y.Minor
}
