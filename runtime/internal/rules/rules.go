// Package rules keeps what a store's prices follow: its settings, zones, tax
// rates, shipping methods and promotions, and how often promotions were used.
// It owns those tables and their part of the HTTP API; package pricing applies
// the rules to a basket.
package rules

import (
	"context"
	"encoding/json"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"golang.org/x/sync/singleflight"

	"gitee.com/captainjez/gocart/runtime/internal/db"
	"gitee.com/captainjez/gocart/runtime/internal/optional"
	"gitee.com/captainjez/gocart/runtime/internal/pricing"
	"gitee.com/captainjez/gocart/runtime/internal/rules/rulesdb"
)

const (
	// maxAge is how old rules may be that a basket is priced by: how late a
	// process learns of another's change.
	maxAge = time.Second
	// readTimeout bounds a reading that several wait for.
	readTimeout = 5 * time.Second
	// explained is how long an ended promotion's code is answered with
	// "expired" rather than "unknown".
	explained = 30 * 24 * time.Hour
)

// Book is a store's rules in the database, with a copy in memory.
type Book struct {
	pool *pgxpool.Pool
	now  func() time.Time

	flights singleflight.Group
	latest  atomic.Pointer[snapshot]
	// writes counts this process's own: rules asked for after one were read
	// after it.
	writes  atomic.Int64
	watcher Watcher
}

// snapshot is the rules as they were at a time.
type snapshot struct {
	rules   *pricing.Rules
	version rulesdb.VersionRow
	at      time.Time
	writes  int64
}

// New keeps rules in the database. Now is the clock that promotions begin and
// end by.
func New(pool *pgxpool.Pool, now func() time.Time) *Book { return &Book{pool: pool, now: now} }

// Current are the rules as they are, or as they were less than a second ago;
// what this process changed is always in them. They cost nothing, or one
// statement where they are older, and a constant number after a change. Callers
// share them and must not write to them.
func (b *Book) Current(ctx context.Context) (*pricing.Rules, error) {
	writes := b.writes.Load()
	if s := b.latest.Load(); s != nil && s.writes >= writes && b.now().Sub(s.at) < maxAge {
		return s.rules, nil
	}
	for {
		read := b.flights.DoChan("", func() (any, error) {
			ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), readTimeout)
			defer cancel()
			return b.read(ctx)
		})
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case r := <-read:
			if r.Err != nil {
				return nil, fmt.Errorf("reading the store's rules: %w", r.Err)
			}
			if s := r.Val.(*snapshot); s.writes >= writes {
				return s.rules, nil
			} // else it began before this process's latest change
		}
	}
}

func (b *Book) read(ctx context.Context) (*snapshot, error) {
	s := &snapshot{at: b.now(), writes: b.writes.Load()}
	if known := b.latest.Load(); known != nil {
		version, err := rulesdb.New(b.pool).Version(ctx)
		if err != nil {
			return nil, err
		}
		if version == known.version {
			s.rules, s.version = known.rules, version
			b.latest.Store(s)
			return s, nil
		}
	}
	consistent := pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}
	err := pgx.BeginTxFunc(ctx, b.pool, consistent, func(tx pgx.Tx) error { return s.load(ctx, rulesdb.New(tx)) })
	if err != nil {
		return nil, err
	}
	b.latest.Store(s)
	return s, nil
}

func (s *snapshot) load(ctx context.Context, q *rulesdb.Queries) (err error) {
	if s.version, err = q.Version(ctx); err != nil {
		return err
	}
	settings, err := q.Settings(ctx)
	if err != nil {
		return err
	}
	zones, err := q.Zones(ctx)
	if err != nil {
		return err
	}
	rates, err := q.TaxRates(ctx)
	if err != nil {
		return err
	}
	methods, err := q.ShippingMethods(ctx)
	if err != nil {
		return err
	}
	promotions, err := q.CurrentPromotions(ctx, s.at.Add(-explained))
	if err != nil {
		return err
	}
	r := &pricing.Rules{Settings: pricing.Settings{
		Currency: settings.Currency, PricesIncludeTax: settings.PricesIncludeTax, Country: settings.Country, ReverseCharge: settings.ReverseCharge,
	}}
	for _, z := range zones {
		r.Zones = append(r.Zones, pricing.Zone{ID: z.ID, Areas: z.Areas})
	}
	for _, t := range rates {
		r.TaxRates = append(r.TaxRates, pricing.TaxRate{ZoneID: t.ZoneID, Name: t.Name, Category: t.Category, PPM: t.Ppm})
	}
	for _, m := range methods {
		method := pricing.ShippingMethod{ID: m.ID, ZoneID: m.ZoneID, Name: m.Name, Active: m.Active}
		if err := json.Unmarshal(m.Prices, &method.Prices); err != nil {
			return fmt.Errorf("prices of shipping method %s: %w", m.ID, err)
		}
		r.ShippingMethods = append(r.ShippingMethods, method)
	}
	for _, p := range promotions {
		r.Promotions = append(r.Promotions, priced(p))
	}
	s.rules = r.Prepare()
	return nil
}

// priced is a promotion as pricing knows it.
func priced(p rulesdb.Promotion) pricing.Promotion {
	return pricing.Promotion{
		ID: p.ID, Code: p.Code, Title: p.Title, Kind: pricing.Kind(p.Kind), PPM: p.Ppm,
		Currency: p.Currency, Amount: p.Amount, Cap: p.Cap,
		MinimumSubtotal: p.MinimumSubtotal, MinimumQuantity: p.MinimumQuantity,
		BuyQuantity: p.BuyQuantity, GetQuantity: p.GetQuantity,
		ProductIDs: p.ProductIds, CollectionIDs: p.CollectionIds,
		StartsAt: optional.Value(p.StartsAt), EndsAt: optional.Value(p.EndsAt),
		UsageLimit: p.UsageLimit, Used: p.Used, Combinable: p.Combinable, Active: p.Active,
	}
}

// change writes rules in one transaction, and has every process read them anew.
func (b *Book) change(ctx context.Context, write func(tx pgx.Tx) error) error {
	err := db.WithTx(ctx, b.pool, func(tx pgx.Tx) error {
		if err := write(tx); err != nil {
			return err
		}
		return b.raise(ctx, tx)
	})
	if err == nil {
		b.changed(ctx)
	}
	return err
}

// raise tells other processes of a change when it commits.
func (b *Book) raise(ctx context.Context, tx pgx.Tx) error {
	if err := rulesdb.New(tx).RaiseVersion(ctx); err != nil {
		return fmt.Errorf("raising the version of the rules: %w", err)
	}
	if b.watcher == nil {
		return nil
	}
	return b.watcher.RulesChange(ctx, tx)
}

// Watcher keeps what was computed by the rules.
type Watcher interface {
	// RulesChange is called in the transaction of every change, and RulesChanged
	// after its commit.
	RulesChange(ctx context.Context, tx pgx.Tx) error
	RulesChanged(ctx context.Context)
}

// Watch has w told of changes that this process makes. It is said before the
// first.
func (b *Book) Watch(w Watcher) { b.watcher = w }

// changed tells this process of its own change.
func (b *Book) changed(ctx context.Context) {
	b.writes.Add(1)
	if b.watcher != nil {
		b.watcher.RulesChanged(ctx)
	}
}
