package ratelimit

import "time"

// BansAny reports whether anybody may be banned, as far as this process knows:
// where nobody is, no key need be named to Banned.
func (l *Limiter) BansAny() bool { return l.bans.some.Load() }

// Banned is how long the key is still banned for, as far as this process
// knows without asking; who is counts as refused.
func (l *Limiter) Banned(key string) time.Duration {
	left, _ := l.bans.check(&request{counters: []Counter{{Key: key}}, now: l.now()}, l.redis.Up())
	if left > 0 {
		l.metrics.count(&Decision{BannedFor: left, Source: Memory})
		l.refused.Add()
	}
	return left
}

// Blocked counts a request that was refused by a list.
func (l *Limiter) Blocked() { l.refused.Add() }
