package ratelimit

import (
	"sync"
	"sync/atomic"
	"time"
)

const (
	// maxBans bounds the bans in memory; more are in Redis only.
	maxBans = 100_000
	// banChecked is how long a ban is believed before Redis is asked again
	// whether it was lifted.
	banChecked = 10 * time.Second
)

// bans are those that this process knows of.
type bans struct {
	some  atomic.Bool
	mu    sync.RWMutex
	byKey map[string]ban
}

type ban struct {
	end, check time.Duration
}

func newBans() *bans { return &bans{byKey: map[string]ban{}} }

// check returns the longest time that any of the counters is still banned for.
// ask is set where Redis, being up, is to be asked whether that is still so.
func (b *bans) check(q *request, up bool) (left time.Duration, ask bool) {
	if !b.some.Load() {
		return 0, false
	}
	b.mu.RLock()
	defer b.mu.RUnlock()
	for _, c := range q.counters {
		known := b.byKey[c.Key]
		switch {
		case known.end <= q.now:
		case up && known.check <= q.now:
			ask = true
		default:
			left = max(left, known.end-q.now)
		}
	}
	return left, ask
}

// told takes what Redis says about a key, and returns the time that is left.
func (b *bans) told(key string, left, now time.Duration) time.Duration {
	switch {
	case left > 0:
		b.set(key, now, left, false)
	case b.some.Load():
		b.mu.RLock()
		known := b.byKey[key]
		b.mu.RUnlock()
		if known.check >= known.end { // Redis was never told
			return max(0, known.end-now)
		}
		b.lift(key)
	}
	return left
}

// set bans a key; own is a ban that Redis does not know.
func (b *bans) set(key string, now, d time.Duration, own bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.byKey) >= maxBans {
		b.prune(now)
	}
	if len(b.byKey) >= maxBans {
		return
	}
	n := ban{end: now + d, check: now + min(d, banChecked)}
	if own {
		n.check = n.end
	}
	b.byKey[key] = n
	b.some.Store(true)
}

func (b *bans) lift(key string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.byKey, key)
	b.some.Store(len(b.byKey) > 0)
}

func (b *bans) count(now time.Duration) int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.prune(now)
	return int64(len(b.byKey))
}

// prune drops what has ended; b.mu is held.
func (b *bans) prune(now time.Duration) {
	for key, known := range b.byKey {
		if known.end <= now {
			delete(b.byKey, key)
		}
	}
	b.some.Store(len(b.byKey) > 0)
}
