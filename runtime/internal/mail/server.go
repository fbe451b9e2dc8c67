package mail

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/textproto"
	"net/url"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/wneessen/go-mail"
	"github.com/wneessen/go-mail/smtp"

	"gitee.com/captainjez/gocart/runtime/config"
)

const (
	// idleFor is how long a connection is kept for the next mail. Servers that
	// have much to do hang up after little more.
	idleFor = 5 * time.Second
	// mostMails is how many go over one connection; some servers take 100.
	mostMails = 100
	// glance is how long the server may take to have said that it hangs up.
	glance = time.Millisecond
)

// server is the mail server of a configuration. Its files are read anew for
// each mail, so that a changed one counts.
type server struct {
	urlFile, caFile string
	timeout         time.Duration

	mu   sync.Mutex
	idle []*conn
}

func newServer(c config.Mail, timeout time.Duration) *server {
	return &server{urlFile: c.URLFile, caFile: c.CAFile, timeout: timeout}
}

// conn is a connection that is signed in and ready for a mail.
type conn struct {
	*smtp.Client
	raw net.Conn
	// by are the settings that it was made by, and mails those that it took.
	by     settings
	mails  int
	hangUp *time.Timer
}

// settings are what the files say.
type settings struct{ url, ca string }

// connect gives a connection to the server, one that is idle if it can be.
func (s *server) connect(ctx context.Context) (*conn, error) {
	by, err := s.read()
	if err != nil {
		return nil, err
	}
	for c := s.take(); c != nil; c = s.take() {
		if c.by == by && c.raw.SetDeadline(time.Now().Add(s.timeout)) == nil && c.Reset() == nil {
			return c, nil
		}
		_ = c.raw.Close() // it is of no use
	}
	return s.dial(ctx, by)
}

// keep leaves a connection whose mail was taken for the next.
func (s *server) keep(c *conn) {
	if c.mails++; c.mails >= mostMails {
		_ = c.Quit() // the server may have hung up
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.idle = append(s.idle, c)
	c.hangUp = time.AfterFunc(idleFor, func() {
		if s.remove(c) {
			_ = c.Quit() // the server may have hung up
		}
	})
}

// take takes the connection that was used last, nil where none is idle.
func (s *server) take() *conn {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.idle) == 0 {
		return nil
	}
	c := s.idle[len(s.idle)-1]
	s.idle = s.idle[:len(s.idle)-1]
	c.hangUp.Stop()
	return c
}

// remove takes a connection, and is false where somebody else did.
func (s *server) remove(c *conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, one := range s.idle {
		if one == c {
			s.idle = append(s.idle[:i], s.idle[i+1:]...)
			return true
		}
	}
	return false
}

func (s *server) read() (by settings, err error) {
	raw, err := os.ReadFile(s.urlFile)
	if err != nil {
		return by, fmt.Errorf("mail.urlFile: %w", err)
	}
	by.url = strings.TrimSpace(string(raw))
	if s.caFile == "" {
		return by, nil
	}
	if raw, err = os.ReadFile(s.caFile); err != nil {
		return by, fmt.Errorf("mail.caFile: %w", err)
	}
	by.ca = string(raw)
	return by, nil
}

// dial connects and signs in as the settings say: by smtp://user:password@host:587,
// to which STARTTLS is a must unless ?tls=none, or by smtps://user:password@host:465.
// Its errors have no password.
func (s *server) dial(ctx context.Context, by settings) (*conn, error) {
	u, err := url.Parse(by.url)
	if err != nil || u.Hostname() == "" || u.Scheme != "smtp" && u.Scheme != "smtps" {
		return nil, fmt.Errorf("mail.urlFile: %s holds no URL such as smtp://user:password@mail.example.com:587", s.urlFile)
	}
	port := map[string]int{"smtp": 587, "smtps": 465}[u.Scheme]
	if u.Port() != "" {
		if port, err = strconv.Atoi(u.Port()); err != nil {
			return nil, fmt.Errorf("mail.urlFile: %s holds a URL with a wrong port", s.urlFile)
		}
	}
	secure := &tls.Config{ServerName: u.Hostname(), MinVersion: tls.VersionTLS12}
	if by.ca != "" {
		secure.RootCAs = x509.NewCertPool()
		if !secure.RootCAs.AppendCertsFromPEM([]byte(by.ca)) {
			return nil, fmt.Errorf("mail.caFile: %s holds no certificate", s.caFile)
		}
	}
	c := &conn{by: by}
	client, err := mail.NewClient(u.Hostname(), append(options(u), mail.WithPort(port), mail.WithTimeout(s.timeout), mail.WithTLSConfig(secure),
		mail.WithDialContextFunc(func(ctx context.Context, network, address string) (_ net.Conn, err error) {
			if c.raw, err = new(net.Dialer).DialContext(ctx, network, address); err != nil || u.Scheme != "smtps" {
				return c.raw, err
			}
			encrypted := tls.Client(c.raw, secure)
			return encrypted, encrypted.HandshakeContext(ctx)
		}))...)
	if err != nil {
		return nil, fmt.Errorf("mail.urlFile: %w", err)
	}
	if c.Client, err = client.DialToSMTPClientWithContext(ctx); err != nil {
		if c.raw != nil {
			_ = c.raw.Close() // the error says more
		}
		return nil, fmt.Errorf("the mail server cannot be used: %w", err)
	}
	return c, nil
}

// options say how to encrypt and how to sign in.
func options(u *url.URL) []mail.Option {
	var all []mail.Option
	plain := u.Scheme == "smtp" && u.Query().Get("tls") == "none"
	switch {
	case u.Scheme == "smtps":
		all = append(all, mail.WithSSL())
	case plain:
		all = append(all, mail.WithTLSPolicy(mail.NoTLS))
	default:
		all = append(all, mail.WithTLSPolicy(mail.TLSMandatory))
	}
	if u.User == nil {
		return all
	}
	password, _ := u.User.Password()
	all = append(all, mail.WithUsername(u.User.Username()), mail.WithPassword(password))
	if plain {
		return append(all, mail.WithSMTPAuth(mail.SMTPAuthPlainNoEnc))
	}
	return append(all, mail.WithOpportunisticSMTPAuth(mail.SMTPAuthSCRAMSHA256PLUS, mail.SMTPAuthSCRAMSHA256,
		mail.SMTPAuthSCRAMSHA1PLUS, mail.SMTPAuthSCRAMSHA1, mail.SMTPAuthPlain, mail.SMTPAuthLogin))
}

// offer says everything of a mail but its last dot, which finish says. Until
// then the server has nothing.
func (c *conn) offer(m *mail.Msg) (finish func() error, err error) {
	sender, err := m.GetSender(false)
	if err != nil {
		return nil, err
	}
	receivers, err := m.GetRecipients()
	if err != nil {
		return nil, err
	}
	if err := c.Mail(sender); err != nil {
		return nil, err
	}
	for _, r := range receivers {
		if err := c.Rcpt(r); err != nil {
			return nil, err
		}
	}
	data, err := c.Data()
	if err != nil {
		return nil, err
	}
	if _, err := m.WriteTo(data); err != nil {
		return nil, err
	}
	return data.Close, c.Text.W.Flush()
}

// listens is an error where the server, which should wait for more of a mail,
// has hung up or refuses it.
func (c *conn) listens(until time.Time) error {
	if err := c.raw.SetReadDeadline(time.Now().Add(glance)); err != nil {
		return err
	}
	_, err := c.Text.R.Peek(1)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return c.raw.SetReadDeadline(until)
	}
	if err == nil {
		_, _, err = c.Text.ReadResponse(0) // a word before its turn is that it goes
	}
	if err == nil {
		err = errors.New("the mail server answers before it is asked")
	}
	return err
}

// refusal is the server's reply where it refused something, nil where it did
// not.
func refusal(err error) *textproto.Error {
	if reply, ok := errors.AsType[*textproto.Error](err); ok && reply.Code >= 400 {
		return reply
	}
	return nil
}
