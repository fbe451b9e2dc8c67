package plan_test

import (
	"encoding/json"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/validation"
	"pgregory.net/rapid"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"gitee.com/captainjez/gocart/controllers/internal/plan"
	"gitee.com/captainjez/gocart/runtime/config"
)

func TestTheRuntimeReadsTheConfigurationThatTheOperatorRenders(t *testing.T) {
	for _, name := range cases(t) {
		c := rendered(t, name)
		if c.Store.Name == "" || c.Store.Namespace != "shops" {
			t.Errorf("%s: the configuration is of store %q in %q", name, c.Store.Name, c.Store.Namespace)
		}
		if e, in := edge(t, name), input(t, name); !reflect.DeepEqual(e, in.Edge.Config) || in.Edge.Hash != config.EdgeHash(in.Edge.Raw) {
			t.Errorf("%s: the runtime reads the edge %+v, of which the operator thinks %+v", name, e, in.Edge.Config)
		}
	}
}

func TestEveryFileThatTheConfigurationNamesIsMounted(t *testing.T) {
	for _, name := range cases(t) {
		in, c := input(t, name), rendered(t, name)
		objects := build(t, in)
		all := []string{c.Database.URIFile, c.Database.CAFile, c.Redis.URLFile, c.Redis.CAFile, c.Auth.AdminKeyFile, c.Auth.TokenKeyFile, c.EdgeFile}
		if c.Server.Public.TLS != nil {
			all = append(all, c.Server.Public.TLS.CertFile, c.Server.Public.TLS.KeyFile)
		}
		if c.Mail != nil {
			all = append(all, c.Mail.URLFile)
		}
		api := pod(t, objects.Workloads, plan.ComponentAPI)
		for _, file := range all {
			if file != "" && !slices.Contains(mountedFiles(api, plan.CredentialsSecret(in.Store.Name)), file) {
				t.Errorf("%s: the api pod has no file %s; it has %v", name, file, mountedFiles(api, plan.CredentialsSecret(in.Store.Name)))
			}
		}
		for _, file := range []string{c.Database.URIFile, c.Database.CAFile} {
			if file != "" && !slices.Contains(mountedFiles(objects.Migration.Spec.Template.Spec, ""), file) {
				t.Errorf("%s: the migration's pod has no file %s", name, file)
			}
		}
	}
}

func TestAHeaderSetToNothingIsLeftOutAndOneNotNamedKeepsItsDefault(t *testing.T) {
	got := edge(t, "security").Security.Headers
	want := config.DefaultHeaders()
	want.ContentSecurityPolicy, want.FrameOptions = "default-src 'self'; img-src *", "SAMEORIGIN"
	want.PermissionsPolicy, want.XSSProtection = "", ""
	if got != want {
		t.Errorf("headers are %+v, want %+v", got, want)
	}
}

func TestAnHSTSAgeOfZeroIsAValue(t *testing.T) {
	h := edge(t, "security").Security.HSTS
	if h == nil || h.MaxAgeSeconds != 0 || h.IncludeSubDomains {
		t.Errorf("HSTS is %+v, want max-age 0 without subdomains", h)
	}
}

func TestRefsNamesEverySecretThatThePodsHold(t *testing.T) {
	for _, name := range cases(t) {
		in := input(t, name)
		known := plan.Refs(in.Store).SecretNames()
		for _, template := range templates(build(t, in)) {
			for _, secret := range secretsOf(template.Spec) {
				if !slices.Contains(known, secret) {
					t.Errorf("%s: a pod of %s holds Secret %s, which Refs does not name: %v", name, template.Labels[plan.LabelComponent], secret, known)
				}
			}
		}
	}
}

func TestRefsNamesASecretOnce(t *testing.T) {
	names := plan.Refs(input(t, "external-servers").Store).SecretNames()
	want := []string{"database", "authorities", "cache", "shop-credentials", "shop-tls"}
	if !slices.Equal(names, want) {
		t.Errorf("secrets are %v, want %v", names, want)
	}
}

func TestAShortNameIsKeptAndALongOneIsCutWithADigestOfTheWhole(t *testing.T) {
	long := strings.Repeat("a", 63)
	for _, c := range []struct{ store, suffix, want string }{
		{"shop", "api", "shop-api"},
		{strings.Repeat("a", 46), "api", strings.Repeat("a", 46) + "-api"},
		{long, "api", strings.Repeat("a", 50-3-8-2) + "-" + plan.Hash(long)[:8] + "-api"},
	} {
		if got := plan.Name(c.store, c.suffix); got != c.want {
			t.Errorf("Name(%q, %q) is %q, want %q", c.store, c.suffix, got, c.want)
		}
	}
}

// storeName is any name that the CustomResourceDefinition accepts.
var storeName = rapid.StringMatching(`[a-z]([-a-z0-9]{0,61}[a-z0-9])?`)

var suffixes = []string{
	"api", "worker", "postgres", "redis", "config", "credentials", "tls", "acme", "acme-staging", "acme-production",
	"internal", "migrate-0123456789", "job", "reports",
}

func TestEveryNameIsValidAndShortEnoughForItsLabels(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		store := storeName.Draw(t, "store")
		for _, suffix := range suffixes {
			name := plan.Name(store, suffix)
			if errs := validation.IsDNS1035Label(name); len(errs) > 0 {
				t.Fatalf("Name(%q, %q) = %q: %v", store, suffix, name, errs)
			}
			// A StatefulSet's pods carry <name>-<10 characters> in a label.
			if len(name) > 52 {
				t.Fatalf("Name(%q, %q) = %q has %d characters", store, suffix, name, len(name))
			}
		}
	})
}

func TestTwoStoresNamesAndSelectorsNeverMeet(t *testing.T) {
	template := input(t, "long-name")
	rapid.Check(t, func(r *rapid.T) {
		first := storeName.Draw(r, "first")
		second := rapid.OneOf(
			storeName,
			// Neighbours are likelier to meet than strangers.
			rapid.Custom(func(r *rapid.T) string {
				longer := first + "-" + rapid.SampledFrom(append([]string{"a"}, suffixes...)).Draw(r, "suffix")
				return strings.TrimRight(longer[:min(len(longer), 63)], "-")
			}),
		).Filter(func(s string) bool { return s != first }).Draw(r, "second")

		one, other := named(r, template, first), named(r, template, second)
		taken := map[string]bool{}
		for _, o := range one {
			taken[o.GetObjectKind().GroupVersionKind().Kind+"/"+o.GetName()] = true
		}
		for _, o := range other {
			if id := o.GetObjectKind().GroupVersionKind().Kind + "/" + o.GetName(); taken[id] {
				r.Fatalf("stores %q and %q both have %s", first, second, id)
			}
		}
		for _, selector := range selectors(one) {
			for _, o := range other {
				for _, set := range labelSets(o) {
					if selector.Matches(set) {
						r.Fatalf("selector %q of store %q matches %s of store %q", selector, first, set, second)
					}
				}
			}
		}
	})
}

func TestSelectorsSelectTheirOwnPodsOnly(t *testing.T) {
	for _, name := range cases(t) {
		objects := build(t, input(t, name))
		pods := map[string]labels.Set{}
		for _, template := range templates(objects) {
			pods[template.Labels[plan.LabelComponent]] = template.Labels
		}
		for _, o := range objects.All() {
			var selector map[string]string
			switch o := o.(type) {
			case *corev1.Service:
				selector = o.Spec.Selector
			case *appsv1.Deployment:
				selector = o.Spec.Selector.MatchLabels
			case *appsv1.StatefulSet:
				selector = o.Spec.Selector.MatchLabels
			default:
				continue
			}
			var want, got []string
			want = []string{o.GetLabels()[plan.LabelComponent]}
			if strings.HasSuffix(o.GetName(), "-internal") {
				want = []string{plan.ComponentAPI, plan.ComponentWorker}
			}
			for component, set := range pods {
				if labels.SelectorFromSet(selector).Matches(set) {
					got = append(got, component)
				}
			}
			slices.Sort(got)
			if !slices.Equal(want, got) {
				t.Errorf("%s: %T %s selects the pods of %v, want %v", name, o, o.GetName(), got, want)
			}
		}
	}
}

// The complaint is "an operator upgrade rolls every pod": what runs is named
// by the input, and nothing of the operator's own is in a pod template.
func TestPodTemplatesDependOnTheInputAlone(t *testing.T) {
	for _, name := range cases(t) {
		for _, template := range templates(build(t, input(t, name))) {
			raw := string(manifest(t, &corev1.Pod{ObjectMeta: template.ObjectMeta, Spec: template.Spec}))
			for _, word := range []string{"gocart-system", "app.kubernetes.io/version", "helm.sh", "letsencrypt.org"} {
				if strings.Contains(raw, word) {
					t.Errorf("%s: the pods of %s speak of %q", name, template.Labels[plan.LabelComponent], word)
				}
			}
		}
	}
}

func TestANewImageMigratesUnderANewNameWhilePodsKeepTheOldOne(t *testing.T) {
	before := build(t, input(t, "tls-disabled"))
	after := build(t, input(t, "image-not-yet-migrated"))
	if before.Migration.Name == after.Migration.Name {
		t.Errorf("both images migrate in Job %s", after.Migration.Name)
	}
	if got := after.Migration.Spec.Template.Spec.Containers[0].Image; got != "gocart-runtime:2.0.0" {
		t.Errorf("the migration runs %s", got)
	}
	for _, component := range []string{plan.ComponentAPI, plan.ComponentWorker} {
		if got := pod(t, after.Workloads, component).Containers[0].Image; got != "gocart-runtime:1.4.0" {
			t.Errorf("%s runs %s before the migration", component, got)
		}
	}
}

func TestAMigrationIsTriedAgainForOtherCredentialsAndOnRequest(t *testing.T) {
	in := input(t, "minimal")
	names := map[string]bool{plan.MigrationName(in): true}
	in.DatabaseHash = "other"
	names[plan.MigrationName(in)] = true
	in.Store.Annotations = map[string]string{plan.AnnotationReconcile: "1"}
	names[plan.MigrationName(in)] = true
	if len(names) != 3 {
		t.Errorf("want three names, got %v", slices.Collect(maps.Keys(names)))
	}
	again := plan.MigrationName(in)
	if !names[again] {
		t.Errorf("the same input gave another name, %s", again)
	}
}

// Nobody can read a secret from what the operator renders, for the plan is
// never given one: names, keys and hashes are all it knows.
func TestNoRenderedObjectHoldsASecretsContent(t *testing.T) {
	for _, name := range cases(t) {
		in := input(t, name)
		for _, o := range build(t, in).All() {
			if _, isSecret := o.(*corev1.Secret); isSecret {
				t.Errorf("%s: the plan holds Secret %s", name, o.GetName())
			}
			if raw := string(manifest(t, o)); credentialURL.MatchString(raw) {
				t.Errorf("%s: %s holds what looks like a password: %s", name, o.GetName(), credentialURL.FindString(raw))
			}
		}
		for _, template := range templates(build(t, in)) {
			for _, c := range template.Spec.Containers {
				for _, e := range c.Env {
					if strings.Contains(e.Name, "PASSWORD") && e.Value != "" && !strings.HasSuffix(e.Name, "_FILE") {
						t.Errorf("%s: environment %s holds a value", name, e.Name)
					}
				}
			}
		}
	}
}

var credentialURL = regexp.MustCompile(`(postgres|postgresql|rediss?)://[^\s]*:[^\s]*@`)

func TestGeneratedSecretsAreImmutableAndOwnedByNobody(t *testing.T) {
	s := input(t, "minimal").Store
	for _, secret := range []*corev1.Secret{plan.Credentials(s, "key", "token key"), plan.PostgresCredentials(s, "password"), plan.RedisCredentials(s, "password")} {
		if secret.Immutable == nil || !*secret.Immutable || len(secret.OwnerReferences) != 0 {
			t.Errorf("Secret %s is %+v", secret.Name, secret.ObjectMeta)
		}
	}
	external := input(t, "external-servers").Store
	if plan.PostgresCredentials(external, "x") != nil || plan.RedisCredentials(external, "x") != nil {
		t.Error("passwords are generated for servers that are not managed")
	}
}

func TestADisruptionBudgetExistsAboveOneReplicaOnly(t *testing.T) {
	for name, want := range map[string][]string{
		"minimal":                   nil,
		"scaled-to-zero":            nil,
		"scheduling":                {"shop-api"},
		"production-http01-ingress": {"shop-api", "shop-worker"},
	} {
		var got []string
		for _, o := range build(t, input(t, name)).Workloads {
			if o.GetObjectKind().GroupVersionKind().Kind == "PodDisruptionBudget" {
				got = append(got, o.GetName())
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: budgets are %v, want %v", name, got, want)
		}
	}
}

func TestNoPodHoldsAServiceAccountTokenOrAWritableRoot(t *testing.T) {
	for _, name := range cases(t) {
		for _, template := range templates(build(t, input(t, name))) {
			spec, who := template.Spec, name+": "+template.Labels[plan.LabelComponent]
			if spec.AutomountServiceAccountToken == nil || *spec.AutomountServiceAccountToken {
				t.Errorf("%s holds a service account token", who)
			}
			if !*spec.Containers[0].SecurityContext.ReadOnlyRootFilesystem {
				t.Errorf("%s has a writable root", who)
			}
			if r := spec.Containers[0].Resources; r.Limits.Memory().IsZero() {
				t.Errorf("%s has no memory limit", who)
			}
		}
	}
}

func TestWhoMayReachTheDatabaseIsTheStoresOwnPods(t *testing.T) {
	for _, o := range build(t, input(t, "minimal")).Network {
		if o.GetName() != "shop-postgres" {
			continue
		}
		raw := string(manifest(t, o))
		for _, label := range []string{plan.LabelName, plan.LabelInstance, plan.LabelComponent} {
			if strings.Count(raw, label) < 3 { // the object's, the pods', the peer's
				t.Errorf("the peer is not selected by %s:\n%s", label, raw)
			}
		}
	}
}

func rendered(t *testing.T, name string) config.Config {
	t.Helper()
	c, err := config.Parse([]byte(configMap(t, name)["config.yaml"]))
	if err != nil {
		t.Fatalf("%s: the runtime refuses its configuration: %v\n%s", name, err, configMap(t, name)["config.yaml"])
	}
	return c
}

func edge(t *testing.T, name string) config.Edge {
	t.Helper()
	e, err := config.ParseEdge([]byte(configMap(t, name)["edge.yaml"]))
	if err != nil {
		t.Fatalf("%s: the runtime refuses its edge: %v\n%s", name, err, configMap(t, name)["edge.yaml"])
	}
	return e
}

func configMap(t *testing.T, name string) map[string]string {
	t.Helper()
	for _, o := range build(t, input(t, name)).Config {
		if m, ok := o.(*corev1.ConfigMap); ok {
			return m.Data
		}
	}
	t.Fatalf("%s: no ConfigMap", name)
	return nil
}

func named(t *rapid.T, in plan.Input, store string) []client.Object {
	in.Store = in.Store.DeepCopy()
	in.Store.Name = store
	objects, err := plan.Build(in)
	if err != nil {
		t.Fatal(err)
	}
	all := objects.All()
	for _, secret := range []*corev1.Secret{plan.Credentials(in.Store, "x", "x"), plan.PostgresCredentials(in.Store, "x"), plan.RedisCredentials(in.Store, "x")} {
		all = append(all, secret)
	}
	return all
}

func templates(objects plan.Objects) []corev1.PodTemplateSpec {
	var all []corev1.PodTemplateSpec
	for _, o := range objects.All() {
		if template, ok := templateOf(o); ok {
			all = append(all, template)
		}
	}
	return all
}

func templateOf(o client.Object) (corev1.PodTemplateSpec, bool) {
	switch o := o.(type) {
	case *appsv1.Deployment:
		return o.Spec.Template, true
	case *appsv1.StatefulSet:
		return o.Spec.Template, true
	case *batchv1.Job:
		return o.Spec.Template, true
	}
	return corev1.PodTemplateSpec{}, false
}

func pod(t *testing.T, objects []client.Object, component string) corev1.PodSpec {
	t.Helper()
	for _, o := range objects {
		if template, ok := templateOf(o); ok && template.Labels[plan.LabelComponent] == component {
			return template.Spec
		}
	}
	t.Fatalf("no pods of %s", component)
	return corev1.PodSpec{}
}

// mountedFiles lists the files that Secrets put into a pod; whole is a Secret
// mounted without a list of keys, which holds adminKey and tokenKey.
func mountedFiles(p corev1.PodSpec, whole string) []string {
	paths := map[string][]string{}
	for _, v := range p.Volumes {
		switch {
		case v.ConfigMap != nil:
			paths[v.Name] = []string{"config.yaml", "edge.yaml"}
		case v.Secret != nil && v.Secret.SecretName == whole && len(v.Secret.Items) == 0:
			paths[v.Name] = []string{"adminKey", "tokenKey"}
		case v.Secret != nil:
			for _, i := range v.Secret.Items {
				paths[v.Name] = append(paths[v.Name], i.Path)
			}
		case v.Projected != nil:
			for _, s := range v.Projected.Sources {
				for _, i := range s.Secret.Items {
					paths[v.Name] = append(paths[v.Name], i.Path)
				}
			}
		}
	}
	var files []string
	for _, m := range p.Containers[0].VolumeMounts {
		for _, path := range paths[m.Name] {
			files = append(files, m.MountPath+"/"+path)
		}
	}
	return files
}

func secretsOf(p corev1.PodSpec) []string {
	var names []string
	for _, v := range p.Volumes {
		if v.Secret != nil {
			names = append(names, v.Secret.SecretName)
		}
		if v.Projected != nil {
			for _, s := range v.Projected.Sources {
				names = append(names, s.Secret.Name)
			}
		}
	}
	for _, c := range p.Containers {
		for _, e := range c.Env {
			if e.ValueFrom != nil && e.ValueFrom.SecretKeyRef != nil {
				names = append(names, e.ValueFrom.SecretKeyRef.Name)
			}
		}
	}
	for _, s := range p.ImagePullSecrets {
		names = append(names, s.Name)
	}
	return names
}

func labelSets(o client.Object) []labels.Set {
	sets := []labels.Set{o.GetLabels()}
	if template, ok := templateOf(o); ok {
		sets = append(sets, template.Labels)
	}
	return sets
}

func selectors(objects []client.Object) []labels.Selector {
	var all []labels.Selector
	for _, o := range objects {
		switch o := o.(type) {
		case *corev1.Service:
			all = append(all, labels.SelectorFromSet(o.Spec.Selector))
		case *appsv1.Deployment:
			all = append(all, asSelector(o.Spec.Selector))
			for _, c := range o.Spec.Template.Spec.TopologySpreadConstraints {
				all = append(all, asSelector(c.LabelSelector))
			}
		case *appsv1.StatefulSet:
			all = append(all, asSelector(o.Spec.Selector))
		}
		if s := plan.StoreSelector(o.GetLabels()[plan.LabelInstance]); s != nil {
			all = append(all, labels.SelectorFromSet(s))
		}
	}
	return all
}

func asSelector(s *metav1.LabelSelector) labels.Selector {
	selector, err := metav1.LabelSelectorAsSelector(s)
	if err != nil {
		panic(err)
	}
	return selector
}

func BenchmarkPlanBuild(b *testing.B) {
	in := input(b, "production-http01-ingress")
	b.ReportAllocs()
	for b.Loop() {
		if _, err := plan.Build(in); err != nil {
			b.Fatal(err)
		}
	}
}

// The floor: the plan's objects once through the JSON encoder.
func BenchmarkPlanMarshal(b *testing.B) {
	all := build(b, input(b, "production-http01-ingress")).All()
	b.ReportAllocs()
	for b.Loop() {
		for _, o := range all {
			if _, err := json.Marshal(o); err != nil {
				b.Fatal(err)
			}
		}
	}
}
