package rules

import (
	"context"
	"fmt"
	"net/http"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"gitee.com/captainjez/gocart/runtime/internal/batch"
	"gitee.com/captainjez/gocart/runtime/internal/problem"
	"gitee.com/captainjez/gocart/runtime/internal/rules/rulesdb"
)

// Use is one order's use of a promotion. CustomerKey is the customer's id, or
// a guest's e-mail address in lower case.
type Use struct {
	PromotionID, OrderID uuid.UUID
	CustomerKey          string
}

// Counter counts uses of promotions for the orders of one transaction: LockUses
// makes it, Admit decides in memory, Store writes. One goroutine may use it.
type Counter struct {
	promotions map[uuid.UUID]*rulesdb.LockUsesRow // those that may still be used
	byCustomer map[customerUse]int64
	keys       map[string]bool
	uses       []Use
}

type customerUse struct {
	promotion uuid.UUID
	key       string
}

// LockUses prepares to count uses of the promotions by the customers, when the
// statements are sent. Until the transaction ends, nobody else counts those that
// have a limit; they are locked in the order of their ids, so that transactions
// which lock once do not deadlock. Without promotions it takes no statement.
func (b *Book) LockUses(ctx context.Context, statements *batch.Statements, promotionIDs []uuid.UUID, customerKeys []string) *Counter {
	c := &Counter{promotions: map[uuid.UUID]*rulesdb.LockUsesRow{}, byCustomer: map[customerUse]int64{}, keys: map[string]bool{}}
	for _, key := range customerKeys {
		c.keys[key] = true
	}
	if len(promotionIDs) == 0 {
		return c
	}
	statements.Add(func(db batch.DB) error {
		rows, err := rulesdb.New(db).LockUses(ctx, promotionIDs)
		if err != nil {
			return fmt.Errorf("locking promotions: %w", err)
		}
		for i := range rows {
			c.promotions[rows[i].ID] = &rows[i]
		}
		return nil
	})
	statements.Add(func(db batch.DB) error {
		counts, err := rulesdb.New(db).UsesByCustomer(ctx, rulesdb.UsesByCustomerParams{PromotionIds: promotionIDs, CustomerKeys: customerKeys})
		if err != nil {
			return fmt.Errorf("counting uses of promotions: %w", err)
		}
		for _, n := range counts {
			c.byCustomer[customerUse{n.PromotionID, n.CustomerKey}] = n.Uses
		}
		return nil
	})
	return c
}

// Admit counts an order's use of promotions, all of them or none. The customer
// and the promotions must be among those of LockUses. A promotion that is no
// more (promotion_ended), is used up (coupon_used_up) or is used up for this
// customer (coupon_limit_per_customer) is a *problem.Problem with status 409.
func (c *Counter) Admit(orderID uuid.UUID, customerKey string, promotionIDs []uuid.UUID) error {
	if len(promotionIDs) > 0 && !c.keys[customerKey] {
		return fmt.Errorf("uses by the customer of order %s were not counted", orderID)
	}
	for _, id := range promotionIDs {
		p := c.promotions[id]
		switch {
		case p == nil:
			return problem.New(http.StatusConflict, "promotion_ended", "A promotion of the cart has ended; look at the total again.")
		case p.UsageLimit > 0 && p.Used >= p.UsageLimit:
			return problem.New(http.StatusConflict, "coupon_used_up", "A promotion of the cart has been used as often as it may be; look at the total again.")
		case p.UsageLimitPerCustomer > 0 && c.byCustomer[customerUse{id, customerKey}] >= p.UsageLimitPerCustomer:
			return problem.New(http.StatusConflict, "coupon_limit_per_customer", "You have used a coupon of the cart as often as you may; take it off.")
		}
	}
	for _, id := range promotionIDs {
		c.promotions[id].Used++
		c.byCustomer[customerUse{id, customerKey}]++
		c.uses = append(c.uses, Use{PromotionID: id, OrderID: orderID, CustomerKey: customerKey})
	}
	return nil
}

// Withdraw takes back what the order that was admitted last had counted.
func (c *Counter) Withdraw(orderID uuid.UUID) {
	for n := len(c.uses); n > 0 && c.uses[n-1].OrderID == orderID; n-- {
		u := c.uses[n-1]
		c.promotions[u.PromotionID].Used--
		c.byCustomer[customerUse{u.PromotionID, u.CustomerKey}]--
		c.uses = c.uses[:n-1]
	}
}

// Store writes what Admit counted, in two statements, or none where there is
// nothing. Uses are inserted before they are added up, which a promotion that
// is given a limit at the same time relies on.
func (c *Counter) Store(ctx context.Context, statements *batch.Statements) {
	if len(c.uses) == 0 {
		return
	}
	var rows rulesdb.InsertUsesParams
	counts := map[uuid.UUID]int64{}
	for _, u := range c.uses {
		rows.PromotionIds = append(rows.PromotionIds, u.PromotionID)
		rows.OrderIds = append(rows.OrderIds, u.OrderID)
		rows.CustomerKeys = append(rows.CustomerKeys, u.CustomerKey)
		counts[u.PromotionID]++
	}
	statements.Add(func(db batch.DB) error {
		if err := rulesdb.New(db).InsertUses(ctx, rows); err != nil {
			return fmt.Errorf("storing uses of promotions: %w", err)
		}
		return nil
	})
	statements.Add(func(db batch.DB) error { return addUsed(ctx, rulesdb.New(db), counts) })
}

func addUsed(ctx context.Context, q *rulesdb.Queries, counts map[uuid.UUID]int64) error {
	var sums rulesdb.AddUsedParams
	for id, n := range counts {
		sums.PromotionIds, sums.Uses = append(sums.PromotionIds, id), append(sums.Uses, n)
	}
	if err := q.AddUsed(ctx, sums); err != nil {
		return fmt.Errorf("counting uses of promotions: %w", err)
	}
	return nil
}

// GiveBack makes the promotions that an order used free again, once.
func (b *Book) GiveBack(ctx context.Context, tx pgx.Tx, orderID uuid.UUID) error {
	q := rulesdb.New(tx)
	if err := q.LockUsesOfOrder(ctx, orderID); err != nil {
		return fmt.Errorf("locking promotions: %w", err)
	}
	given, err := q.DeleteUsesOfOrder(ctx, orderID)
	if err != nil {
		return fmt.Errorf("giving back uses of promotions: %w", err)
	}
	if len(given) == 0 {
		return nil
	}
	counts := map[uuid.UUID]int64{}
	for _, id := range given {
		counts[id] = -1
	}
	return addUsed(ctx, q, counts)
}
