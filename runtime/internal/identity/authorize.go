package identity

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/gin-gonic/gin"
	"sigs.k8s.io/yaml"
)

const apiPrefix = "/api/v1"

// signedInScope is what openapi.yaml writes for any person who is signed in.
const signedInScope = "customer"

// operation is the part of OpenAPI's that says who may call it: one of the
// ways, of which each names schemes with scopes, all of them needed.
type operation struct {
	Security *[]map[string][]string `json:"security"`
}

type pathItem struct {
	Get, Put, Post, Patch, Delete *operation
}

// Authorize lets a request pass that openapi.yaml's security lets pass. Who
// shows nothing, or a wrong credential, is told 401, who lacks a scope 403. It knows an operation by
// its route, with and without /api/v1; below /api/v1 it lets nothing pass that
// the document does not have. An operation without security, with an unknown
// scheme or scope, is an error.
func Authorize(document []byte) (gin.HandlerFunc, error) {
	operations, err := readOperations(document)
	if err != nil {
		return nil, fmt.Errorf("openapi.yaml: %w", err)
	}
	return func(c *gin.Context) {
		if refused(c) {
			return
		}
		path := c.FullPath()
		op, known := operations[c.Request.Method+" "+strings.TrimPrefix(path, apiPrefix)]
		if !known {
			if strings.HasPrefix(path, apiPrefix+"/") {
				fail(c, forbidden("Nobody may call this."))
			}
			return
		}
		if err := op.allow(Of(c), c.GetHeader("X-Cart-Token") != ""); err != nil {
			if Of(c).Anonymous() {
				c.Header("WWW-Authenticate", `Bearer realm="store"`)
			}
			fail(c, err)
		}
	}, nil
}

func readOperations(document []byte) (map[string]*operation, error) {
	var doc struct{ Paths map[string]pathItem }
	if err := yaml.Unmarshal(document, &doc); err != nil {
		return nil, err
	}
	operations := map[string]*operation{}
	for path, item := range doc.Paths {
		route := strings.NewReplacer("{", ":", "}", "").Replace(path)
		for method, op := range map[string]*operation{
			http.MethodGet: item.Get, http.MethodPut: item.Put, http.MethodPost: item.Post, http.MethodPatch: item.Patch, http.MethodDelete: item.Delete,
		} {
			if op == nil {
				continue
			}
			if err := op.check(); err != nil {
				return nil, fmt.Errorf("%s %s: %w", method, path, err)
			}
			operations[method+" "+route] = op
		}
	}
	return operations, nil
}

func (o *operation) check() error {
	if o.Security == nil || len(*o.Security) == 0 {
		return errors.New("it does not say who may call it (security)")
	}
	for _, way := range *o.Security {
		for scheme, scopes := range way {
			switch {
			case scheme == "cartToken" && len(scopes) == 0:
			case scheme == "bearer" && !slices.ContainsFunc(scopes, func(s string) bool { return s != signedInScope && !ValidScope(s) }):
			default:
				return fmt.Errorf("security has an unknown scheme or scope: %s %v", scheme, scopes)
			}
		}
	}
	return nil
}

// allow reports as an error that none of the ways is open.
func (o *operation) allow(p *Principal, cartToken bool) error {
	var missing []string
	for _, way := range *o.Security {
		lacking := lacks(p, way, cartToken)
		if len(lacking) == 0 {
			return nil
		}
		missing = append(missing, lacking...)
	}
	switch {
	case p.Anonymous():
		return unauthorized("This needs an access token or an API key: send it as Authorization: Bearer TOKEN.")
	case slices.Contains(missing, signedInScope):
		return forbidden("This is for a person who is signed in.")
	}
	return forbidden("This needs the scope %s.", strings.Join(missing, " or "))
}

// lacks names what a way needs and the sender does not show.
func lacks(p *Principal, way map[string][]string, cartToken bool) (missing []string) {
	if _, needed := way["cartToken"]; needed && !cartToken {
		missing = append(missing, "cartToken")
	}
	scopes, needed := way["bearer"]
	if needed && p.Anonymous() {
		return append(missing, "bearer")
	}
	for _, scope := range scopes {
		if scope == signedInScope && !p.SignedIn() || scope != signedInScope && !p.Can(scope) {
			missing = append(missing, scope)
		}
	}
	return missing
}
