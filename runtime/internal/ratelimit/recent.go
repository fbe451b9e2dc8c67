package ratelimit

import (
	"sync"
	"time"
)

// recentMinutes is how far back Recent counts, the minute that goes on included.
const recentMinutes = 5

// Recent counts what happened within the last five minutes.
type Recent struct {
	mu      sync.Mutex
	minutes [recentMinutes]struct{ minute, n int64 }
}

// Add counts one now.
func (r *Recent) Add() {
	minute := time.Now().Unix() / 60
	r.mu.Lock()
	defer r.mu.Unlock()
	m := &r.minutes[minute%recentMinutes]
	if m.minute != minute {
		m.minute, m.n = minute, 0
	}
	m.n++
}

// Count is how many there were.
func (r *Recent) Count() int64 {
	minute := time.Now().Unix() / 60
	r.mu.Lock()
	defer r.mu.Unlock()
	n := int64(0)
	for _, m := range r.minutes {
		if m.minute > minute-recentMinutes {
			n += m.n
		}
	}
	return n
}
