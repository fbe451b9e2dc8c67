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
			header[h.name] = h.value
		}
		if s.hsts != nil && s.proxies.HTTPS(c.Request) { // RFC 6797 forbids it over plain HTTP
			header["Strict-Transport-Security"] = s.hsts
		}
	}
}

// header is a canonical name and its value, as answers share it.
type header struct {
	name  string
	value []string
}

func headersOf(h config.Headers) []header {
	set := []header{{"X-Content-Type-Options", []string{"nosniff"}}}
	for _, wanted := range [][2]string{
		{"Content-Security-Policy", h.ContentSecurityPolicy},
		{"X-Frame-Options", h.FrameOptions},
		{"Referrer-Policy", h.ReferrerPolicy},
		{"Permissions-Policy", h.PermissionsPolicy},
		{"Cross-Origin-Opener-Policy", h.CrossOriginOpenerPolicy},
		{"Cross-Origin-Resource-Policy", h.CrossOriginResourcePolicy},
		{"X-XSS-Protection", h.XSSProtection},
	} {
		if wanted[1] != "" {
			set = append(set, header{http.CanonicalHeaderKey(wanted[0]), wanted[1:]})
		}
	}
	return set
}

func hstsOf(h *config.HSTS) []string {
	if h == nil {
		return nil
	}
	value := fmt.Sprintf("max-age=%d", h.MaxAgeSeconds)
	if h.IncludeSubDomains {
		value += "; includeSubDomains"
	}
	if h.Preload {
		value += "; preload"
	}
	return []string{value}
}
