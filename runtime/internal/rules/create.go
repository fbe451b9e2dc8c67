package rules

import (
	"context"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"gitee.com/captainjez/gocart/runtime/openapi"
)

// CreateZone stores a zone, in a transaction of its own.
func (b *Book) CreateZone(ctx context.Context, in openapi.ZoneInput) (openapi.Zone, error) {
	return add(ctx, b, in, saveZone)
}

// CreateTaxRate stores a tax rate, in a transaction of its own.
func (b *Book) CreateTaxRate(ctx context.Context, in openapi.TaxRateInput) (openapi.TaxRate, error) {
	return add(ctx, b, in, saveTaxRate)
}

// CreateShippingMethod stores a shipping method, in a transaction of its own.
func (b *Book) CreateShippingMethod(ctx context.Context, in openapi.ShippingMethodInput) (openapi.ShippingMethod, error) {
	return add(ctx, b, in, saveShippingMethod)
}

// CreatePromotion stores a promotion, in a transaction of its own.
func (b *Book) CreatePromotion(ctx context.Context, in openapi.PromotionInput) (openapi.Promotion, error) {
	return add(ctx, b, in, savePromotion)
}

func add[In, Out any](ctx context.Context, b *Book, in In, save saver[In, Out]) (out Out, err error) {
	err = b.change(ctx, func(tx pgx.Tx) (err error) {
		out, err = save(ctx, tx, uuid.Must(uuid.NewV7()), in, false)
		return err
	})
	return out, err
}
