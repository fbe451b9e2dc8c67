package events

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"time"

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

// Feed hears of every event with a position, in order, each once.
type Feed struct {
	past  *Log
	redis *redisdb.Redis
	log   *slog.Logger
	// given wakes it for what this process published.
	given <-chan struct{}
	take  func([]Published)
	// position of the last event that was taken.
	position int64
}

// NewFeed makes a feed that gives what it hears to take, in order; take must
// not block. Relay is that of the same process, or nil; one feed may have it.
func NewFeed(l *Log, r *redisdb.Redis, relay *Relay, log *slog.Logger, take func([]Published)) *Feed {
	f := &Feed{past: l, redis: r, log: log, take: take}
	if relay != nil {
		f.given = relay.given
	}
	return f
}

// Run begins with the last events that there are, up to so many, and goes on
// until ctx ends.
func (f *Feed) Run(ctx context.Context, past int64) {
	begun, healthy := false, true
	for ctx.Err() == nil {
		var err error
		switch {
		case !begun:
			if err = f.begin(ctx, past); err == nil {
				begun = true
			}
		case f.redis.Up():
			err = f.listen(ctx)
		default:
			f.wait(ctx, withoutRedis)
			err = f.catchUp(ctx)
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
	head, err := f.past.Head(ctx)
	if err != nil {
		return err
	}
	f.position = max(0, head-past)
	return f.catchUp(ctx)
}

// catchUp takes from PostgreSQL all that there is.
func (f *Feed) catchUp(ctx context.Context) error {
	for {
		all, err := f.past.after(ctx, f.position, page)
		if err != nil {
			return err
		}
		f.accept(all)
		if len(all) < page {
			return nil
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

func (f *Feed) accept(all []Published) {
	if len(all) > 0 {
		f.position = all[len(all)-1].Position
		f.take(all)
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
	next := f.position + 1
	for _, message := range streams[0].Messages {
		var e Published
		body, _ := message.Values["e"].(string)
		if err := json.Unmarshal([]byte(body), &e); err != nil || e.Position != next {
			break // one is missing: PostgreSQL has it
		}
		all = append(all, e)
		next++
	}
	if f.accept(all); len(all) == len(streams[0].Messages) {
		return nil
	}
	return f.catchUp(ctx)
}
