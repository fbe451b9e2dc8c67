// Package batch does together what is asked for at the same moment: what comes
// in while a statement is on its way waits for the next one, and shares it.
// Nobody waits for company, so a lone request is as quick as ever; under load
// the database answers one statement in place of many. What a request gets was
// read, or written, after it came in. There is one batch at a time: two would be
// of half the size, cost twice as much, and wait for each other's locks. Only
// where one takes long does the next begin beside it.
package batch

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

const (
	// timeout bounds one batch; the callers' own deadlines do not end it.
	timeout = 5 * time.Second
	// patience is how long a batch may hold up what comes after it.
	patience = 20 * time.Millisecond
)

// Batch does In for Out, many at a time. It may be used by many at once.
type Batch[In, Out any] struct {
	options Options[In]
	do      func(context.Context, []In) ([]Result[Out], error)

	mu      sync.Mutex
	waiting []*entry[In, Out]
	// Of those running, so many are slow.
	running, slow int
}

// Options say how much is done at once.
type Options[In any] struct {
	// Most bounds one batch; zero is 100.
	Most int
	// AtOnce is how many batches are on their way at the same time, where all
	// but the last are slow; zero is 4.
	AtOnce int
	// Singly reports whether a batch that failed is done one by one, so that
	// none fails for another's sake; nil for never.
	Singly func(error) bool
	// Apart are names that no two of one batch may share; nil for none.
	Apart func(In) []string
}

// Result is what one of a batch gets.
type Result[Out any] struct {
	Value Out
	Err   error
}

type entry[In, Out any] struct {
	in   In
	done chan Result[Out]
}

// New makes a batch of do, which returns a result for each of its inputs, in
// their order, or an error for all of them.
func New[In, Out any](o Options[In], do func(context.Context, []In) ([]Result[Out], error)) *Batch[In, Out] {
	if o.Most == 0 {
		o.Most = 100
	}
	if o.AtOnce == 0 {
		o.AtOnce = 4
	}
	return &Batch[In, Out]{options: o, do: do}
}

// Do waits for its turn and its result, or for the end of ctx; then it may
// still be done.
func (b *Batch[In, Out]) Do(ctx context.Context, in In) (Out, error) {
	e := &entry[In, Out]{in: in, done: make(chan Result[Out], 1)}
	b.mu.Lock()
	b.waiting = append(b.waiting, e)
	b.begin(context.WithoutCancel(ctx))
	b.mu.Unlock()
	select {
	case r := <-e.done:
		return r.Value, r.Err
	case <-ctx.Done():
		var none Out
		return none, ctx.Err()
	}
}

// begin begins a batch of what waits, unless there is one that is not slow.
func (b *Batch[In, Out]) begin(ctx context.Context) {
	if len(b.waiting) > 0 && b.running == b.slow && b.running < b.options.AtOnce {
		b.running++
		go b.work(ctx)
	}
}

// hurry lets others begin when the batch that now begins becomes slow, and
// until it is done.
func (b *Batch[In, Out]) hurry(ctx context.Context) (done func()) {
	count := func(n int) {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.slow += n
		b.begin(ctx)
	}
	timer := time.AfterFunc(patience, func() { count(1) })
	return func() {
		if !timer.Stop() {
			count(-1)
		}
	}
}

// work does what waits until nothing does.
func (b *Batch[In, Out]) work(ctx context.Context) {
	for {
		entries := b.take()
		if len(entries) == 0 {
			return
		}
		done := b.hurry(ctx)
		inputs := make([]In, len(entries))
		for i, e := range entries {
			inputs[i] = e.in
		}
		results, err := b.safely(ctx, inputs)
		singly := err != nil && len(inputs) > 1 && b.options.Singly != nil && b.options.Singly(err)
		for i, e := range entries {
			switch {
			case singly:
				e.done <- b.one(ctx, e.in)
			case err != nil:
				e.done <- Result[Out]{Err: err}
			default:
				e.done <- results[i]
			}
		}
		done()
	}
}

func (b *Batch[In, Out]) one(ctx context.Context, in In) Result[Out] {
	results, err := b.safely(ctx, []In{in})
	if err != nil {
		return Result[Out]{Err: err}
	}
	return results[0]
}

// take takes one batch; none ends its taker.
func (b *Batch[In, Out]) take() []*entry[In, Out] {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.waiting) == 0 {
		b.running--
		return nil
	}
	if b.options.Apart == nil {
		n := min(len(b.waiting), b.options.Most)
		taken := b.waiting[:n:n]
		b.waiting = b.waiting[n:]
		return taken
	}
	var taken, later []*entry[In, Out]
	names := map[string]bool{}
	for _, e := range b.waiting {
		if len(taken) == b.options.Most || !claim(names, b.options.Apart(e.in)) {
			later = append(later, e)
			continue
		}
		taken = append(taken, e)
	}
	b.waiting = later
	return taken
}

// claim takes all of the names, or none and is false.
func claim(taken map[string]bool, names []string) bool {
	for _, n := range names {
		if taken[n] {
			return false
		}
	}
	for _, n := range names {
		taken[n] = true
	}
	return true
}

// safely makes a panic an error, since the callers wait elsewhere.
func (b *Batch[In, Out]) safely(ctx context.Context, inputs []In) (results []Result[Out], err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("panic: %v", r)
		}
	}()
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	results, err = b.do(ctx, inputs)
	if err == nil && len(results) != len(inputs) {
		err = errors.New("a batch has another number of results than of inputs")
	}
	return results, err
}

// Reader reads values by key, each key once for all who ask at the same moment.
type Reader[K comparable, V any] struct {
	batch *Batch[[]K, map[K]V]
}

// NewReader makes a reader of read, which returns what it found.
func NewReader[K comparable, V any](read func(context.Context, []K) (map[K]V, error)) *Reader[K, V] {
	return &Reader[K, V]{New(Options[[]K]{}, func(ctx context.Context, wanted [][]K) ([]Result[map[K]V], error) {
		var keys []K
		seen := map[K]bool{}
		for _, some := range wanted {
			for _, k := range some {
				if !seen[k] {
					seen[k] = true
					keys = append(keys, k)
				}
			}
		}
		found, err := read(ctx, keys)
		results := make([]Result[map[K]V], len(wanted))
		for i := range results {
			results[i].Value = found
		}
		return results, err
	})}
}

// Read returns what was found for the keys, and perhaps for others' keys. The
// map is shared: it is only read.
func (r *Reader[K, V]) Read(ctx context.Context, keys ...K) (map[K]V, error) {
	return r.batch.Do(ctx, keys)
}

// One reads one key; ok is false where there is nothing by it.
func (r *Reader[K, V]) One(ctx context.Context, key K) (value V, ok bool, err error) {
	found, err := r.Read(ctx, key)
	if err != nil {
		return value, false, err
	}
	value, ok = found[key]
	return value, ok, nil
}
