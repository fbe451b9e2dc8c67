package jobschedule

import (
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"

	v1alpha1 "gitee.com/captainjez/gocart/api/v1alpha1"
	"gitee.com/captainjez/gocart/runtime/status"
)

// Nothing tells when a job ends, so it is asked for: soon after its pod changed
// and ever less often while the job is on its way, and rarely while none is, for
// somebody may have retried or purged a dead one.
const (
	askSoonest  = 2 * time.Second
	askPending  = 30 * time.Second
	askResting  = 5 * time.Minute
	askNobodyUp = 15 * time.Second
)

// memory is what a restart may lose: it costs a question for each schedule.
type memory struct {
	mu        sync.Mutex
	schedules map[types.NamespacedName]*record
}

// record is of one schedule, which one reconcile at a time looks at.
type record struct {
	// answer is the last one, nil before there was one.
	answer *status.Schedule
	// of names the state of the newest Kubernetes Job as it was then, since when it was so.
	of    string
	since time.Time
	next  time.Time
}

func (m *memory) of(schedule types.NamespacedName) *record {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.schedules == nil {
		m.schedules = map[types.NamespacedName]*record{}
	}
	if m.schedules[schedule] == nil {
		m.schedules[schedule] = &record{}
	}
	return m.schedules[schedule]
}

func (m *memory) forget(schedule types.NamespacedName) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.schedules, schedule)
}

// due tells whether to ask now.
func (r *record) due(now time.Time, p pod) bool { return r.of != state(p) || !now.Before(r.next) }

// asked takes an answer, and decides when to ask next; was is what was told of
// before.
func (r *record) asked(now time.Time, p pod, answer *status.Schedule, was *v1alpha1.JobRun) {
	if is := state(p); r.of != is {
		r.of, r.since = is, now
	}
	if answer == nil {
		r.next = now.Add(askNobodyUp)
		return
	}
	r.answer = answer
	r.next = now.Add(askResting)
	if last := p.last(answer, was); p.job != nil && !p.ended() || last != nil && last.FinishedAt == nil {
		r.next = now.Add(max(askSoonest, min(askPending, now.Sub(r.since)/4)))
	}
}

// state names a Job, and differs when its pod has ended.
func state(p pod) string {
	switch {
	case p.job == nil:
		return "none"
	case p.ended():
		return string(p.job.UID) + " ended"
	}
	return string(p.job.UID)
}
