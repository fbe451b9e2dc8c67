// Package catalog is what the store offers: products with their variants and
// prices, categories and collections. It owns their tables, the rules of what
// a product may be, and their part of the HTTP API. It knows nothing of stock,
// tax and orders but what Dependencies tell it.
package catalog

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"gitee.com/captainjez/gocart/runtime/internal/cache"
	"gitee.com/captainjez/gocart/runtime/internal/catalog/catalogdb"
	"gitee.com/captainjez/gocart/runtime/internal/events"
	"gitee.com/captainjez/gocart/runtime/internal/problem"
	"gitee.com/captainjez/gocart/runtime/openapi"
)

// Catalog reads and writes products, categories and collections.
type Catalog struct {
	pool    *pgxpool.Pool
	answers *cache.Cache
	uses    Dependencies
	together
}

// New makes a catalogue in the database. Answers may be nil.
func New(pool *pgxpool.Pool, answers *cache.Cache) *Catalog {
	return &Catalog{pool: pool, answers: answers, together: newTogether(catalogdb.New(pool))}
}

// Dependencies are what the catalogue asks of other domains; what is nil has
// nothing to say.
type Dependencies struct {
	Stock  Stock
	Orders Orders
	Holds  Holds
	Tax    Tax
	// Currency is the store's own; nil is EUR.
	Currency func(context.Context) (string, error)
	// Events may be nil: then only Invalidate tells of changes.
	Events *events.Log
}

// Stock knows what can be bought.
type Stock interface {
	// States has an entry for each variant, in one statement.
	States(ctx context.Context, variants []StockQuery) (map[uuid.UUID]StockState, error)
}

// StockQuery is a variant with how its stock is counted.
type StockQuery struct {
	VariantID uuid.UUID
	// Track is whether stock is counted, Continue whether more can be sold
	// than there is.
	Track, Continue bool
}

// StockState is what there is of a variant.
type StockState struct {
	// Buyable is whether one more can be bought now.
	Buyable bool
	// Available is how many can be; nil is without end.
	Available *int64
}

// Orders knows what was sold.
type Orders interface {
	// EverOrdered reports whether an order names any of the variants.
	EverOrdered(ctx context.Context, tx pgx.Tx, variantIDs []uuid.UUID) (bool, error)
}

// Holds knows what is promised.
type Holds interface {
	// Held are those of the variants that have reserved stock.
	Held(ctx context.Context, tx pgx.Tx, variantIDs []uuid.UUID) ([]uuid.UUID, error)
}

// Tax knows what is added to prices.
type Tax interface {
	// Note is for a country by its ISO 3166-1 code.
	Note(ctx context.Context, country string) (openapi.TaxNote, error)
}

// Connect sets what the catalogue asks; it is not for use while requests are
// served.
func (k *Catalog) Connect(d Dependencies) { k.uses = d }

func (k *Catalog) currency(ctx context.Context) (string, error) {
	if k.uses.Currency == nil {
		return "EUR", nil
	}
	return k.uses.Currency(ctx)
}

// Invalidate makes every answer given so far one of the past: after a commit
// that changed what the catalogue shows.
func (k *Catalog) Invalidate(ctx context.Context) { k.answers.Forget(ctx) }

// changed is what an event of the catalogue tells.
type changed struct {
	Tags []string `json:"tags"`
}

// record has the answers with the tags forgotten also where the process dies
// between its commit and the Invalidate that follows: by whoever publishes the
// event.
func (k *Catalog) record(ctx context.Context, tx pgx.Tx, tags []string) error {
	if k.uses.Events == nil || len(tags) == 0 {
		return nil
	}
	return k.uses.Events.Append(ctx, tx, events.Event{
		Type: "catalog.changed", Topic: events.Catalog, Actor: "store", Data: changed{tags}, At: time.Now(),
	})
}

// Forget makes answers ones of the past that published events of the catalogue
// are about.
func (k *Catalog) Forget(ctx context.Context, published []events.Published) {
	for _, e := range published {
		var c changed
		if e.Topic == events.Catalog && json.Unmarshal(e.Data, &c) == nil {
			k.answers.Invalidate(ctx, c.Tags...)
		}
	}
}

// RulesChange has the answers that tell of tax forgotten when the store's rules
// change, as record does.
func (k *Catalog) RulesChange(ctx context.Context, tx pgx.Tx) error {
	return k.record(ctx, tx, []string{taxTag})
}

// RulesChanged makes such answers ones of the past.
func (k *Catalog) RulesChanged(ctx context.Context) { k.answers.Invalidate(ctx, taxTag) }

// Empty reports whether there is no product at all.
func (k *Catalog) Empty(ctx context.Context) (bool, error) {
	n, err := catalogdb.New(k.pool).CountProducts(ctx)
	return n == 0, err
}

// named reads what a path's idOrSlug names, by the one query or the other. What
// is not there is a *problem.Problem with the code.
func named[T any](idOrSlug, code string, byID func(uuid.UUID) (T, error), bySlug func(string) (T, error)) (found T, err error) {
	err = pgx.ErrNoRows
	if isID(idOrSlug) {
		found, err = byID(uuid.MustParse(idOrSlug))
	} else if slugPattern.MatchString(idOrSlug) {
		found, err = bySlug(idOrSlug)
	}
	if errors.Is(err, pgx.ErrNoRows) {
		return found, notFound(code, idOrSlug)
	}
	if err != nil {
		return found, fmt.Errorf("reading %.100q: %w", idOrSlug, err)
	}
	return found, nil
}

func notFound(code, idOrSlug string) error {
	return problem.New(http.StatusNotFound, code, "Nothing has the id or slug %.100q.", idOrSlug)
}

// all wants every id to be among found. What is not is a *problem.Problem that
// names it by its place below the pointer.
func all(ids, found []uuid.UUID, pointer string, detail string) error {
	there := map[uuid.UUID]bool{}
	for _, id := range found {
		there[id] = true
	}
	var missing problem.Findings
	for i, id := range ids {
		missing.Require(there[id], fmt.Sprintf(pointer, i), "%s", detail)
	}
	return missing.Err()
}
