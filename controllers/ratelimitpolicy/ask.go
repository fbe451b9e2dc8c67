package ratelimitpolicy

import (
	"context"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1alpha1 "gitee.com/captainjez/gocart/api/v1alpha1"
	"gitee.com/captainjez/gocart/controllers/internal/plan"
	"gitee.com/captainjez/gocart/controllers/internal/probe"
	"gitee.com/captainjez/gocart/runtime/status"
)

// rollout is what the ready pods of a Store's API tell.
type rollout struct {
	ready, enforcing int
	// reason and lagging say which pod is behind, and why.
	reason, lagging string
	// limits are those of all pods together; heard counts the pods that told.
	limits status.Limits
	heard  int
}

func (o rollout) complete() bool { return o.ready > 0 && o.enforcing == o.ready }

// String is the pods that run the settings, of those that are ready.
func (o rollout) String() string { return fmt.Sprintf("%d/%d", o.enforcing, o.ready) }

// ask has every ready pod tell which settings it runs.
func (r *Reconciler) ask(ctx context.Context, s *v1alpha1.Store, hash string) (rollout, error) {
	var pods corev1.PodList
	err := r.Client.List(ctx, &pods, client.InNamespace(s.Namespace), client.MatchingLabels(plan.Selector(s.Name, plan.ComponentAPI)))
	if err != nil {
		return rollout{}, fmt.Errorf("listing the pods of Store %s: %w", s.Name, err)
	}
	var ready []*corev1.Pod
	for i := range pods.Items {
		if probe.Ready(&pods.Items[i]) {
			ready = append(ready, &pods.Items[i])
		}
	}
	slices.SortFunc(ready, func(a, b *corev1.Pod) int { return strings.Compare(a.Name, b.Name) })
	return gather(probe.All(ctx, r.Prober, ready), hash), nil
}

// gather adds up what pods told. Of several that are behind, the one that a
// person has to look at is named first.
func gather(answers []probe.Answer, hash string) rollout {
	o := rollout{ready: len(answers)}
	urgency := []string{"", v1alpha1.ReasonPropagating, v1alpha1.ReasonPodSilent, v1alpha1.ReasonPodRefuses}
	for _, a := range answers {
		if e := a.Status.Edge; a.Err == nil && e != nil {
			o.limits = together(o.limits, e.Limits)
			o.heard++
		}
		reason, message := behind(a, hash)
		if reason == "" {
			o.enforcing++
		} else if slices.Index(urgency, reason) > slices.Index(urgency, o.reason) {
			o.reason, o.lagging = reason, message
		}
	}
	if more := o.ready - o.enforcing - 1; more > 0 {
		o.lagging += fmt.Sprintf(", and %d more", more)
	}
	return o
}

// behind says why a pod does not run the settings; empty where it does.
func behind(a probe.Answer, hash string) (reason, message string) {
	e := a.Status.Edge
	switch {
	case a.Err != nil:
		return v1alpha1.ReasonPodSilent, fmt.Sprintf("pod %s does not answer: %v", a.Pod.Name, a.Err)
	case e == nil:
		return v1alpha1.ReasonPodRefuses, fmt.Sprintf("pod %s knows of no limits: give the Store a newer spec.image", a.Pod.Name)
	case e.Hash == hash:
		return "", ""
	case e.Error != "":
		return v1alpha1.ReasonPodRefuses, fmt.Sprintf("pod %s refuses the settings: %s", a.Pod.Name, e.Error)
	default:
		return v1alpha1.ReasonPropagating, fmt.Sprintf("pod %s still runs the settings before", a.Pod.Name)
	}
}

// sources of counting, the least wanted last.
var sources = []string{"", "redis", "local", "open", "closed"}

func together(a, b status.Limits) status.Limits {
	if slices.Index(sources, b.Source) > slices.Index(sources, a.Source) {
		a.Source = b.Source
	}
	a.Refused += b.Refused
	a.Shed += b.Shed
	// Pods tell each other of bans, and each knows of most.
	a.Bans = max(a.Bans, b.Bans)
	a.AttackLevel = max(a.AttackLevel, b.AttackLevel)
	return a
}
