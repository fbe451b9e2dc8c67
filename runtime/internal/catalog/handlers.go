package catalog

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"

	"github.com/gin-gonic/gin"
	"github.com/jackc/pgx/v5"

	"gitee.com/captainjez/gocart/runtime/internal/cache"
	"gitee.com/captainjez/gocart/runtime/internal/catalog/catalogdb"
	"gitee.com/captainjez/gocart/runtime/internal/db"
	"gitee.com/captainjez/gocart/runtime/internal/identity"
	"gitee.com/captainjez/gocart/runtime/internal/problem"
	"gitee.com/captainjez/gocart/runtime/internal/rest"
	"gitee.com/captainjez/gocart/runtime/openapi"
)

// Handlers is the catalogue's part of openapi.ServerInterface. Errors are left
// on the request for the server to answer.
type Handlers struct{ Catalog *Catalog }

// ListProducts answers GET /products.
func (h Handlers) ListProducts(c *gin.Context, params openapi.ListProductsParams) {
	if asksForPrices(params) && params.Currency == nil {
		currency, err := h.Catalog.currency(c.Request.Context())
		if err != nil {
			rest.Fail(c, err)
			return
		}
		params.Currency = &currency
	}
	l, err := newListing(params, staff(c))
	if err != nil {
		rest.Fail(c, err)
		return
	}
	tags := []string{productList}
	if l.tax {
		tags = append(tags, taxTag)
	}
	h.answer(c, cache.NewKey(productList, l.cacheKey(), tags...), l.stock || l.inStock, func(ctx context.Context) ([]byte, error) { return h.Catalog.list(ctx, l) })
}

// GetProduct answers GET /products/{idOrSlug}.
func (h Handlers) GetProduct(c *gin.Context, idOrSlug string, params openapi.GetProductParams) {
	var v findings
	in := v.includes(params.Include, nil)
	v.Require(!in.tax && !in.facets, "include", "is stock at most; tax and facets come with the list of products")
	if err := v.Err(); err != nil {
		rest.Fail(c, err)
		return
	}
	all := staff(c)
	h.named(c, productKind, productNotFound, idOrSlug, in.stock, func(ctx context.Context) ([]byte, error) {
		return h.Catalog.get(ctx, idOrSlug, all, in.stock)
	})
}

// staff reports whether the sender sees more than what is for sale.
func staff(c *gin.Context) bool { return identity.Of(c).Can("products:read") }

// answer writes the JSON that read returns, from the cache where anybody may
// see it and it may be a little old. Staff see more, and always what is there
// now.
func (h Handlers) answer(c *gin.Context, key cache.Key, fresh bool, read cache.Make) {
	found, err := h.kept(c, fresh).Answer(c.Request.Context(), key, read)
	if err != nil {
		rest.Fail(c, err)
		return
	}
	found.ServeHTTP(c.Writer, c.Request)
}

// named is answer for what a path's idOrSlug names. Also that nothing has the
// name is kept, until something has it.
func (h Handlers) named(c *gin.Context, kind, code, idOrSlug string, fresh bool, read cache.Make) {
	fresh = fresh || !mayBeNamed(idOrSlug) // then nothing is asked
	found, err := h.kept(c, fresh).Answer(c.Request.Context(), namedKey(kind, idOrSlug), func(ctx context.Context) ([]byte, error) {
		body, err := read(ctx)
		if missing, ok := errors.AsType[*problem.Problem](err); ok && missing.Code == code {
			err = cache.ErrAbsent
		}
		return body, err
	})
	if errors.Is(err, cache.ErrAbsent) {
		err = notFound(code, idOrSlug)
	}
	if err != nil {
		rest.Fail(c, err)
		return
	}
	found.ServeHTTP(c.Writer, c.Request)
}

var (
	ownEyes = []string{"private, no-store"}
	anybody = []string{"public, no-cache"} // keep it, and ask whether it still holds
	byWhom  = []string{"Authorization"}
)

// kept are the answers that the sender may be given, and says so to those on
// the way; nil where nothing that is kept will do.
func (h Handlers) kept(c *gin.Context, fresh bool) *cache.Cache {
	header := c.Writer.Header()
	if staff(c) {
		header["Cache-Control"] = ownEyes
		return nil
	}
	header["Cache-Control"] = anybody
	header["Vary"] = append(header["Vary"], byWhom...)
	if fresh {
		return nil
	}
	return h.Catalog.answers
}

// encoded makes JSON of what read returns.
func encoded[T any](read func(context.Context) (T, error)) cache.Make {
	return func(ctx context.Context) ([]byte, error) {
		v, err := read(ctx)
		if err != nil {
			return nil, err
		}
		return json.Marshal(v)
	}
}

// create answers a POST that changes answers with the tags.
func create[In, T any](
	c *gin.Context, k *Catalog, key *string, effect func(context.Context, pgx.Tx, In) (T, error), location func(T) string, tags func(T) []string,
) {
	rest.Create(c, k.pool, rest.Creation[In, T]{
		Key: key, Location: location,
		Effect: func(ctx context.Context, tx pgx.Tx, in In) (T, error) {
			stored, err := effect(ctx, tx, in)
			if err != nil {
				return stored, err
			}
			return stored, k.record(ctx, tx, tags(stored))
		},
		After: func(ctx context.Context, stored T) { k.answers.Invalidate(ctx, tags(stored)...) },
	})
}

// replace answers a PUT.
func replace[In, T any](c *gin.Context, k *Catalog, effect func(context.Context, pgx.Tx, In) (T, []string, error)) {
	in, ok := rest.Read[In](c)
	if !ok {
		return
	}
	var stored T
	err := k.change(c.Request.Context(), func(ctx context.Context, tx pgx.Tx) (tags []string, err error) {
		stored, tags, err = effect(ctx, tx, in)
		return tags, err
	})
	rest.JSON(c, http.StatusOK, stored, err)
}

// change is a write in a transaction of its own. It returns the tags of the
// answers that it changes.
func (k *Catalog) change(ctx context.Context, write func(context.Context, pgx.Tx) (tags []string, err error)) error {
	var tags []string
	err := db.WithTx(ctx, k.pool, func(tx pgx.Tx) (err error) {
		if tags, err = write(ctx, tx); err != nil {
			return err
		}
		return k.record(ctx, tx, tags)
	})
	if err == nil {
		k.answers.Invalidate(ctx, tags...)
	}
	return err
}

// CreateProduct answers POST /products.
func (h Handlers) CreateProduct(c *gin.Context, params openapi.CreateProductParams) {
	create(c, h.Catalog, params.IdempotencyKey, h.Catalog.Create, func(p openapi.Product) string { return "/products/" + p.Id.String() },
		func(p openapi.Product) []string { return productTags(p) })
}

// ReplaceProduct answers PUT /products/{idOrSlug}.
func (h Handlers) ReplaceProduct(c *gin.Context, idOrSlug string, params openapi.ReplaceProductParams) {
	replace(c, h.Catalog, func(ctx context.Context, tx pgx.Tx, in openapi.ProductInput) (openapi.Product, []string, error) {
		return h.Catalog.replace(ctx, tx, idOrSlug, params.IfMatch, in)
	})
}

// DeleteProduct answers DELETE /products/{idOrSlug}.
func (h Handlers) DeleteProduct(c *gin.Context, idOrSlug string) {
	rest.NoContent(c, h.Catalog.change(c.Request.Context(), func(ctx context.Context, tx pgx.Tx) ([]string, error) {
		return h.Catalog.remove(ctx, tx, idOrSlug)
	}))
}

// GetProductCosts answers GET /products/{idOrSlug}/costs.
func (h Handlers) GetProductCosts(c *gin.Context, idOrSlug string) {
	list, err := h.Catalog.costs(c.Request.Context(), idOrSlug)
	rest.JSON(c, http.StatusOK, list, err)
}

// ListCategories answers GET /categories.
func (h Handlers) ListCategories(c *gin.Context, params openapi.ListCategoriesParams) {
	before, size, err := rest.Paging(params.Limit, params.Cursor, categoryList)
	if err != nil {
		rest.Fail(c, err)
		return
	}
	h.answer(c, cache.NewKey(categoryList, before.String()+strconv.Itoa(int(size)), categoryList), false, encoded(func(ctx context.Context) (openapi.CategoryPage, error) {
		return h.Catalog.listCategories(ctx, before, size)
	}))
}

// CreateCategory answers POST /categories.
func (h Handlers) CreateCategory(c *gin.Context, params openapi.CreateCategoryParams) {
	create(c, h.Catalog, params.IdempotencyKey, h.Catalog.CreateCategory, func(v openapi.Category) string { return "/categories/" + v.Id.String() },
		func(openapi.Category) []string { return categoryTags })
}

// GetCategory answers GET /categories/{idOrSlug}.
func (h Handlers) GetCategory(c *gin.Context, idOrSlug string) {
	h.named(c, categoryKind, categoryNotFound, idOrSlug, false, encoded(func(ctx context.Context) (openapi.Category, error) {
		found, _, err := category(ctx, catalogdb.New(h.Catalog.pool), idOrSlug)
		return found, err
	}))
}

// ReplaceCategory answers PUT /categories/{idOrSlug}.
func (h Handlers) ReplaceCategory(c *gin.Context, idOrSlug string) {
	replace(c, h.Catalog, func(ctx context.Context, tx pgx.Tx, in openapi.CategoryInput) (openapi.Category, []string, error) {
		stored, err := h.Catalog.replaceCategory(ctx, tx, idOrSlug, in)
		return stored, categoryTags, err
	})
}

// DeleteCategory answers DELETE /categories/{idOrSlug}.
func (h Handlers) DeleteCategory(c *gin.Context, idOrSlug string) {
	rest.NoContent(c, h.Catalog.change(c.Request.Context(), func(ctx context.Context, tx pgx.Tx) ([]string, error) {
		return h.Catalog.removeCategory(ctx, tx, idOrSlug)
	}))
}

// ListCollections answers GET /collections.
func (h Handlers) ListCollections(c *gin.Context, params openapi.ListCollectionsParams) {
	before, size, err := rest.Paging(params.Limit, params.Cursor, collectionList)
	if err != nil {
		rest.Fail(c, err)
		return
	}
	h.answer(c, cache.NewKey(collectionList, before.String()+strconv.Itoa(int(size)), collectionList), false, encoded(func(ctx context.Context) (openapi.CollectionPage, error) {
		return h.Catalog.listCollections(ctx, before, size)
	}))
}

// CreateCollection answers POST /collections.
func (h Handlers) CreateCollection(c *gin.Context, params openapi.CreateCollectionParams) {
	create(c, h.Catalog, params.IdempotencyKey, h.Catalog.CreateCollection, func(v openapi.Collection) string { return "/collections/" + v.Id.String() },
		func(openapi.Collection) []string { return collectionTags })
}

// GetCollection answers GET /collections/{idOrSlug}.
func (h Handlers) GetCollection(c *gin.Context, idOrSlug string) {
	h.named(c, collectionKind, collectionNotFound, idOrSlug, false, encoded(func(ctx context.Context) (openapi.Collection, error) {
		return collection(ctx, catalogdb.New(h.Catalog.pool), idOrSlug)
	}))
}

// ReplaceCollection answers PUT /collections/{idOrSlug}.
func (h Handlers) ReplaceCollection(c *gin.Context, idOrSlug string) {
	replace(c, h.Catalog, func(ctx context.Context, tx pgx.Tx, in openapi.CollectionInput) (openapi.Collection, []string, error) {
		stored, err := h.Catalog.replaceCollection(ctx, tx, idOrSlug, in)
		return stored, collectionTags, err
	})
}

// DeleteCollection answers DELETE /collections/{idOrSlug}.
func (h Handlers) DeleteCollection(c *gin.Context, idOrSlug string) {
	rest.NoContent(c, h.Catalog.change(c.Request.Context(), func(ctx context.Context, tx pgx.Tx) ([]string, error) {
		return collectionTags, h.Catalog.removeCollection(ctx, tx, idOrSlug)
	}))
}
