package secure

import (
	"net/http"

	"github.com/gin-gonic/gin"

	"gitee.com/captainjez/gocart/runtime/internal/problem"
)

// CrossOrigin refuses what a stranger's page has a browser send to change
// something: cross-site request forgery. A browser says so by Sec-Fetch-Site
// or Origin; who is no browser is not meant. The pages of an origin that CORS
// allows may call; where the browser's own cookies are at stake, of which
// byCookie knows, only if CORS allows it credentials too.
func CrossOrigin(byCookie func(*http.Request) bool) gin.HandlerFunc {
	return func(c *gin.Context) {
		r, s := c.Request, settingsOf(c)
		if r.Header.Get("Authorization") != "" || s.sameOrigin.Check(r) == nil { // which no form can send
			return
		}
		if s.cors != nil && s.cors.allows(r.Header.Get("Origin")) && !byCookie(r) {
			return
		}
		_ = c.Error(problem.New(http.StatusForbidden, "cross_origin", "This was sent by a page of another origin, which the store does not allow: its origin is missing in the store's list for CORS."))
		c.Abort()
	}
}

// SocketOrigin refuses a socket that a stranger's page has a browser open, by
// the rules of CrossOrigin: a browser sends its cookies with any.
func SocketOrigin(c *gin.Context, byCookie bool) error {
	s := settingsOf(c)
	r := c.Request.Clone(c.Request.Context())
	r.Method = http.MethodPost // a GET changes nothing, and passes
	if s.sameOrigin.Check(r) == nil || s.cors != nil && s.cors.allows(r.Header.Get("Origin")) && !byCookie {
		return nil
	}
	return problem.New(http.StatusForbidden, "cross_origin", "This socket was opened by a page of another origin, which the store does not allow: its origin is missing in the store's list for CORS.")
}

// sameOriginOf trusts the origins that are named and allowed credentials.
func sameOriginOf(o *cors) (*http.CrossOriginProtection, error) {
	p := http.NewCrossOriginProtection()
	if o == nil || o.anyOrigin || !o.credentials {
		return p, nil
	}
	for _, origin := range o.origins {
		if err := p.AddTrustedOrigin(origin); err != nil {
			return nil, err
		}
	}
	return p, nil
}
