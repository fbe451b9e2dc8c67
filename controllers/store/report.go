package store

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/meta"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1alpha1 "gitee.com/captainjez/gocart/api/v1alpha1"
	"gitee.com/captainjez/gocart/controllers/internal/plan"
)

// report writes the status, unless it says nothing new, and tells of a change
// of Ready in an event.
func (r *Reconciler) report(ctx context.Context, before *v1alpha1.Store, run *run) error {
	s := run.store
	s.Status.ObservedGeneration = s.Generation
	s.Status.URL = plan.URL(s)
	keepMigrated(before, s)
	run.conditions.Write(&s.Status.Conditions, s.Generation, s.Spec.Paused, s.Status.URL, r.Now())
	if equality.Semantic.DeepEqual(before.Status, s.Status) {
		return nil
	}
	written := s.DeepCopy()
	if err := r.Client.Status().Patch(ctx, written, client.MergeFrom(before)); err != nil {
		return client.IgnoreNotFound(fmt.Errorf("writing status: %w", err))
	}
	r.versions.Wrote(written)
	was := meta.FindStatusCondition(before.Status.Conditions, v1alpha1.ReadyCondition)
	is := meta.FindStatusCondition(s.Status.Conditions, v1alpha1.ReadyCondition)
	if was == nil || was.Status != is.Status || was.Reason != is.Reason {
		kind := corev1.EventTypeNormal
		if meta.IsStatusConditionTrue(s.Status.Conditions, v1alpha1.StalledCondition) {
			kind = corev1.EventTypeWarning
		}
		r.Events.Eventf(s, nil, kind, is.Reason, "Reconcile", "%s", is.Message)
	}
	return nil
}

// keepMigrated: an image stays the last one migrated until another one is.
func keepMigrated(before, after *v1alpha1.Store) {
	if after.Status.Image == nil || before.Status.Image == nil {
		return
	}
	if after.Status.Image.Migrated == "" {
		after.Status.Image.Migrated = before.Status.Image.Migrated
	}
	if after.Status.Image.Current == "" {
		after.Status.Image.Current = before.Status.Image.Current
	}
}
