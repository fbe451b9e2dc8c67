// Package identity knows who sends a request. Today there are two: anybody,
// and the administrator, who holds the store's first API key.
package identity

import (
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"log/slog"
	"net/http"
	"os"
	"strings"

	"github.com/gin-gonic/gin"

	"gitee.com/captainjez/gocart/runtime/internal/problem"
)

// shortestKey is the least that an administrator's key may be long; a shorter
// one is taken for a mistake and opens nothing.
const shortestKey = 20

const adminKey = "identity.admin"

// Authenticate finds out who sends the request, by "Authorization: Bearer
// KEY". No credentials are fine, wrong ones end the request with 401. The key
// is read anew each time, so that a rotated one counts at once; a missing or
// empty file lets nobody in.
func Authenticate(adminKeyFile string, log *slog.Logger) gin.HandlerFunc {
	return func(c *gin.Context) {
		header := c.GetHeader("Authorization")
		if header == "" {
			return
		}
		scheme, token, _ := strings.Cut(header, " ")
		key, err := readKey(adminKeyFile)
		if err != nil {
			log.ErrorContext(c.Request.Context(), "no administrator can be let in", "error", err)
		}
		got, want := sha256.Sum256([]byte(strings.TrimSpace(token))), sha256.Sum256(key)
		same := subtle.ConstantTimeCompare(got[:], want[:]) == 1
		if err != nil || !same || !strings.EqualFold(scheme, "Bearer") {
			unauthorized(c, "The API key is not one of this store's.")
			return
		}
		c.Set(adminKey, true)
	}
}

func readKey(path string) ([]byte, error) {
	if path == "" {
		return nil, errors.New("auth.adminKeyFile is not set")
	}
	raw, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	key := strings.TrimSpace(string(raw))
	if len(key) < shortestKey {
		return nil, errors.New(path + " holds no key of 20 characters or more")
	}
	return []byte(key), nil
}

// IsAdmin reports whether the administrator sends the request.
func IsAdmin(c *gin.Context) bool { return c.GetBool(adminKey) }

// RequireAdmin ends the request and returns false unless the administrator
// sends it.
func RequireAdmin(c *gin.Context) bool {
	if IsAdmin(c) {
		return true
	}
	unauthorized(c, "This needs an administrator's API key: send it as Authorization: Bearer KEY.")
	return false
}

func unauthorized(c *gin.Context, detail string) {
	c.Header("WWW-Authenticate", `Bearer realm="store"`)
	_ = c.Error(problem.New(http.StatusUnauthorized, "unauthorized", "%s", detail)) // recorded for who answers
	c.Abort()
}
