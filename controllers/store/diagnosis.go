package store

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1alpha1 "gitee.com/captainjez/gocart/api/v1alpha1"
	"gitee.com/captainjez/gocart/controllers/internal/diagnosis"
	"gitee.com/captainjez/gocart/controllers/internal/outcome"
	"gitee.com/captainjez/gocart/controllers/internal/plan"
)

func (r *Reconciler) pods(ctx context.Context, s *v1alpha1.Store, component string) ([]corev1.Pod, error) {
	var pods corev1.PodList
	err := r.Client.List(ctx, &pods, client.InNamespace(s.Namespace), client.MatchingLabels(plan.Selector(s.Name, component)))
	if err != nil {
		return nil, fmt.Errorf("listing the %s pods: %w", component, err)
	}
	return pods.Items, nil
}

// diagnose says why a component's pods are not ready, the plainest cause
// first; with no cause to see, it says the given words. A watch tells when the
// pods change, so nothing is asked again before.
func (r *Reconciler) diagnose(ctx context.Context, s *v1alpha1.Store, component, reason, otherwise string) error {
	pods, err := r.pods(ctx, s, component)
	if err != nil {
		return err
	}
	for i := range pods {
		if reason, message := diagnosis.Pod(&pods[i]); reason != "" {
			return outcome.Waiting(reason, 0, "%s", message)
		}
	}
	return outcome.Waiting(reason, 0, "%s", otherwise)
}
