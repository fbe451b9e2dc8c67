package db

import (
	"sync"
	"time"

	"gitee.com/captainjez/gocart/runtime/status"
)

// waitsWindow is over how long waits for a connection are told of at least,
// where they are asked for regularly.
const waitsWindow = 5 * time.Minute

// waits remembers how much was waited up to the beginning of this window and of
// the one before it.
type waits struct {
	mu             sync.Mutex
	before, latest waited
}

// waited counts since the process began.
type waited struct {
	at              time.Time
	acquires, waits int64
	waiting         time.Duration
}

// since is the share that waited since another moment, and for how long each.
func (w waited) since(before waited) (share float64, each time.Duration) {
	if n := w.acquires - before.acquires; n > 0 {
		share = float64(w.waits-before.waits) / float64(n)
	}
	if n := w.waits - before.waits; n > 0 {
		each = (w.waiting - before.waiting) / time.Duration(n)
	}
	return share, each
}

// see notes what is so now, and returns the beginning of the window before.
func (w *waits) see(now waited) (before waited) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if now.at.Sub(w.latest.at) >= waitsWindow {
		w.before, w.latest = w.latest, now
	}
	return w.before
}

// Connections tells how the process gets on with its connections to a server
// that Check saw.
func (p *Pools) Connections(h Health) *status.Connections {
	s := p.Main.Stat()
	now := waited{at: time.Now(), acquires: s.AcquireCount(), waits: s.EmptyAcquireCount(), waiting: s.EmptyAcquireWaitTime()}
	share, each := now.since(p.waits.see(now))
	return &status.Connections{
		Server: h.MaxConnections, Pool: s.MaxConns() + p.Probe.Stat().MaxConns(),
		Waited: share, WaitMilliseconds: float64(each.Microseconds()) / 1000,
	}
}
