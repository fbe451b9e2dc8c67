package order

import (
	"context"

	"github.com/google/uuid"

	"gitee.com/captainjez/gocart/runtime/internal/identity"
	"gitee.com/captainjez/gocart/runtime/openapi"
)

// AsBuyer gives an order and its timeline as its buyer may see them, save for
// what is left to do for a payment, which is a key to it.
func (s *Orders) AsBuyer(ctx context.Context, id uuid.UUID) (openapi.Order, []openapi.TimelineEntry, error) {
	o, err := s.Find(ctx, id)
	if err != nil {
		return openapi.Order{}, nil, err
	}
	buyer := Who{Principal: &identity.Principal{CustomerID: o.CustomerID}, CartToken: s.keys.CartToken(o.tokenOf())}
	timeline, err := Handlers{s}.timeline(ctx, id, buyer)
	return withoutActions(o.Public()), timeline.Entries, err
}
