// Package sample fills an empty store with a few products, so that there is
// something to look at.
package sample

import (
	"context"
	"fmt"

	"gitee.com/captainjez/gocart/runtime/internal/catalog"
	"gitee.com/captainjez/gocart/runtime/internal/idempotency"
	"gitee.com/captainjez/gocart/runtime/openapi"
)

// Seed stores the sample products in a store that has no product, and returns
// how many.
func Seed(ctx context.Context, k *catalog.Catalog) (int, error) {
	empty, err := k.Empty(ctx)
	if err != nil || !empty {
		return 0, err
	}
	all := products()
	for _, p := range all {
		if _, err := k.Create(ctx, p, idempotency.Request{}); err != nil {
			return 0, fmt.Errorf("sample product %q: %w", p.Title, err)
		}
	}
	return len(all), nil
}

func products() []openapi.ProductInput {
	return []openapi.ProductInput{
		sized("Merino Crew Sweater", "Fine merino wool, warm without bulk.", "SWEATER", "89.00"),
		sized("Organic Cotton T-Shirt", "Heavy organic cotton that keeps its shape.", "TSHIRT", "24.90"),
		sized("Rain Jacket", "Three layers, taped seams, packs into its own pocket.", "RAIN", "149.00"),
		sized("Linen Shirt", "Stonewashed linen for warm days.", "LINEN", "69.00"),
		simple("Enamel Mug", "Holds 350 ml and a campfire.", "MUG-350", "14.50"),
		simple("Steel Bottle", "Insulated, 750 ml, cold for a day.", "BOTTLE-750", "32.00"),
		simple("Canvas Tote", "Carries ten kilograms of groceries.", "TOTE", "18.00"),
		simple("Leather Wallet", "Vegetable-tanned leather, six cards.", "WALLET", "54.00"),
		simple("Beeswax Candle", "Burns for forty hours.", "CANDLE-40", "21.00"),
		simple("Field Notebook", "Dotted pages, sewn to lie flat.", "NOTE-A5", "12.00"),
		simple("Walnut Cutting Board", "End grain, oiled, 40 by 30 cm.", "BOARD-40", "79.00"),
		simple("Coffee Beans", "Washed Ethiopian, roasted each Monday, 500 g.", "COFFEE-500", "16.80"),
	}
}

func simple(title, description, sku, price string) openapi.ProductInput {
	return openapi.ProductInput{
		Title: title, Description: &description, Type: openapi.Simple, Status: new(openapi.Active),
		Variants: []openapi.VariantInput{{Sku: sku, Price: openapi.Money{Amount: price, Currency: "EUR"}}},
	}
}

func sized(title, description, sku, price string) openapi.ProductInput {
	p := simple(title, description, sku, price)
	p.Type, p.Options, p.Variants = openapi.Variable, &[]string{"Size"}, nil
	for _, size := range []string{"S", "M", "L", "XL"} {
		p.Variants = append(p.Variants, openapi.VariantInput{
			Sku: sku + "-" + size, Price: openapi.Money{Amount: price, Currency: "EUR"}, Options: &map[string]string{"Size": size},
		})
	}
	return p
}
