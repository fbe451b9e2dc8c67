package secure

import (
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/gin-gonic/gin"

	"gitee.com/captainjez/gocart/runtime/config"
)

const (
	corsMethods = "GET, POST, PUT, PATCH, DELETE"
	corsHeaders = "Authorization, Content-Type, Idempotency-Key, If-None-Match, X-Cart-Token, X-Request-Id"
	corsExposed = "ETag, Location, Idempotency-Replayed, Retry-After, X-Request-Id, " +
		"X-RateLimit-Limit, X-RateLimit-Remaining, X-RateLimit-Reset, RateLimit, RateLimit-Policy"
)

type cors struct {
	anyOrigin, credentials bool
	origins                []string
	maxAge                 string
}

func corsOf(o *config.CORS) *cors {
	if o == nil {
		return nil
	}
	return &cors{
		anyOrigin: slices.Contains(o.AllowedOrigins, "*"), credentials: o.AllowCredentials, origins: o.AllowedOrigins,
		maxAge: strconv.Itoa(int(time.Duration(o.MaxAge) / time.Second)),
	}
}

func (o *cors) allows(origin string) bool { return o.anyOrigin || slices.Contains(o.origins, origin) }

// CORS lets the pages of the allowed origins call the store, by the Fetch
// standard. Other origins get no header, so browsers keep the answer from
// them; a preflight never reaches the store's commerce.
func CORS() gin.HandlerFunc {
	return func(c *gin.Context) {
		o := settingsOf(c).cors
		if o == nil {
			return
		}
		if !o.anyOrigin {
			c.Writer.Header().Add("Vary", "Origin")
		}
		origin := c.GetHeader("Origin")
		if origin == "" {
			return
		}
		preflight := c.Request.Method == http.MethodOptions && c.GetHeader("Access-Control-Request-Method") != ""
		if o.allows(origin) {
			allowed := origin
			if o.anyOrigin {
				allowed = "*"
			}
			c.Header("Access-Control-Allow-Origin", allowed)
			if o.credentials && !o.anyOrigin {
				c.Header("Access-Control-Allow-Credentials", "true")
			}
			if preflight {
				c.Header("Access-Control-Allow-Methods", corsMethods)
				c.Header("Access-Control-Allow-Headers", corsHeaders)
				c.Header("Access-Control-Max-Age", o.maxAge)
			} else {
				c.Header("Access-Control-Expose-Headers", corsExposed)
			}
		}
		if preflight {
			c.AbortWithStatus(http.StatusNoContent)
		}
	}
}
