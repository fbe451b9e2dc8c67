package customer

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"gitee.com/captainjez/gocart/runtime/internal/idempotency"
	"gitee.com/captainjez/gocart/runtime/internal/identity"
	"gitee.com/captainjez/gocart/runtime/internal/problem"
	"gitee.com/captainjez/gocart/runtime/internal/rest"
	"gitee.com/captainjez/gocart/runtime/internal/strictjson"
	"gitee.com/captainjez/gocart/runtime/openapi"
)

// Handlers is the customers' part of openapi.ServerInterface, and that of the
// API keys.
type Handlers struct {
	Customers *Service
	APIKeys   *identity.APIKeys
}

// Register answers POST /auth/register.
func (h Handlers) Register(c *gin.Context, params openapi.RegisterParams) {
	var in openapi.RegisterInput
	body, err := strictjson.Read(c.Request, &in)
	if err != nil {
		rest.Fail(c, err)
		return
	}
	ctx, s := c.Request.Context(), h.Customers
	// What tells one body from another is kept for a day; unlike a plain hash,
	// the seal gives nobody a quick way to try passwords.
	seal, err := s.keys.Seal("register", body)
	if err != nil {
		rest.Fail(c, err)
		return
	}
	request, err := rest.Once(c, params.IdempotencyKey, seal)
	if err != nil {
		rest.Fail(c, err)
		return
	}
	a, err := s.prepare(ctx, in)
	if err != nil {
		rest.Fail(c, err)
		return
	}
	answer, err := idempotency.Do(ctx, s.pool, request, func(tx pgx.Tx) (idempotency.Answer, error) {
		if err := s.register(ctx, tx, a); err != nil {
			return idempotency.Answer{}, err
		}
		encoded, err := json.Marshal(openapi.Accepted{Message: "You can sign in if this address had no account yet. Where the store sends mail, one says more."})
		return idempotency.Answer{Status: http.StatusAccepted, Body: encoded}, err
	})
	if err != nil {
		rest.Fail(c, err)
		return
	}
	rest.Answer(c, answer)
}

// LogIn answers POST /auth/login.
func (h Handlers) LogIn(c *gin.Context) {
	if in, ok := rest.Read[openapi.LoginInput](c); ok {
		tokens, err := h.Customers.logIn(c.Request.Context(), in)
		rest.JSON(c, http.StatusOK, tokens, err)
	}
}

// RefreshTokens answers POST /auth/refresh.
func (h Handlers) RefreshTokens(c *gin.Context) {
	if in, ok := rest.Read[openapi.RefreshInput](c); ok {
		tokens, err := h.Customers.refresh(c.Request.Context(), in.RefreshToken)
		rest.JSON(c, http.StatusOK, tokens, err)
	}
}

// LogOut answers POST /auth/logout.
func (h Handlers) LogOut(c *gin.Context) {
	rest.NoContent(c, h.Customers.logOut(c.Request.Context(), identity.Of(c).SessionID))
}

// OpenSession answers POST /auth/session.
func (h Handlers) OpenSession(c *gin.Context) {
	if in, ok := rest.Read[openapi.LoginInput](c); ok {
		tokens, err := h.Customers.logIn(c.Request.Context(), in)
		inCookies(c, tokens, err)
	}
}

// RefreshSession answers PUT /auth/session.
func (h Handlers) RefreshSession(c *gin.Context) {
	tokens, err := h.Customers.refresh(c.Request.Context(), identity.RefreshCookie(c))
	if p, ok := errors.AsType[*problem.Problem](err); ok && p.Status == http.StatusUnauthorized {
		identity.ClearCookies(c)
	}
	inCookies(c, tokens, err)
}

// CloseSession answers DELETE /auth/session.
func (h Handlers) CloseSession(c *gin.Context) {
	err := h.Customers.logOutBy(c.Request.Context(), identity.RefreshCookie(c), identity.Of(c).SessionID)
	if err == nil {
		identity.ClearCookies(c)
	}
	rest.NoContent(c, err)
}

// inCookies answers with tokens that no script can read.
func inCookies(c *gin.Context, tokens openapi.Tokens, err error) {
	if err == nil {
		identity.SetCookies(c, tokens.AccessToken, time.Duration(tokens.ExpiresIn)*time.Second, tokens.RefreshToken, idleLifetime)
	}
	rest.JSON(c, http.StatusOK, openapi.Session{CustomerId: tokens.CustomerId, ExpiresIn: tokens.ExpiresIn, CartId: tokens.CartId}, err)
}

// VerifyEmail answers POST /auth/verify-email.
func (h Handlers) VerifyEmail(c *gin.Context) {
	if in, ok := rest.Read[openapi.TokenInput](c); ok {
		rest.NoContent(c, h.Customers.verifyEmail(c.Request.Context(), in.Token))
	}
}

// RequestPasswordReset answers POST /auth/password-reset.
func (h Handlers) RequestPasswordReset(c *gin.Context) {
	if in, ok := rest.Read[openapi.EmailInput](c); ok {
		err := h.Customers.requestReset(c.Request.Context(), in)
		rest.JSON(c, http.StatusAccepted, openapi.Accepted{Message: "If this address has an account and the store sends mail, one is on its way."}, err)
	}
}

// ResetPassword answers POST /auth/password-reset/confirm.
func (h Handlers) ResetPassword(c *gin.Context) {
	if in, ok := rest.Read[openapi.ResetInput](c); ok {
		rest.NoContent(c, h.Customers.resetPassword(c.Request.Context(), in))
	}
}

// GetMe answers GET /me.
func (h Handlers) GetMe(c *gin.Context) {
	me, err := h.Customers.read(c.Request.Context(), identity.Of(c).CustomerID)
	rest.JSON(c, http.StatusOK, me, err)
}

// UpdateMe answers PATCH /me.
func (h Handlers) UpdateMe(c *gin.Context) {
	if in, ok := rest.Read[openapi.MeInput](c); ok {
		me, err := h.Customers.rename(c.Request.Context(), identity.Of(c).CustomerID, in)
		rest.JSON(c, http.StatusOK, me, err)
	}
}

// ChangePassword answers PUT /me/password.
func (h Handlers) ChangePassword(c *gin.Context) {
	if in, ok := rest.Read[openapi.PasswordInput](c); ok {
		rest.NoContent(c, h.Customers.changePassword(c.Request.Context(), identity.Of(c), in))
	}
}

// LogOutEverywhere answers DELETE /me/sessions.
func (h Handlers) LogOutEverywhere(c *gin.Context) {
	rest.NoContent(c, h.Customers.logOutEverywhere(c.Request.Context(), identity.Of(c).CustomerID))
}

// ListAddresses answers GET /me/addresses.
func (h Handlers) ListAddresses(c *gin.Context) {
	list, err := h.Customers.addresses(c.Request.Context(), identity.Of(c).CustomerID)
	rest.JSON(c, http.StatusOK, list, err)
}

// CreateAddress answers POST /me/addresses.
func (h Handlers) CreateAddress(c *gin.Context, params openapi.CreateAddressParams) {
	customerID := identity.Of(c).CustomerID
	rest.Create(c, h.Customers.pool, rest.Creation[openapi.SavedAddressInput, openapi.SavedAddress]{
		Key: params.IdempotencyKey,
		Effect: func(ctx context.Context, tx pgx.Tx, in openapi.SavedAddressInput) (openapi.SavedAddress, error) {
			return h.Customers.addAddress(ctx, tx, customerID, in)
		},
		Location: func(a openapi.SavedAddress) string { return "/me/addresses/" + a.Id.String() },
	})
}

// ReplaceAddress answers PUT /me/addresses/{id}.
func (h Handlers) ReplaceAddress(c *gin.Context, id uuid.UUID) {
	if in, ok := rest.Read[openapi.SavedAddressInput](c); ok {
		a, err := h.Customers.replaceAddress(c.Request.Context(), identity.Of(c).CustomerID, id, in)
		rest.JSON(c, http.StatusOK, a, err)
	}
}

// DeleteAddress answers DELETE /me/addresses/{id}.
func (h Handlers) DeleteAddress(c *gin.Context, id uuid.UUID) {
	rest.NoContent(c, h.Customers.deleteAddress(c.Request.Context(), identity.Of(c).CustomerID, id))
}

// ListCustomers answers GET /customers.
func (h Handlers) ListCustomers(c *gin.Context, params openapi.ListCustomersParams) {
	const list = "customers"
	before, size, err := rest.Paging(params.Limit, params.Cursor, list)
	if err != nil {
		rest.Fail(c, err)
		return
	}
	found, err := h.Customers.list(c.Request.Context(), before, size, params.Email)
	page, next := rest.Page(found, size, list, func(m openapi.Customer) uuid.UUID { return m.Id })
	rest.JSON(c, http.StatusOK, openapi.CustomerPage{Customers: page, NextCursor: next}, err)
}

// GetCustomer answers GET /customers/{id}.
func (h Handlers) GetCustomer(c *gin.Context, id uuid.UUID) {
	found, err := h.Customers.read(c.Request.Context(), id)
	rest.JSON(c, http.StatusOK, found, err)
}

// UpdateCustomer answers PATCH /customers/{id}.
func (h Handlers) UpdateCustomer(c *gin.Context, id uuid.UUID) {
	if in, ok := rest.Read[openapi.CustomerUpdate](c); ok {
		after, err := h.Customers.update(c.Request.Context(), identity.Of(c), id, in)
		rest.JSON(c, http.StatusOK, after, err)
	}
}

// ListApiKeys answers GET /api-keys.
func (h Handlers) ListApiKeys(c *gin.Context, params openapi.ListApiKeysParams) {
	const list = "api-keys"
	before, size, err := rest.Paging(params.Limit, params.Cursor, list)
	if err != nil {
		rest.Fail(c, err)
		return
	}
	found, err := h.APIKeys.List(c.Request.Context(), before, size)
	page, next := rest.Page(found, size, list, func(k openapi.ApiKey) uuid.UUID { return k.Id })
	rest.JSON(c, http.StatusOK, openapi.ApiKeyPage{ApiKeys: page, NextCursor: next}, err)
}

// CreateApiKey answers POST /api-keys.
func (h Handlers) CreateApiKey(c *gin.Context) {
	if in, ok := rest.Read[openapi.ApiKeyInput](c); ok {
		made, err := h.APIKeys.Create(c.Request.Context(), identity.Of(c), in)
		rest.JSON(c, http.StatusCreated, made, err)
	}
}

// RevokeApiKey answers DELETE /api-keys/{id}.
func (h Handlers) RevokeApiKey(c *gin.Context, id uuid.UUID) {
	rest.NoContent(c, h.APIKeys.Revoke(c.Request.Context(), id))
}
