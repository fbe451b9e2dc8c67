package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"gitee.com/captainjez/gocart/runtime/internal/testbed"
	"gitee.com/captainjez/gocart/runtime/status"
)

// terminal runs gocart's commands on a store without workers.
type terminal struct {
	t        *testing.T
	config   string
	database string
}

func newTerminal(t *testing.T) *terminal {
	t.Helper()
	uri := testbed.Database(t)
	raw, err := storeConfig(t, uri).Marshal()
	if err != nil {
		t.Fatal(err)
	}
	return &terminal{t: t, config: testbed.File(t, string(raw)), database: uri}
}

func (c *terminal) run(args ...string) (string, error) { return c.runIn(c.t.Context(), args...) }

func (c *terminal) runIn(ctx context.Context, args ...string) (string, error) {
	var out bytes.Buffer
	root := rootCommand()
	root.SetOut(&out)
	root.SetArgs(append(args, "--config", c.config))
	err := root.ExecuteContext(ctx)
	return out.String(), err
}

// reported runs a command that writes a report.
func (c *terminal) reported(args ...string) (status.Enqueued, error) {
	c.t.Helper()
	file := filepath.Join(c.t.TempDir(), "report")
	_, failure := c.run(append(args, "--report", file)...)
	raw, err := os.ReadFile(file)
	if err != nil {
		c.t.Fatal(err)
	}
	var e status.Enqueued
	if err := json.Unmarshal(raw, &e); err != nil {
		c.t.Fatal(err)
	}
	return e, failure
}

func TestEnqueueStoresAJobAndReportsIt(t *testing.T) {
	t.Parallel()
	c := newTerminal(t)
	e, err := c.reported("enqueue", "retention", "--schedule", "nightly", "--key", "nightly-1", "--queue", "high", "--max-attempts", "2", "--timeout", "30s")
	if err != nil || e.Job == nil || e.Job.State != status.JobAvailable || e.Job.MaxAttempts != 2 || e.Error != "" {
		t.Fatalf("%+v %v", e, err)
	}
	again, err := c.reported("enqueue", "retention", "--key", "nightly-1")
	if err != nil || again.Job == nil || again.Job.ID != e.Job.ID {
		t.Errorf("%+v %v", again, err)
	}
	later, err := c.reported("enqueue", "retention", "--jitter", "1h")
	if err != nil || later.Job.State != status.JobScheduled {
		t.Errorf("%+v %v", later, err)
	}
	shown, err := c.run("jobs", "show", fmt.Sprint(e.Job.ID))
	if err != nil || !strings.Contains(shown, `"schedule": "nightly"`) || !strings.Contains(shown, `"queue": "high"`) {
		t.Errorf("%s %v", shown, err)
	}
}

func TestEveryLineIsAJobOrNoneIs(t *testing.T) {
	t.Parallel()
	c := newTerminal(t)
	if out, err := c.run("enqueue", "retention", "--payloads", testbed.File(t, "{}\n{}\n{}\n")); err != nil || !strings.Contains(out, "3 jobs of kind retention are enqueued") {
		t.Errorf("%s %v", out, err)
	}
	if _, err := c.run("enqueue", "retention", "--payloads", testbed.File(t, "{}\n{\"days\": 3}\n")); err == nil || !strings.Contains(err.Error(), "line 2") || !strings.Contains(err.Error(), "/payload/days unknown field") {
		t.Errorf("%v", err)
	}
	if list, err := c.run("jobs", "list"); err != nil || strings.Count(list, "\n") != 4 {
		t.Errorf("%s %v", list, err)
	}
}

func TestWhatIsWrongWithARequestIsSaidAndReported(t *testing.T) {
	t.Parallel()
	c := newTerminal(t)
	for args, want := range map[string]string{
		"enqueue retension":                      `/kind "retension" is no kind of jobs; there are expiry, low_stock, payment_event, payment_operation, payment_reconciliation, report, retention`,
		"run-job retension":                      `/kind "retension" is no kind of jobs; there are expiry, low_stock, payment_event, payment_operation, payment_reconciliation, report, retention`,
		`enqueue retention --payload {"days":3}`: "/payload/days unknown field",
		"enqueue retention --payload days":       "is not JSON",
		"enqueue retention --queue slow":         "/queue must be one of high, normal, low",
		"enqueue retention --timeout 25h":        "/timeout must be above 0s and 24h0m0s at most",
		"run-job retention --max-attempts -1":    "/maxAttempts must be 1 to 100",
	} {
		e, err := c.reported(strings.Fields(args)...)
		if err == nil || !strings.Contains(err.Error(), want) || e.Error != err.Error() || e.Job != nil {
			t.Errorf("%s: %v; %+v", args, err, e)
		}
	}
	if list, err := c.run("jobs", "list"); err != nil || strings.Count(list, "\n") != 1 {
		t.Errorf("%s %v", list, err)
	}
	for _, args := range [][]string{{"jobs", "show", "x"}, {"jobs", "show", "7"}, {"jobs", "retry", "7"}, {"jobs", "retry", "every"}, {"jobs", "list", "--state", "lost"}, {"jobs", "list", "--queue", "slow"}} {
		if out, err := c.run(args...); err == nil {
			t.Errorf("%v: %s", args, out)
		}
	}
}

func TestRunJobWorksOneJobInThisProcess(t *testing.T) {
	t.Parallel()
	c := newTerminal(t)
	e, err := c.reported("run-job", "retention", "--key", "nightly-1", "--jitter", "1ms")
	if err != nil || e.Job == nil || e.Job.State != status.JobCompleted || e.Job.Attempt != 1 {
		t.Fatalf("%+v %v", e, err)
	}
	again, err := c.reported("run-job", "retention", "--key", "nightly-1")
	if err != nil || again.Job.ID != e.Job.ID || again.Job.Attempt != 1 {
		t.Errorf("it was done and is done again: %+v %v", again, err)
	}
}

func TestDeadJobsAreShownRetriedAndForgottenAtATerminal(t *testing.T) {
	t.Parallel()
	c := newTerminal(t)
	e, err := c.reported("enqueue", "retention")
	if err != nil {
		t.Fatal(err)
	}
	kill := func() {
		t.Helper()
		conn, err := pgx.Connect(t.Context(), c.database)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = conn.Close(t.Context()) }()
		if _, err := conn.Exec(t.Context(), `UPDATE river_job SET state = 'discarded', finalized_at = now(), attempt = 5,
			errors = ARRAY['{"at": "2026-01-01T00:00:00Z", "attempt": 5, "error": "the disk is full\nof it", "trace": ""}'::jsonb]`); err != nil {
			t.Fatal(err)
		}
	}
	want := func(text string, args ...string) {
		t.Helper()
		if out, err := c.run(args...); err != nil || !strings.Contains(out, text) {
			t.Errorf("%v: %s %v", args, out, err)
		}
	}
	kill()
	id := fmt.Sprint(e.Job.ID)
	want("the disk is full ...", "jobs", "list", "--state", "dead", "--kind", "retention")
	want("0 dead jobs", "jobs", "retry", "all", "--kind", "expiry")
	want("1 dead jobs are worked again", "jobs", "retry", "all")
	kill()
	want("job "+id+" is worked again", "jobs", "retry", id)
	want("low     0", "jobs", "queues")
	kill()
	want("1 dead jobs are forgotten", "jobs", "purge")
	want("retention", "jobs", "kinds")

	conn, err := pgx.Connect(t.Context(), c.database)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(t.Context()) }()
	var recorded string
	err = conn.QueryRow(t.Context(), `SELECT string_agg(actor || ', ' || action || ': ' || change, '; ' ORDER BY sequence) FROM audit WHERE object = 'job' AND object_id = $1`, id).Scan(&recorded)
	if err != nil || recorded != "command, gocart jobs retry: changed; command, gocart jobs retry: changed; command, gocart jobs purge: deleted" {
		t.Errorf("recorded is %s: %v", recorded, err)
	}
}
