package order

import (
	"context"

	"github.com/google/uuid"

	"gitee.com/captainjez/gocart/runtime/internal/identity"
	"gitee.com/captainjez/gocart/runtime/openapi"
)

// AsBuyer gives an order with all of it that its buyer may see, save for what is
// left to do for a payment, which is a key to it.
func (s *Orders) AsBuyer(ctx context.Context, id uuid.UUID) (openapi.PersonalOrder, error) {
	o, err := s.Find(ctx, id)
	if err != nil {
		return openapi.PersonalOrder{}, err
	}
	h, buyer := Handlers{s}, Who{Principal: &identity.Principal{CustomerID: o.CustomerID}, CartToken: s.keys.CartToken(o.tokenOf())}
	timeline, err := h.timeline(ctx, id, buyer)
	if err != nil {
		return openapi.PersonalOrder{}, err
	}
	packages, err := h.fulfillments(ctx, id, buyer)
	if err != nil {
		return openapi.PersonalOrder{}, err
	}
	returns, err := h.returnsOf(ctx, id, buyer)
	if err != nil {
		return openapi.PersonalOrder{}, err
	}
	refunds, err := h.refunds(ctx, id, buyer)
	return openapi.PersonalOrder{
		Order: withoutActions(o.Public()), Timeline: timeline.Entries, Fulfillments: packages.Fulfillments, Returns: returns.Returns, Refunds: refunds.Refunds,
	}, err
}
