package store

import (
	"context"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"

	v1alpha1 "gitee.com/captainjez/gocart/api/v1alpha1"
	"gitee.com/captainjez/gocart/controllers/internal/diagnosis"
	"gitee.com/captainjez/gocart/controllers/internal/outcome"
	"gitee.com/captainjez/gocart/controllers/internal/probe"
)

// askPods has one ready pod tell whether the database and Redis answer it,
// which for servers of the user's own nobody else can tell.
func (r *Reconciler) askPods(ctx context.Context, run *run) error {
	seen, err := probe.Any(ctx, r.Client, client.ObjectKeyFromObject(run.store), r.Prober.Status)
	if err != nil || seen == nil {
		adviseConnections(run, nil)
		// Of a store that is to have no pods, nobody ever tells.
		if !run.conditions.Has(v1alpha1.RedisReadyCondition) && !scaledToZero(run.store) {
			why := "no pod is ready to tell"
			if err != nil {
				why = err.Error()
			}
			run.conditions.False(v1alpha1.RedisReadyCondition, v1alpha1.ReasonWaiting, "whether Redis answers is not known: "+why)
		}
		if !run.conditions.Has(v1alpha1.DatabaseReadyCondition) {
			run.conditions.False(v1alpha1.DatabaseReadyCondition, v1alpha1.ReasonWaiting, "whether the database answers is not known until the migration ran")
		}
		return nil
	}
	s := run.store
	if seen.Database.Version != "" {
		s.Status.Database = &v1alpha1.ServerStatus{Version: seen.Database.Version}
	}
	if !seen.Database.Reachable && run.conditions.IsTrue(v1alpha1.DatabaseReadyCondition) {
		run.conditions.False(v1alpha1.DatabaseReadyCondition, v1alpha1.ReasonUnreachable, "the pods can not reach the database: "+diagnosis.Clip(seen.Database.Error))
		return outcome.Waiting(v1alpha1.ReasonUnreachable, 10*time.Second, "the pods can not reach the database")
	}
	adviseConnections(run, seen.Database.Connections)
	if seen.Redis == nil {
		return nil
	}
	if seen.Redis.Version != "" {
		s.Status.Redis = &v1alpha1.ServerStatus{Version: seen.Redis.Version}
	}
	switch {
	case run.redisHash == "":
	case !seen.Redis.Reachable:
		run.conditions.False(v1alpha1.RedisReadyCondition, v1alpha1.ReasonUnreachable, "the pods can not reach Redis, and serve on without it: "+diagnosis.Clip(seen.Redis.Error))
		return outcome.Waiting(v1alpha1.ReasonUnreachable, 10*time.Second, "the pods can not reach Redis")
	case !run.conditions.Has(v1alpha1.RedisReadyCondition):
		run.conditions.True(v1alpha1.RedisReadyCondition, v1alpha1.ReasonReady, "the pods reach Redis")
	}
	return nil
}

func scaledToZero(s *v1alpha1.Store) bool {
	api, worker := s.Status.API, s.Status.Worker
	return api != nil && worker != nil && api.DesiredReplicas == 0 && worker.DesiredReplicas == 0
}
