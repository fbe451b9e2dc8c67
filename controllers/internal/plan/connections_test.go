package plan

import (
	"testing"

	v1alpha1 "gitee.com/captainjez/gocart/api/v1alpha1"
)

func TestAllPoolsTogetherFitIntoWhatTheDatabaseTakes(t *testing.T) {
	t.Parallel()
	scaled := func(api, workers int32) v1alpha1.StoreSpec {
		var s v1alpha1.StoreSpec
		s.API.Autoscaling = &v1alpha1.APIAutoscalingSpec{MaxReplicas: api}
		s.Worker.Autoscaling = &v1alpha1.WorkerAutoscalingSpec{MaxReplicas: workers}
		return s
	}
	with := func(s v1alpha1.StoreSpec, total, pool *int32) v1alpha1.StoreSpec {
		s.Database.TotalConnections, s.Database.MaxConnections = total, pool
		return s
	}
	var still v1alpha1.StoreSpec
	still.API.Replicas, still.Worker.Replicas = ptr(int32(0)), ptr(int32(0))
	for name, tt := range map[string]struct {
		spec v1alpha1.StoreSpec
		want Connections
	}{
		"one pod of each":                       {v1alpha1.StoreSpec{}, Connections{Processes: 6, Pool: 10, Total: 90}},
		"no pods at all":                        {still, Connections{2, 10, 90}},
		"autoscalers at their maximum":          {scaled(8, 4), Connections{Processes: 10 + 5 + 2, Pool: 5, Total: 90}},
		"a database that takes more":            {with(scaled(8, 4), ptr(int32(400)), nil), Connections{17, 10, 400}},
		"a database that takes little":          {with(scaled(8, 4), ptr(int32(40)), nil), Connections{17, 2, 40}},
		"more pods than the database can serve": {scaled(100, 10), Connections{125 + 13 + 2, 2, 90}},
		"a pool that somebody chose":            {with(scaled(8, 4), nil, ptr(int32(40))), Connections{17, 40, 90}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := &v1alpha1.Store{Spec: tt.spec}
			got := ConnectionsOf(s)
			if got != tt.want {
				t.Errorf("got %+v, want %+v", got, tt.want)
			}
			if chosen := tt.spec.Database.MaxConnections != nil; !chosen && got.Pool > leastPool && got.Most() > got.Total {
				t.Errorf("%d in all, of %d", got.Most(), got.Total)
			}
		})
	}
}
