package main

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"gitee.com/captainjez/gocart/runtime/config"
	"gitee.com/captainjez/gocart/runtime/internal/commerce"
	"gitee.com/captainjez/gocart/runtime/internal/db"
	"gitee.com/captainjez/gocart/runtime/internal/rawhttp"
	"gitee.com/captainjez/gocart/runtime/openapi"
)

const (
	products = 2000
	variants = 4
)

var nouns = []string{"mug", "shirt", "bottle", "jacket", "lamp", "chair", "candle", "wallet", "board", "notebook"}

// fill puts products with stock, VAT and a way to ship into the store, through
// its own packages.
func fill(ctx context.Context, url string, c config.Config) (s shelf, err error) {
	pool, err := pgxpool.New(ctx, url)
	if err != nil {
		return s, err
	}
	defer pool.Close()
	k, err := commerce.New(c, pool, nil, slog.New(slog.DiscardHandler), commerce.Now)
	if err != nil {
		return s, err
	}
	err = db.WithTx(ctx, pool, func(tx pgx.Tx) error {
		for n := range products {
			if _, err := k.Catalog.Create(ctx, tx, product(n)); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return s, fmt.Errorf("loading products: %w", err)
	}
	zone, err := k.Rules.CreateZone(ctx, openapi.ZoneInput{Name: "World", Areas: []string{"*"}})
	if err != nil {
		return s, err
	}
	if _, err := k.Rules.CreateTaxRate(ctx, openapi.TaxRateInput{Name: "VAT", ZoneId: zone.Id, Percent: "19"}); err != nil {
		return s, err
	}
	parcel, err := k.Rules.CreateShippingMethod(ctx, openapi.ShippingMethodInput{
		Name: "Parcel", ZoneId: zone.Id, Prices: []openapi.ShippingPrice{{Price: openapi.Money{Amount: "4.90", Currency: "EUR"}}},
	})
	if err != nil {
		return s, err
	}
	s.method = parcel.Id
	for _, statement := range []string{
		`INSERT INTO inventory_levels (variant_id, location_id, on_hand) SELECT v.id, l.id, 100000000 FROM variants v, locations l`,
		`INSERT INTO stock_movements (id, variant_id, location_id, reason, on_hand, reserved, incoming, created_at)
		 SELECT gen_random_uuid(), variant_id, location_id, 'count', on_hand, 0, 0, now() FROM inventory_levels`,
		`VACUUM ANALYZE`,
	} {
		if _, err := pool.Exec(ctx, statement); err != nil {
			return s, fmt.Errorf("%.40s: %w", statement, err)
		}
	}
	rows, err := pool.Query(ctx, `SELECT id FROM variants`)
	if err != nil {
		return s, err
	}
	s.variants, err = pgx.CollectRows(rows, pgx.RowTo[uuid.UUID])
	for _, noun := range nouns {
		for limit := 90; limit <= 100; limit++ {
			s.reads = append(s.reads, rawhttp.Get(fmt.Sprintf("/api/v1/products?include=stock&q=%s&limit=%d", noun, limit)))
		}
	}
	return s, err
}

func product(n int) openapi.ProductInput {
	noun := nouns[n%len(nouns)]
	description := fmt.Sprintf("The %s that carries number %d.", noun, n)
	p := openapi.ProductInput{
		Title: fmt.Sprintf("Fine %s %d", noun, n), Slug: new(fmt.Sprintf("product-%d", n)), Description: &description,
		Type: openapi.ProductTypeVariable, Status: new(openapi.ProductStatusActive), Options: &[]string{"Size"},
	}
	for v := range variants {
		size := []string{"S", "M", "L", "XL"}[v]
		p.Variants = append(p.Variants, openapi.VariantInput{
			Sku: fmt.Sprintf("P-%d-%s", n, size), Options: &map[string]string{"Size": size},
			Prices: []openapi.PriceInput{{Amount: fmt.Sprintf("%d.90", 10+n%90+v), Currency: "EUR"}},
		})
	}
	return p
}
