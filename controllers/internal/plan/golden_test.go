package plan_test

import (
	"bytes"
	"flag"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	v1alpha1 "gitee.com/captainjez/gocart/api/v1alpha1"
	"gitee.com/captainjez/gocart/controllers/internal/plan"
)

var update = flag.Bool("update", false, "rewrite testdata/*.out.yaml")

// plain is the case whose golden file is complete. The others hold only the
// objects that are not as in that one, so that each shows what it is about.
const plain = "minimal"

// A change of what a Store becomes is a change of testdata/*.out.yaml, for a
// reviewer to read: go test ./controllers/internal/plan -update
func TestAStoreBecomesTheObjectsOfItsGoldenFile(t *testing.T) {
	for _, name := range cases(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var base plan.Objects
			if name != plain {
				base = build(t, input(t, plain))
			}
			got := render(t, build(t, input(t, name)), base)
			asInGolden(t, filepath.Join("testdata", name+".out.yaml"), got)
		})
	}
}

func asInGolden(t *testing.T, golden string, got []byte) {
	t.Helper()
	if *update {
		if err := os.WriteFile(golden, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), string(got)); d != "" {
		t.Errorf("the plan differs from %s (-want +got):\n%s", golden, d)
	}
}

func TestTheSameInputGivesTheSameBytes(t *testing.T) {
	for _, name := range cases(t) {
		first, second := render(t, build(t, input(t, name)), plan.Objects{}), render(t, build(t, input(t, name)), plan.Objects{})
		if !bytes.Equal(first, second) {
			t.Errorf("%s: two builds differ:\n%s", name, cmp.Diff(string(first), string(second)))
		}
	}
}

func TestBuildingAPlanLeavesTheStoreAsItWas(t *testing.T) {
	for _, name := range cases(t) {
		in := input(t, name)
		before := in.Store.DeepCopy()
		for _, o := range build(t, in).All() {
			// What the applier adds must not reach the Store either.
			if labels := o.GetLabels(); labels != nil {
				labels["added"] = "later"
			}
			if annotations := o.GetAnnotations(); annotations != nil {
				annotations["added"] = "later"
			}
		}
		if d := cmp.Diff(before, in.Store); d != "" {
			t.Errorf("%s: the Store was changed:\n%s", name, d)
		}
	}
}

func cases(t testing.TB) []string {
	t.Helper()
	files, err := filepath.Glob("testdata/*.in.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("no cases in testdata: %v", err)
	}
	var names []string
	for _, f := range files {
		names = append(names, strings.TrimSuffix(filepath.Base(f), ".in.yaml"))
	}
	return names
}

// input is a case's Store, with the API server's defaults, and images of a
// release that runs everywhere save where the case says otherwise.
func input(t testing.TB, name string) plan.Input {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join("testdata", name+".in.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	store, policies := manifests(t, raw)
	edge, err := plan.Edge(store, policies)
	if err != nil {
		t.Fatal(err)
	}
	in := plan.Input{
		Store: store,
		Edge:  edge,
		Images: plan.Images{
			Runtime: "gocart-runtime:1.4.0", Serving: "gocart-runtime:1.4.0",
			Postgres: "docker.io/library/postgres:17", Redis: "docker.io/library/redis:7.4",
		},
		SecretsHash: "5ec2e75", DatabaseHash: "da7aba5e",
		ACME:              plan.LetsEncrypt(),
		OperatorNamespace: "gocart-system",
	}
	if i := in.Store.Spec.Image; i != nil {
		in.Images.Runtime = plan.Reference(i, "gocart-runtime")
		if name != "image-not-yet-migrated" {
			in.Images.Serving = in.Images.Runtime
		}
	}
	if m := in.Store.Spec.Database.Managed; m != nil && m.Image != "" {
		in.Images.Postgres = m.Image
	}
	return in
}

// manifests reads a Store, and the RateLimitPolicies that follow it.
func manifests(t testing.TB, raw []byte) (*v1alpha1.Store, []v1alpha1.RateLimitPolicy) {
	t.Helper()
	documents := strings.Split(string(raw), "\n---\n")
	s := &v1alpha1.Store{}
	read(t, documents[0], "stores", s)
	s.UID = "00000000-0000-4000-8000-000000000000"
	policies := make([]v1alpha1.RateLimitPolicy, len(documents)-1)
	for i, d := range documents[1:] {
		read(t, d, "ratelimitpolicies", &policies[i])
	}
	return s, policies
}

// read takes a manifest as the API server would: strictly, and with the
// defaults of the CustomResourceDefinition.
func read(t testing.TB, document, resource string, into any) {
	t.Helper()
	var manifest map[string]any
	if err := yaml.UnmarshalStrict([]byte(document), &manifest); err != nil {
		t.Fatal(err)
	}
	setDefaults(manifest["spec"].(map[string]any), schema(t, resource))
	defaulted, err := yaml.Marshal(manifest)
	if err != nil {
		t.Fatal(err)
	}
	if err := yaml.UnmarshalStrict(defaulted, into); err != nil {
		t.Fatal(err)
	}
}

// schema of a resource's spec.
func schema(t testing.TB, resource string) map[string]any {
	t.Helper()
	raw, err := os.ReadFile("../../../config/crd/commerce.rcommerce.app_" + resource + ".yaml")
	if err != nil {
		t.Fatal(err)
	}
	var crd struct {
		Spec struct {
			Versions []struct {
				Schema struct {
					OpenAPIV3Schema struct {
						Properties map[string]map[string]any `json:"properties"`
					} `json:"openAPIV3Schema"`
				} `json:"schema"`
			} `json:"versions"`
		} `json:"spec"`
	}
	if err := yaml.Unmarshal(raw, &crd); err != nil {
		t.Fatal(err)
	}
	return crd.Spec.Versions[0].Schema.OpenAPIV3Schema.Properties["spec"]
}

func setDefaults(value, schema map[string]any) {
	properties, _ := schema["properties"].(map[string]any)
	for name, p := range properties {
		property := p.(map[string]any)
		if _, set := value[name]; !set {
			byDefault, has := property["default"]
			if !has {
				continue
			}
			value[name] = clone(byDefault)
		}
		switch nested := value[name].(type) {
		case map[string]any:
			setDefaults(nested, property)
		case []any:
			for _, item := range nested {
				if fields, ok := item.(map[string]any); ok {
					setDefaults(fields, property["items"].(map[string]any))
				}
			}
		}
	}
}

func clone(v any) any {
	m, ok := v.(map[string]any)
	if !ok {
		return v
	}
	c := map[string]any{}
	for k, e := range m {
		c[k] = clone(e)
	}
	return c
}

func build(t testing.TB, in plan.Input) plan.Objects {
	t.Helper()
	objects, err := plan.Build(in)
	if err != nil {
		t.Fatal(err)
	}
	return objects
}

func render(t testing.TB, objects, base plan.Objects) []byte {
	t.Helper()
	known := map[string][]byte{}
	for _, o := range base.All() {
		known[title(o)] = manifest(t, o)
	}
	var same, different bytes.Buffer
	for _, o := range objects.All() {
		m := manifest(t, o)
		if bytes.Equal(known[title(o)], m) {
			same.WriteString("# as in " + plain + ": " + title(o) + "\n")
		} else {
			different.WriteString("---\n")
			different.Write(m)
		}
		delete(known, title(o))
	}
	for _, missing := range slices.Sorted(maps.Keys(known)) {
		same.WriteString("# not here: " + missing + "\n")
	}
	return append(same.Bytes(), different.Bytes()...)
}

func title(o client.Object) string {
	return o.GetObjectKind().GroupVersionKind().Kind + " " + o.GetName()
}

// manifest is an object as it is applied: without status.
func manifest(t testing.TB, o client.Object) []byte {
	t.Helper()
	fields, err := runtime.DefaultUnstructuredConverter.ToUnstructured(o)
	if err != nil {
		t.Fatal(err)
	}
	delete(fields, "status")
	raw, err := yaml.Marshal(fields)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}
