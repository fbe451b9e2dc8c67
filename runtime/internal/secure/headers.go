package secure

import (
	"fmt"
	"net/http"

	"github.com/gin-gonic/gin"

	"gitee.com/captainjez/gocart/runtime/config"
)

// Headers sends the store's security headers with every answer.
func Headers() gin.HandlerFunc {
	return func(c *gin.Context) {
		s := settingsOf(c)
		header := c.Writer.Header()
		for _, h := range s.headers {
			header[h[0]] = []string{h[1]}
		}
		if s.hsts != "" && s.proxies.HTTPS(c.Request) { // RFC 6797 forbids it over plain HTTP
			header["Strict-Transport-Security"] = []string{s.hsts}
		}
	}
}

// headersOf are pairs of canonical names and values.
func headersOf(h config.Headers) [][2]string {
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
			set = append(set, [2]string{http.CanonicalHeaderKey(header[0]), header[1]})
		}
	}
	return set
}

func hstsOf(h *config.HSTS) string {
	if h == nil {
		return ""
	}
	value := fmt.Sprintf("max-age=%d", h.MaxAgeSeconds)
	if h.IncludeSubDomains {
		value += "; includeSubDomains"
	}
	if h.Preload {
		value += "; preload"
	}
	return value
}
