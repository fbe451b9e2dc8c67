package catalog_test

import (
	"reflect"
	"testing"

	"gitee.com/captainjez/gocart/runtime/internal/catalog"
	"gitee.com/captainjez/gocart/runtime/openapi"
)

func TestEverythingThatChangesAListIsInItsKey(t *testing.T) {
	t.Parallel()
	type params = openapi.ListProductsParams
	tax, facets, stock := openapi.ProductIncludeTax, openapi.ProductIncludeFacets, openapi.ProductIncludeStock
	samples := map[string][]params{
		"Limit":      {{Limit: new(3)}, {Limit: new(4)}},
		"Cursor":     {{Cursor: new(catalog.CursorOf(t, "?", "a"))}, {Cursor: new(catalog.CursorOf(t, "?", "b"))}},
		"Q":          {{Q: new("mug")}, {Q: new("cup")}, {Q: new(",")}},
		"Type":       {{Type: new(openapi.ProductTypeSimple)}, {Type: new(openapi.ProductTypeDigital)}},
		"Category":   {{Category: new("a")}, {Category: new("b")}},
		"Collection": {{Collection: new("a")}, {Collection: new("b")}},
		"Tag":        {{Tag: new("a")}, {Tag: new("b")}},
		"Attribute":  {{Attribute: new("a:b")}, {Attribute: new("a:c")}},
		"Currency":   {{MinPrice: new("1"), Currency: new("USD")}, {MinPrice: new("1"), Currency: new("GBP")}},
		"MinPrice":   {{MinPrice: new("1")}, {MinPrice: new("2")}},
		"MaxPrice":   {{MaxPrice: new("1")}, {MaxPrice: new("2")}},
		"InStock":    {{InStock: new(true)}},
		"Sort":       {{Sort: new(openapi.ProductSortTitle)}, {Sort: new(openapi.ProductSortMinusTitle)}, {Sort: new(openapi.ProductSortPrice)}, {Sort: new(openapi.ProductSortMinusPrice)}, {Sort: new(openapi.ProductSortOldest)}},
		"Include":    {{Include: &[]openapi.ProductInclude{facets}}, {Include: &[]openapi.ProductInclude{stock}}, {Include: &[]openapi.ProductInclude{facets, stock}}},
		"Country": {
			{Include: &[]openapi.ProductInclude{tax}, Country: new("DE")}, {Include: &[]openapi.ProductInclude{tax}, Country: new("AT")},
			{Include: &[]openapi.ProductInclude{tax, facets}, Country: new("DE")},
		},
		"Status": nil, // a shopper's is always active
	}
	seen := map[string]string{catalog.CacheKeyOf(t, params{}): "nothing"}
	for field := range reflect.TypeFor[params]().Fields() {
		list, ok := samples[field.Name]
		if !ok {
			t.Errorf("the parameter %s is new: say here how it changes the key", field.Name)
		}
		for _, p := range list {
			key := catalog.CacheKeyOf(t, p)
			if other, ok := seen[key]; ok {
				t.Errorf("who asks by %s and by %s is given the same: %s", field.Name, other, key)
			}
			seen[key] = field.Name
		}
	}
}

func TestAnIDIsOneNameHoweverItIsWritten(t *testing.T) {
	t.Parallel()
	const lower, upper = "0198c0de-aaaa-7bbb-8ccc-0123456789ab", "0198C0DE-AAAA-7BBB-8CCC-0123456789AB"
	if catalog.NamedKey("product", lower) != catalog.NamedKey("product", upper) {
		t.Error("an id in capitals is another answer, which a write would not forget")
	}
}
