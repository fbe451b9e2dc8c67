package catalog

import (
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/google/uuid"

	"gitee.com/captainjez/gocart/runtime/internal/money"
	"gitee.com/captainjez/gocart/runtime/internal/optional"
	"gitee.com/captainjez/gocart/runtime/internal/problem"
	"gitee.com/captainjez/gocart/runtime/openapi"
)

// Bounds, in characters and in items.
const (
	maxTitle       = 200
	maxSlug        = 100
	maxDescription = 20_000
	maxOptions     = 5
	maxOption      = 40
	maxVariants    = 100
	maxPrices      = 20
	maxWeight      = 100_000_000 // g
	maxImages      = 50
	maxURL         = 2000
	maxAlt         = 300
	maxAttributes  = 50
	maxAttribute   = 100
	maxTags        = 50
	maxTag         = 40
	maxCategories  = 20
	maxComponents  = 20
	maxSKU         = 64
	maxQuantity    = 1000
	maxName        = 100
	maxText        = 5000
	maxPosition    = 1_000_000
	maxMembers     = 1000
)

var (
	slugPattern = regexp.MustCompile(`^[a-z0-9]+(-[a-z0-9]+)*$`)
	skuPattern  = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._/-]{0,63}$`)
)

// draft is a product that is not stored yet, with what the public does not see.
type draft struct {
	openapi.Product
	// prices are those of Product.Variants, in the same order.
	prices [][]price
}

// price is in minor units; compareAt and cost are -1 where there is none.
type price struct {
	currency                string
	amount, compareAt, cost int64
}

type findings struct{ problem.Findings }

// newDraft makes a product of what a caller sent, or says in one
// *problem.Problem everything that is wrong with it. An input without a slug
// gets slug, or, where that is empty, one of its title.
func newDraft(in openapi.ProductInput, id uuid.UUID, slug string) (draft, error) {
	var v findings
	p := openapi.Product{
		Id: id, Version: 1, Title: strings.TrimSpace(in.Title), Type: in.Type,
		Description: optional.Value(in.Description), Status: openapi.ProductStatusDraft, TaxCategory: "standard",
		Options: list(in.Options), Images: list(in.Images), Attributes: list(in.Attributes),
		Tags: list(in.Tags), CategoryIds: list(in.CategoryIds), Seo: optional.Value(in.Seo),
	}
	if in.Status != nil {
		p.Status = *in.Status
	}
	if in.TaxCategory != nil {
		p.TaxCategory = *in.TaxCategory
	}
	v.Text("/title", p.Title, 1, maxTitle)
	v.Text("/description", p.Description, 0, maxDescription)
	v.Require(p.Status.Valid(), "/status", "must be draft, active or archived")
	v.Require(p.Type.Valid(), "/type", "must be simple, variable, digital or bundle")
	v.Require(len(p.TaxCategory) <= 40 && slugPattern.MatchString(p.TaxCategory), "/taxCategory",
		"must be words of a-z and 0-9 joined by single hyphens, 40 characters at most")
	p.Slug = v.slug(in.Slug, slug, "product", p.Title, id)
	v.options(p)
	p.Bundle = v.bundle(p.Type, optional.Value(in.Bundle))
	v.images(p.Images)
	v.attributes(p.Attributes)
	v.tags(p.Tags)
	v.ids("/categoryIds", p.CategoryIds, maxCategories)
	v.seo(p.Seo)
	d := draft{Product: p}
	v.variants(in.Variants, &d)
	return d, v.Err()
}

// list is never nil, so that JSON has [] and not null.
func list[T any](in *[]T) []T { return append([]T{}, optional.Value(in)...) }

// slug is what the caller wants, or the present one, or one made of the title.
func (v *findings) slug(wanted *string, present, kind, title string, id uuid.UUID) string {
	if wanted == nil && present != "" {
		return present
	}
	if wanted == nil {
		return slugOf(kind, title, id)
	}
	v.Require(len(*wanted) <= maxSlug && slugPattern.MatchString(*wanted), "/slug",
		"must be words of a-z and 0-9 joined by single hyphens, %d characters at most", maxSlug)
	v.Require(!isID(*wanted), "/slug", "must not look like an id")
	return *wanted
}

func (v *findings) seo(seo openapi.Seo) {
	v.Text("/seo/title", optional.Value(seo.Title), 0, 200)
	v.Text("/seo/description", optional.Value(seo.Description), 0, 500)
}

func (v *findings) ids(pointer string, ids []uuid.UUID, most int) {
	v.Require(len(ids) <= most, pointer, "has %d at most", most)
	seen := map[uuid.UUID]bool{}
	for i, id := range ids {
		v.Require(!seen[id], fmt.Sprintf("%s/%d", pointer, i), "is there twice")
		seen[id] = true
	}
}

func (v *findings) options(p openapi.Product) {
	if p.Type == openapi.ProductTypeVariable {
		v.Require(len(p.Options) >= 1 && len(p.Options) <= maxOptions, "/options", "a variable product has 1 to %d options", maxOptions)
	} else {
		v.Require(len(p.Options) == 0, "/options", "only a variable product has options")
	}
	for i, name := range p.Options[:min(len(p.Options), maxOptions)] {
		pointer := fmt.Sprintf("/options/%d", i)
		v.Text(pointer, name, 1, maxOption)
		v.Require(!slices.Contains(p.Options[:i], name), pointer, "is there twice")
	}
}

func (v *findings) images(images []openapi.Image) {
	v.Require(len(images) <= maxImages, "/images", "has %d at most", maxImages)
	for i, image := range images {
		at := fmt.Sprintf("/images/%d", i)
		v.Text(at+"/url", image.Url, 1, maxURL)
		v.Text(at+"/alt", optional.Value(image.Alt), 0, maxAlt)
		v.Require(isImageURL(image.Url), at+"/url", "must be an https URL or a path that begins with one /")
	}
}

// isImageURL takes what a browser reads as an https URL or as a path of this
// store and nothing else: it takes a backslash for a slash.
func isImageURL(s string) bool {
	u, err := url.Parse(s)
	if err != nil || strings.ContainsAny(s, "\\ \t\r\n") {
		return false
	}
	if u.Scheme == "https" {
		return u.Host != "" && u.User == nil
	}
	return strings.HasPrefix(s, "/") && !strings.HasPrefix(s, "//")
}

// attributes trims names and values.
func (v *findings) attributes(attributes []openapi.Attribute) {
	v.Require(len(attributes) <= maxAttributes, "/attributes", "has %d at most", maxAttributes)
	seen := map[string]bool{}
	for i := range attributes {
		a, at := &attributes[i], fmt.Sprintf("/attributes/%d", i)
		a.Name, a.Value = strings.TrimSpace(a.Name), strings.TrimSpace(a.Value)
		v.Line(at+"/name", a.Name, 1, maxOption)
		v.Line(at+"/value", a.Value, 1, maxAttribute)
		v.Require(!strings.Contains(a.Name, ":"), at+"/name", "must not hold a colon")
		v.Require(!seen[a.Name], at+"/name", "is there twice")
		seen[a.Name] = true
	}
}

// tags trims the tags.
func (v *findings) tags(tags []string) {
	v.Require(len(tags) <= maxTags, "/tags", "has %d at most", maxTags)
	seen := map[string]bool{}
	for i := range tags {
		at := fmt.Sprintf("/tags/%d", i)
		tags[i] = strings.TrimSpace(tags[i])
		v.Line(at, tags[i], 1, maxTag)
		v.Require(!seen[strings.ToLower(tags[i])], at, "is there twice")
		seen[strings.ToLower(tags[i])] = true
	}
}

func (v *findings) variants(in []openapi.VariantInput, p *draft) {
	v.Require(len(in) >= 1 && len(in) <= maxVariants, "/variants", "a product has 1 to %d variants", maxVariants)
	v.Require(p.Type == openapi.ProductTypeVariable || len(in) <= 1, "/variants", "only a variable product has more than one variant")
	if len(in) > maxVariants {
		return
	}
	skus, choices := map[string]bool{}, map[string]bool{}
	for i, variant := range in {
		at := fmt.Sprintf("/variants/%d", i)
		v.Require(skuPattern.MatchString(variant.Sku), at+"/sku",
			"must be 1 to 64 of A-Z, a-z, 0-9 and . _ / -, the first a letter or digit")
		v.Require(!skus[variant.Sku], at+"/sku", "is there twice")
		skus[variant.Sku] = true

		prices := v.prices(at+"/prices", variant.Prices)
		if i > 0 {
			v.Require(sameCurrencies(prices, p.prices[0]), at+"/prices", "must be in the currencies of the first variant")
		}
		p.prices = append(p.prices, prices)

		options := optional.Value(variant.Options)
		choice := v.choice(at, p.Options, options)
		v.Require(!choices[choice], at+"/options", "another variant has the same options")
		choices[choice] = true
		if options == nil {
			options = map[string]string{}
		}

		counted := p.Type == openapi.ProductTypeSimple || p.Type == openapi.ProductTypeVariable
		track := counted
		if variant.TrackStock != nil {
			track = *variant.TrackStock
		}
		v.Require(counted || !track, at+"/trackStock", "a %s product has no stock of its own", p.Type)
		policy := openapi.StockPolicyDeny
		if variant.StockPolicy != nil {
			policy = *variant.StockPolicy
		}
		v.Require(policy.Valid(), at+"/stockPolicy", "must be deny or continue")
		v.Range(at+"/weightGrams", optional.Value(variant.WeightGrams), 0, maxWeight)
		p.Variants = append(p.Variants, openapi.Variant{
			Id: uuid.Must(uuid.NewV7()), Sku: variant.Sku, Prices: shown(prices), Options: options,
			WeightGrams: optional.Value(variant.WeightGrams), TrackStock: track, StockPolicy: policy,
		})
	}
}

func (v *findings) prices(at string, in []openapi.PriceInput) []price {
	v.Require(len(in) >= 1 && len(in) <= maxPrices, at, "a variant has 1 to %d prices", maxPrices)
	var out []price
	for i, p := range in[:min(len(in), maxPrices)] {
		at := fmt.Sprintf("%s/%d", at, i)
		if _, err := money.Exponent(p.Currency); err != nil {
			v.Require(false, at+"/currency", "%v", err)
			continue
		}
		v.Require(!slices.ContainsFunc(out, func(o price) bool { return o.currency == p.Currency }), at+"/currency", "is there twice")
		stored := price{currency: p.Currency, amount: v.Amount(at+"/amount", p.Amount, p.Currency), compareAt: -1, cost: -1}
		if p.CompareAt != nil {
			stored.compareAt = v.Amount(at+"/compareAt", *p.CompareAt, p.Currency)
			v.Require(stored.compareAt > stored.amount, at+"/compareAt", "must be above amount")
		}
		if p.Cost != nil {
			stored.cost = v.Amount(at+"/cost", *p.Cost, p.Currency)
		}
		out = append(out, stored)
	}
	return out
}

func sameCurrencies(a, b []price) bool {
	currencies := func(prices []price) []string {
		var all []string
		for _, p := range prices {
			all = append(all, p.currency)
		}
		slices.Sort(all)
		return all
	}
	return slices.Equal(currencies(a), currencies(b))
}

// shown is what everybody sees of prices.
func shown(prices []price) []openapi.Price {
	out := make([]openapi.Price, len(prices))
	for i, p := range prices {
		out[i] = openapi.Price{Amount: money.Amount{Minor: p.amount, Currency: p.currency}.Decimal(), Currency: p.currency}
		if p.compareAt >= 0 {
			out[i].CompareAt = new(money.Amount{Minor: p.compareAt, Currency: p.currency}.Decimal())
		}
	}
	return out
}

// choice checks that a variant has a value for each option and no other, and
// returns the values as one word.
func (v *findings) choice(at string, names []string, options map[string]string) string {
	choice := ""
	for _, name := range names[:min(len(names), maxOptions)] {
		value, ok := options[name]
		v.Require(ok, at+"/options", "has no value for %q", name)
		if ok {
			v.Text(at+"/options/"+name, value, 1, maxOption)
		}
		choice += fmt.Sprintf("%q ", value)
	}
	for name := range options {
		v.Require(slices.Contains(names, name), at+"/options", "%.100q is not one of the product's options", name)
	}
	return choice
}
