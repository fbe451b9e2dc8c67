package events_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/prometheus/client_golang/prometheus"

	"gitee.com/captainjez/gocart/runtime/config"
	"gitee.com/captainjez/gocart/runtime/internal/db"
	"gitee.com/captainjez/gocart/runtime/internal/events"
	"gitee.com/captainjez/gocart/runtime/internal/redisdb"
	"gitee.com/captainjez/gocart/runtime/internal/testbed"
)

func TestMain(m *testing.M) {
	redisdb.QuietClient()
	testbed.Main(m)
}

// replica is a process that publishes and hears.
type replica struct {
	log   *events.Log
	redis *redisdb.Redis
	stop  func()

	mu    sync.Mutex
	heard []events.Published
	begun int
	// deaf replicas take nothing.
	deaf bool
}

// Begin is of a replica that knows nothing of what was told before.
func (r *replica) Begin(_ int64, past []events.Published) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.heard, r.begun = slices.Clone(past), r.begun+1
	return nil
}

func (r *replica) Take(next []events.Published) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.deaf {
		return errors.New("deaf")
	}
	r.heard = append(r.heard, next...)
	return nil
}

// start runs a replica that begins with the last events there are; addr is
// empty for a store without Redis.
func start(t *testing.T, pool *pgxpool.Pool, addr string, past int64) *replica {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	r := &replica{log: events.NewLog(pool)}
	r.stop = func() { cancel(); running.Wait() }
	t.Cleanup(r.stop)
	say := (&testbed.Log{}).Logger()
	if addr != "" {
		var err error
		r.redis, err = redisdb.Open(config.Redis{URLFile: testbed.File(t, "redis://"+addr)}, config.Store{Name: "shop", Namespace: "ns"}, say, prometheus.NewRegistry())
		if err != nil {
			t.Fatal(err)
		}
		running.Go(func() { r.redis.Run(ctx) })
		testbed.Eventually(t, "Redis is in use", r.redis.Up)
	}
	relay := events.NewRelay(r.log, r.redis, say, prometheus.NewRegistry())
	feed := events.NewFeed(r.log, r.redis, relay, say, r)
	running.Go(func() { relay.Run(ctx) })
	running.Go(func() { feed.Run(ctx, past) })
	return r
}

func (r *replica) all() []events.Published {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.heard)
}

// await waits until the replica heard so many, and checks that each came once
// and in order.
func (r *replica) await(t *testing.T, n int) []events.Published {
	t.Helper()
	testbed.Eventually(t, fmt.Sprintf("%d events are heard", n), func() bool { return len(r.all()) >= n })
	all := r.all()
	for i, e := range all {
		if e.Position != all[0].Position+int64(i) {
			t.Fatalf("event %d has position %d, the first has %d", i, e.Position, all[0].Position)
		}
	}
	return all
}

func pool(t *testing.T) *pgxpool.Pool {
	t.Helper()
	return testbed.Pools(t).Main
}

func happens(t *testing.T, l *events.Log, pool *pgxpool.Pool, all ...events.Event) {
	t.Helper()
	if err := db.WithTx(t.Context(), pool, func(tx pgx.Tx) error { return l.Append(t.Context(), tx, all...) }); err != nil {
		t.Fatal(err)
	}
}

func event(subject uuid.UUID, n int) events.Event {
	return events.Event{Type: "order.note", Topic: events.Orders, Subject: subject, Actor: "store", Data: map[string]int{"n": n}, At: time.Now()}
}

func TestEveryReplicaHearsEveryEventOnceAndInOneOrder(t *testing.T) {
	t.Parallel()
	for name, withRedis := range map[string]bool{"with Redis": true, "without Redis": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p, addr := pool(t), ""
			if withRedis {
				addr = testbed.Redis(t).Addr
			}
			replicas := []*replica{start(t, p, addr, 1000), start(t, p, addr, 1000), start(t, p, addr, 1000)}
			const writers, each = 8, 50
			subjects := make([]uuid.UUID, writers)
			var writing sync.WaitGroup
			for w := range writers {
				subjects[w] = uuid.New()
				writing.Go(func() {
					for n := range each {
						err := db.WithTx(t.Context(), p, func(tx pgx.Tx) error {
							if err := replicas[n%3].log.Append(t.Context(), tx, event(subjects[w], n)); err != nil {
								return err
							}
							if n%7 == 3 { // some take long to commit
								_, err := tx.Exec(t.Context(), fmt.Sprintf("SELECT pg_sleep(%f)", rand.Float64()/20))
								return err
							}
							return nil
						})
						if err != nil {
							t.Error(err)
						}
					}
				})
			}
			writing.Wait()
			first := replicas[0].await(t, writers*each)
			for _, r := range replicas {
				all := r.await(t, writers*each)
				if len(all) != writers*each {
					t.Fatalf("%d were heard", len(all))
				}
				for i := range all {
					if all[i].ID != first[i].ID {
						t.Fatalf("replicas hear another order from %d on", i)
					}
				}
			}
			next := map[uuid.UUID]int{}
			for _, e := range first {
				if want := fmt.Sprintf(`{"n": %d}`, next[e.Subject]); string(e.Data) != want && string(e.Data) != fmt.Sprintf(`{"n":%d}`, next[e.Subject]) {
					t.Fatalf("of subject %s came %s, want %s", e.Subject, e.Data, want)
				}
				next[e.Subject]++
			}
		})
	}
}

func TestWhatIsNotCommittedIsNotTold(t *testing.T) {
	t.Parallel()
	p := pool(t)
	r := start(t, p, "", 1000)
	undone := errors.New("undone")
	for range 10 {
		err := db.WithTx(t.Context(), p, func(tx pgx.Tx) error {
			return errors.Join(r.log.Append(t.Context(), tx, event(uuid.New(), 1)), undone)
		})
		if !errors.Is(err, undone) {
			t.Fatal(err)
		}
	}
	silent := event(uuid.New(), 2)
	silent.Topic = ""
	happens(t, r.log, p, silent, event(uuid.New(), 3))
	if all := r.await(t, 1); all[0].Position != 1 || len(all) != 1 {
		t.Errorf("heard %+v", all)
	}
}

func TestNothingIsLostWhenRedisIsFlushedKilledAndComesBack(t *testing.T) {
	t.Parallel()
	p, server := pool(t), testbed.Redis(t)
	a, b := start(t, p, server.Addr, 1000), start(t, p, server.Addr, 1000)
	said := 0
	say := func(n int) {
		for range n {
			happens(t, a.log, p, event(uuid.New(), said))
			said++
		}
	}
	say(20)
	b.await(t, 20)
	if err := a.redis.Client().FlushAll(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
	say(20)
	b.await(t, 40)
	server.Kill()
	say(20)
	b.await(t, 60)
	server.Start(t)
	say(20)
	testbed.Eventually(t, "Redis is in use", func() bool { return a.redis.Up() && b.redis.Up() })
	say(20)
	a.await(t, said)
	b.await(t, said)
}

func TestALateReplicaBeginsWithThePastThatItIsToKnow(t *testing.T) {
	t.Parallel()
	p := pool(t)
	r := start(t, p, "", 1000)
	for n := range 30 {
		happens(t, r.log, p, event(uuid.New(), n))
	}
	r.await(t, 30)
	if all := start(t, p, "", 10).await(t, 10); all[0].Position != 21 {
		t.Errorf("begins with %d", all[0].Position)
	}
}

func TestEventsOfAProcessThatWasKilledAreToldByAnother(t *testing.T) {
	t.Parallel()
	p := pool(t)
	r := start(t, p, "", 1000)
	happens(t, events.NewLog(p), p, event(uuid.New(), 1)) // by a process whose relay never ran
	r.await(t, 1)
}

func TestOnlyWhatIsNobodysHistoryIsForgotten(t *testing.T) {
	t.Parallel()
	p := pool(t)
	r := start(t, p, "", 1000)
	order, variant := uuid.New(), uuid.New()
	for n := range 3 {
		stock := event(variant, n)
		stock.Topic = events.Inventory
		happens(t, r.log, p, event(order, n), stock)
	}
	r.await(t, 6)
	if n, err := r.log.Forget(t.Context(), time.Now().Add(6*24*time.Hour)); n != 0 || err != nil {
		t.Errorf("after six days %d are forgotten: %v", n, err)
	}
	if n, err := r.log.Forget(t.Context(), time.Now().Add(8*24*time.Hour)); n != 0 || err != nil {
		t.Errorf("%d are forgotten that a reader has yet to read: %v", n, err)
	}
	for _, reader := range []string{events.Webhooks, events.Statistics} {
		if err := events.NewReader(p, reader).Skip(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if n, err := r.log.Forget(t.Context(), time.Now().Add(8*24*time.Hour)); n != 3 || err != nil {
		t.Errorf("after eight days %d are forgotten: %v", n, err)
	}
	all, err := r.log.Of(t.Context(), order, true)
	if len(all) != 3 || err != nil {
		t.Errorf("of the order are left %v: %v", all, err)
	}
}

func TestOneProcessIsToldOfEachEventThatItPublished(t *testing.T) {
	t.Parallel()
	p := pool(t)
	var mu sync.Mutex
	told := map[uuid.UUID]int{}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	t.Cleanup(func() { cancel(); running.Wait() })
	log := events.NewLog(p)
	for range 3 {
		relay := events.NewRelay(log, nil, (&testbed.Log{}).Logger(), prometheus.NewRegistry())
		relay.Also(func(_ context.Context, all []events.Published) {
			mu.Lock()
			defer mu.Unlock()
			for _, e := range all {
				told[e.ID]++
			}
		})
		running.Go(func() { relay.Run(ctx) })
	}
	const n = 100
	for i := range n {
		happens(t, log, p, event(uuid.New(), i))
	}
	testbed.Eventually(t, "all are told", func() bool { mu.Lock(); defer mu.Unlock(); return len(told) == n })
	for id, times := range told {
		if times != 1 {
			t.Errorf("event %s was told %d times", id, times)
		}
	}
}

func TestWhatAListenerCouldNotTakeIsToldAgain(t *testing.T) {
	t.Parallel()
	p := pool(t)
	r := start(t, p, "", 1000)
	happens(t, r.log, p, event(uuid.New(), 0))
	r.await(t, 1)
	r.mu.Lock()
	r.deaf = true
	r.mu.Unlock()
	happens(t, r.log, p, event(uuid.New(), 1), event(uuid.New(), 2))
	other := start(t, p, "", 1000)
	other.await(t, 3)
	if n := len(r.all()); n != 1 {
		t.Errorf("who is deaf heard %d", n)
	}
	r.mu.Lock()
	r.deaf = false
	r.mu.Unlock()
	r.await(t, 3)
}

// lose has the database forget what came after a position, as after a failover
// to a server that had not all of the past.
func lose(t *testing.T, p *pgxpool.Pool, after int) {
	t.Helper()
	statement := fmt.Sprintf("WITH gone AS (DELETE FROM events WHERE position > %d) UPDATE event_position SET position = %d, last_id = (SELECT id FROM events WHERE position = %d)", after, after, after)
	if _, err := p.Exec(t.Context(), statement); err != nil {
		t.Fatal(err)
	}
}

func TestWhereTheDatabaseLostItsTailListenersBeginAnew(t *testing.T) {
	t.Parallel()
	for name, withRedis := range map[string]bool{"with Redis": true, "without Redis": false} {
		for what, atOnce := range map[string]int{"and nothing happens": 0, "and less happens at once": 2, "and as much happens": 4, "and more happens": 10} {
			t.Run(name+" "+what, func(t *testing.T) {
				t.Parallel()
				p, addr := pool(t), ""
				if withRedis {
					addr = testbed.Redis(t).Addr
				}
				a, b := start(t, p, addr, 1000), start(t, p, addr, 1000)
				for n := range 10 {
					happens(t, a.log, p, event(uuid.New(), n))
				}
				a.await(t, 10)
				b.await(t, 10)
				lose(t, p, 6)
				for n := range atOnce {
					happens(t, a.log, p, event(uuid.New(), 10+n))
				}
				for _, r := range []*replica{a, b} {
					testbed.Eventually(t, "it begins anew", func() bool { return r.times() > 1 })
				}
				late := start(t, p, addr, 1000)
				const n = 5
				for i := range n {
					happens(t, b.log, p, event(uuid.New(), 100+i))
				}
				for _, r := range []*replica{a, b, late} {
					r.last(t, p, n)
				}
			})
		}
	}
}

// times is how often the replica began.
func (r *replica) times() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.begun
}

// last waits until the replica heard of the last so many events there are, and
// wants all that it heard since it began to be there, above all that was told.
func (r *replica) last(t *testing.T, p *pgxpool.Pool, n int) {
	t.Helper()
	var is []uuid.UUID
	rows, err := p.Query(t.Context(), "SELECT id FROM events ORDER BY sequence")
	if err == nil {
		is, err = pgx.CollectRows(rows, pgx.RowTo[uuid.UUID])
	}
	if err != nil {
		t.Fatal(err)
	}
	testbed.Eventually(t, "the last events are heard", func() bool {
		all := r.all()
		return len(all) >= n && all[len(all)-1].ID == is[len(is)-1]
	})
	all := r.all()
	for i, e := range all {
		if e.Position <= 10 || i > 0 && e.Position <= all[i-1].Position {
			t.Errorf("heard of position %d", e.Position)
		}
		if !slices.Contains(is, e.ID) {
			t.Errorf("heard of an event that is not there, with position %d", e.Position)
		}
	}
	for i := range n {
		if all[len(all)-n+i].ID != is[len(is)-n+i] {
			t.Errorf("of the last %d the %d. is another", n, i+1)
		}
	}
}

func TestAReaderReadsEachEventOnceAndAgainWhatItDidNothingWith(t *testing.T) {
	t.Parallel()
	p := pool(t)
	r := start(t, p, "", 1000)
	const n, readers = 60, 3
	for i := range n {
		happens(t, r.log, p, event(uuid.New(), i))
	}
	r.await(t, n)
	var mu sync.Mutex
	var positions []int64
	var reading sync.WaitGroup
	for i := range readers {
		reading.Go(func() {
			reader := events.NewReader(p, events.Webhooks)
			tries := 0
			for {
				read, err := reader.Read(t.Context(), func(_ context.Context, _ pgx.Tx, all []events.Published) error {
					if tries++; tries == 1 && i > 0 {
						return errors.New("nothing was done with them")
					}
					mu.Lock()
					defer mu.Unlock()
					for _, e := range all {
						positions = append(positions, e.Position)
					}
					return nil
				})
				if err == nil && read == 0 {
					return
				}
			}
		})
	}
	reading.Wait()
	happens(t, r.log, p, event(uuid.New(), n))
	r.await(t, n+1)
	if _, err := events.NewReader(p, events.Webhooks).Read(t.Context(), func(_ context.Context, _ pgx.Tx, all []events.Published) error {
		positions = append(positions, all[0].Position)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if len(positions) != n+1 {
		t.Fatalf("%d were read", len(positions))
	}
	for i, position := range positions {
		if position != int64(i+1) {
			t.Fatalf("the %dth that was read is %d", i+1, position)
		}
	}
}
