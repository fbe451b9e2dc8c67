package testbed

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io"
	"log"
	"math/big"
	"net"
	"net/mail"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"
)

// SMTPServer is a mail server of a test's own.
type SMTPServer struct {
	// Addr is host:port.
	Addr string
	// CA is the PEM certificate that the server's chains to.
	CA string

	rules SMTPRules
	mu    sync.Mutex
	mails []string
	said  []string
	calls int
	taken map[string]int
}

// SMTPRules are how a server behaves. Functions may be called by many at once.
type SMTPRules struct {
	// Plain has the server offer no STARTTLS, TLS has it speak nothing but TLS.
	Plain, TLS bool
	// User and Password are whom it lets in; it asks nobody where they are empty.
	User, Password string
	// Refuse is the reply to a recipient, such as "550 no such user"; empty
	// where the recipient is fine.
	Refuse func(to string) (reply string)
	// Judge is what becomes of a mail, the n-th from 1 on: the reply to its last
	// dot, such as "451 later", or DropBefore or DropAfter; empty takes it.
	Judge func(n int) (reply string)
	// Delay is how long it takes to take a mail.
	Delay time.Duration
}

// What Judge can say beside a reply.
const (
	// DropBefore hangs up without the mail's last dot.
	DropBefore = "drop before"
	// DropAfter takes the mail and hangs up without a word.
	DropAfter = "drop after"
)

// SMTP starts a server for the test.
func SMTP(t testing.TB, rules SMTPRules) *SMTPServer {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	certificate, ca := selfSigned(t)
	s := &SMTPServer{Addr: l.Addr().String(), CA: ca, rules: rules, taken: map[string]int{}}
	server := smtp.NewServer(smtp.BackendFunc(func(c *smtp.Conn) (smtp.Session, error) {
		one := &dialogue{server: s, conn: c}
		if rules.User == "" {
			return one, nil
		}
		return &guarded{dialogue: one}, nil
	}))
	server.Domain, server.AllowInsecureAuth, server.ErrorLog = "test", true, log.New(io.Discard, "", 0)
	if !rules.Plain {
		server.TLSConfig = &tls.Config{Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS13}
	}
	if rules.TLS {
		l = tls.NewListener(l, server.TLSConfig)
	}
	go func() { _ = server.Serve(l) }() // until the test ends
	t.Cleanup(func() { _ = server.Close() })
	return s
}

// selfSigned is a certificate for 127.0.0.1, and its PEM.
func selfSigned(t testing.TB) (tls.Certificate, string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}

// Mails are those that were taken, headers and body, with bare line feeds.
func (s *SMTPServer) Mails() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string(nil), s.mails...)
}

// Taken is how often each mail was taken, by the address that it is to and its
// Message-ID.
func (s *SMTPServer) Taken() map[string]int {
	s.mu.Lock()
	defer s.mu.Unlock()
	counts := make(map[string]int, len(s.taken))
	for id, n := range s.taken {
		counts[id] = n
	}
	return counts
}

// Said is what was said to it: AUTH with a name and a password, MAIL and RCPT
// with addresses; and that it hung up.
func (s *SMTPServer) Said() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string(nil), s.said...)
}

func (s *SMTPServer) note(said string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.said = append(s.said, said)
}

// dialogue is what one connection says.
type dialogue struct {
	server *SMTPServer
	conn   *smtp.Conn
	to     string
}

func (d *dialogue) Reset() { d.to = "" }

func (d *dialogue) Logout() error { return nil }

func (d *dialogue) Mail(from string, _ *smtp.MailOptions) error {
	d.server.note("MAIL " + from)
	return nil
}

func (d *dialogue) Rcpt(to string, _ *smtp.RcptOptions) error {
	d.server.note("RCPT " + to)
	if refuse := d.server.rules.Refuse; refuse != nil {
		if reply := refuse(to); reply != "" {
			return replied(reply)
		}
	}
	d.to = to
	return nil
}

// replied is a reply such as "550 no such user".
func replied(reply string) error {
	code, words, _ := strings.Cut(reply, " ")
	n, err := strconv.Atoi(code)
	if err != nil {
		return err
	}
	return &smtp.SMTPError{Code: n, EnhancedCode: smtp.NoEnhancedCode, Message: words}
}

func (d *dialogue) Data(r io.Reader) error {
	s := d.server
	s.mu.Lock()
	s.calls++
	n := s.calls
	s.mu.Unlock()
	reply := ""
	if s.rules.Judge != nil {
		reply = s.rules.Judge(n)
	}
	if reply == DropBefore {
		return d.hangUp()
	}
	raw, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	if reply != "" && reply != DropAfter {
		return replied(reply)
	}
	if s.rules.Delay > 0 {
		<-time.After(s.rules.Delay)
	}
	text := strings.ReplaceAll(string(raw), "\r\n", "\n")
	message, err := mail.ReadMessage(strings.NewReader(text))
	if err != nil {
		return err
	}
	s.mu.Lock()
	s.mails = append(s.mails, text)
	s.taken[d.to+" "+message.Header.Get("Message-ID")]++
	s.mu.Unlock()
	if reply == DropAfter {
		return d.hangUp()
	}
	return nil
}

func (d *dialogue) hangUp() error {
	err := d.conn.Conn().Close()
	d.server.note("hung up")
	return errors.Join(err, io.EOF)
}

// guarded is a dialogue with those who sign in.
type guarded struct {
	*dialogue
	in bool
}

func (g *guarded) AuthMechanisms() []string { return []string{sasl.Plain} }

func (g *guarded) Auth(string) (sasl.Server, error) {
	return sasl.NewPlainServer(func(_, user, password string) error {
		g.server.note("AUTH " + user + " " + password)
		if g.in = user == g.server.rules.User && password == g.server.rules.Password; !g.in {
			return smtp.ErrAuthFailed
		}
		return nil
	}), nil
}

func (g *guarded) Mail(from string, o *smtp.MailOptions) error {
	if !g.in {
		return smtp.ErrAuthRequired
	}
	return g.dialogue.Mail(from, o)
}
