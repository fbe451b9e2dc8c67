package rules

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"gitee.com/captainjez/gocart/runtime/internal/db"
	"gitee.com/captainjez/gocart/runtime/internal/money"
	"gitee.com/captainjez/gocart/runtime/internal/optional"
	"gitee.com/captainjez/gocart/runtime/internal/pricing"
	"gitee.com/captainjez/gocart/runtime/internal/problem"
	"gitee.com/captainjez/gocart/runtime/internal/rest"
	"gitee.com/captainjez/gocart/runtime/internal/rules/rulesdb"
	"gitee.com/captainjez/gocart/runtime/openapi"
)

// Bounds of a promotion.
const (
	maxName        = 100
	maxCode        = 40
	maxUnits       = 1000
	maxMinimum     = 100_000
	maxProducts    = 500
	maxCollections = 50
	maxUses        = 1_000_000_000
	maxUsesOfOne   = 1_000_000
	leastPPM       = 100       // 0.01%
	all            = 1_000_000 // 100%
)

var codePattern = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_-]*$`)

func noPromotion(id uuid.UUID) error {
	return problem.New(http.StatusNotFound, "promotion_not_found", "No promotion has the id %s.", id)
}

// promotions is a page, newest first: one statement.
func (b *Book) promotions(ctx context.Context, params openapi.ListPromotionsParams) (openapi.PromotionPage, error) {
	before, size, err := rest.Paging(params.Limit, params.Cursor, "promotions")
	if err != nil {
		return openapi.PromotionPage{}, err
	}
	rows, err := rulesdb.New(b.pool).ListPromotions(ctx, rulesdb.ListPromotionsParams{Before: before, PageSize: size})
	if err != nil {
		return openapi.PromotionPage{}, fmt.Errorf("listing promotions: %w", err)
	}
	rows, next := rest.Page(rows, size, "promotions", func(r rulesdb.ListPromotionsRow) uuid.UUID { return r.Promotion.ID })
	page := openapi.PromotionPage{Promotions: make([]openapi.Promotion, len(rows)), NextCursor: next}
	for i, r := range rows {
		page.Promotions[i] = shown(r.Promotion, r.Orders)
	}
	return page, nil
}

func promotion(ctx context.Context, q *rulesdb.Queries, id uuid.UUID) (openapi.Promotion, error) {
	row, err := q.Promotion(ctx, id)
	if errors.Is(err, pgx.ErrNoRows) {
		return openapi.Promotion{}, noPromotion(id)
	}
	if err != nil {
		return openapi.Promotion{}, fmt.Errorf("reading a promotion: %w", err)
	}
	return shown(row.Promotion, row.Orders), nil
}

// savePromotion is a saver. A promotion that is given a limit counts the uses
// that it had without one; it waits for orders that are just using it.
func savePromotion(ctx context.Context, tx pgx.Tx, id uuid.UUID, in openapi.PromotionInput, replace bool) (openapi.Promotion, error) {
	row, err := newPromotion(id, in)
	if err != nil {
		return openapi.Promotion{}, err
	}
	q := rulesdb.New(tx)
	count := false
	if replace {
		limited, err := q.LockPromotion(ctx, id)
		if errors.Is(err, pgx.ErrNoRows) {
			return openapi.Promotion{}, noPromotion(id)
		}
		if err != nil {
			return openapi.Promotion{}, fmt.Errorf("locking a promotion: %w", err)
		}
		count = !limited && (row.UsageLimit > 0 || row.UsageLimitPerCustomer > 0)
	}
	if count {
		if _, err := tx.Exec(ctx, `LOCK TABLE promotion_uses IN SHARE MODE`); err != nil {
			return openapi.Promotion{}, fmt.Errorf("waiting for uses of promotions: %w", err)
		}
	}
	if err := q.StorePromotion(ctx, row); db.Violates(err, "promotions_code") {
		return openapi.Promotion{}, problem.New(http.StatusConflict, "code_taken", "Another promotion has the code %s.", row.Code)
	} else if err != nil {
		return openapi.Promotion{}, fmt.Errorf("storing a promotion: %w", err)
	}
	if count {
		if err := q.CountUses(ctx, id); err != nil {
			return openapi.Promotion{}, fmt.Errorf("counting uses of a promotion: %w", err)
		}
	}
	return promotion(ctx, q, id)
}

func deletePromotion(ctx context.Context, q *rulesdb.Queries, id uuid.UUID) (int64, error) {
	return q.DeletePromotion(ctx, id)
}

// newPromotion makes a row of what a caller sent, or says everything that is
// wrong with it.
func newPromotion(id uuid.UUID, in openapi.PromotionInput) (rulesdb.StorePromotionParams, error) {
	var f problem.Findings
	row := rulesdb.StorePromotionParams{
		ID: id, Title: strings.TrimSpace(in.Title), Code: strings.ToUpper(optional.Value(in.Code)), Kind: string(in.Kind),
		MinimumQuantity: optional.Value(in.MinimumQuantity), BuyQuantity: optional.Value(in.BuyQuantity), GetQuantity: optional.Value(in.GetQuantity),
		ProductIds: without(in.ProductIds), CollectionIds: without(in.CollectionIds),
		UsageLimit: optional.Value(in.UsageLimit), UsageLimitPerCustomer: optional.Value(in.UsageLimitPerCustomer),
		Combinable: optional.Value(in.Combinable), Active: in.Active == nil || *in.Active,
	}
	f.Text("/title", row.Title, 1, maxName)
	f.Require(in.Code == nil || len(*in.Code) <= maxCode && codePattern.MatchString(*in.Code), "/code",
		"must be 1 to %d of A-Z, a-z, 0-9, - and _, the first a letter or digit", maxCode)
	f.Require(in.Kind.Valid(), "/kind", "must be percentage, fixed_amount, free_shipping or buy_x_get_y")
	within(&f, "/minimumQuantity", in.MinimumQuantity, maxMinimum)
	within(&f, "/buyQuantity", in.BuyQuantity, maxUnits)
	within(&f, "/getQuantity", in.GetQuantity, maxUnits)
	within(&f, "/usageLimit", in.UsageLimit, maxUses)
	within(&f, "/usageLimitPerCustomer", in.UsageLimitPerCustomer, maxUsesOfOne)
	f.Require(in.UsageLimitPerCustomer == nil || in.Code != nil, "/usageLimitPerCustomer",
		"needs a code: a buyer could not take off a promotion that applies by itself")
	f.Require(len(optional.Value(in.ProductIds)) <= maxProducts, "/productIds", "has %d items at most", maxProducts)
	f.Require(len(optional.Value(in.CollectionIds)) <= maxCollections, "/collectionIds", "has %d items at most", maxCollections)
	kindFields(&f, in)
	row.Ppm = percentOf(&f, in)
	for _, m := range []struct {
		pointer string
		in      *openapi.Money
		out     *int64
	}{{"/amount", in.Amount, &row.Amount}, {"/cap", in.Cap, &row.Cap}, {"/minimumSubtotal", in.MinimumSubtotal, &row.MinimumSubtotal}} {
		if m.in == nil {
			continue
		}
		wrong := len(f)
		*m.out = f.Money(m.pointer, m.in.Amount, m.in.Currency)
		f.Require(len(f) > wrong || *m.out > 0, m.pointer+"/amount", "must be above zero")
		f.Require(row.Currency == "" || row.Currency == m.in.Currency, m.pointer+"/currency", "must be %.3s, as the promotion's other amount", row.Currency)
		row.Currency = m.in.Currency
	}
	row.StartsAt, row.EndsAt = moment(&f, "/startsAt", in.StartsAt), moment(&f, "/endsAt", in.EndsAt)
	f.Require(row.StartsAt == nil || row.EndsAt == nil || row.StartsAt.Before(*row.EndsAt), "/endsAt", "must be after startsAt")
	return row, f.Err()
}

// kindFields wants the fields that the kind needs, and none that it ignores.
func kindFields(f *problem.Findings, in openapi.PromotionInput) {
	if !in.Kind.Valid() {
		return
	}
	const bxgy, percentage, fixed = openapi.PromotionKindBuyXGetY, openapi.PromotionKindPercentage, openapi.PromotionKindFixedAmount
	for _, field := range []struct {
		pointer     string
		given       bool
		needs, also []openapi.PromotionKind
	}{
		{"/percent", in.Percent != nil, []openapi.PromotionKind{percentage}, []openapi.PromotionKind{bxgy}},
		{"/amount", in.Amount != nil, []openapi.PromotionKind{fixed}, nil},
		{"/cap", in.Cap != nil, nil, []openapi.PromotionKind{percentage}},
		{"/buyQuantity", in.BuyQuantity != nil, []openapi.PromotionKind{bxgy}, nil},
		{"/getQuantity", in.GetQuantity != nil, []openapi.PromotionKind{bxgy}, nil},
	} {
		needed := slices.Contains(field.needs, in.Kind)
		f.Require(field.given || !needed, field.pointer, "is needed for %s", in.Kind)
		f.Require(!field.given || needed || slices.Contains(field.also, in.Kind), field.pointer, "is not for %s", in.Kind)
	}
}

func percentOf(f *problem.Findings, in openapi.PromotionInput) int64 {
	if in.Percent == nil {
		if in.Kind == openapi.PromotionKindBuyXGetY {
			return all
		}
		return 0
	}
	ppm, err := pricing.ParsePercent(*in.Percent)
	f.Require(err == nil, "/percent", "%v", err)
	f.Require(err != nil || ppm >= leastPPM, "/percent", "must be 0.01 at least")
	return ppm
}

func within(f *problem.Findings, pointer string, n *int64, most int64) {
	if n != nil {
		f.Range(pointer, *n, 1, most)
	}
}

// moment is a time as it can be stored and shown.
func moment(f *problem.Findings, pointer string, t *time.Time) *time.Time {
	if t == nil {
		return nil
	}
	at := t.UTC().Truncate(time.Microsecond)
	f.Require(at.Year() >= 1970 && at.Year() <= 9999, pointer, "must be in the years 1970 to 9999")
	return &at
}

// without is a list without what it has twice, never nil.
func without(ids *[]uuid.UUID) []uuid.UUID {
	out := []uuid.UUID{}
	seen := map[uuid.UUID]bool{}
	for _, id := range optional.Value(ids) {
		if !seen[id] {
			seen[id] = true
			out = append(out, id)
		}
	}
	return out
}

// shown is a promotion as the API has it.
func shown(p rulesdb.Promotion, used int64) openapi.Promotion {
	amount := func(minor int64) *openapi.Money {
		if minor == 0 {
			return nil
		}
		return &openapi.Money{Amount: money.Amount{Minor: minor, Currency: p.Currency}.Decimal(), Currency: p.Currency}
	}
	out := openapi.Promotion{
		Id: p.ID, Title: p.Title, Code: optional.Of(p.Code), Kind: openapi.PromotionKind(p.Kind),
		Amount: amount(p.Amount), Cap: amount(p.Cap), MinimumSubtotal: amount(p.MinimumSubtotal),
		MinimumQuantity: optional.Of(p.MinimumQuantity), BuyQuantity: optional.Of(p.BuyQuantity), GetQuantity: optional.Of(p.GetQuantity),
		ProductIds: p.ProductIds, CollectionIds: p.CollectionIds,
		UsageLimit: optional.Of(p.UsageLimit), UsageLimitPerCustomer: optional.Of(p.UsageLimitPerCustomer),
		Combinable: p.Combinable, Active: p.Active, Used: used, CreatedAt: p.CreatedAt.UTC(),
	}
	if p.Ppm > 0 {
		percent := pricing.FormatPercent(p.Ppm)
		out.Percent = &percent
	}
	if p.StartsAt != nil {
		at := p.StartsAt.UTC()
		out.StartsAt = &at
	}
	if p.EndsAt != nil {
		at := p.EndsAt.UTC()
		out.EndsAt = &at
	}
	return out
}
