// Package inventory is what is in stock, where, and for whom. It owns the
// tables locations, inventory_levels, stock_movements, stock_reservations and
// low_stock_alerts.
//
// Stock moves in the caller's transaction through Lock: overselling is
// impossible, because a level is locked while it is decided upon and moved by
// one statement that refuses to take what is not there.
package inventory

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"gitee.com/captainjez/gocart/runtime/internal/batch"
	"gitee.com/captainjez/gocart/runtime/internal/catalog"
	"gitee.com/captainjez/gocart/runtime/internal/db"
	"gitee.com/captainjez/gocart/runtime/internal/events"
	"gitee.com/captainjez/gocart/runtime/internal/inventory/inventorydb"
	"gitee.com/captainjez/gocart/runtime/internal/problem"
	"gitee.com/captainjez/gocart/runtime/openapi"
)

const (
	// maxLevel bounds what is in one place, so that sums fit.
	maxLevel = 1_000_000_000_000
	maxSKU   = 64
)

// Stock reads and moves stock.
type Stock struct {
	pool     *pgxpool.Pool
	variants *catalog.Catalog
	events   *events.Log
	now      func() time.Time
	// available is what of variants can be taken, read for all who ask at the
	// same moment.
	available *batch.Reader[uuid.UUID, int64]
}

// New makes a stock in the database.
func New(pool *pgxpool.Pool, variants *catalog.Catalog, log *events.Log, now func() time.Time) *Stock {
	return &Stock{pool: pool, variants: variants, events: log, now: now, available: batch.NewReader(
		func(ctx context.Context, ids []uuid.UUID) (map[uuid.UUID]int64, error) {
			rows, err := inventorydb.New(pool).Available(ctx, ids)
			found := make(map[uuid.UUID]int64, len(rows))
			for _, r := range rows {
				found[r.VariantID] = r.Available
			}
			return found, err
		})}
}

// States says what of the variants can be bought now.
func (s *Stock) States(ctx context.Context, queries []catalog.StockQuery) (map[uuid.UUID]catalog.StockState, error) {
	states := make(map[uuid.UUID]catalog.StockState, len(queries))
	var counted []uuid.UUID
	for _, q := range queries {
		states[q.VariantID] = catalog.StockState{Buyable: true}
		if q.Track && !q.Continue {
			counted = append(counted, q.VariantID)
		}
	}
	if len(counted) == 0 {
		return states, nil
	}
	available, err := s.available.Read(ctx, counted...)
	if err != nil {
		return nil, fmt.Errorf("reading stock: %w", err)
	}
	for _, id := range counted {
		n := max(0, available[id])
		states[id] = catalog.StockState{Buyable: n > 0, Available: &n}
	}
	return states, nil
}

// Held tells which of the variants have stock that belongs to somebody.
func (s *Stock) Held(ctx context.Context, tx pgx.Tx, variantIDs []uuid.UUID) ([]uuid.UUID, error) {
	held, err := inventorydb.New(tx).HeldVariants(ctx, variantIDs)
	if err != nil {
		return nil, fmt.Errorf("reading what is held: %w", err)
	}
	return held, nil
}

// ExpireHolds gives back what carts held until now or before, and returns how
// many carts. Two at once do no harm.
func (s *Stock) ExpireHolds(ctx context.Context) (int, error) {
	const most = 500
	for total := 0; ; {
		owners, err := inventorydb.New(s.pool).ExpiredOwners(ctx, inventorydb.ExpiredOwnersParams{Now: s.now(), Most: most})
		if err != nil {
			return total, fmt.Errorf("finding holds that ended: %w", err)
		}
		err = db.WithTx(ctx, s.pool, func(tx pgx.Tx) error {
			locked, err := s.Lock(ctx, tx, nil, owners...)
			if err != nil {
				return err
			}
			for _, owner := range owners {
				if locked.over(owner) { // and neither given back nor held anew since it was found
					locked.Release(owner)
					total++
				}
			}
			return locked.Store(ctx, tx)
		})
		if err != nil || len(owners) < most {
			return total, err
		}
	}
}

// Adjust changes levels by hand, in a transaction of its own.
func (s *Stock) Adjust(ctx context.Context, in openapi.AdjustmentInput) error {
	refs, err := s.check(ctx, in)
	if err != nil {
		return err
	}
	return db.WithTx(ctx, s.pool, func(tx pgx.Tx) error {
		_, err := s.adjust(ctx, tx, in, refs)
		return err
	})
}

// FirstLocation is the location that orders take from first; pgx.ErrNoRows
// where they take from none.
func (s *Stock) FirstLocation(ctx context.Context, q inventorydb.DBTX) (uuid.UUID, error) {
	return inventorydb.New(q).FirstLocation(ctx)
}

// CheckLocation is a *problem.Problem with status 400 for a location that is not
// there.
func (s *Stock) CheckLocation(ctx context.Context, q inventorydb.DBTX, id uuid.UUID) error {
	there, err := inventorydb.New(q).LocationExists(ctx, id)
	if err != nil {
		return fmt.Errorf("looking for a location: %w", err)
	}
	if !there {
		return problem.New(http.StatusBadRequest, "location_not_found", "The location does not exist; GET /locations lists those that do.")
	}
	return nil
}

// adjust changes levels by hand: counts, deliveries, losses.
func (s *Stock) adjust(ctx context.Context, tx pgx.Tx, in openapi.AdjustmentInput, refs map[string]catalog.VariantRef) (openapi.LevelList, error) {
	q := inventorydb.New(tx)
	var places inventorydb.EnsureLevelsParams
	var demands []Demand
	for _, c := range in.Changes {
		places.VariantIds = append(places.VariantIds, refs[c.Sku].ID)
		places.LocationIds = append(places.LocationIds, c.LocationId)
		demands = append(demands, Demand{VariantID: refs[c.Sku].ID})
	}
	err := q.EnsureLevels(ctx, places)
	if db.Violates(err, "inventory_levels_location_id_fkey") {
		return openapi.LevelList{}, problem.New(http.StatusBadRequest, "location_not_found", "One of these locations does not exist; GET /locations lists them.")
	}
	if err != nil {
		return openapi.LevelList{}, fmt.Errorf("making levels: %w", err)
	}
	locked, err := s.Lock(ctx, tx, demands)
	if err != nil {
		return openapi.LevelList{}, err
	}
	if in.Note != nil {
		locked.note = *in.Note
	}
	var f problem.Findings
	for i, c := range in.Changes {
		locked.adjust(&f, fmt.Sprintf("/changes/%d/quantity", i), place{refs[c.Sku].ID, c.LocationId}, in.Reason, c.Quantity, refs[c.Sku].Continue)
	}
	if len(f) > 0 {
		p := problem.New(http.StatusConflict, "stock_too_low", "The change would take more than there is.")
		p.Errors = f
		return openapi.LevelList{}, p
	}
	if err := locked.Store(ctx, tx); err != nil {
		return openapi.LevelList{}, err
	}
	out := openapi.LevelList{}
	for i, c := range in.Changes {
		v := locked.levels[place{demands[i].VariantID, c.LocationId}]
		out.Levels = append(out.Levels, levelOf(demands[i].VariantID, c.Sku, c.LocationId, v.onHand+v.dOnHand, v.reserved+v.dReserved, v.incoming+v.dIncoming))
	}
	return out, nil
}

// check finds the variants of an adjustment.
func (s *Stock) check(ctx context.Context, in openapi.AdjustmentInput) (map[string]catalog.VariantRef, error) {
	const most = 500
	var f problem.Findings
	f.Require(in.Reason.Valid(), "/reason", "must be count, delivery, announce, loss or correction")
	f.Require(len(in.Changes) >= 1 && len(in.Changes) <= most, "/changes", "must be 1 to %d changes", most)
	if in.Note != nil {
		f.Text("/note", *in.Note, 0, 500)
	}
	if err := f.Err(); err != nil {
		return nil, err
	}
	skus := make([]string, len(in.Changes))
	for i, c := range in.Changes {
		skus[i] = c.Sku
		f.Text(fmt.Sprintf("/changes/%d/sku", i), c.Sku, 1, maxSKU)
	}
	if err := f.Err(); err != nil {
		return nil, err
	}
	refs, err := s.variants.VariantsBySKU(ctx, s.pool, skus)
	if err != nil {
		return nil, err
	}
	seen := map[place]bool{}
	for i, c := range in.Changes {
		at := fmt.Sprintf("/changes/%d", i)
		ref, known := refs[c.Sku]
		f.Require(known, at+"/sku", "no variant has the SKU %.64q", c.Sku)
		f.Require(!known || ref.Track, at+"/sku", "stock of %.64q is not counted", c.Sku)
		f.Require(!seen[place{ref.ID, c.LocationId}], at, "names the same variant and location twice")
		seen[place{ref.ID, c.LocationId}] = true
		least := int64(0)
		if in.Reason == openapi.AdjustmentInputReasonCorrection || in.Reason == openapi.AdjustmentInputReasonAnnounce {
			least = -maxLevel / 1000
		}
		f.Range(at+"/quantity", c.Quantity, least, maxLevel/1000)
	}
	return refs, f.Err()
}

// adjust notes one change of a level, or what is wrong with it.
func (l *Locked) adjust(f *problem.Findings, pointer string, at place, reason openapi.AdjustmentInputReason, quantity int64, unbounded bool) {
	v := l.levels[at]
	m := move{place: at, reason: string(reason)}
	switch reason {
	case openapi.AdjustmentInputReasonCount:
		m.onHand = quantity - v.onHand
	case openapi.AdjustmentInputReasonDelivery:
		m.onHand, m.incoming = quantity, -min(quantity, v.incoming)
	case openapi.AdjustmentInputReasonAnnounce:
		m.incoming = quantity
	case openapi.AdjustmentInputReasonLoss:
		m.onHand = -quantity
	case openapi.AdjustmentInputReasonCorrection:
		m.onHand = quantity
	}
	v.unbounded = unbounded
	f.Require(v.incoming+m.incoming >= 0, pointer, "only %d are on their way", v.incoming)
	f.Require(unbounded || m.onHand >= 0 || v.onHand+m.onHand >= v.reserved, pointer, "%d are there and %d of them are reserved", v.onHand, v.reserved)
	f.Require(v.onHand+m.onHand <= maxLevel && v.incoming+m.incoming <= maxLevel, pointer, "a level can be %d at most", int64(maxLevel))
	v.dOnHand, v.dIncoming = m.onHand, m.incoming
	if m.onHand != 0 || m.incoming != 0 {
		l.moves = append(l.moves, m)
	}
}

func levelOf(variant uuid.UUID, sku string, location uuid.UUID, onHand, reserved, incoming int64) openapi.Level {
	return openapi.Level{
		VariantId: variant, Sku: sku, LocationId: location,
		OnHand: onHand, Reserved: reserved, Available: onHand - reserved, Incoming: incoming,
	}
}

// HeldBy is what an owner holds, by variant.
func (s *Stock) HeldBy(ctx context.Context, owner uuid.UUID) (map[uuid.UUID]int64, error) {
	rows, err := inventorydb.New(s.pool).HeldBy(ctx, owner)
	if err != nil {
		return nil, fmt.Errorf("reading reservations: %w", err)
	}
	held := make(map[uuid.UUID]int64, len(rows))
	for _, r := range rows {
		held[r.VariantID] = r.Quantity
	}
	return held, nil
}
