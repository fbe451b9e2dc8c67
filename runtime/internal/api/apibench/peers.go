package main

import "context"

// A store of the size for which others' figures are known.
const (
	smallList         = "list of 20, 300 products"
	smallListCached   = "list of 20, 300 products, cached"
	smallSingle       = "single, 300 products"
	smallSingleCached = "single, 300 products, cached"
	smallCheckout     = "checkout, 300 products"
)

// published are others' figures: Vendure 3.7 and Medusa 2.21 with 300 products
// of 4 variants and 16 connections, client and PostgreSQL 15 on the same 2
// processors, on another day. A ratio to them tells an order of magnitude. Who
// runs a store by the operator has a cache; Medusa's is behind a flag, with
// which its list is a peer of its own.
var published = map[string]struct {
	perSecond float64
	beside    string
}{
	"vendure_list":            {32, smallListCached},
	"vendure_list_uncached":   {32, smallList},
	"vendure_single":          {247, smallSingleCached},
	"vendure_single_uncached": {247, smallSingle},
	"vendure_checkout":        {22, smallCheckout},
	"medusa_list":             {60, smallList},
	"medusa_list_cached":      {229, smallListCached},
	"medusa_single":           {98, smallSingleCached},
	"medusa_single_uncached":  {98, smallSingle},
	"medusa_checkout":         {3.6, smallCheckout},
}

// small measures a store of 300 products.
func (b *bench) small(ctx context.Context, of map[string]result) error {
	s, err := b.busy(ctx, "small", 300)
	if err != nil {
		return err
	}
	defer s.stop()
	r := &results{of: of}
	r.add(smallList)(s.both(ctx, s.read(listPath)))
	r.add(smallSingle)(s.both(ctx, s.readAny()))
	if err := s.cached(ctx, r, smallListCached, smallSingleCached); err != nil {
		return err
	}
	r.add(smallCheckout)(s.both(ctx, s.buys(s.any)))
	return r.failed
}
