package order

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"gitee.com/captainjez/gocart/runtime/internal/order/orderdb"
	"gitee.com/captainjez/gocart/runtime/internal/transfer"
	"gitee.com/captainjez/gocart/runtime/openapi"
)

// Transfer is how orders go out; as CSV with a row for each line. They do not
// come in: an order is what somebody bought here.
func (s *Orders) Transfer() transfer.Kind {
	columns := []string{
		"number", "id", "state", "createdAt", "customerId", "email", "currency", "subtotal", "discount", "shipping", "tax", "total",
		"shippingName", "shippingCountry", "sku", "title", "quantity", "unitPrice", "lineDiscount", "lineTax", "lineTotal",
	}
	return transfer.Of[openapi.Order]{
		Name: "orders", ReadScope: "orders:read", From: s.from,
		Sheets: map[string]transfer.Sheet[openapi.Order]{"csv": {
			Columns: func(context.Context) ([]string, error) { return columns, nil },
			Rows:    rowsOf,
		}},
	}
}

// rowsOf are an order's; what is of the order stands in each.
func rowsOf(o openapi.Order) []map[string]string {
	rows := make([]map[string]string, len(o.Lines))
	for i, l := range o.Lines {
		rows[i] = map[string]string{
			"number": o.Number, "id": o.Id.String(), "state": string(o.State), "createdAt": o.CreatedAt.Format(time.RFC3339), "email": transfer.Defused(o.Email),
			"currency": o.Totals.Currency, "subtotal": o.Totals.Subtotal, "discount": o.Totals.Discount, "shipping": o.Totals.Shipping, "tax": o.Totals.Tax,
			"total": o.Totals.Total,
			"sku":   l.Sku, "title": transfer.Defused(l.Title), "quantity": strconv.FormatInt(l.Quantity, 10), "unitPrice": l.UnitPrice,
			"lineDiscount": l.Discount, "lineTax": l.Tax, "lineTotal": l.Total,
		}
		if o.CustomerId != nil {
			rows[i]["customerId"] = o.CustomerId.String()
		}
		if a := o.ShippingAddress; a != nil {
			rows[i]["shippingName"], rows[i]["shippingCountry"] = transfer.Defused(a.Name), a.Country
		}
	}
	return rows
}

func (s *Orders) from(ctx context.Context, after string, most int32) (all []openapi.Order, last string, err error) {
	id, err := transfer.Place(after)
	if err != nil {
		return nil, "", err
	}
	ids, err := orderdb.New(s.pool).OrdersFrom(ctx, orderdb.OrdersFromParams{After: id, Most: most})
	if err != nil {
		return nil, "", fmt.Errorf("reading orders: %w", err)
	}
	for _, id := range ids {
		o, err := s.Find(ctx, id)
		if err != nil {
			return nil, "", err
		}
		all, last = append(all, o.Public()), id.String()
	}
	if len(ids) < int(most) {
		last = ""
	}
	return all, last, nil
}
