// Package report writes what a store sold and has as CSV files, for those who
// keep its books. A file is there as a whole or not at all, and the same job
// again writes the same one.
package report

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/riverqueue/river"

	"gitee.com/captainjez/gocart/runtime/config"
	"gitee.com/captainjez/gocart/runtime/internal/inventory"
	"gitee.com/captainjez/gocart/runtime/internal/jobs"
	"gitee.com/captainjez/gocart/runtime/internal/order"
	"gitee.com/captainjez/gocart/runtime/internal/problem"
)

const (
	// timeout bounds an attempt.
	timeout  = time.Hour
	attempts = 10
	day      = 24 * time.Hour
)

// Report is the job that writes one.
type Report struct {
	Report string `json:"report" jsonschema:"sales, orders or inventory"`
	From   string `json:"from,omitempty" jsonschema:"the first day, in UTC, such as 2026-01-31; the last one unless set; not for inventory"`
	To     string `json:"to,omitempty" jsonschema:"the last day, in UTC; the day before the job began unless set; not for inventory"`
}

// Kind is the job's name in the queue.
func (Report) Kind() string { return "report" }

// InsertOpts have reports wait for everything else.
func (Report) InsertOpts() river.InsertOpts {
	return river.InsertOpts{Queue: config.QueueLow, MaxAttempts: attempts}
}

// Check wants a report that there is, and days in their order.
func (r Report) Check() error {
	var f problem.Findings
	t, ok := tables[r.Report]
	f.Require(ok, "/report", "must be one of %s", strings.Join(slices.Sorted(maps.Keys(tables)), ", "))
	var days [2]time.Time
	for i, d := range [2]struct{ pointer, text string }{{"/from", r.From}, {"/to", r.To}} {
		if d.text == "" {
			continue
		}
		var err error
		days[i], err = time.Parse(time.DateOnly, d.text)
		f.Require(err == nil, d.pointer, "must be a day such as 2026-01-31")
		f.Require(!ok || !t.ofNow, d.pointer, "is not for %s, which tells of the moment", r.Report)
	}
	if len(f) == 0 && r.From != "" && r.To != "" {
		f.Require(!days[1].Before(days[0]), "/to", "must not be before from")
	}
	return f.Err()
}

// period is the days, both included, of a report whose job began at a moment.
func (r Report) period(began time.Time) (first, last time.Time, err error) {
	if err := r.Check(); err != nil {
		return first, last, err
	}
	last = began.UTC().Truncate(day)
	if !tables[r.Report].ofNow {
		last = last.Add(-day)
	}
	if r.To != "" {
		last, _ = time.Parse(time.DateOnly, r.To) // Check saw it
	}
	first = last
	if r.From != "" {
		first, _ = time.Parse(time.DateOnly, r.From) // likewise
	}
	if last.Before(first) {
		return first, last, fmt.Errorf("the report would begin on %s, after its last day, which is %s unless the job says another",
			first.Format(time.DateOnly), last.Format(time.DateOnly))
	}
	return first, last, nil
}

// file is the name of the report of the days.
func (r Report) file(first, last time.Time) string {
	name := r.Report + "_" + last.Format(time.DateOnly)
	if !tables[r.Report].ofNow {
		name = r.Report + "_" + first.Format(time.DateOnly) + "_" + last.Format(time.DateOnly)
	}
	return name + ".csv"
}

// Reports writes reports into a folder.
type Reports struct {
	dir    string
	orders *order.Orders
	stock  *inventory.Stock
	log    *slog.Logger
	now    func() time.Time
	open   func(path string) (*os.File, error)
}

// Sources are what reports tell of.
type Sources struct {
	Orders *order.Orders
	Stock  *inventory.Stock
}

// New writes into the configured folder, which may be nil: then no report can
// be written, and its job says so.
func New(c *config.Reports, from Sources, log *slog.Logger, now func() time.Time) *Reports {
	r := &Reports{orders: from.Orders, stock: from.Stock, log: log, now: now, open: openNew}
	if c != nil {
		r.dir = c.Dir
	}
	return r
}

// Kind is the kind of jobs that write them.
func (r *Reports) Kind() jobs.Kind {
	return jobs.Of(jobs.Kind{About: "Writes a report of sales, orders or inventory as a CSV file.", Timeout: timeout}, r.work)
}

// errNowhere says that the configuration names no folder.
var errNowhere = errors.New("there is nowhere to write reports to: the configuration has no reports.dir, for which a Store says spec.reports")

// work writes the report of a job. What trying again would not mend is
// permanent; a disk that is full may have room later.
func (r *Reports) work(ctx context.Context, job *river.Job[Report]) error {
	if r.dir == "" {
		return jobs.Permanent(errNowhere)
	}
	began := r.now()
	if len(job.Errors) > 0 { // a further attempt is at the same report, also after midnight
		began = job.Errors[0].At
	}
	first, last, err := job.Args.period(began)
	if err != nil {
		return jobs.Permanent(err)
	}
	name := job.Args.file(first, last)
	n, err := r.write(name, func(w *sheet) error { return tables[job.Args.Report].fill(ctx, r, first, last, w) })
	if err != nil {
		return fmt.Errorf("writing %s: %w", name, err)
	}
	r.log.InfoContext(ctx, "report written", "file", name, "rows", n)
	return nil
}
