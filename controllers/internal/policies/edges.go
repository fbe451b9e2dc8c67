package policies

import (
	"fmt"
	"sync"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1alpha1 "gitee.com/captainjez/gocart/api/v1alpha1"
	"gitee.com/captainjez/gocart/controllers/internal/plan"
)

// Edges plans the edge of Stores and remembers the last plan of each: thousands
// of networks take tens of milliseconds to merge and render. The zero value is
// ready, and may be used by many at once.
type Edges struct {
	mu      sync.Mutex
	planned map[types.NamespacedName]planned
}

type planned struct {
	of   string
	edge plan.EdgeFile
}

// Of is plan.Edge. Its result is shared and only to be looked at.
func (e *Edges) Of(s *v1alpha1.Store, policies []v1alpha1.RateLimitPolicy) (plan.EdgeFile, error) {
	// A spec is told by its object and generation.
	of := fmt.Sprint(s.UID, s.Generation)
	for i := range policies {
		p := &policies[i]
		of += fmt.Sprint(" ", p.UID, p.Generation, p.DeletionTimestamp.IsZero())
	}
	key := client.ObjectKeyFromObject(s)
	e.mu.Lock()
	defer e.mu.Unlock()
	if known, ok := e.planned[key]; ok && known.of == of {
		return known.edge, nil
	}
	edge, err := plan.Edge(s, policies)
	if err != nil {
		return plan.EdgeFile{}, err
	}
	if e.planned == nil {
		e.planned = map[types.NamespacedName]planned{}
	}
	e.planned[key] = planned{of, edge}
	return edge, nil
}

// Forget drops what was remembered of a Store.
func (e *Edges) Forget(store types.NamespacedName) {
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.planned, store)
}
