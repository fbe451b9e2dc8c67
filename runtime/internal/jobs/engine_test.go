package jobs

import (
	"context"
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/rivertype"

	"gitee.com/captainjez/gocart/runtime/config"
	"gitee.com/captainjez/gocart/runtime/internal/batch"
	"gitee.com/captainjez/gocart/runtime/internal/db"
	"gitee.com/captainjez/gocart/runtime/internal/jobs/jobsdb"
	"gitee.com/captainjez/gocart/runtime/internal/problem"
	"gitee.com/captainjez/gocart/runtime/internal/testbed"
	"gitee.com/captainjez/gocart/runtime/status"
)

func TestMain(m *testing.M) { testbed.Main(m) }

// chore is a kind of the tests.
type chore struct {
	Name  string   `json:"name"`
	Notes []string `json:"notes,omitempty"`
}

func (chore) Kind() string { return "chore" }

func (chore) InsertOpts() river.InsertOpts {
	return river.InsertOpts{Queue: config.QueueNormal, MaxAttempts: 3}
}

func (c chore) Check() error {
	if c.Name == "forbidden" {
		return problem.Invalid(problem.Field{Pointer: "/name", Detail: "is forbidden"})
	}
	return nil
}

// tick is what the store itself asks for.
type tick struct{}

func (tick) Kind() string                 { return "tick" }
func (tick) InsertOpts() river.InsertOpts { return Once(time.Hour) }

// house is a store's jobs in a database of a test's own.
type house struct {
	t      testing.TB
	pool   *pgxpool.Pool
	queue  *Queue
	kinds  Kinds
	ledger *Ledger
	log    *testbed.Log
	chores func(context.Context, *river.Job[chore]) error
	ticks  atomic.Int64
}

func newHouse(t testing.TB) *house {
	t.Helper()
	h := &house{t: t, pool: testbed.Pools(t).Main, log: &testbed.Log{}, chores: func(context.Context, *river.Job[chore]) error { return nil }}
	var err error
	if h.queue, err = NewQueue(h.log.Logger(), time.Now); err != nil {
		t.Fatal(err)
	}
	h.kinds = Kinds{
		Of(Kind{About: "Does a chore."}, func(ctx context.Context, job *river.Job[chore]) error { return h.chores(ctx, job) }),
		Of(Kind{About: "Ticks.", Every: time.Hour}, func(context.Context, *river.Job[tick]) error { h.ticks.Add(1); return nil }),
	}
	h.ledger = NewLedger(h.pool, h.kinds, h.queue, time.Now)
	return h
}

// worker starts one, and returns what stops it and waits for its end.
func (h *house) worker(changes ...func(*Worker)) (stop func()) {
	h.t.Helper()
	c := config.Default()
	c.Server.DrainTimeout = config.Duration(500 * time.Millisecond)
	w := NewWorker(c, Options{Pool: h.pool, Kinds: h.kinds, Queue: h.queue, Log: h.log.Logger(), Metrics: prometheus.NewRegistry(), Now: time.Now})
	w.terms = terms{beat: 50 * time.Millisecond, lapse: 500 * time.Millisecond, cut: 500 * time.Millisecond}
	for _, change := range changes {
		change(w)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() {
		if err := w.Run(ctx); err != nil {
			h.t.Error(err)
		}
	})
	stop = func() { cancel(); running.Wait() }
	h.t.Cleanup(stop)
	return stop
}

func (h *house) enqueue(all ...Args) {
	h.t.Helper()
	for _, args := range all {
		if err := db.WithTx(h.t.Context(), h.pool, func(tx pgx.Tx) error { return h.queue.Enqueue(h.t.Context(), tx, args) }); err != nil {
			h.t.Fatal(err)
		}
	}
}

func (h *house) ask(r Request) (e Entry, err error) {
	err = db.WithTx(h.t.Context(), h.pool, func(tx pgx.Tx) error {
		e, err = h.ledger.Enqueue(h.t.Context(), tx, r)
		return err
	})
	return e, err
}

func (h *house) list(f Filter) []Entry {
	h.t.Helper()
	all, err := h.ledger.List(h.t.Context(), f, 1<<62, 100)
	if err != nil {
		h.t.Fatal(err)
	}
	return all
}

// until waits for the one chore to be in a state, and returns it.
func (h *house) until(state string) (e Entry) {
	h.t.Helper()
	testbed.Eventually(h.t, "the chore is "+state, func() bool {
		found := h.list(Filter{Kind: "chore", State: state})
		if len(found) == 1 {
			e = found[0]
		}
		return len(found) == 1
	})
	return e
}

func TestAJobIsWorkedWhenItsTransactionCommitsAndNotBefore(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	worked := make(chan string, 9)
	h.chores = func(_ context.Context, job *river.Job[chore]) error { worked <- job.Args.Name; return nil }
	h.worker()
	rolledBack := errors.New("rolled back")
	err := db.WithTx(t.Context(), h.pool, func(tx pgx.Tx) error {
		return errors.Join(h.queue.Enqueue(t.Context(), tx, chore{Name: "never"}), rolledBack)
	})
	if !errors.Is(err, rolledBack) {
		t.Fatal(err)
	}
	h.enqueue(chore{Name: "sweep"})
	if name := <-worked; name != "sweep" {
		t.Errorf("worked %q", name)
	}
	h.until(status.JobCompleted)
}

func TestWhatTheStoreItselfAsksForIsDoneOnceHoweverManyWorkersThereAre(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	for range 3 {
		h.worker()
	}
	testbed.Eventually(t, "it was done", func() bool { return h.ticks.Load() > 0 })
	h.enqueue(chore{Name: "something later"})
	h.until(status.JobCompleted)
	if n := h.ticks.Load(); n != 1 || len(h.list(Filter{Kind: "tick"})) != 1 {
		t.Errorf("%d times, %d jobs", n, len(h.list(Filter{Kind: "tick"})))
	}
}

func TestAFailedJobIsTriedAgainAndAPermanentFailureIsNot(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.chores = func(_ context.Context, job *river.Job[chore]) error {
		switch {
		case job.Args.Name == "hopeless":
			return Permanent(errors.New("there is no broom"))
		case job.Attempt == 1:
			return errors.New("the broom is in use")
		}
		return nil
	}
	h.worker()
	h.enqueue(chore{Name: "sweep"}, chore{Name: "hopeless"})
	done, dead := h.until(status.JobCompleted), h.until(status.JobDead)
	if done.Attempt != 2 || len(done.Failures) != 1 || done.Failures[0].Error != "the broom is in use" {
		t.Errorf("%+v", done)
	}
	if dead.Attempt != 1 || !strings.Contains(dead.Error, "there is no broom") || dead.FinishedAt == nil {
		t.Errorf("%+v", dead)
	}
	for event, want := range map[string]float64{"enqueued": 2, "started": 3, "completed": 1, "failed": 2, "retried": 1, "dead": 1} {
		if got := testutil.ToFloat64(h.queue.events.WithLabelValues("chore", "normal", event)); got != want {
			t.Errorf("%s: %v, not %v", event, got, want)
		}
	}
}

func TestAPanicIsAFailureWithItsStack(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.chores = func(context.Context, *river.Job[chore]) error { panic("the broom broke") }
	h.worker()
	if _, err := h.ask(Request{Kind: "chore", Payload: json.RawMessage(`{"name": "sweep"}`), MaxAttempts: 1}); err != nil {
		t.Fatal(err)
	}
	dead := h.until(status.JobDead)
	if f := dead.Failures; len(f) != 1 || !strings.Contains(f[0].Error, "the broom broke") || !strings.Contains(f[0].Trace, "engine_test.go") {
		t.Errorf("%+v", f)
	}
}

func TestPausesDoubleFromASecondToAnHour(t *testing.T) {
	t.Parallel()
	now := time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC)
	for failures, want := range map[int]time.Duration{0: time.Second, 1: 2 * time.Second, 5: 32 * time.Second, 11: 2048 * time.Second, 12: time.Hour, 60: time.Hour} {
		lo, hi := time.Duration(1<<62), time.Duration(0)
		for range 1000 {
			pause := backoff{func() time.Time { return now }}.NextRetry(&rivertype.JobRow{Errors: make([]rivertype.AttemptError, failures)}).Sub(now)
			lo, hi = min(lo, pause), max(hi, pause)
		}
		if lo < want*8/10 || hi > want*12/10 || hi-lo < want/5 {
			t.Errorf("after %d failures %s to %s, around %s", failures, lo, hi, want)
		}
	}
}

func TestTheJobOfAWorkerThatIsGoneIsWorkedByAnother(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	began, attempts := make(chan struct{}, 9), atomic.Int64{}
	h.chores = func(ctx context.Context, _ *river.Job[chore]) error {
		began <- struct{}{}
		if attempts.Add(1) == 1 {
			<-ctx.Done()
			return ctx.Err()
		}
		return nil
	}
	// One that says no word after its first, as a killed process does.
	h.worker(func(w *Worker) {
		w.terms = terms{beat: time.Hour, lapse: 2 * time.Hour, cut: time.Second}
		w.queues = map[string]river.QueueConfig{config.QueueNormal: {MaxWorkers: 1}}
	})
	h.enqueue(chore{Name: "sweep"})
	<-began
	h.worker()
	<-began
	done := h.until(status.JobCompleted)
	if done.Attempt != 2 || len(done.Failures) != 1 || !strings.Contains(done.Failures[0].Error, "the worker that had it is gone") {
		t.Errorf("%+v", done)
	}
}

func TestAJobThatEndsItsWorkersIsDeadInTheEnd(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.enqueue(chore{Name: "explosive"}, chore{Name: "of its own queue"})
	_, err := h.pool.Exec(t.Context(), `UPDATE river_job SET state = 'running', attempted_at = now(), attempted_by = '{gone}',
		attempt = CASE WHEN args->>'name' = 'explosive' THEN max_attempts ELSE 1 END, queue = CASE WHEN args->>'name' = 'explosive' THEN queue ELSE 'run-1' END`)
	if err != nil {
		t.Fatal(err)
	}
	h.worker()
	testbed.Eventually(t, "both are dead", func() bool { return len(h.list(Filter{State: status.JobDead})) == 2 })
}

func TestAWorkerThatLosesTheDatabaseCutsItsJobsBeforeOthersHaveThem(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	var began, now atomic.Int64 // how often the chore was begun, and how many are at it
	twice, start := atomic.Bool{}, make(chan struct{}, 9)
	h.chores = func(ctx context.Context, _ *river.Job[chore]) error {
		if now.Add(1) > 1 {
			twice.Store(true)
		}
		defer now.Add(-1)
		start <- struct{}{}
		if began.Add(1) == 1 {
			<-ctx.Done() // as long as nobody cuts it
			return ctx.Err()
		}
		return nil
	}
	h.worker()
	h.enqueue(chore{Name: "sweep"})
	<-start
	// Its beats wait behind a lock on its row, as they would for a network.
	tx, err := h.pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tx.Rollback(context.WithoutCancel(t.Context())) }()
	if _, err := tx.Exec(t.Context(), `SELECT FROM job_workers FOR UPDATE`); err != nil {
		t.Fatal(err)
	}
	h.worker()
	<-start
	if done := h.until(status.JobCompleted); twice.Load() {
		t.Errorf("two worked it at once: %+v", done)
	}
}

func TestAWorkerThatMustStopHandsBackWhatItCannotFinish(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	began := make(chan struct{}, 9)
	h.chores = func(ctx context.Context, job *river.Job[chore]) error {
		began <- struct{}{}
		if job.Args.Name == "short" {
			return nil
		}
		<-ctx.Done()
		return ctx.Err()
	}
	stop := h.worker()
	h.enqueue(chore{Name: "long"}, chore{Name: "short"})
	<-began
	<-began
	stop()
	back := h.until(status.JobAvailable)
	if back.Attempt != 0 || len(back.Failures) != 0 {
		t.Errorf("an attempt was counted: %+v", back)
	}
	h.until(status.JobCompleted)
	var workers int
	if err := h.pool.QueryRow(t.Context(), `SELECT count(*) FROM job_workers`).Scan(&workers); err != nil || workers != 0 {
		t.Errorf("%d workers are left, %v", workers, err)
	}
}

func TestAFloodInOneQueueLeavesTheSlotsOfAnother(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	worked := make(chan struct{})
	h.chores = func(ctx context.Context, job *river.Job[chore]) error {
		if job.Queue == config.QueueHigh {
			close(worked)
			return nil
		}
		select {
		case <-worked:
		case <-ctx.Done():
		}
		return nil
	}
	for range 200 { // four times the slots, and none ends before the urgent one
		if _, err := h.ask(Request{Kind: "chore", Payload: json.RawMessage(`{"name": "flood"}`), Queue: config.QueueLow}); err != nil {
			t.Fatal(err)
		}
	}
	h.worker()
	testbed.Eventually(t, "every slot is taken", func() bool { return len(h.list(Filter{State: status.JobRunning, Queue: config.QueueLow})) == 50 })
	if _, err := h.ask(Request{Kind: "chore", Payload: json.RawMessage(`{"name": "urgent"}`), Queue: config.QueueHigh}); err != nil {
		t.Fatal(err)
	}
	<-worked
}

func TestAJobsOwnTimeoutCutsIt(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.chores = func(ctx context.Context, _ *river.Job[chore]) error { <-ctx.Done(); return ctx.Err() }
	h.worker()
	if _, err := h.ask(Request{Kind: "chore", Payload: json.RawMessage(`{"name": "sweep"}`), Timeout: 50 * time.Millisecond, MaxAttempts: 1}); err != nil {
		t.Fatal(err)
	}
	if dead := h.until(status.JobDead); !strings.Contains(dead.Error, "deadline exceeded") {
		t.Errorf("%+v", dead)
	}
}

func TestWhatAnUnknownOrWrongRequestLacksIsSaid(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	for name, c := range map[string]struct {
		request         Request
		pointer, detail string
	}{
		"an unknown kind":        {Request{Kind: "choir"}, "/kind", `"choir" is no kind of jobs; there are chore, tick`},
		"a missing field":        {Request{Kind: "chore"}, "/payload/name", "is missing"},
		"an unknown field":       {Request{Kind: "chore", Payload: json.RawMessage(`{"name": "x", "nome": 1}`)}, "/payload/nome", "unknown field"},
		"a wrong type":           {Request{Kind: "chore", Payload: json.RawMessage(`{"name": 1}`)}, "/payload/name", "a JSON number does not fit here"},
		"a list":                 {Request{Kind: "chore", Payload: json.RawMessage(`[]`)}, "/payload", "a JSON array does not fit here"},
		"what the kind forbids":  {Request{Kind: "chore", Payload: json.RawMessage(`{"name": "forbidden"}`)}, "/payload/name", "is forbidden"},
		"too much":               {Request{Kind: "chore", Payload: json.RawMessage(`{"name": "` + strings.Repeat("x", maxPayload) + `"}`)}, "/payload", "is larger than 65536 bytes"},
		"an unknown queue":       {Request{Kind: "tick", Queue: "lowest"}, "/queue", "must be one of high, normal, low"},
		"too many attempts":      {Request{Kind: "tick", MaxAttempts: 101}, "/maxAttempts", "must be 1 to 100"},
		"a timeout beyond a day": {Request{Kind: "tick", Timeout: 25 * time.Hour}, "/timeout", "must be above 0s and 24h0m0s at most"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := newHouse(t).ask(c.request)
			p, ok := errors.AsType[*problem.Problem](err)
			if !ok || len(p.Errors) != 1 || p.Errors[0] != (problem.Field{Pointer: c.pointer, Detail: c.detail}) {
				t.Errorf("%v %+v", err, p)
			}
		})
	}
	if all := h.list(Filter{}); len(all) != 0 {
		t.Errorf("%+v", all)
	}
}

func TestTheSameKeyMakesOneJobAlsoAtTheSameMoment(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	ids := make([]int64, 8)
	var all sync.WaitGroup
	for i := range ids {
		all.Go(func() {
			e, err := h.ask(Request{Kind: "chore", Payload: json.RawMessage(`{"name": "sweep"}`), Key: "pod-1", Schedule: "nightly"})
			if err != nil {
				t.Error(err)
			}
			ids[i] = e.ID
		})
	}
	all.Wait()
	for _, id := range ids {
		if id != ids[0] || id == 0 {
			t.Fatalf("%v", ids)
		}
	}
	if other, err := h.ask(Request{Kind: "chore", Payload: json.RawMessage(`{"name": "sweep"}`), Key: "pod-2"}); err != nil || other.ID == ids[0] {
		t.Errorf("%+v %v", other, err)
	}
}

func TestDeadJobsAreListedRetriedAndPurged(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	mended := atomic.Bool{}
	h.chores = func(context.Context, *river.Job[chore]) error {
		if mended.Load() {
			return nil
		}
		return Permanent(errors.New("broken"))
	}
	stop := h.worker()
	h.enqueue(chore{Name: "a"}, chore{Name: "b"}, chore{Name: "c"})
	testbed.Eventually(t, "all are dead", func() bool { return len(h.list(Filter{State: status.JobDead})) == 3 })
	all := h.list(Filter{State: status.JobDead, Kind: "chore", Queue: config.QueueNormal})
	if len(all) != 3 || len(h.list(Filter{State: status.JobDead, Kind: "tick"})) != 0 {
		t.Fatalf("%+v", all)
	}
	mended.Store(true)
	if one, err := h.ledger.Retry(t.Context(), all[0].ID); err != nil || one.State != status.JobAvailable || one.MaxAttempts < one.Attempt+1 {
		t.Fatalf("%+v %v", one, err)
	}
	h.until(status.JobCompleted)
	if _, err := h.ledger.Retry(t.Context(), all[0].ID); err == nil || !strings.Contains(err.Error(), "job_not_retryable") {
		t.Errorf("a job that was done was retried: %v", err)
	}
	if _, err := h.ledger.Retry(t.Context(), 1<<40); err == nil || !strings.Contains(err.Error(), "job_not_found") {
		t.Errorf("%v", err)
	}
	if n, err := h.ledger.RetryDead(t.Context(), "tick"); n != 0 || err != nil {
		t.Errorf("%d %v", n, err)
	}
	stop()
	if n, err := h.ledger.RetryDead(t.Context(), ""); n != 2 || err != nil {
		t.Errorf("%d %v", n, err)
	}
	if n, err := h.ledger.PurgeDead(t.Context(), ""); n != 0 || err != nil {
		t.Errorf("%d that wait were purged, %v", n, err)
	}
	if err := h.ledger.Delete(t.Context(), all[1].ID); err != nil {
		t.Error(err)
	}
	if err := h.ledger.Delete(t.Context(), all[1].ID); err == nil || !strings.Contains(err.Error(), "job_not_found") {
		t.Errorf("%v", err)
	}
	if _, err := h.pool.Exec(t.Context(), `UPDATE river_job SET state = 'discarded', finalized_at = now() WHERE id = $1`, all[2].ID); err != nil {
		t.Fatal(err)
	}
	if n, err := h.ledger.PurgeDead(t.Context(), "chore"); n != 1 || err != nil {
		t.Errorf("%d %v", n, err)
	}
}

func TestAScheduleTellsOfItsNewestJobAndItsNewestResult(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.chores = func(_ context.Context, job *river.Job[chore]) error {
		if job.Args.Name == "bad" {
			return Permanent(errors.New("broken"))
		}
		return nil
	}
	if s, err := h.ledger.Schedule(t.Context(), "nightly"); err != nil || s != (status.Schedule{}) {
		t.Errorf("%+v %v", s, err)
	}
	stop := h.worker()
	ask := func(name, schedule string) int64 {
		e, err := h.ask(Request{Kind: "chore", Payload: json.RawMessage(`{"name": "` + name + `"}`), Schedule: schedule})
		if err != nil {
			t.Fatal(err)
		}
		return e.ID
	}
	bad := ask("bad", "nightly")
	ask("good", "hourly")
	h.until(status.JobDead)
	h.until(status.JobCompleted)
	stop()
	waiting := ask("good", "nightly")
	s, err := h.ledger.Schedule(t.Context(), "nightly")
	if err != nil || s.Last == nil || s.Last.ID != waiting || s.LastFinished == nil || s.LastFinished.ID != bad || s.LastFinished.State != status.JobDead || s.Dead != 1 {
		t.Errorf("%+v %v", s, err)
	}
}

func TestQueuesTellHowMuchWaitsAndForHowLong(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.enqueue(chore{Name: "a"}, chore{Name: "b"})
	if _, err := h.pool.Exec(t.Context(), `UPDATE river_job SET scheduled_at = now() - interval '1 minute' WHERE args->>'name' = 'a'`); err != nil {
		t.Fatal(err)
	}
	if _, err := h.ask(Request{Kind: "chore", Payload: json.RawMessage(`{"name": "later"}`), At: time.Now().Add(time.Hour)}); err != nil {
		t.Fatal(err)
	}
	all, err := h.ledger.Queues(t.Context())
	if err != nil || len(all.Queues) != 3 || all.Queues[0] != (status.Queue{Name: "high"}) {
		t.Fatalf("%+v %v", all, err)
	}
	if normal := all.Queues[1]; normal.Waiting != 2 || normal.OldestSeconds < 59 || normal.OldestSeconds > 90 {
		t.Errorf("%+v", normal)
	}
}

func TestJobsOfAStatementAreLikeThoseOfRiver(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.enqueue(chore{Name: "sweep", Notes: []string{"<here>"}})
	err := db.WithTx(t.Context(), h.pool, func(tx pgx.Tx) error {
		var statements batch.Statements
		if err := h.queue.EnqueueWith(t.Context(), &statements, chore{Name: "sweep", Notes: []string{"<here>"}}); err != nil {
			return err
		}
		return statements.Send(t.Context(), tx)
	})
	if err != nil {
		t.Fatal(err)
	}
	rows, err := h.pool.Query(t.Context(), `SELECT to_jsonb(j) - 'id' - 'created_at' - 'scheduled_at' FROM river_job j ORDER BY id`)
	if err != nil {
		t.Fatal(err)
	}
	all, err := pgx.CollectRows(rows, pgx.RowTo[map[string]any])
	if err != nil || len(all) != 2 {
		t.Fatal(all, err)
	}
	if diff := cmp.Diff(all[0], all[1]); diff != "" {
		t.Errorf("River's and ours: %s", diff)
	}
}

func TestRiversTableIsAsTheQueriesOfThisPackageExpect(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	rows, err := h.pool.Query(t.Context(), `SELECT * FROM river_job LIMIT 0`)
	if err != nil {
		t.Fatal(err)
	}
	rows.Close()
	got, want := map[string]bool{}, map[string]bool{}
	for _, f := range rows.FieldDescriptions() {
		got[strings.ReplaceAll(f.Name, "_", "")] = true
	}
	for f := range reflect.TypeFor[jobsdb.RiverJob]().Fields() {
		want[strings.ToLower(f.Name)] = true
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("mend river.sql: %s", diff)
	}
}
