package webhook

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"gitee.com/captainjez/gocart/runtime/internal/db"
	"gitee.com/captainjez/gocart/runtime/internal/optional"
	"gitee.com/captainjez/gocart/runtime/internal/problem"
	"gitee.com/captainjez/gocart/runtime/internal/webhook/webhookdb"
	"gitee.com/captainjez/gocart/runtime/openapi"
)

// test makes a delivery for trying.
func (w *Webhooks) test(ctx context.Context, id uuid.UUID) (openapi.WebhookDelivery, error) {
	now := w.now().Truncate(time.Microsecond)
	message := body{
		ID: uuid.Must(uuid.NewV7()), Type: testEvent, Subject: id, At: now.UTC(), Data: json.RawMessage(`{"text":"This is a test."}`),
	}
	raw, err := json.Marshal(message)
	if err != nil {
		return openapi.WebhookDelivery{}, err
	}
	// It is in a line of its own, which waits for nothing.
	made := uuid.Must(uuid.NewV7())
	err = db.WithTx(ctx, w.pool, func(tx pgx.Tx) error {
		q := webhookdb.New(tx)
		if _, err := lock(ctx, q, id); err != nil {
			return err
		}
		err := q.InsertDeliveries(ctx, webhookdb.InsertDeliveriesParams{
			Now: now, Ids: []uuid.UUID{made}, EndpointIds: []uuid.UUID{id}, MessageIds: []uuid.UUID{message.ID}, Positions: []int64{0},
			Types: []string{testEvent}, SubjectIds: []uuid.UUID{made}, Bodies: []string{string(raw)}, Behind: []bool{false},
		})
		if err != nil {
			return fmt.Errorf("making a delivery: %w", err)
		}
		return nil
	})
	if err != nil {
		return openapi.WebhookDelivery{}, err
	}
	wake(w.due)
	return w.delivery(ctx, made)
}

// filter chooses deliveries; what is zero chooses all.
type filter struct {
	endpoint, subject uuid.UUID
	state, kind       string
	// before is the sequence that all are below.
	before int64
}

// deliveries reads a page, the newest first, and the sequence of its last one
// where there are more.
func (w *Webhooks) deliveries(ctx context.Context, f filter, limit int) (page []openapi.WebhookDelivery, last int64, err error) {
	rows, err := webhookdb.New(w.pool).Deliveries(ctx, webhookdb.DeliveriesParams{
		Before: f.before, AnyEndpoint: f.endpoint == uuid.Nil, EndpointID: f.endpoint, State: f.state, Type: f.kind,
		AnySubject: f.subject == uuid.Nil, SubjectID: f.subject, PageSize: int32(limit + 1),
	})
	if err != nil {
		return nil, 0, fmt.Errorf("listing webhook deliveries: %w", err)
	}
	if len(rows) > limit {
		rows = rows[:limit]
		last = rows[limit-1].Sequence
	}
	page = make([]openapi.WebhookDelivery, len(rows))
	for i, r := range rows {
		page[i] = deliveryOf(webhookdb.WebhookDelivery{
			ID: r.ID, EndpointID: r.EndpointID, MessageID: r.MessageID, Position: r.Position, Type: r.Type, SubjectID: r.SubjectID, State: r.State,
			Attempts: r.Attempts, DueAt: r.DueAt, CreatedAt: r.CreatedAt, FinishedAt: r.FinishedAt,
		})
	}
	return page, last, nil
}

func deliveryOf(r webhookdb.WebhookDelivery) openapi.WebhookDelivery {
	return openapi.WebhookDelivery{
		Id: r.ID, EndpointId: r.EndpointID, MessageId: r.MessageID, Position: optional.Of(r.Position), Event: r.Type, Subject: r.SubjectID,
		State: openapi.WebhookDeliveryState(r.State), Attempts: int(r.Attempts), CreatedAt: r.CreatedAt.UTC(), NextAttemptAt: utc(r.DueAt), FinishedAt: utc(r.FinishedAt),
	}
}

func utc(t *time.Time) *time.Time {
	if t == nil {
		return nil
	}
	return new(t.UTC())
}

// delivery reads one with what was sent and came back.
func (w *Webhooks) delivery(ctx context.Context, id uuid.UUID) (openapi.WebhookDelivery, error) {
	q := webhookdb.New(w.pool)
	r, err := q.Delivery(ctx, id)
	if errors.Is(err, pgx.ErrNoRows) {
		return openapi.WebhookDelivery{}, deliveryNotFound(id)
	}
	if err != nil {
		return openapi.WebhookDelivery{}, fmt.Errorf("reading a webhook delivery: %w", err)
	}
	d := deliveryOf(r)
	d.Body = &r.Body
	rows, err := q.AttemptsOf(ctx, id)
	if err != nil {
		return d, fmt.Errorf("reading the attempts at a webhook delivery: %w", err)
	}
	log := make([]openapi.WebhookAttempt, len(rows))
	for i, a := range rows {
		log[i] = openapi.WebhookAttempt{
			Attempt: int(a.Attempt), At: a.At.UTC(), Url: a.Url, DurationMillis: int(a.DurationMs), RemoteAddress: optional.Of(a.RemoteAddress),
			Status: optional.Of(int(a.Status)), Answer: optional.Of(a.Answer), Error: optional.Of(a.Error),
		}
		if err := json.Unmarshal(a.RequestHeaders, &log[i].RequestHeaders); err != nil {
			return d, fmt.Errorf("headers of an attempt at delivery %s: %w", id, err)
		}
	}
	d.Log = &log
	return d, nil
}

// redeliver makes a delivery due at once, with three more days, or has it wait
// for its turn.
func (w *Webhooks) redeliver(ctx context.Context, id uuid.UUID) (openapi.WebhookDelivery, error) {
	err := db.WithTx(ctx, w.pool, func(tx pgx.Tx) error {
		q := webhookdb.New(tx)
		if err := joinLines(ctx, q); err != nil {
			return err
		}
		r, err := q.LockDelivery(ctx, id)
		if errors.Is(err, pgx.ErrNoRows) {
			return deliveryNotFound(id)
		}
		if err != nil {
			return fmt.Errorf("locking a webhook delivery: %w", err)
		}
		if !r.Enabled && r.Type != testEvent {
			return problem.New(http.StatusConflict, "webhook_endpoint_disabled", "The endpoint is disabled: enable it first, by PATCH /webhooks/endpoints/%s.", r.EndpointID)
		}
		if err := q.Redeliver(ctx, webhookdb.RedeliverParams{ID: id, Now: w.now().Truncate(time.Microsecond)}); err != nil {
			return fmt.Errorf("making a webhook delivery again: %w", err)
		}
		return nil
	})
	if err != nil {
		return openapi.WebhookDelivery{}, err
	}
	wake(w.due)
	return w.delivery(ctx, id)
}
