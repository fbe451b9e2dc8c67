package events

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/redis/go-redis/v9"

	"gitee.com/captainjez/gocart/runtime/internal/db"
	"gitee.com/captainjez/gocart/runtime/internal/events/eventsdb"
	"gitee.com/captainjez/gocart/runtime/internal/redisdb"
)

const (
	// lookEvery is how often a feed compares itself with PostgreSQL although
	// Redis says nothing, and so how late an event can be that Redis lost.
	lookEvery = time.Second
	// withoutRedis is how often it looks where there is no Redis to wait for.
	withoutRedis = 50 * time.Millisecond
	// page is how many events are read together.
	page = 1000
)

// Listener is told of events by a Feed, by one call after another. After an
// error it is told of the same again, later.
type Listener interface {
	// Begin gives the last events that there are, in order: all of those after a
	// position. It is called first, and once more where the database has lost
	// some of what was told: then nothing that was said before counts, and the
	// position is above all that were told.
	Begin(after int64, past []Published) error
	// Take gives the next events.
	Take(next []Published) error
}

// Feed hears of every event with a position, in order, each once.
type Feed struct {
	past  *Log
	redis *redisdb.Redis
	log   *slog.Logger
	// given wakes it for what this process published.
	given <-chan struct{}
	to    Listener
	begun bool
	// position and last are those of the last event that was taken; last is
	// uuid.Nil where there was none.
	position int64
	last     uuid.UUID
	// verified is when what was told last was still so in the database.
	verified time.Time
}

// NewFeed makes a feed that tells a listener. Relay is that of the same
// process, or nil; one feed may have it.
func NewFeed(l *Log, r *redisdb.Redis, relay *Relay, log *slog.Logger, to Listener) *Feed {
	f := &Feed{past: l, redis: r, log: log, to: to}
	if relay != nil {
		f.given = relay.given
	}
	return f
}

// Run begins with the last events that there are, up to so many, and goes on
// until ctx ends.
func (f *Feed) Run(ctx context.Context, past int64) {
	healthy := true
	for ctx.Err() == nil {
		err := f.step(ctx, past)
		if err != nil { // meanwhile another server may have taken over
			f.verified = time.Time{}
		}
		if ok := err == nil; ok != healthy && ctx.Err() == nil {
			healthy = ok
			if !ok {
				f.log.Warn("events do not come in", "reason", db.Explain(err).Message)
			} else {
				f.log.Info("events come in again", "position", f.position)
			}
		}
		if err != nil {
			f.wait(ctx, lookEvery)
		}
	}
}

func (f *Feed) step(ctx context.Context, past int64) error {
	if time.Since(f.verified) >= lookEvery {
		if err := f.verify(ctx); err != nil {
			return err
		}
		f.verified = time.Now()
	}
	switch {
	case !f.begun:
		return f.begin(ctx, past)
	case f.redis.Up():
		return f.listen(ctx)
	}
	f.wait(ctx, withoutRedis)
	return f.catchUp(ctx)
}

// verify finds out whether the database has lost positions that it had given,
// as after a failover to a server that had not all of them yet. Then positions
// go on after all that were told, Redis forgets what it has, and the feed begins
// anew.
func (f *Feed) verify(ctx context.Context) error {
	ahead := f.inRedis(ctx) // first: a position is given before Redis hears of it
	is, err := f.standing(ctx)
	if err != nil {
		return err
	}
	if ahead > is.Position {
		f.log.Warn("the database has lost events that Redis has; they are forgotten", "position", is.Position, "inRedis", ahead)
		if err := f.skip(ctx, ahead); err != nil {
			return err
		}
		if err := f.redis.Client().Del(ctx, f.redis.Key(streamName)).Err(); err != nil {
			f.redis.Failed(ctx, err)
			return fmt.Errorf("forgetting events in Redis: %w", err)
		}
		if is, err = f.standing(ctx); err != nil {
			return err
		}
	}
	if f.begun && f.differs(is) {
		return f.lost(ctx, max(f.position, ahead))
	}
	return nil
}

// standing is how the database stands, and which event has the feed's position
// there.
func (f *Feed) standing(ctx context.Context) (eventsdb.StandingRow, error) {
	is, err := eventsdb.New(f.past.pool).Standing(ctx, f.position)
	if err != nil {
		return is, fmt.Errorf("reading the events' position: %w", err)
	}
	return is, nil
}

// differs reports whether the database is not the one that the feed told of.
func (f *Feed) differs(is eventsdb.StandingRow) bool {
	return is.Position < f.position || is.Forgotten > f.position || is.ID != nil && f.last != uuid.Nil && *is.ID != f.last
}

func (f *Feed) skip(ctx context.Context, told int64) error {
	if err := eventsdb.New(f.past.pool).SkipPositions(ctx, told); err != nil {
		return fmt.Errorf("skipping positions: %w", err)
	}
	return nil
}

// lost has the feed begin anew, since the database has not all that was told up
// to a position.
func (f *Feed) lost(ctx context.Context, told int64) error {
	f.log.Warn("the database has lost events that were told; who listens begins anew", "told", told)
	f.begun = false
	return f.skip(ctx, told)
}

// inRedis is the last position that Redis knows, 0 for none.
func (f *Feed) inRedis(ctx context.Context) int64 {
	if !f.redis.Up() {
		return 0
	}
	ctx, cancel := context.WithTimeout(ctx, f.redis.Timeout)
	defer cancel()
	last, err := f.redis.Client().XRevRangeN(ctx, f.redis.Key(streamName), "+", "-", 1).Result()
	if err != nil {
		f.redis.Failed(ctx, err)
	}
	if err != nil || len(last) == 0 {
		return 0
	}
	position, _, _ := strings.Cut(last[0].ID, "-")
	n, err := strconv.ParseInt(position, 10, 64)
	if err != nil {
		return 0
	}
	return n
}

func (f *Feed) wait(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-f.given:
	case <-timer.C:
	}
}

func (f *Feed) begin(ctx context.Context, past int64) error {
	is, err := f.standing(ctx)
	if err != nil {
		return err
	}
	var all []Published
	after := max(0, is.Position-past, is.Forgotten)
	for next := after; ; next = all[len(all)-1].Position {
		more, err := f.past.after(ctx, next, page)
		if err != nil {
			return err
		}
		if all = append(all, more...); len(more) < page {
			break
		}
	}
	if err := f.to.Begin(after, all); err != nil {
		return err
	}
	f.begun, f.position, f.last = true, max(after, is.Position), uuid.Nil
	f.told(all)
	return nil
}

// catchUp takes from PostgreSQL all that there is. It reads the last event that
// was told once more, to know that what follows it is of the same past.
func (f *Feed) catchUp(ctx context.Context) error {
	for {
		all, err := f.past.after(ctx, f.position-1, page)
		if err != nil {
			return err
		}
		n := len(all)
		if n > 0 && all[0].Position == f.position {
			if f.last != uuid.Nil && all[0].ID != f.last {
				return f.lost(ctx, f.position)
			}
			all = all[1:]
		} else if n > 0 && f.last != uuid.Nil { // it was forgotten, or lost
			is, err := f.standing(ctx)
			if err != nil {
				return err
			}
			if f.differs(is) {
				return f.lost(ctx, f.position)
			}
		}
		if err := f.accept(all); err != nil || n < page {
			return err
		}
	}
}

// Head is the position of the last event that has one.
func (l *Log) Head(ctx context.Context) (int64, error) {
	head, err := eventsdb.New(l.pool).Position(ctx)
	if err != nil {
		return 0, fmt.Errorf("reading the events' position: %w", err)
	}
	return head, nil
}

// ErrForgotten is the error of who asks for a past that was forgotten.
var ErrForgotten = errors.New("events: some of them were forgotten")

// Past reads up to so many events after a position, in order; fewer are all
// that there are.
func (l *Log) Past(ctx context.Context, position int64, most int) ([]Published, error) {
	all, err := l.after(ctx, position, most)
	if err != nil {
		return nil, err
	}
	forgotten, err := eventsdb.New(l.pool).Forgotten(ctx)
	if err != nil {
		return nil, fmt.Errorf("reading the events' position: %w", err)
	}
	if position < forgotten {
		return nil, ErrForgotten
	}
	return all, nil
}

func (f *Feed) accept(all []Published) error {
	if len(all) == 0 {
		return nil
	}
	if err := f.to.Take(all); err != nil {
		return fmt.Errorf("telling of events: %w", err)
	}
	f.told(all)
	return nil
}

func (f *Feed) told(all []Published) {
	if n := len(all); n > 0 {
		f.position, f.last = all[n-1].Position, all[n-1].ID
	}
}

// listen takes what Redis has next, within lookEvery.
func (f *Feed) listen(ctx context.Context) error {
	waiting, cancel := context.WithTimeout(ctx, lookEvery+2*f.redis.Timeout)
	defer cancel()
	streams, err := f.redis.Client().XRead(waiting, &redis.XReadArgs{
		Streams: []string{f.redis.Key(streamName), strconv.FormatInt(f.position, 10) + "-0"}, Count: page, Block: lookEvery,
	}).Result()
	switch {
	case errors.Is(err, redis.Nil):
		return f.catchUp(ctx)
	case err != nil:
		f.redis.Failed(ctx, err)
		return f.catchUp(ctx)
	}
	var all []Published
	next, previous := f.position+1, f.last
	for _, message := range streams[0].Messages {
		var e Published
		body, _ := message.Values["e"].(string)
		if err := json.Unmarshal([]byte(body), &e); err != nil || e.Position != next || e.Previous != previous {
			break // one is missing, or of another past: PostgreSQL knows
		}
		all = append(all, e)
		next, previous = next+1, e.ID
	}
	if err := f.accept(all); err != nil || len(all) == len(streams[0].Messages) {
		return err
	}
	before := f.position
	if err := f.catchUp(ctx); err != nil {
		return err
	}
	if f.position == before { // Redis knows of what PostgreSQL does not
		f.verified = time.Time{}
	}
	return nil
}
