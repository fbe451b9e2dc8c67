package api_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const referencePage = "../../../docs/reference/http-api.md"

// handedOn are the codes that get to problem.New by a variable, by the file
// in which they do.
var handedOn = map[string][]string{
	"catalog/catalog.go":   {"product_not_found", "category_not_found", "collection_not_found"},
	"checkout/checkout.go": {"out_of_stock", "not_for_sale", "no_price"},
}

// returnedErrors are the statuses and codes, such as "404 not_found", that the
// packages below runtime/internal make problems of.
func returnedErrors(t *testing.T) map[string]bool {
	t.Helper()
	statuses := map[string]int{}
	for status := 100; status < 600; status++ {
		if text := http.StatusText(status); text != "" {
			statuses["Status"+strings.ReplaceAll(text, " ", "")] = status
		}
	}
	returned := map[string]bool{}
	err := filepath.WalkDir("..", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return err
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
		if err != nil {
			return err
		}
		ast.Inspect(file, func(n ast.Node) bool {
			status, codes, ok := problemMade(n, strings.TrimPrefix(filepath.ToSlash(path), "../"))
			if !ok {
				return true
			}
			number := statuses[status]
			if number == 0 {
				number, _ = strconv.Atoi(status)
			}
			if number == 0 || len(codes) == 0 {
				t.Errorf("%s makes a problem whose status (%s) or code is not known: write them where it is made, or name the code in handedOn", path, status)
			}
			for _, code := range codes {
				returned[strconv.Itoa(number)+" "+code] = true
			}
			return true
		})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(returned) < 50 {
		t.Fatalf("only %d were found", len(returned))
	}
	return returned
}

// problemMade reads a call of problem.New in a file: the name or number of its
// status, and the codes that it can have.
func problemMade(n ast.Node, file string) (status string, codes []string, ok bool) {
	call, isCall := n.(*ast.CallExpr)
	if !isCall || len(call.Args) < 3 {
		return "", nil, false
	}
	switch f := call.Fun.(type) {
	case *ast.SelectorExpr:
		of, _ := f.X.(*ast.Ident)
		ok = of != nil && of.Name == "problem" && f.Sel.Name == "New"
	case *ast.Ident:
		ok = f.Name == "New" && strings.HasPrefix(file, "problem/")
	}
	switch s := call.Args[0].(type) {
	case *ast.SelectorExpr:
		status = s.Sel.Name
	case *ast.BasicLit:
		status = s.Value
	}
	codes = handedOn[file]
	if literal, isLiteral := call.Args[1].(*ast.BasicLit); isLiteral {
		codes = []string{strings.Trim(literal.Value, `"`)}
	}
	return status, codes, ok
}

// section is what the reference says between a heading and the next.
func section(t *testing.T, heading string) string {
	t.Helper()
	page, err := os.ReadFile(referencePage)
	if err != nil {
		t.Fatal(err)
	}
	_, text, found := strings.Cut(string(page), "\n## "+heading+"\n")
	if !found {
		t.Fatalf("the page has no section %s", heading)
	}
	text, _, _ = strings.Cut(text, "\n## ")
	return text
}

func TestEveryErrorCodeIsDocumented(t *testing.T) {
	t.Parallel()
	documented := map[string]bool{}
	row := regexp.MustCompile("(?m)^\\| (\\d{3}) \\| (`[^|]+`) \\|")
	for _, m := range row.FindAllStringSubmatch(section(t, "Errors"), -1) {
		for code := range strings.SplitSeq(m[2], ", ") {
			documented[m[1]+" "+strings.Trim(code, "`")] = true
		}
	}
	returned := returnedErrors(t)
	for _, e := range slices.Sorted(maps.Keys(returned)) {
		if !documented[e] {
			t.Errorf("%s lacks %s", referencePage, e)
		}
	}
	for _, e := range slices.Sorted(maps.Keys(documented)) {
		if !returned[e] {
			t.Errorf("%s has %s, which nothing returns", referencePage, e)
		}
	}
}

func TestEveryOperationIsDocumentedWithItsScopes(t *testing.T) {
	t.Parallel()
	rows := map[string]string{}
	row := regexp.MustCompile("(?m)^\\| `([A-Z]+ /[^`]*)` \\|[^|]*\\|([^|]*)\\|$")
	for _, m := range row.FindAllStringSubmatch(section(t, "Operations"), -1) {
		rows[m[1]] = m[2]
	}
	for _, o := range operations(t) {
		name := o.method + " " + o.path
		who, ok := rows[name]
		if delete(rows, name); !ok {
			t.Errorf("%s lacks %s", referencePage, name)
		}
		for _, way := range o.ways {
			for _, scope := range way["bearer"] {
				if scope != "customer" && !strings.Contains(who, "`"+scope+"`") {
					t.Errorf("%s does not say that %s needs %s", referencePage, name, scope)
				}
			}
		}
		open := slices.ContainsFunc(o.ways, func(way map[string][]string) bool { return len(way) == 0 })
		if open != (strings.TrimSpace(who) == "anybody") {
			t.Errorf("%s says that %s is for %s", referencePage, name, who)
		}
	}
	for name := range rows {
		t.Errorf("%s has %s, which is no operation", referencePage, name)
	}
}
