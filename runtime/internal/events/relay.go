package events

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"

	"gitee.com/captainjez/gocart/runtime/internal/batch"
	"gitee.com/captainjez/gocart/runtime/internal/db"
	"gitee.com/captainjez/gocart/runtime/internal/events/eventsdb"
	"gitee.com/captainjez/gocart/runtime/internal/optional"
	"gitee.com/captainjez/gocart/runtime/internal/redisdb"
)

const (
	// eager is how soon the relay looks for what this process appended. Its
	// transaction may not have committed yet, so it looks again, each time after
	// half as long again, up to calm.
	eager = time.Millisecond
	// calm is how often it looks otherwise: for what processes without a relay
	// append, or did before they were killed.
	calm = 100 * time.Millisecond
	// gather is how long it waits after it gave some positions, for more to give
	// together: in a busy store each time costs a write to disk and a round trip,
	// which orders wait behind.
	gather = 10 * time.Millisecond
	// mostAtOnce bounds what is given positions together.
	mostAtOnce = 500
	// streamLength is about how many events Redis keeps for replicas that are
	// late; PostgreSQL has them all.
	streamLength = 10_000
)

// Published is an event with its position.
type Published struct {
	Position int64     `json:"position"`
	ID       uuid.UUID `json:"id"`
	// Previous is the event with the position before, uuid.Nil where that is not
	// known.
	Previous uuid.UUID       `json:"previous,omitzero"`
	Type     string          `json:"type"`
	Topic    string          `json:"topic"`
	Subject  uuid.UUID       `json:"subject"`
	Customer uuid.UUID       `json:"customer,omitzero"`
	Public   bool            `json:"public,omitempty"`
	Actor    string          `json:"actor"`
	Data     json.RawMessage `json:"data"`
	At       time.Time       `json:"at"`
}

// Relay gives events their positions and publishes them. Any number of
// processes may run one.
type Relay struct {
	log   *Log
	redis *redisdb.Redis
	say   *slog.Logger
	// given has a Feed of this process look at once.
	given chan struct{}
	// also is told of what this process published; see Also.
	also      func(context.Context, []Published)
	published prometheus.Counter
	delay     prometheus.Histogram
	// refused is whether Redis took nothing the last time.
	refused bool
}

// NewRelay makes the relay of a log; r is nil for a store without Redis.
func NewRelay(l *Log, r *redisdb.Redis, log *slog.Logger, metrics prometheus.Registerer) *Relay {
	relay := &Relay{
		log: l, redis: r, say: log, given: make(chan struct{}, 1),
		published: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "gocart_events_published_total", Help: "Events that this process gave a position.",
		}),
		delay: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "gocart_events_delay_seconds", Help: "From when an event is said to have happened to when it has its position.",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 10},
		}),
	}
	metrics.MustRegister(relay.published, relay.delay)
	return relay
}

// Also has do told of each event once, by the process that published it: of
// all processes one, or after a crash at that moment none. It is said before
// Run.
func (r *Relay) Also(do func(context.Context, []Published)) { r.also = do }

// Run publishes until ctx ends.
func (r *Relay) Run(ctx context.Context) {
	wait, gathering := time.Duration(0), false
	timer := time.NewTimer(wait)
	defer timer.Stop()
	healthy := true
	for {
		select {
		case <-ctx.Done():
			return
		case <-r.log.appended:
			if wait > eager && !gathering { // else it is about to look
				wait = eager
				timer.Reset(wait)
			}
			continue
		case <-timer.C:
		}
		n, err := r.publish(ctx)
		if ok := err == nil; ok != healthy && ctx.Err() == nil {
			healthy = ok
			if ok {
				r.say.Info("events are published again")
			} else {
				r.say.Warn("events are not published, and will be later", "reason", db.Explain(err).Message)
			}
		}
		gathering = n > 0 && n < mostAtOnce
		switch {
		case err != nil:
			wait = calm
		case n == mostAtOnce:
			wait = 0
		case gathering:
			wait = gather
		default:
			wait = min(max(eager, wait+wait/2), calm)
		}
		timer.Reset(wait)
	}
}

// publish gives positions to what has none, and returns to how many.
func (r *Relay) publish(ctx context.Context) (int, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	some, err := eventsdb.New(r.log.pool).AnyWithoutPosition(ctx)
	if err != nil || !some {
		return 0, err
	}
	all, err := r.give(ctx)
	if err != nil || len(all) == 0 {
		return 0, err
	}
	now := time.Now()
	for i := range all {
		r.delay.Observe(now.Sub(all[i].At).Seconds())
	}
	r.published.Add(float64(len(all)))
	r.send(ctx, all)
	if r.also != nil {
		r.also(ctx, all)
	}
	select {
	case r.given <- struct{}{}:
	default:
	}
	return len(all), nil
}

func (r *Relay) give(ctx context.Context) (all []Published, err error) {
	err = db.WithTx(ctx, r.log.pool, func(tx pgx.Tx) error {
		var statements batch.Statements
		var before eventsdb.LockPositionRow
		statements.Add(func(db batch.DB) (err error) {
			before, err = eventsdb.New(db).LockPosition(ctx)
			return err
		})
		var rows []eventsdb.GivePositionsRow
		statements.Add(func(db batch.DB) (err error) {
			rows, err = eventsdb.New(db).GivePositions(ctx, mostAtOnce)
			return err
		})
		if err := statements.Send(ctx, tx); err != nil {
			return fmt.Errorf("giving events positions: %w", err)
		}
		all = make([]Published, len(rows))
		for i, row := range rows {
			all[i] = published(eventsdb.EventsAfterRow(row))
		}
		slices.SortFunc(all, func(a, b Published) int { return int(a.Position - b.Position) })
		previous := optional.Value(before.LastID)
		for i := range all {
			all[i].Previous, previous = previous, all[i].ID
		}
		return nil
	})
	return all, err
}

func published(r eventsdb.EventsAfterRow) Published {
	p := Published{
		Position: r.Position, ID: r.ID, Type: r.Type, Topic: r.Topic, Subject: r.SubjectID, Public: r.Public, Actor: r.Actor,
		Data: r.Data, At: r.CreatedAt.UTC(),
	}
	if r.CustomerID != nil {
		p.Customer = *r.CustomerID
	}
	return p
}

// send tells Redis, which takes no event after a later one: of what comes in
// disorder the feeds have the earlier from PostgreSQL.
func (r *Relay) send(ctx context.Context, all []Published) {
	if !r.redis.Up() {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, r.redis.Timeout)
	defer cancel()
	commands := r.redis.Client().Pipeline()
	for i := range all {
		if all[i].Topic == Customers { // somebody is erased: feeds have what was before from the database, where it is erased
			commands.Del(ctx, r.redis.Key(streamName))
		}
		body, err := json.Marshal(&all[i])
		if err != nil {
			r.say.Error("an event can not be encoded; feeds read it from the database", "event", all[i].ID, "error", err)
			continue
		}
		commands.XAdd(ctx, &redis.XAddArgs{
			Stream: r.redis.Key(streamName), ID: strconv.FormatInt(all[i].Position, 10) + "-0",
			MaxLen: streamLength, Approx: true, Values: []any{"e", body},
		})
	}
	_, err := commands.Exec(ctx)
	_, answered := err.(redis.Error) //nolint:errorlint // what Redis itself says is never wrapped
	if err != nil && !answered {
		r.redis.Failed(ctx, err)
		return
	}
	refused := answered && !strings.Contains(err.Error(), "equal or smaller") // as it has the later ones
	if refused && !r.refused {
		r.say.Warn("redis takes no events; they are told some time later", "reason", err)
	}
	r.refused = refused
}

const streamName = "events"

// after reads events that have a position beyond one.
func (l *Log) after(ctx context.Context, position int64, most int) ([]Published, error) {
	rows, err := eventsdb.New(l.pool).EventsAfter(ctx, eventsdb.EventsAfterParams{After: position, Most: int32(most)})
	if err != nil {
		return nil, fmt.Errorf("reading events: %w", err)
	}
	all := make([]Published, len(rows))
	for i, row := range rows {
		all[i] = published(row)
	}
	return all, nil
}
