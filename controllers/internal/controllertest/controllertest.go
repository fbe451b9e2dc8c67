// Package controllertest runs controllers for tests: each test has a namespace of
// its own in a real API server, and an operator there with the rights of
// config/rbac/role.yaml and no others, so that every test shows them to suffice.
//
// Tests alone import it.
package controllertest

import (
	"context"
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
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"
	"sigs.k8s.io/yaml"

	v1alpha1 "gitee.com/captainjez/gocart/api/v1alpha1"
	"gitee.com/captainjez/gocart/controllers/internal/plan"
	"gitee.com/captainjez/gocart/controllers/store"
	"gitee.com/captainjez/gocart/internal/testenv"
)

// Patience bounds how long a test waits for something that ought to happen at
// once; a loaded machine needs it.
const Patience = 60 * time.Second

// Clock is moved by the test.
type Clock struct{ ahead atomic.Int64 }

// Now is the time by the clock.
func (c *Clock) Now() time.Time { return time.Now().Add(time.Duration(c.ahead.Load())) }

// Forward has the clock go before the world's, by so much in all.
func (c *Clock) Forward(by time.Duration) { c.ahead.Store(int64(by)) }

// World is a test's namespace and the operator that looks after it.
type World struct {
	T         testing.TB
	Namespace string
	// Client is an administrator's, uncached.
	Client client.WithWatch
	Clock  *Clock
	// Writes counts the operator's requests that change something.
	Writes *atomic.Int64
	// Stop ends the operator, which Start began.
	Stop func()

	cluster *testenv.Cluster
}

// New makes a namespace, and grants the operator its rights there.
func New(t testing.TB, cluster *testenv.Cluster) *World {
	t.Helper()
	w := &World{T: t, Namespace: cluster.Namespace(t), Client: cluster.Client(t), Clock: &Clock{}, Writes: &atomic.Int64{}, cluster: cluster}
	name := metav1.ObjectMeta{Name: "operator", Namespace: w.Namespace}
	for _, o := range []client.Object{
		&rbacv1.Role{ObjectMeta: name, Rules: rights(t)},
		&rbacv1.RoleBinding{ObjectMeta: name,
			Subjects: []rbacv1.Subject{{Kind: "User", APIGroup: rbacv1.GroupName, Name: w.Namespace}},
			RoleRef:  rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: "operator"}},
	} {
		if err := w.Client.Create(t.Context(), o); err != nil {
			t.Fatal(err)
		}
	}
	return w
}

// rights are found from the folder of a controller's package, where its tests run.
func rights(t testing.TB) []rbacv1.PolicyRule {
	t.Helper()
	raw, err := os.ReadFile("../../config/rbac/role.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var role rbacv1.ClusterRole
	if err := yaml.Unmarshal(raw, &role); err != nil {
		t.Fatal(err)
	}
	return role.Rules
}

// Start runs an operator, which knows nothing of an earlier one, for Stores with
// the labels of the shard: all for "".
func (w *World) Start(shard string, setup func(ctrl.Manager) error) {
	w.T.Helper()
	config := w.cluster.Config()
	config.Impersonate = rest.ImpersonationConfig{UserName: w.Namespace, Groups: []string{"system:authenticated"}}
	config.Wrap(func(next http.RoundTripper) http.RoundTripper {
		return roundTripper(func(r *http.Request) (*http.Response, error) {
			if r.Method != http.MethodGet {
				w.Writes.Add(1)
			}
			return next.RoundTrip(r)
		})
	})
	selector, err := labels.Parse(shard)
	if err != nil {
		w.T.Fatal(err)
	}
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{clientgoscheme.AddToScheme, v1alpha1.AddToScheme} {
		if err := add(scheme); err != nil {
			w.T.Fatal(err)
		}
	}
	skip := true
	mgr, err := ctrl.NewManager(config, ctrl.Options{
		Scheme: scheme, Cache: store.CacheOptions([]string{w.Namespace}, selector), Logger: logr.Discard(),
		Metrics:    metricsserver.Options{BindAddress: "0"},
		Controller: controllerconfig.Controller{SkipNameValidation: &skip},
	})
	if err != nil {
		w.T.Fatal(err)
	}
	if err := setup(mgr); err != nil {
		w.T.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := mgr.Start(ctx); err != nil {
			w.T.Errorf("the operator ended: %v", err)
		}
	}()
	w.Stop = sync.OnceFunc(func() { cancel(); <-done })
	w.T.Cleanup(w.Stop)
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// Create makes an object in the namespace.
func (w *World) Create(o client.Object) {
	w.T.Helper()
	o.SetNamespace(w.Namespace)
	if err := w.Client.Create(w.T.Context(), o); err != nil {
		w.T.Fatal(err)
	}
}

// Get reads an object that has to be there.
func (w *World) Get(name string, into client.Object) {
	w.T.Helper()
	if err := w.Client.Get(w.T.Context(), client.ObjectKey{Namespace: w.Namespace, Name: name}, into); err != nil {
		w.T.Fatal(err)
	}
}

// Store makes a Store, of which nobody makes pods but the test.
func (w *World) Store(name string) *v1alpha1.Store {
	w.T.Helper()
	s := &v1alpha1.Store{ObjectMeta: metav1.ObjectMeta{Name: name}}
	s.Spec.Domains, s.Spec.TLS.Disabled = []string{"shop.example.com"}, new(true)
	w.Create(s)
	return s
}

// Pod makes a ready pod of a Store's component, with an address.
func (w *World) Pod(store, component string, n int, ip string) {
	w.T.Helper()
	p := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("%s-%s-%d", store, component, n), Labels: plan.Labels(store, component)},
		Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: component, Image: "gocart-runtime:1"}}},
	}
	w.Create(p)
	p.Status = corev1.PodStatus{
		Phase: corev1.PodRunning, PodIP: ip, PodIPs: []corev1.PodIP{{IP: ip}},
		Conditions: []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}},
	}
	if err := w.Client.Status().Update(w.T.Context(), p); err != nil {
		w.T.Fatal(err)
	}
}

// Eventually waits until check returns nil.
func (w *World) Eventually(what string, check func() error) {
	w.T.Helper()
	deadline := time.After(Patience)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		err := check()
		if err == nil {
			return
		}
		select {
		case <-deadline:
			w.T.Fatalf("%s: %v", what, err)
		case <-tick.C:
		}
	}
}

// Condition checks a condition of an object, and that it is of its generation;
// words are those that its message has to say.
func Condition(o client.Object, all []metav1.Condition, condition string, want metav1.ConditionStatus, reason string, words ...string) error {
	c := meta.FindStatusCondition(all, condition)
	if c == nil || c.Status != want || c.Reason != reason || c.ObservedGeneration != o.GetGeneration() {
		return fmt.Errorf("the conditions are\n%s", Told(o, all))
	}
	for _, word := range words {
		if !strings.Contains(c.Message, word) {
			return fmt.Errorf("it does not say %q:\n%s", word, Told(o, all))
		}
	}
	return nil
}

// Told is what kubectl describe shows of conditions.
func Told(o client.Object, all []metav1.Condition) string {
	var b strings.Builder
	for _, c := range all {
		fmt.Fprintf(&b, "  %s=%s %s (generation %d of %d): %s\n", c.Type, c.Status, c.Reason, c.ObservedGeneration, o.GetGeneration(), c.Message)
	}
	return b.String()
}

// UntilEvent waits for an event that says all the words.
func (w *World) UntilEvent(kind, reason string, words ...string) {
	w.T.Helper()
	w.Eventually(fmt.Sprintf("an event %s %q", reason, words), func() error {
		var list eventsv1.EventList
		if err := w.Client.List(w.T.Context(), &list, client.InNamespace(w.Namespace)); err != nil {
			return err
		}
		var all []string
		for _, e := range list.Items {
			all = append(all, e.Type+" "+e.Reason+": "+e.Note)
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
