package store

import (
	"context"
	"fmt"

	appsv1 "k8s.io/api/apps/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1alpha1 "gitee.com/captainjez/gocart/api/v1alpha1"
	"gitee.com/captainjez/gocart/controllers/internal/outcome"
	"gitee.com/captainjez/gocart/controllers/internal/plan"
)

// database brings up the managed database. Whether one of the user's own
// answers is found out by the migration and by the pods.
func (r *Reconciler) database(ctx context.Context, run *run) error {
	if run.databaseHash == "" {
		return nil
	}
	if run.store.Spec.Database.Managed == nil {
		run.databaseUp = true
		return nil
	}
	if err := r.server(ctx, run, plan.ComponentPostgres, run.objects.Database); err != nil {
		return err
	}
	run.databaseUp = true
	run.conditions.True(v1alpha1.DatabaseReadyCondition, v1alpha1.ReasonReady, "PostgreSQL accepts connections")
	return nil
}

func (r *Reconciler) redis(ctx context.Context, run *run) error {
	if run.redisHash == "" || run.store.Spec.Redis.Managed == nil {
		return nil
	}
	if err := r.server(ctx, run, plan.ComponentRedis, run.objects.Redis); err != nil {
		return err
	}
	run.conditions.True(v1alpha1.RedisReadyCondition, v1alpha1.ReasonReady, "Redis accepts connections")
	return nil
}

// server applies a managed server and returns nil once it is ready.
func (r *Reconciler) server(ctx context.Context, run *run, component string, objects []client.Object) error {
	current, err := r.apply(ctx, run, objects)
	if err != nil {
		return err
	}
	name := plan.Name(run.store.Name, component)
	set, err := get(ctx, r.Client, run.store.Namespace, name, &appsv1.StatefulSet{})
	if err != nil {
		return fmt.Errorf("reading StatefulSet %s: %w", name, err)
	}
	if set == nil || !current {
		return outcome.Waiting(v1alpha1.ReasonProgressing, 0, "StatefulSet %s was just applied", name)
	}
	if set.Status.ObservedGeneration >= set.Generation && set.Status.ReadyReplicas == 1 && set.Status.UpdatedReplicas == 1 {
		return nil
	}
	return r.diagnose(ctx, run.store, component, v1alpha1.ReasonProgressing, "StatefulSet "+name+" is starting its pod")
}
