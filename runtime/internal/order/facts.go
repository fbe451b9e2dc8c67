package order

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"gitee.com/captainjez/gocart/runtime/internal/order/orderdb"
	"gitee.com/captainjez/gocart/runtime/openapi"
)

// Facts are what statistics count of an order, as it is now, with amounts in
// minor units of Currency.
type Facts struct {
	ID        uuid.UUID
	CreatedAt time.Time
	Currency  string
	Cancelled bool
	Buyer

	Items, Subtotal, Discount, Shipping, Tax, Total int64
	// Exchanged is what of the order was paid with what came back of another. It
	// is no part of Discount, here and in Lines, nor is it in Discounts.
	Exchanged int64
	// Captured and Refunded are of all of its payments.
	Captured, Refunded int64

	Lines     []Bought
	Discounts []openapi.AppliedDiscount
	Taxes     []openapi.TaxAmount
}

// Buyer is who placed an order.
type Buyer struct {
	// CustomerID is uuid.Nil for a guest.
	CustomerID uuid.UUID
	Email      string
}

// Bought is what of a variant an order has.
type Bought struct {
	ProductID, VariantID uuid.UUID
	// Quantity is in units, as is Refunded, of which the money was given back.
	Quantity, Refunded             int64
	Subtotal, Discount, Tax, Total int64
}

// Facts reads those of orders, by id; ids that are no order's are passed over.
func (s *Orders) Facts(ctx context.Context, tx pgx.Tx, ids []uuid.UUID) ([]Facts, error) {
	q := orderdb.New(tx)
	rows, err := q.FactsOf(ctx, ids)
	if err != nil {
		return nil, fmt.Errorf("reading orders: %w", err)
	}
	lines, err := q.BoughtIn(ctx, ids)
	if err != nil {
		return nil, fmt.Errorf("reading order lines: %w", err)
	}
	paid, err := s.payments.Sums(ctx, tx, ids)
	if err != nil {
		return nil, err
	}
	all := make([]Facts, len(rows))
	byID, exchanges := make(map[uuid.UUID]*Facts, len(rows)), map[uuid.UUID]bool{}
	for i, r := range rows {
		all[i] = Facts{
			ID: r.ID, CreatedAt: r.CreatedAt.UTC(), Currency: r.Currency, Cancelled: r.State == string(openapi.OrderStateCancelled), Buyer: buyerOf(r.CustomerID, r.Email),
			Items: r.ItemCount, Subtotal: r.Subtotal, Discount: r.Discount, Shipping: r.Shipping, Tax: r.Tax, Total: r.Total,
			Captured: paid[r.ID].Captured, Refunded: paid[r.ID].Refunded,
		}
		byID[r.ID] = &all[i]
		if err := json.Unmarshal(r.Discounts, &all[i].Discounts); err != nil {
			return nil, fmt.Errorf("discounts of order %s: %w", r.ID, err)
		}
		if err := json.Unmarshal(r.Taxes, &all[i].Taxes); err != nil {
			return nil, fmt.Errorf("taxes of order %s: %w", r.ID, err)
		}
		if r.InExchange { // nothing else is taken off one
			all[i].Exchanged, all[i].Discount, all[i].Discounts = all[i].Discount, 0, nil
			exchanges[r.ID] = true
		}
	}
	for _, l := range lines {
		if exchanges[l.OrderID] {
			l.Discount = 0
		}
		if f, ok := byID[l.OrderID]; ok { // else it was stored in between
			f.Lines = append(f.Lines, Bought{
				ProductID: l.ProductID, VariantID: l.VariantID, Quantity: l.Quantity, Refunded: l.Refunded,
				Subtotal: l.Subtotal, Discount: l.Discount, Tax: l.Tax, Total: l.Total,
			})
		}
	}
	return all, nil
}

func buyerOf(customer *uuid.UUID, email string) Buyer {
	b := Buyer{Email: strings.ToLower(email)}
	if customer != nil {
		b.CustomerID = *customer
	}
	return b
}

// After are the ids of the next orders, by id, up to so many.
func (s *Orders) After(ctx context.Context, tx pgx.Tx, id uuid.UUID, most int32) ([]uuid.UUID, error) {
	ids, err := orderdb.New(tx).OrdersFrom(ctx, orderdb.OrdersFromParams{After: id, Most: most})
	if err != nil {
		return nil, fmt.Errorf("reading orders: %w", err)
	}
	return ids, nil
}

// Name is what a variant was called when it was bought.
type Name struct {
	ProductID  uuid.UUID
	SKU, Title string
}

// Names are those of variants that were ever bought.
func (s *Orders) Names(ctx context.Context, over orderdb.DBTX, variantIDs []uuid.UUID) (map[uuid.UUID]Name, error) {
	rows, err := orderdb.New(over).Called(ctx, variantIDs)
	if err != nil {
		return nil, fmt.Errorf("reading what variants were called: %w", err)
	}
	names := make(map[uuid.UUID]Name, len(rows))
	for _, r := range rows {
		names[r.ID] = Name{ProductID: r.ProductID, SKU: r.Sku, Title: r.Title}
	}
	return names, nil
}

// Buyers are who placed orders, by the orders' ids.
func (s *Orders) Buyers(ctx context.Context, over orderdb.DBTX, ids []uuid.UUID) (map[uuid.UUID]Buyer, error) {
	rows, err := orderdb.New(over).BuyersOf(ctx, ids)
	if err != nil {
		return nil, fmt.Errorf("reading buyers: %w", err)
	}
	buyers := make(map[uuid.UUID]Buyer, len(rows))
	for _, r := range rows {
		buyers[r.ID] = buyerOf(r.CustomerID, r.Email)
	}
	return buyers, nil
}
