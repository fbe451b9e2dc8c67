// Package cart is what somebody means to buy: lines, coupons, addresses, and
// what that costs at this moment. It owns the table carts. A guest's cart is
// opened by its token, a customer's by being signed in.
package cart

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"gitee.com/captainjez/gocart/runtime/internal/batch"
	"gitee.com/captainjez/gocart/runtime/internal/cart/cartdb"
	"gitee.com/captainjez/gocart/runtime/internal/catalog"
	"gitee.com/captainjez/gocart/runtime/internal/db"
	"gitee.com/captainjez/gocart/runtime/internal/identity"
	"gitee.com/captainjez/gocart/runtime/internal/inventory"
	"gitee.com/captainjez/gocart/runtime/internal/optional"
	"gitee.com/captainjez/gocart/runtime/internal/problem"
	"gitee.com/captainjez/gocart/runtime/internal/rules"
	"gitee.com/captainjez/gocart/runtime/openapi"
)

const (
	maxLines    = 100
	maxQuantity = 1000
	maxCoupons  = 5
	// lifetime is how long a cart lives that nobody touches; it ends with a
	// day, so that touching it twice a day writes no index.
	lifetime = 30 * 24 * time.Hour
	// holdFor is how long a reservation holds stock.
	holdFor = 30 * time.Minute
)

// Cart is what somebody means to buy.
type Cart struct {
	ID uuid.UUID
	// CustomerID is nil for a guest's.
	CustomerID uuid.UUID
	Currency   string
	Content    Content
	// Version rises with every change.
	Version int64
	// OrderID is set once its order is placed.
	OrderID                  uuid.UUID
	ReservedUntil, ExpiresAt time.Time
}

// Content is what the buyer chose, stored as JSON.
type Content struct {
	Lines            []Line           `json:"lines,omitempty"`
	Coupons          []string         `json:"coupons,omitempty"`
	Email            string           `json:"email,omitempty"`
	ShippingAddress  *openapi.Address `json:"shippingAddress,omitempty"`
	BillingAddress   *openapi.Address `json:"billingAddress,omitempty"`
	ShippingMethodID uuid.UUID        `json:"shippingMethodId,omitzero"`
	VATID            string           `json:"vatId,omitempty"`
	Locale           string           `json:"locale,omitempty"`
}

// Line is how much of a variant.
type Line struct {
	VariantID uuid.UUID `json:"v"`
	Quantity  int64     `json:"q"`
}

// set gives a variant's line a quantity; none takes it out.
func (c *Content) set(variant uuid.UUID, quantity int64) {
	i := slices.IndexFunc(c.Lines, func(l Line) bool { return l.VariantID == variant })
	switch {
	case i < 0 && quantity > 0:
		c.Lines = append(c.Lines, Line{variant, quantity})
	case i >= 0 && quantity > 0:
		c.Lines[i].Quantity = quantity
	case i >= 0:
		c.Lines = slices.Delete(c.Lines, i, i+1)
	}
}

func (c *Content) quantity(variant uuid.UUID) int64 {
	for _, l := range c.Lines {
		if l.VariantID == variant {
			return l.Quantity
		}
	}
	return 0
}

// Carts keeps carts.
type Carts struct {
	pool    *pgxpool.Pool
	catalog *catalog.Catalog
	stock   *inventory.Stock
	rules   *rules.Book
	keys    *identity.Keys
	now     func() time.Time
	together
}

// New makes the carts in the database.
func New(pool *pgxpool.Pool, k *catalog.Catalog, stock *inventory.Stock, book *rules.Book, keys *identity.Keys, now func() time.Time) *Carts {
	s := &Carts{pool: pool, catalog: k, stock: stock, rules: book, keys: keys, now: now}
	s.together = s.newTogether()
	return s
}

// Who asks for a cart.
type Who struct {
	*identity.Principal
	// Token is the cart's secret, which a guest shows.
	Token string
}

func notFound() error {
	return problem.New(http.StatusNotFound, "cart_not_found", "There is no such cart of yours; it may have been ordered, merged or forgotten. Open one with POST /carts.")
}

// read makes a cart of a row, for somebody whose it is.
func (s *Carts) read(r cartdb.Cart, err error, who Who) (Cart, error) {
	if errors.Is(err, pgx.ErrNoRows) {
		return Cart{}, notFound()
	}
	if err != nil {
		return Cart{}, fmt.Errorf("reading a cart: %w", err)
	}
	c, err := cartOf(r)
	if err != nil {
		return c, err
	}
	mine := c.CustomerID != uuid.Nil && c.CustomerID == who.CustomerID
	guests := c.CustomerID == uuid.Nil && who.Token != "" && s.keys.CheckCartToken(c.ID, who.Token)
	if !mine && !guests || c.ExpiresAt.Before(s.now()) {
		return Cart{}, notFound()
	}
	return c, nil
}

func cartOf(r cartdb.Cart) (Cart, error) {
	c := Cart{ID: r.ID, Currency: r.Currency, Version: r.Version, ExpiresAt: r.ExpiresAt.UTC()}
	if r.CustomerID != nil {
		c.CustomerID = *r.CustomerID
	}
	if r.OrderID != nil {
		c.OrderID = *r.OrderID
	}
	if r.ReservedUntil != nil {
		c.ReservedUntil = r.ReservedUntil.UTC()
	}
	if err := json.Unmarshal(r.Content, &c.Content); err != nil {
		return c, fmt.Errorf("content of cart %s: %w", c.ID, err)
	}
	return c, nil
}

// Get reads a cart for somebody whose it is; for others there is none.
func (s *Carts) Get(ctx context.Context, id uuid.UUID, who Who) (Cart, error) {
	r, ok, err := s.byID.One(ctx, id)
	if err == nil && !ok {
		err = pgx.ErrNoRows
	}
	return s.read(r, err, who)
}

// Find reads an open cart for the store itself; one that is ordered, lapsed or
// gone is a *problem.Problem with status 404.
func (s *Carts) Find(ctx context.Context, id uuid.UUID) (Cart, error) {
	r, ok, err := s.byID.One(ctx, id)
	if err != nil {
		return Cart{}, fmt.Errorf("reading a cart: %w", err)
	}
	if !ok {
		return Cart{}, notFound()
	}
	c, err := cartOf(r)
	if err == nil && (c.OrderID != uuid.Nil || c.ExpiresAt.Before(s.now())) {
		err = notFound()
	}
	return c, err
}

// create stores a new cart.
func (s *Carts) create(ctx context.Context, tx pgx.Tx, c *Cart) error {
	c.ExpiresAt = expiry(s.now())
	results, err := s.insert(ctx, cartdb.New(tx), []*Cart{c})
	if err != nil {
		return err
	}
	return results[0].Err
}

// expiry is when a cart lapses that was touched last at a moment.
func expiry(touched time.Time) time.Time {
	const day = 24 * time.Hour
	return touched.Add(lifetime + day).Truncate(day)
}

// change lets edit change an open cart under its lock, and stores it.
func (s *Carts) change(ctx context.Context, tx pgx.Tx, id uuid.UUID, who Who, edit func(*Cart) error) (Cart, error) {
	r, err := cartdb.New(tx).LockCart(ctx, id)
	c, err := s.read(r, err, who)
	if err != nil {
		return c, err
	}
	if err := c.change(edit); err != nil {
		return c, err
	}
	return c, s.store(ctx, tx, &c)
}

// Ordered is a cart whose order was placed already.
func Ordered(id uuid.UUID) error {
	return problem.New(http.StatusConflict, "cart_ordered", "The cart was ordered as order %s; open a new one with POST /carts.", id)
}

func (s *Carts) store(ctx context.Context, tx pgx.Tx, c *Cart) error {
	content, err := json.Marshal(c.Content)
	if err != nil {
		return fmt.Errorf("encoding a cart: %w", err)
	}
	touched := s.now()
	c.ExpiresAt = expiry(touched)
	c.Version++
	err = cartdb.New(tx).StoreCart(ctx, cartdb.StoreCartParams{
		ID: c.ID, Content: content, CustomerID: optional.Of(c.CustomerID), TouchedAt: touched, ExpiresAt: c.ExpiresAt,
		ReservedUntil: optional.Of(c.ReservedUntil),
	})
	if db.Violates(err, "carts_open_by_customer") { // which was opened just now
		return Changed()
	}
	if err != nil {
		return fmt.Errorf("storing a cart: %w", err)
	}
	return nil
}

// inTx changes a cart in a transaction of its own and prices it.
func (s *Carts) inTx(ctx context.Context, id uuid.UUID, who Who, edit func(tx pgx.Tx, c *Cart) error) (openapi.Cart, error) {
	var c Cart
	err := db.WithTx(ctx, s.pool, func(tx pgx.Tx) (err error) {
		c, err = s.change(ctx, tx, id, who, func(c *Cart) error { return edit(tx, c) })
		return err
	})
	if err != nil {
		return openapi.Cart{}, err
	}
	return s.Public(ctx, c)
}

// add puts a further quantity into the cart.
func (c *Cart) add(f *problem.Findings, pointer string, l openapi.CartLineInput) {
	had := c.Content.quantity(l.VariantId)
	f.Require(l.Quantity >= 1 && l.Quantity <= maxQuantity-had, pointer+"/quantity", "must be 1 to %d, with the %d in the cart", maxQuantity-had, had)
	f.Require(had > 0 || len(c.Content.Lines) < maxLines, pointer+"/variantId", "a cart has %d lines at most", maxLines)
	if len(*f) == 0 {
		c.Content.set(l.VariantId, had+l.Quantity)
	}
}

// forSale wants variants that can be put into a cart of the currency, and
// returns what was found of them, and of what is in the cart.
func (s *Carts) forSale(ctx context.Context, currency string, lines []openapi.CartLineInput, has ...Line) (map[uuid.UUID]catalog.Sellable, error) {
	if len(lines) == 0 {
		return nil, nil
	}
	ids := make([]uuid.UUID, 0, len(lines)+len(has))
	for _, l := range lines {
		ids = append(ids, l.VariantId)
	}
	for _, l := range has {
		ids = append(ids, l.VariantID)
	}
	found, err := s.catalog.Sellables(ctx, ids, currency)
	if err != nil {
		return nil, err
	}
	for _, id := range ids[:len(lines)] {
		switch v, ok := found[id]; {
		case !ok || !v.Active:
			return nil, problem.New(http.StatusNotFound, "variant_not_found", "No variant for sale has the id %s.", id)
		case !v.HasPrice:
			return nil, problem.New(http.StatusConflict, "no_price", "%s has no price in %s.", v.SKU, currency)
		}
	}
	return found, nil
}

// Changed is a cart that somebody changed at the same moment.
func Changed() error {
	return problem.New(http.StatusConflict, "cart_changed", "The cart was changed at the same moment; read it and try again.")
}

// Merge makes a guest's cart the customer's: it becomes the customer's cart,
// or where there is one already, its lines are added to that. A cart that the
// token does not open is a *problem.Problem with status 404.
func (s *Carts) Merge(ctx context.Context, tx pgx.Tx, cartID uuid.UUID, token string, customerID uuid.UUID) (uuid.UUID, error) {
	q := cartdb.New(tx)
	if err := q.MergeAlone(ctx, customerID.String()); err != nil {
		return uuid.Nil, fmt.Errorf("waiting to merge carts: %w", err)
	}
	rows, err := q.LockForMerge(ctx, cartdb.LockForMergeParams{ID: cartID, CustomerID: &customerID})
	if err != nil {
		return uuid.Nil, fmt.Errorf("locking carts: %w", err)
	}
	var from, own *Cart
	for _, r := range rows {
		c, err := cartOf(r)
		if err != nil {
			return uuid.Nil, err
		}
		if c.ID == cartID {
			from = &c
		} else if !c.ExpiresAt.Before(s.now()) {
			own = &c
		} else if err := s.remove(ctx, tx, &c); err != nil {
			return uuid.Nil, err
		}
	}
	switch {
	case from == nil, from.ExpiresAt.Before(s.now()), !s.keys.CheckCartToken(cartID, token):
		return uuid.Nil, notFound()
	case from.CustomerID != uuid.Nil && from.CustomerID != customerID:
		return uuid.Nil, notFound()
	case from.OrderID != uuid.Nil:
		return uuid.Nil, Ordered(from.OrderID)
	case from.CustomerID == customerID: // it was brought along before
		return from.ID, nil
	case own == nil:
		from.CustomerID = customerID
		return from.ID, s.store(ctx, tx, from)
	}
	own.Content.merge(from.Content)
	if err := s.remove(ctx, tx, from); err != nil {
		return uuid.Nil, err
	}
	return own.ID, s.store(ctx, tx, own)
}

// remove deletes a cart, and gives back what it holds.
func (s *Carts) remove(ctx context.Context, tx pgx.Tx, c *Cart) error {
	if err := s.release(ctx, tx, c); err != nil {
		return err
	}
	if err := cartdb.New(tx).DeleteCart(ctx, c.ID); err != nil {
		return fmt.Errorf("deleting a cart: %w", err)
	}
	return nil
}

// merge adds another's lines and coupons, as far as they fit, and takes over
// what is not chosen here yet.
func (c *Content) merge(from Content) {
	for _, l := range from.Lines {
		if had := c.quantity(l.VariantID); had > 0 || len(c.Lines) < maxLines {
			c.set(l.VariantID, min(maxQuantity, had+l.Quantity))
		}
	}
	for _, code := range from.Coupons {
		if !slices.Contains(c.Coupons, code) && len(c.Coupons) < maxCoupons {
			c.Coupons = append(c.Coupons, code)
		}
	}
	if c.ShippingAddress == nil {
		c.ShippingAddress, c.ShippingMethodID = from.ShippingAddress, from.ShippingMethodID
	}
	if c.BillingAddress == nil {
		c.BillingAddress = from.BillingAddress
	}
	if c.Email == "" {
		c.Email = from.Email
	}
	if c.VATID == "" {
		c.VATID = from.VATID
	}
	if c.Locale == "" {
		c.Locale = from.Locale
	}
}

// release gives back the stock that a cart holds.
func (s *Carts) release(ctx context.Context, tx pgx.Tx, c *Cart) error {
	if c.ReservedUntil.IsZero() {
		return nil
	}
	locked, err := s.stock.Lock(ctx, tx, nil, c.ID)
	if err != nil {
		return err
	}
	locked.Release(c.ID)
	c.ReservedUntil = time.Time{}
	return locked.Store(ctx, tx)
}

// reserve holds the stock that a cart was found to need.
func (s *Carts) reserve(ctx context.Context, tx pgx.Tx, c *Cart, priced *Priced) error {
	if c.Version != priced.Version {
		return Changed()
	}
	locked, err := s.stock.Lock(ctx, tx, priced.Demands, c.ID)
	if err != nil {
		return err
	}
	locked.Release(c.ID)
	c.ReservedUntil = s.now().Add(holdFor).Truncate(time.Microsecond)
	if err := locked.Reserve(inventory.Owner{ID: c.ID, Until: c.ReservedUntil}, priced.Demands); err != nil {
		return err
	}
	return locked.Store(ctx, tx)
}

// State is what a lock found of a cart.
type State struct {
	Version int64
	OrderID uuid.UUID
}

// Lock locks carts, in the order of their ids, when the statements are sent,
// and finds their states. A cart that is gone has none.
func Lock(ctx context.Context, statements *batch.Statements, ids []uuid.UUID) map[uuid.UUID]State {
	states := make(map[uuid.UUID]State, len(ids))
	statements.Add(func(db batch.DB) error {
		rows, err := cartdb.New(db).LockCarts(ctx, ids)
		if err != nil {
			return fmt.Errorf("locking carts: %w", err)
		}
		for _, r := range rows {
			state := State{Version: r.Version}
			if r.OrderID != nil {
				state.OrderID = *r.OrderID
			}
			states[r.ID] = state
		}
		return nil
	})
	return states
}

// Close marks carts as ordered when the statements are sent.
func Close(ctx context.Context, statements *batch.Statements, ids, orderIDs []uuid.UUID) {
	statements.Add(func(db batch.DB) error {
		if err := cartdb.New(db).CloseCarts(ctx, cartdb.CloseCartsParams{Ids: ids, OrderIds: orderIDs}); err != nil {
			return fmt.Errorf("closing carts: %w", err)
		}
		return nil
	})
}

// Forget deletes carts that nobody touched for long, and returns how many.
func (s *Carts) Forget(ctx context.Context) (int64, error) {
	const most = 1000
	for total := int64(0); ; {
		n, err := cartdb.New(s.pool).DeleteExpired(ctx, cartdb.DeleteExpiredParams{Now: s.now(), Most: most})
		total += n
		if err != nil || n < most {
			return total, err
		}
	}
}

// code is how a coupon's code is compared.
func code(typed string) string { return strings.ToUpper(strings.TrimSpace(typed)) }
