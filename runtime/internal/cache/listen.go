package cache

import (
	"context"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"
)

const (
	// trust is how long a process takes it that it hears of all writes after it
	// last made sure, and so how old an answer can be that is given from memory
	// while the line to Redis is cut without a sign.
	trust = 2 * time.Second
	// makeSure is how often it does so. A line that has nothing to say for
	// trust is given up.
	makeSure = trust / 4
)

// Run listens for the writes of all replicas until ctx ends. Nothing is given
// from memory before it, after it, or while the line is cut.
func (k *Cache) Run(ctx context.Context) {
	if k == nil {
		return
	}
	defer k.memory.heard.Store(0)
	again := time.NewTicker(makeSure)
	defer again.Stop()
	for {
		k.listen(ctx)
		k.memory.heard.Store(0)
		select {
		case <-ctx.Done():
			return
		case <-again.C:
		}
	}
}

// listen returns when the line is cut. Redis answers on a line in order: when
// it answers a ping, all that was published before the ping was sent has been
// received.
func (k *Cache) listen(ctx context.Context) {
	line := k.redis.Client().Subscribe(ctx, k.channel())
	defer func() { _ = line.Close() }()
	ctx, hangUp := context.WithCancel(ctx)
	defer hangUp()
	go k.ping(ctx, line)
	for {
		message, err := line.Receive(ctx)
		if err != nil {
			return
		}
		switch message := message.(type) {
		case *redis.Subscription: // what was published before is not known, nor between two lines
			k.memory.nextAll()
		case *redis.Message:
			k.hear(message.Payload)
		case *redis.Pong:
			if sent, err := strconv.ParseInt(message.Payload, 10, 64); err == nil {
				k.memory.heardAll(k.memory.begin.Add(time.Duration(sent)))
			}
		}
	}
}

// ping asks by the line whether it stands, and hangs up on one that does not.
func (k *Cache) ping(ctx context.Context, line *redis.PubSub) {
	tick := time.NewTicker(makeSure)
	defer tick.Stop()
	began := time.Now()
	for {
		now := time.Since(k.memory.begin)
		if line.Ping(ctx, strconv.FormatInt(int64(now), 10)) != nil || !k.memory.usable() && time.Since(began) > trust {
			_ = line.Close()
			return
		}
		select {
		case <-ctx.Done():
			_ = line.Close()
			return
		case <-tick.C:
		}
	}
}
