package order

import (
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	"gitee.com/captainjez/gocart/runtime/internal/mail"
	"gitee.com/captainjez/gocart/runtime/internal/money"
	"gitee.com/captainjez/gocart/runtime/internal/optional"
	"gitee.com/captainjez/gocart/runtime/internal/payment"
	"gitee.com/captainjez/gocart/runtime/internal/problem"
	"gitee.com/captainjez/gocart/runtime/internal/transfer"
	"gitee.com/captainjez/gocart/runtime/openapi"
)

// Record is an order as one comes in and goes out. Amounts are decimals of the
// currency; those that are left out follow from the others.
type Record struct {
	// ID is the order's; one that comes in without gets one.
	ID *uuid.UUID `json:"id,omitempty"`
	// Number is what the order is known by, and a whole number.
	Number string             `json:"number"`
	State  openapi.OrderState `json:"state"`
	// CustomerID is that of an account that is there; without one it is the
	// account with the address, if that is confirmed.
	CustomerID      *uuid.UUID       `json:"customerId,omitempty"`
	Email           string           `json:"email,omitempty"`
	Lines           []LineRecord     `json:"lines"`
	ShippingAddress *openapi.Address `json:"shippingAddress,omitempty"`
	BillingAddress  *openapi.Address `json:"billingAddress,omitempty"`
	ShippingMethod  string           `json:"shippingMethod,omitempty"`
	VATID           string           `json:"vatId,omitempty"`
	Note            string           `json:"note,omitempty"`
	Locale          string           `json:"locale,omitempty"`
	Totals          TotalsRecord     `json:"totals"`
	Payments        []PaymentRecord  `json:"payments,omitempty"`
	PaymentDueAt    *time.Time       `json:"paymentDueAt,omitempty"`
	CreatedAt       time.Time        `json:"createdAt"`
	UpdatedAt       *time.Time       `json:"updatedAt,omitempty"`
}

// LineRecord is a line of a Record.
type LineRecord struct {
	ID *uuid.UUID `json:"id,omitempty"`
	// VariantID and ProductID are those of the SKU where they are left out, and
	// zero where the store does not know it.
	VariantID *uuid.UUID        `json:"variantId,omitempty"`
	ProductID *uuid.UUID        `json:"productId,omitempty"`
	SKU       string            `json:"sku"`
	Title     string            `json:"title"`
	Options   map[string]string `json:"options,omitempty"`
	Quantity  int64             `json:"quantity"`
	UnitPrice string            `json:"unitPrice"`
	Subtotal  string            `json:"subtotal,omitempty"`
	Discount  string            `json:"discount,omitempty"`
	Tax       string            `json:"tax,omitempty"`
	Total     string            `json:"total,omitempty"`
}

// TotalsRecord are the totals of a Record.
type TotalsRecord struct {
	Currency string `json:"currency"`
	Subtotal string `json:"subtotal,omitempty"`
	Discount string `json:"discount,omitempty"`
	Shipping string `json:"shipping,omitempty"`
	Tax      string `json:"tax,omitempty"`
	Total    string `json:"total"`
	// PricesIncludeTax is whichever adds up where it is left out.
	PricesIncludeTax *bool                     `json:"pricesIncludeTax,omitempty"`
	ReverseCharge    bool                      `json:"reverseCharge,omitempty"`
	Discounts        []openapi.AppliedDiscount `json:"discounts,omitempty"`
	Taxes            []openapi.TaxAmount       `json:"taxes,omitempty"`
}

// PaymentRecord is a payment of a Record: what was taken is all of it where
// that is left out, and so is what was given back of a refunded one.
type PaymentRecord struct {
	ID       *uuid.UUID           `json:"id,omitempty"`
	Provider string               `json:"provider"`
	State    openapi.PaymentState `json:"state"`
	Amount   string               `json:"amount"`
	Captured string               `json:"captured,omitempty"`
	Refunded string               `json:"refunded,omitempty"`
}

// recordOf is an order as it goes out.
func recordOf(o *Order) Record {
	decimal := func(minor int64) string { return money.Amount{Minor: minor, Currency: o.Currency}.Decimal() }
	r := Record{
		ID: &o.ID, Number: strconv.FormatInt(o.Number, 10), State: o.State, CustomerID: optional.Of(o.CustomerID), Email: o.Email,
		ShippingAddress: o.Details.ShippingAddress, BillingAddress: o.Details.BillingAddress, ShippingMethod: o.Details.ShippingMethod,
		VATID: o.Details.VATID, Note: o.Details.Note, Locale: o.Details.Locale, PaymentDueAt: optional.Of(o.PaymentDueAt),
		CreatedAt: o.CreatedAt, UpdatedAt: &o.UpdatedAt,
		Totals: TotalsRecord{
			Currency: o.Currency, Subtotal: decimal(o.Subtotal), Discount: decimal(o.Discount), Shipping: decimal(o.Shipping), Tax: decimal(o.Tax), Total: decimal(o.Total),
			PricesIncludeTax: &o.Details.PricesIncludeTax, ReverseCharge: o.Details.ReverseCharge, Discounts: o.Details.Discounts, Taxes: o.Details.Taxes,
		},
		Lines: make([]LineRecord, len(o.Lines)), Payments: make([]PaymentRecord, len(o.Payments)),
	}
	for i, l := range o.Lines {
		r.Lines[i] = LineRecord{
			ID: &l.ID, VariantID: &l.VariantID, ProductID: &l.ProductID, SKU: l.SKU, Title: l.Title, Options: l.Options, Quantity: l.Quantity, UnitPrice: decimal(l.UnitPrice),
			Subtotal: decimal(l.Subtotal), Discount: decimal(l.Discount), Tax: decimal(l.Tax), Total: decimal(l.Total),
		}
	}
	for i, p := range o.Payments {
		r.Payments[i] = PaymentRecord{
			ID: &p.ID, Provider: p.Provider, State: p.State, Amount: decimal(p.Amount.Minor), Captured: decimal(p.Captured), Refunded: decimal(p.Refunded),
		}
	}
	return r
}

// past are the states in which an order can come in: nothing is left to do for
// it.
var past = map[openapi.OrderState]bool{
	openapi.OrderStateDelivered: true, openapi.OrderStateCompleted: true, openapi.OrderStateCancelled: true, openapi.OrderStateRefunded: true,
}

const (
	// mostLines bounds the lines of an order that comes in, mostPayments its
	// payments.
	mostLines, mostPayments = 500, 20
	// lastNumber is the highest number that one may have.
	lastNumber = 1_000_000_000_000
)

// ahead is how far other clocks may be before the store's.
const ahead = 10 * time.Minute

// order makes one of a record, and says what is wrong with it.
func (r Record) order(now time.Time) (*Order, error) {
	var f problem.Findings
	o := &Order{
		State: r.State, CartID: uuid.New(), Email: strings.TrimSpace(r.Email), Currency: r.Totals.Currency, CreatedAt: r.CreatedAt.UTC().Truncate(time.Microsecond),
		Details: Details{
			ShippingAddress: r.ShippingAddress, BillingAddress: r.BillingAddress, ShippingMethod: r.ShippingMethod, VATID: r.VATID, Note: r.Note, Locale: r.Locale,
			ReverseCharge: r.Totals.ReverseCharge, Discounts: r.Totals.Discounts, Taxes: r.Totals.Taxes,
		},
	}
	number, err := strconv.ParseInt(strings.TrimPrefix(strings.TrimSpace(r.Number), "#"), 10, 64)
	f.Require(err == nil && number > 0 && number <= lastNumber, "/number", "must be a whole number, 1 to %d", int64(lastNumber))
	f.Require(past[r.State], "/state", "must be delivered, completed, cancelled or refunded: an order that is under way does not come in")
	f.Require(o.Email == "" || mail.IsAddress(o.Email), "/email", "must be an e-mail address such as ada@example.com")
	f.Require(r.CreatedAt.Year() >= 1990, "/createdAt", "is before there were shops like this one")
	f.Require(!r.CreatedAt.After(now.Add(ahead)), "/createdAt", "is in the future")
	f.Require(r.UpdatedAt == nil || !r.UpdatedAt.After(now.Add(ahead)), "/updatedAt", "is in the future")
	f.Text("/shippingMethod", r.ShippingMethod, 0, 200)
	f.Text("/vatId", r.VATID, 0, 50)
	f.Text("/note", r.Note, 0, 1000)
	f.Text("/locale", r.Locale, 0, 35)
	f.Require(len(r.Lines) > 0 && len(r.Lines) <= mostLines, "/lines", "must be 1 to %d", mostLines)
	f.Require(len(r.Payments) <= mostPayments, "/payments", "are %d at most", mostPayments)
	if err := f.Err(); err != nil {
		return nil, err
	}
	o.Number, o.UpdatedAt, o.ID = number, o.CreatedAt, optional.Value(r.ID)
	if r.UpdatedAt != nil {
		o.UpdatedAt = r.UpdatedAt.UTC().Truncate(time.Microsecond)
	}
	if o.ID == uuid.Nil {
		o.ID = transfer.IDAt(o.CreatedAt)
	}
	for i, l := range r.Lines {
		o.Lines = append(o.Lines, l.line(&f, "/lines/"+strconv.Itoa(i), o.Currency))
	}
	r.sum(&f, o)
	for i, p := range r.Payments {
		o.Payments = append(o.Payments, p.payment(&f, "/payments/"+strconv.Itoa(i), o))
	}
	return o, f.Err()
}

// amount reads one, or gives what follows from the others where it is left out.
func amount(f *problem.Findings, pointer, decimal, currency string, instead int64) int64 {
	if decimal == "" {
		return instead
	}
	return f.Amount(pointer, decimal, currency)
}

func (l LineRecord) line(f *problem.Findings, pointer, currency string) Line {
	f.Text(pointer+"/sku", l.SKU, 1, 64)
	f.Text(pointer+"/title", l.Title, 1, 300)
	f.Range(pointer+"/quantity", l.Quantity, 1, 1_000_000)
	made := Line{
		ID: optional.Value(l.ID), VariantID: optional.Value(l.VariantID), ProductID: optional.Value(l.ProductID), SKU: l.SKU, Title: l.Title, Options: l.Options,
		Quantity: l.Quantity, UnitPrice: f.Amount(pointer+"/unitPrice", l.UnitPrice, currency),
	}
	if made.ID == uuid.Nil {
		made.ID = uuid.Must(uuid.NewV7())
	}
	if made.Options == nil {
		made.Options = map[string]string{}
	}
	made.Subtotal = amount(f, pointer+"/subtotal", l.Subtotal, currency, made.UnitPrice*made.Quantity)
	made.Discount, made.Tax = amount(f, pointer+"/discount", l.Discount, currency, 0), amount(f, pointer+"/tax", l.Tax, currency, 0)
	made.Total = amount(f, pointer+"/total", l.Total, currency, -1)
	f.Require(made.Subtotal == made.UnitPrice*made.Quantity, pointer+"/subtotal", "is not quantity times unitPrice")
	f.Require(made.Discount <= made.Subtotal, pointer+"/discount", "is more than the line's subtotal")
	return made
}

// sum sees to it that an order adds up.
func (r Record) sum(f *problem.Findings, o *Order) {
	var subtotal, discount, tax int64
	for _, l := range o.Lines {
		subtotal, discount, tax = subtotal+l.Subtotal, discount+l.Discount, tax+l.Tax
	}
	t := r.Totals
	o.Subtotal, o.Discount = amount(f, "/totals/subtotal", t.Subtotal, o.Currency, subtotal), amount(f, "/totals/discount", t.Discount, o.Currency, discount)
	o.Shipping, o.Tax = amount(f, "/totals/shipping", t.Shipping, o.Currency, 0), amount(f, "/totals/tax", t.Tax, o.Currency, tax)
	o.Total = f.Amount("/totals/total", t.Total, o.Currency)
	f.Require(o.Subtotal == subtotal, "/totals/subtotal", "is not the sum of the lines' subtotals")
	f.Require(o.Discount >= discount && o.Discount <= o.Subtotal+o.Shipping, "/totals/discount", "is less than the lines' discounts, or more than what is paid for")
	f.Require(o.Tax >= tax, "/totals/tax", "is less than the lines' taxes")
	// Prices hold the tax, or it is added.
	paid := o.Subtotal - o.Discount + o.Shipping
	o.Details.PricesIncludeTax = o.Total == paid && !o.Details.ReverseCharge
	if t.PricesIncludeTax != nil {
		o.Details.PricesIncludeTax = *t.PricesIncludeTax
	}
	added := o.Tax
	if o.Details.PricesIncludeTax {
		added = 0
	}
	f.Require(o.Total == paid+added, "/totals/total", "is not subtotal - discount + shipping, nor that with the tax")
	for i := range o.Lines {
		l := &o.Lines[i]
		want := l.Subtotal - l.Discount
		if !o.Details.PricesIncludeTax {
			want += l.Tax
		}
		f.Require(l.Total == want || l.Total < 0, "/lines/"+strconv.Itoa(i)+"/total", "is not what the line's other amounts come to")
		l.Total = want
	}
	if o.Details.Discounts == nil {
		o.Details.Discounts = []openapi.AppliedDiscount{}
	}
	if o.Details.Taxes == nil {
		o.Details.Taxes = []openapi.TaxAmount{}
	}
}

func (p PaymentRecord) payment(f *problem.Findings, pointer string, o *Order) payment.Payment {
	f.Text(pointer+"/provider", p.Provider, 1, 50)
	whole := f.Amount(pointer+"/amount", p.Amount, o.Currency)
	taken, back := int64(0), int64(0)
	switch p.State {
	case openapi.PaymentStateCaptured:
		taken = whole
	case openapi.PaymentStateRefunded:
		taken, back = whole, whole
	case openapi.PaymentStateVoided, openapi.PaymentStateFailed:
	case openapi.PaymentStatePending, openapi.PaymentStateRequiresAction, openapi.PaymentStateAuthorized:
		f.Require(false, pointer+"/state", "must be captured, refunded, voided or failed: a payment that is under way does not come in")
	default:
		f.Require(false, pointer+"/state", "is none of a payment")
	}
	taken = amount(f, pointer+"/captured", p.Captured, o.Currency, taken)
	back = amount(f, pointer+"/refunded", p.Refunded, o.Currency, back)
	f.Require(taken <= whole, pointer+"/captured", "is more than the payment")
	f.Require(back <= taken, pointer+"/refunded", "is more than was taken")
	undone := whole > 0 && (o.State == openapi.OrderStateCancelled || o.State == openapi.OrderStateRefunded)
	f.Require(!undone || back == taken, pointer+"/refunded", "must be all that was taken where the order is %s", o.State)
	made := payment.Payment{
		ID: optional.Value(p.ID), OrderID: o.ID, Provider: p.Provider, State: p.State, Amount: money.Amount{Minor: whole, Currency: o.Currency},
		Captured: taken, Refunded: back, Undone: undone,
	}
	if made.ID == uuid.Nil {
		made.ID = uuid.Must(uuid.NewV7())
	}
	return made
}
