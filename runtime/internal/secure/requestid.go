// Package secure holds what every request passes before it reaches the
// store's commerce, each a small Gin middleware. Their order is
// httpserver's to say; none of them knows another.
package secure

import (
	"github.com/gin-gonic/gin"
	"github.com/google/uuid"
)

const requestIDKey = "secure.requestID"

// RequestID names the request, by its own X-Request-Id where that is a word of
// 8 to 64 letters, digits, '-', '_' and '.', and says the name in the answer.
func RequestID() gin.HandlerFunc {
	return func(c *gin.Context) {
		id := c.GetHeader("X-Request-Id")
		if !plainWord(id) {
			id = uuid.NewString()
		}
		c.Set(requestIDKey, id)
		c.Header("X-Request-Id", id)
	}
}

// RequestIDOf is the request's name, empty before RequestID.
func RequestIDOf(c *gin.Context) string { return c.GetString(requestIDKey) }

func plainWord(s string) bool {
	if len(s) < 8 || len(s) > 64 {
		return false
	}
	for _, b := range []byte(s) {
		switch {
		case 'a' <= b && b <= 'z', 'A' <= b && b <= 'Z', '0' <= b && b <= '9', b == '-', b == '_', b == '.':
		default:
			return false
		}
	}
	return true
}
