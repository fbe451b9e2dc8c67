package store

import (
	"context"
	"fmt"

	appsv1 "k8s.io/api/apps/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1alpha1 "gitee.com/captainjez/gocart/api/v1alpha1"
	"gitee.com/captainjez/gocart/controllers/internal/outcome"
	"gitee.com/captainjez/gocart/controllers/internal/plan"
)

// rollOut runs the api and worker pods. The first ones wait for the schema and
// the certificate; later ones run the image that the plan says may serve.
func (r *Reconciler) rollOut(ctx context.Context, run *run) error {
	switch {
	case run.databaseHash == "" || run.redisHash == "":
		return outcome.Waiting(v1alpha1.ReasonWaiting, 0, "waits for the Secrets of the database and of Redis")
	case len(run.refs.Mail) > 0 && run.mailHash == "":
		return outcome.Waiting(v1alpha1.ReasonWaiting, 0, "waits for Secret %s of spec.mail", run.refs.Mail[0].Name)
	case len(run.refs.Stripe) > 0 && run.paymentsHash == "":
		return outcome.Waiting(v1alpha1.ReasonWaiting, 0, "waits for the Secrets of spec.payments.stripe")
	case run.api == nil && !run.migrated:
		return outcome.Waiting(v1alpha1.ReasonWaiting, 0, "waits for the migration")
	case run.api == nil && run.refs.Certificate != "" && run.certificate == nil:
		return outcome.Waiting(v1alpha1.ReasonWaiting, 0, "waits for the certificate")
	}
	current, err := r.apply(ctx, run, run.objects.Workloads)
	if err != nil {
		return err
	}
	s := run.store
	if s.Status.Image == nil {
		s.Status.Image = &v1alpha1.ImageStatus{}
	}
	s.Status.Image.Current = run.input.Images.Serving
	api, apiErr := r.workload(ctx, run, plan.ComponentAPI, current)
	worker, workerErr := r.workload(ctx, run, plan.ComponentWorker, current)
	s.Status.API, s.Status.Worker = api, worker
	for _, err := range []error{apiErr, workerErr} {
		if err != nil {
			return err
		}
	}
	reason, message := v1alpha1.ReasonAvailable, "api "+api.Ready+" and worker "+worker.Ready+" pods are ready"
	if api.DesiredReplicas == 0 {
		reason, message = v1alpha1.ReasonScaledToZero, "spec.api asks for no pods: nothing answers"
	}
	run.conditions.True(v1alpha1.WorkloadsAvailableCondition, reason, message)
	return nil
}

// workload counts a Deployment's pods; its error says why they are not all
// ready and of the specification that was applied.
func (r *Reconciler) workload(ctx context.Context, run *run, component string, current bool) (*v1alpha1.WorkloadStatus, error) {
	name := plan.Name(run.store.Name, component)
	status := &v1alpha1.WorkloadStatus{Selector: metav1.FormatLabelSelector(&metav1.LabelSelector{MatchLabels: plan.Selector(run.store.Name, component)})}
	d, err := get(ctx, r.Client, run.store.Namespace, name, &appsv1.Deployment{})
	if err != nil {
		return status, fmt.Errorf("reading Deployment %s: %w", name, err)
	}
	if d != nil {
		status.DesiredReplicas = 1
		if d.Spec.Replicas != nil {
			status.DesiredReplicas = *d.Spec.Replicas
		}
		status.ReadyReplicas = d.Status.ReadyReplicas
	}
	status.Ready = fmt.Sprintf("%d/%d", status.ReadyReplicas, status.DesiredReplicas)
	if d == nil || !current {
		return status, outcome.Waiting(v1alpha1.ReasonProgressing, 0, "Deployment %s was just applied", name)
	}
	if rolledOut(d, status.DesiredReplicas) {
		return status, nil
	}
	err = r.diagnose(ctx, run.store, component, v1alpha1.ReasonProgressing,
		fmt.Sprintf("Deployment %s has %d of %d pods updated and %d ready", name, d.Status.UpdatedReplicas, status.DesiredReplicas, d.Status.ReadyReplicas))
	if e, ok := outcome.As(err); ok && e.Reason == v1alpha1.ReasonProgressing && scaling(run.store, d, component) {
		return status, nil
	}
	return status, err
}

func rolledOut(d *appsv1.Deployment, desired int32) bool {
	s := d.Status
	return s.ObservedGeneration >= d.Generation && s.UpdatedReplicas == desired && s.Replicas == desired && s.AvailableReplicas == desired
}

// scaling tells of a Deployment that an autoscaler has on its way to another
// number of pods, which takes nothing back while there are as many as there have
// to be and none is in trouble.
func scaling(store *v1alpha1.Store, d *appsv1.Deployment, component string) bool {
	autoscaled, least := store.Spec.API.Autoscaling != nil, plan.MinAPI(store)
	if component == plan.ComponentWorker {
		autoscaled, least = store.Spec.Worker.Autoscaling != nil, plan.MinWorkers(store)
	}
	s := d.Status
	return autoscaled && s.ObservedGeneration >= d.Generation && s.UpdatedReplicas == s.Replicas && s.AvailableReplicas >= least
}
