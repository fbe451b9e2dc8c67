package cache

import (
	"sync/atomic"
	"time"

	"github.com/maypok86/otter/v2"
	"github.com/prometheus/client_golang/prometheus"
)

const (
	// memorySize bounds what a process keeps, in bytes.
	memorySize = 32 << 20
	// entrySize is about what an entry takes beside its key and body.
	entrySize = 320
)

// memory is a process's own answers. An entry belongs to the epoch that was
// current before it was read, and is given in no other. An epoch ends with each
// write that is heard of, and whenever one may not have been.
type memory struct {
	entries *otter.Cache[string, entry]
	epoch   atomic.Int64
	// begin is what moments are counted from.
	begin time.Time
	// heard is until when the present epoch is known to be so.
	heard atomic.Int64
}

type entry struct {
	answer *Answer
	epoch  int64
	ttl    time.Duration
}

func newMemory(metrics prometheus.Registerer) *memory {
	m := &memory{begin: time.Now(), entries: otter.Must(&otter.Options[string, entry]{
		MaximumWeight:    memorySize,
		Weigher:          func(key string, e entry) uint32 { return uint32(len(key) + len(e.answer.body) + entrySize) },
		ExpiryCalculator: otter.ExpiryWritingFunc(func(e otter.Entry[string, entry]) time.Duration { return e.Value.ttl }),
	})}
	gauge := func(name, help string, value func() float64) {
		metrics.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, value))
	}
	gauge("gocart_cache_memory_entries", "Answers that the process holds, also those that it does not give any more.",
		func() float64 { return float64(m.entries.EstimatedSize()) })
	gauge("gocart_cache_memory_bytes", "What they take.", func() float64 { return float64(m.entries.WeightedSize()) })
	gauge("gocart_cache_memory_usable", "1 while the process hears of every replica's writes, and so gives answers from its memory.", func() float64 {
		if m.usable() {
			return 1
		}
		return 0
	})
	return m
}

func (m *memory) get(key string, epoch int64) *Answer {
	e, ok := m.entries.GetIfPresent(key)
	if !ok || e.epoch != epoch || !m.usable() {
		return nil
	}
	return e.answer
}

func (m *memory) set(key string, epoch int64, answer *Answer, ttl time.Duration) {
	if ttl > 0 {
		m.entries.Set(key, entry{answer, epoch, ttl})
	}
}

// usable reports whether no write can have been missed, but for those of the
// last trust.
func (m *memory) usable() bool { return int64(time.Since(m.begin)) < m.heard.Load() }

// heardAll says that all writes before a moment are known.
func (m *memory) heardAll(before time.Time) {
	m.heard.Store(int64(before.Sub(m.begin) + trust))
}

func (m *memory) nextEpoch() { m.epoch.Add(1) }
