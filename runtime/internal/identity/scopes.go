package identity

import (
	"slices"
	"strings"

	"gitee.com/captainjez/gocart/runtime/openapi"
)

// Everything is the scope that includes every other.
const Everything = "*:admin"

var (
	resources = []string{"products", "inventory", "customers", "orders", "promotions", "settings", "api_keys", "jobs", "webhooks", "audit", "transfers"}
	levels    = []string{"read", "write", "admin"}
)

// ValidScope reports whether an API key may have the scope, such as
// orders:write.
func ValidScope(scope string) bool {
	resource, level, _ := strings.Cut(scope, ":")
	return slices.Contains(resources, resource) && slices.Contains(levels, level)
}

// scopesOf are a role's: a customer has none, a manager runs the shop but not
// its people and keys, an administrator may do everything.
func scopesOf(role openapi.Role) []string {
	switch role {
	case openapi.RoleAdmin:
		return []string{Everything}
	case openapi.RoleManager:
		return []string{"products:write", "inventory:write", "orders:write", "promotions:write", "settings:write", "customers:read", "transfers:write"}
	}
	return nil
}
