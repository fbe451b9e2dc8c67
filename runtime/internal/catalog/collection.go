package catalog

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"gitee.com/captainjez/gocart/runtime/internal/catalog/catalogdb"
	"gitee.com/captainjez/gocart/runtime/internal/db"
	"gitee.com/captainjez/gocart/runtime/internal/optional"
	"gitee.com/captainjez/gocart/runtime/internal/problem"
	"gitee.com/captainjez/gocart/runtime/internal/rest"
	"gitee.com/captainjez/gocart/runtime/openapi"
)

const collectionNotFound = "collection_not_found"

// CreateCollection stores a collection in the transaction. Call Invalidate
// after the commit.
func (k *Catalog) CreateCollection(ctx context.Context, tx pgx.Tx, in openapi.CollectionInput) (openapi.Collection, error) {
	c, err := newCollection(in, uuid.Must(uuid.NewV7()), "")
	if err != nil {
		return openapi.Collection{}, err
	}
	q := catalogdb.New(tx)
	if err := q.LockAlone(ctx); err != nil {
		return openapi.Collection{}, err
	}
	err = q.InsertCollection(ctx, catalogdb.InsertCollectionParams{
		ID: c.Id, Slug: c.Slug, Name: c.Name, Description: c.Description, Seo: encodeSeo(c.Seo),
	})
	if err != nil {
		return openapi.Collection{}, refusedCollection(err, c)
	}
	if err := fill(ctx, q, c.Id, nil, in.ProductIds); err != nil {
		return openapi.Collection{}, err
	}
	return collection(ctx, q, c.Id.String())
}

// replaceCollection leaves the collection's products where the input names
// none.
func (k *Catalog) replaceCollection(ctx context.Context, tx pgx.Tx, idOrSlug string, in openapi.CollectionInput) (openapi.Collection, error) {
	q := catalogdb.New(tx)
	if err := q.LockAlone(ctx); err != nil {
		return openapi.Collection{}, err
	}
	old, err := collection(ctx, q, idOrSlug)
	if err != nil {
		return openapi.Collection{}, err
	}
	c, err := newCollection(in, old.Id, old.Slug)
	if err != nil {
		return openapi.Collection{}, err
	}
	err = q.UpdateCollection(ctx, catalogdb.UpdateCollectionParams{
		ID: c.Id, Slug: c.Slug, Name: c.Name, Description: c.Description, Seo: encodeSeo(c.Seo),
	})
	if err != nil {
		return openapi.Collection{}, refusedCollection(err, c)
	}
	had, err := q.ProductsInCollection(ctx, c.Id)
	if err != nil {
		return openapi.Collection{}, err
	}
	if err := fill(ctx, q, c.Id, had, in.ProductIds); err != nil {
		return openapi.Collection{}, err
	}
	return collection(ctx, q, c.Id.String())
}

// removeCollection leaves the collection's products.
func (k *Catalog) removeCollection(ctx context.Context, tx pgx.Tx, idOrSlug string) error {
	q := catalogdb.New(tx)
	if err := q.LockAlone(ctx); err != nil {
		return err
	}
	c, err := collection(ctx, q, idOrSlug)
	if err != nil {
		return err
	}
	had, err := q.ProductsInCollection(ctx, c.Id)
	if err != nil {
		return err
	}
	if err := q.DeleteCollection(ctx, c.Id); err != nil {
		return err
	}
	return q.Relabel(ctx, had)
}

// fill makes the collection hold the products, unless they are nil, and labels
// those that it had and has.
func fill(ctx context.Context, q *catalogdb.Queries, id uuid.UUID, had []uuid.UUID, products *[]uuid.UUID) error {
	changed := had
	if products != nil {
		found, err := q.ProductsByID(ctx, *products)
		if err != nil {
			return err
		}
		if err := all(*products, found, "/productIds/%d", "is no product's id"); err != nil {
			return err
		}
		if err := q.DeleteCollectionProducts(ctx, id); err != nil {
			return err
		}
		err = q.InsertCollectionProducts(ctx, catalogdb.InsertCollectionProductsParams{CollectionID: id, ProductIds: *products})
		if err != nil {
			return err
		}
		changed = append(changed, *products...)
	}
	return q.Relabel(ctx, changed)
}

func newCollection(in openapi.CollectionInput, id uuid.UUID, slug string) (openapi.Collection, error) {
	var v findings
	c := openapi.Collection{Id: id, Name: strings.TrimSpace(in.Name), Description: optional.Value(in.Description), Seo: optional.Value(in.Seo)}
	v.Text("/name", c.Name, 1, maxName)
	v.Text("/description", c.Description, 0, maxText)
	v.ids("/productIds", optional.Value(in.ProductIds), maxMembers)
	v.seo(c.Seo)
	c.Slug = v.slug(in.Slug, slug, "collection", c.Name, id)
	return c, v.Err()
}

func refusedCollection(err error, c openapi.Collection) error {
	if db.Violates(err, "collections_slug_key") {
		return problem.New(http.StatusConflict, "slug_taken", "Another collection has the slug %q.", c.Slug)
	}
	return fmt.Errorf("storing a collection: %w", err)
}

func collection(ctx context.Context, q *catalogdb.Queries, idOrSlug string) (openapi.Collection, error) {
	row, err := named(idOrSlug, collectionNotFound,
		func(id uuid.UUID) (catalogdb.CollectionByIDRow, error) { return q.CollectionByID(ctx, id) },
		func(slug string) (catalogdb.CollectionByIDRow, error) {
			row, err := q.CollectionBySlug(ctx, slug)
			return catalogdb.CollectionByIDRow(row), err
		})
	if err != nil {
		return openapi.Collection{}, err
	}
	return shownCollection(row)
}

func shownCollection(row catalogdb.CollectionByIDRow) (openapi.Collection, error) {
	c := openapi.Collection{Id: row.ID, Slug: row.Slug, Name: row.Name, Description: row.Description, ProductCount: row.ProductCount}
	return c, json.Unmarshal(row.Seo, &c.Seo)
}

func (k *Catalog) listCollections(ctx context.Context, before uuid.UUID, size int32) (openapi.CollectionPage, error) {
	page := openapi.CollectionPage{Collections: []openapi.Collection{}}
	rows, err := catalogdb.New(k.pool).ListCollections(ctx, catalogdb.ListCollectionsParams{Before: before, PageSize: size})
	if err != nil {
		return page, fmt.Errorf("listing collections: %w", err)
	}
	for _, row := range rows {
		c, err := shownCollection(catalogdb.CollectionByIDRow(row))
		if err != nil {
			return page, err
		}
		page.Collections = append(page.Collections, c)
	}
	page.Collections, page.NextCursor = rest.Page(page.Collections, size, collectionList, func(c openapi.Collection) uuid.UUID { return c.Id })
	return page, nil
}
