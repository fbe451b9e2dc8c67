package v1alpha1_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	utiljson "k8s.io/apimachinery/pkg/util/json"
	"k8s.io/client-go/discovery"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	commercev1alpha1 "gitee.com/captainjez/gocart/api/v1alpha1"
	"gitee.com/captainjez/gocart/internal/testenv"
)

var cluster testenv.Cluster

func TestMain(m *testing.M) { os.Exit(cluster.Run(m)) }

// kind is a kind whose schema is tested, and what its tests need.
type kind struct {
	name, plural string
	// minimal is the least object; every case is a JSON merge patch of it.
	minimal string
	rules   []rule
	// transitions are refusals that the rules of a change make, by field.
	transitions map[string][]string
	bounds      []bound
	// enums lists every value that a field takes.
	enums map[string][]string
	// patterns lists a value that matches and one that does not.
	patterns map[string][2]string
	// required lists the fields that must be given, where their parent is.
	required []string
	// surroundings are what a field needs beside it, by the longest prefix of its path.
	surroundings map[string]string
	// sized makes a value of a length (or with so many items) that breaks no other rule.
	sized map[string]func(n int64) any
}

func kinds() []kind { return []kind{stores, rateLimitPolicies, jobSchedules} }

func eachKind(t *testing.T, test func(t *testing.T, k kind, c client.Client, namespace string)) {
	for _, k := range kinds() {
		t.Run(k.name, func(t *testing.T) { test(t, k, cluster.Client(t), cluster.Namespace(t)) })
	}
}

// rule is one cross-field rule: a Store that keeps it and one that breaks it.
type rule struct {
	name string
	// field whose schema holds the rule, for the check that none is without a case.
	field string
	// accepted and refused are merge patches of spec, or of the whole Store when they start with "metadata:".
	accepted, refused string
	// says is what the refusal must say: the field and the mend.
	says []string
}

// A bound is one keyword of one field's schema, written here a second time:
// TestEveryRuleHasACase compares the two.
type bound struct {
	field   string // "[]" is the list's first item
	keyword string
	limit   int64
}

func TestRules(t *testing.T) {
	eachKind(t, func(t *testing.T, k kind, c client.Client, namespace string) {
		for _, tc := range k.rules {
			t.Run(tc.name, func(t *testing.T) {
				if err := dryRun(t, c, k.object(t, namespace, tc.accepted)); err != nil {
					t.Errorf("what keeps the rule is refused: %v", err)
				}
				expectRefusal(t, dryRun(t, c, k.object(t, namespace, tc.refused)), tc.says...)
			})
		}
	})
}

func TestBounds(t *testing.T) {
	eachKind(t, func(t *testing.T, k kind, c client.Client, namespace string) {
		for _, b := range k.bounds {
			t.Run(b.field+" keeps to its "+b.keyword, func(t *testing.T) {
				accepted, refused := b.limit, b.limit+1
				if strings.HasPrefix(b.keyword, "min") {
					refused = b.limit - 1
				}
				if err := dryRun(t, c, k.with(t, namespace, b.field, k.value(b, accepted))); err != nil {
					t.Errorf("%d is within the bound: %v", accepted, err)
				}
				expectRefusal(t, dryRun(t, c, k.with(t, namespace, b.field, k.value(b, refused))),
					strings.ReplaceAll(b.field, "[]", "[0]"), strconv.FormatInt(b.limit, 10))
			})
		}
	})
}

func TestEnums(t *testing.T) {
	eachKind(t, func(t *testing.T, k kind, c client.Client, namespace string) {
		for field, values := range k.enums {
			t.Run(field+" takes one of its words", func(t *testing.T) {
				for _, word := range values {
					if err := dryRun(t, c, k.with(t, namespace, field, word)); err != nil {
						t.Errorf("%q: %v", word, err)
					}
				}
				says := []string{strings.ReplaceAll(field, "[]", "[0]"), "supported values"}
				for _, word := range values {
					says = append(says, strconv.Quote(word))
				}
				expectRefusal(t, dryRun(t, c, k.with(t, namespace, field, "bogus")), says...)
			})
		}
	})
}

func TestPatterns(t *testing.T) {
	eachKind(t, func(t *testing.T, k kind, c client.Client, namespace string) {
		for field, values := range k.patterns {
			t.Run(field+" has its form", func(t *testing.T) {
				if err := dryRun(t, c, k.with(t, namespace, field, values[0])); err != nil {
					t.Errorf("%q: %v", values[0], err)
				}
				expectRefusal(t, dryRun(t, c, k.with(t, namespace, field, values[1])), field, "should match")
			})
		}
	})
}

func TestRequiredFields(t *testing.T) {
	eachKind(t, func(t *testing.T, k kind, c client.Client, namespace string) {
		for _, field := range k.required {
			t.Run(field+" must be given", func(t *testing.T) {
				if err := dryRun(t, c, k.with(t, namespace, field, keep)); err != nil {
					t.Errorf("with it: %v", err)
				}
				expectRefusal(t, dryRun(t, c, k.with(t, namespace, field, leaveOut)),
					strings.ReplaceAll(field, "[]", "[0]"), "Required value")
			})
		}
	})
}

// TestEveryRuleHasACase walks the installed schema and fails for a rule that no
// table above has a case for, and for a case whose rule is gone.
func TestEveryRuleHasACase(t *testing.T) {
	for _, k := range kinds() {
		t.Run(k.name, func(t *testing.T) { everyRuleHasACase(t, k) })
	}
}

func everyRuleHasACase(t *testing.T, k kind) {
	tested := map[string]bool{}
	refusals := map[string][]string{}
	for _, r := range k.rules {
		refusals[r.field] = append(refusals[r.field], r.says...)
	}
	for field, says := range k.transitions {
		refusals[field] = append(refusals[field], says...)
	}
	for _, b := range k.bounds {
		tested[fmt.Sprintf("%s %s %d", b.field, b.keyword, b.limit)] = false
	}
	for field, values := range k.enums {
		tested[fmt.Sprintf("%s enum %q", field, values)] = false
	}
	for field := range k.patterns {
		tested[field+" pattern"] = false
	}
	for _, field := range k.required {
		tested[field+" required"] = false
	}
	for _, found := range constraints("", k.definition(t)) {
		if field, message, isRule := strings.Cut(found, " rule "); isRule {
			if !slices.ContainsFunc(refusals[field], func(says string) bool { return strings.Contains(message, says) }) {
				t.Errorf("no case is refused by the rule of %q that says %q", field, message)
			}
			continue
		}
		if _, ok := tested[found]; !ok {
			t.Errorf("the schema has %q and no case tests it", found)
		}
		tested[found] = true
	}
	for name, found := range tested {
		if !found {
			t.Errorf("a case tests %q and the schema has no such rule", name)
		}
	}
}

// constraints lists a schema's rules as TestEveryRuleHasACase names them. What
// Kubernetes' own types hold within themselves is theirs to test.
func constraints(path string, schema *apiextensionsv1.JSONSchemaProps) []string {
	if path == "status" {
		return nil
	}
	var found []string
	add := func(format string, args ...any) { found = append(found, path+" "+fmt.Sprintf(format, args...)) }
	for keyword, limit := range map[string]*int64{
		"minLength": schema.MinLength, "maxLength": schema.MaxLength, "minItems": schema.MinItems, "maxItems": schema.MaxItems, "maxProperties": schema.MaxProperties,
	} {
		if limit != nil {
			add("%s %d", keyword, *limit)
		}
	}
	for keyword, limit := range map[string]*float64{"minimum": schema.Minimum, "maximum": schema.Maximum} {
		if limit != nil {
			add("%s %d", keyword, int64(*limit))
		}
	}
	if schema.Pattern != "" {
		add("pattern")
	}
	if len(schema.Enum) > 0 {
		var words []string
		for _, word := range schema.Enum {
			words = append(words, strings.Trim(string(word.Raw), `"`))
		}
		add("enum %q", words)
	}
	for _, validation := range schema.XValidations {
		add("rule %s", validation.Message)
	}
	if schema.XListType != nil && *schema.XListType != "atomic" {
		add("rule Duplicate value")
	}
	switch path[strings.LastIndex(path, ".")+1:] {
	case "affinity", "tolerations", "topologySpreadConstraints", "resources", "parentRefs", "publicFrom", "metricsFrom":
		return found
	}
	join := func(name string) string { return strings.TrimPrefix(path+"."+name, ".") }
	for _, name := range schema.Required {
		found = append(found, join(name)+" required")
	}
	for name, property := range schema.Properties {
		found = append(found, constraints(join(name), &property)...)
	}
	if schema.Items != nil {
		found = append(found, constraints(path+"[]", schema.Items.Schema)...)
	}
	return found
}

type special int

const (
	keep     special = iota // the value that the surroundings give
	leaveOut                // the field is not there
)

// with is an object that is right but for the field, which has the value.
func (k kind) with(t *testing.T, namespace, field string, value any) *unstructured.Unstructured {
	t.Helper()
	prefix := ""
	for candidate := range k.surroundings {
		if strings.HasPrefix(field, candidate) && len(candidate) > len(prefix) {
			prefix = candidate
		}
	}
	object := k.object(t, namespace, k.surroundings[prefix])
	if value != keep {
		set(object.Object, strings.Split(field, "."), value)
	}
	return object
}

// set walks to the field, making what is missing.
func set(object map[string]any, path []string, value any) {
	name, isItem := strings.CutSuffix(path[0], "[]")
	last := len(path) == 1
	switch {
	case last && value == leaveOut:
		delete(object, name)
	case last && isItem:
		list, _ := object[name].([]any)
		object[name] = append([]any{value}, list[min(1, len(list)):]...)
	case last:
		object[name] = value
	case isItem:
		set(object[name].([]any)[0].(map[string]any), path[1:], value)
	default:
		child, ok := object[name].(map[string]any)
		if !ok {
			child = map[string]any{}
			object[name] = child
		}
		set(child, path[1:], value)
	}
}

// value makes what a bound speaks of: a number, or a string, a list or a map of a size.
func (k kind) value(b bound, n int64) any {
	if sizer, ok := k.sized[b.field]; ok {
		return sizer(n)
	}
	switch b.keyword {
	case "minimum", "maximum":
		return n
	case "minLength", "maxLength":
		return strings.Repeat("a", int(n))
	case "minItems", "maxItems":
		return list(func(int64) any { return map[string]any{} })(n)
	default:
		entries := map[string]any{}
		for i := range n {
			entries[fmt.Sprintf("example.com/%d", i)] = "x"
		}
		return entries
	}
}

func list(item func(i int64) any) func(n int64) any {
	return func(n int64) any {
		made := []any{}
		for i := range n {
			made = append(made, item(i))
		}
		return made
	}
}

// hostName is a name of n characters in labels that are not too long.
func hostName(n int64) string {
	name := "com"
	for int64(len(name)) < n {
		rest := int(n) - len(name) - 1
		label := min(63, rest)
		if rest-label == 1 { // a label of nothing would be left
			label--
		}
		name = strings.Repeat("a", label) + "." + name
	}
	return name
}

// columns are what kubectl get shows of an object: the names of those that are
// there without -o wide, and the cells of all.
func columns(t *testing.T, namespace, plural, name string) (narrow []string, shown map[string]string) {
	t.Helper()
	discovered, err := discovery.NewDiscoveryClientForConfig(cluster.Config())
	if err != nil {
		t.Fatal(err)
	}
	body, err := discovered.RESTClient().Get().
		AbsPath("/apis/commerce.rcommerce.app/v1alpha1/namespaces", namespace, plural, name).
		SetHeader("Accept", "application/json;as=Table;v=v1;g=meta.k8s.io").
		DoRaw(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	table := &metav1.Table{}
	if err := json.Unmarshal(body, table); err != nil {
		t.Fatalf("%v: %s", err, body)
	}
	shown = map[string]string{}
	for i, column := range table.ColumnDefinitions {
		if column.Priority == 0 {
			narrow = append(narrow, column.Name)
		}
		shown[column.Name] = fmt.Sprint(table.Rows[0].Cells[i])
	}
	return narrow, shown
}

// served is how the API server lists a kind.
func served(t *testing.T, plural string) metav1.APIResource {
	t.Helper()
	discovered, err := discovery.NewDiscoveryClientForConfig(cluster.Config())
	if err != nil {
		t.Fatal(err)
	}
	resources, err := discovered.ServerResourcesForGroupVersion(commercev1alpha1.GroupVersion.String())
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(resources.APIResources, func(r metav1.APIResource) bool { return r.Name == plural })
	if i < 0 {
		t.Fatalf("%s are not served: %+v", plural, resources.APIResources)
	}
	return resources.APIResources[i]
}

func dryRun(t *testing.T, c client.Client, object *unstructured.Unstructured) error {
	t.Helper()
	return c.Create(t.Context(), object, client.DryRunAll, client.FieldValidation("Strict"))
}

func patchSpec(t *testing.T, c client.Client, object *unstructured.Unstructured, spec string) error {
	t.Helper()
	data, err := yaml.YAMLToJSON([]byte("spec: {" + trimBraces(spec) + "}"))
	if err != nil {
		t.Fatal(err)
	}
	return c.Patch(t.Context(), object.DeepCopy(), client.RawPatch("application/merge-patch+json", data))
}

// object is the minimal one with a merge patch applied.
func (k kind) object(t *testing.T, namespace, patch string) *unstructured.Unstructured {
	t.Helper()
	object := parse(t, k.minimal)
	if patch != "" {
		if !strings.HasPrefix(patch, "metadata:") {
			patch = "spec: {" + trimBraces(patch) + "}"
		}
		merge(object, parse(t, patch))
	}
	made := &unstructured.Unstructured{Object: object}
	made.SetNamespace(namespace)
	return made
}

func store(t *testing.T, namespace, patch string) *unstructured.Unstructured {
	t.Helper()
	return stores.object(t, namespace, patch)
}

// trimBraces lets a patch be written with or without its outermost braces.
func trimBraces(patch string) string {
	if strings.HasPrefix(patch, "{") && strings.HasSuffix(patch, "}") {
		return patch[1 : len(patch)-1]
	}
	return patch
}

// parse reads YAML with numbers as the API's are: int64.
func parse(t *testing.T, text string) map[string]any {
	t.Helper()
	data, err := yaml.YAMLToJSON([]byte(text))
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	object := map[string]any{}
	if err := utiljson.Unmarshal(data, &object); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return object
}

// merge applies an RFC 7386 patch.
func merge(into, patch map[string]any) {
	for key, value := range patch {
		nested, isMap := value.(map[string]any)
		existing, wasMap := into[key].(map[string]any)
		switch {
		case value == nil:
			delete(into, key)
		case isMap && wasMap:
			merge(existing, nested)
		case isMap:
			fresh := map[string]any{}
			merge(fresh, nested)
			into[key] = fresh
		default:
			into[key] = value
		}
	}
}

func expectRefusal(t *testing.T, err error, says ...string) {
	t.Helper()
	if !apierrors.IsInvalid(err) {
		t.Errorf("want it refused as invalid, got: %v", err)
		return
	}
	for _, want := range says {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("the refusal should say %q, it says: %v", want, err)
		}
	}
}

// definition reads the CustomResourceDefinition as it is installed.
func (k kind) definition(t *testing.T) *apiextensionsv1.JSONSchemaProps {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("..", "..", "config", "crd", "commerce.rcommerce.app_"+k.plural+".yaml"))
	if err != nil {
		t.Fatal(err)
	}
	crd := &apiextensionsv1.CustomResourceDefinition{}
	if err := yaml.UnmarshalStrict(data, crd); err != nil {
		t.Fatal(err)
	}
	return crd.Spec.Versions[0].Schema.OpenAPIV3Schema
}

func TestTheSamplesAreAccepted(t *testing.T) {
	eachKind(t, func(t *testing.T, k kind, c client.Client, namespace string) {
		files, err := filepath.Glob(filepath.Join("..", "..", "config", "samples", strings.ToLower(k.name)+"-*.yaml"))
		if err != nil || len(files) == 0 {
			t.Fatalf("no samples: %v", err)
		}
		for _, file := range files {
			t.Run(filepath.Base(file), func(t *testing.T) {
				data, err := os.ReadFile(file)
				if err != nil {
					t.Fatal(err)
				}
				sample := &unstructured.Unstructured{Object: parse(t, string(data))}
				sample.SetNamespace(namespace)
				if err := dryRun(t, c, sample); err != nil {
					t.Error(err)
				}
			})
		}
	})
}
