// Package events records what happened, in the transaction in which it
// happened. An event is never changed: what reads them, such as an order's
// timeline, can rely on their order within one subject.
package events

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/google/uuid"

	"gitee.com/captainjez/gocart/runtime/internal/batch"
	"gitee.com/captainjez/gocart/runtime/internal/events/eventsdb"
)

// Event is something that happened.
type Event struct {
	ID uuid.UUID
	// Type is a noun and what became of it, such as order.placed.
	Type string
	// Subject is the id of what it happened to.
	Subject uuid.UUID
	// Actor is who did it, as identity.Principal.Actor says it, or "store".
	Actor string
	// Public events may be seen by the customer.
	Public bool
	// Data is what else there is to say, in an object.
	Data any
	At   time.Time
}

// Append records events, in their order, in the caller's transaction.
func Append(ctx context.Context, tx eventsdb.DBTX, all ...Event) error {
	if len(all) == 0 {
		return nil
	}
	rows, err := encode(all)
	if err != nil {
		return err
	}
	return insert(ctx, tx, rows)
}

// AppendWith is Append, of one event at least, as a part of statements.
func AppendWith(ctx context.Context, statements *batch.Statements, all ...Event) error {
	rows, err := encode(all)
	if err != nil {
		return err
	}
	statements.Add(func(db batch.DB) error { return insert(ctx, db, rows) })
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
	}
	return rows, nil
}

func insert(ctx context.Context, tx eventsdb.DBTX, rows eventsdb.InsertEventsParams) error {
	if err := eventsdb.New(tx).InsertEvents(ctx, rows); err != nil {
		return fmt.Errorf("recording events: %w", err)
	}
	return nil
}

// Of lists what happened to a subject, oldest first, 1,000 at most; only what
// the customer may see unless everything is asked for. Data is
// json.RawMessage.
func Of(ctx context.Context, q eventsdb.DBTX, subject uuid.UUID, everything bool) ([]Event, error) {
	rows, err := eventsdb.New(q).EventsOf(ctx, eventsdb.EventsOfParams{SubjectID: subject, Everything: everything})
	if err != nil {
		return nil, fmt.Errorf("reading events: %w", err)
	}
	all := make([]Event, len(rows))
	for i, r := range rows {
		all[i] = Event{ID: r.ID, Type: r.Type, Subject: subject, Actor: r.Actor, Public: r.Public, Data: json.RawMessage(r.Data), At: r.CreatedAt.UTC()}
	}
	return all, nil
}
