package cart

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river"

	"gitee.com/captainjez/gocart/runtime/internal/cart/cartdb"
	"gitee.com/captainjez/gocart/runtime/internal/db"
	"gitee.com/captainjez/gocart/runtime/internal/jobs"
	"gitee.com/captainjez/gocart/runtime/internal/mail"
)

const (
	// reminderInterval is how often carts are looked for that were left.
	reminderInterval = 10 * time.Minute
	// stillWorth is how much later than it is due a reminder is still sent. Who
	// left a cart before that, such as while no worker ran, is left alone.
	stillWorth = 24 * time.Hour
)

// AbandonedCarts is the job that reminds buyers of the carts that they left.
type AbandonedCarts struct{}

// Kind is the job's name in the queue.
func (AbandonedCarts) Kind() string { return "abandoned_carts" }

// InsertOpts make one job an interval, however many workers ask for it.
func (AbandonedCarts) InsertOpts() river.InsertOpts { return jobs.Once(reminderInterval) }

// Buyers knows how people are reached.
type Buyers interface {
	// Emails are the addresses of customers who may sign in.
	Emails(ctx context.Context, tx pgx.Tx, ids []uuid.UUID) (map[uuid.UUID]string, error)
	// MayRemind counts a reminder, and reports whether the address may have it.
	MayRemind(ctx context.Context, tx pgx.Tx, email string) (bool, error)
}

// Reminders remind buyers of the carts that they left: one with lines and an
// address, not ordered, that nobody changed for a while. That happens once to a
// cart, whatever becomes of it afterwards.
type Reminders struct {
	carts  *Carts
	buyers Buyers
	outbox *mail.Outbox
	after  time.Duration
}

// NewReminders reminds of carts that nobody changed for the time after.
func NewReminders(carts *Carts, buyers Buyers, outbox *mail.Outbox, after time.Duration) *Reminders {
	return &Reminders{carts: carts, buyers: buyers, outbox: outbox, after: after}
}

// Kind is the kind of jobs that send them.
func (r *Reminders) Kind(sweeper *jobs.Sweeper) jobs.Kind {
	about := "Reminds buyers by mail, once, of a cart that they left."
	return jobs.Sweeping[AbandonedCarts](sweeper, jobs.Kind{About: about, Every: reminderInterval}, jobs.Sweep{Name: "left carts", Do: r.Send})
}

// Send reminds of all that were left, and returns how many mails that are. Two
// at once share the carts.
func (r *Reminders) Send(ctx context.Context) (int64, error) {
	const most = 100 // a buyer who changes a cart at this moment waits for as many
	left := r.carts.now().Add(-r.after)
	page := cartdb.LockLeftCartsParams{
		TouchedFrom: left.Add(-stillWorth), TouchedTo: left, ExpiresFrom: expiry(left.Add(-stillWorth)), ExpiresTo: expiry(left), Most: most,
	}
	for total := int64(0); ; {
		var found []cartdb.LockLeftCartsRow
		var sent int64
		err := db.WithTx(ctx, r.carts.pool, func(tx pgx.Tx) (err error) {
			if found, err = cartdb.New(tx).LockLeftCarts(ctx, page); err != nil {
				return fmt.Errorf("finding carts that were left: %w", err)
			}
			sent, err = r.remind(ctx, tx, found)
			return err
		})
		if err != nil {
			return total, err
		}
		total += sent
		if len(found) < most {
			return total, nil
		}
		page.After = found[most-1].ID
	}
}

// remind queues the mails and marks their carts. One whose buyer cannot be
// reached is passed over. Of several of one buyer there is one mail, and all
// are marked, so that they do not make a mail a day.
func (r *Reminders) remind(ctx context.Context, tx pgx.Tx, left []cartdb.LockLeftCartsRow) (sent int64, err error) {
	var customers []uuid.UUID
	for _, c := range left {
		if c.Email == "" {
			customers = append(customers, *c.CustomerID)
		}
	}
	addresses := map[uuid.UUID]string{}
	if len(customers) > 0 {
		if addresses, err = r.buyers.Emails(ctx, tx, customers); err != nil {
			return 0, err
		}
	}
	var seen []uuid.UUID
	for _, c := range left {
		to := c.Email
		if to == "" {
			to = addresses[*c.CustomerID]
		}
		if to == "" {
			continue
		}
		may, err := r.buyers.MayRemind(ctx, tx, to)
		if err != nil {
			return 0, err
		}
		if may {
			if err := r.outbox.Enqueue(ctx, tx, mail.Message{Template: mail.CartReminder, To: to, CartID: c.ID, Locale: c.Locale}); err != nil {
				return 0, err
			}
			sent++
		}
		seen = append(seen, c.ID)
	}
	if err := cartdb.New(tx).MarkReminded(ctx, cartdb.MarkRemindedParams{Now: r.carts.now(), Ids: seen}); err != nil {
		return 0, fmt.Errorf("marking carts: %w", err)
	}
	return sent, nil
}
