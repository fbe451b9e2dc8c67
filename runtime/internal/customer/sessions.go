package customer

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"gitee.com/captainjez/gocart/runtime/internal/customer/customerdb"
	"gitee.com/captainjez/gocart/runtime/internal/db"
	"gitee.com/captainjez/gocart/runtime/internal/problem"
	"gitee.com/captainjez/gocart/runtime/openapi"
)

const (
	// idleLifetime is how long a session lasts that is not refreshed.
	idleLifetime = 30 * 24 * time.Hour
	// sessionLifetime is how long a session lasts at most.
	sessionLifetime = 180 * 24 * time.Hour
)

// logIn signs in and, with a cart, moves its lines into the customer's own. A
// wrong password and an unknown address look alike and take as long.
func (s *Service) logIn(ctx context.Context, in openapi.LoginInput) (openapi.Tokens, error) {
	var f problem.Findings
	email := CheckEmail(&f, in.Email)
	f.Text("/password", in.Password, 0, 200)
	if in.Cart != nil {
		f.Text("/cart/token", in.Cart.Token, 0, 100)
	}
	if err := f.Err(); err != nil {
		return openapi.Tokens{}, err
	}
	q := customerdb.New(s.pool)
	found, err := q.CustomerByEmail(ctx, email)
	if err != nil && !errors.Is(err, pgx.ErrNoRows) {
		return openapi.Tokens{}, fmt.Errorf("reading a customer: %w", err)
	}
	ok, stale, err := s.guess(ctx, email, found.PasswordHash, in.Password)
	if err != nil {
		return openapi.Tokens{}, err
	}
	if !ok {
		return openapi.Tokens{}, wrongCredentials()
	}
	if found.Locked {
		return openapi.Tokens{}, problem.New(http.StatusForbidden, "account_locked", "The account is locked. Please ask the store.")
	}
	if stale {
		if found.PasswordHash, err = s.rehash(ctx, found, in.Password); err != nil {
			return openapi.Tokens{}, err
		}
	}
	return s.open(ctx, found, in.Cart)
}

func wrongCredentials() error {
	return problem.New(http.StatusUnauthorized, "invalid_credentials", "The e-mail address or the password is wrong.")
}

// rehash stores the password at the present cost.
func (s *Service) rehash(ctx context.Context, c customerdb.CustomerByEmailRow, password string) (string, error) {
	hash, err := s.passwords.Hash(ctx, password)
	if err != nil {
		return "", err
	}
	n, err := customerdb.New(s.pool).ReplacePassword(ctx, customerdb.ReplacePasswordParams{ID: c.ID, PasswordHash: hash, OldHash: c.PasswordHash})
	if err != nil {
		return "", fmt.Errorf("storing a password anew: %w", err)
	}
	if n == 0 { // somebody else stored it
		return "", wrongCredentials()
	}
	return hash, nil
}

// open begins a session of who showed the right password.
func (s *Service) open(ctx context.Context, c customerdb.CustomerByEmailRow, cart *openapi.CartKey) (openapi.Tokens, error) {
	now, id := s.now(), uuid.Must(uuid.NewV7())
	refresh, err := s.newRefreshToken(id)
	if err != nil {
		return openapi.Tokens{}, err
	}
	tokens, err := s.tokens(c.ID, id, openapi.Role(c.Role), refresh)
	if err != nil {
		return openapi.Tokens{}, err
	}
	err = db.WithTx(ctx, s.pool, func(tx pgx.Tx) error {
		n, err := customerdb.New(tx).InsertSession(ctx, customerdb.InsertSessionParams{
			ID: id, CustomerID: c.ID, PasswordHash: c.PasswordHash, RefreshHash: hashOf(refresh), Now: now, ExpiresAt: now.Add(idleLifetime),
		})
		if err != nil {
			return fmt.Errorf("storing a session: %w", err)
		}
		if n == 0 { // locked, or the password changed, since it was read
			return wrongCredentials()
		}
		if cart == nil || s.carts == nil {
			return nil
		}
		merged, err := s.carts.Merge(ctx, tx, cart.Id, cart.Token, c.ID)
		if err != nil {
			return err
		}
		tokens.CartId = &merged
		return nil
	})
	return tokens, err
}

func (s *Service) tokens(customerID, sessionID uuid.UUID, role openapi.Role, refresh string) (openapi.Tokens, error) {
	access, expiresIn, err := s.keys.SignAccess(customerID, sessionID, role, s.now())
	if err != nil {
		return openapi.Tokens{}, err
	}
	return openapi.Tokens{
		AccessToken: access, RefreshToken: refresh, TokenType: "Bearer", ExpiresIn: int(expiresIn / time.Second), CustomerId: customerID,
	}, nil
}

// A refresh token is rt_ and, in base64url, its session's id, 256 random bits
// and the store's seal on both. The session's row has the hash of the one that
// works; the seal tells an older one, whose second use means that it was
// stolen, from an invention.
const refreshPrefix = "rt_"

const (
	refreshRandom = 32
	sealBytes     = 32
)

func (s *Service) newRefreshToken(sessionID uuid.UUID) (string, error) {
	raw := make([]byte, len(sessionID)+refreshRandom)
	copy(raw, sessionID[:])
	_, _ = rand.Read(raw[len(sessionID):]) // it never fails
	seal, err := s.keys.Seal(refreshPrefix, raw)
	if err != nil {
		return "", err
	}
	return refreshPrefix + base64.RawURLEncoding.EncodeToString(slices.Concat(raw, seal)), nil
}

// sessionOf is the session that a refresh token was made for; ok is false for
// a token that this store never made.
func (s *Service) sessionOf(token string) (id uuid.UUID, ok bool, err error) {
	encoded, isOne := strings.CutPrefix(token, refreshPrefix)
	raw, decodeErr := base64.RawURLEncoding.Strict().DecodeString(encoded)
	if !isOne || decodeErr != nil || len(raw) != len(id)+refreshRandom+sealBytes {
		return id, false, nil //nolint:nilerr // what cannot be decoded was not made here
	}
	body, seal := raw[:len(raw)-sealBytes], raw[len(raw)-sealBytes:]
	want, err := s.keys.Seal(refreshPrefix, body)
	if err != nil {
		return id, false, err
	}
	copy(id[:], body)
	return id, hmac.Equal(want, seal), nil
}

// refresh exchanges a refresh token for new ones. One that was used before
// ends its session, for one of its two users stole it.
func (s *Service) refresh(ctx context.Context, token string) (openapi.Tokens, error) {
	var f problem.Findings
	f.Text("/refreshToken", token, 0, 2000)
	if err := f.Err(); err != nil {
		return openapi.Tokens{}, err
	}
	refused := problem.New(http.StatusUnauthorized, "invalid_refresh_token", "The refresh token was used before, or its session is over. Sign in again.")
	id, ok, err := s.sessionOf(token)
	if err != nil {
		return openapi.Tokens{}, err
	}
	if !ok {
		return openapi.Tokens{}, refused
	}
	next, err := s.newRefreshToken(id)
	if err != nil {
		return openapi.Tokens{}, err
	}
	q, now := customerdb.New(s.pool), s.now()
	row, err := q.RotateSession(ctx, customerdb.RotateSessionParams{
		ID: id, OldHash: hashOf(token), NewHash: hashOf(next), Now: now, ExpiresAt: now.Add(idleLifetime), Longest: sessionLifetime,
	})
	if errors.Is(err, pgx.ErrNoRows) {
		ended, err := q.EndSession(ctx, id)
		if err != nil {
			return openapi.Tokens{}, fmt.Errorf("ending a session: %w", err)
		}
		if ended > 0 {
			s.log.WarnContext(ctx, "a refresh token was used that no longer works, so its session was ended", "sessionId", id)
		}
		return openapi.Tokens{}, refused
	}
	if err != nil {
		return openapi.Tokens{}, fmt.Errorf("refreshing a session: %w", err)
	}
	return s.tokens(row.ID, id, openapi.Role(row.Role), next)
}

func (s *Service) logOut(ctx context.Context, sessionID uuid.UUID) error {
	if _, err := customerdb.New(s.pool).EndSession(ctx, sessionID); err != nil {
		return fmt.Errorf("ending a session: %w", err)
	}
	return nil
}

// logOutBy ends a session, and that of a refresh token; a token that this store
// never made ends nothing.
func (s *Service) logOutBy(ctx context.Context, refreshToken string, sessionID uuid.UUID) error {
	ended := []uuid.UUID{sessionID}
	id, ok, err := s.sessionOf(refreshToken)
	if err != nil {
		return err
	}
	if ok {
		ended = append(ended, id)
	}
	for _, id := range ended {
		if err := s.logOut(ctx, id); err != nil {
			return err
		}
	}
	return nil
}

func (s *Service) logOutEverywhere(ctx context.Context, customerID uuid.UUID) error {
	if err := customerdb.New(s.pool).EndSessions(ctx, customerID); err != nil {
		return fmt.Errorf("ending sessions: %w", err)
	}
	return nil
}
