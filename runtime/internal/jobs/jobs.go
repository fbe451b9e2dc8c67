// Package jobs is the store's background work: River's queues in the store's
// own database, so that a job commits with what caused it and is worked once
// that is so.
//
// A Kind says what a job of its name does; the packages of commerce have
// theirs. A Queue takes jobs in, a Worker works them, and a Ledger tells of
// them, and lets staff have dead ones worked again. The package knows no
// commerce.
//
// A job is worked at least once: what it does must bear to be done again. It
// fails by an error and is then tried again after 1 s, 2 s, 4 s and so on up
// to an hour, as often as its kind says; one that fails with Permanent, or for
// the last time, is dead and kept for a month.
package jobs

import (
	"math/rand/v2"
	"time"

	"github.com/riverqueue/river"
	"github.com/riverqueue/river/rivertype"

	"gitee.com/captainjez/gocart/runtime/config"
)

const (
	// keepDone and keepDead are how long a job is kept that was done, or is dead.
	keepDone = 24 * time.Hour
	keepDead = 30 * 24 * time.Hour
)

// upkeep is the queue of what the store itself asks for. It is served where
// the API is too, and does not count for how many workers there should be: a
// store whose workers are scaled to none still gives back what was held.
const upkeep = "upkeep"

// served are the queues that have workers of the store, in the order of urgency.
func served() []string { return append(config.Queues(), upkeep) }

// Permanent marks an error that trying again would not mend: its job is dead
// at once.
func Permanent(err error) error { return river.JobCancel(err) }

// backoff has the n-th failure followed by a pause of 2^(n-1) seconds, an hour
// at most, give or take a fifth, so that what failed together does not come
// back together.
type backoff struct{ now func() time.Time }

const (
	firstPause  = time.Second
	longestWait = time.Hour
)

// NextRetry is when a job is tried again whose attempt just failed.
func (b backoff) NextRetry(job *rivertype.JobRow) time.Time {
	pause := longestWait
	if failures := len(job.Errors); failures < 12 { // 2^12 s are more than an hour
		pause = min(longestWait, firstPause<<failures)
	}
	return b.now().Add(time.Duration(float64(pause) * (0.8 + 0.4*rand.Float64()))) //nolint:gosec // it only spreads
}
