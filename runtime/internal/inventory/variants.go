package inventory

import (
	"context"

	"github.com/jackc/pgx/v5"

	"gitee.com/captainjez/gocart/runtime/internal/catalog"
)

// Variants are those that have the SKUs, by them.
func (s *Stock) Variants(ctx context.Context, tx pgx.Tx, skus []string) (map[string]catalog.VariantRef, error) {
	return s.variants.VariantsBySKU(ctx, tx, skus)
}
