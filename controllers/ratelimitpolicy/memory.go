package ratelimitpolicy

import (
	"maps"
	"slices"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"

	v1alpha1 "gitee.com/captainjez/gocart/api/v1alpha1"
)

// memory is what a restart may lose: it costs some questions and one early
// write of counts.
type memory struct {
	mu     sync.Mutex
	stores map[types.NamespacedName]*record
}

// record is of one Store, which one reconcile at a time looks at.
type record struct {
	// hash is what pods were compared with last, complete how that went, and
	// since when it is so.
	hash     string
	complete bool
	since    time.Time
	// written is when each policy's status was, the last time.
	written map[types.UID]time.Time
}

// of drops what was remembered of policies that are gone.
func (m *memory) of(store types.NamespacedName, policies []v1alpha1.RateLimitPolicy) *record {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.stores == nil {
		m.stores = map[types.NamespacedName]*record{}
	}
	if m.stores[store] == nil {
		m.stores[store] = &record{written: map[types.UID]time.Time{}}
	}
	r := m.stores[store]
	gone := func(uid types.UID) bool {
		return !slices.ContainsFunc(policies, func(p v1alpha1.RateLimitPolicy) bool { return p.UID == uid })
	}
	maps.DeleteFunc(r.written, func(uid types.UID, _ time.Time) bool { return gone(uid) })
	return r
}

func (m *memory) forget(store types.NamespacedName) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.stores, store)
}

func (r *record) compare(hash string, complete bool, now time.Time) {
	if r.hash != hash || r.complete != complete {
		r.hash, r.complete, r.since = hash, complete, now
	}
}

// askAgain is when to ask the pods again; zero where a watch tells.
func (r *record) askAgain(run *run, now time.Time) time.Duration {
	switch {
	case run.store == nil || run.rollout.ready == 0:
		return 0
	case r.complete || run.store.Spec.Paused:
		return askSteady
	}
	return max(askSoonest, min(askSteady, now.Sub(r.since)/4))
}

func (r *record) wrote(p *v1alpha1.RateLimitPolicy, now time.Time) { r.written[p.UID] = now }
