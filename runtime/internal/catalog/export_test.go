package catalog

import (
	"net/http/httptest"
	"testing"

	"github.com/gin-gonic/gin"
	"github.com/google/uuid"

	"gitee.com/captainjez/gocart/runtime/internal/rest"
	"gitee.com/captainjez/gocart/runtime/openapi"
)

// CursorOf is a cursor of a shopper's list with a key that nobody named.
func CursorOf(t testing.TB, query, key string) string {
	t.Helper()
	c, _ := gin.CreateTestContext(httptest.NewRecorder())
	c.Request = httptest.NewRequest("GET", "/"+query, nil)
	var params openapi.ListProductsParams
	if sort, ok := c.GetQuery("sort"); ok {
		params.Sort = (*openapi.ProductSort)(&sort)
		if asksForPrices(params) {
			params.Currency = new("EUR")
		}
	}
	if q, ok := c.GetQuery("q"); ok {
		params.Q = &q
	}
	l, err := newListing(params, false)
	if err != nil {
		t.Fatal(err)
	}
	return rest.Cursor(l.name(), place{Key: key, ID: uuid.Max})
}

// CacheKeyOf is what a shopper's list is kept by.
func CacheKeyOf(t testing.TB, params openapi.ListProductsParams) string {
	t.Helper()
	if asksForPrices(params) && params.Currency == nil {
		params.Currency = new("EUR")
	}
	l, err := newListing(params, false)
	if err != nil {
		t.Fatal(err)
	}
	return l.cacheKey()
}

// NamedKey is of the answer to who asks for an id or a slug.
var NamedKey = namedKey
