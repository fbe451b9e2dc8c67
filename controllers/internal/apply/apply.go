// Package apply makes objects exist as planned, by server-side apply with one
// field owner, and is the only writer of the children of Stores and JobSchedules.
//
// An object is written only when it must be: its annotation tells which plan
// was applied to it, and a comparison of the planned fields with the cached
// object tells whether somebody changed one since. A steady reconcile so costs
// no request at all, also after the operator restarted. A planned field that
// was changed is put back and an event names it; fields that the plan does not
// mention belong to others and are left alone.
package apply

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/events"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/apiutil"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"

	v1alpha1 "gitee.com/captainjez/gocart/api/v1alpha1"
	"gitee.com/captainjez/gocart/controllers/internal/outcome"
	"gitee.com/captainjez/gocart/controllers/internal/plan"
)

const (
	fieldOwner = client.FieldOwner(plan.Manager)
	// scaleOwner holds spec.replicas of a Deployment that an autoscaler is
	// about to take over, so that letting go of it does not reset it.
	scaleOwner = client.FieldOwner(plan.Manager + "-scale")

	annotationApplied = "commerce.rcommerce.app/applied"
)

// Applier writes the children of owners of one kind.
type Applier struct {
	client client.Client
	live   client.Reader
	events events.EventRecorder

	mu sync.Mutex
	// written remembers the resource version that a write returned, until the
	// cache has caught up with it.
	written map[string]uint64
	// agreements spare what did not change since from being compared again.
	agreements map[client.ObjectKey]map[string]agreement
}

// New returns an Applier that reads from c's cache and, before it creates
// something, from live.
func New(c client.Client, live client.Reader, recorder events.EventRecorder) *Applier {
	return &Applier{client: c, live: live, events: recorder, written: map[string]uint64{}, agreements: map[client.ObjectKey]map[string]agreement{}}
}

// Apply makes one object exist as planned, owned by the owner. It returns true
// when the cached object already is as planned, so that what the cache tells
// of its progress speaks of this plan and not of an earlier one.
//
// Its errors are a Terminal NameTaken where an object of that name belongs to
// somebody else, a Terminal Rejected where the API server refuses the object,
// a Waiting one while an earlier object of the name is being deleted, and
// whatever else the API server answered.
func (a *Applier) Apply(ctx context.Context, owner client.Object, desired client.Object) (current bool, err error) {
	desired = desired.DeepCopyObject().(client.Object)
	if err := controllerutil.SetControllerReference(owner, desired, a.client.Scheme()); err != nil {
		return false, fmt.Errorf("owning %s: %w", describe(desired), err)
	}
	digest, err := digestOf(desired)
	if err != nil {
		return false, err
	}
	live, err := a.cached(ctx, desired)
	if err != nil {
		return false, err
	}
	if live == nil {
		if err := a.checkFree(ctx, owner, desired); err != nil {
			return false, err
		}
		planned, err := stamped(desired, digest)
		if err != nil {
			return false, err
		}
		_, err = a.write(ctx, planned, fieldOwner)
		return false, err
	}
	if err := a.checkOwned(owner, live, desired); err != nil {
		return false, err
	}
	if a.cacheLagsBehind(desired, live) {
		return false, nil
	}
	now := agreement{resourceVersion: live.GetResourceVersion(), digest: digest}
	if a.agreed(owner, desired, now) {
		return true, nil
	}
	current, err = a.compare(ctx, owner, desired, live, digest)
	if current && err == nil {
		a.agree(owner, desired, now)
	}
	return current, err
}

// compare writes the object where the plan or somebody else changed it.
func (a *Applier) compare(ctx context.Context, owner client.Object, desired, live client.Object, digest string) (current bool, err error) {
	planned, err := stamped(desired, digest)
	if err != nil {
		return false, err
	}
	if planned.GetKind() == "Job" {
		return a.applyJob(ctx, planned, live, digest)
	}
	// Not every reader tells the kind.
	live.GetObjectKind().SetGroupVersionKind(planned.GroupVersionKind())
	found, err := toUnstructured(live)
	if err != nil {
		return false, err
	}
	changed := Diff(planned.Object, found.Object)
	drifted := live.GetAnnotations()[annotationApplied] == digest
	if drifted && len(changed) == 0 {
		return true, nil
	}
	if err := a.handOverReplicas(ctx, planned, live); err != nil {
		return false, err
	}
	resourceVersion, err := a.write(ctx, planned, fieldOwner)
	if err != nil {
		return false, err
	}
	if resourceVersion == live.GetResourceVersion() {
		return true, nil // The API server sees no difference: it spells a field otherwise.
	}
	if drifted {
		a.events.Eventf(owner, live, corev1.EventTypeNormal, "DriftCorrected", "Apply",
			"put back %s of %s, which somebody else had changed", strings.Join(shorten(changed), ", "), describe(planned))
	}
	return false, nil
}

// cached reads an object as it is; nil when there is none. It is shared with
// the cache and only to be looked at.
func (a *Applier) cached(ctx context.Context, desired client.Object) (client.Object, error) {
	made, err := a.client.Scheme().New(desired.GetObjectKind().GroupVersionKind())
	if err != nil {
		return nil, err
	}
	live := made.(client.Object)
	err = a.client.Get(ctx, client.ObjectKeyFromObject(desired), live, client.UnsafeDisableDeepCopy)
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", describe(desired), err)
	}
	return live, nil
}

// agreement: the object of this version is as the plan of this digest says.
type agreement struct{ resourceVersion, digest string }

func (a *Applier) agreed(owner client.Object, o client.Object, now agreement) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.agreements[client.ObjectKeyFromObject(owner)][identity(o)] == now
}

func (a *Applier) agree(owner client.Object, o client.Object, now agreement) {
	a.mu.Lock()
	defer a.mu.Unlock()
	key := client.ObjectKeyFromObject(owner)
	if a.agreements[key] == nil {
		a.agreements[key] = map[string]agreement{}
	}
	a.agreements[key][identity(o)] = now
}

// Forget drops what was remembered for an owner that is gone.
func (a *Applier) Forget(owner client.ObjectKey) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.agreements, owner)
}

// applyJob: a Job's template can not be changed. One that ended well stays,
// whatever the plan is now; one of another plan that did not, and has no pod at
// work, is deleted, so that it is made anew when that is done.
func (a *Applier) applyJob(ctx context.Context, planned *unstructured.Unstructured, live client.Object, digest string) (current bool, err error) {
	j, ok := live.(*batchv1.Job)
	if !ok || j.Annotations[annotationApplied] == digest || j.Status.Succeeded > 0 || working(j) {
		return true, nil
	}
	if err := a.Delete(ctx, j); err != nil {
		return false, err
	}
	return false, outcome.Waiting(v1alpha1.ReasonWaiting, 2*time.Second, "%s is of an earlier specification; it is made anew", describe(planned))
}

// working tells whether a pod of the Job runs its containers.
func working(j *batchv1.Job) bool { return j.Status.Ready != nil && *j.Status.Ready > 0 }

// Adopt creates an object that is never changed afterwards and is owned by
// nobody, so that it outlives its Store.
func (a *Applier) Adopt(ctx context.Context, o client.Object) error {
	err := a.client.Create(ctx, o, fieldOwner)
	if err != nil {
		return translate(err, describe(o))
	}
	writes.WithLabelValues(kindOf(o)).Inc()
	return nil
}

// Annotate sets one annotation of an object that is not planned, such as a pod.
func (a *Applier) Annotate(ctx context.Context, o client.Object, key, value string) error {
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{"annotations": map[string]string{key: value}}})
	if err != nil {
		return err
	}
	gvk, err := a.client.GroupVersionKindFor(o)
	if err != nil {
		return err
	}
	written := o.DeepCopyObject().(client.Object)
	if err := a.client.Patch(ctx, written, client.RawPatch(types.MergePatchType, patch), fieldOwner); err != nil {
		return translate(err, gvk.Kind+" "+o.GetName())
	}
	writes.WithLabelValues(gvk.Kind).Inc()
	return nil
}

// write returns the resource version that the object has now.
func (a *Applier) write(ctx context.Context, o *unstructured.Unstructured, owner client.FieldOwner) (resourceVersion string, err error) {
	written := o.DeepCopy()
	err = a.client.Apply(ctx, client.ApplyConfigurationFromUnstructured(written), owner, client.ForceOwnership)
	if err != nil {
		return "", translate(err, describe(o))
	}
	writes.WithLabelValues(o.GetKind()).Inc()
	a.mu.Lock()
	defer a.mu.Unlock()
	if rv, err := strconv.ParseUint(written.GetResourceVersion(), 10, 64); err == nil {
		a.written[identity(o)] = rv
	}
	return written.GetResourceVersion(), nil
}

// cacheLagsBehind tells whether the cached object is older than our last
// write of it; the watch event that is on its way will have it compared.
func (a *Applier) cacheLagsBehind(planned, live client.Object) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	id := identity(planned)
	want, ok := a.written[id]
	if !ok {
		return false
	}
	have, err := strconv.ParseUint(live.GetResourceVersion(), 10, 64)
	if err == nil && have < want {
		return true
	}
	delete(a.written, id)
	return false
}

// checkFree looks past the cache, which holds only what carries our labels,
// for an object of that name that is not ours.
func (a *Applier) checkFree(ctx context.Context, owner client.Object, planned client.Object) error {
	existing := &metav1.PartialObjectMetadata{}
	existing.SetGroupVersionKind(planned.GetObjectKind().GroupVersionKind())
	err := a.live.Get(ctx, client.ObjectKeyFromObject(planned), existing)
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return translate(err, describe(planned))
	}
	return a.checkOwned(owner, existing, planned)
}

func (a *Applier) checkOwned(owner, live, planned client.Object) error {
	if !live.GetDeletionTimestamp().IsZero() {
		return outcome.Waiting(v1alpha1.ReasonWaiting, 5*time.Second, "%s is being deleted; it is made anew afterwards", describe(planned))
	}
	controller := metav1.GetControllerOf(live)
	if controller != nil && controller.UID == owner.GetUID() {
		return nil
	}
	gvk, err := a.client.GroupVersionKindFor(owner)
	if err != nil {
		return err
	}
	if controller != nil && controller.Kind == gvk.Kind && controller.Name == owner.GetName() {
		return outcome.Waiting(v1alpha1.ReasonWaiting, 2*time.Second, "%s of the deleted %s of this name is still being removed", describe(planned), gvk.Kind)
	}
	return outcome.Terminal(v1alpha1.ReasonNameTaken, "%s exists and does not belong to this %s: delete or rename it, or name the %s otherwise", describe(planned), gvk.Kind, gvk.Kind)
}

// handOverReplicas lets an autoscaler have spec.replicas without a dip: the
// number that runs is held by a second field owner before ours lets go of it,
// for a field that nobody owns would fall back to 1.
func (a *Applier) handOverReplicas(ctx context.Context, planned *unstructured.Unstructured, live client.Object) error {
	d, ok := live.(*appsv1.Deployment)
	if !ok || d.Spec.Replicas == nil || !ownsReplicas(d) {
		return nil
	}
	if _, stillOurs, _ := unstructured.NestedFieldNoCopy(planned.Object, "spec", "replicas"); stillOurs {
		return nil
	}
	scale := &unstructured.Unstructured{}
	scale.SetGroupVersionKind(planned.GroupVersionKind())
	scale.SetName(planned.GetName())
	scale.SetNamespace(planned.GetNamespace())
	_ = unstructured.SetNestedField(scale.Object, int64(*d.Spec.Replicas), "spec", "replicas")
	_, err := a.write(ctx, scale, scaleOwner)
	return err
}

func ownsReplicas(d *appsv1.Deployment) bool {
	for _, f := range d.ManagedFields {
		if f.Manager == string(fieldOwner) && f.Operation == metav1.ManagedFieldsOperationApply && f.FieldsV1 != nil {
			return strings.Contains(fieldsOf(f), `"f:replicas"`)
		}
	}
	return false
}

func fieldsOf(f metav1.ManagedFieldsEntry) string {
	raw, err := json.Marshal(f.FieldsV1)
	if err != nil {
		return ""
	}
	return string(raw)
}

// Prune deletes the Store's objects of the given lists' kinds that are not
// among those to keep. What another controller or person made is left alone.
func (a *Applier) Prune(ctx context.Context, owner *v1alpha1.Store, keep []client.Object, lists ...client.ObjectList) error {
	kept := map[string]bool{}
	for _, o := range keep {
		kept[identity(o)] = true
	}
	for _, list := range lists {
		gvk, err := apiutil.GVKForObject(list, a.client.Scheme())
		if err != nil {
			return err
		}
		gvk.Kind = strings.TrimSuffix(gvk.Kind, "List")
		// The items are shared with the cache and only to be looked at.
		err = a.client.List(ctx, list, client.InNamespace(owner.Namespace), client.MatchingLabels(plan.StoreSelector(owner.Name)), client.UnsafeDisableDeepCopy)
		if err != nil {
			return fmt.Errorf("listing what %s owns: %w", owner.Name, err)
		}
		err = meta.EachListItem(list, func(item runtime.Object) error {
			o := item.(client.Object)
			controller := metav1.GetControllerOf(o)
			if controller == nil || controller.UID != owner.UID || kept[gvk.Kind+"/"+o.GetNamespace()+"/"+o.GetName()] || !o.GetDeletionTimestamp().IsZero() {
				return nil
			}
			doomed := o.DeepCopyObject().(client.Object)
			doomed.GetObjectKind().SetGroupVersionKind(gvk)
			return a.Delete(ctx, doomed)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// Delete removes an object, and what it owns in the background.
func (a *Applier) Delete(ctx context.Context, o client.Object) error {
	opts := []client.DeleteOption{client.PropagationPolicy(metav1.DeletePropagationBackground)}
	if uid := o.GetUID(); uid != "" {
		opts = append(opts, client.Preconditions{UID: ptr(uid)})
	}
	err := a.client.Delete(ctx, o, opts...)
	if apierrors.IsNotFound(err) || apierrors.IsConflict(err) {
		return nil
	}
	if err != nil {
		return translate(err, describe(o))
	}
	writes.WithLabelValues(kindOf(o)).Inc()
	return nil
}

// translate types what an API server's refusal means for the Store.
func translate(err error, what string) error {
	switch {
	case apierrors.IsInvalid(err), apierrors.IsBadRequest(err):
		return outcome.Terminal(v1alpha1.ReasonRejected, "the API server refused %s: %s", what, message(err))
	case apierrors.IsForbidden(err):
		// Quota, Pod Security, an admission policy or our own rights: somebody
		// has to change something, and no watch tells when.
		return outcome.Waiting(v1alpha1.ReasonForbidden, time.Minute, "%s was forbidden: %s", what, message(err))
	default:
		return fmt.Errorf("writing %s: %w", what, err)
	}
}

func message(err error) string {
	m := err.Error()
	if len(m) > 512 {
		m = m[:512] + "..."
	}
	return m
}

// toUnstructured is the object's JSON without what only the API server writes.
func toUnstructured(o client.Object) (*unstructured.Unstructured, error) {
	raw, err := runtime.DefaultUnstructuredConverter.ToUnstructured(o)
	if err != nil {
		return nil, fmt.Errorf("converting %s: %w", describe(o), err)
	}
	u := &unstructured.Unstructured{Object: raw}
	delete(u.Object, "status")
	unstructured.RemoveNestedField(u.Object, "metadata", "creationTimestamp")
	unstructured.RemoveNestedField(u.Object, "spec", "template", "metadata", "creationTimestamp")
	return u, nil
}

func digestOf(desired client.Object) (string, error) {
	raw, err := json.Marshal(desired)
	if err != nil {
		return "", fmt.Errorf("encoding %s: %w", describe(desired), err)
	}
	return plan.Hash(string(raw))[:16], nil
}

// stamped is the planned object with its digest among its annotations.
func stamped(desired client.Object, digest string) (*unstructured.Unstructured, error) {
	planned, err := toUnstructured(desired)
	if err != nil {
		return nil, err
	}
	annotations := planned.GetAnnotations()
	if annotations == nil {
		annotations = map[string]string{}
	}
	annotations[annotationApplied] = digest
	planned.SetAnnotations(annotations)
	return planned, nil
}

func identity(o client.Object) string {
	return kindOf(o) + "/" + o.GetNamespace() + "/" + o.GetName()
}

func kindOf(o client.Object) string { return o.GetObjectKind().GroupVersionKind().Kind }

func describe(o client.Object) string { return kindOf(o) + " " + o.GetName() }

func ptr(u types.UID) *types.UID { return &u }
