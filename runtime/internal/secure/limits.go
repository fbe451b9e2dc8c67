package secure

import (
	"context"
	"net/http"
	"time"

	"github.com/gin-gonic/gin"

	"gitee.com/captainjez/gocart/runtime/internal/problem"
)

// URLLimit refuses a URL above n bytes with 414, before anything reads it.
func URLLimit(n int) gin.HandlerFunc {
	return func(c *gin.Context) {
		if len(c.Request.RequestURI) > n {
			_ = c.Error(problem.New(http.StatusRequestURITooLong, "url_too_long", "A URL may have %d bytes.", n))
			c.Abort()
		}
	}
}

// BodyLimit ends the reading of a body after n bytes with *http.MaxBytesError.
func BodyLimit(n int64) gin.HandlerFunc {
	return func(c *gin.Context) {
		if c.Request.Body != nil && c.Request.Body != http.NoBody {
			c.Request.Body = http.MaxBytesReader(c.Writer, c.Request.Body, n)
		}
	}
}

// Deadline bounds what a request may wait for behind the server, so that a
// dependency which answers nothing costs an error and not a hang.
func Deadline(d time.Duration) gin.HandlerFunc {
	return func(c *gin.Context) {
		ctx, cancel := context.WithTimeout(c.Request.Context(), d)
		defer cancel()
		c.Request = c.Request.WithContext(ctx)
		c.Next()
	}
}
