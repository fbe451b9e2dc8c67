// Package refs finds what an object's references name.
package refs

import (
	"context"
	"fmt"

	appsv1 "k8s.io/api/apps/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1alpha1 "gitee.com/captainjez/gocart/api/v1alpha1"
)

// Store reads a Store that another object names; nil where there is none.
// others tells that it is another operator's, who shares the work by labels, so
// that the cache does not hold it.
func Store(ctx context.Context, cache, live client.Reader, key types.NamespacedName) (store *v1alpha1.Store, others bool, err error) {
	store = &v1alpha1.Store{}
	err = cache.Get(ctx, key, store)
	if err == nil {
		return store, false, nil
	}
	if !apierrors.IsNotFound(err) {
		return nil, false, fmt.Errorf("reading Store %s: %w", key.Name, err)
	}
	err = live.Get(ctx, key, &v1alpha1.Store{})
	if apierrors.IsNotFound(err) {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, fmt.Errorf("reading Store %s: %w", key.Name, err)
	}
	return nil, true, nil
}

// OtherAutoscaler names a HorizontalPodAutoscaler that scales a Store's
// Deployment and is not the Store's own, nor KEDA's for it; empty for none.
func OtherAutoscaler(ctx context.Context, c client.Reader, s *v1alpha1.Store, d *appsv1.Deployment) (string, error) {
	var all autoscalingv2.HorizontalPodAutoscalerList
	if err := c.List(ctx, &all, client.InNamespace(d.Namespace), client.UnsafeDisableDeepCopy); err != nil {
		return "", fmt.Errorf("listing HorizontalPodAutoscalers: %w", err)
	}
	for i := range all.Items {
		a := &all.Items[i]
		if t := a.Spec.ScaleTargetRef; t.Kind != "Deployment" || t.Name != d.Name {
			continue
		}
		owner := metav1.GetControllerOf(a)
		if owner == nil || owner.UID != s.UID && !(owner.Kind == "ScaledObject" && owner.Name == d.Name) {
			return a.Name, nil
		}
	}
	return "", nil
}
