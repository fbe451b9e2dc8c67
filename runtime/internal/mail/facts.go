package mail

import (
	"context"
	"errors"
	"time"

	"github.com/google/uuid"

	"gitee.com/captainjez/gocart/runtime/internal/money"
)

// Facts knows what mails are about, as it is when they are sent.
type Facts interface {
	// Order tells of a message's, and Cart of somebody's, to their own address
	// and no other.
	Order(ctx context.Context, m Message) (*Order, error)
	Cart(ctx context.Context, id uuid.UUID, address string) (*Cart, error)
	// Stock tells of the variants that there still are.
	Stock(ctx context.Context, variantIDs []uuid.UUID) ([]Stock, error)
}

// Tokens makes what proves that somebody reads an address's mail.
type Tokens interface {
	// MailToken makes a token that works once for a purpose, from now on for a
	// while, for the customer who has the address.
	MailToken(ctx context.Context, purpose Template, customerID uuid.UUID, address string) (token string, err error)
}

var (
	// ErrGone is Facts' and Tokens' answer for what is not there.
	ErrGone = errors.New("what the mail is about is not there")
	// ErrNeedless is their answer where there is nothing to say any more.
	ErrNeedless = errors.New("there is nothing to say any more")
)

// Order is what a mail tells of an order.
type Order struct {
	Number   string
	PlacedAt time.Time
	// AwaitsPayment is until when the order waits for its payment, where it
	// does: the zero time is for good.
	AwaitsPayment bool
	PaymentDueAt  time.Time
	// Due is what is still to be paid.
	Due money.Amount

	Lines                                    []Line
	Subtotal, Discount, Shipping, Tax, Total money.Amount
	// PricesIncludeTax is whether the tax is in the other amounts.
	PricesIncludeTax bool
	ShippingMethod   string
	// ShipTo and BillTo are addresses by their lines, nil for none.
	ShipTo, BillTo []string

	// Package is what of it was shipped, nil for all, and Refund what was given
	// back.
	Package *Package
	Refund  money.Amount
	// Return is what of it its buyer sends back, nil for nothing.
	Return *Return
}

// Return is what a mail tells of a part of an order that is sent back. Answer
// is the store's word about it, and may be empty.
type Return struct {
	Lines  []Line
	Answer string
}

// Package is what a mail tells of a part of an order that was shipped.
type Package struct {
	Lines    []Line
	Tracking []Tracking
	// Rest says that not all of the order was shipped yet.
	Rest bool
}

// Tracking is what a carrier calls a parcel, and where it says where it is.
// Carrier and URL may be empty.
type Tracking struct{ Carrier, Number, URL string }

// Cart is what a mail tells of a cart.
type Cart struct {
	// Name is its customer's, empty for a guest.
	Name  string
	Lines []Line
	Total money.Amount
}

// Line is so much of something.
type Line struct {
	Title, SKU string
	// Options are the variant's, such as "red, XL".
	Options  string
	Quantity int64
	Total    money.Amount
}

// Stock is how much of a variant can be sold.
type Stock struct {
	Title, SKU string
	Available  int64
}
