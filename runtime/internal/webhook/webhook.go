// Package webhook tells other programs what happens in the store: it sends the
// events of the one outbox, signed, to endpoints that staff name. It owns the
// tables webhook_endpoints, webhook_secrets, webhook_deliveries and
// webhook_attempts.
//
// A Dispatcher reads the outbox as the reader events.Webhooks: in one
// transaction it makes a delivery for each endpoint that listens, and notes
// that the events were read. So however its process ends, none is lost and
// none made twice. Deliveries of one endpoint and subject form a line: only the
// first is due, so what happened to an order arrives in the order in which it
// did, while other orders' events pass. A delivery is made at least once; the
// receiver knows one that comes again by its webhook-id.
//
// They are no jobs: the queue of jobs keeps no order, and knows no line. A
// delivery in hand is due again after half a minute, so one whose process was killed
// is taken up by another.
package webhook

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"gitee.com/captainjez/gocart/runtime/config"
	"gitee.com/captainjez/gocart/runtime/internal/db"
	"gitee.com/captainjez/gocart/runtime/internal/events"
	"gitee.com/captainjez/gocart/runtime/internal/optional"
	"gitee.com/captainjez/gocart/runtime/internal/problem"
	"gitee.com/captainjez/gocart/runtime/internal/webhook/webhookdb"
	"gitee.com/captainjez/gocart/runtime/openapi"
)

const (
	// maxEndpoints bounds what one event can become.
	maxEndpoints = 50
	// overlap is for how long a secret signs beside the one that follows it.
	overlap = 24 * time.Hour
	// maxLapsing bounds the secrets that sign beside the newest.
	maxLapsing = 4
	// keepFor is how long a delivery is kept with its attempts.
	keepFor = 30 * 24 * time.Hour
	// atOnce is how many deliveries one statement changes that are not sent.
	atOnce = 5000
)

// Webhooks are a store's endpoints and what was delivered to them.
type Webhooks struct {
	pool  *pgxpool.Pool
	log   *events.Log
	guard *guard
	now   func() time.Time
	// soon has the dispatcher of this process look for events, due for deliveries.
	soon, due chan struct{}
}

// New makes the Webhooks of a process; it asks the database nothing. The
// process's own machine is told of events in a store of mode development only,
// for in a cluster what listens there is the store's own.
func New(c config.Config, pool *pgxpool.Pool, log *events.Log, now func() time.Time) *Webhooks {
	return &Webhooks{
		pool: pool, log: log, guard: newGuard(c.Webhooks.AllowPrivateAddresses, c.Webhooks.AllowPrivateAddresses && c.Store.Mode == config.ModeDevelopment), now: now,
		soon: make(chan struct{}, 1), due: make(chan struct{}, 1),
	}
}

// Wake has the dispatcher of this process look for events at once.
func (w *Webhooks) Wake() { wake(w.soon) }

func wake(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

func endpointNotFound(id uuid.UUID) error {
	return problem.New(http.StatusNotFound, "webhook_endpoint_not_found", "No webhook endpoint has the id %s.", id)
}

func deliveryNotFound(id uuid.UUID) error {
	return problem.New(http.StatusNotFound, "webhook_delivery_not_found", "No delivery has the id %s; they are kept for 30 days.", id)
}

// The reasons for which an endpoint is disabled.
const (
	requested = string(openapi.WebhookDisabledReasonRequested)
	failing   = string(openapi.WebhookDisabledReasonFailing)
	gone      = string(openapi.WebhookDisabledReasonGone)
)

func endpointOf(r webhookdb.WebhookEndpoint) openapi.WebhookEndpoint {
	e := openapi.WebhookEndpoint{
		Id: r.ID, Url: r.Url, Description: r.Description, Events: r.Events, Enabled: r.Enabled,
		DisabledReason: optional.Of(openapi.WebhookDisabledReason(r.DisabledReason)), CreatedAt: r.CreatedAt.UTC(), UpdatedAt: r.UpdatedAt.UTC(),
	}
	if r.FailingSince != nil {
		e.FailingSince = new(r.FailingSince.UTC())
	}
	return e
}

func checkDescription(f *problem.Findings, text string) { f.Text("/description", text, 0, 500) }

func checkEvents(f *problem.Findings, chosen []string) {
	const most = 50
	f.Require(len(chosen) >= 1 && len(chosen) <= most, "/events", "must have 1 to %d items, has %d", most, len(chosen))
	for i, name := range chosen {
		f.Require(known(name), fmt.Sprintf("/events/%d", i), "is no type of event, nor NOUN.* or *; GET /webhooks/events lists them")
	}
}

// check says what is wrong with a new endpoint.
func (w *Webhooks) check(in openapi.WebhookEndpointInput) error {
	var f problem.Findings
	w.guard.checkURL(&f, "/url", in.Url)
	checkDescription(&f, optional.Value(in.Description))
	checkEvents(&f, in.Events)
	return f.Err()
}

// create stores an endpoint with its first secret.
func (w *Webhooks) create(ctx context.Context, tx pgx.Tx, in openapi.WebhookEndpointInput, secret string) (openapi.WebhookEndpoint, error) {
	q := webhookdb.New(tx)
	n, err := q.CountEndpoints(ctx)
	if err != nil {
		return openapi.WebhookEndpoint{}, fmt.Errorf("counting webhook endpoints: %w", err)
	}
	if n >= maxEndpoints {
		return openapi.WebhookEndpoint{}, problem.New(http.StatusConflict, "too_many_webhook_endpoints", "A store has %d webhook endpoints at most: delete one first.", maxEndpoints)
	}
	row := webhookdb.WebhookEndpoint{
		ID: uuid.Must(uuid.NewV7()), Url: in.Url, Description: optional.Value(in.Description), Events: normal(in.Events),
		Enabled: in.Enabled == nil || *in.Enabled, CreatedAt: w.now().Truncate(time.Microsecond),
	}
	row.UpdatedAt = row.CreatedAt
	if !row.Enabled {
		row.DisabledReason = requested
	}
	err = q.InsertEndpoint(ctx, webhookdb.InsertEndpointParams{
		ID: row.ID, Url: row.Url, Description: row.Description, Events: row.Events, Enabled: row.Enabled, DisabledReason: row.DisabledReason, CreatedAt: row.CreatedAt,
	})
	if err == nil {
		err = q.InsertSecret(ctx, webhookdb.InsertSecretParams{EndpointID: row.ID, Secret: secret, CreatedAt: row.CreatedAt})
	}
	if err != nil {
		return openapi.WebhookEndpoint{}, fmt.Errorf("storing a webhook endpoint: %w", err)
	}
	return endpointOf(row), nil
}

func normal(chosen []string) []string {
	chosen = slices.Sorted(slices.Values(chosen))
	return slices.Compact(chosen)
}

// newSecret is whsec_ and 32 random bytes in base64.
func newSecret() string {
	key := make([]byte, 32)
	_, _ = rand.Read(key) // it never fails
	return secretPrefix + base64.StdEncoding.EncodeToString(key)
}

func (w *Webhooks) endpoint(ctx context.Context, id uuid.UUID) (openapi.WebhookEndpoint, error) {
	r, err := webhookdb.New(w.pool).Endpoint(ctx, id)
	if errors.Is(err, pgx.ErrNoRows) {
		return openapi.WebhookEndpoint{}, endpointNotFound(id)
	}
	if err != nil {
		return openapi.WebhookEndpoint{}, fmt.Errorf("reading a webhook endpoint: %w", err)
	}
	return endpointOf(r), nil
}

func (w *Webhooks) endpoints(ctx context.Context, before uuid.UUID, size int32) ([]openapi.WebhookEndpoint, error) {
	rows, err := webhookdb.New(w.pool).Endpoints(ctx, webhookdb.EndpointsParams{Before: before, PageSize: size})
	if err != nil {
		return nil, fmt.Errorf("listing webhook endpoints: %w", err)
	}
	all := make([]openapi.WebhookEndpoint, len(rows))
	for i, r := range rows {
		all[i] = endpointOf(r)
	}
	return all, nil
}

// lock has an endpoint to oneself.
func lock(ctx context.Context, q *webhookdb.Queries, id uuid.UUID) (webhookdb.WebhookEndpoint, error) {
	r, err := q.LockEndpoint(ctx, id)
	if errors.Is(err, pgx.ErrNoRows) {
		return r, endpointNotFound(id)
	}
	if err != nil {
		return r, fmt.Errorf("locking a webhook endpoint: %w", err)
	}
	return r, nil
}

// update changes what in names.
func (w *Webhooks) update(ctx context.Context, id uuid.UUID, in openapi.WebhookEndpointUpdate) (e openapi.WebhookEndpoint, err error) {
	var f problem.Findings
	if in.Url != nil {
		w.guard.checkURL(&f, "/url", *in.Url)
	}
	if in.Events != nil {
		checkEvents(&f, *in.Events)
	}
	checkDescription(&f, optional.Value(in.Description))
	if err := f.Err(); err != nil {
		return e, err
	}
	err = db.WithTx(ctx, w.pool, func(tx pgx.Tx) error {
		q := webhookdb.New(tx)
		if err := joinLines(ctx, q); err != nil {
			return err
		}
		r, err := lock(ctx, q, id)
		if err != nil {
			return err
		}
		// What waited for it before it was disabled is not sent after it is enabled.
		for enabled := in.Enabled != nil && *in.Enabled && !r.Enabled; enabled; {
			n, err := w.abandon(ctx, q)
			if err != nil {
				return err
			}
			enabled = n == atOnce
		}
		if in.Url != nil && *in.Url != r.Url {
			r.Url, r.FailingSince = *in.Url, nil // the three days are of the URL
		}
		if in.Description != nil {
			r.Description = *in.Description
		}
		if in.Events != nil {
			r.Events = normal(*in.Events)
		}
		if in.Enabled != nil && *in.Enabled != r.Enabled {
			r.Enabled, r.FailingSince, r.DisabledReason = *in.Enabled, nil, ""
			if !r.Enabled {
				r.DisabledReason = requested
			}
		}
		r.UpdatedAt = w.now().Truncate(time.Microsecond)
		if err := store(ctx, q, r); err != nil {
			return err
		}
		e = endpointOf(r)
		if r.Enabled {
			return nil
		}
		_, err = w.abandon(ctx, q) // of very much the dispatcher sees to the rest
		return err
	})
	return e, err
}

func store(ctx context.Context, q *webhookdb.Queries, r webhookdb.WebhookEndpoint) error {
	err := q.UpdateEndpoint(ctx, webhookdb.UpdateEndpointParams{
		ID: r.ID, Url: r.Url, Description: r.Description, Events: r.Events, Enabled: r.Enabled, DisabledReason: r.DisabledReason,
		FailingSince: r.FailingSince, UpdatedAt: r.UpdatedAt,
	})
	if err != nil {
		return fmt.Errorf("storing a webhook endpoint: %w", err)
	}
	return nil
}

// joinLines has nobody else change which delivery is first in its line until
// the transaction ends. It comes before the locks of rows.
func joinLines(ctx context.Context, q *webhookdb.Queries) error {
	if err := q.JoinLines(ctx); err != nil {
		return fmt.Errorf("waiting for the lines of deliveries: %w", err)
	}
	return nil
}

// abandon gives up a part of what waits for endpoints that are not enabled.
func (w *Webhooks) abandon(ctx context.Context, q *webhookdb.Queries) (int64, error) {
	n, err := q.Abandon(ctx, webhookdb.AbandonParams{Now: w.now(), Most: atOnce})
	if err != nil {
		return 0, fmt.Errorf("abandoning deliveries: %w", err)
	}
	return n, nil
}

// remove forgets an endpoint with its deliveries, of which there may be too
// many for one statement.
func (w *Webhooks) remove(ctx context.Context, id uuid.UUID) error {
	for n := int64(atOnce); n == atOnce; {
		err := db.WithTx(ctx, w.pool, func(tx pgx.Tx) (err error) {
			q := webhookdb.New(tx)
			if err := joinLines(ctx, q); err != nil {
				return err
			}
			if n, err = q.ForgetOf(ctx, webhookdb.ForgetOfParams{EndpointID: id, Most: atOnce}); err != nil {
				return fmt.Errorf("forgetting a webhook endpoint's deliveries: %w", err)
			}
			if n == atOnce {
				return nil
			}
			// Before somebody else has a delivery of it locked, who would wait for the endpoint.
			deleted, err := q.DeleteEndpoint(ctx, id)
			if err != nil {
				return fmt.Errorf("deleting a webhook endpoint: %w", err)
			}
			if deleted == 0 {
				return endpointNotFound(id)
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// rotate gives an endpoint a new secret, and returns until when the one before
// it signs beside it. One that would have too many sign is a *problem.Problem
// with status 409.
func (w *Webhooks) rotate(ctx context.Context, tx pgx.Tx, id uuid.UUID, secret string) (until time.Time, err error) {
	now := w.now().Truncate(time.Microsecond)
	until = now.Add(overlap).UTC()
	q := webhookdb.New(tx)
	if _, err := lock(ctx, q, id); err != nil {
		return until, err
	}
	lapsing, err := q.Lapsing(ctx, webhookdb.LapsingParams{EndpointID: id, Now: now})
	if err == nil && lapsing.Count >= maxLapsing {
		return until, problem.New(http.StatusConflict, "too_many_webhook_secrets",
			"Deliveries to the endpoint are signed with %d secrets, the most there are; the oldest does so until %s. Try again then, or have all but the newest sign no more at once, with DELETE /webhooks/endpoints/%s/secret/previous.",
			maxLapsing+1, lapsing.First.UTC().Format(time.RFC3339), id)
	}
	if err == nil {
		err = q.RetireSecrets(ctx, webhookdb.RetireSecretsParams{EndpointID: id, ExpiresAt: &until})
	}
	if err == nil {
		err = q.InsertSecret(ctx, webhookdb.InsertSecretParams{EndpointID: id, Secret: secret, CreatedAt: now})
	}
	if err == nil {
		err = q.ForgetSecrets(ctx, webhookdb.ForgetSecretsParams{EndpointID: id, Now: &now})
	}
	if err != nil {
		return until, fmt.Errorf("giving a webhook endpoint a new secret: %w", err)
	}
	return until, nil
}

// revoke has all secrets of an endpoint but the newest sign no more.
func (w *Webhooks) revoke(ctx context.Context, id uuid.UUID) error {
	return db.WithTx(ctx, w.pool, func(tx pgx.Tx) error {
		q := webhookdb.New(tx)
		if _, err := lock(ctx, q, id); err != nil {
			return err
		}
		if err := q.RevokeSecrets(ctx, webhookdb.RevokeSecretsParams{EndpointID: id, Now: w.now().Truncate(time.Microsecond)}); err != nil {
			return fmt.Errorf("revoking secrets of a webhook endpoint: %w", err)
		}
		return nil
	})
}

// Forget removes deliveries that were done with 30 days ago, and returns how
// many.
func (w *Webhooks) Forget(ctx context.Context) (int64, error) {
	for total := int64(0); ; {
		n, err := webhookdb.New(w.pool).Forget(ctx, webhookdb.ForgetParams{Before: w.now().Add(-keepFor), Most: atOnce})
		if total += n; err != nil {
			return total, fmt.Errorf("forgetting webhook deliveries: %w", err)
		}
		if n < atOnce {
			return total, nil
		}
	}
}
