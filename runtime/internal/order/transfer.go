package order

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"gitee.com/captainjez/gocart/runtime/internal/optional"
	"gitee.com/captainjez/gocart/runtime/internal/order/orderdb"
	"gitee.com/captainjez/gocart/runtime/internal/problem"
	"gitee.com/captainjez/gocart/runtime/internal/transfer"
	"gitee.com/captainjez/gocart/runtime/openapi"
)

// The columns of a CSV: a row for each line; what is of the order stands in
// each, and the first counts.
var columns = []string{
	"number", "id", "state", "createdAt", "customerId", "email", "currency", "subtotal", "discount", "shipping", "tax", "total",
	"shippingName", "shippingCountry", "sku", "title", "quantity", "unitPrice", "lineDiscount", "lineTax", "lineTotal",
}

// Transfer is how orders go out, and how those come in that are past.
func (s *Orders) Transfer(accounts Accounts) transfer.Kind {
	return transfer.Of[Record]{
		Name: "orders", ReadScope: "orders:read", WriteScope: "orders:admin", From: s.from,
		Key: func(r Record) (string, string) { return strings.TrimSpace(r.Number), "/number" },
		Put: func(ctx context.Context, tx pgx.Tx, all []Record) ([]transfer.Result, func(context.Context), error) {
			return s.importOrders(ctx, tx, accounts, all)
		},
		Sheets: map[string]transfer.Sheet[Record]{"csv": {
			Group: "number", Required: []string{"number", "state", "createdAt", "currency", "total", "sku", "title", "quantity", "unitPrice"},
			Known:   func(c string) bool { return slices.Contains(columns, c) },
			Read:    func(_ context.Context, rows []transfer.Row) (Record, error) { return readRows(rows) },
			Columns: func(context.Context) ([]string, error) { return columns, nil },
			Rows:    rowsOf,
		}},
	}
}

// readRows makes a record of its rows.
func readRows(rows []transfer.Row) (r Record, err error) {
	first := rows[0]
	var f problem.Findings
	id := func(column string) *uuid.UUID {
		text := strings.TrimSpace(first.Get(column))
		if text == "" {
			return nil
		}
		id, err := uuid.Parse(text)
		f.Require(err == nil, "/"+column, "must be a UUID")
		return &id
	}
	r = Record{
		Number: first.Get("number"), ID: id("id"), CustomerID: id("customerId"), State: openapi.OrderState(first.Get("state")), Email: first.Get("email"),
		Totals: TotalsRecord{
			Currency: first.Get("currency"), Subtotal: first.Get("subtotal"), Discount: first.Get("discount"), Shipping: first.Get("shipping"), Tax: first.Get("tax"),
			Total: first.Get("total"),
		},
	}
	r.CreatedAt, err = time.Parse(time.RFC3339, strings.TrimSpace(first.Get("createdAt")))
	f.Require(err == nil, "/createdAt", "must be a time such as 2026-01-31T09:00:00Z")
	if name, country := first.Get("shippingName"), first.Get("shippingCountry"); name+country != "" {
		r.ShippingAddress = &openapi.Address{Name: name, Country: country}
	}
	for i, row := range rows {
		l := LineRecord{
			SKU: row.Get("sku"), Title: row.Get("title"), UnitPrice: row.Get("unitPrice"), Discount: row.Get("lineDiscount"), Tax: row.Get("lineTax"), Total: row.Get("lineTotal"),
		}
		l.Quantity, err = strconv.ParseInt(strings.TrimSpace(row.Get("quantity")), 10, 64)
		f.Require(err == nil, fmt.Sprintf("/lines/%d/quantity", i), "must be a whole number")
		r.Lines = append(r.Lines, l)
	}
	return r, f.Err()
}

// rowsOf are an order's.
func rowsOf(o Record) []map[string]string {
	rows := make([]map[string]string, len(o.Lines))
	for i, l := range o.Lines {
		rows[i] = map[string]string{
			"number": o.Number, "id": o.ID.String(), "state": string(o.State), "createdAt": o.CreatedAt.Format(time.RFC3339Nano), "email": transfer.Defused(o.Email),
			"currency": o.Totals.Currency, "subtotal": o.Totals.Subtotal, "discount": o.Totals.Discount, "shipping": o.Totals.Shipping, "tax": o.Totals.Tax,
			"total": o.Totals.Total,
			"sku":   transfer.Defused(l.SKU), "title": transfer.Defused(l.Title), "quantity": strconv.FormatInt(l.Quantity, 10), "unitPrice": l.UnitPrice,
			"lineDiscount": l.Discount, "lineTax": l.Tax, "lineTotal": l.Total,
		}
		if id := optional.Value(o.CustomerID); id != uuid.Nil {
			rows[i]["customerId"] = id.String()
		}
		if a := o.ShippingAddress; a != nil {
			rows[i]["shippingName"], rows[i]["shippingCountry"] = transfer.Defused(a.Name), a.Country
		}
	}
	return rows
}

func (s *Orders) from(ctx context.Context, after string, most int32) (all []Record, last string, err error) {
	id, err := transfer.Place(after)
	if err != nil {
		return nil, "", err
	}
	rows, err := orderdb.New(s.pool).NextOrders(ctx, orderdb.NextOrdersParams{After: id, Most: most})
	if err != nil {
		return nil, "", fmt.Errorf("reading orders: %w", err)
	}
	orders := make([]*Order, len(rows))
	for i, r := range rows {
		if orders[i], err = orderOf(r); err != nil {
			return nil, "", err
		}
	}
	if err := s.complete(ctx, s.pool, orders...); err != nil {
		return nil, "", err
	}
	for _, o := range orders {
		all, last = append(all, recordOf(o)), o.ID.String()
	}
	if len(orders) < int(most) {
		last = ""
	}
	return all, last, nil
}
