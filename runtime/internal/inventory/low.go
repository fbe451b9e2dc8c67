package inventory

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river"

	"gitee.com/captainjez/gocart/runtime/internal/db"
	"gitee.com/captainjez/gocart/runtime/internal/events"
	"gitee.com/captainjez/gocart/runtime/internal/inventory/inventorydb"
	"gitee.com/captainjez/gocart/runtime/internal/jobs"
	"gitee.com/captainjez/gocart/runtime/internal/mail"
)

const (
	// alertInterval is how often stock is looked for that ran low.
	alertInterval = 10 * time.Minute
	// maxListed bounds what one mail lists.
	maxListed = 100
)

// LowStock is the job that tells the staff of stock that ran low.
type LowStock struct{}

// Kind is the job's name in the queue.
func (LowStock) Kind() string { return "low_stock" }

// InsertOpts make one job an interval, however many workers ask for it.
func (LowStock) InsertOpts() river.InsertOpts { return jobs.Once(alertInterval) }

// Threshold says what low is.
type Threshold interface {
	// LowStockThreshold is how many of a variant are available at most where it
	// is low; 0 where nobody is to be told.
	LowStockThreshold(ctx context.Context) (int64, error)
}

// Alerts tell the staff of variants that ran low: those for sale whose stock is
// counted, over all active locations. Of each they tell once, until there is
// more of it again.
type Alerts struct {
	stock     *Stock
	threshold Threshold
	outbox    *mail.Outbox
	staff     []string
}

// NewAlerts tells the staff at their addresses; where there are none, events
// alone tell of low stock.
func NewAlerts(stock *Stock, threshold Threshold, outbox *mail.Outbox, staff []string) *Alerts {
	return &Alerts{stock: stock, threshold: threshold, outbox: outbox, staff: staff}
}

// Kind is the kind of jobs that look for what to tell.
func (a *Alerts) Kind(sweeper *jobs.Sweeper) jobs.Kind {
	about := "Tells the staff, once, of variants of which little is left."
	return jobs.Sweeping[LowStock](sweeper, jobs.Kind{About: about, Every: alertInterval}, jobs.Sweep{Name: "low stock", Do: a.Send})
}

// low is a variant that runs low. As JSON it is what its event tells.
type low struct {
	variant   uuid.UUID
	SKU       string `json:"sku"`
	Title     string `json:"title"`
	Available int64  `json:"available"`
	Threshold int64  `json:"threshold"`
}

// Send tells of everything that ran low since, in one mail to each of the staff
// for a hundred variants, and returns how many variants that are. Of two at
// once, one tells.
func (a *Alerts) Send(ctx context.Context) (int64, error) {
	threshold, err := a.threshold.LowStockThreshold(ctx)
	if err != nil || threshold == 0 {
		return 0, err
	}
	if err := inventorydb.New(a.stock.pool).ForgetAlerts(ctx, threshold); err != nil {
		return 0, fmt.Errorf("forgetting what is low no more: %w", err)
	}
	all, err := a.stock.low(ctx, threshold)
	if err != nil || len(all) == 0 {
		return 0, err
	}
	var told []low
	err = db.WithTx(ctx, a.stock.pool, func(tx pgx.Tx) error {
		alerts := inventorydb.InsertAlertsParams{Now: a.stock.now()}
		for _, l := range all {
			alerts.VariantIds = append(alerts.VariantIds, l.variant)
		}
		mine, err := inventorydb.New(tx).InsertAlerts(ctx, alerts)
		if err != nil {
			return fmt.Errorf("noting what is low: %w", err)
		}
		fresh := make(map[uuid.UUID]bool, len(mine))
		for _, id := range mine {
			fresh[id] = true
		}
		told = slices.DeleteFunc(slices.Clone(all), func(l low) bool { return !fresh[l.variant] })
		return a.tell(ctx, tx, told)
	})
	return int64(len(told)), err
}

// low finds the variants that are low and of which nobody was told.
func (s *Stock) low(ctx context.Context, threshold int64) ([]low, error) {
	const most = 500
	var all []low
	for page := (inventorydb.LowVariantsParams{Threshold: threshold, Most: most}); ; {
		rows, err := inventorydb.New(s.pool).LowVariants(ctx, page)
		if err != nil {
			return nil, fmt.Errorf("finding low stock: %w", err)
		}
		ids := make([]uuid.UUID, len(rows))
		for i, r := range rows {
			ids[i] = r.VariantID
		}
		found, err := s.variants.Sellables(ctx, ids, "") // what they cost does not matter
		if err != nil {
			return nil, err
		}
		for _, r := range rows {
			if v := found[r.VariantID]; v.Active && v.TrackStock {
				all = append(all, low{r.VariantID, v.SKU, v.Title, r.Available, threshold})
			}
		}
		if len(rows) < most {
			return all, nil
		}
		page.After = ids[most-1]
	}
}

// tell queues the mails and records the events.
func (a *Alerts) tell(ctx context.Context, tx pgx.Tx, all []low) error {
	if len(all) == 0 {
		return nil
	}
	for part := range slices.Chunk(all, maxListed) {
		message := mail.Message{Template: mail.LowStock}
		for _, l := range part {
			message.VariantIDs = append(message.VariantIDs, l.variant)
		}
		for _, message.To = range a.staff {
			if err := a.outbox.Enqueue(ctx, tx, message); err != nil {
				return err
			}
		}
	}
	now := a.stock.now()
	happened := make([]events.Event, len(all))
	for i, l := range all {
		happened[i] = events.Event{Type: "stock.low", Topic: events.Inventory, Subject: l.variant, Actor: "store", Data: l, At: now}
	}
	return a.stock.events.Append(ctx, tx, happened...)
}
