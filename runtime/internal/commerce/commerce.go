// Package commerce puts the packages of commerce together, once for a process:
// what the API serves, the workers sweep and the tests drive.
package commerce

import (
	"context"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/prometheus/client_golang/prometheus"

	"gitee.com/captainjez/gocart/runtime/config"
	"gitee.com/captainjez/gocart/runtime/internal/audit"
	"gitee.com/captainjez/gocart/runtime/internal/cache"
	"gitee.com/captainjez/gocart/runtime/internal/cart"
	"gitee.com/captainjez/gocart/runtime/internal/catalog"
	"gitee.com/captainjez/gocart/runtime/internal/checkout"
	"gitee.com/captainjez/gocart/runtime/internal/customer"
	"gitee.com/captainjez/gocart/runtime/internal/events"
	"gitee.com/captainjez/gocart/runtime/internal/idempotency"
	"gitee.com/captainjez/gocart/runtime/internal/identity"
	"gitee.com/captainjez/gocart/runtime/internal/inventory"
	"gitee.com/captainjez/gocart/runtime/internal/jobs"
	"gitee.com/captainjez/gocart/runtime/internal/mail"
	"gitee.com/captainjez/gocart/runtime/internal/order"
	"gitee.com/captainjez/gocart/runtime/internal/payment"
	"gitee.com/captainjez/gocart/runtime/internal/privacy"
	"gitee.com/captainjez/gocart/runtime/internal/report"
	"gitee.com/captainjez/gocart/runtime/internal/rules"
	"gitee.com/captainjez/gocart/runtime/internal/stats"
	"gitee.com/captainjez/gocart/runtime/internal/transfer"
	"gitee.com/captainjez/gocart/runtime/internal/webhook"
)

// Commerce is a store's packages, connected.
type Commerce struct {
	Pool       *pgxpool.Pool
	Queue      *jobs.Queue
	Keys       *identity.Keys
	Callers    *identity.Authenticator
	APIKeys    *identity.APIKeys
	Catalog    *catalog.Catalog
	Stock      *inventory.Stock
	Rules      *rules.Book
	Carts      *cart.Carts
	Payments   *payment.Payments
	Orders     *order.Orders
	Customers  *customer.Service
	Checkout   *checkout.Checkout
	Statistics *stats.Statistics
	Reminders  *cart.Reminders
	Alerts     *inventory.Alerts
	Reports    *report.Reports
	Events     *events.Log
	Webhooks   *webhook.Webhooks
	Audit      *audit.Log
	Transfers  *transfer.Transfers
	Privacy    *privacy.Privacy
	// Kinds are what the workers can do; Jobs tells of what they do.
	Kinds jobs.Kinds
	Jobs  *jobs.Ledger

	sweeper *jobs.Sweeper
	now     func() time.Time
}

// New connects the packages over a pool; it asks the database nothing. Answers
// may be nil, for a catalogue without a cache.
func New(c config.Config, pool *pgxpool.Pool, answers *cache.Cache, log *slog.Logger, now func() time.Time) (*Commerce, error) {
	queue, err := jobs.NewQueue(log, now)
	if err != nil {
		return nil, err
	}
	payments, err := payment.New(c, pool, queue, log, now)
	if err != nil {
		return nil, err
	}
	outbox := mail.NewOutbox(c, queue, log)
	k := &Commerce{
		Pool: pool, Queue: queue, sweeper: jobs.NewSweeper(log), now: now, Payments: payments, Keys: identity.NewKeys(c), APIKeys: identity.NewAPIKeys(pool, now),
		Catalog: catalog.New(pool, answers), Rules: rules.New(pool, now),
		Events: events.NewLog(pool), Audit: audit.New(pool),
	}
	k.Webhooks = webhook.New(c, pool, k.Events, now)
	k.Callers = identity.NewAuthenticator(c, pool, k.Keys, log, now)
	k.Stock = inventory.New(pool, k.Catalog, k.Events, now)
	k.Carts = cart.New(pool, k.Catalog, k.Stock, k.Rules, k.Keys, now)
	k.Orders = order.New(pool, order.Dependencies{
		Stock: k.Stock, Payments: payments, Promotions: k.Rules, Variants: k.Catalog, Rules: k.Rules, Mailer: outbox, Keys: k.Keys, Events: k.Events,
	}, now)
	payments.Connect(k.Orders)
	k.Customers = customer.New(pool, k.Keys, outbox, k.Carts, now, log)
	k.Checkout = checkout.New(pool, checkout.Dependencies{
		Carts: k.Carts, Orders: k.Orders, Stock: k.Stock, Rules: k.Rules, Payments: payments, Customers: k.Customers,
	}, log, now)
	k.Reminders = cart.NewReminders(k.Carts, k.Customers, outbox, time.Duration(c.Carts.ReminderAfter))
	k.Alerts = inventory.NewAlerts(k.Stock, k.Rules, outbox, staff(c.Mail))
	k.Reports = report.New(c.Reports, report.Sources{Orders: k.Orders, Stock: k.Stock}, log, now)
	currency := func(ctx context.Context) (string, error) {
		current, err := k.Rules.Current(ctx)
		if err != nil {
			return "", err
		}
		return current.Settings.Currency, nil
	}
	k.Catalog.Connect(catalog.Dependencies{
		Stock: k.Stock, Holds: k.Stock, Orders: k.Orders, Tax: k.Rules, Events: k.Events, Currency: currency,
	})
	k.Statistics = stats.New(pool, stats.Dependencies{Orders: k.Orders, Currency: currency}, log, now)
	k.Rules.Watch(k.Catalog)
	k.Transfers = transfer.New(pool, now,
		k.Catalog.TransferCategories(), k.Catalog.Transfer(), k.Catalog.TransferPrices(), k.Stock.Transfer(), k.Customers.Transfer(), k.Orders.Transfer(k.Customers))
	k.Privacy = privacy.New(pool, privacy.Dependencies{Customers: k.Customers, Orders: k.Orders, Stock: k.Stock, Events: k.Events, Keys: k.Keys}, log, now)
	if k.Kinds, err = k.kinds(c, log); err != nil {
		return nil, err
	}
	k.Jobs = jobs.NewLedger(pool, k.Kinds, queue, now)
	return k, nil
}

// staff are the addresses of those who see to the store.
func staff(c *config.Mail) []string {
	if c == nil {
		return nil
	}
	return c.Staff
}

// kinds are the store's background jobs.
func (k *Commerce) kinds(c config.Config, log *slog.Logger) (jobs.Kinds, error) {
	expiry, retention := k.Sweeps()
	kinds := append(k.sweeper.Sweeps(expiry, retention), k.Alerts.Kind(k.sweeper), k.Reports.Kind())
	kinds = append(kinds, k.Payments.Kinds(k.sweeper)...)
	if c.Mail == nil {
		return kinds, nil
	}
	if c.Carts.ReminderAfter > 0 {
		kinds = append(kinds, k.Reminders.Kind(k.sweeper))
	}
	delivery, err := mail.Delivery(c, mail.Options{Pool: k.Pool, Facts: facts{k}, Tokens: k.Customers, Log: log})
	return append(kinds, delivery), err
}

// Register shows what jobs do and how many there are.
func (k *Commerce) Register(metrics prometheus.Registerer) {
	k.Queue.Register(metrics)
	k.Jobs.Register(metrics)
	k.sweeper.Register(metrics)
	k.Payments.Register(metrics)
}

// Sweeps are the store's upkeep: what gives back what was held for a while,
// and what forgets.
func (k *Commerce) Sweeps() (expiry, retention []jobs.Sweep) {
	expiry = []jobs.Sweep{
		{Name: "unpaid orders", Do: counted(k.Orders.ExpireUnpaid)},
		{Name: "payments without an order", Do: counted(k.Payments.ExpireAttempts)},
		{Name: "held stock", Do: counted(k.Stock.ExpireHolds)},
	}
	retention = []jobs.Sweep{
		{Name: "idempotency keys", Do: func(ctx context.Context) (int64, error) { return idempotency.Purge(ctx, k.Pool) }},
		{Name: "sessions and tokens", Do: func(ctx context.Context) (int64, error) { return customer.Purge(ctx, k.Pool) }},
		{Name: "carts", Do: k.Carts.Forget},
		{Name: "imports", Do: k.Transfers.Forget},
		{Name: "socket tickets", Do: k.Callers.ForgetTickets},
		{Name: "events", Do: func(ctx context.Context) (int64, error) { return k.Events.Forget(ctx, k.now()) }},
		{Name: "webhook deliveries", Do: k.Webhooks.Forget},
		{Name: "audit entries", Do: k.Audit.Forget},
		{Name: "events of payment providers", Do: k.Payments.ForgetEvents},
		{Name: "what came late of erased persons", Do: k.Privacy.Sweep},
		{Name: "mails handed over", Do: func(ctx context.Context) (int64, error) { return mail.Forget(ctx, k.Pool) }},
	}
	return expiry, retention
}

func counted(do func(context.Context) (int, error)) func(context.Context) (int64, error) {
	return func(ctx context.Context) (int64, error) {
		n, err := do(ctx)
		return int64(n), err
	}
}

// Now is the clock of a running store.
func Now() time.Time { return time.Now().UTC() }
