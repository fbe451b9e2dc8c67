package stats

import (
	"context"
	"net/http"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/oapi-codegen/runtime/types"

	"gitee.com/captainjez/gocart/runtime/internal/money"
	"gitee.com/captainjez/gocart/runtime/internal/optional"
	"gitee.com/captainjez/gocart/runtime/internal/problem"
	"gitee.com/captainjez/gocart/runtime/internal/rest"
	"gitee.com/captainjez/gocart/runtime/openapi"
)

const (
	usualDays = 30
	mostDays  = 366
	day       = 24 * time.Hour
)

// Handlers is the statistics' part of openapi.ServerInterface.
type Handlers struct{ Statistics *Statistics }

// GetSales answers GET /statistics/sales.
func (h Handlers) GetSales(c *gin.Context, params openapi.GetSalesParams) {
	sales, err := h.sales(c.Request.Context(), params)
	rest.JSON(c, http.StatusOK, sales, err)
}

func (h Handlers) sales(ctx context.Context, params openapi.GetSalesParams) (openapi.Sales, error) {
	out := openapi.Sales{Days: []openapi.SalesDay{}}
	last := h.Statistics.now().Truncate(day)
	if params.To != nil {
		last = params.To.Time
	}
	first := last.Add(-(usualDays - 1) * day)
	if params.From != nil {
		first = params.From.Time
	}
	var f problem.Findings
	f.Require(!last.Before(first), "to", "must not be before from")
	f.Require(last.Sub(first) < mostDays*day, "from", "must be less than %d days before to", mostDays)
	if err := f.Err(); err != nil {
		return out, err
	}
	days, before, err := h.Statistics.Sales(ctx, first, last)
	if err != nil {
		return out, err
	}
	for _, s := range days {
		decimal := func(minor int64) string { return money.Amount{Minor: minor, Currency: s.Currency}.Decimal() }
		out.Days = append(out.Days, openapi.SalesDay{
			Day: types.Date{Time: s.Day}, Currency: s.Currency, Orders: s.Orders, Items: s.Items,
			Subtotal: decimal(s.Subtotal), Discount: decimal(s.Discount), Shipping: decimal(s.Shipping), Tax: decimal(s.Tax),
			Total: decimal(s.Total), Cancelled: s.Cancelled, Refunded: s.Refunded, RefundedTotal: decimal(s.RefundedTotal),
		})
	}
	out.ComputedAt = optional.Of(before)
	return out, nil
}
