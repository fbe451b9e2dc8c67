package commerce

import (
	"fmt"
	"log/slog"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5/pgxpool"

	"gitee.com/captainjez/gocart/runtime/config"
	"gitee.com/captainjez/gocart/runtime/internal/jobs"
)

// kinds are those of a store with a configuration.
func kinds(t *testing.T, change func(*config.Config)) jobs.Kinds {
	t.Helper()
	pool, err := pgxpool.New(t.Context(), "postgres://nowhere.invalid/shop") // nothing is asked of it
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	c := config.Default()
	change(&c)
	k, err := New(c, pool, nil, slog.New(slog.DiscardHandler), Now)
	if err != nil {
		t.Fatal(err)
	}
	return k.Kinds
}

func withMail(c *config.Config) {
	c.Mail = &config.Mail{URLFile: "/not/sent", From: "shop@shop.example"}
}

func TestTheDocumentedJobsAreThoseOfTheStore(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../../../docs/concepts/jobs.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(page), "\n## Jobs of a store\n")
	section, _, _ = strings.Cut(section, "\n### ")
	documented, real := map[string]string{}, map[string]string{}
	row := regexp.MustCompile("(?m)^\\| `([a-z_]+)` \\|[^|]*\\|([^|]*)\\| `([a-z]+)` \\| (\\d+) \\|")
	for _, m := range row.FindAllStringSubmatch(section, -1) {
		every, _ := strings.CutPrefix(strings.TrimSpace(m[2]), "every ")
		interval, err := time.ParseDuration(strings.TrimSuffix(strings.ReplaceAll(every, " ", ""), "in"))
		if err != nil {
			interval = 0 // it comes when something else does
		}
		documented[m[1]] = fmt.Sprint(interval, m[3], m[4])
	}
	all := kinds(t, withMail)
	for i := range all {
		real[all[i].Name()] = fmt.Sprint(all[i].Every, all[i].Queue(), all[i].MaxAttempts())
	}
	if diff := cmp.Diff(real, documented); diff != "" {
		t.Error(diff)
	}
}

func TestWithoutMailOrATimeForThemThereAreNoReminders(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*config.Config){
		"without mail": func(*config.Config) {},
		"never":        func(c *config.Config) { withMail(c); c.Carts.ReminderAfter = 0 },
	} {
		if _, err := kinds(t, change).Find("abandoned_carts"); err == nil {
			t.Errorf("%s there are reminders", name)
		}
	}
	if _, err := kinds(t, withMail).Find("abandoned_carts"); err != nil {
		t.Error(err)
	}
}

// TestAProcessThatAsksStripeNothingNeedsNoKey is so for pods that only enqueue.
func TestAProcessThatAsksStripeNothingNeedsNoKey(t *testing.T) {
	t.Parallel()
	all := kinds(t, func(c *config.Config) { c.Payments.Stripe = &config.Stripe{APIKeyFile: "/not/there"} })
	if _, err := all.Find("payment_reconciliation"); err != nil {
		t.Error(err)
	}
}
