package webhook

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"gitee.com/captainjez/gocart/runtime/internal/batch"
	"gitee.com/captainjez/gocart/runtime/internal/db"
	"gitee.com/captainjez/gocart/runtime/internal/events"
	"gitee.com/captainjez/gocart/runtime/internal/webhook/webhookdb"
	"gitee.com/captainjez/gocart/runtime/openapi"
)

const (
	// triedFor is for how long a delivery is tried, and for how long an endpoint
	// may fail before it is disabled.
	triedFor     = 72 * time.Hour
	firstPause   = 5 * time.Second
	longestPause = 6 * time.Hour
)

// The states of a delivery.
const (
	pending   = string(openapi.WebhookDeliveryStatePending)
	succeeded = string(openapi.WebhookDeliveryStateSucceeded)
	failed    = string(openapi.WebhookDeliveryStateFailed)
)

// result is what came of a delivery in hand.
type result struct {
	delivery webhookdb.ClaimRow
	attempt  attempt
}

// next is the state of a delivery after an attempt, and when it is tried again
// where that is pending. Each pause is twice what has passed since the first
// attempt, 5 seconds to 6 hours, give or take a fifth, so that what failed
// together does not come back together; the last attempt is at the end of the
// three days.
func (r result) next(now time.Time) (state string, due time.Time) {
	first := r.delivery.FirstAttemptAt
	end := first.Add(triedFor)
	switch {
	case r.attempt.err == nil:
		return succeeded, time.Time{}
	case r.delivery.Type == testEvent || r.attempt.status == http.StatusGone || !now.Before(end):
		return failed, time.Time{}
	}
	pause := min(max(2*now.Sub(first), firstPause), longestPause)
	pause = time.Duration(float64(pause) * (0.8 + 0.4*rand.Float64())) //nolint:gosec // it only spreads
	if due = now.Add(pause); due.After(end) {
		due = end
	}
	return pending, due
}

// record stores results, many together, until there are no more.
func (d *Dispatcher) record(ctx context.Context, results <-chan result) {
	for first := range results {
		all := []result{first}
	more:
		for len(all) < recorded {
			select {
			case r, ok := <-results:
				if !ok {
					break more
				}
				all = append(all, r)
			default:
				break more
			}
		}
		d.store(ctx, all)
		for _, r := range all {
			d.take(r.delivery.EndpointID, -1)
		}
		wake(d.due)
	}
}

// store tries for as long as nobody else can have taken the deliveries up.
func (d *Dispatcher) store(ctx context.Context, all []result) {
	ctx, cancel := context.WithTimeout(ctx, lease-2*patience)
	defer cancel()
	for {
		err := d.finish(ctx, all)
		if err == nil {
			break
		}
		select {
		case <-ctx.Done():
			d.say.Warn("what came of deliveries could not be stored; they are sent again", "deliveries", len(all), "reason", db.Explain(err).Message)
			return
		case <-time.After(time.Second):
		}
	}
	now := d.now()
	for _, r := range all {
		state, _ := r.next(now)
		d.metrics.observe(r, state, now)
	}
}

// finish stores what came of deliveries, and has those behind them take their
// turn, in one transaction.
func (d *Dispatcher) finish(ctx context.Context, all []result) error {
	now := d.now().Truncate(time.Microsecond)
	var done webhookdb.FinishParams
	var log webhookdb.InsertAttemptsParams
	turns := webhookdb.AdvanceParams{Now: now}
	var well, ill, left []uuid.UUID // endpoints
	done.Now = now
	for _, r := range all {
		state, due := r.next(now)
		if due.IsZero() {
			due = time.Unix(0, 0)
		}
		done.Sequences = append(done.Sequences, r.delivery.Sequence)
		done.Attempts = append(done.Attempts, r.delivery.Attempts)
		done.States = append(done.States, state)
		done.DueAt = append(done.DueAt, due)
		if state != pending {
			turns.EndpointIds = append(turns.EndpointIds, r.delivery.EndpointID)
			turns.SubjectIds = append(turns.SubjectIds, r.delivery.SubjectID)
		}
		switch {
		case r.delivery.Type == testEvent:
		case r.attempt.err == nil:
			well = append(well, r.delivery.EndpointID)
		case r.attempt.status == http.StatusGone:
			left = append(left, r.delivery.EndpointID)
		default:
			ill = append(ill, r.delivery.EndpointID)
		}
		if err := r.addTo(&log); err != nil {
			return err
		}
	}
	// Who answers some well does not fail.
	ill = slices.DeleteFunc(ill, func(id uuid.UUID) bool { return slices.Contains(well, id) })
	return db.WithTx(ctx, d.pool, func(tx pgx.Tx) error {
		var hopeless []uuid.UUID
		var statements batch.Statements
		statements.Add(func(db batch.DB) error { return webhookdb.New(db).LeaveLines(ctx) })
		statements.Add(func(db batch.DB) error { return webhookdb.New(db).Finish(ctx, done) })
		statements.Add(func(db batch.DB) error { return webhookdb.New(db).InsertAttempts(ctx, log) })
		if len(turns.EndpointIds) > 0 {
			statements.Add(func(db batch.DB) error { return webhookdb.New(db).Advance(ctx, turns) })
		}
		if len(well) > 0 {
			statements.Add(func(db batch.DB) error { return webhookdb.New(db).Recover(ctx, well) })
		}
		if len(ill) > 0 {
			statements.Add(func(db batch.DB) error { return webhookdb.New(db).Fail(ctx, webhookdb.FailParams{Now: now, Ids: ill}) })
			statements.Add(func(db batch.DB) (err error) {
				hopeless, err = webhookdb.New(db).Hopeless(ctx, webhookdb.HopelessParams{Ids: ill, Before: now.Add(-triedFor)})
				return err
			})
		}
		if err := statements.Send(ctx, tx); err != nil {
			return fmt.Errorf("storing what came of deliveries: %w", err)
		}
		for id, why := range disabling(left, hopeless) {
			if err := d.disable(ctx, tx, id, why); err != nil {
				return err
			}
		}
		return nil
	})
}

func disabling(left, hopeless []uuid.UUID) map[uuid.UUID]string {
	all := map[uuid.UUID]string{}
	for _, id := range hopeless {
		all[id] = failing
	}
	for _, id := range left {
		all[id] = gone
	}
	return all
}

// disabled is what the event of it tells.
type disabled struct {
	URL    string `json:"url"`
	Reason string `json:"reason"`
}

// disable has an endpoint told nothing any more, and says so; what waits for it
// is abandoned soon.
func (d *Dispatcher) disable(ctx context.Context, tx pgx.Tx, id uuid.UUID, why string) error {
	q := webhookdb.New(tx)
	r, err := lock(ctx, q, id)
	if err != nil || !r.Enabled {
		return nil //nolint:nilerr // it is gone or disabled by now
	}
	r.Enabled, r.DisabledReason, r.UpdatedAt = false, why, d.now().Truncate(time.Microsecond)
	if err := store(ctx, q, r); err != nil {
		return err
	}
	d.say.Warn("a webhook endpoint is disabled", "endpoint", id, "reason", why)
	return d.log.Append(ctx, tx, events.Event{
		Type: "webhook.disabled", Topic: events.Jobs, Subject: id, Actor: "store", Data: disabled{URL: r.Url, Reason: why}, At: r.UpdatedAt,
	})
}

func (r result) addTo(log *webhookdb.InsertAttemptsParams) error {
	headers := make(map[string]string, len(r.attempt.headers))
	for name := range r.attempt.headers {
		headers[name] = r.attempt.headers.Get(name)
	}
	raw, err := json.Marshal(headers)
	if err != nil {
		return err
	}
	said := ""
	if r.attempt.err != nil {
		said = storable(r.attempt.err.Error())
	}
	log.DeliveryIds = append(log.DeliveryIds, r.delivery.ID)
	log.Attempts = append(log.Attempts, r.delivery.Attempts)
	log.At = append(log.At, r.attempt.at.Truncate(time.Microsecond))
	log.Urls = append(log.Urls, r.delivery.Url)
	log.RequestHeaders = append(log.RequestHeaders, string(raw))
	log.RemoteAddresses = append(log.RemoteAddresses, r.attempt.remoteAddress)
	log.Durations = append(log.Durations, int32(r.attempt.took.Milliseconds()))
	log.Statuses = append(log.Statuses, int32(r.attempt.status))
	log.Answers = append(log.Answers, r.attempt.answer)
	log.Errors = append(log.Errors, said)
	return nil
}
