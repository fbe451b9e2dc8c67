package store

import (
	"context"
	"fmt"

	appsv1 "k8s.io/api/apps/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1alpha1 "gitee.com/captainjez/gocart/api/v1alpha1"
	"gitee.com/captainjez/gocart/controllers/internal/capability"
	"gitee.com/captainjez/gocart/controllers/internal/diagnosis"
	"gitee.com/captainjez/gocart/controllers/internal/keda"
	"gitee.com/captainjez/gocart/controllers/internal/outcome"
	"gitee.com/captainjez/gocart/controllers/internal/plan"
	"gitee.com/captainjez/gocart/controllers/internal/refs"
)

// scaleWorkers tells who decides how many worker pods there are. Package
// workerscaler does it natively, by itself.
func (r *Reconciler) scaleWorkers(ctx context.Context, run *run) error {
	a := run.store.Spec.Worker.Autoscaling
	if a == nil {
		return nil
	}
	d, err := get(ctx, r.Client, run.store.Namespace, plan.Name(run.store.Name, plan.ComponentWorker), &appsv1.Deployment{})
	if err != nil {
		return err
	}
	if d == nil {
		return outcome.Waiting(v1alpha1.ReasonWaiting, 0, "waits for the workers' Deployment")
	}
	another, err := refs.OtherAutoscaler(ctx, r.Client, run.store, d)
	if err != nil {
		return err
	}
	if another != "" {
		return outcome.Waiting(v1alpha1.ReasonAnotherAutoscaler, 0,
			"HorizontalPodAutoscaler %s scales Deployment %s, and spec.worker.autoscaling stands back: delete that one, or remove this", another, d.Name)
	}
	if a.Provider == v1alpha1.ScalingKEDA {
		if err := r.byKEDA(ctx, run); err != nil {
			return err
		}
	}
	run.conditions.True(v1alpha1.WorkersScaledCondition, v1alpha1.ReasonScaledByJobs,
		fmt.Sprintf("from %d to %d worker pods, by the jobs that wait", plan.MinWorkers(run.store), a.MaxReplicas))
	return nil
}

// byKEDA has KEDA scale the workers.
func (r *Reconciler) byKEDA(ctx context.Context, run *run) error {
	if !r.Capabilities.Has(capability.KEDA) {
		return outcome.Waiting(v1alpha1.ReasonAPIMissing, 0, "the cluster has no %s: install %s, or set spec.worker.autoscaling.provider: Native", capability.KEDA.GroupVersion, capability.KEDA.Install)
	}
	if _, err := r.apply(ctx, run, run.objects.Scaling); err != nil {
		return err
	}
	name := plan.Name(run.store.Name, plan.ComponentWorker)
	scaled, err := get(ctx, r.Client, run.store.Namespace, name, &keda.ScaledObject{})
	if err != nil {
		return fmt.Errorf("reading ScaledObject %s: %w", name, err)
	}
	if scaled == nil {
		return outcome.Waiting(v1alpha1.ReasonProgressing, 0, "ScaledObject %s was just applied", name)
	}
	for _, c := range scaled.Status.Conditions {
		if c.Type == v1alpha1.ReadyCondition && c.Status == metav1.ConditionFalse {
			return outcome.Waiting(v1alpha1.ReasonNotAccepted, 0, "KEDA does not scale by ScaledObject %s: %s: %s", name, c.Reason, diagnosis.Clip(c.Message))
		}
	}
	return nil
}
