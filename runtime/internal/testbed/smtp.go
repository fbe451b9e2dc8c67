package testbed

import (
	"bufio"
	"fmt"
	"net"
	"net/textproto"
	"strings"
	"sync"
	"testing"
)

// SMTPServer is a mail server of a test's own, without TLS.
type SMTPServer struct {
	// Addr is host:port.
	Addr string

	refuse map[string]string
	mu     sync.Mutex
	mails  []string
	said   []string
}

// SMTP starts a server for the test. Refuse are replies, such as "550 no", to
// commands that begin with their key, such as "RCPT"; nil for none.
func SMTP(t testing.TB, refuse map[string]string) *SMTPServer {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	s := &SMTPServer{Addr: l.Addr().String(), refuse: refuse}
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go s.serve(conn)
		}
	}()
	return s
}

// Mails are those that were taken, headers and body.
func (s *SMTPServer) Mails() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string(nil), s.mails...)
}

// Said are the commands that came.
func (s *SMTPServer) Said() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string(nil), s.said...)
}

// serve holds the dialogue of RFC 5321, as far as a client needs it.
func (s *SMTPServer) serve(conn net.Conn) {
	defer func() { _ = conn.Close() }()
	in := textproto.NewReader(bufio.NewReader(conn))
	say := func(line string) { fmt.Fprint(conn, line+"\r\n") }
	say("220 test ESMTP")
	for {
		line, err := in.ReadLine()
		if err != nil {
			return
		}
		s.mu.Lock()
		s.said = append(s.said, line)
		s.mu.Unlock()
		command, _, _ := strings.Cut(strings.ToUpper(line), " ")
		if reply, ok := s.refuse[command]; ok {
			say(reply)
			continue
		}
		switch command {
		case "EHLO":
			say("250-test\r\n250-8BITMIME\r\n250 AUTH PLAIN")
		case "AUTH":
			say("235 welcome")
		case "DATA":
			say("354 go on")
			mail, err := in.ReadDotBytes()
			if err != nil {
				return
			}
			s.mu.Lock()
			s.mails = append(s.mails, string(mail))
			s.mu.Unlock()
			say("250 taken")
		case "QUIT":
			say("221 bye")
			return
		default:
			say("250 fine")
		}
	}
}
