package catalog

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"gitee.com/captainjez/gocart/runtime/internal/catalog/catalogdb"
	"gitee.com/captainjez/gocart/runtime/internal/optional"
	"gitee.com/captainjez/gocart/runtime/internal/problem"
	"gitee.com/captainjez/gocart/runtime/internal/transfer"
	"gitee.com/captainjez/gocart/runtime/openapi"
)

// CategoryRecord is a category as it comes in and goes out, known by its slug.
type CategoryRecord struct {
	// ID is a new category's; an old one keeps its own.
	ID   *uuid.UUID `json:"id,omitempty"`
	Slug string     `json:"slug"`
	Name string     `json:"name"`
	// Parent is the slug of the category above, nil at the top of the tree.
	Parent      *string      `json:"parent,omitempty"`
	Description *string      `json:"description,omitempty"`
	Position    *int         `json:"position,omitempty"`
	Seo         *openapi.Seo `json:"seo,omitempty"`
}

var categoryColumns = []string{"slug", "name", "parent", "id", "description", "position", "seoTitle", "seoDescription"}

// TransferCategories is how the tree of categories comes in and goes out, from
// its top down.
func (k *Catalog) TransferCategories() transfer.Kind {
	return transfer.Of[CategoryRecord]{
		Name: "categories", ReadScope: "products:read", WriteScope: "products:write",
		Key: func(r CategoryRecord) (string, string) { return r.Slug, "/slug" }, Put: k.importCategories, From: k.categoriesFrom,
		Sheets: map[string]transfer.Sheet[CategoryRecord]{"csv": {
			Required: []string{"slug", "name"}, Known: func(c string) bool { return slices.Contains(categoryColumns, c) },
			Read:    func(_ context.Context, rows []transfer.Row) (CategoryRecord, error) { return readCategory(rows[0]) },
			Columns: func(context.Context) ([]string, error) { return categoryColumns, nil },
			Rows: func(r CategoryRecord) []map[string]string {
				row := map[string]string{
					"slug": r.Slug, "name": transfer.Defused(r.Name), "parent": optional.Value(r.Parent), "id": r.ID.String(),
					"description": transfer.Defused(optional.Value(r.Description)), "position": strconv.Itoa(optional.Value(r.Position)),
				}
				if r.Seo != nil {
					row["seoTitle"], row["seoDescription"] = transfer.Defused(optional.Value(r.Seo.Title)), transfer.Defused(optional.Value(r.Seo.Description))
				}
				return []map[string]string{row}
			},
		}},
	}
}

func readCategory(row transfer.Row) (CategoryRecord, error) {
	var f problem.Findings
	r := CategoryRecord{
		Slug: row.Get("slug"), Name: row.Get("name"), Parent: optional.Of(row.Get("parent")), Description: optional.Of(row.Get("description")),
	}
	if text := strings.TrimSpace(row.Get("id")); text != "" {
		id, err := uuid.Parse(text)
		f.Require(err == nil, "/id", "must be a UUID")
		r.ID = &id
	}
	if text := strings.TrimSpace(row.Get("position")); text != "" {
		position, err := strconv.Atoi(text)
		f.Require(err == nil, "/position", "must be a whole number")
		r.Position = &position
	}
	if title, description := row.Get("seoTitle"), row.Get("seoDescription"); title+description != "" {
		r.Seo = &openapi.Seo{Title: optional.Of(title), Description: optional.Of(description)}
	}
	return r, f.Err()
}

// importCategories stores categories, each as a new one or over the one that has
// its slug. What can not be leaves the others as they are.
func (k *Catalog) importCategories(ctx context.Context, tx pgx.Tx, all []CategoryRecord) ([]transfer.Result, func(context.Context), error) {
	results := make([]transfer.Result, len(all))
	if err := catalogdb.New(tx).LockAlone(ctx); err != nil {
		return nil, nil, err
	}
	var tags []string
	for i, r := range all {
		err := pgx.BeginFunc(ctx, tx, func(tx pgx.Tx) (err error) {
			results[i].Outcome, err = k.putCategory(ctx, tx, r)
			return err
		})
		if _, about := errors.AsType[*problem.Problem](err); err != nil && !about {
			return nil, nil, fmt.Errorf("category %.100q: %w", r.Slug, err)
		}
		if results[i].Err = err; err == nil && results[i].Outcome != transfer.Unchanged {
			tags = categoryTags
		}
	}
	return results, func(ctx context.Context) { k.answers.Invalidate(ctx, tags...) }, k.record(ctx, tx, tags)
}

func (k *Catalog) putCategory(ctx context.Context, tx pgx.Tx, r CategoryRecord) (transfer.Outcome, error) {
	q := catalogdb.New(tx)
	in := openapi.CategoryInput{Name: r.Name, Slug: &r.Slug, Description: r.Description, Position: r.Position, Seo: r.Seo}
	if r.Parent != nil {
		above, err := q.CategoryBySlug(ctx, *r.Parent)
		if errors.Is(err, pgx.ErrNoRows) {
			return "", problem.Invalid(problem.Field{
				Pointer: "/parent", Detail: fmt.Sprintf("no category has the slug %.100q: those above come before those below", *r.Parent),
			})
		}
		if err != nil {
			return "", fmt.Errorf("reading a category: %w", err)
		}
		in.ParentId = &above.ID
	}
	row, err := q.CategoryBySlug(ctx, r.Slug)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		id := uuid.Must(uuid.NewV7())
		if r.ID != nil {
			id = *r.ID
			taken, err := q.CategoriesByID(ctx, []uuid.UUID{id})
			if err != nil {
				return "", fmt.Errorf("reading categories: %w", err)
			}
			if len(taken) > 0 {
				return "", problem.Invalid(problem.Field{Pointer: "/id", Detail: "is another category's"})
			}
		}
		_, err = k.createCategory(ctx, tx, in, id)
		return transfer.Created, err
	case err != nil:
		return "", fmt.Errorf("reading a category: %w", err)
	}
	old, err := shownCategory(catalogdb.CategoryByIDRow(row))
	if err != nil {
		return "", err
	}
	now, err := newCategory(in, old.Id, old.Slug)
	if err != nil {
		return "", err
	}
	now.Path, now.ParentId = old.Path, in.ParentId
	a, errA := json.Marshal(now)
	b, errB := json.Marshal(old)
	if err := errors.Join(errA, errB); err != nil || bytes.Equal(a, b) {
		return transfer.Unchanged, err
	}
	_, err = k.replaceCategory(ctx, tx, old.Id.String(), in)
	return transfer.Updated, err
}

// categoriesFrom reads categories, each behind the one above it.
func (k *Catalog) categoriesFrom(ctx context.Context, after string, most int32) (all []CategoryRecord, last string, err error) {
	id, err := transfer.Place(after)
	if err != nil {
		return nil, "", err
	}
	rows, err := catalogdb.New(k.pool).CategoriesFrom(ctx, catalogdb.CategoriesFromParams{After: id, Most: most})
	if err != nil {
		return nil, "", err
	}
	for _, row := range rows {
		c, err := shownCategory(catalogdb.CategoryByIDRow(row))
		if err != nil {
			return nil, "", err
		}
		r := CategoryRecord{ID: &c.Id, Slug: c.Slug, Name: c.Name, Description: &c.Description, Position: &c.Position, Seo: &c.Seo}
		if n := len(c.Path); n > 1 {
			r.Parent = &c.Path[n-2]
		}
		all, last = append(all, r), c.Id.String()
	}
	if len(rows) < int(most) {
		last = ""
	}
	return all, last, nil
}
