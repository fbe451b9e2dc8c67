package catalog

import (
	"fmt"
	"math"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/google/uuid"

	"gitee.com/captainjez/gocart/runtime/internal/money"
	"gitee.com/captainjez/gocart/runtime/internal/optional"
	"gitee.com/captainjez/gocart/runtime/internal/problem"
	"gitee.com/captainjez/gocart/runtime/internal/rest"
	"gitee.com/captainjez/gocart/runtime/openapi"
)

const (
	maxQuery    = 200
	maxIncludes = 4
)

// Labels are what products are filtered and counted by; each begins with its
// kind. A tag's is in lower case.
const (
	typeLabel       = "type:"
	tagLabel        = "tag:"
	attributeLabel  = "attribute:"
	categoryLabel   = "category:"
	collectionLabel = "collection:"
)

// shopper is what anybody may see; everything is what staff may.
var (
	shopper    = []string{string(openapi.ProductStatusActive)}
	everything = []string{string(openapi.ProductStatusDraft), string(openapi.ProductStatusActive), string(openapi.ProductStatusArchived)}
)

// byRank is the order of a search that asks for no other.
const byRank openapi.ProductSort = "rank"

// listing is one page that a caller asks for.
type listing struct {
	statuses []string
	labels   []string
	// search is set where words were asked for, which may come to no query.
	search bool
	query  string
	sort   openapi.ProductSort
	// currency is empty where prices do not matter; least and most are in its
	// minor units.
	currency    string
	least, most int64
	inStock     bool
	limit       int
	after       place
	includes
}

// place is that of the last product of a page: its id, and what the list is
// sorted by.
type place struct {
	Key string
	ID  uuid.UUID
}

// includes are what a caller wants to be added.
type includes struct {
	stock, tax, facets bool
	country            string
}

// newListing reads a caller's wish. What is wrong with it comes back as
// *problem.Problem. What asks for prices names a currency.
func newListing(params openapi.ListProductsParams, staff bool) (listing, error) {
	var v findings
	l := listing{statuses: shopper, labels: []string{}, sort: openapi.ProductSortNewest, most: math.MaxInt64, inStock: optional.Value(params.InStock)}
	if staff {
		l.statuses = everything
	}
	if params.Q != nil {
		q := strings.TrimSpace(*params.Q)
		v.Text("q", q, 1, maxQuery)
		l.search, l.query, l.sort = true, tsquery(q), byRank
	}
	if params.Sort != nil {
		l.sort = *params.Sort
		v.Require(l.sort.Valid(), "sort", "must be newest, oldest, price, -price, title or -title")
	}
	v.labels(params, &l)
	v.priced(params, &l)
	l.includes = v.includes(params.Include, params.Country)
	if params.Status != nil {
		v.Require(params.Status.Valid(), "status", "must be draft, active or archived")
		if !staff && params.Status.Valid() && *params.Status != openapi.ProductStatusActive {
			return l, problem.New(http.StatusForbidden, "forbidden", "Only staff see products that are not active.")
		}
		l.statuses = []string{string(*params.Status)}
	}
	if err := v.Err(); err != nil {
		return l, err
	}
	var err error
	if l.limit, err = rest.Limit(params.Limit); err != nil {
		return l, err
	}
	l.after = first(l.sort)
	if err := rest.Place(params.Cursor, l.name(), &l.after); err != nil {
		return l, err
	}
	return l, l.checkKey()
}

// labels are what a product must have.
func (v *findings) labels(params openapi.ListProductsParams, l *listing) {
	add := func(pointer, kind string, value *string, most int) {
		if value != nil {
			v.Text(pointer, *value, 1, most)
			l.labels = append(l.labels, kind+*value)
		}
	}
	if params.Type != nil {
		v.Require(params.Type.Valid(), "type", "must be simple, variable, digital or bundle")
		l.labels = append(l.labels, typeLabel+string(*params.Type))
	}
	if params.Tag != nil {
		v.Require(utf8.ValidString(*params.Tag), "tag", "must be UTF-8") // what is in lower case always is
		add("tag", tagLabel, new(strings.ToLower(strings.TrimSpace(*params.Tag))), maxTag)
	}
	if params.Attribute != nil {
		v.Require(strings.Contains(*params.Attribute, ":"), "attribute", "must be name:value")
	}
	add("attribute", attributeLabel, params.Attribute, 200)
	add("category", categoryLabel, params.Category, maxSlug)
	add("collection", collectionLabel, params.Collection, maxSlug)
}

// priced reads the bounds of prices. A product without a price in the currency
// is in no list that asks for prices.
func (v *findings) priced(params openapi.ListProductsParams, l *listing) {
	currency := optional.Value(params.Currency)
	if _, err := money.Exponent(currency); err != nil {
		v.Require(params.Currency == nil, "currency", "%v", err)
		return
	}
	if params.MinPrice != nil {
		l.least = v.Amount("minPrice", *params.MinPrice, currency)
	}
	if params.MaxPrice != nil {
		l.most = v.Amount("maxPrice", *params.MaxPrice, currency)
	}
	if asksForPrices(params) {
		l.currency = currency
	}
}

// asksForPrices reports whether prices decide what is listed, or where.
func asksForPrices(params openapi.ListProductsParams) bool {
	sort := optional.Value(params.Sort)
	return params.MinPrice != nil || params.MaxPrice != nil || sort == openapi.ProductSortPrice || sort == openapi.ProductSortMinusPrice
}

func (v *findings) includes(wanted *[]openapi.ProductInclude, country *string) includes {
	in := includes{country: optional.Value(country)}
	v.Require(len(optional.Value(wanted)) <= maxIncludes, "include", "has %d at most", maxIncludes)
	for _, what := range optional.Value(wanted) {
		v.Require(what.Valid(), "include", "must be of stock, tax and facets")
		in.stock = in.stock || what == openapi.ProductIncludeStock
		in.tax = in.tax || what == openapi.ProductIncludeTax
		in.facets = in.facets || what == openapi.ProductIncludeFacets
	}
	if in.tax || country != nil {
		letters := strings.Trim(in.country, "ABCDEFGHIJKLMNOPQRSTUVWXYZ") == ""
		v.Require(letters && len(in.country) == 2, "country", "must be an ISO 3166-1 code such as DE, and is needed for tax")
	}
	return in
}

// first is before every product of a list.
func first(sort openapi.ProductSort) place {
	switch sort {
	case openapi.ProductSortOldest, openapi.ProductSortTitle:
		return place{}
	case openapi.ProductSortMinusTitle:
		return place{Key: strings.Repeat("\U0010FFFF", keyLength+1), ID: uuid.Max}
	case openapi.ProductSortPrice:
		return place{Key: "-1"}
	case openapi.ProductSortMinusPrice:
		return place{Key: strconv.FormatInt(math.MaxInt64, 10), ID: uuid.Max}
	case byRank:
		return place{Key: "10", ID: uuid.Max} // ranks are below 1
	}
	return place{ID: uuid.Max}
}

// checkKey wants the place to be one that this list could have named.
func (l listing) checkKey() error {
	var err error
	switch l.sort {
	case openapi.ProductSortPrice, openapi.ProductSortMinusPrice:
		_, err = strconv.ParseInt(l.after.Key, 10, 64)
	case byRank:
		_, err = strconv.ParseFloat(l.after.Key, 64)
	}
	if err != nil || strings.ContainsRune(l.after.Key, 0) {
		return problem.Invalid(problem.Field{Pointer: "cursor", Detail: "is not a nextCursor of this list"})
	}
	return nil
}

func (l listing) price() int64 {
	n, _ := strconv.ParseInt(l.after.Key, 10, 64) // checkKey saw it
	return n
}

func (l listing) rank() float64 {
	f, _ := strconv.ParseFloat(l.after.Key, 64) // checkKey saw it
	return f
}

// plain reports whether nothing but the newest products of one status are
// asked for.
func (l listing) plain() bool {
	return len(l.statuses) == 1 && len(l.labels) == 0 && !l.search && l.currency == "" && l.sort == openapi.ProductSortNewest
}

// name tells lists with different contents or orders apart.
func (l listing) name() string {
	if l.plain() && !l.inStock {
		return "products newest " + l.statuses[0]
	}
	return fmt.Sprintf("products %s %q %q %t %q %s %d %d %t", l.sort, l.statuses, l.labels, l.search, l.query, l.currency, l.least, l.most, l.inStock)
}

// cacheKey holds everything that changes the answer.
func (l listing) cacheKey() string {
	return fmt.Sprintf("%s|%d %q %s %t %t %t %s", l.name(), l.limit, l.after.Key, l.after.ID, l.stock, l.tax, l.facets, l.country)
}

// facetOf reads a label as the name and value of a facet. Of a category, which
// has two labels, the slug's is one.
func facetOf(label string) (name, value string, ok bool) {
	kind, rest, _ := strings.Cut(label, ":")
	switch kind + ":" {
	case attributeLabel:
		attribute, value, _ := strings.Cut(rest, ":")
		return attributeLabel + attribute, value, true
	case categoryLabel:
		return kind, rest, !isID(rest)
	}
	return kind, rest, slices.Contains([]string{typeLabel, tagLabel}, kind+":")
}
