// Package refs finds what an object's references name.
package refs

import (
	"context"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
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
