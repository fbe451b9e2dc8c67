package cart

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"gitee.com/captainjez/gocart/runtime/internal/batch"
	"gitee.com/captainjez/gocart/runtime/internal/cart/cartdb"
	"gitee.com/captainjez/gocart/runtime/internal/db"
	"gitee.com/captainjez/gocart/runtime/internal/problem"
	"gitee.com/captainjez/gocart/runtime/openapi"
)

// together are the reads and writes that a busy store shares between requests.
type together struct {
	byID    *batch.Reader[uuid.UUID, cartdb.Cart]
	inserts *batch.Batch[*Cart, struct{}]
	edits   *batch.Batch[edit, Cart]
}

// edit is a change of a cart's content that needs nothing else.
type edit struct {
	id  uuid.UUID
	who Who
	do  func(*Cart) error
}

func (s *Carts) newTogether() together {
	singly := func(err error) bool { return !db.Unavailable(err) }
	return together{
		byID: batch.NewReader(func(ctx context.Context, ids []uuid.UUID) (map[uuid.UUID]cartdb.Cart, error) {
			rows, err := cartdb.New(s.pool).CartsByID(ctx, ids)
			found := make(map[uuid.UUID]cartdb.Cart, len(rows))
			for _, r := range rows {
				found[r.ID] = r
			}
			return found, err
		}),
		inserts: batch.New(batch.Options[*Cart]{Singly: singly}, func(ctx context.Context, all []*Cart) ([]batch.Result[struct{}], error) {
			return s.insert(ctx, cartdb.New(s.pool), all)
		}),
		edits: batch.New(batch.Options[edit]{Singly: singly, Apart: func(e edit) []string { return []string{e.id.String()} }},
			func(ctx context.Context, all []edit) (results []batch.Result[Cart], err error) {
				err = db.WithTx(ctx, s.pool, func(tx pgx.Tx) (err error) {
					results, err = s.editAll(ctx, tx, all)
					return err
				})
				return results, err
			}),
	}
}

// insert stores new carts, which have their expiry.
func (s *Carts) insert(ctx context.Context, q *cartdb.Queries, all []*Cart) ([]batch.Result[struct{}], error) {
	rows := cartdb.InsertCartsParams{Now: s.now()}
	for _, c := range all {
		content, err := json.Marshal(c.Content)
		if err != nil {
			return nil, fmt.Errorf("encoding a cart: %w", err)
		}
		rows.Ids = append(rows.Ids, c.ID)
		rows.CustomerIds = append(rows.CustomerIds, c.CustomerID)
		rows.Currencies = append(rows.Currencies, c.Currency)
		rows.Contents = append(rows.Contents, string(content))
		rows.ExpiresAt = append(rows.ExpiresAt, c.ExpiresAt)
	}
	stored, err := q.InsertCarts(ctx, rows)
	if err != nil {
		return nil, fmt.Errorf("storing carts: %w", err)
	}
	results := make([]batch.Result[struct{}], len(all))
	for i, c := range all {
		if !slices.Contains(stored, c.ID) {
			results[i].Err = problem.New(http.StatusConflict, "cart_open", "You have an open cart; GET /me/cart reads it.")
		}
	}
	return results, nil
}

// editAll locks carts, lets each be edited, and stores those that were.
func (s *Carts) editAll(ctx context.Context, tx pgx.Tx, all []edit) ([]batch.Result[Cart], error) {
	ids := make([]uuid.UUID, len(all))
	for i, e := range all {
		ids[i] = e.id
	}
	found := make(map[uuid.UUID]cartdb.Cart, len(all))
	var locks batch.Statements
	locks.PlanOnce(ctx)
	locks.Add(func(db batch.DB) error {
		rows, err := cartdb.New(db).LockWholeCarts(ctx, ids)
		for _, r := range rows {
			found[r.ID] = r
		}
		return err
	})
	if err := locks.Send(ctx, tx); err != nil {
		return nil, fmt.Errorf("locking carts: %w", err)
	}
	results := make([]batch.Result[Cart], len(all))
	edited := cartdb.StoreContentsParams{TouchedAt: s.now()}
	for i, e := range all {
		r, ok := found[e.id]
		missing := pgx.ErrNoRows
		if ok {
			missing = nil
		}
		c, err := s.read(r, missing, e.who)
		if err == nil {
			err = c.change(e.do)
		}
		if err != nil {
			results[i].Err = err
			continue
		}
		content, err := json.Marshal(c.Content)
		if err != nil {
			return nil, fmt.Errorf("encoding a cart: %w", err)
		}
		c.ExpiresAt = expiry(edited.TouchedAt)
		c.Version++
		results[i].Value = c
		edited.Ids = append(edited.Ids, c.ID)
		edited.Contents = append(edited.Contents, string(content))
		edited.ExpiresAt = append(edited.ExpiresAt, c.ExpiresAt)
	}
	if len(edited.Ids) == 0 {
		return results, nil
	}
	if err := cartdb.New(tx).StoreContents(ctx, edited); err != nil {
		return nil, fmt.Errorf("storing carts: %w", err)
	}
	return results, nil
}

// change lets an open cart be changed.
func (c *Cart) change(do func(*Cart) error) error {
	if c.OrderID != uuid.Nil {
		return Ordered(c.OrderID)
	}
	return do(c)
}

// edit changes a cart's content and prices it.
func (s *Carts) edit(ctx context.Context, id uuid.UUID, who Who, do func(*Cart) error) (openapi.Cart, error) {
	c, err := s.edits.Do(ctx, edit{id, who, do})
	if err != nil {
		return openapi.Cart{}, err
	}
	return s.Public(ctx, c)
}
