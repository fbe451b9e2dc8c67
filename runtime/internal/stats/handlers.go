package stats

import (
	"context"
	"fmt"
	"maps"
	"math/big"
	"net/http"
	"slices"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/google/uuid"

	"gitee.com/captainjez/gocart/runtime/internal/money"
	"gitee.com/captainjez/gocart/runtime/internal/optional"
	"gitee.com/captainjez/gocart/runtime/internal/problem"
	"gitee.com/captainjez/gocart/runtime/internal/rest"
	"gitee.com/captainjez/gocart/runtime/openapi"
)

// Handlers is the statistics' part of openapi.ServerInterface.
type Handlers struct{ Statistics *Statistics }

// GetSales answers GET /statistics/sales.
func (h Handlers) GetSales(c *gin.Context, params openapi.GetSalesParams) {
	sales, err := h.sales(c.Request.Context(), params)
	rest.JSON(c, http.StatusOK, sales, err)
}

// GetProductStatistics answers GET /statistics/products.
func (h Handlers) GetProductStatistics(c *gin.Context, params openapi.GetProductStatisticsParams) {
	products, err := h.products(c.Request.Context(), params)
	rest.JSON(c, http.StatusOK, products, err)
}

// GetCustomerStatistics answers GET /statistics/customers.
func (h Handlers) GetCustomerStatistics(c *gin.Context, params openapi.GetCustomerStatisticsParams) {
	customers, err := h.customers(c.Request.Context(), params)
	rest.JSON(c, http.StatusOK, customers, err)
}

// GetTaxStatistics answers GET /statistics/taxes.
func (h Handlers) GetTaxStatistics(c *gin.Context, params openapi.GetTaxStatisticsParams) {
	taxes, err := h.taxes(c.Request.Context(), params)
	rest.JSON(c, http.StatusOK, taxes, err)
}

// GetCouponStatistics answers GET /statistics/coupons.
func (h Handlers) GetCouponStatistics(c *gin.Context, params openapi.GetCouponStatisticsParams) {
	coupons, err := h.coupons(c.Request.Context(), params)
	rest.JSON(c, http.StatusOK, coupons, err)
}

func decimals(currency string) func(minor int64) string {
	return func(minor int64) string { return money.Amount{Minor: minor, Currency: currency}.Decimal() }
}

func checkCurrency(f *problem.Findings, code string) {
	_, err := money.Exponent(code)
	f.Require(err == nil, "currency", "is no currency of ISO 4217, such as EUR")
}

func (h Handlers) sales(ctx context.Context, params openapi.GetSalesParams) (out openapi.Sales, err error) {
	var f problem.Findings
	p := asked{params.From, params.To, params.TimeZone}.period(&f, h.Statistics.now())
	granularity := openapi.StatisticsGranularityDay
	if params.Granularity != nil {
		granularity = *params.Granularity
		f.Require(granularity.Valid(), "granularity", "must be hour, day, week, month, year or total")
	}
	f.Require(params.Compare == nil || params.Compare.Valid(), "compare", "must be previous")
	currency := optional.Value(params.Currency)
	if params.Currency != nil {
		checkCurrency(&f, currency)
	}
	if err := f.Err(); err != nil {
		return out, err
	}
	parts, err := p.buckets(granularity)
	if err != nil {
		return out, err
	}
	var before []period
	if params.Compare != nil {
		previous := p.previous()
		if before, err = previous.buckets(granularity); err != nil {
			return out, err
		}
		out.Previous = &openapi.SalesPeriod{From: previous.from.UTC(), Before: previous.before.UTC()}
	}
	var now, then series
	err = h.Statistics.at(ctx, func(v view) (err error) {
		out.ComputedAt = optional.Of(v.computed)
		if now, err = v.sales(ctx, parts, currency); err == nil && before != nil {
			then, err = v.sales(ctx, before, currency)
		}
		return err
	})
	if err != nil {
		return out, err
	}
	out.From, out.Before, out.TimeZone, out.Granularity = p.from.UTC(), p.before.UTC(), p.zone.String(), granularity
	out.Currencies = []openapi.SalesInCurrency{}
	for _, code := range currencies(now, then, currency) {
		in := openapi.SalesInCurrency{Currency: code, Sum: total(now[code]).public(code), Parts: tell(parts, now[code], code)}
		if before != nil {
			in.PreviousSum, in.PreviousParts = new(total(then[code]).public(code)), new(tell(before, then[code], code))
			in.Change = new(change(total(now[code]), total(then[code])))
		}
		out.Currencies = append(out.Currencies, in)
	}
	return out, nil
}

// currencies are those to tell of.
func currencies(now, then series, only string) []string {
	if only != "" {
		return []string{only}
	}
	all := slices.AppendSeq(slices.Collect(maps.Keys(now)), maps.Keys(then))
	slices.Sort(all)
	return slices.Compact(all)
}

func (f figures) public(currency string) openapi.SalesFigures {
	decimal := decimals(currency)
	out := openapi.SalesFigures{
		Orders: f.orders, Items: f.items, Subtotal: decimal(f.subtotal), Discount: decimal(f.discount), Shipping: decimal(f.shipping), Tax: decimal(f.tax),
		Total: decimal(f.total), Refunded: decimal(f.refunded), Net: decimal(f.total - f.refunded), Cancelled: f.cancelled,
		Exchanged: decimal(f.exchanged),
	}
	if f.orders > 0 {
		out.AverageOrderValue = new(decimal(f.average()))
	}
	return out
}

// tell is what each part comes to; figures may be nil, for nothing.
func tell(parts []period, all []figures, currency string) []openapi.SalesPart {
	out := make([]openapi.SalesPart, len(parts))
	for i, p := range parts {
		var f figures
		if all != nil {
			f = all[i]
		}
		out[i] = openapi.SalesPart{From: p.from.UTC(), Before: p.before.UTC(), Figures: f.public(currency)}
	}
	return out
}

// percent is by how much now is above then, nil where that was nothing.
func percent(now, then int64) *string {
	if then == 0 {
		return nil
	}
	return new(new(big.Rat).Mul(big.NewRat(100, 1), new(big.Rat).SetFrac64(now-then, then)).FloatString(1))
}

func change(now, then figures) openapi.SalesChange {
	c := openapi.SalesChange{
		Orders: percent(now.orders, then.orders), Items: percent(now.items, then.items), Subtotal: percent(now.subtotal, then.subtotal),
		Discount: percent(now.discount, then.discount), Shipping: percent(now.shipping, then.shipping), Tax: percent(now.tax, then.tax),
		Total: percent(now.total, then.total), Refunded: percent(now.refunded, then.refunded),
		Net: percent(now.total-now.refunded, then.total-then.refunded), Cancelled: percent(now.cancelled, then.cancelled),
		Exchanged: percent(now.exchanged, then.exchanged),
	}
	if now.orders > 0 && then.orders > 0 {
		c.AverageOrderValue = percent(now.average(), then.average())
	}
	return c
}

// list reads what all lists of the first take.
func (h Handlers) list(ctx context.Context, f *problem.Findings, a asked, currency *string, limit *int) (p period, r ranking, err error) {
	const usual, most = 20, 100
	p = a.period(f, h.Statistics.now())
	n := usual
	if limit != nil {
		n = *limit
		f.Range("limit", int64(n), 1, most)
	}
	if r.currency = optional.Value(currency); currency != nil {
		checkCurrency(f, r.currency)
	}
	if err := f.Err(); err != nil {
		return p, r, err
	}
	r.most = int32(n)
	if currency == nil {
		if r.currency, err = h.Statistics.uses.Currency(ctx); err != nil {
			return p, r, fmt.Errorf("finding the store's currency: %w", err)
		}
	}
	return p, r, nil
}

func (h Handlers) products(ctx context.Context, params openapi.GetProductStatisticsParams) (out openapi.ProductStatistics, err error) {
	var f problem.Findings
	f.Require(params.By == nil || params.By.Valid(), "by", "must be product or variant")
	f.Require(params.Sort == nil || params.Sort.Valid(), "sort", "must be revenue or units")
	p, r, err := h.list(ctx, &f, asked{params.From, params.To, params.TimeZone}, params.Currency, params.Limit)
	if err != nil {
		return out, err
	}
	byVariant := optional.Value(params.By) == openapi.GetProductStatisticsParamsByVariant
	var all []sold
	err = h.Statistics.at(ctx, func(v view) (err error) {
		out.ComputedAt = optional.Of(v.computed)
		all, err = h.Statistics.products(ctx, v, p, r, byVariant, optional.Value(params.Sort) == openapi.GetProductStatisticsParamsSortUnits)
		return err
	})
	out.From, out.Before, out.TimeZone, out.Currency = p.from.UTC(), p.before.UTC(), p.zone.String(), r.currency
	out.Products = make([]openapi.ProductSales, len(all))
	decimal := decimals(r.currency)
	for i, s := range all {
		out.Products[i] = openapi.ProductSales{
			ProductId: s.ProductID, Title: s.name.Title, Units: s.Units, RefundedUnits: s.RefundedUnits,
			Subtotal: decimal(s.Subtotal), Discount: decimal(s.Discount), Tax: decimal(s.Tax), Total: decimal(s.Total),
		}
		if byVariant {
			out.Products[i].VariantId, out.Products[i].Sku = &s.ID, &s.name.SKU
		}
	}
	return out, err
}

func (h Handlers) customers(ctx context.Context, params openapi.GetCustomerStatisticsParams) (out openapi.CustomerStatistics, err error) {
	var f problem.Findings
	p, r, err := h.list(ctx, &f, asked{params.From, params.To, params.TimeZone}, params.Currency, params.Limit)
	if err != nil {
		return out, err
	}
	var all []spender
	err = h.Statistics.at(ctx, func(v view) (err error) {
		out.ComputedAt = optional.Of(v.computed)
		if out.NewBuyers, out.ReturningBuyers, err = v.buyers(ctx, p); err != nil {
			return err
		}
		all, err = h.Statistics.spenders(ctx, v, p, r)
		return err
	})
	out.From, out.Before, out.TimeZone, out.Currency = p.from.UTC(), p.before.UTC(), p.zone.String(), r.currency
	out.Buyers = out.NewBuyers + out.ReturningBuyers
	out.Customers = make([]openapi.CustomerSales, len(all))
	decimal := decimals(r.currency)
	for i, s := range all {
		out.Customers[i] = openapi.CustomerSales{
			Email: s.Email, Orders: s.Orders, Total: decimal(s.Total), Refunded: decimal(s.Refunded), Net: decimal(s.Total - s.Refunded), FirstOrderAt: s.firstAt,
		}
		if s.CustomerID != uuid.Nil {
			out.Customers[i].CustomerId = &s.CustomerID
		}
	}
	return out, err
}

// labelled are taxes or discounts.
type labelled struct {
	period   period
	currency string
	computed time.Time
	rows     []labelRow
}

type labelRow struct {
	name, detail  string
	orders        int64
	amount, total string
}

func (h Handlers) labelled(ctx context.Context, kind string, a asked, currency *string, limit *int) (out labelled, err error) {
	var f problem.Findings
	p, r, err := h.list(ctx, &f, a, currency, limit)
	if err != nil {
		return out, err
	}
	out.period, out.currency = p, r.currency
	decimal := decimals(r.currency)
	err = h.Statistics.at(ctx, func(v view) error {
		out.computed = v.computed
		found, err := v.labels(ctx, kind, p, r)
		for _, l := range found {
			out.rows = append(out.rows, labelRow{l.Name, l.Detail, l.Orders, decimal(l.Amount), decimal(l.Total)})
		}
		return err
	})
	return out, err
}

func (h Handlers) taxes(ctx context.Context, params openapi.GetTaxStatisticsParams) (openapi.TaxStatistics, error) {
	found, err := h.labelled(ctx, taxes, asked{params.From, params.To, params.TimeZone}, params.Currency, params.Limit)
	if err != nil {
		return openapi.TaxStatistics{}, err
	}
	out := openapi.TaxStatistics{
		From: found.period.from.UTC(), Before: found.period.before.UTC(), TimeZone: found.period.zone.String(), Currency: found.currency,
		ComputedAt: optional.Of(found.computed), Taxes: make([]openapi.TaxSales, len(found.rows)),
	}
	for i, l := range found.rows {
		out.Taxes[i] = openapi.TaxSales{Name: l.name, Rate: l.detail, Orders: l.orders, Amount: l.amount, Total: l.total}
	}
	return out, nil
}

func (h Handlers) coupons(ctx context.Context, params openapi.GetCouponStatisticsParams) (openapi.CouponStatistics, error) {
	found, err := h.labelled(ctx, discounts, asked{params.From, params.To, params.TimeZone}, params.Currency, params.Limit)
	if err != nil {
		return openapi.CouponStatistics{}, err
	}
	out := openapi.CouponStatistics{
		From: found.period.from.UTC(), Before: found.period.before.UTC(), TimeZone: found.period.zone.String(), Currency: found.currency,
		ComputedAt: optional.Of(found.computed), Coupons: make([]openapi.CouponSales, len(found.rows)),
	}
	for i, l := range found.rows {
		out.Coupons[i] = openapi.CouponSales{Code: optional.Of(l.name), Title: l.detail, Orders: l.orders, Discount: l.amount, Total: l.total}
	}
	return out, nil
}
