package catalog

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
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

const (
	categoryNotFound = "category_not_found"
	// maxDepth is how many levels the tree of categories has at most.
	maxDepth = 10
)

// CreateCategory stores a category in the transaction. Call Invalidate after
// the commit.
func (k *Catalog) CreateCategory(ctx context.Context, tx pgx.Tx, in openapi.CategoryInput) (openapi.Category, error) {
	return k.createCategory(ctx, tx, in, uuid.Must(uuid.NewV7()))
}

func (k *Catalog) createCategory(ctx context.Context, tx pgx.Tx, in openapi.CategoryInput, id uuid.UUID) (openapi.Category, error) {
	c, err := newCategory(in, id, "")
	if err != nil {
		return openapi.Category{}, err
	}
	q := catalogdb.New(tx)
	if err := q.LockAlone(ctx); err != nil {
		return openapi.Category{}, err
	}
	above, err := parentPath(ctx, q, in.ParentId)
	if err != nil {
		return openapi.Category{}, err
	}
	if err := checkTree(above, c.Id, 1); err != nil {
		return openapi.Category{}, err
	}
	err = q.InsertCategory(ctx, catalogdb.InsertCategoryParams{
		ID: c.Id, Slug: c.Slug, Name: c.Name, Description: c.Description, ParentPath: above, Position: int32(c.Position), Seo: encodeSeo(c.Seo),
	})
	if err != nil {
		return openapi.Category{}, refusedCategory(err, c)
	}
	c, _, err = category(ctx, q, c.Id.String())
	return c, err
}

// replaceCategory also moves everything below the category with it.
func (k *Catalog) replaceCategory(ctx context.Context, tx pgx.Tx, idOrSlug string, in openapi.CategoryInput) (openapi.Category, error) {
	q := catalogdb.New(tx)
	if err := q.LockAlone(ctx); err != nil {
		return openapi.Category{}, err
	}
	old, path, err := category(ctx, q, idOrSlug)
	if err != nil {
		return openapi.Category{}, err
	}
	c, err := newCategory(in, old.Id, old.Slug)
	if err != nil {
		return openapi.Category{}, err
	}
	above, err := parentPath(ctx, q, in.ParentId)
	if err != nil {
		return openapi.Category{}, err
	}
	depth := int32(len(path))
	deepest, err := q.DeepestLevel(ctx, c.Id)
	if err != nil {
		return openapi.Category{}, err
	}
	if err := checkTree(above, c.Id, int(deepest-depth)+1); err != nil {
		return openapi.Category{}, err
	}
	err = q.UpdateCategory(ctx, catalogdb.UpdateCategoryParams{
		ID: c.Id, Slug: c.Slug, Name: c.Name, Description: c.Description, Position: int32(c.Position), Seo: encodeSeo(c.Seo),
	})
	if err != nil {
		return openapi.Category{}, refusedCategory(err, c)
	}
	if err := q.MoveSubtree(ctx, catalogdb.MoveSubtreeParams{ID: c.Id, ParentPath: above, Depth: depth}); err != nil {
		return openapi.Category{}, err
	}
	products, err := q.ProductsInSubtree(ctx, c.Id)
	if err != nil {
		return openapi.Category{}, err
	}
	if err := q.Relabel(ctx, products); err != nil {
		return openapi.Category{}, err
	}
	c, _, err = category(ctx, q, c.Id.String())
	return c, err
}

// removeCategory takes the category off its products, which stay. It returns
// the tags of what that changes.
func (k *Catalog) removeCategory(ctx context.Context, tx pgx.Tx, idOrSlug string) ([]string, error) {
	q := catalogdb.New(tx)
	if err := q.LockAlone(ctx); err != nil {
		return nil, err
	}
	c, _, err := category(ctx, q, idOrSlug)
	if err != nil {
		return nil, err
	}
	parent, err := q.HasSubcategory(ctx, c.Id)
	if err != nil {
		return nil, err
	}
	if parent {
		return nil, problem.New(http.StatusConflict, "category_has_children", "The category %q has others below it; move or delete those first.", c.Slug)
	}
	documents, err := q.LockProductsInCategory(ctx, c.Id)
	if err != nil {
		return nil, err
	}
	products, ids := make([]openapi.Product, len(documents)), make([]uuid.UUID, len(documents))
	for i, document := range documents {
		if err := json.Unmarshal([]byte(document), &products[i]); err != nil {
			return nil, err
		}
		ids[i] = products[i].Id
	}
	err = rewrite(ctx, q, products, func(p *openapi.Product) {
		p.CategoryIds = slices.DeleteFunc(p.CategoryIds, func(id uuid.UUID) bool { return id == c.Id })
	})
	if err != nil {
		return nil, err
	}
	if err := q.DeleteCategory(ctx, c.Id); err != nil {
		return nil, err
	}
	tags := slices.Clone(categoryTags)
	for _, p := range products {
		tags = append(tags, productTags(p)...)
	}
	return tags, q.Relabel(ctx, ids)
}

func newCategory(in openapi.CategoryInput, id uuid.UUID, slug string) (openapi.Category, error) {
	var v findings
	c := openapi.Category{
		Id: id, Name: strings.TrimSpace(in.Name), Description: optional.Value(in.Description), Position: optional.Value(in.Position), Seo: optional.Value(in.Seo),
	}
	v.Text("/name", c.Name, 1, maxName)
	v.Text("/description", c.Description, 0, maxText)
	v.Range("/position", int64(c.Position), 0, maxPosition)
	v.seo(c.Seo)
	c.Slug = v.slug(in.Slug, slug, "category", c.Name, id)
	return c, v.Err()
}

// parentPath is from the top of the tree to the parent; empty without one.
func parentPath(ctx context.Context, q *catalogdb.Queries, parent *uuid.UUID) ([]uuid.UUID, error) {
	if parent == nil {
		return []uuid.UUID{}, nil
	}
	found, err := q.CategoryByID(ctx, *parent)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, problem.Invalid(problem.Field{Pointer: "/parentId", Detail: "is no category's id"})
	}
	return found.Path, err
}

// checkTree wants a category with height levels to fit below a path.
func checkTree(above []uuid.UUID, id uuid.UUID, height int) error {
	var v findings
	v.Require(!slices.Contains(above, id), "/parentId", "is the category itself or below it")
	v.Require(len(above)+height <= maxDepth, "/parentId", "the tree would have more than %d levels", maxDepth)
	return v.Err()
}

func refusedCategory(err error, c openapi.Category) error {
	if db.Violates(err, "categories_slug_key") {
		return problem.New(http.StatusConflict, "slug_taken", "Another category has the slug %q.", c.Slug)
	}
	return fmt.Errorf("storing a category: %w", err)
}

func encodeSeo(seo openapi.Seo) []byte {
	raw, err := json.Marshal(seo)
	if err != nil { // strings always marshal
		panic(err)
	}
	return raw
}

// category reads one, with the ids from the top of the tree to it.
func category(ctx context.Context, q *catalogdb.Queries, idOrSlug string) (openapi.Category, []uuid.UUID, error) {
	row, err := named(idOrSlug, categoryNotFound,
		func(id uuid.UUID) (catalogdb.CategoryByIDRow, error) { return q.CategoryByID(ctx, id) },
		func(slug string) (catalogdb.CategoryByIDRow, error) {
			row, err := q.CategoryBySlug(ctx, slug)
			return catalogdb.CategoryByIDRow(row), err
		})
	if err != nil {
		return openapi.Category{}, nil, err
	}
	c, err := shownCategory(row)
	return c, row.Path, err
}

func shownCategory(row catalogdb.CategoryByIDRow) (openapi.Category, error) {
	c := openapi.Category{
		Id: row.ID, Slug: row.Slug, Name: row.Name, Description: row.Description, Path: row.Slugs, Position: int(row.Position),
	}
	if len(row.Path) > 1 {
		c.ParentId = &row.Path[len(row.Path)-2]
	}
	return c, json.Unmarshal(row.Seo, &c.Seo)
}

func (k *Catalog) listCategories(ctx context.Context, before uuid.UUID, size int32) (openapi.CategoryPage, error) {
	page := openapi.CategoryPage{Categories: []openapi.Category{}}
	rows, err := catalogdb.New(k.pool).ListCategories(ctx, catalogdb.ListCategoriesParams{Before: before, PageSize: size})
	if err != nil {
		return page, fmt.Errorf("listing categories: %w", err)
	}
	for _, row := range rows {
		c, err := shownCategory(catalogdb.CategoryByIDRow(row))
		if err != nil {
			return page, err
		}
		page.Categories = append(page.Categories, c)
	}
	page.Categories, page.NextCursor = rest.Page(page.Categories, size, categoryList, func(c openapi.Category) uuid.UUID { return c.Id })
	return page, nil
}
