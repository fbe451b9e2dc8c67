package webhook

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
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
	"gitee.com/captainjez/gocart/runtime/internal/problem"
	"gitee.com/captainjez/gocart/runtime/internal/testbed"
	"gitee.com/captainjez/gocart/runtime/internal/webhook/webhookdb"
	"gitee.com/captainjez/gocart/runtime/openapi"
)

func TestMain(m *testing.M) { testbed.Main(m) }

// house is a store that tells others, in a database of a test's own.
type house struct {
	t     testing.TB
	pool  *pgxpool.Pool
	log   *events.Log
	said  *testbed.Log
	hooks *Webhooks

	mu    sync.Mutex
	ahead time.Duration
}

func newHouse(t testing.TB) *house {
	t.Helper()
	h := &house{t: t, pool: testbed.Pools(t).Main, said: &testbed.Log{}}
	h.log = events.NewLog(h.pool)
	h.hooks = h.replica(true)
	return h
}

func (h *house) replica(private bool) *Webhooks {
	return New(config.Config{Store: config.Store{Mode: config.ModeDevelopment}, Webhooks: config.Webhooks{AllowPrivateAddresses: private}}, h.pool, h.log, h.now)
}

func (h *house) now() time.Time {
	h.mu.Lock()
	defer h.mu.Unlock()
	return time.Now().UTC().Add(h.ahead)
}

func (h *house) forward(d time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.ahead += d
}

// process runs what a process does for webhooks, and returns what stops it.
func (h *house) process(w *Webhooks, slots int, changes ...func(*Dispatcher)) (stop func()) {
	h.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	relay := events.NewRelay(h.log, nil, h.said.Logger(), prometheus.NewRegistry())
	relay.Also(func(context.Context, []events.Published) { w.Wake() })
	d := NewDispatcher(w, slots, h.said.Logger(), prometheus.NewRegistry())
	for _, change := range changes {
		change(d)
	}
	running.Go(func() { relay.Run(ctx) })
	running.Go(func() { d.Run(ctx) })
	stop = sync.OnceFunc(func() { cancel(); running.Wait() })
	h.t.Cleanup(stop)
	return stop
}

// endpoint makes one, and returns its secret too.
func (h *house) endpoint(url string, chosen ...string) (openapi.WebhookEndpoint, string) {
	h.t.Helper()
	var made openapi.WebhookEndpoint
	secret := newSecret()
	err := db.WithTx(h.t.Context(), h.pool, func(tx pgx.Tx) (err error) {
		made, err = h.hooks.create(h.t.Context(), tx, openapi.WebhookEndpointInput{Url: url, Events: chosen}, secret)
		return err
	})
	if err != nil {
		h.t.Fatal(err)
	}
	return made, secret
}

// happens has an order's event n happen.
func (h *house) happens(order uuid.UUID, n int) {
	h.t.Helper()
	e := events.Event{Type: "order.note", Topic: events.Orders, Subject: order, Actor: "store", Data: map[string]string{"text": fmt.Sprint(n)}, At: h.now()}
	if err := db.WithTx(h.t.Context(), h.pool, func(tx pgx.Tx) error { return h.log.Append(h.t.Context(), tx, e) }); err != nil {
		h.t.Fatal(err)
	}
}

func (h *house) list(f filter) []openapi.WebhookDelivery {
	h.t.Helper()
	f.before = 1 << 62
	page, _, err := h.hooks.deliveries(h.t.Context(), f, 1000)
	if err != nil {
		h.t.Fatal(err)
	}
	return page
}

// until waits for so many deliveries in a state.
func (h *house) until(f filter, n int) []openapi.WebhookDelivery {
	h.t.Helper()
	var found []openapi.WebhookDelivery
	testbed.Eventually(h.t, fmt.Sprintf("%d deliveries are %s", n, f.state), func() bool {
		found = h.list(f)
		return len(found) == n
	})
	return found
}

func (h *house) read(id uuid.UUID) openapi.WebhookDelivery {
	h.t.Helper()
	d, err := h.hooks.delivery(h.t.Context(), id)
	if err != nil {
		h.t.Fatal(err)
	}
	return d
}

// got is a request that a receiver had.
type got struct {
	header  http.Header
	body    []byte
	message body
}

// receiver is an endpoint's other side.
type receiver struct {
	*httptest.Server
	mu  sync.Mutex
	all []got
	// answer says what comes back; 204 where it is nil.
	answer func(w http.ResponseWriter, g got)
}

func newReceiver(t testing.TB, answer func(w http.ResponseWriter, g got)) *receiver {
	t.Helper()
	r := &receiver{answer: answer}
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		raw, err := io.ReadAll(q.Body)
		g := got{header: q.Header, body: raw}
		if err != nil || json.Unmarshal(raw, &g.message) != nil {
			t.Errorf("%s %v", raw, err)
		}
		r.mu.Lock()
		r.all = append(r.all, g)
		answer := r.answer
		r.mu.Unlock()
		if answer != nil {
			answer(w, g)
			return
		}
		w.WriteHeader(http.StatusNoContent)
	}))
	t.Cleanup(r.Close)
	return r
}

func (r *receiver) have() []got {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.all)
}

func (r *receiver) await(t testing.TB, n int) []got {
	t.Helper()
	testbed.Eventually(t, fmt.Sprintf("%d deliveries came", n), func() bool { return len(r.have()) >= n })
	return r.have()
}

func text(g got) string {
	var data struct{ Text string }
	_ = json.Unmarshal(g.message.Data, &data)
	return data.Text
}

func TestEveryEventIsToldOnceSignedAndInTheOrderOfItsSubject(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	r := newReceiver(t, func(w http.ResponseWriter, g got) {
		if g.message.Position%13 == 0 { // some are slow
			<-time.After(20 * time.Millisecond)
		}
		w.WriteHeader(http.StatusOK)
	})
	_, secret := h.endpoint(r.URL, "order.*")
	deaf := newReceiver(t, nil)
	h.endpoint(deaf.URL, "payment.captured", "stock.*")
	for range 3 {
		h.process(h.replica(true), 16)
	}
	const writers, each = 6, 40
	var writing sync.WaitGroup
	for range writers {
		writing.Go(func() {
			order := uuid.New()
			for n := range each {
				h.happens(order, n)
			}
		})
	}
	writing.Wait()
	r.await(t, writers*each)
	h.until(filter{state: "succeeded"}, writers*each)
	next, ids := map[uuid.UUID]int{}, map[string]bool{}
	for _, g := range r.have() {
		if err := Verify(g.header, g.body, secret, h.now()); err != nil {
			t.Fatal(err)
		}
		if id := g.header.Get(headerID); ids[id] || id != g.message.ID.String() {
			t.Fatalf("%s came twice, or is not the event's id", id)
		}
		ids[g.header.Get(headerID)] = true
		if want := fmt.Sprint(next[g.message.Subject]); text(g) != want {
			t.Fatalf("of order %s came %s, want %s", g.message.Subject, text(g), want)
		}
		next[g.message.Subject]++
	}
	if n := len(r.have()); n != writers*each || len(deaf.have()) != 0 {
		t.Errorf("%d came, and %d to who did not ask", n, len(deaf.have()))
	}
}

// waiting has a statement wait for a lock that a test holds.
func (h *house) waiting(statement string) {
	h.t.Helper()
	testbed.Eventually(h.t, "a statement waits", func() bool {
		var n int
		err := h.pool.QueryRow(h.t.Context(), `SELECT count(*) FROM pg_stat_activity
			WHERE datname = current_database() AND wait_event_type = 'Lock' AND query LIKE '%' || $1 || '%'`, statement).Scan(&n)
		if err != nil {
			h.t.Fatal(err)
		}
		return n > 0
	})
}

func TestAnEndpointIsToldOfWhatHappensWhileEventsArePassedOver(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	relay := events.NewRelay(h.log, nil, h.said.Logger(), prometheus.NewRegistry())
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	t.Cleanup(func() { cancel(); running.Wait() })
	running.Go(func() { relay.Run(ctx) })
	positioned := func(n int64) {
		t.Helper()
		testbed.Eventually(t, "the event has a position", func() bool {
			var at int64
			if err := h.pool.QueryRow(t.Context(), "SELECT position FROM event_position").Scan(&at); err != nil {
				t.Fatal(err)
			}
			return at == n
		})
	}
	h.happens(uuid.New(), 0)
	positioned(1)
	hold, err := h.pool.Begin(t.Context())
	if err == nil {
		_, err = hold.Exec(t.Context(), "LOCK TABLE event_readers IN ACCESS EXCLUSIVE MODE")
	}
	if err != nil {
		t.Fatal(err)
	}
	d := NewDispatcher(h.hooks, 1, h.said.Logger(), prometheus.NewRegistry())
	spread := make(chan error)
	go func() { spread <- d.spread(t.Context()) }()
	h.waiting("event_readers")
	h.endpoint("http://10.0.0.1/", "*")
	h.happens(uuid.New(), 1)
	positioned(2)
	if err := hold.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(<-spread, d.spread(t.Context())); err != nil {
		t.Fatal(err)
	}
	if n := len(h.list(filter{state: pending})); n == 0 {
		t.Error("what happened after the endpoint was made is told nobody")
	}
}

func TestAFailedDeliveryIsTriedAgainAndHoldsBackItsSubjectAlone(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	bad, good := uuid.New(), uuid.New()
	mended := false
	var mu sync.Mutex
	r := newReceiver(t, func(w http.ResponseWriter, g got) {
		mu.Lock()
		defer mu.Unlock()
		if g.message.Subject == bad && !mended {
			w.WriteHeader(http.StatusInternalServerError)
			fmt.Fprint(w, strings.Repeat("sorry ", 2000))
		}
	})
	h.endpoint(r.URL, "*")
	h.process(h.hooks, 8)
	h.happens(bad, 0)
	h.happens(bad, 1)
	h.happens(good, 0)
	h.happens(good, 1)
	h.until(filter{state: "succeeded", subject: good}, 2)
	testbed.Eventually(t, "one failed", func() bool {
		all := h.list(filter{subject: bad})
		return len(all) == 2 && all[1].Attempts == 1 && all[1].NextAttemptAt != nil && h.read(all[1].Id).Log != nil && len(*h.read(all[1].Id).Log) == 1
	})
	waiting := h.list(filter{subject: bad})
	if waiting[0].Attempts != 0 || waiting[0].NextAttemptAt != nil || waiting[0].State != "pending" {
		t.Errorf("the second of the order is %+v", waiting[0])
	}
	first := h.read(waiting[1].Id)
	tried := (*first.Log)[0]
	if *tried.Status != 500 || len(*tried.Answer) != keptAnswer || !strings.HasPrefix(*tried.Answer, "sorry") || !strings.Contains(*tried.Error, "500") ||
		tried.RequestHeaders["Webhook-Id"] != first.MessageId.String() || !strings.HasPrefix(*tried.RemoteAddress, "127.0.0.1:") {
		t.Errorf("%+v", tried)
	}
	mu.Lock()
	mended = true
	mu.Unlock()
	h.forward(10 * time.Second)
	h.until(filter{state: "succeeded"}, 4)
	var came []string
	for _, g := range r.have() {
		if g.message.Subject == bad {
			came = append(came, text(g))
		}
	}
	if !slices.Equal(came, []string{"0", "0", "1"}) {
		t.Errorf("of the order came %v", came)
	}
	if again := h.read(first.Id); again.Attempts != 2 || len(*again.Log) != 2 || (*again.Log)[1].Error != nil || again.MessageId != first.MessageId {
		t.Errorf("%+v", again)
	}
}

func TestTheDeliveryOfAProcessThatIsGoneIsTakenUpByAnother(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	r := newReceiver(t, nil)
	h.endpoint(r.URL, "*")
	stop := h.process(h.hooks, 0) // it makes deliveries, and sends none
	h.happens(uuid.New(), 0)
	h.until(filter{state: "pending"}, 1)
	stop()
	now := h.now()
	taken, err := webhookdb.New(h.pool).Claim(t.Context(), webhookdb.ClaimParams{Now: &now, Lapses: now.Add(lease), PerEndpoint: 1, BusyIds: []uuid.UUID{}, InHand: []int32{}, Most: 1})
	if err != nil || len(taken) != 1 {
		t.Fatalf("%v %v", taken, err)
	}
	dead := NewDispatcher(h.replica(true), 1, h.said.Logger(), prometheus.NewRegistry())
	h.process(h.replica(true), 8)
	h.forward(lease + time.Second)
	done := h.until(filter{state: "succeeded"}, 1)
	// What the first one says afterwards counts no more.
	if err := dead.finish(t.Context(), []result{{delivery: taken[0], attempt: attempt{at: now, err: errors.New("late")}}}); err != nil {
		t.Fatal(err)
	}
	if d := h.read(done[0].Id); d.State != "succeeded" || d.Attempts != 2 {
		t.Errorf("%+v", d)
	}
}

func TestASlowEndpointLeavesRoomForOthers(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	let := make(chan struct{})
	slow := newReceiver(t, func(http.ResponseWriter, got) { <-let })
	t.Cleanup(func() { close(let) }) // before the server waits for its requests
	quick := newReceiver(t, nil)
	h.endpoint(slow.URL, "*")
	h.endpoint(quick.URL, "*")
	h.process(h.hooks, 2*claimed+2)
	for n := range 60 {
		h.happens(uuid.New(), n)
	}
	quick.await(t, 60)
	if n := len(slow.have()); n > 2*claimed {
		t.Errorf("the slow one has %d in hand", n)
	}
}

func TestNothingIsBetweenWhatAnEndpointHasAndItsEnd(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	e, _ := h.endpoint("http://10.0.0.1/", "*")
	hold, err := h.pool.Begin(t.Context())
	if err == nil {
		err = webhookdb.New(hold).LeaveLines(t.Context())
	}
	if err != nil {
		t.Fatal(err)
	}
	removed := make(chan error)
	go func() { removed <- h.hooks.remove(t.Context(), e.Id) }()
	h.waiting("JoinLines")
	// Behind it waits what stores the results of a delivery, which locks it before its endpoint.
	there := make(chan bool)
	go func() {
		var b pgx.Batch
		b.Queue("SELECT pg_advisory_xact_lock_shared(hashtextextended('webhook lines', 0))")
		found := false
		b.Queue("SELECT EXISTS (SELECT FROM webhook_endpoints)").QueryRow(func(r pgx.Row) error { return r.Scan(&found) })
		if err := pgx.BeginFunc(t.Context(), h.pool, func(tx pgx.Tx) error { return tx.SendBatch(t.Context(), &b).Close() }); err != nil {
			t.Error(err)
		}
		there <- found
	}()
	h.waiting("lock_shared(hashtext")
	if err := hold.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	if <-there {
		t.Error("the endpoint is there while others go on")
	}
	if err := <-removed; err != nil {
		t.Error(err)
	}
}

func TestEndpointsThatHangWithMuchOfOldLeaveRoomForOthers(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		failing string
		most    int
		slots   int
	}{
		"and nobody knows it yet":     {"NULL", OtherSlots, OtherSlots},
		"and have for long, as known": {"now() - interval '1 hour'", 4 * claimedFailing, 4*claimedFailing + 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHouse(t)
			let := make(chan struct{})
			slow := newReceiver(t, func(http.ResponseWriter, got) { <-let })
			defer close(let) // before the process waits for what is in hand
			quick := newReceiver(t, nil)
			h.endpoint(quick.URL, "order.*")
			for range 4 {
				e, _ := h.endpoint(slow.URL, "payment.*")
				_, err := h.pool.Exec(t.Context(), `INSERT INTO webhook_deliveries (id, endpoint_id, message_id, position, type, subject_id, body, state, due_at, created_at)
					SELECT gen_random_uuid(), $1, gen_random_uuid(), n, 'payment.captured', gen_random_uuid(), '{}', 'pending', now() - interval '1 day', now()
					FROM generate_series(1, 100) n`, e.Id)
				if err == nil {
					_, err = h.pool.Exec(t.Context(), `UPDATE webhook_endpoints SET failing_since = `+c.failing+` WHERE id = $1`, e.Id)
				}
				if err != nil {
					t.Fatal(err)
				}
			}
			const n = 20
			for i := range n {
				h.happens(uuid.New(), i)
			}
			stop := h.process(h.replica(true), 0) // it makes deliveries, and sends none
			h.until(filter{state: pending, kind: "order.note"}, n)
			stop()
			h.process(h.hooks, c.slots)
			quick.await(t, n)
			if n := len(slow.have()); n > c.most {
				t.Errorf("of those that hang %d are in hand", n)
			}
		})
	}
}

func TestAnEndpointThatFailsForThreeDaysIsDisabledAndSaysSo(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	r := newReceiver(t, func(w http.ResponseWriter, _ got) { w.WriteHeader(http.StatusBadGateway) })
	watcher := newReceiver(t, nil)
	failingOne, _ := h.endpoint(r.URL, "order.*")
	h.endpoint(watcher.URL, "webhook.*")
	h.process(h.hooks, 8)
	order := uuid.New()
	h.happens(order, 0)
	h.happens(order, 1)
	attempts := 0
	testbed.Within(t, 60*time.Second, "it is disabled", func() bool {
		if e, err := h.hooks.endpoint(t.Context(), failingOne.Id); err != nil || !e.Enabled {
			return true
		}
		var n int // that are recorded, at the time that it was
		if err := h.pool.QueryRow(t.Context(), "SELECT count(*) FROM webhook_attempts").Scan(&n); err != nil {
			t.Fatal(err)
		}
		if n > attempts {
			attempts = n
			h.forward(longestPause * 12 / 10)
		}
		return false
	})
	e, err := h.hooks.endpoint(t.Context(), failingOne.Id)
	if err != nil || string(*e.DisabledReason) != failing || e.FailingSince == nil || h.now().Sub(*e.FailingSince) < triedFor {
		t.Errorf("%+v %v", e, err)
	}
	said := watcher.await(t, 1)[0]
	if said.message.Type != "webhook.disabled" || said.message.Subject != failingOne.Id || !strings.Contains(string(said.message.Data), `"failing"`) {
		t.Errorf("%s", said.body)
	}
	testbed.Eventually(t, "nothing waits for it", func() bool { return len(h.list(filter{endpoint: failingOne.Id, state: "pending"})) == 0 })
	before := len(r.have())
	abandoned := h.list(filter{endpoint: failingOne.Id, state: "abandoned"})
	if len(abandoned) == 0 {
		t.Fatal("nothing is abandoned")
	}
	if _, err := h.hooks.redeliver(t.Context(), abandoned[0].Id); !isProblem(err, "webhook_endpoint_disabled") {
		t.Errorf("%v", err)
	}
	// A test still goes there, and once it is mended all can go on.
	made, err := h.hooks.test(t.Context(), failingOne.Id)
	if err != nil {
		t.Fatal(err)
	}
	h.until(filter{endpoint: failingOne.Id, kind: testEvent, state: "failed"}, 1)
	if len(*h.read(made.Id).Log) != 1 || len(r.have()) != before+1 {
		t.Errorf("%+v", h.read(made.Id))
	}
	r.mu.Lock()
	r.answer = nil
	r.mu.Unlock()
	if e, err = h.hooks.update(t.Context(), failingOne.Id, openapi.WebhookEndpointUpdate{Enabled: new(true)}); err != nil || !e.Enabled || e.FailingSince != nil || e.DisabledReason != nil {
		t.Errorf("%+v %v", e, err)
	}
	if _, err := h.hooks.redeliver(t.Context(), abandoned[0].Id); err != nil {
		t.Fatal(err)
	}
	h.until(filter{endpoint: failingOne.Id, kind: "order.note", state: "succeeded"}, 1)
}

func TestAnEndpointWithAnotherURLHasThreeDaysAnew(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	r := newReceiver(t, func(w http.ResponseWriter, _ got) { w.WriteHeader(http.StatusBadGateway) })
	e, _ := h.endpoint(r.URL, "*")
	stop := h.process(h.hooks, 8)
	h.happens(uuid.New(), 0)
	testbed.Eventually(t, "it fails", func() bool {
		e, err := h.hooks.endpoint(t.Context(), e.Id)
		return err == nil && e.FailingSince != nil
	})
	stop()
	for _, c := range []struct {
		in      openapi.WebhookEndpointUpdate
		failing bool
	}{
		{openapi.WebhookEndpointUpdate{Description: new("Still there.")}, true},
		{openapi.WebhookEndpointUpdate{Url: new(r.URL)}, true},
		{openapi.WebhookEndpointUpdate{Url: new(r.URL + "/mended")}, false},
	} {
		if e, err := h.hooks.update(t.Context(), e.Id, c.in); err != nil || (e.FailingSince != nil) != c.failing {
			t.Errorf("%+v: %+v %v", c.in, e, err)
		}
	}
}

func isProblem(err error, code string) bool {
	p, ok := errors.AsType[*problem.Problem](err)
	return ok && p.Code == code
}

func TestAnEndpointThatIsGoneIsDisabledAtOnce(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	r := newReceiver(t, func(w http.ResponseWriter, _ got) { w.WriteHeader(http.StatusGone) })
	e, _ := h.endpoint(r.URL, "*")
	h.process(h.hooks, 8)
	h.happens(uuid.New(), 0)
	h.until(filter{state: "failed"}, 1)
	if e, err := h.hooks.endpoint(t.Context(), e.Id); err != nil || e.Enabled || string(*e.DisabledReason) != gone {
		t.Errorf("%+v %v", e, err)
	}
}

func TestNothingIsKeptForWhoIsDisabledAndWhatWaitsIsAbandoned(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	let := make(chan struct{})
	r := newReceiver(t, func(w http.ResponseWriter, _ got) { <-let; w.WriteHeader(http.StatusInternalServerError) })
	e, _ := h.endpoint(r.URL, "*")
	other := newReceiver(t, nil)
	h.endpoint(other.URL, "*")
	h.process(h.hooks, 8)
	order := uuid.New()
	h.happens(order, 0)
	h.happens(order, 1)
	r.await(t, 1)
	if _, err := h.hooks.update(t.Context(), e.Id, openapi.WebhookEndpointUpdate{Enabled: new(false)}); err != nil {
		t.Fatal(err)
	}
	close(let)
	h.until(filter{endpoint: e.Id, state: "abandoned"}, 2)
	h.happens(order, 2)
	other.await(t, 3)
	if all := h.list(filter{endpoint: e.Id}); len(all) != 2 || len(r.have()) != 1 {
		t.Errorf("%+v", all)
	}
}

func TestWhoIsEnabledAgainAtOnceIsToldOfWhatHappensThen(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	var mu sync.Mutex
	broken := true
	r := newReceiver(t, func(w http.ResponseWriter, _ got) {
		mu.Lock()
		defer mu.Unlock()
		if broken {
			w.WriteHeader(http.StatusInternalServerError)
		}
	})
	e, _ := h.endpoint(r.URL, "*")
	h.process(h.hooks, 8)
	order := uuid.New()
	for n := range 5 {
		h.happens(order, n)
	}
	r.await(t, 1)
	for range 3 { // with events that come meanwhile
		var running sync.WaitGroup
		running.Go(func() { h.happens(order, 5) })
		for _, enabled := range []bool{false, true} {
			if _, err := h.hooks.update(t.Context(), e.Id, openapi.WebhookEndpointUpdate{Enabled: &enabled}); err != nil {
				t.Fatal(err)
			}
		}
		running.Wait()
	}
	mu.Lock()
	broken = false
	mu.Unlock()
	h.happens(order, 6)
	h.forward(time.Minute)
	testbed.Eventually(t, "it is told", func() bool { all := r.have(); return text(all[len(all)-1]) == "6" })
	testbed.Eventually(t, "nothing waits", func() bool { return len(h.list(filter{state: pending})) == 0 })
}

func TestOfVeryMuchThatWaitsNothingIsLeftBehindByWhatIsAbandoned(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	e, _ := h.endpoint("http://127.0.0.1:1/", "*")
	const n = atOnce + 10
	_, err := h.pool.Exec(t.Context(), `INSERT INTO webhook_deliveries (id, endpoint_id, message_id, position, type, subject_id, body, state, due_at, created_at)
		SELECT gen_random_uuid(), $1, gen_random_uuid(), n, 'order.note', $1, '{}', 'pending', CASE WHEN n = 1 THEN now() + interval '1 day' END, now()
		FROM generate_series(1, $2::int) n`, e.Id, n)
	if err != nil {
		t.Fatal(err)
	}
	count := func(state string) (n int) {
		t.Helper()
		if err := h.pool.QueryRow(t.Context(), `SELECT count(*) FROM webhook_deliveries WHERE state = $1`, state).Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	for _, enabled := range []bool{false, true} {
		if _, err := h.hooks.update(t.Context(), e.Id, openapi.WebhookEndpointUpdate{Enabled: &enabled}); err != nil {
			t.Fatal(err)
		}
	}
	if pending, abandoned := count(pending), count("abandoned"); pending != 0 || abandoned != n {
		t.Errorf("%d are pending, %d abandoned", pending, abandoned)
	}
	if err := h.hooks.remove(t.Context(), e.Id); err != nil || count("abandoned") != 0 {
		t.Errorf("%v", err)
	}
}

func TestAStoreWithoutEndpointsKeepsNothingAndReadsOn(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.process(h.hooks, 8)
	for n := range 5 {
		h.happens(uuid.New(), n)
	}
	testbed.Eventually(t, "it has read all", func() bool {
		var left int64
		err := h.pool.QueryRow(t.Context(), `SELECT p.position - r.position + 5 - p.position FROM event_position p, event_readers r WHERE r.name = 'webhooks'`).Scan(&left)
		return err == nil && left == 0
	})
	r := newReceiver(t, nil)
	h.endpoint(r.URL, "*")
	h.happens(uuid.New(), 6)
	if all := r.await(t, 1); text(all[0]) != "6" {
		t.Errorf("%s", all[0].body)
	}
}

// rotate gives an endpoint a new secret.
func (h *house) rotate(id uuid.UUID) (secret string, until time.Time, err error) {
	secret = newSecret()
	err = db.WithTx(h.t.Context(), h.pool, func(tx pgx.Tx) (err error) {
		until, err = h.hooks.rotate(h.t.Context(), tx, id, secret)
		return err
	})
	return secret, until, err
}

func TestASecretSignsForAsLongAsWasSaidHoweverOftenItIsChanged(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	r := newReceiver(t, nil)
	e, first := h.endpoint(r.URL, "*")
	h.process(h.hooks, 8)
	secrets := []string{first}
	var until time.Time
	for i := range maxLapsing {
		made, at, err := h.rotate(e.Id)
		if err != nil {
			t.Fatal(err)
		}
		if i == 0 {
			until = at
		}
		secrets = append(secrets, made)
		h.forward(time.Minute)
	}
	_, _, err := h.rotate(e.Id)
	if p, ok := errors.AsType[*problem.Problem](err); !ok || p.Code != "too_many_webhook_secrets" || !strings.Contains(p.Detail, until.Format(time.RFC3339)) {
		t.Errorf("one more: %v", err)
	}
	signs := func(n int) (by []bool) {
		h.happens(uuid.New(), n)
		var one got // others may come again, for time jumps
		testbed.Eventually(t, "it came", func() bool {
			all := r.have()
			i := slices.IndexFunc(all, func(g got) bool { return text(g) == fmt.Sprint(n) })
			if i >= 0 {
				one = all[i]
			}
			return i >= 0
		})
		for _, secret := range secrets {
			by = append(by, Verify(one.header, one.body, secret, h.now()) == nil)
		}
		return by
	}
	if by := signs(0); slices.Contains(by, false) {
		t.Errorf("of the secrets sign %v", by)
	}
	h.forward(until.Sub(h.now()) + time.Second)
	if by := signs(1); by[0] || slices.Contains(by[1:], false) {
		t.Errorf("when the first has lapsed, sign %v", by)
	}
	last, _, err := h.rotate(e.Id)
	if err != nil {
		t.Fatal(err)
	}
	if err := h.hooks.revoke(t.Context(), e.Id); err != nil {
		t.Fatal(err)
	}
	secrets = append(secrets, last)
	if by := signs(2); slices.Index(by, true) != len(by)-1 {
		t.Errorf("when those before the newest are revoked, sign %v", by)
	}
}

func TestASecretIsChangedWithoutALostDelivery(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	r := newReceiver(t, nil)
	e, old := h.endpoint(r.URL, "*")
	h.process(h.hooks, 8)
	made, _, err := h.rotate(e.Id)
	if err != nil {
		t.Fatal(err)
	}
	h.happens(uuid.New(), 0)
	both := r.await(t, 1)[0]
	for _, secret := range []string{old, made} {
		if err := Verify(both.header, both.body, secret, h.now()); err != nil {
			t.Error(err)
		}
	}
	h.forward(overlap + time.Second)
	h.happens(uuid.New(), 1)
	one := r.await(t, 2)[1]
	if err := Verify(one.header, one.body, made, h.now()); err != nil {
		t.Error(err)
	}
	if err := Verify(one.header, one.body, old, h.now()); !errors.Is(err, ErrSignature) {
		t.Errorf("the old secret still signs: %v", err)
	}
}

func TestWhatIsOldIsForgottenButNotWhatWaits(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	bad := uuid.New()
	r := newReceiver(t, func(w http.ResponseWriter, g got) {
		if g.message.Subject == bad {
			w.WriteHeader(http.StatusInternalServerError)
		}
	})
	h.endpoint(r.URL, "*")
	stop := h.process(h.hooks, 8)
	h.happens(bad, 0)
	h.happens(uuid.New(), 1)
	h.until(filter{state: "succeeded"}, 1)
	testbed.Eventually(t, "one was tried", func() bool { all := h.list(filter{subject: bad}); return len(all) == 1 && all[0].Attempts == 1 })
	stop()
	h.forward(29 * 24 * time.Hour)
	if n, err := h.hooks.Forget(t.Context()); n != 0 || err != nil {
		t.Errorf("%d %v", n, err)
	}
	h.forward(2 * 24 * time.Hour)
	if n, err := h.hooks.Forget(t.Context()); n != 1 || err != nil {
		t.Errorf("%d %v", n, err)
	}
	if all := h.list(filter{}); len(all) != 1 || all[0].State != "pending" {
		t.Errorf("%+v", all)
	}
}

func TestNoEventIsForgottenThatNobodyWasToldOf(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	r := newReceiver(t, nil)
	h.endpoint(r.URL, "stock.*")
	// A relay without a dispatcher; others have read.
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { events.NewRelay(h.log, nil, h.said.Logger(), prometheus.NewRegistry()).Run(ctx) })
	t.Cleanup(func() { cancel(); running.Wait() })
	e := events.Event{Type: "stock.changed", Topic: events.Inventory, Subject: uuid.New(), Actor: "store", Data: map[string]int{"available": 3}, At: h.now()}
	if err := db.WithTx(t.Context(), h.pool, func(tx pgx.Tx) error { return h.log.Append(t.Context(), tx, e) }); err != nil {
		t.Fatal(err)
	}
	testbed.Eventually(t, "it has a position", func() bool { head, err := h.log.Head(t.Context()); return err == nil && head == 1 })
	if err := events.NewReader(h.pool, events.Statistics).Skip(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n, err := h.log.Forget(t.Context(), h.now().Add(30*24*time.Hour)); n != 0 || err != nil {
		t.Errorf("%d are forgotten: %v", n, err)
	}
	h.process(h.hooks, 8)
	r.await(t, 1)
	if n, err := h.log.Forget(t.Context(), h.now().Add(30*24*time.Hour)); n != 1 || err != nil {
		t.Errorf("%d are forgotten: %v", n, err)
	}
}

func TestAnAttemptIsMadeEverLaterAndLastAfterThreeDays(t *testing.T) {
	t.Parallel()
	first := time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC)
	r := result{delivery: webhookdb.ClaimRow{Type: "order.placed", FirstAttemptAt: first}, attempt: attempt{err: errors.New("no")}}
	now, attempts := first, 1
	for {
		state, due := r.next(now)
		if state == failed {
			break
		}
		pause := due.Sub(now)
		if state != pending || pause < firstPause*8/10 && !due.Equal(first.Add(triedFor)) || pause > longestPause*12/10 {
			t.Fatalf("after %s: %s, %s later", now.Sub(first), state, pause)
		}
		now = due
		attempts++
	}
	if now != first.Add(triedFor) || attempts < 15 || attempts > 30 {
		t.Errorf("the last of %d attempts is %s after the first", attempts, now.Sub(first))
	}
}
