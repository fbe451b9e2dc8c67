package store

import (
	"fmt"

	v1alpha1 "gitee.com/captainjez/gocart/api/v1alpha1"
	"gitee.com/captainjez/gocart/controllers/internal/plan"
	"gitee.com/captainjez/gocart/runtime/status"
)

// Waits are told of where so large a share of a pod's requests waited for a
// connection, for so many milliseconds on average.
const (
	manyWaited = 0.2
	longWait   = 20
)

// adviseConnections tells where the pods may ask the database for more
// connections than they should, or wait long for one; seen is nil where no pod
// says how it gets on.
func adviseConnections(run *run, seen *status.Connections) {
	c := plan.ConnectionsOf(run.store)
	say := func(reason, message string, args ...any) {
		run.conditions.True(v1alpha1.ConnectionsScarceCondition, reason, fmt.Sprintf(message, args...))
	}
	switch {
	case seen != nil && c.Most() > seen.Server:
		say(v1alpha1.ReasonAboveServer, "up to %d processes with %d connections each may ask for %d, and the database takes %d: "+
			"set spec.database.totalConnections to what it can spare and remove maxConnections, lower maxReplicas, or raise its max_connections", c.Processes, c.Pool, c.Most(), seen.Server)
	case c.Most() > c.Total:
		say(v1alpha1.ReasonAboveTotal, "up to %d processes with %d connections each may ask for %d, and spec.database.totalConnections is %d: "+
			"raise it if the database takes that many, lower maxReplicas, or remove maxConnections", c.Processes, c.Pool, c.Most(), c.Total)
	case seen != nil && seen.Waited >= manyWaited && seen.WaitMilliseconds >= longWait:
		// Without the figures, which are others each time: they are in the metrics.
		say(v1alpha1.ReasonLongWaits, "a fifth or more of what a pod asks the database waits for one of its %d connections, %d ms or longer on average: "+
			"raise spec.database.totalConnections or maxConnections if the database has processors to spare, and give it more if not", seen.Pool, longWait)
	}
}
