package catalog

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/google/uuid"

	"gitee.com/captainjez/gocart/runtime/internal/catalog/catalogdb"
	"gitee.com/captainjez/gocart/runtime/openapi"
)

// Sellable is a variant with all that a cart needs of it.
type Sellable struct {
	VariantID, ProductID uuid.UUID
	SKU, Title           string
	Options              map[string]string
	Type                 openapi.ProductType
	TaxCategory          string
	// WeightGrams of a bundle without a weight of its own is that of its
	// components.
	WeightGrams int64
	// Active is whether it is for sale at all.
	Active bool
	// Price is in minor units of the currency asked for, where HasPrice.
	Price    int64
	HasPrice bool
	// TrackStock and Continue are the variant's own; a bundle's stock is that
	// of its components.
	TrackStock, Continue bool
	// Shippable is false for what is digital, and a bundle of only that.
	Shippable     bool
	CollectionIDs []uuid.UUID
	Bundle        []Component
}

// Component is what a bundle has Quantity of.
type Component struct {
	VariantID            uuid.UUID
	Quantity             int64
	TrackStock, Continue bool
	WeightGrams          int64
	Shippable            bool
}

// Takes is what one of it takes from the stock that is counted: itself, or what
// a bundle is made of.
func (s *Sellable) Takes() (all []Component) {
	if s.TrackStock {
		all = append(all, Component{VariantID: s.VariantID, Quantity: 1, TrackStock: true, Continue: s.Continue})
	}
	for _, part := range s.Bundle {
		if part.TrackStock {
			all = append(all, part)
		}
	}
	return all
}

// Sellables reads variants, whatever their status, in one statement. A variant
// that is not there has no entry. Who asks at the same moment shares the
// statement and the values, which are only read.
func (k *Catalog) Sellables(ctx context.Context, variantIDs []uuid.UUID, currency string) (map[uuid.UUID]Sellable, error) {
	offers := make([]offer, len(variantIDs))
	for i, id := range variantIDs {
		offers[i] = offer{id, currency}
	}
	all, err := k.sellables.Read(ctx, offers...)
	if err != nil {
		return nil, fmt.Errorf("reading variants: %w", err)
	}
	found := make(map[uuid.UUID]Sellable, len(offers))
	for _, o := range offers {
		if s, ok := all[o]; ok {
			found[o.variant] = s
		}
	}
	return found, nil
}

func readSellables(ctx context.Context, q *catalogdb.Queries, offers []offer) (map[offer]Sellable, error) {
	var params catalogdb.SellablesParams
	for _, o := range offers {
		params.Ids, params.Currencies = append(params.Ids, o.variant), append(params.Currencies, o.currency)
	}
	rows, err := q.Sellables(ctx, params)
	if err != nil {
		return nil, err
	}
	found := make(map[offer]Sellable, len(rows))
	for _, r := range rows {
		s := Sellable{
			VariantID: r.ID, ProductID: r.ProductID, SKU: r.Sku, Title: r.Title, Options: map[string]string{},
			Type: openapi.ProductType(r.Type), TaxCategory: r.TaxCategory, WeightGrams: r.WeightGrams,
			Active: r.Status == string(openapi.ProductStatusActive), Price: max(r.Price, 0), HasPrice: r.Price >= 0,
			TrackStock: r.TrackStock, Continue: r.Oversell, Shippable: r.Type != string(openapi.ProductTypeDigital),
			CollectionIDs: r.CollectionIds,
		}
		if len(r.Options) > len("{}") {
			if err := json.Unmarshal(r.Options, &s.Options); err != nil {
				return nil, err
			}
		}
		if r.Bundle != nil {
			if err := json.Unmarshal(r.Bundle, &s.Bundle); err != nil {
				return nil, err
			}
			s.Shippable = false
			for _, c := range s.Bundle {
				s.Shippable = s.Shippable || c.Shippable
				if r.WeightGrams == 0 {
					s.WeightGrams += c.Quantity * c.WeightGrams
				}
			}
		}
		found[offer{r.ID, r.Currency}] = s
	}
	return found, nil
}

// VariantRef is a variant with how its stock is counted.
type VariantRef struct {
	ID, ProductID   uuid.UUID
	SKU             string
	Track, Continue bool
}

func refs[R catalogdb.VariantsByIDRow | catalogdb.VariantsBySKURow | catalogdb.VariantsOfProductRow](rows []R, err error) ([]VariantRef, error) {
	if err != nil {
		return nil, fmt.Errorf("reading variants: %w", err)
	}
	out := make([]VariantRef, len(rows))
	for i, row := range rows {
		r := catalogdb.VariantsByIDRow(row)
		out[i] = VariantRef{ID: r.ID, ProductID: r.ProductID, SKU: r.Sku, Track: r.TrackStock, Continue: r.Oversell}
	}
	return out, nil
}

// VariantsBySKU reads variants over a pool or in a transaction; a SKU that is
// not there has no entry. SKUs are UTF-8 without NUL.
func (k *Catalog) VariantsBySKU(ctx context.Context, over catalogdb.DBTX, skus []string) (map[string]VariantRef, error) {
	list, err := refs(catalogdb.New(over).VariantsBySKU(ctx, skus))
	found := make(map[string]VariantRef, len(list))
	for _, v := range list {
		found[v.SKU] = v
	}
	return found, err
}

// VariantRefs reads variants by id; one that is not there has no entry.
func (k *Catalog) VariantRefs(ctx context.Context, over catalogdb.DBTX, ids []uuid.UUID) (map[uuid.UUID]VariantRef, error) {
	list, err := refs(catalogdb.New(over).VariantsByID(ctx, ids))
	found := make(map[uuid.UUID]VariantRef, len(list))
	for _, v := range list {
		found[v.ID] = v
	}
	return found, err
}

// ProductsOf tells which products variants are of; one that is not there has no
// entry.
func (k *Catalog) ProductsOf(ctx context.Context, variantIDs []uuid.UUID) (map[uuid.UUID]uuid.UUID, error) {
	variants, err := k.VariantRefs(ctx, k.pool, variantIDs)
	products := make(map[uuid.UUID]uuid.UUID, len(variants))
	for id, v := range variants {
		products[id] = v.ProductID
	}
	return products, err
}

// ProductVariants reads a product's variants in their order.
func (k *Catalog) ProductVariants(ctx context.Context, over catalogdb.DBTX, productID uuid.UUID) ([]VariantRef, error) {
	return refs(catalogdb.New(over).VariantsOfProduct(ctx, productID))
}
