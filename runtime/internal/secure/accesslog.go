package secure

import (
	"log/slog"
	"time"

	"github.com/gin-gonic/gin"
)

// AccessLog writes a line for each request. It holds no header, no query and
// no body, where secrets and people's data would be.
func AccessLog(log *slog.Logger) gin.HandlerFunc {
	return func(c *gin.Context) {
		start := time.Now()
		c.Next()
		if !log.Enabled(c.Request.Context(), slog.LevelInfo) {
			return
		}
		log.LogAttrs(c.Request.Context(), slog.LevelInfo, "request",
			slog.String("method", c.Request.Method),
			slog.String("path", c.Request.URL.Path),
			slog.String("route", c.FullPath()),
			slog.Int("status", c.Writer.Status()),
			slog.Int("bytes", max(0, c.Writer.Size())),
			slog.Duration("duration", time.Since(start)),
			slog.String("client", ClientOf(c).String()),
			slog.String("proto", c.Request.Proto),
			slog.String("requestId", RequestIDOf(c)),
		)
	}
}
