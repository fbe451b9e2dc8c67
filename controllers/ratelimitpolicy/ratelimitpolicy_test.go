package ratelimitpolicy_test

import (
	"fmt"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1alpha1 "gitee.com/captainjez/gocart/api/v1alpha1"
	"gitee.com/captainjez/gocart/runtime/status"
)

func TestAPolicyIsEnforcedWhenEveryReadyPodRunsIt(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.Store("shop")
	before := w.edge("shop")
	for n := range 3 {
		w.pod("shop", n, before)
	}
	w.policy("limits", "shop", `address: {windows: [{requests: 10, period: 1m}]}`)
	p := w.until("limits", v1alpha1.EnforcedCondition, metav1.ConditionFalse, v1alpha1.ReasonPropagating, "0/3 ready pods run it", "pod shop-api-0 still runs the settings before, and 2 more")
	if p.Status.EnforcedReplicas != "0/3" || !has(p, v1alpha1.ReconcilingCondition) || has(p, v1alpha1.StalledCondition) {
		t.Errorf("%s\n%s", p.Status.EnforcedReplicas, told(p))
	}
	w.until("limits", v1alpha1.AcceptedCondition, metav1.ConditionTrue, v1alpha1.ReasonAccepted, "Store shop")
	now := w.edge("shop")
	w.runs(0, now)
	w.runs(1, now)
	w.until("limits", v1alpha1.EnforcedCondition, metav1.ConditionFalse, v1alpha1.ReasonPropagating, "2/3", "shop-api-2")
	w.runs(2, now)
	p = w.untilEnforced("limits", "3/3")
	if p.Status.PolicyHash != now.Hash || p.Status.Source != "Redis" || has(p, v1alpha1.ReconcilingCondition) {
		t.Errorf("status is %+v", p.Status)
	}
	w.UntilEvent(corev1.EventTypeNormal, "Enforced", "3/3")
}

func TestAnEditIsNotEnforcedUntilThePodsRunIt(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.Store("shop")
	w.policy("limits", "shop", `failureMode: Open`)
	w.pod("shop", 0, w.edge("shop"))
	first := w.untilEnforced("limits", "1/1")
	w.change("limits", func(p *v1alpha1.RateLimitPolicy) { p.Spec.FailureMode = new(v1alpha1.FailureClosed) })
	second := w.until("limits", v1alpha1.EnforcedCondition, metav1.ConditionFalse, v1alpha1.ReasonPropagating, "0/1")
	if first.Status.PolicyHash == second.Status.PolicyHash || second.Status.PolicyHash != w.hash("shop") {
		t.Errorf("the hash was %s and is %s", first.Status.PolicyHash, second.Status.PolicyHash)
	}
	w.runs(0, w.edge("shop"))
	w.untilEnforced("limits", "1/1")
}

func TestAPodThatFallsBehindIsToldWithoutAnyEvent(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.Store("shop")
	w.policy("limits", "shop", `failureMode: Open`)
	now := w.edge("shop")
	w.pod("shop", 0, now)
	w.pod("shop", 1, now)
	w.untilEnforced("limits", "2/2")
	w.runs(1, &status.Edge{Hash: "of-old", Error: "edge.yaml: limits.block: no such thing"})
	w.until("limits", v1alpha1.EnforcedCondition, metav1.ConditionFalse, v1alpha1.ReasonPodRefuses, "1/2", "pod shop-api-1 refuses the settings", "limits.block")
	w.UntilEvent(corev1.EventTypeWarning, "NotEnforced", "shop-api-1")
	w.runs(1, nil)
	w.until("limits", v1alpha1.EnforcedCondition, metav1.ConditionFalse, v1alpha1.ReasonPodSilent, "pod shop-api-1 does not answer", "connection refused")
	w.runs(1, now)
	w.untilEnforced("limits", "2/2")
}

func TestAPodWhoseImageKnowsNoLimitsIsNamed(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.Store("shop")
	w.policy("limits", "shop", `failureMode: Open`)
	p := w.until("limits", v1alpha1.EnforcedCondition, metav1.ConditionFalse, v1alpha1.ReasonNoReadyPods, "no api pod of Store shop is ready")
	if p.Status.EnforcedReplicas != "0/0" || p.Status.AttackLevel != nil {
		t.Errorf("status is %+v", p.Status)
	}
	w.pod("shop", 0, &status.Edge{})
	w.pods.mu.Lock()
	w.pods.edges["10.0.0.0"] = nil
	w.pods.mu.Unlock()
	w.until("limits", v1alpha1.EnforcedCondition, metav1.ConditionFalse, v1alpha1.ReasonPodRefuses, "pod shop-api-0 knows of no limits", "newer spec.image")
}

func TestAPolicyWaitsForItsStore(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.policy("limits", "shop", `failureMode: Open`)
	p := w.until("limits", v1alpha1.AcceptedCondition, metav1.ConditionFalse, v1alpha1.ReasonTargetNotFound, "there is no Store shop in namespace "+w.Namespace, "targetRef.name")
	if !has(p, v1alpha1.StalledCondition) || p.Status.EnforcedReplicas != "" {
		t.Errorf("%q\n%s", p.Status.EnforcedReplicas, told(p))
	}
	w.until("limits", v1alpha1.EnforcedCondition, metav1.ConditionFalse, v1alpha1.ReasonNotAccepted)
	w.UntilEvent(corev1.EventTypeWarning, v1alpha1.ReasonTargetNotFound)
	s := w.Store("shop")
	w.pod("shop", 0, w.edge("shop"))
	p = w.untilEnforced("limits", "1/1")
	if has(p, v1alpha1.StalledCondition) {
		t.Errorf("it is stalled on:\n%s", told(p))
	}
	w.UntilEvent(corev1.EventTypeNormal, v1alpha1.ReasonAccepted)
	if err := w.Client.Delete(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	w.until("limits", v1alpha1.AcceptedCondition, metav1.ConditionFalse, v1alpha1.ReasonTargetNotFound)
}

func TestAPolicyThatIsGivenAnotherStoreIsOfThatOne(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.Store("shop")
	w.Store("other")
	w.policy("limits", "shop", `global: {windows: [{requests: 9, period: 1m}]}`)
	second := w.policy("second", "shop", `global: {windows: [{requests: 7, period: 1m}]}`)
	// Of the same second, the name decides.
	w.until("second", v1alpha1.OverriddenCondition, metav1.ConditionTrue, v1alpha1.ReasonOlderPolicy, "spec.global (by limits)")
	w.change(second.Name, func(p *v1alpha1.RateLimitPolicy) { p.Spec.TargetRef.Name = "other" })
	p := w.until("second", v1alpha1.AcceptedCondition, metav1.ConditionTrue, v1alpha1.ReasonAccepted, "Store other")
	if has(p, v1alpha1.OverriddenCondition) {
		t.Errorf("it is overridden on:\n%s", told(p))
	}
}

func TestTheYoungerOfTwoPoliciesIsToldWhatItLost(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.Store("shop")
	w.policy("a", "shop", `{address: {windows: [{requests: 9, period: 1m}]}, rules: [{name: r, cost: 2}]}`)
	w.policy("b", "shop", `{address: {windows: [{requests: 7, period: 1m}]}, rules: [{name: r, cost: 3}], blocklist: {cidrs: [192.0.2.0/24]}}`)
	now := w.edge("shop")
	w.pod("shop", 0, now)
	w.until("b", v1alpha1.OverriddenCondition, metav1.ConditionTrue, v1alpha1.ReasonOlderPolicy, "an older policy decides spec.address (by a), spec.rules[r] (by a)")
	if a := w.untilEnforced("a", "1/1"); has(a, v1alpha1.OverriddenCondition) {
		t.Errorf("the older one is overridden:\n%s", told(a))
	}
	w.untilEnforced("b", "1/1")
	if err := w.Client.Delete(t.Context(), w.read("a")); err != nil {
		t.Fatal(err)
	}
	b := w.until("b", v1alpha1.EnforcedCondition, metav1.ConditionFalse, v1alpha1.ReasonPropagating)
	if has(b, v1alpha1.OverriddenCondition) {
		t.Errorf("nobody is left to override it:\n%s", told(b))
	}
}

func TestALockoutIsNotEnforcedUntilItIsAcknowledged(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.Store("shop")
	w.pod("shop", 0, w.edge("shop"))
	w.policy("lockout", "shop", `blocklist: {cidrs: [0.0.0.0/1, 128.0.0.0/1]}`)
	w.until("lockout", v1alpha1.AcceptedCondition, metav1.ConditionFalse, v1alpha1.ReasonLockoutNotAcknowledged, "spec.blocklist holds all of IPv4", "spec.acknowledgeLockout: true")
	w.until("lockout", v1alpha1.EnforcedCondition, metav1.ConditionFalse, v1alpha1.ReasonNotAccepted)
	w.change("lockout", func(p *v1alpha1.RateLimitPolicy) { p.Spec.AcknowledgeLockout = new(true) })
	w.until("lockout", v1alpha1.AcceptedCondition, metav1.ConditionTrue, v1alpha1.ReasonAccepted)
	w.runs(0, w.edge("shop"))
	w.untilEnforced("lockout", "1/1")
}

func TestOfAPausedStoreItIsSaid(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.Store("shop")
	before := s.DeepCopy()
	s.Spec.Paused = true
	w.pod("shop", 0, w.edge("shop"))
	if err := w.Client.Patch(t.Context(), s, client.MergeFrom(before)); err != nil {
		t.Fatal(err)
	}
	w.policy("limits", "shop", `failureMode: Open`)
	p := w.until("limits", v1alpha1.EnforcedCondition, metav1.ConditionFalse, v1alpha1.ReasonPaused, "Store shop is paused", "spec.paused")
	if has(p, v1alpha1.ReconcilingCondition) {
		t.Errorf("it is on its way nowhere:\n%s", told(p))
	}
	w.until("limits", v1alpha1.AcceptedCondition, metav1.ConditionTrue, v1alpha1.ReasonAccepted)
}

func TestWhatThePodsTellIsAddedUp(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.Store("shop")
	w.policy("limits", "shop", `failureMode: Open`)
	hash := w.hash("shop")
	w.pod("shop", 0, &status.Edge{Hash: hash, Limits: status.Limits{Source: "redis", Refused: 30, Bans: 2}})
	w.pod("shop", 1, &status.Edge{Hash: hash, Limits: status.Limits{Source: "open", Refused: 10, Bans: 3, AttackLevel: 2}})
	w.untilEnforced("limits", "2/2")
	var s v1alpha1.RateLimitPolicyStatus
	w.Eventually("the sums", func() error {
		s = w.read("limits").Status
		if s.RefusedLastMinutes == nil || *s.RefusedLastMinutes != 40 || *s.Bans != 3 || *s.AttackLevel != 2 || s.Source != "Open" {
			return fmt.Errorf("status is %+v", s)
		}
		return nil
	})
	w.UntilEvent(corev1.EventTypeWarning, "UnderAttack", "attack level 2, before it was 0", "40 requests")
	w.runs(1, &status.Edge{Hash: hash, Limits: status.Limits{Source: "redis", AttackLevel: 1}})
	w.UntilEvent(corev1.EventTypeNormal, "AttackEases", "attack level 1, before it was 2")
	w.runs(1, &status.Edge{Hash: hash, Limits: status.Limits{Source: "redis"}})
	w.UntilEvent(corev1.EventTypeNormal, "AttackOver", "before it was 1")
}

func TestCountsAloneAreWrittenEveryHalfMinuteAtMost(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.Store("shop")
	w.policy("limits", "shop", `failureMode: Open`)
	hash := w.hash("shop")
	w.pod("shop", 0, &status.Edge{Hash: hash, Limits: status.Limits{Source: "redis", Refused: 1}})
	w.untilEnforced("limits", "1/1")
	w.runs(0, &status.Edge{Hash: hash, Limits: status.Limits{Source: "redis", Refused: 2}})
	w.asked(2)
	if n := *w.read("limits").Status.RefusedLastMinutes; n != 1 {
		t.Errorf("%d were written at once", n)
	}
	w.Clock.Forward(time.Minute)
	w.Eventually("the count to be written", func() error {
		if n := *w.read("limits").Status.RefusedLastMinutes; n != 2 {
			return fmt.Errorf("it is %d", n)
		}
		return nil
	})
}

// asked waits until the pods were asked so many times more.
func (w *world) asked(times int64) {
	w.t.Helper()
	before := w.pods.asked.Load()
	w.Eventually("the pods to be asked", func() error {
		// A pod that changes has them asked at once.
		var list corev1.PodList
		if err := w.Client.List(w.t.Context(), &list, client.InNamespace(w.Namespace)); err != nil {
			return err
		}
		p := &list.Items[0]
		patch := client.RawPatch("application/merge-patch+json", fmt.Appendf(nil, `{"metadata":{"annotations":{"test":"%d"}}}`, time.Now().UnixNano()))
		if err := w.Client.Patch(w.t.Context(), p, patch); err != nil {
			return err
		}
		if n := w.pods.asked.Load() - before; n < times {
			return fmt.Errorf("they were asked %d times", n)
		}
		return nil
	})
}

func TestASteadyPolicyIsNeverWrittenAlsoAfterARestart(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.Store("shop")
	w.policy("a", "shop", `failureMode: Open`)
	w.policy("b", "shop", `failureMode: Closed`)
	w.policy("lockout", "shop", `blocklist: {cidrs: [0.0.0.0/1, 128.0.0.0/1]}`)
	w.policy("astray", "nowhere", `failureMode: Open`)
	w.pod("shop", 0, w.edge("shop"))
	w.untilEnforced("a", "1/1")
	w.untilEnforced("b", "1/1")
	w.until("astray", v1alpha1.AcceptedCondition, metav1.ConditionFalse, v1alpha1.ReasonTargetNotFound)
	w.UntilEvent(corev1.EventTypeNormal, "Enforced")
	w.asked(3)
	before := w.Writes.Load()
	w.asked(5)
	w.Stop()
	w.start()
	w.asked(5)
	if n := w.Writes.Load() - before; n > 0 {
		t.Errorf("a steady policy cost %d requests that write", n)
	}
}

func TestAPolicyOfAnotherOperatorsStoreIsLeftAlone(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.Stop()
	w.shard = "shard=one"
	w.Store("shop")
	w.policy("limits", "shop", `failureMode: Open`)
	w.policy("astray", "nowhere", `failureMode: Open`)
	w.start()
	w.until("astray", v1alpha1.AcceptedCondition, metav1.ConditionFalse, v1alpha1.ReasonTargetNotFound)
	if p := w.read("limits"); len(p.Status.Conditions) > 0 {
		t.Errorf("it was judged:\n%s", told(p))
	}
}
