package order

import (
	"gitee.com/captainjez/gocart/runtime/internal/money"
	"gitee.com/captainjez/gocart/runtime/internal/payment"
	"gitee.com/captainjez/gocart/runtime/openapi"
)

// Due is what of a complete order is still to be paid, in minor units: its
// total, less what its payments have brought or may bring without its buyer. Of
// an order that is no more nothing is due.
func (o *Order) Due() int64 {
	if o.over() {
		return 0
	}
	return payment.Due(o.Payments, o.Total)
}

// over reports whether nothing is to come of the order.
func (o *Order) over() bool {
	return o.State == openapi.OrderStateCancelled || o.State == openapi.OrderStateRefunded
}

// balance is what was paid of a complete order, what of that was given back,
// and what is due.
func (o *Order) balance() (paid, refunded, due openapi.Money) {
	var captured, back int64
	for _, p := range o.Payments {
		captured += p.Captured
		back += p.Refunded
	}
	return o.money(captured), o.money(back), o.money(o.Due())
}

func (o *Order) amount(minor int64) money.Amount {
	return money.Amount{Minor: minor, Currency: o.Currency}
}

func (o *Order) money(minor int64) openapi.Money {
	return openapi.Money{Amount: o.amount(minor).Decimal(), Currency: o.Currency}
}
