package status

import "time"

// Jobs is the answer of GET /internal/jobs (application/json).
type Jobs struct {
	// Queues are all of them, the most urgent first.
	Queues []Queue `json:"queues"`
}

// Queue is how much there is to do in a queue of jobs.
type Queue struct {
	Name string `json:"name"`
	// Waiting are the jobs that could be worked now and are not. Counting ends
	// at CountedJobs.
	Waiting int64 `json:"waiting"`
	// Running are the jobs being worked.
	Running int64 `json:"running"`
	// OldestSeconds is how long the first of those that wait could have been
	// worked; 0 where none waits.
	OldestSeconds float64 `json:"oldestSeconds"`
}

// CountedJobs is where the counting of a queue's jobs ends.
const CountedJobs = 100_000

// The states of a job.
const (
	JobScheduled = "scheduled" // for later
	JobAvailable = "available" // waits for a worker
	JobRunning   = "running"   // is being worked
	JobRetryable = "retryable" // failed, and is tried again
	JobCompleted = "completed" // was done
	JobDead      = "dead"      // failed for good, and is kept for a person to look at
)

// Job is one job.
type Job struct {
	ID    int64  `json:"id"`
	Kind  string `json:"kind"`
	State string `json:"state"`
	// Attempt counts those that began, of MaxAttempts.
	Attempt     int `json:"attempt"`
	MaxAttempts int `json:"maxAttempts"`
	// Error is that of the last attempt that failed.
	Error     string    `json:"error,omitempty"`
	CreatedAt time.Time `json:"createdAt"`
	// FinishedAt is set when it is completed or dead.
	FinishedAt *time.Time `json:"finishedAt,omitempty"`
}

// Schedule is the answer of GET /internal/schedules/{name}: what became of the
// jobs that `gocart enqueue` or `run-job` made with --schedule.
type Schedule struct {
	// Last is the newest job, nil where there is none any more.
	Last *Job `json:"last,omitempty"`
	// LastFinished is the newest that is completed or dead.
	LastFinished *Job `json:"lastFinished,omitempty"`
	// Dead counts those that are dead.
	Dead int64 `json:"dead"`
}

// Enqueued is written as one JSON line by `gocart enqueue` and `run-job` to the
// file that --report names, on success and failure.
type Enqueued struct {
	// Job is nil where none was made.
	Job *Job `json:"job,omitempty"`
	// Error says why the command failed, for people.
	Error string `json:"error,omitempty"`
}
