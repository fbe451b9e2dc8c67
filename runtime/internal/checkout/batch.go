package checkout

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"gitee.com/captainjez/gocart/runtime/internal/batch"
	"gitee.com/captainjez/gocart/runtime/internal/cart"
	"gitee.com/captainjez/gocart/runtime/internal/db"
	"gitee.com/captainjez/gocart/runtime/internal/idempotency"
	"gitee.com/captainjez/gocart/runtime/internal/inventory"
	"gitee.com/captainjez/gocart/runtime/internal/order"
)

var (
	// errAnswered says that the request's key was answered meanwhile.
	errAnswered = errors.New("answered meanwhile")
	// errChanged says that the cart was changed meanwhile.
	errChanged = errors.New("the cart changed meanwhile")
	// errUnknown says that nobody knows whether orders are stored, since their
	// commit was not answered.
	errUnknown = errors.New("the commit was not answered")
)

// placement is an order on its way into the database.
type placement struct {
	cart        *cart.Priced
	order       *order.Order
	promotions  []uuid.UUID
	customerKey string
	actor       string
	request     idempotency.Request
}

type result = batch.Result[idempotency.Answer]

// apart are what no two orders of one transaction may share: cart and key.
func apart(p *placement) []string {
	if p.request.Key == "" {
		return []string{p.cart.ID.String()}
	}
	return []string{p.cart.ID.String(), p.request.Scope + "\x00" + p.request.Key}
}

// store stores orders together. Whatever error there is, none is stored, save
// for errUnknown.
func (s *Checkout) store(ctx context.Context, all []*placement) (results []result, err error) {
	written := false
	err = db.WithTx(ctx, s.pool, func(tx pgx.Tx) (err error) {
		results, err = s.write(ctx, tx, all)
		written = err == nil
		return err
	})
	if err != nil && written {
		return nil, fmt.Errorf("%w: %w", errUnknown, err)
	}
	return results, err
}

// singly has orders stored one by one after a failure together, unless it is
// the database that is away, or they may be stored already.
func (s *Checkout) singly(err error) bool {
	if db.Unavailable(err) || errors.Is(err, errUnknown) {
		return false
	}
	s.log.Warn("orders are stored one by one", "reason", err)
	return true
}

// write locks what the orders need, decides in memory which are admitted, and
// stores those: a round trip for all locks, and one for all writes. Everybody
// locks keys, carts, promotions, reservations and levels in this order.
func (s *Checkout) write(ctx context.Context, tx pgx.Tx, all []*placement) ([]result, error) {
	locked, err := s.lock(ctx, tx, all)
	if err != nil {
		return nil, err
	}
	results := make([]result, len(all))
	var admitted []*placement
	for i, p := range all {
		if results[i].Err = locked.admit(p); results[i].Err == nil {
			admitted = append(admitted, p)
		}
	}
	var writes batch.Statements
	if err := s.insert(ctx, &writes, admitted, locked); err != nil {
		return nil, err
	}
	for i, p := range all {
		if results[i].Err != nil {
			continue
		}
		body, err := json.Marshal(p.order.Public())
		if err != nil {
			return nil, fmt.Errorf("encoding an order: %w", err)
		}
		results[i].Value = idempotency.Answer{Status: http.StatusCreated, Body: body}
		locked.keys.Answer(p.request, results[i].Value)
	}
	locked.keys.Keep(ctx, &writes)
	return results, writes.Send(ctx, tx)
}

// locks are what a transaction holds for its orders.
type locks struct {
	keys    *idempotency.Many
	carts   map[uuid.UUID]cart.State
	uses    counter
	stock   *inventory.Locked
	numbers *order.Numbers
}

// counter counts the uses of promotions.
type counter interface {
	Admit(orderID uuid.UUID, customerKey string, promotionIDs []uuid.UUID) error
	Withdraw(orderID uuid.UUID)
	Store(ctx context.Context, statements *batch.Statements)
}

func (s *Checkout) lock(ctx context.Context, tx pgx.Tx, all []*placement) (*locks, error) {
	var requests []idempotency.Request
	var carts, holders, promotions []uuid.UUID
	var customers []string
	var demands []inventory.Demand
	for _, p := range all {
		requests = append(requests, p.request)
		carts = append(carts, p.cart.ID)
		if !p.cart.ReservedUntil.IsZero() {
			holders = append(holders, p.cart.ID)
		}
		if len(p.promotions) > 0 {
			promotions = append(promotions, p.promotions...)
			customers = append(customers, p.customerKey)
		}
		demands = append(demands, p.cart.Demands...)
	}
	var statements batch.Statements
	statements.PlanOnce(ctx)
	l := &locks{ // evaluated, and so locked, from top to bottom
		keys:    idempotency.Claim(ctx, &statements, requests),
		carts:   cart.Lock(ctx, &statements, carts),
		uses:    s.rules.LockUses(ctx, &statements, promotions, customers),
		stock:   s.stock.LockWith(ctx, &statements, demands, holders...),
		numbers: order.TakeNumbers(ctx, &statements, len(all)),
	}
	return l, statements.Send(ctx, tx)
}

// admit takes what an order needs, or says what stands against it.
func (l *locks) admit(p *placement) error {
	if l.keys.Answered(p.request) {
		return errAnswered
	}
	state, ok := l.carts[p.cart.ID]
	switch {
	case !ok:
		return errChanged
	case state.OrderID != uuid.Nil:
		return cart.Ordered(state.OrderID)
	case state.Version != p.cart.Version:
		return errChanged
	}
	if err := l.uses.Admit(p.order.ID, p.customerKey, p.promotions); err != nil {
		return err
	}
	undo := l.stock.Release(p.cart.ID)
	if err := l.stock.Reserve(inventory.Owner{ID: p.order.ID, Order: true}, p.cart.Demands); err != nil {
		undo()
		l.uses.Withdraw(p.order.ID)
		return err
	}
	return nil
}

// insert stores the admitted orders and what they imply.
func (s *Checkout) insert(ctx context.Context, writes *batch.Statements, admitted []*placement, l *locks) error {
	if len(admitted) == 0 {
		return nil
	}
	orders := make([]*order.Order, len(admitted))
	carts, ids := make([]uuid.UUID, len(admitted)), make([]uuid.UUID, len(admitted))
	actors := make(map[uuid.UUID]string, len(admitted))
	for i, p := range admitted {
		orders[i], carts[i], ids[i], actors[p.order.ID] = p.order, p.cart.ID, p.order.ID, p.actor
	}
	if err := s.orders.Insert(ctx, writes, orders, *l.numbers, func(o *order.Order) string { return actors[o.ID] }); err != nil {
		return err
	}
	if err := l.stock.StoreWith(ctx, writes); err != nil {
		return err
	}
	l.uses.Store(ctx, writes)
	cart.Close(ctx, writes, carts, ids)
	return nil
}
