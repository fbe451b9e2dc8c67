package inventory

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"net/http"
	"slices"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"gitee.com/captainjez/gocart/runtime/internal/db"
	"gitee.com/captainjez/gocart/runtime/internal/inventory/inventorydb"
	"gitee.com/captainjez/gocart/runtime/internal/problem"
)

// Part is so much of a variant in one place; LocationID is uuid.Nil where it
// does not matter which.
type Part struct {
	VariantID  uuid.UUID `json:"variantId"`
	LocationID uuid.UUID `json:"locationId,omitzero"`
	Quantity   int64     `json:"quantity"`
}

func (p Part) place() place { return place{p.VariantID, p.LocationID} }

// LockAt is Lock for the places of parts, which get a level where they have
// none, and for what the owners hold. A location that is not there is a
// *problem.Problem with status 400.
func (s *Stock) LockAt(ctx context.Context, tx pgx.Tx, parts []Part, holders ...uuid.UUID) (*Locked, error) {
	demands := make([]Demand, len(parts))
	var places inventorydb.EnsureLevelsParams
	for i, p := range parts {
		demands[i].VariantID = p.VariantID
		places.VariantIds = append(places.VariantIds, p.VariantID)
		places.LocationIds = append(places.LocationIds, p.LocationID)
	}
	if len(parts) > 0 {
		err := inventorydb.New(tx).EnsureLevels(ctx, places)
		if db.Violates(err, "inventory_levels_location_id_fkey") {
			return nil, problem.New(http.StatusBadRequest, "location_not_found", "The location does not exist; GET /locations lists those that do.")
		}
		if err != nil {
			return nil, fmt.Errorf("making levels: %w", err)
		}
	}
	return s.Lock(ctx, tx, demands, holders...)
}

// Tracked are those of the variants whose stock is counted.
func (s *Stock) Tracked(ctx context.Context, tx pgx.Tx, variantIDs []uuid.UUID) (map[uuid.UUID]bool, error) {
	refs, err := s.variants.VariantRefs(ctx, tx, variantIDs)
	if err != nil {
		return nil, err
	}
	tracked := make(map[uuid.UUID]bool, len(refs))
	for id, r := range refs {
		tracked[id] = r.Track
	}
	return tracked, nil
}

// Held is what an owner holds, of each variant the places to take from first in
// front.
func (l *Locked) Held(owner uuid.UUID) []Part {
	var parts []Part
	for _, variant := range slices.SortedFunc(maps.Keys(l.byVariant), func(a, b uuid.UUID) int { return bytes.Compare(a[:], b[:]) }) {
		for _, at := range l.byVariant[variant] {
			for _, h := range l.holds[owner] {
				if h.place == at {
					parts = append(parts, Part{VariantID: variant, LocationID: at.location, Quantity: h.quantity})
				}
			}
		}
	}
	return parts
}

// Rehold has an order hold a part in another location than before. Where there
// is too little it is false, and nothing was done.
func (l *Locked) Rehold(order uuid.UUID, p Part, location uuid.UUID) bool {
	to := place{p.VariantID, location}
	v := l.levels[to]
	if v == nil || v.available() < p.Quantity {
		return false
	}
	l.hold(order, p.place(), -p.Quantity)
	l.book(p.place(), "release", order, 0, -p.Quantity)
	l.hold(order, to, p.Quantity)
	l.book(to, "reserve", order, 0, p.Quantity)
	return true
}

// ShipPart takes a part of what an order holds out of the stock.
func (l *Locked) ShipPart(order uuid.UUID, p Part) {
	l.hold(order, p.place(), -p.Quantity)
	l.book(p.place(), "ship", order, -p.Quantity, -p.Quantity)
}

// Unship puts a part that had left back into the stock, where the order holds it
// again.
func (l *Locked) Unship(order uuid.UUID, p Part) {
	l.hold(order, p.place(), p.Quantity)
	l.book(p.place(), "return", order, p.Quantity, p.Quantity)
}

// Restock puts a part that came back from an order into the stock, for anybody.
func (l *Locked) Restock(order uuid.UUID, p Part) {
	l.book(p.place(), "return", order, p.Quantity, 0)
}

// hold changes how much an order holds in a place. What it holds is stored anew
// as a whole.
func (l *Locked) hold(order uuid.UUID, at place, quantity int64) {
	held := l.holds[order]
	if !slices.Contains(l.released, order) && len(held) > 0 {
		l.released = append(l.released, order)
	}
	found := false
	for i := range held {
		held[i].stored = false
		if held[i].place == at {
			held[i].quantity += quantity
			found = true
		}
	}
	if !found {
		held = append(held, hold{place: at, quantity: quantity, order: true})
	}
	l.holds[order] = slices.DeleteFunc(held, func(h hold) bool { return h.quantity == 0 })
}

// book moves a level, and says why.
func (l *Locked) book(at place, reason string, order uuid.UUID, onHand, reserved int64) {
	v := l.levels[at]
	v.dOnHand += onHand
	v.dReserved += reserved
	l.moves = append(l.moves, move{place: at, reason: reason, onHand: onHand, reserved: reserved, order: order})
}
