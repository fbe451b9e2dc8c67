// Package events records what happened, in the transaction in which it
// happened, and tells it to those who listen, in one order that all see. It
// owns the tables events and event_position.
//
// An event is never changed: what reads them, such as an order's timeline, can
// rely on their order within one subject. One with a topic gets a position when
// its transaction has committed: positions have no gaps, so that whoever misses
// one knows it, and those of one subject are in the order in which it changed.
// The Relay gives positions and publishes; a Feed hears, on every replica, of
// all of them, by Redis where there is one and from PostgreSQL otherwise, and
// has what it missed from PostgreSQL.
package events

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"

	"gitee.com/captainjez/gocart/runtime/internal/batch"
	"gitee.com/captainjez/gocart/runtime/internal/events/eventsdb"
)

// Topics that somebody may listen to.
const (
	Orders    = "orders"
	Inventory = "inventory"
	Payments  = "payments"
	Jobs      = "jobs"
	// Customers is for webhooks alone: no socket listens to it.
	Customers = "customers"
	// Catalog is for the store itself, which forgets what it keeps of answers.
	Catalog = "catalog"
)

// Event is something that happened.
type Event struct {
	ID uuid.UUID
	// Type is a noun and what became of it, such as order.placed.
	Type string
	// Topic is where it is told; empty for nowhere.
	Topic string
	// Subject is the id of what it happened to.
	Subject uuid.UUID
	// Customer is whose it is, uuid.Nil for nobody's.
	Customer uuid.UUID
	// Actor is who did it, as identity.Principal.Actor says it, or "store".
	Actor string
	// Public events may be seen by the customer.
	Public bool
	// Data is what else there is to say, in an object.
	Data any
	At   time.Time
}

// ByStaff reports whether staff, or a program with a key, did something.
func ByStaff(actor string) bool {
	kind, _, _ := strings.Cut(actor, " ")
	return kind == "staff" || kind == "key"
}

// ForCustomer is what of an event's data its customer may know: not why staff
// did it, nor where something is packed.
func ForCustomer(kind, actor string, data json.RawMessage) json.RawMessage {
	var all map[string]json.RawMessage
	if json.Unmarshal(data, &all) != nil {
		return data
	}
	before := len(all)
	delete(all, "locationId")
	if kind == "refund.failed" { // what staff can do about it
		delete(all, "reason")
	}
	if ByStaff(actor) {
		delete(all, "reason")
		if reasoned(kind) {
			delete(all, "text")
		}
	}
	if len(all) == before {
		return data
	}
	raw, err := json.Marshal(all)
	if err != nil { // it was JSON
		panic(err)
	}
	return raw
}

// reasoned reports whether text was the reason, in events of before the reason
// was told by itself.
func reasoned(kind string) bool {
	switch kind {
	case "order.note", "order.edited", "order.payment":
		return false
	case "fulfillment.cancelled", "return.cancelled":
		return true
	}
	return strings.HasPrefix(kind, "order.")
}

// Log records events. It may be used by many at once.
type Log struct {
	pool *pgxpool.Pool
	// appended has the relay look soon.
	appended chan struct{}
}

// NewLog makes the log of a database.
func NewLog(pool *pgxpool.Pool) *Log {
	return &Log{pool: pool, appended: make(chan struct{}, 1)}
}

// Append records events, in their order, in the caller's transaction.
func (l *Log) Append(ctx context.Context, tx eventsdb.DBTX, all ...Event) error {
	if len(all) == 0 {
		return nil
	}
	rows, err := encode(all)
	if err != nil {
		return err
	}
	return l.insert(ctx, tx, rows)
}

// AppendWith is Append as a part of statements.
func (l *Log) AppendWith(ctx context.Context, statements *batch.Statements, all ...Event) error {
	if len(all) == 0 {
		return nil
	}
	rows, err := encode(all)
	if err != nil {
		return err
	}
	statements.Add(func(db batch.DB) error { return l.insert(ctx, db, rows) })
	return nil
}

// encode gives events their IDs and makes them rows.
func encode(all []Event) (rows eventsdb.InsertEventsParams, err error) {
	for i := range all {
		e := &all[i]
		e.ID = uuid.Must(uuid.NewV7())
		data, err := json.Marshal(e.Data)
		if err != nil {
			return rows, fmt.Errorf("event %s: %w", e.Type, err)
		}
		rows.Ids = append(rows.Ids, e.ID)
		rows.Types = append(rows.Types, e.Type)
		rows.SubjectIds = append(rows.SubjectIds, e.Subject)
		rows.Actors = append(rows.Actors, e.Actor)
		rows.Public = append(rows.Public, e.Public)
		rows.Data = append(rows.Data, string(data))
		rows.CreatedAt = append(rows.CreatedAt, e.At)
		rows.Topics = append(rows.Topics, e.Topic)
		rows.CustomerIds = append(rows.CustomerIds, e.Customer)
	}
	return rows, nil
}

func (l *Log) insert(ctx context.Context, tx eventsdb.DBTX, rows eventsdb.InsertEventsParams) error {
	if err := eventsdb.New(tx).InsertEvents(ctx, rows); err != nil {
		return fmt.Errorf("recording events: %w", err)
	}
	select {
	case l.appended <- struct{}{}:
	default:
	}
	return nil
}

// Of lists what happened to a subject, oldest first, 1,000 at most; only what
// the customer may see unless everything is asked for. Data is
// json.RawMessage.
func (l *Log) Of(ctx context.Context, subject uuid.UUID, everything bool) ([]Event, error) {
	rows, err := eventsdb.New(l.pool).EventsOf(ctx, eventsdb.EventsOfParams{SubjectID: subject, Everything: everything})
	if err != nil {
		return nil, fmt.Errorf("reading events: %w", err)
	}
	all := make([]Event, len(rows))
	for i, r := range rows {
		all[i] = Event{ID: r.ID, Type: r.Type, Subject: subject, Actor: r.Actor, Public: r.Public, Data: json.RawMessage(r.Data), At: r.CreatedAt.UTC()}
	}
	return all, nil
}

// keepFor is for how long an event is kept that is nobody's history: who was
// away for longer has to read anew what is.
const keepFor = 7 * 24 * time.Hour

// Forget removes such events, and returns how many.
func (l *Log) Forget(ctx context.Context, now time.Time) (int64, error) {
	const most = 1000
	for total := int64(0); ; {
		n, err := eventsdb.New(l.pool).ForgetEvents(ctx, eventsdb.ForgetEventsParams{Before: now.Add(-keepFor), Most: most})
		if total += n; err != nil {
			return total, fmt.Errorf("forgetting events: %w", err)
		}
		if n < most {
			return total, nil
		}
	}
}
