package ratelimitpolicy

import (
	"context"
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1alpha1 "gitee.com/captainjez/gocart/api/v1alpha1"
	"gitee.com/captainjez/gocart/controllers/internal/conditions"
	"gitee.com/captainjez/gocart/controllers/internal/outcome"
	"gitee.com/captainjez/gocart/controllers/internal/plan"
)

// countsInterval is how often counts alone are written.
const countsInterval = 30 * time.Second

// report writes a policy's status, unless it says nothing new, and tells of
// changes in events. It returns false while the cache lags behind what was
// written before.
func (r *Reconciler) report(ctx context.Context, run *run, known *record, before *v1alpha1.RateLimitPolicy) (current bool, err error) {
	now := r.Now()
	if !before.DeletionTimestamp.IsZero() {
		return true, nil
	}
	if r.versions.Behind(before) {
		return false, nil
	}
	p := before.DeepCopy()
	r.judge(run, p)
	if equality.Semantic.DeepEqual(before.Status, p.Status) ||
		equality.Semantic.DeepEqual(withoutCounts(before.Status), withoutCounts(p.Status)) && now.Sub(known.written[p.UID]) < countsInterval {
		return true, nil
	}
	written := p.DeepCopy()
	if err := r.Client.Status().Patch(ctx, written, client.MergeFrom(before)); err != nil {
		return true, client.IgnoreNotFound(fmt.Errorf("writing the status of RateLimitPolicy %s: %w", p.Name, err))
	}
	known.wrote(written, now)
	r.versions.Wrote(written)
	r.tell(before, p)
	return true, nil
}

// judge fills in the status.
func (r *Reconciler) judge(run *run, p *v1alpha1.RateLimitPolicy) {
	verdict := plan.Verdict{Refused: outcome.Terminal(v1alpha1.ReasonTargetNotFound,
		"there is no Store %s in namespace %s: make it, or correct spec.targetRef.name", run.key.Name, run.key.Namespace)}
	if run.store != nil {
		verdict = run.edge.Verdicts[p.Name]
	}
	was := p.Status.Conditions
	p.Status = v1alpha1.RateLimitPolicyStatus{ObservedGeneration: p.Generation, Conditions: was}
	accepted, enforced := accepted(run, verdict), enforced(run, verdict)
	found := []metav1.Condition{accepted, enforced}
	switch {
	case accepted.Status != metav1.ConditionTrue:
		found = append(found, metav1.Condition{Type: v1alpha1.StalledCondition, Status: metav1.ConditionTrue, Reason: accepted.Reason, Message: accepted.Message})
	case enforced.Status != metav1.ConditionTrue && enforced.Reason != v1alpha1.ReasonPaused:
		found = append(found, metav1.Condition{Type: v1alpha1.ReconcilingCondition, Status: metav1.ConditionTrue, Reason: enforced.Reason, Message: enforced.Message})
	}
	if len(verdict.Overridden) > 0 {
		found = append(found, metav1.Condition{Type: v1alpha1.OverriddenCondition, Status: metav1.ConditionTrue, Reason: v1alpha1.ReasonOlderPolicy,
			Message: "an older policy decides " + strings.Join(verdict.Overridden, ", ")})
	}
	conditions.Replace(&p.Status.Conditions, p.Generation, r.Now(), found...)
	if verdict.Refused != nil {
		return
	}
	p.Status.PolicyHash = run.edge.Hash
	p.Status.EnforcedReplicas = run.rollout.String()
	if l := run.rollout.limits; run.rollout.heard > 0 {
		if l.Source != "" {
			p.Status.Source = strings.ToUpper(l.Source[:1]) + l.Source[1:]
		}
		p.Status.RefusedLastMinutes, p.Status.Bans, p.Status.AttackLevel = &l.Refused, &l.Bans, new(int32(l.AttackLevel))
	}
}

func accepted(run *run, v plan.Verdict) metav1.Condition {
	c := metav1.Condition{Type: v1alpha1.AcceptedCondition, Status: metav1.ConditionFalse}
	if v.Refused == nil {
		c.Status, c.Reason, c.Message = metav1.ConditionTrue, v1alpha1.ReasonAccepted, "takes part in the limits of Store "+run.key.Name
		return c
	}
	c.Reason, c.Message = v1alpha1.ReasonError, v.Refused.Error()
	if e, ok := outcome.As(v.Refused); ok {
		c.Reason, c.Message = e.Reason, e.Message
	}
	return c
}

func enforced(run *run, v plan.Verdict) metav1.Condition {
	c := metav1.Condition{Type: v1alpha1.EnforcedCondition, Status: metav1.ConditionFalse}
	o := run.rollout
	switch {
	case v.Refused != nil:
		c.Reason, c.Message = v1alpha1.ReasonNotAccepted, "the policy takes no part: see the condition Accepted"
	case o.complete():
		c.Status, c.Reason = metav1.ConditionTrue, v1alpha1.ReasonEnforced
		c.Message = fmt.Sprintf("%s ready pods run it", o)
	case run.store.Spec.Paused:
		c.Reason, c.Message = v1alpha1.ReasonPaused, fmt.Sprintf("Store %s is paused: remove its spec.paused; %s ready pods run the policy", run.key.Name, o)
	case o.ready == 0:
		c.Reason, c.Message = v1alpha1.ReasonNoReadyPods, fmt.Sprintf("no api pod of Store %s is ready", run.key.Name)
	default:
		c.Reason, c.Message = o.reason, fmt.Sprintf("%s ready pods run it; %s", o, o.lagging)
	}
	return c
}

// withoutCounts is a status without what changes all the time.
func withoutCounts(s v1alpha1.RateLimitPolicyStatus) v1alpha1.RateLimitPolicyStatus {
	s.RefusedLastMinutes, s.Bans = nil, nil
	return s
}

// tell makes events of what changed for a person to know.
func (r *Reconciler) tell(before, after *v1alpha1.RateLimitPolicy) {
	event := func(kind, reason, message string) {
		r.Events.Eventf(after, nil, kind, reason, "Reconcile", "%s", message)
	}
	was, is := conditionsOf(before), conditionsOf(after)
	switch {
	case is.accepted.Status == metav1.ConditionTrue && was.accepted.Status == metav1.ConditionFalse:
		event(corev1.EventTypeNormal, is.accepted.Reason, is.accepted.Message)
	case is.accepted.Status == metav1.ConditionFalse && (was.accepted.Status != metav1.ConditionFalse || was.accepted.Reason != is.accepted.Reason):
		event(corev1.EventTypeWarning, is.accepted.Reason, is.accepted.Message)
	}
	switch {
	case is.enforced.Status == metav1.ConditionTrue && was.enforced.Status != metav1.ConditionTrue:
		event(corev1.EventTypeNormal, v1alpha1.ReasonEnforced, is.enforced.Message)
	case is.enforced.Status == metav1.ConditionFalse && was.enforced.Status == metav1.ConditionTrue && before.Status.PolicyHash == after.Status.PolicyHash:
		// By itself, and not because somebody changed something.
		event(corev1.EventTypeWarning, "NotEnforced", is.enforced.Message)
	}
	if before.Status.AttackLevel == nil && after.Status.AttackLevel == nil {
		return
	}
	from, to := levelOf(before), levelOf(after)
	refused := int64(0)
	if n := after.Status.RefusedLastMinutes; n != nil {
		refused = *n
	}
	switch {
	case to > from:
		event(corev1.EventTypeWarning, "UnderAttack", fmt.Sprintf("attack level %d, before it was %d: %d requests were refused within five minutes", to, from, refused))
	case to < from && to > 0:
		event(corev1.EventTypeNormal, "AttackEases", fmt.Sprintf("attack level %d, before it was %d", to, from))
	case to < from:
		event(corev1.EventTypeNormal, "AttackOver", fmt.Sprintf("attack level 0, before it was %d", from))
	}
}

func levelOf(p *v1alpha1.RateLimitPolicy) int32 {
	if p.Status.AttackLevel == nil {
		return 0
	}
	return *p.Status.AttackLevel
}

type told struct{ accepted, enforced metav1.Condition }

func conditionsOf(p *v1alpha1.RateLimitPolicy) (t told) {
	if c := apimeta.FindStatusCondition(p.Status.Conditions, v1alpha1.AcceptedCondition); c != nil {
		t.accepted = *c
	}
	if c := apimeta.FindStatusCondition(p.Status.Conditions, v1alpha1.EnforcedCondition); c != nil {
		t.enforced = *c
	}
	return t
}
