package catalog

import (
	"strings"

	"gitee.com/captainjez/gocart/runtime/internal/cache"
	"gitee.com/captainjez/gocart/runtime/openapi"
)

// The kinds of answers that are kept; those of lists are their tags as well.
const (
	productKind    = "product"
	productList    = "products"
	categoryKind   = "category"
	categoryList   = "categories"
	collectionKind = "collection"
	collectionList = "collections"
	// taxTag is that of lists that tell of tax.
	taxTag = "tax"
)

// A product is tagged with each of its names, so that also the answer that
// nothing has a name is tagged with it. Of categories and collections there are
// few, and one changes others: they have one tag for all.
var (
	// categoryTags are of what a write to a category changes, collectionTags of
	// what one to a collection does: also which products a list has.
	categoryTags   = []string{categoryList, productList}
	collectionTags = []string{collectionList, productList}
)

// productTags are of what a write to a product changes, which was called
// otherwise before by those names.
func productTags(p openapi.Product, before ...string) []string {
	tags := []string{productList, productTag(p.Id.String()), productTag(p.Slug)}
	for _, name := range before {
		if name != p.Slug {
			tags = append(tags, productTag(name))
		}
	}
	return tags
}

func productTag(name string) string { return productKind + ":" + name }

// namedKey is of the answer to who asks for an id or a slug.
func namedKey(kind, idOrSlug string) cache.Key {
	name := idOrSlug
	if isID(idOrSlug) {
		name = strings.ToLower(idOrSlug) // as it is stored
	}
	switch kind {
	case categoryKind:
		return cache.NewKey(kind, name, categoryList)
	case collectionKind:
		return cache.NewKey(kind, name, collectionList)
	}
	return cache.NewKey(kind, name, productTag(name))
}

// mayBeNamed reports whether anything can have the id or slug.
func mayBeNamed(idOrSlug string) bool {
	return isID(idOrSlug) || len(idOrSlug) <= maxSlug && slugPattern.MatchString(idOrSlug)
}
