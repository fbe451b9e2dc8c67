package workerscaler_test

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"gitee.com/captainjez/gocart/controllers/workerscaler"
	"gitee.com/captainjez/gocart/runtime/status"
)

var usual = workerscaler.Bounds{
	Min: 0, Max: 10, Target: 100, Capacity: 50, MaxAge: 30 * time.Second, Window: 2 * time.Minute, Queues: []string{"high", "normal", "low"},
}

// look is one of a series, three seconds after the one before it where no time is given.
type look struct {
	after            time.Duration
	waiting, running int64
	oldest           float64
	want             int32
}

func TestHowManyWorkersThereShouldBe(t *testing.T) {
	t.Parallel()
	bounds := func(edit func(*workerscaler.Bounds)) workerscaler.Bounds { b := usual; edit(&b); return b }
	for _, tc := range []struct {
		name   string
		bounds workerscaler.Bounds
		begin  int32
		looks  []look
	}{
		{"The first job has a worker within one look", usual, 0, []look{{waiting: 1, want: 1}}},
		{"Nothing to do keeps none", usual, 0, []look{{}, {after: time.Hour}}},
		{"Depth adds pods, a few at a time", usual, 0, []look{{waiting: 950, want: 4}, {waiting: 950, want: 8}, {waiting: 950, want: 10}}},
		{"Where there are many, as many are added", bounds(func(b *workerscaler.Bounds) { b.Max = 100 }), 10, []look{{waiting: 5000, want: 20}, {waiting: 5000, want: 40}, {waiting: 5000, want: 50}}},
		{"A target is not passed by one job without a pod more", usual, 1, []look{{waiting: 100, want: 1}, {waiting: 101, want: 2}}},
		{"A flood costs what the spec allows", usual, 8, []look{{waiting: status.CountedJobs, want: 10}, {waiting: status.CountedJobs, want: 10}}},
		{"Jobs that run keep the pods that they fill", usual, 5, []look{{running: 201, want: 5}, {after: 3 * time.Minute, running: 201, want: 5}, {running: 200, want: 5}, {after: 3 * time.Minute, running: 200, want: 4}}},
		{"A job that runs keeps a pod", usual, 1, []look{{running: 1, want: 1}, {after: time.Hour, running: 1, want: 1}}},
		{"A job that waits for too long adds a pod, and another one when that was not enough", usual, 1, []look{
			{waiting: 5, oldest: 31, want: 2}, {waiting: 5, oldest: 34, want: 2}, {after: 15 * time.Second, waiting: 5, oldest: 50, want: 3},
			{waiting: 5, oldest: 2, want: 3},
		}},
		{"A job that has waited no longer than it may adds none", usual, 1, []look{{waiting: 5, oldest: 30, want: 1}}},
		{"Age adds none above the most", usual, 10, []look{{waiting: 5, oldest: 3600, want: 10}}},
		{"Fewer are kept only after the window, and then go by half", usual, 5, []look{
			{waiting: 500, want: 5}, {want: 5}, {after: 110 * time.Second, want: 5}, {after: 20 * time.Second, want: 2}, {want: 1}, {want: 0}, {want: 0},
		}},
		{"A burst within the window keeps what it needed", usual, 5, []look{
			{want: 5}, {after: 110 * time.Second, waiting: 300, want: 5}, {after: 100 * time.Second, want: 3}, {after: 25 * time.Second, want: 1},
		}},
		{"A scaler that has just started takes nothing away", usual, 5, []look{{want: 5}, {after: time.Minute, want: 5}, {after: 61 * time.Second, want: 2}}},
		{"Without a window fewer are kept at once", bounds(func(b *workerscaler.Bounds) { b.Window = 0 }), 3, []look{{want: 1}, {want: 0}}},
		{"The least is kept", bounds(func(b *workerscaler.Bounds) { b.Min = 2 }), 5, []look{{want: 5}, {after: time.Hour, want: 2}, {want: 2}}},
		{"What is outside of the bounds is brought within", bounds(func(b *workerscaler.Bounds) { b.Min = 2 }), 30, []look{{want: 10}}},
		{"What is below the least is brought up", bounds(func(b *workerscaler.Bounds) { b.Min = 2 }), 0, []look{{want: 2}}},
		{"Queues that the workers do not serve count nothing", bounds(func(b *workerscaler.Bounds) { b.Queues = []string{"low"} }), 0, []look{{waiting: 1000, oldest: 3600, want: 0}}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			now, current := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), tc.begin
			h := &workerscaler.History{}
			for i, l := range tc.looks {
				if l.after == 0 {
					l.after = 3 * time.Second
				}
				now = now.Add(l.after)
				next, why := h.Decide(tc.bounds, []status.Queue{{Name: "normal", Waiting: l.waiting, Running: l.running, OldestSeconds: l.oldest}, {Name: "low"}}, current, now)
				if next != l.want {
					t.Fatalf("look %d: from %d to %d pods (%s), want %d", i+1, current, next, why, l.want)
				}
				current = next
			}
		})
	}
}

// Whatever the queues do, the number stays within its bounds, never sinks below
// what running jobs fill, and does not go down and up again within a window
// unless more is wanted than before.
func TestTheNumberOfWorkersDoesNotFlap(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(r *rapid.T) {
		b := usual
		b.Min = rapid.Int32Range(0, 3).Draw(r, "min")
		now, current := time.Unix(0, 0), rapid.Int32Range(b.Min, b.Max).Draw(r, "begin")
		h := &workerscaler.History{}
		var lastUp time.Time
		for range 200 {
			now = now.Add(3 * time.Second)
			q := status.Queue{Name: "normal", Waiting: rapid.Int64Range(0, 1500).Draw(r, "waiting"), Running: rapid.Int64Range(0, 100).Draw(r, "running")}
			if q.Waiting > 0 {
				q.OldestSeconds = rapid.Float64Range(0, 60).Draw(r, "oldest")
			}
			next, _ := h.Decide(b, []status.Queue{q}, current, now)
			switch {
			case next < b.Min || next > b.Max:
				r.Fatalf("%d pods are outside of %d to %d", next, b.Min, b.Max)
			case int64(next)*b.Capacity < q.Running && next < current:
				r.Fatalf("%d pods are kept for %d running jobs", next, q.Running)
			case q.Waiting > 0 && next == 0:
				r.Fatalf("nobody works the %d jobs that wait", q.Waiting)
			case next < current && next < current/2:
				r.Fatalf("of %d pods only %d are kept at once", current, next)
			case next < current && !lastUp.IsZero() && now.Sub(lastUp) < b.Window:
				r.Fatalf("pods are taken away %s after some were added", now.Sub(lastUp))
			}
			if next > current {
				lastUp = now
			}
			current = next
		}
	})
}
