package ratelimitpolicy_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/go-logr/logr"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/yaml"

	v1alpha1 "gitee.com/captainjez/gocart/api/v1alpha1"
	"gitee.com/captainjez/gocart/controllers/internal/controllertest"
	"gitee.com/captainjez/gocart/controllers/internal/plan"
	"gitee.com/captainjez/gocart/controllers/internal/policies"
	"gitee.com/captainjez/gocart/controllers/ratelimitpolicy"
	"gitee.com/captainjez/gocart/internal/testenv"
	"gitee.com/captainjez/gocart/runtime/status"
)

var cluster testenv.Cluster

func TestMain(m *testing.M) {
	log.SetLogger(logr.Discard())
	os.Exit(cluster.Run(m))
}

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

// world is a test's namespace, with pods that tell which settings they run.
type world struct {
	*controllertest.World
	t     *testing.T
	pods  *pods
	shard string
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{World: controllertest.New(t, &cluster), t: t, pods: &pods{edges: map[string]*status.Edge{}}}
	w.start()
	return w
}

func (w *world) start() {
	w.t.Helper()
	w.Start(w.shard, func(mgr ctrl.Manager) error {
		if err := policies.Index(mgr); err != nil {
			return err
		}
		r := &ratelimitpolicy.Reconciler{
			Client: mgr.GetClient(), Live: mgr.GetAPIReader(), Events: mgr.GetEventRecorder("gocart-operator"), Prober: w.pods, Now: w.Clock.Now,
		}
		return r.SetupWithManager(mgr, 2)
	})
}

// pod makes a ready pod of a Store's API that runs what the hash names.
func (w *world) pod(store string, n int, edge *status.Edge) {
	w.t.Helper()
	w.runs(n, edge)
	w.Pod(store, plan.ComponentAPI, n, fmt.Sprintf("10.0.0.%d", n))
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
	p := &v1alpha1.RateLimitPolicy{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: w.Namespace}}
	if err := yaml.UnmarshalStrict([]byte(spec), &p.Spec); err != nil {
		w.t.Fatal(err)
	}
	p.Spec.TargetRef.Name = store
	if err := w.Client.Create(w.t.Context(), p); err != nil {
		w.t.Fatal(err)
	}
	return p
}

func (w *world) change(name string, edit func(*v1alpha1.RateLimitPolicy)) {
	w.t.Helper()
	p := w.read(name)
	before := p.DeepCopy()
	edit(p)
	if err := w.Client.Patch(w.t.Context(), p, client.MergeFrom(before)); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) read(name string) *v1alpha1.RateLimitPolicy {
	w.t.Helper()
	p := &v1alpha1.RateLimitPolicy{}
	if err := w.Client.Get(w.t.Context(), client.ObjectKey{Namespace: w.Namespace, Name: name}, p); err != nil {
		w.t.Fatal(err)
	}
	return p
}

// hash is what the pods of a Store are to run now.
func (w *world) hash(name string) string {
	w.t.Helper()
	s := &v1alpha1.Store{}
	if err := w.Client.Get(w.t.Context(), client.ObjectKey{Namespace: w.Namespace, Name: name}, s); err != nil {
		w.t.Fatal(err)
	}
	var all v1alpha1.RateLimitPolicyList
	if err := w.Client.List(w.t.Context(), &all, client.InNamespace(w.Namespace)); err != nil {
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

// until waits for a condition of the policy as it is now.
func (w *world) until(name, condition string, want metav1.ConditionStatus, reason string, words ...string) *v1alpha1.RateLimitPolicy {
	w.t.Helper()
	var p *v1alpha1.RateLimitPolicy
	w.Eventually(fmt.Sprintf("%s of %s to become %s %s", condition, name, want, reason), func() error {
		p = w.read(name)
		if p.Status.ObservedGeneration != p.Generation {
			return fmt.Errorf("the status is\n%s", told(p))
		}
		return controllertest.Condition(p, p.Status.Conditions, condition, want, reason, words...)
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

func told(p *v1alpha1.RateLimitPolicy) string { return controllertest.Told(p, p.Status.Conditions) }
