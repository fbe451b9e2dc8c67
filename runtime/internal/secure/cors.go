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
	corsHeaders = "Authorization, Content-Type, Idempotency-Key, If-None-Match, X-Request-Id"
	corsExposed = "ETag, Location, Idempotency-Replayed, Retry-After, X-Request-Id"
)

// CORS lets the pages of the allowed origins call the store, by the Fetch
// standard. Other origins get no header, so browsers keep the answer from
// them; a preflight never reaches the store's commerce.
func CORS(o *config.CORS) gin.HandlerFunc {
	if o == nil {
		return func(*gin.Context) {}
	}
	anyOrigin := slices.Contains(o.AllowedOrigins, "*")
	maxAge := strconv.Itoa(int(time.Duration(o.MaxAge) / time.Second))
	return func(c *gin.Context) {
		if !anyOrigin {
			c.Writer.Header().Add("Vary", "Origin")
		}
		origin := c.GetHeader("Origin")
		if origin == "" {
			return
		}
		preflight := c.Request.Method == http.MethodOptions && c.GetHeader("Access-Control-Request-Method") != ""
		if anyOrigin || slices.Contains(o.AllowedOrigins, origin) {
			allowed := origin
			if anyOrigin {
				allowed = "*"
			}
			c.Header("Access-Control-Allow-Origin", allowed)
			if o.AllowCredentials && !anyOrigin {
				c.Header("Access-Control-Allow-Credentials", "true")
			}
			if preflight {
				c.Header("Access-Control-Allow-Methods", corsMethods)
				c.Header("Access-Control-Allow-Headers", corsHeaders)
				c.Header("Access-Control-Max-Age", maxAge)
			} else {
				c.Header("Access-Control-Expose-Headers", corsExposed)
			}
		}
		if preflight {
			c.AbortWithStatus(http.StatusNoContent)
		}
	}
}
