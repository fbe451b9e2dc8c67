package store

import (
	"context"
	"fmt"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"

	v1alpha1 "gitee.com/captainjez/gocart/api/v1alpha1"
	"gitee.com/captainjez/gocart/controllers/internal/capability"
	"gitee.com/captainjez/gocart/controllers/internal/plan"
)

// dataFinalizer holds a Store back until its data is deleted, where the
// deletion policy says so.
const dataFinalizer = "commerce.rcommerce.app/data"

// protectData keeps the finalizer in step with the deletion policy.
func (r *Reconciler) protectData(ctx context.Context, run *run) error {
	s := run.store
	if s.Spec.Paused {
		return nil
	}
	before := s.DeepCopy()
	wanted := s.Spec.DeletionPolicy == v1alpha1.DeletionPolicyDelete
	changed := wanted && controllerutil.AddFinalizer(s, dataFinalizer) || !wanted && controllerutil.RemoveFinalizer(s, dataFinalizer)
	if !changed {
		return nil
	}
	// The list is written whole: not over somebody else's finalizer.
	if err := r.Client.Patch(ctx, s.DeepCopy(), client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{})); err != nil {
		return fmt.Errorf("keeping the finalizer in step with spec.deletionPolicy: %w", err)
	}
	return nil
}

// keepReports claims the volume of reports, once.
func (r *Reconciler) keepReports(ctx context.Context, run *run) error {
	claim := plan.Reports(run.store)
	if claim == nil {
		return nil
	}
	existing, err := get(ctx, r.Client, claim.Namespace, claim.Name, &corev1.PersistentVolumeClaim{})
	if err == nil && existing == nil && !run.store.Spec.Paused {
		if err = r.Applier.Adopt(ctx, claim); apierrors.IsAlreadyExists(err) {
			// The cache holds only what carries our labels.
			existing, err = get(ctx, r.Live, claim.Namespace, claim.Name, &corev1.PersistentVolumeClaim{})
		}
	}
	if err != nil {
		return fmt.Errorf("claiming the volume of reports: %w", err)
	}
	if existing == nil {
		return nil
	}
	return ofStore(run.store, "PersistentVolumeClaim", existing)
}

// finalize deletes data and passwords. Everything else goes with the Store, by
// its owner references; the certificate stays.
func (r *Reconciler) finalize(ctx context.Context, s *v1alpha1.Store) error {
	if !controllerutil.ContainsFinalizer(s, dataFinalizer) {
		return nil
	}
	type named struct {
		object client.Object
		name   string
	}
	// The StatefulSets first, or they would make their volumes anew.
	doomed := []named{
		{&appsv1.StatefulSet{}, plan.Name(s.Name, plan.ComponentPostgres)},
		{&appsv1.StatefulSet{}, plan.Name(s.Name, plan.ComponentRedis)},
		{&corev1.PersistentVolumeClaim{}, plan.PostgresClaim(s.Name)},
		{&corev1.PersistentVolumeClaim{}, plan.RedisClaim(s.Name)},
		{&corev1.PersistentVolumeClaim{}, plan.ReportsClaim(s.Name)},
		{&corev1.Secret{}, plan.CredentialsSecret(s.Name)},
		{&corev1.Secret{}, plan.PostgresSecret(s.Name)},
		{&corev1.Secret{}, plan.RedisSecret(s.Name)},
	}
	for _, d := range doomed {
		gvk, err := r.Client.GroupVersionKindFor(d.object)
		if err != nil {
			return err
		}
		found := &metav1.PartialObjectMetadata{}
		found.SetGroupVersionKind(gvk)
		found, err = get(ctx, r.Live, s.Namespace, d.name, found)
		if err != nil {
			return fmt.Errorf("reading %s %s: %w", gvk.Kind, d.name, err)
		}
		if found == nil || found.Labels[plan.LabelInstance] != s.Name || found.Labels[plan.LabelManagedBy] != plan.Manager {
			continue
		}
		if err := r.Applier.Delete(ctx, found); err != nil {
			return err
		}
	}
	before := s.DeepCopy()
	after := s.DeepCopy()
	controllerutil.RemoveFinalizer(after, dataFinalizer)
	return client.IgnoreNotFound(r.Client.Patch(ctx, after, client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{})))
}

// prune deletes what an earlier spec wanted and this one does not.
func (r *Reconciler) prune(ctx context.Context, run *run) error {
	if run.store.Spec.Paused {
		return nil
	}
	owned := children()
	for _, api := range capability.All() {
		if r.Capabilities.Has(api) {
			owned = append(owned, optionalChildren(api)...)
		}
	}
	var lists []client.ObjectList
	for _, o := range owned {
		if _, isJob := o.(*batchv1.Job); isJob && run.databaseHash == "" {
			continue // Which migration is wanted is known only with the database's Secret.
		}
		list, err := r.listOf(o)
		if err != nil {
			return err
		}
		lists = append(lists, list)
	}
	return r.Applier.Prune(ctx, run.store, run.objects.All(), lists...)
}

// listOf is an empty list of an object's kind.
func (r *Reconciler) listOf(o client.Object) (client.ObjectList, error) {
	gvk, err := r.Client.GroupVersionKindFor(o)
	if err != nil {
		return nil, err
	}
	list, err := r.Client.Scheme().New(gvk.GroupVersion().WithKind(gvk.Kind + "List"))
	if err != nil {
		return nil, err
	}
	return list.(client.ObjectList), nil
}
