package jobschedule

import (
	"context"
	"fmt"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1alpha1 "gitee.com/captainjez/gocart/api/v1alpha1"
	"gitee.com/captainjez/gocart/controllers/internal/outcome"
	"gitee.com/captainjez/gocart/controllers/internal/plan"
)

// apply makes the CronJob as planned. One of a schedule that is not carried out
// is removed, and its Jobs with it.
func (r *Reconciler) apply(ctx context.Context, run *run) error {
	s := run.schedule
	run.cronJob = &batchv1.CronJob{}
	err := r.Client.Get(ctx, client.ObjectKey{Namespace: s.Namespace, Name: plan.CronJobName(s.Spec.StoreRef.Name, s.Name)}, run.cronJob)
	if apierrors.IsNotFound(err) {
		run.cronJob, err = nil, nil
	}
	if err != nil {
		return fmt.Errorf("reading the CronJob: %w", err)
	}
	if !run.isAccepted() {
		if run.cronJob != nil && metav1.IsControlledBy(run.cronJob, s) && run.cronJob.DeletionTimestamp.IsZero() {
			return r.Applier.Delete(ctx, run.cronJob)
		}
		return nil
	}
	serving, err := r.serving(ctx, run)
	if err != nil {
		return err
	}
	if serving == "" {
		run.scheduled = failed(v1alpha1.ScheduledCondition, outcome.Waiting(v1alpha1.ReasonWaiting, 0, "Store %s has no pods yet: see its conditions", run.store.Name))
		return nil
	}
	run.scheduled = r.whether(run, serving)
	in := plan.Input{Store: run.store, Images: plan.Images{Serving: serving}}
	_, err = r.Applier.Apply(ctx, s, plan.CronJob(in, s, run.scheduled.Status != metav1.ConditionTrue))
	if err == nil {
		return nil
	}
	e, typed := outcome.As(err)
	switch {
	case !typed:
		return err
	case e.Terminal:
		run.refuse(err)
	default:
		run.scheduled = failed(v1alpha1.ScheduledCondition, err)
		if e.After > 0 {
			run.again(e.After)
		}
	}
	return nil
}

// serving is the image that the Store's pods run; empty before there are any.
func (r *Reconciler) serving(ctx context.Context, run *run) (string, error) {
	d := &appsv1.Deployment{}
	err := r.Client.Get(ctx, client.ObjectKey{Namespace: run.store.Namespace, Name: plan.Name(run.store.Name, plan.ComponentAPI)}, d)
	if apierrors.IsNotFound(err) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("reading the Store's Deployment: %w", err)
	}
	return d.Spec.Template.Spec.Containers[0].Image, nil
}

// whether is the condition Scheduled: it says why no run comes, if none does.
func (r *Reconciler) whether(run *run, serving string) metav1.Condition {
	s := run.store
	not := func(reason, format string, args ...any) metav1.Condition {
		return failed(v1alpha1.ScheduledCondition, outcome.Waiting(reason, 0, format, args...))
	}
	switch {
	case run.schedule.Spec.Suspend != nil && *run.schedule.Spec.Suspend:
		return not(v1alpha1.ReasonSuspended, "spec.suspend is true: no run comes until it is removed")
	case s.Spec.Paused:
		return not(v1alpha1.ReasonPaused, "Store %s is paused: no run comes until its spec.paused is removed", s.Name)
	case r.migrating(s, serving):
		return not(v1alpha1.ReasonStoreMigrating, "Store %s is not migrated to its image: no run comes until it is; see its condition MigrationSucceeded", s.Name)
	}
	return metav1.Condition{Type: v1alpha1.ScheduledCondition, Status: metav1.ConditionTrue, Reason: v1alpha1.ReasonScheduled,
		Message: fmt.Sprintf("runs at %s in %s", run.schedule.Spec.Schedule, run.schedule.Spec.TimeZone)}
}

// migrating tells whether the schema is, or may be, another one than that of
// the image which serves. The image is compared, for a Store's conditions may
// still speak of the one before.
func (r *Reconciler) migrating(s *v1alpha1.Store, serving string) bool {
	image := s.Status.Image
	if image == nil || !meta.IsStatusConditionTrue(s.Status.Conditions, v1alpha1.MigrationSucceededCondition) {
		return true
	}
	wanted := image.Current
	if s.Spec.Image != nil {
		wanted = plan.Reference(s.Spec.Image, r.RuntimeRepository)
	}
	return image.Migrated != wanted || serving != wanted
}

// next is when the next run comes, nil while none does.
func (run *run) next() *metav1.Time {
	if run.scheduled.Status != metav1.ConditionTrue {
		return nil
	}
	at := run.fires.Next(run.now)
	run.again(at.Sub(run.now) + time.Second)
	return &metav1.Time{Time: at}
}
