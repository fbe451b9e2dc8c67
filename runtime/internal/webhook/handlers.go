package webhook

import (
	"context"
	"math"
	"net/http"

	"github.com/gin-gonic/gin"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"gitee.com/captainjez/gocart/runtime/internal/optional"
	"gitee.com/captainjez/gocart/runtime/internal/problem"
	"gitee.com/captainjez/gocart/runtime/internal/rest"
	"gitee.com/captainjez/gocart/runtime/openapi"
)

// Handlers is the webhooks' part of openapi.ServerInterface.
type Handlers struct{ Webhooks *Webhooks }

// ListWebhookEndpoints answers GET /webhooks/endpoints.
func (h Handlers) ListWebhookEndpoints(c *gin.Context, params openapi.ListWebhookEndpointsParams) {
	const list = "webhook-endpoints"
	before, size, err := rest.Paging(params.Limit, params.Cursor, list)
	if err != nil {
		rest.Fail(c, err)
		return
	}
	found, err := h.Webhooks.endpoints(c.Request.Context(), before, size)
	page, next := rest.Page(found, size, list, func(e openapi.WebhookEndpoint) uuid.UUID { return e.Id })
	rest.JSON(c, http.StatusOK, openapi.WebhookEndpointPage{Endpoints: page, NextCursor: next}, err)
}

// CreateWebhookEndpoint answers POST /webhooks/endpoints.
func (h Handlers) CreateWebhookEndpoint(c *gin.Context, params openapi.CreateWebhookEndpointParams) {
	w, secret := h.Webhooks, ""
	rest.Create(c, w.pool, rest.Creation[openapi.WebhookEndpointInput, openapi.WebhookEndpoint]{
		Key:     params.IdempotencyKey,
		Prepare: func(_ context.Context, in openapi.WebhookEndpointInput) error { return w.check(in) },
		Effect: func(ctx context.Context, tx pgx.Tx, in openapi.WebhookEndpointInput) (openapi.WebhookEndpoint, error) {
			secret = newSecret()
			return w.create(ctx, tx, in, secret)
		},
		Location: func(e openapi.WebhookEndpoint) string { return "/webhooks/endpoints/" + e.Id.String() },
		// The secret is not kept with the answer, and shown this once.
		Present: func(_ context.Context, made openapi.WebhookEndpoint) (any, error) {
			return openapi.CreatedWebhookEndpoint{Endpoint: made, Secret: optional.Of(secret)}, nil
		},
	})
}

// GetWebhookEndpoint answers GET /webhooks/endpoints/{id}.
func (h Handlers) GetWebhookEndpoint(c *gin.Context, id uuid.UUID) {
	e, err := h.Webhooks.endpoint(c.Request.Context(), id)
	rest.JSON(c, http.StatusOK, e, err)
}

// UpdateWebhookEndpoint answers PATCH /webhooks/endpoints/{id}.
func (h Handlers) UpdateWebhookEndpoint(c *gin.Context, id uuid.UUID) {
	if in, ok := rest.Read[openapi.WebhookEndpointUpdate](c); ok {
		e, err := h.Webhooks.update(c.Request.Context(), id, in)
		rest.JSON(c, http.StatusOK, e, err)
	}
}

// DeleteWebhookEndpoint answers DELETE /webhooks/endpoints/{id}.
func (h Handlers) DeleteWebhookEndpoint(c *gin.Context, id uuid.UUID) {
	rest.NoContent(c, h.Webhooks.remove(c.Request.Context(), id))
}

// RotateWebhookSecret answers POST /webhooks/endpoints/{id}/secret.
func (h Handlers) RotateWebhookSecret(c *gin.Context, id uuid.UUID, params openapi.RotateWebhookSecretParams) {
	w, secret := h.Webhooks, ""
	rest.Create(c, w.pool, rest.Creation[rest.Nothing, openapi.WebhookSecret]{
		Key: params.IdempotencyKey,
		Effect: func(ctx context.Context, tx pgx.Tx, _ rest.Nothing) (openapi.WebhookSecret, error) {
			secret = newSecret()
			until, err := w.rotate(ctx, tx, id, secret)
			return openapi.WebhookSecret{PreviousValidUntil: until}, err
		},
		// The secret is not kept with the answer, and shown this once.
		Present: func(_ context.Context, made openapi.WebhookSecret) (any, error) {
			made.Secret = optional.Of(secret)
			return made, nil
		},
	})
}

// RevokeWebhookSecrets answers DELETE /webhooks/endpoints/{id}/secret/previous.
func (h Handlers) RevokeWebhookSecrets(c *gin.Context, id uuid.UUID) {
	rest.NoContent(c, h.Webhooks.revoke(c.Request.Context(), id))
}

// TestWebhookEndpoint answers POST /webhooks/endpoints/{id}/test.
func (h Handlers) TestWebhookEndpoint(c *gin.Context, id uuid.UUID) {
	d, err := h.Webhooks.test(c.Request.Context(), id)
	if err == nil {
		c.Header("Location", "/api/v1/webhooks/deliveries/"+d.Id.String())
	}
	rest.JSON(c, http.StatusAccepted, d, err)
}

// ListWebhookDeliveries answers GET /webhooks/deliveries.
func (h Handlers) ListWebhookDeliveries(c *gin.Context, params openapi.ListWebhookDeliveriesParams) {
	const list = "webhook-deliveries"
	f := filter{
		endpoint: optional.Value(params.EndpointId), state: string(optional.Value(params.State)), kind: optional.Value(params.Event),
		subject: optional.Value(params.Subject), before: math.MaxInt64,
	}
	limit, err := rest.Limit(params.Limit)
	if err == nil {
		err = f.check()
	}
	if err == nil {
		err = rest.Place(params.Cursor, list, &f.before)
	}
	if err != nil {
		rest.Fail(c, err)
		return
	}
	found, last, err := h.Webhooks.deliveries(c.Request.Context(), f, limit)
	page := openapi.WebhookDeliveryPage{Deliveries: found}
	if last > 0 {
		page.NextCursor = new(rest.Cursor(list, last))
	}
	rest.JSON(c, http.StatusOK, page, err)
}

func (f filter) check() error {
	var v problem.Findings
	if f.state != "" {
		v.Require(openapi.WebhookDeliveryState(f.state).Valid(), "state", "must be one of pending, succeeded, failed, abandoned")
	}
	v.Text("event", f.kind, 0, 100)
	return v.Err()
}

// GetWebhookDelivery answers GET /webhooks/deliveries/{id}.
func (h Handlers) GetWebhookDelivery(c *gin.Context, id uuid.UUID) {
	d, err := h.Webhooks.delivery(c.Request.Context(), id)
	rest.JSON(c, http.StatusOK, d, err)
}

// RedeliverWebhookDelivery answers POST /webhooks/deliveries/{id}/redeliver.
func (h Handlers) RedeliverWebhookDelivery(c *gin.Context, id uuid.UUID) {
	d, err := h.Webhooks.redeliver(c.Request.Context(), id)
	rest.JSON(c, http.StatusOK, d, err)
}

// ListWebhookEvents answers GET /webhooks/events.
func (h Handlers) ListWebhookEvents(c *gin.Context) { rest.JSON(c, http.StatusOK, public(), nil) }
