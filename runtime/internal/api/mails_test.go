package api_test

import (
	"context"
	"io"
	"mime"
	"mime/quotedprintable"
	"net/http"
	"net/mail"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/prometheus/client_golang/prometheus"

	"gitee.com/captainjez/gocart/runtime/config"
	"gitee.com/captainjez/gocart/runtime/internal/db"
	"gitee.com/captainjez/gocart/runtime/internal/jobs"
	words "gitee.com/captainjez/gocart/runtime/internal/mail"
	"gitee.com/captainjez/gocart/runtime/internal/testbed"
	"gitee.com/captainjez/gocart/runtime/openapi"
)

// mailing is a store whose worker sends mails.
type mailing struct {
	*store
	server *testbed.SMTPServer
}

func newMailing(t testing.TB) mailing {
	t.Helper()
	m := mailing{server: testbed.SMTP(t, testbed.SMTPRules{})}
	var c config.Config
	m.store = storeWith(t, testbed.Database(t), 8, func(changed *config.Config) {
		changed.Mail = &config.Mail{URLFile: testbed.File(t, "smtp://"+m.server.Addr), CAFile: testbed.File(t, m.server.CA), From: "Ada's shop <shop@shop.example>"}
		changed.Server.DrainTimeout = config.Duration(time.Second)
		c = *changed
	})
	worker := jobs.NewWorker(c, jobs.Options{
		Pool: m.Pool, Kinds: m.Kinds, Queue: m.Queue, Log: m.log.Logger(), Metrics: prometheus.NewRegistry(), Now: time.Now,
	})
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() {
		if err := worker.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(func() { cancel(); running.Wait() })
	return m
}

// mailed waits for a mail by its subject and wants facts in it.
func (m mailing) mailed(subject string, facts ...string) string {
	m.t.Helper()
	var body string
	testbed.Eventually(m.t, "a mail has the subject "+subject, func() bool {
		for _, raw := range m.server.Mails() {
			one, err := mail.ReadMessage(strings.NewReader(raw))
			if err != nil {
				m.t.Fatal(err)
			}
			if got, err := new(mime.WordDecoder).DecodeHeader(one.Header.Get("Subject")); err != nil || got != subject {
				continue
			}
			decoded, err := io.ReadAll(quotedprintable.NewReader(one.Body))
			if err != nil {
				m.t.Fatal(err)
			}
			body = string(decoded)
			return true
		}
		return false
	})
	for _, fact := range facts {
		if !strings.Contains(body, fact) {
			m.t.Errorf("no %q in the mail %s:\n%s", fact, subject, body)
		}
	}
	return body
}

func (m mailing) enqueue(message words.Message) {
	m.t.Helper()
	if err := message.Check(); err != nil {
		m.t.Fatal(err)
	}
	if err := db.WithTx(m.t.Context(), m.Pool, func(tx pgx.Tx) error { return m.Queue.Enqueue(m.t.Context(), tx, message) }); err != nil {
		m.t.Fatal(err)
	}
}

func TestABuyerIsToldByMailWhatBecomesOfAnOrder(t *testing.T) {
	t.Parallel()
	m := newMailing(t)
	method := m.shipping()
	mug := m.stocked("MUG", "1234.50", 10)
	g := m.cartOf(method, line(mug, 2))
	o := want[openapi.Order](t, g.order(), http.StatusCreated)
	m.mailed("Your order 1001", "2 x MUG, MUG: 2,469.00 EUR", "Shipping (Parcel): 4.90 EUR", "Total: 2,473.90 EUR", "10115 Berlin", "its payment is set aside")
	path := "/orders/" + o.Id.String() + "/transitions"
	for _, to := range []string{"processing", "shipped", "delivered", "refunded"} {
		admin[openapi.Order](m.store, "POST", path, `{"to":"`+to+`"}`, http.StatusOK)
	}
	m.mailed("Your order 1001 is on its way", "was shipped just now")
	m.mailed("Your money back for order 1001", "2,473.90 EUR")
	if n := len(m.server.Mails()); n != 3 {
		t.Errorf("%d mails", n)
	}
}

func TestAnOrderThatWasNotPaidInTimeIsToldInTheBuyersLanguage(t *testing.T) {
	t.Parallel()
	m := newMailing(t)
	method := m.shipping()
	mug := m.stocked("MUG", "10.00", 10)
	g := m.cartOf(method, line(mug, 1))
	wantProblem(t, g.do("PATCH", "/carts/"+g.cart.Id.String(), `{"locale":"de_AT"}`), http.StatusBadRequest, "invalid_request")
	cart := want[openapi.Cart](t, g.do("PATCH", "/carts/"+g.cart.Id.String(), `{"locale":"de-AT"}`), http.StatusOK)
	if cart.Locale == nil || *cart.Locale != "de-AT" {
		t.Errorf("%+v", cart)
	}
	if o := want[openapi.Order](t, g.pay("tok_requires_action"), http.StatusCreated); o.Locale == nil || *o.Locale != "de-AT" {
		t.Errorf("%+v", o)
	}
	m.mailed("Ihre Bestellung 1001", "Sie wartet auf Ihre Zahlung bis", "Gesamt: 14,90 EUR", "Lieferadresse:\n  Ada\n  Street 1\n")
	m.clock.forward(31 * time.Minute)
	if n, err := m.Orders.ExpireUnpaid(t.Context()); n != 1 || err != nil {
		t.Fatal(n, err)
	}
	m.mailed("Ihre Bestellung 1001 wurde storniert", "Die Zahlung kam nicht rechtzeitig")
	g = m.cartOf(method, line(mug, 1))
	o := want[openapi.Order](t, g.order(), http.StatusCreated)
	want[openapi.Order](t, g.do("POST", "/orders/"+o.Id.String()+"/cancel", `{}`), http.StatusOK)
	m.mailed("Your order 1002 was cancelled", "Nothing of it is delivered")
}

func TestRemindersAndAlertsTellWhatIsSoWhenTheyAreSent(t *testing.T) {
	t.Parallel()
	m := newMailing(t)
	method := m.shipping()
	mug, cup := m.stocked("MUG", "10.00", 3), m.stocked("CUP", "5.00", 7)
	g := m.cartOf(method, line(mug, 2))
	m.enqueue(words.Message{Template: words.CartReminder, To: "ada@example.com", CartID: g.cart.Id, Locale: "en"})
	m.mailed("There is still something in your cart", "2 x MUG, MUG: 20.00 EUR", "Total as of now: 24.90 EUR")
	m.enqueue(words.Message{Template: words.LowStock, To: "staff@example.com", VariantIDs: []uuid.UUID{mug.Id, uuid.Max, cup.Id}})
	m.mailed("Low stock", "MUG MUG: 3\n", "CUP CUP: 7\n")
	want[openapi.Order](t, g.order(), http.StatusCreated)
	m.mailed("Your order 1001")
	sent := len(m.server.Mails())
	for _, needless := range []words.Message{
		{Template: words.CartReminder, To: "eve@example.com", CartID: g.cart.Id},
		{Template: words.LowStock, To: "eve@example.com", VariantIDs: []uuid.UUID{uuid.Max}},
	} {
		m.enqueue(needless)
	}
	testbed.Eventually(t, "both are seen to", func() bool {
		var n int
		m.scan(`SELECT count(*) FROM river_job WHERE state = 'completed' AND args->>'to' = 'eve@example.com'`, &n)
		return n == 2
	})
	if n := len(m.server.Mails()); n != sent {
		t.Errorf("%d mails were sent for nothing", n-sent)
	}
}

func TestTheMailOfAnOrderIsQueuedInTheOrdersTransactionAndNowhereWithoutMail(t *testing.T) {
	t.Parallel()
	for mails, s := range []*store{storeWith(t, testbed.Database(t), 8, func(c *config.Config) { c.Mail = nil }), storeWith(t, testbed.Database(t), 8, func(c *config.Config) {
		c.Mail = &config.Mail{URLFile: testbed.File(t, "smtp://127.0.0.1:1"), From: "shop@shop.example"}
	})} {
		g := s.cartOf(s.shipping(), line(s.stocked("MUG", "10.00", 10), 1))
		want[openapi.Order](t, g.order(), http.StatusCreated)
		var jobs, together int
		s.scan(`SELECT count(*), count(*) FILTER (WHERE j.xmin = o.xmin AND j.args->>'orderId' = o.id::text) FROM river_job j, orders o`, &jobs, &together)
		if jobs != mails || together != mails {
			t.Errorf("%d mails are queued, %d of them in the transaction of their order, and not %d", jobs, together, mails)
		}
	}
}
