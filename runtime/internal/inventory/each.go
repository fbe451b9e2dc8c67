package inventory

import (
	"context"
	"fmt"

	"github.com/google/uuid"

	"gitee.com/captainjez/gocart/runtime/internal/inventory/inventorydb"
)

// Shelf is a level with the names of what is there and where. SKU and Title are
// empty for a variant that is no more.
type Shelf struct {
	SKU, Title, Location       string
	OnHand, Reserved, Incoming int64
}

// EachShelf calls each for every level, in the order of the variants' ids. It
// reads them in parts, so stock that moves meanwhile is told of as it was when
// its part was read.
func (s *Stock) EachShelf(ctx context.Context, each func(Shelf) error) error {
	const most = 500
	q := inventorydb.New(s.pool)
	locations, err := q.ListLocations(ctx)
	if err != nil {
		return fmt.Errorf("reading locations: %w", err)
	}
	names := make(map[uuid.UUID]string, len(locations))
	for _, l := range locations {
		names[l.ID] = l.Name
	}
	for page := (inventorydb.ListLevelsParams{PageSize: most}); ; {
		rows, err := q.ListLevels(ctx, page)
		if err != nil {
			return fmt.Errorf("reading levels: %w", err)
		}
		ids := make([]uuid.UUID, len(rows))
		for i, r := range rows {
			ids[i] = r.VariantID
		}
		found, err := s.variants.Sellables(ctx, ids, "") // what they cost does not matter
		if err != nil {
			return err
		}
		for _, r := range rows {
			v := found[r.VariantID]
			err := each(Shelf{SKU: v.SKU, Title: v.Title, Location: names[r.LocationID], OnHand: r.OnHand, Reserved: r.Reserved, Incoming: r.Incoming})
			if err != nil {
				return err
			}
		}
		if len(rows) < most {
			return nil
		}
		page.AfterVariant, page.AfterLocation = rows[most-1].VariantID, rows[most-1].LocationID
	}
}
