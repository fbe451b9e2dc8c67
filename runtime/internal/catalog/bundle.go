package catalog

import (
	"context"
	"fmt"

	"github.com/google/uuid"

	"gitee.com/captainjez/gocart/runtime/internal/catalog/catalogdb"
	"gitee.com/captainjez/gocart/runtime/internal/optional"
	"gitee.com/captainjez/gocart/runtime/internal/problem"
	"gitee.com/captainjez/gocart/runtime/openapi"
)

// bundle checks what a bundle is to be made of, and gives the parts, of which
// those that are named by SKUs have no ids yet; see naming.
func (v *findings) bundle(kind openapi.ProductType, items []openapi.BundleItemInput) []openapi.BundleItem {
	parts := make([]openapi.BundleItem, len(items))
	if kind != openapi.ProductTypeBundle {
		v.Require(len(items) == 0, "/bundle", "only a bundle is made of other variants")
		return parts
	}
	v.Require(len(items) >= 1 && len(items) <= maxComponents, "/bundle", "a bundle is made of 1 to %d variants", maxComponents)
	seen := map[any]bool{}
	for i, item := range items {
		at := fmt.Sprintf("/bundle/%d", i)
		v.Require((item.VariantId == nil) != (item.Sku == nil), at, "names a variant by either its variantId or its sku")
		v.Range(at+"/quantity", item.Quantity, 1, maxQuantity)
		parts[i] = openapi.BundleItem{VariantId: optional.Value(item.VariantId), Quantity: item.Quantity}
		if item.Sku != nil {
			v.Text(at+"/sku", *item.Sku, 1, maxSKU)
			v.Require(!seen[*item.Sku], at+"/sku", "is there twice")
			seen[*item.Sku] = true
		} else {
			v.Require(!seen[parts[i].VariantId], at+"/variantId", "is there twice")
			seen[parts[i].VariantId] = true
		}
	}
	return parts
}

// naming are the SKUs by which a bundle's parts are named, of those that are.
func naming(in openapi.ProductInput) (skus []string) {
	for _, item := range optional.Value(in.Bundle) {
		if item.Sku != nil {
			skus = append(skus, *item.Sku)
		}
	}
	return skus
}

// partsOf are the variants that a bundle can be made of, by their SKUs.
func partsOf(ctx context.Context, q *catalogdb.Queries, skus []string) (map[string]uuid.UUID, error) {
	ids := map[string]uuid.UUID{}
	if len(skus) == 0 {
		return ids, nil
	}
	rows, err := q.PartsBySKU(ctx, skus)
	if err != nil {
		return nil, fmt.Errorf("reading what a bundle is made of: %w", err)
	}
	for _, r := range rows {
		ids[r.Sku] = r.ID
	}
	return ids, nil
}

// name gives the bundle's parts that the input names by SKUs their ids.
func (d *draft) name(in openapi.ProductInput, ids map[string]uuid.UUID) error {
	var f problem.Findings
	seen := map[uuid.UUID]bool{}
	for i, item := range optional.Value(in.Bundle) {
		at, there := fmt.Sprintf("/bundle/%d/variantId", i), true
		if item.Sku != nil {
			at = fmt.Sprintf("/bundle/%d/sku", i)
			d.Bundle[i].VariantId, there = ids[*item.Sku]
			f.Require(there, at, "%.64q is no variant of a product that is not a bundle", *item.Sku)
		}
		f.Require(!there || !seen[d.Bundle[i].VariantId], at, "is there twice")
		seen[d.Bundle[i].VariantId] = true
	}
	return f.Err()
}

// wholeDraft is a draft all of whose parts have their ids.
func wholeDraft(ctx context.Context, q *catalogdb.Queries, in openapi.ProductInput, id uuid.UUID, slug string) (draft, error) {
	d, err := newDraft(in, id, slug)
	if err != nil {
		return d, err
	}
	ids, err := partsOf(ctx, q, naming(in))
	if err != nil {
		return d, err
	}
	return d, d.name(in, ids)
}

func storeBundle(ctx context.Context, q *catalogdb.Queries, d draft) error {
	rows := catalogdb.InsertBundleItemsParams{BundleID: d.Variants[0].Id}
	for i, item := range d.Bundle {
		rows.ComponentIds = append(rows.ComponentIds, item.VariantId)
		rows.Positions = append(rows.Positions, int32(i))
		rows.Quantities = append(rows.Quantities, item.Quantity)
	}
	found, err := q.Components(ctx, rows.ComponentIds)
	if err != nil {
		return err
	}
	if err := all(rows.ComponentIds, found, "/bundle/%d/variantId", "is no variant of a product that is not a bundle"); err != nil {
		return err
	}
	return q.InsertBundleItems(ctx, rows)
}
