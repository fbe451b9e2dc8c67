package inventory

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"gitee.com/captainjez/gocart/runtime/internal/batch"
	"gitee.com/captainjez/gocart/runtime/internal/events"
	"gitee.com/captainjez/gocart/runtime/internal/inventory/inventorydb"
	"gitee.com/captainjez/gocart/runtime/internal/problem"
)

// Owner is who holds stock: an order, or a cart until a moment.
type Owner struct {
	ID    uuid.UUID
	Order bool
	Until time.Time
}

// Demand is how much of a variant somebody wants.
type Demand struct {
	VariantID uuid.UUID
	SKU       string
	Quantity  int64
	// Continue lets the level run below zero.
	Continue bool
}

// Locked is stock that one transaction holds: it is decided upon in memory,
// for many owners, and stored at once. Nobody else moves it meanwhile.
type Locked struct {
	levels map[place]*level
	// byVariant lists a variant's places, those to take from first in front.
	byVariant map[uuid.UUID][]place
	holds     map[uuid.UUID][]hold
	released  []uuid.UUID
	moves     []move
	events    *events.Log
	now       time.Time
	note      string
}

type place struct{ variant, location uuid.UUID }

type level struct {
	onHand, reserved, incoming int64
	priority                   int32
	active                     bool
	// The changes so far.
	dOnHand, dReserved, dIncoming int64
	unbounded                     bool
}

func (l *level) available() int64 { return l.onHand + l.dOnHand - l.reserved - l.dReserved }

type hold struct {
	place
	quantity int64
	order    bool
	until    time.Time
	stored   bool
}

type move struct {
	place
	reason                     string
	onHand, reserved, incoming int64
	order                      uuid.UUID
}

// Lock locks the levels of the demanded variants, and what the owners hold
// already, in the caller's transaction. Everybody locks reservations before
// levels and each in the order of their keys, so that nobody waits in a circle.
func (s *Stock) Lock(ctx context.Context, tx pgx.Tx, demands []Demand, holders ...uuid.UUID) (*Locked, error) {
	var statements batch.Statements
	l := s.LockWith(ctx, &statements, demands, holders...)
	return l, statements.Send(ctx, tx)
}

// LockWith is Lock as a part of statements: once they are sent, there is
// something to decide upon.
func (s *Stock) LockWith(ctx context.Context, statements *batch.Statements, demands []Demand, holders ...uuid.UUID) *Locked {
	l := &Locked{levels: map[place]*level{}, byVariant: map[uuid.UUID][]place{}, holds: map[uuid.UUID][]hold{}, events: s.events, now: s.now()}
	if len(holders) > 0 {
		statements.Add(func(db batch.DB) error { return l.readHolds(ctx, inventorydb.New(db), holders) })
	}
	// A variant that may run below zero needs a level to do so.
	var wanted, needed []uuid.UUID
	for _, d := range demands {
		wanted = append(wanted, d.VariantID)
		if d.Continue {
			needed = append(needed, d.VariantID)
		}
	}
	if len(needed) > 0 {
		statements.Add(func(db batch.DB) error {
			if err := inventorydb.New(db).EnsureFirstLevels(ctx, needed); err != nil {
				return fmt.Errorf("making levels: %w", err)
			}
			return nil
		})
	}
	if len(wanted)+len(holders) > 0 {
		levels := inventorydb.LockLevelsParams{VariantIds: wanted, OwnerIds: holders}
		statements.Add(func(db batch.DB) error { return l.readLevels(ctx, inventorydb.New(db), levels) })
	}
	return l
}

func (l *Locked) readHolds(ctx context.Context, q *inventorydb.Queries, holders []uuid.UUID) error {
	rows, err := q.LockReservations(ctx, holders)
	if err != nil {
		return fmt.Errorf("locking reservations: %w", err)
	}
	for _, r := range rows {
		h := hold{place: place{r.VariantID, r.LocationID}, quantity: r.Quantity, order: r.OrderOwned, stored: true}
		if r.ExpiresAt != nil {
			h.until = *r.ExpiresAt
		}
		l.holds[r.OwnerID] = append(l.holds[r.OwnerID], h)
	}
	return nil
}

func (l *Locked) readLevels(ctx context.Context, q *inventorydb.Queries, levels inventorydb.LockLevelsParams) error {
	rows, err := q.LockLevels(ctx, levels)
	if err != nil {
		return fmt.Errorf("locking stock: %w", err)
	}
	for _, r := range rows {
		at := place{r.VariantID, r.LocationID}
		l.levels[at] = &level{onHand: r.OnHand, reserved: r.Reserved, incoming: r.Incoming, priority: r.Priority, active: r.Active}
		l.byVariant[at.variant] = append(l.byVariant[at.variant], at)
	}
	for _, places := range l.byVariant {
		slices.SortFunc(places, func(a, b place) int {
			return cmp.Or(cmp.Compare(l.levels[a].priority, l.levels[b].priority), bytes.Compare(a.location[:], b.location[:]))
		})
	}
	return nil
}

// Reserve takes all that is demanded for an owner, or nothing: then it returns
// a *problem.Problem with status 409 that names each SKU there is too little
// of. A demand is met from the first location that has all of it, else from
// several in their order. The demands name each variant once.
func (l *Locked) Reserve(owner Owner, demands []Demand) error {
	var found problem.Findings
	var taken []hold
	for i, d := range demands {
		parts, short := l.split(d)
		found.Require(short == 0, fmt.Sprintf("/lines/%d", i), "only %d of %s can be bought now", d.Quantity-short, d.SKU)
		taken = append(taken, parts...)
	}
	if len(found) > 0 {
		p := problem.New(http.StatusConflict, "out_of_stock", "There is not enough in stock.")
		p.Errors = found
		return p
	}
	for _, h := range taken {
		h.order, h.until = owner.Order, owner.Until
		l.levels[h.place].dReserved += h.quantity
		l.holds[owner.ID] = append(l.holds[owner.ID], h)
		l.moves = append(l.moves, move{place: h.place, reason: "reserve", reserved: h.quantity, order: orderID(owner.ID, owner.Order)})
	}
	return nil
}

// split says where a demand is met from, and how much is short.
func (l *Locked) split(d Demand) (parts []hold, short int64) {
	places := l.byVariant[d.VariantID]
	for _, at := range places {
		if v := l.levels[at]; v.active && v.available() >= d.Quantity {
			return []hold{{place: at, quantity: d.Quantity}}, 0
		}
	}
	rest := d.Quantity
	for _, at := range places {
		v := l.levels[at]
		if part := min(rest, v.available()); v.active && part > 0 {
			parts = append(parts, hold{place: at, quantity: part})
			rest -= part
		}
	}
	if rest == 0 {
		return parts, 0
	}
	if first := l.firstActive(d.VariantID); d.Continue && first >= 0 {
		at := places[first]
		l.levels[at].unbounded = true
		if i := slices.IndexFunc(parts, func(h hold) bool { return h.place == at }); i >= 0 {
			parts[i].quantity += rest
			return parts, 0
		}
		return append(parts, hold{place: at, quantity: rest}), 0
	}
	return nil, rest
}

// firstActive is which of a variant's places is the first that orders take
// from, -1 for none.
func (l *Locked) firstActive(variant uuid.UUID) int {
	return slices.IndexFunc(l.byVariant[variant], func(at place) bool { return l.levels[at].active })
}

// over reports whether an owner holds something, until now or before.
func (l *Locked) over(owner uuid.UUID) bool {
	held := l.holds[owner]
	return len(held) > 0 && !slices.ContainsFunc(held, func(h hold) bool { return h.until.IsZero() || h.until.After(l.now) })
}

func orderID(owner uuid.UUID, isOrder bool) uuid.UUID {
	if isOrder {
		return owner
	}
	return uuid.Nil
}

// Release gives back what an owner holds. Called before anything else is
// decided, undo makes it not so.
func (l *Locked) Release(owner uuid.UUID) (undo func()) { return l.end(owner, "release", 0) }

// Ship takes what an owner holds out of the stock.
func (l *Locked) Ship(owner uuid.UUID) { l.end(owner, "ship", -1) }

func (l *Locked) end(owner uuid.UUID, reason string, onHand int64) (undo func()) {
	held, moves, released := l.holds[owner], len(l.moves), len(l.released)
	undo = func() {
		for _, h := range held {
			if v := l.levels[h.place]; v != nil {
				v.dReserved += h.quantity
				v.dOnHand -= onHand * h.quantity
			}
		}
		l.moves, l.released = l.moves[:moves], l.released[:released]
		l.holds[owner] = held
	}
	for _, h := range held {
		v := l.levels[h.place]
		if v == nil { // its variant is no more
			continue
		}
		v.dReserved -= h.quantity
		v.dOnHand += onHand * h.quantity
		l.moves = append(l.moves, move{place: h.place, reason: reason, onHand: onHand * h.quantity, reserved: -h.quantity, order: orderID(owner, h.order)})
	}
	delete(l.holds, owner)
	if len(held) > 0 {
		l.released = append(l.released, owner)
	}
	return undo
}

// Store writes what was decided: levels by one conditional statement, the
// movements that explain them, who holds what, and the events of it.
func (l *Locked) Store(ctx context.Context, tx pgx.Tx) error {
	var statements batch.Statements
	if err := l.StoreWith(ctx, &statements); err != nil {
		return err
	}
	return statements.Send(ctx, tx)
}

// StoreWith is Store as a part of statements.
func (l *Locked) StoreWith(ctx context.Context, statements *batch.Statements) error {
	if len(l.released) > 0 {
		statements.Add(func(db batch.DB) error {
			if err := inventorydb.New(db).DeleteReservations(ctx, l.released); err != nil {
				return fmt.Errorf("ending reservations: %w", err)
			}
			return nil
		})
	}
	l.storeLevels(ctx, statements)
	l.storeMovements(ctx, statements)
	l.storeHolds(ctx, statements)
	return l.events.AppendWith(ctx, statements, l.happened()...)
}

// changed is what an event of a variant's stock tells.
type changed struct {
	// Available is what can be bought, in all places that orders take from.
	Available int64 `json:"available"`
}

// happened are the events of variants of which another number is available.
func (l *Locked) happened() []events.Event {
	var all []events.Event
	for variant, places := range l.byVariant {
		was, is := int64(0), int64(0)
		for _, at := range places {
			if v := l.levels[at]; v.active {
				was += v.onHand - v.reserved
				is += v.available()
			}
		}
		if was != is {
			all = append(all, events.Event{
				Type: "stock.changed", Topic: events.Inventory, Subject: variant, Actor: "store", Public: true, Data: changed{Available: max(0, is)}, At: l.now,
			})
		}
	}
	return all
}

func (l *Locked) storeLevels(ctx context.Context, statements *batch.Statements) {
	var levels inventorydb.MoveLevelsParams
	for at, v := range l.levels {
		if v.dOnHand == 0 && v.dReserved == 0 && v.dIncoming == 0 {
			continue
		}
		levels.VariantIds = append(levels.VariantIds, at.variant)
		levels.LocationIds = append(levels.LocationIds, at.location)
		levels.OnHand = append(levels.OnHand, v.dOnHand)
		levels.Reserved = append(levels.Reserved, v.dReserved)
		levels.Incoming = append(levels.Incoming, v.dIncoming)
		levels.Unbounded = append(levels.Unbounded, v.unbounded)
	}
	if len(levels.VariantIds) == 0 {
		return
	}
	statements.Add(func(db batch.DB) error {
		n, err := inventorydb.New(db).MoveLevels(ctx, levels)
		if err != nil {
			return fmt.Errorf("moving stock: %w", err)
		}
		if n != int64(len(levels.VariantIds)) {
			return fmt.Errorf("moving stock: %d of %d levels had enough, under a lock that promised all", n, len(levels.VariantIds))
		}
		return nil
	})
}

func (l *Locked) storeMovements(ctx context.Context, statements *batch.Statements) {
	if len(l.moves) == 0 {
		return
	}
	rows := inventorydb.InsertMovementsParams{Note: l.note, CreatedAt: l.now}
	for _, m := range l.moves {
		rows.Ids = append(rows.Ids, uuid.Must(uuid.NewV7()))
		rows.VariantIds = append(rows.VariantIds, m.variant)
		rows.LocationIds = append(rows.LocationIds, m.location)
		rows.Reasons = append(rows.Reasons, m.reason)
		rows.OnHand = append(rows.OnHand, m.onHand)
		rows.Reserved = append(rows.Reserved, m.reserved)
		rows.Incoming = append(rows.Incoming, m.incoming)
		rows.OrderIds = append(rows.OrderIds, m.order)
	}
	statements.Add(func(db batch.DB) error {
		if err := inventorydb.New(db).InsertMovements(ctx, rows); err != nil {
			return fmt.Errorf("recording movements: %w", err)
		}
		return nil
	})
}

func (l *Locked) storeHolds(ctx context.Context, statements *batch.Statements) {
	var holds inventorydb.InsertReservationsParams
	for owner, list := range l.holds {
		for _, h := range list {
			if h.stored {
				continue
			}
			holds.OwnerIds = append(holds.OwnerIds, owner)
			holds.VariantIds = append(holds.VariantIds, h.variant)
			holds.LocationIds = append(holds.LocationIds, h.location)
			holds.Quantities = append(holds.Quantities, h.quantity)
			holds.OrderOwned = append(holds.OrderOwned, h.order)
			holds.ExpiresAt = append(holds.ExpiresAt, h.until)
		}
	}
	if len(holds.OwnerIds) == 0 {
		return
	}
	statements.Add(func(db batch.DB) error {
		if err := inventorydb.New(db).InsertReservations(ctx, holds); err != nil {
			return fmt.Errorf("storing reservations: %w", err)
		}
		return nil
	})
}
