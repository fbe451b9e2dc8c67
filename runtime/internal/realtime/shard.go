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
	// by holds who subscribed, and the position that they know of a topic.
	by map[key]map[*session]int64
}

func newShard(h *Hub) *shard {
	return &shard{hub: h, news: make(chan struct{}, 1), sessions: map[*session]struct{}{}, by: map[key]map[*session]int64{}}
}

func (sh *shard) run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-sh.news:
		}
		position := sh.position()
		next, from := sh.hub.after(position)
		if position < from {
			sh.hub.log.Warn("clients are sent away, for events come faster than they are sent", "position", position, "remembered", from)
			sh.begin(from, "too much has happened: come back")
		}
		for _, e := range next {
			sh.give(e)
		}
	}
}

// begin goes on after a position. Who subscribed misses something, and is sent
// away to ask for it.
func (sh *shard) begin(position int64, reason string) {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	sh.cursor = position
	for s := range sh.sessions {
		if len(s.keys) > 0 {
			s.conn.Close(statusRestart, reason)
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
		for s, known := range sh.by[k] {
			if known < e.position && s.last < e.position && s.maySee(k, e) {
				s.last = e.position
				s.conn.Send(e.frameFor(s))
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

// maxTail is how many events a session that subscribes is sent while its shard
// waits.
const maxTail = 100

// add subscribes a session, which knows all up to a position, and sends it those
// that it wants since then. It returns false and does nothing where they are
// more than a few.
func (sh *shard) add(s *session, keys []key, known int64) (position int64, ok bool) {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	tail, from := sh.hub.after(known)
	if known < from || len(tail) > maxTail {
		return 0, false
	}
	wants := s.wants(keys)
	for _, e := range tail {
		if e.position <= sh.cursor && wants(e) {
			s.conn.Send(e.frameFor(s))
		}
	}
	sh.enter(s, keys, known)
	return sh.cursor, true
}

// enter subscribes a session to what happens from now on, and after what it
// knows already.
func (sh *shard) enter(s *session, keys []key, known int64) {
	if s.gone {
		return
	}
	for _, k := range keys {
		if sh.by[k] == nil {
			sh.by[k] = map[*session]int64{}
		}
		sh.by[k][s] = known
		s.subscribe(k)
	}
}

// addNew subscribes a session to what happens from now on.
func (sh *shard) addNew(s *session, keys []key) (position int64) {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	sh.enter(s, keys, sh.cursor)
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
