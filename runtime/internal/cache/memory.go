package cache

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/maypok86/otter/v2"
	"github.com/prometheus/client_golang/prometheus"
)

const (
	// memorySize bounds what a process keeps, in bytes.
	memorySize = 32 << 20
	// entrySize is about what an entry takes beside its key and body.
	entrySize = 384
	// renewAgain is how long after one who should renew an answer the next one
	// should, where the first did not manage.
	renewAgain = time.Second
)

// memory is a process's own answers. An entry belongs to the epoch that was
// current before it was read, and is given in no other. The epoch of an answer
// ends with each write to one of its tags that is heard of, and all epochs end
// whenever a write may not have been.
type memory struct {
	entries *otter.Cache[id, *entry]
	// all and places count what was heard of. An answer's epoch is the sum over
	// its tags: as none ever sinks, equal sums are equal counts.
	all    atomic.Int64
	places [slots]atomic.Int64
	// begin is what moments are counted from.
	begin time.Time
	// heard is until when the present epochs are known to be so.
	heard atomic.Int64
	sizes sync.Map // of a kind's name: *atomic.Int64, in bytes
}

type entry struct {
	answer *Answer // nil for what is not there
	epoch  int64
	weight uint32
	ttl    time.Duration
	// renew is when the answer should be made again, of which one who asks is
	// told.
	renew atomic.Int64
}

func newMemory(metrics prometheus.Registerer) *memory {
	m := &memory{begin: time.Now()}
	m.entries = otter.Must(&otter.Options[id, *entry]{
		MaximumWeight:    memorySize,
		Weigher:          func(_ id, e *entry) uint32 { return e.weight },
		ExpiryCalculator: otter.ExpiryWritingFunc(func(e otter.Entry[id, *entry]) time.Duration { return e.Value.ttl }),
		OnAtomicDeletion: func(e otter.DeletionEvent[id, *entry]) { m.size(e.Key.kind).Add(-int64(e.Value.weight)) },
	})
	metrics.MustRegister(sizes{m})
	gauge := func(name, help string, value func() float64) {
		metrics.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, value))
	}
	gauge("gocart_cache_memory_entries", "Answers that the process holds, also those that it does not give any more.",
		func() float64 { return float64(m.entries.EstimatedSize()) })
	gauge("gocart_cache_memory_usable", "1 while the process hears of every replica's writes, and so gives answers from its memory.", func() float64 {
		if m.usable() {
			return 1
		}
		return 0
	})
	return m
}

// sizes shows what the answers of each kind take.
type sizes struct{ *memory }

var sizeDesc = prometheus.NewDesc("gocart_cache_memory_bytes", "What the answers that the process holds take, by kind, with room for their compressed forms.", []string{"kind"}, nil)

func (s sizes) Describe(out chan<- *prometheus.Desc) { out <- sizeDesc }

func (s sizes) Collect(out chan<- prometheus.Metric) {
	s.entries.CleanUp() // what is due, so that the sizes are those of what is held
	s.sizes.Range(func(kind, size any) bool {
		out <- prometheus.MustNewConstMetric(sizeDesc, prometheus.GaugeValue, float64(size.(*atomic.Int64).Load()), kind.(string))
		return true
	})
}

func (m *memory) size(kind string) *atomic.Int64 {
	size, ok := m.sizes.Load(kind)
	if !ok {
		size, _ = m.sizes.LoadOrStore(kind, new(atomic.Int64))
	}
	return size.(*atomic.Int64)
}

// get also tells one of those who ask that the answer should be made again.
func (m *memory) get(key *Key, epoch int64) (found *entry, renew bool) {
	e, ok := m.entries.GetIfPresent(key.id)
	if !ok || e.epoch != epoch || !m.usable() {
		return nil, false
	}
	now, due := m.now(), e.renew.Load()
	return e, now >= due && e.renew.CompareAndSwap(due, now+int64(renewAgain))
}

// set keeps an answer, nil for what is not there, for ttl, of which the last
// part is for making it again.
func (m *memory) set(key *Key, epoch int64, answer *Answer, ttl, renewal time.Duration) {
	if ttl <= 0 {
		return
	}
	e := &entry{answer: answer, epoch: epoch, ttl: ttl, weight: uint32(len(key.id.kind)+len(key.id.name)) + entrySize}
	e.renew.Store(m.now() + int64(ttl))
	if answer != nil {
		e.renew.Store(m.now() + int64(max(ttl-renewal, renewAgain)))
		e.weight += uint32(len(answer.body) + answer.room)
	}
	m.size(key.id.kind).Add(int64(e.weight))
	m.entries.Set(key.id, e)
}

func (m *memory) now() int64 { return int64(time.Since(m.begin)) }

// usable reports whether no write can have been missed, but for those of the
// last trust.
func (m *memory) usable() bool { return m.now() < m.heard.Load() }

// heardAll says that all writes before a moment are known.
func (m *memory) heardAll(before time.Time) {
	m.heard.Store(int64(before.Sub(m.begin) + trust))
}

// epoch is the present one of an answer.
func (m *memory) epoch(key *Key) int64 {
	sum := m.all.Load()
	for _, slot := range key.places() {
		sum += m.places[slot].Load()
	}
	return sum
}

// next ends the epochs of the answers at the places.
func (m *memory) next(places []uint16) {
	for _, slot := range places {
		m.places[slot].Add(1)
	}
}

// nextAll ends all epochs.
func (m *memory) nextAll() { m.all.Add(1) }
