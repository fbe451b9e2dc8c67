package customer

import (
	"context"
	"crypto/sha256"
	"fmt"
	"net/http"
	"time"

	"gitee.com/captainjez/gocart/runtime/internal/customer/customerdb"
	"gitee.com/captainjez/gocart/runtime/internal/problem"
)

// A bound is how often something may be tried for an address in a window.
type bound struct {
	what   string
	most   int32
	window time.Duration
}

var (
	// logIns bounds guesses of a password. One that is not yet answered counts.
	logIns = bound{"log-in", 10, 15 * time.Minute}
	// mails bounds what strangers can have sent to an address.
	mails = bound{"mail", 5, time.Hour}
	// reminders bounds those of carts, for anybody can put an address into one.
	reminders = bound{"reminder", 1, 24 * time.Hour}
)

// longestWindow is after what a count means nothing any more.
const longestWindow = 24 * time.Hour

// key is a hash, so that the table holds no address of who is no customer.
func (b bound) key(email string) []byte {
	sum := sha256.Sum256([]byte(b.what + ":" + email))
	return sum[:]
}

// try counts one more and returns how long to wait; zero is to go ahead.
func (b bound) try(ctx context.Context, q *customerdb.Queries, email string, now time.Time) (time.Duration, error) {
	row, err := q.CountAttempt(ctx, customerdb.CountAttemptParams{Key: b.key(email), Now: now, Over: now.Add(-b.window)})
	if err != nil {
		return 0, fmt.Errorf("counting a %s: %w", b.what, err)
	}
	if row.Count <= b.most {
		return 0, nil
	}
	return row.Since.Add(b.window).Sub(now), nil
}

func tooMany(wait time.Duration) error {
	p := problem.New(http.StatusTooManyRequests, "too_many_attempts", "There were too many attempts for this account. Please try again later.")
	p.RetryAfter = wait
	return p
}
