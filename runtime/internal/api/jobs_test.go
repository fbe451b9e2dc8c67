package api_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"gitee.com/captainjez/gocart/runtime/openapi"
)

func TestStaffEnqueueFindRetryAndForgetJobs(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	enqueue := func(body string) openapi.Job {
		return admin[openapi.Job](s, "POST", "/jobs", body, http.StatusCreated)
	}
	first := enqueue(`{"kind":"retention"}`)
	later := enqueue(`{"kind":"expiry","queue":"high","maxAttempts":2,"timeoutSeconds":7,"payload":{},"scheduledAt":"2030-01-01T00:00:00Z"}`)
	if first.State != openapi.JobStateAvailable || first.Queue != "upkeep" || first.MaxAttempts != 5 || string(first.Payload) != "{}" {
		t.Errorf("%+v", first)
	}
	if later.State != openapi.JobStateScheduled || later.Queue != "high" || later.MaxAttempts != 2 || later.ScheduledAt.Year() != 2030 {
		t.Errorf("%+v", later)
	}
	page := func(query string) openapi.JobPage {
		return admin[openapi.JobPage](s, "GET", "/jobs"+query, "", http.StatusOK)
	}
	newest := page("?limit=1")
	if len(newest.Jobs) != 1 || newest.Jobs[0].Id != later.Id || newest.NextCursor == nil {
		t.Fatalf("%+v", newest)
	}
	if next := page("?limit=1&cursor=" + *newest.NextCursor); len(next.Jobs) != 1 || next.Jobs[0].Id != first.Id || next.NextCursor != nil {
		t.Errorf("%+v", next)
	}
	for query, want := range map[string]int64{"?state=scheduled": later.Id, "?kind=retention": first.Id, "?queue=upkeep": first.Id} {
		if found := page(query); len(found.Jobs) != 1 || found.Jobs[0].Id != want {
			t.Errorf("%s: %+v", query, found)
		}
	}
	if _, err := s.Pool.Exec(t.Context(), `UPDATE river_job SET state = 'discarded', finalized_at = now(), attempt = 5,
		errors = ARRAY['{"at": "2026-01-01T00:00:00Z", "attempt": 5, "error": "the disk is full", "trace": "goroutine 1"}'::jsonb] WHERE id = $1`, first.Id); err != nil {
		t.Fatal(err)
	}
	dead := admin[openapi.Job](s, "GET", fmt.Sprintf("/jobs/%d", first.Id), "", http.StatusOK)
	if dead.State != openapi.JobStateDead || len(dead.Failures) != 1 || dead.Failures[0].Error != "the disk is full" || *dead.Failures[0].Stack != "goroutine 1" {
		t.Errorf("%+v", dead)
	}
	if again := admin[openapi.Job](s, "POST", fmt.Sprintf("/jobs/%d/retry", first.Id), "", http.StatusOK); again.State != openapi.JobStateAvailable || again.MaxAttempts != 6 {
		t.Errorf("%+v", again)
	}
	wantProblem(t, s.do("POST", fmt.Sprintf("/jobs/%d/retry", first.Id), "", "Authorization", "Bearer "+adminKey), http.StatusConflict, "job_not_retryable")
	if queues := admin[openapi.JobQueueList](s, "GET", "/job-queues", "", http.StatusOK).Queues; len(queues) != 3 || queues[2].Waiting != 0 || queues[0].Waiting != 0 {
		t.Errorf("%+v", queues)
	}
	if _, err := s.Pool.Exec(t.Context(), `UPDATE river_job SET state = 'discarded', finalized_at = now()`); err != nil {
		t.Fatal(err)
	}
	if n := admin[openapi.JobCount](s, "POST", "/dead-jobs/retry?kind=expiry", "", http.StatusOK); n.Jobs != 1 {
		t.Errorf("%+v", n)
	}
	if n := admin[openapi.JobCount](s, "DELETE", "/dead-jobs", "", http.StatusOK); n.Jobs != 1 {
		t.Errorf("%+v", n)
	}
	if w := s.do("DELETE", fmt.Sprintf("/jobs/%d", later.Id), "", "Authorization", "Bearer "+adminKey); w.Code != http.StatusNoContent {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	if left := page(""); len(left.Jobs) != 0 {
		t.Errorf("%+v", left)
	}
}

func TestEveryKindOfJobsSaysWhatItTakes(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	kinds := admin[openapi.JobKindList](s, "GET", "/job-kinds", "", http.StatusOK).Kinds
	if len(kinds) < 2 {
		t.Fatalf("%+v", kinds)
	}
	for _, k := range kinds {
		if k.Description == "" || k.MaxAttempts < 1 || k.TimeoutSeconds < 1 || !strings.Contains(string(k.PayloadSchema), `"type":"object"`) {
			t.Errorf("%+v", k)
		}
	}
}
