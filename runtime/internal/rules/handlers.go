package rules

import (
	"context"
	"net/http"

	"github.com/gin-gonic/gin"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"gitee.com/captainjez/gocart/runtime/internal/rest"
	"gitee.com/captainjez/gocart/runtime/internal/rules/rulesdb"
	"gitee.com/captainjez/gocart/runtime/openapi"
)

// Handlers is the part of openapi.ServerInterface on promotions, tax, shipping
// and settings.
type Handlers struct{ Rules *Book }

// saver checks an input and stores it under an id, as a new one or over the old.
type saver[In, Out any] func(ctx context.Context, tx pgx.Tx, id uuid.UUID, in In, replace bool) (Out, error)

// create answers a POST with what save stores under a new id.
func create[In, Out any](c *gin.Context, b *Book, key *string, path string, id func(Out) uuid.UUID, save saver[In, Out]) {
	rest.Create(c, b.pool, rest.Creation[In, Out]{
		Key: key,
		Effect: func(ctx context.Context, tx pgx.Tx, in In) (Out, error) {
			out, err := save(ctx, tx, uuid.Must(uuid.NewV7()), in, false)
			if err != nil {
				return out, err
			}
			return out, b.raise(ctx, tx)
		},
		Location: func(made Out) string { return path + id(made).String() },
		After:    func(ctx context.Context, _ Out) { b.changed(ctx) },
	})
}

// replace answers a PUT with what save stores over the old.
func replace[In, Out any](c *gin.Context, b *Book, id uuid.UUID, save saver[In, Out]) {
	in, ok := rest.Read[In](c)
	if !ok {
		return
	}
	var out Out
	ctx := c.Request.Context()
	err := b.change(ctx, func(tx pgx.Tx) (err error) {
		out, err = save(ctx, tx, id, in, true)
		return err
	})
	rest.JSON(c, http.StatusOK, out, err)
}

// deletion deletes what has the id and returns how many that were.
type deletion func(ctx context.Context, q *rulesdb.Queries, id uuid.UUID) (int64, error)

// remove answers a DELETE; missing is the error where nothing had the id.
func remove(c *gin.Context, b *Book, id uuid.UUID, missing error, del deletion) {
	ctx := c.Request.Context()
	rest.NoContent(c, b.change(ctx, func(tx pgx.Tx) error {
		rows, err := del(ctx, rulesdb.New(tx), id)
		return met(rows, err, missing)
	}))
}

// met is missing where a statement met no row.
func met(rows int64, err, missing error) error {
	if err == nil && rows == 0 {
		return missing
	}
	return err
}

// ListPromotions answers GET /promotions.
func (h Handlers) ListPromotions(c *gin.Context, params openapi.ListPromotionsParams) {
	page, err := h.Rules.promotions(c.Request.Context(), params)
	rest.JSON(c, http.StatusOK, page, err)
}

// CreatePromotion answers POST /promotions.
func (h Handlers) CreatePromotion(c *gin.Context, params openapi.CreatePromotionParams) {
	id := func(p openapi.Promotion) uuid.UUID { return p.Id }
	create(c, h.Rules, params.IdempotencyKey, "/promotions/", id, savePromotion)
}

// GetPromotion answers GET /promotions/{id}.
func (h Handlers) GetPromotion(c *gin.Context, id uuid.UUID) {
	promotion, err := promotion(c.Request.Context(), rulesdb.New(h.Rules.pool), id)
	rest.JSON(c, http.StatusOK, promotion, err)
}

// ReplacePromotion answers PUT /promotions/{id}.
func (h Handlers) ReplacePromotion(c *gin.Context, id uuid.UUID) {
	replace(c, h.Rules, id, savePromotion)
}

// DeletePromotion answers DELETE /promotions/{id}.
func (h Handlers) DeletePromotion(c *gin.Context, id uuid.UUID) {
	remove(c, h.Rules, id, noPromotion(id), deletePromotion)
}

// ListZones answers GET /zones.
func (h Handlers) ListZones(c *gin.Context) {
	zones, err := h.Rules.zones(c.Request.Context())
	rest.JSON(c, http.StatusOK, openapi.ZoneList{Zones: zones}, err)
}

// CreateZone answers POST /zones.
func (h Handlers) CreateZone(c *gin.Context, params openapi.CreateZoneParams) {
	id := func(z openapi.Zone) uuid.UUID { return z.Id }
	create(c, h.Rules, params.IdempotencyKey, "/zones/", id, saveZone)
}

// ReplaceZone answers PUT /zones/{id}.
func (h Handlers) ReplaceZone(c *gin.Context, id uuid.UUID) { replace(c, h.Rules, id, saveZone) }

// DeleteZone answers DELETE /zones/{id}.
func (h Handlers) DeleteZone(c *gin.Context, id uuid.UUID) {
	remove(c, h.Rules, id, noZone(id), deleteZone)
}

// ListTaxRates answers GET /tax-rates.
func (h Handlers) ListTaxRates(c *gin.Context) {
	rates, err := h.Rules.taxRates(c.Request.Context())
	rest.JSON(c, http.StatusOK, openapi.TaxRateList{TaxRates: rates}, err)
}

// CreateTaxRate answers POST /tax-rates.
func (h Handlers) CreateTaxRate(c *gin.Context, params openapi.CreateTaxRateParams) {
	id := func(t openapi.TaxRate) uuid.UUID { return t.Id }
	create(c, h.Rules, params.IdempotencyKey, "/tax-rates/", id, saveTaxRate)
}

// ReplaceTaxRate answers PUT /tax-rates/{id}.
func (h Handlers) ReplaceTaxRate(c *gin.Context, id uuid.UUID) { replace(c, h.Rules, id, saveTaxRate) }

// DeleteTaxRate answers DELETE /tax-rates/{id}.
func (h Handlers) DeleteTaxRate(c *gin.Context, id uuid.UUID) {
	remove(c, h.Rules, id, noTaxRate(id), deleteTaxRate)
}

// ListShippingMethods answers GET /shipping-methods.
func (h Handlers) ListShippingMethods(c *gin.Context) {
	methods, err := h.Rules.shippingMethods(c.Request.Context())
	rest.JSON(c, http.StatusOK, openapi.ShippingMethodList{ShippingMethods: methods}, err)
}

// CreateShippingMethod answers POST /shipping-methods.
func (h Handlers) CreateShippingMethod(c *gin.Context, params openapi.CreateShippingMethodParams) {
	id := func(m openapi.ShippingMethod) uuid.UUID { return m.Id }
	create(c, h.Rules, params.IdempotencyKey, "/shipping-methods/", id, saveShippingMethod)
}

// ReplaceShippingMethod answers PUT /shipping-methods/{id}.
func (h Handlers) ReplaceShippingMethod(c *gin.Context, id uuid.UUID) {
	replace(c, h.Rules, id, saveShippingMethod)
}

// DeleteShippingMethod answers DELETE /shipping-methods/{id}.
func (h Handlers) DeleteShippingMethod(c *gin.Context, id uuid.UUID) {
	remove(c, h.Rules, id, noShippingMethod(id), deleteShippingMethod)
}

// GetSettings answers GET /settings.
func (h Handlers) GetSettings(c *gin.Context) {
	settings, err := h.Rules.settings(c.Request.Context())
	rest.JSON(c, http.StatusOK, settings, err)
}

// ReplaceSettings answers PUT /settings.
func (h Handlers) ReplaceSettings(c *gin.Context) { replace(c, h.Rules, uuid.Nil, saveSettings) }
