package httpserver

import (
	"bytes"
	_ "embed"
	"fmt"
	"html/template"
	"net/http"
	"slices"
	"strings"

	"github.com/gin-gonic/gin"
	"sigs.k8s.io/yaml"

	"gitee.com/captainjez/gocart/runtime/openapi"
)

//go:embed docs/page.html.tmpl
var docsPage string

//go:embed docs/style.css
var docsStyle []byte

// docsPolicy lets the page have its own style sheet and nothing else.
const docsPolicy = "default-src 'none'; style-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// document is the part of OpenAPI 3.0 that the page shows.
type document struct {
	Info    struct{ Title, Version, Description string }
	Servers []struct{ URL string }
	Paths   map[string]map[string]operation
	// Components holds named schemas.
	Components struct{ Schemas map[string]schema }
}

type operation struct {
	Summary, Description string
	Tags                 []string
	Security             []map[string][]string
	Parameters           []struct {
		Name, In, Description string
		Required              bool
		Schema                schema
	}
	RequestBody *struct{ Content map[string]media }
	Responses   map[string]struct {
		Description string
		Content     map[string]media
	}
}

type media struct{ Schema schema }

type schema struct {
	Ref                       string `json:"$ref"`
	Type, Format, Description string
	Enum                      []string
	Required                  []string
	Properties                map[string]schema
	Items                     *schema
	AllOf                     []schema
}

// Kind is a schema's type in a few words.
func (s schema) Kind() string {
	switch {
	case s.Ref != "":
		return s.Name()
	case len(s.AllOf) > 0:
		return s.AllOf[0].Kind()
	case s.Items != nil:
		return "list of " + s.Items.Kind()
	case len(s.Enum) > 0:
		return strings.Join(s.Enum, ", ")
	case s.Format != "":
		return s.Format
	}
	return s.Type
}

// Name is the last part of a reference.
func (s schema) Name() string { return s.Ref[strings.LastIndex(s.Ref, "/")+1:] }

// Needs reports whether the schema requires a property.
func (s schema) Needs(property string) bool { return slices.Contains(s.Required, property) }

// MustAuthenticate reports whether every way to call needs credentials.
func (o operation) MustAuthenticate() bool {
	for _, way := range o.Security {
		if len(way) == 0 {
			return false
		}
	}
	return len(o.Security) > 0
}

// Docs serves the API's description: for people at /docs, without a script,
// and for programs at /openapi.yaml.
func Docs(engine *gin.Engine) error {
	var doc document
	if err := yaml.Unmarshal(openapi.YAML, &doc); err != nil {
		return fmt.Errorf("openapi.yaml: %w", err)
	}
	page, err := template.New("docs").Parse(docsPage)
	if err != nil {
		return err
	}
	var html bytes.Buffer
	if err := page.Execute(&html, doc); err != nil {
		return err
	}
	serve := func(contentType string, body []byte) gin.HandlerFunc {
		return func(c *gin.Context) {
			c.Header("Content-Security-Policy", docsPolicy)
			c.Header("Cache-Control", "public, max-age=300")
			c.Data(http.StatusOK, contentType, body)
		}
	}
	engine.GET("/docs", serve("text/html; charset=utf-8", html.Bytes()))
	engine.GET("/docs/style.css", serve("text/css; charset=utf-8", docsStyle))
	engine.GET("/openapi.yaml", serve("application/yaml", openapi.YAML))
	return nil
}
