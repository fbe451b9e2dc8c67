// Command mailbox is a mail server for demonstrations and tests: it takes every
// mail by SMTP (port 2525), keeps it in memory and tells of it over HTTP (port
// 8025). It refuses recipients whose address begins with "refused", and lets a
// sender wait for --delay before it hears of a mail.
//
//	GET    /summary      how many mails came, and how many more than once
//	GET    /mails        their recipients, subjects and Message-IDs
//	GET    /mails/{id}   one, as it came
//	DELETE /mails        forgets them
//	POST   /hooks        takes a webhook
//	GET    /hooks        the webhooks that came, as they came
package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/textproto"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/emersion/go-smtp"
)

// mail is one that was taken.
type mail struct {
	ID        int       `json:"id"`
	To        []string  `json:"to"`
	Subject   string    `json:"subject"`
	MessageID string    `json:"messageId"`
	At        time.Time `json:"at"`
	raw       []byte
}

// hook is a webhook that was taken.
type hook struct {
	ID        string `json:"id"`
	Timestamp string `json:"timestamp"`
	Signature string `json:"signature"`
	Body      string `json:"body"`
}

// summary counts: a mail is told from others by its Message-ID.
type summary struct {
	Accepted int `json:"accepted"`
	Distinct int `json:"distinct"`
	Repeated int `json:"repeated"`
	Refused  int `json:"refused"`
}

type mailbox struct {
	delay time.Duration

	mu      sync.Mutex
	mails   []mail
	hooks   []hook
	refused int
}

func (b *mailbox) take(to []string, raw []byte) {
	header, _ := textproto.NewReader(bufio.NewReader(bytes.NewReader(raw))).ReadMIMEHeader() // what can be read of it
	b.mu.Lock()
	defer b.mu.Unlock()
	b.mails = append(b.mails, mail{
		ID: len(b.mails), To: to, Subject: header.Get("Subject"), MessageID: header.Get("Message-Id"), At: time.Now().UTC(), raw: raw,
	})
}

func (b *mailbox) summary() (s summary) {
	b.mu.Lock()
	defer b.mu.Unlock()
	times := map[string]int{}
	for _, m := range b.mails {
		times[m.MessageID]++
	}
	for _, n := range times {
		if n > 1 {
			s.Repeated++
		}
	}
	s.Accepted, s.Distinct, s.Refused = len(b.mails), len(times), b.refused
	return s
}

// NewSession is for the SMTP server.
func (b *mailbox) NewSession(*smtp.Conn) (smtp.Session, error) { return &session{box: b}, nil }

// session is one conversation.
type session struct {
	box *mailbox
	to  []string
}

// Mail begins one.
func (s *session) Mail(string, *smtp.MailOptions) error {
	s.Reset()
	if s.box.delay > 0 {
		<-time.After(s.box.delay)
	}
	return nil
}

// Rcpt adds a recipient.
func (s *session) Rcpt(to string, _ *smtp.RcptOptions) error {
	if strings.HasPrefix(to, "refused") {
		s.box.mu.Lock()
		s.box.refused++
		s.box.mu.Unlock()
		return &smtp.SMTPError{Code: 550, EnhancedCode: smtp.EnhancedCode{5, 1, 1}, Message: "no such mailbox here"}
	}
	s.to = append(s.to, to)
	return nil
}

// Data takes the mail.
func (s *session) Data(r io.Reader) error {
	raw, err := io.ReadAll(r)
	if err == nil {
		s.box.take(s.to, raw)
	}
	return err
}

// Reset begins anew.
func (s *session) Reset() { s.to = nil }

// Logout ends it.
func (s *session) Logout() error { return nil }

func (b *mailbox) handler() http.Handler {
	tell := func(w http.ResponseWriter, v any) {
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(v) // the caller may have gone
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /summary", func(w http.ResponseWriter, _ *http.Request) { tell(w, b.summary()) })
	mux.HandleFunc("GET /mails", func(w http.ResponseWriter, _ *http.Request) {
		b.mu.Lock()
		defer b.mu.Unlock()
		tell(w, append([]mail{}, b.mails...))
	})
	mux.HandleFunc("GET /mails/{id}", func(w http.ResponseWriter, r *http.Request) {
		id, err := strconv.Atoi(r.PathValue("id"))
		b.mu.Lock()
		defer b.mu.Unlock()
		if err != nil || id < 0 || id >= len(b.mails) {
			http.NotFound(w, r)
			return
		}
		w.Header().Set("Content-Type", "message/rfc822")
		_, _ = w.Write(b.mails[id].raw)
	})
	mux.HandleFunc("POST /hooks", func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 1<<20))
		if err != nil {
			return
		}
		b.mu.Lock()
		defer b.mu.Unlock()
		b.hooks = append(b.hooks, hook{
			ID: r.Header.Get("Webhook-Id"), Timestamp: r.Header.Get("Webhook-Timestamp"), Signature: r.Header.Get("Webhook-Signature"), Body: string(body),
		})
		w.WriteHeader(http.StatusNoContent)
	})
	mux.HandleFunc("GET /hooks", func(w http.ResponseWriter, _ *http.Request) {
		b.mu.Lock()
		defer b.mu.Unlock()
		tell(w, append([]hook{}, b.hooks...))
	})
	mux.HandleFunc("DELETE /mails", func(w http.ResponseWriter, _ *http.Request) {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.mails, b.refused = nil, 0
		w.WriteHeader(http.StatusNoContent)
	})
	return mux
}

func main() {
	box := &mailbox{}
	flag.DurationVar(&box.delay, "delay", 0, "how long a sender waits for each mail")
	flag.Parse()
	server := smtp.NewServer(box)
	server.Addr, server.Domain = ":2525", "mailbox"
	server.ReadTimeout, server.WriteTimeout = time.Minute, time.Minute
	server.MaxMessageBytes, server.MaxRecipients = 1<<20, 50
	web := &http.Server{Addr: ":8025", Handler: box.handler(), ReadHeaderTimeout: 10 * time.Second}
	ended := make(chan error, 2)
	go func() { ended <- server.ListenAndServe() }()
	go func() { ended <- web.ListenAndServe() }()
	if err := <-ended; !errors.Is(err, http.ErrServerClosed) {
		fmt.Fprintln(os.Stderr, "mailbox:", err)
		os.Exit(1)
	}
}
