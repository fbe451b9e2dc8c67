package checkout

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"gitee.com/captainjez/gocart/runtime/internal/cart"
	"gitee.com/captainjez/gocart/runtime/internal/db"
	"gitee.com/captainjez/gocart/runtime/internal/idempotency"
	"gitee.com/captainjez/gocart/runtime/internal/inventory"
	"gitee.com/captainjez/gocart/runtime/internal/order"
)

const (
	// maxBatch bounds the orders of one transaction.
	maxBatch = 100
	// maxTransactions is how many a process writes at once: a second one
	// computes while the first waits for its flush.
	maxTransactions = 2
	// batchTimeout bounds one transaction; its callers' own deadlines do not
	// end it.
	batchTimeout = 5 * time.Second
)

var (
	// errAnswered says that the request's key was answered meanwhile.
	errAnswered = errors.New("answered meanwhile")
	// errChanged says that the cart was changed meanwhile.
	errChanged = errors.New("the cart changed meanwhile")
)

// placement is an order on its way into the database.
type placement struct {
	cart        *cart.Priced
	order       *order.Order
	promotions  []uuid.UUID
	customerKey string
	actor       string
	request     idempotency.Request
	// done gets one result.
	done chan result
}

type result struct {
	answer idempotency.Answer
	err    error
}

// submit hands the order over and waits for what becomes of it.
func (s *Checkout) submit(ctx context.Context, p *placement) (idempotency.Answer, error) {
	s.mu.Lock()
	s.waiting = append(s.waiting, p)
	start := s.running < maxTransactions
	if start {
		s.running++
	}
	s.mu.Unlock()
	if start {
		go s.work(context.WithoutCancel(ctx))
	}
	r := <-p.done // comes within batchTimeout of its turn
	return r.answer, r.err
}

// work stores what waits until nothing does.
func (s *Checkout) work(ctx context.Context) {
	for {
		batch := s.take()
		if len(batch) == 0 {
			return
		}
		s.store(ctx, batch)
	}
}

// take takes the orders for one transaction. Two of one cart or of one key
// wait for each other.
func (s *Checkout) take() []*placement {
	s.mu.Lock()
	defer s.mu.Unlock()
	var batch, later []*placement
	carts, keys := map[uuid.UUID]bool{}, map[string]bool{}
	for _, p := range s.waiting {
		key := p.request.Scope + "\x00" + p.request.Key
		if len(batch) == maxBatch || carts[p.cart.ID] || p.request.Key != "" && keys[key] {
			later = append(later, p)
			continue
		}
		carts[p.cart.ID], keys[key] = true, true
		batch = append(batch, p)
	}
	s.waiting = later
	if len(batch) == 0 {
		s.running--
	}
	return batch
}

// store stores orders together, or where that fails for another reason than
// the database's absence, each alone, so that none fails for another's sake.
func (s *Checkout) store(ctx context.Context, batch []*placement) {
	results, err := s.storeTogether(ctx, batch)
	switch {
	case err == nil:
		for i, p := range batch {
			p.done <- results[i]
		}
	case len(batch) > 1 && !db.Unavailable(err):
		s.log.WarnContext(ctx, "orders are stored one by one", "orders", len(batch), "reason", err)
		for _, p := range batch {
			s.store(ctx, []*placement{p})
		}
	default:
		for _, p := range batch {
			p.done <- result{err: err}
		}
	}
}

func (s *Checkout) storeTogether(ctx context.Context, batch []*placement) (results []result, err error) {
	defer func() {
		if r := recover(); r != nil { // the callers wait
			err = fmt.Errorf("storing orders: panic: %v", r)
		}
	}()
	ctx, cancel := context.WithTimeout(ctx, batchTimeout)
	defer cancel()
	err = db.WithTx(ctx, s.pool, func(tx pgx.Tx) (err error) {
		results, err = s.write(ctx, tx, batch)
		return err
	})
	return results, err
}

// write locks what the orders need, decides in memory which are admitted, and
// stores those. Everybody locks keys, carts, promotions, reservations and
// levels in this order.
func (s *Checkout) write(ctx context.Context, tx pgx.Tx, batch []*placement) ([]result, error) {
	locked, err := s.lock(ctx, tx, batch)
	if err != nil {
		return nil, err
	}
	results := make([]result, len(batch))
	var admitted []*placement
	for i, p := range batch {
		if results[i].err = locked.admit(p); results[i].err == nil {
			admitted = append(admitted, p)
		}
	}
	if err := s.insert(ctx, tx, admitted, locked); err != nil {
		return nil, err
	}
	for i, p := range batch {
		if results[i].err != nil {
			continue
		}
		body, err := json.Marshal(p.order.Public())
		if err != nil {
			return nil, fmt.Errorf("encoding an order: %w", err)
		}
		results[i].answer = idempotency.Answer{Status: http.StatusCreated, Body: body}
		locked.keys.Answer(p.request, results[i].answer)
	}
	return results, locked.keys.Keep(ctx, tx)
}

// locks are what a transaction holds for its orders.
type locks struct {
	keys  *idempotency.Many
	carts map[uuid.UUID]cart.State
	uses  counter
	stock *inventory.Locked
}

// counter counts the uses of promotions.
type counter interface {
	Admit(orderID uuid.UUID, customerKey string, promotionIDs []uuid.UUID) error
	Withdraw(orderID uuid.UUID)
	Store(ctx context.Context, tx pgx.Tx) error
}

func (s *Checkout) lock(ctx context.Context, tx pgx.Tx, batch []*placement) (*locks, error) {
	var requests []idempotency.Request
	var carts, holders, promotions []uuid.UUID
	var customers []string
	var demands []inventory.Demand
	for _, p := range batch {
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
	l := &locks{}
	var err error
	if l.keys, err = idempotency.Claim(ctx, tx, requests); err != nil {
		return nil, err
	}
	if l.carts, err = cart.Lock(ctx, tx, carts); err != nil {
		return nil, err
	}
	if l.uses, err = s.rules.LockUses(ctx, tx, promotions, customers); err != nil {
		return nil, err
	}
	l.stock, err = s.stock.Lock(ctx, tx, demands, holders...)
	return l, err
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
func (s *Checkout) insert(ctx context.Context, tx pgx.Tx, admitted []*placement, l *locks) error {
	if len(admitted) == 0 {
		return nil
	}
	orders := make([]*order.Order, len(admitted))
	carts, ids := make([]uuid.UUID, len(admitted)), make([]uuid.UUID, len(admitted))
	actors := make(map[uuid.UUID]string, len(admitted))
	for i, p := range admitted {
		orders[i], carts[i], ids[i], actors[p.order.ID] = p.order, p.cart.ID, p.order.ID, p.actor
	}
	if err := s.orders.Insert(ctx, tx, orders, func(o *order.Order) string { return actors[o.ID] }); err != nil {
		return err
	}
	if err := l.stock.Store(ctx, tx); err != nil {
		return err
	}
	if err := l.uses.Store(ctx, tx); err != nil {
		return err
	}
	return cart.Close(ctx, tx, carts, ids)
}
