// Package sample fills an empty store with a few products, so that there is
// something to look at.
package sample

import (
	"context"
	"fmt"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"gitee.com/captainjez/gocart/runtime/internal/catalog"
	"gitee.com/captainjez/gocart/runtime/internal/commerce"
	"gitee.com/captainjez/gocart/runtime/internal/db"
	"gitee.com/captainjez/gocart/runtime/internal/inventory"
	"gitee.com/captainjez/gocart/runtime/internal/rules"
	"gitee.com/captainjez/gocart/runtime/openapi"
)

// Seed stores the sample products with their categories, a collection, stock,
// tax and shipping in a store that has no product, and returns how many.
func Seed(ctx context.Context, c *commerce.Commerce) (int, error) {
	empty, err := c.Catalog.Empty(ctx)
	if err != nil || !empty {
		return 0, err
	}
	stored, err := seedCatalog(ctx, c.Pool, c.Catalog)
	if err != nil {
		return 0, err
	}
	if err := seedRules(ctx, c.Rules); err != nil {
		return 0, err
	}
	return len(stored), seedStock(ctx, c.Pool, c.Stock, stored)
}

// seedRules makes a zone for everywhere with German VAT and one way to ship.
func seedRules(ctx context.Context, book *rules.Book) error {
	zone, err := book.CreateZone(ctx, openapi.ZoneInput{Name: "Everywhere", Areas: []string{"*"}})
	if err != nil {
		return fmt.Errorf("sample zone: %w", err)
	}
	for category, percent := range map[string]string{"standard": "19", "reduced": "7"} {
		if _, err := book.CreateTaxRate(ctx, openapi.TaxRateInput{Name: "VAT " + percent + "%", ZoneId: zone.Id, Category: &category, Percent: percent}); err != nil {
			return fmt.Errorf("sample tax rate: %w", err)
		}
	}
	_, err = book.CreateShippingMethod(ctx, openapi.ShippingMethodInput{
		Name: "Parcel", ZoneId: zone.Id,
		Prices: []openapi.ShippingPrice{{Price: openapi.Money{Amount: "4.90", Currency: "EUR"}, FreeFrom: new("60.00")}},
	})
	if err != nil {
		return fmt.Errorf("sample shipping method: %w", err)
	}
	_, err = book.CreatePromotion(ctx, openapi.PromotionInput{Title: "Ten percent", Code: new("WELCOME10"), Kind: openapi.PromotionKindPercentage, Percent: new("10")})
	if err != nil {
		return fmt.Errorf("sample promotion: %w", err)
	}
	return nil
}

// seedStock puts some of everything on the shelf.
func seedStock(ctx context.Context, pool *pgxpool.Pool, stock *inventory.Stock, products []openapi.Product) error {
	const each = 100
	location, err := stock.FirstLocation(ctx, pool)
	if err != nil {
		return fmt.Errorf("sample stock: %w", err)
	}
	in := openapi.AdjustmentInput{Reason: openapi.AdjustmentInputReasonCount}
	for _, p := range products {
		for _, v := range p.Variants {
			if v.TrackStock {
				in.Changes = append(in.Changes, openapi.StockChange{Sku: v.Sku, LocationId: location, Quantity: each})
			}
		}
	}
	if err := stock.Adjust(ctx, in); err != nil {
		return fmt.Errorf("sample stock: %w", err)
	}
	return nil
}

// seedCatalog stores the products with their categories and a collection, all
// or nothing.
func seedCatalog(ctx context.Context, pool *pgxpool.Pool, k *catalog.Catalog) ([]openapi.Product, error) {
	var stored []openapi.Product
	err := db.WithTx(ctx, pool, func(tx pgx.Tx) error {
		categories, err := seedCategories(ctx, tx, k)
		if err != nil {
			return err
		}
		var warm []uuid.UUID
		for _, s := range samples() {
			s.in.CategoryIds = &[]uuid.UUID{categories[s.category]}
			p, err := k.Create(ctx, tx, s.in)
			if err != nil {
				return fmt.Errorf("sample product %q: %w", s.in.Title, err)
			}
			stored = append(stored, p)
			if s.category == "Knitwear" || s.category == "Jackets" {
				warm = append(warm, p.Id)
			}
		}
		_, err = k.CreateCollection(ctx, tx, openapi.CollectionInput{
			Name: "Warm and dry", Description: new("For the days when it is neither."), ProductIds: &warm,
		})
		return err
	})
	if err != nil {
		return nil, err
	}
	k.Invalidate(ctx)
	return stored, nil
}

// seedCategories stores the tree and returns the ids by name.
func seedCategories(ctx context.Context, tx pgx.Tx, k *catalog.Catalog) (map[string]uuid.UUID, error) {
	ids := map[string]uuid.UUID{}
	for i, c := range [][2]string{
		{"Clothing", ""}, {"Knitwear", "Clothing"}, {"Shirts", "Clothing"}, {"Jackets", "Clothing"},
		{"Home", ""}, {"Kitchen", "Home"}, {"Accessories", ""}, {"Groceries", ""},
	} {
		in := openapi.CategoryInput{Name: c[0], Position: new(i)}
		if c[1] != "" {
			in.ParentId = new(ids[c[1]])
		}
		stored, err := k.CreateCategory(ctx, tx, in)
		if err != nil {
			return nil, fmt.Errorf("sample category %q: %w", c[0], err)
		}
		ids[c[0]] = stored.Id
	}
	return ids, nil
}

// product is a sample with the name of its category.
type product struct {
	category string
	in       openapi.ProductInput
}

func samples() []product {
	return []product{
		{"Knitwear", sized("Merino Crew Sweater", "Fine merino wool, warm without bulk.", "SWEATER", "89.00", "Wool", 420)},
		{"Shirts", sized("Organic Cotton T-Shirt", "Heavy organic cotton that keeps its shape.", "TSHIRT", "24.90", "Cotton", 210)},
		{"Jackets", sized("Rain Jacket", "Three layers, taped seams, packs into its own pocket.", "RAIN", "149.00", "Nylon", 380)},
		{"Shirts", sized("Linen Shirt", "Stonewashed linen for warm days.", "LINEN", "69.00", "Linen", 240)},
		{"Kitchen", simple("Enamel Mug", "Holds 350 ml and a campfire.", "MUG-350", "14.50", "Steel", 160)},
		{"Kitchen", simple("Steel Bottle", "Insulated, 750 ml, cold for a day.", "BOTTLE-750", "32.00", "Steel", 390)},
		{"Accessories", simple("Canvas Tote", "Carries ten kilograms of groceries.", "TOTE", "18.00", "Cotton", 180)},
		{"Accessories", simple("Leather Wallet", "Vegetable-tanned leather, six cards.", "WALLET", "54.00", "Leather", 90)},
		{"Home", simple("Beeswax Candle", "Burns for forty hours.", "CANDLE-40", "21.00", "Beeswax", 300)},
		{"Accessories", simple("Field Notebook", "Dotted pages, sewn to lie flat.", "NOTE-A5", "12.00", "Paper", 250)},
		{"Kitchen", simple("Walnut Cutting Board", "End grain, oiled, 40 by 30 cm.", "BOARD-40", "79.00", "Walnut", 2400)},
		{"Groceries", reduced(simple("Coffee Beans", "Washed Ethiopian, roasted each Monday, 500 g.", "COFFEE-500", "16.80", "Coffee", 520))},
	}
}

func simple(title, description, sku, amount, material string, grams int64) openapi.ProductInput {
	return openapi.ProductInput{
		Title: title, Description: &description, Type: openapi.ProductTypeSimple, Status: new(openapi.ProductStatusActive),
		Attributes: &[]openapi.Attribute{{Name: "Material", Value: material}}, Tags: &[]string{"sample"},
		Variants: []openapi.VariantInput{{Sku: sku, WeightGrams: &grams, Prices: []openapi.PriceInput{{Amount: amount, Currency: "EUR"}}}},
	}
}

func sized(title, description, sku, amount, material string, grams int64) openapi.ProductInput {
	p := simple(title, description, sku, amount, material, grams)
	one := p.Variants[0]
	p.Type, p.Options, p.Variants = openapi.ProductTypeVariable, &[]string{"Size"}, nil
	for _, size := range []string{"S", "M", "L", "XL"} {
		one.Sku, one.Options = sku+"-"+size, &map[string]string{"Size": size}
		p.Variants = append(p.Variants, one)
	}
	return p
}

func reduced(p openapi.ProductInput) openapi.ProductInput {
	p.TaxCategory = new("reduced")
	return p
}
