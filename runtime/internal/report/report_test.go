package report

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/riverqueue/river"
	"github.com/riverqueue/river/rivertype"

	"gitee.com/captainjez/gocart/runtime/config"
	"gitee.com/captainjez/gocart/runtime/internal/catalog"
	"gitee.com/captainjez/gocart/runtime/internal/events"
	"gitee.com/captainjez/gocart/runtime/internal/inventory"
	"gitee.com/captainjez/gocart/runtime/internal/problem"
	"gitee.com/captainjez/gocart/runtime/internal/testbed"
)

func TestMain(m *testing.M) { testbed.Main(m) }

func noon() time.Time { return time.Date(2031, 3, 9, 12, 0, 0, 0, time.UTC) }

// shelves are reports of an empty store's inventory.
func shelves(t *testing.T, c *config.Reports) *Reports {
	t.Helper()
	pool := testbed.Pools(t).Main
	return New(c, Sources{Stock: inventory.New(pool, catalog.New(pool, nil), events.NewLog(pool), noon)}, (&testbed.Log{}).Logger(), noon)
}

func job(r Report, failures ...rivertype.AttemptError) *river.Job[Report] {
	return &river.Job[Report]{JobRow: &rivertype.JobRow{Errors: failures}, Args: r}
}

func isPermanent(err error) bool {
	_, ok := errors.AsType[*rivertype.JobCancelError](err)
	return ok
}

// files are the names in a folder.
func files(t *testing.T, dir string) (names []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

func TestAPayloadThatNamesNoReportIsRefusedByItsField(t *testing.T) {
	t.Parallel()
	for payload, pointer := range map[Report]string{
		{}:                                   "/report",
		{Report: "secrets"}:                  "/report",
		{Report: "../sales"}:                 "/report",
		{Report: "sales", From: "yesterday"}: "/from",
		{Report: "sales", To: "2031-02-30"}:  "/to",
		{Report: "orders", From: "2031-03-02", To: "2031-03-01"}: "/to",
		{Report: "inventory", From: "2031-03-02"}:                "/from",
		{Report: "inventory", To: "2031-03-02"}:                  "/to",
	} {
		p, ok := errors.AsType[*problem.Problem](payload.Check())
		if !ok || p.Errors[0].Pointer != pointer {
			t.Errorf("%+v: %v", payload, payload.Check())
		}
	}
}

func TestAReportIsOfTheDaysThatItsJobSays(t *testing.T) {
	t.Parallel()
	for payload, want := range map[Report]string{
		{Report: "sales"}:                                        "sales_2031-03-08_2031-03-08.csv",
		{Report: "sales", From: "2031-03-01"}:                    "sales_2031-03-01_2031-03-08.csv",
		{Report: "orders", To: "2031-03-01"}:                     "orders_2031-03-01_2031-03-01.csv",
		{Report: "orders", From: "2030-01-01", To: "2031-03-01"}: "orders_2030-01-01_2031-03-01.csv",
		{Report: "inventory"}:                                    "inventory_2031-03-09.csv",
		{Report: "sales", From: "2031-03-09"}:                    "",
	} {
		first, last, err := payload.period(noon())
		if want == "" != (err != nil) || err == nil && payload.file(first, last) != want {
			t.Errorf("%+v: %s to %s, %v", payload, first, last, err)
		}
	}
}

func TestALaterAttemptWritesTheReportOfTheFirst(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	r := shelves(t, &config.Reports{Dir: dir})
	before := rivertype.AttemptError{At: noon().Add(-24 * time.Hour)}
	if err := r.work(t.Context(), job(Report{Report: "inventory"}, before)); err != nil {
		t.Fatal(err)
	}
	if names := files(t, dir); len(names) != 1 || names[0] != "inventory_2031-03-08.csv" {
		t.Errorf("%v", names)
	}
}

func TestWhatTryingAgainWouldNotMendIsPermanent(t *testing.T) {
	t.Parallel()
	err := shelves(t, nil).work(t.Context(), job(Report{Report: "inventory"}))
	if !isPermanent(err) || !strings.Contains(err.Error(), "reports.dir") {
		t.Errorf("without a folder: %v", err)
	}
	r := shelves(t, &config.Reports{Dir: t.TempDir()})
	for _, payload := range []Report{{Report: "sales", From: "2031-03-09"}, {Report: "other"}} {
		if err := r.work(t.Context(), job(payload)); !isPermanent(err) {
			t.Errorf("%+v: %v", payload, err)
		}
	}
}

func TestAFullDiskIsTriedAgainAndLeavesNoHalfFile(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	r := shelves(t, &config.Reports{Dir: dir})
	if err := r.work(t.Context(), job(Report{Report: "inventory"})); err != nil {
		t.Fatal(err)
	}
	r.open = func(path string) (*os.File, error) {
		if err := os.Symlink("/dev/full", path); err != nil {
			return nil, err
		}
		return os.OpenFile(path, os.O_WRONLY, 0)
	}
	err := r.work(t.Context(), job(Report{Report: "inventory"}))
	if !errors.Is(err, syscall.ENOSPC) || isPermanent(err) {
		t.Errorf("%v", err)
	}
	_, err = r.write("long.csv", func(w *sheet) error {
		for range 100_000 {
			if err := w.row(text("a row of a report that is longer than what is buffered")); err != nil {
				return err
			}
		}
		return errors.New("the disk's end was not noticed")
	})
	if !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("%v", err)
	}
	if names := files(t, dir); len(names) != 1 || names[0] != "inventory_2031-03-09.csv" {
		t.Errorf("left %v", names)
	}
	r.dir = filepath.Join(dir, "not", "mounted")
	if err := r.work(t.Context(), job(Report{Report: "inventory"})); err == nil || isPermanent(err) {
		t.Errorf("a folder that is not there: %v", err)
	}
}

func TestWhatAKilledProcessLeftIsRemoved(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for name, age := range map[string]time.Duration{".sales.csv.A.part": 3 * timeout, ".sales.csv.B.part": 0, "kept.csv": 3 * timeout} {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(path, time.Time{}, time.Now().Add(-age)); err != nil {
			t.Fatal(err)
		}
	}
	if err := shelves(t, &config.Reports{Dir: dir}).work(t.Context(), job(Report{Report: "inventory"})); err != nil {
		t.Fatal(err)
	}
	if names := strings.Join(files(t, dir), " "); names != ".sales.csv.B.part inventory_2031-03-09.csv kept.csv" {
		t.Error(names)
	}
}

func TestTextIsNoFormula(t *testing.T) {
	t.Parallel()
	for from, want := range map[string]cell{
		"": "", "Mug": "Mug", "a=b": "a=b", "=1+1": "'=1+1", "+49": "'+49", "-5": "'-5", "@SUM(A1)": "'@SUM(A1)", "\t=1": "'\t=1", "\r=1": "'\r=1", "Ü": "Ü",
	} {
		if got := text(from); got != want {
			t.Errorf("%q became %q", from, got)
		}
	}
}
