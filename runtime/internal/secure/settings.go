package secure

import (
	"net/http"

	"github.com/gin-gonic/gin"

	"gitee.com/captainjez/gocart/runtime/config"
)

// Settings are what the middlewares go by. They are not changed once made: a
// change of the store's wishes makes others.
type Settings struct {
	proxies Proxies
	headers []header
	hsts    []string
	cors    *cors
	// sameOrigin tells requests of the store's own and trusted pages from others.
	sameOrigin *http.CrossOriginProtection
}

// NewSettings reads the edge's part that is this package's.
func NewSettings(e config.Edge) (*Settings, error) {
	proxies, err := NewProxies(e.TrustedProxies, e.ForwardedHeader)
	if err != nil {
		return nil, err
	}
	s := &Settings{proxies: proxies, headers: headersOf(e.Security.Headers), hsts: hstsOf(e.Security.HSTS), cors: corsOf(e.Security.CORS)}
	s.sameOrigin, err = sameOriginOf(s.cors)
	return s, err
}

// Proxies are the networks whose word about a request is taken.
func (s *Settings) Proxies() Proxies { return s.proxies }

const settingsKey = "secure.settings"

// By has a request go by the settings that are current when it comes in, all
// the way through. The other middlewares need it before them.
func By(current func() *Settings) gin.HandlerFunc {
	return func(c *gin.Context) { c.Set(settingsKey, current()) }
}

func settingsOf(c *gin.Context) *Settings { return c.MustGet(settingsKey).(*Settings) }
