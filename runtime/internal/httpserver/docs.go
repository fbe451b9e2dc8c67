package httpserver

import (
	"bytes"
	"cmp"
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
	Tags    []tag
	Paths   map[string]map[string]operation
	// Components holds what is named, by its name.
	Components struct {
		Schemas         map[string]schema
		Parameters      map[string]parameter
		SecuritySchemes map[string]struct{ Scheme, Name, Description string }
	}
}

type tag struct{ Name string }

// Anchor is where the page has the tag's operations.
func (t tag) Anchor() string { return "tag-" + strings.ReplaceAll(t.Name, " ", "-") }

type operation struct {
	Summary, Description string
	Tags                 []string
	Security             []map[string][]string
	Parameters           []parameter
	RequestBody          *struct{ Content map[string]media }
	Responses            map[string]struct {
		Description string
		Content     map[string]media
	}
	// Method and Path are where the operation is.
	Method, Path string `json:"-"`
}

type parameter struct {
	Ref                   string `json:"$ref"`
	Name, In, Description string
	Required              bool
	Schema                schema
}

// resolve puts the named parameters where operations refer to them, and tells
// each operation where it is.
func (d *document) resolve() error {
	for path, methods := range d.Paths {
		for method, o := range methods {
			o.Method, o.Path = method, path
			for i, p := range o.Parameters {
				if p.Ref == "" {
					continue
				}
				named, ok := d.Components.Parameters[lastPart(p.Ref)]
				if !ok {
					return fmt.Errorf("%s %s: no parameter is at %s", method, path, p.Ref)
				}
				o.Parameters[i] = named
			}
			methods[method] = o
		}
	}
	return nil
}

// Tagged are the operations with a tag, by path and method.
func (d *document) Tagged(tag string) []operation {
	var all []operation
	for _, methods := range d.Paths {
		for _, o := range methods {
			if slices.Contains(o.Tags, tag) {
				all = append(all, o)
			}
		}
	}
	slices.SortFunc(all, func(a, b operation) int { return cmp.Or(cmp.Compare(a.Path, b.Path), cmp.Compare(a.Method, b.Method)) })
	return all
}

// Callers says who may call: one of the ways that security names.
func (o operation) Callers() string {
	var ways []string
	for _, way := range o.Security {
		scopes, bearer := way["bearer"]
		switch {
		case len(way) == 0:
			return "anybody"
		case !bearer:
			ways = append(ways, "the holder of the cart's token")
		case len(scopes) == 0:
			ways = append(ways, "the customer or staff member who may see it")
		case slices.Contains(scopes, "customer"):
			ways = append(ways, "a person who is signed in")
		default:
			ways = append(ways, "the scope "+strings.Join(scopes, " and "))
		}
	}
	return strings.Join(ways, ", or ")
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
		return lastPart(s.Ref)
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

// Name is the schema that this one refers to, itself or in a list; empty for
// none.
func (s schema) Name() string {
	switch {
	case s.Ref != "":
		return lastPart(s.Ref)
	case len(s.AllOf) > 0:
		return s.AllOf[0].Name()
	case s.Items != nil:
		return s.Items.Name()
	}
	return ""
}

func lastPart(ref string) string { return ref[strings.LastIndex(ref, "/")+1:] }

// Needs reports whether the schema requires a property.
func (s schema) Needs(property string) bool { return slices.Contains(s.Required, property) }

// Docs serves the API's description: for people at /docs, without a script,
// and for programs at /openapi.yaml.
func Docs(engine *gin.Engine) error {
	var doc document
	if err := yaml.Unmarshal(openapi.YAML, &doc); err != nil {
		return fmt.Errorf("openapi.yaml: %w", err)
	}
	if err := doc.resolve(); err != nil {
		return fmt.Errorf("openapi.yaml: %w", err)
	}
	page, err := template.New("docs").Parse(docsPage)
	if err != nil {
		return err
	}
	var html bytes.Buffer
	if err := page.Execute(&html, &doc); err != nil {
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
