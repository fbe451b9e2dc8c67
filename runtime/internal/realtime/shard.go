package realtime

import (
	"context"
	"sync"
	"time"
)

// shard holds a part of the subscribers.
type shard struct {
	hub *Hub
	// news wakes it.
	news chan struct{}

	mu sync.Mutex
	// cursor is the position of the last event that was given to all who
	// subscribed to it.
	cursor   int64
	sessions map[*session]struct{}
	by       map[key]map[*session]struct{}
}

func newShard(h *Hub) *shard {
	return &shard{hub: h, news: make(chan struct{}, 1), sessions: map[*session]struct{}{}, by: map[key]map[*session]struct{}{}}
}

func (sh *shard) run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-sh.news:
		}
		for _, e := range sh.hub.after(sh.position()) {
			sh.give(e)
		}
	}
}

func (sh *shard) position() int64 {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	return sh.cursor
}

// give sends an event to all who subscribed to it and may see it, once each.
func (sh *shard) give(e *event) {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if e.position <= sh.cursor {
		return
	}
	sh.cursor = e.position
	sent := 0
	for _, k := range e.keys() {
		for s := range sh.by[k] {
			if s.last < e.position && s.maySee(k, e) {
				s.last = e.position
				s.conn.Send(e.frame)
				sent++
			}
		}
	}
	if sent > 0 {
		sh.hub.metrics.sent.Add(float64(sent))
		sh.hub.metrics.delay.Observe(time.Since(e.at).Seconds())
	}
}

// keys are what may be subscribed to for the event.
func (e *event) keys() []key {
	keys := []key{{topic: e.topic}, {e.topic, one, e.object}}
	if e.public {
		keys = append(keys, key{e.topic, own, e.owner})
	}
	return keys
}

// maySee reports whether an event is for who subscribed by a key, which was
// theirs to subscribe to. What is not public is for who reads the whole topic.
func (s *session) maySee(k key, e *event) bool {
	return e.public || k.scope == all || s.who.Load().Can(readers[e.topic])
}

// add subscribes a session, and sends it those of the missed events, which are
// in order, that are for it; then those since that the shard has seen.
func (sh *shard) add(s *session, keys []key, missed []*event, after int64, replay bool) (position int64) {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if s.gone {
		return sh.cursor
	}
	for _, k := range keys {
		if sh.by[k] == nil {
			sh.by[k] = map[*session]struct{}{}
		}
		sh.by[k][s] = struct{}{}
		s.subscribe(k)
	}
	if !replay {
		return sh.cursor
	}
	s.last = max(s.last, after)
	wanted := make(map[key]bool, len(keys))
	for _, k := range keys {
		wanted[k] = true
	}
	for _, e := range append(missed, sh.hub.after(after)...) {
		if e.position <= after || e.position > sh.cursor {
			continue
		}
		after = e.position
		for _, k := range e.keys() {
			if wanted[k] && s.maySee(k, e) {
				s.conn.Send(e.frame)
				break
			}
		}
	}
	return sh.cursor
}

// remove ends a subscription.
func (sh *shard) remove(s *session, k key) {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	sh.drop(s, k)
	s.unsubscribe(k)
}

func (sh *shard) drop(s *session, k key) {
	delete(sh.by[k], s)
	if len(sh.by[k]) == 0 {
		delete(sh.by, k)
	}
}

// forget ends all of a session's subscriptions.
func (sh *shard) forget(s *session) {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	s.gone = true
	for _, k := range s.keys {
		sh.drop(s, k)
	}
	s.keys = nil
	delete(sh.sessions, s)
}

func (sh *shard) all() []*session {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	list := make([]*session, 0, len(sh.sessions))
	for s := range sh.sessions {
		list = append(list, s)
	}
	return list
}
