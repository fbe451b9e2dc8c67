package ratelimit

import (
	"context"
	"crypto/sha1" //nolint:gosec // it is how Redis names scripts
	_ "embed"
	"encoding/hex"
	"errors"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"

	"gitee.com/captainjez/gocart/runtime/internal/redisdb"
)

//go:embed decide.lua
var decideScript string

//go:embed ban.lua
var banScript string

const (
	// maxTogether bounds the requests of one call: some 0.5 ms of Redis.
	maxTogether = 64
	// maxCalls is how many calls are on their way at the same time: one is
	// decided while another travels.
	maxCalls = 2
)

var errAway = errors.New("redis is away")

// script asks Redis to decide. Nobody waits for company: a lone request is
// sent at once, by the goroutine that asks. What comes in while maxCalls are on
// their way waits for one of them to return, and the first of those who wait
// then sends for all.
type script struct {
	redis     *redisdb.Redis
	sha       string
	roundTrip prometheus.Observer

	mu      sync.Mutex
	waiting []*question
	calls   int
}

// question is one request on its way.
type question struct {
	keys   []string
	args   []byte
	answer string
	err    error
	// turn tells its goroutine that it is answered, or else that it sends.
	turn chan bool
}

// take says how much of the counters is taken: want or what there is room for,
// or nothing where that is below need. Back is given back first, to the windows
// that still end at ends, in Redis' milliseconds.
type take struct {
	need, want, back int64
	ends             []int64
}

func newScript(r *redisdb.Redis, roundTrip prometheus.Observer) *script {
	sum := sha1.Sum([]byte(decideScript)) //nolint:gosec // it is how Redis names scripts
	s := &script{redis: r, sha: hex.EncodeToString(sum[:]), roundTrip: roundTrip}
	if r != nil {
		r.OnReturn(func(ctx context.Context) error { return r.Client().ScriptLoad(ctx, decideScript).Err() })
	}
	return s
}

// ask decides the counters together.
func (s *script) ask(ctx context.Context, counters []Counter, t take) (answer, error) {
	q := &question{keys: make([]string, len(counters)), args: arguments(counters, t), turn: make(chan bool, 1)}
	for i, c := range counters {
		q.keys[i] = s.key(c.Key)
	}
	s.mu.Lock()
	send := s.calls < maxCalls
	if send {
		s.calls++
	} else {
		s.waiting = append(s.waiting, q)
	}
	s.mu.Unlock()
	if send || !<-q.turn {
		s.send(ctx, q)
	}
	if q.err != nil {
		return answer{}, q.err
	}
	return parseAnswer(q.answer)
}

func (s *script) key(counter string) string { return s.redis.Key("limit:" + counter) }

// send asks for first and for those who wait, and hands the call on.
func (s *script) send(ctx context.Context, first *question) {
	s.mu.Lock()
	n := min(len(s.waiting), maxTogether-1)
	together := append([]*question{first}, s.waiting[:n]...)
	s.waiting = s.waiting[n:]
	s.mu.Unlock()

	err := errors.New("the call panicked")
	defer func() {
		for _, q := range together {
			q.err = err
			if q != first {
				q.turn <- true
			}
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		if len(s.waiting) == 0 {
			s.calls--
			return
		}
		next := s.waiting[0]
		s.waiting = s.waiting[1:]
		next.turn <- false
	}()
	err = s.call(ctx, together)
}

// call sets the answers.
func (s *script) call(ctx context.Context, together []*question) error {
	if !s.redis.Up() {
		return errAway
	}
	keys := 0
	for _, q := range together {
		keys += len(q.keys)
	}
	args := make([]any, 3, 3+keys+len(together))
	args[0], args[1], args[2] = "evalsha", s.sha, keys
	for _, q := range together {
		for _, k := range q.keys {
			args = append(args, k)
		}
	}
	for _, q := range together {
		args = append(args, q.args)
	}
	// Whoever sends may go; the others still wait.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.redis.Timeout)
	defer cancel()
	start := time.Now()
	answers, err := s.eval(ctx, args)
	s.roundTrip.Observe(time.Since(start).Seconds())
	if err == nil && len(answers) != len(together) {
		err = errors.New("another number of answers than of questions")
	}
	if err != nil {
		s.redis.Failed(ctx, err)
		return err
	}
	for i, q := range together {
		q.answer = answers[i]
	}
	return nil
}

// eval gives Redis the script where it has it no more.
func (s *script) eval(ctx context.Context, args []any) ([]string, error) {
	cmd := redis.NewStringSliceCmd(ctx, args...)
	_ = s.redis.Client().Process(ctx, cmd)
	if err := cmd.Err(); err == nil || !strings.HasPrefix(err.Error(), "NOSCRIPT") {
		return cmd.Result()
	}
	args[0], args[1] = "eval", decideScript
	cmd = redis.NewStringSliceCmd(ctx, args...)
	_ = s.redis.Client().Process(ctx, cmd)
	return cmd.Result()
}

// ban has all replicas refuse the key for that long; zero ends a ban.
func (s *script) ban(ctx context.Context, counter string, d time.Duration) error {
	if !s.redis.Up() {
		return errAway
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.redis.Timeout)
	defer cancel()
	err := s.redis.Client().Eval(ctx, banScript, []string{s.key(counter)}, d.Milliseconds()).Err()
	if err != nil {
		s.redis.Failed(ctx, err)
	}
	return err
}

// arguments are a request in the form that decide.lua reads.
func arguments(counters []Counter, t take) []byte {
	b := make([]byte, 0, 96)
	b = append(b, '[')
	b = strconv.AppendInt(b, t.need, 10)
	add := func(n int64) { b = strconv.AppendInt(append(b, ','), n, 10) }
	add(t.want)
	add(t.back)
	for _, c := range counters {
		shadow := int64(0)
		if c.Shadow {
			shadow = 1
		}
		add(shadow)
		add(int64(len(c.Windows)))
		for i, w := range c.Windows {
			end := int64(0)
			if t.back > 0 {
				end = t.ends[i]
			}
			add(w.Requests)
			add(milliseconds(w.Period))
			add(end)
		}
	}
	return append(b, ']')
}

func milliseconds(d time.Duration) int64 { return max(1, d.Milliseconds()) }

// answer is what is yet to read of what decide.lua says. It holds a number for
// everything that was asked.
type answer struct {
	now  int64
	rest []int64
}

func parseAnswer(text string) (answer, error) {
	text = strings.Trim(text, "[]")
	numbers := make([]int64, 0, 1+strings.Count(text, ","))
	for field := range strings.SplitSeq(text, ",") {
		n, err := strconv.ParseInt(field, 10, 64)
		if err != nil {
			return answer{}, err
		}
		numbers = append(numbers, n)
	}
	return answer{numbers[0], numbers[1:]}, nil
}

// counter begins the next one: the time left of its ban, and what was taken.
func (a *answer) counter() (banned time.Duration, taken int64) {
	banned, taken = a.left(a.rest[0]), a.rest[1]
	a.rest = a.rest[2:]
	return banned, taken
}

// window is the next one of the counter; reset is zero where it has not begun.
func (a *answer) window() (reset time.Duration, count int64) {
	reset, count = a.left(a.rest[0]), a.rest[1]
	a.rest = a.rest[2:]
	return reset, count
}

func (a *answer) left(end int64) time.Duration {
	return max(0, time.Duration(end-a.now)*time.Millisecond)
}
