package order

import (
	"net/http"
	"slices"

	"gitee.com/captainjez/gocart/runtime/internal/problem"
	"gitee.com/captainjez/gocart/runtime/openapi"
)

// transitions is every path that an order can take. docs/concepts/orders.md
// has the same table, and a test compares the two. An order on hold goes back
// to the state that it was held from, or is cancelled.
var transitions = map[openapi.OrderState][]openapi.OrderState{
	openapi.OrderStatePending:    {openapi.OrderStateConfirmed, openapi.OrderStateOnHold, openapi.OrderStateCancelled},
	openapi.OrderStateConfirmed:  {openapi.OrderStateProcessing, openapi.OrderStateOnHold, openapi.OrderStateCancelled},
	openapi.OrderStateProcessing: {openapi.OrderStateShipped, openapi.OrderStateOnHold, openapi.OrderStateCancelled},
	openapi.OrderStateOnHold:     {openapi.OrderStatePending, openapi.OrderStateConfirmed, openapi.OrderStateProcessing, openapi.OrderStateCancelled},
	openapi.OrderStateShipped:    {openapi.OrderStateDelivered, openapi.OrderStateRefunded},
	openapi.OrderStateDelivered:  {openapi.OrderStateCompleted, openapi.OrderStateRefunded},
	openapi.OrderStateCompleted:  {openapi.OrderStateRefunded},
	openapi.OrderStateCancelled:  {},
	openapi.OrderStateRefunded:   {},
}

// customerCancels are the states in which a buyer may still cancel.
var customerCancels = []openapi.OrderState{openapi.OrderStatePending, openapi.OrderStateConfirmed}

// allowed is nil where an order may go from one state to another, else a
// *problem.Problem with status 409 that names the ways there are.
func allowed(from, heldFrom, to openapi.OrderState) error {
	ways := transitions[from]
	if from == openapi.OrderStateOnHold {
		ways = []openapi.OrderState{heldFrom, openapi.OrderStateCancelled}
	}
	if slices.Contains(ways, to) {
		return nil
	}
	if len(ways) == 0 {
		return problem.New(http.StatusConflict, "transition_not_allowed", "The order is %s, and stays so.", from)
	}
	return problem.New(http.StatusConflict, "transition_not_allowed", "The order is %s; from there it can become %s.", from, problem.Words(ways, "or"))
}
