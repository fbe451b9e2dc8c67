package realtime

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"gitee.com/captainjez/gocart/runtime/internal/problem"
	"gitee.com/captainjez/gocart/runtime/internal/testbed"
)

func described(t *testing.T) testbed.Messages {
	t.Helper()
	all, err := testbed.SocketMessages()
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// fields are the names that a type has in JSON.
func fields[T any]() []string {
	var names []string
	for _, f := range reflect.VisibleFields(reflect.TypeFor[T]()) {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

func TestTheDocumentHasEveryFieldAndNoOther(t *testing.T) {
	t.Parallel()
	var client, store, event []string
	all := described(t)
	for name, m := range all {
		of := &store
		switch {
		case m.FromClient:
			of = &client
		case name == "event":
			of = &event
		}
		for field := range m.Schema.Properties {
			*of = append(*of, field)
		}
	}
	var detail []string
	for field := range all["error"].Schema.Defs["Field"].Properties {
		detail = append(detail, field)
	}
	for name, lists := range map[string][2][]string{
		"request": {client, fields[request]()}, "response": {store, fields[response]()}, "told": {event, fields[told]()},
		"problem.Field": {detail, fields[problem.Field]()},
	} {
		slices.Sort(lists[0])
		if got := slices.Compact(lists[0]); !slices.Equal(got, lists[1]) {
			t.Errorf("%s: described are %v, there are %v", name, got, lists[1])
		}
	}
}

// typesInCode are the types of messages that clients may say, and that the
// store says: what the switch over r.Type takes, and what responses and told
// events are made with.
func typesInCode(t *testing.T) (client, store []string) {
	t.Helper()
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	text := func(e ast.Expr, into *[]string) {
		if l, ok := e.(*ast.BasicLit); ok {
			s, _ := strconv.Unquote(l.Value)
			*into = append(*into, s)
			return
		}
		t.Errorf("a type of a message is not written where it is made")
	}
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(parsed, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.SwitchStmt:
				if s, ok := n.Tag.(*ast.SelectorExpr); ok && s.Sel.Name == "Type" {
					for _, c := range n.Body.List {
						for _, e := range c.(*ast.CaseClause).List {
							text(e, &client)
						}
					}
				}
			case *ast.CompositeLit:
				if i, ok := n.Type.(*ast.Ident); ok && (i.Name == "response" || i.Name == "told") {
					for _, e := range n.Elts {
						if kv := e.(*ast.KeyValueExpr); kv.Key.(*ast.Ident).Name == "Type" {
							text(kv.Value, &store)
						}
					}
				}
			}
			return true
		})
	}
	return client, store
}

func TestTheDocumentHasEveryMessageAndNoOther(t *testing.T) {
	t.Parallel()
	var client, store []string
	for name, m := range described(t) {
		if c := m.Schema.Properties["type"].Const; c == nil || *c != name {
			t.Errorf("the type of %s is %v", name, c)
		}
		if m.FromClient {
			client = append(client, name)
		} else {
			store = append(store, name)
		}
	}
	clientCode, storeCode := typesInCode(t)
	for name, lists := range map[string][2][]string{"clients": {client, clientCode}, "the store": {store, storeCode}} {
		for i := range lists {
			slices.Sort(lists[i])
			lists[i] = slices.Compact(lists[i])
		}
		if !slices.Equal(lists[0], lists[1]) {
			t.Errorf("of %s, described are %v, there are %v", name, lists[0], lists[1])
		}
	}
}

var example = regexp.MustCompile("(?s)`(\\{\"type\":[^`]*\\})`|```json\n(\\{.*?\\})\n```")

func TestTheExamplesOfThePageAreAsDescribed(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../../../docs/reference/websocket.md")
	if err != nil {
		t.Fatal(err)
	}
	all := described(t)
	seen := map[string]bool{}
	for _, m := range example.FindAllStringSubmatch(string(page), -1) {
		text := m[1] + m[2]
		if strings.Contains(text, ",…}") {
			continue // the whole of it follows
		}
		all.Check(t, []byte(strings.ReplaceAll(text, `{…}`, `{}`)))
		seen[regexp.MustCompile(`"type":"(\w+)"`).FindStringSubmatch(text)[1]] = true
	}
	for name := range all {
		if !seen[name] {
			t.Errorf("the page has no example of %s", name)
		}
	}
}

func TestWhatIsSaidOtherwiseIsNotAsDescribed(t *testing.T) {
	t.Parallel()
	all := described(t)
	for _, text := range []string{
		`{"type":"dance"}`, `{"type":"ping","x":1}`, `{"type":"subscribe"}`, `{"type":"subscribe","topic":"sessions"}`, `{"type":"resume","topics":["orders"]}`,
		`{"type":"resume","after":1}`, `{"type":"command","method":"POST","path":"/orders"}`, `{"type":"command","method":"GET","path":"/customers"}`,
		`{"type":"auth"}`, `{"type":"event","topic":"orders","position":1,"event":"order.note","subject":"s","at":"t","data":{"available":1}}`,
	} {
		failed := &failures{TB: t}
		all.Check(failed, []byte(text))
		if failed.count == 0 {
			t.Errorf("%s is as described", text)
		}
	}
}

type failures struct {
	testing.TB
	count int
}

func (f *failures) Errorf(string, ...any) { f.count++ }
