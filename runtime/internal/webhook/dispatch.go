package webhook

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/prometheus/client_golang/prometheus"

	"gitee.com/captainjez/gocart/runtime/internal/db"
	"gitee.com/captainjez/gocart/runtime/internal/events"
	"gitee.com/captainjez/gocart/runtime/internal/webhook/webhookdb"
)

const (
	// lookEvery is how often the database is asked although nothing woke us: for
	// what other processes published, or left.
	lookEvery = 500 * time.Millisecond
	// claimed are how many of an endpoint are taken together, and twice as many
	// are in hand at most: a slow endpoint leaves room for others.
	claimed = 8
	// claimedFailing are how many are in hand of an endpoint from which nothing
	// but failures come.
	claimedFailing = 2
	// lease is how long who took a delivery may have it in hand.
	lease = 30 * time.Second
	// recorded bounds how many results one transaction stores.
	recorded = 100
)

// Slots of a dispatcher: how many deliveries it has in hand at once.
const (
	// WorkerSlots are those of a process that is there for background work.
	WorkerSlots = 256
	// OtherSlots are those of one that serves the API, which delivers too: a
	// store whose workers are scaled to none still tells.
	OtherSlots = 32
)

// Dispatcher makes deliveries of what the outbox has, and sends them. Any
// number of processes may run one.
type Dispatcher struct {
	*Webhooks
	reader  *events.Reader
	sender  *sender
	slots   int
	say     *slog.Logger
	metrics metrics

	mu     sync.Mutex
	inHand map[uuid.UUID]int
	taken  int
}

// NewDispatcher makes the one of a process.
func NewDispatcher(w *Webhooks, slots int, log *slog.Logger, registry prometheus.Registerer) *Dispatcher {
	return &Dispatcher{
		Webhooks: w, reader: events.NewReader(w.pool, events.Webhooks), sender: newSender(w.guard, nil), slots: slots, say: log,
		metrics: newMetrics(registry), inHand: map[uuid.UUID]int{},
	}
}

// Run tells until ctx ends, and then finishes what is in hand.
func (d *Dispatcher) Run(ctx context.Context) {
	results := make(chan result, d.slots)
	var sending, recording sync.WaitGroup
	recording.Go(func() { d.record(context.WithoutCancel(ctx), results) })
	sending.Go(func() { d.repeat(ctx, d.soon, "webhooks are not told of events, and will be later", d.spread) })
	sending.Go(func() {
		d.repeat(ctx, d.due, "webhooks are not sent, and will be later", func(ctx context.Context) error { return d.send(ctx, &sending, results) })
	})
	sending.Wait()
	close(results)
	recording.Wait()
	d.sender.close()
}

// repeat does something when woken and from time to time, and says once when
// that fails and when it does no more.
func (d *Dispatcher) repeat(ctx context.Context, wake <-chan struct{}, trouble string, do func(context.Context) error) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	healthy := true
	for {
		select {
		case <-ctx.Done():
			return
		case <-wake:
		case <-timer.C:
		}
		err := do(ctx)
		if ok := err == nil; ok != healthy && ctx.Err() == nil {
			if healthy = ok; ok {
				d.say.Info("webhooks work again")
			} else {
				d.say.Warn(trouble, "reason", db.Explain(err).Message)
			}
		}
		timer.Reset(lookEvery)
	}
}

// spread makes deliveries of all events that nobody has made any of.
func (d *Dispatcher) spread(ctx context.Context) error {
	if any, err := webhookdb.New(d.pool).AnyEnabled(ctx); err != nil || !any {
		if err == nil {
			err = d.reader.Skip(ctx)
		}
		if err != nil {
			return fmt.Errorf("looking for webhook endpoints: %w", err)
		}
		return d.giveUp(ctx)
	}
	for {
		n, err := d.reader.Read(ctx, d.fanOut)
		if err != nil {
			return err
		}
		if n > 0 {
			wake(d.due)
		}
		if n < events.Most {
			return d.giveUp(ctx)
		}
	}
}

// giveUp abandons what still waits for endpoints that are not enabled.
func (d *Dispatcher) giveUp(ctx context.Context) error {
	for {
		if some, err := webhookdb.New(d.pool).AnyToAbandon(ctx); err != nil || !some {
			return err
		}
		err := db.WithTx(ctx, d.pool, func(tx pgx.Tx) error {
			q := webhookdb.New(tx)
			if err := joinLines(ctx, q); err != nil {
				return err
			}
			_, err := d.abandon(ctx, q)
			return err
		})
		if err != nil {
			return err
		}
	}
}

// fanOut makes a delivery of each event for each endpoint that chose it.
func (d *Dispatcher) fanOut(ctx context.Context, tx pgx.Tx, all []events.Published) error {
	q := webhookdb.New(tx)
	if err := joinLines(ctx, q); err != nil {
		return err
	}
	listeners, err := q.Listeners(ctx)
	if err != nil {
		return fmt.Errorf("reading webhook endpoints: %w", err)
	}
	rows, err := deliveriesOf(all, listeners)
	if err != nil || len(rows.Ids) == 0 {
		return err
	}
	rows.Now = d.now().Truncate(time.Microsecond)
	if err := q.InsertDeliveries(ctx, rows); err != nil {
		return fmt.Errorf("making deliveries: %w", err)
	}
	return nil
}

// line is what keeps its order.
type line struct{ endpoint, subject uuid.UUID }

func deliveriesOf(all []events.Published, listeners []webhookdb.ListenersRow) (rows webhookdb.InsertDeliveriesParams, err error) {
	seen := map[line]bool{}
	for _, e := range all {
		if !types()[e.Type] {
			continue // the store's own
		}
		var text string
		for _, l := range listeners {
			if !chooses(l.Events, e.Type) {
				continue
			}
			if text == "" {
				raw, err := json.Marshal(bodyOf(e))
				if err != nil {
					return rows, fmt.Errorf("event %s: %w", e.ID, err)
				}
				text = string(raw)
			}
			in := line{l.ID, e.Subject}
			rows.Ids = append(rows.Ids, uuid.Must(uuid.NewV7()))
			rows.EndpointIds = append(rows.EndpointIds, l.ID)
			rows.MessageIds = append(rows.MessageIds, e.ID)
			rows.Positions = append(rows.Positions, e.Position)
			rows.Types = append(rows.Types, e.Type)
			rows.SubjectIds = append(rows.SubjectIds, e.Subject)
			rows.Bodies = append(rows.Bodies, text)
			rows.Behind = append(rows.Behind, seen[in])
			seen[in] = true
		}
	}
	return rows, nil
}

// send takes what is due, as far as there are slots, and has it sent.
func (d *Dispatcher) send(ctx context.Context, sending *sync.WaitGroup, results chan<- result) error {
	for {
		asked := d.room()
		if asked.Most <= 0 {
			return nil
		}
		now := d.now()
		asked.Now, asked.Lapses = &now, now.Add(lease)
		rows, err := webhookdb.New(d.pool).Claim(ctx, asked)
		if err != nil {
			return fmt.Errorf("taking deliveries: %w", err)
		}
		if len(rows) == 0 {
			return nil
		}
		for _, r := range rows {
			d.take(r.EndpointID, 1)
			sending.Go(func() {
				results <- result{delivery: r, attempt: d.sender.send(context.WithoutCancel(ctx), r, d.now)}
			})
		}
	}
}

// room is how much can be taken: as much as slots are free, and of which
// endpoints how much is in hand.
func (d *Dispatcher) room() webhookdb.ClaimParams {
	d.mu.Lock()
	defer d.mu.Unlock()
	asked := webhookdb.ClaimParams{PerEndpoint: claimed, PerFailing: claimedFailing, BusyIds: []uuid.UUID{}, InHand: []int32{}, Most: int32(d.slots - d.taken)}
	for id, n := range d.inHand {
		asked.BusyIds, asked.InHand = append(asked.BusyIds, id), append(asked.InHand, int32(n))
	}
	return asked
}

func (d *Dispatcher) take(id uuid.UUID, n int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.taken += n
	if d.inHand[id] += n; d.inHand[id] == 0 {
		delete(d.inHand, id)
	}
}
