package secure

import (
	"fmt"

	"github.com/gin-gonic/gin"

	"gitee.com/captainjez/gocart/runtime/config"
)

// Headers sends the store's security headers with every answer.
func Headers(h config.Headers) gin.HandlerFunc {
	set := [][2]string{{"X-Content-Type-Options", "nosniff"}}
	for _, header := range [][2]string{
		{"Content-Security-Policy", h.ContentSecurityPolicy},
		{"X-Frame-Options", h.FrameOptions},
		{"Referrer-Policy", h.ReferrerPolicy},
		{"Permissions-Policy", h.PermissionsPolicy},
		{"Cross-Origin-Opener-Policy", h.CrossOriginOpenerPolicy},
		{"Cross-Origin-Resource-Policy", h.CrossOriginResourcePolicy},
		{"X-XSS-Protection", h.XSSProtection},
	} {
		if header[1] != "" {
			set = append(set, header)
		}
	}
	return func(c *gin.Context) {
		for _, header := range set {
			c.Header(header[0], header[1])
		}
	}
}

// HSTS tells browsers to come by HTTPS only. RFC 6797 forbids saying so over
// plain HTTP.
func HSTS(h *config.HSTS, p Proxies) gin.HandlerFunc {
	if h == nil {
		return func(*gin.Context) {}
	}
	value := fmt.Sprintf("max-age=%d", h.MaxAgeSeconds)
	if h.IncludeSubDomains {
		value += "; includeSubDomains"
	}
	if h.Preload {
		value += "; preload"
	}
	return func(c *gin.Context) {
		if p.HTTPS(c.Request) {
			c.Header("Strict-Transport-Security", value)
		}
	}
}
