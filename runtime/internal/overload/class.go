package overload

import (
	"net/http"
	"strings"

	"github.com/gin-gonic/gin"

	"gitee.com/captainjez/gocart/runtime/internal/identity"
)

// class is what a request is worth; the least valuable are shed first.
type class int

const (
	// anonymousRead looks at the shop.
	anonymousRead class = iota
	// anonymousWrite works on a cart, shows its token, or wants to sign in.
	anonymousWrite
	// credential is a customer who is signed in, or an API key.
	credential
	// checkout buys, or says that somebody paid.
	checkout

	classes
)

func (c class) String() string {
	return [...]string{"anonymous_read", "anonymous_write", "credential", "checkout"}[c]
}

// shares of the limit may be in flight for a request of each class to join.
// What is kept from one class is not lost: a limit that is not reached grows.
var shares = [classes]float64{.6, .75, .9, 1}

// claims tells whether a request shows a credential. What opens a session has
// none yet.
func claims(c *gin.Context, path string) bool {
	h := c.Request.Header
	return h.Get("Authorization") != "" || h.Get("Cookie") != "" && path != "/auth/session" && identity.ByCookie(c.Request)
}

// classOf ranks by what a request claims, where its claims are believed.
func classOf(c *gin.Context, path string, believed bool) class {
	r := c.Request
	switch {
	case believed && r.Method == http.MethodPost && (path == "/orders" || path == "/orders/:id/payments" || path == "/webhooks/payments/:provider"):
		return checkout
	case believed && claims(c, path):
		return credential
	case (r.Method == http.MethodGet || r.Method == http.MethodHead) && r.Header.Get("X-Cart-Token") == "":
		return anonymousRead
	}
	return anonymousWrite
}

// lied tells by an answer's status, and by whom identity found, whether a
// claim was false: a credential that opens nothing, or an order of no cart. A
// credential that held makes its bearer's mistakes honest ones.
func lied(c *gin.Context, path string, claim class, status int) bool {
	switch {
	case claim < credential || status >= http.StatusInternalServerError || !identity.Of(c).Anonymous():
		return false
	case claims(c, path):
		return true
	}
	return status == http.StatusBadRequest || status == http.StatusUnauthorized || status == http.StatusForbidden || status == http.StatusNotFound
}

// pathOf is a request's route, however it is spelled.
func pathOf(c *gin.Context) string { return strings.TrimPrefix(c.FullPath(), "/api/v1") }
