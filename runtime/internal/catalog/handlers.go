package catalog

import (
	"context"
	"encoding/json"
	"net/http"
	"strconv"

	"github.com/cespare/xxhash/v2"
	"github.com/gin-gonic/gin"

	"gitee.com/captainjez/gocart/runtime/internal/idempotency"
	"gitee.com/captainjez/gocart/runtime/internal/identity"
	"gitee.com/captainjez/gocart/runtime/internal/strictjson"
	"gitee.com/captainjez/gocart/runtime/openapi"
)

// Handlers is the catalogue's part of openapi.ServerInterface. Errors are left
// on the request for the server to answer.
type Handlers struct{ Catalog *Catalog }

// ListProducts answers GET /products.
func (h Handlers) ListProducts(c *gin.Context, params openapi.ListProductsParams) {
	l, err := newListing(params, identity.IsAdmin(c))
	if err != nil {
		fail(c, err)
		return
	}
	h.answer(c, l.cacheKey(), func(ctx context.Context) (any, error) { return h.Catalog.list(ctx, l) })
}

// GetProduct answers GET /products/{idOrSlug}.
func (h Handlers) GetProduct(c *gin.Context, idOrSlug string) {
	statuses := shopper
	if identity.IsAdmin(c) {
		statuses = everything
	}
	h.answer(c, "product:"+idOrSlug, func(ctx context.Context) (any, error) { return h.Catalog.get(ctx, idOrSlug, statuses) })
}

// answer writes what read returns, from the cache where anybody may see it. An
// administrator sees more, and always what is there now.
func (h Handlers) answer(c *gin.Context, key string, read func(context.Context) (any, error)) {
	encoded := func(ctx context.Context) ([]byte, error) {
		v, err := read(ctx)
		if err != nil {
			return nil, err
		}
		return json.Marshal(v)
	}
	ctx := c.Request.Context()
	var body []byte
	var err error
	if identity.IsAdmin(c) {
		c.Header("Cache-Control", "private, no-store")
		body, err = encoded(ctx)
	} else {
		c.Header("Cache-Control", "public, no-cache") // keep it, and ask whether it still holds
		c.Writer.Header().Add("Vary", "Authorization")
		body, err = h.Catalog.answers.Answer(ctx, key, encoded)
	}
	if err != nil {
		fail(c, err)
		return
	}
	tag := `"` + strconv.FormatUint(xxhash.Sum64(body), 36) + `"`
	c.Header("ETag", tag)
	if match := c.GetHeader("If-None-Match"); match == tag || match == "W/"+tag {
		c.Status(http.StatusNotModified)
		return
	}
	c.Data(http.StatusOK, "application/json; charset=utf-8", body)
}

// CreateProduct answers POST /products.
func (h Handlers) CreateProduct(c *gin.Context, params openapi.CreateProductParams) {
	if !identity.RequireAdmin(c) {
		return
	}
	var in openapi.ProductInput
	body, err := strictjson.Read(c.Request, &in)
	if err != nil {
		fail(c, err)
		return
	}
	answer, err := h.Catalog.Create(c.Request.Context(), in, idempotency.Request{
		Scope: "admin createProduct", Key: orZero(params.IdempotencyKey), Body: body,
	})
	if err != nil {
		fail(c, err)
		return
	}
	var stored struct{ ID string }
	if err := json.Unmarshal(answer.Body, &stored); err != nil {
		fail(c, err)
		return
	}
	c.Header("Location", "/api/v1/products/"+stored.ID)
	c.Header("Cache-Control", "private, no-store")
	if answer.Replayed {
		c.Header("Idempotency-Replayed", "true")
	}
	c.Data(answer.Status, "application/json; charset=utf-8", answer.Body)
}

func fail(c *gin.Context, err error) {
	_ = c.Error(err) // recorded for who answers
	c.Abort()
}
