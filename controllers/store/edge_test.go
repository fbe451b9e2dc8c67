package store_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	v1alpha1 "gitee.com/captainjez/gocart/api/v1alpha1"
	"gitee.com/captainjez/gocart/controllers/internal/plan"
	"gitee.com/captainjez/gocart/runtime/config"
	"gitee.com/captainjez/gocart/runtime/status"
)

// runsEdge has the pods tell that they run the edge.yaml of this hash.
func (w *world) runsEdge(edge status.Edge) {
	w.t.Helper()
	s := allIsWell
	s.Edge = &edge
	w.machines.see(w.t, s)
}

// edge is the Store's edge.yaml as it is in its ConfigMap.
func (w *world) edge(store string) (config.Edge, string) {
	w.t.Helper()
	raw := []byte(fetch(w, store+"-config", &corev1.ConfigMap{}).Data["edge.yaml"])
	e, err := config.ParseEdge(raw)
	if err != nil {
		w.t.Fatalf("the runtime would refuse edge.yaml: %v\n%s", err, raw)
	}
	return e, config.EdgeHash(raw)
}

// untilEdge waits for the Store's edge.yaml to be so, and returns its hash.
func (w *world) untilEdge(store, what string, so func(config.Edge) bool) (hash string) {
	w.t.Helper()
	w.eventually("edge.yaml to say "+what, func() error {
		var e config.Edge
		if e, hash = w.edge(store); !so(e) {
			return fmt.Errorf("it is %+v", e)
		}
		return nil
	})
	return hash
}

func (w *world) untilNudged(store string, value string) {
	w.t.Helper()
	w.eventually("the pod to be annotated with "+value, func() error {
		if is := fetch(w, store+"-api-0", &corev1.Pod{}).Annotations[plan.AnnotationEdge]; is != value {
			return fmt.Errorf("it has %q", is)
		}
		return nil
	})
}

func (w *world) policy(name, spec string) *v1alpha1.RateLimitPolicy {
	w.t.Helper()
	p := &v1alpha1.RateLimitPolicy{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: w.namespace}}
	if err := yaml.UnmarshalStrict([]byte(spec), &p.Spec); err != nil {
		w.t.Fatal(err)
	}
	if err := w.client.Create(w.t.Context(), p); err != nil {
		w.t.Fatal(err)
	}
	return p
}

func TestAnEdgeThatChangesReachesThePodsThatRun(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.create("shop", withoutTLS)
	w.untilReady("shop")
	_, first := w.edge("shop")
	w.runsEdge(status.Edge{Hash: first})
	w.quiet("shop")
	template := fetch(w, "shop-api", &appsv1.Deployment{}).Spec.Template.DeepCopy()
	pod := fetch(w, "shop-api-0", &corev1.Pod{})
	if _, nudged := pod.Annotations[plan.AnnotationEdge]; nudged {
		t.Errorf("a pod that runs the settings was nudged: %v", pod.Annotations)
	}

	w.change("shop", func(s *v1alpha1.Store) {
		s.Spec.Security = &v1alpha1.SecuritySpec{TrustedProxies: []string{"10.0.0.0/8"}}
	})
	second := w.untilEdge("shop", "whom to trust", func(e config.Edge) bool { return slices.Equal(e.TrustedProxies, []string{"10.0.0.0/8"}) })
	w.untilNudged("shop", second)
	w.until("shop", v1alpha1.ReadyCondition, metav1.ConditionFalse, v1alpha1.ReasonPropagating)
	w.untilNudged("shop", second+".2") // the kubelet may have been nudged too soon
	w.runsEdge(status.Edge{Hash: first, Error: "trustedProxies: no such thing"})
	if s := w.until("shop", v1alpha1.ReadyCondition, metav1.ConditionFalse, v1alpha1.ReasonPodRefuses); !strings.Contains(told(s), "shop-api-0 refuses the settings of edge.yaml: trustedProxies") {
		t.Errorf("it is not told why:\n%s", told(s))
	}
	w.runsEdge(status.Edge{Hash: second})
	w.untilReady("shop")
	w.quiet("shop")
	after := fetch(w, "shop-api", &appsv1.Deployment{}).Spec.Template
	if !equality.Semantic.DeepEqual(*template, after) || fetch(w, "shop-api-0", &corev1.Pod{}).UID != pod.UID {
		t.Error("the pods were rolled")
	}
	before := len(w.operator.requests.about(w.namespace))
	for range 5 {
		w.nudge("shop")
	}
	if sent := w.operator.requests.about(w.namespace)[before:]; len(sent) > 0 {
		t.Errorf("five reconciles of a steady Store sent %v", sent)
	}
}

func TestAnOperatorThatStartsAgainNudgesNobody(t *testing.T) {
	t.Parallel()
	w := privateWorld(t)
	grant(t, w.namespace+"-operator", w.namespace)
	w.start(release)
	w.create("shop", withoutTLS)
	w.untilReady("shop")
	w.policy("limits", `{targetRef: {name: shop}, failureMode: Open}`)
	hash := w.untilEdge("shop", "what the policy does", func(e config.Edge) bool { return e.Limits.FailureMode == config.FailureOpen })
	w.runsEdge(status.Edge{Hash: hash})
	w.quiet("shop")
	w.operator.stop()
	w.start(release)
	w.quiet("shop")
	for _, r := range w.operator.requests.about(w.namespace) {
		if r.method != "GET" {
			t.Errorf("it sent %s", r)
		}
	}
}

func TestPoliciesMakeTheEdgeAndTheirDeletionRestoresTheDefaults(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.create("shop", withoutTLS)
	w.untilReady("shop")
	e, plain := w.edge("shop")
	if fmt.Sprint(e.Limits) != fmt.Sprint(config.DefaultLimits()) {
		t.Errorf("a Store without a policy has the limits %+v", e.Limits)
	}
	w.runsEdge(status.Edge{Hash: plain})
	w.quiet("shop")

	p := w.policy("limits", `{targetRef: {name: shop}, address: {windows: [{requests: 7, period: 1m}]}}`)
	w.policy("lockout", `{targetRef: {name: shop}, blocklist: {cidrs: [0.0.0.0/1, 128.0.0.0/1]}}`)
	w.policy("elsewhere", `{targetRef: {name: other}, failureMode: Closed}`)
	hash := w.untilEdge("shop", "seven requests", func(e config.Edge) bool { return e.Limits.Address[0].Requests == 7 })
	w.untilNudged("shop", hash)
	// A policy on its way does not make a Store unready that was ready before.
	s := w.store("shop")
	if c := meta.FindStatusCondition(s.Status.Conditions, v1alpha1.ReadyCondition); c.Status != metav1.ConditionTrue {
		t.Errorf("the Store is not ready while its pods learn of a policy:\n%s", told(s))
	}
	if e, _ := w.edge("shop"); len(e.Limits.Block) > 0 || e.Limits.FailureMode != config.FailureLocal {
		t.Errorf("a policy that is refused, or another Store's, takes part: %+v", e.Limits)
	}
	w.runsEdge(status.Edge{Hash: hash})
	w.quiet("shop")
	if err := w.client.Delete(t.Context(), p); client.IgnoreNotFound(err) != nil {
		t.Fatal(err)
	}
	w.untilEdge("shop", "the defaults", func(e config.Edge) bool { return e.Limits.Address[0].Requests == 60 })
	w.untilNudged("shop", plain)
}

func TestAPausedStoreLearnsOfNoPolicy(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.create("shop", withoutTLS)
	w.untilReady("shop")
	_, before := w.edge("shop")
	w.change("shop", func(s *v1alpha1.Store) { s.Spec.Paused = true })
	w.until("shop", v1alpha1.ReadyCondition, metav1.ConditionUnknown, v1alpha1.ReasonPaused)
	w.policy("limits", `{targetRef: {name: shop}, failureMode: Open}`)
	w.runsEdge(status.Edge{Hash: "of-old"})
	w.quiet("shop")
	if _, after := w.edge("shop"); after != before {
		t.Error("edge.yaml was changed")
	}
	if a := fetch(w, "shop-api-0", &corev1.Pod{}).Annotations[plan.AnnotationEdge]; a != "" {
		t.Errorf("its pod was annotated with %q", a)
	}
	w.change("shop", func(s *v1alpha1.Store) { s.Spec.Paused = false })
	w.untilNudged("shop", w.untilEdge("shop", "what the policy does", func(e config.Edge) bool { return e.Limits.FailureMode == config.FailureOpen }))
}
