package inventory

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"gitee.com/captainjez/gocart/runtime/internal/inventory/inventorydb"
	"gitee.com/captainjez/gocart/runtime/internal/optional"
	"gitee.com/captainjez/gocart/runtime/internal/problem"
	"gitee.com/captainjez/gocart/runtime/internal/transfer"
	"gitee.com/captainjez/gocart/runtime/openapi"
)

// StockRecord is how many of a variant are at a location, as it comes in and goes
// out.
type StockRecord struct {
	SKU string `json:"sku"`
	// Location is one's name; nil for the one that orders take from first.
	Location *string `json:"location,omitempty"`
	OnHand   int64   `json:"onHand"`
}

// Transfer is how stock comes in, as a count, and goes out.
func (s *Stock) Transfer() transfer.Kind {
	columns := []string{"sku", "location", "onHand"}
	return transfer.Of[StockRecord]{
		Name: "stock", ReadScope: "inventory:read", WriteScope: "inventory:write", Put: s.importStock, From: s.stockFrom,
		Key: func(r StockRecord) (string, string) { return r.SKU + " " + optional.Value(r.Location), "/sku" },
		Sheets: map[string]transfer.Sheet[StockRecord]{"csv": {
			Required: []string{"sku", "onHand"}, Known: func(c string) bool { return slices.Contains(columns, c) },
			Read: func(_ context.Context, rows []transfer.Row) (r StockRecord, err error) {
				r.SKU, r.Location = rows[0].Get("sku"), optional.Of(rows[0].Get("location"))
				if r.OnHand, err = strconv.ParseInt(strings.TrimSpace(rows[0].Get("onHand")), 10, 64); err != nil {
					err = problem.Invalid(problem.Field{Pointer: "/onHand", Detail: "must be a whole number"})
				}
				return r, err
			},
			Columns: func(context.Context) ([]string, error) { return columns, nil },
			Rows: func(r StockRecord) []map[string]string {
				return []map[string]string{{
					"sku": r.SKU, "location": transfer.Defused(optional.Value(r.Location)), "onHand": strconv.FormatInt(r.OnHand, 10),
				}}
			},
		}},
	}
}

// importStock sets what is there. What can not be leaves the others as they are.
func (s *Stock) importStock(ctx context.Context, tx pgx.Tx, all []StockRecord) ([]transfer.Result, func(context.Context), error) {
	results := make([]transfer.Result, len(all))
	q := inventorydb.New(tx)
	locations, err := locationsByName(ctx, q)
	if err != nil {
		return nil, nil, err
	}
	skus := make([]string, len(all))
	for i, r := range all {
		skus[i] = r.SKU
	}
	refs, err := s.variants.VariantsBySKU(ctx, tx, skus)
	if err != nil {
		return nil, nil, err
	}
	at := make([]place, len(all))
	seen := map[place]bool{}
	var levels inventorydb.EnsureLevelsParams
	var demands []Demand
	for i, r := range all {
		var f problem.Findings
		ref, known := refs[r.SKU]
		location, there := locations[optional.Value(r.Location)]
		at[i] = place{ref.ID, location}
		f.Require(known, "/sku", "no variant has the SKU %.64q", r.SKU)
		f.Require(!known || ref.Track, "/sku", "stock of %.64q is not counted", r.SKU)
		f.Require(there, "/location", "no location is called %.100q", optional.Value(r.Location))
		f.Require(!known || !there || !seen[at[i]], "/sku", "was counted at the location shortly before")
		f.Range("/onHand", r.OnHand, 0, maxLevel/1000)
		if results[i].Err = f.Err(); results[i].Err != nil {
			continue
		}
		seen[at[i]] = true
		levels.VariantIds, levels.LocationIds = append(levels.VariantIds, ref.ID), append(levels.LocationIds, location)
		demands = append(demands, Demand{VariantID: ref.ID})
	}
	if len(demands) == 0 {
		return results, nil, nil
	}
	if err := q.EnsureLevels(ctx, levels); err != nil {
		return nil, nil, fmt.Errorf("making levels: %w", err)
	}
	locked, err := s.Lock(ctx, tx, demands)
	if err != nil {
		return nil, nil, err
	}
	for i, r := range all {
		if results[i].Err != nil {
			continue
		}
		v, unbounded := locked.levels[at[i]], refs[r.SKU].Continue
		switch {
		case r.OnHand == v.onHand:
			results[i].Outcome = transfer.Unchanged
			continue
		case !unbounded && r.OnHand < v.onHand && r.OnHand < v.reserved:
			results[i].Err = problem.New(http.StatusConflict, "stock_too_low", "%d are there and %d of them are reserved.", v.onHand, v.reserved)
			continue
		}
		results[i].Outcome = transfer.Updated
		var f problem.Findings
		locked.adjust(&f, "/onHand", at[i], openapi.AdjustmentInputReasonCount, r.OnHand, unbounded)
		if len(f) > 0 {
			return nil, nil, fmt.Errorf("counting stock: %w", f.Err())
		}
	}
	return results, nil, locked.Store(ctx, tx)
}

// locationsByName are all, and the one that orders take from first as "".
func locationsByName(ctx context.Context, q *inventorydb.Queries) (map[string]uuid.UUID, error) {
	list, err := q.ListLocations(ctx)
	if err != nil {
		return nil, fmt.Errorf("reading locations: %w", err)
	}
	locations := map[string]uuid.UUID{}
	switch first, err := q.FirstLocation(ctx); {
	case err == nil:
		locations[""] = first
	case !errors.Is(err, pgx.ErrNoRows):
		return nil, fmt.Errorf("reading locations: %w", err)
	}
	for _, l := range list {
		locations[l.Name] = l.ID
	}
	return locations, nil
}

// stockFrom reads levels after one of a variant and a location.
func (s *Stock) stockFrom(ctx context.Context, after string, most int32) (all []StockRecord, last string, err error) {
	query := inventorydb.ListLevelsParams{PageSize: most}
	if after != "" {
		variant, location, _ := strings.Cut(after, " ")
		var errV, errL error
		query.AfterVariant, errV = uuid.Parse(variant)
		query.AfterLocation, errL = uuid.Parse(location)
		if errV != nil || errL != nil {
			return nil, after, problem.Invalid(problem.Field{Pointer: "cursor", Detail: "is not one of this export"})
		}
	}
	q := inventorydb.New(s.pool)
	locations, err := q.ListLocations(ctx)
	if err != nil {
		return nil, after, fmt.Errorf("reading locations: %w", err)
	}
	names := make(map[uuid.UUID]string, len(locations))
	for _, l := range locations {
		names[l.ID] = l.Name
	}
	rows, err := q.ListLevels(ctx, query)
	if err != nil {
		return nil, after, fmt.Errorf("reading levels: %w", err)
	}
	ids := make([]uuid.UUID, len(rows))
	for i, r := range rows {
		ids[i] = r.VariantID
	}
	refs, err := s.variants.VariantRefs(ctx, s.pool, ids)
	if err != nil {
		return nil, after, err
	}
	for _, r := range rows {
		all = append(all, StockRecord{SKU: refs[r.VariantID].SKU, Location: new(names[r.LocationID]), OnHand: r.OnHand})
		last = r.VariantID.String() + " " + r.LocationID.String()
	}
	if len(rows) < int(most) {
		last = ""
	}
	return all, last, nil
}
