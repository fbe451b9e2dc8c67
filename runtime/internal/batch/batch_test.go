package batch_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"gitee.com/captainjez/gocart/runtime/internal/batch"
)

func double(_ context.Context, in []int) ([]batch.Result[int], error) {
	out := make([]batch.Result[int], len(in))
	for i, n := range in {
		out[i].Value = 2 * n
	}
	return out, nil
}

func TestEveryoneGetsTheirOwnResult(t *testing.T) {
	t.Parallel()
	b := batch.New(batch.Options[int]{Most: 7}, double)
	var wg sync.WaitGroup
	for n := range 500 {
		wg.Go(func() {
			if got, err := b.Do(t.Context(), n); got != 2*n || err != nil {
				t.Errorf("%d: %d, %v", n, got, err)
			}
		})
	}
	wg.Wait()
}

func TestWhatComesInMeanwhileSharesTheNextBatch(t *testing.T) {
	t.Parallel()
	began, release := make(chan struct{}, 100), make(chan struct{})
	var sizes []int
	b := batch.New(batch.Options[int]{AtOnce: 1}, func(ctx context.Context, in []int) ([]batch.Result[int], error) {
		began <- struct{}{}
		<-release
		sizes = append(sizes, len(in))
		return double(ctx, in)
	})
	var wg sync.WaitGroup
	wg.Go(func() { _, _ = b.Do(t.Context(), 0) })
	<-began
	entered := make(chan struct{})
	for n := range 5 {
		wg.Go(func() {
			entered <- struct{}{}
			_, _ = b.Do(t.Context(), n)
		})
		<-entered
	}
	close(release)
	wg.Wait()
	total := 0
	for _, n := range sizes {
		total += n
	}
	if sizes[0] != 1 || total != 6 {
		t.Fatalf("batches of %v, want the first of 1 and 6 in all", sizes)
	}
}

// stuck is a batch whose every part waits for release, and tells began of it.
func stuck(atOnce int) (b *batch.Batch[int, int], began chan int, release chan struct{}) {
	began, release = make(chan int, 10), make(chan struct{})
	return batch.New(batch.Options[int]{AtOnce: atOnce}, func(ctx context.Context, in []int) ([]batch.Result[int], error) {
		began <- in[0]
		<-release
		return double(ctx, in)
	}), began, release
}

func TestASlowBatchHoldsUpNobodyForLong(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b, began, release := stuck(2)
		for n := range 2 {
			go func() { _, _ = b.Do(t.Context(), n) }()
			synctest.Wait()
		}
		if len(began) != 1 {
			t.Fatalf("%d batches at once, before the first is slow", len(began))
		}
		time.Sleep(time.Second)
		if len(began) != 2 {
			t.Fatalf("%d batches at once, where the first is slow", len(began))
		}
		go func() { _, _ = b.Do(t.Context(), 2) }()
		time.Sleep(time.Second)
		if len(began) != 2 {
			t.Fatalf("%d batches at once, of two at most", len(began))
		}
		close(release)
		synctest.Wait()
		if len(began) != 3 {
			t.Fatalf("%d of three were done", len(began))
		}
	})
}

func TestAfterASlowBatchThereIsOneAtATimeAgain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b, began, release := stuck(4)
		go func() { _, _ = b.Do(t.Context(), 0) }()
		time.Sleep(time.Second)
		release <- struct{}{}
		synctest.Wait()
		for n := range 2 {
			go func() { _, _ = b.Do(t.Context(), n) }()
			synctest.Wait()
		}
		if len(began) != 2 {
			t.Fatalf("%d batches began, want the slow one and one more", len(began))
		}
		close(release)
	})
}

func TestThoseApartAreNeverInOneBatch(t *testing.T) {
	t.Parallel()
	b := batch.New(batch.Options[int]{Apart: func(n int) []string { return []string{fmt.Sprint(n % 3)} }},
		func(ctx context.Context, in []int) ([]batch.Result[int], error) {
			seen := map[int]bool{}
			for _, n := range in {
				if seen[n%3] {
					return nil, errors.New("two that should be apart")
				}
				seen[n%3] = true
			}
			return double(ctx, in)
		})
	var wg sync.WaitGroup
	for n := range 100 {
		wg.Go(func() {
			if _, err := b.Do(t.Context(), n); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
}

func TestAPanicAndAMissingResultAreErrors(t *testing.T) {
	t.Parallel()
	for name, do := range map[string]func(context.Context, []int) ([]batch.Result[int], error){
		"a panic":         func(context.Context, []int) ([]batch.Result[int], error) { panic("oh") },
		"no result":       func(context.Context, []int) ([]batch.Result[int], error) { return nil, nil },
		"an error of all": func(context.Context, []int) ([]batch.Result[int], error) { return nil, errors.New("oh") },
	} {
		b := batch.New(batch.Options[int]{}, do)
		for range 2 {
			if _, err := b.Do(t.Context(), 1); err == nil {
				t.Errorf("%s: no error", name)
			}
		}
	}
}

func TestOneThatFailsTakesNobodyAlong(t *testing.T) {
	t.Parallel()
	bad := errors.New("bad")
	b := batch.New(batch.Options[int]{Singly: func(err error) bool { return errors.Is(err, bad) }},
		func(ctx context.Context, in []int) ([]batch.Result[int], error) {
			if slices.Contains(in, 13) {
				return nil, bad
			}
			return double(ctx, in)
		})
	var wg sync.WaitGroup
	for n := range 100 {
		wg.Go(func() {
			if got, err := b.Do(t.Context(), n); (err != nil) != (n == 13) || err == nil && got != 2*n {
				t.Errorf("%d: %d, %v", n, got, err)
			}
		})
	}
	wg.Wait()
}

func TestACallerThatGoesIsNotWaitedFor(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	defer close(release)
	b := batch.New(batch.Options[int]{}, func(ctx context.Context, in []int) ([]batch.Result[int], error) {
		<-release
		return double(ctx, in)
	})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := b.Do(ctx, 1); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
}

func TestAReaderAsksForEachKeyOnce(t *testing.T) {
	t.Parallel()
	var asked atomic.Int64
	r := batch.NewReader(func(_ context.Context, keys []string) (map[string]int, error) {
		found := map[string]int{}
		for _, k := range keys {
			if _, twice := found[k]; twice {
				t.Errorf("%s is asked for twice", k)
			}
			asked.Add(1)
			found[k] = len(k)
		}
		return found, nil
	})
	var wg sync.WaitGroup
	for range 100 {
		wg.Go(func() {
			if found, err := r.Read(t.Context(), "a", "bb", "a"); found["bb"] != 2 || err != nil {
				t.Errorf("%v, %v", found, err)
			}
		})
	}
	wg.Wait()
	if n := asked.Load(); n > 200 {
		t.Errorf("asked for %d keys", n)
	}
}

func BenchmarkALoneRequest(b *testing.B) {
	one := batch.New(batch.Options[int]{}, double)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := one.Do(b.Context(), 1); err != nil {
			b.Fatal(err)
		}
	}
}
