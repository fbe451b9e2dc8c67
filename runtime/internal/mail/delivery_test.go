package mail

import (
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	"net/mail"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/rivertype"

	"gitee.com/captainjez/gocart/runtime/config"
	"gitee.com/captainjez/gocart/runtime/internal/db"
	"gitee.com/captainjez/gocart/runtime/internal/jobs"
	"gitee.com/captainjez/gocart/runtime/internal/testbed"
	"gitee.com/captainjez/gocart/runtime/status"
)

// order is the one that there is, customer the one who can have tokens.
var (
	order    = uuid.MustParse("019a0000-0000-7000-8000-000000000001")
	customer = uuid.MustParse("019a0000-0000-7000-8000-000000000002")
)

// known is what the store of the tests knows.
type known struct{ tokens atomic.Int64 }

func (*known) Order(_ context.Context, m Message) (*Order, error) {
	if m.OrderID != order {
		return nil, fmt.Errorf("%w: no order %s", ErrGone, m.OrderID)
	}
	return facts().Order, nil
}

func (*known) Cart(context.Context, uuid.UUID, string) (*Cart, error) { return nil, ErrNeedless }

func (*known) Stock(context.Context, []uuid.UUID) ([]Stock, error) { return facts().Stock, nil }

func (k *known) MailToken(_ context.Context, _ Template, id uuid.UUID, _ string) (string, error) {
	if id != customer {
		return "", ErrGone
	}
	return fmt.Sprintf("t0ken-%d", k.tokens.Add(1)), nil
}

// post is a store that sends mails, and the server that it sends them to.
type post struct {
	t      testing.TB
	config config.Config
	pool   *pgxpool.Pool
	queue  *jobs.Queue
	outbox *Outbox
	ledger *jobs.Ledger
	kinds  jobs.Kinds
	sender *sender
	server *testbed.SMTPServer
	log    *testbed.Log
}

func newPost(t testing.TB, rules testbed.SMTPRules, changes ...func(*config.Config)) *post {
	t.Helper()
	p := &post{t: t, pool: testbed.Pools(t).Main, log: &testbed.Log{}, config: config.Default(), server: testbed.SMTP(t, rules)}
	p.config.Store.URL = "https://shop.example"
	p.config.Server.DrainTimeout = config.Duration(time.Second)
	p.config.Mail = &config.Mail{
		URLFile: testbed.File(t, "smtp://"+p.server.Addr+"\n"), CAFile: testbed.File(t, p.server.CA), From: "Ada's shop <shop@shop.example>",
		Timeout: config.Duration(5 * time.Second),
	}
	for _, change := range changes {
		change(&p.config)
	}
	var err error
	if p.queue, err = jobs.NewQueue(p.log.Logger(), time.Now); err != nil {
		t.Fatal(err)
	}
	store := &known{}
	o := Options{Pool: p.pool, Facts: store, Tokens: store, Log: p.log.Logger()}
	delivery, err := Delivery(p.config, o)
	if err != nil {
		t.Fatal(err)
	}
	if p.sender, err = newSender(p.config, o); err != nil {
		t.Fatal(err)
	}
	p.kinds = jobs.Kinds{delivery}
	p.outbox = NewOutbox(p.config, p.queue, p.log.Logger())
	p.ledger = jobs.NewLedger(p.pool, p.kinds, p.queue, time.Now)
	return p
}

// by has mails sent to the URL that a format makes of the server's address.
func by(t testing.TB, format string) func(*config.Config) {
	return func(c *config.Config) {
		t.Helper()
		before, err := newServer(*c.Mail, 0).read()
		if err != nil {
			t.Fatal(err)
		}
		c.Mail.URLFile = testbed.File(t, fmt.Sprintf(format, strings.TrimPrefix(before.url, "smtp://")))
	}
}

func (p *post) work() {
	p.t.Helper()
	w := jobs.NewWorker(p.config, jobs.Options{
		Pool: p.pool, Kinds: p.kinds, Queue: p.queue, Log: p.log.Logger(), Metrics: prometheus.NewRegistry(), Now: time.Now,
	})
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() {
		if err := w.Run(ctx); err != nil {
			p.t.Error(err)
		}
	})
	p.t.Cleanup(func() { cancel(); running.Wait() })
}

func (p *post) enqueue(all ...Message) {
	p.t.Helper()
	err := db.WithTx(p.t.Context(), p.pool, func(tx pgx.Tx) error {
		for _, m := range all {
			if err := p.outbox.Enqueue(p.t.Context(), tx, m); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		p.t.Fatal(err)
	}
}

func (p *post) ask(r jobs.Request) (e jobs.Entry, err error) {
	err = db.WithTx(p.t.Context(), p.pool, func(tx pgx.Tx) error {
		e, err = p.ledger.Enqueue(p.t.Context(), tx, r)
		return err
	})
	return e, err
}

func (p *post) list(state string) []jobs.Entry {
	p.t.Helper()
	all, err := p.ledger.List(p.t.Context(), jobs.Filter{State: state}, 1<<62, 1000)
	if err != nil {
		p.t.Fatal(err)
	}
	return all
}

// until waits for so many jobs to be in a state, and returns them.
func (p *post) until(state string, n int) (all []jobs.Entry) {
	p.t.Helper()
	testbed.Eventually(p.t, fmt.Sprintf("%d mails are %s", n, state), func() bool {
		all = p.list(state)
		return len(all) == n
	})
	return all
}

// failure waits for the first one of the one job.
func (p *post) failure() (why string) {
	p.t.Helper()
	testbed.Eventually(p.t, "an attempt failed", func() bool {
		all := p.list("")
		if len(all) == 1 && len(all[0].Failures) > 0 {
			why = all[0].Failures[0].Error
		}
		return why != ""
	})
	return why
}

func (p *post) exec(sql string, args ...any) {
	p.t.Helper()
	if _, err := p.pool.Exec(p.t.Context(), sql, args...); err != nil {
		p.t.Fatal(err)
	}
}

// read takes a mail apart: its header and its bodies.
func read(t testing.TB, raw string) (header mail.Header, text, html string) {
	t.Helper()
	m, err := mail.ReadMessage(strings.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	kind, params, err := mime.ParseMediaType(m.Header.Get("Content-Type"))
	if err != nil || kind != "multipart/alternative" {
		t.Fatalf("%s: %v", kind, err)
	}
	parts := multipart.NewReader(m.Body, params["boundary"])
	var bodies []string
	for {
		part, err := parts.NextRawPart()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(quotedprintable.NewReader(part))
		if err != nil {
			t.Fatal(err)
		}
		bodies = append(bodies, part.Header.Get("Content-Type")+"\n"+string(body))
	}
	if len(bodies) != 2 || !strings.HasPrefix(bodies[0], "text/plain; charset=UTF-8") || !strings.HasPrefix(bodies[1], "text/html; charset=UTF-8") {
		t.Fatalf("the parts of the mail are %q", bodies)
	}
	return m.Header, bodies[0], bodies[1]
}

func TestAMailComesOverSTARTTLSFromWhoSignedInAndAsTextAndHTML(t *testing.T) {
	t.Parallel()
	p := newPost(t, testbed.SMTPRules{User: "shop", Password: "pa:ss"}, by(t, "smtp://shop:pa%%3Ass@%s"))
	p.work()
	p.enqueue(Message{Template: PasswordReset, To: "ada@example.com", CustomerID: customer})
	p.until(status.JobCompleted, 1)
	header, text, html := read(t, p.server.Mails()[0])
	for name, want := range map[string]string{
		"Subject": "A new password", "From": `"Ada's shop" <shop@shop.example>`, "To": "<ada@example.com>", "Auto-Submitted": "auto-generated", "Bcc": "",
	} {
		if got := header.Get(name); got != want {
			t.Errorf("%s is %q", name, got)
		}
	}
	if id := header.Get("Message-ID"); !strings.HasPrefix(id, "<gocart-1-") || !strings.HasSuffix(id, "@shop.example>") {
		t.Errorf("Message-ID is %q", id)
	}
	if !strings.Contains(text, "\nt0ken-1\n") && !strings.Contains(text, "\r\nt0ken-1\r\n") || !strings.Contains(html, ">t0ken-1<") {
		t.Errorf("%s\n%s", text, html)
	}
	if said := strings.Join(p.server.Said(), "\n"); said != "AUTH shop pa:ss\nMAIL shop@shop.example\nRCPT ada@example.com" {
		t.Errorf("said\n%s", said)
	}
	if strings.Contains(p.log.String(), "t0ken") || strings.Contains(string(p.list("")[0].Payload), "t0ken") {
		t.Error("a secret is told")
	}
}

func TestWhatCustomersTypedMakesNoHeader(t *testing.T) {
	t.Parallel()
	p := newPost(t, testbed.SMTPRules{})
	p.work()
	p.enqueue(Message{Template: OrderPlaced, To: "ada@example.com", OrderID: order, Locale: "de-AT"})
	p.until(status.JobCompleted, 1)
	header, text, html := read(t, p.server.Mails()[0])
	if subject, err := new(mime.WordDecoder).DecodeHeader(header.Get("Subject")); err != nil || subject != "Ihre Bestellung 1001" || header.Get("Bcc") != "" {
		t.Errorf("%v %v", header, err)
	}
	if !strings.Contains(text, "1.234,50 EUR") || !strings.Contains(html, "1.234,50 EUR") || strings.Contains(html, "<script") {
		t.Errorf("%s\n%s", text, html)
	}
	if said := p.server.Said(); len(said) != 2 {
		t.Errorf("said %v", said)
	}
}

func TestNothingIsSaidToAServerThatIsNotWhoItShouldBeOrDoesNotEncrypt(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		rules  testbed.SMTPRules
		change func(*config.Config)
		words  string
	}{
		"without STARTTLS":                 {testbed.SMTPRules{Plain: true}, nil, "does not support STARTTLS"},
		"with a certificate of somebody's": {testbed.SMTPRules{}, func(c *config.Config) { c.Mail.CAFile = "" }, "unknown authority"},
		"without a certificate to compare": {testbed.SMTPRules{}, func(c *config.Config) { c.Mail.CAFile = testbed.File(t, "none") }, "mail.caFile"},
	}
	for name, c := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newPost(t, c.rules, by(t, "smtp://shop:s3cr3t@%s"))
			if c.change != nil {
				c.change(&p.config)
				p.sender.server = newServer(*p.config.Mail, time.Second)
			}
			_, err := p.sender.server.connect(t.Context())
			if err == nil || !strings.Contains(err.Error(), c.words) || strings.Contains(err.Error(), "s3cr3t") || len(p.server.Said()) != 0 {
				t.Errorf("%v, and said %v", err, p.server.Said())
			}
		})
	}
}

func TestPlainTextAndTLSFromTheStartAreSpokenWhereTheURLSaysSo(t *testing.T) {
	t.Parallel()
	for form, rules := range map[string]testbed.SMTPRules{"smtp://shop:s3cr3t@%s?tls=none": {Plain: true}, "smtps://shop:s3cr3t@%s": {TLS: true}} {
		t.Run(form, func(t *testing.T) {
			t.Parallel()
			rules.User, rules.Password = "shop", "s3cr3t"
			p := newPost(t, rules, by(t, form))
			p.work()
			p.enqueue(Message{Template: TestMessage, To: "ada@example.com"})
			p.until(status.JobCompleted, 1)
			if said := p.server.Said(); len(said) != 3 || said[0] != "AUTH shop s3cr3t" {
				t.Errorf("said %v", said)
			}
		})
	}
}

func TestWhatIsRefusedForGoodIsDeadAndWhatIsRefusedForNowIsTriedAgain(t *testing.T) {
	t.Parallel()
	var later atomic.Int64
	p := newPost(t, testbed.SMTPRules{
		Refuse: func(to string) string {
			switch {
			case strings.HasPrefix(to, "nobody"):
				return "550 no such user"
			case strings.HasPrefix(to, "later") && later.Add(1) == 1:
				return "451 greylisted"
			}
			return ""
		},
		Judge: func(n int) string { return []string{"552 too large", "452 full"}[n%2] },
	})
	p.work()
	p.enqueue(Message{Template: TestMessage, To: "nobody@example.com"})
	if dead := p.until(status.JobDead, 1)[0]; dead.Attempt != 1 || !strings.Contains(dead.Error, "550 no such user") {
		t.Errorf("%+v", dead)
	}
	// The first mail that is judged is refused for now and then for good.
	p.enqueue(Message{Template: TestMessage, To: "later@example.com"})
	dead := p.until(status.JobDead, 2)[0]
	if f := dead.Failures; len(f) != 3 || !strings.Contains(f[0].Error, "451 greylisted") || !strings.Contains(f[1].Error, "452 full") || !strings.Contains(f[2].Error, "552 too large") {
		t.Errorf("%+v", dead)
	}
	if len(p.server.Mails()) != 0 {
		t.Error("a mail was taken that was refused")
	}
	var handovers int
	if err := p.pool.QueryRow(t.Context(), `SELECT count(*) FROM mail_handovers`).Scan(&handovers); err != nil || handovers != 0 {
		t.Errorf("%d mails seem to be handed over, %v", handovers, err)
	}
}

func TestAMailThatHasNothingToSayOrIsAboutNothingIsNotSent(t *testing.T) {
	t.Parallel()
	p := newPost(t, testbed.SMTPRules{})
	p.work()
	p.enqueue(
		Message{Template: CartReminder, To: "ada@example.com", CartID: uuid.Max},
		Message{Template: OrderShipped, To: "ada@example.com", OrderID: uuid.Max},
		Message{Template: VerifyEmail, To: "ada@example.com", CustomerID: uuid.Max},
		Message{Template: "newsletter", To: "ada@example.com"}, // as another version's
	)
	p.until(status.JobCompleted, 1)
	for _, dead := range p.until(status.JobDead, 3) {
		if dead.Attempt != 1 {
			t.Errorf("%+v", dead)
		}
	}
	if n := len(p.server.Mails()); n != 0 {
		t.Errorf("%d mails were sent", n)
	}
}

func TestAMailWhoseJobIsWorkedTwiceIsSentOnce(t *testing.T) {
	t.Parallel()
	p := newPost(t, testbed.SMTPRules{})
	p.work()
	p.enqueue(Message{Template: TestMessage, To: "ada@example.com"})
	p.until(status.JobCompleted, 1)
	p.exec(`UPDATE river_job SET state = 'available', finalized_at = NULL`)
	testbed.Eventually(t, "it was worked again", func() bool { all := p.list(status.JobCompleted); return len(all) == 1 && all[0].Attempt == 2 })
	if n := len(p.server.Mails()); n != 1 {
		t.Errorf("%d mails were sent", n)
	}
}

func TestAMailIsSentOnceWhereTheServerHangsUpBeforeItsLastDot(t *testing.T) {
	t.Parallel()
	p := newPost(t, testbed.SMTPRules{Judge: func(n int) string {
		if n == 1 {
			return testbed.DropBefore
		}
		return ""
	}})
	// The mail cannot be handed over before the server has hung up.
	tx, err := p.pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tx.Rollback(context.WithoutCancel(t.Context())) }()
	if _, err := tx.Exec(t.Context(), `LOCK TABLE mail_handovers IN EXCLUSIVE MODE`); err != nil {
		t.Fatal(err)
	}
	p.work()
	p.enqueue(Message{Template: TestMessage, To: "ada@example.com"})
	testbed.Eventually(t, "the server hung up", func() bool { return slices.Contains(p.server.Said(), "hung up") })
	if err := tx.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	done := p.until(status.JobCompleted, 1)[0]
	if n := len(p.server.Mails()); n != 1 || done.Attempt != 2 {
		t.Errorf("%d mails were sent by %+v", n, done)
	}
}

func TestAMailThatMayHaveBeenDeliveredIsDeadAndSentAgainWhenSomebodyAsks(t *testing.T) {
	t.Parallel()
	p := newPost(t, testbed.SMTPRules{Judge: func(n int) string {
		if n == 1 {
			return testbed.DropAfter
		}
		return ""
	}})
	p.work()
	p.enqueue(Message{Template: TestMessage, To: "ada@example.com"})
	dead := p.until(status.JobDead, 1)[0]
	if n := len(p.server.Mails()); n != 1 || dead.Attempt != 1 || !strings.Contains(dead.Error, doubt) {
		t.Errorf("%d mails were sent by %+v", n, dead)
	}
	if _, err := p.ledger.Retry(t.Context(), dead.ID); err != nil {
		t.Fatal(err)
	}
	p.until(status.JobCompleted, 1)
	if n := len(p.server.Mails()); n != 2 {
		t.Errorf("%d mails were sent", n)
	}
	for id, n := range p.server.Taken() { // a mailbox can tell
		if n != 2 {
			t.Errorf("%s was taken %d times", id, n)
		}
	}
}

func TestAMailThatALostWorkerHandedOverIsNotSentAgainUnlessSomebodyAsks(t *testing.T) {
	t.Parallel()
	p := newPost(t, testbed.SMTPRules{}, func(c *config.Config) { c.Mail.Timeout = config.Duration(time.Second) })
	p.enqueue(Message{Template: TestMessage, To: "ada@example.com"})
	p.exec(`INSERT INTO mail_handovers (job_id, attempted_at, failures, handed_at) SELECT id, now(), 0, now() FROM river_job`)
	p.work()
	dead := p.until(status.JobDead, 1)[0]
	if n := len(dead.Failures); n < 2 || !strings.Contains(dead.Failures[0].Error, "may yet tell") || !strings.Contains(dead.Error, "the worker was lost") {
		t.Errorf("%+v", dead)
	}
	if n := len(p.server.Mails()); n != 0 {
		t.Fatalf("%d mails were sent", n)
	}
	if _, err := p.ledger.Retry(t.Context(), dead.ID); err != nil {
		t.Fatal(err)
	}
	p.until(status.JobCompleted, 1)
	if n := len(p.server.Mails()); n != 1 {
		t.Errorf("%d mails were sent", n)
	}
}

func TestAMailIsTakenForSentWhereWhoHandedItOverSaysSoLate(t *testing.T) {
	t.Parallel()
	p := newPost(t, testbed.SMTPRules{})
	p.enqueue(Message{Template: TestMessage, To: "ada@example.com"})
	p.exec(`INSERT INTO mail_handovers (job_id, attempted_at, failures, handed_at) SELECT id, now(), 0, now() FROM river_job`)
	p.work()
	if why := p.failure(); !strings.Contains(why, "may yet tell") {
		t.Error(why)
	}
	p.exec(`UPDATE mail_handovers SET sent_at = now()`)
	p.until(status.JobCompleted, 1)
	if n := len(p.server.Mails()); n != 0 {
		t.Errorf("%d mails were sent", n)
	}
}

func TestAnAttemptThatLostItsJobSendsNothing(t *testing.T) {
	t.Parallel()
	p := newPost(t, testbed.SMTPRules{})
	now := time.Now().UTC().Truncate(time.Microsecond)
	p.enqueue(Message{Template: TestMessage, To: "ada@example.com"})
	for name, sql := range map[string]string{
		"another attempt has it": `UPDATE river_job SET state = 'running', attempt = 1, attempted_at = $1::timestamptz + interval '1 second'`,
		"it waits for its turn":  `UPDATE river_job SET state = 'available', attempt = 1, attempted_at = $1::timestamptz`,
	} {
		p.exec(sql, now)
		job := &river.Job[Message]{JobRow: &rivertype.JobRow{ID: p.list("")[0].ID, Attempt: 1, MaxAttempts: attempts, AttemptedAt: &now, CreatedAt: now},
			Args: Message{Template: TestMessage, To: "ada@example.com"}}
		if err := p.sender.work(t.Context(), job); !errors.Is(err, errFenced) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if n := len(p.server.Mails()); n != 0 {
		t.Errorf("%d mails were sent", n)
	}
}

func TestManyMailsShareConnections(t *testing.T) {
	t.Parallel()
	const mails = 150
	p := newPost(t, testbed.SMTPRules{User: "shop", Password: "s3cr3t"}, by(t, "smtp://shop:s3cr3t@%s"), func(c *config.Config) {
		c.Worker.Workers, c.Worker.Concurrency = 1, 5
	})
	var all []Message
	for i := range mails {
		all = append(all, Message{Template: TestMessage, To: fmt.Sprintf("ada+%d@example.com", i)})
	}
	p.enqueue(all...)
	p.work()
	p.until(status.JobCompleted, mails)
	connections := strings.Count(strings.Join(p.server.Said(), "\n"), "AUTH")
	if connections < 2 || connections > 10 {
		t.Errorf("%d mails went over %d connections", mails, connections)
	}
	if n := len(p.server.Taken()); n != mails || len(p.server.Mails()) != mails {
		t.Errorf("%d of %d mails are different ones", n, len(p.server.Mails()))
	}
}

func TestAServerThatIsAwayIsTriedAgain(t *testing.T) {
	t.Parallel()
	p := newPost(t, testbed.SMTPRules{}, by(t, "smtp://127.0.0.1:1?%s"))
	p.enqueue(Message{Template: TestMessage, To: "ada@example.com"})
	p.work()
	if why := p.failure(); !strings.Contains(why, "connection refused") {
		t.Error(why)
	}
	if dead := p.list(status.JobDead); len(dead) != 0 {
		t.Errorf("%+v", dead)
	}
}

func TestWhatIsKnownOfAMailIsForgottenWithItsJob(t *testing.T) {
	t.Parallel()
	p := newPost(t, testbed.SMTPRules{})
	p.enqueue(Message{Template: TestMessage, To: "ada@example.com"})
	p.exec(`INSERT INTO mail_handovers (job_id, attempted_at, failures, handed_at) SELECT id + n, now(), 0, now() FROM river_job, generate_series(0, 1) n`)
	for want := int64(1); want >= 0; want-- {
		if n, err := Forget(t.Context(), p.pool); err != nil || n != want {
			t.Errorf("%d were forgotten, %v", n, err)
		}
	}
}

func TestAURLThatIsNoneIsAnErrorWithoutThePassword(t *testing.T) {
	t.Parallel()
	for _, url := range []string{"", "mail.example.com:587", "http://u:s3cr3t@mail.example.com", "smtp://u:s3cr3t@", "smtp://u:s3cr3t@host:port", "smtp://u:s3cr3t%zz@host", "smtp://u:s3cr3t@host:99999"} {
		s := newServer(config.Mail{URLFile: testbed.File(t, url)}, time.Second)
		if _, err := s.connect(t.Context()); err == nil || strings.Contains(err.Error(), "s3cr3t") {
			t.Errorf("%q: %v", url, err)
		}
	}
	if _, err := newServer(config.Mail{URLFile: "/none"}, time.Second).connect(t.Context()); err == nil {
		t.Error("no file is no error")
	}
}
