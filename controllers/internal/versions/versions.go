// Package versions knows which objects the cache tells of as they were before
// the controller's own last write.
package versions

import (
	"strconv"
	"sync"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// Written remembers the version that the last write of each object returned.
// The zero value is ready, and may be used by many at once.
type Written struct {
	mu    sync.Mutex
	known map[types.UID]uint64
}

// Wrote remembers an object as a write returned it.
func (w *Written) Wrote(o client.Object) {
	version, err := strconv.ParseUint(o.GetResourceVersion(), 10, 64)
	if err != nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.known == nil {
		w.known = map[types.UID]uint64{}
	}
	w.known[o.GetUID()] = version
}

// Behind tells whether a cached object is older than the last write of it.
func (w *Written) Behind(o client.Object) bool {
	have, err := strconv.ParseUint(o.GetResourceVersion(), 10, 64)
	w.mu.Lock()
	defer w.mu.Unlock()
	if err == nil && have < w.known[o.GetUID()] {
		return true
	}
	// It has caught up: there is nothing to remember any more.
	delete(w.known, o.GetUID())
	return false
}
