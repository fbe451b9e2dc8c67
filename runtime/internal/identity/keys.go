package identity

import (
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/uuid"

	"gitee.com/captainjez/gocart/runtime/config"
	"gitee.com/captainjez/gocart/runtime/openapi"
)

// AccessLifetime is how long an access token holds.
const AccessLifetime = 15 * time.Minute

// shortestTokenKey is the least that the secret of all tokens may be long.
const shortestTokenKey = 32

// Purposes for which the store's secret is used, each with a key of its own.
const (
	forAccess = "gocart access token v1"
	forCart   = "gocart cart token v1"
	forSeal   = "gocart seal v1"
)

// Keys signs and checks the store's tokens. The secret is read anew when its
// file changes; without one nothing is signed and nothing holds.
type Keys struct {
	file, issuer, audience string

	mu      sync.Mutex
	version string
	derived map[string][]byte
}

// NewKeys reads no file yet.
func NewKeys(c config.Config) *Keys {
	return &Keys{file: c.Auth.TokenKeyFile, issuer: c.Store.URL, audience: "gocart:" + c.Store.Namespace + "/" + c.Store.Name}
}

// key is the key for a purpose: HKDF (RFC 5869) of the secret.
func (k *Keys) key(purpose string) ([]byte, error) {
	if k.file == "" {
		return nil, errors.New("auth.tokenKeyFile is not set")
	}
	info, err := os.Stat(k.file)
	if err != nil {
		return nil, fmt.Errorf("the key of tokens: %w", err)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if version := fmt.Sprint(info.ModTime().UnixNano(), info.Size()); version != k.version {
		if err := k.derive(); err != nil {
			return nil, err
		}
		k.version = version
	}
	return k.derived[purpose], nil
}

func (k *Keys) derive() error {
	k.version = ""
	raw, err := os.ReadFile(k.file)
	if err != nil {
		return fmt.Errorf("the key of tokens: %w", err)
	}
	secret := strings.TrimSpace(string(raw))
	if len(secret) < shortestTokenKey {
		return fmt.Errorf("%s holds no key of %d characters or more", k.file, shortestTokenKey)
	}
	k.derived = map[string][]byte{}
	for _, purpose := range []string{forAccess, forCart, forSeal} {
		if k.derived[purpose], err = hkdf.Key(sha256.New, []byte(secret), nil, purpose, sha256.Size); err != nil {
			return err
		}
	}
	return nil
}

// access is what an access token says beside the registered claims.
type access struct {
	jwt.RegisteredClaims
	TokenType string       `json:"token_type"`
	SessionID uuid.UUID    `json:"sid"`
	Role      openapi.Role `json:"role"`
}

// SignAccess is a token by which the customer is signed in, and for how long
// it holds.
func (k *Keys) SignAccess(customerID, sessionID uuid.UUID, role openapi.Role, now time.Time) (token string, expiresIn time.Duration, err error) {
	key, err := k.key(forAccess)
	if err != nil {
		return "", 0, err
	}
	token, err = jwt.NewWithClaims(jwt.SigningMethodHS256, access{
		RegisteredClaims: jwt.RegisteredClaims{
			ID: uuid.NewString(), Issuer: k.issuer, Audience: jwt.ClaimStrings{k.audience}, Subject: customerID.String(),
			IssuedAt: jwt.NewNumericDate(now), ExpiresAt: jwt.NewNumericDate(now.Add(AccessLifetime)),
		},
		TokenType: "access", SessionID: sessionID, Role: role,
	}).SignedString(key)
	return token, AccessLifetime, err
}

// checkAccess says whose session a token is of, and until when. The role in it is for the
// holder to read; what counts is the database's.
func (k *Keys) checkAccess(token string, now time.Time) (customerID, sessionID uuid.UUID, expires time.Time, err error) {
	key, err := k.key(forAccess)
	if err != nil {
		return uuid.Nil, uuid.Nil, expires, err
	}
	var claims access
	parser := jwt.NewParser(jwt.WithValidMethods([]string{jwt.SigningMethodHS256.Alg()}), jwt.WithStrictDecoding(),
		jwt.WithIssuer(k.issuer), jwt.WithAudience(k.audience), jwt.WithExpirationRequired(),
		jwt.WithTimeFunc(func() time.Time { return now }))
	if _, err := parser.ParseWithClaims(token, &claims, func(*jwt.Token) (any, error) { return key, nil }); err != nil {
		return uuid.Nil, uuid.Nil, expires, errRefused
	}
	customerID, err = uuid.Parse(claims.Subject)
	if err != nil || claims.TokenType != "access" || claims.ID == "" || claims.SessionID == uuid.Nil || customerID == uuid.Nil {
		return uuid.Nil, uuid.Nil, expires, errRefused
	}
	return customerID, claims.SessionID, claims.ExpiresAt.UTC(), nil
}

// CartToken is the secret that opens a guest's cart. It is empty, and opens
// nothing, while the store has no key.
func (k *Keys) CartToken(cartID uuid.UUID) string {
	key, err := k.key(forCart)
	if err != nil {
		return ""
	}
	return base64.RawURLEncoding.EncodeToString(mac(key, []byte("cart:"+cartID.String())))
}

// CheckCartToken reports whether a token opens a cart.
func (k *Keys) CheckCartToken(cartID uuid.UUID, token string) bool {
	want := k.CartToken(cartID)
	return want != "" && hmac.Equal([]byte(want), []byte(token))
}

// Seal is a code of 32 bytes that only this store can make of the data, and
// another one for each purpose.
func (k *Keys) Seal(purpose string, data []byte) ([]byte, error) {
	key, err := k.key(forSeal)
	if err != nil {
		return nil, err
	}
	return mac(key, append([]byte(purpose+"\x00"), data...)), nil
}

func mac(key, data []byte) []byte {
	h := hmac.New(sha256.New, key)
	h.Write(data)
	return h.Sum(nil)
}
