package cart

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/gin-gonic/gin"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"gitee.com/captainjez/gocart/runtime/config"
	"gitee.com/captainjez/gocart/runtime/internal/cart/cartdb"
	"gitee.com/captainjez/gocart/runtime/internal/catalog"
	"gitee.com/captainjez/gocart/runtime/internal/customer"
	"gitee.com/captainjez/gocart/runtime/internal/db"
	"gitee.com/captainjez/gocart/runtime/internal/identity"
	"gitee.com/captainjez/gocart/runtime/internal/money"
	"gitee.com/captainjez/gocart/runtime/internal/optional"
	"gitee.com/captainjez/gocart/runtime/internal/problem"
	"gitee.com/captainjez/gocart/runtime/internal/rest"
	"gitee.com/captainjez/gocart/runtime/openapi"
)

// Handlers is the carts' part of openapi.ServerInterface.
type Handlers struct{ Carts *Carts }

// WhoOf is who sends the request, with the cart's token if there is one.
func WhoOf(c *gin.Context) Who {
	return Who{Principal: identity.Of(c), Token: c.GetHeader("X-Cart-Token")}
}

// errNoKey says that the store's key, of which tokens are made, is missing.
var errNoKey = errors.New("carts have no tokens without auth.tokenKeyFile")

// CreateCart answers POST /carts.
func (h Handlers) CreateCart(c *gin.Context, params openapi.CreateCartParams) {
	s, who := h.Carts, identity.Of(c)
	cart := Cart{ID: uuid.Must(uuid.NewV7()), CustomerID: who.CustomerID}
	var found map[uuid.UUID]catalog.Sellable
	rest.Create(c, s.pool, rest.Creation[openapi.CartInput, Cart]{
		Key: params.IdempotencyKey,
		Prepare: func(ctx context.Context, in openapi.CartInput) error {
			if s.keys.CartToken(cart.ID) == "" { // or nobody could open it
				return errNoKey
			}
			rules, err := s.rules.Current(ctx)
			if err != nil {
				return err
			}
			cart.Currency = rules.Settings.Currency
			if in.Currency != nil {
				cart.Currency = *in.Currency
			}
			if err := cart.fill(in); err != nil {
				return err
			}
			found, err = s.forSale(ctx, cart.Currency, optional.Value(in.Lines))
			return err
		},
		Effect: func(ctx context.Context, tx pgx.Tx, _ openapi.CartInput) (Cart, error) {
			err := s.create(ctx, tx, &cart)
			return cart, err
		},
		Alone: func(ctx context.Context, _ openapi.CartInput) (Cart, error) {
			cart.ExpiresAt = expiry(s.now())
			_, err := s.inserts.Do(ctx, &cart)
			return cart, err
		},
		Location: func(made Cart) string { return "/carts/" + made.ID.String() },
		Present: func(ctx context.Context, made Cart) (any, error) {
			price := func() (*Priced, error) { return s.price(ctx, made, found) }
			if made.ID != cart.ID { // it was made before
				price = func() (*Priced, error) { return s.Price(ctx, made) }
			}
			priced, err := price()
			if err != nil {
				return nil, err
			}
			created := openapi.CreatedCart{Cart: s.public(priced)}
			if made.CustomerID == uuid.Nil {
				token := s.keys.CartToken(made.ID)
				created.Token = &token
			}
			return created, nil
		},
	})
}

// fill takes over what a new cart begins with.
func (c *Cart) fill(in openapi.CartInput) error {
	var f problem.Findings
	_, err := money.Exponent(c.Currency)
	f.Require(err == nil, "/currency", "%v", err)
	lines, coupons := optional.Value(in.Lines), optional.Value(in.Coupons)
	f.Require(len(lines) <= maxLines, "/lines", "has %d at most", maxLines)
	f.Require(len(coupons) <= maxCoupons, "/coupons", "has %d at most", maxCoupons)
	if len(f) > 0 {
		return f.Err()
	}
	for i, l := range lines {
		c.add(&f, fmt.Sprintf("/lines/%d", i), l)
	}
	for i, typed := range coupons {
		c.addCoupon(&f, fmt.Sprintf("/coupons/%d", i), typed)
	}
	c.apply(&f, openapi.CartUpdate{
		Email: in.Email, ShippingAddress: in.ShippingAddress, BillingAddress: in.BillingAddress,
		ShippingMethodId: in.ShippingMethodId, VatId: in.VatId, Locale: in.Locale,
	})
	return f.Err()
}

// apply takes over what a buyer sets.
func (c *Cart) apply(f *problem.Findings, in openapi.CartUpdate) {
	if in.Email != nil {
		c.Content.Email = customer.CheckEmail(f, *in.Email)
	}
	if in.ShippingAddress != nil {
		customer.CheckAddress(f, "/shippingAddress", *in.ShippingAddress)
		c.Content.ShippingAddress = in.ShippingAddress
	}
	if in.BillingAddress != nil {
		customer.CheckAddress(f, "/billingAddress", *in.BillingAddress)
		c.Content.BillingAddress = in.BillingAddress
	}
	if in.ShippingMethodId != nil {
		c.Content.ShippingMethodID = *in.ShippingMethodId
	}
	if in.VatId != nil {
		c.Content.VATID = strings.ToUpper(strings.ReplaceAll(*in.VatId, " ", ""))
		f.Text("/vatId", c.Content.VATID, 0, 20)
	}
	if in.Locale != nil {
		c.Content.Locale = *in.Locale
		f.Require(*in.Locale == "" || config.IsLocale(*in.Locale), "/locale", "must be a language tag such as de or pt-BR")
	}
}

func (c *Cart) addCoupon(f *problem.Findings, pointer, typed string) {
	as := code(typed)
	f.Text(pointer, as, 1, 40)
	if slices.Contains(c.Content.Coupons, as) {
		return
	}
	f.Require(len(c.Content.Coupons) < maxCoupons, pointer, "a cart has %d coupons at most", maxCoupons)
	c.Content.Coupons = append(c.Content.Coupons, as)
}

// GetMyCart answers GET /me/cart.
func (h Handlers) GetMyCart(c *gin.Context) {
	ctx, who := c.Request.Context(), WhoOf(c)
	r, err := cartdb.New(h.Carts.pool).OpenCartOf(ctx, &who.CustomerID)
	found, err := h.Carts.read(r, err, who)
	h.answer(c, found, err)
}

// GetCart answers GET /carts/{id}.
func (h Handlers) GetCart(c *gin.Context, id uuid.UUID) {
	found, err := h.Carts.Get(c.Request.Context(), id, WhoOf(c))
	h.answer(c, found, err)
}

func (h Handlers) answer(c *gin.Context, found Cart, err error) {
	var public openapi.Cart
	if err == nil {
		public, err = h.Carts.Public(c.Request.Context(), found)
	}
	rest.JSON(c, http.StatusOK, public, err)
}

// UpdateCart answers PATCH /carts/{id}.
func (h Handlers) UpdateCart(c *gin.Context, id uuid.UUID) {
	in, ok := rest.Read[openapi.CartUpdate](c)
	if !ok {
		return
	}
	h.edit(c, id, func(cart *Cart) error {
		var f problem.Findings
		cart.apply(&f, in)
		return f.Err()
	})
}

// edit answers with a cart after a change of its content.
func (h Handlers) edit(c *gin.Context, id uuid.UUID, do func(*Cart) error) {
	public, err := h.Carts.edit(c.Request.Context(), id, WhoOf(c), do)
	rest.JSON(c, http.StatusOK, public, err)
}

// change answers with a cart after a change that takes more than its content.
func (h Handlers) change(c *gin.Context, id uuid.UUID, edit func(tx pgx.Tx, cart *Cart) error) {
	public, err := h.Carts.inTx(c.Request.Context(), id, WhoOf(c), edit)
	rest.JSON(c, http.StatusOK, public, err)
}

// DeleteCart answers DELETE /carts/{id}.
func (h Handlers) DeleteCart(c *gin.Context, id uuid.UUID) {
	ctx, s := c.Request.Context(), h.Carts
	rest.NoContent(c, db.WithTx(ctx, s.pool, func(tx pgx.Tx) error {
		r, err := cartdb.New(tx).LockCart(ctx, id)
		cart, err := s.read(r, err, WhoOf(c))
		if err != nil {
			return err
		}
		return cart.change(func(cart *Cart) error { return s.remove(ctx, tx, cart) })
	}))
}

// AddCartLine answers POST /carts/{id}/lines.
func (h Handlers) AddCartLine(c *gin.Context, id uuid.UUID, params openapi.AddCartLineParams) {
	s, who := h.Carts, WhoOf(c)
	var before Cart
	var found map[uuid.UUID]catalog.Sellable
	add := func(in openapi.CartLineInput) func(*Cart) error {
		return func(cart *Cart) error {
			var f problem.Findings
			cart.add(&f, "", in)
			return f.Err()
		}
	}
	rest.Create(c, s.pool, rest.Creation[openapi.CartLineInput, Cart]{
		Key: params.IdempotencyKey,
		Prepare: func(ctx context.Context, in openapi.CartLineInput) (err error) {
			if before, err = s.Get(ctx, id, who); err != nil {
				return err
			}
			found, err = s.forSale(ctx, before.Currency, []openapi.CartLineInput{in}, before.Content.Lines...)
			return err
		},
		Effect: func(ctx context.Context, tx pgx.Tx, in openapi.CartLineInput) (Cart, error) {
			return s.change(ctx, tx, id, who, add(in))
		},
		Alone: func(ctx context.Context, in openapi.CartLineInput) (Cart, error) {
			return s.edits.Do(ctx, edit{id, who, add(in)})
		},
		Present: func(ctx context.Context, made Cart) (any, error) {
			if made.Version != before.Version+1 { // others changed it, so found may lack what it has
				return s.Public(ctx, made)
			}
			priced, err := s.price(ctx, made, found)
			if err != nil {
				return nil, err
			}
			return s.public(priced), nil
		},
	})
}

// SetCartLine answers PUT /carts/{id}/lines/{variantId}.
func (h Handlers) SetCartLine(c *gin.Context, id, variantID uuid.UUID) {
	in, ok := rest.Read[openapi.QuantityInput](c)
	if !ok {
		return
	}
	h.edit(c, id, func(cart *Cart) error {
		var f problem.Findings
		f.Range("/quantity", in.Quantity, 0, maxQuantity)
		if err := f.Err(); err != nil {
			return err
		}
		if cart.Content.quantity(variantID) == 0 {
			return problem.New(http.StatusNotFound, "line_not_found", "The cart has no line of this variant; add one with POST /carts/{id}/lines.")
		}
		cart.Content.set(variantID, in.Quantity)
		return nil
	})
}

// AddCoupon answers POST /carts/{id}/coupons.
func (h Handlers) AddCoupon(c *gin.Context, id uuid.UUID) {
	in, ok := rest.Read[openapi.CouponInput](c)
	if !ok {
		return
	}
	rules, err := h.Carts.rules.Current(c.Request.Context())
	if err != nil {
		rest.Fail(c, err)
		return
	}
	h.edit(c, id, func(cart *Cart) error {
		var f problem.Findings
		cart.addCoupon(&f, "/code", in.Code)
		if err := f.Err(); err != nil {
			return err
		}
		if !rules.HasCoupon(code(in.Code)) {
			return problem.New(http.StatusNotFound, "coupon_not_found", "There is no coupon %.40q.", in.Code)
		}
		return nil
	})
}

// RemoveCoupon answers DELETE /carts/{id}/coupons/{code}.
func (h Handlers) RemoveCoupon(c *gin.Context, id uuid.UUID, typed string) {
	h.edit(c, id, func(cart *Cart) error {
		i := slices.Index(cart.Content.Coupons, code(typed))
		if i < 0 {
			return problem.New(http.StatusNotFound, "coupon_not_found", "The cart has no coupon %.40q.", typed)
		}
		cart.Content.Coupons = slices.Delete(cart.Content.Coupons, i, i+1)
		return nil
	})
}

// ListCartShippingMethods answers GET /carts/{id}/shipping-methods.
func (h Handlers) ListCartShippingMethods(c *gin.Context, id uuid.UUID) {
	list, err := h.shippingMethods(c.Request.Context(), id, WhoOf(c))
	rest.JSON(c, http.StatusOK, list, err)
}

func (h Handlers) shippingMethods(ctx context.Context, id uuid.UUID, who Who) (openapi.ShippingQuoteList, error) {
	list := openapi.ShippingQuoteList{ShippingMethods: []openapi.ShippingQuote{}}
	found, err := h.Carts.Get(ctx, id, who)
	if err != nil {
		return list, err
	}
	p, err := h.Carts.Price(ctx, found)
	if err != nil {
		return list, err
	}
	for _, q := range p.rules.ShippingQuotes(p.basket) {
		list.ShippingMethods = append(list.ShippingMethods, openapi.ShippingQuote{
			Id: q.ID, Name: q.Name,
			Price: openapi.Money{Amount: money.Amount{Minor: q.Price, Currency: found.Currency}.Decimal(), Currency: found.Currency},
		})
	}
	return list, nil
}

// ReserveCart answers POST /carts/{id}/reservation.
func (h Handlers) ReserveCart(c *gin.Context, id uuid.UUID) {
	ctx, s, who := c.Request.Context(), h.Carts, WhoOf(c)
	found, err := s.Get(ctx, id, who)
	if err != nil {
		rest.Fail(c, err)
		return
	}
	priced, err := s.Price(ctx, found)
	if err != nil {
		rest.Fail(c, err)
		return
	}
	h.change(c, id, func(tx pgx.Tx, cart *Cart) error { return s.reserve(ctx, tx, cart, priced) })
}
