// Package identity knows who sends a request and what they may do: anybody, a
// person who is signed in by an access token, or a program with an API key.
//
// It owns the table api_keys and the store's signing keys. Sessions belong to
// package customer; that a token's session has not ended is asked here, in the
// one statement that each such request costs.
package identity

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"gitee.com/captainjez/gocart/runtime/config"
	"gitee.com/captainjez/gocart/runtime/internal/identity/identitydb"
	"gitee.com/captainjez/gocart/runtime/internal/problem"
	"gitee.com/captainjez/gocart/runtime/openapi"
)

const (
	// shortestKey is the least that the first key may be long; a shorter one
	// is taken for a mistake and opens nothing.
	shortestKey = 20
	// longestToken is the most that a credential may be long.
	longestToken = 4096
)

// errRefused is a credential that opens nothing, whatever the reason.
var errRefused = errors.New("the credential is not one of this store's, or it no longer holds")

// Authenticator finds out who sends a request.
type Authenticator struct {
	firstKeyFile string
	development  bool
	keys         *Keys
	apiKeys      *APIKeys
	pool         *pgxpool.Pool
	log          *slog.Logger
	now          func() time.Time
}

// NewAuthenticator reads and connects when it is asked.
func NewAuthenticator(c config.Config, pool *pgxpool.Pool, keys *Keys, log *slog.Logger, now func() time.Time) *Authenticator {
	return &Authenticator{
		firstKeyFile: c.Auth.AdminKeyFile, development: c.Store.Mode == config.ModeDevelopment,
		keys: keys, apiKeys: NewAPIKeys(pool, now), pool: pool, log: log, now: now,
	}
}

// Identify finds out who sends the request, by "Authorization: Bearer" and an
// access token or an API key, or by a browser's cookie, and ends no request:
// who shows a wrong one is nobody, and Authorize tells them so. What comes
// between the two, such as limits, counts such a request as anybody's. A cookie
// that no longer holds is taken back, and the request is anybody's.
func (a *Authenticator) Identify() gin.HandlerFunc {
	return func(c *gin.Context) {
		if p, ok := c.Request.Context().Value(principalInContext{}).(*Principal); ok {
			c.Set(principalKey, p)
			return
		}
		header := c.GetHeader("Authorization")
		byCookie := false
		if header == "" {
			token, _ := c.Cookie(accessCookie)
			if token == "" {
				return
			}
			header, byCookie = "Bearer "+token, true
		}
		p, err := a.principal(c.Request.Context(), header)
		switch {
		case err == nil:
			c.Set(principalKey, p)
		case byCookie && errors.Is(err, errRefused):
			http.SetCookie(c.Writer, cookie(accessCookie, "/", "", -time.Second, http.SameSiteLaxMode))
		default:
			c.Set(refusalKey, err)
		}
	}
}

const refusalKey = "identity.refusal"

// refused answers who showed a wrong credential with 401. While the database
// is away nobody who needs it is let in; that error is left for the server to
// answer.
func refused(c *gin.Context) bool {
	err, _ := c.Value(refusalKey).(error)
	switch {
	case err == nil:
		return false
	case errors.Is(err, errRefused):
		c.Header("WWW-Authenticate", `Bearer realm="store", error="invalid_token"`)
		fail(c, unauthorized("The access token or API key is not one of this store's, or it no longer holds."))
	default:
		fail(c, err)
	}
	return true
}

func (a *Authenticator) principal(ctx context.Context, header string) (*Principal, error) {
	scheme, token, _ := strings.Cut(header, " ")
	token = strings.TrimSpace(token)
	if !strings.EqualFold(scheme, "Bearer") || token == "" || len(token) > longestToken {
		return nil, errRefused
	}
	if strings.HasPrefix(token, "eyJ") { // every JWT begins with {"
		return a.signedIn(ctx, token)
	}
	shown := sha256.Sum256([]byte(token))
	if a.isFirstKey(ctx, shown) {
		return firstPrincipal(shown), nil
	}
	if strings.HasPrefix(token, testKey) && !a.development {
		return nil, errRefused
	}
	return a.apiKeys.find(ctx, token, a.log)
}

func (a *Authenticator) signedIn(ctx context.Context, token string) (*Principal, error) {
	now := a.now()
	customerID, sessionID, expires, err := a.keys.checkAccess(token, now)
	if err != nil {
		if !errors.Is(err, errRefused) {
			a.log.ErrorContext(ctx, "no access token holds", "error", err)
		}
		return nil, errRefused
	}
	return a.inSession(ctx, customerID, sessionID, expires, now)
}

// inSession is who holds a session, by credentials that end by themselves then,
// unless it has ended.
func (a *Authenticator) inSession(ctx context.Context, customerID, sessionID uuid.UUID, expires, now time.Time) (*Principal, error) {
	role, err := identitydb.New(a.pool).SignedInAs(ctx, identitydb.SignedInAsParams{SessionID: sessionID, CustomerID: customerID, Now: now})
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, errRefused
	}
	if err != nil {
		return nil, fmt.Errorf("looking up a session: %w", err)
	}
	p := &Principal{CustomerID: customerID, SessionID: sessionID, Role: openapi.Role(role), Expires: expires}
	p.Scopes = scopesOf(p.Role)
	return p, nil
}

// isFirstKey compares with the key that the deployment made. It is read anew
// each time, so that a changed one counts at once.
func (a *Authenticator) isFirstKey(ctx context.Context, shown keyHash) bool {
	is, err := a.readFirstKey()
	if err != nil {
		a.log.ErrorContext(ctx, "the first API key opens nothing", "error", err)
		return false
	}
	return subtle.ConstantTimeCompare(shown[:], is[:]) == 1
}

func (a *Authenticator) readFirstKey() (is keyHash, err error) {
	if a.firstKeyFile == "" {
		return is, errors.New("auth.adminKeyFile is not set")
	}
	raw, err := os.ReadFile(a.firstKeyFile)
	if err != nil {
		return is, err
	}
	key := strings.TrimSpace(string(raw))
	if len(key) < shortestKey {
		return is, fmt.Errorf("%s holds no key of %d characters or more", a.firstKeyFile, shortestKey)
	}
	return sha256.Sum256([]byte(key)), nil
}

func unauthorized(detail string) error {
	return problem.New(http.StatusUnauthorized, "unauthorized", "%s", detail)
}

func forbidden(format string, args ...any) error {
	return problem.New(http.StatusForbidden, "forbidden", format, args...)
}

func fail(c *gin.Context, err error) {
	_ = c.Error(err) // recorded for who answers
	c.Abort()
}
