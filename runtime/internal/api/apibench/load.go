package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"golang.org/x/sync/errgroup"

	"gitee.com/captainjez/gocart/runtime/config"
	"gitee.com/captainjez/gocart/runtime/internal/commerce"
	"gitee.com/captainjez/gocart/runtime/internal/db"
	"gitee.com/captainjez/gocart/runtime/openapi"
)

// shelf is what the store sells.
type shelf struct {
	variants []uuid.UUID
	method   uuid.UUID
}

var nouns = []string{"mug", "shirt", "bottle", "jacket", "lamp", "chair", "candle", "wallet", "board", "notebook"}

// load fills a store through its own packages, and numbers its variants in a
// table for pgbench.
func load(ctx context.Context, url string, c config.Config, products int) (shelf, error) {
	begin := time.Now()
	pool, err := pgxpool.New(ctx, url)
	if err != nil {
		return shelf{}, err
	}
	defer pool.Close()
	k, err := commerce.New(c, pool, nil, slog.New(slog.DiscardHandler), commerce.Now)
	if err != nil {
		return shelf{}, err
	}
	group, groupCtx := errgroup.WithContext(ctx)
	const part = 100
	for from := 0; from < products; from += part {
		group.Go(func() error {
			return db.WithTx(groupCtx, pool, func(tx pgx.Tx) error {
				for n := from; n < from+part; n++ {
					if _, err := k.Catalog.Create(groupCtx, tx, product(n)); err != nil {
						return err
					}
				}
				return nil
			})
		})
	}
	if err := group.Wait(); err != nil {
		return shelf{}, fmt.Errorf("loading products: %w", err)
	}
	var s shelf
	if s.method, err = rulesOf(ctx, k); err != nil {
		return s, err
	}
	for _, statement := range []string{
		`INSERT INTO inventory_levels (variant_id, location_id, on_hand) SELECT v.id, l.id, 100000000 FROM variants v, locations l`,
		`INSERT INTO stock_movements (id, variant_id, location_id, reason, on_hand, reserved, incoming, created_at)
		 SELECT gen_random_uuid(), variant_id, location_id, 'count', on_hand, 0, 0, now() FROM inventory_levels`,
		`CREATE TABLE bench_variants (n integer PRIMARY KEY, id uuid NOT NULL, product_id uuid NOT NULL)`,
		`INSERT INTO bench_variants SELECT row_number() OVER (ORDER BY id), id, product_id FROM variants`,
		`VACUUM ANALYZE`,
	} {
		if _, err := pool.Exec(ctx, statement); err != nil {
			return s, fmt.Errorf("%.40s: %w", statement, err)
		}
	}
	rows, err := pool.Query(ctx, `SELECT id FROM bench_variants ORDER BY n`)
	if err != nil {
		return s, err
	}
	s.variants, err = pgx.CollectRows(rows, pgx.RowTo[uuid.UUID])
	fmt.Fprintf(os.Stderr, "loaded %d products with %d variants in %s\n", products, len(s.variants), time.Since(begin).Round(time.Second))
	return s, err
}

func product(n int) openapi.ProductInput {
	noun := nouns[n%len(nouns)]
	description := fmt.Sprintf("The %s that carries number %d: made to last, and to be found among ten thousand.", noun, n)
	p := openapi.ProductInput{
		Title: fmt.Sprintf("Fine %s %d", noun, n), Slug: new(fmt.Sprintf("product-%d", n)), Description: &description,
		Type: openapi.ProductTypeVariable, Status: new(openapi.ProductStatusActive), Options: &[]string{"Size"},
		Tags: &[]string{noun},
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

// rulesOf makes VAT and a way to ship.
func rulesOf(ctx context.Context, k *commerce.Commerce) (method uuid.UUID, err error) {
	zone, err := k.Rules.CreateZone(ctx, openapi.ZoneInput{Name: "World", Areas: []string{"*"}})
	if err != nil {
		return method, err
	}
	if _, err := k.Rules.CreateTaxRate(ctx, openapi.TaxRateInput{Name: "VAT", ZoneId: zone.Id, Percent: "19"}); err != nil {
		return method, err
	}
	m, err := k.Rules.CreateShippingMethod(ctx, openapi.ShippingMethodInput{
		Name: "Parcel", ZoneId: zone.Id, Prices: []openapi.ShippingPrice{{Price: openapi.Money{Amount: "4.90", Currency: "EUR"}}},
	})
	return m.Id, err
}
