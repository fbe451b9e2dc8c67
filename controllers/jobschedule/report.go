package jobschedule

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1alpha1 "gitee.com/captainjez/gocart/api/v1alpha1"
	"gitee.com/captainjez/gocart/controllers/internal/conditions"
)

// report writes the status, unless it says nothing new, and tells of changes in events.
func (r *Reconciler) report(ctx context.Context, before *v1alpha1.JobSchedule, run *run) error {
	s := run.schedule
	s.Status.ObservedGeneration = s.Generation
	s.Status.NextScheduleTime, s.Status.CronJobName, s.Status.Suspended = nil, "", nil
	if run.isAccepted() {
		s.Status.NextScheduleTime = run.next()
		s.Status.Suspended = new(run.scheduled.Status != metav1.ConditionTrue)
		if run.cronJob != nil {
			s.Status.CronJobName = run.cronJob.Name
			if at := run.cronJob.Status.LastScheduleTime; at != nil {
				s.Status.LastScheduleTime = at.DeepCopy()
			}
		}
	}
	conditions.Replace(&s.Status.Conditions, s.Generation, run.now, run.conditions()...)
	if equality.Semantic.DeepEqual(before.Status, s.Status) {
		return nil
	}
	written := s.DeepCopy()
	if err := r.Client.Status().Patch(ctx, written, client.MergeFrom(before)); err != nil {
		return client.IgnoreNotFound(fmt.Errorf("writing status: %w", err))
	}
	r.versions.Wrote(written)
	r.tell(before, s)
	return nil
}

// conditions in the order in which a person reads them. Stalled and Reconciling
// exist only while true; a schedule that somebody suspended is neither.
func (run *run) conditions() []metav1.Condition {
	found := []metav1.Condition{run.accepted, run.scheduled}
	if run.lastRun.Type != "" {
		found = append(found, run.lastRun)
	}
	because := func(condition string, of metav1.Condition) {
		found = append(found, metav1.Condition{Type: condition, Status: metav1.ConditionTrue, Reason: of.Reason, Message: of.Message})
	}
	switch {
	case !run.isAccepted():
		because(v1alpha1.StalledCondition, run.accepted)
	case run.scheduled.Status != metav1.ConditionTrue && run.scheduled.Reason != v1alpha1.ReasonSuspended && run.scheduled.Reason != v1alpha1.ReasonPaused:
		because(v1alpha1.ReconcilingCondition, run.scheduled)
	}
	return found
}

// tell makes events of what changed for a person to know.
func (r *Reconciler) tell(before, after *v1alpha1.JobSchedule) {
	for _, condition := range []string{v1alpha1.AcceptedCondition, v1alpha1.LastRunSucceededCondition} {
		was, is := meta.FindStatusCondition(before.Status.Conditions, condition), meta.FindStatusCondition(after.Status.Conditions, condition)
		switch {
		case is == nil || is.Status == metav1.ConditionUnknown:
		case is.Status == metav1.ConditionFalse && (was == nil || was.Reason != is.Reason || was.Message != is.Message):
			r.Events.Eventf(after, nil, corev1.EventTypeWarning, is.Reason, "Reconcile", "%s", is.Message)
		case is.Status == metav1.ConditionTrue && was != nil && was.Status == metav1.ConditionFalse:
			r.Events.Eventf(after, nil, corev1.EventTypeNormal, is.Reason, "Reconcile", "%s", is.Message)
		}
	}
}
