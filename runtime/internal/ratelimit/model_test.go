package ratelimit

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/prometheus/client_golang/prometheus"
	"pgregory.net/rapid"

	"gitee.com/captainjez/gocart/runtime/config"
	"gitee.com/captainjez/gocart/runtime/internal/redisdb"
)

// modelled is a window of the model: a count that is forgotten at its end.
type modelled struct {
	end   time.Time
	count int64
}

// model is the package's first paragraphs in as few words as possible.
type model struct {
	now     time.Time
	windows map[string]map[time.Duration]modelled
}

func (m *model) count(key string, w Window) int64 {
	if o := m.windows[key][w.Period]; m.now.Before(o.end) {
		return o.count
	}
	return 0
}

func (m *model) hasRoom(c Counter, cost int64) bool {
	for _, w := range c.Windows {
		if m.count(c.Key, w)+cost > w.Requests {
			return false
		}
	}
	return true
}

func (m *model) decide(counters []Counter, cost int64) bool {
	for _, c := range counters {
		if !c.Shadow && !m.hasRoom(c, cost) {
			return false
		}
	}
	for _, c := range counters {
		if !m.hasRoom(c, cost) {
			continue
		}
		for _, w := range c.Windows {
			n := m.count(c.Key, w) + cost
			end := m.windows[c.Key][w.Period].end
			if !m.now.Before(end) {
				end = m.now.Add(w.Period)
			}
			if m.windows[c.Key] == nil {
				m.windows[c.Key] = map[time.Duration]modelled{}
			}
			m.windows[c.Key][w.Period] = modelled{end, n}
		}
	}
	return true
}

// TestTheScriptAndTheProcessDecideAsTheModelDoes drives all three with the same
// requests and the same clock, through changes of the windows as well.
func TestTheScriptAndTheProcessDecideAsTheModelDoes(t *testing.T) {
	t.Parallel()
	server := miniredis.RunT(t)
	url := filepath.Join(t.TempDir(), "url")
	if err := os.WriteFile(url, []byte("redis://"+server.Addr()), 0o600); err != nil {
		t.Fatal(err)
	}
	registry := prometheus.NewRegistry()
	r, err := redisdb.Open(config.Redis{URLFile: url}, config.Store{Name: "s", Namespace: "n"}, slog.New(slog.DiscardHandler), registry)
	if err != nil {
		t.Fatal(err)
	}
	r.Timeout = 10 * time.Second // on a busy machine
	l := New(r, Options{}, registry)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { r.Run(ctx); close(done) }()
	defer func() { cancel(); <-done }()
	for !r.Up() {
		<-time.After(time.Millisecond)
	}

	window := rapid.Custom(func(t *rapid.T) Window {
		return Window{rapid.Int64Range(0, 12).Draw(t, "requests"), rapid.SampledFrom([]time.Duration{time.Second, 3 * time.Second, time.Minute, 24 * time.Hour}).Draw(t, "period")}
	})
	counter := rapid.Custom(func(t *rapid.T) Counter {
		return Counter{
			Key:     rapid.SampledFrom([]string{"a", "b", "c"}).Draw(t, "key"),
			Windows: rapid.SliceOfNDistinct(window, 0, 4, func(w Window) time.Duration { return w.Period }).Draw(t, "windows"),
			Shadow:  rapid.IntRange(0, 3).Draw(t, "shadow") == 0,
		}
	})
	requests := rapid.SliceOfNDistinct(counter, 1, 3, func(c Counter) string { return c.Key })
	rapid.Check(t, func(t *rapid.T) {
		server.FlushAll()
		start := time.UnixMilli(1_800_000_000_000)
		m := &model{now: start, windows: map[string]map[time.Duration]modelled{}}
		process := newLocal()
		policy := requests.Draw(t, "counters")
		for range rapid.IntRange(1, 40).Draw(t, "n") {
			m.now = m.now.Add(time.Duration(rapid.Int64Range(0, 1500).Draw(t, "passed")) * time.Millisecond)
			server.SetTime(m.now)
			if rapid.IntRange(0, 9).Draw(t, "edit") == 0 {
				policy = requests.Draw(t, "counters")
			}
			q := &request{counters: policy, cost: rapid.Int64Range(1, 4).Draw(t, "cost"), now: m.now.Sub(start)}
			a, err := l.script.ask(ctx, q.counters, take{need: q.cost, want: q.cost})
			if err != nil {
				t.Fatal(err)
			}
			want := m.decide(q.counters, q.cost)
			for who, d := range map[string]Decision{"the script": l.heed(q, a), "the process": process.decide(q)} {
				if d.Allowed != want {
					t.Fatalf("%s: %+v, want %v", who, d, want)
				}
				retry, s := time.Duration(0), d.States
				for i, c := range q.counters {
					for _, w := range c.Windows {
						if left := max(0, w.Requests-m.count(c.Key, w)); s[0].Remaining != left || s[0].Counter != i || s[0].Limit != w.Requests {
							t.Fatalf("%s: %+v, want %d left", who, s[0], left)
						}
						reset := max(0, m.windows[c.Key][w.Period].end.Sub(m.now))
						if s[0].Refused && reset == 0 {
							reset = w.Period
						}
						if s[0].Reset != reset {
							t.Fatalf("%s: %+v, want a reset in %s", who, s[0], reset)
						}
						if s[0].Refused && !c.Shadow {
							retry = max(retry, reset)
						}
						s = s[1:]
					}
				}
				if d.RetryAfter != retry || want == (retry > 0) {
					t.Fatalf("%s: %+v, want to retry after %s", who, d, retry)
				}
			}
		}
	})
}
