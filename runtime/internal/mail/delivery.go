package mail

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	netmail "net/mail"
	"net/url"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river"
	"github.com/wneessen/go-mail"

	"gitee.com/captainjez/gocart/runtime/config"
	"gitee.com/captainjez/gocart/runtime/internal/jobs"
)

// usualTimeout is how long the server may take to answer.
const usualTimeout = time.Minute

// Options are what sending mails takes.
type Options struct {
	Pool   *pgxpool.Pool
	Facts  Facts
	Tokens Tokens
	Log    *slog.Logger
}

// Delivery is the kind of jobs that send mails, as the configuration's mail
// says, which must not be nil.
func Delivery(c config.Config, o Options) (jobs.Kind, error) {
	s, err := newSender(c, o)
	if err != nil {
		return jobs.Kind{}, err
	}
	return jobs.Of(jobs.Kind{About: "Sends a mail.", Timeout: 4 * s.server.timeout}, s.work), nil
}

// sender sends what an Outbox queued.
type sender struct {
	facts     Facts
	tokens    Tokens
	server    *server
	handovers *handovers
	log       *slog.Logger

	from              *netmail.Address
	host              string
	shop, url, locale string
}

func newSender(c config.Config, o Options) (*sender, error) {
	s := &sender{facts: o.Facts, tokens: o.Tokens, log: o.Log, url: c.Store.URL, locale: c.Store.Locale}
	timeout := time.Duration(c.Mail.Timeout)
	if timeout == 0 {
		timeout = usualTimeout
	}
	s.server = newServer(*c.Mail, timeout)
	s.handovers = &handovers{pool: o.Pool, timeout: timeout}
	var err error
	if s.from, err = netmail.ParseAddress(c.Mail.From); err != nil {
		return nil, fmt.Errorf("mail.from: %w", err)
	}
	u, err := url.Parse(c.Store.URL)
	if err != nil {
		return nil, fmt.Errorf("store.url: %w", err)
	}
	s.host, s.shop = u.Hostname(), s.from.Name
	if s.shop == "" {
		s.shop = s.host
	}
	return s, nil
}

// work sends one mail, unless it was sent before. What the server refuses for
// good is not tried again, and nor is what may have been delivered.
func (s *sender) work(ctx context.Context, job *river.Job[Message]) error {
	doubted, err := s.handovers.before(ctx, job.JobRow)
	if errors.Is(err, errSent) {
		s.log.InfoContext(ctx, "a mail was sent by an earlier attempt", "job", job.ID)
		return nil
	}
	if err != nil {
		return err
	}
	if job.Args.To == "" { // erased as it was tried before
		return nil
	}
	if err := job.Args.Check(); err != nil { // as another version's
		return jobs.Permanent(err)
	}
	c, err := s.server.connect(ctx)
	if err != nil {
		return err
	}
	m, err := s.compose(ctx, job)
	if err != nil {
		s.server.keep(c)
		return s.unworded(ctx, job.Args, err)
	}
	stop := context.AfterFunc(ctx, func() { _ = c.raw.Close() }) // whatever is said then is in vain
	_ = c.raw.SetDeadline(time.Now().Add(s.server.timeout))      // or it fails at once
	finish, err := c.offer(m)
	if !stop() {
		err = errors.Join(err, context.Cause(ctx))
	}
	if err == nil {
		err = s.handovers.do(ctx, job.JobRow, doubted, c, finish)
	}
	if err == nil {
		s.server.keep(c)
		return nil
	}
	reply := refusal(err)
	if reply == nil {
		_ = c.raw.Close() // nobody knows where the conversation is
		return fmt.Errorf("sending a mail: %w", err)
	}
	s.server.keep(c)
	if reply.Code < 500 {
		return fmt.Errorf("the mail server refuses the mail for now: %d %s", reply.Code, reply.Msg)
	}
	return jobs.Permanent(fmt.Errorf("the mail server refuses the mail: %d %s", reply.Code, reply.Msg))
}

// unworded is what becomes of a mail that could not be composed.
func (s *sender) unworded(ctx context.Context, m Message, err error) error {
	switch {
	case errors.Is(err, ErrNeedless):
		s.log.InfoContext(ctx, "a mail is not sent, for there is nothing to say any more", "template", m.Template)
		return nil
	case errors.Is(err, ErrGone):
		return jobs.Permanent(err)
	}
	return err
}

func (s *sender) compose(ctx context.Context, job *river.Job[Message]) (*mail.Msg, error) {
	m := job.Args
	p := page{Shop: s.shop, URL: s.url, Unpaid: m.Unpaid}
	var err error
	switch subjects[m.Template] {
	case aboutCustomer:
		p.Token, err = s.tokens.MailToken(ctx, m.Template, m.CustomerID, m.To)
	case aboutOrder, aboutReturn:
		p.Order, err = s.facts.Order(ctx, m)
	case aboutCart:
		p.Cart, err = s.facts.Cart(ctx, m.CartID, m.To)
	case aboutVariants:
		p.Stock, err = s.facts.Stock(ctx, m.VariantIDs)
	case aboutNothing:
	}
	if err != nil {
		return nil, err
	}
	w, err := say(m.Template, p, m.Locale, s.locale)
	if err != nil {
		return nil, jobs.Permanent(err) // it would be no better the next time
	}
	message := mail.NewMsg()
	message.FromMailAddress(s.from)
	message.ToMailAddress(&netmail.Address{Address: m.To})
	message.Subject(w.subject)
	message.SetDate()
	// The same for every attempt, so that a mailbox can tell a repetition; and
	// with its time, for a database that was set up anew counts from 1 again.
	message.SetMessageIDWithValue(fmt.Sprintf("gocart-%d-%d@%s", job.ID, job.CreatedAt.UnixMicro(), s.host))
	message.SetGenHeader("Auto-Submitted", "auto-generated") // RFC 3834
	message.SetBodyString(mail.TypeTextPlain, w.text)
	message.AddAlternativeString(mail.TypeTextHTML, w.html)
	return message, nil
}
