package ratelimitpolicy_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	controllerconfig "sigs.k8s.io/controller-runtime/pkg/config"
	"sigs.k8s.io/controller-runtime/pkg/log"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"
	"sigs.k8s.io/yaml"

	v1alpha1 "gitee.com/captainjez/gocart/api/v1alpha1"
	"gitee.com/captainjez/gocart/controllers/internal/plan"
	"gitee.com/captainjez/gocart/controllers/internal/policies"
	"gitee.com/captainjez/gocart/controllers/ratelimitpolicy"
	"gitee.com/captainjez/gocart/controllers/store"
	"gitee.com/captainjez/gocart/internal/testenv"
	"gitee.com/captainjez/gocart/runtime/status"
)

var cluster testenv.Cluster

func TestMain(m *testing.M) {
	log.SetLogger(logr.Discard())
	os.Exit(cluster.Run(m))
}

// patience bounds how long a test waits for something that ought to happen at
// once; a loaded machine needs it.
const patience = 60 * time.Second

// pods answer for the pods of a test, by their address. One without an answer
// is silent.
type pods struct {
	mu    sync.Mutex
	edges map[string]*status.Edge
	asked atomic.Int64
}

func (p *pods) Status(_ context.Context, podIP string) (status.Status, error) {
	p.asked.Add(1)
	p.mu.Lock()
	defer p.mu.Unlock()
	e, ok := p.edges[podIP]
	if !ok {
		return status.Status{}, errors.New("connection refused")
	}
	return status.Status{Role: "api", Edge: e}, nil
}

// clock is moved by the test.
type clock struct{ ahead atomic.Int64 }

func (c *clock) now() time.Time { return time.Now().Add(time.Duration(c.ahead.Load())) }

// world is a test's namespace, with an operator that has the rights of
// config/rbac/role.yaml and looks after this namespace alone.
type world struct {
	t         *testing.T
	namespace string
	client    client.WithWatch
	pods      *pods
	clock     *clock
	writes    *atomic.Int64
	shard     string
	stop      func()
}

func scheme(t *testing.T) *runtime.Scheme {
	t.Helper()
	s := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{clientgoscheme.AddToScheme, v1alpha1.AddToScheme} {
		if err := add(s); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{
		t: t, client: cluster.Client(t), namespace: cluster.Namespace(t),
		pods: &pods{edges: map[string]*status.Edge{}}, clock: &clock{}, writes: &atomic.Int64{},
	}
	w.grant()
	w.start()
	return w
}

func (w *world) grant() {
	w.t.Helper()
	raw, err := os.ReadFile("../../config/rbac/role.yaml")
	if err != nil {
		w.t.Fatal(err)
	}
	var rights rbacv1.ClusterRole
	if err := yaml.Unmarshal(raw, &rights); err != nil {
		w.t.Fatal(err)
	}
	name := metav1.ObjectMeta{Name: "operator", Namespace: w.namespace}
	for _, o := range []client.Object{
		&rbacv1.Role{ObjectMeta: name, Rules: rights.Rules},
		&rbacv1.RoleBinding{ObjectMeta: name,
			Subjects: []rbacv1.Subject{{Kind: "User", APIGroup: rbacv1.GroupName, Name: w.namespace}},
			RoleRef:  rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: "operator"}},
	} {
		if err := w.client.Create(w.t.Context(), o); err != nil {
			w.t.Fatal(err)
		}
	}
}

// start runs the operator, which knows nothing of an earlier one.
func (w *world) start() {
	w.t.Helper()
	config := cluster.Config()
	config.Impersonate = rest.ImpersonationConfig{UserName: w.namespace, Groups: []string{"system:authenticated"}}
	config.Wrap(func(next http.RoundTripper) http.RoundTripper {
		return roundTripper(func(r *http.Request) (*http.Response, error) {
			if r.Method != http.MethodGet {
				w.writes.Add(1)
			}
			return next.RoundTrip(r)
		})
	})
	selector, err := labels.Parse(w.shard)
	if err != nil {
		w.t.Fatal(err)
	}
	skip := true
	mgr, err := ctrl.NewManager(config, ctrl.Options{
		Scheme: scheme(w.t), Cache: store.CacheOptions([]string{w.namespace}, selector), Logger: logr.Discard(),
		Metrics:    metricsserver.Options{BindAddress: "0"},
		Controller: controllerconfig.Controller{SkipNameValidation: &skip},
	})
	if err != nil {
		w.t.Fatal(err)
	}
	if err := policies.Index(mgr); err != nil {
		w.t.Fatal(err)
	}
	r := &ratelimitpolicy.Reconciler{
		Client: mgr.GetClient(), Live: mgr.GetAPIReader(), Events: mgr.GetEventRecorder("gocart-operator"), Prober: w.pods, Now: w.clock.now,
	}
	if err := r.SetupWithManager(mgr, 2); err != nil {
		w.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := mgr.Start(ctx); err != nil {
			w.t.Errorf("the operator ended: %v", err)
		}
	}()
	w.stop = sync.OnceFunc(func() { cancel(); <-done })
	w.t.Cleanup(w.stop)
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// store makes a Store, of which nobody makes pods but the test.
func (w *world) store(name string) *v1alpha1.Store {
	w.t.Helper()
	s := &v1alpha1.Store{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: w.namespace}}
	s.Spec.Domains, s.Spec.TLS.Disabled = []string{"shop.example.com"}, new(true)
	if err := w.client.Create(w.t.Context(), s); err != nil {
		w.t.Fatal(err)
	}
	return s
}

// pod makes a ready pod of a Store's API that runs what the hash names.
func (w *world) pod(store string, n int, edge *status.Edge) {
	w.t.Helper()
	ip := fmt.Sprintf("10.0.0.%d", n)
	w.runs(n, edge)
	p := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("%s-api-%d", store, n), Namespace: w.namespace, Labels: plan.Labels(store, plan.ComponentAPI)},
		Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "api", Image: "gocart-runtime:1"}}},
	}
	if err := w.client.Create(w.t.Context(), p); err != nil {
		w.t.Fatal(err)
	}
	p.Status = corev1.PodStatus{
		Phase: corev1.PodRunning, PodIP: ip, PodIPs: []corev1.PodIP{{IP: ip}},
		Conditions: []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}},
	}
	if err := w.client.Status().Update(w.t.Context(), p); err != nil {
		w.t.Fatal(err)
	}
}

// runs sets what a pod tells; nil has it silent.
func (w *world) runs(n int, edge *status.Edge) {
	w.pods.mu.Lock()
	defer w.pods.mu.Unlock()
	ip := fmt.Sprintf("10.0.0.%d", n)
	if edge == nil {
		delete(w.pods.edges, ip)
		return
	}
	w.pods.edges[ip] = edge
}

func (w *world) policy(name, store, spec string) *v1alpha1.RateLimitPolicy {
	w.t.Helper()
	p := &v1alpha1.RateLimitPolicy{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: w.namespace}}
	if err := yaml.UnmarshalStrict([]byte(spec), &p.Spec); err != nil {
		w.t.Fatal(err)
	}
	p.Spec.TargetRef.Name = store
	if err := w.client.Create(w.t.Context(), p); err != nil {
		w.t.Fatal(err)
	}
	return p
}

func (w *world) change(name string, edit func(*v1alpha1.RateLimitPolicy)) {
	w.t.Helper()
	p := w.read(name)
	before := p.DeepCopy()
	edit(p)
	if err := w.client.Patch(w.t.Context(), p, client.MergeFrom(before)); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) read(name string) *v1alpha1.RateLimitPolicy {
	w.t.Helper()
	p := &v1alpha1.RateLimitPolicy{}
	if err := w.client.Get(w.t.Context(), client.ObjectKey{Namespace: w.namespace, Name: name}, p); err != nil {
		w.t.Fatal(err)
	}
	return p
}

// hash is what the pods of a Store are to run now.
func (w *world) hash(name string) string {
	w.t.Helper()
	s := &v1alpha1.Store{}
	if err := w.client.Get(w.t.Context(), client.ObjectKey{Namespace: w.namespace, Name: name}, s); err != nil {
		w.t.Fatal(err)
	}
	var all v1alpha1.RateLimitPolicyList
	if err := w.client.List(w.t.Context(), &all, client.InNamespace(w.namespace)); err != nil {
		w.t.Fatal(err)
	}
	var its []v1alpha1.RateLimitPolicy
	for _, p := range all.Items {
		if p.Spec.TargetRef.Name == name {
			its = append(its, p)
		}
	}
	e, err := plan.Edge(s, its)
	if err != nil {
		w.t.Fatal(err)
	}
	return e.Hash
}

// edge is a pod's that runs what it is to run.
func (w *world) edge(store string) *status.Edge {
	return &status.Edge{Hash: w.hash(store), Limits: status.Limits{Source: "redis"}}
}

func (w *world) eventually(what string, check func() error) {
	w.t.Helper()
	deadline := time.After(patience)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		err := check()
		if err == nil {
			return
		}
		select {
		case <-deadline:
			w.t.Fatalf("%s: %v", what, err)
		case <-tick.C:
		}
	}
}

// until waits for a condition of the policy as it is now.
func (w *world) until(name, condition string, want metav1.ConditionStatus, reason string, words ...string) *v1alpha1.RateLimitPolicy {
	w.t.Helper()
	var p *v1alpha1.RateLimitPolicy
	w.eventually(fmt.Sprintf("%s of %s to become %s %s", condition, name, want, reason), func() error {
		p = w.read(name)
		c := meta.FindStatusCondition(p.Status.Conditions, condition)
		if c == nil || c.Status != want || c.Reason != reason || c.ObservedGeneration != p.Generation || p.Status.ObservedGeneration != p.Generation {
			return fmt.Errorf("the status is\n%s", told(p))
		}
		for _, word := range words {
			if !strings.Contains(c.Message, word) {
				return fmt.Errorf("it does not say %q:\n%s", word, told(p))
			}
		}
		return nil
	})
	return p
}

func (w *world) untilEnforced(name, replicas string) *v1alpha1.RateLimitPolicy {
	w.t.Helper()
	p := w.until(name, v1alpha1.EnforcedCondition, metav1.ConditionTrue, v1alpha1.ReasonEnforced, replicas)
	if p.Status.EnforcedReplicas != replicas {
		w.t.Errorf("enforced replicas are %q, want %q", p.Status.EnforcedReplicas, replicas)
	}
	return p
}

func has(p *v1alpha1.RateLimitPolicy, condition string) bool {
	return meta.FindStatusCondition(p.Status.Conditions, condition) != nil
}

func told(p *v1alpha1.RateLimitPolicy) string {
	var b strings.Builder
	for _, c := range p.Status.Conditions {
		fmt.Fprintf(&b, "  %s=%s %s (generation %d of %d): %s\n", c.Type, c.Status, c.Reason, c.ObservedGeneration, p.Generation, c.Message)
	}
	return b.String()
}

// untilEvent waits for an event that says all the words.
func (w *world) untilEvent(kind, reason string, words ...string) {
	w.t.Helper()
	w.eventually(fmt.Sprintf("an event %s %q", reason, words), func() error {
		var list eventsv1.EventList
		if err := w.client.List(w.t.Context(), &list, client.InNamespace(w.namespace)); err != nil {
			return err
		}
		var all []string
		for _, e := range list.Items {
			line := e.Type + " " + e.Reason + ": " + e.Note
			all = append(all, line)
			missing := e.Type != kind || e.Reason != reason
			for _, word := range words {
				missing = missing || !strings.Contains(e.Note, word)
			}
			if !missing {
				return nil
			}
		}
		return fmt.Errorf("events are %q", all)
	})
}
