package catalog

import (
	"context"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"gitee.com/captainjez/gocart/runtime/internal/batch"
	"gitee.com/captainjez/gocart/runtime/internal/catalog/catalogdb"
)

// together are the reads that a busy store shares between requests.
type together struct {
	byID      *batch.Reader[uuid.UUID, stored]
	bySlug    *batch.Reader[string, stored]
	pages     *batch.Reader[catalogdb.ListNewestParams, catalogdb.ListNewestRow]
	sellables *batch.Reader[offer, Sellable]
}

// stored is a product as it was written.
type stored struct {
	id               uuid.UUID
	status, document string
}

// offer is a variant in a currency.
type offer struct {
	variant  uuid.UUID
	currency string
}

func newTogether(q *catalogdb.Queries) together {
	return together{
		byID: batch.NewReader(func(ctx context.Context, ids []uuid.UUID) (map[uuid.UUID]stored, error) {
			rows, err := q.DocumentsByID(ctx, ids)
			found := make(map[uuid.UUID]stored, len(rows))
			for _, r := range rows {
				found[r.ID] = stored{r.ID, r.Status, r.Document}
			}
			return found, err
		}),
		bySlug: batch.NewReader(func(ctx context.Context, slugs []string) (map[string]stored, error) {
			rows, err := q.DocumentsBySlug(ctx, slugs)
			found := make(map[string]stored, len(rows))
			for _, r := range rows {
				found[r.Slug] = stored{r.ID, r.Status, r.Document}
			}
			return found, err
		}),
		pages: batch.NewReader(func(ctx context.Context, pages []catalogdb.ListNewestParams) (map[catalogdb.ListNewestParams]catalogdb.ListNewestRow, error) {
			found := make(map[catalogdb.ListNewestParams]catalogdb.ListNewestRow, len(pages))
			for _, page := range pages {
				row, err := q.ListNewest(ctx, page)
				if err != nil {
					return nil, err
				}
				found[page] = row
			}
			return found, nil
		}),
		sellables: batch.NewReader(func(ctx context.Context, offers []offer) (map[offer]Sellable, error) {
			return readSellables(ctx, q, offers)
		}),
	}
}

// one reads one key; what is not there is pgx.ErrNoRows.
func one[K comparable](ctx context.Context, r *batch.Reader[K, stored], key K) (stored, error) {
	product, ok, err := r.One(ctx, key)
	if err == nil && !ok {
		err = pgx.ErrNoRows
	}
	return product, err
}
