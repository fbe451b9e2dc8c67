// Package policies finds the RateLimitPolicies of a Store, by an index that
// both controllers share.
package policies

import (
	"context"
	"fmt"

	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	v1alpha1 "gitee.com/captainjez/gocart/api/v1alpha1"
)

const targetIndex = "spec.targetRef.name"

// Index lets the manager's cache find policies by their Store. It is called
// once, before the manager starts.
func Index(mgr ctrl.Manager) error {
	err := mgr.GetFieldIndexer().IndexField(context.Background(), &v1alpha1.RateLimitPolicy{}, targetIndex, func(o client.Object) []string {
		return []string{o.(*v1alpha1.RateLimitPolicy).Spec.TargetRef.Name}
	})
	if err != nil {
		return fmt.Errorf("indexing RateLimitPolicies by their Store: %w", err)
	}
	return nil
}

// Of are the policies of a Store, whether it is there or not.
func Of(ctx context.Context, c client.Reader, store types.NamespacedName) ([]v1alpha1.RateLimitPolicy, error) {
	var list v1alpha1.RateLimitPolicyList
	if err := c.List(ctx, &list, client.InNamespace(store.Namespace), client.MatchingFields{targetIndex: store.Name}); err != nil {
		return nil, fmt.Errorf("listing the RateLimitPolicies of Store %s: %w", store.Name, err)
	}
	return list.Items, nil
}

// StoreOf is the Store that a policy names.
func StoreOf(_ context.Context, o client.Object) []reconcile.Request {
	p, ok := o.(*v1alpha1.RateLimitPolicy)
	if !ok {
		return nil
	}
	return []reconcile.Request{{NamespacedName: types.NamespacedName{Namespace: p.Namespace, Name: p.Spec.TargetRef.Name}}}
}
