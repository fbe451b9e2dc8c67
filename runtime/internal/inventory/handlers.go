package inventory

import (
	"context"
	"net/http"
	"strings"

	"github.com/gin-gonic/gin"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"gitee.com/captainjez/gocart/runtime/internal/catalog"
	"gitee.com/captainjez/gocart/runtime/internal/db"
	"gitee.com/captainjez/gocart/runtime/internal/inventory/inventorydb"
	"gitee.com/captainjez/gocart/runtime/internal/problem"
	"gitee.com/captainjez/gocart/runtime/internal/rest"
	"gitee.com/captainjez/gocart/runtime/openapi"
)

// Handlers is the stock's part of openapi.ServerInterface.
type Handlers struct{ Stock *Stock }

// ListLocations answers GET /locations.
func (h Handlers) ListLocations(c *gin.Context) {
	rows, err := inventorydb.New(h.Stock.pool).ListLocations(c.Request.Context())
	list := openapi.LocationList{Locations: []openapi.Location{}}
	for _, r := range rows {
		list.Locations = append(list.Locations, openapi.Location{Id: r.ID, Name: r.Name, Priority: int(r.Priority), Active: r.Active})
	}
	rest.JSON(c, http.StatusOK, list, err)
}

// CreateLocation answers POST /locations.
func (h Handlers) CreateLocation(c *gin.Context, params openapi.CreateLocationParams) {
	rest.Create(c, h.Stock.pool, rest.Creation[openapi.LocationInput, openapi.Location]{
		Key: params.IdempotencyKey,
		Effect: func(ctx context.Context, tx pgx.Tx, in openapi.LocationInput) (openapi.Location, error) {
			l, err := location(uuid.Must(uuid.NewV7()), in)
			if err != nil {
				return l, err
			}
			return l, inventorydb.New(tx).InsertLocation(ctx, inventorydb.InsertLocationParams{ID: l.Id, Name: l.Name, Priority: int32(l.Priority), Active: l.Active})
		},
		Location:  func(l openapi.Location) string { return "/locations/" + l.Id.String() },
		Translate: nameTaken,
	})
}

func location(id uuid.UUID, in openapi.LocationInput) (openapi.Location, error) {
	l := openapi.Location{Id: id, Name: strings.TrimSpace(in.Name), Active: in.Active == nil || *in.Active}
	if in.Priority != nil {
		l.Priority = *in.Priority
	}
	var f problem.Findings
	f.Text("/name", l.Name, 1, 100)
	f.Range("/priority", int64(l.Priority), 0, 1_000_000)
	return l, f.Err()
}

func nameTaken(err error, in openapi.LocationInput) error {
	if db.Violates(err, "locations_name_key") {
		return problem.New(http.StatusConflict, "name_taken", "Another location is called %q.", strings.TrimSpace(in.Name))
	}
	return err
}

// ReplaceLocation answers PUT /locations/{id}.
func (h Handlers) ReplaceLocation(c *gin.Context, id uuid.UUID) {
	in, ok := rest.Read[openapi.LocationInput](c)
	if !ok {
		return
	}
	l, err := location(id, in)
	if err != nil {
		rest.Fail(c, err)
		return
	}
	n, err := inventorydb.New(h.Stock.pool).ReplaceLocation(c.Request.Context(), inventorydb.ReplaceLocationParams{
		ID: id, Name: l.Name, Priority: int32(l.Priority), Active: l.Active,
	})
	if err == nil && n == 0 {
		err = locationNotFound(id)
	}
	rest.JSON(c, http.StatusOK, l, nameTaken(err, in))
}

// DeleteLocation answers DELETE /locations/{id}.
func (h Handlers) DeleteLocation(c *gin.Context, id uuid.UUID) {
	ctx, q := c.Request.Context(), inventorydb.New(h.Stock.pool)
	n, err := q.DeleteLocation(ctx, id)
	if err == nil && n == 0 {
		var there bool
		if there, err = q.LocationExists(ctx, id); err == nil {
			err = locationNotFound(id)
			if there {
				err = locationInUse()
			}
		}
	}
	if db.Violates(err, "inventory_levels_location_id_fkey") {
		err = locationInUse()
	}
	rest.NoContent(c, err)
}

func locationNotFound(id uuid.UUID) error {
	return problem.New(http.StatusNotFound, "location_not_found", "No location has the id %s.", id)
}

func locationInUse() error {
	return problem.New(http.StatusConflict, "location_in_use", "The location has levels of stock; set active to false so that orders take nothing from it.")
}

// levelPlace is the place of a level in the list.
type levelPlace struct{ V, L uuid.UUID }

// ListInventory answers GET /inventory.
func (h Handlers) ListInventory(c *gin.Context, params openapi.ListInventoryParams) {
	page, err := h.levels(c.Request.Context(), params)
	rest.JSON(c, http.StatusOK, page, err)
}

func (h Handlers) levels(ctx context.Context, params openapi.ListInventoryParams) (openapi.InventoryPage, error) {
	page := openapi.InventoryPage{Levels: []openapi.Level{}}
	limit, err := rest.Limit(params.Limit)
	if err != nil {
		return page, err
	}
	var after levelPlace
	if err := rest.Place(params.Cursor, "inventory", &after); err != nil {
		return page, err
	}
	query := inventorydb.ListLevelsParams{
		AfterVariant: after.V, AfterLocation: after.L, LocationID: params.LocationId, PageSize: int32(limit + 1),
	}
	var f problem.Findings
	if params.AtMost != nil {
		most := int64(*params.AtMost)
		f.Range("atMost", most, 0, 1_000_000_000)
		query.AtMost = &most
	}
	if err := checkSKU(&f, params.Sku); err != nil {
		return page, err
	}
	if params.Sku != nil || params.ProductId != nil {
		if query.VariantIds, err = h.variantIDs(ctx, params); err != nil {
			return page, err
		}
	}
	rows, err := inventorydb.New(h.Stock.pool).ListLevels(ctx, query)
	if err != nil {
		return page, err
	}
	if len(rows) > limit {
		rows = rows[:limit]
		next := rest.Cursor("inventory", levelPlace{rows[limit-1].VariantID, rows[limit-1].LocationID})
		page.NextCursor = &next
	}
	ids := make([]uuid.UUID, len(rows))
	for i, r := range rows {
		ids[i] = r.VariantID
	}
	refs, err := h.Stock.variants.VariantRefs(ctx, h.Stock.pool, ids)
	if err != nil {
		return page, err
	}
	for _, r := range rows {
		page.Levels = append(page.Levels, levelOf(r.VariantID, refs[r.VariantID].SKU, r.LocationID, r.OnHand, r.Reserved, r.Incoming))
	}
	return page, nil
}

// variantIDs are those that the filters name; never nil.
func (h Handlers) variantIDs(ctx context.Context, params openapi.ListInventoryParams) ([]uuid.UUID, error) {
	ids := []uuid.UUID{}
	if params.ProductId != nil {
		refs, err := h.Stock.variants.ProductVariants(ctx, h.Stock.pool, *params.ProductId)
		if err != nil {
			return nil, err
		}
		for _, r := range refs {
			if params.Sku == nil || r.SKU == *params.Sku {
				ids = append(ids, r.ID)
			}
		}
		return ids, nil
	}
	ref, err := h.bySKU(ctx, *params.Sku)
	if err != nil || ref == nil {
		return ids, err
	}
	return append(ids, ref.ID), nil
}

// checkSKU reports what was found, and whether a filter can be a SKU.
func checkSKU(f *problem.Findings, sku *string) error {
	if sku != nil {
		f.Text("sku", *sku, 0, maxSKU)
	}
	return f.Err()
}

func (h Handlers) bySKU(ctx context.Context, sku string) (*catalog.VariantRef, error) {
	refs, err := h.Stock.variants.VariantsBySKU(ctx, h.Stock.pool, []string{sku})
	if ref, ok := refs[sku]; ok {
		return &ref, err
	}
	return nil, err
}

// AdjustInventory answers POST /inventory/adjustments.
func (h Handlers) AdjustInventory(c *gin.Context, params openapi.AdjustInventoryParams) {
	var refs map[string]catalog.VariantRef
	rest.Create(c, h.Stock.pool, rest.Creation[openapi.AdjustmentInput, openapi.LevelList]{
		Key: params.IdempotencyKey,
		Prepare: func(ctx context.Context, in openapi.AdjustmentInput) (err error) {
			refs, err = h.Stock.check(ctx, in)
			return err
		},
		Effect: func(ctx context.Context, tx pgx.Tx, in openapi.AdjustmentInput) (openapi.LevelList, error) {
			return h.Stock.adjust(ctx, tx, in, refs)
		},
	})
}

// ListMovements answers GET /inventory/movements.
func (h Handlers) ListMovements(c *gin.Context, params openapi.ListMovementsParams) {
	page, err := h.movements(c.Request.Context(), params)
	rest.JSON(c, http.StatusOK, page, err)
}

func (h Handlers) movements(ctx context.Context, params openapi.ListMovementsParams) (openapi.MovementPage, error) {
	page := openapi.MovementPage{Movements: []openapi.Movement{}}
	before, size, err := rest.Paging(params.Limit, params.Cursor, "movements")
	if err != nil {
		return page, err
	}
	if err := checkSKU(&problem.Findings{}, params.Sku); err != nil {
		return page, err
	}
	query := inventorydb.ListMovementsParams{Before: before, PageSize: size, OrderID: params.OrderId, LocationID: params.LocationId}
	if params.Sku != nil {
		ref, err := h.bySKU(ctx, *params.Sku)
		if err != nil || ref == nil {
			return page, err
		}
		query.VariantID = &ref.ID
	}
	rows, err := inventorydb.New(h.Stock.pool).ListMovements(ctx, query)
	if err != nil {
		return page, err
	}
	rows, page.NextCursor = rest.Page(rows, size, "movements", func(r inventorydb.StockMovement) uuid.UUID { return r.ID })
	ids := make([]uuid.UUID, len(rows))
	for i, r := range rows {
		ids[i] = r.VariantID
	}
	refs, err := h.Stock.variants.VariantRefs(ctx, h.Stock.pool, ids)
	if err != nil {
		return page, err
	}
	for _, r := range rows {
		m := openapi.Movement{
			Id: r.ID, VariantId: r.VariantID, Sku: refs[r.VariantID].SKU, LocationId: r.LocationID, Reason: openapi.MovementReason(r.Reason),
			OnHand: r.OnHand, Reserved: r.Reserved, Incoming: r.Incoming, OrderId: r.OrderID, CreatedAt: r.CreatedAt.UTC(),
		}
		if r.Note != "" {
			m.Note = &r.Note
		}
		page.Movements = append(page.Movements, m)
	}
	return page, nil
}
