package apply_test

import (
	"context"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	certmanagerv1 "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	monitoringv1 "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	dto "github.com/prometheus/client_model/go"
	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/tools/events"
	"sigs.k8s.io/controller-runtime/pkg/client"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"
	"sigs.k8s.io/yaml"

	v1alpha1 "gitee.com/captainjez/gocart/api/v1alpha1"
	"gitee.com/captainjez/gocart/controllers/internal/apply"
	"gitee.com/captainjez/gocart/controllers/internal/keda"
	"gitee.com/captainjez/gocart/controllers/internal/outcome"
	"gitee.com/captainjez/gocart/controllers/internal/plan"
	"gitee.com/captainjez/gocart/internal/testenv"
)

var cluster testenv.Cluster

func TestMain(m *testing.M) {
	os.Exit(cluster.Run(m, testenv.CertManager, testenv.GatewayAPI, testenv.KEDA, testenv.ServiceMonitor))
}

var schemes = []func(*runtime.Scheme) error{
	clientgoscheme.AddToScheme, v1alpha1.AddToScheme, certmanagerv1.AddToScheme, gatewayv1.Install, keda.AddToScheme, monitoringv1.AddToScheme,
}

// bench is an Applier that reads from the API server itself, so that what it
// sees is never old, with a count of what it writes.
type bench struct {
	*apply.Applier
	client   client.Client
	owner    *v1alpha1.Store
	recorder *events.FakeRecorder
	writes   func() int
}

func newBench(t testing.TB) *bench {
	t.Helper()
	scheme := runtime.NewScheme()
	for _, add := range schemes {
		if err := add(scheme); err != nil {
			t.Fatal(err)
		}
	}
	var mu sync.Mutex
	written := 0
	config := cluster.Config()
	config.Wrap(func(next http.RoundTripper) http.RoundTripper {
		return roundTripper(func(r *http.Request) (*http.Response, error) {
			if r.Method != http.MethodGet {
				mu.Lock()
				written++
				mu.Unlock()
			}
			return next.RoundTrip(r)
		})
	})
	c, err := client.New(config, client.Options{Scheme: scheme})
	if err != nil {
		t.Fatal(err)
	}
	disabled := true
	owner := &v1alpha1.Store{
		ObjectMeta: metav1.ObjectMeta{Name: "shop", Namespace: cluster.Namespace(t)},
		Spec:       v1alpha1.StoreSpec{Domains: []string{"shop.example.com"}, TLS: v1alpha1.TLSSpec{Disabled: &disabled}},
	}
	if err := cluster.Client(t).Create(context.Background(), owner); err != nil {
		t.Fatal(err)
	}
	owner.SetGroupVersionKind(v1alpha1.GroupVersion.WithKind("Store"))
	recorder := events.NewFakeRecorder(100)
	return &bench{
		Applier: apply.New(c, c, recorder), client: c, owner: owner, recorder: recorder,
		writes: func() int { mu.Lock(); defer mu.Unlock(); return written },
	}
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func (b *bench) plan(t testing.TB, edit func(*v1alpha1.Store)) []client.Object {
	t.Helper()
	s := b.owner.DeepCopy()
	if edit != nil {
		edit(s)
	}
	objects, err := plan.Build(plan.Input{
		Store: s, Images: plan.Images{Runtime: "gocart-runtime:1", Serving: "gocart-runtime:1", Postgres: "postgres:17", Redis: "redis:7"},
		SecretsHash: "s", DatabaseHash: "d", ACME: plan.LetsEncrypt(), OperatorNamespace: "gocart-system",
	})
	if err != nil {
		t.Fatal(err)
	}
	return objects.All()
}

// apply applies all and tells whether all were as planned.
func (b *bench) apply(t testing.TB, objects []client.Object) bool {
	t.Helper()
	all := true
	for _, o := range objects {
		current, err := b.Apply(context.Background(), b.owner, o)
		if err != nil {
			t.Fatal(err)
		}
		all = all && current
	}
	return all
}

func (b *bench) get(t testing.TB, name string, into client.Object) {
	t.Helper()
	if err := b.client.Get(context.Background(), client.ObjectKey{Namespace: b.owner.Namespace, Name: name}, into); err != nil {
		t.Fatal(err)
	}
}

func (b *bench) edit(t testing.TB, o client.Object, name, patch string) {
	t.Helper()
	o.SetName(name)
	o.SetNamespace(b.owner.Namespace)
	raw, err := yaml.YAMLToJSON([]byte(patch))
	if err != nil {
		t.Fatal(err)
	}
	if err := cluster.Client(t).Patch(context.Background(), o, client.RawPatch("application/strategic-merge-patch+json", raw), client.FieldOwner("kubectl-edit")); err != nil {
		t.Fatal(err)
	}
}

func (b *bench) event() string {
	select {
	case e := <-b.recorder.Events:
		return e
	default:
		return ""
	}
}

// The API server's own validation and Pod Security judge every golden plan.
func TestTheAPIServerTakesEveryPlanTwiceAndSeesNoDifference(t *testing.T) {
	for _, file := range goldenFiles(t) {
		t.Run(filepath.Base(file), func(t *testing.T) {
			t.Parallel()
			b := newBench(t)
			b.owner.Spec = specOf(t, b, file)
			objects := b.plan(t, nil)
			b.apply(t, objects)
			before := b.writes()
			if !b.apply(t, objects) {
				t.Error("what was just applied is not as planned")
			}
			if n := b.writes() - before; n != 0 {
				t.Errorf("a second apply sent %d writes; event: %s", n, b.event())
			}
			// Another operator's process knows nothing of the first one's writes.
			b.Applier = apply.New(b.client, b.client, b.recorder)
			if !b.apply(t, objects) || b.writes() != before {
				t.Errorf("a restarted operator wrote %d times", b.writes()-before)
			}
		})
	}
}

func TestEveryPodPassesPodSecurityRestricted(t *testing.T) {
	c := cluster.Client(t)
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "restricted-", Labels: map[string]string{
		"pod-security.kubernetes.io/enforce": "restricted", "pod-security.kubernetes.io/enforce-version": "latest",
	}}}
	if err := c.Create(t.Context(), namespace); err != nil {
		t.Fatal(err)
	}
	try := func(spec corev1.PodSpec) error {
		spec.PriorityClassName = "" // The class is not there.
		p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{GenerateName: "p-", Namespace: namespace.Name}, Spec: spec}
		// As the StatefulSet's controller adds it.
		for _, m := range spec.Containers[0].VolumeMounts {
			if m.Name == "data" {
				p.Spec.Volumes = append(p.Spec.Volumes, corev1.Volume{Name: "data", VolumeSource: corev1.VolumeSource{
					PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: "data"},
				}})
			}
		}
		return c.Create(t.Context(), p, client.DryRunAll)
	}
	b := newBench(t)
	tried := 0
	for _, file := range goldenFiles(t) {
		b.owner.Spec = specOf(t, b, file)
		for _, o := range b.plan(t, nil) {
			var template corev1.PodTemplateSpec
			switch o := o.(type) {
			case *appsv1.Deployment:
				template = o.Spec.Template
			case *appsv1.StatefulSet:
				template = o.Spec.Template
			case *batchv1.Job:
				template = o.Spec.Template
			default:
				continue
			}
			tried++
			if err := try(template.Spec); err != nil {
				t.Errorf("%s: %T %s: %v", filepath.Base(file), o, o.GetName(), err)
			}
		}
	}
	if tried < 40 {
		t.Errorf("only %d pods were tried", tried)
	}
	// And the judge is awake.
	if err := try(corev1.PodSpec{Containers: []corev1.Container{{Name: "a", Image: "b"}}}); err == nil {
		t.Error("Pod Security took a pod that is not restricted")
	}
}

func TestAWriteIsCounted(t *testing.T) {
	b := newBench(t)
	count := func() float64 {
		var m dto.Metric
		if err := apply.Writes().WithLabelValues("ConfigMap").Write(&m); err != nil {
			t.Fatal(err)
		}
		return m.GetCounter().GetValue()
	}
	before := count()
	b.apply(t, b.plan(t, nil)[:1])
	b.apply(t, b.plan(t, nil)[:1])
	if n := count() - before; n != 1 {
		t.Errorf("%v writes were counted, want 1", n)
	}
}

func TestDriftIsPutBackAndTheEventNamesTheField(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	objects := b.plan(t, nil)
	b.apply(t, objects)
	b.edit(t, &appsv1.Deployment{}, "shop-api", `{spec: {template: {spec: {containers: [{name: api, image: "evil:1"}]}}}}`)
	b.apply(t, objects)
	if e := b.event(); !strings.Contains(e, "DriftCorrected") || !strings.Contains(e, "spec.template.spec.containers[api].image") || !strings.Contains(e, "Deployment shop-api") {
		t.Errorf("the event is %q", e)
	}
	d := &appsv1.Deployment{}
	b.get(t, "shop-api", d)
	if image := d.Spec.Template.Spec.Containers[0].Image; image != "gocart-runtime:1" {
		t.Errorf("the image is %s", image)
	}
	if !b.apply(t, objects) {
		t.Error("what was put back is not as planned")
	}
}

func TestAChangeOfThePlanIsNoDrift(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.apply(t, b.plan(t, nil))
	changed := b.plan(t, func(s *v1alpha1.Store) {
		three := int32(3)
		s.Spec.API.Replicas = &three
		s.Spec.Database.Managed.Resources = &corev1.ResourceRequirements{}
	})
	if b.apply(t, changed) {
		t.Error("a change was taken for what is")
	}
	if e := b.event(); e != "" {
		t.Errorf("an event tells of drift: %s", e)
	}
	if !b.apply(t, changed) {
		t.Error("what was applied is not as planned")
	}
}

func TestWhatOthersAddIsLeftAlone(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	objects := b.plan(t, nil)
	b.apply(t, objects)
	b.edit(t, &appsv1.Deployment{}, "shop-api", `
metadata: {labels: {team: a}, annotations: {note: b}}
spec:
  template:
    metadata: {annotations: {kubectl.kubernetes.io/restartedAt: now}}
    spec:
      hostAliases: [{ip: 10.0.0.1, hostnames: [a]}]
      containers:
        - {name: mesh, image: mesh:1}
        - {name: api, env: [{name: EXTRA, value: x}], volumeMounts: [{name: config, mountPath: /elsewhere}]}`)
	before := b.writes()
	if !b.apply(t, objects) || b.writes() != before {
		t.Errorf("what others added was written over: %s", b.event())
	}
	// Nor does the next change take it away.
	b.apply(t, b.plan(t, func(s *v1alpha1.Store) {
		s.Spec.Observability = &v1alpha1.ObservabilitySpec{LogLevel: "debug"}
	}))
	d := &appsv1.Deployment{}
	b.get(t, "shop-api", d)
	if len(d.Spec.Template.Spec.Containers) != 2 || d.Labels["team"] != "a" || d.Annotations["note"] != "b" || len(d.Spec.Template.Spec.HostAliases) != 1 {
		t.Errorf("what others added is gone: %+v", d.Spec.Template.Spec)
	}
}

func TestAForeignObjectIsNotTouched(t *testing.T) {
	t.Parallel()
	for name, owners := range map[string][]metav1.OwnerReference{
		"without an owner":   nil,
		"of another's":       {{APIVersion: "v1", Kind: "Pod", Name: "p", UID: "1", Controller: pointer(true)}},
		"of another Store's": {{APIVersion: "commerce.rcommerce.app/v1alpha1", Kind: "Store", Name: "other", UID: "2", Controller: pointer(true)}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t)
			foreign := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "shop-config", Namespace: b.owner.Namespace, OwnerReferences: owners}, Data: map[string]string{"a": "b"}}
			if err := b.client.Create(t.Context(), foreign); err != nil {
				t.Fatal(err)
			}
			before := b.writes()
			_, err := b.Apply(t.Context(), b.owner, b.plan(t, nil)[0])
			e, ok := outcome.As(err)
			if !ok || !e.Terminal || e.Reason != v1alpha1.ReasonNameTaken || !strings.Contains(e.Message, "ConfigMap shop-config") {
				t.Errorf("the error is %v", err)
			}
			if b.writes() != before {
				t.Error("something was written")
			}
		})
	}
}

func TestWhatADeletedStoreOfTheNameLeftIsWaitedFor(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.apply(t, b.plan(t, nil)[:1])
	b.owner.UID = "another"
	_, err := b.Apply(t.Context(), b.owner, b.plan(t, nil)[0])
	if e, ok := outcome.As(err); !ok || e.Terminal || e.After == 0 {
		t.Errorf("the error is %v, want to wait", err)
	}
}

func TestWhatTheAPIServerRefusesIsTerminalAndQuoted(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	_, err := b.Apply(t.Context(), b.owner, b.plan(t, func(s *v1alpha1.Store) {
		s.Spec.API.Scheduling = &v1alpha1.SchedulingSpec{PlacementSpec: v1alpha1.PlacementSpec{NodeSelector: map[string]string{"not a key!": "x"}}}
	})[find(b.plan(t, nil), "Deployment", "shop-api")])
	e, ok := outcome.As(err)
	if !ok || !e.Terminal || e.Reason != v1alpha1.ReasonRejected || !strings.Contains(e.Message, "not a key!") {
		t.Errorf("the error is %v", err)
	}
}

func TestReplicasAreHandedToAnAutoscalerWithoutADip(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	four := int32(4)
	withReplicas := func(s *v1alpha1.Store) { s.Spec.API.Replicas = &four }
	autoscaled := func(s *v1alpha1.Store) { s.Spec.API.Autoscaling = &v1alpha1.APIAutoscalingSpec{MaxReplicas: 9} }
	b.apply(t, b.plan(t, withReplicas))
	seen, err := cluster.Client(t).Watch(t.Context(), &appsv1.DeploymentList{}, client.InNamespace(b.owner.Namespace))
	if err != nil {
		t.Fatal(err)
	}
	defer seen.Stop()
	for range 2 { // There and back, and there again.
		b.apply(t, b.plan(t, autoscaled))
		b.edit(t, &appsv1.Deployment{}, "shop-api", `{spec: {replicas: 6}}`)
		before := b.writes()
		if !b.apply(t, b.plan(t, autoscaled)) || b.writes() != before {
			t.Error("the autoscaler's number was written over")
		}
		b.apply(t, b.plan(t, withReplicas))
	}
	b.edit(t, &appsv1.Deployment{}, "shop-api", `{metadata: {labels: {done: "true"}}}`)
	for e := range seen.ResultChan() {
		d, ok := e.Object.(*appsv1.Deployment)
		if !ok || d.Name != "shop-api" {
			continue
		}
		if n := *d.Spec.Replicas; n != 4 && n != 6 {
			t.Errorf("spec.replicas was %d", n)
		}
		if d.Labels["done"] != "" {
			return
		}
	}
}

func TestPruneDeletesWhatIsNoLongerWantedAndOurs(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	objects := b.plan(t, nil)
	b.apply(t, objects)
	foreign := &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Name: "foreign", Namespace: b.owner.Namespace, Labels: plan.StoreSelector("shop")},
		Spec:       corev1.ServiceSpec{Ports: []corev1.ServicePort{{Port: 1}}},
	}
	if err := b.client.Create(t.Context(), foreign); err != nil {
		t.Fatal(err)
	}
	var keep []client.Object
	for _, o := range objects {
		if o.GetName() != "shop-redis" {
			keep = append(keep, o)
		}
	}
	if err := b.Prune(t.Context(), b.owner, keep, &corev1.ServiceList{}, &appsv1.StatefulSetList{}); err != nil {
		t.Fatal(err)
	}
	var services corev1.ServiceList
	var sets appsv1.StatefulSetList
	for _, list := range []client.ObjectList{&services, &sets} {
		if err := b.client.List(t.Context(), list, client.InNamespace(b.owner.Namespace)); err != nil {
			t.Fatal(err)
		}
	}
	var left []string
	for _, s := range services.Items {
		left = append(left, s.Name)
	}
	for _, s := range sets.Items {
		left = append(left, s.Name)
	}
	if got := strings.Join(left, " "); got != "foreign shop-api shop-postgres shop-postgres" {
		t.Errorf("left are %s", got)
	}
}

func TestAJobOfAnotherPlanIsMadeAnewUnlessItWorksOrSucceeded(t *testing.T) {
	t.Parallel()
	ready := int32(1)
	now := metav1.Now()
	for name, c := range map[string]struct {
		status  batchv1.JobStatus
		replace bool
	}{
		"it never ran":  {batchv1.JobStatus{}, true},
		"it works":      {batchv1.JobStatus{StartTime: &now, Active: 1, Ready: &ready}, false},
		"it succeeded":  {batchv1.JobStatus{StartTime: &now, CompletionTime: &now, Succeeded: 1, Conditions: []batchv1.JobCondition{{Type: batchv1.JobSuccessCriteriaMet, Status: "True"}, {Type: batchv1.JobComplete, Status: "True"}}}, false},
		"it has failed": {batchv1.JobStatus{StartTime: &now, Failed: 1, Conditions: []batchv1.JobCondition{{Type: batchv1.JobFailureTarget, Status: "True"}, {Type: batchv1.JobFailed, Status: "True"}}}, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t)
			at := find(b.plan(t, nil), "Job", "")
			job := b.plan(t, nil)[at]
			b.apply(t, []client.Object{job})
			j := &batchv1.Job{}
			b.get(t, job.GetName(), j)
			j.Status = c.status
			if err := b.client.Status().Update(t.Context(), j); err != nil {
				t.Fatal(err)
			}
			other := b.plan(t, func(s *v1alpha1.Store) {
				s.Spec.API.Scheduling = &v1alpha1.SchedulingSpec{PlacementSpec: v1alpha1.PlacementSpec{NodeSelector: map[string]string{"a": "b"}}}
			})[at]
			_, err := b.Apply(t.Context(), b.owner, other)
			if _, waits := outcome.As(err); waits != c.replace || err != nil && !waits {
				t.Errorf("the error is %v", err)
			}
			err = b.client.Get(t.Context(), client.ObjectKeyFromObject(j), j)
			if gone := err != nil || !j.DeletionTimestamp.IsZero(); gone != c.replace {
				t.Errorf("the Job is gone: %t, want %t", gone, c.replace)
			}
		})
	}
}

func goldenFiles(t testing.TB) []string {
	t.Helper()
	files, err := filepath.Glob("../plan/testdata/*.in.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("no golden files: %v", err)
	}
	return files
}

// specOf has the API server read a golden case's Store, defaults and all.
func specOf(t testing.TB, b *bench, file string) v1alpha1.StoreSpec {
	t.Helper()
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	s := &v1alpha1.Store{}
	if err := yaml.UnmarshalStrict(raw, s); err != nil {
		t.Fatal(err)
	}
	s.Namespace = b.owner.Namespace
	s.Name = "a" + strings.ToLower(time.Now().Format("150405")) // It is not kept.
	if err := cluster.Client(t).Create(context.Background(), s, client.DryRunAll); err != nil {
		t.Fatal(err)
	}
	return s.Spec
}

func find(objects []client.Object, kind, name string) int {
	for i, o := range objects {
		if o.GetObjectKind().GroupVersionKind().Kind == kind && (name == "" || o.GetName() == name) {
			return i
		}
	}
	return -1
}

func pointer[T any](v T) *T { return &v }
