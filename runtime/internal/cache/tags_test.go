package cache_test

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"gitee.com/captainjez/gocart/runtime/internal/cache"
	"gitee.com/captainjez/gocart/runtime/internal/testbed"
)

func clientOf(t *testing.T, addr string) *redis.Client {
	t.Helper()
	client := redis.NewClient(&redis.Options{Addr: addr})
	t.Cleanup(func() { _ = client.Close() })
	return client
}

func TestAWriteForgetsTheAnswersWithItsTagAndNoOther(t *testing.T) {
	t.Parallel()
	addr := testbed.Redis(t).Addr
	here, other := replicaOf(t, addr, time.Hour), replicaOf(t, addr, time.Hour)
	makeOne, _ := counted()
	makeTwo, madeTwo := counted()
	testbed.Eventually(t, "both replicas have both", func() bool { // until the second one's arrival has passed
		before := here.hits(t) + other.hits(t)
		for _, k := range []replica{here, other} {
			askFor(t, k.Cache, one, makeOne)
			askFor(t, k.Cache, two, makeTwo)
		}
		return here.hits(t)+other.hits(t) == before+4
	})
	oldOne, oldTwo, before := ask(t, here.Cache, makeOne), askFor(t, here.Cache, two, makeTwo), madeTwo.Load()
	here.Invalidate(t.Context(), "tag:one")
	fresh := ask(t, here.Cache, makeOne)
	if fresh == oldOne {
		t.Fatalf("the writer is answered %q", fresh)
	}
	testbed.Eventually(t, "the other replica hears of it", func() bool { return ask(t, other.Cache, makeOne) == fresh })
	for _, k := range []replica{here, other} {
		if got := askFor(t, k.Cache, two, makeTwo); got != oldTwo || madeTwo.Load() != before {
			t.Errorf("got %q for what was not written, which was made %d times more", got, madeTwo.Load()-before)
		}
	}
	here.Invalidate(t.Context(), "tags")
	if got := askFor(t, here.Cache, two, makeTwo); got == oldTwo {
		t.Error("what has the common tag was not forgotten")
	}
	fresh = ask(t, here.Cache, makeOne)
	here.Forget(t.Context())
	if got := ask(t, here.Cache, makeOne); got == fresh {
		t.Error("not everything was forgotten")
	}
}

// What was read before a write is not given after it, whatever Redis lost in
// between: the versions of tags, as where it evicts, or everything.
func TestWhatRedisLosesBringsNothingBack(t *testing.T) {
	t.Parallel()
	for name, lose := range map[string]func(context.Context, *redis.Client) error{
		"the versions": func(ctx context.Context, c *redis.Client) error {
			return c.Del(ctx, "{ns/shop}:answers:versions").Err()
		},
		"everything": func(ctx context.Context, c *redis.Client) error { return c.FlushAll(ctx).Err() },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := testbed.Redis(t)
			client := clientOf(t, server.Addr)
			writer, _ := inUse(t, "redis://"+server.Addr)
			reader, _ := inUse(t, "redis://"+server.Addr)
			lost := func() {
				if err := lose(t.Context(), client); err != nil {
					t.Fatal(err)
				}
			}
			for round := range 8 { // before and after the write, and both
				slow := func(ctx context.Context) ([]byte, error) {
					if round&1 > 0 {
						lost()
					}
					if round&2 > 0 {
						ask(t, writer, says("meanwhile"))
					}
					writer.Invalidate(ctx, "tag:one")
					if round&4 > 0 {
						lost()
					}
					return []byte("old"), nil
				}
				reader.Forget(t.Context())
				ask(t, reader, slow)
				if got := ask(t, writer, says("new")); got != "new" {
					t.Fatalf("round %d: the writer is given %q", round, got)
				}
				testbed.Eventually(t, "the reader has what the writer has", func() bool { return ask(t, reader, says("new")) == "new" })
			}
		})
	}
}

func absent(context.Context) ([]byte, error) { return nil, cache.ErrAbsent }

func TestThatSomethingIsNotThereIsKeptUntilItIsThere(t *testing.T) {
	t.Parallel()
	addr := testbed.Redis(t).Addr
	here, other := replicaOf(t, addr, time.Hour), replicaOf(t, addr, time.Hour)
	var asked atomic.Int64
	missing := func(ctx context.Context) ([]byte, error) { asked.Add(1); return absent(ctx) }
	testbed.Eventually(t, "it is in both memories", func() bool {
		before := here.hits(t) + other.hits(t)
		for _, k := range []replica{here, other} {
			if _, err := k.Answer(t.Context(), one, missing); !errors.Is(err, cache.ErrAbsent) {
				t.Fatal(err)
			}
		}
		return here.hits(t)+other.hits(t) == before+2
	})
	before := asked.Load()
	for range 100 {
		_, _ = here.Answer(t.Context(), one, missing)
		_, _ = other.Answer(t.Context(), one, missing)
	}
	if asked.Load() != before {
		t.Fatal("it was looked for again")
	}
	left, err := clientOf(t, addr).PTTL(t.Context(), "{ns/shop}:answer:kind:one").Result()
	if err != nil || left <= 0 || left > 10*time.Minute {
		t.Fatalf("kept for %s, %v; an answer is for an hour", left, err)
	}
	here.Invalidate(t.Context(), "tag:one")
	if got := ask(t, here.Cache, says("there")); got != "there" {
		t.Fatal(got)
	}
	testbed.Eventually(t, "the other replica has it", func() bool {
		found, err := other.Answer(t.Context(), one, says("there"))
		return err == nil && body(t, found) == "there"
	})
}

func TestOneReplicaMakesWhatAllWaitFor(t *testing.T) {
	t.Parallel()
	addr := testbed.Redis(t).Addr
	replicas := []replica{replicaOf(t, addr, time.Hour), replicaOf(t, addr, time.Hour), replicaOf(t, addr, time.Hour)}
	for _, k := range replicas {
		k.remember(t, "warm")
	}
	for round := range 10 {
		key := cache.NewKey("kind", "hot "+strconv.Itoa(round), "hot")
		var made atomic.Int64
		var callers sync.WaitGroup
		for _, k := range replicas {
			for range 20 {
				callers.Go(func() {
					found, err := k.Answer(t.Context(), key, func(context.Context) ([]byte, error) {
						made.Add(1)
						<-time.After(20 * time.Millisecond)
						return []byte("x"), nil
					})
					if err != nil || body(t, found) != "x" {
						t.Error(err)
					}
				})
			}
		}
		if callers.Wait(); made.Load() != 1 {
			t.Errorf("made %d times for 60 callers on 3 replicas", made.Load())
		}
	}
}

// versions are those of the first answer's tags now.
func versions(t *testing.T, addr string) string {
	t.Helper()
	places := cache.Places(one)
	found, err := clientOf(t, addr).HMGet(t.Context(), "{ns/shop}:answers:versions", places...).Result()
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, version := range found {
		all = append(all, version.(string))
	}
	return strings.Join(all, " ")
}

func TestWhoCrashesOverAnAnswerDelaysNobodyForLong(t *testing.T) {
	t.Parallel()
	addr := testbed.Redis(t).Addr
	k := replicaOf(t, addr, time.Hour)
	ask(t, k.Cache, says("w"))
	k.Invalidate(t.Context(), "tag:one")
	if err := clientOf(t, addr).Set(t.Context(), "{ns/shop}:making:answer:kind:one", versions(t, addr)+"\nthe crashed one", 0).Err(); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	if got := ask(t, k.Cache, says("x")); got != "x" {
		t.Fatal(got)
	}
	if took := time.Since(began); took < 200*time.Millisecond || took > 2*time.Second {
		t.Errorf("waited %s, not 250 ms", took)
	}
	before := k.hits(t)
	if ask(t, k.Cache, says("y")); k.hits(t) != before+1 {
		t.Error("what was made in spite of it was not kept")
	}
}

func TestAnAnswerIsMadeAgainBehindThoseWhoAreGivenTheOldOne(t *testing.T) {
	t.Parallel()
	const ttl = 10 * time.Second
	k := replicaOf(t, testbed.Redis(t).Addr, ttl)
	k.remember(t, "old")
	var began atomic.Int64
	release := make(chan struct{})
	slow := func(context.Context) ([]byte, error) {
		began.Add(1)
		<-release
		return []byte("new"), nil
	}
	testbed.Eventually(t, "somebody makes it again", func() bool {
		if got := ask(t, k.Cache, slow); got != "old" {
			t.Fatalf("got %q", got)
		}
		return began.Load() > 0
	})
	for range 1000 {
		if got := ask(t, k.Cache, slow); got != "old" {
			t.Fatalf("got %q", got)
		}
	}
	if began.Load() != 1 {
		t.Errorf("%d make it again at once", began.Load())
	}
	close(release)
	testbed.Within(t, ttl/2, "the new one is given", func() bool { return ask(t, k.Cache, slow) == "new" })
}

func TestAWriteWhileAnAnswerIsMadeAgainIsNotForgotten(t *testing.T) {
	t.Parallel()
	k := replicaOf(t, testbed.Redis(t).Addr, 10*time.Second)
	k.remember(t, "old")
	var began atomic.Bool
	release, done := make(chan struct{}), make(chan struct{})
	slow := func(context.Context) ([]byte, error) {
		if began.Swap(true) {
			return []byte("new"), nil
		}
		defer close(done)
		<-release
		return []byte("old"), nil
	}
	testbed.Eventually(t, "somebody makes it again", func() bool { ask(t, k.Cache, slow); return began.Load() })
	k.Invalidate(t.Context(), "tag:one")
	asked := time.Now()
	if got := ask(t, k.Cache, slow); got != "new" {
		t.Fatalf("got %q after the write", got)
	}
	if took := time.Since(asked); took > 200*time.Millisecond {
		t.Errorf("who asks after the write waited %s for an answer of before it", took)
	}
	close(release)
	<-done
	for range 1000 {
		if got := ask(t, k.Cache, slow); got != "new" {
			t.Fatalf("got %q after the write", got)
		}
	}
}

func TestWhatIsMadeTogetherIsNotForgottenTogether(t *testing.T) {
	t.Parallel()
	addr := testbed.Redis(t).Addr
	k := replicaOf(t, addr, time.Hour)
	client := clientOf(t, addr)
	for i := range 50 {
		askFor(t, k.Cache, cache.NewKey("kind", strconv.Itoa(i), "tags"), says("x"))
	}
	least, most := time.Hour, time.Duration(0)
	for i := range 50 {
		left, err := client.PTTL(t.Context(), "{ns/shop}:answer:kind:"+strconv.Itoa(i)).Result()
		if err != nil {
			t.Fatal(err)
		}
		least, most = min(least, left), max(most, left)
	}
	if most-least < 2*time.Minute || most > time.Hour || least < 50*time.Minute {
		t.Errorf("they are kept for %s to %s", least, most)
	}
}

func TestWhatIsHeldIsCountedByKind(t *testing.T) {
	t.Parallel()
	k := replicaOf(t, testbed.Redis(t).Addr, time.Hour)
	held := func(kind string) float64 { return k.metric(t, "gocart_cache_memory_bytes", kind) }
	small, large := cache.NewKey("small", "x", "tags"), cache.NewKey("large", "x", "tags")
	for range 10 { // each time the old one goes
		k.Invalidate(t.Context(), "tags")
		askFor(t, k.Cache, small, says("x"))
		askFor(t, k.Cache, large, says(strings.Repeat("x", 100_000)))
	}
	testbed.Eventually(t, "what went is not counted", func() bool {
		return held("small") > 0 && held("small") < 1000 && held("large") > 100_000 && held("large") < 201_000
	})
}

func TestAClusterKeepsAnswersAndTellsOfWrites(t *testing.T) {
	t.Parallel()
	nodes := testbed.Cluster(t, 3)
	here, other := replicaOf(t, nodes[0].Addr+"?cluster=true", time.Hour), replicaOf(t, nodes[1].Addr+"?cluster=true", time.Hour)
	for round := range 10 {
		before, after := "before "+strconv.Itoa(round), "after "+strconv.Itoa(round)
		here.Invalidate(t.Context(), "tag:one")
		testbed.Eventually(t, "the other has what the first made", func() bool {
			return ask(t, here.Cache, says(before)) == before && ask(t, other.Cache, says("not kept")) == before
		})
		other.Invalidate(t.Context(), "tag:one")
		if got := ask(t, other.Cache, says(after)); got != after {
			t.Fatalf("the writer itself is answered %q", got)
		}
		testbed.Eventually(t, "the first hears of the write", func() bool { return ask(t, here.Cache, says(after)) == after })
	}
}
