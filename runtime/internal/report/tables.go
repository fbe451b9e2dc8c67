package report

import (
	"context"
	"slices"
	"strconv"
	"time"

	"gitee.com/captainjez/gocart/runtime/internal/inventory"
	"gitee.com/captainjez/gocart/runtime/internal/money"
	"gitee.com/captainjez/gocart/runtime/internal/order"
)

// table is what a report has.
type table struct {
	// ofNow tells of the moment, and not of days.
	ofNow bool
	// fill writes the header and the rows of the days, both included.
	fill func(ctx context.Context, r *Reports, first, last time.Time, w *sheet) error
}

// tables are the reports, by name.
var tables = map[string]table{
	"sales":     {fill: sales},
	"orders":    {fill: orders},
	"inventory": {fill: stock, ofNow: true},
}

func number(n int64) cell { return cell(strconv.FormatInt(n, 10)) }

func sales(ctx context.Context, r *Reports, first, last time.Time, w *sheet) error {
	w.header("day", "currency", "orders", "items", "subtotal", "discount", "shipping", "tax", "total", "cancelled", "refunded", "refunded_total", "exchanged")
	// Few days at once: a statement over all of them would be ended by its timeout.
	const atOnce = 30
	for part := range slices.Chunk(daysBetween(first, last), atOnce) {
		found, err := r.orders.SalesOf(ctx, part)
		if err != nil {
			return err
		}
		for _, d := range found {
			amount := amounts(d.Currency)
			err := w.row(text(d.Day.Format(time.DateOnly)), text(d.Currency), number(d.Orders), number(d.Items), amount(d.Subtotal), amount(d.Discount),
				amount(d.Shipping), amount(d.Tax), amount(d.Total), number(d.Cancelled), number(d.Refunded), amount(d.RefundedTotal), amount(d.Exchanged))
			if err != nil {
				return err
			}
		}
	}
	return nil
}

func daysBetween(first, last time.Time) (days []time.Time) {
	for d := first; !d.After(last); d = d.Add(day) {
		days = append(days, d)
	}
	return days
}

// amounts are decimals of a currency.
func amounts(currency string) func(minor int64) cell {
	return func(minor int64) cell { return cell(money.Amount{Minor: minor, Currency: currency}.Decimal()) }
}

func orders(ctx context.Context, r *Reports, first, last time.Time, w *sheet) error {
	w.header("number", "id", "placed_at", "changed_at", "state", "email", "customer_id", "country", "currency", "items", "subtotal", "discount",
		"shipping", "tax", "total")
	return r.orders.EachPlaced(ctx, first, last.Add(day), func(o order.Placed) error {
		amount, customer := amounts(o.Currency), ""
		if o.CustomerID != nil {
			customer = o.CustomerID.String()
		}
		return w.row(number(o.Number), text(o.ID.String()), moment(o.CreatedAt), moment(o.UpdatedAt), text(o.State), text(o.Email), text(customer),
			text(o.Country), text(o.Currency), number(o.ItemCount), amount(o.Subtotal), amount(o.Discount), amount(o.Shipping), amount(o.Tax), amount(o.Total))
	})
}

func moment(t time.Time) cell { return cell(t.UTC().Format(time.RFC3339)) }

func stock(ctx context.Context, r *Reports, _, _ time.Time, w *sheet) error {
	w.header("sku", "title", "location", "on_hand", "reserved", "available", "incoming")
	return r.stock.EachShelf(ctx, func(s inventory.Shelf) error {
		return w.row(text(s.SKU), text(s.Title), text(s.Location), number(s.OnHand), number(s.Reserved), number(s.OnHand-s.Reserved), number(s.Incoming))
	})
}
