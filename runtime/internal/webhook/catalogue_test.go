package webhook

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/jsonschema-go/jsonschema"
	"sigs.k8s.io/yaml"

	"gitee.com/captainjez/gocart/runtime/openapi"
)

var update = flag.Bool("update", false, "write docs/reference from the catalogue")

const reference = "../../../docs/reference"

// storesOwn are events that the store tells itself alone.
var storesOwn = map[string]string{"catalog.changed": "internal/catalog/catalog.go"}

// states are those that a type of event ends with, by its noun, in
// openapi.yaml.
func states(t *testing.T, schema string) (all []string) {
	t.Helper()
	var doc struct {
		Components struct {
			Schemas map[string]struct{ Enum []string }
		}
	}
	if err := yaml.Unmarshal(openapi.YAML, &doc); err != nil {
		t.Fatal(err)
	}
	return doc.Components.Schemas[schema].Enum
}

// typesInCode are the types of the events that the code makes, and where.
func typesInCode(t *testing.T) map[string]string {
	t.Helper()
	made := map[string]string{}
	nouns := map[string]string{"order.": "OrderState", "payment.": "PaymentState", "return.": "ReturnState"}
	err := filepath.WalkDir("..", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") || strings.Contains(path, "bench/") {
			return err
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
		if err != nil {
			return err
		}
		ast.Inspect(file, func(n ast.Node) bool {
			if set, ok := n.(*ast.AssignStmt); ok && file.Name.Name == "payment" {
				noteSet(made, path, set)
			}
			literal, ok := n.(*ast.CompositeLit)
			if !ok || !isEvent(literal.Type) && !isEvents(literal.Type) && !isChange(literal.Type, file.Name.Name) {
				return true
			}
			for _, e := range literal.Elts {
				kv, ok := e.(*ast.KeyValueExpr)
				if !ok {
					if inner, ok := e.(*ast.CompositeLit); ok && inner.Type == nil {
						noteType(t, made, nouns, path, inner.Elts)
					}
					continue
				}
				noteType(t, made, nouns, path, []ast.Expr{kv})
			}
			return true
		})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	migrations, err := filepath.Glob("../db/migrations/*.sql")
	if err != nil || len(migrations) == 0 {
		t.Fatal(err)
	}
	for _, path := range migrations {
		raw, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, statement := range regexp.MustCompile(`(?s)INSERT INTO events \(.*?\);\n`).FindAllString(string(raw), -1) {
			for _, m := range regexp.MustCompile(`'([a-z]+\.[a-z_]+)'`).FindAllStringSubmatch(statement, -1) {
				made[m[1]] = path
			}
		}
	}
	return made
}

func isEvent(e ast.Expr) bool {
	s, ok := e.(*ast.SelectorExpr)
	if !ok {
		return false
	}
	of, ok := s.X.(*ast.Ident)
	return ok && of.Name == "events" && s.Sel.Name == "Event"
}

// isChange reports whether it is what becomes an event of a payment, in a file of
// a package.
func isChange(e ast.Expr, in string) bool {
	if s, ok := e.(*ast.SelectorExpr); ok {
		of, ok := s.X.(*ast.Ident)
		return ok && of.Name == "payment" && s.Sel.Name == "Change"
	}
	name, ok := e.(*ast.Ident)
	return ok && in == "payment" && name.Name == "Change"
}

// noteSet notes the type that a change of a payment is given.
func noteSet(made map[string]string, path string, set *ast.AssignStmt) {
	for i, to := range set.Lhs {
		field, ok := to.(*ast.SelectorExpr)
		if !ok || field.Sel.Name != "Type" || i >= len(set.Rhs) {
			continue
		}
		if literal, ok := set.Rhs[i].(*ast.BasicLit); ok {
			if name, err := strconv.Unquote(literal.Value); err == nil {
				made[name] = path
			}
		}
	}
}

func isEvents(e ast.Expr) bool {
	list, ok := e.(*ast.ArrayType)
	return ok && isEvent(list.Elt)
}

// noteType notes the types that an event made of these fields can have.
func noteType(t *testing.T, made, nouns map[string]string, path string, fields []ast.Expr) {
	t.Helper()
	for _, f := range fields {
		kv, ok := f.(*ast.KeyValueExpr)
		if !ok || kv.Key.(*ast.Ident).Name != "Type" {
			continue
		}
		switch v := kv.Value.(type) {
		case *ast.BasicLit:
			name, _ := strconv.Unquote(v.Value)
			made[name] = path
		case *ast.BinaryExpr:
			literal, _ := v.X.(*ast.BasicLit)
			if literal == nil {
				t.Errorf("%s: a type of event is not written where it is made", path)
				continue
			}
			noun, _ := strconv.Unquote(literal.Value)
			all := states(t, nouns[noun])
			if len(all) == 0 {
				t.Errorf("%s: it is not known what can follow %q", path, noun)
			}
			for _, state := range all {
				made[noun+state] = path
			}
		case *ast.SelectorExpr: // of an event that is handed on, as package events itself does
		default:
			t.Errorf("%s: a type of event is not written where it is made", path)
		}
	}
}

func TestEveryEventOfTheCodeIsInTheCatalogueAndNoOther(t *testing.T) {
	t.Parallel()
	made := typesInCode(t)
	if len(made) < 20 {
		t.Fatalf("only %d were found", len(made))
	}
	for _, name := range slices.Sorted(maps.Keys(made)) {
		if _, own := storesOwn[name]; types()[name] == own {
			t.Errorf("%s, which %s makes, is not in the catalogue: describe it in catalogue.yaml, or name it as the store's own", name, made[name])
		}
	}
	for _, e := range Catalogue() {
		if made[e.Type] == "" && e.Type != testEvent {
			t.Errorf("%s is in the catalogue, and nothing makes it", e.Type)
		}
	}
}

func resolved(t *testing.T, raw json.RawMessage) *jsonschema.Resolved {
	t.Helper()
	var s jsonschema.Schema
	if err := json.Unmarshal(raw, &s); err != nil {
		t.Fatal(err)
	}
	r, err := s.Resolve(nil)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestEachExampleIsAsItsSchemaSaysAndWhatIsNotIsRefused(t *testing.T) {
	t.Parallel()
	for _, e := range Catalogue() {
		schema := resolved(t, e.Schema)
		var example map[string]any
		if err := json.Unmarshal(e.Example, &example); err != nil {
			t.Fatal(err)
		}
		if err := schema.Validate(example); err != nil {
			t.Errorf("%s: %v", e.Type, err)
		}
		data := example["data"].(map[string]any)
		for name := range data {
			without := maps.Clone(data)
			delete(without, name)
			changed := maps.Clone(example)
			changed["data"] = without
			optional := e.Subject == "order" && e.Type != "order.edited" && (name == "from" || name == "text" && e.Type != "order.note" && e.Type != "order.payment")
			optional = optional || e.Type == "customer.erased" && name == "customerId"
			if err := schema.Validate(changed); (err == nil) != optional {
				t.Errorf("%s without %s: %v", e.Type, name, err)
			}
		}
		example["type"] = "other.thing"
		if schema.Validate(example) == nil {
			t.Errorf("the schema of %s takes another type", e.Type)
		}
	}
}

func TestAnEndpointHearsWhatItChose(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		chosen string
		known  bool
		hears  map[string]bool
	}{
		{"*", true, map[string]bool{"order.placed": true, "stock.low": true, "order.imported": false}},
		{"order.*", true, map[string]bool{"order.placed": true, "orders.placed": false, "stock.low": false, "order.imported": false}},
		{"order.imported", true, map[string]bool{"order.imported": true, "order.placed": false}},
		{"order.placed", true, map[string]bool{"order.placed": true, "order.note": false}},
		{"ord.*", false, nil}, {"order.*.x", false, nil}, {"order.flown", false, nil}, {"", false, nil}, {".*", false, nil}, {"catalog.changed", false, nil},
	} {
		if known(c.chosen) != c.known {
			t.Errorf("%q is known: %v", c.chosen, !c.known)
		}
		for kind, want := range c.hears {
			if chooses([]string{"payment.failed", c.chosen}, kind) != want {
				t.Errorf("who chose %q hears %s: %v", c.chosen, kind, !want)
			}
		}
	}
}

func indented(t *testing.T, raw json.RawMessage) string {
	t.Helper()
	var b bytes.Buffer
	if err := json.Indent(&b, raw, "", "  "); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// page is docs/reference/webhook-events.md.
func page(t *testing.T) string {
	t.Helper()
	var b strings.Builder
	b.WriteString(`# Events that webhooks are told of

What each event's delivery has as its body. [Webhooks](../concepts/webhooks.md) says how deliveries are made, signed and tried again. A receiver passes
over fields that it does not know, and over types of events that it does not know where it chose ` + "`*`" + `: more may come.

This page and the schemas beside it are written from the catalogue that the store itself uses, which ` + "`GET /webhooks/events`" + ` gives too.

| type | | subject | schema |
| --- | --- | --- | --- |
`)
	for _, e := range Catalogue() {
		fmt.Fprintf(&b, "| [`%[1]s`](#%[4]s) | %[2]s | %[3]s | [JSON Schema](events/%[1]s.schema.json) |\n", e.Type, e.About, e.Subject, strings.ReplaceAll(e.Type, ".", ""))
	}
	for _, e := range Catalogue() {
		fmt.Fprintf(&b, "\n## %s\n\n%s\n\n```json\n%s\n```\n", e.Type, e.About, indented(t, e.Example))
	}
	return b.String()
}

func TestTheReferenceIsTheCatalogue(t *testing.T) {
	t.Parallel()
	files := map[string]string{filepath.Join(reference, "webhook-events.md"): page(t)}
	for _, e := range Catalogue() {
		files[filepath.Join(reference, "events", e.Type+".schema.json")] = indented(t, e.Schema) + "\n"
	}
	there, err := filepath.Glob(filepath.Join(reference, "events", "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range there {
		if files[path] == "" {
			t.Errorf("%s is of no event", path)
		}
	}
	for path, want := range files {
		if *update {
			if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, []byte(want), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if got, err := os.ReadFile(path); err != nil || string(got) != want {
			t.Errorf("%s is not what the catalogue says (%v): go test ./runtime/internal/webhook -run Reference -update", path, err)
		}
	}
}
