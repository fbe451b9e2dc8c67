package identity

import (
	"net/http"
	"strings"
	"time"

	"github.com/gin-gonic/gin"
)

// A browser's tokens are in two cookies that no script can read. By their
// names (RFC 6265bis) a browser takes them over HTTPS only, and the first from
// this very host.
const (
	accessCookie  = "__Host-gocart-access"
	refreshCookie = "__Secure-gocart-refresh"
	// sessionPath is where the refresh token is sent to, and nowhere else.
	sessionPath = apiPrefix + "/auth/session"
)

// SetCookies signs the browser in that sent the request.
func SetCookies(c *gin.Context, access string, holds time.Duration, refresh string, refreshHolds time.Duration) {
	http.SetCookie(c.Writer, cookie(accessCookie, "/", access, holds, http.SameSiteLaxMode))
	http.SetCookie(c.Writer, cookie(refreshCookie, sessionPath, refresh, refreshHolds, http.SameSiteStrictMode))
}

// ClearCookies takes them back.
func ClearCookies(c *gin.Context) { SetCookies(c, "", -time.Second, "", -time.Second) }

func cookie(name, path, value string, holds time.Duration, sameSite http.SameSite) *http.Cookie {
	return &http.Cookie{ //nolint:gosec // SameSite is Lax or Strict
		Name: name, Path: path, Value: value, MaxAge: int(holds / time.Second), Secure: true, HttpOnly: true, SameSite: sameSite,
	}
}

// RefreshCookie is the refresh token that a browser sends; empty for none.
func RefreshCookie(c *gin.Context) string {
	value, _ := c.Cookie(refreshCookie)
	return value
}

// ByCookie reports whether the request may act by, or set, the cookies of the
// browser that it comes from.
func ByCookie(r *http.Request) bool {
	for _, name := range []string{accessCookie, refreshCookie} {
		if _, err := r.Cookie(name); err == nil {
			return true
		}
	}
	return strings.HasSuffix(r.URL.Path, strings.TrimPrefix(sessionPath, apiPrefix))
}
