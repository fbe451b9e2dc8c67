package plan

import (
	"math"

	v1alpha1 "gitee.com/captainjez/gocart/api/v1alpha1"
	"gitee.com/captainjez/gocart/runtime/config"
)

const (
	// defaultTotalConnections is what is asked of a PostgreSQL at most of which
	// nothing is said: of its own 100, it keeps 3 back for its superuser, and
	// people, monitoring and an autoscaler need some.
	defaultTotalConnections = 90
	// leastPool is one connection for health checks and one for all else.
	leastPool = 2
	// surge is what a rolling update adds to a Deployment, in percent.
	surge = 25
	// besides are the processes beside those of Deployments: a migration, and a
	// scheduled job that has a pod of its own.
	besides = 2
)

// Connections are what a Store's pods may ask of the database.
type Connections struct {
	// Processes is how many there are at most: as many pods as autoscalers may
	// make, with those that a rolling update adds, a migration and a scheduled
	// job in a pod of its own.
	Processes int32
	// Pool is how many one process may hold, Total how many all may.
	Pool, Total int32
}

// Most is what all processes together may come to ask for.
func (c Connections) Most() int32 { return c.Processes * c.Pool }

// ConnectionsOf has all pools fit into the total, unless the spec says how large
// a pool is, or there are too many processes even for the least pools.
func ConnectionsOf(s *v1alpha1.Store) Connections {
	spec := s.Spec.Database
	c := Connections{
		Processes: surged(mostAPI(s)) + surged(mostWorkers(s)) + besides,
		Total:     orDefault(spec.TotalConnections, defaultTotalConnections),
	}
	c.Pool = orDefault(spec.MaxConnections, min(max(c.Total/c.Processes, leastPool), config.Default().Database.MaxConnections))
	return c
}

// surged is how many pods a Deployment has at most during a rolling update.
func surged(replicas int32) int32 { return replicas + int32(math.Ceil(float64(replicas)*surge/100)) }

func mostAPI(s *v1alpha1.Store) int32 {
	if a := s.Spec.API.Autoscaling; a != nil {
		return a.MaxReplicas
	}
	return MinAPI(s)
}

func mostWorkers(s *v1alpha1.Store) int32 {
	if a := s.Spec.Worker.Autoscaling; a != nil {
		return a.MaxReplicas
	}
	return MinWorkers(s)
}
