// Package cache keeps encoded answers for a while: in Redis for all replicas,
// and in the memory of each process in front of it, so that what many ask for
// costs neither Redis nor the database anything. It holds only what may be
// lost: a Redis that is slow, full, wrong or away makes answers uncached, never
// late and never an error.
//
// An answer has tags of what it tells of, and Invalidate makes those with a tag
// ones of the past. No answer is given that was read before a write of the same
// process, or of another whose Invalidate this one has heard of. It hears at
// once; where the line to Redis is cut without a sign, an answer from memory can
// be 2 s older than a write. What could not be told to Redis the TTL bounds,
// from when the answer was read. Without Redis nothing is kept, for then nobody
// would tell.
//
// What is not kept is made once for all who wait for it, in all replicas, and
// what is soon to be forgotten is made again while the old one is still given.
package cache

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"
	"golang.org/x/sync/singleflight"

	"gitee.com/captainjez/gocart/runtime/internal/redisdb"
)

const (
	// makeTimeout bounds the making of an answer that several wait for.
	makeTimeout = 5 * time.Second
	// patience is how long one replica waits for the answer that another
	// makes, before it makes its own: also for one that crashed over it.
	patience = 250 * time.Millisecond
	// firstPause is after how long it looks first, then after twice that, and so
	// on up to lastPause.
	firstPause, lastPause = 2 * time.Millisecond, 32 * time.Millisecond
	// absentShare is the share of the TTL for which it is kept that something is
	// not there.
	absentShare = 6
	// renewals is how many answers a process makes again at once.
	renewals = 4
	// company is for how long those who ask while Redis is away join who asked
	// before them.
	company = time.Second
)

// ErrAbsent is what there is no answer to, as yet.
var ErrAbsent = errors.New("cache: not there")

// Cache is a store's answers. A nil *Cache keeps nothing.
type Cache struct {
	redis  *redisdb.Redis
	ttl    time.Duration
	memory *memory

	flights  singleflight.Group
	renewing chan struct{}
	// lookups by layer.
	inMemory, inRedis results
}

// results count lookups.
type results struct{ hit, renew, miss, away prometheus.Counter }

// New keeps answers in Redis and, while Run runs, in memory, for ttl. It
// forgets the old ones whenever Redis comes back, since writes meanwhile could
// not.
func New(r *redisdb.Redis, ttl time.Duration, metrics prometheus.Registerer) *Cache {
	lookups := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "gocart_cache_lookups_total",
		Help: "Answers looked for, by layer, memory before redis, and result: hit, renew for a hit that has the answer made again, miss, or away where the layer was not asked or did not answer.",
	}, []string{"layer", "result"})
	metrics.MustRegister(lookups)
	of := func(layer string) results {
		return results{
			lookups.WithLabelValues(layer, "hit"), lookups.WithLabelValues(layer, "renew"),
			lookups.WithLabelValues(layer, "miss"), lookups.WithLabelValues(layer, "away"),
		}
	}
	k := &Cache{
		redis: r, ttl: ttl, memory: newMemory(metrics), renewing: make(chan struct{}, renewals),
		inMemory: of("memory"), inRedis: of("redis"),
	}
	r.OnReturn(k.forget)
	return k
}

func (k *Cache) versionsKey() string { return k.redis.Key("answers:versions") }

// channel is where it is told what was written.
func (k *Cache) channel() string { return k.redis.Key("answers:writes") }

// An entry in Redis is the versions of its tags before the database was asked,
// a line feed, + and the answer or - for what is not there. Invalidate replaces
// the versions, which makes every entry with them one of the past: also one
// that a slow request still stores afterwards. In memory the epoch is that.

var (
	//go:embed look.lua
	lookScript string
	//go:embed keep.lua
	keepScript string
	//go:embed write.lua
	writeScript string

	look  = redis.NewScript(lookScript)
	keep  = redis.NewScript(keepScript)
	write = redis.NewScript(writeScript)
)

// Make makes the body of an answer. An error that is ErrAbsent is kept too, for
// a shorter time, others are not.
type Make func(context.Context) ([]byte, error)

// Answer returns what is kept under key, or makes it, at most once at a time,
// and keeps it. Errors are those of make; of what is kept as not there it is
// ErrAbsent itself.
func (k *Cache) Answer(ctx context.Context, key Key, make Make) (*Answer, error) {
	if k == nil {
		body, err := make(ctx)
		if err != nil {
			return nil, err
		}
		return NewAnswer(body), nil
	}
	epoch := k.memory.epoch(&key)
	if found, renew := k.remembered(&key, epoch); found != nil {
		if renew {
			k.renew(ctx, key, make)
		}
		return given(found.answer)
	}
	return k.find(ctx, key, epoch, make)
}

// given is an answer that is kept, nil for what is not there.
func given(answer *Answer) (*Answer, error) {
	if answer == nil {
		return nil, ErrAbsent
	}
	return answer, nil
}

// remembered is what is in memory, nil where there is nothing to give.
func (k *Cache) remembered(key *Key, epoch int64) (found *entry, renew bool) {
	if !k.redis.Up() || !k.memory.usable() {
		k.inMemory.away.Inc()
		return nil, false
	}
	found, renew = k.memory.get(key, epoch)
	switch {
	case found == nil:
		k.inMemory.miss.Inc()
	case renew:
		k.inMemory.renew.Inc()
	default:
		k.inMemory.hit.Inc()
	}
	return found, renew
}

// find asks Redis, and has made what is not there, together with those who ask
// for the same of the same time. Who hears of writes goes by the epoch; who
// does not must ask Redis first, by himself; and without Redis company is short.
func (k *Cache) find(ctx context.Context, key Key, epoch int64, make Make) (*Answer, error) {
	moment := "at " + strconv.FormatInt(k.memory.now()/int64(company), 36)
	switch {
	case !k.redis.Up():
	case k.memory.usable():
		moment = ""
	default:
		seen, err := k.look(ctx, &key, false)
		if seen.found {
			return given(seen.answer)
		}
		if err == nil {
			moment = seen.version
		}
	}
	flight := k.flights.DoChan(fmt.Sprint(epoch, moment, key.id), func() (any, error) {
		// Whoever came first may go; the others still wait.
		return k.fetch(context.WithoutCancel(ctx), key, make)
	})
	select {
	case <-ctx.Done():
		return nil, ctx.Err()
	case result := <-flight:
		if result.Err != nil {
			return nil, result.Err
		}
		return result.Val.(*Answer), nil
	}
}

// fetch takes an answer from Redis, or makes it, unless another replica does so
// in time.
func (k *Cache) fetch(ctx context.Context, key Key, make Make) (*Answer, error) {
	since := time.Now()
	for pause := firstPause; ; pause = min(2*pause, lastPause) {
		began, epoch := time.Now(), k.memory.epoch(&key)
		seen, err := k.look(ctx, &key, true)
		if seen.found {
			k.memory.set(&key, epoch, seen.answer, seen.left-time.Since(began), k.renewal())
			if seen.token != "" {
				k.behind(func() { _, _ = k.make(ctx, &key, epoch, seen, make) })
			}
			return given(seen.answer)
		}
		if err != nil || seen.token != "" || time.Since(since) >= patience {
			return k.make(ctx, &key, epoch, seen, make)
		}
		<-time.After(pause/2 + rand.N(pause)) //nolint:gosec // so that not all replicas look at once
	}
}

// make makes an answer and keeps it under the versions that were seen before.
func (k *Cache) make(ctx context.Context, key *Key, epoch int64, seen seen, make Make) (*Answer, error) {
	ctx, cancel := context.WithTimeout(ctx, makeTimeout)
	defer cancel()
	began := time.Now()
	body, err := safely(ctx, make)
	absent := errors.Is(err, ErrAbsent)
	if err != nil && !absent {
		k.keep(ctx, key, seen, nil, 0)
		return nil, err
	}
	ttl := k.ttl - rand.N(k.ttl/10+1) //nolint:gosec // so that what was made together is not forgotten together
	var answer *Answer
	kept := []byte("-")
	if absent {
		ttl /= absentShare
	} else {
		answer = newKept(body)
		kept = append([]byte("+"), body...)
	}
	if seen.version != "" {
		k.keep(ctx, key, seen, kept, ttl)
		k.memory.set(key, epoch, answer, ttl-time.Since(began), k.renewal())
	}
	if absent {
		return nil, err
	}
	return answer, nil
}

// safely makes a panic an error, since the callers wait elsewhere.
func safely(ctx context.Context, make Make) (body []byte, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("panic: %v\n%s", r, debug.Stack())
		}
	}()
	return make(ctx)
}

// renewal is how long before the end of its time an answer is made again: 10 to
// 30% of it.
func (k *Cache) renewal() time.Duration {
	return k.ttl/10 + rand.N(k.ttl/5+1) //nolint:gosec // so that not all are made at once
}

// renew makes an answer that is in memory again, behind those who are given the
// old one, or takes it from the replica that did. Who can not leaves it to the
// next who asks.
func (k *Cache) renew(ctx context.Context, key Key, make Make) {
	ctx = context.WithoutCancel(ctx)
	k.behind(func() {
		began, epoch := time.Now(), k.memory.epoch(&key)
		switch seen, err := k.look(ctx, &key, true); {
		case err != nil:
		case seen.token != "":
			_, _ = k.make(ctx, &key, epoch, seen, make)
		case seen.found:
			k.memory.set(&key, epoch, seen.answer, seen.left-time.Since(began), k.renewal())
		}
	})
}

// behind does what nobody waits for, unless there is enough of that.
func (k *Cache) behind(do func()) {
	select {
	case k.renewing <- struct{}{}:
		go func() {
			defer func() { <-k.renewing }()
			do()
		}()
	default:
	}
}

// seen is what Redis knows of an answer.
type seen struct {
	// version is that of the answer's tags, empty where nothing should be kept.
	version string
	// found is whether there is an answer; it is nil for what is not there.
	found  bool
	answer *Answer
	// left is for how long it may still be given.
	left time.Duration
	// token is not empty where it is for this replica to make the answer.
	token string
}

var errAway = errors.New("redis is away")

// look asks Redis for an answer and, where it is needed, for the right to make
// it.
func (k *Cache) look(ctx context.Context, key *Key, mayMake bool) (seen, error) {
	if !k.redis.Up() {
		k.inRedis.away.Inc()
		return seen{}, errAway
	}
	fresh, token := newVersion(), ""
	if mayMake {
		token = newVersion()
	}
	args := make([]any, 0, 4+maxTags)
	args = append(args, fresh, token, patience.Milliseconds(), k.renewal().Milliseconds())
	for _, slot := range key.places() {
		args = append(args, slot)
	}
	ctx, cancel := context.WithTimeout(ctx, k.redis.Timeout)
	defer cancel()
	said, err := look.Run(ctx, k.redis.Client(), []string{k.versionsKey(), k.redis.Key(key.entry()), k.redis.Key("making:" + key.entry())}, args...).Slice()
	if err == nil && len(said) != 4 {
		err = fmt.Errorf("the script answered %d values", len(said))
	}
	if err != nil {
		k.redis.Failed(ctx, err)
		k.inRedis.away.Inc()
		return seen{}, err
	}
	var s seen
	s.version, _ = said[0].(string)
	if mine, _ := said[3].(int64); mine == 1 {
		s.token = token
	}
	kept, _ := said[1].(string)
	if body, ok := strings.CutPrefix(kept, "+"); ok {
		s.answer = newKept([]byte(body))
	}
	s.found = kept != ""
	left, _ := said[2].(int64)
	s.left = time.Duration(left) * time.Millisecond
	switch {
	case !s.found:
		k.inRedis.miss.Inc()
	case s.token != "":
		k.inRedis.renew.Inc()
	default:
		k.inRedis.hit.Inc()
	}
	return s, nil
}

// keep stores what was made, nil for nothing, and gives the right to make it back.
func (k *Cache) keep(ctx context.Context, key *Key, seen seen, kept []byte, ttl time.Duration) {
	if !k.redis.Up() || seen.version == "" || kept == nil && seen.token == "" {
		return
	}
	if kept != nil {
		kept = append([]byte(seen.version), kept...)
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), k.redis.Timeout)
	defer cancel()
	keys := []string{k.redis.Key(key.entry()), k.redis.Key("making:" + key.entry())}
	if err := keep.Run(ctx, k.redis.Client(), keys, kept, max(ttl.Milliseconds(), 1), seen.version+seen.token).Err(); err != nil {
		k.redis.Failed(ctx, err)
	}
}

// newVersion is a word that was never said before.
func newVersion() string { return strconv.FormatUint(rand.Uint64(), 36) } //nolint:gosec // nobody gains by guessing it

// Invalidate makes every answer with one of the tags one of the past, in all
// replicas. Where Redis is away, all are so before it is used again by this
// process; elsewhere the TTL bounds how long an old answer lives.
func (k *Cache) Invalidate(ctx context.Context, tags ...string) {
	if k == nil || len(tags) == 0 {
		return
	}
	places := make([]uint16, len(tags))
	for i, tag := range tags {
		places[i] = slotOf(tag)
	}
	// Before, for those who wait for what is read now; and after, for those who
	// found in Redis meanwhile what was of the past.
	k.memory.next(places)
	defer k.memory.next(places)
	k.tell(ctx, func(ctx context.Context) error { return k.write(ctx, places) })
}

// Forget is Invalidate for every answer.
func (k *Cache) Forget(ctx context.Context) {
	if k == nil {
		return
	}
	k.memory.nextAll()
	defer k.memory.nextAll()
	k.tell(ctx, k.forget)
}

// tell has Redis told, whoever asked for it goes or not.
func (k *Cache) tell(ctx context.Context, do func(context.Context) error) {
	if !k.redis.Up() {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), k.redis.Timeout)
	defer cancel()
	if err := do(ctx); err != nil {
		k.redis.Failed(ctx, err)
	}
}

// everything is what is told where all versions are gone.
const everything = "all"

// write replaces the versions of places, and tells everybody.
func (k *Cache) write(ctx context.Context, places []uint16) error {
	args := append(make([]any, 0, 3+len(places)), k.channel(), "", newVersion())
	var message []byte
	for _, slot := range places {
		args = append(args, slot)
		message = append(strconv.AppendUint(message, uint64(slot), 10), ' ')
	}
	args[1] = message
	return write.Run(ctx, k.redis.Client(), []string{k.versionsKey()}, args...).Err()
}

// forget does so for all places.
func (k *Cache) forget(ctx context.Context) error {
	return write.Run(ctx, k.redis.Client(), []string{k.versionsKey()}, k.channel(), everything, "").Err()
}

// hear ends the epochs that a message of write or forget is about.
func (k *Cache) hear(message string) {
	var places []uint16
	for place := range strings.FieldsSeq(message) {
		slot, err := strconv.ParseUint(place, 10, 16)
		if err != nil || slot >= slots {
			k.memory.nextAll()
			return
		}
		places = append(places, uint16(slot))
	}
	k.memory.next(places)
}
