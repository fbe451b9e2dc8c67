package identity

import (
	"crypto/sha256"
	"slices"
	"strings"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/google/uuid"

	"gitee.com/captainjez/gocart/runtime/openapi"
)

// Principal is who sends a request. The zero value is anybody.
type Principal struct {
	// CustomerID is set where a person is signed in.
	CustomerID uuid.UUID
	// SessionID is the session that the person is signed in by.
	SessionID uuid.UUID
	Role      openapi.Role
	// KeyID and KeyName are set where an API key was sent; the store's first
	// key has the name "first" and no id.
	KeyID   uuid.UUID
	KeyName string
	// Scopes are resource:read, resource:write or resource:admin. A customer
	// has none, an administrator has "*:admin".
	Scopes []string
	// Expires is when the credentials end by themselves, zero for never.
	Expires time.Time
	// firstKey is the hash of the first key that was shown.
	firstKey keyHash
}

type keyHash = [sha256.Size]byte

const (
	principalKey = "identity.principal"
	firstKeyName = "first"
)

// Of is who sends the request; before Authenticate, anybody.
func Of(c *gin.Context) *Principal {
	if p, ok := c.Value(principalKey).(*Principal); ok {
		return p
	}
	return &Principal{}
}

// Set makes p the one who sends the request.
func Set(c *gin.Context, p *Principal) { c.Set(principalKey, p) }

// Anonymous reports whether the sender showed no credentials.
func (p *Principal) Anonymous() bool { return p.CustomerID == uuid.Nil && p.KeyName == "" }

// firstPrincipal is who shows the store's first key.
func firstPrincipal(key keyHash) *Principal {
	return &Principal{KeyName: firstKeyName, Scopes: []string{Everything}, firstKey: key}
}

// byFirstKey reports whether the sender showed the store's first key.
func (p *Principal) byFirstKey() bool { return p.KeyName == firstKeyName && p.KeyID == uuid.Nil }

// SignedIn reports whether a person sends the request.
func (p *Principal) SignedIn() bool { return p.CustomerID != uuid.Nil }

// Can reports whether the sender has a scope such as orders:write: admin
// includes write, and write includes read.
func (p *Principal) Can(scope string) bool {
	resource, level, _ := strings.Cut(scope, ":")
	from := slices.Index(levels, level)
	if from < 0 {
		return false
	}
	for _, l := range levels[from:] {
		if slices.Contains(p.Scopes, resource+":"+l) || slices.Contains(p.Scopes, "*:"+l) {
			return true
		}
	}
	return false
}

// Actor names the sender in records: "guest", "customer ID", "staff ID" or
// "key NAME".
func (p *Principal) Actor() string {
	switch {
	case p.KeyName != "" && p.KeyID == uuid.Nil:
		return "key " + firstKeyName
	case p.KeyName != "":
		return "key " + p.KeyID.String()
	case p.CustomerID == uuid.Nil:
		return "guest"
	case p.Role == openapi.RoleCustomer:
		return "customer " + p.CustomerID.String()
	}
	return "staff " + p.CustomerID.String()
}
