package main

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/google/uuid"

	"gitee.com/captainjez/gocart/runtime/internal/rawhttp"
)

const (
	// most is how many may be in the store at a time, each on a connection and
	// from an address of their own.
	most = 1500
	// buyers is that one in so many shoppers buys; the others look around.
	buyers = 100
	// inTime is how soon an answer is good for something.
	inTime = time.Second
	// patience is when a shopper gives up.
	patience = 10 * time.Second
)

// result is what became of a load.
type result struct {
	offered float64
	// goodput are the shoppers a second who got all they wanted, each answer in
	// time; reads and bought are its parts.
	goodput, reads, bought float64
	// boughtShare is how many of those who wanted to buy are in bought.
	boughtShare     float64
	refused, failed float64
	// p50 and p99 are of the requests that were let in, from when they were due.
	p50, p99, refusedP99 time.Duration
	failure              error // one of them
	// client is the part of the machine that those who ask took themselves.
	client float64
}

// shopper is one caller.
type shopper struct {
	b       *bench
	addr    string
	from    net.IP
	conn    *rawhttp.Conn
	due     chan time.Time
	tally   tally
	failure error // the last but late ones
	letIn   []time.Duration
	refused []time.Duration
}

type tally struct{ reads, bought, wanted, refused, failed int }

var (
	errTurnedAway = errors.New("turned away")
	errLate       = errors.New("late")
)

func (b *bench) shopper(addr string, n int) (*shopper, error) {
	s := &shopper{b: b, addr: addr, from: net.IPv4(127, 1, byte(n/250), byte(1+n%250)), due: make(chan time.Time, 1)}
	return s, s.connect()
}

func (s *shopper) connect() (err error) {
	s.conn, err = rawhttp.Dial(s.addr, s.from)
	return err
}

// shop does what a shopper wants, once.
func (s *shopper) shop(due time.Time) {
	buys := rand.IntN(buyers) == 0 //nolint:gosec // a load
	var err error
	if buys {
		s.tally.wanted++
		err = s.buy(due)
	} else {
		_, err = s.ask(due, s.b.shelf.read(), false)
	}
	switch {
	case errors.Is(err, errTurnedAway):
		s.tally.refused++
	case err != nil:
		s.tally.failed++
		if !errors.Is(err, errLate) {
			s.failure = err
		}
	case buys:
		s.tally.bought++
	default:
		s.tally.reads++
	}
}

// buy fills a cart and orders it.
func (s *shopper) buy(due time.Time) error {
	body, err := s.ask(due, s.b.shelf.cart(), true)
	if err != nil {
		return err
	}
	id, token := rawhttp.After(body, `"id":"`), rawhttp.After(body, `"token":"`)
	_, err = s.ask(time.Now(), rawhttp.Post("/api/v1/orders", `{"cartId":"`+id+`","payment":{"provider":"test"}}`, token), false)
	return err
}

// ask sends a request and reads its answer, which is late or not from when it
// was due.
func (s *shopper) ask(due time.Time, request []byte, keep bool) (body []byte, err error) {
	if s.conn == nil {
		if err := s.connect(); err != nil {
			return nil, err
		}
	}
	if err := s.conn.Patience(patience); err != nil {
		return nil, err
	}
	status, body, err := s.conn.Do(request, keep)
	if err != nil {
		_ = s.conn.Close()
		s.conn = nil
		return nil, err
	}
	took := time.Since(due)
	switch {
	case status == http.StatusServiceUnavailable && took < inTime, status == http.StatusTooManyRequests:
		s.refused = append(s.refused, took)
		return nil, errTurnedAway
	case status >= http.StatusMultipleChoices:
		return nil, fmt.Errorf("answered %d: %.200s", status, body)
	}
	s.letIn = append(s.letIn, took)
	if took > inTime {
		return nil, errLate
	}
	return body, nil
}

// closedLoop has a few shoppers shop as fast as they can.
func (b *bench) closedLoop(ctx context.Context, addr string, n int, length time.Duration) (result, error) {
	shoppers, err := b.shoppers(addr, n)
	if err != nil {
		return result{}, err
	}
	begin, before := time.Now(), processorTime()
	var wg sync.WaitGroup
	for _, s := range shoppers {
		wg.Go(func() {
			for ctx.Err() == nil && time.Since(begin) < length {
				s.shop(time.Now())
			}
		})
	}
	wg.Wait()
	r := sum(shoppers, time.Since(begin), 0)
	r.client = share(before, begin)
	if r.failure != nil {
		return r, fmt.Errorf("of few shoppers %.1f/s failed: %w", r.failed, r.failure)
	}
	return r, ctx.Err()
}

// openLoop sends so many shoppers a second, whatever becomes of them. One for
// whom there is no connection left has failed.
func (b *bench) openLoop(ctx context.Context, addr string, rate float64, length time.Duration) (result, error) {
	shoppers, err := b.shoppers(addr, most)
	if err != nil {
		return result{}, err
	}
	var mu sync.Mutex
	idle := slices.Clone(shoppers)
	var wg sync.WaitGroup
	for _, s := range shoppers {
		wg.Go(func() {
			for due := range s.due {
				s.shop(due)
				mu.Lock()
				idle = append(idle, s)
				mu.Unlock()
			}
		})
	}
	begin, before, sent, lost := time.Now(), processorTime(), 0, 0
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for ctx.Err() == nil && time.Since(begin) < length {
		<-tick.C
		mu.Lock()
		for ; float64(sent) < rate*time.Since(begin).Seconds(); sent++ {
			if len(idle) == 0 {
				lost++
				continue
			}
			last := len(idle) - 1
			idle[last].due <- begin.Add(time.Duration(float64(sent) / rate * float64(time.Second)))
			idle = idle[:last]
		}
		mu.Unlock()
	}
	for _, s := range shoppers {
		close(s.due)
	}
	took, client := time.Since(begin), share(before, begin)
	wg.Wait()
	r := sum(shoppers, took, lost)
	r.client = client
	return r, ctx.Err()
}

// processorTime is what this process has used.
func processorTime() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u) // fails for no process of its own
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// share is the part of the machine that this process used since.
func share(before time.Duration, since time.Time) float64 {
	return (processorTime() - before).Seconds() / time.Since(since).Seconds() / float64(runtime.NumCPU())
}

func (b *bench) shoppers(addr string, n int) (list []*shopper, err error) {
	for i := range n {
		s, err := b.shopper(addr, i)
		if err != nil {
			return nil, err
		}
		list = append(list, s)
	}
	return list, nil
}

// sum adds up, and closes what is open.
func sum(shoppers []*shopper, took time.Duration, lost int) result {
	var t tally
	var letIn, refused []time.Duration
	var failure error
	for _, s := range shoppers {
		t.reads += s.tally.reads
		t.bought += s.tally.bought
		t.wanted += s.tally.wanted
		t.refused += s.tally.refused
		t.failed += s.tally.failed
		failure = cmp.Or(failure, s.failure)
		letIn, refused = append(letIn, s.letIn...), append(refused, s.refused...)
		if s.conn != nil {
			_ = s.conn.Close()
		}
	}
	per := func(n int) float64 { return float64(n) / took.Seconds() }
	return result{
		offered: per(t.reads + t.bought + t.refused + t.failed + lost), goodput: per(t.reads + t.bought), reads: per(t.reads), bought: per(t.bought),
		boughtShare: float64(t.bought) / float64(max(1, t.wanted+lost/buyers)), refused: per(t.refused), failed: per(t.failed + lost),
		p50: quantile(letIn, .5), p99: quantile(letIn, .99), refusedP99: quantile(refused, .99),
		failure: failure,
	}
}

func quantile(list []time.Duration, share float64) time.Duration {
	if len(list) == 0 {
		return 0
	}
	slices.Sort(list)
	return list[min(len(list)-1, int(share*float64(len(list))))]
}

// read is a search with stock, of which no two at a time are likely the same.
func (s *shelf) read() []byte {
	return s.reads[rand.IntN(len(s.reads))] //nolint:gosec // a load
}

func (s *shelf) cart() []byte {
	return rawhttp.Post("/api/v1/carts", fmt.Sprintf(`{"email":"ada@example.com","lines":[{"variantId":%q,"quantity":1}],"shippingMethodId":%q,
		"shippingAddress":{"name":"Ada","line1":"Street 1","city":"Berlin","country":"DE","postalCode":"10115"}}`,
		s.variants[rand.IntN(len(s.variants))], s.method), "") //nolint:gosec // a load
}

// shelf is what the store sells.
type shelf struct {
	variants []uuid.UUID
	method   uuid.UUID
	reads    [][]byte
}

// parse reads Prometheus' text: a name with its labels, a space, a value.
func parse(in io.Reader) (map[string]float64, error) {
	m := map[string]float64{}
	for lines := bufio.NewScanner(in); ; {
		if !lines.Scan() {
			return m, lines.Err()
		}
		name, value, ok := strings.Cut(lines.Text(), " ")
		if f, err := strconv.ParseFloat(value, 64); ok && err == nil {
			m[name] = f
		}
	}
}
