package main

import (
	"context"
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strconv"
	"strings"

	"gitee.com/captainjez/gocart/runtime/config"
)

// runtimeReference writes docs/reference/runtime-config.md from the types of
// runtime/config, their comments and defaults, and its samples.
func runtimeReference(_ context.Context, root string) error {
	source, err := readConfig(filepath.Join(root, "runtime", "config"))
	if err != nil {
		return err
	}
	var page strings.Builder
	page.WriteString("<!-- Written by make generate from runtime/config. Do not edit. -->\n\n# Configuration of the runtime\n\n" +
		"What `gocart api`, `worker`, `migrate`, `enqueue`, `run-job` and `jobs` read with `--config FILE`. In a cluster the operator writes it from a " +
		"[Store](store.md); without the operator you do. It is strict YAML: an unknown or repeated key is an error that names the key, and a key that is left " +
		"out has its default. Secrets are in files of their own, which it names. A change needs a new process, save for the [edge](#the-edge).\n")
	for _, part := range []struct {
		title, about, sample string
		of                   any
	}{
		{"The configuration", "", "sample.yaml", config.Default()},
		{"The edge", "What `edgeFile` names: it is read again whenever it changes, and the one before goes on where the new one is wrong.", "sample-edge.yaml", config.DefaultEdge()},
	} {
		sample, err := os.ReadFile(filepath.Join(root, "runtime", "config", part.sample))
		if err != nil {
			return err
		}
		fmt.Fprintf(&page, "\n## %s\n\n", part.title)
		if part.about != "" {
			fmt.Fprintf(&page, "%s\n\n", part.about)
		}
		fmt.Fprintf(&page, "```yaml\n%s```\n", sample)
		source.sections(&page, "", reflect.ValueOf(part.of))
	}
	return os.WriteFile(filepath.Join(root, "docs", "reference", "runtime-config.md"), []byte(page.String()), 0o644)
}

// configSource is what the comments of runtime/config say.
type configSource struct {
	// types and fields are comments, by TYPE and TYPE.FIELD.
	types, fields map[string]string
	// constants are the values of string constants, by name.
	constants map[string]string
}

func readConfig(dir string) (*configSource, error) {
	files, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil {
		return nil, err
	}
	s := &configSource{types: map[string]string{}, fields: map[string]string{}, constants: map[string]string{}}
	for _, name := range files {
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ParseComments)
		if err != nil {
			return nil, err
		}
		for _, d := range file.Decls {
			declared, ok := d.(*ast.GenDecl)
			if !ok {
				continue
			}
			for _, spec := range declared.Specs {
				s.read(declared, spec)
			}
		}
	}
	return s, nil
}

func (s *configSource) read(of *ast.GenDecl, spec ast.Spec) {
	switch spec := spec.(type) {
	case *ast.TypeSpec:
		s.types[spec.Name.Name] = of.Doc.Text()
		fields, ok := spec.Type.(*ast.StructType)
		if !ok {
			return
		}
		for _, f := range fields.Fields.List {
			for _, name := range f.Names {
				s.fields[spec.Name.Name+"."+name.Name] = f.Doc.Text()
			}
		}
	case *ast.ValueSpec:
		for i, name := range spec.Names {
			if i >= len(spec.Values) {
				continue
			}
			if value, ok := spec.Values[i].(*ast.BasicLit); ok && value.Kind == token.STRING && name.IsExported() {
				if text, err := strconv.Unquote(value.Value); err == nil {
					s.constants[name.Name] = text
				}
			}
		}
	}
}

// sections writes a table of the fields of v, and one for each object in it.
func (s *configSource) sections(page *strings.Builder, path string, v reflect.Value) {
	t := v.Type()
	if path != "" {
		fmt.Fprintf(page, "\n### %s\n\n", path)
		fmt.Fprintf(page, "%s\n\n", s.plain(t, s.types[t.Name()]))
	} else {
		page.WriteString("\n")
	}
	page.WriteString("| key | type | default | |\n| --- | --- | --- | --- |\n")
	type inner struct {
		path string
		of   reflect.Value
	}
	var objects []inner
	for i := range t.NumField() {
		f := t.Field(i)
		name := keyOf(f)
		at := strings.TrimPrefix(path+"."+name, ".")
		kind, of := describe(f.Type)
		if of != nil {
			below := reflect.New(of).Elem() // what is not there by default has no defaults
			if f.Type.Kind() == reflect.Struct {
				below = v.Field(i)
			}
			if f.Type.Kind() == reflect.Slice {
				at += "[]"
			}
			kind = strings.Replace(kind, "object", link(at), 1)
			objects = append(objects, inner{at, below})
		}
		text := strings.ReplaceAll(s.plain(t, s.fields[t.Name()+"."+f.Name]), "|", `\|`)
		fmt.Fprintf(page, "| `%s` | %s | %s | %s |\n", name, kind, defaultValue(v.Field(i)), text)
	}
	for _, o := range objects {
		s.sections(page, o.path, o.of)
	}
}

func keyOf(f reflect.StructField) string {
	name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
	return name
}

// describe names a type, and the struct of its objects, nil for none.
func describe(t reflect.Type) (kind string, object reflect.Type) {
	switch {
	case t == reflect.TypeFor[config.Duration]():
		return "duration, such as `90s`", nil
	case t.Kind() == reflect.Pointer:
		return describe(t.Elem())
	case t.Kind() == reflect.Slice:
		of, object := describe(t.Elem())
		return "list of " + of, object
	case t.Kind() == reflect.Struct:
		return "object", t
	case t.Kind() == reflect.Bool:
		return "boolean", nil
	case t.Kind() == reflect.String:
		return "string", nil
	}
	return "integer", nil
}

// defaultValue is a value as YAML has it, empty where it is nothing or an object.
func defaultValue(v reflect.Value) string {
	if v.Kind() == reflect.Struct || v.IsZero() && v.Kind() != reflect.Bool {
		return ""
	}
	raw, err := json.Marshal(v.Interface())
	if err != nil { // the configuration always marshals
		panic(err)
	}
	return "`" + string(raw) + "`"
}

var identifier = regexp.MustCompile(`[A-Z][A-Za-z]+`)

// plain is a comment about a part of t with the names that YAML has.
func (s *configSource) plain(t reflect.Type, comment string) string {
	return identifier.ReplaceAllStringFunc(sentence(comment), func(word string) string {
		if value, ok := s.constants[word]; ok {
			return "`" + value + "`"
		}
		if f, ok := t.FieldByName(word); ok {
			return "`" + keyOf(f) + "`"
		}
		return word
	})
}
